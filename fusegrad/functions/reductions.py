"""Reductions of the array API.

Knows the functions on nodes that they record. ``axis`` and ``keepdims`` are also ``dim`` and
``keepdim``, as in torch.
"""

from __future__ import annotations

from typing import Any

from ..codegen.dtypes import bool_
from ..errors import EmptyReductionError
from ..semantics import reductions as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from ..tensors.tensor_methods import Axis, pick_axis, pick_keepdims
from .creation import full_like, ones_like
from .functional import where as select
from .naming import named

__all__ = [
    "all",
    "any",
    "argmax",
    "argmin",
    "count_nonzero",
    "logsumexp",
    "max",
    "mean",
    "min",
    "prod",
    "std",
    "sum",
    "var",
]


def _where(x: ArrayLike, where: ArrayLike, neutral: float) -> Tensor:
    """The elements that count, and what changes nothing in place of the others."""
    tensor = as_tensor(x)
    return tensor if where is None else select(where, tensor, neutral)


def _extreme(
    name: str, x: ArrayLike, axis: Axis, keepdims: bool, where: ArrayLike, initial: ArrayLike
) -> Tensor:
    tensor = as_tensor(x)
    if initial is None:
        raise EmptyReductionError(
            f"{name} with where= has no value if no element counts",
            remedy="pass initial=, the result of no elements",
        )
    if not tensor.size:
        empty = tensor.sum(axis, keepdims)
        return full_like(empty, initial, dtype=tensor.dtype)
    chosen = tensor if where is None else select(where, tensor, initial)
    if name == "max":
        return chosen.max(axis, keepdims).maximum(initial)
    return chosen.min(axis, keepdims).minimum(initial)


def sum(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
    initial: ArrayLike = None,
) -> Tensor:
    """The sum. Integers and bools are added in 64 bits; of no elements it is 0.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    dtype : dtype, optional
        What is computed in.
    where : array_like of bool, optional
        Which elements count; by default all.
    initial : number, optional
        What the reduction starts from.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.sum([[1, 2], [3, 4]], axis=0)
    Tensor([4, 6])
    """
    chosen = _where(x, where, 0)
    result = chosen.sum(axis, keepdims, dtype=dtype, dim=dim, keepdim=keepdim)
    return result if initial is None else result + initial


def prod(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
    initial: ArrayLike = None,
) -> Tensor:
    """The product. Integers and bools are multiplied in 64 bits; of no elements it is 1.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    dtype : dtype, optional
        What is computed in.
    where : array_like of bool, optional
        Which elements count; by default all.
    initial : number, optional
        What the reduction starts from.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.prod([2, 3, 4])
    Tensor(24)
    """
    chosen = _where(x, where, 1)
    result = chosen.prod(axis, keepdims, dtype=dtype, dim=dim, keepdim=keepdim)
    return result if initial is None else result * initial


def mean(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dtype: Any = None,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
) -> Tensor:
    """The mean; of integers a float32.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    dtype : dtype, optional
        What is computed in.
    where : array_like of bool, optional
        Which elements count; by default all.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.mean([[1.0, 2.0], [3.0, 6.0]], axis=1)
    Tensor([1.5, 4.5])
    """
    if where is not None:
        axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
        total = _where(x, where, 0).sum(axes, keep, dtype=dtype)
        total = total if total.dtype.is_float else total.float()
        counted = select(where, ones_like(x, dtype=bool_), False)
        return total / counted.sum(axes, keep).astype(total.dtype)
    return as_tensor(x).mean(axis, keepdims, dtype=dtype, dim=dim, keepdim=keepdim)


def max(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
    initial: ArrayLike = None,
) -> Tensor:
    """The largest element; equal ones share the gradient.

    With an axis it gives the values alone, as in NumPy; their places are `argmax`.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all. A Tensor in its place is the second of two, of which
        the larger elements are taken, as in torch.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    where : array_like of bool, optional
        Which elements count; by default all.
    initial : number, optional
        What the reduction starts from; needed with `where`, and then of no elements too.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.max([[1, 5], [7, 3]], axis=1)
    Tensor([5, 7])
    """
    if initial is not None or where is not None:
        return _extreme(
            "max", x, pick_axis(axis, dim), pick_keepdims(keepdims, keepdim), where, initial
        )
    return as_tensor(x).max(axis, keepdims, dim=dim, keepdim=keepdim)


def min(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
    initial: ArrayLike = None,
) -> Tensor:
    """The smallest element; equal ones share the gradient.

    With an axis it gives the values alone, as in NumPy; their places are `argmin`.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all. A Tensor in its place is the second of two, of which
        the smaller elements are taken, as in torch.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    where : array_like of bool, optional
        Which elements count; by default all.
    initial : number, optional
        What the reduction starts from; needed with `where`, and then of no elements too.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.min([[1, 5], [7, 3]], axis=1)
    Tensor([1, 3])
    """
    if initial is not None or where is not None:
        return _extreme(
            "min", x, pick_axis(axis, dim), pick_keepdims(keepdims, keepdim), where, initial
        )
    return as_tensor(x).min(axis, keepdims, dim=dim, keepdim=keepdim)


def any(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
) -> Tensor:
    """Whether some element is not zero; of no elements False.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    where : array_like of bool, optional
        Which elements count; by default all.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.any([[0, 1], [0, 0]], axis=1)
    Tensor([ True, False])
    """
    chosen = _where(x, where, False)
    return chosen.any(axis, keepdims, dim=dim, keepdim=keepdim)


def all(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    where: ArrayLike = None,
) -> Tensor:
    """Whether no element is zero; of no elements True.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    where : array_like of bool, optional
        Which elements count; by default all.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.all([[0, 1], [1, 1]], axis=1)
    Tensor([False,  True])
    """
    chosen = _where(x, where, True)
    return chosen.all(axis, keepdims, dim=dim, keepdim=keepdim)


def logsumexp(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """``log(sum(exp(x)))`` without overflow.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.logsumexp([1000.0, 0.0])
    Tensor(1000.)
    """
    return as_tensor(x).logsumexp(axis, keepdims, dim=dim, keepdim=keepdim)


def var(
    x: ArrayLike,
    /,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    ddof: float | None = None,
    unbiased: bool | None = None,
) -> Tensor:
    """The mean squared distance from the mean.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    correction : float, optional
        What the number of elements is lessened by in the denominator; torch's default is 1.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    ddof : float, optional
        NumPy's name of `correction`.
    unbiased : bool, optional
        Torch's: whether `correction` is 1, or 0.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.var([1.0, 2.0, 3.0, 6.0])
    Tensor(3.5)
    """
    less = semantics.lessened(correction, ddof, unbiased)
    return as_tensor(x).var(axis, keepdims, correction=less, dim=dim, keepdim=keepdim)


@named
def std(
    x: ArrayLike,
    /,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    ddof: float | None = None,
    unbiased: bool | None = None,
) -> Tensor:
    """The square root of the variance.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    correction : float, optional
        What the number of elements is lessened by in the denominator; torch's default is 1.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    ddof : float, optional
        NumPy's name of `correction`.
    unbiased : bool, optional
        Torch's: whether `correction` is 1, or 0.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.std([2.0, 4.0])
    Tensor(1.)
    """
    less = semantics.lessened(correction, ddof, unbiased)
    return as_tensor(x).std(axis, keepdims, correction=less, dim=dim, keepdim=keepdim)


def argmax(
    x: ArrayLike,
    /,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    dim: int | None = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The index of the largest element, the first of equal ones.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        The axis; by default the array is taken flat.
    keepdims : bool, optional
        Whether the axis stays with extent 1.

    Returns
    -------
    Tensor
        Of int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.argmax([3, 7, 7])
    Tensor(1)
    """
    return as_tensor(x).argmax(axis, keepdims, dim=dim, keepdim=keepdim)


def argmin(
    x: ArrayLike,
    /,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    dim: int | None = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The index of the smallest element, the first of equal ones.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        The axis; by default the array is taken flat.
    keepdims : bool, optional
        Whether the axis stays with extent 1.

    Returns
    -------
    Tensor
        Of int64.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.argmin([3, 1, 1])
    Tensor(1)
    """
    return as_tensor(x).argmin(axis, keepdims, dim=dim, keepdim=keepdim)


@named
def count_nonzero(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """How many elements are not zero.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.count_nonzero([0, 3, 4])
    Tensor(2)
    """
    keep = pick_keepdims(keepdims, keepdim)
    return record(semantics.count_nonzero, (as_tensor(x),), pick_axis(axis, dim), keep)
