"""Long windows in rows, as in the derivative by a weight: sums of a block of rows stay in tiles.

Holds the heuristics of that on the CPU. An element of the input is in every lane of a vector, the
channels of the other operand lie side by side. How many products are summed by themselves depends
on shapes alone.
"""

from __future__ import annotations

from typing import final

from ..affine import canonical
from ..dtypes import int64
from ..expr import Buffer, Expr, Load, Var, index, number_or_expr
from ..kernel import (
    Alloc,
    Any,
    Copy,
    For,
    Let,
    Placed,
    Serial,
    Stmt,
    Store,
    Vector,
)
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import divides, likely
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import (
    Tiling,
    WindowProduct,
    number,
    rounded,
    spread,
    tile_time,
    together,
    two_axes,
    usual,
)

__all__ = ["Rows"]

ITEMS = 8
"""Items that a product is dealt in where its channels suffice: each packs the other operand."""
MOST_ROWS = 192
"""Rows of an item: the sums of so many stay near."""
LONG, LONGEST = 256, 512
"""How many products are summed by themselves, about and at most: errors of long sums grow."""
COPY, PACK, ADD = 3.0, 6.0, 1.5
"""What a vector of the padded copy takes, in cycles, one of the other operand, and of a sum."""


@final
@dataclass(frozen=True)
class _Part:
    """Places that are summed at once: of some images, some lines of one, or some of a line."""

    images: int
    lines: int
    columns: int

    @property
    def places(self) -> int:
        return self.images * self.lines * self.columns


@final
class Rows(Tiling):
    """Long windows: the sums of a block of rows stay while one image after the other passes."""

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        u = product.unfold
        self.rank = len(u.low)
        self.channels, self.images = u.row_extents[0], u.column_extents[0]
        (self.taps1, self.taps2) = two_axes(u.row_extents[1:], 1)
        (self.lines, self.line) = two_axes(u.column_extents[1:], 1)
        (self.step1, self.step2) = two_axes(u.column_steps, 1)
        (self.move1, self.move2) = two_axes(u.row_steps, 1)
        self.taps = self.taps1 * self.taps2
        self.pitch = (self.line - 1) * self.step2 + (self.taps2 - 1) * self.move2 + 1
        self.budget = target.l2_bytes // 4
        self.usual = usual(self.images)
        self.part = self._part()
        self.read = (self.part.lines - 1) * self.step1 + (self.taps1 - 1) * self.move1 + 1
        self.plane = self.read * self.pitch
        self.block = self._block()
        self.height_of_tile = self.height(self.block * self.taps)

    def _part(self) -> _Part:
        places = self.lines * self.line
        if places <= LONG:
            return _Part(together(self.images, LONG // places), self.lines, self.line)
        if self.line <= LONGEST:
            lines = max(1, LONG // self.line)
            return _Part(1, -(-self.lines // -(-self.lines // lines)), self.line)
        return _Part(1, 1, -(-self.line // -(-self.line // LONG)))

    def _block(self) -> int:
        """Channels of an item."""
        each = self.part.images * self.plane * self.dtype.itemsize
        most = min(max(1, MOST_ROWS // self.taps), max(1, self.budget // each))
        wanted = -(-ITEMS // (likely(self.trips) * self.panels))
        block = max(1, min(most, -(-self.channels // wanted)))
        return -(-self.channels // -(-self.channels // block))

    @property
    def fits(self) -> bool:
        """What no other form can do, this one does."""
        return True

    @property
    def time(self) -> float:
        """About how long it takes for one of the batch."""
        vectors = self.width // self.lanes
        blocks = -(-self.channels // self.block)
        rows, places = self.block * self.taps, self.usual * self.lines * self.line
        tiles = -(-rows // self.height_of_tile)
        parts = places / self.part.places
        copied = self.block * self.usual * self.plane / self.lanes
        copied *= self.lines / self.part.lines
        each = tiles * places * tile_time(self.height_of_tile, vectors)
        each += parts * rows * vectors * ADD
        return blocks * self.panels * (each + PACK * places * vectors + COPY * copied)

    # --- the kernel -------------------------------------------------------------------------------

    def tiled(self) -> Tiled:
        blocks = -(-self.channels // self.block)
        item, values, channel0, out0 = self.item(self.block, blocks)
        some = self.columns_left(out0)
        count: Expr = index(self.block)
        if self.channels % self.block:
            left = apply("sub", index(self.channels), channel0)
            count = self.let("channels", apply("minimum", count, left))
        rows = self.block * self.taps
        tall = rounded(rows, self.height_of_tile)
        tables = (
            Buffer("rows", int64, (rows,), space="chunk"),
            Buffer("places", int64, (self.part.places + 1,), space="chunk"),
        )
        part, total = (
            Buffer(name, self.dtype, (tall, self.width), space="chunk") for name in ("part", "sums")
        )
        turned = Buffer(
            "turned", self.dtype, (self.width, rounded(rows, self.lanes)), space="chunk"
        )
        inside: list[Stmt] = [
            *map(Alloc, (*tables, part, total)),
            self._row_places(tables[0]),
            self._places(tables[1]),
            self.cleared(total),
            *self._passed((part, total), tables, values, (channel0, count, out0, some)),
            Alloc(turned),
            self._turned(turned, total, some, count),
            self._epilogue(turned, values, (channel0, count, out0, some)),
        ]
        body = self.loop(item, blocks, inside)
        cost = 2.0 * min(rows, self.rows) * min(self.columns, self.width)
        cost *= self.images * self.lines * self.line / self.lanes
        return Tiled(body, self.trips * blocks * self.panels, cost)

    def _row_places(self, table: Buffer) -> Stmt:
        """Where the first element of each row lies in the copy: of a channel, and a tap."""
        r = Var("r", extent=self.block * self.taps)
        channel = apply("divtrunc", r, index(self.taps))
        tap = apply("remtrunc", r, index(self.taps))
        tap1 = apply("divtrunc", tap, index(self.taps2))
        tap2 = apply("remtrunc", tap, index(self.taps2))
        value = apply("mul", channel, index(spread(self.part.images * self.plane)))
        value = apply("add", value, apply("mul", tap1, index(self.move1 * self.pitch)))
        value = apply("add", value, apply("mul", tap2, index(self.move2)))
        return For(r, number(table.shape[0]), Serial(), (Store(table, (r,), canonical(value)),))

    def _places(self, table: Buffer) -> Stmt:
        """Where the windows of the places of a part begin."""
        q = Var("q", extent=self.part.places)
        line = apply("divtrunc", q, index(self.part.columns))
        column = apply("remtrunc", q, index(self.part.columns))
        image = apply("divtrunc", line, index(self.part.lines))
        line = apply("remtrunc", line, index(self.part.lines))
        value = apply("mul", image, index(self.plane))
        value = apply("add", value, apply("mul", line, index(self.step1 * self.pitch)))
        value = apply("add", value, apply("mul", column, index(self.step2)))
        return For(q, self.part.places, Serial(), (Store(table, (q,), canonical(value)),))

    def _least(self, most: int, total: int, start: Expr) -> Expr:
        """How many of `most` are left of `total` from `start` on."""
        if divides(most, total):
            return index(most)
        return apply("minimum", index(most), apply("sub", index(total), start))

    def _passed(
        self,
        sums: tuple[Buffer, Buffer],
        tables: tuple[Buffer, Buffer],
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, Expr],
    ) -> list[Stmt]:
        """The sum: of one part after the other, each with the input that its windows lie in."""
        part, (channel0, count, out0, some) = self.part, place
        shape = (self.block, spread(part.images * self.plane))
        copy = Buffer("copy", self.dtype, shape, space="chunk")
        panel = Buffer("panel", self.dtype, (part.places, self.width), space="chunk")
        n, b, c = Var("n"), Var("b"), Var("c")
        image0, line0, column0 = Var("image0"), Var("line0"), Var("column0")
        images = self._least(part.images, self.images, image0)
        lines = self._least(part.lines, self.lines, line0)
        columns = self._least(part.columns, self.line, column0)
        exist = apply("mul", apply("mul", images, lines), columns)
        blocks = -(-self.lines // part.lines)
        total = self.read if blocks == 1 else blocks * part.lines * self.step1 + self.read
        first = apply("mul", image0, index(total))
        first = apply("add", first, apply("mul", line0, index(self.step1)))
        unfold = self.unfolded(
            values,
            target=copy,
            row_extents=(self.channels, *(1,) * self.rank),
            column_extents=(self.images, *(total, self.pitch)[2 - self.rank :]),
            row_steps=(1,) * self.rank,
            column_steps=(1,) * self.rank,
            first_row=channel0,
            rows=count,
            first_column=apply("mul", first, index(self.pitch)),
            columns=apply("mul", images, index(self.plane)),
        )
        at = (image0, line0, column0, out0)
        packed = self._packed(panel, values, at, (images, lines, columns, some))
        begin = apply("mul", column0, index(self.step2))
        tiles = self._tiles(sums, (copy, panel), tables, (begin, exist, count))
        inner = (Let(column0, apply("mul", c, index(part.columns))), packed, *tiles)
        chunks = For(c, -(-self.line // part.columns), Serial(), inner)
        within = (Let(line0, apply("mul", b, index(part.lines))), unfold, chunks)
        runs = For(b, blocks, Serial(), within)
        outer = (Let(image0, apply("mul", n, index(part.images))), runs)
        return [
            Alloc(copy),
            Alloc(panel),
            For(n, -(-self.images // part.images), Serial(), outer),
        ]

    def _packed(
        self,
        panel: Buffer,
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, Expr],
        counts: tuple[Expr, Expr, Expr, Expr],
    ) -> Stmt:
        """The other operand at the places of a part, its channels side by side."""
        p, part = self.p, self.part
        (image0, line0, column0, out0), (images, lines, columns, some) = place, counts
        base, steps = self.weight_at(values)
        step_o = steps[p.columns.var]
        step_n, step_q = (steps[f.var] for f in p.sums)
        buffer = p.weight.buffer
        view = Buffer(buffer.name, buffer.dtype, (1, 1, 1), (1, step_q, step_o), "view", buffer)
        i = Var("i")
        first = apply("add", apply("mul", line0, index(self.line)), column0)
        image = apply("add", image0, i)
        for value, step in ((image, step_n), (first, step_q), (out0, step_o)):
            base = apply("add", base, apply("mul", value, index(step)))
        each = part.lines * part.columns
        shape = (each, self.width)
        rows = Buffer(panel.name, self.dtype, shape, (self.width, 1), "view", panel)
        exist = apply("mul", lines, columns)
        zero, row0 = index(0), apply("mul", i, index(each))
        copy = Copy(rows, view, (base, zero, zero), 1, 2, exist, some, row0)
        return For(i, number_or_expr(images), Serial(), (copy,))

    def _tiles(
        self,
        sums: tuple[Buffer, Buffer],
        operands: tuple[Buffer, Buffer],
        tables: tuple[Buffer, Buffer],
        extents: tuple[Expr, Expr, Expr],
    ) -> list[Stmt]:
        """The sums of a part, which are added to those of the others."""
        (part, total), (copy, panel), (begin, exist, count) = sums, operands, extents
        height = self.height_of_tile
        rows = apply("mul", count, index(self.taps))
        t, row0 = Var("t"), Var("row0")
        tile = Placed(
            acc=part,
            acc_row=row0,
            height=height,
            columns=self.width,
            a=Buffer(copy.name, self.dtype, (1,), (1,), "view", copy),
            a_start=begin,
            a_rows=tables[0],
            a_row=row0,
            a_step=0,
            a_places=tables[1],
            b=Buffer(panel.name, self.dtype, (1,), (1,), "view", panel),
            b_start=index(0),
            b_step=0,
            b_places=self.width,
            b_run=None,
            outer=index(1),
            length=exist,
            rows=apply("minimum", index(height), apply("sub", rows, row0)),
            onward=False,
        )
        i, j = Var("r"), Var("v", extent=self.width)
        added = apply("add", Load(total, (i, j)), Load(part, (i, j)))
        columns = For(
            j,
            self.width,
            Any(),
            (Store(total, (i, j), added),),
            mapping=Vector(self.lanes, self.width // self.lanes),
        )
        number_of = apply("divtrunc", apply("add", rows, index(height - 1)), index(height))
        body = (Let(row0, apply("mul", t, index(height))), tile)
        return [
            For(t, number_or_expr(canonical(number_of)), Serial(), body),
            For(i, number_or_expr(rows), Any(), (columns,)),
        ]

    # --- results ----------------------------------------------------------------------------------

    def _turned(self, turned: Buffer, sums: Buffer, some: Expr, count: Expr) -> Stmt:
        """The sums with the elements of the windows side by side."""
        view = Buffer(sums.name, self.dtype, (1, 1), (self.width, 1), "view", sums)
        rows = apply("mul", count, index(self.taps))
        return Copy(turned, view, (index(0), index(0)), 1, 0, some, rows)

    def _epilogue(
        self, turned: Buffer, values: dict[Var, Expr], place: tuple[Expr, Expr, Expr, Expr]
    ) -> Stmt:
        """What follows for each sum, in vectors along the elements of the windows."""
        channel0, count, out0, some = place
        o, r = Var("o", extent=self.width), Var("r", extent=self.block * self.taps)
        at = {
            **values,
            self.p.rows.var: apply("add", apply("mul", channel0, index(self.taps)), r),
            self.p.columns.var: apply("add", out0, o),
        }
        inner = (Let(self.p.acc, Load(turned, (o, r))), *substitute(self.p.after, at))
        rows = number_or_expr(apply("mul", count, index(self.taps)))
        vectors = For(r, rows, Any(), inner, mapping=Vector(self.lanes, 1))
        return For(o, number_or_expr(some), Serial(), (vectors,))
