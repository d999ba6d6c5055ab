"""NVIDIA GPUs, under torch's names: whether any can be used, if not why, and their memory.

Knows the GPUs of the runtime; a tensor does on one what it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import random
from .codegen.deferred import deferred
from .errors import OutOfMemoryError
from .functions import draws
from .runtime import devices
from .runtime.devices import find
from .streams import Event, Stream, current_stream, default_stream, gpu_of
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
    devices.choose(gpu_of(device).index)


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
    devices.choose(gpu_of(device).index)
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
    gpu = gpu_of(device)
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
    gpu = gpu_of(device)
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
    gpu = gpu_of(device)
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


# --- streams --------------------------------------------------------------------------------------


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
    return gpu_of(device).allocated


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
    return gpu_of(device).peak


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
    gpu_of(device).reset_peak()


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
    return gpu_of(device).reserved


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
    gpu = gpu_of(device)
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
