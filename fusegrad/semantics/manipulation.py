"""Movement of elements as NumPy and torch name it.

Functions from nodes to nodes; knows no Tensor.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from ..codegen.dtypes import bool_, int64
from ..errors import ShapeError
from ..ir.node import Node
from ..ops import build
from .shapes import Shape, axis_tuple, broadcast_to, one_axis, resolve, show

__all__ = [
    "broadcast_to",
    "concat",
    "expand",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "pad",
    "permute",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "stack",
    "swapaxes",
    "tile",
    "triangle",
]


def reshape(x: Node, shape: Shape) -> Node:
    """The elements in the same order under another shape; one extent may be -1."""
    return build.reshape(x, resolve(x.shape, shape))


def flatten(x: Node, start: int = 0, end: int = -1) -> Node:
    """The axes from `start` to `end`, both included, as one."""
    shape = x.shape
    if not shape:
        return build.reshape(x, (1,))
    first, last = one_axis("flatten", start, len(shape)), one_axis("flatten", end, len(shape))
    if first > last:
        raise ShapeError(
            f"flatten: axis {start} comes after axis {end} in shape {show(shape)}",
            remedy="name the axes in order",
        )
    return reshape(x, (*shape[:first], -1, *shape[last + 1 :]))


def permute(x: Node, axes: Sequence[int] | None = None) -> Node:
    """The axes in another order; by default reversed."""
    ndim = len(x.shape)
    order = range(ndim)[::-1] if axes is None else [one_axis("permute", a, ndim) for a in axes]
    if sorted(order) != list(range(ndim)):
        raise ShapeError(
            f"permute: {tuple(axes or ())} is no order of the axes of shape {show(x.shape)}",
            remedy=f"name each of the {ndim} axes once",
        )
    return build.transpose(x, tuple(order))


def swapaxes(x: Node, a: int, b: int) -> Node:
    """Two axes exchanged."""
    ndim = len(x.shape)
    order = list(range(ndim))
    a, b = one_axis("swapaxes", a, ndim), one_axis("swapaxes", b, ndim)
    order[a], order[b] = order[b], order[a]
    return build.transpose(x, tuple(order))


def matrix_transpose(x: Node) -> Node:
    """The last two axes exchanged."""
    if len(x.shape) < 2:
        raise ShapeError(
            f"matrix_transpose needs at least two axes, the array has shape {show(x.shape)}",
            remedy="add an axis with x[:, None]",
        )
    return build.matrix_transpose(x)


def moveaxis(x: Node, source: int | Sequence[int], destination: int | Sequence[int]) -> Node:
    """Some axes at other places, the rest in order."""
    ndim = len(x.shape)
    sources = [source] if isinstance(source, int) else list(source)
    targets = [destination] if isinstance(destination, int) else list(destination)
    if len(sources) != len(targets):
        raise ShapeError(
            f"moveaxis: {len(sources)} axes for {len(targets)} places",
            remedy="give as many places as axes",
        )
    sources = [one_axis("moveaxis", a, ndim) for a in sources]
    targets = [one_axis("moveaxis", a, ndim) for a in targets]
    if len(set(sources)) < len(sources) or len(set(targets)) < len(targets):
        raise ShapeError(
            f"moveaxis: an axis is named twice in {sources} or {targets}",
            remedy="name each axis and each place once",
        )
    rest = iter([a for a in range(ndim) if a not in sources])
    placed = dict(zip(targets, sources, strict=True))
    return build.transpose(x, tuple(placed[a] if a in placed else next(rest) for a in range(ndim)))


def squeeze(x: Node, axis: int | Iterable[int] | None = None, strict: bool = True) -> Node:
    """Without the axes, which must have extent 1; with `strict` false others are kept."""
    axes = axis_tuple("squeeze", axis, len(x.shape))
    if axis is None or not strict:
        axes = tuple(a for a in axes if x.shape[a] == 1)
    for a in axes:
        if x.shape[a] != 1:
            raise ShapeError(
                f"squeeze: axis {a} of shape {show(x.shape)} has extent {x.shape[a]}",
                remedy="name axes of extent 1; x[..., 0] takes the first element of any axis",
            )
    return build.squeeze(x, axes)


def expand_dims(x: Node, axis: int | Iterable[int]) -> Node:
    """New axes of extent 1 at the places that `axis` names in the result."""
    count = len(tuple(axis)) if isinstance(axis, Iterable) else 1
    return build.expand_dims(x, axis_tuple("expand_dims", axis, len(x.shape) + count))


def expand(x: Node, shape: Shape) -> Node:
    """`broadcast_to`, where -1 keeps the extent, as in torch."""
    lead = len(shape) - len(x.shape)
    kept = tuple(
        x.shape[axis - lead] if extent == -1 and axis >= lead else extent
        for axis, extent in enumerate(shape)
    )
    return broadcast_to(x, kept)


def flip(x: Node, axis: int | Iterable[int] | None = None) -> Node:
    """The elements in reverse order along some axes, by default all."""
    return build.flip(x, axis_tuple("flip", axis, len(x.shape)))


def roll(x: Node, shift: int | Sequence[int], axis: int | Sequence[int] | None = None) -> Node:
    """The elements moved along axes; what leaves at one end enters at the other."""
    several = isinstance(shift, Sequence) or getattr(shift, "ndim", 0) > 0
    numbers: Any = shift if several else [shift]
    shifts = [operator.index(by) for by in numbers]
    if axis is None:
        return build.reshape(roll(reshape(x, (-1,)), sum(shifts), 0), x.shape)
    axes = list(axis) if isinstance(axis, Iterable) else [axis]
    if len(shifts) != len(axes) and 1 not in (len(shifts), len(axes)):
        raise ShapeError(
            f"roll: {len(shifts)} shifts for {len(axes)} axes", remedy="give a shift for each axis"
        )
    count = max(len(shifts), len(axes))
    shifts, axes = shifts * (count // len(shifts)), axes * (count // len(axes))
    for a, by in zip(axes, shifts, strict=True):
        place = one_axis("roll", a, len(x.shape))
        extent = x.shape[place]
        if not isinstance(extent, int):
            raise ShapeError(
                f"roll: the extent {extent} of axis {place} is not known",
                remedy="compile for known extents",
            )
        if extent and by % extent:
            cut = extent - by % extent
            head = build.slice_axis(x, place, 0, cut)
            x = build.concat([build.slice_axis(x, place, cut, extent), head], place)
    return x


def concat(xs: Sequence[Node], axis: int | None = 0) -> Node:
    """Arrays one behind the other along an axis; None for flat ones."""
    if not xs:
        raise ShapeError("concat of no arrays has no shape", remedy="pass at least one array")
    if axis is None:
        xs, axis = [reshape(x, (-1,)) for x in xs], 0
    first = xs[0].shape
    place = one_axis("concat", axis, len(first))
    if not first:
        raise ShapeError("concat needs arrays with axes", remedy="use fg.stack for numbers")
    for x in xs:
        fits = len(x.shape) == len(first)
        if not fits or any(
            e != f for a, (e, f) in enumerate(zip(x.shape, first, strict=True)) if a != place
        ):
            raise ShapeError(
                f"cannot concat shapes {show(first)} and {show(x.shape)} along axis {place}",
                remedy="the other extents must be equal",
            )
    return build.concat(xs, place)


def stack(xs: Sequence[Node], axis: int = 0) -> Node:
    """Arrays of one shape along a new axis."""
    if not xs:
        raise ShapeError("stack of no arrays has no shape", remedy="pass at least one array")
    for x in xs:
        if x.shape != xs[0].shape:
            raise ShapeError(
                f"cannot stack shapes {show(xs[0].shape)} and {show(x.shape)}",
                remedy="all arrays must have one shape; fg.concat joins along an axis they have",
            )
    place = one_axis("stack", axis, len(xs[0].shape) + 1)
    return build.concat([build.expand_dims(x, (place,)) for x in xs], place)


def tile(x: Node, repetitions: Sequence[int]) -> Node:
    """The whole array repeated along each axis."""
    ndim = max(len(x.shape), len(repetitions))
    counts = [1] * (ndim - len(repetitions)) + list(repetitions)
    shape = (1,) * (ndim - len(x.shape)) + x.shape
    for axis, count in enumerate(counts):
        shape = _repeat_shape(shape, axis, count)
    return _interleave(x, counts, before=True, shape=shape)


def repeat(x: Node, count: int, axis: int | None = None) -> Node:
    """Each element repeated along an axis; None for a flat result."""
    if axis is None:
        x, axis = reshape(x, (-1,)), 0
    place = one_axis("repeat", axis, len(x.shape))
    counts = [count if a == place else 1 for a in range(len(x.shape))]
    return _interleave(x, counts, before=False, shape=_repeat_shape(x.shape, place, count))


def _repeat_shape(shape: Shape, axis: int, count: int) -> Shape:
    extent = shape[axis]
    if count == 1:
        return shape
    if count < 0:
        raise ShapeError(
            f"axis {axis} is repeated {count} times", remedy="numbers of repetitions are 0 or more"
        )
    assert isinstance(extent, int)
    return (*shape[:axis], extent * count, *shape[axis + 1 :])


def _interleave(x: Node, counts: Sequence[int], before: bool, shape: Shape) -> Node:
    """A new axis of each count before or behind its axis, and both merged."""
    old = (1,) * (len(counts) - len(x.shape)) + x.shape
    wide: list[int | object] = []
    kept: list[int] = []
    for axis, count in enumerate(counts):
        place = len(wide) + (1 if before else 0)
        if axis >= len(counts) - len(x.shape):
            kept.append(place)
        wide += [count, old[axis]] if before else [old[axis], count]
    return build.reshape(build.broadcast(x, wide, kept), shape)  # type: ignore[arg-type]


def pad(x: Node, widths: Sequence[tuple[int, int]], fill: float | int | bool = 0) -> Node:
    """Elements of one value before and behind each axis; negative widths cut."""
    shape = x.shape
    if len(widths) != len(shape):
        raise ShapeError(
            f"pad: {len(widths)} pairs of widths for an array of shape {show(shape)}",
            remedy="give (before, behind) for each axis",
        )
    for axis, (low, high) in enumerate(widths):
        extent = x.shape[axis]
        if low < 0 or high < 0:
            assert isinstance(extent, int)
            x = build.slice_axis(x, axis, max(-low, 0), max(extent - max(-high, 0), max(-low, 0)))
    lows = [max(low, 0) for low, _ in widths]
    highs = [max(high, 0) for _, high in widths]
    padded = build.pad(x, lows, highs)
    if not fill or padded is x:
        return padded
    inside = build.pad(build.full(x.shape, True, bool_), lows, highs)
    return build.select(inside, padded, build.full_like(padded, fill))


def triangle(x: Node, k: int, lower: bool) -> Node:
    """The elements on one side of diagonal `k` of the last two axes, the diagonal included."""
    shape = x.shape
    if len(shape) < 2:
        raise ShapeError(
            f"{'tril' if lower else 'triu'} needs at least two axes, "
            f"the array has shape {show(shape)}",
            remedy="add an axis with x[:, None]",
        )
    ndim = len(shape)
    row = build.broadcast(build.iota(shape[-2], int64), shape, (ndim - 2,))
    column = build.broadcast(build.iota(shape[-1], int64), shape, (ndim - 1,))
    bound = build.add(row, build.full_like(row, k))
    keep = build.le(column, bound) if lower else build.ge(column, bound)
    return build.select(keep, x, build.zeros_like(x))
