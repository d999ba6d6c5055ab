"""A graph in order, with what fusion asks of its nodes again and again.

Knows patterns and costs of ops; knows no regions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..ir.node import Item, Node
from ..ir.types import TupleType
from ..ops.base import Pattern
from ..ops.identities import Barrier
from ..ops.movement import Broadcast, Reshape
from .regions import cost_of, is_leaf, size_of

__all__ = ["Order"]

_IN_MEMORY = frozenset({Pattern.REDUCE, Pattern.CONTRACT, Pattern.LOOP, Pattern.CALL})


@final
class Order:
    """All nodes, operands before users.

    Attributes
    ----------
    nodes : sequence of Node
    leaves : frozenset of Node
        What comes from outside.
    costs : dict of Node to int
        The operations of one element, without operands.
    stored : list of Node
        What is in memory whatever else is.
    stages : list of Node
        What may be, with several results or with elements.
    several : frozenset of Node
        What has several results.
    scalars : list of Node
        Elementwise numbers.
    shifts : frozenset of Node
        Elements come from other places, as several users of a value may take them.
    barriers : list of Node
    """

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes
        self.leaves = frozenset(filter(is_leaf, nodes))
        self.costs = {n: cost_of(n) for n in nodes}
        own = [n for n in nodes if type(n.op) is not Item]
        self.stored = [n for n in own if n.op.pattern in _IN_MEMORY]
        self.several = frozenset(n for n in own if isinstance(n.type, TupleType))
        self.stages = [n for n in own if n in self.several or size_of(n)]
        self.scalars = [n for n in nodes if n.op.pattern is Pattern.MAP and size_of(n) == 1]
        self.shifts = frozenset(
            n
            for n in nodes
            if n.op.pattern is Pattern.MOVE and type(n.op) not in (Broadcast, Reshape)
        )
        self.barriers = [n for n in nodes if isinstance(n.op, Barrier)]
