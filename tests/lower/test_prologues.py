"""Operands that products compute while they pack them: values, threads, kinds, and when it pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad.codegen.dtypes import DType, bfloat16, float32, float64, int8, int64
from fusegrad.ir.node import Node
from fusegrad.ops import build
from fusegrad.passes import prologues
from fusegrad.passes.fuse import fuse
from fusegrad.runtime import step
from tests.lower.support import check, variable

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(0)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Products compute operands of any size."""
    monkeypatch.setattr(prologues, "LEAST_SIDE", 1)
    monkeypatch.setattr(prologues, "LEAST_SIZE", 1 << 4)
    monkeypatch.setattr(prologues, "LEAST_RESULT", 1)
    monkeypatch.setattr(prologues, "FAR", 0)
    monkeypatch.setattr(step, "_loaded", {})


def numbers(node: Node) -> Array:
    if node.dtype.is_float:
        values = RNG.standard_normal(node.shape).astype(np.float32)  # type: ignore[arg-type]
        return np.asarray(values.astype(node.dtype.numpy))
    high = 120 if node.dtype is int8 else 40
    return RNG.integers(-high, high, node.shape).astype(node.dtype.numpy)  # type: ignore[arg-type]


def fused(output: Node, *inputs: Node) -> None:
    """The product is the only region, and right."""
    made = check([output], {x: numbers(x) for x in inputs})
    assert made.regions == 1, [r.kind for r in made.artifacts.regions]


def scaled(x: Node) -> Node:
    return build.mul(x, build.full_like(x, 0.5))


LAYOUTS: dict[str, Callable[[Node], Node]] = {
    "N": lambda x: x,
    "T": build.matrix_transpose,
}
SIZES = [(200, 130, 150), (9, 130, 150), (200, 130, 9), (77, 213, 78), (2, 140, 160), (130, 33, 1)]


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN", "TT"])
@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_every_layout_and_tails(side: str, layout: str, size: tuple[int, int, int]) -> None:
    rows, depth, columns = size
    shapes = (rows, depth), (depth, columns)
    a, b = (variable(s if kind == "N" else s[::-1]) for s, kind in zip(shapes, layout, strict=True))
    left = scaled(a) if side != "right" else a
    right = scaled(b) if side != "left" else b
    product = build.dot(LAYOUTS[layout[0]](left), LAYOUTS[layout[1]](right))
    check([product], {a: numbers(a), b: numbers(b)})


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", [float32, float64, bfloat16])
@pytest.mark.parametrize("layout", ["N", "T"])
def test_batches_and_dtypes(layout: str, dtype: DType) -> None:
    a, b = variable((3, 70, 130), dtype), variable((3, 130, 65), dtype)
    if layout == "T":
        b = variable((3, 65, 130), dtype)
    rectified = build.maximum(b, build.zeros_like(b))
    fused(build.dot(a, LAYOUTS[layout](rectified)), a, b)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("rows", [1, 3, 8, 40, 100])
@pytest.mark.parametrize("layout", ["N", "T"])
def test_a_matrix_of_bytes_is_never_stored_as_floats(layout: str, rows: int) -> None:
    x, columns = variable((rows, 190)), 170
    matrix = variable((190, columns) if layout == "N" else (columns, 190), int8)
    scales = variable((columns,))
    wide = build.cast(matrix, float32)
    axis = 1 if layout == "N" else 0
    weights = build.mul(wide, build.broadcast(scales, wide.shape, (axis,)))
    fused(build.dot(x, LAYOUTS[layout](weights)), x, matrix, scales)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("layout", ["N", "T"])
def test_rows_that_are_gathered(layout: str) -> None:
    """Also by indices outside of the table, which count as its ends."""
    table, places = variable((30, 140)), variable((150,), int64)
    other = variable((140 if layout == "N" else 150, 33))
    rows = LAYOUTS[layout](build.take(table, places, 0))
    fused(build.dot(rows, other), table, places, other)


def test_matrices_that_are_gathered_lie_where_they_lie() -> None:
    x, experts, chosen = variable((5, 20, 64)), variable((4, 64, 96)), variable((5,), int64)
    fused(build.dot(x, build.take(experts, chosen, 0)), x, experts, chosen)


@pytest.mark.usefixtures("small")
def test_row_statistics_are_computed_once_a_row() -> None:
    x, w = variable((160, 120)), variable((120, 40))
    mean = build.scaled(build.sum_(x, (1,)), 1 / 120)
    centred = build.sub(x, build.broadcast(mean, x.shape, (0,)))
    made = check([build.dot(centred, w)], {n: numbers(n) for n in (x, w)})
    assert [r.kind.value for r in made.artifacts.regions] == ["row", "dot"]
    assert all(n.shape != x.shape for r in made.artifacts.regions for n in r.nodes)


@pytest.mark.usefixtures("small")
def test_values_that_are_no_numbers() -> None:
    x, w = variable((130, 140)), variable((140, 70))
    values = numbers(x)
    values[3, 5], values[7, 9], values[11, 0] = np.nan, np.inf, -np.inf
    root = build.sqrt(build.maximum(x, build.zeros_like(x)))
    check([build.dot(root, w)], {x: values, w: numbers(w)})


@pytest.mark.usefixtures("small")
def test_what_is_read_elsewhere_is_stored() -> None:
    x, w = variable((140, 150)), variable((150, 160))
    shifted = build.add(x, build.full_like(x, 1))
    product = build.dot(shifted, w)
    after = build.dot(build.add(product, build.full_like(product, 1)), variable((160, 170)))
    made = check([shifted, product], {x: numbers(x), w: numbers(w)})
    assert made.regions == 2
    # Of a product that nobody else reads, what follows is stored in its place.
    made = check([after], {n: numbers(n) for n in (x, w, after.inputs[1])})
    names = [[n.op.name for n in r.nodes] for r in made.artifacts.regions]
    assert names[-2:] == [["dot", "add"], ["dot"]]


def test_what_is_soon_stored_or_read_in_place_is_stored() -> None:
    """A small operand, a left one that is not far away, one that few results are made of."""
    for rows, depth, columns, side in ((40, 50, 60, 1), (300, 310, 200, 0), (20, 4000, 20, 1)):
        operands = [variable((rows, depth)), variable((depth, columns))]
        values = [scaled(n) if p == side else n for p, n in enumerate(operands)]
        found = fuse([build.dot(*values)], prologues=True)
        assert [r.kind.value for r in found] == ["map", "dot"]
    wide = variable((70, 300)), variable((300, 300))
    assert len(fuse([build.dot(wide[0], scaled(wide[1]))], prologues=True)) == 1
    assert len(fuse([build.dot(wide[0], scaled(wide[1]))])) == 2


@pytest.mark.usefixtures("small")
def test_same_bits_with_any_number_of_threads_and_stored() -> None:
    x, w = (numbers(variable(s)) for s in ((310, 300), (310, 290)))

    def product(x: fg.Tensor, w: fg.Tensor) -> fg.Tensor:
        return fg.maximum(x, 0.1).T @ (w * 0.5)

    def stored(x: fg.Tensor, w: fg.Tensor) -> tuple[fg.Tensor, ...]:
        left, right = fg.maximum(x, 0.1), w * 0.5
        return left, right, left.T @ right

    expected = fg.compile(stored)(x, w)[2].numpy()
    for threads in range(1, 5):
        assert np.array_equal(fg.compile(product, threads=threads)(x, w).numpy(), expected)


@pytest.mark.usefixtures("small")
def test_explain_names_what_a_product_computes() -> None:
    told = fg.compile(lambda x, w: fg.maximum(x, 0) @ w).explain(
        fg.ones((140, 150)), fg.ones((150, 90))
    )
    assert "computed by it: maximum of f32[140, 150]" in told["regions"]
