"""Blocks are aligned, live as long as their views, and are used again."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

from fusegrad.runtime import memory

SIZES = [0, 1, 63, 64, 65, 255, 257, 4095, 4096, 4097, 32768, 32769, 100_000, 1 << 20, 5_000_000]


@pytest.fixture(autouse=True)
def trimmed() -> Iterator[None]:
    memory.trim()
    yield
    memory.trim()


@pytest.mark.parametrize("nbytes", SIZES)
def test_blocks_are_aligned_and_large_enough(nbytes: int) -> None:
    blocks = [memory.allocate(nbytes) for _ in range(5)]
    for number, block in enumerate(blocks):
        assert block.nbytes == nbytes
        assert block.address % (4096 if nbytes >= 1 << 20 else 64) == 0
        block.view(np.uint8, (nbytes,))[...] = number
    for number, block in enumerate(blocks):
        assert (block.view(np.uint8, (nbytes,)) == number).all()


def test_every_small_size_gets_a_class_that_holds_it() -> None:
    for nbytes in [*range(5000), *range(5000, 5_000_000, 9973)]:
        capacity = memory._capacity(nbytes)
        assert capacity >= max(nbytes, 64)
        assert capacity % 64 == 0
        if 4096 <= nbytes <= 32768:
            assert capacity <= 1.25 * nbytes
        if nbytes > 32768:
            assert capacity <= 1.125 * nbytes + 4096


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot have -1 bytes"):
        memory.allocate(-1)


@pytest.mark.parametrize("nbytes", [100, 10_000, 100_000, 3 << 20])
def test_a_freed_block_is_used_again(nbytes: int) -> None:
    block = memory.allocate(nbytes)
    address = block.address
    mappings = memory.statistics().mappings
    del block
    for _ in range(10):
        assert memory.allocate(nbytes).address == address
    assert memory.statistics().mappings == mappings


@pytest.mark.parametrize("nbytes", [400, 4 << 20])
def test_any_view_keeps_the_block(nbytes: int) -> None:
    block = memory.allocate(nbytes)
    address = block.address
    array = block.view("float32", (nbytes // 4,))
    array[...] = 7
    view = array[1:].reshape(3, -1)[1:, ::2].T
    kept = memoryview(array)
    del block, array
    others = [memory.allocate(nbytes) for _ in range(3)]
    assert address not in [other.address for other in others]
    assert (view == 7).all()
    del view
    assert memory.allocate(nbytes).address != address
    kept.release()
    del others
    blocks = [memory.allocate(nbytes) for _ in range(5)]
    assert address in [block.address for block in blocks]


def test_views() -> None:
    block = memory.allocate(48)
    view = block.view(np.int64, (2, 3))
    view[...] = np.arange(6).reshape(2, 3)
    assert view.ctypes.data == block.address
    assert view.flags.c_contiguous
    assert view.flags.writeable
    assert not view.flags.owndata
    assert block.view("bool", ()).item() is False
    assert block.view("float64", (0, 5)).shape == (0, 5)
    constant = block.view(np.int64, (6,), writable=False)
    assert constant.tolist() == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ValueError, match="read-only"):
        constant[0] = 1
    with pytest.raises(ValueError, match="WRITEABLE"):
        constant.flags.writeable = True
    with pytest.raises(TypeError, match="too small"):
        block.view(np.int64, (1000,))


def test_the_cache_is_bounded() -> None:
    before = memory.set_cache_limit(10 << 20)
    try:
        blocks = [memory.allocate(4 << 20) for _ in range(6)]
        assert memory.statistics().used_bytes >= 24 << 20
        blocks.clear()
        assert memory.statistics().cached_bytes <= (10 << 20) + (1 << 20)
        big = memory.allocate(32 << 20)
        del big
        assert memory.statistics().cached_bytes <= (10 << 20) + (1 << 20)
    finally:
        memory.set_cache_limit(before)


def test_trim_gives_back_what_nobody_uses() -> None:
    kept = memory.allocate(100)
    base = memory.statistics().mapped_bytes
    blocks = [memory.allocate(nbytes) for nbytes in SIZES * 50]
    assert memory.statistics().mapped_bytes > base
    blocks.clear()
    view = kept.view(np.uint8, (100,))
    view[...] = 9
    memory.trim()
    assert memory.statistics().mapped_bytes <= base
    assert (view == 9).all()


def test_a_partly_used_slab_survives_trimming() -> None:
    blocks = [memory.allocate(64) for _ in range(3000)]
    views = [block.view(np.int64, (8,)) for block in blocks]
    for number, view in enumerate(views):
        view[...] = number
    kept = views[::700]
    del blocks, views, view
    memory.trim()
    assert [int(view[3]) for view in kept] == list(range(0, 3000, 700))
    again = [memory.allocate(64) for _ in range(3000)]
    addresses = {block.address for block in again} | {view.ctypes.data for view in kept}
    assert len(addresses) == 3000 + len(kept)


@pytest.mark.parametrize("nbytes", [1 << 20, 1_200_000, 2_200_000, 5 << 20, 9 << 20])
def test_blocks_of_a_page_or_two_share_huge_pages(nbytes: int) -> None:
    before = memory.statistics().mapped_bytes
    blocks = [memory.allocate(nbytes) for _ in range(16)]
    assert memory.statistics().mapped_bytes - before <= 1.13 * 16 * nbytes
    assert len({block.address // 4096 for block in blocks}) == 16
    for number, block in enumerate(blocks):
        block.view(np.uint8, (nbytes,))[...] = number
    assert all((b.view(np.uint8, (nbytes,)) == n).all() for n, b in enumerate(blocks))
    # One block that is held keeps its neighbours, and nothing else.
    del block, blocks[1:]
    limit = memory.set_cache_limit(0)
    try:
        assert memory.statistics().mapped_bytes - before <= max(18 << 20, 2 * nbytes)
        assert (blocks[0].view(np.uint8, (nbytes,)) == 0).all()
    finally:
        memory.set_cache_limit(limit)


def test_threads_allocate_at_once() -> None:
    failures: list[str] = []

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        held: list[tuple[np.ndarray, int]] = []
        for step in range(1500):
            nbytes = int(random.choice([8, 100, 5000, 40_000, 1 << 20]))
            array = memory.allocate(nbytes).view(np.uint8, (nbytes,))
            value = (seed * 31 + step) % 251
            array[:8] = value
            array[-8:] = value
            held.append((array, value))
            if len(held) > 12:
                array, value = held.pop(int(random.integers(len(held))))
                if not ((array[:8] == value).all() and (array[-8:] == value).all()):
                    failures.append(f"{nbytes} bytes of thread {seed} were overwritten")
            if step % 500 == 499:
                memory.trim()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_child_has_memory_of_its_own() -> None:
    array = memory.allocate(1 << 20).view(np.uint8, (1 << 20,))
    array[...] = 1
    child = os.fork()
    if child == 0:
        array[...] = 2
        other = memory.allocate(1 << 20).view(np.uint8, (1 << 20,))
        other[...] = 3
        os._exit(0 if (array == 2).all() else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert (array == 1).all()
