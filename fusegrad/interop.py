"""Arrays of other libraries as tensors.

Knows NumPy's arrays and the protocol DLPack.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .tensor_class import Tensor, as_tensor
from .tensor_conversions import check_device

__all__ = ["from_dlpack", "from_numpy"]


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
    """A tensor with the values of an array of another library, which are copied.

    Parameters
    ----------
    x : object with ``__dlpack__``
        Its values lie in memory that the CPU can read.
    device : str, optional
        ``"cpu"``.
    copy : bool, optional
        Without effect.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.from_dlpack(np.arange(3))
    Tensor([0, 1, 2])
    """
    check_device(device)
    return as_tensor(x if isinstance(x, Tensor) else np.from_dlpack(x))
