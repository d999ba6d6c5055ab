"""Packing as functions: a box of rows, or of columns transposed in registers, zeros around it.

Knows shuffles, masks and memory; knows no kernels and decides nothing about what is packed.

Strides and extents are arguments, so that a module has one of these for each dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import final

from ..dtypes import DType
from ..records import dataclass
from . import llvm_half
from .base import Features
from .llvm_builder import Builder, Region
from .llvm_memory import Memory

__all__ = ["pack_function", "pack_name", "transposed"]

_KINDS = ["i64", "i64"]
_MADE: dict[tuple[DType, DType, bool, Features], frozenset[str]] = {}


def pack_name(dtype: DType, source: DType, across: bool) -> str:
    """The name of the function that packs rows, or (`across`) columns of the source as rows."""
    given = "" if source is dtype else f".{source.short}"
    return f"fg.{'transpose' if across else 'copy'}.{dtype.short}{given}"


def pack_function(dtype: DType, source: DType, across: bool, target: Features) -> frozenset[str]:
    """The lines that a module needs for a packing function: its definition, and declarations.

    Its parameters are the pointers of source and target, the stride of the source between rows
    (`across`: between columns) of the target, the height and width of the target, how many rows
    and columns exist in the source, and the stride of the target between rows. A source of 16-bit
    floats is converted.
    """
    key = (dtype, source, across, target)
    if key not in _MADE:
        writer = _Pack(dtype, source, across, target)
        _MADE[key] = frozenset({writer.definition(), *writer.declarations})
    return _MADE[key]


@final
class _Pack(Memory):
    """The code of one packing function."""

    def __init__(self, dtype: DType, source: DType, across: bool, target: Features) -> None:
        super().__init__(target)
        self.dtype = dtype
        self.source = source
        self.across = across
        self.lanes = target.lanes(dtype)
        self.kind, _ = self._vector(dtype, self.lanes)
        self.given, _ = self._vector(source, self.lanes)
        self._room = ""

    def definition(self) -> str:
        """The function in one line, so that a module can leave out the second of two."""
        self.open(Region("entry"))
        if self.across:
            self._room = self.emit(f"alloca {self.kind}, i64 {self.lanes}, align 64")
            self._guarded("0", "%height", self._squares)
        else:
            whole = self.emit("icmp sge i64 %columns, %width")
            edge = self.emit(f"xor i1 {whole}, true")
            for condition, piece in ((whole, self._whole_piece), (edge, self._edge_piece)):
                name = self.begin_if()
                self._guarded("0", "%rows", partial(self._rows, "0", "%rows", piece))
                self.end_if(name, condition)
            zeros = partial(self._rows, "%rows", "%height", self._zeros)
            self._guarded("%rows", "%height", zeros)
        body = " ".join(line.strip() for line in self.levels[0].region.lines)
        names = ("step", "height", "width", "rows", "columns", "pitch")
        parameters = ", ".join(["ptr %source", "ptr %target", *(f"i64 %{n}" for n in names)])
        head = (
            f"define internal void @{pack_name(self.dtype, self.source, self.across)}({parameters})"
        )
        return f"{head} noinline {self.attributes} {{ entry: {body} ret void }}"

    def _at(self, kind: str, pointer: str, row: str, step: str, column: str) -> str:
        """The address of an element; frozen, as LLVM finds nothing to reduce in it."""
        moved = self.emit(f"mul nsw i64 {row}, {step}")
        offset = self.emit(f"add nsw i64 {moved}, {column}")
        return self.emit(f"freeze ptr {self._next(kind, pointer, offset)}")

    def _next(self, kind: str, pointer: str, step: str) -> str:
        """The address of an element further on, where vectors are of that type."""
        scalar = kind.split(" x ")[1][:-1]
        return self.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {step}")

    def _alive(self, total: str, first: str) -> str:
        """How many lanes exist from `first` on, of `total`."""
        left = self.emit(f"sub nsw i64 {total}, {first}")
        most = self.emit(self.intrinsic("i64", "smin.i64", _KINDS, [left, str(self.lanes)]))
        return self.emit(self.intrinsic("i64", "smax.i64", _KINDS, [most, "0"]))

    def _load(self, pointer: str) -> str:
        return self.emit(f"load {self.kind}, ptr {pointer}, align {self.dtype.itemsize}")

    def _read(self, pointer: str) -> str:
        """A vector of the source, as the target holds it."""
        align = self.source.itemsize
        return self._converted(self.emit(f"load {self.given}, ptr {pointer}, align {align}"))

    def _converted(self, text: str) -> str:
        if self.source is self.dtype:
            return text
        by_instruction = self.target.converts_half
        return llvm_half.widened(self.emit, self.lanes, self.source, text, by_instruction)

    def _store(self, text: str, pointer: str) -> None:
        self.put(f"store {self.kind} {text}, ptr {pointer}, align {self.dtype.itemsize}")

    def _guarded(self, start: str, stop: str, write: Callable[[], None]) -> None:
        """Code that runs when there are rows, and columns."""
        tests = [self.emit(f"icmp slt i64 {start}, {stop}"), self.emit("icmp sgt i64 %width, 0")]
        some = self.emit(f"and i1 {tests[0]}, {tests[1]}")
        name = self.begin_if()
        write()
        self.end_if(name, some)

    # --- rows ------------------------------------------------------------------------------------

    def _rows(self, start: str, stop: str, piece: Callable[[str, str, str], None]) -> None:
        """All vectors of rows from `start` to `stop`: `piece` of pointers and column."""
        rows = self.begin_loop(start, stop, 1)
        source = self._at(self.given, "%source", rows.index, "%step", "0")
        target = self._at(self.kind, "%target", rows.index, "%pitch", "0")
        columns = self.begin_loop("0", "%width", self.lanes)
        j = columns.index
        piece(self._next(self.given, source, j), self._next(self.kind, target, j), j)
        self.end_loop(columns)
        self.end_loop(rows)

    def _whole_piece(self, source: str, target: str, j: str) -> None:
        self._store(self._read(source), target)

    def _edge_piece(self, source: str, target: str, j: str) -> None:
        mask = self.prefix_mask(self._alive("%columns", j), self.lanes).text
        text = self.masked_load(self.source, self.lanes, source, mask, self.depth)
        self._store(self._converted(text), target)

    def _zeros(self, source: str, target: str, j: str) -> None:
        self._store("zeroinitializer", target)

    # --- columns ---------------------------------------------------------------------------------

    def _squares(self) -> None:
        """All squares; the source is read along its rows."""
        columns = self.begin_loop("0", "%width", self.lanes)
        rows = self.begin_loop("0", "%height", self.lanes)
        self._square(rows.index, columns.index)
        self.end_loop(rows)
        self.end_loop(columns)

    def _square(self, i: str, j: str) -> None:
        """A square of registers: loads along the rows, shuffles, stores along the columns.

        Where rows or columns lack, the square is put together in a room of its own, and taken
        apart from there: nothing outside is read or written, and it counts as zero.
        """
        tests = []
        for at, alive in ((i, "%rows"), (j, "%columns")):
            end = self.emit(f"add nsw i64 {at}, {self.lanes}")
            tests.append(self.emit(f"icmp sle i64 {end}, {alive}"))
        whole = self.emit(f"and i1 {tests[0]}, {tests[1]}")
        source = self._at(self.given, "%source", j, "%step", i)
        edge = self.emit(f"xor i1 {whole}, true")
        name = self.begin_if()
        self._collect(source, i, j)
        self.end_if(name, edge)
        vectors = []
        place, step = self._here_or_room(whole, source, "%step")
        for _ in range(self.lanes):
            vectors.append(self._read(place))
            place = self._next(self.given, place, step)
        left = self.emit(f"sub nsw i64 %height, {i}")
        whole = self.emit(f"icmp sge i64 {left}, {self.lanes}")
        target = self._at(self.kind, "%target", i, "%pitch", j)
        place, step = self._here_or_room(whole, target, "%pitch")
        for text in transposed(self, self.kind, self.lanes, self.dtype, vectors):
            self._store(text, place)
            place = self._next(self.kind, place, step)
        edge = self.emit(f"xor i1 {whole}, true")
        name = self.begin_if()
        self._deliver(target, left)
        self.end_if(name, edge)

    def _here_or_room(self, here: str, pointer: str, step: str) -> tuple[str, str]:
        """Where a square lies, and the distance of its vectors."""
        place = self.emit(f"select i1 {here}, ptr {pointer}, ptr {self._room}")
        return place, self.emit(f"select i1 {here}, i64 {step}, i64 {self.lanes}")

    def _collect(self, source: str, i: str, j: str) -> None:
        """The square as it lies in memory, with zeros for what lacks, into the room."""
        alive = self._alive("%rows", i)
        rows = self.prefix_mask(alive, self.lanes).text
        left = self.emit(f"sub nsw i64 %columns, {j}")
        some = self.emit(f"icmp sgt i64 {alive}, 0")
        loop = self.begin_loop("0", str(self.lanes), 1, [("ptr", source)])
        exists = self.emit(f"icmp slt i64 {loop.index}, {left}")
        inside = self.emit(f"and i1 {exists}, {some}")
        bit = f"<{self.lanes} x i1>"
        mask = self.emit(f"select i1 {inside}, {bit} {rows}, {bit} zeroinitializer")
        # A masked load of nothing is slow where no memory is.
        place = self.emit(f"select i1 {inside}, ptr {loop.phis[0]}, ptr %source")
        text = self.masked_load(self.source, self.lanes, place, mask, self.depth)
        room = self._at(self.given, self._room, loop.index, str(self.lanes), "0")
        self.put(f"store {self.given} {text}, ptr {room}, align {self.source.itemsize}")
        self.end_loop(loop, [self._next(self.given, loop.phis[0], "%step")])

    def _deliver(self, target: str, left: str) -> None:
        """The vectors in the room, as far as the target has rows for them."""
        loop = self.begin_loop("0", left, 1, [("ptr", target)])
        room = self._at(self.kind, self._room, loop.index, str(self.lanes), "0")
        self._store(self._load(room), loop.phis[0])
        self.end_loop(loop, [self._next(self.kind, loop.phis[0], "%pitch")])


def _inside(lanes: int, group: int, pattern: Sequence[tuple[int, int]]) -> list[int]:
    """A shuffle that does the same in each group: pairs of (operand, lane of the group)."""
    return [
        first + lane + operand * lanes
        for first in range(0, lanes, group)
        for operand, lane in pattern
    ]


_LOW = ((0, 0), (1, 0), (0, 1), (1, 1))
_HIGH = ((0, 2), (1, 2), (0, 3), (1, 3))
_LOW_HALF = ((0, 0), (0, 1), (1, 0), (1, 1))
_HIGH_HALF = ((0, 2), (0, 3), (1, 2), (1, 3))


@final
@dataclass
class _Shuffler:
    """Shuffles of two vectors of one type."""

    builder: Builder
    kind: str
    lanes: int
    group: int

    def order(self, a: str, b: str, lanes: Sequence[int]) -> str:
        text = ", ".join(f"i32 {x}" for x in lanes)
        return self.builder.emit(
            f"shufflevector {self.kind} {a}, {self.kind} {b}, <{self.lanes} x i32> <{text}>"
        )

    def grouped(self, a: str, b: str, pattern: Sequence[tuple[int, int]]) -> str:
        return self.order(a, b, _inside(self.lanes, self.group, pattern))

    def small(self, rows: Sequence[str]) -> list[str]:
        """Transpose the squares of 128 bits on the diagonal of 2 or 4 rows."""
        if len(rows) == 2:
            return [self.grouped(rows[0], rows[1], ((0, k), (1, k))) for k in range(2)]
        low, high = self.grouped(rows[0], rows[1], _LOW), self.grouped(rows[0], rows[1], _HIGH)
        low2, high2 = self.grouped(rows[2], rows[3], _LOW), self.grouped(rows[2], rows[3], _HIGH)
        return [
            self.grouped(low, low2, _LOW_HALF),
            self.grouped(low, low2, _HIGH_HALF),
            self.grouped(high, high2, _LOW_HALF),
            self.grouped(high, high2, _HIGH_HALF),
        ]

    def exchange(self, parts: list[str], stage: int) -> list[str]:
        """One step of transposing a square of 128-bit blocks."""
        count = len(parts)
        result = list(parts)
        for i in range(count):
            if i & stage:
                continue
            a, b = parts[i], parts[i | stage]
            low = [x if not x & stage else (x ^ stage) + count for x in range(count)]
            high = [x | stage if not x & stage else x + count for x in range(count)]
            for to, blocks in ((i, low), (i | stage, high)):
                lanes = [block * self.group + k for block in blocks for k in range(self.group)]
                result[to] = self.order(a, b, lanes)
        return result


def transposed(
    builder: Builder, kind: str, lanes: int, dtype: DType, vectors: Sequence[str]
) -> list[str]:
    """The columns of a square of registers: shuffles inside 128 bits, then of 128-bit blocks."""
    group = 16 // dtype.itemsize
    shuffler = _Shuffler(builder, kind, lanes, group)
    small = [shuffler.small(vectors[i : i + group]) for i in range(0, lanes, group)]
    result = [""] * lanes
    for q in range(group):
        parts = [columns[q] for columns in small]
        stage = 1
        while stage < len(parts):
            parts = shuffler.exchange(parts, stage)
            stage *= 2
        for block, text in enumerate(parts):
            result[block * group + q] = text
    return result
