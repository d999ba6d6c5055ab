"""The collector of cycles, stopped while graphs are traced and compiled.

A compilation makes hundreds of thousands of objects that live until its end, or for ever, and no
cycles worth finding: walking over them again and again took up to a third of its time.
"""

from __future__ import annotations

import gc
import os
from typing import final

from .locks import recursive_lock

__all__ = ["UNCOLLECTED"]


@final
class _Pause:
    """While it is open in any thread, the collector rests; it may be opened again inside."""

    def __init__(self) -> None:
        self._lock = recursive_lock()
        self._open = 0
        self._before = False

    def __enter__(self) -> None:
        with self._lock:
            if self._open == 0:
                self._before = gc.isenabled()
                gc.disable()
            self._open += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            if self._open:  # Not so in a child that was forked inside.
                self._open -= 1
                if self._open == 0 and self._before:
                    gc.enable()

    def forget(self) -> None:
        """Of the threads of a forked parent, the child has none that would close it."""
        if self._open and self._before:
            gc.enable()
        self._open = 0


UNCOLLECTED = _Pause()
"""``with UNCOLLECTED:`` is a block that the collector of cycles does not interrupt."""

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=UNCOLLECTED.forget)
