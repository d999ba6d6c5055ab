"""Which names a piece of Python code reads: globals, attributes, and modules that it imports.

Knows bytecode by the names that `dis` gives its instructions; runs nothing.

What code only updates (``count += 1``, ``log.append(x)``) it does not read: no result depends on
it.
"""

from __future__ import annotations

import collections
import dis
import functools
import types
from collections.abc import Iterator
from typing import final

from ..codegen.records import dataclass

__all__ = ["Loads", "loads_of"]

_GLOBAL = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "IMPORT_FROM"})
_BY_NAME = frozenset({"getattr", "hasattr"})
_BY_ANY = frozenset({"vars", "dir", "attrgetter", "eval", "exec", "__dict__"})
_TEXT = frozenset({"FORMAT_VALUE", "FORMAT_SIMPLE", "BUILD_STRING"})
_FREE = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_STORES = frozenset({"STORE_GLOBAL", "STORE_NAME", "STORE_DEREF", "STORE_ATTR"})
_SIMPLE = frozenset({"LOAD_CONST", "LOAD_FAST", "LOAD_SMALL_INT", "LOAD_FAST_BORROW"})
_GROWING = frozenset(
    {"append", "extend", "insert", "appendleft", "add", "update", "clear", "setdefault"}
)
"""Methods that change a container; `setdefault` counts where its result is dropped."""


@final
@dataclass(frozen=True)
class Loads:
    """What a code object and those inside of it read.

    Attributes
    ----------
    scope : tuple of str
        Names that may be globals.
    free : frozenset of str
        Variables of enclosing functions.
    attributes : tuple of str
        Names of attributes.
    probed : tuple of str
        Attributes that may be absent: strings beside `getattr` and `hasattr`.
    imports : tuple of str
        Modules imported by the code.
    updated : frozenset of str
        Attributes that the code changes and does not read otherwise.
    stored : frozenset of str
        Attributes, globals and variables of enclosing functions that the code assigns, or whose
        items it does.
    loaded : frozenset of str
        Those that it loads, be it for an update alone.
    any : bool
        Whether attributes may be read whose names are not in the code.
    """

    scope: tuple[str, ...]
    free: frozenset[str]
    attributes: tuple[str, ...]
    probed: tuple[str, ...]
    imports: tuple[str, ...]
    updated: frozenset[str]
    stored: frozenset[str]
    loaded: frozenset[str]
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
    reads: collections.Counter[tuple[str, str]] = collections.Counter()
    probed: dict[str, None] = {}
    imports: dict[str, None] = {}
    stored: set[str] = set()
    dynamic = False
    for part in _codes(code):
        instructions = list(dis.get_instructions(part))
        used: set[str] = set()
        for position, instruction in enumerate(instructions):
            kind = _kind(instruction)
            if kind is not None:
                used.add(instruction.argval)
                # Where all reads are part of an update nothing is left.
                reads[kind, instruction.argval] += _reads(instructions, position)
            elif instruction.opname == "IMPORT_NAME":
                imports[instruction.argval] = None
            elif instruction.opname in _STORES:
                stored.add(instruction.argval)
                if _is_update(instructions, position):
                    reads[_STORED[instruction.opname], instruction.argval] -= 1
        if used & _BY_NAME:
            texts = [t for t in part.co_consts if isinstance(t, str) and t.isidentifier()]
            probed.update(dict.fromkeys(texts))
            written = any(i.opname in _TEXT for i in instructions)
            dynamic = dynamic or written or not texts
        dynamic = dynamic or bool(used & _BY_ANY)
    scope, free, attributes = (
        [n for (k, n), count in reads.items() if k == kind and count > 0] for kind in _KINDS
    )
    updated = [n for (k, n), count in reads.items() if k == "attribute" and count <= 0]
    # What is only updated may be a container that grows.
    stored.update(n for (_, n), count in reads.items() if count <= 0)
    return Loads(
        tuple(scope),
        frozenset(free),
        tuple(attributes),
        tuple(probed),
        tuple(imports),
        frozenset(updated),
        frozenset(stored),
        frozenset(name for _, name in reads),
        dynamic,
    )


_KINDS = ("scope", "free", "attribute")
_STORED = {
    "STORE_GLOBAL": "scope",
    "STORE_NAME": "scope",
    "STORE_DEREF": "free",
    "STORE_ATTR": "attribute",
}


def _kind(instruction: dis.Instruction) -> str | None:
    """What kind of name an instruction reads."""
    name = instruction.opname
    if name in _GLOBAL:
        return "scope"
    if name in _FREE:
        return "free"
    return "attribute" if name in _ATTRIBUTE else None


def _reads(instructions: list[dis.Instruction], position: int) -> int:
    """0 if a value is loaded only to be changed, as in ``log.append(x)`` and ``table[i] += x``."""
    after = [i.opname for i in instructions[position + 1 : position + 5]]
    if not after:
        return 1
    following = instructions[position + 1]
    if after[0] in _ATTRIBUTE and following.argval in _GROWING:
        return int(not _dropped(instructions, position))
    if after[0] in _SIMPLE or after[0] in _GLOBAL | _FREE:
        return int(
            after[1:2] != ["STORE_SUBSCR"] and after[1:4] != ["COPY", "COPY", "BINARY_SUBSCR"]
        )
    return 1


def _dropped(instructions: list[dis.Instruction], start: int) -> bool:
    """Whether the result of the call that begins with this instruction is dropped."""
    begin = instructions[start].positions
    if begin is None or begin.col_offset is None:
        return False
    for position, instruction in enumerate(instructions[start + 1 : -1], start + 1):
        at = instruction.positions
        if (
            instruction.opname.startswith("CALL")
            and at is not None
            and (at.lineno, at.col_offset) == (begin.lineno, begin.col_offset)
        ):
            return instructions[position + 1].opname == "POP_TOP"
    return False


def _is_update(instructions: list[dis.Instruction], position: int) -> bool:
    """Whether a store is that of an augmented assignment."""
    for before in reversed(instructions[max(0, position - 2) : position]):
        if before.opname == "BINARY_OP" and before.argrepr.endswith("="):
            return True
        if before.opname not in ("SWAP", "ROT_TWO", *_SIMPLE, *_GLOBAL, *_FREE):
            return False
    return False
