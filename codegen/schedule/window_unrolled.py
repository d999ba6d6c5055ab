"""Short windows that few sums share: their elements are written out, weights and all.

Holds the heuristics of that on the CPU: depthwise convolutions, and those with few results. A
register tile would have few rows, each of which waits for its last multiplication.
"""

from __future__ import annotations

from typing import final

from ..affine import canonical
from ..expr import Buffer, Expr, Load, Var, const, index, number_or_expr
from ..kernel import Any, For, Let, Serial, Stmt, Store, Vector
from ..scalar import apply
from ..targets.base import Features
from ..varying import likely
from .window_direct import COPY, EPILOGUE, RUN, Direct
from .window_tiling import ITEMS, WindowProduct, number, rounded

__all__ = ["Unrolled"]

MOST_TAPS, MOST_PRODUCTS = 64, 200
"""Elements of a window that are written out, and multiplications: more are much text."""
MOST_SUMS = 8
"""Sums side by side: of rows of places, so that what one of them loads serves others."""
MOST_LINES = 4
"""Rows of places side by side, of a single channel."""
WAIT = 3.0
"""What a multiplication waits for the one before it in the same sum, in cycles."""
NEAR = 1 << 14
"""Bytes of sums, and of the copy that they are made of, where one channel follows the other."""
LONGEST = 512
"""Places of a row whose sums are computed at once: what follows finds them in the first cache."""


@final
class Unrolled(Direct):
    """Short windows: sums of some rows of places, from a padded copy of rows."""

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        self.most = max(1, self.rows)
        self.lines = self._together()
        runs = -(-self.places2 // LONGEST)
        self.run = rounded(-(-self.places2 // runs), self.lanes)
        self.runs = -(-self.places2 // self.run)
        self.pitch = self.runs * self.run + self.reach
        self.apart, self.joined = self.run, False
        self.some_runs = self.runs

    def _together(self) -> int:
        """Rows of places whose sums are side by side."""
        products = self.rows * self.taps
        # Sums of many channels wait for each other: the more of them the better.
        lines = MOST_LINES if self.channels == 1 else MOST_SUMS
        most = min(lines, MOST_SUMS // self.rows, MOST_PRODUCTS // products)
        most = max(1, min(most, self.places1))

        def waste(lines: int) -> tuple[int, int]:
            return rounded(self.places1, lines), -lines

        fewest = max(1, most - 1)
        return min(range(fewest, most + 1), key=waste)

    @property
    def fits(self) -> bool:
        """Whether the elements of a window are few, and rows of a channel stay near."""
        few = self.rows <= MOST_SUMS and self.taps * self.rows <= MOST_PRODUCTS
        pitch = self.pitch if self.rank == 2 else self.run + self.reach
        near = self._bytes(self.lines) // self.pitch * pitch <= self.budget * self.channels
        return self.rank <= 2 and 1 < self.taps <= MOST_TAPS and few and near

    @property
    def time(self) -> float:
        """About how long an image takes."""
        sums, vectors = self.rows * self.lines, self.run // self.lanes * self.runs
        products = sums * self.taps
        loads = len({p for line in range(self.lines) for p in self._moves(line)})
        each = max(products, loads + self.rows * self.taps) / 2
        if self.channels > 1:
            each = max(each, WAIT * self.taps)
        each = each * self.channels + EPILOGUE * sums
        steps = -(-self.places1 // self.lines)
        copied = self._bytes(self.places1) / (self.dtype.itemsize * self.lanes)
        slow = 1 if self.step2 <= 2 else 4
        return steps * (vectors * each + RUN * sums * self.runs) + COPY * copied * slow

    def _deal(self) -> tuple[int, int]:
        """Rows of places of an item, and channels that are summed at once.

        The sums of few results are small: they wait while one channel after the other is read.
        """
        if self.channels == 1:
            return super()._deal()
        wanted = -(-ITEMS // likely(self.trips))
        sums = self.rows * self.run * self.dtype.itemsize
        block = 1
        if self.rank == 1:
            self.some_runs = max(1, min(-(-self.runs // wanted), NEAR // sums))
            self.pitch = self.some_runs * self.run + self.reach
        else:
            most = NEAR // (sums * self.runs) // self.lines * self.lines
            block = rounded(-(-self.places1 // wanted), self.lines)
            block = max(self.lines, min(block, most))
        together = NEAR * self.channels // self._bytes(block)
        return block, max(1, min(self.channels, together))

    def _moves(self, line: int) -> list[tuple[int, int]]:
        """Rows and columns of the input that each element of a window of a row of places meets."""
        taps = [divmod(t, self.kernel2) for t in range(self.taps)]
        return [(line * self.step1 + a * self.dilation1, b * self.dilation2) for a, b in taps]

    def _tables(self, table: Buffer, copy: Buffer) -> tuple[Stmt, ...]:
        return ()

    def _contract(
        self,
        acc: Buffer,
        operands: tuple[Buffer, Buffer],
        channels: tuple[Expr, Expr],
        place: tuple[Expr, ...],
        onward: bool,
    ) -> Stmt:
        (copy, _), (first, count), (_, _, line, column, row0) = operands, channels, place
        v, c = Var("v", extent=self.run), Var("c")
        sums = [(o, which) for o in range(self.rows) for which in range(self.lines)]
        start = apply("add", apply("mul", line, index(self.step1 * self.pitch)), column)
        targets = [self._target(o, which, row0, v) for o, which in sums]
        zero = const(0, self.dtype)
        begun: list[Expr] = [Load(acc, at) if onward else zero for at in targets]
        starts = begun
        several = number(copy.shape[0]) > self.phases
        if several:
            starts = [Var(f"a{n}", self.dtype) for n in range(len(sums))]
        channel = c if several else index(0)
        body, results = self._products(copy, (start, v, first, channel), sums, starts)
        if several:
            carry = tuple((a, b) for a, b in zip(starts, begun, strict=True) if isinstance(a, Var))
            loop = For(c, number_or_expr(count), Serial(), tuple(body), carry, tuple(results))
            body, results = [loop], starts
        body += [Store(acc, at, r) for at, r in zip(targets, results, strict=True)]
        return For(v, self.run, Any(), tuple(body), mapping=Vector(self.lanes, 1))

    def _target(self, o: int, which: int, row0: Expr, v: Var) -> tuple[Expr, Expr]:
        """Where a sum is in the tile."""
        return apply("add", row0, index(o)), apply("add", index(which * self.run), v)

    def _products(
        self,
        copy: Buffer,
        place: tuple[Expr, Var, Expr, Expr],
        sums: list[tuple[int, int]],
        starts: list[Expr],
    ) -> tuple[list[Stmt], list[Expr]]:
        """All products of a channel, and the sums of them; those of each sum in order.

        What several multiply is loaded once.
        """
        start, v, first, channel = place
        w, flat = self.weight, Buffer(copy.name, self.dtype, (1,), (1,), "view", copy)
        buffer = self.p.weight.buffer
        matrix = Buffer(buffer.name, buffer.dtype, (1,), (1,), "view", buffer)
        plane = number(copy.shape[1])
        step = apply("mul", channel, index(self.phases * plane))
        begin = apply("add", apply("add", start, step), v)
        now = apply("add", first, channel)
        base = apply("add", w.base, apply("mul", now, index(w.channel)))
        body: list[Stmt] = []
        loaded: dict[object, Var] = {}

        def load(key: object, name: str, source: Buffer, at: Expr) -> Var:
            if key not in loaded:
                loaded[key] = Var(name, source.dtype)
                body.append(Let(loaded[key], Load(source, (canonical(at),))))
            return loaded[key]

        results = dict(zip(sums, starts, strict=True))
        meets: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for which in range(self.lines):
            for tap, moved in enumerate(self._moves(which)):
                meets.setdefault(moved, []).append((which, tap))
        for moved in sorted(meets, reverse=w.backwards):
            lines, columns = moved
            shift, phase = divmod(columns, self.step2)
            at = apply("add", begin, index(lines * self.pitch + phase * plane + shift))
            x = load(("x", *moved), "x", flat, at)
            for which, place_of_tap in meets[moved]:
                tap = self.taps - 1 - place_of_tap if w.backwards else place_of_tap
                for o in range(self.rows):
                    at = apply("add", base, index(o * w.row + tap * w.tap))
                    weight = load(("w", o, tap), "w", matrix, at)
                    total = Var("a", self.dtype)
                    body.append(Let(total, apply("fma", weight, x, results[o, which])))
                    results[o, which] = total
        return body, [results[key] for key in sums]
