"""Recurrent layers and cells against torch's own: parameters, texts, outputs, gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore:LSTM with projections"),
]

RNG = np.random.default_rng(0)

LAYERS: list[tuple[str, tuple[int, ...]]] = [
    ("nn.RNN(4, 3)", (5, 2, 4)),
    ("nn.RNN(4, 3, 2, 'relu', bidirectional=True)", (5, 2, 4)),
    ("nn.RNN(4, 3, bias=False, batch_first=True)", (2, 5, 4)),
    ("nn.LSTM(4, 3)", (5, 2, 4)),
    ("nn.LSTM(4, 3, num_layers=2, batch_first=True, bidirectional=True)", (2, 5, 4)),
    ("nn.LSTM(4, 5, num_layers=2, proj_size=3, bidirectional=True)", (6, 2, 4)),
    ("nn.LSTM(4, 3, bias=False, dropout=0.5, num_layers=2)", (1, 2, 4)),
    ("nn.LSTM(4, 3)", (5, 4)),
    ("nn.GRU(4, 3)", (5, 2, 4)),
    ("nn.GRU(4, 3, num_layers=3, batch_first=True, bidirectional=True)", (2, 5, 4)),
    ("nn.GRU(4, 3, bias=False, bidirectional=True)", (5, 4)),
    ("nn.RNNCell(4, 3)", (2, 4)),
    ("nn.RNNCell(4, 3, False, 'relu')", (4,)),
    ("nn.LSTMCell(4, 3)", (2, 4)),
    ("nn.LSTMCell(4, 3, bias=False)", (4,)),
    ("nn.GRUCell(4, 3)", (2, 4)),
]


def flat(results: Any) -> list[Any]:
    if isinstance(results, tuple):
        return [leaf for part in results for leaf in flat(part)]
    return [results]


def states(own: Any, shape: tuple[int, ...]) -> Any:
    """A first state of random numbers, as the layer takes it."""
    hidden = own.hidden_size
    if isinstance(own, nn.RNNCellBase):
        shapes = [(*shape[:-1], hidden)] * (1 + isinstance(own, nn.LSTMCell))
    else:
        count = own.num_layers * (1 + own.bidirectional)
        batch = () if len(shape) == 2 else (shape[0 if own.batch_first else 1],)
        shapes = [(count, *batch, own.proj_size or hidden)]
        shapes += [(count, *batch, hidden)] * isinstance(own, nn.LSTM)
    arrays = [RNG.standard_normal(s).astype(np.float32) for s in shapes]
    return tuple(arrays) if len(arrays) == 2 else arrays[0]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("text", "shape"), LAYERS, ids=lambda given: str(given))
def test_layers(text: str, shape: tuple[int, ...], with_state: bool) -> None:
    own, peer = eval(text, {"nn": nn}).eval(), eval(text, {"nn": torch.nn}).eval()
    assert repr(own) == repr(peer)
    first = {name: value.numpy().copy() for name, value in peer.state_dict().items()}
    drawn = {name: value.shape for name, value in own.state_dict().items()}
    assert list(drawn.items()) == [(name, value.shape) for name, value in first.items()]
    own.load_state_dict(first)
    x = RNG.standard_normal(shape).astype(np.float32)
    given = states(own, shape) if with_state else None
    xt = torch.tensor(x, requires_grad=True)
    ht = pytree_of(torch.tensor, given)
    expected = flat(peer(xt, ht))
    weights = [RNG.standard_normal(tuple(e.shape)).astype(np.float32) for e in expected]
    sum((e * torch.tensor(w)).sum() for e, w in zip(expected, weights, strict=True)).backward()

    @fg.compile
    def step(x: Any, state: Any) -> Any:
        x.requires_grad_()
        results = flat(own(x, state))
        own.zero_grad()
        total = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
        total.backward()
        return results, x.grad

    found, gradient = step(fg.asarray(x), pytree_of(fg.asarray, given))
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(f.detach().numpy(), e.detach().numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient.numpy(), xt.grad.numpy(), rtol=1e-4, atol=1e-5)
    peers = dict(peer.named_parameters())
    for name, p in own.named_parameters():
        assert p.grad is not None
        np.testing.assert_allclose(
            p.grad.numpy(), peers[name].grad.numpy(), rtol=1e-4, atol=2e-5, err_msg=name
        )


def pytree_of(function: Any, given: Any) -> Any:
    if given is None:
        return None
    return tuple(map(function, given)) if isinstance(given, tuple) else function(given)


def test_first_values_and_weights() -> None:
    own, peer = nn.LSTM(4, 25, 2, proj_size=3), torch.nn.LSTM(4, 25, 2, proj_size=3)
    assert [[tuple(w.shape) for w in ws] for ws in own.all_weights] == [
        [tuple(w.shape) for w in ws] for ws in peer.all_weights
    ]
    for parameter in own.parameters():
        largest = float(fg.abs(parameter).max())
        assert 0.12 < largest <= 0.2
