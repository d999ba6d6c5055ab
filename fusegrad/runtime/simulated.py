"""A driver without a GPU: memory is the host's, and kernels run in the interpreter or as their PTX.

For tests of what happens around kernels: transfers, memory, captured steps. Slow, and never chosen
unasked. Its addresses are no addresses of the host, so that whoever mixes the two up fails.
"""

from __future__ import annotations

import bisect
import ctypes
import time
from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..codegen.expr import Buffer
from ..codegen.interpret import interpret_kernel
from ..codegen.kernel import Kernel, Role
from ..codegen.targets.ptx_simulator import simulate
from .device_code import DeviceCode, code_of
from .devices import DeviceKernel, Driver

__all__ = ["SimulatedDriver"]

_FIRST = 1 << 60
"""Where the memory of the first GPU begins."""
_APART = 1 << 56
_POISON = 0xA5
_ALIGNMENT = 16
"""What kernels may take for granted of their arguments."""


@final
class SimulatedDriver(Driver):
    """So many GPUs that compute in NumPy.

    Parameters
    ----------
    count : int, optional
    memory : int, optional
        Bytes of each.
    ptx : bool, optional
        Run the PTX of kernels, thread by thread, rather than what they mean.

    Attributes
    ----------
    log : list of str
        What was asked for: ``allocate``, ``upload``, ``download``, ``launch``, ``replay``, ...
    """

    def __init__(self, count: int = 1, memory: int = 1 << 30, ptx: bool = False) -> None:
        self._count = count
        self._ptx = ptx
        self._memory = memory
        self._starts: list[int] = []
        self._blocks: dict[int, npt.NDArray[np.uint8]] = {}
        self._next = [_FIRST + index * _APART for index in range(count)]
        self._used = [0] * count
        self._capturing: list[Callable[[], None]] | None = None
        self.log: list[str] = []

    def why_not(self) -> str | None:
        return None

    def count(self) -> int:
        return self._count

    def name(self, index: int) -> str:
        return "simulated GPU"

    def capability(self, index: int) -> tuple[int, int]:
        return 9, 0

    def memory(self, index: int) -> tuple[int, int]:
        return self._memory - self._used[index], self._memory

    def stream(self, index: int) -> int:
        return 0

    # --- memory -----------------------------------------------------------------------------------

    def allocate(self, index: int, nbytes: int) -> int:
        self.log.append("allocate")
        if self._used[index] + nbytes > self._memory:
            raise MemoryError
        self._used[index] += nbytes
        address = self._next[index]
        self._next[index] += (-(-nbytes // 4096) + 1) * 4096
        self._blocks[address] = np.full(nbytes, _POISON, np.uint8)
        bisect.insort(self._starts, address)
        return address

    def free(self, index: int, address: int) -> None:
        self._used[index] -= self._blocks.pop(address).size
        self._starts.remove(address)

    def _at(self, address: int) -> npt.NDArray[np.uint8]:
        """The bytes from an address to the end of its block."""
        position = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[position] if position >= 0 else 0
        block = self._blocks.get(start)
        if block is None or address > start + block.size:
            raise RuntimeError(f"{address:#x} is no address of a simulated GPU")
        return block[address - start :]

    def upload(self, index: int, target: int, source: int, nbytes: int) -> None:
        self._refuse_capture("upload")
        if nbytes:
            self._at(target)[:nbytes] = _host(source, nbytes)

    def download(self, index: int, target: int, source: int, nbytes: int) -> None:
        self._refuse_capture("download")
        if nbytes:
            _host(target, nbytes)[:] = self._at(source)[:nbytes]

    def copy(self, index: int, target: int, source: int, nbytes: int) -> None:
        def run() -> None:
            self._at(target)[:nbytes] = self._at(source)[:nbytes].copy()

        self._ask("copy", run)

    # --- work -------------------------------------------------------------------------------------

    def identity(self, index: int) -> str:
        return "simulated"

    def build(self, index: int, kernels: Sequence[DeviceKernel]) -> Any:
        codes = code_of(kernels) if self._ptx else [None] * len(kernels)
        return [(each.kernel, code) for each, code in zip(kernels, codes, strict=True)]

    def load(self, index: int, code: Any) -> list[Any]:
        return list(code)

    def launch(
        self,
        index: int,
        function: Any,
        addresses: Sequence[int],
        sizes: Sequence[int],
        workspace: int,
    ) -> None:
        kernel: Kernel
        code: DeviceCode | None
        kernel, code = function
        given = list(zip(kernel.params, addresses, strict=True))
        if any(address % _ALIGNMENT for address in addresses):
            raise RuntimeError(f"an argument of {kernel.name} is not aligned")
        numbers = {str(v): n for v, n in zip(kernel.sizes, sizes, strict=True)}

        def run() -> None:
            arrays = [self._array(p.buffer, address, numbers) for p, address in given]
            if code is None:
                interpret_kernel(kernel, arrays, list(sizes))
            else:
                _run_code(kernel, code, arrays, sizes)

        self._ask("launch", run)

    def _array(self, buffer: Buffer, address: int, sizes: dict[str, int]) -> npt.NDArray[Any]:
        dtype = buffer.dtype.numpy
        memory = self._at(address)
        if buffer.strides is not None:
            return memory[: memory.size // dtype.itemsize * dtype.itemsize].view(dtype)
        count = 1
        for extent in buffer.shape:
            count *= extent if isinstance(extent, int) else sizes[str(extent)]
        if count * dtype.itemsize > memory.size:
            raise RuntimeError(f"{buffer.name} is longer than its memory")
        return memory[: count * dtype.itemsize].view(dtype)

    def capture(self, index: int, run: Callable[[], None]) -> Any:
        self.log.append("capture")
        found: list[Callable[[], None]] = []
        self._capturing = found
        try:
            run()
        finally:
            self._capturing = None
        return found

    def replay(self, index: int, captured: Any) -> None:
        self.log.append("replay")
        for work in captured:
            work()

    def mark(self, index: int) -> float:
        self._refuse_capture("mark")
        return time.perf_counter()

    def seconds(self, index: int, before: Any, after: Any) -> float:
        return float(after - before)

    def hand_over(self, index: int, stream: int) -> None:
        self.log.append(f"hand over to {stream}")

    def take_over(self, index: int, stream: int) -> None:
        self.log.append(f"take over from {stream}")

    def synchronize(self, index: int) -> None:
        self.log.append("synchronize")

    def _ask(self, what: str, work: Callable[[], None]) -> None:
        if self._capturing is not None:
            self._capturing.append(work)
            return
        self.log.append(what)
        work()

    def _refuse_capture(self, what: str) -> None:
        if self._capturing is not None:
            raise RuntimeError(f"{what} while work is captured")
        self.log.append(what)


def _run_code(
    kernel: Kernel, code: DeviceCode, arrays: Sequence[npt.NDArray[Any]], sizes: Sequence[int]
) -> None:
    """Run the PTX of a kernel; an output may lie where an input does."""
    given = [array.copy() for array in arrays]
    launches = [(e.name, e.blocks, e.threads) for e in code.entries]
    written = [param.role is Role.OUT for param in kernel.params]
    simulate(code.ptx, launches, given, code.workspace, sizes, written)
    for param, target, source in zip(kernel.params, arrays, given, strict=True):
        if param.role is not Role.IN:
            target[...] = source


def _host(address: int, nbytes: int) -> npt.NDArray[np.uint8]:
    memory: Any = (ctypes.c_uint8 * nbytes).from_address(address)
    view: npt.NDArray[np.uint8] = np.frombuffer(memory, np.uint8)
    return view
