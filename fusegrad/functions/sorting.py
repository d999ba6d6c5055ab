"""Sorting, and picking elements by their rank.

Knows the functions on nodes that they record. ``axis`` and ``keepdims`` are also ``dim`` and
``keepdim``, as in torch.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..semantics import sorting as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from ..tensors.tensor_order_methods import Ranked

__all__ = [
    "argpartition",
    "argsort",
    "kthvalue",
    "lexsort",
    "mode",
    "msort",
    "partition",
    "sort",
    "topk",
]


def sort(
    x: ArrayLike,
    /,
    axis: int | None = -1,
    descending: bool = False,
    stable: bool = True,
    *,
    dim: int | None = None,
) -> Tensor:
    """The elements in order. NaN counts as the largest value.

    Parameters
    ----------
    x : array_like
    axis : int or None, optional
        None sorts all elements, as one axis.
    descending : bool, optional
        Whether the largest comes first.
    stable : bool, optional
        Without effect: equal elements always keep their order.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.sort([[3, 1, 2], [6, 5, 4]], descending=True)
    Tensor([[3, 2, 1],
            [6, 5, 4]])
    """
    return as_tensor(x).sort(axis, descending, dim=dim)


def msort(x: ArrayLike, /) -> Tensor:
    """The elements in order along the first axis.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.msort([[3, 1], [2, 5]])
    Tensor([[2, 1],
            [3, 5]])
    """
    return as_tensor(x).sort(0)


def argsort(
    x: ArrayLike,
    /,
    axis: int | None = -1,
    descending: bool = False,
    stable: bool = True,
    *,
    dim: int | None = None,
) -> Tensor:
    """The places of the elements in order. NaN counts as the largest value.

    Parameters
    ----------
    x : array_like
    axis : int or None, optional
        None sorts all elements, as one axis.
    descending : bool, optional
        Whether the largest comes first.
    stable : bool, optional
        Without effect: equal elements always keep their order.

    Returns
    -------
    Tensor
        Of int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.argsort([30, 10, 20])
    Tensor([1, 2, 0])
    """
    return as_tensor(x).argsort(axis, descending, dim=dim)


def topk(
    x: ArrayLike,
    /,
    k: int,
    axis: int = -1,
    largest: bool = True,
    sorted: bool = True,
    *,
    dim: int | None = None,
) -> Ranked[Tensor]:
    """The largest elements along an axis, and where they are.

    Parameters
    ----------
    x : array_like
    k : int
        How many.
    axis : int, optional
    largest : bool, optional
        False for the smallest ones.
    sorted : bool, optional
        Without effect: they always come in order.

    Returns
    -------
    Ranked
        ``(values, indices)``. Of equal elements the first come first; NaN counts as the largest.

    Raises
    ------
    ShapeError
        If the axis has fewer elements.

    Examples
    --------
    >>> import fusegrad as fg
    >>> values, indices = fg.topk([3.0, 9.0, 4.0], 2)
    >>> values, indices
    (Tensor([9., 4.]), Tensor([1, 2]))
    """
    return as_tensor(x).topk(k, axis, largest, dim=dim)


def kthvalue(
    x: ArrayLike,
    /,
    k: int,
    axis: int = -1,
    keepdims: bool = False,
    *,
    dim: int | None = None,
    keepdim: bool | None = None,
) -> Ranked[Tensor]:
    """The element of a rank along an axis, and where it is.

    Parameters
    ----------
    x : array_like
    k : int
        The rank, counted from 1 for the smallest.
    axis : int, optional
    keepdims : bool, optional
        Whether the axis stays with extent 1.

    Returns
    -------
    Ranked
        ``(values, indices)``.

    Raises
    ------
    ShapeError
        If there is no such rank.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.kthvalue([3.0, 9.0, 4.0], 2)
    Ranked(values=Tensor(4.), indices=Tensor(2))
    """
    return as_tensor(x).kthvalue(k, axis, keepdims, dim=dim, keepdim=keepdim)


def mode(
    x: ArrayLike,
    /,
    axis: int = -1,
    keepdims: bool = False,
    *,
    dim: int | None = None,
    keepdim: bool | None = None,
) -> Ranked[Tensor]:
    """The most frequent element along an axis, and where it occurs last.

    Parameters
    ----------
    x : array_like
    axis : int, optional
    keepdims : bool, optional
        Whether the axis stays with extent 1.

    Returns
    -------
    Ranked
        ``(values, indices)``; of equally frequent elements the smallest.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.mode([2, 7, 2, 7, 1])
    Ranked(values=Tensor(2), indices=Tensor(2))
    """
    return as_tensor(x).mode(axis, keepdims, dim=dim, keepdim=keepdim)


def lexsort(keys: Sequence[ArrayLike] | ArrayLike, axis: int = -1) -> Tensor:
    """The order of the elements by several keys, of which the last one counts most.

    Parameters
    ----------
    keys : sequence of array_like, or array_like
        Of one shape.
    axis : int, optional

    Returns
    -------
    Tensor
        Of int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.lexsort(([2, 1, 3], [1, 1, 0]))
    Tensor([2, 1, 0])
    """
    rows: Any = keys
    tensors = [as_tensor(rows[place]) for place in range(len(rows))]
    if not tensors:
        raise ShapeError("lexsort needs a key", remedy="give one array or more")
    return record(lambda *nodes: semantics.lexsort(nodes, axis), tensors)


def partition(x: ArrayLike, /, kth: int | Sequence[int], axis: int | None = -1) -> Tensor:
    """The elements in an order in which those of some ranks are where sorting would put them.

    Parameters
    ----------
    x : array_like
    kth : int or sequence of int
        The ranks, counted from 0; negative ones from the end.
    axis : int or None, optional
        None takes all elements, as one axis.

    Returns
    -------
    Tensor
        Sorted whole, which is one of the orders in question.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.partition([3, 1, 2], 1)[1]
    Tensor(2)
    """
    tensor = as_tensor(x)
    _check_ranks("partition", tensor, kth, axis)
    return tensor.sort(axis)


def argpartition(x: ArrayLike, /, kth: int | Sequence[int], axis: int | None = -1) -> Tensor:
    """The places of the elements in an order as that of `partition`.

    Parameters
    ----------
    x : array_like
    kth : int or sequence of int
        The ranks, counted from 0; negative ones from the end.
    axis : int or None, optional
        None takes all elements, as one axis.

    Returns
    -------
    Tensor
        Of int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.argpartition([3, 1, 2], 1)[1]
    Tensor(2)
    """
    tensor = as_tensor(x)
    _check_ranks("argpartition", tensor, kth, axis)
    return tensor.argsort(axis)


def _check_ranks(name: str, x: Tensor, kth: int | Sequence[int], axis: int | None) -> None:
    extent = x.size if axis is None else semantics.extent_of(name, x.shape, axis)
    ranks = [kth] if not isinstance(kth, Sequence) else kth
    for rank in ranks:
        if not -extent <= operator.index(rank) < extent:
            raise ShapeError(
                f"{name}: there is no rank {rank} among {extent} elements",
                remedy="ranks are counted from 0; negative ones from the end",
            )
