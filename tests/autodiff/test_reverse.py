"""Reverse mode on whole graphs, and functions with rules of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from fusegrad.autodiff import custom_call, inline_custom, vjp
from fusegrad.codegen.dtypes import float32, float64, int64
from fusegrad.errors import GradientError, NotDifferentiableError
from fusegrad.ir.digest import digest
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Item, Node, substitute, toposort
from fusegrad.ir.rewrite import rewrite
from fusegrad.ir.types import Symbol, TensorType
from fusegrad.ops import build


def variable(*shape: int) -> Node:
    return build.input_(TensorType(shape, float64))


def one(node: Node | None) -> Node:
    assert node is not None
    return node


def value(node: Node | None, environment: dict[Node, np.ndarray]) -> np.ndarray:
    return evaluate([one(node)], environment)[0]


def test_fan_out_is_summed() -> None:
    x = variable(2)
    y = build.add(build.mul(x, x), build.exp(x))
    at = {x: np.asarray([1.0, 2.0])}
    (gradient,) = vjp([y], [build.ones_like(y)], [x])
    np.testing.assert_allclose(value(gradient, at), 2 * at[x] + np.exp(at[x]))


def test_the_order_of_sums_is_fixed_by_the_graph() -> None:
    digests = set()
    for _ in range(3):
        x = variable(2)
        y = build.add(build.mul(build.exp(x), x), build.mul(build.sin(x), build.log(x)))
        (gradient,) = vjp([y], [build.ones_like(y)], [x])
        digests.add(digest([one(gradient)], [x]))
    assert len(digests) == 1


def test_several_outputs_and_variables() -> None:
    x, y, z = variable(2), variable(2), variable(2)
    a, b = build.mul(x, y), build.sub(x, y)
    found = vjp([a, b, a], [build.full_like(x, v) for v in (2.0, 3.0, 1.0)], [x, y, z])
    at = {x: np.asarray([5.0, 6.0]), y: np.asarray([7.0, 8.0])}
    np.testing.assert_array_equal(value(found[0], at), 3 * at[y] + 3)
    np.testing.assert_array_equal(value(found[1], at), 3 * at[x] - 3)
    assert found[2] is None


def test_an_output_may_be_the_variable() -> None:
    x = variable(2)
    seed = build.full_like(x, 3.0)
    assert vjp([x], [seed], [x]) == [seed]


def test_a_node_in_the_middle() -> None:
    x = variable(2)
    middle = build.exp(x)
    y = build.mul(middle, x)
    found = vjp([y], [build.ones_like(y)], [middle, x])
    at = {x: np.asarray([1.0, 2.0])}
    np.testing.assert_allclose(value(found[0], at), at[x])
    np.testing.assert_allclose(value(found[1], at), np.exp(at[x]) * (1 + at[x]))


def test_equal_arguments_are_told_apart_by_fresh_variables() -> None:
    """The derivative of x*y by y at y = x is x, not 2x."""
    p, q, x = variable(2), variable(2), variable(2)
    y = build.mul(p, q)
    (gradient,) = vjp([y], [build.ones_like(y)], [q])
    (at_x,) = substitute([one(gradient)], {p: x, q: x})
    point = np.asarray([3.0, 4.0])
    np.testing.assert_array_equal(value(at_x, {x: point}), point)


def test_marks_and_leaves() -> None:
    x = variable(2)
    marked = build.mark(build.exp(x), object())
    y = build.mul(marked, build.exp(x))
    of_mark, of_x = vjp([y], [build.ones_like(y)], [marked, x])
    at = {x: np.asarray([1.0, 2.0])}
    np.testing.assert_allclose(value(of_mark, at), np.exp(at[x]))
    np.testing.assert_allclose(value(of_x, at), 2 * np.exp(2 * at[x]))
    leaf = build.leaf(build.exp(x), object())
    z = build.square(leaf)
    of_leaf, beyond = vjp([z], [build.ones_like(z)], [leaf, x])
    np.testing.assert_allclose(value(of_leaf, at), 2 * np.exp(at[x]))
    assert beyond is None


def test_only_paths_to_the_variables_are_visited() -> None:
    x, y = variable(2), variable(2)
    bits = build.cast(build.gt(y, x), float64)
    hidden = build.mul(build.exp(y), bits)
    total = build.add(x, hidden)
    (gradient,) = vjp([total], [build.ones_like(total)], [x])
    assert "exp" not in {node.op.name for node in toposort([one(gradient)])}


def test_errors() -> None:
    x = variable(2)
    number = build.cast(x, int64)
    with pytest.raises(GradientError, match="has no gradient"):
        vjp([number], [number], [x])
    with pytest.raises(GradientError, match="cotangent has type"):
        vjp([x], [variable(3)], [x])
    item = Node(Item(0), (_call_without_rule(x),))
    with pytest.raises(NotDifferentiableError):
        vjp([item], [item], [x])


def _call_without_rule(x: Node) -> Node:
    def rule(
        inputs: Sequence[Node], results: Sequence[Node], cotangents: Sequence[Node | None]
    ) -> Sequence[Node | None]:
        raise NotDifferentiableError("there is none")

    parameter = variable(2)
    (result,) = custom_call([parameter], [build.exp(parameter)], rule, [x])
    return result.inputs[0]


def test_layer_norm_with_a_symbolic_batch_differentiates() -> None:
    n = Symbol("n")
    x = build.input_(TensorType((n, 4), float32))
    mean = build.div(build.sum_(x, (1,)), build.full((n,), 4.0, float32))
    centred = build.sub(x, build.broadcast(mean, x.shape, (0,)))
    variance = build.sum_(build.square(centred), (1,))
    y = build.mul(centred, build.broadcast(build.rsqrt(variance), x.shape, (0,)))
    product = build.prod(build.add(y, build.flip(x, (0,))), (1,))
    (gradient,) = vjp([product], [build.ones_like(product)], [x])
    assert one(gradient).shape == (n, 4)


# --- custom rules ---------------------------------------------------------------------------------


def clipped(x: Node) -> tuple[Node, Node]:
    """exp and its double, with a gradient of three."""

    def rule(
        inputs: Sequence[Node], results: Sequence[Node], cotangents: Sequence[Node | None]
    ) -> Sequence[Node | None]:
        (x,) = inputs
        given = [g for g in cotangents if g is not None]
        total = given[0] if len(given) == 1 else build.add(*given)
        return [build.mul(build.mul(total, results[0]), build.full_like(x, 3.0))]

    parameter = build.input_(x.tensor_type)
    power = build.exp(parameter)
    first, second = custom_call([parameter], [power, build.add(power, power)], rule, [x])
    return first, second


def test_custom_rule() -> None:
    x = variable(2)
    at = {x: np.asarray([1.0, 2.0])}
    first, second = clipped(x)
    np.testing.assert_allclose(value(second, at), 2 * np.exp(at[x]))
    (gradient,) = vjp([first], [build.ones_like(x)], [x])
    np.testing.assert_allclose(value(gradient, at), 3 * np.exp(at[x]))
    (both,) = vjp([first, second], [build.ones_like(x)] * 2, [x])
    np.testing.assert_allclose(value(both, at), 6 * np.exp(at[x]))
    # The rule is applied to its own results again.
    (twice,) = vjp([one(gradient)], [build.ones_like(x)], [x])
    np.testing.assert_allclose(value(twice, at), 9 * np.exp(at[x]))


def test_custom_functions_are_inlined_after_differentiation() -> None:
    x = variable(2)
    first, second = clipped(x)
    (gradient,) = vjp([second], [build.ones_like(x)], [x])
    inlined = rewrite([first, second, one(gradient)], [inline_custom])
    assert "custom_vjp" not in {node.op.name for node in toposort(inlined)}
    at = {x: np.asarray([1.0, 2.0])}
    for a, b in zip(
        evaluate(inlined, at), evaluate([first, second, one(gradient)], at), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def test_custom_functions_may_contain_each_other() -> None:
    def rule(
        inputs: Sequence[Node], results: Sequence[Node], cotangents: Sequence[Node | None]
    ) -> Sequence[Node | None]:
        return cotangents

    parameter = variable(2)
    (result,) = custom_call([parameter], [clipped(parameter)[0]], rule, [x := variable(2)])
    (inlined,) = rewrite([result], [inline_custom])
    assert inlined is build.exp(x)


def test_a_rule_must_fit() -> None:
    x, parameter = variable(2), variable(2)
    for wrong in ([], [build.ones_like(variable(3))]):
        (y,) = custom_call([parameter], [build.exp(parameter)], lambda *_, w=wrong: w, [x])
        with pytest.raises(GradientError, match="the rule gave"):
            vjp([y], [build.ones_like(y)], [x])
