"""Monoids in NumPy: what they start from, and how contributions are combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .expr import Buffer
from .kernel import Monoid
from .meanings import cast

__all__ = ["COMBINE", "combined", "identity", "reduced"]

Array = np.ndarray[Any, Any]

COMBINE: dict[Monoid, np.ufunc] = {
    Monoid.SUM: np.add,
    Monoid.PROD: np.multiply,
    Monoid.MAX: np.maximum,
    Monoid.MIN: np.minimum,
    Monoid.AND: np.bitwise_and,
    Monoid.OR: np.bitwise_or,
}


def identity(monoid: Monoid, buffer: Buffer) -> Any:
    """What an accumulator of `monoid` starts from, in the dtype of `buffer`."""
    dtype = buffer.dtype
    values: dict[Monoid, Any] = {
        Monoid.SUM: 0,
        Monoid.PROD: 1,
        Monoid.MAX: dtype.lowest,
        Monoid.MIN: dtype.highest,
        Monoid.AND: True if dtype.bits == 1 else -1,
        Monoid.OR: 0,
    }
    return cast(values[monoid], dtype)


def _first(monoid: Monoid, values: Array, positions: Array) -> tuple[Any, Any]:
    """The extreme value and what came with it: a NaN before numbers, then the first."""
    at = np.argmax(values) if monoid is Monoid.ARGMAX else np.argmin(values)
    return values[at], positions[at]


def reduced(monoids: Sequence[Monoid], given: Sequence[Array]) -> list[Any]:
    """The contributions of all lanes combined."""
    result: list[Any] = []
    for monoid in monoids:
        values = given[len(result)]
        if monoid.width == 2:
            result += _first(monoid, values, given[len(result) + 1])
        else:
            result.append(COMBINE[monoid].reduce(values, dtype=values.dtype))
    return result


def combined(monoids: Sequence[Monoid], state: Sequence[Any], given: Sequence[Any]) -> list[Any]:
    """One contribution more, for each lane."""
    result: list[Any] = []
    for monoid in monoids:
        at = len(result)
        old, new = state[at], given[at]
        if monoid.width == 2:
            better = new > old if monoid is Monoid.ARGMAX else new < old
            better |= (new != new) & (old == old)
            result += [np.where(better, new, old), np.where(better, given[at + 1], state[at + 1])]
        else:
            result.append(COMBINE[monoid](old, new))
    return result
