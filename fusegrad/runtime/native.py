"""Loops over C functions of numbers: what a program calls for an op that applies one.

Knows the types of the function; its address is a symbol that the loader fills in, so that it is in
no code that is kept.
"""

from __future__ import annotations

from typing import final

from ..codegen.dtypes import DType
from ..ops.native import NativeMap
from .loader import compile_module, load

__all__ = ["NativeLoop"]

_TYPES = {
    "float64": "double",
    "float32": "float",
    "int64": "i64",
    "int32": "i32",
    "int16": "i16",
    "int8": "i8",
    "uint64": "i64",
    "uint32": "i32",
    "uint16": "i16",
    "uint8": "i8",
}


@final
class NativeLoop:
    """The function of C that applies an op's function to so many elements.

    Attributes
    ----------
    address : int
        ``int64_t call(void **places)``; valid as long as the object lives.
    """

    def __init__(self, op: NativeMap, count: int) -> None:
        function = op.function
        text = _loop(function.operands, function.result, count)
        self._library = load(compile_module(text), ["loop"], {"function": function.address})
        self.address = self._library.address("loop")


def _loop(operands: tuple[DType, ...], result: DType, count: int) -> str:
    kinds = [_TYPES[dtype.name] for dtype in operands]
    kind = _TYPES[result.name]
    head, body = [], []
    for i, given in enumerate([*kinds, kind]):
        head.append(f"  %q{i} = getelementptr ptr, ptr %places, i64 {i}")
        head.append(f"  %p{i} = load ptr, ptr %q{i}")
        body.append(f"  %e{i} = getelementptr {given}, ptr %p{i}, i64 %i")
    for i, given in enumerate(kinds):
        body.append(f"  %x{i} = load {given}, ptr %e{i}")
    arguments = ", ".join(f"{given} %x{i}" for i, given in enumerate(kinds))
    body.append(f"  %y = call {kind} @function({arguments})")
    body.append(f"  store {kind} %y, ptr %e{len(kinds)}")
    return "\n".join(
        [
            f"declare {kind} @function({', '.join(kinds)})",
            "define i64 @loop(ptr %places) {",
            "entry:",
            *head,
            "  br label %next",
            "next:",
            "  %i = phi i64 [0, %entry], [%i2, %one]",
            f"  %more = icmp slt i64 %i, {count}",
            "  br i1 %more, label %one, label %done",
            "one:",
            *body,
            "  %i2 = add i64 %i, 1",
            "  br label %next",
            "done:",
            "  ret i64 0",
            "}",
            "",
        ]
    )
