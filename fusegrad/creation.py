"""Functions that make tensors: of given values, of one value, of counts.

Knows how constants are recorded; inside of a compiled function they become part of the program.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .codegen.dtypes import DType, bool_, float32, float64, int64
from .errors import DTypeError, ShapeError
from .interop import shared
from .ir.node import Node
from .ops import build
from .semantics.promotion import as_dtype, kind_of, with_weak
from .semantics.shapes import as_shape
from .tensor_class import ArrayLike, Tensor, as_tensor, record_nodes
from .tensor_conversions import check_device

__all__ = [
    "arange",
    "array",
    "asarray",
    "empty",
    "empty_like",
    "eye",
    "full",
    "full_like",
    "linspace",
    "ones",
    "ones_like",
    "tensor",
    "zeros",
    "zeros_like",
]


def _make(function: Callable[[], Node], device: Any = None, requires_grad: bool = False) -> Tensor:
    check_device(device)
    tensor = record_nodes(lambda: (function(), ()))
    return tensor.requires_grad_() if requires_grad else tensor


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
    tensor = shared(obj, kind) if copy is False else as_tensor(obj, kind)
    if tensor is obj and (copy or (requires_grad and not tensor.requires_grad)):
        tensor = tensor.detach() if requires_grad else tensor.clone()
    return tensor.requires_grad_() if requires_grad else tensor


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
    return Tensor(data, dtype, requires_grad)


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
        return value.broadcast_to(extents)
    number = fill_value.item() if isinstance(fill_value, np.generic) else fill_value
    kind = _dtype(dtype, with_weak(None, kind_of(number)))
    return _make(lambda: build.full(extents, _fitting(number, kind), kind), device, requires_grad)


def _fitting(value: Any, dtype: DType) -> Any:
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
    shape: Any,
    *more: int,
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
    kind, extents = _dtype(dtype), _extents((shape, *more))
    return _make(lambda: build.zeros(extents, kind), device, requires_grad)


def ones(
    shape: Any,
    *more: int,
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
    kind, extents = _dtype(dtype), _extents((shape, *more))
    return _make(lambda: build.full(extents, 1, kind), device, requires_grad)


def empty(
    shape: Any,
    *more: int,
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
    return zeros(shape, *more, dtype=dtype, device=device, requires_grad=requires_grad)


def full_like(x: Tensor, fill_value: ArrayLike, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor of one value, of the shape and dtype of another.

    Parameters
    ----------
    x : Tensor
    fill_value : number
    dtype : dtype, optional
    device : str, optional

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
    return full(like.shape, fill_value, dtype=_dtype(dtype, like.dtype), device=device)


def zeros_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Zeros of the shape and dtype of another tensor.

    Parameters
    ----------
    x : Tensor
    dtype : dtype, optional
    device : str, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.zeros_like(fg.asarray([1, 2]))
    Tensor([0, 0])
    """
    return full_like(x, 0, dtype=dtype, device=device)


def ones_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """Ones of the shape and dtype of another tensor.

    Parameters
    ----------
    x : Tensor
    dtype : dtype, optional
    device : str, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ones_like(fg.asarray([5, 6]))
    Tensor([1, 1])
    """
    return full_like(x, 1, dtype=dtype, device=device)


def empty_like(x: Tensor, *, dtype: Any = None, device: Any = None) -> Tensor:
    """A tensor to be filled, of the shape and dtype of another.

    Parameters
    ----------
    x : Tensor
    dtype : dtype, optional
    device : str, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.empty_like(fg.ones(2, 3)).shape
    (2, 3)
    """
    return zeros_like(x, dtype=dtype, device=device)


# --- of counts ------------------------------------------------------------------------------------


def _steps(count: int, start: Any, step: Any, dtype: DType) -> Node:
    """start, start + step, ...: floats are computed in double precision and rounded once."""
    kind = float64 if dtype.is_float else int64
    node = build.iota(count, kind)
    if step != 1:
        node = build.mul(node, build.full_like(node, step))
    if start != 0:
        node = build.add(node, build.full_like(node, start))
    return build.cast(node, dtype)


def arange(
    start: float,
    stop: float | None = None,
    step: float = 1,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers from `start` up to, not including, `stop`.

    Parameters
    ----------
    start : number
        The end, from 0, if it is alone.
    stop, step : number, optional
    dtype : dtype, optional
        By default int64 if all arguments are integers, else float32.
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
    >>> fg.arange(4), fg.arange(1.0, 2.0, 0.25)
    (Tensor([0, 1, 2, 3]), Tensor([1.  , 1.25, 1.5 , 1.75]))
    """
    if stop is None:
        start, stop = 0, start
    if step == 0:
        raise ShapeError("arange with a step of 0 has no end", remedy="give another step")
    whole = all(isinstance(value, (int, np.integer)) for value in (start, stop, step))
    kind = _dtype(dtype, int64 if whole else float32)
    if whole:
        count = len(range(int(start), int(stop), int(step)))
    else:
        count = max(0, math.ceil((stop - start) / step))
    if kind is bool_:
        raise DTypeError("arange has no bools", remedy="take an integer or floating dtype")
    inner = kind if whole or kind.is_float else float64
    return _make(lambda: build.cast(_steps(count, start, step, inner), kind), device, requires_grad)


def linspace(
    start: float,
    stop: float,
    num: int,
    *,
    endpoint: bool = True,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Numbers at equal distances.

    Parameters
    ----------
    start, stop : number
    num : int
        How many.
    endpoint : bool, optional
        Whether `stop` is the last one.
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
    >>> fg.linspace(0, 1, 5)
    Tensor([0.  , 0.25, 0.5 , 0.75, 1.  ])
    """
    kind = _dtype(dtype)
    if num <= _SMALL_COUNT:
        values = np.linspace(start, stop, num, endpoint=endpoint).astype(kind.numpy)
        tensor = as_tensor(values)
        check_device(device)
        return tensor.requires_grad_() if requires_grad else tensor
    step = (stop - start) / (num - 1 if endpoint else num)
    return _make(
        lambda: build.cast(_steps(num, float(start), step, float64), kind), device, requires_grad
    )


_SMALL_COUNT = 1024


def eye(
    n_rows: int, n_cols: int | None = None, *, k: int = 0, dtype: Any = None, device: Any = None
) -> Tensor:
    """Ones on a diagonal, zeros elsewhere.

    Parameters
    ----------
    n_rows : int
    n_cols : int, optional
        By default as many as rows.
    k : int, optional
        The diagonal, counted upwards from the main one.
    dtype : dtype, optional
        By default float32.
    device : str, optional
        ``"cpu"``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.eye(2)
    Tensor([[1., 0.],
            [0., 1.]])
    """
    shape = (n_rows, n_rows if n_cols is None else n_cols)
    kind = _dtype(dtype)

    def identity() -> Node:
        row = build.broadcast(_steps(shape[0], k, 1, int64), shape, (0,))
        column = build.broadcast(build.iota(shape[1], int64), shape, (1,))
        return build.cast(build.eq(row, column), kind)

    return _make(identity, device)
