"""Writing at positions that are values: an array in which some elements are replaced or combined.

An index outside the axis is clamped to it, so no undefined memory is read or written; the caller
wraps negative indices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen.dtypes import bool_, float32, float64, int32, int64
from ..codegen.expr import Buffer, Load, Var
from ..codegen.kernel import Any as AnyOrder
from ..codegen.kernel import Let, Monoid, Serial, Stmt, Store
from ..codegen.records import dataclass
from . import build
from .base import (
    Array,
    InputSpec,
    LoopOp,
    Node,
    Sample,
    TensorType,
    check_axis,
    op_class,
    shape_error,
)
from .batch import spread
from .indexing import check_extent, check_indices, clamped, clip, loops, variables_of

__all__ = ["Scatter"]

_UFUNCS = {
    "sum": np.add,
    "prod": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
}


@op_class("scatter", 0, "set")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Scatter(LoopOp):
    """An array with updates written at given places along an axis, in the order of the indices.

    The indices either have one axis, and name slices; or they have the shape of the updates, and
    name elements.

    Attributes
    ----------
    axis : int
    how : {"set", "sum", "prod", "max", "min"}
        How an update is combined with what is there; "set" replaces it, and the last one stays.
    """

    axis: int
    how: str
    name: ClassVar[str] = "scatter"

    def infer(self, *types: TensorType) -> TensorType:
        x, updates, indices = types
        axis = check_axis("scatter", x, self.axis)
        check_indices("scatter", (x, indices))
        slices = len(indices.shape) == 1
        if updates.dtype is not x.dtype:
            shape_error("scatter", types, "the dtypes differ", "cast the updates")
        if not slices and indices.shape != updates.shape:
            shape_error("scatter", types, "the shapes differ", "give one index for each update")
        count = indices.shape[0] if slices else indices.shape[axis]
        if updates.shape != (*x.shape[:axis], count, *x.shape[axis + 1 :]):
            shape_error(
                "scatter",
                types,
                f"the extents differ in other axes than {axis}",
                "give the updates the shape of the array but for that axis",
            )
        check_extent("scatter", types, x.shape[axis], 0 if 0 in updates.shape else 1)
        return x

    def _picked(self, x: Node, indices: Node) -> Node:
        """What lies at the places."""
        if len(indices.shape) == 1:
            return build.take(x, indices, self.axis)
        return build.take_along(x, indices, self.axis)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, updates, indices = node.inputs
        if not x.dtype.is_float:
            return None, None, None
        if self.how == "set":
            kept = build.scatter(cotangent, build.zeros_like(updates), indices, self.axis, "set")
            own = self._picked(cotangent, indices)
            return kept, build.select(self._last(node), own, build.zeros_like(own)), None
        if self.how == "sum":
            return cotangent, self._picked(cotangent, indices), None
        if self.how == "prod":
            return *self._of_products(node, cotangent), None
        return *self._of_extremes(node, cotangent), None

    def _last(self, node: Node) -> Node:
        """Which updates nobody replaces afterwards."""
        x, updates, indices = node.inputs
        axis = self.axis if len(indices.shape) > 1 else 0
        order = build.broadcast(build.iota(indices.shape[axis]), indices.shape, (axis,))
        extent = x.shape[self.axis]
        shape = (*indices.shape[:axis], extent, *indices.shape[axis + 1 :])
        writer = build.scatter(build.zeros(shape, int64), order, indices, axis, "set")
        found = build.take if len(indices.shape) == 1 else build.take_along
        last = build.eq(found(writer, indices, axis), order)
        return last if last.shape == updates.shape else _along(last, updates, self.axis)

    def _of_products(self, node: Node, cotangent: Node) -> tuple[Node, Node]:
        """Right at zeros: the others' product is that of what is not zero, or it is zero."""
        x, updates, indices = node.inputs
        ones = build.ones_like(x)
        zero = build.eq(updates, build.zeros_like(updates))
        one = build.ones_like(updates)
        safe = build.select(zero, one, updates)
        count = build.select(zero, one, build.zeros_like(updates))
        zeros = build.scatter(build.zeros_like(x), count, indices, self.axis, "sum")
        among = build.sub(self._picked(zeros, indices), count)
        rest = self._picked(build.scatter(ones, safe, indices, self.axis, "prod"), indices)
        none = build.eq(among, build.zeros_like(among))
        others = build.select(none, build.div(rest, safe), build.zeros_like(rest))
        product = build.scatter(ones, updates, indices, self.axis, "prod")
        weight = self._picked(build.mul(cotangent, x), indices)
        return build.mul(cotangent, product), build.mul(weight, others)

    def _of_extremes(self, node: Node, cotangent: Node) -> tuple[Node, Node]:
        """Whatever is equal to the extreme shares its cotangent evenly."""
        x, updates, indices = node.inputs
        own = build.eq(x, node)
        theirs = build.eq(updates, self._picked(node, indices))
        counts = build.scatter(
            build.cast(own, x.dtype),
            build.cast(theirs, x.dtype),
            indices,
            self.axis,
            "sum",
        )
        share = build.div(cotangent, build.maximum(counts, build.ones_like(counts)))
        picked = self._picked(share, indices)
        return (
            build.select(own, share, build.zeros_like(share)),
            build.select(theirs, picked, build.zeros_like(picked)),
        )

    def ref(self, *arrays: Array) -> Array:
        x, updates, indices = arrays
        result: Array = np.array(x)
        if not updates.size:
            return result
        places = clip(indices, x.shape[self.axis])
        at: tuple[Array, ...]
        if indices.ndim == 1:
            target, source = np.moveaxis(result, self.axis, 0), np.moveaxis(updates, self.axis, 0)
            at = (places,)
        else:
            target, source = result, updates
            grid: list[Array] = list(np.indices(updates.shape, sparse=True))
            grid[self.axis] = places
            at = tuple(grid)
        if self.how == "set":
            target[at] = source
        else:
            _UFUNCS[self.how].at(target, at, source)
        return result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        x, updates, indices = inputs
        axis = self.axis
        copied = tuple(variables_of("c", x.shape))
        copy = loops(copied, AnyOrder(), (Store(output, copied, Load(x, copied)),))
        variables = variables_of("i", updates.shape)
        before, along, rest = variables[:axis], variables[axis], variables[axis + 1 :]
        value = Load(updates, tuple(variables))
        monoid = None if self.how == "set" else Monoid(self.how)
        extent = node.shape[axis]
        body: tuple[Stmt, ...]
        if len(indices.shape) == 1:
            target = Var("t", int64)
            write = Store(output, (*before, target, *rest), value, monoid)
            place = clamped(Load(indices, (along,)), extent)
            body = (Let(target, place), *loops(rest, AnyOrder(), (write,)))
        else:
            place = clamped(Load(indices, tuple(variables)), extent)
            write = Store(output, (*before, place, *rest), value, monoid)
            body = loops(rest, AnyOrder(), (write,))
        return (*copy, *loops(before, AnyOrder(), loops([along], Serial(), body)))

    def passes_over(self) -> tuple[int, ...]:
        return 0, 1, 2

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        x, updates, indices = operands
        old = node.inputs[2]
        if not batched[2] and len(old.shape) == 1:
            x, updates = spread((x, updates), batched[:2])
            return build.scatter(x, updates, indices, self.axis + 1, self.how)
        x, updates, indices = spread(operands, batched)
        if len(old.shape) == 1:
            indices = build.broadcast(indices, updates.shape, (0, self.axis + 1))
        return build.scatter(x, updates, indices, self.axis + 1, self.how)

    def samples(self) -> Iterator[Sample]:
        for how in ("set", "sum", "prod", "max", "min"):
            smooth = how not in ("max", "min")
            for axis, shape, count, dtype in (
                (0, (5, 3), 4, int64),
                (1, (3, 4), 7, int32),
                (0, (3,), 9, int64),
                (1, (2, 17, 3), 2, int64),
                (1, (2, 3), 0, int64),
            ):
                updates = (*shape[:axis], count, *shape[axis + 1 :])
                for places in {(count,), updates}:
                    yield Sample(
                        Scatter(axis, how),
                        (
                            InputSpec(shape),
                            InputSpec(updates),
                            InputSpec(places, dtype, 0, shape[axis] - 1),
                        ),
                        smooth,
                    )
            specs = InputSpec((3, 5), float32), InputSpec((3, 2), float32)
            yield Sample(Scatter(1, how), (*specs, InputSpec((3, 2), int64, -1, 6)), False)
        flags = InputSpec((4,), bool_), InputSpec((2,), bool_), InputSpec((2,), int64, 0, 3)
        yield Sample(Scatter(0, "set"), flags, False)
        whole = InputSpec((4,), int64), InputSpec((6,), int64), InputSpec((6,), int64, 0, 3)
        yield Sample(Scatter(0, "sum"), whole, False)
        apart = InputSpec((4,), float64, distinct=True), InputSpec((3,), float64, 3, 9, True)
        yield Sample(Scatter(0, "max"), (*apart, InputSpec((3,), int64, 0, 3)))


def _along(x: Node, like: Node, axis: int) -> Node:
    """The elements of a vector along an axis, the same at all other places."""
    return build.broadcast(x, like.shape, (axis,))
