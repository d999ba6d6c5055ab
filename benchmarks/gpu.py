"""The GPU, checked and measured in one run of less than 8 minutes: ``python -m benchmarks.gpu``.

It prints what is installed; what the card reaches (copies, sums); every kernel of `gpu_kernels` and
every workload, compared with a float64 reference on the CPU first, in memory that was filled with
NaN, and then timed beside torch's and jax's; and what compute-sanitizer finds. Every part runs in a
process of its own, so that what fails or is not installed takes nothing with it. The last lines are
the tables. Where there is no GPU it says so, and measures nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np

import fusegrad as fg
from fusegrad.runtime import devices
from fusegrad.runtime.cuda_driver import CudaDriver
from fusegrad.runtime.devices import find

from . import check, gpu_kernels, workloads
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
PART_SECONDS, KERNEL_SECONDS, SANITIZER_SECONDS = 60.0, 90.0, 60.0
BYTES = 1 << 30
"""What is copied and summed for the ceilings."""
UNKNOWN: dict[str, Any] = {
    **{"name": "unknown GPU", "capability": (0, 0), "memory": 0, "copy": 1e9, "read": 1e9},
    **{"host": 0.0, "host of a training step": 0.0},
}
"""In place of what could not be measured."""


# --- libraries ------------------------------------------------------------------------------------


class FusedGpu(Fused):
    """fusegrad with everything on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        fg.set_default_device("cuda")
        fg.set_float32_matmul_precision("high" if gpu_kernels.TF32 else "highest")

    def numpy(self, value: Any) -> np.ndarray:
        return np.array(value.detach().cpu().numpy())

    def wait(self, result: Any) -> None:
        fg.cuda.synchronize()


class TorchGpu(Torch):
    """torch, op by op, with everything on the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.module.set_default_device("cuda")
        self.module.backends.cudnn.allow_tf32 = gpu_kernels.TF32
        self.module.set_float32_matmul_precision("high" if gpu_kernels.TF32 else "highest")

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


class JaxGpu(Jax):
    """jax, which would multiply float32 as tf32 unasked."""

    def __init__(self) -> None:
        super().__init__()
        precision = "tensorfloat32" if gpu_kernels.TF32 else "highest"
        self.module.config.update("jax_default_matmul_precision", precision)


LIBRARIES: dict[str, Callable[[], Library]] = {
    "fused": FusedGpu,
    "torch": TorchGpu,
    "torch.compile": TorchCompileGpu,
    "jax": JaxGpu,
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
    count = BYTES
    blocks = [gpu.allocate(count) for _ in range(4)]
    places = [block.address for block in blocks]
    order = [0, 1, 2, 3]

    def copy() -> None:
        gpu.driver.copy(0, places[order[0]], places[order[1]], count)
        order.append(order.pop(0))

    rounds = timed(copy, lambda _: fg.cuda.synchronize(), 1.0)
    source = fg.ones(count // 4, device="cuda")
    total = fg.compile(lambda x: x.sum())
    reads = timed(lambda: total(source), lambda _: fg.cuda.synchronize(), 1.0)
    one = fg.ones(1).cuda()
    step = fg.compile(lambda x: x + 1)
    host = timed(lambda: step(one), lambda _: None, 0.5)
    return {
        "environment": environment(),
        "name": fg.cuda.get_device_name(),
        "capability": fg.cuda.get_device_capability(),
        "memory": fg.cuda.mem_get_info()[1],
        "copy": 2 * count / statistics.median(rounds),
        "read": count / min(reads),
        "host": statistics.median(host),
        "host of a training step": host_of_training(),
    }


def host_of_training() -> float:
    """Seconds that a small training step costs the host, asked for again and again."""
    workload = workloads.find("mlp_small")
    library = FusedGpu()
    task = workload.builders[library.family](library, workload.make_inputs("small"))
    for _ in range(10):
        task.step()
    fg.cuda.synchronize()
    rounds = []
    for _ in range(20):
        start = time.perf_counter()
        for _ in range(50):
            task.step()
        rounds.append((time.perf_counter() - start) / 50)
        fg.cuda.synchronize()
    return statistics.median(rounds)


def environment() -> list[str]:
    """What is installed, and what is missing."""
    found = [f"Python {platform.python_version()}, numpy {np.__version__}"]
    for name in ("llvmlite", "numba", "numba-cuda", *_PACKAGES):
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} is missing")
    driver = devices.driver()
    if isinstance(driver, CudaDriver):
        for name, version in driver.libraries.versions().items():
            found.append(f"{name} {version or 'is missing: ' + driver.libraries.missing[name]}")
    tools = ("compute-sanitizer", "ptxas", "ncu")
    found += [f"{tool}: {shutil.which(tool) or 'missing'}" for tool in tools]
    return found


_PACKAGES = (
    "cuda-bindings",
    "cuda-core",
    "torch",
    "triton",
    "jax",
    "cupy-cuda13x",
    "nvidia-cublas",
)


# --- the run --------------------------------------------------------------------------------------


def child(arguments: Sequence[str], seconds: float) -> dict[str, Any]:
    """A part in a process of its own; what went wrong is in ``error``."""
    found, error = lines_of(arguments, seconds)
    known = [record for record in found if isinstance(record, dict)]
    return known[0] if known else {"error": error or "it said nothing"}


def kernels_in(library: str, seconds: float, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Every kernel in one library; a process that ends early is started again after what it did."""
    known = gpu_kernels.cases()
    end, found = time.monotonic() + seconds, list[dict[str, Any]]()
    while len(found) < len(known):
        left = end - time.monotonic()
        if left < 5:
            say(f"no time left for {len(known) - len(found)} kernels in {library}")
            break
        lines, error = lines_of(["--kernels", library, str(len(found))], left)
        found += lines
        if len(found) < len(known) and error is not None:
            title = known[len(found)].title
            found.append({"title": title, "library": library, "error": error})
    return found


def sanitized(seconds: float, say: Callable[[str], None]) -> int:
    """Run the small kernels under compute-sanitizer where it is; 1 where it finds something."""
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        say("compute-sanitizer is not installed: memory and races were not checked")
        return 0
    bad = 0
    for kind in ("memcheck", "racecheck"):
        command = [tool, "--tool", kind, "--error-exitcode", "9", sys.executable]
        command += ["-m", "benchmarks.gpu", "--check"]
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=seconds / 2
            )
        except subprocess.TimeoutExpired:
            say(f"compute-sanitizer {kind}: took longer than {seconds / 2:.0f} s")
            continue
        last = [line for line in done.stdout.splitlines() if "SUMMARY" in line or "Error" in line]
        say(f"compute-sanitizer {kind}: {' | '.join(last[-3:]) or f'ended with {done.returncode}'}")
        bad |= done.returncode == 9
    return bad


def lines_of(arguments: Sequence[str], seconds: float) -> tuple[list[dict[str, Any]], str | None]:
    """The records that a child prints, one a line, and why it ended early if it did."""
    done = ended(arguments, seconds)
    found = []
    for line in done.stdout.splitlines():
        with contextlib.suppress(ValueError):
            found.append(json.loads(line))
    if done.returncode == 0:
        return found, None
    last = [line for line in done.stderr.splitlines() if line.strip()][-3:]
    return found, " | ".join(last) or f"ended with {done.returncode}"


def ended(arguments: Sequence[str], seconds: float) -> subprocess.CompletedProcess[str]:
    """A child that has ended, if need be because its time was up."""
    variables = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu", *arguments]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err = f"took longer than {seconds:.0f} s"
        return subprocess.CompletedProcess(command, process.returncode, out, err)


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


def kernel_rows(found: Sequence[dict[str, Any]], limits: dict[str, Any]) -> list[str]:
    """The table of kernels: one line each, beside what was asked and what torch takes."""
    torch = {r["title"]: r for r in found if r["library"] == "torch" and "median" in r}
    rows = []
    for case in gpu_kernels.cases():
        mine = [r for r in found if r["title"] == case.title and r["library"] == "fused"]
        if not mine:
            continue
        own = mine[0]
        if "median" not in own:
            rows.append(f"{case.title:48} {own.get('error', 'was not timed')}")
            continue
        peer = torch.get(case.title, {}).get("median")
        if case.roof in ("product", "torch"):
            share = None if peer is None else peer / own["median"]
            rate = f"{own['flops'] / own['median'] * 1e-12:8.1f} TFLOP/s"
        else:
            share = own["moved"] / own["median"] / limits[case.roof]
            rate = f"{own['moved'] / own['median'] * 1e-9:8.0f} GB/s   "
        reached = "   -   " if share is None else f"{share:7.1%}"
        ratio = "-" if peer is None else f"{peer / own['median']:.2f}"
        verdict = own["wrong"] or "right"
        rows.append(
            f"{case.title:48} {own['median'] * 1e3:9.3f} ms {rate} {reached} of {case.roof:8} "
            f"(asked {case.asked:.0%})  torch/own {ratio:>5}  {verdict}"
        )
    return rows


def run(names: Sequence[str], contenders: Sequence[str], say: Callable[[str], None]) -> int:
    """Check and measure; the exit status is 1 where fusegrad failed or was wrong."""
    end = time.monotonic() + SECONDS
    limits = child(["--ceilings"], PART_SECONDS)
    if "error" in limits:
        say(f"the ceilings could not be measured: {limits['error']}")
        limits = dict(UNKNOWN)
    for line in limits.get("environment", []):
        say(line)
    say(
        f"{limits['name']}, compute capability {'.'.join(map(str, limits['capability']))}, "
        f"{limits['memory'] / 2**30:.0f} GiB; copy {limits['copy'] * 1e-9:.0f} GB/s, "
        f"sum {limits['read'] * 1e-9:.0f} GB/s; the host spends {limits['host'] * 1e6:.1f} us on "
        f"x + 1, {limits['host of a training step'] * 1e6:.1f} us on a training step (asked 15)"
    )
    failed = int(limits["name"] == UNKNOWN["name"])
    kernels: list[dict[str, Any]] = []
    for library in ("fused", "torch"):
        if installed(library):
            kernels += kernels_in(library, KERNEL_SECONDS, say)
    for own in kernels:
        if own.get("wrong") or "error" in own:
            say(f"{own['library']} {own['title']}: {own.get('wrong') or own.get('error')}")
            failed += own["library"] == "fused"
    failed += sanitized(SANITIZER_SECONDS, say)
    wrong, table = workloads_in(names, contenders, limits, end, say)
    failed += wrong
    say("")
    for line in kernel_rows(kernels, limits):
        say(line)
    say("")
    say(
        f"{'workload':34} {'library':14} {'ms':>10} {'best':>10} {'GB/s':>9} {'of copy':>7} "
        f"{'TFLOP/s':>8} {'first s':>8}"
    )
    for line in sorted(table):
        say(line)
    return 1 if failed else 0


def workloads_in(
    names: Sequence[str],
    contenders: Sequence[str],
    limits: dict[str, Any],
    end: float,
    say: Callable[[str], None],
) -> tuple[int, list[str]]:
    """How many workloads fusegrad failed, and the lines of the table."""
    failed, table = 0, list[str]()
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
    return failed, table


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    names = [*SCALES, *TRAINING]
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME")
    parser.add_argument("--against", nargs="*", choices=CONTENDERS[1:], default=CONTENDERS[1:])
    parser.add_argument("--tf32", action="store_true", help="multiply float32 as tf32, in all")
    parser.add_argument("--ceilings", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--part", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--kernels", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--check", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.tf32:
        os.environ["BENCHMARK_TF32"] = "1"
    reason = fg.cuda.why_not()
    if reason is not None:
        print(f"there is no GPU that can be used, and nothing was checked or measured: {reason}")
        return 2
    if options.ceilings:
        print(json.dumps(ceilings()))
        return 0
    if options.kernels:
        library, first = options.kernels
        if library == "fused":
            poison(FusedGpu())
        for case in gpu_kernels.cases()[int(first) :]:
            print(json.dumps(gpu_kernels.record(case, library, case.full, 0.3)), flush=True)
        return 0
    if options.check:
        wrong = [(c.title, gpu_kernels.checked(c)) for c in gpu_kernels.cases()]
        return int(any(why for _, why in wrong))
    if options.part:
        name, contender = options.part
        print(json.dumps(part(name, contender, 2.0)))
        return 0
    return run(options.only, ("fused", *options.against), lambda line: print(line, flush=True))


if __name__ == "__main__":
    sys.exit(main())
