"""Places that a compiled function reads, and whether each still holds what it held.

Knows dicts, cells, containers and attributes; does not know how they were found.
"""

from __future__ import annotations

import enum
import types
from collections import deque
from collections.abc import Collection, Hashable
from typing import Any, Final, Protocol, final

import numpy.typing as npt

from ..state import fingerprint

__all__ = [
    "LONGEST",
    "MISSING",
    "PLAIN",
    "Attribute",
    "Cell",
    "Contents",
    "Elements",
    "Entry",
    "Items",
    "Others",
    "Pairs",
    "Single",
    "Watch",
    "Whole",
    "cell_value",
    "is_constant",
]

PLAIN = (bool, int, float, complex, str, bytes, type(None))
"""The types whose values are compared, not their identities."""

LONGEST = 1024
"""Containers with more items are known by their identity alone."""


@final
class _Missing:
    def __repr__(self) -> str:
        return "not there"


MISSING: Final = _Missing()
"""Stands for a value where there is none."""


def is_constant(value: object) -> bool:
    """Whether nothing in `value` can change: identity is enough."""
    if type(value) is tuple:
        return all(map(is_constant, value))
    return type(value) in (*PLAIN, slice, range, types.EllipsisType) or isinstance(value, enum.Enum)


def same(before: object, now: object) -> bool:
    """Whether one value does for the other: the same object, or an equal constant."""
    if before is now:
        return True
    if type(before) is not type(now) or not (is_constant(before) and is_constant(now)):
        return False
    return fingerprint(before) == fingerprint(now)


def _told(label: str, before: object, now: object) -> str:
    if isinstance(before, PLAIN) and isinstance(now, PLAIN):
        return f"`{label}` was {before!r} and is {now!r}"
    if now is MISSING or before is MISSING:
        return f"`{label}` is {'gone' if now is MISSING else 'new'}"
    return f"`{label}` is another object"


class Watch(Protocol):
    """One place, and what it was."""

    label: str

    def difference(self) -> str | None:
        """What changed there, in words; None when nothing did."""

    def holds(self) -> bool:
        """Whether it is as it was."""


class Single:
    """A place with one value."""

    __slots__ = ("label", "value")

    def __init__(self, label: str, value: Any) -> None:
        self.label = label
        self.value = value

    @property
    def place(self) -> tuple[Hashable, ...]:
        """Where it is, for comparison with others."""
        raise NotImplementedError

    def now(self) -> Any:
        """What is there."""
        raise NotImplementedError

    def put(self, value: Any) -> None:
        """Let it be there; `MISSING` for nothing."""
        raise NotImplementedError

    def holds(self) -> bool:
        now = self.now()
        return now is self.value or same(self.value, now)

    def difference(self) -> str | None:
        now = self.now()
        return None if same(self.value, now) else _told(self.label, self.value, now)


@final
class Entry(Single):
    """A name in a scope or in the fields of an object; the value may be `MISSING`."""

    __slots__ = ("key", "scope")

    def __init__(self, label: str, scope: dict[str, Any], key: str) -> None:
        super().__init__(label, scope.get(key, MISSING))
        self.scope = scope
        self.key = key

    @property
    def place(self) -> tuple[Hashable, ...]:
        return id(self.scope), self.key

    def now(self) -> Any:
        return self.scope.get(self.key, MISSING)

    def put(self, value: Any) -> None:
        if value is MISSING:
            self.scope.pop(self.key, None)
        else:
            self.scope[self.key] = value


@final
class Cell(Single):
    """A variable of an enclosing function."""

    __slots__ = ("cell",)

    def __init__(self, label: str, cell: types.CellType) -> None:
        super().__init__(label, cell_value(cell))
        self.cell = cell

    @property
    def place(self) -> tuple[Hashable, ...]:
        return (id(self.cell),)

    def now(self) -> Any:
        return cell_value(self.cell)

    def put(self, value: Any) -> None:
        if value is MISSING:
            del self.cell.cell_contents
        else:
            self.cell.cell_contents = value


@final
class Attribute(Single):
    """An attribute that is found without running code of the user: of a class, or in a slot."""

    __slots__ = ("name", "owner")

    def __init__(self, label: str, owner: object, name: str) -> None:
        super().__init__(label, getattr(owner, name, MISSING))
        self.owner = owner
        self.name = name

    @property
    def place(self) -> tuple[Hashable, ...]:
        return id(self.owner), self.name

    def now(self) -> Any:
        return getattr(self.owner, self.name, MISSING)

    def put(self, value: Any) -> None:
        if value is MISSING:
            delattr(self.owner, self.name)
        else:
            setattr(self.owner, self.name, value)


@final
class Whole(Single):
    """All that a list or deque holds."""

    __slots__ = ("items",)

    def __init__(self, label: str, items: list[Any] | deque[Any]) -> None:
        super().__init__(label, list(items))
        self.items = items

    @property
    def place(self) -> tuple[Hashable, ...]:
        return (id(self.items),)

    def now(self) -> Any:
        return list(self.items)

    def put(self, value: Any) -> None:
        items = list(value)
        self.items.clear()
        self.items.extend(items)


@final
class Items:
    """What a list or deque holds, in its order."""

    __slots__ = ("items", "label", "value")

    def __init__(self, label: str, value: list[Any] | deque[Any]) -> None:
        self.label = label
        self.value = value
        self.items = tuple(value)

    def holds(self) -> bool:
        now = self.value
        return len(now) == len(self.items) and all(map(same, self.items, now))

    def difference(self) -> str | None:
        if len(self.value) != len(self.items):
            return f"`{self.label}` had {len(self.items)} items and has {len(self.value)}"
        for number, (before, now) in enumerate(zip(self.items, self.value, strict=True)):
            if not same(before, now):
                return _told(f"{self.label}[{number}]", before, now)
        return None


@final
class Pairs:
    """What a dict holds, in its order."""

    __slots__ = ("label", "pairs", "value")

    def __init__(self, label: str, value: dict[Any, Any]) -> None:
        self.label = label
        self.value = value
        self.pairs = tuple(value.items())

    def holds(self) -> bool:
        now = self.value
        return len(now) == len(self.pairs) and all(
            (key is k or key == k) and same(value, v)
            for (key, value), (k, v) in zip(self.pairs, now.items(), strict=True)
        )

    def difference(self) -> str | None:
        if self.holds():
            return None
        before = dict(self.pairs)
        for key, now in self.value.items():
            label = f"{self.label}[{key!r}]"
            if key not in before:
                return f"`{label}` is new"
            if not same(before[key], now):
                return _told(label, before[key], now)
        for key in before:
            if key not in self.value:
                return f"`{self.label}[{key!r}]` is gone"
        return f"`{self.label}` has another order"


@final
class Others:
    """What a dict holds beside some of its keys."""

    __slots__ = ("before", "label", "left_out", "value")

    def __init__(self, label: str, value: dict[Any, Any], left_out: Collection[Any]) -> None:
        self.label = label
        self.value = value
        self.left_out = frozenset(left_out)
        self.before = self._now()

    def _now(self) -> dict[Any, Any]:
        return {key: value for key, value in self.value.items() if key not in self.left_out}

    def holds(self) -> bool:
        now = self._now()
        return list(now) == list(self.before) and all(map(same, self.before.values(), now.values()))

    def difference(self) -> str | None:
        return None if self.holds() else f"the contents of `{self.label}` changed"


@final
class Elements:
    """What a NumPy array holds."""

    __slots__ = ("elements", "label", "shape", "value")

    def __init__(self, label: str, value: npt.NDArray[Any]) -> None:
        self.label = label
        self.value = value
        self.shape = value.shape
        self.elements = value.tobytes()

    def holds(self) -> bool:
        return self.value.shape == self.shape and self.value.tobytes() == self.elements

    def difference(self) -> str | None:
        return None if self.holds() else f"the elements of `{self.label}` changed"


@final
class Contents:
    """What another container holds, such as a set."""

    __slots__ = ("contents", "label", "value")

    def __init__(self, label: str, value: Any) -> None:
        self.label = label
        self.value = value
        self.contents = self._now()

    def _now(self) -> Hashable:
        if isinstance(self.value, (set, dict)):
            plain = set(self.value) if isinstance(self.value, set) else list(self.value.items())
            return fingerprint(plain)
        return fingerprint(list(self.value))

    def holds(self) -> bool:
        return self._now() == self.contents

    def difference(self) -> str | None:
        return None if self.holds() else f"the contents of `{self.label}` changed"


def cell_value(cell: types.CellType) -> Any:
    """What a cell holds, `MISSING` while it is empty."""
    try:
        return cell.cell_contents
    except ValueError:
        return MISSING
