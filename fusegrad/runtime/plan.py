"""The plan of a step: the order of its launches, what runs together, and where every value lives.

Knows kernels by what they read and write; knows no machine code and no graph beyond identities.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from ..codegen.program import Command, Group, Launch, Program, Slot, SlotKind
from ..codegen.records import dataclass

__all__ = ["Alias", "CommandTask", "Plan", "Task", "assign_offsets", "plan"]

ALIGN = 64
MUCH, LARGE = 16 << 20, 1 << 20
"""Bytes of a program that may be saved, and of what a launch moves that has a step of its own."""
Value = Hashable


@final
@dataclass(frozen=True)
class Task:
    """One kernel launch before places are assigned.

    Attributes
    ----------
    kernel : int
    arguments : tuple
        One value for each parameter.
    reads, writes : frozenset
        Values read, and values written.
    private : tuple of (int, int)
        Parameters that are memory of the launch alone (partial copies), with their bytes.
    in_place : tuple of (written, read)
        Values that may share memory as far as this kernel is concerned.
    """

    kernel: int
    arguments: tuple[Value, ...]
    reads: frozenset[Value]
    writes: frozenset[Value]
    private: tuple[tuple[int, int], ...]
    in_place: tuple[tuple[Value, Value], ...]
    sizes: tuple[int, ...]
    items: int
    grain: int
    chunks: int


Places = Callable[[Value], Slot]


@final
@dataclass(frozen=True)
class CommandTask:
    """A call, a loop or a branch before places are assigned.

    Attributes
    ----------
    reads, writes : frozenset
        Values read, and values written.
    private : tuple of (object, int)
        Memory of the task alone, with its bytes.
    commands : callable
        The commands, from the places of values and of private memory.
    """

    reads: frozenset[Value]
    writes: frozenset[Value]
    private: tuple[tuple[Hashable, int], ...]
    commands: Callable[[Places, Places], tuple[Command, ...]]

    @property
    def in_place(self) -> tuple[tuple[Value, Value], ...]:
        """Nothing that is read may be overwritten."""
        return ()


@final
@dataclass(frozen=True)
class Alias:
    """A value that lies where another does, and is not there before others are.

    Attributes
    ----------
    value, source : values
    waits : frozenset
        What is computed before `value` may be read, `source` with it.
    """

    value: Value
    source: Value
    waits: frozenset[Value]


@final
@dataclass(frozen=True)
class Plan:
    """A program and what the caller must know of its memory.

    ``donated`` lists (output, input) positions that may be the same memory. ``lifetimes`` has, for
    each arena value, (bytes, offset, first step, last step); ``held`` says which value that is, and
    is None for the private memory of a task. There are ``steps`` of them.
    """

    program: Program
    donated: tuple[tuple[int, int], ...]
    lifetimes: tuple[tuple[int, int, int, int], ...]
    held: tuple[Value | None, ...]
    steps: int


def plan(
    name: str,
    tasks: Sequence[Task | CommandTask | Alias],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    constants: Sequence[Value],
    nbytes: Mapping[Value, int],
    donations: Sequence[tuple[int, int]],
    scratch_bytes: int,
    calls: Sequence[str] = (),
    cursors: int = 0,
    least: int = 0,
) -> Plan:
    """Order the tasks, group independent ones, and assign every value a place.

    Parameters
    ----------
    tasks : sequence of Task, CommandTask or Alias
        In an order that respects reads and writes.
    inputs, outputs, constants : sequence of values
    nbytes : mapping
        The bytes of every value that is neither input nor constant.
    donations : sequence of (int, int)
        (output, input) positions the caller would like to be the same memory.
    scratch_bytes : int
        Private memory a thread needs.
    calls : sequence of str, optional
        The symbols of functions of the host.
    cursors : int, optional
        How many cursors the loops have.
    least : int, optional
        Launches that read and write fewer bytes than this together run one after the other: to
        deal them to threads takes longer.

    Returns
    -------
    Plan
    """
    tasks, aliases = _without_aliases(tasks)
    edges, kept = _order(tasks, inputs, outputs, donations, nbytes)
    outside = {*inputs, *outputs, *constants}
    steps = _steps(tasks, edges, {v: n for v, n in nbytes.items() if v not in outside})
    produced: dict[Value, int] = {}
    last: dict[Value, int] = {}
    for position, numbers in enumerate(steps):
        for number in numbers:
            for value in tasks[number].writes:
                produced[value] = position
            for value in (*tasks[number].reads, *tasks[number].writes):
                last[value] = position
    places: dict[Value, Slot] = {}
    for kind, values in (
        (SlotKind.INPUT, inputs),
        (SlotKind.CONSTANT, constants),
        (SlotKind.OUTPUT, outputs),
    ):
        for i, value in enumerate(values):
            places.setdefault(value, Slot(kind, i))
    local = [v for v in produced if v not in places]
    requests: list[tuple[int, int, int]] = [(nbytes[v], produced[v], last[v]) for v in local]
    private: dict[tuple[int, Hashable], int] = {}
    for position, numbers in enumerate(steps):
        for number in numbers:
            for parameter, size in tasks[number].private:
                private[number, parameter] = len(requests)
                requests.append((size, position, position))
    offsets, total = assign_offsets(requests)
    for value, offset in zip(local, offsets, strict=False):
        places[value] = Slot(SlotKind.ARENA, offset)
    places.update((value, places[source]) for value, source in aliases.items())
    for value in (read for task in tasks for read in task.reads):
        # What has no elements was never written, and lies nowhere.
        if value not in places and nbytes.get(value) == 0:
            places[value] = Slot(SlotKind.ARENA, 0)
    own = {key: Slot(SlotKind.ARENA, offsets[i]) for key, i in private.items()}
    commands: list[Command] = []
    for numbers in steps:
        own_tasks = [tasks[n] for n in numbers]
        apart = _bytes(own_tasks, nbytes) < least
        commands += _commands(list(zip(numbers, own_tasks, strict=True)), places, own, apart)
    program = Program(
        name,
        len(inputs),
        len(outputs),
        len(constants),
        total,
        scratch_bytes,
        tuple(commands),
        tuple(calls),
        cursors,
    )
    lifetimes = tuple((r[0], o, r[1], r[2]) for r, o in zip(requests, offsets, strict=True))
    held = (*local, *(None for _ in private))
    return Plan(program, tuple(kept), lifetimes, held, len(steps))


def _without_aliases(
    tasks: Sequence[Task | CommandTask | Alias],
) -> tuple[list[Task | CommandTask], dict[Value, Value]]:
    """The tasks, reading what lies behind aliases, and that for each alias."""
    sources: dict[Value, Value] = {}
    behind: dict[Value, frozenset[Value]] = {}
    found: list[Task | CommandTask] = []

    def real(values: frozenset[Value]) -> frozenset[Value]:
        return frozenset().union(*(behind.get(v, (v,)) for v in values))

    for task in tasks:
        if isinstance(task, Alias):
            sources[task.value] = sources.get(task.source, task.source)
            behind[task.value] = real(task.waits)
            continue
        if not task.reads.isdisjoint(sources):
            if isinstance(task, Task):
                read = [sources.get(v, v) for v in task.arguments if v not in task.writes]
                pairs = [(w, sources.get(r, r)) for w, r in task.in_place]
                # What a kernel reads twice, it may read again after it wrote.
                once = tuple(pair for pair in pairs if read.count(pair[1]) == 1)
                task = replace(task, in_place=once)
            task = replace(task, reads=real(task.reads))
        found.append(task)
    return found, sources


def _commands(
    tasks: Sequence[tuple[int, Task | CommandTask]],
    places: Mapping[Value, Slot],
    private: Mapping[tuple[int, Hashable], Slot],
    apart: bool,
) -> list[Command]:
    """What runs in one step: the launches as a group, or `apart`; then the rest one by one."""
    nowhere = Slot(SlotKind.ARENA, 0)
    launches = []
    rest: list[Command] = []
    for number, task in tasks:
        if isinstance(task, Task):
            slots = tuple(
                private.get((number, p)) or places[v] for p, v in enumerate(task.arguments)
            )
            launches.append(
                Launch(task.kernel, slots, task.sizes, task.items, task.grain, task.chunks)
            )
            continue
        rest += task.commands(
            # What has no elements was never written, and lies nowhere.
            lambda value: places.get(value, nowhere),
            lambda key, number=number: private[number, key],  # type: ignore[misc]
        )
    groups = [(e,) for e in launches] if apart else [tuple(launches)]
    return [*(Group(group) for group in groups if group), *rest]


def _bytes(tasks: Sequence[Task | CommandTask], nbytes: Mapping[Value, int]) -> int:
    """What launches read and write."""
    total = 0
    for task in tasks:
        if isinstance(task, Task):
            total += sum(nbytes[v] for v in {*task.reads, *task.writes} if v in nbytes)
    return total


def _order(
    tasks: Sequence[Task | CommandTask],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    donations: Sequence[tuple[int, int]],
    nbytes: Mapping[Value, int],
) -> tuple[list[set[int]], list[tuple[int, int]]]:
    """What each task waits for, and the donations that no reader of the old value contradicts."""
    writer: dict[Value, int] = {}
    readers: dict[Value, list[int]] = {}
    for number, task in enumerate(tasks):
        for value in task.writes:
            writer[value] = number
        for value in task.reads:
            readers.setdefault(value, []).append(number)
    before: list[set[int]] = [
        {writer[v] for v in t.reads if v in writer} - {n} for n, t in enumerate(tasks)
    ]
    kept: list[tuple[int, int]] = []
    wanted: list[tuple[tuple[int, int], set[tuple[int, int]]]] = []
    for output, source in donations:
        old, new = inputs[source], outputs[output]
        if new not in writer:
            continue
        last = writer[new]
        others = [r for r in readers.get(old, []) if r != last]
        if others and nbytes.get(new, 0) <= ALIGN:
            continue  # A place of its own costs less than waiting for the readers.
        own = old in tasks[last].reads
        if own and (new, old) not in tasks[last].in_place:
            continue
        # The new value must not be written while somebody still reads the old one.
        wanted.append(((output, source), {(r, last) for r in others}))
    edges = [set(b) for b in before]
    for pair, extra in wanted:
        for r, w in extra:
            edges[w].add(r)
        kept.append(pair)
    if _longest(edges) is None:
        return _without_cycles(before, wanted)
    return edges, kept


def _without_cycles(
    before: Sequence[set[int]], wanted: Sequence[tuple[tuple[int, int], set[tuple[int, int]]]]
) -> tuple[list[set[int]], list[tuple[int, int]]]:
    """Take donations one by one, leaving out those whose order is impossible."""
    edges = [set(b) for b in before]
    after: list[set[int]] = [set() for _ in before]
    for number, sources in enumerate(before):
        for s in sources:
            after[s].add(number)
    kept = []
    for pair, extra in wanted:
        writer = next((w for _, w in extra), None)
        if writer is not None and _reaches(after, writer, {r for r, _ in extra}):
            continue
        kept.append(pair)
        for r, w in extra:
            edges[w].add(r)
            after[r].add(w)
    return edges, kept


def _reaches(after: Sequence[set[int]], start: int, targets: set[int]) -> bool:
    """Whether one of `targets` must run after `start`."""
    seen = {start}
    stack = [start]
    while stack:
        for other in after[stack.pop()] - seen:
            if other in targets:
                return True
            seen.add(other)
            stack.append(other)
    return False


def _longest(before: Sequence[set[int]]) -> list[int] | None:
    """The length of the longest path to each task; None when there is a cycle."""
    after: list[list[int]] = [[] for _ in before]
    waiting = [len(b) for b in before]
    for number, sources in enumerate(before):
        for s in sources:
            after[s].append(number)
    levels = [0] * len(before)
    ready = [n for n, w in enumerate(waiting) if not w]
    done = 0
    while ready:
        number = ready.pop()
        done += 1
        for other in after[number]:
            levels[other] = max(levels[other], levels[number] + 1)
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return levels if done == len(before) else None


def _steps(
    tasks: Sequence[Task | CommandTask], before: Sequence[set[int]], local: Mapping[Value, int]
) -> list[list[int]]:
    """The tasks of each step: each as early as it can be, unless that takes much more memory.

    What is large fills all threads by itself. Then what waits for it may run before its neighbours,
    or what a result needs before what another one needs, so that not all of them hold their values
    at the same time.
    """
    early = _longest(before)
    assert early is not None
    together = _by_step(early)
    held = _peak(tasks, together, local)
    if held < MUCH:
        return together
    for order in (_waiting_first, _result_by_result):
        apart = _by_step(_one_by_one(tasks, before, local, order(tasks, before, local)))
        needed = _peak(tasks, apart, local)
        if needed < 0.9 * held:
            held, together = needed, apart
    return together


def _by_step(levels: Sequence[int]) -> list[list[int]]:
    steps: list[list[int]] = [[] for _ in range(max(levels, default=-1) + 1)]
    for number, level in enumerate(levels):
        steps[level].append(number)
    return [numbers for numbers in steps if numbers]


def _one_by_one(
    tasks: Sequence[Task | CommandTask],
    before: Sequence[set[int]],
    local: Mapping[Value, int],
    order: Sequence[int],
) -> list[int]:
    """The step of each task: large ones have their own, in this order."""
    levels = [0] * len(before)
    last = -1
    for number in order:
        level = max((levels[s] + 1 for s in before[number]), default=0)
        if _bytes([tasks[number]], local) >= LARGE or not isinstance(tasks[number], Task):
            level = last = max(level, last + 1)
        levels[number] = level
    return levels


def _after(before: Sequence[set[int]]) -> list[list[int]]:
    """Who waits for each task."""
    after: list[list[int]] = [[] for _ in before]
    for number, sources in enumerate(before):
        for s in sources:
            after[s].append(number)
    return after


def _waiting_first(
    tasks: Sequence[Task | CommandTask], before: Sequence[set[int]], local: Mapping[Value, int]
) -> list[int]:
    """An order in which what was waiting for the last task comes next."""
    after = _after(before)
    waiting = [len(b) for b in before]
    ready = [n for n in reversed(range(len(before))) if not waiting[n]]
    order: list[int] = []
    while ready:
        number = ready.pop()
        order.append(number)
        for other in sorted(after[number], reverse=True):
            waiting[other] -= 1
            if not waiting[other]:
                ready.append(other)
    return order


def _result_by_result(
    tasks: Sequence[Task | CommandTask], before: Sequence[set[int]], local: Mapping[Value, int]
) -> list[int]:
    """An order in which comes next what the earliest result needs, and first of all what frees
    as many bytes as it takes."""
    after = _after(before)
    place = _places_for_results(before, after)
    readers: dict[Value, set[int]] = {}
    for number, task in enumerate(tasks):
        for value in task.reads & local.keys():
            readers.setdefault(value, set()).add(number)

    def frees(number: int) -> bool:
        task = tasks[number]
        taken = sum(local.get(v, 0) for v in task.writes)
        freed = sum(local[v] for v in task.reads & local.keys() if len(readers[v]) == 1)
        return freed >= taken

    waiting = [len(b) for b in before]
    ready = [(place[n], n) for n in range(len(before)) if not waiting[n]]
    heapq.heapify(ready)
    urgent = [n for _, n in sorted(ready, reverse=True) if frees(n)]
    done: set[int] = set()
    order: list[int] = []
    while ready:
        number = urgent.pop() if urgent else heapq.heappop(ready)[1]
        if number in done:
            continue
        done.add(number)
        order.append(number)
        touched = set(after[number])
        for value in tasks[number].reads & local.keys():
            readers[value].discard(number)
            touched |= readers[value] if len(readers[value]) == 1 else set()
        for other in after[number]:
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (place[other], other))
        urgent += [n for n in sorted(touched, reverse=True) if not waiting[n] and frees(n)]
    return order


def _places_for_results(before: Sequence[set[int]], after: Sequence[list[int]]) -> list[int]:
    """Where each task comes if one result after the other is computed, with all that it needs."""
    place = [-1] * len(before)
    count = 0
    for result in (n for n, others in enumerate(after) if not others):
        stack = [result]
        while stack:
            number = stack[-1]
            missing = [s for s in before[number] if place[s] < 0]
            if missing:
                stack += sorted(missing, reverse=True)
                continue
            stack.pop()
            if place[number] < 0:
                place[number] = count
                count += 1
    return place


def _peak(
    tasks: Sequence[Task | CommandTask], steps: Sequence[Sequence[int]], local: Mapping[Value, int]
) -> int:
    """The most bytes that are held in one step."""
    first: dict[Value, int] = {}
    last: dict[Value, int] = {}
    changes = [0] * (len(steps) + 1)
    for position, numbers in enumerate(steps):
        for number in numbers:
            for value in (*tasks[number].writes, *tasks[number].reads):
                first.setdefault(value, position)
                last[value] = position
            for _, size in tasks[number].private:
                changes[position] += size
                changes[position + 1] -= size
    for value, position in first.items():
        size = local.get(value, 0)
        changes[position] += size
        changes[last[value] + 1] -= size
    return max(itertools.accumulate(changes))


def assign_offsets(
    requests: Sequence[tuple[int, int, int]],
) -> tuple[list[int], int]:
    """Offsets for (bytes, first, last) lifetimes so that no two live ones overlap.

    Largest first, each at the lowest offset that is free during its life.

    Returns
    -------
    list of int, int
        One offset for each request, and the total.

    Examples
    --------
    >>> assign_offsets([(64, 0, 1), (64, 1, 2), (64, 2, 3)])
    ([0, 64, 0], 128)
    """
    count = len(requests)
    sizes = [max(ALIGN, -(-size // ALIGN) * ALIGN) for size, _, _ in requests]
    order = sorted(range(count), key=lambda i: (-sizes[i], requests[i][1], i))
    # The placed ones, in the order they were placed: first and last use, and where they lie.
    placed = np.zeros((4, count), np.int64)
    offsets = [0] * count
    total = 0
    for done, number in enumerate(order):
        size = sizes[number]
        _, first, last = requests[number]
        begins, ends, starts, stops = placed[:, :done]
        alive = np.flatnonzero((begins <= last) & (ends >= first))
        alive = alive[np.argsort(starts[alive], kind="stable")]
        free = np.maximum.accumulate(np.concatenate(([0], stops[alive])))
        gaps = np.flatnonzero(starts[alive] - free[:-1] >= size)
        place = int(free[gaps[0]] if gaps.size else free[-1])
        offsets[number] = place
        placed[:, done] = first, last, place, place + size
        total = max(total, place + size)
    return offsets, total
