"""Further activations: values, derivatives at their corners, modules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn
from fusegrad.errors import ShapeError
from fusegrad.testing import check_grads

X = np.array([-1e4, -4.0, -3.0, -1.0, -0.5, 0.0, 0.25, 0.5, 1.0, 3.0, 6.0, 1e4])
INNER = np.array([-3.7, -2.2, -0.7, 0.3, 0.9, 4.2, 7.1])


def elu(x: float, alpha: float = 1.0) -> float:
    return x if x > 0 else alpha * math.expm1(x)


CASES: dict[str, tuple[nn.Module, Callable[[float], float]]] = {
    "celu": (nn.CELU(2.0), lambda x: x if x > 0 else 2 * math.expm1(x / 2)),
    "elu": (nn.ELU(0.5), lambda x: elu(x, 0.5)),
    "hardshrink": (nn.Hardshrink(0.75), lambda x: 0 if abs(x) <= 0.75 else x),
    "hardsigmoid": (nn.Hardsigmoid(), lambda x: min(max(x + 3, 0), 6) / 6),
    "hardswish": (nn.Hardswish(), lambda x: x * min(max(x + 3, 0), 6) / 6),
    "hardtanh": (nn.Hardtanh(-2, 0.5), lambda x: min(max(x, -2), 0.5)),
    "mish": (nn.Mish(), lambda x: x * math.tanh(np.logaddexp(x, 0))),
    "prelu": (nn.PReLU(), lambda x: x if x > 0 else 0.25 * x),
    "relu6": (nn.ReLU6(), lambda x: min(max(x, 0), 6)),
    "selu": (nn.SELU(), lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772)),
    "softshrink": (nn.Softshrink(), lambda x: math.copysign(max(abs(x) - 0.5, 0), x)),
    "softsign": (nn.Softsign(), lambda x: x / (1 + abs(x))),
    "tanhshrink": (nn.Tanhshrink(), lambda x: x - math.tanh(x)),
    "threshold": (nn.Threshold(0.5, 9), lambda x: x if x > 0.5 else 9),
}


@pytest.mark.parametrize("name", CASES)
def test_values_and_derivatives(name: str) -> None:
    module, meaning = CASES[name]
    module = module.double()
    expected = [meaning(float(x)) for x in X]
    for run in (module, fg.compile(lambda x: module(x))):
        np.testing.assert_allclose(run(X).detach().numpy(), expected, 1e-12, 1e-12)
    assert np.isnan(module(np.array([np.nan])).detach().numpy()) or name == "threshold"
    gradient = fg.grad(lambda x: module(x).sum())(X).numpy()
    assert np.isfinite(gradient).all()
    check_grads(lambda x: module(x), (INNER,))
    assert callable(getattr(F, name))


def test_corners() -> None:
    """Beyond and at the ends of a flat part the derivative is 0."""
    for function, corner in ((F.relu6, 0.0), (F.relu6, 6.0), (F.hardtanh, -1.0), (F.hardtanh, 1.0)):
        assert float(fg.grad(lambda x, f=function: f(x).sum())(np.array([corner]))[0]) == 0
    assert float(fg.grad(lambda x: F.elu(x).sum())(np.zeros(1))[0]) == 1


def test_slopes_of_channels() -> None:
    x = np.array([[[-1.0, 2.0], [-3.0, 4.0]]])
    assert F.prelu(x, np.array([0.5, 2.0])).numpy().tolist() == [[[-0.5, 2], [-6, 4]]]
    with pytest.raises(ShapeError, match=r"prelu: 3 slopes for an input of shape \(1, 2, 2\)"):
        F.prelu(x, np.ones(3))
    check_grads(lambda x, w: F.prelu(x, w), (x, np.array([0.5, 2.0])))


def test_halves_of_an_axis() -> None:
    x = np.random.default_rng(0).standard_normal((2, 6))
    expected = x[:, :3] / (1 + np.exp(-x[:, 3:]))
    np.testing.assert_allclose(nn.GLU()(x).numpy(), expected)
    with pytest.raises(ShapeError, match=r"glu: axis 0 of shape \(3, 2\) has an odd extent"):
        F.glu(x[:1, :].reshape(3, 2), 0)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (nn.ELU(), "ELU(alpha=1.0)"),
        (nn.PReLU(3), "PReLU(num_parameters=3)"),
        (nn.Hardshrink(), "Hardshrink(0.5)"),
        (nn.Hardtanh(), "Hardtanh(min_val=-1.0, max_val=1.0)"),
        (nn.Threshold(0.1, 2), "Threshold(threshold=0.1, value=2)"),
        (nn.GLU(1), "GLU(dim=1)"),
        (nn.Mish(), "Mish()"),
    ],
)
def test_texts(module: nn.Module, text: str) -> None:
    assert repr(module) == text


# --- unpooling ------------------------------------------------------------------------------------


@pytest.mark.parametrize("stride", [2, 1])
def test_largest_elements_go_back(stride: int) -> None:
    x = np.random.default_rng(0).standard_normal((2, 3, 5, 4))
    pool, unpool = nn.MaxPool2d(2, stride, return_indices=True), nn.MaxUnpool2d(2, stride)
    values, places = pool(x)
    back: Any = unpool(values, places, output_size=(2, 3, 5, 4)).numpy()
    kept = np.zeros((2, 3, 20), bool)
    np.put_along_axis(kept, places.numpy().reshape(2, 3, -1), True, -1)
    np.testing.assert_array_equal(back, np.where(kept.reshape(x.shape), x, 0))
    assert unpool(values, places).shape == (2, 3, 4 if stride == 2 else 5, 4)
    check_grads(lambda v: fg.sin(unpool(v, places)), (values.numpy(),), order=1)


def test_places_that_do_not_fit() -> None:
    values, places = F.max_pool1d(np.ones((1, 2, 6)), 2, return_indices=True)
    with pytest.raises(ShapeError, match=r"output_size \(9,\) is not near \(6,\)"):
        F.max_unpool1d(values, places, 2, output_size=(9,))
    with pytest.raises(ShapeError, match="max_unpool1d: values of shape"):
        F.max_unpool1d(values, places[0], 2)
