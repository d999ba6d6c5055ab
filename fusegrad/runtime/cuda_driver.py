"""NVIDIA's driver through its Python packages: cuda.core and, for what it lacks, cuda.bindings.

The one file that knows the packages, which are imported when somebody asks for a GPU. Devices,
streams, code, launches and captured graphs are those of cuda.core; memory is bare addresses, whose
allocation and transfers the bindings do, and so are moments that other libraries wait for. Each GPU
has one stream, and the context that other libraries of the process use too.
"""

from __future__ import annotations

import ctypes
import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, final

from ..codegen.schedule.gpu_library_calls import LibraryCall
from ..codegen.targets.nvptx import nearest
from ..errors import DeviceError
from . import cache
from .cublas import CublasLt
from .cudnn import Cudnn
from .device_code import DeviceCode, code_of
from .device_image import Image, Memory, Piece, Served, launches, memory_of, parts_of
from .devices import DeviceKernel, Driver
from .libraries import Algorithm, Libraries, Library

__all__ = ["CudaDriver", "Packages"]

_PINNED = 1 << 23
"""Bytes of each of the buffers through which long transfers go."""
_SHORT = 1 << 16
"""What is no longer than this the driver copies before it returns."""
_NO_TIMING = 2
_OUT_OF_MEMORY, _NO_DEVICE = 2, 100


_KNOWN: dict[str, tuple[str, Callable[[Any], Library]]] = {
    "cuBLASLt": ("cublasLt", CublasLt),
    "cuDNN": ("cudnn", Cudnn),
}
"""Libraries by their titles: what they are opened as, and what knows them."""


class Packages(NamedTuple):
    """The modules that are spoken to."""

    driver: Any
    core: Any


def _packages() -> Packages:
    from cuda import core
    from cuda.bindings import driver

    if not hasattr(core, "Device"):
        # Where it was until version 0.5.
        from cuda.core import experimental as core
    return Packages(driver, core)


def _library(name: str) -> Any:
    """A library of NVIDIA's, wherever its packages or toolkits have put it."""
    from cuda import pathfinder

    return ctypes.CDLL(pathfinder.load_nvidia_dynamic_lib(name).abs_path)


@final
class CudaDriver(Driver):
    """All GPUs of NVIDIA in this machine.

    Parameters
    ----------
    packages : Packages, optional
        By default those that are installed.
    open_library : callable, optional
        What opens a library of NVIDIA's by its name; by default wherever it is installed.

    Attributes
    ----------
    libraries : Libraries
        What does products and convolutions where it is installed.
    """

    def __init__(
        self,
        packages: Packages | None = None,
        open_library: Callable[[str], Any] | None = None,
    ) -> None:
        self.libraries = Libraries(open_library or _library, _KNOWN)
        self._reason: str | None = None
        self._gpus: dict[int, _Gpu] = {}
        self._lock = threading.RLock()
        self._current = threading.local()
        try:
            self._cuda, self._core = packages or _packages()
            error, *_ = self._cuda.cuInit(0)
        except ImportError as missing:
            self._reason = f"a package is missing ({missing}): pip install 'fusegrad[cuda]'"
            return
        except RuntimeError as problem:
            self._reason = f"NVIDIA's driver is not installed ({problem})"
            return
        if int(error) == _NO_DEVICE:
            self._reason = "there is no NVIDIA GPU in this machine"
        elif int(error):
            self._reason = f"NVIDIA's driver does not start: {self._name_of(error)}"
        elif not self.count():
            self._reason = "there is no NVIDIA GPU in this machine"
        elif nearest(self.capability(0)) is None:
            major, minor = self.capability(0)
            self._reason = (
                f"{self.name(0)} has compute capability {major}.{minor}, and 8.0 is needed"
            )

    def _name_of(self, error: Any) -> str:
        _, name = self._cuda.cuGetErrorName(error)
        return name.decode() if isinstance(name, bytes) else str(error)

    def _ask(self, function: str, *arguments: Any) -> Any:
        """What a function of the driver gives; an error if it fails."""
        error, *results = getattr(self._cuda, function)(*arguments)
        if int(error) == _OUT_OF_MEMORY:
            raise MemoryError
        if int(error):
            raise DeviceError(
                f"the GPU failed in {function}: {self._name_of(error)}",
                remedy="what it computed since the last look is lost; start the process again",
            )
        return results[0] if len(results) == 1 else tuple(results)

    def _told(self, what: str, function: Callable[..., Any], *given: Any, **named: Any) -> Any:
        """What cuda.core gives; an error if it fails."""
        try:
            return function(*given, **named)
        except Exception as problem:
            raise DeviceError(
                f"the GPU failed to {what}: {problem}",
                remedy="what it computed since the last look is lost; start the process again",
            ) from problem

    def _gpu(self, index: int) -> _Gpu:
        """The context of a GPU, current in this thread."""
        gpu = self._gpus.get(index)
        if gpu is None:
            with self._lock:
                gpu = self._gpus.get(index)
                if gpu is None:
                    device = self._told("open a GPU", self._core.Device, index)
                    self._told("open a GPU", device.set_current)
                    self._current.index = index
                    options = self._core.StreamOptions(nonblocking=True)
                    queue = self._told("make a stream", device.create_stream, options=options)
                    gpu = self._gpus[index] = _Gpu(device, queue)
        if getattr(self._current, "index", None) != index:
            self._told("use a GPU", gpu.device.set_current)
            self._current.index = index
        return gpu

    # --- what there is ----------------------------------------------------------------------------

    def why_not(self) -> str | None:
        return self._reason

    def count(self) -> int:
        return int(self._ask("cuDeviceGetCount"))

    def name(self, index: int) -> str:
        text: bytes = self._ask("cuDeviceGetName", 128, self._ask("cuDeviceGet", index))
        return text.split(b"\0")[0].decode()

    def capability(self, index: int) -> tuple[int, int]:
        device = self._ask("cuDeviceGet", index)
        kinds = self._cuda.CUdevice_attribute
        major = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
        minor = kinds.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
        return (
            int(self._ask("cuDeviceGetAttribute", major, device)),
            int(self._ask("cuDeviceGetAttribute", minor, device)),
        )

    def memory(self, index: int) -> tuple[int, int]:
        self._gpu(index)
        free, total = self._ask("cuMemGetInfo")
        return int(free), int(total)

    def stream(self, index: int) -> int:
        return int(self._gpu(index).stream)

    # --- memory -----------------------------------------------------------------------------------

    def allocate(self, index: int, nbytes: int) -> int:
        gpu = self._gpu(index)
        return int(self._ask("cuMemAllocAsync", nbytes, gpu.stream))

    def free(self, index: int, address: int) -> None:
        gpu = self._gpu(index)
        self._ask("cuMemFreeAsync", address, gpu.stream)

    def upload(self, index: int, target: int, source: int, nbytes: int) -> None:
        gpu = self._gpu(index)
        if nbytes <= _SHORT:
            if nbytes:
                self._ask("cuMemcpyHtoDAsync", target, source, nbytes, gpu.stream)
            return
        with self._lock:
            for start in range(0, nbytes, _PINNED):
                count = min(_PINNED, nbytes - start)
                address, event = self._pinned(gpu)
                ctypes.memmove(address, source + start, count)
                self._ask("cuMemcpyHtoDAsync", target + start, address, count, gpu.stream)
                self._ask("cuEventRecord", event, gpu.stream)

    def _pinned(self, gpu: _Gpu) -> tuple[int, Any]:
        """The buffer that was used least recently, once the GPU has read it."""
        if len(gpu.pinned) < 2:
            address = int(self._ask("cuMemHostAlloc", _PINNED, 0))
            gpu.pinned.append((address, self._ask("cuEventCreate", _NO_TIMING)))
        else:
            gpu.pinned.append(gpu.pinned.pop(0))
            self._ask("cuEventSynchronize", gpu.pinned[-1][1])
        return gpu.pinned[-1]

    def download(self, index: int, target: int, source: int, nbytes: int) -> None:
        gpu = self._gpu(index)
        if nbytes:
            self._ask("cuMemcpyDtoHAsync", target, source, nbytes, gpu.stream)
        self._ask("cuStreamSynchronize", gpu.stream)

    def copy(self, index: int, target: int, source: int, nbytes: int) -> None:
        if nbytes:
            stream = self._gpu(index).stream
            self._ask("cuMemcpyDtoDAsync", target, source, nbytes, stream)

    # --- work -------------------------------------------------------------------------------------

    def identity(self, index: int) -> str:
        return repr(
            (
                *(self.name(index), self.capability(index), self.libraries.versions()),
                int(self._ask("cuDriverGetVersion")),
            )
        )

    def build(self, index: int, kernels: Sequence[DeviceKernel]) -> Image:
        if not kernels:
            return Image((), Memory(), False, b"")
        self._gpu(index)
        chosen: dict[LibraryCall, Algorithm] = {}

        def serves(call: LibraryCall) -> bool:
            found = self._choice(index, call, kernels[0].tf32)
            if found is not None:
                chosen[call] = found
            return found is not None

        parts = [parts_of(kernel, serves) for kernel in kernels]
        codes = code_of([kernel for part in parts for kernel in part.kernels])
        made = iter(codes)
        pieces: list[tuple[Piece, ...]] = []
        for part in parts:
            found: list[Piece] = []
            for piece in part.pieces:
                if isinstance(piece, tuple):
                    found.append(launches(next(made), piece[1]))
                else:
                    best = chosen[piece]
                    found.append(Served(piece, best.code, best.workspace))
            pieces.append(tuple(found))
        memory = memory_of(parts, pieces, max((code.workspace for code in codes), default=0))
        cubin = self._cubin(codes, kernels[0].target) if codes else b""
        return Image(tuple(pieces), memory, kernels[0].tf32, cubin)

    def _choice(self, index: int, call: LibraryCall, tf32: bool) -> Algorithm | None:
        """The algorithm of a library for a call; None where none does it."""
        library = self.libraries.serving(call)
        return None if library is None else library.choose(index, call, tf32)

    def serves(self, index: int, call: LibraryCall, tf32: bool) -> bool:
        self._gpu(index)
        return self._choice(index, call, tf32) is not None

    def workspace(self, code: Any) -> int:
        image: Image = code
        return image.memory.total

    def stored(self, code: Any) -> tuple[dict[str, Any], bytes]:
        image: Image = code
        return image.to_json(), image.code

    def restored(self, record: dict[str, Any], data: bytes) -> Image:
        return Image.from_json(record, data)

    def load(self, index: int, code: Any) -> list[Any]:
        image: Image = code
        if not image.kernels:
            return []
        self._gpu(index)
        made = self._core.ObjectCode.from_cubin
        code = self._told("load code", made, image.code) if image.code else None
        loaded = _Loaded(self, index, code)
        return [
            _Function(loaded, image.memory, [self._prepared(loaded, p, image.tf32) for p in pieces])
            for pieces in image.kernels
        ]

    def _prepared(self, loaded: _Loaded, piece: Piece, tf32: bool) -> _Launched | _Asked:
        if isinstance(piece, Served):
            return _Asked(piece.call, Algorithm(piece.algorithm, piece.workspace), tf32)
        entries = [
            (
                self._core.LaunchConfig(grid=e.blocks, block=e.threads),
                self._told("load code", loaded.code.get_kernel, e.name),
            )
            for e in piece.entries
        ]
        return _Launched(entries, piece.further)

    def _cubin(self, codes: Sequence[DeviceCode], target: str) -> bytes:
        """Machine code for this driver, from the disk if it is there."""
        texts = [code.ptx.encode() + b"\0" for code in codes]
        version = self._ask("cuDriverGetVersion")
        disk = cache.default()
        key = cache.Key(
            [
                ("kind", b"cubin"),
                ("ptx", hashlib.sha256(b"".join(texts)).digest()),
                ("target", f"{target} {version} {self.capability(0)}".encode()),
            ]
        )
        found = disk.get(key) if disk is not None else None
        if found is not None:
            return bytes(found.blobs["cubin"])
        state = self._ask("cuLinkCreate", 0, [], [])
        try:
            kind = self._cuda.CUjitInputType.CU_JIT_INPUT_PTX
            for n, text in enumerate(texts):
                name = f"kernel{n}".encode()
                self._ask("cuLinkAddData", state, kind, text, len(text), name, 0, [], [])
            address, size = self._ask("cuLinkComplete", state)
            cubin = ctypes.string_at(int(address), int(size))
        finally:
            self._ask("cuLinkDestroy", state)
        if disk is not None:
            disk.put(key, {}, {"cubin": cubin})
        return cubin

    def launch(
        self,
        index: int,
        function: Any,
        addresses: Sequence[int],
        sizes: Sequence[int],
        workspace: int,
    ) -> None:
        made: _Function = function
        gpu = self._gpu(index)
        between, vector, scratch = made.memory.places(workspace)
        for piece in made.pieces:
            if isinstance(piece, _Asked):
                library = self.libraries.serving(piece.call)
                assert library is not None
                library.run(
                    *(index, piece.call, piece.algorithm, piece.tf32),
                    *((*addresses, vector, between).__getitem__, scratch, int(gpu.stream)),
                )
                continue
            further = ((0, between, vector)[-piece.further],) if piece.further else ()
            for config, kernel in piece.entries:
                # Python's integers are 64 bits for it, addresses and sizes alike.
                given = map(int, (*addresses, *further, scratch, *sizes))
                self._told("launch", self._core.launch, gpu.queue, config, kernel, *given)

    def capture(self, index: int, run: Callable[[], None]) -> Any:
        builder = self._told("capture", self._gpu(index).queue.create_graph_builder)
        self._told("capture", builder.begin_building, "thread_local")
        try:
            run()
        finally:
            self._told("capture", builder.end_building)
        try:
            return self._told("capture", builder.complete)
        finally:
            builder.close()

    def replay(self, index: int, captured: Any) -> None:
        self._told("run a step", captured.launch, self._gpu(index).queue)

    def mark(self, index: int) -> Any:
        stream = self._gpu(index).stream
        event = _Event(self, self._ask("cuEventCreate", 0))
        self._ask("cuEventRecord", event.handle, stream)
        return event

    def seconds(self, index: int, before: Any, after: Any) -> float:
        self._ask("cuEventSynchronize", after.handle)
        return float(self._ask("cuEventElapsedTime", before.handle, after.handle)) * 1e-3

    def hand_over(self, index: int, stream: int) -> None:
        self._order(self._gpu(index).stream, stream)

    def take_over(self, index: int, stream: int) -> None:
        self._gpu(index)
        self._order(stream, self._gpu(index).stream)

    def _order(self, first: Any, second: Any) -> None:
        """Let a stream wait for what another has to do so far."""
        event = _Event(self, self._ask("cuEventCreate", _NO_TIMING))
        self._ask("cuEventRecord", event.handle, first)
        self._ask("cuStreamWaitEvent", second, event.handle, 0)

    def synchronize(self, index: int) -> None:
        self._gpu(index)
        self._ask("cuCtxSynchronize")

    def quietly(self, function: str, *arguments: Any) -> None:
        """Give something back; when the process ends there may be no driver any more."""
        try:
            getattr(self._cuda, function)(*arguments)
        except Exception:
            return


@final
class _Gpu:
    """What a process has of a GPU; `stream` is what the bindings call its queue."""

    def __init__(self, device: Any, queue: Any) -> None:
        self.device = device
        self.queue = queue
        self.stream = queue.handle
        self.pinned: list[tuple[int, Any]] = []


@final
class _Loaded:
    """The code of a step."""

    def __init__(self, driver: CudaDriver, index: int, code: Any) -> None:
        self.driver = driver
        self.index = index
        self.code = code

    def __del__(self) -> None:
        if self.code is not None:
            # What it was asked for may still run.
            self.driver.quietly("cuStreamSynchronize", self.driver.stream(self.index))


class _Launched(NamedTuple):
    """Launches of one kernel: how large each is, and its entry; `further` as in `Launches`."""

    entries: list[tuple[Any, Any]]
    further: int


class _Asked(NamedTuple):
    """A call of a library."""

    call: LibraryCall
    algorithm: Algorithm
    tf32: bool


@final
class _Function:
    """One kernel of a step: its pieces, and the memory between them."""

    def __init__(self, loaded: _Loaded, memory: Memory, pieces: list[_Launched | _Asked]) -> None:
        self.loaded = loaded
        self.memory = memory
        self.pieces = pieces


@final
class _Event:
    """A moment in the work of a GPU."""

    def __init__(self, driver: CudaDriver, handle: Any) -> None:
        self.driver = driver
        self.handle = handle

    def __del__(self) -> None:
        self.driver.quietly("cuEventDestroy", self.handle)
