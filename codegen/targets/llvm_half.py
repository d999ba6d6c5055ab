"""Conversions between 16-bit floats and float32 as LLVM instructions.

Knows bits; knows no buffers and no loops. A half in a register is an integer of 16 bits, so that
loads, stores and selections need nothing special.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from ..dtypes import DType, bfloat16

__all__ = ["Width", "widened"]


def widened(
    emit: Callable[[str], str], lanes: int, dtype: DType, x: str, has_instruction: bool
) -> str:
    """A register of 16-bit floats as float32."""
    width = Width(emit, lanes)
    if dtype is bfloat16:
        return width.from_bfloat16(x)
    return width.extend(x) if has_instruction else width.from_float16(x)


@final
class Width:
    """Conversions of scalars (`lanes` = 0) or vectors, written by `emit`."""

    __slots__ = ("_emit", "_lanes")

    def __init__(self, emit: Callable[[str], str], lanes: int) -> None:
        self._emit = emit
        self._lanes = lanes

    # --- instructions -----------------------------------------------------------------------------

    def _type(self, scalar: str) -> str:
        return f"<{self._lanes} x {scalar}>" if self._lanes else scalar

    def _number(self, scalar: str, value: int | str) -> str:
        return f"splat ({scalar} {value})" if self._lanes else str(value)

    def _to(self, name: str, x: str, source: str, target: str) -> str:
        return self._emit(f"{name} {self._type(source)} {x} to {self._type(target)}")

    def _bits(self, name: str, x: str, y: int | str) -> str:
        """An instruction on 32 bits; `y` is a number or a register."""
        other = y if isinstance(y, str) else self._number("i32", y)
        return self._emit(f"{name} {self._type('i32')} {x}, {other}")

    def _select(self, condition: str, x: str, y: str) -> str:
        i1, i32 = self._type("i1"), self._type("i32")
        return self._emit(f"select {i1} {condition}, {i32} {x}, {i32} {y}")

    # --- bfloat16 ---------------------------------------------------------------------------------

    def from_bfloat16(self, x: str) -> str:
        """The upper half of a float32."""
        wide = self._bits("shl", self._to("zext", x, "i16", "i32"), 16)
        return self._to("bitcast", wide, "i32", "float")

    def to_bfloat16(self, x: str) -> str:
        """The nearest, ties to even; NaN stays NaN."""
        bits = self._to("bitcast", x, "float", "i32")
        odd = self._bits("and", self._bits("lshr", bits, 16), 1)
        rounded = self._bits("add", self._bits("add", bits, 0x7FFF), odd)
        quiet = self._bits("or", bits, 0x400000)
        missing = self._emit(f"fcmp uno {self._type('float')} {x}, {x}")
        chosen = self._bits("lshr", self._select(missing, quiet, rounded), 16)
        return self._to("trunc", chosen, "i32", "i16")

    # --- float16 by the target's instructions -----------------------------------------------------

    def extend(self, x: str) -> str:
        return self._to("fpext", self._to("bitcast", x, "i16", "half"), "half", "float")

    def truncate(self, x: str) -> str:
        return self._to("bitcast", self._to("fptrunc", x, "float", "half"), "half", "i16")

    # --- float16 by integer arithmetic ------------------------------------------------------------

    def from_float16(self, x: str) -> str:
        """Shifted to where float32 has its fields, and scaled by the difference of the biases."""
        wide = self._to("zext", x, "i16", "i32")
        size = self._bits("and", wide, 0x7FFF)
        small = self._to("bitcast", self._bits("shl", size, 13), "i32", "float")
        # 2^112; numbers that are subnormal as halves come out normal.
        factor = self._number("float", "0x46F0000000000000")
        scaled = self._emit(f"fmul {self._type('float')} {small}, {factor}")
        number = self._to("bitcast", scaled, "float", "i32")
        special = self._emit(f"icmp uge {self._type('i32')} {size}, {self._number('i32', 0x7C00)}")
        finite = self._select(special, self._bits("or", number, 0x7F800000), number)
        sign = self._bits("shl", self._bits("and", wide, 0x8000), 16)
        return self._to("bitcast", self._bits("or", finite, sign), "i32", "float")

    def to_float16(self, x: str) -> str:
        """The nearest, ties to even; NaN stays NaN."""
        i32, number = self._type("i32"), self._number
        bits = self._to("bitcast", x, "float", "i32")
        size = self._bits("and", bits, 0x7FFFFFFF)
        odd = self._bits("and", self._bits("lshr", size, 13), 1)
        # The bias changes from 127 to 15, and half a unit of the result is added.
        moved = self._bits("add", self._bits("sub", size, (112 << 23) - 0xFFF), odd)
        normal = self._bits("lshr", moved, 13)
        # Adding 0.5 leaves the bits of a subnormal result at the end, rounded.
        value = self._to("bitcast", size, "i32", "float")
        half = number("float", "0x3FE0000000000000")
        shifted = self._emit(f"fadd {self._type('float')} {value}, {half}")
        subnormal = self._bits("sub", self._to("bitcast", shifted, "float", "i32"), 126 << 23)
        tiny = self._emit(f"icmp ult {i32} {size}, {number('i32', 113 << 23)}")
        large = self._emit(f"icmp uge {i32} {size}, {number('i32', 143 << 23)}")
        missing = self._emit(f"icmp ugt {i32} {size}, {number('i32', 0x7F800000)}")
        special = self._select(missing, number("i32", 0x7E00), number("i32", 0x7C00))
        result = self._select(large, special, self._select(tiny, subnormal, normal))
        sign = self._bits("and", self._bits("lshr", bits, 16), 0x8000)
        return self._to("trunc", self._bits("or", result, sign), "i32", "i16")
