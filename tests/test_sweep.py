"""Tests of the sweeps: that their cases are the same in every process, and right in fusegrad.

Knows no measured figure.
"""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import numpy as np
import pytest

from benchmarks import check, families, libraries, sweep
from benchmarks.workload import Workload

SMALL = 1 << 16


def small_cases(family: str, count: int) -> list[Workload]:
    """The first cases whose arrays are small."""
    found: list[Workload] = []
    number = 0
    while len(found) < count:
        case = families.find(families.name_of(family, 1, number))
        if case.make_work("small").moved < SMALL:
            found.append(case)
        number += 1
    return found


def outputs_of(case: Workload, contender: str, precision: Any = np.float32) -> list[np.ndarray]:
    kind = libraries.find(contender)
    library = kind()
    inputs = {
        name: value.astype(precision) if value.dtype == np.float32 else value
        for name, value in case.make_inputs("small").items()
    }
    arrays = library.outputs(case.builders[kind.family](library, inputs).step())
    return case.summary(arrays) if case.summary else arrays


@pytest.mark.parametrize("family", families.FAMILIES)
def test_cases_are_right(family: str) -> None:
    for case in small_cases(family, 5):
        verdict = check.compare(
            outputs_of(case, "fused"), outputs_of(case, "numpy", np.float64), case.tolerance
        )
        assert verdict.ok, f"{case.title}: {verdict.message}"


@pytest.mark.parametrize("family", families.FAMILIES)
def test_a_name_always_makes_the_same_case(family: str) -> None:
    name = families.name_of(family, 0, 7)
    first, second = families.find(name), families.find(name)
    assert first.title == second.title
    arrays = zip(
        first.make_inputs("full").values(), second.make_inputs("full").values(), strict=True
    )
    assert all(np.array_equal(a, b) for a, b in arrays)
    assert first.title != families.find(families.name_of(family, 1, 7)).title


def test_an_unknown_family() -> None:
    with pytest.raises(ValueError, match="unknown family 'lines'; known are elementwise"):
        families.find("lines:0:0")


@pytest.mark.parametrize("module", ["families", "families.case", "sweep"])
def test_doctests(module: str) -> None:
    results = doctest.testmod(importlib.import_module(f"benchmarks.{module}"))
    assert results.attempted
    assert not results.failed


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--family draws --seed 1 --first 3 --points 2 --rounds 1 --threads 1 --peers numpy"
    assert sweep.main(arguments.split()) == 0
    text = capsys.readouterr().out
    assert "of 2 at most 1.1 of the best peer" in text
    assert "draws:1:3" in text
    assert "draws:1:4" in text


def test_the_worst_comes_first(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        sweep.Figures("a:0:0", "good", {"fused": [1.0], "jax": [2.0]}),
        sweep.Figures("a:0:1", "bad", {"fused": [3.0], "jax": [2.0]}),
        sweep.Figures("a:0:2", "broken", {"jax": [2.0]}, {"fused": "wrong: all of it"}),
    ]
    assert sweep.report("a", lines, ["jax"], worst=2) == 1
    text = capsys.readouterr().out
    assert text.index("broken") < text.index("bad")
    assert "good" not in text
    assert "1 of 3 at most" in text
    assert "fused has no time for a:0:2 (broken): wrong: all of it" in text
