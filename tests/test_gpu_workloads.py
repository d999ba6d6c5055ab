"""Every kernel of the benchmarks' workloads, small: PTX comes out, and the simulator is right."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import workloads
from benchmarks.libraries import find
from fusegrad.codegen.kernel import Kernel
from fusegrad.codegen.targets.gpu import compile_gpu, processor
from fusegrad.ir.node import Node
from fusegrad.runtime import build, cache, step
from fusegrad.runtime.device_code import code_of
from fusegrad.runtime.devices import DeviceKernel
from tests.codegen.gpu_support import PTXAS, assembled, check, numba_without_nvrtc
from tests.codegen.test_nvptx import dot_kernel
from tests.lower.test_gpu_ops import logical_kernels

numba_without_nvrtc()
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


@pytest.mark.parametrize("name", NAMES)
def test_full_size(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kernels = kernels_of(name, "full", monkeypatch)
    for architecture in ("sm_80", "sm_90"):
        made = [compile_gpu(k, size, processor(architecture)).ptx for k, size in kernels]
        whole = "\n".join(made)
        assert whole.count(f".target {architecture}") == len(kernels)
        assert ".local" not in whole
        assert ".f64" not in whole
        assert not re.search(r"\b(add|sub|mul)\.f32", whole), "the assembler may fuse these"
        assert not re.search(r"\b(div|rem)\.[su]64", whole)
        if name != "add":  # of a few elements
            assert re.search(r"ld\.global\.v4\.\w32", whole)
            assert re.search(r"st\.global\.v4\.\w32", whole)
        if PTXAS is not None:
            for threads, registers, spilled in assembled(made, architecture, tmp_path):
                assert spilled == 0
                assert registers <= 128
                assert registers * threads <= 1 << 16


@pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed")
def test_what_ptxas_says_of_spills_is_understood(tmp_path: Path) -> None:
    """The other tests ask it where it is there: of code with too few registers it tells."""
    ptx = compile_gpu(dot_kernel(256, 256), 1 << 14).ptx
    assert [s for *_, s in assembled([ptx], "sm_90", tmp_path)] == [0]
    squeezed = ptx.replace(".maxntid 256", ".maxntid 256\n.minnctapersm 8")
    assert max(s for *_, s in assembled([squeezed], "sm_90", tmp_path)) > 0


def test_a_large_step_compiles_soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """60 kernels: in time of this process and of those it started, the better of two rounds."""
    kernels = kernels_of("resnet", "full", monkeypatch)[:60]
    assert len(kernels) == 60
    asked = [DeviceKernel(kernel, size, "sm_90") for kernel, size in kernels]

    def rounds(number: int) -> tuple[float, float]:
        folder = tmp_path / str(number)
        folder.mkdir(0o700)
        disk = cache.DiskCache(folder)
        monkeypatch.setattr(cache, "default", lambda: disk)
        start = sum(os.times()[:4])
        made = code_of(asked)
        if PTXAS is not None:
            assembled([each.ptx for each in made], "sm_90", folder)
        cold = sum(os.times()[:4]) - start
        start = time.process_time()
        assert code_of(asked) == made
        return cold, time.process_time() - start

    cold, cached = map(min, zip(rounds(0), rounds(1), strict=True))
    assert cold < 3
    assert cached < 0.1
