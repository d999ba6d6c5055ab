"""Counting: occurrences of indices, and values in bins.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..codegen.dtypes import int64
from ..errors import (
    ArgumentTypeError,
    DTypeError,
    OptionError,
    ShapeError,
)
from ..ir.node import Node
from ..ops import build
from ..semantics import histograms as semantics
from ..semantics.promotion import as_float
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from .joining import stack, unstack
from .searching import edges_for

__all__ = [
    "Histogram",
    "bincount",
    "histc",
    "histogram",
    "histogram2d",
    "histogram_bin_edges",
    "histogramdd",
]


class Histogram(NamedTuple):
    """What `histogram` gives.

    Attributes
    ----------
    hist : Tensor
        What lies in each bin.
    bin_edges : Tensor
        One more than there are bins.
    """

    hist: Tensor
    bin_edges: Tensor


def bincount(
    x: ArrayLike,
    /,
    weights: ArrayLike | None = None,
    minlength: int = 0,
    *,
    length: int | None = None,
) -> Tensor:
    """How often each index occurs.

    Parameters
    ----------
    x : array_like
        Integers that are not negative, of one axis.
    weights : array_like, optional
        What is added for each of them, in place of 1.
    minlength : int, optional
        The least extent of the result.
    length : int, optional
        Its extent; other indices are not counted. Needed inside of a compiled function, since by
        default it depends on the largest index.

    Returns
    -------
    Tensor
        Of int64, or the dtype of the weights.

    Raises
    ------
    ValueError
        If an index is negative, and no length is given.
    DataDependentShapeError
        Inside of a compiled function, without a length.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bincount([0, 2, 2], minlength=4)
    Tensor([1, 0, 2, 0])
    """
    tensor = as_tensor(x)
    if isinstance(x, (list, tuple)) and not tensor.size:
        tensor = as_tensor(x, int64)
    if tensor.dtype.is_float:
        raise DTypeError(
            f"bincount of {tensor.dtype}", remedy='convert to integers, x.astype("int64")'
        )
    if tensor.ndim != 1:
        raise ShapeError(
            f"bincount of an array of {tensor.ndim} dimensions", remedy="take it flat, x.flatten()"
        )
    if length is None:
        values = tensor._look_for_shape("fg.bincount", "give the extent of the result, length=...")
        if values.size and values.min() < 0:
            raise OptionError(f"bincount: the index {values.min()} is negative")
        length = max(int(values.max()) + 1 if values.size else 0, operator.index(minlength))
    if operator.index(minlength) < 0 or operator.index(length) < 0:
        raise OptionError("bincount: minlength and length must not be negative")
    if weights is None:
        return record(semantics.counts, (tensor,), None, length)
    extent = length
    return record(
        lambda places, own: semantics.counts(places, own, extent), (tensor, as_tensor(weights))
    )


def histogram_bin_edges(
    x: ArrayLike,
    /,
    bins: int | str | ArrayLike = 10,
    range: tuple[float, float] | None = None,
    weights: ArrayLike | None = None,
) -> Tensor:
    """The edges of the bins that `histogram` counts in.

    Parameters
    ----------
    x : array_like
    bins : int, str or array_like, optional
        How many equal bins, a rule by NumPy's names (``"auto"``, ``"fd"``, ...), or edges.
    range : (float, float), optional
        Where equal bins begin and end; by default the extremes of the values.
    weights : array_like, optional
        Without effect, but that the rules take none.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If edges do not ascend, or a range is not finite.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.histogram_bin_edges([1.0, 3.0], 4)
    Tensor([1. , 1.5, 2. , 2.5, 3. ])
    """
    tensor = as_tensor(x)
    return _narrowed(_edges(tensor, bins, range, weights), tensor, bins)


def _edges(
    tensor: Tensor,
    bins: int | str | ArrayLike,
    range: tuple[float, float] | None,
    weights: ArrayLike | None = None,
) -> Tensor:
    """The edges; equal bins of integers have them in float64."""
    dtype = tensor.dtype.numpy if tensor.dtype.is_float else np.float64
    if isinstance(bins, str):
        if weights is not None:
            raise ArgumentTypeError("histogram: the rules for the number of bins know no weights")
        values = tensor._look_for_shape(
            "fg.histogram_bin_edges", "give the number of bins, or the edges"
        )
        edges = np.histogram_bin_edges(values, bins, range)
        return as_tensor(edges.astype(dtype))
    if _are_edges(bins):
        return _given_edges(edges_for(tensor, bins))
    count = operator.index(bins)
    if count < 1:
        raise OptionError(f"histogram: there must be a bin, not {count}")
    if range is not None:
        low, high = map(float, range)
        if not (np.isfinite(low) and np.isfinite(high) and low <= high):
            raise OptionError(f"histogram: the range ({low}, {high}) is not finite and ascending")
        if low == high:
            low, high = low - 0.5, high + 0.5
        edges = np.linspace(low, high, count + 1)
        return as_tensor(edges.astype(dtype))
    found = record(semantics.bin_edges, (tensor.detach(),), count)
    if not found._is_traced() and not np.isfinite(np.asarray(found)).all():
        raise OptionError("histogram: the extremes of the values are not finite; give a range")
    return found


def _narrowed(edges: Tensor, tensor: Tensor, bins: int | str | ArrayLike) -> Tensor:
    """Edges that were computed, in the floating dtype that belongs to the values."""
    return edges if _are_edges(bins) else edges.astype(as_float(tensor.dtype))


def _are_edges(bins: int | str | ArrayLike) -> bool:
    """Whether bins are given by their edges, not by their number or a rule."""
    return isinstance(bins, Tensor) or (not isinstance(bins, str) and np.ndim(bins) > 0)


def _given_edges(edges: Tensor) -> Tensor:
    if edges.ndim != 1:
        raise OptionError(f"histogram: the edges lie on one axis, not {edges.ndim}")
    if not edges._is_traced():
        values = np.asarray(edges)
        if np.any(values[:-1] > values[1:]):
            raise OptionError("histogram: the edges must ascend")
    return edges


def histogram(
    x: ArrayLike,
    /,
    bins: int | str | ArrayLike = 10,
    range: tuple[float, float] | None = None,
    density: bool = False,
    weights: ArrayLike | None = None,
) -> Histogram:
    """How many values lie in each bin.

    A bin has its left edge; the last one has its right edge too. Values outside and NaN are not
    counted.

    Parameters
    ----------
    x : array_like
        Taken flat.
    bins : int, str or array_like, optional
        How many equal bins, a rule by NumPy's names (``"auto"``, ``"fd"``, ...), or ascending
        edges.
    range : (float, float), optional
        Where equal bins begin and end; by default the extremes of the values.
    density : bool, optional
        Whether counts are divided such that their integral is 1.
    weights : array_like, optional
        What is added for each value in place of 1, in the shape of `x`.

    Returns
    -------
    Histogram
        ``(hist, bin_edges)``.

    Raises
    ------
    ValueError
        If edges do not ascend, or a range is not finite.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.histogram([1.0, 2.0, 2.0], bins=[0.0, 2.0, 4.0]).hist
    Tensor([1, 2])
    """
    tensor = as_tensor(x)
    edges = _edges(tensor, bins, range, weights)
    count = edges.shape[0] - 1
    if count < 1:
        hist = record(lambda node: semantics.counts(node, None, 0), (as_tensor([0]),))
        return Histogram(hist, edges)
    given = () if weights is None else (as_tensor(weights),)

    borders = _narrowed(edges, tensor, bins)
    equal = not (isinstance(bins, str) or _are_edges(bins))

    def function(values: Node, between: Node, *own: Node) -> Node:
        places = semantics.bin_numbers(values, between, equal)
        found = semantics.counts(places, own[0] if own else None, count)
        if not density:
            return found
        return build.cast(semantics.density(found, between), as_float(borders.dtype))

    hist = record(function, (tensor, edges, *given))
    return Histogram(hist, borders)


def histc(x: ArrayLike, /, bins: int = 100, min: float = 0, max: float = 0) -> Tensor:
    """`histogram` of equal bins as in torch: counts only, in the dtype of the values.

    Parameters
    ----------
    x : array_like
    bins : int, optional
    min, max : float, optional
        Where the bins begin and end; if both are equal, the extremes of the values.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.histc([1.0, 2.0, 1.0], bins=4, min=0, max=3)
    Tensor([0., 2., 1., 0.])
    """
    tensor = as_tensor(x)
    found = histogram(tensor, bins, None if min == max else (min, max))
    return found.hist.astype(tensor.dtype)


def histogram2d(
    x: ArrayLike,
    y: ArrayLike,
    /,
    bins: Any = 10,
    range: Sequence[tuple[float, float] | None] | None = None,
    density: bool = False,
    weights: ArrayLike | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """How many pairs of values lie in each bin of two dimensions.

    Parameters
    ----------
    x, y : array_like
        Of one axis and equal extent.
    bins : int, array_like, or two of them, optional
        How many equal bins, or edges: for both dimensions, or for each.
    range : pair of (float, float), optional
        Where equal bins begin and end; by default the extremes of the values.
    density : bool, optional
        Whether counts are divided such that their integral is 1.
    weights : array_like, optional
        What is added for each pair in place of 1.

    Returns
    -------
    tuple of Tensor
        The counts, in a floating dtype as in NumPy, and the edges of both dimensions.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.histogram2d([0.0, 1.0, 1.0], [0.0, 1.0, 1.0], bins=2)[0]
    Tensor([[1., 0.],
            [0., 2.]])
    """
    if not isinstance(bins, (int, np.integer)) and len(bins) != 2:
        bins = [bins, bins]
    points = stack([as_tensor(x), as_tensor(y)], axis=1)
    found = histogramdd(points, bins, range, density, weights)
    return (found[0], *found[1])  # type: ignore[return-value]


def histogramdd(
    x: ArrayLike,
    /,
    bins: Any = 10,
    range: Sequence[tuple[float, float] | None] | None = None,
    density: bool = False,
    weights: ArrayLike | None = None,
) -> tuple[Tensor, list[Tensor]]:
    """How many points lie in each bin of several dimensions.

    Parameters
    ----------
    x : array_like
        The points, one a row.
    bins : int, or sequence of int or array_like, optional
        How many equal bins, or edges, for each dimension.
    range : sequence of (float, float), optional
        Where equal bins begin and end in each dimension; by default the extremes of the values.
    density : bool, optional
        Whether counts are divided such that their integral is 1.
    weights : array_like, optional
        What is added for each point in place of 1.

    Returns
    -------
    tuple
        The counts, in a floating dtype as in NumPy, and a list of the edges.

    Raises
    ------
    ShapeError
        If the points are not the rows of an array of two axes, or bins and dimensions differ.

    Examples
    --------
    >>> import fusegrad as fg
    >>> counts, edges = fg.histogramdd([[0.0, 0.0], [1.0, 3.0]], bins=(2, 3))
    >>> counts.shape, len(edges)
    ((2, 3), 2)
    """
    tensor = as_tensor(x)
    if tensor.ndim != 2:
        raise ShapeError(
            f"histogramdd of an array of {tensor.ndim} dimensions", remedy="give one point a row"
        )
    dimensions = tensor.shape[1]
    each = [bins] * dimensions if isinstance(bins, (int, np.integer)) else list(bins)
    limits = [None] * dimensions if range is None else list(range)
    if not len(each) == len(limits) == dimensions:
        raise ShapeError(
            f"histogramdd: {len(each)} bins and {len(limits)} ranges for points of {dimensions} "
            "dimensions",
            remedy="give one for each dimension",
        )
    columns = unstack(tensor, axis=1)
    edges = [
        _edges(column, count, limit)
        for column, count, limit in zip(columns, each, limits, strict=True)
    ]
    given = () if weights is None else (as_tensor(weights),)

    def function(*nodes: Node) -> Node:
        values, between = nodes[:dimensions], nodes[dimensions : 2 * dimensions]
        own = nodes[-1] if given else None
        found = semantics.joint_counts(values, between, own, density)
        return found if weights is not None else build.cast(found, as_float(tensor.dtype))

    borders = [
        _narrowed(one, column, count)
        for one, column, count in zip(edges, columns, each, strict=True)
    ]
    return record(function, (*columns, *edges, *given)), borders
