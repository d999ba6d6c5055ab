"""What fusion works on: stages (values that are written), their regions, how they are read.

Knows the patterns of ops and the shapes of nodes; knows no loops and no memory.

A value is *aligned* with a domain of ``total`` elements at prefix k when its elements, in row-major
order, correspond to the leading k of the domain: element f of the domain reads element
``f // (total // k)``. So a row statistic of an (R, C) domain is aligned at prefix R. Prefix -R says
that some element of the aligned row of R is read, as picking a label does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import field
from enum import Enum
from typing import final

from ..codegen.records import dataclass
from ..codegen.varying import likely
from ..ir.node import Item, Node
from ..ir.types import TensorType, TupleType
from ..ops.base import Pattern
from ..ops.contract import Dot, PanelDot
from ..ops.elementwise import EXPENSIVE, cost_of
from ..ops.identities import Barrier
from ..ops.indexing import TakeAlong
from ..ops.movement import Broadcast, Reshape, Transpose
from ..ops.reduce import ArgReduce, Reduce
from ..ops.source import ArrayConstant, Input
from ..ops.window_dot import WindowDot
from .convolutions import operands_of
from .views import operand_base

__all__ = [
    "EXPENSIVE",
    "Access",
    "Kind",
    "Region",
    "Stage",
    "access",
    "aligned_input",
    "cost_of",
    "is_leaf",
    "make_stage",
    "results_of",
    "size_of",
    "usual_size",
]

COLUMN_LIMIT = 8192
"""The longest row whose column sums are kept as partial copies for each chunk."""
WIDE_COLUMNS, MANY_ROWS = 1 << 17, 256
"""Longer rows, up to this, are summed so too when there are so many that the copies are few."""


_LEAVES = frozenset({Input, ArrayConstant})


class Kind(Enum):
    """How a stage computes its value."""

    MAP = "map"
    ROW = "row"
    COLUMN = "column"
    TOTAL = "total"
    STRIDED = "strided"
    DOT = "dot"
    BETWEEN = "between"
    LOOP = "loop"
    CALL = "call"
    ALIAS = "alias"


@final
@dataclass(frozen=True)
class Access:
    """What one stage reads: values by the prefix at which they are read (None: not aligned)."""

    reads: dict[Node, set[int | None]]
    inlined: tuple[Node, ...]
    visits: tuple[tuple[Node, int | None], ...]


@final
@dataclass(eq=False)
class Stage:
    """A node whose value is written to memory or kept for the rest of its region."""

    node: Node
    kind: Kind
    total: int
    rows: int | None
    access: Access
    finish: bool = False

    @property
    def values(self) -> tuple[Node, ...]:
        """What it writes: the node, or the results of a node that has several."""
        return results_of(self.node)


@final
@dataclass(eq=False)
class Region:
    """Stages that become one kernel.

    ``total`` elements in ``rows`` rows (None while no stage needs rows). ``parts`` has the regions
    that one of kind BETWEEN is made of: products, rows, products.
    """

    stages: list[Stage]
    kind: Kind
    total: int
    rows: int | None
    number: int
    before: set[int] = field(default_factory=set)
    after: set[int] = field(default_factory=set)
    weight: int = 0
    own: dict[Node, Stage] = field(default_factory=dict)
    read: set[Node] = field(default_factory=set)
    parts: tuple[Region, ...] = ()

    def __post_init__(self) -> None:
        stages, self.stages = self.stages, []
        for stage in stages:
            self.include(stage)

    def include(self, stage: Stage) -> None:
        """One more stage: `own` has it by its node, and `read` what all of them read."""
        self.stages.append(stage)
        self.own[stage.node] = stage
        self.read.update(stage.access.reads)

    @property
    def nodes(self) -> list[Node]:
        """The values the region computes, in order."""
        return [v for s in self.stages for v in s.values]


def is_leaf(node: Node) -> bool:
    """Whether the value of `node` comes from outside the program."""
    return type(node.op) in _LEAVES


def results_of(node: Node) -> tuple[Node, ...]:
    """The node itself, or the items of one with several results."""
    if not isinstance(node.type, TupleType):
        return (node,)
    return tuple(Node(Item(i), (node,)) for i in range(len(node.type.items)))


def size_of(node: Node) -> int:
    """The number of elements."""
    type_ = node.type
    # Asked for every node, again and again.
    size = type_.size if type(type_) is TensorType else node.tensor_type.size
    assert size is not None, "a program has its own for each shape"
    return size


def usual_size(node: Node) -> int:
    """The number of elements in most calls: what costs are compared by."""
    return likely(size_of(node))


def aligned_input(node: Node, position: int, prefix: int | None) -> int | None:
    """The prefix at which input `position` of an inlined `node` is read, None when not aligned."""
    if prefix is None:
        return None
    op = node.op
    source = node.inputs[position]
    if op.pattern is Pattern.MAP or type(op) is Reshape:
        return prefix if size_of(source) == size_of(node) else None
    if type(op) is Broadcast:
        return _aligned_broadcast(op, source, node, prefix)
    if isinstance(op, TakeAlong):
        return _aligned_pick(op, node, position, prefix)
    if isinstance(op, Transpose):
        moved = [a for a in op.permutation if source.shape[a] != 1]
        return prefix if moved == sorted(moved) else None
    return None


def _aligned_broadcast(op: Broadcast, source: Node, node: Node, prefix: int) -> int | None:
    kept = {d for d, e in zip(op.dims, source.shape, strict=True) if e != 1}
    long = [a for a, e in enumerate(node.shape) if e != 1]
    if set(long[: len(kept)]) != kept:
        return None
    size = size_of(source)
    if prefix < 0:
        return size if size and -prefix % size == 0 else prefix
    return size if size and prefix % size == 0 else None


def _aligned_pick(op: TakeAlong, node: Node, position: int, prefix: int) -> int | None:
    """One element picked from each row: the index is aligned, the source within its row."""
    source, picked = node.inputs
    if prefix < 0 or node.shape[op.axis] != 1 or op.axis != len(node.shape) - 1:
        return None
    return size_of(picked) if position == 1 else -(size_of(source) // source.shape[op.axis])  # type: ignore[operator]


def access(roots: Iterable[tuple[Node, int | None]], is_value: Callable[[Node], bool]) -> Access:
    """Follow inlined nodes from `roots` (each with the prefix it is read at) to values."""
    reads: dict[Node, set[int | None]] = {}
    seen: dict[tuple[Node, int | None], None] = {}
    inlined: dict[Node, None] = {}
    stack = list(roots)
    while stack:
        item = stack.pop()
        if item in seen:
            continue
        seen[item] = None
        node, prefix = item
        if is_value(node):
            reads.setdefault(node, set()).add(prefix)
            continue
        inlined[node] = None
        if prefix is None:
            stack += [(source, None) for source in node.inputs]
        elif node.op.pattern is Pattern.MAP:
            size = size_of(node)
            stack += [(s, prefix if size_of(s) == size else None) for s in node.inputs]
        else:
            for position, source in enumerate(node.inputs):
                stack.append((source, aligned_input(node, position, prefix)))
    return Access(reads, tuple(inlined), tuple(seen))


def _trailing(axes: Sequence[int], rank: int) -> bool:
    return tuple(axes) == tuple(range(rank - len(axes), rank))


def _significant(axes: Sequence[int], shape: Sequence[object]) -> tuple[list[int], int]:
    """`axes` and rank after axes of extent 1 are dropped."""
    kept = [a for a, e in enumerate(shape) if e != 1]
    return [kept.index(a) for a in axes if a in kept], len(kept)


def make_stage(node: Node, is_value: Callable[[Node], bool]) -> Stage:
    """The stage that computes `node` from values."""
    op = node.op
    if op.pattern in (Pattern.LOOP, Pattern.CALL):
        seen = access([(i, None) for i in node.inputs], is_value)
        total = sum(size_of(value) for value in results_of(node))
        kind = Kind.LOOP if op.pattern is Pattern.LOOP else Kind.CALL
        return Stage(node, kind, total, None, seen)
    size = size_of(node)
    if isinstance(op, Barrier):
        return Stage(
            node, Kind.ALIAS, size, None, access([(i, None) for i in node.inputs], is_value)
        )
    if isinstance(op, Reduce):
        operand = node.inputs[0]
        total = size_of(operand)
        seen = access([(operand, total)], is_value)
        axes, rank = _significant(op.axes, operand.shape)
        if size == 1:
            return Stage(node, Kind.TOTAL, total, None, seen)
        if _trailing(axes, rank):
            return Stage(node, Kind.ROW, total, size, seen)
        leading = axes == list(range(len(axes)))
        narrow = size <= COLUMN_LIMIT or (size <= WIDE_COLUMNS and total // size >= MANY_ROWS)
        if leading and narrow and total:
            return Stage(node, Kind.COLUMN, total, total // size, seen)
        return Stage(node, Kind.STRIDED, size, None, access([(operand, None)], is_value))
    if isinstance(op, ArgReduce):
        operand = node.inputs[0]
        total = size_of(operand)
        axes, rank = _significant((op.axis,), operand.shape)
        if _trailing(axes, rank):
            return Stage(node, Kind.ROW, total, size, access([(operand, total)], is_value))
        return Stage(node, Kind.STRIDED, size, None, access([(operand, None)], is_value))
    if isinstance(op, (Dot, PanelDot)):
        seen = access([(operand_base(i, is_value), None) for i in node.inputs], is_value)
        return Stage(node, Kind.DOT, size, None, seen)
    if isinstance(op, WindowDot):
        seen = access([(i, None) for i in operands_of(node, is_value)], is_value)
        return Stage(node, Kind.DOT, size, None, seen)
    roots = [(i, aligned_input(node, p, size)) for p, i in enumerate(node.inputs)]
    seen = access(roots, is_value)
    own = Access(seen.reads, (node, *seen.inlined), ((node, size), *seen.visits))
    return Stage(node, Kind.MAP, size, None, own)
