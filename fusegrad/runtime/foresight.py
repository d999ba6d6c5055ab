"""Memory that a step is going to need, given by the system while the step is compiled.

Knows how much is expected; knows no plan. The first touch of a page takes the system longer than
the work that a kernel does on it: a thread has it done meanwhile, as compiling is Python's business
and leaves processors idle. What is expected is less than what is needed nearly always, so little is
touched for nothing.
"""

from __future__ import annotations

import ctypes
import mmap
import threading
from typing import Any, final

from .. import config
from . import memory

__all__ = ["Foresight"]

_LEAST = 16 << 20
_PIECE = 2 << 20
_POPULATE_WRITE = 23
"""The advice of Linux 5.14 and later: pages as if they had been written."""


@final
class Foresight:
    """While it is open, memory may be got ready; what was not taken until then is given back.

    Examples
    --------
    >>> with Foresight() as foresight:
    ...     foresight.expect(0)
    """

    def __enter__(self) -> Foresight:
        return self

    def __exit__(self, *error: object) -> None:
        memory.drop_spares()

    def expect(self, nbytes: int) -> None:
        """A block of about so many bytes is going to be asked for."""
        if nbytes < _LEAST or not hasattr(mmap, "MADV_HUGEPAGE") or config.available_cpus() < 2:
            return
        try:
            spare = memory.add_spare(2 * nbytes)
        except OSError:
            return
        sure = nbytes - 3 * nbytes // 8
        threading.Thread(
            target=_touch, args=(spare, sure), name="fusegrad.foresight", daemon=True
        ).start()


def _touch(spare: memory.Spare, nbytes: int) -> None:
    # The mapping lives as long as this refers to it.
    advise: Any = ctypes.CDLL(None).madvise
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    # In pieces: whoever else maps memory waits for one of them at most.
    for offset in range(0, nbytes, _PIECE):
        if not memory.is_wanted(spare):
            return
        if advise(spare.address + offset, _PIECE, _POPULATE_WRITE):
            return
