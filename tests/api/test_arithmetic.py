"""Elementwise functions beside those of the array API: NumPy's values, and gradients."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.testing import check_grads

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-310, -7e300]
RNG = np.random.default_rng(4)
UNARY = ("cbrt", "sinc", "deg2rad", "rad2deg", "isposinf", "isneginf", "degrees", "radians")
BINARY = ("fmod", "fmax", "fmin", "float_power", "heaviside", "logaddexp2")


def grid(dtype: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    with np.errstate(over="ignore"):
        values = np.array([*SPECIAL, *RNG.normal(size=9)]).astype(dtype)
    a, b = np.meshgrid(values, values)
    return a, b


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*UNARY, *BINARY])
def test_floats(name: str, dtype: str) -> None:
    operands = grid(dtype)[: 1 + (name in BINARY)]
    function = getattr(fg, name)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*operands)
    epsilon = 20 * np.finfo(dtype).eps
    for result in (function(*operands), fg.compile(function)(*operands)):
        assert result.dtype.numpy == expected.dtype
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(result.numpy(), expected, epsilon, epsilon)


@pytest.mark.parametrize("name", ["fmod", "fmax", "fmin", "gcd", "lcm"])
@pytest.mark.parametrize("dtype", ["int8", "int32", "int64", "uint8", "uint64"])
def test_integers(name: str, dtype: str) -> None:
    low = 0 if dtype.startswith("u") else -100
    values = np.arange(low, 101, 7).astype(dtype)
    a, b = np.meshgrid(values, values)
    function = getattr(fg, name)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    np.testing.assert_array_equal(function(a, b).numpy(), expected, strict=True)
    np.testing.assert_array_equal(fg.compile(function)(a, b).numpy(), expected, strict=True)


def test_gcd_at_its_limits() -> None:
    # Neighbours in Fibonacci's sequence take most steps.
    a, b = 7540113804746346429, 4660046610375530309
    assert fg.gcd(a, fg.asarray([b, 0, a])).tolist() == [1, a, a]
    assert fg.compile(fg.gcd)(np.array([[a], [12]]), np.array([b, 18])).tolist() == [
        [1, math.gcd(a, 18)],
        [math.gcd(12, b), 6],
    ]
    assert fg.gcd(fg.asarray(0), 0).tolist() == 0
    assert fg.lcm(fg.asarray([0, 4]), fg.asarray([0, -6])).tolist() == [0, 12]
    assert fg.vmap(fg.gcd, (0, None))(fg.asarray([4, 6]), fg.asarray(10)).tolist() == [2, 2]
    with pytest.raises(TypeError, match="gcd does not take float32"):
        fg.gcd(1.5, 2.5)


def test_gradients() -> None:
    x, y = RNG.uniform(0.6, 2, 5), RNG.uniform(2.2, 3, 5)
    check_grads(fg.cbrt, (x,))
    check_grads(lambda x: fg.fmax(x, y) * fg.fmin(x, y - 1), (x,))
    check_grads(fg.logaddexp2, (x, y))
    check_grads(lambda a, b: fg.fmod(b, a), (RNG.uniform(1.1, 1.4, 3), np.full(3, 2.4)))
    check_grads(fg.float_power, (x, y))
    check_grads(lambda x: fg.rad2deg(x) * fg.deg2rad(x), (x,))
    check_grads(lambda a, b, w: fg.lerp(a, b, w), (x, y, 0.3))
    check_grads(lambda a, b, c: fg.addcmul(a, b, c, value=2) + fg.addcdiv(a, b, c), (x, y, x + y))
    check_grads(lambda x: fg.modf(x)[0] * fg.frexp(x)[0], (RNG.uniform(1.1, 1.9, 4),))
    check_grads(lambda x: fg.ldexp(x, fg.asarray([1, -2, 3, 0, 5])), (x,))


def test_sinc_near_zero() -> None:
    check_grads(fg.sinc, (np.array([0.0, 1e-3, 0.0159, 0.016, -0.7, 2.5]),), rtol=1e-4)
    curvature = fg.grad(fg.grad(fg.sinc))(fg.asarray(0.0, dtype="float64"))
    np.testing.assert_allclose(float(curvature), -(math.pi**2) / 3, 1e-12)


def test_a_number_beside_nan_takes_the_gradient() -> None:
    a, b = fg.asarray([math.nan, 1.0, 2.0]), fg.asarray([5.0, math.nan, 2.0])
    ga, gb = fg.grad(lambda a, b: fg.fmax(a, b).sum(), argnums=(0, 1))(a, b)
    assert (ga.tolist(), gb.tolist()) == ([0, 1, 0.5], [1, 0, 0.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parts_of_numbers(dtype: str) -> None:
    info = np.finfo(dtype)
    near = np.nextafter(np.array([1, 2, 4, 0.5], dtype), np.zeros(4, dtype))
    values = [0.0, -0.0, 1.0, -2.5, 1e10, math.inf, -math.inf, math.nan, info.max, info.tiny]
    x = np.array([*values, info.smallest_subnormal, -info.smallest_subnormal * 9, *near], dtype)
    for way in (lambda f: f, fg.compile):
        mantissa, power = way(lambda x: fg.frexp(x))(x)
        expected = np.frexp(x)
        finite = np.isfinite(x)
        np.testing.assert_array_equal(mantissa.numpy(), expected[0], strict=True)
        np.testing.assert_array_equal(power.numpy()[finite], expected[1][finite])
        np.testing.assert_array_equal(way(fg.ldexp)(mantissa, power).numpy(), x)
        for found, wanted in zip(way(lambda x: fg.modf(x))(x), np.modf(x), strict=True):
            np.testing.assert_array_equal(found.numpy(), wanted)
            np.testing.assert_array_equal(np.signbit(found.numpy()), np.signbit(wanted))
    assert power.dtype is fg.int32
    far = fg.ldexp(fg.asarray([1.0, 1.0, 3.0]), fg.asarray([5000, -5000, 2]))
    assert far.tolist() == [math.inf, 0, 12]
    with pytest.raises(TypeError, match="ldexp with an exponent of float32"):
        fg.ldexp(1.0, 2.0)


def test_others() -> None:
    quotient, rest = fg.divmod([7, -7], 3)
    assert (quotient.tolist(), rest.tolist()) == ([2, -3], [1, 2])
    wide = fg.asarray([1.0, 2.0], dtype="float64")
    assert fg.lerp(wide, wide * 2, 0.3).tolist() == [1.3, 2.6]
    assert fg.addcmul(wide, 0.1, wide).tolist() == [1.1, 2.2]
    assert fg.clamp([1, 5], max=3).tolist() == [1, 3]
    assert fg.isclose(np.array([3], np.uint8), np.array([4], np.uint8)).tolist() == [False]
    assert fg.isclose([True], [False]).tolist() == [False]
