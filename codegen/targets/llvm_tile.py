"""The register tile of a contraction as a function: one for each size, shared by all kernels.

Knows registers, masks and the sum loop; knows no kernels and chooses no tile.

The accumulators stay in registers over the whole sum. Strides and extents are arguments, so that
a module has few of these functions however many contractions it has.
"""

from __future__ import annotations

from typing import final

from ..dtypes import DType, bfloat16
from ..records import dataclass
from . import llvm_half
from .base import Features
from .llvm_builder import Region
from .llvm_memory import Memory

__all__ = ["TileForm", "tile_function"]


@final
@dataclass(frozen=True)
class TileForm:
    """What a tile function is made for; everything else is an argument.

    Attributes
    ----------
    dtype : DType
    lanes : int
    rows, columns : int
        The size of the tile.
    alive : int, optional
        How many columns exist; None when that is an argument.
    halves : pair of DType, optional
        The dtypes of a and b where these are 16-bit floats.
    ahead : int
        How many rows of b are fetched before their turn.
    pairs : bool
        Whether elements of a and b are two of bfloat16, which are multiplied one by one.
    """

    dtype: DType
    lanes: int
    rows: int
    columns: int
    alive: int | None
    halves: tuple[DType | None, DType | None] = (None, None)
    ahead: int = 0
    pairs: bool = False

    @property
    def name(self) -> str:
        """The name of the function."""
        alive = "" if self.alive == self.columns else f".{self.alive or 'masked'}"
        kind = "".join(f".{n}{h.short}" for n, h in zip("ab", self.halves, strict=True) if h)
        kind += ".pairs" * self.pairs
        kind += f".ahead{self.ahead}" * (self.ahead > 0)
        return f"fg.tile{kind}.{self.dtype.short}.{self.rows}x{self.columns}.{self.lanes}{alive}"


LINE = 64
"""Bytes of a line of a cache."""

_MADE: dict[tuple[TileForm, Features], frozenset[str]] = {}


def tile_function(form: TileForm, target: Features) -> frozenset[str]:
    """The lines that a module needs for a tile: its definition, and declarations.

    Its parameters are the pointers of a, b and the tile, the extent of the sum, how many rows
    exist, the stride of a from row to row and along the sum, that of b along the sum, and how
    many columns exist. The last says whether the sum goes on from what the tile holds.
    """
    key = (form, target)
    if key not in _MADE:
        writer = _Tile(form, target)
        _MADE[key] = frozenset({writer.definition(), *writer.declarations})
    return _MADE[key]


@final
class _Tile(Memory):
    """The code of one tile function."""

    def __init__(self, form: TileForm, target: Features) -> None:
        super().__init__(target)
        self.form = form
        self.kind, _ = self._vector(form.dtype, form.lanes)
        self.scalar = self.kind.split(" x ")[1][:-1]

    def definition(self) -> str:
        """The function in one line, so that a module can leave out the second of two."""
        form = self.form
        self.open(Region("entry"))
        offsets = self._row_offsets()
        masks = self._masks()
        states = self._sum(offsets, masks)
        self._write(masks, states)
        lines = self.levels[0].region.lines
        names = ["extent", "rows", "row_step", "a_step", "b_step", "columns", "onward"]
        parameters = ", ".join(["ptr %a", "ptr %b", "ptr %acc", *(f"i64 %{n}" for n in names)])
        head = f"define internal void @{form.name}({parameters})"
        body = " ".join(line.strip() for line in lines)
        return f"{head} noinline {self.attributes} {{ entry: {body} ret void }}"

    def _row_offsets(self) -> list[str]:
        """Where the rows of `a` start; a row outside repeats the last one inside."""
        last = self.emit("sub nsw i64 %rows, 1")
        offsets = ["0"]
        for i in range(1, self.form.rows):
            call = self.intrinsic("i64", "smin.i64", ["i64", "i64"], [str(i), last])
            offsets.append(self.emit(f"mul nsw i64 {self.emit(call)}, %row_step"))
        return offsets

    def _masks(self) -> list[str | None]:
        """For each vector of columns None when whole, else its mask; none for those outside."""
        lanes, alive = self.form.lanes, self.form.alive
        masks: list[str | None] = []
        for first in range(0, self.form.columns if alive is None else alive, lanes):
            if alive is not None:
                count = min(lanes, alive - first)
                masks.append(None if count == lanes else self.prefix_mask(count, lanes).text)
                continue
            left = self.emit(f"sub nsw i64 %columns, {first}") if first else "%columns"
            kinds = ["i64", "i64"]
            most = self.emit(self.intrinsic("i64", "smin.i64", kinds, [left, str(lanes)]))
            some = self.emit(self.intrinsic("i64", "smax.i64", kinds, [most, "0"]))
            masks.append(self.prefix_mask(some, lanes).text)
        return masks

    # --- the sum ---------------------------------------------------------------------------------

    def _sum(self, offsets: list[str], masks: list[str | None]) -> list[str]:
        """The loop over the sum axis, one product after the other.

        Not unrolled: a step has more multiplications than anything else, so that the loop is as
        fast, and its code a quarter.
        """
        types = ["ptr", "ptr", *[self.kind] * (len(offsets) * len(masks))]
        state = ["%a", "%b", *self._starts(len(offsets) * len(masks), len(masks))]
        ahead = self.emit(f"mul nsw i64 %b_step, {self.form.ahead}") if self.form.ahead else None
        going = self.emit("icmp slt i64 0, %extent")
        name = self.begin_if()
        loop = self.begin_loop("0", "%extent", 1, list(zip(types, state, strict=True)))
        if ahead is not None:
            self._fetch(self._moved(loop.phis[1], ahead, 1), len(masks))
        after = self.end_loop(loop, self._step(loop.phis, offsets, masks))
        return self.end_if(name, going, list(zip(types, after, state, strict=True)))[2:]

    def _starts(self, count: int, vectors: int) -> list[str]:
        """The sums before the first step: zero, or those in the tile."""
        zeros = ["zeroinitializer"] * count
        going = self.emit("icmp ne i64 %onward, 0")
        name = self.begin_if()
        loaded = []
        for number in range(count):
            i, j = divmod(number, vectors)
            pointer = self._moved("%acc", i * self.form.columns + j * self.form.lanes)
            align = self.form.dtype.itemsize
            loaded.append(self.emit(f"load {self.kind}, ptr {pointer}, align {align}"))
        kinds = [self.kind] * count
        return self.end_if(name, going, list(zip(kinds, loaded, zeros, strict=True)))

    def _step(self, state: list[str], offsets: list[str], masks: list[str | None]) -> list[str]:
        """One product.

        The pointers are frozen, or else LLVM's loop strength reduction spends most of the time of
        compilation on them and improves nothing.
        """
        a, b, *states = state
        a, b = (self.emit(f"freeze ptr {p}") for p in (a, b))
        states = self._multiply(a, b, states, offsets, masks)
        return [self._moved(a, "%a_step", 0), self._moved(b, "%b_step", 1), *states]

    def _moved(self, pointer: str, offset: int | str, operand: int | None = None) -> str:
        """The pointer to an element further on, of an operand or of the tile."""
        if offset in (0, "0"):
            return pointer
        half = operand is not None and self.form.halves[operand] is not None
        scalar = "i16" if half else self.scalar
        return self.emit(f"getelementptr {scalar}, ptr {pointer}, i64 {offset}")

    def _multiply(
        self, a: str, b: str, states: list[str], offsets: list[str], masks: list[str | None]
    ) -> list[str]:
        """One step of the sum: a row of `b` times a column of `a`."""
        lanes = self.form.lanes
        right = []
        for j, mask in enumerate(masks):
            pointer = self._moved(b, j * lanes, 1)
            right.append(self._right(pointer, mask))
        result = []
        for i, start in enumerate(offsets):
            left = self._left(self._moved(a, start, 0))
            for j, vector in enumerate(right):
                result.append(self._added(left, vector, states[i * len(right) + j]))
        return result

    def _added(self, left: str, right: str, total: str) -> str:
        """A sum and one more product."""
        dtype, kind = self.form.dtype, self.kind
        if dtype.is_integer:
            product = self.emit(f"mul {kind} {left}, {right}")
            return self.emit(f"add {kind} {total}, {product}")
        if self.form.pairs:
            halves = f"<{2 * self.form.lanes} x bfloat>"
            pairs = [self.emit(f"bitcast {kind} {x} to {halves}") for x in (left, right)]
            name = f"x86.avx512bf16.dpbf16ps.{self.target.vector_bytes * 8}"
            return self.emit(self.intrinsic(kind, name, [kind, halves, halves], [total, *pairs]))
        suffix = f"v{self.form.lanes}f{dtype.bits}"
        return self.emit(self.intrinsic(kind, f"fma.{suffix}", [kind] * 3, [left, right, total]))

    def _fetch(self, pointer: str, vectors: int) -> None:
        """Bring a row of `b` into the caches: every line of it."""
        self.declarations.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        for j in range(0, vectors, max(1, LINE // self.target.vector_bytes)):
            line = self._moved(pointer, j * self.form.lanes, 1)
            self.put(f"call void @llvm.prefetch.p0(ptr {line}, i32 0, i32 3, i32 1)")

    def _right(self, pointer: str, mask: str | None) -> str:
        """A vector of `b`."""
        dtype, lanes = self.form.halves[1] or self.form.dtype, self.form.lanes
        if mask is None:
            kind, _ = self._vector(dtype, lanes)
            text = self.emit(f"load {kind}, ptr {pointer}, align {dtype.itemsize}")
        else:
            text = self.masked_load(dtype, lanes, pointer, mask, self.depth)
        if self.form.halves[1] is None:
            return text
        return llvm_half.widened(self.emit, lanes, dtype, text, self.target.converts_half)

    def _left(self, pointer: str) -> str:
        """An element of `a` in every lane."""
        half, lanes = self.form.halves[0], self.form.lanes
        if half is None:
            align = self.form.dtype.itemsize
            item = self.emit(f"load {self.scalar}, ptr {pointer}, align {align}")
            return self.splat(self.scalar, item, lanes)
        item = self.emit(f"load i16, ptr {pointer}, align 2")
        if half is not bfloat16:
            text = self.splat("i16", item, lanes)
            return llvm_half.widened(self.emit, lanes, half, text, self.target.converts_half)
        # In every 16 bits, of which the lower half then gives way: cheaper than through a scalar.
        pairs = self.splat("i16", item, 2 * lanes)
        bits = self.emit(f"bitcast <{2 * lanes} x i16> {pairs} to <{lanes} x i32>")
        wide = self.emit(f"shl <{lanes} x i32> {bits}, splat (i32 16)")
        return self.emit(f"bitcast <{lanes} x i32> {wide} to {self.kind}")

    def _write(self, masks: list[str | None], states: list[str]) -> None:
        """Store the accumulators; columns outside are zero."""
        form = self.form
        vectors = form.columns // form.lanes
        for i in range(form.rows):
            for j in range(vectors):
                inside = j < len(masks)
                text = states[i * len(masks) + j] if inside else "zeroinitializer"
                pointer = self._moved("%acc", i * form.columns + j * form.lanes)
                self.put(f"store {self.kind} {text}, ptr {pointer}, align {form.dtype.itemsize}")
