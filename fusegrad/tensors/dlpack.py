"""bfloat16 through the protocol DLPack, which NumPy speaks for all other dtypes.

Knows the memory of a capsule: where it says what its elements are. A capsule of bfloat16 is handed
to NumPy as one of integers of 16 bits, and the other way round.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codegen.half import bfloat16_type

__all__ = ["as_bfloat16", "from_dlpack"]

Array = npt.NDArray[Any]

# Kinds of elements in DLPack's numbers.
_UNSIGNED, _BFLOAT = 1, 4
# Where the tensor begins in each form of capsule, and its dtype in the tensor.
_TENSORS = {b"dltensor": 0, b"dltensor_versioned": 32}
_DTYPE = 20

_name_of = ctypes.pythonapi.PyCapsule_GetName
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _Element(ctypes.Structure):
    """What an element is: DLDataType."""

    _fields_ = [("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16)]
    code: int
    bits: int


def _element(capsule: Any) -> _Element | None:
    """The description of the elements in a capsule, None in one that was consumed."""
    name = _name_of(capsule)
    if name not in _TENSORS:
        return None
    address = _pointer_of(capsule, name) + _TENSORS[name] + _DTYPE
    return _Element.from_address(address)


def as_bfloat16(capsule: Any) -> Any:
    """A capsule of unsigned integers of 16 bits as one of bfloat16."""
    element = _element(capsule)
    assert element is not None
    assert (element.code, element.bits) == (_UNSIGNED, 16)
    element.code = _BFLOAT
    return capsule


class _Bits:
    """An array of bfloat16 as one of integers, for NumPy to read."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self.is_bfloat16 = False

    def __dlpack_device__(self) -> Any:
        return self._source.__dlpack_device__()

    def __dlpack__(self, **params: Any) -> Any:
        try:
            capsule = self._source.__dlpack__(**params)
        except TypeError:
            # A library that knows the protocol's first form alone.
            capsule = self._source.__dlpack__()
        element = _element(capsule)
        if element is not None and (element.code, element.bits) == (_BFLOAT, 16):
            element.code, self.is_bfloat16 = _UNSIGNED, True
        return capsule


def from_dlpack(x: Any) -> Array:
    """``numpy.from_dlpack``, of arrays of bfloat16 too.

    Examples
    --------
    >>> from_dlpack(np.arange(3))
    array([0, 1, 2])
    """
    if not hasattr(x, "__dlpack_device__"):
        return np.from_dlpack(x)
    bits = _Bits(x)
    array = np.from_dlpack(bits)
    return array.view(bfloat16_type()) if bits.is_bfloat16 else array
