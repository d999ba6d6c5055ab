"""Optimizers that follow from Adam: Adamax, NAdam, RAdam.

User-level code: the updates are ordinary tensor code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

from ..codegen.dtypes import DType, float32, float64
from ..functions.creation import ones, zeros_like
from ..functions.functional import abs, choose, maximum, sqrt
from ..functions.precision import widened
from ..tensors.tensor_class import Tensor
from .elementwise import (
    ElementwiseOptimizer,
    NumbersT,
    Params,
    Read,
    check_betas,
    running_mean,
    steps_of,
)
from .optimizer import ParamGroup, Scalar, number

__all__ = ["Adamax", "NAdam", "RAdam"]


def _moments(parameter: Tensor, *names: str) -> dict[str, Tensor]:
    return {name: zeros_like(widened(parameter.detach())) for name in names}


def _correction(group: ParamGroup, which: int, label: str) -> Tensor:
    """``1 - beta ** steps``, in double precision."""
    beta = number(lambda: group["betas"][which], label, float64)
    return 1 - beta ** steps_of(group)


class _AdamaxNumbers(NamedTuple):
    step_size: Scalar
    rest1: Scalar
    beta2: Scalar
    eps: Scalar


@final
class Adamax(ElementwiseOptimizer[_AdamaxNumbers]):
    """Adam with the greatest gradient so far in place of the mean square.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    betas : pair of float, optional
        How much of the running mean, and of the greatest gradient, is kept.
    eps : float, optional
        Added to the size of the gradient.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, -2.0]))
    >>> optimizer = optim.Adamax([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().round(4)
    array([ 0.5, -1.5], dtype=float32)
    """

    runtime_options = frozenset({"lr", "betas", "eps", "weight_decay"})
    switches = frozenset({"weight_decay"})

    def __init__(
        self,
        params: Params,
        lr: Scalar = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        check_betas(group)

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        return _moments(parameter, "exp_avg", "exp_inf")

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        return True

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _AdamaxNumbers:
        lr = read("lr", lambda: group["lr"])
        return _AdamaxNumbers(
            step_size=lr / _correction(group, 0, "beta1").astype(dtype),
            rest1=read("1 - beta1", lambda: 1 - group["betas"][0]),
            beta2=read("beta2", lambda: group["betas"][1]),
            eps=read("eps", lambda: group["eps"]),
        )

    def _updated(
        self, group: ParamGroup, n: _AdamaxNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        mean = running_mean(kept["exp_avg"], g, n.rest1)
        greatest = kept["exp_inf"]
        greatest.copy_(maximum(greatest * n.beta2, abs(g) + n.eps))
        return p - n.step_size * (mean / greatest)


class _DecoupledOptimizer(ElementwiseOptimizer[NumbersT]):
    """What NAdam and RAdam share: weight decay of either kind."""

    runtime_options = frozenset({"lr", "betas", "eps", "weight_decay", "momentum_decay"})
    switches = frozenset({"weight_decay"})

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        check_betas(group)

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        return True

    def _decayed(
        self, group: ParamGroup, p: Tensor, g: Tensor, decay: Scalar, read: Read
    ) -> tuple[Tensor, Tensor]:
        if not group["decoupled_weight_decay"]:
            return super()._decayed(group, p, g, decay, read)
        return p * read("kept by weight decay", lambda: 1 - group["lr"] * group["weight_decay"]), g


class _NAdamNumbers(NamedTuple):
    lr: Scalar
    momentum: Tensor
    momentum_next: Tensor
    root: Scalar
    rest1: Scalar
    rest2: Scalar
    eps: Scalar


@final
class NAdam(_DecoupledOptimizer[_NAdamNumbers]):
    """Adam with the momentum of Nesterov, which looks one step ahead.

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
    momentum_decay : float, optional
        How fast the momentum reaches its full size.
    decoupled_weight_decay : bool, optional
        Take the decay from the parameter itself, as `AdamW` does.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0]))
    >>> optimizer = optim.NAdam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 3)
    0.894
    """

    def __init__(
        self,
        params: Params,
        lr: Scalar = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        product = ones((), dtype=float64 if parameter.dtype is float64 else float32)
        return {**_moments(parameter, "exp_avg", "exp_avg_sq"), "mu_product": product}

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _NAdamNumbers:
        steps = steps_of(group)
        beta = number(lambda: group["betas"][0], "beta1", float64)
        decay = number(lambda: group["momentum_decay"], "momentum_decay", float64)

        def momentum(count: Tensor) -> Tensor:
            return (beta * (1 - 0.5 * 0.96 ** (count * decay))).astype(dtype)

        return _NAdamNumbers(
            lr=read("lr", lambda: group["lr"]),
            momentum=momentum(steps),
            momentum_next=momentum(steps + 1),
            root=(1 / sqrt(_correction(group, 1, "beta2"))).astype(dtype),
            rest1=read("1 - beta1", lambda: 1 - group["betas"][0]),
            rest2=read("1 - beta2", lambda: 1 - group["betas"][1]),
            eps=read("eps", lambda: group["eps"]),
        )

    def _updated(
        self, group: ParamGroup, n: _NAdamNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        product = kept["mu_product"]
        product.copy_(product * n.momentum)
        mean = running_mean(kept["exp_avg"], g, n.rest1)
        square = running_mean(kept["exp_avg_sq"], g * g, n.rest2)
        of_gradient = n.lr * (1 - n.momentum) / (1 - product)
        of_mean = n.lr * n.momentum_next / (1 - product * n.momentum_next)
        return p - (g * of_gradient + mean * of_mean) / (sqrt(square) * n.root + n.eps)


class _RAdamNumbers(NamedTuple):
    plain: Scalar
    """What the mean is multiplied by while the mean square is not known well enough."""
    scaled: Scalar
    """What it is multiplied by afterwards, before it is divided by the deviation."""
    certain: Tensor
    rest1: Scalar
    rest2: Scalar
    eps: Scalar


@final
class RAdam(_DecoupledOptimizer[_RAdamNumbers]):
    """Adam that scales no steps until the mean square is known well enough.

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
    decoupled_weight_decay : bool, optional
        Take the decay from the parameter itself, as `AdamW` does.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0]))
    >>> optimizer = optim.RAdam([p], lr=0.1)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 3)
    0.8
    """

    def __init__(
        self,
        params: Params,
        lr: Scalar = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        return _moments(parameter, "exp_avg", "exp_avg_sq")

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _RAdamNumbers:
        # In double precision: two numbers near 2 / (1 - beta2) are subtracted.
        steps = steps_of(group)
        limit = 2 / number(lambda: 1 - group["betas"][1], "1 - beta2", float64) - 1
        correction2 = _correction(group, 1, "beta2")
        length = limit - 2 * steps * (1 - correction2) / correction2
        certain = length > 5
        ratio = (length - 4) * (length - 2) * limit / ((limit - 4) * (limit - 2) * length)
        rectified = sqrt(choose(certain, ratio, 1.0) * correction2)
        lr = number(lambda: group["lr"], "lr", float64)
        plain = lr / _correction(group, 0, "beta1")
        return _RAdamNumbers(
            plain=plain.astype(dtype),
            scaled=(plain * rectified).astype(dtype),
            certain=certain,
            rest1=read("1 - beta1", lambda: 1 - group["betas"][0]),
            rest2=read("1 - beta2", lambda: 1 - group["betas"][1]),
            eps=read("eps", lambda: group["eps"]),
        )

    def _updated(
        self, group: ParamGroup, n: _RAdamNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        mean = running_mean(kept["exp_avg"], g, n.rest1)
        square = running_mean(kept["exp_avg_sq"], g * g, n.rest2)
        scaled = mean * (n.scaled / (sqrt(square) + n.eps))
        return p - choose(n.certain, scaled, mean * n.plain)
