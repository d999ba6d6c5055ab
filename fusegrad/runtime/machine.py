"""What LLVM says of this machine, remembered on the disk: who finds code there loads no LLVM.

Knows the cache and what the system tells of its processor; knows no kernels.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..codegen.deferred import deferred
from ..codegen.targets import base, library
from . import cache

if TYPE_CHECKING:
    import llvmlite
else:
    llvmlite = deferred("llvmlite")

__all__ = ["Machine", "features", "is_known", "machine", "parts"]

_PROCESSORS = Path("/proc/cpuinfo")
_MOST_READ = 1 << 14
"""Of the list of processors: the first one is in it."""


class Machine(NamedTuple):
    """What code depends on besides its text.

    Attributes
    ----------
    llvm : str
        The versions of LLVM and llvmlite.
    triple, cpu, features : str
        LLVM's names of the machine, the processor and what it can do.
    """

    llvm: str
    triple: str
    cpu: str
    features: str


def _ask() -> Machine:
    versions = library.version(), llvmlite.__version__
    return Machine(repr(versions), *library.host())


def _key() -> cache.Key | None:
    """What LLVM's answer depends on; None where that cannot be told."""
    try:
        with _PROCESSORS.open("rb") as file:
            processor = file.read(_MOST_READ).split(b"\n\n")[0]
        files = [
            (file.name, s.st_size, s.st_mtime_ns) for file in library.files() if (s := file.stat())
        ]
    except OSError:
        return None
    # Speeds and counters change from one reading to the next.
    names = (b"vendor_id", b"cpu family", b"model", b"stepping", b"flags", b"Features", b"CPU")
    lines = [line for line in processor.splitlines() if line.startswith(names)]
    if not lines or not files:
        return None
    return cache.Key(
        [
            ("kind", b"machine"),
            ("system", sys.platform.encode()),
            ("processor", b"\n".join(lines)),
            ("llvmlite", repr((llvmlite.__version__, files)).encode()),
        ]
    )


@functools.cache
def _remembered() -> Machine | None:
    disk, key = cache.default(), _key()
    found = disk.get(key) if disk is not None and key is not None else None
    return None if found is None else Machine(**found.header)


def is_known() -> bool:
    """Whether the disk knows the machine: then it may have code for it too."""
    return _remembered() is not None


@functools.cache
def machine() -> Machine:
    """The machine that this process runs on."""
    known = _remembered()
    if known is not None:
        return known
    made = _ask()
    disk, key = cache.default(), _key()
    if disk is not None and key is not None:
        header: dict[str, Any] = made._asdict()
        disk.put(key, header, {})
    return made


def parts() -> list[tuple[str, bytes]]:
    """What object code depends on besides its text, as parts of a cache key.

    Returns
    -------
    list of (str, bytes)
        The LLVM version, and the machine's triple, processor and features.
    """
    return [(name, value.encode()) for name, value in machine()._asdict().items()]


@functools.cache
def features() -> base.Features:
    """The machine as schedules and emitters see it."""
    return base.described(*machine()[1:])
