"""Norms, rank and condition.

Knows the functions on nodes that they record. ``axis`` and ``keepdims`` are also ``dim`` and
``keepdim``, as in torch.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..ir.node import Node
from ..semantics import norms as semantics
from ..semantics.promotion import as_dtype
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record, record_nodes
from ..tensors.tensor_methods import Axis, pick_axis, pick_keepdims

__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "vector_norm"]


def _dtype(dtype: Any) -> Any:
    return None if dtype is None else as_dtype(dtype)


def vector_norm(
    x: ArrayLike,
    /,
    ord: float = 2,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The norm of vectors. Its derivative at zero is zero.

    Parameters
    ----------
    x : array_like
    ord : float, optional
        The p of ``sum(abs(x) ** p) ** (1 / p)``; inf and -inf are the largest and the smallest
        magnitude, 0 counts what is not zero.
    axis : int or sequence of int, optional
        Which axes hold a vector; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.vector_norm([3.0, -4.0])
    Tensor(5.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    return record(semantics.vector_norm, [as_tensor(x)], ord, axes, keep, _dtype(dtype))


def matrix_norm(
    x: ArrayLike,
    /,
    ord: float | str = "fro",
    axis: tuple[int, int] | None = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    dim: tuple[int, int] | None = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The norm of matrices.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    ord : {"fro", "nuc", 1, -1, 2, -2, inf, -inf}, optional
        The root of the sum of squares; the sum of the singular values; the largest or smallest
        sum of magnitudes of a column (1), of a row (inf), or singular value (2).
    axis : tuple of int, optional
        Where the rows and the columns lie; by default the last two axes.
    keepdims : bool, optional
        Whether they stay with extent 1.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.matrix_norm([[3.0, 0.0], [0.0, 4.0]]), fg.linalg.matrix_norm([[1, -2]], ord=1)
    (Tensor(5.), Tensor(2.))
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    return record(semantics.matrix_norm, [as_tensor(x)], ord, axes, keep, _dtype(dtype))


def norm(
    x: ArrayLike,
    /,
    ord: float | str | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The norm of vectors or of matrices.

    Parameters
    ----------
    x : array_like
    ord : float or str, optional
        See `vector_norm` and `matrix_norm`. By default the root of the sum of squares.
    axis : int or sequence of int, optional
        One axis that holds vectors, or two that hold matrices. By default the whole array; if
        `ord` is given, it must have one axis or two.
    keepdims : bool, optional
        Whether the axes stay with extent 1.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.norm([[3.0, 4.0], [6.0, 8.0]], axis=1)
    Tensor([ 5., 10.])
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    return record(semantics.norm, [as_tensor(x)], ord, axes, keep, _dtype(dtype))


def matrix_rank(
    x: ArrayLike,
    /,
    tol: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rtol: ArrayLike | None = None,
    atol: ArrayLike | None = None,
) -> Tensor:
    """The number of singular values that are not as good as zero.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    tol, atol : array_like, optional
        What counts as zero: one number, or one for each matrix.
    hermitian : bool, optional
        The matrix is symmetric, and its lower triangle alone is read.
    rtol : array_like, optional
        What counts as zero, as a fraction of the largest singular value. By default max(m, n)
        times the dtype's precision.

    Returns
    -------
    Tensor
        Of dtype int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.matrix_rank([[1.0, 2.0], [2.0, 4.0]])
    Tensor(1)
    """
    if tol is not None and rtol is not None:
        raise ShapeError(
            "matrix_rank: both tol and rtol are given",
            remedy="give one of them, or atol and rtol: the larger bound holds",
        )
    absolute = tol if atol is None else atol
    limits = [None if limit is None else as_tensor(limit) for limit in (absolute, rtol)]

    def rank() -> tuple[Node, list[Tensor]]:
        tensor = as_tensor(x)
        one, two = (None if limit is None else limit._read() for limit in limits)
        return semantics.matrix_rank(tensor._read(), one, two, hermitian), [tensor]

    return record_nodes(rank)


def cond(x: ArrayLike, /, p: float | str | None = None) -> Tensor:
    """The condition number ``norm(x, p) * norm(inv(x), p)``.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    p : {None, 2, -2, 1, -1, inf, -inf, "fro", "nuc"}, optional
        None and 2: the ratio of the largest to the smallest singular value.

    Returns
    -------
    Tensor
        inf for a singular matrix.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cond([[4.0, 0.0], [0.0, 2.0]])
    Tensor(2.)
    """
    return record(semantics.cond, [as_tensor(x)], p)
