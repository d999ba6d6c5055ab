"""DLPack's capsules of memory of a GPU: made and read through their layout in memory.

Knows storages on GPUs; knows no tensors. Whoever takes a capsule names the stream that will use the
memory: it waits for what was asked for before, and the memory is not used again before that stream
is done with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np

from ..codegen.dtypes import ALL, DType
from ..errors import CopyError, DeviceError, DTypeError
from .storage import DeviceStorage

__all__ = ["Foreign", "capsule_of", "read_capsule"]

CUDA = 2
"""DLPack's number of NVIDIA's GPUs."""
_KINDS = {"int": 0, "uint": 1, "float": 2, "bfloat": 4, "bool": 6}
_NO_SYNC, _LEGACY = -1, 1


class _Tensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = (("tensor", _Tensor), ("context", ctypes.c_void_p), ("deleter", _Deleter))


class _Versioned(ctypes.Structure):
    _fields_ = (
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _Tensor),
    )


_NAMES = {b"dltensor": _Managed, b"dltensor_versioned": _Versioned}
_api = ctypes.pythonapi
_name_of = _api.PyCapsule_GetName
_name_of.restype, _name_of.argtypes = ctypes.c_char_p, [ctypes.py_object]
_pointer_of = _api.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
_rename = _api.PyCapsule_SetName
_rename.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _tensor_in(capsule: Any, name: bytes) -> _Tensor:
    tensor: _Tensor = _NAMES[name].from_address(_pointer_of(capsule, name)).tensor
    return tensor


@final
class _Lent:
    """What a capsule keeps alive: to NumPy an array, whose elements it does not touch."""

    def __init__(self, storage: DeviceStorage, stream: int) -> None:
        self.storage = storage
        self.stream = stream
        kind = storage.type
        name = "<u2" if kind.dtype.name == "bfloat16" else kind.dtype.numpy.str
        self.__array_interface__ = {
            **{"shape": kind.shape, "typestr": name, "data": (storage.address, False)},
            "version": 3,
        }

    def __del__(self) -> None:
        # Whoever took it is done: nobody writes the memory before the stream is.
        if self.stream != _NO_SYNC:
            gpu = self.storage.gpu
            gpu.driver.take_over(gpu.index, self.stream)


def capsule_of(storage: DeviceStorage, stream: Any, max_version: Any) -> Any:
    """A capsule of the memory of a storage, which lives until its taker lets go.

    NumPy makes it, of an array at that address, and the device is written into it.

    Parameters
    ----------
    storage : DeviceStorage
    stream : int or None
        That of whoever will read it; None and 1 are the default one, -1 asks for no order.
    max_version : tuple of int or None
        The newest version of the protocol that is understood; None: the first.
    """
    gpu = storage.gpu
    number = _stream(stream)
    capsule = np.asarray(_Lent(storage, number)).__dlpack__(max_version=max_version)
    tensor = _tensor_in(capsule, _name_of(capsule))
    tensor.device_type, tensor.device_id = CUDA, gpu.index
    # NumPy may give an array without elements another place.
    tensor.data = storage.address
    tensor.code, tensor.bits = _element(storage.type.dtype)
    if number != _NO_SYNC:
        gpu.driver.hand_over(gpu.index, number)
    return capsule


def _stream(given: Any) -> int:
    """The handle of a stream in the driver's numbers."""
    if given is None:
        return _LEGACY
    if type(given) is not int or given < _NO_SYNC or given == 0:
        raise DeviceError(
            f"{given!r} is no stream of a GPU in DLPack's numbers",
            remedy="pass its handle, 1 for the default stream, or None",
        )
    return given


def _strides(shape: Sequence[int]) -> list[int]:
    found: list[int] = []
    step = 1
    for extent in reversed(shape):
        found.append(step)
        step *= extent
    return found[::-1]


def _element(dtype: DType) -> tuple[int, int]:
    if dtype.name == "bfloat16":
        return _KINDS["bfloat"], 16
    if dtype.name == "bool":
        return _KINDS["bool"], 8
    return _KINDS[dtype.kind], dtype.bits


@final
class Foreign(NamedTuple):
    """An array of another library on a GPU."""

    address: int
    gpu: int
    shape: tuple[int, ...]
    dtype: DType
    capsule: Any

    def release(self) -> None:
        """Let its owner know that it is not needed any more."""
        name = _name_of(self.capsule)
        made = _NAMES[name].from_address(_pointer_of(self.capsule, name))
        _rename(self.capsule, _USED[name])
        if made.deleter:
            made.deleter(ctypes.addressof(made))


_USED = {name: b"used_" + name for name in _NAMES}
_DTYPES = {_element(dtype): dtype for dtype in ALL}


def read_capsule(capsule: Any) -> Foreign:
    """What is in a capsule of a GPU; `release` it afterwards.

    Raises
    ------
    DTypeError
        If fusegrad does not have the dtype.
    CopyError
        If its elements do not lie one after the other.
    DeviceError
        If it was taken before, or is of another kind of device.
    """
    name = _name_of(capsule)
    if name not in _NAMES:
        raise DeviceError(
            "the capsule was taken before", remedy="ask the array for another, x.__dlpack__()"
        )
    tensor = _tensor_in(capsule, name)
    if tensor.device_type != CUDA:
        raise DeviceError(
            f"the array is on a device of kind {tensor.device_type} in DLPack's numbers",
            remedy="copy it to the CPU first",
        )
    dtype = _DTYPES.get((tensor.code, tensor.bits)) if tensor.lanes == 1 else None
    if dtype is None:
        raise DTypeError(
            f"elements of kind {tensor.code} with {tensor.bits} bits are none of fusegrad's",
            remedy="convert it to a dtype of fusegrad first",
        )
    shape = tuple(tensor.shape[i] for i in range(tensor.ndim))
    if tensor.strides:
        steps = [tensor.strides[i] for i in range(tensor.ndim)]
        apart = [(n, s, k) for n, s, k in zip(shape, steps, _strides(shape), strict=True) if n > 1]
        if 0 not in shape and any(s != k for _, s, k in apart):
            raise CopyError(
                f"an array on a GPU has the strides {tuple(steps)}",
                remedy="make it contiguous first, as with x.contiguous() in torch",
            )
    address = (tensor.data or 0) + tensor.byte_offset
    return Foreign(address, int(tensor.device_id), shape, dtype, capsule)
