"""Random graphs through the whole pipeline: compiled = interpreted."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fusegrad.autodiff.reverse import vjp
from fusegrad.codegen.schedule import contraction, cpu, dealing, transposition
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, toposort
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.passes import again, between, frames, fuse, regions
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


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so small that what large arrays meet is met by graphs that are quick to check."""
    for name, value in (("THREADED_COST", 1), ("CHUNK_COST", 300)):
        monkeypatch.setattr(dealing, name, value)
    monkeypatch.setattr(cpu, "BLOCK", 64)
    for name in ("LEAST_ROWS", "LEAST_COLUMNS", "LEAST_ELEMENTS", "LEAST_ALONE", "LEAST_MATRICES"):
        monkeypatch.setattr(frames, name, 1)
    monkeypatch.setattr(between, "LEAST_ELEMENTS", 1)
    monkeypatch.setattr(again, "LEAST", 1)
    for name, value in (("ROWS", 16), ("COLUMNS", 16), ("LEAST", 3)):
        monkeypatch.setattr(transposition, name, value)
        if hasattr(cpu, name):
            monkeypatch.setattr(cpu, name, value)
    monkeypatch.setattr(contraction, "PACK_ROWS", 2)
    for name, value in (("MAX_FINISH", 4), ("MAX_DEPTH", 3), ("MAX_WEIGHT", 12)):
        monkeypatch.setattr(fuse, name, value)
    monkeypatch.setattr(fuse, "MAX_BUFFERS", 6)
    for name, value in (("COLUMN_LIMIT", 4), ("WIDE_COLUMNS", 8), ("MANY_ROWS", 3)):
        monkeypatch.setattr(regions, name, value)


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


@pytest.mark.usefixtures("small_limits")
@settings(GENERATED, max_examples=400)
@given(SEEDS)
def test_graphs_that_reach_every_limit(seed: int) -> None:
    random = Random(~seed)
    graph = RandomGraph(random)
    graph.grow(random.randint(5, 30))
    for found, expected in zip(*_run(graph.outputs(), graph), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


@settings(GENERATED, max_examples=300)
@given(SEEDS)
def test_bits_of_elementwise_graphs_do_not_depend_on_fusion(seed: int) -> None:
    random = Random(seed)
    graph = RandomGraph(random, smooth=True)
    for _ in range(random.randint(2, 14)):
        random.choice((graph.unary, graph.binary, graph.choose, graph.move))()
    values = [n for n in graph.values if not any(m.op.name == "reduce" for m in toposort([n]))]
    inputs = list(graph.environment)
    arrays = list(graph.environment.values())
    together = compiled(values, inputs)(arrays)
    for node, expected in random.sample(list(zip(values, together, strict=True)), 1):
        (found,) = compiled([node], inputs)(arrays)
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
