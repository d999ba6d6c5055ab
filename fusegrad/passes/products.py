"""Matrix products that were written as sums over products of broadcast operands.

Knows sums, products and broadcasting; knows no kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..ir.node import Node
from ..ir.rewrite import rewrite
from ..ir.types import known_size
from ..ops import build
from ..ops.elementwise import ELEMENTWISE
from ..ops.movement import Broadcast
from ..ops.reduce import Monoid, Reduce

__all__ = ["find_products"]

_LEAST_ROWS = 2
"""With fewer rows or columns the operands are read about as often by a fused sum."""
_LEAST_TERMS = 2048
"""Fewer products are summed up sooner than a contraction starts."""

Axes = list[int]


def find_products(outputs: Sequence[Node]) -> list[Node]:
    """sum over k of a[i, k] * b[k, j] = dot(a, b), however the axes lie, with any batch axes.

    The products are the same and their sum is taken in another order. Halves stay, whose products
    are rounded before they are summed.
    """
    return rewrite(outputs, [_product])


def _product(node: Node) -> Node | None:
    if not isinstance(node.op, Reduce) or node.op.monoid is not Monoid.SUM:
        return None
    (terms,) = node.inputs
    if terms.op is not ELEMENTWISE["mul"] or not node.dtype.is_float or node.dtype.is_half:
        return None
    left, right = terms.inputs
    if not isinstance(left.op, Broadcast) or not isinstance(right.op, Broadcast):
        return None
    of_left, of_right = set(left.op.dims), set(right.op.dims)
    summed = list(node.op.axes)
    if not of_left & of_right >= set(summed):
        return None
    kept = [axis for axis in range(len(terms.shape)) if axis not in summed]
    rows = [axis for axis in kept if axis not in of_right]
    columns = [axis for axis in kept if axis not in of_left]
    batch = [axis for axis in kept if axis in of_left and axis in of_right]
    if len(batch) + len(rows) + len(columns) < len(kept) or not _pays(terms, rows, columns, batch):
        return None
    return _contraction(node, batch, rows, columns, summed)


def _pays(terms: Node, rows: Axes, columns: Axes, batch: Axes) -> bool:
    if known_size(terms.shape) is None or not _size(terms):
        return False
    least = min(_size(terms, rows), _size(terms, columns))
    return least >= _LEAST_ROWS and _size(terms) // _size(terms, batch) >= _LEAST_TERMS


def _contraction(node: Node, batch: Axes, rows: Axes, columns: Axes, summed: Axes) -> Node:
    (terms,) = node.inputs
    left, right = terms.inputs
    result = build.dot(_matrix(left, batch, rows, summed), _matrix(right, batch, summed, columns))
    order = [*batch, *rows, *columns]
    result = build.reshape(result, [terms.shape[axis] for axis in order])
    return build.transpose(result, [order.index(axis) for axis in sorted(order)])


def _matrix(operand: Node, batch: Axes, first: Axes, second: Axes) -> Node:
    """What is broadcast, as matrices: its axes in this order, the last two groups merged."""
    (source,) = operand.inputs
    assert isinstance(operand.op, Broadcast)
    places = [operand.op.dims.index(axis) for axis in (*batch, *first, *second)]
    shape = [operand.shape[axis] for axis in batch]
    return build.reshape(
        build.transpose(source, places), [*shape, _size(operand, first), _size(operand, second)]
    )


def _size(node: Node, axes: Axes | None = None) -> int:
    extents = node.shape if axes is None else [node.shape[axis] for axis in axes]
    return prod(extents)  # type: ignore[arg-type]
