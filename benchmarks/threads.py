"""Threads: ``python -m benchmarks.threads``.

What a second thread is worth, and whether the results of all workloads are the same bits for any
number of threads. Each number of threads has processes of its own; those that are timed take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from . import check, workloads
from .harness import PAUSE, calibrate
from .process import Worker, available_threads
from .report import duration, table
from .workload import Workload

COUNTS = (1, 2, 3, 4)
HEADER = ("workload", "1 thread", "2 threads", "ratio, best", "median", "bits for 1, 2, 3, 4")


def different(outputs: Sequence[Sequence[np.ndarray]]) -> list[int]:
    """Return the numbers of the results that are not the bits of the first one.

    Examples
    --------
    >>> one, other = [np.float32([0.0])], [np.float32([-0.0])]
    >>> different([one, one, other])
    [2]
    """
    first, *others = ([(a.shape, a.dtype, a.tobytes()) for a in arrays] for arrays in outputs)
    return [number for number, bits in enumerate(others, 1) if bits != first]


def bits(workload: Workload, scale: str, folder: Path) -> list[int]:
    """Return the numbers of threads whose results differ from those of one thread."""
    found = []
    for count in COUNTS:
        place = folder / f"{workload.name}-{count}"
        place.mkdir()
        with Worker(count, folder) as worker:
            worker.ask("prepare", workload=workload.name, contender="fused", scale=scale)
            worker.ask("check", save=str(place))
        found.append(check.load(place))
    return [COUNTS[number] for number in different(found)]


def times(workload: Workload, scale: str, rounds: int, folder: Path) -> dict[int, list[float]]:
    """Return the milliseconds of a step with one thread and with two, as far as there are two."""
    counts = [count for count in (1, 2) if count <= available_threads()]
    workers = {count: Worker(count, folder) for count in counts}
    try:
        for worker in workers.values():
            worker.ask("prepare", workload=workload.name, contender="fused", scale=scale)
        plans = {count: calibrate(worker, rounds) for count, worker in workers.items()}
        found: dict[int, list[float]] = {count: [] for count in counts}
        for _ in range(rounds):
            for count, worker in workers.items():
                time.sleep(PAUSE)
                found[count] += worker.ask("run", **plans[count].request())["ms"]
    finally:
        for worker in workers.values():
            worker.close()
    return found


def row(name: str, found: dict[int, list[float]], wrong: Iterable[int]) -> tuple[str, ...]:
    """Return the line of a workload.

    Examples
    --------
    >>> row("x", {1: [4.0, 6.0, 5.0], 2: [2.0, 3.0, 2.5]}, [])
    ('x', '4.00 ms', '2.00 ms', '2.00', '2.00', 'equal')
    >>> row("x", {1: [4.0]}, [3])
    ('x', '4.00 ms', '-', '-', '-', 'DIFFERENT for 3')
    """
    told = ", ".join(map(str, wrong))
    verdict = f"DIFFERENT for {told}" if told else "equal"
    one, two = found.get(1), found.get(2)
    if one is None or two is None:
        return name, duration(min(one) if one else None), "-", "-", "-", verdict
    best, median = min(one) / min(two), statistics.median(one) / statistics.median(two)
    return name, duration(min(one)), duration(min(two)), f"{best:.2f}", f"{median:.2f}", verdict


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each workload; the exit status is 1 where bits differ."""
    names = [workload.name for workload in workloads.WORKLOADS]
    parser = argparse.ArgumentParser("python -m benchmarks.threads", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--rounds", type=int, default=7, help="0: no times. Default: 7")
    parser.add_argument("--scale", choices=("full", "small"), default="full")
    options = parser.parse_args(arguments)
    rows, failed = [], False
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        for name in options.only:
            workload = workloads.find(name)
            wrong = bits(workload, options.scale, Path(folder))
            failed |= bool(wrong)
            rounds = options.rounds
            found = times(workload, options.scale, rounds, Path(folder)) if rounds else {}
            rows.append(row(name, found, wrong))
            print("  ".join(rows[-1]), flush=True)
    print()
    print(table(HEADER, rows))
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
