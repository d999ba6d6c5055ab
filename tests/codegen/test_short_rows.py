"""Rows shorter than vectors: vectors run across them, also where rows add up to something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.codegen.kernel import For, Parallel, Tree, Vector, nested
from fusegrad.codegen.schedule import cpu
from fusegrad.compilation.sources import Sources
from fusegrad.runtime import threads

COLUMNS = [1, 2, 3, 5, 8, 10, 15, 16, 17, 31, 32, 33]


def reference(x: np.ndarray, labels: np.ndarray) -> tuple[Any, np.ndarray]:
    x64 = x.astype("float64")
    shifted = x64 - x64.max(1, keepdims=True)
    exponentials = np.exp(shifted)
    total = exponentials.sum(1, keepdims=True)
    picked = np.take_along_axis(shifted - np.log(total), labels[:, None], 1)
    onehot = np.arange(x.shape[1]) == labels[:, None]
    return -picked.mean(), (exponentials / total - onehot) / len(x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("columns", COLUMNS)
def test_a_loss_its_gradient_and_the_sums_of_columns(columns: int, dtype: str) -> None:
    generator = np.random.default_rng(columns)

    def loss(x: Any, bias: Any, labels: Any) -> Any:
        return F.cross_entropy(x + bias, labels)

    step = fg.compile(lambda *a: fg.value_and_grad(loss, argnums=(0, 1))(*a))
    tolerance = 1e-12 if dtype == "float64" else 3e-6
    for rows in (1, 7, 64, 133, 1000):
        x = generator.standard_normal((rows, columns)).astype(dtype)
        bias = generator.standard_normal(columns).astype(dtype)
        labels = generator.integers(0, columns, rows)
        value, (dx, dbias) = step(x, bias, labels)
        expected, gradient = reference(x + bias, labels)
        np.testing.assert_allclose(float(value), expected, rtol=10 * tolerance)
        np.testing.assert_allclose(dx.numpy(), gradient, atol=tolerance)
        np.testing.assert_allclose(dbias.numpy(), gradient.sum(0), atol=tolerance)


@pytest.mark.parametrize("columns", [3, 10, 24])
def test_bits_do_not_depend_on_threads_or_on_what_is_compiled(columns: int) -> None:
    generator = np.random.default_rng(0)
    x = generator.standard_normal((70_001, columns), np.float32)
    labels = generator.integers(0, columns, len(x))
    step = fg.compile(lambda a, b: fg.value_and_grad(F.cross_entropy)(a, b))
    before, results = threads.num_threads(), set()
    try:
        for count in (1, 2, 3, 4, 1):
            threads.set_num_threads(count)
            value, gradient = step(x, labels)
            results.add((value.numpy().tobytes(), gradient.numpy().tobytes()))
    finally:
        threads.set_num_threads(before)
    assert len(results) == 1


@pytest.mark.parametrize("columns", [2, 7, 12, 20])
def test_values_that_are_none(columns: int) -> None:
    x = np.random.default_rng(1).standard_normal((200, columns)).astype("float32")
    x[3, 0], x[50, 1], x[130, 0] = np.nan, np.inf, -np.inf
    for f, g in (
        (lambda a: a.max(1), lambda a: a.max(1)),
        (lambda a: a.argmax(1), lambda a: a.argmax(1)),
        (lambda a: a.sum(1), lambda a: a.sum(1)),
        (lambda a: (a - a.max(1)[:, None]).sum(0), lambda a: (a - a.max(1)[:, None]).sum(0)),
        (lambda a: (a.max(1) * 2).max(), lambda a: (a.max(1) * 2).max()),
        (lambda a: (a.min(1) > 0).all(), lambda a: (a.min(1) > 0).all()),
    ):
        with np.errstate(invalid="ignore"):
            expected = g(x)
        np.testing.assert_allclose(fg.compile(f)(x).numpy(), expected, rtol=1e-4, atol=1e-3)


def test_integers_are_exact() -> None:
    x = np.random.default_rng(2).integers(-9, 9, (517, 6))

    @fg.compile
    def f(x: Any) -> Any:
        centred = x - x.min(1)[:, None]
        return centred.sum(0), centred.max(), (centred * centred).sum()

    centred = x - x.min(1)[:, None]
    for value, expected in zip(
        f(x), (centred.sum(0), centred.max(), (centred * centred).sum()), strict=True
    ):
        np.testing.assert_array_equal(value.numpy(), expected)


def test_vectors_run_across_rows() -> None:
    def loops(columns: int) -> tuple[list[For], list[For]]:
        x = fg.zeros((1000, columns))
        labels = fg.zeros(1000, dtype="int64")
        step = fg.compile(lambda a, b: fg.value_and_grad(F.cross_entropy)(a, b))
        traced = step._traced_for("explain", (x, labels), {})
        (found,) = Sources(*traced.graph).kernels()
        mapped = cpu.schedule(found.kernel, 1000, fg.runtime.record.target())
        every = [s for s in nested(mapped.kernel.body) if isinstance(s, For)]
        vectors = [s for s in every if isinstance(s.mapping, Vector)]
        assert isinstance(every[0].mapping, Parallel)
        return vectors, [s for s in vectors if isinstance(s.order, Tree)]

    lanes = fg.runtime.record.target().vector_bytes // 4
    across, sums = loops(lanes - 1)
    # All of a row, then what the rows of a block add to the loss.
    assert any(isinstance(s, For) for s in across[0].body)
    assert len(across) == 2
    assert len(sums) == 1
    along, sums = loops(2 * lanes)
    assert not any(isinstance(s, For) for f in along for s in f.body)
    assert len(sums) == 2
