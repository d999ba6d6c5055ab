"""Keys of elements: unsigned integers in whose order they are sorted. Knows no loop and no op."""

from __future__ import annotations

from ..codegen.dtypes import DType, as_dtype, bool_, int64, uint8, uint64
from ..codegen.expr import Const, Expr
from ..codegen.scalar import apply

__all__ = ["key_of", "key_type", "place_of", "value_of", "with_place"]


def key_type(dtype: DType) -> DType:
    return uint8 if dtype is bool_ else as_dtype(f"uint{dtype.bits}")


def key_of(x: Expr, descending: bool, signed_zeros: bool = False) -> Expr:
    """An unsigned integer in whose order `x` is sorted; NaN is the largest value.

    With `signed_zeros` the key says all of a number, and minus zero comes before zero.
    """
    dtype, unsigned = x.dtype, key_type(x.dtype)
    ones = Const(-1, unsigned)
    if dtype is bool_:
        key = apply("cast", x, dtype=uint8)
    elif dtype.kind == "uint":
        key = x
    else:
        top = Const(1 << (dtype.bits - 1), unsigned)
        if dtype.is_float and not signed_zeros:
            x = apply("add", x, Const(0.0, dtype))
        key = apply("bitcast", x, dtype=unsigned)
        if dtype.is_float:
            negative = apply("ne", apply("and", key, top), Const(0, unsigned))
            turned = apply("xor", key, apply("select", negative, ones, top))
            key = apply("select", apply("ne", x, x), ones, turned)
        else:
            key = apply("xor", key, top)
    return apply("xor", key, ones) if descending else key


def with_place(key: Expr, place: Expr) -> Expr:
    """A key of at most 32 bits and behind it a place: equal keys are in order of places."""
    high = apply("shl", apply("cast", key, dtype=uint64), Const(32, uint64))
    return apply("or", high, apply("cast", place, dtype=uint64))


def place_of(key: Expr) -> Expr:
    """The place in a key that `with_place` made."""
    return apply("cast", apply("and", key, Const((1 << 32) - 1, uint64)), dtype=int64)


def value_of(key: Expr, dtype: DType, descending: bool) -> Expr:
    """The element that has a key, minus zero told apart."""
    unsigned = key.dtype
    ones = Const(-1, unsigned)
    if descending:
        key = apply("xor", key, ones)
    if dtype is bool_:
        return apply("ne", key, Const(0, unsigned))
    if dtype.kind == "uint":
        return key
    top = Const(1 << (dtype.bits - 1), unsigned)
    if not dtype.is_float:
        return apply("bitcast", apply("xor", key, top), dtype=dtype)
    positive = apply("ne", apply("and", key, top), Const(0, unsigned))
    # The bits of the key of NaN are those of a NaN with the sign taken off.
    return apply("bitcast", apply("xor", key, apply("select", positive, top, ones)), dtype=dtype)
