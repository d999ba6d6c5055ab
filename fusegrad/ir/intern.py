"""Tables that give one object for each key, and forget objects that nobody holds.

Knows nothing of what the objects are.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast, final

__all__ = ["InternTable"]

T = TypeVar("T")


class _Reference(weakref.ref[Any]):
    __slots__ = ("key",)
    key: Hashable

    if TYPE_CHECKING:

        def __init__(self, value: object, note: Callable[[_Reference], None]) -> None: ...


@final
class InternTable(Generic[T]):
    """A dictionary from keys to objects that it holds weakly; safe under threads.

    Keys must not hold objects alive that the object itself refers to: use ``id`` of a part that
    the object holds. A key of a dead object matches nothing, so a reused id does no harm.

    Examples
    --------
    >>> class Thing: ...
    >>> table = InternTable()
    >>> first = table.add("a", Thing())
    >>> table.get("a") is first, table.add("a", Thing()) is first
    (True, True)
    >>> del first
    >>> table.get("a") is None
    True
    """

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Reference] = {}
        # A callback may run in the middle of anything, so it only notes what died.
        self._dead: deque[_Reference] = deque()
        self._note = self._dead.append
        self._lock = threading.RLock()
        os.register_at_fork(after_in_child=self._after_fork)

    def _after_fork(self) -> None:
        self._lock = threading.RLock()

    def __len__(self) -> int:
        with self._lock:
            self._sweep()
            return len(self._entries)

    def get(self, key: Hashable) -> T | None:
        """The living object of `key`, or None."""
        reference = self._entries.get(key)
        return None if reference is None else reference()

    def add(self, key: Hashable, value: T) -> T:
        """`value`, or the living object that `key` has already."""
        reference = _Reference(value, self._note)
        reference.key = key
        # One step of the interpreter, so no lock: either it enters the reference or finds another.
        found = self._entries.setdefault(key, reference)
        if found is not reference:
            return self._replace(key, value, reference)
        if self._dead:
            with self._lock:
                self._sweep()
        return value

    def _replace(self, key: Hashable, value: T, reference: _Reference) -> T:
        with self._lock:
            self._sweep()
            found = self._entries.setdefault(key, reference)
            known = found()
            if known is None:
                self._entries[key] = reference
            return value if known is None else cast("T", known)

    def _sweep(self) -> None:
        entries, dead = self._entries, self._dead
        while dead:
            reference = dead.popleft()
            if entries.get(reference.key) is reference:
                del entries[reference.key]
