"""Tiles of operands that lie anywhere, against what kernels mean in NumPy and NumPy itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, float32, float64, int64
from fusegrad.codegen.expr import Buffer, Load, Var, const, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Alloc, For, Kernel, Parallel, Param, Placed, Role, Stmt, Store
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.targets.base import host, named
from fusegrad.codegen.verify import VerifyError, verify_kernel
from tests.codegen.llvm_support import Native

TARGETS = [t for t in ("avx512", "avx2") if named(t).vector_bytes <= host().vector_bytes]
SIZE, WIDTH = 2000, 40
START = 0.5


def each(shape: tuple[int, ...], target: Buffer, source: Buffer | None = None) -> Stmt:
    i, j = Var("i"), Var("j")
    value = Load(source, (i, j)) if source is not None else const(START, target.dtype)
    inner = For(j, shape[1], AnyOrder(), (Store(target, (i, j), value),))
    return For(i, shape[0], AnyOrder(), (inner,))


def product(
    dtype: DType,
    tables: str,
    run: tuple[int, int] | None,
    extents: tuple[int, int, int, int],
    onward: bool,
) -> Kernel:
    """A tile at row 1; `tables` names what tables place: (r)ows of a, (a), or (b)."""
    rows, alive, outer, length = extents
    a, b = (Buffer(name, dtype, (SIZE,)) for name in "ab")
    first, second = (Buffer(name, int64, (16,)) for name in ("rows", "places"))
    out = Buffer("out", dtype, (rows + 2, WIDTH))
    acc = Buffer("acc", dtype, (rows + 2, WIDTH), space="chunk")
    tile = Placed(
        acc=acc, acc_row=index(1), height=rows, columns=32, a=a, a_start=index(5),
        a_rows=first if "r" in tables else 60, a_row=index(2), a_step=17,
        a_places=second if "a" in tables else 3, b=b, b_start=index(4), b_step=201,
        b_places=second if "b" in tables else 40, b_run=run, outer=index(outer),
        length=index(length), rows=index(alive), onward=onward,
    )  # fmt: skip
    shape = (rows + 2, WIDTH)
    body = (Alloc(acc), each(shape, acc), tile, each(shape, out, acc))
    loop = For(Var("item"), 1, AnyOrder(), body, mapping=Parallel())
    params = (*(Param(x, Role.IN) for x in (a, b, first, second)), Param(out, Role.OUT))
    kernel = Kernel("k", params, (), (loop,))
    verify_kernel(kernel)
    return kernel


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64])
@pytest.mark.parametrize(
    ("tables", "run", "extents", "onward"),
    [("ra", None, (5, 5, 3, 7), False), ("ra", None, (5, 2, 2, 4), True),
     ("b", None, (4, 4, 3, 6), False), ("b", (16, 90), (3, 2, 2, 5), True),
     ("", None, (2, 1, 1, 1), False), ("", None, (3, 3, 0, 4), True),
     ("r", None, (3, 3, 2, 0), False)],
)  # fmt: skip
def test_tiles_of_places(
    target: str,
    dtype: DType,
    tables: str,
    run: tuple[int, int] | None,
    extents: tuple[int, int, int, int],
    onward: bool,
) -> None:
    if run is not None:
        run = (named(target).lanes(dtype), run[1])
    kernel = product(dtype, tables, run, extents, onward)
    rows, alive, outer, length = extents
    rng = np.random.default_rng(3)
    a, b = (rng.standard_normal(SIZE).astype(dtype.numpy) for _ in range(2))
    first, second = (rng.integers(0, limit, 16) for limit in (900, 400))
    meant, found = (np.zeros((rows + 2, WIDTH), dtype.numpy) for _ in range(2))
    interpret_kernel(kernel, [a, b, first, second, meant], [])
    Native(kernel, named(target))(a, b, first, second, found, chunks=((0, 1),))
    expected = np.full((rows + 2, WIDTH), START)
    columns = np.arange(32)
    if run is not None:
        columns = columns // run[0] * run[1] + columns % run[0]
    for i in range(rows):
        row = min(i, alive - 1)
        at = 5 + (first[2 + row] if "r" in tables else row * 60)
        total = expected[1 + i, :32].copy() if onward else np.zeros(32)
        for n in range(outer):
            for k in range(length):
                left = at + n * 17 + (second[k] if "a" in tables else k * 3)
                right = 4 + n * 201 + (second[k] if "b" in tables else k * 40) + columns
                total += float(a[left]) * b[right].astype(np.float64)
        expected[1 + i, :32] = total
    np.testing.assert_array_equal(found, meant)
    tolerance = 1e-5 if dtype is float32 else 1e-13
    np.testing.assert_allclose(found, expected, tolerance, 10 * tolerance)


def test_tables_are_printed_and_checked() -> None:
    text = print_kernel(product(float32, "ra", (16, 90), (5, 4, 3, 7), True))
    assert "contract acc[1 + i, j] += a[5 + rows[2 + i] + n * 17 + places[k]]" in text
    text = " ".join(text.split())
    assert ". b[4 + n * 201 + k * 40 + j / 16 * 90 + j % 16] for n < 3, k < 7" in text
    kernel = product(float32, "b", None, (2, 2, 1, 1), False)
    (loop,) = kernel.body
    assert isinstance(loop, For)
    tile = loop.body[2]
    assert isinstance(tile, Placed)
    assert [t.name for t in tile.tables] == ["places"]
    table = Buffer("wrong", float32, (16,))
    body = (*loop.body[:2], replace(tile, b_places=table), *loop.body[3:])
    params = (*kernel.params, Param(table, Role.IN))
    wrong = replace(kernel, params=params, body=(replace(loop, body=body),))
    with pytest.raises(VerifyError, match="does not hold places"):
        verify_kernel(wrong)
