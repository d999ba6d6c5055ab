"""What this machine can do at most: copies, an in-place stream, matrix products.

Knows no workload; its kernels are written here, so that no library is measured by accident.
"""

from __future__ import annotations

import ctypes
import importlib
import mmap
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import llvmlite.binding as llvm
import numpy as np

VECTOR = "<16 x float>"
BLOCK = 256
"""Bytes that one iteration of a kernel handles."""
PASSES = 4
"""How often a thread goes over its share in one measurement: starting it costs 60 us."""
HUGE_PAGE = 1 << 21
GEMM_SHAPES = ((512, 512, 512), (1024, 1024, 1024), (512, 1024, 2048), (2048, 2048, 2048))

Kernel = Callable[..., None]

LOOP = """
define void @{name}(ptr %a, ptr %b, ptr %c, ptr %d, i64 %begin, i64 %end) {{
entry:
  br label %loop
loop:
  %i = phi i64 [ %begin, %entry ], [ %next, %loop ]
{body}
  %next = add i64 %i, {block}
  %more = icmp ult i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  {fence}
  ret void
}}
"""


def _copy_body(hint: str) -> str:
    """Return the body of ``b = a``."""
    lines: list[str] = []
    for part, offset in enumerate(range(0, BLOCK, 64)):
        lines += [
            f"  %o{part} = add i64 %i, {offset}",
            f"  %p{part} = getelementptr i8, ptr %a, i64 %o{part}",
            f"  %q{part} = getelementptr i8, ptr %b, i64 %o{part}",
            f"  %v{part} = load {VECTOR}, ptr %p{part}, align 64",
        ]
    lines += [f"  store {VECTOR} %v{p}, ptr %q{p}, align 64{hint}" for p in range(BLOCK // 64)]
    return "\n".join(lines)


def _stream_body() -> str:
    """Return the body of ``b = b + a; c = c + b; d = d + c``: Adam's traffic, and no work."""
    lines: list[str] = []
    for part, offset in enumerate(range(0, BLOCK, 64)):
        lines.append(f"  %o{part} = add i64 %i, {offset}")
        for name in "abcd":
            lines += [
                f"  %p{name}{part} = getelementptr i8, ptr %{name}, i64 %o{part}",
                f"  %v{name}{part} = load {VECTOR}, ptr %p{name}{part}, align 64",
            ]
        for name, source in (("b", f"%va{part}"), ("c", f"%sb{part}"), ("d", f"%sc{part}")):
            lines += [
                f"  %s{name}{part} = fadd {VECTOR} %v{name}{part}, {source}",
                f"  store {VECTOR} %s{name}{part}, ptr %p{name}{part}, align 64",
            ]
    return "\n".join(lines)


def _module() -> str:
    kernels = (
        ("copy", _copy_body("")),
        ("copy_nontemporal", _copy_body(", !nontemporal !0")),
        ("stream", _stream_body()),
    )
    text = [
        LOOP.format(name=name, body=body, block=BLOCK, fence="fence seq_cst")
        for name, body in kernels
    ]
    return "".join(text) + "\n!0 = !{i32 1}\n"


TRAFFIC = {"copy": 2, "copy_nontemporal": 2, "stream": 7}
"""Reads and writes of each kernel, in units of one buffer."""


class Limits:
    """The buffers, kernels and pinned threads of the memory measurements."""

    def __init__(self, megabytes: int, threads: int) -> None:
        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        features = llvm.get_host_cpu_features().flatten() + ",-prefer-256-bit"
        target = llvm.Target.from_default_triple().create_target_machine(
            cpu=llvm.get_host_cpu_name(), features=features, opt=2, jit=True
        )
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_module()), target)
        self._engine.finalize_object()
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4, *[ctypes.c_int64] * 2)
        self._kernels: dict[str, Kernel] = {
            name: prototype(self._engine.get_function_address(name)) for name in TRAFFIC
        }
        share = (megabytes << 20) // threads // BLOCK * BLOCK
        self._bounds = [(share * index, share * (index + 1)) for index in range(threads)]
        self._size = share * threads
        self._memory: list[Any] = []
        self._buffers = [self._allocate() for _ in range(4)]
        processors = sorted(os.sched_getaffinity(0))
        self._pools = [
            # One pool a thread: each share always stays on its processor.
            ThreadPoolExecutor(1, initializer=partial(os.sched_setaffinity, 0, {processor}))
            for processor in processors[:threads]
        ]

    def _allocate(self) -> int:
        memory = mmap.mmap(-1, self._size + HUGE_PAGE)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        # Numbers as workloads have them: some processors move zeros a quarter faster.
        view = np.frombuffer(memory, np.float32)
        view[:] = np.random.default_rng(0).random(view.size, np.float32)
        self._memory.append((memory, view))
        address = int(view.ctypes.data)
        return (address + HUGE_PAGE - 1) // HUGE_PAGE * HUGE_PAGE

    def measure(self, name: str) -> float:
        """Return the GB/s (reads and writes) of one measurement."""
        kernel = self._kernels[name]

        def run(begin: int, end: int) -> None:
            for _ in range(PASSES):
                kernel(*self._buffers, begin, end)

        started = time.perf_counter()
        futures = [
            pool.submit(run, *bounds)
            for pool, bounds in zip(self._pools, self._bounds, strict=True)
        ]
        for future in futures:
            future.result()
        seconds = time.perf_counter() - started
        return TRAFFIC[name] * self._size * PASSES / seconds / 1e9


def gemm(package: str, seconds: float, shapes: Sequence[Sequence[int]]) -> dict[str, float]:
    """Return the best GFLOP/s of ``package`` (numpy, torch, jax) for each shape (M, K, N)."""
    best: dict[str, float] = {}
    for m, k, n in shapes:
        product = _product(package, m, k, n)
        product()
        deadline = time.perf_counter() + seconds
        fastest = float("inf")
        while (started := time.perf_counter()) < deadline:
            product()
            fastest = min(fastest, time.perf_counter() - started)
        best[f"{m}x{k}x{n}"] = 2 * m * k * n / fastest / 1e9
    return best


def _product(package: str, m: int, k: int, n: int) -> Callable[[], Any]:
    module = importlib.import_module(package)
    a, b = np.ones((m, k), np.float32), np.ones((k, n), np.float32)
    if package == "torch":
        x, y = module.from_numpy(a), module.from_numpy(b)
        return lambda: module.mm(x, y)
    if package == "jax":
        multiply = module.jit(module.numpy.matmul)
        x, y = module.numpy.array(a), module.numpy.array(b)
        return lambda: multiply(x, y).block_until_ready()
    out = np.empty((m, n), np.float32)
    return lambda: np.matmul(a, b, out=out)


def openblas_core_types(flags: Sequence[str]) -> tuple[str, ...]:
    """Return the kernels that OpenBLAS may be told to use here; empty leaves it the choice.

    Examples
    --------
    >>> openblas_core_types(["avx2", "fma"])
    ('', 'HASWELL', 'ZEN')
    """
    types = [""]
    if "avx2" in flags:
        types += ["HASWELL", "ZEN"]
    if "avx512f" in flags:
        types.append("SKYLAKEX")
    return tuple(types)
