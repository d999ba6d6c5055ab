"""Sums down columns: a block has 32 of them, and its warps share the rows."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import float32, int64
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, const
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Let, Monoid, Param, Role, Store, Sync, Tree, nested
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.gpu import map_gpu
from fusegrad.codegen.targets.gpu import compile_gpu
from tests.codegen.gpu_support import check, run


def columns(rows: int, width: int, monoid: Monoid = Monoid.SUM) -> Kernel:
    """``y[b, c] = 2 * reduction over r of x[b, r, c]``, or where its largest element is."""
    n = Var("n")
    b, c, r = Var("b", extent=n), Var("c", extent=width), Var("r", extent=rows)
    x, dtype = Buffer("x", float32, (n, rows, width)), float32 if monoid.width == 1 else int64
    y = Buffer("y", dtype, (n, width))
    t, s, at = Var("t", float32), Var("s", float32), Var("at", int64)
    start = const(0 if monoid is Monoid.SUM else float32.lowest, float32)
    carry: tuple[tuple[Var, Expr], ...] = ((s, start),)
    following: tuple[Expr, ...] = (apply("mul", t, t) if monoid is Monoid.SUM else t,)
    if monoid.width == 2:
        carry, following = (*carry, (at, const(0, int64))), (*following, r)
    let = Let(t, Load(x, (b, r, c)))
    tree = For(r, rows, Tree((monoid,)), (let,), carry, following)
    value = apply("add", s, s) if monoid.width == 1 else at
    inner = For(c, width, AnyOrder(), (tree, Store(y, (b, c), value)))
    params = (Param(x, Role.IN), Param(y, Role.OUT))
    return Kernel("columns", params, (n,), (For(b, n, AnyOrder(), (inner,)),))


@pytest.mark.parametrize("monoid", [Monoid.SUM, Monoid.MAX, Monoid.ARGMAX])
@pytest.mark.parametrize(("rows", "width"), [(64, 32), (71, 45), (1030, 5)])
def test_columns(rows: int, width: int, monoid: Monoid) -> None:
    kernel = columns(rows, width, monoid)
    (stage,) = map_gpu(kernel, 3).stages
    assert any(isinstance(s, Sync) for s in nested(stage.body))
    check(kernel, 3)


def test_the_code_is_right_for_another_size() -> None:
    made = compile_gpu(columns(70, 33), 4)
    x = np.random.default_rng(0).standard_normal((2, 70, 33)).astype(np.float32)
    y = np.zeros((2, 33), np.float32)
    run(made, [x, y], 2)
    np.testing.assert_allclose(y, 2 * (x.astype(np.float64) ** 2).sum(1), rtol=1e-5)


def test_many_columns_have_a_thread_each() -> None:
    (stage,) = map_gpu(columns(70, 1 << 12), 64).stages
    assert not any(isinstance(s, Sync) for s in nested(stage.body))
