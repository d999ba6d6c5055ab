"""The operators of a Tensor: arithmetic, comparisons, logic, matrix product, in place or not.

Knows rows of elementwise functions; how they are recorded is the business of the Tensor.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, cast

import numpy as np

from ..ops.elementwise import FUNCTIONS, Function

__all__ = ["UFUNCS", "Operators"]

TensorT = TypeVar("TensorT")

_ADD = FUNCTIONS["add"]
_SUBTRACT = FUNCTIONS["subtract"]
_MULTIPLY = FUNCTIONS["multiply"]
_DIVIDE = FUNCTIONS["divide"]
_FLOOR_DIVIDE = FUNCTIONS["floor_divide"]
_REMAINDER = FUNCTIONS["remainder"]
_POW = FUNCTIONS["pow"]
_NEGATIVE = FUNCTIONS["negative"]
_POSITIVE = FUNCTIONS["positive"]
_ABS = FUNCTIONS["abs"]
_AND = FUNCTIONS["bitwise_and"]
_OR = FUNCTIONS["bitwise_or"]
_XOR = FUNCTIONS["bitwise_xor"]
_INVERT = FUNCTIONS["bitwise_invert"]
_LEFT = FUNCTIONS["bitwise_left_shift"]
_RIGHT = FUNCTIONS["bitwise_right_shift"]
_EQUAL = FUNCTIONS["equal"]
_NOT_EQUAL = FUNCTIONS["not_equal"]
_LESS = FUNCTIONS["less"]
_LESS_EQUAL = FUNCTIONS["less_equal"]
_GREATER = FUNCTIONS["greater"]
_GREATER_EQUAL = FUNCTIONS["greater_equal"]

UFUNCS: dict[np.ufunc, Function] = {
    np.add: _ADD,
    np.subtract: _SUBTRACT,
    np.multiply: _MULTIPLY,
    np.true_divide: _DIVIDE,
    np.floor_divide: _FLOOR_DIVIDE,
    np.remainder: _REMAINDER,
    np.power: _POW,
    np.bitwise_and: _AND,
    np.bitwise_or: _OR,
    np.bitwise_xor: _XOR,
    np.left_shift: _LEFT,
    np.right_shift: _RIGHT,
    np.equal: _EQUAL,
    np.not_equal: _NOT_EQUAL,
    np.less: _LESS,
    np.less_equal: _LESS_EQUAL,
    np.greater: _GREATER,
    np.greater_equal: _GREATER_EQUAL,
}
"""What NumPy calls for ``array + tensor``: the operators whose left operand is an array."""


class Operators(ABC, Generic[TensorT]):
    """The operator protocol of the class `TensorT`; unknown operands give NotImplemented."""

    __slots__ = ()

    @staticmethod
    @abstractmethod
    def _binary(function: Function, a: Any, b: Any) -> TensorT:
        """The function of two operands, or NotImplemented."""

    @abstractmethod
    def _unary(self, function: Function) -> TensorT:
        """The function of this tensor."""

    @abstractmethod
    def _matmul(self, other: Any, swapped: bool) -> TensorT:
        """The matrix product with `other`, or NotImplemented."""

    @abstractmethod
    def _is_number(self) -> bool:
        """Whether the tensor stands for a number, which nothing changes."""

    @abstractmethod
    def _update(self, result: TensorT) -> TensorT:
        """This tensor, with the value of `result` from now on."""

    # arithmetic

    def __add__(self, other: Any) -> TensorT:
        return self._binary(_ADD, self, other)

    def __radd__(self, other: Any) -> TensorT:
        return self._binary(_ADD, other, self)

    def __sub__(self, other: Any) -> TensorT:
        return self._binary(_SUBTRACT, self, other)

    def __rsub__(self, other: Any) -> TensorT:
        return self._binary(_SUBTRACT, other, self)

    def __mul__(self, other: Any) -> TensorT:
        return self._binary(_MULTIPLY, self, other)

    def __rmul__(self, other: Any) -> TensorT:
        return self._binary(_MULTIPLY, other, self)

    def __truediv__(self, other: Any) -> TensorT:
        return self._binary(_DIVIDE, self, other)

    def __rtruediv__(self, other: Any) -> TensorT:
        return self._binary(_DIVIDE, other, self)

    def __floordiv__(self, other: Any) -> TensorT:
        return self._binary(_FLOOR_DIVIDE, self, other)

    def __rfloordiv__(self, other: Any) -> TensorT:
        return self._binary(_FLOOR_DIVIDE, other, self)

    def __mod__(self, other: Any) -> TensorT:
        return self._binary(_REMAINDER, self, other)

    def __rmod__(self, other: Any) -> TensorT:
        return self._binary(_REMAINDER, other, self)

    def __divmod__(self, other: Any) -> tuple[TensorT, TensorT]:
        return self._binary(_FLOOR_DIVIDE, self, other), self._binary(_REMAINDER, self, other)

    def __rdivmod__(self, other: Any) -> tuple[TensorT, TensorT]:
        return self._binary(_FLOOR_DIVIDE, other, self), self._binary(_REMAINDER, other, self)

    def __pow__(self, other: Any) -> TensorT:
        return self._binary(_POW, self, other)

    def __rpow__(self, other: Any) -> TensorT:
        return self._binary(_POW, other, self)

    def __matmul__(self, other: Any) -> TensorT:
        return self._matmul(other, False)

    def __rmatmul__(self, other: Any) -> TensorT:
        return self._matmul(other, True)

    def __neg__(self) -> TensorT:
        return self._unary(_NEGATIVE)

    def __pos__(self) -> TensorT:
        return self._unary(_POSITIVE)

    def __abs__(self) -> TensorT:
        return self._unary(_ABS)

    # bits and logic

    def __and__(self, other: Any) -> TensorT:
        return self._binary(_AND, self, other)

    def __rand__(self, other: Any) -> TensorT:
        return self._binary(_AND, other, self)

    def __or__(self, other: Any) -> TensorT:
        return self._binary(_OR, self, other)

    def __ror__(self, other: Any) -> TensorT:
        return self._binary(_OR, other, self)

    def __xor__(self, other: Any) -> TensorT:
        return self._binary(_XOR, self, other)

    def __rxor__(self, other: Any) -> TensorT:
        return self._binary(_XOR, other, self)

    def __lshift__(self, other: Any) -> TensorT:
        return self._binary(_LEFT, self, other)

    def __rlshift__(self, other: Any) -> TensorT:
        return self._binary(_LEFT, other, self)

    def __rshift__(self, other: Any) -> TensorT:
        return self._binary(_RIGHT, self, other)

    def __rrshift__(self, other: Any) -> TensorT:
        return self._binary(_RIGHT, other, self)

    def __invert__(self) -> TensorT:
        return self._unary(_INVERT)

    # comparisons

    def __eq__(self, other: Any) -> TensorT:  # type: ignore[override]
        return self._binary(_EQUAL, self, other)

    def __ne__(self, other: Any) -> TensorT:  # type: ignore[override]
        return self._binary(_NOT_EQUAL, self, other)

    def __lt__(self, other: Any) -> TensorT:
        return self._binary(_LESS, self, other)

    def __le__(self, other: Any) -> TensorT:
        return self._binary(_LESS_EQUAL, self, other)

    def __gt__(self, other: Any) -> TensorT:
        return self._binary(_GREATER, self, other)

    def __ge__(self, other: Any) -> TensorT:
        return self._binary(_GREATER_EQUAL, self, other)

    __hash__ = object.__hash__

    # in place

    def _in_place(self, function: Function, other: Any) -> TensorT:
        result = self._binary(function, self, other)
        return result if cast("Any", result) is NotImplemented else self._update(result)

    def _augmented(self, function: Function, other: Any) -> TensorT:
        """`_in_place`, but another tensor for what stands for a number: as Python does it."""
        if self._is_number():
            return self._binary(function, self, other)
        return self._in_place(function, other)

    def __iadd__(self, other: Any) -> TensorT:
        return self._augmented(_ADD, other)

    def __isub__(self, other: Any) -> TensorT:
        return self._augmented(_SUBTRACT, other)

    def __imul__(self, other: Any) -> TensorT:
        return self._augmented(_MULTIPLY, other)

    def __itruediv__(self, other: Any) -> TensorT:
        return self._augmented(_DIVIDE, other)

    def __ifloordiv__(self, other: Any) -> TensorT:
        return self._augmented(_FLOOR_DIVIDE, other)

    def __imod__(self, other: Any) -> TensorT:
        return self._augmented(_REMAINDER, other)

    def __ipow__(self, other: Any) -> TensorT:
        return self._augmented(_POW, other)

    def __iand__(self, other: Any) -> TensorT:
        return self._augmented(_AND, other)

    def __ior__(self, other: Any) -> TensorT:
        return self._augmented(_OR, other)

    def __ixor__(self, other: Any) -> TensorT:
        return self._augmented(_XOR, other)

    def __ilshift__(self, other: Any) -> TensorT:
        return self._augmented(_LEFT, other)

    def __irshift__(self, other: Any) -> TensorT:
        return self._augmented(_RIGHT, other)

    def __imatmul__(self, other: Any) -> TensorT:
        result = self._matmul(other, False)
        return result if cast("Any", result) is NotImplemented else self._update(result)
