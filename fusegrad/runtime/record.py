"""What a compilation leaves: the record of a step, the target it is for, and the time it took.

Knows programs and settings; compiles nothing, so that a step from the disk needs no compiler.
"""

from __future__ import annotations

import time
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, final

from .. import config
from ..codegen.deferred import deferred
from ..codegen.program import Program
from ..codegen.records import dataclass
from ..codegen.targets import base
from ..errors import ConfigError
from ..ir.node import Node, all_nodes
from ..ops.source import ArrayConstant
from . import machine

if TYPE_CHECKING:
    from ..codegen.targets import llvm, nvptx
    from ..lower import Lowered
else:
    llvm = deferred("fusegrad.codegen.targets.llvm")
    nvptx = deferred("fusegrad.codegen.targets.nvptx")

__all__ = [
    "KERNEL",
    "OBJECTS",
    "Clock",
    "DeviceRecord",
    "Draft",
    "Object",
    "Record",
    "array_constants",
    "noted",
    "target",
]


@final
@dataclass(frozen=True)
class Draft:
    """A module that was compiled fast, and its text, to compile it well."""

    code: bytes
    text: str
    _made: dict[base.Features, bytes] = field(default_factory=dict, compare=False, repr=False)

    def improved(self, features: base.Features) -> bytes:
        """The object code of the module, optimised; made once for all steps that have it."""
        if features not in self._made:
            self._made[features] = llvm.compile_module(self.text, features)
        return self._made[features]


@final
class Object:
    """The code of a module, for as long as a step has it: others need not compile its kernels.

    Attributes
    ----------
    code : bytes
    draft : Draft or None
        If it was compiled fast.
    symbols : tuple of str
        Its kernels.
    needs : dict
        The code of the functions that it may call, by name.
    """

    def __init__(
        self, made: bytes | Draft, symbols: tuple[str, ...], needs: Mapping[str, bytes]
    ) -> None:
        self.draft = made if isinstance(made, Draft) else None
        self.code = made.code if isinstance(made, Draft) else made
        self.symbols = symbols
        self.needs = needs

    def note(self, features: base.Features) -> None:
        """Let other steps find it."""
        OBJECTS.update(((symbol, features), self) for symbol in self.symbols)


OBJECTS: weakref.WeakValueDictionary[tuple[str, base.Features], Object]
OBJECTS = weakref.WeakValueDictionary()
"""The object that has a kernel, by the kernel's name, which says all of its code."""


def noted(record: Record) -> Record:
    """A record from the disk, whose kernels other steps need not compile again."""
    made: tuple[bytes | Draft, ...] = (*record.code, *record.drafts)
    parts = list(zip(made, record.holds, strict=True))
    shared = {
        names[0]: code
        for code, names in parts
        if isinstance(code, bytes) and not names[0].startswith(KERNEL)
    }
    objects = tuple(Object(m, names, shared) for m, names in parts if names[0].startswith(KERNEL))
    features = target()
    for found in objects:
        found.note(features)
    return replace(record, objects=objects)


KERNEL = "fg_"
"""How the names of kernels begin."""


@final
@dataclass(frozen=True)
class Record:
    """What a process needs to run a step it did not compile: plain data and object code.

    ``drafts`` is object code too, to be compiled better when the step is used again.
    ``holds`` has for each of ``code``, and then of ``drafts``, the names of its functions.
    ``made`` kernels were compiled for it, and ``objects`` keeps its code for other steps: both
    are of this process alone.
    """

    program: Program
    symbols: tuple[tuple[str, bool], ...]
    outputs: tuple[int, ...]
    donated: tuple[tuple[int, int], ...]
    kernels: int
    code: tuple[bytes, ...]
    drafts: tuple[Draft, ...] = ()
    holds: tuple[tuple[str, ...], ...] = ()
    made: int = 0
    objects: tuple[Object, ...] = ()


@final
@dataclass(frozen=True)
class DeviceRecord:
    """A step for a GPU: its program, and the kernels that the program launches, none in a draft.

    ``code`` is empty where the step is from the disk: the driver has its code. ``spans`` has for
    each kernel the bytes of every argument, and whether it is read and whether it is written.
    """

    program: Program
    code: tuple[Lowered, ...]
    outputs: tuple[int, ...]
    donated: tuple[tuple[int, int], ...]
    kernels: int
    spans: tuple[tuple[tuple[int, bool, bool], ...], ...] = ()
    drafts: tuple[()] = ()
    made: int = 0


def target() -> base.Features:
    """The machine that code is made for, as FUSEGRAD_TARGET says.

    Raises
    ------
    ConfigError
        If there is no such target, or this machine cannot run its code.
    """
    name = config.current().target or "host"
    try:
        # With a GPU's name explain is for that GPU, and calls run here.
        is_gpu = name.startswith("sm_") and bool(nvptx.processor(name))
        named = machine.features() if is_gpu else _named(name)
    except ValueError as error:
        raise ConfigError(f"FUSEGRAD_TARGET: {error}", remedy="name one of them") from None
    if named.vector_bytes > machine.features().vector_bytes:
        raise ConfigError(
            f"FUSEGRAD_TARGET is {name}, whose instructions this machine does not have",
            remedy="name a narrower target, or unset it",
        )
    return named


def _named(name: str) -> base.Features:
    return machine.features() if name == "host" else base.named(name)


@final
class Clock:
    """Milliseconds by stage: each lap ends one."""

    def __init__(self, milliseconds: dict[str, float]) -> None:
        self.milliseconds = milliseconds
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """The time since the last lap belongs to `stage`."""
        now = time.perf_counter()
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + (now - self.last) * 1e3
        self.last = now


def array_constants(outputs: Sequence[Node]) -> list[Node]:
    """Array constants, in the order in which programs number them."""
    return [n for n in all_nodes(outputs) if isinstance(n.op, ArrayConstant)]
