"""Rows between products: from the parts of a region to loops.

Knows how a product makes or consumes a row; the passes over a row are those of `rows`.

    for batch.. any {
      tiles for sums over rows, zeros
      for i any|serial { rows made by products; passes; sums along the row; sums over rows }
      what follows the sums over rows
    }
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import final

from ..codegen.affine import split_index
from ..codegen.expr import Buffer, Expr, Load, Var
from ..codegen.kernel import Alloc, Any, Monoid, Serial, Store, Tree
from ..codegen.records import dataclass
from ..codegen.scalar import apply
from ..ir.node import Node
from ..passes.between import values_of
from ..passes.frames import Consumer, consumer_of, frame_of
from ..passes.regions import Kind, Region
from ..passes.views import flat_index, shape_of
from .build import Builder, Lowered
from .other import Operand, always, epilogue
from .rows import Rows, identity

__all__ = ["lower_between"]


@final
class _Inner(Rows):
    """The passes over rows that stay in memory of their own."""

    kept: dict[Node, Buffer]
    written: frozenset[Node]

    def store(self, node: Node, at: tuple[Expr, ...], value: Expr) -> None:
        """Keep an element that products consume, and write it where others read it."""
        if node in self.kept:
            self.builder.scope.emit(Store(self.kept[node], (at[-1],), value))
        if node in self.written:
            self.builder.store(node, at, value)


@final
@dataclass(frozen=True)
class _Consuming:
    """A product that consumes rows, and the sums over rows where it has any."""

    part: Region
    consumer: Consumer
    width: int
    sums: Buffer | None


def lower_between(region: Region, outside: frozenset[Node], name: str) -> Lowered:
    """The kernel of products, rows and products."""
    return _Between(region, outside).lower(name)


@final
class _Between:
    def __init__(self, region: Region, outside: frozenset[Node]) -> None:
        made = {s.node for s in region.stages}
        self.external = frozenset(n for s in region.stages for n in s.access.reads) - made
        self.outside = outside
        at = next(n for n, p in enumerate(region.parts) if p.kind is Kind.ROW)
        self.before, self.rows_part = region.parts[:at], region.parts[at]
        frame = frame_of(self.before[0].stages[0].node)
        assert frame is not None
        self.frame = frame
        self.values = values_of(self.before, self.rows_part)
        self.behind = [self._consuming(p, n) for n, p in enumerate(region.parts[at + 1 :])]
        self.builder = Builder(lambda n: n not in self.external)
        consumed = frozenset(c.consumer.value for c in self.behind)
        extents = [*(frame.batch or (1,)), frame.rows, frame.columns]
        own = frozenset(s.node for s in self.rows_part.stages)
        self.rows = _Inner(self.rows_part, outside | (consumed & own), self.builder, extents)
        self.rows.written = outside
        computed = [s.node for s in self.rows_part.stages if s.node in consumed]
        self.rows.kept = {n: self._row(f"p{number}", n) for number, n in enumerate(computed)}
        self.consumed = {**self.rows.kept}

    def _consuming(self, part: Region, number: int) -> _Consuming:
        root = part.stages[0].node
        consumer = consumer_of(root, self.frame, self.values)
        assert consumer is not None
        width = shape_of(root)[-1 if consumer.position == 0 else -2]
        shape = (self.frame.columns, width)
        sums = Buffer(f"o{number}", root.dtype, shape, space="tile") if consumer.over_rows else None
        return _Consuming(part, consumer, width, sums)

    def _row(self, name: str, node: Node) -> Buffer:
        return Buffer(name, node.dtype, (self.frame.columns,), space="row")

    def lower(self, name: str) -> Lowered:
        scope = self.builder.scope
        domain = self.rows.domain
        *batch, (i, _) = domain.outer
        for var, _ in batch:
            scope.open(var)
        sums = [c for c in self.behind if c.sums is not None]
        for c in sums:
            self._zeros(c)
        scope.open(i)
        for number, part in enumerate(self.before):
            self._made(part, number, i)
        for buffer in self.rows.kept.values():
            scope.emit(Alloc(buffer))
        self.rows.passes()
        for c in self.behind:
            if c.sums is None:
                self._along(c, i)
            else:
                self._added(c, i)
        scope.close(i, self.frame.rows, Serial() if sums else Any())
        for c in sums:
            self._finished(c)
        for var, extent in reversed(batch):
            scope.close(var, extent, Any())
        return self.builder.finished(name, self.rows.size, domain.leading, in_place=False)

    def _batch(self, shape: Sequence[int]) -> tuple[Expr, ...]:
        """The matrix as an index into batch axes of that shape."""
        domain = self.rows.domain
        variables = [v for v, _ in domain.outer[:-1]]
        return split_index(flat_index(domain.extents[:-2], variables), shape)

    # --- products before the rows -----------------------------------------------------------------

    def _made(self, part: Region, number: int, i: Var) -> None:
        """One row of a product, and what follows each of its elements."""
        builder, scope = self.builder, self.builder.scope
        root = part.stages[0].node
        wanted = {n for s in self.rows_part.stages for n in s.access.reads}
        wanted |= {c.consumer.value for c in self.behind}
        made = [s.node for s in part.stages if s.node in wanted]
        buffers = [self._row(f"m{number}_{n}", node) for n, node in enumerate(made)]
        for node, buffer in zip(made, buffers, strict=True):
            scope.emit(Alloc(buffer))
            self.consumed[node] = buffer
        j = Var(f"j{number}", extent=self.frame.columns)
        scope.open(j)
        at = (*self._batch(shape_of(root)[:-2]), i, j)
        acc = self._product(part, at, None)
        builder.overrides[root] = functools.partial(always, acc)
        for node, buffer in zip(made, buffers, strict=True):
            flat = flat_index(shape_of(root), at)
            here = split_index(flat, shape_of(node))
            value = acc if node is root else builder.read(node, here)
            scope.emit(Store(buffer, (j,), value))
        scope.close(j, self.frame.columns, Any())
        for node in part.nodes:
            builder.overrides.pop(node, None)
        for node, buffer in zip(made, buffers, strict=True):
            builder.overrides[node] = functools.partial(self._loaded, node, buffer)

    def _loaded(self, node: Node, buffer: Buffer, at: tuple[Expr, ...]) -> Expr:
        return self.builder.scope.memo((node, at), lambda: Load(buffer, (at[-1],)))

    def _product(self, part: Region, at: tuple[Expr, ...], consuming: _Consuming | None) -> Var:
        """The sum that is element `at` of the first stage."""
        root, scope = part.stages[0].node, self.builder.scope
        *batch, row, column = at
        depth = shape_of(root.inputs[0])[-1]
        k = Var(scope.fresh("k"), extent=depth)
        scope.open(k)
        places = ((*batch, row, k), (*batch, k, column))
        factors: list[Expr] = []
        for position, (operand, place) in enumerate(zip(root.inputs, places, strict=True)):
            if consuming is not None and position == consuming.consumer.position:
                factors.append(Load(self.consumed[consuming.consumer.value], (k,)))
            else:
                factors.append(Operand(self.builder, operand, self.external).read(place))
        acc = Var(scope.fresh("a"), root.dtype)
        start = identity(Monoid.SUM, root.dtype)
        scope.close(k, depth, Tree((Monoid.SUM,)), [(acc, start)], [apply("mul", *factors)])
        return acc

    # --- products behind the rows -----------------------------------------------------------------

    def _at(self, c: _Consuming, kept: Expr, other: Expr) -> tuple[Expr, ...]:
        """The element of a product's result."""
        batch = self._batch(shape_of(c.part.stages[0].node)[:-2])
        return (*batch, kept, other) if c.consumer.position == 0 else (*batch, other, kept)

    def _along(self, c: _Consuming, i: Var) -> None:
        """One row of a product that sums along the row."""
        scope = self.builder.scope
        x = Var(scope.fresh("x"), extent=c.width)
        scope.open(x)
        at = self._at(c, i, x)
        acc = self._product(c.part, at, c)
        epilogue(self.builder, c.part, self.outside, at, [acc])
        scope.close(x, c.width, Any())

    def _zeros(self, c: _Consuming) -> None:
        scope = self.builder.scope
        assert c.sums is not None
        scope.emit(Alloc(c.sums))
        j, x = self._elements(c)
        zero = identity(Monoid.SUM, c.sums.dtype)
        with scope.loops([(j, self.frame.columns), (x, c.width)]):
            scope.emit(Store(c.sums, (j, x), zero))

    def _elements(self, c: _Consuming) -> tuple[Var, Var]:
        scope = self.builder.scope
        columns = self.frame.columns
        return Var(scope.fresh("j"), extent=columns), Var(scope.fresh("x"), extent=c.width)

    def _added(self, c: _Consuming, i: Var) -> None:
        """What a row adds to sums over rows."""
        scope = self.builder.scope
        assert c.sums is not None
        root, position = c.part.stages[0].node, c.consumer.position
        j, x = self._elements(c)
        operand = root.inputs[1 - position]
        batch = self._batch(shape_of(root)[:-2])
        with scope.loops([(j, self.frame.columns), (x, c.width)]):
            place = (*batch, i, x) if position == 0 else (*batch, x, i)
            other = Operand(self.builder, operand, self.external).read(place)
            own = Load(self.consumed[c.consumer.value], (j,))
            scope.emit(Store(c.sums, (j, x), apply("mul", own, other), Monoid.SUM))

    def _finished(self, c: _Consuming) -> None:
        """What follows the sums over rows."""
        scope = self.builder.scope
        assert c.sums is not None
        j, x = self._elements(c)
        with scope.loops([(j, self.frame.columns), (x, c.width)]):
            value = scope.bind(Load(c.sums, (j, x)))
            epilogue(self.builder, c.part, self.outside, self._at(c, j, x), [value])
