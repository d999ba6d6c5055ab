"""The methods of a Tensor that compute a new one: reductions, movement, elementwise functions.

Knows the functions on nodes that they record; how is the business of the Tensor. Each method is the
function of ``fg`` with the same name; where torch and NumPy name an argument differently, both do.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from ..codegen.dtypes import DType
from ..errors import ArgumentTypeError
from ..ir.node import Node
from ..ops import build
from ..ops.elementwise import FUNCTIONS
from ..semantics import indexing, manipulation, reductions
from ..semantics.promotion import as_dtype
from ..semantics.shapes import as_shape
from .elementwise_methods import ElementwiseMethods

__all__ = ["Axis", "Methods", "pick_axis", "pick_keepdims"]

Axis = int | Iterable[int] | None
TensorT = TypeVar("TensorT")


class HasShape(Protocol):
    """A tensor or an array."""

    @property
    def shape(self) -> tuple[int, ...]: ...


def pick_axis(axis: Any, dim: Any) -> Any:
    """The axis, under whichever of its two names it was given."""
    if dim is None:
        return axis
    if axis is not None:
        raise ArgumentTypeError("axis and dim are two names of one argument: give one of them")
    return dim


def pick_keepdims(keepdims: bool, keepdim: bool | None) -> bool:
    """Whether reduced axes stay, under whichever name it was given."""
    return keepdims if keepdim is None else keepdim


class Methods(ElementwiseMethods[TensorT], Generic[TensorT]):
    """Methods from a tensor to a new one, of the class `TensorT`."""

    __slots__ = ()

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """The dtype of the elements."""

    @abstractmethod
    def _record(self, function: Callable[..., Node], *args: Any, **params: Any) -> TensorT:
        """The tensor whose node is ``function(node of self, *args, **params)``."""

    @abstractmethod
    def _record_with(
        self,
        function: Callable[..., Node],
        others: Sequence[Any],
        *args: Any,
        fitting: bool = False,
        **params: Any,
    ) -> TensorT:
        """The tensor of ``function(node of self, *nodes of others, *args)``.

        If `fitting`, numbers among the others take the dtype of this tensor.
        """

    # reductions

    def _reduce(
        self,
        function: Callable[..., Node],
        axis: Axis,
        keepdims: bool,
        dim: Axis,
        keepdim: bool | None,
        **params: Any,
    ) -> TensorT:
        axis = pick_axis(axis, dim)
        return self._record(function, axis, keepdims=pick_keepdims(keepdims, keepdim), **params)

    def sum(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dtype: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The sum, see `fusegrad.sum`."""
        kind = None if dtype is None else as_dtype(dtype)
        return self._reduce(reductions.sum_, axis, keepdims, dim, keepdim, dtype=kind)

    def prod(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dtype: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The product, see `fusegrad.prod`."""
        kind = None if dtype is None else as_dtype(dtype)
        return self._reduce(reductions.prod, axis, keepdims, dim, keepdim, dtype=kind)

    def mean(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dtype: Any = None,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The mean, see `fusegrad.mean`."""
        kind = None if dtype is None else as_dtype(dtype)
        return self._reduce(reductions.mean, axis, keepdims, dim, keepdim, dtype=kind)

    def var(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        correction: float = 0.0,
        dim: Axis = None,
        keepdim: bool | None = None,
        ddof: float | None = None,
        unbiased: bool | None = None,
    ) -> TensorT:
        """The variance, see `fusegrad.var`."""
        less = reductions.lessened(correction, ddof, unbiased)
        return self._reduce(reductions.var, axis, keepdims, dim, keepdim, correction=less)

    def std(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        correction: float = 0.0,
        dim: Axis = None,
        keepdim: bool | None = None,
        ddof: float | None = None,
        unbiased: bool | None = None,
    ) -> TensorT:
        """The standard deviation, see `fusegrad.std`."""
        less = reductions.lessened(correction, ddof, unbiased)
        return self._reduce(reductions.std, axis, keepdims, dim, keepdim, correction=less)

    def max(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The largest element; of two tensors the larger ones. See `fusegrad.max`."""
        if isinstance(axis, Methods):
            return self.maximum(axis)
        return self._reduce(reductions.max_, axis, keepdims, dim, keepdim)

    def min(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The smallest element; of two tensors the smaller ones. See `fusegrad.min`."""
        if isinstance(axis, Methods):
            return self.minimum(axis)
        return self._reduce(reductions.min_, axis, keepdims, dim, keepdim)

    amax, amin = max, min

    def any(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """Whether some element is not zero, see `fusegrad.any`."""
        return self._reduce(reductions.any_, axis, keepdims, dim, keepdim)

    def all(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """Whether no element is zero, see `fusegrad.all`."""
        return self._reduce(reductions.all_, axis, keepdims, dim, keepdim)

    def argmax(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The index of the largest element, see `fusegrad.argmax`."""
        return self._reduce(reductions.argmax, axis, keepdims, dim, keepdim)

    def argmin(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The index of the smallest element, see `fusegrad.argmin`."""
        return self._reduce(reductions.argmin, axis, keepdims, dim, keepdim)

    def logsumexp(
        self,
        axis: Axis = None,
        keepdims: bool = False,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The logarithm of the sum of exponentials, see `fusegrad.logsumexp`."""
        return self._reduce(reductions.logsumexp, axis, keepdims, dim, keepdim)

    # shapes

    def reshape(self, *shape: Any) -> TensorT:
        """The same elements under another shape; one extent may be -1."""
        return self._record(manipulation.reshape, as_shape(shape))

    def view(self, *shape: Any) -> TensorT:
        """The same elements under another shape, or their bits as a dtype of the same width."""
        if len(shape) == 1 and isinstance(shape[0], (DType, str, type, np.dtype)):
            return self._record(build.bitcast, as_dtype(shape[0]))
        return self.reshape(*shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> TensorT:
        """The axes from `start_dim` to `end_dim`, both included, as one."""
        return self._record(manipulation.flatten, start_dim, end_dim)

    ravel = flatten

    def permute(self, *axes: Any) -> TensorT:
        """The axes in another order."""
        return self._record(manipulation.permute, as_shape(axes))

    def transpose(self, *axes: Any) -> TensorT:
        """Two axes exchanged, as in torch; with no or more axes an order of all, as in NumPy."""
        order = as_shape(axes) if axes else None
        if order is not None and len(order) == 2 and not isinstance(axes[0], (tuple, list)):
            return self._record(manipulation.swapaxes, *order)
        return self._record(manipulation.permute, order)

    def swapaxes(self, axis1: int, axis2: int) -> TensorT:
        """Two axes exchanged."""
        return self._record(manipulation.swapaxes, axis1, axis2)

    @property
    def T(self) -> TensorT:
        """The axes in reverse order."""
        return self._record(manipulation.permute, None)

    @property
    def mT(self) -> TensorT:
        """The last two axes exchanged."""
        return self._record(manipulation.matrix_transpose)

    def squeeze(self, axis: Axis = None, *, dim: Axis = None) -> TensorT:
        """Without axes of extent 1; named axes of another extent stay, as in torch."""
        return self._record(manipulation.squeeze, pick_axis(axis, dim), strict=False)

    def unsqueeze(self, dim: int) -> TensorT:
        """A new axis of extent 1."""
        return self._record(manipulation.expand_dims, dim)

    def expand(self, *shape: Any) -> TensorT:
        """Axes of extent 1 repeated; -1 keeps the extent."""
        return self._record(manipulation.expand, as_shape(shape))

    def broadcast_to(self, *shape: Any) -> TensorT:
        """Axes of extent 1 and new leading axes repeated."""
        return self._record(manipulation.broadcast_to, as_shape(shape))

    def expand_as(self, other: HasShape) -> TensorT:
        """`expand` to the shape of another tensor."""
        return self._record(manipulation.broadcast_to, other.shape)

    def reshape_as(self, other: HasShape) -> TensorT:
        """`reshape` to the shape of another tensor."""
        return self._record(manipulation.reshape, other.shape)

    view_as = reshape_as

    def flip(self, axis: Any = None, *more: int, dim: Axis = None, dims: Axis = None) -> TensorT:
        """The elements in reverse order along some axes, all of them by default."""
        if more:
            axis = (axis, *more)
        return self._record(manipulation.flip, pick_axis(pick_axis(axis, dim), dims))

    def repeat(self, *repetitions: Any) -> TensorT:
        """The whole array repeated along each axis, as in torch; NumPy's is `fusegrad.repeat`."""
        return self._record(manipulation.tile, as_shape(repetitions))

    def roll(
        self,
        shift: int | Sequence[int],
        axis: int | Sequence[int] | None = None,
        *,
        dims: int | Sequence[int] | None = None,
    ) -> TensorT:
        """The elements moved along axes, those that leave at one end enter at the other."""
        return self._record(manipulation.roll, shift, pick_axis(axis, dims))

    def tril(self, k: int = 0, *, diagonal: int | None = None) -> TensorT:
        """The elements on and below a diagonal."""
        return self._record(manipulation.triangle, k if diagonal is None else diagonal, lower=True)

    def triu(self, k: int = 0, *, diagonal: int | None = None) -> TensorT:
        """The elements on and above a diagonal."""
        return self._record(manipulation.triangle, k if diagonal is None else diagonal, lower=False)

    # picking

    def take(self, indices: Any, axis: int | None = None, mode: str | None = None) -> TensorT:
        """Slices along an axis, picked by index; by default of the flat array."""
        if axis is None:
            return self._record_with(indexing.take_flat, (indices,), mode)
        return self._record_with(indexing.take, (indices,), axis, mode)

    def index_select(self, dim: int, index: Any) -> TensorT:
        """`take` under torch's name."""
        return self.take(index, dim)

    def gather(self, dim: int, index: Any) -> TensorT:
        """Elements picked by index along one axis, each from its own row."""
        return self._record_with(indexing.gather, (index,), dim)

    def masked_fill(self, mask: Any, value: Any) -> TensorT:
        """Another value where the mask holds, which broadcasts."""
        return self._record_with(indexing.choose, (mask, value), fitting=True)

    # elementwise

    def pow(self, exponent: Any) -> TensorT:
        """The elements to a power."""
        return self._binary(FUNCTIONS["pow"], self, exponent)

    def clip(self, min: Any = None, max: Any = None) -> TensorT:
        """The elements, moved to the nearest of two bounds where they lie outside."""
        result: Any = self
        limits = np.iinfo(self.dtype.numpy) if self.dtype.is_integer else None
        if min is not None and not (limits and isinstance(min, int) and min <= limits.min):
            result = self._binary(FUNCTIONS["maximum"], result, min)
        if max is not None and not (limits and isinstance(max, int) and max >= limits.max):
            result = self._binary(FUNCTIONS["minimum"], result, max)
        return self._unary(FUNCTIONS["positive"]) if result is self else result  # type: ignore[no-any-return]

    clamp = clip
