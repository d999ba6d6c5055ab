"""What every launch of a step takes: its commands one by one, each timed.

Knows programs and their table; knows no graph.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Sequence
from dataclasses import field, replace
from typing import Any, final

from ..codegen.program import (
    Call,
    Command,
    Copy,
    Cursor,
    Group,
    Launch,
    Loop,
    Rotation,
    Slot,
    SlotKind,
    Switch,
    While,
)
from ..codegen.records import dataclass
from . import executor
from .step import Step

__all__ = ["Timing", "time_launches"]


@final
@dataclass
class Timing:
    """The times of one command: in nanoseconds, one for each time that it ran, all rounds."""

    command: Launch | Call | Copy
    times: list[list[int]] = field(default_factory=list)

    @property
    def calls(self) -> int:
        """How often it runs in a step."""
        return len(self.times[-1])

    @property
    def nanoseconds(self) -> int:
        """What it takes in a step: of every run of it the best round."""
        return sum(min(each) for each in zip(*self.times, strict=True))


def time_launches(step: Step, addresses: Sequence[int], rounds: int) -> list[Timing]:
    """Run a step several times, every launch on its own.

    Parameters
    ----------
    step : Step
    addresses : sequence of int
        Those of inputs and outputs. Whatever lies there is overwritten.
    rounds : int
        The first one warms up.

    Returns
    -------
    list of Timing
        In the order of the program.
    """
    return _Walk(step, addresses).run(rounds)


@final
class _Walk:
    """The commands of a program, walked in Python; cursors are moved here."""

    def __init__(self, step: Step, addresses: Sequence[int]) -> None:
        self.step = step
        self.program = step.record.program
        arena = step.take_arena()
        self.arena = arena
        pointers = [*addresses, *step.fixed]
        self.block = step.block(
            0, arena.address, arena.address + step.scratch_at, step.stride, *pointers
        )
        self.timings: dict[int, Timing] = {}
        self.tables: dict[int, Any] = {}
        self.starts = {
            SlotKind.INPUT: 0,
            SlotKind.OUTPUT: self.program.inputs,
            SlotKind.CONSTANT: self.program.inputs + self.program.outputs,
            SlotKind.CURSOR: self.program.inputs + self.program.outputs + self.program.constants,
        }

    def run(self, rounds: int) -> list[Timing]:
        for _ in range(1 + rounds):
            for timing in self.timings.values():
                timing.times.append([])
            self.commands(self.program.commands)
        self.step.arenas.append(self.arena)
        for timing in self.timings.values():
            del timing.times[:1]
        return list(self.timings.values())

    def commands(self, commands: Sequence[Command]) -> None:
        for command in commands:
            match command:
                case Group(launches):
                    for launch in launches:
                        self.timed(launch, Group((launch,)))
                case Call() | Copy():
                    self.timed(command, command)
                case Loop(trips, cursors, rotations, body):
                    self.begin(cursors)
                    for _ in range(trips):
                        self.commands(body)
                        self.move(cursors, rotations)
                case While(condition, cursors, rotations, test, body):
                    self.begin(cursors)
                    self.commands(test)
                    while ctypes.c_uint8.from_address(self.address(condition)).value:
                        self.commands(body)
                        self.move(cursors, rotations)
                        self.commands(test)
                case Switch(index, branches):
                    number = ctypes.c_int64.from_address(self.address(index)).value
                    self.commands(branches[min(max(number, 0), len(branches) - 1)])

    def timed(self, key: Launch | Call | Copy, command: Command) -> None:
        timing = self.timings.setdefault(id(key), Timing(key, [[]]))
        table = self.tables.get(id(key))
        if table is None:
            alone = replace(self.program, commands=(command,))
            table = executor.table(alone, self.step.kernels, [c.address for c in self.step.calls])
            self.tables[id(key)] = table
        self.block[0] = table.buffer_info()[0]
        started = time.perf_counter_ns()
        self.step.run(self.block)
        timing.times[-1].append(time.perf_counter_ns() - started)

    # --- places -----------------------------------------------------------------------------------

    def address(self, slot: Slot) -> int:
        if slot.kind is SlotKind.ARENA:
            return self.arena.address + slot.index
        return int(self.block[4 + self.starts[slot.kind] + slot.index])

    def set_cursor(self, index: int, address: int) -> None:
        self.block[4 + self.starts[SlotKind.CURSOR] + index] = address

    def cursor(self, index: int) -> int:
        return self.address(Slot(SlotKind.CURSOR, index))

    def begin(self, cursors: Sequence[Cursor]) -> None:
        for c in cursors:
            self.set_cursor(c.index, self.address(c.start) + c.offset)

    def move(self, cursors: Sequence[Cursor], rotations: Sequence[Rotation]) -> None:
        for c in cursors:
            self.set_cursor(c.index, self.cursor(c.index) + c.step)
        for r in rotations:
            written, spare = self.cursor(r.following), self.cursor(r.spare)
            self.set_cursor(r.current, written)
            self.set_cursor(r.following, spare)
            self.set_cursor(r.spare, written)
