"""How compile time grows: chains of different operations and stacks of equal layers, cold; and
the first calls of the harness's workloads, by stage and by function.

Knows fusegrad by its public names only. ``python -m benchmarks.compile_time``; every figure comes
from a process of its own with an empty cache.
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from . import first_calls
from .process import WorkerError, run_module
from .report import duration, table
from .workloads import WORKLOADS

CHAINS = (100, 200, 400, 800, 1600, 3200)
STACKS = (1, 2, 4, 8, 16, 32, 64, 200)
WIDTH = 64
BATCH = 32


def chain(length: int) -> tuple[Callable[..., Any], list[Any]]:
    """Return a function of ``length`` elementwise operations, all different, and its input."""
    fg: Any = importlib.import_module("fusegrad")
    operations: tuple[Callable[[Any, float], Any], ...] = (
        lambda x, c: x + c,
        lambda x, c: fg.sin(x),
        lambda x, c: x * c,
        lambda x, c: fg.tanh(x),
        lambda x, c: x - c,
        lambda x, c: fg.maximum(x, -c),
        lambda x, c: fg.exp(x),
        lambda x, c: fg.minimum(x, c),
    )

    def function(x: Any) -> Any:
        for index in range(length):
            x = operations[index % len(operations)](x, 1 + index / (2 * length))
        return x

    return function, [np.linspace(-1, 1, 1000, dtype=np.float32)]


def stack(depth: int) -> tuple[Callable[..., Any], list[Any]]:
    """Return a training step of ``depth`` equal layers, and its inputs."""
    nn: Any = importlib.import_module("fusegrad.nn")
    functional: Any = importlib.import_module("fusegrad.nn.functional")
    optim: Any = importlib.import_module("fusegrad.optim")
    layers = [layer for _ in range(depth) for layer in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
    model = nn.Sequential(*layers)
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    def step(x: Any, y: Any) -> Any:
        loss = functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    generator = np.random.default_rng(0)
    return step, [generator.standard_normal((BATCH, WIDTH), dtype=np.float32) for _ in "xy"]


SUBJECTS = {"chain": chain, "stack": stack}


def measure_here(subject: str, size: int) -> dict[str, Any]:
    """Compile and run once in this process; return the milliseconds, in all and by stage."""
    fg: Any = importlib.import_module("fusegrad")
    # Something else first: what a process needs once is not part of the growth.
    float(fg.compile(lambda x: fg.sum(x * 3.0))(np.ones(3, np.float32)))
    function, arguments = SUBJECTS[subject](size)
    compiled = fg.compile(function)
    started = time.perf_counter()
    result = compiled(*arguments)
    result.numpy()
    total = (time.perf_counter() - started) * 1e3
    return {"size": size, "ms": total, "stages": stages(compiled)}


def stages(compiled: Any) -> dict[str, float]:
    """Return the compile milliseconds by stage of a compiled function."""
    return {name: float(ms) for name, ms in dict(compiled.stats().compile_ms).items()}


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """Return the exponent of growth: the slope of the line through the logarithms.

    Examples
    --------
    >>> round(slope([1, 2, 4], [3, 6, 12]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def family(subject: str, sizes: Sequence[int]) -> list[dict[str, Any]]:
    """Measure every size in a process of its own; print each as it comes."""
    rows: list[dict[str, Any]] = []
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="benchmarks-") as cache:
            try:
                row = run_module(
                    "benchmarks.compile_time", "--measure", subject, str(size), cache=Path(cache)
                )
            except WorkerError as error:
                print(f"  {subject} {size} failed: {error}", flush=True)
                continue
        rows.append(row)
    return rows


def family_text(title: str, rows: Sequence[dict[str, Any]]) -> str:
    """Return the table of a family, with its slope."""
    names = list(dict.fromkeys(name for row in rows for name in row["stages"]))
    body = [
        [str(row["size"]), duration(row["ms"])]
        + [duration(row["stages"].get(name)) for name in names]
        for row in rows
    ]
    lines = [title, table(["size", "first call", *names], body)]
    if len(rows) > 1:
        exponent = slope([row["size"] for row in rows], [row["ms"] for row in rows])
        lines.append(f"slope of log-log: {exponent:.2f}")
    by_size = {row["size"]: row["ms"] for row in rows}
    if 1 in by_size and 64 in by_size:
        lines.append(f"64 against 1: {by_size[64] / by_size[1]:.1f} times")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print both families and the workloads; the exit status is 1 where something failed."""
    parser = argparse.ArgumentParser("python -m benchmarks.compile_time")
    parser.add_argument("--chains", type=int, nargs="*", default=CHAINS, metavar="N")
    parser.add_argument("--stacks", type=int, nargs="*", default=STACKS, metavar="N")
    names = [workload.name for workload in WORKLOADS]
    parser.add_argument("--workloads", nargs="*", default=names, choices=names, metavar="NAME")
    parser.add_argument("--scale", choices=["full", "small"], default="full")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--measure", nargs=2, metavar=("SUBJECT", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.measure:
        print(json.dumps(measure_here(options.measure[0], int(options.measure[1]))))
        return 0
    record = {
        "chains": family("chain", options.chains),
        "stacks": family("stack", options.stacks),
        "workloads": first_calls.measure_all(options.workloads, options.scale),
    }
    print(family_text("chains of different elementwise operations", record["chains"]))
    print()
    print(family_text(f"training steps of equal layers ({WIDTH} wide)", record["stacks"]))
    print()
    print(first_calls.text(record["workloads"]))
    if options.json:
        options.json.write_text(json.dumps(record, indent=1) + "\n")
    wanted = len(options.chains) + len(options.stacks) + len(options.workloads)
    return int(sum(map(len, record.values())) < wanted)


if __name__ == "__main__":
    raise SystemExit(main())
