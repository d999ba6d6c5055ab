"""Reading and replacing parts of an array by index.

Functions from nodes to nodes; knows no Tensor. An index is a tuple of ints, slices, None, Ellipsis
and integer nodes. Its basic part becomes one box of the array; integer arrays are taken after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, final

from ..codegen.dtypes import bool_, int64
from ..errors import DTypeError, IndexBoundsError, ShapeError
from ..ir.node import Node
from ..ir.types import Extent
from ..ops import build
from ..ops.source import Iota
from .shapes import Shape, broadcast_all, broadcast_to, one_axis, show

__all__ = [
    "ARRAY",
    "choose",
    "count",
    "get",
    "get_marked",
    "put",
    "put_marked",
    "put_mask",
    "take",
    "take_along",
    "wrap",
]


@final
@dataclass
class _Box:
    """The basic part of an index.

    `starts`, `stops`, `steps` and `flipped` have an entry for each axis of the array. `shape` is
    the shape of the box, `result` the one after axes were dropped and added; `arrays` are the
    integer nodes and the axes of the result that they index.
    """

    starts: list[int] = field(default_factory=list)
    stops: list[Extent] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    flipped: list[int] = field(default_factory=list)
    shape: list[Extent] = field(default_factory=list)
    result: list[Extent] = field(default_factory=list)
    arrays: list[tuple[int, Node]] = field(default_factory=list)

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
        count = len(range(start, stop, step))
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
    used = sum(item is not None and item is not Ellipsis for item in key)
    if used > len(shape):
        raise IndexBoundsError(
            f"{used} indices for an array of {len(shape)} dimensions, shape {show(shape)}",
            remedy="drop indices, or add axes first",
        )
    places = [place for place, item in enumerate(key) if item is Ellipsis]
    if len(places) > 1:
        raise IndexBoundsError("an index has two ellipses", remedy="write all but one of them out")
    place = places[0] if places else len(key)
    rest = [slice(None)] * (len(shape) - used)
    return [*key[:place], *rest, *key[place + 1 :]]


def _box(shape: Shape, key: tuple[Any, ...]) -> _Box:
    box = _Box()
    axis = 0
    for item in _expanded(key, shape):
        if item is None:
            box.result.append(1)
            continue
        extent = shape[axis]
        if isinstance(item, Node):
            box.arrays.append((len(box.result), item))
            box.whole(extent)
        elif isinstance(item, slice):
            if item == slice(None):
                box.whole(extent)
            elif isinstance(extent, int):
                box.range(*item.indices(extent))
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
        axis += 1
    return box


def _symbolic(extent: Extent) -> ShapeError:
    return ShapeError(
        f"an axis of variable extent {extent} can only be indexed as a whole",
        remedy="use fg.take with an index array",
    )


# --- reading --------------------------------------------------------------------------------------


def get(x: Node, key: tuple[Any, ...]) -> Node:
    """``x[key]``."""
    box = _box(x.shape, key)
    part = build.flip(build.slice_(x, box.starts, box.stops, box.steps), box.flipped)
    part = build.reshape(part, box.result)
    if len(box.arrays) == 1:
        (axis, indices), *_ = box.arrays
        return take(part, indices, axis)
    return _joint(part, box.arrays) if box.arrays else part


def wrap(indices: Node, extent: Extent) -> Node:
    """Negative indices count from the end."""
    if not indices.dtype.is_integer:
        raise DTypeError(
            f"an index array has dtype {indices.dtype}",
            remedy='convert it to integers, indices.astype("int64")',
        )
    if not indices.dtype.is_signed or isinstance(indices.op, Iota) or not isinstance(extent, int):
        return indices
    value = build.constant_value(indices)
    if value is not None:
        return indices if value >= 0 else build.full_like(indices, int(value) + extent)
    if extent > indices.dtype.highest:
        indices = build.cast(indices, int64)
    shifted = build.add(indices, build.full_like(indices, extent))
    return build.select(build.lt(indices, build.zeros_like(indices)), shifted, indices)


def take(x: Node, indices: Node, axis: int) -> Node:
    """Slices of `x` along an axis; the axes of `indices` take its place."""
    place = one_axis("take", axis, len(x.shape))
    return build.take(x, wrap(indices, x.shape[place]), place)


def take_along(x: Node, indices: Node, axis: int) -> Node:
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
    return build.take_along(x, wrap(indices, x.shape[place]), place)


def _joint(x: Node, arrays: Sequence[tuple[int, Node]]) -> Node:
    """Several index arrays broadcast together; their axes stand where NumPy puts them."""
    axes = [axis for axis, _ in arrays]
    extents = [x.shape[axis] for axis in axes]
    wrapped = [wrap(node, e) for (_, node), e in zip(arrays, extents, strict=True)]
    indices = broadcast_all("index with", [build.cast(node, int64) for node in wrapped])
    picked = _pick(x, axes, arrays, indices)
    if picked is not None:
        return picked
    adjacent = axes == list(range(axes[0], axes[0] + len(axes)))
    place = axes[0] if adjacent else 0
    rest = [axis for axis in range(len(x.shape)) if axis not in axes]
    x = build.transpose(x, (*rest[:place], *axes, *rest[place:]))
    linear = indices[0]
    count = extents[0]
    for node, extent in zip(indices[1:], extents[1:], strict=True):
        assert isinstance(extent, int)
        assert isinstance(count, int)
        linear = build.add(build.mul(linear, build.full_like(linear, extent)), node)
        count *= extent
    shape = x.shape
    flat = build.reshape(x, (*shape[:place], count, *shape[place + len(axes) :]))
    return build.take(flat, linear, place)


def _pick(
    x: Node, axes: list[int], arrays: Sequence[tuple[int, Node]], indices: Sequence[Node]
) -> Node | None:
    """``x[arange(n), labels]``: one element of each row, whose gradient needs no scatter."""
    first = arrays[0][1].op
    if axes != [0, 1] or not isinstance(first, Iota) or first.extent != x.shape[0]:
        return None
    labels = indices[1]
    if labels.shape != (x.shape[0],):
        return None
    wide = build.broadcast(labels, (x.shape[0], 1, *x.shape[2:]), (0,))
    return build.squeeze(build.take_along(x, wide, 1), (1,))


# --- replacing ------------------------------------------------------------------------------------


def put(x: Node, key: tuple[Any, ...], value: Node) -> Node:
    """`x` with ``x[key]`` replaced by `value`, which broadcasts and has the dtype of `x`."""
    box = _box(x.shape, key)
    if box.arrays:
        raise IndexBoundsError(
            "an assignment needs an index of ints, slices, None and ..., or a mask",
            remedy="write fg.where(condition, new, old) with a condition on the indices",
        )
    # NumPy lets the value have extra leading axes of extent 1.
    extra = len(value.shape) - len(box.result)
    if extra > 0 and all(extent == 1 for extent in value.shape[:extra]):
        value = build.reshape(value, value.shape[extra:])
    value = build.flip(
        build.reshape(broadcast_to(value, tuple(box.result)), box.shape), box.flipped
    )
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


def put_mask(x: Node, mask: Node, value: Node) -> Node:
    """`x` with `value` where the mask holds; the mask has the first axes of `x`."""
    value = broadcast_to(build.cast(value, x.dtype), x.shape)
    wide = build.broadcast(mask, x.shape, range(len(mask.shape)))
    return build.select(wide, value, x)


def choose(x: Node, mask: Node, value: Node) -> Node:
    """`value` where the mask holds, else `x`; everything broadcasts."""
    if mask.dtype is not bool_:
        raise DTypeError(
            f"a mask has dtype {mask.dtype}, not bool", remedy="compare, as in mask != 0"
        )
    mask, value, x = broadcast_all("fill", (mask, build.cast(value, x.dtype), x))
    return build.select(mask, value, x)


# --- indices whose arrays come apart --------------------------------------------------------------

ARRAY = object()
"""Stands for the next array in an index that was taken apart."""


def _filled(key: tuple[Any, ...], arrays: Sequence[Node]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple(next(rest) if item is ARRAY else item for item in key)


def get_marked(x: Node, *rest: Any) -> Node:
    """``get(x, key)``, given the arrays of the key and then the key with marks in their place."""
    *arrays, key = rest
    return get(x, _filled(key, arrays))


def put_marked(x: Node, *rest: Any) -> Node:
    """``put(x, key, value)``, given the arrays of the key, the value, and the key with marks."""
    *arrays, value, key = rest
    return put(x, _filled(key, arrays), build.cast(value, x.dtype))


def count(values: range) -> Node:
    """The numbers of a range."""
    node = build.iota(len(values))
    if values.step != 1:
        node = build.mul(node, build.full_like(node, values.step))
    if values.start:
        node = build.add(node, build.full_like(node, values.start))
    return node
