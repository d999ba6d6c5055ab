"""Tests of the benchmark harness: that what it times is right, and that it says what it saw.

Knows no measured figure: nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import ctypes
import dataclasses
import doctest
import importlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import (
    check,
    compile_time,
    first_calls,
    harness,
    libraries,
    limits,
    report,
    workloads,
)
from benchmarks import threads as threads_command
from benchmarks.process import Worker, WorkerError
from benchmarks.workload import Tolerance, Workload
from fusegrad.runtime import threads

NAMES = [workload.name for workload in workloads.WORKLOADS]


def outputs_of(workload: Workload, contender: str, precision: Any = np.float32) -> list[np.ndarray]:
    """Run the workload's steps in this process."""
    kind = libraries.find(contender)
    library = kind()
    inputs = {
        name: value.astype(precision) if value.dtype == np.float32 else value
        for name, value in workload.make_inputs("small").items()
    }
    task = workload.builders[kind.family](library, inputs)
    for _ in range(workload.steps):
        last = task.step()
    library.wait(last)
    return library.outputs(task.outputs(last) if task.outputs else last)


def assert_right(workload: Workload, contender: str) -> None:
    reference = outputs_of(workload, "numpy", np.float64)
    assert all(array.dtype == np.float64 for array in reference)
    verdict = check.compare(outputs_of(workload, contender), reference, workload.tolerance)
    assert verdict.ok, verdict.message


@pytest.mark.parametrize("contender", ["eager", "fused", "numpy"])
@pytest.mark.parametrize("name", NAMES)
def test_workload_is_right(name: str, contender: str) -> None:
    assert_right(workloads.find(name), contender)


SHARED = {
    "add": {"size": 1},
    "gelu": {"size": 200_003},
    "softmax": {"rows": 301, "columns": 257},
    "cross_entropy": {"rows": 301, "columns": 257},
    "layer_norm": {"rows": 301, "columns": 257},
    "adam": {"size": 200_003},
    "mlp_small": {"batch": 64, "widths": (131, 65, 10)},
    "mlp_large": {"batch": 67, "widths": (129, 131, 65, 10)},
    "gpt": {"layers": 1, "width": 64, "times": 37, "batch": 4, "vocabulary": 67},
    "lenet": {"batch": 17, "size": 20},
    "resnet": {"batch": 5, "size": 16, "widths": (8, 12, 16)},
    "lstm": {"times": 5, "batch": 33, "hidden": 96, "vocabulary": 67},
}
"""Sizes at which threads have something to share."""


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_threads(name: str) -> None:
    workload = dataclasses.replace(workloads.find(name), sizes={"small": SHARED[name]})
    before = threads.num_threads()
    try:
        found = []
        for count in (1, 2, 3, 4):
            threads.set_num_threads(count)
            found.append(outputs_of(workload, "fused"))
    finally:
        threads.set_num_threads(before)
    assert not threads_command.different(found)


def test_the_command_for_threads(capsys: pytest.CaptureFixture[str]) -> None:
    assert threads_command.main(["--only", "add", "--scale", "small", "--rounds", "1"]) == 0
    printed = capsys.readouterr().out
    assert "add" in printed
    assert "equal" in printed
    assert threads_command.different([[np.zeros(2)], [np.zeros(2)], [-np.zeros(2)], []]) == [2, 3]


GROWTH = """
import numpy as np
from benchmarks.memory import Growth
growth = Growth()
held = np.ones(4 << 20)
print(growth.bytes())
del held
print(growth.bytes())
"""


def test_growth_of_memory_is_seen() -> None:
    """In a process of its own: nobody gives memory back meanwhile."""
    done = subprocess.run(
        [sys.executable, "-c", GROWTH],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)},
    )
    lines = done.stdout.split()
    if lines[0] == "None":
        pytest.skip("this system does not tell")
    assert all(int(line) >= 0.9 * 8 * (4 << 20) for line in lines)


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch warns of its own parts.
@pytest.mark.parametrize("contender", ["torch", "torch.compile", "jax"])
@pytest.mark.parametrize("name", NAMES)
def test_peer_is_right(name: str, contender: str) -> None:
    pytest.importorskip(libraries.find(contender).packages[0])
    if contender == "torch.compile" and shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    workload = workloads.find(name)
    if contender in workload.without:
        pytest.skip("makes no sense for this workload")
    assert_right(workload, contender)


def test_a_differentiated_workload_agrees_with_central_differences() -> None:
    workload = workloads.find("cross_entropy")
    inputs = workload.make_inputs("small")
    x, direction = inputs["x"].astype(np.float64), np.ones_like(inputs["x"], np.float64)
    direction[::2, ::3] = -2

    def run(value: np.ndarray) -> Any:
        task = workload.builders["numpy"](libraries.NumPy(), {**inputs, "x": value})
        return task.step()

    step = 1e-6
    difference = (run(x + step * direction)[0] - run(x - step * direction)[0]) / (2 * step)
    assert difference == pytest.approx(np.sum(run(x)[1] * direction), rel=1e-6)


def test_work_of_the_full_sizes() -> None:
    moved = {name: workloads.find(name).make_work("full").moved for name in NAMES}
    elements = 8192 * 1024
    assert moved["gelu"] == 2 * 4 * 2**24
    assert moved["softmax"] == 2 * 4 * elements
    assert moved["adam"] == 7 * 4 * 2**24
    assert moved["layer_norm"] == 3 * 4 * elements + 4 * 4 * 1024
    assert workloads.find("mlp_small").make_work("full").flops == 2 * 64 * (
        2 * 784 * 128 + 3 * 128 * 10
    )


def test_unknown_names_are_explained() -> None:
    with pytest.raises(ValueError, match="unknown workload 'gleu'; known are add, gelu"):
        workloads.find("gleu")
    with pytest.raises(ValueError, match="unknown contender 'tensorflow'; known are eager"):
        libraries.find("tensorflow")


@pytest.mark.parametrize("module", [check, compile_time, harness, limits, report])
def test_examples_in_docstrings(module: Any) -> None:
    assert doctest.testmod(module).failed == 0


class TestCompare:
    def test_saved_arrays_come_back(self, tmp_path: Path) -> None:
        arrays = [np.arange(6.0).reshape(2, 3), np.float64(3)]
        check.save([np.asarray(array) for array in arrays], tmp_path)
        assert check.compare([np.asarray(array) for array in arrays], check.load(tmp_path)).ok

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            ([1.0, 2.0, 3.1], "output 0: 1 of 3 elements differ"),
            ([1.0, 2.0, np.nan], "output 0: 1 of 3 elements differ"),
            ([1.0, 2.0], "output 0: shape (2,) instead of (3,)"),
        ],
    )
    def test_a_difference_is_found(self, value: list[float], message: str) -> None:
        verdict = check.compare([np.array(value, np.float32)], [np.array([1.0, 2.0, 3.0])])
        assert not verdict.ok
        assert verdict.message.startswith(message)

    def test_a_missing_output_is_found(self) -> None:
        assert check.compare([], [np.ones(3)]).message == "0 outputs instead of 1"

    def test_nan_equals_nan(self) -> None:
        assert check.compare([np.array([np.nan, 1], np.float32)], [np.array([np.nan, 1])]).ok

    def test_labels_must_be_equal(self) -> None:
        assert not check.compare([np.array([1, 2])], [np.array([1, 3])]).ok

    def test_outliers(self) -> None:
        value, reference = np.ones(1000, np.float32), np.ones(1000)
        value[7] = 2
        allowed = Tolerance(1e-4, 1e-5, outliers=1e-3)
        assert check.compare([value], [reference], allowed).ok
        value[8] = 2
        assert not check.compare([value], [reference], allowed).ok


class TestWorker:
    def test_protocol(self, tmp_path: Path) -> None:
        reference = tmp_path / "reference"
        reference.mkdir()
        with Worker(1, tmp_path) as worker:
            chosen: dict[str, Any] = {
                "workload": "mlp_small",
                "contender": "numpy",
                "scale": "small",
            }
            first = worker.ask("prepare", **chosen)
            assert first["first_call_ms"] > 0
            assert first["versions"] == {"numpy": np.__version__}
            assert worker.ask("check", save=str(reference)) == {"outputs": 5}
            assert len(worker.ask("run", iterations=2, repeats=3)["ms"]) == 3
            with pytest.raises(WorkerError, match=r"unknown workload 'x'.* \(__init__.py:\d+\)"):
                worker.ask("prepare", workload="x", contender="numpy", scale="small")
            worker.ask("prepare", **chosen)
            assert worker.ask("check", reference=str(reference))["ok"]

    def test_silence_and_death_are_reported(self, tmp_path: Path) -> None:
        with (
            Worker(1, tmp_path) as worker,
            pytest.raises(WorkerError, match=r"no answer to 'gemm' in 0\.01 s"),
        ):
            worker.ask("gemm", timeout=0.01, package="numpy", seconds=0.5, shapes=[[4, 4, 4]])
        with Worker(1, tmp_path) as worker:
            worker._process.kill()
            with pytest.raises(WorkerError, match="the process ended"):
                worker.ask("gemm", package="numpy", seconds=0.0, shapes=[[4, 4, 4]])

    @pytest.mark.parametrize("package", ["fusegrad", "numpy"])
    def test_matrix_products(self, tmp_path: Path, package: str) -> None:
        with Worker(1, tmp_path) as worker:
            for case in ({"layout": "TT"}, {"batch": 3, "dtype": "float64"}):
                arguments = {"rows": 5, "columns": 80, "depth": 30, **case}
                answer = worker.ask("product", package=package, case=arguments, seconds=0.0)
                assert 0 < answer["best"] <= answer["median"]
                assert answer["deviation"] < 1e-6

    def test_one_thread_stays_on_one_processor(self, tmp_path: Path) -> None:
        with Worker(1, tmp_path) as worker:
            assert len(os.sched_getaffinity(worker._process.pid)) == 1


@pytest.mark.parametrize("name", limits.TRAFFIC)
def test_limits(name: str) -> None:
    assert limits.Limits(1, 1).measure(name) > 0


def test_limit_kernels_do_what_they_say() -> None:
    machine = limits.Limits(1, 1)
    buffers = [np.ctypeslib.as_array(_floats(address)) for address in machine._buffers]
    for buffer, value in zip(buffers, (1.0, 10.0, 100.0, 1000.0), strict=True):
        buffer[:] = value
    machine._kernels["stream"](*machine._buffers, *machine._bounds[0])
    assert [set(buffer.tolist()) for buffer in buffers] == [{1.0}, {11.0}, {111.0}, {1111.0}]
    for name, value in (("copy", 2.0), ("copy_nontemporal", 3.0)):
        buffers[0][:] = value
        machine._kernels[name](*machine._buffers, *machine._bounds[0])
        assert set(buffers[1].tolist()) == {value}


def _floats(address: int) -> Any:
    return (ctypes.c_float * (1 << 18)).from_address(address)


def test_a_failing_contender_does_not_end_the_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(harness, "PAUSE", 0.0)
    said: list[str] = []
    options = harness.Options(rounds=1, threads=1, scale="small")
    run = harness.Run(workloads.find("gelu"), options, tmp_path, said.append)
    rates = {name: {"best": 10.0, "median": 9.0} for name in limits.TRAFFIC}
    record = run.measure(["numpy", "missing"], {"gb_per_s": rates, "sgemm": 100.0})
    assert list(record["failed"]) == ["missing"]
    assert record["contenders"]["numpy"]["median"] > 0
    assert any("missing failed: ValueError: unknown contender" in line for line in said)


def test_ratios() -> None:
    record: dict[str, Any] = {
        "flops": 10**9,
        "moved_bytes": 10**8,
        "roof": "copy_nontemporal",
        "roof_gb_per_s": {"best": 50.0, "median": 40.0},
        "contenders": {
            "fused": {"best": 6.0, "median": 8.0},
            "jax": {"best": 12.0, "median": 24.0},
            "torch": {"first_call_ms": 1.0},
        },
    }
    rates = {"copy_nontemporal": {"best": 25.0, "median": 20.0}}
    harness.add_ratios(record, {"gb_per_s": rates, "sgemm": 250.0})
    assert record["floor_ms"] == pytest.approx(4 + 2)
    assert record["memory_ms"] == pytest.approx({"best": 2.0, "median": 2.5})
    assert record["contenders"]["fused"]["over_floor"] == pytest.approx(1.0)
    assert record["contenders"]["fused"]["over_memory"] == pytest.approx(
        {"best": 3.0, "median": 3.2}
    )
    assert record["contenders"]["jax"]["over_fused"] == {"best": 2.0, "median": 3.0}
    assert "over_floor" not in record["contenders"]["torch"]


@pytest.mark.slow
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.json"
    status = command.main(
        [
            *("--only", "add", "adam", "--peers", "numpy", "--scale", "small"),
            *("--rounds", "2", "--threads", "1", "--json", str(path)),
        ]
    )
    printed = capsys.readouterr().out
    assert status == 0, printed
    record = json.loads(path.read_text())
    assert list(record["workloads"]) == ["add", "adam"]
    assert record["limits"]["sgemm"] > 0
    for workload in record["workloads"].values():
        assert not workload["failed"]
        assert list(workload["contenders"]) == ["eager", "fused", "numpy"]
        for values in workload["contenders"].values():
            assert values["check"]["ok"]
            assert len(values["ms"]) >= 2
    assert "warm_first_call_ms" in record["workloads"]["add"]["contenders"]["fused"]
    assert "SMALL SIZES" in printed
    assert "Adam, 16M parameters, in place" in printed
    assert report.text(record) in printed


def test_missing_matplotlib_is_said_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(SystemExit, match="--plot needs matplotlib: pip install matplotlib"):
        command.main(["--plot", str(tmp_path / "run.png")])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--peers", "numpy,theano"], "unknown peer 'theano'; known are numpy, torch, jax"),
        (["--rounds", "0"], "must be at least 1"),
        (["--only", "gleu"], "invalid choice: 'gleu'"),
    ],
)
def test_wrong_arguments(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        command.main(arguments)
    assert message in capsys.readouterr().err


def test_slope_of_growth() -> None:
    sizes = [100.0, 200.0, 400.0, 800.0]
    assert compile_time.slope(sizes, [size**1.2 for size in sizes]) == pytest.approx(1.2)
    rows = [
        {"size": size, "ms": 2.0 * size, "stages": {"trace": 1.0 * size}} for size in (1, 8, 64)
    ]
    text = compile_time.family_text("title", rows)
    assert "slope of log-log: 1.00" in text
    assert "64 against 1: 64.0 times" in text


def test_first_calls_by_stage_and_function(tmp_path: Path) -> None:
    shared = "define internal i64 @fg.twice(i64 %x) noinline { %y = add i64 %x, %x ret i64 %y }"
    kernel = "define i64 @fg_1(i64 %x) {\n  %y = call i64 @fg.twice(i64 %x)\n  ret i64 %y\n}"
    (tmp_path / "step.ll").write_text(f"declare i64 @other(i64)\n{shared}\n\n{kernel}\n")
    costs = first_calls.costs(tmp_path)
    assert {row["name"] for row in costs} == {"fg.twice", "fg_1"}
    assert [row["ms"] for row in costs] == sorted((row["ms"] for row in costs), reverse=True)
    assert {row["size"] for row in costs} == {1}
    record = {"name": "one", "ms": 12.0, "stages": {"trace": 2.0}, "functions": costs}
    text = first_calls.text([record])
    assert "one: 2 functions" in text
    assert "12.0 ms" in text
    row = first_calls.first_call("mlp_small", "small")
    assert row["ms"] > row["stages"]["trace"] > 0


@pytest.mark.parametrize(("subject", "size"), [("chain", 20), ("stack", 2)])
def test_compile_time_subjects_compile(subject: str, size: int) -> None:
    row = compile_time.measure_here(subject, size)
    assert row["ms"] > 0
    assert row["stages"]
