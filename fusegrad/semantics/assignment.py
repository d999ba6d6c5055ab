"""Replacing and combining parts of an array by index.

Functions from nodes to nodes: the result is the new array. Knows no Tensor. A part that is a box is
a choice between two values for every element, which fuses; index arrays scatter. Where an index
occurs several times the last value stays, and combined ones all count, in the order of the index.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..codegen.dtypes import DType, bool_, int64
from ..errors import (
    DTypeError,
    OptionError,
    ShapeError,
)
from ..ir.node import Node
from ..ir.types import Extent, Symbol
from ..ops import build
from .indexing import Box, box_of, filled, flat_places, read_box, wrap
from .shapes import Shape, broadcast_to, one_axis, show

__all__ = [
    "COMBINE",
    "combined",
    "put",
    "put_box",
    "put_marked",
    "put_mask",
    "scatter",
    "scatter_kind",
    "scatter_reduce",
]

COMBINE: dict[str, tuple[str, Callable[[Node, Node], Node]]] = {
    "set": ("set", lambda old, new: new),
    "add": ("sum", build.add),
    "multiply": ("prod", build.mul),
    "min": ("min", build.minimum),
    "max": ("max", build.maximum),
}
"""How values are combined with what is there: for the op, and as a function of nodes."""


def combined(how: str, x: Node) -> tuple[str, Callable[[Node, Node], Node]]:
    """The row of `COMBINE`; there is arithmetic of numbers only."""
    if how != "set" and x.dtype is bool_:
        raise DTypeError(
            f"{how} of bools at an index", remedy='convert them to numbers, x.astype("int32")'
        )
    return COMBINE[how]


def put(
    x: Node, key: tuple[Any, ...], value: Node, how: str = "set", mode: str | None = None
) -> Node:
    """`x` with `value`, which broadcasts and has its dtype, at ``x[key]``."""
    _, combine = combined(how, x)
    box = box_of(x.shape, key)
    part = read_box(x, box)
    if box.arrays:
        return put_box(x, box, _scatter(part, box, value, how, mode))
    return put_box(x, box, combine(part, _fitted(value, tuple(box.result))))


def _fitted(value: Node, shape: Shape) -> Node:
    """`value` broadcast to the part; as in NumPy it may have extra leading axes of extent 1."""
    extra = len(value.shape) - len(shape)
    if extra > 0 and all(extent == 1 for extent in value.shape[:extra]):
        value = build.reshape(value, value.shape[extra:])
    return broadcast_to(value, shape)


def put_box(x: Node, box: Box, part: Node) -> Node:
    """`x` with another value in a box; `part` has the shape of the result of reading it."""
    value = build.flip(build.reshape(part, box.shape), box.flipped)
    if tuple(box.shape) == x.shape:
        return value
    low, high, interior = [], [], []
    for axis, count in enumerate(box.shape):
        extent, step = x.shape[axis], box.steps[axis]
        if extent == count:
            low.append(0)
            high.append(0)
            interior.append(0)
            continue
        assert isinstance(extent, int)
        assert isinstance(count, int)
        if not count:
            return x
        low.append(box.starts[axis])
        high.append(extent - box.starts[axis] - (count - 1) * step - 1)
        interior.append(step - 1)
    inside = build.pad(build.full(box.shape, True, bool_), low, high, interior)
    return build.select(inside, build.pad(value, low, high, interior), x)


def _scatter(part: Node, box: Box, value: Node, how: str, mode: str | None) -> Node:
    """A box in which the elements that its index arrays name are replaced or combined."""
    monoid, combine = COMBINE[how]
    order, total, places, inside = flat_places(part.shape, box, mode)
    moved = build.transpose(part, order)
    place, rank = box.place, len(box.arrays)
    before, after = moved.shape[:place], moved.shape[place + rank :]
    value = _fitted(value, (*before, *places.shape, *after))
    count = _size(places.shape)
    if 0 in value.shape:
        return part
    flat = build.reshape(moved, (*before, total, *after))
    updates = build.reshape(value, (*before, count, *after))
    places = build.reshape(places, (count,))
    if count == 1:
        flat = _write_one(flat, updates, places, inside, place, combine)
    elif inside is None:
        flat = build.scatter(flat, updates, places, place, monoid)
    else:
        flat = _scatter_inside(
            flat, updates, places, build.reshape(inside, (count,)), place, monoid
        )
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return build.transpose(build.reshape(flat, moved.shape), inverse)


def _write_one(
    flat: Node,
    update: Node,
    place: Node,
    inside: Node | None,
    axis: int,
    combine: Callable[[Node, Node], Node],
) -> Node:
    """One slice written: a choice for every element, which fuses with what is around it."""
    extent = flat.shape[axis]
    places = build.broadcast(build.iota(extent, int64), flat.shape, (axis,))
    wanted = build.cast(place, int64)
    if inside is None and isinstance(extent, int):
        wanted = build.maximum(wanted, build.zeros_like(wanted))
        wanted = build.minimum(wanted, build.full_like(wanted, extent - 1))
    here = build.eq(places, build.broadcast_to(build.squeeze(wanted, (0,)), flat.shape))
    return build.select(here, combine(flat, build.broadcast_to(update, flat.shape)), flat)


def _scatter_inside(
    flat: Node, updates: Node, places: Node, inside: Node, axis: int, monoid: str
) -> Node:
    """Updates whose place lies outside go to an extra element, which is cut off again."""
    extent = flat.shape[axis]
    assert isinstance(extent, int)
    zeros = [0] * len(flat.shape)
    extra = [int(a == axis) for a in range(len(flat.shape))]
    wide = build.pad(flat, zeros, extra)
    places = build.select(inside, places, build.full_like(places, extent))
    result = build.scatter(wide, updates, places, axis, monoid)
    return build.slice_axis(result, axis, 0, extent)


def _size(shape: Sequence[Extent]) -> Extent:
    symbols = [extent for extent in shape if isinstance(extent, Symbol)]
    known = math.prod(extent for extent in shape if isinstance(extent, int))
    if symbols and (len(symbols) > 1 or known != 1):
        raise ShapeError(
            f"the number of indices of shape {show(shape)} is not known",
            remedy="index with one axis at a time",
        )
    return symbols[0] if symbols else known


def put_marked(x: Node, *rest: Any, how: str = "set", mode: str | None = None) -> Node:
    """``put(x, key, value)``, given the arrays of the key, the value, and the key with marks."""
    *arrays, value, key = rest
    return put(x, filled(key, arrays), build.cast(value, x.dtype), how, mode)


def put_mask(
    x: Node, mask: Node, value: Node, key: tuple[Any, ...], place: int, how: str = "set"
) -> Node:
    """`x` with `value` where a mask holds.

    Parameters
    ----------
    x, mask : Node
    value : Node
        It broadcasts to the part, the axes of the mask being one axis of extent 1.
    key : tuple
        The index with whole slices in place of the axes of the mask.
    place : int
        Where in the key the mask stands.
    how : str, optional
        A row of `COMBINE`.
    """
    _, combine = combined(how, x)
    box = box_of(x.shape, key)
    part = read_box(x, box)
    rank = len(mask.shape)
    # Every item of the key gives one axis of the part, but for an ellipsis.
    first = place if Ellipsis not in key[:place] else len(part.shape) - len(key) + place
    shape = part.shape
    narrow = (*shape[:first], 1, *shape[first + rank :])
    value = build.cast(_fitted(value, narrow), x.dtype)
    value = build.reshape(value, (*shape[:first], *[1] * rank, *shape[first + rank :]))
    wide = build.broadcast(mask, shape, range(first, first + rank))
    new = build.where_(wide, combine(part, build.broadcast_to(value, shape)), part)
    return put_box(x, box, new)


def _scattered(x: Node, axis: int, indices: Node, updates: Node, monoid: str) -> Node:
    """`updates` written along an axis at `indices` of their shape; other axes may be shorter."""
    shape = (*indices.shape[:axis], x.shape[axis], *indices.shape[axis + 1 :])
    if shape == x.shape:
        return build.scatter(x, updates, indices, axis, monoid)
    same = zip(shape, x.shape, strict=True)
    box = box_of(x.shape, tuple(slice(None) if e == f else slice(0, e) for e, f in same))
    part = build.scatter(read_box(x, box), updates, indices, axis, monoid)
    return put_box(x, box, part)


def scatter(x: Node, index: Node, value: Node, dim: int, how: str) -> Node:
    """Values written along an axis at an index of their shape, as torch does it."""
    axis = one_axis("scatter", dim, len(x.shape))
    value = build.cast(value, x.dtype)
    if not x.shape and not index.shape:
        x, index = build.reshape(x, (1,)), build.reshape(index, (1,))
        return build.reshape(scatter(x, index, build.broadcast_to(value, (1,)), 0, how), ())
    fits = len(index.shape) == len(x.shape) and all(
        e == f or (isinstance(e, int) and isinstance(f, int) and e <= f)
        for a, (e, f) in enumerate(zip(index.shape, x.shape, strict=True))
        if a != axis
    )
    if not fits:
        raise ShapeError(
            f"an index of shape {show(index.shape)} for an array of shape {show(x.shape)}",
            remedy=f"it needs as many axes, and may be longer only along axis {axis}",
        )
    if not value.shape:
        value = build.broadcast_to(value, index.shape)
    if len(value.shape) != len(index.shape) or any(
        isinstance(e, int) and isinstance(f, int) and e < f
        for e, f in zip(value.shape, index.shape, strict=True)
    ):
        raise ShapeError(
            f"values of shape {show(value.shape)} for an index of shape {show(index.shape)}",
            remedy="give at least one value for each index",
        )
    zeros, ones = [0] * len(index.shape), [1] * len(index.shape)
    value = build.slice_(value, zeros, index.shape, ones)
    places = wrap(index, x.shape[axis])
    if 0 in index.shape:
        return x
    return _scattered(x, axis, places, value, how)


_REDUCTIONS = {"sum": "sum", "prod": "prod", "mean": "sum", "amax": "max", "amin": "min"}


def scatter_kind(reduce: str | None) -> str:
    """How `scatter` combines values, by torch's name."""
    kinds = {None: "set", "add": "sum", "multiply": "prod"}
    if reduce not in kinds:
        raise OptionError(f"scatter: reduce is 'add' or 'multiply', not {reduce!r}")
    return kinds[reduce]


def scatter_reduce(
    x: Node, index: Node, value: Node, dim: int, reduce: str, include_self: bool = True
) -> Node:
    """Values combined along an axis, with or without those that are there."""
    how = _REDUCTIONS.get(reduce)
    if how is None:
        raise OptionError(
            f"scatter_reduce: reduce is one of {', '.join(_REDUCTIONS)}, not {reduce!r}"
        )
    start = x
    if not include_self:
        start = scatter(x, index, build.constant(_neutral(reduce, x.dtype), x.dtype), dim, "set")
    result = scatter(start, index, value, dim, how)
    if reduce != "mean":
        return result
    first = build.full(x.shape, int(include_self), int64)
    count = scatter(first, index, build.constant(1, int64), dim, "sum")
    count = build.cast(build.maximum(count, build.ones_like(count)), x.dtype)
    return build.div(result, count) if x.dtype.is_float else build.floordiv(result, count)


def _neutral(reduce: str, dtype: DType) -> float | int:
    if reduce in ("amax", "amin"):
        sign = -1 if reduce == "amax" else 1
        if dtype.is_float:
            return sign * math.inf
        return int(dtype.lowest if sign < 0 else dtype.highest)
    return 1 if reduce == "prod" else 0
