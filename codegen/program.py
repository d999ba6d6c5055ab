"""The program language: a step as launches of kernels over slots.

Knows kernels by position and slots by kind; knows no tensors and no machine code.

    program ::= program NAME (slot*) { group* }
    group   ::= group { launch+ }              independent launches, their chunks dealt together
    launch  ::= launch KERNEL(slot*; size*) items INT grain INT chunks INT
    slot    ::= input(i) | output(i) | arena(offset) | constant(i)

Groups run in order, each after the one before it is done. `items` is the extent of the kernel's
parallel loop, dealt in `chunks` pieces of `grain` (the last one may be shorter).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, final

__all__ = ["Group", "Launch", "Program", "Slot", "SlotKind", "print_program", "verify_program"]


class SlotKind(Enum):
    """Where a launch finds an argument."""

    INPUT = "input"
    OUTPUT = "output"
    ARENA = "arena"
    CONSTANT = "constant"


@final
@dataclass(frozen=True)
class Slot:
    """A place: `index` is a position among inputs, outputs or constants, or a byte offset."""

    kind: SlotKind
    index: int

    def __str__(self) -> str:
        return f"{self.kind.value}({self.index})"


@final
@dataclass(frozen=True)
class Launch:
    """One kernel over its slots; slots of partial parameters are arena places for the copies."""

    kernel: int
    slots: tuple[Slot, ...]
    sizes: tuple[int, ...]
    items: int
    grain: int
    chunks: int


@final
@dataclass(frozen=True)
class Group:
    """Launches that do not depend on each other."""

    launches: tuple[Launch, ...]


@final
@dataclass(frozen=True)
class Program:
    """A whole step: the groups in order, and the memory they need."""

    name: str
    inputs: int
    outputs: int
    constants: int
    arena_bytes: int
    scratch_bytes: int
    groups: tuple[Group, ...]

    def to_json(self) -> dict[str, Any]:
        """The program as plain lists and numbers, for the disk cache."""
        return {
            "name": self.name,
            "counts": [self.inputs, self.outputs, self.constants],
            "bytes": [self.arena_bytes, self.scratch_bytes],
            "groups": [
                [
                    [
                        e.kernel,
                        [[s.kind.value, s.index] for s in e.slots],
                        list(e.sizes),
                        e.items,
                        e.grain,
                        e.chunks,
                    ]
                    for e in g.launches
                ]
                for g in self.groups
            ],
        }

    @staticmethod
    def from_json(record: dict[str, Any]) -> Program:
        """The inverse of `to_json`."""
        groups = tuple(
            Group(
                tuple(
                    Launch(
                        kernel,
                        tuple(Slot(SlotKind(kind), int(i)) for kind, i in slots),
                        tuple(sizes),
                        items,
                        grain,
                        chunks,
                    )
                    for kernel, slots, sizes, items, grain, chunks in launches
                )
            )
            for launches in record["groups"]
        )
        inputs, outputs, constants = record["counts"]
        arena, scratch = record["bytes"]
        return Program(record["name"], inputs, outputs, constants, arena, scratch, groups)


def print_program(program: Program, kernels: Sequence[str]) -> str:
    """The program as text; `kernels` gives the names.

    Examples
    --------
    >>> launch = Launch(0, (Slot(SlotKind.INPUT, 0), Slot(SlotKind.OUTPUT, 0)), (8,), 8, 8, 1)
    >>> print(print_program(Program("step", 1, 1, 0, 0, 0, (Group((launch,)),)), ["relu"]))
    program step(inputs 1, outputs 1, constants 0; arena 0 bytes, scratch 0 bytes a thread) {
      launch relu(input(0), output(0); 8) items 8 grain 8 chunks 1
    }
    """
    head = (
        f"program {program.name}(inputs {program.inputs}, outputs {program.outputs}, "
        f"constants {program.constants}; arena {program.arena_bytes} bytes, "
        f"scratch {program.scratch_bytes} bytes a thread) {{"
    )
    lines = [head]
    for group in program.groups:
        several = len(group.launches) > 1
        if several:
            lines.append("  group {")
        for e in group.launches:
            slots = ", ".join(map(str, e.slots))
            sizes = "".join(f"; {', '.join(map(str, e.sizes))}" if e.sizes else "")
            lines.append(
                f"  {'  ' if several else ''}launch {kernels[e.kernel]}({slots}{sizes}) "
                f"items {e.items} grain {e.grain} chunks {e.chunks}"
            )
        if several:
            lines.append("  }")
    lines.append("}")
    return "\n".join(lines)


def verify_program(program: Program, kernels: int) -> None:
    """Raise ValueError when a launch names what does not exist or deals its items wrongly."""
    limits = {
        SlotKind.INPUT: program.inputs,
        SlotKind.OUTPUT: program.outputs,
        SlotKind.CONSTANT: program.constants,
        SlotKind.ARENA: program.arena_bytes + 1,
    }
    for group in program.groups:
        for e in group.launches:
            if not 0 <= e.kernel < kernels:
                raise ValueError(f"launch of kernel {e.kernel}; there are {kernels}")
            for slot in e.slots:
                if not 0 <= slot.index < limits[slot.kind]:
                    raise ValueError(f"launch of kernel {e.kernel}: no slot {slot}")
            if e.chunks < 1 or e.grain < 1 or e.grain * e.chunks < e.items:
                raise ValueError(
                    f"launch of kernel {e.kernel}: "
                    f"{e.chunks} chunks of {e.grain} do not cover {e.items}"
                )
