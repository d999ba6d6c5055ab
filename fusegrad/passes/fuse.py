"""Fusion: which values are written, and which of them share a kernel.

Knows bytes, costs and dependencies; knows no loops: `lower` turns a region into a kernel.

1. `values` decides what is written: outputs, reductions, contractions and their operands, and
   what is cheaper to store than to compute again.
2. Every written value is a stage; stages join the region of a producer or of a neighbour that
   reads the same data, when their domains agree and no cycle appears.
3. What several regions would compute again is stored instead where that saves bytes, and 2 runs
   again.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence

from ..codegen.varying import likely
from ..ir.node import Node, toposort
from ..ops.base import Pattern
from ..ops.contract import Dot
from ..ops.identities import Barrier
from ..ops.movement import Broadcast
from ..ops.reduce import Reduce
from ..ops.window_dot import WindowDot
from .convolutions import operands_of
from .nests import read_from_memory
from .order import Order
from .prologues import computed_operands
from .regions import (
    EXPENSIVE,
    Kind,
    Region,
    Stage,
    aligned_input,
    is_leaf,
    make_stage,
    results_of,
    size_of,
    usual_size,
)
from .repeats import store_repeats
from .storing import smaller_to_store, worth_storing
from .sums import store_sums_of_products
from .views import operand_base

__all__ = ["fuse", "ordered"]

MAX_DEPTH = 64
MAX_WEIGHT = 512
MAX_BUFFERS = 48
MAX_FINISH = 16384
SEARCH_LIMIT = 2000
ROUNDS = 3
FEW_ROWS, SMALL = 64, 4096
"""Elementwise work on fewer rows, which threads share, has its own kernel, unless it is small."""


def fuse(
    outputs: Sequence[Node],
    prologues: bool = False,
    also: Iterable[Node] = (),
    never: Iterable[Node] = (),
) -> list[Region]:
    """The regions that compute `outputs`, in an order that respects what they read.

    Parameters
    ----------
    outputs : sequence of Node
        The results of the program.
    prologues : bool
        Whether products compute operands where they read them, if that pays.
    also, never : iterable of Node, optional
        What is written besides, and what is rather computed again.

    Returns
    -------
    list of Region
        Values without elements are in none.
    """
    order = Order(toposort(outputs))
    extra, left = set(also), set(never)
    grower: _Grower | None = None
    for _ in range(ROUNDS):
        written = values(order, outputs, extra, prologues)
        grower = _grow(order, written, grower)
        regions = grower.regions
        shared = worth_storing(regions, written) | smaller_to_store(regions, written)
        if shared <= left:
            break
        extra |= shared - left
    return ordered(regions)


# --- 1. what is written ---------------------------------------------------------------------------


def values(
    order: Order, outputs: Sequence[Node], extra: set[Node], prologues: bool = False
) -> set[Node]:
    """The nodes whose values are written to memory."""
    written = (set(outputs) - order.leaves) | extra
    leaves = order.leaves
    needed, operands = set(written), set[Node]()

    def is_value(node: Node) -> bool:
        return node in written or node in leaves

    for node in order.stored:
        pattern = node.op.pattern
        needed.update(results_of(node))
        written.update(results_of(node))
        if pattern is Pattern.CONTRACT:
            bases = (
                operands_of(node, is_value)
                if isinstance(node.op, WindowDot)
                else [operand_base(i, is_value) for i in node.inputs]
            )
            stored = [b for b in bases if not is_leaf(b)]
            (operands if isinstance(node.op, Dot) else needed).update(stored)
            written.update(stored)
        elif pattern in (Pattern.LOOP, Pattern.CALL):
            needed.update(read_from_memory(node, is_leaf))
            written.update(read_from_memory(node, is_leaf))
    if prologues:
        written -= computed_operands(order.nodes, operands - needed, written)
    _store_expensive_repeats(order, written)
    store_sums_of_products(order.nodes, written)
    # First, so that what comes after it sees no chain without an end.
    _limit_depth(order, written)
    store_repeats(order, written)
    for node in reversed(order.barriers):
        # It is no copy: the value behind it is in memory, and read there.
        if node in written and not is_leaf(node.inputs[0]):
            written.add(node.inputs[0])
    return written


def _store_expensive_repeats(order: Order, written: set[Node]) -> None:
    """An expensive value that a broadcast repeats, other than along a row, is computed once."""
    costs: dict[Node, int] = {}
    leaves, own = order.leaves, order.costs
    for node in order.nodes:
        cost = 0
        if node not in written and node not in leaves:
            cost = own[node]
            for operand in node.inputs:
                if costs[operand] > cost:
                    cost = costs[operand]
        costs[node] = cost
        if type(node.op) is not Broadcast:
            continue
        source = node.inputs[0]
        repeated = size_of(source) > 1 and aligned_input(node, 0, size_of(node)) is None
        if repeated and costs[source] >= EXPENSIVE and source.op.pattern is Pattern.MAP:
            written.add(source)


def _limit_depth(order: Order, written: set[Node]) -> None:
    depth: dict[Node, int] = {}
    leaves = order.leaves
    for node in order.nodes:
        deepest = 0
        if node not in written and node not in leaves:
            for operand in node.inputs:
                if depth[operand] > deepest:
                    deepest = depth[operand]
            deepest += 1
        depth[node] = deepest
        if deepest > MAX_DEPTH and node.op.pattern is Pattern.MAP:
            written.add(node)
            depth[node] = 0


# --- 2. regions -----------------------------------------------------------------------------------


class _Grower:
    """The regions so far, and which region computes a value."""

    def __init__(self, order: Order, written: set[Node]) -> None:
        self.stored = written | order.leaves
        # Every reader computes some written scalars for itself instead of waiting for them.
        self.values = self.stored - _repeated(order, written)
        self.made: dict[Node, Stage] = {}
        self.regions: dict[int, Region] = {}
        self.home: dict[Node, int] = {}
        self.readers: dict[Node, list[int]] = {}
        self.numbers = itertools.count()

    def stage_of(self, node: Node, before: _Grower | None, changed: set[Node]) -> Stage:
        """The stage that computes `node`: that of the round before, if it reads the same."""
        made = None if before is None else before.made.get(node)
        again = (
            made is not None
            and made.kind is not Kind.DOT
            and changed.isdisjoint(made.access.inlined)
            and changed.isdisjoint(made.access.reads)
        )
        if made is not None and again:
            stage = Stage(node, made.kind, made.total, made.rows, made.access)
        else:
            reads_memory = node.op.pattern in (Pattern.CONTRACT, Pattern.LOOP, Pattern.CALL)
            reads_memory = reads_memory or isinstance(node.op, Barrier)
            known = self.stored if reads_memory else self.values
            stage = make_stage(node, known.__contains__)
        self.made[node] = stage
        return stage

    def add(self, stage: Stage) -> None:
        """Put `stage` in the best region that takes it, or in a new one."""
        before = self._producers(stage)
        for number in sorted(before, reverse=True):
            region = self.regions[number]
            if self._fits(stage, region) and not self._reaches(number, before - {number}):
                self._join(stage, region, before)
                self._unite(stage, region)
                return
        for number in self._neighbours(stage):
            region = self.regions[number]
            if number in before or not self._fits(stage, region):
                continue
            if not self._reaches(number, before):
                self._join(stage, region, before)
                return
        number = next(self.numbers)
        region = Region([], stage.kind, stage.total, stage.rows, number)
        self.regions[number] = region
        self._join(stage, region, before)

    def _producers(self, stage: Stage) -> set[int]:
        return {self.home[n] for n in stage.access.reads if n in self.home}

    def _unite(self, stage: Stage, region: Region) -> None:
        """Take in the other producers of a stage that was just added, where they fit too."""
        if stage.finish or region.kind not in (Kind.MAP, Kind.ROW, Kind.COLUMN, Kind.TOTAL):
            return
        for number in sorted(self._producers(stage) - {region.number}):
            other = self.regions[number]
            if not self._mergeable(other, region):
                continue
            between = self._reaches(number, region.before - {number})
            if not between and not self._reaches(region.number, {number}):
                self._merge(other, region)

    def _mergeable(self, other: Region, region: Region) -> bool:
        """Whether all stages of `other` fit `region`."""
        kinds = (Kind.MAP, Kind.ROW, Kind.COLUMN, Kind.TOTAL)
        if other.kind not in kinds or region.weight + other.weight > MAX_WEIGHT:
            return False
        trial = Region([*other.stages], other.kind, other.total, other.rows, other.number)
        trial.weight = other.weight
        for stage in region.stages:
            finish = stage.finish
            fits = self._fits(stage, trial)
            stage.finish, became = finish, stage.finish
            if not fits or became is not finish:
                return False
            trial.include(stage)
            if not finish:
                trial.total = max(trial.total, stage.total)
                trial.rows = _rows(stage, trial)
        return region.total == other.total or not region.read.isdisjoint(other.nodes)

    def _merge(self, other: Region, region: Region) -> None:
        """Move all of `other` into `region`; its stages come first."""
        own = region.stages
        region.stages = []
        for stage in [*other.stages, *own]:
            region.include(stage)
        region.weight += other.weight
        region.total = max(region.total, other.total)
        region.rows = region.rows if region.rows is not None else other.rows
        if region.rows is None:
            smaller = {s.total for s in region.stages if not s.finish} - {region.total}
            region.rows = min(smaller, default=None)
        for stage in other.stages:
            for value in stage.values:
                self.home[value] = region.number
            for node in stage.access.reads:
                numbers = self.readers[node]
                numbers[:] = [n for n in numbers if n != other.number]
                if region.number not in numbers:
                    numbers.append(region.number)
        for number in other.before - {region.number}:
            neighbour = self.regions[number]
            neighbour.after.discard(other.number)
            neighbour.after.add(region.number)
            region.before.add(number)
        for number in other.after - {region.number}:
            neighbour = self.regions[number]
            neighbour.before.discard(other.number)
            neighbour.before.add(region.number)
            region.after.add(number)
        region.before.discard(other.number)
        region.after.discard(other.number)
        del self.regions[other.number]

    def _join(self, stage: Stage, region: Region, before: set[int]) -> None:
        region.include(stage)
        region.weight += len(stage.access.inlined) + 1
        if not stage.finish:
            region.total = max(region.total, stage.total)
            region.rows = _rows(stage, region)
            if region.kind is Kind.MAP and stage.kind in (Kind.ROW, Kind.COLUMN, Kind.TOTAL):
                region.kind = Kind.ROW
        for value in stage.values:
            self.home[value] = region.number
        for node in stage.access.reads:
            if region.number not in self.readers.setdefault(node, []):
                self.readers[node].append(region.number)
        for other in before - {region.number}:
            region.before.add(other)
            self.regions[other].after.add(region.number)

    def _neighbours(self, stage: Stage) -> list[int]:
        """Regions that read a large value this stage reads too, newest first."""
        if stage.kind not in (Kind.MAP, Kind.ROW, Kind.COLUMN, Kind.TOTAL, Kind.STRIDED):
            return []
        found: dict[int, None] = {}
        for node in stage.access.reads:
            if usual_size(node) * 4 >= likely(stage.total):
                found.update(dict.fromkeys(self.readers.get(node, ())[-4:]))
                if node in self.home:
                    found[self.home[node]] = None
        return sorted(found, reverse=True)

    def _reaches(self, start: int, targets: set[int]) -> bool:
        """Whether some region of `targets` runs after `start`; True when the search is too long."""
        if not targets or not self.regions[start].after:
            return False
        seen = {start}
        stack = [start]
        while stack:
            for number in self.regions[stack.pop()].after:
                if number in targets:
                    return True
                if number not in seen:
                    seen.add(number)
                    stack.append(number)
            if len(seen) > SEARCH_LIMIT:
                return True
        return False

    def _fits(self, stage: Stage, region: Region) -> bool:
        if region.weight + len(stage.access.inlined) > MAX_WEIGHT:
            return False
        if _buffers(region, stage) > MAX_BUFFERS:
            return False
        own = region.own
        inside = {own[n]: p for n, p in stage.access.reads.items() if n in own}
        if _finishes(stage, inside):
            stage.finish = True
            return True
        stage.finish = False
        if any(s.finish or s.kind in (Kind.COLUMN, Kind.TOTAL) for s in inside):
            return False
        if region.kind is Kind.STRIDED and stage.kind is Kind.STRIDED:
            return not inside and _beside(stage.node, region.stages[0].node)
        if region.kind in (Kind.DOT, Kind.STRIDED):
            return (
                stage.kind is Kind.MAP
                and stage.total == region.total
                and bool(inside)
                and all(p == {region.total} for p in inside.values())
            )
        alone = (Kind.LOOP, Kind.CALL, Kind.ALIAS)
        if region.kind in alone or stage.kind in (Kind.DOT, Kind.STRIDED, *alone):
            return False
        return _same_domain(stage, region, inside)


def _beside(node: Node, root: Node) -> bool:
    """Whether two reductions go over the same axes of equal shapes, so that loops can do both."""
    if not isinstance(node.op, Reduce) or not isinstance(root.op, Reduce):
        return False
    shapes = [n.inputs[0].shape for n in (node, root)]
    return node.op.axes == root.op.axes and shapes[0] == shapes[1]


def _buffers(region: Region, stage: Stage) -> int:
    new = sum(n not in region.read for n in stage.access.reads)
    return len(region.read) + new + len(region.stages) + 1


def _finishes(stage: Stage, inside: dict[Stage, set[int | None]]) -> bool:
    """Whether `stage` can run once at the end, on combined partial results."""
    return (
        stage.kind is Kind.MAP
        and 0 < likely(stage.total) <= MAX_FINISH
        and bool(inside)
        and all(
            (s.finish or s.kind in (Kind.COLUMN, Kind.TOTAL))
            and size_of(s.node) == stage.total
            and p == {stage.total}
            for s, p in inside.items()
        )
    )


def _rows(stage: Stage, region: Region) -> int | None:
    """The rows of the domain when `stage` is in it."""
    if region.rows is not None:
        return region.rows
    if stage.rows is not None:
        return stage.rows
    smaller = {s.total for s in [*region.stages, stage] if not s.finish} - {region.total}
    return min(smaller) if smaller else None


def _same_domain(stage: Stage, region: Region, inside: dict[Stage, set[int | None]]) -> bool:
    """Whether `stage` iterates over the region's domain, or over its rows."""
    total = max(stage.total, region.total)
    rows = region.rows if region.rows is not None else stage.rows
    if stage.rows is not None and rows != stage.rows:
        return False
    if total == 0 or 0 in (stage.total, region.total):
        return False
    levels = {s.total for s in region.stages if not s.finish} | {stage.total}
    smaller = levels - {total}
    if smaller:
        if len(smaller) > 1:
            return False
        (level,) = smaller
        if rows is None:
            if likely(level) < FEW_ROWS and likely(total) > SMALL:
                return False
            rows = level
        if level != rows or total % rows:
            return False
        if not inside and stage.total != region.total:
            return False
    if rows is not None and (rows == 0 or total % rows):
        return False
    allowed = {total} if rows is None else {total, rows}
    for producer, prefixes in inside.items():
        within = {-rows} if rows is not None and producer.kind is Kind.MAP else set()
        if not prefixes <= {size_of(producer.node)} | within:
            return False
        if size_of(producer.node) not in allowed:
            return False
    if rows is None:
        return True
    return all(_row_reads_fit(s, total, rows) for s in [stage])


def _row_reads_fit(stage: Stage, total: int, rows: int) -> bool:
    """A row or column reduction covers the whole domain; a total either level."""
    if stage.kind in (Kind.ROW, Kind.COLUMN):
        return stage.total == total and stage.rows == rows
    return stage.total in (total, rows)


def _repeated(order: Order, written: set[Node]) -> set[Node]:
    """Scalars that take less to compute than to wait for: a step count that grows by one."""
    costs: dict[Node, int] = {}
    found: set[Node] = set()
    for node in order.scalars:
        costs[node] = order.costs[node] + sum(costs.get(i, 0) for i in node.inputs)
        if node in written and costs[node] < EXPENSIVE:
            found.add(node)
    return found


def _grow(order: Order, written: set[Node], before: _Grower | None) -> _Grower:
    grower = _Grower(order, written)
    changed: set[Node] = set()
    if before is not None:
        changed = (grower.stored ^ before.stored) | (grower.values ^ before.values)
    for node in order.stages:
        if node in written or node in order.several:
            grower.add(grower.stage_of(node, before, changed))
    return grower


def ordered(regions: dict[int, Region]) -> list[Region]:
    """Regions in an order that respects what they read; early ones first."""
    waiting = {n: len(r.before) for n, r in regions.items()}
    ready = [n for n in sorted(regions, reverse=True) if not waiting[n]]
    result: list[Region] = []
    while ready:
        number = ready.pop()
        result.append(regions[number])
        for other in sorted(regions[number].after, reverse=True):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    if len(result) != len(regions):
        raise AssertionError("regions form a cycle")
    return result
