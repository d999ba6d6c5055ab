"""Loops that sort rows, by position or by value.

Elements are compared as unsigned integers of the same order. Many rows lie in the lanes of vectors
and are sorted together, by a network of exchanges. Few ones are sorted one by one: short ones by
counting the smaller elements of each, long ones digit by digit, from the lowest. Knows no op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..codegen.dtypes import DType, as_dtype, bool_, int32, int64, uint8, uint64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Alloc, For, If, Let, Monoid, Serial, Stmt, Store, Tree
from ..codegen.kernel import Any as AnyOrder
from ..codegen.scalar import apply
from .cumulative import nested_loops

__all__ = ["key_of", "key_type", "sorted_rows"]

_SHORT = 64
"""Rows up to this extent are sorted by counting."""
_DIGITS = 256
_TOGETHER = 16
"""Rows that a network sorts at once."""
_NEAR = 1 << 15
"""Bytes that stay in the first cache."""
_LARGEST_NETWORK = 1 << 13
"""Elements of a row: more of them, of all rows together, fill the second cache."""


# --- keys -----------------------------------------------------------------------------------------


def key_type(dtype: DType) -> DType:
    return uint8 if dtype is bool_ else as_dtype(f"uint{dtype.bits}")


def key_of(x: Expr, descending: bool, signed_zeros: bool = False) -> Expr:
    """An unsigned integer in whose order `x` is sorted; NaN is the largest value.

    With `signed_zeros` the key says all of a number, and minus zero comes before zero.
    """
    dtype, unsigned = x.dtype, key_type(x.dtype)
    ones = Const(-1, unsigned)
    if dtype is bool_:
        key = apply("cast", x, dtype=uint8)
    elif dtype.kind == "uint":
        key = x
    else:
        top = Const(1 << (dtype.bits - 1), unsigned)
        if dtype.is_float and not signed_zeros:
            x = apply("add", x, Const(0.0, dtype))
        key = apply("bitcast", x, dtype=unsigned)
        if dtype.is_float:
            negative = apply("ne", apply("and", key, top), Const(0, unsigned))
            turned = apply("xor", key, apply("select", negative, ones, top))
            key = apply("select", apply("ne", x, x), ones, turned)
        else:
            key = apply("xor", key, top)
    return apply("xor", key, ones) if descending else key


def _value(key: Expr, dtype: DType, descending: bool) -> Expr:
    """The element that has a key, minus zero told apart."""
    unsigned = key.dtype
    ones = Const(-1, unsigned)
    if descending:
        key = apply("xor", key, ones)
    if dtype is bool_:
        return apply("ne", key, Const(0, unsigned))
    if dtype.kind == "uint":
        return key
    top = Const(1 << (dtype.bits - 1), unsigned)
    if not dtype.is_float:
        return apply("bitcast", apply("xor", key, top), dtype=dtype)
    positive = apply("ne", apply("and", key, top), Const(0, unsigned))
    # The bits of the key of NaN are those of a NaN with the sign taken off.
    return apply("bitcast", apply("xor", key, apply("select", positive, top, ones)), dtype=dtype)


# --- loops ----------------------------------------------------------------------------------------


def _read(x: Buffer, rows: Sequence[Var], place: Expr) -> Load:
    return Load(x, (*rows, place))


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
        result: Expr = _value(Load(keys, (half, i)), self.x.dtype, self.descending)
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
class _Network:
    """Loops that sort rows beside each other, one in each lane, by exchanges.

    A merge begins with an exchange of mirrored elements and goes on with halves of halves, so that
    the smaller element always comes to the front: what a power of two has beyond the last element
    is left out, but for a few keys that are the largest. Positions are the lower halves of keys of
    64 bits.
    """

    def __init__(self, x: Buffer, output: Buffer, descending: bool, positions: bool) -> None:
        self.x = x
        self.output = output
        self.descending = descending
        self.positions = positions
        *lead, self.count, self.extent = (int(e) for e in x.shape)  # type: ignore[arg-type]
        self.lead = [Var(f"i{a}", int64, e) for a, e in enumerate(lead)]
        self.block = Var("b", int64, -(-self.count // _TOGETHER))
        self.dtype = uint64 if positions else key_type(x.dtype)
        self.steps = (self.extent - 1).bit_length()
        power = 1 << self.steps
        # Passes over whole groups are the fast ones.
        self.padded = power if 8 * self.extent >= 7 * power else -(-self.extent // 4) * 4
        self.keys = Buffer("keys", self.dtype, (self.padded, _TOGETHER), space="row")

    def nest(self) -> tuple[Stmt, ...]:
        body: list[Stmt] = [Alloc(self.keys), self._fill(), *self._pad()]
        if self.steps:
            body += self._turn(number(0), mirrored=True)
        if self.steps > 1:
            earlier = Var("step", int64, self.steps - 1)
            step = Var("s", int64)
            merge = (Let(step, apply("add", earlier, number(1))), *self._merge(step))
            body.append(For(earlier, self.steps - 1, Serial(), merge))
        body.append(self._write())
        return nested_loops([*self.lead, self.block], tuple(body))

    def _merge(self, step: Expr) -> tuple[Stmt, ...]:
        """Sorted groups of two to the power `step` become groups of twice as many, by two halvings
        at a time; what is left over is one between neighbours."""
        pair, shift = Var("pair", int64), Var("shift", int64)
        twice = apply("mul", pair, number(2))
        inner = (
            Let(shift, apply("sub", apply("sub", step, number(2)), twice)),
            *self._turn_twice(shift),
        )
        count = apply("shr", apply("sub", step, number(1)), number(1))
        odd = apply("eq", apply("and", step, number(1)), number(0))
        return (
            *self._turn_twice(step, mirrored=True),
            For(pair, count, Serial(), inner),
            If(odd, self._turn(number(0))),
        )

    def _rows(self, lane: Var) -> tuple[tuple[Expr, ...], Expr]:
        """The index of the row of a lane, and how many lanes have one."""
        first = apply("mul", self.block, number(_TOGETHER))
        left = apply("sub", number(self.count), first)
        whole = self.count % _TOGETHER == 0
        lanes = number(_TOGETHER) if whole else apply("minimum", left, number(_TOGETHER))
        return (*self.lead, apply("add", first, lane)), lanes

    def _fill(self) -> For:
        lane, i = Var("lane", int64, _TOGETHER), Var("f", int64, self.extent)
        row, lanes = self._rows(lane)
        key = key_of(Load(self.x, (*row, i)), self.descending, not self.positions)
        if self.positions:
            high = apply("shl", apply("cast", key, dtype=uint64), Const(32, uint64))
            key = apply("or", high, apply("cast", i, dtype=uint64))
        fill = For(i, self.extent, AnyOrder(), (Store(self.keys, (i, lane), key),))
        return For(lane, lanes, AnyOrder(), (fill,))

    def _pad(self) -> tuple[Stmt, ...]:
        more = self.padded - self.extent
        lane, i = Var("lane", int64, _TOGETHER), Var("f", int64, more)
        place = apply("add", number(self.extent), i)
        largest = Store(self.keys, (place, lane), Const(-1, self.dtype))
        return nested_loops((i, lane), (largest,)) if more else ()

    def _turn(
        self, shift: Expr, mirrored: bool = False, first: Expr | None = None
    ) -> tuple[Stmt, ...]:
        """Exchanges of the halves of groups of twice two to the power `shift`, from group `first`.

        The first half is met in order, or `mirrored`, from its end; the second as far as it goes.
        """
        one = number(1)
        distance, middle = Var("distance", int64), Var("middle", int64)
        group, place = Var("group", int64), Var("place", int64)
        half = apply("shl", one, shift)
        # All groups whose second half has an element.
        groups = apply("shr", apply("add", number(self.padded - 1), half), apply("add", shift, one))
        at: Expr = group
        if first is not None:
            groups, at = apply("sub", groups, first), apply("add", first, group)
        start = apply("shl", at, apply("add", shift, one))
        front = apply("sub", middle, one) if mirrored else apply("sub", middle, distance)
        low = apply("sub" if mirrored else "add", front, place)
        left = apply("sub", number(self.padded), middle)
        exchange = self._exchanged(((0, 1),), (low, apply("add", middle, place)))
        body = (
            Let(distance, half),
            Let(middle, apply("add", start, distance)),
            For(place, apply("minimum", distance, left), AnyOrder(), (exchange,)),
        )
        return (For(group, groups, AnyOrder(), body),)

    def _turn_twice(self, shift: Expr, mirrored: bool = False) -> tuple[Stmt, ...]:
        """The exchanges of groups, then those of their halves, in one pass over whole groups."""
        one = number(1)
        quarter, start = Var("quarter", int64), Var("start", int64)
        group, place, whole = Var("group", int64), Var("place", int64), Var("whole", int64)
        size = apply("add", shift, one)
        below = apply("sub", shift, one)
        first = apply("add", start, place)
        second = apply("add", first, quarter)
        if mirrored:
            last = apply("sub", apply("add", start, apply("shl", one, size)), one)
            fourth = apply("sub", last, place)
            third = apply("sub", fourth, quarter)
            pairs = ((0, 3), (1, 2), (0, 1), (2, 3))
        else:
            third = apply("add", second, quarter)
            fourth = apply("add", third, quarter)
            pairs = ((0, 2), (1, 3), (0, 1), (2, 3))
        body = (
            Let(quarter, apply("shl", one, below)),
            Let(start, apply("shl", group, size)),
            For(
                place,
                quarter,
                AnyOrder(),
                (self._exchanged(pairs, (first, second, third, fourth)),),
            ),
        )
        return (
            Let(whole, apply("shr", number(self.padded), size)),
            For(group, whole, AnyOrder(), body),
            *self._turn(shift, mirrored, whole),
            *self._turn(below, first=apply("add", whole, whole)),
        )

    def _exchanged(self, pairs: Sequence[tuple[int, int]], places: Sequence[Expr]) -> For:
        """Of each pair of elements the smaller one to the front, one pair after the other."""
        lane = Var("lane", int64, _TOGETHER)
        values = [Var(f"e{i}", self.dtype) for i in range(len(places))]
        body: list[Stmt] = [
            Let(value, Load(self.keys, (place, lane)))
            for value, place in zip(values, places, strict=True)
        ]
        now: list[Expr] = list(values)
        for a, b in pairs:
            less, more = apply("minimum", now[a], now[b]), apply("maximum", now[a], now[b])
            now[a], now[b] = less, more
        body += [
            Store(self.keys, (place, lane), value) for value, place in zip(now, places, strict=True)
        ]
        return For(lane, _TOGETHER, AnyOrder(), tuple(body))

    def _write(self) -> For:
        lane, i = Var("lane", int64, _TOGETHER), Var("w", int64, self.extent)
        row, lanes = self._rows(lane)
        key = Load(self.keys, (i, lane))
        if self.positions:
            found = apply("cast", apply("and", key, Const((1 << 32) - 1, uint64)), dtype=int64)
        else:
            found = _value(key, self.x.dtype, self.descending)
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
    return count * single > -(-count // _TOGETHER) * network


def sorted_rows(x: Buffer, output: Buffer, descending: bool, positions: bool) -> tuple[Stmt, ...]:
    """Loops that write every row of `x` in order, or where its elements are."""
    if x.shape[-1] == 0:
        return ()
    if _in_lanes(x, positions):
        return _Network(x, output, descending, positions).nest()
    return _Rows(x, output, descending, positions).nest()
