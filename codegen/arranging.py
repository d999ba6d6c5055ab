"""Sorting written out as loops, for targets that have no function for it: runs, then merged.

A row becomes sixteen runs beside each other. Element e of the result is at place e % L of lane
e // L, L being the length of a run. So merging exchanges whole vectors but for the exchanges of
lanes themselves, which are few. Knows no targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from .dtypes import int64
from .expr import Buffer, Const, Expr, Load, Var
from .expr import index as number
from .kernel import Alloc, Arrange, For, If, Kernel, Let, Serial, Stmt, Store
from .kernel import Any as AnyOrder
from .networks import NETWORKS, TOGETHER, Network, halves
from .scalar import apply

__all__ = ["without_arranging"]

_LEVELS = (TOGETHER - 1).bit_length()


@final
class _Runs:
    def __init__(self, statement: Arrange) -> None:
        self.given = statement.keys
        self.extent = statement.count
        self.odd, self.halvings = _run(-(-self.extent // TOGETHER))
        self.length = self.odd << self.halvings
        self.keys = Buffer("runs", self.given.dtype, (2, self.length, TOGETHER), space="row")

    def nest(self) -> tuple[Stmt, ...]:
        first, half = Network(self.keys, (number(0),)), Var("half", int64)
        level, after = Var("level", int64, _LEVELS), Var("after", int64)
        other = apply("sub", number(1), half)
        even = apply("eq", apply("and", level, number(1)), number(0))
        merges = [
            If(apply("eq", level, number(i)), self._exchange_lanes(i + 1, half))
            for i in range(_LEVELS)
        ]
        merge = For(
            level,
            _LEVELS,
            Serial(),
            (*merges, Let(after, apply("select", even, other, half)), *self._within(after)),
            ((half, number(0)),),
            (after,),
        )
        return (Alloc(self.keys), *self._fill(), *first.sorted(), merge, self._write(half))

    # --- in and out -------------------------------------------------------------------------------

    def _fill(self) -> tuple[Stmt, ...]:
        """The keys in the order of memory, which is as good as any; the largest behind them."""
        total = self.length * TOGETHER
        f, g = Var("f", int64, self.extent), Var("g", int64, total - self.extent)
        key = Load(self.given, (f,))
        fill = For(f, self.extent, AnyOrder(), (Store(self.keys, self._flat(f), key),))
        if total == self.extent:
            return (fill,)
        behind = self._flat(apply("add", g, number(self.extent)))
        largest = Store(self.keys, behind, Const(-1, self.given.dtype))
        return fill, For(g, total - self.extent, AnyOrder(), (largest,))

    def _flat(self, place: Expr) -> tuple[Expr, ...]:
        lanes = number(TOGETHER)
        return number(0), apply("divtrunc", place, lanes), apply("remtrunc", place, lanes)

    def _write(self, half: Var) -> For:
        """One run behind the other, without what fills the last ones."""
        e = Var("e", int64, self.extent)
        lane, i = (apply(op, e, number(self.length)) for op in ("divtrunc", "remtrunc"))
        store = Store(self.given, (e,), Load(self.keys, (half, i, lane)))
        return For(e, self.extent, AnyOrder(), (store,))

    # --- lanes with lanes -------------------------------------------------------------------------

    def _exchange_lanes(self, level: int, half: Expr) -> tuple[Stmt, ...]:
        """Runs of two to the power `level` lanes: mirrored halves of them, then halves of halves.

        Each pass reads one half of the buffer and writes the other.
        """
        other = apply("sub", number(1), half)
        result: list[Stmt] = [self._mirror(1 << level, half, other)]
        source, target = other, half
        for distance in (1 << d for d in range(level - 2, -1, -1)):
            result.append(self._swap(distance, source, target))
            source, target = target, source
        return tuple(result)

    def _mirror(self, group: int, source: Expr, target: Expr) -> For:
        """The places of a group of lanes, the front ones with the last ones."""
        i, lane = Var("m", int64, self.length // 2), Var("lane", int64, TOGETHER)
        last = apply("sub", number(self.length - 1), i)
        rest = apply("remtrunc", lane, number(group))
        start = apply("mul", apply("divtrunc", lane, number(group)), number(group))
        partner = apply("add", start, apply("sub", number(group - 1), rest))
        front = apply("lt", rest, number(group // 2))
        stores = []
        for here, there in ((i, last), (last, i)):
            own = Load(self.keys, (source, here, lane))
            met = Load(self.keys, (source, there, partner))
            stores.append(Store(self.keys, (target, here, lane), _smaller(front, own, met)))
        return For(i, self.length // 2, AnyOrder(), _in_lanes(lane, stores))

    def _swap(self, distance: int, source: Expr, target: Expr) -> For:
        """Lanes so far from each other, at the same place."""
        i, lane = Var("m", int64, self.length), Var("lane", int64, TOGETHER)
        one, two = number(distance), number(2 * distance)
        rest = apply("remtrunc", lane, two)
        front = apply("lt", rest, one)
        partner = _partner(lane, distance)
        own = Load(self.keys, (source, i, lane))
        met = Load(self.keys, (source, i, partner))
        store = Store(self.keys, (target, i, lane), _smaller(front, own, met))
        return For(i, self.length, AnyOrder(), _in_lanes(lane, [store]))

    # --- places with places -----------------------------------------------------------------------

    def _within(self, half: Expr) -> tuple[Stmt, ...]:
        """Lanes that rise and then fall, or fall and rise, into order: halves of halves, two
        halvings in one pass; what is left is sorted in registers."""
        network = Network(self.keys, (half,))
        last = min(3 if self.odd == 1 else 1, self.halvings)
        size = self.odd << last
        result: list[Stmt] = []
        rest = self.halvings - last
        if rest // 2:
            result.append(self._quarters(network, rest // 2))
        if rest % 2:
            result += self._halves(network, size)
        pairs = list(halves(size, last))
        for start in range(0, size, self.odd):
            pairs += [(start + a, start + b) for a, b in NETWORKS[self.odd]]
        return *result, *network.blocks(size, tuple(pairs))

    def _quarters(self, network: Network, count: int) -> For:
        """Two halvings at a time, from the whole run on."""
        turn, group, place = Var("turn", int64, count), Var("group", int64), Var("place", int64)
        quarter, start, shift = (Var(name, int64) for name in ("quarter", "start", "shift"))
        first = apply("add", start, place)
        places = [first]
        for _ in range(3):
            places.append(apply("add", places[-1], quarter))
        exchange = network.exchanged(((0, 2), (1, 3), (0, 1), (2, 3)), places)
        inner = (
            Let(start, apply("mul", group, apply("mul", quarter, number(4)))),
            For(place, quarter, AnyOrder(), (exchange,)),
        )
        groups = apply("shl", number(1), shift)
        size = apply("shr", number(self.length // 4), shift)
        body = (
            Let(shift, apply("mul", turn, number(2))),
            Let(quarter, size),
            For(group, groups, AnyOrder(), inner),
        )
        return For(turn, count, Serial(), body)

    def _halves(self, network: Network, distance: int) -> tuple[Stmt, ...]:
        """Groups of twice so many places, the first half with the second."""
        group, place = Var("group", int64, self.length // (2 * distance)), Var("place", int64)
        first = apply("add", apply("mul", group, number(2 * distance)), place)
        second = apply("add", first, number(distance))
        inner = For(place, distance, AnyOrder(), (network.exchanged(((0, 1),), (first, second)),))
        return (For(group, self.length // (2 * distance), AnyOrder(), (inner,)),)


def _partner(lane: Var, distance: int) -> Expr:
    """The lane so far away in the other half of a group of twice as many."""
    # lane + d - 2 d (lane // d) + 4 d (lane // 2 d): every second time it is minus the distance.
    whole = apply("mul", apply("divtrunc", lane, number(distance)), number(2 * distance))
    twice = apply("divtrunc", lane, number(2 * distance))
    ahead = apply("add", lane, number(distance))
    return apply("add", apply("sub", ahead, whole), apply("mul", twice, number(4 * distance)))


def _smaller(front: Expr, own: Expr, met: Expr) -> Expr:
    """The smaller of two where the condition holds, and the larger elsewhere."""
    return apply("select", front, apply("minimum", own, met), apply("maximum", own, met))


def _in_lanes(lane: Var, body: Sequence[Stmt]) -> tuple[Stmt, ...]:
    return (For(lane, TOGETHER, AnyOrder(), tuple(body)),)


def _run(least: int) -> tuple[int, int]:
    """The shortest run of at least so many places: an odd number that a network sorts, and how
    often it is doubled."""
    found = []
    for odd in (1, 3, 5):
        # Eight places are merged in registers.
        halvings = max(3, (-(-least // odd) - 1).bit_length())
        found.append((odd << halvings, odd, halvings))
    _, odd, halvings = min(found)
    return odd, halvings


def without_arranging(kernel: Kernel, pays: Callable[[Arrange], bool] = lambda s: True) -> Kernel:
    """A logical kernel with loops in the place of every `arrange`, or where it pays."""
    return replace(kernel, body=_written(kernel.body, pays))


def _written(statements: Sequence[Stmt], pays: Callable[[Arrange], bool]) -> tuple[Stmt, ...]:
    result: list[Stmt] = []
    for s in statements:
        if isinstance(s, Arrange) and pays(s):
            result += _Runs(s).nest()
        elif isinstance(s, For):
            result.append(replace(s, body=_written(s.body, pays)))
        elif isinstance(s, If):
            result.append(replace(s, then=_written(s.then, pays)))
        else:
            result.append(s)
    return tuple(result)
