"""The error bounds of special functions, against mpmath."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

from fusegrad.codegen.dtypes import DType, float32, float64
from fusegrad.codegen.scalar import TABLE
from tests.codegen.test_scalar_math import FLOATS, computed, errors

Function = Callable[[Any], Any]


def _erfcinv(q: Any) -> Any:
    if q > 0.5:
        return mpmath.erfinv(1 - q)
    start = mpmath.sqrt(-mpmath.log(q)) * 0.9
    return mpmath.findroot(lambda y: mpmath.log(mpmath.erfc(y)) - mpmath.log(q), start)


# The reference, and ranges to sample: evenly, or evenly in the exponent.
FUNCTIONS: dict[str, tuple[Function, tuple[tuple[float, float, bool], ...]]] = {
    "lgamma": (mpmath.loggamma, ((0.01, 12, False), (12, 1e5, False), (1e-30, 1e30, True))),
    "digamma": (mpmath.digamma, ((0.01, 40, False), (1.4, 1.5, False), (40, 1e30, True))),
    "trigamma": (lambda x: mpmath.polygamma(1, x), ((0.01, 40, False), (40, 1e15, True))),
    "erfinv": (mpmath.erfinv, ((-0.9999, 0.9999, False), (1e-30, 0.1, True))),
    "erfcinv": (_erfcinv, ((1e-3, 1.9, False), (1e-36, 1e-3, True))),
    "i0": (lambda x: mpmath.besseli(0, x), ((-80, 80, False), (1e-10, 1, True))),
    "i1": (lambda x: mpmath.besseli(1, x), ((-80, 80, False), (1e-10, 1, True))),
    "i0e": (lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), ((-300, 300, False),)),
    "i1e": (lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), ((-300, 300, False),)),
}


def _exact(function: Function, x: np.ndarray[Any, Any]) -> Any:
    """Rounded to long double, in two parts."""
    values = []
    with mpmath.workdps(40):
        for v in x:
            exact = mpmath.re(function(mpmath.mpf(float(v))))
            high = float(exact)
            values.append(np.longdouble(high) + np.longdouble(float(exact - mpmath.mpf(high))))
    return np.array(values, np.longdouble)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_error_bounds(name: str, dtype: DType) -> None:
    function, ranges = FUNCTIONS[name]
    random = np.random.default_rng(5)
    parts = []
    for low, high, geometric in ranges:
        ends = np.log([low, high]) if geometric else (low, high)
        drawn = random.uniform(*ends, 120)
        parts.append(np.exp(drawn) if geometric else drawn)
    x = np.concatenate(parts).astype(dtype.numpy)
    exact = _exact(function, x)
    measured = errors(computed(name, x), exact, np.abs(exact), dtype)
    worst = int(np.argmax(measured))
    assert measured[worst] <= TABLE[name].max_ulp[dtype], (
        f"{name} errs by {measured[worst]:.2f} ulp at {float(x[worst])}"
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_zeta(dtype: DType) -> None:
    random = np.random.default_rng(6)
    s = random.uniform(1.05, 20, 200).astype(dtype.numpy)
    q = np.exp(random.uniform(-2, 5, 200)).astype(dtype.numpy)
    # mpmath loses digits here.
    exact = scipy.special.zeta(s.astype(np.float64), q.astype(np.float64))
    measured = errors(computed("zeta", s, q), exact, exact, dtype)
    assert measured.max() <= TABLE["zeta"].max_ulp[dtype]


def test_lgamma_near_its_zeros() -> None:
    """Where it is small it is as exact as elsewhere."""
    for dtype in (float32, float64):
        steps = np.array([-1e-3, -1e-5, 1e-5, 1e-3])
        x = np.concatenate([1 + steps, 2 + steps]).astype(dtype.numpy)
        exact = _exact(mpmath.loggamma, x)
        assert errors(computed("lgamma", x), exact, np.abs(exact), dtype).max() <= 6
