"""Random graphs through the whole pipeline: compiled = interpreted."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fusegrad.autodiff.reverse import vjp
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from tests.fuzz.graphs import Array, RandomGraph
from tests.lower.support import compiled

GENERATED = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
SEEDS = st.integers(0, 1 << 40)


def _run(outputs: list[Node], graph: RandomGraph) -> tuple[list[Array], list[Array]]:
    made = compiled(outputs, list(graph.environment), graph.donations(outputs))
    found = made(list(graph.environment.values()))
    return found, evaluate(outputs, graph.environment)


@settings(GENERATED, max_examples=800)
@given(SEEDS)
def test_exact_graphs(seed: int) -> None:
    random = Random(seed)
    graph = RandomGraph(random)
    graph.grow(random.randint(1, 24))
    for found, expected in zip(*_run(graph.outputs(), graph), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


@settings(GENERATED, max_examples=300)
@given(SEEDS)
def test_gradients_of_graphs(seed: int) -> None:
    random = Random(seed)
    graph = RandomGraph(random, smooth=True)
    graph.grow(random.randint(1, 12))
    outputs = [n for n in graph.outputs() if n.dtype.is_float]
    inputs = [n for n in graph.environment if n.dtype.is_float]
    seeds = []
    for node in outputs:
        cotangent = build.input_(TensorType(node.shape, node.dtype))
        graph.environment[cotangent] = np.asarray(graph.numbers.uniform(-1, 1, node.shape))
        seeds.append(cotangent)
    gradients = [g for g in vjp(outputs, seeds, inputs) if g is not None]
    for found, expected in zip(*_run([*outputs, *gradients], graph), strict=True):
        scale = float(np.abs(expected).max(initial=1.0))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-10 * scale, strict=True)


