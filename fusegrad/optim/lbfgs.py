"""The method of Broyden, Fletcher, Goldfarb and Shanno with limited memory.

User-level code: the loss and its gradients come from a closure, which may be compiled; the vectors
between two of its calls are NumPy's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from ..errors import OptionError
from ..functions.creation import asarray
from ..tensors.context import enable_grad, no_grad
from ..tensors.tensor_class import Tensor
from .elementwise import Params
from .optimizer import Optimizer, ParamGroup

__all__ = ["LBFGS"]

Vector = npt.NDArray[Any]
_MOST_TRIALS = 25
_LEAST_CURVATURE = 1e-10


class _Point(NamedTuple):
    """A step along the direction, and what was found there."""

    step: float
    loss: float
    gradient: Vector
    slope: float


@final
class LBFGS(Optimizer):
    """Steps of Newton's kind, from the last gradients, with a closure that is called many times.

    Parameters
    ----------
    params : iterable of Tensor
        The parameters, in one group.
    lr : float, optional
        The length of a step where nothing is searched for.
    max_iter : int, optional
        Iterations in each call of `step`.
    max_eval : int, optional
        Calls of the closure in each call of `step`, by default 1.25 times the iterations.
    tolerance_grad : float, optional
        The iteration ends where no gradient is larger.
    tolerance_change : float, optional
        It ends where neither the loss nor a parameter changes more.
    history_size : int, optional
        How many gradients are remembered.
    line_search_fn : {"strong_wolfe"}, optional
        Search for a step that meets Wolfe's conditions.

    Notes
    -----
    The closure resets the gradients, computes the loss, calls ``backward`` and returns the loss.
    It is called outside of compiled functions, but may be one. What is remembered is not part of
    the `state_dict`: a restored optimizer begins with the steepest descent.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn, optim
    >>> p = nn.Parameter(fg.asarray([3.0, -1.0]))
    >>> optimizer = optim.LBFGS([p], line_search_fn="strong_wolfe")
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = ((p - fg.asarray([1.0, 2.0])) ** 2).sum()
    ...     loss.backward()
    ...     return loss
    >>> _ = optimizer.step(closure)
    >>> p.detach().numpy().round(4)
    array([1., 2.], dtype=float32)
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)
        if len(self.param_groups) != 1:
            raise OptionError("LBFGS takes one group of parameters")
        self._forget()

    def _forget(self) -> None:
        self._steps: list[Vector] = []
        self._changes: list[Vector] = []
        self._scale = 1.0
        self._last: tuple[Vector, Vector] | None = None

    def _check(self, group: Mapping[str, Any]) -> None:
        super()._check(group)
        if group["line_search_fn"] not in (None, "strong_wolfe"):
            raise OptionError(
                f"line_search_fn is None or 'strong_wolfe', not {group['line_search_fn']!r}"
            )

    def _initial_state(self, group: ParamGroup, parameter: Tensor) -> dict[str, Tensor]:
        return {}

    def _update(self, group: ParamGroup, parameters: list[tuple[Tensor, Tensor]]) -> None:
        raise NotImplementedError("LBFGS.step calls its closure itself")

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set the options from what `state_dict` returned; what was remembered is forgotten."""
        super().load_state_dict(state_dict)
        self._forget()

    # --- vectors ------------------------------------------------------------------------------

    def _values(self) -> Vector:
        return np.concatenate(
            [p.detach().numpy().reshape(-1) for p in self.param_groups[0]["params"]]
        ).astype(np.float64)

    def _gradients(self) -> Vector:
        parts = []
        for p in self.param_groups[0]["params"]:
            known = np.zeros(p.size) if p.grad is None else p.grad.detach().numpy().reshape(-1)
            parts.append(known)
        return np.concatenate(parts).astype(np.float64)

    def _write(self, values: Vector) -> None:
        first = 0
        with no_grad():
            for p in self.param_groups[0]["params"]:
                part = values[first : first + p.size].reshape(p.shape)
                p.copy_(asarray(part).astype(p.dtype))
                first += p.size

    def _direction(self, gradient: Vector) -> Vector:
        """Minus the estimate of the inverse Hessian times the gradient."""
        direction = -gradient
        weights = []
        for step, change in zip(self._steps[::-1], self._changes[::-1], strict=True):
            weight = step @ direction / (change @ step)
            weights.append(weight)
            direction = direction - weight * change
        direction = direction * self._scale
        pairs = zip(self._steps, self._changes, weights[::-1], strict=True)
        for step, change, weight in pairs:
            direction = direction + step * (weight - change @ direction / (change @ step))
        return direction

    def _remember(self, step: Vector, change: Vector) -> None:
        curvature = change @ step
        if curvature > _LEAST_CURVATURE:
            most = self.param_groups[0]["history_size"]
            self._steps = [*self._steps, step][-most:]
            self._changes = [*self._changes, change][-most:]
            self._scale = curvature / (change @ change)

    # --- the step -----------------------------------------------------------------------------

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Iterate, calling the closure as often as needed.

        Parameters
        ----------
        closure : callable
            Computes the loss and the gradients.

        Returns
        -------
        Tensor
            What the first call of the closure returned.
        """
        if closure is None:
            raise OptionError("LBFGS.step needs a closure that computes the loss")
        group = self.param_groups[0]
        calls = 0

        def evaluate() -> tuple[Any, Vector]:
            nonlocal calls
            calls += 1
            with enable_grad():
                found = closure()
            return found, self._gradients()

        first_loss, gradient = evaluate()
        loss = float(first_loss)
        for iteration in range(group["max_iter"]):
            if abs(gradient).max(initial=0.0) <= group["tolerance_grad"]:
                break
            fresh = self._last is None
            if self._last is not None:
                self._remember(self._last[0], gradient - self._last[1])
            direction = self._direction(gradient)
            slope = float(gradient @ direction)
            if slope > -group["tolerance_change"]:
                break
            length = min(1.0, 1.0 / abs(gradient).sum()) if fresh else 1.0
            start, before, previous = self._values(), loss, gradient
            begin = _Point(0.0, loss, gradient, slope)
            step = length * float(group["lr"])

            def at(step: float, start: Vector = start, direction: Vector = direction) -> _Point:
                self._write(start + step * direction)
                found, there = evaluate()
                return _Point(step, float(found), there, float(there @ direction))

            if group["line_search_fn"]:
                best = _searched(at, begin, step, abs(direction).max())
                self._write(start + best.step * direction)
                step, loss, gradient = best.step, best.loss, best.gradient
            elif iteration + 1 < group["max_iter"]:
                _, loss, gradient, _ = at(step)
            else:
                self._write(start + step * direction)
            self._last = (step * direction, previous)
            small = abs(step * direction).max() <= group["tolerance_change"]
            if small or abs(loss - before) < group["tolerance_change"]:
                break
            if calls >= group["max_eval"]:
                break
        return first_loss


def _searched(at: Callable[[float], _Point], begin: _Point, step: float, reach: float) -> _Point:
    """A step that meets Wolfe's conditions, or the best that was tried."""

    def too_high(point: _Point, other: _Point) -> bool:
        bound = begin.loss + 1e-4 * point.step * begin.slope
        return not point.loss <= bound or point.loss >= other.loss

    def flat(point: _Point) -> bool:
        return abs(point.slope) <= -0.9 * begin.slope

    low = begin
    for trial in range(_MOST_TRIALS):
        point = at(step)
        if too_high(point, low) and (trial or point.loss != begin.loss):
            return _between(at, begin, low, point, too_high, flat, reach)
        if flat(point):
            return point
        if point.slope >= 0:
            return _between(at, begin, point, low, too_high, flat, reach)
        step = min(max(_cubic(low, point), step * 1.01 + 0.01 * (step - low.step)), step * 10)
        low = point
    return low


def _between(
    at: Callable[[float], _Point],
    begin: _Point,
    low: _Point,
    high: _Point,
    too_high: Callable[[_Point, _Point], bool],
    flat: Callable[[_Point], bool],
    reach: float,
) -> _Point:
    """Such a step between two others; `low` is the better one."""
    for _ in range(_MOST_TRIALS):
        width = abs(high.step - low.step)
        if width * reach < 1e-9:
            break
        inside = 0.1 * width
        near, far = min(low.step, high.step) + inside, max(low.step, high.step) - inside
        point = at(min(max(_cubic(low, high), near), far))
        if too_high(point, low):
            high = point
            continue
        if flat(point):
            return point
        if point.slope * (high.step - low.step) >= 0:
            high = low
        low = point
    return low if low.step or high.loss > begin.loss else high


def _cubic(one: _Point, other: _Point) -> float:
    """Where the cubic through two points with their slopes is least; else their middle."""
    if one.step > other.step:
        one, other = other, one
    width = other.step - one.step
    middle = (one.step + other.step) / 2
    if not width or not np.isfinite([one.loss, other.loss, one.slope, other.slope]).all():
        return middle
    first = one.slope + other.slope - 3 * (other.loss - one.loss) / width
    square = first * first - one.slope * other.slope
    if square < 0:
        return middle
    second = float(np.sqrt(square))
    bottom = other.slope - one.slope + 2 * second
    return other.step - width * (other.slope + second - first) / bottom if bottom else middle
