"""Inner products: a register tile whose lanes run along the sum, as a function for each size.

Knows registers, masks and the sum; knows no kernels and chooses no tile.
"""

from __future__ import annotations

from typing import final

from ..dtypes import DType
from ..kernel import Inner
from ..records import dataclass
from .base import Features
from .llvm_builder import Region
from .llvm_contract import Contracts
from .llvm_memory import Memory

__all__ = ["InnerForm", "Inners", "inner_function"]

_NAMES = ("outer", "length", "rows", "row_step", "a_step", "b_step", "acc_step")


@final
@dataclass(frozen=True)
class InnerForm:
    """What a function is made for; strides, extents and the places of columns are arguments."""

    dtype: DType
    rows: int
    columns: int

    @property
    def name(self) -> str:
        """The name of the function."""
        return f"fg.inner.{self.dtype.short}.{self.rows}x{self.columns}"


_MADE: dict[tuple[InnerForm, Features], frozenset[str]] = {}


class Inners(Contracts):
    """Tiles of inner products, on top of contractions."""

    def inner(self, s: Inner) -> None:
        """Add the products of one tile to it."""
        dtype = s.acc.dtype
        if self.vector is not None or not dtype.is_float or dtype.is_half:
            raise ValueError(f"no tile of inner products of {dtype} here")
        form = InnerForm(dtype, s.height, len(s.b_columns))
        self.declarations |= inner_function(form, self.target)
        places = [(s.a, (s.a_start,)), (s.b, (s.b_start,)), (s.acc, (s.acc_row, s.acc_column))]
        arguments = [f"ptr {self.first(*place)}" for place in places]
        bounds = [self.bound(e) for e in (s.outer, s.length, s.rows)]
        numbers = [*bounds, s.a_row, s.a_step, s.b_step, self.stride(s.acc, 0), *s.b_columns]
        arguments += [f"i64 {self.amount(n)}" for n in numbers]
        self.put(f"call void @{form.name}({', '.join(arguments)})")


def inner_function(form: InnerForm, target: Features) -> frozenset[str]:
    """The lines that a module needs for a tile: its definition, and declarations.

    Its parameters are the pointers of a, b and the tile, the numbers `_NAMES`, and where each
    column of b begins.
    """
    key = (form, target)
    if key not in _MADE:
        writer = _Inner(form, target)
        _MADE[key] = frozenset({writer.definition(), *writer.declarations})
    return _MADE[key]


@final
class _Inner(Memory):
    """The code of one function."""

    def __init__(self, form: InnerForm, target: Features) -> None:
        super().__init__(target)
        self.form = form
        self.lanes = target.lanes(form.dtype)
        self.kind, self.suffix = self._vector(form.dtype, self.lanes)
        self.scalar = "float" if form.dtype.bits == 32 else "double"
        self.size = form.dtype.itemsize

    def definition(self) -> str:
        """The function in one line, so that a module can leave out the second of two."""
        form = self.form
        self.open(Region("entry"))
        whole = self.emit(f"and i64 %length, {-self.lanes}")
        rest = self.emit(f"and i64 %length, {self.lanes - 1}")
        mask = self.prefix_mask(rest, self.lanes).text
        last = self.emit("sub nsw i64 %rows, 1")
        starts = ["%a"]
        for i in range(1, form.rows):
            row = self.emit(self.intrinsic("i64", "smin.i64", ["i64", "i64"], [str(i), last]))
            starts.append(self._moved("%a", self.emit(f"mul nsw i64 {row}, %row_step")))
        starts += [self._moved("%b", f"%column{j}") for j in range(form.columns)]
        sums = [self.kind] * (form.rows * form.columns)
        types = ["ptr"] * len(starts) + sums
        carries = list(zip(types, [*starts, *["zeroinitializer"] * len(sums)], strict=True))
        outer = self.begin_loop("0", "%outer", 1, carries)
        # Frozen, or else LLVM's loop strength reduction gives each of them a counter.
        pointers = [self.emit(f"freeze ptr {p}") for p in outer.phis[: len(starts)]]
        states = self._whole(pointers, outer.phis[len(starts) :], whole)
        states = self._tail(pointers, states, (whole, rest, mask))
        steps = ["%a_step"] * form.rows + ["%b_step"] * form.columns
        moved = [self._moved(p, step) for p, step in zip(pointers, steps, strict=True)]
        states = self.end_loop(outer, [*moved, *states])[len(starts) :]
        self._add(self._across(states))
        parameters = [f"i64 %{n}" for n in _NAMES]
        parameters += [f"i64 %column{j}" for j in range(form.columns)]
        head = f"define internal void @{form.name}(ptr %a, ptr %b, ptr %acc, "
        body = " ".join(line.strip() for line in self.levels[0].region.lines)
        return (
            f"{head}{', '.join(parameters)}) noinline {self.attributes} "
            f"{{ entry: {body} ret void }}"
        )

    def _moved(self, pointer: str, offset: str) -> str:
        return self.emit(f"getelementptr {self.scalar}, ptr {pointer}, i64 {offset}")

    # --- the sum ----------------------------------------------------------------------------------

    def _whole(self, pointers: list[str], states: list[str], whole: str) -> list[str]:
        """The vectors that are whole."""
        some = self.emit(f"icmp sgt i64 {whole}, 0")
        kinds = [self.kind] * len(states)
        name = self.begin_if()
        loop = self.begin_loop("0", whole, self.lanes, list(zip(kinds, states, strict=True)))
        loads = [
            f"load {self.kind}, ptr {self._moved(p, loop.index)}, align {self.size}"
            for p in pointers
        ]
        vectors = [self.emit(load) for load in loads]
        after = self.end_loop(loop, self._multiply(vectors, loop.phis))
        return self.end_if(name, some, list(zip(kinds, after, states, strict=True)))

    def _tail(
        self, pointers: list[str], states: list[str], ends: tuple[str, str, str]
    ) -> list[str]:
        """The last vector, of which some lanes are missing: zero in both operands."""
        whole, rest, mask = ends
        some = self.emit(f"icmp sgt i64 {rest}, 0")
        kinds = [self.kind] * len(states)
        name = self.begin_if()
        vectors = [
            self.masked_load(self.form.dtype, self.lanes, self._moved(p, whole), mask, self.depth)
            for p in pointers
        ]
        after = self._multiply(vectors, states)
        return self.end_if(name, some, list(zip(kinds, after, states, strict=True)))

    def _multiply(self, vectors: list[str], states: list[str]) -> list[str]:
        rows, columns = vectors[: self.form.rows], vectors[self.form.rows :]
        pairs = [(left, right) for left in rows for right in columns]
        kinds = [self.kind] * 3
        return [
            self.emit(self.intrinsic(self.kind, f"fma.{self.suffix}", kinds, [left, right, state]))
            for (left, right), state in zip(pairs, states, strict=True)
        ]

    # --- the end ----------------------------------------------------------------------------------

    def _across(self, states: list[str]) -> list[str]:
        """Vectors with the sums of the lanes of `states`, one after the other.

        Halves of two vectors are added at a time, so that the lanes stay full.
        """
        part = self.lanes
        while part > 1:
            half = part // 2
            groups = range(0, self.lanes, part)
            low = [g + i for g in groups for i in range(half)]
            following = []
            for position in range(0, len(states), 2):
                pair = [*states[position : position + 2], "poison"][:2]
                ends = [
                    [n + shift + base for base in (0, self.lanes) for n in low]
                    for shift in (0, half)
                ]
                sides = [self._shuffled(pair, order) for order in ends]
                following.append(self.emit(f"fadd {self.kind} {sides[0]}, {sides[1]}"))
            states, part = following, half
        return states

    def _shuffled(self, pair: list[str], order: list[int]) -> str:
        literal = ", ".join(f"i32 {n}" for n in order)
        return self.emit(
            f"shufflevector {self.kind} {pair[0]}, {self.kind} {pair[1]}, "
            f"<{len(order)} x i32> <{literal}>"
        )

    def _add(self, sums: list[str]) -> None:
        """Add the sums to the tile, row by row."""
        columns = self.form.columns
        kind = f"<{columns} x {self.scalar}>"
        for i in range(self.form.rows):
            first, last = i * columns // self.lanes, ((i + 1) * columns - 1) // self.lanes
            pair = [sums[first], sums[last] if last != first else "poison"]
            start = i * columns - first * self.lanes
            row = self._shuffled(pair, list(range(start, start + columns)))
            step = self.emit(f"mul nsw i64 %acc_step, {i}")
            pointer = self._moved("%acc", step)
            old = self.emit(f"load {kind}, ptr {pointer}, align {self.size}")
            new = self.emit(f"fadd {kind} {old}, {row}")
            self.put(f"store {kind} {new}, ptr {pointer}, align {self.size}")
