"""Finding what a function reads: from its code to scopes, objects, classes, modules, containers.

Knows functions and the names in their code; runs none of it.

The search is by names: of an object that the user's code can reach, those attributes count whose
names some reached code reads. A counter that only the loop around the step reads is not watched, so
that it may change; a name that is read of another object is, which costs a comparison.
"""

from __future__ import annotations

import collections
import functools
import sys
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, final

import numpy as np
import numpy.typing as npt

from ..state import Fingerprinted
from .loads import loads_of
from .watches import (
    LONGEST,
    MISSING,
    Attribute,
    Cell,
    Contents,
    Entry,
    Items,
    Pairs,
    Single,
    Watch,
    cell_value,
    is_constant,
)

__all__ = ["Surroundings"]

_PACKAGE = str(Path(__file__).resolve().parents[1])
_CODEGEN = str(Path(__file__).resolve().parents[2] / "codegen")
_LIBRARY = tuple({f"{Path(p).resolve()}/lib" for p in (sys.prefix, sys.base_prefix)})
_CONTAINERS = (list, tuple, dict, set, frozenset, collections.deque)
_LEAVES = ("fusegrad", "numpy")
"""The packages whose objects are compared by identity; tensors and arrays are inputs."""
_HEAP_TYPE = 1 << 9
"""Among the flags of a class: it is not built in."""
_LARGEST = 1 << 14
"""The bytes of arrays whose elements are compared."""
_CREATING = frozenset({"__init__", "__new__", "__post_init__"})
_QUIET = _CREATING | {
    *("__repr__", "__str__", "__eq__", "__hash__", "__del__", "__setattr__", "__delattr__"),
    *("__init_subclass__", "__class_getitem__", "__reduce__", "__getstate__", "__setstate__"),
}
"""Methods that Python calls by itself, and that calls of other ones do not lead to."""


def _is_users(file: str | None) -> bool:
    """Whether code in this file is the user's own: its names are watched too."""
    if file is None:
        return True
    if file.startswith((_PACKAGE, _CODEGEN)):
        return False
    return "site-packages" not in file and not file.startswith(_LIBRARY)


def _is_users_module(name: str) -> bool:
    root = name.split(".")[0]
    if root in sys.stdlib_module_names or root in _LEAVES:
        # Scripts and notebooks are in __main__.
        return root == "__main__"
    return _is_users(getattr(sys.modules.get(name), "__file__", None))


def _is_users_class(cls: type) -> bool:
    if cls.__module__ == "builtins":
        # Code that runs without a module's name has this one, too.
        return bool(cls.__flags__ & _HEAP_TYPE)
    return _is_users_module(cls.__module__)


def _is_users_object(value: object) -> bool:
    """Whether a value may have attributes, and methods that read them."""
    cls = type(value)
    return not isinstance(value, (*_CONTAINERS, type, types.ModuleType)) and _is_users_class(cls)


@final
class _Owner:
    """An object, class or module some of whose attributes count."""

    __slots__ = ("all", "label", "position", "stored", "value")

    def __init__(self, label: str, value: Any) -> None:
        self.label = label
        self.value = value
        # How many names were looked up in it, read and stored ones; whether all it has is watched.
        self.position = self.stored = 0
        self.all = False


@final
class Surroundings:
    """All that a function may read and that may change.

    Parameters
    ----------
    function : callable
        The user's function, a bound method, or an object that is called.

    Attributes
    ----------
    watches : list of Watch
    objects : list of (str, Fingerprinted)
        Modules and optimizers: they say themselves what counts.
    arrays : list of (str, numpy.ndarray)
        Small ones, which NumPy's functions may have read.
    updated : set of str
        Attributes that the code changes, and that no result depends on.
    stores : list of (Single or Items or Pairs, bool, bool)
        Places that the code may give other values, whether it loads them, too, and whether results
        may depend on them.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self.watches: list[Watch] = []
        self.objects: list[tuple[str, Fingerprinted]] = []
        self.arrays: list[tuple[str, npt.NDArray[Any]]] = []
        self.updated: set[str] = set()
        self.stores: list[tuple[Single | Items | Pairs, bool, bool]] = []
        self._stored: set[str] = set()
        self._loaded: set[str] = set()
        self._grown: set[int] = set()
        self._names: dict[str, None] = {}
        self._probed: set[str] = set()
        self._any = False
        self._owners: list[_Owner] = []
        self._classes: dict[type, _Owner] = {}
        self._implied: set[tuple[type, frozenset[str]]] = set()
        self._tables: dict[type, dict[str, Any]] = {}
        self._watched: set[tuple[int, str]] = set()
        self._seen: set[int] = set()
        # What has no other reference must keep its number.
        self._keep: list[Any] = []
        owner = getattr(function, "__self__", None)
        if owner is not None:
            self._visit("self", owner)
        plain = getattr(function, "__func__", function)
        if isinstance(plain, types.FunctionType):
            self._function(plain)
        else:
            self._visit("function", plain)
        self._close()
        self.updated -= self._names.keys()
        self._find_stores()

    def _close(self) -> None:
        """Look up every name in every owner: what is found may bring more of both."""
        work = True
        while work:
            work = False
            for owner in list(self._owners):
                if owner.position < len(self._names):
                    names = dict.fromkeys(list(self._names)[owner.position :])
                    owner.position += len(names)
                    work = True
                    self._members(owner, names)
                if owner.stored < len(self._stored):
                    owner.stored, work = len(self._stored), True
                    fields = getattr(owner.value, "__dict__", None)
                    if isinstance(fields, dict):
                        for name in sorted(self._stored):
                            self._method_of(f"{owner.label}.{name}", fields, name)
                if self._any and not owner.all:
                    owner.all = work = True
                    self._all_members(owner)

    def _find_stores(self) -> None:
        """Find the places among what was met that code assigns."""
        self.stores += [(w, True, True) for w in self.watches if isinstance(w, (Items, Pairs))]
        fields = [
            (owner.label, owner.value.__dict__)
            for owner in self._owners
            if isinstance(getattr(owner.value, "__dict__", None), dict)
        ]
        for label, value in self.objects:
            places = getattr(value, "__fusegrad_places__", tuple)
            fields += [(f"{label}.{path}" if path else label, part) for path, part in places()]
        for label, part in fields:
            for name in sorted(self._stored):
                self._store(Entry(f"{label}.{name}", part, name), name)
        for cls, owner in self._classes.items():
            for name in sorted(self._stored.intersection(cls.__dict__)):
                value = cls.__dict__[name]
                if not hasattr(type(value), "__get__"):
                    self._store(Attribute(f"{owner.label}.{name}", cls, name), name)
        # Attributes without a dict.
        slots = [
            w for w in self.watches if isinstance(w, Attribute) and not isinstance(w.owner, type)
        ]
        self.stores += [(watch, True, True) for watch in slots if watch.name in self._stored]

    def _store(self, watch: Single, name: str, counts: bool = False) -> None:
        """Note a place; what is in it may be a container that grows."""
        loaded = self._any or name in self._loaded
        self.stores.append((watch, loaded, counts or self._any or name in self._names))
        self._growing(watch.label, watch.value)

    def _growing(self, label: str, value: Any) -> None:
        """Note containers that code may only update."""
        if not isinstance(value, (list, dict, collections.deque)) or id(value) in self._grown:
            return
        self._grown.add(id(value))
        watch = Pairs(label, value) if isinstance(value, dict) else Items(label, value)
        self.stores.append((watch, False, False))
        if len(value) > LONGEST:
            return
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            self._growing(f"{label}[{key!r}]", item)

    # --- values -----------------------------------------------------------------------------------

    def _visit(self, label: str, value: Any) -> None:
        """Find what `value` may lead to."""
        if value is MISSING or is_constant(value) or not self._new(value):
            return
        if isinstance(value, types.FunctionType):
            self._callable(label, value)
        elif isinstance(value, types.MethodType):
            self._visit(label, value.__self__)
            self._visit(label, value.__func__)
        elif isinstance(value, functools.partial):
            self._visit_all(label, (value.func, *value.args, *value.keywords.values()))
        elif isinstance(value, type):
            self._class(value, _CREATING)
        elif isinstance(value, types.ModuleType):
            if _is_users_module(value.__name__):
                self._owners.append(_Owner(label, value))
        elif isinstance(value, Fingerprinted):
            self.objects.append((label, value))
            for name, part in value.__fusegrad_parts__():
                if isinstance(part, type):
                    # Its objects are there already.
                    self._class(part, frozenset())
                else:
                    self._visit(f"{label}.{name}", part)
        else:
            self._container(label, value)
            if type(value) not in _CONTAINERS:
                self._object(label, value)

    def _new(self, value: object) -> bool:
        """Whether something is met for the first time."""
        if id(value) in self._seen:
            return False
        self._seen.add(id(value))
        self._keep.append(value)
        return True

    def _visit_all(self, label: str, values: Iterable[Any]) -> None:
        for number, value in enumerate(values):
            self._visit(f"{label}[{number}]", value)

    def _container(self, label: str, value: Any) -> None:
        if not isinstance(value, _CONTAINERS) or len(value) > LONGEST:
            return
        if isinstance(value, dict):
            # Others than plain ones may have their order elsewhere.
            plain = type(value).__iter__ is dict.__iter__
            self.watches.append(Pairs(label, value) if plain else Contents(label, value))
            for key, item in value.items():
                self._visit(f"{label}[{key!r}]", item)
            return
        if isinstance(value, list):
            self.watches.append(Items(label, value))
        elif isinstance(value, (set, collections.deque)):
            self.watches.append(Contents(label, value))
        self._visit_all(label, value)

    def _object(self, label: str, value: Any) -> None:
        """An object of a class without a meaning here."""
        cls = type(value)
        if isinstance(value, np.ndarray):
            if value.nbytes <= _LARGEST and not value.dtype.hasobject:
                self.arrays.append((label, value))
            return
        if cls.__module__.split(".")[0] in _LEAVES:
            # Functions that were transformed; tensors have functions that get their gradients.
            fields = value.__dict__ if cls.__dictoffset__ else {}
            for part in (*fields.values(), *getattr(value, "_hooks", ())):
                if isinstance(part, (types.FunctionType, types.MethodType, functools.partial)):
                    self._visit(label, part)
            return
        self._owners.append(_Owner(label, value))
        self._class(cls, frozenset())

    # --- functions --------------------------------------------------------------------------------

    def _callable(self, label: str, function: types.FunctionType) -> None:
        if _is_users(function.__code__.co_filename):
            self._function(function)
            return
        # A wrapper of a library: what it calls may be the user's.
        self._visit(label, function.__dict__.get("__wrapped__"))
        for cell in function.__closure__ or ():
            inside = cell_value(cell)
            if callable(inside):
                self._visit(label, inside)

    def _function(self, function: types.FunctionType) -> None:
        self._new(function)
        code = function.__code__
        loads = loads_of(code)
        self._stored |= loads.stored
        self._loaded |= loads.loaded
        for name in loads.scope:
            if name in function.__globals__:
                self._entry(name, function.__globals__, name)
        for name in sorted(loads.stored):
            self._store(Entry(name, function.__globals__, name), name, name in loads.scope)
            self._method_of(name, function.__globals__, name)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            if name in loads.stored:
                self._store(Cell(name, cell), name, name in loads.free)
            read = name in loads.free or _is_users_object(cell_value(cell))
            if read and self._new(cell):
                watch = Cell(name, cell)
                self.watches.append(watch)
                self._visit(name, watch.value)
        defaults = function.__defaults__ or ()
        names = code.co_varnames[code.co_argcount - len(defaults) : code.co_argcount]
        for name, value in (*zip(names, defaults, strict=True), *_keywords(function)):
            self._visit(name, value)
        for name in loads.imports:
            self._visit(name, sys.modules.get(name))
        self._names.update(dict.fromkeys((*loads.attributes, *loads.probed)))
        self._probed.update(loads.probed)
        self._any = self._any or loads.any
        self.updated |= loads.updated

    def _entry(self, label: str, scope: dict[str, Any], name: str) -> None:
        """Watch a name of a scope, unless it is a module of Python."""
        value = scope.get(name, MISSING)
        if not isinstance(value, types.ModuleType) and (id(scope), name) not in self._watched:
            self._watched.add((id(scope), name))
            self.watches.append(Entry(label, scope, name))
        self._visit(label, value)

    def _method_of(self, label: str, scope: dict[str, Any], name: str) -> None:
        """What looks like an update of a container, ``meter.update(x)``, may be a method."""
        if _is_users_object(scope.get(name)):
            self._entry(label, scope, name)

    # --- attributes -------------------------------------------------------------------------------

    def _class(self, cls: type, more: frozenset[str]) -> None:
        """The methods that Python or a library calls; others are found by their names."""
        if (cls, more) in self._implied:
            return
        self._implied.add((cls, more))
        if not _is_users_class(cls):
            return
        owner = self._classes.get(cls)
        if owner is None:
            owner = self._classes[cls] = _Owner(cls.__name__, cls)
            self._owners.append(owner)
        libraries = [b for b in cls.__mro__ if not _is_users_class(b)]
        for name, found in self._table(cls).items():
            implied = name.startswith("__") and name.endswith("__")
            overriding = any(name in base.__dict__ for base in libraries)
            if name in more or ((implied or overriding) and name not in _QUIET):
                self._found(owner, found, name)

    def _table(self, cls: type) -> dict[str, Any]:
        """What the user's part of a class has, by name."""
        known = self._tables.get(cls)
        if known is None:
            known = {}
            for base in reversed(cls.__mro__):
                if _is_users_class(base):
                    known.update(base.__dict__)
            self._tables[cls] = known
        return known

    def _members(self, owner: _Owner, names: dict[str, None]) -> None:
        """Watch what an owner has under these names."""
        value = owner.value
        if isinstance(value, types.ModuleType):
            for name in _common(names, value.__dict__):
                self._entry(f"{owner.label}.{name}", value.__dict__, name)
            return
        cls = value if isinstance(value, type) else type(value)
        table = self._table(cls)
        if cls is value:
            for name in _common(names, table):
                self._found(owner, table[name], name)
            return
        fields = value.__dict__ if cls.__dictoffset__ else None
        if type(fields) is dict:
            probed = self._probed.intersection(names)
            found = dict.fromkeys(
                [*_common(names, fields), *_common(names, table), *sorted(probed)]
            )
            if found and self._new(fields):
                self.watches.append(Attribute(owner.label, value, "__dict__"))
            for name in found:
                if not isinstance(table.get(name), types.MemberDescriptorType):
                    self._entry(f"{owner.label}.{name}", fields, name)
        for name in _common(names, table):
            if isinstance(table[name], types.MemberDescriptorType):
                watch = Attribute(f"{owner.label}.{name}", value, name)
                self.watches.append(watch)
                self._visit(watch.label, watch.value)

    def _all_members(self, owner: _Owner) -> None:
        """Watch all fields: code that asks for names may ask for any."""
        value = owner.value
        if isinstance(value, (type, types.ModuleType)) or not type(value).__dictoffset__:
            return
        if type(value.__dict__) is dict and len(value.__dict__) <= LONGEST:
            self.watches.append(Pairs(owner.label, value.__dict__))
            for name, item in value.__dict__.items():
                self._visit(f"{owner.label}.{name}", item)

    def _found(self, owner: _Owner, found: Any, name: str) -> None:
        """What a class has under a name."""
        label = f"{owner.label}.{name}"
        if isinstance(found, property):
            self._visit(label, found.fget)
        elif isinstance(found, (staticmethod, classmethod)):
            self._visit(label, found.__func__)
        elif isinstance(found, functools.cached_property):
            self._visit(label, found.func)
        elif not hasattr(type(found), "__set__"):
            watch = Attribute(label, owner.value, name)
            # Other descriptors may give something else each time.
            if watch.value is found and (id(owner.value), name) not in self._watched:
                self._watched.add((id(owner.value), name))
                self.watches.append(watch)
            self._visit(label, found)


def _common(names: dict[str, None], table: dict[str, Any]) -> list[str]:
    """The names that a table has, in the order of the names."""
    if len(table) < len(names):
        return [name for name in table if name in names]
    return [name for name in names if name in table]


def _keywords(function: types.FunctionType) -> Iterable[tuple[str, Any]]:
    return (function.__kwdefaults__ or {}).items()
