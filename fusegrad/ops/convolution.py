"""Convolution: sums of products over windows, in groups, any number of axes.

Knows loops over buffers; knows no padding, which is an op of its own, and no names of layers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import DType, bfloat16, bool_, float32, float64, int64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Any as AnyOrder
from ..codegen.kernel import For, Serial, Stmt, Store
from ..codegen.records import dataclass
from ..ir.types import Symbol
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
from .window import affine_place, loops

__all__ = ["Convolution"]

Part = TypeVar("Part")
Place = tuple[Expr, Expr]
"""An image, and a place or channel of it."""

MOST_SUMS = 8
"""How many sums run side by side, so that an element that is loaded serves all of them."""
MANY = 64
"""From this many elements of a window on, every channel is summed by itself."""


@op_class("convolution", (1,), (1,), False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Convolution(LoopOp):
    """``y[g, n, o, i...] = sum over c, k... of x[g, n, c, i*s + k*d...] * w[g, o, c, k...]``.

    Both derivatives are convolutions again, with strides and dilations exchanged for one of them.

    Attributes
    ----------
    strides, dilations : tuple of int
        Steps between the windows and inside of one, for each of the last axes.
    channels_last : bool
        The same with the channels o as the last axis of `w` and of the result, ``w[g, c, k..., o]``
        and ``y[g, n, i..., o]``: vectors run along them instead of along the last axis i.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    channels_last: bool
    name: ClassVar[str] = "convolution"

    def infer(self, *types: TensorType) -> TensorType:
        x, w = types
        rank = len(self.strides)
        if x.dtype is not w.dtype:
            dtype_error("convolution", types, "the dtypes differ", "convert one with .astype()")
        if x.dtype is bool_:
            dtype_error("convolution", types, "it takes numbers", "convert with .astype() first")
        if len(x.shape) != rank + 3 or len(w.shape) != rank + 3 or len(self.dilations) != rank:
            shape_error(
                "convolution",
                types,
                f"operands with {rank} strides have {rank + 3} axes",
                "give groups, batch, channels and one axis for each stride",
            )
        groups, out, channels, sizes = self.parts(w.shape)
        if (groups, channels) != (x.shape[0], x.shape[2]):
            shape_error(
                "convolution",
                types,
                "groups or channels differ",
                "the weight needs the groups and the channels of the input",
            )
        extents = []
        for extent, size, stride, dilation in zip(
            x.shape[3:], sizes, self.strides, self.dilations, strict=True
        ):
            count = build_window.window_count(extent, size, stride, dilation)
            if count is None or (not isinstance(count, Symbol) and count < 0):
                shape_error(
                    "convolution",
                    types,
                    f"a window of {size} with dilation {dilation} does not fit {extent}",
                    "pad the input, or take a smaller window",
                )
            extents.append(count)
        if self.channels_last:
            return TensorType((*x.shape[:2], *extents, out), x.dtype)
        return TensorType((*x.shape[:2], out, *extents), x.dtype)

    def parts(self, shape: Sequence[Part]) -> tuple[Part, Part, Part, tuple[Part, ...]]:
        """Groups, channels of the result, channels of the operand and window of a weight."""
        if self.channels_last:
            return shape[0], shape[-1], shape[1], tuple(shape[2:-1])
        return shape[0], shape[1], shape[2], tuple(shape[3:])

    # --- derivative and batches -------------------------------------------------------------------

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, w = node.inputs
        if not node.dtype.is_float:
            return None, None
        if self.channels_last:
            cotangent = build_window.last_to_third(cotangent)
            standard = build_window.last_to_second(w)
            by_weight = self._by_weight(x, standard, cotangent)
            return self._by_input(x, standard, cotangent), build_window.second_to_last(by_weight)
        return self._by_input(x, w, cotangent), self._by_weight(x, w, cotangent)

    def _by_input(self, x: Node, w: Node, cotangent: Node) -> Node:
        return build_window.convolution_by_input(
            cotangent, w, x.shape[3:], self.strides, self.dilations
        )

    def _by_weight(self, x: Node, w: Node, cotangent: Node) -> Node:
        return build_window.convolution_by_weight(
            x, cotangent, w.shape[3:], self.strides, self.dilations
        )

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """A batch of both operands is more groups, one of the input a larger batch."""
        x, w = operands
        if batched[0] and not batched[1]:
            moved = build.transpose(x, (1, 0, *range(2, len(x.shape))))
            merged = build_window.merge_axes(moved, 1)
            result = Node(self, (merged, w))
            apart = build_window.split_axis(result, 1, x.shape[0])
            return build.transpose(apart, (1, 0, *range(2, len(apart.shape))))
        if not batched[0]:
            x = build.broadcast(x, (w.shape[0], *x.shape), range(1, len(x.shape) + 1))
        result = Node(self, (build_window.merge_axes(x, 0), build_window.merge_axes(w, 0)))
        return build_window.split_axis(result, 0, x.shape[0])

    # --- meaning ----------------------------------------------------------------------------------

    def ref(self, *arrays: Array) -> Array:
        x, w = arrays
        if not self.channels_last:
            return self._correlate(x, w)
        return np.moveaxis(self._correlate(x, np.moveaxis(w, -1, 1)), 2, -1)

    def _correlate(self, x: Array, w: Array) -> Array:
        sizes = w.shape[3:]
        counts = tuple(
            (extent - dilation * (size - 1) - 1) // stride + 1
            for extent, size, stride, dilation in zip(
                x.shape[3:], sizes, self.strides, self.dilations, strict=True
            )
        )
        groups, batch, channels = x.shape[:3]
        result: Array = np.zeros((groups, batch, w.shape[1], *counts), x.dtype)
        if not (result.size and w.size):
            return result
        if math.prod(sizes) <= math.prod(counts):
            for place in np.ndindex(*sizes):
                starts = [k * d for k, d in zip(place, self.dilations, strict=True)]
                part = x[_box(starts, self.strides, counts)]
                flat = part.reshape(groups, batch, channels, -1)
                product = w[(slice(None), None, ..., *place)] @ flat
                result += product.reshape(result.shape)
            return result
        matrix = w.reshape(groups, w.shape[1], -1).swapaxes(1, 2)
        for place in np.ndindex(*counts):
            starts = [i * s for i, s in zip(place, self.strides, strict=True)]
            part = x[_box(starts, self.dilations, sizes)]
            result[(..., *place)] = part.reshape(groups, batch, -1) @ matrix
        return result

    # --- code -------------------------------------------------------------------------------------

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        x, w = inputs
        _, out, channels, sizes = self.parts(w.shape)
        counts = output.shape[2:-1] if self.channels_last else output.shape[3:]
        group = Var("g", int64, output.shape[0])
        before = [Var(f"i{a}", int64, e) for a, e in enumerate(counts[:-1])]

        def sums(several: Sequence[Place], vector: Var) -> tuple[Stmt, ...]:
            """The results at several places, or channels, side by side."""
            inner = [Var(f"k{a}", int64, e) for a, e in enumerate((channels, *sizes))]
            pairs: list[tuple[Expr, Expr]] = []
            targets: list[tuple[Expr, ...]] = []
            for image, one in several:
                place, o = (one, vector) if self.channels_last else (vector, one)
                at = (*before, place)
                read = map(affine_place, at, self.strides, inner[1:], self.dilations)
                weight = (*inner, o) if self.channels_last else (o, *inner)
                loads = Load(x, (group, image, inner[0], *read)), Load(w, (group, *weight))
                pairs.append(loads)
                last = (*at, o) if self.channels_last else (o, *at)
                targets.append((group, image, *last))
            apart = math.prod(e for e in sizes if isinstance(e, int)) >= MANY
            loop, results = _accumulated(inner, pairs, output.dtype, apart)
            stores = (Store(output, t, r) for t, r in zip(targets, results, strict=True))
            return (loop, *stores)

        several, width = (counts[-1], out) if self.channels_last else (out, counts[-1])
        vector = Var("v", int64, width)
        images = output.shape[1]
        assert isinstance(several, int)
        assert isinstance(images, int)
        together = _divisor(images, MOST_SUMS // max(1, several)) if self.channels_last else 1
        if together == 1:
            image = Var("n", int64, images)
            body = _jammed(several, vector, lambda at, v: sums([(image, a) for a in at], v))
            return loops((group, image, *before), AnyOrder(), body)
        # Few places: those of several images.
        block = Var("block", int64, images // together)
        first = scalar.apply("mul", block, number(together))
        offsets = [scalar.apply("add", first, number(r)) if r else first for r in range(together)]
        all_ = [(image, number(i)) for image in offsets for i in range(several)]
        return loops((group, *before, block, vector), AnyOrder(), sums(all_, vector))

    def samples(self) -> Iterator[Sample]:
        for strides, dilations, x, w in (
            ((1,), (1,), (1, 2, 3, 7), (1, 4, 3, 3)),
            ((2,), (1,), (2, 1, 2, 9), (2, 3, 2, 2)),
            ((1, 1), (1, 1), (1, 1, 2, 5, 4), (1, 3, 2, 3, 2)),
            ((2, 3), (1, 2), (1, 2, 1, 6, 9), (1, 1, 1, 3, 2)),
            ((1, 1), (1, 1), (3, 1, 1, 4, 4), (3, 1, 1, 3, 3)),
            ((1, 1, 1), (1, 1, 1), (1, 1, 2, 3, 2, 3), (1, 2, 2, 2, 1, 2)),
            ((1, 1), (1, 1), (1, 1, 0, 3, 3), (1, 2, 0, 2, 2)),
            ((1,), (1,), (1, 2, 3, 3), (1, 2, 3, 3)),
        ):
            for last in (False, True):
                op = Convolution(strides, dilations, last)
                yield Sample(op, (InputSpec(x), InputSpec(_laid_out(w, last))))
        for dtype, last in itertools.product((bfloat16, float32, int64), (False, True)):
            op = Convolution((1, 1), (1, 1), last)
            specs = (
                InputSpec((1, 2, 3, 5, 20), dtype),
                InputSpec(_laid_out((1, 11, 3, 3, 3), last), dtype),
            )
            yield Sample(op, specs, gradient=dtype is float64)


def _laid_out(shape: tuple[int, ...], last: bool) -> tuple[int, ...]:
    return (shape[0], *shape[2:], shape[1]) if last else shape


def _box(starts: Sequence[int], steps: Sequence[int], counts: Sequence[int]) -> Any:
    """The index of every `steps`-th element of the last axes, `counts` of them."""
    every = zip(starts, steps, counts, strict=True)
    return (..., *(slice(a, a + s * (count - 1) + 1, s) for a, s, count in every))


def _divisor(number: int, most: int) -> int:
    """The largest divisor that is no larger than `most`."""
    return next((d for d in range(min(number, most), 1, -1) if number % d == 0), 1)


def _accumulated(
    variables: Sequence[Var], pairs: Sequence[tuple[Expr, Expr]], dtype: DType, apart: bool
) -> tuple[For, list[Var]]:
    """Loops that add the products of all pairs up, in order, and the variables of the sums.

    With `apart` every iteration of the outermost loop has sums of its own, which are added then:
    rounding errors of many terms grow less.
    """
    levels = [[Var(f"a{i}", dtype) for i in range(len(pairs))] for _ in variables]
    zeros = [Const(0, dtype)] * len(pairs)
    following: list[Expr] = []
    for (a, b), acc in zip(pairs, levels[-1], strict=True):
        if dtype.is_float:
            following.append(scalar.apply("fma", a, b, acc))
        else:
            following.append(scalar.apply("add", acc, scalar.apply("mul", a, b)))
    body: tuple[Stmt, ...] = ()
    for depth in range(len(variables) - 1, -1, -1):
        new = depth == 0 or (depth == 1 and apart)
        starts: Sequence[Expr] = zeros if new else levels[depth - 1]
        extent = variables[depth].extent
        assert extent is not None
        carry = tuple(zip(levels[depth], starts, strict=True))
        loop = For(variables[depth], extent, Serial(), body, carry, tuple(following))
        body, following = (loop,), list(levels[depth])
        if depth == 1 and apart:
            both = zip(levels[0], levels[1], strict=True)
            following = [scalar.apply("add", total, part) for total, part in both]
    return loop, levels[0]


def _jammed(
    extent: int, vector: Var, sums: Callable[[Sequence[Expr], Var], tuple[Stmt, ...]]
) -> tuple[Stmt, ...]:
    """Loops of `vector` for several results each, in blocks of nearly equal length."""
    width = -(-extent // -(-extent // MOST_SUMS)) if extent else 1
    whole = extent // width
    assert vector.extent is not None
    block = Var("block", int64, whole)
    start = block if width == 1 else scalar.apply("mul", block, number(width))
    at = [scalar.apply("add", start, number(r)) if r else start for r in range(width)]
    inside = (For(vector, vector.extent, AnyOrder(), sums(at, vector)),)
    result: list[Stmt] = [For(block, whole, AnyOrder(), inside)]
    rest = [number(i) for i in range(whole * width, extent)]
    if rest:
        vector = Var(vector.name, int64, vector.extent)
        result.append(For(vector, vector.extent or 0, AnyOrder(), sums(rest, vector)))
    return tuple(result)
