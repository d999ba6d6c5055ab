"""Additions to places that values choose: shared by place, with the bits of one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from fusegrad.codegen.dtypes import float32, int64
from fusegrad.codegen.expr import Buffer, Expr, Load, Var, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Let, Monoid, Param, Role, Serial, Stmt, Store
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.gpu import map_gpu
from fusegrad.codegen.schedule.gpu_scatter import MOST
from fusegrad.codegen.targets.gpu import compile_gpu
from tests.codegen.gpu_support import run

PLACES = 11


def scatter(count: int, width: int, two: bool, monoid: Monoid | None = Monoid.SUM) -> Kernel:
    """``y[place(i), :] += x[i, :]``; the place has one index or two."""
    n = Var("n")
    i, c = Var("i", extent=count), Var("c", extent=width)
    x, at = Buffer("x", float32, (count, width)), Buffer("at", int64, (count,))
    y = Buffer("y", float32, (PLACES, 2, width) if two else (PLACES, width))
    place = Var("place")
    where: tuple[Expr, ...] = (place, apply("remtrunc", place, index(2))) if two else (place,)
    store: Stmt = Store(y, (*where, c), Load(x, (i, c)), monoid)
    loop = For(
        i, count, Serial(), (Let(place, Load(at, (i,))), For(c, width, AnyOrder(), (store,)))
    )
    params = (Param(x, Role.IN), Param(at, Role.IN), Param(y, Role.INOUT))
    return Kernel("scatter", params, (n,), (loop,))


CHOICES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "random": lambda rng, count: rng.integers(0, PLACES, count),
    "same": lambda rng, count: np.full(count, 3),
    "two": lambda rng, count: np.where(np.arange(count) % 5 == 0, 10, 0),
}


@pytest.mark.parametrize("choice", list(CHOICES))
@pytest.mark.parametrize(
    ("count", "width", "two"), [(64, 1, False), (150, 40, True), (77, 7, False)]
)
def test_every_bit_is_that_of_the_order(count: int, width: int, two: bool, choice: str) -> None:
    kernel = scatter(count, width, two)
    assert len(map_gpu(kernel, 1).stages) == 2
    rng = np.random.default_rng(3)
    x = rng.standard_normal((count, width)).astype(np.float32)
    at = CHOICES[choice](rng, count).astype(np.int64)
    y = rng.standard_normal(kernel.params[2].buffer.shape).astype(np.float32)  # type: ignore[arg-type]
    expected, found = y.copy(), y.copy()
    interpret_kernel(kernel, [x, at, expected], [1])
    for seed in (None, 1):
        found = y.copy()
        run(compile_gpu(kernel, 1), [x.copy(), at.copy(), found], 1, seed)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kernel", [scatter(8, 4, False), scatter(MOST + 1, 4, False)])
def test_few_or_very_many_are_added_one_after_the_other(kernel: Kernel) -> None:
    assert len(map_gpu(kernel, 1).stages) == 1


def test_stores_that_do_not_add_keep_their_order() -> None:
    assert len(map_gpu(scatter(100, 4, False, None), 1).stages) == 1
