"""Elementwise work on views: ``python -m benchmarks.views``.

The bandwidth of ``2 x + 1`` on transposed and sliced input, as a part of what contiguous input
reaches; the functions take turns. Results are compared with NumPy's first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fusegrad as fg

VIEWS: dict[str, Callable[[Any], Any]] = {
    "x": lambda x: x,
    "x.T": lambda x: x.T,
    "x[:, ::2]": lambda x: x[:, ::2],
    "x[:, 1::3]": lambda x: x[:, 1::3],
    "x[::-1]": lambda x: x[::-1],
    "x[:, ::-1]": lambda x: x[:, ::-1],
    "x[1:-1, 1:-1]": lambda x: x[1:-1, 1:-1],
}


def _function(view: Callable[[Any], Any]) -> Callable[[Any], Any]:
    result: Callable[[Any], Any] = fg.compile(lambda x: view(x) * 2.0 + 1.0)
    return result


def _bytes(x: Any, y: Any) -> int:
    """The memory that a step has to move: cache lines of the input as a whole."""
    return int(x.nbytes + y.nbytes)


def measure(size: int, rounds: int) -> dict[str, tuple[float, float]]:
    """GB/s of each view of a square of `size`: best and median."""
    array = np.random.default_rng(0).standard_normal((size, size), dtype=np.float32)
    x = fg.asarray(array)
    functions = {name: _function(view) for name, view in VIEWS.items()}
    moved = {}
    for name, function in functions.items():
        result = function(x).numpy()
        np.testing.assert_allclose(result, VIEWS[name](array) * 2 + 1, rtol=1e-6)
        moved[name] = _bytes(array, result)
    seconds: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            started = time.perf_counter()
            function(x)
            seconds[name].append(time.perf_counter() - started)
    return {
        name: (moved[name] / min(times) / 1e9, moved[name] / float(np.median(times)) / 1e9)
        for name, times in seconds.items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benchmarks.views", description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[4096, 4160])
    parser.add_argument("--rounds", type=int, default=31)
    options = parser.parse_args(arguments)
    for size in options.sizes:
        figures = measure(size, options.rounds)
        best, median = figures["x"]
        print(f"\n{size} x {size}, float32, 2 x + 1")
        print("view             GB/s: best  median   of contiguous: best  median")
        for name, (high, middle) in figures.items():
            print(
                f"{name:16} {high:10.1f} {middle:7.1f} {high / best:21.2f} {middle / median:7.2f}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
