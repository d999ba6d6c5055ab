"""The native entry of every step: one function that runs a program given as a table.

Knows the layout of the table, made here from a program and the addresses of its kernels; knows no
graph.

A step costs no code of its own: the table is data, and the same few instructions walk every table.
The layout is that of `commands`.
"""

from __future__ import annotations

import ctypes
import functools
from array import array
from collections.abc import Sequence
from typing import Any, final

from ..codegen.program import (
    Call,
    Command,
    Copy,
    Cursor,
    Group,
    Launch,
    Loop,
    Program,
    Rotation,
    Slot,
    SlotKind,
    Switch,
    While,
)
from . import cache, loader, machine, threads
from .commands import COMMANDS_IR
from .interruption import INTERRUPTION_IR, symbols

__all__ = ["Entry", "entry", "table"]


_TEXT = COMMANDS_IR + INTERRUPTION_IR


@final
class Entry:
    """The native function ``fg_call(block)``.

    The block has the addresses of table, arena and scratch, the bytes of scratch a thread has,
    the addresses of inputs, outputs and constants, and room for those of cursors.
    """

    def __init__(self, library: loader.Library) -> None:
        self.library = library
        self.address = library.address("fg_call")
        self.call: Any = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address)


@functools.cache
def entry() -> Entry:
    """The entry, compiled once for a machine and kept on disk."""
    key = cache.Key([("executor", _TEXT.encode()), *machine.parts()])
    disk = cache.default()
    found = disk.get(key) if disk is not None else None
    if found is not None:
        code = found.blobs["object"]
    else:
        code = loader.compile_module(_TEXT, level=0)
        if disk is not None:
            disk.put(key, {}, {"object": code})
    return Entry(
        loader.load(code, ["fg_call"], {"fg_parallel": threads.symbol_address(), **symbols()})
    )


_KINDS = {Group: 1, Call: 2, Copy: 3, Loop: 4, While: 5, Switch: 6}


def table(
    program: Program,
    kernels: Sequence[tuple[int, int]],
    calls: Sequence[int] = (),
    interruptible: bool = False,
) -> array[int]:
    """The program as words.

    Parameters
    ----------
    program : Program
    kernels : sequence of (int, int)
        The addresses of each kernel and of its finish (0 when it has none).
    calls : sequence of int
        The address of each function of the host.
    interruptible : bool, optional
        Whether loops of a known length may end early; then nothing they write must be state.

    Returns
    -------
    array of int64
        Alive as long as calls use its address.
    """
    writer = _Writer(program, kernels, calls, interruptible)
    words = writer.block(program.commands)
    return array("q", [writer.most_words, writer.most_launches, *words])


@final
class _Writer:
    def __init__(
        self,
        program: Program,
        kernels: Sequence[tuple[int, int]],
        calls: Sequence[int],
        interruptible: bool,
    ) -> None:
        self.kernels = kernels
        self.calls = calls
        self.interruptible = interruptible
        self.most_words = self.most_launches = 1
        outputs = program.inputs + program.outputs
        self.starts = {
            SlotKind.INPUT: 0,
            SlotKind.OUTPUT: program.inputs,
            SlotKind.CONSTANT: outputs,
            SlotKind.CURSOR: outputs + program.constants,
        }

    def place(self, slot: Slot) -> tuple[int, int]:
        if slot.kind is SlotKind.ARENA:
            return 1, slot.index
        return 0, self.starts[slot.kind] + slot.index

    def block(self, commands: Sequence[Command]) -> list[int]:
        words: list[int] = []
        for command in commands:
            payload = self.payload(command)
            words += [_KINDS[type(command)], 2 + len(payload), *payload]
        return [*words, 0]

    def payload(self, command: Command) -> list[int]:
        match command:
            case Group(launches):
                return self.group(launches)
            case Call(callee, slots):
                self.most_words = max(self.most_words, len(slots))
                return [self.calls[callee], len(slots), *(w for s in slots for w in self.place(s))]
            case Copy(target, source, count):
                return [count, *self.place(target), *self.place(source)]
            case Loop(trips, cursors, rotations, body):
                moving = self.moving(cursors, rotations)
                counts = [len(cursors), len(rotations)]
                return [trips, int(self.interruptible), *counts, *moving, *self.block(body)]
            case While(condition, cursors, rotations, test, body):
                first = self.block(test)
                counts = [len(cursors), len(rotations), len(first)]
                moving = self.moving(cursors, rotations)
                return [*self.place(condition), *counts, *moving, *first, *self.block(body)]
            case Switch(index, branches):
                blocks = [self.block(branch) for branch in branches]
                # After kind, length, place, count and the table of branches itself.
                begins = [5 + len(blocks)]
                for block in blocks:
                    begins.append(begins[-1] + len(block))
                words = [w for block in blocks for w in block]
                return [*self.place(index), len(blocks), *begins[:-1], *words]

    def group(self, launches: Sequence[Launch]) -> list[int]:
        words = [sum(e.chunks for e in launches), len(launches)]
        used = 0
        for e in launches:
            kernel, finish = self.kernels[e.kernel]
            words += [kernel, finish, len(e.slots), len(e.sizes), e.items, e.grain, e.chunks]
            for slot in e.slots:
                words += self.place(slot)
            words += e.sizes
            used += len(e.slots) + len(e.sizes)
        self.most_words = max(self.most_words, used)
        self.most_launches = max(self.most_launches, len(launches))
        return words

    def moving(self, cursors: Sequence[Cursor], rotations: Sequence[Rotation]) -> list[int]:
        words: list[int] = []
        first = self.starts[SlotKind.CURSOR]
        for c in cursors:
            words += [first + c.index, *self.place(c.start), c.offset, c.step]
        for r in rotations:
            words += [first + r.current, first + r.following, first + r.spare]
        return words
