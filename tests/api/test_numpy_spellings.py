"""Arguments of NumPy's functions beyond the array API: masks, initial values, edge cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import AxisError, EmptyReductionError, IndexBoundsError, ShapeError
from fusegrad.testing import check_grads

X = np.random.default_rng(5).normal(size=(3, 4))
MASK = np.random.default_rng(6).uniform(size=(3, 4)) > 0.4
COUNTS = np.array([[3, 1, 2], [5, 4, 0]])
INFINITY = float("inf")

# what is called on both modules
SAME: dict[str, Callable[[Any], Any]] = {
    "sum where": lambda m: m.sum(X, axis=1, where=MASK),
    "sum initial": lambda m: m.sum(COUNTS, axis=0, initial=10),
    "sum of bools": lambda m: m.sum(MASK, where=[True, False, True, True]),
    "prod": lambda m: m.prod(X, axis=0, keepdims=True, where=MASK, initial=2.0),
    "mean": lambda m: m.mean(X, axis=1, where=MASK),
    "mean of all": lambda m: m.mean(X, where=MASK[:1]),
    "max": lambda m: m.max(X, axis=1, where=MASK, initial=-1.0),
    "max initial": lambda m: m.max(COUNTS, initial=4),
    "max of nothing": lambda m: m.max(np.zeros((2, 0)), axis=1, initial=-INFINITY),
    "min": lambda m: m.min(X, axis=0, where=MASK, initial=0.5),
    "any": lambda m: m.any(X > 1, axis=1, where=MASK),
    "all": lambda m: m.all(COUNTS, axis=0, where=COUNTS > 1),
    "nanvar": lambda m: m.nanvar(np.where(MASK, X, np.nan), axis=0, ddof=1),
    "nanstd": lambda m: m.nanstd(np.where(MASK, X, np.nan), ddof=2),
    "gradient unsigned": lambda m: m.gradient(np.array([1.0, 4.0, 9.0]), np.array([9, 4, 1], "u1")),
    "gradient far": lambda m: m.gradient(np.ones(2), np.array([-120, 120], "i1")),
    "interp inf": lambda m: m.interp(
        np.array([1.0, 2.0, 3.0, INFINITY, 2.5]),
        np.array([1.0, 2.0, INFINITY]),
        np.array([1.0, INFINITY, 4.0]),
    ),
    "interp flat": lambda m: m.interp(
        np.array([0.5]), np.array([-INFINITY, INFINITY]), np.array([10.0, 10.0])
    ),
    "cov of one row": lambda m: m.cov(np.ones((1, 3)), rowvar=False, ddof=0),
    "roll unsigned": lambda m: m.roll(np.arange(5), np.uint16(2)),
    "roll array": lambda m: m.roll(X, np.array([1, -1]), (0, 1)),
    "tensordot": lambda m: m.tensordot(X, X, ((0, 1), (0, 1))),
    "nan_to_num": lambda m: m.nan_to_num(np.array([np.nan, 1.0]), copy=False, nan=7.0),
    "concatenate": lambda m: m.concatenate([X, COUNTS], axis=None, dtype=np.float64),
    "clip beyond": lambda m: m.clip(np.arange(9, dtype="u1"), -1, 2**70),
    "clip one side": lambda m: m.clip(np.arange(9, dtype="i4"), 3, 2**40),
    "isin": lambda m: m.isin(COUNTS, [1, 4], kind="sort"),
    "percentile": lambda m: m.percentile(X, q=np.array([30.0, 60.0]), axis=1),
    "quantile": lambda m: m.quantile(X, q=0.3),
}


@pytest.mark.parametrize("name", SAME)
@pytest.mark.filterwarnings("ignore:Degrees of freedom")
def test_equals_numpy(name: str) -> None:
    with np.errstate(invalid="ignore", divide="ignore"):
        expected = SAME[name](np)
    for found in (SAME[name](fg), fg.compile(lambda: SAME[name](fg))()):
        assert found.shape == np.shape(expected)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-12)


def test_masked_reductions_have_gradients() -> None:
    check_grads(lambda x: fg.sum(x * x, axis=0, where=MASK), (X,), order=2)
    check_grads(lambda x: fg.mean(x * x, axis=1, where=MASK), (X,), order=2)
    check_grads(lambda x: fg.max(x, axis=1, where=MASK, initial=-9.0), (X,))
    slope = fg.grad(lambda x: fg.sum(1 / x, where=x != 0))(fg.asarray([0.0, 2.0]))
    np.testing.assert_array_equal(slope, [0.0, -0.25])


def test_gradients_of_several_axes_are_a_tuple() -> None:
    assert isinstance(fg.gradient(X), tuple)


def test_broadcast_shapes_takes_numbers() -> None:
    assert fg.broadcast_shapes(3, (2, 1)) == np.broadcast_shapes(3, (2, 1))


def test_wrong_use() -> None:
    with pytest.raises(EmptyReductionError, match="max with where= has no value"):
        fg.max(X, where=MASK)
    with pytest.raises(IndexBoundsError, match="insert"):
        fg.insert([1, 2, 3], [-4, 0], 7)
    with pytest.raises(ShapeError, match="einsum: 52 names no axis"):
        fg.einsum(X, [0, 52])
    with pytest.raises(ShapeError, match="bincount of an array of 0 dimensions"):
        fg.bincount(2)


def test_an_axis_error_is_numpys() -> None:
    with pytest.raises(np.exceptions.AxisError, match="sum: there is no axis 2"):
        fg.sum(X, axis=2)
    assert issubclass(AxisError, IndexError)
    assert issubclass(AxisError, ValueError)
