"""Reductions: sum, prod, max, min, any, all, argmax, argmin.

Knows monoids; knows nothing of loops and of the order in which contributions are combined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, ClassVar, final

import numpy as np

from ..codegen.dtypes import bfloat16, bool_, float16, float32, float64, int32, int64
from ..codegen.kernel import Monoid
from ..codegen.records import dataclass
from ..errors import EmptyReductionError
from ..ir.types import Symbol
from . import build
from .base import (
    Array,
    Extent,
    InputSpec,
    Node,
    Op,
    Pattern,
    Sample,
    TensorType,
    check_axis,
    dtype_error,
    op_class,
    shape_error,
)

__all__ = ["ArgReduce", "Monoid", "Reduce"]

_SPELLING = {
    Monoid.SUM: "sum",
    Monoid.PROD: "prod",
    Monoid.MAX: "max",
    Monoid.MIN: "min",
    Monoid.AND: "all",
    Monoid.OR: "any",
    Monoid.ARGMAX: "argmax",
    Monoid.ARGMIN: "argmin",
}
_MEANING: dict[Monoid, Callable[..., Any]] = {
    Monoid.SUM: lambda x, axes: np.sum(x, axis=axes, dtype=x.dtype),
    Monoid.PROD: lambda x, axes: np.prod(x, axis=axes, dtype=x.dtype),
    Monoid.MAX: lambda x, axes: np.max(x, axis=axes),
    Monoid.MIN: lambda x, axes: np.min(x, axis=axes),
    Monoid.AND: lambda x, axes: np.all(x, axis=axes),
    Monoid.OR: lambda x, axes: np.any(x, axis=axes),
    Monoid.ARGMAX: lambda x, axis: np.argmax(x, axis=axis),
    Monoid.ARGMIN: lambda x, axis: np.argmin(x, axis=axis),
}


def _check_not_empty(name: str, operand: TensorType, axes: tuple[int, ...]) -> None:
    for axis in axes:
        extent = operand.shape[axis]
        if not isinstance(extent, Symbol) and extent == 0:
            raise EmptyReductionError(f"{name}({operand}): axis {axis} is empty")


@op_class("reduce", Monoid.SUM, (0,))
@final
@dataclass(frozen=True, eq=False, repr=False)
class Reduce(Op):
    """The elements along some axes combined by a monoid; the axes vanish.

    Attributes
    ----------
    monoid : Monoid
        SUM, PROD, MAX, MIN, AND or OR.
    axes : tuple of int
        Increasing, not empty.
    """

    monoid: Monoid
    axes: tuple[int, ...]
    name: ClassVar[str] = "reduce"
    pattern: ClassVar[Pattern] = Pattern.REDUCE

    def __repr__(self) -> str:
        return f"{_SPELLING[self.monoid]}({self.axes})"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        spelling, logical = _SPELLING[self.monoid], self.monoid in (Monoid.AND, Monoid.OR)
        for axis in self.axes:
            check_axis(spelling, x, axis)
        if any(a >= c for a, c in pairwise(self.axes)):
            shape_error(spelling, types, f"the axes {self.axes} repeat", "name each axis once")
        if logical and x.dtype is not bool_:
            dtype_error(spelling, types, "it takes bools", "compare with zero first")
        if self.monoid in (Monoid.SUM, Monoid.PROD) and x.dtype is bool_:
            dtype_error(spelling, types, "it takes numbers", "convert with .astype() first")
        if self.monoid in (Monoid.MAX, Monoid.MIN):
            _check_not_empty(spelling, x, self.axes)
        return TensorType([e for a, e in enumerate(x.shape) if a not in self.axes], x.dtype)

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return (None if mask is None else self._spread(mask, node.inputs[0]),)

    def keeps_zero(self, node: Node) -> bool:
        return self.monoid is not Monoid.PROD

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        (x,) = node.inputs
        if not x.dtype.is_float:
            return (None,)
        if self.monoid is Monoid.SUM:
            return (self._spread(cotangent, x),)
        if self.monoid is Monoid.PROD:
            return (build.mul(self._spread(cotangent, x), _product_of_others(x, self.axes)),)
        # Ties share the cotangent evenly.
        chosen = build.eq(x, self._spread(node, x))
        count = build.sum_(build.cast(chosen, x.dtype), self.axes)
        share = self._spread(build.div(cotangent, count), x)
        return (build.select(chosen, share, build.zeros_like(x)),)

    def _spread(self, y: Node, x: Node) -> Node:
        """`y`, a value for each result, for each element of `x`."""
        kept = [a for a in range(len(x.shape)) if a not in self.axes]
        return build.broadcast(y, x.shape, kept)

    def ref(self, *arrays: Array) -> Any:
        return _MEANING[self.monoid](arrays[0], self.axes)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.reduce_(self.monoid, operands[0], [axis + 1 for axis in self.axes])

    def samples(self) -> Iterator[Sample]:
        cases: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
            ((0,), (5,)),
            ((1,), (3, 7)),
            ((0,), (17, 3)),
            ((0, 1), (2, 5)),
            ((0, 2), (3, 4, 5)),
            ((1,), (2, 1023)),
            ((0,), (1,)),
            ((1,), (0, 3)),
        )
        for monoid in (Monoid.SUM, Monoid.PROD, Monoid.MAX, Monoid.MIN):
            for axes, shape in cases:
                spec = InputSpec(shape, float64, distinct=monoid in (Monoid.MAX, Monoid.MIN))
                yield Sample(Reduce(monoid, axes), (spec,))
            for dtype in (float16, bfloat16, float32, int32, int64):
                yield Sample(Reduce(monoid, (1,)), (InputSpec((3, 15), dtype),), gradient=False)
        for monoid in (Monoid.SUM, Monoid.PROD):
            yield Sample(Reduce(monoid, (1,)), (InputSpec((3, 0)),))
        for monoid in (Monoid.AND, Monoid.OR):
            for axes, shape in (*cases, ((1,), (3, 0))):
                yield Sample(Reduce(monoid, axes), (InputSpec(shape, bool_),), gradient=False)


def _product_of_others(x: Node, axes: tuple[int, ...]) -> Node:
    """For each element the product of the others along the axes, right at zeros to any order."""
    axis, rest = axes[0], axes[1:]
    slabs = _product_of_others_along(build.prod(x, rest), axis)
    if not rest:
        return slabs
    kept = [a for a in range(len(x.shape)) if a not in rest]
    return build.mul(build.broadcast(slabs, x.shape, kept), _product_of_others(x, rest))


def _product_of_others_along(x: Node, axis: int) -> Node:
    extent = x.shape[axis]
    if isinstance(extent, Symbol):
        return _product_of_others_by_mask(x, axis, extent)
    behind = _product_before(build.flip(x, (axis,)), axis, extent)
    return build.mul(_product_before(x, axis, extent), build.flip(behind, (axis,)))


def _product_before(x: Node, axis: int, extent: int) -> Node:
    """For each element the product of the elements before it, in log2(extent) steps."""
    result = _shifted(x, axis, extent, 1)
    distance = 1
    while distance < extent:
        result = build.mul(result, _shifted(result, axis, extent, distance))
        distance *= 2
    return result


def _shifted(x: Node, axis: int, extent: int, distance: int) -> Node:
    """`x` moved along the axis, ones coming in."""
    if extent == 0:
        return x
    distance = min(distance, extent)
    shape = (*x.shape[:axis], distance, *x.shape[axis + 1 :])
    kept = build.slice_axis(x, axis, 0, extent - distance)
    return build.concat([build.full(shape, 1, x.dtype), kept], axis)


def _product_of_others_by_mask(x: Node, axis: int, extent: Extent) -> Node:
    shape = (*x.shape[:axis], extent, *x.shape[axis:])
    own = build.broadcast(build.iota(extent), shape, (axis,))
    other = build.broadcast(build.iota(extent), shape, (axis + 1,))
    dims = [a if a < axis else a + 1 for a in range(len(x.shape))]
    values = build.broadcast(x, shape, dims)
    masked = build.select(build.eq(own, other), build.ones_like(values), values)
    return build.prod(masked, (axis + 1,))


@op_class("arg_reduce", Monoid.ARGMAX, 0)
@final
@dataclass(frozen=True, eq=False, repr=False)
class ArgReduce(Op):
    """The index of the first largest or smallest element along an axis, which vanishes."""

    monoid: Monoid
    axis: int
    name: ClassVar[str] = "arg_reduce"
    pattern: ClassVar[Pattern] = Pattern.REDUCE

    def __repr__(self) -> str:
        return f"{_SPELLING[self.monoid]}({self.axis})"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        axis = check_axis(_SPELLING[self.monoid], x, self.axis)
        _check_not_empty(_SPELLING[self.monoid], x, (axis,))
        return TensorType((*x.shape[:axis], *x.shape[axis + 1 :]), int64)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)

    def ref(self, *arrays: Array) -> Any:
        return _MEANING[self.monoid](arrays[0], self.axis)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(ArgReduce(self.monoid, self.axis + 1), tuple(operands))

    def samples(self) -> Iterator[Sample]:
        for monoid in (Monoid.ARGMAX, Monoid.ARGMIN):
            for axis, shape in ((0, (5,)), (1, (3, 7)), (0, (17, 3)), (1, (2, 1023)), (1, (0, 3))):
                for dtype in (float64, float32, float16, int32):
                    yield Sample(ArgReduce(monoid, axis), (InputSpec(shape, dtype),), False)
