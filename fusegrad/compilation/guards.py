"""What a compiled function reads from its surroundings, and whether that is still so.

Knows functions, their globals and closures; knows no tensors and no graphs.

A call checks, for every global and closure variable that the function and the functions it calls
name, that it is the same object, and for numbers and strings the same value. Modules and
optimizers count their changes in `state.version`; only when it moved are they compared.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Hashable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, final

from ..state import Fingerprinted, difference, fingerprint, version

__all__ = ["Guards"]

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_PACKAGE = str(Path(__file__).resolve().parents[1])
_CODEGEN = str(Path(__file__).resolve().parents[2] / "codegen")
_MISSING = object()
_LIBRARY = {str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix)}
_DEPTH = 3
_LONGEST = 64


def _is_users(function: types.FunctionType) -> bool:
    """Whether a function is the user's own: its names are guarded too."""
    file = function.__code__.co_filename
    if file.startswith((_PACKAGE, _CODEGEN)):
        return False
    return "site-packages" not in file and not any(
        file.startswith(f"{prefix}/lib") for prefix in _LIBRARY
    )


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


Place = tuple[dict[str, Any], str] | tuple[types.CellType, None]
"""Where a variable is: a name in a scope, or a cell."""


@final
class _Name:
    """One variable: where it is read, and what it was when the function was traced."""

    __slots__ = ("get", "kind", "label", "place", "shape", "value")

    def __init__(self, label: str, place: Place, value: Any) -> None:
        self.label = label
        self.place = place
        self.get = _getter(place)
        self.value = value
        self.kind = type(value)
        self.shape: Hashable = _contents(value)


def _is_constant(value: object) -> bool:
    """Whether nothing in `value` can change: identity is enough."""
    if type(value) is tuple:
        return all(map(_is_constant, value))
    return type(value) in (*_PLAIN, slice, range, types.EllipsisType)


def _contents(value: Any) -> Hashable:
    """What is compared beside identity: the contents of small containers and plain objects."""
    if isinstance(value, tuple) and _is_constant(value):
        return None
    if isinstance(value, (list, tuple, dict)) and len(value) <= _LONGEST:
        return fingerprint(value)
    if isinstance(value, (*_PLAIN, types.ModuleType, types.FunctionType, type, Fingerprinted)):
        return None
    attributes = getattr(value, "__dict__", None)
    if type(value).__module__.split(".")[0] == "fusegrad" or not isinstance(attributes, dict):
        return None
    if len(attributes) > _LONGEST:
        return None
    return tuple((name, fingerprint(v)) for name, v in attributes.items() if isinstance(v, _PLAIN))


@final
class Guards:
    """The surroundings of a function at the time of a trace.

    Parameters
    ----------
    function : callable
        The user's function, or a bound method.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.names: list[_Name] = []
        self.objects: list[tuple[str, Fingerprinted]] = []
        self._seen: set[int] = set()
        self.version = version()
        owner = getattr(function, "__self__", None)
        if owner is not None:
            self._add("self", (types.CellType(owner), None), owner)
        plain = getattr(function, "__func__", function)
        if isinstance(plain, types.FunctionType):
            self._function(plain)
        elif isinstance(plain, Fingerprinted) or callable(plain):
            self._look("function", plain, _DEPTH)
        self.fingerprints = [o.__fusegrad_fingerprint__() for _, o in self.objects]

    # --- collecting -------------------------------------------------------------------------------

    def _function(self, function: types.FunctionType) -> None:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        code = function.__code__
        names = {n: None for c in _codes(code) for n in c.co_names}
        scope = function.__globals__
        for name in names:
            if name in scope:
                self._add(name, (scope, name), scope[name])
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._add(name, (cell, None), _cell(cell))
        for name, value in zip(code.co_varnames, function.__defaults__ or (), strict=False):
            self._look(name, value, _DEPTH)

    def _add(self, label: str, place: Place, value: Any) -> None:
        if isinstance(value, types.ModuleType):
            return
        self.names.append(_Name(label, place, value))
        self._look(label, value, _DEPTH)

    def _look(self, label: str, value: Any, depth: int) -> None:
        """Find functions, modules and optimizers inside `value`."""
        if isinstance(value, types.FunctionType):
            if _is_users(value):
                self._function(value)
        elif isinstance(value, types.MethodType):
            self._look(label, value.__self__, depth)
            self._look(label, value.__func__, depth)
        elif isinstance(getattr(value, "__wrapped__", None), types.FunctionType):
            self._look(label, value.__wrapped__, depth)
        elif isinstance(value, Fingerprinted) and not isinstance(value, type):
            if id(value) not in self._seen:
                self._seen.add(id(value))
                self.objects.append((label, value))
        elif depth and isinstance(value, (list, tuple)) and len(value) <= _LONGEST:
            for i, item in enumerate(value):
                self._look(f"{label}[{i}]", item, depth - 1)
        elif depth and isinstance(value, dict) and len(value) <= _LONGEST:
            for key, item in value.items():
                self._look(f"{label}[{key!r}]", item, depth - 1)
        elif depth and _plain_object(value):
            for key, item in vars(value).items():
                self._look(f"{label}.{key}", item, depth - 1)

    # --- checking ---------------------------------------------------------------------------------

    def hold(self) -> bool:
        """Whether everything is as it was."""
        for name in self.names:
            value = name.get()
            if value is not name.value and not _same(name, value):
                return False
            if name.shape is not None and _contents(value) != name.shape:
                return False
        return self.version == version() or self._same_objects()

    def _same_objects(self) -> bool:
        now = version()
        for (_, value), known in zip(self.objects, self.fingerprints, strict=True):
            if value.__fusegrad_fingerprint__() != known:
                return False
        self.version = now
        return True

    def difference(self) -> str | None:
        """What changed, in words; None when nothing did."""
        for name in self.names:
            value = name.get()
            if value is not name.value and not _same(name, value):
                if isinstance(value, _PLAIN) and isinstance(name.value, _PLAIN):
                    return f"`{name.label}` was {name.value!r} and is {value!r}"
                return f"`{name.label}` is another object"
            if name.shape is not None and _contents(value) != name.shape:
                return f"the contents of `{name.label}` changed"
        for (label, value), known in zip(self.objects, self.fingerprints, strict=True):
            now = value.__fusegrad_fingerprint__()
            if now != known:
                return _object_difference(label, value, known, now)
        return None


def _object_difference(
    label: str, value: object, known: tuple[Hashable, ...], now: tuple[Hashable, ...]
) -> str:
    """The first part of a fingerprint that differs."""
    return f"`{label}` ({type(value).__name__}) changed: {difference(known, now)}"


def _getter(place: Place) -> Callable[[], Any]:
    if isinstance(place[0], dict):
        return partial(place[0].get, place[1], _MISSING)
    return partial(_cell, place[0])


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _same(name: _Name, value: Any) -> bool:
    return (
        type(value) is name.kind
        and name.kind in _PLAIN
        and bool(value == name.value or value != value)
    )


def _plain_object(value: object) -> bool:
    return (
        hasattr(value, "__dict__")
        and not isinstance(value, (type, types.ModuleType))
        and type(value).__module__.split(".")[0] not in ("fusegrad", "numpy")
        and len(vars(value)) <= _LONGEST
    )
