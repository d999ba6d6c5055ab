"""Compiled functions give what the interpreter gives, for the public functions, many at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.ops.elementwise import FUNCTIONS

RNG = np.random.default_rng(11)
A = RNG.standard_normal((2, 3, 4)).astype(np.float32)


def check(function: Callable[..., list[Any]], *args: Any, rtol: float = 1e-5) -> None:
    """The function gives the same recorded and compiled; its results are told apart by place."""
    plain = function(*map(fg.asarray, args))
    compiled = fg.compile(function)(*args)
    assert len(plain) == len(compiled)
    for place, (x, y) in enumerate(zip(plain, compiled, strict=True)):
        a, b = x.numpy(), y.numpy()
        assert (a.shape, a.dtype) == (b.shape, b.dtype), place
        np.testing.assert_allclose(b, a, rtol=rtol, atol=1e-6, err_msg=str(place))


def test_elementwise() -> None:
    floats = [row for row in FUNCTIONS.values() if "float" in row.public.takes]
    whole = [row for row in FUNCTIONS.values() if "int" in row.public.takes]

    def run(x: Any, i: Any) -> list[Any]:
        """Of each function of floats with numbers where it is defined, and of integers."""
        results = []
        for row in floats:
            pairs = zip(x, row.ranges, strict=False)
            operands = [low + (high - low) * part for part, (low, high) in pairs]
            results.append(getattr(fg, row.name)(*operands))
        return results + [getattr(fg, row.name)(*i[: len(row.ranges)]) for row in whole]

    check(run, RNG.uniform(0, 1, (2, 5, 7)).astype(np.float32), RNG.integers(1, 9, (2, 5, 7)))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_movement(dtype: str) -> None:
    def run(x: Any) -> list[Any]:
        return [
            fg.reshape(x, (4, -1)),
            fg.permute_dims(x, (2, 0, 1)),
            fg.moveaxis(x, 0, -1),
            fg.squeeze(x[:1], 0),
            fg.flip(x, (0, 2)),
            fg.roll(x, (1, -1), (0, 2)),
            fg.tile(x, (2, 1, 1, 2)),
            fg.repeat(x, 2, 1),
            fg.concat([x, x[:, :1]], axis=1),
            fg.stack([x, x], axis=-1),
            fg.pad(x, [(0, 0), (1, 2), (3, 0)], constant_values=1),
            fg.tril(x, k=1),
            fg.broadcast_to(x[:, :1], (5, 2, 3, 4)),
            fg.take(x, [2, 0, -1], axis=1),
            fg.take_along_axis(x, fg.argmax(x, 1, keepdims=True), axis=1),
            x[:, ::-1, 3:0:-2],
            x[0, [0, 2], 1:3],
            x[[1, 0], [1, 2], [0, -1]],
            x[..., np.array([[0, 1], [2, 3]])],
            x[range(2), [2, 1]],
            x[1:1],
        ]

    check(run, (A * 3).astype(dtype))


def test_assignment() -> None:
    keys: list[Any] = [
        0,
        slice(None),
        (slice(None), 1),
        (..., slice(None, None, 2)),
        (slice(None), slice(None, None, -1), slice(3, 0, -2)),
        (slice(1, 1),),
        (1, 2, 3),
    ]

    def run(x: Any) -> list[Any]:
        results = []
        for key in keys:
            y = x.clone()
            y[key] = y[key] * -2 + 1
            results.append(y)
        masked = x.clone()
        masked[x > 0] = 7
        return [*results, masked, x.masked_fill(x < 0, 0)]

    check(run, A)


def test_reductions() -> None:
    def run(x: Any) -> list[Any]:
        names = ("sum", "prod", "max", "min", "mean", "any", "all", "std", "var", "logsumexp")
        results = []
        for name in names:
            for axis in (None, 0, 2, (0, 2)):
                results.append(getattr(fg, name)(x, axis=axis, keepdims=axis == 2))
        for name in ("argmax", "argmin"):
            results += [getattr(fg, name)(x, axis) for axis in (None, 0, 2)]
        return results

    check(run, A)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool"])
def test_reductions_of_integers(dtype: str) -> None:
    def run(x: Any) -> list[Any]:
        return [fg.sum(x, 0), fg.prod(x, 1), fg.max(x, 2), fg.mean(x), fg.argmax(x, 0), fg.any(x)]

    check(run, np.abs(A * 3).astype(dtype))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_products(dtype: str) -> None:
    shapes = [(4,), (3, 4), (4, 5), (2, 3, 4), (2, 4, 5), (6, 1, 3, 4)]
    arrays = [(RNG.standard_normal(shape) * 4).astype(dtype) for shape in shapes]

    def run(v: Any, m: Any, n: Any, b: Any, c: Any, d: Any) -> list[Any]:
        return [v @ v, m @ v, v @ n, m @ n, b @ n, b @ c, b @ v, v @ c, d @ c, m @ m.T, b @ b.mT]

    check(run, *arrays)


def test_einsum() -> None:
    formulas = ["ij,jk->ik", "ij,kj->ik", "ii->i", "ij->j", "ij,ij->", "ij,jk,kl->il", "ij,j->ij"]

    def run(x: Any) -> list[Any]:
        pick = {"j": x[0]}
        return [
            fg.einsum(f, *[pick.get(names, x) for names in f.split("->")[0].split(",")])
            for f in formulas
        ]

    check(run, RNG.standard_normal((4, 4)))


def test_gradients() -> None:
    losses: list[Callable[[Any], Any]] = [
        lambda y: (fg.tanh(y) @ y.mT).sum(),
        lambda y: (y[:, [0, 2, 2]] ** 2).sum(),
        lambda y: fg.std(y, axis=1).sum(),
        lambda y: fg.max(y, axis=1).sum(),
        lambda y: fg.prod(y, axis=1).sum(),
        lambda y: fg.logsumexp(y, axis=-1).sum(),
        lambda y: fg.grad(lambda z: (z**3 * fg.sin(z)).sum())(y).sum(),
        lambda y: (fg.pad(y, 1)[:, ::2] * fg.sigmoid(y).sum()).sum(),
        lambda y: fg.take_along_axis(y, fg.argmin(y, 1, keepdims=True), 1).sum(),
    ]

    def run(x: Any) -> list[Any]:
        return [fg.grad(loss)(x) for loss in losses]

    check(run, A.astype(np.float64), rtol=1e-10)


def test_custom_rules() -> None:
    @fg.custom_vjp
    def f(x: fg.Tensor, scale: fg.Tensor) -> fg.Tensor:
        return fg.exp(x) * scale

    f.defvjp(
        lambda x, scale: (fg.exp(x) * scale, (x, scale)),
        lambda residuals, g: (g * residuals[0] * 5, g * residuals[1]),
    )

    def run(x: Any) -> list[Any]:
        return [f(x, x * 2), *fg.grad(lambda a, b: f(a, b * b).sum(), argnums=(0, 1))(x, x)]

    check(run, A)


def test_numbers_and_dtypes() -> None:
    def run(x: Any, rate: Any, count: Any) -> list[Any]:
        if not isinstance(rate, fg.Tensor):
            return []
        above = fg.where(x > rate, x, 0)
        return [x * rate, x + count, x / count, rate * count + x, x**count, above]

    compiled = fg.compile(run)
    for rate, count in ((0.1, 3), (0.7, 2)):
        results = compiled(A, rate, count)
        expected = [A * rate, A + count, A / count, rate * count + A, A**count, A * (rate < A)]
        for actual, wanted in zip(results, expected, strict=True):
            assert actual.dtype is fg.float32
            np.testing.assert_allclose(actual.numpy(), wanted, rtol=2e-6)
    assert compiled.stats().compiles == 1
