"""From a graph to a native step: passes, fusion, lowering, schedule, code, plan, caches.

Knows every stage by name; knows no tensors and no user functions.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np

from .. import config
from ..codegen.program import Program, verify_program
from ..codegen.schedule.cpu import Mapped, schedule
from ..codegen.targets import base, llvm
from ..codegen.verify import verify_kernel
from ..errors import CompileError, ConfigError
from ..ir.digest import digest
from ..ir.node import Node, toposort
from ..lower import Lowered, lower_region
from ..lower.equal import structure_of
from ..ops import build
from ..ops.source import ArrayConstant
from ..passes.fuse import fuse, is_leaf
from ..passes.pipeline import run_passes
from ..passes.regions import Region, size_of
from . import cache, executor, loader, memory, threads
from .plan import Plan, Task, plan

__all__ = ["Artifacts", "Record", "Step", "build_record", "load_step", "target"]


@final
@dataclass(frozen=True)
class Record:
    """What a process needs to run a step it did not compile: plain data and object code."""

    program: Program
    symbols: tuple[tuple[str, bool], ...]
    outputs: tuple[int, ...]
    donated: tuple[tuple[int, int], ...]
    kernels: int
    code: bytes


@final
@dataclass
class Artifacts:
    """What the stages made, for explain and dumps; not kept otherwise."""

    graphs: list[tuple[str, tuple[Node, ...]]] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    lowered: list[Lowered] = field(default_factory=list)
    mapped: list[Mapped] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kernel_numbers: list[int] = field(default_factory=list)
    ir: str = ""
    plan: Plan | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)


def target() -> base.Features:
    """The machine that code is made for, as FUSEGRAD_TARGET says.

    Raises
    ------
    ConfigError
        If there is no such target, or this machine cannot run its code.
    """
    name = config.current().target or "host"
    try:
        named = base.named(name)
    except ValueError as error:
        raise ConfigError(f"FUSEGRAD_TARGET: {error}", remedy="name one of them") from None
    if named.vector_bytes > base.host().vector_bytes:
        raise ConfigError(
            f"FUSEGRAD_TARGET is {name}, whose instructions this machine does not have",
            remedy="name a narrower target, or unset it",
        )
    return named


# --- building -------------------------------------------------------------------------------------


@final
class _Clock:
    def __init__(self, milliseconds: dict[str, float]) -> None:
        self.milliseconds = milliseconds
        self.last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.milliseconds[stage] = self.milliseconds.get(stage, 0.0) + (now - self.last) * 1e3
        self.last = now


def build_record(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    artifacts: Artifacts | None = None,
) -> Record:
    """Compile a graph.

    Parameters
    ----------
    outputs : sequence of Node
    inputs : sequence of Node
        The variables, in the order in which the step gets their addresses.
    donations : sequence of (int, int)
        (output, input) positions that the caller would like to share memory.
    artifacts : Artifacts, optional
        Filled with what every stage made.

    Returns
    -------
    Record
    """
    made = artifacts if artifacts is not None else Artifacts()
    clock = _Clock(made.milliseconds)
    check = config.current().check
    features = target()
    made.graphs.append(("trace", tuple(outputs)))
    simplified = run_passes(
        outputs,
        verify=check,
        observe=lambda name, graph, _: made.graphs.append((name, tuple(graph))),
    )
    clock.lap("passes")
    unique: dict[Node, int] = {}
    positions = []
    for node in simplified:
        written = build.stop_gradient(node) if is_leaf(node) else node
        positions.append(unique.setdefault(written, len(unique)))
    roots = list(unique)
    made.regions = fuse(roots)
    clock.lap("fuse")
    wanted = _read_outside(made.regions, roots)
    mapped_donations = _mapped_donations(donations, positions, roots, inputs)
    kept_cached = {roots[o] for o, _ in mapped_donations} | {
        n for r in made.regions for s in r.stages for n in s.access.reads
    }
    first = _lower(made, wanted)
    clock.lap("lower")
    _schedule(made, first, set(unique) - kept_cached, features)
    clock.lap("schedule")
    if check:
        _verify(made)
    texts: list[str] = []
    for number, m in enumerate(made.mapped):
        same = made.mapped[first[number]] is m and first[number] < number
        texts.append(texts[first[number]] if same else _kernel_text(m, features))
    kernels, made.ir = _emit(texts, made.mapped, features)
    numbers = {text: n for n, text in enumerate(kernels)}
    made.kernel_numbers = [numbers[text] for text in texts]
    clock.lap("emit")
    code = llvm.compile_module(made.ir, features) if kernels else b""
    clock.lap("llvm")
    constants = _constants(outputs)
    made.plan = _plan(made, roots, (inputs, constants), mapped_donations, features)
    if check:
        verify_program(made.plan.program, len(kernels))
    clock.lap("plan")
    return Record(
        made.plan.program,
        tuple((symbol, finishes) for symbol, finishes in kernels.values()),
        tuple(positions),
        made.plan.donated,
        sum(1 for _ in made.plan.program.groups),
        code,
    )


def _lower(made: Artifacts, wanted: dict[int, frozenset[Node]]) -> list[int]:
    """Lower every region; equal ones once.

    Returns
    -------
    list of int
        For each region, the first one that is equal to it.
    """
    known: dict[Any, int] = {}
    orders: list[list[Node]] = []
    first = []
    for number, region in enumerate(made.regions):
        outside = wanted[region.number]
        key, order = structure_of(region, outside)
        orders.append(order)
        earlier = known.setdefault(key, number)
        first.append(earlier)
        name = _name(region, number)
        made.names.append(name)
        if earlier == number:
            made.lowered.append(lower_region(region, outside, name))
            continue
        model = made.lowered[earlier]
        same = dict(zip(orders[earlier], order, strict=True))
        arguments = tuple(same[n] for n in model.arguments)
        made.lowered.append(replace(model, arguments=arguments))
    return first


def _schedule(
    made: Artifacts, first: Sequence[int], streamable: set[Node], features: base.Features
) -> None:
    """Map every kernel; equal ones once.

    Large outputs that nobody reads go around the cache where the kernel moves more than it holds.
    """
    streams: list[frozenset[int]] = []
    for number, lowered in enumerate(made.lowered):
        moved = sum(
            _nbytes(a) for a in {lowered.arguments[p] for p in (*lowered.read, *lowered.written)}
        )
        stream = frozenset(
            p
            for p in lowered.written
            if lowered.arguments[p] in streamable
            and moved > features.l3_bytes
            and _nbytes(lowered.arguments[p]) > features.l2_bytes
        )
        streams.append(stream)
        earlier = first[number]
        if earlier < number and streams[earlier] == stream:
            made.mapped.append(made.mapped[earlier])
            continue
        buffers = frozenset(lowered.kernel.params[p].buffer for p in stream)
        made.mapped.append(schedule(lowered.kernel, lowered.items, features, buffers))


def _verify(made: Artifacts) -> None:
    for lowered, mapped in zip(made.lowered, made.mapped, strict=True):
        verify_kernel(lowered.kernel)
        verify_kernel(mapped.kernel)


def _nbytes(node: Node) -> int:
    return size_of(node) * node.dtype.itemsize


def _read_outside(regions: Sequence[Region], roots: Sequence[Node]) -> dict[int, frozenset[Node]]:
    """For each region, its values that others read."""
    home = {n: r.number for r in regions for n in r.nodes}
    result: dict[int, set[Node]] = {r.number: set() for r in regions}
    for root in roots:
        if root in home:
            result[home[root]].add(root)
    for region in regions:
        for stage in region.stages:
            for node in stage.access.reads:
                if node in home and home[node] != region.number:
                    result[home[node]].add(node)
    return {number: frozenset(nodes) for number, nodes in result.items()}


def _mapped_donations(
    donations: Sequence[tuple[int, int]],
    positions: Sequence[int],
    roots: Sequence[Node],
    inputs: Sequence[Node],
) -> list[tuple[int, int]]:
    """Donations between unique outputs and inputs, each used once."""
    result: list[tuple[int, int]] = []
    written: set[int] = set()
    given: set[int] = set()
    for output, source in donations:
        position = positions[output]
        same = roots[position].type == inputs[source].type
        if same and position not in written and source not in given:
            written.add(position)
            given.add(source)
            result.append((position, source))
    return result


def _name(region: Region, number: int) -> str:
    """A name that says what the kernel does: its last ops."""
    words: list[str] = []
    for stage in region.stages:
        word = stage.node.op.name
        if word not in words:
            words.append(word)
    return f"k{number}_" + "_".join(words[:4])


def _emit(
    texts: Sequence[str], mapped: Sequence[Mapped], features: base.Features
) -> tuple[dict[str, tuple[str, bool]], str]:
    """One module with every different kernel once.

    Returns
    -------
    dict, str
        From the text of a kernel to (symbol, whether it has a finish), in order; the module.
    """
    kernels: dict[str, tuple[str, bool]] = {}
    declarations: dict[str, None] = {}
    bodies: list[str] = []
    for text, m in zip(texts, mapped, strict=True):
        if text in kernels:
            continue
        symbol = "fg_" + hashlib.sha256(text.encode()).hexdigest()[:16]
        kernels[text] = (symbol, m.finishes)
        for line in text.replace("@kernel", f"@{symbol}").splitlines():
            if line.startswith(("declare ", "define internal ", "!0 = ")):
                declarations[line] = None
            else:
                bodies.append(line)
    head = f'target triple = "{features.triple}"'
    return kernels, "\n".join([head, *declarations, *bodies, ""])


def _kernel_text(mapped: Mapped, features: base.Features) -> str:
    return llvm.emit_kernel(replace(mapped.kernel, name="kernel"), features)


def _plan(
    made: Artifacts,
    roots: Sequence[Node],
    leaves: tuple[Sequence[Node], Sequence[Node]],
    donations: Sequence[tuple[int, int]],
    features: base.Features,
) -> Plan:
    inputs, constants = leaves
    scratch = 0
    tasks = []
    nbytes: dict[Any, int] = {}
    for number, lowered, mapped in zip(made.kernel_numbers, made.lowered, made.mapped, strict=True):
        layout = llvm.kernel_layout(mapped.kernel, features)
        scratch = max(scratch, layout.scratch_bytes)
        strides = iter(layout.partial_strides)
        private = tuple((p, next(strides) * mapped.chunks) for p in lowered.partial)
        for node in lowered.arguments:
            nbytes[node] = _nbytes(node)
        tasks.append(
            Task(
                number,
                lowered.arguments,
                frozenset(lowered.arguments[p] for p in lowered.read),
                frozenset(lowered.arguments[p] for p in lowered.written),
                private,
                tuple((lowered.arguments[w], lowered.arguments[r]) for w, r in lowered.in_place),
                (lowered.items,) * len(mapped.kernel.sizes),
                mapped.items,
                mapped.grain,
                mapped.chunks,
            )
        )
    return plan("step", tasks, inputs, roots, constants, nbytes, donations, scratch)


# --- running --------------------------------------------------------------------------------------


@final
class Step:
    """A loaded step.

    Attributes
    ----------
    record : Record
    """

    def __init__(self, record: Record, constants: Sequence[Any]) -> None:
        self.record = record
        program = record.program
        names = [n for s, f in record.symbols for n in ((s, f"{s}.finish") if f else (s,))]
        self.constants = tuple(constants)
        if record.code:
            self.library = loader.load(record.code, names, {})
            kernels = [
                (self.library.address(s), self.library.address(f"{s}.finish") if f else 0)
                for s, f in record.symbols
            ]
        else:
            kernels = []
        self.words = executor.table(program, kernels)
        self.table = self.words.buffer_info()[0]
        self.entry = executor.entry()
        self.run = self.entry.call
        self.stride = -(-program.scratch_bytes // 64) * 64
        self.scratch_at = -(-program.arena_bytes // 4096) * 4096
        self.bytes = self.scratch_at + self.stride * threads.max_threads()
        self.arenas: list[memory.Block] = []
        self.fixed = [c.ctypes.data for c in self.constants]
        count = program.inputs + program.outputs + program.constants
        self.block = ctypes.c_uint64 * (4 + count)

    @property
    def arena_bytes(self) -> int:
        """The planned memory of one call: values, and private memory of every thread."""
        return self.record.program.arena_bytes + self.stride * threads.num_threads()

    def __call__(self, addresses: Sequence[int]) -> None:
        """Run once; `addresses` are those of inputs, then of (unique) outputs."""
        arena = self.take_arena()
        start = arena.address
        scratch = start + self.scratch_at
        self.run(self.block(self.table, start, scratch, self.stride, *addresses, *self.fixed))
        self.arenas.append(arena)

    def take_arena(self) -> memory.Block:
        """Memory for one call; the caller puts it back into `arenas`."""
        try:
            return self.arenas.pop()
        except IndexError:
            return memory.allocate(self.bytes)


# A step lives as long as a compiled function uses it; after that the disk still has it.
_loaded: weakref.WeakValueDictionary[str, Step] = weakref.WeakValueDictionary()


def load_step(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    milliseconds: dict[str, float],
    observe: Callable[[Artifacts], None] | None = None,
) -> tuple[Step, str]:
    """The step for a graph: from this process, from disk, or compiled now.

    Parameters
    ----------
    milliseconds : dict
        The time of each stage is added to it.
    observe : callable, optional
        Called with the artifacts when the graph is compiled; given, the graph is compiled
        even if the disk has it.

    Returns
    -------
    Step, str
        And where it came from: ``"process"``, ``"disk"`` or ``"compiled"``.
    """
    clock = _Clock(milliseconds)
    key = _key(outputs, inputs, donations)
    clock.lap("digest")
    found = _loaded.get(key.digest)
    if found is not None and observe is None:
        return found, "process"
    disk = cache.default()
    record = _from_disk(disk, key) if disk is not None and observe is None else None
    origin = "disk" if record is not None else "compiled"
    clock.lap("cache")
    if record is None:
        if disk is not None and "cache" in config.current().explain:
            sys.stderr.write(f"fusegrad: {disk.explain_miss(key)}\n")
        artifacts = Artifacts()
        try:
            record = build_record(outputs, inputs, donations, artifacts)
        except RuntimeError as error:
            raise CompileError(f"LLVM refuses the code of this graph: {error}") from error
        for stage, value in artifacts.milliseconds.items():
            milliseconds[stage] = milliseconds.get(stage, 0.0) + value
        if observe is not None:
            observe(artifacts)
        clock.last = time.perf_counter()
        if disk is not None:
            _to_disk(disk, key, record)
        clock.lap("cache")
    data = [np.ascontiguousarray(n.op.data) for n in _constants(outputs)]  # type: ignore[attr-defined]
    step = Step(record, data)
    _loaded[key.digest] = step
    clock.lap("load")
    return step, origin


def _constants(outputs: Sequence[Node]) -> list[Node]:
    """Array constants, in the order in which programs number them."""
    return [n for n in toposort(outputs) if isinstance(n.op, ArrayConstant)]


def _key(
    outputs: Sequence[Node], inputs: Sequence[Node], donations: Sequence[tuple[int, int]]
) -> cache.Key:
    features = target()
    return cache.Key(
        [
            ("graph", digest(outputs, inputs)),
            ("donations", repr(tuple(donations)).encode()),
            ("target", repr(features).encode()),
            ("llvm", loader.host_parts()[0][1]),
            ("fusegrad", _source_version()),
        ]
    )


@functools.cache
def _source_version() -> bytes:
    """What changes when fusegrad itself does: the size and time of each of its files."""
    package = Path(__file__).resolve().parents[1]
    folders = (package, package / "codegen")
    files = sorted({f for folder in folders for f in folder.rglob("*.py")})
    stats = [(str(f.relative_to(package)), f.stat()) for f in files]
    return repr([(name, s.st_size, s.st_mtime_ns) for name, s in stats]).encode()


def _from_disk(disk: cache.DiskCache, key: cache.Key) -> Record | None:
    entry = disk.get(key)
    if entry is None:
        return None
    h = entry.header
    return Record(
        Program.from_json(h["program"]),
        tuple((s, bool(f)) for s, f in h["symbols"]),
        tuple(h["outputs"]),
        tuple((o, i) for o, i in h["donated"]),
        h["kernels"],
        entry.blobs["object"],
    )


def _to_disk(disk: cache.DiskCache, key: cache.Key, record: Record) -> None:
    header = {
        "program": record.program.to_json(),
        "symbols": [list(s) for s in record.symbols],
        "outputs": list(record.outputs),
        "donated": [list(d) for d in record.donated],
        "kernels": record.kernels,
    }
    disk.put(key, header, {"object": record.code})
