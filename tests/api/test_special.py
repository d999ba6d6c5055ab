"""Special functions against SciPy: values, dtypes, gradients to the second order, compiled."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.special

import fusegrad as fg
from fusegrad import special
from fusegrad.testing import check_grads

Case = tuple[Callable[..., Any], Callable[..., Any], tuple[tuple[float, float], ...]]

CASES: dict[str, Case] = {
    "gammaln": (special.gammaln, scipy.special.gammaln, ((0.1, 30),)),
    "digamma": (special.digamma, scipy.special.digamma, ((1.6, 30),)),
    "gamma": (special.gamma, scipy.special.gamma, ((0.1, 8),)),
    "erfinv": (special.erfinv, scipy.special.erfinv, ((-0.99, 0.99),)),
    "erfcinv": (special.erfcinv, scipy.special.erfcinv, ((1e-6, 1.9),)),
    "i0": (special.i0, scipy.special.i0, ((-12, 12),)),
    "i0e": (special.i0e, scipy.special.i0e, ((0.2, 30),)),
    "i1": (special.i1, scipy.special.i1, ((-12, 12),)),
    "i1e": (special.i1e, scipy.special.i1e, ((0.2, 30),)),
    "expit": (special.expit, scipy.special.expit, ((-9, 9),)),
    "logit": (special.logit, scipy.special.logit, ((0.05, 0.4),)),
    "ndtr": (special.ndtr, scipy.special.ndtr, ((-5, 5),)),
    "log_ndtr": (special.log_ndtr, scipy.special.log_ndtr, ((-30, 3),)),
    "ndtri": (special.ndtri, scipy.special.ndtri, ((1e-6, 0.4),)),
    "entr": (special.entr, scipy.special.entr, ((0.01, 0.9),)),
    "polygamma 1": (
        lambda x: special.polygamma(1, x),
        lambda x: scipy.special.polygamma(1, x),
        ((0.1, 20),),
    ),
    "polygamma 3": (
        lambda x: special.polygamma(3, x),
        lambda x: scipy.special.polygamma(3, x),
        ((0.1, 20),),
    ),
    "multigammaln": (
        lambda x: special.multigammaln(x, 3),
        np.vectorize(lambda x: scipy.special.multigammaln(x, 3)),
        ((4.0, 9),),
    ),
    "xlogy": (special.xlogy, scipy.special.xlogy, ((0.1, 3), (0.2, 4))),
    "xlog1py": (special.xlog1py, scipy.special.xlog1py, ((0.1, 3), (-0.5, 4))),
    "rel_entr": (special.rel_entr, scipy.special.rel_entr, ((0.1, 3), (4, 9))),
    "kl_div": (special.kl_div, scipy.special.kl_div, ((0.1, 3), (4, 9))),
    "betaln": (special.betaln, scipy.special.betaln, ((0.5, 9), (0.5, 9))),
    "beta": (special.beta, scipy.special.beta, ((0.5, 5), (0.5, 5))),
}


def operands(ranges: tuple[tuple[float, float], ...], dtype: str, size: int = 257) -> list[Any]:
    rng = np.random.default_rng(0)
    return [rng.uniform(low, high, size).astype(dtype) for low, high in ranges]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, dtype: str) -> None:
    function, reference, ranges = CASES[name]
    given = operands(ranges, dtype)
    expected = reference(*(x.astype("float64") for x in given))
    tolerance = 2e-5 if dtype == "float32" else 3e-13
    recorded, compiled = function(*map(fg.asarray, given)), fg.compile(function)(*given)
    for result in (recorded, compiled):
        assert str(result.dtype) == dtype
        np.testing.assert_allclose(result.numpy(), expected, rtol=tolerance, atol=tolerance / 4)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name: str) -> None:
    function, _, ranges = CASES[name]
    middle = tuple((low + 0.2 * (high - low), high - 0.2 * (high - low)) for low, high in ranges)
    given = operands(middle, "float64", 5)
    check_grads(function, given, order=1 if name == "polygamma 3" else 2)


SPECIAL = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -0.5, -2.0, math.inf, -math.inf, math.nan]


@pytest.mark.parametrize(
    "name",
    ["gamma", "digamma", "erfinv", "i0e", "i1e", "expit", "entr", "ndtr", "ndtri", "log_ndtr"],
)
def test_special_values(name: str) -> None:
    function, reference, _ = CASES[name]
    x = np.array(SPECIAL)
    with np.errstate(all="ignore"):
        expected = reference(x)
    np.testing.assert_allclose(fg.compile(function)(x).numpy(), expected, rtol=1e-13, atol=1e-15)


def test_the_size_of_gamma_at_its_poles_and_ends() -> None:
    x = np.array([0.0, -1.0, -7.0, math.inf, -math.inf])
    assert np.isposinf(special.gammaln(x).numpy()).all()


def test_bessel_functions_of_infinity_are_infinite() -> None:
    x = np.array([math.inf, -math.inf])
    assert special.i0(x).tolist() == [math.inf, math.inf]
    assert special.i1(x).tolist() == [math.inf, -math.inf]


@pytest.mark.parametrize("x", [-0.3, -1.7, -5.2, -19.4])
def test_negative_arguments(x: float) -> None:
    for function, reference in (
        (special.gammaln, scipy.special.gammaln),
        (special.digamma, scipy.special.digamma),
        (special.gamma, scipy.special.gamma),
        (lambda v: special.polygamma(1, v), lambda v: _trigamma(v)),
    ):
        got = float(function(fg.asarray(np.float64(x))))
        assert got == pytest.approx(float(reference(x)), rel=1e-11)


def _trigamma(x: float) -> float:
    """By reflection: SciPy's polygamma loses digits here."""
    return (math.pi / math.sin(math.pi * x)) ** 2 - float(scipy.special.polygamma(1, 1 - x))


def test_zeta() -> None:
    s, q = np.meshgrid([1.1, 1.5, 2.0, 3.5, 9.0, 40.0], [0.01, 0.5, 1.0, 2.5, 30.0, 1e4])
    expected = scipy.special.zeta(s, q)
    np.testing.assert_allclose(fg.compile(special.zeta)(s, q).numpy(), expected, rtol=1e-13)
    poles = special.zeta(
        fg.asarray([2.0, 1.0, 0.5, 2.0]), fg.asarray([0.0, 2.0, 2.0, -1.5])
    ).numpy()
    np.testing.assert_array_equal(poles, [math.inf, math.inf, math.nan, math.nan])
    check_grads(lambda x: special.zeta(2.5, x), (np.array([0.3, 1.2, 4.0]),))


def test_zeta_has_no_derivative_by_its_exponent() -> None:
    with pytest.raises(fg.errors.NotDifferentiableError, match="zeta has no derivative by s"):
        fg.grad(lambda s: special.zeta(s, 2.0).sum())(fg.asarray([2.0]))


def test_products_with_zero_have_no_nan() -> None:
    zero = fg.asarray([0.0, 0.0])
    y = fg.asarray([0.0, math.nan])
    value = special.xlogy(zero, y).numpy()
    np.testing.assert_array_equal(value, [0.0, math.nan])
    gradient = fg.grad(lambda y: special.xlogy(zero[0], y))(fg.asarray(0.0))
    assert float(gradient) == 0.0


def test_logit_of_clipped_numbers() -> None:
    value = special.logit([0.0, 1.0, 0.5], eps=0.1).numpy()
    np.testing.assert_allclose(value, scipy.special.logit([0.1, 0.9, 0.5]), rtol=1e-5, atol=1e-7)
    assert fg.isnan(special.logit([-1.0, 2.0])).all()


@pytest.mark.parametrize(
    "call", [lambda: special.polygamma(-1, 1.0), lambda: special.polygamma(1.5, 1.0)]
)
def test_orders_of_polygamma(call: Callable[[], Any]) -> None:
    with pytest.raises(fg.errors.DTypeError, match="polygamma of order"):
        call()


def test_dimensions_of_multigammaln() -> None:
    with pytest.raises(fg.errors.DTypeError, match="multigammaln of dimension 0"):
        special.multigammaln(1.0, 0)


def test_integers_are_computed_as_floats() -> None:
    for name in ("gammaln", "erfinv", "i0", "gamma", "entr", "ndtr"):
        function, reference, _ = CASES[name]
        result = function(fg.asarray([0, 1]))
        assert result.dtype is fg.float32
        with np.errstate(all="ignore"):
            expected = reference(np.array([0.0, 1.0]))
        np.testing.assert_allclose(result.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (0,), (1,), (2, 0, 3), (2, 1, 3, 1, 2)])
def test_shapes(shape: tuple[int, ...]) -> None:
    x = np.full(shape, 0.25, "float32")
    assert fg.compile(special.erfinv)(x).shape == shape
    assert special.gammaln(x).shape == shape


# --- incomplete functions -------------------------------------------------------------------------


def _spread(low: float, high: float, seed: int) -> Any:
    return np.exp(np.random.default_rng(seed).uniform(np.log(low), np.log(high), 600))


@pytest.mark.parametrize("upper", [False, True])
def test_incomplete_gamma(upper: bool) -> None:
    a = _spread(0.02, 1e4, 1)
    x = a * _spread(0.2, 5, 2)
    function, reference = (
        (special.gammaincc, scipy.special.gammaincc)
        if upper
        else (special.gammainc, scipy.special.gammainc)
    )
    expected = reference(a, x)
    usual = expected > 1e-250
    got = fg.compile(function)(a, x).numpy()
    np.testing.assert_allclose(got[usual], expected[usual], rtol=1e-10)
    single = function(a.astype("float32"), x.astype("float32")).numpy()
    exact = reference(a.astype("float32").astype(float), x.astype("float32").astype(float))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, exact, rtol=1e-6, atol=1e-30)


def test_incomplete_beta() -> None:
    a, b = _spread(0.02, 1e3, 3), _spread(0.02, 1e3, 4)
    x = np.random.default_rng(5).uniform(0, 1, 600)
    expected = scipy.special.betainc(a, b, x)
    usual = expected > 1e-250
    got = fg.compile(special.betainc)(a, b, x).numpy()
    np.testing.assert_allclose(got[usual], expected[usual], rtol=1e-10)


@pytest.mark.parametrize(
    ("function", "reference", "count"),
    [
        (special.gammainc, scipy.special.gammainc, 2),
        (special.gammaincc, scipy.special.gammaincc, 2),
        (special.betainc, scipy.special.betainc, 3),
    ],
)
def test_ends_of_incomplete_functions(
    function: Callable[..., Any], reference: Callable[..., Any], count: int
) -> None:
    values = [0.0, 1.0, 2.5, math.inf, -1.0, math.nan, 30.0]
    if count == 3:
        values = [0.0, 1.0, 0.5, 2.0, -1.0, math.nan]
    grid = [g.ravel() for g in np.meshgrid(*[values] * count)]
    if count == 3:
        # SciPy extends the function to parameters of zero.
        positive = ~((grid[0] == 0) | (grid[1] == 0))
        grid = [g[positive] for g in grid]
    np.testing.assert_allclose(function(*grid).numpy(), reference(*grid), rtol=1e-12)


def test_gradients_of_incomplete_functions() -> None:
    a, x = np.array([0.7, 5.0, 30.0, 40.0]), np.array([0.4, 9.0, 33.0, 10.0])
    density = np.exp((a - 1) * np.log(x) - x - scipy.special.gammaln(a))
    slope = fg.grad(lambda x: special.gammainc(fg.asarray(a), x).sum())(fg.asarray(x))
    np.testing.assert_allclose(slope.numpy(), density, rtol=1e-9)
    check_grads(special.gammaincc, (a, x), order=1)
    check_grads(special.betainc, (a, x, np.array([0.3, 0.5, 0.4, 0.8])), order=1)
