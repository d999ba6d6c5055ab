"""Elements that are not zero and distinct elements, as many as there is room for.

Functions from nodes to nodes; knows no Tensor. Nothing here depends on values but what fills the
room that is left.
"""

from __future__ import annotations

from typing import NamedTuple

from ..codegen.dtypes import bool_, int64, uint8
from ..ir.node import Node
from ..ir.types import known_size
from ..ops import build, build_order
from .sorting import argsort

__all__ = ["Distinct", "distinct", "nonzero_places"]


def _flat(x: Node) -> Node:
    size = known_size(x.shape)
    assert size is not None
    return build.reshape(x, (size,))


def _places(mask: Node, size: int) -> tuple[Node, Node]:
    """The first `size` places where a flat mask holds, and which of them there are."""
    extent = int(mask.shape[0])  # type: ignore[arg-type]
    # Stable: what holds comes first, in order.
    order = build_order.argsort(build.cast(build.logical_not(mask), uint8))
    found = build.slice_axis(order, 0, 0, min(size, extent))
    found = build.pad(found, [0], [size - min(size, extent)])
    count = build.sum_(build.cast(mask, int64), (0,))
    return found, build.lt(build.iota(size), build.broadcast(count, (size,), ()))


def nonzero_places(x: Node, axis: int, size: int, fill: int) -> Node:
    """The indices along one axis of the first `size` elements that are not zero."""
    flat, there = _places(_flat(build.cast(x, bool_)), size)
    behind = known_size(x.shape[axis + 1 :])
    extent = known_size(x.shape[axis : axis + 1])
    assert behind is not None
    assert extent is not None
    place = build.floordiv(flat, build.full_like(flat, max(behind, 1)))
    place = build.mod(place, build.full_like(place, max(extent, 1)))
    return build.select(there, place, build.full_like(place, fill))


class Distinct(NamedTuple):
    """What is known of the distinct elements of an array."""

    values: Node
    indices: Node
    inverse: Node
    counts: Node


def distinct(x: Node, size: int, fill: Node | None, equal_nan: bool) -> Distinct:
    """The first `size` distinct elements in order; `fill` (the smallest one) for missing ones."""
    flat = _flat(x)
    extent = int(flat.shape[0])  # type: ignore[arg-type]
    if not extent:
        none = build.zeros((size,), int64)
        values = build.zeros((size,), x.dtype)
        if fill is not None:
            values = build.broadcast(fill, (size,), ())
        return Distinct(values, none, build.zeros(x.shape, int64), none)
    order = argsort(flat, 0, descending=False)
    ordered = build.take(flat, order, 0)
    before = build_order.neighbour(ordered, 0, True, 0)
    differs = build.ne(ordered, before)
    if equal_nan and x.dtype.is_float:
        both = build.logical_and(build.isnan(ordered), build.isnan(before))
        differs = build.logical_and(differs, build.logical_not(both))
    here = build.iota(extent)
    begins = build.logical_or(differs, build.eq(here, build.zeros_like(here)))
    starts, there = _places(begins, size + 1)
    starts = build.select(there, starts, build.full_like(starts, extent))
    first, there = build.slice_axis(starts, 0, 0, size), build.slice_axis(there, 0, 0, size)
    counts = build.sub(build.slice_axis(starts, 0, 1, size + 1), first)
    indices = build.take(order, build.select(there, first, build.zeros_like(first)), 0)
    values = build.take(flat, indices, 0)
    if fill is not None:
        values = build.select(there, values, build.broadcast(fill, (size,), ()))
    number = build_order.cumulative("add", build.cast(begins, int64), 0)
    number = build.sub(number, build.ones_like(number))
    number = build.minimum(number, build.full_like(number, max(size - 1, 0)))
    inverse = build.reshape(build.scatter_add(number, order, 0, extent), x.shape)
    return Distinct(values, indices, inverse, counts)
