"""The schedule of reductions down few columns: as many rows side by side as fill vectors.

Knows the kernel language; depends on extents and lanes alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, final

from ..affine import canonical
from ..dtypes import int64
from ..expr import Buffer, Expr, Load, Var, index
from ..kernel import Alloc, Any, For, Kernel, Let, Role, Serial, Stmt, Store
from ..records import dataclass
from ..scalar import apply
from .rewrite import each_access, stride_of, substitute

__all__ = ["RowBlocks", "narrow_columns"]

MOST_COLUMNS: Final = 32
VECTORS: Final = 8
"""Accumulators that depend on none before them, at least."""
ELEMENTS: Final = 1 << 13
"""Of an item."""


@final
@dataclass(frozen=True)
class RowBlocks:
    """The loop over blocks of rows, and how many rows such a block has."""

    block: Var
    rows: int
    body: tuple[Stmt, ...]


def narrow_columns(
    kernel: Kernel, top: For, lanes: int, identity: Callable[[Store], Expr]
) -> RowBlocks | None:
    """Rows of few columns that are only reduced, or None where `top` is something else.

    Element `v` of a group of rows is column ``v % columns``: groups are read as they lie in memory
    and added up by element, the columns of the sums at the end.
    """
    inner = top.body[0] if len(top.body) == 1 else None
    if not isinstance(inner, For) or not isinstance(inner.order, Any):
        return None
    columns = inner.extent
    if not isinstance(columns, int) or columns > MOST_COLUMNS or columns % lanes == 0:
        return None
    partial = {p.buffer for p in kernel.params if p.role is Role.PARTIAL}
    stores = [s for s in inner.body if isinstance(s, Store)]
    lets = [s for s in inner.body if isinstance(s, Let)]
    if len(stores) + len(lets) != len(inner.body) or not stores:
        return None
    if any(s.buffer not in partial or s.indices != (inner.var,) for s in stores):
        return None
    if not _dense(top.var, inner, columns):
        return None
    fill = lanes // math.gcd(columns, lanes)
    together = fill * max(1, -(-VECTORS * lanes // (fill * columns)))
    groups = max(1, ELEMENTS // (together * columns))
    return _built(top, inner, columns, together, groups, identity)


def _dense(row: Var, inner: For, columns: int) -> bool:
    """Whether every array is read as it lies in memory, row after row."""
    lets = {s.var: s.value for s in inner.body if isinstance(s, Let)}
    dense = True

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        nonlocal dense
        if not is_store and buffer.space == "param":
            across, along = (stride_of(buffer, indices, v, lets) for v in (row, inner.var))
            dense &= along == 1 and across == columns

    each_access(inner.body, visit)
    return dense


def _built(
    top: For,
    inner: For,
    columns: int,
    together: int,
    groups: int,
    identity: Callable[[Store], Expr],
) -> RowBlocks:
    block, group = Var("block"), Var("group")
    element, extent = Var("v", extent=together * columns), together * columns
    rows = groups * together
    start = canonical(apply("mul", block, index(rows)))
    total = top.extent if isinstance(top.extent, Expr) else index(top.extent)
    count, whole = Var("rows", int64), Var("whole", int64)
    stores = [s for s in inner.body if isinstance(s, Store)]
    sums = [Buffer(f"g{i}", s.value.dtype, (extent,), space="row") for i, s in enumerate(stores)]
    of_store = dict(zip(map(id, stores), sums, strict=True))
    first = apply("add", start, apply("mul", group, index(together)))
    values = {
        top.var: apply("add", first, apply("divtrunc", element, index(columns))),
        inner.var: apply("remtrunc", element, index(columns)),
    }
    added = tuple(
        Store(of_store[id(s)], (element,), s.value, s.monoid) if isinstance(s, Store) else s
        for s in inner.body
    )
    rest, column, turn = Var("rest"), Var("c", extent=columns), Var("turn")
    row = apply("add", apply("add", start, apply("mul", whole, index(together))), rest)
    last = substitute(inner.body, {top.var: row, inner.var: column})
    place = apply("add", apply("mul", turn, index(columns)), column)
    combined = tuple(
        Store(s.buffer, (column,), Load(total_of, (place,)), s.monoid)
        for s, total_of in zip(stores, sums, strict=True)
    )
    left = apply("sub", count, apply("mul", whole, index(together)))
    body: tuple[Stmt, ...] = (
        Let(count, apply("minimum", index(rows), apply("sub", total, start))),
        Let(whole, apply("divtrunc", count, index(together))),
        *(Alloc(b) for b in sums),
        For(
            element,
            extent,
            Any(),
            tuple(Store(b, (element,), identity(s)) for b, s in zip(sums, stores, strict=True)),
        ),
        For(group, whole, Serial(), (For(element, extent, Any(), substitute(added, values)),)),
        For(turn, together, Serial(), (For(column, columns, Any(), combined),)),
        For(rest, left, Serial(), (For(column, columns, Any(), last),)),
    )
    return RowBlocks(block, rows, body)
