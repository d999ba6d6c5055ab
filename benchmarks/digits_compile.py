"""What the training step of the digits costs to compile: cold, and in a second process.

Knows fusegrad by its public names only. ``python -m benchmarks.digits_compile``; the first process
of each pair has an empty cache, the second finds what the first one left.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .compile_time import stages
from .process import run_module
from .report import duration, table

BATCH = 64


def measure_here() -> dict[str, Any]:
    """Build model and optimizer, make the first call; return the milliseconds of each part."""
    started = time.perf_counter()
    fg: Any = importlib.import_module("fusegrad")
    nn: Any = importlib.import_module("fusegrad.nn")
    functional: Any = importlib.import_module("fusegrad.nn.functional")
    optim: Any = importlib.import_module("fusegrad.optim")
    imported = time.perf_counter()
    model = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)

    @fg.compile  # type: ignore[untyped-decorator]
    def step(x: Any, y: Any) -> Any:
        loss = functional.cross_entropy(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    generator = np.random.default_rng(0)
    x = generator.standard_normal((BATCH, 64), dtype=np.float32)
    y = generator.integers(0, 10, BATCH)
    built = time.perf_counter()
    float(step(x, y))
    called = time.perf_counter()
    return {
        "import": (imported - started) * 1e3,
        "build": (built - imported) * 1e3,
        "first call": (called - built) * 1e3,
        "stages": stages(step),
    }


def median_of(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the median of every part, the stages among them."""
    flat = [{**{k: v for k, v in run.items() if k != "stages"}, **run["stages"]} for run in runs]
    names = list(dict.fromkeys(name for run in flat for name in run))
    return {name: statistics.median(run.get(name, 0.0) for run in flat) for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the medians of several pairs of processes."""
    parser = argparse.ArgumentParser("python -m benchmarks.digits_compile")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of processes; default: 5")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure_here()))
        return 0
    runs: dict[str, list[dict[str, Any]]] = {"cold": [], "warm": []}
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as cache:
            for kind in runs:
                run = run_module("benchmarks.digits_compile", "--measure", cache=Path(cache))
                runs[kind].append(run)
    medians = {kind: median_of(values) for kind, values in runs.items()}
    names = list(dict.fromkeys(name for values in medians.values() for name in values))
    rows = [[name, *(duration(medians[kind].get(name)) for kind in runs)] for name in names]
    rows.append(
        ["first call, best", *(duration(min(r["first call"] for r in runs[k])) for k in runs)]
    )
    print(table(["digits step", "cold", "second process"], rows))
    if options.json:
        options.json.write_text(json.dumps(runs, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
