"""The memory that a kernel needs beside its arguments: local buffers and private copies.

Knows sizes and loops; writes no code.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import final

from ..expr import Buffer
from ..kernel import Alloc, For, If, Kernel, Role, Stmt, Vector
from ..records import dataclass
from .base import Features

__all__ = ["KernelLayout", "allocation_offsets", "elements", "kernel_layout", "partial_stride"]

_LINE = 64


@final
@dataclass(frozen=True)
class KernelLayout:
    """The memory that a kernel needs beside its arguments.

    Attributes
    ----------
    scratch_bytes : int
        What `scratch` must hold, aligned to 64 bytes; private to the running thread.
    partial_strides : tuple of int
        For each partial parameter, in order, the bytes from one private copy to the next.
    """

    scratch_bytes: int
    partial_strides: tuple[int, ...]


def _round(size: int) -> int:
    return -(-size // _LINE) * _LINE


def elements(buffer: Buffer) -> int:
    """How many elements a buffer of known extents has."""
    if not all(isinstance(extent, int) for extent in buffer.shape):
        raise ValueError(f"{buffer.name} needs known extents")
    return math.prod(extent for extent in buffer.shape if isinstance(extent, int))


def _allocations(statements: Sequence[Stmt], lanes: int = 1) -> Iterator[tuple[Buffer, int]]:
    """Every local buffer with its size in bytes; in a vector loop each lane has its own."""
    for s in statements:
        if isinstance(s, Alloc):
            yield s.buffer, elements(s.buffer) * s.buffer.dtype.itemsize * lanes
        elif isinstance(s, For):
            wide = s.mapping.lanes if isinstance(s.mapping, Vector) and lanes == 1 else lanes
            yield from _allocations(s.body, wide)
        elif isinstance(s, If):
            yield from _allocations(s.then, lanes)


def allocation_offsets(statements: Sequence[Stmt]) -> tuple[dict[Buffer, int], int]:
    """Where in `scratch` each local buffer begins, and how much all of them take, in bytes."""
    offsets: dict[Buffer, int] = {}
    total = 0
    for buffer, size in _allocations(statements):
        offsets[buffer] = total
        total += _round(size)
    return offsets, total


def partial_stride(buffer: Buffer) -> int:
    """Bytes from one private copy of a partial parameter to the next."""
    return _round(max(1, elements(buffer)) * buffer.dtype.itemsize)


def kernel_layout(kernel: Kernel, target: Features) -> KernelLayout:
    """What the planner must reserve for `kernel`."""
    strides = tuple(partial_stride(p.buffer) for p in kernel.params if p.role is Role.PARTIAL)
    return KernelLayout(allocation_offsets(kernel.body)[1], strides)
