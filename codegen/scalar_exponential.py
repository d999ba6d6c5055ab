"""Exponentials and hyperbolic functions of primitive rows.

Knows the primitive rows; knows no loops and no targets.

All start from ``x = n * log(2) + r`` with a whole n and abs(r) <= log(2) / 2. Adding the number
``1.5 * 2**bits`` rounds to a whole number and leaves it in the low bits, where a shift makes it an
exponent. Polynomials are minimax on the reduced range.
"""

from __future__ import annotations

import math
from typing import final

from .dtypes import DType, float32, float64
from .expr import Expr
from .records import dataclass
from .scalar_build import (
    absolute,
    add,
    and_,
    bitcast,
    div,
    fma,
    gt,
    integer_of,
    lt,
    mul,
    number,
    or_,
    polynomial,
    select,
    shl,
    shr,
    sub,
)

__all__ = [
    "clamp_high",
    "clamp_low",
    "copy_sign",
    "cosh",
    "exp",
    "exp2",
    "exp_of_sum",
    "expm1",
    "halved_exp",
    "sign_bit",
    "sinh",
    "split_sign",
    "tanh",
]


@final
@dataclass(frozen=True)
class _Format:
    """What the functions know about a float dtype.

    ``exp_tail`` is q in ``exp(r) = 1 + r + r * r * q(r)``, ``expm1_tail`` the same with a bound
    relative to expm1, ``exp2_tail`` is q in ``2 ** r = 1 + r * q(r)``, ``sinh_tail`` is q in
    ``sinh(r) = r + r**3 * q(r * r)`` on [0, 1].
    """

    mantissa: int
    bias: int
    log2: tuple[float, float]
    highest: float
    lowest: float
    expm1_lowest: float
    tanh_one: float
    tiny: float
    exp_tail: tuple[float, ...]
    expm1_tail: tuple[float, ...]
    exp2_tail: tuple[float, ...]
    sinh_tail: tuple[float, ...]

    @property
    def magic(self) -> float:
        return 1.5 * 2.0**self.mantissa


_FLOAT32 = _Format(
    mantissa=23,
    bias=127,
    log2=(0.6931471824645996, -1.9046542121259336e-09),
    highest=89.0,
    lowest=-104.0,
    expm1_lowest=-18.0,
    tanh_one=9.25,
    tiny=2.0**-13,
    exp_tail=(
        0.0013951726723462343,
        0.008369597606360912,
        0.0416661873459816,
        0.16666512191295624,
        0.5,
    ),
    expm1_tail=(
        0.0013882400235161185,
        0.008367180824279785,
        0.04166722297668457,
        0.16666539013385773,
        0.4999999701976776,
    ),
    exp2_tail=(
        0.00015476596308872104,
        0.0013400537427514791,
        0.00961800292134285,
        0.05550327152013779,
        0.24022650718688965,
        0.6931471824645996,
    ),
    sinh_tail=(
        2.8174395083624404e-06,
        0.0001983606634894386,
        0.008333350531756878,
        0.1666666716337204,
    ),
)
_FLOAT64 = _Format(
    mantissa=52,
    bias=1023,
    log2=(0.6931471805599453, 2.3190468138462996e-17),
    highest=710.0,
    lowest=-746.0,
    expm1_lowest=-40.0,
    tanh_one=20.0,
    tiny=2.0**-28,
    exp_tail=(
        2.5119160404164616e-08,
        2.7632742540081077e-07,
        2.7557212189341116e-06,
        2.4801486060697105e-05,
        0.0001984126992200737,
        0.001388888895052114,
        0.008333333333305052,
        0.041666666666503156,
        0.16666666666666702,
        0.5000000000000014,
    ),
    expm1_tail=(
        2.087531015411391e-09,
        2.5110111243567484e-08,
        2.7557405960253035e-07,
        2.755724136488261e-06,
        2.480158716473982e-05,
        0.00019841269888687957,
        0.0013888888888968348,
        0.008333333333320737,
        0.04166666666666649,
        0.16666666666666677,
        0.5,
    ),
    exp2_tail=(
        4.457436586064017e-10,
        7.073936075409235e-09,
        1.0178046129262192e-07,
        1.3215434400035266e-06,
        1.5252733868351414e-05,
        0.0001540353045885892,
        0.0013333558146378175,
        0.009618129107592768,
        0.05550410866482174,
        0.24022650695910133,
        0.6931471805599453,
    ),
    sinh_tail=(
        7.759312195864513e-13,
        1.6057240341493974e-10,
        2.5052123398551906e-08,
        2.7557319155336905e-06,
        0.0001984126984143768,
        0.008333333333333139,
        0.16666666666666669,
    ),
)
# expm1(2 h) / 2 = h + h * h * q(h)
_HALVED_EXPM1_TAIL = tuple(
    c * 2.0 ** (len(_FLOAT32.expm1_tail) - i) for i, c in enumerate(_FLOAT32.expm1_tail)
)


def _format(x: Expr) -> _Format:
    return _FLOAT64 if x.dtype is float64 else _FLOAT32


def clamp_high(x: Expr, bound: float) -> Expr:
    """The lesser of `x` and `bound`; NaN stays (one minimum instruction)."""
    limit = number(bound, x)
    return select(lt(limit, x), limit, x)


def clamp_low(x: Expr, bound: float) -> Expr:
    """The larger of `x` and `bound`; NaN stays."""
    limit = number(bound, x)
    return select(gt(limit, x), limit, x)


def sign_bit(dtype: DType) -> int:
    """The integer whose only set bit is the sign of `dtype`."""
    return -(1 << (integer_of(dtype).bits - 1))


def split_sign(x: Expr) -> tuple[Expr, Expr]:
    """The sign bit of `x` (as an integer) and its absolute value."""
    return and_(bitcast(x, integer_of(x)), sign_bit(x.dtype)), absolute(x)


def copy_sign(x: Expr, sign: Expr) -> Expr:
    """`x`, which is not negative, with the sign bit `sign`."""
    return bitcast(or_(bitcast(x, sign.dtype), sign), x.dtype)


def _reduce(x: Expr, offset: int) -> tuple[Expr, Expr]:
    """``(k, r)``: x = n log(2) + r, and the low bits of the integer k are n + offset."""
    form = _format(x)
    magic = form.magic + offset
    z = fma(x, math.log2(math.e), magic)
    n = sub(z, magic)
    r = fma(n, -form.log2[0], x)
    return bitcast(z, integer_of(x)), fma(n, -form.log2[1], r)


def _power(k: Expr, dtype: DType, mantissa: int) -> Expr:
    """2 to the power n, of an integer whose low bits are n + bias."""
    return bitcast(shl(k, mantissa), dtype)


def _scale(p: Expr, k: Expr, form: _Format, vanishes: Expr) -> Expr:
    """``p * 2**n`` in two steps, of an integer whose low bits are n + 2 * bias.

    What underflows takes a processor ten times longer, and masked scores all do: a factor of zero
    gives the zero of what `vanishes` at once.
    """
    half = shr(k, 1)
    low = _power(half, p.dtype, form.mantissa)
    high = _power(sub(k, half), p.dtype, form.mantissa)
    return mul(mul(p, low), select(vanishes, number(0.0, p), high))


def _clamped(x: Expr, highest: float, lowest: float) -> tuple[Expr, Expr]:
    """`x` within bounds, and whether it lies below them; NaN stays, and does not."""
    x = clamp_high(x, highest)
    limit = number(lowest, x)
    below = gt(limit, x)
    return select(below, limit, x), below


def _exp_of(r: Expr, form: _Format) -> Expr:
    # In float32 the shorter chain of halved latency does not pay for the square.
    square = mul(r, r) if r.dtype is float64 else None
    return fma(r, fma(r, polynomial(r, form.exp_tail, square), 1.0), 1.0)


def exp(x: Expr) -> Expr:
    """``exp(x)``; overflows to infinity, underflows through subnormal numbers to 0."""
    return _scaled_exp(x, 0)


def halved_exp(x: Expr) -> Expr:
    """``exp(x) / 2``, which overflows later than ``exp(x)``."""
    return _scaled_exp(x, -1)


def _scaled_exp(x: Expr, power: int) -> Expr:
    form = _format(x)
    clamped, vanishes = _clamped(x, form.highest - power, form.lowest)
    k, r = _reduce(clamped, 2 * form.bias + power)
    return _scale(_exp_of(r, form), k, form, vanishes)


def exp_of_sum(x: Expr, small: Expr) -> Expr:
    """``exp(x + small)`` where `small` may be lost in the sum."""
    form = _format(x)
    clamped, vanishes = _clamped(x, form.highest, form.lowest)
    k, r = _reduce(clamped, 2 * form.bias)
    return _scale(_exp_of(add(r, small), form), k, form, vanishes)


def exp2(x: Expr) -> Expr:
    """``2 ** x``."""
    form = _format(x)
    top = form.bias + 1.0
    x, vanishes = _clamped(x, top, -(top + form.mantissa))
    magic = form.magic + 2 * form.bias
    z = add(x, magic)
    r = sub(x, sub(z, magic))
    p = fma(r, polynomial(r, form.exp2_tail), 1.0)
    return _scale(p, bitcast(z, integer_of(x)), form, vanishes)


def _expm1_of(r: Expr, form: _Format) -> Expr:
    square = mul(r, r)
    return fma(square, polynomial(r, form.expm1_tail, square), r)


def expm1(x: Expr) -> Expr:
    """``exp(x) - 1``, accurate near 0."""
    form = _format(x)
    clamped = clamp_low(clamp_high(x, form.highest), form.expm1_lowest)
    # Half of 2**n, so that n = bias + 1 does not overflow too early.
    k, r = _reduce(clamped, form.bias - 1)
    s = _power(k, x.dtype, form.mantissa)
    half = fma(_expm1_of(r, form), s, sub(s, 0.5))
    return select(lt(absolute(x), form.tiny**2), x, add(half, half))


def tanh(x: Expr) -> Expr:
    """``tanh(x) = e / (e + 2)`` with ``e = expm1(2 x)``."""
    if x.dtype is float32:
        return _tanh32(x)
    form = _format(x)
    sign, size = split_sign(x)
    size = clamp_high(size, form.tanh_one)
    z = fma(size, 2 * math.log2(math.e), form.magic + form.bias)
    n = sub(z, form.magic + form.bias)
    r = fma(n, -form.log2[0], add(size, size))
    # The low part of n * log(2) is added last: rounding r to take it in would cost half an ulp.
    square = mul(r, r)
    tail = fma(square, polynomial(r, form.expm1_tail, square), mul(n, -form.log2[1]))
    s = _power(bitcast(z, integer_of(x)), x.dtype, form.mantissa)
    e = fma(add(r, tail), s, sub(s, 1.0))
    return copy_sign(div(e, add(e, 2.0)), sign)


def _tanh32(x: Expr) -> Expr:
    """In the half of the argument; so few log(2) that the constant's rounding does not matter."""
    form = _FLOAT32
    sign, size = split_sign(x)
    size = clamp_high(size, form.tanh_one)
    magic = form.magic + form.bias + 1
    z = fma(size, 2 * math.log2(math.e), magic)
    h = fma(sub(z, magic), -form.log2[0] / 2, size)
    square = mul(h, h)
    half = fma(square, polynomial(h, _HALVED_EXPM1_TAIL, square), h)
    double = _power(bitcast(z, integer_of(x)), x.dtype, form.mantissa)
    e = fma(half, double, fma(double, 0.5, -1.0))
    return copy_sign(div(e, add(e, 2.0)), sign)


def cosh(x: Expr) -> Expr:
    """``cosh(x) = h + 1 / (4 h)`` with ``h = exp(abs(x)) / 2``."""
    h = halved_exp(absolute(x))
    return add(h, div(0.25, h))


def sinh(x: Expr) -> Expr:
    """``sinh(x) = h - 1 / (4 h)`` from 1 on, an odd polynomial below."""
    form = _format(x)
    sign, size = split_sign(x)
    h = halved_exp(size)
    z = mul(size, size)
    small = fma(mul(size, z), polynomial(z, form.sinh_tail, mul(z, z)), size)
    return copy_sign(select(lt(size, 1.0), small, sub(h, div(0.25, h))), sign)
