"""Networks of exchanges that sort what lies beside each other, one sequence in each lane.

A merge begins with an exchange of mirrored elements and goes on with halves of halves, so that the
smaller element always comes to the front: what a power of two has beyond the last element is left
out. Knows no keys and no op.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .dtypes import int64
from .expr import Buffer, Expr, Load, Var
from .expr import index as number
from .kernel import Any as AnyOrder
from .kernel import For, If, Let, Serial, Stmt, Store
from .scalar import apply

__all__ = ["NETWORKS", "TOGETHER", "Network", "halves"]

TOGETHER: Final = 16
"""Sequences that are sorted at once."""

Pairs = tuple[tuple[int, int], ...]
NETWORKS: Final[dict[int, Pairs]] = {
    1: (),
    2: ((0, 1),),
    3: ((0, 2), (0, 1), (1, 2)),
    4: ((0, 2), (1, 3), (0, 1), (2, 3), (1, 2)),
    5: ((0, 3), (1, 4), (0, 2), (1, 3), (0, 1), (2, 4), (1, 2), (3, 4), (2, 3)),
    8: (
        *((0, 2), (1, 3), (4, 6), (5, 7), (0, 4), (1, 5), (2, 6), (3, 7), (0, 1), (2, 3)),
        *((4, 5), (6, 7), (2, 4), (3, 5), (1, 4), (3, 6), (1, 2), (3, 4), (5, 6)),
    ),
    16: (
        *((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11), (12, 13), (14, 15), (0, 2), (1, 3)),
        *((4, 6), (5, 7), (8, 10), (9, 11), (12, 14), (13, 15), (0, 4), (1, 5), (2, 6), (3, 7)),
        *((8, 12), (9, 13), (10, 14), (11, 15), (0, 8), (1, 9), (2, 10), (3, 11), (4, 12)),
        *((5, 13), (6, 14), (7, 15), (5, 10), (6, 9), (3, 12), (13, 14), (4, 8), (7, 11)),
        *((1, 2), (1, 4), (7, 13), (2, 8), (11, 14), (2, 4), (5, 6), (9, 10), (11, 13), (3, 8)),
        *((7, 12), (6, 8), (10, 12), (3, 5), (7, 9), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12)),
        *((6, 7), (8, 9)),
    ),
}
"""Exchanges that sort so many elements, whatever their order is."""


def halves(size: int, times: int) -> Pairs:
    """Exchanges of the first half of a block with the second, and so on in the halves."""
    pairs: list[tuple[int, int]] = []
    for turn in range(times):
        half = size >> (turn + 1)
        pairs += [(i, i + half) for i in range(size) if i % (2 * half) < half]
    return tuple(pairs)


class Network:
    """Loops over a buffer whose last two axes are places and lanes.

    Attributes
    ----------
    keys : Buffer
    padded : int
        How many places there are.
    front : tuple of Expr
        The index on the axes in front of these two.
    """

    def __init__(self, keys: Buffer, front: tuple[Expr, ...] = ()) -> None:
        self.keys = keys
        self.front = front
        self.padded = int(keys.shape[-2])  # type: ignore[arg-type]

    def sorted(self) -> tuple[Stmt, ...]:
        """Every lane in order."""
        steps = (self.padded - 1).bit_length()
        if not steps:
            return ()
        known = 1
        first: tuple[Stmt, ...]
        if self.padded % 8 == 0:
            known, first = 3, self.blocks(8, NETWORKS[8])
        else:
            first = self.turn(number(0), mirrored=True)
        if steps <= known:
            return first
        later, step = Var("later", int64, steps - known), Var("step", int64)
        body = (Let(step, apply("add", later, number(known))), *self.merge(step))
        return (*first, For(later, steps - known, Serial(), body))

    def blocks(self, size: int, pairs: Pairs) -> tuple[Stmt, ...]:
        """The same exchanges in every block of so many places, without leaving registers."""
        block, start = Var("block", int64), Var("start", int64)
        places = [apply("add", start, number(i)) for i in range(size)]
        body = (Let(start, apply("mul", block, number(size))), self.exchanged(pairs, places))
        return (For(block, self.padded // size, AnyOrder(), body),)

    def merge(self, step: Expr) -> tuple[Stmt, ...]:
        """Sorted groups of two to the power `step` become groups of twice as many, by two halvings
        at a time; the last three are done in registers, or one is left over between neighbours."""
        last = 3 if self.padded % 8 == 0 else 0
        pair, shift, ahead = Var("pair", int64), Var("shift", int64), Var("ahead", int64)
        twice = apply("mul", pair, number(2))
        inner = (Let(shift, apply("sub", ahead, twice)), *self.turn_twice(shift))
        halvings = apply("sub", step, number(last))
        if not last:
            count = apply("shr", apply("sub", step, number(1)), number(1))
            odd = apply("eq", apply("and", step, number(1)), number(0))
            return (
                Let(ahead, apply("sub", step, number(2))),
                *self.turn_twice(step, mirrored=True),
                For(pair, count, Serial(), inner),
                If(odd, self.turn(number(0))),
            )
        odd = apply("eq", apply("and", halvings, number(1)), number(1))
        even = apply("eq", apply("and", halvings, number(1)), number(0))
        first = apply("select", odd, apply("sub", step, number(2)), apply("sub", step, number(1)))
        return (
            If(odd, self.turn_twice(step, mirrored=True)),
            If(even, self.turn(step, mirrored=True)),
            Let(ahead, first),
            For(pair, apply("shr", halvings, number(1)), Serial(), inner),
            *self.blocks(8, halves(8, 3)),
        )

    def turn(
        self, shift: Expr, mirrored: bool = False, first: Expr | None = None
    ) -> tuple[Stmt, ...]:
        """Exchanges of the halves of groups of twice two to the power `shift`, from group `first`.

        The first half is met in order, or `mirrored`, from its end; the second as far as it goes.
        """
        one = number(1)
        distance, middle = Var("distance", int64), Var("middle", int64)
        group, place = Var("group", int64), Var("place", int64)
        half = apply("shl", one, shift)
        # All groups whose second half has an element.
        groups = apply("shr", apply("add", number(self.padded - 1), half), apply("add", shift, one))
        at: Expr = group
        if first is not None:
            groups, at = apply("sub", groups, first), apply("add", first, group)
        start = apply("shl", at, apply("add", shift, one))
        front = apply("sub", middle, one) if mirrored else apply("sub", middle, distance)
        low = apply("sub" if mirrored else "add", front, place)
        left = apply("sub", number(self.padded), middle)
        exchange = self.exchanged(((0, 1),), (low, apply("add", middle, place)))
        body = (
            Let(distance, half),
            Let(middle, apply("add", start, distance)),
            For(place, apply("minimum", distance, left), AnyOrder(), (exchange,)),
        )
        return (For(group, groups, AnyOrder(), body),)

    def turn_twice(self, shift: Expr, mirrored: bool = False) -> tuple[Stmt, ...]:
        """The exchanges of groups, then those of their halves, in one pass over whole groups."""
        one = number(1)
        quarter, start = Var("quarter", int64), Var("start", int64)
        group, place, whole = Var("group", int64), Var("place", int64), Var("whole", int64)
        size = apply("add", shift, one)
        below = apply("sub", shift, one)
        first = apply("add", start, place)
        second = apply("add", first, quarter)
        if mirrored:
            last = apply("sub", apply("add", start, apply("shl", one, size)), one)
            fourth = apply("sub", last, place)
            third = apply("sub", fourth, quarter)
            pairs = ((0, 3), (1, 2), (0, 1), (2, 3))
        else:
            third = apply("add", second, quarter)
            fourth = apply("add", third, quarter)
            pairs = ((0, 2), (1, 3), (0, 1), (2, 3))
        body = (
            Let(quarter, apply("shl", one, below)),
            Let(start, apply("shl", group, size)),
            For(
                place,
                quarter,
                AnyOrder(),
                (self.exchanged(pairs, (first, second, third, fourth)),),
            ),
        )
        return (
            Let(whole, apply("shr", number(self.padded), size)),
            For(group, whole, AnyOrder(), body),
            *self.turn(shift, mirrored, whole),
            *self.turn(below, first=apply("add", whole, whole)),
        )

    def exchanged(self, pairs: Sequence[tuple[int, int]], places: Sequence[Expr]) -> For:
        """Of each pair of elements the smaller one to the front, one pair after the other."""
        lane = Var("lane", int64, TOGETHER)
        values = [Var(f"e{i}", self.keys.dtype) for i in range(len(places))]
        body: list[Stmt] = [
            Let(value, Load(self.keys, (*self.front, place, lane)))
            for value, place in zip(values, places, strict=True)
        ]
        now: list[Expr] = list(values)
        for a, b in pairs:
            less, more = apply("minimum", now[a], now[b]), apply("maximum", now[a], now[b])
            now[a], now[b] = less, more
        body += [
            Store(self.keys, (*self.front, place, lane), value)
            for value, place in zip(now, places, strict=True)
        ]
        return For(lane, TOGETHER, AnyOrder(), tuple(body))
