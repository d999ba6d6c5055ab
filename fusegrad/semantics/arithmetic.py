"""Numbers taken apart and put together: functions from nodes of one dtype and shape to nodes."""

from __future__ import annotations

from ..codegen.dtypes import DType, bool_, float64, int32
from ..errors import DTypeError
from ..ir.node import Node
from ..ops import build
from .promotion import as_float

__all__ = ["frexp", "ldexp", "modf"]


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
