"""Prefetching in row kernels: while a row is computed on, the next one comes from memory.

Knows rows as vector loops one after another. The processor's own prefetchers see the stream only
in the pass that reads it first, and stop at the end of a page; the passes that compute would leave
memory idle.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical
from ..expr import Buffer, Expr, Var, index
from ..kernel import For, Prefetch, Stmt, Vector
from ..scalar import apply
from ..targets.base import Features
from ..varying import likely
from .rewrite import depends_on, each_access, replaced, stride_of

__all__ = ["prefetch_next"]


@final
class _Stream:
    """What one pass reads of a row, in order."""

    def __init__(self, loop: For, buffer: Buffer, indices: tuple[Expr, ...]) -> None:
        self.loop = loop
        self.buffer = buffer
        self.indices = indices


def prefetch_next(
    body: tuple[Stmt, ...],
    item: Var,
    items: int,
    work: Sequence[float],
    lets: Mapping[Var, Expr],
    target: Features,
) -> tuple[Stmt, ...]:
    """`body`, the heaviest pass of which also asks for what the next row will read.

    Parameters
    ----------
    body : tuple of Stmt
        One row: vector loops among other statements.
    item : Var
        The number of the row.
    items : int
        How many rows there are.
    work : sequence of float
        The operations of one iteration of each statement of `body`.
    lets : mapping
        What variables stand for.
    target : Features
    """
    passes = [n for n, s in enumerate(body) if isinstance(s, For) and isinstance(s.mapping, Vector)]
    if len(passes) < 2:
        return body
    result = list(body)
    for stream in _streams([body[n] for n in passes], item, lets):
        extent = stream.loop.extent
        if not isinstance(extent, int):
            continue
        row = likely(extent) * stream.buffer.dtype.itemsize
        if likely(items) * row <= target.l2_bytes or row > target.l2_bytes // 4:
            continue
        host = max(
            (n for n in passes if _extent(body[n]) == extent),
            key=lambda n: work[n],
        )
        loop = result[host]
        assert isinstance(loop, For)
        ahead = {stream.loop.var: loop.var, item: apply("add", item, index(1))}
        place = tuple(canonical(replaced(i, ahead)) for i in stream.indices)
        result[host] = replace(loop, body=(Prefetch(stream.buffer, place), *loop.body))
    return tuple(result)


def _extent(statement: Stmt) -> object:
    return statement.extent if isinstance(statement, For) else None


def _streams(passes: Sequence[Stmt], item: Var, lets: Mapping[Var, Expr]) -> list[_Stream]:
    """The first reads of buffers that differ from row to row and run through memory."""
    found: dict[Buffer, _Stream] = {}
    for loop in passes:
        assert isinstance(loop, For)

        def visit(
            buffer: Buffer, indices: tuple[Expr, ...], is_store: bool, loop: For = loop
        ) -> None:
            if is_store or buffer in found or buffer.space != "param":
                return
            if any(depends_on(i, v, lets) for i in indices for v in lets):
                return
            along = stride_of(buffer, indices, loop.var, lets)
            across = stride_of(buffer, indices, item, lets)
            if along == 1 and across is not None and across > 1:
                found[buffer] = _Stream(loop, buffer, indices)

        each_access((loop,), visit)
    return list(found.values())
