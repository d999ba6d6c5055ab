"""Which kernels are worth the time to compile them well before they run first.

Knows how much a kernel moves and computes; knows no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..ir.node import Node
from ..lower import Lowered
from ..lower.work import operations
from ..passes.regions import Kind, Region, size_of

__all__ = ["Worth", "bytes_of", "nbytes_of", "worth_of"]


def nbytes_of(node: Node) -> int:
    return size_of(node) * node.dtype.itemsize


_HEAVY_BYTES, _HEAVY_OPERATIONS = 1 << 25, 1 << 25
"""A kernel that moves or computes more takes longer as a draft than its compilation saves."""
_LIGHT_BYTES, _LIGHT_OPERATIONS = 1 << 22, 1 << 25
"""A kernel that moves and computes less takes no longer where what it calls is a draft too."""


class Worth(NamedTuple):
    """Whether a kernel is worth the time to compile it well before its first run.

    A draft is not; of a light one the functions that it shares with others are not either.
    """

    draft: bool
    light: bool


def worth_of(lowered: Lowered, region: Region, runs: int) -> Worth:
    """What a kernel is worth that runs so often in a step."""
    dot = region.kind is Kind.DOT
    written = runs * bytes_of(lowered, lowered.written)
    moved = runs * bytes_of(lowered, (*lowered.read, *lowered.written))
    # Of matrix products most of the work is in functions that are never drafts.
    if (written if dot else moved) > _HEAVY_BYTES:
        return Worth(draft=False, light=False)
    if dot and moved > _LIGHT_BYTES:
        return Worth(draft=True, light=False)
    computed = runs * operations(lowered)
    heavy = not dot and region.kind is not Kind.MAP and computed > _HEAVY_OPERATIONS
    light = moved <= _LIGHT_BYTES and computed <= _LIGHT_OPERATIONS
    return Worth(not heavy, light and not heavy)


def bytes_of(lowered: Lowered, positions: Sequence[int]) -> int:
    """The bytes of some arguments of a kernel, those that it has twice once."""
    return sum(nbytes_of(a) for a in {lowered.arguments[p] for p in positions})
