"""Rewriting graphs by rules.

Knows no rule and no concrete op.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import final

from ..errors import InternalError
from .node import Node, Op, Pattern, inherit_source, role, source, toposort, where

__all__ = ["Rule", "only", "rewrite"]

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
    candidates = _Candidates(rules)
    order = toposort(outputs)
    if not any(map(candidates.of, dict.fromkeys([node.op for node in order]))):
        return [*outputs]
    done = _Done()
    moved = done.moved
    for node in order:
        if node in done:
            continue
        # Nearly every node stays as it is.
        if moved.isdisjoint(node.inputs):
            if not candidates.of(node.op):
                done[node] = node
                continue
            inputs = node.inputs
        else:
            inputs = tuple([done[operand] for operand in node.inputs])
        with source(where(node), role(node)):
            form = node if inputs is node.inputs else Node(node.op, inputs)
            known = done.get(form)
            replacement = _apply(form, candidates) if known is None else None
            if replacement is None:
                done.note(form, known or form)
                done.note(node, known or form)
            else:
                inherit_source(replacement, node)
                _finish(node, replacement, candidates, done)
    return [done[node] for node in outputs]


@final
class _Done(dict[Node, Node]):
    """What nodes have become; ``moved`` are those that have become another one."""

    def __init__(self) -> None:
        super().__init__()
        self.moved: set[Node] = set()

    def note(self, node: Node, form: Node) -> None:
        self[node] = form
        if form is not node:
            self.moved.add(node)


def only(wants: Callable[[Op], bool]) -> Callable[[Rule], Rule]:
    """Mark a rule as one for ops of some kinds, so that it is not tried at others.

    Parameters
    ----------
    wants : callable
        Whether the rule may apply, from the class of an op, or from an elementwise op itself.
    """

    def mark(rule: Rule) -> Rule:
        vars(rule)["wants"] = wants
        return rule

    return mark


@final
class _Candidates:
    """The rules that may apply to an op, found once for each kind of op."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._known: dict[Hashable, list[Rule]] = {}
        self._of_ops: dict[Op, list[Rule]] = {}

    def of(self, op: Op) -> list[Rule]:
        known = self._of_ops.get(op)
        if known is None:
            kind = op if op.pattern is Pattern.MAP else type(op)
            known = self._known.get(kind)
            if known is None:
                known = [r for r in self._rules if "wants" not in vars(r) or vars(r)["wants"](op)]
                self._known[kind] = known
            self._of_ops[op] = known
        return known


def _finish(origin: Node, start: Node, rules: _Candidates, done: _Done) -> None:
    """Fill ``done[origin]``, that `start` replaces, without recursion."""
    # Each frame rewrites one node: (the node it stands for, its present form, replacements).
    stack: list[tuple[Node, Node, int]] = [(origin, start, 1)]
    waiting: set[Node] = set()
    with source(where(origin), role(origin)):
        while stack:
            key, node, count = stack.pop()
            if key in done:
                continue
            known = done.get(node)
            if known is not None:
                done.note(key, known)
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
                done[node] = node
                done.note(key, node)
                continue
            if count >= _LIMIT:
                raise InternalError(f"rules replace {node.op} for ever", where=where(origin))
            inherit_source(replacement, origin)
            stack.append((key, replacement, count + 1))


def _apply(node: Node, rules: _Candidates) -> Node | None:
    for rule in rules.of(node.op):
        replacement = rule(node)
        if replacement is not None and replacement is not node:
            return replacement
    return None
