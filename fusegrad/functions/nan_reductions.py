"""Reductions that leave NaN out, under NumPy's names.

Compositions: NaN is replaced by what changes nothing, and no gradient flows to it.
"""

from __future__ import annotations

from typing import Any

from ..codegen.dtypes import as_dtype
from ..errors import EmptyReductionError
from ..tensors.context import active
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from ..tensors.tensor_methods import Axis, pick_axis, pick_keepdims
from .functional import isnan, where
from .naming import named

__all__ = [
    "nanargmax",
    "nanargmin",
    "nanmax",
    "nanmean",
    "nanmin",
    "nanprod",
    "nanstd",
    "nansum",
    "nanvar",
]


def _without(x: ArrayLike, value: float) -> tuple[Tensor, Tensor | None]:
    """`x` with a value in place of NaN, and where NaN is; None for what has none."""
    tensor = as_tensor(x)
    if not tensor.dtype.is_float:
        return tensor, None
    missing = isnan(tensor)
    return where(missing, value, tensor), missing


@named
def nansum(
    x: ArrayLike,
    axis: Axis = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The sum of what is not NaN; of nothing 0.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    dtype : dtype, optional
        Of the result.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nansum([1.0, float("nan"), 3.0])
    Tensor(4.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, _ = _without(x, 0.0)
    return values.sum(axes, keep, dtype=dtype)


@named
def nanprod(
    x: ArrayLike,
    axis: Axis = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The product of what is not NaN; of nothing 1.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    dtype : dtype, optional
        Of the result.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanprod([1.0, float("nan"), 3.0])
    Tensor(3.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, _ = _without(x, 1.0)
    return values.prod(axes, keep, dtype=dtype)


@named
def nanmean(
    x: ArrayLike,
    axis: Axis = None,
    dtype: Any = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The mean of what is not NaN; of nothing NaN.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    dtype : dtype, optional
        Of the result.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanmean([1.0, float("nan"), 3.0])
    Tensor(2.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, missing = _without(x, 0.0)
    if missing is None:
        return values.mean(axes, keep, dtype=dtype)
    kind = values.dtype if dtype is None else as_dtype(dtype)
    return values.sum(axes, keep, dtype=kind) / _count(missing, axes, keep).astype(kind)


def _count(missing: Tensor, axes: Axis, keepdims: bool) -> Tensor:
    return (~missing).sum(axes, keepdims)


@named
def nanvar(
    x: ArrayLike,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    ddof: float | None = None,
) -> Tensor:
    """The variance of what is not NaN; NaN if there are too few elements.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    correction : float, optional
        What is subtracted from the number of elements in the denominator; in NumPy it is
        named `ddof`.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanvar([1.0, float("nan"), 3.0])
    Tensor(1.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    correction = correction if ddof is None else ddof
    values, missing = _without(x, 0.0)
    if missing is None:
        return values.var(axes, keep, correction=correction)
    centre = values.sum(axes, True) / _count(missing, axes, True).maximum(1).astype(values.dtype)
    squares = where(missing, 0.0, values - centre).square()
    freedom = _count(missing, axes, keep).astype(values.dtype) - correction
    total = squares.sum(axes, keep)
    return where(freedom > 0, total / where(freedom > 0, freedom, 1.0), float("nan"))


@named
def nanstd(
    x: ArrayLike,
    axis: Axis = None,
    correction: float = 0.0,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
    ddof: float | None = None,
) -> Tensor:
    """The standard deviation of what is not NaN.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    correction : float, optional
        What is subtracted from the number of elements in the denominator; in NumPy it is
        named `ddof`.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanstd([1.0, float("nan"), 3.0])
    Tensor(1.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    return nanvar(x, axes, correction, keep, ddof=ddof).sqrt()


@named
def nanmax(
    x: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The largest of what is not NaN; of nothing but NaN it is NaN.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanmax([1.0, float("nan"), 3.0])
    Tensor(3.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, missing = _without(x, -float("inf"))
    if missing is None:
        return values.max(axes, keep)
    return where(missing.all(axes, keep), float("nan"), values.max(axes, keep))


@named
def nanmin(
    x: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The smallest of what is not NaN; of nothing but NaN it is NaN.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all axes.
    keepdims : bool, optional
        Whether reduced axes stay, with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanmin([1.0, float("nan"), 3.0])
    Tensor(1.)
    """
    axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, missing = _without(x, float("inf"))
    if missing is None:
        return values.min(axes, keep)
    return where(missing.all(axes, keep), float("nan"), values.min(axes, keep))


@named
def nanargmax(
    x: ArrayLike,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    dim: int | None = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The index of the largest of what is not NaN.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    keepdims : bool, optional
        Whether the reduced axis stays, with extent 1.

    Returns
    -------
    Tensor

    Raises
    ------
    EmptyReductionError
        If all are NaN; in compiled code the index is 0 then.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanargmax([1.0, float("nan"), 3.0])
    Tensor(2)
    """
    place, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, missing = _without(x, -float("inf"))
    if missing is not None:
        _check_some("nanargmax", missing.all(place))
    return values.argmax(place, keep)


@named
def nanargmin(
    x: ArrayLike,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    dim: int | None = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The index of the smallest of what is not NaN.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    keepdims : bool, optional
        Whether the reduced axis stays, with extent 1.

    Returns
    -------
    Tensor

    Raises
    ------
    EmptyReductionError
        If all are NaN; in compiled code the index is 0 then.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanargmin([1.0, float("nan"), 3.0])
    Tensor(0)
    """
    place, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
    values, missing = _without(x, float("inf"))
    if missing is not None:
        _check_some("nanargmin", missing.all(place))
    return values.argmin(place, keep)


def _check_some(name: str, none: Tensor) -> None:
    if not none._is_traced() and not active.abstract and none.any():
        raise EmptyReductionError(
            f"{name} of nothing but NaN", remedy="replace NaN first, fg.nan_to_num(x)"
        )
