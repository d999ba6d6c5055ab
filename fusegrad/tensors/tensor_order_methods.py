"""The methods of a Tensor that depend on order: cumulative ones, sorting, medians and quantiles.

Knows the functions on nodes that they record. Each method is the function of ``fg`` with the same
name.
"""

from __future__ import annotations

import operator
from abc import abstractmethod
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from ..codegen.dtypes import as_dtype
from ..errors import OptionError
from ..semantics import cumulative, quantiles, sorting
from .tensor_methods import Axis, Methods, pick_axis, pick_keepdims

__all__ = ["OrderMethods", "Ranked"]

TensorT = TypeVar("TensorT")


class Ranked(NamedTuple, Generic[TensorT]):
    """Elements that were picked by rank, and where they are.

    Attributes
    ----------
    values : Tensor
    indices : Tensor
        Of int64.
    """

    values: TensorT
    indices: TensorT


class OrderMethods(Methods[TensorT], Generic[TensorT]):
    """Methods whose result depends on the order of the elements."""

    __slots__ = ()

    @abstractmethod
    def _coerce(self, value: Any, fitting: bool = False) -> TensorT:
        """The value as a tensor."""

    @abstractmethod
    def _look_for_shape(self, what: str, remedy: str | None = None) -> Any:
        """The values, which the shape of a result depends on."""

    def nonzero(self, *, as_tuple: bool = True) -> Any:
        """Where the elements are that are not zero, see `fusegrad.nonzero`.

        Without `as_tuple` the indices are the rows of one tensor, as in torch.
        """
        values = self._look_for_shape("nonzero()")
        if not as_tuple:
            return self._coerce(np.argwhere(values))
        return tuple(map(self._coerce, np.atleast_1d(values).nonzero()))

    def argwhere(self) -> TensorT:
        """The indices of the elements that are not zero, see `fusegrad.argwhere`."""
        return self._coerce(np.argwhere(self._look_for_shape("argwhere()")))

    def cumsum(
        self,
        axis: int | None = None,
        dtype: Any = None,
        *,
        dim: int | None = None,
        reverse: bool = False,
    ) -> TensorT:
        """The sum of each element and all before it, see `fusegrad.cumsum`."""
        kind = None if dtype is None else as_dtype(dtype)
        return self._record(cumulative.cumsum, pick_axis(axis, dim), kind, reverse)

    def cumprod(
        self,
        axis: int | None = None,
        dtype: Any = None,
        *,
        dim: int | None = None,
        reverse: bool = False,
    ) -> TensorT:
        """The product of each element and all before it, see `fusegrad.cumprod`."""
        kind = None if dtype is None else as_dtype(dtype)
        return self._record(cumulative.cumprod, pick_axis(axis, dim), kind, reverse)

    def logcumsumexp(
        self, axis: int | None = None, *, dim: int | None = None, reverse: bool = False
    ) -> TensorT:
        """The logarithm of cumulative sums of exponentials, see `fusegrad.logcumsumexp`."""
        return self._record(cumulative.logcumsumexp, pick_axis(axis, dim), reverse)

    def sort(
        self, axis: int | None = -1, descending: bool = False, *, dim: int | None = None
    ) -> TensorT:
        """The elements in order, see `fusegrad.sort`."""
        return self._record(sorting.sort, dim if dim is not None else axis, descending)

    def argsort(
        self, axis: int | None = -1, descending: bool = False, *, dim: int | None = None
    ) -> TensorT:
        """The places of the elements in order, see `fusegrad.argsort`."""
        return self._record(sorting.argsort, dim if dim is not None else axis, descending)

    def median(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The middle of the elements in order, see `fusegrad.median`."""
        return self._reduce(quantiles.median, axis, keepdims, dim, keepdim, skip_nan=False)

    def nanmedian(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The median of what is no NaN, see `fusegrad.nanmedian`."""
        return self._reduce(quantiles.median, axis, keepdims, dim, keepdim, skip_nan=True)

    def quantile(
        self,
        q: Any,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        method: str = "linear",
        interpolation: str | None = None,
        weights: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The value below which a fraction of the elements lies, see `fusegrad.quantile`."""
        axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
        rule = interpolation or method
        return self._quantile("quantile", q, 1.0, axes, rule, keep, False, weights)

    def nanquantile(
        self,
        q: Any,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        method: str = "linear",
        interpolation: str | None = None,
        weights: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The quantile of what is no NaN, see `fusegrad.nanquantile`."""
        axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
        rule = interpolation or method
        return self._quantile("nanquantile", q, 1.0, axes, rule, keep, True, weights)

    def percentile(
        self,
        q: Any,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        method: str = "linear",
        interpolation: str | None = None,
        weights: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The quantile by percentages, see `fusegrad.percentile`."""
        axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
        rule = interpolation or method
        return self._quantile("percentile", q, 100.0, axes, rule, keep, False, weights)

    def nanpercentile(
        self,
        q: Any,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        method: str = "linear",
        interpolation: str | None = None,
        weights: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The percentile of what is no NaN, see `fusegrad.nanpercentile`."""
        axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
        rule = interpolation or method
        return self._quantile("nanpercentile", q, 100.0, axes, rule, keep, True, weights)

    def _quantile(
        self,
        name: str,
        q: Any,
        whole: float,
        axis: Axis,
        method: str,
        keepdims: bool,
        skip_nan: bool,
        weights: Any,
    ) -> TensorT:
        methods = quantiles.METHODS
        if method not in methods:
            raise OptionError(f"{name}: no method {method!r}; the methods are {', '.join(methods)}")
        if not isinstance(q, OrderMethods):
            q = np.asarray(q, np.float64)
            if not np.all((q >= 0) & (q <= whole)):
                raise OptionError(f"{name}: q must be between 0 and {whole:g}, not {q.tolist()}")
        if weights is None:
            return self._record_with(
                quantiles.quantile, (q,), axis, method, keepdims, skip_nan, whole
            )
        if method != "inverted_cdf":
            raise OptionError(f'{name}: weights are for the method "inverted_cdf", not {method!r}')
        return self._record_with(
            quantiles.weighted_quantile, (q, weights), axis, keepdims, skip_nan, whole
        )

    def cummax(
        self, axis: int | None = None, *, dim: int | None = None, reverse: bool = False
    ) -> Ranked[TensorT]:
        """The largest of each element and all before it, see `fusegrad.cummax`."""
        return self._extreme(pick_axis(axis, dim), largest=True, reverse=reverse)

    def cummin(
        self, axis: int | None = None, *, dim: int | None = None, reverse: bool = False
    ) -> Ranked[TensorT]:
        """The smallest of each element and all before it, see `fusegrad.cummin`."""
        return self._extreme(pick_axis(axis, dim), largest=False, reverse=reverse)

    def _extreme(self, axis: int | None, largest: bool, reverse: bool) -> Ranked[TensorT]:
        values = self._record(cumulative.cumulative_extreme, axis, largest, reverse)
        return Ranked(values, self._record(cumulative.extreme_places, axis, largest, reverse))

    def topk(
        self,
        k: int,
        axis: int = -1,
        largest: bool = True,
        sorted: bool = True,
        *,
        dim: int | None = None,
    ) -> Ranked[TensorT]:
        """The largest elements along an axis, see `fusegrad.topk`."""
        place = axis if dim is None else dim
        indices = self._record(sorting.top_places, operator.index(k), place, largest)
        return Ranked(self._record_with(sorting.pick, (indices,), place), indices)

    def kthvalue(
        self,
        k: int,
        axis: int = -1,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool | None = None,
    ) -> Ranked[TensorT]:
        """The element of a rank along an axis, see `fusegrad.kthvalue`."""
        place = axis if dim is None else dim
        keep = pick_keepdims(keepdims, keepdim)
        indices = self._record(sorting.kth_place, operator.index(k), place, keep)
        return Ranked(self._record_with(sorting.pick, (indices,), place), indices)

    def mode(
        self,
        axis: int = -1,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool | None = None,
    ) -> Ranked[TensorT]:
        """The most frequent element along an axis, see `fusegrad.mode`."""
        place = axis if dim is None else dim
        indices = self._record(sorting.mode_places, place, pick_keepdims(keepdims, keepdim))
        return Ranked(self._record_with(sorting.pick, (indices,), place), indices)
