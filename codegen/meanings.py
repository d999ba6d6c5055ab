"""What scalar ops mean, in NumPy, where no NumPy function says it already.

Knows arrays and dtypes; knows no expressions and no targets.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

from .dtypes import DType, bfloat16, uint32, uint64
from .half import from_bfloat16, is_record, to_bfloat16

__all__ = [
    "Array",
    "bitcast",
    "cast",
    "converted",
    "divtrunc",
    "elementwise",
    "floor_divide",
    "fma",
    "integer_power",
    "number",
    "philox",
    "philox64",
    "power",
    "quiet",
    "remainder",
    "remtrunc",
    "shl",
    "shr",
]

Array = np.ndarray[Any, Any]

_PHILOX_M0 = np.uint64(0xD2511F53)
_PHILOX_M1 = np.uint64(0xCD9E8D57)
_PHILOX_W0 = 0x9E3779B9
_PHILOX_W1 = 0xBB67AE85
_PHILOX_ROUNDS = 10
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def quiet(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` without NumPy's warnings: every special value is a plain result here."""

    def call(*args: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(*args)

    # For those who have silenced NumPy already.
    call.__wrapped__ = function  # type: ignore[attr-defined]
    return call


def elementwise(function: Callable[..., float]) -> Callable[..., Any]:
    """A NumPy meaning made of a function on Python floats, computed in float64."""
    vectorised = np.frompyfunc(function, 1, 1)

    def call(x: Any) -> Any:
        x = np.asarray(x)
        return np.asarray(vectorised(x.astype(np.float64))).astype(x.dtype)

    return call


# --- fused multiply-add --------------------------------------------------------------------------


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def _add_to_odd(a: Array, b: Array) -> Array:
    """``a + b`` rounded to odd, so that rounding once more is exact."""
    s, error = _two_sum(a, b)
    bits = s.view(np.int64)
    inexact = (error != 0) & np.isfinite(s) & ((bits & 1) == 0)
    away = (error > 0) == (s > 0)
    return np.where(inexact, np.where(away, bits + 1, bits - 1), bits).view(np.float64)


def _split(a: Array) -> tuple[Array, Array]:
    c = a * 134217729.0
    high = c - (c - a)
    return high, a - high


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    p = a * b
    ah, al = _split(a)
    bh, bl = _split(b)
    return p, ((ah * bh - p) + ah * bl + al * bh) + al * bl


def _fma_exact(a: float, b: float, c: float) -> float:
    """One finite multiply-add in rational arithmetic."""
    return float(Fraction(a) * Fraction(b) + Fraction(c))


def _fma64(a: Array, b: Array, c: Array) -> Array:
    a_part, a_power = np.frexp(a)
    b_part, b_power = np.frexp(b)
    c_part, c_power = np.frexp(c)
    # Everything is scaled so that nothing overflows; far smaller terms only tip the rounding.
    distance = c_power - (a_power + b_power)
    scale = np.where(distance > 200, c_power - 200, a_power + b_power)
    term = np.ldexp(c_part, np.clip(distance, -200, 200))
    product, low = _two_product(a_part, b_part)
    high, tail = _two_sum(term, low)
    total, rest = _two_sum(product, high)
    rounded = total + _add_to_odd(rest, tail)
    result = np.ldexp(rounded, scale)
    simple = ~np.isfinite(a) | ~np.isfinite(b) | ~np.isfinite(c) | (a == 0) | (b == 0) | (c == 0)
    subnormal = (np.abs(result) <= 2.0**-1022) & (rounded != 0) & ~simple
    result = np.where(simple, a * b + c, result)
    for i in zip(*np.nonzero(subnormal), strict=True):
        result[i] = _fma_exact(float(a[i]), float(b[i]), float(c[i]))
    return result


def converted(values: Array, dtype: DType) -> Array:
    """`values` cast, or themselves where they have the dtype."""
    if values.dtype == dtype.numpy:
        return values
    result: Array = cast(values, dtype)
    return result


def fma(a: Any, b: Any, c: Any) -> Any:
    """``a * b + c`` rounded once.

    Examples
    --------
    >>> x = np.float32(1 + 2**-12)
    >>> y = np.float32(-1 - 2**-11)
    >>> float(fma(x, x, y)), float(x * x + y)
    (5.960464477539063e-08, 0.0)
    """
    dtype = np.result_type(a, b, c)
    shape = np.broadcast_shapes(np.shape(a), np.shape(b), np.shape(c))
    x, y, z = (np.atleast_1d(np.broadcast_to(np.asarray(v, np.float64), shape)) for v in (a, b, c))
    with np.errstate(all="ignore"):
        if dtype == np.float32:
            result = _add_to_odd(x * y, z).astype(np.float32)
        else:
            result = _fma64(x, y, z)
    return result.reshape(shape)[()]


# --- integers ------------------------------------------------------------------------------------


def _unsigned(x: Any) -> Any:
    x = np.asarray(x)
    return x.view(np.dtype(f"u{x.dtype.itemsize}")) if x.dtype.kind == "i" else x


def divtrunc(a: Any, b: Any) -> Any:
    """The quotient of two bit patterns read as unsigned numbers."""
    return (_unsigned(a) // _unsigned(b)).view(np.asarray(a).dtype)[()]


def remtrunc(a: Any, b: Any) -> Any:
    """The remainder of two bit patterns read as unsigned numbers."""
    return (_unsigned(a) % _unsigned(b)).view(np.asarray(a).dtype)[()]


floor_divide = quiet(np.floor_divide)
remainder = quiet(np.remainder)


def shl(a: Any, b: Any) -> Any:
    """``a << b``; zero when the count is not below the width."""
    return np.left_shift(a, b)


def shr(a: Any, b: Any) -> Any:
    """``a >> b``; the sign (or zero) everywhere when the count is not below the width."""
    return np.right_shift(a, b)


def integer_power(a: Any, b: Any) -> Any:
    """``a ** b``, wrapping; a negative exponent gives the rounded-to-zero reciprocal power."""
    a, b = np.broadcast_arrays(a, b)
    with np.errstate(all="ignore"):
        if b.dtype.kind == "u":
            return np.power(a, b)[()]
        result = np.power(a, np.maximum(b, 0))
        odd = (b & 1).astype(a.dtype)
        minus = np.where(odd != 0, a, np.ones_like(a))
        tiny = np.where((a == 1) | (a == -1), minus, np.zeros_like(a))
    return np.where(b < 0, tiny, result)[()]


def power(a: Any, b: Any) -> Any:
    """``a ** b`` of floats or of integers."""
    return integer_power(a, b) if np.asarray(a).dtype.kind in "iu" else quiet(np.power)(a, b)


# --- casts ---------------------------------------------------------------------------------------


def cast(x: Any, dtype: DType) -> Any:
    """`x` converted as NumPy does it on x86; to bfloat16 by way of float32.

    Floats lose their fraction and wrap when an integer dtype does not hold them, as the int32 (for
    narrow dtypes) or int64 that they become first. What that does not hold either, and NaN,
    becomes its least value, before it wraps.
    """
    x = np.asarray(x)
    if x.dtype == bfloat16.numpy or is_record(x.dtype):
        x = from_bfloat16(x)
    if dtype is bfloat16:
        return to_bfloat16(x)[()]
    with np.errstate(all="ignore"):
        if x.dtype.kind == "f" and dtype in (uint32, uint64):
            return _to_unsigned(x, dtype)
        return x.astype(dtype.numpy)[()]


def _to_unsigned(x: Array, dtype: DType) -> Any:
    """By way of int64; NumPy's own way depends on the processor and the length."""
    if dtype is uint32:
        return x.astype(np.int64).astype(np.uint32)[()]
    x = x.astype(np.promote_types(x.dtype, np.float32))
    large = x >= 2.0**63
    rest = np.where(large, x - x.dtype.type(2.0**63), x).astype(np.int64).view(np.uint64)
    return np.where(large, rest ^ np.uint64(1 << 63), rest)[()]


def number(value: float | int | bool, dtype: DType) -> Any:
    """A Python number as a NumPy scalar of `dtype`."""
    return to_bfloat16(value)[()] if dtype is bfloat16 else dtype.numpy.type(value)


def bitcast(x: Any, dtype: DType) -> Any:
    """The bits of `x` read as `dtype`."""
    return np.atleast_1d(np.asarray(x)).view(dtype.numpy).reshape(np.shape(x))[()]


# --- random bits ---------------------------------------------------------------------------------


def _philox_words(key: Any, counter: Any) -> tuple[Array, Array]:
    key, counter = (np.asarray(v, np.uint64) for v in (key, counter))
    k0, k1 = key & _LOW, key >> _HALF
    c0, c1 = counter & _LOW, counter >> _HALF
    c2 = c3 = np.zeros_like(c0)
    for _ in range(_PHILOX_ROUNDS):
        p0, p1 = c0 * _PHILOX_M0, c2 * _PHILOX_M1
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0, k1 = (k0 + _PHILOX_W0) & _LOW, (k1 + _PHILOX_W1) & _LOW
    return c0, c1


def philox(key: Any, counter: Any) -> Any:
    """Word 0 of Philox 4x32-10 (Salmon et al., 2011)."""
    return _philox_words(key, counter)[0].astype(np.uint32)[()]


def philox64(key: Any, counter: Any) -> Any:
    """Words 0 (low) and 1 (high) of Philox 4x32-10."""
    low, high = _philox_words(key, counter)
    return (low | (high << _HALF))[()]
