"""Running sums, products and extremes on a GPU: a block scans a piece, through shared memory.

What a serial loop carries is combined by an operation whose order may change; long scans are cut
into pieces whose totals a launch in between scans. The order depends on extents alone. Holds the
choice of when that pays; knows no launches.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical
from ..dtypes import DType
from ..expr import Buffer, Expr, Load, Var, index, walk
from ..kernel import (
    Alloc,
    Any,
    Dealt,
    For,
    Grid,
    If,
    Kernel,
    Let,
    Monoid,
    Serial,
    Stmt,
    Store,
    Sync,
    Team,
    Tree,
)
from ..records import dataclass
from ..scalar import apply
from ..scans import Scan, scan_of
from .gpu_rewrite import flattened, independent_loops, own_variables
from .rewrite import substitute

__all__ = ["map_scan", "split_scan"]

THREADS = 256
EACH = 8
"""Elements of a thread."""
GROUP = 16
"""Threads whose totals one thread scans."""
LEAST = 128
"""A scan of fewer elements is the work of one thread."""

_MONOIDS = {
    "add": Monoid.SUM,
    "mul": Monoid.PROD,
    "maximum": Monoid.MAX,
    "minimum": Monoid.MIN,
}

Temporary = Callable[[str, DType, Sequence[int]], Buffer]


@final
@dataclass(frozen=True)
class _Scan:
    """``for k serial carry (a = start) { total = op(a, value)  ...  next total }`` in loops."""

    rows: tuple[For, ...]
    before: tuple[Stmt, ...]
    loop: For
    found: Scan

    @property
    def value(self) -> Expr:
        return self.found.value

    @property
    def carried(self) -> Var:
        return self.found.carried

    @property
    def start(self) -> Expr:
        return self.loop.carry[0][1]

    def combined(self, a: Expr, b: Expr) -> Expr:
        return self.found.combined(a, b)

    def neutral(self) -> Expr:
        return self.found.neutral()


def _match(body: Sequence[Stmt]) -> _Scan | None:
    *outside, top = body
    if not isinstance(top, For) or any(not isinstance(s, (Let, Store)) for s in outside):
        return None
    if isinstance(top.order, Any) and not any(isinstance(s, Store) for s in outside):
        rows, lets = independent_loops(top)
        *before, last = rows[-1].body
        before = [*outside, *lets, *before]
    else:
        rows, before, last = [], outside, top
    if not isinstance(last, For) or any(not isinstance(s, (Let, Store)) for s in before):
        return None
    found = scan_of(last)
    if found is None or found.op not in _MONOIDS:
        return None
    return _Scan(tuple(rows), tuple(before), last, found)


def split_scan(body: Sequence[Stmt], temporary: Temporary) -> list[tuple[Stmt, ...]] | None:
    """The bodies of launches for a long scan, or None if this is none.

    The first ones total the pieces and scan the totals; the last one has a scan for each piece.
    """
    scan = _match(body)
    if scan is None or not all(isinstance(f.extent, int) for f in (*scan.rows, scan.loop)):
        return None
    length, piece = scan.loop.extent, THREADS * EACH
    assert isinstance(length, int)
    count = -(-length // piece)
    if count == 1:
        return None
    shape = [f.extent for f in scan.rows if isinstance(f.extent, int)]
    at = tuple(f.var for f in scan.rows)
    totals = temporary("totals", scan.carried.dtype, (*shape, count - 1))
    starts = temporary("starts", scan.carried.dtype, (*shape, count))
    lets = tuple(s for s in scan.before if isinstance(s, Let))
    begun = _around(scan.rows, (*scan.before, *_started(scan, totals, starts, at, count)))
    return [
        _around(scan.rows, _totalled(scan, lets, totals, at, count - 1, piece)),
        *(split_scan(begun, temporary) or [begun]),
        _around(scan.rows, (_scanned(scan, lets, starts, at, count, piece),)),
    ]


def _around(rows: Sequence[For], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for f in reversed(rows):
        body = (replace(f, body=body),)
    return body


def _needed(scan: _Scan) -> tuple[Stmt, ...]:
    """The lets of the loop that its value needs."""
    used = {e for e in walk(scan.value) if isinstance(e, Var)}
    needed: list[Stmt] = []
    for s in reversed(scan.loop.body):
        if isinstance(s, Let) and s.var in used:
            needed.append(s)
            used |= {e for e in walk(s.value) if isinstance(e, Var)}
    return tuple(reversed(needed))


def _totalled(
    scan: _Scan,
    lets: Sequence[Stmt],
    totals: Buffer,
    at: Sequence[Expr],
    count: int,
    piece: int,
) -> tuple[Stmt, ...]:
    number, own = Var("piece", extent=count), Var(scan.loop.var.name, extent=piece)
    place = canonical(apply("add", apply("mul", number, index(piece)), own))
    total = Var(scan.carried.name, scan.carried.dtype)
    tree = For(
        own,
        piece,
        Tree((_MONOIDS[scan.found.op],)),
        _needed(scan),
        ((total, scan.neutral()),),
        (scan.value,),
    )
    (tree,) = substitute((tree,), {scan.loop.var: place})  # type: ignore[assignment]
    body = (*lets, tree, Store(totals, (*at, number), total))
    return (For(number, count, Any(), own_variables(body)),)


def _started(
    scan: _Scan, totals: Buffer, starts: Buffer, at: Sequence[Expr], count: int
) -> tuple[Stmt, ...]:
    """What each piece starts from: a scan too."""
    number = Var("piece", extent=count - 1)
    carried, total = scan.carried, Var("total", scan.carried.dtype)
    body = (
        Let(total, scan.combined(carried, Load(totals, (*at, number)))),
        Store(starts, (*at, canonical(apply("add", number, index(1)))), total),
    )
    loop = For(number, count - 1, Serial(), body, ((carried, scan.start),), (total,))
    return Store(starts, (*at, index(0)), scan.start), loop


def _scanned(
    scan: _Scan,
    lets: Sequence[Stmt],
    starts: Buffer,
    at: Sequence[Expr],
    count: int,
    piece: int,
) -> Stmt:
    number, own = Var("piece", extent=count), Var(scan.loop.var.name, extent=piece)
    length = scan.loop.extent
    assert isinstance(length, int)
    begin = canonical(apply("mul", number, index(piece)))
    extent: Expr | int = piece
    if length % piece:
        extent = apply("minimum", index(piece), apply("sub", index(length), begin))
    body = substitute(scan.loop.body, {scan.loop.var: canonical(apply("add", begin, own))})
    carry = ((scan.carried, Load(starts, (*at, number))),)
    loop = replace(scan.loop, var=own, extent=extent, body=body, carry=carry)
    return For(number, count, Any(), (*lets, loop))


# --- a block for each scan -----------------------------------------------------------------------


def map_scan(kernel: Kernel) -> Kernel | None:
    """The mapped form of a kernel that is scans of at most a piece each; None for others."""
    scan = _match(kernel.body) if kernel.body else None
    if scan is None or not all(isinstance(f.extent, int) for f in scan.rows):
        return None
    most = _most(scan.loop)
    if most is None or not LEAST <= most <= THREADS * EACH:
        return None
    shape = [f.extent for f in scan.rows if isinstance(f.extent, int)]
    item = Var("item", extent=math.prod(shape))
    values = flattened(item, scan.rows) if scan.rows else {}
    threads = max(64, 1 << (-(-most // EACH) - 1).bit_length())
    body = (*scan.before, *_block(scan, threads))
    inside = substitute(own_variables(body), values)
    grid = Grid(threads, Team.BLOCK)
    loop = For(item, math.prod(shape), Any(), inside, mapping=grid)
    return replace(kernel, body=(loop,), finish=())


def _most(loop: For) -> int | None:
    """The largest number of iterations."""
    extent = loop.extent
    if isinstance(extent, int):
        return extent
    return loop.var.extent if isinstance(loop.var.extent, int) else None


def _block(scan: _Scan, threads: int) -> list[Stmt]:
    dtype, size = scan.carried.dtype, threads * EACH
    groups = threads // GROUP
    # A column more, so that threads whose elements lie side by side use other banks.
    tile = Buffer("tile", dtype, (threads, EACH + 1), space="shared")
    sums = Buffer("sums", dtype, (threads,), space="shared")
    group_sums = Buffer("group_sums", dtype, (groups,), space="shared")
    bases = Buffer("bases", dtype, (groups,), space="shared")
    return [
        *(Alloc(b) for b in (tile, sums, group_sums, bases)),
        _loaded(scan, tile, size),
        Sync(),
        _threads_scan(scan, tile, sums, threads),
        Sync(),
        _groups_scan(scan, sums, group_sums, groups),
        Sync(),
        _bases(scan, group_sums, bases, groups),
        Sync(),
        _stored(scan, (tile, sums, bases), size),
    ]


def _length(scan: _Scan) -> Expr:
    extent = scan.loop.extent
    return index(extent) if isinstance(extent, int) else extent


def _place(e: Expr) -> tuple[Expr, Expr]:
    return canonical(apply("divtrunc", e, index(EACH))), canonical(
        apply("remtrunc", e, index(EACH))
    )


def _loaded(scan: _Scan, tile: Buffer, size: int) -> Stmt:
    """The values of a piece into shared memory; what combines with nothing beyond its end."""
    e, length = Var("e", extent=size), _length(scan)
    at = apply("minimum", e, apply("sub", length, index(1)))
    inside = substitute((*_needed(scan), Store(tile, _place(e), scan.value)), {scan.loop.var: at})
    *lets, store = own_variables(inside)
    assert isinstance(store, Store)
    value = apply("select", apply("lt", e, length), store.value, scan.neutral())
    body = (*lets, replace(store, value=value))
    return For(e, size, Any(), body, mapping=Dealt(Team.BLOCK, 1, min(4, EACH)))


def _threads_scan(scan: _Scan, tile: Buffer, sums: Buffer, threads: int) -> Stmt:
    t, e = Var("thread", extent=threads), Var("e", extent=EACH)
    a, total = Var("a", scan.carried.dtype), Var("total", scan.carried.dtype)
    steps = For(
        e,
        EACH,
        Serial(),
        (Let(total, scan.combined(a, Load(tile, (t, e)))), Store(tile, (t, e), total)),
        ((a, scan.neutral()),),
        (total,),
    )
    return For(t, threads, Any(), (steps, Store(sums, (t,), a)), mapping=Dealt(Team.BLOCK))


def _groups_scan(scan: _Scan, sums: Buffer, group_sums: Buffer, groups: int) -> Stmt:
    """What each thread of a group starts from, in the place of its total."""
    g, u = Var("group", extent=groups), Var("u", extent=GROUP)
    a, mine = Var("a", scan.carried.dtype), Var("mine", scan.carried.dtype)
    at = (canonical(apply("add", apply("mul", g, index(GROUP)), u)),)
    steps = For(
        u,
        GROUP,
        Serial(),
        (Let(mine, Load(sums, at)), Store(sums, at, a)),
        ((a, scan.neutral()),),
        (scan.combined(a, mine),),
    )
    return For(g, groups, Any(), (steps, Store(group_sums, (g,), a)), mapping=Dealt(Team.BLOCK))


def _bases(scan: _Scan, group_sums: Buffer, bases: Buffer, groups: int) -> Stmt:
    """What each group starts from."""
    g, other = Var("group", extent=groups), Var("other")
    a = Var("a", scan.carried.dtype)
    following = scan.combined(a, Load(group_sums, (other,)))
    steps = For(other, g, Serial(), (), ((a, scan.start),), (following,))
    return For(g, groups, Any(), (steps, Store(bases, (g,), a)), mapping=Dealt(Team.BLOCK))


def _stored(scan: _Scan, memory: tuple[Buffer, Buffer, Buffer], size: int) -> Stmt:
    """What the loop does with each running value."""
    tile, sums, bases = memory
    e = Var("e", extent=size)
    thread, _ = _place(e)
    group = canonical(apply("divtrunc", e, index(EACH * GROUP)))
    base = scan.combined(Load(bases, (group,)), Load(sums, (thread,)))
    running = scan.combined(base, Load(tile, _place(e)))
    body = tuple(Let(s.var, running) if s is scan.found.step else s for s in scan.loop.body)
    inside = own_variables(substitute(body, {scan.loop.var: e}))
    guarded = If(apply("lt", e, _length(scan)), inside)
    return For(e, size, Any(), (guarded,), mapping=Dealt(Team.BLOCK))
