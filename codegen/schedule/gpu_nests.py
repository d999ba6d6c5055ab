"""The schedule of one launch: which team runs an iteration, and what its threads share.

Holds the heuristics; the rows of a team are written in `gpu_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from ..affine import canonical, linear
from ..expr import Buffer, Const, Expr, Var, index
from ..kernel import (
    Alloc,
    Any,
    For,
    Grid,
    If,
    Kernel,
    Let,
    Serial,
    Stmt,
    Store,
    Team,
    Vector,
    nested,
)
from ..scalar import apply
from .gpu_columns import column_blocks
from .gpu_interchange import columns_outside
from .gpu_rewrite import (
    as_expr,
    flattened,
    independent_loops,
    own_variables,
    rebuffered,
    total_of,
)
from .gpu_rows import deal_rows, lanes_of
from .rewrite import each_access, stride_of, substitute

__all__ = ["map_nest"]

THREADS = 256
FLIGHT = 2
"""Vectors of each array that a thread has in flight."""
SHORT = 16
"""A loop of fewer iterations is no work for a team."""
WARP_ROW = 1024
"""Rows of so many elements are the work of a warp, longer ones of a block."""
WARP_ELEMENTS = 128
"""Elements of all arrays of a row that a thread of a warp may have."""
BLOCKS = 528
"""Blocks where each has memory of its own in the workspace."""
REGISTERS = 32
"""Elements of a private array that may become registers."""


def map_nest(kernel: Kernel, size: int) -> Kernel:
    """A logical kernel with one loop around everything, or none, for the teams of a GPU."""
    *before, last = kernel.body
    light = all(isinstance(s, Let) for s in before)
    if not isinstance(last, For) or not light or not isinstance(last.order, (Any, Serial)):
        return _together(kernel, before, last, size)
    top = _interchanged(last) if isinstance(last.order, Serial) else columns_outside(last)
    if not isinstance(top.order, Any):
        return _together(kernel, before, last, size)
    chain, lets = independent_loops(top)
    body = (*lets, *chain[-1].body)
    body = tuple(dict.fromkeys(body))
    inner = [s for s in nested(body) if isinstance(s, For)]
    if not inner:
        return _elementwise(kernel, before, chain, body, size)
    trip = _longest(body, size)
    accesses = {s.var: s.value for s in nested(kernel.body) if isinstance(s, Let)}
    across = _across(chain[-1], body, accesses)
    columns = column_blocks(kernel, before, chain, body, size) if across else None
    if columns is not None:
        return columns
    teams = trip >= SHORT and not across and _can_deal(body)
    if not teams:
        return _single_threads(kernel, before, chain, body)
    return _rows(kernel, before, chain, body, trip, size)


def _with(kernel: Kernel, before: Sequence[Stmt], loop: For) -> Kernel:
    return replace(kernel, body=(*before, loop), finish=())


# --- which loops ---------------------------------------------------------------------------------


def _interchanged(top: For) -> For:
    """A serial loop around independent iterations, each of which writes places of its own.

    ``for i serial { for c any { y[.., c] ... } }`` may run its iterations of c in any order.
    """
    chain = [top]
    lets: list[Stmt] = []
    while True:
        inside = [s for s in chain[-1].body if not isinstance(s, Let)]
        only = inside[0] if len(inside) == 1 else None
        if not isinstance(only, For) or only.carry or chain[-1].carry:
            return top
        lets += [s for s in chain[-1].body if isinstance(s, Let)]
        chain.append(only)
        if isinstance(only.order, Any):
            break
        if not isinstance(only.order, Serial):
            return top
    free = [chain[-1]]
    while True:
        inside = [s for s in free[-1].body if not isinstance(s, Let)]
        only = inside[0] if len(inside) == 1 else None
        if not isinstance(only, For) or not isinstance(only.order, Any):
            break
        lets += [s for s in free[-1].body if isinstance(s, Let)]
        free.append(only)
    body = free[-1].body
    if any(
        not _apart(f.var, top) or (isinstance(f.extent, Expr) and not isinstance(f.extent, Var))
        for f in free
    ):
        return top
    order = [s for f in (*chain[:-1], *free[:-1]) for s in f.body if isinstance(s, Let)]
    inner: tuple[Stmt, ...] = (*order, *body)
    for f in reversed(chain[:-1]):
        lets_of = tuple(s for s in inner) if f is chain[-2] else inner
        inner = (replace(f, body=lets_of),)
    result = inner
    for f in reversed(free):
        result = (replace(f, body=result),)
    (loop,) = result
    assert isinstance(loop, For)
    return loop


def _apart(var: Var, top: For) -> bool:
    """Whether iterations of `var` touch, of what is written, only places of their own."""
    written = {s.buffer for s in nested(top.body) if isinstance(s, Store)}
    axes: dict[Buffer, set[int]] = {}

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        if buffer in written:
            own = {n for n, i in enumerate(indices) if i is var}
            axes[buffer] = axes.get(buffer, own) & own

    each_access((top,), visit)
    return all(axes.values())


def _longest(body: Sequence[Stmt], size: int) -> int:
    """The iterations of the largest loop that could be dealt to a team."""
    result = 0
    for s in body:
        if isinstance(s, For):
            trip = s.extent if isinstance(s.extent, int) else size
            inside = _longest(s.body, size)
            if isinstance(s.order, Serial):
                result = max(result, inside)
            elif isinstance(s.order, Any) or not s.body:
                result = max(result, trip * max(1, inside if _perfect(s) else 1))
            else:
                result = max(result, trip, inside)
    return result


def _perfect(s: For) -> bool:
    loops = [x for x in s.body if not isinstance(x, Let)]
    return len(loops) == 1 and isinstance(loops[0], For) and loops[0].order == s.order


def _can_deal(body: Sequence[Stmt]) -> bool:
    """Whether a loop that is no scan lies in the body itself."""
    return any(isinstance(s, For) and not isinstance(s.order, Serial) for s in nested(body))


def _across(last: For, body: Sequence[Stmt], lets: dict[Var, Expr]) -> bool:
    """Whether memory runs along `last` rather than along the loops in it."""
    across = along = 0
    inner = [s for s in nested(body) if isinstance(s, For)]
    deepest = [f for f in inner if not any(isinstance(s, For) for s in f.body)]

    def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        nonlocal across, along
        if buffer.space == "param":
            across += stride_of(buffer, indices, last.var, lets) == 1
            along += any(stride_of(buffer, indices, f.var, lets) == 1 for f in deepest)

    each_access(inner, visit)
    return across > along


# --- elementwise ---------------------------------------------------------------------------------


def _elementwise(
    kernel: Kernel, before: Sequence[Stmt], chain: list[For], body: tuple[Stmt, ...], size: int
) -> Kernel:
    lets = {s.var: s.value for s in body if isinstance(s, Let)}
    chain = _contiguous_last(chain, body, lets)
    inner = chain[-1]
    lanes = lanes_of((replace(inner, body=body),), kernel)
    block = THREADS * lanes * FLIGHT
    trip = inner.extent if isinstance(inner.extent, int) else size
    if trip >= block // FLIGHT:
        return _blocks(kernel, before, chain, body, lanes)
    if lanes == 1 or not isinstance(inner.extent, int) or inner.extent % lanes:
        return _single_threads(kernel, before, chain, body)
    vector, lane = Var("v", extent=inner.extent // lanes), Var("lane", extent=lanes)
    groups = replace(inner, var=vector, extent=inner.extent // lanes)
    at = apply("add", apply("mul", vector, index(lanes)), lane)
    inside = substitute(body, {inner.var: at})
    loop = For(lane, lanes, Any(), inside, mapping=Vector(lanes, 1))
    return _single_threads(kernel, before, [*chain[:-1], groups], (loop,))


def _contiguous_last(chain: list[For], body: Sequence[Stmt], lets: dict[Var, Expr]) -> list[For]:
    """The loops with the one last along which most memory runs."""

    def score(f: For) -> int:
        total = 0

        def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
            nonlocal total
            if stride_of(buffer, indices, f.var, lets) == 1:
                total += 3 if is_store else 2

        each_access(body, visit)
        return total

    free = [f for f in chain if isinstance(f.extent, int)]
    if len(chain) == 1 or len(free) < len(chain) - 1:
        return chain
    best = max(chain, key=lambda f: (score(f), f is chain[-1]))
    return [*(f for f in chain if f is not best), best]


def _blocks(
    kernel: Kernel, before: Sequence[Stmt], chain: list[For], body: tuple[Stmt, ...], lanes: int
) -> Kernel:
    """Each block a piece of the innermost loop, its threads side by side."""
    inner = chain[-1]
    piece = THREADS * lanes * FLIGHT
    total = as_expr(inner.extent)
    count = canonical(apply("divtrunc", apply("add", total, index(piece - 1)), index(piece)))
    number = Var("block")
    pieces = replace(inner, var=number, extent=_number(count))
    item, values, lets = _items([*chain[:-1], pieces])
    parts = _piece(inner, body, number, piece, total)
    made = tuple(
        x
        for part, flight in parts
        for x in deal_rows(substitute((part,), values), kernel, Team.BLOCK, THREADS, flight)
    )
    made = (*lets, *made)
    grid = Grid(THREADS, Team.BLOCK)
    extents = total_of([f.extent for f in (*chain[:-1], pieces)])
    return _with(kernel, before, For(item, _number(extents), Any(), made, mapping=grid))


def _piece(
    loop: For, body: Sequence[Stmt], number: Var, piece: int, total: Expr
) -> list[tuple[Stmt, int]]:
    """The iterations of one block, and how many rounds of them are in flight.

    A block whose piece is whole runs straight through; only the last one looks where it ends.
    """
    start = canonical(apply("mul", number, index(piece)))
    own = Var(loop.var.name, extent=piece)
    at = canonical(apply("add", start, own))
    whole = For(own, piece, Any(), substitute(body, {loop.var: at}))
    if isinstance(total, Const) and int(total.value) % piece == 0:
        return [(whole, FLIGHT)]
    left = apply("sub", total, start)
    rest = Var(loop.var.name, extent=piece)
    at = canonical(apply("add", start, rest))
    inside = substitute(own_variables(body), {loop.var: at})
    last = For(rest, apply("minimum", index(piece), left), Any(), inside)
    return [
        (If(apply("ge", left, index(piece)), (whole,)), FLIGHT),
        (If(apply("lt", left, index(piece)), (last,)), 1),
    ]


def _number(extent: Expr) -> Expr | int:
    form = linear(extent)
    return form.constant if not form.terms else extent


def _items(loops: Sequence[For]) -> tuple[Var, dict[Var, Expr], list[Stmt]]:
    """One loop variable for several, and lets for what they are."""
    if len(loops) == 1:
        return loops[0].var, {}, []
    total = total_of([f.extent for f in loops])
    extent = _number(total)
    item = Var("item", extent=extent if isinstance(extent, int) else None)
    return item, dict(flattened(item, loops)), []


# --- one thread for each item --------------------------------------------------------------------


def _single_threads(
    kernel: Kernel, before: Sequence[Stmt], chain: Sequence[For], body: tuple[Stmt, ...]
) -> Kernel:
    item, values, lets = _items(chain)
    inside = (*lets, *substitute(body, values))
    inside, limited = _private(inside)
    total = _number(total_of([f.extent for f in chain]))
    threads = THREADS if not isinstance(total, int) or total > 2048 else 64
    grid = Grid(threads, Team.THREAD, BLOCKS if limited else None)
    return _with(kernel, before, For(item, total, Any(), inside, mapping=grid))


def _private(body: tuple[Stmt, ...]) -> tuple[tuple[Stmt, ...], bool]:
    """Local memory of one thread, in the workspace."""
    rows = [s.buffer for s in nested(body) if isinstance(s, Alloc)]
    spaces = {b: Buffer(b.name, b.dtype, b.shape, b.strides, "slot") for b in rows}
    return (rebuffered(body, spaces), True) if rows else (body, False)


# --- rows ----------------------------------------------------------------------------------------


def _rows(
    kernel: Kernel,
    before: Sequence[Stmt],
    chain: Sequence[For],
    body: tuple[Stmt, ...],
    trip: int,
    size: int,
) -> Kernel:
    item, values, lets = _items(chain)
    inside = (*lets, *substitute(body, values))
    trips = [f.extent if isinstance(f.extent, int) else size for f in chain]
    items = math.prod(trips)
    team, threads = _team(trip, items, body)
    made = deal_rows(inside, kernel, team, threads, 4)
    total = _number(total_of([f.extent for f in chain]))
    limited = any(isinstance(s, Alloc) and s.buffer.space == "slot" for s in nested(made))
    grid = Grid(threads, team, BLOCKS if limited else None)
    return _with(kernel, before, For(item, total, Any(), made, mapping=grid))


def _team(trip: int, items: int, body: Sequence[Stmt]) -> tuple[Team, int]:
    """Who runs a row: few elements a thread where rows are few, more where they are many."""
    serial = any(isinstance(s, For) and isinstance(s.order, Serial) for s in body)
    arrays: set[Buffer] = set()
    each_access(
        [s for s in nested(body) if isinstance(s, For)], lambda b, indices, is_store: arrays.add(b)
    )
    fits = trip // 32 * len(arrays) <= WARP_ELEMENTS or trip <= 128
    if fits and trip <= WARP_ROW and not (serial and trip > 128) and (items >= 512 or trip <= 128):
        return Team.WARP, 128
    threads = 1 << max(0, (trip // 4) - 1).bit_length()
    return Team.BLOCK, min(1024 if trip > 8192 else 256, max(128, threads))


def _together(kernel: Kernel, before: Sequence[Stmt], last: Stmt, size: int) -> Kernel:
    """Statements that are no nest of loops: one block, or every block what comes before a loop."""
    body = (*before, last)
    if not any(isinstance(s, For) for s in nested(body)):
        once = Var("once", extent=1)
        return _with(kernel, (), For(once, 1, Any(), body, mapping=Grid(32, Team.THREAD)))
    if (
        isinstance(last, For)
        and isinstance(last.order, Any)
        and not any(isinstance(s, For) for s in last.body)
    ):
        return _pieces(kernel, before, last)
    if not _can_deal(body):
        once = Var("once", extent=1)
        inside, limited = _private(body)
        grid = Grid(32, Team.THREAD, 1 if limited else None)
        return _with(kernel, (), For(once, 1, Any(), inside, mapping=grid))
    once = Var("once", extent=1)
    made = deal_rows(body, kernel, Team.BLOCK, 1024 if _longest(body, size) > 4096 else 256, 4)
    limited = any(isinstance(s, Alloc) and s.buffer.space == "slot" for s in nested(made))
    threads = 1024 if _longest(body, size) > 4096 else 256
    grid = Grid(threads, Team.BLOCK, 1 if limited else None)
    return _with(kernel, (), For(once, 1, Any(), made, mapping=grid))


def _pieces(kernel: Kernel, before: Sequence[Stmt], last: For) -> Kernel:
    """A long loop after little work: every block does that work, and a piece of the loop."""
    lanes = lanes_of((last,), kernel)
    piece = THREADS * lanes * FLIGHT
    total = as_expr(last.extent)
    count = _number(
        canonical(apply("divtrunc", apply("add", total, index(piece - 1)), index(piece)))
    )
    number = Var("block")
    parts = _piece(last, last.body, number, piece, total)
    made = deal_rows((*before, *(part for part, _ in parts)), kernel, Team.BLOCK, THREADS, FLIGHT)
    return _with(kernel, (), For(number, count, Any(), made, mapping=Grid(THREADS, Team.BLOCK)))
