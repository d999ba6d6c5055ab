"""How the items of a launch are dealt to threads: chunks, whose number depends on shapes alone."""

from __future__ import annotations

__all__ = ["deal", "deal_tiles"]

THREADED_COST = 1 << 17
"""Bytes, or their worth in time, below which one thread does all."""
CHUNK_COST = 1 << 18
TILES_COST = 1 << 15
MOST_CHUNKS = 1 << 10
MOST_PARTIAL_CHUNKS = 64


def deal(items: int, cost: float, align: int, partial: bool) -> tuple[int, int]:
    """Grain and number of chunks for `items` of `cost` each (bytes, or their worth in time)."""
    total = items * cost
    if items <= align or total < THREADED_COST:
        return max(items, 1), 1
    limit = MOST_PARTIAL_CHUNKS if partial else MOST_CHUNKS
    chunks = int(min(limit, max(4, total // CHUNK_COST)))
    grain = -(-items // chunks)
    grain = -(-grain // align) * align
    return grain, max(1, -(-items // grain))


def deal_tiles(items: int, cost: float) -> tuple[int, int]:
    """The same for items of a contraction, few and large: one by one, so that shares are even."""
    if items * cost < THREADED_COST:
        return max(items, 1), 1
    grain = max(1, -(-items // MOST_CHUNKS), int(TILES_COST // max(cost, 1.0)))
    return grain, -(-items // grain)
