"""Matrix products of every kind: ``python -m benchmarks.contractions``.

Squares, the shapes of training, products with vectors, batches, transposed operands, long rows of
equal length, and random shapes: GFLOP/s of `fusegrad.compile` beside the best of the installed
libraries. Each library has a process of its own (NumPy's OpenBLAS with its AVX-512 kernels where
there are such registers); they take turns at each product, and every result is compared with
float64. With one thread, what counts is the time that the process computed.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from . import machine
from .limits import openblas_core_types
from .process import Worker, available_threads

Product = Callable[[], Any]
MULTIPLY: dict[str, Callable[[Any, Any], Any]] = {
    "NN": lambda x, y: x @ y,
    "NT": lambda x, y: x @ y.mT,
    "TN": lambda x, y: x.mT @ y,
    "TT": lambda x, y: x.mT @ y.mT,
}
"""What each layout computes: functions of nothing else, so that calls check nothing else."""
PAUSE = 0.03
"""Seconds between turns: the threads of the last one stop waiting for work."""


@dataclass(frozen=True)
class Case:
    """A product of `rows` x `depth` and `depth` x `columns`; `layout` says which is transposed."""

    rows: int
    columns: int
    depth: int
    layout: str = "NN"
    batch: int = 0
    dtype: str = "float32"

    def __str__(self) -> str:
        batch = f"{self.batch} x " if self.batch else ""
        return f"{self.layout} {batch}{self.rows}x{self.columns}x{self.depth}"

    @property
    def work(self) -> float:
        """Multiplications and additions."""
        return 2.0 * self.rows * self.columns * self.depth * max(1, self.batch)

    def operands(self) -> tuple[np.ndarray, np.ndarray]:
        """Both operands as they lie in memory."""
        generator = np.random.default_rng(0)
        left, right = (self.rows, self.depth), (self.depth, self.columns)
        shapes = (
            left if self.layout[0] == "N" else left[::-1],
            right if self.layout[1] == "N" else right[::-1],
        )
        batch = (self.batch,) if self.batch else ()
        a, b = (generator.standard_normal((*batch, *s), dtype=np.float32) for s in shapes)
        return a.astype(self.dtype), b.astype(self.dtype)


SQUARES = tuple(Case(n, n, n) for n in (128, 256, 512, 1024, 2048))
TRAINING = (
    Case(64, 128, 784, "NT"),
    Case(64, 784, 128),
    Case(128, 784, 64, "TN"),
    Case(64, 10, 128, "NT"),
    Case(512, 2048, 1024, "NT"),
    Case(512, 1024, 2048),
    Case(2048, 1024, 512, "TN"),
    Case(1024, 256, 768),
    Case(1024, 768, 256, "NT"),
    Case(768, 256, 1024, "TN"),
    Case(32, 1024, 256, "NT"),
    Case(96, 96, 4096),
)
BATCHES = (
    Case(128, 128, 32, "NT", 64),
    Case(128, 32, 128, "NN", 64),
    Case(128, 32, 128, "TN", 64),
    Case(17, 19, 23, "NN", 500),
    Case(4, 4, 4, "NN", 4000),
)
LAYOUTS = tuple(
    Case(m, n, k, layout)
    for m, n, k in ((512, 512, 512), (1024, 1024, 1024), (300, 500, 700))
    for layout in ("NN", "NT", "TN", "TT")
)
VECTORS = tuple(
    Case(m, n, 4000, layout)
    for m, n in ((1, 4000), (2, 4000), (3, 4000), (4000, 1), (4000, 2), (4000, 3))
    for layout in ("NN", "NT", "TN")
)
GROUPS = {
    "squares": SQUARES,
    "training": TRAINING,
    "batches": BATCHES,
    "layouts": LAYOUTS,
    "vectors": VECTORS,
}


def random_cases(count: int) -> tuple[Case, ...]:
    """Products of random extents from 1 to 3000, half of them below 376.

    Examples
    --------
    >>> [str(case) for case in random_cases(2)] == [str(case) for case in random_cases(2)]
    True
    """
    generator = random.Random(0)

    def extent() -> int:
        return 1 + int(2999 * generator.random() ** 3)

    return tuple(
        Case(extent(), extent(), extent(), generator.choice(("NN", "NT", "TN", "TT")))
        for _ in range(count)
    )


# --- in the process of a library -----------------------------------------------------------------


def product(package: str, case: Case) -> tuple[Product, Callable[[Any], np.ndarray]]:
    """The product as `package` computes it, and its result as an array."""
    module = importlib.import_module(package)
    a, b = case.operands()
    multiply = MULTIPLY[case.layout]
    if package == "torch":
        x, y = module.from_numpy(a), module.from_numpy(b)
        return lambda: multiply(x, y), lambda r: np.asarray(r.numpy())
    if package == "jax":
        module.config.update("jax_enable_x64", True)
        compiled, p, q = module.jit(multiply), module.numpy.array(a), module.numpy.array(b)
        return lambda: compiled(p, q).block_until_ready(), np.asarray
    if package == "fusegrad":
        native, v, w = module.compile(multiply), module.asarray(a), module.asarray(b)
        native(v, w)
        while native.stats().drafts:
            time.sleep(PAUSE)
            native(v, w)
        return lambda: native(v, w), np.asarray
    x, y = (o if t == "N" else o.mT for o, t in zip((a, b), case.layout, strict=True))
    out = np.matmul(x, y)
    return lambda: np.matmul(x, y, out=out), np.asarray


def measure(package: str, case: Case, seconds: float, own: bool) -> dict[str, float]:
    """Seconds of one product, best and median, and the greatest error of a sample of it.

    With `own` they are those that the process computed, which other processes disturb less.
    """
    call, result = product(package, case)
    call()
    clock = time.process_time if own else time.perf_counter
    times: list[float] = []
    started = now = clock()
    while now - started < seconds or len(times) < 3:
        call()
        then, now = now, clock()
        times.append(now - then)
    # Not before: the threads of NumPy's own product would wait for more of them meanwhile.
    error = _error(case, result(call()))
    return {"best": min(times), "median": float(np.median(times)), "deviation": error}


def _error(case: Case, result: np.ndarray) -> float:
    """The greatest error of some rows and columns, over the size of the terms that were added."""
    a, b = case.operands()
    a = (a if case.layout[0] == "N" else a.swapaxes(-1, -2))[..., -20:, :].astype(np.float64)
    b = (b if case.layout[1] == "N" else b.swapaxes(-1, -2))[..., -70:].astype(np.float64)
    scale = np.abs(a) @ np.abs(b)
    return float(np.max(np.abs(result[..., -20:, -70:] - a @ b) / scale))


# --- the process that prints ---------------------------------------------------------------------


def contenders() -> dict[str, dict[str, str]]:
    """The packages that are installed, and what their environment needs."""
    flags = machine.cpu_flags()
    core = openblas_core_types(flags)[-1]
    found: dict[str, dict[str, str]] = {
        "fusegrad": {},
        "numpy": {"OPENBLAS_CORETYPE": core} if core else {},
    }
    for package in ("torch", "jax"):
        if importlib.util.find_spec(package) is not None:
            found[package] = {}
    return found


@dataclass(frozen=True)
class Figures:
    """Seconds of each library's best call, and of its call that has nothing to compute."""

    case: Case
    times: dict[str, float]
    calls: dict[str, float]

    def ratio(self, without_call: bool = False) -> float:
        """Our rate over that of the best peer; `without_call` of the product alone."""
        times = {
            name: max(t - self.calls[name], t / 100) if without_call else t
            for name, t in self.times.items()
        }
        return min(t for name, t in times.items() if name != "fusegrad") / times["fusegrad"]

    def __str__(self) -> str:
        rates = "".join(f"{self.case.work / t / 1e9:9.1f}" for t in self.times.values())
        return f"{self.case!s:28}{rates}{self.ratio():8.2f}{self.ratio(without_call=True):8.2f}"


def turns(workers: dict[str, Worker], case: Case, seconds: float, own: bool) -> dict[str, float]:
    """Seconds of each library's best call; what is wrong takes forever."""
    times: dict[str, float] = {}
    for package, worker in workers.items():
        time.sleep(PAUSE)
        arguments: dict[str, Any] = {
            "package": package,
            "case": asdict(case),
            "seconds": seconds,
            "own": own,
        }
        answer = worker.ask("product", **arguments)
        right = answer["deviation"] < (1e-6 if case.dtype == "float32" else 1e-14)
        times[package] = answer["best"] if right else math.inf
    return times


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser("python -m benchmarks.contractions", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*GROUPS, "random"], metavar="GROUP")
    parser.add_argument("--random", type=int, default=60, help="how many random shapes")
    parser.add_argument("--worst", type=int, default=10, help="how many of them are printed")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    parser.add_argument("--peers", nargs="*", default=["numpy", "torch", "jax"])
    parser.add_argument("--seconds", type=float, default=0.03, help="of one turn")
    parser.add_argument("--threads", type=int, default=available_threads())
    options = parser.parse_args(arguments)
    groups = {**GROUPS, "random": random_cases(options.random)}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = {
            name: stack.enter_context(Worker(options.threads, folder, **variables))
            for name, variables in contenders().items()
            if name == "fusegrad" or name in options.peers
        }
        own = options.threads == 1
        calls = turns(workers, Case(1, 1, 1, dtype=options.dtype), options.seconds, own)
        print(f"{'GFLOP/s':28}" + "".join(f"{n:>9}" for n in workers) + "   ratio  product")
        for name in options.only or groups:
            print(name)
            lines: list[Figures] = []
            for case in groups[name]:
                typed = replace(case, dtype=options.dtype)
                lines.append(Figures(typed, turns(workers, typed, options.seconds, own), calls))
                if name != "random":
                    print(lines[-1], flush=True)
            if name == "random":
                lines.sort(key=lambda f: f.ratio(without_call=True))
                print(*lines[: options.worst], sep="\n")
        print("microseconds of a call:", *(f"{n} {t * 1e6:.1f}" for n, t in calls.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
