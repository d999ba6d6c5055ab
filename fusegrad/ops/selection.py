"""Parts of an order, without sorting the rest: where its first elements are, what lies within it.

Knows nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen.dtypes import ALL, float32, float64, int16, int32, int64, uint64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Alloc, For, If, Let, Monoid, Serial, Stmt, Store, Tree
from ..codegen.kernel import Any as AnyOrder
from ..codegen.records import dataclass
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
from .cumulative import nested_loops
from .selection_rows import first_beside
from .sorting import order_of
from .sorting_keys import key_of, key_type
from .sorting_rows import ranked_rows

__all__ = ["FirstPlaces", "Ranked"]

_BLOCK = 128
"""Elements that are passed over together where none of them is among the first."""


@final
class _Best:
    """Loops that keep the best elements of a row so far, in order, and where they are.

    A block is looked through only if its least key is smaller than the last of them.
    """

    def __init__(self, x: Buffer, output: Buffer, descending: bool) -> None:
        self.x = x
        self.output = output
        self.descending = descending
        self.extent = int(x.shape[-1])  # type: ignore[arg-type]
        self.count = int(output.shape[-1])  # type: ignore[arg-type]
        self.rows = [Var(f"i{a}", int64, e) for a, e in enumerate(x.shape[:-1])]
        self.dtype = key_type(x.dtype)
        self.place = int32 if self.extent <= int32.highest else int64
        self.keys = Buffer("keys", self.dtype, (self.count,), space="row")
        self.places = Buffer("places", self.place, (self.count,), space="row")

    def nest(self) -> tuple[Stmt, ...]:
        if not self.count:
            return ()
        j = Var("j", int64, self.count)
        empty = (
            Store(self.keys, (j,), Const(-1, self.dtype)),
            Store(self.places, (j,), Const(0, self.place)),
        )
        found = apply("cast", Load(self.places, (j,)), dtype=int64)
        body = (
            Alloc(self.keys),
            Alloc(self.places),
            For(j, self.count, AnyOrder(), empty),
            self._blocks(),
            For(j, self.count, AnyOrder(), (Store(self.output, (*self.rows, j), found),)),
        )
        return nested_loops(self.rows, body)

    def _key(self, place: Expr) -> Expr:
        return key_of(Load(self.x, (*self.rows, place)), self.descending)

    def _enters(self, key: Expr, place: Expr) -> Expr:
        """Whether a key comes before the last one that is kept, or there are too few of them."""
        last = Load(self.keys, (number(self.count - 1),))
        early = apply("lt", place, number(self.count))
        return apply("or", apply("lt", key, last), early)

    def _blocks(self) -> For:
        block, start, e = Var("block", int64), Var("start", int64), Var("e", int64)
        length, least = Var("length", int64), Var("least", self.dtype)
        whole = self.extent % _BLOCK == 0
        left = apply("minimum", apply("sub", number(self.extent), start), number(_BLOCK))
        scan = For(
            e,
            length,
            Tree((Monoid.MIN,)),
            (),
            ((least, Const(-1, self.dtype)),),
            (self._key(apply("add", start, e)),),
        )
        body = (
            Let(start, apply("mul", block, number(_BLOCK))),
            Let(length, number(_BLOCK) if whole else left),
            scan,
            If(self._enters(least, start), (self._look_through(start, length),)),
        )
        return For(block, -(-self.extent // _BLOCK), Serial(), body)

    def _look_through(self, start: Var, length: Var) -> For:
        e, at, key = Var("e", int64), Var("at", int64), Var("key", self.dtype)
        body = (
            Let(at, apply("add", start, e)),
            Let(key, self._key(at)),
            If(self._enters(key, at), self._insert(key, at)),
        )
        return For(e, length, Serial(), body)

    def _insert(self, key: Var, at: Var) -> tuple[Stmt, ...]:
        """Behind all that come before it or are equal, in front of the others."""
        j, rank = Var("j", int64, self.count), Var("rank", int64)
        before = apply("and", apply("le", Load(self.keys, (j,)), key), apply("lt", j, at))
        ranked = For(
            j,
            self.count,
            Tree((Monoid.SUM,)),
            (),
            ((rank, number(0)),),
            (apply("cast", before, dtype=int64),),
        )
        step, to = Var("step", int64), Var("to", int64)
        behind = apply("sub", to, number(1))
        move = For(
            step,
            apply("sub", number(self.count - 1), rank),
            Serial(),
            (
                Let(to, apply("sub", number(self.count - 1), step)),
                Store(self.keys, (to,), Load(self.keys, (behind,))),
                Store(self.places, (to,), Load(self.places, (behind,))),
            ),
        )
        return (
            ranked,
            move,
            Store(self.keys, (rank,), key),
            Store(self.places, (rank,), apply("cast", at, dtype=self.place)),
        )


@op_class("first_places", 1, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class FirstPlaces(LoopOp):
    """The first `count` positions of the order along the last axis, as `argsort` gives them."""

    count: int
    descending: bool
    name: ClassVar[str] = "first_places"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if not x.shape:
            shape_error("first_places", (x,), "there is no axis", "reshape it to one axis first")
        if isinstance(x.shape[-1], int) and not 0 <= self.count <= x.shape[-1]:
            shape_error("first_places", (x,), f"there are no {self.count} elements", "take fewer")
        return TensorType((*x.shape[:-1], self.count), int64)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)

    def ref(self, *arrays: Array) -> Array:
        return order_of(arrays[0], self.descending)[..., : self.count]

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        beside = first_beside(inputs[0], output, self.descending)
        return _Best(inputs[0], output, self.descending).nest() if beside is None else beside

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def samples(self) -> Iterator[Sample]:
        for count, shape in (
            *((1, (5,)), (3, (4, 7)), (2, (1, 2)), (5, (2, 3, 300)), (0, (2, 4))),
            *((9, (19, 40)), (33, (5, 170))),
        ):
            for descending in (False, True):
                spec = InputSpec(shape, float64, distinct=True)
                yield Sample(FirstPlaces(count, descending), (spec,), gradient=False)
        for dtype in (d for d in ALL if d is not float64):
            spec = InputSpec((2, 140), dtype, -3, 3)
            yield Sample(FirstPlaces(4, dtype.bits % 16 == 0), (spec,), gradient=False)


@op_class("ranked", 0, 1, False, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Ranked(LoopOp):
    """What comes at the places `first` to `last` - 1 of the order along the last axis.

    The elements, as `Sort` gives them, or their positions, as `Argsort` does. Elements of 16 bits
    at least; for positions, of 32 at most.
    """

    first: int
    last: int
    descending: bool
    positions: bool
    name: ClassVar[str] = "ranked"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        bits = key_type(x.dtype).bits
        if bits < 16 or (self.positions and bits > 32):
            dtype_error("ranked", types, "no part of an order of these", "sort all of them")
        extent = x.shape[-1] if x.shape else 0
        if not isinstance(extent, int) or not 0 <= self.first <= self.last <= extent:
            places = f"{self.first} to {self.last}"
            shape_error("ranked", types, f"there are no places {places}", "take fewer")
        shape = (*x.shape[:-1], self.last - self.first)
        return TensorType(shape, int64 if self.positions else x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        if self.positions or not x.dtype.is_float:
            return (None,)
        places = build_order.ranked(x, self.first, self.last, self.descending, positions=True)
        axis = len(x.shape) - 1
        return (build.scatter_add_along(cotangent, places, axis, x.shape[axis]),)

    def ref(self, *arrays: Array) -> Array:
        order = order_of(arrays[0], self.descending)[..., self.first : self.last]
        return order if self.positions else np.take_along_axis(arrays[0], order, -1)

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        return ranked_rows(inputs[0], output, self.descending, self.positions, self.first)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def samples(self) -> Iterator[Sample]:
        cases = (
            (0, 3, (5,)),
            (1, 2, (3, 7)),
            (2, 2, (4,)),
            (140, 160, (2, 300)),
            (0, 9, (2, 1, 9)),
        )
        for place, (first, last, shape) in enumerate(cases):
            spec = InputSpec(shape, float64, distinct=True)
            yield Sample(Ranked(first, last, bool(place % 2), False), (spec,))
        for dtype in (float32, int32):
            spec = InputSpec((2, 150), dtype, -3, 3)
            yield Sample(Ranked(20, 90, False, False), (spec,), gradient=False)
            yield Sample(Ranked(20, 90, True, True), (spec,), gradient=False)
        for dtype in (int16, uint64):
            spec = InputSpec((2, 30), dtype, -3, 3)
            yield Sample(Ranked(3, 4, True, False), (spec,), gradient=False)
