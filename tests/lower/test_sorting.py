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
