"""A step on a GPU: its kernels, its memory, and how its program runs.

Knows records and GPUs; knows no tensors. A step whose commands do not depend on values is captured
the second time that it is called with the same addresses, and asked for as one piece from then on.
"""

from __future__ import annotations

import ctypes
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, final

import numpy as np
import numpy.typing as npt

from ..codegen.deferred import deferred
from ..codegen.program import (
    Call,
    Command,
    Copy,
    Cursor,
    Group,
    Launch,
    Loop,
    Program,
    Rotation,
    Slot,
    SlotKind,
    Switch,
    While,
)
from ..ir.digest import digest
from ..ir.node import Node
from ..ir.types import TensorType, TupleType
from . import cache
from .calls import Callee, find_calls, raising, resolve
from .devices import GPU, DeviceBlock, DeviceKernel, products
from .locks import recursive_lock
from .profile import Timing
from .record import Clock, DeviceRecord, array_constants
from .step import source_version

if TYPE_CHECKING:
    from . import build, device_build
else:
    build = deferred("fusegrad.runtime.build")
    device_build = deferred("fusegrad.runtime.device_build")

__all__ = ["DeviceStep", "load_device_step", "workspace_bytes"]

_MOST_CAPTURED = 8
"""How many captured forms of a step are kept: its outputs move between a few places."""
_ALIGNMENT = 16
"""What kernels take for granted of their arguments' addresses."""
_WORKSPACE_ALIGNMENT = 256
_MOST_COMMANDS = 20_000
"""Steps of more commands, as long loops have, are asked for one command after the other."""

_HostFunction = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.POINTER(ctypes.c_void_p))


@final
class DeviceStep:
    """A loaded step.

    Attributes
    ----------
    record : DeviceRecord
    gpu : GPU
    may_fail : bool
        Whether a run may end early, so that nothing may have been written that others see.
    """

    def __init__(
        self,
        gpu: GPU,
        record: DeviceRecord,
        code: Any,
        constants: Sequence[npt.NDArray[Any]],
        callees: Sequence[Callee],
    ) -> None:
        self.gpu = gpu
        self.record = record
        program = record.program
        self.functions = gpu.driver.load(gpu.index, code)
        # Behind the planned arena lies what one kernel needs at a time.
        self.workspace_at = -(-program.arena_bytes // _WORKSPACE_ALIGNMENT) * _WORKSPACE_ALIGNMENT
        self.workspace_bytes = gpu.driver.workspace(code)
        self.blocks = [_uploaded(gpu, c) for c in constants]
        self.callees = tuple(callees)
        # What the functions of the host are lives as long as the step.
        self.calls = resolve(program.calls, {c.symbol: c for c in callees})
        self.arena: DeviceBlock | None = None
        self._asides: dict[tuple[int, int], DeviceBlock] = {}
        self.lock = recursive_lock()
        self.captured: dict[tuple[int, ...], Any] = {}
        self.may_fail = bool(program.calls) or _count(program.commands) == math.inf
        self.fixed = not program.calls and _count(program.commands) <= _MOST_COMMANDS
        self._runs = raising(self._run) if program.calls else self._run

    @property
    def arena_bytes(self) -> int:
        """The memory of one call: what was planned, and the workspace of its kernels."""
        if not self.workspace_bytes:
            return self.record.program.arena_bytes
        return self.workspace_at + self.workspace_bytes

    def __call__(self, addresses: Sequence[int], count: int = 0) -> None:
        """Ask for one run; `addresses` are those of inputs, then of (unique) outputs."""
        with self.lock:
            if self.arena is None:
                self.arena = self.gpu.allocate(self.arena_bytes)
            key = tuple(addresses)
            if not self.fixed:
                self._runs(key)
                return
            work = self.captured.pop(key, None)
            if work is None:
                self._runs(key)
                work = _SEEN
            else:
                if work is _SEEN:
                    work = self.gpu.driver.capture(self.gpu.index, lambda: self._runs(key))
                self.gpu.driver.replay(self.gpu.index, work)
            # The last one is the one used last.
            self.captured[key] = work
            while len(self.captured) > _MOST_CAPTURED:
                del self.captured[next(iter(self.captured))]

    def timed(self, addresses: Sequence[int], rounds: int) -> list[Timing]:
        """Run it several times, every launch between two marks; the first time warms up."""
        timings: dict[int, Timing] = {}
        driver, index = self.gpu.driver, self.gpu.index
        with self.lock:
            if self.arena is None:
                self.arena = self.gpu.allocate(self.arena_bytes)
            for number in range(1 + rounds):
                run = _Run(self, tuple(addresses), self.arena.address)
                marks: list[tuple[Launch | Call | Copy, Any, Any]] = []
                run.marks = marks
                run.block(self.record.program.commands)
                if not number:
                    continue
                for timing in timings.values():
                    timing.times.append([])
                for command, before, after in marks:
                    timing = timings.setdefault(id(command), Timing(command, [[]]))
                    taken = driver.seconds(index, before, after)
                    timing.times[-1].append(round(taken * 1e9))
        return list(timings.values())

    def aside(self, kernel: int, position: int, nbytes: int) -> int:
        """Memory for an argument of a kernel that is not aligned where it lies."""
        block = self._asides.get((kernel, position))
        if block is None:
            block = self._asides[kernel, position] = self.gpu.allocate(nbytes)
        return block.address

    def _run(self, addresses: tuple[int, ...]) -> None:
        assert self.arena is not None
        try:
            _Run(self, addresses, self.arena.address).block(self.record.program.commands)
        except _Ended:
            # What the function of the host raised is raised by `raising`.
            return


class _Ended(Exception):
    """A function of the host failed."""


_SEEN = object()
"""In place of captured work: the step ran once with these addresses."""


def _count(commands: Sequence[Command]) -> float:
    """How many commands run; infinite where that depends on values."""
    total = 0.0
    for command in commands:
        if isinstance(command, (While, Switch)):
            return math.inf
        total += command.trips * _count(command.body) if isinstance(command, Loop) else 1
    return total


def _uploaded(gpu: GPU, values: npt.NDArray[Any]) -> DeviceBlock:
    block = gpu.allocate(values.nbytes)
    gpu.driver.upload(gpu.index, block.address, values.ctypes.data, values.nbytes)
    return block


@final
class _Run:
    """One run of a program: where its slots are, and its commands one after the other."""

    def __init__(self, step: DeviceStep, addresses: Sequence[int], arena: int) -> None:
        program = step.record.program
        self.step = step
        self.driver, self.index = step.gpu.driver, step.gpu.index
        self.starts = {
            SlotKind.INPUT: list(addresses[: program.inputs]),
            SlotKind.OUTPUT: list(addresses[program.inputs :]),
            SlotKind.CONSTANT: [block.address for block in step.blocks],
            SlotKind.CURSOR: [0] * program.cursors,
        }
        self.arena = arena
        self.workspace = arena + step.workspace_at
        self.marks: list[tuple[Launch | Call | Copy, Any, Any]] | None = None

    def at(self, slot: Slot) -> int:
        """The address of a slot."""
        if slot.kind is SlotKind.ARENA:
            return self.arena + slot.index
        return self.starts[slot.kind][slot.index]

    def block(self, commands: Sequence[Command]) -> None:
        """Commands in their order."""
        for command in commands:
            if self.marks is None:
                self.command(command)
            elif isinstance(command, Group):
                for launch in command.launches:
                    self.marked(launch, Group((launch,)))
            elif isinstance(command, (Call, Copy)):
                self.marked(command, command)
            else:
                self.command(command)

    def marked(self, key: Launch | Call | Copy, command: Command) -> None:
        """One command between two marks."""
        assert self.marks is not None
        before = self.driver.mark(self.index)
        self.command(command)
        self.marks.append((key, before, self.driver.mark(self.index)))

    def command(self, command: Command) -> None:
        match command:
            case Group(launches):
                for e in launches:
                    places = [self.at(slot) for slot in e.slots]
                    if any(place % _ALIGNMENT for place in places):
                        self.launch_aside(e, places)
                        continue
                    self.launch(e, places)
            case Copy(target, source, count):
                self.driver.copy(self.index, self.at(target), self.at(source), count)
            case Call(callee, slots):
                self.call(callee, slots)
            case Loop(trips, cursors, rotations, body):
                self.enter(cursors)
                for _ in range(trips):
                    self.block(body)
                    self.move(cursors, rotations)
            case While(condition, cursors, rotations, test, body):
                self.enter(cursors)
                self.block(test)
                while self.value(condition, np.dtype(np.bool_)):
                    self.block(body)
                    self.move(cursors, rotations)
                    self.block(test)
            case Switch(index, branches):
                number = int(self.value(index, np.dtype(np.int64)))
                self.block(branches[min(max(number, 0), len(branches) - 1)])

    def launch(self, launch: Launch, places: Sequence[int]) -> None:
        function = self.step.functions[launch.kernel]
        self.driver.launch(self.index, function, places, launch.sizes, self.workspace)

    def launch_aside(self, launch: Launch, places: list[int]) -> None:
        """Run a kernel on copies of the arguments that are not aligned, as slices may be."""
        spans = self.step.record.spans[launch.kernel]
        moved = [n for n, place in enumerate(places) if place % _ALIGNMENT]
        aside = list(places)
        for n in moved:
            nbytes, read, _ = spans[n]
            aside[n] = self.step.aside(launch.kernel, n, nbytes)
            if read:
                self.driver.copy(self.index, aside[n], places[n], nbytes)
        self.launch(launch, aside)
        for n in moved:
            nbytes, _, written = spans[n]
            if written:
                self.driver.copy(self.index, places[n], aside[n], nbytes)

    def enter(self, cursors: Sequence[Cursor]) -> None:
        places = self.starts[SlotKind.CURSOR]
        for c in cursors:
            places[c.index] = self.at(c.start) + c.offset

    def move(self, cursors: Sequence[Cursor], rotations: Sequence[Rotation]) -> None:
        places = self.starts[SlotKind.CURSOR]
        for c in cursors:
            places[c.index] += c.step
        for r in rotations:
            written, spare = places[r.following], places[r.spare]
            places[r.current] = places[r.spare] = written
            places[r.following] = spare

    def value(self, slot: Slot, dtype: np.dtype[Any]) -> Any:
        """A number that the host has to know."""
        found = np.empty((), dtype)
        self.driver.download(self.index, found.ctypes.data, self.at(slot), dtype.itemsize)
        return found[()]

    def call(self, number: int, slots: Sequence[Slot]) -> None:
        """A function of the host, on copies of its operands."""
        callee = self.step.callees[number]
        kind = callee.op.infer(*callee.operands)
        results = kind.items if isinstance(kind, TupleType) else (kind,)
        arrays = [_empty(t) for t in (*callee.operands, *results)]
        places = list(zip(slots, arrays, strict=True))
        for slot, array in places[: len(callee.operands)]:
            self.driver.download(self.index, array.ctypes.data, self.at(slot), array.nbytes)
        table = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        if _HostFunction(self.step.calls[number].address)(table):
            raise _Ended
        for slot, array in places[len(callee.operands) :]:
            self.driver.upload(self.index, self.at(slot), array.ctypes.data, array.nbytes)


def _empty(kind: TensorType) -> npt.NDArray[Any]:
    return np.zeros(kind.shape, kind.dtype.numpy)  # type: ignore[arg-type]


# The steps that were used last: operations outside of compiled functions come again and again.
_loaded: OrderedDict[tuple[Any, ...], DeviceStep] = OrderedDict()
_MOST_LOADED = 256
_lock = recursive_lock()


def load_device_step(
    gpu: GPU,
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    milliseconds: dict[str, float],
    observe: Callable[[build.Artifacts], None] | None = None,
    memory_limit: int | None = None,
) -> tuple[DeviceStep, str]:
    """The step for a graph on a GPU: from this process, from disk, or compiled now.

    Returns
    -------
    DeviceStep, str
        And where it came from: ``"process"``, ``"disk"`` or ``"compiled"``.
    """
    clock = Clock(milliseconds)
    with _lock:
        tf32 = products.tf32
        graph = digest(outputs, inputs)
        own = (gpu, graph, tuple(donations), tf32, memory_limit)
        clock.lap("digest")
        found = _loaded.get(own)
        if found is not None and observe is None:
            _loaded.move_to_end(own)
            return found, "process"
        disk = cache.default()
        key = _key(gpu, graph, donations, tf32, memory_limit)
        stored = _from_disk(gpu, disk, key) if disk is not None and observe is None else None
        clock.lap("cache")
        if stored is None:
            given = outputs, inputs, donations
            record = _compiled(given, memory_limit, milliseconds, observe)
            clock.lap("load")
            code = _built(gpu, record, tf32)
            if disk is not None:
                _to_disk(gpu, disk, key, record, code)
            clock.lap("code")
        else:
            record, code = stored
        data = [np.ascontiguousarray(n.op.data) for n in array_constants(outputs)]  # type: ignore[attr-defined]
        known = find_calls(outputs) if record.program.calls else {}
        callees = [known[symbol] for symbol in record.program.calls]
        step = DeviceStep(gpu, record, code, data, callees)
        clock.lap("load")
        _loaded[own] = step
        while len(_loaded) > _MOST_LOADED:
            _loaded.popitem(last=False)
    return step, "compiled" if stored is None else "disk"


def _built(gpu: GPU, record: DeviceRecord, tf32: bool) -> Any:
    """The code of a step that was compiled now."""
    kernels = [DeviceKernel.of(e, gpu.target, tf32) for e in record.code]
    return gpu.driver.build(gpu.index, kernels)


def workspace_bytes(gpu: GPU, record: DeviceRecord) -> int:
    """What the kernels of a step that was compiled now need besides the planned arena."""
    return gpu.driver.workspace(_built(gpu, record, products.tf32))


def _compiled(
    given: tuple[Sequence[Node], Sequence[Node], Sequence[tuple[int, int]]],
    memory_limit: int | None,
    milliseconds: dict[str, float],
    observe: Callable[[build.Artifacts], None] | None,
) -> DeviceRecord:
    artifacts = build.Artifacts()
    record = device_build.build_device_record(*given, artifacts, memory_limit)
    for stage, value in artifacts.milliseconds.items():
        milliseconds[stage] = milliseconds.get(stage, 0.0) + value
    if observe is not None:
        observe(artifacts)
    return record


# --- on the disk ----------------------------------------------------------------------------------


def _key(
    gpu: GPU,
    graph: bytes,
    donations: Sequence[tuple[int, int]],
    tf32: bool,
    memory_limit: int | None,
) -> cache.Key:
    return cache.Key(
        [
            ("kind", b"device step"),
            ("graph", graph),
            ("donations", repr(tuple(donations)).encode()),
            ("precision", repr(tf32).encode()),
            ("memory", repr(memory_limit).encode()),
            ("target", f"{gpu.target} {gpu.driver.identity(gpu.index)}".encode()),
            ("fusegrad", source_version()),
        ]
    )


def _from_disk(gpu: GPU, disk: cache.DiskCache, key: cache.Key) -> tuple[DeviceRecord, Any] | None:
    entry = disk.get(key)
    if entry is None:
        return None
    h = entry.header
    record = DeviceRecord(
        Program.from_json(h["program"]),
        (),
        tuple(h["outputs"]),
        tuple((o, i) for o, i in h["donated"]),
        h["kernels"],
        tuple(tuple((n, r, w) for n, r, w in spans) for spans in h["spans"]),
    )
    return record, gpu.driver.restored(h["code"], entry.blobs["code"])


def _to_disk(
    gpu: GPU, disk: cache.DiskCache, key: cache.Key, record: DeviceRecord, code: Any
) -> None:
    stored = gpu.driver.stored(code)
    if stored is None:
        return
    header = {
        "program": record.program.to_json(),
        "outputs": list(record.outputs),
        "donated": [list(d) for d in record.donated],
        "kernels": record.kernels,
        "spans": [list(map(list, spans)) for spans in record.spans],
        "code": stored[0],
    }
    disk.put(key, header, {"code": stored[1]})
