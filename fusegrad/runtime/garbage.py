"""How the interpreter runs while graphs are traced and compiled: cycles stay, turns are short.

A compilation makes hundreds of thousands of objects that live until its end, or for ever, and no
cycles worth finding: walking over them again and again took up to a third of its time.

Threads that compile with LLVM need the interpreter for some microseconds before and after. Where
each time they wait the 5 ms that a turn lasts, they are not done when the thread that lowers is.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import final

from .locks import recursive_lock

__all__ = ["UNCOLLECTED"]

_TURN_SECONDS = 1e-4


@final
class _Pause:
    """While it is open in any thread, the collector rests, and turns are short.

    It may be opened again inside.
    """

    def __init__(self) -> None:
        self._lock = recursive_lock()
        self._open = 0
        self._before = False
        self._turn = sys.getswitchinterval()

    def __enter__(self) -> None:
        with self._lock:
            if self._open == 0:
                self._before = gc.isenabled()
                gc.disable()
                self._turn = sys.getswitchinterval()
                sys.setswitchinterval(min(self._turn, _TURN_SECONDS))
            self._open += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._open:  # Not so in a child that was forked inside.
                self._open -= 1
                if self._open == 0:
                    self._restore()

    def forget(self) -> None:
        """Of the threads of a forked parent, the child has none that would close it."""
        if self._open:
            self._restore()
        self._open = 0

    def _restore(self) -> None:
        sys.setswitchinterval(self._turn)
        if self._before:
            if gc.get_freeze_count() == 0:
                # What is there now counts as old, in no time: the next collection would walk over
                # all that a compilation has made.
                gc.freeze()
                gc.unfreeze()
            gc.enable()


UNCOLLECTED = _Pause()
"""``with UNCOLLECTED:`` is a block that the collector of cycles does not interrupt."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=UNCOLLECTED.forget)
