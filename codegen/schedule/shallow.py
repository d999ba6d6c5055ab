"""The schedule of products whose sums have few terms: rows of the result, written once.

Knows no tiles: each vector of the result is a chain of multiply-adds, and what follows takes it
from there. The order of the sum is that of a tile, so no bit differs.
"""

from __future__ import annotations

from ..affine import canonical
from ..expr import Buffer, Expr, Load, Var, const, index
from ..kernel import Alloc, Any, Copy, For, Let, Serial, Stmt, Vector
from ..scalar import apply
from ..targets.base import Features
from ..varying import Varying, likely
from .contraction import Contraction, Items, Tiled, as_expr, based, batches, let, number, row_count
from .operands import element, filled, strided
from .rewrite import substitute

__all__ = ["shallow"]

TERMS = 4
"""Up to so many terms the result takes longer to write than to compute."""
ELEMENTS = 1 << 13
"""Of the right operand, which stays in the nearest cache."""
RESULTS = 1 << 14
"""Of an item."""


def shallow(c: Contraction, size: int, target: Features) -> Tiled | None:
    """The mapped form, or None where the sums are longer or the rows shorter."""
    lanes = target.lanes(c.acc.dtype)
    rows, columns = likely(row_count(c, size)), number(c.columns.extent)
    if isinstance(c.depth, Varying) or c.depth > TERMS:
        return None
    if isinstance(columns, Varying) or not lanes <= columns <= ELEMENTS // c.depth or rows < 4:
        return None
    block = max(1, min(rows, RESULTS // columns))
    blocks = -(-row_count(c, size) // block)
    items = Items(c, blocks, 1)
    row0 = items.let("row0", canonical(apply("mul", items.block, index(block))))
    items.bind_batch()
    body = items.loop(_item(c, row0, block, items.values, lanes))
    return Tiled(body, batches(c, size) * blocks, block * columns * c.acc.dtype.itemsize / 8)


def _item(
    c: Contraction, row0: Expr, block: int, values: dict[Var, Expr], lanes: int
) -> tuple[Stmt, ...]:
    """A block of rows; a right operand that lies across is turned first."""
    dtype = c.acc.dtype
    statements: list[Stmt] = []
    a_base, b_base = (based(statements, o, values) for o in (c.a, c.b))
    columns = number(c.columns.extent)
    right, start = strided(c.b.buffer, (c.b.row, c.b.column)), b_base
    if c.b.column != 1 or c.b.computed is not None or c.b.buffer.dtype is not dtype:
        width = -(-columns // lanes) * lanes
        panel = Buffer("panel", dtype, (c.depth, width), space="chunk")
        statements.append(Alloc(panel))
        if c.b.computed is not None:
            box = (index(0), index(0), c.depth, columns)
            statements += filled(c.b, panel, index(0), box, values, lanes)
        else:
            starts = (b_base, index(0), index(0))
            statements.append(Copy(panel, right, starts, 1, 2, index(c.depth), index(columns)))
        right, start = strided(panel, (width, 1)), index(0)
    i, j = Var("r", extent=block), Var("v", extent=columns)
    row = canonical(apply("add", row0, i))
    outer: list[Stmt] = []
    total: Expr = const(0, dtype)
    for k in range(c.depth):
        left = c.a.element(a_base, row, index(k), values, dtype)
        name = Var(f"a{k}", dtype)
        outer.append(Let(name, left))
        factors = name, element(Load(right, (start, index(k), j)), dtype)
        if dtype.is_integer:
            total = apply("add", total, apply("mul", *factors))
        else:
            total = apply("fma", *factors, total)
    at = {**values, c.rows.var: row, c.columns.var: j}
    inner = (Let(c.acc, total), *substitute(c.after, at))
    outer.append(For(j, columns, Any(), inner, mapping=Vector(lanes, 2)))
    left_rows = apply("sub", as_expr(c.rows.extent), row0)
    count = let(statements, "rows", canonical(apply("minimum", index(block), left_rows)))
    return (*statements, For(i, count, Serial(), tuple(outer)))
