"""PTX for softmax, gelu and Dot: it comes out, in single precision, with no local memory."""

from __future__ import annotations

import re

import pytest

from fusegrad.codegen.dtypes import float32, int64
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, const
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Monoid, Param, Role, Store, Tree, Vector
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.targets.nvptx import emit_ptx, processor, scratch_bytes_per_thread
from tests.codegen.test_llvm_contract import product
from tests.codegen.test_llvm_rows import softmax_kernel

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
    loop = For(i, size, AnyOrder(), (Store(y, (i,), value),), mapping=Vector(8, 4))
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


def check(ptx: str, architecture: str) -> None:
    assert f".target {architecture}" in ptx
    assert ".visible .entry" in ptx
    assert ".f64" not in ptx
    assert ".local" not in ptx


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", ["gelu", "softmax", "dot"])
def test_ptx(name: str, architecture: str) -> None:
    kernel = {"gelu": gelu_kernel, "dot": dot_kernel, "softmax": lambda: softmax_kernel(128, 8, 2)}
    ptx = emit_ptx(kernel[name](), processor(architecture))
    check(ptx, architecture)
    assert "%ctaid.x" in ptx
    assert "fma.rn.f32" in ptx or name == "dot"


def test_row_memory_has_a_slot_for_each_thread() -> None:
    assert scratch_bytes_per_thread(softmax_kernel(128, 8, 2)) == 512
    assert scratch_bytes_per_thread(gelu_kernel()) == 0


def test_dot_deals_both_axes_to_threads() -> None:
    ptx = emit_ptx(dot_kernel())
    assert re.search(r"mul\S*\.s64.*96;", ptx) or "96" in ptx


def test_what_belongs_to_the_cpu_is_refused() -> None:
    with pytest.raises(ValueError, match="register tile of the CPU"):
        emit_ptx(product(8, 16, (6, 16)))
    total = Buffer("total", float32, ())
    i = Var("i", extent=4)
    loop = For(i, 4, AnyOrder(), (Store(total, (), const(1, float32), Monoid.SUM),))
    params = (Param(total, Role.PARTIAL, Monoid.SUM),)
    with pytest.raises(ValueError, match="partial sums"):
        emit_ptx(Kernel("total", params, (), (loop,)))
    alone = (Store(total, (), const(1, float32)),)
    with pytest.raises(ValueError, match="no independent loop"):
        emit_ptx(Kernel("alone", (Param(total, Role.OUT),), (), alone))


def test_lanes_of_a_row_are_not_needed() -> None:
    """A kernel of two independent axes, with a vector loop inside, as the CPU has it."""
    r, c = Var("r", extent=3), Var("c", extent=5)
    x = Buffer("x", int64, (3, 5))
    store = Store(x, (r, c), apply("add", apply("mul", r, const(5, int64)), c))
    inner = For(c, 5, AnyOrder(), (store,), mapping=Vector(4, 1))
    ptx = emit_ptx(Kernel("count", (Param(x, Role.OUT),), (), (For(r, 3, AnyOrder(), (inner,)),)))
    assert "st.global.b64" in ptx or "st.b64" in ptx or "st.global.u64" in ptx
