"""Kernels to object code while others are still lowered: in modules of a few, by threads.

Knows texts of kernels, and how those that share a function are split; knows no graphs.

Which kernels share a module depends on their texts alone. A function that several kernels call, as
a register tile, is a module of its own: compiled once for all programs, and kept on disk.

Most kernels are *drafts* at first: compiled without optimisation, in an eighth of the time. Their
texts are kept, so that they can be compiled well when the step is used again (`improvement`). The
functions that they share are drafts, and in their modules, only where all that calls them does
little work, and nobody has compiled them before: the time of matrix products is spent there.
"""

from __future__ import annotations

import hashlib
import queue
import re
import threading
from collections.abc import Iterable, Sequence
from typing import final

from .. import config
from ..codegen.records import dataclass
from ..codegen.targets import llvm
from ..codegen.targets.base import Features
from . import cache, machine, preparation
from .record import KERNEL, OBJECTS, Draft, Object

__all__ = ["Emission", "symbol_of"]

_LEAST_TEXT = 12_000
"""A module has at least so many characters, or a thread takes longer to begin than to end."""
_LEAST_DRAFT = 24_000
_LEVEL, _DRAFT_LEVEL = 2, 0
_MOST_WORKERS = 7
_NOTHING = "define void @nothing() { ret void }"
_METADATA = "!0 = !{i32 1}\n"
_SHARED = re.compile(r"define internal [^@]*@([\w.$-]+)\(")
_DECLARED = re.compile(r"declare [^@]*(@[^(]+\()")
_CALLED = re.compile(r"call [^@]*@(fg\.[\w.$-]+)\(")


def symbol_of(text: str) -> str:
    """The name of the function whose text names it ``kernel``."""
    return KERNEL + hashlib.sha256(text.encode()).hexdigest()[:16]


@final
@dataclass(frozen=True)
class Code:
    """What an emission made.

    ``holds`` has for each of ``objects``, and then of ``drafts``, the names of its functions;
    ``made`` kernels were compiled, and ``kept`` keeps their code for others.
    """

    objects: tuple[bytes, ...]
    drafts: tuple[Draft, ...]
    holds: tuple[tuple[str, ...], ...]
    made: int
    kept: tuple[Object, ...]


@final
class _Module:
    """A module under construction."""

    def __init__(self, triple: str) -> None:
        self.head = f'target triple = "{triple}"'
        self.declarations: dict[str, None] = {}
        self.bodies: list[str] = []
        self.symbols: list[str] = []
        self.inside: set[str] = set()
        self.size = 0

    def write(self, declarations: Iterable[str], body: str) -> None:
        """One more function, with what it declares."""
        self.declarations.update(dict.fromkeys(declarations))
        self.bodies.append(body)
        self.size += len(body)

    def define(self, functions: Sequence[str]) -> None:
        """Functions of its own, each once; another module may have to have them again, so that they
        do not count in its size."""
        new = [line for line in functions if line not in self.inside]
        self.inside.update(new)
        self.bodies += new

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
    objects : bool
        Whether there shall be code; not so to tell what would be compiled.
    """

    def __init__(
        self,
        features: Features,
        objects: bool = True,
    ) -> None:
        self.features = features
        self._compiles = objects
        self.symbols: dict[str, tuple[str, bool]] = {}
        # The first line of each shared function, as others declare it.
        self._shared: dict[str, str] = {}
        # The symbols that there will be, and objects of other steps that have some of them.
        self._provided: set[str] = set()
        self._found: list[Object] = []
        self._symbols: dict[int, list[str]] = {}
        # The modules of shared functions.
        self._numbers: list[int] = []
        self._best = _Module(features.triple)
        self._draft = _Module(features.triple)
        self._made: list[bytes | BaseException] = []
        # The texts of drafts, by the number of their module.
        self._drafts: dict[int, str] = {}
        self._waiting: queue.SimpleQueue[tuple[int, str, int, bool]] = queue.SimpleQueue()
        self._open = threading.Semaphore(0)
        self._over = False
        self._workers: list[threading.Thread] = []
        self._most = min(config.available_cpus() - 1, _MOST_WORKERS)

    def add(self, text: str, finishes: bool, draft: bool = False, light: bool = False) -> None:
        """One more kernel, whose function is named ``kernel``; one that is known costs nothing.

        A `light` one does so little that what it calls may be a draft as well.
        """
        if text in self.symbols:
            return
        symbol = symbol_of(text)
        self.symbols[text] = symbol, finishes
        shared, declared, body = _parts(text.replace("@kernel", f"@{symbol}"))
        if draft and light and self._compiles:
            shared, inside = self._split(shared, declared)
        else:
            inside = []
        self._share(shared, declared)
        if symbol in self._provided or self._find(symbol):
            return
        self._provided.add(symbol)
        module = self._draft if draft else self._best
        module.symbols.append(symbol)
        own = [line for line in shared if line not in module.inside]
        module.write([*declared, *(self._shared[name] for name in map(_name, own))], body)
        module.define(inside)
        self._submit_large(_LEAST_TEXT, _LEAST_DRAFT)

    def _find(self, symbol: str) -> bool:
        """Whether an object of another step has a kernel, and goes together with the others."""
        found = OBJECTS.get((symbol, self.features)) if self._compiles else None
        if found is None or not self._provided.isdisjoint(found.symbols):
            return False
        self._provided.update(found.symbols)
        self._found.append(found)
        return True

    def __enter__(self) -> Emission:
        # The compiler itself takes its time when it runs first in a thread, or in the process.
        self._hire(1)
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def _end(self) -> None:
        """No thread begins a module any more, and none is at work."""
        self._over = True
        for _ in self._workers:
            self._open.release()
        for worker in self._workers:
            worker.join()

    def finish(self) -> Code:
        """The object code of all modules, and drafts; what a compiler raised is raised."""
        self._submit_large(1, 1)
        self._work()
        self._end()
        for made in self._made:
            if isinstance(made, BaseException):
                raise made
        codes = [c for c in self._made if isinstance(c, bytes)]
        shared = {self._symbols[n][0]: codes[n] for n in self._numbers}
        for known in self._found:
            shared = {**known.needs, **shared}
        own = [
            Object(
                Draft(code, self._drafts[n]) if n in self._drafts else code,
                tuple(self._symbols[n]),
                shared,
            )
            for n, code in enumerate(codes)
            if n not in self._numbers
        ]
        for known in own:
            known.note(self.features)
        kept = (*own, *self._found)
        plain = [o for o in kept if o.draft is None]
        drafts = [o for o in kept if o.draft is not None]
        return Code(
            (*shared.values(), *(o.code for o in plain)),
            tuple(o.draft for o in drafts if o.draft is not None),
            (*((name,) for name in shared), *(o.symbols for o in (*plain, *drafts))),
            sum(len(o.symbols) for o in own),
            kept,
        )

    def _share(self, functions: Iterable[str], declared: Sequence[str]) -> None:
        """Functions that kernels share, each a module of its own: others have it already."""
        new = {name: line for line in functions if (name := _name(line)) not in self._shared}
        for name, line in new.items():
            head = line[: line.index("{")]
            self._shared[name] = head.replace("define internal", "declare", 1)
        for name, line in new.items():
            self._submit(self._alone(name, line, declared), _LEVEL, shared=True)

    def _split(
        self, functions: Sequence[str], declared: Sequence[str]
    ) -> tuple[list[str], list[str]]:
        """Those that are code of their own, and those that go into the module of a draft."""
        known: list[str] = []
        inside: list[str] = []
        if any(map(_CALLED.search, functions)):
            return [*functions], inside
        for line in functions:
            name = _name(line)
            found = name in self._shared
            if not found:
                text = self._alone(name, line, declared).text()
                found = _found(text, self.features, _LEVEL) is not None
            (known if found else inside).append(line)
        return known, inside

    def _alone(self, name: str, line: str, declared: Sequence[str]) -> _Module:
        """A shared function as a module."""
        module = _Module(self.features.triple)
        used = [d for d in declared if (f := _DECLARED.match(d)) and f.group(1) in line]
        called = {n for n in _CALLED.findall(line) if n in self._shared} - {name}
        module.write(
            [*sorted(used), *sorted(self._shared[n] for n in called)],
            line.replace("define internal ", "define ", 1),
        )
        module.symbols.append(name)
        return module

    def _submit_large(self, least: int, least_draft: int) -> None:
        """Compile the modules that have so many characters."""
        if self._best.size >= least:
            self._submit(self._best, _LEVEL)
            self._best = _Module(self.features.triple)
        if self._draft.size >= least_draft:
            self._submit(self._draft, _DRAFT_LEVEL)
            self._draft = _Module(self.features.triple)

    def _submit(self, module: _Module, level: int, shared: bool = False) -> None:
        if not self._compiles:
            return
        number = len(self._made)
        self._made.append(b"")
        text = module.text()
        self._symbols[number] = module.symbols
        if shared:
            self._numbers.append(number)
        if level == _DRAFT_LEVEL:
            self._drafts[number] = text
        self._waiting.put((number, text, level, shared))
        self._open.release()
        self._hire(number + 1)

    def _hire(self, wanted: int) -> None:
        if self._compiles and len(self._workers) < min(self._most, wanted):
            worker = threading.Thread(target=self._run, daemon=True)
            worker.start()
            self._workers.append(worker)

    def _run(self) -> None:
        preparation.wait()
        llvm.compile_module(_NOTHING, self.features, _DRAFT_LEVEL)
        while not self._over:
            self._open.acquire()
            self._work(1)

    def _work(self, most: int | None = None) -> None:
        while most is None or most > 0:
            try:
                number, text, level, shared = self._waiting.get_nowait()
            except queue.Empty:
                return
            try:
                make = _shared_code if shared else llvm.compile_module
                self._made[number] = make(text, self.features, level)
            except BaseException as error:
                self._made[number] = error
            most = None if most is None else most - 1


def _parts(text: str) -> tuple[list[str], list[str], str]:
    """Of the text of a kernel the functions that it shares, what it declares, and its own."""
    head, _, body = f"\n{text}".partition("\n\n")
    if body.endswith(_METADATA):
        head, body = head + "\n" + _METADATA, body.removesuffix(_METADATA)
    lines = head.splitlines()
    shared = [line for line in lines if line.startswith("define internal ")]
    declared = [line for line in lines if line.startswith(("declare ", "!0 = "))]
    other = [line for line in lines if line and line not in shared and line not in declared]
    return shared, declared, "\n".join([*other, body])


def _name(line: str) -> str:
    """The name of the shared function that a line defines."""
    found = _SHARED.match(line)
    assert found is not None, line
    return found.group(1)


_known: dict[tuple[str, Features], bytes] = {}


def _shared_code(text: str, features: Features, level: int) -> bytes:
    """The object code of a function that programs share: of this process, from disk, or made."""
    code = _found(text, features, level)
    if code is None:
        code = _known[text, features] = llvm.compile_module(text, features, level)
        disk = cache.default()
        if disk is not None:
            disk.put(_key(text, features, level), {}, {"code": code})
    return code


def _found(text: str, features: Features, level: int) -> bytes | None:
    """The code of a shared function that this process or the disk has."""
    code = _known.get((text, features))
    disk = cache.default()
    if code is None and disk is not None:
        entry = disk.get(_key(text, features, level))
        if entry is not None:
            code = _known[text, features] = entry.blobs["code"]
    return code


def _key(text: str, features: Features, level: int) -> cache.Key:
    parts = [("kind", b"shared function"), machine.parts()[0], ("text", text.encode())]
    return cache.Key([*parts, ("target", repr((features, level)).encode())])
