"""Products that the threads of a warp compute together, written out as loops.

Knows the meaning of `mma`; knows no targets.
"""

from __future__ import annotations

from .dtypes import float32
from .expr import Expr, Load, Var, index
from .kernel import Any, For, Mma, Serial, Stmt, Store
from .scalar import apply
from .scalar_build import cast

__all__ = ["COLUMNS", "ROWS", "STEPS", "mma_element", "mma_loops"]

ROWS, COLUMNS, STEPS = 16, 8, 16
"""Of one tile."""
_WARP = 32


def _add(*terms: Expr) -> Expr:
    total = terms[0]
    for term in terms[1:]:
        total = apply("add", total, term)
    return total


def _part(op: str, value: Expr, by: int, times: int = 1) -> Expr:
    return apply("mul", apply(op, value, index(by)), index(times))


def mma_element(thread: Expr, m: Expr, n: Expr, c: Expr) -> tuple[Expr, Expr]:
    """The row and the column of an element of a thread, from where its warp begins."""
    lane = apply("remtrunc", thread, index(_WARP))
    row = _add(_part("mul", m, ROWS), _part("divtrunc", lane, 4), _part("divtrunc", c, 2, 8))
    column = _add(_part("mul", n, COLUMNS), _part("remtrunc", lane, 4, 2), _part("remtrunc", c, 2))
    return row, column


def mma_loops(s: Mma) -> tuple[Stmt, ...]:
    """Loops over the elements of one thread, each with its sum in order."""
    m, n, c, k = Var("m"), Var("n"), Var("c"), Var("k", extent=STEPS)
    row, column = mma_element(s.thread, m, n, c)
    step = _add(s.step, k)
    a = cast(Load(s.left, (_add(s.row, row), step)), float32)
    b = cast(Load(s.right, (_add(s.column, column), step)), float32)
    place = (s.thread, m, n, c)
    body: Stmt = Store(s.acc, place, apply("fma", a, b, Load(s.acc, place)))
    body = For(k, STEPS, Serial(), (body,))
    for var, extent in zip((c, n, m), s.acc.shape[:0:-1], strict=True):
        body = For(var, extent, Any(), (body,))
    return (body,)
