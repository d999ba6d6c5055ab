"""DLPack of tensors on a GPU: what is in a capsule, who owns it, and which stream waits."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import CopyError, DeviceError, DTypeError
from fusegrad.runtime.simulated import SimulatedDriver
from fusegrad.testing import simulated_gpus


@pytest.fixture
def gpu() -> Iterator[SimulatedDriver]:
    with simulated_gpus(2) as driver:
        yield driver
        gc.collect()


class DLTensor(ctypes.Structure):
    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device", ctypes.c_int32 * 2),
        ("ndim", ctypes.c_int32),
        ("dtype", ctypes.c_uint8 * 2),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


OFFSETS = {b"dltensor": 0, b"dltensor_versioned": 32}
USED = {name: b"used_" + name for name in OFFSETS}
"""A capsule keeps the address of its name alone."""
api = ctypes.pythonapi
api.PyCapsule_GetName.restype = ctypes.c_char_p
api.PyCapsule_GetName.argtypes = [ctypes.py_object]
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
api.PyCapsule_SetName.argtypes = [ctypes.py_object, ctypes.c_char_p]


def read(capsule: Any) -> tuple[DLTensor, Any]:
    """The tensor in a capsule, and what lets go of it, as a library in C does it."""
    name = api.PyCapsule_GetName(capsule)
    start = api.PyCapsule_GetPointer(capsule, name)
    deleter_at = start + (ctypes.sizeof(DLTensor) + 8 if name == b"dltensor" else 16)
    deleter = ctypes.c_void_p.from_address(deleter_at).value or 0
    api.PyCapsule_SetName(capsule, USED[name])
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(deleter)
    return DLTensor.from_address(start + OFFSETS[name]), lambda: call(start)


@pytest.mark.parametrize("version", [None, (0, 8), (1, 0), (1, 3)])
@pytest.mark.parametrize(
    ("dtype", "code", "bits"),
    [("float32", 2, 32), ("float16", 2, 16), ("bfloat16", 4, 16), ("int8", 0, 8), ("bool", 6, 8)],
)
def test_what_is_in_it(
    gpu: SimulatedDriver, version: Any, dtype: str, code: int, bits: int
) -> None:
    x = fg.ones(2, 3, 4).astype(dtype).to("cuda:1")
    capsule = x.__dlpack__(stream=77, max_version=version)
    newer = version is not None and version >= (1, 0)
    assert api.PyCapsule_GetName(capsule) == (b"dltensor_versioned" if newer else b"dltensor")
    assert gpu.log[-1] == "hand over to 77"
    tensor, release = read(capsule)
    assert tuple(tensor.device) == (2, 1) == x.__dlpack_device__()
    assert (*tensor.dtype, tensor.lanes) == (code, bits, 1)
    assert tensor.shape[: tensor.ndim] == [2, 3, 4]
    assert tensor.strides[: tensor.ndim] == [12, 4, 1]
    assert tensor.data == x._own_storage().address
    release()
    assert gpu.log[-1] == "take over from 77"


def test_the_memory_lives_as_long_as_it_is_lent(gpu: SimulatedDriver) -> None:
    before = fg.cuda.memory_allocated()
    x = fg.asarray(np.arange(100, dtype="float32")).cuda()
    tensor, release = read(x.__dlpack__())
    place = tensor.data
    del x
    gc.collect()
    assert fg.cuda.memory_allocated() == before + 400
    assert fg.ones(100).cuda()._own_storage().address != place
    release()
    gc.collect()
    assert fg.cuda.memory_allocated() == before
    # One that nobody takes lets go by itself.
    fg.ones(100).cuda().__dlpack__()
    gc.collect()
    assert fg.cuda.memory_allocated() == before


def test_steps_do_not_write_what_is_lent(gpu: SimulatedDriver) -> None:
    state = fg.zeros(4, device="cuda")

    @fg.compile
    def step() -> None:
        state.add_(1)

    for _ in range(4):
        step()
    tensor, release = read(state.__dlpack__())
    for _ in range(3):
        step()
    assert state.tolist() == [7.0] * 4
    found = np.empty(4, np.float32)
    gpu.download(0, found.ctypes.data, tensor.data, 16)
    assert found.tolist() == [4.0] * 4
    release()


class Other:
    """An array of a library that speaks DLPack alone."""

    def __init__(self, tensor: Any, change: Any = None) -> None:
        self.tensor, self.change = tensor, change
        self.streams: list[Any] = []

    def __dlpack_device__(self) -> Any:
        return self.tensor.__dlpack_device__()

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.streams.append(stream)
        capsule = self.tensor.__dlpack__(stream=stream)
        if self.change is not None:
            start = api.PyCapsule_GetPointer(capsule, b"dltensor")
            self.change(DLTensor.from_address(start))
        return capsule


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int64", "bool"])
@pytest.mark.parametrize("shape", [(), (3,), (2, 0, 3), (2, 3, 4)])
def test_arrays_of_others(gpu: SimulatedDriver, dtype: str, shape: tuple[int, ...]) -> None:
    x = (fg.asarray(np.random.default_rng(0).standard_normal(shape)) * 5).astype(dtype).to("cuda:1")
    before = fg.cuda.memory_allocated("cuda:1")
    for take in (fg.asarray, fg.from_dlpack):
        y = take(Other(x))
        assert (y.device, y.dtype, y.shape) == ("cuda:1", x.dtype, x.shape)
        assert y.tolist() == x.tolist()
        del y
    gc.collect()
    assert fg.cuda.memory_allocated("cuda:1") == before


def test_what_cannot_be_taken(gpu: SimulatedDriver) -> None:
    x = fg.ones(3, 4, device="cuda")

    def turned(tensor: DLTensor) -> None:
        tensor.strides[0], tensor.strides[1] = 1, 3

    def complex_(tensor: DLTensor) -> None:
        tensor.dtype[0], tensor.dtype[1] = 5, 64

    with pytest.raises(CopyError, match="strides"):
        fg.asarray(Other(x, turned))
    with pytest.raises(DTypeError, match="kind 5 with 64 bits"):
        fg.asarray(Other(x, complex_))
    with pytest.raises(DeviceError, match="is no stream"):
        x.__dlpack__(stream=0)
    with pytest.raises(DeviceError, match="another device asks"):
        x.__dlpack__(dl_device=(1, 0))
    used = x.__dlpack__()
    _, release = read(used)
    with pytest.raises(DeviceError, match="taken before"):
        fg.from_dlpack(type("Used", (Other,), {"__dlpack__": lambda self, **_: used})(x))
    release()
