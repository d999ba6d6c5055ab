"""Scans on a GPU: pieces by blocks, of every length, equal to the loop in order."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, float32, float64, int32
from fusegrad.codegen.expr import Buffer, Load, Var, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import Dealt, For, Kernel, Let, Param, Role, Serial, Store, nested
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.gpu import map_gpu
from fusegrad.codegen.targets.gpu import compile_gpu
from fusegrad.codegen.verify import verify_kernel
from tests.codegen.gpu_support import run


def scan(op: str, rows: tuple[int, ...], length: int, dtype: DType) -> Kernel:
    """The running value along the last axis, and twice of it."""
    n = Var("n")
    axes = [Var(f"i{a}", extent=r) for a, r in enumerate(rows)]
    x, y, z = (Buffer(name, dtype, (*rows, length)) for name in "xyz")
    k, s, a, t = Var("k", extent=length - 1), Var("s", dtype), Var("a", dtype), Var("t", dtype)
    after = (*axes, apply("add", k, index(1)))
    body = (
        Let(t, apply(op, a, Load(x, after))),
        Store(y, after, t),
        Store(z, after, apply("add", t, t)),
    )
    first = (*axes, index(0))
    loop = For(k, length - 1, Serial(), body, ((a, s),), (t,))
    start = (Let(s, Load(x, first)), Store(y, first, s), Store(z, first, apply("add", s, s)))
    nest: tuple[object, ...] = (*start, loop)
    for axis, extent in zip(reversed(axes), reversed(rows), strict=True):
        nest = (For(axis, extent, AnyOrder(), nest),)  # type: ignore[arg-type]
    params = (Param(x, Role.IN), Param(y, Role.OUT), Param(z, Role.OUT))
    return Kernel("scan", params, (n,), nest)  # type: ignore[arg-type]


def is_shared(kernel: Kernel) -> bool:
    """Whether threads share the last launch."""
    last = map_gpu(kernel, 1).stages[-1]
    return any(isinstance(s, For) and isinstance(s.mapping, Dealt) for s in nested(last.body))


@pytest.mark.parametrize(
    ("op", "dtype"),
    [("add", float32), ("add", int32), ("mul", float64), ("maximum", float32), ("minimum", int32)],
    ids=str,
)
@pytest.mark.parametrize(
    ("rows", "length"), [((), 200), ((3,), 130), ((2, 2), 2049), ((), 2050), ((2,), 4100)]
)
def test_every_length(op: str, rows: tuple[int, ...], length: int, dtype: DType) -> None:
    kernel = scan(op, rows, length, dtype)
    assert is_shared(kernel)
    for stage in map_gpu(kernel, 1).stages:
        verify_kernel(stage)
    rng = np.random.default_rng(length)
    if dtype.is_float:
        x = (1 + 0.01 * rng.standard_normal((*rows, length))).astype(dtype.numpy)
    else:
        x = rng.integers(-3, 4, (*rows, length)).astype(dtype.numpy)
    expected = [np.zeros_like(x), np.zeros_like(x)]
    interpret_kernel(kernel, [x, *expected], [1])
    made = compile_gpu(kernel, 1)
    assert ".local" not in made.ptx
    found = [np.full_like(x, 77), np.full_like(x, 77)]
    run(made, [x.copy(), *found], 1, 1 if not rows else None)
    for a, b in zip(found, expected, strict=True):
        if dtype.is_float and op in ("add", "mul"):
            np.testing.assert_allclose(a, b, rtol=3e-5 if dtype is float32 else 1e-12)
        else:
            np.testing.assert_array_equal(a, b)


def test_what_is_not_a_number_stays() -> None:
    kernel = scan("maximum", (), 500, float32)
    x = np.arange(500, dtype=np.float32)
    x[123] = np.nan
    y, z = np.zeros_like(x), np.zeros_like(x)
    run(compile_gpu(kernel, 1), [x, y, z], 1)
    np.testing.assert_array_equal(y, np.maximum.accumulate(x))


def test_pieces_of_pieces() -> None:
    """The starts of very many pieces are scanned by blocks as well."""
    stages = map_gpu(scan("add", (), 1 << 20, float32), 1).stages
    shared = [
        any(isinstance(s, For) and isinstance(s.mapping, Dealt) for s in nested(stage.body))
        for stage in stages
    ]
    assert shared == [False, False, True, True, True], "two first elements, and three scans"


def test_short_rows_are_the_work_of_a_thread() -> None:
    assert not is_shared(scan("add", (50,), 100, float32))


def columns(width: int, length: int, shift: int) -> Kernel:
    """``y[k + 1, c] = y[k, c + shift] + x[k + 1, c]``, sixteen columns after the other."""
    n = Var("n")
    x, y = (Buffer(name, float32, (length, width + shift)) for name in "xy")
    block, k = Var("block", extent=-(-width // 16)), Var("k", extent=length - 1)
    begin = apply("mul", block, index(16))
    extent = apply("minimum", index(16), apply("sub", index(width), begin))

    def loop(row: bool) -> For:
        c = Var("c", extent=16)
        at = apply("add", begin, c)
        if not row:
            return For(c, extent, AnyOrder(), (Store(y, (index(0), at), Load(x, (index(0), at))),))
        after = apply("add", k, index(1))
        former = Load(y, (k, apply("add", at, index(shift))))
        value = apply("add", former, Load(x, (after, at)))
        return For(c, extent, AnyOrder(), (Store(y, (after, at), value),))

    body = (loop(False), For(k, length - 1, Serial(), (loop(True),)))
    params = (Param(x, Role.IN), Param(y, Role.INOUT))
    return Kernel("columns", params, (n,), (For(block, -(-width // 16), AnyOrder(), body),))


@pytest.mark.parametrize("width", [32, 40])
def test_every_column_has_a_thread(width: int) -> None:
    kernel = columns(width, 9, 0)
    (stage,) = map_gpu(kernel, 1).stages
    (top,) = stage.body
    assert isinstance(top, For)
    assert top.extent == -(-width // 16) * 16
    x = np.random.default_rng(0).standard_normal((9, width)).astype(np.float32)
    expected, found = np.zeros_like(x), np.zeros_like(x)
    interpret_kernel(kernel, [x, expected], [1])
    run(compile_gpu(kernel, 1), [x.copy(), found], 1, 1)
    np.testing.assert_array_equal(found, expected)


def test_columns_that_read_each_other_stay_together() -> None:
    (stage,) = map_gpu(columns(32, 9, 1), 1).stages
    (top,) = stage.body
    assert isinstance(top, For)
    assert top.extent == 2
