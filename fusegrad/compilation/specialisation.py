"""One signature of a compiled function: what its trace found, what it checks, how a call runs.

Knows steps, storages and guards; traces nothing.
"""

from __future__ import annotations

import ctypes
import struct
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, cast, final

import numpy as np

from .. import pytree
from ..ir.node import Node, substitute
from ..ir.types import TensorType
from ..ops import build
from ..runtime.devices import use
from ..runtime.step import Step
from ..tensors.context import active
from ..tensors.evaluation import hold, remember
from ..tensors.placement import device_of_cell, placed
from ..tensors.storage import Storage
from ..tensors.tensor_class import Tensor, as_tensor, tensor_of
from ..tensors.trace import ArrayReference, Trace
from ..transforms.variables import is_differentiable
from .arguments import Kind, check_apart, pattern_of
from .background import Background, Interpreted
from .guards import Guards
from .layout import layout_of

__all__ = [
    "FORMATS",
    "MISS",
    "Specialisation",
    "Traced",
    "deliver_grad",
    "differentiated",
    "spare_gradient",
    "traced_again",
]

FORMATS = {"float64": "d", "float32": "f4x", "int64": "q", "int32": "i4x", "bool": "?7x"}
"""How a runtime scalar is packed into eight bytes."""

OWNED = 3
"""References to a storage that only its tensor has: the tensor's, a local, and the count's own."""

MISS = object()
"""What the fast path returns for a call that it does not handle."""


@final
class Traced:
    """What a trace found: the graph, and what its inputs and outputs are."""

    def __init__(self) -> None:
        self.inputs: list[Node] = []
        self.outputs: list[Node] = []
        self.donations: list[tuple[int, int]] = []
        self.captures: list[Tensor] = []
        self.getters: list[Callable[[], Any]] = []
        self.scalars: list[str] = []
        self.results: list[tuple[int | None, Any]] = []
        self.structure: pytree.Structure = pytree.LEAF
        self.written: list[Tensor] = []
        self.grads: list[tuple[Tensor, int | None]] = []
        self.grad_reads: list[tuple[Tensor, Tensor | None]] = []
        self.kinds: list[Kind] = []
        # What became of arguments: by place, the output; None: no gradient any more.
        self.argument_writes: list[tuple[int, int]] = []
        self.argument_grads: list[tuple[int, int | None]] = []
        self.argument_grads_in: list[int] = []
        self.arrays: list[tuple[ArrayReference, bytes]] = []
        self.met: set[int] = set()
        self.bound: dict[int, Tensor] = {}
        self.pattern: tuple[int, ...] = ()

    def collect(self, trace: Trace, result: Any, scalars: Sequence[Node]) -> None:
        """Read the graph off what the function returned and changed; still inside the trace."""
        leaves, self.structure = pytree.flatten(result)
        for leaf in leaves:
            if isinstance(leaf, (Tensor, np.ndarray, np.generic)):
                self.results.append((len(self.outputs), None))
                self.outputs.append(as_tensor(leaf)._read())
            else:
                self.results.append((None, leaf))
        pairs: list[tuple[int, Tensor]] = []
        for tensor in trace.written:
            pairs.append((len(self.outputs), tensor))
            self.written.append(tensor)
            self.outputs.append(tensor._read())
        for tensor in trace.grads:
            if tensor._trace is trace and tensor not in trace.written:
                continue
            grad = tensor.grad
            if grad is None:
                self.grads.append((tensor, None))
                continue
            before = trace.grads[tensor]
            if grad is before:
                continue
            self.grads.append((tensor, len(self.outputs)))
            self.outputs.append(grad._read())
        captured = {}
        for tensor, node in trace.captures:
            captured[id(tensor)] = len(self.inputs)
            self.captures.append(tensor)
            self.inputs.append(node)
        self.inputs += scalars
        for getter, node, _ in trace.scalars:
            self.getters.append(getter)
            self.scalars.append(FORMATS[node.dtype.name])
            self.inputs.append(node)
        self.donations = [
            (output, captured[id(tensor)]) for output, tensor in pairs if id(tensor) in captured
        ]

    @property
    def graph(self) -> tuple[list[Node], list[Node], list[tuple[int, int]]]:
        """What is compiled: outputs, inputs, and which of them would like to share memory."""
        return self.outputs, self.inputs, self.donations

    def changed_arrays(self) -> list[ArrayReference]:
        """The NumPy arrays among the constants that have other contents now."""
        found = []
        for reference, before in self.arrays:
            array = reference()
            if array is not None and array.tobytes() != before:
                found.append(reference)
        return found

    def fits(self, leaves: Sequence[Any]) -> bool:
        """Whether the tensors among the arguments are to each other, and to captured ones, as
        they were; only what is written makes a difference."""
        for place, tensor in self.bound.items():
            if leaves[place] is not tensor:
                return False
        if not self.argument_writes and not self.written:
            return True
        outside = set(map(id, (*self.written, *(self.captures if self.argument_writes else ()))))
        if any(id(v) in outside and place not in self.bound for place, v in enumerate(leaves)):
            return False
        if self.argument_writes and pattern_of(leaves) != self.pattern:
            return False
        self.check(leaves)
        return True

    def check(self, leaves: Sequence[Any]) -> None:
        """Raise StateError if what is written shares elements with something else that is used."""
        places = [place for place, _ in self.argument_writes]
        check_apart(leaves, places, [*self.captures, *self.written])


class Specialisation:
    """A traced and compiled signature."""

    def __init__(
        self, traced: Traced, step: Step | Interpreted, guards: Guards, threads: int = 0
    ) -> None:
        self.traced = traced
        # One that interprets has what a call needs, and no fast path.
        self.step = cast("Step", step)
        self.guards = guards
        # At most so many threads; 0: as many as there are.
        self.threads = threads
        self.kinds = kinds = traced.kinds
        self.packer = struct.Struct("=" + "".join(traced.scalars))
        self.captured = [(t, t._type, t.requires_grad) for t in traced.captures]
        self.devices = [device_of_cell(t) for t in traced.captures] if use.on else []
        self.grad_state = traced.grad_reads
        unique = step.record.program.outputs
        kinds_of = (n.tensor_type.plain for n in traced.outputs)
        types = dict(zip(step.record.outputs, kinds_of, strict=True))
        self.types = [types[position] for position in range(unique)]
        first = kinds.count("array") + kinds.count("view") + len(traced.argument_grads_in)
        self.reuse: list[Tensor | None] = [None] * unique
        for output, source in step.record.donated:
            self.reuse[output] = traced.captures[source - first]
        # By output: whose gradient it becomes, if nothing can fail after that one is overwritten.
        self.grad_owners: list[Tensor | None] = [None] * unique
        self.grads_kept = {tensor for tensor, grad in traced.grad_reads if grad is not None}
        if not self.step.may_fail:
            for tensor, index in traced.grads:
                if index is not None and tensor not in self.grads_kept:
                    self.grad_owners[step.record.outputs[index]] = tensor
        self.stateful = bool(
            traced.written or traced.grads or traced.argument_writes or traced.argument_grads
        )
        self.fast: Callable[..., Any] | None = None
        self.fast_known = False
        self.background: Background | None = None
        self.autocast = active.autocast

    def holds(self) -> bool:
        """Whether the surroundings are as they were traced."""
        if self.autocast is not active.autocast:
            return False
        for tensor, kind, grad in self.captured:
            if tensor._type is not kind or tensor.requires_grad is not grad:
                return False
        for tensor, known in self.grad_state:
            if tensor._grad is not known:
                return False
        return self.moved() is None and self.surrounded()

    def moved(self) -> Tensor | None:
        """A captured tensor that is on another device than it was."""
        if use.on:
            for i, tensor in enumerate(self.traced.captures):
                before = (self.devices[i],) if self.devices else ("cpu", "")
                if device_of_cell(tensor) not in before:
                    return tensor
        return None

    def surrounded(self) -> bool:
        """Whether names, objects and NumPy arrays from outside are as they were traced."""
        return not self.traced.changed_arrays() and self.guards.hold()

    def difference(self) -> str | None:
        """What changed since the trace, in words."""
        if self.autocast is not active.autocast:
            return f"autocast was {self.autocast} and is {active.autocast}"
        for tensor, kind, grad in self.captured:
            name = tensor.name or "a captured tensor"
            if tensor._type is not kind:
                return f"{name} was {kind} and is {tensor._type}"
            if tensor.requires_grad is not grad:
                return f"requires_grad of {name} was {grad} and is {tensor.requires_grad}"
        other = self.moved()
        if other is not None:
            return f"{other.name or 'a captured tensor'} is on {other.device} now"
        for tensor, known in self.grad_state:
            if tensor._grad is not known:
                what = "is None now" if tensor._grad is None else "was None"
                what = what if known is None or tensor._grad is None else "is another tensor"
                return f".grad of {tensor.name or 'a captured tensor'} {what}"
        if self.traced.changed_arrays():
            return "the contents of a NumPy array changed that the function uses"
        return self.guards.difference()

    def inputs(self, leaves: Sequence[Any]) -> tuple[list[int], list[Any], list[Any]]:
        """The addresses of all inputs, the numbers among them, and what must outlive the call."""
        traced = self.traced
        addresses: list[int] = []
        scalars: list[Any] = []
        keep: list[Any] = []
        for value, kind in zip(leaves, self.kinds, strict=True):
            if kind == "array":
                addresses.append(address_of(value, keep))
            elif kind == "view":
                layout = layout_of(value)
                assert layout is not None
                addresses.append(value.ctypes.data + layout.offset)
            elif kind == "number":
                scalars.append(value)
        addresses += [address_of(leaves[place]._grad, keep) for place in traced.argument_grads_in]
        for tensor, _, _ in self.captured:
            storage = tensor._storage
            if storage is None:
                storage = placed(tensor._materialize(), "cpu")
                keep.append(storage)
            addresses.append(storage.address)
        scalars += [getter() for getter in traced.getters]
        if scalars:
            buffer = ctypes.create_string_buffer(8 * len(scalars))
            self.packer.pack_into(buffer, 0, *scalars)
            start = ctypes.addressof(buffer)
            addresses += range(start, start + 8 * len(scalars), 8)
            keep.append(buffer)
        return addresses, scalars, keep

    def run(self, leaves: Sequence[Any]) -> Any:
        """Run the step on the arguments and put every result in its place."""
        addresses, scalars, keep = self.inputs(leaves)
        # Before anything is written in place.
        history = self._history(leaves, scalars) if differentiated(leaves) else None
        storages = self._places(addresses)
        self.step(addresses, self.threads)
        del keep
        self._deliver_arguments(leaves, storages, history)
        return self._deliver(storages, history)

    def _history(self, leaves: Sequence[Any], scalars: Sequence[Any]) -> list[Node]:
        """The outputs as graph of the arguments, for gradients by them."""
        traced = self.traced
        given = [
            as_tensor(value)._read()
            for value, kind in zip(leaves, self.kinds, strict=True)
            if kind == "array"
        ]
        given += [leaves[place]._grad._read() for place in traced.argument_grads_in]
        given += [tensor._read() for tensor in traced.captures]
        numbers = traced.inputs[len(given) :]
        given += [
            build.constant(value, node.dtype) for value, node in zip(scalars, numbers, strict=True)
        ]
        return substitute(traced.outputs, dict(zip(traced.inputs, given, strict=True)))

    def _places(self, addresses: list[int]) -> list[Storage]:
        """Memory for the outputs: in place where the tensor is the only owner."""
        storages: list[Storage] = []
        for kind, tensor, owner in zip(self.types, self.reuse, self.grad_owners, strict=True):
            spare = None if owner is None else spare_gradient(owner, kind)
            if spare is not None:
                storages.append(spare)
                addresses.append(spare.address)
                continue
            if tensor is not None:
                storage = tensor._storage
                alone = storage is not None and sys.getrefcount(storage) == OWNED
                if storage is not None and alone and not storage.shared:
                    storages.append(storage)
                    addresses.append(storage.address)
                    continue
            storage = Storage(kind)
            storages.append(storage)
            addresses.append(storage.address)
        return storages

    def _deliver_arguments(
        self, leaves: Sequence[Any], storages: list[Storage], history: list[Node] | None
    ) -> None:
        where = self.step.record.outputs
        for place, output in self.traced.argument_writes:
            storage = storages[where[output]]
            leaves[place]._receive(storage)
            if history is not None:
                keep_history(leaves[place], history[output], storage)
        for place, grad in self.traced.argument_grads:
            if grad is None:
                leaves[place]._grad = None
            else:
                keep = place in self.traced.argument_grads_in
                deliver_grad(leaves[place], storages[where[grad]], keep)

    def _deliver(self, storages: list[Storage], history: list[Node] | None) -> Any:
        traced = self.traced
        where = self.step.record.outputs
        position = sum(1 for index, _ in traced.results if index is not None)
        for tensor in traced.written:
            tensor._install(storages[where[position]])
            position += 1
        for tensor, index in traced.grads:
            if index is None:
                tensor._grad = None
            else:
                deliver_grad(tensor, storages[where[index]], tensor in self.grads_kept)
        leaves = [
            fixed
            if index is None
            else tensor_of(storages[where[index]])
            if history is None
            else recorded(history[index], storages[where[index]])
            for index, fixed in traced.results
        ]
        return pytree.unflatten(traced.structure, leaves)


def traced_again(
    leaves: Sequence[Any], traced: Traced, bound: frozenset[int], together: bool
) -> tuple[frozenset[int], bool] | None:
    """How to trace again when the same tensor came in on two ways and was written."""
    written = {place for place, _ in traced.argument_writes}
    outside = {id(tensor) for tensor in traced.captures}
    changed = {id(tensor) for tensor in traced.written}
    both = {
        place
        for place, value in enumerate(leaves)
        if isinstance(value, Tensor)
        and place not in bound
        and (id(value) in changed or (place in written and id(value) in outside))
    }
    if both:
        return bound | both, together
    count = Counter(id(value) for value in leaves if isinstance(value, Tensor))
    if not together and any(count[id(leaves[place])] > 1 for place in written):
        return bound, True
    return None


def differentiated(leaves: Sequence[Any]) -> bool:
    """Whether gradients by an argument may be asked for."""
    return active.grad and any(
        isinstance(value, Tensor) and value.requires_grad for value in leaves
    )


def recorded(node: Node, storage: Storage) -> Tensor:
    """A tensor with a value, and with the graph behind it if that has a gradient."""
    tensor = tensor_of(storage)
    keep_history(tensor, node, storage)
    return tensor


def keep_history(tensor: Tensor, node: Node, storage: Storage) -> None:
    """Note the graph behind the value of a tensor if it has a gradient."""
    if node.dtype.is_float and is_differentiable(node) and not _is_variable(tensor):
        tensor._node = node
        tensor.requires_grad, tensor._leaf = True, False
        remember(node, storage)


def _is_variable(tensor: Tensor) -> bool:
    return tensor.requires_grad and tensor._leaf


def address_of(value: Any, keep: list[Any]) -> int:
    """Where the elements of an argument lie; what owns them is kept for the call."""
    if isinstance(value, Tensor):
        storage = placed(value._materialize(), "cpu")
        keep.append(storage)
        return storage.address
    array = value
    if type(array) is not np.ndarray or not array.flags.c_contiguous or not array.flags.aligned:
        array = np.ascontiguousarray(value)
        if not array.flags.aligned:
            array = array.copy()
        keep.append(array)
    address: int = array.ctypes.data
    return address


def spare_gradient(tensor: Tensor, kind: TensorType) -> Storage | None:
    """The storage of the gradient that a call replaces, if nobody else has it."""
    grad = tensor._grad
    if type(grad) is not Tensor or sys.getrefcount(grad) != OWNED or grad._shared is not None:
        return None
    storage = grad._storage
    if type(storage) is not Storage or sys.getrefcount(storage) != OWNED:
        return None
    return storage if storage.type is kind else None


def deliver_grad(tensor: Tensor, storage: Storage, keep: bool) -> None:
    """Give a gradient to its tensor.

    A gradient tensor that somebody holds is another one afterwards, unless the function added to it
    (`keep`).
    """
    known = cast("Tensor | None", tensor._grad)
    unseen = sys.getrefcount(known) == OWNED
    if known is not None and known._trace is None and (keep or (unseen and known._shared is None)):
        known._install(storage)
        return
    grad = object.__new__(Tensor)
    grad._blank(storage.type)
    hold(grad, storage)
    tensor._grad = grad
