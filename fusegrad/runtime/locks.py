"""Locks that a forked child may use whatever the other threads of its parent held."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

__all__ = ["recursive_lock"]

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


def _free_in_child() -> None:
    for lock in list(_made):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_free_in_child)
