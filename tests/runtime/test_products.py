"""Compiled matrix products of random shapes, against float64; and for any number of threads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.runtime import threads

LAYOUTS = ("NN", "NT", "TN", "TT")


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    before = threads.num_threads()
    yield
    threads.set_num_threads(before)


def operands(seed: int, shape: tuple[int, int, int], layout: str, dtype: Any) -> Any:
    """Both operands as they lie in memory."""
    m, n, k = shape
    random = np.random.default_rng(seed)
    a, b = random.standard_normal((m, k)).astype(dtype), random.standard_normal((k, n))
    b = b.astype(dtype)
    return (
        a if layout[0] == "N" else np.ascontiguousarray(a.T),
        b if layout[1] == "N" else np.ascontiguousarray(b.T),
    )


def product(layout: str) -> Any:
    """The product of a layout, with what a layer adds."""

    def multiply(x: Any, y: Any, bias: Any) -> Any:
        z = (x if layout[0] == "N" else x.mT) @ (y if layout[1] == "N" else y.mT)
        return z, fg.maximum(z + bias, 0)

    return fg.compile(multiply)


def check(shape: tuple[int, int, int], layout: str, dtype: Any, seed: int = 0) -> None:
    a, b = operands(seed, shape, layout, dtype)
    bias = np.linspace(-1, 1, shape[1]).astype(dtype)
    plain, layer = (np.asarray(r) for r in product(layout)(a, b, bias))
    left = (a if layout[0] == "N" else a.T).astype(np.float64)
    right = (b if layout[1] == "N" else b.T).astype(np.float64)
    allowed = np.abs(left) @ np.abs(right) * 4 * np.finfo(dtype).eps
    assert (np.abs(plain - left @ right) <= allowed).all()
    np.testing.assert_array_equal(layer, np.maximum(plain + bias, 0))


def random_shapes(count: int) -> list[tuple[tuple[int, int, int], str]]:
    random = np.random.default_rng(7)
    cases = []
    for _ in range(count):
        m, n, k = (int(400 ** random.random()) for _ in range(3))
        cases.append(((m, n, k), LAYOUTS[random.integers(4)]))
    return cases


@pytest.mark.parametrize(("shape", "layout"), random_shapes(24), ids=str)
def test_random_shapes(shape: tuple[int, int, int], layout: str) -> None:
    check(shape, layout, np.float32)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "shape",
    [(1, 90, 300), (90, 1, 300), (3, 130, 40), (130, 3, 140), (1, 1, 999), (1, 907, 1301)],
    ids=str,
)
def test_narrow(shape: tuple[int, int, int], layout: str) -> None:
    for dtype in (np.float32, np.float64):
        check(shape, layout, dtype)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_blocks(layout: str, dtype: Any) -> None:
    """Large operands are packed in blocks: each sum is that of its row alone, bit by bit."""
    shape = (70, 300, 9000)
    check(shape, layout, dtype)
    a, b = operands(0, shape, layout, dtype)
    bias = np.zeros(shape[1], dtype)
    few = a[:40] if layout[0] == "N" else np.ascontiguousarray(a[:, :40])
    multiply = product(layout)
    whole, part = np.asarray(multiply(a, b, bias)[0]), np.asarray(multiply(few, b, bias)[0])
    np.testing.assert_array_equal(whole[:40], part)


@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((600, 500, 3000), "TN"),
        ((300, 200, 150), "NT"),
        ((1500, 1, 200), "NN"),
        ((2, 900, 300), "TN"),
    ],
    ids=str,
)
def test_bits_do_not_depend_on_threads(shape: tuple[int, int, int], layout: str) -> None:
    a, b = operands(1, shape, layout, np.float32)
    bias = np.zeros(shape[1], np.float32)
    multiply = product(layout)
    results = []
    for count in (1, 2, 3, 4):
        threads.set_num_threads(count)
        results.append(np.asarray(multiply(a, b, bias)[0]).tobytes())
    assert len(set(results)) == 1


WHOLE = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool")


@pytest.mark.parametrize("dtype", WHOLE)
@pytest.mark.parametrize(
    ("shape", "layout"),
    [
        ((37, 45, 130), "NN"),
        ((130, 33, 64), "TN"),
        ((12, 70, 300), "NT"),
        ((75, 80, 61), "TT"),
        ((1, 90, 300), "NN"),
        ((70, 2, 40), "NN"),
        ((0, 3, 4), "NN"),
        ((3, 4, 0), "NN"),
    ],
    ids=str,
)
def test_products_of_whole_numbers_wrap_around(
    shape: tuple[int, int, int], layout: str, dtype: str
) -> None:
    m, n, k = shape
    random = np.random.default_rng(5)
    limits = (0, 2) if dtype == "bool" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    kind = np.uint8 if dtype == "bool" else dtype
    a, b = (random.integers(*limits, size=s, dtype=kind) for s in ((m, k), (k, n)))
    if dtype == "bool":
        a, b = a.astype(bool), b.astype(bool)
        a[:, : k // 2] = False
    x = a if layout[0] == "N" else np.ascontiguousarray(a.T)
    y = b if layout[1] == "N" else np.ascontiguousarray(b.T)

    def multiply(x: Any, y: Any) -> Any:
        return (x if layout[0] == "N" else x.mT) @ (y if layout[1] == "N" else y.mT)

    expected = a @ b
    recorded = np.asarray(multiply(fg.asarray(x), fg.asarray(y)))
    compiled = np.asarray(fg.compile(multiply)(x, y))
    assert recorded.dtype == compiled.dtype == expected.dtype
    np.testing.assert_array_equal(recorded, expected)
    np.testing.assert_array_equal(compiled, expected)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint32"])
def test_sums_of_products_of_whole_numbers(dtype: str) -> None:
    """Written out, with batch axes, and in blocks: exact in any order."""
    random = np.random.default_rng(6)
    a = random.integers(0, 1 << 31, size=(3, 40, 300)).astype(dtype)
    b = random.integers(0, 1 << 31, size=(3, 300, 50)).astype(dtype)
    written = fg.compile(lambda x, y: (x[:, :, :, None] * y[:, None]).sum(2, dtype=x.dtype))
    product = fg.compile(lambda x, y: fg.einsum("bik,bkj->bij", x, y))
    np.testing.assert_array_equal(np.asarray(written(a, b)), a @ b)
    np.testing.assert_array_equal(np.asarray(product(a, b)), a @ b)
    a, b = (random.integers(0, 1 << 31, size=s).astype(dtype) for s in ((9000, 70), (9000, 90)))
    blocks = fg.compile(lambda x, y: x.mT @ y)
    np.testing.assert_array_equal(np.asarray(blocks(a, b)), a.T @ b)
