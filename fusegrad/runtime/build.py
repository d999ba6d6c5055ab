"""From a graph to the record of a step: passes, fusion, lowering, schedule, code, plan.

Knows every stage by name; runs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import Any, final

from .. import config
from ..autodiff.body import Body
from ..autodiff.loop import While
from ..codegen.program import Call, verify_program
from ..codegen.records import dataclass
from ..codegen.schedule.choices import AnyChoice
from ..codegen.schedule.cpu import Mapped, schedule
from ..codegen.targets import base, llvm
from ..codegen.verify import verify_kernel
from ..ir.node import Node
from ..lower import Lowered, lower_region
from ..lower.equal import structure_of
from ..ops import build
from ..ops.base import CallOp
from ..ops.identities import Barrier
from ..passes.between import fuse_between
from ..passes.library_values import made_again, sums_to_keep
from ..passes.pipeline import GPU_PASSES, PASSES, Observer, run_passes
from ..passes.recompute import kept_bytes, within
from ..passes.regions import Kind, Region, is_leaf, results_of
from .bodies import Planned, body_task, functions_of, most_trips
from .calls import callee_of
from .emission import Emission, symbol_of
from .limit import Goal, NotWorthwhile, within_limit
from .plan import Alias, CommandTask, Plan, Task, plan
from .record import Clock, Record, array_constants, target
from .tuning import Tuner
from .worth import bytes_of, nbytes_of, worth_of

__all__ = [
    "Artifacts",
    "Planner",
    "Unit",
    "analyse",
    "build_record",
    "lowered_regions",
    "nbytes_of",
    "shared_outputs",
    "units_inside",
]


@final
@dataclass
class Artifacts:
    """What the stages made, for explain and dumps; not kept otherwise.

    ``expect`` is told about how many bytes the arena will have, long before the plan is there.
    """

    graphs: list[tuple[str, tuple[Node, ...]]] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    lowered: list[Lowered] = field(default_factory=list)
    mapped: list[Mapped] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    kernel_names: list[str] = field(default_factory=list)
    kernel_numbers: list[int] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    sizes: list[tuple[int, ...]] = field(default_factory=list)
    plan: Plan | None = None
    milliseconds: dict[str, float] = field(default_factory=dict)
    expect: Callable[[int], object] = field(default=lambda _: None, repr=False)

    def restart(self) -> None:
        """Begin anew, but for the time that was spent."""
        vars(self).update(vars(Artifacts(milliseconds=self.milliseconds, expect=self.expect)))

    @property
    def ir(self) -> str:
        """All kernels as one module, to read."""
        lines: dict[str, None] = {}
        bodies: list[str] = []
        for text in dict.fromkeys(self.texts):
            for line in text.replace("@kernel", f"@{symbol_of(text)}").splitlines():
                if line.startswith(("declare ", "define internal ", "!0 = ")):
                    lines[line] = None
                else:
                    bodies.append(line)
        return "\n".join([f'target triple = "{target().triple}"', *lines, *bodies, ""])


# --- building -------------------------------------------------------------------------------------


def build_record(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    artifacts: Artifacts | None = None,
    memory_limit: int | None = None,
    objects: bool = True,
    tuner: Tuner | None = None,
) -> Record:
    """Compile a graph; with a limit, so that its arena has at most so many bytes.

    Without `objects` the record has no code: what a step does is known before. A tuner says how
    its products are computed.

    Raises
    ------
    MemoryLimitError
        If it needs more even where values are computed again.
    """
    made = artifacts if artifacts is not None else Artifacts()

    def build(goal: Goal | None) -> Record:
        made.restart()
        return _build(outputs, inputs, donations, made, goal, objects, tuner)

    return within_limit(build, memory_limit)


def _build(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    made: Artifacts,
    goal: Goal | None = None,
    objects: bool = True,
    tuner: Tuner | None = None,
) -> Record:
    """Compile a graph.

    Parameters
    ----------
    outputs : sequence of Node
    inputs : sequence of Node
        The variables, in the order in which the step gets their addresses.
    donations : sequence of (int, int)
        (output, input) positions that the caller would like to share memory.
    made : Artifacts
        Filled with what every stage made.
    goal : Goal, optional
        Values that are read late again are computed again until so much is kept.
    objects : bool
        Whether there shall be code.
    tuner : Tuner, optional
        Says how products are computed.

    Returns
    -------
    Record
    """
    clock = Clock(made.milliseconds)
    check = config.current().check
    features = target()
    made.graphs.append(("trace", tuple(outputs)))
    with Emission(features, objects) as emission:
        unit = analyse(
            made,
            outputs,
            clock,
            observe=lambda name, graph, _: made.graphs.append((name, tuple(graph))),
            goal=goal,
            prologues=True,
        )
        made.expect(kept_bytes(unit.regions, unit.roots))
        units = [*units_inside(unit), unit]
        mapped_donations = shared_outputs(donations, unit, units, inputs)
        kept_cached = {unit.roots[o] for o, _ in mapped_donations} | {
            n for u in units for r in u.regions for s in r.stages for n in s.access.reads
        }
        streamable = set(unit.roots) - kept_cached
        _compile(made, units, streamable, features, emission, clock, tuner)
        numbers = {text: n for n, text in enumerate(emission.symbols)}
        made.kernel_numbers = [numbers[text] for text in made.texts]
        leaves = inputs, array_constants(outputs)
        made.plan = _plan(made, unit, leaves, mapped_donations, features)
        if check:
            verify_program(made.plan.program, len(emission.symbols))
        clock.lap("plan")
        code = emission.finish()
    clock.lap("llvm")
    return Record(
        made.plan.program,
        tuple(emission.symbols.values()),
        tuple(unit.positions),
        made.plan.donated,
        len(made.plan.program.groups),
        code.objects,
        code.drafts,
        code.holds,
        code.made,
        code.kept,
    )


_LEAST = 1 << 15
"""Independent launches of an iteration are shared by threads from so many bytes on."""


@final
@dataclass
class Unit:
    """One graph of a step after fusion.

    ``roots`` are its different results, ``positions`` where each output is among them.
    ``lowered`` has the position of each region's kernel among all that are lowered, None for calls.
    ``bodies`` has those of the functions that loops and branches run, ``runs`` how often this one
    runs in a step.
    """

    roots: list[Node]
    positions: list[int]
    regions: list[Region]
    wanted: dict[int, frozenset[Node]]
    lowered: list[int | None] = field(default_factory=list)
    bodies: dict[Node, list[Unit]] = field(default_factory=dict)
    runs: int = 1


def units_inside(unit: Unit) -> Iterator[Unit]:
    """The graphs of loops and branches, inner ones first."""
    for bodies in unit.bodies.values():
        for body in bodies:
            yield from units_inside(body)
            yield body


def analyse(
    made: Artifacts,
    outputs: Sequence[Node],
    clock: Clock,
    observe: Observer | None = None,
    distinct: bool = False,
    goal: Goal | None = None,
    runs: int = 1,
    prologues: bool = False,
    gpu: bool = False,
) -> Unit:
    """Passes and fusion; with `distinct`, no two results are the same value in memory.

    With `prologues`, products compute operands where they read them, and rows between products are
    one kernel with these. For a GPU what is kept is what
    its libraries can write.
    """
    passes = GPU_PASSES if gpu else PASSES
    checked = config.current().check
    simplified = run_passes(outputs, verify=checked, observe=observe, passes=passes)
    clock.lap("passes")
    unique: dict[Node, int] = {}
    positions = []
    for node in simplified:
        in_place = is_leaf(node) or isinstance(node.op, Barrier)
        written = build.stop_gradient(node) if in_place else node
        while distinct and written in unique:
            written = build.stop_gradient(written)
        positions.append(unique.setdefault(written, len(unique)))
    roots = list(unique)
    again = made_again(roots) if gpu else set()
    regions = fuse_between(roots, prologues, never=again)
    sums = sums_to_keep(regions, roots) if gpu else set()
    if sums:
        regions = fuse_between(roots, prologues, sums, again)
    if goal is not None:
        bytes_ = kept_bytes(regions, roots)
        roots, regions = within(roots, regions, int(goal.part * bytes_), prologues)
        bytes_ = kept_bytes(regions, roots)
        if bytes_ in goal.seen or (goal.most is not None and bytes_ > goal.most):
            raise NotWorthwhile
        goal.seen.add(bytes_)
    clock.lap("fuse")
    unit = Unit(roots, positions, regions, read_outside(regions, roots), runs=runs)
    for region in regions:
        node = region.stages[0].node
        functions = functions_of(node)
        if functions:
            often = runs * most_trips(node)
            unit.bodies[node] = [
                analyse(
                    made,
                    function.results,
                    clock,
                    distinct=True,
                    runs=often,
                    prologues=prologues,
                    gpu=gpu,
                )
                for function in functions
            ]
    return unit


def lowered_regions(made: Artifacts, units: Sequence[Unit]) -> Iterator[tuple[Unit, Region, int]]:
    """Every region that is a kernel, lowered as the last one of `made`; equal ones once.

    Yields
    ------
    Unit, Region, int
        The number is that of the first kernel that is equal, which may be its own.
    """
    known: dict[Any, int] = {}
    orders: list[list[Node]] = []
    for unit, region in [(u, r) for u in units for r in u.regions]:
        name = _kernel_name(region, len(made.names))
        made.names.append(name)
        made.regions.append(region)
        if region.kind in (Kind.CALL, Kind.ALIAS):
            unit.lowered.append(None)
            continue
        number = len(made.lowered)
        unit.lowered.append(number)
        made.kernel_names.append(name)
        outside = unit.wanted[region.number]
        key, order = structure_of(region, outside)
        orders.append(order)
        first = known.setdefault(key, number)
        if first == number:
            lowered = lower_region(region, outside, name)
        else:
            model = made.lowered[first]
            same = dict(zip(orders[first], order, strict=True))
            lowered = replace(model, arguments=tuple(same[n] for n in model.arguments))
        made.lowered.append(lowered)
        yield unit, region, first


def _compile(
    made: Artifacts,
    units: Sequence[Unit],
    streamable: set[Node],
    features: base.Features,
    emission: Emission,
    clock: Clock,
    tuner: Tuner | None,
) -> None:
    """Every region that is a kernel as code; equal ones once.

    Each is given to `emission` as soon as its text is there, so that threads compile the first
    ones while this one lowers the others. A tuner wants to see all of them before.
    """
    streams: list[frozenset[int]] = []
    check = config.current().check
    found = lowered_regions(made, units)
    choices: dict[int, AnyChoice] = {}
    if tuner is not None:
        every = [*found]
        clock.lap("lower")
        choices = _tuned(made, [first for _, _, first in every], streamable, features, tuner)
        clock.lap("tune")
        found = iter(every)
    for number, (unit, region, first) in enumerate(found):
        lowered = made.lowered[number]
        clock.lap("lower")
        stream = _streamed(lowered, streamable, features)
        streams.append(stream)
        if first < number and streams[first] == stream:
            made.mapped.append(made.mapped[first])
            made.texts.append(made.texts[first])
            made.sizes.append(made.sizes[first])
            continue
        buffers = frozenset(lowered.kernel.params[p].buffer for p in stream)
        mapped = schedule(lowered.kernel, lowered.items, features, buffers, choices.get(number))
        made.mapped.append(mapped)
        clock.lap("schedule")
        if check:
            verify_kernel(lowered.kernel)
            verify_kernel(mapped.kernel)
        text, sizes = _kernel_text(mapped, features)
        made.texts.append(text)
        made.sizes.append(sizes)
        emission.add(text, mapped.finishes, *worth_of(lowered, region, unit.runs))
        clock.lap("emit")


def _tuned(
    made: Artifacts,
    firsts: Sequence[int],
    streamable: set[Node],
    features: base.Features,
    tuner: Tuner,
) -> dict[int, AnyChoice]:
    """How the different products are computed, by the number of their kernel."""
    kernels = []
    for number in dict.fromkeys(firsts):
        lowered = made.lowered[number]
        stream = _streamed(lowered, streamable, features)
        buffers = frozenset(lowered.kernel.params[p].buffer for p in stream)
        kernels.append((number, lowered, buffers))
    chosen = tuner.choices(kernels, features)
    return {n: chosen[first] for n, first in enumerate(firsts) if first in chosen}


def _streamed(lowered: Lowered, streamable: set[Node], features: base.Features) -> frozenset[int]:
    """The large outputs that nobody reads: they go around the cache if the kernel moves more
    than it holds."""
    found = frozenset(
        p
        for p in lowered.written
        if lowered.arguments[p] in streamable
        and nbytes_of(lowered.arguments[p]) > features.l2_bytes
    )
    moved = bytes_of(lowered, (*lowered.read, *lowered.written)) if found else 0
    return found if moved > features.l3_bytes else frozenset()


def read_outside(regions: Sequence[Region], roots: Sequence[Node]) -> dict[int, frozenset[Node]]:
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


def shared_outputs(
    donations: Sequence[tuple[int, int]],
    unit: Unit,
    units: Sequence[Unit],
    inputs: Sequence[Node],
) -> list[tuple[int, int]]:
    """Donations between unique outputs and inputs, each used once."""
    # A call that fails, or a loop that is interrupted, must leave the state as it was.
    ops = (stage.node.op for u in units for region in u.regions for stage in region.stages)
    if any(isinstance(op, (CallOp, While)) for op in ops):
        return []
    result: list[tuple[int, int]] = []
    written: set[int] = set()
    given: set[int] = set()
    for output, source in donations:
        position = unit.positions[output]
        same = unit.roots[position].type.plain is inputs[source].type.plain
        if same and position not in written and source not in given:
            written.add(position)
            given.add(source)
            result.append((position, source))
    return result


def _kernel_name(region: Region, number: int) -> str:
    """A name that says what the kernel does: its last ops."""
    words: list[str] = []
    for stage in region.stages:
        word = stage.node.op.name
        if word not in words:
            words.append(word)
    return f"k{number}_" + "_".join(words[:4])


def _kernel_text(mapped: Mapped, features: base.Features) -> tuple[str, tuple[int, ...]]:
    return llvm.emit_sized(replace(mapped.kernel, name="kernel"), features)


def _plan(
    made: Artifacts,
    unit: Unit,
    leaves: tuple[Sequence[Node], Sequence[Node]],
    donations: Sequence[tuple[int, int]],
    features: base.Features,
) -> Plan:
    inputs, constants = leaves
    planner = Planner(made, lambda number, region: _launch(made, number, region, features))
    tasks = planner.tasks(unit)
    scratch = max((_layout(m, features).scratch_bytes for m in made.mapped), default=0)
    return plan(
        "step",
        tasks,
        inputs,
        unit.roots,
        constants,
        planner.nbytes,
        donations,
        scratch,
        [*planner.calls],
        next(planner.cursors),
    )


@final
class Planner:
    """The tasks of all graphs of a step; `launch` makes one of a kernel and its region."""

    def __init__(self, made: Artifacts, launch: Callable[[int, Region], Task]) -> None:
        self.made = made
        self.launch = launch
        self.calls: dict[str, int] = {}
        self.cursors = itertools.count()
        self.nbytes: dict[Any, int] = {}

    def tasks(self, unit: Unit) -> list[Task | CommandTask | Alias]:
        found: list[Task | CommandTask | Alias] = []
        for region, number in zip(unit.regions, unit.lowered, strict=True):
            self.nbytes.update((node, nbytes_of(node)) for node in region.nodes)
            if number is not None:
                read = self.made.lowered[number].arguments
                self.nbytes.update((node, nbytes_of(node)) for node in read)
                found.append(self.launch(number, region))
                continue
            node = region.stages[0].node
            if region.kind is Kind.ALIAS:
                waits = frozenset(region.stages[0].access.reads)
                found.append(Alias(node, node.inputs[0], waits))
                continue
            bodies = unit.bodies.get(node)
            if bodies is None:
                found.append(_call(node, self.calls))
                continue
            functions = functions_of(node)
            plans = [self.body(u, f) for u, f in zip(bodies, functions, strict=True)]
            found.append(body_task(node, plans, self.cursors))
        return found

    def body(self, unit: Unit, function: Body) -> Planned:
        tasks = self.tasks(unit)
        planned = plan(
            "body", tasks, function.parameters, unit.roots, [], self.nbytes, [], 0, least=_LEAST
        )
        return Planned(planned, unit.positions)


def _layout(mapped: Mapped, features: base.Features) -> Any:
    return llvm.kernel_layout(mapped.kernel, features)


def _launch(made: Artifacts, number: int, region: Region, features: base.Features) -> Task:
    """One kernel as a task of the plan."""
    lowered, mapped = made.lowered[number], made.mapped[number]
    # More than the kernel reads: it may have to wait for a value.
    reads = {value for stage in region.stages for value in stage.access.reads}
    strides = iter(_layout(mapped, features).partial_strides)
    return Task(
        made.kernel_numbers[number],
        lowered.arguments,
        frozenset(reads - set(region.nodes)),
        frozenset(lowered.arguments[p] for p in lowered.written),
        tuple((p, next(strides) * mapped.chunks) for p in lowered.partial),
        tuple((lowered.arguments[w], lowered.arguments[r]) for w, r in lowered.in_place),
        (int(lowered.items),) * len(mapped.kernel.sizes) + made.sizes[number],
        int(mapped.items),
        int(mapped.grain),
        int(mapped.chunks),
    )


def _call(node: Node, calls: dict[str, int]) -> CommandTask:
    """A call as a task of the plan; `calls` numbers the symbols."""
    callee = calls.setdefault(callee_of(node).symbol, len(calls))
    values = (*node.inputs, *results_of(node))
    return CommandTask(
        frozenset(node.inputs),
        frozenset(results_of(node)),
        (),
        lambda place, _: (Call(callee, tuple(map(place, values))),),
    )
