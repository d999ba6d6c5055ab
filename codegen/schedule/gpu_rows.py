"""What a team of threads does together: loops dealt to them, memory they share, barriers.

Holds the heuristics of rows; knows no launches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ..affine import linear
from ..expr import Apply, Buffer, Const, Expr, Load, Var, walk
from ..kernel import (
    Alloc,
    Dealt,
    For,
    If,
    Kernel,
    Let,
    Role,
    Serial,
    Stmt,
    Store,
    Sync,
    Team,
    Tree,
    nested,
)
from .gpu_cache import keep_rows
from .gpu_rewrite import flattened, known, rebuffered
from .rewrite import each_access, expressions, flat_offset, stride_of, substitute

__all__ = ["deal_rows", "lanes_of"]

VECTOR = 16
"""Bytes of the widest access of a thread."""
SHARED = 40 << 10
"""Bytes of shared memory that a block may take."""
KEPT = 64
"""Elements of inputs that one thread may keep in registers."""
PRIVATE = 32
"""Elements of a row that one thread may keep in registers."""


def lanes_of(loops: Sequence[Stmt], kernel: Kernel) -> int:
    """Iterations of the loops that a thread runs side by side: as wide as a load can be.

    One, where no access is contiguous and aligned.
    """
    widest, gains = 1, False
    lets = {s.var: s.value for s in nested(loops) if isinstance(s, Let)}
    for loop in loops:
        assert isinstance(loop, For)

        def visit(
            buffer: Buffer, indices: tuple[Expr, ...], is_store: bool, loop: For = loop
        ) -> None:
            nonlocal widest, gains
            step = stride_of(buffer, indices, loop.var, lets)
            if step == 0:
                return
            widest = max(widest, buffer.dtype.itemsize)
            if step == 1 and buffer.space == "param":
                lanes = VECTOR // buffer.dtype.itemsize
                gains = gains or _aligned(buffer, indices, loop.var, min(lanes, 4))

        each_access((loop,), visit)
    if not gains:
        return 1
    return max(1, min(8, VECTOR // widest))


def _aligned(buffer: Buffer, indices: tuple[Expr, ...], var: Var, lanes: int) -> bool:
    """Whether a row of an access begins at a multiple of `lanes` elements."""
    form = linear(flat_offset(buffer, indices))
    return form.constant % lanes == 0 and all(
        c % lanes == 0 for atom, c in form.terms if atom is not var
    )


def deal_rows(
    body: Sequence[Stmt], kernel: Kernel, team: Team, threads: int, flight: int
) -> tuple[Stmt, ...]:
    """The statements of one item for a team.

    Parameters
    ----------
    body : sequence of Stmt
        Logical.
    kernel : Kernel
        Whose they are: its inputs and outputs may share memory.
    team : Team
        WARP or BLOCK.
    threads : int
        Of a block.
    flight : int
        Rounds of a dealt loop in flight.
    """
    width = 32 if team is Team.WARP else threads
    dealt = _Dealer(kernel, team, width, flight).block(body)
    written = {s.buffer for s in nested(kernel.body) if isinstance(s, Store)}
    inputs = {p.buffer for p in kernel.params if p.buffer not in written}
    dealt = keep_rows(dealt, inputs, width, KEPT)
    dealt = _placed(dealt, team, threads, width)
    return _Barriers(kernel).block(dealt)[0]


class _Dealer:
    """Chooses the loops whose iterations are dealt to threads."""

    def __init__(self, kernel: Kernel, team: Team, width: int, flight: int) -> None:
        self.kernel = kernel
        self.team = team
        self.width = width
        self.flight = flight

    def block(self, statements: Sequence[Stmt]) -> tuple[Stmt, ...]:
        result: list[Stmt] = []
        lanes = self._lanes(statements)
        for s in statements:
            if isinstance(s, If):
                result.append(If(s.condition, self.block(s.then)))
            elif isinstance(s, For):
                result.append(self._loop(s, lanes))
            else:
                result.append(s)
        return tuple(result)

    def _lanes(self, statements: Sequence[Stmt]) -> dict[int | Expr, int]:
        """The lanes of loops of the same extent: as many, so that they share registers."""
        groups: dict[int | Expr, list[Stmt]] = {}
        for s in statements:
            if isinstance(s, For) and not any(isinstance(x, For) for x in s.body):
                groups.setdefault(s.extent, []).append(s)
        return {extent: lanes_of(loops, self.kernel) for extent, loops in groups.items()}

    def _loop(self, s: For, lanes: dict[int | Expr, int]) -> Stmt:
        if isinstance(s.order, Serial) or _meets(s):
            return replace(s, body=self.block(s.body))
        inner = [x for x in nested(s.body) if isinstance(x, For)]
        if not inner:
            return self._dealt(s, lanes.get(s.extent, 1))
        flat = _collapsed(s)
        if flat is not s:
            return self._loop(flat, {flat.extent: lanes_of((flat,), self.kernel)})
        trip = known(s.extent) or 1 << 20
        inside = max(
            (known(f.extent) or 1 << 20 for f in inner if not isinstance(f.order, Serial)),
            default=0,
        )
        if trip >= self.width // 2 or trip >= inside:
            return self._dealt(s, 1)
        return replace(s, body=self.block(s.body))

    def _dealt(self, s: For, lanes: int) -> For:
        trip = known(s.extent)
        inner = any(isinstance(x, For) for x in s.body)
        if trip is not None:
            while lanes > 1 and trip < self.width * lanes // 2:
                lanes //= 2
        rounds = self.flight if trip is None else -(-trip // (self.width * lanes))
        unroll = 1 if inner else max(1, min(self.flight, rounds))
        return replace(s, mapping=Dealt(self.team, lanes, unroll))


def _collapsed(s: For) -> For:
    """Loops with nothing but each other in them as one loop."""
    body = [x for x in s.body if not isinstance(x, Let)]
    if len(body) != 1 or not isinstance(body[0], For):
        return s
    inner = body[0]
    if not isinstance(s.extent, int) or not isinstance(inner.extent, int) or inner.order != s.order:
        return s
    if _meets(inner):
        return s
    if isinstance(s.order, Tree):
        plain = s.next == tuple(v for v, _ in inner.carry)
        neutral = all(isinstance(x, Const) and x.value == 0 for _, x in inner.carry)
        simple = all(m.value == "sum" for m in s.order.monoids)
        if not (plain and neutral and simple):
            return s
    total = s.extent * inner.extent
    var = Var(inner.var.name, extent=total)
    lets = [x for x in s.body if isinstance(x, Let)]
    values = flattened(var, (s, inner))
    inside = substitute((*lets, *inner.body), values)
    carried = substitute((replace(inner, body=()),), values)[0]
    assert isinstance(carried, For)
    return replace(s, var=var, extent=total, body=inside, next=carried.next if s.carry else ())


def _meets(s: For) -> bool:
    """Whether iterations of a loop add to the same elements: no two threads may run them."""
    values = {x.var: x.value for x in nested(s.body) if isinstance(x, Let)}
    own = {x.buffer for x in nested(s.body) if isinstance(x, Alloc)}
    return any(
        not any(_moves(i, s.var, values) for i in x.indices)
        for x in nested(s.body)
        if isinstance(x, Store) and x.monoid is not None and x.buffer not in own
    )


def _moves(e: Expr, var: Var, values: Mapping[Var, Expr]) -> bool:
    """Whether an index is computed of a variable, and not looked up by it."""
    if isinstance(e, Var):
        return e is var or (e in values and _moves(values[e], var, values))
    return isinstance(e, Apply) and any(_moves(a, var, values) for a in e.args)


# --- where local memory lies ----------------------------------------------------------------------


def _placed(body: tuple[Stmt, ...], team: Team, threads: int, width: int) -> tuple[Stmt, ...]:
    """Local memory in registers where each thread reads what it wrote, else shared, else slots."""
    buffers = [s.buffer for s in nested(body) if isinstance(s, Alloc)]
    if not buffers:
        return body
    spaces: dict[Buffer, Buffer] = {}
    unrolled: set[int] = set()
    room = SHARED if team is Team.BLOCK else SHARED // (threads // width)
    loops = list(_dealt_loops(body))
    for b in buffers:
        size = math.prod(n for n in b.shape if isinstance(n, int)) * b.dtype.itemsize
        home = _one_home(b, loops, body)
        length = b.shape[0] if b.shape else 0
        if home is not None and isinstance(length, int) and length <= PRIVATE * width:
            unrolled.add(length)
            space = "register"
        elif size <= room:
            room -= -(-size // 16) * 16
            space = "shared"
        else:
            space = "slot"
        spaces[b] = Buffer(b.name, b.dtype, b.shape, b.strides, space)
    body = _unrolled(body, unrolled, width)
    return rebuffered(body, spaces)


def _dealt_loops(body: Sequence[Stmt]) -> Iterator[For]:
    return (s for s in nested(body) if isinstance(s, For) and isinstance(s.mapping, Dealt))


def _one_home(b: Buffer, loops: Sequence[For], body: Sequence[Stmt]) -> Dealt | None:
    """How all loops are dealt that touch a buffer, where each touches the place of its variable."""
    if len(b.shape) != 1 or not isinstance(b.shape[0], int):
        return None
    homes: set[Dealt] = set()
    inside = 0
    for loop in loops:
        places: list[bool] = []

        def visit(
            buffer: Buffer,
            indices: tuple[Expr, ...],
            is_store: bool,
            loop: For = loop,
            places: list[bool] = places,
        ) -> None:
            if buffer is b:
                places.append(indices[0] is loop.var and loop.extent == b.shape[0])

        each_access((loop,), visit)
        if any(isinstance(x, For) for x in loop.body) and places:
            return None
        if not all(places):
            return None
        inside += len(places)
        if places:
            assert isinstance(loop.mapping, Dealt)
            homes.add(replace(loop.mapping, unroll=1))
    every = 0

    def count(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
        nonlocal every
        every += buffer is b

    each_access(body, count)
    if len(homes) != 1 or every != inside:
        return None
    return homes.pop()


def _unrolled(body: Sequence[Stmt], extents: set[int], width: int) -> tuple[Stmt, ...]:
    """The loops over what lies in registers, written out."""
    result: list[Stmt] = []
    for s in body:
        if isinstance(s, For):
            inside = _unrolled(s.body, extents, width)
            mapping = s.mapping
            if isinstance(mapping, Dealt) and s.extent in extents:
                assert isinstance(s.extent, int)
                rounds = max(1, s.extent // (width * mapping.lanes))
                mapping = replace(mapping, unroll=rounds)
            s = replace(s, body=inside, mapping=mapping)
        elif isinstance(s, If):
            s = If(s.condition, _unrolled(s.then, extents, width))
        result.append(s)
    return tuple(result)


# --- barriers ------------------------------------------------------------------------------------


class _Barriers:
    """Barriers where a thread reads or writes what another one of its team has touched."""

    def __init__(self, kernel: Kernel) -> None:
        self.inputs = {p.buffer for p in kernel.params if p.role is Role.IN}
        self.outputs = {p.buffer for p in kernel.params if p.role is not Role.IN}

    def block(self, statements: Sequence[Stmt]) -> tuple[tuple[Stmt, ...], bool]:
        """The statements with barriers, and whether something is shared in them at all."""
        result: list[Stmt] = []
        reads: set[Buffer] = set()
        writes: set[Buffer] = set()
        touched = False
        for s in statements:
            if isinstance(s, For) and not isinstance(s.mapping, Dealt):
                inside, shares = self.block(s.body)
                if shares and inside:
                    inside = (*inside, Sync())
                s = replace(s, body=inside)
            elif isinstance(s, If):
                s = If(s.condition, self.block(s.then)[0])
            mine, own = _touched(s)
            if self._conflict(reads, writes, mine, own):
                result.append(Sync())
                reads, writes = set(), set()
            result.append(s)
            reads |= mine
            writes |= own
            touched = touched or bool(own)
        return tuple(result), touched

    def _conflict(
        self, reads: set[Buffer], writes: set[Buffer], mine: set[Buffer], own: set[Buffer]
    ) -> bool:
        if (mine | own) & writes or own & reads:
            return True
        # An output may lie where an input lies that is not needed any more.
        return bool(own & self.outputs and reads & self.inputs)


def _touched(s: Stmt) -> tuple[set[Buffer], set[Buffer]]:
    """What a statement reads and writes of the memory that threads share."""
    reads: set[Buffer] = set()
    writes: set[Buffer] = set()
    for x in nested((s,)):
        if isinstance(x, Store):
            writes.add(x.buffer)
            if x.monoid is not None:
                reads.add(x.buffer)
        if isinstance(x, (Sync, Alloc)):
            continue
        for root in expressions(x):
            reads |= {e.buffer for e in walk(root) if isinstance(e, Load)}
    return (
        {b for b in reads if b.space != "register"},
        {b for b in writes if b.space != "register"},
    )
