"""Unique names for the variables and buffers of a printed kernel.

Knows strings and scopes; knows no expressions and no statements.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import final

__all__ = ["Names"]


@final
class Names:
    """Hands out names that differ from all others in scope, in linear time.

    Parameters
    ----------
    reserved : iterable of str
        Names that are never given.

    Examples
    --------
    >>> names = Names()
    >>> names.new("t"), names.new("t"), names.new("t")
    ('t', 't1', 't2')
    >>> names.enter()
    >>> names.new("t"), names.new("c")
    ('t3', 'c')
    >>> names.leave()
    >>> names.new("t"), names.new("c")
    ('t3', 'c')
    """

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken: set[str] = set(reserved)
        self._counts: dict[str, int] = {}
        self._log: list[tuple[str, str, int]] = []
        self._scopes: list[int] = []

    def new(self, wanted: str) -> str:
        """`wanted`, or `wanted` with the least number that makes it unique."""
        base = re.sub(r"\W", "_", wanted) or "t"
        if base[0].isdigit():
            base = f"_{base}"
        count = first = self._counts.get(base, 0)
        joint = "_" if base[-1].isdigit() else ""
        name = f"{base}{joint}{count}" if count else base
        while name in self._taken:
            count += 1
            name = f"{base}{joint}{count}"
        self._counts[base] = count + 1
        self._taken.add(name)
        self._log.append((name, base, first))
        return name

    def enter(self) -> None:
        """Begin a scope."""
        self._scopes.append(len(self._log))

    def leave(self) -> None:
        """End the scope begun last; its names are free again."""
        start = self._scopes.pop()
        while len(self._log) > start:
            name, base, count = self._log.pop()
            self._taken.discard(name)
            self._counts[base] = count
