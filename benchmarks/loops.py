"""Loops of the program: ``python -m benchmarks.loops``.

What a scan costs: its gradient against its forward pass, its compile time against that of a shorter
one, and an LSTM as a scan against the same LSTM written out. The functions take turns; results are
compared.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fusegrad as fg

WIDTH, BATCH = 64, 16
"""Of the recurrence whose gradient is timed."""
HIDDEN, ROWS, STEPS = 256, 32, 64
"""Of the LSTM."""


def recurrence(weights: Any, start: Any, rows: Any) -> Any:
    """A recurrent network: the sum of its last state."""

    def body(state: Any, x: Any) -> tuple[Any, None]:
        return fg.tanh(state @ weights + x), None

    return fg.scan(body, start, rows)[0].sum()


def cell(weights: Any, carry: tuple[Any, Any], x: Any) -> tuple[tuple[Any, Any], Any]:
    """One step of an LSTM without biases."""
    hidden, memory = carry
    gates = fg.concat([x, hidden], axis=1) @ weights
    i, f, g, o = fg.split(gates, 4, axis=1)
    memory = fg.sigmoid(f) * memory + fg.sigmoid(i) * fg.tanh(g)
    hidden = fg.sigmoid(o) * fg.tanh(memory)
    return (hidden, memory), hidden


def scanned(weights: Any, rows: Any) -> Any:
    """An LSTM as a scan."""
    zero = fg.zeros((ROWS, HIDDEN))
    return fg.scan(lambda carry, x: cell(weights, carry, x), (zero, zero), rows)[1].sum()


def unrolled(weights: Any, rows: Any) -> Any:
    """The same, written out."""
    zero = fg.zeros((ROWS, HIDDEN))
    carry, total = (zero, zero), []
    for step in range(STEPS):
        carry, hidden = cell(weights, carry, rows[step])
        total.append(hidden.sum())
    return fg.stack(total).sum()


def alternating(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, tuple[float, float]]:
    """Milliseconds of each call, best and median; they take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            started = time.perf_counter()
            np.asarray(call())
            times[name].append((time.perf_counter() - started) * 1e3)
    return {name: (min(t), float(np.median(t))) for name, t in times.items()}


def first_call(call: Callable[[], Any]) -> float:
    """Milliseconds of a call that compiles."""
    started = time.perf_counter()
    np.asarray(call())
    return (time.perf_counter() - started) * 1e3


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.loops", description=__doc__)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return fg.asarray(random.standard_normal(shape, dtype=np.float32) / math.sqrt(shape[-1]))

    weights, start = array(WIDTH, WIDTH), array(BATCH, WIDTH)
    os.environ["FUSEGRAD_CACHE_DIR"] = "off"  # A first call compiles.
    for length in (10, 1000):
        rows = array(length, BATCH, WIDTH)
        gradient = fg.compile(fg.grad(recurrence))
        taken = first_call(lambda g=gradient, r=rows: g(weights, start, r))  # type: ignore[misc]
        print(f"first call of the gradient of {length:5} iterations: {taken:8.1f} ms")
    forward = fg.compile(recurrence)
    figures = alternating(
        {
            "forward": lambda: forward(weights, start, rows),
            "gradient": lambda: gradient(weights, start, rows),
        },
        options.rounds,
    )
    for name, (best, median) in figures.items():
        ratio = median / figures["forward"][1]
        print(f"1000 iterations, {name:9} best {best:7.2f}, median {median:7.2f} ms ({ratio:.2f})")
    recurrent, sequence = array(2 * HIDDEN, 4 * HIDDEN), array(STEPS, ROWS, HIDDEN)
    calls = {
        name: fg.compile(fg.grad(function))
        for name, function in (("scan", scanned), ("unrolled", unrolled))
    }
    for name, call in calls.items():
        taken = first_call(lambda c=call: c(recurrent, sequence))  # type: ignore[misc]
        print(f"LSTM, {STEPS} steps, gradient, {name:9} first call {taken:8.1f} ms")
    one, other = (np.asarray(call(recurrent, sequence)) for call in calls.values())
    np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)
    figures = alternating(
        {n: (lambda c=c: c(recurrent, sequence)) for n, c in calls.items()},  # type: ignore[misc]
        options.rounds,
    )
    for name, (best, median) in figures.items():
        print(f"LSTM, {STEPS} steps, gradient, {name:9} best {best:7.2f}, median {median:7.2f} ms")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
