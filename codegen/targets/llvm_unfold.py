"""Windows as a matrix, by a function: masks are made once for a run of windows, for all channels.

Knows masks, shuffles and memory; knows no kernels and decides nothing about what is unfolded.

Steps and extents are arguments, so that a module has few of these for all convolutions in it.
"""

from __future__ import annotations

import math
from typing import final

from ..affine import canonical
from ..dtypes import DType
from ..expr import Const, index
from ..kernel import Unfold
from ..scalar import apply
from ..unfolding import unfold_loops
from .base import Features
from .llvm_builder import Region
from .llvm_copy import Copies
from .llvm_memory import Memory
from .llvm_pad import FARTHEST, pad_function, pad_name

__all__ = ["Unfolds", "unfold_function", "unfold_name"]

_KINDS = ["i64", "i64"]
_NAMES = (
    *("width", "channels", "first", "alive"),
    *("rows1", "rows2", "columns1", "columns2"),
    *("row1", "row2", "column1", "column2", "low1", "low2"),
    *("extent1", "extent2", "r0", "c0", "stride1", "stride2"),
)
_MADE: dict[tuple[DType, int, Features], frozenset[str]] = {}


class Unfolds(Copies):
    """Windows as matrices, on top of packing."""

    def unfold(self, s: Unfold) -> None:
        """Write windows as a matrix."""
        if self.vector is not None:
            raise ValueError("windows unfolded inside a vector loop")
        dtype = s.target.dtype
        plain = dtype.is_float and not dtype.is_half and self.target.masked_memory
        width = s.target.shape[1]
        strides = [self.stride(s.source, axis) for axis in range(len(s.source.shape))]
        whole = isinstance(width, int) and self.strides_of(s.target) == (width, 1)
        if not plain or not whole or len(s.low) > 2:
            for loop in unfold_loops(s):
                self.run_now(loop)
            return
        if isinstance(width, int) and self._padded(s, width, strides):
            return
        last = s.column_steps[-1] * strides[-1] if isinstance(strides[-1], int) else 0
        step = last if last in (1, 2) and strides[-1] == 1 else 0
        plane = math.prod(s.row_extents[1:])
        channel = canonical(apply("divtrunc", s.first_row, index(plane)))
        rows = canonical(apply("divtrunc", s.rows, index(plane)))
        starts = (index(0),) * (len(s.low) + 2)
        source = self.first(s.source, (s.offset, channel, *starts[1:]))
        target = self.first(s.target, (index(0), index(0)))
        bounds = [self.bound(e) for e in (rows, s.first_column, s.columns)]
        numbers = [width, *bounds, *_two(s.row_extents[1:], 1), *_two(s.column_extents[1:], 1)]
        numbers += [*_two(s.row_steps, 0), *_two(s.column_steps, 0), *_two(s.low, 0)]
        extents = [e for e in s.source.shape[3:] if isinstance(e, int)]
        numbers += [*_two(extents, 1), strides[1], strides[2]]
        numbers += strides[3:] if len(extents) == 2 else [0, strides[3]]
        self.declarations |= unfold_function(dtype, step, self.target)
        arguments = [f"ptr {p}" for p in (source, target)] + [
            f"i64 {self.amount(n)}" for n in numbers
        ]
        self.put(f"call void @{unfold_name(dtype, step)}({', '.join(arguments)})")

    def _padded(self, s: Unfold, width: int, strides: list[int | str]) -> bool:
        """Write a padded copy of whole lines, if it is one, by its own function."""
        step, phases = s.column_steps[-1], s.row_extents[-1]
        single = set(s.row_extents[1:-1]) <= {1} and set(s.column_steps[:-1]) <= {1}
        if not single or not phases <= step <= FARTHEST or strides[-1] != 1:
            return False
        if phases > 1 and s.row_steps[-1] != 1:
            return False
        flat = len(s.low) == 1 and s.column_extents[0] == 1
        pitch = index(s.column_extents[-1])
        for number in () if flat else (s.first_column, s.columns):
            rest = canonical(apply("remtrunc", number, pitch))
            if not (isinstance(rest, Const) and rest.value == 0):
                return False
        channels = canonical(apply("divtrunc", s.rows, index(phases)))
        channel = canonical(apply("divtrunc", s.first_row, index(phases)))
        lines = canonical(apply("divtrunc", s.columns, pitch))
        first = canonical(apply("divtrunc", s.first_column, pitch))
        starts = (index(0),) * (len(s.low) + 1)
        source = self.first(s.source, (s.offset, channel, *starts))
        target = self.first(s.target, (index(0), index(0)))
        extents = [e for e in s.source.shape[3:] if isinstance(e, int)]
        low: list[int | str] = [*_two(s.low, 0)]
        columns: int | str = s.column_extents[-1]
        if flat:
            # A part of one line.
            moved = apply("sub", index(s.low[0]), apply("mul", s.first_column, index(step)))
            low[1], columns = self.bound(moved), self.bound(s.columns)
            lines, first = index(1), index(0)
        each = s.column_extents[1] if len(s.low) == 2 else 1
        line = strides[3] if len(s.low) == 2 else 0
        numbers = [width, self.bound(channels), self.bound(lines), columns, each]
        numbers += [self.bound(first), *low, *_two(extents, 1), strides[1], strides[2], line]
        self.declarations |= pad_function(s.target.dtype, step, phases, self.target)
        arguments = [f"ptr {p}" for p in (source, target)] + [f"i64 {n}" for n in numbers]
        self.put(f"call void @{pad_name(s.target.dtype, step, phases)}({', '.join(arguments)})")
        return True


def _two(numbers: tuple[int, ...] | list[int], missing: int) -> list[int]:
    """The numbers of two axes, of which the first may be missing."""
    return [*[missing] * (2 - len(numbers)), *numbers]


def unfold_name(dtype: DType, step: int) -> str:
    """The name of the function for elements 1 or 2 apart, or (0) any number."""
    return f"fg.unfold.{dtype.short}.{step or 'any'}"


def unfold_function(dtype: DType, step: int, target: Features) -> frozenset[str]:
    """The lines that a module needs for a function: its definition, and declarations.

    Its parameters are the pointers of source and target, and the numbers `_NAMES`: the width of the
    target, how many channels (rows of the first axis) are written, the first column and how many
    exist; extents and steps of rows and columns, low and extents along two axes, and the strides of
    the source.
    """
    key = (dtype, step, target)
    if key not in _MADE:
        writer = _Unfold(dtype, step, target)
        _MADE[key] = frozenset({writer.definition(), *writer.declarations})
    return _MADE[key]


@final
class _Unfold(Memory):
    """The code of one function."""

    def __init__(self, dtype: DType, step: int, target: Features) -> None:
        super().__init__(target)
        self.dtype = dtype
        self.step = step
        self.lanes = target.lanes(dtype)
        self.kind, self.suffix = self._vector(dtype, self.lanes)
        self.scalar = self.kind.split(" x ")[1][:-1]

    def definition(self) -> str:
        """The function in one line, so that a module can leave out the second of two."""
        self.open(Region("entry"))
        some = self.emit("icmp sgt i64 %channels, 0")
        name = self.begin_if()
        plane = self.emit("mul nsw i64 %rows1, %rows2")
        row_step = self.emit(f"mul nsw i64 {plane}, %width")
        filled = self.emit("icmp sgt i64 %alive, 0")
        inside = self.begin_if()
        run = self.begin_loop("0", "%alive", "0")
        run.step = self._run(run.index, row_step)
        self.end_loop(run)
        self.end_if(inside, filled)
        self._rest(self.emit(f"mul nsw i64 %channels, {plane}"))
        self.end_if(name, some)
        body = " ".join(line.strip() for line in self.levels[0].region.lines)
        parameters = ", ".join(["ptr %source", "ptr %target", *(f"i64 %{n}" for n in _NAMES)])
        head = f"define internal void @{unfold_name(self.dtype, self.step)}({parameters})"
        return f"{head} noinline {self.attributes} {{ entry: {body} ret void }}"

    def _least(self, a: str, b: str) -> str:
        return self.emit(self.intrinsic("i64", "smin.i64", _KINDS, [a, b]))

    def _at(self, pointer: str, offset: str, kind: str = "") -> str:
        return self.emit(f"getelementptr {kind or self.scalar}, ptr {pointer}, i64 {offset}")

    def _offset(self, base: str, at: str, step: str) -> str:
        """``base + at * step``."""
        return self.emit(f"add nsw i64 {base}, {self.emit(f'mul nsw i64 {at}, {step}')}")

    def _run(self, j: str, row_step: str) -> str:
        """Neighbouring windows from column `j` on, at most a vector; returns how many."""
        q = self.emit(f"add nsw i64 %first, {j}")
        rest, c2 = (self.emit(f"{op} i64 {q}, %columns2") for op in ("udiv", "urem"))
        c0, c1 = (self.emit(f"{op} i64 {rest}, %columns1") for op in ("udiv", "urem"))
        left = self.emit(f"sub nsw i64 %columns2, {c2}")
        exist = self._least(left, self.emit(f"sub nsw i64 %alive, {j}"))
        count = self._least(exist, str(self.lanes))
        image = self._at("%source", self.emit(f"mul nsw i64 {c0}, %c0"))
        zero1, zero2 = (self.emit(f"sub nsw i64 0, %low{a}") for a in (1, 2))
        y0 = self._offset(zero1, c1, "%column1")
        x0 = self._offset(zero2, c2, "%column2")
        target = self._at("%target", j)
        written = self.prefix_mask(count, self.lanes).text
        end = self.emit(f"add nsw i64 {j}, {self.lanes}")
        # What is written behind the run is written again by the next one, or the rest.
        whole = self.emit(f"icmp sle i64 {end}, %width")
        for condition, mask in ((whole, ""), (self.emit(f"xor i1 {whole}, true"), written)):
            name = self.begin_if()
            self._channels((image, target, row_step), (y0, x0), written, mask)
            self.end_if(name, condition)
        return count

    def _rest(self, rows: str) -> None:
        """Zeros in the columns behind the last one."""
        start = self.emit(self.intrinsic("i64", "smax.i64", _KINDS, ["%alive", "0"]))
        some = self.emit(f"icmp slt i64 {start}, %width")
        name = self.begin_if()
        each = self.begin_loop("0", rows, 1, [("ptr", "%target")])
        (row,) = each.phis
        run = self.begin_loop(start, "%width", self.lanes)
        left = self._least(self.emit(f"sub nsw i64 %width, {run.index}"), str(self.lanes))
        mask = self.prefix_mask(left, self.lanes).text
        target = self._at(row, run.index)
        self.masked_store(self.dtype, self.lanes, "zeroinitializer", target, mask)
        self.end_loop(run)
        self.end_loop(each, [self._at(row, "%width")])
        self.end_if(name, some)

    def _channels(
        self,
        places: tuple[str, str, str],
        starts: tuple[str, str],
        written: str,
        stored: str,
    ) -> None:
        """All elements of a run of windows, channel by channel."""
        image, target, row_step = places
        y0, x0 = starts
        bits, whole = f"<{self.lanes} x i1>", f"<{self.lanes} x i32>"
        alive = self._loaded(written)
        narrow = self.emit(f"trunc i64 {x0} to i32")
        first = self.splat("i32", narrow, self.lanes)
        firsts = [self.emit(f"add {whole} {first}, {n}") for n in self._numbers()]
        moved = self.splat("i32", self.emit("trunc i64 %row2 to i32"), self.lanes)
        extent = self.splat("i32", self.emit("trunc i64 %extent2 to i32"), self.lanes)
        source_step = self.emit("mul nsw i64 %row2, %stride2")
        begin = self.emit(f"mul nsw i64 {x0}, %stride2")
        channels = self.begin_loop("0", "%channels", 1, [("ptr", image), ("ptr", target)])
        source, rows = channels.phis
        rows1 = self.begin_loop("0", "%rows1", 1, [("ptr", rows)])
        y = self._offset(y0, rows1.index, "%row1")
        exists = self.emit(f"icmp ult i64 {y}, %extent1")
        # A masked load of nothing is slow where no memory is.
        offset = self._offset(begin, y, "%stride1")
        line = self._at(source, self.emit(f"select i1 {exists}, i64 {offset}, i64 0"))
        alive = [
            self.emit(f"select i1 {exists}, {bits} {mask}, {bits} zeroinitializer")
            for mask in alive
        ]
        carries = [("ptr", line), ("ptr", rows1.phis[0]), *((whole, f) for f in firsts)]
        rows2 = self.begin_loop("0", "%rows2", 1, carries)
        at, to, *lanes = rows2.phis
        masks_now = [
            self.emit(f"and {bits} {self.emit(f'icmp ult {whole} {x}, {extent}')}, {mask}")
            for x, mask in zip(lanes, alive, strict=True)
        ]
        value = self._elements(at, masks_now)
        if stored:
            self.masked_store(self.dtype, self.lanes, value, to, stored)
        else:
            self.put(f"store {self.kind} {value}, ptr {to}, align {self.dtype.itemsize}")
        following = [self.emit(f"add {whole} {x}, {moved}") for x in lanes]
        after = self._at(to, "%width")
        self.end_loop(rows2, [self._at(at, source_step), after, *following])
        self.end_loop(rows1, [after])
        self.end_loop(channels, [self._at(source, "%r0"), self._at(rows, row_step)])

    def _numbers(self) -> list[str]:
        """How far the lanes of each vector that is loaded are from the first, along the axis."""
        kind = f"<{self.lanes} x i32>"
        count = 2 if self.step == 2 else 1
        literal = [
            f"<{', '.join(f'i32 {first * self.lanes + i}' for i in range(self.lanes))}>"
            for first in range(count)
        ]
        if self.step:
            return literal
        steps = self.splat("i32", self.emit("trunc i64 %column2 to i32"), self.lanes)
        return [self.emit(f"mul {kind} {literal[0]}, {steps}")]

    def _loaded(self, mask: str) -> list[str]:
        """The masks of the vectors that are loaded."""
        if self.step != 2:
            return [mask]
        bits = f"<{self.lanes} x i1>"
        masks = []
        for first in (0, self.lanes // 2):
            order = ", ".join(
                f"i32 {first + i // 2 if i % 2 == 0 else self.lanes}" for i in range(self.lanes)
            )
            masks.append(
                self.emit(
                    f"shufflevector {bits} {mask}, {bits} zeroinitializer, "
                    f"<{self.lanes} x i32> <{order}>"
                )
            )
        return masks

    def _elements(self, source: str, masks: list[str]) -> str:
        lanes, size = self.lanes, self.dtype.itemsize
        if self.step == 0:
            numbers = f"<{', '.join(f'i64 {i}' for i in range(lanes))}>"
            steps = self.splat("i64", self.emit("mul nsw i64 %column2, %stride2"), lanes)
            apart = self.emit(f"mul nsw <{lanes} x i64> {numbers}, {steps}")
            pointers = self.emit(
                f"getelementptr {self.scalar}, ptr {source}, <{lanes} x i64> {apart}"
            )
            name = f"@llvm.masked.gather.{self.suffix}.v{lanes}p0"
            kind = self.kind
            self.declarations.add(f"declare {kind} {name}(<{lanes} x ptr>, <{lanes} x i1>, {kind})")
            return self.emit(
                f"call {kind} {name}(<{lanes} x ptr> align {size} {pointers}, "
                f"<{lanes} x i1> {masks[0]}, {kind} zeroinitializer)"
            )
        parts = []
        for number, mask in enumerate(masks):
            pointer = self._at(source, str(number * lanes))
            parts.append(self.masked_load(self.dtype, lanes, pointer, mask, self.depth))
        if self.step == 1:
            return parts[0]
        order = ", ".join(f"i32 {2 * i}" for i in range(lanes))
        return self.emit(
            f"shufflevector {self.kind} {parts[0]}, {self.kind} {parts[1]}, "
            f"<{lanes} x i32> <{order}>"
        )
