"""The matrix product of windows, which are never stored, and weights: convolution in large.

Knows no layers, and nothing of how it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, ClassVar, final

import numpy as np

from ..codegen.dtypes import bfloat16, float32, float64
from ..codegen.records import dataclass
from . import build, build_window
from .base import (
    Array,
    InputSpec,
    Node,
    Op,
    Pattern,
    Sample,
    TensorType,
    dtype_error,
    op_class,
    shape_error,
)
from .convolution import Convolution

__all__ = ["WindowDot"]

PLAIN = (0, 1, 2)


@op_class("window_dot", (1,), (1,), (0,), (0,))
@final
@dataclass(frozen=True, eq=False, repr=False)
class WindowDot(Op):
    """``y[g, n, o, i...] = sum over c, k... of x[g, n, c, i*s + k*d - low...] * w[g, o, c, k...]``.

    Where the window reaches beyond the input there are zeros.

    Attributes
    ----------
    strides, dilations : tuple of int
        Steps between the windows and inside of one, for each of the last axes.
    low, high : tuple of int
        How far the windows reach beyond the ends of each axis; less than zero cuts it.
    order : tuple of int
        The order of groups, images and channels in the result: ``y[g, o, n, i...]``, as the
        derivative by a weight is, with ``(0, 2, 1)``.
    """

    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]
    order: tuple[int, int, int] = PLAIN
    name: ClassVar[str] = "window_dot"
    pattern: ClassVar[Pattern] = Pattern.CONTRACT

    def infer(self, *types: TensorType) -> TensorType:
        x, w = types
        rank = len(self.strides)
        if x.dtype is not w.dtype or not x.dtype.is_float:
            dtype_error("window_dot", types, "it takes floats of one dtype", "convert one first")
        if len(x.shape) != rank + 3 or len(w.shape) != rank + 3:
            shape_error(
                "window_dot",
                types,
                f"operands with {rank} strides have {rank + 3} axes",
                "give groups, batch, channels and one axis for each stride",
            )
        if (w.shape[0], w.shape[2]) != (x.shape[0], x.shape[2]):
            shape_error(
                "window_dot",
                types,
                "groups or channels differ",
                "the weight needs the groups and the channels of the input",
            )
        counts = []
        for axis, extent in enumerate(x.shape[3:]):
            size, stride, dilation = w.shape[axis + 3], self.strides[axis], self.dilations[axis]
            assert isinstance(extent, int)
            assert isinstance(size, int)
            room = extent + self.low[axis] + self.high[axis] - dilation * (size - 1) - 1
            if room < 0 or not size:
                shape_error(
                    "window_dot",
                    types,
                    f"a window of {size} with dilation {dilation} does not fit {extent}",
                    "pad the input, or take a smaller window",
                )
            counts.append(room // stride + 1)
        first = (x.shape[0], x.shape[1], w.shape[1])
        return TensorType((*(first[axis] for axis in self.order), *counts), x.dtype)

    def _plain(self, result: Node) -> Node:
        """The result in the order of groups, images, channels."""
        if self.order == PLAIN:
            return result
        back = sorted(range(3), key=self.order.__getitem__)
        return build.transpose(result, (*back, *range(3, len(result.shape))))

    # --- derivative and batches -------------------------------------------------------------------

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        x, w = node.inputs
        cotangent = self._plain(cotangent)
        return (
            build_window.convolution_by_input(
                cotangent, w, x.shape[3:], self.strides, self.dilations, self.low
            ),
            build_window.convolution_by_weight(
                x, cotangent, w.shape[3:], self.strides, self.dilations, self.low
            ),
        )

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """A batch of both operands is more groups, one of the input a larger batch."""
        x, w = operands
        if self.order[0] != 0:
            plain = replace(self, order=PLAIN)
            result = plain.batch(Node(plain, node.inputs), operands, batched)
            first = (0, *(axis + 1 for axis in self.order))
            return build.transpose(result, (*first, *range(4, len(result.shape))))
        if batched[0] and not batched[1] and self.order == PLAIN:
            moved = build.transpose(x, (1, 0, *range(2, len(x.shape))))
            result = Node(self, (build_window.merge_axes(moved, 1), w))
            apart = build_window.split_axis(result, 1, x.shape[0])
            return build.transpose(apart, (1, 0, *range(2, len(apart.shape))))
        count = x.shape[0] if batched[0] else w.shape[0]
        spread = []
        for operand, is_batched in zip(operands, batched, strict=True):
            if not is_batched:
                axes = range(1, len(operand.shape) + 1)
                operand = build.broadcast(operand, (count, *operand.shape), axes)
            spread.append(build_window.merge_axes(operand, 0))
        return build_window.split_axis(Node(self, tuple(spread)), 0, count)

    # --- meaning ----------------------------------------------------------------------------------

    def ref(self, *arrays: Array) -> Array:
        x, w = arrays
        ends = list(zip(self.low, self.high, strict=True))
        padded = np.pad(x, [(0, 0)] * 3 + [(max(low, 0), max(high, 0)) for low, high in ends])
        cuts: tuple[Any, ...] = tuple(
            slice(max(-low, 0), extent - max(-high, 0))
            for (low, high), extent in zip(ends, padded.shape[3:], strict=True)
        )
        plain = Convolution(self.strides, self.dilations, False)
        result = plain.ref(padded[(..., *cuts)], w)
        result = result.transpose(*self.order, *range(3, result.ndim))
        return np.ascontiguousarray(result)

    def samples(self) -> Iterator[Sample]:
        for strides, dilations, low, high, x, w in (
            ((1,), (1,), (1,), (1,), (1, 2, 3, 7), (1, 4, 3, 3)),
            ((2,), (1,), (0,), (2,), (2, 1, 2, 9), (2, 3, 2, 2)),
            ((1, 1), (1, 1), (1, 0), (1, 0), (1, 1, 2, 5, 4), (1, 3, 2, 3, 2)),
            ((2, 3), (1, 2), (-1, 2), (0, -1), (1, 2, 1, 6, 9), (1, 1, 1, 3, 2)),
            ((1, 1), (1, 1), (1, 1), (1, 1), (3, 1, 1, 4, 4), (3, 1, 1, 3, 3)),
            ((1, 1), (2, 1), (0, 1), (1, 0), (1, 2, 2, 8, 6), (1, 2, 2, 3, 5)),
            ((2, 1), (1, 1), (0, 0), (0, 0), (1, 3, 2, 8, 7), (1, 2, 2, 5, 6)),
            ((1, 1, 1), (1, 1, 1), (0, 0, 1), (0, 1, 0), (1, 1, 2, 3, 2, 3), (1, 2, 2, 2, 1, 2)),
        ):
            for order in (PLAIN, (0, 2, 1), (1, 0, 2)):
                op = WindowDot(strides, dilations, low, high, order)
                yield Sample(op, (InputSpec(x), InputSpec(w)))
        for dtype in (bfloat16, float32):
            for sizes in ((3, 3), (6, 19)):
                op = WindowDot((1, 1), (1, 1), (1, 1), (1, 1))
                specs = (
                    InputSpec((1, 2, 9, 6, 20), dtype),
                    InputSpec((1, 13, 9, *sizes), dtype),
                )
                yield Sample(op, specs, gradient=dtype is float64)
