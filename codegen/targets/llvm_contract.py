"""The register tile of a contraction: accumulators stay in registers over the whole sum.

Knows addresses and masks; chooses no tile and knows no loops over tiles.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from ..dtypes import DType
from ..expr import Buffer, Expr, Extent, index
from ..kernel import Contract
from .llvm_address import memory_type
from .llvm_copy import Copies

__all__ = ["Contracts"]

_UNROLL = 4


@final
@dataclass
class _Tile:
    """One version of a register tile: its size, its pointers and its masks.

    `row_offsets` are element offsets of the rows of `a`, `masks` one for each vector of columns
    (None: all lanes, "": no lane).
    """

    dtype: DType
    lanes: int
    a: str
    b: str
    row_offsets: list[int | str]
    masks: list[str | None]
    a_step: int | str
    b_step: int | str

    @property
    def scalar(self) -> str:
        return "float" if self.dtype.bits == 32 else "double"

    @property
    def kind(self) -> str:
        return f"<{self.lanes} x {self.scalar}>"


class Contracts(Copies):
    """Contraction, on top of copies."""

    def contract(self, s: Contract) -> None:
        """Write a register tile; a second version takes care of edges when there may be any."""
        if self.vector is not None:
            raise ValueError("a contraction inside a vector loop")
        if not s.acc.dtype.is_float:
            raise ValueError(f"no register tile of {s.acc.dtype}")
        rows, columns = (self._number(extent) for extent in s.acc.shape)
        alive_rows, alive_columns = self.bound(s.rows), self.bound(s.columns)
        if isinstance(alive_rows, int) and isinstance(alive_columns, int):
            self._version(s, min(rows, alive_rows), min(columns, alive_columns))
            return
        tests = [
            self.emit(f"icmp sge i64 {alive}, {size}")
            for alive, size in ((alive_rows, rows), (alive_columns, columns))
            if isinstance(alive, str)
        ]
        whole = tests[0] if len(tests) == 1 else self.emit(f"and i1 {tests[0]}, {tests[1]}")
        name = self.begin_if()
        self._version(
            s,
            min(rows, alive_rows) if isinstance(alive_rows, int) else rows,
            min(columns, alive_columns) if isinstance(alive_columns, int) else columns,
        )
        self.end_if(name, whole)
        edge = self.emit(f"xor i1 {whole}, true")
        name = self.begin_if()
        self._version(s, alive_rows, alive_columns)
        self.end_if(name, edge)

    def _number(self, extent: Extent) -> int:
        if not isinstance(extent, int):
            raise ValueError("a register tile needs known extents")
        return extent

    def _version(self, s: Contract, rows: int | str, columns: int | str) -> None:
        """The whole tile for that many rows and columns."""
        height, width = (self._number(extent) for extent in s.acc.shape)
        dtype = s.acc.dtype
        lanes = self.target.lanes(dtype)
        while width % lanes:
            lanes //= 2
        a, b = self.address(s.a, s.a_starts), self.address(s.b, s.b_starts)
        tile = _Tile(
            dtype,
            lanes,
            self.element(a.pointer, s.a, a.constant, None),
            self.element(b.pointer, s.b, b.constant, None),
            self._rows(self._step(s.a, s.a_row_axis), rows, height),
            self._masks(columns, width // lanes, lanes),
            self._step(s.a, s.a_sum_axis),
            self._step(s.b, s.b_sum_axis),
        )
        vectors = sum(mask != "" for mask in tile.masks)
        states = ["zeroinitializer"] * (len(tile.row_offsets) * vectors)
        states = self._sum(s, tile, states)
        self._write(s.acc, tile, states)

    def _step(self, buffer: Buffer, axis: int) -> int | str:
        """The stride of an axis, as a number or a register."""
        stride = self.strides_of(buffer)[axis]
        return stride if isinstance(stride, int) else self.value(stride).text

    def _times(self, amount: int | str, factor: int | str) -> int | str:
        if isinstance(amount, int) and isinstance(factor, int):
            return amount * factor
        if factor == 1:
            return amount
        return 0 if factor == 0 else self.emit(f"mul nsw i64 {amount}, {factor}")

    def _rows(self, step: int | str, rows: int | str, height: int) -> list[int | str]:
        """Where the rows of `a` start; rows outside repeat the last one inside."""
        if isinstance(rows, int):
            return [self._times(step, i) for i in range(rows)]
        last = self.emit(f"sub nsw i64 {rows}, 1")
        offsets: list[int | str] = []
        for i in range(height):
            call = self.intrinsic("i64", "smin.i64", ["i64", "i64"], [str(i), last])
            offsets.append(self._times(step, self.emit(call)) if i else 0)
        return offsets

    def _masks(self, columns: int | str, vectors: int, lanes: int) -> list[str | None]:
        masks: list[str | None] = []
        for j in range(vectors):
            if isinstance(columns, int):
                alive = min(lanes, max(0, columns - j * lanes))
                text = self.prefix_mask(alive, lanes).text if alive else ""
                masks.append(None if alive == lanes else text)
                continue
            left = self.emit(f"sub nsw i64 {columns}, {j * lanes}") if j else columns
            kinds = ["i64", "i64"]
            most = self.emit(self.intrinsic("i64", "smin.i64", kinds, [left, str(lanes)]))
            some = self.emit(self.intrinsic("i64", "smax.i64", kinds, [most, "0"]))
            masks.append(self.prefix_mask(some, lanes).text)
        return masks

    # --- the sum ---------------------------------------------------------------------------------

    def _sum(self, s: Contract, tile: _Tile, states: list[str]) -> list[str]:
        """The loop over the sum axis: blocks, then one by one.

        A tile that leaves one register of 32 is not unrolled: LLVM's scheduler would spill.
        """
        extent = self.bound(s.extent)
        needed = len(states) + len(states) // max(1, len(tile.row_offsets)) + 1
        unroll = 1 if 32 <= self.target.registers < needed + 2 else _UNROLL
        types = ["ptr", "ptr", *[tile.kind] * len(states)]
        state = [tile.a, tile.b, *states]
        if isinstance(extent, int):
            whole = extent - extent % unroll
            if whole:
                state = self._range(tile, "0", str(whole), unroll, types, state)
            for _ in range(whole, extent):
                state = self._single(tile, state)
            return state[2:]
        middle = self.emit(f"and i64 {extent}, {-unroll}")
        parts = [("0", middle, unroll), (middle, extent, 1)][: 2 if unroll > 1 else 1]
        for start, stop, step in parts:
            going = self.emit(f"icmp slt i64 {start}, {stop}")
            name = self.begin_if()
            after = self._range(tile, start, stop, step, types, state)
            state = self.end_if(name, going, list(zip(types, after, state, strict=True)))
        return state[2:]

    def _range(
        self, tile: _Tile, start: str, stop: str, step: int, types: list[str], state: list[str]
    ) -> list[str]:
        """A loop of `step` products an iteration; it carries both pointers and the tile."""
        steps = [[self._times(by, u) for u in range(step + 1)] for by in (tile.a_step, tile.b_step)]
        loop = self.begin_loop(start, stop, step, list(zip(types, state, strict=True)))
        a, b, *states = loop.phis
        a, b = (self.emit(f"freeze ptr {p}") for p in (a, b))
        for u in range(step):
            states = self._products(tile, a, b, steps[0][u], steps[1][u], states)
        a, b = (self._offset(tile.scalar, p, by[step]) for p, by in zip((a, b), steps, strict=True))
        return self.end_loop(loop, [a, b, *states])

    def _single(self, tile: _Tile, state: list[str]) -> list[str]:
        """One product outside the loop."""
        a, b, *states = state
        states = self._products(tile, a, b, 0, 0, states)
        a, b = self._offset(tile.scalar, a, tile.a_step), self._offset(tile.scalar, b, tile.b_step)
        return [a, b, *states]

    def _products(
        self,
        tile: _Tile,
        a: str,
        b: str,
        a_offset: int | str,
        b_offset: int | str,
        states: Sequence[str],
    ) -> list[str]:
        """One step of the sum: a row of `b` times a column of `a`."""
        scalar, kind, lanes = tile.scalar, tile.kind, tile.lanes
        size = tile.dtype.itemsize
        row = self._offset(scalar, b, b_offset)
        loaded = []
        for j, mask in enumerate(tile.masks):
            if mask == "":
                continue
            pointer = self._offset(scalar, row, j * lanes)
            if mask is None:
                loaded.append(self.emit(f"load {kind}, ptr {pointer}, align {size}"))
            else:
                loaded.append(self.masked_load(tile.dtype, lanes, pointer, mask, self.depth))
        suffix = f"v{lanes}f{tile.dtype.bits}"
        result = []
        column = self._offset(scalar, a, a_offset)
        for i, start in enumerate(tile.row_offsets):
            if isinstance(start, int) and isinstance(a_offset, int):
                pointer = self._offset(scalar, a, start + a_offset)
            else:
                pointer = self._offset(scalar, column, start)
            item = self.emit(f"load {scalar}, ptr {pointer}, align {size}")
            left = self.splat(scalar, item, lanes)
            for j, right in enumerate(loaded):
                state = states[i * len(loaded) + j]
                call = self.intrinsic(kind, f"fma.{suffix}", [kind] * 3, [left, right, state])
                result.append(self.emit(call))
        return result

    def _offset(self, scalar: str, pointer: str, offset: int | str) -> str:
        if offset == 0:
            return pointer
        return self.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {offset}")

    # --- the result -------------------------------------------------------------------------------

    def _write(self, acc: Buffer, tile: _Tile, states: list[str]) -> None:
        """Store the accumulators; columns outside are zero."""
        zero: tuple[Expr, ...] = (index(0), index(0))
        base = self.address(acc, zero)
        width = self._number(acc.shape[1])
        vectors = sum(mask != "" for mask in tile.masks)
        for i in range(len(tile.row_offsets)):
            position = i * vectors
            for j, mask in enumerate(tile.masks):
                text = "zeroinitializer"
                if mask != "":
                    text = states[position]
                    position += 1
                offset = base.constant + i * width + j * tile.lanes
                pointer = self._offset(memory_type(acc), base.pointer, offset)
                self.put(f"store {tile.kind} {text}, ptr {pointer}, align {acc.dtype.itemsize}")
