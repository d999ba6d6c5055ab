"""Short windows, one apart: read from a padded copy of rows, without a panel of windows.

Holds the heuristics of direct convolution on the CPU.
"""

from __future__ import annotations

from typing import final

from ..expr import Buffer, Expr, Extent, Load, Var, index, number_or_expr
from ..kernel import (
    Alloc,
    Any,
    Contract,
    For,
    Let,
    Serial,
    Stmt,
    Vector,
)
from ..scalar import apply
from ..targets.base import Features
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import (
    ITEMS,
    Tiling,
    WindowProduct,
    number,
    rounded,
    two_axes,
)

__all__ = ["Direct"]

FULL = 0.6
"""How full vectors along a row of places are at least when windows are read directly."""


@final
class Direct(Tiling):
    """Short windows, one apart: from a padded copy of some rows, of which all windows are read.

    A tile has vectors from one row of places, or from two where a row fills less than one.
    """

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        u = product.unfold
        self.plain = len(u.low) <= 2 and u.column_steps[-1] == 1
        (self.kernel1, self.kernel2) = two_axes(u.row_extents[1:], 1)
        (self.places1, self.places2) = two_axes(u.column_extents[1:], 1)
        (self.step1, _) = two_axes(u.column_steps, 1)
        (self.dilation1, self.dilation2) = two_axes(u.row_steps, 1)
        self.channels = u.row_extents[0]
        self.lines = 2 if self.places2 <= self.lanes and self.places1 > 1 else 1
        self.run = self.lanes if self.places2 <= self.lanes else 2 * self.lanes
        self.runs = -(-self.places2 // self.run)
        self.pitch = self.runs * self.run + (self.kernel2 - 1) * self.dilation2
        self.budget = target.l2_bytes // 4

    @property
    def fits(self) -> bool:
        """Whether vectors are mostly full, and windows overlap."""
        full = self.places2 / rounded(self.places2, self.lanes)
        several = self.kernel1 * self.kernel2 > 1
        return self.plain and several and full >= FULL and self._bytes(self.lines) <= self.budget

    def _read(self, places: int) -> int:
        """Rows of the input that so many rows of places read."""
        return (places - 1) * self.step1 + (self.kernel1 - 1) * self.dilation1 + 1

    def _bytes(self, places: int) -> int:
        return self.channels * self._read(places) * self.pitch * self.dtype.itemsize

    def tiled(self) -> Tiled:
        wanted = -(-ITEMS // self.trips)
        block = rounded(max(1, -(-self.places1 // wanted)), self.lines)
        while block > self.lines and self._bytes(block) > self.budget:
            block = rounded(block // 2, self.lines)
        blocks = -(-self.places1 // block)
        read = self._read(block)
        self.panels = 1
        item, values, first, _ = self.item(block, blocks)
        copy = Buffer("rows", self.dtype, (self.channels, read * self.pitch), space="chunk")
        total = blocks * block * self.step1 + read
        rank = len(self.p.unfold.low)
        unfold = self.unfolded(
            values,
            target=copy,
            row_extents=(self.channels, *(1,) * rank),
            column_extents=(1, *(total, self.pitch)[2 - rank :]),
            column_steps=(1,) * rank,
            rows=index(self.channels),
            first_column=apply("mul", first, index(self.step1 * self.pitch)),
            columns=index(read * self.pitch),
        )
        height = self.height(self.rows)
        acc = Buffer("acc", self.dtype, (height, self.lines * self.run), space="tile")
        tiles = self._lines(acc, copy, values, first, block)
        body = self.loop(item, blocks, [Alloc(copy), unfold, Alloc(acc), tiles])
        depth = number(self.p.sums[0].extent)
        cost = 2.0 * self.rows * min(block, self.places1) * self.runs * self.run * depth
        return Tiled(body, self.trips * blocks, cost / self.lanes)

    def _lines(
        self, acc: Buffer, copy: Buffer, values: dict[Var, Expr], first: Expr, block: int
    ) -> Stmt:
        """Loops over rows of places, runs in them, and rows of the product."""
        height = number(acc.shape[0])
        step, run, t = Var("step"), Var("run"), Var("t")
        line, column, tile0 = Var("line"), Var("column"), Var("i0")
        alive, let_alive = self.rows_left(tile0, height)
        inside = (
            Let(tile0, apply("mul", t, index(height))),
            *let_alive,
            self._contract(acc, copy, values, (tile0, alive, line, column)),
            self._epilogue(acc, values, first, (tile0, alive, line, column)),
        )
        tiles = For(t, -(-self.rows // height), Serial(), inside)
        runs = For(
            run,
            self.runs,
            Serial(),
            (Let(column, apply("mul", run, index(self.run))), tiles),
        )
        left = apply("minimum", index(block), apply("sub", index(self.places1), first))
        count = apply("add", left, index(self.lines - 1))
        count = apply("divtrunc", count, index(self.lines))
        body = (Let(line, apply("mul", step, index(self.lines))), runs)
        return For(step, count, Serial(), body)

    def _contract(
        self,
        acc: Buffer,
        copy: Buffer,
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, Expr],
    ) -> Contract:
        tile0, alive, line, column = place
        base, steps = self.weight_at(values)
        row_step, sum_step = steps[self.p.rows.var], steps[self.p.sums[0].var]
        left = self.p.weight.buffer
        matrix = Buffer(left.name, left.dtype, (1, 1, 1), (1, row_step, sum_step), "view", left)
        start = apply("add", base, apply("mul", tile0, index(row_step)))
        plane = number(copy.shape[1])
        down, next_line = self.dilation1 * self.pitch, self.step1 * self.pitch
        strides = (1, plane, down, self.dilation2, next_line, 1)
        view = Buffer(copy.name, self.dtype, (1,) * 6, strides, "view", copy)
        at = apply("add", apply("mul", line, index(next_line)), column)
        zero = index(0)
        sums = ((self.channels, 1), (self.kernel1, 2), (self.kernel2, 3))
        return Contract(
            acc,
            matrix,
            (start, zero, zero),
            1,
            2,
            view,
            (at, *(zero,) * 5),
            1,
            5,
            number(self.p.sums[0].extent),
            alive,
            index(number(acc.shape[1])),
            b_sums=sums,
            b_run=(self.run, 4) if self.lines > 1 else None,
        )

    def _epilogue(
        self,
        acc: Buffer,
        values: dict[Var, Expr],
        first: Expr,
        place: tuple[Expr, Expr, Expr, Expr],
    ) -> Stmt:
        """What follows for each place of the tile."""
        tile0, alive, line, column = place
        i, which = Var("r", extent=number(acc.shape[0])), Var("s", extent=self.lines)
        j = Var("v", extent=self.run)
        row = apply("add", apply("add", first, line), which)
        at = {
            **values,
            self.p.rows.var: apply("add", tile0, i),
            self.p.columns.var: apply(
                "add",
                apply("add", apply("mul", row, index(self.places2)), column),
                j,
            ),
        }
        from_ = apply("add", apply("mul", which, index(self.run)), j)
        inner = (Let(self.p.acc, Load(acc, (i, from_))), *substitute(self.p.after, at))
        valid = apply("minimum", index(self.run), apply("sub", index(self.places2), column))
        whole = self.places2 % self.run == 0 or self.runs == 1
        extent: Extent | Expr = min(self.run, self.places2) if whole else valid
        columns = For(j, extent, Any(), inner, mapping=Vector(self.lanes, 1))
        lines = apply("sub", index(self.places1), apply("add", first, line))
        several: Extent | Expr = self.lines
        if self.places1 % self.lines:
            several = apply("minimum", index(self.lines), lines)
        rows: Extent | Expr = number_or_expr(alive)
        return For(i, rows, Serial(), (For(which, several, Serial(), (columns,)),))
