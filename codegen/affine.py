"""Index arithmetic: linear forms over loop variables, with ranges that prove div and mod away.

Knows expressions of int64 that are never negative; knows no loops and no buffers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar, cast, final

from .dtypes import int64
from .expr import Apply, Const, Expr, Var, index, remembered
from .varying import Varying, likely

__all__ = [
    "Linear",
    "canonical",
    "divide",
    "linear",
    "offset",
    "quotient",
    "remainder",
    "simplify",
    "split_index",
    "upper_bound",
]

UNBOUNDED = 1 << 62

F = TypeVar("F", bound=Callable[..., Any])


@final
class Linear(NamedTuple):
    """``constant + sum of coefficient * atom``; an atom is anything that is not linear itself."""

    constant: int
    terms: tuple[tuple[Expr, int], ...]

    def coefficient(self, atom: Expr) -> int:
        """The factor of `atom`, 0 when it does not occur."""
        for term, factor in self.terms:
            if term is atom:
                return factor
        return 0


_ZERO = Linear(0, ())


def _number(constant: Const) -> int:
    value = constant.value
    return value if isinstance(value, int) else int(value)


def _of_forms(function: F) -> F:
    """`function` of a form and numbers, remembered unless some of these vary.

    Equal numbers are one key, and those that vary are not what they are equal to.
    """
    known = remembered(function)

    def call(form: Linear, *numbers: int) -> Any:
        plain = type(form.constant) is not Varying
        for _, factor in form.terms:
            if type(factor) is Varying:
                plain = False
        for number in numbers:
            if type(number) is Varying:
                plain = False
        return known(form, *numbers) if plain else function(form, *numbers)

    return cast("F", call)


# --- expressions to forms -------------------------------------------------------------------------


@remembered
def linear(expr: Expr) -> Linear:
    """The linear form of an int64 expression."""
    if type(expr) is not Apply:
        return _atom(expr)
    constant = 0
    terms: dict[Expr, int] = {}
    stack: list[tuple[Expr, int]] = [(expr, 1)]
    while stack:
        e, factor = stack.pop()
        if type(e) is Const:
            constant += _number(e) * factor
            continue
        if type(e) is Apply and e.dtype is int64:
            if e.op == "add" or e.op == "sub":
                stack.append((e.args[1], factor if e.op == "add" else -factor))
                stack.append((e.args[0], factor))
                continue
            if e.op == "mul":
                a, b = e.args
                if type(b) is Const:
                    stack.append((a, factor * _number(b)))
                    continue
                if type(a) is Const:
                    stack.append((b, factor * _number(a)))
                    continue
        terms[e] = terms.get(e, 0) + factor
    return _collected(constant, terms)


@remembered
def _canonical_form(expr: Expr) -> Linear:
    """The linear form of an int64 expression, whose atoms are canonical."""
    if type(expr) is not Apply or expr.dtype is not int64:
        return _atom(expr)
    op = expr.op
    if op in ("add", "sub", "mul", "divtrunc", "remtrunc"):
        a, b = map(_canonical_form, expr.args)
        if op == "add":
            return _sum(a, b)
        if op == "sub":
            return _sum(a, _scaled(b, -1))
        if op == "mul" and not b.terms:
            return _scaled(a, b.constant)
        if op == "mul" and not a.terms:
            return _scaled(b, a.constant)
        if op == "divtrunc" and not b.terms:
            return _divided(a, b.constant)
        if op == "remtrunc" and not b.terms:
            return _reduced(a, b.constant)
    args = tuple([canonical(a) for a in expr.args])
    return Linear(0, ((Apply(op, args, int64), 1),))


def _atom(expr: Expr) -> Linear:
    return Linear(_number(expr), ()) if type(expr) is Const else Linear(0, ((expr, 1),))


def _collected(constant: int, terms: dict[Expr, int]) -> Linear:
    """The form of a sum: ``d * (x // d) + x % d`` is ``x`` in it."""
    for e in terms:
        if type(e) is Apply and e.op == "remtrunc":
            return _rejoined(constant, terms)
    return Linear(constant, tuple([(e, c) for e, c in terms.items() if c]))


def _rejoined(constant: int, terms: dict[Expr, int]) -> Linear:
    for e, factor in terms.items():
        if not (factor and type(e) is Apply and e.op == "remtrunc" and type(e.args[1]) is Const):
            continue
        divisor = _number(e.args[1])
        whole = quotient(e.args[0], divisor)
        if terms.get(whole, 0) != factor * divisor:
            continue
        inner = linear(e.args[0])
        joined: dict[Expr, int] = {}
        for term, c in terms.items():
            if term is whole:
                # In its place, so that equal sums keep the same order.
                for atom, share in inner.terms:
                    joined[atom] = joined.get(atom, 0) + share * factor
            elif term is not e:
                joined[term] = joined.get(term, 0) + c
        return _rejoined(constant + inner.constant * factor, joined)
    return Linear(constant, tuple([(e, c) for e, c in terms.items() if c]))


def _sum(a: Linear, b: Linear) -> Linear:
    if not b.terms:
        return Linear(a.constant + b.constant, a.terms)
    if not a.terms:
        return Linear(a.constant + b.constant, b.terms)
    terms = dict(a.terms)
    for e, c in b.terms:
        terms[e] = terms.get(e, 0) + c
    return _collected(a.constant + b.constant, terms)


def _scaled(form: Linear, factor: int) -> Linear:
    if factor == 1 == likely(factor):
        return form
    if factor == 0:
        return _ZERO
    return Linear(form.constant * factor, tuple([(e, c * factor) for e, c in form.terms]))


# --- ranges ---------------------------------------------------------------------------------------


@remembered
def upper_bound(expr: Expr) -> int:
    """The largest value that `expr` can have; `UNBOUNDED` when nothing is known."""
    if type(expr) is Var:
        return expr.extent - 1 if isinstance(expr.extent, int) else UNBOUNDED
    if type(expr) is Const:
        return _number(expr)
    if type(expr) is not Apply:
        return UNBOUNDED
    if expr.op == "remtrunc" and type(expr.args[1]) is Const:
        return _number(expr.args[1]) - 1
    if expr.op == "divtrunc" and type(expr.args[1]) is Const:
        bound = upper_bound(expr.args[0])
        return bound if bound >= UNBOUNDED else bound // _number(expr.args[1])
    if expr.op in ("add", "mul", "sub"):
        form = linear(expr)
        if form.terms != ((expr, 1),):
            return _upper(form.constant, form.terms)
    return UNBOUNDED


def _upper(constant: int, terms: Sequence[tuple[Expr, int]]) -> int:
    total = constant
    for e, c in terms:
        if c > 0:
            bound = upper_bound(e)
            if bound >= UNBOUNDED:
                return UNBOUNDED
            total += c * bound
    return total


# --- forms to expressions -------------------------------------------------------------------------


@_of_forms
def _expression(form: Linear) -> Expr:
    result: Expr | None = None
    for e, c in form.terms:
        term = e if c == 1 == likely(c) else Apply("mul", (e, index(c)), int64)
        result = term if result is None else Apply("add", (result, term), int64)
    if result is None:
        return index(form.constant)
    return Apply("add", (result, index(form.constant)), int64) if form.constant else result


def simplify(expr: Expr) -> Expr:
    """`expr` with its linear form rebuilt: sums collected, div and mod rejoined."""
    return _expression(linear(expr)) if type(expr) is Apply else expr


def canonical(expr: Expr) -> Expr:
    """`expr` with every index computation inside it simplified, innermost first."""
    if type(expr) is not Apply or expr.dtype is not int64:
        return expr
    return _expression(_canonical_form(expr))


def offset(indices: Sequence[Expr], strides: Sequence[int]) -> Expr:
    """The canonical form of the sum of `indices`, each times its stride.

    Examples
    --------
    >>> i, j = Var("i", extent=8), Var("j", extent=4)
    >>> offset((i, j), (4, 1))
    add(mul(Var(i), Const(4, i64)), Var(j))
    """
    form = _ZERO
    for i, stride in zip(reversed(indices), reversed(strides), strict=True):
        form = _sum(_scaled(_canonical_form(i), stride), form)
    return _expression(form)


# --- quotients and remainders ---------------------------------------------------------------------


def _apart(form: Linear, divisor: int) -> tuple[Linear, Linear]:
    """The multiples of `divisor` in a form, divided by it, and the other terms."""
    whole, rest = [], []
    for e, c in form.terms:
        if c % divisor:
            rest.append((e, c))
        else:
            whole.append((e, c // divisor))
    quotient, constant = divmod(form.constant, divisor)
    return Linear(quotient, tuple(whole)), Linear(constant, tuple(rest))


@_of_forms
def _split(form: Linear, divisor: int) -> tuple[Linear, Linear] | None:
    """Parts (multiple of `divisor`, rest) when 0 <= rest < `divisor` is proven, else None."""
    whole, rest = _apart(form, divisor)
    for _, c in rest.terms:
        if c < 0:
            return None
    return None if _upper(*rest) >= divisor else (whole, rest)


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
    whole, rest = _apart(form, divisor)
    if not whole.terms or form.constant < 0 or any(c < 0 for _, c in rest.terms):
        return None
    return Linear(0, whole.terms), Linear(form.constant, rest.terms)


@_of_forms
def _divided(form: Linear, divisor: int) -> Linear:
    if divisor == 1:
        if likely(divisor) == 1:
            return form
        return Linear(0, ((quotient(_expression(form), divisor), 1),))
    parts = _split(form, divisor)
    if parts is not None:
        return parts[0]
    coarse = _coarse(form, divisor)
    if coarse is not None:
        factor, whole, _ = coarse
        return _divided(whole, divisor // factor)
    whole, rest = _outside(form, divisor) or (_ZERO, form)
    return _sum(whole, Linear(0, ((quotient(_expression(rest), divisor), 1),)))


def quotient(x: Expr, divisor: int) -> Expr:
    """``x // divisor``, spelled in one way: ``x // a // b`` is ``x // (a * b)``."""
    if type(x) is Apply and x.op == "divtrunc" and type(x.args[1]) is Const:
        return quotient(x.args[0], _number(x.args[1]) * divisor)
    return Apply("divtrunc", (x, index(divisor)), int64)


@_of_forms
def _reduced(form: Linear, divisor: int) -> Linear:
    if divisor == 1:
        if likely(divisor) == 1:
            return _ZERO
        return Linear(0, ((Apply("remtrunc", (_expression(form), index(divisor)), int64), 1),))
    parts = _split(form, divisor)
    if parts is not None:
        return parts[1]
    coarse = _coarse(form, divisor)
    if coarse is not None:
        factor, whole, rest = coarse
        return _sum(_scaled(_reduced(whole, divisor // factor), factor), rest)
    _, rest = _outside(form, divisor) or (_ZERO, form)
    return Linear(0, ((Apply("remtrunc", (_expression(rest), index(divisor)), int64), 1),))


def divide(expr: Expr, divisor: int) -> Expr:
    """``expr // divisor`` for an `expr` that is never negative.

    Examples
    --------
    >>> from fusegrad.codegen.scalar import apply
    >>> i, j = Var("i", extent=8), Var("j", extent=4)
    >>> divide(apply("add", apply("mul", i, index(4)), j), 4) is i
    True
    >>> divide(apply("add", apply("mul", i, index(4)), j), 8) == divide(i, 2)
    True
    """
    return _expression(_divided(linear(expr), divisor))


def remainder(expr: Expr, divisor: int) -> Expr:
    """``expr % divisor`` for an `expr` that is never negative."""
    return _expression(_reduced(linear(expr), divisor))


def split_index(flat: Expr, extents: Sequence[int]) -> tuple[Expr, ...]:
    """The index into axes of `extents` (row-major) of element `flat`; the first is not reduced.

    Examples
    --------
    >>> from fusegrad.codegen.scalar import apply
    >>> i, j = Var("i", extent=8), Var("j", extent=4)
    >>> flat = apply("add", apply("mul", i, index(4)), j)
    >>> split_index(flat, (8, 4)) == (i, j)
    True
    """
    result: list[Expr] = []
    form = linear(flat)
    inner = 1
    first = next((a for a, e in enumerate(extents) if e != 1), 0)
    for axis in range(len(extents) - 1, -1, -1):
        if extents[axis] == 1 and likely(extents[axis]) == 1:
            result.append(index(0))
            continue
        part = _divided(form, inner)
        result.append(_expression(part if axis == first else _reduced(part, extents[axis])))
        inner *= extents[axis]
    return tuple(reversed(result))
