"""Loops that sort rows, by position or by value.

Elements are compared as unsigned integers of the same order. Many rows lie in the lanes of vectors
and are sorted together, by a network of exchanges. Few ones are sorted one by one: short ones by
counting the smaller elements of each, long ones in memory of their own, those of 8 bits, and places
beside keys of 64, digit by digit, from the lowest. Knows no op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..codegen.dtypes import bool_, int32, int64, uint64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import SPARE, Alloc, Arrange, For, Let, Monoid, Serial, Stmt, Store, Tree
from ..codegen.kernel import Any as AnyOrder
from ..codegen.networks import TOGETHER, Network
from ..codegen.scalar import apply
from .cumulative import nested_loops
from .sorting_keys import key_of, key_type, place_of, value_of, with_place

__all__ = ["ranked_rows", "sorted_rows"]

_SHORT = 64
"""Rows up to this extent are sorted by counting."""
_DIGITS = 256
_NEAR = 1 << 15
"""Bytes that stay in the first cache."""
_SHORTEST = 128
"""Elements of a row that is sorted by itself, and not by a network."""
_LONG = {64: 1 << 8, 32: 1 << 9, 16: 1 << 9}
"""Elements of a row that is sorted by itself, even where others lie beside it, by bits of keys."""
_LARGEST_NETWORK = 1 << 13
"""Elements of a row: more of them, of all rows together, fill the second cache."""


# --- loops ----------------------------------------------------------------------------------------


def _read(x: Buffer, rows: Sequence[Var], place: Expr) -> Load:
    return Load(x, (*rows, place))


def _found(key: Expr, x: Buffer, descending: bool, positions: bool) -> Expr:
    """What is written of a sorted key."""
    return place_of(key) if positions else value_of(key, x.dtype, descending)


@final
class _Rows:
    """Loops that sort every row of a buffer, by position or by value."""

    def __init__(self, x: Buffer, output: Buffer, descending: bool, positions: bool) -> None:
        self.x = x
        self.output = output
        self.descending = descending
        self.positions = positions
        self.extent = int(x.shape[-1])  # type: ignore[arg-type]
        self.rows = [Var(f"i{a}", int64, e) for a, e in enumerate(x.shape[:-1])]
        self.key_dtype = key_type(x.dtype)
        self.place = int32 if self.extent <= int32.highest else int64

    def nest(self) -> tuple[Stmt, ...]:
        body = self._counted() if self.extent <= _SHORT else self._by_digits()
        return nested_loops(self.rows, body)

    def _key(self, place: Expr) -> Expr:
        return key_of(_read(self.x, self.rows, place), self.descending, not self.positions)

    def _counted(self) -> tuple[Stmt, ...]:
        """The place of an element is the number of those that come before it."""
        extent = self.extent
        keys = Buffer("keys", self.key_dtype, (extent,), space="row")
        fill, i, j = (Var(name, int64, extent) for name in ("f", "i", "j"))
        key, place = Var("key", self.key_dtype), Var("p", int32)
        other, narrow = Load(keys, (j,)), [apply("cast", v, dtype=int32) for v in (j, i)]
        earlier = apply("and", apply("eq", other, key), apply("lt", *narrow))
        before = apply("or", apply("lt", other, key), earlier)
        count = For(
            j,
            extent,
            Tree((Monoid.SUM,)),
            (),
            ((place, Const(0, int32)),),
            (apply("cast", before, dtype=int32),),
        )
        found = i if self.positions else _read(self.x, self.rows, i)
        target = (*self.rows, apply("cast", place, dtype=int64))
        body = (Let(key, Load(keys, (i,))), count, Store(self.output, target, found))
        return (
            Alloc(keys),
            For(fill, extent, AnyOrder(), (Store(keys, (fill,), self._key(fill)),)),
            For(i, extent, Serial(), body),
        )

    def _by_digits(self) -> tuple[Stmt, ...]:
        """Stable passes over the digits of the keys, the lowest first, from one half of the buffers
        to the other. A pass whose digits are all equal is left out."""
        extent, passes = self.extent, self.key_dtype.itemsize
        keys = Buffer("keys", self.key_dtype, (2, extent), space="row")
        places = Buffer("places", self.place, (2, extent), space="row")
        counts = Buffer("counts", self.place, (passes, _DIGITS), space="row")
        d, half = Var("d", int64, passes), Var("half", int64)
        buffers = (keys, places, counts) if self.positions else (keys, counts)
        allocations = tuple(map(Alloc, buffers))
        fill = self._fill(keys, places, counts)
        first = self._digit(Load(keys, (half, number(0))), d)
        equal, single = Var("equal", self.place), Var("single", bool_)
        several = apply("select", single, number(0), number(extent))
        turned = apply("select", single, half, apply("sub", number(1), half))
        turn = For(
            d,
            passes,
            Serial(),
            (
                Let(equal, Load(counts, (d, first))),
                Let(single, apply("eq", equal, Const(extent, self.place))),
                self._starts(counts, d),
                self._distribute(keys, places, counts, d, half, several),
            ),
            ((half, number(0)),),
            (turned,),
        )
        i = Var("i", int64, extent)
        result: Expr = value_of(Load(keys, (half, i)), self.x.dtype, self.descending)
        if self.positions:
            result = apply("cast", Load(places, (half, i)), dtype=int64)
        last = For(i, extent, AnyOrder(), (Store(self.output, (*self.rows, i), result),))
        return (*allocations, *fill, turn, last)

    @staticmethod
    def _digit(key: Expr, d: Expr) -> Expr:
        shift = apply("cast", apply("mul", d, number(8)), dtype=key.dtype)
        digit = apply("and", apply("shr", key, shift), Const(_DIGITS - 1, key.dtype))
        return apply("cast", digit, dtype=int64)

    def _fill(self, keys: Buffer, places: Buffer, counts: Buffer) -> tuple[Stmt, ...]:
        """The keys in the first half, and how often each digit occurs."""
        d, c = Var("d", int64, counts.shape[0]), Var("c", int64, _DIGITS)
        empty = Store(counts, (d, c), Const(0, self.place))
        i, count = (Var(name, int64, self.extent) for name in ("f", "m"))
        fill = [Store(keys, (number(0), i), self._key(i))]
        if self.positions:
            fill.append(Store(places, (number(0), i), apply("cast", i, dtype=self.place)))
        key = Var("key", keys.dtype)
        add = [
            Store(
                counts,
                (number(p), self._digit(key, number(p))),
                Const(1, self.place),
                Monoid.SUM,
            )
            for p in range(int(counts.shape[0]))  # type: ignore[arg-type]
        ]
        return (
            *nested_loops((d, c), (empty,)),
            For(i, self.extent, AnyOrder(), tuple(fill)),
            For(
                count,
                self.extent,
                Serial(),
                (Let(key, Load(keys, (number(0), count))), *add),
            ),
        )

    def _starts(self, counts: Buffer, d: Var) -> For:
        """How often each digit occurs becomes where its elements begin."""
        c, total, own = Var("c", int64, _DIGITS), Var("total", self.place), Var("own", self.place)
        body = (Let(own, Load(counts, (d, c))), Store(counts, (d, c), total))
        following = (apply("add", total, own),)
        return For(c, _DIGITS, Serial(), body, ((total, Const(0, self.place)),), following)

    def _distribute(
        self, keys: Buffer, places: Buffer, counts: Buffer, d: Var, half: Var, extent: Expr
    ) -> For:
        i, key, digit = Var("i", int64), Var("key", keys.dtype), Var("digit", int64)
        start = Var("start", self.place)
        target = (apply("sub", number(1), half), apply("cast", start, dtype=int64))
        body = [
            Let(key, Load(keys, (half, i))),
            Let(digit, self._digit(key, d)),
            Let(start, Load(counts, (d, digit))),
            Store(keys, target, key),
            Store(counts, (d, digit), apply("add", start, Const(1, self.place))),
        ]
        if self.positions:
            body.append(Store(places, target, Load(places, (half, i))))
        return For(i, extent, Serial(), tuple(body))


@final
class _Beside:
    """Loops that sort rows beside each other, one in each lane, by a network.

    A few keys that are the largest fill what the network passes over in whole groups. Positions are
    the lower halves of keys of 64 bits.
    """

    def __init__(self, x: Buffer, output: Buffer, descending: bool, positions: bool) -> None:
        self.x = x
        self.output = output
        self.descending = descending
        self.positions = positions
        *lead, self.count, self.extent = (int(e) for e in x.shape)  # type: ignore[arg-type]
        self.lead = [Var(f"i{a}", int64, e) for a, e in enumerate(lead)]
        self.block = Var("b", int64, -(-self.count // TOGETHER))
        self.dtype = uint64 if positions else key_type(x.dtype)
        power = 1 << (self.extent - 1).bit_length()
        # Passes over whole groups are the fast ones.
        unit = 8 if self.extent > 16 else 4
        self.padded = power if 8 * self.extent >= 7 * power else -(-self.extent // unit) * unit
        self.keys = Buffer("keys", self.dtype, (self.padded, TOGETHER), space="row")

    def nest(self) -> tuple[Stmt, ...]:
        body = (
            Alloc(self.keys),
            self._fill(),
            *self._pad(),
            *Network(self.keys).sorted(),
            self._write(),
        )
        return nested_loops([*self.lead, self.block], body)

    def _rows(self, lane: Var) -> tuple[tuple[Expr, ...], Expr]:
        """The index of the row of a lane, and how many lanes have one."""
        first = apply("mul", self.block, number(TOGETHER))
        left = apply("sub", number(self.count), first)
        whole = self.count % TOGETHER == 0
        lanes = number(TOGETHER) if whole else apply("minimum", left, number(TOGETHER))
        return (*self.lead, apply("add", first, lane)), lanes

    def _fill(self) -> For:
        lane, i = Var("lane", int64, TOGETHER), Var("f", int64, self.extent)
        row, lanes = self._rows(lane)
        key = key_of(Load(self.x, (*row, i)), self.descending, not self.positions)
        if self.positions:
            key = with_place(key, i)
        fill = For(i, self.extent, AnyOrder(), (Store(self.keys, (i, lane), key),))
        return For(lane, lanes, AnyOrder(), (fill,))

    def _pad(self) -> tuple[Stmt, ...]:
        more = self.padded - self.extent
        lane, i = Var("lane", int64, TOGETHER), Var("f", int64, more)
        place = apply("add", number(self.extent), i)
        largest = Store(self.keys, (place, lane), Const(-1, self.dtype))
        return nested_loops((i, lane), (largest,)) if more else ()

    def _write(self) -> For:
        lane, i = Var("lane", int64, TOGETHER), Var("w", int64, self.extent)
        row, lanes = self._rows(lane)
        key = Load(self.keys, (i, lane))
        found = _found(key, self.x, self.descending, self.positions)
        write = For(i, self.extent, AnyOrder(), (Store(self.output, (*row, i), found),))
        return For(lane, lanes, AnyOrder(), (write,))


def _in_lanes(x: Buffer, positions: bool) -> bool:
    """Whether a network sorts the rows sooner than one row after the other is sorted.

    Estimates of cycles: an exchange loads and stores two vectors; a digit is counted and
    distributed one element at a time; counting compares each element with vectors of others.
    """
    if len(x.shape) < 2:
        return False
    count, extent = (int(e) for e in x.shape[-2:])  # type: ignore[arg-type]
    bits = key_type(x.dtype).bits
    if not 1 < extent <= _LARGEST_NETWORK or (positions and bits > 32):
        return False
    steps = (extent - 1).bit_length()
    vectors = 2 if positions or bits > 32 else 1
    near = extent * vectors * 64 < _NEAR
    exchange = 1 + (2 if near else 4) * vectors
    network = extent * (8 + exchange * steps * (steps + 1) / 4)
    if extent <= _SHORT:
        single = extent * (15 + 5 * -(-extent // 16))
    else:
        single = (4 * extent + 1000) * (bits // 8 + 1)
    return count * single > -(-count // TOGETHER) * network


@final
class _Arranged:
    """Loops that sort one row after the other, as keys in memory of their own."""

    def __init__(self, x: Buffer, output: Buffer, descending: bool, positions: bool) -> None:
        self.x = x
        self.output = output
        self.descending = descending
        self.positions = positions
        self.extent = int(x.shape[-1])  # type: ignore[arg-type]
        self.rows = [Var(f"i{a}", int64, e) for a, e in enumerate(x.shape[:-1])]
        self.dtype = uint64 if positions else key_type(x.dtype)

    def nest(self, first: int, last: int) -> tuple[Stmt, ...]:
        """The elements that come at these places of the order."""
        keys = Buffer("keys", self.dtype, (self.extent,), space="row")
        spare = Buffer("spare", self.dtype, (self.extent + SPARE,), space="row")
        f, w = Var("f", int64, self.extent), Var("w", int64, last - first)
        key = key_of(_read(self.x, self.rows, f), self.descending, not self.positions)
        if self.positions:
            key = with_place(key, f)
        found = Load(keys, (apply("add", number(first), w) if first else w,))
        value = _found(found, self.x, self.descending, self.positions)
        body = (
            Alloc(keys),
            Alloc(spare),
            For(f, self.extent, AnyOrder(), (Store(keys, (f,), key),)),
            Arrange(keys, spare, self.extent, first, last),
            For(w, last - first, AnyOrder(), (Store(self.output, (*self.rows, w), value),)),
        )
        return nested_loops(self.rows, body)


def ranked_rows(
    x: Buffer, output: Buffer, descending: bool, positions: bool, first: int
) -> tuple[Stmt, ...]:
    """Loops that write what comes at some places of the order, from `first` on."""
    if not output.shape[-1]:
        return ()
    last = first + int(output.shape[-1])  # type: ignore[arg-type]
    return _Arranged(x, output, descending, positions).nest(first, last)


def sorted_rows(x: Buffer, output: Buffer, descending: bool, positions: bool) -> tuple[Stmt, ...]:
    """Loops that write every row of `x` in order, or where its elements are."""
    if x.shape[-1] == 0:
        return ()
    extent = int(x.shape[-1])  # type: ignore[arg-type]
    bits = key_type(x.dtype).bits
    arranged = extent >= _SHORTEST and (bits <= 32 if positions else bits > 8)
    if arranged and extent >= _LONG[64 if positions else bits]:
        return _Arranged(x, output, descending, positions).nest(0, extent)
    if _in_lanes(x, positions):
        return _Beside(x, output, descending, positions).nest()
    if arranged:
        return _Arranged(x, output, descending, positions).nest(0, extent)
    return _Rows(x, output, descending, positions).nest()
