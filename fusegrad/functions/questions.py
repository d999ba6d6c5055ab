"""Questions about arrays that need no values: what they are, how many axes and elements they have.

Knows tensors by their types.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen.dtypes import DType
from ..semantics.promotion import as_dtype, promote
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor

__all__ = [
    "is_complex",
    "is_nonzero",
    "is_same_size",
    "is_signed",
    "iscomplex",
    "isreal",
    "isscalar",
    "iterable",
    "ndim",
    "promote_types",
    "shape",
    "size",
]


def is_complex(x: ArrayLike) -> bool:
    """False: there are no complex numbers here.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.is_complex(fg.ones(2))
    False
    """
    as_tensor(x)
    return False


def is_signed(x: ArrayLike) -> bool:
    """Whether the dtype has negative numbers.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.is_signed(fg.ones(2)), fg.is_signed(fg.ones(2, dtype="uint8"))
    (True, False)
    """
    return as_tensor(x).dtype.kind in ("int", "float")


def is_nonzero(x: ArrayLike) -> bool:
    """Whether the only element is not zero.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.is_nonzero(fg.asarray([0.5]))
    True
    """
    return bool(as_tensor(x))


def is_same_size(x1: ArrayLike, x2: ArrayLike) -> bool:
    """Whether two arrays have the same shape.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.is_same_size(fg.ones(2), fg.ones((2, 1)))
    False
    """
    return as_tensor(x1).shape == as_tensor(x2).shape


def iscomplex(x: ArrayLike) -> Tensor:
    """Which elements have an imaginary part: none.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.iscomplex([1.0, 2.0])
    Tensor([False, False])
    """
    tensor = as_tensor(x)
    return tensor != tensor.real if not tensor.dtype.is_float else _none(tensor)


def isreal(x: ArrayLike) -> Tensor:
    """Which elements have no imaginary part: all.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.isreal([1.0, 2.0])
    Tensor([ True,  True])
    """
    return ~iscomplex(x)


def _none(x: Tensor) -> Tensor:
    # Not x != x, which holds for NaN.
    return x.new_zeros(tuple(x.shape), dtype="bool")


def isscalar(obj: Any) -> bool:
    """Whether an object is a number, and no array, not even one without axes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.isscalar(3.0), fg.isscalar(fg.asarray(3.0))
    (True, False)
    """
    return bool(np.isscalar(obj))


def iterable(obj: Any) -> bool:
    """Whether one can iterate over an object.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.iterable(fg.ones(2)), fg.iterable(fg.ones(()))
    (True, False)
    """
    return obj.ndim > 0 if isinstance(obj, Tensor) else bool(np.iterable(obj))


def size(x: ArrayLike, axis: int | None = None) -> int:
    """The number of elements, or of positions along an axis.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.size(fg.ones((2, 3))), fg.size(fg.ones((2, 3)), 1)
    (6, 3)
    """
    tensor = as_tensor(x)
    return tensor.size if axis is None else tensor.shape[one_axis("size", axis, tensor.ndim)]


def ndim(x: ArrayLike) -> int:
    """The number of axes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ndim([[1, 2]])
    2
    """
    return as_tensor(x).ndim


def shape(x: ArrayLike) -> tuple[int, ...]:
    """The extents of the axes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.shape([[1, 2]])
    (1, 2)
    """
    return tuple(as_tensor(x).shape)


def promote_types(type1: Any, type2: Any) -> DType:
    """The dtype that arrays of two dtypes have together.

    Parameters
    ----------
    type1, type2 : dtype

    Returns
    -------
    DType

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.promote_types("int8", "float32")
    fusegrad.float32
    """
    return promote(as_dtype(type1), as_dtype(type2))
