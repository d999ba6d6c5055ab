"""The bits of a result do not depend on the number of threads, nor on where it is written."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.autodiff import vjp
from fusegrad.codegen.dtypes import float32, float64
from fusegrad.codegen.kernel import Monoid
from fusegrad.ir.node import Node
from fusegrad.ops import build, build_window
from fusegrad.runtime import threads
from tests.lower.support import Array, compiled
from tests.lower.test_fusion import adam, labels, record, tensor, training_step
from tests.lower.test_shapes import Graph


@pytest.fixture(autouse=True)
def _same_threads_afterwards() -> Iterator[None]:
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


def reductions() -> Graph:
    g = Graph()
    for shape in ((700_001,), (2_000, 301), (301, 2_000), (40, 50, 260)):
        for dtype in (float32, float64):
            x = g.input(shape, dtype)
            for axis in range(len(shape)):
                for monoid in (Monoid.SUM, Monoid.PROD, Monoid.MAX):
                    g.output(build.reduce_(monoid, x, (axis,)))
                g.output(build.argmax(x, axis))
            g.output(build.sum_(x, range(len(shape))))
            g.output(build.exp(build.sum_(x, (0,))))
    return g


def contractions() -> Graph:
    g = Graph()
    for dtype in (float32, float64):
        for shape in ((256, 300, 200), (1, 4096, 333), (333, 700, 1), (65, 33, 1030)):
            m, k, n = shape
            a, b = g.input((m, k), dtype), g.input((k, n), dtype)
            g.output(build.tanh(build.dot(a, b)))
            g.output(build.sum_(build.dot(a, b), (0,)))
    return g


def windows() -> Graph:
    g = Graph()
    for x_shape, w_shape, stride in (
        ((1, 4, 16, 40, 41), (1, 24, 16, 3, 3), 1),
        ((2, 3, 8, 33, 20), (2, 19, 8, 2, 3), 2),
        ((24, 4, 1, 40, 40), (24, 1, 1, 3, 3), 1),
    ):
        x, w = g.input(x_shape, float32), g.input(w_shape, float32)
        y = build_window.convolution(x, w, (stride, stride), (1, 1))
        g.output(y)
        for cotangent in vjp([y], [y], [x, w]):
            assert cotangent is not None
            g.output(cotangent)
        pooled = build_window.window_extreme(x, (3, 3), (2, 2), (1, 1), Monoid.MAX)
        (back,) = vjp([pooled], [pooled], [x])
        assert back is not None
        g.output(back)
    return g


def programs() -> Iterator[tuple[list[Node], dict[Node, Array]]]:
    for g in (reductions(), contractions(), windows()):
        yield g.outputs, g.environment
    y = labels(900, 777)
    loss, gradients = fg.value_and_grad(lambda x: F.cross_entropy(x, y), argnums=(0,))(
        tensor(900, 777)
    )
    yield record(loss, *gradients)
    w, b = tensor(801, seed=1), tensor(801, seed=2)
    norm, pullback = fg.vjp(lambda x, w, b: F.layer_norm(x, (801,), w, b), tensor(700, 801), w, b)
    yield record(norm, *pullback(tensor(700, 801, seed=3)))
    yield record(*training_step(300, 200, 10, batch=256))
    yield adam([(600, 500), (500,), (70, 10_000)])[:2]


@pytest.mark.parametrize("number", range(7))
def test_bits_do_not_depend_on_threads(number: int) -> None:
    outputs, environment = list(programs())[number]
    made = compiled(outputs, list(environment))
    launches = [k for group in made.record.program.groups for k in group.launches]
    assert max(k.chunks for k in launches) > 2
    arrays = list(environment.values())
    results = []
    for count in (1, 2, 4, 2):
        threads.set_num_threads(count)
        results.append([a.tobytes() for a in made(arrays)])
    for other in results[1:]:
        assert other == results[0]


def test_bits_do_not_depend_on_donation() -> None:
    outputs, environment, donations = adam([(100, 30), (4_000, 10)])
    arrays = list(environment.values())
    fresh = compiled(outputs, list(environment))
    in_place = compiled(outputs, list(environment), donations)
    assert len(in_place.record.donated) == len(donations)
    for a, b in zip(fresh(arrays), in_place(arrays), strict=True):
        assert a.tobytes() == b.tobytes()
