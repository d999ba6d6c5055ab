"""Random loops and branches in each other: compiled = interpreted = batched, with gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

T = fg.Tensor
SHAPES: tuple[tuple[int, ...], ...] = ((), (3,), (2, 3), (3, 3))


def fitted(value: T, like: T) -> T:
    """A value of the shape of another."""
    return value if value.shape == like.shape else fg.broadcast_to(value.sum() * 0.1, like.shape)


def elementary(rng: Random, a: T, b: T) -> T:
    options: list[Callable[[], T]] = [
        lambda: fg.sin(a) * 0.5,
        lambda: fg.cos(a),
        lambda: a * 0.7 + fitted(b, a),
        lambda: fg.where(a > 0, a, a * 0.1),
    ]
    if a.ndim:
        options += [lambda: fg.cumsum(a, axis=0) * 0.3, lambda: fg.sort(a, axis=-1)]
    if a.ndim == 1:
        options.append(lambda: a.sum())
    if a.ndim == 2:
        options.append(lambda: a.max(axis=0))
        if b.shape == (3, 3):
            options += [lambda: fg.tanh(a @ b), lambda: a @ b.T]
    return rng.choice(options)()


def values(rng: Random, given: Sequence[T], depth: int, count: int) -> list[T]:
    found = list(given)
    for _ in range(count):
        a, b = rng.choice(found), rng.choice(found)
        kind = rng.randrange(3) if depth else 0
        if kind == 1:
            found.append(loop(rng, a, b, found, depth - 1))
        elif kind == 2:
            found.append(branch(rng, a, found, depth - 1))
        else:
            found.append(elementary(rng, a, b))
    return found


def loop(rng: Random, a: T, b: T, outer: Sequence[T], depth: int) -> T:
    seed, length, reverse = rng.random(), rng.randint(1, 4), rng.random() < 0.4
    every = rng.choice([None, None, 2])

    def step(carry: tuple[T, ...], x: T | None) -> Any:
        # The same numbers again whenever the body is recorded.
        own = Random(seed)
        start = [*carry, *([] if x is None else [x]), own.choice(outer)]
        found = values(own, start, depth, own.randint(1, 4))
        new = tuple(fitted(own.choice(found), c) for c in carry)
        return new, (own.choice(found), new[0])

    kind = rng.randrange(3)
    if kind == 0:
        last, ys = fg.scan(step, (a, b), length=length, reverse=reverse, checkpoint_every=every)
        return fitted(last[0] + ys[1].sum(axis=0), a)
    if kind == 1:
        xs = fg.stack([a * i for i in range(1, length + 1)])
        last, ys = fg.scan(step, (b, a), xs, reverse=reverse, checkpoint_every=every)
        return last[1] + ys[0].sum() * 0.1
    return fg.while_loop(  # type: ignore[no-any-return]
        lambda state: state[2] < length,
        lambda state: (*step(state[:2], None)[0], state[2] + 1),
        (a, b, 0),
        max_iterations=length + 1,
    )[0]


def branch(rng: Random, a: T, outer: Sequence[T], depth: int) -> T:
    seed = rng.random()

    def made(number: int) -> Callable[[T], T]:
        def function(v: T) -> T:
            own = Random(seed + number)
            found = values(own, [v, own.choice(outer)], depth, own.randint(1, 3))
            return fitted(own.choice(found), v)

        return function

    number = (fg.abs(a).sum() * 10).astype("int64") % 3
    return fg.switch(number, [made(i) for i in range(3)], a)  # type: ignore[no-any-return]


def loss(seed: int) -> Callable[..., T]:
    def function(*arguments: T) -> T:
        found = values(Random(seed), arguments, 2, 3)
        total = fg.asarray(0.0, dtype="float64")
        for value in found[4:]:
            total = total + fg.sin(value).sum()
        return total

    return function


def arrays(tree: Any) -> list[Any]:
    return [leaf.numpy() for leaf in fg.pytree.flatten(tree)[0]]


@pytest.mark.parametrize("seed", range(2))
def test_values_gradients_and_batches(seed: int) -> None:
    function = loss(seed)
    slope = fg.value_and_grad(function, (0, 1, 2, 3))
    rng = np.random.default_rng(seed)
    rows = [rng.normal(size=(2, *shape)) for shape in SHAPES]
    expected = [arrays(slope(*(fg.asarray(row[i]) for row in rows))) for i in range(2)]
    compiled = fg.compile(slope)
    batched = arrays(fg.compile(fg.vmap(slope))(*rows))
    for i in range(2):
        found = arrays(compiled(*(row[i] for row in rows)))
        for a, b, c in zip(expected[i], found, batched, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-8, atol=1e-10)
            np.testing.assert_allclose(c[i], a, rtol=1e-8, atol=1e-10)
    primals = [fg.asarray(row[0]) for row in rows]
    directions = [fg.asarray(rng.normal(size=shape)) for shape in SHAPES]
    tangent = float(fg.jvp(function, primals, directions)[1])
    pairs = zip(expected[0][1:], directions, strict=True)
    assert tangent == pytest.approx(sum(float((g * d.numpy()).sum()) for g, d in pairs), rel=1e-7)
