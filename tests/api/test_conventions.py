"""The conventions of docs/derivatives.md, in reverse and in forward mode, compiled and not."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F

INF, NAN = math.inf, math.nan
Row = tuple[str, Callable[..., Any], tuple[list[float], ...], tuple[list[float], ...]]


def masked(x: Any) -> Any:
    y = fg.log(x)
    y[x <= 0] = 0.0
    return y


def unit(x: Any) -> Any:
    """Rows as unit vectors; zeros stay."""
    rows = x.reshape(-1, 2)
    length = fg.sqrt((rows * rows).sum(axis=1, keepdims=True))
    return fg.where(length > 0, rows / length, 0.0) * fg.asarray([1.0, 2.0], dtype="float64")


ROWS: list[Row] = [
    ("max", fg.max, ([1, 3, 3],), ([0, 0.5, 0.5],)),
    ("min", fg.min, ([1, 1, 3],), ([0.5, 0.5, 0],)),
    ("maximum", fg.maximum, ([1, 2, 3], [1, 3, 2]), ([0.5, 0, 1], [0.5, 1, 0])),
    ("minimum", fg.minimum, ([1, 2, 3], [1, 3, 2]), ([0.5, 1, 0], [0.5, 0, 1])),
    ("maximum_nan", fg.maximum, ([NAN, 1], [1, NAN]), ([0, 0], [0, 0])),
    ("clip", lambda x: fg.clip(x, 0, 1), ([-1, 0, 0.5, 1, 2],), ([0, 0.5, 1, 0.5, 0],)),
    ("clip_bounds", fg.clip, ([0.0], [0.0], [1.0]), ([0.5], [0.5], [0])),
    ("abs", fg.abs, ([0.0, -0.0, 2, -2],), ([0, 0, 1, -1],)),
    ("relu", fg.relu, ([0.0, -0.0, 2, -2],), ([0, 0, 1, 0],)),
    ("nn_relu", F.relu, ([0.0, -0.0, 2, -2],), ([0, 0, 1, 0],)),
    ("sign", fg.sign, ([0, 2],), ([0, 0],)),
    ("floor", fg.floor, ([0, 2.5],), ([0, 0],)),
    ("sqrt", fg.sqrt, ([0, 4],), ([INF, 0.25],)),
    ("hypot", fg.hypot, ([0, 3], [0, 4]), ([0, 0.6], [0, 0.8])),
    ("std", fg.std, ([2, 2, 2],), ([0, 0, 0],)),
    ("var", fg.var, ([2, 2, 2],), ([0, 0, 0],)),
    ("where_sqrt", lambda x: fg.where(x > 0, fg.sqrt(x), 0.0), ([0, -1, 4],), ([0, 0, 0.25],)),
    ("where_log", lambda x: fg.where(x > 0, fg.log(x), x), ([0, -1, 4],), ([1, 1, 0.25],)),
    ("where_inverse", lambda x: fg.where(x != 0, 1 / x, 0.0), ([0, 2],), ([0, -0.25],)),
    ("where_inner", lambda x: fg.where(x != 0, fg.exp(-1 / x), 0), ([0, -1],), ([0, np.e],)),
    ("where_xlogx", lambda x: fg.where(x > 0, x * fg.log(x), 0.0), ([0, 1],), ([0, 1],)),
    (
        "where_sinc",
        lambda x: fg.where(x == 0, 1.0, fg.sin(x) / x),
        ([0, math.pi],),
        ([0, -1 / math.pi],),
    ),
    ("where_nested", lambda x: fg.where(x > 0, fg.log(fg.sqrt(x)), 0), ([0, 4],), ([0, 0.125],)),
    ("where_inside", lambda x: fg.log(fg.where(x > 0, x, 1.0)), ([0, 4],), ([0, 0.25],)),
    (
        "where_overflow",
        lambda x: fg.where(x < 100, fg.exp(x), x),
        ([1000, 0],),
        ([1, 1],),
    ),
    (
        "where_moved",
        lambda x: fg.where(x.reshape(1, -1) > 0, fg.sqrt(x)[None, ::-1][:, ::-1], 0.0),
        ([0, 4],),
        ([0, 0.25],),
    ),
    ("where_rows", unit, ([0, 0, 3, 4],), ([0, 0, -8 / 125, 6 / 125],)),
    ("masked", masked, ([0, -1, 4],), ([0, 0, 0.25],)),
    ("prod_none", fg.prod, ([2, 3, 4],), ([12, 8, 6],)),
    ("prod_one", fg.prod, ([0, 3, 4],), ([12, 0, 0],)),
    ("prod_two", fg.prod, ([0, 0, 4],), ([0, 0, 0],)),
    ("power_0", lambda x: x**0, ([0, 2, -2],), ([0, 0, 0],)),
    ("power_1", lambda x: x**1, ([0, 2, -2],), ([1, 1, 1],)),
    ("power_2", lambda x: x**2, ([0, 2, -2],), ([0, 4, -4],)),
    ("power_3", lambda x: x**3, ([0, 2, -2],), ([0, 12, 12],)),
    ("power_half", lambda x: x**0.5, ([0, 4],), ([INF, 0.25],)),
    ("power_at_0", fg.pow, ([0, 0, 0, 0], [0, 1, 2, 0.5]), ([0, 1, 0, INF], [0, 0, 0, 0])),
    ("power_negative", fg.pow, ([-2, -2, -2], [2, 3, 0]), ([-4, 12, 0], [0, 0, 0])),
    ("ratio", lambda x: x / x, ([2, -3],), ([0, 0],)),
    ("log", fg.log, ([0, 4],), ([INF, 0.25],)),
    ("logsumexp_none", fg.logsumexp, ([-INF, -INF],), ([0, 0],)),
    ("logsumexp_one", fg.logsumexp, ([-INF, 1],), ([0, 1],)),
    (
        "logaddexp",
        fg.logaddexp,
        ([-INF, -INF, INF], [-INF, 0, INF]),
        ([1, 0, 1], [1, 1, 1]),
    ),
    ("softmax_one", lambda x: F.softmax(x, -1)[1], ([-INF, 1],), ([0, 0],)),
    ("softmax_none", lambda x: F.softmax(x, -1)[1], ([-INF, -INF],), ([NAN, NAN],)),
    ("atan2", fg.atan2, ([0.0], [0.0]), ([NAN], [NAN])),
    ("asin", fg.asin, ([1, -1, 0],), ([INF, INF, 1],)),
    ("acos", fg.acos, ([1, -1, 0],), ([-INF, -INF, -1],)),
    ("remainder", fg.remainder, ([5.5, -5.5], [2, 2]), ([1, 1], [-2, 3])),
    ("floor_divide", fg.floor_divide, ([5.5], [2]), ([0], [0])),
    ("sigmoid", fg.sigmoid, ([0, 1000, -1000, INF, -INF],), ([0.25, 0, 0, 0, 0],)),
    ("tanh", fg.tanh, ([0, INF, -INF],), ([1, 0, 0],)),
]


def doubles(values: list[float]) -> fg.Tensor:
    return fg.asarray(values, dtype="float64")


@pytest.mark.parametrize(
    ("function", "args", "expected"), [r[1:] for r in ROWS], ids=[r[0] for r in ROWS]
)
def test_reverse(
    function: Callable[..., Any], args: tuple[list[float], ...], expected: tuple[list[float], ...]
) -> None:
    points = [doubles(values) for values in args]
    numbers = tuple(range(len(args)))
    gradient = fg.grad(lambda *x: function(*x).sum(), argnums=numbers)
    for given in (gradient(*points), fg.compile(gradient)(*points)):
        for found, values in zip(given, expected, strict=True):
            np.testing.assert_allclose(found.numpy(), values, rtol=1e-12, atol=1e-15)


FINITE = [row for row in ROWS if all(map(math.isfinite, [v for values in row[3] for v in values]))]


@pytest.mark.parametrize(
    ("function", "args", "expected"), [r[1:] for r in FINITE], ids=[r[0] for r in FINITE]
)
def test_forward(
    function: Callable[..., Any], args: tuple[list[float], ...], expected: tuple[list[float], ...]
) -> None:
    points = [doubles(values) for values in args]
    for number, values in enumerate(expected):
        found = fg.jacfwd(lambda *x: function(*x).sum(), argnums=number)(*points)
        np.testing.assert_allclose(found.numpy(), values, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("values", [[2, 3, 4], [0, 3, 4], [0, 0, 4], [0, 0, 0]])
def test_second_derivatives_of_products(values: list[float]) -> None:
    expected = [
        [
            0 if i == j else math.prod(v for k, v in enumerate(values) if k not in (i, j))
            for j in range(3)
        ]
        for i in range(3)
    ]
    assert fg.hessian(fg.prod)(doubles(values)).tolist() == expected


def test_second_derivatives_of_powers() -> None:
    exponents = doubles([0, 1, 2, 3])
    for base, expected in ((0, [0, 0, 2, 0]), (-2, [0, 0, 2, -12])):
        x = doubles([base] * 4)
        for function in (
            lambda v: fg.pow(v, exponents).sum(),
            lambda v: sum(v[i] ** i for i in range(4)),
        ):
            found = fg.hessian(function)(x)
            np.testing.assert_allclose(found.numpy(), np.diag(expected), atol=1e-15)


def test_second_derivatives_behind_where() -> None:
    x = doubles([0, 2])
    found = fg.hessian(lambda v: fg.where(v > 0, v * fg.log(v), v * v).sum())(x)
    np.testing.assert_allclose(found.numpy(), np.diag([2, 0.5]))
    # A cotangent that happens to be zero in the branch that is taken still has a derivative.
    found = fg.hessian(lambda v: (fg.where(v > -1, v * 3.0 * v[::-1].sum(), 0.0) ** 2).sum())(x * 0)
    assert np.isfinite(found.numpy()).all()
    squared = fg.hessian(lambda v: (fg.where(v >= 0, fg.sin(v), 0.0) ** 2).sum())(x * 0)
    np.testing.assert_allclose(squared.numpy(), 2 * np.eye(2))


@pytest.mark.parametrize("function", [fg.log, fg.sqrt, fg.reciprocal, fg.acosh])
def test_reverse_over_reverse_behind_where(function: Any) -> None:
    slope = fg.grad(lambda v: fg.where(v > 1, function(v), v).sum())
    twice = fg.grad(lambda v: slope(v).sum())
    x = doubles([0, -2, 3])
    alone = fg.grad(fg.grad(function))(x[2]).item()
    for call in (twice, fg.compile(twice)):
        np.testing.assert_allclose(call(x).numpy(), [0, 0, alone], rtol=1e-14)


def test_two_ways_to_a_masked_value() -> None:
    def function(x: Any) -> Any:
        y = fg.sqrt(x)
        return (fg.where(x > 0, y, 0.0) + fg.where(x > 5, y * y, 0.0)).sum()

    assert fg.grad(function)(doubles([0, 4, 9])).tolist() == [0, 0.25, 1 / 6 + 1]
    # Taken on one of the ways, it counts.
    found = fg.grad(lambda x: (fg.where(x > 0, fg.sqrt(x), 0.0) + fg.sqrt(x)).sum())(doubles([0.0]))
    assert found.tolist() == [INF]


def test_norms_at_zero() -> None:
    zero = doubles([0, 0])
    for order in (1, 2, INF, 3):
        gradient = fg.grad(lambda x, order=order: fg.linalg.vector_norm(x, ord=order))
        assert gradient(zero).tolist() == [0, 0], order
    assert fg.hessian(fg.linalg.vector_norm)(zero).tolist() == [[0, 0], [0, 0]]
    assert fg.grad(fg.linalg.matrix_norm)(zero[None]).tolist() == [[0, 0]]


@pytest.mark.parametrize("name", ["var", "std"])
@pytest.mark.parametrize("ddof", [0, 1])
def test_variances_take_the_name_of_numpy(name: str, ddof: int) -> None:
    x = np.array([[1.0, 2.0, 4.0], [3.0, 5.0, 9.0]])
    expected = getattr(np, name)(x, axis=1, ddof=ddof)
    function = getattr(fg, name)
    np.testing.assert_allclose(function(x, axis=1, ddof=ddof).numpy(), expected)
    np.testing.assert_allclose(getattr(fg.asarray(x), name)(dim=1, ddof=ddof).numpy(), expected)
    compiled = fg.compile(lambda x: function(x, axis=1, ddof=ddof))
    np.testing.assert_allclose(compiled(x).numpy(), expected)


def test_copies_that_need_not_block() -> None:
    x = fg.zeros(2)
    x.copy_(fg.ones(2), non_blocking=True)
    assert x.to("cpu", fg.float64, non_blocking=True).tolist() == [1.0, 1.0]
