"""Weighted means, covariances, and whether arrays are equal.

Compositions: traced, differentiated and fused like the user's code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen.dtypes import as_dtype
from ..errors import ShapeError
from ..semantics.promotion import as_float
from ..semantics.shapes import axis_tuple, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from ..tensors.tensor_methods import Axis, pick_axis, pick_keepdims
from .diagonals import diagonal
from .functional import clip, isclose, isnan
from .joining import concat
from .naming import named

__all__ = [
    "allclose",
    "array_equal",
    "array_equiv",
    "average",
    "corrcoef",
    "cov",
    "ptp",
]


@named
def average(
    x: ArrayLike,
    axis: Axis = None,
    weights: ArrayLike = None,
    returned: bool = False,
    keepdims: bool = False,
    *,
    dim: Axis = None,
) -> Any:
    """The weighted mean.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    weights : array_like, optional
        In the shape of `x`, or of the axes.
    returned : bool, optional
        Whether the sum of the weights is wanted too.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor, or pair of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.average([1.0, 2.0], weights=[3.0, 1.0])
    Tensor(1.25)
    """
    tensor, axis = as_tensor(x), pick_axis(axis, dim)
    if weights is None:
        mean = tensor.mean(axis, keepdims)
        count = tensor.size / max(mean.size, 1)
        total = mean * 0 + count
    else:
        scale = _weights(as_tensor(weights), tensor, axis)
        tensor = tensor if tensor.dtype.is_float else tensor.astype(as_float(tensor.dtype))
        total = scale.sum(axis, keepdims)
        mean = (tensor * scale).sum(axis, keepdims) / total
        total = total.astype(mean.dtype, copy=False)
    return (mean, total) if returned else mean


def _weights(weights: Tensor, x: Tensor, axis: Any) -> Tensor:
    if weights.shape == x.shape:
        return weights
    axes = axis_tuple("average", axis, x.ndim)
    if axis is None or weights.shape != tuple(x.shape[a] for a in axes):
        raise ShapeError(
            f"average: weights of shape {show(weights.shape)} for an array of shape "
            f"{show(x.shape)}",
            remedy="give them the shape of the array, or of the axes that you name",
        )
    shape = [x.shape[a] if a in axes else 1 for a in range(x.ndim)]
    return weights.reshape(shape).broadcast_to(x.shape)


@named
def ptp(
    x: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The difference of the largest and the smallest element.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ptp([3, 1, 7])
    Tensor(6)
    """
    tensor, axes = as_tensor(x), pick_axis(axis, dim)
    keep = pick_keepdims(keepdims, keepdim)
    return tensor.max(axes, keep) - tensor.min(axes, keep)


# --- covariances ----------------------------------------------------------------------------------


def _variables(x: ArrayLike, rowvar: bool, dtype: Any) -> Tensor:
    tensor = as_tensor(x)
    if tensor.ndim > 2:
        raise ShapeError(
            f"a covariance of an array of shape {show(tensor.shape)}",
            remedy="pass a matrix, each row of which is a variable",
        )
    tensor = tensor.astype(as_float(tensor.dtype) if dtype is None else as_dtype(dtype), copy=False)
    if tensor.ndim < 2:
        return tensor.reshape(1, -1)
    return tensor if rowvar else tensor.T


def cov(
    m: ArrayLike,
    y: ArrayLike = None,
    rowvar: bool = True,
    bias: bool = False,
    ddof: float | None = None,
    fweights: ArrayLike = None,
    aweights: ArrayLike = None,
    *,
    dtype: Any = None,
    correction: float | None = None,
) -> Tensor:
    """The covariances of variables.

    Parameters
    ----------
    m : array_like
        A vector, or a matrix with a variable in each row.
    y : array_like, optional
        More variables.
    rowvar : bool, optional
        Whether the rows are the variables, not the columns.
    bias : bool, optional
        Whether the sums are divided by the number of observations, not by one less.
    ddof : float, optional
        What is subtracted from that number, whatever `bias` says; torch's `correction`.
    fweights, aweights : array_like, optional
        How often each observation occurs, and how much it counts.
    dtype : dtype, optional
        Of the result.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cov([[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    Tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    x = _variables(m, rowvar, dtype)
    if y is not None:
        x = concat([x, _variables(y, rowvar, dtype)])
    less = correction if ddof is None else ddof
    less = (0.0 if bias else 1.0) if less is None else less
    counts = None if fweights is None else as_tensor(fweights).astype(x.dtype)
    scale = counts
    if aweights is not None:
        own = as_tensor(aweights).astype(x.dtype)
        scale = own if counts is None else own * counts
    if scale is None:
        centred = x - x.mean(1, keepdims=True)
        product = centred @ centred.T / max(x.shape[1] - less, 0.0)
    else:
        total = scale.sum()
        centred = x - (x * scale).sum(1, keepdims=True) / total
        freedom = total - less
        if aweights is not None:
            freedom = total - less * (scale * as_tensor(aweights).astype(x.dtype)).sum() / total
        product = (centred * scale) @ centred.T / freedom.maximum(0.0)
    return product.squeeze()


def corrcoef(
    x: ArrayLike, y: ArrayLike = None, rowvar: bool = True, *, dtype: Any = None
) -> Tensor:
    """The correlations of variables.

    Parameters
    ----------
    x : array_like
        A vector, or a matrix with a variable in each row.
    y : array_like, optional
        More variables.
    rowvar : bool, optional
        Whether the rows are the variables, not the columns.
    dtype : dtype, optional
        Of the result.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.corrcoef([[0.0, 1.0, 2.0], [4.0, 2.0, 0.0]])
    Tensor([[ 1., -1.],
            [-1.,  1.]])
    """
    products = cov(x, y, rowvar, dtype=dtype)
    if not products.ndim:
        return products / products
    scale = diagonal(products).sqrt()
    return clip(products / scale[:, None] / scale[None, :], -1.0, 1.0)


# --- equality -------------------------------------------------------------------------------------


def allclose(
    a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether all elements are close, see `isclose`.

    Parameters
    ----------
    a, b : array_like
    rtol, atol : float, optional
    equal_nan : bool, optional
        Whether NaN is close to NaN.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.allclose([1.0, 2.0], [1.0, 2.0 + 1e-6])
    Tensor(True)
    """
    return isclose(a, b, rtol, atol, equal_nan).all()


def array_equal(a: ArrayLike, b: ArrayLike, equal_nan: bool = False) -> Tensor:
    """Whether two arrays have the same shape and equal elements.

    Parameters
    ----------
    a, b : array_like
    equal_nan : bool, optional
        Whether NaN is equal to NaN.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.array_equal([1, 2], [1, 2]), fg.array_equal([1, 2], [1, 2, 3])
    (Tensor(True), Tensor(False))
    """
    x, y = as_tensor(a), as_tensor(b)
    if x.shape != y.shape:
        return as_tensor(np.asarray(False))
    same = x == y
    return (same | (isnan(x) & isnan(y))).all() if equal_nan else same.all()


def array_equiv(a: ArrayLike, b: ArrayLike) -> Tensor:
    """Whether two arrays broadcast to equal ones.

    Parameters
    ----------
    a, b : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.array_equiv([1, 1], 1)
    Tensor(True)
    """
    try:
        return (as_tensor(a) == as_tensor(b)).all()
    except ShapeError:
        return as_tensor(np.asarray(False))
