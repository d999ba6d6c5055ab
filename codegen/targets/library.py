"""LLVM's library: the few of its functions that compiling needs, called directly.

Knows names and types of functions; knows no kernels. llvmlite's own package describes all of LLVM,
and takes longer to import than a small program takes to compile.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = [
    "compiled",
    "files",
    "host",
    "initialize",
    "initialize_others",
    "target_machine",
    "version",
]

_POINTER, _TEXT, _NUMBER = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
_MESSAGE = ctypes.POINTER(ctypes.c_char_p)
_FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "ContextCreate": (_POINTER,),
    "ContextDispose": (None, _POINTER),
    "CreateTargetMachine": (
        *(_POINTER, _POINTER, _TEXT, _TEXT, _TEXT, _NUMBER, _TEXT, _TEXT, _NUMBER, _NUMBER, _TEXT),
    ),
    "DisposeMemoryBuffer": (None, _POINTER),
    "DisposeModule": (None, _POINTER),
    "DisposeString": (None, _TEXT),
    "GetBufferSize": (ctypes.c_size_t, _POINTER),
    "GetBufferStart": (_POINTER, _POINTER),
    "GetHostCPUFeatures": (_NUMBER, _MESSAGE),
    "GetHostCPUName": (None, _MESSAGE),
    "GetProcessTriple": (None, _MESSAGE),
    "GetTargetFromTriple": (_POINTER, _TEXT, _MESSAGE),
    "GetVersionInfo": (ctypes.c_uint,),
    "InitializeAllAsmPrinters": (None,),
    "InitializeAllTargetInfos": (None,),
    "InitializeAllTargetMCs": (None,),
    "InitializeAllTargets": (None,),
    "InitializeNativeAsmPrinter": (None,),
    "InitializeNativeTarget": (None,),
    "ParseAssembly": (_POINTER, _POINTER, _TEXT, _MESSAGE),
    "TargetMachineEmitToMemory": (_POINTER, _POINTER, _POINTER, _NUMBER, _MESSAGE),
    "VerifyModule": (ctypes.c_bool, _POINTER, _MESSAGE),
}
"""The type of the result, and those of the arguments."""

_LONG = frozenset({"ContextDispose", "DisposeModule", "ParseAssembly", "TargetMachineEmitToMemory"})
"""Others are done sooner than the interpreter's lock is given away and taken back."""

_lock = threading.Lock()


def files() -> list[Path]:
    """The files of LLVM, found without loading anything."""
    found = importlib.util.find_spec("llvmlite")
    folder = Path(found.origin or "").parent if found is not None else Path()
    kinds = (".so", ".dylib", ".dll")
    return sorted(f for f in (folder / "binding").glob("*llvmlite*") if f.suffix in kinds)


@functools.cache
def _function(name: str) -> Any:
    result, *arguments = _FUNCTIONS[name]
    kind = ctypes.CDLL if name in _LONG else ctypes.PyDLL
    function = _library(kind)[f"LLVMPY_{name}"]
    function.restype, function.argtypes = result, arguments
    return function


@functools.cache
def _library(kind: type[ctypes.CDLL]) -> ctypes.CDLL:
    return kind(str(files()[0]))


def _told(function: Callable[[Any], object]) -> tuple[Any, str]:
    """What a function returns, and what it writes to the pointer that it is given."""
    message = ctypes.c_char_p()
    result = function(ctypes.byref(message))
    text = (message.value or b"").decode()
    if message:
        _function("DisposeString")(message)
    return result, text


# --- machines -------------------------------------------------------------------------------------


def version() -> tuple[int, ...]:
    """LLVM's version."""
    word = _function("GetVersionInfo")()
    digits = word.to_bytes(4, "big").lstrip(b"\0")
    return tuple(digits)


def host() -> tuple[str, str, str]:
    """LLVM's names of this machine: its triple, its processor, and what it can do, as a list."""
    triple, cpu = (_told(_function(name))[1] for name in ("GetProcessTriple", "GetHostCPUName"))
    listed = _told(_function("GetHostCPUFeatures"))[1].split(",")
    return triple, cpu, ",".join(sorted(filter(None, listed), key=lambda name: name[1:]))


@functools.cache
def _initialize(kind: str) -> None:
    for name in {
        "native": ("NativeTarget", "NativeAsmPrinter"),
        "all": ("AllTargetInfos", "AllTargets", "AllTargetMCs", "AllAsmPrinters"),
    }[kind]:
        _function(f"Initialize{name}")()


def initialize() -> None:
    """Make code for this kind of machine possible, once."""
    with _lock:
        _initialize("native")


def initialize_others() -> None:
    """Make code for other kinds of machines possible, once."""
    with _lock:
        _initialize("all")


def target_machine(triple: str, cpu: str, features: str, level: int) -> int:
    """The address of a code generator, which one thread may use at a time; it stays for ever.

    Its code loads anywhere: calls of imported symbols go through a table, and what lies in the
    object itself is near.

    Raises
    ------
    RuntimeError
        If LLVM knows no such machine.
    """
    if triple.partition("-")[0] == _told(_function("GetProcessTriple"))[1].partition("-")[0]:
        initialize()
    else:
        initialize_others()
    target, message = _told(lambda m: _function("GetTargetFromTriple")(triple.encode(), m))
    if not target:
        raise RuntimeError(message)
    names = (triple.encode(), cpu.encode(), features.encode())
    made: int | None
    made = _function("CreateTargetMachine")(target, *names, level, b"pic", b"small", 0, 0, b"")
    if not made:
        raise RuntimeError(f"LLVM makes no code for {cpu}")
    return made


# --- modules --------------------------------------------------------------------------------------


def compiled(ir: str, machine: int, *, readable: bool = False, verify: bool = False) -> bytes:
    """The object code of a module, or its assembly; several threads may do this at the same time.

    Parameters
    ----------
    ir : str
        LLVM IR.
    machine : int
        What `target_machine` gave.
    readable : bool
        Whether to give assembly.
    verify : bool
        Whether to check the module before; the code generator takes it as it is.

    Raises
    ------
    RuntimeError
        If LLVM refuses the text.
    """
    context = _function("ContextCreate")()
    try:
        module, message = _told(lambda m: _function("ParseAssembly")(context, ir.encode(), m))
        if not module:
            raise RuntimeError(f"LLVM IR parsing error\n{message}")
        try:
            if verify:
                wrong, message = _told(lambda m: _function("VerifyModule")(module, m))
                if wrong:
                    raise RuntimeError(message)
            return _emitted(module, machine, readable)
        finally:
            _function("DisposeModule")(module)
    finally:
        _function("ContextDispose")(context)


def _emitted(module: int, machine: int, readable: bool) -> bytes:
    emit = _function("TargetMachineEmitToMemory")
    buffer, message = _told(lambda m: emit(machine, module, not readable, m))
    if not buffer:
        raise RuntimeError(message or "the code generator fails")
    try:
        start = _function("GetBufferStart")(buffer)
        return ctypes.string_at(start, _function("GetBufferSize")(buffer))
    finally:
        _function("DisposeMemoryBuffer")(buffer)
