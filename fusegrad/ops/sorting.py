"""Sorting and binary search along the last axis.

Knows nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, final

import numpy as np

from ..codegen.dtypes import (
    ALL,
    bool_,
    float32,
    float64,
    int32,
    int64,
    uint8,
)
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import For, Let, Serial, Stmt, Store
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
from .batch import batch_extent, spread, with_batch
from .cumulative import nested_loops
from .sorting_rows import sorted_rows

__all__ = ["Argsort", "SearchSorted", "Sort", "order_of"]


def _check_axis(name: str, x: TensorType) -> None:
    if not x.shape:
        shape_error(name, (x,), "there is no axis to sort along", "reshape it to one axis first")


_SHAPES = (
    *((5,), (1,), (3, 7), (2, 3, 17), (100,), (2, 65), (0,), (0, 3), (19, 33), (2, 16, 5)),
    (300,),
)


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
        return order_of(arrays[0], self.descending)

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        return sorted_rows(inputs[0], output, self.descending, positions=True)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def samples(self) -> Iterator[Sample]:
        for descending, spec in _samples():
            yield Sample(Argsort(descending), (spec,), gradient=False)


def order_of(x: Array, descending: bool) -> Array:
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
        return sorted_rows(inputs[0], output, self.descending, positions=False)

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
        # In half the width, where the places are small enough: twice as many in a vector.
        kind = int32 if extent < int32.highest // 2 else int64
        value, low = Var("v", values.dtype), Var("low", kind)
        step, size = Var("step", int64), extent.bit_length()
        # The count grows by powers of two, the largest first, as long as the elements up to it
        # lie in front of the value.
        shift = apply("cast", apply("sub", number(size - 1), step), dtype=kind)
        grown = apply("add", low, apply("shl", Const(1, kind), shift))
        last = Const(max(extent - 1, 0), kind)
        probe = apply("minimum", apply("sub", grown, Const(1, kind)), last)
        fits = apply("le", grown, Const(extent, kind))
        element = Load(ordered, (*lead, apply("cast", probe, dtype=int64)))
        further = apply("and", fits, self._in_front(element, value))
        start: tuple[Stmt, ...] = (Let(value, Load(values, tuple(places))),)
        if extent == 0:
            return nested_loops(places, (Store(output, tuple(places), number(0)),))
        search = For(
            step,
            size,
            Serial(),
            (),
            ((low, Const(0, kind)),),
            (apply("select", further, grown, low),),
        )
        found = apply("cast", low, dtype=int64)
        return nested_loops(places, (*start, search, Store(output, tuple(places), found)))

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
