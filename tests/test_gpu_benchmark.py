"""`python -m benchmarks.gpu` without a GPU: its parts on a simulated one, and what it says."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

import fusegrad as fg
from benchmarks import check, gpu, gpu_kernels, workloads
from fusegrad.testing import simulated_gpus


@pytest.fixture
def simulated() -> Iterator[None]:
    with simulated_gpus(memory=1 << 33):
        yield
        fg.set_default_device(None)


@pytest.mark.parametrize("name", [*gpu.SCALES, *gpu.TRAINING])
def test_workloads_are_right_there(name: str, simulated: None) -> None:
    workload = workloads.find(name)
    inputs = workload.make_inputs("small")
    found = gpu.outputs_of(gpu.FusedGpu(), workload, inputs)
    verdict = check.compare(found, gpu.reference_of(workload, inputs), workload.tolerance)
    assert verdict.ok, verdict.message


def test_a_part(simulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(gpu.SCALES, "softmax", {"softmax": {"rows": 5, "columns": 7}})
    monkeypatch.setattr(gpu, "poison", lambda library: None)
    found = gpu.part("softmax", "fused", 0.01)
    assert found["ok"], found["message"]
    assert found["times"]["softmax"]["median"] > 0
    assert gpu.row("softmax", "fused", found["times"]["softmax"], 1e12).startswith("softmax")


def test_it_says_that_there_is_no_gpu(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fg.cuda, "why_not", lambda: "there is no NVIDIA GPU in this machine")
    assert gpu.main([]) == 2
    assert "there is no GPU that can be used, and nothing was" in capsys.readouterr().out


def test_every_kernel_is_right_there(simulated: None) -> None:
    for case in gpu_kernels.cases():
        if not case.title.startswith(
            ("softmax 4k", "layer norm backward 32k", "softmax backward 32k")
        ):
            short = [tuple(min(n, 1100) for n in shape) for shape in case.small]
            assert gpu_kernels.checked(replace(case, small=short)) is None, case.title


def test_a_record(simulated: None) -> None:
    case = gpu_kernels.cases()[0]
    found = gpu_kernels.record(case, "fused", [(100,)], 0.01)
    assert found["wrong"] is None
    assert found["median"] > 0
    wrong = replace(case, reference=lambda x: x)
    assert "result 0 is wrong by" in gpu_kernels.record(wrong, "fused", [(100,)], 0.01)["wrong"]
    broken = replace(case, fused=lambda x: x.reshape(7, 7))
    assert "ShapeError" in gpu_kernels.record(broken, "fused", [(100,)], 0.01)["error"]


def test_a_run_goes_on_where_a_part_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"median": 1e-3, "best": 1e-3, "first": 1.0, "bytes": 4, "flops": 2}
    first, third, second = gpu_kernels.cases()[:3]
    timed = {"library": "fused", "median": 1e-3, "best": 1e-3, "moved": 1 << 20, "flops": 0}
    answers: dict[str, Any] = {
        "--ceilings": [gpu.UNKNOWN | {"name": "X", "environment": ["torch is missing"]}],
        "gelu": [],
        "softmax": [{"ok": True, "message": "", "times": {"softmax 1k": times}}],
        "0": [timed | {"title": first.title, "wrong": None}],
        "2": [timed | {"title": second.title, "wrong": "result 0 is wrong"}],
    }

    def lines_of(arguments: Any, seconds: float) -> Any:
        key = arguments[2] if arguments[0] == "--kernels" else arguments[:2][-1]
        found = answers.get(key, [])
        return found, None if found and key != "0" else "it broke"

    monkeypatch.setattr(gpu, "lines_of", lines_of)
    monkeypatch.setattr(gpu, "installed", lambda contender: contender == "fused")
    monkeypatch.setattr(gpu.gpu_kernels, "cases", lambda: [first, third, second])
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    said: list[str] = []
    assert gpu.run(["gelu", "softmax"], ["fused"], said.append) == 1
    assert "torch is missing" in said
    assert "fused gelu: it broke" in said
    assert f"fused {third.title}: it broke" in said
    assert f"fused {second.title}: result 0 is wrong" in said
    assert any("compute-sanitizer is not installed" in line for line in said)
    assert said[-1].startswith("softmax 1k")


def test_a_whole_run(simulated: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The children's own code, in this process, on few and small cases."""

    def lines_of(arguments: Sequence[str], seconds: float) -> tuple[list[Any], str | None]:
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            status = gpu.main(arguments)
        found = [json.loads(line) for line in out.getvalue().splitlines()]
        return found, None if status == 0 else "failed"

    kinds = "gelu 256M", "sum 256M", "product + bias + gelu", "convolution 3x3"
    chosen = [c for c in gpu_kernels.cases() if c.title in kinds]
    assert len(chosen) == len(kinds)
    small = {
        "product + bias + gelu": [(24, 24), (32, 24), (32,)],
        "convolution 3x3": [(1, 2, 5, 5), (3, 2, 3, 3)],
    }
    cases = [
        replace(c, small=small.get(c.title, [(17,) * len(c.small[0])]), full=c.small)
        for c in chosen
    ]
    cases = [replace(c, full=c.small) for c in cases]
    monkeypatch.setattr(gpu, "lines_of", lines_of)
    monkeypatch.setattr(gpu, "installed", lambda contender: contender == "fused")
    monkeypatch.setattr(gpu.gpu_kernels, "cases", lambda: cases)
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    monkeypatch.setattr(gpu, "poison", lambda library: None)
    monkeypatch.setattr(gpu, "host_of_training", lambda: 1e-5)
    monkeypatch.setattr(gpu, "BYTES", 1 << 12)
    monkeypatch.setitem(gpu.SCALES, "softmax", {"softmax 1k": {"rows": 5, "columns": 7}})
    clock = iter(range(1 << 30))
    monkeypatch.setattr(gpu.time, "perf_counter", lambda: float(next(clock)))
    said: list[str] = []
    assert gpu.run(["softmax"], ["fused"], said.append) == 0, said
    text = "\n".join(said)
    for title in kinds:
        (line,) = [
            x for x in said if x.startswith(title + " ") and " asked " in x.replace("(", " ")
        ]
        assert line.endswith("right")
    assert "simulated GPU, compute capability 9.0" in text
    assert "fused softmax: right" in text
    assert said[-1].startswith("softmax 1k")


def test_a_run_ends_where_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "lines_of", lambda arguments, seconds: ([], "no such device"))
    monkeypatch.setattr(gpu.shutil, "which", lambda name: None)
    said: list[str] = []
    assert gpu.run(["gelu"], gpu.CONTENDERS, said.append) == 1
    assert said[0] == "the ceilings could not be measured: no such device"


def test_children_are_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    found, error = gpu.lines_of(["--ceilings"], 60)
    assert found == []
    assert error
    found, error = gpu.lines_of(["--ceilings"], 0.01)
    assert error == "took longer than 0 s"
