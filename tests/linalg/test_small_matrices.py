"""Linear algebra as loops in compiled programs: LAPACK's values, NaN where it fails, no calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import linalg
from tests.linalg.support import definite, matrices, regular

SHAPES = [(1, 1), (2, 2), (3, 3), (2, 4, 4), (3, 2, 17, 17), (0, 3, 3), (33, 33), (48, 48)]
TOLERANCE: dict[str, dict[str, float]] = {
    "float32": {"rtol": 2e-3, "atol": 2e-3},
    "float64": {"rtol": 1e-9, "atol": 1e-9},
}


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = fg.get_num_threads()
    yield
    fg.set_num_threads(before)


def calls_host(function: Callable[..., Any], *arrays: np.ndarray) -> bool:
    return "calls of the host" in str(fg.compile(function).explain(*arrays))


def compiled(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    result: np.ndarray = fg.compile(function)(*arrays).numpy()
    return result


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(shape: tuple[int, ...], dtype: str) -> None:
    a, s = regular(*shape).astype(dtype), definite(*shape).astype(dtype)
    near: dict[str, Any] = {**TOLERANCE[dtype], "strict": True}
    np.testing.assert_allclose(compiled(linalg.inv, a), np.linalg.inv(a), **near)
    np.testing.assert_allclose(compiled(linalg.cholesky, s), np.linalg.cholesky(s), **near)
    if shape[-1] <= 17:
        np.testing.assert_allclose(compiled(linalg.det, a), np.linalg.det(a), **near)
    for columns in (1, 3, 4, 70):
        b = matrices(*shape[:-1], columns, seed=1).astype(dtype)
        np.testing.assert_allclose(compiled(linalg.solve, a, b), np.linalg.solve(a, b), **near)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("columns", [1, 3, 4, 65, 129])
def test_substitution(columns: int, upper: bool, unit: bool) -> None:
    """The other triangle, and a diagonal of ones, is not read."""
    a, b = definite(2, 9, 9), matrices(2, 9, columns)
    whole = np.triu(a) if upper else np.tril(a)
    if unit:
        whole = whole - whole * np.eye(9) + np.eye(9)
    unread = np.where(
        (np.tril if upper else np.triu)(np.ones((9, 9)), -1 if upper else 1), np.nan, a
    )
    if unit:
        unread = np.where(np.eye(9) > 0, np.nan, unread)
    found = compiled(
        lambda a, b: linalg.solve_triangular(a, b, upper=upper, unitriangular=unit), unread, b
    )
    np.testing.assert_allclose(found, np.linalg.solve(whole, b), rtol=1e-9, atol=1e-12)


def test_pivots_are_needed() -> None:
    a = np.array([[0.0, 1.0, 2.0], [1e-20, 1.0, 1.0], [3.0, 1.0, 0.0]])
    np.testing.assert_allclose(compiled(linalg.inv, a), np.linalg.inv(a), rtol=1e-12)
    np.testing.assert_allclose(compiled(linalg.det, a), np.linalg.det(a), rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "bad"),
    [
        (lambda a: linalg.inv(a), np.array([[1.0, 2.0], [2.0, 4.0]])),
        (lambda a: linalg.solve(a, a), np.zeros((2, 2))),
        (lambda a: linalg.cholesky(a), np.array([[1.0, 0.0], [0.0, -1.0]])),
        (lambda a: linalg.cholesky(a), np.array([[1.0, np.nan], [np.nan, 1.0]])),
        (lambda a: linalg.solve_triangular(a, a, upper=False), np.array([[1.0, 0.0], [1.0, 0.0]])),
    ],
)
def test_only_what_fails_is_nan(function: Callable[..., Any], bad: np.ndarray) -> None:
    good = np.array([[2.0, 0.5], [0.5, 1.0]])
    found = compiled(function, np.stack([good, bad, good]))
    assert np.isnan(found[1]).all()
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[0], compiled(function, good))
    assert np.isfinite(found[0]).all()


def test_the_determinant_of_a_singular_matrix_is_zero_and_has_a_derivative() -> None:
    a = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [1.0, 1.0, 0.0]])
    assert compiled(linalg.det, np.zeros((3, 3))) == 0
    gradient = compiled(fg.grad(linalg.det), a)
    step = 1e-6
    for place in np.ndindex(3, 3):
        change = np.zeros((3, 3))
        change[place] = step
        slope = (np.linalg.det(a + change) - np.linalg.det(a - change)) / (2 * step)
        np.testing.assert_allclose(gradient[place], slope, atol=1e-8)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_gradients(count: int) -> None:
    """Those of recorded code, which calls LAPACK."""

    def loss(a: fg.Tensor, b: fg.Tensor) -> fg.Tensor:
        s = a @ a.mT + 3 * fg.eye(count, dtype=fg.float64)
        return (linalg.solve(a, b) ** 2).sum() + linalg.det(a) + linalg.cholesky(s).sum()

    a, b = regular(2, count, count), matrices(2, count, 2)
    with fg.eager():
        expected = fg.grad(lambda a, b: loss(a, b).sum(), argnums=(0, 1))(a, b)
    found = fg.compile(fg.grad(lambda a, b: loss(a, b).sum(), argnums=(0, 1)))(a, b)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-8, atol=1e-10)


def test_small_matrices_call_nobody_and_large_ones_lapack() -> None:
    small, large = regular(5, 16, 16), regular(200, 200)
    for function in (linalg.inv, linalg.det, lambda a: linalg.solve(a, a)):
        assert not calls_host(function, small)
        assert calls_host(function, large)
    assert not calls_host(linalg.cholesky, definite(16, 16))
    assert calls_host(linalg.cholesky, definite(200, 200))
    assert not calls_host(lambda a: linalg.solve_triangular(a, a, upper=True), large)
    assert calls_host(linalg.svd, small)


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_changes_no_bit() -> None:
    a, b = definite(60, 7, 7), matrices(60, 7, 130)
    step = fg.compile(
        lambda a, b: (
            linalg.solve(a, b),
            linalg.cholesky(a),
            linalg.solve_triangular(a, b, upper=False),
        )
    )
    results = []
    for count in (1, 2, 3, 4):
        fg.set_num_threads(count)
        results.append([r.numpy().tobytes() for r in step(a, b)])
    assert all(r == results[0] for r in results)
