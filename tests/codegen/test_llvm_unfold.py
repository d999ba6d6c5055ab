"""Windows as matrices, and contractions over them, against what kernels mean in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, float32, float64
from fusegrad.codegen.expr import Buffer, Load, Var, const, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import (
    Alloc,
    For,
    Kernel,
    Parallel,
    Param,
    Role,
    Stmt,
    Store,
    Unfold,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.targets.base import host, named
from fusegrad.codegen.verify import verify_kernel
from tests.codegen.llvm_support import Native

WIDEST = host().vector_bytes
TARGETS = [t for t in ("avx512", "avx2", "sse4") if named(t).vector_bytes <= WIDEST]
UNTOUCHED = 7.0


def each(shape: tuple[int, ...], target: Buffer, source: Buffer | None = None) -> Stmt:
    """Every element of a small matrix from another one, or a number."""
    i, j = Var("i"), Var("j")
    value = Load(source, (i, j)) if source is not None else const(UNTOUCHED, target.dtype)
    inner = For(j, shape[1], AnyOrder(), (Store(target, (i, j), value),))
    return For(i, shape[0], AnyOrder(), (inner,))


def kernel_of(statements: list[Stmt], params: list[Param]) -> Kernel:
    loop = For(Var("item"), 1, AnyOrder(), tuple(statements), mapping=Parallel())
    kernel = Kernel("k", tuple(params), (), (loop,))
    verify_kernel(kernel)
    return kernel


Geometry = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]
Case = tuple[tuple[int, ...], Geometry, tuple[int, ...], tuple[int, int, int, int], int]
CASES: dict[str, Case] = {
    # Shape of x; row and column extents and steps; low; first row, rows, first column, columns;
    # and the width of the matrix.
    "padded": ((2, 3, 5, 7), ((3, 3, 3), (2, 5, 7), (1, 1), (1, 1)), (1, 1), (0, 27, 3, 40), 48),
    "stride 2": ((1, 2, 9, 33), ((2, 2, 3), (1, 4, 16), (1, 1), (2, 2)), (0, 1),
                 (0, 12, 0, 64), 64),
    "stride 3": ((2, 2, 9, 20), ((2, 1, 2), (2, 3, 6), (1, 2), (3, 3)), (1, 0), (0, 4, 5, 31), 32),
    "part of rows": ((3, 2, 6, 40), ((3, 2, 2), (2, 5, 39), (1, 1), (1, 1)), (0, 0),
                     (4, 8, 7, 70), 80),
    "cut": ((2, 1, 6, 20), ((1, 2, 2), (2, 3, 16), (1, 1), (1, 1)), (-2, -3), (0, 4, 0, 96), 96),
    "one axis": ((2, 3, 50), ((3, 5), (2, 47), (2,), (1,)), (3,), (0, 15, 40, 54), 64),
    "three axes": ((1, 2, 3, 4, 5), ((2, 2, 2, 2), (1, 2, 3, 4), (1,) * 3, (1,) * 3), (0,) * 3,
                   (0, 16, 0, 24), 32),
    "beyond": ((1, 1, 3, 4), ((1, 5, 5), (1, 9, 10), (1, 1), (1, 1)), (5, 5), (0, 25, 0, 90), 96),
    "lines": ((2, 3, 5, 7), ((3, 1, 1), (2, 6, 9), (1, 1), (1, 1)), (1, 2), (1, 2, 36, 54), 64),
    "lines apart": ((2, 3, 5, 40), ((3, 1, 2), (2, 5, 19), (1, 1), (1, 2)), (0, 2),
                    (0, 6, 38, 152), 160),
    "one in two lines": ((2, 3, 5, 15), ((3, 1, 1), (2, 5, 9), (1, 1), (1, 2)), (0, 1),
                         (0, 2, 0, 90), 90),
    "lines three apart": ((2, 3, 50), ((3, 3), (2, 18), (1,), (3,)), (2,), (0, 9, 0, 36), 64),
    "rest": ((2, 3, 5, 7), ((3, 3, 3), (2, 5, 7), (1, 1), (1, 1)), (1, 1), (0, 27, 59, 11), 61),
    "nothing but rest": ((2, 3, 5, 7), ((3, 2, 2), (2, 5, 7), (1, 1), (1, 1)), (1, 1),
                         (0, 8, 70, 0), 23),
    "no lane": ((1, 2, 4, 4), ((2, 1, 1), (1, 4, 4), (1, 1), (1, 1)), (0, 0), (0, 2, 0, 0), 16),
}  # fmt: skip


def unfolding(case: str, dtype: DType) -> tuple[Kernel, Buffer, Buffer]:
    shape, (rows, columns, row_steps, column_steps), low, box, width = CASES[case]
    x = Buffer("x", dtype, (math.prod(shape),))
    strides = [math.prod(shape[a + 1 :]) for a in range(len(shape))]
    # Rows of images where a row has all of them, else of channels.
    first, second = (1, 0) if rows[0] == shape[1] else (0, 1)
    view = Buffer("x", dtype, (1, 1, 1, *shape[2:]),
                  (1, strides[first], strides[second], *strides[2:]), "view", x)  # fmt: skip
    out = Buffer("out", dtype, (math.prod(rows), width))
    tile = Buffer("t", dtype, out.shape, space="chunk")
    numbers = [index(n) for n in box]
    unfold = Unfold(tile, view, index(0), rows, columns, row_steps, column_steps, low, *numbers)
    extents = (math.prod(rows), width)
    body = [Alloc(tile), each(extents, tile), unfold, each(extents, out, tile)]
    return kernel_of(body, [Param(x, Role.IN), Param(out, Role.OUT)]), x, out


def windows_of(case: str, x: np.ndarray) -> np.ndarray:
    """The same, one element after the other."""
    shape, (rows, columns, row_steps, column_steps), low, box, width = CASES[case]
    first_row, alive, first_column, count = box
    data = x.reshape(shape)
    result = np.full((math.prod(rows), width), UNTOUCHED, x.dtype)
    for i in range(min(alive, len(result))):
        for j in range(width):
            result[i, j] = 0
            if j >= count:
                continue
            r = np.unravel_index(first_row + i, rows)
            c = np.unravel_index(first_column + j, columns)
            at = [int(a) * s + int(b) * t - z for a, b, s, t, z in zip(
                r[1:], c[1:], row_steps, column_steps, low, strict=True)]  # fmt: skip
            outer = (c[0], r[0]) if rows[0] == shape[1] else (r[0], c[0])
            if all(0 <= a < e for a, e in zip(at, shape[2:], strict=True)):
                result[i, j] = data[(*outer, *at)]
    return result


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("case", CASES)
def test_windows_are_unfolded(case: str, target: str) -> None:
    for dtype in (float32, float64):
        kernel, x, out = unfolding(case, dtype)
        values = np.random.default_rng(1).standard_normal(x.shape[0]).astype(dtype.numpy)
        expected = windows_of(case, values)
        meant = np.zeros(out.shape, dtype.numpy)  # type: ignore[arg-type]
        interpret_kernel(kernel, [values, meant], [])
        np.testing.assert_array_equal(meant, expected)
        found = np.zeros_like(meant)
        Native(kernel, named(target))(values, found, chunks=((0, 1),))
        np.testing.assert_array_equal(found, expected)


def test_windows_are_printed() -> None:
    kernel, _, _ = unfolding("stride 2", float32)
    text = print_kernel(kernel)
    assert "unfold t[i, j] = x[0, r0, c0, r1 + c1 * 2, r2 + c2 * 2 - 1]" in text
    assert "of 2*2*3, c = 0 + j of 1*4*16 for i < 12, j < 64, else 0" in text
