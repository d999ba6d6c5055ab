"""Slices of what was put together: the rules, against the interpreter, and what kernels read."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import float32
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node
from fusegrad.ir.rewrite import rewrite
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.ops.movement import Concat, Pad, Slice
from fusegrad.passes.pieces import PIECES


def variable(*shape: int) -> Node:
    return build.input_(TensorType(shape, float32))


def rewritten(node: Node, *variables: Node) -> Node:
    """What the rules make of `node`; it has the same elements."""
    (after,) = rewrite([node], PIECES)
    size = itertools.count(1)
    values = {
        v: np.arange(np.prod(v.shape), dtype=np.float32).reshape(v.shape) + 100 * next(size)  # type: ignore[arg-type]
        for v in variables
    }
    expected, got = evaluate([node, after], values)
    np.testing.assert_array_equal(expected, got, strict=True)
    return after


def names(node: Node) -> set[str]:
    result, stack = set(), [node]
    while stack:
        node = stack.pop()
        result.add(node.op.name)
        stack.extend(node.inputs)
    return result


@pytest.mark.parametrize(("start", "stop"), [*itertools.combinations(range(9), 2)])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_slices_of_concatenations(start: int, stop: int, step: int) -> None:
    x, empty, y, z = variable(2, 3), variable(2, 0), variable(2, 1), variable(2, 4)
    joined = build.concat([x, empty, y, z], 1)
    after = rewritten(build.slice_axis(joined, 1, start, stop, step), x, empty, y, z)
    parts = {"x" if i < 3 else "y" if i == 3 else "z" for i in range(start, stop, step)}
    if len(parts) == 1:
        assert not isinstance(after.op, Concat)
    else:
        assert isinstance(after.op, Concat)
        assert len(after.inputs) == (4 if (start, stop, step) == (0, 8, 1) else len(parts))


def test_a_slice_of_another_axis_reaches_every_part() -> None:
    x, y = variable(4, 3), variable(4, 2)
    rewritten(build.slice_axis(build.concat([x, y], 1), 0, 1, 3), x, y)


@pytest.mark.parametrize("first", [(0, 7, 1), (2, 7, 2), (1, 6, 3), (3, 3, 1)])
def test_slices_of_slices(first: tuple[int, int, int]) -> None:
    x = variable(7, 2)
    inner = build.slice_axis(x, 0, *first)
    count = inner.shape[0]
    assert isinstance(count, int)
    for start, stop, step in itertools.product(range(count + 1), range(count + 1), (1, 2)):
        if start <= stop:
            after = rewritten(build.slice_axis(inner, 0, start, stop, step), x)
            assert after is x or not isinstance(after.inputs[0].op, Slice)


@pytest.mark.parametrize(("start", "stop"), [*itertools.combinations(range(9), 2)])
@pytest.mark.parametrize("step", [1, 2])
def test_slices_of_padding(start: int, stop: int, step: int) -> None:
    x = variable(3, 4)
    padded = build.pad(x, (0, 3), (0, 1))  # three zeros, four elements, one zero
    after = rewritten(build.slice_axis(padded, 1, start, stop, step), x)
    inside, outside = start >= 3 and stop <= 7, stop <= 3 or start >= 7
    assert ("pad" in names(after)) == (not inside and not outside)
    if outside:
        assert "input" not in names(after)


def test_padding_between_elements_stays() -> None:
    x = variable(3)
    after = rewritten(build.slice_axis(build.pad(x, (0,), (0,), (1,)), 0, 1, 4), x)
    assert isinstance(after.inputs[0].op, Pad)


def test_one_row_of_a_stack_reads_one_operand() -> None:
    """Also through arithmetic: the gradient of a stack is read row by row."""

    def step(xs: list[fg.Tensor], t: fg.Tensor) -> fg.Tensor:
        return fg.sign(fg.stack(xs) - t)[3] * 2

    compiled = fg.compile(step)
    rng = np.random.default_rng(0)
    xs = [rng.standard_normal((5, 2), dtype=np.float32) for _ in range(6)]
    t = rng.standard_normal((6, 5, 2), dtype=np.float32)
    np.testing.assert_array_equal(compiled(xs, t), np.sign(xs[3] - t[3]) * 2)
    kernels = compiled.explain(xs, t)["kernels"]
    assert kernels.count(" in,") == 2, kernels


def test_a_row_of_zeros_reads_nothing() -> None:
    def step(x: fg.Tensor) -> fg.Tensor:
        return fg.exp(fg.pad(x, ((2, 0), (0, 0))))[1]

    compiled = fg.compile(step)
    x = np.full((2, 3), np.nan, np.float32)
    np.testing.assert_array_equal(compiled(x), np.ones(3, np.float32))
    assert " in," not in compiled.explain(x)["kernels"]
