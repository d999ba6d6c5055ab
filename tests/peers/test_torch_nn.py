"""Modules, functions and initial values against torch's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

rng = np.random.default_rng(0)
Array = np.ndarray[Any, Any]

X = rng.standard_normal((6, 5)) * 3
LABELS = rng.integers(0, 5, 6)
WEIGHT = rng.uniform(0.5, 2, 5)
PROBABILITIES = rng.dirichlet(np.ones(5), 6)

FUNCTIONS: dict[str, Callable[[Any, Callable[[Any], Any], Any], Any]] = {
    "relu": lambda F, a, x: F.relu(x),
    "leaky_relu": lambda F, a, x: F.leaky_relu(x, 0.2),
    "gelu": lambda F, a, x: F.gelu(x),
    "gelu tanh": lambda F, a, x: F.gelu(x, approximate="tanh"),
    "silu": lambda F, a, x: F.silu(x),
    "softplus": lambda F, a, x: F.softplus(x),
    "logsigmoid": lambda F, a, x: F.logsigmoid(x),
    "sigmoid": lambda F, a, x: F.sigmoid(x),
    "softmax": lambda F, a, x: F.softmax(x, dim=1),
    "log_softmax": lambda F, a, x: F.log_softmax(x, dim=0),
    "layer_norm": lambda F, a, x: F.layer_norm(x, (5,), a(WEIGHT), a(WEIGHT)),
    "linear": lambda F, a, x: F.linear(x, a(PROBABILITIES), a(WEIGHT[:1])),
    "cross_entropy": lambda F, a, x: F.cross_entropy(x, a(LABELS)),
    "cross_entropy sum": lambda F, a, x: F.cross_entropy(x, a(LABELS), reduction="sum"),
    "cross_entropy weight": lambda F, a, x: F.cross_entropy(x, a(LABELS), a(WEIGHT)),
    "cross_entropy ignored": lambda F, a, x: F.cross_entropy(
        x, a(LABELS), a(WEIGHT), ignore_index=int(LABELS[0]), label_smoothing=0.1
    ),
    "cross_entropy probabilities": lambda F, a, x: F.cross_entropy(
        x, a(PROBABILITIES), a(WEIGHT), label_smoothing=0.1
    ),
    "cross_entropy images": lambda F, a, x: F.cross_entropy(
        x.reshape(2, 3, 5), a(LABELS.reshape(2, 3)[:, :1] % 3).expand(2, 5)
    ),
    "nll_loss": lambda F, a, x: F.nll_loss(x, a(LABELS), a(WEIGHT), reduction="none"),
    "mse_loss": lambda F, a, x: F.mse_loss(x, a(PROBABILITIES)),
    "l1_loss": lambda F, a, x: F.l1_loss(x, a(PROBABILITIES), reduction="sum"),
    "bce": lambda F, a, x: F.binary_cross_entropy_with_logits(
        x, a(PROBABILITIES), a(WEIGHT), pos_weight=a(WEIGHT)
    ),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_functions(name: str, dtype: str) -> None:
    def typed(value: Array) -> Array:
        return value.astype(dtype) if value.dtype.kind == "f" else value

    function = FUNCTIONS[name]
    own = fg.asarray(typed(X), requires_grad=True)
    peer = torch.tensor(typed(X), requires_grad=True)
    result = function(F, lambda value: fg.asarray(typed(value)), own)
    expected = function(torch.nn.functional, lambda value: torch.tensor(typed(value)), peer)
    seed = rng.standard_normal(tuple(expected.shape)).astype(dtype)
    result.backward(fg.asarray(seed))
    expected.backward(torch.tensor(seed))
    tolerance = 2e-5 if dtype == "float32" else 1e-12
    for one, other in [(result, expected), (own.grad, peer.grad)]:
        values = other.detach().numpy()
        np.testing.assert_allclose(one.detach().numpy(), values, tolerance, tolerance)


def models(nn: Any) -> Any:
    return nn.Sequential(
        nn.Linear(6, 8),
        nn.LayerNorm(8),
        nn.GELU(),
        nn.Sequential(nn.Linear(8, 8, bias=False), nn.SiLU(), nn.Dropout(0.5)),
        nn.Linear(8, 3),
    )


def test_state_dicts_fit_torchs() -> None:
    own, peer = models(nn).eval(), models(torch.nn).eval()
    state = peer.state_dict()
    own.load_state_dict({name: value.numpy() for name, value in state.items()})
    x = rng.standard_normal((4, 6)).astype(np.float32)
    expected = peer(torch.tensor(x)).detach().numpy()
    np.testing.assert_allclose(own(x).detach().numpy(), expected, 1e-5, 1e-6)
    assert {name: tuple(value.shape) for name, value in state.items()} == {
        name: value.shape for name, value in own.state_dict().items()
    }


def test_embeddings() -> None:
    own, peer = nn.Embedding(7, 3, padding_idx=2), torch.nn.Embedding(7, 3, padding_idx=2)
    own.load_state_dict({"weight": peer.weight.detach().numpy()})
    ids = rng.integers(0, 7, (4, 5))
    own(ids).sum().backward()
    peer(torch.tensor(ids)).sum().backward()
    assert own.weight.grad is not None
    assert (own.weight.grad.numpy() == peer.weight.grad.numpy()).all()


@pytest.mark.parametrize("make", [lambda nn: nn.Linear(64, 500), lambda nn: nn.Embedding(200, 100)])
def test_initial_values_have_torchs_distribution(make: Callable[[Any], Any]) -> None:
    fg.random.seed(0)
    torch.manual_seed(0)
    own = make(nn).weight.detach().numpy()
    peer = make(torch.nn).weight.detach().numpy()
    quantiles = np.linspace(0.05, 0.95, 19)
    expected = np.quantile(peer, quantiles)
    np.testing.assert_allclose(np.quantile(own, quantiles), expected, atol=0.06 * peer.std())


@pytest.mark.parametrize("module", ["Linear(3, 4)", "Dropout(0.2)", "GELU()", "Tanh()"])
def test_reprs(module: str) -> None:
    own = repr(eval(f"nn.Sequential(nn.{module})", {"nn": nn}))
    peer = repr(eval(f"nn.Sequential(nn.{module})", {"nn": torch.nn}))
    assert own == peer.replace(", inplace=False", "")
