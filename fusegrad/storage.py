"""The memory of one value.

Knows nothing of who owns it: owners are counted by the references to the object.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np
import numpy.typing as npt

from .runtime.memory import Block, allocate

__all__ = ["Storage"]

Array = npt.NDArray[Any]


@final
class Storage:
    """The values of an array, C-contiguous and aligned to 64 bytes.

    Whoever may still need the values holds a reference to the object: the Tensor, recorded graphs,
    and NumPy views. A compiled program may write into it only if the Tensor is the only one.

    Attributes
    ----------
    array : numpy.ndarray
        The values. Nothing outside of fusegrad gets hold of this array, see `view`.
    address : int
        Where they begin.

    Examples
    --------
    >>> storage = Storage.copy_of(np.arange(3.0))
    >>> storage.array, storage.address % 64
    (array([0., 1., 2.]), 0)
    """

    __slots__ = ("__weakref__", "address", "array")

    def __init__(self, block: Block, array: Array) -> None:
        # The array holds the block.
        self.array = array
        self.address = block.address

    @staticmethod
    def empty(shape: Sequence[int], dtype: npt.DTypeLike) -> Storage:
        """Memory whose values are not set."""
        dtype = np.dtype(dtype)
        count = 1
        for extent in shape:
            count *= extent
        block = allocate(max(64, count * dtype.itemsize))
        return Storage(block, block.view(dtype, tuple(shape)))

    @staticmethod
    def copy_of(values: Array) -> Storage:
        """A copy of `values`."""
        storage = Storage.empty(values.shape, values.dtype)
        np.copyto(storage.array, values)
        return storage

    @property
    def __array_interface__(self) -> dict[str, Any]:
        array = self.array
        return {
            "version": 3,
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (self.address, True),
        }

    def view(self) -> Array:
        """The values as a read-only array that holds a reference to this object."""
        return np.asarray(self)
