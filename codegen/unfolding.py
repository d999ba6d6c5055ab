"""Windows as a matrix, written out as loops: for targets that have no function for it.

Knows the meaning of `unfold`; knows no targets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .dtypes import bool_
from .expr import Apply, Expr, Load, Var, const, index
from .kernel import Any, For, If, Stmt, Store, Unfold
from .scalar import apply

__all__ = ["digits", "unfold_loops"]


def unfold_loops(s: Unfold) -> tuple[Stmt, ...]:
    """Loops over the matrix: zeros, and where there is an element, that."""
    height, width = (index(e) if isinstance(e, int) else e for e in s.target.shape)
    i, j = Var("i"), Var("j")
    row, column = apply("add", s.first_row, i), apply("add", s.first_column, j)
    rows, columns = digits(row, s.row_extents), digits(column, s.column_extents)
    inside: Expr = Apply("lt", (j, s.columns), bool_)
    places: list[Expr] = [s.offset, rows[0], columns[0]]
    for axis, low in enumerate(s.low):
        at = apply("mul", rows[axis + 1], index(s.row_steps[axis]))
        moved = apply("mul", columns[axis + 1], index(s.column_steps[axis]))
        at = apply("sub", apply("add", at, moved), index(low))
        extent = s.source.shape[axis + 3]
        assert isinstance(extent, int)
        for op, bound in (("ge", 0), ("lt", extent)):
            test = Apply(op, (at, index(bound)), bool_)
            inside = Apply("and", (inside, test), bool_)
        places.append(at)
    zero = Store(s.target, (i, j), const(0, s.target.dtype))
    element = If(inside, (Store(s.target, (i, j), Load(s.source, tuple(places))),))
    inner = For(j, width, Any(), (zero, element))
    return (For(i, apply("minimum", s.rows, height), Any(), (inner,)),)


def digits(value: Expr, extents: Sequence[int]) -> list[Expr]:
    """`value` in row-major order; the first is not reduced."""
    result: list[Expr] = []
    for axis, extent in enumerate(extents):
        part = apply("divtrunc", value, index(math.prod(extents[axis + 1 :])))
        result.append(part if axis == 0 else apply("remtrunc", part, index(extent)))
    return result
