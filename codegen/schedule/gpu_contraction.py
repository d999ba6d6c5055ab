"""Products of matrices on a GPU, through shared memory and register tiles.

Holds the choice of tiles. What is multiplied may be any value of a row and a step, or of a column
and a step: matrices in whatever layout, windows of an array, casts. The sum runs in order with
fused multiply-adds, so no choice made here changes a bit of it; of 16-bit floats tensor cores add
sixteen products at a time, in the order of these groups.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical
from ..dtypes import bool_, float32
from ..expr import Apply, Buffer, Const, Expr, Load, Var, const, index, walk
from ..kernel import (
    Alloc,
    Any,
    Dealt,
    For,
    Grid,
    If,
    Kernel,
    Let,
    Mma,
    Monoid,
    Serial,
    Stmt,
    Store,
    Sync,
    Team,
    Tree,
    Unroll,
    Vector,
    nested,
)
from ..multiplying import COLUMNS, ROWS, STEPS, mma_element
from ..records import dataclass
from ..scalar import apply
from .gpu_rewrite import flattened, own_variables, spelled, total_of
from .rewrite import each_access, replaced, stride_of, substitute

__all__ = ["Product", "match_product", "tile_contraction"]

THREADS = 256
WARP = 32
SIDE = 16
"""Threads along each side of a tile."""
FILLED = 132
"""Tiles that keep a GPU busy: below, tiles are smaller."""
SHARED = 48 << 10
"""Bytes of shared memory that a block may have."""
LEAST = 16
"""Rows, columns and steps of a product that is worth tiles."""


@final
@dataclass(frozen=True)
class Product:
    """``acc = sum over step of left(row, step) * right(step, column)``, and what follows."""

    before: tuple[Stmt, ...]
    chain: tuple[For, ...]
    batch: tuple[For, ...]
    rows: tuple[For, ...]
    columns: tuple[For, ...]
    lets: tuple[Stmt, ...]
    steps: tuple[For, ...]
    left: Expr
    right: Expr
    acc: Var
    after: tuple[Stmt, ...]

    @property
    def depth(self) -> int:
        return math.prod(f.extent for f in self.steps if isinstance(f.extent, int))


def tile_contraction(kernel: Kernel, size: int) -> Kernel | None:
    """The mapped form of a kernel that is a product of matrices large enough, or None."""
    product = match_product(kernel)
    if product is None:
        return None

    def trips(loops: Sequence[For]) -> int:
        return math.prod(f.extent if isinstance(f.extent, int) else size for f in loops)

    rows, columns = trips(product.rows), trips(product.columns)
    if min(rows, columns, product.depth) < LEAST:
        return None
    batch = trips(product.batch)
    side = next(
        (tile for tile in (128, 64) if batch * -(-rows // tile) * -(-columns // tile) >= FILLED),
        32,
    )
    tiles = _WarpTiles if _halves(product) else _Tiles
    return tiles(kernel, product, side).kernel()


def _halves(product: Product) -> bool:
    """Whether both operands are of one 16-bit float, of which tensor cores sum in float32."""
    kinds = {_narrow(e).dtype for e in (product.left, product.right)}
    return len(kinds) == 1 and kinds.pop().is_half and product.acc.dtype is float32


def _narrow(e: Expr) -> Expr:
    """What is converted, if `e` is a conversion."""
    return e.args[0] if isinstance(e, Apply) and e.op == "cast" else e


# --- which kernels -------------------------------------------------------------------------------


def match_product(kernel: Kernel) -> Product | None:
    """What a kernel multiplies, None if it is no product of two operands summed along loops."""
    *before, top = kernel.body or (None,)
    if not isinstance(top, For) or not all(isinstance(s, Let) for s in before):
        return None
    chain, lets, body = [top], list[Stmt](), top.body
    while True:
        if not isinstance(chain[-1].order, Any):
            return None
        inside = [s for s in body if not isinstance(s, Let)]
        only = inside[0] if inside else None
        if len(inside) != 1 or not isinstance(only, For) or not isinstance(only.order, Any):
            break
        lets += [s for s in body if isinstance(s, Let)]
        chain.append(only)
        body = only.body
    trees = [s for s in body if isinstance(s, For)]
    if len(trees) != 1 or any(not isinstance(s, (For, Let, Store)) for s in body):
        return None
    return _product([s for s in before if s is not None], chain, lets, body, trees[0])


def _product(
    before: Sequence[Stmt],
    chain: Sequence[For],
    lets: Sequence[Stmt],
    body: Sequence[Stmt],
    tree: For,
) -> Product | None:
    steps = [tree]
    while steps[-1].body:
        inner = steps[-1].body
        if len(inner) != 1 or not isinstance(inner[0], For):
            return None
        if steps[-1].next != tuple(v for v, _ in inner[0].carry):
            return None
        steps.append(inner[0])
    for f in steps:
        zero = all(isinstance(x, Const) and x.value == 0 for _, x in f.carry)
        if f.order != Tree((Monoid.SUM,)) or not zero or not isinstance(f.extent, int):
            return None
    value = steps[-1].next[0]
    if not (isinstance(value, Apply) and value.op == "mul" and value.dtype.is_float):
        return None
    position = list(body).index(tree)
    ahead = [*lets, *body[:position]]
    names = {s.var: s.value for s in ahead if isinstance(s, Let)}
    left, right = (replaced(spelled(a, names), {}) for a in value.args)
    variables = {f.var for f in chain}
    of_left, of_right = (
        {e for e in walk(side) if isinstance(e, Var) and e in variables} for side in (left, right)
    )
    written = {s.buffer for s in nested(body) if isinstance(s, Store)}
    if any(isinstance(e, Load) and e.buffer in written for s in (left, right) for e in walk(s)):
        return None
    rows = tuple(f for f in chain if f.var in of_left and f.var not in of_right)
    columns = tuple(f for f in chain if f.var in of_right and f.var not in of_left)
    batch = tuple(f for f in chain if f not in rows and f not in columns)
    if not rows or not columns:
        return None
    if any(not isinstance(f.extent, int) for f in chain[1:]):
        return None
    return Product(
        tuple(before),
        tuple(chain),
        batch,
        rows,
        columns,
        tuple(ahead),
        tuple(steps),
        left,
        right,
        tree.carry[0][0],
        tuple(body[position + 1 :]),
    )


# --- tiles ---------------------------------------------------------------------------------------


def _part(thread: Var, op: str) -> Expr:
    return canonical(apply(op, thread, index(SIDE)))


def _ceil(total: Expr, unit: int) -> Expr:
    return canonical(apply("divtrunc", apply("add", total, index(unit - 1)), index(unit)))


class _Tiles:
    """A block has a tile, a thread rows and columns of it; steps are the rows of shared memory."""

    along = False
    """Whether shared memory runs along the sum."""

    def __init__(self, kernel: Kernel, product: Product, side: int) -> None:
        self.kernel_, self.p = kernel, product
        self.side = side
        self.own = side // SIDE
        """Rows and columns of one thread."""
        self.step = 16 if side == 128 else 32
        self.dtype = product.acc.dtype
        self.element = self.dtype
        """What lies in shared memory."""
        self.rows = total_of([f.extent for f in product.rows])
        self.columns = total_of([f.extent for f in product.columns])
        self.acc = Buffer("acc", self.dtype, (THREADS, self.own, self.own), space="register")
        self.lets: list[Stmt] = []

    def let(self, name: str, value: Expr) -> Expr:
        if isinstance(value, (Const, Var)):
            return value
        var = Var(name)
        self.lets.append(Let(var, value))
        return var

    def kernel(self) -> Kernel:
        p = self.p
        tile_rows, tile_columns = _ceil(self.rows, self.side), _ceil(self.columns, self.side)
        total = canonical(
            apply(
                "mul", total_of([f.extent for f in p.batch]), apply("mul", tile_rows, tile_columns)
            )
        )
        extent = int(total.value) if isinstance(total, Const) else total
        item = Var("item", extent=extent if isinstance(extent, int) else None)
        column = canonical(apply("remtrunc", item, tile_columns))
        rest = canonical(apply("divtrunc", item, tile_columns))
        row = canonical(apply("remtrunc", rest, tile_rows)) if p.batch else rest
        rest = canonical(apply("divtrunc", rest, tile_rows))
        row0 = self.let("row0", canonical(apply("mul", row, index(self.side))))
        column0 = self.let("column0", canonical(apply("mul", column, index(self.side))))
        at = {
            var: self.let(var.name, value)
            for var, value in (flattened(rest, p.batch) if p.batch else {}).items()
        }
        left, right = (
            Buffer(n, self.element, self._shape(), space="shared") for n in ("left", "right")
        )

        def load(round_: Expr) -> tuple[Stmt, Stmt]:
            return (
                self._load(left, p.left, p.rows, self.rows, row0, round_, at),
                self._load(right, p.right, p.columns, self.columns, column0, round_, at),
            )

        body = (
            *self.lets,
            Alloc(left),
            Alloc(right),
            Alloc(self.acc),
            self._clear(),
            *self._rounds(load, lambda round_: self._multiply(left, right, round_)),
            self._finish(row0, column0, at),
        )
        loop = For(item, extent, Any(), body, mapping=Grid(THREADS, Team.BLOCK))
        return replace(self.kernel_, body=(*p.before, loop), finish=())

    def _rounds(
        self, load: Callable[[Expr], tuple[Stmt, ...]], multiply: Callable[[Expr], Stmt]
    ) -> tuple[Stmt, ...]:
        """All rounds: where there is room for two, the next is on its way during each."""
        count = -(-self.p.depth // self.step)
        round_ = Var("round", extent=count)
        if not self.double:
            body = (*load(round_), Sync(), multiply(round_), Sync())
            return (For(round_, count, Serial(), body),)
        following = canonical(apply("add", round_, index(1)))
        ahead = If(apply("lt", following, index(count)), load(following))
        return (
            *load(index(0)),
            For(round_, count, Serial(), (Sync(), ahead, multiply(round_))),
        )

    @property
    def double(self) -> bool:
        """Whether shared memory has room for two rounds, and there are two."""
        rows, columns = self._round()
        size = 4 * rows * columns * self.element.itemsize
        p = self.p
        copied = self._copied(p.left, p.rows) or self._copied(p.right, p.columns)
        return copied and p.depth > self.step and size <= SHARED

    def _copied(self, value: Expr, loops: Sequence[For]) -> bool:
        """Whether an operand is only moved, by a copy that no thread waits for."""
        along = self._along_steps(value, loops)
        width = self._lanes(value, loops, along) * self.element.itemsize
        return isinstance(value, Load) and along is self.along and width >= 4

    def _round(self) -> tuple[int, int]:
        """Shared memory of a round: rows next to each other begin in different banks."""
        return self.step, self.side + 4

    def _shape(self) -> tuple[int, int]:
        rows, columns = self._round()
        return rows * (2 if self.double else 1), columns

    def _half(self, round_: Expr) -> Expr:
        """Where in shared memory a round begins."""
        if not self.double:
            return index(0)
        half = apply("remtrunc", round_, index(2))
        return canonical(apply("mul", half, index(self._round()[0])))

    def _place(self, step: Expr, element: Expr, half: Expr) -> tuple[Expr, Expr]:
        """Where in shared memory a step of a row or of a column lies."""
        return canonical(apply("add", half, step)), element

    # --- threads ----------------------------------------------------------------------------------

    def _threads(self, body: Sequence[Stmt], thread: Var) -> For:
        return For(thread, THREADS, Any(), tuple(body), mapping=Dealt(Team.BLOCK))

    def _each(self, t: Var, element: Callable[[Expr, Expr, tuple[Expr, ...]], Stmt]) -> list[Stmt]:
        """``element(row, column, place in acc)`` for every element of a thread, written out."""
        up, across = _part(t, "divtrunc"), _part(t, "remtrunc")
        runs, run = max(1, self.own // 4), min(4, self.own)
        statements: list[Stmt] = []
        for down in range(runs):
            for over in range(runs):
                i, j = Var("i", extent=run), Var("j", extent=run)
                place = (t, apply("add", i, index(down * run)), apply("add", j, index(over * run)))
                inner = element(self._at(up, down, i), self._at(across, over, j), place)
                columns = For(j, run, Any(), (inner,), mapping=Unroll())
                statements.append(For(i, run, Any(), (columns,), mapping=Unroll()))
        return statements

    def _clear(self) -> Stmt:
        t, zero = Var("thread", extent=THREADS), const(0, self.dtype)
        return self._threads(self._each(t, lambda row, column, at: Store(self.acc, at, zero)), t)

    def _multiply(self, left: Buffer, right: Buffer, round_: Expr) -> Stmt:
        """One round: every thread adds the products of its rows and columns."""
        t, k = Var("thread", extent=THREADS), Var("k", extent=self.step)
        half = self._half(round_)

        def element(row: Expr, column: Expr, place: tuple[Expr, ...]) -> Stmt:
            a = Load(left, self._place(k, row, half))
            b, acc = Load(right, self._place(k, column, half)), Load(self.acc, place)
            return Store(self.acc, place, apply("fma", a, b, acc))

        steps = For(k, self.step, Serial(), tuple(self._each(t, element)))
        return self._threads([steps], t)

    def _at(self, thread: Expr, run: int, i: Expr) -> Expr:
        """Row or column of the tile: runs of four, those of neighbours side by side."""
        width = min(4, self.own)
        base = apply("add", apply("mul", thread, index(width)), index(run * SIDE * width))
        return canonical(apply("add", base, i))

    def _finish(self, row0: Expr, column0: Expr, at: dict[Var, Expr]) -> Stmt:
        """What follows each element."""
        p, t = self.p, Var("thread", extent=THREADS)

        def element(i: Expr, j: Expr, place: tuple[Expr, ...]) -> Stmt:
            row, column = (canonical(apply("add", x, y)) for x, y in ((row0, i), (column0, j)))
            acc = Var(p.acc.name, p.acc.dtype)
            values = {**at, **flattened(row, p.rows), **flattened(column, p.columns), p.acc: acc}
            after = substitute(own_variables((*p.lets, *p.after)), values)
            inside = self._inside(((row, self.rows), (column, self.columns)))
            return If(inside, (Let(acc, Load(self.acc, place)), *after))

        return self._threads(self._each(t, element), t)

    def _inside(self, bounds: Sequence[tuple[Expr, Expr]]) -> Expr:
        """Whether an element exists."""
        result: Expr = const(True, bool_)
        for place, total in bounds:
            if not (isinstance(total, Const) and int(total.value) % self.side == 0):
                result = apply("and", result, apply("lt", place, total))
        return result

    # --- operands ---------------------------------------------------------------------------------

    def _load(
        self,
        target: Buffer,
        value: Expr,
        loops: Sequence[For],
        total: Expr,
        start: Expr,
        round_: Expr,
        at: dict[Var, Expr],
    ) -> Stmt:
        """A part of an operand into shared memory, zero beyond its edges."""
        p = self.p
        first = canonical(apply("mul", round_, index(self.step)))
        along = self._along_steps(value, loops)
        lanes = self._lanes(value, loops, along)
        v, lane = Var("v", extent=self.side * self.step // lanes), Var("lane", extent=lanes)
        fast = (self.step if along else self.side) // lanes
        quick = canonical(apply("mul", apply("remtrunc", v, index(fast)), index(lanes)))
        slow = canonical(apply("divtrunc", v, index(fast)))
        step, element = (quick, slow) if along else (slow, quick)
        place, k = canonical(apply("add", start, element)), canonical(apply("add", first, step))
        tests: list[Expr] = []
        # Elements of one access exist or do not together: their number divides the whole.
        if not (isinstance(total, Const) and int(total.value) % self.side == 0):
            tests.append(apply("lt", place, total))
            place = apply("minimum", place, apply("sub", total, index(1 if along else lanes)))
        if p.depth % self.step:
            tests.append(apply("lt", k, index(p.depth)))
            k = apply("minimum", k, index(p.depth - (lanes if along else 1)))
        if lanes > 1 and along:
            step, k = (canonical(apply("add", x, lane)) for x in (step, k))
        elif lanes > 1:
            element, place = (canonical(apply("add", x, lane)) for x in (element, place))
        values = {**at, **flattened(place, loops), **flattened(k, p.steps)}
        found = replaced(value, values)
        for test in tests:
            found = apply("select", test, found, const(0, self.element))
        there = self._place(step, element, self._half(round_))
        # What is only moved need not come before the products of the round that is there.
        moved = self.double and self._copied(value, loops)
        body: tuple[Stmt, ...] = (Store(target, there, found, asynchronous=moved),)
        if lanes > 1:
            body = (For(lane, lanes, Any(), body, mapping=Vector(lanes, 1)),)
        extent = self.side * self.step // lanes
        rounds = max(1, extent // THREADS)
        return For(v, extent, Any(), body, mapping=Dealt(Team.BLOCK, 1, min(4, rounds)))

    def _along_steps(self, value: Expr, loops: Sequence[For]) -> bool:
        """Whether memory runs along the sum rather than along rows or columns."""
        score = [0, 0]
        last, step = loops[-1].var, self.p.steps[-1].var

        def visit(buffer: Buffer, indices: tuple[Expr, ...], is_store: bool) -> None:
            score[0] += stride_of(buffer, indices, last, {}) == 1
            score[1] += stride_of(buffer, indices, step, {}) == 1

        each_access((Let(Var("value", value.dtype), value),), visit)
        return score[1] > score[0]

    def _lanes(self, value: Expr, loops: Sequence[For], along: bool) -> int:
        """Elements of one access: up to 16 bytes, where none of them can lie beyond an edge."""
        fast = self.p.steps if along else loops
        extent = fast[-1].extent
        if not isinstance(extent, int) or any(
            isinstance(e, Apply) and e.op in ("select", "divtrunc", "remtrunc") for e in walk(value)
        ):
            return 1
        widest = max((e.dtype.itemsize for e in walk(value) if isinstance(e, Load)), default=8)
        wanted = 1 if widest > 4 else 4 if value.dtype.itemsize > 2 else 8
        return next(lanes for lanes in (8, 4, 1) if lanes <= wanted and extent % lanes == 0)


@final
class _WarpTiles(_Tiles):
    """Products of 16-bit floats by tensor cores: a warp has several tiles of 16 rows and 8 columns.

    Rows and columns are the rows of shared memory, steps side by side.
    """

    along = True

    def __init__(self, kernel: Kernel, product: Product, side: int) -> None:
        halves = replace(product, left=_narrow(product.left), right=_narrow(product.right))
        super().__init__(kernel, halves, side)
        self.step = 2 * STEPS
        self.element = halves.left.dtype
        down = 2 if side == 32 else 4
        self.across = THREADS // WARP // down
        self.high, self.wide = side // down // ROWS, side // self.across // COLUMNS
        shape = (THREADS, self.high, self.wide, 4)
        self.acc = Buffer("acc", self.dtype, shape, space="register")

    def _round(self) -> tuple[int, int]:
        return self.side, self.step + 8

    def _place(self, step: Expr, element: Expr, half: Expr) -> tuple[Expr, Expr]:
        return canonical(apply("add", half, element)), step

    def _corner(self, thread: Var) -> tuple[Expr, Expr]:
        """The first row and column of a warp."""
        warp = apply("divtrunc", thread, index(WARP))
        down, over = (apply(op, warp, index(self.across)) for op in ("divtrunc", "remtrunc"))
        row = apply("mul", down, index(self.high * ROWS))
        return canonical(row), canonical(apply("mul", over, index(self.wide * COLUMNS)))

    def _each(self, t: Var, element: Callable[[Expr, Expr, tuple[Expr, ...]], Stmt]) -> list[Stmt]:
        m, n = Var("m", extent=self.high), Var("n", extent=self.wide)
        row, column = self._corner(t)
        inner: list[Stmt] = []
        for c in map(index, range(4)):
            down, over = mma_element(t, m, n, c)
            at = (canonical(apply("add", row, down)), canonical(apply("add", column, over)))
            inner.append(element(*at, (t, m, n, c)))
        columns = For(n, self.wide, Any(), tuple(inner), mapping=Unroll())
        return [For(m, self.high, Any(), (columns,), mapping=Unroll())]

    def _multiply(self, left: Buffer, right: Buffer, round_: Expr) -> Stmt:
        t, half = Var("thread", extent=THREADS), self._half(round_)
        row, column = (canonical(apply("add", half, place)) for place in self._corner(t))
        steps = range(0, self.step, STEPS)
        return self._threads(
            [Mma(self.acc, t, left, row, right, column, index(k)) for k in steps], t
        )
