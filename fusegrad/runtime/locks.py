"""Locks that a forked child may use whatever the other threads of its parent held.

And the turns of steps that change state, and of traces, which change it for a while.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any, final

__all__ = ["TRACING", "Turn", "recursive_lock"]

_made: weakref.WeakSet[Any] = weakref.WeakSet()


def recursive_lock() -> Any:
    """A lock that its thread may take again, and that nobody holds in a forked child.

    Only the forking thread goes on in the child. What another one held would be held for ever.

    Examples
    --------
    >>> with recursive_lock() as taken:
    ...     taken
    True
    """
    lock = threading.RLock()
    _made.add(lock)
    return lock


@final
class Tracing:
    """The lock of traces: one thread traces at a time, and while it does no step changes state.

    Attributes
    ----------
    owner : int or None
        The thread that is alone.
    running : list of int
        The threads of the steps that are changing state.
    """

    def __init__(self) -> None:
        self.lock = recursive_lock()
        self.owner: int | None = None
        self.running: list[int] = []

    def __enter__(self) -> None:
        me = threading.get_ident()
        # A step that calls the host, which compiles something: whoever traces need not wait for it.
        mine = self.running.count(me)
        for _ in range(mine):
            self.running.remove(me)
        self.lock.acquire()
        self.running += [me] * mine

    def __exit__(self, *error: object) -> None:
        self.lock.release()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """For a trace, by the thread that has the lock: steps that run end first, others wait."""
        before, me = self.owner, threading.get_ident()
        self.owner = me
        try:
            # A step of this thread has called what is traced; it goes on afterwards.
            while any(thread != me for thread in self.running):
                time.sleep(2e-5)
            yield
        finally:
            self.owner = before

    def reset(self) -> None:
        """In a forked child: nobody traces and nothing runs."""
        self.owner = None
        self.running.clear()


TRACING = Tracing()


@final
class Turn:
    """The lock of a function that changes state: of its calls, and against traces.

    Examples
    --------
    >>> with Turn():
    ...     len(TRACING.running)
    1
    """

    def __init__(self) -> None:
        self._lock = recursive_lock()

    def acquire(self) -> None:
        """Wait for other calls of the function, and for a trace by another thread."""
        me = threading.get_ident()
        while True:
            self._lock.acquire()
            # First said, then asked: a trace that begins in between sees that this one runs.
            TRACING.running.append(me)
            if TRACING.owner in (None, me):
                return
            self.release()
            with TRACING:
                pass

    def release(self) -> None:
        """Let others go on."""
        me = threading.get_ident()
        # In a child that was forked inside of a call it is not there.
        if me in TRACING.running:
            TRACING.running.remove(me)
        self._lock.release()

    def __enter__(self) -> None:
        self.acquire()

    def __exit__(self, *error: object) -> None:
        self.release()


def _free_in_child() -> None:
    for lock in list(_made):
        lock._at_fork_reinit()
    TRACING.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
