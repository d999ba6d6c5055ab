"""Steps with less memory for more work: `memory_limit`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.errors import MemoryLimitError
from fusegrad.passes.recompute import _work

Make = Callable[[int | None], Any]


def network(limit: int | None) -> Any:
    fg.random.seed(0)
    layers: list[Any] = []
    for _ in range(3):
        layers += [nn.Linear(16, 16), nn.GELU(), nn.LayerNorm(16), nn.Dropout(0.1)]
    model = nn.Sequential(*layers, nn.Linear(16, 10))
    opt = optim.Adam(model.parameters(), lr=1e-2)

    @fg.compile(memory_limit=limit)
    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return step


def batch() -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(512, 16)).astype("float32"), rng.integers(0, 10, 512)


def arena(step: Any) -> int:
    bytes_: int = next(iter(step._entries.values()))[0].step.record.program.arena_bytes
    return bytes_


@pytest.mark.parametrize("part", [0.7])
def test_a_training_step_keeps_less_and_computes_the_same_bits(part: float) -> None:
    x, y = batch()
    free = network(None)
    expected = [free(x, y).numpy().tobytes() for _ in range(3)]
    limit = int(arena(free) * part)
    bound = network(limit)
    assert [bound(x, y).numpy().tobytes() for _ in range(3)] == expected
    assert arena(bound) <= limit < arena(free)
    assert bound.stats().kernels >= free.stats().kernels


def test_a_limit_that_is_kept_anyway_changes_nothing() -> None:
    x, y = batch()
    free = network(None)
    expected = float(free(x, y))
    bound = network(1 << 30)
    assert float(bound(x, y)) == expected
    assert arena(free) == arena(bound)
    assert free.stats().kernels == bound.stats().kernels


def test_the_error_names_a_limit_that_can_be_kept() -> None:
    x, y = batch()
    with pytest.raises(MemoryLimitError, match="and the limit is 1000") as caught:
        network(1000)(x, y)
    found = re.search(r"needs (\d+) bytes", caught.value.message)
    assert found is not None
    least = int(found.group(1))
    assert str(least) in str(caught.value.remedy)
    step = network(least)
    found_losses = [float(step(x, y)) for _ in range(2)]
    free = network(None)
    assert [float(free(x, y)) for _ in range(2)] == found_losses
    assert arena(step) <= least < arena(free)


def chain(depth: int, function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def loss(x, w):
        for _ in range(depth):
            x = function(x, w)
        return (x * x).sum()

    return fg.value_and_grad(loss, argnums=(0, 1))


@pytest.mark.parametrize(
    "function",
    [
        lambda x, w: fg.tanh(x @ w),
        lambda x, w: fg.exp(-(fg.sin(x @ w) ** 2)),
        lambda x, w: fg.special.softmax(x @ w, axis=1) * 3,
        lambda x, w: (x @ w).T.reshape(x.shape) / (1 + x * x),
        lambda x, w: fg.where(x > 0, x, 0.1 * x) @ w,
        lambda x, w: fg.sort(x, axis=1) @ w,
    ],
)
def test_gradients_are_those_without_a_limit(function: Callable[[Any, Any], Any]) -> None:
    rng = np.random.default_rng(1)
    x, w = rng.normal(size=(200, 12)), rng.normal(size=(12, 12)) / 3
    steps = chain(4, function)
    free = fg.compile(steps)
    value, grads = free(x, w)
    with pytest.raises(MemoryLimitError) as caught:
        fg.compile(steps, memory_limit=1)(x, w)
    found_limit = re.search(r"needs (\d+) bytes", caught.value.message)
    assert found_limit is not None
    limit = int(found_limit.group(1))
    bound = fg.compile(steps, memory_limit=limit)
    found, found_grads = bound(x, w)
    assert arena(bound) <= limit <= arena(free)
    assert found.numpy().tobytes() == value.numpy().tobytes()
    for a, b in zip(found_grads, grads, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_products_of_matrices_are_the_dearest() -> None:
    x = fg.asarray(np.ones((256, 256), "float32"))
    with fg.enable_grad():
        nodes = [(x * x)._read(), fg.exp(x)._read(), (x @ x)._read()]
    work = [_work(node) for node in nodes]
    assert work == sorted(work)
    assert work[-1] == 2 * 256**3


def test_explain_tells_of_the_same_plan() -> None:
    x, y = batch()
    limit = int(arena_of(network) * 0.8)
    step = network(limit)
    text = str(step.explain(x, y))
    found = re.search(r"arena (\d+) bytes", text)
    assert found is not None
    assert int(found.group(1)) <= limit
    step(x, y)
    assert arena(step) == int(found.group(1))


def arena_of(make: Make) -> int:
    step = make(None)
    step(*batch())
    return arena(step)
