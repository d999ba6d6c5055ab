"""Short windows with lanes along a row of places: read from a padded copy of rows.

Holds the heuristics of direct convolution on the CPU.
"""

from __future__ import annotations

from ..affine import canonical
from ..dtypes import int64
from ..expr import Buffer, Const, Expr, Extent, Load, Var, index, number_or_expr
from ..kernel import (
    Alloc,
    Any,
    For,
    Let,
    Placed,
    Serial,
    Stmt,
    Store,
    Vector,
)
from ..scalar import apply
from ..targets.base import Features
from ..varying import likely
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import (
    ITEMS,
    Tiling,
    WindowProduct,
    number,
    rounded,
    spread,
    tap_place,
    tile_time,
    two_axes,
)

__all__ = ["Direct"]

FEW = 4
"""Of so few rows a tile has more vectors, or else its sums wait for each other."""
COPY = 3.0
"""What a vector of the padded copy takes, in cycles."""
CALL, EPILOGUE, RUN = 25.0, 3.0, 12.0
"""What a tile takes to begin, in cycles, a vector of sums on its way to what follows, and a row."""
SUMS = 1 << 16
"""Bytes of sums that wait for those of other channels."""


class Direct(Tiling):
    """Short windows: from a padded copy of some rows, of which all windows are read.

    Windows that are several places apart are read from as many copies, each of every so many
    columns, so that neighbouring windows are neighbours in memory. A tile has vectors from one row
    of places, or from several where a row fills less than one: a vector each, or side by side.
    """

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        u = product.unfold
        self.rank = len(u.low)
        (self.kernel1, self.kernel2) = two_axes(u.row_extents[1:], 1)
        (self.places1, self.places2) = two_axes(u.column_extents[1:], 1)
        (self.step1, self.step2) = two_axes(u.column_steps, 1)
        (self.dilation1, self.dilation2) = two_axes(u.row_steps, 1)
        self.channels = u.row_extents[0]
        self.taps = self.kernel1 * self.kernel2
        moves = [tap * self.dilation2 for tap in range(self.kernel2)]
        self.phases = 1 + max(move % self.step2 for move in moves)
        self.reach = max(move // self.step2 for move in moves)
        self.budget = target.l2_bytes // 4
        self.vectors = self._vectors(target)
        narrow = self.places2 <= self.lanes
        self.lines = min(self.vectors, self.places1) if narrow else 1
        self.run = self.lanes if narrow else self.vectors * self.lanes
        self.runs = -(-self.places2 // self.run)
        self.pitch = self.runs * self.run + self.reach
        self.apart = self.run
        self.joined = narrow and self._join()
        self.most = min(10 if self.vectors == 1 else 12, self._most(self.vectors, target))
        # What a tile reads for all channels.
        each = self.height(self.rows) * self.taps + self._read(self.lines) * self.pitch
        if self.channels * each * self.dtype.itemsize > target.l2_bytes // 8:
            self.budget = target.l2_bytes // 32
        self.some_runs: int = self.runs
        self.run0: Expr = index(0)

    def _join(self) -> bool:
        """Have rows of places lie one behind the other, if a tile then holds more of them.

        What lies between them is computed for nothing.
        """
        pitch = self.places2 + self.reach
        lines = (self.vectors * self.lanes - self.places2) // pitch + 1
        if self.rank == 1 or self.step1 > 1 or min(lines, self.places1) <= self.lines:
            return False
        self.lines = min(lines, self.places1)
        self.pitch = self.apart = pitch
        self.vectors = -(-((self.lines - 1) * pitch + self.places2) // self.lanes)
        return True

    @property
    def across(self) -> int:
        """Columns of a tile."""
        return self.vectors * self.lanes if self.joined else self.lines * self.run

    def _most(self, vectors: int, target: Features) -> int:
        """Rows of a tile that leave registers for the operands."""
        return max(1, (target.registers - 1 - vectors) // vectors)

    def _vectors(self, target: Features) -> int:
        """Vectors side by side in a tile."""
        if self.places2 <= self.lanes and self.places1 == 1:
            return 1
        if self.rows > FEW:
            return 2

        def time(vectors: int) -> float:
            height = min(self.rows, self._most(vectors, target))
            runs = -(-self.places2 // (vectors * self.lanes)) * self.places1
            if self.places2 <= self.lanes:
                runs = -(-self.places1 // vectors)
            return runs * -(-self.rows // height) * tile_time(height, vectors)

        return min((2, 4, 6, 8), key=time)

    @property
    def fits(self) -> bool:
        """Whether windows have several elements."""
        return self.rank <= 2 and self.taps > 1

    @property
    def time(self) -> float:
        """About how long an image takes."""
        height = self.height(self.rows)
        tiles = -(-self.places1 // self.lines) * self.runs * -(-self.rows // height)
        vectors = self.across // self.lanes
        depth = self.channels * self.taps
        copied = self._bytes(self.places1) / (self.dtype.itemsize * self.lanes)
        slow = 1 if self.step2 <= 2 else 4
        each = depth * tile_time(height, vectors) + CALL
        each += height * (EPILOGUE * vectors + RUN * self.lines)
        return tiles * each + COPY * copied * slow

    def _read(self, places: int) -> int:
        """Rows of the input that so many rows of places read."""
        return (places - 1) * self.step1 + (self.kernel1 - 1) * self.dilation1 + 1

    def _bytes(self, places: int) -> int:
        return self.channels * self.phases * self._read(places) * self.pitch * self.dtype.itemsize

    def _deal(self) -> tuple[int, int]:
        """Rows of places of an item, and channels that are summed at once.

        Where the rows of all channels do not stay near, sums of some wait for those of others.
        """
        wanted = -(-ITEMS // likely(self.trips))
        if self.rank == 1:
            # A single row is cut into runs.
            most = self.budget // self.dtype.itemsize // (self.channels * self.phases)
            runs = min(-(-self.runs // wanted), (most - self.reach) // self.run)
            self.some_runs = max(1, runs)
            self.pitch = self.some_runs * self.run + self.reach
        block = rounded(max(1, -(-self.places1 // wanted)), self.lines)
        if self._bytes(self.lines) <= self.budget:
            while self._bytes(block) > self.budget:
                block = rounded(block // 2, self.lines)
            return block, self.channels
        height = self.height(self.rows)
        waiting = self.some_runs * self.across * rounded(self.rows, height) * self.dtype.itemsize
        block = min(block, max(self.lines, SUMS // waiting // self.lines * self.lines))
        while block > self.lines and self._bytes(block) > self.channels * self.budget:
            block = rounded(block // 2, self.lines)
        parts = -(-self._bytes(block) // self.budget)
        return block, -(-self.channels // min(parts, self.channels))

    def tiled(self) -> Tiled:
        block, together = self._deal()
        blocks = -(-self.places1 // block)
        self.panels = 1
        first: Expr = index(0)
        if self.rank == 1:
            blocks = -(-self.runs // self.some_runs)
            item, values, self.run0, _ = self.item(self.some_runs, blocks)
        else:
            item, values, first, _ = self.item(block, blocks)
        copy, unfold, channels = self._copied(values, first, (block, blocks), together)
        height = self.height(self.rows)
        self.weight = self.taps_of_weight(values, self.taps)
        table = Buffer("taps", int64, (self.taps + 1,), space="chunk")
        inside: list[Stmt] = [*self._tables(table, copy), Alloc(copy)]
        width = self.across
        operands, channel = (copy, table), channels[0]
        if isinstance(channel, Const):
            acc = Buffer("acc", self.dtype, (height, width), space="tile")
            tiles = self._lines(acc, operands, channels, (values, first, block), True, True)
            inside += [unfold, Alloc(acc), tiles]
        else:
            tall = block // self.lines * self.some_runs * rounded(self.rows, height)
            acc = Buffer("sums", self.dtype, (tall, width), space="chunk")
            part, parts = Var("part"), -(-self.channels // together)
            assert isinstance(channel, Var)
            place = values, first, block
            summed = (
                Let(channel, apply("mul", part, index(together))),
                unfold,
                self._lines(acc, operands, channels, place, True, False),
            )
            inside += [Alloc(acc), self.cleared(acc), For(part, parts, Serial(), summed)]
            inside.append(self._lines(acc, operands, channels, place, False, True))
        body = self.loop(item, blocks, inside)
        depth = number(self.p.sums[0].extent)
        cost = 2.0 * self.rows * min(block, self.places1) * self.some_runs * self.run * depth
        return Tiled(body, self.trips * blocks, cost / self.lanes)

    def _copied(
        self, values: dict[Var, Expr], first: Expr, blocks: tuple[int, int], together: int
    ) -> tuple[Buffer, Stmt, tuple[Expr, Expr]]:
        """The copy of some rows, what makes it, and the first channel in it and their number."""
        read = self._read(blocks[0])
        behind = self.across if self.joined else 0
        shape = (together * self.phases, spread(read * self.pitch + behind))
        copy = Buffer("rows", self.dtype, shape, space="chunk")
        channel: Expr = Var("channel") if together < self.channels else index(0)
        count: Expr = index(together)
        if self.channels % together:
            count = apply("minimum", count, apply("sub", index(self.channels), channel))
        total, row = blocks[0] * blocks[1] * self.step1 + read, self.pitch
        first_column = apply("mul", first, index(self.step1 * self.pitch))
        if self.rank == 1:
            row = blocks[1] * self.some_runs * self.run + self.reach
            first_column = apply("mul", self.run0, index(self.run))
        unfold = self.unfolded(
            values,
            target=copy,
            row_extents=(self.channels, *(1, self.phases)[2 - self.rank :]),
            column_extents=(1, *(total, row)[2 - self.rank :]),
            row_steps=(1,) * self.rank,
            column_steps=(1, self.step2)[2 - self.rank :],
            first_row=apply("mul", channel, index(self.phases)),
            rows=apply("mul", count, index(self.phases)),
            first_column=first_column,
            columns=index(read * self.pitch),
        )
        return copy, unfold, (channel, count)

    def _tables(self, table: Buffer, copy: Buffer) -> tuple[Stmt, ...]:
        """What the tiles look up."""
        return (Alloc(table), self._places(table, copy))

    def _places(self, table: Buffer, copy: Buffer) -> Stmt:
        """Where each element of a window lies in the copy."""
        plane = number(copy.shape[1])
        t = Var("t", extent=self.taps)
        dilations = self.dilation1, self.dilation2
        lines, columns = tap_place(t, self.taps, self.kernel2, dilations, self.weight.backwards)
        phase = apply("remtrunc", columns, index(self.step2))
        value = apply("mul", lines, index(self.pitch))
        value = apply("add", value, apply("mul", phase, index(plane)))
        value = apply("add", value, apply("divtrunc", columns, index(self.step2)))
        return For(t, self.taps, Serial(), (Store(table, (t,), canonical(value)),))

    def _lines(
        self,
        acc: Buffer,
        operands: tuple[Buffer, Buffer],
        channels: tuple[Expr, Expr],
        item: tuple[dict[Var, Expr], Expr, int],
        summed: bool,
        finished: bool,
    ) -> Stmt:
        """Loops over rows of places, runs in them, and rows of the product.

        A tile is summed, or what follows its sums is computed, or both.
        """
        values, first, block = item
        height = self.height(self.rows)
        step, run, t = Var("step"), Var("run"), Var("t")
        line, column, tile0, row0 = Var("line"), Var("column"), Var("i0"), Var("row0")
        alive, let_alive = self.rows_left(tile0, height)
        inside: list[Stmt] = [Let(tile0, apply("mul", t, index(height))), *let_alive]
        place: tuple[Expr, ...] = (tile0, alive, line, column, index(0))
        tiles = -(-self.rows // height)
        if not (summed and finished):
            before = apply("add", apply("mul", step, index(self.some_runs)), run)
            before = apply(
                "mul", apply("add", apply("mul", before, index(tiles)), t), index(height)
            )
            inside.append(Let(row0, before))
            place = (*place[:4], row0)
        if summed:
            inside.append(self._contract(acc, operands, channels, place, not finished))
        if finished:
            inside.append(self._epilogue(acc, values, first, place))
        here: Extent | Expr = self.some_runs
        if self.runs % self.some_runs:
            left = apply("sub", index(self.runs), self.run0)
            here = apply("minimum", index(self.some_runs), left)
        runs = For(
            run,
            here,
            Serial(),
            (
                Let(column, apply("mul", run, index(self.run))),
                For(t, tiles, Serial(), tuple(inside)),
            ),
        )
        left = apply("minimum", index(block), apply("sub", index(self.places1), first))
        count = apply("add", left, index(self.lines - 1))
        count = apply("divtrunc", count, index(self.lines))
        body = (Let(line, apply("mul", step, index(self.lines))), runs)
        return For(step, count, Serial(), body)

    def _contract(
        self,
        acc: Buffer,
        operands: tuple[Buffer, Buffer],
        channels: tuple[Expr, Expr],
        place: tuple[Expr, ...],
        onward: bool,
    ) -> Stmt:
        (copy, table), (tile0, alive, line, column, row0) = operands, place
        w = self.weight
        buffer = self.p.weight.buffer
        matrix = Buffer(buffer.name, buffer.dtype, (1,), (1,), "view", buffer)
        start = apply("add", w.base, apply("mul", tile0, index(w.row)))
        start = apply("add", start, apply("mul", channels[0], index(w.channel)))
        next_line = self.step1 * self.pitch
        return Placed(
            acc=acc,
            acc_row=row0,
            height=self.height(self.rows),
            columns=number(acc.shape[1]),
            a=matrix,
            a_start=start,
            a_rows=w.row,
            a_row=index(0),
            a_step=w.channel,
            a_places=w.tap,
            b=Buffer(copy.name, self.dtype, (1,), (1,), "view", copy),
            b_start=apply("add", apply("mul", line, index(next_line)), column),
            b_step=self.phases * number(copy.shape[1]),
            b_places=table,
            b_run=(self.run, next_line) if self.lines > 1 and not self.joined else None,
            outer=channels[1],
            length=index(self.taps),
            rows=alive,
            onward=onward,
        )

    def _epilogue(
        self,
        acc: Buffer,
        values: dict[Var, Expr],
        first: Expr,
        place: tuple[Expr, ...],
    ) -> Stmt:
        """What follows for each place of the tile."""
        tile0, alive, line, column, row0 = place
        column = apply("add", apply("mul", self.run0, index(self.run)), column)
        i, which = Var("r", extent=self.height(self.rows)), Var("s", extent=self.lines)
        j = Var("v", extent=self.run)
        row = apply("add", apply("add", first, line), which)
        at = {
            **values,
            self.p.rows.var: apply("add", tile0, i),
            self.p.columns.var: apply(
                "add",
                apply("add", apply("mul", row, index(self.places2)), column),
                j,
            ),
        }
        from_ = apply("add", apply("mul", which, index(self.apart)), j)
        inner = (
            Let(self.p.acc, Load(acc, (apply("add", row0, i), from_))),
            *substitute(self.p.after, at),
        )
        valid = apply("minimum", index(self.run), apply("sub", index(self.places2), column))
        whole = self.places2 % self.run == 0 or self.runs == 1
        extent: Extent | Expr = min(self.run, self.places2) if whole else valid
        columns = For(j, extent, Any(), inner, mapping=Vector(self.lanes, 1))
        lines = apply("sub", index(self.places1), apply("add", first, line))
        several: Extent | Expr = self.lines
        if self.places1 % self.lines:
            several = apply("minimum", index(self.lines), lines)
        rows: Extent | Expr = number_or_expr(alive)
        return For(i, rows, Serial(), (For(which, several, Serial(), (columns,)),))
