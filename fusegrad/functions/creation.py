"""Functions that make tensors: of given values, or of one value.

Knows how constants are recorded; inside of a compiled function they become part of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..codegen.dtypes import DType, float32
from ..errors import DTypeError, ShapeError
from ..ir.node import Node
from ..ops import build
from ..runtime.devices import use
from ..semantics.promotion import as_dtype, kind_of, with_weak
from ..semantics.shapes import as_shape
from ..tensors.array_values import check_number
from ..tensors.context import active
from ..tensors.device import check_device
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, finished, record_nodes
from .interop import is_on_gpu, of_gpu, shared

__all__ = [
    "array",
    "asarray",
    "constant",
    "empty",
    "empty_like",
    "full",
    "full_like",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def constant(
    function: Callable[[], Node], device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The tensor of a node that depends on nothing."""
    check_device(device)
    return finished(record_nodes(lambda: (function(), ())), device, requires_grad)


def _dtype(dtype: Any, default: DType = float32) -> DType:
    return default if dtype is None else as_dtype(dtype)


# --- of given values ------------------------------------------------------------------------------


def asarray(
    obj: ArrayLike,
    /,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of the values of an array, a number, or nested lists of numbers.

    Values of other libraries are copied: changing a NumPy array later changes no tensor, unless
    ``copy=False`` asks for a tensor in its memory (see `fusegrad.from_dlpack`).

    Inside of a compiled function values are read once, when it is traced: a small array becomes a
    constant of the program, a large one a captured tensor. What changes from call to call is passed
    as an argument.

    Parameters
    ----------
    obj : array_like
    dtype : dtype, optional
        By default that of an array; bool, int64 or float32 for Python numbers.
    device : str, optional
        ``"cpu"``.
    copy : bool, optional
        True: a new tensor even if `obj` is one of this dtype. False: CopyError if a copy is needed.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.asarray([[1, 2], [3, 4]], dtype="float32")
    Tensor([[1., 2.],
            [3., 4.]])
    """
    check_device(device)
    kind = None if dtype is None else as_dtype(dtype)
    if is_on_gpu(obj) and copy is not False:
        obj = of_gpu(obj)
        device = obj.device if device is None else device
    tensor = shared(obj, kind) if copy is False else as_tensor(obj, kind)
    if tensor is obj and (copy or (requires_grad and not tensor.requires_grad)):
        tensor = tensor._snapshot() if requires_grad else tensor.clone()
    return finished(_settled(tensor, obj), device, requires_grad)


def _settled(tensor: Tensor, obj: ArrayLike) -> Tensor:
    """A tensor of given values is on the CPU, where constants are on no device."""
    if use.on and tensor is not obj and active.trace is None:
        tensor._materialize()
    return tensor


def array(
    obj: ArrayLike,
    /,
    dtype: Any = None,
    *,
    copy: bool | None = True,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A new tensor of given values: `asarray` with a copy, under NumPy's name.

    Parameters
    ----------
    obj : array_like
    dtype : dtype, optional
        By default that of an array; bool, int64 or float32 for Python numbers.
    copy : bool, optional
        None or False: as in `asarray`.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.array([1, 2], "float64")
    Tensor([1., 2.], dtype=float64)
    """
    return asarray(obj, dtype=dtype, device=device, copy=copy, requires_grad=requires_grad)


def tensor(
    data: ArrayLike, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor of given values, without their history: torch's name.

    Parameters
    ----------
    data : array_like
    dtype : dtype, optional
        By default that of an array; bool, int64 or float32 for Python numbers.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.tensor([1.0, 2.0], requires_grad=True)
    Tensor([1., 2.], requires_grad=True)
    """
    check_device(device)
    tensor = _settled(Tensor(data, dtype), data)
    return finished(tensor, device, requires_grad)


# --- of one value ---------------------------------------------------------------------------------


def full(
    shape: Any,
    fill_value: ArrayLike,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value.

    Parameters
    ----------
    shape : int or sequence of int
    fill_value : number or Tensor
    dtype : dtype, optional
        By default bool, int64 or float32, as the value.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.full(3, 7)
    Tensor([7, 7, 7])
    """
    extents = _extents((shape,))
    if isinstance(fill_value, (Tensor, np.ndarray)):
        check_device(device)
        value = as_tensor(fill_value, None if dtype is None else as_dtype(dtype))
        return finished(value.broadcast_to(extents), device)
    number = fill_value.item() if isinstance(fill_value, np.generic) else fill_value
    if not isinstance(number, (bool, int, float, complex)):
        raise DTypeError(f"full: {number!r} is no number", remedy="fill with a number or a tensor")
    kind = _dtype(dtype, with_weak(None, kind_of(number)))
    return constant(
        lambda: build.full(extents, _fitting(number, kind), kind), device, requires_grad
    )


def _fitting(value: Any, dtype: DType) -> Any:
    check_number(value, dtype)
    if dtype.kind == "bool":
        return bool(value)
    return float(value) if dtype.is_float else int(value)


def _extents(shape: Any) -> tuple[Any, ...]:
    extents = as_shape(shape)
    if any(isinstance(extent, int) and extent < 0 for extent in extents):
        raise ShapeError(
            f"an extent of the shape {extents} is negative", remedy="extents are 0 or more"
        )
    return extents


def zeros(
    shape: Any = (),
    *more: int,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of zeros.

    Parameters
    ----------
    shape : int or sequence of int
    *more : int
        Further extents, if the first one is an integer.
    size : int or sequence of int, optional
        Torch's name of `shape`.
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.zeros((2, 2))
    Tensor([[0., 0.],
            [0., 0.]])
    """
    kind, extents = _dtype(dtype), _extents((shape, *more) if size is None else (size,))
    return constant(lambda: build.zeros(extents, kind), device, requires_grad)


def ones(
    shape: Any = (),
    *more: int,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of ones.

    Parameters
    ----------
    shape : int or sequence of int
    *more : int
        Further extents, if the first one is an integer.
    size : int or sequence of int, optional
        Torch's name of `shape`.
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ones(2, 2)
    Tensor([[1., 1.],
            [1., 1.]])
    """
    kind, extents = _dtype(dtype), _extents((shape, *more) if size is None else (size,))
    return constant(lambda: build.full(extents, 1, kind), device, requires_grad)


def empty(
    shape: Any = (),
    *more: int,
    size: Any = None,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor whose values are to be replaced; they are zeros.

    Parameters
    ----------
    shape : int or sequence of int
    *more : int
        Further extents, if the first one is an integer.
    size : int or sequence of int, optional
        Torch's name of `shape`.
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.empty(2, 3).shape
    (2, 3)
    """
    return zeros(shape, *more, size=size, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(
    x: Tensor,
    fill_value: ArrayLike,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of one value, of the shape and dtype of another.

    Parameters
    ----------
    x : Tensor
    fill_value : number
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.full_like(fg.zeros(3), 7)
    Tensor([7., 7., 7.])
    """
    like = as_tensor(x)
    kind = _dtype(dtype, like.dtype)
    device = like.device if device is None else device
    return full(like.shape, fill_value, dtype=kind, device=device, requires_grad=requires_grad)


def zeros_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Zeros of the shape and dtype of another tensor.

    Parameters
    ----------
    x : Tensor
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.zeros_like(fg.asarray([1, 2]))
    Tensor([0, 0])
    """
    return full_like(x, 0, dtype=dtype, device=device, requires_grad=requires_grad)


def ones_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Ones of the shape and dtype of another tensor.

    Parameters
    ----------
    x : Tensor
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ones_like(fg.asarray([5, 6]))
    Tensor([1, 1])
    """
    return full_like(x, 1, dtype=dtype, device=device, requires_grad=requires_grad)


def empty_like(
    x: Tensor, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A tensor to be filled, of the shape and dtype of another.

    Parameters
    ----------
    x : Tensor
    dtype : dtype, optional
    device : str, optional
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.empty_like(fg.ones(2, 3)).shape
    (2, 3)
    """
    return zeros_like(x, dtype=dtype, device=device, requires_grad=requires_grad)
