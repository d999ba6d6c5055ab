"""Rows that products make and other products consume: regions that become one.

Knows regions and how products read what others write; knows no kernels and no attention.

Softmax of scores, and what its derivative needs, lie between products: some make rows, and others
sum over them, or over all rows of a matrix. As regions of their own they write and read matrices
that are much larger than what goes in and comes out. As one region a block of rows is made,
computed with and consumed while it is in the nearest caches.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import final

from ..ir.node import Node, toposort
from .families import families
from .frames import LEAST_ELEMENTS, Frame, consumer_of, frame_of
from .fuse import fuse, ordered
from .regions import Kind, Region, size_of

__all__ = ["fuse_between", "values_of"]

MOST_PRODUCTS = 8
"""In one region."""


def values_of(before: Sequence[Region], rows: Region) -> frozenset[Node]:
    """The matrices that products may consume."""
    made = (s.node for s in rows.stages if s.kind is Kind.MAP and s.total == rows.total)
    return frozenset([*made, *(v for r in before for v in r.nodes)])


def fuse_between(
    outputs: Sequence[Node],
    prologues: bool = False,
    also: Iterable[Node] = (),
    never: Iterable[Node] = (),
) -> list[Region]:
    """The regions of `fuse`; with `prologues`, rows and the products around them are one.

    Parameters
    ----------
    outputs : sequence of Node
        The results of the program.
    prologues : bool
    also, never : iterable of Node, optional
        As `fuse` takes them.
    """
    if not prologues:
        return fuse(outputs, prologues, also, never)
    # What is consumed lies in the kernel: no product computes it for itself.
    consumed = {v for f in families(toposort(outputs), outputs) for v in f.consumed()}
    regions = fuse(outputs, prologues, {*also, *consumed}, never)
    if not any(r.kind is Kind.ROW and r.total >= LEAST_ELEMENTS for r in regions):
        return regions
    return _Joiner(regions, frozenset(outputs)).run()


@final
class _Joiner:
    def __init__(self, regions: Sequence[Region], outputs: frozenset[Node]) -> None:
        self.regions = {r.number: r for r in regions}
        self.outputs = outputs
        home = {n: r.number for r in regions for n in r.nodes}
        self.readers: dict[Node, set[int]] = {}
        self.refused: set[tuple[int, int]] = set()
        for region in regions:
            for node in {n for s in region.stages for n in s.access.reads}:
                if home.get(node) != region.number:
                    self.readers.setdefault(node, set()).add(region.number)

    def run(self) -> list[Region]:
        """The regions, in order."""
        changed = False
        for number in [r.number for r in self.regions.values() if r.kind is Kind.ROW]:
            parts = self._parts(self.regions[number])
            if parts is not None:
                self._join(number, parts)
                changed = True
        return ordered(self.regions) if changed else list(self.regions.values())

    def _parts(self, rows: Region) -> list[Region] | None:
        """The products before the rows, the rows, and the products behind them."""
        plain = {Kind.ROW, Kind.MAP}
        if any(s.finish or s.kind not in plain for s in rows.stages):
            return None
        before, frame = self._producers(rows)
        if frame is None or frame.matrices * frame.rows != rows.rows:
            return None
        while before:
            behind = self._consumers(values_of(before, rows), frame, rows)
            own = {rows.number, *(r.number for r in behind)}
            public = next((r for r in before if not self._is_private(r, rows, own)), None)
            late = self._late(before, rows, behind) if public is None else None
            if public is not None:
                before.remove(public)
            elif late is None:
                fits = behind and len(before) + len(behind) <= MOST_PRODUCTS
                return [*before, rows, *behind] if fits else None
            else:
                self.refused.add((rows.number, late.number))
                before = [r for r in before if r is not late]
        return None

    def _producers(self, rows: Region) -> tuple[list[Region], Frame | None]:
        """The products that these rows read."""
        found: list[Region] = []
        frame: Frame | None = None
        for number in sorted(rows.before):
            region = self.regions[number]
            own = frame_of(region.stages[0].node) if region.kind is Kind.DOT else None
            if own is None or size_of(region.stages[0].node) != rows.total:
                continue
            if frame is None or (own.rows, own.columns) == (frame.rows, frame.columns):
                frame = frame or own
                found.append(region)
        return found, frame

    def _is_private(self, region: Region, rows: Region, own: set[int]) -> bool:
        """Whether only parts read a product, and the rows element by element."""
        for value in region.nodes:
            if value in self.outputs or self.readers.get(value, set()) - own:
                return False
        every = [s.access.reads.get(v) for s in rows.stages for v in region.nodes]
        reads = [prefixes for prefixes in every if prefixes is not None]
        return bool(reads) and all(prefixes == {rows.total} for prefixes in reads)

    def _consumers(self, values: frozenset[Node], frame: Frame, rows: Region) -> list[Region]:
        numbers = sorted({n for v in values for n in self.readers.get(v, ())})
        found: list[Region] = []
        for number in numbers:
            region = self.regions[number]
            if region.kind is not Kind.DOT or (rows.number, number) in self.refused:
                continue
            consumer = consumer_of(region.stages[0].node, frame, values)
            others = {v for s in region.stages[1:] for v in s.access.reads}
            if consumer is not None and others.isdisjoint((*values, *rows.nodes)):
                found.append(region)
        return found

    def _late(
        self, before: Sequence[Region], rows: Region, behind: Sequence[Region]
    ) -> Region | None:
        """A part that waits for another one otherwise than rows for what makes them, and products
        behind for these."""
        ranks = {r.number: 0 for r in before} | {rows.number: 1} | {r.number: 2 for r in behind}
        for start, rank in ranks.items():
            stack, seen = [start], {start}
            while stack:
                at = stack.pop()
                for number in self.regions[at].after - seen:
                    if number not in ranks:
                        seen.add(number)
                        stack.append(number)
                    elif at != start or ranks[number] <= rank:
                        last = ranks[number] == 2 or (ranks[number] == 0 and rank < 2)
                        return self.regions[number if last else start]
        return None

    def _join(self, number: int, parts: Sequence[Region]) -> None:
        """Put one region in the place of its parts."""
        rows = self.regions[number]
        whole = Region(
            [s for p in parts for s in p.stages], Kind.BETWEEN, rows.total, rows.rows, number
        )
        whole.parts = tuple(parts)
        own = {p.number for p in parts}
        for part in parts:
            whole.before |= part.before - own
            whole.after |= part.after - own
            whole.weight += part.weight
        for other in whole.before:
            self.regions[other].after = self.regions[other].after - own | {number}
        for other in whole.after:
            self.regions[other].before = self.regions[other].before - own | {number}
        for part in parts:
            del self.regions[part.number]
        self.regions[number] = whole
        for readers in self.readers.values():
            if not readers.isdisjoint(own):
                readers -= own
                readers.add(number)
