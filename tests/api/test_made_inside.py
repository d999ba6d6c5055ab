"""Modules and optimizers that a compiled function makes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim


def numbers(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype("float32")


def test_parts_of_a_model() -> None:
    model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(3)))
    layers = nn.ModuleList(model)

    def f(x: Any) -> Any:
        y = nn.Sequential(*list(model.children())[:-1], nn.Tanh())(x)
        for layer in layers[1:]:
            y = layer(y)
        return copy.deepcopy(model)(y)

    x = numbers(2, 3)
    np.testing.assert_allclose(
        fg.compile(f)(x).numpy(), f(fg.asarray(x)).detach().numpy(), rtol=1e-5
    )


def test_a_whole_training_inside() -> None:
    def train(x: Any, y: Any) -> Any:
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 1))
        opt = optim.Adam([{"params": model.parameters(), "lr": 0.1}])
        opt.add_param_group({"params": [nn.Parameter(fg.ones(1))]})
        for _ in range(3):
            loss = F.mse_loss(model(x)[:, 0], y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            opt.param_groups[0]["lr"] *= 0.5
        return loss

    compiled, x, y = fg.compile(train), numbers(5, 3), numbers(5)
    found = []
    for run in (compiled, compiled, lambda x, y: train(fg.asarray(x), fg.asarray(y))):
        fg.manual_seed(1)
        found.append(float(run(x, y)))
    assert found[0] == found[1] == pytest.approx(found[2], rel=1e-5)
    assert compiled.stats().compiles == 1


def test_what_a_module_has_may_not_be_replaced() -> None:
    model = nn.Linear(2, 2)
    opt = optim.SGD(model.parameters(), lr=0.1)

    def parameter(x: Any) -> Any:
        model.bias = nn.Parameter(model.bias * 2)
        return model(x)

    def group(x: Any) -> Any:
        opt.add_param_group({"params": [nn.Parameter(fg.ones(1))]})
        return x

    for f in (parameter, group):
        with pytest.raises(fg.errors.CaptureError, match="while a compiled function is traced"):
            fg.compile(f)(fg.ones(2))
