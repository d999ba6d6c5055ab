"""`python -m benchmarks.gpu` without a GPU: its parts on a simulated one, and what it says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import fusegrad as fg
from benchmarks import check, gpu, workloads
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


def test_a_run_goes_on_where_a_part_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {"median": 1e-3, "best": 1e-3, "first": 1.0, "bytes": 4, "flops": 2}
    answers: dict[str, Any] = {
        "--ceilings": {"name": "X", "capability": [9, 0], "memory": 1, "copy": 1e12, "host": 1e-6},
        "gelu": {"error": "it broke"},
        "softmax": {"ok": True, "message": "", "times": {"softmax 1k": times}},
    }
    monkeypatch.setattr(gpu, "child", lambda arguments, _: answers[arguments[:2][-1]])
    said: list[str] = []
    assert gpu.run(["gelu", "softmax"], ["fused"], said.append) == 1
    assert "fused gelu: it broke" in said
    assert said[-1].startswith("softmax 1k")
