"""The batching rule of every op: as the op applied to every element of the batch in turn."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusegrad.batching import batch
from fusegrad.codegen.dtypes import float32, float64, int64
from fusegrad.errors import BatchingError
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, Op, Pattern
from fusegrad.ir.types import Symbol, TensorType, TupleType
from fusegrad.ops import CLASSES, build
from fusegrad.ops.base import Sample
from fusegrad.ops.identities import Barrier
from tests.ops.samples import OPS, all_samples

Array = npt.NDArray[Any]

SIZE = 3

PENDING: set[str] = set()
"""Ops whose rule is still to be written; stays empty."""


def results_of(node: Node) -> list[Node]:
    if isinstance(node.type, TupleType):
        return [build.item(node, number) for number in range(len(node.type.items))]
    return [node]


def small_samples() -> list[Sample]:
    return [
        sample
        for sample in all_samples()
        if sample.inputs and max(np.prod(spec.shape) for spec in sample.inputs) <= 600
    ]


@pytest.mark.parametrize("sample", small_samples(), ids=str)
def test_batched_is_a_loop(sample: Sample) -> None:
    rng = np.random.default_rng(5)
    specs = sample.inputs
    nodes = [build.input_(TensorType(spec.shape, spec.dtype)) for spec in specs]
    outputs = results_of(Node(sample.op, tuple(nodes)))
    for has in product((True, False), repeat=len(nodes)) if len(nodes) < 4 else [(True,) * 9]:
        if not any(has):
            continue
        rows = {
            node: build.input_(TensorType((SIZE, *spec.shape), spec.dtype))
            for node, spec, own in zip(nodes, specs, has, strict=False)
            if own
        }
        values = {
            rows.get(node, node): np.stack([spec.make(rng) for _ in range(SIZE)])
            if node in rows
            else spec.make(rng)
            for node, spec in zip(nodes, specs, strict=True)
        }
        found = batch(outputs, rows)
        # What only waits for something batched is the same for all elements.
        waits = isinstance(sample.op, Barrier) and not has[0]
        assert all(own is not waits for _, own in found)
        given = evaluate([node for node, _ in found], values)
        for i in range(SIZE):
            one = {node: values[rows[node]][i] if node in rows else values[node] for node in nodes}
            for expected, all_ in zip(evaluate(outputs, one), given, strict=True):
                value = all_ if waits else all_[i]
                np.testing.assert_allclose(value, expected, rtol=1e-5, atol=2e-6, strict=True)


def test_every_op_has_a_rule() -> None:
    without = {
        op.name
        for op in (*OPS, *CLASSES.values())
        if op.pattern is not Pattern.SOURCE
        and (op.batch.__func__ if isinstance(op, Op) else op.batch) is Op.batch
    }
    assert without == PENDING


def test_the_batch_may_be_a_symbol() -> None:
    batch_size = Symbol("batch")
    x, indices = (build.input_(TensorType((4, 3), dtype)) for dtype in (float64, int64))
    taken = build.take(x, indices, 0)
    wide = build.dot(build.reshape(taken, (12, 3)), build.matrix_transpose(x))
    result = build.add(build.sum_(wide, (1,)), build.reshape(indices_as(x, indices), (12,)))
    rows = {node: build.input_(TensorType((batch_size, 4, 3), node.dtype)) for node in (x, indices)}
    ((node, own),) = batch([result], rows)
    assert own
    assert node.shape == (batch_size, 12)


def indices_as(x: Node, indices: Node) -> Node:
    return build.cast(indices, x.dtype)


def test_what_does_not_depend_on_the_batch_stays() -> None:
    x, y = (build.input_(TensorType((2,), float32)) for _ in range(2))
    constant = build.add(y, y)
    row = build.input_(TensorType((0, 2), float32))
    (first, own), (second, other) = batch([build.mul(x, constant), constant], {x: row})
    assert (own, other) == (True, False)
    assert second is constant
    assert first.shape == (0, 2)
    assert first.inputs[1] is build.broadcast(constant, (0, 2), (1,))


def test_an_op_without_rule_is_named() -> None:
    class Odd(Op):
        name = "odd"
        pattern = Pattern.CALL

        def infer(self, *types: Any) -> Any:
            return types[0]

        def ref(self, *arrays: Array) -> Array:
            return arrays[0]

    x = build.input_(TensorType((2,), float32))
    with pytest.raises(BatchingError) as raised:
        batch([Node(Odd(), (x,))], {x: build.input_(TensorType((3, 2), float32))})
    assert raised.value.message == "odd has no rule for vmap"
