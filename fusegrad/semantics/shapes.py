"""Broadcasting, axes and new shapes.

Knows shapes, and nodes only to broadcast and reshape them.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any, cast

from ..codegen.varying import integer
from ..errors import AxisError, DTypeError, FusegradError, ShapeError
from ..ir.node import Node
from ..ir.types import Extent, Symbol, known_size
from ..ops import build

__all__ = [
    "as_shape",
    "axis_tuple",
    "broadcast_all",
    "broadcast_shapes",
    "broadcast_to",
    "known_shape",
    "one_axis",
    "resolve",
    "show",
]

Shape = tuple[Extent, ...]


def show(shape: Sequence[Extent]) -> str:
    """A shape as Python prints it."""
    return f"({', '.join(map(str, shape))}{',' if len(shape) == 1 else ''})"


# --- broadcasting ---------------------------------------------------------------------------------


def broadcast_shapes(name: str, shapes: Sequence[Shape]) -> Shape:
    """The shape that all `shapes` broadcast to; `name` is the operation for the message."""
    first = shapes[0]
    if all(shape == first for shape in shapes):
        return first
    ndim = max(map(len, shapes))
    result: list[Extent] = [1] * ndim
    for shape in shapes:
        for place, extent in enumerate(shape, ndim - len(shape)):
            if extent == 1 or extent == result[place]:
                continue
            if result[place] != 1:
                raise _mismatch(name, shapes, place - ndim)
            result[place] = extent
    return tuple(result)


def _mismatch(name: str, shapes: Sequence[Shape], place: int) -> ShapeError:
    distinct = list(dict.fromkeys(shape for shape in shapes if shape))
    shown = [show(shape) for shape in distinct]
    names = " and ".join([", ".join(shown[:-1]), shown[-1]])
    extents = list(dict.fromkeys(s[place] for s in distinct if len(s) >= -place and s[place] != 1))
    remedy = "transpose or reshape one of the operands"
    if len(distinct) == 2 and distinct[0][::-1] == distinct[1]:
        remedy = "transpose one of the operands: the shapes are each other's reverse"
    elif any(len(s) == 1 and s[0] in t[:1] for s in distinct for t in distinct if len(t) > 1):
        remedy = (
            "shapes are aligned at the right: give the shorter operand a new axis, x[:, None], "
            "or reshape one of the operands"
        )
    return ShapeError(
        f"cannot {name} shapes {names}: axis {place} has extents {extents[0]} and {extents[1]}",
        remedy=remedy,
    )


def broadcast_all(name: str, nodes: Sequence[Node]) -> list[Node]:
    """All nodes with the shape that they broadcast to."""
    shape = broadcast_shapes(name, [node.shape for node in nodes])
    return [build.broadcast_to(node, shape) for node in nodes]


def broadcast_to(x: Node, shape: Shape) -> Node:
    """Repeat `x` along axes of extent 1 and new leading axes, or ShapeError."""
    old = x.shape
    lead = len(shape) - len(old)
    if lead < 0 or any(e not in (1, shape[lead + axis]) for axis, e in enumerate(old)):
        raise ShapeError(
            f"cannot broadcast shape {show(old)} to {show(shape)}",
            remedy="in each place, counted from the right, the extents must be equal, "
            "or that of the operand 1",
        )
    return build.broadcast_to(x, shape)


# --- axes -----------------------------------------------------------------------------------------


def one_axis(name: str, axis: int, ndim: int) -> int:
    """`axis`, counted from 0, of an array of `ndim` axes."""
    try:
        axis = operator.index(axis)
    except TypeError as error:
        if isinstance(error, FusegradError):
            raise
        raise DTypeError(
            f"{name}: an axis is an integer, not {axis!r}", remedy="count axes from 0"
        ) from None
    if not -ndim <= axis < ndim:
        have = f"axes 0 to {ndim - 1}" if ndim > 1 else ("one axis" if ndim else "no axes")
        raise AxisError(
            f"{name}: there is no axis {axis} in an array of {ndim} dimensions",
            remedy=f"the array has {have}; negative ones count from the end",
        )
    return axis % ndim if ndim else axis


def axis_tuple(name: str, axis: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """Axes as a sorted tuple, counted from 0; None means all."""
    if axis is None:
        return tuple(range(ndim))
    if isinstance(axis, Iterable) and getattr(axis, "ndim", None) != 0:
        axes = [one_axis(name, a, ndim) for a in axis]
        if len(set(axes)) < len(axes):
            raise ShapeError(
                f"{name}: an axis is named twice in {tuple(axis)}", remedy="name each axis once"
            )
        return tuple(sorted(axes))
    return (one_axis(name, cast("int", axis), ndim),)


# --- new shapes -----------------------------------------------------------------------------------


def as_shape(shape: Any) -> Shape:
    """A shape given as an int, a sequence of them, or a tuple with one sequence in it."""
    if isinstance(shape, (int, Symbol)):
        return (_extent(shape),)
    try:
        if len(shape) == 1 and isinstance(shape[0], (tuple, list)):
            shape = shape[0]
        return tuple(_extent(e) for e in shape)
    except TypeError as error:
        if isinstance(error, FusegradError):
            raise
        raise DTypeError(
            f"{shape!r} is no shape", remedy="a shape is an integer or a sequence of integers"
        ) from None


def _extent(given: Any) -> Extent:
    return given if isinstance(given, Symbol) else integer(given)


def known_shape(name: str, shape: Any) -> tuple[int, ...]:
    """A shape without symbols; `name` is the operation for the message."""
    extents = as_shape((shape,))
    known = tuple(extent for extent in extents if isinstance(extent, int))
    if len(known) < len(extents):
        raise ShapeError(
            f"{name}: shape {show(extents)} is not known", remedy="compile for known extents"
        )
    return known


def resolve(old: Shape, new: Shape) -> Shape:
    """`new` with -1 replaced by the extent that keeps the number of elements of `old`."""
    size = known_size(old)
    unknown = [axis for axis, extent in enumerate(new) if extent == -1]
    rest = known_size([e for e in new if e != -1])
    problem = None
    if len(unknown) > 1:
        problem = "only one extent can be -1"
    elif any(isinstance(e, int) and e < -1 for e in new):
        problem = "an extent is negative"
    elif size is None or rest is None:
        return _resolve_symbols(old, new, unknown)
    elif unknown:
        if rest == 0 or size % rest:
            problem = f"{size} elements do not divide by {rest}"
        else:
            new = (*new[: unknown[0]], size // rest, *new[unknown[0] + 1 :])
    elif rest != size:
        problem = f"{size} elements are not {rest}"
    if problem is not None:
        raise ShapeError(
            f"cannot reshape {show(old)} to {show(new)}: {problem}",
            remedy="the product of the extents must stay the same; one of them may be -1",
        )
    return new


def _resolve_symbols(old: Shape, new: Shape, unknown: list[int]) -> Shape:
    """Symbols of both shapes cancel; a single one that is left over is what -1 stands for."""
    if not unknown:
        return new
    symbols = [e for e in old if isinstance(e, Symbol)]
    for extent in new:
        if isinstance(extent, Symbol) and extent in symbols:
            symbols.remove(extent)
    numbers_old = known_size([e for e in old if not isinstance(e, Symbol)]) or 0
    numbers_new = known_size([e for e in new if not isinstance(e, Symbol) and e != -1]) or 0
    missing: Extent | None = None
    if not symbols and numbers_new and numbers_old % numbers_new == 0:
        missing = numbers_old // numbers_new
    elif len(symbols) == 1 and numbers_old == numbers_new:
        missing = symbols[0]
    if missing is None:
        raise ShapeError(
            f"cannot reshape {show(old)} to {show(new)}: the extent for -1 is not known here",
            remedy="write the extent out",
        )
    return (*new[: unknown[0]], missing, *new[unknown[0] + 1 :])
