"""Medians, quantiles and percentiles.

Knows the functions on nodes that they record. ``axis`` and ``keepdims`` are also ``dim`` and
``keepdim``, as in torch.
"""

from __future__ import annotations

import numpy as np

from .codegen.dtypes import float64
from .semantics import quantiles as semantics
from .semantics.quantiles import METHODS
from .tensor_class import ArrayLike, Tensor, as_tensor, record
from .tensor_methods import Axis, pick_axis, pick_keepdims

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
    keep = pick_keepdims(keepdims, keepdim)
    return record(semantics.median, (as_tensor(x),), pick_axis(axis, dim), keep, True)


def quantile(
    x: ArrayLike,
    q: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
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
    keep, rule = pick_keepdims(keepdims, keepdim), interpolation or method
    return _quantile("quantile", x, q, 1.0, pick_axis(axis, dim), rule, keep, False)


def nanquantile(
    x: ArrayLike,
    q: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
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

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanquantile([1.0, fg.nan, 4.0], 0.5)
    Tensor(2.5)
    """
    keep, rule = pick_keepdims(keepdims, keepdim), interpolation or method
    return _quantile("nanquantile", x, q, 1.0, pick_axis(axis, dim), rule, keep, True)


def percentile(
    x: ArrayLike,
    q: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
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

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.percentile([1.0, 2.0, 4.0], 25)
    Tensor(1.5)
    """
    keep, rule = pick_keepdims(keepdims, keepdim), interpolation or method
    return _quantile("percentile", x, q, 100.0, pick_axis(axis, dim), rule, keep, False)


def nanpercentile(
    x: ArrayLike,
    q: ArrayLike,
    /,
    axis: Axis = None,
    keepdims: bool = False,
    *,
    method: str = "linear",
    interpolation: str | None = None,
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

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nanpercentile([1.0, fg.nan, 4.0], 50)
    Tensor(2.5)
    """
    keep, rule = pick_keepdims(keepdims, keepdim), interpolation or method
    return _quantile("nanpercentile", x, q, 100.0, pick_axis(axis, dim), rule, keep, True)


def _quantile(
    name: str,
    x: ArrayLike,
    q: ArrayLike,
    whole: float,
    axis: Axis,
    method: str,
    keepdims: bool,
    skip_nan: bool,
) -> Tensor:
    if method not in METHODS:
        raise ValueError(f"{name}: no method {method!r}; the methods are {', '.join(METHODS)}")
    if isinstance(q, Tensor):
        fractions = q
    else:
        given = np.asarray(q, np.float64)
        if not np.all((given >= 0) & (given <= whole)):
            raise ValueError(f"{name}: q must be between 0 and {whole:g}, not {given.tolist()}")
        fractions = as_tensor(given)
    if whole != 1:
        fractions = fractions.astype(float64) / whole
    return record(semantics.quantile, (as_tensor(x), fractions), axis, method, keepdims, skip_nan)
