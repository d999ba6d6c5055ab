"""Families of ops over sizes and shapes: empty, single, odd; all axes; contractions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest

from fusegrad.codegen.dtypes import DType, bool_, float32, float64, int32, int64
from fusegrad.codegen.kernel import Monoid
from fusegrad.ir.node import Node
from fusegrad.ops import build
from tests.lower.support import Array, check, variable

SIZES = (0, 1, 3, 7, 15, 17, 1023)
SHAPES: tuple[tuple[int, ...], ...] = (
    (),
    (1,),
    (17,),
    (1, 1),
    (1, 15),
    (15, 1),
    (3, 7),
    (0, 5),
    (5, 0),
    (2, 1, 9),
    (1, 6, 1),
    (4, 3, 5),
    (3, 0, 2),
    (2, 3, 1, 5),
    (2, 2, 3, 17),
)
EDGES = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0)


class Graph:
    """Outputs and inputs under construction."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.outputs: list[Node] = []
        self.labels: list[str] = []
        self.environment: dict[Node, Array] = {}

    def input(self, shape: Sequence[int], dtype: DType = float32, edges: bool = False) -> Node:
        node = variable(shape, dtype)
        size = math.prod(shape)
        if dtype is bool_:
            values = self.rng.integers(0, 2, size).astype(bool)
        elif dtype.is_float:
            values = self.rng.standard_normal(size).astype(dtype.numpy)
            if edges and size:
                count = min(len(EDGES), size)
                values[self.rng.permutation(size)[:count]] = EDGES[:count]
        else:
            values = self.rng.integers(-9, 10, size).astype(dtype.numpy)
        self.environment[node] = values.reshape(shape)
        return node

    def indices(self, shape: Sequence[int], extent: int) -> Node:
        node = variable(shape, int64)
        self.environment[node] = self.rng.integers(0, max(1, extent), shape)
        return node

    def output(self, node: Node, label: str = "") -> None:
        self.outputs.append(node)
        self.labels.append(f"{label} {node.op} {node.type}")

    def check(self) -> None:
        check(self.outputs, self.environment, label=self.labels.__getitem__)


@pytest.mark.parametrize("dtype", [float32, float64, int32, int64, bool_], ids=str)
@pytest.mark.parametrize("size", SIZES)
def test_elementwise_sizes(size: int, dtype: DType) -> None:
    g = Graph(size)
    x, y = (g.input((size,), dtype, edges=True) for _ in range(2))
    if dtype is bool_:
        for op in ("logical_and", "logical_or", "logical_xor", "eq", "ne"):
            g.output(build.elementwise(op, x, y))
        g.output(build.select(x, y, build.logical_not(y)))
    else:
        for op in ("add", "sub", "mul", "minimum", "maximum", "lt", "eq"):
            g.output(build.elementwise(op, x, y))
        g.output(build.select(build.lt(x, y), x, y))
        g.output(build.cast(x, float64 if dtype is float32 else float32))
    if dtype.is_float:
        for op in ("exp", "tanh", "sqrt", "floor", "isnan", "sign"):
            g.output(build.elementwise(op, x))
        g.output(build.div(x, y))
    g.check()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_subset_of_axes(shape: tuple[int, ...]) -> None:
    g = Graph(len(shape))
    x, z = g.input(shape), g.input(shape, float64, edges=True)
    k, b = g.input(shape, int32), g.input(shape, bool_)
    for count in range(1, len(shape) + 1):
        for axes in itertools.combinations(range(len(shape)), count):
            g.output(build.sum_(x, axes))
            g.output(build.sum_(build.mul(x, x), axes))
            g.output(build.sum_(k, axes))
            g.output(build.prod(k, axes))
            g.output(build.any_(b, axes))
            g.output(build.all_(b, axes))
            if all(shape[a] for a in axes):
                g.output(build.max_(z, axes))
                g.output(build.min_(x, axes))
                g.output(build.max_(k, axes))
                # And what follows in the same rows, and in others.
                top = build.broadcast(
                    build.max_(x, axes), shape, [a for a in range(len(shape)) if a not in axes]
                )
                g.output(build.exp(build.sub(x, top)), f"after max over {axes}")
    for axis in range(len(shape)):
        if shape[axis]:
            g.output(build.argmax(z, axis))
            g.output(build.argmin(x, axis))
            g.output(build.argmax(k, axis))
    g.check()


@pytest.mark.parametrize("monoid", [Monoid.SUM, Monoid.PROD, Monoid.MAX, Monoid.MIN], ids=str)
def test_reductions_of_each_dtype(monoid: Monoid) -> None:
    g = Graph(3)
    for dtype in (float32, float64, int32, int64):
        for shape in ((1023,), (3, 1023), (1023, 3), (64, 17), (9, 4, 33)):
            x = g.input(shape, dtype)
            for axis in range(len(shape)):
                g.output(build.reduce_(monoid, x, (axis,)))
            g.output(build.reduce_(monoid, x, range(len(shape))))
    g.check()


def test_arg_reductions_take_the_first_of_equal_values_and_nan() -> None:
    g = Graph()
    for dtype in (float32, float64, int32, int64):
        for shape in ((1,), (40,), (5, 33), (33, 5), (4, 9, 3), (2, 2000)):
            x = variable(shape, dtype)
            g.environment[x] = g.rng.integers(0, 3, shape).astype(dtype.numpy)
            nodes = [x]
            if dtype.is_float:
                y = variable(shape, dtype)
                values = g.rng.standard_normal(shape).astype(dtype.numpy)
                values[g.rng.uniform(size=shape) < 0.1] = np.nan
                g.environment[y] = values
                z = variable(shape, dtype)
                g.environment[z] = np.full(shape, -np.inf, dtype.numpy)
                nodes += [y, z]
            for node in nodes:
                for axis in range(len(shape)):
                    g.output(build.argmax(node, axis))
                    g.output(build.argmin(node, axis))
    g.check()


def test_long_reductions() -> None:
    g = Graph()
    for shape in ((100_003,), (5, 40_001), (40_001, 5), (3000, 70), (1, 5000), (5000, 1)):
        x = g.input(shape)
        for count in range(1, len(shape) + 1):
            for axes in itertools.combinations(range(len(shape)), count):
                g.output(build.sum_(x, axes), str(axes))
                g.output(build.max_(x, axes), str(axes))
        for axis in range(len(shape)):
            g.output(build.argmax(x, axis))
    g.check()


def test_column_sums_of_wide_rows() -> None:
    g = Graph()
    x = g.input((5, 20_000))
    g.output(build.sum_(x, (0,)))
    g.output(build.sum_(build.mul(x, x), (0,)))
    g.output(build.argmin(x, 0))
    g.check()


# --- movement -------------------------------------------------------------------------------------


def _moved(g: Graph, x: Node) -> Iterator[Node]:
    shape = tuple(int(e) for e in x.shape)  # type: ignore[arg-type]
    rank = len(shape)
    for permutation in itertools.permutations(range(rank)):
        yield build.transpose(x, permutation)
    yield build.reshape(x, (math.prod(shape),))
    yield build.reshape(x, (1, *shape, 1))
    yield build.broadcast(x, (3, *shape), range(1, rank + 1))
    yield build.broadcast(x, (*shape, 2), range(rank))
    yield build.broadcast(build.reshape(x, (*shape, 1)), (*shape, 1, 4), range(rank + 1))
    if not rank:
        return
    yield build.flip(x, range(rank))
    yield build.flip(x, (rank - 1,))
    starts = [min(1, e) for e in shape]
    yield build.slice_(x, starts, shape, [1] * rank)
    yield build.slice_(x, [0] * rank, shape, [2] * rank)
    yield build.slice_(x, starts, shape, [3] * rank)
    yield build.pad(x, [1] * rank, [2] * rank)
    yield build.pad(x, [0] * rank, [0] * rank, [1] * rank)
    yield build.pad(x, [2] + [0] * (rank - 1), [0] * (rank - 1) + [3], [0] * (rank - 1) + [2])
    for axis in range(rank):
        yield build.concat([x, x], axis)
        yield build.concat(
            [x, build.mul(x, x), build.slice_axis(x, axis, 0, shape[axis] // 2)], axis
        )
        indices = g.indices((2, 3) if shape[axis] else (0, 3), shape[axis])
        yield build.take(x, indices, axis)
        if 0 not in shape:
            one = (*shape[:axis], 1, *shape[axis + 1 :])
            yield build.take_along(x, g.indices(one, shape[axis]), axis)
            more = (*shape[:axis], 5, *shape[axis + 1 :])
            places = g.indices(more, shape[axis])
            yield build.take_along(x, places, axis)
            yield build.scatter_add_along(g.input(more), places, axis, shape[axis])
            count = g.indices((4,), shape[axis])
            updates = g.input((*shape[:axis], 4, *shape[axis + 1 :]))
            yield build.scatter_add(updates, count, axis, shape[axis])


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_movement(shape: tuple[int, ...]) -> None:
    g = Graph(1)
    x = g.input(shape, edges=True)
    moved = list(_moved(g, x))
    for node in moved:
        g.output(node)
    for node in moved:
        g.output(build.add(build.elementwise("abs", node), node), "computed from")
    g.check()


@pytest.mark.parametrize("shape", [(17,), (3, 7), (4, 3, 5), (2, 1, 9), (0, 5)], ids=str)
def test_movement_of_movement(shape: tuple[int, ...]) -> None:
    g = Graph(1)
    x = g.input(shape)
    for once in _moved(g, x):
        if len(once.shape) > 3 or once.op.name in ("scatter_add", "scatter_add_along"):
            continue
        for twice in itertools.islice(_moved(g, once), 0, None, 3):
            g.output(twice, f"of {once.op}")
            if twice.shape:
                g.output(build.sum_(build.exp(twice), (0,)), f"sum of {once.op} {twice.op}")
    for start in range(0, len(g.outputs), 40):
        part = g.outputs[start : start + 40]
        labels = g.labels[start : start + 40]
        needed = _inputs_of(part)
        environment = {n: v for n, v in g.environment.items() if n in needed}
        check(part, environment, label=labels.__getitem__)


def _inputs_of(outputs: Sequence[Node]) -> set[Node]:
    seen: set[Node] = set()
    stack = list(outputs)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(node.inputs)
    return seen


# --- contractions ---------------------------------------------------------------------------------

PRODUCTS = ((1, 1, 1), (1, 7, 1), (5, 3, 7), (17, 33, 65), (1, 64, 40), (40, 64, 1), (64, 10, 128))


@pytest.mark.parametrize("dtype", [float32, float64, int32, int64], ids=str)
def test_dot_of_every_transposition(dtype: DType) -> None:
    g = Graph()
    for m, k, n in PRODUCTS:
        for left, right in itertools.product((False, True), repeat=2):
            a = g.input((k, m) if left else (m, k), dtype)
            b = g.input((n, k) if right else (k, n), dtype)
            dot = build.dot(
                build.transpose(a, (1, 0)) if left else a,
                build.transpose(b, (1, 0)) if right else b,
            )
            bias = g.input((n,), dtype)
            g.output(dot, f"{m}x{k}x{n} {left} {right}")
            g.output(build.maximum(dot, build.broadcast(bias, (m, n), (1,))), "epilogue")
            g.output(build.transpose(dot, (1, 0)), "transposed")
    g.check()


@pytest.mark.parametrize("shape", [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)], ids=str)
def test_dot_without_elements(shape: tuple[int, int, int]) -> None:
    g = Graph()
    m, k, n = shape
    dot = build.dot(g.input((m, k)), g.input((k, n)))
    g.output(dot)
    g.output(build.exp(dot))
    g.check()


def test_dot_in_batches() -> None:
    g = Graph()
    for batch in ((1,), (3,), (2, 3), (0,), (2, 1, 2)):
        for m, k, n in ((5, 3, 7), (1, 17, 33), (20, 9, 1)):
            a, b = g.input((*batch, m, k)), g.input((*batch, k, n))
            dot = build.dot(a, b)
            g.output(dot)
            g.output(build.sum_(build.exp(dot), (len(batch) + 1,)))
            swap = (*range(len(batch)), len(batch) + 1, len(batch))
            turned = build.dot(build.transpose(b, swap), build.transpose(a, swap))
            g.output(build.mul(turned, turned))
    heads = g.input((2, 10, 3, 8))
    q = build.transpose(heads, (0, 2, 1, 3))
    scores = build.dot(q, build.transpose(heads, (0, 2, 3, 1)))
    g.output(scores)
    g.output(build.dot(scores, q))
    shared = g.input((8, 5))
    g.output(build.dot(heads, build.broadcast(shared, (2, 10, 8, 5), (2, 3))))
    g.check()


def test_dot_of_computed_operands() -> None:
    g = Graph()
    a, b = g.input((20, 30)), g.input((30, 40))
    g.output(build.dot(build.exp(a), build.slice_(b, (0, 1), (30, 40), (1, 2))))
    g.output(build.dot(build.flip(a, (1,)), build.pad(b, (0, 1), (0, 2))))
    g.output(build.dot(build.slice_(a, (3, 0), (20, 30), (2, 1)), b))
    g.output(build.dot(build.reshape(a, (10, 60)), build.broadcast(g.input((60,)), (60, 4), (0,))))
    row = g.input((40,))
    g.output(build.dot(a, build.broadcast(row, (30, 40), (1,))))
    g.output(build.dot(build.concat([a, a], 1), build.concat([b, b], 0)))
    g.check()


def test_softmax_shapes() -> None:
    g = Graph()
    for shape in ((1, 1), (1, 1000), (7, 1), (64, 10), (3, 1023), (2, 3, 17), (0, 4), (33, 2049)):
        x = g.input(shape)
        axis = len(shape) - 1
        dims = list(range(axis))
        top = build.broadcast(build.max_(x, (axis,)), shape, dims) if shape[axis] else x
        e = build.exp(build.sub(x, top))
        g.output(build.div(e, build.broadcast(build.sum_(e, (axis,)), shape, dims)))
    g.check()
