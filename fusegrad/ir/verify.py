"""The check of graphs between passes.

Knows no concrete op.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import FusegradError, InternalError
from .node import Node, toposort, where

__all__ = ["verify_graph"]


def verify_graph(outputs: Sequence[Node], inputs: Iterable[Node] | None = None) -> None:
    """Check that every node is interned, typed as its op says, and closed.

    Parameters
    ----------
    outputs : sequence of Node
    inputs : iterable of Node, optional
        The variables that the graph may depend on; any if not given.

    Raises
    ------
    InternalError
        Naming the first node that breaks a rule.
    """
    allowed = None if inputs is None else set(inputs)
    for node in toposort(outputs):
        try:
            inferred = node.op.infer(*[operand.type for operand in node.inputs])
        except FusegradError as error:
            raise InternalError(
                f"{node} is ill-typed: {error.message}", where=where(node)
            ) from error
        if inferred != node.type:
            raise InternalError(f"{node} has not its type {inferred}", where=where(node))
        if Node(node.op, node.inputs) is not node:
            raise InternalError(f"{node} is not interned", where=where(node))
        if allowed is not None and node.op.name == "input" and node not in allowed:
            raise InternalError(f"{node} is not an input of the graph", where=where(node))
