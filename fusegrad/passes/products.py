"""Matrix products that were written as sums over products of broadcast operands.

Knows sums, products and broadcasting; knows no kernels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from ..codegen.dtypes import float32, float64
from ..codegen.records import dataclass
from ..ir.node import Node, Op
from ..ir.rewrite import only, rewrite
from ..ir.types import Extent, known_size
from ..ops import build
from ..ops.elementwise import ELEMENTWISE, Map
from ..ops.identities import Cast
from ..ops.movement import Broadcast
from ..ops.reduce import Monoid, Reduce

__all__ = ["find_products"]

_MUL, _DIV = ELEMENTWISE["mul"], ELEMENTWISE["div"]
_LEAST_ROWS = 2
"""With fewer rows or columns the operands are read about as often by a fused sum."""
_LEAST_TERMS = 2048
"""Fewer products are summed up sooner than a contraction starts."""

_DEPTH = 8
"""How far the axes that an operand depends on are looked for."""

Axes = list[int]


@final
@dataclass(frozen=True)
class _Spread:
    """A value that is broadcast: axis i of `source` is axis ``dims[i]`` of `shape`."""

    source: Node
    dims: tuple[int, ...]
    shape: tuple[Extent, ...]

    def size(self, axes: Axes) -> int:
        """How many elements there are along the axes."""
        return math.prod(self.shape[axis] for axis in axes)  # type: ignore[misc]

    def without(self, axes: Axes) -> Node:
        """The value broadcast to the other axes."""
        kept = [axis for axis in range(len(self.shape)) if axis not in axes]
        shape = [self.shape[axis] for axis in kept]
        return build.broadcast(self.source, shape, [kept.index(d) for d in self.dims])

    def matrix(self, batch: Axes, first: Axes, second: Axes) -> Node:
        """The source as matrices: its axes in this order, the last two groups merged."""
        places = [self.dims.index(axis) for axis in (*batch, *first, *second)]
        shape = [self.shape[axis] for axis in batch]
        turned = build.transpose(self.source, places)
        return build.reshape(turned, [*shape, self.size(first), self.size(second)])


def find_products(outputs: Sequence[Node]) -> list[Node]:
    """sum over k of a[i, k] * b[k, j] = dot(a, b), however the axes lie, with any batch axes.

    The products are the same and their sum is taken in another order; numbers that all of them are
    multiplied or divided by follow it. Halves stay: their products are rounded before the sum.
    """
    return rewrite(outputs, [_product])


@only(lambda op: isinstance(op, Reduce))
def _product(node: Node) -> Node | None:
    if not isinstance(node.op, Reduce) or node.op.monoid is not Monoid.SUM:
        return None
    exact = node.dtype.is_integer and node.dtype.itemsize >= 4
    if not (exact or node.dtype in (float32, float64)):
        return None
    if known_size(node.inputs[0].shape) is None:
        return None
    summed = list(node.op.axes)
    terms, scales = (node.inputs[0], []) if exact else _scaled(node.inputs[0])
    if terms.op is not _MUL:
        return None
    left, right = (_spread(operand) for operand in terms.inputs)
    if not set(left.dims) & set(right.dims) >= set(summed):
        return None
    kept = [axis for axis in range(len(terms.shape)) if axis not in summed]
    rows = [axis for axis in kept if axis not in right.dims]
    columns = [axis for axis in kept if axis not in left.dims]
    batch = [axis for axis in kept if axis in left.dims and axis in right.dims]
    if set(rows) & set(columns) or not _pays(left, rows, columns, summed):
        return None
    result = build.dot(left.matrix(batch, rows, summed), right.matrix(batch, summed, columns))
    order = [*batch, *rows, *columns]
    result = build.reshape(result, [terms.shape[axis] for axis in order])
    result = build.transpose(result, [order.index(axis) for axis in kept])
    for op, number in reversed(scales):
        result = Node(op, (result, build.full_like(result, number)))
    return result


def _pays(terms: _Spread, rows: Axes, columns: Axes, summed: Axes) -> bool:
    least = min(terms.size(rows), terms.size(columns))
    return least >= _LEAST_ROWS and terms.size([*rows, *columns, *summed]) >= _LEAST_TERMS


def _scaled(terms: Node) -> tuple[Node, list[tuple[Op, float]]]:
    """Terms, and the numbers that all of them are multiplied by or divided by."""
    scales: list[tuple[Op, float]] = []
    while terms.op in (_MUL, _DIV):
        first, second = terms.inputs
        if terms.op is _MUL and build.constant_value(first) is not None:
            first, second = second, first
        number = build.constant_value(second)
        if number is None or not math.isfinite(number) or number == 0:
            break
        scales.append((terms.op, number))
        terms = first
    return terms, scales


def _spread(node: Node, depth: int = 0) -> _Spread:
    """What is broadcast, also before it is computed with; at worst the node along all axes."""
    if isinstance(node.op, Broadcast):
        return _Spread(node.inputs[0], node.op.dims, node.shape)
    every = tuple(range(len(node.shape)))
    if not isinstance(node.op, (Map, Cast)) or depth == _DEPTH:
        return _Spread(node, every, node.shape)
    parts = [_spread(operand, depth + 1) for operand in node.inputs]
    dims = tuple(sorted({d for part in parts for d in part.dims}))
    if dims == every:
        return _Spread(node, every, node.shape)
    rest = [axis for axis in every if axis not in dims]
    return _Spread(Node(node.op, tuple(part.without(rest) for part in parts)), dims, node.shape)
