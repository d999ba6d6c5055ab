"""NVIDIA GPUs, under torch's names: whether any can be used, if not why, and their memory.

Knows the GPUs of the runtime; a tensor does on one what it does elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import random
from .codegen.deferred import deferred
from .errors import DeviceError, OutOfMemoryError
from .runtime import devices
from .runtime.devices import GPU, find

if TYPE_CHECKING:
    from .runtime import cuda_driver
else:
    cuda_driver = deferred("fusegrad.runtime.cuda_driver")

__all__ = [
    "OutOfMemoryError",
    "current_device",
    "device",
    "device_count",
    "empty_cache",
    "get_device_capability",
    "get_device_name",
    "is_available",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "mem_get_info",
    "memory_allocated",
    "memory_reserved",
    "reset_peak_memory_stats",
    "set_device",
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
