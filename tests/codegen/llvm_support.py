"""Runs mapped kernels natively, in chunks, on NumPy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import llvmlite.binding as llvm
import numpy as np

from fusegrad.codegen.kernel import Kernel, Role
from fusegrad.codegen.targets import library
from fusegrad.codegen.targets.base import Features, host
from fusegrad.codegen.targets.library import initialize
from fusegrad.codegen.targets.llvm import compile_module, emit_module, kernel_layout

Array = np.ndarray[Any, Any]
_KEEP: list[object] = []


def aligned(size: int) -> Array:
    """Bytes at a multiple of 64."""
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size]


def linked(ir: str, target: Features) -> Any:
    """What has the addresses of the functions of a module."""
    initialize()
    shell = llvm.parse_assembly(f'target triple = "{target.triple}"')
    machine = llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=2, jit=True
    )
    engine = llvm.create_mcjit_compiler(shell, machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(compile_module(ir, target)))
    engine.finalize_object()
    _KEEP.append(engine)
    return engine


class Native:
    """A compiled kernel."""

    def __init__(self, kernel: Kernel, target: Features | None = None) -> None:
        self.kernel = kernel
        self.target = target or host()
        self.ir = emit_module([kernel], self.target)
        library.initialize()
        llvm.parse_assembly(self.ir).verify()
        engine = linked(self.ir, self.target)
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        address = engine.get_function_address(kernel.name)
        assert address
        self.entry = ctypes.CFUNCTYPE(None, pointer, integer, integer, integer, pointer)(address)
        end = engine.get_function_address(kernel.name + ".finish")
        self.finish = ctypes.CFUNCTYPE(None, pointer, integer)(end) if end else None
        self.layout = kernel_layout(kernel, self.target)

    def __call__(
        self,
        *arrays: Array,
        sizes: Sequence[int] = (),
        chunks: Sequence[tuple[int, int]] = ((0, 0),),
    ) -> list[Array]:
        """Run over `chunks`; gives the partial results."""
        strides = iter(self.layout.partial_strides)
        given = iter(arrays)
        pointers, partial, keep = [], [], []
        for param in self.kernel.params:
            if param.role is Role.PARTIAL:
                stride = next(strides)
                memory = aligned(stride * len(chunks))
                memory[:] = 0xA5
                keep.append(memory)
                pointers.append(memory.ctypes.data)
                shape = param.buffer.shape
                count = int(np.prod(shape, dtype=int))
                flat = memory[: count * param.buffer.dtype.itemsize]
                partial.append(flat.view(param.buffer.dtype.numpy).reshape(shape))
            else:
                array = next(given)
                assert array.dtype == param.buffer.dtype.numpy, param.buffer.name
                pointers.append(array.ctypes.data)
        args = (ctypes.c_int64 * (len(pointers) + len(sizes) + 1))(*pointers, *sizes)
        scratch = aligned(self.layout.scratch_bytes + 64)
        for number, (low, high) in enumerate(chunks):
            scratch[:] = 0x7F
            self.entry(ctypes.addressof(args), low, high, number, scratch.ctypes.data)
        if self.finish is not None:
            self.finish(ctypes.addressof(args), len(chunks))
        return partial


def run(kernel: Kernel, *arrays: Array, **how: Any) -> list[Array]:
    """Compile `kernel` for this machine and run it."""
    return Native(kernel)(*arrays, **how)
