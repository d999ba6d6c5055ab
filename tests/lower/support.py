"""Compiling a graph and comparing what it computes with the interpreter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fusegrad.codegen.dtypes import DType, as_dtype, bfloat16, float16, float32, float64
from fusegrad.codegen.kernel import Monoid
from fusegrad.codegen.scalar import TABLE
from fusegrad.ir.halves import meaning, wide
from fusegrad.ir.interpret import evaluate
from fusegrad.ir.node import Item, Node, Pattern, toposort
from fusegrad.ir.types import TensorType, TupleType
from fusegrad.ops import build
from fusegrad.ops.base import CallOp
from fusegrad.ops.contract import Dot, PanelDot
from fusegrad.ops.convolution import Convolution
from fusegrad.ops.cumulative import Cumulative, LinearRecurrence
from fusegrad.ops.elementwise import Map
from fusegrad.ops.indexing import ScatterAdd, ScatterAddAlong
from fusegrad.ops.movement import Concat
from fusegrad.ops.reduce import Reduce
from fusegrad.ops.small_matrices import SmallMatrix, form_of
from fusegrad.ops.window import Overlap
from fusegrad.ops.window_dot import WindowDot
from fusegrad.runtime.build import Artifacts, build_record
from fusegrad.runtime.calls import find_calls, resolve
from fusegrad.runtime.record import Record
from fusegrad.runtime.step import Step
from fusegrad.tensors.storage import Storage

Array = npt.NDArray[Any]

EPSILON = {float16: 2.0**-10, bfloat16: 2.0**-7, float32: 2.0**-23, float64: 2.0**-52}
TINY = {float16: 2.0**-24, bfloat16: 2.0**-133, float32: 2.0**-149, float64: 2.0**-1074}


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
    calls = resolve(record.program.calls, find_calls(outputs))
    step = Step(record, constants, calls)
    return Compiled(tuple(outputs), tuple(inputs), record, artifacts, step)


def _bits(value: Array) -> tuple[bytes, bytes]:
    """All bits, but for those of a NaN: LLVM does not say whose sign a sum of NaNs has."""
    unequal = value != value
    return np.where(unequal, np.zeros_like(value), value).tobytes(), unequal.tobytes()


def check(
    outputs: Sequence[Node],
    environment: Mapping[Node, Array],
    donations: Sequence[tuple[int, int]] = (),
    label: Callable[[int], str] = str,
) -> Compiled:
    """Compile `outputs`, run them, and compare with the interpreter; drafts with better code."""
    made = compiled(outputs, list(environment), donations)
    found = made(list(environment.values()))
    compare(outputs, found, environment, label)
    made.step.improve()
    for first, second in zip(found, made(list(environment.values())), strict=True):
        assert _bits(first) == _bits(second)
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
    if as_dtype(found.dtype).is_half:
        found, expected = found.astype(np.float32), expected.astype(np.float32)
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


def error_bounds(outputs: Sequence[Node], environment: Mapping[Node, Array]) -> dict[Node, Array]:
    """For each node the largest difference that rounding explains, element by element.

    Running error analysis of first order: what an op rounds, and what its operands' errors become.
    """
    bounds: dict[Node, Array] = {}
    order = toposort(outputs)
    values = dict(zip(order, evaluate(order, environment), strict=True))
    with np.errstate(all="ignore"):
        for node in order:
            # Calls run the same code here and there.
            called = isinstance(node.type, TupleType) or isinstance(node.op, (CallOp, Item))
            if form_of(node.op) is not None or isinstance(node.op, SmallMatrix):
                bounds[node] = _bound_of_matrices(node, values)
            elif not called and node.dtype.is_float:
                bound = _own_bound(node, values) + _inherited(node, values, bounds)
                bounds[node] = np.nan_to_num(np.asarray(bound), nan=0.0, posinf=0.0)
    return bounds


def _bound_of_matrices(node: Node, values: Mapping[Node, Array]) -> Array:
    """As much as the condition of the matrix lets come of rounding, in loops and in LAPACK."""
    a, value = values[node.inputs[0]].astype(np.float64), _wide(values[node])
    if not a.size:
        return np.zeros_like(value)
    condition = np.array([np.linalg.cond(m) for m in a.reshape(-1, *a.shape[-2:])])
    condition = condition.reshape((*a.shape[:-2], *(1,) * (value.ndim - a.ndim + 2)))
    return np.asarray(8 * a.shape[-1] * EPSILON[node.dtype] * condition * value.max(initial=1.0))


def _wide(value: Array) -> Array:
    return np.abs(value.astype(np.float64))


def _own_bound(node: Node, values: Mapping[Node, Array]) -> Array:
    """What the op rounds; of a half, what float32 rounds and a unit if that is anything."""
    bound = _bound_in(wide(node.dtype), node, values)
    if node.dtype.is_half:
        unit = np.maximum(EPSILON[node.dtype] * _wide(values[node]), TINY[node.dtype])
        bound = np.where(bound > 0, bound + unit, bound)
    return bound


def _bound_in(dtype: DType, node: Node, values: Mapping[Node, Array]) -> Array:
    value = _wide(values[node])
    epsilon, tiny = EPSILON[dtype], TINY[dtype]
    op = node.op
    if isinstance(op, Map):
        own = TABLE[op.scalar].max_ulp.get(dtype, 0.5)
        if op.scalar in ("logaddexp", "logaddexp2"):
            value = np.maximum.reduce([value, *(_wide(values[i]) for i in node.inputs)])
        # NumPy's own functions are off by a few units too.
        units = 0.0 if own <= 0.5 else own + 4
        return units * np.maximum(epsilon * value, tiny)
    if isinstance(op, Reduce) and op.monoid in (Monoid.SUM, Monoid.PROD):
        operand = values[node.inputs[0]]
        count = max(1, operand.size // max(1, value.size))
        total = value if op.monoid is Monoid.PROD else _wide(operand).sum(op.axes)
        return count * np.maximum(epsilon * total, tiny)
    if isinstance(op, (Dot, PanelDot)):
        a, b = (_wide(values[i]) for i in node.inputs)
        return np.asarray(max(1, a.shape[-1]) * epsilon * op.ref(a, b))
    if isinstance(op, (Convolution, WindowDot)):
        x, w = (_wide(values[i]) for i in node.inputs)
        return np.asarray(max(1, w.size) * epsilon * op.ref(x, w))
    if isinstance(op, Overlap):
        operand = _wide(values[node.inputs[0]])
        return np.asarray(max(1, operand.size) * epsilon * op.ref(operand))
    if isinstance(op, Cumulative) and op.scalar == "logaddexp":
        count = value.shape[op.axis]
        both = np.maximum(value, _wide(values[node.inputs[0]]))
        largest = both[np.isfinite(both)].max(initial=0.0)
        return np.full(value.shape, 8 * count * epsilon * largest)
    if isinstance(op, Cumulative) and op.scalar == "add":
        so_far = op.ref(_wide(values[node.inputs[0]]))
        return np.asarray(value.shape[op.axis] * epsilon * so_far)
    if isinstance(op, (ScatterAdd, ScatterAddAlong)):
        updates, places = (values[i] for i in node.inputs)
        return np.asarray(max(1, updates.size) * epsilon * op.ref(_wide(updates), places))
    return np.zeros_like(value)


def _inherited(node: Node, values: Mapping[Node, Array], bounds: Mapping[Node, Array]) -> Array:
    zero = np.zeros(node.shape)  # type: ignore[arg-type]
    errors = [bounds.get(i) for i in node.inputs]
    if all(e is None or not e.any() for e in errors):
        return zero
    op = node.op
    known = [
        np.zeros(values[i].shape) if e is None else e
        for i, e in zip(node.inputs, errors, strict=True)
    ]
    if isinstance(op, (Dot, PanelDot)):
        a, b = (_wide(values[i]) for i in node.inputs)
        return np.asarray(op.ref(a, known[1]) + op.ref(known[0], b))
    if isinstance(op, (Convolution, WindowDot)):
        x, w = (_wide(values[i]) for i in node.inputs)
        return np.asarray(op.ref(x, known[1]) + op.ref(known[0], w))
    if isinstance(op, Reduce) and op.monoid is Monoid.SUM:
        return np.asarray(known[0].sum(op.axes))
    if isinstance(op, Reduce):
        return np.asarray(known[0].max(op.axes))
    if isinstance(op, Concat):
        return np.asarray(op.ref(*known))
    if isinstance(op, Cumulative):
        return np.asarray(np.cumsum(known[0], op.axis))
    if isinstance(op, LinearRecurrence):
        factors, terms = (_wide(values[i]) for i in node.inputs)
        return np.asarray(op.ref(factors + known[0], terms + known[1]) - op.ref(factors, terms))
    if node.op.pattern is not Pattern.MAP:
        return np.asarray(op.ref(known[0], *(values[i] for i in node.inputs[1:])))
    total = zero
    operands = [values[i] for i in node.inputs]
    for position, error in enumerate(known):
        for sign in (1, -1):
            moved = list(operands)
            moved[position] = (operands[position] + sign * error).astype(operands[position].dtype)
            change = np.asarray(meaning(node, moved)).astype(np.float64) - values[node]
            total = total + np.abs(change)
    return total
