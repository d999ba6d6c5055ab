"""The GPU, checked and measured in one run: ``python -m benchmarks.gpu``.

Every workload runs in a process of its own for each library, so that what fails takes nothing with
it. Results are compared with the float64 reference on the CPU first, and then timed; the last lines
are the table. Where there is no GPU it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import fusegrad as fg
from fusegrad.runtime.devices import find

from . import check, workloads
from .libraries import Fused, Jax, Library, Torch
from .libraries import find as find_library
from .process import ROOT
from .workload import Inputs, Workload

CONTENDERS = ("fused", "torch", "torch.compile", "jax")
SCALES: dict[str, dict[str, dict[str, Any]]] = {
    "gelu": {"gelu 256M": {"size": 1 << 28}},
    "softmax": {
        "softmax 1k": {"rows": 1 << 17, "columns": 1 << 10},
        "softmax 32k": {"rows": 1 << 12, "columns": 1 << 15},
    },
    "layer_norm": {
        "layer norm 1k": {"rows": 1 << 16, "columns": 1 << 10},
        "layer norm 32k": {"rows": 1 << 11, "columns": 1 << 15},
    },
    "cross_entropy": {"cross entropy 32k": {"rows": 1 << 12, "columns": 1 << 15}},
    "adam": {"Adam 64M": {"size": 1 << 26}},
}
"""Sizes that fill the card; other workloads run at the size of the benchmarks on the CPU."""
TRAINING = ("mlp_small", "mlp_large", "gpt", "lenet", "resnet", "lstm")
SECONDS = 450.0
"""What the whole run may take."""
PART_SECONDS = 60.0


# --- libraries ------------------------------------------------------------------------------------


class FusedGpu(Fused):
    """fusegrad with everything on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        fg.set_default_device("cuda")

    def numpy(self, value: Any) -> np.ndarray:
        return np.array(value.detach().cpu().numpy())

    def wait(self, result: Any) -> None:
        fg.cuda.synchronize()


class TorchGpu(Torch):
    """torch, op by op, with everything on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.module.set_default_device("cuda")

    def array(self, value: np.ndarray) -> Any:
        return super().array(value).cuda()

    def numpy(self, value: Any) -> np.ndarray:
        return np.array(value.detach().cpu().numpy())

    def wait(self, result: Any) -> None:
        self.module.cuda.synchronize()


class TorchCompileGpu(TorchGpu):
    """torch.compile of the forward pass, as fast as it can be made."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        made: Callable[..., Any] = self.module.compile(function, mode="max-autotune")
        return made

    def compile_step(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return function

    def compile_forward(self, function: Callable[..., Any]) -> Callable[..., Any]:
        return self.compile(function)


LIBRARIES: dict[str, Callable[[], Library]] = {
    "fused": FusedGpu,
    "torch": TorchGpu,
    "torch.compile": TorchCompileGpu,
    "jax": Jax,
}


# --- one part, in a process of its own ------------------------------------------------------------


def sizes_of(name: str) -> dict[str, dict[str, Any]]:
    """The sizes a workload is timed at, by title."""
    workload = workloads.find(name)
    return SCALES.get(name, {workload.title: dict(workload.sizes["full"])})


def outputs_of(library: Library, workload: Workload, inputs: Inputs) -> list[np.ndarray]:
    """What a workload gives after its steps, as arrays."""
    task = workload.builders[library.family](library, inputs)
    result = None
    for _ in range(workload.steps):
        result = task.step()
    found = task.outputs(result) if task.outputs else result
    flat = fg.pytree.flatten(found)[0]
    arrays = [library.numpy(value) for value in flat]
    return workload.summary(arrays) if workload.summary else arrays


def reference_of(workload: Workload, inputs: Inputs) -> list[np.ndarray]:
    """The same in NumPy and float64."""
    wide = {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in inputs.items()}
    numpy = find_library("numpy")()
    return outputs_of(numpy, workload, wide)


def poison(library: Library) -> None:
    """Fill free memory with NaN, so that what is not written is seen."""
    if isinstance(library, FusedGpu):
        for exponent in range(8, 26):
            blocks = [fg.full((1 << exponent,), float("nan"), dtype="float32") for _ in range(4)]
            fg.cuda.synchronize()
            for block in blocks:
                block.sum().item()


def timed(step: Callable[[], Any], wait: Callable[[Any], None], seconds: float) -> list[float]:
    """Seconds of one step, in rounds of many that are waited for together."""
    result = None
    for _ in range(5):
        result = step()
    wait(result)
    start = time.perf_counter()
    result = step()
    wait(result)
    once = max(time.perf_counter() - start, 1e-6)
    count = max(1, min(200, int(seconds / 8 / once)))
    rounds = []
    for _ in range(7):
        start = time.perf_counter()
        for _ in range(count):
            result = step()
        wait(result)
        rounds.append((time.perf_counter() - start) / count)
    return rounds


def part(name: str, contender: str, seconds: float) -> dict[str, Any]:
    """Check a workload small, then time it large."""
    workload = workloads.find(name)
    library = LIBRARIES[contender]()
    poison(library)
    small = workload.make_inputs("small")
    verdict = check.compare(
        outputs_of(library, workload, small), reference_of(workload, small), workload.tolerance
    )
    record: dict[str, Any] = {"ok": verdict.ok, "message": verdict.message, "times": {}}
    for title, sizes in sizes_of(name).items():
        inputs = workload.inputs(np.random.default_rng(20), **sizes)
        start = time.perf_counter()
        task = workload.builders[library.family](library, inputs)
        library.wait(task.step())
        first = time.perf_counter() - start
        rounds = timed(task.step, library.wait, seconds)
        work = workload.work(**sizes)
        record["times"][title] = {
            "median": statistics.median(rounds),
            "best": min(rounds),
            "first": first,
            "bytes": work.moved,
            "flops": work.flops,
        }
    return record


def ceilings() -> dict[str, Any]:
    """What the card reaches: a copy (bytes read and written), and what a step costs the host."""
    gpu = find(0)
    count = 1 << 30
    blocks = [gpu.allocate(count) for _ in range(4)]
    places = [block.address for block in blocks]
    order = [0, 1, 2, 3]

    def copy() -> None:
        gpu.driver.copy(0, places[order[0]], places[order[1]], count)
        order.append(order.pop(0))

    rounds = timed(copy, lambda _: fg.cuda.synchronize(), 1.0)
    one = fg.ones(1).cuda()
    step = fg.compile(lambda x: x + 1)
    host = timed(lambda: step(one), lambda _: None, 0.5)
    return {
        "name": fg.cuda.get_device_name(),
        "capability": fg.cuda.get_device_capability(),
        "memory": fg.cuda.mem_get_info()[1],
        "copy": 2 * count / statistics.median(rounds),
        "host": statistics.median(host),
    }


# --- the run --------------------------------------------------------------------------------------


def child(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """A part in a process of its own; what went wrong is in ``error``."""
    variables = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.gpu", *arguments],
            cwd=ROOT,
            env=variables,
            capture_output=True,
            text=True,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"took longer than {seconds:.0f} s"}
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                return found
    last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
    return {"error": " | ".join(last) or f"ended with {done.returncode}"}


def installed(contender: str) -> bool:
    """Whether a library is there."""
    package = {"fused": "fusegrad", "jax": "jax"}.get(contender, "torch")
    return importlib.util.find_spec(package) is not None


def row(title: str, contender: str, times: dict[str, Any], copy: float) -> str:
    """One line of the table."""
    rate = times["bytes"] / times["median"]
    flops = times["flops"] / times["median"]
    return (
        f"{title[:34]:34} {contender:14} {times['median'] * 1e3:10.3f} {times['best'] * 1e3:10.3f} "
        f"{rate * 1e-9:9.0f} {rate / copy:7.1%} {flops * 1e-12:8.1f} {times['first']:8.2f}"
    )


def run(names: Sequence[str], contenders: Sequence[str], say: Callable[[str], None]) -> int:
    """Check and measure; the exit status is 1 where fusegrad failed or was wrong."""
    end = time.monotonic() + SECONDS
    limits = child(["--ceilings"], PART_SECONDS)
    if "error" in limits:
        say(f"the ceilings could not be measured: {limits['error']}")
        return 1
    say(
        f"{limits['name']}, compute capability {'.'.join(map(str, limits['capability']))}, "
        f"{limits['memory'] / 2**30:.0f} GiB; copy {limits['copy'] * 1e-9:.0f} GB/s, "
        f"a step costs the host {limits['host'] * 1e6:.1f} us"
    )
    failed = 0
    table: list[str] = []
    # fusegrad first: where time runs out the peers are left out.
    for contender in [c for c in contenders if installed(c)]:
        for name in names:
            left = end - time.monotonic()
            if left < 10:
                say(f"no time left for {name} in {contender}")
                continue
            found = child(["--part", name, contender], min(PART_SECONDS, left))
            mine = contender == "fused"
            if "error" in found:
                say(f"{contender} {name}: {found['error']}")
                failed += mine
                continue
            say(f"{contender} {name}: {'right' if found['ok'] else 'WRONG: ' + found['message']}")
            failed += mine and not found["ok"]
            table += [row(t, contender, v, limits["copy"]) for t, v in found["times"].items()]
    say("")
    say(
        f"{'workload':34} {'library':14} {'ms':>10} {'best':>10} {'GB/s':>9} {'of copy':>7} "
        f"{'TFLOP/s':>8} {'first s':>8}"
    )
    for line in sorted(table):
        say(line)
    return 1 if failed else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    names = [*SCALES, *TRAINING]
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--against", nargs="*", choices=CONTENDERS[1:], default=CONTENDERS[1:])
    parser.add_argument("--ceilings", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    reason = fg.cuda.why_not()
    if reason is not None:
        print(f"there is no GPU that can be used, and nothing was checked or measured: {reason}")
        return 2
    if options.ceilings:
        print(json.dumps(ceilings()))
        return 0
    if options.part:
        name, contender = options.part
        print(json.dumps(part(name, contender, 2.0)))
        return 0
    return run(options.only, ("fused", *options.against), lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())
