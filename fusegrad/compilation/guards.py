"""What a compiled function reads from its surroundings, and whether that is still so.

Knows functions and watched places, of tensors what they are, and no graphs.

A call checks, for every global and closure variable that the function and the functions it calls
name, and for what they read of the objects, classes, modules and containers there, that it is the
same object, and for numbers and strings the same value. Modules and optimizers count their changes
in `state.version`; only when it moved are they compared.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable
from typing import Any, final

from ..state import Field, Identity, difference, version
from ..tensors.tensor_class import Tensor
from .effects import Store, Stores, Storing
from .surroundings import Surroundings
from .watches import Attribute, Elements, Entry, Items, Others, Pairs, Single, Watch

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
        places: frozenset[Any] = frozenset()
        if isinstance(function, Storing):
            # What is in these places is an argument.
            places, function = function.places, function.function
        found = Surroundings(function)
        self.stores = Stores(found.stores)
        self.watches = [w for watch in found.watches if (w := _without(places, watch)) is not None]
        self.objects = found.objects
        self._places = [_names_of(places, value) for _, value in self.objects]
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
        for number, (_, value) in enumerate(self.objects):
            if not self._alike(number, value.__fusegrad_fingerprint__()):
                return False
        self.version = now
        return True

    def _alike(self, number: int, now: tuple[Hashable, ...]) -> bool:
        """Whether an object differs at most in what the function itself updates or stores."""
        known = self.fingerprints[number]
        if known == now:
            return True
        places = self._places[number]
        left_out = bool(self._updated or places)
        return left_out and self._read(known, places) == self._read(now, places)

    def _read(self, parts: tuple[Hashable, ...], places: frozenset[str]) -> tuple[Hashable, ...]:
        return tuple(
            part
            for part in parts
            if not isinstance(part, Field)
            or not (part.name in places or part.name.rpartition(".")[2] in self._updated)
        )

    def rebound(self) -> list[Store]:
        """The places that hold another tensor of the same kind: what is there is no constant."""
        found = [w for w in self.watches if isinstance(w, Single) and _variant(w.value, w.now())]
        for number, (label, value) in enumerate(self.objects):
            known = self._read(self.fingerprints[number], self._places[number])
            before = {part.name: part.value for part in known if isinstance(part, Field)}
            for path, fields in getattr(value, "__fusegrad_places__", tuple)():
                for name, now in fields.items():
                    place = f"{path}.{name}" if path else name
                    if type(now) is Tensor and _variant(_identified(before.get(place)), now):
                        found.append(Entry(f"{label}.{place}", fields, name))
        return [Store(place, read=True, number=type(place.now()) is float) for place in found]

    def difference(self) -> str | None:
        """What changed, in words; None when nothing did."""
        for watch in self.watches:
            told = watch.difference()
            if told is not None:
                return told
        for number, (label, value) in enumerate(self.objects):
            now = value.__fusegrad_fingerprint__()
            if not self._alike(number, now):
                known, places = self.fingerprints[number], self._places[number]
                parts = self._read(known, places), self._read(now, places)
                return _object_difference(label, value, *parts)
        return None


def _variant(before: object, now: object) -> bool:
    """Whether it is another tensor or number that may be there instead."""
    if type(before) is float and type(now) is float:
        return before != now
    if type(before) is not Tensor or type(now) is not Tensor or before is now:
        return False
    variable = before.requires_grad or now.requires_grad
    return before._type is now._type and not variable and now._trace is None


def _identified(part: Hashable) -> object:
    """The object in a part of a fingerprint."""
    if isinstance(part, tuple) and part:
        part = part[0]
    return part.value if isinstance(part, Identity) else None


def _without(places: frozenset[Any], watch: Watch) -> Watch | None:
    """A watch that does not look at these places; None if there is nothing else."""
    if isinstance(watch, Attribute) and isinstance(watch.owner, type):
        inherited = any((id(cls), watch.name) in places for cls in watch.owner.__mro__)
        return None if inherited else watch
    if isinstance(watch, Single):
        return None if watch.place in places else watch
    if isinstance(watch, Items):
        return None if (id(watch.value),) in places else watch
    if isinstance(watch, Pairs):
        left_out = [key for scope, *keys in places if scope == id(watch.value) for key in keys]
        if left_out:
            return Others(watch.label, watch.value, left_out)
    return watch


def _names_of(places: frozenset[Any], value: object) -> frozenset[str]:
    """The names that a fingerprint has for these places."""
    if not places:
        return frozenset()
    parts: Iterable[tuple[str, dict[str, Any]]] = getattr(value, "__fusegrad_places__", tuple)()
    return frozenset(
        f"{path}.{name}" if path else name
        for path, fields in parts
        for scope, *names in places
        for name in names
        if scope == id(fields)
    )


def _object_difference(
    label: str, value: object, known: tuple[Hashable, ...], now: tuple[Hashable, ...]
) -> str:
    """The first part of a fingerprint that differs."""
    return f"`{label}` ({type(value).__name__}) changed: {difference(known, now)}"
