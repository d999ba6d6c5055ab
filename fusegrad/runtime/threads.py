"""The thread pool of the process: how many threads it has, and the address of its one function.

Knows nothing of kernels: what runs in parallel is a function with this signature, called with
each chunk once, in any order, by any thread::

    void kernel(ptr args, i64 lo, i64 hi, i64 chunk, ptr scratch_of_this_thread)

Generated code launches it through the symbol ``fg_parallel``::

    void fg_parallel(ptr kernel, ptr args, i64 n, i64 grain, i64 chunks,
                     ptr scratch, i64 scratch_stride)

Chunk c covers the indices from ``c * grain`` to the lesser of ``n`` and ``(c + 1) * grain``.
Thread t, the caller being 0, gets ``scratch + t * scratch_stride``, so scratch is made for
`max_threads()` threads. Above bit `THREADS_AT`, `scratch_stride` says how many threads the launch
may have, 0 for as many as there are. A launch from inside a launch, or while another thread's is
under way, runs on its caller. Which thread runs a chunk is the only thing that the number of
threads decides.
"""

from __future__ import annotations

import ctypes
import functools
import operator
import os
import threading
from typing import Any, final

from .. import config
from ..codegen.records import dataclass
from ..errors import ConfigError
from . import cache, loader, machine, pool

__all__ = [
    "SYMBOL",
    "THREADS_AT",
    "check_count",
    "max_threads",
    "num_threads",
    "set_num_threads",
    "symbol_address",
]

THREADS_AT = 48
"""Where in the word for the stride of scratch a number of threads begins."""

SYMBOL = "fg_parallel"
"""The name under which generated code imports the function."""

# Workers look for work this long before they sleep. Where threads outnumber processors, looking
# takes time away from the thread that works.
_SPIN_NANOSECONDS = 1_000_000
_SPIN_CROWDED_NANOSECONDS = 20_000
_LEAST_MAX_THREADS = 8


@final
@dataclass(frozen=True)
class _Pool:
    """The loaded pool. Its workers run its code until the process ends, so it is never unloaded."""

    library: loader.Library
    configure: Any
    reset: Any
    workers: Any


_lock = threading.Lock()
_pool: _Pool | None = None
_num_threads: int | None = None


def _object_code() -> bytes:
    text = pool.pool_ir()
    parts = [("kind", b"thread pool"), *machine.parts(), ("text", text.encode())]
    key = cache.Key(parts)
    disk = cache.default()
    entry = disk.get(key) if disk is not None else None
    if entry is not None:
        return entry.blobs["object"]
    code = loader.compile_module(text, level=0)
    if disk is not None:
        disk.put(key, {}, {"object": code})
    return code


def _load() -> _Pool:
    """The pool, loaded if it was not; the caller holds the lock."""
    global _pool
    if _pool is None:
        imports = loader.c_symbols(pool.IMPORTS) if pool.runs_threads() else {}
        library = loader.load(_object_code(), pool.EXPORTS, imports)
        configure = ctypes.CFUNCTYPE(None, ctypes.c_int32, ctypes.c_int64, ctypes.c_int32)
        _pool = _Pool(
            library,
            configure(library.address("fg_pool_configure")),
            ctypes.CFUNCTYPE(None)(library.address("fg_pool_reset")),
            ctypes.CFUNCTYPE(ctypes.c_int32)(library.address("fg_pool_workers")),
        )
        _configure(_pool, num_threads())
    return _pool


def _configure(loaded: _Pool, count: int) -> None:
    crowded = count > config.available_cpus()
    spin = _SPIN_CROWDED_NANOSECONDS if crowded else _SPIN_NANOSECONDS
    loaded.configure(count, spin, 0 if crowded else 1)


def _restart_in_child() -> None:
    """A fork takes only the forking thread along: workers start again with the first launch."""
    global _lock
    _lock = threading.Lock()
    if _pool is not None:
        _pool.reset()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_restart_in_child)


def symbol_address() -> int:
    """The address of ``fg_parallel``; the pool is loaded when somebody asks first.

    Returns
    -------
    int
        The same for the whole life of the process.
    """
    with _lock:
        return _load().library.address(SYMBOL)


def num_threads() -> int:
    """How many threads a launch may use, the caller included.

    Returns
    -------
    int
        What `set_num_threads` said last; before that what ``FUSEGRAD_NUM_THREADS`` says, or how
        many processors the process may use.

    Examples
    --------
    >>> 1 <= num_threads() <= max_threads()
    True
    """
    return config.current().num_threads if _num_threads is None else _num_threads


@functools.cache
def max_threads() -> int:
    """The most threads that `set_num_threads` accepts, fixed for the life of the process.

    Returns
    -------
    int
        At least 8, so that tests can show on a small machine that results do not depend on it.
    """
    return max(_LEAST_MAX_THREADS, os.cpu_count() or 1, config.current().num_threads)


def set_num_threads(count: int) -> None:
    """Change how many threads the launches from now on may use.

    Launches that are under way end as they began. Results never depend on the number.

    Parameters
    ----------
    count : int
        From 1 (everything runs on the calling thread) to `max_threads()`.

    Raises
    ------
    ConfigError
        If there cannot be so many.

    Examples
    --------
    >>> before = num_threads()
    >>> set_num_threads(2)
    >>> num_threads()
    2
    >>> set_num_threads(before)
    """
    global _num_threads
    count = check_count(count)
    with _lock:
        _num_threads = count
        if _pool is not None:
            _configure(_pool, count)


def check_count(count: int) -> int:
    """A number of threads; ConfigError if there cannot be so many.

    Examples
    --------
    >>> check_count(1)
    1
    """
    count = operator.index(count)
    if not 1 <= count <= max_threads():
        raise ConfigError(
            f"the number of threads cannot be {count}",
            remedy=f"pass a number from 1 to {max_threads()}",
        )
    return count


def running_workers() -> int:
    """How many threads the pool has started.

    Returns
    -------
    int
        0 before the first launch that needs one.
    """
    with _lock:
        return int(_pool.workers()) if _pool is not None else 0
