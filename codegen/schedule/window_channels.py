"""Short windows with lanes along the channels of the result: places are rows, read anywhere.

Holds the heuristics of that on the CPU. An element of the input is in every lane of a vector, so
that neither steps between windows nor short rows of places leave lanes empty.
"""

from __future__ import annotations

from typing import final

from ..affine import canonical, linear
from ..dtypes import int64
from ..expr import Buffer, Expr, Extent, Load, Var, index, number_or_expr
from ..kernel import (
    Alloc,
    Any,
    Copy,
    For,
    Let,
    Parallel,
    Placed,
    Serial,
    Stmt,
    Store,
    Vector,
)
from ..scalar import apply
from ..targets.base import Features
from ..varying import divides, likely
from .contraction import Tiled
from .rewrite import substitute
from .window_tiling import (
    Tiling,
    WindowProduct,
    number,
    rounded,
    spread,
    tap_place,
    tile_time,
    two_axes,
)

__all__ = ["Channels"]

ITEMS = 8
"""Items that a product is dealt in: each packs its part of the weight, so few."""
LEAST_ROWS, MOST_ROWS = 64, 384
"""Places that pay for packing a weight, and those whose sums stay near until what follows them."""
COPY, PACK, STORE = 3.0, 8.0, 6.0
"""What a vector of the padded copy takes, in cycles, one of the weight, and one of the result."""
BEGIN = 60.0
"""What the weight of a channel takes to begin where each is packed by itself."""


@final
class Channels(Tiling):
    """Short windows: of some rows of places, or some images, for a vector or two of channels."""

    def __init__(self, product: WindowProduct, size: int, target: Features) -> None:
        super().__init__(product, size, target)
        u = product.unfold
        self.rank = len(u.low)
        self.places, self.out = self.columns, self.rows
        (self.kernel1, self.kernel2) = two_axes(u.row_extents[1:], 1)
        (self.places1, self.places2) = two_axes(u.column_extents[1:], 1)
        (self.step1, self.step2) = two_axes(u.column_steps, 1)
        (self.dilation1, self.dilation2) = two_axes(u.row_steps, 1)
        self.channels = u.row_extents[0]
        self.taps = self.kernel1 * self.kernel2
        self.depth = self.channels * self.taps
        vectors = 1 if self.out <= self.lanes else 2
        self.width = vectors * self.lanes
        self.panels = -(-self.out // self.width)
        most = 10 if vectors == 1 else 12
        self.most = min(most, max(1, (target.registers - 1 - vectors) // vectors))
        self.pitch = (self.places2 - 1) * self.step2 + (self.kernel2 - 1) * self.dilation2 + 1
        self.budget = target.l2_bytes // 4
        image = product.batch[-1]
        self.batch = number(image.extent) if len(product.batch) > 1 else 1
        self._deal(image.var)

    def _deal(self, image: Var) -> None:
        """How many images, or rows of places of one, are an item, and channels are summed at once.

        An item packs its part of the weight, which many places pay for.
        """
        self.image = image
        self.image_step = linear(self.p.unfold.offset).coefficient(image)
        batch = likely(self.batch)
        others = likely(self.trips) // batch * self.panels
        blocks = -(-ITEMS // others)
        rows = min(MOST_ROWS, max(LEAST_ROWS, -(-batch * self.places // blocks)))
        self.images, self.lines = 1, self.places1
        if rows >= self.places:
            images = min(batch, rows // self.places)
            self.images = -(-batch // -(-batch // images))
        else:
            lines = max(1, rows // self.places2)
            self.lines = -(-self.places1 // -(-self.places1 // lines))
        self.read = (self.lines - 1) * self.step1 + (self.kernel1 - 1) * self.dilation1 + 1
        self.plane = self.read * self.pitch
        self.block = self.images * self.lines * self.places2
        each = max(self.images * self.plane, self.taps * self.width) * self.dtype.itemsize
        parts = -(-self.channels * each // self.budget)
        self.together = -(-self.channels // min(parts, self.channels))

    @property
    def fits(self) -> bool:
        """Whether the sums of an item stay near."""
        return self.rank <= 2 and self.taps > 1 and self.block <= 2 * MOST_ROWS

    @property
    def time(self) -> float:
        """About how long an image takes."""
        vectors = self.width // self.lanes
        height = self.height(self.block)
        tiles = -(-self.block // height) / self.block * self.places
        blocks = -(-self.places1 // self.lines)
        copied = blocks * self.channels * self.plane / self.lanes
        packed = PACK * self.depth * vectors
        w = self.taps_of_weight({f.var: index(0) for f in self.p.batch}, self.taps)
        if w.channel != w.tap * self.taps:
            packed += BEGIN * self.channels
        packed *= blocks / self.images
        stored = self.places * vectors
        each = tiles * self.depth * tile_time(height, vectors)
        return self.panels * (each + packed + STORE * stored + COPY * copied)

    # --- the kernel -------------------------------------------------------------------------------

    def tiled(self) -> Tiled:
        item, lets, values, place = self._item()
        image0, line0, _, some = place
        self.weight = self.taps_of_weight({**values, self.image: image0}, self.taps)
        rows_table = Buffer("places", int64, (self.block,), space="chunk")
        taps = Buffer("taps", int64, (self.taps + 1,), space="chunk")
        height = self.height(self.block)
        sums = Buffer("sums", self.dtype, (rounded(self.block, height), self.width), space="chunk")
        turned = Buffer(
            "turned", self.dtype, (self.width, rounded(self.block, self.lanes)), space="chunk"
        )
        images: Expr = index(self.images)
        if not divides(self.images, self.batch):
            left = apply("sub", index(self.batch), image0)
            images = apply("minimum", images, left)
        lines: Expr = index(self.lines)
        if self.places1 % self.lines:
            lines = apply("minimum", lines, apply("sub", index(self.places1), line0))
        bound = Var("rows")
        rows = apply("mul", apply("mul", images, lines), index(self.places2))
        inside: list[Stmt] = [
            Let(bound, rows),
            *map(Alloc, (rows_table, taps, sums)),
            self._row_places(rows_table),
            self._tap_places(taps),
            *self._summed(sums, (rows_table, taps), values, (place, images, bound)),
            Alloc(turned),
            self._turned(turned, sums, some, bound),
            self._epilogue(turned, values, place, (images, lines)),
        ]
        total: Expr = index(self.panels * self._blocks())
        for f in self.p.batch:
            if f.var is not self.image:
                extent = index(f.extent) if isinstance(f.extent, int) else f.extent
                total = apply("mul", extent, total)
        items: Extent | Expr = number_or_expr(total)
        body = (For(item, items, Any(), (*lets, *inside), mapping=Parallel()),)
        cost = 2.0 * self.block * min(self.out, self.width) * self.depth / self.lanes
        count = self.trips // self.batch * self.panels * self._blocks()
        return Tiled(body, count, cost)

    def _blocks(self) -> int:
        return -(-self.batch // self.images) * -(-self.places1 // self.lines)

    def _item(
        self,
    ) -> tuple[Var, list[Stmt], dict[Var, Expr], tuple[Expr, Expr, Expr, Expr]]:
        """The variable of items, and what it stands for: image, row of places, channel."""
        item = Var("item")
        rest: Expr = item
        found: list[Expr] = []
        blocks = -(-self.places1 // self.lines), -(-self.batch // self.images)
        for count in (self.panels, *blocks):
            found.append(canonical(apply("remtrunc", rest, index(count))))
            rest = canonical(apply("divtrunc", rest, index(count)))
        values: dict[Var, Expr] = {}
        outer = [f for f in self.p.batch if f.var is not self.image]
        for f in reversed(outer[1:]):
            extent = index(number(f.extent))
            values[f.var] = self.let(f.var.name, canonical(apply("remtrunc", rest, extent)))
            rest = canonical(apply("divtrunc", rest, extent))
        values[outer[0].var] = self.let(outer[0].var.name, rest)
        image0 = self.let("image0", canonical(apply("mul", found[2], index(self.images))))
        line0 = self.let("line0", canonical(apply("mul", found[1], index(self.lines))))
        out0 = self.let("out0", canonical(apply("mul", found[0], index(self.width))))
        some: Expr = index(self.width)
        if self.out % self.width:
            left = apply("sub", index(self.out), out0)
            some = self.let("some", apply("minimum", index(self.width), left))
        return item, list(self.lets), values, (image0, line0, out0, some)

    def _row_places(self, table: Buffer) -> Stmt:
        """Where the window of each place begins in the copy."""
        r = Var("r", extent=self.block)
        line = apply("divtrunc", r, index(self.places2))
        column = apply("remtrunc", r, index(self.places2))
        image = apply("divtrunc", line, index(self.lines))
        line = apply("remtrunc", line, index(self.lines))
        value = apply("mul", image, index(self.plane))
        value = apply("add", value, apply("mul", line, index(self.step1 * self.pitch)))
        value = apply("add", value, apply("mul", column, index(self.step2)))
        return For(r, self.block, Serial(), (Store(table, (r,), canonical(value)),))

    def _tap_places(self, table: Buffer) -> Stmt:
        """Where each element of a window lies from where it begins."""
        t = Var("t", extent=self.taps)
        dilations = self.dilation1, self.dilation2
        lines, columns = tap_place(t, self.taps, self.kernel2, dilations, self.weight.backwards)
        value = apply("add", apply("mul", lines, index(self.pitch)), columns)
        return For(t, self.taps, Serial(), (Store(table, (t,), canonical(value)),))

    def _summed(
        self,
        sums: Buffer,
        tables: tuple[Buffer, Buffer],
        values: dict[Var, Expr],
        extents: tuple[tuple[Expr, Expr, Expr, Expr], Expr, Expr],
    ) -> list[Stmt]:
        """The sums of an item: of some channels after the other, of which all stays near."""
        (image0, line0, out0, some), images, rows = extents
        shape = (self.together, spread(self.images * self.plane))
        copy = Buffer("rows", self.dtype, shape, space="chunk")
        panel = Buffer("panel", self.dtype, (self.together * self.taps, self.width), space="chunk")
        part = Var("part")
        parts = -(-self.channels // self.together)
        channel: Expr = Var("channel") if parts > 1 else index(0)
        count: Expr = index(self.together)
        if self.channels % self.together:
            count = apply("minimum", count, apply("sub", index(self.channels), channel))
        values = {**values, self.image: image0}
        body = [
            self._copied(copy, values, (images, line0), (channel, count)),
            *self._panel(panel, (out0, some), (channel, count)),
            self._tiles(sums, (copy, panel, *tables), (rows, count), parts > 1),
        ]
        allocs = [Alloc(copy), Alloc(panel)]
        if parts == 1:
            return [*allocs, *body]
        assert isinstance(channel, Var)
        body.insert(0, Let(channel, apply("mul", part, index(self.together))))
        return [*allocs, self.cleared(sums), For(part, parts, Serial(), tuple(body))]

    def _copied(
        self,
        copy: Buffer,
        values: dict[Var, Expr],
        place: tuple[Expr, Expr],
        channels: tuple[Expr, Expr],
    ) -> Stmt:
        """The part of the input that the windows of an item lie in, with its padding."""
        u, (images, line0) = self.p.unfold, place
        assert u.source.strides is not None
        strides = list(u.source.strides)
        strides[2] = self.image_step
        source = Buffer(
            u.source.name, u.source.dtype, u.source.shape, tuple(strides), "view", u.source.base
        )
        blocks = -(-self.places1 // self.lines)
        total = self.read if blocks == 1 else blocks * self.lines * self.step1 + self.read
        return self.unfolded(
            values,
            target=copy,
            source=source,
            row_extents=(self.channels, *(1,) * self.rank),
            column_extents=(self.images, *(total, self.pitch)[2 - self.rank :]),
            column_steps=(1,) * self.rank,
            first_row=channels[0],
            rows=channels[1],
            first_column=apply("mul", line0, index(self.step1 * self.pitch)),
            columns=apply("mul", images, index(self.plane)),
        )

    def _panel(
        self, panel: Buffer, out: tuple[Expr, Expr], channels: tuple[Expr, Expr]
    ) -> list[Stmt]:
        """The weight of some channels of the result, these side by side."""
        w, (out0, some), (channel0, count) = self.weight, out, channels
        buffer = self.p.weight.buffer
        strides = (1, w.row, w.tap)
        view = Buffer(buffer.name, buffer.dtype, (1, 1, 1), strides, "view", buffer)
        start = apply("add", w.base, apply("mul", out0, index(w.row)))
        start = apply("add", start, apply("mul", channel0, index(w.channel)))
        zero = index(0)
        if w.channel == w.tap * self.taps:
            rows = apply("mul", count, index(self.taps))
            return [Copy(panel, view, (start, zero, zero), 2, 1, rows, some)]
        channel = Var("c")
        shape = (self.taps, self.width)
        part = Buffer(panel.name, self.dtype, shape, (self.width, 1), "view", panel)
        at = apply("add", start, apply("mul", channel, index(w.channel)))
        rows = index(self.taps)
        row0 = apply("mul", channel, rows)
        body = (Copy(part, view, (at, zero, zero), 2, 1, rows, some, row0),)
        return [For(channel, number_or_expr(count), Serial(), body)]

    def _tiles(
        self,
        sums: Buffer,
        operands: tuple[Buffer, Buffer, Buffer, Buffer],
        extents: tuple[Expr, Expr],
        onward: bool,
    ) -> Stmt:
        (copy, panel, places, taps), (rows, channels) = operands, extents
        height = self.height(self.block)
        t, row0 = Var("t"), Var("row0")
        exist = apply("minimum", index(height), apply("sub", rows, row0))
        tile = Placed(
            acc=sums,
            acc_row=row0,
            height=height,
            columns=self.width,
            a=Buffer(copy.name, self.dtype, (1,), (1,), "view", copy),
            a_start=index(0),
            a_rows=places,
            a_row=row0,
            a_step=number(copy.shape[1]),
            a_places=taps,
            b=Buffer(panel.name, self.dtype, (1,), (1,), "view", panel),
            b_start=index(0),
            b_step=self.taps * self.width,
            b_places=self.width,
            b_run=None,
            outer=channels,
            length=index(self.taps),
            rows=exist,
            onward=onward,
        )
        count = apply("divtrunc", apply("add", rows, index(height - 1)), index(height))
        return For(t, count, Serial(), (Let(row0, apply("mul", t, index(height))), tile))

    def _turned(self, turned: Buffer, sums: Buffer, some: Expr, rows: Expr) -> Stmt:
        """The sums with their places side by side."""
        view = Buffer(sums.name, self.dtype, (1, 1), (self.width, 1), "view", sums)
        return Copy(turned, view, (index(0), index(0)), 1, 0, some, rows)

    def _epilogue(
        self,
        turned: Buffer,
        values: dict[Var, Expr],
        place: tuple[Expr, Expr, Expr, Expr],
        counts: tuple[Expr, Expr],
    ) -> Stmt:
        """What follows for each place, in vectors along places."""
        (image0, line0, out0, some), (images, lines) = place, counts
        which, o, j = Var("image"), Var("o", extent=self.width), Var("v", extent=self.block)
        each = self.lines * self.places2
        first = apply("mul", line0, index(self.places2))
        at = {
            **values,
            self.image: apply("add", image0, which),
            self.p.rows.var: apply("add", out0, o),
            self.p.columns.var: apply("add", first, j),
        }
        from_ = apply("add", apply("mul", which, index(each)), j)
        inner = (Let(self.p.acc, Load(turned, (o, from_))), *substitute(self.p.after, at))
        length = apply("mul", lines, index(self.places2))
        places = For(j, number_or_expr(length), Any(), inner, mapping=Vector(self.lanes, 1))
        channels = For(o, number_or_expr(some), Serial(), (places,))
        return For(which, number_or_expr(images), Serial(), (channels,))
