"""Contractions: calls of the functions that hold register tiles.

Knows addresses and strides; chooses no tile and knows no loops over tiles.
"""

from __future__ import annotations

from dataclasses import replace

from ..dtypes import float32, uint32
from ..expr import Extent, index
from ..kernel import Contract
from .llvm_tile import TileForm, tile_function
from .llvm_unfold import Unfolds

__all__ = ["Contracts"]


class Contracts(Unfolds):
    """Contraction, on top of packing."""

    def contract(self, s: Contract) -> None:
        """Write a register tile; where columns may lack, a masked one beside the whole one."""
        if self.vector is not None:
            raise ValueError("a contraction inside a vector loop")
        dtype = s.acc.dtype
        if not (dtype.is_float or dtype.is_integer):
            raise ValueError(f"no register tile of {dtype}")
        height, width = (self._number(extent) for extent in s.acc.shape)
        lanes = self.target.lanes(dtype)
        while width % lanes:
            lanes //= 2
        rows, columns = self.bound(s.rows), self.bound(s.columns)
        height = min(height, rows) if isinstance(rows, int) else height
        alive = min(width, columns) if isinstance(columns, int) else width
        a, b = (o.dtype if o.dtype.is_half else None for o in (s.a, s.b))
        pairs = dtype is float32 and s.a.dtype is uint32
        form = TileForm(dtype, lanes, height, width, alive, (a, b), s.ahead, pairs)
        if height <= 0 or alive <= 0:
            return
        pointers = [
            self.first(s.a, s.a_starts),
            self.first(s.b, s.b_starts),
            self.first(s.acc, (s.acc_row, index(0))),
        ]
        numbers = [
            self.bound(s.extent),
            self._clamped(rows, height),
            self.stride(s.a, s.a_row_axis),
            self.stride(s.a, s.a_sum_axis),
            self.stride(s.b, s.b_sum_axis),
            columns,
        ]
        onward = None if s.onward is None else self.operand(self.value(s.onward), 0)
        numbers.append(0 if onward is None else self.emit(f"zext i1 {onward} to i64"))
        if isinstance(columns, int):
            self._call(form, pointers, numbers)
            return
        whole = self.emit(f"icmp sge i64 {columns}, {width}")
        name = self.begin_if()
        self._call(form, pointers, numbers)
        self.end_if(name, whole)
        edge = self.emit(f"xor i1 {whole}, true")
        name = self.begin_if()
        self._call(replace(form, alive=None), pointers, numbers)
        self.end_if(name, edge)

    def _call(self, form: TileForm, pointers: list[str], numbers: list[int | str]) -> None:
        self.declarations |= tile_function(form, self.target)
        arguments = [f"ptr {p}" for p in pointers] + [f"i64 {self.amount(n)}" for n in numbers]
        self.put(f"call void @{form.name}({', '.join(arguments)})")

    def _clamped(self, rows: int | str, height: int) -> int | str:
        if isinstance(rows, int):
            return height
        call = self.intrinsic("i64", "smin.i64", ["i64", "i64"], [rows, str(height)])
        return self.emit(call)

    def _number(self, extent: Extent) -> int:
        if not isinstance(extent, int):
            raise ValueError("a register tile needs known extents")
        return extent
