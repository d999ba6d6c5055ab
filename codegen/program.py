"""The program language: a step as launches of kernels, calls, loops and branches over slots.

Knows kernels and callees by position and slots by kind; knows no tensors and no machine code.

    program ::= program NAME (slot*) { cmd* }
    cmd     ::= group { launch+ }              independent launches, their chunks dealt together
              | call SYMBOL(slot*)             a function of the host
              | copy slot = slot bytes INT
              | loop INT { cursor* rotation* cmd* }
              | while slot { cursor* rotation* cmd* } { cmd* }      first the test, then the body
              | switch slot { cmd* } else { cmd* } ...
    launch  ::= launch KERNEL(slot*; size*) items INT grain INT chunks INT
    cursor  ::= cursor(i) = slot + INT step INT           bytes; it moves after each iteration
    rotation ::= rotate i, i, i
    slot    ::= input(i) | output(i) | arena(offset) | constant(i) | cursor(i)

Commands run in order, each after the one before it is done. `items` is the extent of the kernel's
parallel loop, dealt in `chunks` pieces of `grain` (the last one may be shorter).

A cursor is a place that moves while its loop runs: it steps by a number of bytes, or takes part in
a rotation. After each iteration ``rotate a, b, c`` lets a and c be where b was, and b where c was:
what was written to b is read from a the next time. A `while` runs its test before each iteration,
and ends when the bool in its slot is false. A `switch` runs the branch whose number is the int64 in
its slot; a number out of range means the nearest branch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeAlias, final

from .records import dataclass

__all__ = [
    "Call",
    "Command",
    "Copy",
    "Cursor",
    "Group",
    "Launch",
    "Loop",
    "Program",
    "Rotation",
    "Slot",
    "SlotKind",
    "Switch",
    "While",
    "blocks_of",
    "map_slots",
    "print_program",
    "verify_program",
    "walk",
]


class SlotKind(Enum):
    """Where a command finds an argument."""

    INPUT = "input"
    OUTPUT = "output"
    ARENA = "arena"
    CONSTANT = "constant"
    CURSOR = "cursor"


@final
@dataclass(frozen=True)
class Slot:
    """A place: `index` is a position among inputs, outputs, ..., or a byte offset."""

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
class Call:
    """A function of the host: `callee` is a position among the program's calls."""

    callee: int
    slots: tuple[Slot, ...]


@final
@dataclass(frozen=True)
class Copy:
    """So many bytes from one place to another."""

    target: Slot
    source: Slot
    bytes: int


@final
@dataclass(frozen=True)
class Cursor:
    """A place that moves: it begins `offset` bytes after `start`, and moves by `step` bytes."""

    index: int
    start: Slot
    offset: int
    step: int


@final
@dataclass(frozen=True)
class Rotation:
    """Three cursors: what is read, what is written, and what is written the next time."""

    current: int
    following: int
    spare: int


@final
@dataclass(frozen=True)
class Loop:
    """Commands that run `trips` times."""

    trips: int
    cursors: tuple[Cursor, ...]
    rotations: tuple[Rotation, ...]
    body: tuple[Command, ...]


@final
@dataclass(frozen=True)
class While:
    """Commands that run as long as `test` leaves true in `condition`."""

    condition: Slot
    cursors: tuple[Cursor, ...]
    rotations: tuple[Rotation, ...]
    test: tuple[Command, ...]
    body: tuple[Command, ...]


@final
@dataclass(frozen=True)
class Switch:
    """One of several branches, by the number in a slot."""

    index: Slot
    branches: tuple[tuple[Command, ...], ...]


Command: TypeAlias = Group | Call | Copy | Loop | While | Switch

_PARTS: dict[str, Any] = {
    kind.__name__: kind
    for kind in (Slot, Launch, Group, Call, Copy, Cursor, Rotation, Loop, While, Switch)
}


@final
@dataclass(frozen=True)
class Program:
    """A whole step: the commands in order, and the memory they need.

    `calls` has the symbol of every function of the host, `cursors` is how many cursors there are.
    """

    name: str
    inputs: int
    outputs: int
    constants: int
    arena_bytes: int
    scratch_bytes: int
    commands: tuple[Command, ...]
    calls: tuple[str, ...] = ()
    cursors: int = 0

    @property
    def groups(self) -> list[Group]:
        """The groups of launches, those of loops and branches too, in the order of the text."""
        return [c for c in walk(self.commands) if isinstance(c, Group)]

    def to_json(self) -> dict[str, Any]:
        """The program as plain lists and numbers, for the disk cache."""
        return {
            "name": self.name,
            "counts": [self.inputs, self.outputs, self.constants, self.cursors],
            "bytes": [self.arena_bytes, self.scratch_bytes],
            "calls": list(self.calls),
            "commands": [_plain(c) for c in self.commands],
        }

    @staticmethod
    def from_json(record: dict[str, Any]) -> Program:
        """The inverse of `to_json`."""
        inputs, outputs, constants, cursors = record["counts"]
        arena, scratch = record["bytes"]
        commands = tuple(_made(c) for c in record["commands"])
        calls = tuple(record["calls"])
        name = record["name"]
        return Program(name, inputs, outputs, constants, arena, scratch, commands, calls, cursors)


def _plain(part: Any) -> Any:
    """A part of a program as lists and numbers: the name of its class comes first."""
    if isinstance(part, tuple):
        return [_plain(p) for p in part]
    if isinstance(part, SlotKind):
        return part.value
    if is_dataclass(part):
        return [type(part).__name__, *(_plain(getattr(part, f.name)) for f in fields(part))]
    return part


def _made(plain: Any) -> Any:
    if not isinstance(plain, list):
        return plain
    if plain and isinstance(plain[0], str):
        if plain[0] == "Slot":
            return Slot(SlotKind(plain[1]), int(plain[2]))
        return _PARTS[plain[0]](*(_made(p) for p in plain[1:]))
    return tuple(_made(p) for p in plain)


def blocks_of(command: Command) -> tuple[tuple[Command, ...], ...]:
    """The commands inside of a command, block by block."""
    if isinstance(command, Loop):
        return (command.body,)
    if isinstance(command, While):
        return command.test, command.body
    return command.branches if isinstance(command, Switch) else ()


def walk(commands: Sequence[Command]) -> Iterator[Command]:
    """Commands and those inside of them, in the order of the text."""
    for command in commands:
        yield command
        for block in blocks_of(command):
            yield from walk(block)


def map_slots(
    commands: Sequence[Command], place: Callable[[Slot], Slot], cursor: Callable[[int], int]
) -> tuple[Command, ...]:
    """Commands with every slot replaced, and every cursor given another number."""

    def moved(slot: Slot) -> Slot:
        return Slot(slot.kind, cursor(slot.index)) if slot.kind is SlotKind.CURSOR else place(slot)

    def block(inside: Sequence[Command]) -> tuple[Command, ...]:
        return map_slots(inside, place, cursor)

    def cursors(given: Sequence[Cursor]) -> tuple[Cursor, ...]:
        return tuple(replace(c, index=cursor(c.index), start=moved(c.start)) for c in given)

    def rotations(given: Sequence[Rotation]) -> tuple[Rotation, ...]:
        return tuple(
            Rotation(cursor(r.current), cursor(r.following), cursor(r.spare)) for r in given
        )

    def one(command: Command) -> Command:
        match command:
            case Group(launches):
                return Group(tuple(replace(e, slots=tuple(map(moved, e.slots))) for e in launches))
            case Call(callee, slots):
                return Call(callee, tuple(map(moved, slots)))
            case Copy(target, source, count):
                return Copy(moved(target), moved(source), count)
            case Loop(trips, own, turns, body):
                return Loop(trips, cursors(own), rotations(turns), block(body))
            case While(condition, own, turns, test, body):
                return While(
                    moved(condition), cursors(own), rotations(turns), block(test), block(body)
                )
            case Switch(number, branches):
                return Switch(moved(number), tuple(map(block, branches)))

    return tuple(map(one, commands))


# --- text -----------------------------------------------------------------------------------------


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
    printer = _Printer(kernels, program.calls)
    printer.block(program.commands, "  ")
    return "\n".join([head, *printer.lines, "}"])


class _Printer:
    def __init__(self, kernels: Sequence[str], calls: Sequence[str]) -> None:
        self.kernels = kernels
        self.calls = calls
        self.lines: list[str] = []

    def block(self, commands: Sequence[Command], indent: str) -> None:
        for command in commands:
            self.command(command, indent)

    def command(self, command: Command, indent: str) -> None:
        lines = self.lines
        match command:
            case Group(launches):
                self.group(launches, indent)
            case Call(callee, slots):
                lines.append(f"{indent}call {self.calls[callee]}({', '.join(map(str, slots))})")
            case Copy(target, source, count):
                lines.append(f"{indent}copy {target} = {source} bytes {count}")
            case Loop(trips, cursors, rotations, body):
                lines.append(f"{indent}loop {trips} {{")
                self.moving(cursors, rotations, indent + "  ")
                self.block(body, indent + "  ")
                lines.append(f"{indent}}}")
            case While(condition, cursors, rotations, test, body):
                lines.append(f"{indent}while {condition} {{")
                self.moving(cursors, rotations, indent + "  ")
                self.block(test, indent + "  ")
                lines.append(f"{indent}}} {{")
                self.block(body, indent + "  ")
                lines.append(f"{indent}}}")
            case Switch(index, branches):
                lines.append(f"{indent}switch {index} {{")
                for number, branch in enumerate(branches):
                    if number:
                        lines.append(f"{indent}}} else {{")
                    self.block(branch, indent + "  ")
                lines.append(f"{indent}}}")

    def group(self, launches: Sequence[Launch], indent: str) -> None:
        several = len(launches) > 1
        if several:
            self.lines.append(f"{indent}group {{")
        for e in launches:
            slots = ", ".join(map(str, e.slots))
            sizes = "".join(f"; {', '.join(map(str, e.sizes))}" if e.sizes else "")
            self.lines.append(
                f"{indent}{'  ' if several else ''}launch {self.kernels[e.kernel]}({slots}{sizes}) "
                f"items {e.items} grain {e.grain} chunks {e.chunks}"
            )
        if several:
            self.lines.append(f"{indent}}}")

    def moving(self, cursors: Sequence[Cursor], rotations: Sequence[Rotation], indent: str) -> None:
        for c in cursors:
            self.lines.append(f"{indent}cursor({c.index}) = {c.start} + {c.offset} step {c.step}")
        for r in rotations:
            self.lines.append(f"{indent}rotate {r.current}, {r.following}, {r.spare}")


# --- the check ------------------------------------------------------------------------------------


def verify_program(program: Program, kernels: int) -> None:
    """Raise ValueError when a command names what does not exist or deals its items wrongly."""
    limits = {
        SlotKind.INPUT: program.inputs,
        SlotKind.OUTPUT: program.outputs,
        SlotKind.CONSTANT: program.constants,
        SlotKind.ARENA: program.arena_bytes + 1,
        SlotKind.CURSOR: program.cursors,
    }

    def check(slot: Slot, what: str) -> None:
        if not 0 <= slot.index < limits[slot.kind]:
            raise ValueError(f"{what}: no slot {slot}")

    def moving(cursors: Sequence[Cursor], rotations: Sequence[Rotation]) -> None:
        own = {c.index for c in cursors}
        for c in cursors:
            check(c.start, "cursor")
            check(Slot(SlotKind.CURSOR, c.index), "cursor")
        for r in rotations:
            if not {r.current, r.following, r.spare} <= own:
                raise ValueError(f"rotation of {r.current}: its cursors belong to another loop")

    for command in walk(program.commands):
        match command:
            case Group(launches):
                for e in launches:
                    _verify_launch(e, kernels)
                    for slot in e.slots:
                        check(slot, f"launch of kernel {e.kernel}")
            case Call(callee, slots):
                if not 0 <= callee < len(program.calls):
                    raise ValueError(f"call of function {callee}; there are {len(program.calls)}")
                for slot in slots:
                    check(slot, f"call of {program.calls[callee]}")
            case Copy(target, source, _):
                check(target, "copy")
                check(source, "copy")
            case Loop(_, cursors, rotations, _):
                moving(cursors, rotations)
            case While(condition, cursors, rotations, _, _):
                check(condition, "while")
                moving(cursors, rotations)
            case Switch(index, branches):
                check(index, "switch")
                if not branches:
                    raise ValueError("switch without branches")


def _verify_launch(e: Launch, kernels: int) -> None:
    if not 0 <= e.kernel < kernels:
        raise ValueError(f"launch of kernel {e.kernel}; there are {kernels}")
    if e.chunks < 1 or e.grain < 1 or e.grain * e.chunks < e.items:
        raise ValueError(
            f"launch of kernel {e.kernel}: {e.chunks} chunks of {e.grain} do not cover {e.items}"
        )
