"""The memory that the compiler's library takes: only what it uses, as long as it does.

Knows how Linux maps libraries; knows no kernels. Whoever touches a page of a file gets the pages
around it as well, of which LLVM uses a third; and much of that once. The system drops such pages
without writing, and gives them again, within microseconds, to whoever comes to them.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import struct
import sys
from contextlib import suppress
from typing import Any, final

from ..codegen.targets import library

if sys.platform == "linux":
    import fcntl

__all__ = ["release", "take_single_pages"]

_LOADED, _WRITABLE = 1, 2
_PAGE = mmap.PAGESIZE

_CALLS = {"x86_64": 323, "aarch64": 282}
"""The number of the system call ``userfaultfd``."""
_USER_MODE_ONLY = 1
_BEGIN, _REGISTER = 0xC018AA3F, 0xC020AA00
_VERSION, _ASYNCHRONOUS, _WRITES = 0xAA, 1 << 15, 2


@final
class _Segment(ctypes.Structure):
    """``Elf64_Phdr``: a part of a library as it is in memory."""

    _fields_ = (
        ("kind", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("offset", ctypes.c_uint64),
        ("address", ctypes.c_uint64),
        ("physical", ctypes.c_uint64),
        ("in_file", ctypes.c_uint64),
        ("in_memory", ctypes.c_uint64),
        ("alignment", ctypes.c_uint64),
    )


@final
class _Library(ctypes.Structure):
    """``dl_phdr_info``: a library of this process."""

    _fields_ = (
        ("base", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
        ("segments", ctypes.POINTER(_Segment)),
        ("count", ctypes.c_uint16),
    )


def _constant_parts(name: bytes) -> list[tuple[int, int]]:
    """Where a library is in memory as it is in its file, as addresses and numbers of bytes."""
    parts: list[tuple[int, int]] = []

    def look(pointer: Any, size: int, unused: object) -> int:
        found = pointer.contents
        if found.name != name:
            return 0
        for segment in found.segments[: found.count]:
            if segment.kind == _LOADED and not segment.flags & _WRITABLE:
                start = found.base + segment.address
                parts.append((start & -_PAGE, segment.in_file + start % _PAGE))
        return 1

    callback = ctypes.CFUNCTYPE(
        ctypes.c_int, ctypes.POINTER(_Library), ctypes.c_size_t, ctypes.c_void_p
    )
    ctypes.CDLL(None).dl_iterate_phdr(callback(look), None)
    return parts


@functools.cache
def _parts() -> list[tuple[int, int]]:
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or not hasattr(mmap, "MADV_DONTNEED"):
        return []
    return [part for file in library.files() for part in _constant_parts(str(file).encode())]


def take_single_pages() -> bool:
    """From now on, let LLVM's library have the pages that it touches, and none around them.

    So does the system where it has been asked to note which pages are written, which nobody does
    here. Whether it does is said: Linux can since 6.7, and may forbid it.

    Examples
    --------
    >>> take_single_pages() in (True, False)
    True
    """
    number = _CALLS.get(platform.machine())
    if number is None or not _parts():
        return False
    # It is closed with the process.
    file: int = ctypes.CDLL(None).syscall(number, os.O_CLOEXEC | _USER_MODE_ONLY)
    if file < 0:
        return False
    try:
        fcntl.ioctl(file, _BEGIN, bytearray(struct.pack("=3Q", _VERSION, _ASYNCHRONOUS, 0)))
        for start, nbytes in _parts():
            size = -(-nbytes // _PAGE) * _PAGE
            fcntl.ioctl(file, _REGISTER, bytearray(struct.pack("=4Q", start, size, _WRITES, 0)))
    except OSError:
        with suppress(OSError):
            os.close(file)
        return False
    return True


def release() -> None:
    """Give back what LLVM's library has in memory, once it is loaded.

    Threads that are in the middle of it go on.

    Examples
    --------
    >>> release()
    """
    for start, nbytes in _parts():
        _advise()(start, nbytes, mmap.MADV_DONTNEED)


@functools.cache
def _advise() -> Any:
    function = ctypes.CDLL(None).madvise
    function.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return function
