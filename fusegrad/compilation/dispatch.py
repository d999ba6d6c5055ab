"""The fast path of a call: Python text for one signature, around the native step.

Knows what one specialisation checks and delivers; decides nothing and gives up on anything unusual.

The general path of `compile` handles every call; this one handles calls like the last, whose
arguments are arrays, tensors and numbers without nesting, with as few operations as Python allows.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import pytree
from ..runtime.threads import THREADS_AT
from ..tensors.context import active
from ..tensors.storage import Storage
from ..tensors.tensor_class import Tensor
from .specialisation import MISS, Specialisation, deliver_grad, spare_gradient

__all__ = ["build"]

_PLAIN_ARRAY = 0x101
"""The flags of NumPy arrays that are C-contiguous and aligned."""

_DATA = 16
"""Where a NumPy array object has the address of its data: after reference count and type."""


def build(
    entry: Specialisation, leaves: Sequence[Any], lock: Any, hits: ctypes.c_int64
) -> Callable[..., Any] | None:
    """The fast path for calls like the one with these leaves, None when there is none."""
    writer = _Writer(entry)
    writer.scope["hits"] = hits
    if not writer.arguments(leaves):
        return None
    writer.state()
    writer.memory()
    writer.results()
    text = writer.text(lock)
    scope: dict[str, Any] = writer.scope
    exec(text, scope)
    function: Callable[..., Any] = scope["call"]
    return function


class _Writer:
    """The lines of the function, and the objects that they name."""

    def __init__(self, entry: Specialisation) -> None:
        self.entry = entry
        self.traced = entry.traced
        self.step = entry.step
        self.checks: list[str] = []
        self.body: list[str] = []
        self.words: list[str] = []
        self.numbers: list[str] = []
        self.count = 0
        self.scope: dict[str, Any] = {
            "MISS": MISS,
            "active": active,
            "ndarray": np.ndarray,
            "Tensor": Tensor,
            "Storage": Storage,
            "word": ctypes.c_uint64.from_address,
            "new": object.__new__,
            "refs": sys.getrefcount,
            "arenas": self.step.arenas,
            "take": self.step.take_arena,
            "native": self.step.run,
        }

    def name(self, value: Any, prefix: str) -> str:
        """A global of the function that is `value`."""
        name = f"{prefix}{len(self.scope)}"
        self.scope[name] = value
        return name

    def arguments(self, leaves: Sequence[Any]) -> bool:
        """Checks of the arguments and where their data is; False when one is unusual."""
        self.count = len(leaves)
        for i, value in enumerate(leaves):
            a = f"a{i}"
            plain = self.entry.kinds[i] == "array"
            if plain and type(value) is np.ndarray and value.dtype.isbuiltin == 1:
                dtype, shape = self.name(value.dtype, "D"), self.name(value.shape, "S")
                self.checks.append(
                    f"type({a}) is not ndarray or {a}.dtype is not {dtype} or {a}.shape != {shape}"
                    f" or {a}.flags.num & {_PLAIN_ARRAY} != {_PLAIN_ARRAY}"
                )
                self.words.append(f"word(id({a}) + {_DATA}).value")
            elif type(value) is Tensor and not value.requires_grad:
                kind = self.name(value._type, "T")
                self.checks.append(
                    f"type({a}) is not Tensor or {a}._type is not {kind} or {a}._storage is None"
                    f" or {a}.requires_grad or {a}._weak is not {value._weak}"
                )
                # Held, so that it has another owner if it is the state of a captured tensor too.
                self.body.append(f"s{i} = {a}._storage")
                self.words.append(f"s{i}.address")
            elif type(value) in (float, int) and self.entry.kinds[i] == "number":
                self.checks.append(f"type({a}) is not {type(value).__name__}")
                self.numbers.append(a)
            else:
                return False
        return self.apart(leaves)

    def apart(self, leaves: Sequence[Any]) -> bool:
        """Checks that written tensors are no others at the same time; False if some are."""
        traced = self.traced
        if traced.argument_grads or traced.argument_grads_in or traced.bound:
            return False
        tensors = [i for i, value in enumerate(leaves) if isinstance(value, Tensor)]
        if len(set(traced.pattern)) < len(tensors):
            return False
        writes = [i for i, _ in traced.argument_writes]
        outside = frozenset(map(id, (*traced.written, *(traced.captures if writes else ()))))
        if outside and tensors:
            known = self.name(outside, "O")
            self.checks += [f"id(a{i}) in {known}" for i in tensors]
        for i in writes:
            self.checks.append(f"a{i}._shared is not None")
            self.checks += [f"a{i} is a{k}" for k in tensors if k != i]
        return True

    def state(self) -> None:
        """Checks of what was captured, and where it is."""
        for i, (tensor, kind, grad) in enumerate(self.entry.captured):
            t, k = self.name(tensor, "C"), self.name(kind, "T")
            self.body.append(f"c{i} = {t}._storage")
            self.body.append(
                f"if c{i} is None or {t}._type is not {k} or {t}.requires_grad is not {grad}: "
                "return MISS"
            )
            self.words.append(f"c{i}.address")
        for tensor, known in self.entry.grad_state:
            before = "None" if known is None else self.name(known, "K")
            self.body.append(f"if {self.name(tensor, 'G')}._grad is not {before}: return MISS")
        if self.traced.arrays:
            self.body.append(f"if {self.name(self.traced.changed_arrays, 'news')}(): return MISS")
        guards = self.entry.guards
        if guards:
            self.body.append(f"if not {self.name(guards.hold, 'hold')}(): return MISS")
        self.numbers += [f"{self.name(g, 'get')}()" for g in self.traced.getters]

    def memory(self) -> None:
        """Memory of the outputs, the block of words, and the native call."""
        places = {id(t): i for i, (t, _, _) in enumerate(self.entry.captured)}
        entry = self.entry
        of_outputs = zip(entry.types, entry.reuse, entry.grad_owners, strict=True)
        for i, (kind, reuse, owner) in enumerate(of_outputs):
            made = f"Storage({self.name(kind, 'T')})"
            if owner is not None:
                spare = self.name(spare_gradient, "spare")
                made = f"{spare}({self.name(owner, 'G')}, {self.name(kind, 'T')}) or {made}"
            if reuse is not None:
                c = f"c{places[id(reuse)]}"
                made = f"{c} if refs({c}) == 3 and not {c}.shared else {made}"
            self.body.append(f"y{i} = {made}")
        inputs = [*self.words, *("0" for _ in self.numbers)]
        words = [*inputs, *(f"y{i}.address" for i in range(len(self.entry.types)))]
        words += map(str, self.step.fixed)
        step = self.step
        stride = step.stride | self.entry.threads << THREADS_AT
        size = 4 + len(words) + len(self.numbers)
        block = self.name(ctypes.c_uint64 * size, "Block")
        self.body += [
            "arena = arenas.pop() if arenas else take()",
            "start = arena.address",
            f"block = {block}({step.table}, start, start + {step.scratch_at}, {stride}, "
            f"{', '.join(words)})",
        ]
        if self.numbers:
            at, first = 4 + len(words), 4 + len(self.words)
            pack = self.name(self.entry.packer.pack_into, "pack")
            self.scope["addressof"] = ctypes.addressof
            self.body.append(f"{pack}(block, {8 * at}, {', '.join(self.numbers)})")
            self.body.append("own = addressof(block)")
            for i in range(len(self.numbers)):
                self.body.append(f"block[{first + i}] = own + {8 * (at + i)}")
        self.body += ["native(block)", "arenas.append(arena)", "hits.value += 1"]

    def results(self) -> None:
        """Put every result in its place."""
        traced, where = self.traced, self.step.record.outputs
        position = sum(1 for index, _ in traced.results if index is not None)
        for tensor in traced.written:
            t = self.name(tensor, "W")
            self.body.append(f"{t}._type = y{where[position]}.type")
            self.body.append(f"{t}._storage = y{where[position]}")
            self.body.append(f"{t}._node = {t}._trace = {t}._variable = None")
            self.body.append(f"if {t}._shared is not None: {t}._shared.changed({t})")
            position += 1
        for place, output in traced.argument_writes:
            self.body.append(f"a{place}._receive(y{where[output]})")
        for tensor, index in traced.grads:
            t = self.name(tensor, "G")
            if index is None:
                self.body.append(f"{t}._grad = None")
                continue
            kept = tensor in self.entry.grads_kept
            self.body.append(f"{self.name(deliver_grad, 'deliver')}({t}, y{where[index]}, {kept})")
        made = []
        for number, (index, fixed) in enumerate(traced.results):
            if index is None:
                made.append(self.name(fixed, "F"))
                continue
            y = where[index]
            self.body += [
                f"r{number} = new(Tensor)",
                f"r{number}._blank(y{y}.type)",
                f"r{number}._storage = y{y}",
            ]
            made.append(f"r{number}")
        if traced.structure is pytree.LEAF:
            self.body.append(f"return {made[0]}")
        else:
            unflatten = self.name(pytree.unflatten, "unflatten")
            structure = self.name(traced.structure, "structure")
            self.body.append(f"return {unflatten}({structure}, [{', '.join(made)}])")

    def text(self, lock: Any) -> str:
        """The function as text."""
        names = ", ".join(f"a{i}" for i in range(self.count))
        autocast = self.name(self.entry.autocast, "autocast")
        lines = [
            "def call(*args):",
            f"    if active.trace is not None or active.inline or len(args) != {self.count}: "
            "return MISS",
            f"    if active.autocast is not {autocast}: return MISS",
        ]
        if self.count:
            lines.append(f"    {names}, = args")
        lines += [f"    if {check}: return MISS" for check in self.checks]
        indent = "    "
        if self.entry.stateful:
            lines.append(f"    with {self.name(lock, 'lock')}:")
            indent = "        "
        lines += [indent + line for line in self.body]
        return "\n".join(lines) + "\n"
