"""Operands of products that are computed a second time, where what they are made of is kept anyway.

Knows products, elementwise ops and views; knows no layers and no limit of memory.

What a layer multiplies by its weight is multiplied again, much later, for the weight's derivative.
Kept until then it is a good part of a step's memory. But an activation's derivative needs what the
activation was computed from, so that lies there too, and is read when the product for the
derivative of the activation is there: beside that, the activation is made again, by a few
operations, and used at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from ..codegen.records import dataclass
from ..ir.node import Node, Pattern, role, source, toposort, where
from ..ir.types import TensorType
from ..ops import build
from ..ops.movement import Broadcast, Reshape
from .regions import EXPENSIVE, cost_of
from .views import operand_base

__all__ = ["rematerialise", "with_replaced"]

LEAST_BYTES = 1 << 20
"""Smaller values may as well be kept."""


@final
@dataclass
class _Candidate:
    """A value, the products that read it late, and the one that it is made again beside."""

    value: Node
    late: list[tuple[Node, int]]
    beside: Node
    bit: int
    """Of `beside`; the next one is that of the products."""


def rematerialise(outputs: Sequence[Node]) -> list[Node]:
    """`outputs`, where late products read operands that are computed again."""
    order = toposort(outputs)
    readers = _readers(order)
    kept = set(outputs)
    values = [
        value
        for value, products in readers.items()
        if len(products) > 1 and value not in kept and _is_large_map(value)
    ]
    if not values:
        return list(outputs)
    candidates = _candidates(order, values, readers)
    mapping: dict[Node, Node] = {}
    read = _read_after(order, candidates)
    for candidate in candidates:
        with source(where(candidate.value), role(candidate.late[0][0])):
            again = _again(candidate, read)
            if again is None:
                continue
            for product, position in candidate.late:
                inputs = list(mapping.get(product, product).inputs)
                inputs[position] = _viewed(inputs[position], candidate.value, again)
                mapping[product] = Node(product.op, tuple(inputs))
    return with_replaced(outputs, mapping) if mapping else list(outputs)


def with_replaced(outputs: Sequence[Node], mapping: dict[Node, Node]) -> list[Node]:
    """`outputs` with nodes replaced, also below of what replaces others."""
    done: dict[Node, Node] = {}
    stack = list(outputs)
    while stack:
        node = stack[-1]
        if node in done:
            stack.pop()
            continue
        form = mapping.get(node, node)
        waiting = [x for x in form.inputs if x not in done]
        if waiting:
            stack += waiting
            continue
        inputs = tuple([done[x] for x in form.inputs])
        if inputs == form.inputs:
            done[node] = form
            continue
        with source(where(node), role(node)):
            done[node] = Node(form.op, inputs)
    return [done[node] for node in outputs]


def _size(node: Node) -> int:
    return math.prod(node.shape) if isinstance(node.type, TensorType) else 0  # type: ignore[arg-type]


def _is_large_map(node: Node) -> bool:
    if node.op.pattern is not Pattern.MAP or not node.dtype.is_float or not node.inputs:
        return False
    return _size(node) * node.dtype.itemsize >= LEAST_BYTES


def _base(operand: Node) -> Node:
    return operand_base(operand, lambda _: False)


def _readers(order: Sequence[Node]) -> dict[Node, list[tuple[Node, int]]]:
    """The products that read each value, through views, and as which operand."""
    readers: dict[Node, list[tuple[Node, int]]] = {}
    for node in order:
        if node.op.pattern is Pattern.CONTRACT and len(node.inputs) == 2:
            for position, operand in enumerate(node.inputs):
                readers.setdefault(_base(operand), []).append((node, position))
    return readers


def _candidates(
    order: Sequence[Node], values: Sequence[Node], readers: dict[Node, list[tuple[Node, int]]]
) -> list[_Candidate]:
    """What products read late: multiplied by something that was computed from it."""
    bits = {value: 1 << number for number, value in enumerate(values)}
    made_of: dict[Node, int] = {}
    for node in order:
        mask = bits.get(node, 0)
        for operand in node.inputs:
            mask |= made_of[operand]
        made_of[node] = mask
    found: list[_Candidate] = []
    for value in values:
        late = [(p, i) for p, i in readers[value] if made_of[p.inputs[1 - i]] & bits[value]]
        # Both operands of one product are no reason to make one of them again.
        late = [(p, i) for p, i in late if _base(p.inputs[1 - i]) is not value]
        if not late or len(late) == len(readers[value]):
            continue
        product, position = late[0]
        for other, _ in readers[_base(product.inputs[1 - position])]:
            if other is not product and _size(other) == _size(value):
                found.append(_Candidate(value, late, other, 1 << 2 * len(found)))
                break
    return found


def _read_after(order: Sequence[Node], candidates: list[_Candidate]) -> dict[Node, int]:
    """Where values are read, element by element: after which of what candidates are made beside.

    Candidates that could make a cycle are dropped.
    """
    own: dict[Node, int] = {}
    products = 0
    for candidate in candidates:
        own[candidate.beside] = own.get(candidate.beside, 0) | candidate.bit
        products |= candidate.bit << 1
        for product, _ in candidate.late:
            own[product] = own.get(product, 0) | candidate.bit << 1
    after: dict[Node, int] = {}
    read: dict[Node, int] = {}
    for node in order:
        mask = own.get(node, 0)
        for operand in node.inputs:
            mask |= after[operand]
        after[node] = mask
        if mask and node.op.pattern is Pattern.MAP:
            for operand in node.inputs:
                read[operand] = read.get(operand, 0) | mask

    def is_safe(candidate: _Candidate) -> bool:
        """Whether it waits for no late product that its own products did not wait for before."""
        product, position = candidate.late[0]
        known = after[_base(product.inputs[1 - position])]
        return not after[candidate.beside] & ~known & products

    candidates[:] = filter(is_safe, candidates)
    return read


def _again(candidate: _Candidate, read: dict[Node, int]) -> Node | None:
    """The value from what is read late too; None where it is not made of that, or by much work."""
    value, bit = candidate.value, candidate.bit
    if read.get(value, 0) & bit:
        return None
    made: dict[Node, Node] = {}
    work = 0
    stack = [value]
    while stack:
        node = stack[-1]
        if node in made:
            stack.pop()
            continue
        if read.get(node, 0) & bit and _size(node) == _size(value):
            beside = build.reshape(candidate.beside, node.shape)
            made[node] = build.beside(node, beside)
        elif _size(node) < _size(value) or isinstance(node.op, Broadcast):
            made[node] = node
        elif isinstance(node.op, Reshape) or (node.op.pattern is Pattern.MAP and node.inputs):
            waiting = [x for x in node.inputs if x not in made]
            if waiting:
                stack += waiting
                continue
            made[node] = Node(node.op, tuple(made[x] for x in node.inputs))
            work += cost_of(node)
        else:
            return None
        stack.pop()
    if work >= EXPENSIVE or made[value] is value:
        return None
    return made[value]


def _viewed(view: Node, value: Node, again: Node) -> Node:
    """A view of `value`, of what takes its place."""
    steps = []
    while view is not value:
        steps.append(view.op)
        view = view.inputs[0]
    for op in reversed(steps):
        again = Node(op, (again,))
    return again
