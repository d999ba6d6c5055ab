"""Rows that are sorted by value, of every length at which another way of sorting begins."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg

LENGTHS = (255, 256, 257, 385, 640, 2049, 5121)
DTYPES = ("f4", "f8", "i4", "u8")


def rows(dtype: str, count: int, length: int) -> Any:
    rng = np.random.default_rng(length)
    kind = np.dtype(dtype)
    if kind.kind != "f":
        info = np.iinfo(kind)
        x = rng.integers(info.min, info.max, (count, length), dtype=kind, endpoint=True)
        x[:, ::7] = info.max
        x[0, ::5] = info.min
        return x
    x = rng.standard_normal((count, length)).astype(kind)
    x[:, ::11] = np.inf
    x[:, 3::11] = -np.inf
    x[0, 1::13] = np.nan
    x[-1, 4:40] = np.round(x[-1, 4:40])
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_in_order(dtype: str) -> None:
    given = [rows(dtype, 1 + length % 3, length) for length in LENGTHS]
    up = fg.compile(lambda *a: tuple(fg.sort(x, axis=-1) for x in a))(*given)
    for x, rising in zip(given, up, strict=True):
        np.testing.assert_array_equal(rising.numpy(), np.sort(x, -1))


@pytest.mark.parametrize("dtype", ["f4", "i8", "f2", "i2"])
def test_values_in_the_other_order(dtype: str) -> None:
    x = rows(dtype, 2, 300)
    down = fg.compile(lambda a: fg.sort(a, axis=-1, descending=True))(x)
    np.testing.assert_array_equal(down.numpy(), np.sort(x, -1)[:, ::-1])


def test_signed_zeros_and_extremes_stay() -> None:
    x = np.where(np.random.default_rng(0).random(700) < 0.5, -0.0, 0.0).astype("f4")
    x[5], x[6], x[7] = np.finfo("f4").max, -np.inf, np.nan
    found = fg.compile(lambda a: fg.sort(a))(x).numpy()
    np.testing.assert_array_equal(found, np.sort(x))
    assert np.signbit(found[:-2]).sum() == np.signbit(x[np.isfinite(x) | (x < 0)]).sum()


def test_the_gradient_goes_back_to_where_elements_were() -> None:
    x = np.random.default_rng(1).permutation(900).astype("f4")
    weights = np.arange(900, dtype="f4")
    found = fg.compile(lambda a: fg.grad(lambda v: (fg.sort(v) * weights).sum())(a))(x)
    np.testing.assert_array_equal(found.numpy(), x)


@pytest.mark.parametrize("count", [1, 5, 9, 16, 30, 64])
@pytest.mark.parametrize("rows_and_length", [(17, 200), (40, 131), (3, 128), (16, 64 * 5)])
def test_the_first_of_many_rows(count: int, rows_and_length: tuple[int, int]) -> None:
    rows_, length = rows_and_length
    x = np.random.default_rng(count).integers(-20, 20, (rows_, length)).astype("f4")
    x[0, ::3], x[1, 5], x[2] = np.nan, np.inf, -0.0
    run = fg.compile(lambda a: (*fg.topk(a, count), *fg.topk(a, count, largest=False)))
    values, places, least, least_places = (t.numpy() for t in run(x))
    order = np.argsort(x, axis=-1, kind="stable")[:, :count]
    np.testing.assert_array_equal(least_places, order)
    np.testing.assert_array_equal(least, np.take_along_axis(x, order, -1))
    down = length - 1 - np.argsort(x[:, ::-1], axis=-1, kind="stable")[:, ::-1][:, :count]
    np.testing.assert_array_equal(places, down)
    np.testing.assert_array_equal(values, np.take_along_axis(x, down, -1))


@pytest.mark.parametrize("length", [511, 512, 1300, 1301])
def test_parts_of_the_order_of_long_rows(length: int) -> None:
    x = np.random.default_rng(length).integers(-40, 40, (3, length)).astype("f4")
    x[0, 7], x[1, 3], x[1, 9] = 1e6, -1e6, np.nan
    fractions = [0.0, 0.31, 1.0]

    def parts(a: Any) -> Any:
        middle, quarter = fg.median(a, axis=-1), fg.quantile(a, 0.25, axis=-1)
        kth, most = fg.kthvalue(a, 77), fg.topk(a, 90)
        return middle, quarter, fg.quantile(a, fractions, axis=-1), *kth, *most

    found = [t.numpy() for t in fg.compile(parts)(x)]
    order = np.argsort(x, -1, kind="stable")
    np.testing.assert_array_equal(found[0], np.median(x, -1))
    np.testing.assert_allclose(found[1], np.quantile(x, 0.25, axis=-1), rtol=1e-6)
    np.testing.assert_allclose(found[2], np.quantile(x, fractions, axis=-1), rtol=1e-6)
    np.testing.assert_array_equal(found[4], order[:, 76])
    np.testing.assert_array_equal(found[3], np.sort(x, -1)[:, 76])
    np.testing.assert_array_equal(found[5], np.sort(x, -1)[:, ::-1][:, :90])
    np.testing.assert_array_equal(np.take_along_axis(x, found[6], -1), found[5])


@pytest.mark.parametrize("name", ["float64", "int64", "int16", "float16"])
def test_parts_of_the_order_of_other_dtypes(name: str) -> None:
    x = np.random.default_rng(3).permutation(900).astype(name).reshape(1, 900)
    found = fg.compile(lambda a: (fg.median(a, axis=-1), fg.topk(a, 70)[0]))(x)
    np.testing.assert_array_equal(found[0].numpy(), np.median(x, -1))
    np.testing.assert_array_equal(found[1].numpy(), np.sort(x, -1)[:, ::-1][:, :70])


def test_gradients_go_to_the_elements_at_the_ranks() -> None:
    x = np.random.default_rng(4).permutation(1000).astype("f8").reshape(2, 500)
    x = np.concatenate([x, x + 2000], -1)
    slope = fg.grad(lambda a: (fg.median(a, axis=-1) * 3).sum() + fg.topk(a, 80)[0].sum())
    expected = np.zeros_like(x)
    order = np.argsort(x, -1)
    np.put_along_axis(expected, order[:, 499:501], 1.5, -1)
    np.put_along_axis(expected, order[:, -80:], 1.0, -1)
    np.testing.assert_allclose(fg.compile(slope)(x).numpy(), expected)


def test_a_fraction_that_is_an_argument_needs_no_new_code() -> None:
    x = np.random.default_rng(5).standard_normal((2, 700)).astype("f4")
    step = fg.compile(lambda a, q: fg.quantile(a, q, axis=-1))
    for q in (0.1, 0.9):
        np.testing.assert_allclose(step(x, q).numpy(), np.quantile(x, q, axis=-1), rtol=1e-5)
    assert step.stats().compiles == 1
