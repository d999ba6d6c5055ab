"""The schedule of contractions: a register tile, packed panels, and blocks of rows as items.

Holds the tile heuristics of the CPU back end. The sum over k always runs in order, so no choice
made here changes a bit of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from ..affine import canonical
from ..dtypes import DType, uint32
from ..expr import Apply, Buffer, Const, Expr, Extent, Load, Var, index, number_or_expr, walk
from ..kernel import (
    Alloc,
    Any,
    Contract,
    Copy,
    For,
    Kernel,
    Let,
    Monoid,
    Parallel,
    Serial,
    Stmt,
    Tree,
    Vector,
    nested,
)
from ..records import dataclass
from ..scalar import apply
from ..targets.base import Features
from ..varying import divides, likely
from .operands import Operand, filled, operand_of, strided
from .rewrite import expressions, substitute

__all__ = ["Choice", "Contraction", "Tiled", "contraction_of", "match", "rule", "tile"]

_WIDE = {1: 12, 2: 6, 3: 6, 4: 4}
"""Vectors side by side in a tile of few rows."""

AHEAD = 12
"""Rows of a large right operand that such a tile fetches before their turn: short pieces of rows
are nothing that a processor foresees."""

_MOST, _MOST_OF_16 = (14, 12, 8, 6, 5), (14, 6)
"""Rows of a tile of one, two, ... vectors that leave registers for the operands."""

PACK_ROWS, PACK_ROWS_OF_FLAT = 24, 128
"""From this many rows on, packing the right operand is paid back by its reuse.

A panel of at most FLAT rows is read where it lies almost as fast, even with long strides.
"""

FLAT = 1024

ITEMS, PACKED_ITEMS = 16, 8
"""Items that a contraction is dealt in when it is large enough, so that threads share it evenly.

Every item packs its own panel, so fewer of them pack less.
"""


@final
@dataclass(frozen=True)
class Contraction:
    """``acc[i, j] = sum_k a[i, k] * b[k, j]`` for every batch, and what follows each element."""

    before: tuple[Stmt, ...]
    batch: tuple[For, ...]
    rows: For
    columns: For
    depth: int
    a: Operand
    b: Operand
    acc: Var
    after: tuple[Stmt, ...]

    @property
    def packed(self) -> DType:
        """What panels hold."""
        made = self.b.computed
        given = self.b.buffer.dtype if made is None else made.value.dtype
        return given if given is uint32 else self.acc.dtype


@final
@dataclass(frozen=True)
class Tiled:
    """The mapped body, its items, and the cost of one."""

    body: tuple[Stmt, ...]
    items: int
    cost: float


@final
@dataclass(frozen=True)
class Choice:
    """How a product is dealt and computed; none of this changes a bit of it.

    Attributes
    ----------
    height, vectors : int
        Rows of a register tile, and its vectors side by side.
    packed : bool
        Whether panels of the right operand are copied before they are read.
    block : int
        Rows of an item.
    depth : int
        Steps of the sum in one part where the product is computed in blocks, else 0.
    """

    height: int
    vectors: int
    packed: bool
    block: int
    depth: int = 0


def match(kernel: Kernel) -> Contraction | None:
    """The contraction that a logical kernel is, or None."""
    before = tuple(s for s in kernel.body if not isinstance(s, For))
    tops = [s for s in kernel.body if isinstance(s, For)]
    if len(tops) != 1 or any(not isinstance(s, Let) for s in before):
        return None
    chain = [tops[0]]
    lets: list[Stmt] = []
    while True:
        last = chain[-1]
        loops = [s for s in last.body if isinstance(s, For)]
        if not isinstance(last.order, Any) or len(loops) != 1:
            return None
        if isinstance(loops[0].order, Tree):
            break
        lets += [s for s in last.body if not isinstance(s, For)]
        chain.append(loops[0])
    if len(chain) < 2 or any(not isinstance(s, Let) for s in lets):
        return None
    reduction = loops[0]
    return contraction_of((*before,), chain, reduction, lets)


def contraction_of(
    before: tuple[Stmt, ...], chain: Sequence[For], reduction: For, lets: Sequence[Stmt]
) -> Contraction | None:
    """The contraction that a loop of `chain`, the innermost one, computes with `reduction`."""
    plain = reduction.order == Tree((Monoid.SUM,))
    product = reduction.next[0]
    start = reduction.carry[0][1]
    from_zero = isinstance(start, Const) and start.value == 0
    if not plain or not from_zero or not isinstance(reduction.extent, int):
        return None
    if not (isinstance(product, Apply) and product.op == "mul" and has_tiles(product.dtype)):
        return None
    after = tuple(s for s in chain[-1].body if s is not reduction)
    names = {}
    for s in (*lets, *after, *reduction.body):
        if isinstance(s, Let):
            names[s.var] = s.value
        elif s in reduction.body:
            return None
    i, j, k = chain[-2].var, chain[-1].var, reduction.var
    left, right = product.args
    a, b = operand_of(left, i, k, j, names), operand_of(right, k, j, i, names)
    if a is None or b is None:
        return None
    return Contraction(
        before,
        tuple(chain[:-2]),
        chain[-2],
        chain[-1],
        reduction.extent,
        a,
        b,
        reduction.carry[0][0],
        needed((*lets, *after)),
    )


def needed(statements: Sequence[Stmt]) -> tuple[Stmt, ...]:
    """The statements without names that nothing after them uses."""
    kept: list[Stmt] = []
    used: set[Expr] = set()
    for s in reversed(statements):
        if isinstance(s, Let) and s.var not in used:
            continue
        used.update(x for inner in nested([s]) for e in expressions(inner) for x in walk(e))
        kept.append(s)
    return tuple(reversed(kept))


def has_tiles(dtype: DType) -> bool:
    """Whether there are register tiles of sums of that dtype."""
    return dtype.itemsize >= 4 and (dtype.is_float or dtype.is_integer)


def tile_shape(
    rows: int, columns: int, target: Features, itemsize: int, depth: int
) -> tuple[int, int]:
    """Rows and vectors of the register tile.

    That of two vectors, unless another one takes clearly fewer cycles for all rows and columns: a
    program compiles each tile that it has, so that few different ones are better.
    """
    lanes = target.vector_bytes // itemsize
    rows = max(rows, 1)
    if rows in _WIDE:
        # So many sums in flight that additions do not wait for each other.
        most = _WIDE[rows] if target.registers > 16 else _WIDE[rows] // 2
        return rows, max(1, min(most, -(-columns // lanes)))
    limits = _MOST if target.registers > 16 else _MOST_OF_16
    usual = (limits[1], 2)
    shapes = [
        (height, vectors)
        for vectors, most in enumerate(limits, 1)
        for height in range(min(most, rows), 0, -1)
    ]

    def cycles(shape: tuple[int, int]) -> float:
        height, vectors = shape
        # Two products or two loads at once; a product takes four cycles, and a step some more:
        # most with one vector, as the rows are then read for few columns. A panel that leaves the
        # nearest cache takes more.
        step = max(height * vectors / 2, (height + vectors) / 2, 4) + (
            1.5 if vectors == 1 else 0.75
        )
        if depth * vectors * target.vector_bytes > target.l1_bytes:
            step += vectors / 2
        tiles = -(-rows // height) * -(-columns // (vectors * lanes))
        return step * tiles * (1.0 if shape == usual else 1.04)

    return min(shapes, key=cycles)


def batches(c: Contraction, size: int) -> int:
    """How many products there are."""
    count = 1
    for f in c.batch:
        count *= size if isinstance(f.extent, Var) else number(f.extent)
    return count


def row_count(c: Contraction, size: int) -> int:
    """How many rows each of them has."""
    return number(c.rows.extent) if isinstance(c.rows.extent, int) else size


def rule(c: Contraction, size: int, target: Features) -> Choice:
    """How a product in one part is computed where nobody says how."""
    itemsize = c.acc.dtype.itemsize
    rows, extent = likely(row_count(c, size)), number(c.columns.extent)
    columns, depth = likely(extent), likely(c.depth)
    height, vectors = tile_shape(rows, columns, target, itemsize, depth)
    width = vectors * target.lanes(c.acc.dtype)
    least = PACK_ROWS_OF_FLAT if depth <= FLAT else PACK_ROWS
    packed = c.b.column != 1 or (
        rows >= least and (not divides(width, extent) or likely(c.b.row) * itemsize >= 1024)
    )
    packed |= must_pack(c, target)
    panels = -(-columns // width)
    block = _block_rows(rows, height, likely(batches(c, size)) * panels, packed)
    return Choice(height, vectors, packed, block)


def must_pack(c: Contraction, target: Features) -> bool:
    """Whether tiles cannot read the right operand where it lies."""
    # Vectors of so few bytes have no masks there.
    masked = not (c.b.buffer.dtype.is_half and target.vector_bytes < 64)
    return c.b.column != 1 or c.b.computed is not None or not masked


def tile(c: Contraction, size: int, target: Features, choice: Choice | None = None) -> Tiled:
    """The mapped form: items of (batch, block of rows, panel of columns), each a run of tiles."""
    chosen = choice or rule(c, size, target)
    lanes = target.lanes(c.acc.dtype)
    rows, columns = row_count(c, size), number(c.columns.extent)
    width = chosen.vectors * lanes
    panels = -(-columns // width)
    block = chosen.block
    blocks = -(-rows // block)
    builder = _TileBuilder(c, target, chosen, blocks, panels)
    cost = 2.0 * min(block, max(rows, 1)) * min(columns, width) * c.depth / lanes
    # Few rows wait for the panel to come from memory.
    cost = max(cost, 1.0 * min(columns, width) * c.depth * c.b.itemsize)
    return Tiled(builder.body(), batches(c, size) * blocks * panels, cost)


def _block_rows(rows: int, height: int, others: int, packed: bool) -> int:
    """Rows of one item: few enough for threads to share, enough to pay for packing."""
    items = PACKED_ITEMS if packed else ITEMS
    wanted = max(1, -(-items // max(1, others)))
    least = height * (8 if packed else 2)
    block = max(least, -(-rows // wanted))
    return -(-block // height) * height


@final
class Items:
    """What an item of the launch is: a batch, a block of rows, a panel of columns."""

    def __init__(self, c: Contraction, blocks: int, panels: int) -> None:
        self.c = c
        self.item = Var("item")
        self.total = blocks * panels
        self.lets: list[Stmt] = []
        self.values: dict[Var, Expr] = {}
        self.panel = _part(self.item, panels)
        rest = canonical(apply("divtrunc", self.item, index(panels)))
        self.block = _part(rest, blocks) if c.batch else rest
        rest = canonical(apply("divtrunc", rest, index(blocks)))
        for f in reversed(c.batch[1:]):
            self.values[f.var] = _part(rest, number(f.extent))
            rest = canonical(apply("divtrunc", rest, index(number(f.extent))))
        if c.batch:
            self.values[c.batch[0].var] = rest

    def let(self, name: str, value: Expr) -> Expr:
        """A name for a value of the item."""
        return let(self.lets, name, value)

    def bind_batch(self) -> None:
        """Names for the indices of the batch."""
        for var, value in self.values.items():
            self.values[var] = self.let(var.name, value)

    def loop(self, inside: Sequence[Stmt]) -> tuple[Stmt, ...]:
        """The loop over items; a launch gives the range of each chunk."""
        total: Expr = index(self.total)
        for f in self.c.batch:
            total = apply("mul", as_expr(f.extent), total)
        extent = number_or_expr(total)
        body = (*self.lets, *inside)
        return (*self.c.before, For(self.item, extent, Any(), body, mapping=Parallel()))


def _part(value: Expr, extent: int) -> Expr:
    return canonical(apply("remtrunc", value, index(extent)))


def let(statements: list[Stmt], name: str, value: Expr) -> Expr:
    """A name for a value, defined by a statement unless it has one."""
    if isinstance(value, (Const, Var)):
        return value
    var = Var(name)
    statements.append(Let(var, value))
    return var


def base_of(operand: Operand, values: dict[Var, Expr]) -> Expr:
    """Where the matrix of a batch begins."""
    (bound,) = substitute([Let(Var("base"), operand.base)], values)
    assert isinstance(bound, Let)
    return bound.value


def based(statements: list[Stmt], operand: Operand, values: dict[Var, Expr]) -> Expr:
    """Where the matrix of a batch begins, named where an array says so."""
    base = base_of(operand, values)
    far = any(isinstance(e, Load) for e in walk(base))
    return let(statements, "base", base) if far else base


def as_expr(extent: Extent | Expr) -> Expr:
    """An extent as an expression."""
    return index(extent) if isinstance(extent, int) else extent


def number(extent: Extent | Expr) -> int:
    """An extent that is known."""
    assert isinstance(extent, int)
    return extent


def epilogue(
    c: Contraction,
    acc: Buffer,
    place: tuple[Expr, Expr, Expr],
    rows: Expr,
    columns: Expr,
    values: dict[Var, Expr],
    lanes: int,
) -> Stmt:
    """What follows for each element of a tile, while it is in the nearest cache.

    `place` is the first row of the tile in `acc`, and its first row and column in the result.
    """
    height, width = (number(e) for e in acc.shape)
    i, j = Var("r", extent=height), Var("v", extent=width)
    acc_row, row0, column0 = place
    at = {**values, c.rows.var: apply("add", row0, i), c.columns.var: apply("add", column0, j)}
    own = canonical(apply("add", acc_row, i))
    inner = (Let(c.acc, Load(acc, (own, j))), *substitute(c.after, at))
    extent: Extent | Expr = number_or_expr(columns)
    vectors = For(j, extent, Any(), inner, mapping=Vector(lanes, 1))
    return For(i, rows, Serial(), (vectors,))


@final
class _TileBuilder:
    def __init__(
        self, c: Contraction, target: Features, choice: Choice, blocks: int, panels: int
    ) -> None:
        self.c = c
        self.lanes = target.lanes(c.acc.dtype)
        self.height = choice.height
        self.width = choice.vectors * self.lanes
        self.block, self.blocks, self.panels = choice.block, blocks, panels
        self.packed = choice.packed
        far = likely(c.depth) * likely(c.b.row) * c.b.itemsize > target.l2_bytes
        self.ahead = AHEAD if far and not choice.packed and choice.height <= max(_WIDE) else 0
        self.rows = as_expr(c.rows.extent)
        self.columns = number(c.columns.extent)

    def body(self) -> tuple[Stmt, ...]:
        place = Items(self.c, self.blocks, self.panels)
        row0 = place.let("row0", canonical(apply("mul", place.block, index(self.block))))
        column0 = place.let("column0", canonical(apply("mul", place.panel, index(self.width))))
        place.bind_batch()
        return place.loop(self._panel(row0, column0, place.values))

    def _panel(self, row0: Expr, column0: Expr, values: dict[Var, Expr]) -> tuple[Stmt, ...]:
        """One item: the packed panel of the right operand, then the tiles of its rows."""
        c = self.c
        statements: list[Stmt] = []
        a_base, b_base = (based(statements, o, values) for o in (c.a, c.b))
        b_start = apply("add", b_base, apply("mul", column0, index(c.b.column)))
        valid: Expr = index(self.width)
        if not divides(self.width, self.columns):
            left = apply("sub", index(self.columns), column0)
            valid = let(statements, "valid", apply("minimum", index(self.width), left))
        depth = index(c.depth)
        if self.packed:
            panel = Buffer("panel", c.packed, (c.depth, self.width), space="chunk")
            statements.append(Alloc(panel))
            if c.b.computed is not None:
                box = (index(0), column0, c.depth, valid)
                statements += filled(c.b, panel, index(0), box, values, self.lanes)
            else:
                source = strided(c.b.buffer, (c.b.row, c.b.column))
                starts = (b_start, index(0), index(0))
                statements.append(Copy(panel, source, starts, 1, 2, depth, valid))
            right, b_starts, axes = panel, (index(0), index(0)), (0, 1)
            contract_columns: Expr = index(self.width)
        else:
            right = strided(c.b.buffer, (c.b.row, c.b.column))
            b_starts, axes = (b_start, index(0), index(0)), (1, 2)  # type: ignore[assignment]
            contract_columns = valid
        acc = Buffer("acc", c.acc.dtype, (self.height, self.width), space="tile")
        t = Var("t")
        tile0 = Var("i0")
        left_rows = apply("sub", self.rows, tile0)
        row_count = Var("rows")
        a_start = apply("add", a_base, apply("mul", tile0, index(c.a.row)))
        place = (index(0), tile0, column0)
        inside: list[Stmt] = [
            Let(tile0, apply("add", row0, apply("mul", t, index(self.height)))),
            Let(row_count, apply("minimum", index(self.height), left_rows)),
            Contract(
                acc,
                strided(c.a.buffer, (c.a.row, c.a.column)),
                (a_start, index(0), index(0)),
                1,
                2,
                right,
                b_starts,
                axes[0],
                axes[1],
                c.depth,
                row_count,
                contract_columns,
                ahead=self.ahead,
            ),
            epilogue(c, acc, place, row_count, valid, values, self.lanes),
        ]
        rows_left = apply("minimum", index(self.block), apply("sub", self.rows, row0))
        tiles = apply(
            "divtrunc", apply("add", rows_left, index(self.height - 1)), index(self.height)
        )
        statements += [Alloc(acc), For(t, tiles, Serial(), tuple(inside))]
        return tuple(statements)
