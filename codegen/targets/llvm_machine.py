"""Text of LLVM modules to objects and to assembly.

Knows LLVM's code generator; knows no kernels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import library
from .base import Features

__all__ = ["assembly", "compile_module"]

_FREE: dict[tuple[Features, int], list[int]] = {}
"""Code generators that no thread is using."""


@contextmanager
def _machine(target: Features, level: int) -> Iterator[int]:
    """A code generator for `target` that no other thread uses meanwhile."""
    free = _FREE.setdefault((target, level), [])
    try:
        machine = free.pop()
    except IndexError:
        machine = library.target_machine(target.triple, target.cpu, target.features, level)
    try:
        yield machine
    finally:
        free.append(machine)


def compile_module(ir: str, target: Features, level: int = 2, *, verify: bool = False) -> bytes:
    """The object file of a module; no passes run but the code generator's.

    Several threads may do this at the same time.

    Parameters
    ----------
    ir : str
        LLVM IR.
    target : Features
    level : int, optional
        The level of the code generator, 0 to 3.
    verify : bool, optional
        Whether LLVM checks the text first; it takes what it gets otherwise.

    Raises
    ------
    RuntimeError
        If LLVM refuses the text.
    """
    with _machine(target, level) as machine:
        return library.compiled(ir, machine, verify=verify)


def assembly(ir: str, target: Features, level: int = 2) -> str:
    """The assembly text of a module, to read."""
    with _machine(target, level) as machine:
        return library.compiled(ir, machine, readable=True).decode()
