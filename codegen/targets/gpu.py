"""Kernels for a GPU: mapped, as PTX, and what a launch of them needs.

Knows the calling convention of kernels there; holds no heuristics and knows no tensors.

The entry of every stage takes the same arguments: one pointer for each parameter of the logical
kernel, a pointer to the workspace, and one 64-bit integer for each size. Pointers are aligned to
`BASE_ALIGNMENT` bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..expr import Expr
from ..kernel import Kernel
from ..records import dataclass
from ..schedule.gpu import map_gpu
from .base import Features
from .gpu_threads import BASE_ALIGNMENT, Threads, launch_bounds, launched_blocks, slot_bytes
from .llvm_layout import elements
from .numba_intrinsic import Entry, numba_ptx
from .nvptx import processor, ptx

__all__ = [
    "BASE_ALIGNMENT",
    "EMISSIONS",
    "GpuKernel",
    "GpuStage",
    "compile_gpu",
    "compile_gpu_together",
    "processor",
]

EMISSIONS = ("numba", "nvptx")
"""What makes PTX of the emitter's text: numba.cuda with NVIDIA's compiler, or LLVM alone."""

_LINE = 128


@final
@dataclass(frozen=True)
class GpuStage:
    """One launch of a kernel.

    Attributes
    ----------
    kernel : Kernel
        Mapped; its parameters are those of the logical kernel and then its temporaries.
    entry : str
        The name of the entry in the PTX.
    grid : Expr
        Blocks of the launch, in terms of the kernel's sizes; none where it is zero.
    block : int
        Threads of a block.
    shared_bytes : int
        Shared memory of a block, which the entry declares itself.
    """

    kernel: Kernel
    entry: str
    grid: Expr
    block: int
    shared_bytes: int


@final
@dataclass(frozen=True)
class GpuKernel:
    """A logical kernel as launches on a GPU, one after the other.

    Attributes
    ----------
    logical : Kernel
    stages : tuple of GpuStage
    ptx : str
        One module with the entries of all stages. Each takes a pointer for every parameter of
        `logical`, in order, then a pointer to the workspace, then an int64 for every size.
    workspace_bytes : int
        What the workspace must hold, aligned to 128 bytes; its content does not matter.
    """

    logical: Kernel
    stages: tuple[GpuStage, ...]
    ptx: str
    workspace_bytes: int


def compile_gpu(
    kernel: Kernel, size: int, target: Features | None = None, emission: str = "nvptx"
) -> GpuKernel:
    """Map a logical kernel to a GPU and make PTX of it.

    Parameters
    ----------
    kernel : Kernel
        Logical.
    size : int
        The value of the kernel's size for which the mapping is chosen; the code is right for all.
    target : Features, optional
        A `processor`; sm_90 by default.
    emission : str, optional
        One of `EMISSIONS`.

    Raises
    ------
    RuntimeError
        If numba.cuda is asked for and cannot compile here.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.expr import Buffer, Load, Var
    >>> from fusegrad.codegen.kernel import Any, For, Param, Role, Store
    >>> from fusegrad.codegen.scalar import apply
    >>> n = Var("n")
    >>> i, x, y = Var("i", extent=n), Buffer("x", float32, (n,)), Buffer("y", float32, (n,))
    >>> loop = For(i, n, Any(), (Store(y, (i,), apply("neg", Load(x, (i,)))),))
    >>> kernel = Kernel("negative", (Param(x, Role.IN), Param(y, Role.OUT)), (n,), (loop,))
    >>> made = compile_gpu(kernel, 1 << 20)
    >>> made.stages[0].entry, made.stages[0].block, ".target sm_90" in made.ptx
    ('negative_0', 256, True)
    """
    return compile_gpu_together([(kernel, size)], target, emission)[0]


def compile_gpu_together(
    kernels: Sequence[tuple[Kernel, int]], target: Features | None = None, emission: str = "nvptx"
) -> list[GpuKernel]:
    """`compile_gpu` for kernels and their sizes, which numba.cuda does in a fraction of the time.

    Parameters
    ----------
    kernels : sequence of (Kernel, int)
    target, emission
        As for `compile_gpu`.
    """
    chosen = target or processor()
    written = [_Written(kernel, size, chosen) for kernel, size in kernels]
    if emission == "numba":
        texts = numba_ptx([(w.text, w.entries) for w in written], chosen)
    else:
        texts = [ptx(w.text, chosen) for w in written]
    return [
        GpuKernel(w.kernel, tuple(w.stages), text, w.workspace)
        for w, text in zip(written, texts, strict=True)
    ]


@final
class _Written:
    """A kernel as text for LLVM."""

    def __init__(self, kernel: Kernel, size: int, target: Features) -> None:
        self.kernel = kernel
        self.stages: list[GpuStage] = []
        self.entries: list[Entry] = []
        self.workspace = 0
        mapped = map_gpu(kernel, size)
        offsets: list[int] = []
        for buffer in mapped.temporaries:
            offsets.append(self.workspace)
            self.workspace += -(-elements(buffer) * buffer.dtype.itemsize // _LINE) * _LINE
        slots = self.workspace
        texts: list[str] = []
        declarations: set[str] = set()
        counts = len(kernel.params) + 1, len(kernel.sizes)
        for number, logical in enumerate(mapped.stages):
            stage = replace(logical, name=f"{_identifier(kernel.name)}_{number}")
            emitter = Threads(stage, target, len(kernel.params), offsets, slots)
            texts.append(emitter.main())
            declarations |= emitter.declarations
            grid = emitter.grid
            teams = grid.threads // grid.width * (grid.blocks or 0)
            self.workspace = max(self.workspace, slots + slot_bytes(stage)[1] * teams)
            shared = emitter.shared_bytes
            self.entries.append(Entry(stage.name, *counts, launch_bounds(grid, shared)))
            blocks = launched_blocks(stage)
            self.stages.append(GpuStage(stage, stage.name, blocks, grid.threads, shared))
        head = [f'target triple = "{target.triple}"', *sorted(declarations), ""]
        self.text = "\n".join([*head, *texts])


def _identifier(name: str) -> str:
    """A name that PTX allows."""
    return re.sub(r"\W", "_", name) if name[:1].isalpha() else "k_" + re.sub(r"\W", "_", name)
