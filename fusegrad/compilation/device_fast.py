"""The fast path of a call whose tensors are on a GPU: what is as it was is not looked at again.

Knows what one specialisation checks and delivers; gives up on anything unusual.

Almost all of a call is the same as the last time: the same captured tensors at the same places, the
same memory for results that nobody kept. So of each of them the node that it had is known, and only
whether it still has it, and nobody else, is asked.
"""

from __future__ import annotations

import ctypes
import struct
import sys
import weakref
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, final

import numpy as np

from .. import pytree
from ..ops.source import Input
from ..runtime.devices import GPU, products
from ..tensors.context import Token, active
from ..tensors.storage import DeviceStorage
from ..tensors.tensor_class import Tensor
from .specialisation import MISS, OWNED, deliver_grad

__all__ = ["DeviceCalls", "build_device_call"]

_PLAIN_ARRAY = 0x101
"""The flags of NumPy arrays that are C-contiguous and aligned."""
_DATA = 16
"""Where a NumPy array object has the address of its data: after reference count and type."""
_ALIGN = 256
_RING = 3
"""Places that a result of a call is put in, in turn."""
_COPIED = 1 << 20
"""Bytes of a result that is rather copied than written where nothing was written before."""

_MOST_CALLS = 8
"""How many signatures are tried before the general path."""

_refs = sys.getrefcount
_word = ctypes.c_uint64.from_address


@final
class _Known:
    """The node that a tensor had, and where its value is; it is not held."""

    __slots__ = ("address", "node")

    def __init__(self, node: Any) -> None:
        self.node = weakref.ref(node)
        self.address: int = node.op.token.storage.address


@final
class _Kept:
    """The node of a result that was given out, to be used again once nobody else has it."""

    __slots__ = ("address", "node")

    def __init__(self, node: Any) -> None:
        self.node = node
        self.address: int = node.op.token.storage.address


def _owners(node: Any) -> tuple[int, int, int, int]:
    op = node.op
    token = op.token
    storage = token.storage
    return _refs(node), _refs(op), _refs(token), _refs(storage)


def _one_owner() -> tuple[int, int, int, int]:
    """What `_owners` gives where one object has the node, and each part is the last one's."""
    storage = SimpleNamespace(storage=SimpleNamespace())
    node = SimpleNamespace(node=SimpleNamespace(op=SimpleNamespace(token=storage)))
    del storage
    return _owners(node.node)


_ALONE = _one_owner()


def _place_of(tensor: Tensor, gpu: GPU) -> _Known | None:
    """Where a tensor is that is on a GPU, None if it is not or waits for its value."""
    node = tensor._node
    if tensor._storage is not None or node is None or type(node.op) is not Input:
        return None
    token = node.op.token
    if type(token) is not Token or type(token.storage) is not DeviceStorage:
        return None
    if token.storage.gpu is not gpu or tensor._trace is not None:
        return None
    return _Known(node)


def build_device_call(
    entry: Any, leaves: Sequence[Any], lock: Any, hits: ctypes.c_int64
) -> DeviceCall | None:
    """The fast path for calls like the one with these leaves, None where there is none."""
    traced = entry.traced
    unusual = traced.argument_writes or traced.argument_grads or traced.argument_grads_in
    if unusual or traced.bound or entry.host:
        return None
    tensors = [value for value in leaves if isinstance(value, Tensor)]
    if len(set(map(id, tensors))) < len(tensors) and traced.written:
        return None
    for value, kind in zip(leaves, entry.kinds, strict=True):
        plain = kind == "array" and type(value) is np.ndarray and value.dtype.isbuiltin == 1
        there = type(value) is Tensor and not value.requires_grad and value._storage is None
        number = kind == "number" and type(value) in (float, int)
        if not (plain or there or number):
            return None
    return DeviceCall(entry, leaves, lock, hits)


@final
class DeviceCalls:
    """Calls of one form, with arguments of several signatures."""

    def __init__(self) -> None:
        self.calls: list[DeviceCall] = []

    def add(self, call: DeviceCall) -> None:
        """One more signature, which is tried first."""
        self.calls = [call, *self.calls][:_MOST_CALLS]

    def __call__(self, *args: Any) -> Any:
        for call in self.calls:
            result = call(*args)
            if result is not MISS:
                return result
        return MISS


@final
class DeviceCall:
    """Calls with arguments like those it was made for."""

    def __init__(self, entry: Any, leaves: Sequence[Any], lock: Any, hits: ctypes.c_int64) -> None:
        self.entry, self.lock, self.hits = entry, lock, hits
        self.gpu: GPU = entry.gpu
        self.step = entry.step
        traced = self.traced = entry.traced
        self.count = len(leaves)
        self.leaves = [_leaf(value) for value in leaves]
        self.outside = frozenset(map(id, traced.written))
        self.state: list[_Known | None] = [None] * len(entry.captured)
        self.reused = [self._source(tensor) for tensor in entry.reuse]
        where = self.where = self.step.record.outputs
        position = sum(1 for index, _ in traced.results if index is not None)
        self.written = list(enumerate(traced.written, position))
        self.delivered = [
            (t, where[i], t in entry.grads_kept) for t, i in traced.grads if i is not None
        ]
        self.dropped = [t for t, i in traced.grads if i is None]
        self.grads: dict[int, _Known] = {}
        self.rings: list[list[_Kept]] = [[] for _ in entry.types]
        self.private: dict[int, DeviceStorage] = {}
        self.arguments: list[_Known | None] = [None] * self.count
        self._stage()

    def _source(self, tensor: Tensor | None) -> int:
        """Which captured tensor gives its memory to an output, -1 for none."""
        if tensor is None:
            return -1
        return next(i for i, (t, _, _) in enumerate(self.entry.captured) if t is tensor)

    def _stage(self) -> None:
        """Places for what comes from the host with a call."""
        entry, sizes = self.entry, self.entry.sizes
        given = sum(1 for _, kind, _ in self.leaves if kind != "number")
        count = given + len(entry.captured)
        self.offsets: dict[int, int] = {}
        at = place = 0
        for _, kind, _ in self.leaves:
            if kind == "array":
                self.offsets[place] = at
                at += -(-sizes[place] // _ALIGN) * _ALIGN
            place += kind != "number"
        for number, (tensor, _, _) in enumerate(entry.captured):
            if tensor._storage is not None:
                self.offsets[given + number] = at
                at += -(-sizes[given + number] // _ALIGN) * _ALIGN
        self.given = given
        self.numbers = [
            (struct.Struct("=" + code), count + n, at + n * _ALIGN)
            for n, code in enumerate(self.traced.scalars)
        ]
        total = at + len(self.numbers) * _ALIGN
        self.memory = bytearray(max(total, 1))
        self.start = ctypes.addressof((ctypes.c_char * len(self.memory)).from_buffer(self.memory))
        self.total = total
        self.block = self.gpu.allocate(total) if total else None

    def __call__(self, *args: Any) -> Any:
        if active.trace is not None or active.inline or len(args) != self.count:
            return MISS
        entry = self.entry
        if active.autocast is not entry.autocast or entry.tf32 is not products.tf32:
            return MISS
        with self.lock:
            addresses = self._inputs(args)
            return MISS if addresses is None else self._run(addresses)

    # --- before -----------------------------------------------------------------------------------

    def _inputs(self, args: Sequence[Any]) -> list[int] | None:
        """The addresses of all inputs; None where something is not as it was."""
        traced, start = self.traced, self.start
        base = 0 if self.block is None else self.block.address
        addresses: list[int] = []
        numbers: list[Any] = []
        for i, (known, kind, facts) in enumerate(self.leaves):
            value = args[i]
            own: type = type(value)
            if own is not known:
                return None
            if kind == "number":
                numbers.append(value)
            elif kind == "array":
                dtype, shape = facts
                if value.dtype is not dtype or value.shape != shape:
                    return None
                if value.flags.num & _PLAIN_ARRAY != _PLAIN_ARRAY:
                    return None
                at = self.offsets[len(addresses)]
                ctypes.memmove(start + at, _word(id(value) + _DATA).value, value.nbytes)
                addresses.append(base + at)
            else:
                found = self._argument(i, value, facts)
                if not found:
                    return None
                addresses.append(found)
        if not self._captured(addresses, base):
            return None
        for tensor, known_grad in self.entry.grad_state:
            if tensor._grad is not known_grad:
                return None
        guards = self.entry.guards
        if guards and not guards.hold():
            return None
        if traced.arrays and traced.changed_arrays():
            return None
        if self.numbers:
            numbers += [getter() for getter in traced.getters]
            for (pack, _, at), number in zip(self.numbers, numbers, strict=True):
                pack.pack_into(self.memory, at, number)
                addresses.append(base + at)
        if self.total:
            gpu = self.gpu
            gpu.driver.upload(gpu.index, base, start, self.total)
        return addresses

    def _argument(self, i: int, value: Tensor, facts: Any) -> int:
        """Where a tensor is that was given; 0 if it is unlike the one before."""
        kind, weak = facts
        if value._type is not kind or value.requires_grad or value._weak is not weak:
            return 0
        if id(value) in self.outside:
            return 0
        known = self.arguments[i]
        if known is None or known.node() is not value._node or value._storage is not None:
            known = self.arguments[i] = _place_of(value, self.gpu)
        return 0 if known is None else known.address

    def _captured(self, addresses: list[int], base: int) -> bool:
        state = self.state
        for i, (tensor, kind, grad) in enumerate(self.entry.captured):
            if tensor._type is not kind or tensor.requires_grad is not grad:
                return False
            known = state[i]
            if known is not None and tensor._node is known.node() and tensor._storage is None:
                addresses.append(known.address)
                continue
            at = self.offsets.get(self.given + i)
            storage = tensor._storage
            if at is not None and storage is not None:
                ctypes.memmove(self.start + at, storage.address, self.entry.sizes[self.given + i])
                addresses.append(base + at)
                continue
            known = state[i] = _place_of(tensor, self.gpu)
            if known is None or at is not None:
                return False
            addresses.append(known.address)
        return True

    # --- the step and after it --------------------------------------------------------------------

    def _run(self, addresses: list[int]) -> Any:
        # Where values are written that only the tensor has: nobody may look at the old ones.
        kept: list[_Known | None] = [
            self.state[source]
            if source >= 0 and _owners(self.entry.captured[source][0]._node) == _ALONE
            else None
            for source in self.reused
        ]
        self._gradients(kept)
        first = len(addresses)
        places = [known or self._place(number) for number, known in enumerate(kept)]
        addresses += [place.address for place in places]
        copied = [n for n in self.private if type(places[n]) is DeviceStorage]
        for number in copied:
            addresses[first + number] = self.private[number].address
        self.step(addresses)
        gpu = self.gpu
        for number in copied:
            target, source = places[number], self.private[number]
            gpu.driver.copy(gpu.index, target.address, source.address, source._memory.nbytes)
        self.hits.value += 1
        return self._deliver(kept, places)

    def _gradients(self, kept: list[_Known | None]) -> None:
        """Gradients that nobody else has are written where the last ones are."""
        for tensor, number, keep in self.delivered:
            grad = tensor._grad
            if type(grad) is not Tensor or kept[number] is not None or self.step.may_fail:
                continue
            if not keep and _refs(grad) != OWNED:
                continue
            known = self.grads.get(number)
            if known is None or known.node() is not grad._node or grad._storage is not None:
                known = _place_of(grad, self.gpu)
                if known is None or grad._type is not self.entry.types[number]:
                    continue
                self.grads[number] = known
            if grad._shared is None and _owners(grad._node) == _ALONE:
                kept[number] = known

    def _place(self, number: int) -> _Kept | DeviceStorage:
        """Memory for a result: that of one that nobody has any more, else new memory."""
        ring = self.rings[number]
        for kept in ring:
            if _owners(kept.node) == _ALONE:
                return kept
        kind = self.entry.types[number]
        storage = DeviceStorage(kind, self.gpu)
        if len(ring) == _RING and number not in self.private:
            # Results are kept: the step writes to one place, and what it wrote is copied.
            self.private[number] = DeviceStorage(kind, self.gpu)
        return storage

    def _deliver(self, kept: list[_Known | None], places: list[Any]) -> Any:
        where, traced = self.where, self.traced
        for position, tensor in self.written:
            number = where[position]
            known = kept[number]
            if known is not None and known.node() is tensor._node:
                tensor._variable = None
                if tensor._shared is not None:
                    tensor._shared.changed(tensor)
            else:
                self._give(tensor, number, places[number])
        for tensor, number, keep in self.delivered:
            known = kept[number]
            if known is None or tensor._grad is None or known.node() is not tensor._grad._node:
                deliver_grad(tensor, _storage(places[number]), keep)
        for tensor in self.dropped:
            tensor._grad = None
        leaves = [
            fixed if index is None else self._result(where[index], places[where[index]])
            for index, fixed in traced.results
        ]
        if traced.structure is pytree.LEAF:
            return leaves[0]
        return pytree.unflatten(traced.structure, leaves)

    def _result(self, number: int, place: Any) -> Tensor:
        tensor = object.__new__(Tensor)
        tensor._blank(self.entry.types[number])
        self._give(tensor, number, place)
        return tensor

    def _give(self, tensor: Tensor, number: int, place: Any) -> None:
        """Let a tensor have a result, with a node that nobody else has if there is one."""
        if type(place) is _Kept and _owners(place.node) == _ALONE:
            token = place.node.op.token
            tensor._type = token.storage.type
            tensor._trace = tensor._variable = tensor._storage = None
            tensor._node, token.tensor = place.node, weakref.ref(tensor)
            if tensor._shared is not None:
                tensor._shared.changed(tensor)
            return
        tensor._install(_storage(place))
        ring = self.rings[number]
        small = tensor._type.nbytes <= _COPIED
        if small and len(ring) < _RING and type(place) is DeviceStorage:
            ring.append(_Kept(tensor._node))


def _storage(place: _Known | _Kept | DeviceStorage) -> DeviceStorage:
    if isinstance(place, DeviceStorage):
        return place
    node: Any = place.node() if isinstance(place, _Known) else place.node
    storage: DeviceStorage = node.op.token.storage
    return storage


def _leaf(value: Any) -> tuple[type, str, Any]:
    """What arguments like this one have in common."""
    if type(value) is np.ndarray:
        return np.ndarray, "array", (value.dtype, value.shape)
    if type(value) is Tensor:
        return Tensor, "tensor", (value._type, value._weak)
    return type(value), "number", None
