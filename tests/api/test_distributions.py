"""Distributions: the theorem of Kolmogorov and Smirnov, moments, one stream for all ways to run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats as stats

import fusegrad as fg
from fusegrad import random

N = 20_000
Draw = Callable[..., Any]

CONTINUOUS: dict[str, tuple[Draw, Any]] = {
    "exponential": (lambda **k: random.exponential(2.0, N, **k), stats.expon(scale=2)),
    "gumbel": (lambda **k: random.gumbel(1.0, 2.0, N, **k), stats.gumbel_r(1, 2)),
    "laplace": (lambda **k: random.laplace(1.0, 2.0, N, **k), stats.laplace(1, 2)),
    "logistic": (lambda **k: random.logistic(1.0, 2.0, N, **k), stats.logistic(1, 2)),
    "cauchy": (lambda **k: random.cauchy(1.0, 2.0, N, **k), stats.cauchy(1, 2)),
    "weibull": (lambda **k: random.weibull(1.5, 2.0, N, **k), stats.weibull_min(1.5, scale=2)),
    "pareto": (lambda **k: random.pareto(2.5, 2.0, N, **k), stats.pareto(2.5, scale=2)),
    "lognormal": (
        lambda **k: random.lognormal(0.3, 0.5, N, **k),
        stats.lognorm(0.5, scale=math.exp(0.3)),
    ),
    "truncated": (
        lambda **k: random.truncated_normal(-1.0, 3.0, N, mean=1.0, std=2.0, **k),
        stats.truncnorm(-1, 1, 1, 2),
    ),
    "gamma 0.2": (lambda **k: random.gamma(0.2, 3.0, N, **k), stats.gamma(0.2, scale=3)),
    "gamma 1": (lambda **k: random.gamma(1.0, shape=N, **k), stats.gamma(1)),
    "gamma 50": (lambda **k: random.gamma(50.0, shape=N, **k), stats.gamma(50)),
    "chisquare": (lambda **k: random.chisquare(3.0, N, **k), stats.chi2(3)),
    "student": (lambda **k: random.student_t(4.0, 1.0, 2.0, N, **k), stats.t(4, 1, 2)),
    "beta": (lambda **k: random.beta(0.5, 2.0, N, **k), stats.beta(0.5, 2)),
}
DISCRETE: dict[str, tuple[Draw, Any]] = {
    "poisson 0": (lambda **k: random.poisson(0.0, N, **k), stats.poisson(0)),
    "poisson 0.3": (lambda **k: random.poisson(0.3, N, **k), stats.poisson(0.3)),
    "poisson 9.9": (lambda **k: random.poisson(9.9, N, **k), stats.poisson(9.9)),
    "poisson 10": (lambda **k: random.poisson(10.0, N, **k), stats.poisson(10)),
    "poisson 300": (lambda **k: random.poisson(300.0, N, **k), stats.poisson(300)),
    "binomial 7": (lambda **k: random.binomial(7, 0.3, N, **k), stats.binom(7, 0.3)),
    "binomial 9": (lambda **k: random.binomial(9, 0.9, N, **k), stats.binom(9, 0.9)),
    "binomial 100": (lambda **k: random.binomial(100, 0.4, N, **k), stats.binom(100, 0.4)),
    "binomial 1000": (lambda **k: random.binomial(1000, 0.85, N, **k), stats.binom(1000, 0.85)),
    "geometric": (lambda **k: random.geometric(0.3, N, **k), stats.geom(0.3)),
}
ALL = {**CONTINUOUS, **DISCRETE}


@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous(name: str) -> None:
    draw, law = CONTINUOUS[name]
    x = draw(generator=random.Generator(11)).numpy()
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    assert stats.kstest(x, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("name", DISCRETE)
def test_discrete(name: str) -> None:
    draw, law = DISCRETE[name]
    x = draw(generator=random.Generator(11)).numpy()
    assert x.dtype == np.int64
    values, counts = np.unique(x, return_counts=True)
    low, high = law.ppf([5e-4, 1 - 5e-4])
    inside = np.arange(low, high + 1)
    expected = N * np.array([law.pmf(v) for v in inside])
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    got = np.array([found.get(int(v), 0) for v in inside])
    likely = expected >= 5
    statistic = float((((got - expected) ** 2) / np.maximum(expected, 1e-9))[likely].sum())
    assert stats.chi2.sf(statistic, max(int(likely.sum()) - 1, 1)) > 1e-3
    assert got.sum() > 0.995 * N


@pytest.mark.parametrize("name", ALL)
def test_compiled_code_draws_the_same(name: str) -> None:
    draw, _ = ALL[name]
    generator = random.Generator(5)
    recorded = draw(generator=generator).numpy()
    used = int(generator.offset)
    generator.seed(5)
    compiled = fg.compile(lambda: draw(generator=generator))
    first = compiled().numpy()
    assert int(generator.offset) == used
    if first.dtype == np.int64:
        # A rounding may move a number over the edge of an integer.
        assert (first != recorded).mean() < 1e-3
    else:
        np.testing.assert_allclose(first, recorded, rtol=2e-4, atol=2e-4)
    assert (compiled().numpy() != first).any() or name == "poisson 0"


def test_parameters_are_broadcast_and_fix_the_dtype() -> None:
    x = random.gamma([[1.0], [2.0]], [1.0, 2.0, 3.0])
    assert x.shape == (2, 3)
    assert random.exponential(fg.asarray([1.0, 2.0], dtype="float64")).dtype is fg.float64
    assert random.exponential(1.0, 3, dtype="float64").dtype is fg.float64
    assert random.gumbel(shape=()).shape == ()
    assert random.beta(1.0, 1.0, (2, 0)).shape == (2, 0)
    assert random.poisson([1.0, 20.0], (3, 2), dtype="int32").dtype is fg.int32


def test_parameters_that_do_not_fit() -> None:
    with pytest.raises(fg.errors.ShapeError, match=r"parameters of shape \(3,\) do not fit a draw"):
        random.exponential([1.0, 2.0, 3.0], (3, 2))
    with pytest.raises(fg.errors.DTypeError, match="laplace has no numbers of int32"):
        random.laplace(dtype="int32")


def test_gradients_reach_places_and_scales() -> None:
    generator = random.Generator(3)

    def total(scale: Any) -> Any:
        generator.seed(3)
        return random.exponential(scale, 100, generator=generator).sum()

    scale = fg.asarray(2.0)
    assert float(fg.grad(total)(scale)) == pytest.approx(float(total(scale)) / 2, rel=1e-5)
    assert float(fg.grad(lambda a: random.gamma(a, shape=10).sum())(scale)) == 0.0


def test_dirichlet() -> None:
    a = np.array([0.5, 2.0, 3.5])
    x = random.dirichlet(a, N, generator=random.Generator(2)).numpy()
    np.testing.assert_allclose(x.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(x.mean(axis=0), a / a.sum(), atol=0.01)
    assert stats.kstest(x[:, 0], stats.beta(0.5, 5.5).cdf).pvalue > 1e-3
    with pytest.raises(fg.errors.ShapeError, match="the concentration has no axis"):
        random.dirichlet(1.0)


def test_categorical() -> None:
    p = np.array([[0.1, 0.2, 0.7], [0.6, 0.4, 0.0]])
    with np.errstate(divide="ignore"):
        logits = np.log(p)
    x = random.categorical(logits, shape=(N, 2), generator=random.Generator(4)).numpy()
    assert x.shape == (N, 2)
    for row in range(2):
        counts = np.bincount(x[:, row], minlength=3) / N
        np.testing.assert_allclose(counts, p[row], atol=0.015)
    assert random.categorical(logits.T, axis=0).shape == (2,)
    with pytest.raises(fg.errors.ShapeError, match="does not end with"):
        random.categorical(logits, shape=(2, 5))


def test_multinomial() -> None:
    w = np.array([0.0, 1.0, 3.0, 4.0])
    x = random.multinomial(w, N, replacement=True, generator=random.Generator(4)).numpy()
    np.testing.assert_allclose(np.bincount(x, minlength=4) / N, w / 8, atol=0.015)
    y = random.multinomial(np.tile(w, (50, 1)), 3).numpy()
    assert y.shape == (50, 3)
    assert (np.sort(y, axis=1) == [1, 2, 3]).all()
    with pytest.raises(fg.errors.ShapeError, match="5 of 4 classes without replacement"):
        random.multinomial(w, 5)


def test_orders() -> None:
    x = random.randperm(1000, generator=random.Generator(1)).numpy()
    assert sorted(x.tolist()) == list(range(1000))
    assert abs(np.corrcoef(x, np.arange(1000))[0, 1]) < 0.1
    rows = np.arange(12.0).reshape(4, 3)
    mixed = random.permutation(rows).numpy()
    assert sorted(mixed[:, 0].tolist()) == [0.0, 3.0, 6.0, 9.0]
    np.testing.assert_array_equal(mixed - mixed[:, :1], rows - rows[:, :1])
    assert sorted(random.permutation(rows, axis=1)[0].tolist()) == [0.0, 1.0, 2.0]
    seen = {tuple(random.randperm(3).tolist()) for _ in range(200)}
    assert len(seen) == 6
    with pytest.raises(fg.errors.DTypeError, match="randperm of -1"):
        random.randperm(-1)


def test_shuffle_in_place() -> None:
    x = fg.arange(100)
    random.shuffle(x, generator=random.Generator(1))
    assert x.tolist() != list(range(100))
    assert sorted(x.tolist()) == list(range(100))


def test_choice() -> None:
    assert set(random.choice(5, 500).tolist()) == set(range(5))
    assert sorted(random.choice(5, 5, replace=False).tolist()) == list(range(5))
    assert random.choice([[1, 2], [3, 4]], (4, 5)).shape == (4, 5, 2)
    assert random.choice([[1, 2, 3], [4, 5, 6]], (4,), axis=1).shape == (2, 4)
    counts = np.bincount(random.choice(3, N, p=[0.5, 0.5, 0.0]).numpy(), minlength=3) / N
    np.testing.assert_allclose(counts, [0.5, 0.5, 0], atol=0.015)
    assert set(random.choice(3, 2, replace=False, p=[0.5, 0.5, 0.0]).tolist()) == {0, 1}
    with pytest.raises(fg.errors.ShapeError, match="6 of 5 without replacement"):
        random.choice(5, 6, replace=False)
    with pytest.raises(fg.errors.ShapeError, match="nothing to choose from"):
        random.choice(0, 1)


def test_signs() -> None:
    x = random.rademacher(N, generator=random.Generator(8)).numpy()
    assert set(x.tolist()) == {-1.0, 1.0}
    assert abs(x.mean()) < 0.03
