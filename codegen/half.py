"""The 16-bit floats in NumPy: what their arrays are, and conversions to and from float32.

Knows bits; knows no tensors and no targets. Both types are storage: whatever is computed of them is
computed in float32 and rounded once. NumPy has no bfloat16 of its own. Where the package
`ml_dtypes` is installed arrays are of its type, else of a record of 16 bits that NumPy can move.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

__all__ = [
    "RECORD",
    "as_words",
    "bfloat16_type",
    "from_bfloat16",
    "is_record",
    "round_to",
    "to_bfloat16",
    "unpaired",
    "without_least",
]

Array = np.ndarray[Any, Any]


RECORD = np.dtype([("bfloat16", "<u2")])
"""The dtype of arrays of bfloat16 that NumPy can move, without any package."""


@functools.cache
def bfloat16_type() -> np.dtype[Any]:
    """The NumPy dtype of bfloat16 arrays."""
    try:
        import ml_dtypes
    except ImportError:
        return RECORD
    known: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return known


def is_record(dtype: np.dtype[Any]) -> bool:
    """Whether a NumPy dtype stands for bfloat16 but cannot be computed with.

    Examples
    --------
    >>> is_record(np.dtype("float16"))
    False
    """
    return dtype == RECORD


def to_bfloat16(values: Any) -> Array:
    """Numbers rounded to float32, then to the nearest bfloat16, ties to the even one.

    Examples
    --------
    >>> from_bfloat16(to_bfloat16([1.0, 1.005, float("inf")]))
    array([1.       , 1.0078125,       inf], dtype=float32)
    """
    with np.errstate(all="ignore"):
        single = np.asarray(values, np.float32)
    bits = np.atleast_1d(single).view(np.uint32)
    rounded = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    quiet = (bits >> np.uint32(16)) | np.uint32(0x40)
    chosen = np.where(np.isnan(np.atleast_1d(single)), quiet, rounded).astype(np.uint16)
    return chosen.view(bfloat16_type()).reshape(single.shape)


def from_bfloat16(values: Any) -> Array:
    """The float32 numbers that bfloat16 values are."""
    array = np.asarray(values)
    bits = np.atleast_1d(array).view(np.uint16).astype(np.uint32) << np.uint32(16)
    return bits.view(np.float32).reshape(array.shape)


def round_to(name: str, value: float) -> float:
    """A number rounded to ``"float16"`` or ``"bfloat16"``.

    Examples
    --------
    >>> round_to("float16", 0.1), round_to("bfloat16", 0.1)
    (0.0999755859375, 0.10009765625)
    """
    with np.errstate(all="ignore"):
        if name == "float16":
            return float(np.float16(value))
        return float(from_bfloat16(to_bfloat16(value)))


# --- words of two ---------------------------------------------------------------------------------


def as_words(elements: Array, dtype: np.dtype[Any]) -> Array:
    """The same bytes in elements of another size; what does not fill one is left out."""
    each = max(1, dtype.itemsize // elements.itemsize)
    whole = elements[: elements.size // each * each]
    return whole if each == 1 else whole.view(dtype)


def unpaired(words: Array, axis: int) -> Array:
    """The two numbers of bfloat16 in each word along an axis, in the order in which they count."""
    halves = (words & np.uint32(0xFFFF0000), words << np.uint32(16))
    both = np.stack([without_least(h.view(np.float32)) for h in halves], axis + 1)
    shape = list(words.shape)
    shape[axis] *= 2
    return both.reshape(shape)


def without_least(values: Array) -> Array:
    """Numbers below the least normal one as zero, which they are where pairs are multiplied."""
    least = np.abs(values) < np.finfo(np.float32).tiny
    return np.where(least, np.copysign(np.float32(0), values), values)
