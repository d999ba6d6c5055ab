"""Values much larger than what they are made of, a block of rows or columns at a time.

Knows products, elementwise ops and movement; knows no attention.

Scores of attention are products of two narrow matrices: T x T numbers from T x d. What reads them
are sums over one of their axes, and products. Each of these *sinks* is computed by a loop over
blocks of its own rows, and every iteration makes the block of scores that it needs: memory grows
with T, not with its square. What a sink sums over is never cut: no sum is taken apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import field
from typing import TypeAlias, final

from ..autodiff.body import Body
from ..autodiff.scan import Scan, scan_results
from ..codegen.records import dataclass
from ..ir.node import Node, Pattern, role, source, substitute, toposort, where
from ..ir.types import Extent, TensorType
from ..ops import build
from ..ops.contract import Dot
from ..ops.movement import Broadcast, Reshape, Transpose
from ..ops.reduce import Reduce
from ..ops.source import Iota

__all__ = ["block_large"]

LARGE = 1 << 22
"""Elements from which on a value is large."""
GROWTH = 8
"""How many times larger than its operands a product must be."""
DEPTH = 256
"""Longer sums cost more to compute again than their results cost to store."""
BLOCK = 1 << 21
"""Elements of a block, about: it stays in the last cache."""
LEAST_ROWS = 8
MOST_STEPS = 30
"""Of a function of the position."""
NEAR = 4
"""To how many groups before it a sink is offered."""

Shape: TypeAlias = tuple[Extent, ...]
Leaf: TypeAlias = tuple[Node, int | None]
"""A value that a loop reads, and which axis of it is cut; None: it is read whole."""


def block_large(
    outputs: Sequence[Node], spared: Callable[[Sequence[Node]], set[Node]] = lambda _: set()
) -> list[Node]:
    """`outputs` with what depends on large products computed in blocks, where that can be.

    Products that `spared` finds among the results of the program stay as they are.
    """
    if not any(_is_seed(n) for n in toposort(outputs)):
        return list(outputs)
    seeds = {n for n in toposort(outputs) if _is_seed(n)} - spared(outputs)
    if not seeds:
        return list(outputs)
    outputs = _unflattened(outputs)
    order = toposort(outputs)
    seeds = {n for n in order if _is_seed(n)} - spared(outputs)
    plan = _Plan(order, seeds, set(outputs))
    mapping: dict[Node, Node] = {}
    for group in plan.ordered():
        with source(where(group.sinks[0]), role(group.sinks[0])):
            mapping.update(_Loop(group, plan, mapping).results())
    return substitute(outputs, mapping) if mapping else list(outputs)


def _size(node: Node) -> int:
    return math.prod(node.shape) if isinstance(node.type, TensorType) else 0  # type: ignore[arg-type]


def _is_seed(node: Node) -> bool:
    """A product that is large, and much larger than its operands."""
    if not isinstance(node.op, Dot) or _size(node) < LARGE:
        return False
    a, b = node.inputs
    depth = a.shape[-1]
    assert isinstance(depth, int)
    return depth <= DEPTH and _size(node) >= GROWTH * (_size(a) + _size(b))


# --- random numbers -------------------------------------------------------------------------------


def _unflattened(outputs: Sequence[Node]) -> list[Node]:
    """`outputs` with large functions of the position, as random numbers are, made in their shape.

    Drawn flat and then reshaped they could not be cut along an axis.
    """
    mapping: dict[Node, Node] = {}
    for node in toposort(outputs):
        if isinstance(node.op, Reshape) and _size(node) >= LARGE and len(node.inputs[0].shape) == 1:
            with source(where(node), role(node)):
                made = _of_positions(node.inputs[0], node.shape, 0)
            if made is not None:
                mapping[node] = made
    return substitute(outputs, mapping) if mapping else list(outputs)


def _of_positions(node: Node, shape: Shape, depth: int) -> Node | None:
    """``reshape(node, shape)`` without a reshape, if `node` is made of positions and numbers."""
    if isinstance(node.op, Iota) and node.dtype.is_integer:
        return _positions(shape, node)
    if isinstance(node.op, Broadcast) and not node.op.dims:
        return build.broadcast(node.inputs[0], shape, ())
    same = node.inputs and all(i.shape == node.shape for i in node.inputs)
    if node.op.pattern is not Pattern.MAP or not same or depth > MOST_STEPS:
        return None
    inputs = [_of_positions(i, shape, depth + 1) for i in node.inputs]
    known = [i for i in inputs if i is not None]
    return Node(node.op, tuple(known)) if len(known) == len(inputs) else None


def _positions(shape: Shape, flat: Node) -> Node:
    """The position of each element, from those along the axes."""
    total: Node | None = None
    behind = 1
    for axis in reversed(range(len(shape))):
        extent = shape[axis]
        assert isinstance(extent, int)
        along = build.iota(extent, flat.dtype)
        step = build.broadcast(build.constant(behind, flat.dtype), along.shape, ())
        term = build.broadcast(build.mul(along, step), shape, (axis,))
        total = term if total is None else build.add(total, term)
        behind *= extent
    assert total is not None
    return total


# --- what is computed in which loop ---------------------------------------------------------------


@final
@dataclass
class _Cut:
    """Which axis of each value that a loop computes is cut, and what it reads."""

    axes: dict[Node, int] = field(default_factory=dict)
    leaves: dict[Leaf, None] = field(default_factory=dict)


@final
@dataclass(eq=False)
class _Group:
    """Sinks that one loop computes: the same axis of what they share is cut."""

    cut: _Cut
    sinks: list[Node] = field(default_factory=list)
    mask: int = 0
    """A bit for each sink."""


@final
class _Plan:
    """The sinks and their groups."""

    def __init__(self, order: Sequence[Node], seeds: set[Node], outputs: set[Node]) -> None:
        self.seeds = seeds
        self.outputs = outputs
        self.users: dict[Node, list[Node]] = {}
        for node in order:
            for operand in node.inputs:
                self.users.setdefault(operand, []).append(node)
        self.large = {n for n in order if _is_cheap_and_large(n) or n in seeds}
        self.order = order
        while True:
            self.made = self._made_of_seeds()
            wrong = self._stored()
            self.groups: list[_Group] = []
            self.above: dict[Node, int] = {}
            if not wrong:
                wrong = self._grouped()
            if not wrong:
                return
            # They are stored, and what is made of them reads them like any other value.
            self.large -= wrong

    def _made_of_seeds(self) -> set[Node]:
        found: set[Node] = set()
        for node in self.order:
            made = node in self.seeds or not found.isdisjoint(node.inputs)
            if node in self.large and made:
                found.add(node)
        return found

    def _stored(self) -> set[Node]:
        """Large values that somebody reads who is no sink, or that are results."""
        return {
            node
            for node in self.made
            if node in self.outputs
            or any(u not in self.large and not self._is_sink(u) for u in self.users[node])
        }

    def _is_sink(self, node: Node) -> bool:
        return isinstance(node.op, (Dot, Reduce)) and _size(node) < LARGE

    def _grouped(self) -> set[Node]:
        """Put every sink into a group; what those read for which there is none."""
        for node in self.order:
            mask = 0
            for operand in node.inputs:
                mask |= self.above.get(operand, 0)
            if self._is_sink(node) and not self.made.isdisjoint(node.inputs):
                group = self._place(node)
                if group is None:
                    return self.made.intersection(node.inputs)
                bit = 1 << sum(len(g.sinks) for g in self.groups)
                group.sinks.append(node)
                group.mask |= bit
                mask |= bit
            self.above[node] = mask
        return set()

    def _place(self, sink: Node) -> _Group | None:
        rank = len(sink.shape)
        for group in self.groups[: -NEAR - 1 : -1]:
            for axis in reversed(range(rank)):
                cut = self.cut(group, sink, axis)
                if cut is not None and not self._is_circular(group, cut):
                    group.cut = cut
                    return group
        for axis in reversed(range(rank)):
            group = _Group(_Cut())
            cut = self.cut(group, sink, axis)
            if cut is not None and self._is_long(cut):
                group.cut = cut
                self.groups.append(group)
                return group
        return None

    def _is_long(self, cut: _Cut) -> bool:
        """Whether cutting makes the large products smaller."""
        extents = [n.shape[a] for n, a in cut.axes.items() if n in self.seeds]
        return bool(extents) and all(e > LEAST_ROWS for e in extents)  # type: ignore[operator]

    # --- axes -------------------------------------------------------------------------------------

    def inside(self, group: _Group, node: Node) -> bool:
        """Whether the loop of `group` computes `node` itself."""
        return node in self.large or node in group.sinks or bool(self.above[node] & group.mask)

    def cut(self, group: _Group, sink: Node, axis: int) -> _Cut | None:
        """What is cut when `axis` of `sink` is, with the group's; None: impossible."""
        axes, leaves = dict(group.cut.axes), dict(group.cut.leaves)
        stack: list[Leaf] = [(sink, axis)]
        while stack:
            node, at = stack.pop()
            if node is not sink and not self.inside(group, node):
                leaves[node, at] = None
                continue
            if node in axes and axes[node] == at:
                continue
            product = isinstance(node.op, Dot) and node is not sink and node not in self.seeds
            if at is None or node in axes or product:
                return None
            below = operand_axes(node, at)
            if below is None and node in self.large and node not in self.made:
                leaves[node, at] = None
                continue
            if below is None:
                return None
            axes[node] = at
            stack += zip(node.inputs, below, strict=True)
        extents = {n.shape[a] for n, a in axes.items()}
        return _Cut(axes, leaves) if len(extents) == 1 else None

    def _is_circular(self, group: _Group, cut: _Cut) -> bool:
        """Whether a loop that `group` then needs needs `group` itself."""
        needed, seen = self._needed(cut), 0
        while needed & ~seen:
            if needed & group.mask:
                return True
            seen |= needed
            for other in self.groups:
                if other.mask & needed:
                    needed |= self._needed(other.cut)
        return False

    def _needed(self, cut: _Cut) -> int:
        """The sinks that must be known before."""
        mask = 0
        for node, _ in cut.leaves:
            mask |= self.above[node]
        return mask

    def ordered(self) -> list[_Group]:
        """The groups, those that others need first."""
        waiting = list(self.groups)
        done: list[_Group] = []
        while waiting:
            open_ = 0
            for group in waiting:
                open_ |= group.mask
            group = next(g for g in waiting if not self._needed(g.cut) & open_)
            waiting.remove(group)
            done.append(group)
        return done


def _is_cheap_and_large(node: Node) -> bool:
    """Large, and computed again without a product."""
    if not isinstance(node.type, TensorType) or _size(node) < LARGE or not node.inputs:
        return False
    same = all(i.shape == node.shape for i in node.inputs)
    moved = isinstance(node.op, (Broadcast, Reshape, Transpose))
    return moved or (node.op.pattern is Pattern.MAP and same)


def operand_axes(node: Node, axis: int) -> list[int | None] | None:
    """Which axis of each operand is cut when `axis` of the result is; None if none will do."""
    op = node.op
    rank = len(node.shape)
    if isinstance(op, Dot):
        if axis < rank - 2:
            return [axis, axis]
        return [axis, None] if axis == rank - 2 else [None, axis]
    if isinstance(op, Reduce):
        kept = [a for a in range(len(node.inputs[0].shape)) if a not in op.axes]
        return [kept[axis]]
    if isinstance(op, Broadcast):
        return [op.dims.index(axis) if axis in op.dims else None]
    if isinstance(op, Transpose):
        return [op.permutation[axis]]
    if isinstance(op, Reshape):
        return _reshaped(node, axis)
    if op.pattern is Pattern.MAP and all(i.shape == node.shape for i in node.inputs):
        return [axis] * len(node.inputs)
    return None


def _reshaped(node: Node, axis: int) -> list[int | None] | None:
    """The axis of the operand with the same extent and the same elements behind it."""
    shape, given = list(node.shape), list(node.inputs[0].shape)
    behind = math.prod(shape[axis + 1 :])  # type: ignore[arg-type]
    for a, extent in enumerate(given):
        if extent == shape[axis] and math.prod(given[a + 1 :]) == behind:  # type: ignore[arg-type]
            return [a]
    return None


# --- the loops ------------------------------------------------------------------------------------


@final
class _Loop:
    """One group as a loop over blocks, and what is left over."""

    def __init__(self, group: _Group, plan: _Plan, mapping: dict[Node, Node]) -> None:
        self.group = group
        self.axes = group.cut.axes
        self.order = [n for n in plan.order if n in self.axes]
        self.leaves = list(group.cut.leaves)
        found = substitute([n for n, _ in self.leaves], mapping)
        self.given = dict(zip(self.leaves, found, strict=True))
        largest = max((n for n in self.order if n in plan.large), key=_size)
        extent = largest.shape[self.axes[largest]]
        assert isinstance(extent, int)
        self.extent = extent
        rows = BLOCK * extent // _size(largest) // LEAST_ROWS * LEAST_ROWS
        self.rows = min(max(rows, LEAST_ROWS), extent)

    def results(self) -> dict[Node, Node]:
        """The sinks by what replaces them."""
        count = self.extent // self.rows
        whole = count * self.rows
        parts = [self._looped(count)]
        if whole < self.extent:
            parts.append(
                self._computed(lambda n: self._part(n, whole, self.extent), self.extent - whole)
            )
        return {
            sink: build.concat([part[i] for part in parts], self.axes[sink])
            for i, sink in enumerate(self.group.sinks)
        }

    def _part(self, leaf: Leaf, start: int, stop: int) -> Node:
        given, axis = self.given[leaf], leaf[1]
        return given if axis is None else build.slice_axis(given, axis, start, stop)

    def _looped(self, count: int) -> list[Node]:
        """The sinks over the blocks of full size."""
        consts = [(n, a) for n, a in self.leaves if a is None and not _is_fixed(n)]
        columns = [(n, a) for n, a in self.leaves if a is not None]
        variables = {leaf: build.input_(self._type(leaf)) for leaf in (*consts, *columns)}
        results = self._computed(lambda leaf: variables.get(leaf, leaf[0]), self.rows)
        body = Body.of([*variables.values()], results)
        operands = [self.given[leaf] for leaf in consts]
        operands += [
            self._stacked(leaf, axis, count) for leaf in columns if (axis := leaf[1]) is not None
        ]
        found = scan_results(Scan(body, len(consts), 0, count, False, True), operands)
        return [self._joined(y, s) for y, s in zip(found, self.group.sinks, strict=True)]

    def _type(self, leaf: Leaf) -> TensorType:
        node, axis = leaf
        shape = list(node.shape)
        if axis is not None:
            shape[axis] = self.rows
        return TensorType(shape, node.dtype)

    def _stacked(self, leaf: Leaf, axis: int, count: int) -> Node:
        """The blocks of a value, along a new axis 0."""
        x = self._part(leaf, 0, count * self.rows)
        shape = (*x.shape[:axis], count, self.rows, *x.shape[axis + 1 :])
        others = [a for a in range(len(shape)) if a != axis]
        return build.transpose(build.reshape(x, shape), [axis, *others])

    def _joined(self, y: Node, sink: Node) -> Node:
        """Stacked blocks as one value."""
        axis = self.axes[sink]
        others = list(range(1, len(y.shape)))
        turned = build.transpose(y, [*others[:axis], 0, *others[axis:]])
        shape = list(sink.shape)
        shape[axis] = y.shape[0] * self.rows  # type: ignore[operator]
        return build.reshape(turned, shape)

    def _computed(self, leaf: Callable[[Leaf], Node], rows: int) -> list[Node]:
        """The sinks of a block of `rows`; `leaf` gives the block of what is known."""
        known = {place: leaf(place) for place in self.leaves}
        done: dict[Node, Node] = {}
        for node in self.order:
            below = operand_axes(node, self.axes[node])
            assert below is not None
            inputs = [
                done[x] if x in done else known[x, axis]
                for x, axis in zip(node.inputs, below, strict=True)
            ]
            with source(where(node), role(node)):
                done[node] = self._again(node, inputs, rows)
        return [done[s] for s in self.group.sinks]

    def _again(self, node: Node, inputs: Sequence[Node], rows: int) -> Node:
        if not isinstance(node.op, (Broadcast, Reshape)):
            return Node(node.op, tuple(inputs))
        shape = list(node.shape)
        shape[self.axes[node]] = rows
        if isinstance(node.op, Reshape):
            return build.reshape(inputs[0], shape)
        return build.broadcast(inputs[0], shape, node.op.dims)


def _is_fixed(node: Node) -> bool:
    """A number that is known: the body has it itself."""
    return node.op.name == "constant"
