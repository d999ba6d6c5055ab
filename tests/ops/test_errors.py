"""What ill-typed graphs are told: the op, its operands, the user's line and the remedy."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fusegrad.codegen.dtypes import DType, bool_, float32, float64, int64
from fusegrad.errors import DTypeError, EmptyReductionError, FusegradError, ShapeError
from fusegrad.ir.node import Node
from fusegrad.ir.types import Symbol, TensorType
from fusegrad.ops import build


def v(*shape: int, dtype: DType = float32) -> Node:
    return build.input_(TensorType(shape, dtype))


N = build.input_(TensorType((Symbol("n"),), float32))

CASES: list[tuple[Callable[[], object], type[FusegradError], str, str]] = [
    (
        lambda: build.add(v(3), v(4)),
        ShapeError,
        "add(f32[3], f32[4]): the shapes differ",
        "reshape, transpose or broadcast one of the operands",
    ),
    (
        lambda: build.exp(v(3, dtype=int64)),
        DTypeError,
        "exp(i64[3]): it takes operands of one dtype (float)",
        "convert with .astype() first",
    ),
    (
        lambda: build.mul(v(3), v(3, dtype=float64)),
        DTypeError,
        "mul(f32[3], f64[3]): it takes operands of one dtype (float or int or uint)",
        "convert with .astype() first",
    ),
    (
        lambda: build.select(v(3), v(3), v(3)),
        DTypeError,
        "select(f32[3], f32[3], f32[3]): it takes a bool and two operands of one dtype",
        "convert with .astype() first",
    ),
    (
        lambda: build.reshape(v(2, 3), (4,)),
        ShapeError,
        "reshape(f32[2, 3]): [4] does not have as many elements",
        "the product of the extents must stay the same",
    ),
    (
        lambda: build.broadcast(v(3), (2, 4), (1,)),
        ShapeError,
        "broadcast(f32[3]): it does not fit [2, 4] with its axes placed at [1]",
        "reshape it so that its axes are axes of the result",
    ),
    (
        lambda: build.transpose(v(2, 3), (0, 0)),
        ShapeError,
        "transpose(f32[2, 3]): [0, 0] is no permutation of its axes",
        "name each axis once",
    ),
    (
        lambda: build.slice_axis(v(3), 0, 1, 5),
        ShapeError,
        "slice(f32[3]): 1:5:1 does not lie in an axis of 3",
        "take 0 <= start <= stop <= extent and a positive step",
    ),
    (
        lambda: build.slice_axis(N, 0, 1, 5),
        ShapeError,
        "slice(f32[n]): the extent n is not known, so it cannot be cut",
        "slice other axes, or compile for a known extent",
    ),
    (
        lambda: build.pad(v(3), (-1,), (0,)),
        ShapeError,
        "pad(f32[3]): an amount is negative",
        "cut with a slice instead",
    ),
    (
        lambda: build.concat([v(2, 3), v(2, 4)], 0),
        ShapeError,
        "concat(f32[2, 3], f32[2, 4]): the extents differ in other axes than 0",
        "all extents but those of the joined axis must be equal",
    ),
    (
        lambda: build.sum_(v(3), (1,)),
        ShapeError,
        "sum(f32[3]): there is no axis 1",
        "the operand has 1 axes; name one of them",
    ),
    (
        lambda: build.sum_(v(3, dtype=bool_), (0,)),
        DTypeError,
        "sum(bool[3]): it takes numbers",
        "convert with .astype() first",
    ),
    (
        lambda: build.all_(v(3), (0,)),
        DTypeError,
        "all(f32[3]): it takes bools",
        "compare with zero first",
    ),
    (
        lambda: build.max_(v(0, 3), (0,)),
        EmptyReductionError,
        "max(f32[0, 3]): axis 0 is empty",
        "skip empty input, or concatenate a fallback value before the reduction",
    ),
    (
        lambda: build.argmin(v(3, 0), 1),
        EmptyReductionError,
        "argmin(f32[3, 0]): axis 1 is empty",
        "skip empty input, or concatenate a fallback value before the reduction",
    ),
    (
        lambda: build.dot(v(2, 3), v(4, 5)),
        ShapeError,
        "dot(f32[2, 3], f32[4, 5]): the inner extents 3 and 4 differ",
        "transpose one of the operands, or check which axis is summed over",
    ),
    (
        lambda: build.dot(v(2, 2, 3), v(5, 3, 4)),
        ShapeError,
        "dot(f32[2, 2, 3], f32[5, 3, 4]): the axes before the last two differ",
        "both need at least two axes and equal batch axes",
    ),
    (
        lambda: build.take(v(3), v(2), 0),
        DTypeError,
        "take(f32[3], f32[2]): the indices are no integers",
        "convert them with .astype('int64')",
    ),
    (
        lambda: build.take(v(0), v(2, dtype=int64), 0),
        ShapeError,
        "take(f32[0], i64[2]): the axis is empty",
        "there is nothing to index; skip empty input",
    ),
    (
        lambda: build.take_along(v(3, 4), v(2, 4, dtype=int64), 1),
        ShapeError,
        "take_along(f32[3, 4], i64[2, 4]): the extents differ in other axes than 1",
        "give the indices the shape of the array but for that axis",
    ),
]


@pytest.mark.parametrize(("build_it", "error", "message", "remedy"), CASES)
def test_errors(
    build_it: Callable[[], object], error: type[FusegradError], message: str, remedy: str
) -> None:
    with pytest.raises(error) as caught:
        build_it()
    assert caught.value.message == message
    assert caught.value.remedy == remedy
    assert caught.value.where is not None
    assert caught.value.where.file == __file__


def test_sums_of_nothing_are_identities() -> None:
    assert build.sum_(v(0, 3), (0,)).shape == (3,)
    assert build.prod(v(3, 0), (1,)).shape == (3,)
    assert build.max_(v(0, 3), (1,)).shape == (0,)
