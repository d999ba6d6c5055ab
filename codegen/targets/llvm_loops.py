"""Loops: counted, unrolled, and vector loops with their remainder and masked tail.

Knows expressions and monoids; the statements inside loops are written in another file.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import final

from .. import accesses
from ..dtypes import DType, int64
from ..expr import Buffer, Const, Expr, Var
from ..kernel import (
    For,
    Let,
    Monoid,
    Prefetch,
    Stmt,
    Store,
    Tree,
    Unroll,
    Vector,
)
from ..records import dataclass
from ..scans import Scan, scan_of
from ..varying import Varying
from .base import Features
from .llvm_address import Mask, VectorContext
from .llvm_builder import Region, Value
from .llvm_reduce import State, across_lanes, combine, first_of, identity, pairwise, split
from .llvm_scalar import Site
from .llvm_scan import scanned, started
from .llvm_values import Values

__all__ = ["Bound", "Loops"]

Bound = int | str
"""The end of a loop: a number, or the text of an int64."""


@final
@dataclass
class _Accumulators:
    """The states of a tree loop: one for each vector in flight, None before its first element."""

    types: list[str]
    identities: list[str]
    states: list[State | None]

    def carries(self) -> list[tuple[str, str]]:
        """What a loop carries: every state, identities where there is none yet."""
        return [
            (kind, text)
            for state in self.states
            for kind, text in zip(self.types, state or self.identities, strict=True)
        ]

    def replace(self, texts: Sequence[str]) -> None:
        width = len(self.types)
        self.states = [
            tuple(texts[k : k + width]) if width else ()
            for k in range(0, width * len(self.states), width or 1)
        ]


class Loops(Values):
    """Loops, on top of expressions."""

    def __init__(self, target: Features) -> None:
        super().__init__(target)
        self._writes: dict[int, frozenset[Buffer]] = {}

    def body(self, statements: Sequence[Stmt]) -> None:
        """Write statements; in another file."""
        raise NotImplementedError

    def writes(self, loop: For) -> frozenset[Buffer]:
        """The buffers that a loop writes."""
        known = self._writes.get(id(loop))
        if known is None:
            # Of loops inside it is asked as well.
            inside = [s for s in loop.body if isinstance(s, For)]
            others = [s for s in loop.body if not isinstance(s, For)]
            known = written(others).union(*map(self.writes, inside))
            self._writes[id(loop)] = known
        return known

    # --- dispatch ---------------------------------------------------------------------------------

    def loop(self, s: For) -> None:
        """A loop over its whole extent."""
        if isinstance(s.mapping, Unroll) and not isinstance(s.extent, Expr):
            self.loop_between(s, 0, int(s.extent))
            return
        self.loop_between(s, 0, self.bound(s.extent))

    def bound(self, extent: Expr | int) -> Bound:
        """An extent as a number or a register."""
        if isinstance(extent, Const):
            extent = int(extent.value) if extent.origin is None else extent.origin
        if isinstance(extent, int) and type(extent) is not Varying:
            return extent
        value = self.sized(extent) if isinstance(extent, Varying) else self.value(extent)
        if value.lanes:
            raise ValueError("the extent of a loop differs from lane to lane")
        return int(value.text) if value.constant else value.text

    def loop_between(self, s: For, start: Bound, stop: Bound) -> None:
        """A loop from `start` to `stop` - 1; its carried variables are bound afterwards."""
        lanes = self.vector.lanes if self.vector else 0
        starts = [self.operand(self.value(e), lanes) for _, e in s.carry]
        if isinstance(start, int) and isinstance(stop, int):
            results = starts
            if start < stop:
                results = self._run(s, start, stop, starts)
        else:
            going = self.emit(f"icmp slt i64 {start}, {stop}")
            name = self.begin_if(loads=True)
            inside = self._run(s, start, stop, starts)
            merges = [
                (self.type_of(var.dtype, lanes), a, b)
                for (var, _), a, b in zip(s.carry, inside, starts, strict=True)
            ]
            results = self.end_if(name, going, merges)
        for (var, _), text in zip(s.carry, results, strict=True):
            self.bind(var, Value(text, var.dtype, lanes, self.depth))

    def _run(self, s: For, start: Bound, stop: Bound, starts: list[str]) -> list[str]:
        """A loop that runs at least once; gives the final values of its carried variables."""
        # A loop beside may have had the same variable, as a number or by lanes.
        self.replaced.pop(s.var, None)
        if isinstance(s.mapping, Vector) and self.vector is None:
            return self._vector_loop(s, s.mapping, start, stop, starts)
        if isinstance(start, int) and isinstance(stop, int):
            if isinstance(s.mapping, Unroll) or stop - start == 1:
                return self._unrolled(s, start, stop, starts)
        elif isinstance(s.mapping, Unroll):
            raise ValueError("an unrolled loop needs a known extent")
        return self._counted(s, start, stop, starts)

    # --- one iteration after another --------------------------------------------------------------

    def _counted(self, s: For, start: Bound, stop: Bound, starts: list[str]) -> list[str]:
        lanes = self.vector.lanes if self.vector else 0
        types = [self.type_of(var.dtype, lanes) for var, _ in s.carry]
        carries = list(zip(types, starts, strict=True))
        loop = self.begin_loop(str(start), str(stop), 1, carries, self.writes(s))
        self.bind(s.var, Value(loop.index, int64, 0, self.depth))
        return self.end_loop(loop, self._iteration(s, loop.phis, lanes))

    def _unrolled(self, s: For, start: int, stop: int, starts: list[str]) -> list[str]:
        lanes = self.vector.lanes if self.vector else 0
        states = starts
        for number in range(start, stop):
            self.open()
            self.replaced[s.var] = (None, number, self.depth)
            states = self._iteration(s, states, lanes)
            self.close()
        return states

    def _iteration(self, s: For, states: list[str], lanes: int) -> list[str]:
        """One iteration of a loop with the state before it; gives the state after it."""
        if not isinstance(s.order, Tree):
            for (var, _), text in zip(s.carry, states, strict=True):
                self.bind(var, Value(text, var.dtype, lanes, self.depth))
            self.body(s.body)
            return [self.operand(self.value(e), lanes) for e in s.next]
        self.body(s.body)
        contribution = tuple(self.operand(self.value(e), lanes) for e in s.next)
        return list(self._combine(s, lanes, tuple(states), contribution))

    def _combine(self, s: For, lanes: int, a: State, b: State, ordered: bool = True) -> State:
        """Every carried state of a tree loop combined with another."""
        assert isinstance(s.order, Tree)
        site = Site(self, lanes, self.depth)
        result: list[str] = []
        for monoid, first in split(s.order.monoids):
            last = first + monoid.width
            dtypes = [var.dtype for var, _ in s.carry[first:last]]
            result.extend(combine(site, monoid, dtypes, a[first:last], b[first:last], ordered))
        return tuple(result)

    # --- lanes ------------------------------------------------------------------------------------

    def _vector_loop(
        self, s: For, mapping: Vector, start: Bound, stop: Bound, starts: list[str]
    ) -> list[str]:
        tree, scan = isinstance(s.order, Tree), scan_of(s)
        if s.carry and not tree and scan is None:
            raise ValueError("a vector loop with a carried state that is no tree and no scan")
        width = mapping.lanes if mapping.lanes > 1 else 0
        accumulators = _Accumulators(
            [self.type_of(var.dtype, width) for var, _ in s.carry],
            self._identities(s, width) if tree else [],
            [None] * mapping.unroll if scan is None else [(started(self, scan, starts[0], width),)],
        )
        if isinstance(start, int) and isinstance(stop, int):
            self._known_range(s, mapping, start, stop, accumulators)
        else:
            self._open_range(s, mapping, str(start), str(stop), accumulators)
        if scan is not None:
            ((state,),) = (found for found in accumulators.states if found is not None)
            return [self.emit(f"extractelement {accumulators.types[0]} {state}, i64 0")]
        return list(self._finish_tree(s, width, accumulators, tuple(starts))) if tree else []

    def _known_range(
        self, s: For, mapping: Vector, start: int, stop: int, accumulators: _Accumulators
    ) -> None:
        """The parts of a loop whose range is known: those that cannot run are left out."""
        lanes, unroll = mapping.lanes, mapping.unroll
        block = lanes * unroll
        blocks, rest = divmod(stop - start, block)
        full, tail = divmod(rest, lanes)
        middle = start + blocks * block
        if blocks == 1:
            self._copies(s, None, start, lanes, unroll, None, accumulators)
        elif blocks:
            self._strided(s, str(start), str(middle), lanes, unroll, accumulators)
        if full > 2:
            self._strided(s, str(middle), str(middle + full * lanes), lanes, 1, accumulators)
        elif full:
            self._copies(s, None, middle, lanes, full, None, accumulators)
        if tail:
            mask = self.prefix_mask(tail, lanes)
            self._copies(s, None, stop - tail, lanes, 1, mask, accumulators)

    def _open_range(
        self, s: For, mapping: Vector, start: str, stop: str, accumulators: _Accumulators
    ) -> None:
        """A main loop of whole blocks, then the rest vector by vector, masked."""
        lanes, unroll = mapping.lanes, mapping.unroll
        block = lanes * unroll
        span = self.emit(f"sub nsw i64 {stop}, {start}") if start != "0" else stop
        if block & (block - 1) == 0:
            whole = self.emit(f"and i64 {span}, {-block}")
        else:
            whole = self.emit(f"mul i64 {self.emit(f'udiv i64 {span}, {block}')}, {block}")
        middle = self.emit(f"add nsw i64 {start}, {whole}") if start != "0" else whole
        condition = self.emit(f"icmp ne i64 {whole}, 0")
        before = accumulators.carries()
        name = self.begin_if(loads=False)
        self._strided(s, start, middle, lanes, unroll, accumulators)
        self._merge(name, condition, before, accumulators)
        if block == 1:
            return
        condition = self.emit(f"icmp slt i64 {middle}, {stop}")
        before = accumulators.carries()
        name = self.begin_if(loads=False)
        self._rest(s, middle, stop, mapping, accumulators)
        self._merge(name, condition, before, accumulators)

    def _merge(
        self,
        name: str,
        condition: str,
        before: list[tuple[str, str]],
        accumulators: _Accumulators,
    ) -> None:
        after = accumulators.carries()
        merges = [(kind, a, b) for (kind, a), (_, b) in zip(after, before, strict=True)]
        accumulators.replace(self.end_if(name, condition, merges))

    def _strided(
        self,
        s: For,
        start: str,
        stop: str,
        lanes: int,
        copies: int,
        accumulators: _Accumulators,
    ) -> None:
        """A loop of `copies` vectors an iteration."""
        carries = accumulators.carries()
        loop = self.begin_loop(start, stop, lanes * copies, carries, self.writes(s))
        accumulators.replace(loop.phis)
        base = Var("base")
        self.bind(base, Value(loop.index, int64, 0, self.depth))
        self._copies(s, base, 0, lanes, copies, None, accumulators, _multiple(start, lanes))
        nexts = [text for _, text in accumulators.carries()]
        accumulators.replace(self.end_loop(loop, nexts))

    def _rest(
        self, s: For, start: str, stop: str, mapping: Vector, accumulators: _Accumulators
    ) -> None:
        """What is left of a loop of unknown range: masked vectors, or single elements."""
        lanes = mapping.lanes
        carries = accumulators.carries()
        loop = None
        index = start
        if mapping.unroll > 1:
            loop = self.begin_loop(start, stop, lanes, carries, self.writes(s))
            accumulators.replace(loop.phis)
            index = loop.index
        base = Var("base")
        self.bind(base, Value(index, int64, 0, self.depth))
        mask = None
        if lanes > 1:
            left = self.emit(f"sub nsw i64 {stop}, {index}")
            alive = self.emit(self.intrinsic("i64", "smin.i64", ["i64", "i64"], [left, str(lanes)]))
            mask = self.prefix_mask(alive, lanes)
        self._copies(s, base, 0, lanes, 1, mask, accumulators, _multiple(start, lanes))
        if loop is not None:
            nexts = [text for _, text in accumulators.carries()]
            accumulators.replace(self.end_loop(loop, nexts))

    def _copies(
        self,
        s: For,
        base: Var | None,
        offset: int,
        lanes: int,
        copies: int,
        mask: Mask | None,
        accumulators: _Accumulators,
        aligned: bool = True,
    ) -> None:
        """The body for `copies` vectors: instruction by instruction in turn, or one by one."""
        region = self.levels[-1].region
        scan = scan_of(s)
        woven = copies > 1 and scan is None and self._straight(s)
        parts: list[list[str]] = []
        for number in range(copies):
            self.open(Region(region.label) if woven else None)
            at = offset + number * lanes
            self.replaced[s.var] = (base, at, self.depth)
            if lanes > 1:
                self.vector = VectorContext(s.var, base, at, lanes, self.depth, mask, aligned)
            if scan is not None:
                self._scanned(s.body, scan, lanes, mask, accumulators)
            else:
                self.body(s.body)
            if s.carry and scan is None:
                self._accumulate(s, number, lanes, mask, accumulators)
            self.vector = None
            level = self.close()
            if woven:
                parts.append(level.region.lines)
        for lines in zip_longest(*parts):
            region.lines.extend(line for line in lines if line is not None)

    def _scanned(
        self,
        body: Sequence[Stmt],
        scan: Scan,
        lanes: int,
        mask: Mask | None,
        accumulators: _Accumulators,
    ) -> None:
        """The body of a scan for one vector, and the state behind it."""
        ((state,),) = (found for found in accumulators.states if found is not None)
        for statement in body:
            if statement is scan.step:
                accumulators.states = [(scanned(self, scan, lanes, mask, state),)]
            else:
                self.body((statement,))

    def _straight(self, s: For) -> bool:
        """Whether the body is one block whose copies touch different memory."""
        for statement in s.body:
            if isinstance(statement, Let):
                values: tuple[Expr, ...] = (statement.value,)
            elif isinstance(statement, Prefetch):
                values = statement.indices
            elif isinstance(statement, Store):
                values = (statement.value, *statement.indices)
                apart = any(s.var in self.factors(e) for e in statement.indices)
                if statement.monoid is not None and not apart:
                    return False
            else:
                return False
            if any(self.branches(e) for e in values):
                return False
        return not any(self.branches(e) for e in s.next)

    def _accumulate(
        self, s: For, number: int, lanes: int, mask: Mask | None, accumulators: _Accumulators
    ) -> None:
        """Combine the contribution of one vector with its accumulator."""
        width = lanes if lanes > 1 else 0
        parts = [self.operand(self.value(e), width) for e in s.next]
        if mask is not None:
            parts = [
                self.emit(f"select <{lanes} x i1> {mask.text}, {kind} {text}, {kind} {neutral}")
                for kind, text, neutral in zip(
                    accumulators.types, parts, accumulators.identities, strict=True
                )
            ]
        state = accumulators.states[number]
        if state is not None:
            # A lane goes through its elements in their order. What none of them improves keeps
            # the last index of all, and loses to the value that the loop starts from.
            parts = list(self._combine(s, width, state, tuple(parts)))
        accumulators.states[number] = tuple(parts)

    # --- trees ------------------------------------------------------------------------------------

    def _identities(self, s: For, lanes: int) -> list[str]:
        assert isinstance(s.order, Tree)
        texts = []
        for monoid, first in split(s.order.monoids):
            dtype = s.carry[first][0].dtype
            neutral = self.constant(identity(monoid, dtype), dtype)
            texts.append(self.operand(neutral, lanes))
            if monoid.width == 2:
                place = s.carry[first + 1][0].dtype
                texts.append(self.operand(self.constant(place.highest, place), lanes))
        return texts

    def _finish_tree(self, s: For, lanes: int, accumulators: _Accumulators, starts: State) -> State:
        """Accumulators into one, its lanes into one, and that after the start value."""
        assert isinstance(s.order, Tree)
        used = [state for state in accumulators.states if state is not None]
        site = Site(self, lanes, self.depth)
        result: list[str] = []
        for monoid, first in split(s.order.monoids):
            last = first + monoid.width
            dtypes = [var.dtype for var, _ in s.carry[first:last]]
            states = [u[first:last] for u in used]
            if lanes and monoid.width == 2:
                result.extend(first_of(self, monoid, dtypes, lanes, states))
                continue
            state = pairwise(site, monoid, dtypes, states)
            result.extend(self.reduce_lanes(monoid, dtypes, lanes, state))
        return self._combine(s, 0, starts, tuple(result))

    def reduce_lanes(
        self, monoid: Monoid, dtypes: Sequence[DType], lanes: int, state: State
    ) -> State:
        """The lanes of a vector state combined; a scalar state as it is."""
        return across_lanes(self, monoid, dtypes, lanes, state) if lanes else state


def _multiple(start: str, lanes: int) -> bool:
    """Whether a loop surely begins at a multiple of `lanes`."""
    return start.isdigit() and int(start) % lanes == 0


def written(statements: Sequence[Stmt]) -> frozenset[Buffer]:
    """The buffers that statements write."""
    return frozenset(buffer for statement in statements for buffer in accesses.written(statement))
