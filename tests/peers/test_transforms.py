"""jvp, Jacobians, Hessians and vmap against torch.func and jax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

RNG = np.random.default_rng(2)
Array = np.ndarray[Any, Any]

X_SHAPE = (4, 3)


def values_of(result: Any) -> Any:
    """What was sorted, without the places that torch adds."""
    return result[0] if isinstance(result, tuple) else result


# Of a library with torch's names (torch itself, or fusegrad under an alias) and an array.
CASES: dict[str, Callable[[Any, Any], Any]] = {
    "exp": lambda m, x: m.exp(x) * x,
    "matmul": lambda m, x: x @ x.T,
    "sum": lambda m, x: m.sum(x, 0) ** 2,
    "mean": lambda m, x: m.mean(x * x, 1),
    "prod": lambda m, x: m.prod(x, 1),
    "var": lambda m, x: m.var(x, 0, correction=1),
    "std": lambda m, x: m.std(x, 1, correction=0),
    "logsumexp": lambda m, x: m.logsumexp(x, 1),
    "where": lambda m, x: m.where(x > 0, m.sin(x), x * x),
    "cumsum": lambda m, x: m.cumsum(x * x, 0),
    "cumprod": lambda m, x: m.cumprod(x, 1),
    "sort": lambda m, x: values_of(m.sort(x.reshape(-1))) ** 2,
    "flip": lambda m, x: m.flip(x, (0,)) * x,
    "roll": lambda m, x: m.roll(x, 1, 0) * x,
    "concat": lambda m, x: m.concat([x, m.sin(x)], 1),
    "stack": lambda m, x: m.stack([x, x * x, m.cos(x)], 2),
    "pow": lambda m, x: m.abs(x) ** 1.5,
    "atan2": lambda m, x: m.atan2(x, x * x + 1),
    "max": lambda m, x: m.amax(x, 1) * 2,
    "tril": lambda m, x: m.tril(x) @ x.T @ m.triu(x),
    "index": lambda m, x: x[1:3, ::2].reshape(-1) ** 3,
    "einsum": lambda m, x: m.einsum("ij,kj->ik", x, m.tanh(x)),
    "outer": lambda m, x: m.outer(x[0], x[1]),
    "norm": lambda m, x: m.linalg.vector_norm(x, 2, 1),
    "solve": lambda m, x: m.linalg.solve(x.T @ x + m.eye(3, dtype=m.float64), x[0]),
    "inv": lambda m, x: m.linalg.inv(x.T @ x + m.eye(3, dtype=m.float64)),
    "det": lambda m, x: m.linalg.det(x.T @ x),
}
NAMES = sorted(CASES)


def close(found: Any, expected: Any) -> None:
    np.testing.assert_allclose(np.asarray(found), expected.detach().numpy(), rtol=1e-8, atol=1e-9)


@pytest.fixture
def point() -> Array:
    return RNG.normal(size=X_SHAPE)


@pytest.mark.parametrize("name", NAMES)
def test_jvp(name: str, point: Array) -> None:
    f, t = CASES[name], RNG.normal(size=X_SHAPE)
    ours = fg.jvp(lambda x: f(fg, x), (point,), (t,))
    theirs = torch.func.jvp(lambda x: f(torch, x), (torch.tensor(point),), (torch.tensor(t),))
    for found, expected in zip(ours, theirs, strict=True):
        close(found, expected)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("transform", ["jacrev", "jacfwd"])
def test_jacobian(name: str, transform: str, point: Array) -> None:
    f = CASES[name]
    ours = getattr(fg, transform)(lambda x: f(fg, x))(point)
    close(ours, torch.func.jacrev(lambda x: f(torch, x))(torch.tensor(point)))


@pytest.mark.parametrize("name", NAMES)
def test_hessian(name: str, point: Array) -> None:
    f = CASES[name]
    ours = fg.compile(fg.hessian(lambda x: (fg.sin(f(fg, x))).sum()))(point)
    theirs = torch.func.jacrev(torch.func.jacrev(lambda x: torch.sin(f(torch, x)).sum()))
    close(ours, theirs(torch.tensor(point)))


@pytest.mark.parametrize("name", NAMES)
def test_vmap(name: str) -> None:
    f, points = CASES[name], RNG.normal(size=(5, *X_SHAPE))
    ours = fg.vmap(lambda x: f(fg, x))(points)
    close(ours, torch.stack([f(torch, row) for row in torch.tensor(points)]))
    rows = fg.vmap(fg.grad(lambda x: f(fg, x).sum()))(points)
    theirs = [torch.func.grad(lambda x: f(torch, x).sum())(row) for row in torch.tensor(points)]
    close(rows, torch.stack(theirs))


def test_conventions_that_jax_shares() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")
    jnp = jax.numpy
    point = np.array([1.0, 3.0, 3.0], "float32")
    for ours, theirs in (
        (fg.max, jnp.max),
        (lambda x: fg.maximum(x, 3.0).sum(), lambda x: jnp.maximum(x, 3.0).sum()),
        (lambda x: fg.clip(x, 1.0, 3.0).sum(), lambda x: jnp.clip(x, 1.0, 3.0).sum()),
        (lambda x: fg.abs(x - 3).sum() * 0 + x.sum(), lambda x: x.sum()),
    ):
        np.testing.assert_allclose(fg.grad(ours)(point).numpy(), jax.grad(theirs)(point))


def test_custom_rules_as_in_jax() -> None:
    jax = pytest.importorskip("jax", reason="jax is not installed")

    def define(library: Any, numpy: Any) -> Any:
        @library.custom_jvp
        def f(x: Any, y: Any) -> Any:
            return numpy.sin(x) * y

        @f.defjvp
        def rule(primals: Any, tangents: Any) -> Any:
            (x, y), (t, u) = primals, tangents
            return f(x, y), numpy.cos(x) * t * y + numpy.sin(x) * u

        return f

    ours, theirs = define(fg, fg), define(jax, jax.numpy)
    x, y = np.float32(0.3), np.float32(2.0)
    for transform in ("grad", "hessian", "jacfwd"):
        found = getattr(fg, transform)(ours)(x, y)
        np.testing.assert_allclose(float(found), getattr(jax, transform)(theirs)(x, y), rtol=1e-6)
