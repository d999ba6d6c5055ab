"""Nested arguments and results, taken apart and put together by Python text for one structure.

Knows structures of tuples, lists, dicts whose keys are text, and None; all others are `pytree`'s.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import pytree

__all__ = ["Taker", "builder", "taker"]

Taker = Callable[[tuple[Any, ...]], "tuple[Any, ...] | None"]


def taker(structure: pytree.Structure) -> Taker | None:
    """A function that gives the leaves of arguments, None for those of another structure.

    A container where the structure has a leaf is given as one: whoever takes leaves looks at their
    types. None if the structure has other containers than plain ones.

    Examples
    --------
    >>> take = taker(pytree.flatten(({"x": 1, "y": [2, 3]}, 4))[1])
    >>> take(({"x": 5, "y": [6, 7]}, 8))
    (5, 6, 7, 8)
    >>> take(({"x": 5, "z": [6, 7]}, 8)) is None
    True
    """
    if not _is_plain(structure):
        return None
    lines, leaves, names = ["def take(t):"], list[str](), dict[str, Any]()
    waiting = [("t", structure)]
    while waiting:
        name, part = waiting.pop()
        if part is pytree.LEAF:
            leaves.append(name)
            continue
        if part.container is type(None):
            lines.append(f" if {name} is not None: return None")
            continue
        children = [f"{name}_{i}" for i in range(len(part.children))]
        known = {tuple: "tuple", list: "list", dict: "dict"}[part.container]  # type: ignore[index]
        lines.append(f" if type({name}) is not {known} or len({name}) != {len(children)}: return")
        if known == "dict":
            names[f"k_{name}"] = _keys(part)
            lines.append(f" if tuple({name}) != k_{name}: return")
        if children:
            values = f"{name}.values()" if known == "dict" else name
            lines.append(f" {', '.join(children)}, = {values}")
        waiting += reversed(list(zip(children, part.children, strict=True)))
    lines.append(f" return ({''.join(f'{leaf}, ' for leaf in leaves)})")
    exec("\n".join(lines), names)
    made: Taker = names["take"]
    return made


def builder(structure: pytree.Structure) -> Callable[[Sequence[Any]], Any] | None:
    """A function from leaves to what has the structure; None as for `taker`.

    Examples
    --------
    >>> builder(pytree.flatten({"x": 1, "y": [2, (3,), None]})[1])((4, 5, 6))
    {'x': 4, 'y': [5, (6,), None]}
    """
    if not _is_plain(structure):
        return None
    count = 0

    def text(part: pytree.Structure) -> str:
        nonlocal count
        if part is pytree.LEAF:
            count += 1
            return f"t[{count - 1}]"
        inside = [text(child) for child in part.children]
        if part.container is tuple:
            return f"({''.join(f'{i}, ' for i in inside)})"
        if part.container is list:
            return f"[{', '.join(inside)}]"
        if part.container is dict:
            return (
                f"{{{', '.join(f'{k!r}: {i}' for k, i in zip(_keys(part), inside, strict=True))}}}"
            )
        return "None"

    names: dict[str, Any] = {}
    exec(f"def build(t): return {text(structure)}", names)
    made: Callable[[Sequence[Any]], Any] = names["build"]
    return made


_MOST_LEAVES = 64
"""What has more takes longer to compute than to take apart."""
_DEEPEST = 8


def _is_plain(structure: pytree.Structure, depth: int = 0) -> bool:
    kind = structure.container
    if kind is None or kind is type(None):
        return True
    if kind not in (tuple, list, dict) or structure.leaves > _MOST_LEAVES or depth > _DEEPEST:
        return False
    if kind is dict and not all(type(key) is str for key in _keys(structure)):
        return False
    return all(_is_plain(child, depth + 1) for child in structure.children)


def _keys(structure: pytree.Structure) -> tuple[Any, ...]:
    metadata: Any = structure.metadata
    keys: tuple[Any, ...] = metadata[0]
    return keys
