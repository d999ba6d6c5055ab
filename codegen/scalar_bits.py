"""Signs, classes, logic and random bits, of primitive rows.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

import math

from .dtypes import bool_, uint32, uint64
from .expr import Expr
from .scalar_build import (
    absolute,
    add,
    and_,
    bitcast,
    cast,
    eq,
    gt,
    integer_of,
    lt,
    make,
    mul,
    ne,
    not_,
    number,
    or_,
    select,
    shl,
    shr,
    xor,
)
from .scalar_exponential import sign_bit, split_sign

__all__ = [
    "copysign",
    "isfinite",
    "isinf",
    "isnan",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "nextafter",
    "philox",
    "philox64",
    "round_",
    "sign",
    "signbit",
]


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; NaN of NaN."""
    if x.dtype.kind == "uint":
        return select(gt(x, 0), number(1, x), 0)
    positive = select(gt(x, 0), number(1, x), select(lt(x, 0), number(-1, x), number(0, x)))
    return select(eq(x, x), positive, x) if x.dtype.is_float else positive


def copysign(x: Expr, y: Expr) -> Expr:
    """The size of `x` with the sign of `y`."""
    negative, _ = split_sign(y)
    size = and_(bitcast(x, negative.dtype), ~sign_bit(x.dtype))
    return bitcast(or_(size, negative), x.dtype)


def nextafter(x: Expr, y: Expr) -> Expr:
    """The number next to `x` on the way to `y`; `y` where they are equal."""
    steps = bitcast(x, integer_of(x))
    # The bits of numbers of one sign are ordered as their sizes.
    outward = not_(xor(gt(y, x), gt(x, 0.0)))
    moved = bitcast(add(steps, select(outward, number(1, steps), -1)), x.dtype)
    least = copysign(bitcast(number(1, steps), x.dtype), y)
    result = select(eq(x, y), y, select(eq(x, 0.0), least, moved))
    return select(or_(ne(x, x), ne(y, y)), add(x, y), result)


def signbit(x: Expr) -> Expr:
    """Whether the sign bit is set, also of zeros and NaN."""
    return lt(bitcast(x, integer_of(x)), 0)


def isnan(x: Expr) -> Expr:
    return ne(x, x)


def isinf(x: Expr) -> Expr:
    return eq(absolute(x), math.inf)


def isfinite(x: Expr) -> Expr:
    return lt(absolute(x), math.inf)


def round_(x: Expr) -> Expr:
    """The nearest whole number; halves go to the even one."""
    return make("rint", x)


def _truth(x: Expr) -> Expr:
    return x if x.dtype is bool_ else ne(x, 0)


def logical_and(a: Expr, b: Expr) -> Expr:
    return and_(_truth(a), _truth(b))


def logical_or(a: Expr, b: Expr) -> Expr:
    return or_(_truth(a), _truth(b))


def logical_xor(a: Expr, b: Expr) -> Expr:
    return xor(_truth(a), _truth(b))


def logical_not(a: Expr) -> Expr:
    return not_(_truth(a))


_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10
_LOW = (1 << 32) - 1


def _philox_words(key: Expr, counter: Expr) -> tuple[Expr, Expr]:
    """Words 0 and 1 of Philox 4x32-10; every word is the low half of a uint64."""
    c0, c1 = and_(counter, _LOW), shr(counter, 32)
    c2: Expr = number(0, counter)
    c3 = c2
    k0, k1 = and_(key, _LOW), shr(key, 32)
    for _ in range(_ROUNDS):
        p0, p1 = mul(c0, _MULTIPLIERS[0]), mul(c2, _MULTIPLIERS[1])
        c0, c2 = xor(xor(shr(p1, 32), c1), k0), xor(xor(shr(p0, 32), c3), k1)
        c1, c3 = and_(p1, _LOW), and_(p0, _LOW)
        k0, k1 = and_(add(k0, _WEYL[0]), _LOW), and_(add(k1, _WEYL[1]), _LOW)
    return c0, c1


def philox(key: Expr, counter: Expr) -> Expr:
    """32 random bits: word 0 of Philox 4x32-10."""
    return cast(_philox_words(key, counter)[0], uint32)


def philox64(key: Expr, counter: Expr) -> Expr:
    """64 random bits: words 0 and 1 of Philox 4x32-10."""
    low, high = _philox_words(key, counter)
    return bitcast(or_(low, shl(high, 32)), uint64)
