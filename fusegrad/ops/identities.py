"""Conversions, and ops that give their operand again: marks, barriers, ends of gradients."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)
from ..codegen.expr import Expr
from ..codegen.records import dataclass
from ..errors import NotDifferentiableError
from ..ir.node import where
from . import build as b
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
    op_class,
    shape_error,
)
from .batch import spread

__all__ = [
    "Barrier",
    "Beside",
    "Cast",
    "Leaf",
    "Mark",
    "NotDifferentiable",
    "StopGradient",
    "Transfer",
]

_FLOATS = (float16, bfloat16, float32, float64)


@op_class("cast", float32)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Cast(IndexedOp):
    """Conversion of every element, as NumPy's ``astype``."""

    dtype: DType
    name: ClassVar[str] = "cast"
    pattern: ClassVar[Pattern] = Pattern.MAP

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(types[0].shape, self.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        given = node.inputs[0].dtype
        if not (given.is_float and self.dtype.is_float):
            return (None,)
        return (b.cast(cotangent, given),)

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return (mask,)

    def ref(self, *arrays: Array) -> Any:
        return scalar.TABLE["cast"].meaning(arrays[0], self.dtype)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return scalar.apply("cast", reads[0](index), dtype=self.dtype)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return b.cast(operands[0], self.dtype)

    def samples(self) -> Iterator[Sample]:
        for given in (bool_, uint8, int32, int64, uint32, uint64, *_FLOATS):
            for dtype in (bool_, uint8, int32, int64, uint64, *_FLOATS):
                low = 0 if dtype.kind == "uint" else -100
                smooth = given is float64 and dtype is float64
                yield Sample(Cast(dtype), (InputSpec((17,), given, low, 100),), smooth)


class _Identity(IndexedOp):
    """The operand itself, as another node."""

    pattern: ClassVar[Pattern] = Pattern.MAP

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return (mask,)

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def ref(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0])

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return reads[0](index)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def params(self) -> tuple[Any, ...]:
        return ()


class _End(_Identity):
    """An identity that gradients do not pass."""

    passes_gradients: ClassVar[bool] = False

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)


@op_class("stop_gradient")
@final
@dataclass(frozen=True, eq=False, repr=False)
class StopGradient(_End):
    """The operand, through which no gradient flows."""

    name: ClassVar[str] = "stop_gradient"

    def samples(self) -> Iterator[Sample]:
        yield Sample(self, (InputSpec((3,)),), gradient=False)


@op_class("not_differentiable", "a sample")
@final
@dataclass(frozen=True, eq=False, repr=False)
class NotDifferentiable(_Identity):
    """The operand, through which no gradient can flow: asking for one is an error.

    Attributes
    ----------
    reason : str
        The message of the error.
    """

    reason: str
    name: ClassVar[str] = "not_differentiable"

    def params(self) -> tuple[Any, ...]:
        return (self.reason,)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        raise NotDifferentiableError(
            self.reason,
            where=where(node),
            remedy="detach that operand, or take the derivative by another one",
        )

    def samples(self) -> Iterator[Sample]:
        yield Sample(NotDifferentiable("a sample"), (InputSpec((3,)),), gradient=False)


@op_class("leaf", object())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Leaf(_End):
    """The operand as a variable of its own: gradients end here, and can be asked for here."""

    token: object
    name: ClassVar[str] = "leaf"

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return id(args[0])

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        # The tensor whose gradient could be asked for here has no batch.
        return b.stop_gradient(operands[0])

    def samples(self) -> Iterator[Sample]:
        yield Sample(Leaf(object()), (InputSpec((3,)),), gradient=False)


@op_class("mark", object())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Mark(_Identity):
    """The operand as a node of its own, which no equal expression shares; gradients flow on."""

    token: object
    name: ClassVar[str] = "mark"

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return id(args[0])

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (cotangent,)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def samples(self) -> Iterator[Sample]:
        yield Sample(Mark(object()), (InputSpec((3,)),))


@op_class("transfer", "cpu", "cuda:0")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Transfer(_Identity):
    """The operand on another device; its gradient goes the way back.

    Attributes
    ----------
    source, target : str
        The devices; `source` is empty for what is on none, as a constant.
    """

    source: str
    target: str
    name: ClassVar[str] = "transfer"

    def params(self) -> tuple[Any, ...]:
        return self.source, self.target

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (b.transfer(cotangent, self.target, self.source),)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        (tangent,) = tangents
        return None if tangent is None else Node(self, (tangent,))

    def samples(self) -> Iterator[Sample]:
        yield Sample(Transfer("cpu", "cuda:0"), (InputSpec((3,)),))


@op_class("barrier")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Barrier(_Identity):
    """The first operand, as another node that is not there before the second one, a scalar.

    What is computed from it is computed again, not shared with what is computed from the operand.
    """

    name: ClassVar[str] = "barrier"

    def infer(self, *types: TensorType) -> TensorType:
        if types[1].shape != ():
            shape_error("barrier", types, "it waits for a scalar", "pick one element")
        return types[0]

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return cotangent, None

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return mask, None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return b.barrier(operands[0], b.first(operands[1]))

    def samples(self) -> Iterator[Sample]:
        for shape in ((3,), (15, 7), (), (0, 2)):
            yield Sample(self, (InputSpec(shape), InputSpec(())))


@op_class("beside")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Beside(_Identity):
    """The first operand, computed where the second one is, which has the same shape.

    What is computed from it is computed again, not shared with what is computed from the operand.
    """

    name: ClassVar[str] = "beside"

    def infer(self, *types: TensorType) -> TensorType:
        if types[1].shape != types[0].shape:
            shape_error("beside", types, "the shapes are equal", "reshape the second one")
        return types[0]

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        reads[1](index)  # So that the kernel waits for it.
        return reads[0](index)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return cotangent, None

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return mask, None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(spread(operands, batched)))

    def samples(self) -> Iterator[Sample]:
        for shape in ((3,), (15, 7), (), (0, 2)):
            yield Sample(self, (InputSpec(shape), InputSpec(shape)))
