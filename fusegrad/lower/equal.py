"""Equal regions are lowered once: the structure of a region as a key, its nodes in the key's order.

Knows stages and nodes; knows no kernels.
"""

from __future__ import annotations

from collections.abc import Hashable

from ..ir.node import Node
from ..passes.regions import Region

__all__ = ["structure_of"]


def structure_of(region: Region, outside: frozenset[Node]) -> tuple[Hashable, list[Node]]:
    """What the kernel of a region depends on, and the nodes it names, numbered in that order.

    Two regions with equal keys have the same kernel; their nodes correspond by position.

    Parameters
    ----------
    region : Region
    outside : frozenset of Node
        The region's values that others read.
    """
    own = set(region.nodes)
    values = {n for s in region.stages for n in s.access.reads} - own
    numbers: dict[Node, int] = {}
    order: list[Node] = []
    parts: list[Hashable] = [region.kind, region.total, region.rows]
    for stage in region.stages:
        stack = [stage.node]
        while stack:
            node = stack[-1]
            if node in numbers:
                stack.pop()
                continue
            inputs = () if node in values else node.inputs
            missing = [i for i in inputs if i not in numbers]
            if missing:
                stack.extend(reversed(missing))
                continue
            stack.pop()
            numbers[node] = len(order)
            order.append(node)
            what = None if node in values else node.op.signature
            parts.append((what, node.type, tuple(numbers[i] for i in inputs)))
        parts.append((numbers[stage.node], stage.kind, stage.finish, stage.node in outside))
    return tuple(parts), order
