"""Index arithmetic: linear forms over loop variables, with ranges that prove div and mod away.

Knows expressions of int64 that are never negative; knows no loops and no buffers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from .dtypes import int64
from .expr import Apply, Const, Expr, Var, index
from .scalar import apply

__all__ = [
    "Linear",
    "canonical",
    "divide",
    "linear",
    "remainder",
    "simplify",
    "split_index",
    "upper_bound",
]

UNBOUNDED = 1 << 62
_known = functools.lru_cache(1 << 16)
"""Of a kernel's many accesses most share their index arithmetic: each is worked out once."""


@final
@dataclass(frozen=True)
class Linear:
    """``constant + sum of coefficient * atom``; an atom is anything that is not linear itself."""

    constant: int
    terms: tuple[tuple[Expr, int], ...]

    def coefficient(self, atom: Expr) -> int:
        """The factor of `atom`, 0 when it does not occur."""
        for term, factor in self.terms:
            if term == atom:
                return factor
        return 0


def _build(constant: int, terms: Mapping[Expr, int]) -> Linear:
    constant += sum(int(e.value) * c for e, c in terms.items() if isinstance(e, Const))
    return Linear(
        constant, tuple((e, c) for e, c in terms.items() if c and not isinstance(e, Const))
    )


@_known
def linear(expr: Expr) -> Linear:
    """The linear form of an int64 expression."""
    constant = 0
    terms: dict[Expr, int] = {}
    stack: list[tuple[Expr, int]] = [(expr, 1)]
    while stack:
        e, factor = stack.pop()
        if isinstance(e, Const):
            constant += int(e.value) * factor
        elif isinstance(e, Apply) and e.op == "add" and e.dtype is int64:
            stack += [(e.args[1], factor), (e.args[0], factor)]
        elif isinstance(e, Apply) and e.op == "sub" and e.dtype is int64:
            stack += [(e.args[1], -factor), (e.args[0], factor)]
        elif isinstance(e, Apply) and e.op == "mul" and isinstance(e.args[1], Const):
            stack.append((e.args[0], factor * int(e.args[1].value)))
        elif isinstance(e, Apply) and e.op == "mul" and isinstance(e.args[0], Const):
            stack.append((e.args[1], factor * int(e.args[0].value)))
        else:
            terms[e] = terms.get(e, 0) + factor
    return _build(constant, _rejoin(terms))


def _rejoin(terms: dict[Expr, int]) -> dict[Expr, int]:
    """``d * (x // d) + x % d`` is ``x``."""
    for e in list(terms):
        if not (isinstance(e, Apply) and e.op == "remtrunc" and isinstance(e.args[1], Const)):
            continue
        divisor = int(e.args[1].value)
        quotient = _quotient(e.args[0], divisor)
        factor = terms.get(e, 0)
        if factor and terms.get(quotient, 0) == factor * divisor:
            inner = linear(e.args[0])
            joined: dict[Expr, int] = {}
            for term, c in terms.items():
                if term == quotient:
                    # In its place, so that equal sums keep the same order.
                    for atom, share in (*inner.terms, (index(inner.constant), 1)):
                        joined[atom] = joined.get(atom, 0) + share * factor
                elif term != e:
                    joined[term] = joined.get(term, 0) + c
            return _rejoin(joined)
    return terms


def _quotient(x: Expr, divisor: int) -> Expr:
    """``x // divisor``, spelled as `divide` spells it: ``x // a // b`` is ``x // (a * b)``."""
    if isinstance(x, Apply) and x.op == "divtrunc" and isinstance(x.args[1], Const):
        return _quotient(x.args[0], int(x.args[1].value) * divisor)
    return Apply("divtrunc", (x, index(divisor)), int64)


@_known
def upper_bound(expr: Expr) -> int:
    """The largest value that `expr` can have; `UNBOUNDED` when nothing is known."""
    if isinstance(expr, Const):
        return int(expr.value)
    if isinstance(expr, Var):
        return expr.extent - 1 if isinstance(expr.extent, int) else UNBOUNDED
    if isinstance(expr, Apply) and expr.op == "remtrunc" and isinstance(expr.args[1], Const):
        return int(expr.args[1].value) - 1
    if isinstance(expr, Apply) and expr.op == "divtrunc" and isinstance(expr.args[1], Const):
        bound = upper_bound(expr.args[0])
        return bound if bound >= UNBOUNDED else bound // int(expr.args[1].value)
    if isinstance(expr, Apply) and expr.op in ("add", "mul", "sub"):
        form = linear(expr)
        if form.terms != ((expr, 1),):
            return _upper(form.constant, form.terms)
    return UNBOUNDED


def _upper(constant: int, terms: tuple[tuple[Expr, int], ...]) -> int:
    total = constant
    for e, c in terms:
        if c > 0:
            bound = upper_bound(e)
            if bound >= UNBOUNDED:
                return UNBOUNDED
            total += c * bound
    return total


def _expression(form: Linear) -> Expr:
    result: Expr | None = None
    for e, c in form.terms:
        term = e if c == 1 else apply("mul", e, index(c))
        result = term if result is None else apply("add", result, term)
    if result is None:
        return index(form.constant)
    if form.constant:
        result = apply("add", result, index(form.constant))
    return result


@_known
def simplify(expr: Expr) -> Expr:
    """`expr` with its linear form rebuilt: sums collected, div and mod rejoined."""
    if isinstance(expr, (Const, Var)):
        return expr
    return _expression(linear(expr))


def _split(form: Linear, divisor: int) -> tuple[Linear, Linear] | None:
    """Parts (multiple of `divisor`, rest) when 0 <= rest < `divisor` is proven, else None."""
    whole = tuple((e, c // divisor) for e, c in form.terms if c % divisor == 0)
    rest = tuple((e, c) for e, c in form.terms if c % divisor != 0)
    quotient, remainder_constant = divmod(form.constant, divisor)
    if any(c < 0 for _, c in rest):
        return None
    if _upper(remainder_constant, rest) >= divisor:
        return None
    return Linear(quotient, whole), Linear(remainder_constant, rest)


def _coarse(form: Linear, divisor: int) -> tuple[int, Linear, Linear] | None:
    """The greatest proper divisor of `divisor` that splits `form`, and the parts."""
    factors = {math.gcd(c, divisor) for _, c in form.terms} - {1, divisor}
    for factor in sorted(factors, reverse=True):
        parts = _split(form, factor)
        if parts is not None:
            return factor, *parts
    return None


def _outside(form: Linear, divisor: int) -> tuple[Linear, Linear] | None:
    """Multiples of `divisor` (divided by it), and a rest that is never negative, if there are both.

    The quotient of the rest may have a bound where that of the whole has none.
    """
    whole = tuple((e, c // divisor) for e, c in form.terms if c % divisor == 0)
    rest = tuple((e, c) for e, c in form.terms if c % divisor != 0)
    if not whole or form.constant < 0 or any(c < 0 for _, c in rest):
        return None
    return Linear(0, whole), Linear(form.constant, rest)


@_known
def divide(expr: Expr, divisor: int) -> Expr:
    """``expr // divisor`` for an `expr` that is never negative.

    Examples
    --------
    >>> i, j = Var("i", extent=8), Var("j", extent=4)
    >>> divide(apply("add", apply("mul", i, index(4)), j), 4) is i
    True
    >>> divide(apply("add", apply("mul", i, index(4)), j), 8) == divide(i, 2)
    True
    """
    if divisor == 1:
        return simplify(expr)
    form = linear(expr)
    parts = _split(form, divisor)
    if parts is not None:
        return _expression(parts[0])
    coarse = _coarse(form, divisor)
    if coarse is not None:
        factor, whole, _ = coarse
        return divide(_expression(whole), divisor // factor)
    outside = _outside(form, divisor)
    if outside is not None:
        quotient = _quotient(_expression(outside[1]), divisor)
        return simplify(apply("add", _expression(outside[0]), quotient))
    return _quotient(_expression(form), divisor)


@_known
def remainder(expr: Expr, divisor: int) -> Expr:
    """``expr % divisor`` for an `expr` that is never negative."""
    if divisor == 1:
        return index(0)
    form = linear(expr)
    parts = _split(form, divisor)
    if parts is not None:
        return _expression(parts[1])
    coarse = _coarse(form, divisor)
    if coarse is not None:
        factor, whole, rest = coarse
        above = apply("mul", remainder(_expression(whole), divisor // factor), index(factor))
        return simplify(apply("add", above, _expression(rest)))
    outside = _outside(form, divisor)
    if outside is not None:
        form = outside[1]
    return apply("remtrunc", _expression(form), index(divisor))


@_known
def canonical(expr: Expr) -> Expr:
    """`expr` with every index computation inside it simplified, innermost first."""
    if isinstance(expr, (Const, Var)) or not isinstance(expr, Apply) or expr.dtype is not int64:
        return expr
    args = [canonical(a) for a in expr.args]
    if expr.op == "divtrunc" and isinstance(args[1], Const):
        return divide(args[0], int(args[1].value))
    if expr.op == "remtrunc" and isinstance(args[1], Const):
        return remainder(args[0], int(args[1].value))
    if expr.op in ("add", "sub", "mul"):
        return simplify(apply(expr.op, *args))
    return Apply(expr.op, args, expr.dtype)


def split_index(flat: Expr, extents: Sequence[int]) -> tuple[Expr, ...]:
    """The index into axes of `extents` (row-major) of element `flat`; the first is not reduced.

    Examples
    --------
    >>> i, j = Var("i", extent=8), Var("j", extent=4)
    >>> flat = apply("add", apply("mul", i, index(4)), j)
    >>> split_index(flat, (8, 4)) == (i, j)
    True
    """
    result: list[Expr] = []
    inner = 1
    first = next((a for a, e in enumerate(extents) if e != 1), 0)
    for axis in range(len(extents) - 1, -1, -1):
        if extents[axis] == 1:
            result.append(index(0))
            continue
        part = divide(flat, inner)
        result.append(part if axis == first else remainder(part, extents[axis]))
        inner *= extents[axis]
    return tuple(reversed(result))
