"""The range of a whole number: what loop variables, clamps, remainders and dtypes tell.

Knows expressions; knows no loops and no buffers.
"""

from __future__ import annotations

from typing import TypeAlias

from .dtypes import bool_
from .expr import Apply, Const, Expr, Var, remembered

__all__ = ["Range", "fits", "known_range", "range_of"]

Range: TypeAlias = tuple[int, int]
"""The smallest and the largest value that may occur."""

_KNOWN = frozenset({"add", "sub", "mul", "minimum", "maximum", "divtrunc", "remtrunc"})


@remembered
def range_of(expr: Expr) -> Range:
    """The range of an integer expression.

    Examples
    --------
    >>> from fusegrad.codegen.scalar import apply
    >>> i = Var("i", extent=10)
    >>> range_of(apply("sub", apply("mul", i, Const(3, i.dtype)), Const(1, i.dtype)))
    (-1, 26)
    """
    whole = _of_dtype(expr)
    if type(expr) is Const:
        # What follows from a size of the call may be any other, so that code for all is the same.
        return whole if expr.origin is not None else (int(expr.value), int(expr.value))
    if type(expr) is Var:
        if expr.bounds is not None:
            return expr.bounds
        if type(expr.extent) is int:
            return 0, max(0, expr.extent - 1)
        return (0, whole[1]) if expr.extent is not None else whole
    if type(expr) is not Apply:
        return whole
    found = _of_apply(expr)
    # What leaves the dtype wraps around.
    return found if found is not None and fits(found, whole) else whole


def known_range(expr: Expr) -> Range | None:
    """The range of an expression, None where it is not narrower than its dtype."""
    if not (expr.dtype.is_integer or expr.dtype is bool_):
        return None
    found = range_of(expr)
    return None if found == _of_dtype(expr) else found


def fits(inner: Range, outer: Range) -> bool:
    """Whether one range lies in another."""
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _of_dtype(expr: Expr) -> Range:
    return int(expr.dtype.lowest), int(expr.dtype.highest)


def _of_apply(expr: Apply) -> Range | None:
    op, args = expr.op, expr.args
    if op == "cast":
        given = args[0].dtype
        return range_of(args[0]) if given.is_integer or given is bool_ else None
    if op in ("select", "rare"):
        a, b = range_of(args[1]), range_of(args[2])
        return min(a[0], b[0]), max(a[1], b[1])
    if op not in _KNOWN or not args[0].dtype.is_integer:
        return None
    (low, high), (least, most) = range_of(args[0]), range_of(args[1])
    if op == "add":
        return low + least, high + most
    if op == "sub":
        return low - most, high - least
    if op == "mul":
        corners = (low * least, low * most, high * least, high * most)
        return min(corners), max(corners)
    if op == "minimum":
        return min(low, least), min(high, most)
    if op == "maximum":
        return max(low, least), max(high, most)
    if least <= 0 or low < 0:
        return None
    if op == "divtrunc":
        return low // most, high // least
    return 0, min(high, most - 1)
