"""The text of one LLVM function under construction: regions, loops, branches and names.

Knows how SSA code nests; knows no buffers and no scalar ops.

Code is written into a stack of levels. A loop or a branch opens a level whose text is spliced
into the one around it when it closes, so whatever is put into an outer level meanwhile stands
before the loop: that is how values are hoisted. A value remembers the depth of its level.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Hashable, Sequence
from typing import Any, final

from ..dtypes import DType, int64
from ..expr import Buffer, Expr, Extent, Var
from ..varying import Varying
from .base import Features

__all__ = [
    "Builder",
    "Level",
    "Loop",
    "Region",
    "Value",
    "float_text",
    "integer_text",
    "scalar_type",
    "splat_text",
]

_SCALAR = {"bool": "i1", "float32": "float", "float64": "double"}


def scalar_type(dtype: DType) -> str:
    """The LLVM type of one value of `dtype` in a register; halves are bits there too."""
    return _SCALAR.get(dtype.name) or f"i{dtype.bits}"


def float_text(value: float, dtype: DType) -> str:
    """A float constant as LLVM writes it exactly; the bits of a half."""
    if dtype.name == "float16":
        return str(struct.unpack("<h", struct.pack("<e", value))[0])
    if dtype.name == "bfloat16":
        return str(struct.unpack("<hh", struct.pack("<f", value))[1])
    if dtype.bits == 32:
        value = ctypes.c_float(value).value
    return "0x" + struct.pack(">d", value).hex().upper()


def integer_text(value: int, dtype: DType) -> str:
    """An integer constant; LLVM's integers are written as signed ones."""
    half = 1 << (dtype.bits - 1)
    return str(value - 2 * half if value >= half else value)


def splat_text(scalar: str, text: str) -> str:
    """The vector constant that has the scalar constant `text` in every lane."""
    return f"splat ({scalar} {text})"


@final
class Value:
    """A value in a register.

    `lanes` is 0 for a scalar (the same in all lanes). `depth` is the level where it is
    defined, `constant` says that `text` is a literal, `reads` are the buffers written in this
    kernel that it depends on.
    """

    __slots__ = ("constant", "depth", "dtype", "lanes", "reads", "splats", "text")

    def __init__(
        self,
        text: str,
        dtype: DType,
        lanes: int,
        depth: int,
        constant: bool = False,
        reads: frozenset[Buffer] = frozenset(),
    ) -> None:
        self.text = text
        self.dtype = dtype
        self.lanes = lanes
        self.depth = depth
        self.constant = constant
        self.reads = reads
        self.splats: dict[int, str] | None = None


@final
class Region:
    """Straight-line text, and the label of the block that it ends in."""

    __slots__ = ("label", "lines")

    def __init__(self, label: str) -> None:
        self.label = label
        self.lines: list[str] = []


@final
class Level:
    """One entry of the stack: a region (maybe shared with the level around) and what to forget."""

    __slots__ = ("keys", "loads", "pure", "region", "writes")

    def __init__(
        self, region: Region, writes: frozenset[Buffer], loads: bool = False, pure: bool = False
    ) -> None:
        self.region = region
        self.writes = writes
        self.loads = loads
        self.pure = pure
        self.keys: list[Hashable] = []


@final
class Loop:
    """A loop being written; made by `Builder.begin_loop`."""

    __slots__ = ("count", "index", "initial", "name", "phis", "start", "step", "stop", "types")

    def __init__(
        self, name: str, start: str, stop: str, step: str, types: list[str], initial: list[str]
    ) -> None:
        self.name = name
        self.start = start
        self.stop = stop
        self.step = step
        self.types = types
        self.initial = initial
        self.index = f"%i.{name}"
        self.phis = [f"%c{k}.{name}" for k in range(len(types))]


class Builder:
    """Text, names, levels and remembered values of one function."""

    def __init__(self, target: Features) -> None:
        self.target = target
        self.declarations: set[str] = set()
        self.levels: list[Level] = []
        self.memo: dict[Hashable, Value] = {}
        self.readers: dict[Buffer, list[Hashable]] = {}
        self.load_barrier = 0
        self.pure_barrier = 0
        self.metadata_nontemporal = False
        # Where among the arguments each varying size is; None where code takes none.
        self.sizes: dict[tuple[int, int], int] | None = None
        self.first_size = 0
        self._serial = 0

    @property
    def attributes(self) -> str:
        """What every function says of itself."""
        bits = 8 * self.target.vector_bytes
        return f'nounwind "no-trapping-math"="true" "prefer-vector-width"="{bits}"'

    # --- names and lines --------------------------------------------------------------------------

    @property
    def depth(self) -> int:
        """The depth of the innermost level."""
        return len(self.levels) - 1

    def fresh(self) -> str:
        """A new register name."""
        self._serial += 1
        return f"%v{self._serial}"

    def label(self) -> str:
        """A new suffix for labels."""
        self._serial += 1
        return str(self._serial)

    def emit(self, text: str, depth: int | None = None) -> str:
        """One instruction with a result, put at `depth` (the innermost level by default)."""
        self._serial += 1
        name = f"%v{self._serial}"
        level = self.levels[-1] if depth is None else self.levels[depth]
        level.region.lines.append(f"  {name} = {text}")
        return name

    def put(self, text: str, depth: int | None = None) -> None:
        """One instruction without a result."""
        level = self.levels[-1] if depth is None else self.levels[depth]
        level.region.lines.append("  " + text)

    def intrinsic(self, result: str, name: str, types: Sequence[str], args: Sequence[str]) -> str:
        """The text of a call of ``@llvm.<name>``, which is declared."""
        self.declarations.add(f"declare {result} @llvm.{name}({', '.join(types)})")
        operands = ", ".join(f"{t} {a}" for t, a in zip(types, args, strict=True))
        return f"call {result} @llvm.{name}({operands})"

    # --- remembered values ------------------------------------------------------------------------

    def remember(self, key: Hashable, value: Value) -> Value:
        """Keep `value` until its level closes or a buffer it reads is written."""
        self.memo[key] = value
        self.levels[value.depth].keys.append(key)
        for buffer in value.reads:
            self.readers.setdefault(buffer, []).append(key)
        return value

    def forget(self, buffers: frozenset[Buffer]) -> None:
        """Drop every remembered value that depends on the content of `buffers`."""
        for buffer in buffers:
            for key in self.readers.pop(buffer, ()):
                self.memo.pop(key, None)

    # --- levels -----------------------------------------------------------------------------------

    def open(
        self,
        region: Region | None = None,
        writes: frozenset[Buffer] = frozenset(),
        loads: bool = False,
        pure: bool = False,
    ) -> Level:
        """Enter a level.

        `writes` are the buffers a loop writes, whose loads stay inside; `loads` keeps all loads
        inside (they may not happen at all), `pure` keeps everything inside.
        """
        level = Level(region or self.levels[-1].region, writes, loads or pure, pure)
        self.levels.append(level)
        if level.loads:
            self.load_barrier = self.depth
        if level.pure:
            self.pure_barrier = self.depth
        if writes:
            self.forget(writes)
        return level

    def close(self) -> Level:
        """Leave the innermost level and forget what was defined there."""
        level = self.levels.pop()
        for key in level.keys:
            self.memo.pop(key, None)
        if level.writes:
            self.forget(level.writes)
        if level.loads:
            self.load_barrier = self._last("loads")
        if level.pure:
            self.pure_barrier = self._last("pure")
        return level

    def _last(self, flag: str) -> int:
        for depth in range(self.depth, -1, -1):
            if getattr(self.levels[depth], flag):
                return depth
        return 0

    def load_depth(self, buffer: Buffer) -> int:
        """The outermost depth where `buffer` may be read."""
        for depth in range(self.depth, self.load_barrier, -1):
            if buffer in self.levels[depth].writes:
                return depth
        return self.load_barrier

    # --- loops and branches -----------------------------------------------------------------------

    def begin_loop(
        self,
        start: str,
        stop: str,
        step: int | str,
        carries: Sequence[tuple[str, str]] = (),
        writes: frozenset[Buffer] = frozenset(),
    ) -> Loop:
        """A loop that runs at least once; `carries` are pairs of type and initial value."""
        name = self.label()
        loop = Loop(name, start, stop, str(step), [t for t, _ in carries], [v for _, v in carries])
        self.open(Region(f"loop{name}"), writes)
        return loop

    def end_loop(self, loop: Loop, nexts: Sequence[str] = ()) -> list[str]:
        """Close `loop`; the next values are those of the carries after it as well."""
        name, index = loop.name, loop.index
        body = self.close().region
        outer = self.levels[-1].region
        lines = outer.lines
        lines.append(f"  br label %loop{name}")
        lines.append(f"loop{name}:")
        entry, latch = outer.label, body.label
        lines.append(f"  {index} = phi i64 [{loop.start}, %{entry}], [{index}.next, %{latch}]")
        for phi, kind, initial, after in zip(
            loop.phis, loop.types, loop.initial, nexts, strict=True
        ):
            lines.append(f"  {phi} = phi {kind} [{initial}, %{entry}], [{after}, %{latch}]")
        lines.extend(body.lines)
        lines.append(f"  {index}.next = add nsw i64 {index}, {loop.step}")
        lines.append(f"  %t.{name} = icmp slt i64 {index}.next, {loop.stop}")
        lines.append(f"  br i1 %t.{name}, label %loop{name}, label %exit{name}")
        lines.append(f"exit{name}:")
        outer.label = f"exit{name}"
        return list(nexts)

    def begin_if(self, loads: bool = True, pure: bool = False) -> str:
        """Code that runs only sometimes; returns the name to end it with."""
        name = self.label()
        self.open(Region(f"then{name}"), loads=loads, pure=pure)
        return name

    def end_if(
        self,
        name: str,
        condition: str,
        merges: Sequence[tuple[str, str, str]] = (),
        depth: int | None = None,
    ) -> list[str]:
        """Close a branch taken when `condition`; `merges`: type, value inside, value outside."""
        body = self.close().region
        outer = (self.levels[-1] if depth is None else self.levels[depth]).region
        lines = outer.lines
        lines.append(f"  br i1 {condition}, label %then{name}, label %join{name}")
        lines.append(f"then{name}:")
        lines.extend(body.lines)
        lines.append(f"  br label %join{name}")
        lines.append(f"join{name}:")
        results = []
        for kind, inside, outside in merges:
            result = self.fresh()
            lines.append(
                f"  {result} = phi {kind} [{inside}, %{body.label}], [{outside}, %{outer.label}]"
            )
            results.append(result)
        outer.label = f"join{name}"
        return results

    # --- types and operands -----------------------------------------------------------------------

    def type_of(self, dtype: DType, lanes: int) -> str:
        """The LLVM type of a register."""
        scalar = _SCALAR.get(dtype.name) or f"i{dtype.bits}"
        return f"<{lanes} x {scalar}>" if lanes else scalar

    def operand(self, value: Value, lanes: int) -> str:
        """The text of `value` as a vector of `lanes` (or a scalar, for 0)."""
        if lanes == value.lanes:
            return value.text
        if value.lanes:
            raise ValueError("a vector where a scalar is needed")
        if value.splats is None:
            value.splats = {}
        text = value.splats.get(lanes)
        if text is None:
            scalar = scalar_type(value.dtype)
            if value.constant:
                text = splat_text(scalar, value.text)
            else:
                text = self.splat(scalar, value.text, lanes, value.depth)
            value.splats[lanes] = text
        return text

    def splat(self, scalar: str, text: str, lanes: int, depth: int | None = None) -> str:
        """A vector with `text` in every lane."""
        kind = f"<{lanes} x {scalar}>"
        first = self.emit(f"insertelement {kind} poison, {scalar} {text}, i64 0", depth)
        return self.emit(
            f"shufflevector {kind} {first}, {kind} poison, <{lanes} x i32> zeroinitializer", depth
        )

    def constant(self, value: Any, dtype: DType) -> Value:
        """A literal."""
        if dtype.is_float:
            text = float_text(value, dtype)
        elif dtype.kind == "bool":
            text = "true" if value else "false"
        else:
            text = integer_text(int(value), dtype)
        return Value(text, dtype, 0, 0, constant=True)

    def sized(self, number: Varying, dtype: DType = int64) -> Value:
        """A varying size: an argument, or a literal where there are none."""
        if self.sizes is None:
            return self.constant(number, dtype)
        name = int(number), number.probe
        key = (name, dtype)
        known = self.memo.get(key)
        if known is not None:
            return known
        if dtype is int64:
            position = self.sizes.setdefault(name, self.first_size + len(self.sizes))
            pointer = self.emit(f"getelementptr i64, ptr %args, i64 {position}", 0)
            text = self.emit(f"load i64, ptr {pointer}, align 8", 0)
        elif dtype.bits == 64 and not dtype.is_float:
            text = self.sized(number).text
        else:
            how = "sitofp" if dtype.is_float else "trunc"
            text = self.emit(f"{how} i64 {self.sized(number).text} to {scalar_type(dtype)}", 0)
        return self.remember(key, Value(text, dtype, 0, 0))

    def amount(self, number: Extent | str) -> int | str:
        """A number as LLVM writes it: a register where it varies."""
        if isinstance(number, Var):
            return self.value(number).text
        return self.sized(number).text if type(number) is Varying else number

    def value(self, expr: Expr) -> Value:
        """The value of `expr`; written in another file."""
        raise NotImplementedError
