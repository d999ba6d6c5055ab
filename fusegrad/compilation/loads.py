"""Which names a piece of Python code reads: globals, attributes, and modules that it imports.

Knows bytecode by the names that `dis` gives its instructions; runs nothing.
"""

from __future__ import annotations

import dis
import functools
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

__all__ = ["Loads", "loads_of"]

_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"})
_BY_NAME = frozenset({"getattr", "hasattr"})
_BY_ANY = frozenset({"vars", "dir", "attrgetter", "eval", "exec", "__dict__"})
_TEXT = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "BUILD_STRING"})


@final
@dataclass(frozen=True)
class Loads:
    """What a code object and those inside of it read.

    Attributes
    ----------
    scope : tuple of str
        Names that may be globals.
    attributes : tuple of str
        Names of attributes.
    probed : tuple of str
        Attributes that may be absent: strings beside `getattr` and `hasattr`.
    imports : tuple of str
        Modules imported by the code.
    any : bool
        Whether attributes may be read whose names are not in the code.
    """

    scope: tuple[str, ...]
    attributes: tuple[str, ...]
    probed: tuple[str, ...]
    imports: tuple[str, ...]
    any: bool


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


@functools.lru_cache(1024)
def loads_of(code: types.CodeType) -> Loads:
    """What the code reads, in the order of first use.

    Examples
    --------
    >>> loads = loads_of(compile("model.scale * getattr(model, 'shift')", "", "eval"))
    >>> loads.scope, loads.attributes, loads.probed
    (('model', 'getattr'), ('scale',), ('shift',))
    """
    scope: dict[str, None] = {}
    attributes: dict[str, None] = {}
    probed: dict[str, None] = {}
    imports: dict[str, None] = {}
    dynamic = False
    for part in _codes(code):
        used: set[str] = set()
        written = False
        for instruction in dis.get_instructions(part):
            name = instruction.opname
            if name in _GLOBAL:
                scope[instruction.argval] = None
                used.add(instruction.argval)
            elif name in _ATTRIBUTE:
                attributes[instruction.argval] = None
                used.add(instruction.argval)
            elif name == "IMPORT_NAME":
                imports[instruction.argval] = None
            written = written or name in _TEXT
        if used & _BY_NAME:
            texts = [t for t in part.co_consts if isinstance(t, str) and t.isidentifier()]
            probed.update(dict.fromkeys(texts))
            dynamic = dynamic or written or not texts
        dynamic = dynamic or bool(used & _BY_ANY)
    return Loads(tuple(scope), tuple(attributes), tuple(probed), tuple(imports), dynamic)
