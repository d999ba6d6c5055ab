"""Sets: the distinct elements of arrays, and what two arrays have in common.

The shapes of the results depend on values: inside of a compiled function they are errors. Gradients
flow to the elements that were picked.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ..errors import OptionError
from ..semantics import sets as semantics
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, common_nodes, record
from ..tensors.tensor_methods import pick_axis
from .joining import concat

__all__ = [
    "UniqueAll",
    "UniqueCounts",
    "UniqueInverse",
    "intersect1d",
    "setdiff1d",
    "setxor1d",
    "union1d",
    "unique",
    "unique_all",
    "unique_consecutive",
    "unique_counts",
    "unique_inverse",
    "unique_values",
]

Array = npt.NDArray[Any]


class UniqueAll(NamedTuple):
    """What `unique_all` gives.

    Attributes
    ----------
    values : Tensor
    indices : Tensor
        Where each value occurs first, in the array taken flat.
    inverse_indices : Tensor
        Which value each element is.
    counts : Tensor
        How often each value occurs.
    """

    values: Tensor
    indices: Tensor
    inverse_indices: Tensor
    counts: Tensor


class UniqueCounts(NamedTuple):
    """What `unique_counts` gives.

    Attributes
    ----------
    values : Tensor
    counts : Tensor
        How often each value occurs.
    """

    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    """What `unique_inverse` gives.

    Attributes
    ----------
    values : Tensor
    inverse_indices : Tensor
        Which value each element is.
    """

    values: Tensor
    inverse_indices: Tensor


_SIZE = "give the number of distinct elements, size=..., or do this outside"


def _distinct(
    name: str,
    x: ArrayLike,
    size: int | None,
    fill_value: ArrayLike | None,
    axis: int | None = None,
    equal_nan: bool = False,
) -> UniqueAll:
    tensor = as_tensor(x)
    if size is not None:
        return _sized(tensor, operator.index(size), fill_value, equal_nan)
    values = tensor._look_for_shape(f"fg.{name}", _SIZE)
    _, indices, inverse, counts = np.unique(values, True, True, True, axis, equal_nan=equal_nan)
    picked = tensor.reshape(-1).take(indices) if axis is None else tensor.take(indices, axis)
    return UniqueAll(picked, as_tensor(indices), as_tensor(inverse), as_tensor(counts))


def _sized(x: Tensor, size: int, fill_value: ArrayLike | None, equal_nan: bool) -> UniqueAll:
    if size < 0:
        raise OptionError(f"the size of a result is not negative, as {size} is")
    given = [] if fill_value is None else [as_tensor(fill_value, x.dtype)]

    def item(number: int) -> Tensor:
        return record(
            lambda node, *fill: semantics.distinct(
                node, size, fill[0] if fill else None, equal_nan
            )[number],
            (x, *given),
        )

    return UniqueAll(item(0), item(1), item(2), item(3))


def unique_all(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> UniqueAll:
    """The distinct elements in order, where each occurs first, which each element is, how often.

    Each NaN counts as a value of its own.

    Parameters
    ----------
    x : array_like
        Taken flat.
    size : int, optional
        How many values there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : number, optional
        What stands for missing ones; by default the smallest value.

    Returns
    -------
    UniqueAll
        ``(values, indices, inverse_indices, counts)``.

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> values, indices, inverse, counts = fg.unique_all([5, 2, 5])
    >>> values, indices, inverse, counts
    (Tensor([2, 5]), Tensor([1, 0]), Tensor([1, 0, 1]), Tensor([1, 2]))
    """
    return _distinct("unique_all", x, size, fill_value)


def unique_counts(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> UniqueCounts:
    """The distinct elements in order, and how often each occurs.

    Parameters
    ----------
    x : array_like
        Taken flat.
    size : int, optional
        How many values there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : number, optional
        What stands for missing ones; by default the smallest value.

    Returns
    -------
    UniqueCounts
        ``(values, counts)``.

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unique_counts([5, 2, 5])
    UniqueCounts(values=Tensor([2, 5]), counts=Tensor([1, 2]))
    """
    found = _distinct("unique_counts", x, size, fill_value)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> UniqueInverse:
    """The distinct elements in order, and which of them each element is.

    Parameters
    ----------
    x : array_like
        Taken flat.
    size : int, optional
        How many values there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : number, optional
        What stands for missing ones; by default the smallest value.

    Returns
    -------
    UniqueInverse
        ``(values, inverse_indices)``, the second in the shape of `x`.

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unique_inverse([5, 2, 5])
    UniqueInverse(values=Tensor([2, 5]), inverse_indices=Tensor([1, 0, 1]))
    """
    found = _distinct("unique_inverse", x, size, fill_value)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(
    x: ArrayLike, /, *, size: int | None = None, fill_value: ArrayLike | None = None
) -> Tensor:
    """The distinct elements in order; each NaN counts as a value of its own.

    Parameters
    ----------
    x : array_like
        Taken flat.
    size : int, optional
        How many values there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : number, optional
        What stands for missing ones; by default the smallest value.

    Returns
    -------
    Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unique_values([5, 2, 5])
    Tensor([2, 5])
    """
    return _distinct("unique_values", x, size, fill_value).values


def unique(
    x: ArrayLike,
    /,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    *,
    equal_nan: bool = True,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
    dim: int | None = None,
    sorted: bool = True,
) -> Any:
    """The distinct elements in order, as in NumPy.

    Parameters
    ----------
    x : array_like
    return_index, return_inverse, return_counts : bool, optional
        Whether the result says where each occurs first, which one each element is, and how often
        each occurs.
    axis : int, optional
        Distinct slices along an axis; by default the array is taken flat.
    equal_nan : bool, optional
        Whether all NaN are one.
    size : int, optional
        How many values there are, so that the shape is known: more are cut off. Needed inside of a
        compiled function.
    fill_value : number, optional
        What stands for missing ones; by default the smallest value.
    sorted : bool, optional
        Without effect: they always are.

    Returns
    -------
    Tensor or tuple of Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unique([5, 2, 5], return_counts=True)
    (Tensor([2, 5]), Tensor([1, 2]))
    """
    axis = pick_axis(axis, dim)
    if axis is not None:
        axis = one_axis("unique", axis, as_tensor(x).ndim)
        if size is not None:
            raise OptionError("unique: a size is for arrays taken flat, without an axis")
    found = _distinct("unique", x, size, fill_value, axis, equal_nan)
    wanted = (True, return_index, return_inverse, return_counts)
    results = tuple(item for item, is_wanted in zip(found, wanted, strict=True) if is_wanted)
    return results if len(results) > 1 else results[0]


def unique_consecutive(
    x: ArrayLike,
    /,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
    *,
    axis: int | None = None,
) -> Any:
    """The elements that differ from the one in front of them, as in torch.

    Parameters
    ----------
    x : array_like
    return_inverse, return_counts : bool, optional
        Whether the result says which of them each element is, and how many equal ones follow.
    dim : int, optional
        Slices along an axis; by default the array is taken flat.

    Returns
    -------
    Tensor or tuple of Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unique_consecutive([1, 1, 2, 1], return_counts=True)
    (Tensor([1, 2, 1]), Tensor([2, 1, 1]))
    """
    tensor = as_tensor(x)
    place = pick_axis(axis, dim)
    place = None if place is None else one_axis("unique_consecutive", place, tensor.ndim)
    values = tensor._look_for_shape("fg.unique_consecutive")
    rows = values.reshape(-1) if place is None else np.moveaxis(values, place, 0)
    differs = (rows[1:] != rows[:-1]).any(tuple(range(1, rows.ndim)))
    first = np.concatenate([[True][: len(rows)], differs])
    starts = np.flatnonzero(first)
    inverse = np.cumsum(first, dtype=np.int64) - 1
    counts = np.diff(np.append(starts, len(rows)))
    picked = tensor.reshape(-1).take(starts) if place is None else tensor.take(starts, place)
    extra = [inverse.reshape(values.shape) if place is None else inverse] * return_inverse
    extra += [counts] * return_counts
    return (picked, *map(as_tensor, extra)) if extra else picked


# --- two sets -------------------------------------------------------------------------------------


def _pair(x1: ArrayLike, x2: ArrayLike) -> tuple[Tensor, Tensor]:
    """Two arrays flat and in their common dtype."""
    nodes, _ = common_nodes((as_tensor(x1), as_tensor(x2)))
    dtype = nodes[0].dtype
    first, second = (as_tensor(x).astype(dtype).reshape(-1) for x in (x1, x2))
    return first, second


def union1d(
    x1: ArrayLike,
    x2: ArrayLike,
    /,
    *,
    size: int | None = None,
    fill_value: ArrayLike | None = None,
) -> Tensor:
    """The distinct elements of both arrays, in order.

    Parameters
    ----------
    x1, x2 : array_like
        Taken flat.
    size : int, optional
        How many elements there are, so that the shape is known: more are cut off. Needed inside of
        a compiled function.
    fill_value : number, optional
        What stands for missing ones; by default the smallest element.

    Returns
    -------
    Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function, without a size.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.union1d([3, 1], [2, 3])
    Tensor([1, 2, 3])
    """
    return _distinct("union1d", concat(_pair(x1, x2)), size, fill_value, equal_nan=True).values


def intersect1d(
    x1: ArrayLike, x2: ArrayLike, /, assume_unique: bool = False, return_indices: bool = False
) -> Any:
    """The distinct elements that both arrays have, in order.

    Parameters
    ----------
    x1, x2 : array_like
        Taken flat.
    assume_unique : bool, optional
        That no array has an element twice.
    return_indices : bool, optional
        Whether the result says where they occur first in both.

    Returns
    -------
    Tensor or tuple of Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.intersect1d([3, 1, 4], [4, 3, 5])
    Tensor([3, 4])
    """
    first, second = _pair(x1, x2)
    a, b = (x._look_for_shape("fg.intersect1d") for x in (first, second))
    _, own, other = np.intersect1d(a, b, assume_unique, return_indices=True)
    common = first.take(own)
    return (common, as_tensor(own), as_tensor(other)) if return_indices else common


def setdiff1d(x1: ArrayLike, x2: ArrayLike, /, assume_unique: bool = False) -> Tensor:
    """The distinct elements of the first array that the second has not.

    Parameters
    ----------
    x1, x2 : array_like
        Taken flat.
    assume_unique : bool, optional
        That no array has an element twice; then they keep their order.

    Returns
    -------
    Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.setdiff1d([3, 1, 4], [4, 5])
    Tensor([1, 3])
    """
    first, second = _pair(x1, x2)
    a, b = (x._look_for_shape("fg.setdiff1d") for x in (first, second))
    places = np.arange(a.size) if assume_unique else np.unique(a, return_index=True)[1]
    return first.take(places[np.isin(a[places], b, invert=True)])


def setxor1d(x1: ArrayLike, x2: ArrayLike, /, assume_unique: bool = False) -> Tensor:
    """The distinct elements that only one of both arrays has, in order.

    Parameters
    ----------
    x1, x2 : array_like
        Taken flat.
    assume_unique : bool, optional
        That no array has an element twice.

    Returns
    -------
    Tensor

    Raises
    ------
    DataDependentShapeError
        Inside of a compiled function.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.setxor1d([3, 1, 4], [4, 5])
    Tensor([1, 3, 5])
    """
    first, second = _pair(x1, x2)
    return concat([setdiff1d(first, second), setdiff1d(second, first)]).sort()
