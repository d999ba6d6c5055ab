"""Products of vectors, matrices and tensors.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ShapeError
from .ir.node import Node
from .semantics import products
from .semantics.shapes import show
from .tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record_nodes

__all__ = ["dot", "einsum", "matmul", "mm", "mv", "outer", "tensordot", "vecdot"]


def matmul(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The matrix product ``x1 @ x2``.

    Parameters
    ----------
    x1, x2 : array_like
        A vector is a row on the left and a column on the right; axes before the last two
        broadcast.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.matmul([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """

    def product() -> tuple[Node, list[Tensor]]:
        (a, b), tensors = common_nodes((as_tensor(x1), as_tensor(x2)))
        return products.matmul(a, b), tensors

    return record_nodes(product)


def dot(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The sum of products of two vectors.

    Parameters
    ----------
    x1, x2 : array_like
        Vectors of equal length.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.dot([1.0, 2.0], [3.0, 4.0])
    Tensor(11.)
    """
    return _of_ranks("dot", as_tensor(x1), 1, as_tensor(x2), 1)


def mv(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """A matrix times a vector.

    Parameters
    ----------
    x1, x2 : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.mv([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """
    return _of_ranks("mv", as_tensor(x1), 2, as_tensor(x2), 1)


def mm(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """A matrix times a matrix.

    Parameters
    ----------
    x1, x2 : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.mm([[1.0, 2.0]], [[3.0], [4.0]])
    Tensor([[11.]])
    """
    return _of_ranks("mm", as_tensor(x1), 2, as_tensor(x2), 2)


def _of_ranks(name: str, a: Tensor, rank_a: int, b: Tensor, rank_b: int) -> Tensor:
    if (a.ndim, b.ndim) != (rank_a, rank_b):
        raise ShapeError(
            f"{name} takes arrays of {rank_a} and {rank_b} axes, not of shapes {show(a.shape)} "
            f"and {show(b.shape)}",
            remedy="fg.matmul broadcasts and takes vectors, matrices and batches",
        )
    return matmul(a, b)


def outer(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The products of all pairs of elements of two vectors.

    Parameters
    ----------
    x1, x2 : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.outer([1, 2], [3, 4])
    Tensor([[3, 4],
            [6, 8]])
    """
    return as_tensor(x1).reshape(-1, 1) * as_tensor(x2).reshape(1, -1)


def vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The sums of products along an axis.

    Parameters
    ----------
    x1, x2 : array_like
        They broadcast.
    axis : int, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vecdot([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """

    def product() -> tuple[Node, list[Tensor]]:
        (a, b), tensors = common_nodes((as_tensor(x1), as_tensor(x2)))
        return products.vecdot(a, b, axis), tensors

    return record_nodes(product)


def tensordot(
    x1: ArrayLike, x2: ArrayLike, /, *, axes: int | Sequence[Sequence[int]] = 2
) -> Tensor:
    """The sums of products over pairs of axes.

    Parameters
    ----------
    x1, x2 : array_like
    axes : int or pair of sequences of int
        How many axes, the last of `x1` and the first of `x2`; or which of each.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.tensordot([[1.0, 2.0]], [[3.0, 4.0]], axes=2)
    Tensor(11.)
    """

    def product() -> tuple[Node, list[Tensor]]:
        (a, b), tensors = common_nodes((as_tensor(x1), as_tensor(x2)))
        return products.tensordot(a, b, axes), tensors

    return record_nodes(product)


def einsum(formula: str, *operands: ArrayLike) -> Tensor:
    """The sum of products that a formula names.

    Parameters
    ----------
    formula : str
        Letters for the axes of each operand and, behind the arrow, of the result. Letters that
        the result does not have are summed over; ``...`` stands for any axes.
    *operands : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """

    def product() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(operand) for operand in operands])
        return products.einsum(formula, nodes), tensors

    return record_nodes(product)
