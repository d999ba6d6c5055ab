"""The order of launches: together where that costs no memory, else one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusegrad as fg

RNG = np.random.default_rng(0)


def chains(count: int, rows: int) -> tuple[int, Any]:
    """The bytes of the arena of several chains that share nothing but the sum of their results."""

    def function(w: Any, *xs: Any) -> Any:
        return sum(fg.exp(-fg.exp(x @ w) @ w.T) @ w.sum(1) for x in xs)

    w, *xs = (RNG.standard_normal((rows, rows), dtype=np.float32) / rows for _ in range(count + 1))
    compiled = fg.compile(function)
    found = np.asarray(compiled(w, *xs))
    expected = sum(np.exp(-np.exp(x @ w) @ w.T) @ w.sum(1) for x in xs)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    return compiled.stats().arena_bytes, compiled.explain(w, *xs)["program"]


def test_large_launches_do_not_hold_their_results_together() -> None:
    assert chains(8, 768)[0] < 4 * 768 * 768 * 4


def test_small_launches_run_together() -> None:
    program = chains(8, 64)[1]
    assert program.count("group {") < 8
