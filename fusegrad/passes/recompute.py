"""Less memory for more work: values that are read late again are computed again, not kept.

Knows regions and what they read; knows neither kernels nor how memory is dealt.

The regions of a step run one after the other. At the moment when most bytes are kept, a value that
is not read now but later is given up: its late readers get a copy, computed from what is kept
anyway, and not before the region ahead of its first reader. What costs the fewest operations for a
byte goes first: chains of elementwise ops, then sums, then products of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import field
from typing import final

from ..codegen.records import dataclass
from ..ir.node import Node, toposort
from ..ops import build
from ..ops.base import Pattern
from ..ops.source import Input
from .between import fuse_between
from .regions import Region, cost_of, is_leaf, size_of

__all__ = ["kept_bytes", "within"]

_MOST_NODES = 100
"""How many ops are done again for one value."""

_MOST_WORSE = 2
"""How many steps in a row may bring nothing."""

_MOST_AT_ONCE = 8
"""How many values are given up before the regions are formed anew."""


@final
@dataclass
class _Times:
    """When values are made and read, as positions of regions."""

    regions: Sequence[Region]
    made: dict[Node, int] = field(default_factory=dict)
    reads: dict[Node, list[int]] = field(default_factory=dict)
    kept: list[Node] = field(default_factory=list)

    def last(self, node: Node) -> int:
        """When a value is needed for the last time."""
        return self.reads[node][-1] if self.reads.get(node) else self.made.get(node, -1)


def _times(regions: Sequence[Region], outputs: Sequence[Node]) -> _Times:
    times = _Times(regions)
    for position, region in enumerate(regions):
        for node in region.nodes:
            times.made[node] = position
        for node in {n for stage in region.stages for n in stage.access.reads}:
            times.reads.setdefault(node, []).append(position)
    results = set(outputs)
    for node, within in times.made.items():
        if node not in results and times.last(node) > within:
            times.kept.append(node)
    return times


def kept_bytes(regions: Sequence[Region], outputs: Sequence[Node]) -> int:
    """The most bytes that lie between regions at one time, results aside."""
    return _peak(_times(regions, outputs))[1]


def within(
    outputs: Sequence[Node], regions: Sequence[Region], goal: int, prologues: bool = False
) -> tuple[list[Node], list[Region]]:
    """The same outputs and their regions, with at most so many bytes kept, or the least found.

    Parameters
    ----------
    outputs : sequence of Node
        A simplified graph.
    regions : sequence of Region
        What `fuse_between` makes of it.
    goal : int
        Bytes between regions, results aside.
    prologues : bool
        As `fuse_between` takes it.
    """
    best = list(outputs), list(regions)
    times = _times(regions, outputs)
    least, worse = _peak(times)[1], 0
    while least > goal and worse < _MOST_WORSE:
        fewer = _fewer_bytes(outputs, times)
        if fewer is None:
            break
        outputs, regions = fewer, fuse_between(fewer, prologues)
        times = _times(regions, outputs)
        now = _peak(times)[1]
        worse = 0 if now < least else worse + 1
        if now < least:
            least, best = now, (list(outputs), list(regions))
    return best


def _peak(times: _Times) -> tuple[int, int]:
    change = [0] * (len(times.regions) + 1)
    for node in times.kept:
        change[times.made[node]] += _nbytes(node)
        change[times.last(node) + 1] -= _nbytes(node)
    at = most = now = 0
    for position, difference in enumerate(change):
        now += difference
        if now > most:
            at, most = position, now
    return at, most


def _nbytes(node: Node) -> int:
    return size_of(node) * node.dtype.itemsize


@final
@dataclass(frozen=True)
class _Choice:
    """A value to give up: its late reader comes after `after`, computing it needs `sources`."""

    value: Node
    again: tuple[Node, ...]
    sources: frozenset[Node]
    after: Node
    price: float


def _fewer_bytes(outputs: Sequence[Node], times: _Times) -> list[Node] | None:
    """The same outputs with less to keep at the worst moment; None when nothing can be given up."""
    moment, most = _peak(times)
    choices = []
    for value in times.kept:
        choice = _choice(value, times, moment)
        if choice is not None:
            choices.append(choice)
    taken: list[_Choice] = []
    involved: set[Node] = set()
    saved = 0
    for choice in sorted(choices, key=lambda c: c.price):
        # What one is computed from is not given up by another at the same time.
        if choice.value in involved or not involved.isdisjoint({*choice.again, choice.after}):
            continue
        if any(c.value in choice.sources for c in taken):
            continue
        taken.append(choice)
        involved |= {choice.value, *choice.again, *choice.sources}
        saved += _nbytes(choice.value)
        if len(taken) == _MOST_AT_ONCE or saved > most // 4:
            break
    return _rewritten(outputs, taken, times, moment) if taken else None


def _choice(value: Node, times: _Times, moment: int) -> _Choice | None:
    late = [r for r in times.reads[value] if r > moment]
    if times.made[value] >= moment or not late or moment in times.reads[value]:
        return None
    begin = late[0]
    after = next(
        (
            node
            for position in range(begin - 1, moment, -1)
            for node in times.regions[position].nodes
            if size_of(node) and node is not value
        ),
        None,
    )
    if after is None:
        return None
    again: list[Node] = []
    sources: set[Node] = set()
    stack, seen = [value], {value}
    while stack:
        node = stack.pop()
        if node.op.pattern not in (Pattern.MAP, Pattern.MOVE, Pattern.REDUCE, Pattern.CONTRACT):
            return None
        again.append(node)
        if len(again) > _MOST_NODES:
            return None
        for operand in node.inputs:
            if operand in seen:
                continue
            seen.add(operand)
            if is_leaf(operand) or (operand in times.made and times.last(operand) > moment):
                if operand.inputs or _is_variable(operand):
                    sources.add(operand)
            elif operand.inputs:
                stack.append(operand)
    if not sources:
        return None
    extra = sum(_nbytes(s) for s in sources if s in times.made and times.last(s) < begin)
    gain = _nbytes(value) - extra
    if gain <= 0:
        return None
    return _Choice(value, tuple(again), frozenset(sources), after, sum(map(_work, again)) / gain)


def _is_variable(node: Node) -> bool:
    return isinstance(node.op, Input)


def _work(node: Node) -> float:
    """The operations of one op, roughly."""
    if node.op.pattern is Pattern.CONTRACT:
        return (
            2
            * size_of(node)
            * math.sqrt(math.prod(size_of(x) for x in node.inputs) / max(1, size_of(node)))
        )
    if node.op.pattern is Pattern.REDUCE:
        return size_of(node.inputs[0])
    return cost_of(node) * size_of(node)


def _rewritten(
    outputs: Sequence[Node], choices: Sequence[_Choice], times: _Times, moment: int
) -> list[Node]:
    """The graph in which what is made after `moment` reads copies."""
    chosen = {choice.value: choice for choice in choices}
    late: dict[Node, Node] = {}
    copies: dict[Node, Node] = {}

    def copy(choice: _Choice) -> Node:
        """The value computed again, from what is kept."""
        trigger = build.first(late.get(choice.after, choice.after))
        made = {s: build.barrier(s, trigger) for s in choice.sources}
        again = set(choice.again)
        for node in toposort([choice.value]):
            if node in again:
                made[node] = Node(node.op, tuple(made.get(x, x) for x in node.inputs))
        return made[choice.value]

    def used(node: Node) -> Node:
        """What a late reader reads for `node`."""
        if node not in chosen:
            return late.get(node, node)
        if node not in copies:
            copies[node] = copy(chosen[node])
        return copies[node]

    # In this order: what a copy waits for comes from an earlier region.
    for region in times.regions[moment + 1 :]:
        for result in region.nodes:
            for node in _behind(result, times):
                inputs = tuple(map(used, node.inputs))
                if inputs != node.inputs:
                    late[node] = Node(node.op, inputs)
    return [late.get(node, node) for node in outputs]


def _behind(result: Node, times: _Times) -> list[Node]:
    """The node, after those that are computed with it and have no memory of their own."""
    order: list[Node] = []
    stack, seen = [(result, False)], set[Node]()
    while stack:
        node, ready = stack.pop()
        if ready:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(x, False) for x in node.inputs if x not in times.made and x.inputs]
    return order
