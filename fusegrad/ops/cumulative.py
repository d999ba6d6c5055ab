"""Results so far along an axis: cumulative sums, products, extrema, and linear recurrences.

Each element follows from the one before it, in a loop; a schedule may combine elements in another
order where the op allows it. Knows loops over buffers; knows nothing of the machine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen.dtypes import bool_, float32, float64, int32, int64, uint8
from ..codegen.expr import Buffer, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Any as AnyOrder
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
    check_axis,
    dtype_error,
    op_class,
    shape_error,
)
from .batch import spread

__all__ = ["Cumulative", "LinearRecurrence"]

_ACCUMULATE: dict[str, np.ufunc] = {
    "add": np.add,
    "mul": np.multiply,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "logaddexp": np.logaddexp,
}
_BLOCK = 256
"""So many neighbouring columns are scanned together."""


@op_class("cumulative", "add", 0, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Cumulative(LoopOp):
    """Each element combined with all before it along an axis.

    Attributes
    ----------
    scalar : str
        The row of the scalar table that combines two elements: add, mul, maximum, minimum or
        logaddexp.
    axis : int
    reverse : bool
        Whether elements are combined with those behind them instead.
    """

    scalar: str
    axis: int
    reverse: bool
    name: ClassVar[str] = "cumulative"

    def __repr__(self) -> str:
        return f"cumulative({self.scalar}, {self.axis}{', reverse' if self.reverse else ''})"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        check_axis("cumulative", x, self.axis)
        if x.dtype is bool_ and self.scalar in ("add", "mul"):
            dtype_error("cumulative", types, "it takes numbers", "convert with .astype() first")
        if not x.dtype.is_float and self.scalar == "logaddexp":
            dtype_error("cumulative", types, "it takes floats", "convert with .astype() first")
        return x

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        if not x.dtype.is_float:
            return (None,)
        axis, back = self.axis, not self.reverse
        if self.scalar == "add":
            return (build_order.cumulative("add", cotangent, axis, back),)
        if self.scalar == "mul":
            later = build_order.linear_recurrence(
                build_order.neighbour(x, axis, self.reverse, 1), cotangent, axis, back
            )
            return (build.mul(later, build_order.neighbour(node, axis, back, 1)),)
        if self.scalar == "logaddexp":
            following = build_order.neighbour(node, axis, self.reverse, 0)
            decay = _exp_difference(node, following)
            later = build_order.linear_recurrence(decay, cotangent, axis, back)
            return (build.mul(later, _exp_difference(x, node)),)
        places = build_order.cumulative_places(x, node, axis, self.reverse)
        return (build.scatter_add_along(cotangent, places, axis, x.shape[axis]),)

    def ref(self, *arrays: Array) -> Array:
        (x,) = arrays
        turned = np.flip(x, self.axis) if self.reverse else x
        with np.errstate(all="ignore"):
            result = _ACCUMULATE[self.scalar].accumulate(turned, self.axis, dtype=x.dtype)
        return np.flip(result, self.axis) if self.reverse else result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        (x,) = inputs

        def step(before: Expr, at: _Place) -> Expr:
            return apply(self.scalar, before, Load(x, at))

        return _Recurrence(output, self.axis, self.reverse, lambda at: Load(x, at), step).nest()

    def passes_over(self) -> tuple[int, ...]:
        return (0,)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build_order.cumulative(self.scalar, operands[0], self.axis + 1, self.reverse)

    def samples(self) -> Iterator[Sample]:
        cases: tuple[tuple[int, tuple[int, ...]], ...] = (
            (0, (5,)),
            (0, (1,)),
            (1, (3, 7)),
            (0, (17, 3)),
            (1, (2, 3, 4)),
            (0, (3, 515)),
            (1, (3, 0)),
            (0, (2, 0)),
            (1, (0, 3)),
        )
        for scalar in _ACCUMULATE:
            distinct = scalar in ("maximum", "minimum")
            for place, (axis, shape) in enumerate(cases):
                spec = InputSpec(shape, float64, distinct=distinct)
                for reverse in (False, True) if place < 5 else (bool(place % 2),):
                    yield Sample(Cumulative(scalar, axis, reverse), (spec,))
            if scalar == "logaddexp":
                dtypes = [float32]
            elif distinct:
                dtypes = [float32, int32, int64, uint8, bool_]
            else:
                dtypes = [float32, int32, int64, uint8]
            for dtype in dtypes:
                spec = InputSpec((3, 15), dtype)
                yield Sample(Cumulative(scalar, 1, False), (spec,), gradient=False)
                yield Sample(Cumulative(scalar, 0, True), (spec,), gradient=False)


def _exp_difference(x: Node, y: Node) -> Node:
    """``exp(x - y)``, of equal infinities 1."""
    return build.exp(build.select(build.eq(x, y), build.zeros_like(x), build.sub(x, y)))


@op_class("linear_recurrence", 0, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class LinearRecurrence(LoopOp):
    """``y[i] = a[i] * y[i - 1] + b[i]`` along an axis, from ``y[0] = b[0]``.

    Reversed, ``y[i] = a[i] * y[i + 1] + b[i]``. Its derivatives are recurrences of the same kind,
    so those of cumulative products and logarithms of sums are exact to any order.
    """

    axis: int
    reverse: bool
    name: ClassVar[str] = "linear_recurrence"

    def infer(self, *types: TensorType) -> TensorType:
        factors, terms = types
        check_axis("linear_recurrence", terms, self.axis)
        if factors is not terms:
            shape_error(
                "linear_recurrence", types, "the types differ", "broadcast and convert them first"
            )
        if terms.dtype is bool_:
            dtype_error("linear_recurrence", types, "it takes numbers", "convert them first")
        return terms

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        if not node.dtype.is_float:
            return None, None
        factors, _ = node.inputs
        axis, back = self.axis, not self.reverse
        shifted = build_order.neighbour(factors, axis, self.reverse, 0)
        terms = build_order.linear_recurrence(shifted, cotangent, axis, back)
        return build.mul(terms, build_order.neighbour(node, axis, back, 0)), terms

    def ref(self, *arrays: Array) -> Array:
        factors, terms = (np.moveaxis(array, self.axis, 0) for array in arrays)
        result = terms.copy()
        order = range(len(result))
        with np.errstate(all="ignore"):
            for i in list(reversed(order) if self.reverse else order)[1:]:
                result[i] = factors[i] * result[i + (1 if self.reverse else -1)] + terms[i]
        return np.moveaxis(result, 0, self.axis)

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        factors, terms = inputs

        def step(before: Expr, at: _Place) -> Expr:
            return apply("add", apply("mul", Load(factors, at), before), Load(terms, at))

        return _Recurrence(output, self.axis, self.reverse, lambda at: Load(terms, at), step).nest()

    def passes_over(self) -> tuple[int, ...]:
        return 0, 1

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        factors, terms = spread(operands, batched)
        return build_order.linear_recurrence(factors, terms, self.axis + 1, self.reverse)

    def samples(self) -> Iterator[Sample]:
        for axis, shape in (
            (0, (5,)),
            (1, (3, 7)),
            (0, (17, 3)),
            (1, (2, 3, 2)),
            (0, (1,)),
            (0, (0, 3)),
            (1, (2, 0)),
        ):
            for reverse in (False, True):
                spec = InputSpec(shape)
                yield Sample(LinearRecurrence(axis, reverse), (spec, spec))
        for dtype in (float32, int64):
            spec = InputSpec((3, 5), dtype)
            yield Sample(LinearRecurrence(1, False), (spec, spec), gradient=False)


# --- loops ----------------------------------------------------------------------------------------

_Place = tuple[Expr, ...]


@final
@dataclass(frozen=True)
class _Recurrence:
    """``output[first] = start(first)``, then ``output[at] = step(value before, at)``.

    The extents are numbers when loops are made.
    """

    output: Buffer
    axis: int
    reverse: bool
    start: Callable[[_Place], Expr]
    step: Callable[[Expr, _Place], Expr]

    def nest(self) -> tuple[Stmt, ...]:
        extents = self.output.shape
        if extents[self.axis] == 0:
            return ()
        outer = [Var(f"i{a}", int64, extents[a]) for a in range(len(extents) - 1)]
        if self.axis == len(outer):
            return nested_loops(outer, self._along(outer))
        between = [v for a, v in enumerate(outer) if a != self.axis]
        return nested_loops(between, self._across(outer))

    @property
    def _count(self) -> int:
        """How many elements follow the first one of a row."""
        return int(self.output.shape[self.axis]) - 1  # type: ignore[arg-type]

    def _position(self, step: Expr) -> Expr:
        return apply("sub", number(self._count), step) if self.reverse else step

    def _along(self, outer: Sequence[Var]) -> tuple[Stmt, ...]:
        """A row whose value is carried in a register."""
        k, value = Var("k", int64), Var("a", self.output.dtype)
        following = Var("t", self.output.dtype)
        first = (*outer, self._position(number(0)))
        here = (*outer, self._position(apply("add", k, number(1))))
        body = (Let(following, self.step(value, here)), Store(self.output, here, following))
        start = Var("s", self.output.dtype)
        return (
            Let(start, self.start(first)),
            Store(self.output, first, start),
            For(k, self._count, Serial(), body, ((value, start),), (following,)),
        )

    def _across(self, outer: Sequence[Var]) -> tuple[Stmt, ...]:
        """Neighbouring columns in blocks, each row of a block from the one before it."""
        width = int(self.output.shape[-1])  # type: ignore[arg-type]
        blocked = width >= 2 * _BLOCK
        block, k = Var("block", int64), Var("k", int64)
        begin = apply("mul", block, number(_BLOCK)) if blocked else number(0)
        extent: int | Expr = width
        if blocked:
            extent = apply("minimum", number(_BLOCK), apply("sub", number(width), begin))

        def at(step: Expr, lane: Var) -> _Place:
            places: list[Expr] = [*outer, apply("add", begin, lane)]
            places[self.axis] = self._position(step)
            return tuple(places)

        head, lane = Var("c", int64), Var("c", int64)
        first = at(number(0), head)
        before, here = at(k, lane), at(apply("add", k, number(1)), lane)
        step = Store(self.output, here, self.step(Load(self.output, before), here))
        body: tuple[Stmt, ...] = (
            For(head, extent, AnyOrder(), (Store(self.output, first, self.start(first)),)),
            For(k, self._count, Serial(), (For(lane, extent, AnyOrder(), (step,)),)),
        )
        return (For(block, -(-width // _BLOCK), AnyOrder(), body),) if blocked else body


def nested_loops(variables: Sequence[Var], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    """`body` in independent loops of `variables`, the first one outermost."""
    for variable in reversed(variables):
        assert variable.extent is not None
        body = (For(variable, variable.extent, AnyOrder(), body),)
    return body
