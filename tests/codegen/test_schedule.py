"""The schedule keeps what kernels mean: mapped == logical, over targets, chunks and odd sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bfloat16, float16, float32, float64
from fusegrad.codegen.expr import Buffer, Load, Var, const
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import (
    Alloc,
    Contract,
    Copy,
    For,
    Kernel,
    Let,
    Monoid,
    Parallel,
    Param,
    Prefetch,
    Role,
    Stmt,
    Store,
    Tree,
    Vector,
    nested,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.schedule.contraction import Choice, match, tile_shape
from fusegrad.codegen.schedule.cpu import Mapped, schedule
from fusegrad.codegen.targets.base import named
from fusegrad.codegen.verify import verify_kernel
from tests.codegen.examples import (
    EXAMPLES,
    Example,
    column_sum,
    elementwise,
    flat_cumulative_sum,
    matmul,
    op,
    params,
    plane_total,
    relu_bias,
    softmax,
    total,
    transposed,
)

TARGETS = ("sse4", "avx2", "avx512")
SMALL_CACHE = replace(named("avx512"), l2_bytes=1 << 15)


def mapped(example: Example, target: str = "avx2") -> Mapped:
    size = example.sizes[0] if example.sizes else 0
    return schedule(example.kernel, size, named(target))


def check(example: Example, target: str) -> None:
    """Runs the mapped kernel in several chunkings."""
    check_mapped(example, mapped(example, target))


def check_mapped(example: Example, result: Mapped) -> None:
    verify_kernel(result.kernel)
    assert result.grain * result.chunks >= result.items
    last = result.kernel.body[-1]
    assert isinstance(last, For)
    if isinstance(last.extent, int):
        assert last.extent == result.items
    for chunks in (1, 3):
        arrays = example.arrays()
        interpret_kernel(result.kernel, arrays, example.sizes, chunks=chunks)
        example.check(arrays)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_examples(name: str, target: str) -> None:
    check(EXAMPLES[name](), target)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("size", [1, 2, 4096, 4097])
def test_flat_sizes(size: int, target: str) -> None:
    check(elementwise(size), target)
    check(total(size), target)


@pytest.mark.parametrize("form", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize(
    "shape",
    [(9, 35, 17), (1, 5, 3), (25, 18, 4), (2, 64, 1), (67, 1, 70), (3, 66, 130), (1, 1, 50)],
    ids=str,
)
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)
def test_contractions(form: str, shape: tuple[int, int, int], batch: tuple[int, ...]) -> None:
    for target in TARGETS if shape == (9, 35, 17) else ("avx2",):
        check(matmul(form, *shape, batch), target)


@pytest.mark.parametrize("half", [float16, bfloat16], ids=str)
@pytest.mark.parametrize("form", ["NN", "NT", "TN", "TT"])
def test_contractions_of_16_bits(form: str, half: DType) -> None:
    """Converted where they are read or packed: no copy of an operand in memory."""
    for shape in ((9, 35, 17), (1, 20, 30), (30, 1, 40)):
        for target in TARGETS:
            check(matmul(form, *shape, half=half), target)
    example = matmul(form, 64, 70, 300, half=half)
    check_mapped(example, schedule(example.kernel, 64, SMALL_CACHE))


def test_contraction_with_an_epilogue() -> None:
    for batch in ((), (3,)):
        check(matmul("NT", 9, 35, 17, batch, epilogue=relu_bias), "avx2")


def test_contraction_of_float64() -> None:
    check(matmul("NN", 9, 19, 5, dtype=float64), "avx2")


@pytest.mark.parametrize("target", TARGETS)
def test_contraction_becomes_register_tiles(target: str) -> None:
    kernel = mapped(matmul("NN", 48, 64, 8), target).kernel
    (tile,) = (s for s in nested(kernel.body) if isinstance(s, Contract))
    rows, columns = (int(e) for e in tile.acc.shape if isinstance(e, int))
    vectors = columns * 4 // named(target).vector_bytes
    assert vectors in (1, 2, 3)
    # Accumulators, one row of the right operand and one broadcast stay in registers.
    assert rows * vectors + vectors + 1 <= named(target).registers


def test_tiles_waste_few_rows_and_columns() -> None:
    avx512, avx2 = named("avx512"), named("avx2")
    assert (
        tile_shape(1024, 1024, avx512, 4, 256) == tile_shape(1024, 768, avx512, 4, 256) == (12, 2)
    )
    assert tile_shape(90, 1024, avx512, 4, 256) == (10, 2)  # 9 x 10 rows, not 8 x 12
    assert tile_shape(1024, 48, avx512, 4, 256) == (8, 3)
    assert tile_shape(1024, 10, avx512, 4, 256)[1] == 1
    assert tile_shape(1024, 1024, avx2, 4, 256) == (6, 2)
    assert tile_shape(1, 1024, avx512, 4, 256) == (1, 12)
    # One panel of 72 columns; of 128 not so wide ones that they leave the nearest cache.
    assert tile_shape(120, 72, avx512, 4, 64) == (5, 5)
    assert tile_shape(64, 128, avx512, 4, 784)[1] == 2 < tile_shape(64, 128, avx512, 4, 64)[1]


@pytest.mark.parametrize(
    ("form", "shape"),
    [("NN", (70, 1, 64)), ("NN", (70, 2, 200)), ("NT", (70, 1, 64)), ("NT", (1, 70, 64))],
    ids=str,
)
def test_narrow_products_sum_along_memory(form: str, shape: tuple[int, int, int]) -> None:
    """No tile: vectors along the sum, in the operand that is large."""
    kernel = mapped(matmul(form, *shape), "avx512").kernel
    assert not any(isinstance(s, Contract) for s in nested(kernel.body))
    trees = [s for s in nested(kernel.body) if isinstance(s, For) and isinstance(s.order, Tree)]
    (loop,) = trees
    assert isinstance(loop.mapping, Vector)
    assert loop.mapping.lanes == 16
    assert len(loop.carry) == 4 * min(shape[:2])


def test_narrow_products_run_along_memory() -> None:
    """The transposed operand is read in vectors where it lies, and packed nowhere."""
    kernel = mapped(matmul("TN", 70, 2, 200, (3,)), "avx512").kernel
    assert not any(isinstance(s, Copy) for s in nested(kernel.body))
    (tile,) = (s for s in nested(kernel.body) if isinstance(s, Contract))
    assert tile.acc.shape == (2, 80)
    assert tile.b.name == "a"


def test_few_rows_fetch_a_large_operand_ahead() -> None:
    """The text says how many steps; what stays in the cache needs none."""
    for columns, ahead in ((60, False), (2000, True)):
        example = matmul("NN", 1, columns, 40, (1,))
        kernel = schedule(example.kernel, 1, SMALL_CACHE).kernel
        (tile,) = (s for s in nested(kernel.body) if isinstance(s, Contract))
        assert (tile.ahead > 0) is ahead
        assert (f", {tile.ahead} ahead" in print_kernel(kernel)) is ahead
        check_mapped(example, schedule(example.kernel, 1, SMALL_CACHE))


@pytest.mark.parametrize("form", ["NN", "NT", "TN", "TT"])
def test_large_contractions_in_blocks(form: str) -> None:
    """Parts of the sum go on from each other; what lies across memory is packed."""
    batch = 2 if form == "TN" else 1
    example = matmul(form, 67, 70, 300, (batch,), epilogue=relu_bias)
    result = schedule(example.kernel, batch, SMALL_CACHE)
    (tile,) = (s for s in nested(result.kernel.body) if isinstance(s, Contract))
    assert tile.onward is not None
    assert packed(result) == ({"left", "right"} if form[0] == "T" else {"right"})
    check_mapped(example, result)


def test_a_sum_of_one_part_in_blocks() -> None:
    example = matmul("TN", 700, 260, 60, (1,), epilogue=relu_bias)
    result = schedule(example.kernel, 1, SMALL_CACHE)
    assert packed(result) == {"left", "right"}
    check_mapped(example, result)


def test_rows_at_distances_of_pages_are_packed() -> None:
    example = matmul("NN", 64, 70, 1024, (1,), dtype=float64)
    result = schedule(example.kernel, 1, SMALL_CACHE)
    assert packed(result) == {"left", "right"}
    check_mapped(example, result)


def packed(result: Mapped) -> set[str]:
    """Which operands are copied before they are multiplied."""
    names = {s.buffer.name for s in nested(result.kernel.body) if isinstance(s, Alloc)}
    return names - {"sums", "acc"}


@pytest.mark.parametrize(
    ("form", "shape"),
    [("NN", (1, 768, 669)), ("NT", (1, 768, 669)), ("NT", (700, 1, 669)), ("TN", (700, 1, 669))],
    ids=str,
)
def test_threads_share_what_one_vector_multiplies(form: str, shape: tuple[int, int, int]) -> None:
    """Two megabytes are worth several threads, few as the operations on them are."""
    assert mapped(matmul(form, *shape, (1,)), "avx512").chunks >= 4


@pytest.mark.parametrize("shape", [(300, 300, 9000), (128, 128, 9000), (600, 64, 9000)], ids=str)
def test_blocks_are_many_enough_for_threads(shape: tuple[int, int, int]) -> None:
    result = schedule(matmul("NN", *shape, (1,)).kernel, 1, named("avx512"))
    assert result.chunks >= 4


def test_blocks_fit_the_cache() -> None:
    """What an item packs leaves room for what it reads and writes."""
    target = named("avx512")
    kernel = schedule(matmul("TN", 2000, 1000, 3000, (1,)).kernel, 1, target).kernel
    sizes = {
        s.buffer.name: 4 * int(np.prod([e for e in s.buffer.shape if isinstance(e, int)]))
        for s in nested(kernel.body)
        if isinstance(s, Alloc)
    }
    assert sizes.keys() == {"left", "right", "sums"}
    assert sizes["left"] <= target.l2_bytes // 2
    assert sizes["right"] <= target.l3_bytes // 8


@pytest.mark.parametrize("form", ["NN", "NT", "TN", "TT"])
def test_sums_of_few_terms_are_chains(form: str) -> None:
    """No tile, and the same bits as with one."""
    for rows, columns, depth in ((70, 35, 1), (9, 500, 3), (5, 17, 4)):
        for batch in ((2,), (2, 3)):
            example = matmul(form, rows, columns, depth, batch, epilogue=relu_bias)
            result = schedule(example.kernel, 2, named("avx2"))
            assert not any(isinstance(s, Contract) for s in nested(result.kernel.body))
            check_mapped(example, result)
            tiled = schedule(example.kernel, 2, named("avx2"), choice=Choice(4, 2, True, 64))
            both = [example.arrays(), example.arrays()]
            for mapped, arrays in zip((result, tiled), both, strict=True):
                interpret_kernel(mapped.kernel, arrays, example.sizes)
            assert all(np.array_equal(a, b) for a, b in zip(*both, strict=True))


def test_what_is_not_a_contraction() -> None:
    """A product that does not start at zero stays loops."""
    assert match(matmul().kernel) is not None
    assert match(softmax().kernel) is None
    kernel = matmul().kernel
    (rows,) = kernel.body
    assert isinstance(rows, For)
    (columns,) = rows.body
    assert isinstance(columns, For)
    reduction, store = columns.body
    assert isinstance(reduction, For)
    started = replace(reduction, carry=((reduction.carry[0][0], const(1, float32)),))
    body = replace(rows, body=(replace(columns, body=(started, store)),))
    assert match(replace(kernel, body=(body,))) is None


def test_flat_kernels_run_in_vectors_and_chunks() -> None:
    result = mapped(elementwise(1 << 20))
    (loop,) = result.kernel.body
    assert isinstance(loop, For)
    assert loop.mapping == Vector(8, 4)
    assert result.chunks > 1
    assert result.grain % 4096 == 0


def test_reductions_carry_in_registers() -> None:
    """A scalar that a loop accumulates becomes a tree, and memory is written once after it."""
    kernel = mapped(plane_total()).kernel
    loops = [s for s in nested(kernel.body) if isinstance(s, For)]
    assert loops[0].mapping == Parallel()
    assert loops[1].order == Tree((Monoid.SUM,))
    assert not any(isinstance(s, Store) and s.monoid is not None for s in loops[1].body)


def test_columns_run_across_lanes() -> None:
    """A reduction along the large stride: each lane reduces its own column."""
    (loop,) = mapped(column_sum()).kernel.body
    assert isinstance(loop, For)
    assert isinstance(loop.mapping, Vector)
    assert isinstance(loop.body[0], For)
    assert loop.body[0].mapping is None


def test_serial_kernels_are_one_item() -> None:
    result = mapped(flat_cumulative_sum())
    assert (result.items, result.chunks) == (1, 1)


def test_small_kernels_are_one_chunk() -> None:
    assert mapped(elementwise(1000)).chunks == 1
    assert mapped(softmax(4, 64)).chunks == 1


def test_chunks_do_not_depend_on_threads() -> None:
    """The same shapes give the same chunks: nothing but shapes and the target is looked at."""
    first, second = mapped(softmax(5000, 640)), mapped(softmax(5000, 640))
    assert (first.grain, first.chunks) == (second.grain, second.chunks)
    assert first.chunks > 1


def test_a_place_that_the_loop_computes_stays_inside() -> None:
    """An accumulation is not moved behind the loop when its place is bound inside the loop."""
    n, i, at = Var("N"), Var("i"), Var("at")
    x, y = Buffer("x", float32, (n,)), Buffer("y", float32, (4,))
    body = (Let(at, op("add", n, 0)), Let(at2 := Var("at2"), op("remtrunc", at, 4)))
    store = Store(y, (at2,), Load(x, (i,)), Monoid.SUM)
    loop = For(i, n, AnyOrder(), (*body, store))
    kernel = Kernel("place", params(reads=(x,), sums=(y,)), (n,), (loop,))
    verify_kernel(schedule(kernel, 10, named("avx2")).kernel)


def _shifted(offset: int, columns: int = 64) -> tuple[Kernel, Buffer]:
    size, r, c = Var("R"), Var("r"), Var("c", extent=columns)
    x, y = Buffer("x", float32, (size, columns)), Buffer("y", float32, (size, columns + 16))
    store = Store(y, (r, op("add", c, offset)), Load(x, (r, c)))
    loop = For(r, size, AnyOrder(), (For(c, columns, AnyOrder(), (store,)),))
    params = (Param(x, Role.IN), Param(y, Role.OUT))
    return Kernel("shifted", params, (size,), (loop,)), y


@pytest.mark.parametrize(("offset", "streams"), [(0, True), (16, True), (3, False)])
def test_stores_around_the_cache_are_aligned(offset: int, streams: bool) -> None:
    kernel, y = _shifted(offset)
    result = schedule(kernel, 100, named("avx2"), frozenset((y,)))
    (store,) = (s for s in nested(result.kernel.body) if isinstance(s, Store))
    assert store.nontemporal is streams


def small_caches(example: Example, target: str = "avx2") -> Mapped:
    features = replace(named(target), l1_bytes=32 << 10, l2_bytes=512 << 10)
    return schedule(example.kernel, example.sizes[0], features)


def _hosts(kernel: Kernel) -> list[tuple[For, Prefetch]]:
    loops = [s for s in nested(kernel.body) if isinstance(s, For)]
    return [(f, s) for f in loops for s in f.body if isinstance(s, Prefetch)]


def test_the_heaviest_pass_asks_for_the_next_row() -> None:
    kernel = small_caches(softmax(600, 256)).kernel
    ((loop, hint),) = _hosts(kernel)
    assert loop.order == Tree((Monoid.SUM,))  # The exponentials.
    (rows,) = kernel.body
    assert isinstance(rows, For)
    assert hint.buffer.name == "x"
    assert hint.indices == (op("add", rows.var, 1), loop.var)


@pytest.mark.parametrize("target", TARGETS)
def test_asking_for_the_next_row_changes_nothing(target: str) -> None:
    example = softmax(600, 256)
    result = small_caches(example, target)
    assert _hosts(result.kernel)
    check_mapped(example, result)


@pytest.mark.parametrize(("rows", "columns"), [(40, 256), (600, 40000), (600, 8)])
def test_rows_in_cache_and_rows_too_long_are_not_asked_for(rows: int, columns: int) -> None:
    assert not _hosts(small_caches(softmax(rows, columns)).kernel)


def test_a_tile_asks_for_what_the_next_one_reads() -> None:
    hints = [hint.buffer.name for _, hint in _hosts(small_caches(transposed()).kernel)]
    assert sorted(hints) == ["x", "z"]


def test_vectors_run_along_the_loop_around_short_ones() -> None:
    """Two iterations fill no vector; where they write neighbours, both loops are one."""
    x, y = Buffer("x", float32, (8, 14, 2)), Buffer("y", float32, (8, 14, 2))
    i, j, k = Var("i", extent=Var("n")), Var("j", extent=14), Var("k", extent=2)
    store = Store(y, (i, j, k), Load(x, (i, j, k)))
    loop = For(k, 2, AnyOrder(), (store,))
    assert along(loop, x, y, i, j) == [28]
    apart = Buffer("y", float32, (2, 8, 14))
    loop = For(k, 2, AnyOrder(), (Store(apart, (k, i, j), Load(x, (i, j, k))),))
    assert along(loop, x, apart, i, j) == [14]
    z = Buffer("z", float32, (8, 14))
    total = Var("a", float32)
    pair = For(k, 2, Tree((Monoid.SUM,)), (), ((total, const(0, float32)),), (Load(x, (i, j, k)),))
    assert along((pair, Store(z, (i, j), total)), x, z, i, j) == [14]


def along(inside: For | tuple[Stmt, ...], x: Buffer, y: Buffer, i: Var, j: Var) -> list[object]:
    """The extents of the vector loops of a scheduled nest."""
    body = inside if isinstance(inside, tuple) else (inside,)
    n = i.extent
    assert isinstance(n, Var)
    nest = For(i, n, AnyOrder(), (For(j, 14, AnyOrder(), body),))
    kernel = Kernel("k", (Param(x, Role.IN), Param(y, Role.OUT)), (n,), (nest,))
    mapped = schedule(kernel, 8, named("avx512")).kernel
    loops = (s for s in nested(mapped.body) if isinstance(s, For))
    return [f.extent for f in loops if isinstance(f.mapping, Vector)]
