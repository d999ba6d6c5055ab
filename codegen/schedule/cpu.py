"""The CPU schedule: which loop runs in parallel, which in vectors, how threads share the items.

Holds all heuristics of the CPU back end; emitters have none. Depends on shapes and the target's
features alone, never on the number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeGuard, final

from .. import scalar
from ..affine import canonical, linear
from ..dtypes import float64
from ..expr import Apply, Buffer, Const, Expr, Extent, Var, index, walk
from ..kernel import (
    Alloc,
    Any,
    Arrange,
    For,
    If,
    Kernel,
    Let,
    Monoid,
    Parallel,
    Role,
    Serial,
    Stmt,
    Store,
    Tree,
    Unroll,
    Vector,
    nested,
)
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from .arranging import with_loops
from .between import tile_between
from .contraction import Choice, Tiled, match
from .dealing import deal, deal_tiles
from .forms import tiled_product
from .interleaving import flattened, interleaved
from .narrow_columns import RowBlocks, narrow_columns
from .prefetch import prefetch_next
from .rewrite import (
    depends_on,
    each_access,
    expressions,
    flat_offset,
    neutral_of,
    stride_of,
    substitute,
)
from .scanning import scanned
from .short_rows import short_rows
from .splitting import outermost_pieces, split_ranges
from .transposition import COLUMNS, ROWS, tile_transposed
from .windows import WindowChoice, match_windows, tile_windows

__all__ = ["Mapped", "schedule"]

BLOCK = 4096
ARRANGED = 2.5
"""What sorting takes, by elements and how often these are halved."""
SHORT = 5
"""Loops of fewer iterations do not run in vectors where one around them can."""


@final
@dataclass(frozen=True)
class Mapped:
    """A mapped kernel and how a launch deals its items."""

    kernel: Kernel
    items: int
    grain: int
    chunks: int

    @property
    def finishes(self) -> bool:
        """Whether something runs once at the end."""
        partial = any(p.role is Role.PARTIAL for p in self.kernel.params)
        return partial or bool(self.kernel.finish)


def schedule(
    kernel: Kernel,
    size: int,
    target: Features,
    streamed: frozenset[Buffer] = frozenset(),
    choice: Choice | WindowChoice | None = None,
) -> Mapped:
    """Map a logical kernel to the CPU.

    Parameters
    ----------
    kernel : Kernel
        Logical: nested `any` loops around passes of `any`, `tree` and `serial` loops.
    size : int
        The value of the kernel's size, the extent of its outermost loop.
    target : Features
    streamed : frozenset of Buffer
        Outputs that are larger than the cache, not read soon and not in place:
        their stores go around the cache where alignment is proven.
    choice : Choice or WindowChoice, optional
        How a product is computed; by default a rule says so.
    """
    contraction, windows = match(kernel), match_windows(kernel)
    tiled: Tiled | None = None
    if contraction is not None:
        of_matrices = choice if isinstance(choice, Choice) else None
        tiled = tiled_product(contraction, size, target, of_matrices)
    elif windows is not None:
        of_windows = choice if isinstance(choice, WindowChoice) else None
        tiled = tile_windows(windows, size, target, of_windows)
    else:
        tiled = tile_between(
            kernel, size, target, _Loops(kernel, size, target, streamed).vectorised
        )
    if tiled is not None:
        body, finish = tiled.body, kernel.finish
        mapped = replace(kernel, body=body, finish=_vectorised_finish(finish, target))
        grain, chunks = deal_tiles(tiled.items, tiled.cost)
        return Mapped(mapped, tiled.items, grain, chunks)
    return _Loops(split_ranges(with_loops(kernel, target)), size, target, streamed).run()


def _cost(expr: Expr) -> float:
    """Operations of an expression."""
    if isinstance(expr, (Const, Var)):
        return 0
    return sum(scalar.TABLE[e.op].cost for e in walk(expr) if isinstance(e, Apply))


def _ops(statements: Sequence[Stmt]) -> float:
    return sum(_cost(x) for s in nested(statements) for x in expressions(s))


def _trip(extent: Extent | Expr, size: int) -> int:
    return extent if isinstance(extent, int) else size


def _is_short(extent: Extent | Expr) -> bool:
    """Whether a loop fills too little of a vector."""
    return isinstance(extent, int) and extent < SHORT


@final
class _Loops:
    """The schedule of a kernel that is not a contraction."""

    def __init__(
        self, kernel: Kernel, size: int, target: Features, streamed: frozenset[Buffer]
    ) -> None:
        self.kernel = kernel
        self.size = size
        self.target = target
        self.streamed = streamed
        self.lanes = _lanes(kernel, target)
        self.lets = {s.var: s.value for s in nested(kernel.body) if isinstance(s, Let)}
        self.partial = any(p.role is Role.PARTIAL for p in kernel.params)

    def run(self) -> Mapped:
        before = tuple(s for s in self.kernel.body if not isinstance(s, For))
        loops = [s for s in self.kernel.body if isinstance(s, For)]
        independent = len(loops) == 1 and isinstance(loops[0].order, Any)
        if not independent or any(isinstance(s, Store) for s in before):
            return self._single()
        top = loops[0]
        for make in (narrow_columns, short_rows):
            blocks = make(self.kernel, top, self.lanes, _begins)
            if blocks is not None:
                work = 0.0 if make is narrow_columns else 2.0 * self._row_work(top.body)
                return self._in_blocks(before, top, blocks, work)
        outer, innermost = self._nest(top)
        if innermost is not None and not outer:
            return self._flat(before, innermost)
        return self._rows(before, top, outer, innermost)

    def _single(self) -> Mapped:
        """No loop to deal: one item."""
        once = Var("once", extent=1)
        body = self.vectorised(self.kernel.body)
        loop = For(once, 1, Any(), body, mapping=Parallel())
        return Mapped(self._with((loop,)), 1, 1, 1)

    def _with(self, body: tuple[Stmt, ...]) -> Kernel:
        finish = _vectorised_finish(self.kernel.finish, self.target)
        return replace(self.kernel, body=body, finish=finish)

    # --- which loops ------------------------------------------------------------------------------

    def _nest(self, top: For) -> tuple[list[For], For | None]:
        """The loops that are dealt to threads, and the `any` loop below them that runs in vectors.

        None for the second when the loops inside a row run in vectors instead.
        """
        chain = [top]
        while isinstance(chain[-1].order, Any):
            inside = [s for s in chain[-1].body if not isinstance(s, Let)]
            only = inside[0] if len(inside) == 1 else None
            if not isinstance(only, For) or not isinstance(only.order, Any):
                break
            chain.append(only)
        if not isinstance(chain[-1].order, Any):
            return chain[:-1], None
        if len(chain) > 1 and (merged := interleaved(chain[-2], chain[-1], self.lanes)):
            chain[-2:] = [merged]
            return chain[:-1], merged
        if len(chain) > 1 and self._fills_around(chain[-2], chain[-1:]):
            # Few elements beside each other: vectors run along the loop around them.
            chain.pop()
            return chain[:-1], chain[-1]
        last = chain[-1]
        inner = [s for s in nested(last.body) if isinstance(s, For)]
        if not inner or self._better_across(last, inner):
            return chain[:-1], last
        return chain, None

    def _better_across(self, last: For, inner: Sequence[For]) -> bool:
        """Whether loads run through memory along `last` rather than along the loops inside it."""
        if any(isinstance(s, Arrange) for s in nested(last.body)):
            return False
        across = along = 0
        # Iterations in order never run in vectors.
        deepest = [
            f
            for f in inner
            if not isinstance(f.order, Serial) and not any(isinstance(s, For) for s in f.body)
        ]

        def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
            nonlocal across, along
            if buffer.space != "param":
                return
            across += stride_of(buffer, indices, last.var, self.lets) == 1
            along += any(stride_of(buffer, indices, f.var, self.lets) == 1 for f in deepest)

        each_access(inner, visit)
        if not deepest and self._searches(last, inner):
            return True
        return across > along or self._fills_around(last, deepest)

    def _searches(self, last: For, inner: Sequence[For]) -> bool:
        """Whether each iteration of `last` looks for something of its own, anywhere in memory.

        What it looks for, and what it found, runs along `last`.
        """
        if any(isinstance(s, Store) for f in inner for s in f.body):
            return False
        anywhere, beside = True, 0

        def probe(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
            nonlocal anywhere
            variables = (last.var, *(f.var for f in inner))
            strides = [stride_of(buffer, indices, v, self.lets) for v in variables]
            anywhere &= any(stride is None for stride in strides)

        def result(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
            nonlocal beside
            beside += stride_of(buffer, indices, last.var, self.lets) == 1

        each_access(inner, probe)
        each_access([s for s in last.body if not isinstance(s, For)], result)
        return anywhere and beside > 0

    def _fills_around(self, outer: For, inner: Sequence[For]) -> bool:
        """Whether `outer` fills vectors, and the loops in it are too short for that."""
        # A tree over lanes takes longer than a vector that is not full, more so one of pairs.
        monoids = [m for f in inner if isinstance(f.order, Tree) for m in f.order.monoids]
        short = max(SHORT, self.lanes * max((m.width for m in monoids), default=0))
        if not inner or _is_short(outer.extent):
            return False
        if not all(isinstance(f.extent, int) and f.extent < short for f in inner):
            return False
        # What lanes accumulate into one place needs a loop of its own.
        stores = (s for s in nested(outer.body) if isinstance(s, Store))
        return all(s.monoid is None for s in stores)

    # --- the three forms --------------------------------------------------------------------------

    def _flat(self, before: tuple[Stmt, ...], loop: For) -> Mapped:
        """One loop: chunks of it run in vectors."""
        work = _ops(loop.body)
        cost = self._bytes(loop) + work * 2
        size = _trip(loop.extent, self.size)
        if self._accumulates(loop):
            return self._blocks(before, loop, size, cost)
        block = Var("block")
        pieces = outermost_pieces(loop, apply("mul", block, index(BLOCK)), BLOCK)
        if pieces is not None:
            blocks = -(-size // BLOCK)
            inside = tuple(s for piece in pieces for s in self._vector(piece))
            parallel = For(block, blocks, Any(), inside, mapping=Parallel())
            grain, chunks = deal(blocks, cost * BLOCK, 1, self.partial)
            return Mapped(self._with((*before, parallel)), blocks, grain, chunks)
        mapped = self._vector(loop, top=True)
        grain, chunks = deal(size, cost, BLOCK, self.partial)
        return Mapped(self._with((*before, *mapped)), size, grain, chunks)

    def _blocks(self, before: tuple[Stmt, ...], loop: For, size: int, cost: float) -> Mapped:
        """A flat loop that reduces: blocks of it, each with its own accumulators."""
        block = Var("block")
        inner = Var(loop.var.name, extent=BLOCK)
        start = apply("mul", block, index(BLOCK))
        total = loop.extent if isinstance(loop.extent, Expr) else index(loop.extent)
        extent = apply("minimum", index(BLOCK), apply("sub", total, start))
        body = substitute(loop.body, {loop.var: apply("add", start, inner)})
        inside = For(inner, extent, loop.order, body, loop.carry, loop.next)
        blocks = -(-size // BLOCK)
        parallel = For(block, blocks, Any(), self._vector(inside), mapping=Parallel())
        grain, chunks = deal(blocks, cost * BLOCK, 1, partial=True)
        return Mapped(self._with((*before, parallel)), blocks, grain, chunks)

    def _in_blocks(
        self, before: tuple[Stmt, ...], top: For, rows: RowBlocks, work: float
    ) -> Mapped:
        """Blocks of rows, each with its own accumulators; `work` is what a row computes."""
        size = _trip(top.extent, self.size)
        blocks = -(-size // rows.rows)
        body = self.vectorised(rows.body)
        parallel = For(rows.block, blocks, Any(), body, mapping=Parallel())
        cost = rows.rows * (self._bytes(top) / max(1, size) + work)
        grain, chunks = deal(blocks, max(cost, 1.0), 1, partial=True)
        return Mapped(self._with((*before, parallel)), blocks, grain, chunks)

    def _rows(
        self, before: tuple[Stmt, ...], top: For, outer: list[For], innermost: For | None
    ) -> Mapped:
        """Rows dealt to threads; the loops inside, or the last of the nest, run in vectors."""
        if not outer:
            outer = [top]
        if innermost is not None and not any(isinstance(s, For) for s in innermost.body):
            tiled = tile_transposed(
                outer, innermost, self.size, self.lanes, self.lets, self.streamed
            )
            if tiled is not None and not self._accumulates(innermost):
                cost = self._bytes(replace(innermost, extent=1)) * ROWS * COLUMNS
                grain, chunks = deal(tiled.items, cost, 1, self.partial)
                return Mapped(self._with((*before, tiled.loop)), tiled.items, grain, chunks)
        items = 1
        for f in outer:
            items *= _trip(f.extent, self.size)
        lets: list[Stmt] = []
        item, values = self._collapse(outer)
        for f in outer:
            lets += [s for s in f.body if isinstance(s, Let)]
        inside: tuple[Stmt, ...]
        inside = (*lets, innermost) if innermost is not None else outer[-1].body
        if innermost is None:
            inside = (*(s for s in lets if s not in inside), *inside)
        cost = self._bytes(*(s for s in inside if isinstance(s, For))) + 2.0 * self._row_work(
            inside
        )
        body = self.vectorised(substitute(inside, values))
        passes = (isinstance(s, For) and isinstance(s.mapping, Vector) for s in body)
        work = [_ops([s]) if own else 0.0 for s, own in zip(body, passes, strict=True)]
        body = prefetch_next(body, item, items, work, self.lets, self.target)
        extent: Extent | Expr = item.extent if item.extent is not None else items
        parallel = For(item, extent, Any(), body, mapping=Parallel())
        grain, chunks = deal(items, cost, 1, self.partial)
        return Mapped(self._with((*before, parallel)), items, grain, chunks)

    def _collapse(self, outer: Sequence[For]) -> tuple[Var, dict[Var, Expr]]:
        """One loop variable for nested loops, and what the old ones are in terms of it."""
        if len(outer) == 1:
            return outer[0].var, {}
        item = Var("item")
        values: dict[Var, Expr] = {}
        rest: Expr = item
        for position in range(len(outer) - 1, 0, -1):
            extent = outer[position].extent
            assert isinstance(extent, int)
            values[outer[position].var] = canonical(apply("remtrunc", rest, index(extent)))
            rest = canonical(apply("divtrunc", rest, index(extent)))
        values[outer[0].var] = rest
        return item, values

    # --- vectors ----------------------------------------------------------------------------------

    def vectorised(self, statements: Sequence[Stmt], in_order: bool = False) -> tuple[Stmt, ...]:
        """Map the innermost loops to vectors; `in_order` is what one loop around them does."""
        result: list[Stmt] = []
        for s in statements:
            if isinstance(s, If):
                s = replace(s, then=self.vectorised(s.then, in_order))
            if not isinstance(s, For):
                result.append(s)
                continue
            s = flattened(s)
            inner = [x for x in nested(s.body) if isinstance(x, For)]
            turned = self._turned(s)
            if turned is not None:
                result.append(turned)
            elif in_order and not inner and _is_short(s.extent) and self._adds(s):
                # What the last iteration stored is loaded soon, and not as parts of a vector.
                result.append(replace(s, mapping=Unroll()))
            elif not inner or (isinstance(s.order, Any) and self._better_across(s, inner)):
                result += self._vector(s)
            else:
                result.append(replace(s, body=self.vectorised(s.body, _in_order(s))))
        return tuple(result)

    def _turned(self, loop: For) -> For | None:
        """Two loops, the inner one of which steps through memory, in tiles."""
        last = loop.body[0] if len(loop.body) == 1 else None
        if not isinstance(last, For) or not isinstance(loop.order, Any):
            return None
        plain = isinstance(last.order, Any) and not any(isinstance(s, For) for s in last.body)
        known = isinstance(loop.extent, int) and isinstance(last.extent, int)
        if not plain or not known or self._accumulates(last):
            return None
        tiled = tile_transposed([loop], last, self.size, self.lanes, self.lets)
        return None if tiled is None else replace(tiled.loop, mapping=None)

    def _adds(self, loop: For) -> bool:
        """Whether iterations add to what is in memory, each at a place of its own."""
        stores = [s for s in loop.body if isinstance(s, Store)]
        return isinstance(loop.order, Any) and any(s.monoid is not None for s in stores)

    def _accumulates(self, loop: For) -> bool:
        return any(self._invariant(s, loop) for s in loop.body)

    def _invariant(self, statement: Stmt, loop: For) -> bool:
        """Whether a statement accumulates into one place in every iteration of `loop`."""
        if not isinstance(statement, Store) or statement.monoid is None:
            return False
        # The place must be known after the loop too, where nothing that its body binds is.
        bound = {s.var for s in loop.body if isinstance(s, Let)}
        bound |= {var for s in loop.body if isinstance(s, For) for var, _ in s.carry}
        return not any(
            depends_on(i, loop.var, self.lets) or any(e in bound for e in walk(i))
            for i in statement.indices
        )

    def _vector(self, loop: For, top: bool = False) -> tuple[Stmt, ...]:
        """`loop` in vectors; what it accumulates into one place is carried in registers."""
        if isinstance(loop.order, Serial):
            short = _is_short(loop.extent)
            return (loop if short else scanned(loop, self.lanes, self.lets, self.target),)
        carry = list(loop.carry)
        following = list(loop.next)
        monoids = list(loop.order.monoids) if isinstance(loop.order, Tree) else []
        after: list[Stmt] = []
        body: list[Stmt] = []
        for s in loop.body:
            if not self._invariant(s, loop):
                body.append(self._streamed(s, loop, top))
                continue
            assert isinstance(s, Store)
            assert s.monoid is not None
            result = Var("p", s.value.dtype)
            carry.append((result, neutral_of(s.monoid, s)))
            following.append(s.value)
            monoids.append(s.monoid)
            after.append(replace(s, value=result))
        order = Tree(tuple(monoids)) if monoids else Any()
        mapping = Vector(self.lanes, self._unroll(loop, monoids))
        mapped = For(
            loop.var, loop.extent, order, tuple(body), tuple(carry), tuple(following), mapping
        )
        return (mapped, *after)

    def _unroll(self, loop: For, monoids: Sequence[Monoid]) -> int:
        sums = max((len(s.carry) for s in nested(loop.body) if _in_order(s)), default=0)
        if sums:
            # Sums side by side in registers; beside them, what one step loads.
            extent = loop.extent if isinstance(loop.extent, int) else 1 << 20
            together = (self.target.registers - 4) // (sums + 1)
            return max(1, min(4, together, -(-extent // self.lanes)))
        work = _ops(loop.body)
        inner = [s.order for s in nested(loop.body) if isinstance(s, For)]
        inside = [m for order in inner if isinstance(order, Tree) for m in order.monoids]
        if any(m.width > 1 for m in inside) or (inner and work > 8):
            return 1
        extent = loop.extent if isinstance(loop.extent, int) else 1 << 20
        most = max(1, extent // self.lanes)
        if any(m.width > 1 for m in monoids):
            # Two comparisons stand behind each other: more of them side by side.
            return min(self.target.registers // 4, most)
        few = len(monoids) <= 2
        wanted = 4 if work <= 40 and few else 2 if work <= 80 else 1
        return min(wanted, most)

    def _streamed(self, statement: Stmt, loop: For, top: bool) -> Stmt:
        """Mark a store that goes around the cache, when every vector of it is aligned."""
        if not isinstance(statement, Store) or statement.buffer not in self.streamed:
            return statement
        if stride_of(statement.buffer, statement.indices, loop.var, self.lets) != 1:
            return statement
        width = self.target.vector_bytes // statement.buffer.dtype.itemsize
        start = linear(flat_offset(statement.buffer, statement.indices))
        steps = [c for e, c in start.terms if e is not loop.var]
        # Chunks of the outermost loop begin at multiples of BLOCK.
        whole = top or (isinstance(loop.extent, int) and loop.extent % width == 0)
        if self.lanes != width or not whole or any(c % width for c in (start.constant, *steps)):
            return statement
        return replace(statement, nontemporal=True)

    # --- cost -------------------------------------------------------------------------------------

    def _bytes(self, *loops: For) -> float:
        """Bytes that one iteration of the dealt loop moves."""
        total = 0.0
        seen: set[tuple[int, int]] = set()
        stack = [(loop, 1.0) for loop in reversed(loops)]
        while stack:
            loop, around = stack.pop()
            inner = [s for s in loop.body if isinstance(s, For)]
            top = loop is self.kernel.body[-1]
            trip = around if top else around * _trip(loop.extent, self.size)
            stack += [(s, trip) for s in reversed(inner)]

            def visit(
                buffer: Buffer, indices: tuple[Expr, ...], is_store: bool, trip: float = trip
            ) -> None:
                nonlocal total
                if buffer.space == "param" and (id(buffer), is_store) not in seen:
                    seen.add((id(buffer), is_store))
                    total += buffer.dtype.itemsize * trip

            each_access([replace(loop, body=tuple(s for s in loop.body if s not in inner))], visit)
        return total

    def _row_work(self, statements: Sequence[Stmt]) -> float:
        """Operations of one row, in vectors."""
        total = 0.0
        for s in statements:
            if isinstance(s, For):
                trip = _trip(s.extent, self.size)
                own = sum(_cost(x) for x in (*expressions(s),))
                total += trip * (self._row_work(s.body) + own / self.lanes)
            elif isinstance(s, Arrange):
                total += ARRANGED * s.count * s.count.bit_length()
            else:
                total += sum(_cost(x) for x in expressions(s)) / self.lanes
        return total


def _lanes(kernel: Kernel, target: Features) -> int:
    """Iterations in one vector: the native width of the widest float that is moved."""
    width = 4
    for param in kernel.params:
        if param.buffer.dtype is float64:
            width = 8
    for statement in nested(kernel.body):
        if isinstance(statement, Alloc) and statement.buffer.dtype is float64:
            width = 8
    return max(1, target.vector_bytes // width)


def _begins(store: Store) -> Expr:
    """What a store's monoid begins with."""
    return neutral_of(store.monoid or Monoid.SUM, store)


def _vectorised_finish(finish: tuple[Stmt, ...], target: Features) -> tuple[Stmt, ...]:
    """The loops of `finish` in vectors."""
    result: list[Stmt] = []
    for s in finish:
        if isinstance(s, For) and isinstance(s.order, Any) and _simple(s):
            result.append(replace(s, mapping=Vector(max(1, target.vector_bytes // 4), 1)))
        else:
            result.append(s)
    return tuple(result)


def _in_order(statement: Stmt) -> TypeGuard[For]:
    return isinstance(statement, For) and isinstance(statement.order, Serial)


def _simple(loop: For) -> bool:
    return not any(isinstance(s, For) for s in loop.body)
