"""Combination of values over the threads of a warp or a block, in a fixed tree.

Knows shuffles, shared memory and barriers; knows no statements.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import DType, bool_, int64
from ..kernel import Grid, Monoid, Team
from .base import Features
from .llvm_reduce import State, combine, split
from .llvm_scalar import Site
from .llvm_statements import Statements

__all__ = ["Teams"]

WARP = 32


class Teams(Statements):
    """Barriers and reductions of a team, on top of statements."""

    def __init__(self, target: Features, grid: Grid, name: str) -> None:
        super().__init__(target, {})
        self.grid = grid
        self.shared_name = f"@{name}.shared"
        self.shared_bytes = 0
        self.thread = ""
        self.repeats = 0
        """How many loops around this place run several times."""

    # --- shared memory and barriers ---------------------------------------------------------------

    def reserve(self, size: int, align: int = 16) -> int:
        """The offset of so many bytes of shared memory more."""
        offset = -(-self.shared_bytes // align) * align
        self.shared_bytes = offset + size
        return offset

    def shared_pointer(self, offset: int | str, depth: int | None = None) -> str:
        """An address in shared memory."""
        start = f"ptr addrspacecast (ptr addrspace(3) {self.shared_name} to ptr)"
        return self.emit(f"getelementptr i8, {start}, i64 {offset}", depth)

    def barrier(self) -> None:
        """All threads of the team wait for each other."""
        if self.grid.team is Team.WARP:
            self.declarations.add("declare void @llvm.nvvm.bar.warp.sync(i32)")
            self.put("call void @llvm.nvvm.bar.warp.sync(i32 -1)")
        elif self.grid.team is Team.BLOCK:
            self.declarations.add("declare void @llvm.nvvm.barrier.cta.sync.aligned.all(i32)")
            self.put("call void @llvm.nvvm.barrier.cta.sync.aligned.all(i32 0)")

    # --- reductions -------------------------------------------------------------------------------

    def across_team(
        self, monoids: Sequence[Monoid], dtypes: Sequence[DType], state: State
    ) -> State:
        """What every thread has, combined: all threads get the same bits."""
        if self.grid.team is Team.THREAD:
            return state
        state = self._across_warp(monoids, dtypes, state, WARP)
        warps = self.grid.width // WARP
        if warps == 1:
            return state
        places = [self.reserve(warps * _bytes(d)) for d in dtypes]
        if self.repeats:
            self.barrier()
        lane = self.emit(f"and i64 {self.thread}, {WARP - 1}")
        warp = self.emit(f"lshr i64 {self.thread}, 5")
        first = self.emit(f"icmp eq i64 {lane}, 0")
        name = self.begin_if()
        for dtype, place, text in zip(dtypes, places, state, strict=True):
            self._shared_store(dtype, place, warp, text)
        self.end_if(name, first)
        self.barrier()
        mine = self.emit(f"and i64 {lane}, {warps - 1}")
        given = tuple(self._shared_load(d, p, mine) for d, p in zip(dtypes, places, strict=True))
        return self._across_warp(monoids, dtypes, given, warps)

    def _across_warp(
        self, monoids: Sequence[Monoid], dtypes: Sequence[DType], state: State, lanes: int
    ) -> State:
        """Pairs of lanes, then pairs of pairs: every lane gets the same bits."""
        site = Site(self, 0, self.depth)
        step = lanes // 2
        while step:
            other = [self._shuffled(d, text, step) for d, text in zip(dtypes, state, strict=True)]
            result: list[str] = []
            for monoid, first in split(monoids):
                last = first + monoid.width
                mine, theirs = tuple(state[first:last]), tuple(other[first:last])
                result += combine(site, monoid, dtypes[first:last], mine, theirs)
            state = tuple(result)
            step //= 2
        return state

    def _shuffled(self, dtype: DType, text: str, step: int) -> str:
        """The value of the lane whose number differs in one bit."""
        kind = self.type_of(dtype, 0)
        bits = dtype.bits
        if bits == 64:
            whole = text if dtype.kind != "float" else self.emit(f"bitcast {kind} {text} to i64")
            low = self._exchange(self.emit(f"trunc i64 {whole} to i32"), step)
            upper = self.emit(f"lshr i64 {whole}, 32")
            high = self._exchange(self.emit(f"trunc i64 {upper} to i32"), step)
            wide = self.emit(f"shl i64 {self.emit(f'zext i32 {high} to i64')}, 32")
            whole = self.emit(f"or i64 {wide}, {self.emit(f'zext i32 {low} to i64')}")
            return whole if dtype.kind != "float" else self.emit(f"bitcast i64 {whole} to {kind}")
        if kind == "float":
            given = self._exchange(self.emit(f"bitcast float {text} to i32"), step)
            return self.emit(f"bitcast i32 {given} to float")
        if kind == "i32":
            return self._exchange(text, step)
        given = self._exchange(self.emit(f"zext {kind} {text} to i32"), step)
        return self.emit(f"trunc i32 {given} to {kind}")

    def _exchange(self, text: str, step: int) -> str:
        types, args = ["i32"] * 4, ["-1", text, str(step), str(WARP - 1)]
        return self.emit(self.intrinsic("i32", "nvvm.shfl.sync.bfly.i32", types, args))

    def _shared_store(self, dtype: DType, place: int, position: str, text: str) -> None:
        kind = self.type_of(dtype, 0)
        if dtype is bool_:
            text, kind = self.emit(f"zext i1 {text} to i8"), "i8"
        self.put(f"store {kind} {text}, ptr {self._slot(dtype, place, position)}")

    def _shared_load(self, dtype: DType, place: int, position: str) -> str:
        kind = "i8" if dtype is bool_ else self.type_of(dtype, 0)
        text = self.emit(f"load {kind}, ptr {self._slot(dtype, place, position)}")
        return self.emit(f"icmp ne i8 {text}, 0") if dtype is bool_ else text

    def _slot(self, dtype: DType, place: int, position: str) -> str:
        offset = self.emit(f"mul nsw i64 {position}, {_bytes(dtype)}")
        return self.shared_pointer(self.emit(f"add nsw i64 {offset}, {place}"))


def _bytes(dtype: DType) -> int:
    return 1 if dtype is bool_ else int64.itemsize if dtype.bits == 64 else dtype.itemsize
