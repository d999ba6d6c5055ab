"""A stand-in for cuda-bindings: the driver's functions, with kernels interpreted in NumPy."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from typing import Any

import numpy as np

from fusegrad.codegen.interpret import interpret_kernel


class Mode(IntEnum):
    CU_STREAM_CAPTURE_MODE_THREAD_LOCAL = 1


class Attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class Kind(IntEnum):
    CU_JIT_INPUT_PTX = 1


class Bindings:
    """The functions of the driver that are used, with their parameters and results."""

    CUstreamCaptureMode = Mode
    CUdevice_attribute = Attribute
    CUjitInputType = Kind

    def __init__(self, gpus: int = 1, capability: tuple[int, int] = (9, 0), start: int = 0) -> None:
        self.gpus, self.capability, self.start = gpus, capability, start
        self.memory: dict[int, Any] = {}
        self.kernels: dict[str, Any] = {}
        self.capturing: list[Any] | None = None
        self.context: Any = None
        self.calls: list[str] = []
        self.linked: list[bytes] = []
        self.limit = 1 << 40

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("cu"):
            object.__getattribute__(self, "calls").append(name)
        return object.__getattribute__(self, name)

    def cuInit(self, flags: int) -> Any:
        return (self.start,)

    def cuGetErrorName(self, error: int) -> Any:
        return 0, f"CUDA_ERROR_{error}".encode()

    def cuDriverGetVersion(self) -> Any:
        return 0, 13000

    def cuDeviceGetCount(self) -> Any:
        return 0, self.gpus

    def cuDeviceGet(self, ordinal: int) -> Any:
        return 0, f"device {ordinal}"

    def cuDeviceGetName(self, length: int, device: str) -> Any:
        return 0, b"Stand-in" + b"\0" * (length - 8)

    def cuDeviceGetAttribute(self, attribute: Attribute, device: str) -> Any:
        return 0, self.capability[attribute - 75]

    def cuDevicePrimaryCtxRetain(self, device: str) -> Any:
        return 0, f"context of {device}"

    def cuCtxSetCurrent(self, context: str) -> Any:
        self.context = context
        return (0,)

    def cuCtxSynchronize(self) -> Any:
        return (0,)

    def cuMemGetInfo(self) -> Any:
        assert self.context
        return 0, 1 << 30, 1 << 31

    def cuStreamCreate(self, flags: int) -> Any:
        assert self.context
        return 0, 77

    def cuStreamSynchronize(self, stream: int) -> Any:
        assert stream == 77
        return (0,)

    def cuMemAllocAsync(self, size: int, stream: int) -> Any:
        if size > self.limit:
            return 2, None
        block = np.full(size, 0xA5, np.uint8)
        self.memory[block.ctypes.data] = block
        return 0, block.ctypes.data

    def cuMemFreeAsync(self, address: int, stream: int) -> Any:
        del self.memory[address]
        return (0,)

    def cuMemHostAlloc(self, size: int, flags: int) -> Any:
        return self.cuMemAllocAsync(size, 77)

    def cuEventCreate(self, flags: int) -> Any:
        return 0, object()

    def cuEventRecord(self, event: Any, stream: int) -> Any:
        return (0,)

    def cuEventSynchronize(self, event: Any) -> Any:
        return (0,)

    def cuMemcpyHtoDAsync(self, target: int, source: int, count: int, stream: int) -> Any:
        assert self.capturing is None
        ctypes.memmove(target, source, count)
        return (0,)

    cuMemcpyDtoHAsync = cuMemcpyHtoDAsync

    def cuMemcpyDtoDAsync(self, target: int, source: int, count: int, stream: int) -> Any:
        return self._work(lambda: ctypes.memmove(target, source, count))

    def cuLinkCreate(self, count: int, options: Any, values: Any) -> Any:
        self.linked = []
        return 0, "linker"

    def cuLinkAddData(
        self, state: str, kind: Kind, data: bytes, size: int, name: bytes, *options: Any
    ) -> Any:
        assert data.endswith(b"\0")
        assert size == len(data)
        assert b".entry" in data
        self.linked.append(data)
        return (0,)

    def cuLinkComplete(self, state: str) -> Any:
        self.cubin = ctypes.create_string_buffer(b"cubin of " + b"".join(self.linked))
        return 0, ctypes.addressof(self.cubin), len(self.cubin)

    def cuLinkDestroy(self, state: str) -> Any:
        return (0,)

    def cuModuleLoadData(self, image: bytes) -> Any:
        return 0, image

    def cuModuleUnload(self, module: bytes) -> Any:
        return (0,)

    def cuModuleGetFunction(self, module: bytes, name: bytes) -> Any:
        assert b".entry " + name + b"(" in module
        return 0, name.decode()

    def cuLaunchKernel(self, function: str, *given: Any) -> Any:
        gx, gy, gz, bx, by, bz, shared, stream, at, extra = given
        assert (gy, gz, by, bz, shared, stream, extra) == (1, 1, 1, 1, 0, 77, 0)
        assert gx >= 1
        assert 32 <= bx <= 1024
        kernel, first = self.kernels[function]
        if not first:
            return (0,)
        count, sizes = len(kernel.params), len(kernel.sizes)
        pointers = (ctypes.c_void_p * (count + 1 + sizes)).from_address(at)
        words = [ctypes.c_int64.from_address(p).value for p in pointers]
        assert not any(word % 16 for word in words[: count + 1]), "arguments are aligned"
        return self._work(lambda: self._run(kernel, words[:count], words[count + 1 :]))

    def _run(self, kernel: Any, addresses: list[int], sizes: list[int]) -> None:
        named = {str(v): n for v, n in zip(kernel.sizes, sizes, strict=True)}
        arrays = []
        for param, address in zip(kernel.params, addresses, strict=True):
            dtype, count = param.buffer.dtype.numpy, 1
            for extent in param.buffer.shape:
                count *= extent if isinstance(extent, int) else named[str(extent)]
            memory: Any = (ctypes.c_char * (count * dtype.itemsize)).from_address(address)
            arrays.append(np.frombuffer(memory, dtype))
        interpret_kernel(kernel, arrays, sizes)

    def _work(self, work: Any) -> Any:
        if self.capturing is not None:
            self.capturing.append(work)
        else:
            work()
        return (0,)

    def cuStreamBeginCapture(self, stream: int, mode: Mode) -> Any:
        self.capturing = []
        return (0,)

    def cuStreamEndCapture(self, stream: int) -> Any:
        graph, self.capturing = self.capturing, None
        return 0, graph

    def cuGraphInstantiate(self, graph: Any, flags: int) -> Any:
        return 0, graph

    def cuGraphDestroy(self, graph: Any) -> Any:
        return (0,)

    def cuGraphExecDestroy(self, graph: Any) -> Any:
        return (0,)

    def cuGraphLaunch(self, graph: Any, stream: int) -> Any:
        for work in graph:
            work()
        return (0,)
