"""Reading and adding at positions that are values: take, take_along and their adjoints.

An index outside the axis is clamped to it, so no undefined memory is read or written; the caller
wraps negative indices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import float16, float32, float64, int32, int64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Any as AnyOrder
from ..codegen.kernel import For, Let, Monoid, Order, Serial, Stmt, Store
from ..codegen.records import dataclass
from ..ir.types import Symbol, extent_value
from . import build
from .base import (
    Array,
    Extent,
    Index,
    IndexedOp,
    InputSpec,
    LoopOp,
    Node,
    Pattern,
    Read,
    Sample,
    TensorType,
    check_axis,
    dtype_error,
    op_class,
    shape_error,
)
from .batch import spread, with_batch

__all__ = [
    "ScatterAdd",
    "ScatterAddAlong",
    "Take",
    "TakeAlong",
    "check_extent",
    "check_indices",
    "clamped",
    "clip",
    "loops",
    "variables_of",
]


def check_indices(op: str, types: Sequence[TensorType]) -> None:
    if not types[1].dtype.is_integer:
        dtype_error(op, types, "the indices are no integers", "convert them with .astype('int64')")


def check_extent(op: str, types: Sequence[TensorType], extent: Extent, count: Extent) -> None:
    empty = not isinstance(extent, Symbol) and extent == 0
    if empty and (isinstance(count, Symbol) or count != 0):
        shape_error(op, types, "the axis is empty", "there is nothing to index; skip empty input")


def clamped(place: Expr, extent: Extent) -> Expr:
    place = scalar.apply("cast", place, dtype=int64)
    last = scalar.apply("sub", extent_value(extent), number(1))
    return scalar.apply("minimum", scalar.apply("maximum", place, number(0)), last)


def clip(indices: Array, extent: int) -> Array:
    return np.clip(indices.astype(np.int64), 0, max(extent - 1, 0))


@op_class("take", 0)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Take(IndexedOp):
    """Slices of an array along an axis; the axes of the indices take the axis' place."""

    axis: int
    name: ClassVar[str] = "take"
    pattern: ClassVar[Pattern] = Pattern.MOVE

    def infer(self, *types: TensorType) -> TensorType:
        x, indices = types
        axis = check_axis("take", x, self.axis)
        check_indices("take", types)
        check_extent("take", types, x.shape[axis], 0 if 0 in indices.shape else 1)
        return TensorType((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]), x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, indices = node.inputs
        if not x.dtype.is_float:
            return None, None
        return build.scatter_add(cotangent, indices, self.axis, x.shape[self.axis]), None

    def ref(self, *arrays: Array) -> Array:
        x, indices = arrays
        return np.take(x, clip(indices, x.shape[self.axis]), axis=self.axis)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        x, indices = node.inputs
        if x.shape[self.axis] == 0:
            return Const(0, node.dtype)
        end = self.axis + len(indices.shape)
        place = clamped(reads[1](index[self.axis : end]), x.shape[self.axis])
        return reads[0]((*index[: self.axis], place, *index[end:]))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        x, indices = operands
        axis = self.axis
        if not batched[1]:
            return build.take(x, indices, axis + 1)
        if not batched[0]:
            return _moved(build.take(x, indices, axis), axis, 0)
        places = _flat_places(indices, (*x.shape[: axis + 1], *x.shape[axis + 2 :]), axis + 1)
        found = build.take_along(x, places, axis + 1)
        shape = (*x.shape[: axis + 1], *indices.shape[1:], *x.shape[axis + 2 :])
        return build.reshape(found, shape)

    def samples(self) -> Iterator[Sample]:
        for axis, shape, indices, dtype in (
            (0, (5, 3), (4,), int64),
            (1, (3, 7), (2, 3), int32),
            (0, (4,), (), int64),
            (0, (1, 17), (15,), int64),
            (1, (2, 3, 2), (0,), int64),
        ):
            high = shape[axis] - 1
            spec = InputSpec(indices, dtype, 0, high)
            yield Sample(Take(axis), (InputSpec(shape), spec))
        yield Sample(Take(0), (InputSpec((5, 3)), InputSpec((9,), int64, -3, 9)))


@op_class("take_along", 0)
@final
@dataclass(frozen=True, eq=False, repr=False)
class TakeAlong(IndexedOp):
    """Elements at given places along an axis; the other indices are those of the result."""

    axis: int
    name: ClassVar[str] = "take_along"
    pattern: ClassVar[Pattern] = Pattern.MOVE

    def infer(self, *types: TensorType) -> TensorType:
        x, indices = types
        axis = check_axis("take_along", x, self.axis)
        check_indices("take_along", types)
        _check_same_elsewhere("take_along", types, axis)
        check_extent("take_along", types, x.shape[axis], 0 if 0 in indices.shape else 1)
        return TensorType(indices.shape, x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, indices = node.inputs
        if not x.dtype.is_float:
            return None, None
        axis, extent = self.axis, x.shape[self.axis]
        if indices.shape[axis] != 1 or isinstance(extent, Symbol):
            return build.scatter_add_along(cotangent, indices, axis, extent), None
        # One place in each row: comparing with every column is cheaper than scattering.
        last = build.full_like(indices, extent - 1)
        chosen = build.minimum(build.maximum(indices, build.zeros_like(indices)), last)
        if chosen.dtype.bits > 32 and extent < 1 << 31:
            # Compared for every element: as wide as most values are.
            chosen = build.cast(chosen, int32)
        columns = build.broadcast(build.iota(extent, chosen.dtype), x.shape, (axis,))
        here = build.eq(columns, build.broadcast_to(chosen, x.shape))
        return build.select(here, build.broadcast_to(cotangent, x.shape), build.zeros_like(x)), None

    def ref(self, *arrays: Array) -> Array:
        x, indices = arrays
        if 0 in indices.shape:
            return np.zeros(indices.shape, x.dtype)
        return np.take_along_axis(x, clip(indices, x.shape[self.axis]), axis=self.axis)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        x, _ = node.inputs
        if x.shape[self.axis] == 0:
            return Const(0, node.dtype)
        place = clamped(reads[1](index), x.shape[self.axis])
        return reads[0]((*index[: self.axis], place, *index[self.axis + 1 :]))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        x, indices = spread(operands, batched)
        return build.take_along(x, indices, self.axis + 1)

    def samples(self) -> Iterator[Sample]:
        for axis, shape, indices, dtype in (
            (1, (5, 3), (5, 1), int64),
            (1, (3, 7), (3, 4), int32),
            (0, (4,), (9,), int64),
            (0, (2, 17), (1, 17), int64),
            (1, (0, 3), (0, 1), int64),
        ):
            high = shape[axis] - 1
            yield Sample(TakeAlong(axis), (InputSpec(shape), InputSpec(indices, dtype, 0, high)))
        for count in (1, 4):
            spec = InputSpec((5, count), int64, -2, 5)
            yield Sample(TakeAlong(1), (InputSpec((5, 3)), spec))


def _moved(x: Node, start: int, end: int) -> Node:
    """Axis `start` of `x` at the place `end`."""
    axes = [axis for axis in range(len(x.shape)) if axis != start]
    return build.transpose(x, (*axes[:end], start, *axes[end:]))


def _flat_places(indices: Node, others: Sequence[Extent], axis: int) -> Node:
    """Indices with a batch as one axis, the same at all places of the other axes but the first."""
    count = build.reshape(indices, (indices.shape[0], _size(indices.shape[1:])))
    shape = (*others[:axis], count.shape[1], *others[axis:])
    return build.broadcast(count, shape, (0, axis))


def _size(shape: Sequence[Extent]) -> Extent:
    known = [extent for extent in shape if not isinstance(extent, Symbol)]
    unknown = [extent for extent in shape if isinstance(extent, Symbol)]
    if unknown and (len(unknown) > 1 or math.prod(known) != 1):
        shape_error(
            "take",
            (),
            "the number of indices is not known",
            "index with one axis at a time inside of vmap, or compile for known extents",
        )
    return unknown[0] if unknown else math.prod(known)


def _check_same_elsewhere(op: str, types: Sequence[TensorType], axis: int) -> None:
    x, indices = types[0].shape, types[1].shape
    same = len(x) == len(indices) and all(
        a == b for i, (a, b) in enumerate(zip(x, indices, strict=True)) if i != axis
    )
    if not same:
        shape_error(
            op,
            types,
            f"the extents differ in other axes than {axis}",
            "give the indices the shape of the array but for that axis",
        )


# --- adjoints -------------------------------------------------------------------------------------


def loops(variables: Sequence[Var], order: Order, body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for variable in reversed(variables):
        assert variable.extent is not None
        body = (For(variable, variable.extent, order, body),)
    return body


def variables_of(prefix: str, shape: Sequence[Extent | Var]) -> list[Var]:
    return [
        Var(f"{prefix}{i}", int64, e.variable if isinstance(e, Symbol) else e)
        for i, e in enumerate(shape)
    ]


def _zero(output: Buffer) -> tuple[Stmt, ...]:
    places = variables_of("z", output.shape)
    return loops(places, AnyOrder(), (Store(output, tuple(places), Const(0, output.dtype)),))


@op_class("scatter_add", 0, 1)
@final
@dataclass(frozen=True, eq=False, repr=False)
class ScatterAdd(LoopOp):
    """Zeros, with slices added at given places along an axis: the adjoint of `Take`.

    Equal places accumulate, in the order of the indices.
    """

    axis: int
    extent: Extent
    name: ClassVar[str] = "scatter_add"

    def infer(self, *types: TensorType) -> TensorType:
        updates, indices = types
        axis, rank = self.axis, len(indices.shape)
        check_indices("scatter_add", types)
        if updates.shape[axis : axis + rank] != indices.shape or axis < 0:
            shape_error(
                "scatter_add",
                types,
                f"the axes from {axis} on are not those of the indices",
                "give the updates the axes of the indices in place of the axis",
            )
        check_extent("scatter_add", types, self.extent, 0 if 0 in updates.shape else 1)
        rest = updates.shape[axis + rank :]
        return TensorType((*updates.shape[:axis], self.extent, *rest), updates.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        if not node.dtype.is_float:
            return None, None
        return build.take(cotangent, node.inputs[1], self.axis), None

    def ref(self, *arrays: Array) -> Array:
        updates, indices = arrays
        axis, rank = self.axis, indices.ndim
        before, rest = updates.shape[:axis], updates.shape[axis + rank :]
        result = np.zeros((*before, self.extent, *rest), updates.dtype)
        if updates.size:
            flat = updates.reshape(*before, -1, *rest)
            places = clip(indices.reshape(-1), result.shape[axis])
            np.add.at(np.moveaxis(result, axis, 0), places, np.moveaxis(flat, axis, 0))
        return result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        updates, indices = inputs
        axis, rank = self.axis, len(indices.shape)
        variables = variables_of("i", updates.shape)
        before, places = variables[:axis], variables[axis : axis + rank]
        rest = variables[axis + rank :]
        target = Var("t", int64)
        add = Store(
            output,
            (*before, target, *rest),
            Load(updates, variables),
            Monoid.SUM,
        )
        from_index = Let(target, clamped(Load(indices, places), self.extent))
        body: tuple[Stmt, ...] = (from_index, *loops(rest, AnyOrder(), (add,)))
        body = loops(places, Serial(), body)
        return (*_zero(output), *loops(before, AnyOrder(), body))

    def passes_over(self) -> tuple[int, ...]:
        return 0, 1

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        updates, indices = operands
        axis = self.axis
        if not batched[1]:
            return build.scatter_add(updates, indices, axis + 1, self.extent)
        updates = updates if batched[0] else with_batch(updates, indices.shape[0])
        before, rest = updates.shape[: axis + 1], updates.shape[axis + len(indices.shape) :]
        places = _flat_places(indices, (*before, *rest), axis + 1)
        flat = build.reshape(updates, places.shape)
        return build.scatter_add_along(flat, places, axis + 1, self.extent)

    def samples(self) -> Iterator[Sample]:
        for axis, extent, shape, indices in (
            (0, 5, (4, 3), (4,)),
            (1, 7, (3, 2, 3), (2, 3)),
            (0, 4, (), ()),
            (0, 2, (15, 17), (15,)),
            (0, 3, (0, 2), (0,)),
        ):
            spec = InputSpec(indices, int64, -1, extent)
            for dtype in (float64, float32, float16):
                smooth = dtype is float64
                yield Sample(ScatterAdd(axis, extent), (InputSpec(shape, dtype), spec), smooth)


@op_class("scatter_add_along", 0, 1)
@final
@dataclass(frozen=True, eq=False, repr=False)
class ScatterAddAlong(LoopOp):
    """Zeros, with elements added at given places along an axis: the adjoint of `TakeAlong`.

    Equal places accumulate, in the order of the indices.
    """

    axis: int
    extent: Extent
    name: ClassVar[str] = "scatter_add_along"

    def infer(self, *types: TensorType) -> TensorType:
        updates, indices = types
        axis = check_axis("scatter_add_along", updates, self.axis)
        check_indices("scatter_add_along", types)
        if updates.shape != indices.shape:
            shape_error(
                "scatter_add_along", types, "the shapes differ", "give one index for each update"
            )
        check_extent("scatter_add_along", types, self.extent, 0 if 0 in updates.shape else 1)
        shape = (*updates.shape[:axis], self.extent, *updates.shape[axis + 1 :])
        return TensorType(shape, updates.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        if not node.dtype.is_float:
            return None, None
        return build.take_along(cotangent, node.inputs[1], self.axis), None

    def ref(self, *arrays: Array) -> Array:
        updates, indices = arrays
        axis, shape = self.axis, updates.shape
        result = np.zeros((*shape[:axis], self.extent, *shape[axis + 1 :]), updates.dtype)
        if updates.size:
            places: list[Array] = list(np.indices(shape, sparse=True))
            places[axis] = clip(indices, result.shape[axis])
            np.add.at(result, tuple(places), updates)
        return result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        updates, indices = inputs
        axis = self.axis
        variables = variables_of("i", updates.shape)
        before, along, rest = variables[:axis], variables[axis], variables[axis + 1 :]
        place = clamped(Load(indices, variables), self.extent)
        add = Store(output, (*before, place, *rest), Load(updates, variables), Monoid.SUM)
        body = loops([along], Serial(), loops(rest, AnyOrder(), (add,)))
        return (*_zero(output), *loops(before, AnyOrder(), body))

    def passes_over(self) -> tuple[int, ...]:
        return 0, 1

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        updates, indices = spread(operands, batched)
        return build.scatter_add_along(updates, indices, self.axis + 1, self.extent)

    def samples(self) -> Iterator[Sample]:
        for axis, extent, shape in (
            (1, 5, (4, 3)),
            (0, 3, (7, 2)),
            (0, 4, (1,)),
            (1, 2, (3, 17)),
            (0, 3, (0, 2)),
        ):
            spec = InputSpec(shape, int64, -1, extent)
            yield Sample(ScatterAddAlong(axis, extent), (InputSpec(shape), spec))
