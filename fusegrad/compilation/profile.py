"""What every kernel of a compiled function takes, against what this machine can do.

Knows the artifacts of a step and its times; changes no state of the function.
"""

from __future__ import annotations

import ctypes
import functools
import html
import math
import time
from collections.abc import Sequence
from typing import Any, final

from ..codegen.dtypes import float32
from ..codegen.program import Launch
from ..codegen.records import dataclass
from ..ir.node import where
from ..ir.types import TensorType
from ..lower.work import operations
from ..ops import build
from ..passes.regions import size_of
from ..runtime.build import Artifacts
from ..runtime.device_step import DeviceStep
from ..runtime.devices import GPU
from ..runtime.profile import Timing, time_launches
from ..runtime.step import load_step
from ..tensors.storage import DeviceStorage, Storage
from .specialisation import Specialisation

__all__ = ["Profile", "Row", "profile"]


@final
@dataclass(frozen=True)
class Row:
    """One kernel.

    Attributes
    ----------
    name : str
        Made of the last operations that it computes.
    calls : int
        How often it runs in a step.
    milliseconds : float
        What all of these take together.
    bytes, flops : int
        What they read and write, each value once, and how many operations on floats they compute.
    roof : float
        The share of this machine's measured limit that they reach: of the bandwidth for the
        bytes, or of the arithmetic for the operations, whichever takes longer.
    line : str
        Where the user wrote the first of its operations.
    """

    name: str
    calls: int
    milliseconds: float
    bytes: int
    flops: int
    roof: float
    line: str


@final
@dataclass(frozen=True)
class Profile:
    """Kernels, the longest first; printing it prints a table.

    Attributes
    ----------
    name : str
    rows : tuple of Row
    bandwidth, arithmetic : float
        The limits that were measured: GB/s of a copy, GFLOP/s of a product of matrices (infinite
        on a GPU, where it is not measured).
    """

    name: str
    rows: tuple[Row, ...]
    bandwidth: float
    arithmetic: float

    @property
    def milliseconds(self) -> float:
        """Of all kernels, one after the other."""
        return sum(row.milliseconds for row in self.rows)

    def __str__(self) -> str:
        total = self.milliseconds
        roofs = f"{self.bandwidth:.0f} GB/s"
        if math.isfinite(self.arithmetic):
            roofs += f", {self.arithmetic:.0f} GFLOP/s"
        lines = [
            f"{self.name}: {total:.3f} ms in {sum(row.calls for row in self.rows)} launches, timed "
            f"one by one; roofs: {roofs}",
            f"{'ms':>9} {'share':>6} {'calls':>6} {'GB/s':>7} {'GFLOP/s':>8} {'roof':>6}  kernel",
        ]
        for row in self.rows:
            seconds = max(row.milliseconds, 1e-9) * 1e-3
            rates = f"{row.bytes / seconds * 1e-9:7.1f} {row.flops / seconds * 1e-9:8.1f}"
            share = row.milliseconds / max(total, 1e-12)
            lines.append(
                f"{row.milliseconds:9.3f} {share:6.1%} {row.calls:6} {rates} {row.roof:6.1%}  "
                f"{row.name}{'  ' + row.line if row.line else ''}"
            )
        return "\n".join(lines)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def profile(
    name: str, entry: Specialisation, leaves: Sequence[Any], made: Artifacts, rounds: int
) -> Profile:
    """Time every kernel of `entry`, on copies of what it would change."""
    if isinstance(entry.step, DeviceStep):
        return _profile_on_gpu(name, entry, leaves, made, rounds)
    addresses, _, keep = entry.inputs(leaves)
    donated = dict(entry.step.record.donated)
    for position, kind in enumerate(entry.types):
        storage = Storage(kind)
        keep.append(storage)
        source = donated.get(position)
        if source is not None:
            count = _nbytes(kind)
            ctypes.memmove(storage.address, addresses[source], count)
            addresses[source] = storage.address
        addresses.append(storage.address)
    entry.step.improve()
    timings = time_launches(entry.step, addresses, rounds)
    return _table(name, timings, made, *_roofs())


def _profile_on_gpu(
    name: str, entry: Any, leaves: Sequence[Any], made: Artifacts, rounds: int
) -> Profile:
    """The same on a GPU, timed by its own clock; the step is that of a `DeviceSpecialisation`."""
    addresses, _, keep = entry.inputs(leaves)
    gpu: GPU = entry.gpu
    donated = dict(entry.step.record.donated)
    for position, kind in enumerate(entry.types):
        storage = DeviceStorage(kind, gpu)
        keep.append(storage)
        source = donated.get(position)
        if source is not None:
            gpu.driver.copy(gpu.index, storage.address, addresses[source], _nbytes(kind))
            addresses[source] = storage.address
        addresses.append(storage.address)
    timings = entry.step.timed(addresses, rounds)
    return _table(name, timings, made, _bandwidth_of(gpu), math.inf)


def _table(
    name: str, timings: Sequence[Timing], made: Artifacts, bandwidth: float, arithmetic: float
) -> Profile:
    works = _works(made)
    rows: dict[int | str, Row] = {}
    for timing in timings:
        key, row = _row(timing, works, bandwidth, arithmetic)
        rows[key] = _joined(rows[key], row) if key in rows else row
    ordered = sorted(rows.values(), key=lambda row: -row.milliseconds)
    return Profile(name, tuple(ordered), bandwidth, arithmetic)


@final
@dataclass(frozen=True)
class _Work:
    """What one launch of a kernel does."""

    name: str
    bytes: int
    flops: int
    line: str


def _works(made: Artifacts) -> dict[int, _Work]:
    """By the number of the kernel: of the first region that uses it."""
    found: dict[int, _Work] = {}
    regions = dict(zip(made.names, made.regions, strict=True))
    for number, name, lowered in zip(
        made.kernel_numbers, made.kernel_names, made.lowered, strict=True
    ):
        if number in found:
            continue
        moved = sum(size_of(n) * n.dtype.itemsize for n in {*lowered.arguments})
        lines = (where(stage.node) for stage in regions[name].stages)
        line = next((str(line) for line in lines if line is not None), "")
        found[number] = _Work(name, moved, operations(lowered), line)
    return found


def _row(
    timing: Timing, works: dict[int, _Work], bandwidth: float, arithmetic: float
) -> tuple[int | str, Row]:
    milliseconds = timing.nanoseconds * 1e-6
    command = timing.command
    if not isinstance(command, Launch):
        label = type(command).__name__.lower()
        return label, Row(label, timing.calls, milliseconds, 0, 0, 0.0, "")
    work = works[command.kernel]
    moved, flops = work.bytes * timing.calls, work.flops * timing.calls
    least = max(moved / bandwidth, flops / arithmetic) * 1e-6
    roof = least / milliseconds if milliseconds else 0.0
    return command.kernel, Row(work.name, timing.calls, milliseconds, moved, flops, roof, work.line)


def _joined(a: Row, b: Row) -> Row:
    """Two launches of one kernel."""
    total = a.milliseconds + b.milliseconds
    roof = (a.roof * a.milliseconds + b.roof * b.milliseconds) / total if total else 0.0
    return Row(a.name, a.calls + b.calls, total, a.bytes + b.bytes, a.flops + b.flops, roof, a.line)


# --- the limits of this machine -------------------------------------------------------------------


@functools.cache
def _roofs() -> tuple[float, float]:
    """GB/s of a copy, and GFLOP/s of a product of matrices, by kernels of our own."""
    elements, width = 1 << 23, 768
    x = build.input_(TensorType((elements,), float32))
    a, b = (build.input_(TensorType((width, width), float32)) for _ in range(2))
    copied = _best(build.neg(x), [x])
    multiplied = _best(build.dot(a, b), [a, b])
    return 8 * elements / copied, 2 * width**3 / multiplied


def _bandwidth_of(gpu: GPU) -> float:
    """GB/s of a copy on a GPU, bytes read and written."""
    count = min(1 << 28, gpu.driver.memory(gpu.index)[0] // 4)
    first, second = gpu.allocate(count), gpu.allocate(count)
    driver, index = gpu.driver, gpu.index
    taken = []
    for _ in range(8):
        before = driver.mark(index)
        driver.copy(index, first.address, second.address, count)
        taken.append(driver.seconds(index, before, driver.mark(index)))
    return 2e-9 * count / max(min(taken), 1e-9)


def _best(output: Any, inputs: Sequence[Any]) -> float:
    """Nanoseconds of a graph of float32, the best of some calls."""
    step, _ = load_step([output], inputs, [], {})
    step.improve()
    storages = [Storage(n.tensor_type) for n in (*inputs, output)]
    addresses = [storage.address for storage in storages]
    taken = []
    for _ in range(8):
        started = time.perf_counter_ns()
        step(addresses)
        taken.append(time.perf_counter_ns() - started)
    return float(min(taken))


def _nbytes(kind: TensorType) -> int:
    size = kind.dtype.itemsize
    for extent in kind.shape:
        assert isinstance(extent, int)
        size *= extent
    return size
