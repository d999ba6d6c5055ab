"""Movement of elements: shapes, order of axes, joining and splitting, picking by index.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import ShapeError
from ..semantics import indexing, positions
from ..semantics import manipulation as semantics
from ..semantics.shapes import as_shape, broadcast_shapes, one_axis
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from ..tensors.tensor_indexing import known
from ..tensors.tensor_methods import Axis, pick_axis

__all__ = [
    "broadcast_arrays",
    "broadcast_shapes_of",
    "broadcast_to",
    "expand_dims",
    "flatten",
    "flip",
    "matrix_transpose",
    "moveaxis",
    "permute_dims",
    "repeat",
    "reshape",
    "roll",
    "squeeze",
    "swapaxes",
    "take",
    "take_along_axis",
    "tile",
    "tril",
    "triu",
]


def reshape(x: ArrayLike, shape: Any, *, copy: bool | None = None) -> Tensor:
    """The elements in the same order under another shape.

    Parameters
    ----------
    x : array_like
    shape : int or sequence of int
        One extent may be -1.
    copy : bool, optional
        True: a tensor of its own. By default a view where NumPy's ``reshape`` gives one.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.reshape(fg.arange(4), (2, -1))
    Tensor([[0, 1],
            [2, 3]])
    """
    tensor = as_tensor(x)
    return (tensor.clone() if copy else tensor).reshape(*as_shape((shape,)))


def flatten(x: ArrayLike, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Several neighbouring axes as one.

    Parameters
    ----------
    x : array_like
    start_dim, end_dim : int, optional
        The first and the last of them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.flatten(fg.ones(2, 3, 4), 1).shape
    (2, 12)
    """
    return as_tensor(x).flatten(start_dim, end_dim)


def permute_dims(x: ArrayLike, axes: Sequence[int]) -> Tensor:
    """The axes in another order.

    Parameters
    ----------
    x : array_like
    axes : sequence of int
        Axis i of the result is axis ``axes[i]`` of `x`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.permute_dims(fg.ones(2, 3, 4), (2, 0, 1)).shape
    (4, 2, 3)
    """
    return record(semantics.permute, (as_tensor(x),), tuple(axes))


def matrix_transpose(x: ArrayLike) -> Tensor:
    """The last two axes exchanged.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.matrix_transpose([[1, 2], [3, 4]])
    Tensor([[1, 3],
            [2, 4]])
    """
    return as_tensor(x).mT


def swapaxes(x: ArrayLike, axis1: int, axis2: int) -> Tensor:
    """Two axes exchanged.

    Parameters
    ----------
    x : array_like
    axis1, axis2 : int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.swapaxes(fg.ones(2, 3, 4), 0, 2).shape
    (4, 3, 2)
    """
    return as_tensor(x).swapaxes(axis1, axis2)


def moveaxis(x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int]) -> Tensor:
    """Some axes at other places, the rest in order.

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
    >>> fg.moveaxis(fg.ones(2, 3, 4), 0, -1).shape
    (3, 4, 2)
    """
    return record(semantics.moveaxis, (as_tensor(x),), source, destination)


def squeeze(x: ArrayLike, axis: Axis = None, *, dim: Axis = None) -> Tensor:
    """Without axes of extent 1.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Which; they must have extent 1. By default all that have.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.squeeze(fg.ones(1, 3, 1), 0).shape
    (3, 1)
    """
    return record(semantics.squeeze, (as_tensor(x),), pick_axis(axis, dim))


def expand_dims(x: ArrayLike, axis: int | Sequence[int] = 0) -> Tensor:
    """New axes of extent 1.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        Their places in the result.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.expand_dims(fg.ones(3), 1).shape
    (3, 1)
    """
    return record(semantics.expand_dims, (as_tensor(x),), axis)


def broadcast_to(x: ArrayLike, shape: Any) -> Tensor:
    """Axes of extent 1 and new leading axes repeated.

    Parameters
    ----------
    x : array_like
    shape : int or sequence of int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.broadcast_to([1, 2], (2, 2))
    Tensor([[1, 2],
            [1, 2]])
    """
    return as_tensor(x).broadcast_to(*as_shape((shape,)))


def broadcast_arrays(*arrays: ArrayLike) -> list[Tensor]:
    """All arrays with the shape that they broadcast to.

    Parameters
    ----------
    *arrays : array_like

    Returns
    -------
    list of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.broadcast_arrays([1, 2], 3)[1]
    Tensor([3, 3])
    """
    tensors = [as_tensor(array) for array in arrays]
    shape = broadcast_shapes_of(*[tensor.shape for tensor in tensors])
    return [tensor.broadcast_to(*shape) if shape else tensor for tensor in tensors]


def broadcast_shapes_of(*shapes: int | tuple[int, ...]) -> tuple[int, ...]:
    """The shape that shapes broadcast to; in ``fg`` it is named ``broadcast_shapes``.

    Parameters
    ----------
    *shapes : tuple of int
        A number is a shape of one axis.

    Returns
    -------
    tuple[int, ...]

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.broadcast_shapes((3, 1), (2,))
    (3, 2)
    """
    tuples = [(shape,) if isinstance(shape, int) else tuple(shape) for shape in shapes]
    return broadcast_shapes("broadcast", tuples) if tuples else ()  # type: ignore[return-value]


def flip(x: ArrayLike, axis: Axis = None, *, dim: Axis = None, dims: Axis = None) -> Tensor:
    """The elements in reverse order along some axes.

    Parameters
    ----------
    x : array_like
    axis : int or sequence of int, optional
        By default all.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.flip([1, 2, 3])
    Tensor([3, 2, 1])
    """
    return as_tensor(x).flip(axis, dim=dim, dims=dims)


def roll(
    x: ArrayLike,
    shift: int | Sequence[int],
    axis: int | Sequence[int] | None = None,
    *,
    dims: int | Sequence[int] | None = None,
) -> Tensor:
    """The elements moved along axes; what leaves at one end enters at the other.

    Parameters
    ----------
    x : array_like
    shift : int or sequence of int
        How far.
    axis : int or sequence of int, optional
        By default the array is taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.roll([1, 2, 3, 4], 1)
    Tensor([4, 1, 2, 3])
    """
    return as_tensor(x).roll(shift, pick_axis(axis, dims))


def tile(x: ArrayLike, repetitions: int | Sequence[int]) -> Tensor:
    """The whole array repeated along each axis.

    Parameters
    ----------
    x : array_like
    repetitions : int or sequence of int

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.tile([1, 2], 2)
    Tensor([1, 2, 1, 2])
    """
    return record(semantics.tile, (as_tensor(x),), as_shape((repetitions,)))


def repeat(x: ArrayLike, repeats: Any, axis: int | None = None) -> Tensor:
    """Each element repeated.

    Parameters
    ----------
    x : array_like
    repeats : int or array_like
        How often: all of them, or each slice along the axis. The shape of the result depends on
        it, so its values must be known: in a compiled function it is no argument.
    axis : int, optional
        By default the array is taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.repeat([1, 2], 2), fg.repeat([1, 2], [0, 3])
    (Tensor([1, 1, 2, 2]), Tensor([2, 2, 2]))
    """
    tensor = as_tensor(x)
    if axis is None:
        tensor, axis = tensor.reshape(-1), 0
    if isinstance(repeats, Tensor):
        repeats = repeats._look("repeats", "pass Python ints or a NumPy array")
    counts = np.asarray(repeats)
    if counts.size and (counts.dtype.kind not in "iu" or counts.ndim > 1 or counts.min() < 0):
        raise ShapeError(
            f"repeat: {counts.tolist()!r} is no number of repetitions",
            remedy="give one int from 0, or a vector of them",
        )
    if counts.size == 1:
        return record(semantics.repeat, (tensor,), int(counts.reshape(-1)[0]), axis)
    place = one_axis("repeat", axis, tensor.ndim)
    if counts.shape != (tensor.shape[place],):
        raise ShapeError(
            f"repeat: {counts.size} numbers for an axis of extent {tensor.shape[place]}",
            remedy="give one number, or one for each slice",
        )
    order = np.repeat(np.arange(counts.size), counts)
    return record(positions.at_positions, (tensor,), place, order)


def tril(x: ArrayLike, /, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """The elements on and below a diagonal, zeros above.

    Parameters
    ----------
    x : array_like
    k : int, optional
        The diagonal, counted upwards from the main one; also `diagonal`, as in torch.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.tril([[1, 2], [3, 4]])
    Tensor([[1, 0],
            [3, 4]])
    """
    return as_tensor(x).tril(k, diagonal=diagonal)


def triu(x: ArrayLike, /, k: int = 0, *, diagonal: int | None = None) -> Tensor:
    """The elements on and above a diagonal, zeros below.

    Parameters
    ----------
    x : array_like
    k : int, optional
        The diagonal, counted upwards from the main one; also `diagonal`, as in torch.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.triu([[1, 2], [3, 4]])
    Tensor([[1, 2],
            [0, 4]])
    """
    return as_tensor(x).triu(k, diagonal=diagonal)


def take(
    x: ArrayLike,
    indices: ArrayLike,
    /,
    axis: int | None = None,
    *,
    dim: int | None = None,
    mode: str | None = None,
    fill_value: Any = None,
) -> Tensor:
    """Slices along an axis, picked by index. The gradient adds up where an index occurs repeatedly.

    Parameters
    ----------
    x : array_like
    indices : array_like
        Integers. Negative ones count from the end.
    axis : int, optional
        By default the array is taken flat.
    mode : {"raise", "clip", "wrap", "fill"}, optional
        What becomes of indices that lie outside. By default they are an error where their values
        are known, and clamped to the axis in compiled code.
    fill_value : number, optional
        What mode "fill" gives for them; by default NaN, or 0 for integers.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.take([10, 20, 30], [2, 0, 2])
    Tensor([30, 10, 30])
    """
    tensor = as_tensor(x)
    place = pick_axis(axis, dim)
    if place is None:
        tensor, place = tensor.reshape(-1), 0
    index = known(as_tensor(indices), mode)
    return record(indexing.take, (tensor, index), place, mode, fill_value)


def take_along_axis(
    x: ArrayLike,
    indices: ArrayLike,
    /,
    axis: int | None = -1,
    *,
    dim: int | None = None,
    mode: str | None = None,
) -> Tensor:
    """Elements picked by index along one axis, each from its own row.

    Parameters
    ----------
    x : array_like
    indices : array_like
        Integers, with as many axes as `x`; the other axes broadcast.
    axis : int, optional
        None to take both arrays flat.
    mode : {"raise", "clip", "wrap"}, optional
        What becomes of indices that lie outside, as for `take`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1)
    Tensor([[2],
            [3]])
    """
    place = axis if dim is None else dim
    tensor, index = as_tensor(x), known(as_tensor(indices), mode)
    if place is None:
        tensor, index, place = tensor.reshape(-1), index.reshape(-1), 0
    return record(indexing.take_along, (tensor, index), place, mode)
