"""Rewriting graphs by rules.

Knows no rule and no concrete op.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import InternalError
from .node import Node, inherit_source, role, source, toposort, where

__all__ = ["Rule", "rewrite"]

Rule = Callable[[Node], Node | None]
"""A node to an equal one that is better, or None to leave it."""

_LIMIT = 1000


def rewrite(outputs: Sequence[Node], rules: Sequence[Rule]) -> list[Node]:
    """`outputs` with every node replaced until no rule applies to it.

    Each node is visited once, operands first, and so is every node that a rule makes. New nodes
    take over the source line and the role of the node they replace.

    Parameters
    ----------
    outputs : sequence of Node
    rules : sequence of callable
        Tried in order; the first that gives a node wins, and its result is rewritten again.

    Raises
    ------
    InternalError
        If rules go on replacing for ever.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.ir.types import TensorType
    >>> from fusegrad.ops import build
    >>> def double_negation(node):
    ...     if node.op.name == "neg" and node.inputs[0].op.name == "neg":
    ...         return node.inputs[0].inputs[0]
    >>> x = build.input_(TensorType((2,), float32))
    >>> rewrite([build.neg(build.neg(x))], [double_negation])[0] is x
    True
    """
    done: dict[Node, Node] = {}
    for node in toposort(outputs):
        _finish(node, node, rules, done)
    return [done[node] for node in outputs]


def _finish(start: Node, origin: Node, rules: Sequence[Rule], done: dict[Node, Node]) -> None:
    """Fill ``done[start]``; nodes in between are finished first, without recursion."""
    # Each frame rewrites one node: (the node it stands for, its present form, replacements).
    stack: list[tuple[Node, Node, int]] = [(start, start, 0)]
    waiting: set[Node] = set()
    with source(where(origin), role(origin)):
        while stack:
            key, node, count = stack.pop()
            if key in done:
                continue
            known = done.get(node)
            if known is not None:
                done[key] = known
                continue
            missing = [operand for operand in node.inputs if operand not in done]
            if missing:
                waiting.add(key)
                if not waiting.isdisjoint(missing):
                    raise InternalError(f"a rule wraps {key.op} in itself", where=where(origin))
                stack.append((key, node, count))
                stack.extend((operand, operand, 0) for operand in reversed(missing))
                continue
            inputs = tuple([done[operand] for operand in node.inputs])
            if any(a is not b for a, b in zip(inputs, node.inputs, strict=True)):
                node = Node(node.op, inputs)
            replacement = _apply(node, rules)
            if replacement is None:
                done[key] = done[node] = node
                continue
            if count >= _LIMIT:
                raise InternalError(f"rules replace {node.op} for ever", where=where(origin))
            inherit_source(replacement, origin)
            stack.append((key, replacement, count + 1))


def _apply(node: Node, rules: Sequence[Rule]) -> Node | None:
    for rule in rules:
        replacement = rule(node)
        if replacement is not None and replacement is not node:
            return replacement
    return None
