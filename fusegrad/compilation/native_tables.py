"""The tables of a native call: what one specialisation checks, where it puts results.

Knows specialisations and the words of `native_text`; decides nothing, and gives up on anything
unusual.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, final

import numpy as np

from .. import pytree
from ..runtime import memory
from ..runtime.threads import THREADS_AT
from ..tensors.tensor_class import Tensor
from .containers import builder
from .native_text import KEPT_RESULTS, PLAN
from .specialisation import FORMATS, Specialisation
from .watches import MISSING, Attribute, Cell, Elements, Entry, Items, Pairs, Watch, is_constant

__all__ = ["Plan", "plan_of"]

_MOST_WORDS = 1 << 15
"""Of one call: they lie on the stack."""

_MOST_KEPT = 4096
"""Bytes of a result whose memory waits for the next call."""
_MOST_BRIEF = 16 << 10
"""Bytes that a step reads and writes while it holds the interpreter's lock."""

_FORMATS = {"float64": 0, "int64": 1, "float32": 2, "int32": 3, "bool": 4}
_NUMBERS = {FORMATS[name]: number for name, number in _FORMATS.items()}
_STATIC = (bool, int, float, str, bytes, type(None))
_FIRST = 4
"""The words of a block before the addresses."""
_BYTES = bytes.__basicsize__ - 1
"""Where a bytes object has its contents, which end with a zero."""
_DECIDED = 8
"""Added to the kind of a place where any other object means another trace."""


@final
class Plan:
    """The table of one specialisation, and what it refers to.

    Attributes
    ----------
    address : int
        Of its words.
    """

    def __init__(self, words: dict[str, int], keep: list[Any]) -> None:
        self._table = (ctypes.c_int64 * len(PLAN))(*(words[name] for name in PLAN))
        self._keep = keep
        self.address = ctypes.addressof(self._table)


def plan_of(
    entry: Specialisation, leaves: Sequence[Any], lock: Any, hits: ctypes.c_int64
) -> Plan | None:
    """The plan of calls like the one with these leaves, None when there is none.

    Parameters
    ----------
    entry : Specialisation
    leaves : sequence
        The arguments.
    lock : Turn
        Held by calls that change tensors.
    hits : c_int64
        Counts the calls.

    Returns
    -------
    Plan or None
    """
    traced = entry.traced
    if entry.step.may_fail or traced.argument_grads or traced.argument_grads_in or traced.bound:
        return None
    tensors = sum(isinstance(value, Tensor) for value in leaves)
    if traced.argument_writes and len(set(traced.pattern)) < tensors:
        return None
    writer = _Writer(entry)
    if not writer.arguments(leaves):
        return None
    writer.surroundings(lock)
    writer.state()
    writer.outputs()
    writer.results()
    if not writer.step():
        return None
    writer.words["hits"] = ctypes.addressof(hits)
    writer.keep.append(hits)
    return Plan(writer.words, writer.keep)


@final
class _Writer:
    def __init__(self, entry: Specialisation) -> None:
        self.entry = entry
        self.traced = entry.traced
        self.words: dict[str, int] = {}
        self.keep: list[Any] = [entry]
        self.inputs = 0
        self.numbers: list[int] = []
        self.held = 0

    def ref(self, value: Any) -> int:
        """The address of an object, which is kept."""
        self.keep.append(value)
        return id(value)

    def table(self, words: Sequence[int]) -> int:
        """The address of words."""
        made = (ctypes.c_int64 * max(1, len(words)))(*words)
        self.keep.append(made)
        return ctypes.addressof(made)

    def records(self, name: str, records: Sequence[Sequence[int]]) -> None:
        self.words[f"{name}_count"] = len(records)
        self.words[f"{name}_at"] = self.table([word for record in records for word in record])

    def arguments(self, leaves: Sequence[Any]) -> bool:
        """The checks of arguments; False when one is unusual."""
        records: list[tuple[int, int, int, int, int]] = []
        numbers: list[int] = []
        written = {place for place, _ in self.traced.argument_writes}
        for place, (value, kind) in enumerate(zip(leaves, self.entry.kinds, strict=True)):
            if kind == "array":
                record = self.array(value, place in written)
                if record is None:
                    return False
                records.append(record)
                self.inputs += 1
            elif kind == "number":
                numbers.append(len(records))
                records.append((2 if type(value) is float else 3, 0, 0, 0, 0))
            elif kind == "static" and type(value) in _STATIC:
                records.append((4, 0, self.ref(value), 0, 0))
            else:
                return False
        # Numbers come behind arrays and captured tensors.
        first = _FIRST + self.inputs + len(self.traced.captures)
        for position, number in enumerate(numbers):
            records[number] = (records[number][0], first + position, 0, 0, 0)
        self.numbers = [first + i for i in range(len(self.traced.scalars))]
        self.records("arguments", records)
        return True

    def array(self, value: Any, written: bool) -> tuple[int, int, int, int, int] | None:
        word = _FIRST + self.inputs
        if type(value) is np.ndarray and value.dtype.isbuiltin == 1:
            extents = self.table(value.shape)
            return 0, word, self.ref(value.dtype), value.ndim, extents
        if type(value) is Tensor and not value.requires_grad:
            self.held += 1
            return 1, word, self.ref(value._type), id(value._weak), int(written)
        return None

    def surroundings(self, lock: Any) -> None:
        guards = self.entry.guards
        arrays = self.traced.arrays
        guarded = bool(guards or arrays)
        hold = self.entry.surrounded if arrays else guards.hold
        self.words["hold"] = self.ref(hold) if guarded else 0
        self.words["version"] = guards.version
        places = [self.place(watch) for watch in guards.watches]
        if arrays or None in places:
            # Some contents are compared at every call: no object is this one.
            places = [(0, self.ref({}), self.ref("contents"), self.ref(object()))]
        self.records("watches", [place for place in places if place is not None])
        stateful = self.entry.stateful
        self.words["acquire"] = self.ref(lock.acquire) if stateful else 0
        self.words["release"] = self.ref(lock.release) if stateful else 0
        self.words["autocast"] = self.ref(self.entry.autocast)

    def place(self, watch: Watch) -> tuple[int, int, int, int] | None:
        """The check of one place; None where that is not for native code."""
        if isinstance(watch, Items):
            items = [self.ref(item) for item in watch.items]
            return 2, self.ref(watch.value), len(items), self.table(items)
        if isinstance(watch, Pairs):
            words = [self.ref(part) for pair in watch.pairs for part in pair]
            return 3, self.ref(watch.value), len(watch.pairs), self.table(words)
        if isinstance(watch, Elements) and watch.value.flags.c_contiguous:
            known = self.table(
                [len(watch.elements), self.ref(watch.elements) + _BYTES, watch.value.ndim]
            )
            return 5, self.ref(watch.value), known, self.table(watch.shape)
        if not isinstance(watch, (Entry, Cell, Attribute)):
            return None
        value = watch.value
        # Another object may be an equal constant: that is for the guards to say.
        decided = (
            _DECIDED if value is None or isinstance(value, bool) or not is_constant(value) else 0
        )
        known = 0 if value is MISSING else self.ref(value)
        if isinstance(watch, Entry):
            return decided, self.ref(watch.scope), self.ref(watch.key), known
        if isinstance(watch, Cell):
            return 1 + decided, self.ref(watch.cell), 0, known
        return 4 + decided, self.ref(watch.owner), self.ref(watch.name), known

    def state(self) -> None:
        captured = self.entry.captured
        self.records("captures", [(self.ref(t), self.ref(k), id(g)) for t, k, g in captured])
        seen = self.entry.grad_state
        self.records("seen", [(self.ref(t), self.ref(g)) for t, g in seen])
        self.held += len(captured)
        self.words["first_capture"] = _FIRST + self.inputs
        getters = self.traced.getters
        own = len(self.traced.scalars) - len(getters)
        formats = [_NUMBERS[f] for f in self.traced.scalars[own:]]
        words = self.numbers[own:]
        self.records(
            "getters",
            [(self.ref(g), f, w) for g, f, w in zip(getters, formats, words, strict=True)],
        )
        self.words["scalars"] = len(self.traced.scalars)
        self.words["held"] = self.held

    def outputs(self) -> None:
        places = {id(t): i for i, (t, _, _) in enumerate(self.entry.captured)}
        records = []
        entry, results = self.entry, self.plain_results()
        for position, (kind, reuse, owner) in enumerate(
            zip(entry.types, entry.reuse, entry.grad_owners, strict=True)
        ):
            nbytes = max(64, kind.size * kind.dtype.itemsize)  # type: ignore[operator]
            size_class = memory.size_class(nbytes)
            keep = position in results and nbytes <= _MOST_KEPT
            records.append(
                (
                    self.ref(kind),
                    self.ref(size_class.free),
                    self.ref(partial(memory.allocate, nbytes)),
                    -1 if reuse is None else places[id(reuse)],
                    self.ref(size_class),
                    self.ref(nbytes),
                    0 if owner is None else self.ref(owner),
                    self.ref([None] * KEPT_RESULTS) if keep else 0,
                )
            )
        self.records("outputs", records)
        self.words["first_output"] = _FIRST + self.entry.step.record.program.inputs

    def plain_results(self) -> set[int]:
        """The outputs that are results of the function and nothing else."""
        traced, where = self.traced, self.entry.step.record.outputs
        results = [index for index, _ in traced.results if index is not None]
        others = {where[len(results) + i] for i in range(len(traced.written))}
        others |= {where[output] for _, output in traced.argument_writes}
        others |= {where[i] for _, i in traced.grads if i is not None}
        return {where[i] for i in results} - others

    def results(self) -> None:
        traced, where = self.traced, self.entry.step.record.outputs
        first = sum(1 for index, _ in traced.results if index is not None)
        self.records(
            "written",
            [(self.ref(t), where[first + i]) for i, t in enumerate(traced.written)],
        )
        changed = traced.argument_writes
        self.records("changed", [(place, where[output]) for place, output in changed])
        outside = [*traced.written, *(traced.captures if changed else ())]
        self.records("outside", [(id(tensor),) for tensor in outside])
        self.records(
            "grads",
            [
                (self.ref(t), -1 if i is None else where[i], int(t in self.entry.grads_kept))
                for t, i in traced.grads
            ],
        )
        self.records(
            "results",
            [(-1 if i is None else where[i], self.ref(fixed)) for i, fixed in traced.results],
        )
        form, finish = _form(traced.structure, len(traced.results))
        self.words["form"] = form
        self.words["finish"] = self.ref(finish)

    def step(self) -> bool:
        step = self.entry.step
        program = step.record.program
        count = program.inputs + program.outputs
        stride = step.stride | self.entry.threads << THREADS_AT
        block = [step.table, 0, 0, stride, *([0] * count), *step.fixed]
        self.words["block_words"] = len(block)
        self.words["block_at"] = self.table(block)
        self.words["needs_arena"] = int(program.arena_bytes + program.scratch_bytes > 0)
        self.words["arenas"] = self.ref(step.arenas)
        self.words["take"] = self.ref(step.take_arena)
        self.words["scratch_at"] = step.scratch_at
        self.words["run"] = step.entry.address
        self.words["brief"] = int(self.brief())
        self.words["brief"] = int(self.brief())
        return len(block) + self.held + len(self.traced.scalars) < _MOST_WORDS

    def brief(self) -> bool:
        """Whether the step ends sooner than another thread would have the interpreter's lock."""
        program = self.entry.step.record.program
        if program.calls or program.groups != list(program.commands):
            return False
        if any(launch.chunks > 1 for group in program.groups for launch in group.launches):
            return False
        types = (*(node.type for node in self.traced.inputs), *self.entry.types)
        moved: int = sum(getattr(t, "nbytes", 0) for t in types)
        return moved + program.arena_bytes <= _MOST_BRIEF


def _form(structure: pytree.Structure, count: int) -> tuple[int, Callable[..., Any] | None]:
    """How results are put together: 0 for one alone, 1 for a tuple, 2 by a function of a tuple."""
    if structure is pytree.LEAF:
        return 0, None
    if structure == pytree.flatten((0,) * count)[1]:
        return 1, None
    return 2, builder(structure) or partial(pytree.unflatten, structure)
