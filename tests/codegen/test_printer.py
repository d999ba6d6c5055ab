"""The printed text of kernels: golden texts of the worked examples, names, nesting, cost."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from fusegrad.codegen.dtypes import bool_, float32, float64, int32, int64
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, const, index
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Let, Param, Role, Serial, Stmt, Store, Unroll
from fusegrad.codegen.names import Names
from fusegrad.codegen.printer import print_context, print_kernel, print_statement
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.cpu import schedule
from fusegrad.codegen.targets.base import named
from tests.codegen.examples import EXAMPLES, each, matmul, op, params, relu_bias


@pytest.mark.parametrize("name", EXAMPLES)
def test_logical(name: str, golden: str) -> None:
    assert print_kernel(EXAMPLES[name]().kernel) == golden


@pytest.mark.parametrize("name", ["softmax", "total", "column_softmax", "transposed"])
def test_mapped(name: str, golden: str) -> None:
    example = EXAMPLES[name]()
    size = example.sizes[0] if example.sizes else 0
    assert print_kernel(schedule(example.kernel, size, named("avx2")).kernel) == golden


def test_blocks_mapped(golden: str) -> None:
    """A large contraction: both operands packed, tiles that go on with their sums."""
    target = replace(named("avx2"), l2_bytes=1 << 13)
    kernel = matmul("TN", 64, 70, 300, (2,), epilogue=relu_bias).kernel
    assert print_kernel(schedule(kernel, 2, target).kernel) == golden


def test_matrix_times_vector_mapped(golden: str) -> None:
    """Sums over lanes, four rows side by side."""
    kernel = matmul("NN", 70, 1, 200, epilogue=relu_bias).kernel
    assert print_kernel(schedule(kernel, 70, named("avx2")).kernel) == golden


def test_linear_layer_mapped(golden: str) -> None:
    """A contraction with its epilogue: packing and register tiles."""
    kernel = matmul("NT", 40, 35, 17, epilogue=relu_bias).kernel
    assert print_kernel(schedule(kernel, 40, named("avx2")).kernel) == golden


def _stores(*values: Expr, lets: tuple[Stmt, ...] = ()) -> Kernel:
    outputs = [Buffer("y", v.dtype, ()) for v in values]
    body = (*lets, *(Store(b, (), v) for b, v in zip(outputs, values, strict=True)))
    return Kernel("k", params(writes=tuple(outputs)), (), body)


def body_of(kernel: Kernel) -> list[str]:
    return [line.strip() for line in print_kernel(kernel).splitlines()[1:-1]]


def test_constants() -> None:
    values = [
        const(0.1, float32),
        const(1 / 3, float64),
        const(-0.0, float32),
        const(float("nan"), float32),
        const(float("-inf"), float64),
        const(-7, int32),
        const(True, bool_),
    ]
    texts = [print_statement(Let(Var("t", v.dtype), v)).split(" = ")[1] for v in values]
    assert texts == ["0.1", "0.3333333333333333", "-0.0", "nan", "-inf", "-7", "true"]


def test_index_arithmetic_has_operators() -> None:
    i, j = Var("i"), Var("j")

    def text(e: Expr) -> str:
        return print_statement(Store(Buffer("y", int64, ()), (), e)).removeprefix("y[] = ")

    total = op("add", i, j)
    assert text(op("mul", total, index(4))) == "(i + j) * 4"
    assert text(op("add", op("mul", i, index(4)), j)) == "i * 4 + j"
    assert text(op("sub", i, op("sub", j, index(1)))) == "i - (j - 1)"
    assert text(op("sub", op("sub", i, j), index(1))) == "i - j - 1"
    assert text(op("add", i, index(-3))) == "i - 3"
    assert text(op("remtrunc", op("divtrunc", i, index(3)), index(5))) == "i // 3 % 5"
    assert text(op("mul", i, op("remtrunc", j, index(3)))) == "i * (j % 3)"
    assert text(op("minimum", op("add", i, i), j)) == "minimum(i + i, j)"
    assert text(apply("cast", apply("cast", i, dtype=float32), dtype=int64)) == (
        "cast(cast(i, f32), i64)"
    )


def test_names_are_unique_in_their_scope() -> None:
    x = Buffer("x", float32, (4,))
    inner, outer = Var("i", extent=4), Var("i", extent=4)
    y, z = Buffer("x", float32, (4,)), Buffer("x", float32, (4,))
    nest = each(outer, 4, each(inner, 4, Store(y, (inner,), Load(x, (outer,)))))
    again = Var("i", extent=4)
    kernel = Kernel(
        "k",
        params(reads=(x,), writes=(y, z)),
        (),
        (nest, each(again, 4, Store(z, (again,), Load(x, (again,))))),
    )
    assert print_kernel(kernel).splitlines() == [
        "kernel k(x: f32[4] in, x1: f32[4] out, x2: f32[4] out) {",
        "  for i in 4 any {",
        "    for i1 in 4 any { x1[i1] = x[i] }",
        "  }",
        "  for i in 4 any { x2[i] = x[i] }",
        "}",
    ]


def test_numbered_names_do_not_meet() -> None:
    names = Names(["for"])
    assert [names.new(n) for n in ("t1", "t", "t", "t1", "for", "a b", "", "1")] == [
        "t1",
        "t",
        "t2",
        "t1_1",
        "for1",
        "a_b",
        "t3",
        "_1",
    ]


# --- values that are used once ------------------------------------------------------------------


def test_single_use_is_printed_in_its_user() -> None:
    a, b, c = (Var(n, float32) for n in "abc")
    one = const(1, float32)
    lets = (Let(a, op("exp", one)), Let(b, op("log", a)), Let(c, op("neg", b)))
    assert body_of(_stores(op("mul", c, one), lets=lets)) == ["y[] = mul(neg(log(exp(1.0))), 1.0)"]
    assert body_of(_stores(op("mul", c, c), lets=lets)) == [
        "let c = neg(log(exp(1.0)))",
        "y[] = mul(c, c)",
    ]


def test_a_load_does_not_move_over_a_store() -> None:
    x = Buffer("x", float32, (2,))
    y = Buffer("y", float32, (2,))
    zero, one = index(0), index(1)
    t = Var("t", float32)
    first = Let(t, Load(x, (zero,)))
    roles = (Param(x, Role.INOUT), Param(y, Role.OUT))
    user = Store(x, (one,), t)

    def lines(between: Stmt) -> list[str]:
        return body_of(Kernel("k", roles, (), (first, between, user)))

    assert lines(Store(y, (zero,), const(2, float32)))[-1] == "x[1] = x[0]"
    assert lines(Store(x, (zero,), const(2, float32)))[0] == "let t = x[0]"
    i = Var("i", extent=1)
    inside = For(i, 1, Serial(), (Store(x, (zero,), const(2, float32)),))
    assert lines(inside)[0] == "let t = x[0]"


def test_a_value_does_not_move_into_a_loop() -> None:
    y = Buffer("y", float32, (4,))
    t, i = Var("t", float32), Var("i", extent=4)
    body = (Let(t, op("exp", const(1, float32))), each(i, 4, Store(y, (i,), t)))
    assert body_of(Kernel("k", params(writes=(y,)), (), body))[0] == "let t = exp(1.0)"


def test_lines_stay_short() -> None:
    e: Expr = Var("x", float32)
    lets: list[Stmt] = [Let(e, const(1, float32))]  # type: ignore[arg-type]
    for _ in range(60):
        var = Var("value", float32)
        lets.append(Let(var, op("logaddexp", e, 0.5)))
        e = var
    lines = print_kernel(_stores(e, lets=tuple(lets))).splitlines()
    assert max(map(len, lines)) <= 90
    assert len(lines) < 40


def test_what_a_statement_shares_is_printed_once() -> None:
    e: Expr = Var("x", float32)
    for _ in range(200):
        e = op("add", op("mul", e, e), e)
    text = print_statement(Store(Buffer("y", float32, ()), (), e))
    assert len(text) < 20_000


@pytest.mark.parametrize("deep", [False, True], ids=["lets", "one expression"])
def test_linear_time_and_no_recursion(deep: bool) -> None:
    x = Var("x", float32)
    lets: list[Stmt] = [Let(x, const(1, float32))]
    e: Expr = x
    for _ in range(10_000):
        value = op("add", e, x)
        if not deep:
            var = Var("t", float32)
            lets.append(Let(var, value))
            value = var
        e = value
    start = time.perf_counter()
    text = print_kernel(_stores(e, lets=tuple(lets)))
    assert time.perf_counter() - start < 5
    assert text.count("add(") == 10_000


# --- statements on their own --------------------------------------------------------------------


def test_context_marks_the_statement() -> None:
    y = Buffer("y", float32, (8,))
    i = Var("i", extent=8)
    stores = [Store(y, (index(n),), const(n, float32)) for n in range(8)]
    kernel = Kernel("k", params(writes=(y,)), (), (*stores, each(i, 8, stores[0])))
    assert print_context(kernel, stores[4], 1).splitlines() == [
        "    y[3] = 3.0",
        ">   y[4] = 4.0",
        "    y[5] = 5.0",
    ]


def test_mappings() -> None:
    y = Buffer("y", float32, (8,))
    i = Var("i", extent=8)
    store = Store(y, (i,), const(0, float32), nontemporal=True)
    loop = For(i, 8, AnyOrder(), (store,), mapping=Unroll())
    assert print_statement(loop).splitlines() == [
        "for i in 8 any unroll {",
        "  y[i] = 0.0 nontemporal",
        "}",
    ]
