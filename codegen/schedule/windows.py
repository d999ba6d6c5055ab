"""The schedule of products with windows: panels of unfolded windows, register tiles, items.

Holds the heuristics of convolutions on the CPU. The sum runs in order whatever is chosen here, so
no choice changes a bit of the result.
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
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import likely
from .contraction import Tiled
from .rewrite import substitute
from .window_channels import Channels
from .window_direct import Direct
from .window_rows import Rows
from .window_sums import Sums
from .window_tiling import (
    ITEMS,
    Tiling,
    WindowProduct,
    match_windows,
    number,
    rounded,
)
from .window_unrolled import Unrolled
from .window_unrolled_sums import UnrolledSums

__all__ = ["WindowChoice", "match_windows", "tile_windows", "window_forms"]

LEAST_ROWS = 24
"""Rows that share a panel of windows: fewer do not pay for unfolding it."""


SHORT: dict[str, type[Direct] | type[Channels]] = {
    "direct": Direct,
    "unrolled": Unrolled,
    "channels": Channels,
}
"""The forms of short windows, by name: all sum in the same order."""


@final
@dataclass(frozen=True)
class WindowChoice:
    """How a product with short windows is computed; nothing of this changes a bit of it.

    Attributes
    ----------
    form : str
        One of `SHORT`.
    most : int
        Rows of a tile, at most.
    """

    form: str
    most: int


def tile_windows(
    product: WindowProduct, size: int, target: Features, choice: WindowChoice | None = None
) -> Tiled:
    """The mapped form: items of (batch, block of rows, panel of columns)."""
    if product.in_rows:
        long = (form(product, size, target) for form in (Sums, UnrolledSums, Rows))
        return min((form for form in long if form.fits), key=lambda form: form.time).tiled()
    if choice is not None:
        form = SHORT[choice.form](product, size, target)
        form.most = choice.most
        return form.tiled()
    fitting = window_forms(product, size, target)
    if not fitting:
        return Columns(product, size, target).tiled()
    return min(fitting.values(), key=lambda form: form.time).tiled()


def window_forms(
    product: WindowProduct, size: int, target: Features
) -> dict[str, Direct | Channels]:
    """The forms that a product with short windows may have, by name."""
    forms = {name: form(product, size, target) for name, form in SHORT.items()}
    return {name: form for name, form in forms.items() if form.fits}


@final
class Columns(Tiling):
    """Short windows: a panel of them is unfolded, and all rows of the weight go over it."""

    def tiled(self) -> Tiled:
        depth = number(self.p.sums[0].extent)
        wanted = -(-ITEMS // (likely(self.trips) * self.panels))
        height = self.height(min(self.rows, max(LEAST_ROWS, -(-self.rows // wanted))))
        block = rounded(min(self.rows, max(LEAST_ROWS, -(-self.rows // wanted))), height)
        blocks = -(-self.rows // block)
        item, values, row0, column0 = self.item(block, blocks)
        valid = self.columns_left(column0)
        panel = Buffer("panel", self.dtype, (depth, self.width), space="chunk")
        acc = Buffer("acc", self.dtype, (height, self.width), space="tile")
        unfold = self.unfolded(values, target=panel, first_column=column0, columns=valid)
        tiles = self._tiles(acc, panel, values, (row0, column0, valid), block)
        inside = [Alloc(panel), unfold, Alloc(acc), tiles]
        body = self.loop(item, blocks, inside)
        cost = 2.0 * min(block, self.rows) * min(self.columns, self.width) * depth / self.lanes
        return Tiled(body, self.trips * blocks * self.panels, cost)

    def _tiles(
        self,
        acc: Buffer,
        panel: Buffer,
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr],
        block: int,
    ) -> Stmt:
        p, (row0, column0, valid) = self.p, place
        height = number(acc.shape[0])
        base, steps = self.weight_at(values)
        t, tile0 = Var("t"), Var("i0")
        alive, let_alive = self.rows_left(tile0, height)
        row_step, sum_step = steps[p.rows.var], steps[p.sums[0].var]
        left = p.weight.buffer
        matrix = Buffer(left.name, left.dtype, (1, 1, 1), (1, row_step, sum_step), "view", left)
        start = apply("add", base, apply("mul", tile0, index(row_step)))
        zero = index(0)
        contract = Contract(
            acc,
            matrix,
            (start, zero, zero),
            1,
            2,
            panel,
            (zero, zero),
            0,
            1,
            number(p.sums[0].extent),
            alive,
            index(self.width),
        )
        i, j = Var("r", extent=height), Var("v", extent=self.width)
        at = {
            **values,
            p.rows.var: apply("add", tile0, i),
            p.columns.var: apply("add", column0, j),
        }
        inner = (Let(p.acc, Load(acc, (i, j))), *substitute(p.after, at))
        extent: Extent | Expr = number_or_expr(valid)
        columns = For(j, extent, Any(), inner, mapping=Vector(self.lanes, 1))
        number_of: Extent | Expr = number_or_expr(alive)
        inside = (
            Let(tile0, apply("add", row0, apply("mul", t, index(height)))),
            *let_alive,
            contract,
            For(i, number_of, Serial(), (columns,)),
        )
        rows = apply("minimum", index(block), apply("sub", index(self.rows), row0))
        count = apply("divtrunc", apply("add", rows, index(height - 1)), index(height))
        return For(t, count, Serial(), inside)
