"""Conversions of a Tensor to other dtypes and devices.

A file of its own because its methods are named like Python's types. Knows only `astype`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Generic, TypeVar, cast

from ..codegen.dtypes import (
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int16,
    int32,
    int64,
)
from ..errors import DeviceError
from ..semantics.promotion import as_dtype
from .device import device as Device
from .device import named_device

__all__ = ["Conversions"]

TensorT = TypeVar("TensorT")


def _names_dtype(text: str) -> object:
    try:
        return as_dtype(text)
    except TypeError:
        return None


class Conversions(ABC, Generic[TensorT]):
    """Methods to the same values in another form."""

    __slots__ = ()

    @abstractmethod
    def _convert(self, dtype: DType, copy: Any) -> TensorT:
        """The values in a dtype; this tensor itself if it has the dtype and needs no copy."""

    @abstractmethod
    def _moved(self, device: Any) -> TensorT:
        """The values on a device; this tensor itself if they are there."""

    def astype(self, dtype: Any, *, copy: Any = True, device: Any = None) -> TensorT:
        """The values converted to a dtype."""
        if device is None:
            return self._convert(as_dtype(dtype), copy)
        moved = self._moved(device)
        return moved._convert(as_dtype(dtype), copy and moved is self)  # type: ignore[attr-defined,no-any-return]

    type = astype

    @property
    @abstractmethod
    def dtype(self) -> DType:
        """The dtype of the elements."""

    def to(
        self,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        copy: bool = False,
        non_blocking: bool = False,
    ) -> TensorT:
        """The values in another dtype, on another device, or as another tensor has them.

        `non_blocking` is torch's: work of a GPU never blocks before somebody looks.
        """
        flags = [arg for arg in args if isinstance(arg, bool)]
        copy = copy or (len(flags) > 1 and flags[1])
        for arg in args[: len(args) - len(flags)]:
            if isinstance(arg, Conversions):
                dtype, device = arg.dtype, arg.device
            elif (
                type(arg) is int
                or isinstance(arg, Device)
                or (isinstance(arg, str) and not _names_dtype(arg))
            ):
                device = arg
            else:
                dtype = arg
        dtype = self.dtype if dtype is None else dtype
        return self.astype(dtype, copy=copy, device=named_device(device))

    def to_device(self, device: Any, /, *, stream: Any = None) -> TensorT:
        """This tensor on a device."""
        if stream is not None:
            raise DeviceError("there are no streams to choose from", remedy="leave stream=None")
        return self.to(str(device))

    def cpu(self) -> TensorT:
        """This tensor on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TensorT:
        """This tensor on a GPU; a DeviceError where there is none. See `to` for `non_blocking`."""
        where = "cuda" if device is None else device
        where = f"cuda:{where}" if type(where) is int else where
        return self.to(device=where, non_blocking=non_blocking)

    def pin_memory(self) -> TensorT:
        """This tensor: what goes up to a GPU does so through pinned memory of the driver anyway."""
        return cast("TensorT", self)

    @property
    @abstractmethod
    def device(self) -> Device:
        """Where the elements lie."""

    @property
    def is_cuda(self) -> bool:
        """Whether this tensor is on a GPU."""
        return self.device.type == "cuda"

    @property
    def is_cpu(self) -> bool:
        """Whether this tensor is on the CPU."""
        return self.device.type == "cpu"

    def float(self) -> TensorT:
        """The values as float32."""
        return self.astype(float32, copy=False)

    def double(self) -> TensorT:
        """The values as float64."""
        return self.astype(float64, copy=False)

    def half(self) -> TensorT:
        """The values as float16."""
        return self.astype(float16, copy=False)

    def bfloat16(self) -> TensorT:
        """The values as bfloat16."""
        return self.astype(bfloat16, copy=False)

    def short(self) -> TensorT:
        """The values as int16."""
        return self.astype(int16, copy=False)

    def int(self) -> TensorT:
        """The values as int32."""
        return self.astype(int32, copy=False)

    def long(self) -> TensorT:
        """The values as int64."""
        return self.astype(int64, copy=False)

    def bool(self) -> TensorT:
        """Whether the values are not zero."""
        return self.astype(bool_, copy=False)

    def type_as(self, other: Conversions[Any]) -> TensorT:
        """The values in the dtype of another tensor."""
        return self.astype(other.dtype, copy=False)
