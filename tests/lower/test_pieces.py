"""Loops that are cut where what they do changes, and reductions down few columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.runtime import threads

RNG = np.random.default_rng(3)


def normal(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize(
    "extents",
    [(1, 4095), (4096, 1), (4096, 4096), (3, 5), (5000, 1, 4096), (0, 5), (4095, 2, 9000)],
)
def test_joined_rows_and_what_follows(extents: tuple[int, ...]) -> None:
    """Pieces that end before, at and behind the end of a block."""
    parts = [normal(extent) for extent in extents]
    joined = np.concatenate(parts)
    scale = normal(joined.size)
    found = fg.compile(lambda s, *arrays: fg.concat(arrays) * s)(scale, *parts)
    np.testing.assert_array_equal(found.numpy(), joined * scale)


@pytest.mark.parametrize("extent", [1, 2, 7, 4096, 4097, 12289])
@pytest.mark.parametrize("shift", [1, -2, 4096])
def test_rolled_and_padded(extent: int, shift: int) -> None:
    x = normal(extent)
    run = fg.compile(lambda a: (fg.roll(a, shift), fg.pad(a, (3, 5), constant_values=2.0)))
    rolled, padded = run(x)
    np.testing.assert_array_equal(rolled.numpy(), np.roll(x, shift))
    np.testing.assert_array_equal(padded.numpy(), np.pad(x, (3, 5), constant_values=2))


@pytest.mark.parametrize("columns", [1, 2, 3, 6, 7, 10, 17, 31, 32, 33])
@pytest.mark.parametrize("rows", [1, 5, 64, 3001])
def test_few_columns(rows: int, columns: int) -> None:
    x, y = normal(rows, columns), normal(rows, columns)
    x[0, 0] = np.nan if rows == 5 else x[0, 0]

    def reduced(a: Any, b: Any) -> Any:
        return fg.sum(a * b, axis=0), fg.max(a, axis=0), fg.sum(b, axis=0, dtype=fg.float64)

    run = fg.compile(reduced)
    total, most, wide = run(x, y)
    product = x.astype(np.float64) * y
    bound = 1e-6 * np.abs(product).sum(0) * 4
    assert np.all((np.abs(total.numpy() - product.sum(0)) <= bound) | np.isnan(product.sum(0)))
    np.testing.assert_array_equal(np.isnan(total.numpy()), np.isnan(product.sum(0)))
    np.testing.assert_array_equal(most.numpy(), x.max(0))
    np.testing.assert_allclose(wide.numpy(), y.astype(np.float64).sum(0), rtol=1e-12, atol=1e-10)


def test_few_columns_of_other_dtypes() -> None:
    x = RNG.integers(-9, 9, (777, 5))
    run = fg.compile(lambda a: (fg.sum(a, axis=0), fg.any(a > 8, axis=0), fg.prod(a % 3, axis=0)))
    total, some, product = run(x)
    np.testing.assert_array_equal(total.numpy(), x.sum(0))
    np.testing.assert_array_equal(some.numpy(), (x > 8).any(0))
    np.testing.assert_array_equal(product.numpy(), (x % 3).prod(0))


def test_bits_of_few_columns_for_every_number_of_threads() -> None:
    x = normal(200_000, 3)
    before = threads.num_threads()
    found = []
    try:
        for count in (1, 2, 3, 4):
            threads.set_num_threads(count)
            run = fg.compile(lambda a: fg.sum(a * 1.5, axis=0))
            found.append(run(x).numpy().tobytes())
    finally:
        threads.set_num_threads(before)
    assert len(set(found)) == 1


@pytest.mark.parametrize("inner", [(3, 7), (9, 13), (1, 64), (33, 5)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_joined_along_axes_with_others_around(axis: int, inner: tuple[int, ...]) -> None:
    """Rows that are long enough for a branch, and such that become one run of memory."""
    shape = (4, *inner)
    parts = [normal(*shape[:axis], extent, *shape[axis + 1 :]) for extent in (5, 1, 0, 8)]
    joined = np.concatenate(parts, axis)
    bias, scale = normal(joined.shape[-1]), normal(joined.shape[0], 1, 1)
    pairs = ((2, 1), (0, 3), (1, 1))
    run = fg.compile(
        lambda b, s, *arrays: (
            fg.concat(arrays, axis=axis),
            fg.stack(arrays[:1] * 3, axis=axis) * s[:1],
            fg.concat(arrays, axis=axis) * s + b,
            fg.roll(arrays[3], 3, axis=axis),
            fg.pad(arrays[3], pairs[axis:] + pairs[:axis]),
            fg.flip(fg.concat(arrays, axis=axis), axis=(0, 1)),
        )
    )
    expected = (
        joined,
        np.stack(parts[:1] * 3, axis) * scale[:1],
        joined * scale + bias,
        np.roll(parts[3], 3, axis),
        np.pad(parts[3], pairs[axis:] + pairs[:axis]),
        np.flip(joined, (0, 1)),
    )
    for found, value in zip(run(bias, scale, *parts), expected, strict=True):
        np.testing.assert_allclose(found.numpy(), value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3), (2, 3, 0, 1), (0, 2, 1, 3), (3, 0, 1, 2), (3, 2, 1, 0)]
)
def test_axes_that_stay_together(order: tuple[int, ...]) -> None:
    x = normal(5, 6, 7, 9)

    def moved(a: Any) -> Any:
        turned = fg.permute_dims(a, order)
        return (
            turned + 0,
            fg.flip(turned, axis=(1, 2)),
            fg.permute_dims(a[1:4, :, 2:, :], order) * 2,
        )

    turned = x.transpose(order)
    expected = turned, np.flip(turned, (1, 2)), x[1:4, :, 2:, :].transpose(order) * 2
    for found, value in zip(fg.compile(moved)(x), expected, strict=True):
        np.testing.assert_array_equal(found.numpy(), value)
    taken = fg.compile(lambda a, i: fg.take(a, i, axis=1) - 1)(x, np.array([4, 0, 5]))
    np.testing.assert_array_equal(taken.numpy(), x[:, [4, 0, 5]] - 1)


def test_axes_below_another_order_stay_apart() -> None:
    """What is woven and cut keeps its loops under a transpose: no element divides its place."""

    def woven(a: Any) -> Any:
        pairs = fg.stack([a * 2, a + 1], -1).reshape(3, 4, 8, 14)
        return fg.permute_dims(pairs[:, :, :7, :13], (1, 0, 2, 3))

    x = normal(3, 4, 8, 7)
    compiled = fg.compile(woven)
    expected = np.stack([x * 2, x + 1], -1).reshape(3, 4, 8, 14)[:, :, :7, :13]
    np.testing.assert_array_equal(compiled(x).numpy(), expected.transpose(1, 0, 2, 3))
    kernels = compiled.explain(x)["kernels"]
    assert "for c0 in 13 any" in kernels
    assert "c0 // 13" not in kernels
