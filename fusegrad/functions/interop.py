"""Arrays of other libraries as tensors, copied or with shared memory.

Knows NumPy's arrays, and the protocol DLPack, which it speaks through them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import DType
from ..errors import CopyError, DeviceError, DTypeError
from ..ir.types import TensorType
from ..runtime.devices import find
from ..semantics.promotion import as_dtype
from ..tensors import dlpack
from ..tensors.context import active
from ..tensors.device import check_device
from ..tensors.dlpack_device import CUDA, read_capsule
from ..tensors.storage import DeviceStorage, SharedStorage
from ..tensors.tensor_class import Tensor, as_tensor, finished, tensor_of

__all__ = ["from_dlpack", "from_numpy", "is_on_gpu", "of_gpu", "shared"]

Array = npt.NDArray[Any]

_CPU_DEVICES = (1, 3, 11, 13)
"""DLPack's numbers of devices whose memory the CPU can read."""


def shared(obj: Any, dtype: DType | None = None) -> Tensor:
    """A tensor in the memory of another array.

    Raises
    ------
    CopyError
        If that needs a copy: other strides, elements that are not aligned, another dtype.
    """
    if isinstance(obj, Tensor):
        if dtype is None or obj.dtype is dtype:
            return obj
        raise _no_copy(f"values of {obj.dtype} are no {dtype}")
    if isinstance(obj, np.ndarray) or hasattr(obj, "__dlpack__"):
        array = obj if isinstance(obj, np.ndarray) else _array_of(obj)
    else:
        try:
            array = np.asarray(memoryview(obj))
        except TypeError:
            raise _no_copy(f"a {type(obj).__name__} has no memory to share") from None
    obstacle = _obstacle(array, dtype)
    if obstacle:
        raise _no_copy(obstacle)
    return tensor_of(SharedStorage(array))


def _no_copy(why: str) -> CopyError:
    return CopyError(f"a copy is needed and copy=False: {why}", remedy="leave copy=None")


def _obstacle(array: Array, dtype: DType | None) -> str | None:
    """Why a tensor cannot lie in the memory of `array`, None if it can."""
    if not array.dtype.isnative:
        return "the bytes of its elements are swapped"
    own = as_dtype(array.dtype)
    if dtype is not None and own is not dtype:
        return f"values of {own} are no {dtype}"
    if not array.flags.c_contiguous:
        return f"it has the shape {array.shape} and the strides {array.strides} in bytes"
    if not array.flags.aligned:
        return f"its elements are not aligned to {array.itemsize} bytes"
    return None


def _array_of(x: Any) -> Array:
    """The NumPy array over the memory of an array of another library."""
    device = x.__dlpack_device__() if hasattr(x, "__dlpack_device__") else (1, 0)
    if int(device[0]) not in _CPU_DEVICES:
        raise DeviceError(
            f"the array is on device {tuple(map(int, device))} in DLPack's numbers",
            remedy="copy it to the CPU first, as with x.cpu() in torch",
        )
    try:
        return dlpack.from_dlpack(x)
    except (AttributeError, RuntimeError, TypeError, ValueError, BufferError) as error:
        raise DTypeError(
            f"a {type(x).__name__} cannot be read: {str(error).partition(chr(10))[0]}",
            remedy="detach it and convert it to a dtype of fusegrad first",
        ) from None


def of_gpu(x: Any) -> Tensor:
    """A copy of an array that another library has on a GPU, on that GPU.

    Raises
    ------
    CopyError
        If its elements do not lie one after the other.
    """
    if _speaks_dlpack(x):
        return _taken(x)
    interface = x.__cuda_array_interface__
    dtype = as_dtype(np.dtype(interface["typestr"]))
    type_ = TensorType(tuple(interface["shape"]), dtype)
    strides = interface.get("strides")
    if strides is not None and tuple(strides) != _strides(type_.shape, dtype.itemsize):  # type: ignore[arg-type]
        raise CopyError(
            f"an array on a GPU has the strides {tuple(strides)} in bytes",
            remedy="make it contiguous first, x.contiguous() in torch, cupy.ascontiguousarray(x)",
        )
    device = x.__dlpack_device__() if hasattr(x, "__dlpack_device__") else (CUDA, 0)
    gpu = find(int(device[1]))
    storage = DeviceStorage(type_, gpu)
    # Its library may still write it, and may write it again as soon as this returns.
    gpu.driver.synchronize(gpu.index)
    gpu.driver.copy(gpu.index, storage.address, int(interface["data"][0]), type_.nbytes)
    gpu.driver.synchronize(gpu.index)
    return tensor_of(storage)


def _strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    found: list[int] = []
    step = itemsize
    for extent in reversed(shape):
        found.append(step)
        step *= extent
    return tuple(reversed(found))


def _taken(x: Any) -> Tensor:
    """A copy by DLPack: the array's library orders its work before what is asked for here."""
    gpu = find(int(x.__dlpack_device__()[1]))
    foreign = read_capsule(x.__dlpack__(stream=gpu.driver.stream(gpu.index) or None))
    storage = DeviceStorage(TensorType(foreign.shape, foreign.dtype), gpu)
    gpu.driver.copy(gpu.index, storage.address, foreign.address, storage.type.nbytes)
    # Its library may write it again as soon as this returns.
    gpu.driver.synchronize(gpu.index)
    foreign.release()
    return tensor_of(storage)


def _speaks_dlpack(x: Any) -> bool:
    return (
        hasattr(x, "__dlpack__")
        and hasattr(x, "__dlpack_device__")
        and int(x.__dlpack_device__()[0]) == CUDA
    )


def is_on_gpu(x: Any) -> bool:
    """Whether another library has an array on a GPU."""
    if isinstance(x, (Tensor, np.ndarray)):
        return False
    return _speaks_dlpack(x) or hasattr(x, "__cuda_array_interface__")


def from_numpy(x: Any) -> Tensor:
    """A tensor with the values of a NumPy array, which are copied.

    Parameters
    ----------
    x : numpy.ndarray

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.from_numpy(np.arange(3))
    Tensor([0, 1, 2])
    """
    return as_tensor(np.asarray(x))


def from_dlpack(x: Any, /, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor in the memory of an array of another library.

    The memory is read and never written: ``t += 1`` gives the tensor memory of its own. What is
    computed from it outside of compiled functions is computed at once, so that changes by its owner
    reach only what is recorded later.

    Parameters
    ----------
    x : object with ``__dlpack__``
        Its values lie in memory that the CPU can read.
    device : str, optional
        ``"cpu"``.
    copy : bool, optional
        None: only if the values are not C-contiguous and aligned. False: never.

    Returns
    -------
    Tensor

    Raises
    ------
    CopyError
        If `copy` is False and the memory cannot be shared: that of a GPU is always copied.
    DeviceError, DTypeError
        If the values are on another device, or of a dtype that fusegrad does not have.

    Examples
    --------
    >>> import fusegrad as fg
    >>> array = np.arange(3)
    >>> x = fg.from_dlpack(array)
    >>> array[0] = 7
    >>> x
    Tensor([7, 1, 2])
    """
    check_device(device)
    if isinstance(x, Tensor):
        return finished(x.clone() if copy else x, device)
    if is_on_gpu(x):
        if copy is False:
            raise _no_copy("the values are on a GPU")
        return finished(of_gpu(x), device)
    array = _array_of(x)
    if copy is False:
        return finished(shared(array), device)
    if copy or active.trace is not None or _obstacle(array, None):
        return finished(as_tensor(array), device)
    return finished(shared(array), device)
