"""Which dtype a result has.

Knows dtypes only.

Dtypes of one kind promote as the array API standard says. What the standard leaves open is chosen
as in torch and JAX: a bool adopts the other dtype, an integer with a float gives the float (so an
index array does not turn a float32 program into float64). Python scalars are weak: they adopt the
dtype of the arrays, and only change its kind.
"""

from __future__ import annotations

import functools
from typing import Any

from ..codegen.dtypes import (
    DType,
    bool_,
    float32,
    int8,
    int16,
    int32,
    int64,
    uint64,
)
from ..errors import DTypeError

__all__ = ["DEFAULT_FLOAT", "as_float", "kind_of", "promote", "sum_dtype", "with_weak"]

DEFAULT_FLOAT = float32
_RANK = {"bool": 0, "uint": 1, "int": 1, "float": 2}
_SIGNED = {8: int8, 16: int16, 32: int32, 64: int64}


@functools.lru_cache(maxsize=1024)
def promote(a: DType, b: DType) -> DType:
    """The dtype that values of both dtypes are converted to.

    Raises
    ------
    DTypeError
        For uint64 with a signed integer: no integer dtype holds both.

    Examples
    --------
    >>> promote(int32, int64), promote(bool_, float32), promote(int64, float32)
    (fusegrad.int64, fusegrad.float32, fusegrad.float32)
    >>> from fusegrad.codegen.dtypes import uint8
    >>> promote(uint8, int8)
    fusegrad.int16
    """
    if a is b:
        return a
    if _RANK[a.kind] != _RANK[b.kind]:
        return a if _RANK[a.kind] > _RANK[b.kind] else b
    if a.kind == b.kind:
        return a if a.bits > b.bits else b
    signed, unsigned = (a, b) if a.kind == "int" else (b, a)
    if signed.bits > unsigned.bits:
        return signed
    if unsigned.bits == 64:
        raise DTypeError(
            f"no integer dtype holds the values of {a} and {b}",
            remedy="convert one of them first, x.astype(...)",
        )
    return _SIGNED[2 * unsigned.bits]


def kind_of(value: Any) -> str:
    """The kind of a Python scalar: ``"bool"``, ``"int"`` or ``"float"``."""
    if isinstance(value, bool):
        return "bool"
    return "int" if isinstance(value, int) else "float"


def with_weak(dtype: DType | None, kind: str) -> DType:
    """The dtype of an array of `dtype` together with a Python scalar of a kind.

    Parameters
    ----------
    dtype : DType or None
        None if there are only scalars.
    kind : str
        ``"bool"``, ``"int"`` or ``"float"``.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import uint8
    >>> with_weak(uint8, "int"), with_weak(int32, "float"), with_weak(bool_, "int")
    (fusegrad.uint8, fusegrad.float32, fusegrad.int64)
    """
    if dtype is None:
        return {"bool": bool_, "int": int64, "float": DEFAULT_FLOAT}[kind]
    if _RANK[kind] <= _RANK[dtype.kind]:
        return dtype
    return int64 if kind == "int" else DEFAULT_FLOAT


def as_float(dtype: DType) -> DType:
    """The dtype that functions such as ``exp`` compute in: the default for integers and bools."""
    return dtype if dtype.is_float else DEFAULT_FLOAT


def sum_dtype(dtype: DType) -> DType:
    """The dtype of sums and products: 64 bits for integers and bools, else the dtype itself."""
    if dtype.is_float:
        return dtype
    return uint64 if dtype.kind == "uint" else int64
