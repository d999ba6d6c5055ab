"""Reductions: identities, empty axes, and means and variances as compositions.

Functions from nodes to nodes; knows no Tensor.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from typing import Any

from ..codegen.dtypes import DType, bool_, int32
from ..errors import EmptyReductionError
from ..ir.halves import wide
from ..ir.node import Node
from ..ir.types import known_size
from ..ops import build
from .promotion import as_float, sum_dtype
from .shapes import axis_tuple, one_axis, show

__all__ = [
    "all_",
    "any_",
    "argmax",
    "argmin",
    "count_nonzero",
    "logsumexp",
    "max_",
    "mean",
    "min_",
    "prod",
    "std",
    "sum_",
    "var",
]

Axis = int | Iterable[int] | None


def lessened(correction: float, ddof: float | None, unbiased: bool | None) -> float:
    """What variances take off the number of elements: in the array API's, NumPy's, torch's way."""
    if unbiased is not None:
        return float(unbiased)
    return correction if ddof is None else ddof


def _finish(result: Node, axes: tuple[int, ...], keepdims: bool) -> Node:
    return build.expand_dims(result, axes) if keepdims else result


def _check_nonempty(name: str, x: Node, axes: Iterable[int]) -> None:
    if any(x.shape[axis] == 0 for axis in axes):
        raise EmptyReductionError(
            f"{name} of no elements has no value: the array has shape {show(x.shape)}"
        )


def sum_(x: Node, axis: Axis = None, keepdims: bool = False, dtype: DType | None = None) -> Node:
    """The sum; integers and bools are added in 64 bits."""
    axes = axis_tuple("sum", axis, len(x.shape))
    x = build.cast(x, dtype or sum_dtype(x.dtype))
    return _finish(build.sum_(x, axes), axes, keepdims)


def prod(x: Node, axis: Axis = None, keepdims: bool = False, dtype: DType | None = None) -> Node:
    """The product; integers and bools are multiplied in 64 bits."""
    axes = axis_tuple("prod", axis, len(x.shape))
    x = build.cast(x, dtype or sum_dtype(x.dtype))
    return _finish(build.prod(x, axes), axes, keepdims)


def _extreme(
    name: str, reduce: Callable[..., Node], of_bools: Callable[..., Node]
) -> Callable[..., Node]:
    def extreme(x: Node, axis: Axis = None, keepdims: bool = False) -> Node:
        axes = axis_tuple(name, axis, len(x.shape))
        _check_nonempty(name, x, axes)
        result = of_bools(x, axes) if x.dtype is bool_ else reduce(x, axes)
        return _finish(result, axes, keepdims)

    return extreme


max_ = _extreme("max", build.max_, build.any_)
min_ = _extreme("min", build.min_, build.all_)


def _truth(name: str, reduce: Callable[..., Node]) -> Callable[..., Node]:
    def truth(x: Node, axis: Axis = None, keepdims: bool = False) -> Node:
        axes = axis_tuple(name, axis, len(x.shape))
        return _finish(reduce(build.cast(x, bool_), axes), axes, keepdims)

    return truth


any_ = _truth("any", build.any_)
all_ = _truth("all", build.all_)


def _arg(name: str, reduce: Callable[[Node, int], Node]) -> Callable[..., Node]:
    def arg(x: Node, axis: int | None = None, keepdims: bool = False) -> Node:
        shape = x.shape
        if axis is None:
            _check_nonempty(name, x, range(len(shape)))
            axes = tuple(range(len(shape)))
            x = build.reshape(x, (_count(x, axes),))
            place = 0
        else:
            place = one_axis(name, axis, len(shape))
            axes = (place,) if shape else ()
            _check_nonempty(name, x, axes)
            if not shape:
                x = build.reshape(x, (1,))
        if x.dtype is bool_:
            x = build.cast(x, int32)
        return _finish(reduce(x, place), axes, keepdims)

    return arg


argmax = _arg("argmax", build.argmax)
argmin = _arg("argmin", build.argmin)


def _count(x: Node, axes: Iterable[int]) -> int:
    count = known_size([x.shape[axis] for axis in axes])
    assert count is not None
    return count


def _divide_by_count(total: Node, x: Node, axes: tuple[int, ...], correction: float) -> Node:
    count = known_size([x.shape[axis] for axis in axes])
    if count is not None:
        # An integer stays one, so that it is known to follow from the shape.
        whole = int(correction) if correction == int(correction) else correction
        return build.div(total, build.full_like(total, max(count - whole, 0)))
    # An extent is a symbol: its value is known when the program runs.
    ones = build.sum_(build.ones_like(x), axes)
    return build.div(total, build.sub(ones, build.full_like(ones, correction)))


def _in_float32(function: Callable[..., Node]) -> Callable[..., Node]:
    """`function`, of halves in float32 and rounded once: sums in between do not overflow."""

    @functools.wraps(function)
    def call(x: Node, *args: Any, **kwargs: Any) -> Node:
        result = function(build.cast(x, wide(x.dtype)), *args, **kwargs)
        return build.cast(result, x.dtype) if x.dtype.is_half else result

    return call


def mean(x: Node, axis: Axis = None, keepdims: bool = False, dtype: DType | None = None) -> Node:
    """The mean; of integers in the default float, of nothing NaN."""
    return _mean(build.cast(x, dtype or as_float(x.dtype)), axis, keepdims)


@_in_float32
def _mean(x: Node, axis: Axis, keepdims: bool) -> Node:
    axes = axis_tuple("mean", axis, len(x.shape))
    return _finish(_divide_by_count(build.sum_(x, axes), x, axes, 0.0), axes, keepdims)


@_in_float32
def var(x: Node, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Node:
    """The mean squared distance from the mean, with ``n - correction`` in the denominator."""
    axes = axis_tuple("var", axis, len(x.shape))
    x = build.cast(x, as_float(x.dtype))
    centred = build.sub(x, build.broadcast_to(mean(x, axes, keepdims=True), x.shape))
    total = build.sum_(build.square(centred), axes)
    return _finish(_divide_by_count(total, x, axes, correction), axes, keepdims)


@_in_float32
def std(x: Node, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Node:
    """The square root of the variance; its gradient is zero where the variance is."""
    square = var(x, axis, correction, keepdims)
    zero = build.zeros_like(square)
    return build.where_(build.eq(square, zero), zero, build.sqrt(square))


def count_nonzero(x: Node, axis: Axis = None, keepdims: bool = False) -> Node:
    """How many elements are not zero."""
    return sum_(build.cast(x, bool_), axis, keepdims)


@_in_float32
def logsumexp(x: Node, axis: Axis = None, keepdims: bool = False) -> Node:
    """``log(sum(exp(x)))`` that does not overflow: the largest element is taken out first."""
    axes = axis_tuple("logsumexp", axis, len(x.shape))
    _check_nonempty("logsumexp", x, axes)
    x = build.cast(x, as_float(x.dtype))
    top = build.stop_gradient(build.max_(x, axes))
    # Infinite: inf - inf would be NaN.
    top = build.select(build.isfinite(top), top, build.zeros_like(top))
    wide = build.broadcast_to(build.expand_dims(top, axes), x.shape)
    total = build.sum_(build.exp(build.sub(x, wide)), axes)
    # The logarithm of nothing has no gradient to elements of minus infinity.
    none = build.eq(total, build.zeros_like(total))
    logarithm = build.where_(none, build.full_like(total, -math.inf), build.log(total))
    return _finish(build.add(logarithm, top), axes, keepdims)
