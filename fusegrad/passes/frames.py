"""Matrices of rows that products make, and how other products read what is made of them.

Knows products and views; knows no regions.
"""

from __future__ import annotations

import math
from typing import final

from ..codegen.dtypes import float32, float64
from ..codegen.records import dataclass
from ..codegen.varying import likely
from ..ir.node import Node
from ..ops.contract import Dot
from .views import operand_base, shape_of, steps_of

__all__ = ["Consumer", "Frame", "consumer_of", "frame_of"]

LEAST_ROWS, LEAST_COLUMNS, LEAST_ELEMENTS = 16, 32, 1 << 14
"""Smaller matrices stay in the caches anyway."""
LEAST_ALONE = 512
"""Columns of a matrix that is the only one: narrower ones are what layers make in turn."""
LEAST_MATRICES = 2
"""Sums over the rows of a matrix are one thread's work, so there must be several."""
MOST_DEPTH = 256
"""Longer sums take so long that what lies between them does not matter."""
MOST_COLUMNS = 1 << 15
"""Of a row, a block of which shall stay in the second cache."""


@final
@dataclass(frozen=True)
class Frame:
    """The domain of the rows: `batch` matrices of `rows` rows of `columns` elements."""

    batch: tuple[int, ...]
    rows: int
    columns: int

    @property
    def matrices(self) -> int:
        """How many matrices there are."""
        return math.prod(self.batch)


@final
@dataclass(frozen=True)
class Consumer:
    """How a product reads what the rows compute.

    Attributes
    ----------
    value : Node
        One of the matrices.
    position : int
        Which operand of the product it is.
    over_rows : bool
        Whether the sum goes over the rows of a matrix, else along each of them.
    """

    value: Node
    position: int
    over_rows: bool


def frame_of(root: Node) -> Frame | None:
    """The matrices that a product makes, where they are of use here."""
    if not isinstance(root.op, Dot) or root.dtype not in (float32, float64):
        return None
    *batch, rows, columns = shape_of(root)
    depth = shape_of(root.inputs[0])[-1]
    if not 0 < likely(depth) <= MOST_DEPTH:
        return None
    enough = likely(rows) >= LEAST_ROWS and LEAST_COLUMNS <= likely(columns) <= MOST_COLUMNS
    if not enough or math.prod(map(likely, (*batch, rows, columns))) < LEAST_ELEMENTS:
        return None
    frame = Frame(tuple(batch), rows, columns)
    alone = likely(frame.matrices) == 1
    if alone and likely(columns) < max(LEAST_ALONE, 2 * likely(depth)):
        return None
    return frame


def consumer_of(root: Node, frame: Frame, values: frozenset[Node]) -> Consumer | None:
    """How a product reads one of `values`, matrices of the frame; None if it is not like that."""
    if not isinstance(root.op, Dot) or root.dtype not in (float32, float64):
        return None
    found: Consumer | None = None
    for position, operand in enumerate(root.inputs):
        base = operand_base(operand, values.__contains__)
        if base not in values:
            continue
        transposed = _is_transposed(operand, base, frame)
        if found is not None or transposed is None or base.dtype is not root.dtype:
            return None
        found = Consumer(base, position, transposed != (position == 1))
    if found is None or likely(shape_of(root)[-1 - found.position]) > MOST_DEPTH:
        return None
    return None if found.over_rows and likely(frame.matrices) < LEAST_MATRICES else found


def _is_transposed(operand: Node, base: Node, frame: Frame) -> bool | None:
    """Whether an operand is the transposed matrices; None if it is neither these nor those."""
    view = steps_of(operand, base)
    *batch, first, second = shape_of(operand)
    if view is None or view[0] != 0 or math.prod(batch) != frame.matrices:
        return None
    behind = frame.rows * frame.columns
    for extent, step in zip(reversed(batch), reversed(view[1][:-2]), strict=True):
        if extent != 1 and step != behind:
            return None
        behind *= extent
    if (first, second) == (frame.rows, frame.columns) and view[1][-2:] == (frame.columns, 1):
        return False
    if (first, second) == (frame.columns, frame.rows) and view[1][-2:] == (1, frame.columns):
        return True
    return None
