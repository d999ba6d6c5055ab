"""Loops and branches around everything else: compiled as interpreted, to second order."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim

Array = npt.NDArray[Any]
T = fg.Tensor


def numbers(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def zeros(*shape: int) -> T:
    return fg.zeros(shape, dtype="float64")


@fg.custom_vjp
def doubled(x: T) -> T:
    return fg.clip(x, -1.0, 1.0)


doubled.defvjp(lambda x: (fg.clip(x, -1.0, 1.0), x), lambda r, g: (g * 2,))


def last(function: Callable[..., Any], start: T, xs: T) -> T:
    return fg.scan(lambda c, x: (function(c, x), None), start, xs)[0]  # type: ignore[no-any-return]


def scattered(x: T) -> T:
    return fg.fori_loop(0, 4, lambda i, v: v.at[i].set(v[i - 1] * 2 + i), x)  # type: ignore[no-any-return]


def alternating(x: T) -> T:
    def body(state: tuple[T, T]) -> tuple[T, T]:
        def halved(c: T, _: Any) -> Any:
            return fg.cond(c.sum() > 0, lambda a: a * 0.5 - 1, lambda a: a + 2, c), None

        return state[0] + 1, fg.scan(halved, state[1], length=3)[0]

    return fg.while_loop(lambda s: s[0] < 4, body, (0, x), max_iterations=5)[1]  # type: ignore[no-any-return]


def descent(w: T, xs: T) -> T:
    return last(lambda w, x: w - 0.1 * fg.grad(lambda w: ((x @ w) ** 2).sum())(w), w, xs)


CASES: dict[str, tuple[Callable[..., T], list[Array]]] = {
    "gather": (
        lambda t: (fg.map(lambda i: t[i] * i, np.array([0, 3, 3, 1])) ** 2).sum(),
        [numbers(5, 2)],
    ),
    "scatter": (lambda x: (scattered(x) ** 2).sum(), [numbers(4)]),
    "sort": (
        lambda xs: (last(lambda c, x: fg.sort(c + x) * fg.arange(4), zeros(4), xs) ** 2).sum(),
        [numbers(5, 4)],
    ),
    "cumsum": (
        lambda xs: (last(lambda c, x: fg.cumsum(c * 0.3 + x, axis=0), zeros(4), xs) ** 2).sum(),
        [numbers(5, 4)],
    ),
    "convolution": (
        lambda xs, w: last(lambda c, x: F.conv1d(c + x, w, padding=1), zeros(1, 2, 6), xs).sum(),
        [numbers(3, 1, 2, 6), numbers(2, 2, 3)],
    ),
    "attention": (
        lambda q, k: fg.map(lambda x: F.softmax(x @ k.T, dim=-1) @ k, q).sum(),
        [numbers(3, 4, 5), numbers(6, 5)],
    ),
    "linear systems": (
        lambda a, xs: last(lambda c, x: fg.linalg.solve(a + c.sum() * a, x), zeros(3), xs).sum(),
        [numbers(3, 3) + 4 * np.eye(3), numbers(4, 3)],
    ),
    "custom rule": (
        lambda xs: last(lambda c, x: doubled(c + x) * x, zeros(), xs),
        [numbers(5) * 0.3],
    ),
    "checkpoint inside": (
        lambda xs: last(lambda c, x: fg.checkpoint(lambda a, b: fg.sin(a) + b)(c, x), zeros(), xs),
        [numbers(5)],
    ),
    "checkpoint around": (
        lambda xs: fg.checkpoint(lambda xs: last(lambda c, x: fg.sin(c) + x, zeros(), xs))(xs),
        [numbers(5)],
    ),
    "while of scan of cond": (lambda x: (alternating(x) ** 2).sum(), [numbers(3)]),
    "gradient inside": (lambda w, xs: descent(w, xs).sum(), [numbers(3), numbers(6, 2, 3)]),
    "weights used twice and turned": (
        lambda w, xs: last(lambda c, x: fg.tanh((c + x) @ w @ w.T + w[0]), zeros(2, 3), xs).sum(),
        [numbers(3, 3), numbers(4, 2, 3)],
    ),
    "vectors": (
        lambda w, xs: last(lambda c, x: fg.tanh(w @ c + x), zeros(3), xs).sum(),
        [numbers(3, 3), numbers(4, 3)],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_gradients(name: str) -> None:
    function, arguments = CASES[name]
    places = tuple(range(len(arguments)))
    slope = fg.grad(function, places)
    if name != "custom rule":
        order = 1 if name in ("gradient inside", "convolution") else 2
        fg.testing.check_grads(function, arguments, order=order)

    def run(*args: T) -> Any:
        return function(*args), slope(*args)

    results = []
    for each in (run, fg.compile(run)):
        leaves, _ = fg.pytree.flatten(each(*map(fg.asarray, arguments)))
        results.append([leaf.numpy() for leaf in leaves])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["vectors", "while of scan of cond", "gradient inside"])
def test_batches_of_gradients(name: str) -> None:
    function, arguments = CASES[name]
    slope = fg.grad(function)
    rows = [np.stack([a, a * 0.5 + 0.1]) for a in arguments]
    expected = [slope(*(row[i] for row in rows)).numpy() for i in range(2)]
    for run in (fg.vmap(slope), fg.compile(fg.vmap(slope))):
        np.testing.assert_allclose(run(*map(fg.asarray, rows)).numpy(), expected, rtol=1e-9)


def test_dropout_differs_between_iterations_and_steps() -> None:
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5))
    masks = fg.compile(lambda x: fg.scan(lambda c, _: (c, model(x) == 0), (), length=3)[1])
    x = np.ones((1, 4), np.float32)
    found = np.concatenate([masks(x).numpy(), masks(x).numpy()])
    assert len({mask.tobytes() for mask in found}) == 6


def test_training_steps_inside_of_which_a_loop_runs() -> None:
    model = nn.Linear(4, 4)
    optimizer = optim.Adam(model.parameters(), lr=3e-2)

    @fg.compile
    def step(x: T) -> T:
        optimizer.zero_grad()
        state, _ = fg.scan(lambda c, _: (fg.tanh(model(c)), None), x, length=5)
        loss = ((state - 0.5) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = numbers(3, 4).astype(np.float32)
    losses = [float(step(x)) for _ in range(40)]
    assert losses[-1] < losses[0] / 4
    assert step.stats().compiles == 1


def test_explain_prints_bodies() -> None:
    f = fg.compile(lambda x: fg.fori_loop(0, 3, lambda i, v: fg.sin(v) * i, x))
    text = f.explain(np.ones(3, np.float32))
    assert "scan<" in text["graph"]
    (body,) = (part for part in text["graph"].split("\n\n") if part.startswith("body "))
    assert "sin(%p" in body
    assert "test_control_with_others.py" in body
    assert "loop 3 {" in text["program"]
    assert "rotate" in text["program"]


SCRIPT = """
import numpy as np, fusegrad as fg
@fg.compile
def f(x, n):
    y = fg.scan(lambda c, v: (fg.sin(c) + v, c), fg.zeros(2), x)
    z = fg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 2), (0, y[0]))
    return fg.cond(z[1].sum() > 0, lambda a: a, lambda a: -a, z[1]), y[1]
a, b = f(np.ones((3, 2), "float32"), np.int64(4))
print(a.numpy().tolist(), b.numpy().tolist(), next(iter(f.stats().origins)))
"""


def test_another_process_compiles_nothing(tmp_path: object) -> None:
    environment = {**os.environ, "FUSEGRAD_CACHE_DIR": str(tmp_path)}
    lines = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        lines.append(done.stdout.split())
    assert [line[-1] for line in lines] == ["compiled", "disk"]
    assert lines[0][:-1] == lines[1][:-1]


def test_checkpoints_take_less_memory() -> None:
    def loss(w: T, every: int | None) -> T:
        start = fg.ones((16, 16))
        body = lambda c, _: (fg.sin(c @ w), None)  # noqa: E731
        return fg.scan(body, start, length=256, checkpoint_every=every)[0].sum()

    w = (numbers(16, 16) * 0.1).astype(np.float32)
    sizes, found = [], []
    for every in (None, 16):
        slope = fg.compile(fg.grad(lambda w, every=every: loss(w, every)))
        found.append(slope(w).numpy())
        sizes.append(slope.stats().arena_bytes)
    assert sizes[1] * 4 < sizes[0]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("every", [None, 2])
def test_random_numbers_of_a_loop_are_those_of_the_unrolled_one(
    reverse: bool, every: int | None
) -> None:
    def f(x: T) -> T:
        body = lambda c, v: (c * 0.5 + fg.random.uniform(2) * v, c)  # noqa: E731
        carry, ys = fg.scan(body, x[0], x, reverse=reverse, checkpoint_every=every)
        return carry + ys.sum(axis=0) + fg.random.uniform(2)

    def unrolled(x: T) -> T:
        carry, ys = x[0], 0.0
        for i in range(5):
            ys = ys + carry
            carry = carry * 0.5 + fg.random.uniform(2) * x[4 - i if reverse else i]
        return carry + ys + fg.random.uniform(2)

    x = fg.asarray(numbers(5, 2), dtype="float32")
    found = []
    for run in (unrolled, f, fg.compile(f)):
        fg.random.seed(7)
        found.append([run(x).numpy() for _ in range(2)])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-5)
    np.testing.assert_allclose(found[2], found[0], rtol=1e-5)


def test_random_numbers_of_loops_in_batches() -> None:
    def walk(x: T) -> T:
        return fg.scan(lambda c, _: (c + fg.random.uniform(2), None), x, length=3)[0]  # type: ignore[no-any-return]

    different = fg.vmap(walk, randomness="different")(fg.zeros((4, 2))).numpy()
    assert len(np.unique(different)) == 8
    same = fg.vmap(walk, randomness="same")(fg.zeros((4, 2))).numpy()
    assert len(np.unique(same)) == 2


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_halves(dtype: str) -> None:
    def f(w: T, xs: T) -> Any:
        last, ys = fg.scan(lambda c, x: (fg.tanh(c @ w + x), c * 2), fg.zeros(3, dtype=dtype), xs)
        return fg.cond(last.sum() > 0, lambda a: a * 2, lambda a: a, last), ys

    w, xs = (fg.asarray(numbers(*s), dtype=dtype) for s in ((3, 3), (4, 3)))
    results = []
    for run in (f, fg.compile(f), fg.grad(lambda w, xs: f(w, xs)[0].sum())):
        leaves, _ = fg.pytree.flatten(run(w, xs))
        assert {str(leaf.dtype) for leaf in leaves} == {dtype}
        results.append([leaf.astype("float32").numpy() for leaf in leaves])
    tolerance = {"float16": 1e-2, "bfloat16": 6e-2, "float32": 1e-5}[dtype]
    for a, b in zip(results[0], results[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def test_a_branch_that_is_not_chosen_does_not_run() -> None:
    """Not even what depends on no operand of its own."""

    def f(x: T, flag: T) -> T:
        return fg.cond(flag, lambda: fg.fori_loop(0, 10**12, lambda i, v: fg.sin(v), x), lambda: x)  # type: ignore[no-any-return]

    for run in (f, fg.compile(f)):
        assert run(fg.asarray([1.0, 2.0]), fg.asarray(False)).numpy().tolist() == [1, 2]
    text = fg.compile(lambda x, n: fg.cond(n > 0, lambda: fg.exp(x) @ x, lambda: x[0, 0] * x))
    program = text.explain(np.ones((4, 4), np.float32), np.int64(1))["program"]
    assert "dot" not in program.split("switch")[0]
    assert "dot" in program.split("switch")[1].split("else")[0] + program.split("else")[1]


def loops_of(run: Any, *args: Any) -> int:
    program = str(run.explain(*args)).split("== program ==")[1]
    return program.count("loop ") + program.count("while ")


@pytest.mark.parametrize(
    "function",
    [
        lambda x: fg.scan(lambda s, r: (fg.sin(s * r) + x[0], s * 2), x[0] * 0 + 1, x),
        lambda x: fg.scan(lambda s, r: ((s[1], s[0] * r), s), (x[0], x[0]), x, reverse=True),
        lambda x: fg.while_loop(lambda s: s.sum() < 100.0, lambda s: s * s + x, x),
        lambda x: fg.fori_loop(0, 4, lambda i, s: fg.sin(s) * x + i, x),
    ],
)
def test_a_loop_and_its_tangents_are_one_loop(function: Any) -> None:
    x = np.linspace(0.5, 1.5, 6)
    one = fg.compile(function)
    both = fg.compile(lambda x: fg.jvp(function, (x,), (x * 2,)))
    expected = fg.pytree.flatten(fg.jvp(function, (x,), (x * 2,)))[0]
    found = fg.pytree.flatten(both(x))[0]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12)
    for a, b in zip(found, fg.pytree.flatten(one(x))[0], strict=False):
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-12)
    assert loops_of(both, x) == loops_of(one, x) == 1


def test_a_loop_that_feeds_another_is_not_part_of_it() -> None:
    def two(x: Any) -> Any:
        first = fg.fori_loop(0, 3, lambda _, s: s * 2, x)
        second = fg.fori_loop(0, 3, lambda _, s: (s[0] * 2, s[1] + s[0]), (x, first))
        return first, *second

    run = fg.compile(two)
    assert [float(v) for v in run(1.0)] == [8.0, 8.0, 15.0]
    assert loops_of(run, 1.0) == 2
