"""The operators of Python under torch's names: what `x * y` is as a function.

Knows only the functions themselves: a name here is one more for the same function.
"""

from __future__ import annotations

from typing import Literal

from ..errors import OptionError
from ..tensors.tensor_class import ArrayLike, Tensor
from .functional import (
    add,
    divide,
    floor_divide,
    less,
    logical_and,
    not_equal,
    remainder,
    trunc,
)

__all__ = ["div"]


def div(
    x1: ArrayLike, x2: ArrayLike, *, rounding_mode: Literal["trunc", "floor"] | None = None
) -> Tensor:
    """The quotient, as it is or rounded.

    Parameters
    ----------
    x1, x2 : array_like
        They broadcast.
    rounding_mode : {"trunc", "floor"}, optional
        Towards zero, or down; by default the quotient is not rounded.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        For another `rounding_mode`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.div([7.0, -7.0], 2.0)
    Tensor([ 3.5, -3.5])
    >>> fg.div([7.0, -7.0], 2.0, rounding_mode="trunc")
    Tensor([ 3., -3.])
    """
    if rounding_mode not in (None, "trunc", "floor"):
        raise OptionError(f"rounding_mode is 'floor' or 'trunc', not {rounding_mode!r}")
    if rounding_mode == "floor":
        return floor_divide(x1, x2)
    if not rounding_mode:
        return divide(x1, x2)
    floor, rest = floor_divide(x1, x2), remainder(x1, x2)
    if floor.dtype.is_float:
        return trunc(divide(x1, x2))
    # The quotient of integers was rounded down: one more where it is negative and not whole.
    negative = logical_and(not_equal(rest, 0), less(floor, 0))
    return add(floor, negative.astype(floor.dtype))
