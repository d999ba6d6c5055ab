"""Runs workloads: starts the contenders, checks them, lets them alternate, collects the figures.

Knows no library and prints nothing but progress.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.util
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import libraries, limits, machine
from .process import Worker, WorkerError, available_threads
from .workload import Workload

Record = dict[str, Any]

BATCH_MS = 20.0
"""Calls shorter than this are timed together."""
ROUND_MS = 100.0
"""How long one contender's part of a round takes, if its calls are short enough."""
PAUSE = 0.02
"""Seconds between two contenders, in which the threads of the first go to sleep."""
MEMORY = {"full": 64, "small": 1}
"""Megabytes of a buffer of the memory measurements."""
MAXIMUM_REPEATS = 5
MEMORY_STEPS = 3
"""Steps after which memory does not grow any more."""
PATIENCE_MS = 5000.0
"""A contender whose calls would take longer over all rounds leaves out the later ones."""
MINIMUM_ROUNDS = 2


@dataclass(frozen=True)
class Options:
    """What the command line chose."""

    peers: tuple[str, ...] = ("numpy", "torch", "jax")
    rounds: int = 15
    threads: int = 0
    scale: str = "full"

    @property
    def thread_count(self) -> int:
        """Return how many threads every contender has."""
        return self.threads or available_threads()


@dataclass(frozen=True)
class Plan:
    """How often one contender is called."""

    iterations: int
    """Calls that are timed together."""
    repeats: int
    """How many of these times a round has."""
    rounds: int
    """In how many rounds it takes part: the first ones."""
    warm: int
    """Calls before the timed ones of a round."""

    @classmethod
    def of(
        cls, best: float, rounds: int, batch_ms: float = BATCH_MS, round_ms: float = ROUND_MS
    ) -> Plan:
        """Return the plan for calls of ``best`` milliseconds.

        Examples
        --------
        >>> Plan.of(0.5, 15)
        Plan(iterations=40, repeats=5, rounds=15, warm=1)
        >>> Plan.of(2000.0, 15)
        Plan(iterations=1, repeats=1, rounds=2, warm=0)
        """
        iterations = max(1, round(batch_ms / max(best, 1e-4)))
        repeats = max(1, min(MAXIMUM_REPEATS, round(round_ms / (best * iterations))))
        patient = max(MINIMUM_ROUNDS, int(PATIENCE_MS / (best * iterations * repeats)))
        return cls(iterations, repeats, min(rounds, patient), int(best < PATIENCE_MS / 10))

    def request(self) -> Record:
        """Return the arguments of the request ``run``."""
        return {"iterations": self.iterations, "repeats": self.repeats, "warm": self.warm}


def summary(values: Sequence[float]) -> Record:
    """Return the best and the median of a list of times.

    Examples
    --------
    >>> summary([3.0, 1.0, 2.0])
    {'best': 1.0, 'median': 2.0}
    """
    return {"best": min(values), "median": statistics.median(values)}


def calibrate(
    worker: Worker, rounds: int, batch_ms: float = BATCH_MS, round_ms: float = ROUND_MS
) -> Plan:
    """Time a few calls, and a slow one once."""
    best: float = worker.ask("run", iterations=1, repeats=1, warm=0)["ms"][0]
    if best < PATIENCE_MS / 10:
        best = min(worker.ask("run", iterations=1, repeats=3)["ms"])
    return Plan.of(best, rounds, batch_ms, round_ms)


def measure(selected: Sequence[Workload], options: Options, say: Callable[[str], None]) -> Record:
    """Measure the machine and every workload; return everything that was seen."""
    record: Record = {
        "format": 1,
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "options": {
            "peers": list(options.peers),
            "rounds": options.rounds,
            "threads": options.thread_count,
            "scale": options.scale,
        },
        "versions": {},
        "workloads": {},
    }
    missing = [peer for peer in options.peers if importlib.util.find_spec(peer) is None]
    for peer in missing:
        say(f"{peer} is not installed: left out")
    record["missing"] = missing
    peers = [peer for peer in options.peers if peer not in missing]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        say("limits of this machine ...")
        record["limits"] = measure_limits(peers, options, Path(folder))
        for workload in selected:
            run = Run(workload, options, Path(folder) / workload.name, say)
            result = run.measure(contenders(workload, peers), record["limits"])
            record["versions"].update(result.pop("versions"))
            record["workloads"][workload.name] = result
    return record


def contenders(workload: Workload, peers: Sequence[str]) -> list[str]:
    """Return who runs a workload: fusegrad twice, and whoever belongs to the peers."""
    return [
        library.contender
        for library in libraries.LIBRARIES
        if library.family in workload.builders
        and library.contender not in workload.without
        and (library.family == "fusegrad" or library.family in peers)
    ]


def measure_limits(peers: Sequence[str], options: Options, folder: Path) -> Record:
    """Measure memory and matrix products, each in a process of its own."""
    threads, small = options.thread_count, options.scale == "small"
    repeats = 3 if small else 15
    with Worker(threads, folder) as worker:
        gb_per_s = {
            name: worker.ask(
                "limit",
                name=name,
                megabytes=MEMORY[options.scale],
                repeats=repeats,
                threads=threads,
            )["gb_per_s"]
            for name in limits.TRAFFIC
        }
    record: Record = {
        "gb_per_s": {
            name: {"best": max(values), "median": statistics.median(values)}
            for name, values in gb_per_s.items()
        },
        "gflop_per_s": {},
    }
    shapes = [(64, 64, 64)] if small else limits.GEMM_SHAPES
    core_types = limits.openblas_core_types(machine.cpu_flags())
    products = [("numpy", name) for name in (core_types[:1] if small else core_types)]
    products += [(peer, "") for peer in peers if peer != "numpy"]
    for package, core_type in products:
        variables = {"OPENBLAS_CORETYPE": core_type} if core_type else {}
        with (
            Worker(threads, folder, **variables) as worker,
            contextlib.suppress(WorkerError),  # a kernel that this processor cannot run
        ):
            answer = worker.ask(
                "gemm", package=package, seconds=0.01 if small else 0.3, shapes=shapes
            )
            name = f"{package} {core_type}".strip()
            record["gflop_per_s"][name] = answer["gflop_per_s"]
    record["sgemm"] = max(
        (rate for rates in record["gflop_per_s"].values() for rate in rates.values()), default=0.0
    )
    return record


class Run:
    """One workload, from the reference to the figures."""

    def __init__(
        self, workload: Workload, options: Options, folder: Path, say: Callable[[str], None]
    ) -> None:
        self.workload = workload
        self.options = options
        self.folder = folder
        self.say = say
        self.work = workload.make_work(options.scale)
        self.failed: dict[str, str] = {}
        self.versions: dict[str, str] = {}
        self.figures: dict[str, Record] = {}

    def measure(self, names: Sequence[str], machine_limits: Record) -> Record:
        """Return the record of this workload."""
        self.say(f"{self.workload.name}: {', '.join(names)}")
        reference = self._reference()
        roof = "stream" if self.work.roof == "stream" else "copy_nontemporal"
        with contextlib.ExitStack() as stack:
            workers: dict[str, Worker] = {}
            for name in names:
                worker = stack.enter_context(self._worker(name))
                if self._prepare(name, worker, reference):
                    workers[name] = worker
            limit = stack.enter_context(self._worker("limit"))
            rates = self._rounds(workers, limit, roof)
        for values in self.figures.values():
            values.update(summary(values["ms"]) if "ms" in values else {})
        record: Record = {
            "title": self.workload.title,
            "steps_compared": self.workload.steps,
            "moved_bytes": self.work.moved,
            "flops": self.work.flops,
            "roof": roof,
            "roof_gb_per_s": {"best": max(rates), "median": statistics.median(rates)},
            "floor": self.workload.floor,
            "contenders": self.figures,
            "failed": self.failed,
            "versions": self.versions,
        }
        add_ratios(record, machine_limits)
        return record

    def _worker(self, name: str) -> Worker:
        cache = self.folder / "cache" / name
        cache.mkdir(parents=True, exist_ok=True)
        return Worker(self.options.thread_count, cache)

    def _ask_prepare(self, worker: Worker, name: str, precision: str = "float32") -> Record:
        return worker.ask(
            "prepare",
            workload=self.workload.name,
            contender=name,
            scale=self.options.scale,
            precision=precision,
        )

    def _reference(self) -> Path:
        """Let NumPy compute the outputs in float64."""
        folder = self.folder / "reference"
        folder.mkdir(parents=True)
        with self._worker("reference") as worker:
            self._ask_prepare(worker, "numpy", precision="float64")
            worker.ask("check", save=str(folder))
        return folder

    def _prepare(self, name: str, worker: Worker, reference: Path) -> bool:
        """Time the first call and compare the outputs; say whether the contender may run."""
        try:
            first = self._ask_prepare(worker, name)
            verdict = worker.ask("check", reference=str(reference))
        except WorkerError as error:
            self.failed[name] = str(error)
            self.say(f"  {name} failed: {error}")
            return False
        self.versions.update(first.pop("versions"))
        self.figures[name] = {**first, "check": verdict}
        if not verdict["ok"]:
            self.failed[name] = f"wrong result: {verdict['message']}"
            self.say(f"  {name} is WRONG and is not timed: {verdict['message']}")
            return False
        if libraries.find(name).caches:
            # The same cache folder: what a second process finds on disk.
            with self._worker(name) as second, contextlib.suppress(WorkerError):
                warm = self._ask_prepare(second, name)
                self.figures[name]["warm_first_call_ms"] = warm["first_call_ms"]
                self.figures[name]["warm_stats"] = warm["stats"]
                second.ask("run", iterations=MEMORY_STEPS, repeats=1)
                self.figures[name]["warm_growth_bytes"] = second.ask("memory")["growth_bytes"]
        with contextlib.suppress(WorkerError):
            worker.ask("run", iterations=MEMORY_STEPS, repeats=1)
            self.figures[name].update(worker.ask("memory"))
        return True

    def _rounds(self, workers: dict[str, Worker], limit: Worker, roof: str) -> list[float]:
        """Let all contenders and the machine's own limit take turns."""
        plans = {name: calibrate(worker, self.options.rounds) for name, worker in workers.items()}
        for name, plan in plans.items():
            self.figures[name].update(ms=[], rounds=plan.rounds)
        rates: list[float] = []
        order = list(workers)
        for number in range(self.options.rounds):
            for name in list(order):
                plan = plans[name]
                if number >= plan.rounds:
                    continue
                time.sleep(PAUSE)
                try:
                    answer = workers[name].ask("run", **plan.request())
                except WorkerError as error:
                    self.failed[name] = str(error)
                    self.say(f"  {name} failed: {error}")
                    order.remove(name)
                    del self.figures[name]["ms"]
                    continue
                self.figures[name]["ms"] += answer["ms"]
            time.sleep(PAUSE)
            rates += limit.ask(
                "limit",
                name=roof,
                megabytes=MEMORY[self.options.scale],
                repeats=2,
                threads=self.options.thread_count,
            )["gb_per_s"]
            # Another neighbour in every round: nobody always follows the same one.
            order = order[1:] + order[:1]
        return rates


def add_ratios(record: Record, machine_limits: Record) -> None:
    """Add floors and ratios to a workload's record."""
    rates, rounds = machine_limits["gb_per_s"], record["roof_gb_per_s"]
    roof = max(rates[record["roof"]]["best"], rounds["best"])
    sgemm = machine_limits["sgemm"]
    compute_ms = record["flops"] / sgemm / 1e6 if sgemm else 0.0
    record["floor_ms"] = compute_ms + record["moved_bytes"] / roof / 1e6
    # Best against best, and median against the median of the same rounds.
    record["memory_ms"] = {
        "best": record["moved_bytes"] / rounds["best"] / 1e6,
        "median": record["moved_bytes"] / rounds["median"] / 1e6,
    }
    timed = {name: values for name, values in record["contenders"].items() if "median" in values}
    fused = timed.get("fused")
    for values in timed.values():
        values["over_floor"] = values["best"] / record["floor_ms"]
        values["over_memory"] = {
            which: values[which] / record["memory_ms"][which] for which in ("best", "median")
        }
        if fused:
            values["over_fused"] = {
                which: values[which] / fused[which] for which in ("best", "median")
            }
