"""The Tensor: a value, or the graph that will give it.

Knows how operations are recorded and values are looked at; what operations mean is in `semantics`,
how traces use tensors in `trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import DType, bfloat16
from ..codegen.half import RECORD
from ..errors import (
    ArgumentTypeError,
    CaptureError,
    ShapeError,
)
from ..ir.halves import as_array
from ..ir.node import Node, set_recording
from ..ir.types import TensorType
from ..ops import build
from ..ops.elementwise import Function
from ..runtime.devices import use
from ..semantics import products
from ..semantics.promotion import as_dtype, no_complex, promote
from ..semantics.shapes import broadcast_shapes
from .array_values import array_of, is_array
from .context import Recorder, active, no_grad
from .device import named_device
from .evaluation import hold, wait
from .immediate import constant_of, immediate, immediate_elementwise, source_value
from .placement import check_together, placed
from .sharing import VIEWS, detached_view, is_part, note_view
from .storage import SharedStorage, Storage
from .tensor_conversions import Conversions
from .tensor_gradients import Gradients
from .tensor_looks import Looks
from .tensor_named_methods import NamedMethods
from .tensor_operands import (
    SCALARS,
    check_fitting,
    elementwise_node,
    elementwise_over,
    plain_number,
)
from .tensor_operands import common_nodes as nodes_of
from .tensor_operators import UFUNCS
from .tensor_part_methods import PartMethods
from .tensor_state import State, holds_tensors, move_of

__all__ = [
    "ArrayLike",
    "Tensor",
    "as_tensor",
    "common_nodes",
    "elementwise",
    "finished",
    "made",
    "record",
    "record_nodes",
    "tensor_of",
]

Array = npt.NDArray[Any]
ArrayLike = Any
"""A Tensor, a NumPy array, a number, or nested lists of numbers."""
_OPERANDS = (State, *SCALARS, np.ndarray)
_SMALL = 1024


class Tensor(
    Gradients["Tensor"],
    PartMethods["Tensor"],
    NamedMethods["Tensor"],
    Looks,
    Conversions["Tensor"],
):
    """An array of numbers, or the recipe for it.

    Operations on tensors record a graph. A value is computed when somebody looks at it: ``float``,
    ``.numpy()``, ``print``, ``if``. Inside of a compiled function there are no values to look at.

    Basic indexing, ``reshape``, ``T`` and the like give views, as in torch: what is written to one
    (``x[0][1] = v``, ``x.T += v``) is written to the other. See docs/views.md.

    Parameters
    ----------
    data : array_like
        Copied.
    dtype : dtype, optional
        By default that of `data`; for Python numbers bool, int64 or float32.
    requires_grad : bool, optional
        Whether `backward` collects the gradient in `grad`.
    name : str, optional
        For messages and printed graphs.

    Examples
    --------
    >>> x = Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> y = (x * x).sum()
    >>> y.backward()
    >>> float(y), x.grad
    (14.0, Tensor([2., 4., 6.]))
    """

    def __init__(
        self,
        data: ArrayLike,
        dtype: Any = None,
        requires_grad: bool = False,
        name: str | None = None,
    ) -> None:
        source = as_tensor(data, None if dtype is None else as_dtype(dtype))._snapshot()
        self._blank(source._type)
        self._node, self._trace = source._node, source._trace
        self._storage = None if source._storage is None else source._storage.owned()
        self.name = name
        if self._storage is None and self._trace is None:
            wait(self)
        if requires_grad:
            self.requires_grad_()

    __slots__ = ()

    # --- recording --------------------------------------------------------------------------------

    def _record(self, function: Callable[..., Node], *args: Any, **params: Any) -> Tensor:
        return record(function, (self,), *args, **params)

    def _record_with(
        self,
        function: Callable[..., Node],
        others: Sequence[Any],
        *args: Any,
        fitting: bool = False,
        **params: Any,
    ) -> Tensor:
        tensors = [self._coerce(other, fitting) for other in others]
        return record(function, (self, *tensors), *args, **params)

    @staticmethod
    def _fresh(function: Callable[[], Node]) -> Tensor:
        return record_nodes(lambda: (function(), ()))

    def _unary(self, function: Function) -> Tensor:
        return elementwise(function, self)

    @staticmethod
    def _binary(function: Function, a: Any, b: Any) -> Tensor:
        other = b if isinstance(a, State) else a
        if isinstance(other, complex):
            raise no_complex(f"the number {other}")
        if not isinstance(other, _OPERANDS) and not is_array(other):
            return cast("Tensor", NotImplemented)
        return elementwise(function, a, b)

    def _matmul(self, other: Any, swapped: bool) -> Tensor:
        if not isinstance(other, (Tensor, np.ndarray)) and not is_array(other):
            return cast("Tensor", NotImplemented)
        operands = (as_tensor(other), self) if swapped else (self, as_tensor(other))
        return record(_matmul, operands)

    def _update(self, result: Tensor) -> Tensor:
        """Take over the value of `result`, in place."""
        if self._adopt(result):
            return self
        self._write(self._fitting(result, "update", self.shape))
        self._take_flags(result)
        return self

    def _coerce(self, value: ArrayLike, fitting: bool = False) -> Tensor:
        return as_tensor(value, self.dtype if fitting and isinstance(value, SCALARS) else None)

    @staticmethod
    def _made(node: Node, requires_grad: bool) -> Tensor:
        return made(node, requires_grad)

    def _fitting(self, value: Tensor, what: str, shape: tuple[int, ...] | None) -> Node:
        """The node of `value` in the dtype of this tensor, for an assignment."""
        dtype = self._type.dtype
        check_fitting(value, dtype, what, shape)
        before = set_recording(True)
        try:
            return build.cast(value._read(), dtype)
        finally:
            set_recording(before)

    def _operator(self, ufunc: np.ufunc, operands: tuple[Any, ...]) -> Any:
        function = UFUNCS.get(ufunc)
        if function is not None:
            return self._binary(function, *operands)
        if ufunc is np.matmul:
            return as_tensor(operands[0])._matmul(as_tensor(operands[1]), False)
        return None

    def _take_flags(self, result: Tensor) -> None:
        if result.requires_grad and not (self.requires_grad and self._leaf):
            self.requires_grad, self._leaf = True, False
        if result.requires_grad and self._shared is not None:
            self._shared.require(self)

    def __setitem__(self, key: Any, value: Any) -> None:
        # What `x[key] += y` has written already.
        if isinstance(value, State) and value._shared is not None and self._shared is not None:
            plain, arrays = self._key(key)
            if not arrays and is_part(value, self, plain):
                return
        super().__setitem__(key, value)

    def _aliased(self) -> Tensor:
        """The tensor that views of this one are views of."""
        return self

    # --- parts ------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise ArgumentTypeError("a tensor without axes cannot be iterated over")
        return iter([self[position] for position in range(self.shape[0])])

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    @property
    def data(self) -> Tensor:
        """The value without its history; what is written to it is written to the tensor."""
        return _Alias(self)

    @data.setter
    def data(self, value: ArrayLike) -> None:
        new = as_tensor(value)._snapshot()
        if new._type.plain is not self._type.plain:
            # Views see the old elements.
            self._shared = None
            if active.trace is not None:
                raise CaptureError(f"a tensor of type {self._type} gets data of type {new._type}")
            self._type = new._type
        if use.on and active.trace is None and new.device != self.device:
            self._shared = None
            self._install(new._materialize())
        else:
            with no_grad():
                self._write(new._read())

    # --- copies and conversions -------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same elements, through which no gradient flows: a view, as in torch."""
        result = self._snapshot()
        detached_view(result, self)
        return result

    def _snapshot(self) -> Tensor:
        """The present value, whatever is written later."""
        storage = self._storage
        if storage is not None and active.trace is None:
            return tensor_of(storage)
        before = set_recording(True)
        try:
            node = self._read()
            return made(build.stop_gradient(node) if self.requires_grad else node)
        finally:
            set_recording(before)

    def clone(self) -> Tensor:
        """A tensor of its own with the same value, through which gradients flow."""
        return record(_same, (self,))

    contiguous = copy = clone

    def _moved(self, device: Any) -> Tensor:
        target = named_device(device)
        if target is None or not use.on or self.device == target:
            return self
        name = str(target)
        recorded = move_of(self, name)
        if recorded is None:
            return tensor_of(placed(self._materialize(), name))
        return record(recorded[0], (self,), *recorded[1:])

    def _convert(self, dtype: DType, copy: Any) -> Tensor:
        if dtype is self.dtype and not copy:
            return self
        return record(build.cast, (self,), dtype)

    def __copy__(self) -> Tensor:
        return _rebuild(type(self), self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        # Values are replaced, never changed, so both may share the memory.
        copy = _rebuild(type(self), self)
        memo[id(self)] = copy
        if self._grad is not None:
            copy._grad = cast("Tensor", self._grad).__deepcopy__(memo)
        return copy

    def _extra(self) -> dict[str, Any]:
        """The attributes that a subclass adds."""
        return dict(getattr(self, "__dict__", {}))

    def __setstate__(self, extra: dict[str, Any]) -> None:
        if extra:
            self.__dict__.update(extra)

    def __reduce__(self) -> tuple[Any, ...]:
        array = np.array(self._look("pickle"))
        if self.dtype is bfloat16:
            # As it is without the package ml_dtypes: whoever reads it may lack that.
            array = array.view(RECORD)
        return _unpickle, (type(self), array, self.requires_grad, self.name), self._extra()


@final
class _Alias(Tensor):
    """``tensor.data``: reads the value of a tensor without its history, and writes it."""

    __slots__ = ("_base",)
    _base: Tensor

    def __init__(self, base: Tensor) -> None:
        self._blank(base._type)
        self._base = base

    def _read(self) -> Node:
        node = self._base._read()
        return build.stop_gradient(node) if self._base.requires_grad else node

    def _write(self, node: Node) -> None:
        with no_grad():
            self._base._write(node)

    def _aliased(self) -> Tensor:
        if not self._base.requires_grad:
            return self._base._aliased()
        return self._base.detach()

    def _materialize(self) -> Storage:
        return self._base._materialize()

    def _own_storage(self) -> Storage | None:
        return self._base._own_storage()

    def _look(self, what: str, remedy: str | None = None) -> Array:
        return self._base._look(what, remedy)

    def _is_traced(self) -> bool:
        return self._base._is_traced()

    def detach(self) -> Tensor:
        return self._base.detach()

    def _snapshot(self) -> Tensor:
        return self._base._snapshot()

    def __repr__(self) -> str:
        return repr(self._snapshot())


# --- making tensors -------------------------------------------------------------------------------


def finished(tensor: Tensor, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A new tensor on a device, as a variable if it is to require a gradient."""
    if active.devices and device is None and active.trace is None:
        device = active.devices[-1]
    tensor = tensor._moved(device)
    return tensor.requires_grad_() if requires_grad else tensor


def _blank(type_: TensorType) -> Tensor:
    tensor = object.__new__(Tensor)
    tensor._blank(type_)
    return tensor


def tensor_of(storage: Storage) -> Tensor:
    """A tensor with the value in `storage`."""
    tensor = _blank(storage.type)
    if storage.remote:
        hold(tensor, storage)
    else:
        tensor._storage = storage
    tensor._trace = active.trace
    return tensor


def made(node: Node, requires_grad: bool = False, weak: bool = False) -> Tensor:
    """A tensor whose value `node` gives; not a variable if it requires a gradient."""
    thread = active
    tensor = _blank(node.tensor_type)
    tensor._node = node
    tensor._weak = weak
    if requires_grad:
        tensor.requires_grad, tensor._leaf = True, False
    trace = thread.trace
    if trace is not None:
        tensor._trace = trace
    elif not use.on and (storage := source_value(node)) is not None:
        tensor._storage, tensor._node = storage, None
    else:
        wait(tensor)
    return tensor


def as_tensor(value: ArrayLike, dtype: DType | None = None) -> Tensor:
    """`value` as a tensor; one itself if it is one and has the dtype. Everything else is copied."""
    if isinstance(value, Tensor):
        return value if dtype is None or value.dtype is dtype else value._convert(dtype, True)
    if isinstance(value, (list, tuple)) and holds_tensors(value):
        return _stacked(value, dtype)
    if active.trace is not None and type(value) is np.ndarray:
        return _array_in_trace(active.trace, value, dtype)
    return _of_array(array_of(value, dtype))


def _array_in_trace(trace: Recorder, value: Array, dtype: DType | None) -> Tensor:
    """An array that the traced function has from outside: later changes of it must be seen."""
    array = array_of(value, None)
    flags = array.flags
    shareable = flags.c_contiguous and flags.aligned and np.may_share_memory(array, value)
    constant = trace.note_array(value, shareable, value.size > _SMALL)
    if constant or not shareable or not value.size:
        return _of_array(array_of(value, dtype))
    tensor = tensor_of(SharedStorage(array))
    return tensor if dtype is None or tensor.dtype is dtype else tensor._convert(dtype, True)


def _stacked(value: Any, dtype: DType | None) -> Tensor:
    parts = [as_tensor(part, dtype) for part in value]
    nodes, tensors = common_nodes(parts)
    shape = broadcast_shapes("stack", [node.shape for node in nodes])
    rows = [build.expand_dims(build.broadcast_to(node, shape), (0,)) for node in nodes]
    return _flagged(build.concat(rows, 0), tensors)


def _of_array(array: Array) -> Tensor:
    if (active.trace is not None or use.on) and array.size <= _SMALL:
        return record_nodes(lambda: (constant_of(array), ()))
    return tensor_of(Storage.copy_of(array))


# --- recording ------------------------------------------------------------------------------------


def record(
    function: Callable[..., Node], tensors: Sequence[Tensor], *args: Any, **params: Any
) -> Tensor:
    """The tensor whose node is ``function(*nodes of tensors, *args, **params)``."""
    result = _at_once(function, tensors, args, params) if active.trace is None else None
    if result is not None:
        return result
    before = set_recording(True)
    try:
        node = function(*[tensor._read() for tensor in tensors], *args, **params)
        result = _flagged(node, tensors)
        if function in VIEWS and len(tensors) == 1:
            note_view(result, tensors[0]._aliased(), function, args, params)
        return result
    finally:
        set_recording(before)


def _at_once(
    function: Callable[..., Node], tensors: Sequence[Tensor], args: Any, params: Any
) -> Tensor | None:
    """The result of `record` for small operands that are known, None if it is to be recorded."""
    found = immediate(function, tensors, args, params)
    if found is None:
        return None
    result = _computed(found)
    if function in VIEWS and len(tensors) == 1:
        note_view(result, tensors[0]._aliased(), function, args, params)
    return result


def _computed(found: tuple[Storage, bool]) -> Tensor:
    """A result that is known and requires no gradient."""
    storage, weak = found
    result = _blank(storage.type)
    result._storage, result._weak = storage, weak
    return result


def _flagged(node: Node, tensors: Sequence[Tensor]) -> Tensor:
    """The result of an operation on `tensors`."""
    requires = weak = False
    for tensor in tensors:
        if tensor.requires_grad:
            requires = True
        if tensor._weak:
            weak = True
    if weak:
        weak = all(tensor._weak for tensor in tensors)
    if len(tensors) > 1:
        check_together(node)
    if requires:
        requires = node.dtype.is_float
        if requires and not active.grad:
            node, requires = build.stop_gradient(node), False
    return made(node, requires, weak)


def record_nodes(function: Callable[[], tuple[Node, Sequence[Tensor]]]) -> Tensor:
    """The tensor whose node `function` gives, together with the tensors it depends on."""
    before = set_recording(True)
    try:
        return _flagged(*function())
    finally:
        set_recording(before)


def elementwise(function: Function, *operands: ArrayLike) -> Tensor:
    """An elementwise function of operands that promote and broadcast.

    Raises
    ------
    ShapeError, DTypeError
        If they do not.
    """
    found = immediate_elementwise(function, operands, elementwise_over)
    if found is None:
        items, tensors = _gathered(operands)
        if any(a is not b for a, b in zip(items, operands, strict=True)):
            found = immediate_elementwise(function, items, elementwise_over)
    if found is not None:
        return _computed(found)
    before = set_recording(True)
    try:
        return _flagged(elementwise_node(function, items), tensors)
    finally:
        set_recording(before)


def common_nodes(operands: Sequence[ArrayLike]) -> tuple[list[Node], list[Tensor]]:
    """The nodes of operands in their common dtype, and the tensors among the operands."""
    items, tensors = _gathered(operands)
    if not items:
        raise ShapeError("there are no arrays", remedy="pass at least one")
    return nodes_of(items), tensors


def _gathered(operands: Sequence[ArrayLike]) -> tuple[list[Any], list[Tensor]]:
    """Operands as tensors and Python numbers, and the tensors."""
    items: list[Any] = []
    tensors: list[Tensor] = []
    for operand in operands:
        if isinstance(operand, SCALARS):
            items.append(plain_number(operand))
        else:
            # State: a class without abstract methods, of which instances are found faster.
            known = isinstance(operand, State)
            tensor = cast("Tensor", operand) if known else as_tensor(operand)
            items.append(tensor)
            tensors.append(tensor)
    return items, tensors


def _same(x: Node) -> Node:
    return x


def _matmul(a: Node, b: Node) -> Node:
    dtype = promote(a.dtype, b.dtype)
    return products.matmul(build.cast(a, dtype), build.cast(b, dtype))


# --- copies ---------------------------------------------------------------------------------------


def _rebuild(cls: type[Tensor], source: Tensor) -> Tensor:
    tensor = object.__new__(cls)
    tensor._blank(source._type)
    if active.trace is None:
        hold(tensor, source._materialize().owned())
    else:
        tensor._node, tensor._trace = source._snapshot()._read(), active.trace
    tensor.requires_grad, tensor.name = source.requires_grad, source.name
    tensor.__setstate__(source._extra())
    return tensor


def _unpickle(cls: type[Tensor], array: Array, requires_grad: bool, name: str | None) -> Tensor:
    tensor = object.__new__(cls)
    dtype = as_dtype(array.dtype)
    tensor._blank(TensorType(array.shape, dtype))
    tensor._storage = Storage.copy_of(as_array(array, dtype))
    tensor.requires_grad, tensor.name = requires_grad, name
    return tensor
