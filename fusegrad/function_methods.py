"""Functions that are methods of a Tensor too, with the tensor as their first argument.

User-level code over the public functions. Where NumPy's arrays have a method it is theirs, else
torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from . import linalg
from .errors import ShapeError
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
    matrix_names,
    matrix_sums,
    nan_reductions,
    picking,
    products,
    questions,
    random_names,
    reductions,
    searching,
    sets,
    slices,
    sorting,
    special_names,
    torch_names,
)
from .functions.creation import tensor
from .functions.windows import sliding_window_view
from .in_place_methods import in_place_methods
from .nn import functional as nn_functional
from .semantics.shapes import as_shape, one_axis, show
from .tensors.device import check_device
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


def new_tensor(
    x: Tensor,
    data: ArrayLike,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor of other values, by default of this dtype."""
    check_device(device)
    kind = x.dtype if dtype is None else dtype
    place = x.device if device is None else device
    return tensor(data, dtype=kind, device=place, requires_grad=requires_grad)


def sum_to_size(x: Tensor, *size: Any) -> Tensor:
    """The sums over the axes that broadcasting `size` to this shape would add or stretch."""
    shape = as_shape(size)
    lead = x.ndim - len(shape)
    stretched = [lead + i for i, extent in enumerate(shape) if extent == 1 != x.shape[lead + i]]
    if lead < 0 or any(
        extent not in (1, own) for extent, own in zip(shape, x.shape[lead:], strict=True)
    ):
        raise ShapeError(
            f"sum_to_size: shape {show(x.shape)} does not come from shape {show(shape)} by "
            "broadcasting",
            remedy=None,
        )
    return x.sum(axis=(*range(lead), *stretched), keepdims=True).reshape(shape)


def unfold(x: Tensor, dimension: int, size: int, step: int = 1) -> Tensor:
    """Windows of `size` positions of an axis, every `step` positions, as a new last axis."""
    place = one_axis("unfold", dimension, x.ndim)
    if not 0 <= size <= x.shape[place] or step < 1:
        raise ShapeError(
            f"unfold: axis {place} of extent {x.shape[place]} has no windows of {size} positions "
            f"with a step of {step}",
            remedy=None,
        )
    windows = sliding_window_view(x, size, axis=place) if size else x[..., None][..., :0]
    return windows[(*(slice(None),) * place, slice(None, None, step))]


def nelement(x: Tensor) -> int:
    """The number of elements."""
    return x.size


def ndimension(x: Tensor) -> int:
    """The number of axes."""
    return x.ndim


def is_signed(x: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return questions.is_signed(x)


def is_complex(x: Tensor) -> bool:
    """False: there are no complex numbers here."""
    return False


def is_nonzero(x: Tensor) -> bool:
    """Whether the only element is not zero."""
    return bool(x)


def is_same_size(x: Tensor, other: Tensor) -> bool:
    """Whether the other has the same shape."""
    return x.shape == other.shape


def get_device(x: Tensor) -> int:
    """The number of the GPU; -1, as in torch, is the processor's memory."""
    index = x.device.index
    return -1 if index is None else index


def detach_(x: Tensor) -> Tensor:
    """Forget what the tensor was computed from; it becomes a variable that requires no gradient."""
    x.data = x.detach()
    x.requires_grad, x._leaf = False, True
    return x


def polygamma(x: Tensor, n: int) -> Tensor:
    """The derivative number `n` of `digamma`; torch's method takes the number behind."""
    return special_names.polygamma(n, x)


def fill(x: Tensor, value: ArrayLike) -> None:
    """Set all elements to one value, as NumPy does."""
    x.fill_(value)


_ARITHMETIC = ("addcdiv", "addcmul", "frexp", "ldexp", "lerp")

_OWN: tuple[Callable[..., Any], ...] = (
    *(compress, data_ptr, detach_, equal, fill, get_device, is_complex, is_nonzero, is_same_size),
    *(is_signed, ndimension, nelement, new_tensor, stride, sum_to_size, tile, tobytes, unfold),
    *(where, diagonals.diagflat, matrix_names.dist, nn_functional.hardshrink, nn_functional.prelu),
    *(random_names.multinomial, sorting.argpartition, sorting.partition),
    *(arranging.rot90, arranging.unflatten, averages.allclose, choosing.choose),
    *(differences.diff, functional.isclose, functional.nan_to_num),
    *(histograms.bincount, histograms.histc, inserting.repeat_interleave),
    *(nan_reductions.nanmean, nan_reductions.nansum, picking.take_along_dim),
    *(averages.corrcoef, averages.cov),
    *(arranging.fliplr, arranging.flipud, joining.dsplit, joining.hsplit, joining.vsplit),
    *(diagonals.diagonal_scatter, picking.select_scatter, products.addmm, products.baddbmm),
    *(sets.unique_consecutive, slices.clamp_max, slices.clamp_min, sorting.msort),
    *(products.cross, products.outer, products.vdot, reductions.count_nonzero),
    *(searching.searchsorted, sets.unique, nn_functional.softmax, nn_functional.log_softmax),
)

_SPECIAL = (
    *("digamma", "erfinv", "i0", "igamma", "igammac", "lgamma", "logit", "mvlgamma"),
    *("xlogy",),
)
_MATRICES = (*("addbmm", "addmv", "addr", "renorm"),)
_TORCH = ("adjoint", "aminmax", "frac")

METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(arithmetic, name) for name in _ARITHMETIC},
    **{name: getattr(special_names, name) for name in _SPECIAL},
    **{name: getattr(matrix_sums, name) for name in _MATRICES},
    **{name: getattr(torch_names, name) for name in _TORCH},
    **{name: getattr(linalg, name) for name in ("slogdet", "qr")},
    **{function.__name__: function for function in _OWN},
    "ger": products.outer,
    "polygamma": polygamma,
    "sgn": functional.sign,
    "slice_scatter": picking.slice_scatter,
    "tensor_split": joining.tensor_split,
}
"""What becomes a method, by its name."""


def install() -> None:
    """Give them to the class, and those in place that follow from them."""
    for name, function in METHODS.items():
        setattr(Tensor, name, function)
    for name, function in in_place_methods().items():
        setattr(Tensor, name, function)
