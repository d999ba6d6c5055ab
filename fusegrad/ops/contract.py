"""The matrix product, of a right operand as it is or in panels.

Knows nothing of how it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen.dtypes import bfloat16, bool_, float16, float32, float64, int64
from ..codegen.records import dataclass
from ..ir.types import known_size
from . import build
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
from .batch import spread

__all__ = ["Dot", "PanelDot"]


@op_class("dot")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Dot(Op):
    """(batch..., M, K) times (batch..., K, N) is (batch..., M, N)."""

    name: ClassVar[str] = "dot"
    pattern: ClassVar[Pattern] = Pattern.CONTRACT

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        if a.dtype is not b.dtype:
            dtype_error("dot", types, "the dtypes differ", "convert one with .astype() first")
        if a.dtype is bool_:
            dtype_error("dot", types, "it takes numbers", "convert with .astype() first")
        if len(a.shape) < 2 or len(a.shape) != len(b.shape) or a.shape[:-2] != b.shape[:-2]:
            shape_error(
                "dot",
                types,
                "the axes before the last two differ",
                "both need at least two axes and equal batch axes",
            )
        if a.shape[-1] != b.shape[-2]:
            shape_error(
                "dot",
                types,
                f"the inner extents {a.shape[-1]} and {b.shape[-2]} differ",
                "transpose one of the operands, or check which axis is summed over",
            )
        return TensorType((*a.shape[:-1], b.shape[-1]), a.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        a, b = node.inputs
        if not node.dtype.is_float:
            return None, None
        return (
            build.dot(cotangent, build.matrix_transpose(b)),
            build.dot(build.matrix_transpose(a), cotangent),
        )

    def ref(self, *arrays: Array) -> Array:
        return np.asarray(np.matmul(*arrays))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        a, b = operands
        count = known_size(a.shape[:2])
        if count is not None and len(node.shape) == 2 and not batched[1]:
            # The batch as further rows: one product.
            rows = build.reshape(a, (count, a.shape[-1]))
            return build.reshape(build.dot(rows, b), (*a.shape[:2], b.shape[1]))
        return build.dot(*spread(operands, batched))

    def samples(self) -> Iterator[Sample]:
        shapes: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
            ((2, 3), (3, 4)),
            ((1, 1), (1, 1)),
            ((7, 17), (17, 15)),
            ((2, 3, 5), (2, 5, 4)),
            ((2, 1, 3, 2), (2, 1, 2, 3)),
            ((0, 3), (3, 2)),
            ((2, 0), (0, 3)),
        )
        for a, b in shapes:
            yield Sample(self, (InputSpec(a), InputSpec(b)))
        for dtype in (float16, bfloat16, float32, int64):
            specs = InputSpec((7, 33), dtype), InputSpec((33, 17), dtype)
            yield Sample(self, specs, gradient=dtype is float64)


@op_class("panel_dot")
@final
@dataclass(frozen=True, eq=False, repr=False)
class PanelDot(Op):
    """(M, K) times P panels (P, K, W) of the columns of a matrix is (M, P * W).

    A panel is read in order, so a matrix that is used many times pays for being put in panels.
    """

    name: ClassVar[str] = "panel_dot"
    pattern: ClassVar[Pattern] = Pattern.CONTRACT

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        if a.dtype is not b.dtype or a.dtype is bool_:
            dtype_error(
                "panel_dot", types, "it takes numbers of one dtype", "convert with .astype()"
            )
        if len(a.shape) != 2 or len(b.shape) != 3 or a.shape[1] != b.shape[1]:
            shape_error(
                "panel_dot",
                types,
                "they are not (M, K) and (P, K, W)",
                "put the columns of a matrix (K, P * W) in panels",
            )
        columns = known_size((b.shape[0], b.shape[2]))
        if columns is None:
            shape_error("panel_dot", types, "the panels are not counted", "use dot instead")
        return TensorType((a.shape[0], columns), a.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        a, b = node.inputs
        if not node.dtype.is_float:
            return None, None
        by_panels = build.dot(build.matrix_transpose(a), cotangent)
        split = build.reshape(by_panels, (b.shape[1], b.shape[0], b.shape[2]))
        return (
            build.dot(cotangent, build.matrix_transpose(_joined(b))),
            build.transpose(split, (1, 0, 2)),
        )

    def ref(self, *arrays: Array) -> Array:
        a, b = arrays
        count, depth, width = b.shape
        return np.asarray(np.matmul(a, b.transpose(1, 0, 2).reshape(depth, count * width)))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        a, b = spread(operands, batched)
        extent, count, depth, width = b.shape
        columns = known_size((count, width))
        assert columns is not None
        joined = build.reshape(build.transpose(b, (0, 2, 1, 3)), (extent, depth, columns))
        return build.dot(a, joined)

    def samples(self) -> Iterator[Sample]:
        for a, b in (
            ((2, 3), (4, 3, 2)),
            ((1, 1), (1, 1, 1)),
            ((17, 33), (3, 33, 32)),
            ((8, 5), (2, 5, 16)),
            ((0, 3), (3, 3, 2)),
            ((2, 0), (2, 0, 3)),
        ):
            yield Sample(self, (InputSpec(a), InputSpec(b)))
        for dtype in (bfloat16, float32, int64):
            yield Sample(
                self, (InputSpec((9, 33), dtype), InputSpec((2, 33, 16), dtype)), gradient=False
            )


def _joined(panels: Node) -> Node:
    """The matrix whose columns lie in panels."""
    count, depth, width = panels.shape
    columns = known_size((count, width))
    assert columns is not None
    return build.reshape(build.transpose(panels, (1, 0, 2)), (depth, columns))
