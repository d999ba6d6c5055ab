"""Arguments of compiled functions in every layout that NumPy has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg

BASE = np.random.default_rng(0).standard_normal((34, 51)).astype(np.float32)


def misaligned() -> Any:
    memory = np.zeros(17 * 17 * 4 + 1, np.uint8)
    values = memory[1:].view(np.float32).reshape(17, 17)
    values[...] = BASE[:17, :17]
    return values


def read_only() -> Any:
    values = BASE[:17, :17].copy()
    values.flags.writeable = False
    return values


LAYOUTS: dict[str, Callable[[], Any]] = {
    "contiguous": lambda: BASE[:17, :17].copy(),
    "sliced": lambda: BASE[:17, :17],
    "steps": lambda: BASE[::2, ::3],
    "transposed": lambda: BASE[:17, :17].T,
    "fortran": lambda: np.asfortranarray(BASE[:17, :17]),
    "backwards": lambda: BASE[16::-1, 16::-1],
    "broadcast": lambda: np.broadcast_to(BASE[0, :17], (17, 17)),
    "one number": lambda: np.broadcast_to(np.float32(3), (17, 17)),
    "misaligned": misaligned,
    "read-only": read_only,
    "big-endian values in float64": lambda: BASE[:17, :17].astype(">f8").astype("f8"),
}


@fg.compile
def several(x: Any, y: Any) -> Any:
    return fg.exp(x) + y, x @ y, (x * y).sum(0), fg.max(x, axis=1), x.T


@pytest.mark.parametrize("first", LAYOUTS)
@pytest.mark.parametrize("second", ["contiguous", "transposed", "broadcast"])
def test_layouts(first: str, second: str) -> None:
    x, y = LAYOUTS[first](), LAYOUTS[second]()
    found = several(x, y)
    expected = (np.exp(x) + y, x @ y, (x * y).sum(0), x.max(1), x.T)
    for a, e in zip(found, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), e, rtol=1e-4, atol=1e-5)
        assert a.shape == e.shape


def test_layouts_are_one_program() -> None:
    function = fg.compile(lambda x: fg.exp(x) * 2)
    for name in LAYOUTS.keys() - {"big-endian values in float64"}:
        function(LAYOUTS[name]())
    assert function.stats().compiles == 1


def test_arguments_are_not_changed() -> None:
    x = BASE.copy()
    step = fg.compile(lambda x: x + 1)
    step(x)
    np.testing.assert_array_equal(x, BASE)
