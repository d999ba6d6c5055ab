"""Scans: loops in order whose state could be combined in another order as well.

Says what such a loop computes; knows no schedule and no target.
"""

from __future__ import annotations

import math
from typing import Final, final

from .dtypes import DType
from .expr import Apply, Expr, Var, const, walk
from .kernel import For, Let, Serial, Stmt, Store
from .records import dataclass
from .scalar import apply

__all__ = ["Scan", "scan_of"]

_SCANNED: Final = ("add", "mul", "maximum", "minimum", "logaddexp")
"""The rows of the scalar table that combine in any order."""


@final
@dataclass(frozen=True)
class Scan:
    """``for k serial carry (a = start) { let total = op(a, value)  ...  next total }``.

    Attributes
    ----------
    op : str
        A row of the scalar table whose order may change.
    carried : Var
        The state before an iteration. Nothing but `step` reads it.
    step : Let
        The state after it.
    value : Expr
        What the iteration adds to the state.
    """

    op: str
    carried: Var
    step: Let
    value: Expr

    def combined(self, a: Expr, b: Expr) -> Expr:
        """State `a` and then state `b`."""
        return apply(self.op, a, b)

    def neutral(self) -> Expr:
        """The state of no iteration."""
        return const(_neutral(self.op, self.carried.dtype), self.carried.dtype)


def _neutral(op: str, dtype: DType) -> float | int:
    if op == "add":
        return -0.0 if dtype.is_float else 0  # float sums have -0.0, which changes no zero
    if op == "mul":
        return 1
    if op == "logaddexp":
        return -math.inf
    value: float | int = dtype.lowest if op == "maximum" else dtype.highest
    return value


def _read(statement: Stmt) -> tuple[Expr, ...]:
    if isinstance(statement, Store):
        return (statement.value, *statement.indices)
    assert isinstance(statement, Let)
    return (statement.value,)


def scan_of(loop: For) -> Scan | None:
    """What a loop scans, or None where it does something else."""
    if not isinstance(loop.order, Serial) or len(loop.carry) != 1:
        return None
    if any(not isinstance(s, (Let, Store)) for s in loop.body):
        return None
    carried, total = loop.carry[0][0], loop.next[0]
    steps = [s for s in loop.body if isinstance(s, Let) and s.var is total]
    if not steps or not isinstance(steps[0].value, Apply):
        return None
    (step,) = steps
    applied = step.value
    assert isinstance(applied, Apply)
    if applied.op not in _SCANNED or carried.dtype.numpy.kind not in "fiu":
        return None
    first, second = applied.args
    value = second if first is carried else first
    if carried not in (first, second) or carried in walk(value):
        return None
    for s in loop.body:
        if s is not step and any(carried in walk(e) for e in _read(s)):
            return None
    return Scan(applied.op, carried, step, value)
