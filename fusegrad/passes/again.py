"""Matrices between products that late readers make again from what they are made of.

Knows products, elementwise ops and sums along rows; knows no attention.

What a softmax of scores is multiplied by comes soon, and what its derivative is multiplied by comes
late: kept for that, the matrices are most of what a step keeps. They are much larger than the
operands of the product that they are made of, and rows between products are made, read and
forgotten in one kernel: so late readers make them again, from the operands and from what was found
out about each row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from ..codegen.varying import likely
from ..ir.node import Node, Pattern, role, source, toposort, where
from ..ir.types import TensorType
from ..ops import build
from ..ops.contract import Dot
from ..ops.movement import Broadcast, Reshape, Slice, Transpose
from .families import Family, families
from .regions import is_leaf
from .views import shape_of

__all__ = ["lie_between", "make_again"]

LEAST = 1 << 20
"""Elements from which on it takes less to make a matrix again than to keep it."""


def lie_between(outputs: Sequence[Node]) -> set[Node]:
    """The products from which on everything up to other products is one kernel."""
    return {f.seed for f in families(toposort(outputs), outputs)}


def make_again(outputs: Sequence[Node]) -> list[Node]:
    """`outputs`, where late readers of large matrices between products make them again."""
    order = toposort(outputs)
    if not any(isinstance(n.op, Dot) and _size(n) >= LEAST for n in order):
        return list(outputs)
    found = [f for f in families(order, outputs) if _size(f.seed) >= LEAST]
    waits = _waits(order, found)
    places = {node: place for place, node in enumerate(order)}
    done: dict[Node, Node] = {}
    chosen: dict[Node, list[_Copies]] = {}
    for number, family in enumerate(found):
        late = _Late(family, waits, 1 << number, places)
        trigger = late.trigger()
        if trigger is not None:
            copies = _Copies(late.early, family, trigger, done)
            for reader in late.readers:
                chosen.setdefault(reader, []).append(copies)
    for node in order if chosen else ():
        with source(where(node), role(node)):
            inputs = tuple(_operand(i, chosen.get(node, ()), done) for i in node.inputs)
            if inputs != node.inputs:
                done[node] = Node(node.op, inputs)
    return [done.get(n, n) for n in outputs]


def _operand(node: Node, copies: Sequence[_Copies], done: dict[Node, Node]) -> Node:
    """What a reader reads for `node`."""
    again = next((c for c in copies if node in c.early), None)
    return done.get(node, node) if again is None else again.of(node)


def _waits(order: Sequence[Node], families: Sequence[Family]) -> dict[Node, int]:
    """For each node, by a bit for each family, whether it waits for one of its consumers."""
    bits: dict[Node, int] = {}
    for number, family in enumerate(families):
        for consumer in family.consumers:
            bits[consumer] = bits.get(consumer, 0) | 1 << number
    waits: dict[Node, int] = {}
    for node in order:
        mask = 0
        for operand in node.inputs:
            mask |= waits[operand] | bits.get(operand, 0)
        waits[node] = mask
    return waits


def _size(node: Node) -> int:
    return math.prod(map(likely, node.shape)) if isinstance(node.type, TensorType) else 0  # type: ignore[arg-type]


@final
class _Late:
    """Who reads the matrices of a family late: after one of its consumers."""

    def __init__(
        self, family: Family, waits: dict[Node, int], bit: int, places: dict[Node, int]
    ) -> None:
        self.family, self.waits, self.bit = family, waits, bit
        every = (*family.matrices, *family.views)
        self.early = {n for n in every if not waits[n] & bit}
        members = (*every, *family.rows, *family.consumers)
        late = [n for n in members if waits[n] & bit and not self.early.isdisjoint(n.inputs)]
        self.readers = sorted(late, key=places.__getitem__)

    def trigger(self) -> Node | None:
        """What the first of them waits for, other than matrices."""
        family = self.family
        size = math.prod(shape_of(family.seed))
        stack = [i for n in self.readers[::-1] for i in n.inputs]
        seen = {*family.matrices, *family.views, *family.rows}
        while stack:
            node = stack.pop()
            waiting = isinstance(node.type, TensorType) and self.waits[node] & self.bit
            if node in seen or not waiting:
                continue
            if math.prod(shape_of(node)) < size:
                return node
            seen.add(node)
            stack += node.inputs
        return None


_VALUES = (Pattern.REDUCE, Pattern.CONTRACT, Pattern.LOOP, Pattern.CALL)


@final
class _Copies:
    """Matrices made again."""

    def __init__(
        self, early: set[Node], family: Family, trigger: Node, done: dict[Node, Node]
    ) -> None:
        self.early, self.trigger, self.done = early, trigger, done
        self.size = math.prod(shape_of(family.seed))
        self.made: dict[Node, Node] = {}

    def of(self, root: Node) -> Node:
        """The same value as `root`, from what it is made of."""
        stack = [root]
        while stack:
            node = stack[-1]
            waiting = [i for i in node.inputs if self._is_made(i) and i not in self.made]
            if node in self.made or not waiting:
                stack.pop()
            stack += waiting
            if node not in self.made and not waiting:
                with source(where(node), role(node)):
                    barred = isinstance(node.op, Dot) or node not in self.early
                    inputs = tuple(self._operand(i, barred) for i in node.inputs)
                    self.made[node] = Node(node.op, inputs)
        return self.made[root]

    def _is_made(self, node: Node) -> bool:
        """Whether a node is a matrix that is made again."""
        if node in self.early:
            return True
        made = node.op.pattern is Pattern.MAP or isinstance(node.op, (Reshape, Broadcast))
        plain = isinstance(node.type, TensorType) and bool(node.inputs)
        return plain and made and math.prod(shape_of(node)) == self.size

    def _operand(self, node: Node, barred: bool) -> Node:
        if self._is_made(node):
            return self.made[node]
        if self._is_fixed(node):
            return node
        if not barred:
            return self.done.get(node, node)
        if isinstance(node.op, (Broadcast, Reshape, Slice, Transpose)):
            return Node(node.op, (self._operand(node.inputs[0], barred),))
        trigger = build.first(self.done.get(self.trigger, self.trigger))
        return build.barrier(self.done.get(node, node), trigger)

    def _is_fixed(self, node: Node) -> bool:
        """Whether a node is made of numbers and positions alone."""
        stack, seen = [node], {node}
        while stack:
            found = stack.pop()
            if is_leaf(found) or found.op.pattern in _VALUES:
                return False
            stack += [i for i in found.inputs if i not in seen]
            seen.update(found.inputs)
        return True
