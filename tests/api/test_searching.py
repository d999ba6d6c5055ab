"""Searching, sets and histograms against NumPy; what depends on values is refused in a trace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.errors import DataDependentShapeError, ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(4)


# --- sorted arrays --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "uint64", "bool"])
@pytest.mark.parametrize("extent", [0, 1, 2, 7, 8, 100])
def test_searching_is_numpys(dtype: str, extent: int) -> None:
    row = np.sort(RNG.integers(0, 9, extent).astype(dtype))
    x = RNG.integers(0, 10, (3, 5)).astype(dtype)
    if dtype.startswith("float"):
        x.reshape(-1)[:3] = [np.nan, np.inf, -0.0]
        if extent > 4:
            row[-2:] = np.nan
    for side in ("left", "right"):
        expected = np.searchsorted(row, x, side)
        run = fg.compile(lambda a, b, s=side: fg.searchsorted(a, b, side=s))
        for found in (fg.searchsorted(row, x, side=side), run(row, x)):
            np.testing.assert_array_equal(found.numpy(), expected, strict=True)


def test_searching_with_an_order_and_in_rows() -> None:
    row, x = RNG.permutation(9), RNG.integers(0, 9, 4)
    order = np.argsort(row)
    expected = np.searchsorted(row, x, sorter=order)
    assert fg.searchsorted(row, x, sorter=order).tolist() == expected.tolist()
    rows, x = np.sort(RNG.standard_normal((3, 6)), 1), RNG.standard_normal((3, 4))
    found = fg.searchsorted(rows, x, right=True)
    expected = [np.searchsorted(a, b, "right") for a, b in zip(rows, x, strict=True)]
    np.testing.assert_array_equal(found.numpy(), expected)
    assert fg.searchsorted([1, 2, 3], 2).shape == ()
    assert fg.searchsorted([1, 2, 3], 2.5).item() == 2
    batched = fg.vmap(fg.searchsorted)(rows, x)
    assert batched.tolist() == fg.searchsorted(rows, x).tolist()


def test_bins() -> None:
    x = RNG.uniform(-1, 4, (4, 5)).astype(np.float32)
    x.reshape(-1)[:4] = [0, 1, 2, 3]
    for edges in ([0.0, 1, 2, 3], [3.0, 2, 1, 0], [1.0], [], [1.0, 1.0]):
        for right in (False, True):
            expected = np.digitize(x, np.asarray(edges, np.float32), right)
            run = fg.compile(lambda a, b, r=right: fg.digitize(a, b, r))
            for found in (fg.digitize(x, edges, right), run(x, np.asarray(edges, np.float32))):
                np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    assert fg.bucketize([1, 2, 9], [1, 2]).tolist() == [0, 1, 2]
    assert fg.bucketize([1, 2, 9], [1, 2], right=True).tolist() == [1, 2, 2]
    with pytest.raises(ValueError, match="digitize: the edges must ascend or descend"):
        fg.digitize(x, [1.0, 3.0, 2.0])


def test_wrong_searches() -> None:
    with pytest.raises(ValueError, match=r'side is "left" or "right", not \'middle\''):
        fg.searchsorted([1], [1], side="middle")
    with pytest.raises(ShapeError, match=r"rows of shape \(2, 3\) for values of shape \(4,\)"):
        fg.searchsorted(fg.ones((2, 3)), fg.ones(4))
    with pytest.raises(ShapeError, match="searchsorted: the sorted array has no axis"):
        fg.searchsorted(1.0, 1.0)


# --- sets -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "int16", "uint8", "bool"])
def test_members(dtype: str) -> None:
    x, pool = (RNG.integers(0, 9, shape).astype(dtype) for shape in ((3, 4), (2, 2)))
    for among in (pool, pool[:0], pool[0]):
        for invert in (False, True):
            expected = np.isin(x, among, invert=invert)
            run = fg.compile(lambda a, b, i=invert: fg.isin(a, b, invert=i))
            for found in (fg.isin(x, among, invert=invert), run(x, among)):
                np.testing.assert_array_equal(found.numpy(), expected, strict=True)
    assert fg.isin([fg.nan, 1.0], [fg.nan, 1.0]).tolist() == [False, True]
    assert fg.isin(2, [1, 2]).item() is True
    assert fg.isin([1.5, 2], 2).tolist() == [False, True]


@pytest.mark.parametrize("dtype", ["float64", "int32", "bool"])
@pytest.mark.parametrize("shape", [(7,), (2, 3, 4), (0,), (2, 0), ()], ids=str)
def test_distinct_elements(dtype: str, shape: tuple[int, ...]) -> None:
    x = np.asarray(RNG.integers(0, 5, shape)).astype(dtype)
    if dtype == "float64" and x.size > 3:
        x.reshape(-1)[:2] = np.nan
    for name in ("unique_all", "unique_counts", "unique_inverse"):
        found, expected = getattr(fg, name)(x), getattr(np, name)(x)
        assert found._fields == expected._fields
        for ours, numpys in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)
    np.testing.assert_array_equal(np.sort(fg.unique_values(x)), np.sort(np.unique_values(x)))
    found = fg.unique(x, True, True, True)
    for ours, numpys in zip(found, np.unique(x, True, True, True), strict=True):
        np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)
    np.testing.assert_array_equal(fg.unique(x).numpy(), np.unique(x), strict=True)


def test_distinct_slices() -> None:
    x = RNG.integers(0, 2, (6, 2, 2))
    for axis in (0, 1, -1):
        found = fg.unique(x, return_inverse=True, axis=axis)
        for ours, numpys in zip(found, np.unique(x, return_inverse=True, axis=axis), strict=True):
            np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)


def test_elements_that_differ_from_the_one_before() -> None:
    x = np.array([[1, 1], [2, 2], [2, 2], [1, 1]])
    values, inverse, counts = fg.unique_consecutive(x, True, True)
    assert values.tolist() == [1, 2, 1]
    assert inverse.tolist() == [[0, 0], [1, 1], [1, 1], [2, 2]]
    assert counts.tolist() == [2, 4, 2]
    values, inverse, counts = fg.unique_consecutive(x, True, True, dim=0)
    assert values.tolist() == [[1, 1], [2, 2], [1, 1]]
    assert inverse.tolist() == [0, 1, 1, 2]
    assert counts.tolist() == [1, 2, 1]
    assert fg.unique_consecutive([]).shape == (0,)


def test_two_sets() -> None:
    for a, b in (
        ([3, 1, 2, 3], [2, 4, 3]),
        ([1.5, 2], [2, 3]),
        ([], [1.0]),
        ([[5, 6]], [[6], [7]]),
    ):
        for name in ("union1d", "intersect1d", "setdiff1d", "setxor1d"):
            expected = getattr(np, name)(a, b)
            found = getattr(fg, name)(a, b)
            np.testing.assert_array_equal(found.numpy(), expected)
    run = fg.compile(lambda a, b: fg.union1d(a, b, size=6, fill_value=-1))
    assert run(np.array([3, 1, 3]), np.array([2, 1])).tolist() == [1, 2, 3, -1, -1, -1]
    common, own, other = fg.intersect1d([9, 4, 4], [4, 9, 8], return_indices=True)
    assert (common.tolist(), own.tolist(), other.tolist()) == ([4, 9], [1, 0], [0, 1])
    assert fg.setdiff1d([3, 1, 2], [1], assume_unique=True).tolist() == [3, 2]


def test_gradients_flow_to_what_was_picked() -> None:
    x = np.array([3.0, 1.0, 2.0, 1.0])
    gradient = fg.grad(lambda a: (fg.unique(a) * fg.asarray([1.0, 10.0, 100.0])).sum())
    assert gradient(fg.asarray(x)).tolist() == [100, 1, 10, 0]


# --- counting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int64", "uint8", "int16"])
def test_counts(dtype: str) -> None:
    x = RNG.integers(0, 6, 30).astype(dtype)
    w = RNG.uniform(size=30)
    np.testing.assert_array_equal(fg.bincount(x).numpy(), np.bincount(x), strict=True)
    np.testing.assert_array_equal(fg.bincount(x, minlength=9).numpy(), np.bincount(x, minlength=9))
    np.testing.assert_allclose(fg.bincount(x, w).numpy(), np.bincount(x, w), rtol=1e-14)
    run = fg.compile(lambda a, b: [fg.bincount(a, length=4), fg.bincount(a, b, length=8)])
    few, many = run(x, w)
    assert few.tolist() == np.bincount(x, minlength=4)[:4].tolist()
    np.testing.assert_allclose(many.numpy(), np.bincount(x, w, 8), rtol=1e-14)
    check_grads(lambda a: fg.bincount(x, a, length=6) ** 2, (w,))


def test_counts_of_little() -> None:
    assert fg.bincount([]).shape == (0,)
    assert fg.bincount([], minlength=3).tolist() == [0, 0, 0]
    assert fg.bincount([-1, 0, 5], length=2).tolist() == [1, 0]
    assert fg.bincount([True, False, True]).tolist() == [1, 2]
    assert fg.bincount([1], [2]).dtype is fg.int64
    with pytest.raises(ValueError, match="bincount: the index -1 is negative"):
        fg.bincount([-1, 0])
    with pytest.raises(fg.errors.DTypeError, match="bincount of float32"):
        fg.bincount([1.0])
    with pytest.raises(ShapeError, match="weights of shape"):
        fg.bincount([1, 2], [1.0])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "uint8"])
@pytest.mark.parametrize("bins", [1, 10, 33, [0.0, 1.0, 1.5, 4.0], "sqrt"], ids=str)
def test_histograms(dtype: str, bins: Any) -> None:
    x = (RNG.standard_normal((20, 10)) * 3 + 5).clip(0, 20).astype(dtype)
    w = RNG.uniform(size=x.shape)
    for limits in (None, (1, 9), (2, 2)):
        for density in (False, True):
            for weights in (None,) if bins == "sqrt" else (None, w):
                hist, edges = fg.histogram(x, bins, limits, density, weights)
                wanted, borders = np.histogram(x, bins, limits, density, weights)
                np.testing.assert_allclose(edges.numpy(), borders, rtol=1e-6, atol=1e-6)
                if dtype == "float64" or not density:
                    np.testing.assert_allclose(hist.numpy(), wanted, rtol=1e-5)
                if weights is None and not density:
                    assert hist.dtype is fg.int64


@pytest.mark.parametrize("bins", [4, (3, 5), ([0.0, 1.0, 3.0], 4)], ids=str)
def test_histograms_of_points(bins: Any) -> None:
    x, y = RNG.uniform(-1, 4, (2, 60))
    w = RNG.uniform(size=60)
    for limits in (None, [(0, 3), (-1, 2)]):
        for density in (False, True):
            for weights in (None, w):
                found = fg.histogram2d(x, y, bins, limits, density, weights)
                expected = np.histogram2d(x, y, bins, limits, density, weights)
                for ours, numpys in zip(found, expected, strict=True):
                    assert ours.shape == numpys.shape
                    np.testing.assert_allclose(ours.numpy(), numpys, rtol=1e-12, atol=1e-15)
    points = RNG.uniform(size=(50, 3)).astype(np.float32)
    run = fg.compile(lambda a: fg.histogramdd(a, 3)[0])
    np.testing.assert_array_equal(run(points).numpy(), np.histogramdd(points, 3)[0])
    with pytest.raises(ShapeError, match="2 bins and 3 ranges for points of 3 dimensions"):
        fg.histogramdd(points, (1, 2))
    with pytest.raises(ShapeError, match="histogramdd of an array of 1 dimensions"):
        fg.histogramdd(x)


def test_histograms_of_little() -> None:
    assert fg.histogram([]).hist.tolist() == [0] * 10
    assert fg.histogram([2.0, 2.0], 2).bin_edges.tolist() == [1.5, 2, 2.5]
    x = np.array([0, 1, np.nan, 2, 3.0, -1, 9])
    assert fg.histogram(x, 3, (0, 3)).hist.tolist() == [1, 1, 2]
    assert fg.histc(x, 3, 0, 3).tolist() == [1, 1, 2]
    run = fg.compile(lambda a: fg.histogram(a, 4))
    hist, edges = run(x[:2])
    assert hist.tolist() == [1, 0, 0, 1]
    assert edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    with pytest.raises(ValueError, match="extremes of the values are not finite; give a range"):
        fg.histogram(x)
    with pytest.raises(TypeError, match="histogram: the rules for the number of bins know no"):
        fg.histogram(x, "fd", weights=x)
    with pytest.raises(ValueError, match="histogram: the edges must ascend"):
        fg.histogram(x, [1.0, 0.0])
    with pytest.raises(ValueError, match="there must be a bin, not 0"):
        fg.histogram(x, 0)
    with pytest.raises(ValueError, match=r"the range \(2.0, 1.0\) is not finite and ascending"):
        fg.histogram(x, 3, (2, 1))


# --- shapes that depend on values -----------------------------------------------------------------


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4), (0, 2)], ids=str)
def test_places_of_elements(shape: tuple[int, ...]) -> None:
    x = RNG.integers(0, 2, shape)
    for ours, numpys in zip(fg.nonzero(x), np.nonzero(x), strict=True):
        np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)
    np.testing.assert_array_equal(fg.argwhere(x).numpy(), np.argwhere(x), strict=True)
    np.testing.assert_array_equal(fg.flatnonzero(x).numpy(), np.flatnonzero(x), strict=True)
    tensor = fg.asarray(x)
    for ours, numpys in zip(tensor.nonzero(), np.nonzero(x), strict=True):
        np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)
    for rows in (tensor.argwhere(), tensor.nonzero(as_tuple=False)):
        np.testing.assert_array_equal(rows.numpy(), np.argwhere(x), strict=True)
    assert fg.argwhere(3).shape == (1, 0)
    with pytest.raises(ShapeError, match="nonzero of an array without axes"):
        fg.nonzero(3)


@pytest.mark.parametrize(
    "function",
    [
        fg.nonzero,
        fg.argwhere,
        fg.flatnonzero,
        fg.unique,
        fg.unique_all,
        fg.unique_counts,
        fg.unique_inverse,
        fg.unique_values,
        lambda a: a.nonzero(),
        lambda a: a.argwhere(),
        lambda a: fg.union1d(a, a),
        lambda a: fg.intersect1d(a, a),
        lambda a: fg.setdiff1d(a, a),
        lambda a: fg.setxor1d(a, a),
        lambda a: fg.bincount(fg.astype(a, fg.int64)),
        lambda a: fg.histogram(a, "auto"),
    ],
)
def test_a_trace_refuses_shapes_that_depend_on_values(function: Callable[[Any], Any]) -> None:
    with pytest.raises(DataDependentShapeError, match="needs a value that does not exist while"):
        fg.compile(function)(np.ones(3, np.float32))


def test_the_refusal_names_the_line_and_the_way_out() -> None:
    with pytest.raises(DataDependentShapeError) as caught:
        fg.compile(lambda a: fg.nonzero(a))(np.ones(3))
    lines = str(caught.value).splitlines()
    assert lines[:2] == [
        "fg.nonzero needs a value that does not exist while the function is traced [FG206]",
        "  the value depends on the argument 'a'",
    ]
    assert "test_searching.py" in lines[2]
    assert lines[3] == (
        "  remedy: give the number of elements, size=..., or keep the shape: write "
        "fg.where(x != 0, a, b), or multiply by the mask"
    )


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4), (0, 2)], ids=str)
@pytest.mark.parametrize("size", [0, 3, 40])
def test_places_of_as_many_elements_as_there_is_room_for(shape: tuple[int, ...], size: int) -> None:
    x = RNG.integers(0, 2, shape)
    count = min(size, np.count_nonzero(x))
    rest = (0, size - count)

    def run(a: Any) -> list[Any]:
        return [
            *fg.nonzero(a, size=size, fill_value=9),
            fg.argwhere(a, size=size),
            fg.flatnonzero(a, size=size, fill_value=-1),
        ]

    expected = [np.pad(places[:size], rest, constant_values=9) for places in np.nonzero(x)]
    expected.append(np.pad(np.argwhere(x)[:size], (rest, (0, 0))))
    expected.append(np.pad(np.flatnonzero(x)[:size], rest, constant_values=-1))
    for found in (run(fg.asarray(x)), fg.compile(run)(x)):
        for ours, numpys in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool"])
@pytest.mark.parametrize("shape", [(9,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("size", [0, 2, 12])
def test_as_many_distinct_elements_as_there_is_room_for(
    dtype: str, shape: tuple[int, ...], size: int
) -> None:
    x = RNG.integers(0, 5, shape).astype(dtype)
    if dtype == "float32":
        x.reshape(-1)[:2] = np.nan
    values, indices, inverse, counts = np.unique(x, True, True, True)
    rest = (0, max(0, size - len(values)))
    run = fg.compile(lambda a: fg.unique(a, True, True, True, size=size, fill_value=7))
    for found in (fg.unique(x, True, True, True, size=size, fill_value=7), run(x)):
        filled = np.pad(values[:size], rest, constant_values=np.asarray(7, dtype))
        np.testing.assert_array_equal(found[0].numpy(), filled, strict=True)
        kept = min(size, len(values))
        np.testing.assert_array_equal(found[1].numpy()[:kept], indices[:size])
        np.testing.assert_array_equal(found[2].numpy(), np.minimum(inverse, max(size - 1, 0)))
        np.testing.assert_array_equal(found[3].numpy(), np.pad(counts[:size], rest))
    if x.size:
        smallest = fg.unique(x, size=size).numpy()[len(values) :]
        np.testing.assert_array_equal(smallest, np.full(rest[1], values[0]))


def test_wrong_sizes() -> None:
    with pytest.raises(ValueError, match="the size of a result is not negative, as -1 is"):
        fg.nonzero([1], size=-1)
    with pytest.raises(ValueError, match="2 fill values for 1 axes"):
        fg.nonzero([1], size=2, fill_value=(1, 2))
    with pytest.raises(ValueError, match="unique: a size is for arrays taken flat"):
        fg.unique([[1]], axis=0, size=2)
    with pytest.raises(ShapeError, match="unique: there is no axis 1 in an array of 1 dim"):
        fg.unique([1], axis=1)
    with pytest.raises(ShapeError, match="bincount of an array of 2 dimensions"):
        fg.bincount([[1, 2]])
