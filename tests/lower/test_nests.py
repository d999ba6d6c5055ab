"""Loop nests that compute cheap operands themselves, and copies that are one run of memory."""

from __future__ import annotations

import numpy as np
import pytest

from fusegrad.codegen.dtypes import bfloat16, float32, int64
from fusegrad.ops import build
from tests.lower.support import check, variable


def test_indices_and_updates_are_computed_where_they_are_read() -> None:
    rng = np.random.default_rng(0)
    x, updates = variable((9, 3)), variable((20, 3))
    places = variable((20,), int64)
    wrapped = build.select(
        build.lt(places, build.full((20,), 0, int64)),
        build.add(places, build.full((20,), 9, int64)),
        places,
    )
    halved = build.mul(updates, build.full((20, 3), 0.5, float32))
    shifted = build.add(x, build.full((9, 3), 1, float32))
    outputs = [build.scatter(shifted, halved, wrapped, 0, how) for how in ("sum", "set", "max")]
    outputs.append(build.scatter_add(build.neg(halved), wrapped, 0, 9))
    inputs = {
        x: rng.standard_normal((9, 3)).astype("f4"),
        updates: rng.standard_normal((20, 3)).astype("f4"),
        places: rng.integers(-9, 9, 20),
    }
    for output in outputs:
        assert check([output], inputs).regions == 1
    # What others read too is there only once.
    check([*outputs, halved, build.sum_(shifted, (0, 1))], inputs)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_counting_stores_no_ones(count: int) -> None:
    places = variable((count,), int64)
    ones = build.full((count,), 1, int64)
    made = check(
        [build.scatter_add(ones, places, 0, 7)],
        {places: np.random.default_rng(count).integers(0, 7, count)},
    )
    assert made.record.program.arena_bytes == 0


@pytest.mark.parametrize("width", [1, 2, 4, 5, 33])
def test_rows_of_every_width_are_added_in_order(width: int) -> None:
    rng = np.random.default_rng(width)
    x, updates, places = variable((4, 2, width)), variable((50, 2, width)), variable((50,), int64)
    inputs = {
        x: rng.standard_normal((4, 2, width)).astype("f4"),
        updates: rng.standard_normal((50, 2, width)).astype("f4"),
        places: rng.integers(0, 4, 50),
    }
    narrow = build.cast(x, bfloat16), build.cast(updates, bfloat16)
    check(
        [
            build.scatter(x, updates, places, 0, "sum"),
            build.scatter(*narrow, places, 0, "sum"),
            build.scatter_add(updates, places, 0, 4),
        ],
        inputs,
    )
