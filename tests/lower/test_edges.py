"""Graphs at the edge: outputs that are inputs, constants, repeated or empty; array constants."""

from __future__ import annotations

import numpy as np

from fusegrad.autodiff.reverse import vjp
from fusegrad.codegen.dtypes import bool_, float32, float64, int32, int64
from fusegrad.ir.node import Node
from fusegrad.ops import build
from tests.lower.support import Array, check, variable
from tests.lower.test_shapes import Graph


def arrays(*nodes: Node) -> dict[Node, Array]:
    rng = np.random.default_rng(0)
    return {
        n: np.asarray(rng.standard_normal(n.shape) * 3, n.dtype.numpy)  # type: ignore[arg-type]
        for n in nodes
    }


def test_outputs_that_are_inputs() -> None:
    x, y = variable((5,)), variable((5,))
    made = check([x, y, x, build.add(x, y)], arrays(x, y))
    assert made.record.outputs[0] == made.record.outputs[2]


def test_an_output_in_the_place_of_another_input() -> None:
    x, y = variable((5,)), variable((5,))
    # Each takes the other's place: one of them needs memory of its own.
    check([build.exp(y), build.exp(x)], arrays(x, y), [(0, 0), (1, 1)])
    check([y, x], arrays(x, y), [(0, 0), (1, 1)])
    check([build.add(x, y), build.sub(x, y)], arrays(x, y), [(0, 0), (1, 1)])


def test_donated_input_that_is_read_later_and_across() -> None:
    x = variable((64, 64))
    turned = build.add(build.transpose(x, (1, 0)), build.full((64, 64), 1, float32))
    check([turned], arrays(x), [(0, 0)])
    shifted = build.concat([build.slice_axis(x, 0, 1, 64), build.slice_axis(x, 0, 0, 1)], 0)
    check([shifted], arrays(x), [(0, 0)])
    soft = build.sub(x, build.broadcast(build.max_(x, (1,)), (64, 64), (0,)))
    check([soft, build.dot(x, x)], arrays(x), [(0, 0)])
    check([build.dot(x, x)], arrays(x), [(0, 0)])
    rows = build.div(x, build.broadcast(build.sum_(build.exp(x), (1,)), (64, 64), (0,)))
    check([rows], arrays(x), [(0, 0)])


def test_nothing_but_constants() -> None:
    check(
        [
            build.constant(3, float32),
            build.full((2, 3), True, bool_),
            build.iota(7, int32),
            build.broadcast(build.iota(3, float64), (2, 3), (1,)),
            build.zeros((0, 4), float32),
        ],
        {},
    )


def test_no_outputs_with_elements() -> None:
    x = variable((0, 3))
    made = check([build.exp(x), build.sum_(x, (1,))], arrays(x))
    assert made.record.kernels == 0


def test_array_constants() -> None:
    x = variable((3, 4))
    table = build.array_constant(np.arange(12, dtype=np.float32).reshape(3, 4))
    other = build.array_constant(np.arange(3))
    check(
        [
            build.add(x, table),
            build.dot(x, build.transpose(table, (1, 0))),
            build.take(x, other, 0),
            table,
        ],
        arrays(x),
    )


def test_large_integers_in_arithmetic_and_indices() -> None:
    g = Graph()
    x = variable((9,), int64)
    g.environment[x] = np.array([0, 1, -1, 2**62, -(2**63), 2**63 - 1, 7, 8, 9])
    for op in ("add", "sub", "mul", "floordiv", "mod"):
        for value in (3, -3, 2**40, 2**62):
            g.output(build.elementwise(op, x, build.full((9,), value, int64)))
    doubled = build.mul(
        build.mul(x, build.full((9,), 2**33, int64)), build.full((9,), 2**33, int64)
    )
    g.output(doubled)
    values = g.input((5, 2))
    g.output(build.take(values, x, 0))
    g.output(build.take(values, doubled, 0))
    g.output(build.take(values, build.elementwise("mod", x, build.full((9,), 5, int64)), 0))
    g.check()


def test_gradient_of_a_gradient() -> None:
    x = variable((17, 5), float64)
    dims = (0,)
    top = build.broadcast(build.sum_(build.exp(x), (1,)), (17, 5), dims)
    y = build.sum_(build.mul(build.div(build.exp(x), top), build.sin(x)), (0, 1))
    one = build.constant(1, float64)
    (first,) = vjp([y], [one], [x])
    assert first is not None
    (second,) = vjp([build.sum_(build.mul(first, first), (0, 1))], [one], [x])
    assert second is not None
    check([y, first, second], arrays(x))


def test_special_values_in_rows() -> None:
    g = Graph()
    for dtype in (float32, float64):
        for shape in ((9, 33), (33, 9), (300, 5)):
            x = g.input(shape, dtype, edges=True)
            for axis in (0, 1):
                kept = (1 - axis,)
                top = build.max_(x, (axis,))
                g.output(top)
                g.output(build.min_(x, (axis,)))
                g.output(build.sub(x, build.broadcast(top, shape, kept)))
                g.output(build.any_(build.elementwise("isnan", x), (axis,)))
                g.output(build.argmax(x, axis))
            g.output(build.max_(x, (0, 1)))
            g.output(build.min_(x, (0, 1)))
            g.output(build.sum_(build.select(build.lt(x, x), x, build.zeros_like(x)), (0, 1)))
    g.check()


def test_a_loop_nest_reads_a_computed_value_without_elements() -> None:
    x, updates = variable((2, 3), float64), variable((2, 0), float64)
    indices = variable((0,), int64)
    result = build.scatter(x, build.neg(updates), indices, 1, "sum")
    check([result, build.neg(result)], arrays(x, updates, indices))
