"""Values of Python and of other libraries as NumPy arrays.

Knows NumPy and dtypes; knows no Tensor.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import DType, as_dtype
from ..errors import DTypeError, FusegradError
from ..ir.halves import as_array
from ..semantics.promotion import is_complex, no_complex
from . import dlpack

__all__ = ["array_of", "check_number", "is_array"]

Array = npt.NDArray[Any]


def array_of(value: Any, dtype: DType | None) -> Array:
    """Numbers, nested lists of them or an array, in a dtype; by default in that of the value.

    Raises
    ------
    DTypeError
        If it is none of these, or if Python numbers do not fit the dtype.
    """
    try:
        array = _read(value)
        if is_complex(array):
            raise no_complex(f"the {type(value).__name__}")
        if is_array(value):
            kind = dtype or as_dtype(array.dtype.newbyteorder("="))
        else:
            kind = dtype or _default(value, array)
            array = _checked(array, kind)
        return as_array(array, kind)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:
        if isinstance(error, FusegradError):
            raise
        raise DTypeError(
            f"cannot make a tensor of a {type(value).__name__}: {_problem(value, error)}",
            remedy="pass an array, a number, or nested lists of numbers of equal length",
        ) from None


def _read(value: Any) -> Array:
    if _has_dlpack_only(value):
        return dlpack.from_dlpack(value)
    try:
        return np.asarray(value)
    except TypeError:
        # torch has no NumPy form of bfloat16.
        if hasattr(value, "__dlpack__"):
            return dlpack.from_dlpack(value)
        raise


def _has_dlpack_only(value: Any) -> bool:
    return hasattr(value, "__dlpack__") and not hasattr(value, "__array__")


def is_array(value: Any) -> bool:
    """Whether it is an array of some library."""
    return hasattr(value, "__array__") or hasattr(value, "__dlpack__")


def _default(value: Any, array: Array) -> DType:
    """The dtype of Python numbers; arrays in lists keep theirs."""
    if array.dtype != np.float64:
        return as_dtype(array.dtype)
    held = np.asarray(value, dtype=object).ravel()
    strong = [item.dtype for item in held if isinstance(item, (np.generic, np.ndarray))]
    if not strong and held.size and all(isinstance(item, int) for item in held):
        raise DTypeError(
            "no integer dtype holds all numbers of the list", remedy='say dtype="float64"'
        )
    return as_dtype(np.result_type(*strong)) if strong else as_dtype(float)


def _checked(array: Array, dtype: DType) -> Array:
    """The array, if its numbers fit the dtype."""
    if dtype.is_integer and array.size and array.dtype.kind in "uif":
        for number in (array.min().item(), array.max().item()):
            check_number(number, dtype)
    return array


def check_number(value: float, dtype: DType) -> None:
    """Raise DTypeError if a number does not fit an integer dtype; fractions are cut off."""
    if dtype.is_integer and not dtype.lowest - 1 < value < dtype.highest + 1:
        raise DTypeError(
            f"the number {value} does not fit {dtype}",
            remedy="choose a wider dtype, or convert an array with .astype, which wraps",
        )


def _problem(value: Any, error: Exception) -> str:
    if "inhomogeneous" in str(error):
        return "its rows have different lengths"
    if isinstance(error, RuntimeError):
        return str(error).partition("\n")[0]
    found = np.asarray(value).dtype
    if found.kind not in "biufV":
        return f"its elements are no numbers (NumPy's dtype {found})"
    return str(error).partition("\n")[0]
