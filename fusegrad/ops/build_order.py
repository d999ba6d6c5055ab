"""Constructors of ops that depend on order: cumulative ones, sorting and binary search.

Knows the ops by name only, as `build` does.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..codegen.dtypes import int64
from ..codegen.networks import TOGETHER
from ..ir.node import Node
from ..ir.types import Symbol, known_size
from . import build
from .base import CLASSES

__all__ = [
    "argsort",
    "cumulative",
    "cumulative_places",
    "first_places",
    "kept_beside",
    "linear_recurrence",
    "neighbour",
    "pays_beside",
    "ranked",
    "searchsorted",
    "sort",
]


_KEPT = 64
"""Elements that are kept in order while a row is passed over."""
_SELECTED = 1 << 9
"""Elements of a row of which only a part is put in order."""
_FEW_ROWS = 8
"""More rows are sorted beside each other, which pays for longer ones."""


_CYCLES = {8: 0.7, 16: 1.0, 32: 1.5, 64: 2.0}
"""Of one element of one lane, by how many are kept."""
_INSERTED = 170
"""Cycles that an element takes which one row after the other finds to be among the first."""


def kept_beside(count: int) -> int:
    """How many elements a lane keeps for so many that are wanted."""
    return max(8, 1 << (count - 1).bit_length())


def pays_beside(dtype_bits: int, rows: int, extent: int, count: int) -> bool:
    """Whether rows beside each other take less time than one after the other.

    Parameters
    ----------
    dtype_bits : int
        Of the elements; positions take the other half of 64 bits.
    rows, extent, count : int
        How many rows there are, their elements, and how many of these are wanted.
    """
    if not 0 < count <= _KEPT or dtype_bits > 32 or extent < 2 * count:
        return False
    together = -(-rows // TOGETHER) * TOGETHER * extent * _CYCLES[kept_beside(count)]
    single = extent + _INSERTED * count * (1 + math.log(extent / count))
    return together < rows * single


def _apply(name: str, inputs: tuple[Node, ...], *params: object) -> Node:
    return Node(CLASSES[name](*params), inputs)


def cumulative(scalar: str, x: Node, axis: int, reverse: bool = False) -> Node:
    """Each element of `x` combined by a scalar row with all before it (or behind it) on `axis`."""

    def make(place: int, *operands: Node) -> Node:
        return _apply("cumulative", operands, scalar, place, reverse)

    return _in_three_axes(make, axis, x)


def linear_recurrence(factors: Node, terms: Node, axis: int, reverse: bool = False) -> Node:
    """``y[i] = factors[i] * y[i - 1] + terms[i]`` (or from ``y[i + 1]``) along `axis`."""

    def make(place: int, *operands: Node) -> Node:
        return _apply("linear_recurrence", operands, place, reverse)

    return _in_three_axes(make, axis, factors, terms)


def _in_three_axes(make: Callable[..., Node], axis: int, *operands: Node) -> Node:
    """The axes in front of `axis` and those behind it as one each, where they are more."""
    shape = operands[0].shape
    if len(shape) - axis <= 2 or any(isinstance(extent, Symbol) for extent in shape):
        return make(axis, *operands)
    before, behind = known_size(shape[:axis]), known_size(shape[axis + 1 :])
    assert before is not None
    assert behind is not None
    flat = [build.reshape(x, (before, shape[axis], behind)) for x in operands]
    return build.reshape(make(1, *flat), shape)


def neighbour(x: Node, axis: int, before: bool, fill: float) -> Node:
    """For each element the one before it (or behind it) along `axis`; `fill` at the end."""
    extent = x.shape[axis]
    shape = (*x.shape[:axis], 1, *x.shape[axis + 1 :])
    end = build.full(shape, fill, x.dtype)
    if isinstance(extent, Symbol):
        return _neighbour_of_unknown(x, axis, before, fill)
    if extent == 0:
        return x
    if before:
        return build.concat([end, build.slice_axis(x, axis, 0, extent - 1)], axis)
    return build.concat([build.slice_axis(x, axis, 1, extent), end], axis)


def _neighbour_of_unknown(x: Node, axis: int, before: bool, fill: float) -> Node:
    here = build.broadcast(build.iota(x.shape[axis]), x.shape, (axis,))
    one = build.ones_like(here)
    places = build.sub(here, one) if before else build.add(here, one)
    if before:
        inside = build.gt(here, build.zeros_like(here))
    else:
        count = build.sum_(build.ones_like(build.iota(x.shape[axis])), (0,))
        inside = build.lt(places, build.broadcast(count, x.shape, ()))
    return build.select(inside, build.take_along(x, places, axis), build.full_like(x, fill))


def cumulative_places(x: Node, extreme: Node, axis: int, reverse: bool) -> Node:
    """Where the cumulative `extreme` of `x` was met last: the latest of equal elements."""
    here = build.broadcast(build.iota(x.shape[axis], int64), x.shape, (axis,))
    met = build.eq(x, extreme)
    if x.dtype.is_float:
        met = build.logical_or(met, build.isnan(x))
    if reverse:
        last = build.full_like(here, int64.highest)
        return cumulative("minimum", build.select(met, here, last), axis, reverse)
    return cumulative("maximum", build.select(met, here, build.zeros_like(here)), axis)


def argsort(x: Node, descending: bool = False) -> Node:
    """The order of the elements along the last axis: stable, NaN as the largest value."""
    return _in_rows("argsort", x, descending)


def first_places(x: Node, count: int, descending: bool = False) -> Node:
    """The first `count` of `argsort`.

    Long rows are passed over for few elements; short ones, of which there are many, are sorted.
    """
    *lead, extent = x.shape
    rows = known_size(tuple(lead))
    least = 16 if rows is None or rows < _FEW_ROWS else 64
    if (
        isinstance(extent, int)
        and rows is not None
        and pays_beside(x.dtype.bits, rows, extent, count)
    ):
        return _in_rows("first_places", x, count, descending)
    if isinstance(extent, int) and count <= _KEPT and extent >= least * max(count, 4):
        return _in_rows("first_places", x, count, descending)
    return ranked(x, 0, count, descending, positions=True)


def ranked(
    x: Node, first: int, last: int, descending: bool = False, positions: bool = False
) -> Node:
    """A part of the order along the last axis: elements, or where they are.

    Of short rows, and of dtypes that are sorted by digits, the whole order is made.
    """
    extent = x.shape[-1]
    bits = x.dtype.bits
    selected = isinstance(extent, int) and extent >= _SELECTED and last - first < extent
    if selected and bits >= 16 and (bits <= 32 or not positions):
        return _in_rows("ranked", x, first, last, descending, positions)
    whole = argsort(x, descending) if positions else sort(x, descending)
    return build.slice_axis(whole, len(x.shape) - 1, first, last)


def sort(x: Node, descending: bool = False) -> Node:
    """The elements in order along the last axis, NaN as the largest value."""
    return _in_rows("sort", x, descending)


def _in_rows(name: str, x: Node, *params: object) -> Node:
    """An op along the last axis, with all others as one: many rows are sorted together."""
    count = known_size(x.shape[:-1])
    if len(x.shape) <= 2 or count is None:
        return _apply(name, (x,), *params)
    found = _apply(name, (build.reshape(x, (count, x.shape[-1])),), *params)
    return build.reshape(found, (*x.shape[:-1], found.shape[-1]))


def searchsorted(ordered: Node, values: Node, right: bool = False) -> Node:
    """How many elements of `ordered` (last axis) lie in front of each of `values`.

    The axes of `ordered` but the last are the first ones of `values`.
    """
    return _apply("searchsorted", (ordered, values), right)
