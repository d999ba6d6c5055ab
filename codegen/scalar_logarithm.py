"""Logarithms and inverse hyperbolic functions of primitive rows.

Knows the primitive rows; knows no loops and no targets.

All start from ``x = 2**k * (1 + f)`` with ``sqrt(1/2) <= 1 + f < sqrt(2)``, by integer arithmetic
on the bits, which is right for positive normal numbers; the other arguments take a rare branch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

from .dtypes import float32, float64, int32, uint64
from .expr import Expr
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
    ge,
    gt,
    le,
    lt,
    mul,
    not_,
    number,
    polynomial,
    rare,
    select,
    shr,
    sqrt,
    sub,
)
from .scalar_exponential import copy_sign, exp, split_sign

__all__ = ["acosh", "asinh", "atanh", "log", "log1p", "log2", "log10", "logaddexp", "split_normal"]


@final
@dataclass(frozen=True)
class _Format:
    """The range and the constants of a float dtype; pairs are a number and its rounding error."""

    smallest: float
    largest: float
    rescale: int
    huge: float
    log_2: tuple[float, float]
    log2_e: tuple[float, float]
    log10_e: tuple[float, float]
    log10_2: tuple[float, float]


_FLOAT32 = _Format(
    smallest=2.0**-126,
    largest=3.4028234663852886e38,
    rescale=24,
    huge=2.0**26,
    log_2=(0.6931471824645996, -1.9046542121259336e-09),
    log2_e=(1.4426950216293335, 1.925963033500011e-08),
    log10_e=(0.4342944920063019, -1.0103049952192578e-08),
    log10_2=(0.3010300099849701, -1.432098883924482e-08),
)
_FLOAT64 = _Format(
    smallest=2.0**-1022,
    largest=1.7976931348623157e308,
    rescale=54,
    huge=2.0**55,
    log_2=(0.6931471805599453, 2.3190468138462996e-17),
    log2_e=(1.4426950408889634, 2.0355273740931033e-17),
    log10_e=(0.4342944819032518, 1.098319650216765e-17),
    log10_2=(0.3010299956639812, -2.8037281277851704e-18),
)

# p in log(1 + f) = f - f**2 / 2 + f**3 * p(f)
_LOG32 = (
    -0.07634633034467697,
    0.12761645019054413,
    -0.13160155713558197,
    0.1420174390077591,
    -0.1662335842847824,
    0.20001228153705597,
    -0.2500081956386566,
    0.3333333134651184,
)
# p in log((1 + s) / (1 - s)) = 2 s + s**3 * p(s * s), s = f / (2 + f)
_LOG64 = (
    0.14811551911016577,
    0.15312568729165038,
    0.1818361903193511,
    0.22222197586544928,
    0.28571428751309996,
    0.39999999999377955,
    0.666666666666674,
)
_SQRT_HALF32 = 0x3F3504F3
_SQRT_HALF64 = 0x3FE6A09E667F3BCD
_EXPONENTS64 = 0xFFF0000000000000


def _format(x: Expr) -> _Format:
    return _FLOAT64 if x.dtype is float64 else _FLOAT32


def _exponent(x: Expr) -> tuple[Expr, Expr]:
    """``(k, bits)``: x = 2**k * m, k as a float; subtract `bits` from those of x to get m."""
    if x.dtype is float32:
        offset = sub(bitcast(x, int32), _SQRT_HALF32)
        bits = and_(offset, -(1 << 23))
        return mul(cast(bits, float32), 2.0**-23), bits
    # 2**52 + n has n in its low bits: a conversion from integer made of logic.
    offset = add(bitcast(x, uint64), (1023 << 52) - _SQRT_HALF64)
    n = add(shr(offset, 52), 0x433 << 52)
    bits = sub(and_(offset, _EXPONENTS64), 1023 << 52)
    return sub(bitcast(n, float64), 2.0**52 + 1023.0), bits


def split_normal(x: Expr) -> tuple[Expr, Expr]:
    """``(k, f)`` of a positive normal number."""
    k, bits = _exponent(x)
    m = bitcast(sub(bitcast(x, bits.dtype), bits), x.dtype)
    return k, sub(m, 1.0)


def _log_one_plus(f: Expr, plus: Expr | None = None) -> Expr:
    """``log(1 + f)`` on the reduced range, and a small number added to it."""
    square = mul(f, f)
    if f.dtype is float32:
        tail = fma(square, fma(f, polynomial(f, _LOG32, square), -0.5), f)
        return tail if plus is None else add(tail, plus)
    s = div(f, add(f, 2.0))
    z = mul(s, s)
    half = mul(square, 0.5)
    correction = mul(s, fma(z, polynomial(z, _LOG64, mul(z, z)), half))
    if plus is not None:
        correction = add(correction, plus)
    return sub(f, sub(half, correction))


def _natural(f: Expr, k: Expr) -> Expr:
    """``k * log(2) + log(1 + f)``."""
    high, low = _format(f).log_2
    if f.dtype is float32:
        return fma(k, high + low, _log_one_plus(f))
    return fma(k, high, _log_one_plus(f, mul(k, low)))


def _binary(f: Expr, k: Expr) -> Expr:
    high, low = _format(f).log2_e
    y = _log_one_plus(f)
    return fma(y, high, fma(y, low, k))


def _decimal(f: Expr, k: Expr) -> Expr:
    form = _format(f)
    y = _log_one_plus(f)
    return fma(k, form.log10_2[0], fma(y, form.log10_e[0], mul(k, form.log10_2[1])))


def _with_specials(x: Expr, combine: Callable[[Expr, Expr], Expr]) -> Expr:
    form = _format(x)
    k, f = split_normal(x)
    normal = and_(ge(x, form.smallest), le(x, form.largest))
    # A subnormal number is scaled up; what it gives for others is not used.
    k_up, f_up = split_normal(mul(x, 2.0**form.rescale))
    finite = combine(f_up, sub(k_up, float(form.rescale)))
    positive = select(le(x, form.largest), finite, x)
    unusual = select(gt(x, 0.0), positive, select(eq(x, 0.0), number(-math.inf, x), math.nan))
    return rare(not_(normal), combine(f, k), unusual)


def log(x: Expr) -> Expr:
    """The natural logarithm; minus infinity at 0, NaN below."""
    return _with_specials(x, _natural)


def log2(x: Expr) -> Expr:
    """The logarithm to base 2, exact for powers of 2."""
    return _with_specials(x, _binary)


def log10(x: Expr) -> Expr:
    """The logarithm to base 10."""
    return _with_specials(x, _decimal)


def _log1p_core(x: Expr) -> Expr:
    """``log(1 + x)`` for -1 < x < `huge`."""
    k, bits = _exponent(add(x, 1.0))
    one = bitcast(number(1.0, x), bits.dtype)
    s = bitcast(sub(one, bits), x.dtype)
    # (1 + x) / 2**k - 1, rounded once.
    return _natural(fma(x, s, sub(s, 1.0)), k)


def log1p(x: Expr) -> Expr:
    """``log(1 + x)``, accurate near 0."""
    form = _format(x)
    usual = and_(gt(x, -1.0), lt(x, form.huge))
    below = select(eq(x, -1.0), number(-math.inf, x), math.nan)
    k, f = split_normal(x)
    large = select(le(x, form.largest), _natural(f, k), x)
    unusual = select(ge(x, form.huge), large, below)
    result = rare(not_(usual), _log1p_core(x), unusual)
    return select(lt(absolute(x), 1.0 / form.huge), x, result)


def _log_of_double(x: Expr) -> Expr:
    """``log(2 x)`` of a normal number or infinity or NaN."""
    form = _format(x)
    k, f = split_normal(x)
    return select(le(x, form.largest), _natural(f, add(k, 1.0)), x)


def asinh(x: Expr) -> Expr:
    """``sign(x) * log1p(a + a**2 / (1 + sqrt(1 + a**2)))`` with ``a = abs(x)``."""
    form = _format(x)
    sign, a = split_sign(x)
    square = mul(a, a)
    inner = add(a, div(square, add(sqrt(add(square, 1.0)), 1.0)))
    return copy_sign(rare(not_(lt(a, form.huge)), log1p(inner), _log_of_double(a)), sign)


def acosh(x: Expr) -> Expr:
    """``log1p(t + sqrt(t**2 + 2 t))`` with ``t = x - 1``; NaN below 1."""
    form = _format(x)
    t = sub(x, 1.0)
    inner = add(t, sqrt(fma(t, t, add(t, t))))
    result = rare(not_(lt(x, form.huge)), log1p(inner), _log_of_double(x))
    return select(ge(x, 1.0), result, math.nan)


def atanh(x: Expr) -> Expr:
    """``sign(x) * log1p(2 a / (1 - a)) / 2`` with ``a = abs(x)``; NaN beyond 1."""
    sign, a = split_sign(x)
    half = mul(log1p(div(add(a, a), sub(1.0, a))), 0.5)
    defined = select(le(a, 1.0), copy_sign(half, sign), math.nan)
    return select(lt(a, 1.0 / _format(x).huge), x, defined)


def logaddexp(a: Expr, b: Expr) -> Expr:
    """``log(exp(a) + exp(b))``, without overflow."""
    high, low = select(lt(a, b), b, a), select(lt(a, b), a, b)
    # Infinities of one sign: their difference is NaN, and they are the result.
    difference = select(eq(a, b), 0.0, sub(low, high))
    return add(high, log1p(exp(difference)))
