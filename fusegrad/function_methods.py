"""Functions that are methods of a Tensor too, with the tensor as their first argument.

User-level code over the public functions. Where NumPy's arrays have a method it is theirs, else
torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from .functions import (
    arithmetic,
    arranging,
    averages,
    choosing,
    diagonals,
    differences,
    functional,
    histograms,
    inserting,
    joining,
    manipulation,
    nan_reductions,
    picking,
    products,
    reductions,
    searching,
    sets,
    sorting,
)
from .nn import functional as nn_functional
from .nn import init
from .semantics.shapes import one_axis
from .tensors.tensor_class import ArrayLike, Tensor, as_tensor

__all__ = ["METHODS", "install"]


def where(x: Tensor, condition: ArrayLike, other: ArrayLike) -> Tensor:
    """The elements where the condition holds, else those of `other`."""
    return functional.where(condition, x, other)


def equal(x: Tensor, other: ArrayLike) -> bool:
    """Whether the other has the same shape and the same elements."""
    theirs = as_tensor(other)
    return x.shape == theirs.shape and bool((x == theirs).all())


def compress(x: Tensor, condition: ArrayLike, axis: int | None = None) -> Tensor:
    """The positions of an axis where the condition holds."""
    return choosing.compress(condition, x, axis)


def tile(x: Tensor, *repetitions: Any) -> Tensor:
    """The tensor, repeated along its axes."""
    lone = len(repetitions) == 1 and not isinstance(repetitions[0], int)
    return manipulation.tile(x, repetitions[0] if lone else repetitions)


def new_tensor(x: Tensor, data: ArrayLike, *, dtype: Any = None) -> Tensor:
    """A tensor of other values, by default of this dtype."""
    return Tensor(data, x.dtype if dtype is None else dtype)


def stride(x: Tensor, dim: int | None = None) -> Any:
    """How many elements lie between neighbours along each axis, or along one."""
    steps = tuple(prod(x.shape[axis + 1 :]) for axis in range(x.ndim))
    return steps if dim is None else steps[one_axis("stride", dim, x.ndim)]


def data_ptr(x: Tensor) -> int:
    """The address of the first element."""
    return x._materialize().address


def tobytes(x: Tensor) -> bytes:
    """The bytes of all elements in the order of the axes."""
    return x.numpy().tobytes()


def _in_place(name: str, function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(x: Tensor, *args: Any, **params: Any) -> Tensor:
        return x._update(function(x, *args, **params))

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"`Tensor.{name}` in place."
    return method


_IN_PLACE = ("clip", "pow", "tril", "triu")
_ARITHMETIC = ("addcdiv", "addcmul", "frexp", "ldexp", "lerp")

_OWN: tuple[Callable[..., Any], ...] = (
    *(compress, data_ptr, equal, new_tensor, stride, tile, tobytes, where),
    *(arranging.rot90, arranging.unflatten, averages.allclose, choosing.choose),
    *(differences.diff, functional.isclose, functional.nan_to_num),
    *(histograms.bincount, histograms.histc, inserting.repeat_interleave),
    *(nan_reductions.nanmean, nan_reductions.nansum, picking.take_along_dim),
    *(averages.corrcoef, averages.cov),
    *(arranging.fliplr, arranging.flipud, joining.dsplit, joining.hsplit, joining.vsplit),
    *(diagonals.diagonal_scatter, picking.select_scatter, products.addmm, products.baddbmm),
    *(sets.unique_consecutive, sorting.msort),
    *(products.cross, products.outer, products.vdot, reductions.count_nonzero),
    *(searching.searchsorted, sets.unique, nn_functional.softmax, nn_functional.log_softmax),
)

METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(arithmetic, name) for name in _ARITHMETIC},
    **{function.__name__: function for function in _OWN},
    **{f"{name}_": _in_place(name, getattr(Tensor, name)) for name in _IN_PLACE},
    "tensor_split": joining.tensor_split,
    "uniform_": init.uniform_,
    "normal_": init.normal_,
}
"""What becomes a method, by its name."""


def install() -> None:
    """Give them to the class."""
    for name, function in METHODS.items():
        setattr(Tensor, name, function)
