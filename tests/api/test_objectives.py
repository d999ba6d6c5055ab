"""Objectives for SciPy's optimizers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize, rosen, rosen_der, rosen_hess_prod

import fusegrad as fg
from fusegrad.errors import DTypeError, GradientError, ShapeError

START = np.array([1.3, 0.7, 0.8, 1.9, 1.2])


def rosenbrock(x: Any) -> Any:
    return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()


def test_value_gradient_and_products_with_the_hessian() -> None:
    objective = fg.scipy_objective(rosenbrock)
    value, gradient = objective(START)
    assert type(value) is float
    assert gradient.dtype == np.float64
    assert gradient.flags.writeable
    assert value == pytest.approx(rosen(START), rel=1e-12)
    np.testing.assert_allclose(gradient, rosen_der(START), rtol=1e-12)
    p = np.arange(5.0) - 2
    np.testing.assert_allclose(
        objective.hessp(START, p), rosen_hess_prod(START, p), rtol=1e-12, atol=1e-9
    )


@pytest.mark.parametrize("method", ["BFGS", "L-BFGS-B", "trust-ncg"])
def test_minimize(method: str) -> None:
    objective = fg.scipy_objective(rosenbrock)
    more = {"hessp": objective.hessp} if method == "trust-ncg" else {}
    result = minimize(objective, START, jac=True, method=method, **more)
    assert result.success
    np.testing.assert_allclose(result.x, np.ones(5), atol=2e-4)


def test_it_is_compiled_once() -> None:
    traces = []

    def counted(x: Any) -> Any:
        traces.append(x.shape)
        return rosenbrock(x)

    objective = fg.scipy_objective(counted)
    for scale in range(5):
        objective(START * scale)
    assert traces == [(5,)]


def test_containers() -> None:
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((20, 3)).astype("float32")
    targets = inputs @ np.array([1.0, -2.0, 3.0], "float32") + 4

    def loss(model: Any, weight: Any) -> Any:
        error = fg.asarray(inputs) @ model["w"] + model["b"][0] - targets
        return weight * (error**2).mean()

    start = {"w": fg.zeros(3), "b": [fg.zeros((), dtype="float64")]}
    objective = fg.scipy_objective(loss, like=start)
    flat = objective.flatten(start)
    assert flat.shape == (4,)
    assert flat.dtype == np.float64
    result = minimize(objective, flat, args=(0.5,), jac=True)
    found = objective.unflatten(result.x)
    assert found["w"].dtype is fg.float32
    assert found["b"][0].dtype is fg.float64
    assert found["b"][0].shape == ()
    np.testing.assert_allclose(found["w"].numpy(), [1, -2, 3], atol=1e-3)
    np.testing.assert_allclose(float(found["b"][0]), 4, atol=1e-3)
    np.testing.assert_array_equal(objective.flatten(found), objective.flatten(found))


def test_one_array() -> None:
    objective = fg.scipy_objective(lambda x: (x @ x.T).sum(), like=np.ones((2, 3)))
    assert objective.flatten(np.arange(6.0).reshape(2, 3)).tolist() == [0, 1, 2, 3, 4, 5]
    assert objective.unflatten(np.arange(6.0)).shape == (2, 3)
    assert objective(np.ones(6))[0] == 12


def test_errors() -> None:
    with pytest.raises(DTypeError, match="differentiated by values of int64"):
        fg.scipy_objective(lambda x: x.sum(), like=np.arange(3))
    objective = fg.scipy_objective(lambda x: x.sum(), like=np.ones(3))
    with pytest.raises(ShapeError, match="takes a vector of 3 numbers, not an array of"):
        objective(np.ones(4))
    with pytest.raises(GradientError, match="a gradient is that of a scalar"):
        fg.scipy_objective(lambda x: x * 2)(np.ones(3))
