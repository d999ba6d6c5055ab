"""What loops hold after the passes: panels for matrices, nothing twice, what is costly stored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn

RNG = np.random.default_rng(0)


def normal(*shape: int, dtype: str = "float32") -> Any:
    return RNG.standard_normal(shape).astype(dtype)


def kernels(function: Callable[..., Any], *arrays: Any) -> str:
    return str(fg.compile(function).explain(*arrays)["kernels"])


def recurrence(weights: Any, start: Any, rows: Any) -> Any:
    def body(state: Any, x: Any) -> tuple[Any, Any]:
        new = fg.tanh(state @ weights + x)
        return new, new

    return fg.scan(body, start, rows)[1]


def unrolled(weights: Any, start: Any, rows: Any) -> Any:
    state, found = start, []
    for x in rows:
        state = fg.tanh(state @ weights + x)
        found.append(state)
    return fg.stack(found)


def transposed(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda weights, *others: function(weights.T, *others)


def gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    def total(*arrays: Any) -> Any:
        value = function(*arrays)
        weights = fg.asarray(np.cos(np.arange(value.size)), dtype=value.dtype)
        return (value * fg.reshape(weights, value.shape)).sum()

    return fg.grad(total, argnums=(0, 1, 2))


@pytest.mark.parametrize("width", [16, 32, 48, 64])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("rows", [8, 33])
def test_panels_change_no_bit(width: int, turned: bool, rows: int) -> None:
    functions = [transposed(f) if turned else f for f in (recurrence, unrolled)]
    arrays = normal(width, width) / 4, normal(rows, width), normal(5, rows, width)
    assert "panel_dot" in kernels(functions[0], *arrays)
    scanned, written = (np.asarray(fg.compile(f)(*arrays)) for f in functions)
    np.testing.assert_array_equal(scanned, written)


@pytest.mark.parametrize(
    ("width", "rows", "length"), [(15, 8, 5), (32, 2, 5), (32, 8, 3), (32, 300, 5)]
)
def test_products_that_stay_as_they_are(width: int, rows: int, length: int) -> None:
    arrays = normal(width, width), normal(rows, width), normal(length, rows, width)
    assert "panel_dot" not in kernels(recurrence, *arrays)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16"])
def test_gradients_with_panels(dtype: str) -> None:
    given = normal(32, 32) / 4, normal(9, 32), normal(6, 9, 32)
    arrays = [fg.asarray(a, dtype=dtype) for a in given]
    found = fg.compile(gradients(recurrence))(*arrays)
    expected = gradients(unrolled)(*[a.astype("float64") for a in arrays])
    tolerance = {"float64": 1e-12, "float32": 1e-5, "float16": 1e-2, "bfloat16": 8e-2}[dtype]
    for one, other in zip(found, expected, strict=True):
        wide = np.asarray(one.astype("float64"))
        scale = np.abs(np.asarray(other)).max()
        np.testing.assert_allclose(wide / scale, np.asarray(other) / scale, atol=tolerance)


def test_a_product_of_products() -> None:
    def function(first: Any, second: Any, start: Any) -> Any:
        def body(state: Any, _: Any) -> tuple[Any, None]:
            return fg.sin(state @ first @ second[:, :32] + state @ first), None

        return fg.scan(body, start, None, length=4)[0]

    arrays = normal(32, 32) / 6, normal(32, 48) / 6, normal(8, 32)
    # The same matrix is there once; a part of a matrix is one too.
    assert kernels(function, *arrays).count("kernel ") >= 3
    state = arrays[2].astype(np.float64)
    for _ in range(4):
        left = state @ arrays[0]
        state = np.sin(left @ arrays[1][:, :32] + left)
    np.testing.assert_allclose(np.asarray(fg.compile(function)(*arrays)), state, atol=1e-5)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_the_loop_back_computes_no_exponential_again(kind: Any) -> None:
    layer = kind(8, 32)

    @fg.compile
    def step(x: Any) -> Any:
        layer.zero_grad()
        loss = (layer(x)[0] ** 2).sum()
        loss.backward()
        return loss, *(p.grad for p in layer.parameters())

    text = str(step.explain(normal(6, 8, 8))["kernels"])
    gates = {nn.LSTM: (3, 2), nn.GRU: (2, 1), nn.RNN: (0, 1)}[kind]
    assert (text.count("sigmoid("), text.count("tanh(")) == gates


def test_equal_results_are_stacked_once() -> None:
    def body(state: Any, x: Any) -> tuple[Any, Any]:
        new = state * x
        return new, (new + 1, fg.stop_gradient(new + 1), new + 1)

    def function(start: Any, rows: Any) -> Any:
        return fg.scan(body, start, rows)[1]

    arrays = normal(4), normal(6, 4)
    text = kernels(function, *arrays)
    assert text.count("out") == 2  # the carry, and one result
    first, second, third = fg.compile(function)(*arrays)
    expected = np.cumprod(np.vstack([arrays[0] * arrays[1][0], arrays[1][1:]]), axis=0) + 1
    np.testing.assert_allclose(np.asarray(first), expected, rtol=1e-5)
    np.testing.assert_array_equal(np.asarray(first), np.asarray(second))
    np.testing.assert_array_equal(np.asarray(first), np.asarray(third))
