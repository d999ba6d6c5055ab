"""Compiling a graph and comparing what it computes with the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusegrad.codegen.dtypes import DType, float32, float64
from fusegrad.codegen.kernel import Monoid
from fusegrad.codegen.scalar import TABLE
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Node, toposort
from fusegrad.ir.types import TensorType
from fusegrad.ops import build
from fusegrad.ops.contract import Dot
from fusegrad.ops.elementwise import Map
from fusegrad.ops.indexing import ScatterAdd, ScatterAddAlong
from fusegrad.ops.reduce import Reduce
from fusegrad.runtime.step import Artifacts, Record, Step, build_record
from fusegrad.storage import Storage

Array = npt.NDArray[Any]

EPSILON = {float32: 2.0**-23, float64: 2.0**-52}


def variable(shape: Sequence[int], dtype: DType = float32) -> Node:
    return build.input_(TensorType(tuple(shape), dtype))


@dataclass(frozen=True)
class Compiled:
    """A compiled graph with what every stage made of it."""

    outputs: tuple[Node, ...]
    inputs: tuple[Node, ...]
    record: Record
    artifacts: Artifacts
    step: Step

    @property
    def regions(self) -> int:
        return len(self.artifacts.regions)

    def __call__(self, arrays: Sequence[Array]) -> list[Array]:
        """The outputs; every donated output is written into its input's memory."""
        given = [Storage.copy_of(np.asarray(a)) for a in arrays]
        donated = dict(self.record.donated)
        results: dict[int, Storage] = {}
        for node, position in zip(self.outputs, self.record.outputs, strict=True):
            if position in donated:
                results[position] = given[donated[position]]
            elif position not in results:
                results[position] = Storage.empty(node.shape, node.dtype)  # type: ignore[arg-type]
                results[position].array.reshape(-1).view(np.uint8)[...] = 0xA5
        written = [results[i] for i in range(self.record.program.outputs)]
        self.step([s.address for s in (*given, *written)])
        return [results[p].array.copy() for p in self.record.outputs]


def compiled(
    outputs: Sequence[Node],
    inputs: Sequence[Node],
    donations: Sequence[tuple[int, int]] = (),
) -> Compiled:
    artifacts = Artifacts()
    record = build_record(outputs, inputs, donations, artifacts)
    constants = [
        np.ascontiguousarray(n.op.data)  # type: ignore[attr-defined]
        for n in toposort(outputs)
        if n.op.name == "array_constant"
    ]
    return Compiled(tuple(outputs), tuple(inputs), record, artifacts, Step(record, constants))


def check(
    outputs: Sequence[Node],
    environment: Mapping[Node, Array],
    donations: Sequence[tuple[int, int]] = (),
    label: Callable[[int], str] = str,
) -> Compiled:
    """Compile `outputs`, run them, and compare with the interpreter."""
    made = compiled(outputs, list(environment), donations)
    found = made(list(environment.values()))
    compare(outputs, found, environment, label)
    return made


def compare(
    outputs: Sequence[Node],
    found: Sequence[Array],
    environment: Mapping[Node, Array],
    label: Callable[[int], str] = str,
) -> None:
    expected = evaluate(outputs, environment)
    bounds = error_bounds(outputs, environment)
    for number, (node, a, e) in enumerate(zip(outputs, found, expected, strict=True)):
        close(a, e, bounds.get(node), label(number))


def close(found: Array, expected: Array, bound: Array | None, label: str) -> None:
    assert found.shape == expected.shape, label
    assert found.dtype == expected.dtype, label
    if found.dtype.kind != "f" or bound is None:
        np.testing.assert_array_equal(found, expected, err_msg=label)
        return
    with np.errstate(all="ignore"):
        same = (found == expected) | (np.isnan(found) & np.isnan(expected))
        near = np.abs(found.astype(np.float64) - expected.astype(np.float64)) <= bound
    wrong = ~(same | near)
    if wrong.any():
        where = tuple(np.argwhere(wrong)[0])
        raise AssertionError(
            f"{label}: {int(wrong.sum())} of {wrong.size} elements of shape {found.shape} differ; "
            f"at {tuple(map(int, where))}: {found[where]!r}, expected {expected[where]!r}, "
            f"bound {np.broadcast_to(bound, found.shape)[where]:.3g}"
        )


# --- how far results may differ -------------------------------------------------------------------


def error_bounds(
    outputs: Sequence[Node], environment: Mapping[Node, Array]
) -> dict[Node, Array]:
    """For one level of ops: the largest difference that rounding explains, element by element.

    Each op rounds once (sums: once for each term, relative to the sum of absolute values). Inputs
    are exact, so this is meant for graphs of few ops.
    """
    bounds: dict[Node, Array] = {}
    order = toposort(outputs)
    values = dict(zip(order, evaluate(order, environment), strict=True))
    for node in order:
        if not node.dtype.is_float:
            continue
        value = np.abs(values[node].astype(np.float64))
        bounds[node] = _own_bound(node, value, values) + _inherited(node, values, bounds)
    return bounds


def _own_bound(node: Node, value: Array, values: Mapping[Node, Array]) -> Array:
    epsilon = EPSILON[node.dtype]
    with np.errstate(all="ignore"):
        tiny = float(np.finfo(node.dtype.numpy).smallest_subnormal)
        if isinstance(node.op, Map):
            row = TABLE[node.op.scalar]
            own = row.max_ulp.get(node.dtype, 0.5)
            # NumPy's own functions are off by a few units too.
            units = 0.0 if own <= 0.5 else own + 4
            if node.op.scalar == "logaddexp":
                value = np.maximum.reduce([value, *(np.abs(values[i]) for i in node.inputs)])
            return units * np.maximum(epsilon * value, tiny)
        if isinstance(node.op, Reduce) and node.op.monoid in (Monoid.SUM, Monoid.PROD):
            operand = values[node.inputs[0]].astype(np.float64)
            count = max(1, operand.size // max(1, value.size))
            if node.op.monoid is Monoid.PROD:
                return count * np.maximum(epsilon * value, tiny)
            return count * epsilon * np.abs(operand).sum(node.op.axes)
        if isinstance(node.op, Dot):
            a, b = (np.abs(values[i].astype(np.float64)) for i in node.inputs)
            return max(1, a.shape[-1]) * epsilon * np.matmul(a, b)
        if isinstance(node.op, (ScatterAdd, ScatterAddAlong)):
            updates, places = (values[i] for i in node.inputs)
            magnitude = node.op.ref(np.abs(updates.astype(np.float64)), places)
            return max(1, updates.size) * epsilon * magnitude
        return np.zeros_like(value)


def _inherited(
    node: Node, values: Mapping[Node, Array], bounds: Mapping[Node, Array]
) -> Array | float:
    """What movement carries over; other ops get exact operands in these tests."""
    if node.op.pattern.value != "move" or not bounds.get(node.inputs[0], np.zeros(1)).any():
        return 0.0
    sources = [bounds.get(i, values[i]) for i in node.inputs]
    return np.asarray(node.op.ref(*sources))
