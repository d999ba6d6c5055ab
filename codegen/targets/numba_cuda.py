"""Python source of kernels for numba.cuda: what a GPU does, to read, to run and to learn from.

Knows the kernel language except register tiles and packing; knows nothing of numba itself. One
thread computes one iteration of the outermost loop, as in the first kernel that anybody writes; the
code that steps run is that of `gpu`.
"""

from __future__ import annotations

from typing import final

from ..expr import Buffer
from ..kernel import Alloc, For, Kernel, Let, Role
from ..kernel import Any as Independent
from .python import Source, numpy_name

__all__ = ["numba_cuda_source"]


def numba_cuda_source(kernel: Kernel) -> str:
    """`kernel` as the source of one numba.cuda kernel.

    It takes a flat array for each parameter, then the sizes, and is right for any grid. Where
    iterations meet in a sum, or there is no independent loop, one thread does all of it.

    Parameters
    ----------
    kernel : Kernel
        Logical.

    Raises
    ------
    ValueError
        If it has no such source: local arrays of variable length, or bfloat16.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.expr import Const, Load, Var
    >>> from fusegrad.codegen.kernel import Param, Store
    >>> from fusegrad.codegen.scalar import apply
    >>> x, y = Buffer("x", float32, (8,)), Buffer("y", float32, (8,))
    >>> i = Var("i", extent=8)
    >>> value = apply("mul", Load(x, (i,)), Const(2, float32))
    >>> loop = For(i, 8, Independent(), (Store(y, (i,), value),))
    >>> params = (Param(x, Role.IN), Param(y, Role.OUT))
    >>> print(numba_cuda_source(Kernel("twice", params, (), (loop,))))
    import math
    import numpy as np
    from numba import cuda
    <BLANKLINE>
    <BLANKLINE>
    @cuda.jit
    def twice(x, y):
        for i in range(cuda.grid(1), 8, cuda.gridsize(1)):
            y[i] = x[i] * np.float32(2.0)
    <BLANKLINE>
    """
    return _CudaSource(kernel).run()


@final
class _CudaSource(Source):
    heads = ("import math", "import numpy as np", "from numba import cuda")
    decorators = ("@cuda.jit",)

    def main(self) -> None:
        kernel = self.kernel
        *before, last = kernel.body or (None,)
        partial = any(p.role is Role.PARTIAL for p in kernel.params)
        apart = not kernel.finish and not partial
        if (
            apart
            and isinstance(last, For)
            and isinstance(last.order, Independent)
            and not last.carry
            and all(isinstance(s, (Let, Alloc)) for s in before)
        ):
            self.block(kernel.body[:-1])
            self.dealt(last)
            return
        self.line("if cuda.grid(1) != 0:")
        self.line("    return  # one thread does it all: its iterations meet in sums")
        super().main()

    def dealt(self, s: For) -> None:
        """The outermost loop: its iterations are those of the threads of the whole grid."""
        extent = self.extent(s.extent)
        name = self.declare(s.var)
        self.line(f"for {name} in range(cuda.grid(1), {extent}, cuda.gridsize(1)):")
        self.nested(s.body)

    def allocation(self, buffer: Buffer, size: str) -> str:
        if not size.isdecimal():
            raise ValueError(f"{self.kernel.name}: a local array of variable length, {buffer.name}")
        return f"cuda.local.array({size}, {numpy_name(buffer.dtype)})"
