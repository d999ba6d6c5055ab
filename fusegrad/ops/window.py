"""Windows over the last axes as a view, and their adjoint, which adds them at their places.

Knows index arithmetic; knows nothing of what is computed over a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import as_dtype, bfloat16, bool_, float32, float64, int64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Any as AnyOrder
from ..codegen.kernel import For, Monoid, Serial, Stmt, Store
from ..codegen.records import dataclass
from ..ir.types import Symbol
from . import build_window
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
    dtype_error,
    op_class,
    shape_error,
)

__all__ = ["Overlap", "Windows", "affine_place", "loops"]


def affine_place(i: Expr, stride: int, k: Expr, dilation: int) -> Expr:
    """``i * stride + k * dilation``."""
    left = i if stride == 1 else scalar.apply("mul", i, number(stride))
    right = k if dilation == 1 else scalar.apply("mul", k, number(dilation))
    return scalar.apply("add", left, right)


@op_class("windows", (), (), ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Windows(IndexedOp):
    """Windows over the last axes: ``y[..., k..., i...] = x[..., i*s + k*d...]``.

    Attributes
    ----------
    sizes, strides, dilations : tuple of int
        For each of the last axes the elements of a window, the steps between windows and the
        steps inside of one. The axes of the elements come before those of the windows.
    """

    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    name: ClassVar[str] = "windows"
    pattern: ClassVar[Pattern] = Pattern.MOVE

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        rank = len(self.sizes)
        if len(x.shape) < rank:
            shape_error("windows", types, f"it has fewer than {rank} axes", "add axes")
        lead = x.shape[: len(x.shape) - rank]
        counts: list[Extent] = []
        for extent, size, stride, dilation in zip(
            x.shape[len(lead) :], self.sizes, self.strides, self.dilations, strict=True
        ):
            count = build_window.window_count(extent, size, stride, dilation)
            if count is None or (not isinstance(count, Symbol) and count < 0):
                shape_error(
                    "windows",
                    types,
                    f"a window of {size} with dilation {dilation} does not fit {extent}",
                    "pad the array, or take a smaller window",
                )
            counts.append(count)
        return TensorType((*lead, *self.sizes, *counts), x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        rank = len(self.sizes)
        extents = node.inputs[0].shape[len(node.shape) - 2 * rank :]
        return (build_window.overlap(cotangent, extents, self.strides, self.dilations),)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """The axes in front of the windows are free."""
        return Node(self, tuple(operands))

    def ref(self, *arrays: Array) -> Array:
        (x,) = arrays
        rank = len(self.sizes)
        lead = x.ndim - rank
        if not rank:
            return x
        if not x.size:
            shape = self.infer(TensorType(x.shape, as_dtype(x.dtype))).shape
            return np.zeros(shape, x.dtype)  # type: ignore[arg-type]
        reach = tuple(d * (k - 1) + 1 for k, d in zip(self.sizes, self.dilations, strict=True))
        view = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(lead, x.ndim)))
        places = (slice(None, None, s) for s in self.strides)
        inside = (slice(None, None, d) for d in self.dilations)
        view = view[(*(slice(None),) * lead, *places, *inside)]
        order = (*range(lead), *range(lead + rank, lead + 2 * rank), *range(lead, lead + rank))
        return view.transpose(order)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        rank = len(self.sizes)
        lead = len(index) - 2 * rank
        inside, places = index[lead : lead + rank], index[lead + rank :]
        return reads[0](
            (*index[:lead], *map(affine_place, places, self.strides, inside, self.dilations))
        )

    def samples(self) -> Iterator[Sample]:
        for sizes, strides, dilations, given in (
            ((3,), (1,), (1,), (7,)),
            ((2,), (2,), (2,), (3, 17)),
            ((2, 3), (1, 2), (1, 1), (2, 3, 7)),
            ((1, 2, 2), (1, 1, 2), (1, 2, 1), (2, 3, 5)),
            ((2,), (1,), (1,), (0, 3)),
            ((3,), (5,), (1,), (2, 3)),
        ):
            yield Sample(Windows(sizes, strides, dilations), (InputSpec(given),))


@op_class("overlap", (), (), ())
@final
@dataclass(frozen=True, eq=False, repr=False)
class Overlap(LoopOp):
    """Zeros with windows added at their places, in the order of the elements of a window.

    The adjoint of `Windows`: ``y[..., i*s + k*d...] += x[..., k..., i...]``.

    Attributes
    ----------
    extents : tuple of Extent
        Of the last axes of the result.
    strides, dilations : tuple of int
    """

    extents: tuple[Extent, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    name: ClassVar[str] = "overlap"

    def infer(self, *types: TensorType) -> TensorType:
        (x,) = types
        rank = len(self.extents)
        if x.dtype is bool_:
            dtype_error("overlap", types, "it takes numbers", "convert with .astype() first")
        if len(x.shape) < 2 * rank:
            shape_error("overlap", types, f"it has fewer than {2 * rank} axes", "add axes")
        lead = len(x.shape) - 2 * rank
        inside, places = x.shape[lead : lead + rank], x.shape[lead + rank :]
        for extent, size, count, stride, dilation in zip(
            self.extents, inside, places, self.strides, self.dilations, strict=True
        ):
            if build_window.window_count(extent, size, stride, dilation) != count:
                shape_error(
                    "overlap",
                    types,
                    f"{count} windows of {size} with stride {stride} and dilation {dilation} "
                    f"are not those of an axis of {extent}",
                    "give as many windows as the axis has",
                )
        return TensorType((*x.shape[:lead], *self.extents), x.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        if not node.dtype.is_float:
            return (None,)
        rank, (x,) = len(self.extents), node.inputs
        sizes = x.shape[len(x.shape) - 2 * rank : len(x.shape) - rank]
        return (build_window.windows(cotangent, sizes, self.strides, self.dilations),)  # type: ignore[arg-type]

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        """The axes in front of the windows are free."""
        return Node(self, tuple(operands))

    def ref(self, *arrays: Array) -> Array:
        (x,) = arrays
        rank = len(self.extents)
        lead = x.ndim - 2 * rank
        counts = x.shape[lead + rank :]
        result: Array = np.zeros((*x.shape[:lead], *self.extents), x.dtype)
        for place in np.ndindex(*x.shape[lead : lead + rank]):
            target = tuple(
                slice(k * d, k * d + s * (count - 1) + 1, s) if count else slice(0)
                for k, d, s, count in zip(place, self.dilations, self.strides, counts, strict=True)
            )
            result[(..., *target)] += x[(*(slice(None),) * lead, *place)]
        return result

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        (x,) = inputs
        rank = len(self.extents)
        lead = len(x.shape) - 2 * rank
        around = [Var(f"b{a}", int64, e) for a, e in enumerate(x.shape[:lead])]
        inside = [Var(f"k{a}", int64, e) for a, e in enumerate(x.shape[lead : lead + rank])]
        places = [Var(f"i{a}", int64, e) for a, e in enumerate(x.shape[lead + rank :])]
        zeros = [Var(f"z{a}", int64, e) for a, e in enumerate(output.shape[lead:])]
        target = tuple(map(affine_place, places, self.strides, inside, self.dilations))
        read = Load(x, (*around, *inside, *places))
        body: tuple[Stmt, ...] = (Store(output, (*around, *target), read, Monoid.SUM),)
        body = loops(inside, Serial(), loops(places, AnyOrder(), body))
        clear = Store(output, (*around, *zeros), Const(0, output.dtype))
        whole = (*loops(zeros, AnyOrder(), (clear,)), *body)
        # A single loop around everything, so that threads share it.
        return loops(around or [Var("b", int64, 1)], AnyOrder(), whole)

    def samples(self) -> Iterator[Sample]:
        for extents, strides, dilations, given in (
            ((7,), (1,), (1,), (3, 5)),
            ((17,), (2,), (2,), (3, 2, 8)),
            ((3, 7), (1, 2), (1, 1), (2, 2, 3, 2, 3)),
            ((3,), (1,), (1,), (0, 2, 2)),
            ((5,), (3,), (1,), (2, 2, 2)),
        ):
            for dtype in (float64, float32, bfloat16):
                spec = InputSpec(given, dtype)
                yield Sample(Overlap(extents, strides, dilations), (spec,), dtype is float64)


def loops(
    variables: Sequence[Var], order: AnyOrder | Serial, body: tuple[Stmt, ...]
) -> tuple[Stmt, ...]:
    """Nested loops around `body`, outermost first."""
    for variable in reversed(variables):
        assert variable.extent is not None
        body = (For(variable, variable.extent, order, body),)
    return body
