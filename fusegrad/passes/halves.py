"""Ops on 16-bit floats written out: conversions around the op in float32.

Knows which ops compute a value at an index; their scalar code converts by itself. Reductions,
contractions, loop nests and calls have accumulators and memory of their own, which are float32.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.halves import in_float32, wide
from ..ir.node import Item, Node, toposort
from ..ir.rewrite import only, rewrite
from ..ir.types import TensorType
from ..ops import build
from ..ops.base import IndexedOp
from ..ops.movement import Reshape, Transpose
from ..ops.window import Windows

__all__ = ["widen_halves"]

_VIEWS = (Reshape, Transpose, Windows)


def widen_halves(outputs: Sequence[Node]) -> list[Node]:
    """op(half) = cast(op(cast(half))) for every op that is not computed index by index."""
    types = {node.type for node in toposort(outputs)}
    if not any(t.dtype.is_half for t in types if isinstance(t, TensorType)):
        return [*outputs]
    return rewrite(outputs, [_of_results, _of_one])


def _computes(node: Node) -> bool:
    if isinstance(node.op, IndexedOp):
        return False
    return in_float32(node.op, [operand.type for operand in node.inputs])


@only(lambda op: not isinstance(op, IndexedOp))
def _of_one(node: Node) -> Node | None:
    if not isinstance(node.type, TensorType) or not _computes(node):
        return None
    return build.cast(_in_float32(node), node.dtype)


@only(lambda op: isinstance(op, Item))
def _of_results(node: Node) -> Node | None:
    """The same for an op with several results, where one of them is taken."""
    if not isinstance(node.op, Item) or not _computes(node.inputs[0]):
        return None
    (call,) = node.inputs
    return build.cast(Node(node.op, (_in_float32(call),)), node.dtype)


def _in_float32(node: Node) -> Node:
    return Node(node.op, tuple(_widened(operand) for operand in node.inputs))


def _widened(node: Node) -> Node:
    """`node` as float32; views stay views, of the converted values."""
    views = []
    while isinstance(node.op, _VIEWS):
        views.append(node.op)
        node = node.inputs[0]
    result = build.cast(node, wide(node.dtype))
    for view in reversed(views):
        result = Node(view, (result,))
    return result
