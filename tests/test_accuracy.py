"""The published table of errors: complete, with the bounds of the code, and true in a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.accuracy import FUNCTIONS, sweep32, sweep64
from fusegrad.codegen.dtypes import float32, float64
from fusegrad.codegen.scalar import TABLE
from fusegrad.codegen.scalar_math import EXPANSIONS

PAGE = Path(__file__).parent.parent / "docs" / "accuracy.md"


def published() -> dict[str, list[float]]:
    table = PAGE.read_text().split("<!-- begin table -->")[1].split("<!-- end table -->")[0]
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.split("\n")[3:-1]]
    return {name: [float(cell) for cell in cells] for name, *cells in rows}


def test_the_table_is_complete_and_up_to_date() -> None:
    rows = published()
    assert list(rows) == list(FUNCTIONS)
    for name, (bound32, measured32, _, bound64, measured64, _) in rows.items():
        bounds = TABLE[name].max_ulp
        assert (bound32, bound64) == (bounds[float32], bounds[float64]), name
        assert measured32 <= bound32, name
        assert measured64 <= bound64, name


def test_every_approximated_function_is_in_it() -> None:
    """Or is a function of two numbers, exact, or the other side of one that is."""
    others = {"erfcinv", "zeta", "reciprocal", "round", "copysign", "fmod"}
    bounded = {name for name, row in EXPANSIONS.items() if row.max_ulp.get(float32)}
    two = {name for name in bounded if TABLE[name].arity == 2}
    assert bounded - two - others == FUNCTIONS.keys()


@pytest.mark.parametrize("name", ["exp", "tanh", "log", "erfinv"])
def test_the_sweep_holds_the_bounds(name: str) -> None:
    assert sweep32(name, 1 << 14)[0] <= TABLE[name].max_ulp[float32]
    assert sweep64(name)[0] <= TABLE[name].max_ulp[float64]
