"""A C function of numbers, applied to every element.

Knows the function by its C signature; a compiled program calls it from a native loop.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any, ClassVar, final

import numpy as np

from ..codegen.dtypes import DType
from ..codegen.records import dataclass
from .base import (
    Array,
    CallOp,
    InputSpec,
    Node,
    Sample,
    TensorType,
    dtype_error,
    op_class,
    shape_error,
)
from .batch import spread

__all__ = ["NativeFunction", "NativeMap"]

_numbers = itertools.count()


@final
class NativeFunction:
    """A C function of numbers.

    Attributes
    ----------
    name : str
        For messages.
    call : callable
        The function for Python numbers. It keeps the code alive.
    address : int
    operands : tuple of DType
        The types of its arguments.
    result : DType
    number : int
        Its own in this process: functions of one name differ.
    """

    __slots__ = ("address", "call", "name", "number", "operands", "result")

    def __init__(
        self,
        name: str,
        call: Callable[..., Any],
        address: int,
        operands: tuple[DType, ...],
        result: DType,
    ) -> None:
        self.name = name
        self.call = call
        self.address = address
        self.operands = operands
        self.result = result
        self.number = next(_numbers)


@op_class("native")
@final
@dataclass(frozen=True, eq=False, repr=False)
class NativeMap(CallOp):
    """A C function applied to every element of operands of equal shape; it has no derivative."""

    function: NativeFunction
    name: ClassVar[str] = "native"
    widens: ClassVar[bool] = False

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        # The op holds the function, so the id is its own while the op lives.
        return id(args[0])

    def infer(self, *types: TensorType) -> TensorType:
        function = self.function
        if tuple(t.dtype for t in types) != function.operands:
            wanted = ", ".join(map(str, function.operands))
            dtype_error(function.name, types, f"it takes {wanted}", "convert with .astype() first")
        shape = types[0].shape
        if any(t.shape != shape for t in types):
            shape_error(function.name, types, "the shapes differ", "broadcast the operands")
        return TensorType(shape, function.result)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(spread(operands, batched)))

    def ref(self, *arrays: Array) -> Array:
        function = self.function
        flat = [np.ravel(array).tolist() for array in arrays]
        values = [function.call(*numbers) for numbers in zip(*flat, strict=True)]
        return np.array(values, function.result.numpy).reshape(arrays[0].shape)

    def params(self) -> tuple[Any, ...]:
        function = self.function
        types = tuple(dtype.name for dtype in (*function.operands, function.result))
        return (function.name, function.number, types)

    def __repr__(self) -> str:
        return self.function.name

    def samples(self) -> Iterator[Sample]:
        for shape in ((), (3,), (0, 2), (5, 7)):
            specs = tuple(InputSpec(shape, dtype) for dtype in self.function.operands)
            yield Sample(self, specs, gradient=False)
