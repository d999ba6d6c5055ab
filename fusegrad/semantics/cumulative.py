"""Cumulative functions: axes, dtypes and starting values.

Functions from nodes to nodes; knows no Tensor.
"""

from __future__ import annotations

from collections.abc import Callable

from ..codegen.dtypes import DType, bool_, float32
from ..errors import ShapeError
from ..ir.node import Node
from ..ir.types import known_size
from ..ops import build, build_order
from .promotion import as_float, sum_dtype
from .shapes import one_axis, show

__all__ = [
    "along",
    "cumprod",
    "cumsum",
    "cumulative_extreme",
    "extreme_places",
    "flat_axis",
    "logcumsumexp",
    "only_axis",
    "widened",
    "with_initial",
]


def flat_axis(name: str, x: Node, axis: int | None) -> tuple[Node, int]:
    """`x` and an axis of it, counted from 0; without an axis all elements in one."""
    if axis is None:
        size = known_size(x.shape)
        assert size is not None
        return build.reshape(x, (size,)), 0
    # A number counts as one element of one axis.
    place = one_axis(name, axis, max(len(x.shape), 1))
    return (x, place) if x.shape else (build.reshape(x, (1,)), 0)


def only_axis(name: str, x: Node, axis: int | None) -> int:
    """The axis, which may be left out if there is one only."""
    if axis is None:
        if len(x.shape) != 1:
            raise ShapeError(
                f"{name} of an array of {len(x.shape)} dimensions, shape {show(x.shape)}, "
                "needs an axis",
                remedy="name the axis, axis=..., or flatten the array first",
            )
        return 0
    if not x.shape:
        raise ShapeError(
            f"{name} of an array without axes", remedy="reshape it to one axis first, x.reshape(1)"
        )
    return one_axis(name, axis, len(x.shape))


def widened(function: Callable[[Node], Node], x: Node) -> Node:
    """`function` of `x`; half precision is computed in float32 and rounded once."""
    if x.dtype.is_float and x.dtype.bits < 32:
        return build.cast(function(build.cast(x, float32)), x.dtype)
    return function(x)


def along(name: str, x: Node, axis: int | None, function: Callable[[Node, int], Node]) -> Node:
    """A function along an axis that keeps the shape; without one, of all elements in one axis."""
    flat, place = flat_axis(name, x, axis)
    result = function(flat, place)
    return result if axis is None else build.reshape(result, x.shape)


def _accumulated(scalar: str, x: Node, axis: int, dtype: DType | None, reverse: bool) -> Node:
    x = build.cast(x, dtype or sum_dtype(x.dtype))
    if x.dtype is bool_:
        # Sums and products of bools are logic, as they are of two.
        scalar = "maximum" if scalar == "add" else "minimum"
    return widened(lambda wide: build_order.cumulative(scalar, wide, axis, reverse), x)


def cumsum(x: Node, axis: int | None, dtype: DType | None = None, reverse: bool = False) -> Node:
    """Sums of each element and all before it; integers and bools are added in 64 bits."""
    return along("cumsum", x, axis, lambda n, a: _accumulated("add", n, a, dtype, reverse))


def cumprod(x: Node, axis: int | None, dtype: DType | None = None, reverse: bool = False) -> Node:
    """Products of each element and all before it; integers are multiplied in 64 bits."""
    return along("cumprod", x, axis, lambda n, a: _accumulated("mul", n, a, dtype, reverse))


def with_initial(x: Node, axis: int, value: float, reverse: bool) -> Node:
    """`x` with one element more where accumulation begins."""
    start = build.full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), value, x.dtype)
    return build.concat([x, start] if reverse else [start, x], axis)


def cumulative_extreme(x: Node, axis: int | None, largest: bool, reverse: bool = False) -> Node:
    """The largest or smallest of each element and all before it; NaN stays."""
    name, scalar = ("cummax", "maximum") if largest else ("cummin", "minimum")

    def accumulated(flat: Node, place: int) -> Node:
        return widened(lambda wide: build_order.cumulative(scalar, wide, place, reverse), flat)

    return along(name, x, axis, accumulated)


def extreme_places(x: Node, axis: int | None, largest: bool, reverse: bool = False) -> Node:
    """Where the extreme so far is: the latest of equal elements on the way."""

    def places(flat: Node, place: int) -> Node:
        extreme = cumulative_extreme(flat, place, largest, reverse)
        return build_order.cumulative_places(flat, extreme, place, reverse)

    return along("cummax" if largest else "cummin", x, axis, places)


def logcumsumexp(x: Node, axis: int | None, reverse: bool = False) -> Node:
    """``log(cumsum(exp(x)))`` without overflow."""
    x = build.cast(x, as_float(x.dtype))

    def accumulated(flat: Node, place: int) -> Node:
        return widened(lambda wide: build_order.cumulative("logaddexp", wide, place, reverse), flat)

    return along("logcumsumexp", x, axis, accumulated)
