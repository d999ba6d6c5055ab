"""Text of LLVM modules to objects and to assembly.

Knows LLVM's code generator; knows no kernels.
"""

from __future__ import annotations

import ctypes
import functools
import threading
from typing import TYPE_CHECKING, Any

from ..deferred import deferred
from .base import Features, initialize

if TYPE_CHECKING:
    import llvmlite.binding as llvm
    from llvmlite.binding import ffi
else:
    llvm = deferred("llvmlite.binding")
    ffi = deferred("llvmlite.binding.ffi")

__all__ = ["assembly", "compile_module", "parsed", "target_machine"]

_LOCAL = threading.local()


def target_machine(target: Features, level: int = 2) -> llvm.TargetMachine:
    """The code generator for `target`; one for each thread, kept."""
    machines: dict[tuple[Features, int], llvm.TargetMachine] | None
    machines = getattr(_LOCAL, "machines", None)
    if machines is None:
        machines = _LOCAL.machines = {}
    key = (target, level)
    if key not in machines:
        initialize()
        machines[key] = llvm.Target.from_triple(target.triple).create_target_machine(
            cpu=target.cpu,
            features=target.features,
            opt=level,
            reloc="pic",
            codemodel="small",
        )
    return machines[key]


def parsed(ir: str) -> llvm.ModuleRef:
    """The module, in a context of its own, so that threads do not meet."""
    initialize()
    return llvm.parse_assembly(ir, llvm.create_context())


def compile_module(ir: str, target: Features, level: int = 2) -> bytes:
    """The object file of a module; no passes run but the code generator's.

    Several threads may do this at the same time.
    """
    module = parsed(ir)
    machine = target_machine(target, level)
    message = ctypes.c_char_p()
    # As `emit_object`, without the one lock of llvmlite: module and machine are this thread's own.
    memory = _emit()(
        ctypes.cast(machine._ptr, _P), ctypes.cast(module._ptr, _P), 1, ctypes.byref(message)
    )
    if not memory:
        raise RuntimeError((message.value or b"the code generator fails").decode())
    buffer = ctypes.cast(memory, ffi.LLVMMemoryBufferRef)
    try:
        start = ffi.lib.LLVMPY_GetBufferStart(buffer)
        return ctypes.string_at(start, ffi.lib.LLVMPY_GetBufferSize(buffer))
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(buffer)


_P = ctypes.c_void_p


@functools.cache
def _emit() -> Any:
    function = ctypes.CDLL(ffi.lib._name)["LLVMPY_TargetMachineEmitToMemory"]
    function.restype = _P
    function.argtypes = [_P, _P, ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)]
    return function


def assembly(ir: str, target: Features, level: int = 2) -> str:
    """The assembly text of a module, to read."""
    module = parsed(ir)
    return str(target_machine(target, level).emit_assembly(module))
