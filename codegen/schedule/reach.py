"""How far along a row its elements matter, where that depends on the row.

Knows loops over a row and what their values are beyond some column; knows no products and no
machine. Scores behind the diagonal that are replaced by minus infinity count for nothing: their
maximum, the sum of their powers and what is multiplied by these are what they are without them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

from ..affine import linear
from ..expr import Apply, Buffer, Const, Expr, Load, Var, index, walk
from ..kernel import For, Let, Monoid, Stmt, Store, Tree
from ..scalar import apply
from .rewrite import expressions

__all__ = ["reach"]

Value = float | bool | None
"""What an expression is beyond the reach; None if that is not known."""

_TURNED = {"ge": "le", "gt": "lt", "le": "ge", "lt": "gt"}
_OPPOSITE = {"le": False, "lt": False, "ge": True, "gt": True}
_IDENTITIES: dict[Monoid, float] = {
    Monoid.SUM: 0.0,
    Monoid.MAX: -math.inf,
    Monoid.MIN: math.inf,
}
_FAR = -1e30
"""Smaller scores than this are minus infinity beside any that are meant as scores."""
_MOST = 4
"""How many diagonals are tried."""


def reach(passes: Sequence[Stmt], row: Var, consumed: frozenset[Buffer]) -> int | None:
    """The least c so that what is beyond column `row` + c changes nothing; None if there is none.

    Parameters
    ----------
    passes : sequence of Stmt
        Loops over the columns of a row, and scalars between them.
    row : Var
        The number of the row.
    consumed : frozenset of Buffer
        What later is summed, times something: it must be zero there.
    """
    found: set[int] = set()
    for loop in passes:
        if isinstance(loop, For):
            roots = [e for s in loop.body for e in expressions(s)] + list(loop.next)
            for e in {x for root in roots for x in walk(root)}:
                place = _diagonal(e, row, loop.var)
                if place is not None and place[1] >= 0:
                    found.add(place[1])
    tried = sorted(found)[:_MOST]
    return next((c for c in tried if _Beyond(c, row, consumed).holds(passes)), None)


def _diagonal(e: Expr, row: Var, column: Var) -> tuple[str, int] | None:
    """A comparison as ``column OP row + number``, OP being le or gt."""
    if not isinstance(e, Apply) or e.op not in _TURNED:
        return None
    left, right = (_plain(x) for x in e.args)
    if left is None or right is None:
        return None
    form = linear(apply("sub", left, right))
    steps = (form.coefficient(row), form.coefficient(column))
    if len(form.terms) != 2 or steps not in ((1, -1), (-1, 1)):
        return None
    op, number = e.op, form.constant
    if steps == (1, -1):
        # row - column + number OP 0 is column TURNED row + number.
        op = _TURNED[op]
    else:
        number = -number
    # column OP row + number
    if op == "lt":
        return "le", number - 1
    if op == "ge":
        return "gt", number - 1
    return op, number


def _plain(e: Expr) -> Expr | None:
    """Integers as the indices that they are converted from."""
    if isinstance(e, Const):
        return index(int(e.value)) if e.dtype.is_integer else None
    if isinstance(e, Var):
        return e if e.dtype.is_integer else None
    if not isinstance(e, Apply) or not e.dtype.is_integer:
        return None
    parts = [_plain(x) for x in e.args]
    if any(p is None for p in parts):
        return None
    known = [p for p in parts if p is not None]
    if e.op == "cast":
        return known[0]
    return apply(e.op, *known) if e.op in ("add", "sub", "mul") else None


@final
class _Beyond:
    """The values of the passes at columns behind ``row + c``."""

    def __init__(self, c: int, row: Var, consumed: frozenset[Buffer]) -> None:
        self.c, self.row, self.consumed = c, row, consumed
        self.memory: dict[Buffer, Value] = {}
        self.values: dict[Expr, Value] = {}
        self.column = row

    def holds(self, passes: Sequence[Stmt]) -> bool:
        """Whether they are nothing to any sum, and zero where they are consumed."""
        for s in passes:
            if isinstance(s, For) and not self._loop(s):
                return False
        return all(self.memory.get(b) == 0 for b in self.consumed)

    def _loop(self, loop: For) -> bool:
        self.column = loop.var
        for s in loop.body:
            if isinstance(s, Let):
                self.values[s.var] = self._value(s.value)
            elif isinstance(s, Store) and s.buffer.space != "param" and s.monoid is None:
                if s.indices != (loop.var,):
                    return False
                self.memory[s.buffer] = self._value(s.value)
            else:
                return False
        if not isinstance(loop.order, Tree):
            return not loop.carry
        if any(m not in _IDENTITIES for m in loop.order.monoids):
            return False
        wanted = [_IDENTITIES[m] for m in loop.order.monoids]
        given = [self._value(e) for e in loop.next]
        return all(
            g == w or (w == -math.inf and g is not None and g <= _FAR)
            for g, w in zip(given, wanted, strict=True)
        )

    def _value(self, e: Expr) -> Value:
        if e not in self.values:
            self.values[e] = self._computed(e)
        return self.values[e]

    def _computed(self, e: Expr) -> Value:
        if isinstance(e, Const):
            return e.value if isinstance(e.value, (bool, int, float)) else None
        if isinstance(e, Load):
            return self.memory.get(e.buffer) if e.indices == (self.column,) else None
        if not isinstance(e, Apply):
            return None
        place = _diagonal(e, self.row, self.column)
        if place is not None:
            return _OPPOSITE[place[0]] if place[1] <= self.c else None
        return _applied(e, [self._value(x) for x in e.args])


def _applied(e: Apply, values: Sequence[Value]) -> Value:
    """The value of an operation; numbers that are not known are taken for finite ones."""
    op, first = e.op, values[0]
    if op == "select":
        return None if first is None else values[1] if first else values[2]
    if op == "not":
        return None if first is None else not first
    if op in ("and", "or"):
        # False and anything is False, True or anything is True.
        return (op == "or") if (op == "or") in values else None
    if op == "cast":
        return first if e.dtype.is_float or e.dtype.kind == "bool" else None
    if op == "exp":
        return 0.0 if first is not None and first <= _FAR else None
    if op == "neg":
        return None if first is None else -first
    if op in ("add", "sub"):
        return _sum(values[0], values[1] if op == "add" else _negative(values[1]))
    if op in ("mul", "div"):
        return _product(op, *values)
    return None


def _negative(value: Value) -> Value:
    return None if value is None else -value


def _sum(a: Value, b: Value) -> Value:
    for one, other in ((a, b), (b, a)):
        if one is not None and one <= _FAR and (other is None or other <= 0):
            return -math.inf
    return a + b if a is not None and b is not None else None


def _product(op: str, a: Value, b: Value) -> Value:
    if a == 0 or (op == "mul" and b == 0):
        return 0.0
    for one, other in ((a, b), (b, a))[: 2 if op == "mul" else 1]:
        if one is not None and one <= _FAR and other is not None and 1e-6 <= other <= 1e6:
            return -math.inf
    return None
