"""The planned arena is what steps use: all of it is written, and nothing beside it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from benchmarks import libraries, workloads
from benchmarks.workload import Task
from fusegrad.runtime import threads

NAMES = [w.name for w in workloads.WORKLOADS]
POISON = (0xFF, 0x5A)
"""Of which the first makes NaNs: who reads what nobody wrote is found out."""


class Recorded(libraries.Fused):
    """The library, which knows what it compiled and with what that was called last."""

    def compile(self, function: Callable[..., Any]) -> Callable[..., Any]:
        compiled = self.compiled = super().compile(function)

        def call(*arguments: Any) -> Any:
            self.arguments = arguments
            return compiled(*arguments)

        return call


def made(name: str) -> tuple[Recorded, Task]:
    library = Recorded()
    workload = workloads.find(name)
    return library, workload.builders["fusegrad"](library, workload.make_inputs("small"))


def results(library: Recorded, task: Task) -> list[Any]:
    """What one more step gives."""
    last = task.step()
    return [np.array(x) for x in library.outputs(task.outputs(last) if task.outputs else last)]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_planned_is_what_is_touched(name: str) -> None:
    library, task = made(name)
    other, twin = made(name)
    found = [results(library, task)]
    compiled: Any = library.compiled
    (((entry,),)) = compiled._entries.values()
    step = entry.step
    planned = step.record.program.arena_bytes
    (arena,) = step.arenas
    assert arena.nbytes == step.scratch_at + step.stride * threads.max_threads()
    assert planned <= step.scratch_at < planned + 4096
    memory = arena.view("uint8", (arena.nbytes,))
    touched = np.zeros(arena.nbytes, bool)
    for poison in POISON:
        memory[:] = poison
        found.append(results(library, task))
        touched |= memory != poison
    for values in found:
        for actual, expected in zip(values, results(other, twin), strict=True):
            np.testing.assert_array_equal(actual, expected)
    told = compiled.memory(*library.arguments)
    assert told.arena_bytes == planned
    belongs = np.zeros(step.scratch_at, bool)
    for held in told.values:
        belongs[held.offset : held.offset + held.nbytes] = True
    assert not touched[: step.scratch_at][~belongs].any()
    # Values begin at multiples of 64 bytes; partial results fill them for the chunks there are.
    lines = touched[: step.scratch_at].reshape(-1, 64).any(1)
    assert lines.sum() >= 0.95 * belongs.reshape(-1, 64).any(1).sum()
