"""The schedule of short rows that are reduced, and added up with others: rows beside each other.

Vectors run across the rows. What all rows add to one place waits in memory, a block of rows at a
time, and is then summed in vectors too. Depends on extents and lanes alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ..affine import canonical
from ..dtypes import int64
from ..expr import Buffer, Expr, Load, Var, index, walk
from ..kernel import Alloc, Any, For, Kernel, Let, Role, Stmt, Store, Tree
from ..scalar import apply
from .narrow_columns import RowBlocks
from .rewrite import each_access, substitute

__all__ = ["short_rows"]

VECTORS: Final = 8
"""Of rows in a block."""
SHORT: Final = 2
"""Vectors that a row does not fill."""


def short_rows(
    kernel: Kernel, top: For, lanes: int, identity: Callable[[Store], Expr]
) -> RowBlocks | None:
    """Blocks of short rows, or None where `top` is something else.

    Parameters
    ----------
    kernel : Kernel
    top : For
        The loop over rows.
    lanes : int
    identity : callable
        What a store's monoid begins with.
    """
    loops = [s for s in top.body if isinstance(s, For)]
    if not all(isinstance(s, (For, Let, Alloc, Store)) for s in top.body):
        return None
    if not any(isinstance(s.order, Tree) for s in loops):
        return None
    if not all(isinstance(s.extent, int) and s.extent < SHORT * lanes for s in loops):
        return None
    if not all(isinstance(s, (Let, Store)) for f in loops for s in f.body):
        return None
    return _blocks(kernel, top, VECTORS * lanes, identity) if _adds_up(kernel, top) else None


def _adds_up(kernel: Kernel, top: For) -> bool:
    """Whether rows add to some places, and all of these are results of the whole kernel.

    Which places these are, no row decides.
    """
    partial = {p.buffer for p in kernel.params if p.role is Role.PARTIAL}
    bound = {top.var, *(s.var for s in top.body if isinstance(s, Let))}
    adding = False
    for holder in (top, *(s for s in top.body if isinstance(s, For))):
        own = bound | {s.var for s in holder.body if isinstance(s, Let)}
        own |= {var for s in holder.body if isinstance(s, For) for var, _ in s.carry}
        for s in holder.body:
            if not isinstance(s, Store) or s.monoid is None:
                continue
            parts = [e for i in s.indices for e in walk(i)]
            if s.buffer not in partial or any(isinstance(e, Load) or e in own for e in parts):
                return False
            adding = True
    read = False

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        nonlocal read
        read |= not is_store and buffer in partial

    each_access(top.body, visit)
    return adding and not read


def _blocks(kernel: Kernel, top: For, rows: int, identity: Callable[[Store], Expr]) -> RowBlocks:
    block, row, count = Var("block"), Var("r", extent=rows), Var("rows", int64)
    start = canonical(apply("mul", block, index(rows)))
    total = top.extent if isinstance(top.extent, Expr) else index(top.extent)
    waiting = _Waiting(rows, row, count, identity)
    body = tuple(
        replace(s, body=waiting.stored(s.body, s)) if isinstance(s, For) else s
        for s in waiting.stored(top.body, None)
    )
    values = {top.var: apply("add", start, row)}
    made: tuple[Stmt, ...] = (
        Let(count, apply("minimum", index(rows), apply("sub", total, start))),
        *(Alloc(buffer) for buffer in waiting.buffers),
        For(row, count, Any(), substitute(body, values)),
        *waiting.sums,
    )
    return RowBlocks(block, rows, made)


class _Waiting:
    """What the rows of a block add to places of the kernel, kept until all rows are there."""

    def __init__(self, rows: int, row: Var, count: Var, identity: Callable[[Store], Expr]) -> None:
        self.rows, self.row, self.count, self.identity = rows, row, count, identity
        self.buffers: list[Buffer] = []
        self.sums: list[Stmt] = []

    def stored(self, statements: tuple[Stmt, ...], loop: For | None) -> tuple[Stmt, ...]:
        """The statements of a row, or of a loop in it, that store what they would add."""
        result: list[Stmt] = []
        combined: list[Stmt] = []
        column = None if loop is None else Var(loop.var.name, extent=_columns(loop))
        for s in statements:
            if not isinstance(s, Store) or s.monoid is None:
                result.append(s)
                continue
            place = () if loop is None else (loop.var,)
            shape = (self.rows,) if loop is None else (_columns(loop), self.rows)
            buffer = Buffer(f"w{len(self.buffers)}", s.value.dtype, shape, space="row")
            self.buffers.append(buffer)
            result.append(Store(buffer, (*place, self.row), s.value))
            combined += self._combined(s, buffer, loop, column)
        if column is None:
            self.sums += combined
        elif combined:
            assert loop is not None
            self.sums.append(For(column, loop.extent, Any(), tuple(combined)))
        return tuple(result)

    def _combined(
        self, store: Store, buffer: Buffer, loop: For | None, column: Var | None
    ) -> list[Stmt]:
        """What a block adds to a place: a tree over its rows, and then one addition."""
        assert store.monoid is not None
        row, sum_of = Var("r", extent=self.rows), Var("p", store.value.dtype)
        place = () if column is None else (column,)
        tree = For(
            row,
            self.count,
            Tree((store.monoid,)),
            (),
            ((sum_of, self.identity(store)),),
            (Load(buffer, (*place, row)),),
        )
        values: dict[Var, Expr] = {} if loop is None or column is None else {loop.var: column}
        return [tree, *substitute((replace(store, value=sum_of),), values)]


def _columns(loop: For) -> int:
    assert isinstance(loop.extent, int)
    return loop.extent
