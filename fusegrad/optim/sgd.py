"""Stochastic gradient descent.

User-level code: the update is ordinary tensor code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, final

from ..codegen.dtypes import DType
from ..errors import OptionError
from ..functions.creation import zeros_like
from ..functions.precision import widened
from ..tensors.tensor_class import Tensor
from .optimizer import Optimizer, ParamGroup, Scalar, number

__all__ = ["SGD"]


class _Numbers(NamedTuple):
    """What the update of every element needs beside its own values."""

    lr: Scalar
    weight_decay: Scalar
    momentum: Scalar
    share: Scalar | None
    """How much of the gradient is added to the momentum; None for all."""


def _numbers(group: ParamGroup, dtype: DType) -> _Numbers:
    def read(name: str) -> Scalar:
        return number(lambda: group[name], name, dtype) if group[name] else 0.0

    share: Scalar | None = None
    if group["momentum"] and group["dampening"]:
        started = (group.step > 1).astype(dtype)
        share = 1 - started * read("dampening")
    return _Numbers(
        lr=number(lambda: group["lr"], "lr", dtype),
        weight_decay=read("weight_decay"),
        momentum=read("momentum"),
        share=share,
    )


@final
class SGD(Optimizer):
    """Stochastic gradient descent, with momentum and weight decay.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    momentum : float, optional
        How much of the last update is kept.
    dampening : float, optional
        How much of the gradient is left out of the momentum, after the first step.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    nesterov : bool, optional
        Look ahead along the momentum.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, 2.0]))
    >>> optimizer = optim.SGD([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy()
    array([0., 0.], dtype=float32)
    """

    runtime_options = frozenset({"lr", "momentum", "dampening", "weight_decay"})
    switches = frozenset({"momentum", "dampening", "weight_decay"})

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: Scalar = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise OptionError("nesterov needs a momentum, and no dampening")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        if not group["momentum"]:
            return {}
        return {"momentum_buffer": zeros_like(widened(parameter.detach()))}

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        return bool(group["momentum"] and group["dampening"])

    def _update(self, group: ParamGroup, parameters: list[tuple[Tensor, Tensor]]) -> None:
        if self._counts_steps(group):
            group.step.copy_(group.step + 1)
        numbers: dict[DType, _Numbers] = {}
        for parameter, gradient in parameters:
            current, gradient = widened(parameter), widened(gradient)
            dtype = current.dtype
            if dtype not in numbers:
                numbers[dtype] = _numbers(group, dtype)
            n = numbers[dtype]
            if group["maximize"]:
                gradient = -gradient
            if group["weight_decay"]:
                gradient = gradient + current * n.weight_decay
            if group["momentum"]:
                velocity = self.state[parameter]["momentum_buffer"]
                added = gradient if n.share is None else gradient * n.share
                velocity.copy_(velocity * n.momentum + added)
                ahead = group["nesterov"]
                gradient = gradient + velocity * n.momentum if ahead else velocity
            parameter.copy_(current - gradient * n.lr)
