"""Updates against torch's formulas, written again in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim

Array = np.ndarray[Any, Any]
Update = Callable[[Array, Array, dict[str, Any]], Array]

STEPS = 6


def sgd(
    lr: float = 1e-3,
    momentum: float = 0,
    dampening: float = 0,
    weight_decay: float = 0,
    nesterov: bool = False,
    maximize: bool = False,
) -> Update:
    def update(p: Array, g: Array, state: dict[str, Any]) -> Array:
        g = -g if maximize else g
        g = g + weight_decay * p
        if momentum:
            if "buffer" in state:
                state["buffer"] = momentum * state["buffer"] + (1 - dampening) * g
            else:
                state["buffer"] = g
            g = g + momentum * state["buffer"] if nesterov else state["buffer"]
        return p - lr * g

    return update


def adam(
    lr: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    weight_decay: float = 0,
    amsgrad: bool = False,
    maximize: bool = False,
    decoupled: bool = False,
) -> Update:
    def update(p: Array, g: Array, state: dict[str, Any]) -> Array:
        g = -g if maximize else g
        t = state["t"] = state.get("t", 0) + 1
        if decoupled:
            p = p - lr * weight_decay * p
        else:
            g = g + weight_decay * p
        m = state["m"] = betas[0] * state.get("m", 0) + (1 - betas[0]) * g
        v = state["v"] = betas[1] * state.get("v", 0) + (1 - betas[1]) * g * g
        if amsgrad:
            v = state["greatest"] = np.maximum(state.get("greatest", 0), v)
        denominator = np.sqrt(v) / np.sqrt(1 - betas[1] ** t) + eps
        return p - lr / (1 - betas[0] ** t) * m / denominator

    return update


def adamw(weight_decay: float = 1e-2, **options: Any) -> Update:
    return adam(weight_decay=weight_decay, decoupled=True, **options)


CASES: list[tuple[Any, Callable[..., Update], dict[str, Any]]] = [
    (optim.SGD, sgd, {}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.2}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "maximize": True}),
    (optim.Adam, adam, {}),
    (optim.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    (optim.Adam, adam, {"lr": 0.1, "amsgrad": True, "betas": (0.0, 0.5)}),
    (optim.Adam, adam, {"lr": 0.1, "maximize": True}),
    (optim.AdamW, adamw, {}),
    (optim.AdamW, adamw, {"lr": 0.1, "weight_decay": 0.5}),
    (optim.AdamW, adamw, {"lr": 0.1, "weight_decay": 0.0, "amsgrad": True}),
]


@pytest.mark.parametrize(("kind", "reference", "options"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates(
    kind: Any, reference: Callable[..., Update], options: dict[str, Any], dtype: str
) -> None:
    rng = np.random.default_rng(0)
    expected = [rng.standard_normal(shape).astype(dtype).astype(float) for shape in [(3, 4), (5,)]]
    parameters = [nn.Parameter(value.astype(dtype)) for value in expected]
    optimizer = kind(parameters, **options)
    update = reference(**options)
    states: list[dict[str, Any]] = [{}, {}]
    for _ in range(STEPS):
        gradients = [rng.standard_normal(value.shape).astype(dtype) for value in expected]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = fg.asarray(gradient)
        optimizer.step()
        expected = [
            update(value, gradient.astype(float), state)
            for value, gradient, state in zip(expected, gradients, states, strict=True)
        ]
    for parameter, value in zip(parameters, expected, strict=True):
        assert parameter.dtype.name == dtype
        assert parameter.requires_grad
        assert parameter.is_leaf
        tolerance = 2e-6 if dtype == "float32" else 1e-13
        np.testing.assert_allclose(parameter.detach().numpy(), value, tolerance, tolerance)


def test_adam_is_exact_in_the_first_step() -> None:
    """In single precision ``1 - beta ** t`` must not lose digits."""
    p = nn.Parameter([1.0])
    optimizer = optim.Adam([p], lr=0.25, eps=0.0)
    p.grad = fg.asarray([1e-3])
    optimizer.step()
    np.testing.assert_allclose(p.detach().numpy(), [0.75], rtol=2e-7)


def test_parameters_without_gradients_stay() -> None:
    p, q = nn.Parameter([1.0]), nn.Parameter([2.0])
    optimizer = optim.Adam([p, q], lr=0.5)
    optimizer.step()
    p.grad = fg.asarray([1.0])
    optimizer.step()
    assert q.detach().numpy().tolist() == [2.0]
    assert p.detach().numpy()[0] < 1


def test_groups_have_their_own_options() -> None:
    p, q = nn.Parameter([1.0]), nn.Parameter([1.0])
    optimizer = optim.SGD([{"params": [p]}, {"params": q, "lr": 1.0}], lr=0.5)
    p.grad = q.grad = fg.asarray([1.0])
    optimizer.step()
    assert p.detach().numpy().tolist() == [0.5]
    assert q.detach().numpy().tolist() == [0.0]


def test_options_are_read_at_every_step() -> None:
    p = nn.Parameter([1.0])
    optimizer = optim.SGD([p], lr=0.5)
    p.grad = fg.asarray([1.0])
    optimizer.param_groups[0]["lr"] = 0.25
    optimizer.step()
    assert p.detach().numpy().tolist() == [0.75]
    optimizer.param_groups[0].update(momentum=0.5)
    optimizer.step()
    optimizer.step()
    assert p.detach().numpy().tolist() == [0.75 - 0.25 - 0.375]


def test_a_learning_rate_can_be_a_tensor() -> None:
    p = nn.Parameter([1.0])
    rate = fg.asarray(0.5)
    optimizer = optim.SGD([p], lr=rate)
    p.grad = fg.asarray([1.0])
    optimizer.step()
    assert p.detach().numpy().tolist() == [0.5]


def test_closures() -> None:
    p = nn.Parameter([2.0])
    optimizer = optim.SGD([p], lr=0.25)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with fg.no_grad():
        assert float(optimizer.step(closure)) == 4
    assert p.detach().numpy().tolist() == [1.0]


def test_zero_grad() -> None:
    p = nn.Parameter([2.0])
    optimizer = optim.SGD([p], lr=0.25)
    p.grad = fg.asarray([1.0])
    optimizer.zero_grad(set_to_none=False)
    assert p.grad is not None
    assert p.grad.numpy().tolist() == [0.0]
    optimizer.zero_grad()
    assert p.grad is None
