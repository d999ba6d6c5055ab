"""Packing: a box of one buffer into a small one, by a function where there is one for it.

Knows strides and loops; decides nothing about what is packed.
"""

from __future__ import annotations

from ..dtypes import bool_
from ..expr import Apply, Buffer, Const, Expr, Load, Var, const, index
from ..kernel import Any, Copy, For, If, Store, Vector
from .llvm_pack import pack_function, pack_name
from .llvm_statements import Statements

__all__ = ["Copies"]


class Copies(Statements):
    """Packing, on top of statements."""

    def copy(self, s: Copy) -> None:
        """Write a packing."""
        if self.vector is not None:
            raise ValueError("a copy inside a vector loop")
        across = self._across(s)
        if across is None:
            self._loops(s)
            return
        dtype = s.target.dtype
        starts = (self.first(s.source, s.starts), self.first(s.target, (s.target_row, index(0))))
        axis = s.column_axis if across else s.row_axis
        numbers = [self.stride(s.source, axis), *s.target.shape]
        for alive, size in zip((s.rows, s.columns), s.target.shape, strict=True):
            bound = self.bound(alive)
            if not isinstance(bound, int):
                both = [bound, str(self.amount(size))]
                call = self.intrinsic("i64", "smin.i64", ["i64", "i64"], both)
                bound = self.emit(call)
            numbers.append(bound)
        numbers.append(self.stride(s.target, 0))
        given = s.source.dtype
        self.declarations |= pack_function(dtype, given, across, self.target)
        arguments = [f"ptr {p}" for p in starts] + [f"i64 {self.amount(n)}" for n in numbers]
        self.put(f"call void @{pack_name(dtype, given, across)}({', '.join(arguments)})")

    def _across(self, s: Copy) -> bool | None:
        """Whether a function packs columns as rows, or rows; None when neither does."""
        dtype = s.target.dtype
        height, width = s.target.shape
        if not (isinstance(height, int) and isinstance(width, int)):
            raise ValueError(f"{s.target.name} needs known extents")
        whole = width % self.target.lanes(dtype) == 0 and self.strides_of(s.target)[1] == 1
        wide = dtype.itemsize >= 4 and (dtype.is_float or dtype.is_integer)
        if not (whole and wide and self.target.masked_memory):
            return None
        if s.source.dtype.is_half and not self._cheap_mask(s.source.dtype):
            return None
        strides = self.strides_of(s.source)
        if strides[s.column_axis] == 1:
            return False
        return True if strides[s.row_axis] == 1 else None

    def first(self, buffer: Buffer, starts: tuple[Expr, ...]) -> str:
        """The pointer to where a box starts."""
        address = self.address(buffer, starts)
        return self.element(address.pointer, buffer, address.constant, None)

    def stride(self, buffer: Buffer, axis: int) -> int | str:
        """The stride of an axis, as a number or a register."""
        stride = self.strides_of(buffer)[axis]
        return self.amount(stride)

    def _loops(self, s: Copy) -> None:
        """Loops in the kernel language: the box, and zeros around it when it is not whole."""
        rows, columns = (e for e in s.target.shape if isinstance(e, int))
        whole: Expr = const(True, bool_)
        for alive, size in ((s.rows, rows), (s.columns, columns)):
            if not (isinstance(alive, Const) and alive.origin is None and alive.value >= size):
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
        row = Apply("add", (s.target_row, i), i.dtype)
        value: Expr = Load(s.source, place)
        if s.source.dtype is not s.target.dtype:
            value = Apply("cast", (value,), s.target.dtype)
        store = Store(s.target, (row, j), value)
        inner = For(j, columns, Any(), (store,), mapping=self._mapping(s))
        return For(i, rows, Any(), (inner,))

    def _zeros(self, s: Copy, rows: int, columns: int) -> For:
        i, j = Var("i"), Var("j")
        row = Apply("add", (s.target_row, i), i.dtype)
        store = Store(s.target, (row, j), const(0, s.target.dtype))
        inner = For(j, columns, Any(), (store,), mapping=self._mapping(s))
        return For(i, rows, Any(), (inner,))
