"""Monoids in registers: identities, combination, and the tree over lanes.

Knows instructions; knows no loops and no buffers.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType, bool_
from ..kernel import Monoid
from .llvm_builder import Builder, Value
from .llvm_scalar import Site, compare, larger

__all__ = ["across_lanes", "combine", "first_of", "identity", "pairwise", "split"]

State = tuple[str, ...]


def split(monoids: Sequence[Monoid]) -> list[tuple[Monoid, int]]:
    """Each monoid with the position of its first carried variable."""
    result = []
    position = 0
    for monoid in monoids:
        result.append((monoid, position))
        position += monoid.width
    return result


def identity(monoid: Monoid, dtype: DType) -> float | int | bool:
    """The value that changes nothing; float sums start from -0.0, which adds to no other zero."""
    if monoid is Monoid.SUM:
        return -0.0 if dtype.is_float else 0
    if monoid is Monoid.PROD:
        return 1
    if monoid is Monoid.AND:
        return True if dtype is bool_ else -1
    if monoid is Monoid.OR:
        return False if dtype is bool_ else 0
    if monoid in (Monoid.MAX, Monoid.ARGMAX):
        value: float | int | bool = dtype.lowest
        return value
    value = dtype.highest
    return value


def combine(
    site: Site,
    monoid: Monoid,
    dtypes: Sequence[DType],
    a: State,
    b: State,
    ordered: bool = False,
) -> State:
    """`a` then `b`; `ordered` says that every index of `a` comes before those of `b`."""
    if monoid in (Monoid.ARGMAX, Monoid.ARGMIN):
        return _combine_indexed(site, monoid, dtypes, a, b, ordered)
    (dtype,) = dtypes
    kind = site.type(dtype)
    x, y = a[0], b[0]
    if monoid in (Monoid.MAX, Monoid.MIN):
        return (larger(site, dtype, x, y, monoid is Monoid.MIN),)
    if monoid in (Monoid.AND, Monoid.OR):
        return (site.emit(f"{monoid.value} {kind} {x}, {y}"),)
    name = "add" if monoid is Monoid.SUM else "mul"
    if dtype is bool_:
        return (site.emit(f"{'or' if name == 'add' else 'and'} {kind} {x}, {y}"),)
    prefix = "f" if dtype.is_float else ""
    return (site.emit(f"{prefix}{name} {kind} {x}, {y}"),)


def _combine_indexed(
    site: Site, monoid: Monoid, dtypes: Sequence[DType], a: State, b: State, ordered: bool
) -> State:
    """The better value with its index; of equal values (or NaNs) the one with the lower index."""
    dtype, place = dtypes
    name = "gt" if monoid is Monoid.ARGMAX else "lt"
    kind, bit = site.type(dtype), site.type(bool_)
    if dtype is bool_:
        flipped = a[0] if name == "gt" else b[0]
        other = b[0] if name == "gt" else a[0]
        opposite = site.emit(f"xor {bit} {flipped}, {site.number(1, bool_)}")
        better = site.emit(f"and {bit} {other}, {opposite}")
    elif dtype.is_float:
        first = site.emit(f"fcmp u{name} {kind} {b[0]}, {a[0]}")
        number = site.emit(f"fcmp ord {kind} {a[0]}, {a[0]}")
        better = site.emit(f"and {bit} {first}, {number}")
    else:
        better = compare(site, name, dtype, b[0], a[0])
    if not ordered:
        equal = _tie(site, dtype, a[0], b[0])
        lower = site.emit(f"icmp slt {site.type(place)} {b[1]}, {a[1]}")
        tie = site.emit(f"and {bit} {equal}, {lower}")
        better = site.emit(f"or {bit} {better}, {tie}")
    return (site.select(better, dtype, b[0], a[0]), site.select(better, place, b[1], a[1]))


def _tie(site: Site, dtype: DType, a: str, b: str) -> str:
    equal = compare(site, "eq", dtype, a, b)
    if not dtype.is_float:
        return equal
    kind, bit = site.type(dtype), site.type(bool_)
    missing = [site.emit(f"fcmp uno {kind} {x}, {x}") for x in (a, b)]
    both = site.emit(f"and {bit} {missing[0]}, {missing[1]}")
    return site.emit(f"or {bit} {equal}, {both}")


def pairwise(site: Site, monoid: Monoid, dtypes: Sequence[DType], states: Sequence[State]) -> State:
    """Accumulators combined in a fixed tree: neighbours first."""
    level = list(states)
    while len(level) > 1:
        pairs = [
            combine(site, monoid, dtypes, level[i], level[i + 1])
            for i in range(0, len(level) - 1, 2)
        ]
        level = pairs + level[len(level) - len(level) % 2 :]
    return level[0]


def first_of(
    builder: Builder, monoid: Monoid, dtypes: Sequence[DType], lanes: int, states: Sequence[State]
) -> State:
    """The extreme value in all lanes of all states, and the lowest index that has it.

    First the value and then its index: pairs would wait for two comparisons at each step.
    """
    dtype, place = dtypes
    site = Site(builder, lanes, builder.depth)
    extreme = Monoid.MAX if monoid is Monoid.ARGMAX else Monoid.MIN
    best = pairwise(site, extreme, (dtype,), [state[:1] for state in states])
    (value,) = across_lanes(builder, extreme, (dtype,), lanes, best)
    everywhere = builder.operand(Value(value, dtype, 0, builder.depth), lanes)
    none = site.number(place.highest, place)
    found: list[State] = []
    for own, index in states:
        hit = compare(site, "eq", dtype, own, everywhere)
        if dtype.is_float:  # a NaN is the extreme where there is one
            missing = site.emit(f"fcmp uno {site.type(dtype)} {own}, {own}")
            hit = site.emit(f"or {site.type(bool_)} {hit}, {missing}")
        found.append((site.select(hit, place, index, none),))
    least = pairwise(site, Monoid.MIN, (place,), found)
    return (value, *across_lanes(builder, Monoid.MIN, (place,), lanes, least))


def across_lanes(
    builder: Builder, monoid: Monoid, dtypes: Sequence[DType], lanes: int, state: State
) -> State:
    """The lanes of one vector combined: upper half with lower half, until one is left."""
    while lanes > 1:
        half = lanes // 2
        low: list[str] = []
        high: list[str] = []
        for kind, text in zip(dtypes, state, strict=True):
            vector = builder.type_of(kind, lanes)
            for part, first in ((low, 0), (high, half)):
                order = ", ".join(f"i32 {first + i}" for i in range(half))
                part.append(
                    builder.emit(
                        f"shufflevector {vector} {text}, {vector} poison, <{half} x i32> <{order}>"
                    )
                )
        site = Site(builder, half, builder.depth)
        state = combine(site, monoid, dtypes, tuple(low), tuple(high))
        lanes = half
    return tuple(
        builder.emit(f"extractelement {builder.type_of(kind, 1)} {text}, i64 0")
        for kind, text in zip(dtypes, state, strict=True)
    )
