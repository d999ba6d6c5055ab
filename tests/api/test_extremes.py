"""Derivatives where formulas break: at corners, zeros and poles, at numbers too large to square."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import special

import fusegrad as fg
import fusegrad.nn.functional as F


def derivatives(function: Any, at: list[float], dtype: str = "float32") -> list[list[float]]:
    """The value and two derivatives at points, compiled; as uncompiled."""
    first = fg.grad(lambda x: function(x).sum())
    second = fg.grad(lambda x: first(x).sum())
    x = np.array(at, dtype)
    plain = [np.asarray(f(x)) for f in (function, first, second)]
    fast = fg.compile(lambda x: (function(x), first(x), second(x)))(x)
    for a, b in zip(plain, fast, strict=True):
        np.testing.assert_allclose(a, np.asarray(b), rtol=2e-5, atol=1e-30)
    return [np.asarray(values).tolist() for values in fast]


@pytest.mark.parametrize(
    ("function", "sign"),
    [
        (F.softplus, 1),
        (F.logsigmoid, -1),
        (lambda x: F.binary_cross_entropy_with_logits(x, x * 0 + 1, reduction="none"), 1),
    ],
)
def test_logarithms_of_sigmoids_are_smooth_at_zero(function: Any, sign: int) -> None:
    _, first, second = derivatives(function, [0.0, -0.0])
    assert np.abs(first).tolist() == [0.5, 0.5]
    assert second == [sign * 0.25] * 2


@pytest.mark.parametrize(
    ("function", "below", "above"),
    [
        (F.softplus, 0, 1),
        (F.silu, 0, 1),
        (F.gelu, 0, 1),
        (F.mish, 0, 1),
        (F.sigmoid, 0, 0),
        (F.hardswish, 0, 1),
        (F.logsigmoid, 1, 0),
        (F.elu, 0, 1),
        (F.selu, 0, 1.0507009873554805),
        (fg.tanh, 0, 0),
        (fg.erf, 0, 0),
        (fg.arctan, 0, 0),
        (lambda x: fg.logaddexp(x, 0), 0, 1),
        (lambda x: fg.logsumexp(fg.stack([x, fg.ones_like(x)]), axis=0), 0, 1),
        (lambda x: F.log_softmax(fg.stack([x, fg.ones_like(x)]), 0)[0], 1, 0),
    ],
)
def test_far_out_derivatives_are_their_limits(function: Any, below: float, above: float) -> None:
    value, first, second = derivatives(function, [-1e4, -1e18, -1e30, 1e4, 1e18, 1e30])
    assert np.isfinite(value).all()
    np.testing.assert_allclose(first, [below] * 3 + [above] * 3, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(second, [0] * 6, atol=2e-7)


@pytest.mark.parametrize(
    ("function", "below", "above"),
    [
        (F.softplus, 0, 1),
        (F.sigmoid, 0, 0),
        (F.logsigmoid, 1, 0),
        (F.hardswish, 0, 1),
        (fg.tanh, 0, 0),
        (lambda x: fg.logaddexp(x, 0), 0, 1),
    ],
)
def test_derivatives_at_infinity(function: Any, below: float, above: float) -> None:
    _, first, second = derivatives(function, [-np.inf, np.inf])
    assert first == [below, above]
    assert second == [0, 0]


def test_bessel_functions_near_zero() -> None:
    at = [0.0, 1e-30, 1e-12, 1e-3, 0.49, 0.51, -0.2, -3.0]
    value, first, second = derivatives(fg.special.i1, at, "float64")
    x = np.array(at)
    np.testing.assert_allclose(value, special.i1(x), rtol=1e-14)
    np.testing.assert_allclose(first, (special.i0(x) + special.iv(2, x)) / 2, rtol=1e-14)
    exact = (3 * special.i1(x) + special.iv(3, x)) / 4
    np.testing.assert_allclose(second, exact, rtol=1e-12, atol=1e-16)
    slopes = derivatives(fg.special.i1e, [1e-30, -1e-30], "float64")
    np.testing.assert_allclose(slopes[1:], [[0.5, 0.5], [-1.0, 1.0]], rtol=1e-14)


def test_gamma_functions_left_of_zero() -> None:
    at = [-1e-30, -1e-20, -1e-10, -0.5, -1.5, -7.25]
    x = np.array(at, "float32")
    np.testing.assert_allclose(
        np.asarray(fg.compile(fg.special.gammaln)(x)), special.gammaln(x), rtol=1e-5
    )
    _, first, second = derivatives(fg.special.digamma, at[3:], "float64")
    np.testing.assert_allclose(first, special.zeta(2, at[3:]), rtol=1e-12)
    np.testing.assert_allclose(second, -2 * special.zeta(3, at[3:]), rtol=1e-9)


def test_a_length_of_zero_has_no_second_derivative() -> None:
    for p, q in ((0.0, 0.0), (-0.0, 0.0)):
        assert float(fg.grad(fg.grad(fg.hypot))(p, q)) == 0


@pytest.mark.parametrize("function", [F.silu, F.gelu, F.mish])
def test_products_with_infinity_have_no_derivative(function: Any) -> None:
    assert np.isnan(derivatives(function, [-np.inf, np.inf])[1]).all()


@pytest.mark.parametrize("function", [F.elu, F.celu])
def test_a_corner_is_taken_from_below(function: Any) -> None:
    assert derivatives(function, [0.0, -0.0])[2] == [1.0, 1.0]


NEVER = 100.0


@pytest.mark.parametrize(
    "branch",
    [
        lambda a: fg.max(fg.log(a)),
        lambda a: fg.min(fg.sqrt(a)),
        lambda a: fg.prod(fg.log(a)),
        lambda a: fg.sum(fg.log(a) * a),
        lambda a: fg.var(fg.log(a)),
        lambda a: fg.linalg.vector_norm(fg.sqrt(a)),
        lambda a: fg.prod(fg.max(fg.reshape(fg.log(a), (3, 1)) - a, axis=1)),
    ],
)
def test_no_nan_through_reductions_of_a_branch_that_is_not_taken(branch: Any) -> None:
    first = fg.grad(lambda a: fg.where(a.sum() > NEVER, branch(a), 0.0))
    for run in (first, fg.compile(first)):
        assert np.asarray(run(np.array([0.0, 1.0, 4.0]))).tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    "branch",
    [
        lambda a: (fg.log(a) @ fg.ones((3, 2))).sum(),
        lambda a: fg.cumulative_sum(fg.log(a)).sum(),
        lambda a: fg.sort(fg.log(a))[0],
        lambda a: fg.scan(lambda s, v: (s + fg.log(v), None), a[1] * 0, a)[0],
    ],
)
def test_a_second_where_helps_everywhere(branch: Any) -> None:
    taken = lambda a: a.sum() > NEVER  # noqa: E731
    safe = lambda a: branch(fg.where(taken(a), a, 1.0))  # noqa: E731
    first = fg.grad(lambda a: fg.where(taken(a), safe(a), 0.0))
    for run in (first, fg.compile(first)):
        assert np.asarray(run(np.array([0.0, 1.0, 4.0]))).tolist() == [0, 0, 0]
