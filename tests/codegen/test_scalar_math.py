"""Scalar functions against NumPy in higher precision: error bounds and special values."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, float32, float64
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Apply, Var, const, walk
from fusegrad.codegen.scalar import TABLE, apply, expand

FLOATS = (float32, float64)

Range = tuple[float, float]

# Name, reference, and a range to sample densely in float32 and in float64.
UNARY: dict[str, tuple[Callable[..., Any], Range, Range]] = {
    "exp": (np.exp, (-105, 90), (-750, 711)),
    "exp2": (np.exp2, (-151, 129), (-1080, 1025)),
    "expm1": (np.expm1, (-20, 90), (-40, 711)),
    "log": (np.log, (0, 4), (0, 4)),
    "log2": (np.log2, (0, 4), (0, 4)),
    "log10": (np.log10, (0, 4), (0, 4)),
    "log1p": (np.log1p, (-1, 3), (-1, 3)),
    "tanh": (np.tanh, (-10, 10), (-22, 22)),
    "sin": (np.sin, (-400, 400), (-400, 400)),
    "cos": (np.cos, (-400, 400), (-400, 400)),
    "tan": (np.tan, (-400, 400), (-400, 400)),
    "sinh": (np.sinh, (-90, 90), (-711, 711)),
    "cosh": (np.cosh, (-90, 90), (-711, 711)),
    "asin": (np.arcsin, (-1, 1), (-1, 1)),
    "acos": (np.arccos, (-1, 1), (-1, 1)),
    "atan": (np.arctan, (-20, 20), (-20, 20)),
    "asinh": (np.arcsinh, (-20, 20), (-20, 20)),
    "acosh": (np.arccosh, (1, 20), (1, 20)),
    "atanh": (np.arctanh, (-1, 1), (-1, 1)),
    "cbrt": (np.cbrt, (-30, 30), (-30, 30)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), (0, 100), (0, 100)),
}
BINARY: dict[str, Callable[..., Any]] = {
    "atan2": np.arctan2,
    "fmod": np.fmod,
    "hypot": np.hypot,
    "logaddexp": np.logaddexp,
    "pow": np.power,
}


def specials(dtype: DType) -> np.ndarray[Any, Any]:
    info = np.finfo(dtype.numpy)
    half_pi = [math.pi * k / 2 for k in (1, 2, 3, 5, 1000, 10**6)]
    numbers = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 10.0, 1e10, math.inf, math.nan, *half_pi]
    numbers += [float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    positive = np.array(numbers, dtype.numpy)
    near = np.nextafter(positive[1:5], positive[2:6])
    return np.concatenate([positive, -positive, near])


def samples(dtype: DType, low: float, high: float, count: int = 12000) -> np.ndarray[Any, Any]:
    """Random bits, a dense range, numbers around 1, and special values."""
    random = np.random.default_rng(7)
    bits = random.integers(0, 2**dtype.bits - 1, count // 2, dtype=f"u{dtype.itemsize}")
    dense = random.uniform(low, high, count).astype(dtype.numpy)
    normal = random.standard_normal(count).astype(dtype.numpy)
    return np.concatenate([bits.view(dtype.numpy), dense, normal, specials(dtype)])


def computed(name: str, *operands: np.ndarray[Any, Any], expanded: bool = True) -> Any:
    dtype = {v.dtype.name: d for d in FLOATS for v in operands if v.dtype == d.numpy}
    variables = [Var("x", dtype[v.dtype.name]) for v in operands]
    env = dict(zip(variables, operands, strict=True))
    return evaluate(apply(name, *variables), env, expanded=expanded)


def errors(got: Any, exact: Any, scale: Any, dtype: DType) -> Any:
    """Errors in units in the last place of `scale`."""
    info = np.finfo(dtype.numpy)
    _, power = np.frexp(np.abs(scale))
    unit = np.ldexp(np.longdouble(1), np.maximum(power - 1, info.minexp) - info.nmant)
    return np.abs(got.astype(np.longdouble) - exact.astype(np.longdouble)) / unit


def check(
    name: str,
    dtype: DType,
    reference: Callable[..., Any],
    operands: tuple[np.ndarray[Any, Any], ...],
    slack: float = 0.0,
) -> None:
    got = computed(name, *operands)
    wide = np.float64 if dtype is float32 else np.longdouble
    with np.errstate(all="ignore"):
        exact = reference(*(x.astype(wide) for x in operands))
        rounded = exact.astype(dtype.numpy)
        scale = np.abs(exact)
        if name in ("logaddexp", "logaddexp2"):
            # It cancels near 0, as NumPy's does: the bound counts in units of the operands.
            scale = np.maximum(scale, np.maximum(*map(np.abs, operands)))
    assert got.dtype == dtype.numpy
    finite = np.isfinite(rounded) & np.isfinite(got)
    same = finite | (got == rounded) | (np.isnan(got) & np.isnan(rounded))
    wrong = [tuple(map(float, v)) for v in zip(*(x[~same] for x in operands), strict=True)]
    assert not wrong, f"{name} of {wrong[:5]}: {got[~same][:5]}, not {rounded[~same][:5]}"
    zeros = (rounded == 0) & (got == 0)
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(rounded[zeros]))
    measured = errors(got[finite], exact[finite], scale[finite], dtype)
    worst = int(np.argmax(measured))
    assert measured[worst] <= TABLE[name].max_ulp[dtype] + slack, (
        f"{name} errs by {measured[worst]:.2f} ulp at {[float(x[finite][worst]) for x in operands]}"
    )


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", UNARY)
def test_error_bounds_and_special_values(name: str, dtype: DType) -> None:
    reference, single, double = UNARY[name]
    check(name, dtype, reference, (samples(dtype, *(single if dtype is float32 else double)),))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_numbers(name: str, dtype: DType) -> None:
    x, y = samples(dtype, -8, 8, 4000), samples(dtype, -8, 8, 4000)
    np.random.default_rng(1).shuffle(y)
    if name == "pow":
        x = np.concatenate([x, np.abs(x)])
        y = np.concatenate([y, y])
    grid = np.stack(np.meshgrid(specials(dtype), specials(dtype)), -1).reshape(-1, 2)
    operands = (np.concatenate([x, grid[:, 0]]), np.concatenate([y, grid[:, 1]]))
    if name == "pow":
        usual = np.isfinite(operands[0]) & np.isfinite(operands[1])
        wide = np.abs(operands[1]) < 1e17  # NumPy's own long double power loses the rest
        operands = (operands[0][usual & wide], operands[1][usual & wide])
    check(name, dtype, BINARY[name], operands)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(("name", "function"), [("erf", math.erf), ("erfc", math.erfc)])
def test_error_function(name: str, function: Callable[[float], float], dtype: DType) -> None:
    x = samples(dtype, -3, 28 if dtype is float64 else 11)
    reference = np.frompyfunc(function, 1, 1)
    # The reference in float64 is itself only right to 1 ulp.
    slack = 1.0 if dtype is float64 else 0.0
    check(name, dtype, lambda v: reference(v.astype(float)).astype(float), (x,), slack)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_power_of_special_values(dtype: DType) -> None:
    values = specials(dtype)
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        expected = np.power(x.astype(float), y.astype(float)).astype(dtype.numpy)
    got = computed("pow", x, y)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    np.testing.assert_array_equal(np.signbit(got[got == 0]), np.signbit(expected[got == 0]))


@pytest.mark.parametrize("exponent", [-1.0, 0.5, 1.0, 2.0, 3.0, 4.0])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_power_with_a_known_exponent(dtype: DType, exponent: float) -> None:
    x = Var("x", dtype)
    values = samples(dtype, -8, 8, 500)
    power = apply("pow", x, const(exponent, dtype))
    got = evaluate(power, {x: values}, expanded=True)
    with np.errstate(all="ignore"):
        expected = np.power(values, np.full_like(values, exponent))
    # Among subnormals two roundings are more than that, relatively.
    tolerance = {"rtol": 4e-7 if dtype is float32 else 1e-15}
    smallest = np.finfo(dtype.numpy).smallest_subnormal
    np.testing.assert_allclose(got, expected, atol=2 * smallest, **tolerance)
    assert isinstance(power, Apply)
    assert len(list(walk(expand(power) or power))) < 12


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["floordiv", "mod", "remainder"])
def test_division_with_remainder_of_floats(name: str, dtype: DType) -> None:
    x, y = samples(dtype, -8, 8, 2000), samples(dtype, -8, 8, 2000)
    np.random.default_rng(2).shuffle(y)
    grid = np.stack(np.meshgrid(specials(dtype), specials(dtype)), -1).reshape(-1, 2)
    x, y = np.concatenate([x, grid[:, 0]]), np.concatenate([y, grid[:, 1]])
    got, expected = computed(name, x, y), computed(name, x, y, expanded=False)
    np.testing.assert_array_equal(got, expected)
    zeros = expected == 0
    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(expected[zeros]))


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_huge_angles(name: str, dtype: DType) -> None:
    """Worst cases of range reduction: the multiples of pi/2 closest to a float."""
    hard = [6381956970095103.0 * 2.0**797, 16367173.0 * 2.0**72, 1e22, 2.0**120, 33215.4]
    x = np.array([v for v in hard if dtype is float64 or v < 3e38], dtype.numpy)
    check(name, dtype, getattr(np, name), (np.concatenate([x, -x]),))


def test_exact_results() -> None:
    powers = np.arange(-149, 128)
    x = np.ldexp(np.float32(1), powers)
    np.testing.assert_array_equal(computed("log2", x), powers.astype(np.float32))
    np.testing.assert_array_equal(computed("exp2", powers.astype(np.float32)), x)
    for dtype in FLOATS:
        one = computed("tanh", np.array([40.0, -40.0, math.inf, -math.inf], dtype.numpy))
        np.testing.assert_array_equal(one, [1, -1, 1, -1])
        cubes = np.arange(1, 200).astype(dtype.numpy)
        np.testing.assert_array_equal(computed("cbrt", cubes**3), cubes)


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "erf", "sin", "cos"])
def test_common_functions_are_short(name: str) -> None:
    """The usual path in float32 is what decides the speed of gelu and softmax."""
    body = expand(apply(name, Var("x", float32)))  # type: ignore[arg-type]
    count = 0
    seen = set()
    stack = [body]
    while stack:
        e = stack.pop()
        if not isinstance(e, Apply) or e in seen:
            continue
        seen.add(e)
        count += e.op != "bitcast"
        stack.extend(e.args[:2] if e.op == "rare" else e.args)
    assert count <= {"exp": 22, "log": 26, "tanh": 26, "erf": 44, "sin": 36, "cos": 36}[name], count


@pytest.mark.parametrize("name", ["exp", "exp2"])
@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_masked_scores_do_not_underflow(name: str, dtype: DType) -> None:
    """What becomes zero is multiplied by zero: an underflow takes ten times longer."""
    x = Var("x", dtype)
    product = expand(apply(name, x))
    assert isinstance(product, Apply)
    assert product.op == "mul"
    values = np.array([-math.inf, -1e4, -1.0, 1.0], dtype.numpy)
    factors = evaluate(product.args[1], {x: values})
    assert [bool(f == 0) for f in factors] == [True, True, False, False]
