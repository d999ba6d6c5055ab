"""The greatest common divisor: Euclid's algorithm, as often as the dtype can need it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import ALL, int64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.kernel import Any as AnyOrder
from ..codegen.kernel import For, Serial, Stmt, Store
from ..codegen.records import dataclass
from . import build
from .base import Array, InputSpec, LoopOp, Node, Sample, TensorType, dtype_error, op_class
from .base import shape_error as wrong_shape
from .batch import spread
from .indexing import loops, variables_of

__all__ = ["Gcd"]

_STEPS = {8: 13, 16: 24, 32: 47, 64: 93}
"""By bits: Euclid's algorithm takes most steps for neighbours of Fibonacci's sequence."""


@op_class("gcd")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Gcd(LoopOp):
    """The greatest common divisor of two integers, not negative; that of 0 and 0 is 0."""

    name: ClassVar[str] = "gcd"

    def infer(self, *types: TensorType) -> TensorType:
        a, b = types
        if a.shape != b.shape:
            wrong_shape("gcd", types, "the shapes differ", "broadcast one of the operands")
        if a.dtype is not b.dtype or not a.dtype.is_integer:
            dtype_error("gcd", types, "it takes integers of one dtype", "convert with .astype()")
        return a

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return None, None

    def ref(self, *arrays: Array) -> Array:
        with np.errstate(over="ignore"):
            result: Array = np.gcd(*arrays)
        return result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        places = variables_of("i", output.shape)
        dtype = output.dtype
        at = tuple(places)
        a, b = Var("a", dtype), Var("b", dtype)
        zero = Const(0, dtype)
        done = scalar.apply("eq", b, zero)
        divisor = scalar.apply("select", done, Const(1, dtype), b)
        rest = scalar.apply("remtrunc", a, divisor)
        step = (scalar.apply("select", done, a, b), scalar.apply("select", done, zero, rest))
        start = tuple(zip((a, b), (_size(Load(x, at)) for x in inputs), strict=True))
        count = Var("k", int64, _STEPS[dtype.bits])
        search = For(count, _STEPS[dtype.bits], Serial(), (), start, step)
        return loops(places, AnyOrder(), (search, Store(output, at, _size(a))))

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return build.gcd(*spread(operands, batched))

    def samples(self) -> Iterator[Sample]:
        for dtype in ALL:
            if dtype.is_integer:
                low = 0 if dtype.kind == "uint" else -120
                spec = InputSpec((17,), dtype, low, 120)
                yield Sample(Gcd(), (spec, spec), False)
        for shape in ((), (0,), (2, 3)):
            yield Sample(Gcd(), (InputSpec(shape, int64, -9, 9),) * 2, False)


def _size(x: Expr) -> Expr:
    return scalar.apply("abs", x) if x.dtype.kind == "int" else x
