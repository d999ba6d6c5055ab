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
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Literal, final

import numpy as np

from .. import pytree, state
from ..errors import TracedValueError
from ..tensors.context import Recorder
from ..tensors.tensor_class import Tensor
from .signature import signature_of
from .watches import MISSING, PLAIN, Entry, Items, Pairs, Single, Whole, is_constant, same

__all__ = ["Store", "StoredOutside", "Stores", "Storing"]

_HELD = "what_places_hold"
"""The argument of a `Storing` function that the user's has not."""
_OWNED = 3
"""References to a value that only its place has: that, a local, and the count's own."""


@final
class Store:
    """A place that a function gives another value.

    Parameters
    ----------
    place : Single
    read : bool
        Whether the function may also read it: then what it holds is an argument.
    number : bool
        Whether a number there is an input as a tensor is, rather than part of the signature.
    """

    __slots__ = ("number", "place", "read")

    def __init__(self, place: Single, read: bool, number: bool) -> None:
        self.place = place
        self.read = read
        self.number = number

    def held(self) -> Any:
        """What is there, as an argument."""
        if not self.read:
            return _UNCHANGED
        now = self.place.now()
        return now if self.number and type(now) in (int, float) else _mapped(_fixed, now)


@final
class StoredOutside(Exception):
    """A trace ended with values outside: the function is to be traced as a `Storing` one.

    Attributes
    ----------
    stores : list of Store
    grown : list of list or deque
        Those to which something was appended.
    """

    def __init__(self, stores: list[Store], grown: list[list[Any] | deque[Any]]) -> None:
        super().__init__()
        self.stores = stores
        self.grown = grown


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
    candidates : sequence of (Single or Items or Pairs, bool, bool)
        As `Surroundings` found them.
    """

    def __init__(self, candidates: Sequence[tuple[Single | Items | Pairs, bool, bool]]) -> None:
        self._candidates = candidates
        self._all = False

    def check(self, trace: Recorder) -> None:
        """Raise StoredOutside if the trace has changed any."""
        stores, grown = self._found(trace)
        for store in stores:
            key = getattr(store.place, "key", None)
            if isinstance(key, Tensor) and key._trace is trace:
                raise TracedValueError(
                    f"the key of `{store.place.label}` is a value that does not exist while the "
                    "function is traced",
                    remedy="use a number or a text as the key",
                )
        if stores or grown:
            # It will be traced again: other changes must not be there twice.
            self._all = True
            raise StoredOutside(stores, [each.value for each in grown])

    def restore(self, trace: Recorder) -> None:
        """Put back what was there."""
        stores, grown = self._found(trace)
        for each in grown:
            each.value.clear()
            each.value.extend(each.items)
        for store in stores:
            store.place.put(store.place.value)

    def _found(self, trace: Recorder) -> tuple[list[Store], list[Items]]:
        found: dict[tuple[Hashable, ...], Store] = {}
        grown: dict[int, Items] = {}
        constants: dict[tuple[Hashable, ...], Store] = {}
        for watch, loaded, counts in self._candidates:
            for place in _changed(watch):
                before, now = place.value, place.now()
                kind = "tensor" if self._all else _kind(trace, now, isinstance(place, Whole))
                if kind == "other":
                    continue
                number = type(before) in (int, float)
                # An item that was there may be read by what looks like an update of it.
                seen = loaded or number or (watch is not place and before is not MISSING)
                table = found if counts or kind == "tensor" else constants
                known = table.get(place.place)
                seen = seen or (known is not None and known.read)
                table[place.place] = Store(place, seen, number)
            if isinstance(watch, Items) and (added := _added(watch)):
                kinds = {_kind(trace, item) for item in added}
                if self._all or ("tensor" in kinds and "other" not in kinds):
                    grown[id(watch.value)] = watch
        # What is only updated counts the traces, unless an object gets tensors beside it.
        owners = {where[0] for where, store in found.items() if not _is_global(store.place)}
        for where, store in constants.items():
            if where[0] in owners:
                found.setdefault(where, store)
        return list(found.values()), list(grown.values())


def _is_global(place: Single) -> bool:
    return isinstance(place, Entry) and "__builtins__" in place.scope


def _changed(watch: Single | Items | Pairs) -> Iterable[Single]:
    """The places that hold something else than before."""
    if isinstance(watch, Single):
        return [] if same(watch.value, watch.now()) else [watch]
    found: list[Single] = []
    if isinstance(watch, Items):
        if _added(watch) is None:
            whole = Whole(watch.label, watch.value)
            whole.value = list(watch.items)
            found.append(whole)
        return found
    known = dict(watch.pairs)
    for key, now in watch.value.items():
        if not same(known.get(key, MISSING), now):
            entry = Entry(f"{watch.label}[{key!r}]", watch.value, key)
            entry.value = known.get(key, MISSING)
            found.append(entry)
    return found


def _added(watch: Items) -> list[Any] | None:
    """What was added at the end of a list or deque, None if more changed.

    A full deque loses as much at its beginning.
    """
    now, before = list(watch.value), watch.items
    limit = watch.value.maxlen if isinstance(watch.value, deque) else None
    least = len(now) - len(before)
    for count in range(max(least, 0), len(now) + 1 if len(now) == limit else least + 1):
        rest = now[: len(now) - count]
        if all(map(same, rest, before[len(before) - len(rest) :])):
            return now[len(now) - count :]
    return None


def _kind(
    trace: Recorder, value: Any, mixed: bool = False
) -> Literal["constant", "tensor", "other"]:
    """What a value is made of: constants, tensors of the trace as well, or what no call can give.

    With `mixed` there may be other tensors beside one of the trace.
    """
    if isinstance(value, PLAIN):
        return "constant"
    if value is MISSING:
        return "other"
    leaves = pytree.flatten(value)[0]
    own = [isinstance(leaf, Tensor) and leaf._trace is trace for leaf in leaves]
    others = (*PLAIN, Tensor) if mixed and any(own) else PLAIN
    for mine, leaf in zip(own, leaves, strict=True):
        if not (mine or isinstance(leaf, others) or is_constant(leaf)):
            return "other"
    return "tensor" if any(own) else "constant"


@final
class Storing:
    """A function as one that takes what places held, and returns what they get.

    Parameters
    ----------
    function : callable
        The user's.
    found : StoredOutside or None
        What it stores.
    known : Storing, optional
        What it was found to store before.
    """

    stores: list[Store]
    grown: list[list[Any] | deque[Any]]

    def __init__(
        self, function: Callable[..., Any], found: StoredOutside | None, known: Storing | None
    ) -> None:
        functools.update_wrapper(self, function, updated=())
        self.function = function
        merged: dict[Any, Store] = {}
        for store in (each for of in (known, found) if of for each in of.stores):
            first = merged.setdefault(store.place.place, store)
            first.read, first.number = first.read or store.read, first.number or store.number
        self.stores = stores = list(merged.values())
        grown = [each for of in (known, found) if of for each in of.grown]
        whole = {id(store.place.items) for store in stores if isinstance(store.place, Whole)}
        self.grown = [each for each in grown if id(each) not in whole]
        self.places = frozenset(store.place.place for store in stores)
        # Attributes of modules: their changes are counted.
        self._counted = any(isinstance(store.place, Entry) for store in stores)
        for store in stores:
            # A value that only the place has may be overwritten.
            store.place.value = None
        signature = signature_of(function) or inspect.Signature()
        held = inspect.Parameter(_HELD, inspect.Parameter.POSITIONAL_ONLY)
        self.__signature__ = signature.replace(parameters=[held, *signature.parameters.values()])

    def labelled(self, names: list[str]) -> list[str]:
        """The paths of arguments, with places by what the user calls them."""
        labels = {f"{_HELD}[{i}]": store.place.label for i, store in enumerate(self.stores)}
        found = []
        for name in names:
            first, mark, rest = name.partition("]")
            found.append(labels[first + mark] + rest if first + mark in labels else name)
        return found

    def lacks(self, found: StoredOutside) -> bool:
        """Whether something is found that it does not know."""
        known = {id(each) for each in self.grown}
        read = {store.place.place: store.read for store in self.stores}
        stores = any(s.read > read.get(s.place.place, -1) for s in found.stores)
        return stores or any(
            id(each) not in known and (id(each),) not in read for each in found.grown
        )

    def settle(self, error: Exception, settled: list[Store]) -> bool:
        """Make numbers part of the signature that cannot be inputs; say whether there are any.

        Parameters
        ----------
        error : Exception
            What tracing with them as inputs ended with.
        settled : list of Store
            Where this is noted. If there are no more, it was not for them: all are inputs again.
        """
        numbers = [store for store in self.stores if store.number]
        told = [store for store in numbers if repr(store.place.label) in str(error)] or numbers
        for store in told or settled:
            store.number = not told
        settled += told
        return bool(told)

    def held(self) -> list[Any]:
        """What the places hold that the function reads."""
        return [store.held() for store in self.stores]

    def __call__(self, held: list[Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run the function while its places hold `held`; they are as they were afterwards."""
        before = [store.place.now() for store in self.stores]
        lists = [list(each) for each in self.grown]
        values = [
            _mapped(_plain, value) if store.read else now
            for store, value, now in zip(self.stores, held, before, strict=True)
        ]
        given = [pytree.flatten(value) for value in values]
        try:
            for store, value in zip(self.stores, values, strict=True):
                if store.read:
                    store.place.put(value)
            # It may be one of the containers that are put back.
            result = _mapped(lambda leaf: leaf, self.function(*args, **kwargs))
            found = [
                (_UNCHANGED, False) if _same(was, now) else (_mapped(_fixed, now), _is_number(now))
                for was, now in zip(given, (s.place.now() for s in self.stores), strict=True)
            ]
            return result, found, self._additions(lists)
        finally:
            for store, known in zip(self.stores, before, strict=True):
                store.place.put(known)
            for each, items in zip(self.grown, lists, strict=True):
                each.clear()
                each.extend(items)

    def _additions(self, before: list[list[Any]]) -> list[Any]:
        """What was added to lists, as results."""
        additions = []
        for each, items in zip(self.grown, before, strict=True):
            watch = Items("a list", each)
            watch.items = tuple(items)
            added = _added(watch)
            if added is None:
                raise StoredOutside([Store(place, True, False) for place in _changed(watch)], [])
            additions.append(_mapped(_fixed, added))
        return additions

    def put(self, found: list[tuple[Any, bool]], added: list[list[Any]]) -> None:
        """Let the places hold what a call gave."""
        new = False
        for store, (value, number) in zip(self.stores, found, strict=True):
            if value is _UNCHANGED:
                continue
            now = store.place.now()
            if number:
                value = value.item()
            elif sys.getrefcount(now) == _OWNED and _moved(value, now):
                continue
            else:
                value = _mapped(_plain, value)
            if not same(now, value):
                del now
                store.place.put(value)
                new = True
        if new and self._counted:
            state.bump()
        for each, items in zip(self.grown, added, strict=True):
            each.extend(_mapped(_plain, items))


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


def _is_number(value: Any) -> bool:
    """Whether a value of a trace is what became of a number."""
    return isinstance(value, Tensor) and value._weak and value.ndim == 0


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    leaves, structure = pytree.flatten(value)
    return pytree.unflatten(structure, map(change, leaves))


def _fixed(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        # Extents know where they come from.
        value = int(value)
    return value if isinstance(value, (Tensor, np.ndarray, np.generic)) else _Fixed(value)


def _plain(value: Any) -> Any:
    return value.value if type(value) is _Fixed else value
