"""Many calls of a compiled function, one after the other: the batches, and what they gave.

Knows containers and arrays; how a call is made is the business of `compile`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from .. import pytree
from ..errors import ShapeError
from ..tensors.storage import Storage
from ..tensors.tensor_class import Tensor, tensor_of

__all__ = ["arguments_of", "stacked"]


def arguments_of(batches: Any) -> list[tuple[Any, ...]]:
    """The arguments of each call.

    Parameters
    ----------
    batches : iterable, tuple of arrays, or array
        A tuple of arrays holds the calls along its first axes; an array those of one argument. An
        item of anything else is a tuple of arguments, or the only one.

    Raises
    ------
    ShapeError
        If the arrays of a tuple have different lengths, or no axis.
    """
    if _is_array(batches):
        batches = (batches,)
    if not isinstance(batches, tuple):
        return [_arguments(item) for item in batches]
    if not all(map(_is_array, batches)):
        raise ShapeError(
            "a tuple of batches holds arrays, one for each argument",
            remedy="pass a list of tuples of arguments instead",
        )
    lengths = {np.shape(array)[:1] for array in batches}
    if len(lengths) > 1 or () in lengths:
        shapes = ", ".join(str(tuple(np.shape(array))) for array in batches)
        raise ShapeError(
            f"batches of shapes {shapes} have no common number of calls",
            remedy="stack the arguments of the calls along the first axis of each array",
        )
    return list(zip(*map(_rows, batches), strict=True))


def _is_array(value: Any) -> bool:
    return isinstance(value, (np.ndarray, Tensor))


def _arguments(item: Any) -> tuple[Any, ...]:
    if isinstance(item, tuple):
        return item
    return tuple(item) if isinstance(item, list) else (item,)


def _rows(array: Any) -> Iterable[Any]:
    # An array without axes has numbers for rows, which would be other arguments.
    values = array.numpy() if isinstance(array, Tensor) else array
    return [values[number, ...] for number in range(len(values))]


def stacked(results: Sequence[Any]) -> Any:
    """The results of all calls as one, every tensor with a new first axis."""
    if not results:
        return None
    flat = [pytree.flatten(result) for result in results]
    leaves = [_stack([one[position] for one, _ in flat]) for position in range(len(flat[0][0]))]
    return pytree.unflatten(flat[0][1], leaves)


def _stack(values: Sequence[Any]) -> Any:
    if not isinstance(values[0], Tensor):
        return values[0]
    first = values[0]
    storage = Storage.empty((len(values), *first.shape), first.dtype.numpy)
    for number, value in enumerate(values):
        if value.shape != first.shape or value.dtype is not first.dtype:
            raise ShapeError(
                f"results of {first.dtype}{list(first.shape)} and {value.dtype}"
                f"{list(value.shape)} cannot be stacked",
                remedy="run batches of other shapes separately",
            )
        storage.array[number] = value._materialize().array
    return tensor_of(storage)
