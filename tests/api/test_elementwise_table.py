"""Every row of the elementwise table is whole: references, derivatives, error bounds.

What a row lacks fails here or in `test_functions`, `test_dtypes` and `test_functions_compiled`,
which run over the table too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import DType, float32, float64
from fusegrad.codegen.scalar import TABLE
from fusegrad.codegen.scalar_math import EXPANSIONS
from fusegrad.codegen.scalar_primitives import PRIMITIVES
from fusegrad.ops.elementwise import ELEMENTWISE, FUNCTIONS, SPECIAL, Function
from fusegrad.testing import check_grads
from tests.codegen.test_scalar_math import check, samples, specials

ROWS = {**FUNCTIONS, **SPECIAL}
DEFINED = sorted(TABLE.keys() - EXPANSIONS.keys() - PRIMITIVES.keys())


def operands(row: Function, shape: tuple[int, ...]) -> list[Any]:
    """Values where the function is smooth, none equal to another."""
    rng = np.random.default_rng(5)
    size = int(np.prod(shape))
    spread = [np.linspace(low, high, size + 2)[1:-1] for low, high in row.ranges]
    return [rng.permutation(x + 0.01 * i).reshape(shape) for i, x in enumerate(spread)]


def public(name: str) -> Any:
    return getattr(fg if name in FUNCTIONS else fg.special, name)


@pytest.mark.parametrize("name", sorted(SPECIAL))
def test_special_functions_are_scipys(name: str) -> None:
    special = pytest.importorskip("scipy.special")
    values = operands(ROWS[name], (17,))
    expected = getattr(special, name)(*values)
    for alias in ROWS[name].names:
        np.testing.assert_allclose(public(alias)(*values).numpy(), expected, rtol=1e-13)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_derivatives(name: str) -> None:
    row = ROWS[name]
    if name == "zeta" or "float" not in row.public.takes:
        return  # no derivative by the first operand; integers have none
    values = [fg.asarray(x) for x in operands(row, (2, 3))]
    if not public(name)(*values).dtype.is_float:
        return
    check_grads(public(name), values, order=2)


def test_every_row_without_a_rule_is_flat() -> None:
    """What has no rule is constant between jumps, or no float; then nothing is missing."""
    rng = np.random.default_rng(2)
    for name, op in ELEMENTWISE.items():
        if op.rule is not None or not op.accepts((float64,) * op.arity):
            continue
        values = [rng.uniform(low, high, 50) for low, high in op.ranges]
        meaning = TABLE[op.scalar].meaning
        if np.asarray(meaning(*values)).dtype.kind != "f":
            continue
        moved = [x + 1e-9 for x in values]
        np.testing.assert_array_equal(meaning(*moved), meaning(*values), name)


@pytest.mark.parametrize("dtype", [float32, float64], ids=str)
@pytest.mark.parametrize("name", DEFINED)
def test_defined_functions_hold_their_bounds(name: str, dtype: DType) -> None:
    row = ELEMENTWISE[name]
    drawn = [samples(dtype, 5 * low, 5 * high, 4000) for low, high in row.ranges]
    grid = np.meshgrid(*[specials(dtype)] * row.arity)
    for i, values in enumerate(drawn):
        np.random.default_rng(i).shuffle(values)
    values = [np.concatenate([x, y.ravel()]) for x, y in zip(drawn, grid, strict=True)]
    check(name, dtype, TABLE[name].meaning, tuple(values))
