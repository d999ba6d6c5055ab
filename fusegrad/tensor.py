"""The Tensor: a value, or the graph that will give it.

Knows how operations are recorded and values are looked at; what operations mean is in `semantics`,
how traces use tensors in `trace`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast, final

import numpy as np
import numpy.typing as npt

from .codegen.dtypes import DType, as_dtype, bool_
from .context import Token, active, no_grad
from .errors import CaptureError, DTypeError, GradientError, IndexBoundsError, ShapeError
from .evaluation import compute, wait
from .ir.node import Node, set_recording
from .ir.types import TensorType
from .leaves import leaf_gradients
from .ops import build
from .semantics import indexing, products
from .semantics.elementwise import FUNCTIONS, Function
from .semantics.promotion import kind_of, promote, with_weak
from .semantics.shapes import broadcast_shapes, broadcast_to, show
from .storage import Storage
from .tensor_conversions import Conversions
from .tensor_looks import Looks
from .tensor_methods import Methods
from .tensor_operators import UFUNCS, Operators
from .tensor_state import State

__all__ = [
    "ArrayLike",
    "Tensor",
    "as_tensor",
    "common_nodes",
    "elementwise",
    "made",
    "record",
    "record_nodes",
    "tensor_of",
]

Array = npt.NDArray[Any]
ArrayLike = Any
"""A Tensor, a NumPy array, a number, or nested lists of numbers."""
_SCALARS = (bool, int, float, np.generic)
_KINDS = {"bool": 0, "uint": 1, "int": 1, "float": 2}
_SMALL = 1024


class Tensor(State, Looks, Operators, Methods, Conversions):
    """An array of numbers, or the recipe for it.

    Operations on tensors record a graph. A value is computed when somebody looks at it: ``float``,
    ``.numpy()``, ``print``, ``if``. Inside of a compiled function there are no values to look at.

    A tensor is not a view of another one: indexing and ``reshape`` give values of their own.
    Assignments (``x[...] = v``, ``x += v``) replace the value of `x` and touch nothing else.

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
        source = as_tensor(data, None if dtype is None else as_dtype(dtype)).detach()
        self._blank(source._type)
        self._storage, self._node, self._trace = source._storage, source._node, source._trace
        self.name = name
        if self._storage is None and self._trace is None:
            wait(self)
        if requires_grad:
            self.requires_grad_()

    __slots__ = ()

    # --- recording --------------------------------------------------------------------------------

    def _record(self, function: Callable[..., Node], *args: Any, **params: Any) -> Tensor:
        return record(function, (self,), *args, **params)

    def _unary(self, function: Function) -> Tensor:
        return elementwise(function, self)

    @staticmethod
    def _binary(function: Function, a: Any, b: Any) -> Tensor:
        other = b if isinstance(a, Tensor) else a
        if not isinstance(other, (Tensor, *_SCALARS, np.ndarray)):
            return NotImplemented
        return elementwise(function, a, b)

    def _matmul(self, other: Any, swapped: bool) -> Tensor:
        if not isinstance(other, (Tensor, np.ndarray)):
            return NotImplemented
        operands = (as_tensor(other), self) if swapped else (self, as_tensor(other))
        return record(_matmul, operands)

    def _update(self, result: Tensor) -> Tensor:
        """Take over the value of `result`, in place."""
        self._write(self._fitting(result, "update", self.shape))
        self._take_flags(result)
        return self

    def _fitting(self, value: Tensor, what: str, shape: tuple[int, ...] | None) -> Node:
        """The node of `value` in the dtype of this tensor, for an assignment."""
        dtype = self._type.dtype
        if not value._weak and _KINDS[value.dtype.kind] > _KINDS[dtype.kind]:
            raise DTypeError(
                f"cannot {what} a tensor of {dtype} in place with values of {value.dtype}",
                remedy=f'convert one of them: x = x.astype("{value.dtype}"), '
                f'or the values with .astype("{dtype}")',
            )
        if shape is not None and value.shape != shape:
            raise ShapeError(
                f"cannot {what} a tensor of shape {show(shape)} in place with values of shape "
                f"{show(value.shape)}",
                remedy="write x = x + y for a result of another shape",
            )
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

    # --- parts ------------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("a tensor without axes cannot be iterated over")
        return iter([self[position] for position in range(self.shape[0])])

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    def __getitem__(self, key: Any) -> Tensor:
        plain, arrays = _index(key)
        return record(_get, (self, *arrays), plain)

    def __setitem__(self, key: Any, value: ArrayLike) -> None:
        if isinstance(key, (Tensor, np.ndarray)) and key.dtype in (bool_, np.bool_):
            result = self._where_mask(as_tensor(key), value)
        else:
            plain, arrays = _index(key)
            new = as_tensor(value, self.dtype if isinstance(value, _SCALARS) else None)
            self._fitting(new, "assign to", None)
            result = record(_put, (self, *arrays, new), plain)
        self._update(result)

    def _where_mask(self, mask: Tensor, value: ArrayLike) -> Tensor:
        if mask.shape != self.shape[: mask.ndim]:
            raise IndexBoundsError(
                f"a mask of shape {show(mask.shape)} for an array of shape {show(self.shape)}",
                remedy="the mask must have the shape of the first axes",
            )
        new = as_tensor(value, self.dtype if isinstance(value, _SCALARS) else None)
        self._fitting(new, "assign to", None)
        return record(_put_mask, (self, mask, new))

    # --- copies and conversions -------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same value, through which no gradient flows."""
        storage = self._storage
        if storage is not None and active.trace is None:
            return tensor_of(storage)
        result = record(build.stop_gradient if self.requires_grad else _same, (self,))
        result.requires_grad, result._leaf = False, True
        return result

    def clone(self) -> Tensor:
        """A tensor of its own with the same value, through which gradients flow."""
        return record(_same, (self,))

    contiguous = clone

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
        array = np.array(self._view("pickle"))
        return _unpickle, (type(self), array, self.requires_grad, self.name), self._extra()

    # --- gradients --------------------------------------------------------------------------------

    @property
    def is_leaf(self) -> bool:
        """Whether it is a variable, not the result of an operation that requires a gradient."""
        return self._leaf or not self.requires_grad

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Make the tensor a variable whose gradient `backward` collects, or make it none."""
        if requires_grad and not self.dtype.is_float:
            raise GradientError(
                f"a tensor of {self.dtype} has no gradient",
                remedy="convert it with .astype('float32') first",
            )
        if requires_grad and not self.requires_grad:
            self._leaf = True
            if self._node is not None and self._storage is None:
                self._node = build.leaf(self._read(), Token(tensor=self))
            self.requires_grad = True
        elif not requires_grad and self.requires_grad:
            if not self._leaf:
                raise GradientError(
                    "only variables can stop requiring a gradient",
                    remedy="use x.detach() for the value alone",
                )
            self.requires_grad = False
        return self

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` collected, None before."""
        return cast("Tensor | None", self._grad)

    @grad.setter
    def grad(self, value: ArrayLike) -> None:
        new = None if value is None else as_tensor(value)
        if new is not None and new.shape != self.shape:
            raise ShapeError(
                f"a gradient of shape {show(new.shape)} for a tensor of shape {show(self.shape)}",
                remedy="the gradient has the shape of its tensor",
            )
        trace = active.trace
        if trace is not None:
            trace.note_grad(self)
        self._grad = new

    def backward(
        self,
        gradient: ArrayLike = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every variable it depends on.

        Parameters
        ----------
        gradient : array_like, optional
            The weights of the elements; needed unless the tensor has one element.
        retain_graph : bool, optional
            Without effect: the graph lives as long as a tensor that was computed with it.
        create_graph : bool, optional
            Whether the gradients can be differentiated again.

        Examples
        --------
        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> (x * x).backward(Tensor([1.0, 10.0]))
        >>> x.grad
        Tensor([ 2., 40.])
        """
        if not self.requires_grad:
            raise GradientError(
                "backward() of a tensor that does not depend on anything that requires a gradient",
                remedy="call requires_grad_() on the variables before computing with them, "
                "outside of fg.no_grad()",
            )
        before = set_recording(True)
        try:
            for tensor, node in leaf_gradients(self._read(), self._seed(gradient)):
                tensor._accumulate(node, create_graph)
        finally:
            set_recording(before)

    def _seed(self, gradient: ArrayLike) -> Node:
        if gradient is None:
            if self.size != 1:
                raise GradientError(
                    f"backward() of a tensor of shape {show(self.shape)} without a seed: "
                    "a gradient is that of a scalar",
                    remedy="reduce it first, y.sum().backward(), or weight the elements, "
                    "y.backward(seed) with a seed of the same shape",
                )
            return build.ones_like(self._read())
        seed = as_tensor(gradient)
        if seed.shape != self.shape:
            raise GradientError(
                f"backward() of a tensor of shape {show(self.shape)} with a seed of shape "
                f"{show(seed.shape)}",
                remedy="the seed has the shape of the tensor",
            )
        return build.cast(seed._read(), self.dtype)

    def _accumulate(self, node: Node, create_graph: bool) -> None:
        if not create_graph:
            node = build.stop_gradient(node)
        if self._grad is None:
            self.grad = made(node, create_graph)
            return
        total = build.add(self._grad._read(), node)
        if create_graph:
            self.grad = made(total, True)
        else:
            self._grad._write(total)

    @property
    def data(self) -> Tensor:
        """The value without its history; what is written to it is written to the tensor."""
        return _Alias(self)

    @data.setter
    def data(self, value: ArrayLike) -> None:
        new = as_tensor(value).detach()
        if new._type is not self._type:
            if active.trace is not None:
                raise CaptureError(
                    f"a tensor of type {self._type} gets data of type {new._type}"
                )
            self._type = new._type
        with no_grad():
            self._write(new._read())

    # --- in place ---------------------------------------------------------------------------------

    def _assign(self, value: ArrayLike, what: str) -> Tensor:
        new = as_tensor(value, self.dtype if isinstance(value, _SCALARS) else None)
        node = self._fitting(new, what, None)
        self._write(broadcast_to(node, self.shape))
        self._take_flags(new)
        return self

    def copy_(self, source: ArrayLike) -> Tensor:
        """Take over the values of `source`, which broadcast."""
        return self._assign(source, "copy to")

    def fill_(self, value: ArrayLike) -> Tensor:
        """Set all elements to one value."""
        return self._assign(value, "fill")

    def zero_(self) -> Tensor:
        """Set all elements to zero."""
        return self._assign(0, "fill")

    def add_(self, other: ArrayLike, *, alpha: float = 1) -> Tensor:
        """Add `other`, times `alpha`, in place."""
        return self._in_place(FUNCTIONS["add"], other if alpha == 1 else other * alpha)

    def sub_(self, other: ArrayLike, *, alpha: float = 1) -> Tensor:
        """Subtract `other`, times `alpha`, in place."""
        return self._in_place(FUNCTIONS["subtract"], other if alpha == 1 else other * alpha)

    def mul_(self, other: ArrayLike) -> Tensor:
        """Multiply by `other` in place."""
        return self._in_place(FUNCTIONS["multiply"], other)

    def div_(self, other: ArrayLike) -> Tensor:
        """Divide by `other` in place."""
        return self._in_place(FUNCTIONS["divide"], other)

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        """Move the elements to the nearest of two bounds in place."""
        return self._update(self.clip(min, max))


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


# --- making tensors -------------------------------------------------------------------------------


def _blank(type_: TensorType) -> Tensor:
    tensor = object.__new__(Tensor)
    tensor._blank(type_)
    return tensor


def tensor_of(storage: Storage) -> Tensor:
    """A tensor with the value in `storage`."""
    tensor = _blank(storage.type)
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
    else:
        wait(tensor)
        if thread.eager:
            compute((tensor,))
    return tensor


def as_tensor(value: ArrayLike, dtype: DType | None = None) -> Tensor:
    """`value` as a tensor; one itself if it is one and has the dtype. Everything else is copied."""
    if isinstance(value, Tensor):
        return value if dtype is None or value.dtype is dtype else value._convert(dtype, True)
    if isinstance(value, (list, tuple)) and _holds_tensors(value):
        return _stacked(value, dtype)
    return _of_array(_array_of(value, dtype))


def _holds_tensors(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return any(map(_holds_tensors, value))
    return isinstance(value, Tensor)


def _stacked(value: Any, dtype: DType | None) -> Tensor:
    parts = [as_tensor(part, dtype) for part in value]
    nodes, tensors = common_nodes(parts)
    shape = broadcast_shapes("stack", [node.shape for node in nodes])
    rows = [build.expand_dims(build.broadcast_to(node, shape), (0,)) for node in nodes]
    return _flagged(build.concat(rows, 0), tensors)


def _array_of(value: Any, dtype: DType | None) -> Array:
    try:
        array = np.asarray(value)
        kind = dtype or _default(value, array)
        return array.astype(kind.numpy, copy=False)
    except (TypeError, ValueError) as error:
        if isinstance(error, (DTypeError, ShapeError)):
            raise
        text = str(error).partition("\n")[0]
        kind_name = type(value).__name__
        raise DTypeError(
            f"cannot make a tensor of a {kind_name}: {text}",
            remedy="pass an array, a number, or nested lists of numbers of equal length",
        ) from None


def _default(value: Any, array: Array) -> DType:
    """Python numbers get the default dtypes, arrays keep theirs."""
    if isinstance(value, (np.ndarray, np.generic)) or hasattr(value, "__array__"):
        return as_dtype(array.dtype)
    if array.dtype == np.float64:
        held = np.asarray(value, dtype=object).ravel()
        strong = [item.dtype for item in held if isinstance(item, (np.generic, np.ndarray))]
        return as_dtype(np.result_type(*strong)) if strong else as_dtype(float)
    return as_dtype(array.dtype)


def _of_array(array: Array) -> Tensor:
    if active.trace is not None and array.size <= _SMALL:
        return record_nodes(lambda: (_constant(array), ()))
    return tensor_of(Storage.copy_of(array))


def _constant(array: Array) -> Node:
    if array.size == 1:
        return build.full(array.shape, array.item(), as_dtype(array.dtype))
    data = np.array(array)
    data.flags.writeable = False
    return build.array_constant(data)


# --- recording ------------------------------------------------------------------------------------


def record(
    function: Callable[..., Node], tensors: Sequence[Tensor], *args: Any, **params: Any
) -> Tensor:
    """The tensor whose node is ``function(*nodes of tensors, *args, **params)``."""
    before = set_recording(True)
    try:
        node = function(*[tensor._read() for tensor in tensors], *args, **params)
        return _flagged(node, tensors)
    finally:
        set_recording(before)


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
    before = set_recording(True)
    try:
        nodes, tensors = common_nodes(operands, function)
        if len(nodes) > 1:
            shapes = [node.shape for node in nodes]
            if shapes.count(shapes[0]) < len(shapes):
                shape = broadcast_shapes(function.verb, shapes)
                nodes = [build.broadcast_to(node, shape) for node in nodes]
        return _flagged(function.build(*nodes), tensors)
    finally:
        set_recording(before)


def common_nodes(
    operands: Sequence[ArrayLike], function: Function | None = None
) -> tuple[list[Node], list[Tensor]]:
    """The nodes of operands in their common dtype, and the tensors among the operands."""
    tensors: list[Tensor] = []
    dtype: DType | None = None
    kind: str | None = None
    items: list[Any] = []
    for operand in operands:
        item = operand
        if not isinstance(item, Tensor):
            if isinstance(item, np.generic):
                item = item.item()
            if isinstance(item, _SCALARS):
                kind = _higher(kind, kind_of(item))
                items.append(item)
                continue
            item = as_tensor(item)
        items.append(item)
        tensors.append(item)
        own = item._type.dtype
        if item._weak:
            kind = _higher(kind, own.kind)
        elif dtype is not own:
            dtype = own if dtype is None else promote(dtype, own)
    if kind is not None:
        # Python numbers that a trace gets are computed with as Python would.
        weak = dtype is None and any(tensor._weak for tensor in tensors)
        dtype = _PYTHON[kind] if weak else with_weak(dtype, kind)
    assert dtype is not None
    if function is not None:
        dtype = function.operand_dtype(dtype)
    return [_node_of(item, dtype) for item in items], tensors


_PYTHON = {"bool": bool_, "int": as_dtype("int64"), "float": as_dtype("float64")}


def _higher(kind: str | None, other: str) -> str:
    return other if kind is None or _KINDS[other] > _KINDS[kind] else kind


def _node_of(item: Any, dtype: DType) -> Node:
    if isinstance(item, Tensor):
        return build.cast(item._read(), dtype)
    if dtype.is_integer and not dtype.lowest <= item <= dtype.highest:
        raise DTypeError(
            f"the number {item} does not fit {dtype}",
            remedy='convert the tensor to a wider dtype first, x.astype("int64")',
        )
    return build.constant(_python(item, dtype), dtype)


def _python(value: Any, dtype: DType) -> bool | int | float:
    if dtype.kind == "bool":
        return bool(value)
    return float(value) if dtype.is_float else int(value)


def _same(x: Node) -> Node:
    return x


def _matmul(a: Node, b: Node) -> Node:
    dtype = promote(a.dtype, b.dtype)
    return products.matmul(build.cast(a, dtype), build.cast(b, dtype))


# --- indices --------------------------------------------------------------------------------------

_ARRAY = object()


def _index(key: Any) -> tuple[tuple[Any, ...], list[Tensor]]:
    """An index whose arrays are replaced by a mark, and the arrays."""
    items = key if isinstance(key, tuple) else (key,)
    plain: list[Any] = []
    arrays: list[Tensor] = []
    for item in items:
        if item is None or item is Ellipsis:
            plain.append(item)
        elif isinstance(item, slice):
            plain.append(slice(_bound(item.start), _bound(item.stop), _bound(item.step)))
        elif isinstance(item, (int, np.integer)) and not isinstance(item, (bool, np.bool_)):
            plain.append(int(item))
        else:
            _index_array(item, plain, arrays)
    return tuple(plain), arrays


def _bound(value: Any) -> int | None:
    return None if value is None else value.__index__()


def _index_array(item: Any, plain: list[Any], arrays: list[Tensor]) -> None:
    if isinstance(item, range):
        tensor = record_nodes(lambda: (_range(item), ()))
    else:
        tensor = as_tensor(item)
        if isinstance(item, (list, tuple)) and not tensor.size:
            tensor = as_tensor(item, as_dtype("int64"))
    if tensor.dtype is bool_:
        mask = tensor._look(
            "an index with a mask",
            "the shape of the result would depend on values: write fg.where(mask, x, 0), "
            "or multiply by the mask",
        )
        for positions in np.nonzero(mask):
            plain.append(_ARRAY)
            arrays.append(as_tensor(positions))
    else:
        plain.append(_ARRAY)
        arrays.append(tensor)


def _range(values: range) -> Node:
    node = build.iota(len(values))
    if values.step != 1:
        node = build.mul(node, build.full_like(node, values.step))
    if values.start:
        node = build.add(node, build.full_like(node, values.start))
    return node


def _filled(plain: tuple[Any, ...], arrays: Sequence[Node]) -> tuple[Any, ...]:
    rest = iter(arrays)
    return tuple(next(rest) if item is _ARRAY else item for item in plain)


def _get(x: Node, *rest: Any) -> Node:
    *arrays, plain = rest
    return indexing.get(x, _filled(plain, arrays))


def _put(x: Node, *rest: Any) -> Node:
    *arrays, value, plain = rest
    return indexing.put(x, _filled(plain, arrays), build.cast(value, x.dtype))


def _put_mask(x: Node, mask: Node, value: Node) -> Node:
    value = broadcast_to(build.cast(value, x.dtype), x.shape)
    wide = build.broadcast(mask, x.shape, range(len(mask.shape)))
    return build.select(wide, value, x)


# --- copies ---------------------------------------------------------------------------------------


def _rebuild(cls: type[Tensor], source: Tensor) -> Tensor:
    storage = source._materialize()
    tensor = object.__new__(cls)
    tensor._blank(source._type)
    tensor._storage = storage
    tensor.requires_grad, tensor.name = source.requires_grad, source.name
    tensor.__setstate__(source._extra())
    return tensor


def _unpickle(cls: type[Tensor], array: Array, requires_grad: bool, name: str | None) -> Tensor:
    tensor = object.__new__(cls)
    storage = Storage.copy_of(array)
    tensor._blank(TensorType(array.shape, as_dtype(array.dtype)))
    tensor._storage = storage
    tensor.requires_grad, tensor.name = requires_grad, name
    return tensor
