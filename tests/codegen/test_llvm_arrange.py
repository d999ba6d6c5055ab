"""Sorting in memory: the function and the loops, of every size and pattern, against NumPy."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from fusegrad.codegen.arranging import without_arranging
from fusegrad.codegen.dtypes import DType, as_dtype, float32, uint32
from fusegrad.codegen.expr import Buffer, Load, Var, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import (
    SPARE,
    Alloc,
    Arrange,
    For,
    Kernel,
    Parallel,
    Param,
    Role,
    Store,
    nested,
)
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.printer import print_kernel
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.cpu import schedule
from fusegrad.codegen.targets.base import Features, host, named
from fusegrad.codegen.targets.llvm_arrange import arrange_functions
from fusegrad.codegen.verify import VerifyError, verify_kernel
from tests.codegen.llvm_support import Array, Native, linked

TARGETS = [t for t in ("avx512", "avx2") if named(t).vector_bytes <= host().vector_bytes]
PATTERNS = ("random", "few", "equal", "largest", "sorted", "falling", "repeated")


def arrangement(dtype: DType, count: int, first: int, last: int) -> Kernel:
    keys, spare = Buffer("keys", dtype, (count,)), Buffer("spare", dtype, (count + SPARE,))
    statement = Arrange(keys, spare, count, first, last)
    loop = For(Var("item"), 1, AnyOrder(), (statement,), mapping=Parallel())
    kernel = Kernel("k", (Param(keys, Role.INOUT), Param(spare, Role.OUT)), (), (loop,))
    verify_kernel(kernel)
    return kernel


def patterned(name: str, dtype: DType, count: int) -> Array:
    rng = np.random.default_rng(count)
    random = rng.integers(0, 1 << dtype.bits, count, dtype=np.uint64).astype(dtype.numpy)
    return {
        "random": random,
        "few": random % 5,
        "equal": np.full_like(random, 7),
        "largest": np.full_like(random, dtype.highest),
        "sorted": np.sort(random),
        "falling": np.sort(random)[::-1].copy(),
        "repeated": (np.arange(count) % max(1, count // 16)).astype(dtype.numpy),
    }[name]


def arranged(native: Native, x: Array) -> Array:
    """What becomes of `x`; nothing is written beyond it."""
    memory = np.full(len(x) + 200, 77, x.dtype)
    spare = np.full(len(x) + SPARE + 100, 77, x.dtype)
    memory[: len(x)] = x
    native(memory, spare, chunks=[(0, 1)])
    assert (memory[len(x) :] == 77).all()
    assert (spare[len(x) + SPARE :] == 77).all()
    return memory[: len(x)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("count", [1, 17, 128, 300, 2500])
def test_every_pattern_is_sorted(target: str, bits: int, count: int) -> None:
    dtype = as_dtype(f"uint{bits}")
    native = Native(arrangement(dtype, count, 0, count), named(target))
    for pattern in PATTERNS:
        x = patterned(pattern, dtype, count)
        np.testing.assert_array_equal(arranged(native, x), np.sort(x), err_msg=pattern)


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 40), (499, 501), (990, 1000), (5, 5)])
def test_what_is_wanted_comes_to_its_place(first: int, last: int) -> None:
    native = Native(arrangement(uint32, 1000, first, last))
    for pattern in PATTERNS:
        x = patterned(pattern, uint32, 1000)
        found, expected = arranged(native, x), np.sort(x)
        np.testing.assert_array_equal(found[first:last], expected[first:last])
        np.testing.assert_array_equal(np.sort(found), expected)
        if first < last:
            assert found[:first].max(initial=0) <= expected[first]
            assert found[last:].min(initial=uint32.highest) >= expected[last - 1]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_bad_samples_end_in_halves_of_the_range(pattern: str) -> None:
    """Where no turns with samples are left: as after many that have divided badly."""
    target = host()
    lines = sorted(arrange_functions(uint32, target))
    text = "\n".join(lines).replace("define internal", "define")
    engine = linked(f'target triple = "{target.triple}"\n{text}', target)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(None, pointer, pointer, integer, integer, integer, integer)
    x = patterned(pattern, uint32, 3000)
    found, spare = x.copy(), np.zeros(3000 + SPARE, np.uint32)
    address = engine.get_function_address("fg.arrange.i32")
    function(address)(found.ctypes.data, spare.ctypes.data, 3000, 0, 3000, 0)
    np.testing.assert_array_equal(found, np.sort(x))


def rows(count: int, first: int = 0, last: int | None = None) -> Kernel:
    """Three rows, copied, sorted and written."""
    last = count if last is None else last
    x, y = Buffer("x", uint32, (3, count)), Buffer("y", uint32, (3, last - first))
    keys = Buffer("keys", uint32, (count,), space="row")
    spare = Buffer("spare", uint32, (count + SPARE,), space="row")
    r, f, w = Var("r", extent=3), Var("f", extent=count), Var("w", extent=last - first)
    place = apply("add", w, index(first))
    body = (
        Alloc(keys),
        Alloc(spare),
        For(f, count, AnyOrder(), (Store(keys, (f,), Load(x, (r, f))),)),
        Arrange(keys, spare, count, first, last),
        For(w, last - first, AnyOrder(), (Store(y, (r, w), Load(keys, (place,))),)),
    )
    params = (Param(x, Role.IN), Param(y, Role.OUT))
    return Kernel("rows", params, (), (For(r, 3, AnyOrder(), body),))


@pytest.mark.parametrize("count", [1, 20, 100, 129, 900])
def test_loops_do_the_same(count: int) -> None:
    x = np.random.default_rng(count).integers(0, 99, (3, count)).astype(np.uint32)
    for kernel in (rows(count), without_arranging(rows(count))):
        verify_kernel(kernel)
        y = np.zeros_like(x)
        interpret_kernel(kernel, [x, y], [])
        np.testing.assert_array_equal(y, np.sort(x))
    assert not any(isinstance(s, Arrange) for s in nested(without_arranging(rows(count)).body))


def in_loops(kernel: Kernel, target: Features) -> bool:
    made = schedule(kernel, 3, target).kernel
    verify_kernel(made)
    return not any(isinstance(s, Arrange) for s in nested(made.body))


def test_runs_that_fill_a_power_of_two_are_merged_by_loops() -> None:
    target = named("avx512")
    assert in_loops(rows(1000), target)
    assert not in_loops(rows(700), target)
    assert not in_loops(rows(20_000), target)
    assert not in_loops(rows(1000, 0, 10), target)
    assert in_loops(rows(700), named("avx2"))


def test_the_text() -> None:
    text = print_kernel(rows(40, 0, 7))
    assert "arrange keys by spare: 0 to 7 of 40" in text


def test_what_is_refused() -> None:
    keys, spare = Buffer("keys", uint32, (9,)), Buffer("spare", uint32, (10 + SPARE,))
    small, floats = Buffer("spare", uint32, (9,)), Buffer("keys", float32, (9,))
    for buffers, count, reason in (
        ((keys, spare), 10, "has 9 elements"),
        ((keys, small), 9, f"not {9 + SPARE}"),
        ((floats, spare), 9, "has no keys"),
    ):
        params = (Param(buffers[0], Role.INOUT), Param(buffers[1], Role.OUT))
        with pytest.raises(VerifyError, match=reason):
            verify_kernel(Kernel("k", params, (), (Arrange(*buffers, count, 0, count),)))
