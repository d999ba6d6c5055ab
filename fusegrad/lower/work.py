"""What a lowered kernel computes: how many operations on floats.

Knows kernels; knows no times.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..codegen.expr import Apply, Expr, Extent, Load
from ..codegen.kernel import For, If, Let, Stmt, Store
from .build import Lowered

__all__ = ["operations"]


def operations(lowered: Lowered) -> int:
    """How many operations on floats a kernel computes."""
    kernel = lowered.kernel
    return _counted((*kernel.body, *kernel.finish), lowered.items)


def _counted(statements: Sequence[Stmt], items: int) -> int:
    total = 0
    for s in statements:
        if isinstance(s, For):
            inside = _counted(s.body, items) + sum(map(_floats, s.next))
            inside += sum(1 for _, start in s.carry if start.dtype.is_float)
            total += _trips(s.extent, items) * inside
        elif isinstance(s, If):
            total += _counted(s.then, items)
        elif isinstance(s, (Let, Store)):
            total += _floats(s.value)
    return total


def _trips(extent: Extent | Expr, items: int) -> int:
    return extent if isinstance(extent, int) else items


def _floats(expr: Expr) -> int:
    total = 0
    seen: set[int] = set()
    stack: list[Expr] = [expr]
    while stack:
        e = stack.pop()
        if id(e) in seen:
            continue
        seen.add(id(e))
        if isinstance(e, Apply):
            total += e.dtype.is_float
            stack += e.args
        elif isinstance(e, Load):
            stack += e.indices
    return total
