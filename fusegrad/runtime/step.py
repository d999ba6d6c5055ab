"""A loaded step: from this process, from the disk, or compiled now.

Knows records, code and caches; knows no tensors and no user functions.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import os
import sys
import time
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, final

import numpy as np

from .. import config
from ..codegen.deferred import deferred
from ..codegen.program import Command, Loop, Program, Switch, While
from ..errors import CompileError, MemoryLimitError
from ..ir.digest import digest
from ..ir.node import Node
from . import cache, executor, improvement, loader, machine, memory, preparation, threads
from .calls import HostCall, find_calls, raising, resolve
from .foresight import Foresight
from .native import NativeLoop
from .record import Clock, Draft, Record, array_constants, noted, target

if TYPE_CHECKING:
    from . import build, tuning
else:
    build = deferred("fusegrad.runtime.build")
    tuning = deferred("fusegrad.runtime.tuning")

__all__ = ["Record", "Step", "Tuning", "load_step", "source_version", "target"]


# --- running --------------------------------------------------------------------------------------


@final
class Step:
    """A loaded step.

    Attributes
    ----------
    record : Record
    may_fail : bool
        Whether a call may raise: by functions of the host, or handlers of signals.

    Parameters
    ----------
    record : Record
    constants : sequence of array
    calls : sequence of HostCall or NativeLoop, optional
    save : callable, optional
        Keeps a better record; called once the drafts of this one are compiled well.
    """

    def __init__(
        self,
        record: Record,
        constants: Sequence[Any],
        calls: Sequence[HostCall | NativeLoop] = (),
        save: Callable[[Record], None] | None = None,
    ) -> None:
        self.record = record
        self.calls = tuple(calls)
        self._save = save
        self._used = False
        self._job: improvement.Job | None = None
        program = record.program
        self.constants = tuple(constants)
        self.libraries = [_loaded_code(record)]
        self.kernels = _addresses(record, self.libraries[0])
        self.words = self._words()
        self.table = self.words.buffer_info()[0]
        self.entry = executor.entry()
        self.may_fail = bool(calls) or _asks(program.commands, not record.donated)
        self.run = raising(self.entry.call) if self.may_fail else self.entry.call
        self.stride = -(-program.scratch_bytes // 64) * 64
        self.scratch_at = -(-program.arena_bytes // 4096) * 4096
        self.bytes = self.scratch_at + self.stride * threads.max_threads()
        self.arenas: list[memory.Block] = []
        # Addresses of constants, and room for those that loops move.
        self.fixed = [c.ctypes.data for c in self.constants] + [0] * program.cursors
        count = program.inputs + program.outputs + len(self.fixed)
        self.block = ctypes.c_uint64 * (4 + count)

    @property
    def arena_bytes(self) -> int:
        """The planned memory of one call: values, and private memory of every thread."""
        return self.record.program.arena_bytes + self.stride * threads.num_threads()

    def __call__(self, addresses: Sequence[int], count: int = 0) -> None:
        """Run once; `addresses` are those of inputs, then of (unique) outputs.

        At most `count` threads take part; 0: as many as there are.
        """
        self.use()
        arena = self.take_arena()
        start = arena.address
        scratch = start + self.scratch_at
        stride = self.stride | count << threads.THREADS_AT
        self.run(self.block(self.table, start, scratch, stride, *addresses, *self.fixed))
        self.arenas.append(arena)

    # --- better code ------------------------------------------------------------------------------

    def use(self) -> None:
        """A call comes: from the second one on, a thread compiles well what is a draft."""
        if self._used and self._job is None and self.record.drafts:
            self._job = improvement.Job(_improvement(weakref.ref(self)))
            improvement.later(self._job)
        self._used = True

    def improve(self) -> None:
        """Compile now what is a draft."""
        if self.record.drafts:
            self._job = self._job or improvement.Job(_improvement(weakref.ref(self)))
            self._job.finish()

    def replace_code(self, record: Record) -> None:
        """Use other code for the same program, also in calls that are under way."""
        # Those may be inside of the old code.
        self.libraries.append(_loaded_code(record))
        self.kernels = _addresses(record, self.libraries[-1])
        self.record = record
        for position, word in enumerate(self._words()):
            if self.words[position] != word:
                self.words[position] = word
        if self._save is not None:
            self._save(record)

    def _words(self) -> array[int]:
        # What is updated in place must not be left half-way.
        return executor.table(
            self.record.program,
            self.kernels,
            [c.address for c in self.calls],
            not self.record.donated,
        )

    def take_arena(self) -> memory.Block:
        """Memory for one call; the caller puts it back into `arenas`."""
        try:
            return self.arenas.pop()
        except IndexError:
            return memory.allocate(self.bytes)


def _loaded_code(record: Record) -> loader.Library | None:
    names = [n for s, f in record.symbols for n in ((s, f"{s}.finish") if f else (s,))]
    code = [*record.code, *(draft.code for draft in record.drafts)]
    return loader.load(code, names, {}) if code else None


def _addresses(record: Record, library: loader.Library | None) -> list[tuple[int, int]]:
    """Of each kernel the function, and the one that finishes it or 0."""
    if library is None:
        return []
    return [
        (library.address(s), library.address(f"{s}.finish") if f else 0) for s, f in record.symbols
    ]


def _improvement(reference: weakref.ref[Step]) -> Iterator[None]:
    """Compile the drafts of a step well, one in each piece; then the step uses that code."""
    features = target()
    code: list[bytes] = []
    while (step := reference()) is not None:
        record = step.record
        if len(code) == len(record.drafts):
            step.replace_code(replace(record, code=(*record.code, *code), drafts=()))
            return
        draft = record.drafts[len(code)]
        del step
        code.append(draft.improved(features))
        yield


def _asks(commands: Sequence[Command], interruptible: bool) -> bool:
    """Whether some loop asks for signals."""
    inside: list[Sequence[Command]] = []
    for command in commands:
        if isinstance(command, While) or (interruptible and isinstance(command, Loop)):
            return True
        if isinstance(command, Loop):
            inside.append(command.body)
        elif isinstance(command, Switch):
            inside += command.branches
    return any(_asks(block, interruptible) for block in inside)


class Tuning(NamedTuple):
    """How long the fastest ways to compute products are searched, and for how many threads.

    With 0 threads for as many as there are.
    """

    milliseconds: float
    threads: int


# A step lives as long as a compiled function uses it; after that the disk still has it.
_loaded: weakref.WeakValueDictionary[str, Step] = weakref.WeakValueDictionary()


def load_step(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    milliseconds: dict[str, float],
    observe: Callable[[build.Artifacts], None] | None = None,
    memory_limit: int | None = None,
    tune: Tuning | None = None,
) -> tuple[Step, str]:
    """The step for a graph: from this process, from disk, or compiled now.

    Parameters
    ----------
    milliseconds : dict
        The time of each stage is added to it.
    observe : callable, optional
        Called with the artifacts when the graph is compiled; given, the graph is compiled
        even if the disk has it.
    memory_limit : int, optional
        The most bytes of its arena.
    tune : Tuning, optional
        How long the fastest ways to compute its products are searched.

    Returns
    -------
    Step, str
        And where it came from: ``"process"``, ``"disk"`` or ``"compiled"``.
    """
    clock = Clock(milliseconds)
    if not machine.is_known():
        # The disk has nothing: the compiler is loaded while a thread opens LLVM.
        _load_compiler()
        clock.lap("imports")
    key = _key(outputs, inputs, donations, memory_limit, tune)
    clock.lap("digest")
    found = _loaded.get(key.digest)
    if found is not None and observe is None:
        return found, "process"
    disk = cache.default()
    record = _from_disk(disk, key) if disk is not None and observe is None else None
    origin = "disk" if record is not None else "compiled"
    clock.lap("cache")
    with Foresight() as foresight:
        if record is None:
            if disk is not None and "cache" in config.current().explain:
                sys.stderr.write(f"fusegrad: {disk.explain_miss(key)}\n")
            _load_compiler()
            clock.lap("imports")
            graph = outputs, inputs, donations
            record = _compiled(graph, milliseconds, observe, memory_limit, tune, foresight)
            clock.last = time.perf_counter()
            if disk is not None:
                _to_disk(disk, key, record)
            clock.lap("cache")
        save = None if disk is None else functools.partial(_to_disk, disk, key)
        data = [np.ascontiguousarray(n.op.data) for n in array_constants(outputs)]  # type: ignore[attr-defined]
        calls = resolve(record.program.calls, find_calls(outputs)) if record.program.calls else []
        step = Step(record, data, calls, save)
        step.arenas.append(step.take_arena())
    _loaded[key.digest] = step
    clock.lap("load")
    return step, origin


def _compiled(
    graph: tuple[Sequence[Node], Sequence[Node], Sequence[tuple[int, int]]],
    milliseconds: dict[str, float],
    observe: Callable[[build.Artifacts], None] | None,
    memory_limit: int | None,
    tune: Tuning | None,
    foresight: Foresight,
) -> Record:
    """The record of a graph that nobody has compiled."""
    artifacts = build.Artifacts(expect=foresight.expect)
    try:
        tuner = None if tune is None else tuning.Tuner(*tune)
        record = build.build_record(*graph, artifacts, memory_limit, tuner=tuner)
    except MemoryLimitError:
        raise
    except RuntimeError as error:
        raise CompileError(f"LLVM refuses the code of this graph: {error}") from error
    for stage, value in artifacts.milliseconds.items():
        milliseconds[stage] = milliseconds.get(stage, 0.0) + value
    if observe is not None:
        observe(artifacts)
    preparation.wait()
    return record


def _load_compiler() -> None:
    preparation.begin()
    importlib.import_module(f"{__package__}.build")


def _key(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    memory_limit: int | None,
    tune: Tuning | None,
) -> cache.Key:
    features = target()
    # What is the fastest depends on how many threads there are.
    tuned = tune and (tune.milliseconds, tune.threads or threads.num_threads())
    return cache.Key(
        [
            ("graph", digest(outputs, inputs)),
            ("donations", repr(tuple(donations)).encode()),
            ("memory", repr(memory_limit).encode()),
            ("tuning", repr(tuned).encode()),
            ("target", repr(features).encode()),
            ("llvm", machine.machine().llvm.encode()),
            ("fusegrad", source_version()),
        ]
    )


_COMPILER = ("autodiff", "codegen", "ir", "lower", "ops", "passes", "runtime")
"""What others do is in the graph."""


@functools.cache
def source_version() -> bytes:
    """What changes when the compiler itself does: the size and time of each of its files."""
    package = str(Path(__file__).resolve().parents[1])
    folders = [os.path.join(package, name) for name in _COMPILER]
    found: list[tuple[str, int, int]] = []
    while folders:
        folder = folders.pop()
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            if name.endswith(".py"):
                status = os.stat(path)
                found.append((path[len(package) :], status.st_size, status.st_mtime_ns))
            elif "." not in name and name != "__pycache__" and os.path.isdir(path):
                folders.append(path)
    return repr(sorted(found)).encode()


def _from_disk(disk: cache.DiskCache, key: cache.Key) -> Record | None:
    entry = disk.get(key)
    if entry is None:
        return None
    h = entry.header
    record = Record(
        Program.from_json(h["program"]),
        tuple((s, bool(f)) for s, f in h["symbols"]),
        tuple(h["outputs"]),
        tuple((o, i) for o, i in h["donated"]),
        h["kernels"],
        tuple(entry.blobs[f"object{n}"] for n in range(h["objects"])),
        tuple(
            Draft(entry.blobs[f"draft{n}"], entry.blobs[f"text{n}"].decode())
            for n in range(h["drafts"])
        ),
        tuple(map(tuple, h["holds"])),
    )
    return noted(record)


def _to_disk(disk: cache.DiskCache, key: cache.Key, record: Record) -> None:
    header = {
        "program": record.program.to_json(),
        "symbols": [list(s) for s in record.symbols],
        "outputs": list(record.outputs),
        "donated": [list(d) for d in record.donated],
        "kernels": record.kernels,
        "holds": [list(names) for names in record.holds],
    }
    header["objects"], header["drafts"] = len(record.code), len(record.drafts)
    blobs = {f"object{n}": code for n, code in enumerate(record.code)}
    for n, draft in enumerate(record.drafts):
        blobs[f"draft{n}"], blobs[f"text{n}"] = draft.code, draft.text.encode()
    disk.put(key, header, blobs)
