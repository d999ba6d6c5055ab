"""The schedule of rows between products: blocks of rows that stay in the second cache.

An item is a matrix, or a part of its rows. It packs the right operands of its products, and then,
block after block, makes rows by register tiles, runs the passes over each of them, and consumes
them by register tiles. Sums over rows go on in memory of the item, in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any as Anything
from typing import TypeAlias, final

from ..affine import canonical
from ..dtypes import bool_
from ..expr import Buffer, Expr, Extent, Load, Var, const, index
from ..kernel import (
    Alloc,
    Any,
    Contract,
    Copy,
    For,
    If,
    Kernel,
    Let,
    Serial,
    Stmt,
    Store,
    Vector,
    nested,
)
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import divides, likely
from .between_match import Added, Along, Between, Made, loaded, match_between
from .contraction import (
    Items,
    Tiled,
    as_expr,
    base_of,
    batches,
    epilogue,
    let,
    number,
    tile_shape,
)
from .operands import Operand, filled, strided
from .reach import reach
from .rewrite import each_access, substitute

__all__ = ["tile_between"]

Values: TypeAlias = dict[Anything, Expr]
"""What takes the place of variables and loads."""

ITEMS = 16
"""Items that the rows of few matrices are dealt in."""
LEAST_BLOCKS = 4
"""Blocks of an item, each of which pays for a part of its packing."""
MOST_ROWS, MOST_REACHING = 96, 48
"""Rows of a block; where less matters of the first rows than of the last ones, fewer."""


Vectorised = Callable[[Sequence[Stmt]], tuple[Stmt, ...]]


def tile_between(
    kernel: Kernel, size: int, target: Features, vectorised: Vectorised
) -> Tiled | None:
    """The mapped form of rows between products, None if a kernel is something else.

    `vectorised` maps the passes over a row.
    """
    b = match_between(kernel)
    if b is None:
        return None
    builder = _Builder(b, size, target, vectorised)
    work = sum(m.product.depth * b.columns for m in b.made)
    work += sum(number(a.product.columns.extent) * b.columns for a in b.along)
    work += sum(b.columns * builder.width_of(a) for a in b.added)
    rows = number(b.rows.extent)
    cost = 2.0 * -(-rows // builder.parts) * work / target.lanes(b.made[0].product.acc.dtype)
    return Tiled(builder.body(), batches(b.made[0].product, size) * builder.parts, cost)


@final
@dataclass(frozen=True)
class _Packed:
    """A right operand in panels of `width` columns, each of `depth` rows."""

    buffer: Buffer
    source: Operand
    depth: int
    columns: int
    height: int
    width: int

    @property
    def panels(self) -> int:
        """How many there are."""
        return -(-self.columns // self.width)

    def alive(self, column: Expr) -> Expr:
        """How many columns of the panel from `column` on exist."""
        if divides(self.width, self.columns):
            return index(self.width)
        left = apply("sub", index(self.columns), column)
        return canonical(apply("minimum", index(self.width), left))


@final
class _Builder:
    def __init__(self, b: Between, size: int, target: Features, vectorised: Vectorised) -> None:
        self.b = b
        self.target = target
        self.vectorised = vectorised
        self.dtype = b.made[0].product.acc.dtype
        self.lanes = target.lanes(self.dtype)
        self.total = number(b.rows.extent)
        self.pitch = self._odd(b.columns)
        self.consumed = dict.fromkeys([*(a.buffer for a in b.along), *(a.buffer for a in b.added)])
        self.places = self._places()
        made = [For(m.product.columns.var, b.columns, Any(), m.product.after) for m in b.made]
        self.reach = reach([*made, *b.passes], b.rows.var, frozenset(self.consumed))
        self.block = self._block_rows(len(set(self.places.values())))
        self.blocks = {
            name: Buffer(name, self.dtype, (self.block, self.pitch), space="chunk")
            for name in dict.fromkeys(self.places.values())
        }
        self.left = {
            m: Buffer(
                f"left{n}", self.dtype, (self.block, self._odd(m.product.depth)), space="chunk"
            )
            for n, m in enumerate(b.made)
            if m.product.a.computed is not None
        }
        self.parts = self._parts(size)
        every = -(-self.total // self.block)
        self.steps = -(-every // self.parts)
        self.packed: dict[object, _Packed] = {}
        for m in b.made:
            self._pack(m, m.product.b, m.product.depth, b.columns, self.block)
        for a in b.along:
            width = number(a.product.columns.extent)
            self._pack(a, a.product.b, b.columns, width, self.block)
        for d in b.added:
            self._pack(d, d.right, self.total, self.width_of(d), b.columns)
        self.sums = {
            d: Buffer(
                d.sums.name,
                self.dtype,
                (self.packed[d].panels * self._padded(d), self.packed[d].width),
                space="chunk",
            )
            for d in b.added
        }

    def _odd(self, extent: int) -> int:
        """An odd number of vectors: rows do not fall on the same sets of a cache."""
        return (-(-extent // self.lanes) | 1) * self.lanes

    def width_of(self, added: Added) -> int:
        """Columns of sums over rows."""
        return number(added.sums.shape[1])

    def _padded(self, d: Added) -> int:
        height = self.packed[d].height
        return -(-self.b.columns // height) * height

    def _pack(self, key: object, source: Operand, depth: int, columns: int, rows: int) -> None:
        height, vectors = tile_shape(
            likely(rows), likely(columns), self.target, self.dtype.itemsize, likely(depth)
        )
        width = vectors * self.lanes
        shape = (-(-columns // width) * depth, width)
        buffer = Buffer(f"w{len(self.packed)}", self.dtype, shape, space="chunk")
        self.packed[key] = _Packed(buffer, source, depth, columns, height, width)

    def _places(self) -> dict[Buffer, str]:
        """Which block of rows each buffer of a row is in: what is computed of a row takes its
        place where that is read no more."""
        own = [buffer for m in self.b.made for buffer in m.buffers]
        places = {buffer: f"rows{n}" for n, buffer in enumerate(own)}
        free = [buffer for buffer in own if buffer not in self.consumed]
        for buffer in self.consumed:
            if buffer in places:
                continue
            taken = next((m for m in free if _may_take(self.b.passes, buffer, m)), None)
            if taken is not None:
                free.remove(taken)
                places[buffer] = places[taken]
            else:
                places[buffer] = f"rows{len(set(places.values()))}"
        return places

    def _block_rows(self, count: int) -> int:
        """Rows of a block: as many as stay in the second cache."""
        columns = likely(self.b.columns)
        height, _ = tile_shape(MOST_ROWS, columns, self.target, self.dtype.itemsize, 64)
        most = self.target.l2_bytes // 2 // (count * columns * self.dtype.itemsize)
        most = min(most, MOST_ROWS if self.reach is None else MOST_REACHING)
        return min(max(height, most // height * height), likely(self.total))

    def _parts(self, size: int) -> int:
        """Items of a matrix."""
        if self.b.added:
            return 1
        wanted = -(-ITEMS // max(1, likely(batches(self.b.made[0].product, size))))
        return max(1, min(wanted, likely(self.total) // (LEAST_BLOCKS * self.block)))

    # --- the statements ---------------------------------------------------------------------------

    def body(self) -> tuple[Stmt, ...]:
        """The loop over items."""
        items = Items(self.b.made[0].product, self.parts, 1)
        part = items.let("part", items.block)
        items.bind_batch()
        self.values = items.values
        statements: list[Stmt] = [*substitute(self.b.outer, items.values)]
        statements += [Alloc(s) for s in (*self.blocks.values(), *self.sums.values())]
        statements += [Alloc(left) for left in self.left.values()]
        statements += [Alloc(p.buffer) for p in self.packed.values()]
        local = {s.buffer for s in self.b.rows.body if isinstance(s, Alloc)}
        statements += [Alloc(s) for s in local - set(self.places)]
        for packed in self.packed.values():
            statements.append(self._packing(packed))
        statements += [self._zeros(d) for d in self.b.added]
        step = Var("step", extent=self.steps)
        first = canonical(apply("mul", part, index(self.steps)))
        every = -(-self.total // self.block)
        left = canonical(apply("minimum", index(self.steps), apply("sub", index(every), first)))
        count = index(self.steps) if self.parts == 1 else let(statements, "count", left)
        inside: list[Stmt] = []
        i0 = let(
            inside,
            "i0",
            _moved(canonical(apply("mul", first, index(self.block))), step, self.block),
        )
        rows = let(inside, "rows", self._rows_left(i0))
        self.limit = self._limit(inside, i0, rows)
        inside += self._block(i0, rows)
        statements.append(For(step, count, Serial(), tuple(inside)))
        statements += [self._finished(d) for d in self.b.added]
        return items.loop(statements)

    def _limit(self, statements: list[Stmt], i0: Expr, rows: Expr) -> Extent:
        """How many columns matter to a block of rows."""
        if self.reach is None:
            return self.b.columns
        limit = Var("limit", extent=self.b.columns + 1)
        # Tiles of sums over rows write all their rows: up to there zeros are added.
        whole = math.lcm(*(self.packed[d].height for d in self.b.added))
        far = canonical(apply("add", apply("add", i0, rows), index(self.reach + whole - 1)))
        far = canonical(apply("mul", apply("divtrunc", far, index(whole)), index(whole)))
        least = canonical(apply("minimum", index(self.b.columns), far))
        statements.append(Let(limit, least))
        return limit

    def _rows_left(self, i0: Expr) -> Expr:
        if divides(self.block, self.total):
            return index(self.block)
        left = apply("sub", index(self.total), i0)
        return canonical(apply("minimum", index(self.block), left))

    def _packing(self, packed: _Packed) -> Stmt:
        """The panels of a right operand, one behind the other."""
        p = Var("p", extent=packed.panels)
        column = canonical(apply("mul", p, index(packed.width)))
        to = canonical(apply("mul", p, index(packed.depth)))
        depth, alive, source = index(packed.depth), packed.alive(column), packed.source
        if source.computed is not None:
            box = (index(0), column, packed.depth, alive)
            inside = filled(source, packed.buffer, to, box, self.values, self.lanes)
            return For(p, packed.panels, Serial(), inside)
        start = base_of(source, self.values)
        start = canonical(apply("add", start, apply("mul", column, index(source.column))))
        shape, name = (packed.depth, packed.width), packed.buffer.name
        panel = Buffer(name, self.dtype, shape, (packed.width, 1), "view", packed.buffer)
        matrix = strided(source.buffer, (source.row, source.column))
        copy = Copy(panel, matrix, (start, index(0), index(0)), 1, 2, depth, alive, to)
        return For(p, packed.panels, Serial(), (copy,))

    def _zeros(self, d: Added) -> Stmt:
        sums = self.sums[d]
        rows, width = (number(e) for e in sums.shape)
        j, v = Var("j", extent=rows), Var("v", extent=width)
        store = Store(sums, (j, v), const(0, self.dtype))
        inner = For(v, width, Any(), (store,), mapping=Vector(self.lanes, 1))
        return For(j, rows, Serial(), (inner,))

    def _block(self, i0: Expr, rows: Expr) -> list[Stmt]:
        """A block of rows: made, computed with, consumed."""
        statements: list[Stmt] = []
        for m in self.b.made:
            if m in self.left:
                box = (i0, index(0), rows, m.product.depth)
                left = self.left[m]
                statements += filled(m.product.a, left, index(0), box, self.values, self.lanes)
            statements.append(self._making(m, i0, rows))
        r = Var("r", extent=self.block)
        at = {**self.values, self.b.rows.var: canonical(apply("add", i0, r))}
        limited = [
            replace(s, extent=self.limit) if isinstance(s, For) else s for s in self.b.passes
        ]
        passes = self._in_block(limited, r, at)
        statements.append(For(r, rows, Serial(), self.vectorised(passes)))
        for a in self.b.along:
            statements.append(self._summing(a, i0, rows))
        for d in self.b.added:
            statements.append(self._adding(d, i0, rows))
        return statements

    def _in_block(
        self, statements: Sequence[Stmt], row: Expr, values: dict[Var, Expr]
    ) -> tuple[Stmt, ...]:
        """Statements about a row, where it is row `row` of a block."""
        loads: Values = {**values}

        def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
            if buffer in self.places and not is_store:
                loads[Load(buffer, indices)] = Load(self._block_of(buffer), (row, *indices))

        each_access(statements, visit)

        def moved(s: Stmt) -> Stmt:
            if isinstance(s, For):
                return replace(s, body=tuple(map(moved, s.body)))
            if isinstance(s, If):
                return replace(s, then=tuple(map(moved, s.then)))
            if isinstance(s, Store) and s.buffer in self.places:
                return replace(s, buffer=self._block_of(s.buffer), indices=(row, *s.indices))
            return s

        return tuple(map(moved, substitute(statements, loads)))

    def _block_of(self, buffer: Buffer) -> Buffer:
        return self.blocks[self.places[buffer]]

    # --- tiles ------------------------------------------------------------------------------------

    def _tiles(
        self,
        packed: _Packed,
        rows: Expr,
        inside: Callable[[Expr, Expr, Expr, Expr], list[Stmt]],
        columns: Extent | None = None,
    ) -> Stmt:
        """All tiles of `rows` rows; `inside` gets the panel, its column, and a tile's rows."""
        p, t = Var("p", extent=packed.panels), Var("t")
        column: list[Stmt] = []
        column0 = let(column, "column0", canonical(apply("mul", p, index(packed.width))))
        tile: list[Stmt] = []
        first = let(tile, "first", canonical(apply("mul", t, index(packed.height))))
        left = canonical(apply("minimum", index(packed.height), apply("sub", rows, first)))
        count = let(tile, "count", left)
        tile += inside(p, column0, first, count)
        tiles = apply("add", rows, index(packed.height - 1))
        tiles = canonical(apply("divtrunc", tiles, index(packed.height)))
        loop = For(t, tiles, Serial(), tuple(tile))
        panels: Extent | Expr = packed.panels
        if isinstance(columns, Var):
            wide = apply("add", columns, index(packed.width - 1))
            panels = canonical(apply("divtrunc", wide, index(packed.width)))
        return For(p, panels, Serial(), (*column, loop))

    def _making(self, m: Made, i0: Expr, rows: Expr) -> Stmt:
        packed, c = self.packed[m], m.product
        acc = Buffer("acc", self.dtype, (packed.height, packed.width), space="tile")
        left = self.left.get(m)
        source = left or strided(c.a.buffer, (c.a.row, c.a.column))
        base = apply("add", base_of(c.a, self.values), apply("mul", i0, index(c.a.row)))
        at_block = canonical(apply("sub", c.rows.var, i0))
        after = self._in_block(c.after, at_block, {})
        own = replace(c, after=after)

        def inside(p: Expr, column0: Expr, first: Expr, count: Expr) -> list[Stmt]:
            start = canonical(apply("add", base, apply("mul", first, index(c.a.row))))
            starts = (start, index(0), index(0)) if left is None else (first, index(0))
            place = (index(0), canonical(apply("add", i0, first)), column0)
            alive = packed.alive(column0)
            right = (canonical(apply("mul", p, index(packed.depth))), index(0))
            tile = Contract(
                acc,
                source,
                starts,
                len(starts) - 2,
                len(starts) - 1,
                packed.buffer,
                right,
                0,
                1,
                c.depth,
                count,
                index(packed.width),
            )
            after = epilogue(own, acc, place, count, alive, self.values, self.lanes)
            return [Alloc(acc), tile, after]

        return self._tiles(packed, rows, inside, self.limit)

    def _summing(self, a: Along, i0: Expr, rows: Expr) -> Stmt:
        packed, c = self.packed[a], a.product
        acc = Buffer("acc", self.dtype, (packed.height, packed.width), space="tile")

        def inside(p: Expr, column0: Expr, first: Expr, count: Expr) -> list[Stmt]:
            place = (index(0), canonical(apply("add", i0, first)), column0)
            right = (canonical(apply("mul", p, index(packed.depth))), index(0))
            tile = Contract(
                acc,
                self._block_of(a.buffer),
                (first, index(0)),
                0,
                1,
                packed.buffer,
                right,
                0,
                1,
                self.limit,
                count,
                index(packed.width),
            )
            alive = packed.alive(column0)
            return [
                Alloc(acc),
                tile,
                epilogue(c, acc, place, count, alive, self.values, self.lanes),
            ]

        return self._tiles(packed, rows, inside)

    def _adding(self, d: Added, i0: Expr, rows: Expr) -> Stmt:
        packed, sums = self.packed[d], self.sums[d]
        shape = (packed.height, packed.width)
        acc = Buffer(sums.name, self.dtype, shape, (packed.width, 1), "view", sums)
        depth: Extent
        before: list[Stmt] = []
        if divides(self.block, self.total):
            depth = self.block
        else:
            depth = Var("depth")
            before.append(Let(depth, rows))

        def inside(p: Expr, column0: Expr, first: Expr, count: Expr) -> list[Stmt]:
            right = canonical(apply("add", apply("mul", p, index(packed.depth)), i0))
            to = canonical(apply("add", apply("mul", p, index(self._padded(d))), first))
            return [
                *before,
                Contract(
                    acc,
                    self._block_of(d.buffer),
                    (index(0), first),
                    1,
                    0,
                    packed.buffer,
                    (right, index(0)),
                    0,
                    1,
                    depth,
                    count,
                    index(packed.width),
                    to,
                    const(True, bool_),
                ),
            ]

        return self._tiles(packed, as_expr(self.limit), inside)

    def _finished(self, d: Added) -> Stmt:
        """What follows the sums over rows, row by row."""
        packed, sums = self.packed[d], self.sums[d]
        inner = d.finish.body[-1]
        assert isinstance(inner, For)
        j = d.finish.var
        p, v = Var("p", extent=packed.panels), Var("v", extent=packed.width)
        statements: list[Stmt] = []
        column0 = let(statements, "column0", canonical(apply("mul", p, index(packed.width))))
        row = canonical(apply("add", apply("mul", p, index(self._padded(d))), j))
        values: Values = {**self.values, inner.var: canonical(apply("add", column0, v))}
        values[Load(d.sums, (j, inner.var))] = Load(sums, (row, v))
        body = substitute(inner.body, values)
        extent = packed.alive(column0)
        vector = For(v, extent, Any(), body, mapping=Vector(self.lanes, 1))
        panels = For(p, packed.panels, Serial(), (*statements, vector))
        lets = substitute(d.finish.body[:-1], self.values)
        return For(j, self.b.columns, Serial(), (*lets, panels))


def _may_take(passes: Sequence[Stmt], buffer: Buffer, other: Buffer) -> bool:
    """Whether `buffer` may lie where `other` lies: that is read no more when it is written."""
    if buffer.dtype is not other.dtype:
        return False
    written = [n for n, s in enumerate(passes) if buffer in _stored([s])]
    if len(written) != 1 or any(other in loaded([s]) for s in passes[written[0] + 1 :]):
        return False
    loop = passes[written[0]]
    assert isinstance(loop, For)
    at = [n for n, s in enumerate(loop.body) if buffer in _stored([s])]
    return not any(other in loaded([s]) for s in loop.body[at[0] + 1 :])


def _stored(statements: Sequence[Stmt]) -> list[Buffer]:
    return [s.buffer for s in nested(statements) if isinstance(s, Store)]


def _moved(first: Expr, count: Expr, step: int) -> Expr:
    return canonical(apply("add", first, apply("mul", count, index(step))))
