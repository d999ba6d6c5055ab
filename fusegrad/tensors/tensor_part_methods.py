"""The methods of a Tensor that write parts, and those that arrange its axes and parts anew.

Knows the functions on nodes that they record. Each method is the function of ``fg`` with the same
name; with an underscore behind it, it changes the tensor itself, as in torch.
"""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from ..codegen.dtypes import bool_
from ..errors import DTypeError, ShapeError
from ..ir.node import Node
from ..ops import build
from ..ops.elementwise import FUNCTIONS
from ..semantics import assignment, diagonals, indexing, manipulation, positions, products
from ..semantics.promotion import promote
from ..semantics.shapes import broadcast_shapes, one_axis, show
from .tensor_indexing import Indexing, known

__all__ = ["PartMethods"]

TensorT = TypeVar("TensorT", bound="PartMethods[Any]")


def _promoted(function: Callable[[Node, Node], Node]) -> Callable[[Node, Node], Node]:
    def product(a: Node, b: Node) -> Node:
        dtype = promote(a.dtype, b.dtype)
        return function(build.cast(a, dtype), build.cast(b, dtype))

    return product


class PartMethods(Indexing[TensorT], Generic[TensorT]):
    """Writing parts, and other shapes."""

    __slots__ = ()

    @abstractmethod
    def _record(self, function: Callable[..., Node], *args: Any, **params: Any) -> TensorT:
        """The tensor whose node is ``function(node of self, *args, **params)``."""

    # --- writing at an index ----------------------------------------------------------------------

    def _scattered(
        self, function: Callable[..., Node], dim: int, index: Any, src: Any, *args: Any
    ) -> TensorT:
        value = self._coerce(src, fitting=True)
        self._fitting(value, "assign to", None)
        places = known(self._coerce(index))
        return self._record_with(function, (places, value), dim, *args)

    def scatter(self, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> TensorT:
        """Values written along an axis."""
        kind = assignment.scatter_kind(reduce)
        return self._scattered(assignment.scatter, dim, index, src, kind)

    def scatter_add(self, dim: int, index: Any, src: Any) -> TensorT:
        """Values added along an axis."""
        return self._scattered(assignment.scatter, dim, index, src, "sum")

    def scatter_reduce(
        self, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
    ) -> TensorT:
        """Values combined along an axis."""
        function = assignment.scatter_reduce
        return self._scattered(function, dim, index, src, reduce, include_self)

    def index_add(self, dim: int, index: Any, source: Any, *, alpha: float = 1) -> TensorT:
        """Slices added along an axis."""
        value = self._coerce(source)
        if alpha != 1:
            value = self._binary(FUNCTIONS["multiply"], value, alpha)
        return self._put(self._along(dim, index), value, "add")

    def index_copy(self, dim: int, index: Any, source: Any) -> TensorT:
        """Slices written along an axis."""
        return self._put(self._along(dim, index), source, "set")

    index_fill = index_copy

    def index_put(self, indices: Sequence[Any], values: Any, accumulate: bool = False) -> TensorT:
        """``y[indices] = values``, or ``+=`` in which every value counts."""
        key = tuple(slice(None) if index is None else index for index in indices)
        return self._put(key, values, "add" if accumulate else "set")

    def masked_scatter(self, mask: Any, source: Any) -> TensorT:
        """The elements of another array, in order, where a mask holds."""
        test = self._mask("masked_scatter", mask)
        shape = test._record(manipulation.broadcast_to, self.shape)
        values = self._coerce(source, fitting=True)._record(manipulation.reshape, (-1,))
        if not self.size or not values.size:
            return self._record(manipulation.reshape, self.shape)
        return self._record_with(indexing.masked_scatter, (shape, values))

    def masked_select(self, mask: Any) -> TensorT:
        """The elements where a mask holds, as a vector; not inside of compiled functions."""
        test = self._mask("masked_select", mask)
        pair = broadcast_shapes("select from", [self.shape, test.shape])
        wide = self._record(manipulation.broadcast_to, pair)
        return wide[test._record(manipulation.broadcast_to, pair)]  # type: ignore[no-any-return]

    def _mask(self, name: str, mask: Any) -> TensorT:
        test = self._coerce(mask)
        if test.dtype is not bool_:
            raise DTypeError(
                f"{name}: the mask has dtype {test.dtype}, not bool",
                remedy="compare, as in mask != 0",
            )
        return test

    def _along(self, dim: int, index: Any) -> tuple[Any, ...]:
        return (*[slice(None)] * one_axis("index", dim, self.ndim), index)

    # --- the same in place ------------------------------------------------------------------------

    def scatter_(self, dim: int, index: Any, src: Any, *, reduce: str | None = None) -> TensorT:
        """`scatter` in place."""
        return self._update(self.scatter(dim, index, src, reduce=reduce))

    def scatter_add_(self, dim: int, index: Any, src: Any) -> TensorT:
        """`scatter_add` in place."""
        return self._update(self.scatter_add(dim, index, src))

    def scatter_reduce_(
        self, dim: int, index: Any, src: Any, reduce: str, *, include_self: bool = True
    ) -> TensorT:
        """`scatter_reduce` in place."""
        return self._update(self.scatter_reduce(dim, index, src, reduce, include_self=include_self))

    def index_add_(self, dim: int, index: Any, source: Any, *, alpha: float = 1) -> TensorT:
        """`index_add` in place."""
        return self._update(self.index_add(dim, index, source, alpha=alpha))

    def index_copy_(self, dim: int, index: Any, source: Any) -> TensorT:
        """`index_copy` in place."""
        return self._update(self.index_copy(dim, index, source))

    index_fill_ = index_copy_

    def index_put_(self, indices: Sequence[Any], values: Any, accumulate: bool = False) -> TensorT:
        """`index_put` in place."""
        return self._update(self.index_put(indices, values, accumulate))

    def masked_fill_(self, mask: Any, value: Any) -> TensorT:
        """`masked_fill` in place."""
        test = self._mask("masked_fill", mask)
        return self._update(self._record_with(indexing.choose, (test, value), fitting=True))

    def masked_scatter_(self, mask: Any, source: Any) -> TensorT:
        """`masked_scatter` in place."""
        return self._update(self.masked_scatter(mask, source))

    def fill_diagonal_(self, value: Any) -> TensorT:
        """The main diagonal of a matrix set in place."""
        new = self._coerce(value, fitting=True)
        return self._update(self._record_with(diagonals.replace, (new,), 0, 0, 1))

    # --- axes and parts ---------------------------------------------------------------------------

    def moveaxis(self, source: Any, destination: Any) -> TensorT:
        """Some axes at other places, the rest in order."""
        return self._record(manipulation.moveaxis, source, destination)

    movedim = moveaxis

    def swapdims(self, dim0: int, dim1: int) -> TensorT:
        """Two axes exchanged."""
        return self._record(manipulation.swapaxes, dim0, dim1)

    def t(self) -> TensorT:
        """A matrix with rows and columns exchanged."""
        if self.ndim > 2:
            raise ShapeError(
                f"t takes a matrix, not an array of shape {show(self.shape)}",
                remedy="x.mT exchanges the last two axes",
            )
        return self._record(manipulation.permute, None)

    def as_strided(
        self, size: Sequence[int], stride: Sequence[int], storage_offset: int = 0
    ) -> TensorT:
        """The elements of the flat array at ``storage_offset + sum(index * stride)``."""
        return self._record(positions.as_strided, tuple(size), tuple(stride), storage_offset)

    def diag(self, diagonal: int = 0) -> TensorT:
        """A matrix with a vector on a diagonal, or the diagonal of a matrix."""
        return self._record(diagonals.diag, diagonal)

    def diag_embed(self, offset: int = 0, dim1: int = -2, dim2: int = -1) -> TensorT:
        """Matrices with the last axis on a diagonal."""
        return self._record(diagonals.embed, offset, dim1, dim2)

    def split(self, sizes: int | Sequence[int], dim: int = 0) -> tuple[TensorT, ...]:
        """Parts of these extents along an axis, as in torch; NumPy's is `fusegrad.split`."""
        place = one_axis("split", dim, self.ndim)
        extent = self.shape[place]
        if isinstance(sizes, int):
            if sizes < 1:
                raise ShapeError(f"split into parts of {sizes}", remedy="take a positive extent")
            sizes = [min(sizes, extent - start) for start in range(0, max(extent, 1), sizes)]
        if sum(sizes) != extent or min(sizes, default=0) < 0:
            raise ShapeError(
                f"split: parts of {list(sizes)} of an axis of extent {extent}",
                remedy="the extents of the parts add up to that of the axis",
            )
        cuts = itertools.pairwise(itertools.accumulate(sizes, initial=0))
        return tuple(self[self._along(place, slice(start, stop))] for start, stop in cuts)

    def chunk(self, chunks: int, dim: int = 0) -> tuple[TensorT, ...]:
        """At most so many parts along an axis, the last one possibly shorter."""
        if chunks < 1:
            raise ShapeError(f"chunk: {chunks} parts", remedy="ask for at least one")
        extent = self.shape[one_axis("chunk", dim, self.ndim)]
        return self.split(max(1, -(-extent // chunks)), dim)

    # --- products ---------------------------------------------------------------------------------

    def matmul(self, other: Any) -> TensorT:
        """The matrix product ``self @ other``."""
        return self._record_with(_promoted(products.matmul), (other,))

    mm = bmm = mv = matmul

    def dot(self, other: Any) -> TensorT:
        """The sum of products over the last axis and the last but one of `other`."""
        return self._record_with(_promoted(products.dot), (other,))

    def inner(self, other: Any) -> TensorT:
        """The sum of products over the last axes."""
        return self._record_with(_promoted(products.inner), (other,))

    def kron(self, other: Any) -> TensorT:
        """The Kronecker product."""
        return self._record_with(_promoted(products.kron), (other,))
