"""Products of vectors, matrices and tensors.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError
from ..ir.node import Node
from ..semantics import products
from ..semantics.shapes import show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record_nodes
from .manipulation import moveaxis

__all__ = [
    "addmm",
    "baddbmm",
    "bmm",
    "cross",
    "dot",
    "einsum",
    "ger",
    "inner",
    "kron",
    "matmul",
    "mm",
    "mv",
    "outer",
    "tensordot",
    "vdot",
    "vecdot",
]


_LETTERS = string.ascii_uppercase + string.ascii_lowercase


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


def _pair(function: Callable[..., Node], x1: ArrayLike, x2: ArrayLike, *args: Any) -> Tensor:
    def product() -> tuple[Node, list[Tensor]]:
        (a, b), tensors = common_nodes((as_tensor(x1), as_tensor(x2)))
        return function(a, b, *args), tensors

    return record_nodes(product)


def dot(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The sum of products over the last axis of `x1` and the last but one of `x2`.

    Parameters
    ----------
    x1, x2 : array_like
        A vector has one axis only; a number multiplies.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.dot([1.0, 2.0], [3.0, 4.0])
    Tensor(11.)
    """
    return _pair(products.dot, x1, x2)


def inner(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The sum of products over the last axes.

    Parameters
    ----------
    x1, x2 : array_like
        A number multiplies.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.inner([[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    """
    return _pair(products.inner, x1, x2)


def vdot(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The sum of products of all elements, in order.

    Parameters
    ----------
    x1, x2 : array_like
        Of equal size.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.vdot([[1.0, 2.0]], [[3.0], [4.0]])
    Tensor(11.)
    """
    return dot(as_tensor(x1).reshape(-1), as_tensor(x2).reshape(-1))


def kron(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The Kronecker product: every element of `x1` times all of `x2`, in blocks.

    Parameters
    ----------
    x1, x2 : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.kron([1, 10], [1, 2])
    Tensor([ 1,  2, 10, 20])
    """
    return _pair(products.kron, x1, x2)


def cross(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
    *,
    dim: int | None = None,
) -> Tensor:
    """The cross product of vectors in space.

    Parameters
    ----------
    x1, x2 : array_like
        They broadcast but for the axis of the vectors. Vectors of two elements lie in the plane;
        the product of two of them is a number.
    axisa, axisb, axisc : int, optional
        Where the elements of the vectors lie, in `x1`, `x2` and the result.
    axis : int, optional
        All of them; `dim` in torch.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cross([1, 0, 0], [0, 1, 0])
    Tensor([0, 0, 1])
    """
    every = axis if dim is None else dim
    if every is not None:
        axisa = axisb = axisc = every
    a, b = (moveaxis(v, where, -1) for v, where in ((x1, axisa), (x2, axisb)))
    result = _pair(products.cross, a, b)
    return result if a.shape[-1] == b.shape[-1] == 2 else moveaxis(result, -1, axisc)


def bmm(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """The products of two batches of matrices.

    Parameters
    ----------
    x1, x2 : array_like
        Of three axes each, the first of equal extent.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bmm(fg.ones(2, 3, 4), fg.ones(2, 4, 5)).shape
    (2, 3, 5)
    """
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim == b.ndim == 3 and a.shape[0] != b.shape[0]:
        raise ShapeError(
            f"bmm of batches of {a.shape[0]} and {b.shape[0]} matrices",
            remedy="fg.matmul broadcasts batches",
        )
    return _of_ranks("bmm", a, 3, b, 3)


def addmm(
    x: ArrayLike, mat1: ArrayLike, mat2: ArrayLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """A matrix product and something added: ``beta * x + alpha * (mat1 @ mat2)``.

    Parameters
    ----------
    x : array_like
        It broadcasts; not read if `beta` is 0.
    mat1, mat2 : array_like
        Matrices.
    beta, alpha : number, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.addmm([1.0], [[1.0, 2.0]], [[3.0], [4.0]])
    Tensor([[12.]])
    """
    return added(x, mm(mat1, mat2), beta, alpha)


def baddbmm(
    x: ArrayLike, batch1: ArrayLike, batch2: ArrayLike, *, beta: float = 1, alpha: float = 1
) -> Tensor:
    """Products of matrices and something added: ``beta * x + alpha * bmm(batch1, batch2)``.

    Parameters
    ----------
    x : array_like
        It broadcasts; not read if `beta` is 0.
    batch1, batch2 : array_like
        Batches of matrices.
    beta, alpha : number, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.baddbmm(fg.zeros(5), fg.ones(2, 3, 4), fg.ones(2, 4, 5)).shape
    (2, 3, 5)
    """
    return added(x, bmm(batch1, batch2), beta, alpha)


def added(x: ArrayLike, product: Tensor, beta: float, alpha: float) -> Tensor:
    product = product if alpha == 1 else product * alpha
    if not beta:
        return product
    return product + (as_tensor(x) if beta == 1 else as_tensor(x) * beta)


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


ger = outer


def vecdot(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1, dim: int | None = None) -> Tensor:
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
        return products.vecdot(a, b, axis if dim is None else dim), tensors

    return record_nodes(product)


def tensordot(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    axes: int | Sequence[int | Sequence[int]] = 2,
    *,
    dims: int | Sequence[int | Sequence[int]] | None = None,
) -> Tensor:
    """The sums of products over pairs of axes.

    Parameters
    ----------
    x1, x2 : array_like
    axes : int or pair of sequences of int
        How many axes, the last of `x1` and the first of `x2`; or which of each. In torch they are
        named `dims`.

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
        return products.tensordot(a, b, axes if dims is None else dims), tensors

    return record_nodes(product)


def einsum(formula: Any, *operands: Any, optimize: Any = None) -> Tensor:
    """The sum of products that a formula names.

    Parameters
    ----------
    formula : str
        Letters for the axes of each operand and, behind the arrow, of the result. Letters that
        the result does not have are summed over; a letter that an operand has twice takes its
        diagonal; ``...`` stands for any axes, which broadcast. With no arrow the result has the
        letters that occur once, in alphabetical order.
    *operands : array_like
        Or, in place of a formula, operands and lists of numbers in turn, as in NumPy.
    optimize : optional
        Without effect: operands are multiplied from left to right.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.einsum("ij,j->i", [[1.0, 2.0], [3.0, 4.0]], [1.0, 1.0])
    Tensor([3., 7.])
    >>> fg.einsum([[1, 2], [3, 4]], [0, 0])
    Tensor(5)
    """
    if not isinstance(formula, str):
        formula, operands = _formula((formula, *operands))
    elif len(operands) == 1 and "," in formula and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])

    def product() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(operand) for operand in operands])
        return products.einsum(formula, nodes), tensors

    return record_nodes(product)


def _formula(args: tuple[Any, ...]) -> tuple[str, tuple[Any, ...]]:
    """Operands and lists of numbers in turn, as a formula and the operands."""

    def letters(axes: Any) -> str:
        for axis in axes:
            if axis is not Ellipsis and axis not in range(len(_LETTERS)):
                raise ShapeError(
                    f"einsum: {axis!r} names no axis",
                    remedy=f"name axes by numbers from 0 to {len(_LETTERS) - 1}",
                )
        return "".join("..." if axis is Ellipsis else _LETTERS[axis] for axis in axes)

    pairs = len(args) // 2
    names = [letters(axes) for axes in args[1 : 2 * pairs : 2]]
    output = f"->{letters(args[-1])}" if len(args) % 2 else ""
    return ",".join(names) + output, tuple(args[: 2 * pairs : 2])
