"""The state of a Tensor: a value or a pending graph, how it is read, replaced and computed.

Knows the active trace by its interface, and no operations.
"""

from __future__ import annotations

import sys
import weakref
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import DType
from ..errors import (
    ArgumentTypeError,
    DataDependentShapeError,
    GradientError,
    TracedValueError,
)
from ..ir.halves import as_array, wide
from ..ir.node import Node, set_recording
from ..ops import build
from ..ops.identities import Leaf
from ..ops.source import Input
from ..runtime.devices import use
from .context import Cell, Recorder, Token, active
from .device import CPU
from .device import device as Device
from .evaluation import (
    check_leak,
    check_value,
    hold,
    known_value,
    settle,
    traced_error,
    traced_input,
    values,
    wait,
)
from .placement import device_of, moved_in_trace, together
from .storage import Storage
from .tensor_size import Size

__all__ = ["State", "holds_tensors", "move_of"]

Array = npt.NDArray[Any]
_OWNED = 3
"""References to a storage that only its tensor has: the tensor's, a local, and the count's own."""


class State(Cell):
    """What a Tensor holds, and what becomes of it."""

    __slots__ = ()

    # --- the value --------------------------------------------------------------------------------

    def _read(self) -> Node:
        """The node to record with."""
        trace = active.trace
        if self._trace is not trace:
            return self._read_elsewhere(trace)
        node = self._node
        if node is None and self._storage is None:
            node = self._refreshed()
        if node is not None:
            return self._as_leaf(node) if self._leaf and self.requires_grad else node
        return self._own_variable() if trace is None else trace.capture(self)

    def _read_elsewhere(self, trace: Recorder | None) -> Node:
        if self._shared is not None:
            node = self._shared.elsewhere(self, trace)
            if node is not None:
                return node
        if trace is not None:
            return trace.capture(self)
        if self._node is not None and self._storage is None:
            check_leak(self._node)
        self._trace = None
        return self._read()

    def _as_leaf(self, node: Node) -> Node:
        """The node of a variable: one at which gradients are asked for."""
        token = node.op.token if isinstance(node.op, (Input, Leaf)) else None
        if isinstance(token, Token):
            if token.tensor is None:
                token.tensor = weakref.ref(self)
            if token.tensor() is self:
                return node
        if active.trace is None and not active.abstract:
            # Its history ends here, or a training loop would record one graph without end.
            self._materialize()
            return self._own_variable()
        self._node = node = build.leaf(node, Token(tensor=self))
        return node

    def _own_variable(self) -> Node:
        """The one variable that stands for the storage while a graph holds it."""
        storage = self._storage
        if storage is None:
            # On a GPU: the variable is the value.
            storage = self._materialize()
            if storage.remote:
                self._node = None
                hold(self, storage)
                assert self._node is not None
                return self._node
        node = None if self._variable is None else self._variable()
        shared = storage is not None and storage.shared
        if node is not None and shared and not _same(cast("Token", node.op.token), storage):  # type: ignore[attr-defined]
            node = None
        if node is None:
            before = set_recording(False)
            node = build.input_(self._type, Token(storage, self))
            set_recording(before)
            self._variable = weakref.ref(node)
        if shared:
            active.at_once.append(cast("Token", node.op.token))  # type: ignore[attr-defined]
        return node

    def _write(self, node: Node) -> None:
        """Replace the value; `node` has the type of the tensor."""
        if use.on:
            node = together(self, node)
        shared = self._shared
        if self.requires_grad and self._leaf and active.grad:
            if shared is None or not shared.result:
                raise GradientError(
                    "a tensor that requires a gradient is changed in place",
                    remedy="change it inside `with fg.no_grad():`, or assign to its .data",
                )
            self._leaf = False
        if shared is not None and shared.divert(self, node):
            return
        if active.levels:
            active.levels[-1].note(self)
        trace = active.trace
        if self._trace is not trace:
            if trace is None:
                self._trace = None
            else:
                trace.note_write(self)
                self._trace = trace
        self._storage = None
        self._variable = None
        self._node = node
        if trace is None:
            wait(self)
        if shared is not None:
            shared.changed(self)

    def _adopt(self, source: State) -> bool:
        """Take over the value of another tensor, if it is known and there is nothing to record."""
        storage, shared, thread = source._storage, self._shared, active
        if storage is None or storage.shared or source._type.plain is not self._type.plain:
            return False
        if source.requires_grad or (self.requires_grad and self._leaf and thread.grad):
            return False
        if thread.trace is not None or self._trace is not None or thread.abstract or thread.levels:
            return False
        if shared is not None and not shared.whole:
            return False
        own = self._storage
        if own is not None and not own.shared and sys.getrefcount(own) == _OWNED:
            # Nobody else can see the old value: it stays where it is.
            np.copyto(own.array, storage.array)
        else:
            self._storage = storage
        self._node = self._variable = None
        if shared is not None:
            shared.changed(self)
        return True

    def _receive(self, storage: Storage) -> None:
        """Take a value that a compiled program computed for an argument."""
        shared = self._shared
        if shared is not None:
            before, active.grad = active.grad, False
            try:
                if shared.divert(self, build.input_(storage.type, Token(storage))):
                    return
            finally:
                active.grad = before
        self._install(storage)

    def _is_number(self) -> bool:
        """Whether the tensor stands for a number, which nothing changes."""
        return self._weak or (self._shared is not None and self._shared.number)

    def _refreshed(self) -> Node:
        """The node of a view whose base was written."""
        assert self._shared is not None
        return self._shared.refresh(self)

    def _install(self, storage: Storage) -> None:
        """Take a value that a compiled program computed."""
        self._type = storage.type
        self._trace = self._variable = None
        hold(self, storage)
        if self._shared is not None:
            self._shared.changed(self)

    def _materialize(self) -> Storage:
        """The value, computed if need be."""
        storage = self._storage
        if storage is None:
            node = self._node or self._refreshed()
            # Another thread may have computed it since.
            if node is not None:
                if self._trace is not None:
                    check_leak(node)
                    self._trace = None
                if use.on and (storage := known_value(node)) is not None and storage.remote:
                    return storage
                settle(self)
            storage = self._storage
            if storage is None and self._node is not None:
                storage = known_value(self._node)
            assert storage is not None
        return storage

    def _own_storage(self) -> Storage | None:
        """The memory of the values, None inside of a trace."""
        return self._materialize() if active.trace is None else None

    def _is_traced(self) -> bool:
        """Whether there are no values to look at."""
        if active.trace is not None:
            return True
        return (
            self._storage is None
            and self._trace is not None
            and self._node is not None
            and traced_input(self._node) is not None
        )

    def _look(self, what: str, remedy: str | None = None) -> Array:
        """The values for somebody who looks at them; TracedValueError if there are none."""
        trace = active.trace
        if trace is None:
            return self._materialize().array
        if self._trace is not trace:
            node = trace.capture(self)
            token = node.op.token if hasattr(node.op, "token") else None
            raise traced_error(node, what, remedy, cast("Token | None", token))
        if self._storage is not None:
            return self._storage.array
        node = self._node or self._refreshed()
        check_value(node, what, remedy)
        return values([node])[0].array

    def _look_for_shape(self, what: str, remedy: str | None = None) -> Array:
        """As `_look`, for values that the shape of a result depends on; halves as float32."""
        try:
            values = self._look(what, remedy)
            return as_array(values, wide(self._type.dtype))
        except TracedValueError as error:
            raise DataDependentShapeError(
                error.message, where=error.where, remedy=error.remedy
            ) from None

    # --- what it is -------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""
        return self._type.shape  # type: ignore[return-value]

    @property
    def dtype(self) -> DType:
        """The dtype of the elements."""
        return self._type.dtype

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self._type.shape)

    @property
    def size(self) -> Size:
        """The number of elements; called, as in torch, the shape or one extent of it."""
        return Size(self._type.size, self.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def device(self) -> Device:
        """Where the elements lie, or will when they are computed."""
        return Device(self._place()) if use.on else CPU

    def _place(self) -> str:
        """The name of the device that has the elements."""
        if self._storage is not None:
            return self._storage.device
        node = self._node
        if node is None and self._shared is not None:
            node = self._refreshed()
        if node is None:
            return "cpu"
        known = known_value(node)
        return known.device if known is not None else device_of([node]) or "cpu"

    def numel(self) -> int:
        """The number of elements."""
        return self.size

    def dim(self) -> int:
        """The number of axes."""
        return self.ndim

    def __len__(self) -> int:
        if not self.shape:
            raise ArgumentTypeError("a tensor without axes has no length")
        return self.shape[0]

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return sys.modules[__name__.partition(".")[0]]


def holds_tensors(value: Any) -> bool:
    """Whether lists and tuples have a tensor in them."""
    if isinstance(value, (list, tuple)):
        return any(map(holds_tensors, value))
    return isinstance(value, State)


def move_of(tensor: State, name: str) -> tuple[Any, ...] | None:
    """The function that records the move of a tensor to a device, and its parameters.

    None if nothing needs to be recorded: the tensor has a value and nobody asks for gradients.
    """
    if active.trace is not None:
        return moved_in_trace, name
    own = "cpu" if tensor._storage is not None else device_of([tensor._read()])
    if not own or (tensor.requires_grad and active.grad):
        return build.transfer, own, name
    return None


def _same(token: Token, storage: Storage | None) -> bool:
    """Whether a variable stands for what is in memory that others may have changed."""
    kept = token.storage
    if kept is storage or kept is None or storage is None:
        return kept is storage
    return kept.array.tobytes() == storage.array.tobytes()
