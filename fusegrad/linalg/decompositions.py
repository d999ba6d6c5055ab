"""Decompositions of matrices.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

from typing import Any, NamedTuple, overload
from typing import Literal as Only

from ..semantics import matrices as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from .recording import each

__all__ = [
    "EigResult",
    "EighResult",
    "LUFactorResult",
    "LUResult",
    "QRResult",
    "SVDResult",
    "cholesky",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "lu",
    "lu_factor",
    "qr",
    "svd",
    "svdvals",
]


class QRResult(NamedTuple):
    """An orthogonal and an upper triangular factor."""

    Q: Tensor
    R: Tensor


class SVDResult(NamedTuple):
    """Singular vectors and values; ``Vh`` has the vectors of the right side as rows."""

    U: Tensor
    S: Tensor
    Vh: Tensor


class EighResult(NamedTuple):
    """Eigenvalues, ascending, and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class EigResult(NamedTuple):
    """Eigenvalues and eigenvectors as columns."""

    eigenvalues: Tensor
    eigenvectors: Tensor


class LUFactorResult(NamedTuple):
    """Both triangular factors in one matrix, and the row each row was exchanged with."""

    LU: Tensor
    pivots: Tensor


class LUResult(NamedTuple):
    """A permutation, a lower and an upper triangular factor."""

    P: Tensor
    L: Tensor
    U: Tensor


def cholesky(x: ArrayLike, /, *, upper: bool = False) -> Tensor:
    """The lower triangular L with ``x = L @ L.mT``.

    Parameters
    ----------
    x : array_like, shape (..., n, n)
        Symmetric and positive definite; the lower triangle alone is read.
    upper : bool, optional
        Whether the result is the upper triangular ``L.mT``, and the upper triangle is read.

    Returns
    -------
    Tensor, shape (..., n, n)

    Raises
    ------
    LinAlgError
        If a matrix is not positive definite, when the value is looked at.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cholesky([[4.0, 2.0], [2.0, 5.0]])
    Tensor([[2., 0.],
            [1., 2.]])
    """
    return record(semantics.cholesky, [as_tensor(x)], upper)


@overload
def qr(x: ArrayLike, /, mode: Only["reduced", "complete"] = "reduced") -> QRResult: ...
@overload
def qr(x: ArrayLike, /, mode: Only["r"]) -> Tensor: ...
def qr(x: ArrayLike, /, mode: str = "reduced") -> QRResult | Tensor:
    """An orthogonal Q and an upper triangular R with ``x = Q @ R``.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    mode : {"reduced", "complete", "r"}, optional
        Q has min(m, n) columns, or m of them; or R alone is returned. The complete form has no
        derivative if m > n.

    Returns
    -------
    QRResult, or Tensor for mode "r"

    Examples
    --------
    >>> import fusegrad as fg
    >>> q, r = fg.linalg.qr([[3.0, 1.0], [4.0, 2.0]])
    >>> fg.round(q @ r)
    Tensor([[3., 1.],
            [4., 2.]])
    """
    if mode == "r":
        return record(semantics.qr_r, [as_tensor(x)])
    return QRResult(*each(2, semantics.qr, [as_tensor(x)], mode))


@overload
def svd(
    x: ArrayLike,
    /,
    full_matrices: bool = True,
    compute_uv: Only[True] = True,
    hermitian: bool = False,
) -> SVDResult: ...
@overload
def svd(
    x: ArrayLike, /, full_matrices: bool, compute_uv: Only[False], hermitian: bool = False
) -> Tensor: ...
@overload
def svd(
    x: ArrayLike, /, full_matrices: bool = True, *, compute_uv: Only[False], hermitian: bool = False
) -> Tensor: ...
def svd(
    x: ArrayLike, /, full_matrices: bool = True, compute_uv: Any = True, hermitian: bool = False
) -> SVDResult | Tensor:
    """The singular value decomposition ``x = U @ diag(S) @ Vh``.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    full_matrices : bool, optional
        Whether U and Vh are square; their derivative exists only if not, or if m = n.
    compute_uv : bool, optional
        False gives the singular values alone, as `svdvals` does.
    hermitian : bool, optional
        The matrix is symmetric, and its lower triangle alone is read.

    Returns
    -------
    SVDResult

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.svd([[0.0, 2.0], [3.0, 0.0]]).S
    Tensor([3., 2.])
    """
    if not compute_uv:
        return svdvals(x, hermitian=hermitian)
    return SVDResult(*each(3, semantics.svd, [as_tensor(x)], full_matrices, hermitian))


def svdvals(x: ArrayLike, /, *, hermitian: bool = False) -> Tensor:
    """The singular values, the largest first.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    hermitian : bool, optional
        The matrix is symmetric, and its lower triangle alone is read.

    Returns
    -------
    Tensor, shape (..., min(m, n))

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.svdvals([[0.0, 2.0], [3.0, 0.0]])
    Tensor([3., 2.])
    """
    return record(semantics.svdvals, [as_tensor(x)], hermitian)


def eigh(x: ArrayLike, /, UPLO: str = "L") -> EighResult:
    """Eigenvalues and eigenvectors of a symmetric matrix.

    Parameters
    ----------
    x : array_like, shape (..., n, n)
    UPLO : {"L", "U"}, optional
        Which triangle is read.

    Returns
    -------
    EighResult
        The eigenvalues are ascending.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.eigh([[2.0, 0.0], [0.0, 1.0]]).eigenvalues
    Tensor([1., 2.])
    """
    return EighResult(*each(2, semantics.eigh, [as_tensor(x)], UPLO))


def eigvalsh(x: ArrayLike, /, UPLO: str = "L") -> Tensor:
    """The eigenvalues of a symmetric matrix, ascending.

    Parameters
    ----------
    x : array_like, shape (..., n, n)
    UPLO : {"L", "U"}, optional
        Which triangle is read.

    Returns
    -------
    Tensor, shape (..., n)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.eigvalsh([[2.0, 0.0], [0.0, 1.0]])
    Tensor([1., 2.])
    """
    return record(semantics.eigvalsh, [as_tensor(x)], UPLO)


def eig(x: ArrayLike, /) -> EigResult:
    """Eigenvalues and eigenvectors of a square matrix whose eigenvalues are real.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    EigResult
        In no particular order.

    Raises
    ------
    LinAlgError
        If an eigenvalue is complex, when the value is looked at: there are no complex dtypes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.eig([[2.0, 1.0], [0.0, 3.0]]).eigenvalues
    Tensor([2., 3.])
    """
    return EigResult(*each(2, semantics.eig, [as_tensor(x)]))


def eigvals(x: ArrayLike, /) -> Tensor:
    """The eigenvalues of a square matrix, if they are real.

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    Tensor, shape (..., n)

    Raises
    ------
    LinAlgError
        If an eigenvalue is complex, when the value is looked at: there are no complex dtypes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.eigvals([[2.0, 1.0], [0.0, 3.0]])
    Tensor([2., 3.])
    """
    return record(semantics.eigvals, [as_tensor(x)])


def lu_factor(x: ArrayLike, /) -> LUFactorResult:
    """Triangular factors of the matrix with its rows exchanged, for `lu_solve`.

    Parameters
    ----------
    x : array_like, shape (..., m, n)

    Returns
    -------
    LUFactorResult
        U, and below its diagonal L without its ones; and for each row, from the first one on,
        the row that it was exchanged with, counted from 0.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.lu_factor([[1.0, 2.0], [2.0, 2.0]])
    LUFactorResult(LU=Tensor([[2. , 2. ],
            [0.5, 1. ]]), pivots=Tensor([1, 1], dtype=int32))
    """
    return LUFactorResult(*each(2, semantics.lu_factor, [as_tensor(x)]))


def lu(x: ArrayLike, /) -> LUResult:
    """A permutation P, a lower triangular L and an upper triangular U with ``x = P @ L @ U``.

    Parameters
    ----------
    x : array_like, shape (..., m, n)

    Returns
    -------
    LUResult

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.lu([[1.0, 2.0], [2.0, 2.0]]).L
    Tensor([[1. , 0. ],
            [0.5, 1. ]])
    """
    return LUResult(*each(3, semantics.lu, [as_tensor(x)]))
