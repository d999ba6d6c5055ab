"""Pooling to a given number of windows as functions, under torch's names.

User-level code: each says how many axes its windows run over.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..semantics import pooling as semantics
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
]

Sizes = int | None | Sequence[int | None]


def _adaptive_largest(
    name: str, input: ArrayLike, rank: int, output_size: Sizes, return_indices: bool
) -> Any:
    x = as_tensor(input)

    def largest(node: Any, places: bool = False) -> Any:
        return semantics.adaptive_max(name, node, rank, output_size, places=places)

    values = record(largest, (x,))
    return (values, record(largest, (x,), places=True)) if return_indices else values


def adaptive_avg_pool1d(input: ArrayLike, output_size: Sizes) -> Tensor:
    """The means of a given number of windows, which cover each axis as evenly as they can.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, L)`` or ``(C, L)``.
    output_size : int
        How many windows.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.adaptive_avg_pool1d(fg.ones((1, 2, 8)), 2).shape
    (1, 2, 2)
    """

    def average(node: Any) -> Any:
        return semantics.adaptive_average("adaptive_avg_pool1d", node, 1, output_size)

    return record(average, (as_tensor(input),))


def adaptive_avg_pool2d(input: ArrayLike, output_size: Sizes) -> Tensor:
    """The means of a given number of windows, which cover each axis as evenly as they can.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, H, W)`` or ``(C, H, W)``.
    output_size : int, None, or sequence of them
        How many windows; None keeps an extent.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.adaptive_avg_pool2d(fg.ones((1, 2, 8, 8)), 2).shape
    (1, 2, 2, 2)
    """

    def average(node: Any) -> Any:
        return semantics.adaptive_average("adaptive_avg_pool2d", node, 2, output_size)

    return record(average, (as_tensor(input),))


def adaptive_avg_pool3d(input: ArrayLike, output_size: Sizes) -> Tensor:
    """The means of a given number of windows, which cover each axis as evenly as they can.

    Parameters
    ----------
    input : array_like
        Floats of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    output_size : int, None, or sequence of them
        How many windows; None keeps an extent.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.adaptive_avg_pool3d(fg.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """

    def average(node: Any) -> Any:
        return semantics.adaptive_average("adaptive_avg_pool3d", node, 3, output_size)

    return record(average, (as_tensor(input),))


def adaptive_max_pool1d(input: ArrayLike, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest elements of a given number of windows, which cover each axis evenly.

    Parameters
    ----------
    input : array_like
        Numbers of shape ``(N, C, L)`` or ``(C, L)``.
    output_size : int
        How many windows.
    return_indices : bool, optional
        Whether to give the row-major positions in the last axes too, as int64.

    Returns
    -------
    Tensor, or tuple of two

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.adaptive_max_pool1d(fg.ones((1, 2, 8)), 2).shape
    (1, 2, 2)
    """
    return _adaptive_largest("adaptive_max_pool1d", input, 1, output_size, return_indices)


def adaptive_max_pool2d(input: ArrayLike, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest elements of a given number of windows, which cover each axis evenly.

    Parameters
    ----------
    input : array_like
        Numbers of shape ``(N, C, H, W)`` or ``(C, H, W)``.
    output_size : int, None, or sequence of them
        How many windows; None keeps an extent.
    return_indices : bool, optional
        Whether to give the row-major positions in the last axes too, as int64.

    Returns
    -------
    Tensor, or tuple of two

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.adaptive_max_pool2d(fg.ones((1, 2, 8, 8)), 2).shape
    (1, 2, 2, 2)
    """
    return _adaptive_largest("adaptive_max_pool2d", input, 2, output_size, return_indices)


def adaptive_max_pool3d(input: ArrayLike, output_size: Sizes, return_indices: bool = False) -> Any:
    """The largest elements of a given number of windows, which cover each axis evenly.

    Parameters
    ----------
    input : array_like
        Numbers of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.
    output_size : int, None, or sequence of them
        How many windows; None keeps an extent.
    return_indices : bool, optional
        Whether to give the row-major positions in the last axes too, as int64.

    Returns
    -------
    Tensor, or tuple of two

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.adaptive_max_pool3d(fg.ones((1, 2, 4, 4, 4)), 2).shape
    (1, 2, 2, 2, 2)
    """
    return _adaptive_largest("adaptive_max_pool3d", input, 3, output_size, return_indices)
