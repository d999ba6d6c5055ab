"""Systems of equations, inverses and determinants.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from ..errors import LinAlgError, MatrixShapeError, ShapeError
from ..functions.manipulation import moveaxis, reshape
from ..functions.products import matmul
from ..functions.reductions import sum
from ..ir.node import Node
from ..semantics import matrices as semantics
from ..semantics.norms import matrix_rank
from ..semantics.shapes import show
from ..tensors.context import active
from ..tensors.evaluation import traced_input
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record, record_nodes
from .decompositions import cholesky
from .recording import each, joined

__all__ = [
    "LinAlgError",
    "LstsqResult",
    "SlogdetResult",
    "cho_factor",
    "cho_solve",
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "inv",
    "logdet",
    "lstsq",
    "lu_solve",
    "pinv",
    "slogdet",
    "solve",
    "solve_triangular",
    "tensorinv",
    "tensorsolve",
]


class SlogdetResult(NamedTuple):
    """The sign of the determinant, and the logarithm of its magnitude."""

    sign: Tensor
    logabsdet: Tensor


class LstsqResult(NamedTuple):
    """The solution of least squares, and what it says about the matrix."""

    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


def solve(x1: ArrayLike, x2: ArrayLike, /, *, left: bool = True) -> Tensor:
    """The X with ``x1 @ X = x2``.

    Parameters
    ----------
    x1 : array_like, shape (..., n, n)
    x2 : array_like, shape (n,) or (..., n, k)
    left : bool, optional
        False solves ``X @ x1 = x2``.

    Returns
    -------
    Tensor

    Raises
    ------
    LinAlgError
        If a matrix is singular, when the value is looked at.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.solve([[2.0, 0.0], [0.0, 4.0]], [2.0, 2.0])
    Tensor([1. , 0.5])
    """
    return joined(semantics.solve, x1, x2, left)


def solve_triangular(
    a: ArrayLike,
    b: ArrayLike,
    /,
    *,
    lower: bool = False,
    upper: bool | None = None,
    trans: int | str = 0,
    left: bool = True,
    unit_diagonal: bool = False,
    unitriangular: bool | None = None,
) -> Tensor:
    """The X with ``a @ X = b`` for a triangular matrix, whose other triangle is not read.

    Parameters
    ----------
    a : array_like, shape (..., n, n)
    b : array_like, shape (n,) or (..., n, k)
    lower : bool, optional
        Which triangle, as in SciPy; in torch its opposite is named `upper`.
    trans : {0, 1, "N", "T"}, optional
        1 or "T" solves ``a.mT @ X = b``.
    left : bool, optional
        False solves ``X @ a = b``.
    unit_diagonal : bool, optional
        The diagonal is taken as ones; in torch it is named `unitriangular`.

    Returns
    -------
    Tensor

    Raises
    ------
    LinAlgError
        If an element of the diagonal is zero, when the value is looked at.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.solve_triangular([[2.0, 0.0], [1.0, 4.0]], [2.0, 5.0], lower=True)
    Tensor([1., 1.])
    """
    if trans not in (0, 1, 2, "N", "T", "C"):
        raise ShapeError(f"solve_triangular: trans is {trans!r}", remedy='use 0, 1, "N" or "T"')
    if upper is not None:
        lower = not upper
    unit = unit_diagonal if unitriangular is None else unitriangular
    return joined(semantics.solve_triangular, a, b, lower, trans not in (0, "N"), left, unit)


def cholesky_solve(b: ArrayLike, factor: ArrayLike, /, upper: bool = False) -> Tensor:
    """The X with ``A @ X = b``, for a matrix given by its Cholesky factor.

    Parameters
    ----------
    b : array_like, shape (n,) or (..., n, k)
    factor : array_like, shape (..., n, n)
        ``A = L @ L.mT``, or ``U.mT @ U`` if `upper`.
    upper : bool, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cholesky_solve([4.0, 8.0], [[2.0, 0.0], [0.0, 2.0]])
    Tensor([1., 2.])
    """
    return joined(semantics.cholesky_solve, b, factor, upper)


def cho_factor(a: ArrayLike, /, lower: bool = False) -> tuple[Tensor, bool]:
    """The Cholesky factor for `cho_solve`, as in SciPy.

    Parameters
    ----------
    a : array_like, shape (..., n, n)
        Symmetric and positive definite; one triangle is read.
    lower : bool, optional
        Which triangle.

    Returns
    -------
    Tensor, bool
        The factor, with zeros in its other triangle, and `lower`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cho_factor([[4.0, 2.0], [2.0, 5.0]])
    (Tensor([[2., 1.],
            [0., 2.]]), False)
    """
    return cholesky(a, upper=not lower), lower


def cho_solve(c_and_lower: tuple[ArrayLike, bool], b: ArrayLike, /) -> Tensor:
    """The X with ``A @ X = b``, for a matrix given by `cho_factor`, as in SciPy.

    Parameters
    ----------
    c_and_lower : tuple of array_like and bool
        The result of `cho_factor`.
    b : array_like, shape (n,) or (..., n, k)

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cho_solve(fg.linalg.cho_factor([[2.0, 0.0], [0.0, 4.0]]), [2.0, 2.0])
    Tensor([1. , 0.5])
    """
    factor, lower = c_and_lower
    return cholesky_solve(b, factor, not lower)


def cholesky_inverse(factor: ArrayLike, /, upper: bool = False) -> Tensor:
    """The inverse of the matrix that is given by its Cholesky factor.

    Parameters
    ----------
    factor : array_like, shape (..., n, n)
    upper : bool, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cholesky_inverse([[2.0, 0.0], [0.0, 1.0]])
    Tensor([[0.25, 0.  ],
            [0.  , 1.  ]])
    """
    return record(semantics.cholesky_inverse, [as_tensor(factor)], upper)


def lu_solve(
    LU: ArrayLike,
    pivots: ArrayLike,
    B: ArrayLike,
    /,
    *,
    left: bool = True,
    adjoint: bool = False,
) -> Tensor:
    """The X with ``A @ X = B``, for a matrix given by `lu_factor`.

    Parameters
    ----------
    LU, pivots : array_like
        The results of `lu_factor`.
    B : array_like, shape (n,) or (..., n, k)
    left : bool, optional
        False solves ``X @ A = B``.
    adjoint : bool, optional
        Whether the transpose of A is meant.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.lu_solve(*fg.linalg.lu_factor([[0.0, 2.0], [1.0, 0.0]]), [2.0, 3.0])
    Tensor([3., 1.])
    """
    order = as_tensor(pivots)
    return joined(
        lambda packed, b: semantics.lu_solve(packed, order._read(), b, left, adjoint), LU, B
    )


def inv(x: ArrayLike, /) -> Tensor:
    """The inverse.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    Tensor, shape (..., n, n)

    Raises
    ------
    LinAlgError
        If a matrix is singular, when the value is looked at.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.inv([[2.0, 0.0], [0.0, 4.0]])
    Tensor([[0.5 , 0.  ],
            [0.  , 0.25]])
    """
    return record(semantics.inv, [as_tensor(x)])


def det(x: ArrayLike, /) -> Tensor:
    """The determinant; its derivatives exist for singular matrices too.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    Tensor, shape (...)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.det([[2.0, 0.0], [0.0, 4.0]])
    Tensor(8.)
    """
    return record(semantics.det, [as_tensor(x)])


def slogdet(x: ArrayLike, /) -> SlogdetResult:
    """The sign of the determinant, and the logarithm of its magnitude.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    SlogdetResult
        0 and -inf for a singular matrix.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.slogdet([[-1.0, 0.0], [0.0, 1.0]])
    SlogdetResult(sign=Tensor(-1.), logabsdet=Tensor(0.))
    """
    return SlogdetResult(*each(2, semantics.slogdet, [as_tensor(x)]))


def logdet(x: ArrayLike, /) -> Tensor:
    """The logarithm of the determinant; NaN if that is negative.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    Tensor, shape (...)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.logdet([[1.0, 0.0], [0.0, 1.0]])
    Tensor(0.)
    """
    return record(semantics.logdet, [as_tensor(x)])


def _optional(value: ArrayLike | None) -> Tensor | None:
    return None if value is None else as_tensor(value)


def pinv(
    x: ArrayLike,
    /,
    rcond: ArrayLike | None = None,
    hermitian: bool = False,
    *,
    rtol: ArrayLike | None = None,
) -> Tensor:
    """The pseudoinverse.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    rcond, rtol : array_like, optional
        Singular values up to this fraction of the largest count as zero: one number, or one for
        each matrix. By default max(m, n) times the dtype's precision.
    hermitian : bool, optional
        The matrix is symmetric, and its lower triangle alone is read.

    Returns
    -------
    Tensor, shape (..., n, m)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.pinv([[2.0, 0.0]])
    Tensor([[0.5],
            [0. ]])
    """
    if rcond is not None and rtol is not None:
        raise ShapeError("pinv: both rcond and rtol are given", remedy="they mean the same")
    cutoff = _optional(rcond if rtol is None else rtol)

    def inverse() -> tuple[Node, list[Tensor]]:
        tensor = as_tensor(x)
        limit = None if cutoff is None else cutoff._read()
        return semantics.pinv(tensor._read(), limit, hermitian), [tensor]

    return record_nodes(inverse)


def lstsq(a: ArrayLike, b: ArrayLike, /, rcond: float | None = None) -> LstsqResult:
    """The X of least norm that makes ``a @ X - b`` smallest.

    Parameters
    ----------
    a : array_like, shape (..., m, n)
    b : array_like, shape (m,) or (..., m, k)
    rcond : float, optional
        Singular values up to this fraction of the largest count as zero; by default max(m, n)
        times the dtype's precision.

    Returns
    -------
    LstsqResult
        The residuals are the sums of the squares of ``a @ X - b``, for each column of `b`. They
        are empty if m <= n, or, outside of compiled functions, if a matrix has not rank n.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x, residuals, rank, _ = fg.linalg.lstsq([[1.0], [1.0]], [1.0, 3.0])
    >>> fg.round(x), fg.round(residuals), rank
    (Tensor([2.]), Tensor([2.]), Tensor(1))
    """
    a, b = as_tensor(a), as_tensor(b)
    singular_values = record(lambda x: semantics.svdvals(semantics.as_matrix("lstsq", x)), [a])
    m, n = a.shape[-2:]
    if b.ndim == 0 or b.shape[-1 if b.ndim == 1 else -2] != m:
        raise MatrixShapeError(
            f"lstsq: the matrix has shape {show(a.shape)}, the right-hand side {show(b.shape)}",
            remedy="both need the same number of rows",
        )
    solution = matmul(pinv(a, rcond), b)
    limit = None if rcond is None else as_tensor(rcond)
    rank = record(
        lambda x: matrix_rank(x, None, None if limit is None else limit._read(), False), [a]
    )
    if m > n and _all_are(rank, n):
        residuals = sum((matmul(a, solution) - b) ** 2, axis=-1 if b.ndim == 1 else -2)
        residuals = reshape(residuals, (1,)) if b.ndim == 1 and a.ndim == 2 else residuals
    else:
        residuals = record(lambda x: semantics.no_elements(x), [solution])
    return LstsqResult(solution, residuals, rank, singular_values)


def _all_are(rank: Tensor, full: int) -> bool:
    """Whether all ranks are full, as far as that is known."""
    if active.trace is not None or traced_input(rank._read()) is not None:
        return True
    return bool((rank.detach().numpy() == full).all())


def tensorinv(a: ArrayLike, ind: int = 2) -> Tensor:
    """The inverse of an array as a map between its last and its first axes.

    Parameters
    ----------
    a : array_like
        The product of the first `ind` extents is that of the others.
    ind : int, optional

    Returns
    -------
    Tensor
        ``tensordot(tensorinv(a), a, ind)`` is the identity.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.tensorinv(fg.reshape(fg.eye(6), (2, 3, 6))).shape
    (6, 2, 3)
    """
    tensor = as_tensor(a)
    if ind <= 0:
        raise ShapeError(f"tensorinv: ind is {ind}", remedy="ind counts axes, from 1 on")
    shape = (*tensor.shape[ind:], *tensor.shape[:ind])
    size = math.prod(tensor.shape[ind:])
    return reshape(inv(reshape(tensor, (-1, size))), shape)


def tensorsolve(
    a: ArrayLike, b: ArrayLike, axes: Sequence[int] | None = None, *, dims: Any = None
) -> Tensor:
    """The X with ``tensordot(a, X, X.ndim) = b``.

    Parameters
    ----------
    a : array_like
    b : array_like
        Of the shape of the first axes of `a`.
    axes : sequence of int, optional
        Axes of `a` that are moved to its end first; also named `dims`, as in torch.

    Returns
    -------
    Tensor
        Of the shape of the last axes of `a`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.tensorsolve(fg.reshape(fg.eye(6), (2, 3, 6)), fg.ones((2, 3))).shape
    (6,)
    """
    left, right = as_tensor(a), as_tensor(b)
    moved = axes if dims is None else dims
    if moved is not None:
        left = moveaxis(left, moved, range(left.ndim - len(moved), left.ndim))
    shape = left.shape[right.ndim :]
    size = math.prod(shape)
    if size * size != left.size or right.size != size:
        raise MatrixShapeError(
            f"tensorsolve of shapes {show(left.shape)} and {show(right.shape)}: the map is not "
            "square",
            remedy="the last axes of the first must have as many elements as the second",
        )
    solved = solve(reshape(left, (size, size)), reshape(right, (size,)))
    return reshape(solved, shape)
