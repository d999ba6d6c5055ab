"""Elementwise regions and regions of rows: from stages to loops.

Knows levels: a value that needs a row reduction of level L is computed in pass L + 1 over the row.
One pass computes every reduction and stores every output of its level, so siblings share a loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..codegen.affine import split_index
from ..codegen.dtypes import DType, int32, int64
from ..codegen.expr import Buffer, Expr, Extent, Load, Var, const, index
from ..codegen.kernel import Alloc, Any, Monoid, Role, Stmt, Store, Tree
from ..codegen.records import dataclass
from ..codegen.scalar import apply
from ..ir.node import Node
from ..ops.base import Pattern
from ..ops.reduce import ArgReduce, Reduce
from ..passes.regions import EXPENSIVE, Kind, Region, Stage, aligned_input, cost_of, size_of
from ..passes.views import shape_of
from .build import Builder, Lowered
from .domain import Domain
from .scope import Scope

__all__ = ["Rows", "identity", "lower_rows", "place_dtype"]


def identity(monoid: Monoid, dtype: object) -> Expr:
    """The value that changes nothing."""
    from_dtype = {
        Monoid.SUM: 0,
        Monoid.PROD: 1,
        Monoid.MAX: dtype.lowest,  # type: ignore[attr-defined]
        Monoid.MIN: dtype.highest,  # type: ignore[attr-defined]
        Monoid.AND: True,
        Monoid.OR: False,
        Monoid.ARGMAX: dtype.lowest,  # type: ignore[attr-defined]
        Monoid.ARGMIN: dtype.highest,  # type: ignore[attr-defined]
    }
    return const(from_dtype[monoid], dtype)  # type: ignore[arg-type]


def place_dtype(count: int) -> DType:
    """The type of places among so many: as narrow as a float, where vectors hold both."""
    return int32 if count <= int32.highest else int64


Visit = tuple[Node, int | None]


@final
@dataclass(frozen=True)
class _Sink:
    """Something a pass must compute: a stage's reduction or its store."""

    stage: Stage
    value: Node
    prefix: int
    level: int


class Rows:
    """The passes over the rows of a region; `extents` are those of its loops if given."""

    def __init__(
        self,
        region: Region,
        outside: frozenset[Node],
        builder: Builder | None = None,
        extents: Sequence[int] | None = None,
    ) -> None:
        self.region = region
        self.outside = outside
        self.size = Var("n", int64)
        self.body = [s for s in region.stages if not s.finish]
        self.finish = [s for s in region.stages if s.finish]
        self.stage_of = {s.node: s for s in region.stages}
        self.domain = Domain(region, self.size, extents)
        values = {n for s in region.stages for n in s.access.reads} - set(self.stage_of)
        self.external = values
        self.builder = builder or Builder(lambda n: n not in values)
        self.levels: dict[Visit, int] = {}
        self.row_values: dict[Node, Expr] = {}
        self.last_loop = 0

    # --- levels -----------------------------------------------------------------------------------

    def level(self, node: Node, prefix: int | None) -> int:
        """The pass in which an aligned value can be computed; iterative, memoised."""
        stack: list[Visit] = [(node, prefix)]
        while stack:
            key = stack[-1]
            if key in self.levels:
                stack.pop()
                continue
            below = self._below(key)
            missing = [b for b in below if b not in self.levels]
            if missing:
                stack.extend(missing)
                continue
            stack.pop()
            level = max((self.levels[b] for b in below), default=0)
            stage = self.stage_of.get(key[0])
            if stage is not None and stage.kind is Kind.ROW:
                level += 1
            self.levels[key] = level
        return self.levels[node, prefix]

    def _below(self, visit: Visit) -> list[Visit]:
        """The visits that computing `visit` needs inside the region."""
        node, prefix = visit
        if node in self.external or node.op.pattern is Pattern.SOURCE:
            return []
        stage = self.stage_of.get(node)
        if stage is not None and stage.kind is Kind.ROW:
            operand = node.inputs[0]
            return [(operand, size_of(operand))]
        return [(i, aligned_input(node, p, prefix)) for p, i in enumerate(node.inputs)]

    def _sinks(self) -> list[_Sink]:
        sinks = []
        for stage in self.body:
            node = stage.node
            if stage.kind in (Kind.ROW, Kind.COLUMN, Kind.TOTAL):
                operand = node.inputs[0]
                prefix = size_of(operand)
                sinks.append(_Sink(stage, operand, prefix, self.level(operand, prefix)))
            elif node in self.outside:
                prefix = size_of(node)
                sinks.append(_Sink(stage, node, prefix, self.level(node, prefix)))
        return sinks

    # --- row buffers ------------------------------------------------------------------------------

    def _buffered(self, loops: dict[int, list[_Sink]]) -> dict[Node, int]:
        """Values of full size that later passes read again: kept in the row by the pass given."""
        total = self.domain.total
        order, costs = self._full_nodes(loops)
        needs: dict[Node, set[int]] = {}
        for level, sinks in loops.items():
            for sink in sinks:
                needs.setdefault(sink.value, set()).add(level)
        kept: dict[Node, int] = {}
        for node in reversed(order):
            mine = needs.get(node, set())
            if len(mine) > 1 and costs[node] >= EXPENSIVE and node not in self.external:
                kept[node] = min(mine)
                mine = {min(mine)}
            if node in self.external:
                continue
            for position, source in enumerate(node.inputs):
                if aligned_input(node, position, total) == total and size_of(source) == total:
                    needs.setdefault(source, set()).update(mine)
        return kept

    def _full_nodes(self, loops: dict[int, list[_Sink]]) -> tuple[list[Node], dict[Node, int]]:
        """Nodes computed at every element, operands first, with the cost of computing them."""
        total = self.domain.total
        order: list[Node] = []
        costs: dict[Node, int] = {}
        stack = [(s.value, False) for sinks in loops.values() for s in sinks]
        while stack:
            node, ready = stack.pop()
            if node in costs:
                continue
            sources = [] if node in self.external else self._full_inputs(node, total)
            if ready or not sources:
                costs[node] = min(1 << 20, cost_of(node) + sum(costs[s] for s in sources))
                order.append(node)
                continue
            stack.append((node, True))
            stack.extend((s, False) for s in sources)
        return order, costs

    def _full_inputs(self, node: Node, total: int) -> list[Node]:
        return [
            i
            for p, i in enumerate(node.inputs)
            if aligned_input(node, p, total) == total and size_of(i) == total
        ]

    # --- emission ---------------------------------------------------------------------------------

    def lower(self, name: str) -> Lowered:
        """The kernel."""
        scope = self.builder.scope
        outer = self.domain.outer
        self._declare_partials()
        for var, _ in outer:
            scope.open(var)
        self.passes()
        for var, extent in reversed(outer):
            scope.close(var, extent, Any())
        finish = self._finish()
        items = self.domain.leading
        return self.builder.finished(name, self.size, items, finish, in_place=self._may_donate())

    def _may_donate(self) -> bool:
        """Whether outputs are only written in the last pass, after every read of their element."""
        return all(level == self.last_loop for level in self.store_levels)

    def _declare_partials(self) -> None:
        for stage in self.body:
            if stage.kind in (Kind.COLUMN, Kind.TOTAL):
                op = stage.node.op
                assert isinstance(op, Reduce)
                self.builder.buffer(stage.node, Role.PARTIAL, (size_of(stage.node),), op.monoid)

    def passes(self) -> None:
        """All passes over one row, innermost in the loops of the domain."""
        scope = self.builder.scope
        sinks = self._sinks()
        total = self.domain.total
        loops: dict[int, list[_Sink]] = {}
        for sink in sinks:
            if sink.prefix == total:
                loops.setdefault(sink.level, []).append(sink)
        rows = [s for s in sinks if s.prefix != total]
        self.store_levels = [s.level for s in sinks if s.stage.kind is Kind.MAP]
        kept = self._buffered(loops) if self.domain.rows else {}
        buffers = self._row_buffers(kept, scope)
        highest = max([s.level for s in sinks], default=0)
        self.last_loop = max(loops, default=0)
        for level in range(highest + 1):
            for sink in rows:
                if sink.level == level:
                    self._row_sink(sink)
            if level in loops:
                self._loop(level, loops[level], kept, buffers)

    def _row_buffers(self, kept: dict[Node, int], scope: Scope) -> dict[Node, Buffer]:
        buffers = {}
        for number, node in enumerate(kept):
            extents = self.domain.extents[self.domain.split :]
            buffers[node] = Buffer(f"r{number}", node.dtype, extents, space="row")
            scope.emit(Alloc(buffers[node]))
        return buffers

    def _row_sink(self, sink: _Sink) -> None:
        at = self.domain.row_index(sink.value)
        self._prepare(sink.value, sink.prefix, self.domain.inner)
        value = self.builder.read(sink.value, at)
        if sink.stage.kind is Kind.TOTAL:
            self._accumulate(sink.stage, index(0), value)
        else:
            self.builder.store(sink.stage.node, at, value)

    def _accumulate(self, stage: Stage, position: Expr, value: Expr) -> None:
        op = stage.node.op
        assert isinstance(op, Reduce)
        buffer = self.builder.buffer(stage.node, Role.PARTIAL)
        self.builder.scope.emit(Store(buffer, (position,), value, op.monoid))

    def _loop(
        self,
        level: int,
        sinks: Sequence[_Sink],
        kept: dict[Node, int],
        buffers: dict[Node, Buffer],
    ) -> None:
        """One pass over the row: the loops, what is computed in them, and the reductions after."""
        scope = self.builder.scope
        inner = self.domain.inner if not self.domain.outer else self.domain.fresh_inner(level)
        reductions = [s for s in sinks if s.stage.kind is Kind.ROW]
        for node, first in kept.items():
            self._read_from_row(node, buffers[node], first < level, inner)
        for var, _ in inner:
            scope.open(var)
        contributions: list[Expr] = []
        for sink in sinks:
            contributions += self._full_sink(sink, inner)
        for node, first in kept.items():
            if first == level:
                at = self.domain.full_index(node, inner)
                value = self.builder.read(node, at)
                scope.emit(Store(buffers[node], tuple(v for v, _ in inner), value))
        results = self._close(inner, reductions, contributions)
        self._results(reductions, results)

    def store(self, node: Node, at: tuple[Expr, ...], value: Expr) -> None:
        """Write an element of full size."""
        self.builder.store(node, at, value)

    def _read_from_row(
        self,
        node: Node,
        buffer: Buffer,
        stored: bool,
        inner: Sequence[tuple[Var, Extent]],
    ) -> None:
        if not stored:
            return
        here = self.domain.full_index(node, inner)
        place = tuple(v for v, _ in inner)

        def override(at: tuple[Expr, ...]) -> Expr | None:
            if at != here:
                return None
            return self.builder.scope.memo((node, at), lambda: Load(buffer, place))

        self.builder.overrides[node] = override

    def _full_sink(self, sink: _Sink, inner: Sequence[tuple[Var, Extent]]) -> list[Expr]:
        at = self.domain.full_index(sink.value, inner)
        self._prepare(sink.value, sink.prefix, inner)
        value = self.builder.read(sink.value, at)
        op = sink.stage.node.op
        if sink.stage.kind in (Kind.COLUMN, Kind.TOTAL):
            column = sink.stage.kind is Kind.COLUMN
            self._accumulate(
                sink.stage, self.domain.flat_inner(inner) if column else index(0), value
            )
            return []
        if sink.stage.kind is Kind.MAP:
            self.store(sink.stage.node, at, value)
            return []
        if isinstance(op, ArgReduce):
            place = self._place_dtype(sink)
            return [value, apply("cast", self.domain.flat_inner(inner), dtype=place)]
        return [value]

    def _close(
        self,
        inner: Sequence[tuple[Var, Extent]],
        reductions: Sequence[_Sink],
        contributions: list[Expr],
    ) -> list[Var]:
        """Close the pass's loops; a loop around another reduces what the inner one gives."""
        scope = self.builder.scope
        carried: list[Var] = []
        for var, extent in reversed(inner):
            if not reductions:
                scope.close(var, extent, Any())
                continue
            carry: list[tuple[Var, Expr]] = []
            for sink in reductions:
                carry += self._carry(sink)
            monoids = tuple(_monoid(s.stage.node) for s in reductions)
            scope.close(var, extent, Tree(monoids), carry, contributions)
            carried = [v for v, _ in carry]
            contributions = list(carried)
        return carried

    def _carry(self, sink: _Sink) -> list[tuple[Var, Expr]]:
        monoid = _monoid(sink.stage.node)
        dtype = sink.value.dtype
        scope = self.builder.scope
        carry: list[tuple[Var, Expr]] = [
            (Var(scope.fresh("a"), dtype), identity(monoid, dtype)),
        ]
        if monoid.width == 2:
            place = self._place_dtype(sink)
            carry.append((Var(scope.fresh("k"), place), const(0, place)))
        return carry

    def _place_dtype(self, sink: _Sink) -> DType:
        return place_dtype(size_of(sink.value) // size_of(sink.stage.node))

    def _results(self, reductions: Sequence[_Sink], results: list[Var]) -> None:
        position = 0
        for sink in reductions:
            node = sink.stage.node
            monoid = _monoid(node)
            value: Expr = results[position + monoid.width - 1]
            if monoid.width == 2:
                value = apply("cast", value, dtype=int64)
            position += monoid.width
            self.row_values[node] = value
            self.builder.overrides[node] = lambda _, value=value: value  # type: ignore[misc]
            if node in self.outside:
                self.builder.store(node, self.domain.row_index(node), value)

    def _prepare(self, node: Node, prefix: int, inner: Sequence[tuple[Var, Extent]]) -> None:
        """Compute operands first, so that reading `node` does not recurse deeply."""
        order: list[tuple[Node, tuple[Expr, ...]]] = []
        seen: set[Visit] = set()
        stack: list[tuple[Visit, bool]] = [((node, prefix), False)]
        while stack:
            visit, ready = stack.pop()
            value, position = visit
            if visit in seen and not ready:
                continue
            seen.add(visit)
            at = (
                None
                if position is None or position < 0
                else self.domain.index_at(value, position, inner)
            )
            if ready:
                if at is not None:
                    order.append((value, at))
                continue
            if value in self.external or value.op.pattern is Pattern.SOURCE:
                continue
            override = self.builder.overrides.get(value)
            if override is not None and at is not None and override(at) is not None:
                continue
            stack.append((visit, True))
            stack.extend(
                ((i, aligned_input(value, p, position)), False) for p, i in enumerate(value.inputs)
            )
        for value, at in order:
            self.builder.read(value, at)

    # --- what runs once at the end ----------------------------------------------------------------

    def _finish(self) -> tuple[Stmt, ...]:
        partial = [s for s in self.body if s.kind in (Kind.COLUMN, Kind.TOTAL)]
        wanted = [s for s in (*partial, *self.finish) if s.node in self.outside]
        builder = self.builder
        builder.begin_finish()
        main, builder.scope = builder.scope, Scope()
        builder.scope.names = main.names
        builder.overrides = {}
        by_size: dict[int, list[Stage]] = {}
        for stage in wanted:
            by_size.setdefault(size_of(stage.node), []).append(stage)
        for size, stages in by_size.items():
            var = Var("f", extent=size)
            loop = size != 1
            if loop:
                builder.scope.open(var)
            flat: Expr = var if loop else index(0)
            for stage in partial:
                if size_of(stage.node) == size:
                    self._read_partial(stage.node, flat)
            for stage in stages:
                at = _split(flat, stage.node)
                builder.store(stage.node, at, builder.read(stage.node, at))
            if loop:
                builder.scope.close(var, size, Any())
        statements = builder.scope.statements()
        builder.scope = main
        return statements

    def _read_partial(self, node: Node, flat: Expr) -> None:
        buffer = self.builder.buffer(node, Role.PARTIAL)

        def override(at: tuple[Expr, ...]) -> Expr:
            return self.builder.scope.memo((node, at), lambda: Load(buffer, (flat,)))

        self.builder.overrides[node] = override


def _split(flat: Expr, node: Node) -> tuple[Expr, ...]:
    return split_index(flat, shape_of(node))


def _monoid(node: Node) -> Monoid:
    assert isinstance(node.op, (Reduce, ArgReduce))
    return node.op.monoid


def lower_rows(region: Region, outside: frozenset[Node], name: str) -> Lowered:
    """The kernel of an elementwise region or a region of rows.

    Parameters
    ----------
    region : Region
    outside : frozenset of Node
        The stages whose values other regions or the caller read.
    name : str
        The kernel's name.
    """
    return Rows(region, outside).lower(name)
