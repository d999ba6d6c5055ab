"""PTX run on the CPU, all threads at once: what compiled kernels are tested with where no GPU is.

Knows threads, warps, blocks, barriers and memory; slow, and never part of a step. A thread runs
until it meets a barrier; of the threads that can go on, those with the lowest instruction go first,
so that branches join again, or with a seed some of them in a random order. An output that nobody
wrote cannot be read; other memory holds NaN until it is written. Two threads may touch the same
bytes, one of them writing, only when a barrier lies between.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NoReturn, final

import numpy as np

from .ptx_text import Function, Instruction, parse_ptx
from .ptx_values import KINDS, compute, multiply_tiles

__all__ = ["SimulationError", "simulate"]

Array = np.ndarray[Any, Any]

_BASE = 1 << 32
_GAP = 512
_BITS = {
    "pred": np.dtype(bool),
    "b16": np.dtype("u2"),
    "b32": np.dtype("u4"),
    "b64": np.dtype("u8"),
    "f32": np.dtype("u4"),
    "f64": np.dtype("u8"),
}
_ADDRESS = re.compile(r"\[([\w$%]+)(?:\+(-?\d+))?\]")
MOST_STEPS = 4_000_000


@final
class SimulationError(Exception):
    """A kernel that reads what nobody wrote, races, leaves its memory, or waits for ever."""


def simulate(
    ptx: str,
    launches: Sequence[tuple[str, int, int]],
    arrays: Sequence[Array],
    workspace: int,
    sizes: Sequence[int],
    written: Sequence[bool] = (),
    seed: int | None = None,
) -> None:
    """Run entries one after the other on `arrays`, in place.

    Parameters
    ----------
    ptx : str
        A module as `compile_gpu` makes it.
    launches : sequence of (str, int, int)
        The entry, its blocks, and the threads of a block.
    arrays : sequence of numpy.ndarray
        One for each parameter, C-contiguous.
    workspace : int
        Bytes of the workspace.
    sizes : sequence of int
    written : sequence of bool, optional
        Which arrays hold nothing before the kernel runs: reading them first is an error.
    seed : int, optional
        Of a random order in which warps, and the branches that their threads take, go on.

    Raises
    ------
    SimulationError
        Names the instruction.
    """
    functions = parse_ptx(ptx)
    memory = _Memory([a.nbytes for a in arrays], workspace)
    for number, array in enumerate(arrays):
        memory.put(number, array, defined=not (number < len(written) and written[number]))
    arguments = [*memory.addresses, *sizes]
    order = None if seed is None else np.random.default_rng(seed)
    for entry, blocks, threads in launches:
        if blocks:
            memory.begin(blocks * threads)
            launch = _Launch(functions, functions[entry], blocks, threads, memory, arguments)
            launch.order = order
            launch.run()
    for number, array in enumerate(arrays):
        memory.get(number, array)


@final
class _Memory:
    """Global memory: arrays with gaps between them, which bytes are defined, who touched them."""

    def __init__(self, sizes: Sequence[int], workspace: int) -> None:
        offsets = []
        total = _GAP
        for size in (*sizes, workspace):
            offsets.append(total)
            total += -(-size // 256) * 256 + _GAP
        self.offsets = offsets
        self.addresses = [_BASE + o for o in offsets]
        self.data = np.full(total, 0xFF, np.uint8)
        self.valid = np.zeros(total, bool)
        self.defined = np.zeros(total, bool)
        for offset, size in zip(offsets, (*sizes, workspace), strict=True):
            self.valid[offset : offset + size] = True
        self.defined[offsets[-1] :] = True

    def put(self, number: int, array: Array, defined: bool) -> None:
        start = self.offsets[number]
        raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        self.data[start : start + raw.size] = raw
        self.defined[start : start + raw.size] = defined

    def get(self, number: int, array: Array) -> None:
        start = self.offsets[number]
        flat = self.data[start : start + array.nbytes].view(array.dtype)
        array[...] = flat.reshape(array.shape)

    def begin(self, threads: int) -> None:
        """A launch sees all that the one before it wrote."""
        self.shadow = _Shadow(self.data.size)


@final
class _Shadow:
    """Who touched each byte last, and in which interval between barriers."""

    def __init__(self, size: int) -> None:
        self.writer = np.full(size, -1, np.int32)
        self.written = np.zeros(size, np.int64)
        self.reader = np.full(size, -1, np.int32)
        self.read = np.zeros(size, np.int64)


@final
class _Launch:
    def __init__(
        self,
        functions: dict[str, Function],
        entry: Function,
        blocks: int,
        threads: int,
        memory: _Memory,
        arguments: Sequence[int],
    ) -> None:
        if entry.threads and threads > entry.threads:
            raise SimulationError(f"{entry.name} is made for {entry.threads} threads a block")
        self.functions, self.entry = functions, entry
        self.count = blocks * threads
        number = np.arange(self.count)
        self.special = {
            "%tid.x": (number % threads).astype("u4"),
            "%ctaid.x": (number // threads).astype("u4"),
            "%ntid.x": np.full(self.count, threads, "u4"),
            "%nctaid.x": np.full(self.count, blocks, "u4"),
        }
        self.block = number // threads
        # Warps do not cross blocks.
        self.warp = self.block * -(-threads // 32) + number % threads // 32
        self.lane = number % threads % 32
        self.blocks, self.threads = blocks, threads
        self.memory = memory
        self.shared_size = sum(entry.shared.values())
        self.shared = np.full(self.shared_size * blocks, 0xFF, np.uint8)
        self.shared_defined = np.ones(self.shared_size * blocks, bool)
        self.shared_shadow = _Shadow(self.shared_size * blocks)
        self.shared_at: dict[str, int] = {}
        start = 0
        for name, size in entry.shared.items():
            self.shared_at[name] = start
            start += size
        self.interval = np.zeros(self.count, np.int64)
        self.warp_interval = np.zeros(self.count, np.int64)
        self.params: dict[str, Array] = {}
        for name, value in zip(entry.params, arguments, strict=True):
            self.params[name] = np.full(self.count, value, "u8" if value >= 0 else "i8")
        self.steps = 0
        self.order: np.random.Generator | None = None

    def some(self, ready: Array) -> Array:
        """Those of the ready threads that go on first: the threads of some warps."""
        if self.order is None:
            return ready
        warps = np.unique(self.warp[ready])
        chosen = self.order.random(warps.size) < 0.5
        chosen[self.order.integers(warps.size)] = True
        result: Array = ready & np.isin(self.warp, warps[chosen])
        return result

    def next_place(self, places: Array) -> int:
        """The instruction that comes first, of those at which chosen threads are."""
        if self.order is None:
            return int(places.min())
        return int(self.order.choice(np.unique(places)))

    def fail(self, instruction: Instruction, why: str) -> NoReturn:
        raise SimulationError(f"{self.entry.name}: {why}, in\n    {instruction.text}")

    def run(self) -> None:
        _Frame(self, self.entry, np.ones(self.count, bool)).run()


@final
class _Frame:
    """One function as some of the threads run it."""

    def __init__(self, launch: _Launch, function: Function, active: Array) -> None:
        self.launch, self.function = launch, function
        self.registers: dict[str, Array] = {}
        self.pc = np.zeros(launch.count, np.int64)
        self.running = active.copy()
        self.waiting = np.zeros(launch.count, np.int8)
        # What is on its way: threads, memory and which of it is defined, places, bytes.
        self.copies: list[tuple[Array, Array, Array, Array, Array]] = []

    def run(self) -> None:
        code = self.function.code
        end = len(code)
        while True:
            ready = self.running & (self.waiting == 0)
            if not ready.any():
                if not self.running.any():
                    return
                self._release()
                continue
            chosen = self.launch.some(ready)
            at = self.launch.next_place(self.pc[chosen])
            mask = chosen & (self.pc == at)
            # As long as nothing branches, the same threads go on together.
            others = ready & ~mask & (self.pc > at)
            limit = int(np.min(self.pc, where=others, initial=end)) if others.any() else end
            self._straight(at, limit, mask)

    def _straight(self, at: int, limit: int, mask: Array) -> None:
        """Run instructions until a branch, or until other threads wait at the next one."""
        code = self.function.code
        every = bool(mask.all())
        while at < limit:
            self.launch.steps += 1
            if self.launch.steps > MOST_STEPS:
                self.launch.fail(code[at], "it does not end")
            at += 1
            if self._step(code[at - 1], at, mask, every):
                return
        self.pc[mask] = at

    def _release(self) -> None:
        """Let those go on whose barrier all have reached."""
        launch = self.launch
        done = False
        for kind, groups, intervals in (
            (3, launch.warp, None),
            (2, launch.warp, launch.warp_interval),
            (1, launch.block, launch.interval),
        ):
            live = np.bincount(groups[self.running])
            there = np.bincount(groups[self.running & (self.waiting == kind)], minlength=live.size)
            full = np.flatnonzero((live == there) & (live > 0))
            if full.size:
                chosen = np.isin(groups, full) & self.running
                self.waiting[chosen] = 0
                if intervals is not None:
                    intervals[chosen] += 1
                done = True
        if not done:
            stuck = int(self.pc[self.running][0])
            instruction = self.function.code[max(stuck - 1, 0)]
            launch.fail(instruction, "threads wait for others that do not come")

    # --- registers --------------------------------------------------------------------------------

    def _register(self, name: str) -> Array:
        found = self.registers.get(name)
        if found is None:
            prefix = re.match(r"%[a-z]+", name)
            assert prefix is not None
            kind = _BITS[self.function.registers[prefix[0]]]
            found = self.registers[name] = np.zeros(self.launch.count, kind)
        return found

    def _value(self, text: str, kind: Any) -> Array:
        """An operand: a register, a special one, a number, or the address of shared memory."""
        launch = self.launch
        if text.startswith("%"):
            value = launch.special.get(text)
            if value is None:
                value = self._register(text)
            if value.dtype == kind:
                return value
            if value.dtype.itemsize == kind.itemsize and kind.kind != "b":
                return value.view(kind)
            bits = np.dtype(f"u{kind.itemsize}")
            return value.astype(bits).view(kind) if kind.kind != "b" else value.astype(bool)
        if text in launch.shared_at:
            return np.asarray(launch.shared_at[text], np.uint64).view(kind)
        return np.asarray(_number(text, kind))

    def _set(self, name: str, value: Any, mask: Array, every: bool) -> None:
        if name == "_":
            return
        register = self._register(name)
        value = np.asarray(value)
        if value.dtype.kind == "f":
            value = value.view(f"u{value.dtype.itemsize}")
        if register.dtype != value.dtype:
            if register.dtype.kind == "b":
                value = value != 0
            elif value.dtype.itemsize < register.dtype.itemsize and value.dtype.kind == "i":
                value = value.astype(f"i{register.dtype.itemsize}")
            value = value.astype(register.dtype)
        if every:
            self.registers[name] = np.array(np.broadcast_to(value, register.shape))
        else:
            np.copyto(register, value, where=mask)

    # --- instructions -----------------------------------------------------------------------------

    def _step(self, i: Instruction, after: int, mask: Array, every: bool) -> bool:
        """Run one instruction; says whether the threads that ran it have to be chosen anew."""
        name = i.op[0]
        if name in ("bra", "ret", "bar", "call", "exit", "shfl", "mma"):
            return self._control(i, after, mask)
        if i.guard:
            mask, every = mask & self._guard(i), False
        if name == "cp":
            self._copy(i, mask)
        elif name == "ld":
            self._load(i, mask, every)
        elif name == "st":
            self._store(i, mask)
        else:
            self._compute(i, mask, every)
        return False

    def _guard(self, i: Instruction) -> Array:
        negated = i.guard.startswith("!")
        value = self._register(i.guard.lstrip("!"))
        return ~value if negated else value

    def _control(self, i: Instruction, after: int, mask: Array) -> bool:
        name = i.op[0]
        if name == "bra":
            target = self.function.labels[i.operands[-1]]
            taken = mask & self._guard(i) if i.guard else mask
            self.pc[mask] = after
            self.pc[taken] = target
        elif name == "bar":
            self.pc[mask] = after
            self.waiting[mask] = 2 if i.op[1] == "warp" else 1
        elif name in ("shfl", "mma"):
            complete = self._complete(i, after, mask)
            if name == "shfl":
                self._shuffle(i, complete)
            else:
                self._multiply(i, complete)
            self.pc[complete] = after
        elif name == "call":
            self._call(i, mask)
            self.pc[mask] = after
        else:
            stays = mask & ~self._guard(i) if i.guard else np.zeros_like(mask)
            self.running[mask & ~stays] = False
            self.pc[stays] = after
        return True

    def _call(self, i: Instruction, mask: Array) -> None:
        results, name, given = i.operands
        callee = self.launch.functions[name]
        self._hand(given.strip("()").split(","), callee.params)
        _Frame(self.launch, callee, mask).run()
        self._hand(callee.results, results.strip("()").split(","))

    def _hand(self, sources: Sequence[str], targets: Sequence[str]) -> None:
        """Arguments and results are memory that has another name on the other side."""
        params = self.launch.params
        for source, target in zip(sources, targets, strict=True):
            name = source.strip()
            for key in [k for k in params if k == name or k.startswith(name + "+")]:
                params[target.strip() + key[len(name) :]] = params[key]

    def _compute(self, i: Instruction, mask: Array, every: bool) -> None:
        op = i.op
        kind = KINDS[op[-1]]
        kinds = [kind] * (len(i.operands) - 1)
        if op[0] == "selp":
            kinds[-1] = KINDS["pred"]
        elif op[0] in ("shl", "shr"):
            kinds[1] = KINDS["u32"]
        elif op[0] == "mad" and op[1] == "wide":
            kinds[2] = np.dtype(f"{kind.kind}{2 * kind.itemsize}")
        elif op[0] in ("bfe", "prmt"):
            kinds[1:] = [KINDS["u32"]] * (len(kinds) - 1)
        elif op[0] == "bfi":
            kinds[2:] = [KINDS["u32"]] * 2
        elif op[0] == "mov" and i.operands[0].startswith("{"):
            self._unpack(i, mask, every)
            return
        elif op[0] == "mov" and i.operands[1].startswith("{"):
            self._pack(i, mask, every)
            return
        args = [self._value(t, k) for t, k in zip(i.operands[1:], kinds, strict=True)]
        self._set(i.operands[0], compute(op, args), mask, every)

    def _unpack(self, i: Instruction, mask: Array, every: bool) -> None:
        names = i.operands[0].strip("{}").split(",")
        whole = self._value(i.operands[1], KINDS[i.op[-1]])
        bits = 8 * whole.dtype.itemsize // len(names)
        for number, name in enumerate(names):
            part = (whole >> whole.dtype.type(number * bits)).astype(f"u{bits // 8}")
            self._set(name.strip(), part, mask, every)

    def _pack(self, i: Instruction, mask: Array, every: bool) -> None:
        names = i.operands[1].strip("{}").split(",")
        kind = KINDS[i.op[-1]]
        bits = 8 * kind.itemsize // len(names)
        whole = np.zeros(self.launch.count, kind)
        for number, name in enumerate(names):
            part = self._value(name.strip(), np.dtype(f"u{bits // 8}")).astype(kind)
            whole |= part << kind.type(number * bits)
        self._set(i.operands[0], whole, mask, every)

    def _complete(self, i: Instruction, after: int, mask: Array) -> Array:
        """The threads all of whose warp have come; the others wait."""
        launch = self.launch
        live = np.bincount(launch.warp[self.running], minlength=launch.warp[-1] + 1)
        there = np.bincount(launch.warp[mask], minlength=live.size)
        complete: Array = (live == there)[launch.warp] & mask
        late = mask & ~complete
        self.pc[late] = after - 1
        self.waiting[late] = 3
        if (live[launch.warp[complete]] < min(32, launch.threads)).any():
            launch.fail(i, "some threads of a warp have ended")
        return complete

    def _shuffle(self, i: Instruction, complete: Array) -> None:
        """Lanes exchange values."""
        launch = self.launch
        target, source, step, _, _ = i.operands
        other = np.arange(launch.count) - launch.lane + (launch.lane ^ int(step))
        value = self._value(source, KINDS["b32"])
        self._set(target, value[np.minimum(other, launch.count - 1)], complete, False)

    def _multiply(self, i: Instruction, complete: Array) -> None:
        """Warps multiply tiles of 16-bit floats."""
        names = [[part.strip() for part in o.strip("{}").split(",")] for o in i.operands]
        words, single = KINDS["b32"], KINDS["f32"]
        left, right = ([self._value(n, words) for n in group] for group in names[1:3])
        sums = [self._value(n, single) for n in names[3]]
        found = multiply_tiles(left, right, sums, i.op[-2] == "bf16")
        for name, value in zip(names[0], found, strict=True):
            self._set(name, value, complete, False)

    # --- memory -----------------------------------------------------------------------------------

    def _copy(self, i: Instruction, mask: Array) -> None:
        """Start a copy, or wait for those of these threads; until then nobody may read them."""
        if i.op[2] == "wait_all":
            copies, self.copies = self.copies, []
            for threads, data, defined, at, value in copies:
                done, left = mask[threads], ~mask[threads]
                data[at[done]], defined[at[done]] = value[done], True
                if left.any():
                    self.copies.append((threads[left], data, defined, at[left], value[left]))
            return
        byte, size = KINDS["u8"], int(i.operands[2])
        target, source = (self._place(text) for text in i.operands[:2])
        count = np.broadcast_to(self._value(i.operands[3], KINDS["u32"]), mask.shape)[mask]
        outside = Instruction(("ld", "global"), (), "", i.text)
        given, there, shadow, start = self._memory(outside, *source, mask, byte, size)
        data, defined, own_shadow, place = self._memory(i, *target, mask, byte, size)
        for number in range(size):
            used, at = number < count, place + number
            if not there[start[used] + number].all():
                self.launch.fail(i, "it reads what nobody has written")
            self._note(i, shadow, start + number, 1, mask, store=False)
            self._note(i, own_shadow, at, 1, mask, store=True)
            defined[at] = False
            value = np.where(used, given.view(byte)[start + number], 0)
            self.copies.append((np.flatnonzero(mask), data.view(byte), defined, at, value))

    def _place(self, text: str) -> tuple[str, int]:
        match = _ADDRESS.match(text)
        assert match is not None, text
        return match[1], int(match[2] or 0)

    def _load(self, i: Instruction, mask: Array, every: bool) -> None:
        name, offset = self._place(i.operands[1])
        kind = KINDS[i.op[-1]]
        targets = [t.strip() for t in i.operands[0].strip("{}").split(",")]
        if "param" in i.op:
            for number, target in enumerate(targets):
                at = offset + number * kind.itemsize
                value = self.launch.params[f"{name}+{at}" if at else name]
                bits = value.view(f"u{value.dtype.itemsize}").astype(f"u{kind.itemsize}")
                self._set(target, bits, mask, every)
            return
        data, defined, shadow, place = self._memory(i, name, offset, mask, kind, len(targets))
        for number, target in enumerate(targets):
            at = place + number * kind.itemsize
            if not all(defined[at + byte].all() for byte in range(kind.itemsize)):
                self.launch.fail(i, "it reads what nobody has written")
            self._note(i, shadow, at, kind.itemsize, mask, store=False)
            value = np.zeros(self.launch.count, kind)
            value[mask] = data.view(f"u{kind.itemsize}")[at // kind.itemsize].view(kind)
            self._set(target, value, mask, every)

    def _store(self, i: Instruction, mask: Array) -> None:
        name, offset = self._place(i.operands[0])
        kind = KINDS[i.op[-1]]
        sources = [t.strip() for t in i.operands[1].strip("{}").split(",")]
        if "param" in i.op:
            for number, source in enumerate(sources):
                at = offset + number * kind.itemsize
                value = np.array(np.broadcast_to(self._value(source, kind), mask.shape))
                self.launch.params[f"{name}+{at}" if at else name] = value
            return
        data, defined, shadow, place = self._memory(i, name, offset, mask, kind, len(sources))
        for number, source in enumerate(sources):
            at = place + number * kind.itemsize
            self._note(i, shadow, at, kind.itemsize, mask, store=True)
            value = np.broadcast_to(self._value(source, kind), mask.shape)[mask]
            bits = np.dtype(f"u{kind.itemsize}")
            data.view(bits)[at // kind.itemsize] = value.view(bits)
            for byte in range(kind.itemsize):
                defined[at + byte] = True

    def _memory(
        self, i: Instruction, name: str, offset: int, mask: Array, kind: Any, count: int
    ) -> tuple[Array, Array, _Shadow, Array]:
        """The bytes that an access means, checked."""
        launch = self.launch
        address = np.broadcast_to(self._value(name, KINDS["u64"]), mask.shape)[mask]
        place = address.astype(np.int64) + offset
        width = kind.itemsize * count
        if place.size and (place % width).any():
            launch.fail(i, f"it is not aligned to {width} bytes")
        if "shared" in i.op:
            size = launch.shared_size
            if ((place < 0) | (place + width > size)).any():
                launch.fail(i, "it leaves shared memory")
            own = place + launch.block[mask] * size
            return launch.shared, launch.shared_defined, launch.shared_shadow, own
        memory = launch.memory
        place = place - _BASE
        outside = (place < 0) | (place + width > memory.data.size)
        if outside.any() or not (memory.valid[place] & memory.valid[place + width - 1]).all():
            launch.fail(i, "it leaves its arrays")
        return memory.data, memory.defined, memory.shadow, place

    def _note(
        self, i: Instruction, shadow: _Shadow, at: Array, size: int, mask: Array, store: bool
    ) -> None:
        """Remember who touches what, and refuse two that may come in either order."""
        launch = self.launch
        threads = np.flatnonzero(mask).astype(np.int32)
        now = launch.interval[mask] << 20 | launch.warp_interval[mask]
        for byte in range(0, size, max(size // 2, 1)):
            place = at + byte
            self._apart(i, shadow.writer[place], shadow.written[place], threads, now)
            if store:
                self._apart(i, shadow.reader[place], shadow.read[place], threads, now)
                shadow.writer[place] = threads
                shadow.written[place] = now
                if (shadow.writer[place] != threads).any():
                    launch.fail(i, "two threads write the same place")
            else:
                shadow.reader[place] = threads
                shadow.read[place] = now

    def _apart(self, i: Instruction, other: Array, then: Array, threads: Array, now: Array) -> None:
        launch = self.launch
        known = (other >= 0) & (other != threads)
        if not known.any():
            return
        a, b = other[known], threads[known]
        barrier = (then[known] >> 20) != (now[known] >> 20)
        ordered = (launch.block[a] == launch.block[b]) & barrier
        ordered |= (launch.warp[a] == launch.warp[b]) & (then[known] != now[known])
        if not ordered.all():
            launch.fail(i, "two threads touch the same place with no barrier between")


def _number(text: str, kind: Any) -> Any:
    """A number as PTX writes it."""
    if text[:2].lower() in ("0f", "0d"):
        single = text[1].lower() == "f"
        bits = (np.uint32 if single else np.uint64)(int(text[2:], 16))
        return bits.view(np.float32 if single else np.float64) if kind.kind == "f" else bits
    value = int(text.rstrip("U"), 0)
    if kind.kind == "b":
        return np.bool_(value != 0)
    wrapped = value & ((1 << 8 * kind.itemsize) - 1)
    return np.asarray(wrapped, f"u{kind.itemsize}").view(kind)
