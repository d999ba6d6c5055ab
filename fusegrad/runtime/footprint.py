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
from pathlib import Path
from typing import Any

from ..codegen.targets import library

if sys.platform == "linux":
    import fcntl

__all__ = ["release", "take_single_pages"]

_MAPS = Path("/proc/self/maps")
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_LOADED, _WRITABLE = 1, 2
_PAGE = mmap.PAGESIZE

_CALLS = {"x86_64": 323, "aarch64": 282}
"""The number of the system call ``userfaultfd``."""
_USER_MODE_ONLY = 1
_BEGIN, _REGISTER = 0xC018AA3F, 0xC020AA00
_VERSION, _ASYNCHRONOUS, _WRITES = 0xAA, 1 << 15, 2


def _constant_parts(file: Path) -> list[tuple[int, int]]:
    """Where a library is in memory as it is in its file, as addresses and numbers of bytes.

    By its own headers, and by where the system says that it begins: the loader is not asked, whose
    lock may be held by somebody who waits for the interpreter's.
    """
    begins = [
        int(line.split("-", 1)[0], 16)
        for line in _MAPS.read_text().splitlines()
        if line.endswith(f" {file.resolve()}") and int(line.split()[2], 16) == 0
    ]
    segments = [found for found in _segments(file) if found[0] == _LOADED]
    if not begins or not segments:
        return []
    base = begins[0] - (segments[0][3] & -_PAGE)
    return [
        ((base + address) & -_PAGE, in_file + address % _PAGE)
        for _, flags, _, address, _, in_file, _, _ in segments
        if not flags & _WRITABLE
    ]


def _segments(file: Path) -> list[tuple[int, ...]]:
    """The parts of a library as ``Elf64_Phdr`` has them: kind, flags, offset, address and so on."""
    with file.open("rb") as opened:
        header = opened.read(_HEADER.size)
        if len(header) < _HEADER.size or header[:6] != b"\x7fELF\x02\x01":
            return []
        *_, first, _, _, _, size, count, _, _, _ = _HEADER.unpack(header)
        opened.seek(first)
        return [_SEGMENT.unpack(opened.read(size)[: _SEGMENT.size]) for _ in range(count)]


@functools.cache
def _parts() -> list[tuple[int, int]]:
    if sys.platform != "linux" or sys.maxsize < 1 << 32 or not hasattr(mmap, "MADV_DONTNEED"):
        return []
    return [part for file in library.files() for part in _constant_parts(file)]


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
