"""Elementwise functions as methods: what the rows of `ops.elementwise` are to a tensor.

Their names and types are in the stub beside this file, which a test writes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from ..errors import ArgumentTypeError
from ..ops.elementwise import FUNCTIONS, Function

__all__ = ["ElementwiseMethods"]

TensorT = TypeVar("TensorT")


class ElementwiseMethods(ABC, Generic[TensorT]):
    """A method for every name of every elementwise function, and one that writes in place."""

    __slots__ = ()

    @abstractmethod
    def _unary(self, function: Function) -> TensorT:
        """The elementwise function of this tensor."""

    @staticmethod
    @abstractmethod
    def _binary(function: Function, a: Any, b: Any) -> TensorT:
        """The elementwise function of two operands."""

    @abstractmethod
    def _update(self, result: TensorT) -> TensorT:
        """This tensor, with the value of `result` from now on."""

    def _with(self, function: Function, other: Any) -> Any:
        result: Any = self._binary(function, self, other)
        if result is NotImplemented:
            raise ArgumentTypeError(f"{function.name} of a tensor and a {type(other).__name__}")
        return result


def _method(function: Function) -> Callable[..., Any]:
    if len(function.ranges) == 1:

        def unary(self: ElementwiseMethods[Any]) -> Any:
            return self._unary(function)

        return unary

    def binary(self: ElementwiseMethods[Any], other: Any) -> Any:
        return self._with(function, other)

    return binary


def _in_place(method: Callable[..., Any]) -> Callable[..., Any]:
    def update(self: ElementwiseMethods[Any], *operands: Any) -> Any:
        return self._update(method(self, *operands))

    return update


def _install(function: Function) -> None:
    method = _method(function)
    forms = {"": (method, function.public.summary)}
    if function.public.in_place:
        forms["_"] = (_in_place(method), f"`Tensor.{function.name}` in place.")
    for ending, (form, summary) in forms.items():
        form.__name__ = f"{function.name}{ending}"
        form.__qualname__ = f"Tensor.{form.__name__}"
        form.__doc__ = summary
        for name in function.methods:
            setattr(ElementwiseMethods, name + ending, form)


for _function in FUNCTIONS.values():
    _install(_function)
