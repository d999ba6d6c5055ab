"""What one statement evaluates and writes, whatever kind it is.

Knows the statements of kernels; knows neither their order nor their meaning.
"""

from __future__ import annotations

from collections.abc import Iterator

from .expr import Buffer, Expr
from .kernel import (
    Alloc,
    Arrange,
    Contract,
    Copy,
    For,
    If,
    Inner,
    Let,
    Mma,
    Placed,
    Prefetch,
    Stmt,
    Store,
    Sync,
    Unfold,
)

__all__ = ["memory", "operands", "read_boxes", "written"]


def operands(statement: Stmt) -> tuple[Expr, ...]:
    """The expressions that are evaluated where `statement` stands.

    Without nested statements, and without the `next` of a loop, which its body evaluates.
    """
    if isinstance(statement, Let):
        return (statement.value,)
    if isinstance(statement, Store):
        return (*statement.indices, statement.value)
    if isinstance(statement, Prefetch):
        return statement.indices
    if isinstance(statement, If):
        return (statement.condition,)
    if isinstance(statement, For):
        extent = (statement.extent,) if isinstance(statement.extent, Expr) else ()
        return (*extent, *(start for _, start in statement.carry))
    if isinstance(statement, Copy):
        return (*statement.starts, statement.rows, statement.columns, statement.target_row)
    if isinstance(statement, Contract):
        extent = (statement.extent,) if isinstance(statement.extent, Expr) else ()
        starts = (*statement.a_starts, *statement.b_starts)
        onward = () if statement.onward is None else (statement.onward,)
        own = (statement.rows, statement.columns, statement.acc_row)
        return (*extent, *starts, *own, *onward)
    if isinstance(statement, Placed):
        starts = (statement.acc_row, statement.a_start, statement.a_row, statement.b_start)
        return (*starts, statement.outer, statement.length, statement.rows)
    if isinstance(statement, Inner):
        starts = (statement.a_start, statement.b_start)
        place = (statement.acc_row, statement.acc_column)
        return (*starts, *place, statement.outer, statement.length, statement.rows)
    if isinstance(statement, Unfold):
        columns = (statement.first_column, statement.columns)
        return (statement.offset, statement.first_row, statement.rows, *columns)
    if isinstance(statement, Mma):
        return (statement.row, statement.column, statement.step)
    if isinstance(statement, Alloc):
        return tuple(e for e in statement.buffer.shape if isinstance(e, Expr))
    if isinstance(statement, (Arrange, Sync)):
        return ()
    raise TypeError(f"no statement {type(statement).__name__}")


def read_boxes(statement: Stmt) -> tuple[Buffer, ...]:
    """The buffers that a statement about more than single elements reads."""
    if isinstance(statement, (Copy, Unfold)):
        return (statement.source,)
    if isinstance(statement, (Contract, Inner)):
        return (statement.a, statement.b)
    if isinstance(statement, Mma):
        return (statement.left, statement.right)
    if isinstance(statement, Placed):
        return (statement.a, statement.b, *statement.tables)
    if isinstance(statement, Arrange):
        return (statement.keys,)
    return ()


def written(statement: Stmt) -> Iterator[Buffer]:
    """The buffers that `statement` and the statements in it write."""
    stack = [statement]
    while stack:
        s = stack.pop()
        if isinstance(s, Store):
            yield s.buffer
        elif isinstance(s, (Copy, Unfold)):
            yield s.target
        elif isinstance(s, (Contract, Inner, Mma, Placed)):
            yield s.acc
        elif isinstance(s, Arrange):
            yield s.keys
            yield s.spare
        elif isinstance(s, For):
            stack.extend(s.body)
        elif isinstance(s, If):
            stack.extend(s.then)


def memory(buffer: Buffer) -> Buffer:
    """The buffer whose memory `buffer` looks at."""
    while buffer.base is not None:
        buffer = buffer.base
    return buffer
