"""Nested containers as a flat tuple of leaves and a structure.

Knows nothing of tensors: whatever is not a container is a leaf.

Containers are dict, OrderedDict, defaultdict, list, tuple, named tuples, dataclasses and None
(which has no leaves), exactly these types; `register_node` adds others.
"""

from __future__ import annotations

import dataclasses
import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, final

from .errors import ArgumentStructureError

__all__ = [
    "LEAF",
    "Structure",
    "children",
    "first_difference",
    "flatten",
    "paths",
    "register_node",
    "unflatten",
]

_MAX_DEPTH = 200


@final
class Structure:
    """What remains of a container without its leaves.

    Two structures are equal if the containers have the same types, keys in the same order, and
    leaves in the same places. Hashing costs nothing: the hash is computed once.

    Attributes
    ----------
    container : type or None
        The type of the container, None for a leaf.
    metadata : Hashable
        What the container knows beside its children: the keys of a dict, for example.
    children : tuple of Structure
    leaves : int
        The number of leaves in it.

    Examples
    --------
    >>> _, structure = flatten({"x": 1, "y": [2, 3]})
    >>> structure
    Structure({'x': *, 'y': [*, *]})
    """

    __slots__ = ("_hash", "children", "container", "leaves", "metadata")

    container: type | None
    metadata: Hashable
    children: tuple[Structure, ...]
    leaves: int
    _hash: int

    def __init__(
        self, container: type | None, metadata: Hashable, children: tuple[Structure, ...]
    ) -> None:
        self.container = container
        self.metadata = metadata
        self.children = children
        self.leaves = 1 if container is None else sum([child.leaves for child in children])
        self._hash = hash((container, metadata, children))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Structure):
            return NotImplemented
        return (
            self._hash == other._hash
            and self.container is other.container
            and self.metadata == other.metadata
            and self.children == other.children
        )

    def __str__(self) -> str:
        parts = [str(child) for child in self.children]
        kind = self.container
        if kind is None:
            return "*"
        if kind is tuple:
            return "(" + ", ".join(parts) + ("," if len(parts) == 1 else "") + ")"
        if kind is list:
            return "[" + ", ".join(parts) + "]"
        if kind is type(None):
            return "None"
        names = _handler(kind).names(self)
        if kind is dict:
            keys = [name[1:-1] for name in names]
            return "{" + ", ".join(f"{k}: {p}" for k, p in zip(keys, parts, strict=True)) + "}"
        named = [f"{n.lstrip('.')}={p}" for n, p in zip(names, parts, strict=True)]
        return f"{kind.__name__}(" + ", ".join(named) + ")"

    def __repr__(self) -> str:
        return f"Structure({self})"


LEAF = Structure(None, None, ())


# --- how each type of container is taken apart and put together -----------------------------------


@final
@dataclasses.dataclass(frozen=True, slots=True)
class _Handler:
    """The rules of one type of container."""

    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]]
    unflatten: Callable[[type, Any, Sequence[Any]], Any]
    names: Callable[[Structure], list[str]]


def _positions(structure: Structure) -> list[str]:
    return [f"[{i}]" for i in range(len(structure.children))]


# The metadata of a dict: keys, their types (1, 1.0 and True are three keys), default factory.
_DictMetadata = tuple[tuple[Any, ...], tuple[type, ...], Any]


def _dict_flatten(tree: dict[Any, Any]) -> tuple[Iterable[Any], Hashable]:
    keys = tuple(tree)
    factory = tree.default_factory if isinstance(tree, defaultdict) else None
    return tuple(tree.values()), (keys, tuple(map(type, keys)), factory)


def _dict_unflatten(kind: type, metadata: _DictMetadata, children: Sequence[Any]) -> Any:
    items = zip(metadata[0], children, strict=True)
    return defaultdict(metadata[2], items) if kind is defaultdict else kind(items)


def _dict_names(structure: Structure) -> list[str]:
    metadata: Any = structure.metadata
    return [f"[{key!r}]" for key in metadata[0]]


_DICT = _Handler(_dict_flatten, _dict_unflatten, _dict_names)
_SEQUENCE = _Handler(
    lambda tree: (tree, None), lambda kind, _, children: kind(children), _positions
)
_NONE = _Handler(lambda _: ((), None), lambda _, __, ___: None, _positions)


def _named_tuple(kind: Any) -> _Handler:
    names = [f".{name}" for name in kind._fields]
    return _Handler(
        lambda tree: (tree, None), lambda _, __, children: kind._make(children), lambda _: names
    )


def _dataclass(kind: type) -> _Handler:
    fields = tuple(field.name for field in dataclasses.fields(kind))

    def children(tree: Any) -> tuple[Iterable[Any], Hashable]:
        return [getattr(tree, name) for name in fields], None

    def build(_: type, __: Any, values: Sequence[Any]) -> Any:
        # Not through __init__: it may check or convert what is not there yet while tracing.
        made: Any = object.__new__(kind)
        for name, value in zip(fields, values, strict=True):
            object.__setattr__(made, name, value)
        return made

    return _Handler(children, build, lambda _: [f".{name}" for name in fields])


# Every type met so far: its handler, or None for leaves.
_handlers: dict[type, _Handler | None] = {
    dict: _DICT,
    OrderedDict: _DICT,
    defaultdict: _DICT,
    list: _SEQUENCE,
    tuple: _SEQUENCE,
    type(None): _NONE,
}
_leaf_types: set[type] = set()
_lock = threading.Lock()


def _classify(kind: type) -> _Handler | None:
    handler: _Handler | None = None
    if issubclass(kind, tuple) and hasattr(kind, "_fields"):
        handler = _named_tuple(kind)
    elif dataclasses.is_dataclass(kind):
        handler = _dataclass(kind)
    with _lock:
        known = _handlers.setdefault(kind, handler)
        if known is None:
            _leaf_types.add(kind)
    return known


def _handler(kind: type) -> _Handler:
    handler = _handlers[kind]
    assert handler is not None
    return handler


def register_node(
    cls: type,
    flatten: Callable[[Any], tuple[Iterable[Any], Hashable]],
    unflatten: Callable[[Any, Sequence[Any]], Any],
) -> None:
    """Make the instances of a class containers.

    Parameters
    ----------
    cls : type
        Exactly this class, not its subclasses.
    flatten : callable
        ``flatten(instance) -> (children, metadata)``; the metadata is hashable and becomes part
        of the structure.
    unflatten : callable
        ``unflatten(metadata, children) -> instance``.

    Examples
    --------
    >>> class Pair:
    ...     def __init__(self, a, b):
    ...         self.a, self.b = a, b
    >>> register_node(Pair, lambda p: ((p.a, p.b), None), lambda _, children: Pair(*children))
    >>> flatten([Pair(1, 2), 3])
    ((1, 2, 3), Structure([Pair([0]=*, [1]=*), *]))
    """
    with _lock:
        _handlers[cls] = _Handler(
            flatten, lambda _, metadata, children: unflatten(metadata, children), _positions
        )
        _leaf_types.discard(cls)


# --- flatten and unflatten ------------------------------------------------------------------------

# The structures of containers that hold leaves only: most calls meet the same few again.
_flat_structures: dict[tuple[type, Hashable, int], Structure] = {}
_flat_tuples: dict[int, Structure] = {}
_MAX_REMEMBERED = 1_024


def _flat(kind: type, metadata: Hashable, length: int) -> Structure:
    structure = _flat_structures.get((kind, metadata, length))
    if structure is None:
        structure = Structure(kind, metadata, (LEAF,) * length)
        if len(_flat_structures) < _MAX_REMEMBERED:
            _flat_structures[kind, metadata, length] = structure
            if kind is tuple:
                _flat_tuples[length] = structure
    return structure


def flatten(tree: Any) -> tuple[tuple[Any, ...], Structure]:
    """Take a container apart.

    Parameters
    ----------
    tree : object
        A container, or a leaf.

    Returns
    -------
    leaves : tuple
        The leaves from left to right; dicts in the order of insertion.
    structure : Structure
        The rest; `unflatten` puts both together again.

    Raises
    ------
    ArgumentStructureError
        If a container contains itself.

    Examples
    --------
    >>> flatten(({"x": 1, "y": [2, 3]}, None, 4))
    ((1, 2, 3, 4), Structure(({'x': *, 'y': [*, *]}, None, *)))
    """
    if type(tree) is tuple and _leaf_types.issuperset(map(type, tree)):
        length = len(tree)
        return tree, _flat_tuples.get(length) or _flat(tuple, None, length)
    leaves: list[Any] = []
    structure = _flatten(tree, leaves, 0)
    return tuple(leaves), structure


def _flatten(tree: Any, leaves: list[Any], depth: int) -> Structure:
    kind = type(tree)
    if kind in _leaf_types:
        leaves.append(tree)
        return LEAF
    handler = _handlers[kind] if kind in _handlers else _classify(kind)
    if handler is None:
        leaves.append(tree)
        return LEAF
    if depth > _MAX_DEPTH:
        raise _TooDeep
    try:
        children, metadata = handler.flatten(tree)
        children = tuple(children)
        if _leaf_types.issuperset(map(type, children)):
            leaves.extend(children)
            return _flat(kind, metadata, len(children))
        structures = tuple([_flatten(child, leaves, depth + 1) for child in children])
    except _TooDeep:
        if depth:
            raise
        raise _depth_error(tree) from None
    return Structure(kind, metadata, structures)


def children(tree: Any) -> tuple[tuple[Any, ...], Hashable] | None:
    """The children and the metadata of a container, one level deep; None for a leaf.

    Examples
    --------
    >>> children([1, [2, 3]]), children(1)
    (((1, [2, 3]), None), None)
    """
    kind = type(tree)
    handler = _handlers[kind] if kind in _handlers else _classify(kind)
    if handler is None:
        return None
    found, metadata = handler.flatten(tree)
    return tuple(found), metadata


class _TooDeep(Exception):
    """Raised inside `flatten` only."""


def _depth_error(tree: Any) -> ArgumentStructureError:
    """Tell a container that contains itself from one that is just deep."""
    path: list[Any] = []
    open_: set[int] = set()
    stack: list[tuple[Any, bool]] = [(tree, True)]
    while stack:
        node, entering = stack.pop()
        handler = _handlers.get(type(node)) or _classify(type(node))
        if handler is None:
            continue
        if not entering:
            open_.discard(id(node))
            path.pop()
        elif id(node) in open_:
            return ArgumentStructureError(
                f"a {type(node).__name__} contains itself",
                remedy="pass a container without cycles",
            )
        elif len(path) > 2 * _MAX_DEPTH:
            break
        else:
            open_.add(id(node))
            path.append(node)
            stack.append((node, False))
            stack.extend((child, True) for child in handler.flatten(node)[0])
    return ArgumentStructureError(
        f"containers are nested more than {_MAX_DEPTH} deep",
        remedy="pass a flatter container",
    )


def unflatten(structure: Structure, leaves: Iterable[Any]) -> Any:
    """Put a container together.

    Parameters
    ----------
    structure : Structure
    leaves : iterable
        As many as the structure has.

    Returns
    -------
    object

    Examples
    --------
    >>> leaves, structure = flatten({"x": 1, "y": [2, 3]})
    >>> unflatten(structure, [10 * leaf for leaf in leaves])
    {'x': 10, 'y': [20, 30]}
    """
    leaves = tuple(leaves)
    if len(leaves) != structure.leaves:
        raise ArgumentStructureError(
            f"{len(leaves)} leaves for the structure {structure}, which has {structure.leaves}"
        )
    if structure is LEAF:
        return leaves[0]
    if structure is _flat_tuples.get(len(leaves)):
        return leaves
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Any) -> Any:
    kind = structure.container
    if kind is None:
        return next(leaves)
    children = [_unflatten(child, leaves) for child in structure.children]
    return _handler(kind).unflatten(kind, structure.metadata, children)


# --- names ----------------------------------------------------------------------------------------


def _child_names(structure: Structure) -> list[str]:
    return [] if structure.container is None else _handler(structure.container).names(structure)


def paths(structure: Structure, roots: Sequence[str] | None = None) -> tuple[str, ...]:
    """A name for each leaf, as one would write it to reach the leaf.

    Parameters
    ----------
    structure : Structure
    roots : sequence of str, optional
        The names of the outermost children; for the arguments of a call, its parameters.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> _, structure = flatten(({"x": [1, 2]}, 3))
    >>> paths(structure)
    ("[0]['x'][0]", "[0]['x'][1]", '[1]')
    >>> paths(structure, ("batch", "rate"))
    ("batch['x'][0]", "batch['x'][1]", 'rate')
    """
    found: list[str] = []
    if roots is None:
        _paths(structure, "", found)
    else:
        for child, name in zip(structure.children, roots, strict=True):
            _paths(child, name, found)
    return tuple(found)


def _paths(structure: Structure, prefix: str, found: list[str]) -> None:
    if structure is LEAF:
        found.append(prefix)
        return
    for child, name in zip(structure.children, _child_names(structure), strict=True):
        _paths(child, prefix + name, found)


def first_difference(
    expected: Structure, given: Structure, roots: Sequence[str] | None = None
) -> str | None:
    """Say in words where two structures differ first.

    Parameters
    ----------
    expected, given : Structure
    roots : sequence of str, optional
        As for `paths`.

    Returns
    -------
    str or None
        None if they are equal.

    Examples
    --------
    >>> a, b = flatten((1, {"x": 2}))[1], flatten((1, {"x": [2]}))[1]
    >>> first_difference(a, b, ("rate", "batch"))
    "batch['x'] was a leaf and is a list"
    """
    return None if expected == given else _difference(expected, given, "", roots)


def _kind(structure: Structure) -> str:
    if structure.container is None:
        return "a leaf"
    if structure.container is type(None):
        return "None"
    return f"a {structure.container.__name__}"


def _difference(
    expected: Structure, given: Structure, path: str, roots: Sequence[str] | None
) -> str:
    here = path or "the container"
    if expected.container is not given.container:
        return f"{here} was {_kind(expected)} and is {_kind(given)}"
    old, new = _child_names(expected), _child_names(given)
    if old != new:
        missing = [name for name in old if name not in new]
        extra = [name for name in new if name not in old]
        changes = [f"no longer has {name}" for name in missing] + [f"now has {n}" for n in extra]
        return f"{here} {' and '.join(changes) or 'has its keys in another order'}"
    for index, (one, other) in enumerate(zip(expected.children, given.children, strict=True)):
        if one != other:
            name = old[index] if roots is None else roots[index]
            return _difference(one, other, path + name, None)
    return f"{here} was {expected.metadata!r} and is {given.metadata!r}"
