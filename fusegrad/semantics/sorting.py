"""Sorting, picking by rank, and searching in sorted arrays.

Functions from nodes to nodes; knows no Tensor. Ops sort along the last axis: other axes are moved
there and back. NaN counts as the largest value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..codegen.dtypes import bool_, float32, int64
from ..errors import EmptyReductionError, ShapeError
from ..ir.node import Node
from ..ir.types import Extent
from ..ops import build, build_order
from .cumulative import along, widened
from .shapes import broadcast_all, one_axis, show

__all__ = [
    "argsort",
    "digitize",
    "extent_of",
    "is_in",
    "kth_place",
    "last_axis",
    "lexsort",
    "mode_places",
    "move_axis",
    "pick",
    "searchsorted",
    "sort",
    "top_places",
]


_FIRST_RANKS = 16
"""Up to this rank an element is found with all that come before it."""


def move_axis(x: Node, source: int, destination: int) -> Node:
    """`x` with one axis at another place."""
    axes = [axis for axis in range(len(x.shape)) if axis != source]
    return build.transpose(x, (*axes[:destination], source, *axes[destination:]))


def last_axis(function: Callable[[Node], Node], x: Node, axis: int) -> Node:
    """A function along the last axis, along another one."""
    last = len(x.shape) - 1
    if axis == last:
        return function(x)
    return move_axis(function(move_axis(x, axis, last)), last, axis)


def sort(x: Node, axis: int | None, descending: bool) -> Node:
    """The elements in order along an axis; without one, all of them in one."""

    def ordered(row: Node) -> Node:
        return widened(lambda wide: build_order.sort(wide, descending), row)

    return along("sort", x, axis, lambda flat, place: last_axis(ordered, flat, place))


def argsort(x: Node, axis: int | None, descending: bool) -> Node:
    """The places of the elements in order; equal ones keep theirs."""

    def order(row: Node) -> Node:
        return build_order.argsort(_wide(row), descending)

    return along("argsort", x, axis, lambda flat, place: last_axis(order, flat, place))


def _wide(x: Node) -> Node:
    """Half precision in float32, which has the same order."""
    return build.cast(x, float32) if x.dtype.is_float and x.dtype.bits < 32 else x


def _with_axis(name: str, x: Node, axis: int) -> tuple[Node, int]:
    """`x` with an axis, and the axis counted from 0; a number is one element of one axis."""
    place = one_axis(name, axis, max(len(x.shape), 1))
    return (x if x.shape else build.reshape(x, (1,))), place


def _reduced(x: Node, places: Node, axis: int, keepdims: bool) -> Node:
    """Places with an axis of extent 1, which vanishes unless it is kept; never for a number."""
    return places if keepdims and x.shape else build.squeeze(places, (axis,))


def top_places(x: Node, count: int, axis: int, largest: bool) -> Node:
    """The places of the largest (or smallest) elements, in order, the first of equal ones first."""
    row, place = _with_axis("topk", x, axis)
    extent = row.shape[place]
    if not isinstance(extent, int) or not 0 <= count <= extent:
        raise ShapeError(
            f"topk: there are no {count} elements along axis {place} of shape {show(x.shape)}",
            remedy=f"k must be between 0 and {extent}",
        )

    def first(rows: Node) -> Node:
        return build_order.first_places(_wide(rows), count, largest)

    places = last_axis(first, row, place)
    return places if x.shape or not count else build.reshape(places, ())


def kth_place(x: Node, rank: int, axis: int, keepdims: bool) -> Node:
    """The place of the element of a rank, counted from 1."""
    row, place = _with_axis("kthvalue", x, axis)
    extent = row.shape[place]
    if not isinstance(extent, int) or not 1 <= rank <= extent:
        raise ShapeError(
            f"kthvalue: there is no element of rank {rank} along axis {place} of shape "
            f"{show(x.shape)}",
            remedy=f"ranks are counted from 1: k must be between 1 and {extent}",
        )

    def ranked(rows: Node) -> Node:
        if rank > _FIRST_RANKS:
            return build_order.ranked(_wide(rows), rank - 1, rank, positions=True)
        first = build_order.first_places(_wide(rows), rank)
        return build.slice_axis(first, len(rows.shape) - 1, rank - 1, rank)

    return _reduced(x, last_axis(ranked, row, place), place, keepdims)


def mode_places(x: Node, axis: int, keepdims: bool) -> Node:
    """Where the most frequent value is: the smallest of equally frequent, its last occurrence."""
    row, place = _with_axis("mode", x, axis)
    if row.shape[place] == 0:
        raise EmptyReductionError(f"mode of no elements has no value: the shape is {show(x.shape)}")
    order = argsort(row, place, descending=False)
    ordered = build.take_along(row, order, place)
    here = build.broadcast(build.iota(row.shape[place], int64), row.shape, (place,))
    zero = build.zeros_like(here)
    changes = build.ne(ordered, build_order.neighbour(ordered, place, True, 0))
    begins = build.logical_or(changes, build.eq(here, zero))
    start = build_order.cumulative("maximum", build.select(begins, here, zero), place)
    longest = build.expand_dims(build.argmax(build.sub(here, start), place), (place,))
    return _reduced(x, build.take_along(order, longest, place), place, keepdims)


def pick(x: Node, places: Node, axis: int) -> Node:
    """The elements at `places` along an axis, in their shape; they may lack the axis."""
    row, place = _with_axis("take_along_axis", x, axis)
    if len(places.shape) == len(row.shape):
        return build.take_along(row, places, place)
    found = build.take_along(row, build.expand_dims(places, (place,)), place)
    return build.squeeze(found, (place,))


def extent_of(name: str, shape: Sequence[Extent], axis: int) -> int:
    """The number of elements along an axis."""
    extent = shape[one_axis(name, axis, len(shape))] if shape else 1
    assert isinstance(extent, int)
    return extent


def lexsort(keys: Sequence[Node], axis: int) -> Node:
    """The order by several keys, of which the last one counts most."""
    keys = broadcast_all("lexsort", keys)
    place = one_axis("lexsort", axis, max(len(keys[0].shape), 1))
    order = argsort(keys[0], place, descending=False)
    for key in keys[1:]:
        if not key.shape:
            return order
        arranged = build.take_along(key, order, place)
        order = build.take_along(order, argsort(arranged, place, descending=False), place)
    return order


# --- searching ------------------------------------------------------------------------------------


def searchsorted(ordered: Node, values: Node, right: bool) -> Node:
    """How many elements of each ordered row lie in front of values of the same dtype."""
    if not ordered.shape:
        raise ShapeError(
            "searchsorted: the sorted array has no axis", remedy="give it one, x.reshape(1)"
        )
    lead = len(ordered.shape) - 1
    if ordered.shape[:-1] != values.shape[:lead]:
        raise ShapeError(
            f"searchsorted: rows of shape {show(ordered.shape)} for values of shape "
            f"{show(values.shape)}",
            remedy="all axes but the last must be equal, or the sorted array one row",
        )
    return build_order.searchsorted(_wide(ordered), _wide(values), right)


def digitize(values: Node, bins: Node, right: bool) -> Node:
    """The number of the bin of each value; the edges ascend or descend."""
    if len(bins.shape) != 1:
        raise ShapeError(
            f"digitize: the edges have shape {show(bins.shape)}", remedy="give them on one axis"
        )
    count = bins.shape[0]
    upwards = searchsorted(bins, values, not right)
    if not isinstance(count, int) or count < 2:
        return upwards
    found = searchsorted(build.flip(bins, (0,)), values, not right)
    downwards = build.sub(build.full_like(found, count), found)
    first, last = (build.slice_axis(bins, 0, i, i + 1) for i in (0, count - 1))
    descends = build.broadcast(build.squeeze(build.gt(first, last), (0,)), values.shape, ())
    return build.select(descends, downwards, upwards)


def is_in(values: Node, among: Node, invert: bool) -> Node:
    """Whether each value equals one of others of the same dtype; NaN equals none."""
    pool = sort(among, None, descending=False)
    extent = pool.shape[0]
    if extent == 0:
        return build.full(values.shape, invert, bool_)
    place = searchsorted(pool, values, right=False)
    assert isinstance(extent, int)
    place = build.minimum(place, build.full_like(place, extent - 1))
    found = build.eq(build.take(pool, place, 0), values)
    return build.logical_not(found) if invert else found
