"""Packing: a box of one buffer into a small one, transposed in registers where that pays.

Knows shuffles and loops; decides nothing about what is packed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from ..dtypes import DType, bool_
from ..expr import Apply, Const, Expr, Load, Var, const, index
from ..kernel import Any, Copy, For, If, Store, Vector
from .llvm_builder import Builder
from .llvm_statements import Statements

__all__ = ["Copies", "transposed"]


@final
@dataclass
class _Box:
    """A box being transposed: pointers, strides in elements, how much of it exists."""

    dtype: DType
    lanes: int
    source: str
    target: str
    source_step: int | str
    target_step: int
    rows: int | str
    columns: int | str

    @property
    def scalar(self) -> str:
        return "float" if self.dtype.bits == 32 else "double"

    @property
    def kind(self) -> str:
        return f"<{self.lanes} x {self.scalar}>"


class Copies(Statements):
    """Packing, on top of statements."""

    def copy(self, s: Copy) -> None:
        """Write a packing."""
        if self.vector is not None:
            raise ValueError("a copy inside a vector loop")
        strides = self.strides_of(s.source)
        transposing = strides[s.row_axis] == 1 and strides[s.column_axis] != 1
        lanes = self.target.lanes(s.target.dtype)
        extents = s.target.shape
        if not all(isinstance(extent, int) for extent in extents):
            raise ValueError(f"{s.target.name} needs known extents")
        wide = isinstance(extents[1], int) and extents[1] % lanes == 0
        if transposing and wide and s.target.dtype.is_float and self.target.masked_memory:
            self._transposing(s, lanes)
        else:
            self._plain(s)

    # --- along the rows ---------------------------------------------------------------------------

    def _plain(self, s: Copy) -> None:
        """Loops in the kernel language: the box, and zeros around it when it is not whole."""
        rows, columns = (e for e in s.target.shape if isinstance(e, int))
        whole: Expr = const(True, bool_)
        for alive, size in ((s.rows, rows), (s.columns, columns)):
            if not (isinstance(alive, Const) and int(alive.value) >= size):
                test = Apply("ge", (alive, index(size)), bool_)
                whole = Apply("and", (whole, test), bool_)
        if isinstance(whole, Const):
            self.run_now(self._box(s, index(rows), index(columns)))
            return
        self.run_now(If(whole, (self._box(s, index(rows), index(columns)),)))
        edge = (self._zeros(s, rows, columns), self._box(s, s.rows, s.columns))
        self.run_now(If(Apply("not", (whole,), bool_), edge))

    def _mapping(self, s: Copy) -> Vector:
        return Vector(self.target.lanes(s.target.dtype), 4)

    def _box(self, s: Copy, rows: Expr, columns: Expr) -> For:
        i, j = Var("i"), Var("j")
        place = list(s.starts)
        place[s.row_axis] = Apply("add", (place[s.row_axis], i), i.dtype)
        place[s.column_axis] = Apply("add", (place[s.column_axis], j), j.dtype)
        store = Store(s.target, (i, j), Load(s.source, place))
        inner = For(j, columns, Any(), (store,), mapping=self._mapping(s))
        return For(i, rows, Any(), (inner,))

    def _zeros(self, s: Copy, rows: int, columns: int) -> For:
        i, j = Var("i"), Var("j")
        store = Store(s.target, (i, j), const(0, s.target.dtype))
        inner = For(j, columns, Any(), (store,), mapping=self._mapping(s))
        return For(i, rows, Any(), (inner,))

    # --- across the rows --------------------------------------------------------------------------

    def _transposing(self, s: Copy, lanes: int) -> None:
        """Blocks of `lanes` by `lanes`: loads along rows, a transposition, stores along columns."""
        height, width = (e for e in s.target.shape if isinstance(e, int))
        source, target = (
            self.address(s.source, s.starts),
            self.address(s.target, (index(0), index(0))),
        )
        step = self.strides_of(s.source)[s.column_axis]
        box = _Box(
            s.target.dtype,
            lanes,
            self.element(source.pointer, s.source, source.constant, None),
            self.element(target.pointer, s.target, target.constant, None),
            step if isinstance(step, int) else self.value(step).text,
            width,
            self.bound(s.rows),
            self.bound(s.columns),
        )
        # All blocks of some columns before the next ones: what is read of a column is one run.
        whole = height - height % lanes
        loop = self.begin_loop("0", str(width), lanes)
        if whole:
            inner = self.begin_loop("0", str(whole), lanes)
            self._block_at(box, inner.index, loop.index, lanes)
            self.end_loop(inner)
        if height > whole:
            self._block_at(box, str(whole), loop.index, height - whole)
        self.end_loop(loop)

    def _block_at(self, box: _Box, i: str, j: str, count: int) -> None:
        """The block that begins at row `i` and column `j`, of which `count` rows exist."""
        tests = []
        for at, alive in ((i, box.rows), (j, box.columns)):
            end = self.emit(f"add nsw i64 {at}, {box.lanes}")
            tests.append(self.emit(f"icmp sle i64 {end}, {alive}"))
        whole = self.emit(f"and i1 {tests[0]}, {tests[1]}")
        name = self.begin_if()
        self._block(box, i, j, count, self._whole_columns(box, i, j))
        self.end_if(name, whole)
        edge = self.emit(f"xor i1 {whole}, true")
        name = self.begin_if()
        self._block(box, i, j, count, self._edge_columns(box, i, j))
        self.end_if(name, edge)

    def _at(self, box: _Box, i: str, column: str) -> str:
        moved = self.emit(f"mul nsw i64 {column}, {box.source_step}")
        offset = self.emit(f"add nsw i64 {moved}, {i}")
        return self.emit(f"getelementptr {box.scalar}, ptr {box.source}, i64 {offset}")

    def _whole_columns(self, box: _Box, i: str, j: str) -> list[str]:
        """One vector along the rows for each column of a block that exists."""
        vectors = []
        pointer = self._at(box, i, j)
        for number in range(box.lanes):
            offset: int | str
            if isinstance(box.source_step, int):
                offset = number * box.source_step
            else:
                offset = self.emit(f"mul nsw i64 {box.source_step}, {number}")
            at = self.emit(f"getelementptr {box.scalar}, ptr {pointer}, i64 {offset}")
            vectors.append(self.emit(f"load {box.kind}, ptr {at}, align {box.dtype.itemsize}"))
        return vectors

    def _edge_columns(self, box: _Box, i: str, j: str) -> list[str]:
        """The same at an edge: nothing outside is read, and it counts as zero."""
        kinds = ["i64", "i64"]
        left = self.emit(f"sub nsw i64 {box.rows}, {i}")
        most = self.emit(self.intrinsic("i64", "smin.i64", kinds, [left, str(box.lanes)]))
        alive = self.emit(self.intrinsic("i64", "smax.i64", kinds, [most, "0"]))
        rows = self.prefix_mask(alive, box.lanes).text
        bit = f"<{box.lanes} x i1>"
        vectors = []
        for number in range(box.lanes):
            column = self.emit(f"add nsw i64 {j}, {number}")
            inside = self.emit(f"icmp slt i64 {column}, {box.columns}")
            mask = self.emit(f"select i1 {inside}, {bit} {rows}, {bit} zeroinitializer")
            pointer = self._at(box, i, column)
            vectors.append(self.masked_load(box.dtype, box.lanes, pointer, mask, self.depth))
        return vectors

    def _block(self, box: _Box, i: str, j: str, count: int, vectors: Sequence[str]) -> None:
        """Transpose and store the first `count` rows."""
        row = self.emit(f"mul nsw i64 {i}, {box.target_step}")
        offset = self.emit(f"add nsw i64 {row}, {j}")
        pointer = self.emit(f"getelementptr {box.scalar}, ptr {box.target}, i64 {offset}")
        for number, text in enumerate(transposed(self, box.kind, box.lanes, box.dtype, vectors)):
            if number == count:
                break
            at = self.emit(
                f"getelementptr {box.scalar}, ptr {pointer}, i64 {number * box.target_step}"
            )
            self.put(f"store {box.kind} {text}, ptr {at}, align {box.dtype.itemsize}")


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
