"""Products that make matrices, what elementwise work makes of these, and products that consume it.

Knows products, elementwise ops and sums along rows; knows no regions and no attention.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import final

from ..ir.node import Node, Pattern
from ..ir.types import TensorType
from ..ops.contract import Dot
from ..ops.movement import Broadcast, Reshape, Transpose
from ..ops.reduce import Reduce
from .frames import Frame, consumer_of, frame_of
from .views import operand_base, shape_of

__all__ = ["Family", "families"]


def families(order: Sequence[Node], outputs: Collection[Node]) -> list[Family]:
    """Of all products of a program, where nothing else reads their matrices.

    Parameters
    ----------
    order : sequence of Node
        All nodes, operands first.
    outputs : collection of Node
        What the caller reads.
    """
    seeds = [n for n in order if isinstance(n.op, Dot) and frame_of(n) is not None]
    if not seeds:
        return []
    readers = _readers(order)
    found = (Family.of(seed, readers, set(outputs)) for seed in seeds)
    return [f for f in found if f is not None]


def _readers(order: Sequence[Node]) -> dict[Node, list[Node]]:
    readers: dict[Node, list[Node]] = {}
    for node in order:
        for operand in dict.fromkeys(node.inputs):
            readers.setdefault(operand, []).append(node)
    return readers


@final
class Family:
    """A product, the matrices made of it, and the products that consume these.

    Attributes
    ----------
    seed : Node
    matrices : dict of Node
        Of the seed's size: itself, and what elementwise ops make of it and of its rows.
    views : dict of Node
        Their transposes.
    rows : dict of Node
        What is found out about each row.
    consumers : dict of Node
    """

    def __init__(self, seed: Node, frame: Frame) -> None:
        self.seed, self.frame = seed, frame
        self.matrices: dict[Node, None] = {seed: None}
        self.views: dict[Node, None] = {}
        self.rows: dict[Node, None] = {}
        self.consumers: dict[Node, None] = {}

    @staticmethod
    def of(seed: Node, readers: dict[Node, list[Node]], outputs: set[Node]) -> Family | None:
        """The family of a product; None if something else reads its matrices."""
        frame = frame_of(seed)
        if frame is None:
            return None
        family = Family(seed, frame)
        stack = [seed]
        while stack:
            node = stack.pop()
            if node in family.matrices and node in outputs:
                return None
            for reader in readers.get(node, ()):
                if reader in family.matrices or reader in family.rows or reader in family.views:
                    continue
                if family._takes(reader, node):
                    stack.append(reader)
                elif node not in family.rows:
                    family.consumers[reader] = None
        values = frozenset(family.matrices)
        if not family.rows or not family.consumers:
            return None
        if any(consumer_of(c, frame, values) is None for c in family.consumers):
            return None
        return family

    def _takes(self, reader: Node, node: Node) -> bool:
        """Whether `reader` is a matrix, or something about each row, because of `node`."""
        if not isinstance(reader.type, TensorType):
            return False
        if isinstance(reader.op, Transpose) and node not in self.rows:
            self.views[reader] = None
            return True
        size = math.prod(shape_of(reader))
        rows = self.frame.matrices * self.frame.rows
        made = reader.op.pattern is Pattern.MAP or isinstance(reader.op, (Reshape, Broadcast))
        if made and size == rows * self.frame.columns and node not in self.views:
            self.matrices[reader] = None
            return True
        last = isinstance(reader.op, Reduce) and reader.op.axes == (len(node.shape) - 1,)
        if (node in self.matrices and last) or (node in self.rows and made and size == rows):
            self.rows[reader] = None
            return True
        return False

    def consumed(self) -> list[Node]:
        """The matrices that products read."""
        own = self.matrices.__contains__
        return [b for c in self.consumers for i in c.inputs if own(b := operand_base(i, own))]
