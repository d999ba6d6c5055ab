"""Layers, activations and losses as modules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn

rng = np.random.default_rng(0)


def test_linear() -> None:
    layer = nn.Linear(4, 3)
    assert layer.weight.shape == (3, 4)
    assert layer.bias is not None
    x = rng.standard_normal((5, 4)).astype(np.float32)
    expected = x @ layer.weight.detach().numpy().T + layer.bias.detach().numpy()
    np.testing.assert_allclose(layer(x).detach().numpy(), expected, rtol=1e-5, atol=1e-6)
    bare = nn.Linear(4, 3, bias=False, dtype="float64")
    assert list(bare.state_dict()) == ["weight"]
    assert bare.weight.dtype is fg.float64
    assert repr(bare) == "Linear(in_features=4, out_features=3, bias=False)"


def test_embedding() -> None:
    layer = nn.Embedding(10, 3, padding_idx=-1)
    assert layer.weight.detach().numpy()[9].tolist() == [0, 0, 0]
    assert layer(np.array([[1, 9]])).shape == (1, 2, 3)
    assert repr(layer) == "Embedding(10, 3, padding_idx=9)"
    with pytest.raises(ValueError, match="padding_idx 10 is none of 10 rows"):
        nn.Embedding(10, 3, padding_idx=10)


def test_layer_norm() -> None:
    layer = nn.LayerNorm((3, 4))
    assert sorted(layer.state_dict()) == ["bias", "weight"]
    x = rng.standard_normal((2, 3, 4)).astype(np.float32)
    y = layer(x).detach().numpy()
    np.testing.assert_allclose(y.mean((1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(y.std((1, 2)), 1, rtol=1e-4)
    assert list(nn.LayerNorm(4, elementwise_affine=False).parameters()) == []
    assert list(nn.LayerNorm(4, bias=False).state_dict()) == ["weight"]
    assert repr(nn.LayerNorm(4)) == "LayerNorm((4,), eps=1e-05, elementwise_affine=True, bias=True)"
    nn.init.constant_(layer.weight, 3.0)
    layer.reset_parameters()
    assert float(layer.weight.detach().max()) == 1


def test_dropout_follows_the_mode() -> None:
    layer = nn.Dropout(0.5)
    x = fg.ones((100,))
    assert set(layer(x).numpy().tolist()) == {0.0, 2.0}
    assert layer.eval()(x).numpy().tolist() == [1.0] * 100
    with pytest.raises(ValueError, match="between 0 and 1"):
        nn.Dropout(-0.1)


def test_flatten() -> None:
    x = fg.ones((2, 3, 4, 5))
    assert nn.Flatten()(x).shape == (2, 60)
    assert nn.Flatten(0)(x).shape == (120,)
    assert nn.Flatten(1, 2)(x).shape == (2, 12, 5)
    assert nn.Flatten(0)(fg.asarray(1.0)).shape == (1,)
    with pytest.raises(ValueError, match="comes after"):
        nn.Flatten(2, 1)(x)


def test_identity() -> None:
    x = fg.ones(3)
    assert nn.Identity(54, unused=1)(x) is x


@pytest.mark.parametrize(
    ("module", "function"),
    [
        (nn.ReLU(), F.relu),
        (nn.LeakyReLU(0.2), lambda x: F.leaky_relu(x, 0.2)),
        (nn.GELU(), F.gelu),
        (nn.GELU(approximate="tanh"), lambda x: F.gelu(x, approximate="tanh")),
        (nn.Tanh(), F.tanh),
        (nn.Sigmoid(), F.sigmoid),
        (nn.LogSigmoid(), F.logsigmoid),
        (nn.SiLU(), F.silu),
        (nn.Softplus(), F.softplus),
        (nn.Softmax(dim=0), lambda x: F.softmax(x, 0)),
        (nn.LogSoftmax(), F.log_softmax),
    ],
)
def test_activations(module: nn.Module, function: Any) -> None:
    x = rng.standard_normal((3, 4)).astype(np.float32)
    assert (module(x).numpy() == function(x).numpy()).all()


def test_losses() -> None:
    x = rng.standard_normal((4, 3)).astype(np.float32)
    y = rng.standard_normal((4, 3)).astype(np.float32)
    labels = np.array([0, 2, 1, 1])
    weight = np.array([1.0, 2.0, 0.5], np.float32)
    pairs = [
        (nn.MSELoss()(x, y), F.mse_loss(x, y)),
        (nn.L1Loss(reduction="sum")(x, y), F.l1_loss(x, y, "sum")),
        (nn.CrossEntropyLoss(weight)(x, labels), F.cross_entropy(x, labels, weight)),
        (
            nn.CrossEntropyLoss(label_smoothing=0.1, ignore_index=1)(x, labels),
            F.cross_entropy(x, labels, ignore_index=1, label_smoothing=0.1),
        ),
        (nn.NLLLoss(weight)(x, labels), F.nll_loss(x, labels, weight)),
        (
            nn.BCEWithLogitsLoss(pos_weight=weight)(x, abs(y)),
            F.binary_cross_entropy_with_logits(x, abs(y), pos_weight=weight),
        ),
    ]
    for module, function in pairs:
        assert float(module) == float(function)
    assert "weight" in nn.CrossEntropyLoss(weight).state_dict()
