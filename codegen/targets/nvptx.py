"""Kernels as PTX for NVIDIA GPUs, from the same emitter with one lane.

Knows the thread grid; holds no heuristics and knows no tensors.

The independent loops around a kernel's body become one range of threads; a thread that is done
goes on one grid further. Reductions run inside one thread. Row memory lies in global memory, a
slot for each thread.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import final

from ..dtypes import int64
from ..expr import Expr, Var
from ..kernel import Any, Contract, Copy, For, If, Inner, Kernel, Role, Stmt, Unfold, Unroll
from ..unfolding import unfold_loops
from .base import Features
from .llvm_builder import Region, Value
from .llvm_layout import allocation_offsets
from .llvm_loops import written
from .llvm_machine import assembly
from .llvm_statements import Statements

__all__ = ["emit_ptx", "processor", "scratch_bytes_per_thread"]


def processor(name: str = "sm_90") -> Features:
    """An NVIDIA processor by the name of its architecture.

    Examples
    --------
    >>> processor("sm_80").triple
    'nvptx64-nvidia-cuda'
    """
    return Features("nvptx64-nvidia-cuda", name, "", 16, False, 255)


def scratch_bytes_per_thread(kernel: Kernel) -> int:
    """How much of `scratch` each thread uses."""
    return allocation_offsets(_plain(kernel.body))[1]


def _plain(statements: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """The statements with the mapping to lanes and chunks taken off their loops."""
    result: list[Stmt] = []
    for s in statements:
        if isinstance(s, For):
            mapping = s.mapping if isinstance(s.mapping, Unroll) else None
            result.append(dataclasses.replace(s, body=_plain(s.body), mapping=mapping))
        elif isinstance(s, If):
            result.append(dataclasses.replace(s, then=_plain(s.then)))
        else:
            result.append(s)
    return tuple(result)


@final
class _Emitter(Statements):
    """One kernel as a function that a thread runs."""

    def __init__(self, kernel: Kernel, target: Features) -> None:
        self.statements = _plain(kernel.body)
        offsets, self.scratch = allocation_offsets(self.statements)
        super().__init__(target, offsets)
        self.kernel = kernel

    def contract(self, s: Contract) -> None:
        """A register tile belongs to a schedule that maps it to the GPU."""
        raise ValueError(f"kernel {self.kernel.name} is mapped to a register tile of the CPU")

    def inner(self, s: Inner) -> None:
        """Inner products with lanes along the sum belong to the CPU's schedule."""
        raise ValueError(f"kernel {self.kernel.name} is mapped to inner products of the CPU")

    def copy(self, s: Copy) -> None:
        """Packing belongs to the CPU's schedule."""
        raise ValueError(f"kernel {self.kernel.name} packs operands for the CPU")

    def unfold(self, s: Unfold) -> None:
        """Windows as a matrix: loops."""
        for loop in unfold_loops(s):
            self.run_now(loop)

    def main(self) -> str:
        """The text of the function."""
        self.mutable = written(self.statements)
        self.open(Region("entry"))
        parameters = []
        for number, param in enumerate(self.kernel.params):
            if param.role is Role.PARTIAL:
                raise ValueError(f"kernel {self.kernel.name} has partial sums, which need chunks")
            parameters.append(f"ptr %p{number}")
            self.bases[param.buffer] = Value(f"%p{number}", int64, 0, 0)
        for number, size in enumerate(self.kernel.sizes):
            parameters.append(f"i64 %s{number}")
            self.bind(size, Value(f"%s{number}", int64, 0, 0))
        parameters.append("ptr %memory")
        thread, threads = self._threads()
        offset = self.emit(f"mul nsw i64 {thread}, {self.scratch}")
        self.put(f"%scratch = getelementptr i8, ptr %memory, i64 {offset}")
        self.body(self.statements[:-1])
        self._grid(self.statements[-1], thread, threads)
        lines = self.levels[0].region.lines
        head = f"define ptx_kernel void @{self.kernel.name}({', '.join(parameters)}) nounwind {{"
        text = "\n".join([head, "entry:", *lines, "  ret void", "}", ""])
        triple = f'target triple = "{self.target.triple}"'
        return "\n".join([triple, *sorted(self.declarations), "", text])

    def _threads(self) -> tuple[str, str]:
        """The number of this thread, and how many there are."""
        block, thread, width, blocks = (
            self.emit(f"zext i32 {self._register(name)} to i64")
            for name in ("ctaid.x", "tid.x", "ntid.x", "nctaid.x")
        )
        first = self.emit(f"mul nsw i64 {block}, {width}")
        return self.emit(f"add nsw i64 {first}, {thread}"), self.emit(
            f"mul nsw i64 {blocks}, {width}"
        )

    def _register(self, name: str) -> str:
        return self.emit(self.intrinsic("i32", f"nvvm.read.ptx.sreg.{name}", [], []))

    def _grid(self, s: Stmt, thread: str, threads: str) -> None:
        """The nest of independent loops that `s` begins, dealt to the threads."""
        loops: list[For] = []
        inner: tuple[Stmt, ...] = (s,)
        while len(inner) == 1 and _independent(inner[0], loops):
            loop = inner[0]
            assert isinstance(loop, For)
            loops.append(loop)
            inner = loop.body
        if not loops:
            raise ValueError(f"kernel {self.kernel.name} has no independent loop around its body")
        extents = [str(self.bound(loop.extent)) for loop in loops]
        total = extents[0]
        for extent in extents[1:]:
            total = self.emit(f"mul nsw i64 {total}, {extent}")
        going = self.emit(f"icmp slt i64 {thread}, {total}")
        name = self.begin_if()
        counter = self.begin_loop(thread, total, threads, writes=self.writes(loops[-1]))
        number = counter.index
        for loop, extent in zip(reversed(loops[1:]), reversed(extents[1:]), strict=True):
            position = self.emit(f"urem i64 {number}, {extent}")
            number = self.emit(f"udiv i64 {number}, {extent}")
            self.bind(loop.var, Value(position, int64, 0, self.depth))
        self.bind(loops[0].var, Value(number, int64, 0, self.depth))
        self.body(inner)
        self.end_loop(counter)
        self.end_if(name, going)


def _independent(s: Stmt, around: Sequence[For]) -> bool:
    """Whether a statement is a loop whose iterations may run at once, of an extent known before."""
    if not isinstance(s, For) or s.carry or not isinstance(s.order, Any):
        return False
    known: Expr | int = s.extent
    return isinstance(known, (int, Var)) and known not in [loop.var for loop in around]


def emit_ptx(kernel: Kernel, target: Features | None = None) -> str:
    """The PTX of a kernel, logical or mapped.

    Its entry takes one pointer for each parameter, one 64-bit integer for each size, and a
    pointer to `scratch_bytes_per_thread` bytes for each thread; the grid has one dimension.

    Parameters
    ----------
    kernel : Kernel
    target : Features, optional
        A `processor`; sm_90 by default.

    Raises
    ------
    ValueError
        If the kernel has partial sums, or is mapped to register tiles of the CPU.
    """
    chosen = target or processor()
    return assembly(_Emitter(kernel, chosen).main(), chosen)
