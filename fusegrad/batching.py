"""Graphs over a batch: what a graph computes for one element, for all elements at once.

Calls the rules of ops, and names no op.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .errors import InternalError
from .ir.node import Node, role, source, toposort, where
from .ir.types import Extent, TensorType, TupleType, Type

__all__ = ["batch"]


def batch(outputs: Sequence[Node], batched: Mapping[Node, Node]) -> list[tuple[Node, bool]]:
    """`outputs` for every element of a batch.

    Parameters
    ----------
    outputs : sequence of Node
        What is computed for one element.
    batched : mapping of Node to Node
        Nodes, usually variables, and what stands for them: the same with the batch as a new
        axis 0.

    Returns
    -------
    list of (Node, bool)
        For each output the node, and whether it has the batch as axis 0. It has none if the output
        does not depend on anything batched, or only waits for it.

    Raises
    ------
    BatchingError
        If an op on the way has no rule.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ops import build
    >>> x, row = (build.input_(TensorType(shape, float32)) for shape in ((2,), (5, 2)))
    >>> batch([build.sum_(x, (0,)), build.iota(3)], {x: row})
    [(<sum((1,)): f32[5]>, True), (<iota(3, int64): i64[3]>, False)]
    """
    done = dict(batched)
    # What only waits for something batched is still the same for all elements.
    same: dict[Node, Node] = {}
    for node in toposort(outputs, batched):
        if node in done:
            continue
        has = [operand in done for operand in node.inputs]
        operands = [done.get(operand) or same.get(operand, operand) for operand in node.inputs]
        with source(where(node), role(node)):
            if not any(has):
                if not same.keys().isdisjoint(node.inputs):
                    same[node] = Node(node.op, tuple(operands))
                continue
            result = node.op.batch(node, operands, has)
        if result.type.plain == node.type.plain:
            same[node] = result
            continue
        extent = _leading(operands[has.index(True)])
        if result.type.plain != _with_batch(node.type, extent).plain:
            raise InternalError(
                f"the rule of {node.op} for vmap gave {result.type}, "
                f"not {_with_batch(node.type, extent)}",
                where=where(node),
            )
        done[node] = result
    return [(done.get(node) or same.get(node, node), node in done) for node in outputs]


def _leading(node: Node) -> Extent:
    type_ = node.type
    first = type_.items[0] if isinstance(type_, TupleType) else type_
    return first.shape[0]


def _with_batch(type_: Type, extent: Extent) -> Type:
    if isinstance(type_, TupleType):
        return TupleType(TensorType((extent, *item.shape), item.dtype) for item in type_.items)
    return TensorType((extent, *type_.shape), type_.dtype)
