"""Averages of models over training, under torch's names.

User-level code: an average is a copy of the model whose values follow the model's.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, final

from ..errors import OptionError
from ..functions.creation import zeros
from ..nn.module import Module
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor

__all__ = ["AveragedModel", "get_ema_avg_fn", "get_ema_multi_avg_fn", "get_swa_avg_fn"]

Average = Callable[[Tensor, Tensor, Tensor], Tensor]
Averages = Callable[[Sequence[Tensor], Sequence[Tensor], Tensor], None]


def get_swa_avg_fn() -> Average:
    """The rule of the plain mean of all models.

    Returns
    -------
    callable
        Of an average, a value, and how many values it is of, to the new average.
    """

    def average(mean: Tensor, value: Tensor, count: Tensor) -> Tensor:
        return mean + (value - mean) / (count + 1)

    return average


def get_ema_avg_fn(decay: float = 0.999) -> Average:
    """The rule of the running mean, of which each step keeps the part `decay`.

    Parameters
    ----------
    decay : float, optional

    Returns
    -------
    callable
        Of an average, a value, and how many values it is of, to the new average.
    """
    if not 0 <= decay <= 1:
        raise OptionError(f"decay lies between 0 and 1, {decay} does not")

    def average(mean: Tensor, value: Tensor, count: Tensor) -> Tensor:
        return mean * decay + value * (1 - decay)

    return average


def get_ema_multi_avg_fn(decay: float = 0.999) -> Averages:
    """`get_ema_avg_fn` for all tensors of a model at once, in place.

    Parameters
    ----------
    decay : float, optional

    Returns
    -------
    callable
        Of the averages, the values, and how many values they are of.
    """
    one = get_ema_avg_fn(decay)

    def averages(means: Sequence[Tensor], values: Sequence[Tensor], count: Tensor) -> None:
        for mean, value in zip(means, values, strict=True):
            mean.copy_(one(mean, value, count) if mean.dtype.is_float else value)

    return averages


@final
class AveragedModel(Module):
    """A model whose parameters are averages of those of another.

    Parameters
    ----------
    model : Module
    device : str, optional
        ``"cpu"``.
    avg_fn : callable, optional
        The rule, by default the plain mean.
    multi_avg_fn : callable, optional
        In place of `avg_fn`: a rule for all tensors at once.
    use_buffers : bool, optional
        Whether buffers are averaged too; else they are copied.

    Attributes
    ----------
    module : Module
        The copy with the averages.
    n_averaged : Tensor
        How many models it is of.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> model = nn.Linear(1, 1, bias=False)
    >>> average = optim.swa_utils.AveragedModel(model)
    >>> for value in (1.0, 2.0, 6.0):
    ...     _ = nn.init.constant_(model.weight, value)
    ...     average.update_parameters(model)
    >>> average(fg.ones((1, 1))).tolist()
    [[3.0]]
    """

    def __init__(
        self,
        model: Module,
        device: Any = None,
        avg_fn: Average | None = None,
        multi_avg_fn: Averages | None = None,
        use_buffers: bool = False,
    ) -> None:
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise OptionError("avg_fn and multi_avg_fn are two rules; give one of them")
        self.module = copy.deepcopy(model).to(device=device)
        self.register_buffer("n_averaged", zeros((), dtype="int64"))
        self.avg_fn = get_swa_avg_fn() if avg_fn is None else avg_fn
        self.multi_avg_fn = multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model with the averages."""
        return self.module(*args, **kwargs)

    def _pairs(self, model: Module) -> tuple[list[Tensor], list[Tensor]]:
        def tensors(of: Module) -> list[Tensor]:
            return [*of.parameters(), *(of.buffers() if self.use_buffers else ())]

        return tensors(self.module), tensors(model)

    def update_parameters(self, model: Module) -> None:
        """Take the present values of a model into the averages; may be compiled.

        Parameters
        ----------
        model : Module
            Of the same structure.
        """
        with no_grad():
            means, values = self._pairs(model)
            count = self.n_averaged
            started = (count > 0).astype("float32")
            if self.multi_avg_fn is not None:
                self.multi_avg_fn(means, [value.detach() for value in values], count)
                updated = [mean.clone() for mean in means]
            else:
                updated = [
                    self.avg_fn(mean.detach(), value.detach(), count)
                    for mean, value in zip(means, values, strict=True)
                ]
            for mean, new, value in zip(means, updated, values, strict=True):
                if mean.dtype.is_float:
                    part = started.astype(mean.dtype)
                    mean.copy_(value.detach() * (1 - part) + new.astype(mean.dtype) * part)
                else:
                    mean.copy_(value)
            if not self.use_buffers:
                for own, theirs in zip(self.module.buffers(), model.buffers(), strict=True):
                    own.copy_(theirs)
            count.copy_(count + 1)
