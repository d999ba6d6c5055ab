"""Elementwise functions as methods, under NumPy's and torch's names.

Knows rows of elementwise functions; how they are recorded is the business of the Tensor.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from ..codegen.dtypes import DType
from ..errors import (
    OptionError,
    ShapeError,
)
from ..ir.node import Node
from ..ops import build
from ..ops.elementwise import FUNCTIONS
from ..semantics.promotion import as_dtype
from ..semantics.shapes import as_shape, one_axis
from .device import check_device
from .elementwise_methods import ElementwiseMethods

__all__ = ["NamedMethods"]

TensorT = TypeVar("TensorT")
_ADD = FUNCTIONS["add"]


class NamedMethods(ElementwiseMethods[TensorT], Generic[TensorT]):
    """Methods that do what operators and functions of ``fg`` do."""

    __slots__ = ()

    @staticmethod
    @abstractmethod
    def _fresh(function: Callable[[], Node]) -> TensorT:
        """The tensor of a node that depends on nothing."""

    @abstractmethod
    def __getitem__(self, key: Any) -> TensorT: ...

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """The dtype of the elements."""

    @property
    def real(self) -> TensorT:
        """The real part: the value itself."""
        return self._unary(FUNCTIONS["real"])

    @property
    def imag(self) -> TensorT:
        """The imaginary part: zeros."""
        return self._unary(FUNCTIONS["imag"])

    def add(self, other: Any, *, alpha: Any = 1) -> TensorT:
        """The sum with `other`, times `alpha`."""
        return self._with(
            FUNCTIONS["add"], other if isinstance(alpha, int) and alpha == 1 else other * alpha
        )

    def sub(self, other: Any, *, alpha: Any = 1) -> TensorT:
        """The difference from `other`, times `alpha`."""
        return self._with(
            FUNCTIONS["subtract"], other if isinstance(alpha, int) and alpha == 1 else other * alpha
        )

    subtract = sub

    def div(self, other: Any, *, rounding_mode: str | None = None) -> TensorT:
        """The quotient, if `rounding_mode` is ``"floor"`` or ``"trunc"`` rounded so."""
        if rounding_mode == "floor":
            return self._with(FUNCTIONS["floor_divide"], other)
        quotient = self._with(FUNCTIONS["divide"], other)
        if rounding_mode is None:
            return quotient
        if rounding_mode != "trunc":
            raise OptionError(f"rounding_mode is 'floor' or 'trunc', not {rounding_mode!r}")
        return cast("NamedMethods[TensorT]", quotient).trunc()

    divide = div
    true_divide = div

    # parts

    def select(self, dim: int, index: int) -> TensorT:
        """The slice at one position of an axis, without the axis."""
        place = one_axis("select", dim, len(self.shape))
        return self[(*(slice(None),) * place, index)]

    def narrow(self, dim: int, start: int, length: int) -> TensorT:
        """`length` positions of an axis from `start` on."""
        place = one_axis("narrow", dim, len(self.shape))
        extent = self.shape[place]
        first = start + extent if start < 0 else start
        if length < 0 or not 0 <= first <= extent - length:
            raise ShapeError(
                f"narrow: axis {place} of extent {extent} has no {length} positions from {start}",
                remedy="start and length must stay inside of the axis",
            )
        return self[(*(slice(None),) * place, slice(first, first + length))]

    def unbind(self, dim: int = 0) -> tuple[TensorT, ...]:
        """The slices along an axis."""
        place = one_axis("unbind", dim, len(self.shape))
        return tuple(self.select(place, index) for index in range(self.shape[place]))

    # new tensors of the same dtype

    def new_full(
        self,
        size: Any,
        fill_value: Any,
        *,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
    ) -> TensorT:
        """A tensor of one value, by default of this dtype."""
        check_device(device)
        kind = self.dtype if dtype is None else as_dtype(dtype)
        fresh = self._fresh(lambda: build.full(as_shape(size), fill_value, kind))
        tensor = cast("Any", fresh)._moved(cast("Any", self).device if device is None else device)
        return cast("TensorT", tensor.requires_grad_() if requires_grad else tensor)

    def new_zeros(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> TensorT:
        """A tensor of zeros, by default of this dtype."""
        return self.new_full(size, 0, dtype=dtype, device=device, requires_grad=requires_grad)

    def new_ones(
        self, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False
    ) -> TensorT:
        """A tensor of ones, by default of this dtype."""
        return self.new_full(size, 1, dtype=dtype, device=device, requires_grad=requires_grad)

    new_empty = new_zeros

    # what it is

    def is_floating_point(self) -> bool:
        """Whether the elements are floating numbers."""
        return self.dtype.is_float

    def is_contiguous(self) -> bool:
        """True: every tensor has memory of its own, in the order of its axes."""
        return True

    def element_size(self) -> int:
        """Bytes of one element."""
        return self.dtype.itemsize
