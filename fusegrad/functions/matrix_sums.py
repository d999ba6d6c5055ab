"""Products of matrices and vectors with something added, and further products of rows.

Knows the functions themselves: what stands here is written in a few of them.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..linalg import multi_dot, vector_norm
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .creation import zeros
from .functional import choose
from .joining import concat
from .manipulation import expand_dims
from .precision import in_float32
from .products import added, bmm, matmul, mv, outer
from .reductions import sum as total

__all__ = [
    "addbmm",
    "addmv",
    "addr",
    "block_diag",
    "cdist",
    "chain_matmul",
    "matvec",
    "renorm",
    "vecmat",
]


def addmv(
    x: ArrayLike, mat: ArrayLike, vec: ArrayLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """The product of a matrix and a vector, and something added.

    Parameters
    ----------
    x : array_like
        It broadcasts; not read if `beta` is 0.
    mat, vec : array_like
        Of shapes ``(n, m)`` and ``(m,)``.
    beta, alpha : number, optional
        ``beta * x + alpha * (mat @ vec)``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.addmv([1.0], [[1.0, 2.0]], [3.0, 4.0])
    Tensor([12.])
    """
    return added(x, mv(mat, vec), beta, alpha)


def addr(
    x: ArrayLike, vec1: ArrayLike, vec2: ArrayLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """The products of all pairs of elements of two vectors, and something added.

    Parameters
    ----------
    x : array_like
        It broadcasts; not read if `beta` is 0.
    vec1, vec2 : array_like
        Vectors.
    beta, alpha : number, optional
        ``beta * x + alpha * outer(vec1, vec2)``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.addr(1.0, [1.0, 2.0], [3.0, 4.0])
    Tensor([[4., 5.],
            [7., 9.]])
    """
    return added(x, outer(vec1, vec2), beta, alpha)


def addbmm(
    x: ArrayLike, batch1: ArrayLike, batch2: ArrayLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """The sum of products of matrices, and something added.

    Parameters
    ----------
    x : array_like
        It broadcasts; not read if `beta` is 0.
    batch1, batch2 : array_like
        Batches of matrices.
    beta, alpha : number, optional
        ``beta * x + alpha * bmm(batch1, batch2).sum(0)``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.addbmm(1.0, [[[1.0]], [[2.0]]], [[[3.0]], [[4.0]]])
    Tensor([[12.]])
    """
    return added(x, total(bmm(batch1, batch2), axis=0), beta, alpha)


def chain_matmul(*matrices: ArrayLike) -> Tensor:
    """The product of several matrices, in the order that needs the fewest operations.

    Parameters
    ----------
    *matrices : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.chain_matmul(fg.ones((2, 3)), fg.ones((3, 4)), fg.ones((4, 1))).shape
    (2, 1)
    """
    return as_tensor(matrices[0]) if len(matrices) == 1 else multi_dot(list(matrices))


def matvec(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Products of matrices and vectors, both of which broadcast.

    Parameters
    ----------
    x1 : array_like
        Matrices of shape ``(..., m, n)``.
    x2 : array_like
        Vectors of shape ``(..., n)``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.matvec([[1, 2], [3, 4]], [[1, 0], [0, 1]])
    Tensor([[1, 3],
            [2, 4]])
    """
    vectors = as_tensor(x2)
    if not vectors.ndim:
        raise ShapeError("matvec needs vectors, not a number", remedy=None)
    return matmul(x1, expand_dims(vectors, axis=-1))[..., 0]


def vecmat(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """Products of vectors and matrices, both of which broadcast.

    Parameters
    ----------
    x1 : array_like
        Vectors of shape ``(..., n)``.
    x2 : array_like
        Matrices of shape ``(..., n, m)``.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vecmat([1, 1], [[1, 2], [3, 4]])
    Tensor([4, 6])
    """
    vectors = as_tensor(x1)
    if not vectors.ndim:
        raise ShapeError("vecmat needs vectors, not a number", remedy=None)
    return matmul(expand_dims(vectors, axis=-2), x2)[..., 0, :]


def block_diag(*tensors: ArrayLike) -> Tensor:
    """A matrix with the given ones along its diagonal, zeros elsewhere.

    Parameters
    ----------
    *tensors : array_like
        Matrices; a vector is one row, a number one element.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.block_diag([[1, 2]], 3)
    Tensor([[1, 2, 0],
            [0, 0, 3]])
    """
    blocks = [as_tensor(tensor) for tensor in tensors]
    blocks = [block if block.ndim >= 2 else block.reshape(1, -1) for block in blocks]
    for block in blocks:
        if block.ndim > 2:
            raise ShapeError(
                f"block_diag takes matrices, not an array of shape {tuple(block.shape)}",
                remedy=None,
            )
    if not blocks:
        return zeros((1, 0))
    width = sum(block.shape[1] for block in blocks)
    rows, before = [], 0
    for block in blocks:
        height, own = block.shape
        after = width - before - own
        left, right = (zeros((height, n), dtype=block.dtype) for n in (before, after))
        rows.append(concat([left, block, right], axis=1))
        before += own
    return concat(rows, axis=0)


@in_float32
def cdist(x1: ArrayLike, x2: ArrayLike, p: float = 2.0, compute_mode: Any = None) -> Tensor:
    """The distances between all rows of one array and all rows of another.

    Parameters
    ----------
    x1, x2 : array_like
        Of shapes ``(..., n, d)`` and ``(..., m, d)``.
    p : float, optional
        The exponent of the norm.
    compute_mode : str, optional
        Torch's: here distances are always those of the differences, which loses no digits.

    Returns
    -------
    Tensor
        Of shape ``(..., n, m)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cdist([[0.0, 0.0]], [[3.0, 4.0], [0.0, 1.0]])
    Tensor([[5., 1.]])
    """
    rows, others = as_tensor(x1), as_tensor(x2)
    if rows.ndim < 2 or others.ndim < 2 or rows.shape[-1] != others.shape[-1]:
        raise ShapeError(
            f"cdist of arrays of shapes {tuple(rows.shape)} and {tuple(others.shape)}",
            remedy="both need rows of the same length",
        )
    difference = expand_dims(rows, axis=-2) - expand_dims(others, axis=-3)
    return vector_norm(difference, ord=p, axis=-1)


@in_float32
def renorm(x: ArrayLike, p: float, dim: int, maxnorm: float) -> Tensor:
    """The slices along an axis, scaled so that their norms are at most `maxnorm`.

    Parameters
    ----------
    x : array_like
    p : float
        The exponent of the norm.
    dim : int
        The axis whose positions are the slices.
    maxnorm : float

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.renorm([[3.0, 4.0], [0.5, 0.0]], 2, 0, 1.0)
    Tensor([[0.6, 0.8],
            [0.5, 0. ]])
    """
    tensor = as_tensor(x)
    place = one_axis("renorm", dim, tensor.ndim)
    if tensor.ndim < 2:
        raise ShapeError(
            f"renorm needs at least two axes, not an array of shape {tuple(tensor.shape)}",
            remedy=None,
        )
    axes = tuple(axis for axis in range(tensor.ndim) if axis != place)
    norms = vector_norm(tensor, ord=p, axis=axes, keepdims=True)
    return tensor * choose(norms > maxnorm, maxnorm / (norms + 1e-7), 1.0)
