"""Rules that make a graph smaller without changing a bit of what it computes.

Knows ops and their algebra; knows no fusion. Each rule looks at one node and gives its replacement
or None.
"""

from __future__ import annotations

import numpy as np

from ..autodiff.custom import inline_custom
from ..ir.halves import meaning, number_of
from ..ir.node import Node, Op
from ..ir.rewrite import Rule, only
from ..ir.types import TupleType
from ..ops import build
from ..ops.base import Pattern
from ..ops.elementwise import ELEMENTWISE
from ..ops.identities import Cast, Leaf, Mark, NotDifferentiable, StopGradient, Transfer
from ..ops.movement import Broadcast, Reshape, Transpose
from ..ops.reduce import ArgReduce, Monoid, Reduce
from ..ops.source import Constant
from .pieces import PIECES

__all__ = ["CANONICAL", "SIMPLIFY", "in_one_order", "scalar_of"]


PASSING = (StopGradient, NotDifferentiable, Leaf, Mark, Transfer)


def _is_reduce(op: Op) -> bool:
    return isinstance(op, Reduce)


def scalar_of(node: Node) -> float | int | bool | None:
    """The number that every element of `node` is, when it is one constant."""
    while isinstance(node.op, (Broadcast, Reshape)):
        node = node.inputs[0]
    return node.op.const.value if isinstance(node.op, Constant) else None


def is_constant(node: Node) -> bool:
    """Whether `node` repeats one constant."""
    return isinstance(node.op, Broadcast) and isinstance(node.inputs[0].op, Constant)


@only(lambda op: isinstance(op, PASSING))
def drop_identities(node: Node) -> Node | None:
    """stop_gradient(x), leaf(x), mark(x), transfer(x) = x once gradients are taken."""
    return node.inputs[0] if isinstance(node.op, PASSING) else None


@only(lambda op: op is ELEMENTWISE["where"])
def plain_select(node: Node) -> Node | None:
    """where(c, x, y) = select(c, x, y) once gradients are taken."""
    return build.select(*node.inputs) if node.op is ELEMENTWISE["where"] else None


@only(lambda op: op in (ELEMENTWISE["mul"], ELEMENTWISE["div"]))
def multiply_by_one(node: Node) -> Node | None:
    """x * 1 = 1 * x = x; x / 1 = x."""
    if node.op is ELEMENTWISE["mul"]:
        a, b = node.inputs
        if scalar_of(b) == 1:
            return a
        if scalar_of(a) == 1:
            return b
    if node.op is ELEMENTWISE["div"] and scalar_of(node.inputs[1]) == 1:
        return node.inputs[0]
    return None


@only(lambda op: op in (ELEMENTWISE["neg"], ELEMENTWISE["add"], ELEMENTWISE["sub"]))
def double_negation(node: Node) -> Node | None:
    """-(-x) = x; x + (-y) = x - y; x - (-y) = x + y."""
    neg = ELEMENTWISE["neg"]
    if node.op is neg and node.inputs[0].op is neg:
        return node.inputs[0].inputs[0]
    if node.op is ELEMENTWISE["add"] and node.inputs[1].op is neg:
        return build.sub(node.inputs[0], node.inputs[1].inputs[0])
    if node.op is ELEMENTWISE["sub"] and node.inputs[1].op is neg:
        return build.add(node.inputs[0], node.inputs[1].inputs[0])
    return None


@only(lambda op: op is ELEMENTWISE["select"])
def constant_condition(node: Node) -> Node | None:
    """select(true, x, y) = x; select(c, x, x) = x."""
    if node.op is not ELEMENTWISE["select"]:
        return None
    condition, a, b = node.inputs
    if a is b:
        return a
    known = scalar_of(condition)
    return None if known is None else (a if known else b)


@only(lambda op: op.pattern is Pattern.MAP)
def move_after_broadcast(node: Node) -> Node | None:
    """f(broadcast(x), broadcast(y)) = broadcast(f(x, y)): compute once what is repeated."""
    if node.op.pattern is not Pattern.MAP:
        return None
    sources = [i.inputs[0] for i in node.inputs if isinstance(i.op, Broadcast)]
    if not sources or len(sources) < len(node.inputs):
        return None
    dims = {(i.op.dims, i.inputs[0].shape) for i in node.inputs}  # type: ignore[attr-defined]
    if len(dims) == 1:
        (wanted,) = dims
        return build.broadcast(Node(node.op, tuple(sources)), node.shape, wanted[0])
    scalars = [s for s in sources if s.shape == ()]
    others = {d for d in dims if d[1] != ()}
    if not scalars or len(others) != 1:
        return None
    ((places, shape),) = others
    parts = [s if s.shape == shape else build.broadcast(s, shape, ()) for s in sources]
    return build.broadcast(Node(node.op, tuple(parts)), node.shape, places)


@only(lambda op: isinstance(op, (Reshape, Transpose, Broadcast)))
def merge_movement(node: Node) -> Node | None:
    """reshape(reshape(x)), transpose(transpose(x)), broadcast(broadcast(x)): one movement."""
    if not node.inputs:
        return None
    source = node.inputs[0]
    if isinstance(node.op, Reshape):
        if isinstance(source.op, Reshape):
            return build.reshape(source.inputs[0], node.shape)
        if source.shape == node.shape:
            return source
        if isinstance(source.op, Broadcast) and source.inputs[0].shape == ():
            return build.broadcast(source.inputs[0], node.shape, ())
    if isinstance(node.op, Transpose):
        if isinstance(source.op, Transpose):
            merged = tuple(source.op.permutation[a] for a in node.op.permutation)
            return build.transpose(source.inputs[0], merged)
        if node.op.permutation == tuple(range(len(node.shape))):
            return source
        if isinstance(source.op, Broadcast) and source.inputs[0].shape == ():
            return build.broadcast(source.inputs[0], node.shape, ())
    if isinstance(node.op, Broadcast):
        if source.shape == node.shape:
            return source
        if isinstance(source.op, Broadcast):
            dims = tuple(node.op.dims[d] for d in source.op.dims)
            return build.broadcast(source.inputs[0], node.shape, dims)
    return None


@only(lambda op: isinstance(op, Cast))
def repeated_cast(node: Node) -> Node | None:
    """cast to the dtype that the operand has, or had before a wider one = the operand."""
    if not isinstance(node.op, Cast):
        return None
    (source,) = node.inputs
    if source.dtype is node.dtype:
        return source
    if isinstance(source.op, Cast) and source.inputs[0].dtype is node.dtype:
        wider = source.dtype.kind == node.dtype.kind and source.dtype.bits > node.dtype.bits
        return source.inputs[0] if wider else None
    return None


@only(_is_reduce)
def reduce_single(node: Node) -> Node | None:
    """A reduction over axes of extent 1 is a reshape."""
    if not isinstance(node.op, Reduce):
        return None
    (source,) = node.inputs
    if all(source.shape[a] == 1 for a in node.op.axes) and source.dtype is node.dtype:
        return build.reshape(source, node.shape)
    return None


@only(_is_reduce)
def reduce_twice(node: Node) -> Node | None:
    """max(max(x, a), b) = max(x, a and b); the same for min, any and all."""
    exact = (Monoid.MAX, Monoid.MIN, Monoid.AND, Monoid.OR)
    if not isinstance(node.op, Reduce) or node.op.monoid not in exact:
        return None
    (source,) = node.inputs
    if not isinstance(source.op, Reduce) or source.op.monoid is not node.op.monoid:
        return None
    rank = len(source.inputs[0].shape)
    kept = [a for a in range(rank) if a not in source.op.axes]
    axes = tuple(sorted((*source.op.axes, *(kept[a] for a in node.op.axes))))
    return Node(Reduce(node.op.monoid, axes), (source.inputs[0],))


@only(_is_reduce)
def pick_sum(node: Node) -> Node | None:
    """sum over c of select(c == k, a, 0), a the same for all c: select(0 <= k < C, a, 0)."""
    if not isinstance(node.op, Reduce) or node.op.monoid is not Monoid.SUM:
        return None
    (source,) = node.inputs
    if source.op is not ELEMENTWISE["select"] or len(node.op.axes) != 1:
        return None
    condition, value, other = source.inputs
    (axis,) = node.op.axes
    if scalar_of(other) != 0 or condition.op is not ELEMENTWISE["eq"]:
        return None
    label, kept = _along_others(condition, axis), _without_axis(value, axis)
    extent = source.shape[axis]
    if label is None or kept is None or not isinstance(extent, int):
        return None
    # Every column has a number of its own only in an integer type that holds them all.
    if not label.dtype.is_integer or extent - 1 > label.dtype.highest:
        return None
    low = build.full(label.shape, 0, label.dtype)
    high = build.full(label.shape, extent, label.dtype)
    inside = build.logical_and(build.ge(label, low), build.lt(label, high))
    return build.select(inside, kept, build.full(kept.shape, 0, kept.dtype))


@only(_is_reduce)
def sum_of_negation(node: Node) -> Node | None:
    """sum(-x) = -sum(x): the same roundings, one operation for each result."""
    neg = ELEMENTWISE["neg"]
    if not isinstance(node.op, Reduce) or node.op.monoid is not Monoid.SUM:
        return None
    (source,) = node.inputs
    if source.op is not neg or not source.dtype.is_float:
        return None
    return build.neg(Node(node.op, source.inputs))


def nothing(node: Node) -> Node | None:
    """A value without elements needs no operands."""
    type_ = node.type
    if isinstance(type_, TupleType) or 0 not in type_.shape:
        return None
    if not node.inputs or is_constant(node):
        return None
    return build.full(node.shape, 0, node.dtype)


@only(lambda op: op.pattern in (Pattern.REDUCE, Pattern.CONTRACT, Pattern.LOOP))
def from_nothing(node: Node) -> Node | None:
    """A reduction, contraction or scatter of no elements is the same number everywhere."""
    identities = {Monoid.SUM: 0, Monoid.PROD: 1, Monoid.AND: 1, Monoid.OR: 0}
    loose = node.op.pattern in (Pattern.REDUCE, Pattern.CONTRACT, Pattern.LOOP)
    if (
        not loose
        or isinstance(node.type, TupleType)
        or 0 not in node.inputs[0].shape
        or 0 in node.shape
    ):
        return None
    monoid = node.op.monoid if isinstance(node.op, Reduce) else Monoid.SUM
    return build.full(node.shape, identities[monoid], node.dtype)


_EXACT = frozenset(
    ELEMENTWISE[name]
    for name in (
        *("add", "sub", "mul", "div", "neg", "minimum", "maximum"),
        *("eq", "ne", "lt", "le", "gt", "ge"),
    )
)


@only(lambda op: op in _EXACT or isinstance(op, Cast))
def fold_constants(node: Node) -> Node | None:
    """An exact operation on constants is a constant."""
    exact = node.op in _EXACT or isinstance(node.op, Cast)
    if not exact or not all(isinstance(i.op, Constant) for i in node.inputs):
        return None
    origins = [i.op.const.origin for i in node.inputs]  # type: ignore[attr-defined]
    if any(origin is not None for origin in origins):
        # It varies from call to call; converted, it still is what it was.
        plain = not isinstance(node.op, Cast) or node.dtype.is_half
        return None if plain else build.constant(origins[0], node.dtype)
    with np.errstate(all="ignore"):
        value = meaning(node, [i.op.ref() for i in node.inputs])
    return build.constant(number_of(value, node.dtype), node.dtype)


def _along_others(condition: Node, axis: int) -> Node | None:
    """k when `condition` is iota(axis) == k and k does not depend on the axis."""
    from_iota = [_is_iota(i, axis) for i in condition.inputs]
    if from_iota.count(True) != 1:
        return None
    return _without_axis(condition.inputs[from_iota.index(False)], axis)


def _is_iota(node: Node, axis: int) -> bool:
    if not isinstance(node.op, Broadcast) or node.op.dims != (axis,):
        return False
    return node.inputs[0].op.name == "iota"


def _without_axis(node: Node, axis: int) -> Node | None:
    """The node that `node` repeats along `axis`, with that axis removed."""
    if not isinstance(node.op, Broadcast) or axis in node.op.dims:
        return None
    shape = tuple(e for a, e in enumerate(node.shape) if a != axis)
    dims = tuple(d - (d > axis) for d in node.op.dims)
    return build.broadcast(node.inputs[0], shape, dims)


@only(lambda op: isinstance(op, ArgReduce))
def arg_of_one(node: Node) -> Node | None:
    """argmax over an axis of extent 1 = 0."""
    if isinstance(node.op, ArgReduce) and node.inputs[0].shape[node.op.axis] == 1:
        return build.full(node.shape, 0, node.dtype)
    return None


_EITHER_WAY = frozenset(
    ELEMENTWISE[name]
    for name in (
        *("add", "mul", "eq", "ne"),
        *("logical_and", "logical_or", "logical_xor"),
        *("bitwise_and", "bitwise_or", "bitwise_xor"),
    )
)
"""Not the extremes: which of two zeros they give depends on the order."""


def in_one_order() -> Rule:
    """A rule for one graph: y + x = x + y where that is there already, from an earlier node."""
    first: dict[tuple[Op, frozenset[Node]], Node] = {}

    @only(lambda op: op in _EITHER_WAY)
    def join_orders(node: Node) -> Node | None:
        return first.setdefault((node.op, frozenset(node.inputs)), node)

    return join_orders


CANONICAL = (inline_custom, drop_identities, plain_select)
SIMPLIFY = (
    nothing,
    from_nothing,
    repeated_cast,
    multiply_by_one,
    double_negation,
    constant_condition,
    merge_movement,
    move_after_broadcast,
    reduce_single,
    reduce_twice,
    arg_of_one,
    pick_sum,
    sum_of_negation,
    fold_constants,
    *PIECES,
)
