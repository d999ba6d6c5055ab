"""What a function stores outside of itself: attributes, names and items that get tensors.

Knows watched places, and which values belong to a trace; compiles nothing.

A value of a trace is nothing outside of it. So a function that stores one is compiled as another
function: `Storing`, which takes what such places held and returns what they get. Each call passes
the one, and puts the other where it belongs.
"""

from __future__ import annotations

import functools
import inspect
import operator
import sys
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, final

import numpy as np

from .. import pytree, state
from ..codegen.records import dataclass
from ..tensors.context import Recorder
from ..tensors.tensor_class import Tensor
from .signature import signature_of
from .watches import MISSING, PLAIN, Entry, Items, Pairs, Position, Single

__all__ = ["Store", "StoredOutside", "Stores", "Storing"]

_OWNED = 3
"""References to a value that only its place has: that, a local, and the count's own."""


@final
@dataclass(frozen=True)
class Store:
    """A place that got a value of a trace.

    Attributes
    ----------
    place : Single
    read : bool
        Whether the function may also read it: then what it holds is an input.
    """

    place: Single
    read: bool


@final
class StoredOutside(Exception):
    """A trace ended with values outside: the function is to be traced as a `Storing` one.

    Attributes
    ----------
    stores : list of Store
    grown : list of list
        Those to which something was appended.
    """

    def __init__(self, stores: list[Store], grown: list[Items]) -> None:
        super().__init__()
        self.stores = stores
        self.grown = [each.value for each in grown]


@final
class _Fixed:
    """A value that is not a tensor, in a place: part of the signature, and not an input."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __fusegrad_fingerprint__(self) -> tuple[Hashable, ...]:
        return (state.fingerprint(self.value),)

    def __fusegrad_parts__(self) -> tuple[tuple[str, object], ...]:
        return ()


_UNCHANGED = _Fixed("what it was")
"""Stands for what is in a place that the function left alone."""


@final
class Stores:
    """The places that a function may assign, as they are before it is traced.

    Parameters
    ----------
    candidates : sequence of (Single or Items or Pairs, bool)
        As `Surroundings` found them.
    """

    def __init__(self, candidates: Sequence[tuple[Single | Items | Pairs, bool]]) -> None:
        self._candidates = candidates

    def check(self, trace: Recorder) -> None:
        """Raise StoredOutside if there are values of the trace."""
        stores, grown = self._found(trace)
        if stores or grown:
            raise StoredOutside(stores, grown)

    def restore(self, trace: Recorder) -> None:
        """Put back what was there in place of values of the trace."""
        stores, grown = self._found(trace)
        for each in grown:
            del each.value[len(each.items) :]
        for store in stores:
            store.place.put(store.place.value)

    def _found(self, trace: Recorder) -> tuple[list[Store], list[Items]]:
        found: dict[tuple[Hashable, ...], Store] = {}
        grown: dict[int, Items] = {}
        for watch, read in self._candidates:
            for place in _changed(watch):
                if not _is_of(trace, place.now()):
                    continue
                known = found.get(place.place)
                found[place.place] = Store(place, read or (known is not None and known.read))
            if isinstance(watch, Items) and _is_of(trace, watch.value[len(watch.items) :]):
                grown[id(watch.value)] = watch
        return list(found.values()), list(grown.values())


def _changed(watch: Single | Items | Pairs) -> Iterable[Single]:
    """The places that hold something else than before."""
    if isinstance(watch, Single):
        return [] if watch.now() is watch.value else [watch]
    found: list[Single] = []
    if isinstance(watch, Items):
        for index, (before, now) in enumerate(zip(watch.items, watch.value, strict=False)):
            if before is not now:
                position = Position(f"{watch.label}[{index}]", watch.value, index)
                position.value = before
                found.append(position)
        return found
    known = dict(watch.pairs)
    for key, now in watch.value.items():
        if known.get(key, MISSING) is not now:
            entry = Entry(f"{watch.label}[{key!r}]", watch.value, key)
            entry.value = known.get(key, MISSING)
            found.append(entry)
    return found


def _is_of(trace: Recorder, value: Any) -> bool:
    """Whether there is a value of the trace in a container."""
    if value is MISSING or isinstance(value, PLAIN):
        return False
    return any(
        isinstance(leaf, Tensor) and leaf._trace is trace for leaf in pytree.flatten(value)[0]
    )


@final
class Storing:
    """A function as one that takes what places held, and returns what they get.

    Parameters
    ----------
    function : callable
        The user's.
    found : StoredOutside
        What it stores.
    known : Storing, optional
        What it was found to store before.
    """

    stores: list[Store]
    grown: list[list[Any]]

    def __init__(
        self, function: Callable[..., Any], found: StoredOutside, known: Storing | None
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        self.stores = stores = [*(known.stores if known else ()), *found.stores]
        self.grown = [*(known.grown if known else ()), *found.grown]
        self.places = frozenset(store.place.place for store in stores)
        # Attributes of modules: their changes are counted.
        self._counted = any(isinstance(store.place, Entry) for store in stores)
        for store in stores:
            # A value that only the place has may be overwritten.
            store.place.value = None
        signature = signature_of(function) or inspect.Signature()
        held = inspect.Parameter("what_places_hold", inspect.Parameter.POSITIONAL_ONLY)
        self.__signature__ = signature.replace(parameters=[held, *signature.parameters.values()])

    def held(self) -> list[Any]:
        """What the places hold that the function reads."""
        return [
            _mapped(_fixed, store.place.now()) if store.read else _UNCHANGED
            for store in self.stores
        ]

    def __call__(self, held: list[Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run the function while its places hold `held`; they are as they were afterwards."""
        before = [store.place.now() for store in self.stores]
        lengths = [len(each) for each in self.grown]
        values = [
            _mapped(_plain, value) if store.read else now
            for store, value, now in zip(self.stores, held, before, strict=True)
        ]
        given = [pytree.flatten(value) for value in values]
        try:
            for store, value in zip(self.stores, values, strict=True):
                if store.read:
                    store.place.put(value)
            result = self.function(*args, **kwargs)
            found = [
                _UNCHANGED if _same(was, store.place.now()) else _mapped(_fixed, store.place.now())
                for store, was in zip(self.stores, given, strict=True)
            ]
            added = [each[n:] for each, n in zip(self.grown, lengths, strict=True)]
            return result, found, added
        finally:
            for store, known in zip(self.stores, before, strict=True):
                store.place.put(known)
            for each, n in zip(self.grown, lengths, strict=True):
                del each[n:]

    def put(self, found: list[Any], added: list[list[Any]]) -> None:
        """Let the places hold what a call gave."""
        new = False
        for store, value in zip(self.stores, found, strict=True):
            if value is _UNCHANGED:
                continue
            now = store.place.now()
            if sys.getrefcount(now) == _OWNED and _moved(value, now):
                continue
            del now
            store.place.put(_mapped(_plain, value))
            new = True
        if new and self._counted:
            state.bump()
        for each, items in zip(self.grown, added, strict=True):
            each += items


def _moved(value: Any, now: Any) -> bool:
    """Give a tensor that nobody else has its new elements: it stays the one that others watch."""
    if type(value) is not Tensor or type(now) is not Tensor or now._type is not value._type:
        return False
    variable = now.requires_grad or value.requires_grad
    if variable or now._shared is not None or now._trace is not None or value._storage is None:
        return False
    now._install(value._storage)
    return True


def _same(before: tuple[tuple[Any, ...], pytree.Structure], now: Any) -> bool:
    """Whether a container holds what it held."""
    leaves, structure = pytree.flatten(now)
    return structure == before[1] and all(map(operator.is_, before[0], leaves))


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    leaves, structure = pytree.flatten(value)
    return pytree.unflatten(structure, map(change, leaves))


def _fixed(value: Any) -> Any:
    return value if isinstance(value, (Tensor, np.ndarray, np.generic)) else _Fixed(value)


def _plain(value: Any) -> Any:
    return value.value if type(value) is _Fixed else value
