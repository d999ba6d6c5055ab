"""Values that one kernel would compute again and again, each time at another index.

Knows paths through movement; knows no regions. ``concat([x[1:], x[:1]])`` reads `x` at two indices;
ten of them, one around the other, would read it at a thousand.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from ..ir.node import Node
from ..ops.base import Pattern
from ..ops.movement import Broadcast, Reshape

__all__ = ["store_repeats"]

MOST_PLACES = 12
MOST_WORK = 32
"""So many operations an element may cost to compute again, before it is stored instead."""


def store_repeats(
    order: Sequence[Node],
    written: set[Node],
    is_leaf: Callable[[Node], bool],
    cost_of: Callable[[Node], int],
) -> None:
    """Add to `written` what a stage would compute at too many indices.

    Parameters
    ----------
    order : sequence of Node
        All nodes, operands before users.
    written : set of Node
        What is stored anyway.
    is_leaf : callable
        Whether a node's value comes from outside.
    cost_of : callable
        The operations of one element of a node, without its operands.
    """
    position = {node: n for n, node in enumerate(order)}
    costs: dict[Node, int] = {}
    # Without movement that shifts, all paths to a value are one.
    shifted: set[Node] = set()
    roots: set[Node] = set()
    for node in order:
        shifts = _shifts(node) or not shifted.isdisjoint(node.inputs)
        if node in written or is_leaf(node):
            costs[node] = cost_of(node)
        else:
            costs[node] = cost_of(node) + sum([costs[i] for i in node.inputs])
            if shifts:
                shifted.add(node)
        if shifts:
            roots.add(node)
    # Users first: what they store is looked at in its turn, and not computed again below.
    waiting = [(-position[node], node) for node in written if node in roots]
    heapq.heapify(waiting)
    while waiting:
        _, root = heapq.heappop(waiting)
        for node in _visit(root, position, written, is_leaf, costs):
            heapq.heappush(waiting, (-position[node], node))


def _visit(
    root: Node,
    position: dict[Node, int],
    written: set[Node],
    is_leaf: Callable[[Node], bool],
    costs: dict[Node, int],
) -> list[Node]:
    """Count the paths from `root` to each value that it computes itself; store some of those."""
    cone = _cone(root, written, is_leaf)
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
        if many and node is not root and not is_leaf(node):
            written.add(node)
            stored.append(node)
            continue
        shifts = _shifts(node)
        for operand, source in enumerate(node.inputs):
            if source not in cone:
                continue
            seen = paths.setdefault(source, set())
            for path in places:
                step = (path, node, operand)
                seen.add(known.setdefault(step, len(known) + 1) if shifts else path)
    return stored


def _shifts(node: Node) -> bool:
    """Whether elements come from other places, as several users of a value may take them."""
    return node.op.pattern is Pattern.MOVE and type(node.op) not in (Broadcast, Reshape)


def _cone(root: Node, written: set[Node], is_leaf: Callable[[Node], bool]) -> set[Node]:
    """`root` and what is computed inside of its stage."""
    cone = {root}
    stack = [root]
    while stack:
        for source in stack.pop().inputs:
            if source not in cone and source not in written and not is_leaf(source):
                cone.add(source)
                stack.append(source)
    return cone
