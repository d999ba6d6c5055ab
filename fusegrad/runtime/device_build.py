"""From a graph to the record of a step for a GPU: passes, fusion and lowering as for the CPU.

Knows every stage by name; runs nothing. How a kernel is dealt to threads is decided where its code
is made, so that a record is the same for every architecture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from .. import config
from ..codegen.program import verify_program
from ..codegen.verify import verify_kernel
from ..ir.node import Node
from ..lower import Lowered
from ..passes.regions import Region
from .build import (
    Artifacts,
    Planner,
    Unit,
    analyse,
    lowered_regions,
    shared_outputs,
    units_inside,
)
from .device_image import call_of
from .devices import DeviceKernel
from .limit import Goal, within_limit
from .plan import Task, plan
from .record import Clock, DeviceRecord, array_constants

__all__ = ["build_device_record"]


def build_device_record(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    made: Artifacts,
    memory_limit: int | None = None,
) -> DeviceRecord:
    """Compile a graph as far as no architecture needs to be known.

    Parameters
    ----------
    outputs : sequence of Node
    inputs : sequence of Node
        The variables, in the order in which the step gets their addresses.
    donations : sequence of (int, int)
        (output, input) positions that the caller would like to share memory.
    made : Artifacts
        Filled with what every stage made.
    memory_limit : int, optional
        The most bytes of its arena.

    Raises
    ------
    MemoryLimitError
        If it needs more even where values are computed again.
    """

    def build(goal: Goal | None) -> DeviceRecord:
        made.restart()
        return _build(outputs, inputs, donations, made, goal)

    return within_limit(build, memory_limit)


def _build(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    made: Artifacts,
    goal: Goal | None,
) -> DeviceRecord:
    clock = Clock(made.milliseconds)
    made.graphs.append(("trace", tuple(outputs)))
    unit = analyse(
        made,
        outputs,
        clock,
        observe=lambda name, graph, _: made.graphs.append((name, tuple(graph))),
        goal=goal,
        gpu=True,
    )
    units = [*units_inside(unit), unit]
    donated = shared_outputs(donations, unit, units, inputs)
    code = _lower(made, units, clock)
    planner = Planner(made, lambda number, region: _launch(made, number, region))
    tasks = planner.tasks(unit)
    made.plan = plan(
        *("step", tasks, inputs, unit.roots, array_constants(outputs), planner.nbytes),
        *(donated, 0, [*planner.calls], next(planner.cursors)),
    )
    if config.current().check:
        verify_program(made.plan.program, len(code))
    clock.lap("plan")
    return DeviceRecord(
        made.plan.program,
        code,
        tuple(unit.positions),
        made.plan.donated,
        len(made.plan.program.groups),
        tuple(map(_spans, code)),
    )


def _spans(lowered: Lowered) -> tuple[tuple[int, bool, bool], ...]:
    """Of each argument of a kernel the bytes, and whether it is read and written."""
    return tuple(
        (_bytes(lowered, n), n not in lowered.written, n not in lowered.read)
        for n in range(len(lowered.arguments))
    )


def _lower(made: Artifacts, units: Sequence[Unit], clock: Clock) -> tuple[Lowered, ...]:
    """The kernel of every region; equal ones once."""
    numbers: dict[int, int] = {}
    code: list[Lowered] = []
    for _, _, first in lowered_regions(made, units):
        made.lowered[-1] = _apart(made.lowered[-1])
        if first not in numbers:
            numbers[first] = len(code)
            code.append(made.lowered[-1])
            if config.current().check:
                verify_kernel(made.lowered[-1].kernel)
        made.kernel_numbers.append(numbers[first])
    clock.lap("lower")
    return tuple(code)


def _apart(lowered: Lowered) -> Lowered:
    """Without results in the place of operands, where a library could not compute them so."""
    if not lowered.in_place:
        return lowered
    given = DeviceKernel.of(lowered, "", False)
    there, elsewhere = call_of(given), call_of(replace(given, shared=frozenset()))
    return lowered if there == elsewhere else replace(lowered, in_place=())


def _launch(made: Artifacts, number: int, region: Region) -> Task:
    """One kernel as a task of the plan."""
    lowered = made.lowered[number]
    reads = {value for stage in region.stages for value in stage.access.reads}
    return Task(
        made.kernel_numbers[number],
        lowered.arguments,
        frozenset(reads - set(region.nodes)),
        frozenset(lowered.arguments[p] for p in lowered.written),
        tuple((p, _bytes(lowered, p)) for p in lowered.partial),
        tuple((lowered.arguments[w], lowered.arguments[r]) for w, r in lowered.in_place),
        (int(lowered.items),) * len(lowered.kernel.sizes),
        lowered.items,
        max(1, lowered.items),
        1,
    )


def _bytes(lowered: Lowered, position: int) -> int:
    buffer = lowered.kernel.params[position].buffer
    extents = [e if isinstance(e, int) else lowered.items for e in buffer.shape]
    return math.prod(extents) * buffer.dtype.itemsize
