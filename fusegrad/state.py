"""What Python objects look like that a compiled function depends on, and when they last changed.

Knows no tensors, modules or optimizers: they define ``__fusegrad_fingerprint__``.

A compiled function that reads ``self.training`` must be traced again when it changes. Comparing
all that it may depend on at every call would cost more than the call, so each change of such an
object counts one process-wide `version` up; only when the number moved, `fingerprint` is compared.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Hashable, Iterable
from typing import Any, Protocol, final, runtime_checkable

__all__ = [
    "Field",
    "Fingerprinted",
    "Identity",
    "bump",
    "difference",
    "fingerprint",
    "version",
]

_numbers = itertools.count(1)
_version = 0


def version() -> int:
    """A number that is another one after every change that `bump` was told of.

    Read it before the objects that it stands for, so that a change in between is not lost.

    Examples
    --------
    >>> before = version()
    >>> bump()
    >>> version() == before
    False
    """
    return _version


def bump() -> None:
    """Say that an object changed, after it did.

    Each call sets a number that was never there before; with threads the numbers may come out of
    order, but none comes twice.
    """
    global _version
    _version = next(_numbers)


@runtime_checkable
class Fingerprinted(Protocol):
    """An object whose structure compiled functions depend on, such as a module."""

    def __fusegrad_fingerprint__(self) -> tuple[Hashable, ...]:
        """All that the recorded graph depends on except the values of tensors.

        Whatever it is made from calls `bump` when it changes.
        """

    def __fusegrad_parts__(self) -> Iterable[tuple[str, object]]:
        """Names and values of what it refers to whose own changes nobody counts."""


@final
class Identity:
    """Stands for an object in a fingerprint: equal only to itself, and kept alive.

    Examples
    --------
    >>> one = [1]
    >>> Identity(one) == Identity(one), Identity(one) == Identity([1])
    (True, False)
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Identity) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)

    def __repr__(self) -> str:
        return f"{type(self.value).__name__} at {id(self.value):#x}"


@final
class Field:
    """A part of a fingerprint that has a name, so that a change of it can be told.

    Parameters
    ----------
    name : str
        What the user would write to reach it.
    value : Hashable
        What is compared.
    text : str
        What is shown of it.

    Examples
    --------
    >>> Field("training", True, "True")
    training = True
    >>> Field.of("rate", 0.5)
    rate = 0.5
    """

    __slots__ = ("name", "text", "value")

    def __init__(self, name: str, value: Hashable, text: str) -> None:
        self.name = name
        self.value = value
        self.text = text

    @staticmethod
    def of(name: str, value: object) -> Field:
        """The field for an attribute, compared as `fingerprint` says."""
        # Other objects may be large, or tensors whose values nobody should look at.
        plain = isinstance(value, (*_PLAIN, float, complex))
        text = f"{value!r:.40}" if plain else f"a {type(value).__name__}"
        return Field(name, fingerprint(value), text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Field) and (self.name, self.value) == (other.name, other.value)

    def __hash__(self) -> int:
        return hash((self.name, self.value))

    def __repr__(self) -> str:
        return f"{self.name} = {self.text}"


def difference(known: tuple[Hashable, ...], now: tuple[Hashable, ...]) -> str | None:
    """Say in words where two fingerprints of one object differ first.

    Returns
    -------
    str or None
        None if they are equal.

    Examples
    --------
    >>> difference((Field("training", 1, "True"),), (Field("training", 0, "False"),))
    'training was True and is False'
    """
    if known == now:
        return None
    before = {part.name: part for part in known if isinstance(part, Field)}
    after = {part.name: part for part in now if isinstance(part, Field)}
    for name, part in after.items():
        if name not in before:
            return f"{name} is new"
        if part != before[name]:
            old = before[name].text
            return f"{name} changed" if old == part.text else f"{name} was {old} and is {part.text}"
    for name in before:
        if name not in after:
            return f"{name} is gone"
    return "it has another structure"


# Compared by value; together with their type, because 1 == 1.0 == True.
_PLAIN = (bool, int, str, bytes, type(None), type, type(...), enum.Enum)
_SEQUENCES = (list, tuple)
_SETS = (set, frozenset)
_MAX_DEPTH = 20


def fingerprint(value: object) -> Hashable:
    """What is compared to find out whether an object changed.

    Plain values count by value and type, lists, tuples, sets and dicts by what they hold, objects
    with ``__fusegrad_fingerprint__`` by what it returns, and all others by identity.

    Examples
    --------
    >>> fingerprint([1, 2.0]) == fingerprint([1, 2.0]), fingerprint(1) == fingerprint(1.0)
    (True, False)
    """
    return _fingerprint(value, 0)


def _fingerprint(value: Any, depth: int) -> Hashable:
    kind = type(value)
    if isinstance(value, _PLAIN):
        return kind, value
    if isinstance(value, float | complex):
        # By its bits, or nearly: -0.0 is not 0.0, and nan is nan.
        return kind, repr(value)
    if isinstance(value, Fingerprinted):
        return value.__fusegrad_fingerprint__()
    if depth < _MAX_DEPTH:
        if isinstance(value, _SEQUENCES):
            return kind, tuple([_fingerprint(item, depth + 1) for item in value])
        if isinstance(value, _SETS):
            return kind, frozenset(_fingerprint(item, depth + 1) for item in value)
        if isinstance(value, dict):
            pairs = itertools.chain.from_iterable(value.items())
            return kind, tuple([_fingerprint(item, depth + 1) for item in pairs])
    return Identity(value)
