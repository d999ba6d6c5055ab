"""What a compiled function reads from its surroundings, and whether that is still so.

Knows functions and watched places; knows no tensors and no graphs.

A call checks, for every global and closure variable that the function and the functions it calls
name, and for what they read of the objects, classes, modules and containers there, that it is the
same object, and for numbers and strings the same value. Modules and optimizers count their changes
in `state.version`; only when it moved are they compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from typing import Any, final

from ..state import Field, difference, version
from .surroundings import Surroundings
from .watches import Elements

__all__ = ["Guards"]


@final
class Guards:
    """The surroundings of a function at the time of a trace.

    Parameters
    ----------
    function : callable
        The user's function, or a bound method.

    Attributes
    ----------
    watches : list of Watch
        Places, and what they held.
    objects : list of (str, Fingerprinted)
        Modules and optimizers.
    version : int
        Of the state in which they were last compared.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.version = version()
        found = Surroundings(function)
        self.watches = found.watches
        self.objects = found.objects
        self._arrays = found.arrays
        self._updated = found.updated
        self.fingerprints = [o.__fusegrad_fingerprint__() for _, o in self.objects]

    def traced(self, known: Collection[int]) -> None:
        """Watch the arrays that the trace has not met: what NumPy read of them is a constant.

        Parameters
        ----------
        known : collection of int
            The numbers (`id`) of those that it has.
        """
        self.watches += [Elements(label, a) for label, a in self._arrays if id(a) not in known]
        self._arrays = []

    def __bool__(self) -> bool:
        """Whether there is anything to check."""
        return bool(self.watches or self.objects)

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for watch in self.watches:
            if not watch.holds():
                return False
        return self.version == version() or self._same_objects()

    def _same_objects(self) -> bool:
        now = version()
        for (_, value), known in zip(self.objects, self.fingerprints, strict=True):
            if not self._alike(known, value.__fusegrad_fingerprint__()):
                return False
        self.version = now
        return True

    def _alike(self, known: tuple[Hashable, ...], now: tuple[Hashable, ...]) -> bool:
        """Whether two fingerprints differ at most in what the function itself only updates."""
        return known == now or (bool(self._updated) and self._read(known) == self._read(now))

    def _read(self, parts: tuple[Hashable, ...]) -> tuple[Hashable, ...]:
        return tuple(
            part
            for part in parts
            if not (isinstance(part, Field) and part.name.rpartition(".")[2] in self._updated)
        )

    def difference(self) -> str | None:
        """What changed, in words; None when nothing did."""
        for watch in self.watches:
            told = watch.difference()
            if told is not None:
                return told
        for (label, value), known in zip(self.objects, self.fingerprints, strict=True):
            now = value.__fusegrad_fingerprint__()
            if not self._alike(known, now):
                return _object_difference(label, value, self._read(known), self._read(now))
        return None


def _object_difference(
    label: str, value: object, known: tuple[Hashable, ...], now: tuple[Hashable, ...]
) -> str:
    """The first part of a fingerprint that differs."""
    return f"`{label}` ({type(value).__name__}) changed: {difference(known, now)}"
