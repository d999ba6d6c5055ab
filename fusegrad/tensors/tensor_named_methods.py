"""Elementwise functions as methods, under NumPy's and torch's names.

Knows rows of elementwise functions; how they are recorded is the business of the Tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

from ..codegen.dtypes import DType
from ..errors import ShapeError
from ..ir.node import Node
from ..ops import build
from ..semantics.elementwise import FUNCTIONS, Function
from ..semantics.promotion import as_dtype
from ..semantics.shapes import as_shape, one_axis

__all__ = ["NamedMethods"]

TensorT = TypeVar("TensorT")


class NamedMethods(ABC, Generic[TensorT]):
    """Methods that do what operators and functions of ``fg`` do."""

    __slots__ = ()

    @abstractmethod
    def _unary(self, function: Function) -> TensorT:
        """The elementwise function of this tensor."""

    @staticmethod
    @abstractmethod
    def _binary(function: Function, a: Any, b: Any) -> TensorT:
        """The elementwise function of two operands."""

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

    # one operand

    def negative(self) -> TensorT:
        """The value with the other sign."""
        return self._unary(FUNCTIONS["negative"])

    def absolute(self) -> TensorT:
        """The absolute value."""
        return self._unary(FUNCTIONS["abs"])

    def tan(self) -> TensorT:
        """The tangent."""
        return self._unary(FUNCTIONS["tan"])

    def asin(self) -> TensorT:
        """The arc sine."""
        return self._unary(FUNCTIONS["asin"])

    arcsin = asin

    def acos(self) -> TensorT:
        """The arc cosine."""
        return self._unary(FUNCTIONS["acos"])

    arccos = acos

    def atan(self) -> TensorT:
        """The arc tangent."""
        return self._unary(FUNCTIONS["atan"])

    arctan = atan

    def sinh(self) -> TensorT:
        """The hyperbolic sine."""
        return self._unary(FUNCTIONS["sinh"])

    def cosh(self) -> TensorT:
        """The hyperbolic cosine."""
        return self._unary(FUNCTIONS["cosh"])

    def asinh(self) -> TensorT:
        """The inverse hyperbolic sine."""
        return self._unary(FUNCTIONS["asinh"])

    arcsinh = asinh

    def acosh(self) -> TensorT:
        """The inverse hyperbolic cosine."""
        return self._unary(FUNCTIONS["acosh"])

    arccosh = acosh

    def atanh(self) -> TensorT:
        """The inverse hyperbolic tangent."""
        return self._unary(FUNCTIONS["atanh"])

    arctanh = atanh

    def exp2(self) -> TensorT:
        """2 to the power of the elements."""
        return self._unary(FUNCTIONS["exp2"])

    def expm1(self) -> TensorT:
        """The exponential less 1, without cancellation."""
        return self._unary(FUNCTIONS["expm1"])

    def log2(self) -> TensorT:
        """The logarithm to base 2."""
        return self._unary(FUNCTIONS["log2"])

    def log10(self) -> TensorT:
        """The logarithm to base 10."""
        return self._unary(FUNCTIONS["log10"])

    def erfc(self) -> TensorT:
        """1 less the error function, without cancellation."""
        return self._unary(FUNCTIONS["erfc"])

    def trunc(self) -> TensorT:
        """The integer part."""
        return self._unary(FUNCTIONS["trunc"])

    fix = trunc

    def isnan(self) -> TensorT:
        """Whether the elements are NaN."""
        return self._unary(FUNCTIONS["isnan"])

    def isinf(self) -> TensorT:
        """Whether the elements are infinite."""
        return self._unary(FUNCTIONS["isinf"])

    def isfinite(self) -> TensorT:
        """Whether the elements are neither NaN nor infinite."""
        return self._unary(FUNCTIONS["isfinite"])

    def signbit(self) -> TensorT:
        """Whether the sign bit is set."""
        return self._unary(FUNCTIONS["signbit"])

    def bitwise_not(self) -> TensorT:
        """The value with all bits turned."""
        return self._unary(FUNCTIONS["bitwise_invert"])

    def conj(self) -> TensorT:
        """The complex conjugate; all numbers here are real."""
        return self._unary(FUNCTIONS["conj"])

    conjugate = conj

    @property
    def real(self) -> TensorT:
        """The real part: the value itself."""
        return self._unary(FUNCTIONS["real"])

    @property
    def imag(self) -> TensorT:
        """The imaginary part: zeros."""
        return self._unary(FUNCTIONS["imag"])

    # two operands

    def _with(self, name: str, other: Any) -> TensorT:
        result = self._binary(FUNCTIONS[name], self, other)
        if cast("Any", result) is NotImplemented:
            raise TypeError(f"{name} of a tensor and a {type(other).__name__}")
        return result

    def add(self, other: Any, *, alpha: Any = 1) -> TensorT:
        """The sum with `other`, times `alpha`."""
        return self._with("add", other if isinstance(alpha, int) and alpha == 1 else other * alpha)

    def sub(self, other: Any, *, alpha: Any = 1) -> TensorT:
        """The difference from `other`, times `alpha`."""
        return self._with(
            "subtract", other if isinstance(alpha, int) and alpha == 1 else other * alpha
        )

    subtract = sub

    def div(self, other: Any, *, rounding_mode: str | None = None) -> TensorT:
        """The quotient, if `rounding_mode` is ``"floor"`` or ``"trunc"`` rounded so."""
        if rounding_mode == "floor":
            return self._with("floor_divide", other)
        quotient = self._with("divide", other)
        if rounding_mode is None:
            return quotient
        if rounding_mode != "trunc":
            raise ValueError(f"rounding_mode is 'floor' or 'trunc', not {rounding_mode!r}")
        return cast("NamedMethods[TensorT]", quotient).trunc()

    divide = div
    true_divide = div

    def mul(self, other: Any) -> TensorT:
        """The product."""
        return self._with("multiply", other)

    multiply = mul

    def floor_divide(self, other: Any) -> TensorT:
        """The quotient, rounded down."""
        return self._with("floor_divide", other)

    def remainder(self, other: Any) -> TensorT:
        """What `floor_divide` leaves; it has the sign of `other`."""
        return self._with("remainder", other)

    def atan2(self, other: Any) -> TensorT:
        """The angle of the point with these coordinates."""
        return self._with("atan2", other)

    arctan2 = atan2

    def hypot(self, other: Any) -> TensorT:
        """The length of the vector with these coordinates."""
        return self._with("hypot", other)

    def copysign(self, other: Any) -> TensorT:
        """The size of the elements with the sign of `other`."""
        return self._with("copysign", other)

    def logaddexp(self, other: Any) -> TensorT:
        """The logarithm of the sum of exponentials."""
        return self._with("logaddexp", other)

    def eq(self, other: Any) -> TensorT:
        """Whether the elements are equal."""
        return self._with("equal", other)

    def ne(self, other: Any) -> TensorT:
        """Whether the elements differ."""
        return self._with("not_equal", other)

    not_equal = ne

    def lt(self, other: Any) -> TensorT:
        """Whether the elements are less."""
        return self._with("less", other)

    less = lt

    def le(self, other: Any) -> TensorT:
        """Whether the elements are less or equal."""
        return self._with("less_equal", other)

    less_equal = le

    def gt(self, other: Any) -> TensorT:
        """Whether the elements are greater."""
        return self._with("greater", other)

    greater = gt

    def ge(self, other: Any) -> TensorT:
        """Whether the elements are greater or equal."""
        return self._with("greater_equal", other)

    greater_equal = ge

    def logical_and(self, other: Any) -> TensorT:
        """Whether both are not zero."""
        return self._with("logical_and", other)

    def logical_or(self, other: Any) -> TensorT:
        """Whether one or both are not zero."""
        return self._with("logical_or", other)

    def logical_xor(self, other: Any) -> TensorT:
        """Whether exactly one is not zero."""
        return self._with("logical_xor", other)

    def bitwise_and(self, other: Any) -> TensorT:
        """The bits that both have."""
        return self._with("bitwise_and", other)

    def bitwise_or(self, other: Any) -> TensorT:
        """The bits that one or both have."""
        return self._with("bitwise_or", other)

    def bitwise_xor(self, other: Any) -> TensorT:
        """The bits that exactly one has."""
        return self._with("bitwise_xor", other)

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

    def new_full(self, size: Any, fill_value: Any, *, dtype: Any = None) -> TensorT:
        """A tensor of one value, by default of this dtype."""
        kind = self.dtype if dtype is None else as_dtype(dtype)
        return self._fresh(lambda: build.full(as_shape(size), fill_value, kind))

    def new_zeros(self, *size: Any, dtype: Any = None) -> TensorT:
        """A tensor of zeros, by default of this dtype."""
        return self.new_full(size, 0, dtype=dtype)

    def new_ones(self, *size: Any, dtype: Any = None) -> TensorT:
        """A tensor of ones, by default of this dtype."""
        return self.new_full(size, 1, dtype=dtype)

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
