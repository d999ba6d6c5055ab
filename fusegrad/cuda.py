"""NVIDIA GPUs, under torch's names: whether any can be used, if not why, and their memory.

Knows the GPUs of the runtime; a tensor does on one what it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

from . import random
from .codegen.deferred import deferred
from .errors import DeviceError, OutOfMemoryError, StateError
from .functions import draws
from .runtime import devices
from .runtime.devices import GPU, find
from .tensors import evaluation
from .tensors.tensor_class import Tensor

if TYPE_CHECKING:
    from .runtime import cuda_driver
else:
    cuda_driver = deferred("fusegrad.runtime.cuda_driver")

__all__ = [
    "Event",
    "OutOfMemoryError",
    "Stream",
    "current_device",
    "current_stream",
    "default_stream",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "get_rng_state",
    "init",
    "is_available",
    "is_bf16_supported",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
    "set_rng_state",
    "stream",
    "synchronize",
    "why_not",
]


devices.provide(lambda: cuda_driver.CudaDriver())


def _gpu(which: Any) -> GPU:
    """A GPU by its number or name; the current one for None."""
    text = "cuda" if which is None else f"cuda:{which}" if isinstance(which, int) else str(which)
    kind, _, number = text.partition(":")
    if kind != "cuda" or not (number.isdecimal() or text == "cuda"):
        raise DeviceError(f"{which!r} is no GPU", remedy="name one as 'cuda:0', or by its number")
    return find(int(number or devices.current_index()))


def is_available() -> bool:
    """Whether tensors can be put on a GPU; `why_not` gives the reason if they cannot.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> device = "cuda" if fg.cuda.is_available() else "cpu"
    >>> fg.zeros(2, device=device).cpu()
    Tensor([0., 0.])
    """
    return why_not() is None


def why_not() -> str | None:
    """Why no GPU can be used: a package that is missing, no driver, no GPU.

    Returns
    -------
    str or None
        None if one can.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.is_available() or isinstance(fg.cuda.why_not(), str)
    True
    """
    return devices.why_not()


def device_count() -> int:
    """How many GPUs can be used.

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.device_count() >= 0
    True
    """
    driver = devices.driver()
    return 0 if driver is None or driver.why_not() is not None else driver.count()


def current_device() -> int:
    """The number of the GPU that ``"cuda"`` means.

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.current_device()
    0
    """
    return find(devices.current_index()).index


def set_device(device: Any) -> None:
    """Let ``"cuda"`` mean another GPU.

    Parameters
    ----------
    device : int, str or device

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus(2):
    ...     fg.cuda.set_device(1)
    ...     fg.zeros(2, device="cuda").device
    device('cuda:1')
    """
    devices.choose(_gpu(device).index)


@contextmanager
def device(device: Any) -> Iterator[None]:
    """Let ``"cuda"`` mean another GPU inside of a ``with`` block.

    Parameters
    ----------
    device : int, str or device

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus(2):
    ...     with fg.cuda.device(1):
    ...         x = fg.zeros(2).cuda()
    ...     x.device, fg.zeros(2).cuda().device
    (device('cuda:1'), device('cuda:0'))
    """
    before = devices.current_index()
    devices.choose(_gpu(device).index)
    try:
        yield
    finally:
        devices.choose(before)


def synchronize(device: Any = None) -> None:
    """Wait until everything that a GPU was asked for is done.

    Parameters
    ----------
    device : int, str or device, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.synchronize()
    """
    gpu = _gpu(device)
    gpu.driver.synchronize(gpu.index)


def get_device_name(device: Any = None) -> str:
    """What the vendor calls a GPU.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    str

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.get_device_name()
    'simulated GPU'
    """
    gpu = _gpu(device)
    return gpu.driver.name(gpu.index)


def get_device_capability(device: Any = None) -> tuple[int, int]:
    """The version of a GPU's instructions: (9, 0) for what compilers call sm_90.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.get_device_capability()
    (9, 0)
    """
    gpu = _gpu(device)
    return gpu.driver.capability(gpu.index)


def is_bf16_supported() -> bool:
    """Whether products of bfloat16 are computed by the GPU: so it is on every one that can be used.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.is_bf16_supported()
    True
    """
    return is_available()


def init() -> None:
    """Look for GPUs now, rather than when one is first asked for.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.init()
    """
    devices.driver()


def is_initialized() -> bool:
    """Whether anything of this process was on a GPU.

    Returns
    -------
    bool

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     x = fg.ones(2).cuda()
    ...     fg.cuda.is_initialized()
    True
    """
    return devices.use.on


# --- streams and events ---------------------------------------------------------------------------


@final
class Event:
    """A moment in the work of a GPU, to measure or to wait for.

    Parameters
    ----------
    enable_timing, blocking, interprocess : bool, optional
        As of torch's; each event can be measured with.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     start, end = fg.cuda.Event(enable_timing=True), fg.cuda.Event(enable_timing=True)
    ...     start.record()
    ...     y = (fg.ones(1000, device="cuda") * 2).sum().item()
    ...     end.record()
    ...     end.synchronize()
    ...     start.elapsed_time(end) > 0
    True
    """

    def __init__(
        self, enable_timing: bool = False, blocking: bool = False, interprocess: bool = False
    ) -> None:
        self._gpu: GPU | None = None
        self._mark: Any = None

    def record(self, stream: Stream | None = None) -> None:
        """Be the moment when all that was asked for before is done."""
        self._gpu = _gpu(None) if stream is None else stream.gpu
        # What was only recorded so far is asked for before.
        evaluation.settle(None)
        self._mark = self._gpu.driver.mark(self._gpu.index)

    def synchronize(self) -> None:
        """Wait until the moment has come."""
        if self._gpu is not None:
            self._gpu.driver.synchronize(self._gpu.index)

    def wait(self, stream: Stream | None = None) -> None:
        """Let a stream wait for the moment: there is one, in which all is in order already."""

    def elapsed_time(self, end_event: Event) -> float:
        """The milliseconds from this moment to a later one, which is waited for.

        Raises
        ------
        StateError
            If one of them was not recorded.
        """
        if self._gpu is None or end_event._gpu is None:
            raise StateError(
                "an event was not recorded", remedy="call record() where its moment is"
            )
        return self._gpu.driver.seconds(self._gpu.index, self._mark, end_event._mark) * 1e3


@final
class Stream:
    """The queue of work of a GPU, of which there is one: all streams are names for it.

    Parameters
    ----------
    device : int, str or device, optional
    priority : int, optional
        Not heeded.

    Attributes
    ----------
    cuda_stream : int
        Its handle, for other libraries.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     side = fg.cuda.Stream()
    ...     side.wait_stream(fg.cuda.current_stream())
    ...     with fg.cuda.stream(side):
    ...         y = fg.ones(2, device="cuda") + 1
    ...     side.synchronize()
    ...     y.cpu(), side == fg.cuda.default_stream()
    (Tensor([2., 2.]), True)
    """

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.gpu = _gpu(device)
        self.cuda_stream = self.gpu.driver.stream(self.gpu.index)

    def synchronize(self) -> None:
        """Wait until everything in it is done."""
        self.gpu.driver.synchronize(self.gpu.index)

    def record_event(self, event: Event | None = None) -> Event:
        """An event at the present end of it."""
        event = Event() if event is None else event
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Go on after an event."""
        event.wait(self)

    def wait_stream(self, stream: Stream) -> None:
        """Go on after what another one has to do, of another GPU."""
        if stream.gpu is not self.gpu:
            stream.synchronize()

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, self.cuda_stream

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Stream) and other.gpu is self.gpu

    def __hash__(self) -> int:
        return hash(self.gpu.name)


def current_stream(device: Any = None) -> Stream:
    """The queue of a GPU's work.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    Stream

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.current_stream().synchronize()
    """
    return Stream(device)


def default_stream(device: Any = None) -> Stream:
    """As `current_stream`: there is one.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    Stream

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.default_stream() == fg.cuda.current_stream()
    True
    """
    return Stream(device)


@contextmanager
def stream(stream: Stream | None) -> Iterator[None]:
    """Inside of a ``with`` block ``"cuda"`` means the GPU of a stream.

    Parameters
    ----------
    stream : Stream or None

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus(2):
    ...     with fg.cuda.stream(fg.cuda.Stream("cuda:1")):
    ...         fg.zeros(2).cuda().device
    device('cuda:1')
    """
    if stream is None:
        yield
        return
    with device(stream.gpu.name):
        yield


# --- memory ---------------------------------------------------------------------------------------


def memory_allocated(device: Any = None) -> int:
    """The bytes of all tensors, steps and constants on a GPU.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     x = fg.asarray([1.0, 2.0]).cuda()
    ...     fg.cuda.memory_allocated()
    8
    """
    return _gpu(device).allocated


def max_memory_allocated(device: Any = None) -> int:
    """The most that `memory_allocated` ever was, or since `reset_peak_memory_stats`.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     x = fg.asarray([1.0, 2.0]).cuda()
    ...     del x
    ...     fg.cuda.max_memory_allocated(), fg.cuda.memory_allocated()
    (8, 0)
    """
    return _gpu(device).peak


def reset_peak_memory_stats(device: Any = None) -> None:
    """Let `max_memory_allocated` begin anew.

    Parameters
    ----------
    device : int, str or device, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.reset_peak_memory_stats()
    """
    _gpu(device).reset_peak()


def memory_reserved(device: Any = None) -> int:
    """The bytes that this process holds of a GPU's memory, to hand them out again too.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    int

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     fg.cuda.memory_reserved()
    0
    """
    return _gpu(device).reserved


def empty_cache() -> None:
    """Give the memory back to all GPUs that no tensor has.

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus():
    ...     x = fg.asarray([1.0, 2.0]).cuda()
    ...     del x
    ...     fg.cuda.empty_cache()
    ...     fg.cuda.memory_reserved()
    0
    """
    for index in range(device_count()):
        find(index).empty_cache()


def mem_get_info(device: Any = None) -> tuple[int, int]:
    """The bytes of a GPU that are free, and all of them.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    tuple of int

    Examples
    --------
    >>> import fusegrad as fg
    >>> with fg.testing.simulated_gpus(memory=1 << 20):
    ...     fg.cuda.mem_get_info()
    (1048576, 1048576)
    """
    gpu = _gpu(device)
    return gpu.driver.memory(gpu.index)


# --- random numbers -------------------------------------------------------------------------------


def manual_seed(seed: int) -> None:
    """Start the default stream of random numbers anew: there is one for all devices.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.manual_seed(0)
    """
    random.seed(seed)


def manual_seed_all(seed: int) -> None:
    """As `manual_seed`, under torch's name for all GPUs.

    Parameters
    ----------
    seed : int

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.manual_seed_all(0)
    """
    random.seed(seed)


def get_rng_state(device: Any = None) -> Tensor:
    """The state of the default stream of random numbers: there is one for all devices.

    Parameters
    ----------
    device : int, str or device, optional

    Returns
    -------
    Tensor
        For `set_rng_state`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> state = fg.cuda.get_rng_state()
    >>> a = fg.randn(3)
    >>> fg.cuda.set_rng_state(state)
    >>> bool((fg.randn(3) == a).all())
    True
    """
    return draws.default_generator.get_state()


def set_rng_state(new_state: Any, device: Any = None) -> None:
    """Go on with random numbers where `get_rng_state` was called.

    Parameters
    ----------
    new_state : Tensor
    device : int, str or device, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cuda.set_rng_state(fg.cuda.get_rng_state())
    """
    draws.default_generator.set_state(new_state)
