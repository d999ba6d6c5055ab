"""Medians, quantiles and percentiles.

Knows the methods of a Tensor. ``axis`` and ``keepdims`` are also ``dim`` and
``keepdim``, as in torch.
"""

from __future__ import annotations

from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from ..tensors.tensor_methods import Axis

__all__ = ["median", "nanmedian", "nanpercentile", "nanquantile", "percentile", "quantile"]


def median(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The element in the middle of the order, or the mean of the two that are, as in NumPy.

    NaN where there is a NaN among the elements.

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
    >>> fg.median([4.0, 1.0, 3.0, 9.0])
    Tensor(3.5)
    """
    return as_tensor(x).median(axis, keepdims, dim=dim, keepdim=keepdim)


def nanmedian(
    x: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The median of the elements that are no NaN; of none it is NaN.

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
    >>> fg.nanmedian([4.0, fg.nan, 3.0, 9.0])
    Tensor(4.)
    """
    return as_tensor(x).nanmedian(axis, keepdims, dim=dim, keepdim=keepdim)


def quantile(
    x: ArrayLike,
    /,
    q: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
    weights: ArrayLike | None = None,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The value below which a fraction of the elements lies.

    NaN where there is a NaN among the elements.

    Parameters
    ----------
    x : array_like
    q : array_like
        Fractions between 0 and 1; their axes come first in the result.
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    method : str, optional
        What lies between two elements, by the names of NumPy: ``"linear"``, ``"lower"``,
        ``"higher"``, ``"midpoint"``, ``"nearest"``, ``"hazen"``, ``"weibull"``, ...
    interpolation : str, optional
        `method` under torch's name.
    weights : array_like, optional
        How much each element counts, for the method ``"inverted_cdf"``: in the shape of `x`, or
        along the axis.

    Returns
    -------
    Tensor
        In the dtype of `x`; of integers in the default float.

    Raises
    ------
    ValueError
        If there is no such method, or a fraction is outside of 0 and 1.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.quantile([1.0, 2.0, 4.0], [0.0, 0.25, 1.0])
    Tensor([1. , 1.5, 4. ])
    """
    return as_tensor(x).quantile(
        q,
        axis,
        keepdims,
        method=method,
        interpolation=interpolation,
        weights=weights,
        dim=dim,
        keepdim=keepdim,
    )


def nanquantile(
    x: ArrayLike,
    /,
    q: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
    weights: ArrayLike | None = None,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """`quantile` of the elements that are no NaN; of none it is NaN.

    Parameters
    ----------
    x : array_like
    q : array_like
        Fractions between 0 and 1.
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    method : str, optional
        As in `quantile`.
    interpolation : str, optional
        `method` under torch's name.
    weights : array_like, optional
        How much each element counts, for the method ``"inverted_cdf"``: in the shape of `x`, or
        along the axis.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanquantile([1.0, fg.nan, 4.0], 0.5)
    Tensor(2.5)
    """
    return as_tensor(x).nanquantile(
        q,
        axis,
        keepdims,
        method=method,
        interpolation=interpolation,
        weights=weights,
        dim=dim,
        keepdim=keepdim,
    )


def percentile(
    x: ArrayLike,
    /,
    q: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
    weights: ArrayLike | None = None,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """`quantile` with percentages in place of fractions.

    Parameters
    ----------
    x : array_like
    q : array_like
        Percentages between 0 and 100.
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    method : str, optional
        As in `quantile`.
    interpolation : str, optional
        `method` under torch's name.
    weights : array_like, optional
        How much each element counts, for the method ``"inverted_cdf"``: in the shape of `x`, or
        along the axis.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.percentile([1.0, 2.0, 4.0], 25)
    Tensor(1.5)
    """
    return as_tensor(x).percentile(
        q,
        axis,
        keepdims,
        method=method,
        interpolation=interpolation,
        weights=weights,
        dim=dim,
        keepdim=keepdim,
    )


def nanpercentile(
    x: ArrayLike,
    /,
    q: ArrayLike,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
    weights: ArrayLike | None = None,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """`percentile` of the elements that are no NaN; of none it is NaN.

    Parameters
    ----------
    x : array_like
    q : array_like
        Percentages between 0 and 100.
    axis : int or sequence of int, optional
        Which axes vanish; by default all.
    keepdims : bool, optional
        Whether they stay with extent 1 instead.
    method : str, optional
        As in `quantile`.
    interpolation : str, optional
        `method` under torch's name.
    weights : array_like, optional
        How much each element counts, for the method ``"inverted_cdf"``: in the shape of `x`, or
        along the axis.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanpercentile([1.0, fg.nan, 4.0], 50)
    Tensor(2.5)
    """
    return as_tensor(x).nanpercentile(
        q,
        axis,
        keepdims,
        method=method,
        interpolation=interpolation,
        weights=weights,
        dim=dim,
        keepdim=keepdim,
    )
