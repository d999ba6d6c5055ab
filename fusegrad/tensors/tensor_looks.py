"""Looking at the values of a Tensor: as NumPy arrays, Python numbers, text.

Knows only how to ask for the values; inside of a trace asking is an error.
"""

from __future__ import annotations

import sys
import weakref
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import pytree
from ..codegen.dtypes import DType, bfloat16, bool_, float32, int64
from ..codegen.half import from_bfloat16, is_record
from ..errors import (
    ArgumentTypeError,
    CopyError,
    DeviceError,
    DTypeError,
    ShapeError,
)
from ..semantics.shapes import show
from .device import device as Device
from .dlpack import as_bfloat16
from .dlpack_device import capsule_of
from .storage import DeviceStorage, Storage

__all__ = ["Looks"]

Array = npt.NDArray[Any]


class Looks(ABC):
    """The methods that need values."""

    __slots__ = ()
    requires_grad: bool

    @abstractmethod
    def _look(self, what: str, remedy: str | None = None) -> Array:
        """The values for somebody who looks at them, or TracedValueError."""

    @property
    @abstractmethod
    def device(self) -> Device:
        """Where the elements lie."""

    @abstractmethod
    def _own_storage(self) -> Storage | None:
        """The memory of the values, None inside of a trace."""

    @abstractmethod
    def _is_traced(self) -> bool:
        """Whether there are no values to look at."""

    @abstractmethod
    def _operator(self, ufunc: np.ufunc, operands: tuple[Any, ...]) -> Any:
        """What the ufunc of an operator gives, None for other ufuncs."""

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """The extents of the axes."""

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """The dtype of the elements."""

    @property
    @abstractmethod
    def size(self) -> int:
        """The number of elements."""

    def numpy(self) -> Array:
        """The values as a read-only NumPy array that shares the memory.

        Later changes of the tensor do not change the array. An array of bfloat16 has the dtype
        that the package `ml_dtypes` gives to NumPy.
        """
        return self._view("numpy()")

    def _view(self, what: str, remedy: str | None = None) -> Array:
        if is_record(self.dtype.numpy):
            raise DTypeError(
                f"{what}: NumPy has no bfloat16 of its own",
                remedy="install the package ml_dtypes, or convert first, x.float().numpy()",
            )
        storage = self._own_storage()
        if storage is not None:
            return storage.view()
        view = self._look(what, remedy)[...]
        view.flags.writeable = False
        return view

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        view = self._view("np.asarray")
        if dtype is not None and view.dtype != dtype:
            if copy is False:
                raise CopyError(
                    f"a copy is needed and copy=False: values of {self.dtype} are no {dtype}",
                    remedy="leave copy=None",
                )
            return view.astype(dtype)
        return view.copy() if copy else view

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **params: Any) -> Any:
        if method == "__call__" and not params:
            result = self._operator(ufunc, inputs)
            if result is not None:
                return result
        if any(isinstance(out, Looks) for out in params.get("out", ())):
            return NotImplemented
        return getattr(ufunc, method)(*_viewed(inputs, ufunc.__name__), **params)

    def __array_function__(
        self, function: Any, types: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        args, kwargs = _viewed((args, kwargs), function.__name__)
        return function(*args, **kwargs)

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        if self.device.type == "cuda":
            return self._device_capsule(stream, max_version, dl_device, copy)
        if stream is not None:
            raise DeviceError("the CPU has no streams", remedy="leave stream=None")
        storage = self._own_storage()
        if storage is not None and (max_version is None or max_version < (1, 0)):
            view = storage.lent()
        else:
            view = self._look("DLPack") if storage is None else storage.view()
        bits = view.view(np.uint16) if self.dtype is bfloat16 else view
        capsule = bits.__dlpack__(max_version=max_version, dl_device=dl_device, copy=copy)
        return as_bfloat16(capsule) if self.dtype is bfloat16 else capsule

    def _device_capsule(self, stream: Any, max_version: Any, dl_device: Any, copy: Any) -> Any:
        """The memory on a GPU for another library, which nothing writes until that lets go."""
        if dl_device is not None and tuple(dl_device) != self.__dlpack_device__():
            raise DeviceError(
                f"the values are on {self.device}, and another device asks for them",
                remedy="copy them there first, x.cpu() or x.to(...)",
            )
        storage = self._own_storage()
        if not isinstance(storage, DeviceStorage):
            self._look("DLPack")
            raise BufferError("the values are not there yet")
        return capsule_of(
            DeviceStorage.of(storage, storage.gpu) if copy else storage, stream, max_version
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        index = self.device.index
        return (1, 0) if index is None else (2, index)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """The memory for other libraries of CUDA, which see the values as they are now."""
        if self.device.type != "cuda":
            raise AttributeError("the values are on the CPU: there is no __cuda_array_interface__")
        storage = self._own_storage()
        if not isinstance(storage, DeviceStorage):
            self._look("__cuda_array_interface__")
            raise AttributeError("the values are not there yet")
        if self.dtype is bfloat16:
            raise DTypeError(
                "__cuda_array_interface__ has no bfloat16", remedy="convert first, x.float()"
            )
        # As long as the tensor lives nobody else gets the memory, and no step writes to it.
        weakref.finalize(self, id, storage)
        return storage.interface()

    def tolist(self) -> Any:
        """The values as nested lists of Python numbers."""
        return self._plain("tolist()").tolist()

    def item(self, *index: int) -> Any:
        """The only element, or the one at an index, as a Python number."""
        if not index and self.size != 1:
            raise _one_element("item()", self)
        return self._plain("item()").item(*index)

    def _number(self, what: str, remedy: str | None = None) -> Any:
        if self.size != 1:
            raise _one_element(what, self)
        return self._plain(what, remedy).item()

    def _plain(self, what: str, remedy: str | None = None) -> Array:
        """The values for somebody who wants Python numbers."""
        values = self._look(what, remedy)
        return from_bfloat16(values) if self.dtype is bfloat16 else values

    def __float__(self) -> float:
        return float(self._number("float()"))

    def __int__(self) -> int:
        return int(self._number("int()"))

    def __trunc__(self) -> int:
        return int(self._number("math.trunc()"))

    def __round__(self, digits: int | None = None) -> int | float:
        number: int | float = round(self._number("round()", "use x.round()"), digits)
        return number

    def __complex__(self) -> complex:
        return complex(self._number("complex()"))

    def __bool__(self) -> bool:
        return bool(
            self._number(
                "a decision (if, while, and, or, not, bool())",
                "choose between values with fg.where(condition, a, b), or return the value and "
                "test it outside",
            )
        )

    def __index__(self) -> int:
        if not self.dtype.is_integer:
            raise ArgumentTypeError(f"a tensor of {self.dtype} is not an index")
        return int(
            self._number(
                "a Python integer (range(), an index, a size)",
                "pass the number as an argument named in static_argnames",
            )
        )

    def __repr__(self) -> str:
        name = type(self).__name__
        exact = f", shape={show(self.shape)}, dtype={self.dtype}"
        if self._is_traced():
            return f"{name}(<traced>{exact})"
        values = self._text(separator=", ", prefix=f"{name}(")
        extra = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype}"
        extra = extra if self.size else exact
        extra += "" if self.device.type == "cpu" else f", device='{self.device}'"
        return f"{name}({values}{extra}{', requires_grad=True' if self.requires_grad else ''})"

    def __str__(self) -> str:
        return repr(self) if self._is_traced() else self._text()

    def _text(self, **layout: Any) -> str:
        digits = 4 if self.dtype is bfloat16 else None
        return np.array2string(self._plain("print()"), precision=digits, **layout)

    def __format__(self, spec: str) -> str:
        if spec and self.shape:
            raise DTypeError(
                f"the format {spec!r} is one for numbers, the tensor has shape {show(self.shape)}",
                remedy="format its elements, or use np.array2string(x, precision=...)",
            )
        return format(self._number("format()"), spec) if spec else str(self)


# What NumPy names differently.
_NUMPY_NAMES = {
    "absolute": "abs",
    "arccos": "acos",
    "arccosh": "acosh",
    "arcsin": "asin",
    "arcsinh": "asinh",
    "arctan": "atan",
    "arctan2": "atan2",
    "arctanh": "atanh",
    "concatenate": "concat",
    "power": "pow",
    "transpose": "permute_dims",
    "true_divide": "divide",
}


def _one_element(what: str, tensor: Looks) -> ShapeError:
    return ShapeError(
        f"{what} needs one element, the tensor has shape {show(tensor.shape)}",
        remedy="reduce it first, as in x.sum() or (x > 0).any()",
    )


def _viewed(arguments: Any, function: str) -> Any:
    """Arguments of a NumPy function with arrays in place of tensors."""
    what = f"np.{function}"
    ours = _NUMPY_NAMES.get(function, function)
    remedy = None
    if hasattr(sys.modules[__name__.partition(".")[0]], ours):
        remedy = f"write fg.{ours}(...), or look at the value outside of the function"
    leaves, structure = pytree.flatten(arguments)
    arrays = [x._view(what, remedy) if isinstance(x, Looks) else x for x in leaves]
    return pytree.unflatten(structure, arrays)
