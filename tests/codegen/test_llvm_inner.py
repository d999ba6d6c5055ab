"""Tiles of inner products against what kernels mean in NumPy, and against NumPy itself."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, float32, float64
from fusegrad.codegen.expr import Buffer, Load, Var, const, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Alloc, For, Inner, Kernel, Parallel, Param, Role, Stmt, Store
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.targets.base import host, named
from fusegrad.codegen.verify import VerifyError, verify_kernel
from tests.codegen.llvm_support import Native

TARGETS = [t for t in ("avx512", "avx2") if named(t).vector_bytes <= host().vector_bytes]
START = 0.5
A_ROW, A_STEP, B_STEP = 211, 70, 90
COLUMNS = (3, 0, 40, 41, 7, 7, 200, 11, 5)


def each(shape: tuple[int, ...], target: Buffer, source: Buffer | None = None) -> Stmt:
    i, j = Var("i"), Var("j")
    value = Load(source, (i, j)) if source is not None else const(START, target.dtype)
    inner = For(j, shape[1], AnyOrder(), (Store(target, (i, j), value),))
    return For(i, shape[0], AnyOrder(), (inner,))


def product(dtype: DType, rows: int, alive: int, columns: int, outer: int, length: int) -> Kernel:
    """A tile at row 1 and column 2 of what is added to."""
    a, b = (Buffer(name, dtype, (1000,)) for name in "ab")
    shape = (rows + 2, columns + 3)
    out = Buffer("out", dtype, shape)
    acc = Buffer("acc", dtype, shape, space="chunk")
    inner = Inner(
        acc, index(1), index(2), a, index(5), A_ROW, A_STEP, b, index(4), COLUMNS[:columns], B_STEP,
        index(outer), index(length), rows, index(alive),
    )  # fmt: skip
    body = (Alloc(acc), each(shape, acc), inner, each(shape, out, acc))
    loop = For(Var("item"), 1, AnyOrder(), body, mapping=Parallel())
    params = (Param(a, Role.IN), Param(b, Role.IN), Param(out, Role.OUT))
    kernel = Kernel("k", params, (), (loop,))
    verify_kernel(kernel)
    return kernel


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize(
    ("rows", "alive", "columns", "outer", "length"),
    [(4, 4, 6, 3, 64), (4, 2, 6, 2, 37), (1, 1, 1, 1, 1), (3, 3, 5, 1, 16), (2, 1, 9, 4, 15),
     (5, 5, 4, 2, 33), (7, 6, 3, 1, 47)],
)  # fmt: skip
def test_inner_products(
    target: str, dtype: DType, rows: int, alive: int, columns: int, outer: int, length: int
) -> None:
    if columns > named(target).lanes(dtype):
        columns = named(target).lanes(dtype)
    kernel = product(dtype, rows, min(alive, 4), columns, outer, length)
    alive = min(alive, 4)
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal(1000).astype(dtype.numpy) for _ in range(2))
    shape = (rows + 2, columns + 3)
    meant, found = (np.zeros(shape, dtype.numpy) for _ in range(2))
    interpret_kernel(kernel, [a, b, meant], [])
    Native(kernel, named(target))(a, b, found, chunks=((0, 1),))
    expected = np.full(shape, START)
    for i in range(rows):
        for j in range(columns):
            for n in range(outer):
                first = 5 + min(i, alive - 1) * A_ROW + n * A_STEP
                second = 4 + COLUMNS[j] + n * B_STEP
                left, right = a[first : first + length], b[second : second + length]
                expected[1 + i, 2 + j] += left.astype(np.float64) @ right.astype(np.float64)
    tolerance = 1e-5 if dtype is float32 else 1e-13
    np.testing.assert_allclose(meant, expected, tolerance, tolerance)
    np.testing.assert_allclose(found, expected, tolerance, 10 * tolerance)


def test_what_lies_behind_the_sum_is_not_multiplied() -> None:
    """Not even by zero."""
    kernel = product(float32, 2, 2, 3, 2, 21)
    a, b = (np.full(1000, np.nan, np.float32) for _ in range(2))
    for n in range(2):
        for i in range(2):
            a[5 + i * A_ROW + n * A_STEP :][:21] = 1
        for column in COLUMNS[:3]:
            b[4 + column + n * B_STEP :][:21] = 2
    found = np.zeros((4, 6), np.float32)
    Native(kernel, host())(a, b, found, chunks=((0, 1),))
    np.testing.assert_array_equal(found[1:3, 2:5], START + 84)


def test_inner_products_are_printed() -> None:
    text = print_kernel(product(float32, 4, 3, 2, 3, 64))
    assert "inner acc[1 + i, 2 + j] += a[5 + i * 211 + n * 70 + k]" in text
    assert ". b[4 + (3, 0)[j] + n * 90 + k]" in text
    assert "for n < 3, k < 64, i < 4, 3, j < 2" in text


def test_inner_products_are_checked() -> None:
    kernel = product(float32, 4, 3, 2, 3, 64)
    (loop,) = kernel.body
    assert isinstance(loop, For)
    inner = next(s for s in loop.body if isinstance(s, Inner))
    other = Buffer("b", float64, (1000,))
    wrong = Inner(**{**vars(inner), "b": other})
    body = tuple(wrong if s is inner else s for s in loop.body)
    params = (kernel.params[0], Param(other, Role.IN), kernel.params[2])
    whole = For(loop.var, 1, AnyOrder(), body, mapping=Parallel())
    with pytest.raises(VerifyError, match="b is f64, not f32"):
        verify_kernel(Kernel("k", params, (), (whole,)))
