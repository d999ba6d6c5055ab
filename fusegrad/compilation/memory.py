"""The arena of a compiled function, value by value, before it runs.

Knows the plan of a step; makes no code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..codegen.records import dataclass
from ..ir.node import Node, where
from ..ir.types import TensorType
from ..runtime.build import Artifacts, build_record
from ..runtime.device_build import build_device_record
from ..runtime.device_step import workspace_bytes
from ..runtime.garbage import UNCOLLECTED
from ..runtime.record import DeviceRecord, Record
from ..tensors.placement import gpu_of

__all__ = ["Held", "Memory", "memory"]

_COLUMNS = 32
"""Of the picture of a value's life."""
_LINES = 40
"""Values that are printed; the smaller ones are added up."""


@final
@dataclass(frozen=True)
class Held:
    """One value of the arena.

    Attributes
    ----------
    nbytes, offset : int
        Its size and its place.
    first, last : int
        The steps that write it, and read it for the last time.
    what : str
        The op and the type; `private` for what a kernel keeps for its threads.
    line : str or None
        The user's line it comes from.
    """

    nbytes: int
    offset: int
    first: int
    last: int
    what: str
    line: str | None


@final
@dataclass(frozen=True)
class Memory:
    """What one call takes, planned before the first one; printing it prints the timeline.

    Attributes
    ----------
    name : str
    steps : int
        Steps of the program: each is what may run at the same time.
    values : tuple of Held
        What lies in the arena, the largest first.
    peak : int
        The most bytes that live together, at step `peak_step`.
    arena_bytes : int
        The planned arena: the peak, and what lies between values.
    scratch_bytes : int
        Private memory of each thread; on a GPU what a kernel and the libraries need while they run.
    input_bytes, output_bytes : int
        Arguments and captured state, and results, which lie outside the arena.
    """

    name: str
    steps: int
    values: tuple[Held, ...]
    peak: int
    peak_step: int
    arena_bytes: int
    scratch_bytes: int
    input_bytes: int
    output_bytes: int
    device: str

    def __str__(self) -> str:
        each = " a thread" if self.device == "cpu" else ""
        lines = [
            f"{self.name}: at most {self.peak:,} bytes live together, at step {self.peak_step} of "
            f"{self.steps}",
            f"arena {self.arena_bytes:,} bytes, scratch {self.scratch_bytes:,} bytes{each}, "
            f"inputs {self.input_bytes:,}, outputs {self.output_bytes:,}",
        ]
        if self.values:
            lines.append(f"{'bytes':>14} {'offset':>14}  {'steps':<11} {'life':<{_COLUMNS}}  value")
        for held in self.values[:_LINES]:
            here = "*" if held.first <= self.peak_step <= held.last else " "
            line = f"  at {held.line}" if held.line is not None else ""
            steps = f"{held.first}-{held.last}"
            lines.append(
                f"{held.nbytes:>14,} {held.offset:>14,} {here}{steps:<11} {self._life(held)}  "
                f"{held.what}{line}"
            )
        rest = self.values[_LINES:]
        if rest:
            size = sum(held.nbytes for held in rest)
            lines.append(f"{size:>14,} in {len(rest)} smaller values")
        if self.values:
            lines.append("* lives when most do")
        return "\n".join(lines)

    __repr__ = __str__

    def _life(self, held: Held) -> str:
        """The steps of a life as a bar below those of the program."""
        columns = min(_COLUMNS, self.steps)
        start = held.first * columns // self.steps
        stop = max(start + 1, -(-(held.last + 1) * columns // self.steps))
        return ("." * start + "#" * (stop - start)).ljust(columns, ".").ljust(_COLUMNS)


def memory(
    name: str,
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]],
    memory_limit: int | None = None,
    device: str = "cpu",
) -> Memory:
    """Plan a graph, for a GPU with `device`, and tell what lies where and when."""
    made = Artifacts()
    record: Record | DeviceRecord
    given = outputs, inputs, donations, made, memory_limit
    with UNCOLLECTED:
        if device == "cpu":
            record = build_record(*given, objects=False)
        else:
            record = build_device_record(*given)
    assert made.plan is not None
    scratch = record.program.scratch_bytes
    if isinstance(record, DeviceRecord):
        scratch += workspace_bytes(gpu_of(device), record)
    held = [
        Held(size, offset, first, last, *_told(value))
        for (size, offset, first, last), value in zip(
            made.plan.lifetimes, made.plan.held, strict=True
        )
        if size
    ]
    change = [0] * (made.plan.steps + 1)
    for one in held:
        change[one.first] += one.nbytes
        change[one.last + 1] -= one.nbytes
    live = [sum(change[: step + 1]) for step in range(made.plan.steps)] or [0]
    own = [i for i, n in enumerate(record.outputs) if n not in record.outputs[:i]]
    donated = {o for o, _ in record.donated}
    return Memory(
        name,
        made.plan.steps,
        tuple(sorted(held, key=lambda one: (-one.nbytes, one.first, one.offset))),
        max(live),
        live.index(max(live)),
        record.program.arena_bytes,
        scratch,
        sum(_bytes(node) for node in inputs),
        sum(_bytes(outputs[i]) for i in own if record.outputs[i] not in donated),
        device,
    )


def _bytes(node: Node) -> int:
    return node.type.nbytes if isinstance(node.type, TensorType) else 0


def _told(value: object) -> tuple[str, str | None]:
    if isinstance(value, Node):
        line = where(value)
        return f"{value.op} {value.type}", None if line is None else str(line)
    return "private memory of a kernel" if value is None else "a loop's own memory", None
