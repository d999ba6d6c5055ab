"""Long windows with lanes along the sum: the derivative by a weight, in tiles of inner products.

Holds the heuristics of that on the CPU. Windows are unfolded along one axis only; what moves along
the other one, or from channel to channel, is a place in the same memory. How many products are
summed by themselves depends on shapes and lanes alone.
"""

from __future__ import annotations

from dataclasses import replace
from typing import final

from ..expr import Buffer, Expr, Extent, Load, Var, index, number_or_expr
from ..kernel import Alloc, Any, For, Inner, Let, Serial, Stmt, Vector
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import Varying, divides, likely
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import Tiling, WindowProduct, number, rounded, two_axes, usual

__all__ = ["Sums"]

ITEMS = 8
"""Items that a product is dealt in where its channels suffice."""
ADDRESSES = 11
"""Rows and columns of a tile, each with a pointer of its own, at most."""
TOGETHER = 8
"""Channels at most whose windows are unfolded together."""
LOAD = 1.5
"""What loading a vector costs, in multiply-adds: many of them lie across two lines of a cache."""
UNFOLD, IMAGE, CALL = 8.0, 20.0, 100.0
"""What a vector of unfolded windows takes, in cycles, the end of an image, and a tile to begin."""
FULL = 0.5
"""How full vectors along the sum are at least."""


@final
@dataclass(frozen=True)
class _Tile:
    """A tile, and the columns that are computed together: those of some channels."""

    rows: int
    columns: int
    channels: int
    steps: int

    @property
    def width(self) -> int:
        """Columns of all its steps."""
        return self.columns * self.steps


def _tile(taps: int, channels: int, out: int, target: Features, lanes: int) -> _Tile:
    """The tile that takes the least time for a multiplication that is wanted."""
    best: tuple[float, float, _Tile] | None = None
    for together in range(1, min(channels, TOGETHER) + 1):
        groups = -(-channels // together)
        for columns in range(1, min(lanes, together * taps) + 1):
            steps = -(-together * taps // columns)
            for rows in range(1, ADDRESSES - columns + 1):
                if rows * columns + rows + 2 > target.registers or rows > out:
                    break
                products = rows * columns
                # Sums in flight hide what a multiply-add takes to finish.
                time = max(products, LOAD * (rows + columns), 8)
                total = time * steps * groups * -(-out // rows)
                key = (total, (rows + columns) / products)
                if best is None or key < best[:2]:
                    best = (*key, _Tile(rows, columns, together, steps))
    assert best is not None
    return best[2]


@final
class Sums(Tiling):
    """Long windows: inner products with the rows of the other operand, where these lie."""

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        self.target = target
        u = product.unfold
        self.rank = len(u.low)
        if self.rank > 2:
            return
        self.channels, self.images = u.row_extents[0], u.column_extents[0]
        self.taps1, self.taps2 = two_axes(u.row_extents[1:], 1)
        self.lines, self.line = two_axes(u.column_extents[1:], 1)
        self.step1, _ = two_axes(u.column_steps, 1)
        self.move1, _ = two_axes(u.row_steps, 1)
        moves = [tap * self.move1 for tap in range(self.taps1)]
        self.phases = 1 + max(move % self.step1 for move in moves)
        self.reach = max(move // self.step1 for move in moves)
        taps = self.taps1 * self.taps2
        self.tile = _tile(taps, self.channels, self.columns, target, self.lanes)

    @property
    def fits(self) -> bool:
        """Whether the other operand lies along the sum, and fills vectors."""
        if self.rank > 2 or not self.target.masked_memory:
            return False
        dtype = self.p.weight.buffer.dtype
        _, steps = self.weight_at({f.var: index(0) for f in self.p.batch})
        length = self.lines * self.line
        full = length / rounded(length, self.lanes)
        plain = dtype is self.dtype and not dtype.is_half
        return plain and steps[self.p.sums[1].var] == 1 and full >= FULL

    @property
    def time(self) -> float:
        """About how long it takes for one of the batch."""
        tile = self.tile
        groups = -(-self.channels // tile.channels)
        tiles = groups * tile.steps * -(-self.columns // tile.rows)
        vectors = usual(self.images) * -(-self.lines * self.line // self.lanes)
        each = max(tile.rows * tile.columns, LOAD * (tile.rows + tile.columns), 8) / 2
        lines = usual(self.images) * (self.lines + self.reach) * -(-self.line // self.lanes)
        unfolded = self.channels * self.phases * self.taps2 * lines
        images, length = self._part()
        many = usual(self.images)
        parts = -(-many // images) * -(-self.lines * self.line // length)
        begun = tiles * (many * IMAGE + parts * CALL)
        return tiles * vectors * each + begun + UNFOLD * unfolded

    def tiled(self) -> Tiled:
        tile = self.tile
        taps = self.taps1 * self.taps2
        groups = -(-self.channels // tile.channels)
        blocks = min(groups, -(-ITEMS // likely(self.trips)))
        block = tile.channels * -(-groups // blocks)
        blocks = -(-self.channels // block)
        panels = -(-ITEMS // (likely(self.trips) * blocks))
        panels = min(panels, -(-self.columns // tile.rows))
        self.width = rounded(-(-self.columns // panels), tile.rows)
        self.panels = -(-self.columns // self.width)
        item, values, channel0, out0 = self.item(block, blocks)
        groups = block // tile.channels
        self.sums = Buffer("sums", self.dtype, (self.width, groups * tile.width), space="chunk")
        some = self.columns_left(out0)
        inside = [
            Alloc(self.sums),
            self.cleared(self.sums),
            *self._parts(values, (channel0, out0, some), groups),
            *self._epilogue(values, (channel0, out0, some), block),
        ]
        body = self.loop(item, blocks, inside)
        cost = 2.0 * min(block, self.channels) * taps * min(self.width, self.columns)
        cost *= self.images * rounded(self.lines * self.line, self.lanes) / self.lanes
        return Tiled(body, self.trips * blocks * self.panels, cost)

    # --- parts of the sum -------------------------------------------------------------------------

    def _part(self) -> tuple[int, int]:
        """Images of a part, or the places of one image: what stays in the nearest cache."""
        budget = self.target.l1_bytes // self.dtype.itemsize
        unfolded = self.tile.channels * self.phases * self.taps2
        whole = unfolded * (self.lines + self.reach) * self.line
        whole += self.tile.rows * self.lines * self.line
        if whole <= budget:
            images = self.images
            most = budget // whole
            return most if isinstance(images, Varying) else min(
                images, most
            ), self.lines * self.line
        unit = self.line if self.rank == 2 else 1
        places = (budget - unfolded * self.reach * self.line) // (unfolded + self.tile.rows)
        # Lines that a part shares with the next one are unfolded twice.
        least = max(3 * self.reach, 1) if self.rank == 2 else 8 * self.lanes
        count = max(places // unit, least)
        if self.rank == 1:
            count = count // self.lanes * self.lanes
        parts = -(-self.lines * self.line // (unit * count))
        count = -(-self.lines * self.line // (unit * parts))
        return 1, unit * (rounded(count, self.lanes) if self.rank == 1 else count)

    def _parts(
        self, values: dict[Var, Expr], place: tuple[Expr, Expr, Expr], groups: int
    ) -> list[Stmt]:
        """Loops over parts of the sum and groups of channels: windows unfolded, and multiplied."""
        tile, (channel0, out0, some) = self.tile, place
        images, length = self._part()
        n, part, group, t = Var("n"), Var("part"), Var("group"), Var("t")
        image, first, channel = Var("image"), Var("first"), Var("channel")
        here = (
            image,
            first,
            self._least(images, self.images, image),
            self._least(length, self.lines * self.line, first),
        )
        windows, unfold = self._windows(values, (images, length), here, channel)
        inner = self._products(values, windows, here, (out0, some, t))
        column0 = apply("mul", group, index(tile.width))
        products = [
            replace(s, acc_column=apply("add", column0, index(number * tile.columns)))
            for number, s in enumerate(inner)
        ]
        tiles = For(t, self._divided(some, tile.rows), Serial(), tuple(products))
        start = apply("add", channel0, apply("mul", group, index(tile.channels)))
        body = (Let(channel, start), unfold, tiles)
        left = self._least(groups * tile.channels, self.channels, channel0)
        loop = For(group, self._divided(left, tile.channels), Serial(), body)
        inside = (Let(first, apply("mul", part, index(length))), loop)
        parts = For(part, -(-self.lines * self.line // length), Serial(), inside)
        chunk = (Let(image, apply("mul", n, index(images))), parts)
        return [Alloc(windows), For(n, -(-self.images // images), Serial(), chunk)]

    def _windows(
        self,
        values: dict[Var, Expr],
        sizes: tuple[int, int],
        part: tuple[Expr, Expr, Expr, Expr],
        channel: Expr,
    ) -> tuple[Buffer, Stmt]:
        """The windows of a group of channels in a part of the sum, unfolded along the last axis."""
        tile, (images, length), (image, first, exist, count) = self.tile, sizes, part
        plane = (self.lines + self.reach) * self.line
        each = self.phases * self.taps2
        stored = images * plane if images > 1 else length + self.reach * self.line
        windows = Buffer("windows", self.dtype, (tile.channels * each, stored), space="chunk")
        columns = apply("add", count, index(self.reach * self.line))
        if images > 1:
            columns = apply("mul", exist, index(plane))
        alive = self._least(tile.channels, self.channels, channel)
        rows: tuple[int, ...] = (self.phases, self.taps2)
        places: tuple[int, ...] = (self.lines + self.reach, self.line)
        steps: tuple[int, ...] = (1, self.p.unfold.row_steps[-1])
        return windows, self.unfolded(
            values,
            target=windows,
            row_extents=(self.channels, *rows[-self.rank :]),
            column_extents=(self.images, *places[-self.rank :]),
            row_steps=steps[-self.rank :],
            first_row=apply("mul", channel, index(each)),
            rows=apply("mul", alive, index(each)),
            first_column=apply("add", apply("mul", image, index(plane)), first),
            columns=columns,
        )

    def _divided(self, number_of: Expr, unit: int) -> Extent | Expr:
        """How many units cover so many."""
        count = apply("divtrunc", apply("add", number_of, index(unit - 1)), index(unit))
        return number_or_expr(count)

    def _least(self, most: int, total: int, start: Expr) -> Expr:
        """How many of `most` are left of `total` from `start` on."""
        if divides(most, total):
            return index(most)
        return apply("minimum", index(most), apply("sub", index(total), start))

    def _products(
        self,
        values: dict[Var, Expr],
        windows: Buffer,
        part: tuple[Expr, Expr, Expr, Expr],
        out: tuple[Expr, Expr, Expr],
    ) -> list[Inner]:
        """The tiles of one block of rows, for all columns of a group of channels."""
        tile = self.tile
        image, first, exist, count = part
        out0, some, t = out
        base, steps = self.weight_at(values)
        step_o = steps[self.p.columns.var]
        step_n = steps[self.p.sums[0].var]
        row = apply("mul", t, index(tile.rows))
        start = base
        for value, step in ((apply("add", out0, row), step_o), (image, step_n), (first, 1)):
            start = apply("add", start, apply("mul", value, index(step)))
        alive: Expr = index(tile.rows)
        if self.columns % self.width or self.width % tile.rows:
            alive = apply("minimum", alive, apply("sub", some, row))
        flat = Buffer(windows.name, self.dtype, (1,), (1,), "view", windows)
        weight = self.p.weight.buffer
        places = self._places(number(windows.shape[1]))
        result = []
        for first_column in range(0, tile.width, tile.columns):
            chosen = places[first_column : first_column + tile.columns]
            # Columns that do not exist repeat one that does.
            chosen += [chosen[-1]] * (tile.columns - len(chosen))
            result.append(
                Inner(
                    acc=self.sums,
                    acc_row=row,
                    acc_column=index(0),
                    a=weight,
                    a_start=start,
                    a_row=step_o,
                    a_step=step_n,
                    b=flat,
                    b_start=index(0),
                    b_columns=tuple(chosen),
                    b_step=(self.lines + self.reach) * self.line,
                    outer=exist,
                    length=count,
                    height=tile.rows,
                    rows=alive,
                )
            )
        return result

    def _places(self, stored: int) -> list[int]:
        """Where the windows of each channel and tap begin."""
        places = []
        for channel in range(self.tile.channels):
            for tap1 in range(self.taps1):
                move, phase = divmod(tap1 * self.move1, self.step1)
                row = (channel * self.phases + phase) * self.taps2
                places += [(row + tap2) * stored + move * self.line for tap2 in range(self.taps2)]
        return places

    # --- results ----------------------------------------------------------------------------------

    def _epilogue(
        self, values: dict[Var, Expr], place: tuple[Expr, Expr, Expr], block: int
    ) -> list[Stmt]:
        """What follows for each sum, in vectors along the elements of the windows."""
        p, tile, (channel0, out0, some) = self.p, self.tile, place
        taps = self.taps1 * self.taps2
        together = block if tile.width == tile.channels * taps else tile.channels
        group, o, r = Var("group"), Var("o", extent=self.width), Var("r", extent=together * taps)
        channel = apply("add", channel0, apply("mul", group, index(together)))
        at = {
            **values,
            p.rows.var: apply("add", apply("mul", channel, index(taps)), r),
            p.columns.var: apply("add", out0, o),
        }
        column = apply("add", apply("mul", group, index(tile.width)), r)
        inner = (Let(p.acc, Load(self.sums, (o, column))), *substitute(p.after, at))
        left = apply("mul", self._least(together, self.channels, channel), index(taps))
        if self.channels % together:
            left = apply("maximum", left, index(0))
        extent: Extent | Expr = number_or_expr(left)
        vectors = For(r, extent, Any(), inner, mapping=Vector(self.lanes, 1))
        outs: Extent | Expr = number_or_expr(some)
        rows = For(o, outs, Serial(), (vectors,))
        return [For(group, block // together, Serial(), (rows,))]
