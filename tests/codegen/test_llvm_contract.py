"""Register tiles and packing against NumPy, at edges of every kind; and their assembly."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bool_, float32, float64, int64
from fusegrad.codegen.expr import Buffer, Load, Var, index
from fusegrad.codegen.kernel import (
    Alloc,
    Contract,
    Copy,
    For,
    Kernel,
    Parallel,
    Param,
    Role,
    Stmt,
    Store,
    Vector,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.targets.base import Features, host, named
from fusegrad.codegen.targets.llvm import assembly, emit_module
from tests.codegen.llvm_support import Native, run


def product(
    depth: int | Var,
    columns: int,
    tile: tuple[int, int],
    dtype: DType = float32,
    packed: bool = False,
    a_transposed: bool = False,
    b_transposed: bool = False,
    lanes: int = 8,
) -> Kernel:
    """``c = a @ b`` with a symbolic number of rows."""
    rows = Var("m")
    height, width = tile
    a_strides = (1, rows) if a_transposed else None
    a = Buffer("a", dtype, (rows, depth), a_strides)
    b = Buffer("b", dtype, (depth, columns), (1, depth) if b_transposed else None)
    c = Buffer("c", dtype, (rows, columns))
    acc = Buffer("acc", dtype, (height, width), space="tile")
    i0, j0, i, j = (Var(name) for name in ("i0", "j0", "i", "j"))
    r0, c0 = apply("mul", i0, index(height)), apply("mul", j0, index(width))
    alive_rows = apply("minimum", index(height), apply("sub", rows, r0))
    alive_columns = apply("minimum", index(width), apply("sub", index(columns), c0))
    if columns % width == 0:
        alive_columns = index(width)
    body: list[Stmt] = [Alloc(acc)]
    right, b_starts, b_alive = b, (index(0), c0), alive_columns
    if packed:
        assert isinstance(depth, int)
        right = Buffer("panel", dtype, (depth, width), space="tile")
        body.append(Alloc(right))
        body.append(Copy(right, b, (index(0), c0), 0, 1, index(depth), alive_columns))
        b_starts, b_alive = (index(0), index(0)), index(width)
    body.append(
        Contract(acc, a, (r0, index(0)), 0, 1, right, b_starts, 0, 1, depth, alive_rows, b_alive)
    )
    place = (apply("add", r0, i), apply("add", c0, j))
    store = Store(c, place, Load(acc, (i, j)))
    inner = For(j, alive_columns, AnyOrder(), (store,), mapping=Vector(lanes, 2))
    body.append(For(i, alive_rows, AnyOrder(), (inner,)))
    blocks = For(j0, -(-columns // width), AnyOrder(), tuple(body))
    outer = For(i0, rows, AnyOrder(), (blocks,), mapping=Parallel())
    sizes = (rows, depth) if isinstance(depth, Var) else (rows,)
    params = (Param(a, Role.IN), Param(b, Role.IN), Param(c, Role.OUT))
    return Kernel("product", params, sizes, (outer,))


def check_product(rows: int, depth: int, columns: int, tile: tuple[int, int], **how: Any) -> None:
    dtype = how.get("dtype", float32)
    symbolic = how.pop("symbolic", False)
    kernel = product(Var("k") if symbolic else depth, columns, tile, **how)
    rng = np.random.default_rng(rows * columns)
    a = rng.standard_normal((rows, depth)).astype(dtype.numpy)
    b = rng.standard_normal((depth, columns)).astype(dtype.numpy)
    c = np.full((rows + 1, columns), 7).astype(dtype.numpy)
    left = np.asfortranarray(a) if how.get("a_transposed") else a
    right = np.asfortranarray(b) if how.get("b_transposed") else b
    sizes = (rows, depth) if symbolic else (rows,)
    run(kernel, left, right, c, sizes=sizes, chunks=((0, -(-rows // tile[0])),))
    tolerance = 1e-4 if dtype is float32 else 1e-12
    np.testing.assert_allclose(c[:rows], a @ b, rtol=tolerance, atol=tolerance)
    assert (c[rows] == 7).all()


@pytest.mark.parametrize("columns", [1, 3, 8, 15, 16, 33])
@pytest.mark.parametrize("rows", [1, 5, 6, 7, 13])
def test_edges(rows: int, columns: int) -> None:
    check_product(rows, 17, columns, (6, 16))


@pytest.mark.parametrize("depth", [1, 3, 4, 7, 8, 64])
@pytest.mark.parametrize("symbolic", [False, True])
def test_depths(depth: int, symbolic: bool) -> None:
    check_product(7, depth, 19, (6, 16), symbolic=symbolic)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("a_transposed", [False, True])
@pytest.mark.parametrize("b_transposed", [False, True])
def test_layouts(dtype: DType, packed: bool, a_transposed: bool, b_transposed: bool) -> None:
    if b_transposed and not packed:
        pytest.skip("the tile reads rows of b, so a transposed b is packed")
    for columns in (16, 21):
        check_product(
            13,
            22,
            columns,
            (6, 8),
            dtype=dtype,
            packed=packed,
            a_transposed=a_transposed,
            b_transposed=b_transposed,
            lanes=32 // dtype.itemsize,
        )


@pytest.mark.parametrize("dtype", [float32, float64, int64, bool_], ids=str)
@pytest.mark.parametrize("source_axis", [0, 1])
def test_copy_pads_with_zeros(dtype: DType, source_axis: int) -> None:
    """Rows of the target are rows of the source, or its columns."""
    rows, columns = 21, 16
    height, width = Var("height"), Var("width")
    source = Buffer("source", dtype, (40, 40))
    panel = Buffer("panel", dtype, (rows, columns), space="tile")
    out = Buffer("out", dtype, (rows, columns))
    i, j = Var("i"), Var("j")
    start = (index(2), index(3))
    copy = Copy(panel, source, start, source_axis, 1 - source_axis, height, width)
    store = Store(out, (i, j), Load(panel, (i, j)))
    inner = For(j, columns, AnyOrder(), (store,), mapping=Vector(8, 2))
    body = (Alloc(panel), copy, For(i, rows, AnyOrder(), (inner,)))
    outer = For(Var("once"), 1, AnyOrder(), body, mapping=Parallel())
    params = (Param(source, Role.IN), Param(out, Role.OUT))
    native = Native(Kernel("pack", params, (height, width), (outer,)))
    rng = np.random.default_rng(0)
    data = (rng.standard_normal((40, 40)) * 9).astype(dtype.numpy)
    box = data[2:, 3:] if source_axis == 0 else data[2:, 3:].T
    for h, w in ((21, 16), (1, 1), (8, 16), (9, 15), (20, 7), (0, 3), (21, 8)):
        result = np.ones((rows, columns), dtype.numpy)
        native(data, result, sizes=(h, w), chunks=((0, 1),))
        expected = np.zeros((rows, columns), dtype.numpy)
        expected[:h, :w] = box[:h, :w]
        np.testing.assert_array_equal(result, expected)


def innermost_loop(text: str) -> list[str]:
    """The instructions of the loop with the most multiply-adds that jumps back to itself."""
    blocks = re.split(r"^(\.LBB\w+):", text, flags=re.M)
    best: list[str] = []
    for label, block in zip(blocks[1::2], blocks[2::2], strict=False):
        lines = [line.strip() for line in block.splitlines() if line.startswith("\t")]
        back = [k for k, line in enumerate(lines) if re.match(rf"j\w+\s+{label}$", line)]
        if back and sum("fmadd" in x for x in lines) > sum("fmadd" in x for x in best):
            best = lines[: back[-1] + 1]
    return best


@pytest.mark.parametrize(
    ("target", "tile", "lanes"),
    [
        (named("avx2"), (6, 16), 8),
        (named("avx512"), (14, 32), 16),
        (named("avx512"), (9, 48), 16),
        (named("avx512"), (12, 32), 16),
    ],
    ids=["avx2 6x16", "avx512 14x32", "avx512 9x48", "avx512 12x32"],
)
def test_accumulators_stay_in_registers(
    target: Features, tile: tuple[int, int], lanes: int
) -> None:
    kernel = product(784, 2 * tile[1], tile, lanes=lanes)
    loop = innermost_loop(assembly(emit_module([kernel], target), target))
    vectors = tile[1] // lanes
    steps, rest = divmod(sum("fmadd" in line for line in loop), tile[0] * vectors)
    assert steps
    assert not rest
    assert not [line for line in loop if "rsp" in line and "mm" in line]
    assert len(loop) <= steps * (tile[0] * vectors + tile[0] + vectors + 2) + 10


def test_transposition_is_shuffles() -> None:
    """No element goes through memory on its own."""
    rows = columns = 16
    source = Buffer("source", float32, (columns, rows))
    out = Buffer("out", float32, (rows, columns))
    copy = Copy(out, source, (index(0), index(0)), 1, 0, index(rows), index(columns))
    outer = For(Var("once"), 1, AnyOrder(), (copy,), mapping=Parallel())
    params = (Param(source, Role.IN), Param(out, Role.OUT))
    kernel = Kernel("transpose", params, (), (outer,))
    text = assembly(emit_module([kernel], host()), host())
    assert "vunpcklps" in text or not host().is_x86
    assert "vinsertps" not in text
    assert "vmovss" not in text
    data = np.random.default_rng(0).standard_normal((columns, rows)).astype("f4")
    result = np.zeros((rows, columns), "f4")
    run(kernel, data, result, chunks=((0, 1),))
    np.testing.assert_array_equal(result, data.T)


def test_kernels_share_tiles_and_packing() -> None:
    """One function for each size of tile and each kind of packing, however many kernels."""
    kernels = [
        replace(product(depth, columns, (6, 16), packed=True, b_transposed=True), name=f"p{n}")
        for n, (depth, columns) in enumerate(((784, 128), (128, 10), (64, 784)))
    ]
    ir = emit_module(kernels, host())
    tiles = re.findall(r"^define internal void @(fg\.tile\S+)\(", ir, flags=re.M)
    assert len(tiles) == len(set(tiles)) == 1
    assert len(re.findall(r"^define internal void @fg\.transpose", ir, flags=re.M)) == 1
