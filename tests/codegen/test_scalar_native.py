"""Scalar functions in machine code: the same bits as the evaluated expansions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusegrad.codegen.dtypes import ALL, DType, float32, float64, uint64
from fusegrad.codegen.evaluate import evaluate
from fusegrad.codegen.expr import Var
from fusegrad.codegen.scalar import TABLE, apply
from fusegrad.codegen.scalar_primitives import PRIMITIVES
from tests.codegen.test_llvm_elementwise import elementwise, run_flat
from tests.codegen.test_scalar import operands_of
from tests.codegen.test_scalar_math import samples

NAMES = [name for name in TABLE if name not in PRIMITIVES]


def inputs(name: str, dtype: DType, count: int) -> list[np.ndarray[Any, Any]]:
    """Arrays for the operands of `name`, special values in all pairs at the end."""
    random = np.random.default_rng(11)
    if not dtype.is_float:
        bits = random.integers(0, 256, 1000 * dtype.itemsize, dtype=np.uint8)
        values = bits.view(dtype.numpy) if dtype.name != "bool" else bits > 127
    else:
        values = samples(dtype, -12, 12, 1000)
    arrays = [random.permutation(values) for _ in range(count)]
    if count == 2 and dtype.is_float:
        ends = values[-44:]
        grid = np.meshgrid(ends, ends)
        arrays = [np.concatenate([a, g.ravel()]) for a, g in zip(arrays, grid, strict=True)]
    return [np.ascontiguousarray(a) for a in arrays]


@pytest.mark.parametrize("dtype", [d for d in ALL if not d.is_half], ids=str)
def test_expansions_give_the_same_bits_natively(dtype: DType) -> None:
    """One kernel computes all functions of a dtype at once."""
    for arity in (1, 2):
        names = [n for n in NAMES if TABLE[n].arity == arity and operands_of(n, dtype) is not None]
        if not names:
            continue
        arrays = inputs("", dtype, arity)
        native = elementwise(
            lambda *xs: [apply(n, *xs) for n in names],  # noqa: B023
            [dtype] * arity,
            lanes=4 if dtype in (float64, uint64) else 8,
            unroll=1,
        )
        outputs = run_flat(native, *arrays)
        variables = [Var("x", dtype) for _ in range(arity)]
        env = dict(zip(variables, arrays, strict=True))
        for name, got in zip(names, outputs, strict=True):
            expected = evaluate(apply(name, *variables), env, expanded=True)
            same = (got == expected) | ((got != got) & (expected != expected))
            wrong = [(*(a[~same][0] for a in arrays), got[~same][0])] if (~same).any() else []
            assert same.all(), f"{name}: {wrong}, not {expected[~same][:1]}"
            if dtype.is_float and got.dtype == dtype.numpy:
                signs = same & (got == 0)
                np.testing.assert_array_equal(np.signbit(got[signs]), np.signbit(expected[signs]))


def test_one_lane_takes_the_rare_branch() -> None:
    """A lane that needs the unusual value changes nothing for its neighbours."""
    for name in ("log", "sin", "fmod"):
        arity = TABLE[name].arity
        native = elementwise(lambda *xs: apply(name, *xs), [float32] * arity)  # noqa: B023
        x = np.full(64, 1.25, np.float32)
        plain = run_flat(native, *[x] * arity)[0]
        x[[5, 40]] = 1e30
        mixed = run_flat(native, *[x] + [np.full(64, 1.25, np.float32)] * (arity - 1))[0]
        others = np.delete(np.arange(64), [5, 40])
        np.testing.assert_array_equal(mixed[others], plain[others])
        assert np.isfinite(mixed).all()
