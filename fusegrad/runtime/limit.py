"""Attempts to compile a step within a limit of memory: how much of it is kept in each.

Knows records by their arena; compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, final

from ..codegen.records import dataclass
from ..errors import MemoryLimitError
from .record import DeviceRecord, Record

__all__ = ["Goal", "NotWorthwhile", "within_limit"]

R = TypeVar("R", Record, DeviceRecord)

_PARTS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.25, 0.0)
"""How much is kept in each attempt to stay within a limit, of what is kept without one."""


class NotWorthwhile(Exception):
    """An attempt that keeps as much as an earlier one, or far too much."""


@final
@dataclass(frozen=True)
class Goal:
    """How much may be kept: a part of what is kept otherwise, and no attempt if it is too much.

    ``seen`` has the bytes of earlier attempts: the same number of bytes is the same step.
    """

    part: float
    most: int | None
    seen: set[int]


def within_limit(make: Callable[[Goal | None], R], memory_limit: int | None) -> R:
    """The record of a step whose arena has at most so many bytes.

    Parameters
    ----------
    make : callable
        Compiles, with a goal for how much is kept.
    memory_limit : int or None

    Raises
    ------
    MemoryLimitError
        If it needs more even where values are computed again.
    """
    if memory_limit is None:
        return make(None)
    least: int | None = None
    seen: set[int] = set()
    # The same steps for every limit, so that what one limit reached another one of its size keeps.
    for part in _PARTS:
        try:
            record = make(Goal(part, memory_limit + memory_limit // 4 if part else None, seen))
        except NotWorthwhile:
            continue
        needed = record.program.arena_bytes
        if needed <= memory_limit:
            return record
        least = needed if least is None else min(least, needed)
    raise MemoryLimitError(
        f"the step needs {least} bytes between its kernels, and the limit is {memory_limit}",
        remedy=f"allow memory_limit={least}, or take smaller batches",
    )
