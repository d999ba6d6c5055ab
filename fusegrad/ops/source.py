"""Ops without inputs: input variables, constants, index ranges.

Knows nothing of where the values of inputs lie.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import DType, as_dtype, float32, float64, int32, int64
from ..codegen.expr import Const, Expr
from ..codegen.records import dataclass
from ..codegen.varying import Varying
from ..errors import InternalError
from ..ir.types import Symbol
from .base import (
    Array,
    Extent,
    Index,
    IndexedOp,
    Node,
    Op,
    Pattern,
    Read,
    Sample,
    TensorType,
    dtype_error,
    op_class,
)

__all__ = ["ArrayConstant", "Constant", "Input", "Iota"]


def _as(values: Any, dtype: DType) -> Array:
    return np.asarray(scalar.TABLE["cast"].meaning(values, dtype))


@op_class("input")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Input(Op):
    """A variable. Two are equal only if they have the same token (and type).

    Attributes
    ----------
    token : object
        What the input stands for; compared by identity.
    type : TensorType
    """

    token: object
    type: TensorType
    name: ClassVar[str] = "input"
    pattern: ClassVar[Pattern] = Pattern.SOURCE

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        # The op holds the token, so the id is the token's while the op lives.
        token, type_ = args
        return id(token), type_

    def infer(self, *types: TensorType) -> TensorType:
        return self.type

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return ()

    def ref(self, *arrays: Array) -> Array:
        raise InternalError("an input has no value of its own; give it in the environment")

    def params(self) -> tuple[Any, ...]:
        return (str(self.type),)


@op_class("constant", 1, float32)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Constant(IndexedOp):
    """A scalar constant: its bits and its dtype (``-0.0`` is not ``0.0``)."""

    value_: float | int | bool
    dtype: DType
    name: ClassVar[str] = "constant"
    pattern: ClassVar[Pattern] = Pattern.SOURCE

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        value, dtype = args
        if type(value) is Varying:
            return Const(value, dtype), dtype
        return (float(value).hex() if dtype.is_float else Const(value, dtype)), dtype

    @cached_property
    def const(self) -> Const:
        """The constant as a scalar expression."""
        return Const(self.value_, self.dtype)

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType((), self.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return ()

    def ref(self, *arrays: Array) -> Array:
        return _as(self.const.value, self.dtype)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return self.const

    def params(self) -> tuple[Any, ...]:
        value = self.const.value
        return (value if not self.dtype.is_float else float(value).hex(), self.dtype.name)

    def __repr__(self) -> str:
        return f"constant({self.const.value}, {self.dtype.short})"

    def samples(self) -> Iterator[Sample]:
        for value, dtype in ((1.5, float32), (-0.0, float64), (-3, int64), (True, as_dtype(bool))):
            yield Sample(Constant(value, dtype), ())


@op_class("array_constant")
@final
@dataclass(frozen=True, eq=False, repr=False)
class ArrayConstant(Op):
    """A constant array. Two are equal only if they have the same token.

    Attributes
    ----------
    token : object
        Compared by identity.
    data : numpy.ndarray
        The values; nobody changes them any more.
    """

    token: object
    data: Array
    name: ClassVar[str] = "array_constant"
    pattern: ClassVar[Pattern] = Pattern.SOURCE

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        token, data = args
        return id(token), id(data)

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(self.data.shape, as_dtype(self.data.dtype))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return ()

    def ref(self, *arrays: Array) -> Array:
        return self.data

    def params(self) -> tuple[Any, ...]:
        data = np.ascontiguousarray(self.data)
        return (str(self.infer()), data.tobytes())

    def __repr__(self) -> str:
        return f"array_constant({self.infer()})"


@op_class("iota", 3, float32)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Iota(IndexedOp):
    """0, 1, 2, ... along one axis."""

    extent: Extent
    dtype: DType
    name: ClassVar[str] = "iota"
    pattern: ClassVar[Pattern] = Pattern.SOURCE

    def infer(self, *types: TensorType) -> TensorType:
        result = TensorType((self.extent,), self.dtype)
        if self.dtype.kind == "bool":
            dtype_error("iota", (result,), "a count is no bool", "take an integer dtype")
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return ()

    def ref(self, *arrays: Array) -> Array:
        if isinstance(self.extent, Symbol):
            raise InternalError(f"the extent {self.extent} has no value")
        return _as(np.arange(self.extent), self.dtype)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return scalar.apply("cast", index[0], dtype=self.dtype)

    def samples(self) -> Iterator[Sample]:
        for extent, dtype in ((0, int64), (1, int64), (17, int32), (1023, float32)):
            yield Sample(Iota(extent, dtype), ())
