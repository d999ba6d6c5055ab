"""Stand-ins for cuda.bindings and cuda.core, with kernels interpreted in NumPy."""

from __future__ import annotations

import ctypes
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.runtime.cuda_driver import Packages


class Attribute(IntEnum):
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76


class Kind(IntEnum):
    CU_JIT_INPUT_PTX = 1


class Bindings:
    """The functions of the driver that are used, with their parameters and results."""

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

    def cuCtxSynchronize(self) -> Any:
        return (0,)

    def cuMemGetInfo(self) -> Any:
        assert self.context
        return 0, 1 << 30, 1 << 31

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

    def packages(self) -> Packages:
        """What a driver is made of."""
        return Packages(self, Core(self))


class Core:
    """The parts of cuda.core that are used."""

    def __init__(self, driver: Bindings) -> None:
        self.driver = driver
        self.ObjectCode = SimpleNamespace(from_cubin=lambda image: Code(image))

    def Device(self, index: int) -> Device:
        assert 0 <= index < self.driver.gpus
        return Device(self.driver, index)

    def StreamOptions(self, nonblocking: bool) -> bool:
        return nonblocking

    def LaunchConfig(self, grid: int, block: int) -> tuple[int, int]:
        assert grid >= 1
        assert 32 <= block <= 1024
        return grid, block

    def launch(self, stream: Stream, config: tuple[int, int], name: str, *given: int) -> None:
        self.driver.calls.append("launch")
        assert stream.handle == 77
        assert all(type(word) is int for word in given)
        kernel, first = self.driver.kernels[name]
        if not first:
            return
        count, sizes = len(kernel.params), len(kernel.sizes)
        assert len(given) == count + 1 + sizes
        assert not any(word % 16 for word in given[: count + 1]), "arguments are aligned"
        run = self.driver._run
        self.driver._work(lambda: run(kernel, list(given[:count]), list(given[count + 1 :])))


class Device:
    def __init__(self, driver: Bindings, index: int) -> None:
        self.driver, self.index = driver, index

    def set_current(self) -> None:
        self.driver.context = f"context of {self.index}"

    def create_stream(self, options: bool) -> Stream:
        assert options
        assert self.driver.context == f"context of {self.index}"
        return Stream(self.driver)


class Code:
    def __init__(self, image: bytes) -> None:
        self.image = image

    def get_kernel(self, name: str) -> str:
        assert f".entry {name}(".encode() in self.image
        return name


class Stream:
    """A stream, and what captures its work."""

    def __init__(self, driver: Bindings) -> None:
        self.driver = driver
        self.handle = 77
        self.captured: list[Any] = []

    def create_graph_builder(self) -> Stream:
        return Stream(self.driver)

    def begin_building(self, mode: str) -> None:
        assert mode == "thread_local"
        self.driver.capturing = self.captured

    def end_building(self) -> None:
        self.driver.capturing = None

    def complete(self) -> Graph:
        return Graph(self.driver, self.captured)

    def close(self) -> None:
        self.captured = []


class Graph:
    def __init__(self, driver: Bindings, work: list[Any]) -> None:
        self.driver, self.work = driver, work

    def launch(self, stream: Stream) -> None:
        self.driver.calls.append("graph.launch")
        for work in self.work:
            work()
