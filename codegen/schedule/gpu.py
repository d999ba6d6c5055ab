"""The schedule of kernels for a GPU: launches, teams of threads, and who computes what.

Holds the heuristics of the GPU back end; knows no instruction. Sums run in trees that depend on
shapes alone.
"""

from __future__ import annotations

from typing import final

from ..arranging import without_arranging
from ..expr import Buffer
from ..kernel import Kernel
from ..records import dataclass
from .gpu_contraction import tile_contraction
from .gpu_nests import map_nest
from .gpu_scans import map_scan
from .gpu_stages import split_stages
from .gpu_windows import without_windows

__all__ = ["GpuMapped", "map_gpu"]


@final
@dataclass(frozen=True)
class GpuMapped:
    """A logical kernel as mapped stages, to be launched one after the other.

    The parameters of each stage are those of the logical kernel, and then `temporaries`.
    """

    stages: tuple[Kernel, ...]
    temporaries: tuple[Buffer, ...]


def map_gpu(kernel: Kernel, size: int) -> GpuMapped:
    """Map a logical kernel to a GPU.

    Parameters
    ----------
    kernel : Kernel
        Logical: nested `any` loops around passes of `any`, `tree` and `serial` loops.
    size : int
        The value of the kernel's size. The stages are right for every value that it may have.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.expr import Load, Var
    >>> from fusegrad.codegen.kernel import Any, For, Param, Role, Store
    >>> from fusegrad.codegen.printer import print_kernel
    >>> x, y = Buffer("x", float32, (8192,)), Buffer("y", float32, (8192,))
    >>> i = Var("i", extent=8192)
    >>> loop = For(i, 8192, Any(), (Store(y, (i,), Load(x, (i,))),))
    >>> kernel = Kernel("copy", (Param(x, Role.IN), Param(y, Role.OUT)), (), (loop,))
    >>> print(print_kernel(map_gpu(kernel, 0).stages[0]))
    kernel copy(x: f32[8192] in, y: f32[8192] out) {
      for block in 4 any grid(256, block) {
        for i in 2048 any block(4, 2) { y[block * 2048 + i] = x[block * 2048 + i] }
      }
    }
    """
    stages, temporaries = split_stages(without_windows(without_arranging(kernel)), size)
    mapped = tuple(
        tile_contraction(stage, size) or map_scan(stage) or map_nest(stage, size)
        for stage in stages
    )
    return GpuMapped(mapped, temporaries)
