"""The same kernels for other processors: narrower ones run here, others give assembly."""

from __future__ import annotations

import re
import threading

import numpy as np
import pytest

from fusegrad.codegen.dtypes import bool_, float32, float64, int64
from fusegrad.codegen.expr import Buffer, Load, Var, const
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Param, Role, Store, Vector
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.targets.base import Features, host, named
from fusegrad.codegen.targets.llvm import assembly, compile_module, emit_module, kernel_layout
from tests.codegen.llvm_support import Native
from tests.codegen.test_llvm_contract import product
from tests.codegen.test_llvm_rows import softmax_kernel

NEON = Features("aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", 16, False, 32)


def mixed(lanes: int) -> Kernel:
    """float32, float64, bool and int64 in one loop."""
    size = Var("n")
    i = Var("i", extent=size)
    x, k = Buffer("x", float32, (size,)), Buffer("k", int64, (size,))
    y, flag = Buffer("y", float64, (size,)), Buffer("flag", bool_, (size,))
    value = apply("exp", Load(x, (i,)))
    wide = apply(
        "add", apply("cast", value, dtype=float64), apply("cast", Load(k, (i,)), dtype=float64)
    )
    body = (
        Store(y, (i,), wide),
        Store(flag, (i,), apply("gt", value, const(1, float32))),
    )
    params = [Param(b, Role.IN) for b in (x, k)] + [Param(b, Role.OUT) for b in (y, flag)]
    loop = For(i, size, AnyOrder(), body, mapping=Vector(lanes, 2))
    return Kernel("mixed", tuple(params), (size,), (loop,))


@pytest.mark.skipif(not host().is_x86, reason="runs x86 code")
def test_without_masked_memory_and_wide_vectors() -> None:
    target = named("sse4")
    assert not target.masked_memory
    native = Native(mixed(4), target)
    for n in (1, 3, 4, 7, 17, 100):
        rng = np.random.default_rng(n)
        x, k = rng.standard_normal(n).astype("f4"), rng.integers(0, 9, n)
        y, flag = np.zeros(n + 1), np.zeros(n + 1, bool)
        native(x, k, y, flag, sizes=(n,), chunks=((0, n),))
        np.testing.assert_allclose(y[:n], np.exp(x) + k, rtol=1e-6)
        np.testing.assert_array_equal(flag[:n], x > 0)
        assert y[n] == 0
        assert not flag[n]
    soft = Native(softmax_kernel(37, 4, 2), target)
    x = np.random.default_rng(0).standard_normal((5, 37)).astype("f4")
    y = np.zeros_like(x)
    soft(x, y, sizes=(5,), chunks=((0, 5),))
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-5)
    tile = Native(product(9, 11, (4, 8), lanes=4), target)
    a, b = (np.random.default_rng(1).standard_normal(s).astype("f4") for s in ((7, 9), (9, 11)))
    c = np.zeros((7, 11), "f4")
    tile(a, b, c, sizes=(7,), chunks=((0, 2),))
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("target", "register"),
    [(named("avx512"), r"%zmm\d"), (named("avx2"), r"%ymm\d"), (NEON, r"v\d+\.4s")],
    ids=["avx512", "avx2", "neon"],
)
def test_assembly_of_other_processors(target: Features, register: str) -> None:
    lanes = target.lanes(float32)
    kernels = [mixed(lanes), softmax_kernel(1001, lanes, 2)]
    kernels.append(product(33, 2 * lanes + 3, (4, 2 * lanes), lanes=lanes))
    text = assembly(emit_module(kernels, target), target)
    assert re.search(register, text)
    assert text.count("softmax")
    assert text.count("product")


def test_row_loops_are_tight() -> None:
    """No multiplication of addresses and no spill inside the loop that scales a softmax."""
    target = named("avx2")
    text = assembly(emit_module([softmax_kernel(1024, 8, 4)], target), target)
    last = text.split("vdivss")[1]
    loop = last[last.index(".LBB") : last.index("\tjl\t")]
    assert "imul" not in loop
    assert "rsp" not in loop
    assert len(loop.splitlines()) <= 12


def test_threads_compile_at_once() -> None:
    ir = emit_module([mixed(8)], host())
    expected = compile_module(ir, host())
    results: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: results.append(compile_module(ir, host())))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4


def test_layout() -> None:
    layout = kernel_layout(softmax_kernel(17, 8, 1), host())
    assert (layout.scratch_bytes, layout.partial_strides) == (128, ())


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="no target 'vax'; the targets are host"):
        named("vax")
    assert named("host") is host()
