"""Medians and quantiles against NumPy: every method, axes, NaN, gradients."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.semantics.quantiles import METHODS
from fusegrad.testing import check_grads

RNG = np.random.default_rng(3)
X = RNG.permutation(np.linspace(-3, 5, 60)).reshape(3, 4, 5)
AXES: list[Any] = [None, 0, -1, (0, 2), (0, 1, 2)]
FRACTIONS: list[Any] = [0.5, 0, 1.0, [0.1, 0.33, 0.75], [[0.2, 1.0], [0.0, 0.9]], []]


@pytest.mark.parametrize("axis", AXES, ids=str)
@pytest.mark.parametrize("keepdims", [False, True])
def test_medians(axis: Any, keepdims: bool) -> None:
    for x in (X, X[:, :, :4], X.astype(np.float32), X[:, :1]):
        expected = np.median(x, axis, keepdims=keepdims)
        for found in (
            fg.median(x, axis, keepdims),
            fg.asarray(x).median(dim=axis, keepdim=keepdims),
            fg.compile(lambda a: fg.median(a, axis, keepdims))(x),
        ):
            assert found.shape == np.shape(expected)
            assert found.dtype.numpy == x.dtype
            np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_medians_of_few_elements() -> None:
    assert fg.median([3]).item() == 3
    assert fg.median(7.0).item() == 7
    assert fg.median([True, False]).item() == 0.5
    assert fg.median([1, 2]).dtype is fg.float32
    assert fg.median([fg.inf, fg.inf]).item() == np.inf
    assert np.isnan(fg.median([1.0, fg.nan, 2.0]).item())
    with pytest.raises(fg.errors.EmptyReductionError, match="median of no elements has no value"):
        fg.median(fg.ones((2, 0)), 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("q", FRACTIONS, ids=str)
def test_quantiles(method: str, q: Any) -> None:
    for x, axis, keepdims in ((X, None, False), (X, (0, 2), True), (X[:, :3], 1, False)):
        expected = np.quantile(x, q, axis, method=method, keepdims=keepdims)
        found = fg.quantile(x, q, axis, keepdims, method=method)
        assert found.shape == np.shape(expected)
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-13)


def test_quantiles_in_every_way() -> None:
    hundred = np.asarray([5, 50.0])
    expected = np.percentile(X, hundred, 1)
    run = fg.compile(lambda a, q: [fg.percentile(a, q, 1), fg.quantile(a, q / 100, dim=1)])
    for found in (fg.percentile(X, [5, 50.0], 1), fg.percentile(X, hundred, 1), *run(X, hundred)):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    x = fg.asarray(X)
    for found in (
        x.quantile(0.3, 1),
        x.percentile(30, dim=1),
        x.nanquantile(fg.asarray(np.float64(0.3)), 1),
    ):
        np.testing.assert_allclose(found.numpy(), np.quantile(X, 0.3, 1), rtol=1e-6)
    assert fg.quantile(np.float32([1, 2]), 0.5).dtype is fg.float32
    assert fg.quantile([1, 2], 0.5).dtype is fg.float32
    assert fg.quantile([1.0, 2], 0.5, interpolation="lower").item() == 1
    assert fg.quantile(3.0, [0.1, 0.2]).tolist() == [3, 3]
    assert fg.quantile([1.0, fg.inf], [0.0, 1.0]).tolist() == [1, np.inf]


def test_missing_values() -> None:
    x = X.copy()
    x[0, 1, :3] = np.nan
    x[2, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for axis in AXES:
            expected = np.nanmedian(x, axis)
            np.testing.assert_allclose(fg.nanmedian(x, axis).numpy(), expected, rtol=1e-14)
            for q in (0.3, [0.0, 0.9]):
                expected = np.nanquantile(x, q, axis)
                np.testing.assert_allclose(fg.nanquantile(x, q, axis).numpy(), expected)
                np.testing.assert_array_equal(
                    np.isnan(fg.quantile(x, q, axis)), np.isnan(np.quantile(x, q, axis))
                )
        np.testing.assert_allclose(fg.nanpercentile(x, 30, 2), np.nanpercentile(x, 30, 2))


@pytest.mark.parametrize("q", [0.3, [0.0, 0.5, 1.0]], ids=str)
def test_weights(q: Any) -> None:
    weights = RNG.integers(0, 4, X.shape) + (RNG.uniform(size=X.shape) < 0.1)
    along = RNG.uniform(0.1, 1, 4)
    for axis, given in ((None, weights), ((0, 2), weights), (1, weights + 1), (1, along)):
        expected = np.quantile(X, q, axis, method="inverted_cdf", weights=given)
        run = fg.compile(
            lambda a, w, k=axis: fg.quantile(a, q, k, method="inverted_cdf", weights=w)
        )
        for found in (
            fg.quantile(X, q, axis, method="inverted_cdf", weights=given),
            run(X, given),
        ):
            np.testing.assert_array_equal(found.numpy(), expected)
    missing = np.where(X > 4, np.nan, X)
    expected = np.nanquantile(missing, q, 1, method="inverted_cdf", weights=weights + 1)
    found = fg.nanquantile(missing, q, 1, method="inverted_cdf", weights=weights + 1)
    np.testing.assert_array_equal(found.numpy(), expected)
    with pytest.raises(ValueError, match="weights are for the method"):
        fg.quantile(X, 0.5, weights=weights)
    with pytest.raises(fg.errors.ShapeError, match=r"weights of shape \(4,\) for values of shape"):
        fg.quantile(X, 0.5, 0, method="inverted_cdf", weights=along)


def test_gradients() -> None:
    for function in (
        lambda a: fg.median(a, 0) ** 2,
        lambda a: fg.median(a[:, :, :4], 2) ** 2,
        lambda a: fg.quantile(a, [0.2, 0.77], 1) ** 2,
        lambda a: fg.quantile(a, 0.5, (0, 2), method="lower") ** 2,
        lambda a: fg.nanmedian(a, 1) ** 2,
    ):
        check_grads(function, (X,))
    x = np.array([1.0, np.nan, 3.0, 4.0])
    gradient = fg.grad(lambda a: fg.nanmedian(a))(fg.asarray(x))
    assert gradient.tolist() == [0, 0, 1, 0]


def test_batches() -> None:
    found = fg.vmap(lambda a: fg.quantile(a, [0.2, 0.5], 1))(X)
    expected = np.moveaxis(np.quantile(X, [0.2, 0.5], 2), 0, 1)
    np.testing.assert_allclose(found.numpy(), expected)


def test_wrong_use() -> None:
    with pytest.raises(ValueError, match=r"quantile: q must be between 0 and 1, not 1\.5"):
        fg.quantile(X, 1.5)
    with pytest.raises(ValueError, match=r"percentile: q must be between 0 and 100, not -1\.0"):
        fg.percentile(X, -1)
    with pytest.raises(ValueError, match="quantile: no method 'cubic'; the methods are linear, "):
        fg.quantile(X, 0.5, method="cubic")
    with pytest.raises(fg.errors.ShapeError, match="quantile: there is no axis 3"):
        fg.quantile(X, 0.5, 3)
