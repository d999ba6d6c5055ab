"""Loops over few neighbours: joined with the loop around them, and read by patterns of lanes."""

from __future__ import annotations

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import DType, bool_, float32, float64, int16
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Param, Role, Store, Vector, nested
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.cpu import schedule
from fusegrad.codegen.targets.base import host, named
from tests.codegen.llvm_support import Native

TARGETS = [t for t in ("avx512", "avx2", "sse4") if named(t).vector_bytes <= host().vector_bytes]
ROWS = 5


def repeated(dtype: DType, many: int, few: int, planes: int) -> Kernel:
    """Each element of `x` as often as `few`; or, of several planes, one of each in turn."""
    n = Var("n")
    i, r, c = Var("i", extent=n), Var("r", extent=many), Var("c", extent=few)
    x = Buffer("x", dtype, (n, planes * many))
    y = Buffer("y", dtype, (n, many * few))
    at: Expr = r if planes == 1 else apply("add", apply("mul", c, index(many)), r)
    place = apply("add", apply("mul", r, index(few)), c)
    body = For(c, few, AnyOrder(), (Store(y, (i, place), Load(x, (i, at))),))
    loop = For(i, n, AnyOrder(), (For(r, many, AnyOrder(), (body,)),))
    return Kernel("k", (Param(x, Role.IN), Param(y, Role.OUT)), (n,), (loop,))


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("dtype", [float32, float64, int16, bool_])
@pytest.mark.parametrize(("many", "few"), [(14, 2), (32, 2), (13, 4), (70, 8), (3, 2), (9, 3)])
@pytest.mark.parametrize("several", [False, True])
def test_neighbours(target: str, dtype: DType, many: int, few: int, several: bool) -> None:
    kernel = repeated(dtype, many, few, few if several else 1)
    mapped = schedule(kernel, ROWS, named(target))
    x = np.random.default_rng(0).integers(0, 100, (ROWS, many * (few if several else 1)))
    x = (x % 2 if dtype is bool_ else x).astype(dtype.numpy)
    expected = np.repeat(x, few, 1)
    if several:
        expected = x.reshape(ROWS, few, many).swapaxes(1, 2).reshape(ROWS, -1)
    found, meant = (np.zeros_like(expected) for _ in range(2))
    interpret_kernel(mapped.kernel, [x, meant], [ROWS])
    np.testing.assert_array_equal(meant, expected)
    chunks = ((0, mapped.items // 2), (mapped.items // 2, mapped.items))
    Native(mapped.kernel, named(target))(x, found, sizes=(ROWS,), chunks=chunks)
    np.testing.assert_array_equal(found, expected)
    lanes = named(target).vector_bytes // (8 if dtype is float64 else 4)
    loops = [s for s in nested(mapped.kernel.body) if isinstance(s, For)]
    joins = few < lanes and lanes % few == 0 and many * few >= lanes
    assert (loops[-1].extent == many * few) is joins
    assert not joins or isinstance(loops[-1].mapping, Vector)


def test_pixels_from_several_images_in_turn() -> None:
    """As in the derivative of a convolution by its input, two apart: nothing is zeroed."""
    parts = np.random.default_rng(1).standard_normal((4, 3, 2, 9, 11)).astype(np.float32)

    @fg.compile
    def shuffled(a: fg.Tensor, b: fg.Tensor, c: fg.Tensor, d: fg.Tensor) -> fg.Tensor:
        rows = [fg.stack(pair, axis=-1).reshape(3, 2, 9, 22) for pair in ((a, b), (c, d))]
        return fg.stack(rows, axis=-2).reshape(3, 2, 18, 22) * 2.0

    found = np.asarray(shuffled(*parts))
    for number, part in enumerate(parts):
        np.testing.assert_array_equal(found[..., number // 2 :: 2, number % 2 :: 2], part * 2)
    assert shuffled.stats().kernels == 1
