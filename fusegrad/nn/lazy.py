"""Layers that learn the number of their input's features from the first input, under torch's names.

User-level code. A lazy layer holds parameters without a shape; its first call makes the layer that
it stands for, puts the values of that layer into those parameters, and becomes an instance of its
class. Optimizers that hold the parameters already make their state then.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .. import state
from ..errors import ShapeError
from ..functions.creation import asarray
from ..tensors.context import outside
from .convolution_layers import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from .layers import Linear
from .module import Module
from .normalization_layers import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)
from .parameter import UninitializedParameter

__all__ = [
    "LazyBatchNorm1d",
    "LazyBatchNorm2d",
    "LazyBatchNorm3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
    "LazyInstanceNorm1d",
    "LazyInstanceNorm2d",
    "LazyInstanceNorm3d",
    "LazyLinear",
]


def _nothing(module: Module) -> None:
    """In the place of `reset_parameters`."""


class _Lazy(Module):
    """A layer that becomes `_becomes`, whose first argument is an extent of its first input."""

    _becomes: ClassVar[type[Any]]
    # How many axes the features of one sample have behind the one that is counted.
    _places: ClassVar[int]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._arguments = (args, kwargs)
        # Made with one feature, it tells which parameters there will be, and checks the options;
        # nothing is drawn for it.
        undrawn = type(self._becomes.__name__, (self._becomes,), {"reset_parameters": _nothing})
        extent = int(kwargs.get("groups", 1))
        for name, parameter in undrawn(extent, *args, **kwargs)._parameters.items():
            self._parameters[name] = None if parameter is None else UninitializedParameter()

    def _made(self, extent: int) -> Module:
        args, kwargs = self._arguments
        made: Module = self._becomes(extent, *args, **kwargs)
        return made

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(args[0] if args else kwargs["input"])
        return self(*args, **kwargs)

    def initialize_parameters(self, input: Any) -> None:
        """Become the layer that takes such an input.

        Parameters
        ----------
        input : Tensor or array
            Only its shape counts.

        Raises
        ------
        ShapeError
            If the input has too few axes.
        """
        shape = asarray(input).shape
        if len(shape) <= self._places:
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {tuple(shape)} has {len(shape)} axes",
                remedy=f"the features lie on axis {-1 - self._places}",
            )
        with outside():
            made = self._made(shape[-1 - self._places])
            for name, parameter in made._parameters.items():
                own = self._parameters[name]
                if isinstance(own, UninitializedParameter) and parameter is not None:
                    own._become(parameter)
        kept = ("_parameters", "training", "_arguments")
        fields = {name: value for name, value in made.__dict__.items() if name not in kept}
        del self.__dict__["_arguments"]
        self.__dict__.update(fields)
        self.__class__ = self._becomes
        state.bump()

    def extra_repr(self) -> str:
        args, kwargs = self._arguments
        return ", ".join([*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())])


class _LazyNorm(_Lazy):
    """One whose features may be the last axis: the input may lack the places."""

    def initialize_parameters(self, input: Any) -> None:
        """Become the layer that takes such an input."""
        x = asarray(input)
        super().initialize_parameters(x.reshape(*x.shape, 1) if x.ndim == 2 else x)


def _lazy(becomes: type[Module], places: int, base: type[_Lazy] = _Lazy) -> type[Any]:
    name = becomes.__name__
    counted = "in_features" if becomes is Linear else "the number of channels"
    doc = f"""`{name}` that finds {counted} from its first input.

    All other arguments are those of `{name}`, in their order.
    """
    fields = {"_becomes": becomes, "_places": places, "__doc__": doc, "__module__": __name__}
    return type(f"Lazy{name}", (base,), fields)


LazyLinear = _lazy(Linear, 0)
LazyConv1d, LazyConv2d, LazyConv3d = map(_lazy, (Conv1d, Conv2d, Conv3d), (1, 2, 3))
LazyConvTranspose1d = _lazy(ConvTranspose1d, 1)
LazyConvTranspose2d = _lazy(ConvTranspose2d, 2)
LazyConvTranspose3d = _lazy(ConvTranspose3d, 3)
LazyBatchNorm1d = _lazy(BatchNorm1d, 1, _LazyNorm)
LazyBatchNorm2d, LazyBatchNorm3d = map(_lazy, (BatchNorm2d, BatchNorm3d), (2, 3))
LazyInstanceNorm1d = _lazy(InstanceNorm1d, 1)
LazyInstanceNorm2d = _lazy(InstanceNorm2d, 2)
LazyInstanceNorm3d = _lazy(InstanceNorm3d, 3)
