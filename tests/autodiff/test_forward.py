"""Forward mode: the tangents of every op, and that linear ops compute nothing superfluous."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusegrad.autodiff.custom import custom_call
from fusegrad.autodiff.forward import jvp
from fusegrad.autodiff.reverse import vjp
from fusegrad.codegen.dtypes import float32, float64, int64
from fusegrad.errors import GradientError, NotDifferentiableError
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, toposort
from fusegrad.ir.types import TensorType, TupleType
from fusegrad.ops import build
from fusegrad.ops.base import Sample
from tests.ops.samples import all_samples

Array = npt.NDArray[Any]


def variable(*shape: int, dtype: Any = float64) -> Node:
    return build.input_(TensorType(shape, dtype))


def smooth_samples() -> list[Sample]:
    return [
        sample
        for sample in all_samples()
        if sample.gradient
        and any(spec.dtype is float64 for spec in sample.inputs)
        and all(np.prod(spec.shape) <= 600 for spec in sample.inputs)
    ]


@pytest.mark.parametrize("sample", smooth_samples(), ids=str)
def test_tangents_are_differences(sample: Sample) -> None:
    rng = np.random.default_rng(7)
    nodes = [variable(*spec.shape, dtype=spec.dtype) for spec in sample.inputs]
    values = {x: spec.make(rng) for x, spec in zip(nodes, sample.inputs, strict=True)}
    floats = [x for x in nodes if x.dtype is float64]
    directions = {x: variable(*x.shape) for x in floats}
    node = Node(sample.op, tuple(nodes))
    outputs = [node]
    if isinstance(node.type, TupleType):
        outputs = [build.item(node, i) for i in range(len(node.type.items))]
    outputs = [y for y in outputs if y.dtype is float64]
    found = jvp(outputs, floats, list(directions.values()))
    steps = {x: rng.normal(size=x.shape) for x in floats}
    given = evaluate(
        [build.zeros_like(y) if t is None else t for y, t in zip(outputs, found, strict=True)],
        values | {directions[x]: step for x, step in steps.items()},
    )
    eps = 1e-6
    high, low = (
        evaluate(outputs, values | {x: values[x] + sign * eps * steps[x] for x in floats})
        for sign in (1, -1)
    )
    for tangent, up, down in zip(given, high, low, strict=True):
        np.testing.assert_allclose(tangent, (up - down) / (2 * eps), rtol=1e-4, atol=1e-5)


# --- what is computed -----------------------------------------------------------------------------


def new_nodes(output: Node, wrt: list[Node]) -> list[str]:
    """The ops that forward mode adds to the graph of `output`."""
    tangents = [build.input_(x.tensor_type) for x in wrt]
    (found,) = jvp([output], wrt, tangents)
    assert found is not None
    known = set(toposort([output, *tangents]))
    return sorted(node.op.name for node in toposort([found]) if node not in known)


def test_linear_ops_compute_the_tangent_only() -> None:
    x, y, c = variable(3, 4), variable(3, 4), variable(4, 2)
    assert new_nodes(build.add(x, y), [x, y]) == ["add"]
    assert new_nodes(build.add(x, y), [x]) == []
    assert new_nodes(build.neg(x), [x]) == ["neg"]
    assert new_nodes(build.sub(x, y), [x, y]) == ["add", "neg"]
    assert new_nodes(build.reshape(x, (12,)), [x]) == ["reshape"]
    assert new_nodes(build.transpose(x, (1, 0)), [x]) == ["transpose"]
    assert new_nodes(build.broadcast(x, (2, 3, 4), (1, 2)), [x]) == ["broadcast"]
    assert new_nodes(build.slice_axis(x, 1, 1, 3), [x]) == ["slice"]
    assert new_nodes(build.pad(x, (1, 0), (0, 2)), [x]) == ["pad"]
    assert new_nodes(build.flip(x, (0,)), [x]) == ["flip"]
    assert new_nodes(build.sum_(x, (0,)), [x]) == ["reduce"]
    assert new_nodes(build.dot(x, c), [x]) == ["dot"]
    assert new_nodes(build.cast(x, float32), [x]) == ["cast"]
    indices = variable(5, dtype=int64)
    assert new_nodes(build.take(x, indices, 0), [x]) == ["take"]
    assert new_nodes(build.scatter_add(x, variable(3, dtype=int64), 0, 7), [x]) == ["scatter_add"]


def test_products_and_functions() -> None:
    x, y, c = variable(3, 3), variable(3, 3), variable(3, 3)
    assert new_nodes(build.mul(x, y), [x, y]) == ["add", "mul", "mul"]
    assert new_nodes(build.mul(x, y), [y]) == ["mul"]
    assert new_nodes(build.exp(x), [x]) == ["mul"]
    assert new_nodes(build.dot(x, c), [x, c]) == ["add", "dot", "dot"]


def test_the_work_does_not_grow_with_the_depth() -> None:
    x = variable(2)
    y = x
    for _ in range(5000):
        y = build.sin(y)
    (tangent,) = jvp([y], [x], [build.ones_like(x)])
    assert tangent is not None
    assert len(toposort([tangent])) < 4 * 5000


# --- what has none --------------------------------------------------------------------------------


def test_no_path_no_tangent() -> None:
    x, t = variable(3), variable(3)
    outputs = [build.floor(x), build.argmax(x, 0), build.stop_gradient(x), variable(2)]
    assert jvp(outputs, [x], [t]) == [None, None, None, None]
    assert jvp([build.leaf(x, object()), build.mark(x, object())], [x], [t]) == [None, t]


def test_forward_and_reverse_agree() -> None:
    x, y, t, u, g = (variable(3, 3) for _ in range(5))
    z = build.dot(build.tanh(build.mul(x, y)), build.div(x, build.exp(y)))
    (forward,) = jvp([z], [x, y], [t, u])
    by_x, by_y = vjp([z], [g], [x, y])
    assert forward is not None
    assert by_x is not None
    assert by_y is not None
    rng = np.random.default_rng(0)
    values = {node: rng.normal(size=(3, 3)) for node in (x, y, t, u, g)}
    one, two, three = evaluate([forward, by_x, by_y], values)
    np.testing.assert_allclose(
        (one * values[g]).sum(), (two * values[t]).sum() + (three * values[u]).sum()
    )


def test_errors() -> None:
    x, i = variable(3), variable(3, dtype=int64)
    with pytest.raises(GradientError) as raised:
        jvp([i], [i], [i])
    assert raised.value.message == "a value of type i64[3] has no tangent"
    with pytest.raises(GradientError) as raised:
        jvp([x], [x], [variable(2)])
    assert raised.value.message == "the tangent has type f64[2], the value f64[3]"


def test_a_rule_that_is_not_linear_has_no_forward_mode() -> None:
    x, p = variable(3), variable(3)
    clipped = custom_call(
        [p], [build.sin(p)], lambda inputs, results, given: [build.square(given[0])], [x]
    )
    with pytest.raises(NotDifferentiableError) as raised:
        jvp(clipped, [x], [variable(3)])
    assert raised.value.message == (
        "the gradient rule of custom_vjp is not linear in the cotangent, so that there is no "
        "forward mode"
    )
