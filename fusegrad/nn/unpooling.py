"""Max pooling undone as functions, under torch's names.

User-level code: each says how many axes its windows ran over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import DTypeError, ShapeError
from ..functions.creation import asarray, zeros
from ..functions.manipulation import reshape
from ..functions.picking import scatter
from ..semantics.convolution import numbers
from ..tensors.tensor_class import Tensor

__all__ = ["max_unpool1d", "max_unpool2d", "max_unpool3d"]

Numbers = int | Sequence[int]


def _spread(
    input: Any,
    indices: Any,
    rank: int,
    kernel_size: Numbers,
    stride: Numbers | None,
    padding: Numbers,
    output_size: Sequence[int] | None,
) -> Tensor:
    name = f"max_unpool{rank}d"
    x, places = asarray(input), asarray(indices)
    if x.ndim not in (rank + 1, rank + 2) or places.shape != x.shape:
        raise ShapeError(
            f"{name}: values of shape {tuple(x.shape)} and indices of shape {tuple(places.shape)}",
            remedy=f"pass what F.max_pool{rank}d with return_indices=True gives",
        )
    if not places.dtype.is_integer:
        raise DTypeError(
            f"{name} needs integers as indices, not {places.dtype}",
            remedy=f"pass what F.max_pool{rank}d with return_indices=True gives",
        )
    sizes = numbers(name, "kernel_size", kernel_size, rank)
    strides = sizes if stride is None else numbers(name, "stride", stride, rank)
    widths = numbers(name, "padding", padding, rank, least=0)
    counts = tuple(x.shape[-rank:])
    extents = tuple(
        (count - 1) * step - 2 * width + size
        for count, step, width, size in zip(counts, strides, widths, sizes, strict=True)
    )
    if output_size is not None:
        wanted = tuple(output_size)[-rank:]
        near = zip(wanted, extents, strides, strict=True) if len(wanted) == rank else ()
        if not near or not all(e - s < w < e + s for w, e, s in near):
            raise ShapeError(
                f"{name}: output_size {tuple(output_size)} is not near {extents}",
                remedy="pooling it must give as many windows",
            )
        extents = wanted
    lead = tuple(x.shape[:-rank])
    flat = (*lead, math.prod(counts))
    empty = zeros((*lead, math.prod(extents)), dtype=x.dtype)
    spread = scatter(empty, -1, reshape(places, flat), reshape(x, flat))
    return reshape(spread, (*lead, *extents))


def max_unpool1d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, with the largest elements of windows at the places they came from.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, L)`` or ``(C, L)``.
    indices : Tensor or array
        Their places, from `max_pool1d`.
    kernel_size, stride, padding : int or sequence of int
        As they were pooled.
    output_size : sequence of int, optional
        The last extents of the result, where several are pooled to the same.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> values, places = F.max_pool1d([[1.0, 5.0, 3.0, 2.0]], 2, return_indices=True)
    >>> F.max_unpool1d(values, places, 2).numpy()
    array([[0., 5., 3., 0.]], dtype=float32)
    """
    return _spread(input, indices, 1, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, with the largest elements of windows at the places they came from.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, H, W)`` or ``(C, H, W)``.
    indices : Tensor or array
        Their places, from `max_pool2d`.
    kernel_size, stride, padding : int or sequence of int
        As they were pooled.
    output_size : sequence of int, optional
        The last extents of the result, where several are pooled to the same.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> values, places = F.max_pool1d([[1.0, 5.0, 3.0, 2.0]], 2, return_indices=True)
    >>> F.max_unpool1d(values, places, 2).numpy()
    array([[0., 5., 3., 0.]], dtype=float32)
    """
    return _spread(input, indices, 2, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Any,
    indices: Any,
    kernel_size: Numbers,
    stride: Numbers | None = None,
    padding: Numbers = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """Zeros, with the largest elements of windows at the places they came from.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    indices : Tensor or array
        Their places, from `max_pool3d`.
    kernel_size, stride, padding : int or sequence of int
        As they were pooled.
    output_size : sequence of int, optional
        The last extents of the result, where several are pooled to the same.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> values, places = F.max_pool1d([[1.0, 5.0, 3.0, 2.0]], 2, return_indices=True)
    >>> F.max_unpool1d(values, places, 2).numpy()
    array([[0., 5., 3., 0.]], dtype=float32)
    """
    return _spread(input, indices, 3, kernel_size, stride, padding, output_size)
