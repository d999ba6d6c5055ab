"""Sorting and what follows from it against NumPy: every dtype, order of equals, gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.testing import check_grads

RNG = np.random.default_rng(2)
DTYPES = [
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    "float32",
    "float64",
]
SHAPES: list[tuple[int, ...]] = [(7,), (1,), (0,), (3, 4), (2, 0), (5, 2, 3), (2, 1, 3, 1, 70)]


def values(shape: tuple[int, ...], dtype: str) -> Any:
    """Few distinct values, and the extremes of the dtype."""
    x = RNG.integers(0, 5, shape).astype(dtype)
    flat = x.reshape(-1)
    if flat.size > 4 and dtype != "bool":
        kind = np.finfo(dtype) if dtype.startswith("float") else np.iinfo(dtype)
        flat[:3] = [kind.max, kind.min, kind.max]
    if flat.size > 6 and dtype.startswith("float"):
        flat[3:7] = [np.nan, -np.inf, np.inf, -0.0]
    return RNG.permutation(flat).reshape(shape)


def descending_order(x: Any, axis: int) -> Any:
    """The stable order downwards, NaN first."""
    last = x.shape[axis] - 1
    return np.flip(last - np.argsort(np.flip(x, axis), axis, kind="stable"), axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sorting_is_numpys(shape: tuple[int, ...], dtype: str) -> None:
    x = values(shape, dtype)
    for axis in {0, len(shape) - 1}:

        def run(a: Any, axis: int = axis) -> list[Any]:
            return [f(a, axis, down) for f in (fg.sort, fg.argsort) for down in (False, True)]

        expected = [
            np.sort(x, axis),
            np.flip(np.sort(x, axis), axis),
            np.argsort(x, axis, kind="stable"),
            descending_order(x, axis),
        ]
        for found in (run(fg.asarray(x)), fg.compile(run)(x)):
            for ours, numpys in zip(found, expected, strict=True):
                np.testing.assert_array_equal(ours.numpy(), numpys, strict=True)


@pytest.mark.parametrize(("rows", "extent", "count"), [(2, 300, 3), (1, 1000, 40), (20, 700, 5)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8", "bool"])
def test_the_first_of_long_rows(rows: int, extent: int, count: int, dtype: str) -> None:
    """Without sorting the rest: equal elements, NaN and infinities, the best at both ends."""
    x = np.stack([values((extent,), dtype) for _ in range(rows)])
    x[-1] = np.sort(x[-1])
    largest, smallest = fg.compile(lambda a: [fg.topk(a, count), fg.topk(a, count, largest=False)])(
        x
    )
    down, up = descending_order(x, -1)[:, :count], np.argsort(x, kind="stable")[:, :count]
    np.testing.assert_array_equal(largest.indices.numpy(), down)
    np.testing.assert_array_equal(largest.values.numpy(), np.take_along_axis(x, down, -1))
    np.testing.assert_array_equal(smallest.indices.numpy(), up)
    eager = fg.topk(fg.asarray(x), count)
    np.testing.assert_array_equal(eager.indices.numpy(), down)


@pytest.mark.parametrize("extent", [2, 3, 4, 5, 9, 31, 40, 65, 127, 300])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_rows_beside_each_other(extent: int, dtype: str) -> None:
    """Many rows, sorted together: equal elements, NaN, infinities and signed zeros among them."""
    x = np.stack([values((extent,), dtype) for _ in range(37)])
    run = fg.compile(lambda a: [fg.sort(a), fg.argsort(a), fg.argsort(a, descending=True)])
    ordered, order, down = run(x)
    np.testing.assert_array_equal(ordered.numpy(), np.sort(x))
    np.testing.assert_array_equal(order.numpy(), np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(down.numpy(), descending_order(x, -1))


@pytest.mark.parametrize("extent", [2, 3, 63, 64, 65, 255, 256, 257, 5000])
@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_rows_of_every_extent(extent: int, dtype: str) -> None:
    x = (RNG.standard_normal((2, extent)) * 1000).astype(dtype)
    run = fg.compile(lambda a: [fg.sort(a), fg.argsort(a), fg.argsort(a, descending=True)])
    ordered, order, down = run(x)
    np.testing.assert_array_equal(ordered.numpy(), np.sort(x))
    np.testing.assert_array_equal(order.numpy(), np.argsort(x, kind="stable"))
    np.testing.assert_array_equal(down.numpy(), descending_order(x, -1))


def test_without_an_axis_all_elements_are_sorted() -> None:
    x = RNG.standard_normal((3, 4))
    np.testing.assert_array_equal(fg.sort(x, axis=None).numpy(), np.sort(x, None))
    np.testing.assert_array_equal(fg.argsort(x, axis=None).numpy(), np.argsort(x, None))
    np.testing.assert_array_equal(fg.msort(x).numpy(), np.sort(x, 0))
    assert fg.sort(2.0).item() == 2
    assert fg.argsort(2.0).item() == 0


def test_keyword_arguments_of_the_standard() -> None:
    x = fg.asarray([2, 1])
    assert fg.sort(x, axis=0, descending=True, stable=False).tolist() == [2, 1]
    assert x.argsort(dim=0).tolist() == [1, 0]


def test_largest_elements() -> None:
    x = np.array([[3.0, 1, 3, np.nan], [0, -1, 5, 2]])
    found = fg.topk(x, 2, largest=True)
    np.testing.assert_array_equal(found.values.numpy(), [[np.nan, 3], [5, 2]])
    assert found.indices.tolist() == [[3, 0], [2, 3]]
    smallest = fg.asarray(x).topk(3, dim=1, largest=False)
    assert smallest.indices.tolist() == [[1, 0, 2], [1, 0, 3]]
    assert fg.topk(x, 1, axis=0).values.shape == (1, 4)
    assert fg.topk(x, 0).indices.shape == (2, 0)
    assert fg.topk(5.0, 1).values.shape == ()


def test_elements_by_rank() -> None:
    x = RNG.permutation(24).reshape(4, 6)
    for rank in (1, 3, 6):
        values, indices = fg.kthvalue(x, rank)
        np.testing.assert_array_equal(values.numpy(), np.sort(x, 1)[:, rank - 1])
        np.testing.assert_array_equal(indices.numpy(), np.argsort(x, 1)[:, rank - 1])
    assert fg.kthvalue(x, 2, axis=0, keepdims=True).values.shape == (1, 6)
    assert fg.kthvalue(4.0, 1).values.item() == 4


def test_modes() -> None:
    x = np.array([[1, 2, 2, 1, 0], [3, 3, 3, 1, 1], [5, 4, 3, 2, 1]])
    values, indices = fg.mode(x)
    assert values.tolist() == [1, 3, 1]
    assert indices.tolist() == [3, 2, 4]
    assert fg.mode(x, axis=0, keepdims=True).values.tolist() == [[1, 2, 3, 1, 1]]


def test_several_keys() -> None:
    first, second, third = RNG.integers(0, 3, (3, 5, 20))
    for axis in (0, 1, -1):
        found = fg.lexsort((first, second, third), axis)
        np.testing.assert_array_equal(found.numpy(), np.lexsort((first, second, third), axis))
    rows = RNG.integers(0, 3, (3, 9))
    np.testing.assert_array_equal(fg.lexsort(rows).numpy(), np.lexsort(rows))


def test_partitions() -> None:
    x = RNG.permutation(10)
    for rank in (0, 4, -1, [2, 5]):
        found, order = fg.partition(x, rank), fg.argpartition(x, rank)
        for one in np.atleast_1d(rank):
            assert found[int(one)].item() == np.sort(x)[one]
            assert x[order[int(one)].item()] == np.sort(x)[one]


@pytest.mark.parametrize(
    "function",
    [
        lambda a: fg.sort(a, 0),
        lambda a: fg.sort(a, 1, descending=True) ** 2,
        lambda a: fg.topk(a, 2, 1).values ** 2,
        lambda a: fg.kthvalue(a, 2, 0).values ** 3,
        lambda a: fg.mode(a, 1).values ** 2,
        lambda a: a.sort(None).cumprod(),
    ],
)
def test_gradients(function: Callable[[Any], Any]) -> None:
    x = RNG.permutation(np.linspace(-2, 2, 12)).reshape(3, 4)
    check_grads(function, (x,))


def test_gradients_of_long_rows() -> None:
    x = RNG.permutation(np.linspace(-1, 1, 90))
    weights = RNG.uniform(size=90)
    gradient = fg.compile(fg.grad(lambda a: (fg.sort(a) * weights).sum()))(x)
    np.testing.assert_array_equal(gradient.numpy(), weights[np.argsort(np.argsort(x))])


def test_batches() -> None:
    x = RNG.standard_normal((3, 4, 5))
    for function in (fg.sort, fg.argsort):
        for axis in (0, 1):
            found = fg.vmap(lambda a, f=function, k=axis: f(a, k))(x)
            np.testing.assert_array_equal(found.numpy(), function(x, axis + 1).numpy())


def test_wrong_use() -> None:
    x = fg.ones((2, 3))
    error = fg.errors.ShapeError
    with pytest.raises(error, match=r"topk: there are no 4 elements along axis 1 of shape"):
        fg.topk(x, 4)
    with pytest.raises(error, match=r"kthvalue: there is no element of rank 0 along axis 1"):
        fg.kthvalue(x, 0)
    with pytest.raises(error, match="sort: there is no axis 2 in an array of 2 dimensions"):
        fg.sort(x, 2)
    with pytest.raises(error, match="partition: there is no rank 3 among 3 elements"):
        fg.partition(x, 3)
    with pytest.raises(error, match="lexsort needs a key"):
        fg.lexsort([])
    with pytest.raises(fg.errors.EmptyReductionError, match="mode of no elements"):
        fg.mode(fg.ones((2, 0)))
