"""Cumulative sums, products, extrema and logarithms of sums.

Knows the functions on nodes that they record. ``axis`` is also ``dim``, as in torch.
"""

from __future__ import annotations

from typing import Any

from ..codegen.dtypes import DType, as_dtype
from ..ir.node import Node
from ..ops import build
from ..semantics import cumulative as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from ..tensors.tensor_order_methods import Ranked

__all__ = [
    "cummax",
    "cummin",
    "cumprod",
    "cumsum",
    "cumulative_prod",
    "cumulative_sum",
    "logcumsumexp",
    "nancumprod",
    "nancumsum",
]


def _dtype(dtype: Any) -> DType | None:
    return None if dtype is None else as_dtype(dtype)


def cumulative_sum(
    x: ArrayLike,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    reverse: bool = False,
) -> Tensor:
    """The sum of each element and all before it. Integers and bools are added in 64 bits.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        May be left out if there is one axis only.
    dtype : dtype, optional
        What is computed in.
    include_initial : bool, optional
        Whether the sum of nothing, 0, comes first.
    reverse : bool, optional
        Whether elements are added to those behind them.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If there are several axes and none is named.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cumulative_sum([1, 2, 3], include_initial=True)
    Tensor([0, 1, 3, 6])
    """
    kind = _dtype(dtype)

    def function(node: Node) -> Node:
        place = semantics.only_axis("cumulative_sum", node, axis)
        result = semantics.cumsum(node, place, kind, reverse)
        return semantics.with_initial(result, place, 0, reverse) if include_initial else result

    return record(function, (as_tensor(x),))


def cumulative_prod(
    x: ArrayLike,
    /,
    *,
    axis: int | None = None,
    dtype: Any = None,
    include_initial: bool = False,
    reverse: bool = False,
) -> Tensor:
    """The product of each element and all before it. Integers are multiplied in 64 bits.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        May be left out if there is one axis only.
    dtype : dtype, optional
        What is computed in.
    include_initial : bool, optional
        Whether the product of nothing, 1, comes first.
    reverse : bool, optional
        Whether elements are multiplied with those behind them.

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If there are several axes and none is named.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cumulative_prod([[1, 2], [3, 4]], axis=1)
    Tensor([[ 1,  2],
            [ 3, 12]])
    """
    kind = _dtype(dtype)

    def function(node: Node) -> Node:
        place = semantics.only_axis("cumulative_prod", node, axis)
        result = semantics.cumprod(node, place, kind, reverse)
        return semantics.with_initial(result, place, 1, reverse) if include_initial else result

    return record(function, (as_tensor(x),))


def cumsum(
    x: ArrayLike,
    /,
    axis: int | None = None,
    dtype: Any = None,
    *,
    dim: int | None = None,
    reverse: bool = False,
) -> Tensor:
    """The sum of each element and all before it, as in NumPy.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    dtype : dtype, optional
        What is computed in; for integers and bools 64 bits.
    reverse : bool, optional
        Whether elements are added to those behind them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cumsum([[1, 2], [3, 4]])
    Tensor([ 1,  3,  6, 10])
    """
    return as_tensor(x).cumsum(axis, dtype, dim=dim, reverse=reverse)


def cumprod(
    x: ArrayLike,
    /,
    axis: int | None = None,
    dtype: Any = None,
    *,
    dim: int | None = None,
    reverse: bool = False,
) -> Tensor:
    """The product of each element and all before it, as in NumPy.

    Its derivative is exact where elements are zero.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    dtype : dtype, optional
        What is computed in; for integers and bools 64 bits.
    reverse : bool, optional
        Whether elements are multiplied with those behind them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cumprod([2.0, 0.5, 3.0])
    Tensor([2., 1., 3.])
    """
    return as_tensor(x).cumprod(axis, dtype, dim=dim, reverse=reverse)


def _without_nan(x: ArrayLike, neutral: float) -> Tensor:
    def function(node: Node) -> Node:
        if not node.dtype.is_float:
            return node
        return build.select(build.isnan(node), build.full_like(node, neutral), node)

    return record(function, (as_tensor(x),))


def nancumsum(
    x: ArrayLike, /, axis: int | None = None, dtype: Any = None, *, dim: int | None = None
) -> Tensor:
    """`cumsum` with NaN counted as 0.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nancumsum([1.0, fg.nan, 2.0])
    Tensor([1., 1., 3.])
    """
    return cumsum(_without_nan(x, 0.0), axis, dtype, dim=dim)


def nancumprod(
    x: ArrayLike, /, axis: int | None = None, dtype: Any = None, *, dim: int | None = None
) -> Tensor:
    """`cumprod` with NaN counted as 1.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nancumprod([2.0, fg.nan, 3.0])
    Tensor([2., 2., 6.])
    """
    return cumprod(_without_nan(x, 1.0), axis, dtype, dim=dim)


def cummax(
    x: ArrayLike, /, axis: int | None = None, *, dim: int | None = None, reverse: bool = False
) -> Ranked[Tensor]:
    """The largest of each element and all before it, and where it is.

    Of equal elements the index is that of the latest, which gets the gradient; a NaN stays.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    reverse : bool, optional
        Whether elements are combined with those behind them.

    Returns
    -------
    Ranked
        ``(values, indices)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> values, indices = fg.cummax([1, 3, 2, 3])
    >>> values, indices
    (Tensor([1, 3, 3, 3]), Tensor([0, 1, 1, 3]))
    """
    return as_tensor(x).cummax(axis, dim=dim, reverse=reverse)


def cummin(
    x: ArrayLike, /, axis: int | None = None, *, dim: int | None = None, reverse: bool = False
) -> Ranked[Tensor]:
    """The smallest of each element and all before it, and where it is.

    Of equal elements the index is that of the latest, which gets the gradient; a NaN stays.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    reverse : bool, optional
        Whether elements are combined with those behind them.

    Returns
    -------
    Ranked
        ``(values, indices)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.cummin([3, 1, 2]).values
    Tensor([3, 1, 1])
    """
    return as_tensor(x).cummin(axis, dim=dim, reverse=reverse)


def logcumsumexp(
    x: ArrayLike, /, axis: int | None = None, *, dim: int | None = None, reverse: bool = False
) -> Tensor:
    """``log(cumsum(exp(x)))`` without overflow.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default the array is taken flat.
    reverse : bool, optional
        Whether elements are combined with those behind them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.logcumsumexp([1000.0, 0.0])
    Tensor([1000., 1000.])
    """
    return as_tensor(x).logcumsumexp(axis, dim=dim, reverse=reverse)
