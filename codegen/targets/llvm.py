"""Mapped kernels as LLVM functions, and functions as modules.

Knows the calling convention of kernels; holds no heuristics and knows no tensors.

A kernel becomes ``void name(ptr args, i64 lo, i64 hi, i64 chunk, ptr scratch)``. `args` holds
one pointer for each parameter (for a partial one: the first of its private copies) and then the
sizes. A kernel with partial parameters gets ``void name.finish(ptr args, i64 chunks)`` as well.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from ..dtypes import int64
from ..expr import Buffer, Const, Expr, Load, Var
from ..kernel import Any, For, Kernel, Parallel, Param, Role, Serial, Store, Vector
from .base import Features
from .llvm_arrange import Arranges
from .llvm_builder import Region, Value
from .llvm_layout import (
    KernelLayout,
    allocation_offsets,
    elements,
    kernel_layout,
    partial_stride,
)
from .llvm_loops import written
from .llvm_machine import assembly, compile_module
from .llvm_reduce import identity

__all__ = [
    "KernelLayout",
    "assembly",
    "compile_module",
    "emit_kernel",
    "emit_module",
    "emit_sized",
    "kernel_layout",
]


@final
class _Emitter(Arranges):
    """One function of a kernel."""

    def __init__(self, kernel: Kernel, target: Features, sizes: dict[tuple[int, int], int]) -> None:
        super().__init__(target, allocation_offsets(kernel.body)[0])
        self.sizes = sizes
        self.first_size = len(kernel.params) + len(kernel.sizes)
        self.kernel = kernel
        self.partial = [p for p in kernel.params if p.role is Role.PARTIAL]

    def function(self, name: str, parameters: str) -> str:
        """The text of the function, its code being complete."""
        lines = self.levels[0].region.lines
        if self.metadata_nontemporal:
            if self.target.is_x86:
                self.declarations.add("declare void @llvm.x86.sse.sfence()")
                lines.append("  call void @llvm.x86.sse.sfence()")
            else:
                lines.append("  fence release")
        head = f"define void @{quoted(name)}({parameters}) {self.attributes} {{"
        return "\n".join([head, "entry:", *lines, "  ret void", "}", ""])

    def arguments(self, finishing: bool) -> None:
        """Load pointers and sizes."""
        self.open(Region("entry"))
        for position, param in enumerate(self.kernel.params):
            text = self._argument(position, "ptr")
            if param.role is Role.PARTIAL and not finishing:
                stride = partial_stride(param.buffer)
                offset = self.emit(f"mul nsw i64 %chunk, {self.amount(stride)}")
                text = self.emit(f"getelementptr i8, ptr {text}, i64 {offset}")
            self.bases[param.buffer] = Value(text, int64, 0, 0)
        for position, size in enumerate(self.kernel.sizes):
            text = self._argument(len(self.kernel.params) + position, "i64")
            self.bind(size, Value(text, int64, 0, 0))

    def _argument(self, position: int, kind: str) -> str:
        pointer = self.emit(f"getelementptr i64, ptr %args, i64 {position}")
        return self.emit(f"load {kind}, ptr {pointer}, align 8")

    # --- the body ---------------------------------------------------------------------------------

    def main(self) -> str:
        """The function that runs one chunk."""
        body = self.kernel.body
        self.mutable = written(body)
        self.arguments(finishing=False)
        for param in self.partial:
            self._fill(param)
        self.body(body[:-1])
        last = body[-1] if body else None
        if isinstance(last, For) and isinstance(last.mapping, (Parallel, Vector)):
            self.loop_between(last, "%lo", "%hi")
        elif last is not None:
            self.body((last,))
        return self.function(
            self.kernel.name,
            "ptr noalias %args, i64 %lo, i64 %hi, i64 %chunk, ptr noalias %scratch",
        )

    def _flat(self, buffer: Buffer) -> tuple[Buffer, int, Vector]:
        """`buffer` as one axis, and how to run over it."""
        count = max(1, elements(buffer))
        flat = Buffer(buffer.name, buffer.dtype, (count,))
        self.bases[flat] = self.bases[buffer]
        return flat, count, Vector(self.target.lanes(buffer.dtype), 2)

    def _fill(self, param: Param) -> None:
        """Set the private copy of a partial parameter to the identity."""
        assert param.monoid is not None
        flat, count, mapping = self._flat(param.buffer)
        position = Var("i")
        neutral = Const(identity(param.monoid, flat.dtype), flat.dtype)
        store = Store(flat, (position,), neutral)
        self.run_now(For(position, count, Any(), (store,), mapping=mapping))

    # --- the end ----------------------------------------------------------------------------------

    def finish(self) -> str:
        """The function that combines the private copies and runs the finish statements."""
        self.mutable = written(self.kernel.finish) | {p.buffer for p in self.partial}
        self.arguments(finishing=True)
        others = Var("others")
        self.bind(others, Value(self.emit("sub nsw i64 %chunks, 1"), int64, 0, 0))
        for param in self.partial:
            self._combine_copies(param, others)
        self.forget(self.mutable)
        self.body(self.kernel.finish)
        return self.function(f"{self.kernel.name}.finish", "ptr noalias %args, i64 %chunks")

    def _combine_copies(self, param: Param, others: Var) -> None:
        """Fold every private copy into the first, in order of chunks."""
        assert param.monoid is not None
        flat, count, mapping = self._flat(param.buffer)
        self.mutable |= {flat}
        stride = partial_stride(param.buffer) // flat.dtype.itemsize
        copies = Buffer("copies", flat.dtype, (others, count), (stride, 1))
        self.bases[copies] = Value(
            self.element(self.bases[flat].text, flat, stride, 0), int64, 0, 0
        )
        chunk, position = Var("chunk"), Var("i")
        place: tuple[Expr, ...] = (position,)
        store = Store(flat, place, Load(copies, (chunk, position)), monoid=param.monoid)
        inner = For(position, count, Any(), (store,), mapping=mapping)
        self.run_now(For(chunk, others, Serial(), (inner,)))


def quoted(name: str) -> str:
    """A function name as LLVM writes it."""
    plain = all(c.isalnum() or c in "._$" for c in name) and not name[:1].isdigit()
    return name if plain else '"' + name.replace('"', "'") + '"'


def emit_kernel(kernel: Kernel, target: Features) -> str:
    """The LLVM functions of a mapped kernel, as `emit_sized` writes them."""
    return emit_sized(kernel, target)[0]


def emit_sized(kernel: Kernel, target: Features) -> tuple[str, tuple[int, ...]]:
    """The LLVM functions of a mapped kernel, with the declarations they need.

    Parameters
    ----------
    kernel : Kernel
        Its loops are mapped: `Parallel`, `Vector`, `Unroll`, or plain. When the last statement
        is a `Parallel` or a `Vector` loop, it runs from ``lo`` to ``hi``.
    target : Features

    Returns
    -------
    str
        Declarations, ``@<name>``, and ``@<name>.finish`` when there are partial parameters.
    tuple of int
        The values of arguments behind the kernel's sizes: varying numbers that it computes with.
    """
    sizes: dict[tuple[int, int], int] = {}
    emitter = _Emitter(kernel, target, sizes)
    texts = [emitter.main()]
    declarations = set(emitter.declarations)
    if emitter.partial or kernel.finish:
        finisher = _Emitter(kernel, target, sizes)
        texts.append(finisher.finish())
        declarations |= finisher.declarations
    metadata = ["!0 = !{i32 1}\n"] if emitter.metadata_nontemporal else []
    text = "\n".join([*sorted(declarations), "", *texts, *metadata])
    return text, tuple(value for value, _ in sizes)


def emit_module(kernels: Iterable[Kernel], target: Features, entry_ir: str = "") -> str:
    """One module of several kernels and further text; declarations are written once."""
    texts = [emit_kernel(kernel, target) for kernel in kernels]
    seen: set[str] = set()
    lines = [f'target triple = "{target.triple}"', ""]
    for text in (*texts, entry_ir):
        for line in text.splitlines():
            if line.startswith(("declare ", "define internal ", "!0 = ")):
                if line in seen:
                    continue
                seen.add(line)
            lines.append(line)
    return "\n".join(lines) + "\n"
