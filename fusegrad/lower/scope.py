"""The statements under construction: loop levels, and where each value belongs.

Knows scalar expressions and loops; knows no regions. A value is placed at the outermost level where
its variables are bound, and a value of a node at an index is computed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from typing import final

from ..codegen.expr import Apply, Const, Expr, Load, Var
from ..codegen.kernel import Alloc, Any, For, Let, Order, Stmt
from ..codegen.ranges import known_range

__all__ = ["Scope"]


@final
class _Level:
    __slots__ = ("memo", "statements")

    def __init__(self) -> None:
        self.statements: list[Stmt] = []
        self.memo: dict[Hashable, Expr] = {}


@final
class Scope:
    """Loop levels, outermost first; level 0 is the body of the kernel."""

    def __init__(self) -> None:
        self.levels: list[_Level] = [_Level()]
        self.depth: dict[Var, int] = {}
        self.names: Iterator[int] = itertools.count()

    def fresh(self, prefix: str) -> str:
        """A name that no other variable of the kernel has."""
        return f"{prefix}{next(self.names)}"

    def depth_of(self, expr: Expr) -> int:
        """The level at which everything that `expr` names is bound."""
        if isinstance(expr, Const):
            return 0
        if isinstance(expr, Var):
            return self.depth.get(expr, 0)
        parts = expr.args if isinstance(expr, Apply) else expr.indices  # type: ignore[attr-defined]
        return max((self.depth_of(p) for p in parts), default=0)

    def memo(self, key: Hashable, make: Callable[[], Expr]) -> Expr:
        """The value for `key`, made and bound by a `let` when it is not known yet."""
        for level in self.levels:
            found = level.memo.get(key)
            if found is not None:
                return found
        value = make()
        depth = self.depth_of(value)
        if isinstance(value, (Apply, Load)):
            value = self.bind(value, depth)
        self.levels[depth].memo[key] = value
        return value

    def bind(self, value: Expr, depth: int | None = None) -> Var:
        """``let t = value`` at its level."""
        if depth is None:
            depth = self.depth_of(value)
        var = Var(self.fresh("t"), value.dtype, bounds=known_range(value))
        self.levels[depth].statements.append(Let(var, value))
        self.depth[var] = depth
        return var

    def emit(self, statement: Stmt) -> None:
        """Append a statement to the innermost level."""
        self.levels[-1].statements.append(statement)

    def declare(self, var: Var) -> None:
        """Say that `var` is bound at the innermost level."""
        self.depth[var] = len(self.levels) - 1

    def open(self, var: Var) -> None:
        """Begin the body of a loop of `var`."""
        self.levels.append(_Level())
        self.depth[var] = len(self.levels) - 1

    def close(
        self,
        var: Var,
        extent: Expr | int,
        order: Order,
        carry: Sequence[tuple[Var, Expr]] = (),
        following: Sequence[Expr] = (),
    ) -> None:
        """End the body of the loop of `var` and append the loop to the level around it."""
        body = tuple(self.levels.pop().statements)
        self.emit(For(var, extent, order, body, tuple(carry), tuple(following)))
        for v, _ in carry:
            self.declare(v)

    @contextmanager
    def loops(self, variables: Sequence[tuple[Var, Expr | int]]) -> Iterator[None]:
        """Nested loops of independent iterations around what is emitted inside."""
        for var, _ in variables:
            self.open(var)
        yield
        for var, extent in reversed(variables):
            self.close(var, extent, Any())

    def statements(self) -> tuple[Stmt, ...]:
        """The body, once every loop is closed; local buffers are declared first."""
        (level,) = self.levels
        allocations = [s for s in level.statements if isinstance(s, Alloc)]
        rest = [s for s in level.statements if not isinstance(s, Alloc)]
        return (*allocations, *rest)
