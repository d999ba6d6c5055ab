"""Sorting and binary search along the last axis.

Elements are compared as unsigned integers of the same order. Short rows count the smaller elements
of each; long ones are sorted digit by digit, from the lowest. Knows nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np

from ..codegen.dtypes import (
    ALL,
    DType,
    as_dtype,
    bool_,
    float32,
    float64,
    int32,
    int64,
    uint8,
)
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Alloc, For, Let, Monoid, Serial, Stmt, Store, Tree
from ..codegen.kernel import Any as AnyOrder
from ..codegen.scalar import apply
from . import build, build_order
from .base import (
    Array,
    InputSpec,
    LoopOp,
    Node,
    Sample,
    TensorType,
    dtype_error,
    op_class,
    shape_error,
)
from .batch import batch_extent, spread, with_batch
from .cumulative import nested_loops

__all__ = ["Argsort", "SearchSorted", "Sort"]

_SHORT = 64
"""Rows up to this extent are sorted by counting."""
_DIGITS = 256


def _check_axis(name: str, x: TensorType) -> None:
    if not x.shape:
        shape_error(name, (x,), "there is no axis to sort along", "reshape it to one axis first")


# --- keys -----------------------------------------------------------------------------------------


def _key_dtype(dtype: DType) -> DType:
    return uint8 if dtype is bool_ else as_dtype(f"uint{dtype.bits}")


def _key(x: Expr, descending: bool, signed_zeros: bool = False) -> Expr:
    """An unsigned integer in whose order `x` is sorted; NaN is the largest value.

    With `signed_zeros` the key says all of a number, and minus zero comes before zero.
    """
    dtype, unsigned = x.dtype, _key_dtype(x.dtype)
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
        self.key_dtype = _key_dtype(x.dtype)
        self.place = int32 if self.extent <= int32.highest else int64

    def nest(self) -> tuple[Stmt, ...]:
        if self.extent == 0:
            return ()
        body = self._counted() if self.extent <= _SHORT else self._by_digits()
        return nested_loops(self.rows, body)

    def _key(self, place: Expr) -> Expr:
        return _key(_read(self.x, self.rows, place), self.descending, not self.positions)

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


_SHAPES = ((5,), (1,), (3, 7), (2, 3, 17), (100,), (2, 65), (0,), (0, 3))


def _samples() -> Iterator[tuple[bool, InputSpec]]:
    for place, shape in enumerate(_SHAPES):
        yield bool(place % 2), InputSpec(shape, float64, distinct=True)
    for dtype in (d for d in ALL if d is not float64):
        for descending, shape in ((False, (2, 9)), (True, (70,))):
            yield descending, InputSpec(shape, dtype, -3, 3)


# --- ops ------------------------------------------------------------------------------------------


@op_class("argsort", False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Argsort(LoopOp):
    """The positions of the elements in order, along the last axis.

    Equal elements keep their order, whichever way is sorted; NaN counts as the largest value.
    """

    descending: bool
    name: ClassVar[str] = "argsort"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        _check_axis("argsort", x)
        return TensorType(x.shape, int64)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)

    def ref(self, *arrays: Array) -> Array:
        return _order(arrays[0], self.descending)

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        return _Rows(inputs[0], output, self.descending, positions=True).nest()

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def samples(self) -> Iterator[Sample]:
        for descending, spec in _samples():
            yield Sample(Argsort(descending), (spec,), gradient=False)


def _order(x: Array, descending: bool) -> Array:
    """NumPy's stable order; the stable order downwards is that of the flipped array, flipped."""
    if not descending:
        return np.argsort(x, -1, kind="stable")
    last = x.shape[-1] - 1
    return np.flip(last - np.argsort(np.flip(x, -1), -1, kind="stable"), -1)


@op_class("sort", False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Sort(LoopOp):
    """The elements in order, along the last axis; NaN counts as the largest value."""

    descending: bool
    name: ClassVar[str] = "sort"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        _check_axis("sort", x)
        return x

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        if not x.dtype.is_float:
            return (None,)
        order = build_order.argsort(x, self.descending)
        axis = len(x.shape) - 1
        return (build.scatter_add_along(cotangent, order, axis, x.shape[axis]),)

    def ref(self, *arrays: Array) -> Array:
        result = np.sort(arrays[0], -1)
        return np.flip(result, -1) if self.descending else result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        return _Rows(inputs[0], output, self.descending, positions=False).nest()

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def samples(self) -> Iterator[Sample]:
        for descending, spec in _samples():
            yield Sample(Sort(descending), (spec,))


@op_class("searchsorted", False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class SearchSorted(LoopOp):
    """How many elements of an ordered row lie in front of a value.

    The first operand holds rows in ascending order on its last axis; its other axes are the first
    ones of the second operand, the values.

    Attributes
    ----------
    right : bool
        Whether elements that are equal to the value lie in front of it.
    """

    right: bool
    name: ClassVar[str] = "searchsorted"

    def infer(self, *types: TensorType) -> TensorType:
        ordered, values = types
        _check_axis("searchsorted", ordered)
        if ordered.dtype is not values.dtype:
            dtype_error("searchsorted", types, "the dtypes differ", "convert one of them")
        if ordered.shape[:-1] != values.shape[: len(ordered.shape) - 1]:
            shape_error(
                "searchsorted",
                types,
                "the rows and the values have different first axes",
                "give one row, or one for each row of the values",
            )
        return TensorType(values.shape, int64)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return None, None

    def ref(self, *arrays: Array) -> Array:
        ordered, values = arrays
        side: Literal["left", "right"] = "right" if self.right else "left"
        result = np.empty(values.shape, np.int64)
        for row in np.ndindex(ordered.shape[:-1]):
            result[row] = np.searchsorted(ordered[row], values[row], side)
        return result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        ordered, values = inputs
        extent = int(ordered.shape[-1])  # type: ignore[arg-type]
        places = [Var(f"i{a}", int64, e) for a, e in enumerate(values.shape)]
        lead = places[: len(ordered.shape) - 1]
        value, low = Var("v", values.dtype), Var("low", int64)
        step, size = Var("step", int64), extent.bit_length()
        # The count grows by powers of two, the largest first, as long as the elements up to it
        # lie in front of the value.
        power = apply("shl", number(1), apply("sub", number(size - 1), step))
        grown = apply("add", low, power)
        probe = apply("minimum", apply("sub", grown, number(1)), number(max(extent - 1, 0)))
        fits = apply("le", grown, number(extent))
        further = apply("and", fits, self._in_front(Load(ordered, (*lead, probe)), value))
        start: tuple[Stmt, ...] = (Let(value, Load(values, tuple(places))),)
        if extent == 0:
            return nested_loops(places, (Store(output, tuple(places), number(0)),))
        search = For(
            step,
            size,
            Serial(),
            (),
            ((low, number(0)),),
            (apply("select", further, grown, low),),
        )
        return nested_loops(places, (*start, search, Store(output, tuple(places), low)))

    def _in_front(self, element: Expr, value: Expr) -> Expr:
        """Whether an element lies in front of the value, NaN behind all numbers."""
        if not value.dtype.is_float:
            return apply("le" if self.right else "lt", element, value)
        value_is_nan = apply("ne", value, value)
        if self.right:
            return apply("or", apply("le", element, value), value_is_nan)
        number_before_nan = apply("and", value_is_nan, apply("eq", element, element))
        return apply("or", apply("lt", element, value), number_before_nan)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        ordered, values = operands
        if batched[0]:
            ordered, values = spread(operands, batched)
        elif len(ordered.shape) > 1:
            ordered = with_batch(ordered, batch_extent(operands, batched))
        return build_order.searchsorted(ordered, values, self.right)

    def samples(self) -> Iterator[Sample]:
        for rows, shape, dtype in (
            ((5,), (4,), float64),
            ((1,), (3, 2), float64),
            ((16,), (), float64),
            ((3, 7), (3, 2, 2), float64),
            ((2, 3, 4), (2, 3), float64),
            ((0,), (3,), float64),
            ((9,), (0,), float64),
            ((33,), (17,), float32),
            ((9,), (5,), int32),
            ((9,), (5,), uint8),
            ((9,), (5,), bool_),
        ):
            for right in (False, True):
                ordered = InputSpec(rows, dtype, ordered=True)
                yield Sample(SearchSorted(right), (ordered, InputSpec(shape, dtype)), False)
