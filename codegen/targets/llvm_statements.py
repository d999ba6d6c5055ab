"""Statements other than loops: stores, conditions, lets and local memory.

Knows loops and expressions; the register tile and packing are written in their own files.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..dtypes import int64
from ..expr import Buffer
from ..kernel import (
    Alloc,
    Arrange,
    Contract,
    Copy,
    For,
    If,
    Inner,
    Let,
    Monoid,
    Placed,
    Prefetch,
    Stmt,
    Store,
    Unfold,
)
from .base import Features
from .llvm_address import Mask
from .llvm_builder import Value
from .llvm_loops import Loops
from .llvm_reduce import combine, identity
from .llvm_scalar import Site

__all__ = ["Statements"]


class Statements(Loops):
    """Statements, on top of loops."""

    def __init__(self, target: Features, allocations: dict[Buffer, int]) -> None:
        super().__init__(target)
        self.allocations = allocations
        self._made: list[Stmt] = []

    def body(self, statements: Sequence[Stmt]) -> None:
        """Write statements in order."""
        for s in statements:
            if isinstance(s, Let):
                self.let(s.var, s.value)
            elif isinstance(s, Store):
                self._store(s)
            elif isinstance(s, For):
                self.loop(s)
            elif isinstance(s, If):
                self._if(s)
            elif isinstance(s, Alloc):
                self._alloc(s.buffer)
            elif isinstance(s, Prefetch):
                self.prefetch(s.buffer, s.indices)
            elif isinstance(s, Contract):
                self.contract(s)
                self.forget(frozenset((s.acc,)))
            elif isinstance(s, Placed):
                self.placed(s)
                self.forget(frozenset((s.acc,)))
            elif isinstance(s, Inner):
                self.inner(s)
                self.forget(frozenset((s.acc,)))
            elif isinstance(s, Copy):
                self.copy(s)
                self.forget(frozenset((s.target,)))
            elif isinstance(s, Unfold):
                self.unfold(s)
                self.forget(frozenset((s.target,)))
            elif isinstance(s, Arrange):
                self.arrange(s)
                self.forget(frozenset((s.keys, s.spare)))
            else:
                raise TypeError(f"no code for {s!r}")

    def run_now(self, statement: Stmt) -> None:
        """Write a statement that an emitter made; it is kept, as loops are known by identity."""
        self._made.append(statement)
        self.body((statement,))

    def contract(self, s: Contract) -> None:
        """Write a register tile; in another file."""
        raise NotImplementedError

    def placed(self, s: Placed) -> None:
        """Write a tile of operands that lie anywhere; in another file."""
        raise NotImplementedError

    def inner(self, s: Inner) -> None:
        """Write a tile of inner products; in another file."""
        raise NotImplementedError

    def arrange(self, s: Arrange) -> None:
        """Write sorting; in another file."""
        raise NotImplementedError

    def copy(self, s: Copy) -> None:
        """Write a packing; in another file."""
        raise NotImplementedError

    def unfold(self, s: Unfold) -> None:
        """Write windows as a matrix; in another file."""
        raise NotImplementedError

    def _alloc(self, buffer: Buffer) -> None:
        offset = self.allocations[buffer]
        if buffer not in self.bases:
            text = self.emit(f"getelementptr i8, ptr %scratch, i64 {self.amount(offset)}", 0)
            self.bases[buffer] = Value(text, int64, 0, 0)
        if self.vector is not None and buffer not in self.private:
            self.strides[buffer] = tuple(
                stride * self.vector.lanes if isinstance(stride, int) else stride
                for stride in self.strides_of(buffer)
            )
            self.private.add(buffer)

    # --- conditions -------------------------------------------------------------------------------

    def _if(self, s: If) -> None:
        condition = self.value(s.condition)
        some = self.any_lane(condition)
        vector = self.vector
        outer = vector.mask if vector else None
        name = self.begin_if(loads=True)
        if vector is not None and condition.lanes:
            text = condition.text
            if outer is not None:
                text = self.emit(f"and <{condition.lanes} x i1> {text}, {outer.text}")
            vector.mask = Mask(text, None)
        self.body(s.then)
        if vector is not None:
            vector.mask = outer
        self.end_if(name, some)

    # --- stores -----------------------------------------------------------------------------------

    def _store(self, s: Store) -> None:
        value = self.value(s.value)
        if s.monoid is None:
            self.store(s.buffer, s.indices, value, s.nontemporal)
        else:
            self._accumulating_store(s, s.monoid, value)
        self.forget(frozenset((s.buffer,)))

    def _accumulating_store(self, s: Store, monoid: Monoid, value: Value) -> None:
        """``buffer[indices] MONOID= value``."""
        if monoid.width != 1:
            raise ValueError(f"a store cannot accumulate with {monoid.value}")
        dtype = s.buffer.dtype
        vector = self.vector
        address = self.address(s.buffer, s.indices)
        if vector is not None and address.index is not None:
            self._accumulating_scatter(s, monoid, value)
            return
        lanes = 0
        text = value.text
        if vector is not None:
            text = self.operand(value, vector.lanes)
            if address.uniform:
                text = self._reduced(monoid, s, text)
            else:
                lanes = vector.lanes
        if lanes and vector is not None:
            old = self.vector_load(s.buffer, address, lanes, vector.mask, self.depth)
        else:
            old = self.scalar_load(s.buffer, address, self.depth)
        site = Site(self, lanes, self.depth)
        (new,) = combine(site, monoid, (dtype,), (old,), (text,))
        if lanes and vector is not None:
            self.vector_store(s.buffer, address, new, lanes, vector.mask)
        else:
            self.scalar_store(s.buffer, address, new)

    def _reduced(self, monoid: Monoid, s: Store, text: str) -> str:
        """The live lanes of a contribution combined to one value."""
        assert self.vector is not None
        dtype, lanes = s.buffer.dtype, self.vector.lanes
        if self.vector.mask is not None:
            neutral = self.operand(self.constant(identity(monoid, dtype), dtype), lanes)
            site = Site(self, lanes, self.depth)
            text = site.select(self.vector.mask.text, dtype, text, neutral)
        (result,) = self.reduce_lanes(monoid, (dtype,), lanes, (text,))
        return result

    def _accumulating_scatter(self, s: Store, monoid: Monoid, value: Value) -> None:
        """Lane by lane, in order, since lanes may meet in one element."""
        vector = self.vector
        assert vector is not None
        dtype, lanes = s.buffer.dtype, vector.lanes
        address = self.address(s.buffer, s.indices)
        text = self.operand(value, lanes)
        for lane in range(lanes):
            condition = self.lane_alive(lane, lanes, vector.mask)
            if condition == "false":
                break
            name = self.begin_if() if condition else ""
            item = self.emit(f"extractelement {self.type_of(dtype, lanes)} {text}, i64 {lane}")
            place = self.lane_address(s.buffer, address, lane, lanes)
            old = self.scalar_load(s.buffer, place, self.depth)
            site = Site(self, 0, self.depth)
            (new,) = combine(site, monoid, (dtype,), (old,), (item,))
            self.scalar_store(s.buffer, place, new)
            if condition:
                self.end_if(name, condition)
