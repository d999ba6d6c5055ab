"""Shorthand for writing scalar math: primitive rows as functions that take numbers as well.

Knows the primitive rows; knows no approximations and no targets.
"""

from __future__ import annotations

from collections.abc import Sequence

from .dtypes import DType, bool_, float64, int32, int64
from .expr import Const, Expr
from .scalar_primitives import PRIMITIVES, build

__all__ = [
    "Operand",
    "absolute",
    "add",
    "and_",
    "bitcast",
    "cast",
    "div",
    "eq",
    "fma",
    "ge",
    "gt",
    "integer_of",
    "le",
    "lt",
    "make",
    "mul",
    "ne",
    "neg",
    "not_",
    "number",
    "or_",
    "polynomial",
    "rare",
    "rint",
    "select",
    "shl",
    "shr",
    "sqrt",
    "sub",
    "trunc",
    "xor",
]

Operand = Expr | float | int
"""An expression, or a number that takes the dtype of its neighbours."""


def number(value: float | int | bool, like: Expr | DType) -> Const:
    """The constant `value` in the dtype of `like`."""
    return Const(value, like if isinstance(like, DType) else like.dtype)


def make(name: str, *operands: Operand) -> Expr:
    """Row `name` of the operands, numbers converted to the dtype of the other operands."""
    like = next(o.dtype for o in operands if isinstance(o, Expr) and o.dtype is not bool_)
    args = [o if isinstance(o, Expr) else Const(o, like) for o in operands]
    return build(PRIMITIVES, name, args)


def add(a: Operand, b: Operand) -> Expr:
    return make("add", a, b)


def sub(a: Operand, b: Operand) -> Expr:
    return make("sub", a, b)


def mul(a: Operand, b: Operand) -> Expr:
    return make("mul", a, b)


def div(a: Operand, b: Operand) -> Expr:
    return make("div", a, b)


def fma(a: Operand, b: Operand, c: Operand) -> Expr:
    return make("fma", a, b, c)


def neg(a: Expr) -> Expr:
    return make("neg", a)


def absolute(a: Expr) -> Expr:
    return make("abs", a)


def sqrt(a: Expr) -> Expr:
    return make("sqrt", a)


def rint(a: Expr) -> Expr:
    return make("rint", a)


def trunc(a: Expr) -> Expr:
    return make("trunc", a)


def eq(a: Operand, b: Operand) -> Expr:
    return make("eq", a, b)


def ne(a: Operand, b: Operand) -> Expr:
    return make("ne", a, b)


def lt(a: Operand, b: Operand) -> Expr:
    return make("lt", a, b)


def le(a: Operand, b: Operand) -> Expr:
    return make("le", a, b)


def gt(a: Operand, b: Operand) -> Expr:
    return make("gt", a, b)


def ge(a: Operand, b: Operand) -> Expr:
    return make("ge", a, b)


def _bits(name: str, a: Expr, b: Operand) -> Expr:
    return build(PRIMITIVES, name, (a, b if isinstance(b, Expr) else Const(b, a.dtype)))


def and_(a: Expr, b: Operand) -> Expr:
    return _bits("and", a, b)


def or_(a: Expr, b: Operand) -> Expr:
    return _bits("or", a, b)


def xor(a: Expr, b: Operand) -> Expr:
    return _bits("xor", a, b)


def not_(a: Expr) -> Expr:
    return build(PRIMITIVES, "not", (a,))


def shl(a: Expr, b: Operand) -> Expr:
    return _bits("shl", a, b)


def shr(a: Expr, b: Operand) -> Expr:
    return _bits("shr", a, b)


def select(condition: Expr, a: Operand, b: Operand) -> Expr:
    return make("select", condition, a, b)


def rare(condition: Expr, usual: Operand, unusual: Operand) -> Expr:
    return make("rare", condition, usual, unusual)


def cast(a: Expr, dtype: DType) -> Expr:
    return build(PRIMITIVES, "cast", (a,), dtype)


def bitcast(a: Expr, dtype: DType) -> Expr:
    return build(PRIMITIVES, "bitcast", (a,), dtype)


def integer_of(x: Expr | DType) -> DType:
    """The signed integer as wide as the float dtype of `x`."""
    return int64 if (x if isinstance(x, DType) else x.dtype) is float64 else int32


def polynomial(x: Expr, coefficients: tuple[float, ...], square: Expr | None = None) -> Expr:
    """The value of a polynomial; the constant coefficient comes last.

    With the square of `x` at hand, Horner's rule goes in steps of two coefficients: as many
    operations, half the latency.
    """
    if square is None or len(coefficients) < 4:
        return _horner(x, coefficients)
    pairs: list[Operand] = [
        fma(x, first, second)
        for first, second in zip(coefficients[-2::-2], coefficients[::-2], strict=False)
    ]
    if len(coefficients) % 2:
        pairs.append(coefficients[0])
    return _horner(square, pairs[::-1])


def _horner(x: Expr, coefficients: Sequence[Operand]) -> Expr:
    result = coefficients[0]
    for c in coefficients[1:]:
        result = fma(result, x, c)
    assert isinstance(result, Expr)
    return result
