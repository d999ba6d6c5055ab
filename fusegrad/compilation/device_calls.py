"""One signature of a compiled function whose tensors are on a GPU: how a call runs.

Knows steps, storages and GPUs; traces nothing. What a call brings from the host (NumPy arrays,
Python numbers, numbers among captured tensors) goes up in one transfer, into the same place every
time.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast, final

import numpy as np
import numpy.typing as npt

from ..errors import DeviceError, OptionError, OutOfMemoryError
from ..ir.node import Node, all_nodes
from ..ops.identities import Transfer
from ..ops.source import Input
from ..runtime.device_step import DeviceStep, load_device_step
from ..runtime.devices import DeviceBlock, products, use
from ..runtime.step import Step
from ..tensors.context import Token
from ..tensors.placement import device_of, gpu_of, placed, wanders
from ..tensors.storage import DeviceStorage, Storage
from ..tensors.tensor_class import Tensor
from .guards import Guards
from .layout import layout_of
from .looks import planning
from .options import Options
from .specialisation import OWNED, Specialisation, Traced, address_of

if TYPE_CHECKING:
    from ..runtime import build

__all__ = ["DeviceSpecialisation", "device_of_trace", "on_device"]

_ALIGN = 256
_NAMED = 3
"""Values that a message names."""


def device_of_trace(traced: Traced) -> str:
    """The device that a traced function runs on.

    Raises
    ------
    DeviceError
        If what it uses is on several.
    """
    if not use.on:
        return "cpu"
    found = device_of([*traced.outputs, *traced.inputs]) or "cpu"
    for node in all_nodes(traced.outputs):
        if isinstance(node.op, Transfer) and node.op.target != found:
            raise DeviceError(
                f"a compiled function on {found} moves values to {node.op.target}",
                remedy="move them outside of the function",
            )
    return found


def _check_options(options: Options, device: str) -> None:
    """Raise OptionError for what `compile` was told that a GPU does not know."""
    said = {
        "background": options.background,
        "threads": options.threads,
        "tune_ms": options.tune_ms is not None,
    }
    for name, value in said.items():
        if value:
            raise OptionError(
                f"`{name}` is for the CPU, and the function runs on {device}",
                remedy="compile it without, for the GPU",
            )


def on_device(
    traced: Traced,
    device: str,
    guards: Guards,
    options: Options,
    stages: dict[str, float],
    observe: Callable[[build.Artifacts], None] | None,
) -> tuple[Specialisation, str]:
    """A traced signature with its step on a GPU, and where the step came from.

    Raises
    ------
    OptionError
        If an option is for the CPU alone.
    """
    _check_options(options, device)
    step, origin = load_device_step(
        *(gpu_of(device), traced.outputs, traced.inputs, traced.donations),
        *(stages, observe, options.memory_limit),
    )
    return DeviceSpecialisation(traced, step, guards, options.memory_limit), origin


@final
class DeviceSpecialisation(Specialisation):
    """A traced and compiled signature on a GPU."""

    def __init__(
        self, traced: Traced, step: DeviceStep, guards: Guards, memory_limit: int | None
    ) -> None:
        super().__init__(traced, cast("Step", step), guards)
        self.gpu = step.gpu
        self.memory_limit = memory_limit
        self.tf32 = products.tf32
        self.sizes = [_nbytes(node) for node in traced.inputs]
        # What was on the host before a call that writes it is there afterwards.
        self.host = [t for t in traced.written if t.device.type == "cpu" and not wanders(t)]
        self.staging: tuple[list[int], npt.NDArray[np.uint8], DeviceBlock] | None = None

    def holds(self) -> bool:
        return self.tf32 is products.tf32 and super().holds()

    def difference(self) -> str | None:
        if self.tf32 is not products.tf32:
            return "the precision of float32 products has changed"
        return super().difference()

    def run(self, leaves: Sequence[Any]) -> Any:
        try:
            return super().run(leaves)
        except OutOfMemoryError as problem:
            step = cast("DeviceStep", self.step)
            if step.arena is not None:
                raise
            raise self._too_large(step.arena_bytes) from problem

    def _too_large(self, nbytes: int) -> OutOfMemoryError:
        """That the memory of the step is not there, with the values that are most of it."""
        plan = planning.memory("step", *self.traced.graph, self.memory_limit, self.gpu.name)
        free, total = self.gpu.driver.memory(self.gpu.index)
        values = [
            f"{one.nbytes:,} for {one.what}" + (f" at {one.line}" if one.line else "")
            for one in plan.values[:_NAMED]
        ]
        return OutOfMemoryError(
            f"{self.gpu.name} is out of memory: the step needs {nbytes:,} bytes between its "
            f"kernels, and {free:,} of {total:,} are free; its largest values: {', '.join(values)}",
            remedy="take smaller batches, or compile it with fg.compile(memory_limit=...)",
        )

    def inputs(self, leaves: Sequence[Any]) -> tuple[list[int], list[Any], list[Any]]:
        """The addresses of all inputs, the numbers among them, and what must outlive the call."""
        traced = self.traced
        given: list[int | DeviceStorage] = []
        scalars: list[Any] = []
        keep: list[Any] = []
        for value, kind in zip(leaves, self.kinds, strict=True):
            if kind == "array":
                given.append(self._source(value, keep))
            elif kind == "view":
                layout = layout_of(value)
                assert layout is not None
                given.append(value.ctypes.data + layout.offset)
            elif kind == "number":
                scalars.append(value)
        given += [self._source(leaves[place]._grad, keep) for place in traced.argument_grads_in]
        # Their tensors hold them; one reference more and nothing could be written in place.
        given += [self._source(tensor, keep, held=True) for tensor, _, _ in self.captured]
        scalars += [getter() for getter in traced.getters]
        if scalars:
            buffer = ctypes.create_string_buffer(8 * len(scalars))
            self.packer.pack_into(buffer, 0, *scalars)
            start = ctypes.addressof(buffer)
            given += range(start, start + 8 * len(scalars), 8)
            keep.append(buffer)
        return self._uploaded(given), scalars, keep

    def _source(self, value: Any, keep: list[Any], held: bool = False) -> int | DeviceStorage:
        """Where an input is: a storage of this GPU, or an address of the host."""
        if not isinstance(value, Tensor):
            return address_of(value, keep)
        storage = value._materialize()
        if isinstance(storage, DeviceStorage):
            if storage.gpu is not self.gpu:
                storage = DeviceStorage.of(storage, self.gpu)
                held = False
            if not held:
                keep.append(storage)
            return storage
        if wanders(value):
            value._install(DeviceStorage.of(storage, self.gpu))
            return self._source(value, keep, held)
        keep.append(storage)
        return storage.address

    def _uploaded(self, given: Sequence[int | DeviceStorage]) -> list[int]:
        """Addresses of the GPU; what is on the host goes up first, all of it at once."""
        host = [i for i, place in enumerate(given) if isinstance(place, int)]
        found = [0 if isinstance(place, int) else place.address for place in given]
        if not host:
            return found
        if self.staging is None or self.staging[0] != host:
            total = sum(_room(self.sizes[i]) for i in host)
            memory = np.empty(total, np.uint8)
            self.staging = host, memory, self.gpu.allocate(total)
        _, memory, block = self.staging
        at = 0
        for i in host:
            place = given[i]
            assert isinstance(place, int)
            ctypes.memmove(memory.ctypes.data + at, place, self.sizes[i])
            found[i] = block.address + at
            at += _room(self.sizes[i])
        self.gpu.driver.upload(self.gpu.index, block.address, memory.ctypes.data, at)
        return found

    def _places(self, addresses: list[int]) -> list[Storage]:
        """Memory for the outputs: in place where the tensor is the only owner."""
        storages: list[Storage] = []
        for kind, tensor in zip(self.types, self.reuse, strict=True):
            storage = None if tensor is None else _own_storage(tensor)
            if storage is None:
                storage = DeviceStorage(kind, self.gpu)
            storages.append(storage)
            addresses.append(storage.address)
        return storages

    def _deliver(self, storages: list[Storage], history: list[Node] | None) -> Any:
        result = super()._deliver(storages, history)
        for tensor in self.host:
            tensor._install(placed(tensor._materialize(), "cpu"))
        return result


def _own_storage(tensor: Tensor) -> DeviceStorage | None:
    """The memory of a tensor that nobody else can see, None if somebody can."""
    node = tensor._node
    if node is None or sys.getrefcount(node) != OWNED or not isinstance(node.op, Input):
        return None
    op = node.op
    token = op.token
    if not isinstance(token, Token) or sys.getrefcount(op) != OWNED:
        return None
    storage = token.storage
    if not isinstance(storage, DeviceStorage) or sys.getrefcount(token) != OWNED:
        return None
    return storage if sys.getrefcount(storage) == OWNED else None


def _room(nbytes: int) -> int:
    return -(-nbytes // _ALIGN) * _ALIGN


def _nbytes(node: Node) -> int:
    size: int = node.tensor_type.size  # type: ignore[assignment]
    return size * node.dtype.itemsize
