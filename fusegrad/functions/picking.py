"""Reading and writing at index arrays, as functions under torch's and NumPy's names.

What torch and NumPy do in place is done in a new array here. An index outside of its axis is an
error where its value is known, and clamped to the axis in compiled code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import IndexBoundsError, ShapeError
from ..semantics import assignment, indexing
from ..semantics.shapes import broadcast_shapes, one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from ..tensors.tensor_indexing import known

__all__ = [
    "gather",
    "index_add",
    "index_copy",
    "index_fill",
    "index_put",
    "index_select",
    "narrow",
    "put_along_axis",
    "scatter",
    "scatter_add",
    "scatter_reduce",
    "select_scatter",
    "slice_scatter",
    "take_along_dim",
]


# --- along an axis --------------------------------------------------------------------------------


def index_select(x: ArrayLike, dim: int, index: ArrayLike) -> Tensor:
    """Slices along an axis, picked by index.

    Parameters
    ----------
    x : array_like
    dim : int
    index : array_like
        A vector of integers.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.index_select([[1, 2], [3, 4]], 1, [1])
    Tensor([[2],
            [4]])
    """
    return as_tensor(x).take(as_tensor(index).reshape(-1), dim)


def gather(x: ArrayLike, dim: int, index: ArrayLike) -> Tensor:
    """Elements picked by index along one axis: ``y[i, j] = x[index[i, j], j]`` for axis 0.

    Parameters
    ----------
    x : array_like
    dim : int
    index : array_like
        Integers, with as many axes as `x`, and in other axes at most as long.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.gather([[1, 2], [3, 4]], 1, [[0, 0], [1, 0]])
    Tensor([[1, 1],
            [4, 3]])
    """
    return record(indexing.gather, (as_tensor(x), known(as_tensor(index))), dim)


def take_along_dim(x: ArrayLike, indices: ArrayLike, dim: int | None = None) -> Tensor:
    """`take_along_axis` under torch's name.

    Parameters
    ----------
    x : array_like
    indices : array_like
        Integers; the axes other than `dim` broadcast.
    dim : int, optional
        By default both arrays are taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.take_along_dim([[1, 2], [3, 4]], [[1], [0]], 1)
    Tensor([[2],
            [3]])
    """
    tensor, index = as_tensor(x), known(as_tensor(indices))
    if dim is None:
        tensor, index, dim = tensor.reshape(-1), index.reshape(-1), 0
    return record(indexing.take_along, (tensor, index), dim)


def _written(x: ArrayLike, dim: int, index: ArrayLike, src: ArrayLike, how: str) -> Tensor:
    tensor = as_tensor(x)
    value = tensor._coerce(src, fitting=True)
    tensor._fitting(value, "assign to", None)
    return record(assignment.scatter, (tensor, known(as_tensor(index)), value), dim, how)


def scatter(
    x: ArrayLike, dim: int, index: ArrayLike, src: ArrayLike, *, reduce: str | None = None
) -> Tensor:
    """Values written along an axis: ``y[index[i, j], j] = src[i, j]`` for axis 0.

    Parameters
    ----------
    x : array_like
        Not changed.
    dim : int
    index : array_like
        Integers, with as many axes as `x`, and in other axes at most as long. Where one occurs
        several times the last value stays.
    src : array_like
        A number, or at least one value for each index.
    reduce : {"add", "multiply"}, optional
        How values are combined with what is there, instead of replacing it.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.scatter(fg.zeros(3), 0, [2, 0], [1.0, 2.0])
    Tensor([2., 0., 1.])
    """
    return _written(x, dim, index, src, assignment.scatter_kind(reduce))


def scatter_add(x: ArrayLike, dim: int, index: ArrayLike, src: ArrayLike) -> Tensor:
    """Values added along an axis: ``y[index[i, j], j] += src[i, j]`` for axis 0.

    Parameters
    ----------
    x : array_like
        Not changed.
    dim : int
    index : array_like
        Integers, with as many axes as `x`, and in other axes at most as long.
    src : array_like
        At least one value for each index.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.scatter_add(fg.zeros(3), 0, [2, 2], [1.0, 2.0])
    Tensor([0., 0., 3.])
    """
    return _written(x, dim, index, src, "sum")


def scatter_reduce(
    x: ArrayLike,
    dim: int,
    index: ArrayLike,
    src: ArrayLike,
    reduce: str,
    *,
    include_self: bool = True,
) -> Tensor:
    """Values combined along an axis.

    Parameters
    ----------
    x : array_like
        Not changed.
    dim : int
    index : array_like
        Integers, with as many axes as `x`, and in other axes at most as long.
    src : array_like
        At least one value for each index.
    reduce : {"sum", "prod", "mean", "amax", "amin"}
    include_self : bool, optional
        Whether the elements of `x` count where values are written.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.scatter_reduce(fg.zeros(2), 0, [1, 1], [1.0, 3.0], "mean", include_self=False)
    Tensor([0., 2.])
    """
    tensor = as_tensor(x)
    value = tensor._coerce(src, fitting=True)
    tensor._fitting(value, "assign to", None)
    operands = (tensor, known(as_tensor(index)), value)
    return record(assignment.scatter_reduce, operands, dim, reduce, include_self)


def put_along_axis(
    x: ArrayLike, indices: ArrayLike, values: ArrayLike, axis: int | None = -1
) -> Tensor:
    """The array with values written along an axis: what `take_along_axis` reads is set.

    Parameters
    ----------
    x : array_like
        Not changed, other than in NumPy.
    indices : array_like
        Integers, with as many axes as `x`; the axes other than `axis` broadcast.
    values : array_like
        They broadcast to the indices.
    axis : int, optional
        None to take the array flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.put_along_axis([[10, 20], [30, 40]], [[1], [0]], 0, 1)
    Tensor([[10,  0],
            [ 0, 40]])
    """
    tensor, index = as_tensor(x), as_tensor(indices)
    if axis is None:
        flat = put_along_axis(tensor.reshape(-1), index.reshape(-1), values, 0)
        return flat.reshape(tensor.shape)
    place = one_axis("put_along_axis", axis, tensor.ndim)
    if index.ndim != tensor.ndim:
        raise ShapeError(
            f"put_along_axis: indices of shape {show(index.shape)} for an array of shape "
            f"{show(tensor.shape)}",
            remedy="both need the same number of axes; add some with indices[:, None]",
        )
    wide = [e if a != place else index.shape[a] for a, e in enumerate(tensor.shape)]
    shape = broadcast_shapes("put along an axis of", [index.shape, tuple(wide)])
    value = tensor._coerce(values, fitting=True)
    return _written(tensor, place, index.broadcast_to(*shape), value.broadcast_to(*shape), "set")


# --- slices along an axis -------------------------------------------------------------------------


def _along(x: Tensor, dim: int, index: Any) -> tuple[Any, ...]:
    return (*[slice(None)] * one_axis("index", dim, x.ndim), index)


def index_add(
    x: ArrayLike, dim: int, index: ArrayLike, source: ArrayLike, *, alpha: float = 1
) -> Tensor:
    """Slices added along an axis: ``y[index[i]] += alpha * source[i]`` for axis 0.

    Parameters
    ----------
    x : array_like
        Not changed.
    dim : int
    index : array_like
        A vector of integers.
    source : array_like
    alpha : number, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.index_add(fg.zeros(3), 0, [0, 0], [1.0, 2.0])
    Tensor([3., 0., 0.])
    """
    tensor, value = as_tensor(x), as_tensor(source)
    return tensor.at[_along(tensor, dim, index)].add(value if alpha == 1 else value * alpha)


def index_copy(x: ArrayLike, dim: int, index: ArrayLike, source: ArrayLike) -> Tensor:
    """Slices written along an axis: ``y[index[i]] = source[i]`` for axis 0.

    Parameters
    ----------
    x : array_like
        Not changed.
    dim : int
    index : array_like
        A vector of integers.
    source : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.index_copy(fg.zeros(3), 0, [2, 0], [1.0, 2.0])
    Tensor([2., 0., 1.])
    """
    tensor = as_tensor(x)
    return tensor.at[_along(tensor, dim, index)].set(source)


def index_fill(x: ArrayLike, dim: int, index: ArrayLike, value: ArrayLike) -> Tensor:
    """One value written to slices along an axis.

    Parameters
    ----------
    x : array_like
        Not changed.
    dim : int
    index : array_like
        A vector of integers.
    value : number

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.index_fill(fg.zeros(3), 0, [2, 0], 1.0)
    Tensor([1., 0., 1.])
    """
    return index_copy(x, dim, index, value)


def index_put(
    x: ArrayLike, indices: Sequence[ArrayLike], values: ArrayLike, accumulate: bool = False
) -> Tensor:
    """The array with ``y[indices] = values``, or ``+=`` in which every value counts.

    Parameters
    ----------
    x : array_like
        Not changed.
    indices : sequence of array_like
        Integers or bools, one array for each axis; None for a whole axis.
    values : array_like
    accumulate : bool, optional
        Whether the values are added.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.index_put(fg.zeros(3), ([0, 0],), 1.0, accumulate=True)
    Tensor([2., 0., 0.])
    """
    part = as_tensor(x).at[tuple(slice(None) if index is None else index for index in indices)]
    return part.add(values) if accumulate else part.set(values)


def select_scatter(x: ArrayLike, src: ArrayLike, dim: int, index: int) -> Tensor:
    """The array with one slice along an axis replaced.

    Parameters
    ----------
    x : array_like
        Not changed.
    src : array_like
    dim, index : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.select_scatter([[1, 2], [3, 4]], [0, 9], 0, 1)
    Tensor([[1, 2],
            [0, 9]])
    """
    return index_copy(x, dim, index, src)


def slice_scatter(
    x: ArrayLike,
    src: ArrayLike,
    dim: int = 0,
    start: int | None = None,
    end: int | None = None,
    step: int = 1,
) -> Tensor:
    """The array with a range of slices along an axis replaced.

    Parameters
    ----------
    x : array_like
        Not changed.
    src : array_like
    dim : int, optional
    start, end, step : int, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.slice_scatter([1, 2, 3, 4], [0, 9], start=1, end=3)
    Tensor([1, 0, 9, 4])
    """
    tensor = as_tensor(x)
    return tensor.at[_along(tensor, dim, slice(start, end, step))].set(src)


def narrow(x: ArrayLike, dim: int, start: int, length: int) -> Tensor:
    """A range of slices along an axis.

    Parameters
    ----------
    x : array_like
    dim, start, length : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.narrow([1, 2, 3, 4], 0, 1, 2)
    Tensor([2, 3])
    """
    tensor = as_tensor(x)
    extent = tensor.shape[one_axis("narrow", dim, tensor.ndim)]
    first = start + extent if start < 0 else start
    if not 0 <= first <= first + length <= extent:
        raise IndexBoundsError(
            f"narrow: {length} slices from {start} on do not lie in an axis of extent {extent}",
            remedy="take start + length <= extent",
        )
    return tensor[_along(tensor, dim, slice(first, first + length))]
