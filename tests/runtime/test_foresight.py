"""Memory that is expected is touched before it is asked for; what nobody asks for goes back."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import config
from fusegrad.runtime import memory
from fusegrad.runtime.foresight import Foresight

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/statm").exists(), reason="no /proc on this system"
)
MIB = 1 << 20


@pytest.fixture(autouse=True)
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "available_cpus", lambda: 2)
    memory.trim()


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def grows(least: int, before: int) -> bool:
    end = time.monotonic() + 20
    while resident() - before < least and time.monotonic() < end:
        time.sleep(0.01)
    return resident() - before >= least


def test_it_is_touched_meanwhile_and_taken() -> None:
    before = resident()
    with Foresight() as foresight:
        foresight.expect(64 * MIB)
        assert grows(36 * MIB, before)
        # What is much smaller or larger lies elsewhere.
        small, large = memory.allocate(8 * MIB), memory.allocate(200 * MIB)
        block = memory.allocate(61 * MIB)
        place = {block.address: 0}
        assert {small.address, large.address}.isdisjoint(place)
        assert not memory.spares()
    view = block.view("uint8", (61 * MIB,))
    assert not view[::4096].any()
    view[...] = 3
    assert resident() - before < 100 * MIB


def test_what_nobody_takes_goes_back() -> None:
    before = resident()
    with Foresight() as foresight:
        foresight.expect(64 * MIB)
        assert grows(36 * MIB, before)
    end = time.monotonic() + 20
    while resident() - before > 16 * MIB and time.monotonic() < end:
        time.sleep(0.01)
    assert resident() - before <= 16 * MIB
    assert not memory.spares()


def test_little_is_not_expected() -> None:
    with Foresight() as foresight:
        foresight.expect(MIB)
        assert not memory.spares()


def test_a_step_uses_it_and_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    found = memory._Mappings._spare

    def spare(self: memory._Mappings, size: int) -> memory.Spare | None:
        taken.append(found(self, size))
        return taken[-1]

    monkeypatch.setattr(memory._Mappings, "_spare", spare)

    @fg.compile
    def f(x: fg.Tensor) -> fg.Tensor:
        return fg.cumsum(fg.sort(x, axis=1), axis=0) + fg.sort(x, axis=0)

    x = np.random.default_rng(0).standard_normal((3000, 2000), dtype=np.float32)
    expected = np.cumsum(np.sort(x, 1), 0) + np.sort(x, 0)
    np.testing.assert_allclose(f(x).numpy(), expected, rtol=1e-4, atol=1e-3)
    assert f.stats().arena_bytes > 16 * MIB
    assert any(taken)
    assert not memory.spares()
