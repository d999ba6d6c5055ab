"""Cumulative functions against NumPy: values, dtypes, directions, gradients, compiled and not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.testing import check_grads

RNG = np.random.default_rng(1)
SHAPES: list[tuple[int, ...]] = [(5,), (1,), (0,), (3, 4), (2, 0, 3), (2, 3, 1, 2, 3), (4, 600)]


def flipped(function: Any, x: Any, axis: int) -> Any:
    return np.flip(function(np.flip(x, axis), axis), axis)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8", "bool"])
def test_sums_and_products_are_numpys(shape: tuple[int, ...], dtype: str) -> None:
    x = (RNG.uniform(0.5, 1.5, shape) * (1 if dtype.startswith("float") else 2)).astype(dtype)
    for axis in (0, -1, len(shape) // 2):
        for ours, numpys in ((fg.cumsum, np.cumsum), (fg.cumprod, np.cumprod)):
            expected = numpys(x, axis)
            for found in (
                ours(x, axis),
                getattr(fg.asarray(x), ours.__name__)(dim=axis),
            ):
                np.testing.assert_array_equal(found.numpy(), expected, strict=True)
            compiled = fg.compile(lambda a, f=ours, k=axis: f(a, k))(x).numpy()
            assert compiled.dtype == expected.dtype
            # Sums of floats in another order: of each, what its additions round.
            units = shape[axis] * np.finfo(x.dtype).eps if x.dtype.kind == "f" else 0
            np.testing.assert_allclose(compiled, expected, rtol=units)
            backwards = ours(x, axis, reverse=True).numpy()
            np.testing.assert_array_equal(backwards, flipped(numpys, x, axis), strict=True)
    np.testing.assert_array_equal(fg.cumsum(x).numpy(), np.cumsum(x), strict=True)
    np.testing.assert_array_equal(fg.cumprod(x).numpy(), np.cumprod(x), strict=True)


@pytest.mark.parametrize("shape", [(4,), (0,), (3, 4), (3, 0)], ids=str)
def test_the_standards_functions(shape: tuple[int, ...]) -> None:
    x = RNG.integers(1, 4, shape).astype(np.int16)
    axis = len(shape) - 1
    for ours, numpys in (
        (fg.cumulative_sum, np.cumulative_sum),
        (fg.cumulative_prod, np.cumulative_prod),
    ):
        for initial in (False, True):
            expected = numpys(x, axis=axis, include_initial=initial, dtype=np.int64)
            found = ours(x, axis=axis, include_initial=initial)
            np.testing.assert_array_equal(found.numpy(), expected, strict=True)
            found = ours(x, axis=axis, include_initial=initial, reverse=True, dtype=fg.float32)
            expected = flipped(lambda a, k: np.moveaxis(a, k, k), expected, axis)
            assert found.shape == expected.shape
            assert found.dtype is fg.float32
    if len(shape) == 1:
        assert fg.cumulative_sum(x).shape == shape


def test_sums_of_bools_as_bools_are_logic() -> None:
    x = np.array([False, True, False])
    assert fg.cumsum(x, dtype=bool).tolist() == np.cumsum(x, dtype=bool).tolist()
    assert fg.cumprod(~x, dtype=bool).tolist() == np.cumprod(~x, dtype=bool).tolist()


def test_a_number_is_one_element() -> None:
    assert fg.cumsum(3.0).tolist() == [3]
    assert fg.asarray(3.0).cumsum(0).item() == 3
    assert fg.cummax(2, 0).indices.item() == 0


def test_special_values_accumulate_as_in_numpy() -> None:
    x = np.array([-0.0, 1, np.nan, 2, np.inf, -np.inf])
    with np.errstate(all="ignore"):
        for ours, numpys in (
            (fg.cumsum, np.cumsum),
            (fg.cumprod, np.cumprod),
            (lambda a: fg.cummax(a).values, np.maximum.accumulate),
            (lambda a: fg.cummin(a).values, np.minimum.accumulate),
            (fg.nancumsum, np.nancumsum),
            (fg.nancumprod, np.nancumprod),
            (fg.logcumsumexp, np.logaddexp.accumulate),
        ):
            np.testing.assert_allclose(ours(x).numpy(), numpys(x), rtol=1e-15)  # type: ignore[operator]
    assert np.signbit(fg.cumsum(x).numpy()[0])


def test_nothing_is_added_in_another_order() -> None:
    x = RNG.standard_normal((3, 1000, 2)).astype(np.float32) * 1e4
    np.testing.assert_array_equal(fg.compile(lambda a: fg.cumsum(a, 1))(x).numpy(), x.cumsum(1))


def test_extremes_say_where_they_are() -> None:
    x = np.array([[3, 5, 5, 2, 9, 1], [7, 1, 1, 7, 0, 7]])
    largest, smallest = fg.cummax(x, axis=1), fg.cummin(x, dim=1)
    assert largest.values.tolist() == np.maximum.accumulate(x, 1).tolist()
    assert largest.indices.tolist() == [[0, 1, 2, 2, 4, 4], [0, 0, 0, 3, 3, 5]]
    assert smallest.values.tolist() == np.minimum.accumulate(x, 1).tolist()
    assert smallest.indices.tolist() == [[0, 0, 0, 3, 3, 5], [0, 1, 2, 2, 4, 4]]
    back = fg.cummax(x, 1, reverse=True)
    assert back.values.tolist() == flipped(np.maximum.accumulate, x, 1).tolist()
    assert back.indices.tolist() == [[4, 4, 4, 4, 4, 5], [0, 3, 3, 3, 5, 5]]
    nan = fg.cummax([1.0, fg.nan, 3.0, fg.nan])
    assert nan.indices.tolist() == [0, 1, 1, 3]
    assert fg.cummax([True, False]).values.dtype is fg.bool
    assert fg.cummax(fg.zeros((0, 3)), 0).indices.shape == (0, 3)


def test_logarithms_of_sums_do_not_overflow() -> None:
    x = np.array([[1e4, 0.0, -1e4], [-np.inf, -np.inf, 2.0]])
    expected = np.logaddexp.accumulate(x, 1)
    np.testing.assert_allclose(fg.logcumsumexp(x, 1).numpy(), expected, rtol=1e-15)
    assert fg.logcumsumexp([1, 2]).dtype is fg.float32
    gradient = fg.grad(lambda a: fg.logcumsumexp(a, 1).sum())(fg.asarray(x))
    assert not np.isnan(gradient.numpy()).any()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("reverse", [False, True])
def test_gradients(axis: int, reverse: bool) -> None:
    x = RNG.permutation(np.linspace(-2, 2, 24)).reshape(2, 3, 4)
    weights = RNG.uniform(0.5, 1.5, x.shape)
    for function in (fg.cumsum, fg.cumprod, fg.logcumsumexp):
        check_grads(lambda a, f=function: f(a, axis, reverse=reverse) * weights, (x,))
    check_grads(lambda a: fg.cummax(a, axis).values ** 2 * weights, (x,))


@pytest.mark.parametrize("zeros", [(), (1,), (0, 2), (0, 1, 2, 3)])
def test_products_of_zeros_have_exact_gradients(zeros: tuple[int, ...]) -> None:
    x = np.array([1.5, -2.0, 3.0, 0.5])
    x[list(zeros)] = 0
    check_grads(lambda a: fg.cumprod(a), (x,))
    jacobian = fg.jacobian(fg.cumprod)(fg.asarray(x)).numpy()
    expected = [
        [np.prod(np.delete(x[: i + 1], j)) if j <= i else 0.0 for j in range(4)] for i in range(4)
    ]
    np.testing.assert_allclose(jacobian, expected, rtol=1e-14)


def test_batches() -> None:
    x = RNG.standard_normal((3, 4, 5))
    for function in (fg.cumsum, fg.cumprod, fg.logcumsumexp, lambda a, k: fg.cummin(a, k).indices):
        found = fg.vmap(lambda a, f=function: f(a, 1))(x)
        np.testing.assert_allclose(found.numpy(), function(x, 2).numpy(), rtol=1e-12)


def test_wrong_axes() -> None:
    with pytest.raises(fg.errors.ShapeError, match="cumulative_sum of an array of 2 dimensions"):
        fg.cumulative_sum(fg.ones((2, 3)))
    with pytest.raises(fg.errors.ShapeError, match="cumulative_prod of an array without axes"):
        fg.cumulative_prod(fg.asarray(2.0), axis=0)
    with pytest.raises(fg.errors.ShapeError, match="cumsum: there is no axis 2 in an array of 2"):
        fg.cumsum(fg.ones((2, 3)), 2)
    with pytest.raises(TypeError, match="two names of one argument"):
        fg.cumsum(fg.ones((2, 3)), 1, dim=1)
