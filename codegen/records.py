"""Dataclasses whose methods are written when they are first called.

Knows classes; knows nothing of kernels. The standard library writes and compiles six functions for
a class when it is defined: a third of a millisecond for each of some two hundred, which was a third
of what an import took. Most of them are never called by a process.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from types import SimpleNamespace
from typing import Any, TypeVar, dataclass_transform, overload

__all__ = ["dataclass"]

T = TypeVar("T")

_FIELDS, _MATCHED = "__dataclass_fields__", "__match_args__"
_MISSING = dataclasses.MISSING


@dataclasses.dataclass(init=False, repr=False, eq=False)
class _Example:
    field: int


# What marks a field of the class itself, for `fields` and `replace`.
_KIND = vars(_Example)[_FIELDS]["field"]._field_type


@overload
def dataclass(cls: type[T], /) -> type[T]: ...
@overload
def dataclass(
    *, frozen: bool = False, eq: bool = True, repr: bool = True
) -> Callable[[type[T]], type[T]]: ...
@dataclass_transform(field_specifiers=(dataclasses.field,))
def dataclass(
    cls: Any = None, /, *, frozen: bool = False, eq: bool = True, repr: bool = True
) -> Any:
    """Make a class a dataclass, as the standard library's decorator of this name does.

    `dataclasses.field`, `fields`, `replace`, `asdict` and ``__post_init__`` are as there. There are
    no other options than these, no keyword-only fields, and an `InitVar` is nothing special.

    Parameters
    ----------
    cls : type
    frozen : bool, optional
        Whether its attributes cannot be assigned.
    eq : bool, optional
        Whether two are equal if their fields are; those of a frozen class are hashed by them.
    repr : bool, optional
        Whether it prints its fields.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Point:
    ...     x: int
    ...     y: int = 0
    >>> Point(1), Point(1) == Point(1, 0), dataclasses.replace(Point(1), y=5).y
    (Point(x=1, y=0), True, 5)
    """
    if cls is None:
        return lambda cls: _made(cls, frozen, eq, repr)
    return _made(cls, frozen, eq, repr)


def _made(cls: Any, frozen: bool, eq: bool, repr: bool) -> Any:
    known: dict[str, dataclasses.Field[Any]] = {}
    for base in cls.__mro__[-1:0:-1]:
        known.update(vars(base).get(_FIELDS, {}))
    for name, annotation in vars(cls).get("__annotations__", {}).items():
        if not str(annotation).startswith(("ClassVar", "typing.ClassVar")):
            known[name] = _field(cls, name, annotation)
    setattr(cls, _FIELDS, known)
    cls.__dataclass_params__ = SimpleNamespace(frozen=frozen, eq=eq, repr=repr)
    own = vars(cls)
    if "__match_args__" not in own:
        setattr(cls, _MATCHED, tuple(f.name for f in known.values() if f.init))
    if "__init__" not in own:
        _write_later(cls, "__init__", _initialiser)
    if repr and "__repr__" not in own:
        cls.__repr__ = _repr
    if eq:
        _compared_by_fields(cls, frozen)
    if frozen:
        names = frozenset(known)
        cls.__setattr__ = _refusal(cls, names, "__setattr__", "assign to")
        cls.__delattr__ = _refusal(cls, names, "__delattr__", "delete")
    return cls


def _field(cls: Any, name: str, annotation: Any) -> dataclasses.Field[Any]:
    default = vars(cls).get(name, _MISSING)
    if isinstance(default, dataclasses.Field):
        found: Any = default
        # Without a default, it is no attribute of the class either.
        if found.default is _MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, found.default)
    else:
        found = dataclasses.field(default=default)
    if type(found.default).__hash__ is None:
        raise ValueError(f"the default of {name} would be shared: use default_factory")
    found.name, found.type, found.kw_only = name, annotation, False
    found._field_type = _KIND
    return found  # type: ignore[no-any-return]


def _write_later(cls: Any, name: str, write: Callable[[Any], Any]) -> None:
    """Put a method in the place of `name` that writes the real one when it is called."""

    def first(self: Any, *args: Any, **kwargs: Any) -> Any:
        if vars(cls)[name] is first:
            made = write(cls)
            made.__qualname__ = f"{cls.__qualname__}.{name}"
            setattr(cls, name, made)
        return vars(cls)[name](self, *args, **kwargs)

    first.__name__ = name
    setattr(cls, name, first)


# --- making ---------------------------------------------------------------------------------------


def _initialiser(cls: Any) -> Any:
    """``__init__`` for the fields."""
    frozen = cls.__dataclass_params__.frozen
    scope: dict[str, Any] = {"_missing": _MISSING, "_set": object.__setattr__}
    parameters, lines = ["self"], []
    with_default = False
    for field in vars(cls)[_FIELDS].values():
        name = field.name
        value = name if field.init else f"_default_{name}"
        if field.default is not _MISSING:
            scope[f"_default_{name}"] = field.default
            parameters += [f"{name}=_default_{name}"] * field.init
        elif field.default_factory is not _MISSING:
            scope[f"_factory_{name}"] = field.default_factory
            parameters += [f"{name}=_missing"] * field.init
            made = f"_factory_{name}()"
            value = f"{made} if {name} is _missing else {name}" if field.init else made
        elif not field.init:
            continue
        else:
            if with_default:
                raise TypeError(f"{name} of {cls.__name__} comes after fields with defaults")
            parameters.append(name)
        with_default |= field.init and parameters[-1] != name
        lines.append(f"_set(self, {name!r}, {value})" if frozen else f"self.{name} = {value}")
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    body = "\n  ".join(lines or ["pass"])
    exec(f"def __init__({', '.join(parameters)}):\n  {body}", scope)
    return scope["__init__"]


def _refusal(cls: Any, names: frozenset[str], method: str, verb: str) -> Any:
    """A method that changes no field; subclasses may have further attributes."""

    def refuse(self: Any, name: str, *value: Any) -> None:
        if type(self) is cls or name in names:
            raise dataclasses.FrozenInstanceError(f"cannot {verb} field {name!r}")
        getattr(super(cls, self), method)(name, *value)

    return refuse


# --- comparing and printing -----------------------------------------------------------------------


def _compared_by_fields(cls: Any, frozen: bool) -> None:
    fields = vars(cls)[_FIELDS].values()
    compared = [f.name for f in fields if f.compare]
    hashed = [f.name for f in fields if (f.compare if f.hash is None else f.hash)]
    own = vars(cls)
    given = own.get("__hash__", _MISSING)
    # Python sets it to None where there is an `__eq__` alone.
    has_hash = given is not _MISSING and not (given is None and "__eq__" in own)
    if "__eq__" not in own:
        cls.__eq__ = _equality(_values(compared))
    if not has_hash:
        cls.__hash__ = _hash(_values(hashed)) if frozen else None


def _values(names: list[str]) -> Callable[[Any], Any]:
    """What takes the attributes of these names from an object."""
    if not names:
        return lambda self: ()
    get = attrgetter(*names)
    return get if len(names) > 1 else lambda self: (get(self),)


def _equality(values: Callable[[Any], Any]) -> Any:
    def __eq__(self: Any, other: object) -> Any:
        if other.__class__ is not self.__class__:
            return NotImplemented
        return values(self) == values(other)

    return __eq__


def _hash(values: Callable[[Any], Any]) -> Any:
    def __hash__(self: Any) -> int:
        return hash(values(self))

    return __hash__


@recursive_repr()
def _repr(self: Any) -> str:
    fields = [f for f in getattr(type(self), _FIELDS).values() if f.repr]
    text = ", ".join(f"{f.name}={getattr(self, f.name)!r}" for f in fields)
    return f"{type(self).__qualname__}({text})"
