"""Sizes that remember where they come from: numbers that differ from call to call.

Knows integers alone.

A `Varying` is an int, and everyone may take it for one: comparisons and choices see its value. It
also has a *probe*: what it would be if the size of the call that it follows from were another,
unusual number. Arithmetic computes both. So a number that follows from a size of the call is known
by its probe, and two that follow in the same way have equal probes, however they were computed.
Code for kernels takes such numbers as arguments, and is the same for every value.

And it has a *likely* value, for the size of earlier calls that were as large or larger. Schedules
choose by that, so that a last partial batch is computed as the others were.

Nothing relies on either but sharing: a number whose origin was lost is a constant of the code.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = ["PROBES", "Varying", "divides", "integer", "joined", "likely", "origins", "varying"]

N = TypeVar("N", int, float)

PROBES = (2147483647, 2147483629, 2147483587, 2147483579, 2147483563, 2147483549)
"""Primes, so that what follows from one in different ways is different."""


class Varying(int):
    """An int that follows from a size of the call.

    Parameters
    ----------
    value : int
    probe : int
        What the value would be for another size.
    likely : int, optional
        What it is in most calls; the value when not given.

    Examples
    --------
    >>> n = Varying(37, PROBES[0], 64)
    >>> n, n == 37, n // 16 * 16, likely(n // 16)
    (37, True, 32, 4)
    >>> (n * 28 * 28).probe == (784 * n).probe, type(n - n) is int
    (True, True)
    """

    probe: int
    likely: int

    def __new__(cls, value: int, probe: int, likely: int | None = None) -> Varying:
        self = int.__new__(cls, value)
        self.probe = probe
        self.likely = int(value) if likely is None else likely
        return self

    def __neg__(self) -> int:
        return varying(-int(self), -self.probe, -self.likely)

    def __abs__(self) -> int:
        return varying(abs(int(self)), abs(self.probe), abs(self.likely))

    def __divmod__(self, other: int) -> tuple[int, int]:
        return self // other, self % other

    def __rdivmod__(self, other: int) -> tuple[int, int]:
        return other // self, other % self

    def __reduce__(self) -> Any:
        return int, (int(self),)


def varying(value: int, probe: int, likely: int) -> int:
    """`value`, with its origin if that can be told from a plain number.

    Examples
    --------
    >>> type(varying(3, 3, 3)) is int
    True
    """
    return value if value == probe == likely else Varying(value, probe, likely)


def likely(number: N) -> N:
    """What a number is in most calls: what choices shall depend on that change no result."""
    return number.likely if isinstance(number, Varying) else number


def divides(unit: int, number: int) -> bool:
    """Whether `number` is a multiple of `unit` in every call."""
    return not isinstance(number, Varying) and number % unit == 0


def _operation(name: str) -> Callable[[Any, Any], Any]:
    compute = getattr(int, name)
    make = int.__new__

    def method(self: Varying, other: Any) -> Any:
        value = compute(self, other)
        if value is NotImplemented:
            return value
        by, often = other, other
        if type(other) is not int and isinstance(other, Varying):
            by, often = other.probe, other.likely
        try:
            probe, often = compute(self.probe, by), compute(self.likely, often)
        except ZeroDivisionError:
            # Of the others alone: there is nothing to tell the value by.
            return value
        if value == probe == often:
            return value
        # As the constructor does: there are thousands of them in a compilation.
        made = make(Varying, value)
        made.probe, made.likely = probe, often
        return made

    method.__name__ = name
    return method


for _name in ("add", "sub", "mul", "floordiv", "mod"):
    for _side in ("", "r"):
        setattr(Varying, f"__{_side}{_name}__", _operation(f"__{_side}{_name}__"))


def integer(value: Any) -> int:
    """`value` as an int, with its origin if it has one; what is no integer raises TypeError."""
    return value + 0 if isinstance(value, Varying) else operator.index(value)


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
    """Where all varying numbers in `values`, and tuples in it, come from; empty without any.

    Beside `values` in a key, they keep apart what is equal and comes from elsewhere.

    Examples
    --------
    >>> origins((64, (Varying(64, 7), 3), "same")), origins((64, (3, Varying(64, 7)), "same"))
    ((1, 0, 7, 64), (1, 1, 7, 64))
    """
    found: tuple[int, ...] = ()
    for place, value in enumerate(values):
        kind = type(value)
        if kind is Varying:
            found += (place, value.probe, value.likely)
        elif kind is tuple and (inside := origins(value)):
            found += (place, *inside)
    return found
