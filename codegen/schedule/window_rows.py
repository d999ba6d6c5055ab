"""Long windows in rows, as in the derivative by a weight: sums of a block of rows stay in tiles.

Holds the heuristics of that on the CPU. How many products are summed by themselves depends on
shapes alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from ..dtypes import bool_
from ..expr import Buffer, Const, Expr, Extent, Load, Var, const, index, number_or_expr
from ..kernel import (
    Alloc,
    Any,
    Contract,
    Copy,
    For,
    If,
    Let,
    Serial,
    Stmt,
    Store,
    Vector,
)
from ..scalar import apply
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import (
    Tiling,
    divisor,
    number,
    rounded,
)

__all__ = ["Rows"]

ROW_ITEMS, ROWS_TOGETHER = 4, 72
"""The same of a product that has windows in rows, each of which packs the other operand again."""
LONG_PANEL = 256
"""How much of a long window is unfolded at once."""


@final
class Rows(Tiling):
    """Long windows: the sums of a block of rows stay while one image after the other passes."""

    def tiled(self) -> Tiled:
        p = self.p
        outer, inner = (number(f.extent) for f in p.sums)
        plane = math.prod(p.unfold.row_extents[1:])
        block = self._block(plane, p.unfold.row_extents[0]) * plane
        blocks = -(-self.rows // block)
        length = min(LONG_PANEL, rounded(inner, self.lanes))
        item, values, row0, column0 = self.item(block, blocks)
        valid = self.columns_left(column0)
        alive: Expr = index(block)
        if self.rows % block:
            left = apply("sub", index(self.rows), row0)
            alive = self.let("alive", apply("minimum", index(block), left))
        height = self.height(block)
        tiles = [
            Buffer(f"acc{t}", self.dtype, (height, self.width), space="tile")
            for t in range(-(-block // height))
        ]
        place = (row0, column0, valid, alive)
        totals = [
            Buffer(f"sum{t}", self.dtype, (height, self.width), space="tile")
            for t in range(len(tiles))
        ]
        inside: list[Stmt] = [Alloc(acc) for acc in (*tiles, *totals)]
        inside += [self._filled(total, None) for total in totals]
        inside += self._pass(tiles, totals, values, place, (block, length, inner, outer))
        for position, acc in enumerate(totals):
            inside.append(self._epilogue(acc, position * height, values, place))
        body = self.loop(item, blocks, inside)
        cost = 2.0 * min(block, self.rows) * min(self.columns, self.width)
        return Tiled(body, self.trips * blocks * self.panels, cost * outer * inner / self.lanes)

    def _block(self, plane: int, images: int) -> int:
        """Images whose windows are the rows of an item."""
        block = min(images, max(1, ROWS_TOGETHER // plane))
        while block > 1 and self.trips * self.panels * -(-images // block) < ROW_ITEMS:
            block = -(-block // 2)
        return block

    def _filled(self, target: Buffer, source: Buffer | None) -> Stmt:
        """Zeros in a tile, or what another one holds added to it."""
        height, width = target.shape
        i, j = Var("i"), Var("j")
        value: Expr = const(0, self.dtype)
        if source is not None:
            value = apply("add", Load(target, (i, j)), Load(source, (i, j)))
        columns = For(
            j, width, Any(), (Store(target, (i, j), value),), mapping=Vector(self.lanes, 1)
        )
        return For(i, height, Any(), (columns,))

    def _pass(
        self,
        tiles: Sequence[Buffer],
        totals: Sequence[Buffer],
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, Expr],
        extents: tuple[int, int, int, int],
    ) -> list[Stmt]:
        """The sum: for every channel, and every part of its windows.

        So many products are summed by themselves first, as errors of long sums grow with them.
        """
        p, (row0, column0, valid, alive) = self.p, place
        block, length, inner, outer = extents
        c, part, group, within = Var("c"), Var("part"), Var("group"), Var("within")
        together = divisor(outer, LONG_PANEL // length)
        channel = apply("add", apply("mul", group, index(together)), within)
        first = apply("mul", part, index(length))
        left: Expr = index(length)
        if inner % length:
            left = apply("minimum", left, apply("sub", index(inner), first))
        begin = apply("add", apply("mul", c, index(inner)), first)
        windows = Buffer("windows", self.dtype, (block, length), space="chunk")
        unfold = self.unfolded(
            values,
            target=windows,
            first_row=row0,
            rows=alive,
            first_column=begin,
            columns=left,
        )
        base, steps = self.weight_at(values)
        step_o = steps[p.columns.var]
        step_c, step_k = (steps[f.var] for f in p.sums)
        buffer = p.weight.buffer
        view = Buffer(buffer.name, buffer.dtype, (1, 1, 1), (1, step_k, step_o), "view", buffer)
        for var, step in ((c, step_c), (first, step_k), (column0, step_o)):
            base = apply("add", base, apply("mul", var, index(step)))
        panel = Buffer("panel", self.dtype, (length, self.width), space="chunk")
        zero = index(0)
        inside: list[Stmt] = [
            unfold,
            Copy(panel, view, (base, zero, zero), 1, 2, left, valid),
        ]
        height = number(tiles[0].shape[0])
        for position, acc in enumerate(tiles):
            row = position * height
            exist = apply("minimum", index(height), apply("sub", alive, index(row)))
            contract = Contract(
                acc,
                windows,
                (index(row), zero),
                0,
                1,
                panel,
                (zero, zero),
                0,
                1,
                length,
                exist,
                index(self.width),
                onward=const(True, bool_) if together > 1 else None,
            )
            some = apply("gt", alive, index(row))
            sure = isinstance(alive, Const) or position == 0
            inside.append(contract if sure else If(some, (contract,)))
        sums = [self._filled(*pair) for pair in zip(totals, tiles, strict=True)]
        if together == 1:
            inside += sums
        parts = For(part, -(-inner // length), Serial(), tuple(inside))
        channels: Stmt = For(c, outer, Serial(), (parts,))
        if together > 1:
            channels = For(
                group,
                outer // together,
                Serial(),
                (
                    *(self._filled(acc, None) for acc in tiles),
                    For(within, together, Serial(), (Let(c, channel), parts)),
                    *sums,
                ),
            )
        return [Alloc(windows), Alloc(panel), channels]

    def _epilogue(
        self,
        acc: Buffer,
        row: int,
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, Expr],
    ) -> Stmt:
        """What follows for each element of a tile, in vectors along the rows."""
        p, (row0, column0, valid, alive) = self.p, place
        height = number(acc.shape[0])
        i, j = Var("r", extent=height), Var("v", extent=self.width)
        at = {
            **values,
            p.rows.var: apply("add", apply("add", row0, index(row)), i),
            p.columns.var: apply("add", column0, j),
        }
        inner = (Let(p.acc, Load(acc, (i, j))), *substitute(p.after, at))
        left = apply("sub", alive, index(row))
        count = apply("maximum", apply("minimum", index(height), left), index(0))
        rows: Extent | Expr = number_or_expr(count)
        vectors = For(i, rows, Any(), inner, mapping=Vector(self.lanes, 1))
        extent: Extent | Expr = number_or_expr(valid)
        return For(j, extent, Serial(), (vectors,))
