"""Diagonals of the last two axes: reading them, and matrices that hold them.

Functions from nodes to nodes; knows no Tensor. A diagonal is every (columns + 1)-th element of the
matrix in memory order, so it is a view that kernels read in place.
"""

from __future__ import annotations

from ..codegen.dtypes import int64
from ..errors import ShapeError
from ..ir.node import Node
from ..ops import build
from .manipulation import moveaxis
from .shapes import broadcast_to, one_axis, show

__all__ = ["diag", "diagonal", "embed", "replace"]


def _axes(name: str, x: Node, first: int, second: int) -> tuple[int, int]:
    ndim = len(x.shape)
    if ndim < 2:
        raise ShapeError(
            f"{name} needs at least two axes, the array has shape {show(x.shape)}",
            remedy="fg.diag makes a matrix of a vector",
        )
    one, two = one_axis(name, first, ndim), one_axis(name, second, ndim)
    if one == two:
        raise ShapeError(f"{name}: the diagonal of axis {one} with itself", remedy="name two axes")
    return one, two


def _extents(name: str, x: Node) -> tuple[int, int]:
    rows, columns = x.shape[-2:]
    if not isinstance(rows, int) or not isinstance(columns, int):
        raise ShapeError(
            f"{name} of a matrix of variable extents {show(x.shape[-2:])}",
            remedy="compile for known extents",
        )
    return rows, columns


def _start(offset: int, columns: int) -> int:
    return offset if offset >= 0 else -offset * columns


def _length(rows: int, columns: int, offset: int) -> int:
    return max(0, min(rows + min(offset, 0), columns - max(offset, 0)))


def diagonal(x: Node, offset: int = 0, first: int = 0, second: int = 1) -> Node:
    """A diagonal of two axes, as the last axis of the result."""
    x = moveaxis(x, _axes("diagonal", x, first, second), (-2, -1))
    rows, columns = _extents("diagonal", x)
    count = _length(rows, columns, offset)
    before = x.shape[:-2]
    if not count:
        return build.zeros((*before, 0), x.dtype)
    flat = build.reshape(x, (*before, rows * columns))
    start = _start(offset, columns)
    stop = start + (count - 1) * (columns + 1) + 1
    return build.slice_axis(flat, len(before), start, stop, columns + 1)


def _place(x: Node, rows: int, columns: int, offset: int) -> Node:
    """Matrices of zeros with the last axis of `x` on a diagonal."""
    before, count = x.shape[:-1], x.shape[-1]
    assert isinstance(count, int)
    if not count:
        return build.zeros((*before, rows, columns), x.dtype)
    start = _start(offset, columns)
    used = (count - 1) * (columns + 1) + 1
    zeros = [0] * len(before)
    behind = rows * columns - start - used
    flat = build.pad(x, [*zeros, start], [*zeros, behind], [*zeros, columns])
    return build.reshape(flat, (*before, rows, columns))


def embed(x: Node, offset: int = 0, first: int = -2, second: int = -1) -> Node:
    """Square matrices with the last axis of `x` on a diagonal, zeros elsewhere."""
    if not x.shape or not isinstance(x.shape[-1], int):
        raise ShapeError(
            f"a diagonal of shape {show(x.shape)}", remedy="pass an array with axes of known extent"
        )
    ndim = len(x.shape) + 1
    one, two = one_axis("diag_embed", first, ndim), one_axis("diag_embed", second, ndim)
    if one == two:
        raise ShapeError(
            f"diag_embed: a diagonal of axis {one} with itself", remedy="name two axes"
        )
    size = x.shape[-1] + abs(offset)
    return moveaxis(_place(x, size, size, offset), (-2, -1), (one, two))


def _mask(rows: int, columns: int, offset: int) -> Node:
    """Where the diagonal lies."""
    row = build.broadcast(build.iota(rows, int64), (rows, columns), (0,))
    column = build.broadcast(build.iota(columns, int64), (rows, columns), (1,))
    return build.eq(column, build.add(row, build.full_like(row, offset)))


def replace(x: Node, value: Node, offset: int, first: int, second: int) -> Node:
    """`x` with another diagonal; `value` broadcasts to it."""
    one, two = _axes("diagonal", x, first, second)
    moved = moveaxis(x, (one, two), (-2, -1))
    rows, columns = _extents("diagonal", moved)
    shape = (*moved.shape[:-2], _length(rows, columns, offset))
    new = _place(broadcast_to(build.cast(value, x.dtype), shape), rows, columns, offset)
    mask = build.broadcast(
        _mask(rows, columns, offset),
        moved.shape,
        (len(moved.shape) - 2, len(moved.shape) - 1),
    )
    return moveaxis(build.select(mask, new, moved), (-2, -1), (one, two))


def diag(x: Node, offset: int = 0) -> Node:
    """A matrix with a vector on a diagonal, or the diagonal of a matrix."""
    if len(x.shape) == 1:
        return embed(x, offset)
    if len(x.shape) != 2:
        raise ShapeError(
            f"diag takes a vector or a matrix, not an array of shape {show(x.shape)}",
            remedy="fg.diagonal and fg.diag_embed take more axes",
        )
    return diagonal(x, offset)
