"""Loops over independent columns moved outside of loops in order: threads share the columns.

Knows the kernel language; knows no machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..affine import linear, upper_bound
from ..expr import Apply, Buffer, Expr, Extent, Var
from ..kernel import Any, For, If, Let, Serial, Stmt, Store, nested
from ..scalar import apply
from .gpu_rewrite import as_expr, independent_loops, own_variables
from .rewrite import each_access, substitute

__all__ = ["columns_outside"]


def columns_outside(top: For) -> For:
    """One loop over columns for several that stand in loops in order, or `top` as it is.

    ``for c any { A(c) }  for k serial { for c any { B(k, c) } }`` in independent loops is
    ``for c any { A(c)  for k serial { B(k, c) } }`` where no column touches what another one does.
    """
    chain, _ = independent_loops(top)
    body = chain[-1].body
    loops = [s for s in body if isinstance(s, For)]
    if len(loops) < 2 or any(not isinstance(s, (For, Let)) for s in body):
        return top
    if not any(isinstance(s.order, Serial) for s in loops):
        return top
    columns = [_columns(s) for s in loops]
    first = columns[0]
    if first is None or any(c is None or c.extent is not first.extent for c in columns):
        return top
    most = _most(first.extent)
    if most >= 1 << 31:
        return top
    column = Var(first.var.name, extent=most)
    inside: tuple[Stmt, ...] = tuple(
        x for s in body for x in (_without(s, column) if isinstance(s, For) else (s,))
    )
    inside = own_variables(inside)
    if not _apart(column, inside):
        return top
    if not isinstance(first.extent, int):
        inside = (If(apply("lt", column, as_expr(first.extent)), inside),)
    result = For(column, most, Any(), inside)
    for f in reversed(chain):
        result = replace(f, body=(*_lets(f, chain), result))
    return result


def _most(extent: Extent | Expr) -> int:
    """The largest value of an extent."""
    e = as_expr(extent)
    if isinstance(e, Apply) and e.op == "minimum":
        return min(map(_most, e.args))
    return upper_bound(e)


def _lets(f: For, chain: Sequence[For]) -> tuple[Stmt, ...]:
    """The lets of a loop; those of the innermost one are inside already."""
    if f is chain[-1]:
        return ()
    return tuple(s for s in f.body if isinstance(s, Let))


def _columns(s: For) -> For | None:
    """The loop over columns in loops in order, with nothing but lets beside it."""
    while isinstance(s.order, Serial):
        inside = [x for x in s.body if not isinstance(x, Let)]
        only = inside[0] if len(inside) == 1 else None
        if s.carry or not isinstance(only, For):
            return None
        s = only
    return s if isinstance(s.order, Any) and not s.carry else None


def _without(s: For, column: Var) -> tuple[Stmt, ...]:
    """What the loop over columns does for one of them."""
    if isinstance(s.order, Any):
        return substitute(s.body, {s.var: column})
    body = tuple(x for y in s.body for x in (_without(y, column) if isinstance(y, For) else (y,)))
    return (replace(s, body=body),)


def _apart(column: Var, body: Sequence[Stmt]) -> bool:
    """Whether each column touches, of what is written, places of its own alone."""
    written = {s.buffer for s in nested(body) if isinstance(s, Store)}
    places: dict[Buffer, set[tuple[int, Expr]]] = {}

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        if buffer in written:
            own = {(n, i) for n, i in enumerate(indices) if _moves(i, column)}
            places[buffer] = places.get(buffer, own) & own

    each_access(body, visit)
    return all(places.values())


def _moves(index: Expr, column: Var) -> bool:
    """Whether an index is another one for each column."""
    return any(atom is column and factor for atom, factor in linear(index).terms)
