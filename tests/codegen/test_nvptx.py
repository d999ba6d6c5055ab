"""PTX for kernels of every form: it comes out, in single precision, with no local memory."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fusegrad.codegen.dtypes import float32
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, const
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Monoid, Param, Role, Store, Tree
from fusegrad.codegen.scalar import TABLE, apply
from fusegrad.codegen.targets.gpu import compile_gpu, processor
from fusegrad.codegen.verify import verify_kernel

ARCHITECTURES = ["sm_80", "sm_90"]


def gelu_kernel() -> Kernel:
    size = Var("n")
    i = Var("i", extent=size)
    x, y = Buffer("x", float32, (size,)), Buffer("y", float32, (size,))

    def f(value: float) -> Expr:
        return const(value, float32)

    a = Load(x, (i,))
    cube = apply("mul", a, apply("mul", a, a))
    inner = apply("mul", f(0.7978845608), apply("add", a, apply("mul", f(0.044715), cube)))
    value = apply("mul", apply("mul", f(0.5), a), apply("add", f(1), apply("tanh", inner)))
    loop = For(i, size, AnyOrder(), (Store(y, (i,), value),))
    return Kernel("gelu", (Param(x, Role.IN), Param(y, Role.OUT)), (size,), (loop,))


def dot_kernel(depth: int = 64, columns: int = 96) -> Kernel:
    rows = Var("m")
    i, j, k = Var("i", extent=rows), Var("j", extent=columns), Var("k", extent=depth)
    a, b = Buffer("a", float32, (rows, depth)), Buffer("b", float32, (depth, columns))
    c = Buffer("c", float32, (rows, columns))
    s = Var("s", float32)
    term = apply("mul", Load(a, (i, k)), Load(b, (k, j)))
    body = (
        For(k, depth, Tree((Monoid.SUM,)), (), ((s, const(0, float32)),), (term,)),
        Store(c, (i, j), s),
    )
    nest = For(i, rows, AnyOrder(), (For(j, columns, AnyOrder(), body),))
    params = (Param(a, Role.IN), Param(b, Role.IN), Param(c, Role.OUT))
    return Kernel("dot", params, (rows,), (nest,))


def total_kernel() -> Kernel:
    size = Var("n")
    i = Var("i", extent=size)
    x, total, y = (
        Buffer("x", float32, (size,)),
        Buffer("total", float32, ()),
        Buffer("y", float32, ()),
    )
    loop = For(i, size, AnyOrder(), (Store(total, (), Load(x, (i,)), Monoid.SUM),))
    params = (Param(x, Role.IN), Param(total, Role.PARTIAL, Monoid.SUM), Param(y, Role.OUT))
    return Kernel("total", params, (size,), (loop,), (Store(y, (), Load(total, ())),))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("made", [gelu_kernel, dot_kernel, total_kernel])
def test_ptx(made: object, architecture: str) -> None:
    compiled = compile_gpu(made(), 1 << 20, processor(architecture))  # type: ignore[operator]
    ptx = compiled.ptx
    assert f".target {architecture}" in ptx
    assert ptx.count(".visible .entry") == len(compiled.stages)
    assert ".f64" not in ptx
    assert ".local" not in ptx
    for stage in compiled.stages:
        verify_kernel(stage.kernel)
        assert f".entry {stage.entry}(" in ptx


def test_loads_and_stores_are_as_wide_as_they_can_be() -> None:
    ptx = compile_gpu(gelu_kernel(), 1 << 20).ptx
    assert re.search(r"ld\.global\.v4\.\w32", ptx)
    assert re.search(r"st\.global\.v4\.\w32", ptx)


def test_nothing_is_left_to_be_fused_by_the_assembler() -> None:
    """Without a rounding mode, the assembler may make one instruction of a product and a sum."""
    ptx = compile_gpu(gelu_kernel(), 1 << 20).ptx + compile_gpu(dot_kernel(), 512).ptx
    assert not re.search(r"\b(add|sub|mul)\.f32", ptx)


def test_a_launch_has_as_many_blocks_as_its_size_needs() -> None:
    compiled = compile_gpu(gelu_kernel(), 1 << 20)
    (stage,) = compiled.stages
    (size,) = stage.kernel.sizes
    assert [int(evaluate(stage.grid, {size: np.int64(n)})) for n in (0, 1, 2048, 2049)] == [
        *(0, 1, 1, 2)
    ]


def test_a_sum_over_everything_takes_pieces_and_workspace() -> None:
    compiled = compile_gpu(total_kernel(), 1 << 24)
    assert len(compiled.stages) == 3
    assert compiled.workspace_bytes == 512 * 4
    assert re.search(r"ld\.global\.v4\.\w32", compiled.ptx)


@pytest.mark.parametrize("name", ["sin", "tan", "fmod", "floordiv", "mod", "trigamma", "lgamma"])
def test_functions_of_float32_are_computed_in_float32(name: str) -> None:
    arity = TABLE[name].arity
    buffers = [Buffer(f"x{n}", float32, (4096,)) for n in range(arity)]
    y, i = Buffer("y", float32, (4096,)), Var("i", extent=4096)
    value = apply(name, *(Load(b, (i,)) for b in buffers))
    loop = For(i, 4096, AnyOrder(), (Store(y, (i,), value),))
    params = (*(Param(b, Role.IN) for b in buffers), Param(y, Role.OUT))
    ptx = compile_gpu(Kernel("k", params, (), (loop,)), 1).ptx
    assert ".f64" not in ptx
    assert ".local" not in ptx


def test_an_unknown_processor_is_refused() -> None:
    with pytest.raises(ValueError, match="sm_70"):
        processor("sm_70")
