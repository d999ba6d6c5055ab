"""Flat vector kernels against NumPy: every primitive, odd sizes, all dtypes, special values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import (
    ALL,
    DType,
    bool_,
    float32,
    float64,
    int8,
    int32,
    int64,
    uint8,
    uint32,
)
from fusegrad.codegen.expr import Buffer, Const, Expr, Load, Var, const
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, If, Kernel, Parallel, Param, Role, Store, Vector
from fusegrad.codegen.meanings import cast
from fusegrad.codegen.scalar import TABLE, apply
from fusegrad.codegen.targets.base import host
from tests.codegen.llvm_support import Array, Native, run

COMPUTED = [dtype for dtype in ALL if not dtype.is_half]
SIZES = (1, 3, 7, 15, 17, 63, 64, 65, 1023)
GUARD = 5


def flat(
    values: list[Expr], inputs: list[Buffer], i: Var, size: Var, lanes: int, unroll: int
) -> Kernel:
    """``out_k[i] = value_k`` for all i."""
    outputs = [Buffer(f"y{k}", v.dtype, (size,)) for k, v in enumerate(values)]
    params = [Param(b, Role.IN) for b in inputs] + [Param(b, Role.OUT) for b in outputs]
    body = tuple(Store(b, (i,), v) for b, v in zip(outputs, values, strict=True))
    loop = For(i, size, AnyOrder(), body, mapping=Vector(lanes, unroll))
    return Kernel("flat", tuple(params), (size,), (loop,))


def elementwise(values: Any, dtypes: list[DType], lanes: int = 8, unroll: int = 2) -> Native:
    """A compiled flat kernel; `values` makes the outputs of the loaded inputs."""
    size = Var("n")
    i = Var("i", extent=size)
    inputs = [Buffer(f"x{k}", d, (size,)) for k, d in enumerate(dtypes)]
    made = values(*(Load(b, (i,)) for b in inputs))
    made = made if isinstance(made, list) else [made]
    return Native(flat(made, inputs, i, size, lanes, unroll))


def run_flat(native: Native, *inputs: Array, chunks: Any = None) -> list[Array]:
    """Outputs of a flat kernel; what lies behind them must be left alone."""
    n = len(inputs[0])
    count = len(inputs)
    outputs = [
        np.full(n + GUARD, 77).astype(p.buffer.dtype.numpy) for p in native.kernel.params[count:]
    ]
    native(*inputs, *outputs, sizes=(n,), chunks=chunks or ((0, n),))
    for output in outputs:
        assert (output[n:] == np.full(1, 77).astype(output.dtype)).all()
    return [output[:n] for output in outputs]


def samples(dtype: DType, n: int, seed: int = 0) -> Array:
    """Random values with the special ones among them."""
    rng = np.random.default_rng(seed)
    if dtype is bool_:
        return rng.integers(0, 2, n).astype(bool)
    if dtype.is_float:
        x = rng.standard_normal(n) * 10.0 ** rng.integers(-3, 4, n)
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, -1.5, 2.5, 1e30]
        where = rng.integers(0, n, n // 3)
        x[where] = rng.choice(special, len(where))
        return np.asarray(cast(x, dtype))
    info = np.iinfo(dtype.numpy)
    x = rng.integers(info.min, info.max, n, dtype=dtype.numpy, endpoint=True)
    small = rng.integers(0 if dtype.kind == "uint" else -9, 10, n)
    return np.where(rng.random(n) < 0.5, x, small).astype(dtype.numpy)


def same(result: Array, expected: Array) -> None:
    """Equal to the bit, but any NaN is equal to any other."""
    assert result.dtype == expected.dtype
    if result.dtype.kind == "V":
        result, expected = result.astype(np.float32), expected.astype(np.float32)
    np.testing.assert_array_equal(result, expected)
    if result.dtype.kind == "f":
        numbers = ~np.isnan(expected)
        np.testing.assert_array_equal(np.signbit(result)[numbers], np.signbit(expected)[numbers])


UNARY = ["neg", "abs", "not", "sqrt", "floor", "ceil", "trunc", "rint"]
BINARY = ["add", "sub", "mul", "div", "minimum", "maximum", "and", "or", "xor", "shl", "shr"]
BINARY += ["eq", "ne", "lt", "le", "gt", "ge", "divtrunc", "remtrunc"]


def accepts(name: str, *dtypes: DType) -> bool:
    """Whether the table has the op for these dtypes."""
    try:
        TABLE[name].result(dtypes)
    except TypeError:
        return False
    return True


@pytest.mark.parametrize("dtype", COMPUTED, ids=str)
def test_unary_primitives(dtype: DType) -> None:
    names = [name for name in UNARY if accepts(name, dtype)]
    native = elementwise(lambda x: [apply(name, x) for name in names] or [x], [dtype])
    for n in (1, 7, 17, 203):
        x = samples(dtype, n, n)
        for name, result in zip(names, run_flat(native, x), strict=False):
            same(result, np.asarray(TABLE[name].meaning(x)))


@pytest.mark.parametrize("dtype", COMPUTED, ids=str)
def test_binary_primitives(dtype: DType) -> None:
    names = [name for name in BINARY if accepts(name, dtype, dtype)]
    native = elementwise(
        lambda x, y: [apply(name, x, y) for name in names], [dtype, dtype], unroll=1
    )
    for n in (1, 7, 17, 203):
        x, y = samples(dtype, n, n), samples(dtype, n, n + 1)
        if dtype.is_integer:
            y[y == 0] = 1
        for name, result in zip(names, run_flat(native, x, y), strict=True):
            expected = np.asarray(TABLE[name].meaning(x, y))
            if name in ("minimum", "maximum"):
                np.testing.assert_array_equal(result, expected)
            else:
                same(result, expected)


@pytest.mark.parametrize("source", ALL, ids=str)
def test_casts(source: DType) -> None:
    targets = [d for d in ALL if d is not source]
    native = elementwise(lambda x: [apply("cast", x, dtype=d) for d in targets], [source], unroll=1)
    x = samples(source, 45)
    if source.is_float:
        x = np.asarray(cast(np.clip(np.nan_to_num(cast(x, float64)), 0, 120), source))
    for dtype, result in zip(targets, run_flat(native, x), strict=True):
        same(result, np.asarray(cast(x, dtype)))


@pytest.mark.parametrize("target", [int8, int32, int64], ids=str)
def test_cast_of_special_floats_is_numpys(target: DType) -> None:
    native = elementwise(lambda x: apply("cast", x, dtype=target), [float64], lanes=4)
    x = np.array([np.nan, np.inf, -np.inf, 3e9, -3e9, 1e30, 300.7, -300.7])
    with np.errstate(invalid="ignore"):
        same(run_flat(native, x)[0], x.astype(target.numpy))


@pytest.mark.parametrize("lanes", [1, 4, 8, 16])
@pytest.mark.parametrize("unroll", [1, 2, 4])
def test_sizes_and_chunks(lanes: int, unroll: int) -> None:
    def value(x: Expr, y: Expr) -> Expr:
        return apply("maximum", apply("mul", x, y), apply("sub", x, const(1.5, float32)))

    native = elementwise(value, [float32, float32], lanes, unroll)
    for n in SIZES:
        x, y = samples(float32, n), samples(float32, n, 1)
        with np.errstate(all="ignore"):
            expected = np.maximum(x * y, x - np.float32(1.5))
        np.testing.assert_array_equal(run_flat(native, x, y)[0], expected)
        cut = n // 3
        chunks = ((0, cut), (cut, cut), (cut, n))
        np.testing.assert_array_equal(run_flat(native, x, y, chunks=chunks)[0], expected)


@pytest.mark.parametrize("lanes", [1, 8])
def test_mixed_widths(lanes: int) -> None:
    def value(x: Expr, k: Expr, flag: Expr, byte: Expr, d: Expr) -> list[Expr]:
        wide = apply("add", apply("cast", x, dtype=float64), d)
        chosen = apply("select", flag, k, apply("cast", byte, dtype=int64))
        return [wide, chosen, apply("lt", x, const(0, float32)), apply("add", byte, byte)]

    native = elementwise(value, [float32, int64, bool_, uint8, float64], lanes)
    for n in SIZES:
        dtypes = (float32, int64, bool_, uint8, float64)
        x, k, flag, byte, d = (samples(t, n, s) for s, t in enumerate(dtypes))
        wide, chosen, negative, twice = run_flat(native, x, k, flag, byte, d)
        with np.errstate(invalid="ignore"):
            same(wide, x.astype(np.float64) + d)
        same(chosen, np.where(flag, k, byte.astype(np.int64)))
        same(negative, x < 0)
        same(twice, byte + byte)


def test_select_fma_bitcast_and_rare() -> None:
    def value(x: Expr, y: Expr) -> list[Expr]:
        large = apply("gt", apply("abs", x), const(1000, float32))
        unusual = apply("sub", apply("neg", y), const(1, float32))
        return [
            apply("fma", x, y, y),
            apply("bitcast", x, dtype=uint32),
            apply("rare", large, apply("mul", x, y), unusual),
            apply("select", apply("lt", x, y), x, y),
        ]

    native = elementwise(value, [float32, float32])
    for n in SIZES:
        rng = np.random.default_rng(n)
        x, y = (rng.standard_normal(n).astype("f4") for _ in range(2))
        x[rng.integers(0, n, n // 8)] *= 1e5
        fused, bits, rare, least = run_flat(native, x, y)
        same(fused, np.asarray(TABLE["fma"].meaning(x, y, y)))
        same(bits, x.view(np.uint32))
        same(rare, np.where(abs(x) > 1000, -y - np.float32(1), x * y))
        same(least, np.where(x < y, x, y))


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
def test_expansions_are_used(dtype: DType) -> None:
    native = elementwise(lambda x: [apply("exp", x), apply("sin", x)], [dtype], unroll=1)
    x = np.random.default_rng(0).standard_normal(203).astype(dtype.numpy) * 20
    x[:4] = [np.nan, np.inf, -np.inf, 1e20]
    exp, sin = run_flat(native, x)
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(exp, np.exp(x), rtol=2e-6 if dtype is float32 else 1e-14)
        tolerance = 1e-6 if dtype is float32 else 1e-14
        np.testing.assert_allclose(sin, np.sin(x), atol=tolerance, rtol=tolerance)


def test_loop_variable_as_a_value() -> None:
    size = Var("n")
    i = Var("i", extent=size)
    number = apply("mul", apply("cast", i, dtype=float32), const(0.5, float32))
    native = Native(flat([number, i], [], i, size, 8, 2))
    for n in SIZES:
        values, counted = np.zeros(n, "f4"), np.zeros(n, "i8")
        native(values, counted, sizes=(n,), chunks=((0, n // 2), (n // 2, n)))
        same(counted, np.arange(n))
        same(values, np.arange(n, dtype="f4") * np.float32(0.5))


def test_two_dimensional_access() -> None:
    """Rows and columns of a transposed, a reversed, a strided and a broadcast operand."""
    rows, columns = 13, 21
    r, c = Var("r", extent=rows), Var("c", extent=columns)
    f = float32
    transposed = Buffer("t", f, (rows, columns), (1, rows))
    strided = Buffer("s", f, (rows, columns), (3 * columns, 3))
    plain, row = Buffer("p", f, (rows, columns)), Buffer("b", f, (columns,))
    column, out = Buffer("d", f, (rows,)), Buffer("o", f, (rows, columns))
    last = apply("sub", const(columns - 1, int64), c)
    total: Expr = Load(plain, (r, last))
    for operand in (
        Load(transposed, (r, c)),
        Load(strided, (r, c)),
        Load(row, (c,)),
        Load(column, (r,)),
    ):
        total = apply("add", total, operand)
    inner = For(c, columns, AnyOrder(), (Store(out, (r, c), total),), mapping=Vector(8, 1))
    loop = For(r, rows, AnyOrder(), (inner,), mapping=Parallel())
    buffers = (transposed, strided, plain, row, column)
    params = (*(Param(b, Role.IN) for b in buffers), Param(out, Role.OUT))
    rng = np.random.default_rng(0)
    t, s, p, b, d = (
        rng.standard_normal(shape).astype("f4")
        for shape in ((columns, rows), (rows, 3 * columns), (rows, columns), columns, rows)
    )
    result = np.zeros((rows, columns), "f4")
    run(Kernel("access", params, (), (loop,)), t, s, p, b, d, result, chunks=((0, rows),))
    same(result, ((((p[:, ::-1] + t.T) + s[:, ::3]) + b) + d[:, None]).astype("f4"))


def test_gather_and_scatter() -> None:
    size, height = Var("n"), 50
    i = Var("i", extent=size)
    table, place = Buffer("table", float32, (height,)), Buffer("place", int64, (size,))
    out, spread = Buffer("out", float32, (size,)), Buffer("spread", float32, (height,))
    flags = Buffer("flags", bool_, (height,))
    value = Load(table, (Load(place, (i,)),))
    flag = apply("select", Load(flags, (Load(place, (i,)),)), value, const(-1, float32))
    body = (Store(out, (i,), flag), Store(spread, (Load(place, (i,)),), apply("neg", value)))
    loop = For(i, size, AnyOrder(), body, mapping=Vector(8, 2))
    params = [Param(b, Role.IN) for b in (table, place, flags)]
    params += [Param(b, Role.OUT) for b in (out, spread)]
    native = Native(Kernel("gather", tuple(params), (size,), (loop,)))
    for n in (1, 7, 17, 50):
        rng = np.random.default_rng(n)
        x, k = rng.standard_normal(height).astype("f4"), rng.permutation(height)[:n]
        f = rng.random(height) < 0.5
        y, z = np.zeros(n, "f4"), np.zeros(height, "f4")
        native(x, k, f, y, z, sizes=(n,), chunks=((0, n),))
        same(y, np.where(f[k], x[k], np.float32(-1)))
        expected = np.zeros(height, "f4")
        expected[k] = -x[k]
        same(z, expected)


def test_condition_masks_loads_and_stores() -> None:
    """An index that is out of bounds where the condition does not hold."""
    size, height = Var("n"), 10
    i = Var("i", extent=size)
    place, table = Buffer("place", int64, (size,)), Buffer("table", float32, (height,))
    out, mark = Buffer("out", float32, (size,)), Buffer("mark", bool_, (size,))
    k = Load(place, (i,))
    inside = apply("and", apply("ge", k, const(0, int64)), apply("lt", k, const(height, int64)))
    then = (Store(out, (i,), Load(table, (k,))), Store(mark, (i,), Const(True, bool_)))
    loop = For(i, size, AnyOrder(), (If(inside, then),), mapping=Vector(8, 2))
    params = [Param(place, Role.IN), Param(table, Role.IN)]
    params += [Param(out, Role.OUT), Param(mark, Role.OUT)]
    native = Native(Kernel("guarded", tuple(params), (size,), (loop,)))
    for n in (1, 7, 16, 17, 40):
        rng = np.random.default_rng(n)
        x = rng.standard_normal(height).astype("f4")
        k_ = np.where(rng.random(n) < 0.5, rng.integers(0, height, n), 1 << 40)
        y, m = np.full(n, 5, "f4"), np.zeros(n, bool)
        native(k_, x, y, m, sizes=(n,), chunks=((0, n),))
        good = k_ < height
        same(y, np.where(good, x[np.where(good, k_, 0)], np.float32(5)))
        same(m, good)


def test_in_place_update() -> None:
    size = Var("n")
    i = Var("i", extent=size)
    x, y = Buffer("x", float32, (size,)), Buffer("y", float32, (size,))
    value = apply("mul", Load(x, (i,)), const(3, float32))
    body = (Store(y, (i,), value),)
    loop = For(i, size, AnyOrder(), body, mapping=Vector(8, 4))
    kernel = Kernel("inplace", (Param(x, Role.IN), Param(y, Role.OUT)), (size,), (loop,))
    data = np.arange(101, dtype="f4")
    run(kernel, data, data, sizes=(101,), chunks=((0, 101),))
    same(data, np.arange(101, dtype="f4") * np.float32(3))


def test_nontemporal_stores_are_fenced() -> None:
    size = Var("n")
    i = Var("i", extent=size)
    x, y = Buffer("x", float32, (size,)), Buffer("y", float32, (size,))
    lanes = host().lanes(float32)
    body = (Store(y, (i,), Load(x, (i,)), nontemporal=True),)
    loop = For(i, size, AnyOrder(), body, mapping=Vector(lanes, 4))
    native = Native(Kernel("stream", (Param(x, Role.IN), Param(y, Role.OUT)), (size,), (loop,)))
    assert "!nontemporal" in native.ir
    assert "sfence" in native.ir
    raw = np.zeros(1000 + 16, "f4")
    start = (-raw.ctypes.data % 64) // 4
    target = raw[start : start + 1000]
    source = np.random.default_rng(0).standard_normal(1000).astype("f4")
    native(source, target, sizes=(1000,), chunks=((0, 512), (512, 1000)))
    same(target, source)


@pytest.mark.parametrize("lanes", [4, 8, 16])
@pytest.mark.parametrize("given", [float32, float64, int32, int64, bool_], ids=str)
def test_a_last_lane_that_is_narrowed_is_stored_alone(given: DType, lanes: int) -> None:
    """One lane left over, in a type of fewer bytes: what lies behind it stays."""
    count = lanes + 1
    i = Var("i", extent=count)
    x = Buffer("x", given, (count,))
    results = [Buffer(f"y{k}", d, (count,)) for k, d in enumerate(ALL)]
    stores = tuple(Store(y, (i,), apply("cast", Load(x, (i,)), dtype=y.dtype)) for y in results)
    loop = For(i, count, AnyOrder(), stores, mapping=Vector(lanes, 1))
    rows = For(Var("r", extent=1), 1, AnyOrder(), (loop,), mapping=Parallel())
    params = (Param(x, Role.IN), *(Param(y, Role.OUT) for y in results))
    values = np.asarray(cast(np.arange(count) % 5 + 1, given))
    outputs = [np.full(count + GUARD, 77).astype(y.dtype.numpy) for y in results]
    Native(Kernel("narrow", params, (), (rows,)))(values, *outputs, chunks=((0, 1),))
    for output, y in zip(outputs, results, strict=True):
        same(output[:count], np.asarray(cast(values, y.dtype)))
        same(output[count:], np.full(GUARD, 77).astype(y.dtype.numpy))


def test_loops_beside_each_other_share_a_variable() -> None:
    """First it counts by lanes, then one by one inside of lanes of another."""
    rows, columns = 5, 20
    i, r, c = Var("i", extent=rows), Var("r", extent=3), Var("c", extent=columns)
    x = Buffer("x", float32, (rows, 4, columns))
    y = Buffer("y", float32, (rows, 4, columns))
    first, below = const(0, int64), apply("add", r, const(1, int64))
    store = Store(y, (i, first, c), Load(x, (i, first, c)))
    plain = For(c, columns, AnyOrder(), (store,), mapping=Vector(8, 1))
    doubled = apply("mul", Load(x, (i, below, c)), const(2.0, float32))
    inner = For(c, columns, AnyOrder(), (Store(y, (i, below, c), doubled),))
    lanes = For(r, 3, AnyOrder(), (inner,), mapping=Vector(8, 1))
    loop = For(i, rows, AnyOrder(), (plain, lanes), mapping=Parallel())
    kernel = Kernel("beside", (Param(x, Role.IN), Param(y, Role.OUT)), (), (loop,))
    values = np.random.default_rng(0).standard_normal((rows, 4, columns)).astype("f4")
    result = np.zeros_like(values)
    run(kernel, values, result, chunks=((0, rows),))
    same(result, values * np.array([1, 2, 2, 2], "f4")[:, None])
