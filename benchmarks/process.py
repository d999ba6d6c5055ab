"""Starts a worker process and talks to it.

Knows the protocol and the environment of a worker, no workload and no library.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Any

ROOT = Path(__file__).resolve().parent.parent
THREAD_VARIABLES = (
    "FUSEGRAD_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NPROC",  # the size of XLA's own pool
)


class WorkerError(Exception):
    """A worker failed to answer; the message says why."""


def available_threads() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0))


def environment(threads: int, cache: Path) -> dict[str, str]:
    """Return the environment of a worker: equal threads, and caches of its own under ``cache``."""
    variables = dict(os.environ)
    variables.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    variables["PYTHONPATH"] = os.pathsep.join(
        [str(ROOT), *filter(None, [variables.get("PYTHONPATH")])]
    )
    variables["FUSEGRAD_CACHE_DIR"] = str(cache / "fusegrad")
    variables["TORCHINDUCTOR_CACHE_DIR"] = str(cache / "inductor")
    variables["TRITON_CACHE_DIR"] = str(cache / "triton")
    variables["JAX_COMPILATION_CACHE_DIR"] = str(cache / "jax")
    variables["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    variables["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    variables["JAX_PLATFORMS"] = "cpu"
    return variables


class Worker:
    """A worker process; a context manager that ends it."""

    def __init__(self, threads: int, cache: Path, **variables: str) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed in close()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=ROOT,
            env=environment(threads, cache) | variables,
        )
        self._buffer = b""
        if threads < available_threads():
            os.sched_setaffinity(self._process.pid, sorted(os.sched_getaffinity(0))[:threads])

    def ask(self, do: str, timeout: float = 600, **arguments: Any) -> dict[str, Any]:
        """Send one request and return the answer; raise ``WorkerError`` where there is none."""
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(f"the process ended: {self._tail()}") from None
        answer: dict[str, Any] = json.loads(self._line(do, timeout))
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def _line(self, do: str, timeout: float) -> bytes:
        assert self._process.stdout
        deadline = time.monotonic() + timeout
        descriptor = self._process.stdout.fileno()
        while b"\n" not in self._buffer:
            ready, _, _ = select.select([descriptor], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                raise WorkerError(f"no answer to {do!r} in {timeout:g} s")
            part = os.read(descriptor, 1 << 16)
            if not part:
                raise WorkerError(f"the process ended: {self._tail()}")
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        return line

    def _tail(self) -> str:
        self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit status {self._process.returncode}"

    def close(self) -> None:
        """End the process, kindly first."""
        if self._process.poll() is None:
            with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
                self._process.communicate(b'{"do": "quit"}\n', timeout=10)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def run_module(module: str, *arguments: str, cache: Path, timeout: float = 600) -> dict[str, Any]:
    """Run ``python -m module`` in a process of its own and return its last line, read as JSON."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(available_threads(), cache),
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise WorkerError(f"{module} {' '.join(arguments)}: {lines[-1]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
