"""The source for numba.cuda: what it says, and what it computes in numba's own simulator."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import bfloat16, float32
from fusegrad.codegen.expr import Buffer, Load, Var
from fusegrad.codegen.kernel import Any as Independent
from fusegrad.codegen.kernel import For, Kernel, Param, Role, Store
from fusegrad.codegen.scalar_build import cast
from fusegrad.codegen.targets import numba_intrinsic
from fusegrad.codegen.targets.numba_cuda import numba_cuda_source
from tests.codegen.examples import EXAMPLES, Example, total
from tests.codegen.gpu_support import numba_without_nvrtc
from tests.codegen.test_nvptx import dot_kernel

SLOW = ("matmul", "total")
"""Of these the simulator, which has a thread of Python for each, runs a smaller one."""

PROGRAM = """
import sys, threading
import numpy as np
from numba import cuda
from numba.cuda.simulator.kernelapi import FakeCUDAModule
from fusegrad.codegen.interpret import interpret_kernel
from tests.codegen.test_numba_cuda import cases, product, source_of

assert cuda.is_available()

def warp(t):
    held = t._manager.__dict__.setdefault("warps", {})
    return held.setdefault(t.thread_id // 32, (threading.Barrier(32), [None] * 32))

def syncwarp(self, mask=-1):
    warp(threading.current_thread())[0].wait(20)

def shuffle(self, mask, value, step):
    thread = threading.current_thread()
    barrier, values = warp(thread)
    values[thread.thread_id % 32] = value
    barrier.wait(20)
    other = values[thread.thread_id % 32 ^ step]
    barrier.wait(20)
    return other

def run(name, example):
    arrays = example.arrays()
    scope = {}
    exec(source_of(example), scope)
    with np.errstate(all="ignore"):
        scope[example.kernel.name](*(a.reshape(-1) for a in arrays), *example.sizes)
    example.check(arrays)
    print(name)

# First the simulator as it is, then with what it lacks of warps.
for name, example in cases().items():
    if "shfl" not in source_of(example) and "syncwarp" not in source_of(example):
        run(name, example)
print("---")
FakeCUDAModule.syncwarp, FakeCUDAModule.shfl_xor_sync = syncwarp, shuffle
for name, example in cases().items():
    if "shfl" in source_of(example) or "syncwarp" in source_of(example):
        run(name, example)
"""


def product() -> Example:
    """A product of matrices through shared memory, larger than one tile."""
    kernel = dot_kernel(36, 20)
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((17, 36)), rng.standard_normal((36, 20))
    left, right = (p.buffer.name for p in kernel.params if p.role is Role.IN)
    (result,) = (p.buffer.name for p in kernel.params if p.role is Role.OUT)
    inputs = {left: a.astype("float32"), right: b.astype("float32")}
    return Example(kernel, inputs, {result: (a @ b).astype("float32")}, (17,))


def cases() -> dict[str, Example]:
    """What is run: every example, small."""
    made = {name: maker() for name, maker in EXAMPLES.items() if name not in SLOW}
    return {**made, "total": total(600), "product": product()}


def source_of(example: Example) -> str:
    return numba_cuda_source(example.kernel, example.sizes[0] if example.sizes else 1)


@pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")
def test_in_the_official_simulator() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    plain, shuffled = (part.split() for part in done.stdout.split("---"))
    assert {"elementwise", "column_sum", "scatter_add", "cumulative_sum", "product"} <= set(plain)
    assert {"softmax", "cross_entropy", "plane_total", "total"} <= set(shuffled)
    assert {*plain, *shuffled} == set(cases())


def test_what_shuffles_says_so() -> None:
    for name, example in cases().items():
        source = source_of(example)
        shuffles = "shfl_xor_sync" in source or "syncwarp" in source
        assert ("Not for numba's simulator" in source) == shuffles, name


def test_what_numpy_does_not_have() -> None:
    x, y, i = Buffer("x", bfloat16, (8,)), Buffer("y", float32, (8,)), Var("i", extent=8)
    body = (For(i, 8, Independent(), (Store(y, (i,), cast(Load(x, (i,)), float32)),)),)
    kernel = Kernel("copy", (Param(x, Role.IN), Param(y, Role.OUT)), (), body)
    with pytest.raises(ValueError, match="NumPy has no bfloat16"):
        numba_cuda_source(kernel, 8)


@pytest.mark.skipif(not numba_intrinsic.installed(), reason="numba-cuda: not installed")
def test_numba_compiles_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU all but functions that kernels call, which ask the driver for the GPU."""
    numba_without_nvrtc()
    from numba import cuda
    from numba.cuda import types
    from numba.cuda.np.numpy_support import from_dtype

    monkeypatch.setattr(cuda, "device_array", np.empty)
    compiled = []

    class Compiled:
        """In the place of a kernel: a launch compiles it."""

        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, launch: tuple[int, int]) -> Compiled:
            return self

        def __call__(self, *given: Any) -> None:
            arrays = [types.Array(from_dtype(a.dtype), 1, "C") for a in given if np.ndim(a)]
            kinds = (*arrays, *[types.int64] * (len(given) - len(arrays)))
            ptx, _ = cuda.compile_ptx(self.kernel.py_func, kinds, cc=(9, 0))
            compiled.append(ptx)

    for example in cases().values():
        source = source_of(example)
        if "device=True" in source:
            continue
        scope: dict[str, Any] = {}
        exec(source, scope)
        name = example.kernel.name
        for key in [k for k in scope if k.startswith(f"{name}_")]:
            scope[key] = Compiled(scope[key])
        scope[name](*(a.reshape(-1) for a in example.arrays()), *example.sizes)
    assert len(compiled) > 8
