"""Padded copies of rows of images, as a function: what windows are read from.

Knows masks, shuffles and memory; knows no kernels and decides nothing about what is copied.

Rows are read and written as they lie in memory. Where windows are several places apart, each row
becomes as many: of all columns with the same remainder.
"""

from __future__ import annotations

from typing import final

from ..dtypes import DType
from .base import Features
from .llvm_builder import Region
from .llvm_memory import Memory

__all__ = ["FARTHEST", "pad_function", "pad_name"]

FARTHEST = 3
"""Columns that are further apart are gathered, by another function."""
_NAMES = (
    *("width", "channels", "lines", "pitch", "each", "first", "low1", "low2"),
    *("extent1", "extent2", "channel_step", "image_step", "line_step"),
)
_MADE: dict[tuple[DType, int, int, Features], frozenset[str]] = {}


def pad_name(dtype: DType, step: int, phases: int) -> str:
    """The name of the function for windows `step` apart, of which `phases` remainders are read."""
    return f"fg.pad.{dtype.short}.{step}.{phases}"


def pad_function(dtype: DType, step: int, phases: int, target: Features) -> frozenset[str]:
    """The lines that a module needs for a function: its definition, and declarations.

    Its parameters are the pointers of source and target, and the numbers `_NAMES`: the width of the
    target, how many channels there are, how many lines with how many columns, how many lines an
    image has and which is the first, how far they begin before the image, the extents of that, and
    the strides of the source.
    """
    key = (dtype, step, phases, target)
    if key not in _MADE:
        writer = _Pad(dtype, step, phases, target)
        _MADE[key] = frozenset({writer.definition(), *writer.declarations})
    return _MADE[key]


@final
class _Pad(Memory):
    """The code of one function."""

    def __init__(self, dtype: DType, step: int, phases: int, target: Features) -> None:
        super().__init__(target)
        self.dtype = dtype
        self.step = step
        self.phases = phases
        self.lanes = target.lanes(dtype)
        self.kind, _ = self._vector(dtype, self.lanes)
        self.scalar = self.kind.split(" x ")[1][:-1]
        self.whole = f"<{self.lanes} x i32>"

    def definition(self) -> str:
        """The function in one line, so that a module can leave out the second of two."""
        self.open(Region("entry"))
        self._prepare()
        some = self.emit("icmp sgt i64 %channels, 0")
        filled = self.emit("icmp sgt i64 %lines, 0")
        name = self.begin_if()
        channels = self.begin_loop("0", "%channels", 1, [("ptr", self.image), ("ptr", "%target")])
        image, row = channels.phis
        inside = self.begin_if()
        carries = [("ptr", image), ("ptr", row), ("i64", self.line), ("i64", "0")]
        lines = self.begin_loop("0", "%lines", 1, carries)
        image_now, at, y, done = lines.phis
        self._line(image_now, at, y, done)
        following = self.emit(f"add nsw i64 {y}, 1")
        last = self.emit(f"icmp eq i64 {following}, %each")
        moved = self.emit(f"select i1 {last}, i64 %image_step, i64 0")
        self.end_loop(
            lines,
            [
                self._at(image_now, moved),
                self._at(at, "%pitch"),
                self.emit(f"select i1 {last}, i64 0, i64 {following}"),
                self.emit(f"add nsw i64 {done}, %pitch"),
            ],
        )
        self.end_if(inside, filled)
        self._rest(row)
        self.end_loop(channels, [self._at(image, "%channel_step"), self._at(row, self.row_step)])
        self.end_if(name, some)
        body = " ".join(line.strip() for line in self.levels[0].region.lines)
        parameters = ", ".join(["ptr %source", "ptr %target", *(f"i64 %{n}" for n in _NAMES)])
        head = f"define internal void @{pad_name(self.dtype, self.step, self.phases)}({parameters})"
        return f"{head} noinline {self.attributes} {{ entry: {body} ret void }}"

    def _prepare(self) -> None:
        """What no line changes."""
        self.line = self.emit("urem i64 %first, %each")
        before = self.emit("udiv i64 %first, %each")
        self.image = self._at("%source", self.emit(f"mul nsw i64 {before}, %image_step"))
        self.row_step = self.emit(f"mul nsw i64 %width, {self.phases}")
        # Columns behind the last one are zero.
        read = self.emit(f"mul nsw i64 %pitch, {self.step}")
        end = self.emit(f"sub nsw i64 {read}, %low2")
        kinds = ["i64", "i64"]
        end = self.emit(self.intrinsic("i64", "smin.i64", kinds, [end, "%extent2"]))
        self.end = self.emit(self.intrinsic("i64", "smax.i64", kinds, [end, "0"]))
        self.copied = self.emit("mul nsw i64 %lines, %pitch")

    def _at(self, pointer: str, offset: str) -> str:
        return self.emit(f"getelementptr {self.scalar}, ptr {pointer}, i64 {offset}")

    def _line(self, image: str, at: str, y: str, done: str) -> None:
        """One line of one channel."""
        row = self.emit(f"sub nsw i64 {y}, %low1")
        exists = self.emit(f"icmp ult i64 {row}, %extent1")
        # A masked load of nothing is slow where no memory is.
        row = self.emit(f"select i1 {exists}, i64 {row}, i64 0")
        begin = self._at(image, self.emit(f"mul nsw i64 {row}, %line_step"))
        end = self.emit(f"select i1 {exists}, i64 {self.end}, i64 0")
        bound = self.splat("i32", self.emit(f"trunc i64 {end} to i32"), self.lanes)
        run = self.begin_loop("0", "%pitch", self.lanes)
        first = self.emit(f"mul nsw i64 {run.index}, {self.step}")
        first = self.emit(f"sub nsw i64 {first}, %low2")
        vectors = [
            self._read(begin, first, number * self.lanes, bound) for number in range(self.step)
        ]
        target = self._at(at, run.index)
        here = self.emit(f"add nsw i64 {done}, {run.index}")
        self._written([self._phase(vectors, p) for p in range(self.phases)], target, here)
        self.end_loop(run)

    def _read(self, begin: str, first: str, further: int, bound: str) -> str:
        """A vector of the source, zero where it has no columns."""
        at = self.emit(f"add nsw i64 {first}, {further}")
        start = self.splat("i32", self.emit(f"trunc i64 {at} to i32"), self.lanes)
        numbers = f"<{', '.join(f'i32 {i}' for i in range(self.lanes))}>"
        columns = self.emit(f"add {self.whole} {start}, {numbers}")
        mask = self.emit(f"icmp ult {self.whole} {columns}, {bound}")
        return self.masked_load(self.dtype, self.lanes, self._at(begin, at), mask, self.depth)

    def _phase(self, vectors: list[str], phase: int) -> str:
        """Every `step`-th element of some vectors, from one on."""
        if self.step == 1:
            return vectors[0]
        lanes = self.lanes
        places = [phase + i * self.step for i in range(lanes)]
        result = vectors[0]
        for number, vector in enumerate(vectors[1:], 1):
            # What is there already stays where it is, but in the first round.
            order = []
            for lane, place in enumerate(places):
                if place // lanes < number:
                    order.append(place if number == 1 else lane)
                elif place // lanes == number:
                    order.append(lanes + place % lanes)
                else:
                    order.append(0)
            literal = ", ".join(f"i32 {n}" for n in order)
            result = self.emit(
                f"shufflevector {self.kind} {result}, {self.kind} {vector}, "
                f"<{lanes} x i32> <{literal}>"
            )
        return result

    def _written(self, vectors: list[str], target: str, here: str) -> None:
        """Store vectors of all remainders, cut at the end of the row."""
        left = self.emit(f"sub nsw i64 %width, {here}")
        fits = self.emit(f"icmp sge i64 {left}, {self.lanes}")
        places = [target]
        for _ in vectors[1:]:
            places.append(self._at(places[-1], "%width"))
        name = self.begin_if()
        for vector, place in zip(vectors, places, strict=True):
            self.put(f"store {self.kind} {vector}, ptr {place}, align {self.dtype.itemsize}")
        self.end_if(name, fits)
        short = self.emit(f"xor i1 {fits}, true")
        name = self.begin_if()
        mask = self.prefix_mask(left, self.lanes).text
        for vector, place in zip(vectors, places, strict=True):
            self.masked_store(self.dtype, self.lanes, vector, place, mask)
        self.end_if(name, short)

    def _rest(self, row: str) -> None:
        """Zeros behind the last line."""
        some = self.emit(f"icmp slt i64 {self.copied}, %width")
        name = self.begin_if()
        run = self.begin_loop(self.copied, "%width", self.lanes)
        zeros = ["zeroinitializer"] * self.phases
        self._written(zeros, self._at(row, run.index), run.index)
        self.end_loop(run)
        self.end_if(name, some)
