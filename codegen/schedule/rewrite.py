"""Rewriting of statements: substitution of variables, and what an expression depends on.

Knows the kernel language; knows no machine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..affine import canonical, linear
from ..dtypes import bool_, int64
from ..expr import Apply, Buffer, Const, Expr, Load, Var, const, index, remembered
from ..kernel import (
    Alloc,
    Arrange,
    Contract,
    Copy,
    For,
    If,
    Inner,
    Let,
    Monoid,
    Placed,
    Prefetch,
    Stmt,
    Store,
    Unfold,
    nested,
)
from ..scalar import apply

__all__ = [
    "depends_on",
    "each_access",
    "expressions",
    "flat_offset",
    "neutral_of",
    "replaced",
    "stride_of",
    "substitute",
]


def _mapped(expr: Expr, values: Mapping[Expr, Expr], memo: dict[int, Expr]) -> Expr:
    known = memo.get(id(expr))
    if known is not None:
        return known
    result = expr
    if isinstance(expr, Var):
        result = values.get(expr, expr)
    elif isinstance(expr, Load) and expr in values:
        result = values[expr]
    elif isinstance(expr, Load):
        parts = [_mapped(i, values, memo) for i in expr.indices]
        if any(a is not b for a, b in zip(parts, expr.indices, strict=True)):
            result = Load(expr.buffer, [canonical(p) for p in parts])
    elif isinstance(expr, Apply):
        parts = [_mapped(i, values, memo) for i in expr.args]
        if any(a is not b for a, b in zip(parts, expr.args, strict=True)):
            result = (
                canonical(Apply(expr.op, parts, int64))
                if expr.dtype is int64
                else Apply(expr.op, parts, expr.dtype)
            )
    memo[id(expr)] = result
    return result


def replaced(expr: Expr, values: Mapping[Any, Expr]) -> Expr:
    """`expr` with variables replaced by expressions."""
    return _mapped(expr, values, {})


_VALUES: dict[type[Stmt], tuple[str, ...]] = {
    Copy: ("rows", "columns", "target_row"),
    Unfold: ("offset", "first_row", "rows", "first_column", "columns"),
    Placed: ("acc_row", "a_start", "a_row", "b_start", "outer", "length", "rows"),
    Inner: ("acc_row", "acc_column", "a_start", "b_start", "outer", "length", "rows"),
}
"""The expressions in statements about boxes."""


def substitute(statements: Sequence[Stmt], values: Mapping[Any, Expr]) -> tuple[Stmt, ...]:
    """The statements with variables and loads replaced by expressions."""
    memo: dict[int, Expr] = {}

    def e(expr: Expr) -> Expr:
        return _mapped(expr, values, memo)

    def es(exprs: Sequence[Expr]) -> tuple[Expr, ...]:
        return tuple(e(x) for x in exprs)

    def one(s: Stmt) -> Stmt:
        if isinstance(s, Let):
            return Let(s.var, e(s.value))
        if isinstance(s, Store):
            indices = tuple(canonical(i) for i in es(s.indices))
            return replace(s, indices=indices, value=e(s.value))
        if isinstance(s, Prefetch):
            return Prefetch(s.buffer, tuple(canonical(i) for i in es(s.indices)))
        if isinstance(s, If):
            return If(e(s.condition), tuple(map(one, s.then)))
        if isinstance(s, For):
            extent = e(s.extent) if isinstance(s.extent, Expr) else s.extent
            return replace(
                s,
                extent=extent,
                body=tuple(map(one, s.body)),
                carry=tuple((v, e(x)) for v, x in s.carry),
                next=es(s.next),
            )
        if isinstance(s, Copy):
            s = replace(s, starts=es(s.starts))
        if isinstance(s, (Copy, Unfold, Placed, Inner)):
            changed = {name: e(getattr(s, name)) for name in _VALUES[type(s)]}
            return replace(s, **changed)  # type: ignore[arg-type]
        if isinstance(s, Contract):
            return replace(
                s,
                a_starts=es(s.a_starts),
                b_starts=es(s.b_starts),
                rows=e(s.rows),
                columns=e(s.columns),
                acc_row=e(s.acc_row),
                onward=None if s.onward is None else e(s.onward),
            )
        return s

    return tuple(map(one, statements))


def expressions(statement: Stmt) -> tuple[Expr, ...]:
    """The expressions that a statement itself holds, without nested statements."""
    if isinstance(statement, Let):
        return (statement.value,)
    if isinstance(statement, Store):
        return (*statement.indices, statement.value)
    if isinstance(statement, If):
        return (statement.condition,)
    if isinstance(statement, For):
        extent = (statement.extent,) if isinstance(statement.extent, Expr) else ()
        return (*extent, *(x for _, x in statement.carry), *statement.next)
    if isinstance(statement, (Alloc, Arrange)):
        return ()
    raise TypeError(f"{type(statement).__name__} is not a logical statement")


def neutral_of(monoid: Monoid, store: Store) -> Expr:
    """What an accumulator of a store starts from."""
    dtype = store.value.dtype
    values = {
        Monoid.SUM: 0,
        Monoid.PROD: 1,
        Monoid.MAX: dtype.lowest,
        Monoid.MIN: dtype.highest,
        Monoid.AND: True if dtype is bool_ else -1,
        Monoid.OR: False,
    }
    return const(values[monoid], dtype)


def flat_offset(buffer: Buffer, indices: Sequence[Expr]) -> Expr:
    """The element offset of an access, from the buffer's strides (row-major when it has none)."""
    return _flat_offset(buffer, tuple(indices))


# A schedule asks for the same access again and again.
@remembered
def _flat_offset(buffer: Buffer, indices: tuple[Expr, ...]) -> Expr:
    strides: list[Expr] = []
    if buffer.strides is not None:
        strides = [index(s) if isinstance(s, int) else s for s in buffer.strides]
    else:
        inner: Expr = index(1)
        for extent in reversed(buffer.shape):
            strides.append(inner)
            inner = apply("mul", inner, index(extent) if isinstance(extent, int) else extent)
        strides.reverse()
    total: Expr = index(0)
    for i, stride in zip(indices, strides, strict=True):
        total = apply("add", total, apply("mul", i, stride))
    return canonical(total)


def depends_on(expr: Expr, var: Var, lets: Mapping[Var, Expr]) -> bool:
    """Whether `expr` needs `var`, directly or through `lets`."""
    stack: list[Expr] = [expr]
    seen: set[Expr] = set()
    while stack:
        e = stack.pop()
        if e in seen:
            continue
        seen.add(e)
        if e is var:
            return True
        if isinstance(e, Var) and e in lets:
            stack.append(lets[e])
        elif isinstance(e, Apply):
            stack.extend(e.args)
        elif isinstance(e, Load):
            stack.extend(e.indices)
    return False


def stride_of(
    buffer: Buffer, indices: Sequence[Expr], var: Var, lets: Mapping[Var, Expr]
) -> int | None:
    """The step in elements when `var` grows by one; None when it is not constant."""
    form = linear(flat_offset(buffer, indices))
    stride = 0
    for atom, factor in form.terms:
        if atom is var:
            stride = factor
        elif depends_on(atom, var, lets):
            return None
    return stride


def each_access(
    statements: Sequence[Stmt], visit: Callable[[Buffer, tuple[Expr, ...], bool], None]
) -> None:
    """Call ``visit(buffer, indices, is_store)`` for every load and store."""
    for statement in nested(statements):
        if isinstance(statement, Store):
            visit(statement.buffer, statement.indices, True)
        seen: set[int] = set()
        stack: list[Expr] = list(expressions(statement))
        while stack:
            e = stack.pop()
            if id(e) in seen or isinstance(e, (Const, Var)):
                continue
            seen.add(id(e))
            if isinstance(e, Load):
                visit(e.buffer, e.indices, False)
                stack.extend(e.indices)
            elif isinstance(e, Apply):
                stack.extend(e.args)
