"""Long windows that few sums share, as in the derivative by a depthwise weight: written out.

Holds the heuristics of that on the CPU. Lanes run along a row of places, the sums of all elements
of the weight stay in registers. In which order a sum runs depends on shapes and lanes alone.
"""

from __future__ import annotations

from typing import final

from ..affine import canonical
from ..expr import Buffer, Expr, Load, Var, const, index
from ..kernel import Alloc, Any, For, Let, Monoid, Serial, Stmt, Store, Tree, Vector
from ..scalar import apply
from ..targets.base import Features
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import Tiling, WindowProduct, number, spread, two_axes, usual

__all__ = ["UnrolledSums"]

MOST_TAPS, MOST_PRODUCTS = 64, 100
"""Elements of a window that are written out, and multiplications: more are much text."""
MOST_SUMS = 24
"""Sums in registers."""
COPY, LINE, PASS, END = 3.0, 10.0, 30.0, 20.0
"""What a vector of the padded copy takes, in cycles, a row of it, sums of a part, and one sum."""


@final
class UnrolledSums(Tiling):
    """Long windows: the inner products of one channel of the input with few others."""

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        self.target = target
        u = product.unfold
        self.rank = len(u.low)
        self.channels, self.images = u.row_extents[0], u.column_extents[0]
        (self.taps1, self.taps2) = two_axes(u.row_extents[1:], 1)
        (self.lines, self.line) = two_axes(u.column_extents[1:], 1)
        (self.step1, self.step2) = two_axes(u.column_steps, 1)
        (self.move1, self.move2) = two_axes(u.row_steps, 1)
        self.taps = self.taps1 * self.taps2
        moves = [tap * self.move2 for tap in range(self.taps2)]
        self.phases = 1 + max(move % self.step2 for move in moves)
        self.pitch = self.line + max(move // self.step2 for move in moves)
        self.panels, self.width = 1, self.columns
        self.block = self._block(target.l1_bytes // 2)
        self.near = self._bytes(1) <= target.l2_bytes // 4

    def _read(self, lines: int) -> int:
        """Rows of the input that so many rows of places read."""
        return (lines - 1) * self.step1 + (self.taps1 - 1) * self.move1 + 1

    def _bytes(self, lines: int) -> int:
        return self.phases * self._read(lines) * self.pitch * self.dtype.itemsize

    def _block(self, budget: int) -> int:
        """Rows of places that are summed at once: those whose copy stays near."""
        most = max(4, budget // (self.phases * self.pitch * self.dtype.itemsize))
        most = max(1, (most - self._read(1)) // self.step1 + 1)
        return -(-self.lines // -(-self.lines // most))

    @property
    def fits(self) -> bool:
        """Whether the elements of a window are few, and the other operand lies along the sum."""
        if self.rank > 2 or not self.target.masked_memory:
            return False
        buffer = self.p.weight.buffer
        _, steps = self.weight_at({f.var: index(0) for f in self.p.batch})
        plain = buffer.dtype is self.dtype and not self.dtype.is_half
        few = self.taps <= MOST_TAPS and self.taps * self.columns <= MOST_PRODUCTS
        return plain and few and self.near and steps[self.p.sums[1].var] == 1

    @property
    def time(self) -> float:
        """About how long it takes for one of the batch."""
        blocks = -(-self.lines // self.block)
        passes = self.columns * -(-self.taps1 // self._rows())
        vectors = -(-self.line // self.lanes)
        each = self.columns * self.taps * 0.75 + passes
        products = self.lines * (vectors * each + LINE * passes)
        read = blocks * self._read(self.block)
        copied = read * (COPY * self.phases * -(-self.pitch // self.lanes) + LINE)
        whole = products + copied + blocks * (PASS * passes + self.taps * self.columns)
        return self.channels * (usual(self.images) * whole + END * self.columns * self.taps)

    def _rows(self) -> int:
        """Rows of elements of a window whose sums are in registers at once."""
        return max(1, MOST_SUMS // self.taps2)

    # --- the kernel -------------------------------------------------------------------------------

    def tiled(self) -> Tiled:
        item, values, channel, _ = self.item(1, self.channels)
        total = Buffer("total", self.dtype, (self.columns * self.taps, self.lanes), space="chunk")
        sums = Buffer("sums", self.dtype, (self.columns, self.taps), space="chunk")
        inside = [
            *map(Alloc, (total, sums)),
            self.cleared(total),
            *self._images(total, values, channel),
            self._added(sums, total),
            self._epilogue(sums, values, channel),
        ]
        body = self.loop(item, self.channels, inside)
        cost = 2.0 * self.columns * self.taps * self.images * self.lines
        cost *= -(-self.line // self.lanes)
        return Tiled(body, self.trips * self.channels, cost)

    def _images(self, total: Buffer, values: dict[Var, Expr], channel: Expr) -> list[Stmt]:
        """Loops over images and blocks of rows of places, each copied and summed."""
        read, blocks = self._read(self.block), -(-self.lines // self.block)
        copy = Buffer("rows", self.dtype, (self.phases, spread(read * self.pitch)), space="chunk")
        n, b, line0 = Var("n"), Var("block"), Var("line0")
        all_lines = read if blocks == 1 else blocks * self.block * self.step1 + read
        first = apply("mul", n, index(all_lines))
        first = apply("add", first, apply("mul", line0, index(self.step1)))
        unfold = self.unfolded(
            values,
            target=copy,
            row_extents=(self.channels, *(1, self.phases)[2 - self.rank :]),
            column_extents=(self.images, *(all_lines, self.pitch)[2 - self.rank :]),
            row_steps=(1,) * self.rank,
            column_steps=(1, self.step2)[2 - self.rank :],
            first_row=apply("mul", channel, index(self.phases)),
            rows=index(self.phases),
            first_column=apply("mul", first, index(self.pitch)),
            columns=index(read * self.pitch),
        )
        lines: Expr = index(self.block)
        if self.lines % self.block:
            lines = apply("minimum", lines, apply("sub", index(self.lines), line0))
        products: list[Stmt] = []
        whole, rest = divmod(self.line, self.lanes)
        for out in range(self.columns):
            for tap1 in range(0, self.taps1, self._rows()):
                taps = range(tap1, min(tap1 + self._rows(), self.taps1))
                place = (n, line0, lines, out)
                for width, column, times in ((self.lanes, 0, whole), (rest, whole, 1)):
                    if width and times:
                        run = (width, column * self.lanes, times)
                        products.append(self._products((total, copy), values, place, taps, run))
        inner = (Let(line0, apply("mul", b, index(self.block))), unfold, *products)
        parts = For(b, blocks, Serial(), inner)
        return [Alloc(copy), For(n, self.images, Serial(), (parts,))]

    def _products(
        self,
        buffers: tuple[Buffer, Buffer],
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, int],
        rows: range,
        run: tuple[int, int, int],
    ) -> Stmt:
        """The sums of some rows of the weight: of whole vectors of places, or of the last ones."""
        (total, copy), (image, line0, lines, out), (width, column, times) = buffers, place, run
        p, buffer = self.p, self.p.weight.buffer
        base, steps = self.weight_at(values)
        view = Buffer(buffer.name, buffer.dtype, (1,), (1,), "view", buffer)
        flat = Buffer(copy.name, self.dtype, (1,), (1,), "view", copy)
        v, line, vector = Var("v", extent=width), Var("line"), Var("u", extent=times)
        at = apply("add", apply("add", apply("mul", vector, index(self.lanes)), v), index(column))
        where = apply("add", line0, line)
        other = apply("add", base, apply("mul", where, index(self.line)))
        for value, var in ((image, p.sums[0].var), (index(out), p.columns.var)):
            other = apply("add", other, apply("mul", value, index(steps[var])))
        y = Var("y", self.dtype)
        body: list[Stmt] = [Let(y, Load(view, (canonical(apply("add", other, at)),)))]
        taps = [(a, b) for a in rows for b in range(self.taps2)]
        outer = [Var("s", self.dtype) for _ in taps]
        inner = [Var("a", self.dtype) for _ in taps]
        following: list[Expr] = []
        start = apply("add", apply("mul", line, index(self.step1 * self.pitch)), at)
        for (a, b), before in zip(taps, inner, strict=True):
            shift, phase = divmod(b * self.move2, self.step2)
            moved = a * self.move1 * self.pitch + phase * number(copy.shape[1]) + shift
            x = Load(flat, (canonical(apply("add", start, index(moved))),))
            following.append(apply("fma", y, x, before))
        onward = tuple(zip(inner, outer, strict=True))
        along = For(vector, times, Serial(), tuple(body), onward, tuple(following))
        carry = tuple((s, const(0, self.dtype)) for s in outer)
        loop = For(line, lines, Serial(), (along,), carry, tuple(inner))
        stores: list[Stmt] = []
        for (a, b), s in zip(taps, outer, strict=True):
            here = (index(out * self.taps + a * self.taps2 + b), v)
            stores.append(Store(total, here, apply("add", Load(total, here), s)))
        return For(v, width, Any(), (loop, *stores), mapping=Vector(self.lanes, 1))

    # --- results ----------------------------------------------------------------------------------

    def _added(self, sums: Buffer, total: Buffer) -> Stmt:
        """The lanes of each sum, added."""
        o, r, v, s = Var("o"), Var("r"), Var("v", extent=self.lanes), Var("s", self.dtype)
        row = apply("add", apply("mul", o, index(self.taps)), r)
        lanes = For(
            v,
            self.lanes,
            Tree((Monoid.SUM,)),
            (),
            ((s, const(0, self.dtype)),),
            (Load(total, (row, v)),),
            mapping=Vector(self.lanes, 1),
        )
        inner = For(r, self.taps, Serial(), (lanes, Store(sums, (o, r), s)))
        return For(o, self.columns, Serial(), (inner,))

    def _epilogue(self, sums: Buffer, values: dict[Var, Expr], channel: Expr) -> Stmt:
        """What follows for each sum, in vectors along the elements of the windows."""
        p = self.p
        o, r = Var("o", extent=self.columns), Var("r", extent=self.taps)
        row = apply("add", apply("mul", channel, index(self.taps)), r)
        at = {**values, p.rows.var: row, p.columns.var: o}
        inner = (Let(p.acc, Load(sums, (o, r))), *substitute(p.after, at))
        vectors = For(r, self.taps, Any(), inner, mapping=Vector(self.lanes, 1))
        return For(o, self.columns, Serial(), (vectors,))
