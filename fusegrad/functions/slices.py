"""Functions of slices, indices and bits that NumPy has beside the standard's, under its names.

Knows the functions themselves: what stands here is written in a few of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import ShapeError
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from ..transforms.vectorized import vmap
from .creation import asarray
from .cumulative import cumsum
from .diagonals import diag_indices, tril_indices, triu_indices
from .differences import diff
from .functional import abs, maximum, minimum, where
from .joining import concat
from .manipulation import moveaxis
from .ranges import indices

__all__ = [
    "apply_along_axis",
    "asanyarray",
    "ascontiguousarray",
    "clamp_max",
    "clamp_min",
    "copy",
    "diag_indices_from",
    "fromfunction",
    "tril_indices_from",
    "trim_zeros",
    "triu_indices_from",
    "unwrap",
]


def apply_along_axis(
    func1d: Callable[..., Any], axis: int, arr: ArrayLike, *args: Any, **kwargs: Any
) -> Tensor:
    """A function of vectors, applied to all vectors along an axis at once.

    Parameters
    ----------
    func1d : callable
        From a vector to an array of any shape, which takes the place of the axis. It is recorded
        once, for all vectors.
    axis : int
    arr : array_like
    *args, **kwargs
        What `func1d` gets beside the vector.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.apply_along_axis(lambda v: v.max() - v.min(), 1, [[1, 5], [2, 3]])
    Tensor([4, 1])
    """
    tensor = as_tensor(arr)
    place = one_axis("apply_along_axis", axis, tensor.ndim)
    vectors = moveaxis(tensor, place, -1)
    lead = tuple(vectors.shape[:-1])
    rows = vectors.reshape(math.prod(lead), tensor.shape[place])
    found = vmap(lambda row: func1d(row, *args, **kwargs))(rows)
    shape = tuple(found.shape[1:])
    result = found.reshape(*lead, *shape)
    behind = range(len(lead), len(lead) + len(shape))
    return moveaxis(result, tuple(behind), tuple(range(place, place + len(shape))))


def copy(a: ArrayLike) -> Tensor:
    """A tensor of its own with the same values.

    Parameters
    ----------
    a : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.copy([1, 2])
    Tensor([1, 2])
    """
    return as_tensor(a).clone()


def asanyarray(a: ArrayLike, dtype: Any = None) -> Tensor:
    """`asarray` under another of NumPy's names.

    Parameters
    ----------
    a : array_like
    dtype : dtype, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.asanyarray([1, 2])
    Tensor([1, 2])
    """
    return asarray(a, dtype=dtype)


def ascontiguousarray(a: ArrayLike, dtype: Any = None) -> Tensor:
    """`asarray` with at least one axis: every tensor is contiguous.

    Parameters
    ----------
    a : array_like
    dtype : dtype, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ascontiguousarray(3)
    Tensor([3])
    """
    tensor = asarray(a, dtype=dtype)
    return tensor if tensor.ndim else tensor.reshape(1)


def fromfunction(
    function: Callable[..., Any], shape: Sequence[int], *, dtype: Any = float, **kwargs: Any
) -> Any:
    """What a function makes of the indices of a grid.

    Parameters
    ----------
    function : callable
        Takes the indices along each axis, as arrays of `shape`.
    shape : sequence of int
    dtype : dtype, optional
        Of the indices, by default float32.
    **kwargs
        What `function` gets beside them.

    Returns
    -------
    Tensor, or what `function` returns

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.fromfunction(lambda i, j: 10 * i + j, (2, 2), dtype="int64")
    Tensor([[ 0,  1],
            [10, 11]])
    """
    places = indices(tuple(shape), dtype=dtype)
    return function(*[places[axis] for axis in range(len(tuple(shape)))], **kwargs)


def _matrix(name: str, arr: ArrayLike) -> tuple[int, int]:
    tensor = as_tensor(arr)
    if tensor.ndim != 2:
        raise ShapeError(
            f"{name} needs a matrix, not an array of shape {tuple(tensor.shape)}", remedy=None
        )
    return tensor.shape[0], tensor.shape[1]


def tril_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Tensor, Tensor]:
    """The rows and columns of the elements of a matrix on and below a diagonal.

    Parameters
    ----------
    arr : array_like
    k : int, optional

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.tril_indices_from(fg.ones((2, 2)))
    (Tensor([0, 1, 1]), Tensor([0, 0, 1]))
    """
    rows, columns = _matrix("tril_indices_from", arr)
    return tril_indices(rows, k, columns)


def triu_indices_from(arr: ArrayLike, k: int = 0) -> tuple[Tensor, Tensor]:
    """The rows and columns of the elements of a matrix on and above a diagonal.

    Parameters
    ----------
    arr : array_like
    k : int, optional

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.triu_indices_from(fg.ones((2, 2)))
    (Tensor([0, 0, 1]), Tensor([0, 1, 1]))
    """
    rows, columns = _matrix("triu_indices_from", arr)
    return triu_indices(rows, k, columns)


def diag_indices_from(arr: ArrayLike) -> tuple[Tensor, ...]:
    """The indices of the main diagonal of an array with axes of one extent.

    Parameters
    ----------
    arr : array_like

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diag_indices_from(fg.ones((2, 2)))
    (Tensor([0, 1]), Tensor([0, 1]))
    """
    shape = tuple(as_tensor(arr).shape)
    if len(shape) < 2 or len(set(shape)) > 1:
        raise ShapeError(
            f"diag_indices_from needs two axes or more of one extent, not shape {shape}",
            remedy=None,
        )
    return diag_indices(shape[0], len(shape))


def clamp_min(x: ArrayLike, min: ArrayLike) -> Tensor:
    """The larger of the elements and a bound.

    Parameters
    ----------
    x, min : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.clamp_min([-1.0, 2.0], 0.0)
    Tensor([0., 2.])
    """
    return maximum(x, min)


def clamp_max(x: ArrayLike, max: ArrayLike) -> Tensor:
    """The smaller of the elements and a bound.

    Parameters
    ----------
    x, max : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.clamp_max([-1.0, 2.0], 0.0)
    Tensor([-1.,  0.])
    """
    return minimum(x, max)


def trim_zeros(filt: ArrayLike, trim: str = "fb") -> Tensor:
    """A vector without the zeros at its ends.

    Parameters
    ----------
    filt : array_like
        Not inside of a compiled function, where nobody knows the values.
    trim : str, optional
        ``"f"`` for the front, ``"b"`` for the back, or both.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.trim_zeros([0, 1, 0, 2, 0])
    Tensor([1, 0, 2])
    """
    tensor = as_tensor(filt)
    if tensor.ndim != 1:
        raise ShapeError(
            f"trim_zeros takes a vector, not an array of shape {tuple(tensor.shape)}", remedy=None
        )
    found = tensor._look_for_shape("trim_zeros").nonzero()[0]
    if not found.size:
        return tensor[:0]
    first = int(found[0]) if "f" in trim.lower() else 0
    last = int(found[-1]) + 1 if "b" in trim.lower() else tensor.shape[0]
    return tensor[first:last]


def unwrap(
    p: ArrayLike, discont: float | None = None, axis: int = -1, *, period: float = 2 * math.pi
) -> Tensor:
    """Angles without jumps: multiples of the period are added where neighbours are far apart.

    Parameters
    ----------
    p : array_like
    discont : float, optional
        What counts as a jump, by default half of the period.
    axis : int, optional
    period : float, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unwrap([0.0, 3.0, 6.0, 1.0], period=8.0)
    Tensor([0., 3., 6., 9.])
    """
    angles = as_tensor(p)
    angles = angles if angles.dtype.is_float else angles.astype("float32")
    place = one_axis("unwrap", axis, angles.ndim)
    steps = diff(angles, axis=place)
    half = period / 2
    # The nearest step, which is half a period upwards where both are equally near.
    near = (steps + half) % period - half
    near = where((near == -half) & (steps > 0), half, near)
    least = half if discont is None else max(discont, half)
    added = where(abs(steps) < least, 0.0, near - steps).detach()
    front = (slice(None),) * place
    rest = angles[(*front, slice(1, None))] + cumsum(added, axis=place)
    return concat([angles[(*front, slice(0, 1))], rest], axis=place)
