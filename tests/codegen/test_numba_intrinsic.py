"""Kernels of numba.cuda with one intrinsic: the PTX that NVIDIA's compiler makes, simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusegrad import config
from fusegrad.codegen.targets import numba_intrinsic
from fusegrad.codegen.targets.gpu import compile_gpu, compile_gpu_together, processor
from fusegrad.codegen.targets.numba_intrinsic import numba_ptx, why_not
from fusegrad.errors import DeviceError
from fusegrad.runtime import device_code
from tests.codegen.examples import EXAMPLES
from tests.codegen.gpu_support import (
    PTXAS,
    assembled,
    numba_without_nvrtc,
    run,
    shape_of,
    values,
)
from tests.codegen.test_nvptx import dot_kernel, gelu_kernel

numba_without_nvrtc()
needs_package = pytest.mark.skipif(
    not numba_intrinsic.installed() or why_not() is not None,
    reason=f"numba-cuda: {'not installed' if not numba_intrinsic.installed() else why_not()}",
)


@needs_package
@pytest.mark.parametrize("name", list(EXAMPLES))
def test_both_ways_give_the_same_bits(name: str) -> None:
    example = EXAMPLES[name]()
    size = example.sizes[0] if example.sizes else 1
    results = []
    for emission in ("nvptx", "numba"):
        arrays = example.arrays()
        run(compile_gpu(example.kernel, size, None, emission), arrays, size)
        example.check(arrays)
        results.append(b"".join(a.tobytes() for a in arrays))
    assert results[0] == results[1]


@needs_package
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_large_kernels(architecture: str) -> None:
    for kernel, size in ((gelu_kernel(), 4096), (dot_kernel(), 64)):
        made = compile_gpu(kernel, size, processor(architecture), "numba")
        assert f".target {architecture}" in made.ptx
        assert "ld.global.v4.f32" in made.ptx
        assert ".local" not in made.ptx
        assert "mul.f32" not in made.ptx, "the assembler may fuse these"
        assert made.ptx.count(".visible .entry") == len(made.stages)
        rng = np.random.default_rng(0)
        shapes = [(p.buffer.dtype, shape_of(p.buffer, size)) for p in kernel.params]
        arrays = [values(rng, dtype, shape) for dtype, shape in shapes]
        expected = [a.copy() for a in arrays]
        run(compile_gpu(kernel, size, processor(architecture)), expected, size)
        run(made, arrays, size)
        np.testing.assert_array_equal(arrays[-1], expected[-1])


@needs_package
def test_kernels_together(tmp_path: Path) -> None:
    """What is compiled together is what each is alone; two of one name are two."""
    makers = ("softmax", "cross_entropy", "elementwise", "softmax")
    examples = [EXAMPLES[name]() for name in makers]
    asked = [(e.kernel, e.sizes[0] if e.sizes else 1) for e in examples]
    made = compile_gpu_together(asked, None, "numba")
    for example, (kernel, size), gpu in zip(examples, asked, made, strict=True):
        assert gpu.logical is kernel
        assert gpu.ptx.count(".visible .entry") == len(gpu.stages)
        arrays, alone = example.arrays(), example.arrays()
        run(gpu, arrays, size)
        example.check(arrays)
        run(compile_gpu(kernel, size, None, "numba"), alone, size)
        assert all(a.tobytes() == b.tobytes() for a, b in zip(arrays, alone, strict=True))
    if PTXAS is not None:
        bounds = [stage.block for gpu in made for stage in gpu.stages]
        found = assembled([gpu.ptx for gpu in made], "sm_90", tmp_path)
        assert sorted(threads for threads, *_ in found) == sorted(bounds)


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    why_not.cache_clear()
    monkeypatch.setattr(numba_intrinsic, "installed", lambda: False)
    try:
        with pytest.raises(
            RuntimeError, match=r"numba-cuda is missing: pip install 'fusegrad\[cuda"
        ):
            numba_ptx([], processor())
    finally:
        monkeypatch.undo()
        why_not.cache_clear()


@pytest.mark.parametrize(
    ("chosen", "there", "expected"),
    [
        (None, False, "nvptx"),
        (None, True, "numba"),
        ("nvptx", True, "nvptx"),
        ("numba", True, "numba"),
    ],
)
def test_what_makes_the_code(
    chosen: str | None, there: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(monkeypatch, chosen, there)
    assert device_code.emission() == expected


def test_what_is_asked_for_and_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    choose(monkeypatch, "numba", False)
    with pytest.raises(
        DeviceError, match="FUSEGRAD_CUDA_EMIT is 'numba', but it is not there"
    ) as e:
        device_code.emission()
    assert "set it to nvptx" in str(e.value)


def choose(monkeypatch: pytest.MonkeyPatch, chosen: str | None, there: bool) -> None:
    """The switch, and whether numba.cuda works here."""
    parsed = replace(config.current(), cuda_emit=chosen)
    monkeypatch.setattr(config, "current", lambda: parsed)
    monkeypatch.setattr(device_code, "installed", lambda: there)
    monkeypatch.setattr(device_code, "why_not", lambda: None if there else "it is not there")
