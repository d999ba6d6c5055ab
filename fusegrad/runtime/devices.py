"""GPUs as the runtime sees them: what a driver must do, which GPUs there are, and their memory.

Knows no vendor, no graph and no tensor. All work of a GPU is one stream: memory is given back after
what was asked for before, so a block may be dropped while kernels still read it.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from ..codegen.deferred import deferred
from ..codegen.kernel import Kernel
from ..codegen.records import dataclass
from ..errors import DeviceError, OutOfMemoryError
from .locks import recursive_lock

if TYPE_CHECKING:
    from ..codegen.schedule.gpu_library_calls import LibraryCall
    from ..codegen.targets import nvptx
    from ..lower import Lowered
else:
    nvptx = deferred("fusegrad.codegen.targets.nvptx")

__all__ = [
    "GPU",
    "DeviceBlock",
    "DeviceKernel",
    "Driver",
    "choose",
    "current_index",
    "driver",
    "find",
    "products",
    "provide",
    "substituted",
    "use",
    "why_not",
]


@final
@dataclass(frozen=True)
class DeviceKernel:
    """One kernel of a step for a GPU.

    Attributes
    ----------
    kernel : Kernel
        What it computes.
    size : int
        The value of its sizes.
    target : str
        The architecture, as ``"sm_90"``.
    tf32 : bool
        Whether factors of float32 products may be rounded to the 10 bits of tf32.
    shared : frozenset of int
        Parameters that are written where another one that is read may lie.
    """

    kernel: Kernel
    size: int
    target: str
    tf32: bool = False
    shared: frozenset[int] = frozenset()

    @staticmethod
    def of(lowered: Lowered, target: str, tf32: bool) -> DeviceKernel:
        """What a step has of a lowered kernel."""
        shared = frozenset(written for written, _ in lowered.in_place)
        return DeviceKernel(lowered.kernel, lowered.items, target, tf32, shared)


class Driver(ABC):
    """What drives the GPUs of a machine. Addresses are those of its memory, sizes are bytes."""

    @abstractmethod
    def why_not(self) -> str | None:
        """Why no GPU can be used, None if one can."""

    @abstractmethod
    def count(self) -> int:
        """How many GPUs there are."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What the vendor calls a GPU."""

    @abstractmethod
    def capability(self, index: int) -> tuple[int, int]:
        """The version of its instructions."""

    @abstractmethod
    def memory(self, index: int) -> tuple[int, int]:
        """How many bytes are free, and how many there are."""

    @abstractmethod
    def stream(self, index: int) -> int:
        """The handle of the queue of its work, for other libraries; 0 if there is none."""

    @abstractmethod
    def allocate(self, index: int, nbytes: int) -> int:
        """The address of new memory; MemoryError if there is none."""

    @abstractmethod
    def free(self, index: int, address: int) -> None:
        """Give memory back once everything asked for before is done."""

    @abstractmethod
    def upload(self, index: int, target: int, source: int, nbytes: int) -> None:
        """From the host's memory, which may change as soon as this returns."""

    @abstractmethod
    def download(self, index: int, target: int, source: int, nbytes: int) -> None:
        """Into the host's memory; returns when it is there."""

    @abstractmethod
    def copy(self, index: int, target: int, source: int, nbytes: int) -> None:
        """From one place of a GPU to another."""

    @abstractmethod
    def identity(self, index: int) -> str:
        """What the code of kernels depends on besides these: GPU, driver, libraries."""

    def serves(self, index: int, call: LibraryCall, tf32: bool) -> bool:
        """Whether a library of this machine does a call."""
        return False

    @abstractmethod
    def build(self, index: int, kernels: Sequence[DeviceKernel]) -> Any:
        """The code of all kernels of a step."""

    @abstractmethod
    def load(self, index: int, code: Any) -> list[Any]:
        """Each kernel of a step as what `launch` takes."""

    def workspace(self, code: Any) -> int:
        """Bytes that the kernels of a step hand things on in, one after the other."""
        return 0

    def stored(self, code: Any) -> tuple[dict[str, Any], bytes] | None:
        """Code as plain data and bytes for the disk; None where it stays in the process."""
        return None

    def restored(self, record: dict[str, Any], data: bytes) -> Any:
        """The inverse of `stored`."""
        raise NotImplementedError

    @abstractmethod
    def launch(
        self,
        index: int,
        function: Any,
        addresses: Sequence[int],
        sizes: Sequence[int],
        workspace: int,
    ) -> None:
        """Run a kernel on the memory of its parameters; `workspace` is the address of as many bytes
        as the code of its step needs."""

    @abstractmethod
    def capture(self, index: int, run: Callable[[], None]) -> Any:
        """The launches and copies that `run` asks for, as one piece of work; none of them runs."""

    @abstractmethod
    def replay(self, index: int, captured: Any) -> None:
        """Run captured work."""

    @abstractmethod
    def mark(self, index: int) -> Any:
        """A moment: when all that was asked for before is done."""

    @abstractmethod
    def seconds(self, index: int, before: Any, after: Any) -> float:
        """Between two marks; waits for the later one."""

    @abstractmethod
    def hand_over(self, index: int, stream: int) -> None:
        """Let another stream wait for all that was asked for before."""

    @abstractmethod
    def take_over(self, index: int, stream: int) -> None:
        """Let all that is asked for from now on wait for what another stream has to do."""

    @abstractmethod
    def synchronize(self, index: int) -> None:
        """Wait until everything is done."""


@final
class GPU:
    """One GPU.

    Attributes
    ----------
    name : str
        ``"cuda:0"``.
    driver : Driver
    index : int
    allocated, peak : int
        Bytes of all blocks, and the most there ever were.
    reserved : int
        Bytes that the driver gave, those of blocks that are gone too: they are handed out again.
    """

    def __init__(self, driver: Driver, index: int) -> None:
        self.driver = driver
        self.index = index
        self.name = f"cuda:{index}"
        self.allocated = self.peak = self.reserved = 0
        self._free: dict[int, list[int]] = {}
        # A block may end at any time, in the middle of asking for another one too.
        self._lock = threading.RLock()

    @property
    def target(self) -> str:
        """The architecture that code is made for."""
        found = nvptx.nearest(self.driver.capability(self.index))
        assert found is not None
        return found

    def allocate(self, nbytes: int) -> DeviceBlock:
        """Memory of its own for whoever holds the block.

        Raises
        ------
        OutOfMemoryError
            If there is not so much.
        """
        size = _rounded(nbytes)
        with self._lock:
            known = self._free.get(size)
            address = known.pop() if known else None
            if address is None:
                address = self._ask(size)
                if address is None:
                    free, total = self.driver.memory(self.index)
                    raise OutOfMemoryError(
                        f"{self.name} is out of memory: {nbytes} bytes were asked for, and {free} "
                        f"of {total} are free",
                        remedy="take smaller batches, or drop tensors that are not needed",
                    )
            self.allocated += nbytes
            self.peak = max(self.peak, self.allocated)
        return DeviceBlock(self, address, nbytes)

    def _ask(self, size: int) -> int | None:
        """Memory from the driver, after giving back what is not in use if there is no more."""
        for attempt in range(2):
            try:
                address = self.driver.allocate(self.index, size)
            except MemoryError:
                if not attempt:
                    self._give_back()
            else:
                self.reserved += size
                return address
        return None

    def _give_back(self) -> None:
        for size, addresses in self._free.items():
            for address in addresses:
                self.driver.free(self.index, address)
                self.reserved -= size
        self._free = {}

    def empty_cache(self) -> None:
        """Give memory that no block has back to the driver."""
        with self._lock:
            self._give_back()

    def release(self, block: DeviceBlock) -> None:
        """Give the memory of a block back."""
        with self._lock:
            self.allocated -= block.nbytes
            # All work is one stream: whoever gets it next writes after everybody who reads it.
            self._free.setdefault(_rounded(block.nbytes), []).append(block.address)

    def reset_peak(self) -> None:
        """Measure the most from now on."""
        with self._lock:
            self.peak = self.allocated


def _rounded(nbytes: int) -> int:
    """The size of the block that the driver is asked for: few sizes, so that blocks fit again."""
    step = 512 if nbytes <= 1 << 20 else 1 << 21
    return max(512, -(-nbytes // step) * step)


@final
class DeviceBlock:
    """A region of a GPU's memory that belongs to whoever holds this object."""

    __slots__ = ("__weakref__", "address", "gpu", "nbytes")

    def __init__(self, gpu: GPU, address: int, nbytes: int) -> None:
        self.gpu = gpu
        self.address = address
        self.nbytes = nbytes

    def __del__(self) -> None:
        self.gpu.release(self)


@final
class _Use:
    """Whether anything of this process ever was on a GPU: nobody else pays for looking."""

    on = False


use = _Use()


@final
class _Products:
    """How products of float32 are computed: steps that are compiled from now on follow it."""

    tf32 = False


products = _Products()


@final
class _Registry:
    """The driver in use, and the GPUs that were asked for."""

    def __init__(self) -> None:
        self.lock = recursive_lock()
        self.provider: Callable[[], Driver] | None = None
        self.driver: Driver | None = None
        self.gpus: dict[int, GPU] = {}
        self.chosen = 0

    def current(self) -> Driver | None:
        """The driver, made when it is first asked for."""
        with self.lock:
            if self.driver is None and self.provider is not None:
                self.driver = self.provider()
            return self.driver


_registry = _Registry()


def provide(provider: Callable[[], Driver]) -> None:
    """Take the driver from a function, when somebody asks for a GPU."""
    _registry.provider = provider


def driver() -> Driver | None:
    """The driver, None if there is none."""
    return _registry.current()


def why_not() -> str | None:
    """Why no GPU can be used, None if one can."""
    found = _registry.current()
    return "this installation has no driver of GPUs" if found is None else found.why_not()


def find(index: int, name: str | None = None) -> GPU:
    """A GPU by its number; `name` is what somebody called it.

    Raises
    ------
    DeviceError
        If there is none, with the reason.
    """
    reason = why_not()
    if reason is not None:
        raise DeviceError(
            f"there is no device {name or f'cuda:{index}'!r}: {reason}",
            remedy="use 'cpu', or 'cuda' where fg.cuda.is_available()",
        )
    found = _registry.current()
    assert found is not None
    count = found.count()
    if not 0 <= index < count:
        names = ", ".join(repr(f"cuda:{i}") for i in range(count))
        raise DeviceError(
            f"there is no device 'cuda:{index}'", remedy=f"this machine has {names} and 'cpu'"
        )
    with _registry.lock:
        use.on = True
        return _registry.gpus.setdefault(index, GPU(found, index))


@contextmanager
def substituted(other: Driver) -> Iterator[None]:
    """Another driver for as long as it is open."""
    with _registry.lock:
        before = _registry.driver, _registry.gpus, _registry.chosen, use.on
        _registry.driver, _registry.gpus, _registry.chosen = other, {}, 0
    try:
        yield
    finally:
        with _registry.lock:
            _registry.driver, _registry.gpus, _registry.chosen, use.on = before


def current_index() -> int:
    """The GPU that ``"cuda"`` means."""
    return _registry.chosen


def choose(index: int) -> None:
    """Let ``"cuda"`` mean another GPU."""
    _registry.chosen = find(index).index
