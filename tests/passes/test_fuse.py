"""Which values are written, which stages share a region, and that the order of regions is right."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest

from fusegrad.codegen.dtypes import bool_, int64
from fusegrad.ir.node import Node
from fusegrad.ops import build
from fusegrad.passes import repeats, sums
from fusegrad.passes.fuse import MAX_DEPTH, fuse
from fusegrad.passes.pipeline import run_passes
from fusegrad.passes.regions import COLUMN_LIMIT, MANY_ROWS, Kind, Region
from fusegrad.passes.views import viewed
from tests.fuzz.graphs import RandomGraph
from tests.lower.support import variable


def regions(*outputs: Node) -> list[Region]:
    found = fuse(outputs)
    _check_order(found)
    return found


def _check_order(found: Sequence[Region]) -> None:
    """Everything a region reads is computed before it, and nothing is computed twice."""
    everything = {n for r in found for n in r.nodes}
    assert sum(len(r.nodes) for r in found) == len(everything)
    done: set[Node] = set()
    for region in found:
        own = set(region.nodes)
        for stage in region.stages:
            assert all(n in done | own for n in stage.access.reads if n in everything)
        done |= own


def kinds(found: Sequence[Region]) -> list[str]:
    return [r.kind.value for r in found]


def written(found: Sequence[Region]) -> set[Node]:
    return {n for r in found for n in r.nodes}


X = variable((40, 30))


def row(x: Node) -> Node:
    return build.broadcast(x, (40, 30), (0,))


def test_elementwise_chains_are_one_stage() -> None:
    y = build.exp(build.add(X, build.full((40, 30), 1, X.dtype)))
    (region,) = regions(y)
    assert region.nodes == [y]
    assert region.kind is Kind.MAP


def test_a_reduction_takes_in_what_feeds_it_and_what_follows() -> None:
    total = build.sum_(build.exp(X), (1,))
    y = build.div(X, row(total))
    (region,) = regions(y)
    assert region.nodes == [total, y]
    assert (region.kind, region.total, region.rows) == (Kind.ROW, 1200, 40)


def test_column_sums_join_rows() -> None:
    top = build.max_(X, (1,))
    columns = build.sum_(build.sub(X, row(top)), (0,))
    (region,) = regions(columns)
    assert {s.node: s.kind for s in region.stages} == {top: Kind.ROW, columns: Kind.COLUMN}


def test_what_follows_column_sums_runs_once_at_the_end() -> None:
    scaled = build.exp(build.sum_(X, (0,)))
    (region,) = regions(scaled)
    assert [s.finish for s in region.stages] == [False, True]


def test_rows_that_need_all_of_a_column_sum_are_another_region() -> None:
    columns = build.sum_(X, (0,))
    y = build.mul(X, build.broadcast(columns, (40, 30), (1,)))
    assert len(regions(y)) == 2


def test_wide_column_sums_of_few_rows_are_strided() -> None:
    assert kinds(regions(build.sum_(variable((4, COLUMN_LIMIT + 1)), (0,)))) == ["strided"]
    many = variable((MANY_ROWS, COLUMN_LIMIT + 1))
    assert [r.stages[0].kind for r in regions(build.sum_(many, (0,)))] == [Kind.COLUMN]
    assert kinds(regions(build.sum_(variable((4, 5, 6)), (1,)))) == ["strided"]


def test_a_contraction_keeps_its_epilogue() -> None:
    dot = build.dot(X, variable((30, 20)))
    y = build.maximum(dot, build.full((40, 20), 0, X.dtype))
    (region,) = regions(y)
    assert region.kind is Kind.DOT
    assert region.nodes == [dot, y]


def test_operands_of_a_contraction_are_views_or_written() -> None:
    turned = build.transpose(X, (1, 0))
    assert viewed(turned, lambda _: False) is X
    computed = build.exp(X)
    found = regions(build.dot(build.transpose(computed, (1, 0)), X))
    assert written(found) >= {computed}
    assert len(found) == 2
    mixed = build.reshape(turned, (40, 30))
    assert viewed(mixed, lambda _: False) is turned
    mixed = build.reshape(turned, (1200,))
    assert viewed(build.reshape(mixed, (40, 30)), lambda _: False) is not X
    assert viewed(build.reshape(X, (30, 40)), lambda _: False) is X


def test_a_view_that_is_written_anyway_is_read_there() -> None:
    flat = build.reshape(build.exp(X), (1200, 1))
    found = regions(flat, build.dot(flat, variable((1, 3))))
    assert written(found) == {flat, found[-1].nodes[0]}


def test_expensive_values_are_stored_where_a_broadcast_repeats_them() -> None:
    v = build.exp(variable((30,)))
    y = build.mul(X, build.broadcast(v, (40, 30), (1,)))
    assert v in written(regions(y))
    cheap = build.neg(variable((30,)))
    y = build.mul(X, build.broadcast(cheap, (40, 30), (1,)))
    assert written(regions(y)) == {y}


def test_values_that_several_regions_need_are_stored_or_computed_again() -> None:
    shared = build.exp(X)
    other = build.dot(shared, variable((30, 5)))
    sums = build.sum_(build.sum_(build.transpose(shared, (1, 0)), (1,)), (0,))
    assert shared in written(regions(other, sums))
    cheap = build.neg(X)
    turned = build.transpose(cheap, (1, 0))
    assert cheap not in written(regions(build.exp(cheap), build.exp(turned)))


def test_masks_are_stored_instead_of_what_they_compare() -> None:
    hidden = build.dot(X, variable((30, 20)))
    zero = build.full((40, 20), 0, X.dtype)
    mask = build.le(hidden, zero)
    out = build.dot(build.select(mask, zero, hidden), variable((20, 8)))
    back = build.select(mask, zero, build.dot(variable((40, 8)), variable((8, 20))))
    found = regions(out, back)
    assert mask in written(found)
    assert mask.dtype is bool_


def test_depth_is_limited() -> None:
    y = X
    for _ in range(3 * MAX_DEPTH):
        y = build.sin(y)
    assert len(written(regions(y))) >= 3


def test_a_long_recurrence_is_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """The work on an unrolled recurrence is proportional to its length."""
    looked_at: list[int] = []
    cone = repeats._cone

    def counted(*arguments: Any) -> set[Node]:
        result = cone(*arguments)
        looked_at.append(len(result))
        return result

    monkeypatch.setattr(repeats, "_cone", counted)

    def work(length: int) -> int:
        """Each state reads the one before, and each gives an output that is stored."""
        weight, state = variable((8, 8)), variable((4, 8))
        outputs: list[Node] = []
        for _ in range(length):
            # Where nothing is read at another place there is nothing to look at.
            state = build.add(build.mul(build.tanh(build.flip(state, (0,))), state), state)
            outputs.append(build.dot(build.exp(state), weight))
        looked_at.clear()
        fuse(outputs)
        return sum(looked_at)

    assert work(200) >= 200
    assert work(400) < 2.5 * work(200)


def test_loops_read_memory() -> None:
    updates = build.exp(variable((9, 4)))
    y = build.scatter_add(updates, variable((9,), int64), 0, 5)
    assert kinds(regions(y)) == ["map", "loop"]


def test_values_without_elements_are_in_no_region() -> None:
    assert regions(build.exp(variable((0, 3)))) == []


def test_no_cycles() -> None:
    # a -> b -> c where a and c have one domain and b another.
    a = build.exp(X)
    b = build.dot(a, variable((30, 30)))
    assert len(regions(build.add(a, b), a)) >= 2


@pytest.mark.parametrize("seed", range(150))
def test_random_graphs_are_ordered(seed: int) -> None:
    random = Random(seed)
    graph = RandomGraph(random)
    graph.grow(40)
    _check_order(fuse([n for n in run_passes(graph.outputs()) if n.inputs]))


@pytest.mark.parametrize(("size", "times"), [(64, 1), (1024, 2)])
def test_what_would_wait_in_memory_is_computed_again(size: int, times: int) -> None:
    """What is large costs more to store and load than a function of what is read anyway."""
    x, w = variable((size, size)), variable((size, size))
    h = build.dot(x, w)
    t = build.tanh(h)
    y = build.mul(build.dot(build.mul(h, t), w), build.sub(h, build.mul(t, t)))
    found = regions(y)
    assert sum(t in s.access.inlined for r in found for s in r.stages) >= times
    assert (t in written(found)) == (times == 1)
    # Where nothing else is read of it, the function itself is what to store.
    lonely = build.mul(build.dot(build.mul(h, t), w), t)
    assert t in written(regions(lonely)) or size < 1024


@pytest.mark.parametrize("count", [2, 3, 5])
def test_partial_sums_follow_products(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many products no one is stored that the next one can add to the sum so far."""
    monkeypatch.setattr(sums, "LARGE", 1)
    products = [build.dot(variable((40, 8)), variable((8, 30))) for _ in range(count)]
    total = products[0]
    for product in products[1:]:
        total = build.add(total, product)
    found = regions(build.exp(total))
    assert len(found) <= count + 1
    adds = [n for n in written(found) if n.op.name == "add"]
    assert len(adds) == max(count - 2, 0)


def test_padded_products_are_added_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sums, "LARGE", 1)
    total: Node | None = None
    for rows in range(30, 41):
        product = build.dot(variable((rows, 8)), variable((8, 30)))
        padded = build.pad(product, (0, 0), (41 - rows, 0))
        total = padded if total is None else build.add(total, padded)
    assert total is not None
    adds = [n for n in written(regions(total)) if n.op.name == "add"]
    assert 3 <= len(adds) <= 4
