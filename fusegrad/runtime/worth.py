"""Which kernels are worth the time to compile them well before they run first.

Knows how much a kernel moves and computes; knows no code.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.node import Node
from ..lower import Lowered
from ..lower.work import operations
from ..passes.regions import Kind, Region, size_of

__all__ = ["bytes_of", "is_heavy", "is_light", "nbytes_of"]


def nbytes_of(node: Node) -> int:
    return size_of(node) * node.dtype.itemsize


_HEAVY_BYTES, _HEAVY_OPERATIONS = 1 << 25, 1 << 25
"""A kernel that moves or computes more takes longer as a draft than its compilation saves."""


def is_heavy(lowered: Lowered, region: Region, runs: int) -> bool:
    """Whether a kernel is worth the time to compile it well before its first run."""
    # Of matrix products most of the work is in functions that are never drafts.
    if region.kind is Kind.DOT:
        return runs * bytes_of(lowered, lowered.written) > _HEAVY_BYTES
    if runs * bytes_of(lowered, (*lowered.read, *lowered.written)) > _HEAVY_BYTES:
        return True
    return region.kind is not Kind.MAP and runs * operations(lowered) > _HEAVY_OPERATIONS


_LIGHT_BYTES, _LIGHT_OPERATIONS = 1 << 22, 1 << 25
"""A kernel that moves and computes less takes no longer where what it calls is a draft too."""


def is_light(lowered: Lowered, runs: int) -> bool:
    """Whether the functions that a kernel shares with others are not worth it either."""
    if runs * bytes_of(lowered, (*lowered.read, *lowered.written)) > _LIGHT_BYTES:
        return False
    return runs * operations(lowered) <= _LIGHT_OPERATIONS


def bytes_of(lowered: Lowered, positions: Sequence[int]) -> int:
    """The bytes of some arguments of a kernel, those that it has twice once."""
    return sum(nbytes_of(a) for a in {lowered.arguments[p] for p in positions})
