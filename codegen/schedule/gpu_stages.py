"""Launches: what must be complete before something else begins is a launch of its own.

A kernel with partial sums, long sums or several loops one after the other becomes logical kernels
that hand values on in temporary buffers. Knows no machine but how many blocks keep it busy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical
from ..dtypes import DType
from ..expr import Buffer, Expr, Extent, Load, Var, index, walk
from ..kernel import (
    Alloc,
    Any,
    For,
    If,
    Kernel,
    Let,
    Monoid,
    Param,
    Role,
    Serial,
    Stmt,
    Store,
    Tree,
    nested,
)
from ..records import dataclass
from ..scalar import apply
from .gpu_rewrite import as_expr, identities, identity, independent_loops, rebuffered
from .gpu_scans import split_scan
from .gpu_scatter import walks_by_place
from .gpu_split import split_product
from .rewrite import depends_on, expressions, substitute

__all__ = ["split_stages"]

GROUPS = 512
"""Pieces that a long sum is cut into, each the work of one block."""
SMALL_GROUPS = 4096
"""The same, of sums of a few elements."""
COPIES = 1 << 24
"""Elements that all copies of partial sums may have."""
LEAST = 4096
"""Iterations of a piece, at least."""
LONG = 1 << 15
"""A sum of so many iterations that nothing else runs beside is cut into pieces."""


def split_stages(kernel: Kernel, size: int) -> tuple[tuple[Kernel, ...], tuple[Buffer, ...]]:
    """Logical kernels to be run one after the other, and the buffers between them.

    Each has one loop around everything, or none.
    """
    stages = _Stages(kernel, size)
    stages.run()
    params = (*kernel.params, *(Param(b, Role.INOUT) for b in stages.temporaries))
    params = tuple(replace(p, role=Role.INOUT, monoid=None) if p.monoid else p for p in params)
    bodies = tuple(
        Kernel(kernel.name, params, kernel.sizes, body) for body in stages.bodies if body
    )
    return bodies, tuple(stages.temporaries)


@final
@dataclass(frozen=True)
class _Pieces:
    """An extent cut into a fixed number of pieces, each so many units long."""

    count: int
    units: Expr
    unit: int
    total: Expr

    def start(self, piece: Expr) -> Expr:
        # As a multiple of the unit, so that it is seen to be aligned.
        return canonical(apply("mul", apply("mul", piece, self.units), index(self.unit)))

    def length(self, piece: Expr) -> Expr:
        """Iterations of one piece; none in the last ones, maybe."""
        left = apply("sub", self.total, self.start(piece))
        each = canonical(apply("mul", self.units, index(self.unit)))
        return apply("maximum", apply("minimum", each, left), index(0))


def _pieces(extent: Extent | Expr, size: int, least: int, most: int) -> _Pieces:
    """At most `most` pieces, of a multiple of `least` iterations."""
    total = as_expr(extent)
    known = extent if isinstance(extent, int) else size
    count = max(1, min(most, -(-known // least)))
    if isinstance(extent, int):
        units = -(-extent // (count * least))
        count = max(1, -(-extent // (units * least)))
        return _Pieces(count, index(units), least, total)
    block = index(count * least)
    rounds = apply("divtrunc", apply("add", total, index(count * least - 1)), block)
    return _Pieces(count, rounds, least, total)


@final
class _Stages:
    def __init__(self, kernel: Kernel, size: int) -> None:
        self.kernel = kernel
        self.size = size
        self.temporaries: list[Buffer] = []
        self.bodies: list[tuple[Stmt, ...]] = []
        self.partial = [p for p in kernel.params if p.role is Role.PARTIAL]

    def run(self) -> None:
        if self.partial:
            self._partials()
            return
        split = (
            None if self.kernel.finish else split_product(self.kernel, self.size, self.temporary)
        )
        if split is not None:
            self.bodies += split
        else:
            self._sequence(self.kernel.body)
            self._sequence(self.kernel.finish)

    def temporary(self, name: str, dtype: DType, shape: Sequence[int]) -> Buffer:
        buffer = Buffer(name, dtype, shape)
        self.temporaries.append(buffer)
        return buffer

    # --- one loop after the other -----------------------------------------------------------------

    def _sequence(self, body: Sequence[Stmt]) -> None:
        """Every group of statements that hand on values in registers is a stage."""
        lets: list[Stmt] = []
        groups: list[list[Stmt]] = []
        memories = {
            s.buffer: Buffer(s.buffer.name, s.buffer.dtype, s.buffer.shape)
            for s in body
            if isinstance(s, Alloc)
        }
        self.temporaries += memories.values()
        body = rebuffered([s for s in body if not isinstance(s, Alloc)], memories)
        written = {s.buffer for s in nested(body) if isinstance(s, Store)}
        unsafe = any(
            isinstance(s, Let)
            and any(isinstance(e, Load) and e.buffer in written for e in walk(s.value))
            for s in body
        )
        if unsafe:
            self._group((), body)
            return
        for s in body:
            if isinstance(s, Let):
                lets.append(s)
                continue
            used = _used((*lets, s))
            first = len(groups)
            for number, group in enumerate(groups):
                carried = {v for x in group if isinstance(x, For) for v, _ in x.carry}
                if carried & used:
                    first = min(first, number)
            joined = [x for group in groups[first:] for x in group]
            groups[first:] = [[*joined, s]]
        for group in groups:
            needed = [x for x in lets if isinstance(x, Let)]
            self._group(_lets_for(needed, group), group)

    def _group(self, lets: Sequence[Stmt], group: Sequence[Stmt]) -> None:
        """One stage, its long sums cut into pieces first."""
        loops = [s for s in group if isinstance(s, For)]
        if len(group) == 1 and loops and not isinstance(loops[0].order, Tree):
            known = [s for s in lets if isinstance(s, Let)]
            made = walks_by_place(loops[0], self.temporary) or loops
            bodies = [(*_lets_for(known, [s]), s) for s in made]
            self.bodies += split_scan(bodies[0], self.temporary) or bodies
            return
        own = _in_order(lets, group)
        done: list[Stmt] = []
        for s in own:
            if isinstance(s, For) and self._is_long(s):
                done.append(self._cut(done, s))
            else:
                done.append(s)
        self.bodies.append(tuple(done))

    def _is_long(self, s: For) -> bool:
        trip = s.extent if isinstance(s.extent, int) else self.size
        plain = all(isinstance(x, Let) for x in s.body)
        return isinstance(s.order, Tree) and plain and trip >= LONG

    def _cut(self, before: Sequence[Stmt], s: For) -> For:
        """Pieces of a sum in a stage of their own; gives the sum over the pieces."""
        assert isinstance(s.order, Tree)
        pieces = _pieces(s.extent, self.size, LEAST, GROUPS)
        copies = [self.temporary(f"{v.name}_parts", v.dtype, (pieces.count,)) for v, _ in s.carry]
        piece, own = Var("piece", extent=pieces.count), Var(s.var.name)
        position = canonical(apply("add", pieces.start(piece), own))
        results = tuple(Var(v.name, v.dtype) for v, _ in s.carry)
        starts = identities(s.order.monoids, [v for v, _ in s.carry])
        inner = For(
            own,
            pieces.length(piece),
            s.order,
            s.body,
            tuple(zip(results, starts, strict=True)),
            s.next,
        )
        (inner,) = substitute((inner,), {s.var: position})  # type: ignore[assignment]
        stores = [Store(c, (piece,), v) for c, v in zip(copies, results, strict=True)]
        body = (*before, inner, *stores)
        self.bodies.append((For(piece, pieces.count, Any(), body),))
        number = Var("piece", extent=pieces.count)
        next_ = tuple(Load(c, (number,)) for c in copies)
        return For(number, pieces.count, s.order, (), s.carry, next_)

    # --- partial sums -----------------------------------------------------------------------------

    def _partials(self) -> None:
        *before, top = self.kernel.body
        assert isinstance(top, For)
        if not all(isinstance(s, Let) for s in before):
            raise ValueError(f"kernel {self.kernel.name} computes more than lets before its loop")
        chain, lets = independent_loops(top)
        stores = [
            s for s in nested(top.body) if isinstance(s, Store) and s.buffer in self._buffers()
        ]
        flat = not any(isinstance(s, For) for s in chain[-1].body)
        varying = [any(_needs(s, f, chain, lets) for s in stores) for f in chain]
        if flat and len(chain) == 1 and not varying[0]:
            copies = self._flat(before, top)
        elif flat and not varying[0] and all(varying[1:]) and isinstance(top.order, Any):
            copies = self._columns(before, chain, lets)
        else:
            copies = self._grouped(before, top)
        self._finish(copies)

    def _buffers(self) -> set[Buffer]:
        return {p.buffer for p in self.partial}

    def _copies(self, count: int) -> dict[Buffer, Buffer]:
        """A copy of each partial parameter for each piece."""
        copies = {}
        for p in self.partial:
            shape = tuple(n for n in p.buffer.shape if isinstance(n, int))
            copies[p.buffer] = self.temporary(
                f"{p.buffer.name}_parts", p.buffer.dtype, (count, *shape)
            )
        return copies

    def _flat(self, before: Sequence[Stmt], top: For) -> dict[Buffer, Buffer]:
        """One loop that sums into single places: pieces of it, each a tree."""
        pieces = _pieces(top.extent, self.size, LEAST, GROUPS)
        copies = self._copies(pieces.count)
        piece, own = Var("piece", extent=pieces.count), Var(top.var.name)
        position = canonical(apply("add", pieces.start(piece), own))
        loop, after = _as_tree(top, self._buffers(), copies, piece)
        inner = replace(loop, var=own, extent=pieces.length(piece))
        (inner,) = substitute((replace(inner),), {top.var: position})  # type: ignore[assignment]
        self.bodies.append((*before, For(piece, pieces.count, Any(), (inner, *after))))
        return copies

    def _columns(
        self, before: Sequence[Stmt], chain: Sequence[For], lets: Sequence[Stmt]
    ) -> dict[Buffer, Buffer]:
        """Sums over the outermost loop, for each place of the others."""
        top = chain[0]
        width = math.prod(f.extent for f in chain[1:] if isinstance(f.extent, int))
        most = max(1, min(GROUPS, (1 << 18) // max(width, 1)))
        pieces = _pieces(top.extent, self.size, 16, most)
        copies = self._copies(pieces.count)
        piece, own = Var("piece", extent=pieces.count), Var(top.var.name)
        position = canonical(apply("add", pieces.start(piece), own))
        flat = replace(top, body=(*lets, *chain[-1].body))
        loop, after = _as_tree(flat, self._buffers(), copies, piece)
        inner = replace(loop, var=own, extent=pieces.length(piece))
        (inner,) = substitute((inner,), {top.var: position})  # type: ignore[assignment]
        body: tuple[Stmt, ...] = (inner, *after)
        for f in reversed(chain[1:]):
            body = (replace(f, body=body),)
        self.bodies.append((*before, For(piece, pieces.count, Any(), body)))
        return copies

    def _grouped(self, before: Sequence[Stmt], top: For) -> dict[Buffer, Buffer]:
        """Groups of rows: each sums into memory of its own, which it then writes."""
        elements = sum(
            math.prod(n for n in p.buffer.shape if isinstance(n, int)) for p in self.partial
        )
        most = max(4, min(SMALL_GROUPS if elements <= 64 else GROUPS, COPIES // max(elements, 1)))
        pieces = _pieces(top.extent, self.size, 1, most)
        copies = self._copies(pieces.count)
        piece, own = Var("piece", extent=pieces.count), Var(top.var.name)
        position = canonical(apply("add", pieces.start(piece), own))
        sums = {
            p.buffer: Buffer(p.buffer.name, p.buffer.dtype, p.buffer.shape, space="row")
            for p in self.partial
        }
        body = tuple(_redirected(s, sums) for s in substitute(top.body, {top.var: position}))
        first: list[Stmt] = []
        last: list[Stmt] = []
        for p in self.partial:
            assert p.monoid is not None
            total = sums[p.buffer]
            zero = identity(p.monoid, total.dtype)
            first += [Alloc(total), *_each(total, lambda at, t=total, z=zero: Store(t, at, z))]
            copy = copies[p.buffer]
            last += _each(total, lambda at, t=total, c=copy: Store(c, (piece, *at), Load(t, at)))
        rows = For(own, pieces.length(piece), Serial(), body)
        self.bodies.append((*before, For(piece, pieces.count, Any(), (*first, rows, *last))))
        return copies

    def _finish(self, copies: dict[Buffer, Buffer]) -> None:
        """The copies combined in their order, and what follows."""
        for p in self.partial:
            assert p.monoid is not None
            copy, monoid = copies[p.buffer], p.monoid
            number, total = Var("piece", extent=copy.shape[0]), Var("total", copy.dtype)

            def store(
                at: tuple[Expr, ...],
                p: Param = p,
                copy: Buffer = copy,
                number: Var = number,
                total: Var = total,
                monoid: Monoid = monoid,
            ) -> tuple[Stmt, ...]:
                start = ((total, identity(monoid, copy.dtype)),)
                next_ = (Load(copy, (number, *at)),)
                loop = For(number, copy.shape[0], Tree((monoid,)), (), start, next_)
                return (loop, Store(p.buffer, at, total))

            self.bodies.append(_each(p.buffer, store))
        self._sequence(self.kernel.finish)


# --- pieces of statements ------------------------------------------------------------------------


def _each(buffer: Buffer, body) -> tuple[Stmt, ...]:  # type: ignore[no-untyped-def]
    """Loops over all elements of a buffer."""
    axes = [Var("e", extent=n) for n in buffer.shape]
    made = body(tuple(axes))
    statements: tuple[Stmt, ...] = made if isinstance(made, tuple) else (made,)
    for var, extent in zip(reversed(axes), reversed(buffer.shape), strict=True):
        statements = (For(var, extent, Any(), statements),)
    return statements


def _as_tree(
    loop: For, buffers: set[Buffer], copies: dict[Buffer, Buffer], piece: Var
) -> tuple[For, list[Stmt]]:
    """A loop that accumulates as one that carries the sums, and the stores after it."""
    body: list[Stmt] = []
    carry: list[tuple[Var, Expr]] = []
    following: list[Expr] = []
    monoids: list[Monoid] = []
    after: list[Stmt] = []
    for s in loop.body:
        if not isinstance(s, Store) or s.buffer not in buffers:
            body.append(s)
            continue
        assert s.monoid is not None
        total = Var("total", s.value.dtype)
        carry.append((total, identity(s.monoid, total.dtype)))
        following.append(s.value)
        monoids.append(s.monoid)
        after.append(Store(copies[s.buffer], (piece, *s.indices), total))
    order = Tree(tuple(monoids))
    return replace(
        loop, order=order, body=tuple(body), carry=tuple(carry), next=tuple(following)
    ), after


def _needs(s: Store, f: For, chain: Sequence[For], lets: Sequence[Stmt]) -> bool:
    known = {x.var: x.value for x in (*lets, *chain[-1].body) if isinstance(x, Let)}
    return any(depends_on(i, f.var, known) for i in s.indices)


def _redirected(s: Stmt, buffers: dict[Buffer, Buffer]) -> Stmt:
    """A statement that stores into other buffers."""
    if isinstance(s, Store) and s.buffer in buffers:
        return replace(s, buffer=buffers[s.buffer])
    if isinstance(s, For):
        return replace(s, body=tuple(_redirected(x, buffers) for x in s.body))
    if isinstance(s, If):
        return replace(s, then=tuple(_redirected(x, buffers) for x in s.then))
    return s


def _used(statements: Sequence[Stmt]) -> set[Var]:
    return {
        e
        for s in nested(statements)
        for root in expressions(s)
        for e in walk(root)
        if isinstance(e, Var)
    }


def _lets_for(lets: Sequence[Let], group: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """Those of the lets that a group needs."""
    used = _used(group)
    needed: list[Stmt] = []
    for s in reversed(lets):
        if s.var in used:
            needed.append(s)
            used |= {e for e in walk(s.value) if isinstance(e, Var)}
    return tuple(reversed(needed))


def _in_order(lets: Sequence[Stmt], group: Sequence[Stmt]) -> list[Stmt]:
    """Lets as early as what they use is known."""
    result: list[Stmt] = []
    waiting = list(lets)
    missing = {v for s in group if isinstance(s, For) for v, _ in s.carry}

    def release() -> None:
        for s in list(waiting):
            if not _used((s,)) & missing:
                result.append(s)
                waiting.remove(s)
            else:
                assert isinstance(s, Let)
                missing.add(s.var)

    for s in group:
        release()
        result.append(s)
        if isinstance(s, For):
            missing -= {v for v, _ in s.carry}
            missing -= {x.var for x in waiting if isinstance(x, Let)}
    release()
    return result
