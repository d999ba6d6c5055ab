"""Diagonals and triangles of matrices: reading them, building them, their indices.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import as_dtype
from ..errors import ShapeError
from ..semantics import diagonals as semantics
from ..semantics.shapes import show
from ..tensors.device import check_device
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, finished, record

__all__ = [
    "diag",
    "diag_embed",
    "diag_indices",
    "diagflat",
    "diagonal",
    "diagonal_scatter",
    "fill_diagonal",
    "trace",
    "tri",
    "tril_indices",
    "triu_indices",
    "vander",
]


def diagonal(
    x: ArrayLike,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    *,
    dim1: int | None = None,
    dim2: int | None = None,
) -> Tensor:
    """A diagonal of two axes, as the last axis of the result.

    Parameters
    ----------
    x : array_like
    offset : int, optional
        Which diagonal, counted upwards from the main one.
    axis1, axis2 : int, optional
        The rows and the columns.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diagonal([[1, 2], [3, 4]])
    Tensor([1, 4])
    """
    rows, columns = axis1 if dim1 is None else dim1, axis2 if dim2 is None else dim2
    return record(semantics.diagonal, (as_tensor(x),), offset, rows, columns)


def trace(
    x: ArrayLike, offset: int = 0, axis1: int = 0, axis2: int = 1, *, dtype: Any = None
) -> Tensor:
    """The sum of a diagonal.

    Parameters
    ----------
    x : array_like
    offset : int, optional
        Which diagonal, counted upwards from the main one.
    axis1, axis2 : int, optional
        The rows and the columns.
    dtype : dtype, optional
        Of the sum.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.trace([[1, 2], [3, 4]])
    Tensor(5)
    """
    return diagonal(x, offset, axis1, axis2).sum(-1, dtype=dtype)


def diag(v: ArrayLike, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """A matrix with a vector on a diagonal, or the diagonal of a matrix.

    Parameters
    ----------
    v : array_like
        A vector or a matrix.
    k : int, optional
        Which diagonal, counted upwards from the main one; in torch it is named `diagonal`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diag([1, 2])
    Tensor([[1, 0],
            [0, 2]])
    """
    return record(semantics.diag, (as_tensor(v),), k if diagonal is None else diagonal)


def diagflat(v: ArrayLike, k: int = 0, *, offset: int | None = None) -> Tensor:
    """A matrix with all elements of an array on a diagonal.

    Parameters
    ----------
    v : array_like
    k : int, optional
        Which diagonal, counted upwards from the main one; in torch it is named `offset`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diagflat([[1, 2]], 1).shape
    (3, 3)
    """
    return record(semantics.embed, (as_tensor(v).reshape(-1),), k if offset is None else offset)


def diag_embed(x: ArrayLike, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Matrices with the last axis of an array on a diagonal.

    Parameters
    ----------
    x : array_like
    offset : int, optional
        Which diagonal, counted upwards from the main one.
    dim1, dim2 : int, optional
        Where the rows and the columns lie in the result.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diag_embed(fg.ones(5, 2)).shape
    (5, 2, 2)
    """
    return record(semantics.embed, (as_tensor(x),), offset, dim1, dim2)


def diagonal_scatter(
    x: ArrayLike, src: ArrayLike, offset: int = 0, dim1: int = 0, dim2: int = 1
) -> Tensor:
    """An array with another diagonal.

    Parameters
    ----------
    x : array_like
    src : array_like
        The diagonal, as `diagonal` gives it; it broadcasts.
    offset : int, optional
        Which diagonal, counted upwards from the main one.
    dim1, dim2 : int, optional
        The rows and the columns.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diagonal_scatter([[1, 2], [3, 4]], [0, 9])
    Tensor([[0, 2],
            [3, 9]])
    """
    tensor = as_tensor(x)
    value = tensor._coerce(src, fitting=True)
    tensor._fitting(value, "assign to", None)
    return record(semantics.replace, (tensor, value), offset, dim1, dim2)


def fill_diagonal(x: ArrayLike, value: ArrayLike) -> Tensor:
    """A matrix with another value on its main diagonal.

    Parameters
    ----------
    x : array_like
        Not changed; of more than two axes all must have one extent, and the elements whose indices
        are all equal are set.
    value : array_like
        A number, or the diagonal.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.fill_diagonal([[1, 2], [3, 4]], 0)
    Tensor([[0, 2],
            [3, 0]])
    """
    tensor = as_tensor(x)
    if tensor.ndim == 2:
        return diagonal_scatter(tensor, value)
    if tensor.ndim < 2 or len(set(tensor.shape)) > 1:
        raise ShapeError(
            f"an array of shape {show(tensor.shape)} has no main diagonal to fill",
            remedy="pass a matrix, or an array whose axes have one extent",
        )
    return tensor.at[(range(tensor.shape[0]),) * tensor.ndim].set(value)


# --- triangles ------------------------------------------------------------------------------------


def tri(
    n: int,
    m: int | None = None,
    k: int = 0,
    dtype: Any = None,
    *,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A matrix with ones on and below a diagonal, zeros above.

    Parameters
    ----------
    n, m : int
        How many rows and columns; by default as many columns as rows.
    k : int, optional
        The diagonal, counted upwards from the main one.
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
    >>> fg.tri(2, 3)
    Tensor([[1., 0., 0.],
            [1., 1., 0.]])
    """
    kind = as_dtype(float if dtype is None else dtype)
    check_device(device)
    return finished(as_tensor(np.tri(n, m, k, bool)).astype(kind), device, requires_grad)


def _pair(found: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    rows, columns = found
    return as_tensor(rows.astype(np.int64)), as_tensor(columns.astype(np.int64))


def tril_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the elements on and below a diagonal.

    Parameters
    ----------
    n : int
        How many rows.
    k : int, optional
        The diagonal, counted upwards from the main one.
    m : int, optional
        How many columns, by default `n`.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.tril_indices(2)
    (Tensor([0, 1, 1]), Tensor([0, 0, 1]))
    """
    return _pair(np.tril_indices(n, k, m))


def triu_indices(n: int, k: int = 0, m: int | None = None) -> tuple[Tensor, Tensor]:
    """The rows and the columns of the elements on and above a diagonal.

    Parameters
    ----------
    n : int
        How many rows.
    k : int, optional
        The diagonal, counted upwards from the main one.
    m : int, optional
        How many columns, by default `n`.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.triu_indices(2)
    (Tensor([0, 0, 1]), Tensor([0, 1, 1]))
    """
    return _pair(np.triu_indices(n, k, m))


def diag_indices(n: int, ndim: int = 2) -> tuple[Tensor, ...]:
    """The indices of the main diagonal of an array with axes of one extent.

    Parameters
    ----------
    n : int
        The extent.
    ndim : int, optional
        How many axes.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diag_indices(2)
    (Tensor([0, 1]), Tensor([0, 1]))
    """
    return (as_tensor(np.arange(n)),) * ndim


def vander(
    x: ArrayLike, N: int | None = None, increasing: bool = False, *, dtype: Any = None
) -> Tensor:
    """A matrix of powers of a vector.

    Parameters
    ----------
    x : array_like
        A vector.
    N : int, optional
        How many columns, by default as many as elements.
    increasing : bool, optional
        Whether the first column is the power 0, not the last one.
    dtype : dtype, optional
        What `x` is converted to first.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vander([2, 3], 3)
    Tensor([[4, 2, 1],
            [9, 3, 1]])
    """
    tensor = as_tensor(x) if dtype is None else as_tensor(x).astype(dtype)
    if tensor.ndim != 1:
        raise ShapeError(
            f"vander takes a vector, not an array of shape {show(tensor.shape)}",
            remedy="flatten it, x.reshape(-1)",
        )
    count = tensor.shape[0] if N is None else N
    powers: Sequence[int] = range(count) if increasing else range(count)[::-1]
    columns = [tensor**power for power in powers]
    if not columns:
        return tensor[:, None][:, :0]
    return as_tensor([column[:, None] for column in columns])[..., 0].T
