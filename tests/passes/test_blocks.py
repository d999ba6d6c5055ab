"""Large products in blocks: the same values, memory that grows with the length, not its square."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.passes import blocks
from fusegrad.runtime import step as runtime_step

RNG = np.random.default_rng(0)
Run = Callable[..., Any]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values of a few thousand elements are large."""
    monkeypatch.setattr(blocks, "LARGE", 3000)
    monkeypatch.setattr(blocks, "GROWTH", 1)
    monkeypatch.setattr(blocks, "BLOCK", 2000)
    monkeypatch.setattr(runtime_step, "source_version", lambda: b"blocks")


def normal(*shape: int, dtype: str = "float32") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def results_of(function: Run, arrays: Any) -> list[Any]:
    found = fg.compile(function)(*arrays)
    found = found if isinstance(found, (tuple, list)) else [found]
    return [x.detach().numpy() for x in found]


def loops_of(function: Run, arrays: Any) -> int:
    program = fg.compile(function).explain(*arrays)["program"]
    return sum(line.strip().startswith("loop ") for line in program.splitlines())


def gradients(function: Run) -> Run:
    """The value, and all gradients of a weighted sum of it."""

    def run(*arrays: Any) -> Any:
        value, pull = fg.vjp(function, *arrays)
        weights = fg.reshape(fg.arange(value.size, dtype=value.dtype), value.shape)
        return value, *pull(fg.cos(weights))

    return run


def causal(q: Any, k: Any, v: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, is_causal=True)


def written(q: Any, k: Any, v: Any) -> Any:
    """As people write it, heads behind the length."""
    scores = fg.einsum("blhd,bshd->bhls", q, k) / 3
    weights = F.softmax(scores, dim=-1)
    return fg.einsum("bhls,bshd->blhd", weights, v)


def biased(q: Any, k: Any, v: Any, bias: Any) -> Any:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias)


def soft_capped(q: Any, k: Any, v: Any) -> Any:
    scores = fg.tanh(q @ k.mT) * 2
    return (scores / (1 + fg.abs(scores).sum(axis=-1, keepdims=True))) @ v


SEEN = RNG.random((61, 70)) > 0.3
CASES: dict[str, tuple[Run, tuple[tuple[int, ...], ...], int]] = {
    "causal": (causal, ((2, 64, 8),) * 3, 2),
    "heads": (causal, ((2, 2, 48, 4),) * 3, 2),
    "rest": (F.scaled_dot_product_attention, ((61, 8), (70, 8), (70, 5)), 2),
    "same": (lambda x: causal(x, x, x), ((64, 8),), 2),
    "mask": (lambda q, k, v: biased(q, k, v, SEEN), ((61, 8), (70, 8), (70, 5)), 2),
    "layout": (written, ((2, 44, 2, 4),) * 3, 2),
    "no softmax": (soft_capped, ((3, 40, 4), (3, 50, 4), (3, 50, 4)), 2),
    "one product": (lambda a, b: fg.exp(a @ b).sum(axis=-1), ((64, 4), (4, 64)), 1),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_values(name: str, request: pytest.FixtureRequest) -> None:
    function, shapes, loops = CASES[name]
    arrays = [normal(*shape) for shape in shapes]
    both = gradients(function)
    plain = results_of(both, arrays)
    assert loops_of(both, arrays) == 0
    request.getfixturevalue("small")
    assert loops_of(both, arrays) >= loops
    # The tree of a sum over a row depends on what else its kernel computes.
    for a, b in zip(results_of(both, arrays), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-6)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_other_dtypes(dtype: str) -> None:
    arrays = [fg.asarray(normal(64, 8), dtype=dtype) for _ in range(3)]
    both = gradients(causal)
    assert loops_of(both, arrays) >= 2
    tolerance = 1e-12 if dtype == "float64" else 0.05
    for a, b in zip(fg.compile(both)(*arrays), both(*arrays), strict=True):
        found, expected = (x.astype("float64").numpy() for x in (a, b))
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.usefixtures("small")
def test_second_derivatives() -> None:
    arrays = [normal(64, 4, dtype="float64") for _ in range(3)]

    def first(q: Any, k: Any, v: Any) -> Any:
        return fg.sin(fg.grad(lambda q: (causal(q, k, v) ** 2).sum())(q)).sum()

    second = fg.grad(first, argnums=(0, 1))
    assert loops_of(second, arrays) >= 2
    for a, b in zip(fg.compile(second)(*arrays), second(*arrays), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("small")
def test_several_layers() -> None:
    x, w = normal(64, 8), normal(8, 8)

    def run(x: Any, w: Any) -> Any:
        for _ in range(2):
            h = x @ w
            x = fg.tanh(x + causal(h, x, h))
        return x

    both = gradients(run)
    assert loops_of(both, [x, w]) >= 4
    for a, b in zip(results_of(both, [x, w]), both(x, w), strict=True):
        np.testing.assert_allclose(a, b.numpy(), rtol=2e-4, atol=2e-4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "function",
    [
        # The weights are a result; the sum has no axis that could be cut; the scores go elsewhere.
        lambda a, b: F.softmax(a @ b, dim=-1),
        lambda a, b: (fg.exp(a @ b)).sum(),
        lambda a, b: fg.cumulative_sum(a @ b, axis=0)[-1] + fg.exp(a @ b).sum(axis=0),
    ],
)
def test_what_is_stored(function: Run) -> None:
    arrays = [normal(64, 4), normal(4, 64)]
    np.testing.assert_allclose(
        results_of(function, arrays)[0], function(*arrays).numpy(), rtol=2e-5, atol=1e-5
    )


def test_dropout(request: pytest.FixtureRequest) -> None:
    """The random numbers are made in the blocks: the same, for the value and the gradients."""
    arrays = [normal(2, 64, 8) for _ in range(3)]

    def run(q: Any, k: Any, v: Any) -> Any:
        return F.scaled_dot_product_attention(q, k, v, dropout_p=0.4)

    both = gradients(run)
    fg.random.seed(3)
    plain = results_of(both, arrays)
    request.getfixturevalue("small")
    assert loops_of(both, arrays) == 2
    explained = fg.compile(both).explain(*arrays)
    assert "[2, 64, 64]" not in explained["graph"]
    fg.random.seed(3)
    for a, b in zip(results_of(both, arrays), plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def test_memory_grows_with_the_length() -> None:
    def bytes_of(length: int) -> int:
        step = fg.compile(fg.grad(lambda q, k, v: causal(q, k, v).sum(), argnums=(0, 1, 2)))
        step(*(normal(length, 16) for _ in range(3)))
        return step.stats().arena_bytes

    short, long, longest = map(bytes_of, (2048, 4096, 8192))
    assert short < 4 * 2048 * 2048 * 2
    assert long < 4 * 4096 * 4096 / 2
    assert longest < 4 * 8192 * 8192 / 3
