"""`custom_op`: C functions of numbers as elementwise functions of tensors.

Knows function pointers of ctypes, and what numba gives; a compiled program calls the code itself,
without Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

from ..codegen.dtypes import DType, as_dtype
from ..errors import ArgumentStructureError, DTypeError
from ..ir.node import Node
from ..ops.native import NativeFunction, NativeMap
from ..semantics.shapes import broadcast_all
from ..tensors.tensor_class import Tensor, as_tensor, record

__all__ = ["custom_op"]

_TYPES: dict[Any, str] = {
    ctypes.c_double: "float64",
    ctypes.c_float: "float32",
    ctypes.c_int64: "int64",
    ctypes.c_int32: "int32",
    ctypes.c_int16: "int16",
    ctypes.c_int8: "int8",
    ctypes.c_uint64: "uint64",
    ctypes.c_uint32: "uint32",
    ctypes.c_uint16: "uint16",
    ctypes.c_uint8: "uint8",
}
_REMEDY = (
    "pass a numba.cfunc, a function of ctypes with argtypes and restype, or an address with "
    "argument_types and result_type"
)


def custom_op(
    function: Any,
    *,
    argument_types: Sequence[Any] | None = None,
    result_type: Any = None,
    name: str | None = None,
) -> Callable[..., Tensor]:
    """An elementwise function of tensors that a C function of numbers computes.

    Compiled programs call the C function from a native loop, in one thread and without Python. It
    must be pure: it may be called in any order, or not at all where the result is not needed. It
    has no derivative; give one with `custom_jvp` or `custom_vjp` around it.

    Parameters
    ----------
    function : numba CFunc, ctypes function pointer, or int
        What to call: something that ``@numba.cfunc("float64(float64)")`` made, a function of ctypes
        with ``argtypes`` and ``restype``, or an address, whose types then have to be given.
    argument_types : sequence of dtype, optional
        The types of the C function's arguments: floats of 32 or 64 bits, and integers.
    result_type : dtype, optional
        The type that it returns.
    name : str, optional
        For messages and ``explain``.

    Returns
    -------
    callable
        Of as many arrays as the C function has arguments. They broadcast, and are converted to its
        types.

    Examples
    --------
    >>> import ctypes
    >>> import fusegrad as fg
    >>> prototype = ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)
    >>> half = fg.custom_op(prototype(lambda x: x / 2), name="half")
    >>> half([1.0, 3.0])
    Tensor([0.5, 1.5], dtype=float64)
    """
    call, operands, result = _signature(function, argument_types, result_type)
    address = ctypes.cast(call, ctypes.c_void_p).value or 0
    label = name or getattr(function, "__name__", None) or "custom_op"
    native = NativeFunction(label, call, address, operands, result)
    op = NativeMap(native)

    def build(*nodes: Node) -> Node:
        return Node(op, tuple(broadcast_all(label, nodes)))

    def apply(*args: Any) -> Tensor:
        if len(args) != len(operands):
            raise ArgumentStructureError(
                f"{label} of {len(args)} arrays: the C function takes {len(operands)}",
                remedy="pass one array for each argument",
            )
        tensors = [as_tensor(a).astype(dtype) for a, dtype in zip(args, operands, strict=True)]
        return record(build, tensors)

    apply.__name__ = apply.__qualname__ = label
    # The code lives as long as what the caller gave.
    apply.function = function  # type: ignore[attr-defined]
    return apply


def _signature(
    function: Any, argument_types: Sequence[Any] | None, result_type: Any
) -> tuple[Any, tuple[DType, ...], DType]:
    """A function of ctypes, and its types."""
    call = getattr(function, "ctypes", function)
    if isinstance(call, int):
        if argument_types is None or result_type is None:
            raise ArgumentStructureError(
                "custom_op of an address without types", remedy="give argument_types, result_type"
            )
        kinds = [_c_type(dtype) for dtype in (result_type, *argument_types)]
        call = ctypes.CFUNCTYPE(*kinds)(call)
    given, restype = getattr(call, "argtypes", None), getattr(call, "restype", None)
    if not given or restype is None:
        raise ArgumentStructureError(
            f"custom_op of a {type(function).__name__}, which tells no C signature", remedy=_REMEDY
        )
    return call, tuple(_dtype(kind) for kind in given), _dtype(restype)


def _c_type(dtype: Any) -> Any:
    wanted = as_dtype(dtype).name
    for kind, name in _TYPES.items():
        if name == wanted:
            return kind
    raise DTypeError(f"custom_op: C functions of {wanted} are not supported", remedy=_REMEDY)


def _dtype(kind: Any) -> DType:
    name = _TYPES.get(kind)
    if name is None:
        raise DTypeError(
            f"custom_op: the C type {getattr(kind, '__name__', kind)} is no number",
            remedy="use floats of 32 or 64 bits, and integers",
        )
    return as_dtype(name)
