"""16-bit floats against torch: values, gradients, promotion, conversions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

HALVES = ("float16", "bfloat16")
EPSILON = {"float16": 2.0**-10, "bfloat16": 2.0**-7}
NAMES = ("bool", "uint8", "int8", "int16", "int32", "int64", *HALVES, "float32", "float64")


def pair(shape: tuple[int, ...], dtype: str, seed: int = 0) -> tuple[fg.Tensor, Any]:
    values = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return fg.asarray(values, dtype=dtype), torch.from_numpy(values).to(getattr(torch, dtype))


def close(ours: fg.Tensor, theirs: Any, dtype: str, units: float = 2) -> None:
    assert ours.dtype.name == dtype == str(theirs.dtype).removeprefix("torch.")
    bound = units * EPSILON[dtype]
    np.testing.assert_allclose(ours.float().numpy(), theirs.detach().float().numpy(), bound, bound)


FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (lambda x: F.softmax(x, -1), lambda x: torch.softmax(x, -1)),
    "log_softmax": (lambda x: F.log_softmax(x, -1), lambda x: torch.log_softmax(x, -1)),
    "layer_norm": (
        lambda x: F.layer_norm(x, 9),
        lambda x: torch.nn.functional.layer_norm(x, (9,)),
    ),
    "gelu": (F.gelu, torch.nn.functional.gelu),
    "silu": (F.silu, torch.nn.functional.silu),
    "sigmoid": (fg.sigmoid, torch.sigmoid),
    "exp": (fg.exp, torch.exp),
    "mean": (fg.mean, torch.mean),
    "sum": (lambda x: fg.sum(x, axis=0), lambda x: torch.sum(x, 0)),
    "logsumexp": (lambda x: fg.logsumexp(x, axis=1), lambda x: torch.logsumexp(x, 1)),
    "matmul": (lambda x: x @ x.T, lambda x: x @ x.T),
    "cube": (lambda x: x**3, lambda x: x**3),
    "mixed": (lambda x: x * 2.5 - x / 3, lambda x: x * 2.5 - x / 3),
    "avg_pool1d": (lambda x: F.avg_pool1d(x, 3), lambda x: torch.nn.functional.avg_pool1d(x, 3)),
}


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str, dtype: str) -> None:
    ours, theirs = FUNCTIONS[name]
    x, t = pair((6, 9), dtype)
    t.requires_grad_()
    result = theirs(t)
    close(ours(x), result, dtype)
    close(fg.compile(ours)(x), result, dtype)
    weights, their_weights = pair(tuple(result.shape), dtype, seed=1)
    (result * their_weights).sum().backward()
    gradient = fg.compile(fg.grad(lambda x: (ours(x) * weights).sum()))(x)
    close(gradient, t.grad, dtype, units=8)


@pytest.mark.parametrize("dtype", HALVES)
def test_losses(dtype: str) -> None:
    x, t = pair((8, 5), dtype)
    y, u = pair((8, 5), dtype, seed=1)
    labels = np.arange(8) % 5
    found = F.cross_entropy(x, labels)
    close(found, torch.nn.functional.cross_entropy(t, torch.from_numpy(labels)), dtype)
    close(F.mse_loss(x, y), torch.nn.functional.mse_loss(t, u), dtype)
    close(F.l1_loss(x, y), torch.nn.functional.l1_loss(t, u), dtype)


def test_promotion_is_that_of_torch() -> None:
    for a in NAMES:
        for b in NAMES:
            expected = torch.promote_types(getattr(torch, a), getattr(torch, b))
            assert fg.result_type(a, b).name == str(expected).removeprefix("torch."), (a, b)


@pytest.mark.parametrize("dtype", HALVES)
def test_conversions(dtype: str) -> None:
    values = np.random.default_rng(0).normal(size=4000).astype(np.float32) * 1e3
    x, t = fg.asarray(values), torch.from_numpy(values)
    half, their_half = x.astype(dtype), t.to(getattr(torch, dtype))
    np.testing.assert_array_equal(half.float().numpy(), their_half.float().numpy())
    for other in ("int16", "int32", "int64", "bool", "float64"):
        expected = their_half.to(getattr(torch, other)).numpy()
        np.testing.assert_array_equal(half.astype(other).numpy(), expected)


def test_autocast_gives_what_torch_gives() -> None:
    x, t = pair((7, 4), "float32")
    w, v = pair((5, 4), "float32", seed=1)
    with fg.autocast(), torch.autocast("cpu", torch.bfloat16):
        close(F.linear(x, w), torch.nn.functional.linear(t, v), "bfloat16")
        close(x @ w.T, t @ v.T, "bfloat16")
        ours, theirs = (
            F.mse_loss(x @ w.T, x @ w.T * 0),
            torch.nn.functional.mse_loss(t @ v.T, t @ v.T * 0),
        )
    assert ours.dtype is fg.float32
    assert theirs.dtype is torch.float32
    np.testing.assert_allclose(ours.item(), theirs.item(), 1e-2)
