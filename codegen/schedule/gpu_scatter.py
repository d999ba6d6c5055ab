"""Additions to places that values choose, on a GPU: each place by whoever comes to it first.

Of iterations that add to the same place the first one walks over all of them, in their order: sums
have the bits of one iteration after the other, and nothing is added by atomics. Knows no machine.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..dtypes import DType, int64
from ..expr import Buffer, Expr, Load, Var, index, walk
from ..kernel import Any, For, Let, Monoid, Serial, Stmt, Store, Tree, nested
from ..scalar import apply
from .gpu_rewrite import own_variables, spelled
from .rewrite import depends_on, expressions, replaced, substitute

__all__ = ["walks_by_place"]

LEAST = 64
"""Iterations from which on more than one thread is worth it."""
MOST = 1 << 15
"""Every iteration is compared with every other one: beyond so many that takes too long."""

Temporary = Callable[[str, DType, Sequence[int]], Buffer]


def walks_by_place(loop: For, temporary: Temporary) -> tuple[For, For] | None:
    """Two loops of independent iterations for one in order that adds to places, or None.

    Parameters
    ----------
    loop : For
        ``for i serial { .. for c any { y[place(i), c] += value(i, c) } }``, with any number of
        loops like the inner one.
    temporary : callable
        Makes a buffer that lives from launch to launch, of a name, a dtype and a shape.
    """
    found = _match(loop)
    if found is None:
        return None
    count = loop.extent
    assert isinstance(count, int)
    links = temporary("links", int64, (count,))
    trips = temporary("trips", int64, (count,))
    return _linked(loop, found, links, trips), _walked(loop, links, trips)


def _match(loop: For) -> tuple[Expr, ...] | None:
    """The place of an iteration, in terms of its variable alone; None if this is no such loop."""
    count = loop.extent
    if not isinstance(loop.order, Serial) or loop.carry or not isinstance(count, int):
        return None
    if not LEAST <= count <= MOST:
        return None
    inside, lets, own = _inside(loop)
    if not isinstance(inside, Store) or inside.monoid is None:
        return None
    if any(
        isinstance(e, Load) and e.buffer is inside.buffer
        for s in nested(loop.body)
        for root in expressions(s)
        for e in walk(root)
    ):
        return None
    free = [i for i in inside.indices if i in own]
    place = [i for i in inside.indices if i not in own]
    if len(free) != len(own) or any(depends_on(p, v, lets) for p in place for v in own):
        return None
    if not any(depends_on(p, loop.var, lets) for p in place):
        return None
    return tuple(spelled(p, lets) for p in place)


def _inside(loop: For) -> tuple[Stmt | None, dict[Var, Expr], list[Var]]:
    """What the innermost loop does, the lets on the way there, and the variables of the loops."""
    lets: dict[Var, Expr] = {}
    own: list[Var] = []
    level = loop
    while True:
        rest = [s for s in level.body if not isinstance(s, Let)]
        lets |= {s.var: s.value for s in level.body if isinstance(s, Let)}
        if len(rest) != 1:
            return None, lets, own
        (only,) = rest
        if not isinstance(only, For):
            return only, lets, own
        if not isinstance(only.order, Any) or only.carry:
            return None, lets, own
        own.append(only.var)
        level = only


def _linked(loop: For, place: Sequence[Expr], links: Buffer, trips: Buffer) -> For:
    """Of each iteration the next one at its place, and how many there are if it is the first."""
    count = loop.extent
    assert isinstance(count, int)
    i, j = Var("i", extent=count), Var("j", extent=count)
    mine = [Var("place") for _ in place]
    same: Expr | None = None
    for own, p in zip(mine, place, strict=True):
        equal = apply("eq", own, replaced(p, {loop.var: j}))
        same = equal if same is None else apply("and", same, equal)
    assert same is not None
    none, one, zero = index(count), index(1), index(0)
    following, first, total = Var("following"), Var("first"), Var("total")
    tree = For(
        j,
        count,
        Tree((Monoid.MIN, Monoid.MIN, Monoid.SUM)),
        (),
        ((following, none), (first, none), (total, zero)),
        (
            apply("select", apply("and", same, apply("gt", j, i)), j, none),
            apply("select", same, j, none),
            apply("select", same, one, zero),
        ),
    )
    known = [Let(v, replaced(p, {loop.var: i})) for v, p in zip(mine, place, strict=True)]
    walks = apply("select", apply("eq", first, i), total, zero)
    stores = (Store(links, (i,), following), Store(trips, (i,), walks))
    return For(i, count, Any(), (*known, tree, *stores))


def _walked(loop: For, links: Buffer, trips: Buffer) -> For:
    """The first iteration at each place does what all of them do, one after the other."""
    count = loop.extent
    assert isinstance(count, int)
    i, now, trip = Var("i", extent=count), Var("now"), Var("trip")
    body = substitute(own_variables(loop.body), {loop.var: now})
    walk_ = For(Var("step"), trip, Serial(), body, ((now, i),), (Load(links, (now,)),))
    return For(i, count, Any(), (Let(trip, Load(trips, (i,))), walk_))
