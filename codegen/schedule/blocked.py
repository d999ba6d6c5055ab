"""The schedule of large contractions: blocks of the operands and of the sum, packed for a cache.

An item computes a block of the result. It takes the sum in parts; of each it packs what it needs of
both operands, and every tile goes on from what the last part left. The order of the sum stays.
"""

from __future__ import annotations

import math

from ..affine import canonical
from ..expr import Buffer, Expr, Extent, Var, const, index
from ..kernel import Alloc, Contract, Copy, For, Let, Serial, Stmt
from ..scalar import apply
from ..targets.base import Features
from .contraction import (
    Contraction,
    Items,
    Tiled,
    as_expr,
    base_of,
    epilogue,
    let,
    number,
    strided,
    tile_shape,
)

__all__ = ["blocked"]

DEPTH = 256
"""Steps of the sum in one part."""
ITEMS = 8
"""Items that a result is dealt in when it is large enough."""
LEAST = 64
"""Rows and columns below which packing is not paid back."""
PAGE = 4096
"""Bytes after which places in memory share a set of the nearest cache."""


def blocked(c: Contraction, size: int, target: Features) -> Tiled | None:
    """The mapped form in blocks, or None where the panels of a tile's schedule do as well."""
    rows = number(c.rows.extent) if isinstance(c.rows.extent, int) else size
    if min(rows, number(c.columns.extent)) < LEAST or not _pays(c, rows, target):
        return None
    batch = 1
    for f in c.batch:
        batch *= size if isinstance(f.extent, Var) else number(f.extent)
    block = _Block(c, rows, batch, target)
    items = Items(c, *block.counts)
    cost = 2.0 * block.rows * block.columns * c.depth / target.lanes(c.acc.dtype)
    return Tiled(block.body(items), batch * items.total, cost)


def _pays(c: Contraction, rows: int, target: Features) -> bool:
    """Whether one of the operands cannot be read again and again where it lies.

    The left one is larger than the cache and is read across its rows, or it is far larger and its
    rows fall on the same sets of a cache; or a panel of the right one is larger than the cache.
    """
    itemsize = c.acc.dtype.itemsize
    left = rows * c.depth * itemsize
    if left <= target.l2_bytes:
        return False
    columns = number(c.columns.extent)
    across = c.a.column != 1 and (columns >= 4 * LEAST or c.depth >= PAGE)
    pages, rest = divmod(c.a.row * itemsize, PAGE)
    far = pages > 1 and rest == 0 and left > 8 * target.l2_bytes
    panel = c.depth * 2 * target.vector_bytes
    return across or far or panel > target.l2_bytes


def _share(extent: int, most: int, step: int) -> int:
    """A multiple of `step`, at most `most`, that deals `extent` into equal blocks."""
    blocks = -(-extent // max(step, most // step * step))
    return -(-extent // (blocks * step)) * step


def _whole(extent: int, lanes: int) -> int:
    """Whole vectors that hold `extent` elements."""
    return -(-extent // lanes) * lanes


def _odd(extent: int, lanes: int) -> int:
    """An odd number of vectors, more than `extent` elements fill."""
    return (-(-extent // lanes) | 1) * lanes


class _Block:
    """The statements of one item."""

    def __init__(self, c: Contraction, rows: int, batch: int, target: Features) -> None:
        self.c = c
        dtype = c.acc.dtype
        self.lanes = target.lanes(dtype)
        self.height, vectors = tile_shape(rows, number(c.columns.extent), target, dtype.itemsize)
        self.width = vectors * self.lanes
        # A block of each operand takes less than half of the cache; less where the result has few
        # blocks, so that threads share them.
        most = target.l2_bytes * 3 // 8 // (DEPTH * dtype.itemsize)
        self._deal(rows, most)
        while batch * math.prod(self.counts) < ITEMS and most // 2 >= LEAST:
            most //= 2
            self._deal(rows, most)
        self.depth = _share(c.depth, DEPTH, 4)
        self.parts = -(-c.depth // self.depth)
        self.tiles, self.panels = self.rows // self.height, self.columns // self.width
        self.total = as_expr(c.rows.extent)
        # Rows of local memory that do not fall on the same few sets of a cache.
        self.left = self._buffer("left", self.rows, _odd(self.depth, self.lanes))
        self.right = self._buffer("right", self.depth, _odd(self.columns, self.lanes))
        self.sums = self._buffer("sums", self.tiles * self.panels * self.height, self.width)

    def _deal(self, rows: int, most: int) -> None:
        """Blocks of at most so many rows and columns."""
        columns = number(self.c.columns.extent)
        self.rows = _share(rows, most, self.height)
        self.columns = _share(columns, most, self.width)
        self.counts = (-(-rows // self.rows), -(-columns // self.columns))

    def _buffer(self, name: str, rows: int, columns: int) -> Buffer:
        return Buffer(name, self.c.acc.dtype, (rows, columns), space="chunk")

    def _sums_box(self) -> Buffer:
        """A tile among the sums."""
        shape = (self.height, self.width)
        return Buffer("sums", self.c.acc.dtype, shape, (self.width, 1), "view", self.sums)

    def body(self, items: Items) -> tuple[Stmt, ...]:
        """The loop over items."""
        row0 = items.let("row0", canonical(apply("mul", items.block, index(self.rows))))
        column0 = items.let("column0", canonical(apply("mul", items.panel, index(self.columns))))
        items.bind_batch()
        statements: list[Stmt] = []
        left = apply("sub", self.total, row0)
        tiles = let(statements, "tiles", self._parts(left, self.rows, self.height))
        left = apply("sub", index(number(self.c.columns.extent)), column0)
        panels = let(statements, "panels", self._parts(left, self.columns, self.width))
        statements += [Alloc(self.left)] if self._packs_left else []
        statements += [Alloc(self.right), Alloc(self.sums)]
        k = Var("part", extent=self.parts)
        inside = self._part(k, row0, column0, tiles, panels, items.values)
        statements.append(For(k, self.parts, Serial(), inside))
        statements.append(self._after(row0, column0, tiles, panels, items.values))
        return items.loop(statements)

    @property
    def _packs_left(self) -> bool:
        """Whether the left operand does not lie along the sum."""
        return self.c.a.column != 1

    def _parts(self, left: Expr, most: int, step: int) -> Expr:
        """How many tiles there are of the rows or columns that are left."""
        some = apply("minimum", index(most), left)
        return canonical(apply("divtrunc", apply("add", some, index(step - 1)), index(step)))

    def _part(
        self,
        part: Var,
        row0: Expr,
        column0: Expr,
        tiles: Expr,
        panels: Expr,
        values: dict[Var, Expr],
    ) -> tuple[Stmt, ...]:
        """A part of the sum: packing, and all tiles."""
        c = self.c
        statements: list[Stmt] = []
        k0 = let(statements, "k0", canonical(apply("mul", part, index(self.depth))))
        depth: Extent = self.depth
        if c.depth % self.depth:
            rest = apply("sub", index(c.depth), k0)
            depth = Var("depth")
            statements.append(Let(depth, apply("minimum", index(self.depth), rest)))
        a, b = base_of(c.a, values), base_of(c.b, values)
        a = apply("add", a, apply("mul", k0, index(c.a.column)))
        b = apply("add", b, apply("mul", k0, index(c.b.row)))
        a_start, b_start = let(statements, "a0", a), let(statements, "b0", b)
        if self._packs_left:
            source = strided(c.a.buffer, (c.a.row, c.a.column))
            start = apply("add", a_start, apply("mul", row0, index(c.a.row)))
            left = apply("sub", self.total, row0)
            count = canonical(apply("minimum", index(self.rows), left))
            statements.append(self._pack(self.left, source, start, count, as_expr(depth)))
        source = strided(c.b.buffer, (c.b.row, c.b.column))
        start = apply("add", b_start, apply("mul", column0, index(c.b.column)))
        left = apply("sub", index(number(c.columns.extent)), column0)
        count = canonical(apply("minimum", index(self.columns), left))
        statements.append(self._pack(self.right, source, start, as_expr(depth), count))
        t, p = Var("t", extent=self.tiles), Var("p", extent=self.panels)
        tile = self._tile(t, p, row0, a_start, depth, part)
        statements.append(For(p, panels, Serial(), (For(t, tiles, Serial(), tile),)))
        return tuple(statements)

    def _pack(self, memory: Buffer, source: Buffer, start: Expr, rows: Expr, columns: Expr) -> Copy:
        """A block of an operand."""
        height, pitch = (number(e) for e in memory.shape)
        wide = self.columns if memory is self.right else _whole(self.depth, self.lanes)
        box = Buffer(memory.name, memory.dtype, (height, wide), (pitch, 1), "view", memory)
        return Copy(box, source, (start, index(0), index(0)), 1, 2, rows, columns)

    def _tile(
        self, t: Var, p: Var, row0: Expr, a_start: Expr, depth: Extent, part: Var
    ) -> tuple[Stmt, ...]:
        """A tile goes on with its sum."""
        c = self.c
        statements: list[Stmt] = []
        row = let(statements, "i0", self._moved(row0, t, self.height))
        count = apply("minimum", index(self.height), apply("sub", self.total, row))
        rows = let(statements, "rows", count)
        if self._packs_left:
            a = self.left
            a_starts: tuple[Expr, ...] = (apply("mul", t, index(self.height)), index(0))
            axes = (0, 1)
        else:
            a = strided(c.a.buffer, (c.a.row, c.a.column))
            start = apply("add", a_start, apply("mul", row, index(c.a.row)))
            a_starts, axes = (start, index(0), index(0)), (1, 2)
        contract = Contract(
            self._sums_box(),
            a,
            a_starts,
            *axes,
            self.right,
            (index(0), apply("mul", p, index(self.width))),
            0,
            1,
            depth,
            rows,
            index(self.width),
            self._sums_row(t, p),
            apply("gt", part, const(0, part.dtype)),
        )
        return (*statements, contract)

    def _after(
        self, row0: Expr, column0: Expr, tiles: Expr, panels: Expr, values: dict[Var, Expr]
    ) -> Stmt:
        """What follows each element of the block."""
        c = self.c
        t, p = Var("t", extent=self.tiles), Var("p", extent=self.panels)
        statements: list[Stmt] = []
        row = let(statements, "i0", self._moved(row0, t, self.height))
        column = let(statements, "j0", self._moved(column0, p, self.width))
        total = number(c.columns.extent)
        rows = apply("minimum", index(self.height), apply("sub", self.total, row))
        columns: Expr = index(self.width)
        if total % self.width:
            columns = apply("minimum", columns, apply("sub", index(total), column))
            columns = let(statements, "columns", columns)
        box = self._sums_box()
        place = (self._sums_row(t, p), row, column)
        statements.append(epilogue(c, box, place, rows, columns, values, self.lanes))
        return For(t, tiles, Serial(), (For(p, panels, Serial(), tuple(statements)),))

    def _moved(self, first: Expr, count: Var, step: int) -> Expr:
        return canonical(apply("add", first, apply("mul", count, index(step))))

    def _sums_row(self, t: Var, p: Var) -> Expr:
        """Where the sums of a tile lie."""
        number = apply("add", apply("mul", p, index(self.tiles)), t)
        return canonical(apply("mul", number, index(self.height)))
