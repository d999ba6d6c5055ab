"""Rewriting that schedules of the GPU share: other buffers for the same values, flat indices.

Knows the kernel language; knows no machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..affine import canonical
from ..dtypes import DType, bool_
from ..expr import Apply, Buffer, Const, Expr, Extent, Load, Var, const, index, walk
from ..kernel import Alloc, Any, For, If, Let, Monoid, Stmt, Store
from ..scalar import apply
from .rewrite import replaced, substitute

__all__ = [
    "as_expr",
    "flattened",
    "identities",
    "identity",
    "independent_loops",
    "known",
    "own_variables",
    "rebuffered",
    "spelled",
    "total_of",
]


def as_expr(extent: Extent | Expr) -> Expr:
    """An extent as an expression."""
    return index(extent) if isinstance(extent, int) else extent


def total_of(extents: Sequence[Extent | Expr]) -> Expr:
    """The product of extents."""
    total: Expr = index(1)
    for extent in extents:
        total = apply("mul", total, as_expr(extent))
    return canonical(total)


def flattened(flat: Expr, loops: Sequence[For]) -> dict[Var, Expr]:
    """What the variables of nested loops are in one loop over all of their iterations."""
    values: dict[Var, Expr] = {}
    rest = flat
    for position, f in enumerate(reversed(loops)):
        if position == len(loops) - 1:
            values[f.var] = rest
        elif isinstance(f.extent, int):
            values[f.var] = canonical(apply("remtrunc", rest, index(f.extent)))
            rest = canonical(apply("divtrunc", rest, index(f.extent)))
        else:
            values[f.var] = apply("remtrunc", rest, as_expr(f.extent))
            rest = apply("divtrunc", rest, as_expr(f.extent))
    return values


def rebuffered(statements: Sequence[Stmt], buffers: Mapping[Buffer, Buffer]) -> tuple[Stmt, ...]:
    """The statements with other buffers in the place of some."""
    memo: dict[int, Expr] = {}
    kept: list[Expr] = []

    def e(expr: Expr) -> Expr:
        known = memo.get(id(expr))
        if known is not None:
            return known
        result = expr
        if isinstance(expr, Load):
            indices = [e(i) for i in expr.indices]
            buffer = buffers.get(expr.buffer, expr.buffer)
            same = all(a is b for a, b in zip(indices, expr.indices, strict=True))
            if buffer is not expr.buffer or not same:
                result = Load(buffer, indices)
        elif isinstance(expr, Apply):
            args = [e(a) for a in expr.args]
            if any(a is not b for a, b in zip(args, expr.args, strict=True)):
                result = Apply(expr.op, args, expr.dtype)
        memo[id(expr)] = result
        kept.append(expr)
        return result

    def one(s: Stmt) -> Stmt:
        if isinstance(s, Let):
            return Let(s.var, e(s.value))
        if isinstance(s, Store):
            indices = tuple(e(i) for i in s.indices)
            buffer = buffers.get(s.buffer, s.buffer)
            return replace(s, buffer=buffer, indices=indices, value=e(s.value))
        if isinstance(s, If):
            return If(e(s.condition), tuple(map(one, s.then)))
        if isinstance(s, Alloc):
            return Alloc(buffers.get(s.buffer, s.buffer))
        if isinstance(s, For):
            return replace(
                s,
                extent=e(s.extent) if isinstance(s.extent, Expr) else s.extent,
                body=tuple(map(one, s.body)),
                carry=tuple((v, e(x)) for v, x in s.carry),
                next=tuple(map(e, s.next)),
            )
        return s

    return tuple(map(one, statements))


def identity(monoid: Monoid, dtype: DType) -> Expr:
    """What changes nothing when it is combined."""
    values = {
        Monoid.SUM: -0.0 if dtype.is_float else 0,
        Monoid.PROD: 1,
        Monoid.MAX: dtype.lowest,
        Monoid.ARGMAX: dtype.lowest,
        Monoid.MIN: dtype.highest,
        Monoid.ARGMIN: dtype.highest,
        Monoid.AND: True if dtype is bool_ else -1,
        Monoid.OR: False if dtype is bool_ else 0,
    }
    return const(values[monoid], dtype)


def identities(monoids: Sequence[Monoid], variables: Sequence[Var]) -> list[Expr]:
    """What the carried variables of a tree start from so that nothing changes."""
    result: list[Expr] = []
    for monoid in monoids:
        result.append(identity(monoid, variables[len(result)].dtype))
        if monoid.width == 2:
            place = variables[len(result)].dtype
            result.append(const(place.highest, place))
    return result


def own_variables(
    statements: Sequence[Stmt], values: dict[Var, Expr] | None = None
) -> tuple[Stmt, ...]:
    """A copy whose lets, also those in loops and branches, bind variables of their own.

    `values`, what variables outside of the statements have become, learns the new ones.
    """
    values = {} if values is None else values
    result: list[Stmt] = []
    for s in statements:
        if isinstance(s, Let):
            var = Var(s.var.name, s.var.dtype)
            value = replaced(s.value, values)
            values[s.var] = var
            result.append(Let(var, value))
        elif isinstance(s, If):
            inside = own_variables(s.then, dict(values))
            result.append(If(replaced(s.condition, values), inside))
        elif isinstance(s, For):
            (head,) = substitute((replace(s, body=(), next=()),), values)
            assert isinstance(head, For)
            own = dict(values)
            body = own_variables(s.body, own)
            result.append(replace(head, body=body, next=tuple(replaced(e, own) for e in s.next)))
        else:
            result += substitute((s,), values)
    return tuple(result)


def spelled(e: Expr, lets: Mapping[Var, Expr]) -> Expr:
    """`e` with names replaced by what they stand for."""
    while any(isinstance(x, Var) and x in lets for x in walk(e)):
        e = replaced(e, lets)
    return e


def known(extent: Extent | Expr) -> int | None:
    """An extent that is a number."""
    if isinstance(extent, Const):
        return int(extent.value)
    return extent if isinstance(extent, int) else None


def independent_loops(top: For) -> tuple[list[For], list[Stmt]]:
    """Independent loops with nothing but each other and lets in them."""
    chain, lets = [top], list[Stmt]()
    while True:
        inside = [s for s in chain[-1].body if not isinstance(s, Let)]
        only = inside[0] if len(inside) == 1 else None
        if not isinstance(only, For) or not isinstance(only.order, Any):
            return chain, lets
        if chain[-1].body[-1] is not only:
            return chain, lets
        lets += [s for s in chain[-1].body if isinstance(s, Let)]
        chain.append(only)
