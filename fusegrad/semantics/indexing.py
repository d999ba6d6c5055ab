"""Reading parts of an array by index.

Functions from nodes to nodes; knows no Tensor. An index is a tuple of ints, slices, None, Ellipsis,
integer nodes and `NewAxis`. Its basic part becomes one box of the array; integer arrays are taken
after it.

Negative indices count from the end. Where the values of an index array are known while it is
recorded (outside of a trace, or constants), one outside the axis is an IndexBoundsError; in
compiled code it is clamped to the axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import bool_, int64
from ..codegen.records import dataclass
from ..errors import (
    DTypeError,
    IndexBoundsError,
    OptionError,
    ShapeError,
)
from ..ir.node import Node
from ..ir.types import Extent
from ..ops import build
from ..ops.build_order import cumulative
from ..ops.source import ArrayConstant, Input, Iota
from ..tensors.context import Token, active
from .shapes import Shape, broadcast_all, broadcast_to, one_axis, resolve, show

__all__ = [
    "ARRAY",
    "NEW_ARRAY",
    "Box",
    "NewAxis",
    "box_of",
    "checked",
    "choose",
    "count",
    "filled",
    "flat_places",
    "gather",
    "get",
    "get_marked",
    "masked_scatter",
    "read_box",
    "take",
    "take_along",
    "take_flat",
    "wrap",
]

MODES = (None, "raise", "clip", "wrap", "fill", "drop")


@final
@dataclass(frozen=True)
class NewAxis:
    """An index array of a new axis of extent 1: what a single bool of an index stands for."""

    indices: Node


@final
@dataclass
class Box:
    """The basic part of an index.

    `starts`, `stops`, `steps` and `flipped` have an entry for each axis of the array. `shape` is
    the shape of the box, `result` the one after axes were dropped and added; `arrays` are the
    integer nodes and the axes of the result that they index. `place` is where the axes of the
    arrays come in the result: where they stand if ints and arrays are neighbours, else in front.
    """

    starts: list[int] = field(default_factory=list)
    stops: list[Extent] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    flipped: list[int] = field(default_factory=list)
    shape: list[Extent] = field(default_factory=list)
    result: list[Extent] = field(default_factory=list)
    arrays: list[tuple[int, Node]] = field(default_factory=list)
    place: int = 0

    def whole(self, extent: Extent) -> None:
        self.starts.append(0)
        self.stops.append(extent)
        self.steps.append(1)
        self.shape.append(extent)
        self.result.append(extent)

    def one(self, position: int) -> None:
        self.starts.append(position)
        self.stops.append(position + 1)
        self.steps.append(1)
        self.shape.append(1)

    def range(self, start: int, stop: int, step: int) -> None:
        count = max(0, -(-(stop - start) // step))
        if step < 0 and count:
            self.flipped.append(len(self.starts))
            start, stop, step = start + (count - 1) * step, start + 1, -step
        elif not count:
            start, stop, step = 0, 0, 1
        self.starts.append(start)
        self.stops.append(stop)
        self.steps.append(step)
        self.shape.append(count)
        self.result.append(count)


def _expanded(key: tuple[Any, ...], shape: Shape) -> list[Any]:
    """The index with the ellipsis, or the missing end, written out."""
    used = sum(not (item is None or item is Ellipsis or isinstance(item, NewAxis)) for item in key)
    if used > len(shape):
        raise IndexBoundsError(
            f"{used} indices for an array of {len(shape)} dimensions, shape {show(shape)}",
            remedy="drop indices, or add axes first",
        )
    places = [place for place, item in enumerate(key) if item is Ellipsis]
    if len(places) > 1:
        raise IndexBoundsError("an index has two ellipses", remedy="write all but one of them out")
    place = places[0] if places else len(key)
    rest: list[Any] = [slice(None)] * (len(shape) - used)
    # An ellipsis that stands for no axis still comes between its neighbours.
    return [*key[:place], *(rest or [Ellipsis] * len(places)), *key[place + 1 :]]


def box_of(shape: Shape, key: tuple[Any, ...]) -> Box:
    """The basic part of an index, and its arrays."""
    box = Box()
    axis = 0
    advanced: list[int] = []
    for position, item in enumerate(_expanded(key, shape)):
        if not (item is None or item is Ellipsis or isinstance(item, slice)):
            if not advanced:
                box.place = len(box.result)
            advanced.append(position)
        if item is Ellipsis:
            continue
        if item is None:
            box.result.append(1)
            continue
        if isinstance(item, NewAxis):
            box.arrays.append((len(box.result), item.indices))
            box.result.append(1)
            continue
        _one_item(box, shape, axis, item)
        axis += 1
    if advanced and advanced[-1] - advanced[0] >= len(advanced):
        box.place = 0
    return box


def _one_item(box: Box, shape: Shape, axis: int, item: Any) -> None:
    extent = shape[axis]
    if isinstance(item, Node):
        box.arrays.append((len(box.result), item))
        box.whole(extent)
    elif isinstance(item, slice):
        if item == slice(None):
            box.whole(extent)
        elif isinstance(extent, int):
            box.range(*_within(item, extent))
        else:
            raise _symbolic(extent)
    elif not isinstance(extent, int):
        raise _symbolic(extent)
    elif not -extent <= item < extent:
        raise IndexBoundsError(
            f"index {item} is outside of axis {axis}, which has extent {extent}",
            remedy=f"the array has shape {show(shape)}; negative indices count from the end",
        )
    else:
        box.one(item % extent)


def _within(item: slice, extent: int) -> tuple[int, int, int]:
    """Start, stop and step of a slice; numbers that follow from the extent are known to do so."""
    found = item.indices(extent)
    if item.step is None or item.step > 0:
        ends = (0 if item.start is None else item.start), extent if item.stop is None else item.stop
        start, stop = (end + extent if end < 0 else end for end in ends)
        if (start, stop, found[2]) == found:
            return start, stop, found[2]
    return found


def _symbolic(extent: Extent) -> ShapeError:
    return ShapeError(
        f"an axis of variable extent {extent} can only be indexed as a whole",
        remedy="use fg.take with an index array",
    )


# --- reading --------------------------------------------------------------------------------------


def read_box(x: Node, box: Box) -> Node:
    """The basic part of an index, read."""
    part = build.flip(build.slice_(x, box.starts, box.stops, box.steps), box.flipped)
    return build.reshape(part, box.result)


def get(x: Node, key: tuple[Any, ...], mode: str | None = None, fill: Any = None) -> Node:
    """``x[key]``; in mode "fill" with `fill` where an index array lies outside."""
    box = box_of(x.shape, key)
    part = read_box(x, box)
    return _joint(part, box, mode, fill) if box.arrays else part


def _known(indices: Node) -> npt.NDArray[Any] | None:
    """The values of indices where they cannot be others when the program runs."""
    op = indices.op
    if isinstance(op, ArrayConstant):
        return op.data
    value = build.constant_value(indices)
    if value is not None:
        return np.asarray(value)
    token = op.token if isinstance(op, Input) and active.trace is None else None
    if isinstance(token, Token) and token.trace is None and token.storage is not None:
        return token.storage.array
    return None


def _check_bounds(indices: Node, extent: int) -> None:
    values = _known(indices)
    if values is None or not values.size or 0 in indices.shape:
        return
    low, high = int(values.min()), int(values.max())
    if low < -extent or high >= extent:
        raise IndexBoundsError(
            f"index {low if low < -extent else high} is outside of an axis of extent {extent}",
            remedy="compare the indices with the shape; negative ones count from the end",
        )


def wrap(indices: Node, extent: Extent, mode: str | None = None) -> Node:
    """Indices counted from 0.

    By default negative ones count from the end, and known ones are checked. In mode "clip" they are
    clamped, in mode "wrap" taken modulo the extent, in mode "fill" left where they lie.
    """
    if mode not in MODES:
        raise OptionError(f"there is no mode {mode!r} of indexing: take one of {MODES[1:]}")
    _check_integers(indices)
    if isinstance(indices.op, Iota) or not isinstance(extent, int):
        return indices
    if mode in (None, "raise"):
        _check_bounds(indices, extent)
    if mode == "clip":
        # Reading and writing clamp; only what is below zero must not wrap.
        return build.maximum(indices, build.zeros_like(indices))
    if mode == "wrap":
        wide = build.cast(indices, int64)
        return build.mod(wide, build.full_like(wide, max(extent, 1)))
    if not indices.dtype.is_signed:
        return indices
    value = build.constant_value(indices)
    if value is not None:
        return indices if value >= 0 else build.full_like(indices, int(value) + extent)
    if extent > indices.dtype.highest:
        indices = build.cast(indices, int64)
    shifted = build.add(indices, build.full_like(indices, extent))
    return build.select(build.lt(indices, build.zeros_like(indices)), shifted, indices)


def checked(indices: Node, extent: int, mode: str = "raise") -> Node:
    """Indices from 0, below an extent: known ones that lie outside are errors, or they are moved.

    Modes are "raise", "clip" and "wrap"; negative ones do not count from the end.
    """
    _check_integers(indices)
    wide = build.cast(indices, int64)
    if mode == "wrap":
        return wrap(wide, extent, mode)
    if mode == "clip":
        return _below(wrap(wide, extent, mode), extent)
    if mode != "raise":
        raise OptionError(f"there is no mode {mode!r} of indexing: take 'raise', 'wrap' or 'clip'")
    values = _known(indices)
    if values is not None and values.size and not 0 <= values.min() <= values.max() < extent:
        outside = values.min() if values.min() < 0 else values.max()
        raise IndexBoundsError(
            f"index {outside} is not in 0 to {extent - 1}",
            remedy="compare the indices with the extent; negative ones do not count from the end",
        )
    return wide


def _check_integers(indices: Node) -> None:
    if not indices.dtype.is_integer:
        raise DTypeError(
            f"an index array has dtype {indices.dtype}",
            remedy='convert it to integers, indices.astype("int64")',
        )


def masked_scatter(x: Node, mask: Node, values: Node) -> Node:
    """The elements of the vector `values`, in order, where a mask holds."""
    flat = build.cast(build.reshape(mask, resolve(mask.shape, (-1,))), int64)
    order = cumulative("add", flat, 0)
    places = build.sub(order, build.ones_like(order))
    chosen = build.take(build.cast(values, x.dtype), places, 0)
    return build.select(mask, build.reshape(chosen, x.shape), x)


def take(x: Node, indices: Node, axis: int, mode: str | None = None, fill: Any = None) -> Node:
    """Slices of `x` along an axis; the axes of `indices` take its place."""
    place = one_axis("take", axis, len(x.shape))
    return get(x, (*[slice(None)] * place, indices), mode, fill)


def take_flat(x: Node, indices: Node, mode: str | None = None) -> Node:
    """Elements of the flat array."""
    return take(build.reshape(x, resolve(x.shape, (-1,))), indices, 0, mode)


def take_along(x: Node, indices: Node, axis: int, mode: str | None = None) -> Node:
    """Elements of `x` at `indices` along an axis; the other axes broadcast."""
    ndim = len(x.shape)
    place = one_axis("take_along_axis", axis, ndim)
    if len(indices.shape) != ndim:
        raise ShapeError(
            f"take_along_axis: indices of shape {show(indices.shape)} for an array of shape "
            f"{show(x.shape)}",
            remedy="both need the same number of axes; add some with indices[:, None]",
        )
    others = [(*n.shape[:place], 1, *n.shape[place + 1 :]) for n in (x, indices)]
    wide = [e if f == 1 else f for e, f in zip(*others, strict=True)]
    x = broadcast_to(x, (*wide[:place], x.shape[place], *wide[place + 1 :]))
    indices = broadcast_to(indices, (*wide[:place], indices.shape[place], *wide[place + 1 :]))
    return build.take_along(x, wrap(indices, x.shape[place], mode), place)


def flat_places(
    shape: Shape, box: Box, mode: str | None = None
) -> tuple[tuple[int, ...], Extent, Node, Node | None]:
    """The index arrays of a box of this shape as one, over one axis that theirs are merged into.

    Returns
    -------
    order : tuple of int
        The order of axes in which those that are indexed are neighbours, at `box.place`.
    extent : Extent
        Of all of them together.
    places : Node
        The joint index.
    inside : Node or None
        Whether it is inside, where the mode lets it be outside.
    """
    axes = [axis for axis, _ in box.arrays]
    extents = [shape[axis] for axis in axes]
    wrapped = [wrap(node, e, mode) for (_, node), e in zip(box.arrays, extents, strict=True)]
    if mode == "clip":
        wrapped = [_below(node, e) for node, e in zip(wrapped, extents, strict=True)]
    inside = _inside(wrapped, extents) if mode in ("fill", "drop") else None
    if len(axes) > 1:
        wrapped = _broadcast_indices([build.cast(node, int64) for node in wrapped])
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    order = (*rest[: box.place], *axes, *rest[box.place :])
    linear = wrapped[0]
    total = extents[0]
    for node, extent in zip(wrapped[1:], extents[1:], strict=True):
        if not isinstance(extent, int) or not isinstance(total, int):
            raise _symbolic(extent)
        linear = build.add(build.mul(linear, build.full_like(linear, extent)), node)
        total *= extent
    return order, total, linear, inside


def _broadcast_indices(indices: Sequence[Node]) -> list[Node]:
    try:
        return broadcast_all("index with", indices)
    except ShapeError:
        shapes = " and ".join(show(node.shape) for node in indices)
        raise IndexBoundsError(
            f"index arrays of shapes {shapes} do not broadcast",
            remedy="give them one shape, or axes of extent 1 where they shall be repeated; "
            "fg.meshgrid makes arrays for all combinations",
        ) from None


def _below(indices: Node, extent: Extent) -> Node:
    if not isinstance(extent, int):
        return indices
    wide = build.cast(indices, int64)
    return build.minimum(wide, build.full_like(wide, max(extent - 1, 0)))


def _inside(indices: Sequence[Node], extents: Sequence[Extent]) -> Node:
    tests = []
    for node, extent in zip(indices, extents, strict=True):
        if not isinstance(extent, int):
            raise _symbolic(extent)
        wide = build.cast(node, int64)
        tests.append(build.ge(wide, build.zeros_like(wide)))
        tests.append(build.lt(wide, build.full_like(wide, extent)))
    first, *others = broadcast_all("index with", tests)
    for test in others:
        first = build.logical_and(first, test)
    return first


def _joint(x: Node, box: Box, mode: str | None, fill: Any) -> Node:
    """Index arrays broadcast together; their axes stand where NumPy puts them."""
    order, total, places, inside = flat_places(x.shape, box, mode)
    picked = _pick(x, box, places)
    if picked is not None:
        return picked
    moved = build.transpose(x, order)
    shape, place = moved.shape, box.place
    flat = build.reshape(moved, (*shape[:place], total, *shape[place + len(box.arrays) :]))
    if total == 0 and 0 not in places.shape and inside is None:
        raise IndexBoundsError(
            "an index array for an axis of extent 0", remedy="skip the empty input"
        )
    if inside is None:
        return build.take(flat, places, place)
    value = 0 if fill is None else fill
    if fill is None and x.dtype.is_float:
        value = float("nan")
    if total == 0:
        empty = (*flat.shape[:place], *places.shape, *flat.shape[place + 1 :])
        return build.full(empty, value, x.dtype)
    found = build.take(flat, places, place)
    ndim = len(places.shape)
    wide = build.broadcast(inside, found.shape, range(place, place + ndim))
    return build.select(wide, found, build.full_like(found, value))


def _pick(x: Node, box: Box, places: Node) -> Node | None:
    """``x[arange(n), labels]``: one element of each row, whose gradient needs no scatter."""
    if [axis for axis, _ in box.arrays] != [0, 1] or len(x.shape) < 2:
        return None
    first = box.arrays[0][1].op
    labels = box.arrays[1][1]
    if not isinstance(first, Iota) or first.extent != x.shape[0] or labels.shape != (x.shape[0],):
        return None
    labels = wrap(labels, x.shape[1])
    wide = build.broadcast(labels, (x.shape[0], 1, *x.shape[2:]), (0,))
    return build.squeeze(build.take_along(x, wide, 1), (1,))


def choose(x: Node, mask: Node, value: Node) -> Node:
    """`value` where the mask holds, else `x`; everything broadcasts."""
    if mask.dtype is not bool_:
        raise DTypeError(
            f"a mask has dtype {mask.dtype}, not bool", remedy="compare, as in mask != 0"
        )
    mask, value, x = broadcast_all("fill", (mask, build.cast(value, x.dtype), x))
    return build.where_(mask, value, x)


def gather(x: Node, indices: Node, axis: int) -> Node:
    """Elements of `x` at `indices` along an axis, which may be shorter in other axes."""
    place = one_axis("gather", axis, len(x.shape))
    if not x.shape and not indices.shape:
        flat = gather(build.reshape(x, (1,)), build.reshape(indices, (1,)), 0)
        return build.reshape(flat, ())
    fits = len(indices.shape) == len(x.shape) and all(
        e == f or (isinstance(e, int) and isinstance(f, int) and e <= f)
        for a, (e, f) in enumerate(zip(indices.shape, x.shape, strict=True))
        if a != place
    )
    if not fits:
        raise ShapeError(
            f"gather: indices of shape {show(indices.shape)} for an array of shape {show(x.shape)}",
            remedy=f"they need as many axes, and may be longer only along axis {place}",
        )
    stops = (*indices.shape[:place], x.shape[place], *indices.shape[place + 1 :])
    count = len(stops)
    x = build.slice_(x, [0] * count, stops, [1] * count)
    return build.take_along(x, wrap(indices, x.shape[place]), place)


# --- indices whose arrays come apart --------------------------------------------------------------

ARRAY = object()
"""Stands for the next array in an index that was taken apart."""
NEW_ARRAY = object()
"""Stands for the next array, of an axis of its own."""


def filled(key: tuple[Any, ...], arrays: Sequence[Node]) -> tuple[Any, ...]:
    """The index with its arrays."""
    rest = iter(arrays)
    made: list[Any] = []
    for item in key:
        if item is ARRAY:
            made.append(next(rest))
        elif item is NEW_ARRAY:
            made.append(NewAxis(next(rest)))
        else:
            made.append(item)
    return tuple(made)


def get_marked(x: Node, *rest: Any, mode: str | None = None, fill: Any = None) -> Node:
    """``get(x, key)``, given the arrays of the key and then the key with marks in their place."""
    *arrays, key = rest
    return get(x, filled(key, arrays), mode, fill)


def count(values: range) -> Node:
    """The numbers of a range."""
    node = build.iota(len(values))
    if values.step != 1:
        node = build.mul(node, build.full_like(node, values.step))
    if values.start:
        node = build.add(node, build.full_like(node, values.start))
    return node
