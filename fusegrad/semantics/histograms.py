"""Counting: how often indices occur, and how many values lie in each bin.

Functions from nodes to nodes; knows no Tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..codegen.dtypes import bool_, float32, float64, int64, uint64
from ..errors import DTypeError, ShapeError
from ..ir.node import Node
from ..ir.types import known_size
from ..ops import build
from .promotion import as_float, promote
from .shapes import show
from .sorting import searchsorted

__all__ = ["bin_edges", "bin_numbers", "counts", "density", "joint_counts"]


def _flat(x: Node) -> Node:
    size = known_size(x.shape)
    assert size is not None
    return build.reshape(x, (size,))


def counts(places: Node, weights: Node | None, length: int) -> Node:
    """How often each index below `length` occurs, or the sum of its weights; others do not count.

    Without weights the result is of int64; floating weights keep their dtype, others are added in
    the default float.
    """
    if not places.dtype.is_integer and places.dtype is not bool_:
        raise DTypeError(
            f"indices have dtype {places.dtype}", remedy='convert them, x.astype("int64")'
        )
    if weights is None:
        amounts = build.full(places.shape, 1, int64)
    else:
        if weights.shape != places.shape:
            raise ShapeError(
                f"weights of shape {show(weights.shape)} for values of shape {show(places.shape)}",
                remedy="give one weight for each value",
            )
        amounts = _flat(weights)
        if amounts.dtype is bool_:
            amounts = build.cast(amounts, int64)
    places = _flat(build.cast(places, int64))
    if not places.shape[0]:
        return build.zeros((length,), amounts.dtype)
    amounts = build.reshape(amounts, places.shape)
    # Whatever has no place of its own is counted in one more, which is cut off: also what is less
    # than zero, which without a sign is very large.
    unsigned = build.cast(places, uint64)
    places = build.cast(build.minimum(unsigned, build.full_like(unsigned, length)), int64)
    wide = build.cast(amounts, float32) if _is_half(amounts) else amounts
    total = build.slice_axis(build.scatter_add(wide, places, 0, length + 1), 0, 0, length)
    return build.cast(total, amounts.dtype)


def _is_half(x: Node) -> bool:
    return x.dtype.is_float and x.dtype.bits < 32


def bin_edges(x: Node, bins: int) -> Node:
    """Edges of `bins` equal bins from the smallest value to the largest; of integers in float64."""
    dtype = x.dtype if x.dtype.is_float else float64
    flat = build.cast(_flat(x), dtype)
    if flat.shape[0]:
        low, high = build.min_(flat, (0,)), build.max_(flat, (0,))
    else:
        low, high = build.constant(0.0, dtype), build.constant(1.0, dtype)
    half = build.constant(0.5, dtype)
    same = build.eq(low, high)
    first = build.select(same, build.sub(low, half), low)
    last = build.select(same, build.add(high, half), high)
    step = build.div(build.sub(last, first), build.constant(float(bins), dtype))
    numbers = build.iota(bins, dtype)
    inner = build.add(
        build.mul(numbers, build.broadcast(step, (bins,), ())), build.broadcast(first, (bins,), ())
    )
    return build.concat([inner, build.reshape(last, (1,))], 0)


def bin_numbers(x: Node, edges: Node, equal: bool = False) -> Node:
    """The bin of each value between ascending edges, -1 outside; the last bin has its right edge.

    Of `equal` bins the number is computed and then compared with the edges; else it is searched.
    Integers are compared with the edges in float64.
    """
    bins = int(edges.shape[0]) - 1  # type: ignore[arg-type]
    wide = float64 if float64 in (edges.dtype, x.dtype) or not x.dtype.is_float else float32
    x, edges = build.cast(x, wide), build.cast(edges, wide)
    first, last = (_everywhere(edges, number, x) for number in (0, bins))
    inside = build.logical_and(build.ge(x, first), build.le(x, last))
    top = build.full(x.shape, bins - 1, int64)
    if equal:
        place = _equal_bins(build.select(inside, x, first), edges, first, last, top)
    else:
        found = searchsorted(edges, x, right=True)
        place = build.sub(found, build.ones_like(found))
        place = build.select(build.eq(x, last), top, place)
    return build.select(inside, place, build.full_like(place, -1))


def _everywhere(edges: Node, number: int, x: Node) -> Node:
    """One edge, in the shape of the values."""
    edge = build.squeeze(build.slice_axis(edges, 0, number, number + 1), (0,))
    return build.broadcast(edge, x.shape, ())


def _equal_bins(x: Node, edges: Node, first: Node, last: Node, top: Node) -> Node:
    """The bins of values that all lie between the edges."""
    count = build.full_like(x, float(int(edges.shape[0]) - 1))  # type: ignore[arg-type]
    scaled = build.mul(build.sub(x, first), build.div(count, build.sub(last, first)))
    place = build.minimum(build.cast(scaled, int64), top)
    one = build.ones_like(place)
    # Rounding may have moved a value over an edge, one at most.
    below = build.cast(build.lt(x, build.take(edges, place, 0)), int64)
    place = build.sub(place, below)
    above = build.ge(x, build.take(edges, build.add(place, one), 0))
    above = build.logical_and(above, build.lt(place, top))
    return build.add(place, build.cast(above, int64))


def density(found: Node, edges: Node) -> Node:
    """Counts over the widths of their bins, such that the integral is 1."""
    bins = int(edges.shape[0]) - 1  # type: ignore[arg-type]
    widths = build.sub(build.slice_axis(edges, 0, 1, bins + 1), build.slice_axis(edges, 0, 0, bins))
    dtype = as_float(edges.dtype)
    amounts, widths = build.cast(found, dtype), build.cast(widths, dtype)
    total = build.broadcast(build.sum_(amounts, (0,)), (bins,), ())
    return build.div(build.div(amounts, widths), total)


def joint_counts(
    columns: Sequence[Node], edges: Sequence[Node], weights: Node | None, is_density: bool
) -> Node:
    """What lies in each bin of several dimensions, given the coordinates and the edges of each."""
    shape = [int(e.shape[0]) - 1 for e in edges]  # type: ignore[arg-type]
    place, outside = None, None
    for column, borders, count in zip(columns, edges, shape, strict=True):
        own = bin_numbers(column, borders)
        missing = build.lt(own, build.zeros_like(own))
        if place is None or outside is None:
            place, outside = own, missing
        else:
            place = build.add(build.mul(place, build.full_like(place, count)), own)
            outside = build.logical_or(outside, missing)
    assert place is not None
    assert outside is not None
    place = build.select(outside, build.full_like(place, -1), place)
    found = build.reshape(counts(place, weights, math.prod(shape)), shape)
    dtype = found.dtype if weights is not None else as_float(edges[0].dtype)
    for borders in edges:
        dtype = promote(dtype, as_float(borders.dtype))
    found = build.cast(found, dtype)
    if not is_density:
        return found
    total = build.broadcast(build.sum_(found, range(len(shape))), shape, ())
    for axis, borders in enumerate(edges):
        count = shape[axis]
        ends = build.slice_axis(borders, 0, 1, count + 1)
        widths = build.sub(ends, build.slice_axis(borders, 0, 0, count))
        found = build.div(found, build.broadcast(build.cast(widths, found.dtype), shape, (axis,)))
    return build.div(found, total)
