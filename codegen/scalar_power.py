"""Powers, roots and exact remainders, of primitive rows.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import reduce

from .dtypes import float32, float64, int64
from .expr import Const, Expr
from .scalar_bits import copysign
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
    make,
    mul,
    ne,
    neg,
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
    trunc,
    xor,
)
from .scalar_exponential import clamp_high, clamp_low, copy_sign, exp_of_sum, split_sign
from .scalar_logarithm import split_normal

__all__ = [
    "cbrt",
    "floordiv",
    "fmod",
    "hypot",
    "hypot_single",
    "mod",
    "pow_",
    "pow_single",
    "reciprocal",
    "rsqrt",
    "square",
]


def square(x: Expr) -> Expr:
    return mul(x, x)


def reciprocal(x: Expr) -> Expr:
    return div(1.0, x)


def rsqrt(x: Expr) -> Expr:
    """``1 / sqrt(x)``."""
    return div(1.0, sqrt(x))


def hypot(x: Expr, y: Expr) -> Expr:
    """``sqrt(x**2 + y**2)`` without overflow; infinite when either is."""
    if x.dtype is not float32:
        return _scaled_hypot(x, y, 500, 600)
    a, b = absolute(x), absolute(y)
    wide = [cast(v, float64) for v in (a, b)]
    length = cast(sqrt(fma(wide[0], wide[0], mul(wide[1], wide[1]))), float32)
    infinite = or_(eq(a, math.inf), eq(b, math.inf))
    return select(infinite, math.inf, length)


def hypot_single(x: Expr, y: Expr) -> Expr:
    """`hypot` of float32 in float32."""
    return _scaled_hypot(x, y, 50, 80)


def _scaled_hypot(x: Expr, y: Expr, limit: int, power: int) -> Expr:
    """Both sides times a power of two where their squares would overflow or vanish."""
    a, b = absolute(x), absolute(y)
    most = select(lt(a, b), b, a)
    large, small = gt(most, 2.0**limit), lt(most, 2.0**-limit)
    up, down = number(2.0**power, x), number(2.0**-power, x)
    scale = select(large, down, select(small, up, 1.0))
    back = select(large, up, select(small, down, 1.0))
    a_scaled, b_scaled = mul(a, scale), mul(b, scale)
    length = mul(sqrt(fma(a_scaled, a_scaled, mul(b_scaled, b_scaled))), back)
    infinite = or_(eq(a, math.inf), eq(b, math.inf))
    return select(infinite, math.inf, length)


# --- cube root ---------------------------------------------------------------------------------


def cbrt(x: Expr) -> Expr:
    """The cube root: a third of the bits as a guess, Halley's steps, one exact Newton step."""
    single = x.dtype is float32
    sign, size = split_sign(x)
    power = 24 if single else 54
    low, high = (2.0**-100, 2.0**100) if single else (2.0**-900, 2.0**900)
    tiny, huge = lt(size, low), gt(size, high)
    up, down = number(2.0**power, x), number(2.0**-power, x)
    a = mul(size, select(tiny, up, select(huge, down, 1.0)))
    root = _cube_root_guess(a)
    for _ in range(1 if single else 2):
        cube = mul(mul(root, root), root)
        root = mul(root, div(fma(a, 2.0, cube), fma(cube, 2.0, a)))
    square_high = mul(root, root)
    square_low = fma(root, root, neg(square_high))
    error = fma(square_low, root, fma(square_high, root, neg(a)))
    root = sub(root, div(error, mul(square_high, 3.0)))
    up, down = number(2.0 ** (power // 3), x), number(2.0 ** (-power // 3), x)
    root = mul(root, select(tiny, down, select(huge, up, 1.0)))
    usual = and_(gt(size, 0.0), lt(size, math.inf))
    return select(usual, copy_sign(root, sign), x)


def _cube_root_guess(a: Expr) -> Expr:
    """The cube root within a few percent: a third of the bits, and two thirds of those of 1."""
    integer = integer_of(a)
    offset = 709921077.0 if a.dtype is float32 else 715094163.0 * 2.0**32
    bits = fma(cast(bitcast(a, integer), a.dtype), 1 / 3, offset)
    return bitcast(cast(bits, integer), a.dtype)


# --- remainders --------------------------------------------------------------------------------


def _fmod_step(a: Expr, b: Expr) -> Expr:
    """``fmod(a, b)`` of positive numbers whose quotient has no more bits than a mantissa."""
    q = trunc(div(a, b))
    r = fma(neg(q), b, a)
    # A quotient just below a whole number may have been rounded up to it.
    r = select(lt(r, 0.0), add(r, b), r)
    return select(lt(a, b), a, r)


def _fmod_chain(a: Expr, b: Expr, powers: list[int]) -> Expr:
    """`a` modulo b * 2**power, one power after the other; those that overflow are left out."""
    for power in powers:
        multiple = mul(b, 2.0**power)
        a = select(lt(multiple, math.inf), _fmod_step(a, multiple), a)
    return a


def _fmod_positive(a: Expr, b: Expr) -> Expr:
    """Steps that find as many bits of the quotient each as a mantissa has."""
    step, most = (23, 127) if a.dtype is float32 else (52, 1023)
    large = not_(lt(div(a, b), 2.0**step))
    powers = [step * i for i in range((most - 1) // step, 0, -1)]
    reduced = _fmod_chain(a, mul(b, 2.0**most), [most, *powers, 0])
    reduced = _fmod_chain(reduced, b, powers)
    return _fmod_step(rare(large, a, reduced), b)


def fmod(x: Expr, y: Expr) -> Expr:
    """The exact remainder with the sign of `x`; NaN for infinite x or zero y."""
    sign, a = split_sign(x)
    b = absolute(y)
    defined = and_(lt(a, math.inf), gt(b, 0.0))
    return select(defined, copy_sign(_fmod_positive(a, b), sign), math.nan)


def _divmod_float(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    remainder = fmod(x, y)
    quotient = div(sub(x, remainder), y)
    exact = eq(remainder, 0.0)
    against = and_(not_(exact), xor(lt(y, 0.0), lt(remainder, 0.0)))
    quotient = select(against, sub(quotient, 1.0), quotient)
    remainder = select(against, add(remainder, y), remainder)
    remainder = select(exact, copysign(number(0.0, x), y), remainder)
    floor = make("floor", quotient)
    floor = select(gt(sub(quotient, floor), 0.5), add(floor, 1.0), floor)
    floor = select(eq(quotient, 0.0), copysign(number(0.0, x), div(x, y)), floor)
    return select(eq(y, 0.0), div(x, y), floor), remainder


def _divmod_integer(x: Expr, y: Expr) -> tuple[Expr, Expr]:
    """Quotient and remainder as Python rounds them; both 0 where `y` is."""
    zero = eq(y, 0)
    a, b = absolute(x), select(zero, number(1, y), absolute(y))
    q, r = make("divtrunc", a, b), make("remtrunc", a, b)
    if x.dtype.kind == "int":
        negative_x, negative_y = lt(x, 0), lt(y, 0)
        against = xor(negative_x, negative_y)
        inexact = ne(r, 0)
        q = select(against, neg(add(q, cast(inexact, x.dtype))), q)
        r = select(negative_x, neg(r), r)
        r = select(and_(against, inexact), add(r, y), r)
    return select(zero, 0, q), select(zero, 0, r)


def floordiv(x: Expr, y: Expr) -> Expr:
    """The quotient rounded down; an integer divided by 0 gives 0, as in NumPy."""
    return (_divmod_float if x.dtype.is_float else _divmod_integer)(x, y)[0]


def mod(x: Expr, y: Expr) -> Expr:
    """The remainder with the sign of `y`; that of an integer by 0 is 0, as in NumPy."""
    return (_divmod_float if x.dtype.is_float else _divmod_integer)(x, y)[1]


# --- powers ------------------------------------------------------------------------------------

# With s = f / (2 + f): log(1 + f) = s * (2 + z * (2/3 + z * p(z))), z = s * s
_POW_TAIL = (
    0.13211555116861762,
    0.13255218414743358,
    0.1538682407617177,
    0.1818178296440974,
    0.22222222535371267,
    0.2857142857001664,
    0.4000000000000242,
)
# In float32, to about 2**-34: log2(1 + f) = s * p(s * s), 2 ** r = 1 + r * q(r)
_LOG2_TAIL = (
    0.3409485100581936,
    0.4116613282138871,
    0.5770837672524908,
    0.9617966724309231,
    2.8853900817907734,
)
_EXP2_TAIL = (
    1.5314993267241997e-05,
    0.00015467136100594063,
    0.0013333430575472535,
    0.009618036836248565,
    0.05550410962849326,
    0.24022651076312052,
    0.6931471805415689,
)
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)
_LOG_2 = (0.6931471805599453, 2.3190468138462996e-17)
# The same where float32 stands for itself, to about 2**-39.
_POW_TAIL_SINGLE = tuple(2 / n for n in (13, 11, 9, 7, 5))
_TWO_THIRDS_SINGLE = (0.6666666865348816, -1.9868215074703526e-08)
_LOG_2_SINGLE = (0.6931471824645996, -1.904654323148236e-09)


def pow_(x: Expr, y: Expr) -> Expr:
    """``x ** y``; special values as in C99, negative integer exponents of integers rounded to 0."""
    return _power(x, y, _power_wide if x.dtype is float32 else _power_in_pairs)


def pow_single(x: Expr, y: Expr) -> Expr:
    """`pow_` of float32 in float32."""
    return _power(x, y, _power_in_pairs)


def _power(x: Expr, y: Expr, of_size: Callable[[Expr, Expr], Expr]) -> Expr:
    """``x ** y``, by a function for positive numbers."""
    if not x.dtype.is_float:
        return _integer_power(x, y)
    if isinstance(y, Const):
        simple = _constant_power(x, float(y.value))
        if simple is not None:
            return simple
    size = absolute(x)
    usual = of_size(size, y)
    grows = not_(xor(gt(size, 1.0), gt(y, 0.0)))
    extreme = select(grows, number(math.inf, x), 0.0)
    power = select(or_(eq(size, 0.0), eq(size, math.inf)), extreme, usual)
    power = select(or_(ne(x, x), ne(y, y)), math.nan, power)
    half = mul(y, 0.5)
    whole = eq(trunc(y), y)
    odd = and_(whole, ne(trunc(half), half))
    sign, _ = split_sign(x)
    power = select(odd, copy_sign(power, sign), power)
    undefined = and_(and_(lt(x, 0.0), gt(x, -math.inf)), not_(whole))
    power = select(undefined, math.nan, power)
    one = or_(eq(y, 0.0), or_(eq(x, 1.0), and_(eq(x, -1.0), eq(absolute(y), math.inf))))
    return select(one, 1.0, power)


def _constant_power(x: Expr, exponent: float) -> Expr | None:
    """`x` to a small known power, by multiplication or square root."""
    if exponent == 0.5:
        # The power of -0.0 is 0.0, that of minus infinity is infinity.
        return select(eq(x, -math.inf), math.inf, sqrt(add(x, 0.0)))
    if exponent == -1.0:
        return reciprocal(x)
    if exponent == 4.0:
        return square(square(x))
    if exponent in (1.0, 2.0, 3.0):
        return reduce(mul, [x] * int(exponent))
    return None


def _power_wide(size: Expr, y: Expr) -> Expr:
    """``2 ** (y * log2(size))`` with an intermediate result in float64."""
    k, f = split_normal(cast(size, float64))
    s = div(f, add(f, 2.0))
    z = mul(s, s)
    logarithm = fma(s, polynomial(z, _LOG2_TAIL, mul(z, z)), k)
    exponent = clamp_low(clamp_high(mul(cast(y, float64), logarithm), 200.0), -200.0)
    magic = 1.5 * 2.0**52 + 1023.0
    rounded = add(exponent, magic)
    r = sub(exponent, sub(rounded, magic))
    scale = bitcast(shl(bitcast(rounded, int64), 52), float64)
    return cast(mul(fma(r, polynomial(r, _EXP2_TAIL, mul(r, r)), 1.0), scale), float32)


def _power_in_pairs(size: Expr, y: Expr) -> Expr:
    """``exp(y * log(size))`` with the logarithm in twice the precision."""
    high, low = _exact_log(size)
    product = mul(y, high)
    rest = fma(y, low, fma(y, high, neg(product)))
    moderate = lt(absolute(product), 800.0)
    return exp_of_sum(product, select(moderate, rest, 0.0))


def _exact_log(x: Expr) -> tuple[Expr, Expr]:
    """The logarithm of a positive number as a sum of two floats."""
    single = x.dtype is float32
    bits, smallest = (24, 2.0**-126) if single else (54, 2.0**-1022)
    thirds = _TWO_THIRDS_SINGLE if single else _TWO_THIRDS
    subnormal = lt(x, smallest)
    k, f = split_normal(select(subnormal, mul(x, 2.0**bits), x))
    k = select(subnormal, sub(k, float(bits)), k)
    total = add(f, 2.0)
    s = div(f, total)
    s_low = div(fma(neg(s), sub(f, sub(total, 2.0)), fma(neg(s), total, f)), total)
    z = mul(s, s)
    z_low = fma(add(s, s), s_low, fma(s, s, neg(z)))
    tail = mul(z, polynomial(z, _POW_TAIL_SINGLE if single else _POW_TAIL, mul(z, z)))
    u = add(tail, thirds[0])
    u_low = add(add(sub(thirds[0], u), tail), thirds[1])
    v = mul(z, u)
    v_low = fma(z_low, u, fma(z, u_low, fma(z, u, neg(v))))
    w = add(v, 2.0)
    w_low = add(add(sub(2.0, w), v), v_low)
    high = mul(s, w)
    low = fma(s_low, w, fma(s, w_low, fma(s, w, neg(high))))
    return _add_multiple_of_log2(k, high, low)


def _add_multiple_of_log2(k: Expr, high: Expr, low: Expr) -> tuple[Expr, Expr]:
    near, rest = _LOG_2_SINGLE if k.dtype is float32 else _LOG_2
    a = mul(k, near)
    a_low = fma(k, rest, fma(k, near, neg(a)))
    total = add(a, high)
    # abs(a) is 0 or larger than abs(high): the error of the sum is exact.
    error = select(eq(k, 0.0), 0.0, sub(high, sub(total, a)))
    return total, add(error, add(a_low, low))


def _integer_power(x: Expr, y: Expr) -> Expr:
    """Exponentiation by squaring, written out over the bits of the exponent."""
    bits = x.dtype.bits if x.dtype.kind == "uint" else x.dtype.bits - 1
    if isinstance(y, Const):
        bits = max(1, int(y.value).bit_length())
    result: Expr = number(1, x)
    base = x
    for i in range(bits):
        odd = ne(and_(shr(y, i), 1), 0)
        result = select(odd, mul(result, base), result)
        if i + 1 < bits:
            base = mul(base, base)
    if x.dtype.kind == "uint":
        return result
    odd = ne(and_(y, 1), 0)
    unit = select(eq(x, -1), select(odd, number(-1, x), 1), select(eq(x, 1), number(1, x), 0))
    return select(lt(y, 0), unit, result)
