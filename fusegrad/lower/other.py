"""Contractions, reductions over leading or middle axes, and loop nests: from stages to loops.

Knows root stages and the elementwise stages that follow them element by element.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import final

from ..codegen.affine import split_index
from ..codegen.dtypes import int64
from ..codegen.expr import Buffer, Expr, Load, Var, const, index
from ..codegen.kernel import Any, Monoid, Role, Stmt, Tree
from ..codegen.scalar import apply
from ..codegen.schedule.rewrite import each_access, substitute
from ..ir.node import Node
from ..ops.base import IndexedOp, LoopOp
from ..ops.contract import PanelDot
from ..ops.reduce import ArgReduce, Reduce
from ..passes.regions import Kind, Region, size_of
from ..passes.views import operand_base, shape_of, view_index
from .build import Builder, Lowered
from .rows import identity, place_dtype

__all__ = ["Operand", "always", "epilogue", "lower_dot", "lower_nest", "lower_strided"]


def _inlined(region: Region) -> frozenset[Node]:
    own = {s.node for s in region.stages}
    return frozenset(n for s in region.stages for n in s.access.reads) - own


def epilogue(
    builder: Builder,
    region: Region,
    outside: frozenset[Node],
    at: tuple[Expr, ...],
    values: Sequence[Expr],
) -> None:
    """Store the values of the first stages and what follows from them, at the same element."""
    known = dict(
        zip((s.node for s in region.stages if s.kind is not Kind.MAP), values, strict=True)
    )
    for node, value in known.items():
        builder.overrides[node] = functools.partial(always, value)
    extents = shape_of(region.stages[0].node)
    flat: Expr = index(0)
    for extent, i in zip(extents, at, strict=True):
        flat = apply("add", apply("mul", flat, index(extent)), i)
    for stage in region.stages:
        if stage.node not in outside:
            continue
        here = split_index(flat, shape_of(stage.node))
        result = known.get(stage.node)
        builder.store(
            stage.node, here, builder.read(stage.node, here) if result is None else result
        )


def always(value: Expr, at: tuple[Expr, ...]) -> Expr:
    """What a reduction has become, wherever it is read."""
    return value


@final
class Operand:
    """A matrix operand: a buffer read at an index that is affine in the loops, or computed."""

    def __init__(self, builder: Builder, node: Node, external: frozenset[Node]) -> None:
        self.builder = builder
        self.node = node
        self.base = operand_base(node, external.__contains__)
        self.computed = self.base not in external

    def read(self, at: tuple[Expr, ...]) -> Expr:
        """The operand's element, loaded through its view."""
        if self.computed:
            return self.builder.read(self.node, at)
        flat = view_index(self.node, self.base, at)
        base = self.base
        buffer = self.builder.buffer(base, Role.IN, (size_of(base),))
        self.builder.note_read(base, (flat,))
        element = Load(buffer, self.builder.place(buffer, flat))
        if element.dtype is self.node.dtype:
            return element
        return apply("cast", element, dtype=self.node.dtype)


def lower_dot(region: Region, outside: frozenset[Node], name: str) -> Lowered:
    """``for b.. for i for j { tree(sum) over k of a * b; epilogue }``.

    With the right operand in panels there is a loop over these, and columns within one.
    """
    root = region.stages[0].node
    external = _inlined(region)
    builder = Builder(lambda n: n not in external)
    size = Var("n", int64)
    left, right = (Operand(builder, n, external) for n in root.inputs)
    depth = shape_of(root.inputs[0])[-1]
    shape = [*shape_of(root)]
    panels = isinstance(root.op, PanelDot)
    if panels:
        count, _, width = shape_of(root.inputs[1])
        shape = [count, shape[0], width]
    variables = [
        Var(n, extent=size if a == 0 else e)
        for a, (n, e) in enumerate(zip(_axis_names(len(shape)), shape, strict=True))
    ]
    scope = builder.scope
    for v in variables:
        scope.open(v)
    k = Var("k", extent=depth)
    scope.open(k)
    batch, i, j = tuple(variables[:-2]), variables[-2], variables[-1]
    at: tuple[Expr, ...] = (*batch, i, j)
    a = left.read((i, k) if panels else (*batch, i, k))
    b = right.read((*batch, k, j))
    if panels:
        at = (i, apply("add", apply("mul", batch[0], index(shape[2])), j))
    acc = Var("a", root.dtype)
    start = identity(Monoid.SUM, root.dtype)
    scope.close(k, depth, Tree((Monoid.SUM,)), [(acc, start)], [apply("mul", a, b)])
    epilogue(builder, region, outside, at, [acc])
    for position in range(len(variables) - 1, -1, -1):
        extent = size if position == 0 else shape[position]
        scope.close(variables[position], extent, Any())
    return builder.finished(name, size, shape[0])


def _axis_names(rank: int) -> list[str]:
    return [*(f"b{a}" for a in range(rank - 2)), "i", "j"]


def lower_strided(region: Region, outside: frozenset[Node], name: str) -> Lowered:
    """A reduction whose kept axes include the last one: each lane reduces its own column."""
    roots = [s.node for s in region.stages if s.kind is Kind.STRIDED]
    op = roots[0].op
    assert isinstance(op, (Reduce, ArgReduce))
    axes = op.axes if isinstance(op, Reduce) else (op.axis,)
    operand = roots[0].inputs[0]
    external = _inlined(region)
    builder = Builder(lambda n: n not in external)
    scope = builder.scope
    size = Var("n", int64)
    extents = shape_of(operand)
    kept = [a for a in range(len(extents)) if a not in axes]
    variables = {}
    for position, a in enumerate(kept):
        variables[a] = Var(f"i{a}", extent=size if position == 0 else extents[a])
    for a in kept:
        scope.open(variables[a])
    for a in axes:
        variables[a] = Var(f"k{a}", extent=extents[a])
        scope.open(variables[a])
    at = tuple(variables[a] for a in range(len(extents)))
    contributions = [builder.read(root.inputs[0], at) for root in roots]
    if op.monoid.width == 2:
        place = place_dtype(extents[axes[0]])
        contributions.append(apply("cast", variables[axes[0]], dtype=place))
    values = _close_reductions(builder, roots, axes, variables, extents, contributions)
    epilogue(builder, region, outside, tuple(variables[a] for a in kept), values)
    for position in range(len(kept) - 1, -1, -1):
        a = kept[position]
        scope.close(variables[a], size if position == 0 else extents[a], Any())
    items = extents[kept[0]] if kept else 1
    return builder.finished(name, size, items)


def _close_reductions(
    builder: Builder,
    roots: Sequence[Node],
    axes: Sequence[int],
    variables: dict[int, Var],
    extents: Sequence[int],
    contributions: list[Expr],
) -> list[Expr]:
    """The results of reductions that go over the same axes: the same loops do all of them."""
    scope = builder.scope
    ops = [root.op for root in roots]
    for a in reversed(axes):
        carry: list[tuple[Var, Expr]] = []
        monoids: list[Monoid] = []
        for root, op in zip(roots, ops, strict=True):
            assert isinstance(op, (Reduce, ArgReduce))
            dtype = root.inputs[0].dtype
            monoids.append(op.monoid)
            carry.append((Var(scope.fresh("a"), dtype), identity(op.monoid, dtype)))
            if op.monoid.width == 2:
                place = place_dtype(extents[a])
                carry.append((Var(scope.fresh("m"), place), const(0, place)))
        scope.close(variables[a], extents[a], Tree(tuple(monoids)), carry, contributions)
        contributions = [v for v, _ in carry]
    if isinstance(ops[0], ArgReduce):
        return [apply("cast", contributions[-1], dtype=int64)]
    return contributions


def lower_nest(region: Region, name: str) -> Lowered:
    """A loop nest that the op itself gives."""
    node = region.stages[0].node
    external = _inlined(region)
    builder = Builder(lambda n: n not in external)
    inputs = [
        builder.buffer(i, Role.IN, tuple(i.shape))  # type: ignore[arg-type]
        if i in external
        else Buffer(f"v{position}", i.dtype, tuple(i.shape))  # type: ignore[arg-type]
        for position, i in enumerate(node.inputs)
    ]
    output = builder.buffer(node, Role.OUT, tuple(node.shape))  # type: ignore[arg-type]
    assert isinstance(node.op, LoopOp)
    statements: tuple[Stmt, ...] = tuple(node.op.nest(node, inputs, output))
    computed = {b: i for b, i in zip(inputs, node.inputs, strict=True) if i not in external}
    for statement in _computing(builder, statements, computed) if computed else statements:
        builder.scope.emit(statement)
    return builder.finished(name, Var("n", int64), 1, in_place=False)


def _computing(
    builder: Builder, statements: tuple[Stmt, ...], operands: dict[Buffer, Node]
) -> tuple[Stmt, ...]:
    """The statements with the values of some operands computed where they were read."""
    values: dict[Expr, Expr] = {}

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        if buffer in operands:
            values[Load(buffer, indices)] = _value(builder, operands[buffer], indices)

    each_access(statements, visit)
    return substitute(statements, values)


def _value(builder: Builder, root: Node, at: tuple[Expr, ...]) -> Expr:
    """An element of a value of which few operations make one element, as an expression."""
    memo: dict[tuple[Node, tuple[Expr, ...]], Expr] = {}

    def read(node: Node, at: tuple[Expr, ...]) -> Expr:
        if not builder.inlined(node):
            return builder.load(node, at)
        found = memo.get((node, at))
        if found is None:
            assert isinstance(node.op, IndexedOp)
            readers = tuple(functools.partial(read, i) for i in node.inputs)
            found = memo[node, at] = node.op.value(node, readers, at)
        return found

    return read(root, at)
