"""The memory of one value.

Knows nothing of who owns it: owners are counted by the references to the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, final

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import as_dtype
from ..errors import DeviceError
from ..ir.types import TensorType
from ..runtime.devices import GPU, DeviceBlock
from ..runtime.memory import Block, allocate

__all__ = ["DeviceStorage", "SharedStorage", "Storage"]

Array = npt.NDArray[Any]


class Storage:
    """The values of an array, C-contiguous and aligned to 64 bytes.

    Whoever may still need the values holds a reference to the object: the Tensor, recorded graphs,
    and NumPy views. A compiled program may write into it only if the Tensor is the only one.

    Attributes
    ----------
    type : TensorType
        Shape and dtype.
    address : int
        Where the values begin.
    shared : bool
        Whether somebody else owns the memory, who may change the values.
    device : str
        ``"cpu"``, or the name of the GPU that has the memory.

    Examples
    --------
    >>> storage = Storage.copy_of(np.arange(3.0))
    >>> storage.array, storage.address % 64
    (array([0., 1., 2.]), 0)
    """

    __slots__ = ("__weakref__", "_array", "_block", "address", "type")
    shared: ClassVar[bool] = False
    remote: ClassVar[bool] = False
    _block: Block

    def __init__(self, type_: TensorType) -> None:
        """Memory whose values are not set."""
        count = type_.size * type_.dtype.itemsize  # type: ignore[operator]
        block = allocate(count if count > 64 else 64)
        self.type = type_
        self.address = block.address
        self._block = block
        self._array: Array | None = None

    @property
    def device(self) -> str:
        """Where the memory is."""
        return "cpu"

    @property
    def array(self) -> Array:
        """The values; the array holds the memory. Made when it is first asked for."""
        array = self._array
        if array is None:
            type_ = self.type
            array = self._array = self._block.view(type_.dtype.numpy, type_.shape)  # type: ignore[arg-type]
        return array

    @staticmethod
    def empty(shape: Sequence[int], dtype: npt.DTypeLike) -> Storage:
        """Memory whose values are not set."""
        return Storage(TensorType(tuple(shape), as_dtype(dtype)))

    @staticmethod
    def copy_of(values: Array) -> Storage:
        """A copy of `values`."""
        storage = Storage.empty(values.shape, values.dtype)
        np.copyto(storage.array, values)
        return storage

    def view(self) -> Array:
        """The values as a read-only array that holds a reference to this object."""
        return np.asarray(_Loan(self, True)).view(self.type.dtype.numpy)

    def lent(self) -> Array:
        """The same for readers that know no read-only memory, and promise not to write."""
        return np.asarray(_Loan(self, False)).view(self.type.dtype.numpy)

    def owned(self) -> Storage:
        """The values in memory that nobody else changes: this object, or a copy."""
        return self


@final
class SharedStorage(Storage):
    """The values of an array of somebody else, which are read and never written.

    Parameters
    ----------
    array : numpy.ndarray
        C-contiguous, its elements aligned to their size.

    Examples
    --------
    >>> array = np.arange(3.0)
    >>> storage = SharedStorage(array)
    >>> array[0] = 7
    >>> storage.array, storage.array.flags.writeable
    (array([7., 1., 2.]), False)
    """

    __slots__ = ()
    shared: ClassVar[bool] = True

    def __init__(self, array: Array) -> None:
        self.type = TensorType(array.shape, as_dtype(array.dtype))
        self.address = array.ctypes.data
        self._array = array.view()
        self._array.flags.writeable = False

    def owned(self) -> Storage:
        return Storage.copy_of(self.array)


@final
class DeviceStorage(Storage):
    """Values in the memory of a GPU.

    Parameters
    ----------
    type_ : TensorType
    gpu : GPU

    Attributes
    ----------
    address : int
        Of the GPU, not of this process.
    """

    __slots__ = ("_memory", "gpu")
    remote: ClassVar[bool] = True
    _memory: DeviceBlock

    def __init__(self, type_: TensorType, gpu: GPU) -> None:
        count: int = type_.size * type_.dtype.itemsize  # type: ignore[operator]
        self._memory = gpu.allocate(count)
        self.gpu = gpu
        self.type = type_
        self.address = self._memory.address

    @property
    def device(self) -> str:
        return self.gpu.name

    @staticmethod
    def of(source: Storage, gpu: GPU) -> DeviceStorage:
        """The values of another storage on a GPU."""
        made = DeviceStorage(source.type, gpu)
        if isinstance(source, DeviceStorage) and source.gpu is gpu:
            gpu.driver.copy(gpu.index, made.address, source.address, source._memory.nbytes)
        else:
            values = source.array
            gpu.driver.upload(gpu.index, made.address, values.ctypes.data, values.nbytes)
        return made

    @property
    def array(self) -> Array:
        """A copy of the values on the host, which cannot be written."""
        values = self.fetched().array
        values.flags.writeable = False
        return values

    def fetched(self) -> Storage:
        """The values in memory of the host."""
        made = Storage(self.type)
        gpu, count = self.gpu, self._memory.nbytes
        gpu.driver.download(gpu.index, made.address, self.address, count)
        return made

    def interface(self) -> dict[str, Any]:
        """What other libraries of CUDA read of it: version 3 of ``__cuda_array_interface__``."""
        return {
            "shape": self.type.shape,
            "typestr": self.type.dtype.numpy.str,
            "data": (self.address, False),
            "strides": None,
            "version": 3,
            "stream": self.gpu.driver.stream(self.gpu.index) or None,
        }

    def view(self) -> Array:
        raise DeviceError(
            f"the values are on {self.device}: NumPy cannot see them",
            remedy="copy them to the CPU first, x.cpu().numpy()",
        )

    lent = view


@final
class _Loan:
    """What NumPy makes an array of: the memory of a storage, and a reference to it."""

    __slots__ = ("read_only", "storage")

    def __init__(self, storage: Storage, read_only: bool) -> None:
        self.storage, self.read_only = storage, read_only

    @property
    def __array_interface__(self) -> dict[str, Any]:
        array = self.storage.array
        return {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self.storage.address, self.read_only),
        }
