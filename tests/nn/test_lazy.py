"""Lazy layers: they become ordinary ones with their first input, parameters keep their identity."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim
from fusegrad.errors import ShapeError


@pytest.mark.parametrize(
    ("lazy", "shape", "expected"),
    [
        (nn.LazyLinear(5), (3, 4), "Linear(in_features=4, out_features=5, bias=True)"),
        (nn.LazyLinear(5, bias=False), (4,), "Linear(in_features=4, out_features=5, bias=False)"),
        (nn.LazyConv1d(2, 3), (1, 6, 5), "Conv1d(6, 2, kernel_size=(3,), stride=(1,))"),
        (
            nn.LazyConv2d(4, 3, groups=2),
            (2, 6, 5, 5),
            "Conv2d(6, 4, kernel_size=(3, 3), stride=(1, 1), groups=2)",
        ),
        (
            nn.LazyConv3d(2, 1),
            (1, 3, 2, 2, 2),
            "Conv3d(3, 2, kernel_size=(1, 1, 1), stride=(1, 1, 1))",
        ),
        (
            nn.LazyConvTranspose2d(4, 2, stride=2),
            (1, 3, 2, 2),
            "ConvTranspose2d(3, 4, kernel_size=(2, 2), stride=(2, 2))",
        ),
    ],
)
def test_becomes_the_layer(lazy: Any, shape: tuple[int, ...], expected: str) -> None:
    weight = lazy.weight
    assert isinstance(weight, nn.UninitializedParameter)
    assert dict(lazy.named_parameters())["weight"] is weight
    result = lazy(fg.ones(shape))
    assert repr(lazy) == expected
    assert lazy.weight is weight
    assert type(weight) is nn.Parameter
    assert weight.requires_grad
    again = lazy(fg.ones(shape))
    np.testing.assert_array_equal(result, again)


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_norms(shape: tuple[int, ...]) -> None:
    layer = nn.LazyBatchNorm1d(momentum=0.5)
    layer(fg.ones(shape))
    assert type(layer) is nn.BatchNorm1d
    assert (layer.num_features, layer.momentum) == (6, 0.5)
    assert layer.running_mean.shape == (6,)
    other = nn.LazyInstanceNorm2d(affine=True)
    other(fg.ones(2, 3, 4, 4))
    assert (type(other), other.weight.shape) == (nn.InstanceNorm2d, (3,))


def test_equals_the_layer_with_the_same_seed() -> None:
    fg.random.seed(3)
    expected = nn.Linear(4, 2)
    fg.random.seed(3)
    layer = nn.LazyLinear(2)
    assert layer.bias.size == 0
    layer(fg.ones(1, 4))
    np.testing.assert_array_equal(layer.weight, expected.weight)
    np.testing.assert_array_equal(layer.bias, expected.bias)


@pytest.mark.parametrize("compiled", [False, True])
def test_an_optimizer_that_holds_it_already(compiled: bool) -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(1))
    optimizer = optim.Adam(model.parameters(), lr=0.05)
    assert len(optimizer.state) == 0
    x = np.random.default_rng(0).normal(size=(32, 3)).astype(np.float32)
    y = x[:, :1] * 2 - 1

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    run = fg.compile(step) if compiled else step
    losses = [float(run(fg.asarray(x), fg.asarray(y))) for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]
    assert len(optimizer.state) == 6
    assert [type(layer) for layer in model] == [nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Linear]


def test_flags_and_copies_before_the_first_input() -> None:
    layer = nn.Sequential(nn.LazyLinear(3)).eval()
    twin = copy.deepcopy(layer)
    layer(fg.ones(1, 2))
    assert not layer[0].training
    assert isinstance(twin[0].weight, nn.UninitializedParameter)
    assert twin(fg.ones(1, 5)).shape == (1, 3)


def test_too_few_axes() -> None:
    with pytest.raises(ShapeError, match=r"LazyConv2d: an input of shape \(2, 3\) has 2 axes"):
        nn.LazyConv2d(4, 3)(fg.ones(2, 3))
