"""Which of several ways to compute a product is the fastest here: by trying, within some time.

Knows kernels, memory and threads; knows no graph. What was found is kept on the disk, for this
machine, this number of threads and this kernel. No way changes a bit of the result.
"""

from __future__ import annotations

import ctypes
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, final

from ..codegen.dtypes import DType
from ..codegen.expr import Buffer
from ..codegen.printer import print_kernel
from ..codegen.records import dataclass
from ..codegen.schedule.choices import AnyChoice, Product, WindowedProduct, product_of
from ..codegen.schedule.cpu import schedule
from ..codegen.targets import llvm
from ..codegen.targets.base import Features
from ..lower import Lowered
from ..passes.regions import size_of
from . import cache, loader, machine, memory, threads
from .emission import Emission, symbol_of

__all__ = ["Tuner", "search"]

Run = Callable[[], float]
"""Runs something once, and says how many seconds that took."""

GAIN = 0.97
"""What is chosen in place of the rule's way takes at most so much of its time."""

ROUNDS = 7
"""How often two ways take turns."""

HOPELESS = 1.3
"""After two turns, what takes so much longer is given up."""

ONE_RUN = 3e-4
"""Seconds of a turn: so many launches that a clock can tell."""


def search(
    product: Product | WindowedProduct,
    prepare: Callable[[AnyChoice], Run],
    clock: Callable[[], float],
    deadline: float,
) -> tuple[AnyChoice, bool]:
    """The fastest way that was found until the deadline, and whether all were tried.

    Nothing begins that would end too late if it took as long as the longest trial before it.

    Parameters
    ----------
    product : Product or WindowedProduct
    prepare : callable
        Makes a way ready to run.
    clock : callable
        The time, in seconds.
    deadline : float
        Until when, by that clock.

    Returns
    -------
    Choice or WindowChoice, bool
    """
    best: Any = product.first
    run: Run | None = None
    longest = 0.0
    for stage in product.stages:
        for other in stage(best):
            started = clock()
            if started + longest > deadline:
                return best, False
            if run is None:
                run = prepare(best)
            trial = prepare(other)
            if _is_faster(trial, run):
                best, run = other, trial
            longest = max(longest, clock() - started)
    return best, True


def _is_faster(trial: Run, run: Run) -> bool:
    """Whether one takes clearly less time; they take turns, as the machine's speed changes."""
    own = least = math.inf
    for turn in range(ROUNDS):
        least, own = min(least, run()), min(own, trial())
        if turn == 1 and own > HOPELESS * least:
            return False
    return own < GAIN * least


@final
class Tuner:
    """A search over the products of one step.

    Parameters
    ----------
    milliseconds : float
        What it may take.
    count : int
        The number of threads that the step may use; 0: as many as there are.
    clock : callable, optional
        The time, in seconds.
    """

    def __init__(
        self, milliseconds: float, count: int, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self.seconds = milliseconds / 1e3
        self.count = count
        self.clock = clock

    def choices(
        self, kernels: Sequence[tuple[int, Lowered, frozenset[Buffer]]], features: Features
    ) -> dict[int, AnyChoice]:
        """For the kernels that are products, how each is computed; the largest ones first.

        Parameters
        ----------
        kernels : sequence of (int, Lowered, set of Buffer)
            Each with a number, and the outputs whose stores go around the cache.
        features : Features

        Returns
        -------
        dict
            By number; the others are computed as the rule says.
        """
        deadline = self.clock() + self.seconds
        found = []
        for number, lowered, streamed in kernels:
            product = product_of(lowered.kernel, lowered.items, features)
            if product is not None:
                found.append((number, _Trial(lowered, streamed, features, self.count), product))
        found.sort(key=lambda each: -each[2].work)
        chosen: dict[int, AnyChoice] = {}
        disk = cache.default()
        for number, trial, product in found:
            key = trial.key(product.first)
            entry = disk.get(key) if disk is not None else None
            if entry is not None:
                chosen[number] = type(product.first)(**entry.header)
                continue
            chosen[number], complete = search(product, trial.prepare, self.clock, deadline)
            if disk is not None and complete:
                disk.put(key, asdict(chosen[number]), {})
        return chosen


@final
@dataclass(frozen=True)
class _Trial:
    """A kernel, to be compiled in several ways and run on memory of its own."""

    lowered: Lowered
    streamed: frozenset[Buffer]
    features: Features
    count: int

    def key(self, first: AnyChoice) -> cache.Key:
        """What the fastest way depends on."""
        text = print_kernel(replace(self.lowered.kernel, name="kernel"))
        around = sorted(buffer.name for buffer in self.streamed)
        return cache.Key(
            [
                ("kind", b"way to compute a product"),
                ("kernel", text.encode()),
                ("size", repr((self.lowered.items, around)).encode()),
                ("rule", repr(first).encode()),
                ("threads", repr(self.count or threads.num_threads()).encode()),
                ("target", repr(self.features).encode()),
                *machine.parts(),
            ]
        )

    def prepare(self, choice: AnyChoice) -> Run:
        """The kernel in one way, compiled, with memory to run on."""
        kernel, items = self.lowered.kernel, self.lowered.items
        mapped = schedule(kernel, items, self.features, self.streamed, choice)
        text, sizes = llvm.emit_sized(replace(mapped.kernel, name="kernel"), self.features)
        with Emission(self.features) as emission:
            emission.add(text, mapped.finishes)
            code = emission.finish().objects
        library = loader.load(code, [symbol_of(text)], {})
        blocks = [_filled(node.dtype, size_of(node)) for node in self.lowered.arguments]
        layout = llvm.kernel_layout(mapped.kernel, self.features)
        stride = -(-layout.scratch_bytes // 64) * 64
        scratch = memory.allocate(stride * threads.max_threads())
        words = [block.address for block in blocks] + [items] * len(kernel.sizes)
        words += sizes
        arguments = (ctypes.c_int64 * len(words))(*words)
        launch = _launcher()
        fixed = (library.address(symbol_of(text)), ctypes.addressof(arguments))
        dealt = (mapped.items, mapped.grain, mapped.chunks)
        share = stride | self.count << threads.THREADS_AT

        def timed(times: int) -> float:
            started = time.perf_counter()
            for _ in range(times):
                launch(*fixed, *dealt, scratch.address, share)
            return (time.perf_counter() - started) / times

        timed(1)
        times = max(1, int(ONE_RUN / max(timed(1), 1e-7)))
        # What the launches need lives as long as the function.
        kept = (library, blocks, arguments)
        return lambda: timed(times) if kept else 0.0


def _launcher() -> Callable[..., None]:
    """The pool's one function."""
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    kinds = (pointer, pointer, integer, integer, integer, pointer, integer)
    return ctypes.CFUNCTYPE(None, *kinds)(threads.symbol_address())


def _filled(dtype: DType, count: int) -> memory.Block:
    """Memory for an argument: ones, or zeros where these may be places in another one."""
    pattern = _one(dtype) * max(1, count)
    block = memory.allocate(len(pattern))
    ctypes.memmove(block.address, pattern, len(pattern))
    return block


def _one(dtype: DType) -> bytes:
    """The bytes of a number of ordinary size."""
    if not dtype.is_float:
        return bytes(dtype.itemsize)
    # 1, of float16 nearly 2.
    return {8: b"\0\0\0\0\0\0\xf0\x3f", 4: b"\0\0\x80\x3f", 2: b"\x80\x3f"}[dtype.itemsize]
