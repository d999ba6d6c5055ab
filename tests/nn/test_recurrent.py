"""Recurrent layers and cells: against loops in NumPy, their gradients, what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn
from fusegrad.errors import ShapeError
from fusegrad.testing import check_grads

RNG = np.random.default_rng(0)
RTOL = 1e-12


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def numpy_step(mode: str, x: Any, state: list[Any], layer: Any, suffix: str) -> list[Any]:
    """One step, from the definition."""
    w = {
        kind: getattr(layer, kind + suffix).detach().numpy()
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    }
    given = x @ w["weight_ih"].T + w["bias_ih"]
    recurrent = state[0] @ w["weight_hh"].T + w["bias_hh"]
    if mode == "RNN":
        return [np.tanh(given + recurrent)]
    if mode == "LSTM":
        i, f, g, o = np.split(given + recurrent, 4, -1)
        cell = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(cell), cell]
    (ir, iz, in_), (hr, hz, hn) = np.split(given, 3, -1), np.split(recurrent, 3, -1)
    r, z = sigmoid(ir + hr), sigmoid(iz + hz)
    return [(1 - z) * np.tanh(in_ + r * hn) + z * state[0]]


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("times", [1, 4])
def test_against_loops(mode: str, bidirectional: bool, times: int) -> None:
    layer = getattr(nn, mode)(3, 2, 2, bidirectional=bidirectional, dtype="float64")
    first = RNG.standard_normal((times, 5, 3))
    parts = 1 + (mode == "LSTM")
    starts = [RNG.standard_normal((2 + 2 * bidirectional, 5, 2)) for _ in range(parts)]
    x, lasts = first, []
    for depth in range(2):
        outputs = []
        for backward in range(1 + bidirectional):
            state = [start[len(lasts)] for start in starts]
            suffix = f"_l{depth}" + "_reverse" * backward
            rows = []
            for row in x[::-1] if backward else x:
                state = numpy_step(mode, row, state, layer, suffix)
                rows.append(state[0])
            outputs.append(np.stack(rows[::-1] if backward else rows))
            lasts.append(state)
        x = np.concatenate(outputs, -1)
    given = tuple(starts) if parts == 2 else starts[0]
    for run in (layer, fg.compile(lambda a, s: layer(a, s))):
        output, last = run(first, given)
        np.testing.assert_allclose(output.detach().numpy(), x, rtol=RTOL)
        for i, part in enumerate(last if parts == 2 else (last,)):
            expected = np.stack([state[i] for state in lasts])
            np.testing.assert_allclose(part.detach().numpy(), expected, rtol=RTOL)


@pytest.mark.parametrize("mode", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_are_steps(mode: str) -> None:
    cell = getattr(nn, mode)(3, 2, dtype="float64")
    layer = getattr(nn, mode.removesuffix("Cell"))(3, 2, dtype="float64")
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    x = RNG.standard_normal((4, 5, 3))
    state, rows = None, []
    for row in x:
        state = cell(row, state)
        rows.append((state[0] if mode == "LSTMCell" else state).detach().numpy())
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), np.stack(rows), rtol=RTOL)


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_gradients(mode: str) -> None:
    layer = getattr(nn, mode)(2, 3, bidirectional=True, dtype="float64")
    weights = [RNG.standard_normal(p.shape) for p in layer.parameters()]
    names = [name for name, _ in layer.named_parameters()]

    def run(x: Any, *parameters: Any) -> Any:
        named = dict(zip(names, parameters, strict=True))
        return fg.func.functional_call(layer, named, (x,))[0].sum()

    check_grads(run, (RNG.standard_normal((3, 2, 2)), *weights), order=2)


def test_layouts() -> None:
    layer = nn.LSTM(3, 2, 2, bidirectional=True)
    first = nn.LSTM(3, 2, 2, bidirectional=True, batch_first=True)
    first.load_state_dict(layer.state_dict())
    x = RNG.standard_normal((4, 5, 3)).astype(np.float32)
    output, (hidden, _) = layer(x)
    turned, (same, _) = first(x.transpose(1, 0, 2))
    np.testing.assert_array_equal(turned.detach().numpy(), output.detach().numpy().swapaxes(0, 1))
    np.testing.assert_array_equal(same.detach().numpy(), hidden.detach().numpy())
    alone, (one, _) = layer(x[:, 1])
    assert alone.shape == (4, 4)
    assert one.shape == (4, 2)
    np.testing.assert_allclose(
        alone.detach().numpy(), output.detach().numpy()[:, 1], rtol=1e-5, atol=1e-6
    )
    output, (hidden, _) = layer(x[:0])
    assert output.shape == (0, 5, 4)
    assert float(hidden.detach().sum()) == 0


def test_dropout_lies_between_layers() -> None:
    x = RNG.standard_normal((4, 5, 3)).astype(np.float32)
    single = nn.GRU(3, 2, dropout=0.5)
    np.testing.assert_array_equal(single(x)[0].detach().numpy(), single(x)[0].detach().numpy())
    layer = nn.GRU(3, 2, num_layers=2, dropout=0.5)
    assert not np.array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())
    layer.eval()
    np.testing.assert_array_equal(layer(x)[0].detach().numpy(), layer(x)[0].detach().numpy())


@pytest.mark.parametrize("mode", ["RNN", "LSTM", "GRU"])
def test_autocast_keeps_the_state(mode: str) -> None:
    layer = getattr(nn, mode)(3, 2)
    x = RNG.standard_normal((4, 5, 3)).astype(np.float32)
    exact = layer(x)[0].detach().numpy()
    with fg.autocast(fg.bfloat16):
        rounded = layer(x)[0]
    assert rounded.dtype is fg.float32
    np.testing.assert_allclose(rounded.detach().numpy(), exact, atol=0.03)


def test_what_is_refused() -> None:
    x = np.zeros((4, 5, 3), np.float32)
    with pytest.raises(ShapeError, match=r"LSTM: an input of shape \(4, 5, 3\) for input_size"):
        nn.LSTM(4, 2)(x)
    with pytest.raises(ShapeError, match=r"a state of shape \(1, 4, 2\), not \(1, 5, 2\)"):
        nn.GRU(3, 2)(x, np.zeros((1, 4, 2), np.float32))
    with pytest.raises(TypeError, match=r"the state is a pair \(hidden, cell\), not ndarray"):
        nn.LSTM(3, 2)(x, np.zeros((1, 5, 2), np.float32))
    with pytest.raises(ShapeError, match="proj_size 2 with hidden_size 2"):
        nn.LSTM(3, 2, proj_size=2)
    with pytest.raises(ShapeError, match="num_layers 0"):
        nn.RNN(3, 2, num_layers=0)
    with pytest.raises(ValueError, match="'tanh' or 'relu', not 'gelu'"):
        nn.RNNCell(3, 2, nonlinearity="gelu")  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"RNNCell: an input of shape \(4, 5, 3\)"):
        nn.RNNCell(3, 2)(x)
