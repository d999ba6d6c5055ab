"""Values that one kernel would compute again and again, each time at another index.

Knows paths through movement; knows no regions. ``concat([x[1:], x[:1]])`` reads `x` at two indices;
ten of them, one around the other, would read it at a thousand.
"""

from __future__ import annotations

import heapq

from ..ir.node import Node
from .order import Order

__all__ = ["store_repeats"]

MOST_PLACES = 12
MOST_WORK = 32
"""So many operations an element may cost to compute again, before it is stored instead."""


def store_repeats(order: Order, written: set[Node]) -> None:
    """Add to `written` what a stage would compute at too many indices."""
    position = {node: n for n, node in enumerate(order.nodes)}
    costs: dict[Node, int] = {}
    # Without movement that shifts, all paths to a value are one.
    shifted: set[Node] = set()
    roots: set[Node] = set()
    shifts, leaves, own = order.shifts, order.leaves, order.costs
    for node in order.nodes:
        moves = node in shifts or not shifted.isdisjoint(node.inputs)
        cost = own[node]
        if node not in written and node not in leaves:
            for operand in node.inputs:
                cost += costs[operand]
            if moves:
                shifted.add(node)
        costs[node] = cost
        if moves:
            roots.add(node)
    # Users first: what they store is looked at in its turn, and not computed again below.
    waiting = [(-position[node], node) for node in written if node in roots]
    heapq.heapify(waiting)
    while waiting:
        _, root = heapq.heappop(waiting)
        for node in _visit(root, order, position, written, costs):
            heapq.heappush(waiting, (-position[node], node))


def _visit(
    root: Node,
    order: Order,
    position: dict[Node, int],
    written: set[Node],
    costs: dict[Node, int],
) -> list[Node]:
    """Count the paths from `root` to each value that it computes itself; store some of those."""
    leaves = order.leaves
    cone = _cone(root, written, leaves)
    stored: list[Node] = []
    if len(cone) < 3:
        return stored
    paths: dict[Node, set[int]] = {root: {0}}
    known: dict[tuple[int, Node, int], int] = {}
    for node in sorted(cone, key=lambda n: -position[n]):
        places = paths.get(node)
        if places is None:
            continue  # Only what is stored now reads it.
        repeats = len(places) - 1
        many = repeats >= MOST_PLACES or repeats * costs[node] > MOST_WORK
        if many and node is not root and node not in leaves:
            written.add(node)
            stored.append(node)
            continue
        shifts = node in order.shifts
        for operand, source in enumerate(node.inputs):
            if source not in cone:
                continue
            seen = paths.setdefault(source, set())
            for path in places:
                step = (path, node, operand)
                seen.add(known.setdefault(step, len(known) + 1) if shifts else path)
    return stored


def _cone(root: Node, written: set[Node], leaves: frozenset[Node]) -> set[Node]:
    """`root` and what is computed inside of its stage."""
    cone = {root}
    stack = [root]
    while stack:
        for source in stack.pop().inputs:
            if source not in cone and source not in written and source not in leaves:
                cone.add(source)
                stack.append(source)
    return cone
