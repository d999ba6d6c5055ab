"""Slices repeated, inserted and left out; arrays put together of blocks; grids of indices.

The shapes of the results depend on positions, so these are Python ints or NumPy arrays, or tensors
whose values can be looked at.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..codegen.dtypes import bool_
from ..errors import IndexBoundsError, ShapeError
from ..semantics import positions
from ..semantics.shapes import one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from .arranging import movedim
from .joining import concat
from .manipulation import repeat

__all__ = ["append", "block", "delete", "insert", "ix_", "repeat_interleave"]


def repeat_interleave(
    x: ArrayLike, repeats: Any, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """`repeat` under torch's name.

    Parameters
    ----------
    x : array_like
    repeats : int or array_like
        How often each element is repeated.
    dim : int, optional
        By default the array is taken flat.
    output_size : int, optional
        The extent of the result, checked.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.repeat_interleave([1, 2], 2)
    Tensor([1, 1, 2, 2])
    """
    result = repeat(x, repeats, dim)
    extent = result.shape[0 if dim is None else dim]
    if output_size not in (None, extent):
        raise ShapeError(
            f"repeat_interleave: output_size is {output_size}, the result has extent {extent}",
            remedy="leave it out, or give the sum of the repeats",
        )
    return result


def append(x: ArrayLike, values: ArrayLike, axis: int | None = None) -> Tensor:
    """An array with another one behind it.

    Parameters
    ----------
    x, values : array_like
    axis : int, optional
        By default both are taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.append([1, 2], [3])
    Tensor([1, 2, 3])
    """
    return concat([as_tensor(x), as_tensor(values)], axis=axis)


def _flat(x: ArrayLike, axis: int | None, name: str) -> tuple[Tensor, int]:
    tensor = as_tensor(x)
    if axis is None:
        return tensor.reshape(-1), 0
    return tensor, one_axis(name, axis, tensor.ndim)


def _known(obj: Any) -> Any:
    """Positions as NumPy takes them."""
    if isinstance(obj, Tensor):
        return obj._look("a position to insert or delete at", "use Python ints or NumPy arrays")
    return obj


def delete(x: ArrayLike, obj: Any, axis: int | None = None) -> Tensor:
    """An array without some of its slices.

    Parameters
    ----------
    x : array_like
    obj : int, slice, sequence of int or of bool
        Which, along the axis.
    axis : int, optional
        By default the array is taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.delete([1, 2, 3], 1)
    Tensor([1, 3])
    """
    tensor, place = _flat(x, axis, "delete")
    try:
        kept = np.delete(np.arange(tensor.shape[place]), _known(obj))
    except IndexError as error:
        raise IndexBoundsError(f"delete: {error}", remedy="compare with the shape") from None
    return record(positions.at_positions, (tensor,), place, kept)


def insert(x: ArrayLike, obj: Any, values: ArrayLike, axis: int | None = None) -> Tensor:
    """An array with slices inserted.

    Parameters
    ----------
    x : array_like
    obj : int, slice or sequence of int
        Before which slices, along the axis.
    values : array_like
        They broadcast to the new slices, and are converted to the dtype of `x`.
    axis : int, optional
        By default the array is taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.insert([1, 2, 3], 1, 9)
    Tensor([1, 9, 2, 3])
    """
    tensor, place = _flat(x, axis, "insert")
    extent = tensor.shape[place]
    where, new = _known(obj), as_tensor(values).astype(tensor.dtype)
    spots = np.arange(extent)[where] if isinstance(where, slice) else np.asarray(where)
    if spots.dtype == bool:
        spots = np.flatnonzero(spots)
    count = spots.size
    if count == 1 and not isinstance(where, slice):
        # One place takes all the slices that there are values for.
        new = new.reshape(*[1] * (tensor.ndim - new.ndim), *new.shape)
        new = movedim(new, 0, place) if spots.ndim == 0 else new
        count = new.shape[place]
    try:
        marks = np.arange(extent, extent + count)
        order = np.insert(np.arange(extent), np.broadcast_to(spots.reshape(-1), count), marks)
        if np.any(spots < -extent):
            raise IndexError(f"index {spots.min()} is out of bounds for axis {place}")
    except IndexError as error:
        raise IndexBoundsError(f"insert: {error}", remedy="compare with the shape") from None
    shape = (*tensor.shape[:place], count, *tensor.shape[place + 1 :])
    both = concat([tensor, new.broadcast_to(*shape)], axis=place)
    return record(positions.at_positions, (both,), place, order)


# --- grids ----------------------------------------------------------------------------------------


def ix_(*indices: ArrayLike) -> tuple[Tensor, ...]:
    """Index arrays for all combinations of positions along several axes.

    Parameters
    ----------
    *indices : array_like
        Vectors of integers or bools, one for each axis.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.arange(6).reshape(2, 3)[fg.ix_([0, 1], [0, 2])]
    Tensor([[0, 2],
            [3, 5]])
    """
    results = []
    for axis, given in enumerate(indices):
        vector = as_tensor(given)
        if vector.ndim != 1:
            raise ShapeError(
                f"ix_ takes vectors, not an array of shape {show(vector.shape)}",
                remedy="flatten it, x.reshape(-1)",
            )
        if vector.dtype is bool_:
            vector = as_tensor(np.flatnonzero(vector._look("ix_ with a mask")))
        shape = [1] * len(indices)
        shape[axis] = -1
        results.append(vector.astype("int64" if not vector.size else vector.dtype).reshape(shape))
    return tuple(results)


def block(arrays: Any) -> Tensor:
    """An array that is put together of nested lists of blocks.

    Parameters
    ----------
    arrays : nested lists of array_like
        The innermost lists are joined along the last axis, those around them along the one before,
        and so on.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.block([[fg.ones(1, 1), fg.zeros(1, 1)], [fg.zeros(1, 2)]])
    Tensor([[1., 0.],
            [0., 0.]])
    """
    depth = _depth(arrays)
    return _block(arrays, depth, max(depth, _most_axes(arrays)))


def _depth(arrays: Any) -> int:
    if not isinstance(arrays, list):
        return 0
    depths = {_depth(part) for part in arrays}
    if len(depths) != 1:
        raise ShapeError(
            "block: the lists are empty or nested unequally deep",
            remedy="nest all blocks in equally many lists",
        )
    return 1 + depths.pop()


def _most_axes(arrays: Any) -> int:
    if isinstance(arrays, list):
        return max(map(_most_axes, arrays))
    return as_tensor(arrays).ndim


def _block(arrays: Any, depth: int, ndim: int) -> Tensor:
    if depth == 0:
        tensor = as_tensor(arrays)
        return tensor.reshape(*[1] * (ndim - tensor.ndim), *tensor.shape)
    return concat([_block(part, depth - 1, ndim) for part in arrays], axis=-depth)
