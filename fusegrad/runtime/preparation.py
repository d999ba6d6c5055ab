"""What the first compilation of a process needs, made ready by a thread: LLVM, and the executor.

Knows in what order it is needed; knows no graphs. LLVM's library takes some 15 ms to open, which
need not hold up Python: the user's function is traced meanwhile, and the compiler's modules loaded.

A process that finds its steps on the disk needs none of this, so nothing begins before something is
known to be missing there.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
from contextlib import suppress

from ..codegen.targets import library
from . import executor, footprint, machine
from .locks import recursive_lock

__all__ = ["begin", "begin_where_nothing_is_known", "wait"]

_lock = recursive_lock()
_thread: threading.Thread | None = None


def begin() -> None:
    """Begin, if nobody has."""
    global _thread
    with _lock:
        if _thread is None:
            _thread = threading.Thread(target=_run, name="fusegrad.preparation", daemon=True)
            _thread.start()


def begin_where_nothing_is_known() -> None:
    """Begin if no process has compiled anything here, so that this one will have to."""
    if _thread is None and not machine.is_known():
        begin()


def wait() -> None:
    """Until all is ready."""
    begin()
    _join()


def _join() -> None:
    thread = _thread
    if thread is not None and thread is not threading.current_thread():
        thread.join()


def _run() -> None:
    # Whoever needs it next raises what is wrong.
    with suppress(Exception):
        _open_library()
        # What opening it took was nearly all for that alone.
        footprint.take_single_pages()
        footprint.release()
        machine.machine()
        library.initialize()
        executor.entry()


def _open_library() -> None:
    """Open LLVM's library without the interpreter's lock, which an import holds all the time."""
    functions = ctypes.CDLL(None)
    functions.dlopen.restype = ctypes.c_void_p
    for path in library.files():
        functions.dlopen(os.fsencode(path), ctypes.c_int(os.RTLD_NOW | os.RTLD_LOCAL))


def _forget() -> None:
    """A forked child has what was ready before the fork, and no thread."""
    global _thread
    _thread = None


# In the middle of it neither a process ends well nor does a copy of it begin.
atexit.register(_join)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_join, after_in_child=_forget)
