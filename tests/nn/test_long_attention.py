"""Attention whose scores are never in memory: the same values, for less memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.passes import again, between, frames
from fusegrad.runtime import cache, step

RNG = np.random.default_rng(0)

SHAPES = [
    ((23, 4), (23, 4), (23, 4)),
    ((2, 3, 17, 4), (2, 3, 17, 4), (2, 3, 17, 5)),
    ((2, 19, 4), (2, 11, 4), (2, 11, 4)),
    ((2, 16, 4), (2, 40, 4), (1, 40, 2)),
]


@pytest.fixture(params=["stored", "in one kernel"])
def runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Small scores as large ones: how many kernels attention takes."""
    if request.param == "stored":
        return 3
    small_is_large(monkeypatch)
    return 1


def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows between products are one kernel, and late readers make them again."""
    for name in ("LEAST_ROWS", "LEAST_COLUMNS", "LEAST_ELEMENTS", "LEAST_ALONE", "LEAST_MATRICES"):
        monkeypatch.setattr(frames, name, 1)
    monkeypatch.setattr(between, "LEAST_ELEMENTS", 1)
    monkeypatch.setattr(again, "LEAST", 1)
    # What is kept of other tests was compiled without.
    monkeypatch.setattr(step, "_loaded", type(step._loaded)())
    monkeypatch.setattr(cache, "default", lambda: None)


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
    compiled = fg.compile(attend)
    compiled(*arrays)
    assert compiled.stats().kernels == runs


def test_gradients_of_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = [normal(2, 17, 4), normal(2, 17, 4), normal(2, 17, 5)]
    hessian = gradients(lambda *a: sum((g * g).sum() for g in gradients(attend)(*a)))
    whole = gradients(attend)(*arrays), hessian(*arrays)
    small_is_large(monkeypatch)
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


def test_dropout_of_weights_that_are_made_again(runs: int) -> None:
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
def test_scores_are_not_kept(causal: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of deep attention only what the layers hand on lies in memory until the way back."""
    arrays = [normal(1, 64, 4).astype(np.float32) for _ in range(3)]

    def deep(q: Any, k: Any, v: Any) -> Any:
        for _ in range(6):
            v = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return v

    kept = fg.compile(gradients(deep))
    wanted, before = kept(*arrays), kept.memory(*arrays).peak
    small_is_large(monkeypatch)
    again = fg.compile(gradients(deep))
    scores = 4 * 64 * 64
    assert before > 6 * scores
    assert again.memory(*arrays).peak < before - 3 * scores
    for one, other in zip(again(*arrays), wanted, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-4, atol=1e-5)


def test_layers_are_derived_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one layer makes again does not have the layers behind it computed twice."""
    small_is_large(monkeypatch)
    x, w = normal(2, 40, 8), normal(8, 24) / 3

    def kernels(layers: int) -> int:
        def deep(x: Any, w: Any) -> Any:
            for _ in range(layers):
                q, k, v = (x @ w).split(8, -1)
                x = x + attend(q, k, v)
            return (x**3).sum()

        step = fg.compile(fg.grad(deep, argnums=(0, 1)))
        step(x, w)
        return int(step.stats().kernels)

    counts = [kernels(layers) for layers in (2, 3, 4)]
    assert counts[2] - counts[1] == counts[1] - counts[0] < 12


def written_out(q: Any, k: Any, v: Any) -> Any:
    scores = q @ k.swapaxes(-1, -2)
    seen = fg.arange(q.shape[-2])[:, None] >= fg.arange(k.shape[-2])
    weights = F.softmax(fg.where(seen, scores / q.shape[-1] ** 0.5, -fg.inf), -1)
    return weights @ v


@pytest.mark.parametrize("function", [attend, written_out, F.scaled_dot_product_attention])
def test_memory_grows_with_the_length(function: Any) -> None:
    """However it is written, and forward and backward."""
    rows, width = 2048, 64
    arrays = [normal(1, 2, rows, width).astype(np.float32) for _ in range(3)]

    def loss(*arrays: Any) -> Any:
        return (function(*arrays) ** 2).sum()

    step = fg.compile(fg.grad(loss, argnums=(0, 1, 2)))
    assert step.memory(*arrays).peak < 24 * 4 * 2 * rows * width
