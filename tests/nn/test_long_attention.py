"""Attention in runs of queries: the same values, less work, memory that does not explode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.nn import attention

RNG = np.random.default_rng(0)

SHAPES = [
    ((23, 4), (23, 4), (23, 4)),
    ((2, 3, 17, 4), (2, 3, 17, 4), (2, 3, 17, 5)),
    ((2, 19, 4), (2, 11, 4), (2, 11, 4)),
    ((2, 16, 4), (2, 40, 4), (1, 40, 2)),
]


@pytest.fixture(params=["one run", "runs"])
def runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Runs of four queries, at most three of them; or one run."""
    if request.param == "one run":
        return 1
    set_limits(monkeypatch, _MOST_RUNS=3, _MOST_CAUSAL_RUNS=3)
    return 3


def set_limits(monkeypatch: pytest.MonkeyPatch, **others: int) -> None:
    """Runs of four queries, of scores that are computed again."""
    limits = {"_LONG": 12, "_MANY_SCORES": 1, "_NOT_KEPT": 1, "_RUN": 4, "_CAUSAL_RUN": 4}
    for name, value in {**limits, **others}.items():
        monkeypatch.setattr(attention, name, value)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape)


def reference(q: Any, k: Any, v: Any) -> Any:
    scores = np.einsum("...le,...se->...ls", q, k) / q.shape[-1] ** 0.5
    seen = np.arange(q.shape[-2])[:, None] >= np.arange(k.shape[-2])
    power = np.exp(np.where(seen, scores - scores.max(-1, keepdims=True), -np.inf))
    return power / power.sum(-1, keepdims=True) @ v


def attend(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    def total(*arrays: Any) -> Any:
        value = function(*arrays)
        weights = np.cos(np.arange(value.size)).reshape(value.shape)
        return (value * fg.asarray(weights, dtype=value.dtype)).sum()

    return fg.grad(total, argnums=(0, 1, 2))


@pytest.mark.parametrize("shapes", SHAPES, ids=str)
def test_values(shapes: Any, runs: int) -> None:
    arrays = [normal(*shape) for shape in shapes]
    expected = reference(*arrays)
    for function in (attend, fg.compile(attend)):
        np.testing.assert_allclose(np.asarray(function(*arrays)), expected, rtol=1e-10, atol=1e-12)
    graph = fg.compile(attend).explain(*arrays)["graph"]
    assert graph.count("dot(") == 2 * runs


def test_gradients_of_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [normal(2, 17, 4), normal(2, 17, 4), normal(2, 17, 5)]
    hessian = gradients(lambda *a: sum((g * g).sum() for g in gradients(attend)(*a)))
    whole = gradients(attend)(*arrays), hessian(*arrays)
    set_limits(monkeypatch)
    for function, expected in zip((gradients(attend), hessian), whole, strict=True):
        for found in (function(*arrays), fg.compile(function)(*arrays)):
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(np.asarray(one), np.asarray(other), atol=1e-9)


def test_batches_tangents_and_shared_heads(runs: int) -> None:
    q, k, v = normal(2, 4, 13, 4), normal(2, 2, 13, 4), normal(2, 2, 13, 4)
    found = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    many = [np.repeat(x, 2, axis=1) for x in (k, v)]
    np.testing.assert_allclose(np.asarray(found), reference(q, *many), atol=1e-12)
    mapped = fg.vmap(attend)(q, *many)
    np.testing.assert_allclose(np.asarray(mapped), reference(q, *many), atol=1e-12)
    step = 1e-6 * normal(*q.shape)
    moved = reference(q + step, *many) - reference(q - step, *many)
    tangent = fg.jvp(lambda x: attend(x, *many), (q,), (step,))[1]
    np.testing.assert_allclose(np.asarray(tangent), moved / 2, rtol=1e-4, atol=1e-12)


@pytest.mark.parametrize("shape", [(13, 20), (2, 1, 13, 20), (1, 20), (20,), (3, 1, 1), None])
@pytest.mark.parametrize("kind", ["booleans", "numbers"])
def test_masks(shape: Any, kind: str, runs: int) -> None:
    q, k, v = normal(2, 3, 13, 4), normal(2, 3, 20, 4), normal(2, 3, 20, 5)
    given = None if shape is None else normal(*shape)
    if kind == "booleans" and given is not None:
        given = given < 2.5
    added = 0.0 if given is None else np.where(given, 0.0, -np.inf) if kind == "booleans" else given
    scores = np.einsum("...le,...se->...ls", q, k) / 2 + added
    power = np.exp(scores - scores.max(-1, keepdims=True))
    expected = power / power.sum(-1, keepdims=True) @ v
    function = fg.compile(lambda q, k, v: F.scaled_dot_product_attention(q, k, v, given))
    np.testing.assert_allclose(np.asarray(function(q, k, v)), expected, atol=1e-12)


def test_gradient_of_a_mask(runs: int) -> None:
    q, k, v, mask = normal(13, 4), normal(20, 4), normal(20, 4), normal(13, 20)

    def loss(mask: Any) -> Any:
        return (F.scaled_dot_product_attention(q, k, v, mask) ** 2).sum()

    def value(mask: Any) -> float:
        scores = q @ k.T / 2 + mask
        power = np.exp(scores - scores.max(-1, keepdims=True))
        return float(((power / power.sum(-1, keepdims=True) @ v) ** 2).sum())

    found = np.asarray(fg.compile(fg.grad(loss))(mask))
    for at in [(0, 0), (7, 3), (12, 19)]:
        step = np.zeros_like(mask)
        step[at] = 1e-5
        slope = (value(mask + step) - value(mask - step)) / 2e-5
        np.testing.assert_allclose(found[at], slope, rtol=1e-6, atol=1e-9)


def test_keys_that_nobody_sees_are_not_read(runs: int) -> None:
    q, k, v = normal(13, 4), normal(20, 4), normal(20, 4)
    k[13:] = v[13:] = 0
    expected = reference(q, k, v)
    k[13:] = np.nan
    np.testing.assert_allclose(np.asarray(attend(q, k, v)), expected, atol=1e-12)


def test_dropout_in_runs(runs: int) -> None:
    fg.random.seed(0)
    v = np.ones((60, 1, 24, 2))
    q = np.zeros((60, 1, 24, 4))

    @fg.compile
    def both(v: Any) -> Any:
        def loss(v: Any) -> Any:
            return F.scaled_dot_product_attention(q, q, v, dropout_p=0.5, is_causal=True).sum()

        return fg.value_and_grad(loss)(v)

    value, slope = both(v)
    # The weights that the derivative computes again are dropped where they were before.
    np.testing.assert_allclose(float(value), float((slope * v).sum()), rtol=1e-6)
    assert 0.9 < float(value) / v.size < 1.1


def test_memory_of_long_sequences() -> None:
    arrays = [fg.zeros((1, 4, 2048, 16)) for _ in range(3)]
    step = fg.compile(gradients(attend))
    step(*arrays)
    everything = 4 * 2048 * 2048 * 4
    assert step.stats().arena_bytes < everything


@pytest.mark.parametrize("causal", [False, True])
def test_scores_of_one_run_are_not_kept(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of deep attention only what the layers hand on lies in memory until the way back."""
    arrays = [normal(1, 64, 4).astype(np.float32) for _ in range(3)]

    def deep(q: Any, k: Any, v: Any) -> Any:
        for _ in range(6):
            v = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return v

    kept = fg.compile(gradients(deep))
    wanted, before = kept(*arrays), kept.memory(*arrays).peak
    set_limits(monkeypatch, _LONG=1000)
    again = fg.compile(gradients(deep))
    scores = 4 * 64 * 64
    assert before > 6 * scores
    assert again.memory(*arrays).peak < before - 3 * scores
    for one, other in zip(again(*arrays), wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


def test_memory_of_runs_grows_with_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores of one run at a time, and no gradient of the keys for each run."""
    monkeypatch.setattr(attention, "_MANY_SCORES", 1)
    rows, width = 4096, 64
    arrays = [normal(1, rows, width).astype(np.float32) for _ in range(3)]
    step = fg.compile(gradients(F.scaled_dot_product_attention))
    run = 4 * attention._RUN * rows
    assert step.memory(*arrays).peak < 5 * run + 6 * 4 * rows * width
