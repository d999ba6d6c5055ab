"""Elementwise functions that NumPy and torch have beside those of the array API.

Functions from nodes of one dtype and shape to nodes, as rows like those of `elementwise`.
"""

from __future__ import annotations

import math

from ..codegen.dtypes import DType, bool_, float64, int32
from ..errors import DTypeError
from ..ir.node import Node
from ..ops import build
from .elementwise import FUNCTIONS, Function
from .promotion import as_float

__all__ = ["MORE", "frexp", "ldexp", "modf"]

_NUMBERS = frozenset({"int", "uint", "float"})
_INTEGERS = frozenset({"int", "uint"})


def _fmod(a: Node, b: Node) -> Node:
    """What division towards zero leaves; it has the sign of `a`."""
    if a.dtype.is_float:
        return build.fmod(a, b)
    rest = build.mod(a, b)
    if a.dtype.kind == "uint":
        return rest
    zero = build.zeros_like(a)
    differ = build.ne(build.lt(a, zero), build.lt(b, zero))
    wrong = build.logical_and(differ, build.ne(rest, zero))
    return build.select(wrong, build.sub(rest, b), rest)


def _without_nan(name: str) -> Function:
    """Of a number and NaN the number."""
    extreme = FUNCTIONS[name].build

    def function(a: Node, b: Node) -> Node:
        if not a.dtype.is_float:
            return extreme(a, b)
        one = build.select(build.isnan(a), b, a)
        return extreme(one, build.select(build.isnan(b), a, b))

    return Function("fmax" if name == "maximum" else "fmin", function)


def _float_power(a: Node, b: Node) -> Node:
    return FUNCTIONS["pow"].build(build.cast(a, float64), build.cast(b, float64))


def _heaviside(x: Node, middle: Node) -> Node:
    zero = build.zeros_like(x)
    step = build.select(build.lt(x, zero), zero, build.ones_like(x))
    step = build.select(build.eq(x, zero), middle, step)
    return build.select(build.isnan(x), build.stop_gradient(x), step)


_NEAR_ZERO = 0.05


def _sinc(x: Node) -> Node:
    """sin(pi x) / (pi x); near 0 its series, whose derivatives are right too."""
    angle = build.mul(x, build.full_like(x, math.pi))
    near = build.lt(build.abs_(angle), build.full_like(x, _NEAR_ZERO))
    square = build.square(build.select(near, angle, build.zeros_like(x)))
    series = build.full_like(x, 1 / math.factorial(9))
    for factor in (7, 5, 3, 1):
        sign = -1 if factor in (3, 7) else 1
        term = build.full_like(x, sign / math.factorial(factor))
        series = build.add(build.mul(series, square), term)
    far = build.select(near, build.ones_like(x), angle)
    return build.select(near, series, build.div(build.sin(far), far))


def _scaled(factor: float) -> Function:
    name = "deg2rad" if factor < 1 else "rad2deg"
    return Function(name, lambda x: build.mul(x, build.full_like(x, factor)), to_float=True)


def _logaddexp2(a: Node, b: Node) -> Node:
    half = build.full_like(a, math.log(2))
    total = build.logaddexp(build.mul(a, half), build.mul(b, half))
    return build.mul(total, build.full_like(a, 1 / math.log(2)))


def _infinite(sign: float) -> Function:
    name = "isposinf" if sign > 0 else "isneginf"

    def function(x: Node) -> Node:
        x = build.cast(x, as_float(x.dtype))
        return build.eq(x, build.full_like(x, sign * math.inf))

    return Function(name, function)


def _lcm(a: Node, b: Node) -> Node:
    divisor = build.gcd(a, b)
    none = build.eq(divisor, build.zeros_like(a))
    safe = build.select(none, build.ones_like(a), divisor)
    if a.dtype.kind == "int":
        a, b = build.abs_(a), build.abs_(b)
    return build.mul(build.floordiv(a, safe), b)


_ROWS = (
    Function("fmod", _fmod, _NUMBERS),
    _without_nan("maximum"),
    _without_nan("minimum"),
    Function("float_power", _float_power),
    Function("cbrt", build.cbrt, to_float=True),
    Function("heaviside", _heaviside, to_float=True),
    Function("sinc", _sinc, to_float=True),
    _scaled(math.pi / 180),
    _scaled(180 / math.pi),
    Function("logaddexp2", _logaddexp2, to_float=True),
    _infinite(1),
    _infinite(-1),
    Function("gcd", lambda a, b: build.gcd(a, b), _INTEGERS),
    Function("lcm", _lcm, _INTEGERS),
)

MORE: dict[str, Function] = {row.name: row for row in _ROWS}
"""Every one of these functions by its name in ``fg``."""


# --- parts of numbers -----------------------------------------------------------------------------


def modf(x: Node) -> tuple[Node, Node]:
    """The part behind the point and the integer part, both with the sign of `x`."""
    x = build.cast(x, as_float(x.dtype))
    whole = build.trunc(x)
    rest = build.select(build.isinf(x), build.zeros_like(x), build.sub(x, whole))
    return build.copysign(rest, build.stop_gradient(x)), whole


def _two_to(exponent: Node) -> Node:
    return build.exp2(exponent)


def ldexp(x: Node, exponent: Node) -> Node:
    """``x * 2**exponent``; in three steps, none of which overflows before the product does."""
    if not exponent.dtype.is_integer and exponent.dtype is not bool_:
        raise DTypeError(
            f"ldexp with an exponent of {exponent.dtype}", remedy="pass an integer as exponent"
        )
    x = build.cast(x, as_float(x.dtype))
    wide = build.cast(exponent, float64)
    limit = build.full_like(wide, 4200.0)
    wide = build.maximum(build.minimum(wide, limit), build.neg(limit))
    third = build.trunc(build.mul(wide, build.full_like(wide, 1 / 3)))
    last = build.sub(wide, build.add(third, third))
    for step in (third, third, last):
        x = build.mul(x, _two_to(build.cast(step, x.dtype)))
    return x


def frexp(x: Node) -> tuple[Node, Node]:
    """A number from 1/2 to 1, with the sign of `x`, and the power of 2 that it is multiplied by."""
    x = build.cast(x, as_float(x.dtype))
    if x.dtype.is_half:
        raise DTypeError(f"frexp of {x.dtype}", remedy='convert first, x.astype("float32")')
    zero, one = build.zeros_like(x), build.ones_like(x)
    size = build.abs_(x)
    plain = build.logical_and(build.isfinite(x), build.ne(x, zero))
    lift = 120.0 if x.dtype.bits == 64 else 60.0
    small = build.lt(size, build.full_like(x, _least(x.dtype)))
    size = build.select(plain, size, one)
    size = build.select(small, build.mul(size, build.full_like(x, 2.0**lift)), size)
    size = build.select(plain, size, one)
    power = build.stop_gradient(build.add(build.floor(build.log2(size)), one))
    # The logarithm is rounded: it may be one too large or too small.
    half = build.full_like(x, 0.5)
    reached = _divided(size, power)
    power = build.add(power, build.select(build.ge(reached, one), one, zero))
    power = build.sub(power, build.select(build.lt(reached, half), one, zero))
    lifted = build.select(small, build.full_like(x, lift), zero)
    total = build.select(plain, build.sub(power, lifted), zero)
    raised = build.select(small, build.mul(x, build.full_like(x, 2.0**lift)), x)
    mantissa = _divided(raised, build.select(plain, power, zero))
    return build.select(plain, mantissa, x), build.cast(total, int32)


def _least(dtype: DType) -> float:
    """The least normal number."""
    return 2.0**-1022 if dtype.bits == 64 else 2.0**-126


def _divided(x: Node, power: Node) -> Node:
    """``x / 2**power``, in two steps that do not overflow."""
    first = build.trunc(build.mul(power, build.full_like(power, 0.5)))
    x = build.mul(x, _two_to(build.neg(first)))
    return build.mul(x, _two_to(build.sub(first, power)))
