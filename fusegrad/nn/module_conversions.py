"""Conversions of modules to other dtypes and devices.

User-level code: knows a module by its parameters and buffers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, Self

from .. import state
from ..errors import ArgumentTypeError
from ..semantics.promotion import as_dtype
from ..tensors.context import no_grad
from ..tensors.device import device as Device
from ..tensors.device import named_device
from ..tensors.tensor_class import Tensor

__all__ = ["ModuleConversions"]


class ModuleConversions:
    """Methods that convert all floating-point parameters and buffers, in place."""

    @abstractmethod
    def parameters(self, recurse: bool = True) -> Iterator[Any]:
        """The parameters of this module and of all below it."""

    @abstractmethod
    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """The buffers of this module and of all below it."""

    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, non_blocking: bool = False
    ) -> Self:
        """Convert floating-point parameters and buffers to a dtype, or move all to a device.

        In place: parameters stay the same objects, so that optimizers keep them; a conversion
        drops their gradients. Make optimizers afterwards: what they keep is where the
        parameters are then.

        Parameters
        ----------
        *args : dtype, str or Tensor
            A dtype, a device, both, or a tensor that has them.
        dtype : dtype, optional
            A floating dtype.
        device : str, optional
            ``"cpu"`` or ``"cuda"``.
        non_blocking : bool, optional
            Torch's: work of a GPU never blocks before somebody looks.

        Examples
        --------
        >>> from fusegrad import nn
        >>> nn.Linear(2, 3).to("cpu", "float64").weight.dtype
        fusegrad.float64
        """
        for arg in args:
            if isinstance(arg, Tensor):
                dtype, device = arg.dtype, arg.device
            elif type(arg) is int or str(arg).startswith(("cpu", "cuda")):
                device = arg
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        target = named_device(device)
        if dtype is not None:
            self._convert(dtype)
        if target is not None:
            self._move(target)
        return self

    def _move(self, target: Device) -> None:
        with no_grad():
            for tensor in (*self.parameters(), *self.buffers()):
                if tensor.device == target:
                    continue
                tensor.data = tensor.detach().to(target)
                if tensor.grad is not None:
                    tensor.grad = tensor.grad.detach().to(target)
        state.bump()

    def _convert(self, dtype: Any) -> None:
        target = as_dtype(dtype)
        if target.kind != "float":
            raise ArgumentTypeError(
                f"modules are converted to floating-point types, not to {target}"
            )
        with no_grad():
            for tensor in (*self.parameters(), *self.buffers()):
                if tensor.dtype.kind == "float" and tensor.dtype is not target:
                    tensor.grad = None
                    tensor.data = tensor.detach().astype(target)
        state.bump()

    def type(self, dst_type: Any) -> Self:
        """Convert to a dtype: `to` under another name."""
        return self.to(dtype=dst_type)

    def cpu(self) -> Self:
        """Move all parameters and buffers to the CPU."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None) -> Self:
        """Move all parameters and buffers to a GPU."""
        return self.to(device="cuda" if device is None else f"cuda:{device}")

    def float(self) -> Self:
        """Convert to float32."""
        return self.to("float32")

    def double(self) -> Self:
        """Convert to float64."""
        return self.to("float64")

    def half(self) -> Self:
        """Convert to float16."""
        return self.to("float16")

    def bfloat16(self) -> Self:
        """Convert to bfloat16."""
        return self.to("bfloat16")
