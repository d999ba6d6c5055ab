"""The bits of every element, read as another dtype.

Knows widths; knows nothing of what the bits mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, final

from ..codegen import scalar
from ..codegen.dtypes import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int16,
    int32,
    int64,
    uint16,
    uint32,
)
from ..codegen.expr import Expr
from ..codegen.records import dataclass
from . import build
from .base import (
    Array,
    Index,
    IndexedOp,
    InputSpec,
    Node,
    Pattern,
    Read,
    Sample,
    TensorType,
    dtype_error,
    op_class,
)

__all__ = ["Bitcast"]


@op_class("bitcast", int32)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Bitcast(IndexedOp):
    """The bits of every element as a dtype of the same width."""

    dtype: DType
    name: ClassVar[str] = "bitcast"
    pattern: ClassVar[Pattern] = Pattern.MAP
    widens: ClassVar[bool] = False

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        if x.dtype.bits != self.dtype.bits:
            dtype_error(
                "bitcast",
                types,
                f"{self.dtype} has {self.dtype.bits} bits, not {x.dtype.bits}",
                "take a dtype of the same width, or convert with .astype() first",
            )
        return TensorType(x.shape, self.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)

    def ref(self, *arrays: Array) -> Any:
        return scalar.TABLE["bitcast"].meaning(arrays[0], self.dtype)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return scalar.apply("bitcast", reads[0](index), dtype=self.dtype)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.bitcast(operands[0], self.dtype)

    def samples(self) -> Iterator[Sample]:
        for given, dtype in (
            (float32, int32),
            (int32, float32),
            (float32, uint32),
            (float64, int64),
            (int64, float64),
            (float16, int16),
            (uint16, float16),
            (bfloat16, uint16),
            (float16, bfloat16),
        ):
            yield Sample(Bitcast(dtype), (InputSpec((17,), given, 0, 100),), gradient=False)
