"""The code of kernels for a GPU: PTX and how each is launched, from the disk or made now.

Knows kernels and the cache; knows no driver.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np

from .. import config
from ..codegen.evaluate import evaluate
from ..codegen.printer import print_kernel
from ..codegen.records import dataclass
from ..codegen.targets.gpu import GpuKernel, compile_gpu_together, processor
from ..codegen.targets.numba_intrinsic import installed, why_not
from ..errors import DeviceError
from . import cache
from .devices import DeviceKernel
from .step import source_version

__all__ = ["DeviceCode", "Entry", "code_of", "emission", "gpu_target", "launched_blocks"]


@final
@dataclass(frozen=True)
class Entry:
    """One launch: the name of its entry, its blocks, and the threads of each."""

    name: str
    blocks: int
    threads: int


@final
@dataclass(frozen=True)
class DeviceCode:
    """The code of one kernel.

    Attributes
    ----------
    entries : tuple of Entry
        Launches, one after the other, with the same arguments.
    workspace : int
        Bytes of the memory that they hand things on in.
    ptx : str
    """

    entries: tuple[Entry, ...]
    workspace: int
    ptx: str


def gpu_target() -> str | None:
    """The architecture that FUSEGRAD_TARGET names, None if it names no GPU."""
    name = config.current().target or ""
    return name if name.startswith("sm_") else None


def emission() -> str:
    """What makes the code of a GPU, ``"numba"`` or ``"nvptx"``.

    Raises
    ------
    DeviceError
        If FUSEGRAD_CUDA_EMIT names what is not there.
    """
    chosen = config.current().cuda_emit
    if chosen is None:
        return "numba" if installed() and why_not() is None else "nvptx"
    if chosen == "numba" and why_not() is not None:
        raise DeviceError(
            f"FUSEGRAD_CUDA_EMIT is 'numba', but {why_not()}",
            remedy="set it to nvptx, which needs no package, or unset it",
        )
    return chosen


def launched_blocks(made: GpuKernel, size: int) -> list[int]:
    """How many blocks each stage has for a value of the kernel's sizes."""
    values = {var: np.int64(size) for var in made.logical.sizes}
    return [int(evaluate(stage.grid, values)) for stage in made.stages]


def code_of(kernels: Sequence[DeviceKernel]) -> list[DeviceCode]:
    """The code of the kernels of one step, which are of one architecture."""
    if not kernels:
        return []
    disk = cache.default()
    key = cache.Key(
        [
            ("kind", b"ptx"),
            ("kernels", "\n".join(print_kernel(e.kernel) for e in kernels).encode()),
            ("sizes", repr([e.size for e in kernels]).encode()),
            ("target", kernels[0].target.encode()),
            # Whether numba.cuda works is asked of it only where something is compiled.
            ("emit", f"{config.current().cuda_emit} {installed()}".encode()),
            ("fusegrad", source_version()),
        ]
    )
    found = disk.get(key) if disk is not None else None
    if found is not None:
        return [
            DeviceCode(
                tuple(Entry(name, blocks, threads) for name, blocks, threads in entries),
                workspace,
                found.blobs[f"ptx{n}"].decode(),
            )
            for n, (entries, workspace) in enumerate(found.header["kernels"])
        ]
    made = _compiled(kernels)
    if disk is not None:
        header = {
            "kernels": [
                [[[e.name, e.blocks, e.threads] for e in each.entries], each.workspace]
                for each in made
            ]
        }
        disk.put(key, header, {f"ptx{n}": each.ptx.encode() for n, each in enumerate(made)})
    return made


def _compiled(kernels: Sequence[DeviceKernel]) -> list[DeviceCode]:
    target = processor(kernels[0].target)
    found = compile_gpu_together([(e.kernel, e.size) for e in kernels], target, emission())
    result = []
    for each, made in zip(kernels, found, strict=True):
        blocks = launched_blocks(made, each.size)
        entries = [
            Entry(stage.entry, count, stage.block)
            for stage, count in zip(made.stages, blocks, strict=True)
        ]
        result.append(DeviceCode(tuple(entries), made.workspace_bytes, made.ptx))
    return result
