"""Random numbers: one stream, whatever draws from it; distributions."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import ShapeError
from fusegrad.ops import build
from fusegrad.tensors.trace import Trace

N = 20_000


def test_the_seed_fixes_the_stream() -> None:
    fg.random.seed(5)
    first = [fg.random.uniform(3).tolist() for _ in range(3)]
    fg.random.seed(5)
    assert [fg.random.uniform(3).tolist() for _ in range(3)] == first
    fg.random.seed(6)
    assert fg.random.uniform(3).tolist() != first[0]


def test_draws_split_the_stream() -> None:
    g = fg.random.Generator(1)
    whole = fg.random.bits(10, generator=g).tolist()
    g.seed(1)
    parts = fg.concat([fg.random.bits(n, generator=g) for n in (3, 0, 7)])
    assert parts.tolist() == whole
    assert int(g.offset) == 10


def test_shapes_take_the_stream_in_order() -> None:
    g = fg.random.Generator(1)
    flat = fg.random.uniform(6, generator=g)
    g.seed(1)
    assert fg.random.uniform((2, 3), generator=g).flatten().tolist() == flat.tolist()


def test_eager_draws_the_same() -> None:
    g = fg.random.Generator(2)
    lazy = [fg.random.normal(4, generator=g) for _ in range(2)]
    g.seed(2)
    with fg.eager():
        eager = [fg.random.normal(4, generator=g) for _ in range(2)]
    for a, b in zip(lazy, eager, strict=True):
        assert a.tolist() == b.tolist()


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda v: pickle.loads(pickle.dumps(v))]
)
def test_copies_of_a_generator_go_on_from_where_it_is(again: Callable[[Any], Any]) -> None:
    one = fg.random.Generator(4)
    fg.random.uniform(3, generator=one)
    other = again(one)
    draw = fg.compile(lambda: fg.random.uniform(3, generator=other))
    for _ in range(2):
        assert draw().tolist() == fg.random.uniform(3, generator=one).tolist()
    assert int(other.offset) == 9


def test_offsets_of_many_draws_do_not_pile_up() -> None:
    g = fg.random.Generator(3)
    with Trace() as trace:
        for _ in range(5):
            fg.random.uniform(4, generator=g)
        node = g.offset._read()
    assert [tensor for tensor, _ in trace.captures] == [g.offset, g.key]
    assert [tensor is g.offset for tensor in trace.written] == [True]
    assert node.op.name == "add"
    assert build.constant_value(node.inputs[1]) == 20
    trace.restore()
    assert int(g.offset) == 0


def test_threads_draw_different_numbers() -> None:
    g = fg.random.Generator(4)
    found: list[list[int]] = []

    def work() -> None:
        found.extend(fg.random.bits(5, generator=g).tolist() for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert int(g.offset) == 400
    assert len({tuple(row) for row in found}) == 80


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform(dtype: str) -> None:
    x = fg.random.uniform(N, -1.0, 3.0, dtype=dtype, generator=fg.random.Generator(7)).numpy()
    assert x.dtype == dtype
    assert x.min() >= -1
    assert x.max() < 3
    assert abs(x.mean() - 1) < 0.03
    assert abs(x.std() - 4 / 12**0.5) < 0.03
    counts, _ = np.histogram(x, 16, (-1, 3))
    assert ((counts - N / 16) ** 2 / (N / 16)).sum() < 45


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal(dtype: str) -> None:
    x = fg.random.normal(N, 2.0, 0.5, dtype=dtype, generator=fg.random.Generator(7)).numpy()
    assert x.dtype == dtype
    z = (x - 2) / 0.5
    assert abs(z.mean()) < 0.03
    assert abs(z.std() - 1) < 0.03
    assert abs((z**3).mean()) < 0.1
    assert abs((z**4).mean() - 3) < 0.2
    assert np.isfinite(z).all()


def test_arrays_as_parameters() -> None:
    places, scales = fg.asarray([0.0, 10.0, 100.0]), np.array([[1.0], [2.0]], "float32")
    for draw, unit in ((fg.random.normal, fg.random.randn), (fg.random.uniform, fg.random.rand)):
        fg.random.seed(6)
        noise = unit(2, 3).numpy()
        for compiled in (False, True):
            fg.random.seed(6)
            ends = scales if draw is fg.random.normal else places + scales

            def total(place: Any, draw: Any = draw, ends: Any = ends) -> Any:
                drawn = draw((2, 3), place, ends)
                return drawn.sum(), drawn

            run = fg.compile(total) if compiled else total
            np.testing.assert_allclose(
                run(places)[1].numpy(), places.numpy() + scales * noise, rtol=1e-5, atol=1e-5
            )
    assert fg.grad(lambda m: fg.random.normal((3,), m, 1.0).sum())(fg.asarray(1.0)).item() == 3
    assert fg.random.normal(mean=places).shape == (3,)
    with pytest.raises(ShapeError, match="do not fit a draw"):
        fg.random.uniform((2,), places, 200.0)


def test_randint() -> None:
    x = fg.random.randint(-3, 4, N, generator=fg.random.Generator(7)).numpy()
    values, counts = np.unique(x, return_counts=True)
    assert values.tolist() == list(range(-3, 4))
    assert abs(counts - N / 7).max() < 250
    assert fg.random.randint(5, shape=3, dtype="int32").dtype is fg.int32
    with pytest.raises(fg.errors.DTypeError):
        fg.random.randint(3, 3)


def test_bernoulli() -> None:
    x = fg.random.bernoulli(0.25, N, generator=fg.random.Generator(7))
    assert x.dtype is fg.bool
    assert abs(float(x.mean()) - 0.25) < 0.02
    p: Any = fg.asarray([0.0, 1.0])
    assert fg.random.bernoulli(p).tolist() == [False, True]
    assert fg.random.bernoulli(p, dtype="float32").tolist() == [0.0, 1.0]


def test_torchs_names() -> None:
    assert fg.random.rand(2, 3).shape == (2, 3)
    assert fg.random.randn((2, 3)).shape == (2, 3)
    assert fg.random.rand().shape == ()
    assert fg.random.uniform(2, requires_grad=True).requires_grad
    assert fg.random.randperm(3, device="cpu").shape == (3,)
    for draw in (fg.random.rand, fg.random.randn):
        x = draw(2, dtype="float64", device="cpu", requires_grad=True)
        assert (x.dtype, x.requires_grad) == (fg.float64, True)


def test_compiled_functions_draw_from_the_stream() -> None:
    g = fg.random.Generator(9)

    @fg.compile
    def draw(x: Any) -> Any:
        return x + fg.random.uniform(4, generator=g), fg.random.uniform(2, generator=g)

    zeros = np.zeros(4, np.float32)
    compiled = [[y.tolist() for y in draw(zeros)] for _ in range(3)]
    assert int(g.offset) == 18
    g.seed(9)
    plain = [
        [
            fg.random.uniform(4, generator=g).tolist(),
            fg.random.uniform(2, generator=g).tolist(),
        ]
        for _ in range(3)
    ]
    assert compiled == plain


def test_integers_between_arrays() -> None:
    fg.random.seed(0)
    low, high = np.array([[0], [10]]), np.array([3, 20, 1 << 33])
    for draw in (fg.random.randint, fg.compile(fg.random.randint, static_argnames=["shape"])):
        x = draw(low, high, shape=(2000, 2, 3))
        assert x.dtype is fg.int64
        assert bool((x >= fg.asarray(low)).all())
        inside = fg.asarray(low) < fg.asarray(high)
        assert bool((fg.where(inside, x, low) < fg.asarray(high))[:, inside.numpy()].all())
        assert set(x[:, 0, 0].tolist()) == {0, 1, 2}
        assert set(x[:, 1, 0].tolist()) == {10}
    assert fg.random.randint([1, 2], [2, 3], dtype="int8").tolist() == [1, 2]
    with pytest.raises(fg.errors.DTypeError, match="randint between bounds of float32"):
        fg.random.randint(fg.ones(2), 3)
    with pytest.raises(fg.errors.ShapeError, match=r"bounds of shape \(2,\) do not fit"):
        fg.random.randint([1, 2], 3, (2, 1))
