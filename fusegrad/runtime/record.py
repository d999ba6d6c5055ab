"""What a compilation leaves: the record of a step, the target it is for, and the time it took.

Knows programs and settings; compiles nothing, so that a step from the disk needs no compiler.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
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

__all__ = ["Clock", "DeviceRecord", "Draft", "Record", "array_constants", "target"]


@final
@dataclass(frozen=True)
class Draft:
    """A module that was compiled fast, and its text, to compile it well."""

    code: bytes
    text: str

    def improved(self, features: base.Features) -> bytes:
        """The object code of the module, optimised."""
        return llvm.compile_module(self.text, features)


@final
@dataclass(frozen=True)
class Record:
    """What a process needs to run a step it did not compile: plain data and object code.

    ``drafts`` is object code too, to be compiled better when the step is used again.
    """

    program: Program
    symbols: tuple[tuple[str, bool], ...]
    outputs: tuple[int, ...]
    donated: tuple[tuple[int, int], ...]
    kernels: int
    code: tuple[bytes, ...]
    drafts: tuple[Draft, ...] = ()


@final
@dataclass(frozen=True)
class DeviceRecord:
    """A step for a GPU: its program, and the kernels that the program launches, none in a draft.

    ``code`` is empty where the step is from the disk: the driver has its code.
    """

    program: Program
    code: tuple[Lowered, ...]
    outputs: tuple[int, ...]
    donated: tuple[tuple[int, int], ...]
    kernels: int
    drafts: tuple[()] = ()


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
