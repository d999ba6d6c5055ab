"""What all schedules of products with windows have in common: the product, its tile, its items.

Knows how a logical kernel says it; chooses nothing about windows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical, linear
from ..expr import Apply, Buffer, Const, Expr, Extent, Load, Var, const, index, number_or_expr
from ..kernel import (
    Alloc,
    Any,
    For,
    Kernel,
    Let,
    Parallel,
    Stmt,
    Store,
    Tree,
    Unfold,
    Vector,
    nested,
)
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import Varying, divides
from .rewrite import flat_offset, substitute

__all__ = [
    "ITEMS",
    "Taps",
    "Tiling",
    "WindowProduct",
    "divisor",
    "match_windows",
    "number",
    "rounded",
    "spread",
    "tap_place",
    "tile_time",
    "together",
    "two_axes",
    "usual",
]

ALONE = 0.7
"""What an element costs that only one multiplication uses, in cycles."""
LINE = 16
"""Elements of a line of a cache."""
ITEMS = 16
"""Items that a product is dealt in when it is large enough."""


@final
@dataclass(frozen=True)
class WindowProduct:
    """Loops around a matrix of windows, in columns or in rows, times a weight."""

    batch: tuple[For, ...]
    rows: For
    columns: For
    unfold: Unfold
    sums: tuple[For, ...]
    weight: Load
    acc: Var
    after: tuple[Stmt, ...]

    @property
    def in_rows(self) -> bool:
        """Whether the windows are the rows of the product."""
        return len(self.sums) == 2


def match_windows(kernel: Kernel) -> WindowProduct | None:
    """The product with windows that a logical kernel is, or None."""
    unfolds = [s for s in nested(kernel.body) if isinstance(s, Unfold)]
    if len(unfolds) != 1:
        return None
    chain: list[For] = []
    after: list[Stmt] = []
    body = kernel.body
    while True:
        (loop,) = (s for s in body if isinstance(s, For))
        if isinstance(loop.order, Tree):
            break
        after += [s for s in body if not isinstance(s, (For, Alloc, Unfold))]
        chain.append(loop)
        body = loop.body
    after += [s for s in body if s is not loop]
    sums = [loop]
    while sums[-1].body:
        (inner,) = (s for s in sums[-1].body if isinstance(s, For))
        sums.append(inner)
    product = sums[-1].next[0]
    assert isinstance(product, Apply)
    target = unfolds[0].target
    (weight,) = (a for a in product.args if isinstance(a, Load) and a.buffer is not target)
    return WindowProduct(
        tuple(chain[:-2]),
        chain[-2],
        chain[-1],
        unfolds[0],
        tuple(sums),
        weight,
        loop.carry[0][0],
        tuple(after),
    )


def number(extent: Extent | Expr) -> int:
    assert isinstance(extent, int)
    return extent


def two_axes(numbers: tuple[int, ...], missing: int) -> tuple[int, ...]:
    """The numbers of two axes, of which the first may be missing."""
    return (*(missing,) * (2 - len(numbers)), *numbers[:2])


def tap_place(
    t: Var, taps: int, kernel2: int, dilations: tuple[int, int], backwards: bool
) -> tuple[Expr, Expr]:
    """How many lines and columns an element of a window lies behind its first one."""
    tap: Expr = apply("sub", index(taps - 1), t) if backwards else t
    lines = apply("divtrunc", tap, index(kernel2))
    columns = apply("remtrunc", tap, index(kernel2))
    return apply("mul", lines, index(dilations[0])), apply("mul", columns, index(dilations[1]))


def divisor(number: int, most: int) -> int:
    """The largest divisor that is no larger than `most`."""
    return next((d for d in range(min(number, most), 1, -1) if number % d == 0), 1)


USUAL = 64
"""Images of a batch whose number varies: what orders a sum shall not depend on it."""


def usual(images: int) -> int:
    """How many images a choice is made for that orders a sum."""
    return USUAL if isinstance(images, Varying) else images


def together(images: int, most: int) -> int:
    """How many images, at most so many, are summed together, as equal parts as they can be."""
    if isinstance(images, Varying):
        return max(1, most)
    return -(-images // -(-images // max(1, min(images, most))))


def tile_time(rows: int, vectors: int) -> float:
    """Cycles of a term of the sum in a register tile: of multiplications, loads, or latency."""
    loads = rows * ALONE if vectors == 1 else (rows + vectors) / 2
    return max(rows * vectors / 2, loads, 4)


def rounded(value: int, unit: int) -> int:
    return -(-value // unit) * unit


@final
@dataclass(frozen=True)
class Taps:
    """Where a weight begins, and its steps along channels of the result, channels, and taps.

    One that lies `backwards` is read from its end, the taps of the windows in that order, too.
    """

    base: Expr
    row: int
    channel: int
    tap: int
    backwards: bool


def spread(width: int) -> int:
    """A width of rows that do not all lie in the same sets of a cache: an odd number of lines."""
    return LINE * (-(-width // LINE) | 1)


class Tiling:
    """What both forms have in common: the tile, and how an item is told apart."""

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        self.p = product
        self.dtype = product.acc.dtype
        self.lanes = target.vector_bytes // self.dtype.itemsize
        self.rows = number(product.rows.extent)
        self.columns = number(product.columns.extent)
        vectors = 1 if self.columns <= self.lanes else 2
        self.width = vectors * self.lanes
        most = 10 if vectors == 1 else 12
        self.most = min(most, max(1, (target.registers - 1 - vectors) // vectors))
        self.panels = -(-self.columns // self.width)
        trips = [size if isinstance(f.extent, Var) else number(f.extent) for f in product.batch]
        self.trips = math.prod(trips)
        self.lets: list[Stmt] = []

    def height(self, rows: int) -> int:
        """Rows of a tile: as equal as they can be."""
        return -(-rows // -(-rows // self.most))

    def item(self, block: int, blocks: int) -> tuple[Var, dict[Var, Expr], Expr, Expr]:
        """The variable of items; what it stands for in loops around, first row and column."""
        item = Var("item")
        panel = canonical(apply("remtrunc", item, index(self.panels)))
        rest = canonical(apply("divtrunc", item, index(self.panels)))
        first = canonical(apply("remtrunc", rest, index(blocks)))
        rest = canonical(apply("divtrunc", rest, index(blocks)))
        values: dict[Var, Expr] = {}
        for f in reversed(self.p.batch[1:]):
            extent = index(number(f.extent))
            values[f.var] = self.let(f.var.name, canonical(apply("remtrunc", rest, extent)))
            rest = canonical(apply("divtrunc", rest, extent))
        values[self.p.batch[0].var] = self.let(self.p.batch[0].var.name, rest)
        row0 = self.let("row0", canonical(apply("mul", first, index(block))))
        column0 = self.let("column0", canonical(apply("mul", panel, index(self.width))))
        return item, values, row0, column0

    def let(self, name: str, value: Expr) -> Expr:
        if isinstance(value, (Const, Var)):
            return value
        var = Var(name)
        self.lets.append(Let(var, value))
        return var

    def loop(self, item: Var, blocks: int, inside: Sequence[Stmt]) -> tuple[Stmt, ...]:
        total: Expr = index(self.panels * blocks)
        for f in self.p.batch:
            extent = index(f.extent) if isinstance(f.extent, int) else f.extent
            total = apply("mul", extent, total)
        items: Extent | Expr = number_or_expr(total)
        return (For(item, items, Any(), (*self.lets, *inside), mapping=Parallel()),)

    def weight_at(self, values: dict[Var, Expr]) -> tuple[Expr, dict[Var, int]]:
        """Where the weight begins for an item, and its steps along rows, columns and sums."""
        form = linear(flat_offset(self.p.weight.buffer, self.p.weight.indices))
        inner = [f.var for f in (self.p.rows, self.p.columns, *self.p.sums)]
        base: Expr = index(form.constant)
        for atom, factor in form.terms:
            if atom not in inner:
                assert isinstance(atom, Var)
                base = apply("add", base, apply("mul", values[atom], index(factor)))
        return base, {var: form.coefficient(var) for var in inner}

    def taps_of_weight(self, values: dict[Var, Expr], taps: int) -> Taps:
        """Where the weight begins for an item, and its steps; of one that lies backwards the end.

        The sum is over channels and taps.
        """
        form = linear(flat_offset(self.p.weight.buffer, self.p.weight.indices))
        (k,) = (f.var for f in self.p.sums)
        row, column = self.p.rows.var, self.p.columns.var
        step = form.coefficient(k)
        channel_step, tap_step = step * taps, step
        base: Expr = index(form.constant)
        for atom, factor in form.terms:
            if isinstance(atom, Var):
                if atom not in (k, row, column):
                    base = apply("add", base, apply("mul", values[atom], index(factor)))
            elif isinstance(atom, Apply) and atom.op == "divtrunc":
                channel_step = factor
            else:
                tap_step = factor
        if tap_step < 0:
            base = apply("add", base, index(tap_step * (taps - 1)))
        steps = (form.coefficient(row) or form.coefficient(column), channel_step, abs(tap_step))
        return Taps(base, *steps, tap_step < 0)

    def unfolded(self, values: dict[Var, Expr], **parts: object) -> Unfold:
        """The statement for a part of the matrix."""
        (moved,) = substitute([self.p.unfold], values)
        assert isinstance(moved, Unfold)
        return replace(moved, **parts)  # type: ignore[arg-type]

    def cleared(self, sums: Buffer) -> Stmt:
        """Zeros in a matrix of sums."""
        height, width = (number(e) for e in sums.shape)
        i, j = Var("i"), Var("j")
        clear = (Store(sums, (i, j), const(0, self.dtype)),)
        return For(i, height, Any(), (For(j, width, Any(), clear, mapping=Vector(self.lanes, 1)),))

    def rows_left(self, tile0: Expr, height: int) -> tuple[Expr, tuple[Let, ...]]:
        """How many rows of a tile that begins at `tile0` there are, and what binds that."""
        if divides(height, self.rows):
            return index(height), ()
        alive = Var("rows")
        left = apply("sub", index(self.rows), tile0)
        return alive, (Let(alive, apply("minimum", index(height), left)),)

    def columns_left(self, column0: Expr) -> Expr:
        if divides(self.width, self.columns):
            return index(self.width)
        left = apply("sub", index(self.columns), column0)
        return self.let("valid", apply("minimum", index(self.width), left))
