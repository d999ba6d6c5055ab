"""The process of one contender: prepares a workload, checks it, runs it when told to.

Reads one JSON request a line from standard input and answers each with one line; knows nothing of
the other contenders.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from . import check, contractions, families, libraries, workloads
from .limits import Limits, gemm
from .memory import Growth
from .workload import Task, Workload

Answer = dict[str, Any]

SETTLING = 0.2
"""Seconds in which a library that compiles while it runs ends that."""


class Server:
    """Answers the requests.

    They are ``prepare``, ``check``, ``run``, ``memory``, ``limit``, ``gemm`` and ``product``.
    """

    def __init__(self) -> None:
        self.workload: Workload
        self.library: libraries.Library
        self.task: Task
        self.last: Any = None
        self.limits: Limits | None = None
        self.growth: Growth

    def prepare(
        self, workload: str, contender: str, scale: str, precision: str = "float32"
    ) -> Answer:
        """Import the library, make the inputs and time the first call."""
        self.workload = (families if ":" in workload else workloads).find(workload)
        kind = libraries.find(contender)
        started = time.perf_counter()
        self.library = kind()
        imported = time.perf_counter()
        inputs = self.workload.make_inputs(scale)
        if precision == "float64":
            inputs = {name: _widened(value) for name, value in inputs.items()}
        self.task = self.workload.builders[kind.family](self.library, inputs)
        self.growth = Growth()
        built = time.perf_counter()
        self.last = self.task.step()
        self.library.wait(self.last)
        return {
            "import_ms": (imported - started) * 1e3,
            "first_call_ms": (time.perf_counter() - built) * 1e3,
            "versions": {name: _version(name) for name in kind.packages},
            "stats": self.task.stats() if self.task.stats else {},
        }

    def check(self, reference: str | None = None, save: str | None = None) -> Answer:
        """Run the remaining steps; compare the outputs with saved ones, or save them."""
        for _ in range(self.workload.steps - 1):
            self.last = self.task.step()
        outputs = self.task.outputs or (lambda last: last)
        arrays = self.library.outputs(outputs(self.last))
        self._settle()
        if self.workload.summary is not None:
            arrays = self.workload.summary(arrays)
        self.last = None
        if save is not None:
            check.save(arrays, Path(save))
        if reference is None:
            return {"outputs": len(arrays)}
        return check.compare(arrays, check.load(Path(reference)), self.workload.tolerance).as_dict()

    def run(self, iterations: int, repeats: int, warm: int = 1, own: bool = False) -> Answer:
        """Return the milliseconds of a step, ``repeats`` times, each the mean of ``iterations``.

        With ``own`` they are those that the process computed.
        """
        clock = time.process_time if own else time.perf_counter
        if warm:
            self._batch(warm, clock)
        return {"ms": [self._batch(iterations, clock) for _ in range(repeats)]}

    def memory(self) -> Answer:
        """Return by how many bytes this process grew at most since before the first call."""
        return {"growth_bytes": self.growth.bytes()}

    def limit(self, name: str, megabytes: int, repeats: int, threads: int) -> Answer:
        """Return GB/s of one of the machine's own limits, ``repeats`` times."""
        if self.limits is None:
            self.limits = Limits(megabytes, threads)
        return {"gb_per_s": [self.limits.measure(name) for _ in range(repeats)]}

    def gemm(self, package: str, seconds: float, shapes: list[list[int]]) -> Answer:
        """Return the best GFLOP/s of a library's matrix product for each shape."""
        return {"gflop_per_s": gemm(package, seconds, shapes)}

    def product(
        self, package: str, case: dict[str, Any], seconds: float, own: bool = False
    ) -> Answer:
        """Return the seconds of one matrix product, and its error."""
        return contractions.measure(package, contractions.Case(**case), seconds, own)

    def _settle(self) -> None:
        """Run until no thread of the library compiles any more."""
        while self.task.stats and self.task.stats().get("drafts"):
            self.library.wait(self.task.step())
            time.sleep(0.01)
        # What checks the arguments of calls is compiled again too, once in a process.
        time.sleep(SETTLING)

    def _batch(self, iterations: int, clock: Callable[[], float]) -> float:
        step = self.task.step
        started = clock()
        for _ in range(iterations - 1):
            step()
        last = step()
        self.library.wait(last)
        # Giving the outputs back belongs to the price of a step.
        del last
        return (clock() - started) / iterations * 1e3


def _widened(value: np.ndarray) -> np.ndarray:
    return value.astype(np.float64) if value.dtype == np.float32 else value


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "unknown"))


def serve(requests: TextIO, answers: TextIO) -> None:
    """Answer requests until there are no more."""
    server = Server()
    for line in requests:
        request: Answer = json.loads(line)
        name = request.pop("do")
        if name == "quit":
            return
        method: Callable[..., Answer] = getattr(server, name)
        try:
            answer = method(**request)
        except Exception as error:  # every failure of a contender is reported, none ends the run
            traceback.print_exc()
            summary = "".join(traceback.format_exception_only(error)).strip()
            frame = traceback.extract_tb(error.__traceback__)[-1]
            answer = {"error": f"{summary} ({Path(frame.filename).name}:{frame.lineno})"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def main() -> None:
    """Serve on the real standard output; what libraries print goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(sys.stdin, answers)


if __name__ == "__main__":
    main()
