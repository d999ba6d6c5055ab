"""The schedule of large contractions: blocks of the result and of the sum, packed for the caches.

An item computes a block of the result. It takes the sum in parts; of each it packs panels of the
right operand for the last cache, and then, one after the other, blocks of rows of the left one for
the second cache. Every tile goes on from what the last part left, so that the order of the sum
stays; after the last part, what follows each element runs, row by row of some panels: tiles would
read other operands in short pieces that fall on the same sets of a cache.
"""

from __future__ import annotations

from typing import final

from ..affine import canonical
from ..expr import Buffer, Expr, Extent, Load, Var, const, index
from ..kernel import (
    Alloc,
    Any,
    Contract,
    Copy,
    For,
    If,
    Let,
    Serial,
    Stmt,
    Store,
    Vector,
)
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import divides, likely
from .contraction import (
    Choice,
    Contraction,
    Items,
    Tiled,
    as_expr,
    base_of,
    batches,
    let,
    number,
    row_count,
    tile_shape,
)
from .operands import element, filled, filled_panels, strided
from .rewrite import substitute

__all__ = ["block_choice", "block_rule", "blocked", "may_block", "must_block"]

DEPTH = 256
"""Steps of the sum in one part: a panel of so many rows stays in the first cache."""
FAR = 2
"""So many times the second cache is a left operand that is not read across its rows in place."""
LEAST = 64
"""Rows and columns below which packing is not paid back."""
PAGE = 4096
"""Bytes after which places in memory share a set of the nearest cache."""
LINE = 64
"""Bytes of a line of a cache."""
GROUP = 256
"""Columns of which what follows each element runs at once."""
THREADS = (1, 2, 4, 8)
"""Numbers of threads that shall share the items evenly."""
COPIED, TURNED = 0.35, 0.6
"""Cycles for each element that is packed, in order or transposed."""


def blocked(
    c: Contraction, size: int, target: Features, choice: Choice | None = None
) -> Tiled | None:
    """The mapped form in blocks, or None where the panels of a tile's schedule do as well."""
    chosen = choice or block_rule(c, size, target)
    if chosen is None:
        return None
    batch, rows = batches(c, size), row_count(c, size)
    block = _Block(c, _deal(c, rows, batch, target, chosen), target)
    items = Items(c, *block.dealt.counts)
    cost = 2.0 * block.dealt.rows * block.dealt.columns * c.depth / target.lanes(c.acc.dtype)
    return Tiled(block.body(items), batch * items.total, cost)


def block_rule(c: Contraction, size: int, target: Features) -> Choice | None:
    """How a product is computed in blocks where nobody says how, or None if it is not."""
    rows = row_count(c, size)
    if must_block(c, rows) or (may_block(c, rows) and _pays(c, rows, target)):
        return block_choice(c, rows, target, DEPTH)
    return None


def must_block(c: Contraction, rows: int) -> bool:
    """Whether an operand is computed that another schedule would compute again and again.

    Or into a panel that is longer than a few rows are worth.
    """
    few = c.b.computed is not None and likely(rows) < LEAST
    return c.a.computed is not None or few


def may_block(c: Contraction, rows: int) -> bool:
    """Whether packing can be paid back at all."""
    return min(likely(rows), likely(number(c.columns.extent))) >= LEAST


def block_choice(c: Contraction, rows: int, target: Features, most: int) -> Choice:
    """Blocks with parts of at most so many steps of the sum."""
    depth = _share(likely(c.depth), most, 4)
    columns = likely(number(c.columns.extent))
    height, vectors = tile_shape(likely(rows), columns, target, c.acc.dtype.itemsize, depth)
    return Choice(height, vectors, True, 0, depth)


def _pays(c: Contraction, rows: int, target: Features) -> bool:
    """Whether one of the operands cannot be read again and again where it lies.

    The left one is far larger than the cache, and it is read across its rows or these fall on the
    same sets of a cache; or a panel of the right one is larger than the cache.
    """
    depth = likely(c.depth)
    left = likely(rows) * depth * c.a.itemsize
    if left <= target.l2_bytes:
        return False
    across = c.a.column != 1 and (left > FAR * target.l2_bytes or depth >= PAGE)
    far = _far(c) and left > 8 * target.l2_bytes
    panel = depth * 2 * target.vector_bytes
    return across or far or panel > target.l2_bytes


def _packs_left(c: Contraction) -> bool:
    """Whether blocks of the left operand are copied: else tiles read it where it lies."""
    return c.a.column != 1 or c.a.computed is not None or _far(c)


def _far(c: Contraction) -> bool:
    """Whether the rows of the left operand fall on the same sets of a cache."""
    pages, rest = divmod(likely(c.a.row) * c.a.itemsize, PAGE)
    return pages > 1 and rest == 0


# --- how the result and the sum are dealt ---------------------------------------------------------


@final
@dataclass(frozen=True)
class _Dealt:
    """The size of a tile, of a block of the left operand, of an item, and of a part of the sum."""

    height: int
    width: int
    block: int
    rows: int
    columns: int
    depth: int
    parts: int
    counts: tuple[int, int]


def _deal(c: Contraction, rows: int, batch: int, target: Features, choice: Choice) -> _Dealt:
    """The items with the least packing and the most even shares.

    A block of the left operand takes half of the second cache at most, and the panels of the right
    one a small part of the last cache, which threads share.
    """
    dtype = c.acc.dtype
    extents = rows, number(c.columns.extent)
    rows, columns, batch = likely(rows), likely(extents[1]), likely(batch)
    depth, height = choice.depth, choice.height
    width = choice.vectors * target.lanes(dtype)
    most = max(height, target.l2_bytes // 2 // (depth * dtype.itemsize))
    most_columns = max(GROUP, target.l3_bytes // 8 // (depth * dtype.itemsize))
    best: tuple[float, int, int] | None = None
    for item_rows in _shares(rows, rows, height):
        for item_columns in _shares(columns, most_columns, width):
            items = batch * -(-rows // item_rows) * -(-columns // item_columns)
            work = _work(c, item_rows, item_columns, target.lanes(dtype))
            even = sum(-(-items // n) * n for n in THREADS) / len(THREADS)
            if best is None or work * even < best[0]:
                best = (work * even, item_rows, item_columns)
    assert best is not None
    _, item_rows, item_columns = best
    block = _share(item_rows, most, height)
    item_rows = -(-item_rows // block) * block
    counts = (-(-extents[0] // item_rows), -(-extents[1] // item_columns))
    parts = -(-c.depth // depth)
    return _Dealt(height, width, block, item_rows, item_columns, depth, parts, counts)


def _work(c: Contraction, rows: int, columns: int, lanes: int) -> float:
    """Cycles of an item for each step of the sum: two vectors of products in one, and packing."""
    left = COPIED if _packs_left(c) else 0.0
    right = COPIED if c.b.column == 1 else TURNED
    left, right = (
        cycles + (0.0 if o.computed is None else o.computed.operations / lanes)
        for cycles, o in ((left, c.a), (right, c.b))
    )
    return rows * columns / lanes / 2 + left * rows + right * columns


def _shares(extent: int, most: int, step: int) -> list[int]:
    """Multiples of `step`, at most `most`, that deal `extent` into equal parts, largest first."""
    first = -(-extent // max(step, most))
    shares = {_equal(extent, count, step) for count in range(first, first + 16)}
    return sorted((s for s in shares if s >= min(LEAST, extent)), reverse=True)


def _share(extent: int, most: int, step: int) -> int:
    """A multiple of `step`, at most `most`, that deals `extent` into equal parts."""
    return _equal(extent, -(-extent // max(step, most // step * step)), step)


def _equal(extent: int, parts: int, step: int) -> int:
    """A multiple of `step` that deals `extent` into so many equal parts."""
    return -(-extent // (parts * step)) * step


def _apart(rows: int, row_bytes: int) -> int:
    """At least so many rows, after which the next panel falls on other sets of the nearest cache.

    A row of the source is cut into all panels, so that they are written side by side.

    Examples
    --------
    >>> _apart(256, 128), _apart(200, 128), _apart(209, 48)
    (257, 201, 209)
    """
    sets = PAGE // LINE

    def places(count: int) -> int:
        return len({panel * count * row_bytes // LINE % sets for panel in range(sets)})

    return next((n for n in range(rows, rows + sets) if places(n) >= sets // 2), rows)


def _odd(extent: int, lanes: int) -> int:
    """An odd number of vectors, more than `extent` elements fill."""
    return (-(-extent // lanes) | 1) * lanes


# --- the statements -------------------------------------------------------------------------------


@final
class _Block:
    """The statements of one item."""

    def __init__(self, c: Contraction, dealt: _Dealt, target: Features) -> None:
        self.c = c
        self.dealt = dealt
        self.lanes = target.lanes(c.acc.dtype)
        self.total = as_expr(c.rows.extent)
        self.tiles = dealt.block // dealt.height
        self.blocks = dealt.rows // dealt.block
        self.panels = dealt.columns // dealt.width
        self.packs_left = _packs_left(c)
        self.along_rows = c.a.row == 1
        # Across memory, a tile after the other; else the rows, at distances that do not fall on
        # the same few sets of a cache.
        self.left_step = dealt.height
        shape = (dealt.block, _odd(dealt.depth, self.lanes))
        if self.along_rows:
            self.left_step = _apart(dealt.depth, dealt.height * c.acc.dtype.itemsize)
            shape = (self.tiles * self.left_step, dealt.height)
        self.left = Buffer("left", c.packed, shape, space="chunk")
        self.right_step = _apart(dealt.depth, dealt.width * c.acc.dtype.itemsize)
        shape = (self.panels * self.right_step, dealt.width)
        self.right = Buffer("right", c.packed, shape, space="chunk")
        self.group = min(self.panels, max(1, GROUP // dealt.width))
        count = self.blocks * self.panels if likely(dealt.parts) > 1 else self.group
        shape = (count * dealt.block, dealt.width)
        self.sums = Buffer("sums", c.acc.dtype, shape, space="chunk")

    def body(self, items: Items) -> tuple[Stmt, ...]:
        """The loop over items."""
        dealt = self.dealt
        row0 = items.let("row0", canonical(apply("mul", items.block, index(dealt.rows))))
        column0 = items.let("column0", canonical(apply("mul", items.panel, index(dealt.columns))))
        items.bind_batch()
        statements: list[Stmt] = [Alloc(self.left)] if self.packs_left else []
        statements += [Alloc(self.right), Alloc(self.sums)]
        left = apply("sub", self.total, row0)
        blocks = let(statements, "blocks", _count(left, dealt.rows, dealt.block))
        left = apply("sub", index(number(self.c.columns.extent)), column0)
        panels = let(statements, "panels", _count(left, dealt.columns, dealt.width))
        k = Var("part", extent=dealt.parts)
        inside = self._part(k, (row0, column0), (blocks, panels), items.values)
        statements.append(For(k, dealt.parts, Serial(), inside))
        return items.loop(statements)

    def _part(
        self,
        part: Var,
        place: tuple[Expr, Expr],
        counts: tuple[Expr, Expr],
        values: dict[Var, Expr],
    ) -> tuple[Stmt, ...]:
        """A part of the sum: the panels of the right operand, then blocks of rows of the left."""
        c, dealt = self.c, self.dealt
        row0, column0 = place
        statements: list[Stmt] = []
        k0 = let(statements, "k0", canonical(apply("mul", part, index(dealt.depth))))
        depth: Extent = dealt.depth
        if not divides(dealt.depth, c.depth):
            rest = apply("sub", index(c.depth), k0)
            depth = Var("depth")
            statements.append(Let(depth, apply("minimum", index(dealt.depth), rest)))
        a, b = base_of(c.a, values), base_of(c.b, values)
        a = apply("add", a, apply("mul", k0, index(c.a.column)))
        b = apply("add", b, apply("mul", k0, index(c.b.row)))
        a_start, b_start = let(statements, "a0", a), let(statements, "b0", b)
        extent = (k0, depth)
        statements += self._packed_right(column0, b_start, extent, counts[1], values)
        n = Var("block", extent=self.blocks)
        inside: list[Stmt] = []
        first = let(inside, "first", _moved(row0, n, dealt.block))
        left = apply("sub", self.total, first)
        tiles = let(inside, "tiles", _count(left, dealt.block, dealt.height))
        if self.packs_left:
            inside += self._packed_left(first, a_start, extent, values)
        g = Var("group")
        groups = _pieces(counts[1], self.group)
        ends = ((first, column0), (tiles, counts[1]))
        group = self._group((part, n, g), *ends, a_start, depth, values)
        inside.append(For(g, groups, Serial(), group))
        return (*statements, For(n, counts[0], Serial(), tuple(inside)))

    def _group(
        self,
        at: tuple[Var, Var, Var],
        place: tuple[Expr, Expr],
        counts: tuple[Expr, Expr],
        a_start: Expr,
        depth: Extent,
        values: dict[Var, Expr],
    ) -> tuple[Stmt, ...]:
        """Some panels: all their tiles, and after the last part what follows each element."""
        (part, block, group), (first, column0), (tiles, panels) = at, place, counts
        statements: list[Stmt] = []
        p0 = let(statements, "p0", canonical(apply("mul", group, index(self.group))))
        some = canonical(apply("minimum", index(self.group), apply("sub", panels, p0)))
        count = let(statements, "count", some)
        q, t = Var("q", extent=self.group), Var("t", extent=self.tiles)
        panel = canonical(apply("add", p0, q))
        own: Expr = q
        if likely(self.dealt.parts) > 1:
            own = _moved(panel, block, self.panels)
        sums0 = canonical(apply("mul", own, index(self.dealt.block)))
        tile = self._tile((part, panel, t), sums0, first, a_start, depth)
        statements.append(For(q, count, Serial(), (For(t, tiles, Serial(), tile),)))
        column = _moved(column0, panel, self.dealt.width)
        after: Stmt = self._after((q, count), sums0, (first, column), values)
        if likely(self.dealt.parts) > 1:
            last = apply("eq", part, const(self.dealt.parts - 1, part.dtype))
            after = If(last, (after,))
        return (*statements, after)

    def _left_columns(self, column: Expr) -> Expr:
        """How many columns of a panel exist."""
        total, width = number(self.c.columns.extent), index(self.dealt.width)
        if divides(self.dealt.width, total):
            return width
        return canonical(apply("minimum", width, apply("sub", index(total), column)))

    # --- packing ----------------------------------------------------------------------------------

    def _packed_right(
        self,
        column0: Expr,
        b_start: Expr,
        part: tuple[Expr, Extent],
        panels: Expr,
        values: dict[Var, Expr],
    ) -> tuple[Stmt, ...]:
        """The panels of the right operand, one behind the other."""
        c, dealt = self.c, self.dealt
        k0, depth = part
        source = strided(c.b.buffer, (c.b.row, c.b.column))
        start = canonical(apply("add", b_start, apply("mul", column0, index(c.b.column))))
        left = apply("sub", index(number(c.columns.extent)), column0)
        if c.b.column == 1:
            count = canonical(apply("minimum", index(dealt.columns), left))
            whole = panels if divides(dealt.width, number(c.columns.extent)) else None
            if c.b.computed is not None:
                panel = (self.right, self.right_step)
                wanted = (k0, column0, depth, count)
                return filled_panels(c.b, panel, wanted, whole, values, self.lanes)
            rows = _Rows(self.right, self.right_step, source, start, False, self.lanes)
            return rows.packed(depth, count, whole)
        p = Var("p", extent=self.panels)
        column = canonical(apply("mul", p, index(dealt.width)))
        shape = (dealt.depth, dealt.width)
        box = Buffer("right", self.right.dtype, shape, (dealt.width, 1), "view", self.right)
        to = canonical(apply("mul", p, index(self.right_step)))
        alive = self._left_columns(apply("add", column0, column))
        packed: tuple[Stmt, ...]
        if c.b.computed is not None:
            first = canonical(apply("add", column0, column))
            packed = filled(c.b, box, to, (k0, first, depth, alive), values, self.lanes)
        else:
            starts = (canonical(_moved(start, column, c.b.column)), index(0), index(0))
            packed = (Copy(box, source, starts, 1, 2, as_expr(depth), alive, to),)
        return (For(p, panels, Serial(), packed),)

    def _packed_left(
        self, row0: Expr, a_start: Expr, part: tuple[Expr, Extent], values: dict[Var, Expr]
    ) -> tuple[Stmt, ...]:
        """A block of rows of the left operand."""
        c, dealt = self.c, self.dealt
        k0, depth = part
        source = strided(c.a.buffer, (c.a.row, c.a.column))
        start = canonical(apply("add", a_start, apply("mul", row0, index(c.a.row))))
        left = apply("sub", self.total, row0)
        rows = canonical(apply("minimum", index(dealt.block), left))
        if self.along_rows and c.a.computed is not None:
            panel = (self.left, self.left_step)
            return filled_panels(
                c.a.turned, panel, (k0, row0, depth, rows), None, values, self.lanes
            )
        if self.along_rows:
            packed = _Rows(self.left, self.left_step, source, start, True, self.lanes)
            return packed.packed(depth, rows, None)
        height, pitch = (number(e) for e in self.left.shape)
        wide = -(-dealt.depth // self.lanes) * self.lanes
        box = Buffer("left", self.left.dtype, (height, wide), (pitch, 1), "view", self.left)
        if c.a.computed is not None:
            return filled(c.a, box, index(0), (row0, k0, rows, depth), values, self.lanes)
        return (Copy(box, source, (start, index(0), index(0)), 1, 2, rows, as_expr(depth)),)

    # --- tiles ------------------------------------------------------------------------------------

    def _tile(
        self,
        at: tuple[Var, Expr, Var],
        sums0: Expr,
        first: Expr,
        a_start: Expr,
        depth: Extent,
    ) -> tuple[Stmt, ...]:
        """A tile goes on with its sum."""
        c, dealt = self.c, self.dealt
        part, panel, t = at
        statements: list[Stmt] = []
        row = let(statements, "i0", _moved(first, t, dealt.height))
        count = apply("minimum", index(dealt.height), apply("sub", self.total, row))
        rows = let(statements, "rows", count)
        a, a_starts, axes = self._left_rows(t, row, a_start)
        shape = (dealt.height, dealt.width)
        acc = Buffer("sums", c.acc.dtype, shape, (dealt.width, 1), "view", self.sums)
        onward = apply("gt", part, const(0, part.dtype)) if likely(dealt.parts) > 1 else None
        place = (canonical(apply("mul", panel, index(self.right_step))), index(0))
        acc_row = _moved(sums0, t, dealt.height)
        contract = Contract(
            acc,
            a,
            a_starts,
            *axes,
            self.right,
            place,
            0,
            1,
            depth,
            rows,
            index(dealt.width),
            acc_row,
            onward,
        )
        return (*statements, contract)

    def _left_rows(
        self, t: Var, row: Expr, a_start: Expr
    ) -> tuple[Buffer, tuple[Expr, ...], tuple[int, int]]:
        """Where a tile reads the left operand: buffer, start, axes of rows and of the sum."""
        c = self.c
        if not self.packs_left:
            start = canonical(apply("add", a_start, apply("mul", row, index(c.a.row))))
            a = strided(c.a.buffer, (c.a.row, c.a.column))
            return a, (start, index(0), index(0)), (1, 2)
        first = canonical(apply("mul", t, index(self.left_step)))
        return self.left, (first, index(0)), (1, 0) if self.along_rows else (0, 1)

    def _after(
        self,
        panels: tuple[Var, Expr],
        sums0: Expr,
        place: tuple[Expr, Expr],
        values: dict[Var, Expr],
    ) -> Stmt:
        """What follows each element of some panels, row by row: memory is read in long runs."""
        c, dealt = self.c, self.dealt
        (q, count), (first, column) = panels, place
        r, v = Var("r", extent=dealt.block), Var("v", extent=dealt.width)
        statements: list[Stmt] = []
        first_column = let(statements, "j0", column)
        columns = self._left_columns(first_column)
        extent: Extent | Expr = dealt.width
        if not divides(dealt.width, number(c.columns.extent)):
            extent = let(statements, "columns", columns)
        row = canonical(apply("add", first, r))
        at = {**values, c.rows.var: row, c.columns.var: apply("add", first_column, v)}
        load = Load(self.sums, (canonical(apply("add", sums0, r)), v))
        inner = (Let(c.acc, load), *substitute(c.after, at))
        statements.append(For(v, extent, Any(), inner, mapping=Vector(self.lanes, 1)))
        left = canonical(apply("minimum", index(dealt.block), apply("sub", self.total, first)))
        return For(r, left, Serial(), (For(q, count, Serial(), tuple(statements)),))


@final
@dataclass(frozen=True)
class _Rows:
    """Packing of rows that lie along memory: each is cut into rows of panels.

    Row k of panel p is row ``p * step + k`` of `target`.
    """

    target: Buffer
    step: int
    source: Buffer
    start: Expr
    turned: bool
    lanes: int

    def packed(self, depth: Extent, count: Expr, panels: Expr | None) -> tuple[Stmt, ...]:
        """`depth` rows of `count` elements, which fill `panels` when that is given."""
        width = number(self.target.shape[1])
        k, p = Var("k"), Var("p")
        statements: list[Stmt] = []
        whole = panels
        if whole is None:
            size = let(statements, "size", count)
            whole = let(statements, "whole", apply("divtrunc", size, index(width)))
        inside: list[Stmt] = [For(p, whole, Serial(), (self._row(k, p, width),))]
        if panels is None:
            rest = apply("sub", size, apply("mul", whole, index(width)))
            inside.append(self._row(k, whole, canonical(rest)))
        return (*statements, For(k, depth, Serial(), tuple(inside)))

    def _row(self, k: Var, panel: Expr, extent: Extent | Expr) -> For:
        """A row of a panel."""
        width = number(self.target.shape[1])
        v = Var("v", extent=width)
        at = _moved(v, panel, width)
        load = Load(self.source, (self.start, at, k) if self.turned else (self.start, k, at))
        value = element(load, self.target.dtype)
        store = Store(self.target, (_moved(k, panel, self.step), v), value)
        return For(v, extent, Any(), (store,), mapping=Vector(self.lanes, 1))


def _count(left: Expr, most: int, step: int) -> Expr:
    """How many pieces of size `step` there are of what is left, at most `most`."""
    return _pieces(apply("minimum", index(most), left), step)


def _pieces(extent: Expr, step: int) -> Expr:
    """How many pieces of size `step` there are."""
    return canonical(apply("divtrunc", apply("add", extent, index(step - 1)), index(step)))


def _moved(first: Expr, count: Expr, step: int) -> Expr:
    """``first + count * step``."""
    return canonical(apply("add", first, apply("mul", count, index(step))))
