"""Functions that are methods of a Tensor too, with the tensor as their first argument.

User-level code over the public functions. Where NumPy's arrays have a method it is theirs, else
torch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from math import prod
from typing import Any

from . import (
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
    order_statistics,
    picking,
    products,
    reductions,
    searching,
    sets,
)
from .errors import ShapeError
from .nn import functional as nn_functional
from .nn import init
from .semantics.shapes import one_axis, show
from .tensor_class import ArrayLike, Tensor, as_tensor

__all__ = ["METHODS", "install"]


def split(x: Tensor, split_size: int | Sequence[int], dim: int = 0) -> tuple[Tensor, ...]:
    """Parts along an axis: of one size, the last possibly smaller, or of these sizes."""
    place = one_axis("split", dim, x.ndim)
    extent = x.shape[place]
    if isinstance(split_size, int):
        if split_size < 1:
            raise ShapeError(f"split: parts of {split_size}", remedy="give a size of 1 or more")
        bounds = [*range(0, extent, split_size), extent] if extent else [0, 0]
    else:
        bounds = [0, *accumulate(split_size)]
    if bounds[-1] != extent:
        raise ShapeError(
            f"split: sizes {tuple(split_size)} of axis {place} of shape {show(x.shape)}",  # type: ignore[arg-type]
            remedy="the sizes must add up to the extent of the axis",
        )
    before = (slice(None),) * place
    return tuple(x[(*before, slice(start, stop))] for start, stop in pairwise(bounds))


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


_ELEMENTWISE = (
    *("abs", "ceil", "clip", "exp", "floor", "log", "masked_fill", "neg", "pow", "reciprocal"),
    *("relu", "round", "rsqrt", "sigmoid", "sin", "cos", "sqrt", "square", "tanh", "tril", "triu"),
)
_SCATTERING = ("index_add", "index_copy", "index_fill", "masked_scatter", "scatter", "scatter_add")

_OWN: tuple[Callable[..., Any], ...] = (
    *(compress, data_ptr, equal, new_tensor, split, stride, tile, tobytes, where),
    *(arranging.movedim, arranging.rot90, arranging.swapdims, arranging.t, arranging.unflatten),
    *(averages.allclose, choosing.choose, choosing.masked_scatter, choosing.masked_select),
    *(diagonals.diag, diagonals.diag_embed, differences.diff),
    *(functional.isclose, functional.nan_to_num, histograms.bincount, histograms.histc),
    *(inserting.repeat_interleave, joining.chunk, manipulation.moveaxis),
    *(nan_reductions.nanmean, nan_reductions.nansum, order_statistics.nanmedian),
    *(order_statistics.nanquantile, order_statistics.quantile),
    *(picking.index_add, picking.index_copy, picking.index_fill, picking.scatter),
    *(picking.scatter_add, picking.scatter_reduce, picking.take_along_dim),
    *(products.bmm, products.cross, products.dot, products.inner, products.kron),
    *(products.matmul, products.mm, products.mv, products.outer, products.vdot),
    *(reductions.count_nonzero, searching.nonzero, searching.searchsorted, sets.unique),
    *(nn_functional.softmax, nn_functional.log_softmax),
)

METHODS: dict[str, Callable[..., Any]] = {
    **{function.__name__: function for function in _OWN},
    **{f"{f.__name__}_": _in_place(f.__name__, f) for f in _OWN if f.__name__ in _SCATTERING},
    **{f"{name}_": _in_place(name, getattr(Tensor, name)) for name in _ELEMENTWISE},
    "tensor_split": joining.tensor_split,
    "uniform_": init.uniform_,
    "normal_": init.normal_,
}
"""What becomes a method, by its name."""


def install() -> None:
    """Give them to the class."""
    for name, function in METHODS.items():
        setattr(Tensor, name, function)
