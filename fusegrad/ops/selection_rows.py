"""Loops that find the first elements of the order of many rows, one row in each lane of vectors.

The best so far lie in order. As many elements at a time are sorted by a network and merged with
them. Knows no op.
"""

from __future__ import annotations

from typing import Final, final

from ..codegen.dtypes import int64, uint64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Alloc, For, Let, Serial, Stmt, Store
from ..codegen.kernel import Any as AnyOrder
from ..codegen.networks import TOGETHER, Network, halves
from ..codegen.scalar import apply
from .build_order import kept_beside, pays_beside
from .cumulative import nested_loops
from .sorting_keys import key_of, key_type, place_of, with_place

__all__ = ["first_beside"]

_IN_REGISTERS: Final = 16
"""Elements of a lane."""


@final
class _Beside:
    def __init__(self, x: Buffer, output: Buffer, descending: bool) -> None:
        self.x = x
        self.output = output
        self.descending = descending
        *lead, self.count, self.extent = (int(e) for e in x.shape)  # type: ignore[arg-type]
        self.lead = [Var(f"i{a}", int64, e) for a, e in enumerate(lead)]
        self.block = Var("b", int64, -(-self.count // TOGETHER))
        self.wanted = int(output.shape[-1])  # type: ignore[arg-type]
        self.kept = kept_beside(self.wanted)
        self.keys = Buffer("keys", uint64, (self.kept, TOGETHER), space="row")
        self.best = Buffer("best", uint64, (self.kept, TOGETHER), space="row")

    def nest(self) -> tuple[Stmt, ...]:
        piece, start = Var("piece", int64, -(-self.extent // self.kept)), Var("start", int64)
        length = Var("length", int64)
        left = apply("minimum", number(self.kept), apply("sub", number(self.extent), start))
        step = (
            Let(start, apply("mul", piece, number(self.kept))),
            Let(length, left),
            self._fill(start, length),
            *self._largest(self.keys, length),
            *Network(self.keys).sorted(),
            *self._merge(),
        )
        body = (
            Alloc(self.keys),
            Alloc(self.best),
            *self._largest(self.best, number(0)),
            For(piece, -(-self.extent // self.kept), Serial(), step),
            self._write(),
        )
        return nested_loops([*self.lead, self.block], body)

    def _row(self, lane: Var) -> tuple[tuple[Expr, ...], Expr]:
        """The index of the row of a lane, and how many lanes have one."""
        first = apply("mul", self.block, number(TOGETHER))
        left = apply("minimum", apply("sub", number(self.count), first), number(TOGETHER))
        return (*self.lead, apply("add", first, lane)), left

    def _fill(self, start: Expr, length: Expr) -> For:
        lane, i = Var("lane", int64, TOGETHER), Var("f", int64)
        row, lanes = self._row(lane)
        place = apply("add", start, i)
        key = key_of(Load(self.x, (*row, place)), self.descending)
        fill = For(i, length, AnyOrder(), (Store(self.keys, (i, lane), with_place(key, place)),))
        return For(lane, lanes, AnyOrder(), (fill,))

    def _largest(self, keys: Buffer, start: Expr) -> tuple[Stmt, ...]:
        """Keys behind all others from a place on."""
        i, lane = Var("g", int64), Var("lane", int64, TOGETHER)
        store = Store(keys, (apply("add", start, i), lane), Const(-1, uint64))
        inner = For(lane, TOGETHER, AnyOrder(), (store,))
        return (For(i, apply("sub", number(self.kept), start), AnyOrder(), (inner,)),)

    def _merge(self) -> tuple[Stmt, ...]:
        """The smaller halves of both, which rise and then fall, into order."""
        i, lane = Var("m", int64, self.kept), Var("lane", int64, TOGETHER)
        mirrored = Load(self.keys, (apply("sub", number(self.kept - 1), i), lane))
        less = apply("minimum", Load(self.best, (i, lane)), mirrored)
        take = For(lane, TOGETHER, AnyOrder(), (Store(self.best, (i, lane), less),))
        network = Network(self.best)
        size = min(self.kept, _IN_REGISTERS)
        result: list[Stmt] = [For(i, self.kept, AnyOrder(), (take,))]
        parts = self.kept // size
        if parts > 1:
            place = Var("place", int64, size)
            places = [apply("add", place, number(part * size)) for part in range(parts)]
            exchange = network.exchanged(halves(parts, parts.bit_length() - 1), places)
            result.append(For(place, size, AnyOrder(), (exchange,)))
        return *result, *network.blocks(size, halves(size, size.bit_length() - 1))

    def _write(self) -> For:
        lane, j = Var("lane", int64, TOGETHER), Var("w", int64, self.wanted)
        row, lanes = self._row(lane)
        store = Store(self.output, (*row, j), place_of(Load(self.best, (j, lane))))
        return For(lane, lanes, AnyOrder(), (For(j, self.wanted, AnyOrder(), (store,)),))


def first_beside(x: Buffer, output: Buffer, descending: bool) -> tuple[Stmt, ...] | None:
    """Loops that write where the first elements of every row are; None where others are faster."""
    if len(x.shape) < 2:
        return None
    rows, extent = (int(e) for e in x.shape[-2:])  # type: ignore[arg-type]
    bits = key_type(x.dtype).bits
    if not pays_beside(bits, rows, extent, int(output.shape[-1])):  # type: ignore[arg-type]
        return None
    return _Beside(x, output, descending).nest()
