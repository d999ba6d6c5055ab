"""What follows a product and a library does too: a factor, ReLU, GELU and its derivative.

Knows scalar expressions alone. GELU is the form with tanh, which is known by its polynomials.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..expr import Apply, Const, Expr, Var, walk
from .gpu_library_calls import Activation

__all__ = ["factor_of", "gelu_of", "gelu_slope_of", "relu_of", "unrounded"]

_Polynomial: TypeAlias = dict[tuple[int, ...], float]
"""Coefficients by the powers of some values."""
_SLOPE = math.sqrt(2 / math.pi)
_CUBIC = 0.044715
_GELU: _Polynomial = {(1, 0): 0.5, (1, 1): 0.5}
_BENT: _Polynomial = {(1, 0): _SLOPE, (3, 0): _SLOPE * _CUBIC}
_GELU_SLOPE: _Polynomial = {
    **{(1, 0, 0): 0.5, (1, 0, 1): 0.5},
    **{(1, 1, 0): 0.5 * _SLOPE, (1, 1, 2): -0.5 * _SLOPE},
    **{(1, 3, 0): 1.5 * _SLOPE * _CUBIC, (1, 3, 2): -1.5 * _SLOPE * _CUBIC},
}
"""By the powers of the product, of what GELU was applied to, and of the tanh in it."""


def unrounded(e: Expr) -> Expr:
    """A value without the conversions to another float and back that a library does not make."""
    while isinstance(e, Apply) and e.op == "cast" and e.dtype.is_float:
        if not e.args[0].dtype.is_float:
            return e
        e = e.args[0]
    return e


def gelu_of(value: Expr, known: Callable[[Expr], bool]) -> Expr | None:
    """What GELU is applied to, one of the values that are `known`; None if it is something else."""
    bend = _only_tanh(value)
    if bend is None:
        return None
    for e in walk(bend.args[0]):
        inner = unrounded(e)
        if not isinstance(inner, Const) and known(inner) and _is_bent(bend, inner):
            return inner if _near(_polynomial(value, (inner, bend)), _GELU) else None
    return None


def gelu_slope_of(value: Expr, product: Var, known: Callable[[Expr], bool]) -> Expr | None:
    """Where a product times the derivative of GELU takes that; None if a value is another one."""
    bend = _only_tanh(value)
    if bend is None:
        return None
    for e in walk(bend.args[0]):
        inner = unrounded(e)
        if not isinstance(inner, Const) and known(inner) and _is_bent(bend, inner):
            found = _polynomial(value, (product, inner, bend))
            return inner if _near(found, _GELU_SLOPE) else None
    return None


def _only_tanh(value: Expr) -> Apply | None:
    found = [e for e in walk(value) if isinstance(e, Apply) and e.op == "tanh"]
    return found[0] if len(found) == 1 and found[0].dtype.is_float else None


def _is_bent(bend: Apply, inner: Expr) -> bool:
    """Whether a tanh is that of GELU of a value."""
    return _near(_polynomial(bend.args[0], (inner, bend)), _BENT)


def _polynomial(e: Expr, values: Sequence[Expr]) -> _Polynomial | None:
    """A value as a polynomial in others, None if it is none."""
    known: dict[Expr, _Polynomial | None] = {}

    def found(e: Expr) -> _Polynomial | None:
        e = unrounded(e)
        if e not in known:
            known[e] = made(e)
        return known[e]

    def made(e: Expr) -> _Polynomial | None:
        for n, value in enumerate(values):
            if e is value:
                return {tuple(int(m == n) for m in range(len(values))): 1.0}
        if isinstance(e, Const):
            return {(0,) * len(values): float(e.value)}
        if not isinstance(e, Apply) or e.op not in ("add", "sub", "mul", "neg", "square"):
            return None
        parts = [found(a) for a in e.args]
        first, last = parts[0], parts[-1]
        if first is None or last is None:
            return None
        if e.op in ("mul", "square"):
            return _multiplied(first, last)
        if e.op == "neg":
            return {k: -v for k, v in first.items()}
        sign = 1.0 if e.op == "add" else -1.0
        return {k: first.get(k, 0.0) + sign * last.get(k, 0.0) for k in {*first, *last}}

    return found(e)


def _multiplied(a: _Polynomial, b: _Polynomial) -> _Polynomial:
    result: _Polynomial = {}
    for m, x in a.items():
        for n, y in b.items():
            powers = tuple(i + j for i, j in zip(m, n, strict=True))
            result[powers] = result.get(powers, 0.0) + x * y
    return result


def _near(a: _Polynomial | None, b: _Polynomial) -> bool:
    """Whether coefficients are the same, as far as float32 (or a half) can say."""
    if a is None:
        return False
    return all(abs(a.get(k, 0.0) - b.get(k, 0.0)) <= 1e-3 * abs(b.get(k, 0.0)) for k in {*a, *b})


def factor_of(e: Expr, acc: Var) -> float | None:
    """The number that the product is multiplied by; None if it is something else."""
    factor = 1.0
    while e is not acc:
        if not isinstance(e, Apply) or e.op not in ("mul", "div", "neg"):
            return None
        a = unrounded(e.args[0])
        if e.op == "neg":
            factor, e = -factor, a
            continue
        b = unrounded(e.args[1])
        if e.op == "mul" and isinstance(a, Const):
            a, b = b, a
        if not isinstance(b, Const) or not math.isfinite(b.value) or not b.value:
            return None
        factor = factor * b.value if e.op == "mul" else factor / b.value
        e = a
    return factor


def relu_of(value: Expr) -> tuple[Activation, Expr]:
    """What is done last, and what it is done to."""
    if isinstance(value, Apply) and value.op == "maximum" and _is_zero(value.args[1]):
        return Activation.RELU, unrounded(value.args[0])
    if isinstance(value, Apply) and value.op == "select":
        test, zero, kept = value.args
        kept = unrounded(kept)
        if (
            isinstance(test, Apply)
            and test.op == "le"
            and unrounded(test.args[0]) is kept
            and _is_zero(test.args[1])
            and _is_zero(unrounded(zero))
        ):
            return Activation.RELU, kept
    return Activation.NONE, value


def _is_zero(e: Expr) -> bool:
    return isinstance(e, Const) and e.value == 0
