"""Kernels mapped to teams of threads, as one function that a thread runs.

Knows how iterations are dealt to threads and where each kind of local memory lies; holds no
heuristics and knows no tensors.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import final

from ..affine import canonical, upper_bound
from ..dtypes import float32, int64
from ..expr import Apply, Buffer, Const, Expr, Load, Var, index
from ..kernel import (
    Alloc,
    Contract,
    Copy,
    Dealt,
    For,
    Grid,
    Inner,
    Kernel,
    Let,
    Mma,
    Placed,
    Prefetch,
    Stmt,
    Store,
    Sync,
    Team,
    Tree,
    Unfold,
    nested,
)
from ..scalar import apply
from ..unfolding import unfold_loops
from .base import Features
from .gpu_copies import Copies
from .gpu_mma import fragments, instruction
from .llvm_address import Address, Mask, Sum, VectorContext, memory_type
from .llvm_builder import Region, Value
from .llvm_layout import elements
from .llvm_loops import Bound, _Accumulators, written
from .llvm_scalar import Rule

__all__ = ["BASE_ALIGNMENT", "Threads", "launch_bounds", "launched_blocks", "slot_bytes"]

BASE_ALIGNMENT = 16
"""Every parameter of a kernel on the GPU begins at a multiple of so many bytes."""

_LINE = 128


_RESIDENT = 512
"""Threads that a multiprocessor must have room for, of those that sweep over memory."""


def launch_bounds(grid: Grid, shared_bytes: int) -> tuple[int, ...]:
    """The threads of a block, and how many blocks a multiprocessor must have room for.

    Not told how many, the assembler makes room for more blocks than sweeps need, and spills
    registers; told so of kernels with shared memory, it unrolls loops until they spill.
    """
    if grid.team is Team.BLOCK and not shared_bytes:
        return grid.threads, max(1, _RESIDENT // grid.threads)
    return (grid.threads,)


def launched_blocks(kernel: Kernel) -> Expr:
    """How many blocks a launch has, in terms of the kernel's sizes."""
    top = kernel.body[-1]
    assert isinstance(top, For)
    assert isinstance(top.mapping, Grid)
    grid = top.mapping
    teams = grid.threads // grid.width
    extent = index(top.extent) if isinstance(top.extent, int) else top.extent
    whole = apply("add", extent, index(teams - 1))
    blocks = canonical(apply("divtrunc", whole, index(teams)))
    return blocks if grid.blocks is None else apply("minimum", blocks, index(grid.blocks))


def slot_bytes(kernel: Kernel) -> tuple[dict[Buffer, int], int]:
    """Where in a team's part of the workspace each buffer lies, and the bytes of the part."""
    offsets: dict[Buffer, int] = {}
    total = 0
    for s in nested(kernel.body):
        if isinstance(s, Alloc) and s.buffer.space == "slot":
            offsets[s.buffer] = total
            total += -(-elements(s.buffer) * s.buffer.dtype.itemsize // _LINE) * _LINE
    return offsets, total


class Threads(Copies):
    """The function of a kernel whose last statement is its grid loop."""

    single = True

    def __init__(
        self, kernel: Kernel, target: Features, arguments: int, offsets: Sequence[int], slots: int
    ) -> None:
        last = kernel.body[-1]
        assert isinstance(last, For)
        if not isinstance(last.mapping, Grid):
            raise ValueError(f"kernel {kernel.name} is not mapped to a grid")
        super().__init__(target, last.mapping, kernel.name)
        self.kernel = kernel
        self.top = last
        self.arguments, self.offsets, self.slots_from = arguments, offsets, slots
        self.slots, self.slot_size = slot_bytes(kernel)
        self.inside: Var | None = None
        self.round = 0
        self.locals: dict[Buffer, Buffer] = {}
        self.privates: list[str] = []
        self.multiples: dict[Var, int] = {}
        self.aligned: dict[str, int] = {}

    # --- the function -----------------------------------------------------------------------------

    def main(self) -> str:
        """The text of the function and of its shared memory.

        The first parameters are arguments, the others lie at their offsets of the workspace, and
        the slots of teams after all of these.
        """
        kernel, grid = self.kernel, self.grid
        self.mutable = written(kernel.body)
        self.open(Region("entry"))
        parameters = []
        for number, param in enumerate(kernel.params):
            if number < self.arguments:
                parameters.append(f"ptr align {BASE_ALIGNMENT} %p{number}")
                text = f"%p{number}"
            else:
                offset = self.offsets[number - self.arguments]
                text = self.emit(f"getelementptr i8, ptr %memory, i64 {offset}")
            self.bases[param.buffer] = Value(text, int64, 0, 0)
        parameters.append(f"ptr align {BASE_ALIGNMENT} %memory")
        for number, size in enumerate(kernel.sizes):
            parameters.append(f"i64 %s{number}")
            self.bind(size, Value(f"%s{number}", int64, 0, 0))
        self.thread = self.register("tid.x")
        self.body(kernel.body[:-1])
        self._grid_loop()
        lines = self.levels[0].region.lines
        threads, *blocks = launch_bounds(grid, self.shared_bytes)
        bounds = f'nounwind "nvvm.maxntid"="{threads}"'
        bounds += "".join(f' "nvvm.minctasm"="{count}"' for count in blocks)
        head = f"define ptx_kernel void @{kernel.name}({', '.join(parameters)}) {bounds} {{"
        text = "\n".join([head, "entry:", *self.privates, *lines, "  ret void", "}", ""])
        if self.shared_bytes:
            kind = f"internal addrspace(3) global [{self.shared_bytes} x i8] undef, align 16"
            text = f"{self.shared_name} = {kind}\n\n{text}"
        return text

    def register(self, name: str) -> str:
        """A special register as an index."""
        text = self.emit(self.intrinsic("i32", f"nvvm.read.ptx.sreg.{name}", [], []), 0)
        return self.emit(f"zext i32 {text} to i64", 0)

    def _grid_loop(self) -> None:
        grid, top = self.grid, self.top
        teams = grid.threads // grid.width
        first = self.register("ctaid.x")
        if teams > 1:
            team = self.thread
            if grid.width > 1:
                team = self.emit(f"lshr i64 {team}, {grid.width.bit_length() - 1}")
            first = self.emit(f"add nsw i64 {self.emit(f'mul nsw i64 {first}, {teams}')}, {team}")
        self._place_slots(first, teams)
        extent = self.bound(top.extent)
        if grid.blocks is None and grid.team is Team.BLOCK:
            self.bind(top.var, Value(first, int64, 0, self.depth))
            self.body(top.body)
            return
        going = self.emit(f"icmp slt i64 {first}, {extent}")
        name = self.begin_if()
        if grid.blocks is None:
            self.bind(top.var, Value(first, int64, 0, self.depth))
            self.body(top.body)
        else:
            step = self.emit(f"mul nsw i64 {self.register('nctaid.x')}, {teams}", 0)
            self.repeats += 1
            loop = self.begin_loop(first, str(extent), step, writes=self.writes(top))
            self.bind(top.var, Value(loop.index, int64, 0, self.depth))
            self.body(top.body)
            self.barrier()
            self.end_loop(loop)
            self.repeats -= 1
        self.end_if(name, going)

    # --- local memory -----------------------------------------------------------------------------

    def _place_slots(self, team: str, teams: int) -> None:
        """Where the workspace of this team lies; of threads, element by element in turn."""
        if not self.slot_size:
            return
        assert self.grid.blocks is not None
        if self.grid.team is not Team.THREAD:
            offset = self.emit(f"mul nsw i64 {team}, {self.slot_size}")
            offset = self.emit(f"add nsw i64 {offset}, {self.slots_from}")
            self.put(f"%slot = getelementptr i8, ptr %memory, i64 {offset}")
            return
        total = teams * self.grid.blocks
        for buffer, start in self.slots.items():
            size = buffer.dtype.itemsize
            offset = self.emit(f"mul nsw i64 {team}, {size}")
            offset = self.emit(f"add nsw i64 {offset}, {self.slots_from + start * total}")
            text = self.emit(f"getelementptr i8, ptr %memory, i64 {offset}")
            self.bases[buffer] = Value(text, int64, 0, 0)
            self.strides[buffer] = tuple(
                stride * total for stride in self.strides_of(buffer) if isinstance(stride, int)
            )

    def _alloc(self, buffer: Buffer) -> None:
        if buffer in self.bases or buffer in self.locals:
            return
        size = elements(buffer) * buffer.dtype.itemsize
        if buffer.space == "shared":
            place: int | str = self.reserve(size)
            if self.grid.team is Team.WARP:
                teams = self.grid.threads // self.grid.width
                each = -(-size // 16) * 16
                place = self.reserve(each * teams)
                team = self.emit(f"lshr i64 {self.thread}, 5", 0)
                offset = self.emit(f"mul nsw i64 {team}, {each}", 0)
                place = self.emit(f"add nsw i64 {offset}, {place}", 0)
            self.bases[buffer] = Value(self.shared_pointer(place, 0), int64, 0, 0)
        elif buffer.space == "slot":
            start = self.slots[buffer]
            text = self.emit(f"getelementptr i8, ptr %slot, i64 {start}", 0)
            self.bases[buffer] = Value(text, int64, 0, 0)
        elif buffer.space == "register":
            self._alloc_registers(buffer)
        else:
            raise ValueError(f"{buffer.name} lies in {buffer.space} memory, which is the CPU's")

    def _alloc_registers(self, buffer: Buffer) -> None:
        """This thread's part of a buffer; a pass makes registers of it."""
        shape = tuple(n for n in buffer.shape if isinstance(n, int))
        if self.grid.team is not Team.THREAD:
            # A dealt loop leaves each thread at most so many of the first axis.
            lanes = max(16 // buffer.dtype.itemsize, 1)
            rounds = -(-shape[0] // self.grid.width) + 2 * lanes
            shape = (rounds, *shape[1:])
        local = Buffer(buffer.name, buffer.dtype, shape, space="register")
        kind = f"[{math.prod(shape)} x {memory_type(local)}]"
        # Only what stands in the first block of a function becomes registers.
        text = self.fresh()
        self.privates.append(f"  {text} = alloca {kind}, align 16")
        self.bases[local] = Value(text, int64, 0, 0)
        self.locals[buffer] = local

    def address(self, buffer: Buffer, indices: tuple[Expr, ...]) -> Address:
        """Where an element lies; of registers, in this thread's part."""
        local = self.locals.get(buffer)
        if local is None:
            return super().address(buffer, indices)
        if self.grid.team is Team.THREAD:
            return super().address(local, indices)
        if self.inside is None or indices[0] is not self.inside:
            raise ValueError(f"{buffer.name} is not indexed by the loop that is dealt to threads")
        found = super().address(local, (Const(self.round, int64), *indices[1:]))
        depth = max(found.depth, self.depth)
        stride = 1 if self.vector is not None else found.stride
        return dataclasses.replace(found, depth=depth, stride=stride)

    # --- alignment --------------------------------------------------------------------------------

    def _multiple(self, e: Expr) -> int:
        """A number that surely divides an index."""
        if isinstance(e, Var):
            return self._multiple(self.lets[e]) if e in self.lets else self.multiples.get(e, 1)
        if isinstance(e, Apply) and e.op in ("add", "sub", "minimum", "maximum"):
            return math.gcd(*(self._multiple(a) for a in e.args))
        if isinstance(e, Apply) and e.op == "remtrunc" and isinstance(e.args[1], Const):
            return math.gcd(self._multiple(e.args[0]), int(e.args[1].value))
        if isinstance(e, Apply) and e.op == "mul":
            return math.prod(self._multiple(a) for a in e.args)
        if isinstance(e, Const):
            return int(e.value) or 1 << 20
        return 1

    def _pointer(
        self, buffer: Buffer, groups: dict[int, Sum], reads: frozenset[Buffer]
    ) -> tuple[str, int]:
        text, depth = super()._pointer(buffer, groups, reads)
        memory = buffer.base if buffer.base is not None else buffer
        known = BASE_ALIGNMENT
        if memory.space == "slot" and self.grid.team is Team.THREAD:
            known = buffer.dtype.itemsize
        for products in groups.values():
            for product, coefficient in products.items():
                factor = math.prod(self._multiple(e) for e in product)
                known = math.gcd(known, factor * coefficient * buffer.dtype.itemsize)
        self.aligned[text] = known
        return text, depth

    def alignment(self, buffer: Buffer, address: Address, lanes: int) -> int:
        """The alignment of an access that is proven, in bytes."""
        size = buffer.dtype.itemsize
        known = self.aligned.get(address.pointer, size)
        return max(size, math.gcd(known, address.constant * size))

    # --- statements -------------------------------------------------------------------------------

    def body(self, statements: tuple[Stmt, ...] | list[Stmt]) -> None:  # type: ignore[override]
        """Write statements in order; between them the barriers that the schedule has set."""
        for s in statements:
            if isinstance(s, Sync):
                self.barrier()
                self.forget(self.mutable)
            elif isinstance(s, Mma):
                self.mma(s)
                self.forget(frozenset((s.acc,)))
            else:
                super().body((s,))

    def _store(self, s: Store) -> None:
        """What stands in no dealt loop is stored by one thread of the team."""
        if s.asynchronous and self.copied(s):
            self.forget(frozenset((s.buffer,)))
            return
        if self.inside is not None or self.grid.team is Team.THREAD:
            super()._store(s)
            return
        mine = self.thread
        if self.grid.width < self.grid.threads:
            mine = self.emit(f"and i64 {mine}, {self.grid.width - 1}")
        first = self.emit(f"icmp eq i64 {mine}, 0")
        name = self.begin_if()
        super()._store(s)
        self.end_if(name, first)

    def mma(self, s: Mma) -> None:
        """Tiles that the threads of a warp multiply: parts of the operands first, then products."""
        _, high, wide, count = (n for n in s.acc.shape if isinstance(n, int))
        left, right = (
            [[self._pair(buffer, place) for place in tile] for tile in tiles]
            for buffer, tiles in zip((s.left, s.right), fragments(s, high, wide), strict=True)
        )
        for m, n in itertools.product(range(high), range(wide)):
            places = [(s.thread, index(m), index(n), index(c)) for c in range(count)]
            sums = [self.value(Load(s.acc, place)).text for place in places]
            made = self.emit(instruction(s.left.dtype, left[m], right[n], sums))
            for c, place in enumerate(places):
                kind = "{ float, float, float, float }"
                text = self.emit(f"extractvalue {kind} {made}, {c}")
                result = Var("sum", float32)
                self.bind(result, Value(text, float32, 0, self.depth))
                self.run_now(Store(s.acc, place, result))

    def _pair(self, buffer: Buffer, place: tuple[Expr, Expr]) -> str:
        """Two elements next to each other, as 32 bits."""
        address = self.address(buffer, place)
        pointer = self.element(address.pointer, buffer, address.constant, self.depth)
        return self.emit(f"load i32, ptr {pointer}, align 4")

    def contract(self, s: Contract) -> None:
        """A register tile of the CPU."""
        raise ValueError(f"kernel {self.kernel.name} is mapped to a register tile of the CPU")

    def placed(self, s: Placed) -> None:
        """A tile of operands that lie anywhere, of the CPU."""
        raise ValueError(f"kernel {self.kernel.name} is mapped to a register tile of the CPU")

    def inner(self, s: Inner) -> None:
        """Inner products with lanes along the sum, of the CPU."""
        raise ValueError(f"kernel {self.kernel.name} is mapped to inner products of the CPU")

    def copy(self, s: Copy) -> None:
        """Packing for the CPU."""
        raise ValueError(f"kernel {self.kernel.name} packs operands for the CPU")

    def unfold(self, s: Unfold) -> None:
        """Windows as a matrix: loops."""
        for loop in unfold_loops(s):
            self.run_now(loop)

    def prefetch(self, buffer: Buffer, indices: tuple[Expr, ...]) -> None:
        """Other threads run while one waits."""

    def _apply(self, e: Expr, rule: Rule, values: list[Value]) -> Value:
        """Division of what is surely small, in 32 bits."""
        small = (
            isinstance(e, Apply)
            and e.op in ("divtrunc", "remtrunc")
            and e.dtype is int64
            and isinstance(e.args[1], Const)
            and e.args[1].value > 0
            and not values[0].lanes
            and upper_bound(e.args[0]) < 1 << 32
        )
        if not small or not isinstance(e, Apply):
            return super()._apply(e, rule, values)
        (value, divisor) = values
        depth = max(value.depth, self.pure_barrier)
        narrow = self.emit(f"trunc i64 {value.text} to i32", depth)
        name = "udiv" if e.op == "divtrunc" else "urem"
        text = self.emit(f"{name} i32 {narrow}, {divisor.text}", depth)
        wide = self.emit(f"zext i32 {text} to i64", depth)
        return Value(wide, int64, 0, depth, reads=value.reads)

    # --- dealt loops ------------------------------------------------------------------------------

    def _run(self, s: For, start: Bound, stop: Bound, starts: list[str]) -> list[str]:
        if isinstance(s.mapping, Dealt):
            return _DealtLoop(self, s, s.mapping).run(stop, starts)
        self.repeats += 1
        try:
            return super()._run(s, start, stop, starts)
        finally:
            self.repeats -= 1


@final
class _DealtLoop:
    """One loop whose iterations are dealt to the threads of a team."""

    def __init__(self, code: Threads, s: For, mapping: Dealt) -> None:
        self.code = code
        self.s = s
        self.lanes = mapping.lanes
        self.unroll = mapping.unroll
        self.width = code.grid.width * mapping.lanes
        """Iterations of one round."""
        number = code.thread
        if code.grid.width < code.grid.threads:
            number = code.emit(f"and i64 {number}, {code.grid.width - 1}", 0)
        self.number = number
        self.first = number
        if self.lanes > 1:
            self.first = code.emit(f"mul nsw i64 {number}, {self.lanes}")

    def run(self, stop: Bound, starts: list[str]) -> list[str]:
        code, s = self.code, self.s
        tree = isinstance(s.order, Tree)
        if s.carry and not tree:
            raise ValueError("a dealt loop with a carried state that is not a tree")
        wide = self._accumulators(self.lanes if self.lanes > 1 else 0, self.unroll)
        single = self._accumulators(0, 1)
        if isinstance(stop, int):
            self._known(stop, wide, single)
        else:
            self._open(stop, wide, single)
        if not tree:
            return []
        assert isinstance(s.order, Tree)
        parts = []
        width = self.lanes if self.lanes > 1 else 0
        neutral = tuple(code._identities(s, 0))
        if any(state is not None for state in wide.states):
            parts.append(tuple(code._finish_tree(s, width, wide, neutral)))
        if single.states[0] is not None:
            parts.append(single.states[0])
        mine = parts[0] if parts else neutral
        for other in parts[1:]:
            mine = code._combine(s, 0, mine, other, ordered=False)
        dtypes = [var.dtype for var, _ in s.carry]
        total = code.across_team(s.order.monoids, dtypes, mine)
        return list(code._combine(s, 0, tuple(starts), total, ordered=False))

    def _accumulators(self, width: int, copies: int) -> _Accumulators:
        code, s = self.code, self.s
        tree = isinstance(s.order, Tree)
        types = [code.type_of(var.dtype, width) for var, _ in s.carry]
        return _Accumulators(types, code._identities(s, width) if tree else [], [None] * copies)

    # --- which iterations -------------------------------------------------------------------------

    def _known(self, stop: int, wide: _Accumulators, single: _Accumulators) -> None:
        rounds, rest = divmod(stop, self.width)
        base = self._variable("base", self.first, self.lanes)
        done = 0
        if rounds > self.unroll:
            done = rounds - rounds % self.unroll
            self._loop(self.first, str(done * self.width), self.unroll, wide)
        if rounds > done:
            self._copies(base, done * self.width, self.lanes, rounds - done, wide, done)
        vectors, tail = divmod(rest, self.lanes)
        if vectors:
            self._some(
                f"icmp slt i64 {self.number}, {vectors}",
                wide,
                lambda: self._copies(base, rounds * self.width, self.lanes, 1, wide, rounds),
            )
        if tail:
            number = self._variable("number", self.number, 1)
            last = rounds + (1 if vectors else 0)
            self._some(
                f"icmp slt i64 {self.number}, {tail}",
                single,
                lambda: self._copies(number, stop - tail, 1, 1, single, last),
            )

    def _open(self, stop: str, wide: _Accumulators, single: _Accumulators) -> None:
        code, lanes = self.code, self.lanes
        block = self.width * self.unroll
        whole = code.emit(f"and i64 {stop}, {-block}")
        self._some(
            f"icmp ne i64 {whole}, 0",
            wide,
            lambda: self._loop(self.first, whole, self.unroll, wide),
        )
        limit = code.emit(f"and i64 {stop}, {-lanes}") if lanes > 1 else stop
        start = code.emit(f"add nsw i64 {whole}, {self.first}")
        self._some(
            f"icmp slt i64 {start}, {limit}",
            wide,
            lambda: self._loop(start, limit, 1, wide),
        )
        if lanes == 1:
            return
        last = code.emit(f"add nsw i64 {limit}, {self.number}")
        number = self._variable("number", last, 1)
        self._some(
            f"icmp slt i64 {last}, {stop}",
            single,
            lambda: self._copies(number, 0, 1, 1, single, 0),
        )

    def _variable(self, name: str, text: str, multiple: int) -> Var:
        var = Var(name)
        self.code.bind(var, Value(text, int64, 0, self.code.depth))
        self.code.multiples[var] = multiple
        return var

    def _some(self, test: str, accumulators: _Accumulators, write: Callable[[], None]) -> None:
        """Code that some threads run."""
        code = self.code
        condition = code.emit(test)
        before = accumulators.carries()
        had = [state is not None for state in accumulators.states]
        name = code.begin_if()
        write()
        changed = [state is not None for state in accumulators.states]
        code._merge(name, condition, before, accumulators)
        if not any(changed) and not any(had):
            accumulators.states = [None] * len(accumulators.states)

    def _loop(self, start: str, stop: str, copies: int, accumulators: _Accumulators) -> None:
        code = self.code
        carries = accumulators.carries()
        loop = code.begin_loop(start, stop, self.width * copies, carries, code.writes(self.s))
        accumulators.replace(loop.phis)
        base = self._variable("base", loop.index, self.lanes)
        self._copies(base, 0, self.lanes, copies, accumulators, 0)
        nexts = [text for _, text in accumulators.carries()]
        accumulators.replace(code.end_loop(loop, nexts))

    def _copies(
        self,
        base: Var,
        offset: int,
        lanes: int,
        copies: int,
        accumulators: _Accumulators,
        number: int,
    ) -> None:
        """The body for `copies` rounds from round `number` on, instruction by instruction."""
        code, s = self.code, self.s
        region = code.levels[-1].region
        woven = copies > 1 and self._straight()
        parts: list[list[str]] = []
        mask: Mask | None = None
        for k in range(copies):
            code.open(Region(region.label) if woven else None)
            at = offset + k * self.width
            code.replaced[s.var] = (base, at, code.depth)
            if lanes > 1:
                code.vector = VectorContext(s.var, base, at, lanes, code.depth, mask)
            outer = code.inside, code.round
            code.inside, code.round = s.var, (number + k) * self.lanes
            code.body(s.body)
            if s.carry:
                place = k % len(accumulators.states)
                code._accumulate(s, place, lanes, mask, accumulators)
            code.inside, code.round = outer
            code.vector = None
            level = code.close()
            if woven:
                parts.append(level.region.lines)
        longest = max((len(lines) for lines in parts), default=0)
        for row in range(longest):
            region.lines.extend(lines[row] for lines in parts if row < len(lines))

    def _straight(self) -> bool:
        simple = all(isinstance(x, (Let, Store, Prefetch)) for x in self.s.body)
        return simple and self.code._straight(self.s)
