"""Other shapes and orders of the elements, under NumPy's and torch's names.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..semantics import manipulation as movement
from ..semantics import positions
from ..semantics.shapes import known_shape, one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from .naming import named

__all__ = [
    "as_strided",
    "atleast_1d",
    "atleast_2d",
    "atleast_3d",
    "fliplr",
    "flipud",
    "movedim",
    "permute",
    "ravel",
    "resize",
    "rollaxis",
    "rot90",
    "swapdims",
    "t",
    "transpose",
    "unflatten",
    "unsqueeze",
]


# --- axes -----------------------------------------------------------------------------------------


@named
def transpose(x: ArrayLike, *axes: Any) -> Tensor:
    """The axes in another order.

    Parameters
    ----------
    x : array_like
    *axes : int or sequence of int, optional
        A sequence for an order of all axes, as in NumPy; two ints for two axes that are exchanged,
        as in torch; nothing for the reverse order.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.transpose(fg.ones(2, 3, 4)).shape, fg.transpose(fg.ones(2, 3, 4), (1, 0, 2)).shape
    ((4, 3, 2), (3, 2, 4))
    """
    if axes == (None,):
        axes = ()
    return as_tensor(x).transpose(*axes)


def permute(x: ArrayLike, dims: Sequence[int]) -> Tensor:
    """`permute_dims` under torch's name.

    Parameters
    ----------
    x : array_like
    dims : sequence of int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.permute(fg.ones(2, 3, 4), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return record(movement.permute, (as_tensor(x),), tuple(dims))


def movedim(x: ArrayLike, source: Any, destination: Any) -> Tensor:
    """`moveaxis` under torch's name.

    Parameters
    ----------
    x : array_like
    source, destination : int or sequence of int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.movedim(fg.ones(2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    return record(movement.moveaxis, (as_tensor(x),), source, destination)


def rollaxis(x: ArrayLike, axis: int, start: int = 0) -> Tensor:
    """An axis moved before another one.

    Parameters
    ----------
    x : array_like
    axis : int
    start : int, optional
        The axis before which it goes; the number of axes for the last place.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.rollaxis(fg.ones(2, 3, 4), 2).shape
    (4, 2, 3)
    """
    tensor = as_tensor(x)
    source = one_axis("rollaxis", axis, tensor.ndim)
    target = one_axis("rollaxis", start, tensor.ndim + 1) if start >= 0 else start + tensor.ndim
    return movedim(tensor, source, target - 1 if source < target else target)


def swapdims(x: ArrayLike, dim0: int, dim1: int) -> Tensor:
    """`swapaxes` under torch's name.

    Parameters
    ----------
    x : array_like
    dim0, dim1 : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.swapdims(fg.ones(2, 3), 0, 1).shape
    (3, 2)
    """
    return as_tensor(x).swapaxes(dim0, dim1)


def t(x: ArrayLike) -> Tensor:
    """A matrix with rows and columns exchanged; a vector or a number as it is.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.t([[1, 2], [3, 4]])
    Tensor([[1, 3],
            [2, 4]])
    """
    tensor = as_tensor(x)
    if tensor.ndim > 2:
        raise ShapeError(
            f"t takes a matrix, not an array of shape {show(tensor.shape)}",
            remedy="fg.matrix_transpose exchanges the last two axes",
        )
    return tensor.T


def unsqueeze(x: ArrayLike, dim: int) -> Tensor:
    """A new axis of extent 1.

    Parameters
    ----------
    x : array_like
    dim : int
        Its place in the result.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unsqueeze(fg.ones(3), 1).shape
    (3, 1)
    """
    return as_tensor(x).unsqueeze(dim)


def ravel(x: ArrayLike) -> Tensor:
    """The elements in a vector.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ravel([[1, 2], [3, 4]])
    Tensor([1, 2, 3, 4])
    """
    return as_tensor(x).reshape(-1)


def unflatten(x: ArrayLike, dim: int, sizes: Sequence[int]) -> Tensor:
    """One axis as several.

    Parameters
    ----------
    x : array_like
    dim : int
    sizes : sequence of int
        Their extents, one of which may be -1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unflatten(fg.ones(2, 6), 1, (3, -1)).shape
    (2, 3, 2)
    """
    tensor = as_tensor(x)
    place = one_axis("unflatten", dim, tensor.ndim)
    extents, extent = list(sizes), tensor.shape[place]
    if -1 in extents:
        known = math.prod(size for size in extents if size != -1)
        extents[extents.index(-1)] = extent // known if known else 0
    if math.prod(extents) != extent:
        raise ShapeError(
            f"unflatten: an axis of extent {extent} as axes of shape {show(tuple(sizes))}",
            remedy="the product of the extents must stay the same",
        )
    return tensor.reshape(*tensor.shape[:place], *extents, *tensor.shape[place + 1 :])


def _at_least(arrays: tuple[ArrayLike, ...], shape_of: Any) -> Any:
    tensors = [as_tensor(array) for array in arrays]
    results = [tensor.reshape(shape_of(tensor.shape)) for tensor in tensors]
    return results[0] if len(results) == 1 else tuple(results)


def atleast_1d(*arrays: ArrayLike) -> Any:
    """Arrays with one axis or more.

    Parameters
    ----------
    *arrays : array_like

    Returns
    -------
    Tensor or tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.atleast_1d(3)
    Tensor([3])
    """
    return _at_least(arrays, lambda shape: shape or (1,))


def atleast_2d(*arrays: ArrayLike) -> Any:
    """Arrays with two axes or more; a vector becomes a row.

    Parameters
    ----------
    *arrays : array_like

    Returns
    -------
    Tensor or tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.atleast_2d([1, 2])
    Tensor([[1, 2]])
    """
    return _at_least(arrays, lambda shape: (1,) * (2 - len(shape)) + shape)


def atleast_3d(*arrays: ArrayLike) -> Any:
    """Arrays with three axes or more; a vector becomes the middle one, a matrix the first two.

    Parameters
    ----------
    *arrays : array_like

    Returns
    -------
    Tensor or tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.atleast_3d([1, 2]).shape
    (1, 2, 1)
    """

    def wide(shape: tuple[int, ...]) -> tuple[int, ...]:
        return [(1, 1, 1), (1, *shape, 1), (*shape, 1)][len(shape)] if len(shape) < 3 else shape

    return _at_least(arrays, wide)


# --- order ----------------------------------------------------------------------------------------


def fliplr(x: ArrayLike) -> Tensor:
    """The second axis in reverse order.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.fliplr([[1, 2], [3, 4]])
    Tensor([[2, 1],
            [4, 3]])
    """
    return as_tensor(x).flip(1)


def flipud(x: ArrayLike) -> Tensor:
    """The first axis in reverse order.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.flipud([[1, 2], [3, 4]])
    Tensor([[3, 4],
            [1, 2]])
    """
    return as_tensor(x).flip(0)


def rot90(x: ArrayLike, k: int = 1, axes: Sequence[int] = (0, 1)) -> Tensor:
    """The plane of two axes turned by right angles, from the first axis towards the second.

    Parameters
    ----------
    x : array_like
    k : int, optional
        How often; it may be negative.
    axes : pair of int, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.rot90([[1, 2], [3, 4]])
    Tensor([[2, 4],
            [1, 3]])
    """
    tensor = as_tensor(x)
    first, second = (one_axis("rot90", axis, tensor.ndim) for axis in axes)
    if first == second:
        raise ShapeError(f"rot90: the axes {tuple(axes)} are one", remedy="name two axes")
    turns = k % 4
    if turns == 1:
        return tensor.flip(second).swapaxes(first, second)
    if turns == 3:
        return tensor.swapaxes(first, second).flip(second)
    return tensor.flip((first, second)) if turns else tensor.clone()


def resize(x: ArrayLike, new_shape: Any) -> Tensor:
    """Another shape, filled with the elements again and again.

    Parameters
    ----------
    x : array_like
    new_shape : int or sequence of int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.resize([1, 2, 3], (2, 2))
    Tensor([[1, 2],
            [3, 1]])
    """
    tensor, shape = ravel(x), known_shape("resize", new_shape)
    size = math.prod(shape)
    if not tensor.size:
        return as_tensor(np.zeros((size,))).astype(tensor.dtype).reshape(shape)
    times = -(-size // tensor.size)
    return tensor.repeat(max(times, 1))[:size].reshape(shape)


def as_strided(
    x: ArrayLike,
    shape: Sequence[int],
    strides: Sequence[int],
    offset: int = 0,
    *,
    storage_offset: int | None = None,
) -> Tensor:
    """The elements of the flat array at ``offset + sum(index * strides)``.

    The result is a value of its own. Its gradient adds up where an element is read repeatedly.

    Parameters
    ----------
    x : array_like
    shape : sequence of int
    strides : sequence of int
        In elements, counted in the row-major order of `x`.
    offset : int, optional
        The element at index 0; in torch it is named `storage_offset`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.as_strided(fg.arange(5), (3, 2), (1, 2))
    Tensor([[0, 2],
            [1, 3],
            [2, 4]])
    """
    first = offset if storage_offset is None else storage_offset
    return record(positions.as_strided, (as_tensor(x),), tuple(shape), tuple(strides), first)
