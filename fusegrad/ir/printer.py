"""Graphs as text: one line a node, the same text for the same graph.

Knows no concrete op: each op spells itself.

    graph ::= node* return NAME, ...                    operands before users; equal nodes are one
    node  ::= NAME: type = OP[<param, ...>][(NAME, ...)] [# FILE:LINE in FUNCTION [(backward)]]
    type  ::= dtype[extent, ...] | (type, ...)          a tuple's results are picked by item<INT>
    extent ::= INT | SYMBOL
    param ::= INT | FLOAT | dtype | STRING | [param, ...]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .node import Node, role, toposort, where

__all__ = ["print_graph"]


def print_graph(
    outputs: Sequence[Node],
    names: Mapping[Node, str] | None = None,
    sources: bool = False,
) -> str:
    """The text of a graph.

    Parameters
    ----------
    outputs : sequence of Node
    names : mapping of Node to str, optional
        Names of some nodes, such as the inputs; the others are numbered.
    sources : bool, optional
        Whether to end each line with the user's line and the role, where they are known.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> from fusegrad.ops import build
    >>> x = build.input_(TensorType((2, 3), float32))
    >>> print(print_graph([build.sum_(build.mul(x, x), (1,))], {x: "x"}))
    %x: f32[2, 3] = input
    %0: f32[2, 3] = mul(%x, %x)
    %1: f32[2] = reduce<sum, [1]>(%0)
    return %1
    """
    given = {} if names is None else names
    spelled: dict[Node, str] = {}
    lines = []
    count = 0
    for node in toposort(outputs):
        if node in given:
            spelled[node] = f"%{given[node]}"
        else:
            spelled[node] = f"%{count}"
            count += 1
        operands = ", ".join(spelled[operand] for operand in node.inputs)
        text = f"{spelled[node]}: {node.type} = {_spell_op(node)}"
        if node.inputs:
            text += f"({operands})"
        line = where(node)
        if sources and line is not None:
            text += f"  # {line}{' (backward)' if role(node) == 'backward' else ''}"
        lines.append(text)
    lines.append(f"return {', '.join(spelled[node] for node in outputs)}")
    return "\n".join(lines)


def _spell_op(node: Node) -> str:
    params = node.op.params()
    if not params or node.op.name in ("input", "array_constant"):
        return node.op.name
    return f"{node.op.name}<{', '.join(map(_spell, params))}>"


def _spell(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_spell, value))}]"
    if isinstance(value, str) and ("0x" in value):
        return repr(float.fromhex(value))
    return str(value)
