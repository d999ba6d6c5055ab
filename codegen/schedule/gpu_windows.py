"""Windows as a matrix, read where they lie: the product with windows as an implicit one.

Knows the kernel language; knows no machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..affine import canonical
from ..dtypes import bool_
from ..expr import Apply, Buffer, Expr, Load, const, index, walk
from ..kernel import Alloc, For, If, Kernel, Stmt, Unfold, nested
from ..scalar import apply
from ..unfolding import digits
from .rewrite import expressions, substitute

__all__ = ["without_windows"]


def without_windows(kernel: Kernel) -> Kernel:
    """`kernel`, each element of an unfolded matrix computed where it is used."""
    unfolds = {s.target: s for s in nested(kernel.body) if isinstance(s, Unfold)}
    if not unfolds:
        return kernel
    return replace(kernel, body=_rewritten(kernel.body, unfolds))


def _rewritten(statements: Sequence[Stmt], unfolds: dict[Buffer, Unfold]) -> tuple[Stmt, ...]:
    result: list[Stmt] = []
    for s in statements:
        if isinstance(s, Unfold) or (isinstance(s, Alloc) and s.buffer in unfolds):
            continue
        if isinstance(s, If):
            s = replace(s, then=_rewritten(s.then, unfolds))
        elif isinstance(s, For):
            s = replace(s, body=_rewritten(s.body, unfolds))
        values: dict[Load, Expr] = {}
        for root in expressions(s):
            for e in walk(root):
                if isinstance(e, Load) and e.buffer in unfolds and e not in values:
                    values[e] = _element(unfolds[e.buffer], *e.indices)
        result += substitute((s,), values) if values else (s,)
    return tuple(result)


def _element(s: Unfold, row: Expr, column: Expr) -> Expr:
    """One element of the matrix: what a window holds there, or zero beyond an edge."""
    rows = digits(apply("add", s.first_row, row), s.row_extents)
    columns = digits(apply("add", s.first_column, column), s.column_extents)
    inside: Expr | None = None
    places: list[Expr] = [s.offset, canonical(rows[0]), canonical(columns[0])]
    for axis, low in enumerate(s.low):
        at = apply("mul", rows[axis + 1], index(s.row_steps[axis]))
        moved = apply("mul", columns[axis + 1], index(s.column_steps[axis]))
        at = canonical(apply("sub", apply("add", at, moved), index(low)))
        extent = s.source.shape[axis + 3]
        assert isinstance(extent, int)
        last = (s.row_extents[axis + 1] - 1) * s.row_steps[axis]
        last += (s.column_extents[axis + 1] - 1) * s.column_steps[axis] - low
        tests = []
        if low > 0:
            tests.append(("ge", 0))
        if last >= extent:
            tests.append(("lt", extent))
        for op, bound in tests:
            test = apply(op, at, index(bound))
            inside = test if inside is None else Apply("and", (inside, test), bool_)
        if tests:
            at = apply("minimum", apply("maximum", at, index(0)), index(max(extent - 1, 0)))
        places.append(at)
    value = Load(s.source, tuple(places))
    if inside is None:
        return value
    return apply("select", inside, value, const(0, s.target.dtype))
