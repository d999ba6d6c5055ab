"""Random lifetimes and random tasks: what is planned never overwrites what somebody still reads."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fusegrad.codegen.program import Program, Slot, SlotKind
from fusegrad.runtime.plan import ALIGN, Plan, Task, assign_offsets, plan

LIFETIMES = st.lists(
    st.tuples(st.integers(0, 900), st.integers(0, 12), st.integers(0, 6)).map(
        lambda t: (t[0], t[1], t[1] + t[2])
    ),
    max_size=40,
)
MANY = settings(derandomize=True, deadline=None, database=None, max_examples=400)


@MANY
@given(LIFETIMES)
def test_live_values_do_not_overlap(requests: list[tuple[int, int, int]]) -> None:
    offsets, total = assign_offsets(requests)
    spans = [(o, o + max(1, size)) for o, (size, _, _) in zip(offsets, requests, strict=True)]
    assert all(o % ALIGN == 0 for o in offsets)
    assert total >= max((stop for _, stop in spans), default=0)
    assert total <= sum(max(ALIGN, -(-size // ALIGN) * ALIGN) for size, _, _ in requests)
    for i, (size, first, last) in enumerate(requests):
        for j in range(i):
            _, begin, end = requests[j]
            if first <= end and begin <= last and size:
                assert spans[i][1] <= spans[j][0] or spans[j][1] <= spans[i][0]


@st.composite
def problems(draw: st.DrawFn) -> dict[str, object]:
    """Tasks in order, each reading what is known and writing new values."""
    inputs = [f"in{i}" for i in range(draw(st.integers(1, 4)))]
    known = list(inputs)
    tasks = []
    for number in range(draw(st.integers(1, 10))):
        reads = draw(st.lists(st.sampled_from(known), unique=True, max_size=4))
        writes = [f"v{number}_{i}" for i in range(draw(st.integers(1, 2)))]
        pairs = [(w, r) for w in writes for r in reads if draw(st.booleans())]
        private = ((len(reads) + len(writes), 70),) if draw(st.booleans()) else ()
        arguments = (*reads, *writes, *(f"private{number}" for _ in private))
        tasks.append(
            Task(
                number,
                arguments,
                frozenset(reads),
                frozenset(writes),
                private,
                tuple(pairs),
                (1,),
                1,
                1,
                1,
            )
        )
        known += writes
    made = [v for v in known if v not in inputs]
    outputs = draw(st.lists(st.sampled_from(made), unique=True, min_size=1, max_size=4))
    donations = []
    for position in range(len(inputs)):
        if draw(st.booleans()):
            donations.append((draw(st.integers(0, len(outputs) - 1)), position))
    unique = {o: (o, i) for o, i in donations}
    nbytes = {v: draw(st.integers(1, 300)) for v in made}
    return {
        "tasks": tasks,
        "inputs": inputs,
        "outputs": outputs,
        "nbytes": nbytes,
        "donations": list(unique.values()),
    }


def _spans(slot: Slot, size: int, planned: Plan) -> tuple[object, int, int]:
    """Where the bytes of a slot are: a memory, and a stretch of it."""
    donated = dict(planned.donated)
    if slot.kind is SlotKind.ARENA:
        return "arena", slot.index, slot.index + size
    if slot.kind is SlotKind.OUTPUT and slot.index in donated:
        return (SlotKind.INPUT, donated[slot.index]), 0, 1
    return (slot.kind, slot.index), 0, 1


def _overlap(a: tuple[object, int, int], b: tuple[object, int, int]) -> bool:
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]


@MANY
@given(problems())
def test_every_task_reads_what_was_written(problem: dict[str, object]) -> None:
    tasks, nbytes = problem["tasks"], problem["nbytes"]
    assert isinstance(tasks, list)
    assert isinstance(nbytes, dict)
    planned = plan(
        "p",
        tasks,
        problem["inputs"],  # type: ignore[arg-type]
        problem["outputs"],  # type: ignore[arg-type]
        [],
        nbytes,
        problem["donations"],  # type: ignore[arg-type]
        0,
    )
    memory = {(SlotKind.INPUT, i): v for i, v in enumerate(problem["inputs"])}  # type: ignore[arg-type]
    contents = [((where, 0, 1), value) for where, value in memory.items()]
    program: Program = planned.program
    ran = 0
    for group in program.groups:
        used = []
        for launch in group.launches:
            ran += 1
            task = tasks[launch.kernel]
            places = {}
            for slot, value in zip(launch.slots, task.arguments, strict=True):
                size = nbytes.get(value, 70)
                places[value] = _spans(slot, size, planned)
            for value in task.reads:
                assert (places[value], value) in contents, f"{value} is gone"
            written = [v for v in task.arguments if v not in task.reads]
            for w in written:
                for r in task.reads:
                    if _overlap(places[w], places[r]):
                        assert (w, r) in task.in_place
                for v in written:
                    assert v == w or not _overlap(places[w], places[v])
            used.append((task, places, written))
        for i, (_, places, written) in enumerate(used):
            for j, (_, others, _) in enumerate(used):
                if i != j:
                    for w in written:
                        assert not any(_overlap(places[w], p) for p in others.values())
        for task, places, written in used:
            for w in written:
                contents = [c for c in contents if not _overlap(c[0], places[w])]
                if w in task.writes:
                    contents.append((places[w], w))
    assert ran == len(tasks)
    for position, value in enumerate(problem["outputs"]):  # type: ignore[arg-type]
        place = _spans(Slot(SlotKind.OUTPUT, position), 1, planned)
        assert (place, value) in contents
