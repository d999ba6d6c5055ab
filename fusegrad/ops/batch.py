"""What batching rules share: a new leading axis on the operands of an op.

Knows movement by its constructors only.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.types import Extent
from . import build
from .base import Node

__all__ = ["batch_extent", "shifted", "spread", "with_batch"]


def batch_extent(operands: Sequence[Node], batched: Sequence[bool]) -> Extent:
    """The extent of the batch, which is axis 0 of every operand that has it."""
    return next(x.shape[0] for x, has in zip(operands, batched, strict=True) if has)


def with_batch(x: Node, extent: Extent) -> Node:
    """The same value for every element of the batch."""
    return build.broadcast(x, (extent, *x.shape), range(1, len(x.shape) + 1))


def spread(operands: Sequence[Node], batched: Sequence[bool]) -> list[Node]:
    """All operands with the batch as axis 0."""
    extent = batch_extent(operands, batched)
    return [x if has else with_batch(x, extent) for x, has in zip(operands, batched, strict=True)]


def shifted(axes: Sequence[int]) -> tuple[int, ...]:
    """Where axes lie once the batch is axis 0."""
    return tuple(axis + 1 for axis in axes)
