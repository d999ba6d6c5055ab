"""Functions of matrices, diagonals, and products of several arrays.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ..errors import DTypeError, ShapeError
from ..functions import diagonals
from ..functions.products import cross as _cross
from ..functions.products import outer as _outer
from ..ir.node import Node
from ..semantics import matrices as semantics
from ..semantics.shapes import one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record, record_nodes

__all__ = ["cross", "diagonal", "expm", "matrix_power", "multi_dot", "outer", "trace"]


def expm(x: ArrayLike, /) -> Tensor:
    """The exponential of a matrix, 1 + x + x @ x / 2 + ...

    Parameters
    ----------
    x : array_like, shape (..., n, n)

    Returns
    -------
    Tensor, shape (..., n, n)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.expm([[0.0, 1.0], [0.0, 0.0]])
    Tensor([[1., 1.],
            [0., 1.]])
    """
    return record(semantics.expm, [as_tensor(x)])


def matrix_power(x: ArrayLike, n: int, /) -> Tensor:
    """A square matrix times itself, `n` times.

    Parameters
    ----------
    x : array_like, shape (..., m, m)
    n : int
        0 gives the identity, a negative number powers of the inverse.

    Returns
    -------
    Tensor, shape (..., m, m)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.matrix_power([[1.0, 1.0], [0.0, 1.0]], 5)
    Tensor([[1., 5.],
            [0., 1.]])
    """
    try:
        exponent = operator.index(n)
    except TypeError:
        raise DTypeError(
            f"matrix_power: the exponent is a {type(n).__name__}", remedy="it must be an int"
        ) from None
    return record(semantics.matrix_power, [as_tensor(x)], exponent)


def multi_dot(arrays: Sequence[ArrayLike], /) -> Tensor:
    """The product of several matrices, in the order that costs least.

    Parameters
    ----------
    arrays : sequence of array_like
        Matrices; the first may be a vector that is a row, the last one that is a column.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.multi_dot([fg.ones((2, 9)), fg.ones((9, 3)), fg.ones(3)])
    Tensor([27., 27.])
    """

    def product() -> tuple[Node, list[Tensor]]:
        nodes, tensors = common_nodes([as_tensor(array) for array in arrays])
        return semantics.multi_dot(nodes), tensors

    if not len(arrays):
        raise ShapeError("multi_dot needs two arrays or more", remedy="pass a list of arrays")
    return record_nodes(product)


def cross(x1: ArrayLike, x2: ArrayLike, /, *, axis: int = -1, dim: int | None = None) -> Tensor:
    """The cross product of vectors of three elements.

    Parameters
    ----------
    x1, x2 : array_like
        The other axes broadcast.
    axis : int, optional
        Where the vectors lie.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.cross([1, 0, 0], [0, 1, 0])
    Tensor([0, 0, 1])
    """
    a, b = as_tensor(x1), as_tensor(x2)
    place = axis if dim is None else dim
    for x in (a, b):
        if x.shape[one_axis("cross", place, x.ndim)] != 3:
            raise ShapeError(
                f"cross of shapes {show(a.shape)} and {show(b.shape)}: axis {place} must have "
                "three elements in both",
                remedy="name the axis of the vectors with axis=",
            )
    return _cross(a, b, axis=place)


def outer(x1: ArrayLike, x2: ArrayLike, /) -> Tensor:
    """The products of all pairs of elements of two vectors.

    Parameters
    ----------
    x1, x2 : array_like
        Vectors.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.outer([1, 2], [3, 4])
    Tensor([[3, 4],
            [6, 8]])
    """
    a, b = as_tensor(x1), as_tensor(x2)
    if a.ndim != 1 or b.ndim != 1:
        raise ShapeError(
            f"outer of shapes {show(a.shape)} and {show(b.shape)}: it takes vectors",
            remedy="flatten the arrays, or use a product with new axes",
        )
    return _outer(a, b)


def diagonal(x: ArrayLike, /, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    offset : int, optional
        Which diagonal, counted upwards from the main one.
    dim1, dim2 : int, optional
        Where the rows and the columns lie.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.diagonal([[1, 2], [3, 4]])
    Tensor([1, 4])
    """
    return diagonals.diagonal(x, offset, dim1, dim2)


def trace(x: ArrayLike, /, *, offset: int = 0, dtype: Any = None) -> Tensor:
    """The sums of the diagonals of matrices.

    Parameters
    ----------
    x : array_like, shape (..., m, n)
    offset : int, optional
        Which diagonal, counted upwards from the main one.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor, shape (...)

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.linalg.trace([[1, 2], [3, 4]])
    Tensor(5)
    """
    return diagonals.trace(x, offset, -2, -1, dtype=dtype)
