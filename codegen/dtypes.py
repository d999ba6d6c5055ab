"""The scalar types of kernels and tensors, and the rules that relate them.

Knows nothing of tensors, ops or targets: a dtype is a name, a kind and a width.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, final

import numpy as np

from .half import bfloat16_type, is_record
from .records import dataclass

__all__ = [
    "ALL",
    "DType",
    "as_dtype",
    "bfloat16",
    "bool_",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]


@final
@dataclass(frozen=True, eq=False, repr=False)
class DType:
    """One scalar type. There is one object for each type, so identity is equality.

    Attributes
    ----------
    name : str
        The standard name, ``"float32"``.
    kind : str
        ``"bool"``, ``"int"``, ``"uint"`` or ``"float"``.
    bits : int
        The width of the value; a bool is stored in one byte.

    Examples
    --------
    >>> float32.short, float32.itemsize, int64.is_integer
    ('f32', 4, True)
    """

    name: str
    kind: str
    bits: int

    def __eq__(self, other: object) -> bool:
        # NumPy's dtypes and names may be compared with, as NumPy itself allows.
        if isinstance(other, DType):
            return self is other
        if isinstance(other, str):
            return self.name == other
        if isinstance(other, np.dtype) or (
            isinstance(other, type) and issubclass(other, np.generic)
        ):
            return self.numpy == other
        return NotImplemented

    __hash__ = object.__hash__

    @property
    def dtype(self) -> np.dtype[Any]:
        """The NumPy dtype, for functions of NumPy that are given this one: ``np.zeros(3, dt)``."""
        return self.numpy

    __numpy_dtype__ = dtype

    def __repr__(self) -> str:
        return f"fusegrad.{self.name}"

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return (as_dtype, (self.name,))

    def __copy__(self) -> DType:
        return self

    def __deepcopy__(self, memo: object) -> DType:
        return self

    @cached_property
    def short(self) -> str:
        """The spelling in printed kernels and graphs: ``f32``, ``bf16``, ``i64``, ``bool``."""
        if self.name == "bfloat16":
            return "bf16"
        return "bool" if self.kind == "bool" else f"{self.kind[0]}{self.bits}"

    @cached_property
    def itemsize(self) -> int:
        """Bytes of one element in memory."""
        return max(1, self.bits // 8)

    @cached_property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype of the same values; see `half` for bfloat16."""
        return bfloat16_type() if self.name == "bfloat16" else np.dtype(self.name)

    @cached_property
    def is_float(self) -> bool:
        return self.kind == "float"

    @cached_property
    def is_half(self) -> bool:
        """Whether this is a float of 16 bits: stored as such, computed with as float32."""
        return self.kind == "float" and self.bits == 16

    @cached_property
    def is_integer(self) -> bool:
        return self.kind in ("int", "uint")

    @cached_property
    def is_signed(self) -> bool:
        return self.kind in ("int", "float")

    @cached_property
    def lowest(self) -> Any:
        """The identity of ``max``: minus infinity, the least integer, or False."""
        if self.kind == "float":
            return -math.inf
        return False if self.kind == "bool" else int(np.iinfo(self.numpy).min)

    @cached_property
    def highest(self) -> Any:
        """The identity of ``min``: infinity, the largest integer, or True."""
        if self.kind == "float":
            return math.inf
        return True if self.kind == "bool" else int(np.iinfo(self.numpy).max)


bool_ = DType("bool", "bool", 1)
int8 = DType("int8", "int", 8)
int16 = DType("int16", "int", 16)
int32 = DType("int32", "int", 32)
int64 = DType("int64", "int", 64)
uint8 = DType("uint8", "uint", 8)
uint16 = DType("uint16", "uint", 16)
uint32 = DType("uint32", "uint", 32)
uint64 = DType("uint64", "uint", 64)
float16 = DType("float16", "float", 16)
bfloat16 = DType("bfloat16", "float", 16)
float32 = DType("float32", "float", 32)
float64 = DType("float64", "float", 64)

ALL: tuple[DType, ...] = (
    bool_,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
    float16,
    bfloat16,
    float32,
    float64,
)
_BY_NAME: dict[str, DType] = {d.name: d for d in ALL}
_BY_NUMPY: dict[np.dtype[Any], DType] = {d.numpy: d for d in ALL if d is not bfloat16}
_PYTHON: dict[object, DType] = {bool: bool_, int: int64, float: float32}


def as_dtype(value: object) -> DType:
    """The dtype that `value` names.

    Parameters
    ----------
    value : DType, str, numpy.dtype, NumPy scalar class, or bool, int, float

    Raises
    ------
    TypeError
        If fusegrad has no such dtype.

    Examples
    --------
    >>> as_dtype("int32"), as_dtype(np.float64), as_dtype(float)
    (fusegrad.int32, fusegrad.float64, fusegrad.float32)
    """
    if isinstance(value, DType):
        return value
    if isinstance(value, np.dtype) and value in _BY_NUMPY:
        return _BY_NUMPY[value]
    if isinstance(value, str) and value in _BY_NAME:
        return _BY_NAME[value]
    if isinstance(value, type) and value in _PYTHON:
        return _PYTHON[value]
    try:
        wanted = np.dtype(value)  # type: ignore[call-overload]
    except (TypeError, ValueError, SyntaxError):
        found = None
    else:
        found = _BY_NUMPY.get(wanted)
        if wanted.name == "bfloat16" or is_record(wanted):
            found = bfloat16
    if found is None:
        raise TypeError(f"no dtype {value!r}; the dtypes are {', '.join(d.name for d in ALL)}")
    return found
