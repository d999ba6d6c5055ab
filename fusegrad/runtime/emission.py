"""Kernels to object code while others are still lowered: in modules of a few, by threads.

Knows texts of kernels, and how those that share a function are split; knows no graphs.

Which kernels share a module depends on their texts alone. A function that several kernels call, as
a register tile, stands in the first module that needs it; the others import it.
"""

from __future__ import annotations

import hashlib
import queue
import re
import threading
from collections.abc import Callable
from typing import final

from .. import config
from ..codegen.targets import llvm
from ..codegen.targets.base import Features

__all__ = ["Emission", "symbol_of"]

_LEAST_TEXT = 12_000
"""A module has at least so many characters, or a thread takes longer to begin than to end."""
_MOST_WORKERS = 7
_SHARED = re.compile(r"define internal [^@]*@([\w.$-]+)\(")


def symbol_of(text: str) -> str:
    """The name of the function whose text names it ``kernel``."""
    return "fg_" + hashlib.sha256(text.encode()).hexdigest()[:16]


@final
class _Module:
    """A module under construction."""

    def __init__(self, triple: str) -> None:
        self.head = f'target triple = "{triple}"'
        self.declarations: dict[str, None] = {}
        self.bodies: list[str] = []
        self.size = 0

    def text(self) -> str:
        """The module as LLVM IR."""
        return "\n".join([self.head, *self.declarations, *self.bodies, ""])


@final
class Emission:
    """The kernels of one step, in the order in which they come.

    Parameters
    ----------
    features : Features
        The machine.
    first : callable, optional
        What a thread does before it compiles: something else that is needed soon.
    """

    def __init__(self, features: Features, first: Callable[[], object] | None = None) -> None:
        self.features = features
        self.symbols: dict[str, tuple[str, bool]] = {}
        self._defined: set[str] = set()
        self._module = _Module(features.triple)
        self._objects: list[bytes | BaseException] = []
        self._waiting: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self._submitted = 0
        self._open = threading.Semaphore(0)
        self._over = False
        self._first = first
        self._workers: list[threading.Thread] = []

    def add(self, text: str, finishes: bool) -> None:
        """One more kernel, whose function is named ``kernel``; one that is known costs nothing."""
        if text in self.symbols:
            return
        symbol = symbol_of(text)
        self.symbols[text] = symbol, finishes
        module = self._module
        for line in text.replace("@kernel", f"@{symbol}").splitlines():
            if line.startswith("define internal "):
                self._share(module, line)
            elif line.startswith(("declare ", "!0 = ")):
                module.declarations[line] = None
            else:
                module.bodies.append(line)
                module.size += len(line)
        if module.size >= _LEAST_TEXT:
            self._submit()

    def __enter__(self) -> Emission:
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        self._over = True
        for _ in self._workers:
            self._open.release()

    def finish(self) -> tuple[bytes, ...]:
        """The object code of all modules; what a compiler raised is raised."""
        if self._module.bodies:
            self._submit()
        self._end()
        self._work()
        for worker in self._workers:
            worker.join()
        for made in self._objects:
            if isinstance(made, BaseException):
                raise made
        return tuple(made for made in self._objects if isinstance(made, bytes))

    def _share(self, module: _Module, line: str) -> None:
        found = _SHARED.match(line)
        assert found is not None, line
        name = found.group(1)
        if name not in self._defined:
            self._defined.add(name)
            module.declarations[line.replace("define internal ", "define ", 1)] = None
            module.size += len(line)
        elif not any(d.startswith("define ") and f"@{name}(" in d for d in module.declarations):
            module.declarations[line[: line.index("{")].replace("define internal", "declare")] = (
                None
            )

    def _submit(self) -> None:
        self._objects.append(b"")
        self._waiting.put((self._submitted, self._module.text()))
        self._submitted += 1
        self._module = _Module(self.features.triple)
        self._open.release()
        most = min(config.available_cpus() - 1, _MOST_WORKERS)
        if len(self._workers) < min(most, self._submitted):
            first = self._first if not self._workers else None
            worker = threading.Thread(target=self._run, args=(first,), daemon=True)
            worker.start()
            self._workers.append(worker)

    def _run(self, first: Callable[[], object] | None) -> None:
        if first is not None:
            first()
        while not self._over:
            self._open.acquire()
            self._work(1)

    def _work(self, most: int | None = None) -> None:
        while most is None or most > 0:
            try:
                number, text = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                self._objects[number] = llvm.compile_module(text, self.features)
            except BaseException as error:
                self._objects[number] = error
            most = None if most is None else most - 1
