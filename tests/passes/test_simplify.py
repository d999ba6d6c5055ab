"""Every rewriting rule: what it makes of a graph, and that no number changes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from fusegrad.autodiff.custom import custom_call, inline_custom
from fusegrad.codegen.dtypes import DType, bool_, float32, float64, int32, int64
from fusegrad.codegen.kernel import Monoid
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, toposort
from fusegrad.ir.rewrite import Rule, rewrite
from fusegrad.ir.types import TensorType
from fusegrad.ops import ELEMENTWISE, build
from fusegrad.ops.identities import Cast
from fusegrad.ops.movement import Broadcast, Reshape, Transpose
from fusegrad.ops.reduce import Reduce
from fusegrad.ops.source import Input
from fusegrad.passes import pieces, simplify
from fusegrad.passes.contractions import transpose_contractions
from fusegrad.passes.pipeline import PASSES, run_passes


def variable(*shape: int, dtype: DType = float32) -> Node:
    return build.input_(TensorType(shape, dtype))


def same_numbers(before: Sequence[Node], after: Sequence[Node]) -> None:
    rng = np.random.default_rng(0)
    environment = {}
    for node in toposort([*before, *after]):
        if isinstance(node.op, Input):
            values = rng.integers(-2, 6, node.shape)  # type: ignore[arg-type]
            environment[node] = np.asarray(values, node.dtype.numpy)
    for one, two in zip(evaluate(before, environment), evaluate(after, environment), strict=True):
        np.testing.assert_array_equal(one, two, strict=True)


def applied(rule: Rule, before: Node) -> Node:
    """What `rule` alone makes of `before`."""
    (after,) = rewrite([before], [rule])
    same_numbers([before], [after])
    return after


def raw(name: str, *operands: Node) -> Node:
    """A node without the normalisations of its builder."""
    return Node(ELEMENTWISE[name], operands)


X = variable(3, 4)
Y = variable(3, 4)
V = variable(4)
K = variable(3, 4, dtype=int64)
ONE = build.full((3, 4), 1, float32)
ZERO = build.full((3, 4), 0, float32)
COLUMNS = build.broadcast(build.iota(5, int64), (3, 5), (1,))
PICK = variable(3, dtype=int64)
VALUE = variable(3)


def rows(x: Node) -> Node:
    return build.broadcast(x, (3, 5), (0,))


def picked(label: Node = PICK, columns: Node = COLUMNS) -> Node:
    choice = raw(
        "select", raw("eq", columns, rows(label)), rows(VALUE), build.full((3, 5), 0, float32)
    )
    return build.sum_(choice, (1,))


SQUARED = custom_call([X], [raw("mul", X, X)], lambda inputs, results, given: given, [Y])[0]
REPLACED: dict[str, tuple[Rule, Node, Node]] = {
    "custom function": (inline_custom, SQUARED, raw("mul", Y, Y)),
    "x * 1": (simplify.multiply_by_one, raw("mul", X, ONE), X),
    "1 * x": (simplify.multiply_by_one, raw("mul", ONE, X), X),
    "x / 1": (simplify.multiply_by_one, raw("div", X, ONE), X),
    "-(-x)": (simplify.double_negation, raw("neg", raw("neg", X)), X),
    "x + -y": (simplify.double_negation, raw("add", X, raw("neg", Y)), build.sub(X, Y)),
    "x - -y": (simplify.double_negation, raw("sub", X, raw("neg", Y)), build.add(X, Y)),
    "select of true": (
        simplify.constant_condition,
        raw("select", build.full((3, 4), True, bool_), X, Y),
        X,
    ),
    "select of false": (
        simplify.constant_condition,
        raw("select", build.full((3, 4), False, bool_), X, Y),
        Y,
    ),
    "select of equals": (simplify.constant_condition, raw("select", raw("lt", X, Y), X, X), X),
    "repeated cast": (
        simplify.repeated_cast,
        Node(Cast(float32), (X,)),
        X,
    ),
    "stop_gradient": (simplify.drop_identities, build.stop_gradient(X), X),
    "transfer": (simplify.drop_identities, build.transfer(X, "cpu", "cuda:0"), X),
    "mark": (simplify.drop_identities, build.mark(X, object()), X),
    "where": (
        simplify.plain_select,
        raw("where", raw("eq", X, Y), X, Y),
        raw("select", raw("eq", X, Y), X, Y),
    ),
    "slice of slice": (
        pieces.slice_of_slice,
        build.slice_axis(build.slice_axis(X, 1, 1, 4), 1, 1, 3),
        build.slice_axis(X, 1, 2, 4),
    ),
    "slice of concat": (
        pieces.slice_of_concat,
        build.slice_axis(build.concat([X, Y], 0), 0, 4, 6),
        build.slice_axis(Y, 0, 1, 3),
    ),
    "slice of pad": (
        pieces.slice_of_padding,
        build.slice_axis(build.pad(X, (1, 0), (2, 0)), 0, 2, 4),
        build.slice_axis(X, 0, 1, 3),
    ),
    "leaf": (simplify.drop_identities, build.leaf(X, object()), X),
    "reshape of reshape": (
        simplify.merge_movement,
        Node(Reshape((4, 3)), (Node(Reshape((12,)), (X,)),)),
        build.reshape(X, (4, 3)),
    ),
    "reshape to the same": (simplify.merge_movement, Node(Reshape((3, 4)), (X,)), X),
    "transpose of transpose": (
        simplify.merge_movement,
        Node(Transpose((1, 0)), (Node(Transpose((1, 0)), (X,)),)),
        X,
    ),
    "broadcast of broadcast": (
        simplify.merge_movement,
        Node(Broadcast((2, 3, 4), (1, 2)), (Node(Broadcast((3, 4), (1,)), (V,)),)),
        build.broadcast(V, (2, 3, 4), (2,)),
    ),
    "broadcast to the same": (simplify.merge_movement, Node(Broadcast((3, 4), (0, 1)), (X,)), X),
    "transpose of a constant": (
        simplify.merge_movement,
        Node(Transpose((1, 0)), (ONE,)),
        build.full((4, 3), 1, float32),
    ),
    "f(broadcast)": (
        simplify.move_after_broadcast,
        raw("exp", build.broadcast(V, (3, 4), (1,))),
        build.broadcast(raw("exp", V), (3, 4), (1,)),
    ),
    "f(broadcast, constant)": (
        simplify.move_after_broadcast,
        raw("add", build.broadcast(V, (3, 4), (1,)), ONE),
        build.broadcast(raw("add", V, build.full((4,), 1, float32)), (3, 4), (1,)),
    ),
    "sum over an axis of one": (
        simplify.reduce_single,
        build.sum_(build.reshape(X, (3, 1, 4, 1)), (1, 3)),
        build.reshape(build.reshape(X, (3, 1, 4, 1)), (3, 4)),
    ),
    "max of max": (
        simplify.reduce_twice,
        build.max_(build.max_(variable(2, 3, 4), (0,)), (1,)),
        build.zeros((), float32),  # replaced below
    ),
    "argmax over an axis of one": (
        simplify.arg_of_one,
        build.argmax(build.reshape(X, (3, 1, 4)), 1),
        build.full((3, 4), 0, int64),
    ),
    "sum of a picked column": (
        simplify.pick_sum,
        picked(),
        build.select(
            build.logical_and(
                build.ge(PICK, build.full((3,), 0, int64)),
                build.lt(PICK, build.full((3,), 5, int64)),
            ),
            VALUE,
            build.full((3,), 0, float32),
        ),
    ),
    "sum of -x": (
        simplify.sum_of_negation,
        build.sum_(raw("neg", X), (1,)),
        build.neg(build.sum_(X, (1,))),
    ),
    "arithmetic of constants": (
        simplify.fold_constants,
        raw("mul", build.constant(3, float32), build.constant(0.5, float32)),
        build.constant(1.5, float32),
    ),
    "cast of a constant": (
        simplify.fold_constants,
        build.cast(build.constant(3, int64), float32),
        build.constant(3, float32),
    ),
    "empty value": (
        simplify.nothing,
        raw("exp", variable(0, 3)),
        build.full((0, 3), 0, float32),
    ),
    "sum of nothing": (
        simplify.from_nothing,
        build.sum_(variable(3, 0), (1,)),
        build.full((3,), 0, float32),
    ),
    "product of nothing": (
        simplify.from_nothing,
        build.prod(variable(3, 0, dtype=int32), (1,)),
        build.full((3,), 1, int32),
    ),
    "all of nothing": (
        simplify.from_nothing,
        build.all_(variable(3, 0, dtype=bool_), (1,)),
        build.full((3,), True, bool_),
    ),
    "dot over nothing": (
        simplify.from_nothing,
        build.dot(variable(3, 0), variable(0, 4)),
        build.full((3, 4), 0, float32),
    ),
    "scatter of nothing": (
        simplify.from_nothing,
        build.scatter_add(variable(0, 4), variable(0, dtype=int64), 0, 3),
        build.full((3, 4), 0, float32),
    ),
}
_TWICE = REPLACED["max of max"][1]
REPLACED["max of max"] = (
    simplify.reduce_twice,
    _TWICE,
    Node(Reduce(Monoid.MAX, (0, 2)), (_TWICE.inputs[0].inputs[0],)),
)


@pytest.mark.parametrize("name", REPLACED)
def test_rule_replaces(name: str) -> None:
    rule, before, expected = REPLACED[name]
    assert applied(rule, before) is expected


KEPT: dict[str, tuple[Rule, Node]] = {
    "x * 2": (simplify.multiply_by_one, raw("mul", X, build.full((3, 4), 2, float32))),
    "1 / x": (simplify.multiply_by_one, raw("div", ONE, X)),
    "x + 0 (-0 + 0 is 0)": (simplify.multiply_by_one, raw("add", X, ZERO)),
    "different broadcasts": (
        simplify.move_after_broadcast,
        raw("add", build.broadcast(V, (4, 4), (1,)), build.broadcast(V, (4, 4), (0,))),
    ),
    "sum of sum (roundings)": (
        simplify.reduce_twice,
        build.sum_(build.sum_(variable(2, 3, 4), (0,)), (1,)),
    ),
    "max of min": (simplify.reduce_twice, build.max_(build.min_(variable(2, 3), (0,)), (0,))),
    "sum over a longer axis": (simplify.reduce_single, build.sum_(X, (1,))),
    "a label that is no integer": (
        simplify.pick_sum,
        picked(
            build.cast(variable(3), float64),
            build.broadcast(build.iota(5, float64), (3, 5), (1,)),
        ),
    ),
    "inexact functions of constants": (
        simplify.fold_constants,
        raw("exp", build.constant(1, float32)),
    ),
    "constants of an array": (simplify.fold_constants, raw("mul", K, K)),
}


@pytest.mark.parametrize("name", KEPT)
def test_rule_keeps(name: str) -> None:
    rule, before = KEPT[name]
    assert applied(rule, before) is before


def test_every_rule_is_tested() -> None:
    tested = {rule for rule, *_ in REPLACED.values()}
    assert tested == {*simplify.SIMPLIFY, *simplify.CANONICAL}


def test_scalar_of_sees_through_movement() -> None:
    assert simplify.scalar_of(build.reshape(build.full((2, 3), 7, float32), (6,))) == 7
    assert simplify.scalar_of(X) is None


# --- contractions ---------------------------------------------------------------------------------


def test_transposed_contraction_swaps_its_operands() -> None:
    a, b = variable(3, 5), variable(5, 4)
    before = build.transpose(build.dot(a, b), (1, 0))
    (after,) = transpose_contractions([before])
    assert after is build.dot(build.transpose(b, (1, 0)), build.transpose(a, (1, 0)))
    same_numbers([before], [after])


def test_contraction_that_is_used_otherwise_stays() -> None:
    dot = build.dot(variable(3, 5), variable(5, 4))
    outputs = [build.transpose(dot, (1, 0)), dot]
    assert transpose_contractions(outputs) == outputs


@pytest.mark.parametrize("batch", [(), (1,)], ids=str)
def test_single_sum_over_many_products_is_a_reduction(batch: tuple[int, ...]) -> None:
    """Threads share it; what has several results, or few products, stays."""
    depth = 1 << 15
    before = build.dot(variable(*batch, 1, depth), variable(*batch, depth, 1))
    (after,) = transpose_contractions([before])
    assert after.type == before.type
    assert not any(node.op.name == "dot" for node in toposort([after]))
    same_numbers([before], [after])
    others = [
        build.dot(variable(2, depth), variable(depth, 1)),
        build.dot(variable(1, 8), variable(8, 1)),
    ]
    assert transpose_contractions(others) == others


# --- the whole pipeline ---------------------------------------------------------------------------


def test_passes_are_named_and_observed() -> None:
    seen: list[str] = []

    def observe(name: str, graph: Sequence[Node], seconds: float) -> None:
        assert seconds >= 0
        assert len(graph) == 1
        seen.append(name)

    run_passes([raw("mul", X, ONE)], verify=True, observe=observe)
    assert seen == [p.name for p in PASSES]
    assert len(set(seen)) == len(seen)


GRAPHS: dict[str, Callable[[], Node]] = {
    "rules that meet": lambda: raw(
        "neg", raw("neg", raw("mul", raw("add", X, raw("neg", Y)), ONE))
    ),
    "rules inside a reduction": lambda: build.sum_(raw("neg", raw("mul", ONE, X)), (1,)),
    "empty inside": lambda: build.concat([build.exp(variable(0, 4)), X], 0),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_pipeline_keeps_numbers(name: str) -> None:
    before = GRAPHS[name]()
    same_numbers([before], run_passes([before], verify=True))


def test_sums_and_products_of_the_same_in_either_order_are_one_node() -> None:
    one, other = raw("add", X, Y), raw("add", Y, X)
    results = [raw("mul", one, X), raw("mul", X, other), raw("sub", X, Y), raw("sub", Y, X)]
    after = rewrite(results, [simplify.in_one_order()])
    assert after[0] is after[1] is results[0]
    assert after[2:] == results[2:]
    same_numbers(results, after)
    # What comes first in the graph decides, not what was made first.
    assert rewrite([other, one], [simplify.in_one_order()]) == [other, other]
    extremes = [raw("maximum", X, Y), raw("maximum", Y, X)]
    assert rewrite(extremes, [simplify.in_one_order()]) == extremes


def test_both_orders_are_computed_once() -> None:
    results = [raw("mul", raw("exp", raw("add", X, Y)), Y), raw("exp", raw("add", Y, X))]
    after = run_passes(results)
    assert sum(node.op.name == "exp" for node in toposort(after)) == 1
    same_numbers(results, after)
