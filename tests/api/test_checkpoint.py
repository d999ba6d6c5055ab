"""What `checkpoint` saves: the arena's size of chains of layers, with bits that do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import pytree

RNG = np.random.default_rng(11)
WIDTH = 32
ROWS = RNG.normal(size=(256, WIDTH)).astype("float32")
WEIGHTS = [(RNG.normal(size=(WIDTH, WIDTH)) / 6).astype("float32") for _ in range(8)]
Wrap = Callable[[Any], Any]


def plain(function: Any) -> Any:
    return function


def layers(wrap: Wrap) -> Any:
    block = wrap(lambda x, w: x + fg.tanh(fg.tanh(x @ w) @ w))

    def loss(x: Any, weights: Any) -> Any:
        for w in weights:
            x = block(x, w)
        return (x * x).sum()

    return loss


def nested(wrap: Wrap) -> Any:
    block = wrap(lambda x, w: x + fg.tanh(fg.tanh(x @ w) @ w))

    @wrap
    def four(x: Any, weights: Any) -> Any:
        for w in weights:
            x = block(x, w)
        return x

    return lambda x, weights: (four(four(x, weights[:4]), weights[4:]) ** 2).sum()


def looped(wrap: Wrap) -> Any:
    block = wrap(lambda x, w: x + fg.tanh(fg.tanh(x @ w) @ w))
    return lambda x, weights: (
        fg.scan(lambda h, w: (block(h, w), None), x, fg.stack(weights))[0] ** 2
    ).sum()


def convolutions(wrap: Wrap) -> Any:
    def one(x: Any, w: Any) -> Any:
        kernel = w[:4, :18].reshape(4, 2, 3, 3)
        return F.relu(F.conv2d(F.relu(F.conv2d(x, kernel, padding=1, groups=2)), kernel, groups=2))

    block = wrap(one)

    def loss(x: Any, weights: Any) -> Any:
        x = x.reshape(4, 4, 16, 32)
        for w in weights[:6]:
            x = fg.pad(block(x, w), ((0, 0), (0, 0), (1, 1), (1, 1)))
        return (x * x).sum()

    return loss


def both(make: Callable[[Wrap], Any], derive: Callable[[Any], Any]) -> tuple[int, int]:
    """The bytes of the arena without and with checkpoints; the results are equal to the bit."""
    found, sizes = [], []
    for wrap in (plain, fg.checkpoint):
        run = fg.compile(derive(make(wrap)))
        leaves, _ = pytree.flatten(run(ROWS, WEIGHTS))
        found.append([np.asarray(leaf) for leaf in leaves])
        sizes.append(run.stats().arena_bytes)
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
    return sizes[0], sizes[1]


def gradients(loss: Any) -> Any:
    return fg.grad(loss, argnums=(0, 1))


@pytest.mark.parametrize(
    ("make", "most"), [(layers, 0.5), (nested, 0.35), (looped, 0.51), (convolutions, 0.75)]
)
def test_gradients_take_less_memory(make: Any, most: float) -> None:
    without, with_ = both(make, gradients)
    assert with_ < most * without


def test_what_is_kept_grows_by_the_operands_alone() -> None:
    sizes = []
    for count in (4, 8):
        run = fg.compile(gradients(layers(fg.checkpoint)))
        run(ROWS, WEIGHTS[:count])
        sizes.append(run.stats().arena_bytes)
    assert sizes[1] - sizes[0] == 4 * ROWS.nbytes


def test_of_every_row_of_a_batch() -> None:
    def rows(loss: Any) -> Any:
        each = fg.vmap(fg.grad(loss), in_axes=(0, None))
        return lambda x, weights: each(x.reshape(8, 32, WIDTH), weights)

    without, with_ = both(layers, rows)
    assert with_ < 0.65 * without


def test_of_derivatives_along_a_direction() -> None:
    def along(loss: Any) -> Any:
        return lambda x, w: fg.jvp(lambda x: fg.grad(loss)(x, w), (x,), (fg.ones_like(x),))[1]

    without, with_ = both(nested, along)
    assert with_ < 0.5 * without


def test_of_gradients_of_gradients() -> None:
    def twice(loss: Any) -> Any:
        return lambda x, w: fg.grad(lambda x: (fg.grad(loss)(x, w) ** 2).sum())(x)

    found, sizes = [], []
    for wrap in (plain, fg.checkpoint):
        run = fg.compile(twice(layers(wrap)))
        found.append(np.asarray(run(ROWS / 8, WEIGHTS)))
        sizes.append(run.stats().arena_bytes)
    # Their cotangents meet in another order.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-3 * np.abs(found[0]).max())
    assert sizes[1] < 0.5 * sizes[0]


def test_of_attention() -> None:
    def block(x: Any, w: Any) -> Any:
        heads = x.reshape(4, 64, 2, 16).permute(0, 2, 1, 3)
        scores = F.softmax(heads @ w[:16, :16] @ heads.swapaxes(-1, -2), -1)
        return x + (scores @ heads).permute(0, 2, 1, 3).reshape(256, WIDTH) @ w

    def make(wrap: Wrap) -> Any:
        one = wrap(block)

        def loss(x: Any, weights: Any) -> Any:
            for w in weights:
                x = one(x, w)
            return (x * x).mean()

        return loss

    found, sizes = [], []
    for wrap in (plain, fg.checkpoint):
        run = fg.compile(fg.grad(make(wrap)))
        found.append(np.asarray(run(ROWS / 8, WEIGHTS)))
        sizes.append(run.stats().arena_bytes)
    # Sums in rows are added in the order that suits the kernel they are in.
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-8)
    assert sizes[1] < 0.4 * sizes[0]


def test_a_value_behind_a_checkpoint_is_no_copy() -> None:
    run = fg.compile(gradients(layers(fg.checkpoint)))
    graph, kernels = str(run.explain(ROWS, WEIGHTS)).split("== kernels ==")
    assert "barrier" in graph
    assert "barrier" not in kernels


def test_a_captured_tensor_updated_in_place_is_read_before() -> None:
    w = fg.asarray(WEIGHTS[0])

    def one(x: Any, v: Any) -> Any:
        return fg.tanh(x @ v) @ v

    def step(x: Any, wrap: Any) -> Any:
        y, pullback = fg.vjp(lambda v: wrap(one)(x, v), w)
        w[...] = w - 0.1 * pullback(y)[0]
        return y

    found = []
    for wrap in (plain, fg.checkpoint):
        w[...] = WEIGHTS[0]
        run = fg.compile(lambda x, wrap=wrap: step(x, wrap))
        found.append([np.asarray(run(ROWS)), np.asarray(run(ROWS)), np.asarray(w).copy()])
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
