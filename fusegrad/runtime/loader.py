"""From object code to callable addresses, and from LLVM IR text to object code.

Knows nothing of kernels, programs or caches: it sees bytes, names and addresses. Objects are linked
by `linker` where it can; otherwise by LLVM.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

from ..codegen.deferred import deferred
from ..codegen.targets import base
from ..codegen.targets.library import initialize
from ..errors import CompileError
from . import linker

if TYPE_CHECKING:
    import llvmlite.binding as llvm

    from ..codegen.targets import llvm_machine
else:
    llvm = deferred("llvmlite.binding")
    llvm_machine = deferred("fusegrad.codegen.targets.llvm_machine")

__all__ = ["Library", "c_symbols", "compile_module", "load"]

# What the code generator may call without being asked to: copies and fills of memory, and
# functions of floating-point numbers on machines that have no instruction for them.
_C_LIBRARY = (
    *("memcmp", "memcpy", "memmove", "memset"),
    *(
        name + suffix
        for name in ("floor", "ceil", "trunc", "rint", "nearbyint", "round", "fma", "fmod", "sqrt")
        for suffix in ("", "f")
    ),
)
_C_LIBRARY_NAME = "fusegrad.c"

# Whoever forks holds it meanwhile, and gives it back on both sides.
_compiling = threading.RLock()
_library_numbers = itertools.count()
_paused: list[Any] = []


def _pause() -> None:
    """Let a call of LLVM by another thread end: a forked child would find it half done."""
    # llvmlite's package has a lock of its own, where somebody has imported it.
    bindings = getattr(sys.modules.get("llvmlite.binding.ffi"), "lib", None)
    for lock in (_compiling, *([] if bindings is None else [bindings._lock])):
        lock.__enter__()
        _paused.append(lock)


def _end_pause() -> None:
    while _paused:
        _paused.pop().__exit__(None, None, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_pause, after_in_parent=_end_pause, after_in_child=_end_pause)


def compile_module(ir_text: str, *, level: int = 2) -> bytes:
    """Compile LLVM IR text for this machine, without IR passes.

    Parameters
    ----------
    ir_text : str
        A module.
    level : int, optional
        The level of the code generator, 0 to 3.

    Returns
    -------
    bytes
        Object code for `load`.

    Raises
    ------
    CompileError
        If LLVM refuses the text.

    Examples
    --------
    >>> code = compile_module("define i64 @seven() { ret i64 7 }")
    >>> load(code, ["seven"], {}).address("seven") != 0
    True
    """
    with _compiling:
        try:
            return llvm_machine.compile_module(ir_text, base.host(), level, verify=True)
        except RuntimeError as error:
            raise CompileError(f"LLVM refuses the module: {error}") from error


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL("ucrtbase" if os.name == "nt" else None)


def c_symbols(names: Sequence[str]) -> dict[str, int]:
    """The addresses of functions of the C library, without those that it lacks.

    Parameters
    ----------
    names : Sequence of str
        Names of functions.

    Returns
    -------
    dict
        From name to address.
    """
    found = ((name, _c_address(name)) for name in names)
    return {name: address for name, address in found if address is not None}


@functools.cache
def _c_address(name: str) -> int | None:
    function = getattr(_c_library(), name, None)
    return None if function is None else ctypes.cast(function, ctypes.c_void_p).value or 0


@functools.cache
def _engine() -> tuple[Any, Any]:
    """The one JIT of the process, and its library of C symbols; both live for ever."""
    initialize()
    found = llvm.Target.from_triple(llvm.get_process_triple())
    machine = found.create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=2,
        reloc="pic",
        codemodel="small",
    )
    # JITLink gives an object one block of memory. The older linker maps every section alone, and
    # aborts the process when two of them come to lie more than 2 GiB apart.
    engine = llvm.create_lljit_compiler(machine, use_jit_link=True)
    builder = llvm.JITLibraryBuilder()
    for name, address in c_symbols(_C_LIBRARY).items():
        builder.import_symbol(name, address)
    return engine, builder.link(engine, _C_LIBRARY_NAME)


@final
class Library:
    """Loaded object code. It is unloaded when the last reference to it goes.

    Whoever calls an address keeps the library alive until the call has returned.

    Attributes
    ----------
    names : tuple of str
        The symbols whose addresses are known.
    """

    __slots__ = ("__weakref__", "_addresses", "_tracker")

    def __init__(self, tracker: Any, addresses: Mapping[str, int]) -> None:
        self._tracker = tracker
        self._addresses = dict(addresses)

    @property
    def names(self) -> tuple[str, ...]:
        """The symbols whose addresses are known."""
        return tuple(self._addresses)

    def address(self, name: str) -> int:
        """The address of a symbol.

        Parameters
        ----------
        name : str
            One of the names that were given to `load`.

        Returns
        -------
        int
            Never 0.
        """
        return self._addresses[name]


def load(
    object_code: bytes | Sequence[bytes], names: Sequence[str], symbols: Mapping[str, int]
) -> Library:
    """Load object code into this process.

    Parameters
    ----------
    object_code : bytes or sequence of bytes
        What `compile_module` or a target's compiler made; several objects are linked together.
    names : Sequence of str
        The symbols whose addresses are wanted.
    symbols : Mapping
        The addresses of the symbols that the code imports. The few functions of the C library
        that a code generator calls on its own are known anyway; nothing else is.

    Returns
    -------
    Library
        Keeps the code loaded.

    Raises
    ------
    CompileError
        If the bytes are no object code, or a symbol is missing.

    Examples
    --------
    >>> code = compile_module("define i64 @next(i64 %x) { %y = add i64 %x, 1  ret i64 %y }")
    >>> library = load(code, ["next"], {})
    >>> ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64)(library.address("next"))(41)
    42
    """
    objects = (object_code,) if isinstance(object_code, bytes) else tuple(object_code)
    try:
        return _linked(objects, names, symbols) or _linked_by_llvm(objects, names, symbols)
    except RuntimeError as error:
        raise CompileError(f"object code cannot be loaded: {error}") from error


def _linked(
    objects: Sequence[bytes], names: Sequence[str], symbols: Mapping[str, int]
) -> Library | None:
    """The code as `linker` loads it, None where it cannot."""
    if not linker.is_possible():
        return None

    def find(name: str) -> int:
        known = symbols.get(name) or (_c_address(name) if name in _C_LIBRARY else None)
        if known is None:
            raise RuntimeError(f"nothing is named {name}")
        return known

    library = Library(None, {})
    try:
        library._addresses.update(linker.link(objects, names, find, library))
    except linker.UnknownCode:
        return None
    except KeyError as error:
        raise RuntimeError(f"nothing is named {error.args[0]}") from None
    return library


def _linked_by_llvm(
    objects: Sequence[bytes], names: Sequence[str], symbols: Mapping[str, int]
) -> Library:
    with _compiling:
        engine, _ = _engine()
    builder = llvm.JITLibraryBuilder()
    for code in objects:
        builder.add_object_img(code)
    builder.add_jit_library(_C_LIBRARY_NAME)
    for name, address in symbols.items():
        builder.import_symbol(name, address)
    for name in names:
        builder.export_symbol(name)
    tracker = builder.link(engine, f"fusegrad.{next(_library_numbers)}")
    return Library(tracker, {name: tracker[name] for name in names})
