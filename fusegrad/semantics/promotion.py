"""Which dtype a result has.

Knows dtypes only.

Dtypes of one kind promote as the array API standard says. What the standard leaves open is chosen
as in torch and JAX: a bool adopts the other dtype, an integer with a float gives the float (so an
index array does not turn a float32 program into float64), float16 with bfloat16 gives float32.
Python scalars are weak: they adopt the dtype of the arrays, and only change its kind.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..codegen import dtypes
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
from ..ops.elementwise import as_float

__all__ = [
    "DEFAULT_FLOAT",
    "as_dtype",
    "as_float",
    "is_complex",
    "kind_of",
    "no_complex",
    "promote",
    "sum_dtype",
    "with_weak",
]

DEFAULT_FLOAT = as_float(bool_)
_RANK = {"bool": 0, "uint": 1, "int": 1, "float": 2}
_SIGNED = {8: int8, 16: int16, 32: int32, 64: int64}


def is_complex(value: Any) -> bool:
    """Whether a dtype, its name, an array or a number is complex.

    Examples
    --------
    >>> is_complex("complex64"), is_complex(1j), is_complex("float32")
    (True, True, False)
    """
    if isinstance(value, complex):
        return True
    try:
        return bool(np.dtype(getattr(value, "dtype", value)).kind == "c")
    except (TypeError, ValueError):
        return False


def no_complex(what: str) -> DTypeError:
    """The error for complex numbers, wherever they are met."""
    return DTypeError(
        f"{what} is complex, and there are no complex dtypes",
        remedy="compute with the real and the imaginary part as two arrays, x.real and x.imag",
    )


def as_dtype(value: object) -> DType:
    """The dtype that a user names; see `codegen.dtypes.as_dtype`.

    Raises
    ------
    DTypeError
        If there is no such dtype.

    Examples
    --------
    >>> as_dtype("half"), as_dtype(float)
    (fusegrad.float16, fusegrad.float32)
    """
    try:
        return dtypes.as_dtype(value)
    except TypeError:
        pass
    shown = getattr(value, "__name__", value)
    if is_complex(value):
        raise no_complex(f"the dtype {shown}")
    known = ", ".join(dtype.name for dtype in dtypes.ALL)
    raise DTypeError(f"there is no dtype {shown}", remedy=f"the dtypes are {known}")


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
    if a.is_half and b.is_half:
        return float32
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
    if isinstance(value, complex):
        raise no_complex(f"the number {value}")
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


def sum_dtype(dtype: DType) -> DType:
    """The dtype of sums and products: 64 bits for integers and bools, else the dtype itself."""
    if dtype.is_float:
        return dtype
    return uint64 if dtype.kind == "uint" else int64
