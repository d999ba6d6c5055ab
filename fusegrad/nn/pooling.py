"""Pooling as functions, under torch's names.

User-level code: each says how many axes its windows run over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.precision import in_float32
from ..semantics import pooling as semantics
from ..semantics.convolution import numbers
from ..semantics.pooling import Pooling
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record

__all__ = [
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
]

Numbers = int | Sequence[int]


def _largest(
    name: str,
    input: ArrayLike,
    rank: int,
    sizes: Sequence[Any],
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    x = as_tensor(input)
    pooling = Pooling.of(name, x._read(), rank, *sizes, ceil_mode=ceil_mode)
    values = record(semantics.largest, (x,), pooling)
    if not return_indices:
        return values
    return values, record(semantics.largest_places, (x,), pooling)


@in_float32
def _average(
    name: str,
    input: ArrayLike,
    rank: int,
    sizes: Sequence[Any],
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None,
) -> Tensor:
    x = as_tensor(input)
    pooling = Pooling.of(name, x._read(), rank, *sizes, ceil_mode=ceil_mode)

    def average(node: Any) -> Any:
        return semantics.average(name, node, pooling, count_include_pad, divisor_override)

    return record(average, (x,))


@in_float32
def _power(
    name: str,
    input: ArrayLike,
    rank: int,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None,
    ceil_mode: bool,
) -> Tensor:
    x = asarray(input)
    sizes = kernel_size, stride
    mean = _average(name, x**norm_type, rank, sizes, ceil_mode, True, None)
    count = 1
    for size in numbers(name, "kernel_size", kernel_size, rank):
        count *= size
    # As torch has it: a sum below zero keeps its sign, and the derivative of the abs at 0 is 0.
    magnitude = fg.sign(mean) * fg.where(mean != 0, fg.abs(mean), 0)
    return (magnitude * count) ** (1.0 / norm_type)


def max_pool1d(
    input: ArrayLike,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over the last axis; NaN is larger than numbers.

    The gradient goes to the first of equal elements.

    Parameters
    ----------
    input : array_like
        Numbers of shape ``(N, C, L)`` or ``(C, L)``.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    padding : int or sequence of int, optional
        Places on both sides where nothing is; at most half a window.
    dilation : int or sequence of int, optional
        Steps inside of a window.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    return_indices : bool, optional
        Whether to give the row-major positions in the last axes too, as int64.

    Returns
    -------
    Tensor, or tuple of two

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.max_pool1d(fg.ones((1, 2, 8)), 2).shape
    (1, 2, 4)
    """
    sizes = kernel_size, stride, padding, dilation
    return _largest("max_pool1d", input, 1, sizes, ceil_mode, return_indices)


def max_pool2d(
    input: ArrayLike,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over the last 2 axes; NaN is larger than numbers.

    The gradient goes to the first of equal elements.

    Parameters
    ----------
    input : array_like
        Numbers of shape ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    padding : int or sequence of int, optional
        Places on both sides where nothing is; at most half a window.
    dilation : int or sequence of int, optional
        Steps inside of a window.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    return_indices : bool, optional
        Whether to give the row-major positions in the last axes too, as int64.

    Returns
    -------
    Tensor, or tuple of two

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.max_pool2d(fg.ones((1, 2, 8, 8)), 2).shape
    (1, 2, 4, 4)
    """
    sizes = kernel_size, stride, padding, dilation
    return _largest("max_pool2d", input, 2, sizes, ceil_mode, return_indices)


def max_pool3d(
    input: ArrayLike,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    dilation: Numbers = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window over the last 3 axes; NaN is larger than numbers.

    The gradient goes to the first of equal elements.

    Parameters
    ----------
    input : array_like
        Numbers of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    padding : int or sequence of int, optional
        Places on both sides where nothing is; at most half a window.
    dilation : int or sequence of int, optional
        Steps inside of a window.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    return_indices : bool, optional
        Whether to give the row-major positions in the last axes too, as int64.

    Returns
    -------
    Tensor, or tuple of two

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.max_pool3d(fg.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """
    sizes = kernel_size, stride, padding, dilation
    return _largest("max_pool3d", input, 3, sizes, ceil_mode, return_indices)


def avg_pool1d(
    input: ArrayLike,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window over the last axis.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, L)`` or ``(C, L)``.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    padding : int or sequence of int, optional
        Zeros on both sides; at most half a window.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    count_include_pad : bool, optional
        Whether padding counts as elements.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.avg_pool1d(fg.ones((1, 2, 8)), 2).shape
    (1, 2, 4)
    """
    sizes = kernel_size, stride, padding
    return _average("avg_pool1d", input, 1, sizes, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: ArrayLike,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last 2 axes.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, H, W)`` or ``(C, H, W)``.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    padding : int or sequence of int, optional
        Zeros on both sides; at most half a window.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    count_include_pad : bool, optional
        Whether padding counts as elements.
    divisor_override : int, optional
        What to divide by instead.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.avg_pool2d(fg.ones((1, 2, 8, 8)), 2).shape
    (1, 2, 4, 4)
    """
    sizes = kernel_size, stride, padding
    return _average("avg_pool2d", input, 2, sizes, ceil_mode, count_include_pad, divisor_override)


def avg_pool3d(
    input: ArrayLike,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of each window over the last 3 axes.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    padding : int or sequence of int, optional
        Zeros on both sides; at most half a window.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.
    count_include_pad : bool, optional
        Whether padding counts as elements.
    divisor_override : int, optional
        What to divide by instead.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.avg_pool3d(fg.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """
    sizes = kernel_size, stride, padding
    return _average("avg_pool3d", input, 3, sizes, ceil_mode, count_include_pad, divisor_override)


def lp_pool1d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The root of the sum of powers of each window over the last axis.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, L)`` or ``(C, L)``.
    norm_type : float
        The power.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.lp_pool1d(fg.ones((1, 2, 8)), 2, 2).shape
    (1, 2, 4)
    """
    return _power("lp_pool1d", input, 1, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The root of the sum of powers of each window over the last 2 axes.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, H, W)`` or ``(C, H, W)``.
    norm_type : float
        The power.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.lp_pool2d(fg.ones((1, 2, 8, 8)), 2, 2).shape
    (1, 2, 4, 4)
    """
    return _power("lp_pool2d", input, 2, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: ArrayLike,
    norm_type: float,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    ceil_mode: bool = False,
) -> Tensor:
    """The root of the sum of powers of each window over the last 3 axes.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    norm_type : float
        The power.
    kernel_size : int or sequence of int
        The extents of a window.
    stride : int or sequence of int, optional
        Steps between windows; by default windows lie side by side.
    ceil_mode : bool, optional
        Whether a last window may reach over the end.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.lp_pool3d(fg.ones((1, 2, 4, 4, 4)), 2, 2).shape
    (1, 2, 2, 2, 2)
    """
    return _power("lp_pool3d", input, 3, norm_type, kernel_size, stride, ceil_mode)
