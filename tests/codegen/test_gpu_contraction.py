"""Products through shared memory: right for every shape, and to the bit the sum in order."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bfloat16, float16, float32, float64
from fusegrad.codegen.expr import Buffer, Load, Var, const
from fusegrad.codegen.kernel import Alloc, For, Kernel, Monoid, Param, Role, Store, Tree, nested
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.meanings import fma
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.gpu import map_gpu
from fusegrad.codegen.targets.gpu import compile_gpu
from fusegrad.codegen.targets.ptx_simulator import SimulationError
from tests.codegen.gpu_support import check, run
from tests.codegen.test_nvptx import dot_kernel


def batched(
    rows: int, columns: int, depth: int, dtype: DType, left: bool = False, right: bool = False
) -> Kernel:
    """Products of matrices that are stored transposed or not, with something after each element."""
    n = Var("n")
    b, i, j, k = (
        Var("b", extent=n),
        Var("i", extent=rows),
        Var("j", extent=columns),
        Var("k", extent=depth),
    )
    x = Buffer("x", dtype, (n, depth, rows) if left else (n, rows, depth))
    w = Buffer("w", dtype, (columns, depth) if right else (depth, columns))
    y = Buffer("y", dtype, (n, rows, columns))
    total = float32 if dtype.is_half else dtype
    s = Var("s", total)
    a = Load(x, (b, k, i) if left else (b, i, k))
    c = Load(w, (j, k) if right else (k, j))
    operands = [apply("cast", v, dtype=total) if dtype.is_half else v for v in (a, c)]
    zero = const(0, total)
    tree = For(k, depth, Tree((Monoid.SUM,)), (), ((s, zero),), (apply("mul", *operands),))
    value = apply("maximum", s, zero)
    store = Store(y, (b, i, j), apply("cast", value, dtype=dtype) if dtype.is_half else value)
    loop = For(i, rows, AnyOrder(), (For(j, columns, AnyOrder(), (tree, store)),))
    params = (Param(x, Role.IN), Param(w, Role.IN), Param(y, Role.OUT))
    return Kernel("product", params, (n,), (For(b, n, AnyOrder(), (loop,)),))


def is_tiled(kernel: Kernel, size: int) -> bool:
    (stage,) = map_gpu(kernel, size).stages
    spaces = {s.buffer.space for s in nested(stage.body) if isinstance(s, Alloc)}
    return spaces == {"shared", "register"}


@pytest.mark.parametrize(("left", "right"), [(False, False), (True, False), (False, True)])
@pytest.mark.parametrize("shape", [(32, 32, 32), (33, 31, 17), (70, 16, 40)])
def test_layouts(left: bool, right: bool, shape: tuple[int, int, int]) -> None:
    kernel = batched(*shape, float32, left, right)
    assert is_tiled(kernel, 2)
    check(kernel, 2)


@pytest.mark.parametrize("dtype", [float16, bfloat16, float64])
def test_dtypes(dtype: DType) -> None:
    check(batched(20, 36, 48, dtype), 1)


@pytest.mark.parametrize("side", [(1500, 1500), (800, 800)])
def test_large_products_have_large_tiles_and_wide_accesses(side: tuple[int, int]) -> None:
    ptx = compile_gpu(dot_kernel(512, side[0] // 4 * 4), side[1] // 4 * 4).ptx
    assert re.search(r"ld\.shared\.v4", ptx)
    assert re.search(r"ld\.global\.v4", ptx)
    assert ".local" not in ptx


def test_a_tile_of_each_size_is_right() -> None:
    """The tile depends on the size that a kernel is mapped for; it is right for others too."""
    kernel = dot_kernel(20, 1536)
    for size, side in ((64, 32), (1 << 9, 64), (1 << 11, 128)):
        made = compile_gpu(kernel, size)
        (tile,) = (
            s.buffer
            for s in nested(made.stages[0].kernel.body)
            if isinstance(s, Alloc) and s.buffer.name == "left"
        )
        assert tile.shape[1] == side + 4
        rng = np.random.default_rng(0)
        a = rng.standard_normal((19, 20)).astype(np.float32)
        b = rng.standard_normal((20, 1536)).astype(np.float32)
        c = np.zeros((19, 1536), np.float32)
        run(made, [a, b, c], 19)
        total = np.zeros_like(c)
        for k in range(20):
            total = fma(a[:, k, None], b[k], total)
        np.testing.assert_array_equal(c, total)


def test_the_next_round_is_on_its_way() -> None:
    """What is only moved is copied while the round that is there is multiplied."""
    kernel = dot_kernel(70, 48)
    text = print_kernel(map_gpu(kernel, 40).stages[0])
    assert "right[(round + 1) % 2 * 32 + " in text
    assert text.count(" async") == 2  # of the right operand: before the loop, and in it
    made = check(kernel, 41)
    assert "cp.async.cg.shared.global" in made.ptx
    assert made.ptx.count("cp.async.wait_all") == made.ptx.count("bar.sync") == 1
    hasty = replace(made, ptx=made.ptx.replace("cp.async.wait_all;", ""))
    arrays = [np.ones((41, 70), np.float32), np.ones((70, 48), np.float32)]
    with pytest.raises(SimulationError, match="reads what nobody has written"):
        run(hasty, [*arrays, np.zeros((41, 48), np.float32)], 41)


def test_one_round_or_no_copies_are_not_doubled() -> None:
    one = map_gpu(dot_kernel(32, 48), 40).stages[0]
    assert "async" not in print_kernel(one)
    across = map_gpu(batched(40, 40, 64, float32, False, True), 2).stages[0]
    assert "async" not in print_kernel(across)


def test_few_rows_are_no_product_of_tiles() -> None:
    kernel = dot_kernel(64, 96)
    assert not is_tiled(kernel, 4)
    check(kernel, 4)


@pytest.mark.parametrize(("size", "columns", "depth"), [(40, 24, 1024), (33, 70, 1536)])
def test_long_sums_of_few_results_are_cut_into_pieces(size: int, columns: int, depth: int) -> None:
    kernel = batched_rows(size, columns, depth)
    mapped = map_gpu(kernel, size)
    assert len(mapped.stages) == 2
    assert [b.shape for b in mapped.temporaries] == [(depth // 512, size, columns)]
    spaces = {s.buffer.space for s in nested(mapped.stages[0].body) if isinstance(s, Alloc)}
    assert spaces == {"shared", "register"}
    check(kernel, size)


def test_what_fills_a_gpu_or_is_short_is_not_cut() -> None:
    for size, columns, depth in ((40, 24, 512), (640, 640, 4096)):
        assert len(map_gpu(batched_rows(size, columns, depth), size).stages) == 1


def batched_rows(rows: int, columns: int, depth: int) -> Kernel:
    """A product with a bias after it; its rows are the kernel's size."""
    n = Var("n")
    i, j, k = Var("i", extent=n), Var("j", extent=columns), Var("k", extent=depth)
    x, w = Buffer("x", float32, (rows, depth)), Buffer("w", float32, (depth, columns))
    bias, y = Buffer("bias", float32, (columns,)), Buffer("y", float32, (rows, columns))
    s = Var("s", float32)
    value = apply("mul", Load(x, (i, k)), Load(w, (k, j)))
    tree = For(k, depth, Tree((Monoid.SUM,)), (), ((s, const(0, float32)),), (value,))
    store = Store(y, (i, j), apply("add", s, Load(bias, (j,))))
    loop = For(i, n, AnyOrder(), (For(j, columns, AnyOrder(), (tree, store)),))
    params = (Param(x, Role.IN), Param(w, Role.IN), Param(bias, Role.IN), Param(y, Role.OUT))
    return Kernel("product", params, (n,), (loop,))
