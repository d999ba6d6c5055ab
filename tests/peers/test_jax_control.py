"""Loops and branches against jax.lax: values and gradients in float64, and vmap."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

jax = pytest.importorskip("jax", reason="jax is not installed")
pytestmark = pytest.mark.peers

RNG = np.random.default_rng(0)
W, H, XS = RNG.normal(size=(3, 3)) * 0.7, RNG.normal(size=3), RNG.normal(size=(5, 3))


def recurrence(m: Any, lax: Any, w: Any, h: Any, xs: Any, **more: Any) -> Any:
    def step(carry: Any, x: Any) -> Any:
        h, total = carry
        h = m.tanh(w @ h + x)
        return (h, total + h.sum()), {"h": h, "t": total * x}

    return lax.scan(step, (h, 0.0 * h[0]), xs, **more)


def nested(m: Any, lax: Any, w: Any, h: Any, xs: Any) -> Any:
    def outer(c: Any, x: Any) -> Any:
        inner = lax.scan(lambda a, b: (a * b + x.sum(), a), c, w[0])
        return lax.cond(inner[0].sum() > 0, lambda v: v * 0.5, lambda v: v - 1.0, inner[0]), inner[
            1
        ]

    return lax.scan(outer, h, xs)


def bounded(m: Any, lax: Any, w: Any, h: Any, xs: Any) -> Any:
    return lax.fori_loop(1, 6, lambda i, v: m.sin(v * i) + (w @ v) / i, h)


def branches(m: Any, lax: Any, w: Any, h: Any, xs: Any) -> Any:
    functions = [lambda a, b: a @ b, lambda a, b: m.exp(b), lambda a, b: b * a[0].sum()]
    return [lax.switch(i, functions, w, h) for i in (0, 1, 2)]


def mapped(m: Any, lax: Any, w: Any, h: Any, xs: Any) -> Any:
    return lax.map(lambda x: {"a": m.exp(x) @ w, "b": (x * h).sum()}, xs)


def batched(m: Any, lax: Any, w: Any, h: Any, xs: Any) -> Any:
    return lax.map(lambda x: m.tanh(x @ w) + h, xs, batch_size=2)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "scan": recurrence,
    "scan reversed": lambda *a: recurrence(*a, reverse=True),
    "nested": nested,
    "fori_loop": bounded,
    "switch": branches,
    "map": mapped,
    "map in batches": batched,
}


def weigh(m: Any, leaves: Any) -> Any:
    return sum((m.sin(leaf) * leaf).sum() for leaf in leaves)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients(name: str) -> None:
    function = FUNCTIONS[name]
    with jax.enable_x64(True):
        plain = lambda *a: jax.tree.leaves(function(jax.numpy, jax.lax, *a))  # noqa: E731
        loss = lambda *a: weigh(jax.numpy, plain(*a))  # noqa: E731
        arguments = [jax.numpy.asarray(a) for a in (W, H, XS)]
        gradient = jax.grad(loss, (0, 1, 2))
        second = jax.grad(lambda *a: weigh(jax.numpy, gradient(*a)), (0, 1, 2))
        expected = [*plain(*arguments), *gradient(*arguments), *second(*arguments)]

    def leaves(*a: Any) -> Any:
        return fg.pytree.flatten(function(fg, fg, *a))[0]

    ours = fg.grad(lambda *a: weigh(fg, leaves(*a)), (0, 1, 2))
    ours_second = fg.grad(lambda *a: weigh(fg, ours(*a)), (0, 1, 2))

    def run(*a: Any) -> Any:
        return [*leaves(*a), *ours(*a), *ours_second(*a)]

    for found in (run(*map(fg.asarray, (W, H, XS))), fg.compile(run)(W, H, XS)):
        for a, b in zip(found, expected, strict=True):
            assert a.shape == b.shape
            np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=1e-8, atol=1e-10)


def test_vmap_of_a_while_loop() -> None:
    def root(m: Any, lax: Any, a: Any) -> Any:
        body = lambda s: (0.5 * (s[0] + a / s[0]), s[1] + 1)  # noqa: E731
        return lax.while_loop(lambda s: abs(s[0] ** 2 - a) > 1e-9, body, (a, 0))

    values = np.array([0.5, 2.0, 1.0, 400.0])
    with jax.enable_x64(True):
        expected = jax.vmap(lambda a: root(jax.numpy, jax.lax, a))(values)
    for run in (fg.vmap(lambda a: root(fg, fg, a)), fg.compile(fg.vmap(lambda a: root(fg, fg, a)))):
        for a, b in zip(run(fg.asarray(values)), expected, strict=True):
            np.testing.assert_allclose(a.numpy(), np.asarray(b), rtol=1e-12)
