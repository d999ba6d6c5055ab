"""The first largest or smallest element of every window, and where it lies in its window.

Knows loops over buffers; knows no padding, which is an op of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product
from typing import ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import bool_, float32, float64, int32, int64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Any as AnyOrder
from ..codegen.kernel import For, Let, Monoid, Serial, Stmt, Store
from ..codegen.records import dataclass
from . import build, build_window
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
from .window import Windows, affine_place, loops

__all__ = ["WindowExtreme"]


@op_class("window_extreme", (1,), (1,), (1,), Monoid.MAX, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class WindowExtreme(LoopOp):
    """The extreme of every window over the last axes: ``(..., counts...)``; NaN is extreme.

    The gradient goes to the first extreme element of a window, in row-major order.

    Attributes
    ----------
    sizes, strides, dilations : tuple of int
        As of `Windows`.
    monoid : Monoid
        MAX or MIN.
    place : bool
        Whether the result is the row-major position in the window, as int64, and not the element.
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    monoid: Monoid
    place: bool
    name: ClassVar[str] = "window_extreme"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if x.dtype is bool_:
            dtype_error(self.name, types, "it takes numbers", "convert with .astype() first")
        if 0 in self.sizes:
            shape_error(self.name, types, "a window is empty", "take windows of 1 or more")
        shape = self._windows().infer(x).shape
        rank = len(self.sizes)
        lead = len(x.shape) - rank
        return TensorType((*shape[:lead], *shape[lead + rank :]), int64 if self.place else x.dtype)

    def _windows(self) -> Windows:
        return Windows(self.sizes, self.strides, self.dilations)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        if self.place or not node.dtype.is_float:
            return (None,)
        rank = len(self.sizes)
        lead = len(x.shape) - rank
        size = math.prod(self.sizes)
        params = self.sizes, self.strides, self.dilations, self.monoid, True
        places = build.cast(Node(WindowExtreme(*params), (x,)), int32)
        shape = (*x.shape[:lead], size, *node.shape[lead:])
        kept = [a for a in range(len(shape)) if a != lead]
        here = build.eq(
            build.broadcast(build.iota(size, int32), shape, (lead,)),
            build.broadcast(places, shape, kept),
        )
        spread = build.broadcast(cotangent, shape, kept)
        chosen = build.select(here, spread, build.zeros_like(spread))
        apart = build.reshape(chosen, (*x.shape[:lead], *self.sizes, *node.shape[lead:]))
        return (build_window.overlap(apart, x.shape[lead:], self.strides, self.dilations),)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """The axes in front of the windows are free."""
        return Node(self, tuple(operands))

    def ref(self, *arrays: Array) -> Array:
        (x,) = arrays
        rank = len(self.sizes)
        lead = x.ndim - rank
        windows = self._windows().ref(x)
        shape = (*x.shape[:lead], math.prod(self.sizes), *windows.shape[lead + rank :])
        flat = windows.reshape(shape)
        if not flat.size:
            return np.zeros(
                (*shape[:lead], *shape[lead + 1 :]), np.int64 if self.place else x.dtype
            )
        find = np.argmax if self.monoid is Monoid.MAX else np.argmin
        places: Array = np.asarray(find(flat, axis=lead))
        if self.place:
            return places.astype(np.int64)
        return np.take_along_axis(flat, np.expand_dims(places, lead), lead).squeeze(lead)

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        (x,) = inputs
        rank = len(self.sizes)
        lead = len(x.shape) - rank
        places = [Var(f"i{a}", int64, e) for a, e in enumerate(output.shape)]
        inside = [Var(f"k{a}", int64, e) for a, e in enumerate(self.sizes)]
        at = map(affine_place, places[lead:], self.strides, inside, self.dilations)
        value = Var("t", x.dtype)
        bind = Let(value, Load(x, (*places[:lead], *at)))
        lowest = x.dtype.lowest if self.monoid is Monoid.MAX else x.dtype.highest
        best = [Var(f"a{a}", x.dtype) for a in range(rank)]
        where = [Var(f"m{a}", int64) for a in range(rank)]
        flat: Expr = number(0)
        for variable, size in zip(inside, self.sizes, strict=True):
            flat = scalar.apply("add", scalar.apply("mul", flat, number(size)), variable)
        name = "maximum" if self.monoid is Monoid.MAX else "minimum"
        following: tuple[Expr, ...] = (scalar.apply(name, best[-1], value),)
        if self.place:
            better = _better(self.monoid, value, best[-1])
            following = (*following, scalar.apply("select", better, flat, where[-1]))
        body: tuple[Stmt, ...] = (bind,)
        for a in range(rank - 1, -1, -1):
            starts = best[a - 1] if a else Const(lowest, x.dtype), where[a - 1] if a else number(0)
            carry = tuple(zip((best[a], where[a]), starts, strict=True))
            carry = carry if self.place else carry[:1]
            body = (For(inside[a], self.sizes[a], Serial(), body, carry, following),)
            following = tuple(variable for variable, _ in carry)
        result = where[0] if self.place else best[0]
        return loops(places, AnyOrder(), (*body, Store(output, tuple(places), result)))

    def samples(self) -> Iterator[Sample]:
        for sizes, strides, dilations, given in (
            ((3,), (1,), (1,), (2, 37)),
            ((2, 2), (2, 2), (1, 1), (2, 4, 6)),
            ((2, 3), (1, 2), (2, 1), (3, 5, 7)),
            ((1, 2, 2), (1, 1, 1), (1, 1, 1), (2, 3, 3)),
            ((2,), (1,), (1,), (0, 3)),
            ((3,), (4,), (1,), (3,)),
        ):
            for monoid, place in product((Monoid.MAX, Monoid.MIN), (False, True)):
                op = WindowExtreme(sizes, strides, dilations, monoid, place)
                yield Sample(op, (InputSpec(given, distinct=True),), gradient=not place)
        for dtype, place in product((float32, int32, int64), (False, True)):
            op = WindowExtreme((3, 3), (2, 2), (1, 1), Monoid.MAX, place)
            yield Sample(op, (InputSpec((2, 9, 21), dtype),), gradient=dtype is float64)


def _better(monoid: Monoid, value: Expr, best: Expr) -> Expr:
    """Whether `value` replaces `best`: of equal values the first stays, and so does a NaN."""
    better = scalar.apply("gt" if monoid is Monoid.MAX else "lt", value, best)
    if not value.dtype.is_float:
        return better
    missing = scalar.apply("and", scalar.apply("ne", value, value), scalar.apply("eq", best, best))
    return scalar.apply("or", better, missing)
