"""Every kernel of the benchmarks' workloads, small: PTX comes out, and the simulator is right."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

from benchmarks import workloads
from benchmarks.libraries import find
from fusegrad.codegen.kernel import Kernel
from fusegrad.codegen.targets.gpu import compile_gpu, processor
from fusegrad.ir.node import Node
from fusegrad.runtime import build, cache, step
from tests.codegen.gpu_support import check
from tests.lower.test_gpu_ops import logical_kernels

NAMES = [w.name for w in workloads.WORKLOADS if "fusegrad" in w.builders]


class Caught(Exception):
    """The graph of a step, before it is compiled."""


def kernels_of(name: str, scale: str, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Kernel, int]]:
    """The logical kernels of a workload's step."""
    graphs: list[Sequence[Node]] = []

    def catch(outputs: Sequence[Node], *others: Any, **further: Any) -> Any:
        graphs.append(outputs)
        raise Caught

    workload = workloads.find(name)
    task = workload.builders["fusegrad"](find("fused")(), workload.make_inputs(scale))
    monkeypatch.setattr(build, "build_record", catch)
    # Also what another test has compiled is compiled here.
    monkeypatch.setattr(step, "_loaded", {})
    monkeypatch.setattr(cache, "default", lambda: None)
    with pytest.raises(Caught):
        task.step()
    return [pair for outputs in graphs for pair in logical_kernels(outputs)]


@pytest.mark.parametrize("name", NAMES)
def test_small(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel, size in kernels_of(name, "small", monkeypatch):
        made = check(kernel, size, name)
        assert ".local" not in made.ptx
        assert ".f64" not in made.ptx
        assert not re.search(r"\b(add|sub|mul)\.f32", made.ptx), "the assembler may fuse these"


@pytest.mark.parametrize("name", ["gelu", "softmax", "layer_norm", "cross_entropy", "adam"])
def test_streams_have_accesses_of_128_bits(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel, size in kernels_of(name, "full", monkeypatch):
        if size == 1:
            continue
        for architecture in ("sm_80", "sm_90"):
            ptx = compile_gpu(kernel, size, processor(architecture)).ptx
            assert f".target {architecture}" in ptx
            assert re.search(r"ld\.global\.v4\.\w32", ptx)
            assert re.search(r"st\.global\.v4\.\w32", ptx)
