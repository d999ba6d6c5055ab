"""Optimizers that scale each element's step by what its gradients were: Adagrad and its kin.

User-level code: the updates are ordinary tensor code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, final

from ..codegen.dtypes import DType
from ..errors import OptionError
from ..functions.creation import full_like, zeros_like
from ..functions.functional import choose, clip, sign, sqrt
from ..functions.precision import widened
from ..tensors.tensor_class import Tensor
from .elementwise import ElementwiseOptimizer, Params, Read, running_mean, steps_of
from .optimizer import ParamGroup, Scalar

__all__ = ["Adadelta", "Adagrad", "RMSprop", "Rprop"]


def _zeros(parameter: Tensor) -> Tensor:
    return zeros_like(widened(parameter.detach()))


class _AdagradNumbers(NamedTuple):
    step_size: Scalar
    eps: Scalar


@final
class Adagrad(ElementwiseOptimizer[_AdagradNumbers]):
    """Adagrad: steps over the root of the sum of all squared gradients.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    lr_decay : float, optional
        How fast the rate falls with the steps: it is divided by ``1 + steps * lr_decay``.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    initial_accumulator_value : float, optional
        What the sums start from.
    eps : float, optional
        Added to the root.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, -2.0]))
    >>> optimizer = optim.Adagrad([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().round(4)
    array([ 0.5, -1.5], dtype=float32)
    """

    runtime_options = frozenset({"lr", "lr_decay", "weight_decay", "eps"})
    switches = frozenset({"weight_decay"})

    def __init__(
        self,
        params: Params,
        lr: Scalar = 1e-2,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        for name in ("lr_decay", "initial_accumulator_value"):
            if group[name] < 0:
                raise OptionError(f"{name} is {group[name]}, and cannot be negative")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        return {"sum": _zeros(parameter) + group["initial_accumulator_value"]}

    def _counts_steps(self, group: Mapping[str, Any]) -> bool:
        return True

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _AdagradNumbers:
        fall = read("lr_decay", lambda: group["lr_decay"])
        lr = read("lr", lambda: group["lr"])
        return _AdagradNumbers(
            step_size=lr / (1 + (steps_of(group, dtype) - 1) * fall),
            eps=read("eps", lambda: group["eps"]),
        )

    def _updated(
        self, group: ParamGroup, n: _AdagradNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        total = kept["sum"]
        total.copy_(total + g * g)
        return p - n.step_size * (g / (sqrt(total) + n.eps))


class _AdadeltaNumbers(NamedTuple):
    lr: Scalar
    rest: Scalar
    eps: Scalar


@final
class Adadelta(ElementwiseOptimizer[_AdadeltaNumbers]):
    """Adadelta: steps in the ratio of the running sizes of updates and gradients.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        A factor of the step.
    rho : float, optional
        How much of the running means is kept.
    eps : float, optional
        Added under the roots.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0]))
    >>> optimizer = optim.Adadelta([p])
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> round(float(p), 4)
    0.9968
    """

    runtime_options = frozenset({"lr", "rho", "eps", "weight_decay"})
    switches = frozenset({"weight_decay"})

    def __init__(
        self,
        params: Params,
        lr: Scalar = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if not 0 <= group["rho"] <= 1:
            raise OptionError(f"rho lies between 0 and 1, {group['rho']} does not")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        return {"square_avg": _zeros(parameter), "acc_delta": _zeros(parameter)}

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _AdadeltaNumbers:
        return _AdadeltaNumbers(
            lr=read("lr", lambda: group["lr"]),
            rest=read("1 - rho", lambda: 1 - group["rho"]),
            eps=read("eps", lambda: group["eps"]),
        )

    def _updated(
        self, group: ParamGroup, n: _AdadeltaNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        square, moved = kept["square_avg"], kept["acc_delta"]
        running_mean(square, g * g, n.rest)
        delta = g * (sqrt(moved + n.eps) / sqrt(square + n.eps))
        running_mean(moved, delta * delta, n.rest)
        return p - n.lr * delta


class _RMSpropNumbers(NamedTuple):
    lr: Scalar
    rest: Scalar
    eps: Scalar
    momentum: Scalar


@final
class RMSprop(ElementwiseOptimizer[_RMSpropNumbers]):
    """RMSprop: steps over the root of the running mean of squared gradients.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The learning rate.
    alpha : float, optional
        How much of the running mean is kept.
    eps : float, optional
        Added to the root.
    weight_decay : float, optional
        How much of the parameter is added to its gradient.
    momentum : float, optional
        How much of the last step is kept.
    centered : bool, optional
        Divide by the standard deviation of the gradient instead.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, -2.0]))
    >>> optimizer = optim.RMSprop([p], lr=0.05)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy().round(4)
    array([ 0.5, -1.5], dtype=float32)
    """

    runtime_options = frozenset({"lr", "alpha", "eps", "weight_decay", "momentum"})
    switches = frozenset({"weight_decay", "momentum"})

    def __init__(
        self,
        params: Params,
        lr: Scalar = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if group["alpha"] < 0:
            raise OptionError(f"alpha is {group['alpha']}, and cannot be negative")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        kept = {"square_avg": _zeros(parameter)}
        if group["momentum"]:
            kept["momentum_buffer"] = _zeros(parameter)
        if group["centered"]:
            kept["grad_avg"] = _zeros(parameter)
        return kept

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _RMSpropNumbers:
        on = bool(group["momentum"])
        return _RMSpropNumbers(
            lr=read("lr", lambda: group["lr"]),
            rest=read("1 - alpha", lambda: 1 - group["alpha"]),
            eps=read("eps", lambda: group["eps"]),
            momentum=read("momentum", lambda: group["momentum"]) if on else 0.0,
        )

    def _updated(
        self, group: ParamGroup, n: _RMSpropNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        square = running_mean(kept["square_avg"], g * g, n.rest)
        if group["centered"]:
            mean = running_mean(kept["grad_avg"], g, n.rest)
            square = square - mean * mean
        step = g / (sqrt(square) + n.eps)
        if group["momentum"]:
            velocity = kept["momentum_buffer"]
            step = velocity.copy_(velocity * n.momentum + step)
        return p - n.lr * step


class _RpropNumbers(NamedTuple):
    down: Scalar
    up: Scalar
    least: Scalar
    most: Scalar


@final
class Rprop(ElementwiseOptimizer[_RpropNumbers]):
    """Rprop: steps by the signs of gradients alone, longer while the sign stays.

    Parameters
    ----------
    params : iterable of Tensor or of dict
        The parameters, or groups of them.
    lr : float, optional
        The first step.
    etas : pair of float, optional
        What a step is multiplied by when the sign of the gradient changes, and when it stays.
    step_sizes : pair of float, optional
        The shortest and the longest step.
    maximize : bool, optional
        Go up instead of down.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([1.0, -2.0]))
    >>> optimizer = optim.Rprop([p], lr=0.5)
    >>> (p * p).sum().backward()
    >>> optimizer.step()
    >>> p.detach().numpy()
    array([ 0.5, -1.5], dtype=float32)
    """

    runtime_options = frozenset({"lr", "etas", "step_sizes"})

    def __init__(
        self,
        params: Params,
        lr: Scalar = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        down, up = group["etas"]
        if not 0 < down < 1 < up:
            raise OptionError(f"etas are one number below 1 and one above, not {down} and {up}")

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        zeros = _zeros(parameter)
        return {"prev": zeros, "step_size": full_like(zeros, float(group["lr"]))}

    def _numbers(self, group: ParamGroup, dtype: DType, read: Read) -> _RpropNumbers:
        return _RpropNumbers(
            down=read("eta down", lambda: group["etas"][0]),
            up=read("eta up", lambda: group["etas"][1]),
            least=read("least step", lambda: group["step_sizes"][0]),
            most=read("greatest step", lambda: group["step_sizes"][1]),
        )

    def _updated(
        self, group: ParamGroup, n: _RpropNumbers, p: Tensor, g: Tensor, kept: dict[str, Tensor]
    ) -> Tensor:
        previous, sizes = kept["prev"], kept["step_size"]
        same = g * previous
        changed = choose(same > 0, sizes * n.up, choose(same < 0, sizes * n.down, sizes))
        sizes.copy_(clip(changed, n.least, n.most))
        g = choose(same < 0, 0.0, g)
        previous.copy_(g)
        return p - sign(g) * sizes
