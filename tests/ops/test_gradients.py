"""Gradients of every op, to second order, against central differences in float64."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fusegrad.autodiff import vjp
from fusegrad.codegen.dtypes import as_dtype, float64
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.ops.base import Sample
from tests.ops.samples import all_samples, inputs_of, results

Array = npt.NDArray[Any]
STEP = 1e-5


def smooth_samples() -> list[Sample]:
    def wanted(sample: Sample) -> bool:
        floats = [spec for spec in sample.inputs if spec.dtype.is_float]
        small = all(np.prod(spec.shape) <= 130 for spec in sample.inputs)
        return (
            sample.gradient
            and bool(floats)
            and small
            and all(spec.dtype is float64 for spec in floats)
        )

    return [sample for sample in all_samples() if wanted(sample)]


def directional(
    outputs: Sequence[Node], variables: Sequence[Node], directions: Sequence[Array]
) -> Callable[[dict[Node, Array]], float]:
    """The derivative of the sum of `outputs` along `directions`, by central differences."""

    def slope(environment: dict[Node, Array]) -> float:
        sums = []
        for sign in (1, -1):
            moved = dict(environment)
            for node, direction in zip(variables, directions, strict=True):
                moved[node] = environment[node] + sign * STEP * direction
            sums.append(sum(float(value.sum()) for value in evaluate(outputs, moved)))
        return (sums[0] - sums[1]) / (2 * STEP)

    return slope


def weighted(node: Node, rng: np.random.Generator) -> Node:
    weights = rng.uniform(0.5, 1.5, node.shape)
    return build.mul(node, build.array_constant(weights))


def total_of(terms: Sequence[Node]) -> Node:
    if len(terms) == 1 and not terms[0].shape:
        return terms[0]
    totals = [build.sum_(term, range(len(term.shape))) for term in terms]
    output = totals[0]
    for total in totals[1:]:
        output = build.add(output, total)
    return output


@pytest.mark.parametrize("sample", smooth_samples(), ids=str)
def test_gradients_to_second_order(sample: Sample) -> None:
    rng = np.random.default_rng(7)
    nodes, environment = inputs_of(sample, rng)
    variables = [node for node in nodes if node.dtype.is_float]
    directions = [rng.uniform(-1, 1, node.shape) for node in variables]
    values = [y for y in results(Node(sample.op, tuple(nodes))) if y.dtype.is_float]
    output = total_of([weighted(value, rng) for value in values])
    for _order in (1, 2):
        expected = directional([output], variables, directions)(environment)
        gradients = vjp([output], [build.ones_like(output)], variables)
        terms = [
            build.mul(gradient, build.array_constant(direction))
            for gradient, direction in zip(gradients, directions, strict=True)
            if gradient is not None
        ]
        if not terms:
            assert expected == pytest.approx(0, abs=1e-6)
            return
        output = total_of(terms)
        (value,) = evaluate([output], environment)
        assert float(value) == pytest.approx(expected, rel=2e-5, abs=2e-5)


def gradient_of(function: Callable[..., Node], *values: float, order: int = 1) -> list[float]:
    nodes = [build.input_(TensorType((), float64)) for _ in values]
    environment = {n: np.asarray(v, float) for n, v in zip(nodes, values, strict=True)}
    output = function(*nodes)
    result: list[Node | None] = []
    for _ in range(order):
        result = vjp([output], [build.ones_like(output)], nodes)
        output = result[0] if result[0] is not None else build.zeros((), float64)
    return [float(evaluate([node], environment)[0]) if node is not None else 0.0 for node in result]


def c(value: float) -> Node:
    return build.constant(value, float64)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("x", [0.0, -1.5, 2.0])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("known", [True, False])
def test_powers(exponent: float, x: float, order: int, known: bool) -> None:
    """Integer powers have their derivatives at zero and at negative bases too."""
    factor = np.prod([exponent - k for k in range(order)])
    expected = 0.0 if factor == 0 else factor * x ** (exponent - order)
    if known:
        found = gradient_of(lambda a: build.pow_(a, c(exponent)), x, order=order)[0]
    else:
        found = gradient_of(build.pow_, x, exponent, order=order)[0]
    assert found == pytest.approx(expected)


def test_power_by_the_exponent() -> None:
    assert gradient_of(build.pow_, 2.0, 3.0)[1] == pytest.approx(8 * np.log(2))
    assert gradient_of(build.pow_, 0.0, 3.0)[1] == 0
    assert gradient_of(build.pow_, 0.0, 0.0)[1] == 0
    assert gradient_of(build.pow_, -2.0, 3.0)[1] == 0


def test_kinks() -> None:
    assert gradient_of(build.maximum, 1.0, 1.0) == [0.5, 0.5]
    assert gradient_of(build.minimum, 1.0, 2.0) == [1.0, 0.0]
    assert gradient_of(build.maximum, 1.0, 2.0) == [0.0, 1.0]
    assert gradient_of(build.abs_, 0.0) == [0.0]
    assert gradient_of(build.abs_, -2.0) == [-1.0]
    assert gradient_of(build.sqrt, 0.0) == [np.inf]
    assert gradient_of(build.hypot, 0.0, 0.0) == [0.0, 0.0]


def test_logaddexp_of_infinities() -> None:
    inf = np.inf
    assert gradient_of(build.logaddexp, -inf, 1.0) == [0.0, 1.0]
    assert gradient_of(build.logaddexp, inf, 1.0) == [1.0, 0.0]
    assert not np.isnan(gradient_of(build.logaddexp, -inf, -inf)).any()
    assert gradient_of(build.logaddexp, 800.0, 0.0) == [1.0, 0.0]


def test_the_untaken_branch_adds_no_nan() -> None:
    """The branch gets the cotangent 0; a finite slope there keeps it 0."""

    def safe_log(x: Node) -> Node:
        positive = build.gt(x, c(0))
        return build.select(positive, build.log(build.select(positive, x, c(1))), c(0))

    assert gradient_of(safe_log, 0.0) == [0.0]
    assert gradient_of(safe_log, 2.0) == [0.5]


def test_ties_of_reductions_share_evenly() -> None:
    x = build.input_(TensorType((4,), float64))
    for reduction in (build.max_, build.min_):
        y = reduction(x, (0,))
        (gradient,) = vjp([y], [build.ones_like(y)], [x])
        assert gradient is not None
        (value,) = evaluate([gradient], {x: np.asarray([2.0, 2.0, 2.0, 2.0])})
        np.testing.assert_array_equal(value, [0.25] * 4)


@pytest.mark.parametrize("zeros", [0, 1, 2])
def test_products_with_zeros(zeros: int) -> None:
    """First and second derivatives of a product are exact however many factors are zero."""
    values = np.asarray([[3.0, -2.0, 0.5], [1.5, 4.0, -1.0]])
    values.reshape(-1)[[1, 3][:zeros]] = 0
    x = build.input_(TensorType((2, 3), float64))
    y = build.prod(x, (0, 1))
    (gradient,) = vjp([y], [build.ones_like(y)], [x])
    assert gradient is not None
    (found,) = evaluate([gradient], {x: values})
    flat = values.reshape(-1)
    np.testing.assert_allclose(
        found.reshape(-1), [np.prod(np.delete(flat, i)) for i in range(6)], rtol=1e-14
    )
    direction = np.arange(1.0, 7).reshape(2, 3)
    slope = build.sum_(build.mul(gradient, build.array_constant(direction)), (0, 1))
    (second,) = vjp([slope], [build.ones_like(slope)], [x])
    assert second is not None
    (found,) = evaluate([second], {x: values})
    expected = [
        sum(np.prod(np.delete(flat, [i, j])) * direction.reshape(-1)[j] for j in range(6) if j != i)
        for i in range(6)
    ]
    np.testing.assert_allclose(found.reshape(-1), expected, rtol=1e-13)


def test_integers_and_tests_have_no_gradient() -> None:
    x = build.input_(TensorType((3,), float64))
    for y in (
        build.cast(build.cast(x, as_dtype("int64")), float64),
        build.floor(x),
        build.sign(x),
        build.cast(build.gt(x, build.zeros_like(x)), float64),
        build.stop_gradient(x),
    ):
        assert vjp([y], [build.ones_like(y)], [x]) == [None]


def test_gradient_of_picking_a_label_is_a_select() -> None:
    x = build.input_(TensorType((5, 10), float64))
    labels = build.input_(TensorType((5, 1), as_dtype("int64")))
    y = build.take_along(x, labels, 1)
    (gradient,) = vjp([y], [build.ones_like(y)], [x])
    assert gradient is not None
    assert gradient.op.name == "select"
