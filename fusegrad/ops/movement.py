"""Ops that move elements and compute none: broadcast, reshape, transpose, slice, pad, ...

Knows index arithmetic in its plainest form; lowering simplifies it.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import as_dtype
from ..codegen.expr import Const, Expr
from ..codegen.expr import index as number
from ..codegen.records import dataclass
from ..ir.types import Symbol, extent_value
from . import build
from .base import (
    Array,
    Extent,
    Index,
    IndexedOp,
    InputSpec,
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
from .batch import shifted, spread

__all__ = ["Broadcast", "Concat", "Flip", "Pad", "Reshape", "Slice", "Transpose"]


class _Moving(IndexedOp):
    """An op whose cotangents are those of the result, moved, and zeros."""

    pattern: ClassVar[Pattern] = Pattern.MOVE

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return (None,) * len(node.inputs) if mask is None else self.vjp(node, mask)


@op_class("broadcast", (), ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Broadcast(IndexedOp):
    """Input axis i becomes axis ``dims[i]`` of the result; the other axes are new.

    Attributes
    ----------
    shape : tuple of Extent
    dims : tuple of int
        Increasing. The extents of the named axes are the input's.
    """

    shape: tuple[Extent, ...]
    dims: tuple[int, ...]
    name: ClassVar[str] = "broadcast"
    pattern: ClassVar[Pattern] = Pattern.MOVE

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        dims, shape = self.dims, self.shape
        fits = (
            len(dims) == len(x.shape)
            and all(0 <= d < len(shape) for d in dims)
            and all(a < b for a, b in pairwise(dims))
            and all(shape[d] == e for d, e in zip(dims, x.shape, strict=True))
        )
        if not fits:
            shape_error(
                "broadcast",
                types,
                f"it does not fit {list(shape)} with its axes placed at {list(dims)}",
                "reshape it so that its axes are axes of the result",
            )
        return TensorType(shape, x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        new = tuple(a for a in range(len(self.shape)) if a not in self.dims)
        return (build.sum_(cotangent, new),)

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        new = [a for a in range(len(self.shape)) if a not in self.dims]
        return (None if mask is None else build.any_(mask, new),)

    def ref(self, *arrays: Array) -> Array:
        new = tuple(a for a in range(len(self.shape)) if a not in self.dims)
        return np.broadcast_to(np.expand_dims(arrays[0], new), self.shape)  # type: ignore[arg-type]

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return reads[0](tuple(index[d] for d in self.dims))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        shape = (operands[0].shape[0], *self.shape)
        return build.broadcast(operands[0], shape, (0, *shifted(self.dims)))

    def samples(self) -> Iterator[Sample]:
        for shape, dims, given in (
            ((3,), (), ()),
            ((2, 3), (1,), (3,)),
            ((17, 5), (0,), (17,)),
            ((2, 3, 4), (0, 2), (2, 4)),
            ((0, 3), (1,), (3,)),
        ):
            yield Sample(Broadcast(shape, dims), (InputSpec(given),))


@op_class("reshape", ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Reshape(_Moving):
    """The same elements in row-major order under another shape."""

    shape: tuple[Extent, ...]
    name: ClassVar[str] = "reshape"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if _elements(x.shape) != _elements(self.shape):
            shape_error(
                "reshape",
                types,
                f"{list(self.shape)} does not have as many elements",
                "the product of the extents must stay the same",
            )
        return TensorType(self.shape, x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (build.reshape(cotangent, node.inputs[0].shape),)

    def ref(self, *arrays: Array) -> Array:
        return arrays[0].reshape(self.shape)  # type: ignore[arg-type]

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        given = node.inputs[0].shape
        # Axes that both shapes begin with keep their index: that spares divisions, and lets a
        # leading extent be a symbol whose size appears nowhere.
        same = 0
        limit = min(len(given), len(self.shape))
        while same < limit and given[same] == self.shape[same]:
            same += 1
        linear = _linear(index[same:], self.shape[same:])
        return reads[0]((*index[:same], *_split(linear, given[same:])))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.reshape(operands[0], (operands[0].shape[0], *self.shape))

    def samples(self) -> Iterator[Sample]:
        for shape, given in (
            ((6,), (2, 3)),
            ((3, 2), (2, 3)),
            ((), (1, 1)),
            ((1,), ()),
            ((0, 5), (0,)),
            ((5, 3, 7), (15, 7)),
        ):
            yield Sample(Reshape(shape), (InputSpec(given),))


def _elements(shape: Sequence[Extent]) -> tuple[int, Counter[Symbol]]:
    numbers = [e for e in shape if not isinstance(e, Symbol)]
    symbols = Counter(e for e in shape if isinstance(e, Symbol))
    product = math.prod(numbers)
    return (product, symbols) if product else (0, Counter())


def _linear(index: Index, shape: Sequence[Extent]) -> Expr:
    """The row-major position of `index`."""
    position: Expr = number(0)
    for i, (value, extent) in enumerate(zip(index, shape, strict=True)):
        if i == 0:
            position = value
        else:
            scaled = scalar.apply("mul", position, extent_value(extent))
            position = scalar.apply("add", scaled, value)
    return position


def _split(position: Expr, shape: Sequence[Extent]) -> Index:
    """The index of the element at a row-major position; the first axis needs no remainder."""
    result: list[Expr] = []
    for axis in range(len(shape) - 1, -1, -1):
        extent = shape[axis]
        if extent == 1:
            result.append(number(0))
        elif axis == 0 or all(e == 1 for e in shape[:axis]):
            result.append(position)
            result.extend(number(0) for _ in range(axis))
            break
        else:
            size = extent_value(extent)
            result.append(scalar.apply("remtrunc", position, size))
            position = scalar.apply("divtrunc", position, size)
    return tuple(reversed(result))


@op_class("transpose", ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Transpose(_Moving):
    """Axis i of the result is axis ``permutation[i]`` of the input."""

    permutation: tuple[int, ...]
    name: ClassVar[str] = "transpose"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if sorted(self.permutation) != list(range(len(x.shape))):
            shape_error(
                "transpose",
                types,
                f"{list(self.permutation)} is no permutation of its axes",
                "name each axis once",
            )
        return TensorType(tuple(x.shape[p] for p in self.permutation), x.dtype)

    def _inverse(self) -> tuple[int, ...]:
        inverse = [0] * len(self.permutation)
        for place, axis in enumerate(self.permutation):
            inverse[axis] = place
        return tuple(inverse)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (build.transpose(cotangent, self._inverse()),)

    def ref(self, *arrays: Array) -> Array:
        return arrays[0].transpose(self.permutation)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return reads[0](tuple(index[place] for place in self._inverse()))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.transpose(operands[0], (0, *shifted(self.permutation)))

    def samples(self) -> Iterator[Sample]:
        for permutation, given in (
            ((), ()),
            ((1, 0), (3, 5)),
            ((2, 0, 1), (2, 3, 4)),
            ((0, 2, 1), (3, 17, 15)),
            ((1, 0), (0, 3)),
        ):
            yield Sample(Transpose(permutation), (InputSpec(given),))


@op_class("slice", (), (), ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Slice(_Moving):
    """Elements start, start + step, ... below stop, along every axis; steps are positive."""

    starts: tuple[int, ...]
    stops: tuple[Extent, ...]
    steps: tuple[int, ...]
    name: ClassVar[str] = "slice"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        bounds = (self.starts, self.stops, self.steps)
        if any(len(bound) != len(x.shape) for bound in bounds):
            shape_error("slice", types, "a bound is missing", "give bounds for every axis")
        shape = []
        for start, stop, step, extent in zip(*bounds, x.shape, strict=True):
            if start == 0 and step == 1 and stop == extent:
                shape.append(extent)
                continue
            if isinstance(extent, Symbol) or isinstance(stop, Symbol):
                shape_error(
                    "slice",
                    types,
                    f"the extent {extent} is not known, so it cannot be cut",
                    "slice other axes, or compile for a known extent",
                )
            if step < 1 or not 0 <= start <= stop <= extent:
                shape_error(
                    "slice",
                    types,
                    f"{start}:{stop}:{step} does not lie in an axis of {extent}",
                    "take 0 <= start <= stop <= extent and a positive step",
                )
            shape.append(-(-(stop - start) // step))
        return TensorType(shape, x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        low, high, interior = [], [], []
        for start, step, extent, count in zip(
            self.starts, self.steps, node.inputs[0].shape, cotangent.shape, strict=True
        ):
            if isinstance(extent, Symbol) or isinstance(count, Symbol) or count == 0:
                # Nothing of an axis that is cut to nothing: everything is padding.
                before = 0 if isinstance(extent, Symbol) else extent
                low.append(before if count == 0 else 0)
                high.append(0)
                interior.append(0)
                continue
            low.append(start)
            interior.append(step - 1)
            high.append(extent - start - ((count - 1) * step + 1))
        return (build.pad(cotangent, tuple(low), tuple(high), tuple(interior)),)

    def ref(self, *arrays: Array) -> Array:
        return arrays[0][
            tuple(
                slice(start, stop, step)
                for start, stop, step in zip(self.starts, self.stops, self.steps, strict=True)
            )
        ]

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        places = []
        for i, start, step in zip(index, self.starts, self.steps, strict=True):
            scaled = scalar.apply("mul", i, number(step))
            places.append(scalar.apply("add", scaled, number(start)))
        return reads[0](tuple(places))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        stops = operands[0].shape[0], *self.stops
        return build.slice_(operands[0], (0, *self.starts), stops, (1, *self.steps))

    def samples(self) -> Iterator[Sample]:
        for starts, stops, steps, given in (
            ((1,), (4,), (1,), (5,)),
            ((0, 1), (3, 7), (2, 3), (3, 7)),
            ((2,), (2,), (1,), (5,)),
            ((1, 0), (16, 17), (1, 2), (17, 17)),
            ((), (), (), ()),
        ):
            yield Sample(Slice(starts, stops, steps), (InputSpec(given),))


@op_class("flip", ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Flip(_Moving):
    """Some axes backwards."""

    axes: tuple[int, ...]
    name: ClassVar[str] = "flip"

    def infer(self, *types: TensorType) -> TensorType:
        for axis in self.axes:
            check_axis("flip", types[0], axis)
        return types[0]

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (build.flip(cotangent, self.axes),)

    def ref(self, *arrays: Array) -> Array:
        return np.flip(arrays[0], self.axes)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        places = list(index)
        for axis in self.axes:
            last = scalar.apply("sub", extent_value(node.shape[axis]), number(1))
            places[axis] = scalar.apply("sub", last, index[axis])
        return reads[0](tuple(places))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.flip(operands[0], shifted(self.axes))

    def samples(self) -> Iterator[Sample]:
        for axes, given in (((0,), (5,)), ((0, 1), (3, 7)), ((1,), (2, 17)), ((0,), (0,))):
            yield Sample(Flip(axes), (InputSpec(given),))


@op_class("pad", (), (), ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Pad(_Moving):
    """Zeros (or False) before, behind and between the elements of every axis."""

    low: tuple[int, ...]
    high: tuple[int, ...]
    interior: tuple[int, ...]
    name: ClassVar[str] = "pad"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        amounts = (self.low, self.high, self.interior)
        if any(len(amount) != len(x.shape) for amount in amounts):
            shape_error("pad", types, "an amount is missing", "give amounts for every axis")
        shape: list[Extent] = []
        for low, high, interior, extent in zip(*amounts, x.shape, strict=True):
            if low == high == interior == 0:
                shape.append(extent)
                continue
            if min(low, high, interior) < 0:
                shape_error("pad", types, "an amount is negative", "cut with a slice instead")
            if isinstance(extent, Symbol):
                shape_error(
                    "pad",
                    types,
                    f"the extent {extent} is not known, so it cannot be padded",
                    "pad other axes, or compile for a known extent",
                )
            shape.append(low + high + extent + max(extent - 1, 0) * interior)
        return TensorType(shape, x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        stops: list[Extent] = []
        for low, interior, extent, padded in zip(
            self.low, self.interior, node.inputs[0].shape, node.shape, strict=True
        ):
            if isinstance(extent, Symbol):
                stops.append(padded)
            else:
                stops.append(low + extent + max(extent - 1, 0) * interior)
        steps = tuple(i + 1 for i in self.interior)
        return (build.slice_(cotangent, self.low, tuple(stops), steps),)

    def ref(self, *arrays: Array) -> Array:
        (x,) = arrays
        shape = self.infer(TensorType(x.shape, as_dtype(x.dtype))).shape
        result: Array = np.zeros(shape, x.dtype)  # type: ignore[arg-type]
        places = tuple(
            slice(low, low + extent + max(extent - 1, 0) * interior, interior + 1)
            for low, interior, extent in zip(self.low, self.interior, x.shape, strict=True)
        )
        result[places] = x
        return result

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        (x,) = node.inputs
        zero = Const(0, node.dtype)
        places: list[Expr] = []
        inside: Expr | None = None
        for axis, extent in enumerate(x.shape):
            place, condition = self._place(index[axis], axis, extent)
            places.append(place)
            if condition is not None:
                inside = condition if inside is None else scalar.apply("and", inside, condition)
        if 0 in x.shape or (isinstance(inside, Const) and not inside.value):
            return zero
        read = reads[0](tuple(places))
        return read if inside is None else scalar.apply("select", inside, read, zero)

    def _place(self, i: Expr, axis: int, extent: Extent) -> tuple[Expr, Expr | None]:
        """A place in the input that may be read in any case, and whether it is the element's."""
        low, high, interior = self.low[axis], self.high[axis], self.interior[axis]
        if (low == high == interior == 0) or isinstance(extent, Symbol):
            return i, None
        last = (extent - 1) * (interior + 1)
        offset = scalar.apply("sub", i, number(low)) if low else i
        conditions: list[Expr] = []
        if low:
            conditions.append(scalar.apply("ge", offset, number(0)))
        if high:
            conditions.append(scalar.apply("le", offset, number(last)))
        place = scalar.apply("maximum", offset, number(0)) if low else offset
        place = scalar.apply("minimum", place, number(last)) if high else place
        if interior:
            step = number(interior + 1)
            remainder = scalar.apply("remtrunc", place, step)
            conditions.append(scalar.apply("eq", remainder, number(0)))
            place = scalar.apply("divtrunc", place, step)
        condition = conditions[0]
        for other in conditions[1:]:
            condition = scalar.apply("and", condition, other)
        return place, condition

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        low, high, interior = ((0, *amounts) for amounts in (self.low, self.high, self.interior))
        return build.pad(operands[0], low, high, interior)

    def samples(self) -> Iterator[Sample]:
        for low, high, interior, given in (
            ((1,), (2,), (0,), (3,)),
            ((0, 1), (0, 0), (1, 2), (3, 4)),
            ((2,), (0,), (3,), (1,)),
            ((2,), (1,), (1,), (0,)),
            ((0, 3), (15, 0), (0, 0), (2, 17)),
        ):
            yield Sample(Pad(low, high, interior), (InputSpec(given),))


def _without(shape: tuple[Extent, ...], axis: int) -> tuple[Extent, ...]:
    return shape[:axis] + shape[axis + 1 :]


@op_class("concat", 0)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Concat(_Moving):
    """The inputs one behind the other along an axis."""

    axis: int
    name: ClassVar[str] = "concat"

    def infer(self, *types: TensorType) -> TensorType:
        if not types:
            shape_error("concat", types, "there is nothing to join", "give at least one array")
        first, axis = types[0], check_axis("concat", types[0], self.axis)
        if any(t.dtype is not first.dtype for t in types):
            dtype_error("concat", types, "the dtypes differ", "convert them to one dtype")
        total = 0
        for t in types:
            if _without(t.shape, axis) != _without(first.shape, axis):
                shape_error(
                    "concat",
                    types,
                    f"the extents differ in other axes than {axis}",
                    "all extents but those of the joined axis must be equal",
                )
            extent = t.shape[axis]
            if isinstance(extent, Symbol):
                if len(types) == 1:
                    return first
                shape_error(
                    "concat",
                    types,
                    f"the extent {extent} is not known, so it cannot be joined",
                    "join along another axis, or compile for a known extent",
                )
            total += extent
        return TensorType((*first.shape[:axis], total, *first.shape[axis + 1 :]), first.dtype)

    def _offsets(self, node: Node) -> list[int]:
        offsets = [0]
        for operand in node.inputs:
            extent = operand.shape[self.axis]
            offsets.append(offsets[-1] + (0 if isinstance(extent, Symbol) else extent))
        return offsets

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        if len(node.inputs) == 1:
            return (cotangent,)
        offsets = self._offsets(node)
        return tuple(
            build.slice_axis(cotangent, self.axis, start, stop) for start, stop in pairwise(offsets)
        )

    def ref(self, *arrays: Array) -> Array:
        return np.concatenate(arrays, axis=self.axis)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        if len(node.inputs) == 1:
            return reads[0](index)
        axis, offsets = self.axis, self._offsets(node)
        place, result = index[axis], None
        if isinstance(place, Const):
            part = bisect_right(offsets, int(place.value)) - 1
            inside = number(int(place.value) - offsets[part])
            return reads[part]((*index[:axis], inside, *index[axis + 1 :]))
        for i in range(len(node.inputs) - 1, -1, -1):
            extent = offsets[i + 1] - offsets[i]
            if extent == 0:
                continue
            # Every part is read inside its own bounds, whichever part is chosen.
            local = scalar.apply("sub", place, number(offsets[i])) if offsets[i] else place
            if offsets[i]:
                local = scalar.apply("maximum", local, number(0))
            if result is not None:
                local = scalar.apply("minimum", local, number(extent - 1))
            read = reads[i]((*index[:axis], local, *index[axis + 1 :]))
            if result is None:
                result = read
            else:
                before = scalar.apply("lt", place, number(offsets[i + 1]))
                result = scalar.apply("select", before, read, result)
        return Const(0, node.dtype) if result is None else result

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.concat(spread(operands, batched), self.axis + 1)

    def samples(self) -> Iterator[Sample]:
        for axis, given in (
            (0, ((3,), (4,))),
            (1, ((2, 1), (2, 3), (2, 0))),
            (0, ((1, 17), (2, 17))),
            (0, ((5,),)),
        ):
            yield Sample(Concat(axis), tuple(InputSpec(shape) for shape in given))
