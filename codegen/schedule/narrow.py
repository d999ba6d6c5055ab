"""The schedule of narrow contractions: products whose result has few rows or few columns.

Knows two forms beside the register tile as it is. Where the sum runs along memory in the large
operand, each element is a sum over lanes, several rows side by side. Where the kept axis does, rows
and columns change places, so that the vectors run along it.
"""

from __future__ import annotations

from dataclasses import replace

from ..affine import canonical
from ..expr import Buffer, Expr, Load, Var, const, index
from ..kernel import Alloc, Any, Copy, For, Let, Monoid, Serial, Stmt, Store, Tree, Vector
from ..scalar import apply
from ..targets.base import Features
from .contraction import (
    Contraction,
    Items,
    Tiled,
    base_of,
    based,
    let,
    number,
)
from .operands import element, filled, placed, strided
from .rewrite import substitute

__all__ = ["sums_over_lanes", "turned"]

NARROW = 6
"""Up to so many columns a sum over lanes can be faster than a register tile."""
TOGETHER = 4
"""Rows whose sums run side by side: they share what is loaded of the narrow operand."""
BLOCK = 64
"""Rows of an item; as many sums are kept before what follows them runs, in vectors."""


def _swapped(c: Contraction) -> Contraction:
    """The same sums with rows and columns changed: ``c.T = b.T @ a.T``."""
    return replace(c, rows=c.columns, columns=c.rows, a=c.b.turned, b=c.a.turned)


def _known_rows(c: Contraction, size: int) -> Contraction:
    """The contraction with a number of rows that is known."""
    if isinstance(c.rows.extent, int):
        return c
    return replace(c, rows=replace(c.rows, extent=size))


def turned(c: Contraction, size: int) -> Contraction:
    """The contraction with vectors along its rows, where those lie along memory and are many."""
    rows, columns = number(_known_rows(c, size).rows.extent), number(c.columns.extent)
    # A tile reads the rows where they lie.
    if c.b.computed is not None:
        return c
    if columns <= NARROW and columns < rows and c.a.row == 1 and c.a.column != 1:
        return _swapped(_known_rows(c, size))
    return c


def sums_over_lanes(c: Contraction, size: int, target: Features) -> Tiled | None:
    """The mapped form with sums over lanes, or None where a register tile is faster."""
    c = _known_rows(c, size)
    if number(c.rows.extent) < number(c.columns.extent):
        c = _swapped(c)
    rows, columns = number(c.rows.extent), number(c.columns.extent)
    lanes = target.lanes(c.acc.dtype)
    if c.a.column != 1 or not _pays(columns, c.depth, lanes) or not _packable(c, target):
        return None
    batch = 1
    for f in c.batch:
        batch *= size if isinstance(f.extent, Var) else number(f.extent)
    blocks = -(-rows // BLOCK)
    items = Items(c, blocks, 1)
    row0 = items.let("row0", canonical(apply("mul", items.block, index(BLOCK))))
    items.bind_batch()
    body = items.loop(_item(c, row0, items.values, lanes))
    cost = 2.0 * min(BLOCK, rows) * columns * (c.depth / lanes + lanes)
    # Few columns wait for the rows to come from memory.
    cost = max(cost, 1.0 * min(BLOCK, rows) * c.depth * c.a.itemsize)
    return Tiled(body, batch * blocks, cost)


def _pays(columns: int, depth: int, lanes: int) -> bool:
    """Whether sums over lanes take fewer cycles than a tile whose lanes are mostly idle.

    A sum takes two operations for each vector and about ten cycles for its tree; the tile about
    half a cycle for each step.
    """
    return columns <= NARROW and columns * (depth / lanes + 10) < 0.54 * depth


def _packable(c: Contraction, target: Features) -> bool:
    """Whether the narrow operand lies along memory, or may be copied so."""
    depth_bytes = c.depth * c.acc.dtype.itemsize * number(c.columns.extent)
    return c.b.row == 1 or (depth_bytes <= target.l2_bytes // 2)


def _item(c: Contraction, row0: Expr, values: dict[Var, Expr], lanes: int) -> tuple[Stmt, ...]:
    """A block of rows: their sums, and then what follows each of them, in vectors."""
    columns = number(c.columns.extent)
    statements: list[Stmt] = []
    b_base = base_of(c.b, values)
    source = strided(c.b.buffer, (c.b.row, c.b.column))
    narrow: tuple[Buffer, Expr] = (source, b_base)
    if c.b.row != 1 or c.b.computed is not None:
        panel = Buffer("panel", c.acc.dtype, (columns, c.depth), space="chunk")
        statements.append(Alloc(panel))
        if c.b.computed is not None:
            box = (index(0), index(0), columns, c.depth)
            statements += filled(c.b.turned, panel, index(0), box, values, lanes)
        else:
            whole = (index(columns), index(c.depth))
            statements.append(Copy(panel, source, (b_base, index(0), index(0)), 2, 1, *whole))
        narrow = (strided(panel, (1, c.depth)), index(0))
    sums = Buffer("sums", c.acc.dtype, (columns, BLOCK), space="tile")
    left = apply("sub", index(number(c.rows.extent)), row0)
    count = let(statements, "rows", canonical(apply("minimum", index(BLOCK), left)))
    together = min(TOGETHER, number(c.rows.extent))
    group = Var("t")
    groups = apply("divtrunc", apply("add", count, index(together - 1)), index(together))
    statements += [
        Alloc(sums),
        For(
            group,
            canonical(groups),
            Serial(),
            _group(c, row0, group, together, sums, narrow, values, lanes),
        ),
        *_after(c, row0, count, sums, values, lanes),
    ]
    return tuple(statements)


def _group(
    c: Contraction,
    row0: Expr,
    group: Var,
    together: int,
    sums: Buffer,
    narrow: tuple[Buffer, Expr],
    values: dict[Var, Expr],
    lanes: int,
) -> tuple[Stmt, ...]:
    """The sums of some rows with every column; a row outside repeats the last one."""
    k = Var("k", extent=c.depth)
    columns = number(c.columns.extent)
    right, start = narrow
    statements: list[Stmt] = []
    a_base = based(statements, c.a, values)
    carry: list[tuple[Var, Expr]] = []
    following: list[Expr] = []
    body: list[Stmt] = []
    stores: list[Stmt] = []
    first = apply("mul", group, index(together))
    for q in range(together):
        place = canonical(apply("add", first, index(q)))
        row = apply("minimum", apply("add", row0, place), index(number(c.rows.extent) - 1))
        name = let(statements, f"r{q}", canonical(row))
        large = c.a.element(a_base, name, k, values, c.acc.dtype)
        if c.a.computed is not None:
            (before, inside), large = placed(large, [k], f"e{q}")
            statements += before
            body += inside
            named = Var(f"e{q}", large.dtype)
            body.append(Let(named, large))
            large = named
        for j in range(columns):
            total = Var(f"s{q}_{j}", c.acc.dtype)
            carry.append((total, const(0, c.acc.dtype)))
            small = element(Load(right, (start, k, index(j))), c.acc.dtype)
            following.append(apply("mul", large, small))
            stores.append(Store(sums, (index(j), place), total))
    # Enough sums in flight to hide the latency of an addition.
    unroll = max(1, min(8 // len(carry), -(-c.depth // lanes)))
    order = Tree((Monoid.SUM,) * len(carry))
    mapping = Vector(lanes, unroll)
    reduction = For(k, c.depth, order, tuple(body), tuple(carry), tuple(following), mapping)
    return (*statements, reduction, *stores)


def _after(
    c: Contraction,
    row0: Expr,
    count: Expr,
    sums: Buffer,
    values: dict[Var, Expr],
    lanes: int,
) -> tuple[Stmt, ...]:
    """What follows each sum, a column after the other, in vectors of rows."""
    j, r = Var("v"), Var("r", extent=BLOCK)
    at = {**values, c.rows.var: apply("add", row0, r), c.columns.var: j}
    inner = (Let(c.acc, Load(sums, (j, r))), *substitute(c.after, at))
    rows = For(r, count, Any(), inner, mapping=Vector(lanes, 1))
    return (For(j, c.columns.extent, Serial(), (rows,)),)
