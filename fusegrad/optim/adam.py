"""Adam and AdamW.

User-level code: the update is ordinary tensor code.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple, final

from ..codegen.dtypes import DType
from ..errors import OptionError
from ..functions.creation import zeros_like
from ..functions.functional import expm1, maximum, sqrt
from ..functions.precision import widened
from ..tensors.tensor_class import Tensor
from .optimizer import Optimizer, ParamGroup, Scalar, number

__all__ = ["Adam", "AdamW"]


class _Numbers(NamedTuple):
    """What the update of every element needs beside its own values."""

    step_size: Scalar
    """The learning rate, over the correction of the mean."""
    root: Scalar
    """One over the square root of the correction of the mean square."""
    beta2: Scalar
    rest1: Scalar
    """``1 - beta1``."""
    rest2: Scalar
    eps: Scalar
    decay: Scalar
    """What the weight decay multiplies the parameter by, see `_AdamBase._decay`."""


def _logarithm(beta: float) -> float:
    return math.log(beta) if beta > 0 else -math.inf


def _numbers(group: ParamGroup, dtype: DType, decay: Callable[[], Scalar]) -> _Numbers:
    def read(label: str, getter: Callable[[], Scalar]) -> Scalar:
        return number(getter, label, dtype)

    # Differences and logarithms are taken in double precision before they are rounded:
    # 1 - 0.999 in single precision is wrong by 1e-5.
    lr = read("lr", lambda: group["lr"])
    log1 = read("log(beta1)", lambda: _logarithm(group["betas"][0]))
    log2 = read("log(beta2)", lambda: _logarithm(group["betas"][1]))
    count = group.step.astype(dtype)
    # 1 - beta ** count, without cancellation.
    correction1 = -expm1(count * log1)
    correction2 = -expm1(count * log2)
    return _Numbers(
        step_size=lr / correction1,
        root=1 / sqrt(correction2),
        beta2=read("beta2", lambda: group["betas"][1]),
        rest1=read("1 - beta1", lambda: 1 - group["betas"][0]),
        rest2=read("1 - beta2", lambda: 1 - group["betas"][1]),
        eps=read("eps", lambda: group["eps"]),
        decay=read("weight_decay", decay) if group["weight_decay"] else 0.0,
    )


class _AdamBase(Optimizer):
    """What Adam and AdamW share: all but what weight decay means."""

    runtime_options = frozenset({"lr", "betas", "eps", "weight_decay"})
    switches = frozenset({"weight_decay"})

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: Scalar,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        amsgrad: bool,
        maximize: bool,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        for beta in group["betas"]:
            if not 0 <= beta < 1:
                raise OptionError(f"betas lie between 0 and 1, {beta} does not")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * bool(group["amsgrad"])
        return {name: zeros_like(widened(parameter.detach())) for name in names}

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        return True

    @abstractmethod
    def _decay(self, group: ParamGroup) -> Scalar:
        """The number that `_decayed` multiplies the parameter by."""

    @abstractmethod
    def _decayed(self, parameter: Tensor, gradient: Tensor, decay: Scalar) -> tuple[Tensor, Tensor]:
        """The parameter and the gradient after weight decay."""

    def _update(self, group: ParamGroup, parameters: list[tuple[Tensor, Tensor]]) -> None:
        group.step.copy_(group.step + 1)
        numbers: dict[DType, _Numbers] = {}
        for parameter, gradient in parameters:
            current, gradient = widened(parameter), widened(gradient)
            dtype = current.dtype
            if dtype not in numbers:
                numbers[dtype] = _numbers(group, dtype, lambda: self._decay(group))
            n = numbers[dtype]
            kept = self.state[parameter]
            if group["maximize"]:
                gradient = -gradient
            before = current
            if group["weight_decay"]:
                before, gradient = self._decayed(current, gradient, n.decay)
            mean, square = kept["exp_avg"], kept["exp_avg_sq"]
            mean.copy_(mean + (gradient - mean) * n.rest1)
            square.copy_(square * n.beta2 + gradient * gradient * n.rest2)
            if group["amsgrad"]:
                greatest = kept["max_exp_avg_sq"]
                greatest.copy_(maximum(greatest, square))
                square = greatest
            deviation = sqrt(square) * n.root + n.eps
            parameter.copy_(before - n.step_size * (mean / deviation))


@final
class Adam(_AdamBase):
    """Adam: steps scaled by running means of the gradient and of its square.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    betas : pair of float, optional
        How much of the running means is kept.
    eps : float, optional
        Added to the root of the mean square.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    amsgrad : bool, optional
        Divide by the greatest mean square so far.
    maximize : bool, optional
        Go up instead of down.

    Notes
    -----
    The running means of 16-bit parameters are float32, and so is all that is computed of them.
    Steps are counted for each group, not for each parameter as in torch: the two differ only for
    parameters that have no gradient in some steps.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, -2.0]))
    >>> optimizer = optim.Adam([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().round(4)
    array([ 0.5, -1.5], dtype=float32)
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: Scalar = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize)

    def _decay(self, group: ParamGroup) -> Scalar:
        decay: float = group["weight_decay"]
        return decay

    def _decayed(self, parameter: Tensor, gradient: Tensor, decay: Scalar) -> tuple[Tensor, Tensor]:
        return parameter, gradient + parameter * decay


@final
class AdamW(_AdamBase):
    """Adam with weight decay that is not scaled as the gradient is.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
        As for `Adam`.
    weight_decay : float, optional
        How much of the parameter is taken away at each step, times the learning rate.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> optimizer = optim.AdamW([nn.Parameter(fg.ones(3))])
    >>> optimizer.param_groups[0]["weight_decay"]
    0.01
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[Mapping[str, Any]],
        lr: Scalar = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize)

    def _decay(self, group: ParamGroup) -> Scalar:
        kept: Scalar = 1 - group["lr"] * group["weight_decay"]
        return kept

    def _decayed(self, parameter: Tensor, gradient: Tensor, decay: Scalar) -> tuple[Tensor, Tensor]:
        return parameter * decay, gradient
