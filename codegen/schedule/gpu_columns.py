"""Sums down the columns of a matrix on a GPU: a block has 32 columns, its warps share the rows.

Holds the choice of when that pays; knows no launches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..affine import canonical
from ..expr import Buffer, Const, Expr, Load, Var, index
from ..kernel import Alloc, Any, Dealt, For, Grid, Kernel, Let, Stmt, Store, Sync, Team, Tree
from ..scalar import apply
from .gpu_rewrite import flattened, identities, known, own_variables, total_of
from .rewrite import substitute

__all__ = ["column_blocks"]

LANES = 32
LEAST = 64
"""Rows from which on they are shared by warps."""
BUSY = 1 << 16
"""So many columns keep a GPU busy with a thread for each."""


def column_blocks(
    kernel: Kernel,
    before: Sequence[Stmt],
    chain: Sequence[For],
    body: Sequence[Stmt],
    size: int,
) -> Kernel | None:
    """The mapped form of one reduction for each item, consecutive items side by side; or None."""
    trees = [s for s in body if isinstance(s, For)]
    if (
        len(trees) != 1
        or not isinstance(trees[0].order, Tree)
        or not isinstance(trees[0].extent, int)
    ):
        return None
    tree = trees[0]
    position = list(body).index(tree)
    plain = all(isinstance(s, Let) for s in (*tree.body, *body[:position]))
    simple = all(isinstance(s, (Let, Store)) for s in body[position + 1 :])
    items = math.prod(f.extent if isinstance(f.extent, int) else size for f in chain)
    rows = known(tree.extent) or 0
    if not plain or not simple or rows < LEAST or items >= BUSY:
        return None
    warps = 32 if rows >= 1024 else 8
    total = total_of([f.extent for f in chain])
    count = canonical(apply("divtrunc", apply("add", total, index(LANES - 1)), index(LANES)))
    extent = int(count.value) if isinstance(count, Const) else count
    block = Var("block", extent=extent if isinstance(extent, int) else None)
    first = canonical(apply("mul", block, index(LANES)))
    parts = [
        Buffer(f"{v.name}_parts", v.dtype, (warps, LANES), space="shared") for v, _ in tree.carry
    ]
    own = _rows(tree, chain, body[:position], parts, warps, (first, total))
    last = _columns(tree, chain, body, parts, warps, (first, total))
    inside = (*(Alloc(b) for b in parts), own, Sync(), last)
    grid = Grid(warps * LANES, Team.BLOCK)
    loop = For(block, extent, Any(), inside, mapping=grid)
    return replace(kernel, body=(*before, loop), finish=())


def _rows(
    tree: For,
    chain: Sequence[For],
    ahead: Sequence[Stmt],
    parts: Sequence[Buffer],
    warps: int,
    place: tuple[Expr, Expr],
) -> Stmt:
    """Every thread sums a part of the rows of its column; past the last column, of that one."""
    assert isinstance(tree.order, Tree)
    assert isinstance(tree.extent, int)
    first, total = place
    thread = Var("thread", extent=warps * LANES)
    lane, warp = (canonical(apply(op, thread, index(LANES))) for op in ("remtrunc", "divtrunc"))
    column = apply("minimum", canonical(apply("add", first, lane)), apply("sub", total, index(1)))
    number = Var("round")
    row = canonical(apply("add", apply("mul", number, index(warps)), warp))
    left = apply("add", apply("sub", index(tree.extent), warp), index(warps - 1))
    rounds = canonical(apply("divtrunc", left, index(warps)))
    results = [Var(v.name, v.dtype) for v, _ in tree.carry]
    starts = identities(tree.order.monoids, results)
    carry = tuple(zip(results, starts, strict=True))
    at = {**flattened(column, chain), tree.var: row}
    loop = For(number, rounds, tree.order, tree.body, carry, tree.next)
    moved = substitute((*ahead, loop), at)
    stores = [Store(b, (warp, lane), v) for b, v in zip(parts, results, strict=True)]
    body = (*own_variables(moved), *stores)
    return For(thread, warps * LANES, Any(), body, mapping=Dealt(Team.BLOCK))


def _columns(
    tree: For,
    chain: Sequence[For],
    body: Sequence[Stmt],
    parts: Sequence[Buffer],
    warps: int,
    place: tuple[Expr, Expr],
) -> Stmt:
    """The parts of each column in their order, and what follows."""
    first, total = place
    lane, warp = Var("lane", extent=LANES), Var("warp", extent=warps)
    following = tuple(Load(b, (warp, lane)) for b in parts)
    joined = replace(tree, var=warp, extent=warps, body=(), next=following)
    at = flattened(canonical(apply("add", first, lane)), chain)
    inside = substitute([joined if s is tree else s for s in body], at)
    extent = apply("minimum", index(LANES), apply("sub", total, first))
    return For(lane, extent, Any(), inside, mapping=Dealt(Team.BLOCK))
