"""A training step of a language model of characters: an LSTM over one-hot rows, with Adam.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Torch
from benchmarks.workload import Inputs, Tolerance, Work, Workload

from .training import Arrays, adam_steps, jax_cross_entropy, numpy_cross_entropy


def _inputs(
    generator: np.random.Generator, times: int, batch: int, hidden: int, vocabulary: int
) -> Inputs:
    def uniform(*shape: int) -> np.ndarray:
        return np.asarray(generator.uniform(-1, 1, shape) / hidden**0.5, np.float32)

    return {
        "ids": generator.integers(0, vocabulary, (times, batch)),
        "labels": generator.integers(0, vocabulary, (times, batch)),
        "lstm.weight_ih_l0": uniform(4 * hidden, vocabulary),
        "lstm.weight_hh_l0": uniform(4 * hidden, hidden),
        "lstm.bias_ih_l0": uniform(4 * hidden),
        "lstm.bias_hh_l0": uniform(4 * hidden),
        "head.weight": uniform(vocabulary, hidden),
        "head.bias": uniform(vocabulary),
    }


def _work(times: int, batch: int, hidden: int, vocabulary: int) -> Work:
    """Count three products of each weight; one-hot rows need no gradient."""
    products = 2 * 4 * hidden * vocabulary + 3 * 4 * hidden * hidden + 3 * hidden * vocabulary
    parameters = 4 * hidden * (vocabulary + hidden + 2) + vocabulary * (hidden + 1)
    return Work(
        moved=4 * 2 * 3 * parameters + 16 * times * batch, flops=2 * times * batch * products
    )


# --- fusegrad and torch ---------------------------------------------------------------------------


def _model(library: Fused | Torch, parameters: Arrays) -> Any:
    nn, functional = library.nn, library.functional
    vocabulary, hidden = parameters["head.weight"].shape

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(vocabulary, hidden)
            self.head = nn.Linear(hidden, vocabulary)

        def forward(self, ids: Any, labels: Any) -> Any:
            rows = functional.one_hot(ids, vocabulary).to(self.head.weight.dtype)
            logits = self.head(self.lstm(rows)[0])
            return functional.cross_entropy(logits.reshape(-1, vocabulary), labels.reshape(-1))

    return Model()


# --- jax ------------------------------------------------------------------------------------------


def _jax_loss(jax: Any, parameters: Arrays, data: Arrays) -> Any:
    jnp = jax.numpy
    vocabulary, hidden = parameters["head.weight"].shape
    rows = jax.nn.one_hot(data["ids"], vocabulary)
    bias = parameters["lstm.bias_ih_l0"] + parameters["lstm.bias_hh_l0"]
    given = rows @ parameters["lstm.weight_ih_l0"].T + bias

    def body(carry: tuple[Any, Any], row: Any) -> tuple[tuple[Any, Any], Any]:
        gates = row + carry[0] @ parameters["lstm.weight_hh_l0"].T
        i, f, g, o = jnp.split(gates, 4, axis=1)
        cell = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        output = jax.nn.sigmoid(o) * jnp.tanh(cell)
        return (output, cell), output

    zero = jnp.zeros((rows.shape[1], hidden), given.dtype)
    outputs = jax.lax.scan(body, (zero, zero), given)[1]
    logits = outputs @ parameters["head.weight"].T + parameters["head.bias"]
    return jax_cross_entropy(jax, logits, data["labels"])


# --- NumPy ----------------------------------------------------------------------------------------


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _numpy_gradients(parameters: Arrays, data: Arrays) -> tuple[Any, Arrays]:
    weight, recurrent = parameters["lstm.weight_ih_l0"], parameters["lstm.weight_hh_l0"]
    bias = parameters["lstm.bias_ih_l0"] + parameters["lstm.bias_hh_l0"]
    times, batch = data["ids"].shape
    size = recurrent.shape[1]
    given = weight.T[data["ids"]] + bias
    hidden = np.zeros((times + 1, batch, size), weight.dtype)
    cells, gates = np.zeros_like(hidden), np.empty((times, 4, batch, size), weight.dtype)
    for t in range(times):
        i, f, g, o = np.split(given[t] + hidden[t] @ recurrent.T, 4, axis=1)
        gates[t] = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        cells[t + 1] = gates[t, 1] * cells[t] + gates[t, 0] * gates[t, 2]
        hidden[t + 1] = gates[t, 3] * np.tanh(cells[t + 1])
    outputs = hidden[1:].reshape(-1, size)
    head = parameters["head.weight"]
    loss, delta = numpy_cross_entropy(
        outputs @ head.T + parameters["head.bias"], data["labels"].reshape(-1)
    )
    back = (delta @ head).reshape(times, batch, size)
    d_hidden, d_cell = np.zeros((2, batch, size), weight.dtype)
    d_gates = np.empty((times, batch, 4 * size), weight.dtype)
    for t in reversed(range(times)):
        i, f, g, o = gates[t]
        d_hidden = d_hidden + back[t]
        shown = np.tanh(cells[t + 1])
        d_cell = d_cell + d_hidden * o * (1 - shown * shown)
        parts = (
            d_cell * g * i * (1 - i),
            d_cell * cells[t] * f * (1 - f),
            d_cell * i * (1 - g * g),
            d_hidden * shown * o * (1 - o),
        )
        d_gates[t] = np.concatenate(parts, axis=1)
        d_hidden, d_cell = d_gates[t] @ recurrent, d_cell * f
    flat = d_gates.reshape(-1, 4 * size)
    d_weight = np.zeros_like(weight.T)
    np.add.at(d_weight, data["ids"].reshape(-1), flat)
    return loss, {
        "lstm.weight_ih_l0": d_weight.T,
        "lstm.weight_hh_l0": flat.T @ hidden[:-1].reshape(-1, size),
        "lstm.bias_ih_l0": flat.sum(axis=0),
        "lstm.bias_hh_l0": flat.sum(axis=0),
        "head.weight": delta.T @ outputs,
        "head.bias": delta.sum(axis=0),
    }


WORKLOAD = Workload(
    name="lstm",
    title="LSTM, hidden 256, 64 times, batch 32, vocabulary 128, Adam step",
    sizes={
        "full": {"times": 64, "batch": 32, "hidden": 256, "vocabulary": 128},
        "small": {"times": 5, "batch": 3, "hidden": 6, "vocabulary": 7},
    },
    inputs=_inputs,
    work=_work,
    builders=adam_steps(_numpy_gradients, _model, _jax_loss),
    steps=3,
    tolerance=Tolerance(relative=1e-3, scaled=1e-4, outliers=1e-3),
)
