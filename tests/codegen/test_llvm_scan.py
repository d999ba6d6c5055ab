"""Scans in vectors: every length, op and dtype, against the loop in order."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, float32, float64, int32, int64, uint8
from fusegrad.codegen.expr import Buffer, Load, Var, index
from fusegrad.codegen.interpret import interpret_kernel
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import (
    For,
    Kernel,
    Let,
    Param,
    Role,
    Serial,
    Stmt,
    Store,
    Vector,
    nested,
)
from fusegrad.codegen.scalar import apply
from fusegrad.codegen.schedule.cpu import schedule
from fusegrad.codegen.targets.base import Features, host, named
from fusegrad.codegen.verify import verify_kernel
from tests.codegen.llvm_support import Array, Native

ROWS = 3


def scan(op: str, dtype: DType, length: int, open_extent: bool = False) -> Kernel:
    """The running value of every row, and the last one of each."""
    r, k = Var("r", extent=ROWS), Var("k", extent=length)
    n = Var("n")
    x, y = (Buffer(name, dtype, (ROWS, length)) for name in "xy")
    z = Buffer("z", dtype, (ROWS,))
    a, t, s = Var("a", dtype), Var("t", dtype), Var("s", dtype)
    body = (Let(t, apply(op, a, Load(x, (r, k)))), Store(y, (r, k), t))
    loop = For(k, n if open_extent else length, Serial(), body, ((a, s),), (t,))
    row: tuple[Stmt, ...] = (Let(s, Load(x, (r, index(0)))), loop, Store(z, (r,), a))
    params = (Param(x, Role.IN), Param(y, Role.OUT), Param(z, Role.OUT))
    return Kernel("scan", params, (n,), (For(r, ROWS, AnyOrder(), row),))


def mapped(kernel: Kernel, target: Features) -> Kernel:
    made = schedule(kernel, ROWS, target).kernel
    verify_kernel(made)
    return made


def in_vectors(kernel: Kernel) -> bool:
    return any(isinstance(s, For) and isinstance(s.mapping, Vector) for s in nested(kernel.body))


def compared(kernel: Kernel, x: Array, size: int) -> tuple[list[Array], list[Array]]:
    made = mapped(kernel, host())
    assert in_vectors(made)
    expected = [np.zeros_like(x), np.zeros_like(x[:, 0])]
    found = [np.full_like(x, 77), np.full_like(x[:, 0], 77)]
    interpret_kernel(kernel, [x, *expected], [size])
    Native(made)(x, *found, sizes=[size], chunks=[(0, ROWS)])
    return found, expected


@pytest.mark.parametrize(
    ("op", "dtype"),
    [
        ("add", float32),
        ("add", float64),
        ("add", int64),
        ("mul", int32),
        ("maximum", float32),
        ("maximum", uint8),
        ("minimum", int64),
        ("logaddexp", float32),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    ("length", "open_extent"), [(5, False), (16, False), (47, True), (64, True), (133, False)]
)
def test_every_length(op: str, dtype: DType, length: int, open_extent: bool) -> None:
    rng = np.random.default_rng(length)
    x = rng.integers(1, 9, (ROWS, length)).astype(dtype.numpy)
    if dtype.is_float:
        x = rng.standard_normal((ROWS, length)).astype(dtype.numpy)
    found, expected = compared(scan(op, dtype, length, open_extent), x, length)
    for a, b in zip(found, expected, strict=True):
        if dtype.is_float and op in ("add", "logaddexp"):
            scale = np.abs(x).sum() * length * (1e-16 if dtype is float64 else 6e-8)
            np.testing.assert_allclose(a, b, rtol=0, atol=scale)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("op", ["add", "maximum", "minimum", "logaddexp"])
def test_what_is_not_finite_stays_where_it_begins(op: str) -> None:
    x = np.linspace(-2, 2, 40, dtype=np.float32) * np.ones((ROWS, 1), np.float32)
    x[0, 21], x[1, 18], x[2, 0], x[2, 33] = np.nan, np.inf, -np.inf, np.inf
    found, expected = compared(scan(op, float32, 40), x, 40)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_zeros_keep_their_sign() -> None:
    x = np.full((ROWS, 20), -0.0, np.float32)
    found, _ = compared(scan("add", float32, 20), x, 20)
    assert np.signbit(found[0]).all()


def test_products_of_floats_stay_in_order() -> None:
    """Of factors that overflow together the product with a small one before them is a number."""
    kernel = mapped(scan("mul", float32, 20), host())
    assert not in_vectors(kernel)


@pytest.mark.parametrize("name", ["sse4", "avx2"])
def test_narrower_targets(name: str) -> None:
    x = np.arange(ROWS * 100, dtype=np.int64).reshape(ROWS, 100)
    y, z = np.zeros_like(x), np.zeros_like(x[:, 0])
    made = mapped(scan("add", int64, 100), named(name))
    assert in_vectors(made)
    Native(made, named(name))(x, y, z, sizes=[0], chunks=[(0, ROWS)])
    # The first element is where the state starts from, and an iteration too.
    np.testing.assert_array_equal(y, x.cumsum(1) + x[:, :1])
    np.testing.assert_array_equal(z, y[:, -1])
