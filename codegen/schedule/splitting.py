"""Splitting of loops where their body changes: concatenations and padding without selecting.

Knows the kernel language; knows no machine. The order of evaluation changes, no value does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from ..affine import canonical, linear
from ..dtypes import bool_, int64
from ..expr import Apply, Const, Expr, Load, Var, const, index, walk
from ..kernel import Any, For, If, Kernel, Let, Stmt, Store, nested
from ..scalar import apply
from ..varying import likely
from .rewrite import expressions, substitute

__all__ = ["outermost_pieces", "split_ranges"]

MOST_PIECES: Final = 8
MOST_STATEMENTS: Final = 600
"""Of all pieces of a loop together: they take time to compile."""

LONG: Final = 64
"""Rows of so many elements are worth a branch."""

SHUFFLED: Final = 16
"""Quotients and rests of so few iterations are patterns of lanes: what they read is shuffled."""

Bounds = tuple[float, float]
_COMPARED: dict[str, Callable[[Bounds], bool | None]] = {
    # What the bounds of a - b say about the comparison of a with b.
    "lt": lambda r: True if r[1] < 0 else False if r[0] >= 0 else None,
    "le": lambda r: True if r[1] <= 0 else False if r[0] > 0 else None,
    "gt": lambda r: True if r[0] > 0 else False if r[1] <= 0 else None,
    "ge": lambda r: True if r[0] >= 0 else False if r[1] < 0 else None,
    "eq": lambda r: True if r == (0, 0) else False if r[0] > 0 or r[1] < 0 else None,
    "ne": lambda r: False if r == (0, 0) else True if r[0] > 0 or r[1] < 0 else None,
}


def split_ranges(kernel: Kernel) -> Kernel:
    """`kernel`, its innermost parallel loops cut where an index comparison in them is decided.

    What a concatenation selects by the index is then read where it lies, by a loop of its own.
    """
    body = tuple(
        replace(s, body=_inside(_chosen(s).body)) if isinstance(s, For) else s for s in kernel.body
    )
    same = all(a is b for a, b in zip(body, kernel.body, strict=True))
    return kernel if same else replace(kernel, body=body)


def _inside(statements: Sequence[Stmt]) -> tuple[Stmt, ...]:
    result: list[Stmt] = []
    for s in statements:
        if isinstance(s, If):
            result.append(replace(s, then=_inside(s.then)))
        elif not isinstance(s, For):
            result.append(s)
        else:
            for piece in _pieces(s):
                around = any(isinstance(x, For) for x in piece.body)
                if around:
                    result.append(replace(piece, body=_inside(piece.body)))
                elif piece.extent == 1 and piece is not s and _is_few(s):
                    # Vectors run along the loop around it.
                    result += _folded(piece.body, {piece.var: index(0)})
                else:
                    result.append(piece)
    return tuple(result)


def _is_plain(loop: For) -> bool:
    """Whether nothing but independent iterations, values and stores is in it."""
    return isinstance(loop.order, Any) and all(
        isinstance(s, (Let, Store)) or (isinstance(s, For) and _is_plain(s)) for s in loop.body
    )


def _is_few(loop: For) -> bool:
    return isinstance(loop.extent, int) and loop.extent <= SHUFFLED


def _too_much(loop: For, count: int) -> bool:
    return count > MOST_PIECES or count * sum(1 for _ in nested(loop.body)) > MOST_STATEMENTS


def _chosen(loop: For) -> For:
    """A loop that is dealt to threads, with rows that asks once what it reads.

    Each iteration has a branch for each piece of the loop in which no comparison of its variable
    changes.
    """
    rows = [s for s in loop.body if isinstance(s, For)]
    long = all(isinstance(s.extent, int) and likely(s.extent) >= LONG for s in rows)
    if not rows or not long or not _is_plain(loop):
        return loop
    points = sorted(_points(loop))
    if not points or _too_much(loop, len(points) + 1):
        return loop
    branches: list[Stmt] = []
    for low, high in zip([0, *points], [*points, None], strict=True):
        place = Var(loop.var.name, extent=loop.var.extent if high is None else high - low)
        body = _folded(loop.body, {loop.var: apply("add", place, index(low))})
        tests = [apply("ge", loop.var, index(low))] if low else []
        tests += [apply("lt", loop.var, index(high))] if high is not None else []
        then = substitute(body, {place: apply("sub", loop.var, index(low))})
        branches.append(If(tests[0] if len(tests) == 1 else apply("and", *tests), then))
    return replace(loop, body=tuple(branches))


def _pieces(loop: For) -> list[For]:
    """The loop, or the loops that it is cut into."""
    if not _is_plain(loop) or not isinstance(loop.extent, int):
        return [loop]
    points = sorted(_points(loop))
    count = len(points) + 1
    if not points or _too_much(loop, count):
        around = any(isinstance(s, For) for s in loop.body)
        return [loop] if points or around else [_tiled(loop)]
    result: list[For] = []
    for start, stop in zip([0, *points], [*points, loop.extent], strict=True):
        var = Var(loop.var.name, extent=stop - start)
        at = var if not start else apply("add", var, index(start))
        result += _pieces(For(var, stop - start, Any(), _folded(loop.body, {loop.var: at})))
    return result


def outermost_pieces(loop: For, start: Expr, length: int) -> tuple[For, ...] | None:
    """What a loop that is dealt to threads does from `start` on, `length` times or to its end.

    One loop for each piece of it in which no comparison of its variable changes, or None where
    there is one piece, or too many of them.
    """
    plain = isinstance(loop.order, Any) and all(isinstance(s, (Let, Store)) for s in loop.body)
    points = sorted(_points(loop)) if plain else []
    count = len(points) + 1
    if count == 1 or count > MOST_PIECES or count * len(loop.body) > MOST_STATEMENTS:
        return None
    total = index(loop.extent) if isinstance(loop.extent, int) else loop.extent
    stop = apply("minimum", apply("add", start, index(length)), total)
    result: list[For] = []
    for low, high in zip([0, *points], [*points, None], strict=True):
        place = Var(loop.var.name, extent=loop.var.extent if high is None else high - low)
        body = _folded(loop.body, {loop.var: apply("add", place, index(low))})
        first = apply("maximum", start, index(low)) if low else start
        last = stop if high is None else apply("minimum", stop, index(high))
        var = Var(loop.var.name)
        here = apply("add", apply("sub", first, index(low)), var)
        extent = apply("maximum", apply("sub", last, first), index(0))
        result.append(For(var, extent, Any(), substitute(body, {place: here})))
    return tuple(result)


def _points(loop: For) -> set[int]:
    """Where the loop is cut: a comparison of its variable with a number changes there."""
    end = loop.extent if isinstance(loop.extent, int) else math.inf
    found: set[int] = set()
    limits: set[int] = set()
    seen: set[Expr] = set()
    for s in nested(loop.body):
        for expr in expressions(s):
            for e in walk(expr):
                if e in seen or not isinstance(e, Apply) or e.args[0].dtype is not int64:
                    continue
                seen.add(e)
                if e.op in _COMPARED:
                    found |= _changes(e, loop.var)
                elif e.op in ("minimum", "maximum"):
                    limits |= _changes(e, loop.var)
    # Where both are equal either will do, so these may be cut one further.
    found |= {p for p in limits if p not in found and p + 1 not in found}
    return {p for p in found if 0 < p < end}


def _changes(e: Apply, var: Var) -> set[int]:
    """Where ``e`` changes if it compares `var` with a number."""
    form = linear(apply("sub", *e.args))
    if len(form.terms) != 1 or form.terms[0][0] is not var or abs(form.terms[0][1]) != 1:
        return set()
    # The difference is zero at this value; on which side it belongs depends on the comparison.
    zero = -form.constant * form.terms[0][1]
    rising = form.terms[0][1] > 0
    if e.op in ("eq", "ne"):
        return {zero, zero + 1}
    if e.op in ("le", "gt"):
        return {zero + 1 if rising else zero}
    if e.op in ("lt", "ge"):
        return {zero if rising else zero + 1}
    return {zero}


# --- folding --------------------------------------------------------------------------------------


def _folded(body: Sequence[Stmt], values: Mapping[Expr, Expr]) -> tuple[Stmt, ...]:
    """The statements with variables replaced; what is decided is folded, the unused left out."""
    known: dict[Expr, Expr] = dict(values)
    result: list[Stmt] = []
    for s in body:
        (moved,) = substitute([s], known)
        memo: dict[Expr, Expr] = {}
        if isinstance(moved, Let):
            value = _fold(moved.value, memo)
            if isinstance(value, (Const, Var)):
                known[moved.var] = value
                continue
            var = Var(moved.var.name, moved.var.dtype)
            known[moved.var] = var
            result.append(Let(var, value))
        elif isinstance(moved, For):
            result.append(replace(moved, body=_folded(moved.body, {})))
        else:
            assert isinstance(moved, Store)
            indices = tuple(_fold(i, memo) for i in moved.indices)
            result.append(replace(moved, indices=indices, value=_fold(moved.value, memo)))
    return _needed(result)


def _needed(body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    used: set[Expr] = set()
    kept: list[Stmt] = []
    for s in reversed(body):
        if isinstance(s, Let) and s.var not in used:
            continue
        kept.append(s)
        for inside in nested([s]):
            for expr in expressions(inside):
                used.update(e for e in walk(expr) if isinstance(e, Var))
    return tuple(reversed(kept))


def _fold(expr: Expr, memo: dict[Expr, Expr]) -> Expr:
    """`expr` without what the ranges of its variables decide."""
    if expr not in memo:
        memo[expr] = _fold_once(expr, memo)
    return memo[expr]


def _fold_once(expr: Expr, memo: dict[Expr, Expr]) -> Expr:
    if isinstance(expr, Load):
        return Load(expr.buffer, [canonical(_fold(i, memo)) for i in expr.indices])
    if not isinstance(expr, Apply):
        return expr
    args = [_fold(a, memo) for a in expr.args]
    if expr.op in _COMPARED and args[0].dtype is int64:
        decided = _COMPARED[expr.op](_bounds(args))
        if decided is not None:
            return const(decided, bool_)
    elif expr.op in ("minimum", "maximum") and expr.dtype is int64:
        low, high = _bounds(args)
        if high <= 0 or low >= 0:
            return args[(high <= 0) == (expr.op == "maximum")]
    elif expr.op == "select" and isinstance(args[0], Const):
        return args[1] if args[0].value else args[2]
    elif expr.op in ("and", "or") and expr.dtype is bool_:
        for one, other in (args, args[::-1]):
            if isinstance(one, Const):
                return other if bool(one.value) == (expr.op == "and") else one
    made = Apply(expr.op, args, expr.dtype)
    return canonical(made) if expr.dtype is int64 else made


def _bounds(args: Sequence[Expr]) -> Bounds:
    """The least and the greatest value of a difference."""
    form = linear(apply("sub", args[0], args[1]))
    low = high = float(form.constant)
    for atom, factor in form.terms:
        if not isinstance(atom, Var) or atom.extent is None:
            return -math.inf, math.inf
        end = factor * (atom.extent - 1 if isinstance(atom.extent, int) else math.inf)
        low, high = low + min(end, 0), high + max(end, 0)
    return low, high


# --- quotients ------------------------------------------------------------------------------------


def _tiled(loop: For) -> For:
    """The loop as two, if its quotients and remainders by one divisor are affine then."""
    assert isinstance(loop.extent, int)
    if _is_few(loop):
        return loop
    divisors = {
        _number(e.args[1])
        for s in loop.body
        for expr in expressions(s)
        for e in walk(expr)
        if _divides(e, loop.var) and isinstance(e, Apply) and isinstance(e.args[1], Const)
    }
    # One that varies is a divisor of its own, not what it is equal to.
    width = divisors.pop() if len(divisors) == 1 else math.gcd(*divisors) if divisors else 0
    if width < 2 or width >= loop.extent or loop.extent % width:
        return loop
    outer = Var(loop.var.name, extent=loop.extent // width)
    inner = Var(loop.var.name, extent=width)
    at = apply("add", apply("mul", outer, index(width)), inner)
    body = _folded(loop.body, {loop.var: at})
    left = (e for s in body for expr in expressions(s) for e in walk(expr))
    if any(_divides(e, inner) for e in left):
        return loop
    return For(outer, loop.extent // width, Any(), (For(inner, width, Any(), body),))


def _number(e: Const) -> int:
    return e.value if isinstance(e.value, int) else int(e.value)


def _divides(e: Expr, var: Var) -> bool:
    return (
        isinstance(e, Apply)
        and e.op in ("divtrunc", "remtrunc")
        and e.dtype is int64
        and any(x is var for x in walk(e.args[0]))
    )
