"""The register tile of operands that lie anywhere, as a function: tables say where.

Knows registers and the sum loop; knows no kernels and chooses no tile.

Neither operand is unfolded or packed for it: a window is a place in memory for each element of the
sum. Strides and extents are arguments, so that a module has few of these functions.
"""

from __future__ import annotations

from typing import final

from ..dtypes import DType
from ..expr import Buffer, index
from ..kernel import Placed
from ..records import dataclass
from .base import Features
from .llvm_builder import Region
from .llvm_inner import Inners
from .llvm_memory import Memory

__all__ = ["PlacedForm", "Places", "placed_function"]

_NAMES = (
    *("outer", "length", "rows", "row_step", "a_step", "a_place", "b_step", "b_place"),
    *("vector_step", "acc_step", "onward"),
)


@final
@dataclass(frozen=True)
class PlacedForm:
    """What a function is made for; everything else is an argument.

    Attributes
    ----------
    dtype : DType
    lanes, rows, vectors : int
        The size of the tile.
    a_rows, a_places, b_places : bool
        Whether a table says where the rows of a, its elements, or those of b lie.
    apart : bool
        Whether vectors of columns lie anywhere, too.
    """

    dtype: DType
    lanes: int
    rows: int
    vectors: int
    a_rows: bool
    a_places: bool
    b_places: bool
    apart: bool

    @property
    def name(self) -> str:
        """The name of the function."""
        flags = (self.a_rows, self.a_places, self.b_places, self.apart)
        kind = "".join(letter for letter, flag in zip("rabv", flags, strict=True) if flag)
        size = f"{self.rows}x{self.vectors * self.lanes}.{self.lanes}"
        return f"fg.placed.{kind or 'plain'}.{self.dtype.short}.{size}"


_MADE: dict[tuple[PlacedForm, Features], frozenset[str]] = {}


class Places(Inners):
    """Tiles of operands that lie anywhere, on top of inner products."""

    def placed(self, s: Placed) -> None:
        """Write the sums of one tile."""
        dtype = s.acc.dtype
        if self.vector is not None or not dtype.is_float or dtype.is_half:
            raise ValueError(f"no tile of places of {dtype} here")
        lanes = self.target.lanes(dtype)
        while s.columns % lanes:
            lanes //= 2
        length, step = s.b_run or (lanes, lanes)
        if length % lanes or (length != lanes and step != length):
            raise ValueError(f"runs of {length} columns of which vectors have {lanes}")
        apart = length == lanes != step
        rows, left, right = (isinstance(p, Buffer) for p in (s.a_rows, s.a_places, s.b_places))
        form = PlacedForm(dtype, lanes, s.height, s.columns // lanes, rows, left, right, apart)
        self.declarations |= placed_function(form, self.target)
        starts = [(s.a, s.a_start), (s.b, s.b_start)]
        pointers = [self.first(buffer, (start,)) for buffer, start in starts]
        pointers.append(self.first(s.acc, (s.acc_row, index(0))))
        pointers += [
            self.first(table, (start,)) if isinstance(table, Buffer) else "null"
            for table, start in (
                (s.a_rows, s.a_row),
                (s.a_places if isinstance(s.a_places, Buffer) else s.b_places, index(0)),
            )
        ]
        bounds = [self.bound(e) for e in (s.outer, s.length, s.rows)]
        steps = [0 if isinstance(p, Buffer) else p for p in (s.a_rows, s.a_places, s.b_places)]
        numbers = [*bounds, steps[0], s.a_step, steps[1], s.b_step, steps[2]]
        numbers += [step, self.stride(s.acc, 0), int(s.onward)]
        arguments = [f"ptr {p}" for p in pointers] + [f"i64 {n}" for n in numbers]
        self.put(f"call void @{form.name}({', '.join(arguments)})")


def placed_function(form: PlacedForm, target: Features) -> frozenset[str]:
    """The lines that a module needs for a tile: its definition, and declarations.

    Its parameters are the pointers of a, b, the tile, the table of rows and that of elements, and
    the numbers `_NAMES`.
    """
    key = (form, target)
    if key not in _MADE:
        writer = _Placed(form, target)
        _MADE[key] = frozenset({writer.definition(), *writer.declarations})
    return _MADE[key]


@final
class _Placed(Memory):
    """The code of one function."""

    def __init__(self, form: PlacedForm, target: Features) -> None:
        super().__init__(target)
        self.form = form
        self.kind, self.suffix = self._vector(form.dtype, form.lanes)
        self.scalar = "float" if form.dtype.bits == 32 else "double"
        self.size = form.dtype.itemsize

    def definition(self) -> str:
        """The function in one line, so that a module can leave out the second of two."""
        form = self.form
        self.open(Region("entry"))
        offsets = self._row_offsets()
        sums = form.rows * form.vectors
        kinds = [self.kind] * sums
        states = self._starts()
        some = self.emit("icmp sgt i64 %outer, 0")
        terms = self.emit("icmp sgt i64 %length, 0")
        some = self.emit(f"and i1 {some}, {terms}")
        name = self.begin_if()
        types = ["ptr", "ptr", *kinds]
        outer = self.begin_loop(
            "0", "%outer", 1, list(zip(types, ["%a", "%b", *states], strict=True))
        )
        a, b, *carried = outer.phis
        after = self._terms(a, b, carried, offsets)
        moved = [self._moved(a, "%a_step"), self._moved(b, "%b_step")]
        result = self.end_loop(outer, [*moved, *after])[2:]
        states = self.end_if(name, some, list(zip(kinds, result, states, strict=True)))
        self._write(states)
        pointers = [f"ptr %{n}" for n in ("a", "b", "acc", "row_places", "places")]
        parameters = ", ".join([*pointers, *(f"i64 %{n}" for n in _NAMES)])
        body = " ".join(line.strip() for line in self.levels[0].region.lines)
        head = f"define internal void @{form.name}({parameters})"
        return f"{head} noinline {self.attributes} {{ entry: {body} ret void }}"

    def _moved(self, pointer: str, offset: int | str, scalar: str = "") -> str:
        if offset in (0, "0"):
            return pointer
        return self.emit(f"getelementptr {scalar or self.scalar}, ptr {pointer}, i64 {offset}")

    def _row_offsets(self) -> list[str]:
        """Where the rows of `a` start; a row outside repeats the last one inside."""
        last = self.emit("sub nsw i64 %rows, 1")
        offsets = []
        for i in range(self.form.rows):
            row = self.emit(self.intrinsic("i64", "smin.i64", ["i64", "i64"], [str(i), last]))
            if self.form.a_rows:
                pointer = self._moved("%row_places", row, "i64")
                offsets.append(self.emit(f"load i64, ptr {pointer}, align 8"))
            else:
                offsets.append(self.emit(f"mul nsw i64 {row}, %row_step") if i else "0")
        return offsets

    def _at(self, number: int) -> str:
        """The pointer to a vector of the tile."""
        i, j = divmod(number, self.form.vectors)
        row = self.emit(f"mul nsw i64 %acc_step, {i}") if i else "0"
        return self._moved(self._moved("%acc", row), j * self.form.lanes)

    def _starts(self) -> list[str]:
        """The sums before the first term: zero, or those in the tile."""
        count = self.form.rows * self.form.vectors
        going = self.emit("icmp ne i64 %onward, 0")
        name = self.begin_if()
        loaded = [
            self.emit(f"load {self.kind}, ptr {self._at(number)}, align {self.size}")
            for number in range(count)
        ]
        zeros = ["zeroinitializer"] * count
        kinds = [self.kind] * count
        return self.end_if(name, going, list(zip(kinds, loaded, zeros, strict=True)))

    def _write(self, states: list[str]) -> None:
        for number, state in enumerate(states):
            self.put(f"store {self.kind} {state}, ptr {self._at(number)}, align {self.size}")

    # --- the sum ----------------------------------------------------------------------------------

    def _terms(self, a: str, b: str, states: list[str], offsets: list[str]) -> list[str]:
        """The loop over the elements of the sum that tables tell apart.

        The pointers are frozen, or else LLVM's loop strength reduction spends most of the time of
        compilation on them and improves nothing.
        """
        form = self.form
        both = ((a, form.a_places, "%a_place"), (b, form.b_places, "%b_place"))
        carried = [("ptr", self._lies(p, "0") if table else p) for p, table, _ in both]
        sums = [(self.kind, state) for state in states]
        loop = self.begin_loop("0", "%length", 1, [*carried, *sums])
        pointers = [self.emit(f"freeze ptr {p}") for p in loop.phis[:2]]
        result = self._multiply(pointers[0], pointers[1], loop.phis[2:], offsets)
        following = self.emit(f"add nsw i64 {loop.index}, 1")
        after = [
            self._lies(start, following) if table else self._moved(pointer, step)
            for pointer, (start, table, step) in zip(pointers, both, strict=True)
        ]
        return self.end_loop(loop, [*after, *result])[2:]

    def _lies(self, start: str, number: str) -> str:
        """Where the table says that an element of the sum lies.

        Read a round early, or else LLVM's scheduler has all elements of `a` wait for it, in more
        registers than there are: a table has a number more than are used.
        """
        offset = self.emit(f"load i64, ptr {self._moved('%places', number, 'i64')}, align 8")
        return self._moved(start, offset)

    def _multiply(self, a: str, b: str, states: list[str], offsets: list[str]) -> list[str]:
        """One term: a row of `b` times a column of `a`."""
        form, kind = self.form, self.kind
        right = []
        for j in range(form.vectors):
            step: int | str = j * form.lanes
            if form.apart and j:
                step = self.emit(f"mul nsw i64 %vector_step, {j}")
            pointer = self._moved(b, step)
            right.append(self.emit(f"load {kind}, ptr {pointer}, align {self.size}"))
        result = []
        for i, start in enumerate(offsets):
            item = self.emit(f"load {self.scalar}, ptr {self._moved(a, start)}, align {self.size}")
            left = self.splat(self.scalar, item, form.lanes)
            for j, vector in enumerate(right):
                operands = [left, vector, states[i * form.vectors + j]]
                call = self.intrinsic(kind, f"fma.{self.suffix}", [kind] * 3, operands)
                result.append(self.emit(call))
        return result
