"""Row kernels: trees, carried state, row memory, partial sums, against NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import ALL, DType, bool_, float32, float64, int32, int64, uint8
from fusegrad.codegen.expr import Buffer, Const, Expr, Load, Var, const
from fusegrad.codegen.kernel import (
    Alloc,
    For,
    If,
    Kernel,
    Let,
    Monoid,
    Parallel,
    Param,
    Role,
    Serial,
    Stmt,
    Store,
    Tree,
    Unroll,
    Vector,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.scalar import apply
from tests.codegen.llvm_support import Array, Native, run

COLUMNS = (1, 3, 7, 8, 15, 16, 17, 40, 64, 71, 1023)
F = float32


def f32(value: float) -> Const:
    return const(value, float32)


def start_of(monoid: Monoid, dtype: DType) -> Const:
    return {
        Monoid.SUM: lambda: Const(0, dtype),
        Monoid.PROD: lambda: Const(1, dtype),
        Monoid.MAX: lambda: Const(dtype.lowest, dtype),
        Monoid.MIN: lambda: Const(dtype.highest, dtype),
        Monoid.ARGMAX: lambda: Const(dtype.lowest, dtype),
        Monoid.ARGMIN: lambda: Const(dtype.highest, dtype),
        Monoid.AND: lambda: Const(-1 if dtype is not bool_ else 1, dtype),
        Monoid.OR: lambda: Const(0, dtype),
    }[monoid]()


def row_reduction(monoid: Monoid, dtype: DType, columns: int, mapping: Vector | None) -> Kernel:
    """``out[r] = MONOID over c of x[r, c]``; of an argument the index alone."""
    rows = Var("rows")
    r, c = Var("r", extent=rows), Var("c", extent=columns)
    x = Buffer("x", dtype, (rows, columns))
    out = Buffer("out", int64 if monoid.width == 2 else dtype, (rows,))
    value = Load(x, (r, c))
    carry: tuple[tuple[Var, Expr], ...] = ((Var("best", dtype), start_of(monoid, dtype)),)
    following: tuple[Expr, ...] = (value,)
    if monoid.width == 2:
        carry = (*carry, (Var("at", int64), const(0, int64)))
        following = (value, c)
    loop = For(c, columns, Tree((monoid,)), (), carry, following, mapping)
    body = (loop, Store(out, (r,), carry[-1][0]))
    outer = For(r, rows, AnyOrder(), body, mapping=Parallel())
    return Kernel("reduce", (Param(x, Role.IN), Param(out, Role.OUT)), (rows,), (outer,))


def reduce_rows(kernel: Kernel, x: Array) -> Array:
    out = np.zeros(len(x), kernel.params[1].buffer.dtype.numpy)
    run(kernel, x, out, sizes=(len(x),), chunks=((0, 1), (1, len(x))))
    return out


def numbers(shape: tuple[int, ...], dtype: DType, seed: int = 0) -> Array:
    rng = np.random.default_rng(seed)
    if dtype.is_float:
        return rng.standard_normal(shape).astype(dtype.numpy)
    high = 2 if dtype is bool_ else 6
    return rng.integers(0, high, shape).astype(dtype.numpy)


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("dtype", [float32, float64, int32, int64, uint8], ids=str)
def test_sum_max_min_of_rows(dtype: DType, columns: int) -> None:
    x = numbers((5, columns), dtype)
    lanes = 32 // dtype.itemsize
    for monoid, expected in (
        (Monoid.SUM, x.sum(1, dtype=dtype.numpy)),
        (Monoid.MAX, x.max(1)),
        (Monoid.MIN, x.min(1)),
    ):
        result = reduce_rows(row_reduction(monoid, dtype, columns, Vector(lanes, 2)), x)
        np.testing.assert_allclose(result, expected, rtol=2e-6, atol=1e-5)


@pytest.mark.parametrize("mapping", [None, Vector(8, 4), Vector(1, 1), Vector(1, 4), Vector(8, 1)])
@pytest.mark.parametrize("monoid", list(Monoid), ids=lambda m: m.value)
def test_every_monoid(monoid: Monoid, mapping: Vector | None) -> None:
    dtypes = [bool_, int32] if monoid in (Monoid.AND, Monoid.OR) else [float32, int64, bool_]
    if monoid in (Monoid.SUM, Monoid.PROD):
        dtypes = [float32, int64]
    numpy = {
        Monoid.SUM: lambda x: x.sum(1, dtype=x.dtype),
        Monoid.PROD: lambda x: x.prod(1, dtype=x.dtype),
        Monoid.MAX: lambda x: x.max(1),
        Monoid.MIN: lambda x: x.min(1),
        Monoid.ARGMAX: lambda x: x.argmax(1),
        Monoid.ARGMIN: lambda x: x.argmin(1),
        Monoid.AND: lambda x: np.bitwise_and.reduce(x, 1),
        Monoid.OR: lambda x: np.bitwise_or.reduce(x, 1),
    }[monoid]
    for dtype in dtypes:
        for columns in (1, 13, 71):
            x = numbers((4, columns), dtype, columns)
            result = reduce_rows(row_reduction(monoid, dtype, columns, mapping), x)
            np.testing.assert_allclose(result, numpy(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("columns", [3, 17, 70])
@pytest.mark.parametrize("monoid", [Monoid.MAX, Monoid.MIN, Monoid.ARGMAX, Monoid.ARGMIN])
def test_nan_wins_and_the_first_of_equals(monoid: Monoid, columns: int) -> None:
    rng = np.random.default_rng(columns)
    x = rng.integers(-2, 3, (40, columns)).astype("f4")
    for r in range(10, 30):
        x[r, rng.integers(0, columns, 2)] = np.nan
    x[30:34] = -np.inf
    x[34:38] = np.inf
    with np.errstate(invalid="ignore"):
        expected = getattr(np, monoid.value)(x, axis=1)
    for mapping in (Vector(8, 2), None):
        result = reduce_rows(row_reduction(monoid, float32, columns, mapping), x)
        np.testing.assert_array_equal(result, expected)


def softmax_kernel(columns: int, lanes: int, unroll: int) -> Kernel:
    rows = Var("rows")
    r = Var("r", extent=rows)
    x, y = Buffer("x", F, (rows, columns)), Buffer("y", F, (rows, columns))
    e = Buffer("e", F, (columns,), space="row")
    a, b, c = (Var("c", extent=columns) for _ in range(3))
    m, s, t, scale = (Var(name, F) for name in ("m", "s", "t", "scale"))
    how = Vector(lanes, unroll)
    exp = apply("exp", apply("sub", Load(x, (r, b)), m))
    body: tuple[Stmt, ...] = (
        Alloc(e),
        For(a, columns, Tree((Monoid.MAX,)), (), ((m, f32(-np.inf)),), (Load(x, (r, a)),), how),
        For(
            b,
            columns,
            Tree((Monoid.SUM,)),
            (Let(t, exp), Store(e, (b,), t)),
            ((s, f32(0)),),
            (t,),
            how,
        ),
        Let(scale, apply("div", f32(1), s)),
        For(
            c,
            columns,
            AnyOrder(),
            (Store(y, (r, c), apply("mul", Load(e, (c,)), scale)),),
            mapping=how,
        ),
    )
    outer = For(r, rows, AnyOrder(), body, mapping=Parallel())
    return Kernel("softmax", (Param(x, Role.IN), Param(y, Role.OUT)), (rows,), (outer,))


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("lanes", [1, 8])
def test_softmax(columns: int, lanes: int) -> None:
    x = np.random.default_rng(0).standard_normal((6, columns)).astype("f4") * 4
    y = np.zeros_like(x)
    run(softmax_kernel(columns, lanes, 2), x, y, sizes=(6,), chunks=((0, 2), (2, 6)))
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=2e-6, atol=1e-7)


def test_chunks_do_not_change_bits() -> None:
    x = np.random.default_rng(0).standard_normal((9, 71)).astype("f4")
    native = Native(softmax_kernel(71, 8, 4))
    results = []
    for chunks in (((0, 9),), ((0, 4), (4, 9)), tuple((i, i + 1) for i in range(9))):
        y = np.zeros_like(x)
        native(x, y, sizes=(9,), chunks=chunks)
        results.append(y)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


@pytest.mark.parametrize("columns", [1, 5, 24, 71])
def test_partial_sums_and_finish(columns: int) -> None:
    """Column sums and a scalar sum as partials; `finish` reads the combined values."""
    rows = Var("rows")
    r, c, d = Var("r", extent=rows), Var("c", extent=columns), Var("d", extent=columns)
    x, mean = Buffer("x", F, (rows, columns)), Buffer("mean", F, (columns,))
    sums, total = Buffer("sums", F, (columns,)), Buffer("total", F, ())
    largest = Buffer("largest", F, (columns,))
    value = Load(x, (r, c))
    s = Var("s", F)
    inner = For(
        c,
        columns,
        Tree((Monoid.SUM,)),
        (
            Store(sums, (c,), value, Monoid.SUM),
            Store(largest, (c,), value, Monoid.MAX),
        ),
        ((s, f32(0)),),
        (value,),
        Vector(8, 2),
    )
    body = (inner, Store(total, (), s, Monoid.SUM))
    outer = For(r, rows, AnyOrder(), body, mapping=Parallel())
    average = apply("div", Load(sums, (d,)), apply("cast", rows, dtype=F))
    end = For(
        d,
        columns,
        AnyOrder(),
        (Store(mean, (d,), apply("add", average, Load(largest, (d,)))),),
        mapping=Vector(8, 2),
    )
    params = (
        Param(x, Role.IN),
        Param(sums, Role.PARTIAL, Monoid.SUM),
        Param(total, Role.PARTIAL, Monoid.SUM),
        Param(mean, Role.OUT),
        Param(largest, Role.PARTIAL, Monoid.MAX),
    )
    native = Native(Kernel("columns", params, (rows,), (outer,), (end,)))
    data = np.random.default_rng(0).standard_normal((23, columns)).astype("f4")
    result = np.zeros(columns, "f4")
    chunks = ((0, 7), (7, 14), (14, 23))
    column, whole, top = native(data, result, sizes=(23,), chunks=chunks)
    np.testing.assert_allclose(column, data.sum(0), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(whole, data.sum(), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(top, data.max(0))
    np.testing.assert_allclose(result, data.mean(0) + data.max(0), rtol=1e-5, atol=1e-5)


def test_column_reduction_in_lanes() -> None:
    """A tree loop inside a vector loop over another axis: each lane has its own column."""
    rows, columns = 9, 21
    r, c = Var("r", extent=rows), Var("c", extent=columns)
    x, out = Buffer("x", F, (rows, columns)), Buffer("out", F, (columns,))
    where = Buffer("where", int64, (columns,))
    best, at = Var("best", F), Var("at", int64)
    inner = For(
        r,
        rows,
        Tree((Monoid.ARGMAX,)),
        (),
        ((best, f32(-np.inf)), (at, const(0, int64))),
        (Load(x, (r, c)), r),
    )
    body = (inner, Store(out, (c,), best), Store(where, (c,), at))
    loop = For(c, columns, AnyOrder(), body, mapping=Vector(8, 1))
    params = (Param(x, Role.IN), Param(out, Role.OUT), Param(where, Role.OUT))
    data = np.random.default_rng(0).standard_normal((rows, columns)).astype("f4")
    data[3, 5] = np.nan
    top, place = np.zeros(columns, "f4"), np.zeros(columns, "i8")
    run(Kernel("columns", params, (), (loop,)), data, top, place, chunks=((0, columns),))
    np.testing.assert_array_equal(top, data.max(0))
    np.testing.assert_array_equal(place, data.argmax(0))


@pytest.mark.parametrize("vector", [None, Vector(8, 2)])
@pytest.mark.parametrize("unrolled", [None, Unroll()])
def test_serial_carry(vector: Vector | None, unrolled: Unroll | None) -> None:
    """A running sum down each column, and memory of its own for each lane."""
    rows, columns = 5, 19
    r, c, q = Var("r", extent=rows), Var("c", extent=columns), Var("q", extent=rows)
    x, out = Buffer("x", F, (rows, columns)), Buffer("out", F, (rows, columns))
    row = Buffer("kept", F, (rows,), space="row")
    state = Var("state", F)
    following = Var("following", F)
    body: tuple[Stmt, ...] = (
        Alloc(row),
        For(
            r,
            rows,
            Serial(),
            (
                Let(following, apply("add", state, Load(x, (r, c)))),
                Store(row, (r,), following),
            ),
            ((state, f32(0)),),
            (following,),
            unrolled,
        ),
        For(
            q,
            rows,
            AnyOrder(),
            (Store(out, (q, c), apply("sub", Load(row, (q,)), state)),),
            mapping=unrolled,
        ),
    )
    loop = For(c, columns, AnyOrder(), body, mapping=vector or Parallel())
    data = np.random.default_rng(0).standard_normal((rows, columns)).astype("f4")
    result = np.zeros_like(data)
    kernel = Kernel("scan", (Param(x, Role.IN), Param(out, Role.OUT)), (), (loop,))
    run(kernel, data, result, chunks=((0, 3), (3, columns)))
    running = np.zeros_like(data)
    state_ = np.zeros(columns, "f4")
    for k in range(rows):
        state_ = state_ + data[k]
        running[k] = state_
    np.testing.assert_array_equal(result, running - state_)


def test_uniform_condition_and_empty_loops() -> None:
    rows, width = Var("rows"), Var("width")
    r, c = Var("r", extent=rows), Var("c", extent=width)
    x, out = Buffer("x", F, (rows, width)), Buffer("out", F, (rows,))
    s = Var("s", F)
    loop = For(c, width, Tree((Monoid.SUM,)), (), ((s, f32(2)),), (Load(x, (r, c)),), Vector(8, 2))
    odd = apply("eq", apply("and", r, const(1, int64)), const(1, int64))
    body = (loop, If(odd, (Store(out, (r,), s),)))
    outer = For(r, rows, AnyOrder(), body, mapping=Parallel())
    kernel = Kernel("odd", (Param(x, Role.IN), Param(out, Role.OUT)), (rows, width), (outer,))
    native = Native(kernel)
    for n in (0, 1, 7, 16, 50):
        data = np.random.default_rng(n).standard_normal((6, n)).astype("f4")
        result = np.full(6, -1, "f4")
        native(data, result, sizes=(6, n), chunks=((0, 6), (6, 6)))
        np.testing.assert_allclose(result[1::2], 2 + data.sum(1)[1::2], rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(result[::2], -1)


def test_accumulating_scatter_meets_in_one_element() -> None:
    size, height = Var("n"), 4
    i = Var("i", extent=size)
    place, x = Buffer("place", int64, (size,)), Buffer("x", F, (size,))
    out = Buffer("out", F, (height,))
    store = Store(out, (Load(place, (i,)),), Load(x, (i,)), Monoid.SUM)
    loop = For(i, size, AnyOrder(), (store,), mapping=Vector(8, 2))
    params = (Param(place, Role.IN), Param(x, Role.IN), Param(out, Role.INOUT))
    rng = np.random.default_rng(0)
    k, v = rng.integers(0, height, 37), rng.standard_normal(37).astype("f4")
    result = np.zeros(height, "f4")
    run(Kernel("scatter", params, (size,), (loop,)), k, v, result, sizes=(37,), chunks=((0, 37),))
    expected = np.zeros(height, "f4")
    np.add.at(expected, k, v)
    np.testing.assert_array_equal(result, expected)


def test_loads_follow_stores() -> None:
    """Values read from memory that is written in between are read again."""
    n = 10
    i = Var("i", extent=n)
    x, y = Buffer("x", F, (n,)), Buffer("y", F, (n,))
    before, after = Var("before", F), Var("after", F)
    body: tuple[Stmt, ...] = (
        Let(before, Load(x, (i,))),
        Store(x, (i,), apply("add", before, f32(1))),
        Let(after, Load(x, (i,))),
        Store(x, (const(0, int64),), f32(9)),
        Store(y, (i,), apply("add", apply("mul", before, f32(100)), after)),
    )
    for mapping in (Parallel(), Vector(1, 2)):
        loop = For(i, n, AnyOrder(), body, mapping=mapping)
        kernel = Kernel("order", (Param(x, Role.INOUT), Param(y, Role.OUT)), (), (loop,))
        data, result = np.arange(n, dtype="f4"), np.zeros(n, "f4")
        run(kernel, data, result, chunks=((0, n),))
        np.testing.assert_array_equal(result, np.arange(n) * 101 + 1)
        np.testing.assert_array_equal(data, [9, *range(2, n + 1)])


def test_every_dtype_through_row_memory() -> None:
    for dtype in ALL:
        n = 21
        r, c, d = Var("r", extent=3), Var("c", extent=n), Var("d", extent=n)
        x, y = Buffer("x", dtype, (3, n)), Buffer("y", dtype, (3, n))
        row = Buffer("row", dtype, (n,), space="row")
        last: Any = apply("sub", const(n - 1, int64), d)
        body = (
            Alloc(row),
            For(c, n, AnyOrder(), (Store(row, (c,), Load(x, (r, c))),), mapping=Vector(8, 2)),
            For(d, n, AnyOrder(), (Store(y, (r, d), Load(row, (last,))),), mapping=Vector(8, 2)),
        )
        outer = For(r, 3, AnyOrder(), body, mapping=Parallel())
        data = numbers((3, n), dtype)
        result = np.zeros_like(data)
        run(
            Kernel("flip", (Param(x, Role.IN), Param(y, Role.OUT)), (), (outer,)),
            data,
            result,
            chunks=((0, 3),),
        )
        np.testing.assert_array_equal(result, data[:, ::-1])
