"""Trigonometric functions and their inverses, of primitive rows.

Knows the primitive rows; knows no loops and no targets.

Arguments of moderate size are reduced by three fused multiply-adds (the first is exact); larger
ones take a rare branch that multiplies by the right window of the digits of 2/pi (Payne and Hanek,
1983).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import final

from .dtypes import float64, int64, uint64
from .expr import Const, Expr
from .records import dataclass
from .scalar_build import (
    absolute,
    add,
    and_,
    bitcast,
    cast,
    div,
    eq,
    fma,
    gt,
    integer_of,
    lt,
    mul,
    ne,
    not_,
    number,
    or_,
    polynomial,
    rare,
    select,
    shl,
    shr,
    sqrt,
    sub,
    xor,
)
from .scalar_exponential import copy_sign, split_sign

__all__ = ["acos", "asin", "atan", "atan2", "cos", "high_product", "sin", "tan"]


@final
@dataclass(frozen=True)
class _Format:
    """Constants of a float dtype.

    With z = x * x: ``sin(x) = x + x * z * sine(z)``, ``cos(x) = 1 - z / 2 + z * z * cosine(z)`` on
    [-pi/4, pi/4], ``asin(x) = x + x * z * arcsine(z)`` up to 1/2, ``atan(x) = x + x * z *
    arctangent(z)`` up to 1. `windows` is how many words of 2/pi an exponent can skip.
    """

    mantissa: int
    bias: int
    half_pi: tuple[float, float, float]
    moderate: float
    windows: int
    sine: tuple[float, ...]
    cosine: tuple[float, ...]
    arcsine: tuple[float, ...]
    arctangent: tuple[float, ...]


_FLOAT32 = _Format(
    mantissa=23,
    bias=127,
    half_pi=(1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15),
    moderate=2.0**17,
    windows=4,
    sine=(-0.0001950431615114212, 0.008332083001732826, -0.16666653752326965),
    cosine=(2.4423909053439274e-05, -0.0013887243112549186, 0.04166664555668831),
    arcsine=(
        0.042230233550071716,
        0.024141177535057068,
        0.04547830671072006,
        0.07495232671499252,
        0.16666753590106964,
    ),
    arctangent=(
        -0.001827195635996759,
        0.011064368300139904,
        -0.03145558014512062,
        0.05823444202542305,
        -0.08419454097747803,
        0.10957575589418411,
        -0.1426524519920349,
        0.19998638331890106,
        -0.33333301544189453,
    ),
)
_FLOAT64 = _Format(
    mantissa=52,
    bias=1023,
    half_pi=(1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33),
    moderate=2.0**30,
    windows=32,
    sine=(
        1.5890307689898364e-10,
        -2.505064778009659e-08,
        2.7557312999585e-06,
        -0.00019841269827855317,
        0.00833333333332004,
        -0.16666666666666624,
    ),
    cosine=(
        -1.1355204410224788e-11,
        2.0875638795065447e-09,
        -2.7557313742602917e-07,
        2.480158728742005e-05,
        -0.0013888888888870916,
        0.04166666666666658,
    ),
    arcsine=(
        0.03198153348609768,
        -0.016326480391225397,
        0.019594216251646146,
        0.006503561788140251,
        0.012174933780497733,
        0.013884351549165754,
        0.01735979555744812,
        0.02237175194162005,
        0.03038195939535693,
        0.04464285682198063,
        0.07500000000344786,
        0.16666666666665375,
    ),
    arctangent=(
        1.3489004773542192e-05,
        -0.00015479426568606905,
        0.0008434715744017618,
        -0.0029193048176168654,
        0.007263286128398993,
        -0.013994888644157268,
        0.022085052460265254,
        -0.029985497473232807,
        0.03669348611247408,
        -0.04221716011375561,
        0.04723292737510604,
        -0.05253805388175631,
        0.058805925223503294,
        -0.06666414993154866,
        0.07692281186397922,
        -0.09090907119241044,
        0.1111111101365093,
        -0.14285714282802256,
        0.19999999999955437,
        -0.33333333333333093,
    ),
)

# The digits of 2/pi, 64 bits a word, after a word of zeros.
_TWO_OVER_PI = (
    0x0000000000000000,
    0xA2F9836E4E441529,
    0xFC2757D1F534DDC0,
    0xDB6295993C439041,
    0xFE5163ABDEBBC561,
    0xB7246E3A424DD2E0,
    0x06492EEA09D1921C,
    0xFE1DEB1CB129A73E,
    0xE88235F52EBB4484,
    0xE99C7026B45F7E41,
    0x3991D639835339F4,
    0x9C845F8BBDF9283B,
    0x1FF897FFDE05980F,
    0xEF2F118B5A0A6D1F,
    0x6D367ECF27CB09B7,
    0x4F463F669E5FEA2D,
    0x7527BAC7EBE5F17B,
    0x3D0739F78A5292EA,
    0x6BFB5FB11F8D5D08,
    0x56033046FC7B6BAB,
)


def _format(x: Expr) -> _Format:
    return _FLOAT64 if x.dtype is float64 else _FLOAT32


# --- reduction -----------------------------------------------------------------------------------


def high_product(a: Expr, b: Expr) -> Expr:
    """The high 64 bits of the product of two uint64."""
    low = (1 << 32) - 1
    a0, a1, b0, b1 = and_(a, low), shr(a, 32), and_(b, low), shr(b, 32)
    middle = add(mul(a1, b0), shr(mul(a0, b0), 32))
    carry = add(mul(a0, b1), and_(middle, low))
    return add(add(mul(a1, b1), shr(middle, 32)), shr(carry, 32))


def _window(start: Expr, windows: int) -> list[Expr]:
    """Three words of 2/pi from bit `start` of the table on."""
    word, bit = shr(start, 6), and_(start, 63)
    words: list[Expr] = [Const(w, uint64) for w in _TWO_OVER_PI]
    step = windows // 2
    while step:
        words += [Const(0, uint64)] * (2 * step + 3 - len(words))
        skip = ne(and_(word, step), 0)
        words = [select(skip, words[i + step], words[i]) for i in range(step + 3)]
        step //= 2
    rest = sub(63, bit)
    return [or_(shl(a, bit), shr(shr(b, 1), rest)) for a, b in itertools.pairwise(words)]


def _reduce_huge(x: Expr) -> tuple[Expr, Expr]:
    """``(quadrant, r)`` of a number from 2**12 on: the quadrant as int64, r in its dtype."""
    form = _format(x)
    bits = cast(bitcast(x, integer_of(x)), uint64)
    one = 1 << form.mantissa
    whole = or_(and_(bits, one - 1), one)
    if form.mantissa < 52:
        whole = shl(whole, 52 - form.mantissa)
    # x = whole * 2**e; bits of 2/pi that make multiples of 4 are skipped.
    w0, w1, w2 = _window(sub(shr(bits, form.mantissa), form.bias - 10), form.windows)
    low = add(mul(whole, w1), high_product(whole, w2))
    carry = cast(lt(low, high_product(whole, w2)), uint64)
    high = add(add(mul(whole, w0), high_product(whole, w1)), carry)
    quadrant = shr(add(high, 1 << 61), 62)
    rest = bitcast(sub(high, shl(quadrant, 62)), int64)
    leading = cast(rest, x.dtype)
    trailing = mul(cast(sub(rest, cast(leading, int64)), x.dtype), 2.0**-62)
    trailing = fma(cast(low, x.dtype), 2.0**-126, trailing)
    leading = mul(leading, 2.0**-62)
    turns = add(leading, trailing)
    turns_low = sub(trailing, sub(turns, leading))
    r_low = fma(turns_low, form.half_pi[0], mul(turns, form.half_pi[1]))
    r = fma(turns, form.half_pi[0], r_low)
    return bitcast(quadrant, int64), r


def _reduce(size: Expr) -> tuple[Expr, Expr]:
    """``(k, r)``: size = n * pi/2 + r, and the low bits of the integer k are n."""
    form = _format(size)
    magic = 1.5 * 2.0**form.mantissa
    z = fma(size, 2 / math.pi, magic)
    n = sub(z, magic)
    r = size
    for part in form.half_pi:
        r = fma(n, -part, r)
    return bitcast(z, integer_of(size)), r


def _by_quadrant(size: Expr, finish: Callable[[Expr, Expr], Expr]) -> Expr:
    """``finish(k, r)`` of the reduced `size`, which is not negative."""
    form = _format(size)
    k, r = _reduce_huge(size)
    unusual = finish(cast(k, integer_of(size)), r)
    finite = select(lt(size, math.inf), unusual, math.nan)
    return rare(not_(lt(size, form.moderate)), finish(*_reduce(size)), finite)


# --- sine, cosine, tangent -----------------------------------------------------------------------


def _sine(r: Expr) -> Expr:
    z = mul(r, r)
    return fma(mul(r, z), polynomial(z, _format(r).sine, mul(z, z)), r)


def _cosine(r: Expr) -> Expr:
    z = mul(r, r)
    square = mul(z, z)
    return fma(square, polynomial(z, _format(r).cosine, square), fma(z, -0.5, 1.0))


def _flip(value: Expr, mask: Expr) -> Expr:
    """`value` with the sign bit changed where `mask` has it."""
    return bitcast(xor(bitcast(value, mask.dtype), mask), value.dtype)


def _sign_of(k: Expr, bit: int) -> Expr:
    """Bit number `bit` of `k`, moved to the sign bit."""
    width = k.dtype.bits - 1
    return and_(shl(k, width - bit), -(1 << width))


def _sine_in(k: Expr, r: Expr) -> Expr:
    odd = ne(and_(k, 1), 0)
    return _flip(select(odd, _cosine(r), _sine(r)), _sign_of(k, 1))


def sin(x: Expr) -> Expr:
    """The sine; NaN of infinities."""
    sign, size = split_sign(x)
    return _flip(_by_quadrant(size, _sine_in), sign)


def cos(x: Expr) -> Expr:
    """The cosine; NaN of infinities."""
    return _by_quadrant(absolute(x), lambda k, r: _sine_in(add(k, 1), r))


def _tangent_in(k: Expr, r: Expr) -> Expr:
    odd = ne(and_(k, 1), 0)
    s, c = _sine(r), _cosine(r)
    return _flip(div(select(odd, c, s), select(odd, s, c)), _sign_of(k, 0))


def tan(x: Expr) -> Expr:
    """The tangent; NaN of infinities."""
    sign, size = split_sign(x)
    return _flip(_by_quadrant(size, _tangent_in), sign)


# --- inverses ------------------------------------------------------------------------------------


def _arctangent(t: Expr) -> Expr:
    """``atan(t)`` for 0 <= t <= 1."""
    z = mul(t, t)
    return fma(mul(t, z), polynomial(z, _format(t).arctangent, mul(z, z)), t)


def _right_angle_minus(a: Expr) -> Expr:
    high, low, _ = _format(a).half_pi
    return sub(high, sub(a, low))


def _straight_angle_minus(a: Expr) -> Expr:
    high, low, _ = _format(a).half_pi
    return sub(2 * high, sub(a, 2 * low))


def atan(x: Expr) -> Expr:
    """The arc tangent: a polynomial up to 1, the right angle minus that of 1/x beyond."""
    sign, size = split_sign(x)
    steep = gt(size, 1.0)
    angle = _arctangent(select(steep, div(1.0, size), size))
    return copy_sign(select(steep, _right_angle_minus(angle), angle), sign)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y): all four quadrants, signed zeros and infinities."""
    sign, height = split_sign(y)
    left, width = split_sign(x)
    steep = gt(height, width)
    least, most = select(steep, width, height), select(steep, height, width)
    # 0/0 counts as 0 and inf/inf as 1; a NaN in either comes through.
    ratio = select(eq(least, most), select(eq(most, 0.0), number(0.0, x), 1.0), div(least, most))
    angle = _arctangent(ratio)
    angle = select(steep, _right_angle_minus(angle), angle)
    angle = select(lt(left, 0), _straight_angle_minus(angle), angle)
    return copy_sign(angle, sign)


def _arcsine_parts(size: Expr) -> tuple[Expr, Expr]:
    """``(large, p)``: p = asin(size), or where large p = asin(sqrt((1 - size) / 2))."""
    large = gt(size, 0.5)
    z = select(large, mul(sub(1.0, size), 0.5), mul(size, size))
    s = select(large, sqrt(z), size)
    return large, fma(mul(s, z), polynomial(z, _format(size).arcsine, mul(z, z)), s)


def asin(x: Expr) -> Expr:
    """The arc sine; NaN beyond 1."""
    sign, size = split_sign(x)
    large, p = _arcsine_parts(size)
    return copy_sign(select(large, _right_angle_minus(add(p, p)), p), sign)


def acos(x: Expr) -> Expr:
    """The arc cosine; NaN beyond 1."""
    sign, size = split_sign(x)
    large, p = _arcsine_parts(size)
    double = add(p, p)
    outer = select(lt(x, 0.0), _straight_angle_minus(double), double)
    return select(large, outer, _right_angle_minus(_flip(p, sign)))
