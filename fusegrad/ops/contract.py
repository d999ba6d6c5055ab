"""The matrix product.

Knows nothing of how it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np

from ..codegen.dtypes import bfloat16, bool_, float16, float32, float64, int64
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

__all__ = ["Dot"]


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
