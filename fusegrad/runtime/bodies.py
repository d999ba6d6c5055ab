"""Loops and branches as commands: where their operands and results lie while their bodies run.

Knows the ops of loops and the plans of their bodies; knows no kernels.

A carry is read from where its initial value lies, then from two places in turn, one of which is
that of the result: nothing is copied. Slices are read and stacked results written where they lie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ..autodiff.body import Body
from ..autodiff.branch import Switch
from ..autodiff.loop import While
from ..autodiff.scan import Scan
from ..codegen import program
from ..codegen.program import Command, Copy, Cursor, Rotation, Slot, SlotKind, map_slots
from ..ir.node import Node
from ..passes.regions import results_of, size_of
from .plan import CommandTask, Places, Plan

__all__ = ["Planned", "body_task", "functions_of"]

ALIGN = 64


def functions_of(node: Node) -> tuple[Body, ...]:
    """The closed functions that a loop or a branch runs."""
    match node.op:
        case Scan(body):
            return (body,)
        case While(test, body):
            return test, body
        case Switch(branches):
            return branches
    return ()


_ENDLESS = 1 << 40


def most_trips(node: Node) -> int:
    """How often a loop or a branch runs what is inside, at most; no number is known of some."""
    match node.op:
        case Scan():
            return max(1, node.op.length)
        case While():
            return _ENDLESS
    return 1


class Planned:
    """The plan of a closed function, and the output that each of its results is."""

    def __init__(self, plan: Plan, positions: Sequence[int]) -> None:
        self.commands = plan.program.commands
        self.bytes = plan.program.arena_bytes
        self.results = {position: number for number, position in enumerate(positions)}

    def at(
        self, arena: Slot, parameters: Sequence[Slot], results: Sequence[Slot]
    ) -> tuple[Command, ...]:
        """The commands, with operands and results in these places."""

        def place(slot: Slot) -> Slot:
            if slot.kind is SlotKind.INPUT:
                return parameters[slot.index]
            if slot.kind is SlotKind.OUTPUT:
                return results[self.results[slot.index]]
            assert slot.kind is SlotKind.ARENA
            return Slot(SlotKind.ARENA, arena.index + slot.index)

        return map_slots(self.commands, place, lambda cursor: cursor)


def body_task(node: Node, bodies: Sequence[Planned], numbers: Iterator[int]) -> CommandTask:
    """A loop or a branch as a task of the plan; `numbers` gives new cursors."""
    arena = max(body.bytes for body in bodies)
    make: Callable[[Places, Places], tuple[Command, ...]]
    private: list[tuple[object, int]] = [("arena", arena)]
    op = node.op
    if isinstance(op, Switch):
        make = _branches(node, bodies)
    elif isinstance(op, Scan):
        carried = results_of(node)[: op.carries]
        private += [(i, _nbytes(value)) for i, value in enumerate(carried)]
        make = _scan(node, op, bodies[0], numbers)
    else:
        assert isinstance(op, While)
        private += [(i, _nbytes(value)) for i, value in enumerate(results_of(node))]
        private.append(("condition", ALIGN))
        make = _while(node, op, bodies, numbers)
    return CommandTask(
        frozenset(node.inputs),
        frozenset(results_of(node)),
        tuple(private),
        make,
    )


def _nbytes(node: Node) -> int:
    return size_of(node) * node.dtype.itemsize


def _branches(
    node: Node, bodies: Sequence[Planned]
) -> Callable[[Places, Places], tuple[Command, ...]]:
    def commands(place: Places, private: Places) -> tuple[Command, ...]:
        index, *operands = map(place, node.inputs)
        results = [place(value) for value in results_of(node)]
        arena = private("arena")
        blocks = tuple(body.at(arena, operands, results) for body in bodies)
        return (program.Switch(index, blocks),)

    return commands


def _carry(first: int, initial: Slot, target: Slot, other: Slot) -> tuple[list[Cursor], Rotation]:
    """Three cursors for a carry, written to `target` first, then to `other`, and so on."""
    places = (initial, target, other)
    cursors = [Cursor(first + i, place, 0, 0) for i, place in enumerate(places)]
    return cursors, Rotation(first, first + 1, first + 2)


def _cursor(number: int) -> Slot:
    return Slot(SlotKind.CURSOR, number)


def _take(numbers: Iterator[int], count: int) -> list[int]:
    return [next(numbers) for _ in range(count)]


def _scan(
    node: Node, op: Scan, body: Planned, numbers: Iterator[int]
) -> Callable[[Places, Places], tuple[Command, ...]]:
    fixed = op.consts + op.carries
    firsts = [_take(numbers, 3)[0] for _ in range(op.carries)]
    slices = _take(numbers, len(node.inputs) - fixed)
    ys = _take(numbers, len(op.body.results) - op.carries)

    def moving(number: int, place: Slot, value: Node) -> Cursor:
        step = _nbytes(value) // op.length
        if op.reverse:
            return Cursor(number, place, (op.length - 1) * step, -step)
        return Cursor(number, place, 0, step)

    def commands(place: Places, private: Places) -> tuple[Command, ...]:
        operands = [place(value) for value in node.inputs]
        results = results_of(node)
        cursors: list[Cursor] = []
        rotations: list[Rotation] = []
        for i, first in enumerate(firsts):
            # The last iteration writes to the place of the result.
            two = place(results[i]), private(i)
            target, other = two if op.length % 2 else two[::-1]
            own, rotation = _carry(first, operands[op.consts + i], target, other)
            cursors += own
            rotations.append(rotation)
        cursors += [
            moving(n, operands[fixed + i], node.inputs[fixed + i]) for i, n in enumerate(slices)
        ]
        stacked = results[op.carries :]
        cursors += [moving(n, place(y), y) for n, y in zip(ys, stacked, strict=True)]
        inside = body.at(
            private("arena"),
            [*operands[: op.consts], *map(_cursor, firsts), *map(_cursor, slices)],
            [*(_cursor(n + 1) for n in firsts), *map(_cursor, ys)],
        )
        return (program.Loop(op.length, tuple(cursors), tuple(rotations), inside),)

    return commands


def _while(
    node: Node, op: While, bodies: Sequence[Planned], numbers: Iterator[int]
) -> Callable[[Places, Places], tuple[Command, ...]]:
    test, body = bodies
    firsts = [_take(numbers, 3)[0] for _ in op.body.results]

    def commands(place: Places, private: Places) -> tuple[Command, ...]:
        operands = [place(value) for value in node.inputs]
        results = results_of(node)
        cursors: list[Cursor] = []
        rotations: list[Rotation] = []
        for i, first in enumerate(firsts):
            own, rotation = _carry(first, operands[op.consts + i], place(results[i]), private(i))
            cursors += own
            rotations.append(rotation)
        inside = [*operands[: op.consts], *map(_cursor, firsts)]
        arena, condition = private("arena"), private("condition")
        loop = program.While(
            condition,
            tuple(cursors),
            tuple(rotations),
            test.at(arena, inside, [condition]),
            body.at(arena, inside, [_cursor(n + 1) for n in firsts]),
        )
        # How often it ran decides where the last carry is.
        copies = [
            Copy(place(result), _cursor(n), _nbytes(result))
            for result, n in zip(results, firsts, strict=True)
        ]
        return (loop, *copies)

    return commands
