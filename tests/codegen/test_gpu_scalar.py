"""Scalar functions on a GPU: those of float32 use no float64, and are as accurate as the CPU's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import special

from fusegrad.codegen.dtypes import float32
from fusegrad.codegen.expr import Buffer, Load, Var
from fusegrad.codegen.kernel import Any as AnyOrder
from fusegrad.codegen.kernel import For, Kernel, Param, Role, Store
from fusegrad.codegen.scalar import TABLE, apply
from fusegrad.codegen.scalar_math import SINGLE
from fusegrad.codegen.targets.gpu import compile_gpu
from tests.codegen.gpu_support import run

Array = np.ndarray[Any, Any]
SPECIAL = (0, 1, np.inf, 2, 3, 0.5, 2.5, 1e-45, 1e-38, 3e38)
BOUNDS = {"pow": 1.5, "hypot": 1.5, "zeta": 16}
EXACT: dict[str, Callable[[Array, Array], Array]] = {
    "pow": np.power,
    "hypot": np.hypot,
    "zeta": special.zeta,
}


def of_arrays(name: str, size: int) -> Kernel | None:
    """A function of whole arrays of float32, None if it takes none."""
    i, row = Var("i", extent=size), TABLE[name]
    inputs = [Buffer(f"x{n}", float32, (size,)) for n in range(row.arity)]
    try:
        value = apply(name, *(Load(x, (i,)) for x in inputs))
    except TypeError:
        return None
    y = Buffer("y", value.dtype, (size,))
    params = (*(Param(x, Role.IN) for x in inputs), Param(y, Role.OUT))
    return Kernel(name, params, (), (For(i, size, AnyOrder(), (Store(y, (i,), value),)),))


def test_no_function_of_float32_uses_float64() -> None:
    kernels = {name: of_arrays(name, 64) for name in TABLE}
    found = [n for n, k in kernels.items() if k is not None and ".f64" in compile_gpu(k, 64).ptx]
    assert sum(k is not None for k in kernels.values()) > 60
    assert found == []


def computed(name: str, a: Array, b: Array) -> Array:
    kernel = of_arrays(name, a.size)
    assert kernel is not None
    y = np.full(a.size, np.nan, np.float32)
    run(compile_gpu(kernel, a.size), [a, b, y], a.size)
    return y


def samples(name: str) -> tuple[Array, Array]:
    rng, size = np.random.default_rng(4), 2048
    if name == "zeta":
        return rng.uniform(1.01, 20, size), np.exp2(rng.uniform(-5, 4, size))
    if name == "hypot":
        scale = np.exp2(rng.uniform(-126, 126, size))
        return rng.standard_normal(size) * scale, rng.standard_normal(size) * scale
    # Bases of all sizes, and exponents so that the power is one.
    logarithm = np.where(
        rng.integers(0, 2, size), rng.uniform(-149, 127, size), rng.normal(size=size)
    )
    return np.exp2(logarithm), rng.uniform(-120, 120, size) / np.maximum(np.abs(logarithm), 0.02)


@pytest.mark.parametrize("name", sorted(SINGLE))
def test_accuracy(name: str) -> None:
    a, b = (x.astype(np.float32) for x in samples(name))
    with np.errstate(all="ignore"):
        exact = EXACT[name](a.astype(np.float64), b.astype(np.float64))
    normal = (np.abs(exact) > 1.2e-38) & (np.abs(exact) < 3.4e38)
    found = computed(name, a, b).astype(np.float64)
    error = np.abs(found - exact)[normal] / np.spacing(np.abs(exact[normal]).astype(np.float32))
    assert normal.sum() > 1500
    assert error.max() <= BOUNDS[name]


@pytest.mark.parametrize("name", ["hypot", "pow"])
def test_special_values(name: str) -> None:
    values = np.array([*SPECIAL, *(-x for x in SPECIAL), np.nan], np.float32)
    a, b = (x.ravel() for x in np.meshgrid(values, values))
    found = computed(name, a, b)
    with np.errstate(all="ignore"):
        exact = EXACT[name](a.astype(np.float64), b.astype(np.float64)).astype(np.float32)
        close = np.abs(found - exact) <= np.spacing(np.abs(exact))
    same = (found == exact) | (np.isnan(found) & np.isnan(exact))
    assert (same | close).all()
    known = ~np.isnan(exact)
    np.testing.assert_array_equal(np.signbit(found)[known], np.signbit(exact)[known])
