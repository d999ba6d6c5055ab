"""Sizes that remember where they come from: numbers that differ from call to call.

Knows integers alone.

A `Varying` is an int, and everyone may take it for one: comparisons and choices see its value. It
also has a *probe*: what it would be if the size of the call that it follows from were another,
unusual number. Arithmetic computes both. So a number that follows from a size of the call is known
by its probe, and two that follow in the same way have equal probes, however they were computed.
Code for kernels takes such numbers as arguments, and is the same for every value.

Nothing relies on probes but sharing: a number whose origin was lost is a constant of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["PROBES", "Varying", "joined", "origins", "varying"]

PROBES = (2147483647, 2147483629, 2147483587, 2147483579, 2147483563, 2147483549)
"""Primes, so that what follows from one in different ways is different."""


class Varying(int):
    """An int that follows from a size of the call.

    Parameters
    ----------
    value : int
    probe : int
        What the value would be for another size.

    Examples
    --------
    >>> n = Varying(64, PROBES[0])
    >>> n, n == 64, n // 16 * 16 == n
    (64, True, True)
    >>> (n * 28 * 28).probe == (784 * n).probe, type(n - n) is int
    (True, True)
    """

    probe: int

    def __new__(cls, value: int, probe: int) -> Varying:
        self = int.__new__(cls, value)
        self.probe = probe
        return self

    def __neg__(self) -> int:
        return varying(-int(self), -self.probe)

    def __abs__(self) -> int:
        return varying(abs(int(self)), abs(self.probe))

    def __divmod__(self, other: int) -> tuple[int, int]:
        return self // other, self % other

    def __rdivmod__(self, other: int) -> tuple[int, int]:
        return other // self, other % self

    def __reduce__(self) -> Any:
        return int, (int(self),)


def varying(value: int, probe: int) -> int:
    """`value`, with its origin if that can be told from a plain number.

    Examples
    --------
    >>> type(varying(3, 3)) is int
    True
    """
    return value if value == probe else Varying(value, probe)


def _operation(name: str) -> Callable[[Any, Any], Any]:
    compute = getattr(int, name)

    def method(self: Varying, other: Any) -> Any:
        value = compute(self, other)
        if value is NotImplemented:
            return value
        by = other.probe if isinstance(other, Varying) else other
        # Zero for the probe alone: there is nothing to tell the value by.
        if (not by and other) or (not self.probe and self):
            return value
        return varying(value, compute(self.probe, by))

    method.__name__ = name
    return method


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    for _side in ("", "r"):
        setattr(Varying, f"__{_side}{_name}__", _operation(f"__{_side}{_name}__"))


def joined(shapes: Sequence[tuple[Any, ...]]) -> tuple[Any, ...]:
    """Equal shapes as one, which knows of each extent what one of them knows.

    Examples
    --------
    >>> type(joined([(64, 3), (Varying(64, 7), 3)])[0]) is Varying
    True
    """
    first = shapes[0]
    for other in shapes[1:]:
        if other is not first:
            first = tuple(b if type(b) is Varying else a for a, b in zip(first, other, strict=True))
    return first


def origins(values: tuple[Any, ...]) -> tuple[int, ...]:
    """The probes of all varying numbers in `values` and tuples in it; empty when there are none.

    Beside `values` in a key, they keep apart what is equal and comes from elsewhere.

    Examples
    --------
    >>> origins((64, (Varying(64, 7), 3), "same"))
    (7,)
    """
    found: tuple[int, ...] = ()
    for value in values:
        kind = type(value)
        if kind is Varying:
            found += (value.probe,)
        elif kind is tuple:
            found += origins(value)
    return found
