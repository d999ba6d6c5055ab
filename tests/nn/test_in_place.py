"""torch's argument `inplace` of activations and dropout: the input takes the result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn
from fusegrad.errors import DTypeError, GradientError

X = np.linspace(-4, 4, 9).astype(np.float32)

FUNCTIONS: dict[str, Callable[..., Any]] = {
    "relu": F.relu,
    "relu6": F.relu6,
    "silu": F.silu,
    "selu": F.selu,
    "mish": F.mish,
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "elu": lambda x, **more: F.elu(x, 0.5, **more),
    "celu": lambda x, **more: F.celu(x, 0.5, **more),
    "hardtanh": lambda x, **more: F.hardtanh(x, -2.0, 1.5, **more),
    "leaky_relu": lambda x, **more: F.leaky_relu(x, 0.1, **more),
    "threshold": lambda x, **more: F.threshold(x, 0.5, 7.0, **more),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_the_input_takes_the_result(name: str, dtype: str) -> None:
    function = FUNCTIONS[name]
    expected = function(fg.asarray(X, dtype=dtype))
    x = fg.asarray(X, dtype=dtype)
    assert function(x, inplace=True) is x
    assert x.dtype is expected.dtype
    np.testing.assert_array_equal(x, expected)

    def step(y: Any) -> Any:
        double = y * 2
        function(double, inplace=True)
        return double

    np.testing.assert_allclose(
        fg.compile(step)(X).numpy(), function(fg.asarray(2 * X)).numpy(), rtol=1e-6
    )


def test_the_gradient_goes_through() -> None:
    x = fg.tensor(X, requires_grad=True)
    y = x * 3
    z = F.relu(y, True)
    assert z is y
    (y * y).sum().backward()
    np.testing.assert_array_equal(x.grad, np.where(X > 0, 18 * X, 0))


def test_dropout() -> None:
    x = fg.ones(64)
    assert F.dropout(x, 0.5, True, True) is x
    assert set(x.numpy()) == {0.0, 2.0}
    same = F.dropout2d(fg.ones(8, 3), 0.5)
    assert set(same.numpy().reshape(-1)) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.ReLU(True), "ReLU(inplace=True)"),
        (nn.ReLU(), "ReLU()"),
        (nn.LeakyReLU(0.2, inplace=True), "LeakyReLU(negative_slope=0.2, inplace=True)"),
        (nn.Hardtanh(-1.0, 2.0, True), "Hardtanh(min_val=-1.0, max_val=2.0, inplace=True)"),
        (nn.ELU(), "ELU(alpha=1.0)"),
        (nn.SiLU(inplace=True), "SiLU(inplace=True)"),
        (nn.Dropout(0.25, inplace=True).eval(), "Dropout(p=0.25, inplace=True)"),
        (nn.Softplus(2.0, 5.0), "Softplus(beta=2.0, threshold=5.0)"),
    ],
)
def test_modules(module: Any, text: str) -> None:
    assert repr(module) == text
    x = fg.asarray(X)
    assert (module(x) is x) == getattr(module, "inplace", False)


def test_residual_network_in_place() -> None:
    # What is added later must be what the activation left, as in torch.
    x = fg.asarray(X)
    y = x * 1
    out = nn.ReLU(inplace=True)(y) + y
    np.testing.assert_array_equal(out, 2 * np.maximum(X, 0))


def test_wrong_use() -> None:
    with pytest.raises(DTypeError, match="relu in place of a ndarray"):
        F.relu(X, inplace=True)
    with pytest.raises(GradientError, match="changed in place"):
        F.relu(fg.tensor(X, requires_grad=True), inplace=True)
