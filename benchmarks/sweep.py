"""Random cases of whole families of work: ``python -m benchmarks.sweep --family rows``.

Each case is checked against NumPy in float64 in every library; then they take turns. Printed are
the cases in which fusegrad is slowest in units of the best peer, and the share of those in which it
is at most a tenth slower. The same seed makes the same cases. With one thread, what counts is the
time that the process computed: other processes disturb it less.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import families, libraries
from .harness import PAUSE, Plan, calibrate
from .process import Worker, WorkerError, available_threads

OURS = "fused"
PEERS = ("numpy", "torch", "jax")
ALLOWED = 1.1
"""In units of the best peer."""


@dataclass
class Figures:
    """Milliseconds of a case in each library, and why some have none."""

    name: str
    title: str
    times: dict[str, list[float]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def best(self, contender: str) -> float:
        """The least time of a library.

        Examples
        --------
        >>> Figures("rows:0:0", "softmax", {"fused": [2.0, 1.0]}).best("fused")
        1.0
        """
        return min(self.times[contender], default=float("inf"))

    @property
    def ratio(self) -> float:
        """Our least time, and our median, over those of the best peer: the less of the two.

        Examples
        --------
        >>> Figures("rows:0:0", "softmax", {"fused": [1.0, 3.0], "jax": [2.0, 3.0]}).ratio
        0.5
        """
        peers = [name for name in self.times if name != OURS]
        if OURS not in self.times:
            return float("inf")
        if not peers:
            return 0.0
        least = self.best(OURS) / min(self.best(name) for name in peers)
        middle = statistics.median(self.times[OURS])
        return min(least, middle / min(statistics.median(self.times[name]) for name in peers))

    def line(self, contenders: Sequence[str]) -> str:
        """The microseconds of each library, the ratio, and what the case is."""
        parts = [
            f"{self.best(n) * 1e3:10.1f}" if n in self.times else f"{'-':>10}" for n in contenders
        ]
        return "".join(parts) + f"{self.ratio:8.2f}  {self.name}  {self.title}"


class Sweep:
    """The processes of all libraries, and what they do with a case."""

    def __init__(self, peers: Sequence[str], threads: int, rounds: int, stack: ExitStack) -> None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sweep-")))
        self.folder = folder
        self.rounds = rounds
        self.own = threads == 1
        self.threads = threads
        self.stack = stack
        self.reference = self._worker("reference")
        self.workers = {name: self._worker(name) for name in (OURS, *peers)}

    def _worker(self, name: str) -> Worker:
        cache = self.folder / "cache" / name
        cache.mkdir(parents=True, exist_ok=True)
        return self.stack.enter_context(Worker(self.threads, cache, JAX_ENABLE_X64="1"))

    def measure(self, name: str) -> Figures:
        """Check one case in all libraries and time it in those that are right."""
        figures = Figures(name, families.find(name).title)
        outputs = Path(self.stack.enter_context(tempfile.TemporaryDirectory(dir=self.folder)))
        request: dict[str, Any] = {"workload": name, "scale": "full"}
        self.reference.ask("prepare", contender="numpy", precision="float64", **request)
        self.reference.ask("check", save=str(outputs))
        plans: dict[str, Plan] = {}
        for contender, worker in self.workers.items():
            if not worker.alive:
                self.workers[contender] = worker = self._worker(contender)
            try:
                worker.ask("prepare", contender=contender, **request)
                verdict = worker.ask("check", reference=str(outputs))
                if not verdict["ok"]:
                    raise WorkerError(f"wrong: {verdict['message']}")
                plans[contender] = calibrate(worker, self.rounds, batch_ms=5.0, round_ms=10.0)
            except WorkerError as error:
                figures.failed[contender] = str(error)
        self._rounds(plans, figures)
        for file in outputs.iterdir():
            file.unlink()
        return figures

    def _rounds(self, plans: dict[str, Plan], figures: Figures) -> None:
        order = list(plans)
        figures.times = {contender: [] for contender in order}
        for number in range(self.rounds):
            for contender in order:
                plan = plans[contender]
                if number >= plan.rounds:
                    continue
                time.sleep(PAUSE)
                answer = self.workers[contender].ask("run", own=self.own, **plan.request())
                figures.times[contender] += answer["ms"]
            order = order[1:] + order[:1]


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    result = argparse.ArgumentParser("python -m benchmarks.sweep", description=__doc__)
    names = tuple(families.FAMILIES)
    contenders = [library.contender for library in (*libraries.LIBRARIES, *libraries.VARIANTS)]
    result.add_argument("--family", nargs="+", choices=names, default=names, metavar="NAME",
                        help=f"default: {', '.join(names)}")  # fmt: skip
    result.add_argument("--seed", type=int, default=0, help="other cases (default: 0)")
    result.add_argument("--points", type=int, default=60, help="cases a family (default: 60)")
    result.add_argument("--first", type=int, default=0, help="the number of the first of them")
    result.add_argument("--worst", type=int, default=10, help="how many are printed (default: 10)")
    result.add_argument("--rounds", type=int, default=5, help="turns of each library (default: 5)")
    result.add_argument("--threads", type=int, default=available_threads())
    result.add_argument("--peers", nargs="*", default=PEERS, choices=contenders, metavar="NAME")
    return result


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the worst cases; the exit status is 1 where fusegrad failed or was wrong."""
    options = parser().parse_args(arguments)
    packages = {p: libraries.find(p).packages[0] for p in options.peers}
    peers = [p for p in options.peers if importlib.util.find_spec(packages[p]) is not None]
    for missing in sorted(set(options.peers) - set(peers)):
        print(f"{missing} is not installed: left out")
    wrong = 0
    with ExitStack() as stack:
        sweep = Sweep(peers, options.threads, options.rounds, stack)
        for family in options.family:
            numbers = range(options.first, options.first + options.points)
            names = [families.name_of(family, options.seed, number) for number in numbers]
            wrong += report(family, [sweep.measure(name) for name in names], peers, options.worst)
    return int(wrong > 0)


def report(family: str, lines: list[Figures], peers: Sequence[str], worst: int) -> int:
    """Print what came out for a family; return in how many cases fusegrad gave no right result."""
    contenders = (OURS, *peers)
    lines.sort(key=lambda figures: -figures.ratio)
    good = sum(figures.ratio <= ALLOWED for figures in lines)
    print(f"{family}: {good} of {len(lines)} at most {ALLOWED} of the best peer; the worst, in us:")
    print("".join(f"{name:>10}" for name in contenders) + "   ratio")
    for figures in lines[:worst]:
        print(figures.line(contenders))
    for figures in lines:
        for contender, reason in figures.failed.items():
            print(f"{contender} has no time for {figures.name} ({figures.title}): {reason}")
    print(flush=True)
    return sum(OURS in figures.failed for figures in lines)


if __name__ == "__main__":
    raise SystemExit(main())
