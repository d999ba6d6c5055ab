"""Memory for arrays: aligned blocks that are used again when their last view is gone.

Knows nothing of tensors, plans or devices other than the CPU.

A fresh page costs more than the work that a kernel does on it, so freed blocks wait in lists by
size class. Every step on such a list is one operation that the interpreter does not interrupt, and
there is no lock: a block may be freed by the garbage collector in the middle of an allocation, or
be in any state in another thread when the process forks.
"""

from __future__ import annotations

import bisect
import ctypes
import math
import mmap
import os
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, final

import numpy as np
import numpy.typing as npt

from ..codegen.records import dataclass

__all__ = [
    "Block",
    "MemoryStatistics",
    "Spare",
    "add_spare",
    "allocate",
    "drop_spares",
    "is_wanted",
    "set_cache_limit",
    "size_class",
    "spares",
    "statistics",
    "trim",
]

ALIGNMENT = 64
_HUGE_PAGE = 1 << 21
_LEAST_HUGE = 1 << 20
_MOST_LOOKED_UP = 4096
_MOST_IN_SLAB = 32 << 10
_LEAST_SLAB = 64 << 10
_SLOTS_OF_SLAB = 16
_MOST_CACHED = 1 << 30
_ROOM = 4
_PRIVATE = (
    {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_ANONYMOUS") else {}
)


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _capacity(nbytes: int) -> int:
    """The size class of a request: at most a quarter too much for small ones, an eighth for others.

    Examples
    --------
    >>> _capacity(0), _capacity(65), _capacity(1100), _capacity(3 << 20) >> 20
    (64, 128, 1280, 3)
    """
    if nbytes <= 4 * ALIGNMENT:
        return max(ALIGNMENT, _round_up(nbytes, ALIGNMENT))
    steps = 4 if nbytes <= _MOST_IN_SLAB else 8
    least = ALIGNMENT if nbytes <= _MOST_IN_SLAB else mmap.PAGESIZE
    power = 1 << ((nbytes - 1).bit_length() - 1)
    return _round_up(nbytes, max(least, power // steps))


def _slots(capacity: int) -> int:
    """How many blocks of a capacity one mapping has.

    Small ones share pages, and those of about the size of a huge page as many of these as all fill.

    Examples
    --------
    >>> _slots(64), _slots(64 << 10), _slots(1 << 20), _slots(5 << 19), _slots(4 << 20)
    (1024, 1, 2, 4, 1)
    """
    if capacity <= _MOST_IN_SLAB:
        return max(_LEAST_SLAB // capacity, _SLOTS_OF_SLAB)
    return 1 if capacity < _LEAST_HUGE else _HUGE_PAGE // math.gcd(capacity, _HUGE_PAGE)


# --- mappings -------------------------------------------------------------------------------------


class Spare(NamedTuple):
    """Memory of the system that nobody has asked for yet."""

    memory: mmap.mmap
    address: int
    size: int


def _mapped(size: int) -> Spare:
    """New memory: aligned to 2 MiB, in huge pages, from 1 MiB on."""
    huge = size >= _LEAST_HUGE
    memory = mmap.mmap(-1, size + (_HUGE_PAGE if huge else 0), **_PRIVATE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    address = _round_up(start, _HUGE_PAGE) if huge else start
    if huge and hasattr(mmap, "MADV_HUGEPAGE"):
        # A kernel without huge pages refuses.
        with suppress(OSError):
            memory.madvise(mmap.MADV_HUGEPAGE, address - start, size)
    return Spare(memory, address, size)


class _Mappings:
    """The memory that the system gave to this process and did not get back."""

    def __init__(self) -> None:
        self._maps: dict[int, tuple[mmap.mmap, int]] = {}
        self.spares: list[Spare] = []
        self.count = 0

    def map(self, size: int) -> int:
        """The address of new memory, or of a spare one of about the size."""
        found = self._spare(size) or _mapped(size)
        self._maps[found.address] = (found.memory, size)
        self.count += 1
        return found.address

    def has(self, spare: Spare) -> bool:
        """Whether memory is spare, or in use."""
        owner, _ = self._maps.get(spare.address, (None, 0))
        return owner is spare.memory or spare in self.spares

    def _spare(self, size: int) -> Spare | None:
        for spare in tuple(self.spares):
            if spare.size // _ROOM <= size <= spare.size:
                # Another thread may have been faster.
                with suppress(ValueError):
                    self.spares.remove(spare)
                    return spare
        return None

    def unmap(self, address: int) -> None:
        self._maps.pop(address)[0].close()

    def total(self) -> int:
        return sum(size for _, size in list(self._maps.values()))


# --- size classes ---------------------------------------------------------------------------------


class _SizeClass:
    """The free blocks of one capacity.

    Attributes
    ----------
    free : list of int
        Their addresses.
    release : callable
        Takes the address of a block that nobody uses any more.
    array_type : type
        What lends the memory of a block to NumPy.
    """

    __slots__ = ("array_type", "capacity", "free", "mappings", "release", "slabs", "slots")

    def __init__(self, capacity: int, mappings: _Mappings) -> None:
        self.capacity = capacity
        self.slots = _slots(capacity)
        self.mappings = mappings
        self.free: list[int] = []
        self.slabs: list[int] = []
        self.release: Callable[[int], None] = self.free.append
        self.array_type: Any = ctypes.c_char * capacity

    @property
    def cached(self) -> int:
        return len(self.free) * self.capacity

    def refill(self) -> int:
        """A new block, when none is free."""
        if self.slots == 1:
            return self.mappings.map(self.capacity)
        slab = self.mappings.map(self.slots * self.capacity)
        self.slabs.append(slab)
        # The last in the list is taken first.
        self.free.extend(range(slab + (self.slots - 1) * self.capacity, slab, -self.capacity))
        return slab

    def trim(self, most: int | None = None) -> bool:
        """Give back to the system what is free, slabs if all of their blocks are.

        At most so many mappings; whether there were any.
        """
        taken: list[int] = []
        with suppress(IndexError):
            while self.slots > 1 or most is None or len(taken) < most:
                taken.append(self.free.pop(0))
        if self.slots == 1:
            unused = taken
        else:
            slabs = sorted(self.slabs)
            owners = [slabs[bisect.bisect_right(slabs, address) - 1] for address in taken]
            free_slots = Counter(owners)
            unused = [slab for slab, count in free_slots.items() if count == self.slots][:most]
            self.free.extend(
                address
                for address, slab in zip(taken, owners, strict=True)
                if slab not in set(unused)
            )
            for slab in unused:
                self.slabs.remove(slab)
        for address in unused:
            self.mappings.unmap(address)
        return bool(unused)


@final
@dataclass(frozen=True)
class MemoryStatistics:
    """What the allocator holds.

    Attributes
    ----------
    mapped_bytes : int
        All memory that it has from the system.
    cached_bytes : int
        How much of that is in free blocks.
    used_bytes : int
        How much of it is in blocks that somebody holds, in whole size classes.
    mappings : int
        How often it has asked the system for memory.
    """

    mapped_bytes: int
    cached_bytes: int
    mappings: int

    @property
    def used_bytes(self) -> int:
        """How much is in blocks that somebody holds."""
        return self.mapped_bytes - self.cached_bytes


def _default_limit() -> int:
    try:
        physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return _MOST_CACHED
    return min(_MOST_CACHED, physical // 8)


class _Allocator:
    """All size classes; what lies outside slabs is cached up to a limit."""

    def __init__(self) -> None:
        self.mappings = _Mappings()
        self.limit = _default_limit()
        # What is cached outside slabs, at most: blocks that are taken again are not taken off it.
        self.cached_at_most = 0
        self.classes: dict[int, _SizeClass] = {}
        self.small = [self.class_of(nbytes) for nbytes in range(0, _MOST_LOOKED_UP + 1, ALIGNMENT)]

    def class_of(self, nbytes: int) -> _SizeClass:
        if nbytes < 0:
            raise ValueError(f"a block cannot have {nbytes} bytes")
        capacity = _capacity(nbytes)
        found = self.classes.get(capacity)
        if found is None:
            made = _SizeClass(capacity, self.mappings)
            if capacity > _MOST_IN_SLAB:
                made.release = self._releaser(made)
            found = self.classes.setdefault(capacity, made)
        return found

    def _releaser(self, size_class: _SizeClass) -> Callable[[int], None]:
        append, capacity = size_class.free.append, size_class.capacity

        def release(address: int) -> None:
            append(address)
            self.cached_at_most += capacity
            if self.cached_at_most > self.limit:
                self.shrink()

        return release

    def _cached_classes(self) -> list[_SizeClass]:
        return [
            size_class
            for size_class in list(self.classes.values())
            if size_class.capacity > _MOST_IN_SLAB and size_class.free
        ]

    def shrink(self) -> None:
        """Give free blocks back until the limit is kept, from the class that has most."""
        classes = self._cached_classes()
        while sum(size_class.cached for size_class in classes) > self.limit:
            largest = max(classes, key=lambda found: found.cached)
            # Another thread may have taken the block meanwhile, or somebody holds one beside it.
            if not largest.trim(1):
                classes.remove(largest)
        self.cached_at_most = sum(size_class.cached for size_class in self._cached_classes())

    def refill(self, size_class: _SizeClass) -> int:
        try:
            return size_class.refill()
        except OSError:
            self.trim()
        try:
            return size_class.refill()
        except OSError as error:
            raise MemoryError(f"no memory for a block of {size_class.capacity} bytes") from error

    def trim(self) -> None:
        for size_class in list(self.classes.values()):
            size_class.trim()


_allocator = _Allocator()
_small = _allocator.small
# A worker thread may still write when the interpreter ends, so its end must not unmap anything.
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_allocator.mappings))


# --- blocks ---------------------------------------------------------------------------------------


@final
class Block:
    """A region of memory that belongs to whoever holds this object, or a view of it.

    When the last of them is gone, the region returns to the allocator.

    Attributes
    ----------
    address : int
        A multiple of 64, and of 4 KiB where `nbytes` is at least 1 MiB.
    nbytes : int
        The size that was asked for.
    """

    __slots__ = ("__weakref__", "_class", "address", "nbytes")

    def __init__(self, address: int, nbytes: int, size_class: _SizeClass) -> None:
        self.address = address
        self.nbytes = nbytes
        self._class = size_class

    def __del__(self) -> None:
        self._class.release(self.address)

    def __repr__(self) -> str:
        return f"Block({self.nbytes} bytes at {self.address:#x})"

    def view(
        self, dtype: npt.DTypeLike, shape: Sequence[int], writable: bool = True
    ) -> npt.NDArray[Any]:
        """A C-contiguous NumPy array over the start of the block, which it keeps alive.

        Parameters
        ----------
        dtype : dtype_like
            The dtype.
        shape : sequence of int
            The shape.
        writable : bool, optional
            If not, the view cannot be made writable either.

        Returns
        -------
        numpy.ndarray
            Shares the memory.

        Examples
        --------
        >>> block = allocate(24)
        >>> view = block.view("float32", (2, 3))
        >>> view[...] = 1
        >>> block.view("float32", (6,), writable=False).sum()
        np.float32(6.0)
        """
        memory = self._class.array_type.from_address(self.address)
        memory.block = self
        if not writable:
            # NumPy looks through a memoryview, but not through an array that may not be written.
            memory = np.frombuffer(memoryview(memory).toreadonly(), np.uint8)
        return np.ndarray(shape, dtype, memory)


def allocate(nbytes: int) -> Block:
    """A block of at least `nbytes` bytes, with whatever its last owner left in it.

    Parameters
    ----------
    nbytes : int
        The size; 0 gives a block with a valid address too.

    Returns
    -------
    Block
        Aligned to 64 bytes; from 1 MiB on to 4 KiB at least, and in huge pages.

    Raises
    ------
    MemoryError
        If the system gives no more memory.

    Examples
    --------
    >>> allocate(100).address % 64
    0
    """
    if 0 <= nbytes <= _MOST_LOOKED_UP:
        size_class = _small[(nbytes + 63) >> 6]
    else:
        size_class = _allocator.class_of(nbytes)
    try:
        address = size_class.free.pop()
    except IndexError:
        address = _allocator.refill(size_class)
    return Block(address, nbytes, size_class)


def size_class(nbytes: int) -> _SizeClass:
    """The size class of blocks of so many bytes: what native code takes them from.

    Examples
    --------
    >>> size_class(100).capacity
    128
    """
    return _allocator.class_of(nbytes)


def add_spare(nbytes: int) -> Spare:
    """Have the next block of about so many bytes, down to a fourth, lie in memory known now.

    Parameters
    ----------
    nbytes : int
        At least 1 MiB. The system gives pages when they are touched, so more costs nothing.

    Raises
    ------
    OSError
        If there is no room for it.
    """
    spare = _mapped(nbytes)
    _allocator.mappings.spares.append(spare)
    return spare


def spares() -> tuple[Spare, ...]:
    """What `add_spare` got and nobody took."""
    return tuple(_allocator.mappings.spares)


def is_wanted(spare: Spare) -> bool:
    """Whether it may still be taken, or is in use."""
    return _allocator.mappings.has(spare)


def drop_spares() -> None:
    """Give back what `add_spare` got and nobody took."""
    _allocator.mappings.spares.clear()


def trim() -> None:
    """Give all memory that nobody uses back to the system.

    Examples
    --------
    >>> trim()
    """
    _allocator.trim()


def set_cache_limit(nbytes: int) -> int:
    """Change how much memory in free blocks of more than 32 KiB is kept for later.

    Parameters
    ----------
    nbytes : int
        The limit. It is an eighth of the machine's memory at first, and at most 1 GiB.

    Returns
    -------
    int
        The limit before.

    Examples
    --------
    >>> before = set_cache_limit(0)
    >>> set_cache_limit(before)
    0
    """
    before = _allocator.limit
    _allocator.limit = nbytes
    _allocator.shrink()
    return before


def statistics() -> MemoryStatistics:
    """What the allocator holds now.

    Returns
    -------
    MemoryStatistics
        Exact if no other thread allocates meanwhile.

    Examples
    --------
    >>> block = allocate(1000)
    >>> statistics().used_bytes >= 1000
    True
    """
    cached = sum(size_class.cached for size_class in list(_allocator.classes.values()))
    return MemoryStatistics(_allocator.mappings.total(), cached, _allocator.mappings.count)
