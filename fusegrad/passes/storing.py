"""What several regions would compute again, and is stored instead where that saves bytes or work.

Knows regions, bytes and costs; forms no regions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from ..ir.node import Node, toposort
from ..ops.base import Pattern
from ..ops.movement import Concat
from .regions import EXPENSIVE, Region, cost_of, is_leaf, size_of, usual_size

__all__ = ["smaller_to_store", "worth_storing"]

SHORT_PARTS = 8
FAR, CHEAPER_THAN_MEMORY = 1 << 21, 48
"""So many operations cost less than a value that waits in memory: one of so many bytes."""


def worth_storing(regions: dict[int, Region], written: set[Node]) -> set[Node]:
    """Maps that several regions compute, where storing moves fewer bytes or saves much work."""
    users: dict[Node, set[int]] = {}
    for number, region in regions.items():
        for stage in region.stages:
            for node in stage.access.inlined:
                if node.op.pattern is Pattern.MAP and node not in written:
                    users.setdefault(node, set()).add(number)
    shared = [n for n, numbers in users.items() if len(numbers) > 1 and size_of(n) > 1]
    if not shared:
        return set()
    chosen: set[Node] = set()
    memo: dict[Node, tuple[frozenset[Node], int]] = {}
    for node in toposort(shared):
        leaves, cost = _recompute(node, memo, written | chosen)
        count = len(users.get(node, ()))
        if count < 2 or size_of(node) <= 1:
            continue
        full = sum(usual_size(n) >= usual_size(node) for n in leaves)
        far = cost >= EXPENSIVE and _is_far(node, leaves, [regions[n] for n in users[node]])
        least = CHEAPER_THAN_MEMORY if far else EXPENSIVE
        if cost >= least or (count - 1) * (full - 1) > 2:
            chosen.add(node)
            memo[node] = (frozenset([node]), 0)
    return chosen


def _is_far(node: Node, leaves: frozenset[Node], users: Iterable[Region]) -> bool:
    """Whether `node` would wait in memory, and all who use it read anyway what it is made of."""
    large = usual_size(node) * node.dtype.itemsize >= FAR
    whole = [n for n in leaves if usual_size(n) >= usual_size(node)] if large else []
    return len(whole) == 1 and all(_needed_beside(node, whole[0], region) for region in users)


def _needed_beside(node: Node, source: Node, region: Region) -> bool:
    """Whether a region computes more of `source` than `node`."""
    inlined = dict.fromkeys(n for s in region.stages for n in s.access.inlined)
    if source in region.nodes:
        return True
    below, _ = _cone(node, inlined)
    made = {source, *(n for n in below if n is not node and usual_size(n) >= usual_size(node))}
    return any(n not in below and not made.isdisjoint(n.inputs) for n in inlined)


def smaller_to_store(regions: dict[int, Region], written: set[Node]) -> set[Node]:
    """Conditions that another region computes from a value it needs for nothing else.

    A mask takes a byte for each element where the value takes four: store it where the value is.
    """
    home = {n: r.number for r in regions.values() for n in r.nodes}
    chosen: set[Node] = set()
    for number, region in regions.items():
        inlined = dict.fromkeys(n for s in region.stages for n in s.access.inlined)
        users: dict[Node, set[Node]] = {}
        for node in inlined:
            for source in node.inputs:
                users.setdefault(source, set()).add(node)
        for node in inlined:
            if node.dtype.kind != "bool" or node.op.pattern is not Pattern.MAP or node in written:
                continue
            below, values_read = _cone(node, inlined)
            for value in values_read:
                local = home.get(value, number) == number or size_of(value) != size_of(node)
                if local or value.dtype.itemsize == 1 or not users[value] <= below:
                    continue
                elsewhere = [v for v in values_read if size_of(v) == size_of(node)]
                if elsewhere == [value]:
                    chosen.add(node)
    return chosen


def _cone(node: Node, inlined: dict[Node, None]) -> tuple[set[Node], list[Node]]:
    """The inlined nodes that `node` is computed by, and the values they read."""
    below: set[Node] = set()
    found: dict[Node, None] = {}
    stack = [node]
    while stack:
        n = stack.pop()
        if n in below:
            continue
        if n not in inlined:
            found[n] = None
            continue
        below.add(n)
        stack.extend(n.inputs)
        if len(below) > 16:
            return below, []
    return below, list(found)


def _in_turn(node: Node) -> bool:
    """Whether neighbours come from several values in turn, which is cheap in a map over all."""
    if not isinstance(node.op, Concat):
        return False
    behind = node.shape[node.op.axis + 1 :]
    return size_of(node) > 0 and math.prod(behind) < SHORT_PARTS  # type: ignore[arg-type]


def _recompute(
    node: Node, memo: dict[Node, tuple[frozenset[Node], int]], stored: set[Node]
) -> tuple[frozenset[Node], int]:
    """The values `node` is computed from, and the cost of doing it again."""
    if node in memo:
        return memo[node]
    if node in stored or is_leaf(node):
        result = (frozenset([node]), 0)
    else:
        parts = [memo[i] for i in node.inputs]
        leaves: frozenset[Node] = (
            frozenset().union(*(p[0] for p in parts)) if parts else frozenset()
        )
        own = EXPENSIVE if _in_turn(node) else cost_of(node)
        result = (leaves, min(1 << 20, own + sum(p[1] for p in parts)))
    memo[node] = result
    return result
