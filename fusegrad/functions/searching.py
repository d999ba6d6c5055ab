"""Searching: in sorted arrays, for elements that are not zero, for members of a set.

Knows the functions on nodes that they record. Where the shape of a result depends on values, the
values are looked at, which is an error inside of a compiled function.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import int32, int64
from ..errors import (
    OptionError,
    ShapeError,
)
from ..semantics import sets
from ..semantics import sorting as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record, record_nodes
from .creation import zeros
from .joining import stack

__all__ = [
    "argwhere",
    "bucketize",
    "digitize",
    "edges_for",
    "flatnonzero",
    "isin",
    "nonzero",
    "searchsorted",
]


def searchsorted(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    side: str = "left",
    sorter: ArrayLike | None = None,
    right: bool | None = None,
    out_int32: bool = False,
) -> Tensor:
    """Where values would be put into a sorted array such that it stays sorted.

    Parameters
    ----------
    x1 : array_like
        In ascending order. Of one axis; or of several, each row of the last one sorted, the others
        being the first axes of `x2`.
    x2 : array_like
        The values.
    side : {"left", "right"}, optional
        In front of equal elements or behind them.
    sorter : array_like, optional
        The order that sorts `x1`, if it is not sorted.
    right : bool, optional
        True is ``side="right"``, as in torch.
    out_int32 : bool, optional
        Whether the result is of int32.

    Returns
    -------
    Tensor
        Of int64, in the shape of `x2`.

    Raises
    ------
    ShapeError
        If the first axes differ.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.searchsorted([1, 3, 3, 5], [3, 4, 0], side="right")
    Tensor([3, 3, 0])
    """
    if side not in ("left", "right"):
        raise OptionError(f'searchsorted: side is "left" or "right", not {side!r}')
    row = as_tensor(x1)
    if sorter is not None:
        row = record(semantics.pick, (row, as_tensor(sorter)), -1)
    behind = side == "right" or bool(right)

    def function() -> tuple[Any, list[Tensor]]:
        nodes, tensors = common_nodes((row, as_tensor(x2)))
        return semantics.searchsorted(nodes[0], nodes[1], behind), tensors

    found = record_nodes(function)
    return found.astype(int32) if out_int32 else found


def bucketize(
    x: ArrayLike, boundaries: ArrayLike, *, right: bool = False, out_int32: bool = False
) -> Tensor:
    """The number of the bucket that each value lies in, as in torch.

    Parameters
    ----------
    x : array_like
    boundaries : array_like
        In ascending order.
    right : bool, optional
        Whether a value that equals a boundary lies behind it.
    out_int32 : bool, optional
        Whether the result is of int32.

    Returns
    -------
    Tensor
        Of int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bucketize([0.5, 1.0, 3.0], [1.0, 2.0])
    Tensor([0, 0, 2])
    """
    tensor = as_tensor(x)
    edges = edges_for(tensor, boundaries)
    return searchsorted(edges, tensor, right=right, out_int32=out_int32)


def edges_for(x: Tensor, edges: ArrayLike) -> Tensor:
    """Edges as a tensor; lists of Python floats are taken in the precision of floating values."""
    tensor = as_tensor(edges)
    known = isinstance(edges, (Tensor, np.ndarray))
    if known or not (tensor.dtype.is_float and x.dtype.is_float):
        return tensor
    return as_tensor(edges, x.dtype)


def digitize(x: ArrayLike, bins: ArrayLike, right: bool = False) -> Tensor:
    """The number of the bin that each value lies in, as in NumPy.

    Parameters
    ----------
    x : array_like
    bins : array_like
        The edges, in ascending or descending order.
    right : bool, optional
        Whether bins are closed at the right edge rather than at the left one.

    Returns
    -------
    Tensor
        Of int64: 0 in front of the first edge.

    Raises
    ------
    ValueError
        If the edges are in no order, as far as they are known.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.digitize([0.5, 1.0, 3.0], [1.0, 2.0])
    Tensor([0, 1, 2])
    """
    tensor = as_tensor(x)
    edges = edges_for(tensor, bins)
    if not edges._is_traced():
        steps = np.diff(np.asarray(edges).reshape(-1).astype(np.float64))
        if not (np.all(steps >= 0) or np.all(steps <= 0)):
            raise OptionError("digitize: the edges must ascend or descend")

    def function() -> tuple[Any, list[Tensor]]:
        nodes, tensors = common_nodes((tensor, edges))
        return semantics.digitize(nodes[0], nodes[1], right), tensors

    return record_nodes(function)


def isin(
    x: ArrayLike,
    test_elements: ArrayLike,
    /,
    *,
    assume_unique: bool = False,
    invert: bool = False,
    kind: str | None = None,
) -> Tensor:
    """Whether each element is one of others. NaN is none of them.

    Parameters
    ----------
    x : array_like
    test_elements : array_like
    assume_unique : bool, optional
        Without effect.
    invert : bool, optional
        Whether the answer is turned around.
    kind : {"sort", "table"}, optional
        NumPy's choice of an algorithm, without effect.

    Returns
    -------
    Tensor
        Of bool, in the shape of `x`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.isin([1, 2, 3], [3, 1])
    Tensor([ True, False,  True])
    """

    def function() -> tuple[Any, list[Tensor]]:
        nodes, tensors = common_nodes((x, test_elements))
        return semantics.is_in(nodes[0], nodes[1], invert), tensors

    return record_nodes(function)


# --- elements that are not zero -------------------------------------------------------------------

_SIZE = (
    "give the number of elements, size=..., or keep the shape: write fg.where(x != 0, a, b), or "
    "multiply by the mask"
)


def nonzero(
    x: ArrayLike,
    /,
    *,
    size: int | None = None,
    fill_value: int | Sequence[int] = 0,
    as_tuple: bool = True,
) -> Any:
    """Where the elements are that are not zero: for each axis their indices, in order.

    Parameters
    ----------
    x : array_like
        With an axis.
    size : int, optional
        How many indices there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : int or sequence of int, optional
        What stands for missing ones, or that for each axis.
    as_tuple : bool, optional
        False gives what `argwhere` gives, which torch has by default.

    Returns
    -------
    tuple of Tensor
        Of int64.

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nonzero([[0, 3], [4, 0]])
    (Tensor([0, 1]), Tensor([1, 0]))
    """
    if not as_tuple:
        return argwhere(x, size=size, fill_value=fill_value)
    tensor = as_tensor(x)
    if not tensor.shape:
        raise ShapeError(
            "nonzero of an array without axes", remedy="give it one first, x.reshape(1)"
        )
    if size is None:
        places = tensor._look_for_shape("fg.nonzero", _SIZE).nonzero()
        return tuple(map(as_tensor, places))
    return tuple(_sized(tensor, size, fill_value))


def argwhere(
    x: ArrayLike, /, *, size: int | None = None, fill_value: int | Sequence[int] = 0
) -> Tensor:
    """The indices of the elements that are not zero, one row for each.

    Parameters
    ----------
    x : array_like
    size : int, optional
        How many rows there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : int or sequence of int, optional
        What stands for missing ones, or that for each axis.

    Returns
    -------
    Tensor
        Of int64.

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.argwhere([[0, 3], [4, 0]])
    Tensor([[0, 1],
            [1, 0]])
    """
    tensor = as_tensor(x)
    if size is None:
        return as_tensor(np.argwhere(tensor._look_for_shape("fg.argwhere", _SIZE)))
    columns = _sized(tensor, size, fill_value)
    return stack(columns, axis=1) if columns else zeros((size, 0), dtype=int64)


def flatnonzero(x: ArrayLike, /, *, size: int | None = None, fill_value: int = 0) -> Tensor:
    """The indices of the elements that are not zero in the array taken flat.

    Parameters
    ----------
    x : array_like
    size : int, optional
        How many indices there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : int, optional
        What stands for missing ones.

    Returns
    -------
    Tensor
        Of int64.

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.flatnonzero([[0, 3], [4, 0]])
    Tensor([1, 2])
    """
    tensor = as_tensor(x)
    if size is None:
        return as_tensor(np.flatnonzero(tensor._look_for_shape("fg.flatnonzero", _SIZE)))
    return _sized(tensor.reshape(-1), size, fill_value)[0]


def _sized(x: Tensor, size: int, fill_value: int | Sequence[int]) -> list[Tensor]:
    count = operator.index(size)
    if count < 0:
        raise OptionError(f"the size of a result is not negative, as {count} is")
    fills = fill_value if isinstance(fill_value, Sequence) else [fill_value] * x.ndim
    if len(fills) != x.ndim:
        raise OptionError(f"{len(fills)} fill values for {x.ndim} axes")
    return [
        record(sets.nonzero_places, (x,), axis, count, operator.index(fill))
        for axis, fill in enumerate(fills)
    ]
