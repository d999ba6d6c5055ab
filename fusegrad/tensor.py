"""The Tensor: a value, or the graph that will give it.

Knows how operations are recorded and values are looked at; what operations mean is in `semantics`,
how traces use tensors in `trace`.
"""

from __future__ import annotations

import operator
import sys
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar, SupportsIndex, cast, final

import numpy as np
import numpy.typing as npt

from .codegen.dtypes import DType, as_dtype, bool_, float32, float64, int32, int64
from .context import Recorder, Token, active, no_grad
from .errors import (
    CaptureError,
    DeviceError,
    DTypeError,
    GradientError,
    IndexBoundsError,
    ShapeError,
)
from .evaluation import check_leak, check_value, compute, settle, traced_error, values, wait
from .ir.node import Node, set_recording
from .ir.types import TensorType
from .leaves import leaf_gradients
from .ops import build
from .semantics import indexing, products
from .semantics.elementwise import FUNCTIONS, Function
from .semantics.promotion import kind_of, promote, with_weak
from .semantics.shapes import broadcast_shapes, broadcast_to, show
from .storage import Storage
from .tensor_methods import Methods
from .tensor_operators import UFUNCS, Operators

__all__ = [
    "ArrayLike",
    "Tensor",
    "as_tensor",
    "check_device",
    "common_nodes",
    "elementwise",
    "record",
    "tensor_of",
]

Array = npt.NDArray[Any]
ArrayLike = Any
"""A Tensor, a NumPy array, a number, or nested lists of numbers."""
_SCALARS = (bool, int, float, np.generic)
_KINDS = ("bool", "int", "float")
_SMALL = 1024


class Tensor(Operators, Methods):
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

    __slots__ = (
        "__weakref__",
        "_grad",
        "_leaf",
        "_node",
        "_storage",
        "_trace",
        "_type",
        "_variable",
        "_weak",
        "name",
        "requires_grad",
    )
    _type: TensorType
    _storage: Storage | None
    # What to compute; with a storage, how it was computed, for gradients.
    _node: Node | None
    # The trace in which the value was recorded.
    _trace: Recorder | None
    # The variable that stands for the storage in graphs that somebody holds.
    _variable: weakref.ref[Node] | None
    # Whether it promotes as a Python number.
    _weak: bool
    # Whether gradients end here, if it requires any.
    _leaf: bool
    _grad: Tensor | None
    name: str | None
    requires_grad: bool

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

    def _blank(self, type_: TensorType) -> None:
        self._type = type_
        self._storage = None
        self._node = None
        self._trace = None
        self._variable = None
        self._weak = False
        self._leaf = True
        self._grad = None
        self.name = None
        self.requires_grad = False

    # --- the value --------------------------------------------------------------------------------

    def _read(self) -> Node:
        """The node to record with."""
        trace = active.trace
        if self._trace is not trace:
            return self._read_elsewhere(trace)
        node = self._node
        if node is not None:
            return node
        return self._own_variable() if trace is None else trace.capture(self)

    def _read_elsewhere(self, trace: Recorder | None) -> Node:
        if trace is not None:
            return trace.capture(self)
        if self._node is not None and self._storage is None:
            check_leak(self._node)
        self._trace = None
        return self._read()

    def _own_variable(self) -> Node:
        """The one variable that stands for the storage while a graph holds it."""
        node = None if self._variable is None else self._variable()
        if node is None:
            node = build.input_(self._type, Token(self._storage, self))
            self._variable = weakref.ref(node)
        return node

    def _write(self, node: Node) -> None:
        """Replace the value; `node` has the type of the tensor."""
        if self.requires_grad and self._leaf:
            if active.grad:
                raise GradientError(
                    "a tensor that requires a gradient is changed in place",
                    remedy="change it inside `with fg.no_grad():`, or assign to its .data",
                )
            node = build.leaf(node, Token(tensor=self))
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
            if active.eager:
                compute((self,))

    def _settle(self, node: Node, storage: Storage) -> None:
        """Take the value of `node`, unless the tensor has another one by now."""
        if self._node is node and self._storage is None:
            self._storage = storage
            if self._leaf or not self.requires_grad:
                self._node = None

    def _install(self, storage: Storage) -> None:
        """Take a value that a compiled program computed."""
        array = storage.array
        self._type = TensorType(array.shape, as_dtype(array.dtype))
        self._storage = storage
        self._node = self._trace = self._variable = None

    def _materialize(self) -> Storage:
        """The value, computed if need be."""
        storage = self._storage
        if storage is None:
            node = self._node
            assert node is not None
            if self._trace is not None:
                check_leak(node)
                self._trace = None
            settle(self)
            storage = self._storage
            assert storage is not None
        return storage

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
        assert self._node is not None
        check_value(self._node, what, remedy)
        return values([self._node])[0].array

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
        kinds = {"bool": 0, "uint": 1, "int": 1, "float": 2}
        if not value._weak and kinds[value.dtype.kind] > kinds[dtype.kind]:
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

    def _take_flags(self, result: Tensor) -> None:
        if result.requires_grad and not (self.requires_grad and self._leaf):
            self.requires_grad, self._leaf = True, False

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
    def size(self) -> int:
        """The number of elements."""
        return self._type.size  # type: ignore[return-value]

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self._type.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.size * self.itemsize

    @property
    def device(self) -> str:
        """Where the elements lie: ``"cpu"``."""
        return "cpu"

    def numel(self) -> int:
        """The number of elements."""
        return self.size

    def dim(self) -> int:
        """The number of axes."""
        return self.ndim

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a tensor without axes has no length")
        return self.shape[0]

    def __array_namespace__(self, api_version: str | None = None) -> Any:
        return sys.modules[__package__]

    # --- looking at values ------------------------------------------------------------------------

    def numpy(self) -> Array:
        """The values as a read-only NumPy array that shares the memory.

        Later changes of the tensor do not change the array.
        """
        return self._view("numpy()")

    def _view(self, what: str) -> Array:
        if active.trace is None:
            return self._materialize().view()
        view = self._look(what)[...]
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        view = self._view("NumPy")
        if dtype is not None and view.dtype != dtype:
            if copy is False:
                raise ValueError(f"values of {self.dtype} are not {dtype} without a copy")
            return view.astype(dtype)
        return view.copy() if copy else view

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        function = UFUNCS.get(ufunc)
        if method == "__call__" and not params:
            if function is not None:
                return self._binary(function, *inputs)
            if ufunc is np.matmul:
                return as_tensor(inputs[0])._matmul(as_tensor(inputs[1]), False)
        what = f"np.{ufunc.__name__}"
        remedy = f"write fg.{ufunc.__name__}(x), or look at the value outside of the function"
        arrays = [x._look(what, remedy) if isinstance(x, Tensor) else x for x in inputs]
        if any(isinstance(out, Tensor) for out in params.get("out", ())):
            return NotImplemented
        return getattr(ufunc, method)(*arrays, **params)

    def __dlpack__(self, **params: Any) -> Any:
        view = self._view("DLPack")
        try:
            return view.__dlpack__(**params)
        except BufferError:
            # The reader does not know of read-only memory.
            return view.copy().__dlpack__(**params)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._look("tolist()").tolist()

    def item(self, *index: int) -> Any:
        """The only element, or the one at an index, as a Python number."""
        if not index and self.size != 1:
            raise _one_element("item()", self)
        return self._look("item()").item(*index)

    def _number(self, what: str, remedy: str | None = None) -> Any:
        if self.size != 1:
            raise _one_element(what, self)
        return self._look(what, remedy).item()

    def __float__(self) -> float:
        return float(self._number("float()"))

    def __int__(self) -> int:
        return int(self._number("int()"))

    def __complex__(self) -> complex:
        return complex(self._number("complex()"))

    def __bool__(self) -> bool:
        return bool(
            self._number(
                "if, while, and, or, not or bool()",
                "choose between values with fg.where(condition, a, b), or return the value and "
                "test it outside",
            )
        )

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise TypeError(f"a tensor of {self.dtype} is not an index")
        return int(
            self._number(
                "range(), an index or a size",
                "pass the number as an argument named in static_argnames",
            )
        )

    def __repr__(self) -> str:
        extra = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype}"
        if self.requires_grad:
            extra += ", requires_grad=True"
        name = type(self).__name__
        if active.trace is not None or self._is_foreign():
            return f"{name}(<traced>, shape={show(self.shape)}, dtype={self.dtype})"
        values = np.array2string(self._view("print()"), separator=", ", prefix=f"{name}(")
        if not self.size:
            extra = f", shape={show(self.shape)}, dtype={self.dtype}"
        return f"{name}({values}{extra})"

    def _is_foreign(self) -> bool:
        """Whether the value exists in a trace only."""
        try:
            self._read()
        except RuntimeError:
            return True
        return False

    def __format__(self, spec: str) -> str:
        if spec and not self.shape:
            return format(self._number("format()"), spec)
        return format(str(self), spec)

    def __iter__(self) -> Iterator[Tensor]:
        if not self.shape:
            raise TypeError("a tensor without axes cannot be iterated over")
        return iter([self[position] for position in range(self.shape[0])])

    def __contains__(self, value: Any) -> bool:
        return bool((self == value).any())

    # --- parts ------------------------------------------------------------------------------------

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

    def astype(self, dtype: Any, *, copy: bool = True, device: Any = None) -> Tensor:
        """The values converted to a dtype."""
        check_device(device)
        kind = as_dtype(dtype)
        if kind is self.dtype and not copy:
            return self
        return record(build.cast, (self,), kind)

    type = astype

    def to(self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False) -> Tensor:
        """The values in another dtype, on another device, or as another tensor has them."""
        for arg in args:
            if isinstance(arg, Tensor):
                dtype = arg.dtype
            elif isinstance(arg, str) and not _names_dtype(arg):
                device = arg
            else:
                dtype = arg
        check_device(device)
        return self.astype(self.dtype if dtype is None else dtype, copy=copy)

    def cpu(self) -> Tensor:
        """This tensor: it is on the CPU."""
        return self

    def float(self) -> Tensor:
        """The values as float32."""
        return self.astype(float32, copy=False)

    def double(self) -> Tensor:
        """The values as float64."""
        return self.astype(float64, copy=False)

    def int(self) -> Tensor:
        """The values as int32."""
        return self.astype(int32, copy=False)

    def long(self) -> Tensor:
        """The values as int64."""
        return self.astype(int64, copy=False)

    def bool(self) -> Tensor:
        """Whether the values are not zero."""
        return self.astype(bool_, copy=False)

    def type_as(self, other: Tensor) -> Tensor:
        """The values in the dtype of another tensor."""
        return self.astype(other.dtype, copy=False)

    def __copy__(self) -> Tensor:
        made = _rebuild(type(self), self._materialize(), self.requires_grad, self.name)
        return _with_dict(made, self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        # Values are replaced, never changed, so both may share the memory.
        made = self.__copy__()
        memo[id(self)] = made
        if self._grad is not None:
            made._grad = self._grad.__deepcopy__(memo)
        return made

    def __reduce__(self) -> tuple[Any, ...]:
        array = np.array(self._view("pickle"))
        return _unpickle, (type(self), array, self.requires_grad, self.name)

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
        return self._grad

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
            self.grad = _made(node, create_graph)
            return
        total = build.add(self._grad._read(), node)
        if create_graph:
            self.grad = _made(total, True)
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
