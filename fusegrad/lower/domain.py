"""The loops of a region: which axes its domain has, and the index of every value in it.

Knows shapes and movement; knows no statements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

from ..codegen.affine import split_index
from ..codegen.expr import Expr, Extent, Var, index
from ..ir.node import Node
from ..ops.base import Pattern
from ..ops.indexing import Take, TakeAlong
from ..ops.movement import Broadcast, Concat, Flip, Pad, Reshape, Slice, Transpose
from ..passes.regions import Region, size_of
from ..passes.views import flat_index, shape_of

__all__ = ["Domain", "cuts_of"]


def _boundaries(node: Node, together: bool) -> set[int]:
    """The suffix sizes of `node`'s shape at which its movement treats axes differently."""
    shape = shape_of(node)
    suffixes = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    if not isinstance(node.op, Broadcast):
        return {s for a, s in enumerate(suffixes) if not (together and _runs_on(node, a))}
    (source,) = node.inputs
    kept = {d for d, e in zip(node.op.dims, source.shape, strict=True) if e != 1}
    cuts = set()
    long = [a for a, e in enumerate(shape) if e != 1]
    for a, b in pairwise(long):
        if (a in kept) != (b in kept):
            cuts.add(suffixes[a])
    return cuts


def _runs_on(node: Node, axis: int) -> bool:
    """Whether what the op reads along `axis` and the next axis is one run of its operands."""
    op, following = node.op, axis + 1
    if following == len(node.shape):
        return False
    if isinstance(op, (Concat, TakeAlong)):
        return op.axis not in (axis, following)
    if isinstance(op, Take):
        end = op.axis + len(node.inputs[1].shape)
        return following < op.axis or axis >= end
    if isinstance(op, Flip):
        return (axis in op.axes) == (following in op.axes)
    if isinstance(op, Transpose):
        return op.permutation[following] == op.permutation[axis] + 1
    if isinstance(op, Slice):
        return op.steps[axis] == 1 and node.shape[following] == node.inputs[0].shape[following]
    if isinstance(op, Pad):
        return all(node.shape[a] == node.inputs[0].shape[a] for a in (axis, following))
    return False


def cuts_of(region: Region, total: int, rows: int | None) -> list[int]:
    """The suffix sizes that split the domain into axes, largest first, each dividing the last."""
    cuts: set[int] = set()
    for stage in region.stages:
        if stage.finish:
            continue
        moving = [
            (node, prefix)
            for node, prefix in stage.access.visits
            if node.op.pattern is Pattern.MOVE and not isinstance(node.op, Reshape)
        ]
        # Below an op that moves runs may lie others whose axes only its own show.
        known = all(prefix for _, prefix in moving)
        for node, prefix in moving:
            if not prefix:
                continue
            position = abs(prefix)
            if position not in (total, rows) and total % position:
                continue
            stretch = total // position if prefix > 0 else 1
            cuts |= {c * stretch for c in _boundaries(node, known)}
    columns = total // rows if rows else 1
    chain = [total]
    above = [c for c in cuts if columns < c < total and c % columns == 0]
    for c in [*sorted(above, reverse=True), columns]:
        if chain[-1] % c == 0 and c != chain[-1]:
            chain.append(c)
    for c in sorted((c for c in cuts if c < columns), reverse=True):
        if chain[-1] % c == 0 and c != chain[-1]:
            chain.append(c)
    if chain[-1] != 1:
        chain.append(1)
    return chain


@final
class Domain:
    """The axes of a region.

    Attributes
    ----------
    outer : list of (Var, Extent)
        Loops over rows (all axes but the last when there are no rows).
    inner : list of (Var, int)
        Loops inside a row.
    """

    def __init__(self, region: Region, size: Var, extents: Sequence[int] | None = None) -> None:
        """The axes that the region needs, or those given, of which the last one is the row."""
        self.total = region.total
        self.rows = region.rows
        if extents is None:
            chain = cuts_of(region, region.total, region.rows)
            self.extents = [a // b for a, b in pairwise(chain)]
            columns = self.total // self.rows if self.rows else 1
            self.split = (
                sum(1 for c in chain[1:] if c >= columns)
                if self.rows
                else max(0, len(self.extents) - 1)
            )
        else:
            self.extents = list(extents)
            self.split = len(self.extents) - 1
        self.size = size
        if self.rows is None and len(self.extents) == 1:
            self.split = 0
        self._variables()

    def _variables(self) -> None:
        self.outer: list[tuple[Var, Extent]] = []
        self.inner: list[tuple[Var, Extent]] = []
        for position, extent in enumerate(self.extents):
            shown: Extent = self.size if position == 0 else extent
            name = f"i{position}"
            var = Var(name, extent=shown)
            (self.outer if position < self.split else self.inner).append((var, shown))
        self.leading = self.extents[0] if self.extents else 1

    def fresh_inner(self, suffix: int) -> list[tuple[Var, Extent]]:
        """New variables for one more pass over the row."""
        fresh = []
        for position, (_, extent) in enumerate(self.inner):
            name = f"c{suffix}" if len(self.inner) == 1 else f"c{suffix}_{position}"
            fresh.append((Var(name, extent=extent), extent))
        return fresh

    def flat_row(self) -> Expr:
        """The number of the row."""
        extents = self.extents[: self.split]
        return flat_index(extents, [v for v, _ in self.outer]) if extents else index(0)

    def flat(self, inner: Sequence[tuple[Var, Extent]]) -> Expr:
        """The row-major position in the whole domain."""
        variables = [v for v, _ in (*self.outer, *inner)]
        return flat_index(self.extents, variables) if variables else index(0)

    def flat_inner(self, inner: Sequence[tuple[Var, Extent]]) -> Expr:
        """The position inside the row."""
        extents = self.extents[self.split :]
        return flat_index(extents, [v for v, _ in inner]) if extents else index(0)

    def full_index(self, node: Node, inner: Sequence[tuple[Var, Extent]]) -> tuple[Expr, ...]:
        """The index into `node`, which has as many elements as the domain."""
        return split_index(self.flat(inner), shape_of(node))

    def row_index(self, node: Node) -> tuple[Expr, ...]:
        """The index into `node`, which has as many elements as there are rows."""
        return split_index(self.flat_row(), shape_of(node))

    def index_at(
        self, node: Node, prefix: int, inner: Sequence[tuple[Var, Extent]]
    ) -> tuple[Expr, ...] | None:
        """The index of an aligned `node`; None when that depends on more than this domain knows."""
        if prefix == self.total and size_of(node) == self.total:
            return self.full_index(node, inner)
        if prefix == self.rows and size_of(node) == self.rows:
            return self.row_index(node)
        return None
