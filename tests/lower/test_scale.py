"""Long chains and deep stacks compile without recursion and in time that grows with their size."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from fusegrad.autodiff.reverse import vjp
from fusegrad.codegen.dtypes import float32
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node
from fusegrad.ops import build
from tests.lower.support import Array, Compiled, compiled, variable


def chain(length: int) -> tuple[list[Node], dict[Node, Array]]:
    """Different operations one after another."""
    x = variable((50,))
    y = x
    for i in range(length):
        other = build.full((50,), 0.5 + 1 / (i + 2), float32)
        kind = i % 5
        if kind == 0:
            y = build.add(y, other)
        elif kind == 1:
            y = build.mul(y, other)
        elif kind == 2:
            y = build.minimum(y, build.mul(other, other))
        elif kind == 3:
            y = build.sub(x, y)
        else:
            y = build.elementwise(("abs", "floor", "neg", "sign", "square")[i // 5 % 5], y)
    values = np.random.default_rng(0).standard_normal(50).astype(np.float32)
    return [y], {x: values}


def stack(layers: int) -> tuple[list[Node], dict[Node, Array], list[tuple[int, int]]]:
    """A training step of equal layers."""
    rows, width = 8, 32
    rng = np.random.default_rng(0)
    x = variable((rows, width))
    environment: dict[Node, Array] = {x: rng.standard_normal((rows, width)).astype(np.float32)}
    h = x
    for _ in range(layers):
        w, b = variable((width, width)), variable((width,))
        environment[w] = (rng.standard_normal((width, width)) / width**0.5).astype(np.float32)
        environment[b] = rng.standard_normal(width).astype(np.float32)
        h = build.tanh(build.add(build.dot(h, w), build.broadcast(b, (rows, width), (1,))))
    parameters = list(environment)[1:]
    loss = build.sum_(h, (0, 1))
    gradients = vjp([loss], [build.constant(1, float32)], parameters)
    outputs = [loss]
    for p, g in zip(parameters, gradients, strict=True):
        assert g is not None
        outputs.append(build.sub(p, build.mul(g, build.full(p.shape, 0.01, float32))))
    donations = [(i, i) for i in range(1, len(outputs))]
    return outputs, environment, donations


def seconds(made: Compiled, *but: str) -> float:
    return sum(v for k, v in made.artifacts.milliseconds.items() if k not in but) / 1e3


def check(made: Compiled, environment: dict[Node, Array], rtol: float) -> None:
    found = made(list(environment.values()))
    for a, e in zip(found, evaluate(made.outputs, environment), strict=True):
        np.testing.assert_allclose(a, e, rtol=rtol, atol=rtol)


@pytest.mark.slow
def test_a_chain_of_ten_thousand_operations() -> None:
    outputs, environment = chain(10_000)
    assert sys.getrecursionlimit() <= 1_000
    made = compiled(outputs, list(environment))
    check(made, environment, 1e-6)
    assert seconds(made) < 120


@pytest.mark.slow
def test_a_stack_of_two_hundred_layers() -> None:
    outputs, environment, donations = stack(200)
    made = compiled(outputs, list(environment), donations)
    check(made, environment, 1e-3)
    # Equal layers share their code.
    assert len(made.record.symbols) <= 12
    assert len(made.record.donated) == len(donations)
    assert seconds(made) < 60


def _fastest(graph: tuple[list[Node], dict[Node, Array]], but: tuple[str, ...]) -> float:
    times = []
    for _ in range(2):
        start = time.perf_counter()
        made = compiled(graph[0], list(graph[1]))
        times.append(min(seconds(made, *but), time.perf_counter() - start))
    return min(times)


@pytest.mark.slow
def test_time_grows_with_size() -> None:
    # All but LLVM itself: its time is linear too, and would hide what ours does.
    short, long = (_fastest(chain(n), ("llvm",)) for n in (400, 3_200))
    assert long < 8 * short * 2
    few, many = (_fastest(stack(n)[:2], ("llvm",)) for n in (12, 96))
    assert many < 8 * few * 2
