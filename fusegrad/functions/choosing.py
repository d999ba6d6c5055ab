"""Choices between values, by masks, conditions or numbers; flat indices.

What torch and NumPy do in place is done in a new array here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..codegen.dtypes import as_dtype, bool_, int64
from ..errors import DTypeError, ShapeError
from ..semantics import indexing
from ..semantics.shapes import broadcast_shapes, known_shape, one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from ..tensors.tensor_indexing import known
from .functional import where

__all__ = [
    "choose",
    "compress",
    "extract",
    "masked_fill",
    "masked_scatter",
    "masked_select",
    "one_hot",
    "piecewise",
    "ravel_multi_index",
    "select",
    "unravel_index",
]


# --- masks ----------------------------------------------------------------------------------------


def masked_fill(x: ArrayLike, mask: ArrayLike, value: ArrayLike) -> Tensor:
    """Another value where a mask holds.

    Parameters
    ----------
    x : array_like
        Not changed.
    mask : array_like
        Bools; it broadcasts.
    value : number

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.masked_fill([1, 2, 3], [True, False, True], 0)
    Tensor([0, 2, 0])
    """
    return as_tensor(x).masked_fill(mask, value)


def masked_select(x: ArrayLike, mask: ArrayLike) -> Tensor:
    """The elements where a mask holds, as a vector; not inside of compiled functions.

    Parameters
    ----------
    x, mask : array_like
        They broadcast.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.masked_select([[1, 2], [3, 4]], [True, False])
    Tensor([1, 3])
    """
    tensor, test = as_tensor(x), as_tensor(mask)
    shape = broadcast_shapes("select from", [tensor.shape, test.shape])
    return tensor.broadcast_to(*shape)[_mask("masked_select", test.broadcast_to(*shape))]


def masked_scatter(x: ArrayLike, mask: ArrayLike, source: ArrayLike) -> Tensor:
    """The elements of another array, in order, where a mask holds.

    Parameters
    ----------
    x : array_like
        Not changed.
    mask : array_like
        Bools; it broadcasts to `x`.
    source : array_like
        At least as many elements as places where the mask holds.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.masked_scatter([1, 2, 3], [True, False, True], [8, 9])
    Tensor([8, 2, 9])
    """
    tensor = as_tensor(x)
    test = _mask("masked_scatter", as_tensor(mask)).broadcast_to(*tensor.shape)
    values = tensor._coerce(source, fitting=True).reshape(-1)
    if not tensor.size or not values.size:
        return tensor
    return record(indexing.masked_scatter, (tensor, test, values))


def _mask(name: str, mask: Tensor) -> Tensor:
    if mask.dtype is not bool_:
        raise DTypeError(
            f"{name}: the mask has dtype {mask.dtype}, not bool",
            remedy="compare, as in mask != 0",
        )
    return mask


def extract(condition: ArrayLike, x: ArrayLike) -> Tensor:
    """The elements where a condition is not zero, as a vector; not inside of compiled functions.

    Parameters
    ----------
    condition, x : array_like
        Of equal size.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.extract([True, False, True], [1, 2, 3])
    Tensor([1, 3])
    """
    return as_tensor(x).reshape(-1)[as_tensor(condition).reshape(-1).bool()]


def compress(condition: ArrayLike, x: ArrayLike, axis: int | None = None) -> Tensor:
    """The slices along an axis where a condition holds; not inside of compiled functions.

    Parameters
    ----------
    condition : array_like
        A vector of bools, possibly shorter than the axis.
    x : array_like
    axis : int, optional
        By default the array is taken flat.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.compress([False, True], [[1, 2], [3, 4]], axis=0)
    Tensor([[3, 4]])
    """
    tensor, test = as_tensor(x), as_tensor(condition).bool()
    if axis is None:
        tensor, axis = tensor.reshape(-1), 0
    return tensor.take(test._key(test)[1][0], axis)


# --- conditions and numbers -----------------------------------------------------------------------


def select(
    condlist: Sequence[ArrayLike], choicelist: Sequence[ArrayLike], default: ArrayLike = 0
) -> Tensor:
    """For each element the choice that belongs to the first condition that holds.

    Parameters
    ----------
    condlist : sequence of array_like
        Bools.
    choicelist : sequence of array_like
        As many; everything broadcasts.
    default : array_like, optional
        Where no condition holds.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.arange(4)
    >>> fg.select([x < 1, x > 2], [x, x * 10], -1)
    Tensor([ 0, -1, -1, 30])
    """
    if len(condlist) != len(choicelist) or not condlist:
        raise ShapeError(
            f"select: {len(condlist)} conditions and {len(choicelist)} choices",
            remedy="give one choice for each condition, at least one",
        )
    result: ArrayLike = default
    for condition, choice in zip(reversed(condlist), reversed(choicelist), strict=True):
        result = where(condition, choice, result)
    return as_tensor(result)


def piecewise(
    x: ArrayLike, condlist: Any, funclist: Sequence[Any], *args: Any, **kwargs: Any
) -> Tensor:
    """A function that is put together of others.

    Parameters
    ----------
    x : array_like
    condlist : sequence of array_like
        Bools with the shape of `x`. Where several hold, the last one counts.
    funclist : sequence of callable or number
        One for each condition, and possibly one for all other elements, else those are 0. Each
        function gets all of `x`, other than in NumPy.
    *args, **kwargs
        More arguments of the functions.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.asarray([-2.0, 1.0])
    >>> fg.piecewise(x, [x < 0, x >= 0], [lambda v: -v, 5.0])
    Tensor([2., 5.])
    """
    tensor = as_tensor(x)
    single = not isinstance(condlist, (list, tuple)) or (
        tensor.ndim > 0 and len(condlist) > 0 and isinstance(condlist[0], (bool, int))
    )
    conditions = [as_tensor(c).bool() for c in ([condlist] if single else condlist)]
    if len(funclist) not in (len(conditions), len(conditions) + 1):
        raise ShapeError(
            f"piecewise: {len(funclist)} functions for {len(conditions)} conditions",
            remedy="give one for each condition, and possibly one more for the rest",
        )
    values = [
        function(tensor, *args, **kwargs) if callable(function) else function
        for function in funclist
    ]
    result = as_tensor(0).broadcast_to(*tensor.shape).astype(tensor.dtype)
    if len(values) > len(conditions):
        result = result + tensor._coerce(values.pop(), fitting=True).astype(tensor.dtype)
    for condition, value in zip(conditions, values, strict=True):
        new = tensor._coerce(value, fitting=True).astype(tensor.dtype)
        result = where(condition, new, result)
    return result


def choose(a: ArrayLike, choices: Any, mode: str = "raise") -> Tensor:
    """For each element one of several arrays, by number.

    Parameters
    ----------
    a : array_like
        Integers.
    choices : sequence of array_like
        Everything broadcasts.
    mode : {"raise", "wrap", "clip"}, optional
        What becomes of numbers that name none: an error where they are known, and clamped in
        compiled code; taken modulo; or clamped, negative ones to 0.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.choose([0, 1, 0], [[1, 2, 3], [10, 20, 30]])
    Tensor([ 1, 20,  3])
    """
    number = as_tensor(a)
    options = as_tensor([as_tensor(choice) for choice in choices])
    shape = broadcast_shapes("choose between", [number.shape, options.shape[1:]])
    lead = len(shape) - options.ndim + 1
    aligned = options.reshape(options.shape[0], *[1] * lead, *options.shape[1:])
    wide = aligned.broadcast_to(options.shape[0], *shape)
    places = record(indexing.checked, (known(number),), options.shape[0], mode)
    places = places.broadcast_to(*shape)
    return record(indexing.take_along, (wide, places[None]), 0)[0]


def one_hot(x: ArrayLike, num_classes: int = -1, *, dtype: Any = int64, axis: int = -1) -> Tensor:
    """A new axis of zeros, with a one at the class of each element.

    Parameters
    ----------
    x : array_like
        Classes, integers from 0.
    num_classes : int, optional
        By default the largest class and one, which is not known inside of compiled functions.
    dtype : dtype, optional
        Of the result.
    axis : int, optional
        Where the new axis goes.

    Returns
    -------
    Tensor

    Raises
    ------
    IndexBoundsError
        If a class is outside, where its value is known. In compiled code its row is zero.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.one_hot([0, 2], 3)
    Tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    classes = as_tensor(x)
    if not classes.dtype.is_integer:
        raise DTypeError(
            f"one_hot of {classes.dtype}", remedy='classes are integers, x.astype("int64")'
        )
    if num_classes < 0:
        values = classes._look(
            "one_hot without num_classes", "say how many classes there are, num_classes=10"
        )
        num_classes = int(values.max()) + 1 if values.size else 0
    place = one_axis("one_hot", axis, classes.ndim + 1)
    wide = record(indexing.checked, (known(classes),), num_classes).unsqueeze(place)
    shape = [1] * wide.ndim
    shape[place] = num_classes
    return (wide == as_tensor(range(num_classes)).reshape(shape)).astype(as_dtype(dtype))


# --- flat indices ---------------------------------------------------------------------------------


def unravel_index(indices: ArrayLike, shape: Any) -> tuple[Tensor, ...]:
    """The index for each axis, of positions in the flat array.

    Parameters
    ----------
    indices : array_like
        Integers.
    shape : int or sequence of int

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.unravel_index([1, 5], (2, 3))
    (Tensor([0, 1]), Tensor([1, 2]))
    """
    extents = known_shape("unravel_index", shape)
    rest = record(indexing.checked, (known(as_tensor(indices)),), math.prod(extents))
    result = []
    for extent in reversed(extents):
        result.append(rest % max(extent, 1))
        rest = rest // max(extent, 1)
    return tuple(reversed(result))


def ravel_multi_index(multi_index: Sequence[ArrayLike], dims: Any, mode: str = "raise") -> Tensor:
    """The position in the flat array, of an index for each axis.

    Parameters
    ----------
    multi_index : sequence of array_like
        Integers; they broadcast.
    dims : int or sequence of int
        The shape of the array.
    mode : {"raise", "wrap", "clip"}, optional
        What becomes of indices that lie outside.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ravel_multi_index(([0, 1], [1, 2]), (2, 3))
    Tensor([1, 5])
    """
    extents = known_shape("ravel_multi_index", dims)
    indices = [as_tensor(index) for index in multi_index]
    if len(indices) != len(extents):
        raise ShapeError(
            f"{len(indices)} indices for an array of shape {show(extents)}",
            remedy="give one for each axis",
        )
    place = as_tensor(0)
    for index, extent in zip(indices, extents, strict=True):
        place = place * extent + record(indexing.checked, (known(index),), extent, mode)
    return place
