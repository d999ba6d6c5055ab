"""Products of 16-bit floats on a GPU: tensor cores, and the same bits in any order of threads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bfloat16, float16, float32
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Buffer, Var, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import For, Kernel, Mma, nested
from fusegrad.codegen.multiplying import mma_element
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.schedule.gpu import map_gpu
from fusegrad.codegen.targets.gpu import compile_gpu, processor
from fusegrad.codegen.targets.nvvm import nvvm_module
from fusegrad.codegen.verify import VerifyError, verify_kernel
from tests.codegen.gpu_support import PTXAS, assembled, check, run, values
from tests.codegen.test_gpu_contraction import batched

HALVES = (float16, bfloat16)


def mapped(*shape: int, dtype: DType = bfloat16) -> Kernel:
    return map_gpu(batched(*shape, dtype), 1).stages[0]


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize(("left", "right"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 31, 17), (70, 16, 40), (16, 40, 71)])
def test_layouts(dtype: DType, left: bool, right: bool, shape: tuple[int, int, int]) -> None:
    made = check(batched(*shape, dtype, left, right), 2)
    kind = "f16" if dtype is float16 else "bf16"
    assert f"mma.sync.aligned.m16n8k16.row.col.f32.{kind}.{kind}.f32" in made.ptx


@pytest.mark.parametrize("side", [128, 64, 32])
def test_tiles_of_each_size(side: int) -> None:
    """The tile depends on the size that a kernel is mapped for; it is right for others too."""
    kernel = batched(side + 9, side + 24, 48, float16)
    made = compile_gpu(kernel, {128: 90, 64: 64, 32: 1}[side])
    (tile,) = {s.left.shape[0] for s in nested(made.stages[0].kernel.body) if isinstance(s, Mma)}
    assert tile == 2 * side  # two rounds
    rng = np.random.default_rng(side)
    shapes = [(2, side + 9, 48), (48, side + 24), (2, side + 9, side + 24)]
    arrays = [values(rng, float16, shape) for shape in shapes]
    expected = np.maximum(arrays[0].astype(float) @ arrays[1].astype(float), 0)
    run(made, arrays, 2)
    np.testing.assert_allclose(arrays[2], expected, 2e-3, 2e-2)
    again = [*arrays[:2], np.zeros_like(arrays[2])]
    run(made, again, 2, seed=7)
    assert again[2].tobytes() == arrays[2].tobytes()


def test_special_values() -> None:
    rng = np.random.default_rng(0)
    kernel = batched(32, 32, 32, float16)
    x, w = values(rng, float16, (1, 32, 32)), values(rng, float16, (32, 32))
    x[0, 3, 5], x[0, 8, 1], w[7, 20] = np.nan, np.inf, -np.inf
    arrays = [x, w, np.zeros((1, 32, 32), np.float16)]
    expected = [a.copy() for a in arrays]
    run(compile_gpu(kernel, 1), arrays, 1)
    interpret_kernel(kernel, expected, [1])
    assert np.isnan(arrays[2][0, 3]).all()
    np.testing.assert_array_equal(np.isnan(arrays[2]), np.isnan(expected[2]))
    np.testing.assert_array_equal(np.isinf(arrays[2]), np.isinf(expected[2]))


def test_only_two_operands_of_one_dtype() -> None:
    for dtype in HALVES:
        assert any(isinstance(s, Mma) for s in nested(mapped(32, 32, 32, dtype=dtype).body))
    assert not any(isinstance(s, Mma) for s in nested(mapped(32, 32, 32, dtype=float32).body))


def test_text() -> None:
    text = print_kernel(mapped(64, 64, 64))
    assert "alloc acc: f32[256, 1, 1, 4] register" in text
    assert "mma acc[thread] += left[" in text
    assert ", 16] . right[" in text


def test_every_element_has_one_thread() -> None:
    thread, c = Var("thread"), Var("c")
    row, column = mma_element(thread, index(0), index(0), c)
    found = {
        (
            int(evaluate(row, {thread: np.int64(t), c: np.int64(n)})),
            int(evaluate(column, {thread: np.int64(t), c: np.int64(n)})),
        )
        for t in range(32)
        for n in range(4)
    }
    assert found == {(r, k) for r in range(16) for k in range(8)}


def test_rules() -> None:
    kernel = mapped(32, 32, 32)
    verify_kernel(kernel)
    (first, *_) = (s for s in nested(kernel.body) if isinstance(s, Mma))
    top = kernel.body[-1]
    assert isinstance(top, For)
    alone = replace(first, thread=top.var, row=index(0), column=index(0))
    outside = replace(kernel, body=(*kernel.body[:-1], replace(top, body=(*top.body, alone))))
    with pytest.raises(VerifyError, match="in no loop that is dealt"):
        verify_kernel(outside)
    wide = Buffer("wide", float32, (32, 40), space="shared")
    broken = replace(first, right=wide)
    body = _replaced(kernel.body, first, broken)
    with pytest.raises(VerifyError, match="wide is not allocated"):
        verify_kernel(replace(kernel, body=body))


def _replaced(statements: tuple, old: object, new: object) -> tuple:  # type: ignore[type-arg]
    return tuple(
        new
        if s is old
        else replace(s, body=_replaced(s.body, old, new))
        if hasattr(s, "body")
        else s
        for s in statements
    )


def test_the_text_for_nvvm() -> None:
    """Inline assembly is written in LLVM 7 as it is today."""
    call = (
        '%v2 = call { float, float, float, float } asm sideeffect "mma", "=f,=f,=f,=f,r"(i32 %v1)'
    )
    text = f"define ptx_kernel void @k(i64 %s0) {{\nentry:\n  {call}\n  ret void\n}}"
    assert call in nvvm_module(text).definitions


@pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed: make cuda-test has it")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_no_spills(architecture: str, tmp_path: Path) -> None:
    target = processor(architecture)
    shapes = [(1024, 1024, 512), (512, 512, 512), (96, 96, 512)]
    made = [
        compile_gpu(batched(*shape, bfloat16, left, not left), 4, target).ptx
        for shape in shapes
        for left in (False, True)
    ]
    assert ".local" not in "".join(made)
    for threads, registers, spilled in assembled(made, architecture, tmp_path):
        assert spilled == 0
        assert registers * threads <= 1 << 15
