"""Loops over neighbours, joined with the loop around them: so that vectors are stored whole.

Knows statements and strides; knows no kernels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..affine import canonical
from ..expr import Apply, Buffer, Expr, Var, index
from ..kernel import Any, For, Let, Stmt, Store
from ..scalar import apply
from .rewrite import each_access, stride_of, substitute

__all__ = ["flattened", "interleaved"]


def interleaved(outer: For, inner: For, lanes: int) -> For | None:
    """Both loops as one where they write neighbouring elements; None where that fills no vectors.

    Lanes read every element of the outer loop as often as the inner one has iterations: that is a
    pattern of numbers only where these divide the lanes.
    """
    few, many = inner.extent, outer.extent
    if not isinstance(few, int) or not isinstance(many, int):
        return None
    if few < 2 or few >= lanes or lanes % few or many * few < lanes:
        return None
    return _joined(outer, inner) if _writes_neighbours(outer, inner, few) else None


def flattened(loop: For) -> For:
    """The loop joined with those inside it that go on where the one before ended, in all memory."""
    inner = [s for s in loop.body if isinstance(s, For)]
    if len(inner) != 1 or len(loop.body) != 1 or not isinstance(loop.extent, int):
        return loop
    inside = flattened(inner[0])
    if not isinstance(inside.extent, int) or not isinstance(inside.order, Any):
        return loop
    few, along = inside.extent, True

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        nonlocal along
        values = {s.var: s.value for s in inside.body if isinstance(s, Let)}
        steps = [stride_of(buffer, indices, f.var, values) for f in (loop, inside)]
        along &= steps in ([few, 1], [0, 0])

    each_access([inside], visit)
    named = any(_names(e, (loop.var, inside.var)) for s in inside.body for e in _values(s))
    if named or not along or not _writes_neighbours(loop, inside, few):
        return loop
    return _joined(loop, inside)


def _values(statement: Stmt) -> tuple[Expr, ...]:
    return (statement.value,) if isinstance(statement, (Let, Store)) else ()


def _names(expr: Expr, variables: Sequence[Var]) -> bool:
    """Whether a value is made of the variables themselves, not only of what lies there."""
    if isinstance(expr, Apply):
        return any(_names(a, variables) for a in expr.args)
    return expr in variables


def _writes_neighbours(outer: For, inner: For, few: int) -> bool:
    """Whether independent iterations write one element after the other."""
    stores = [s for s in inner.body if isinstance(s, Store)]
    plain = all(isinstance(s, (Let, Store)) for s in inner.body)
    if not plain or not stores or not isinstance(outer.order, Any) or inner.carry or outer.carry:
        return False
    values: Mapping[Var, Expr] = {
        s.var: s.value for s in (*outer.body, *inner.body) if isinstance(s, Let)
    }
    return all(
        s.monoid is None
        and [stride_of(s.buffer, s.indices, f.var, values) for f in (outer, inner)] == [few, 1]
        for s in stores
    )


def _joined(outer: For, inner: For) -> For:
    assert isinstance(outer.extent, int)
    assert isinstance(inner.extent, int)
    few, count = inner.extent, outer.extent * inner.extent
    both = Var(outer.var.name, extent=count)
    places: dict[Var, Expr] = {
        outer.var: canonical(apply("divtrunc", both, index(few))),
        inner.var: canonical(apply("remtrunc", both, index(few))),
    }
    lets = [s for s in outer.body if isinstance(s, Let)]
    return For(both, count, Any(), substitute((*lets, *inner.body), places))
