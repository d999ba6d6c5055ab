"""What fusion promises: how many kernels, and how they read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad.codegen.dtypes import float32
from fusegrad.codegen.printer import print_kernel
from fusegrad.ir.node import Node, toposort
from fusegrad.ir.printer import print_graph
from fusegrad.ops import build
from fusegrad.ops.source import Input
from fusegrad.tensors import immediate
from tests.conftest import Golden
from tests.lower.support import Array, Compiled, check, compare, compiled, variable


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small operations are recorded too, as all are in a compiled function."""
    monkeypatch.setattr(immediate, "_SMALL", -1)


def record(*tensors: fg.Tensor) -> tuple[list[Node], dict[Node, Array]]:
    """The graph that tensors were recorded as, and its inputs."""
    outputs = [t._read() for t in tensors]
    leaves = [n for n in toposort(outputs) if isinstance(n.op, Input)]
    return outputs, {n: n.op.token.storage.array for n in leaves}  # type: ignore[attr-defined]


def run(*tensors: fg.Tensor, donations: Sequence[tuple[int, int]] = ()) -> Compiled:
    """Compile the graph of `tensors`; its values are those of the interpreter."""
    outputs, environment = record(*tensors)
    made = compiled(outputs, list(environment), donations)
    found = made(list(environment.values()))
    compare(outputs, found, environment)
    return made


def texts(made: Compiled) -> dict[str, str]:
    graph = made.artifacts.graphs[-1][1]
    return {
        "graph": print_graph(graph),
        "kernels": "\n\n".join(print_kernel(k.kernel) for k in made.artifacts.lowered),
        "mapped": "\n\n".join(print_kernel(k.kernel) for k in made.artifacts.mapped),
    }


def tensor(*shape: int, seed: int = 0) -> fg.Tensor:
    rng = np.random.default_rng(seed)
    return fg.asarray(rng.standard_normal(shape).astype(np.float32))


def labels(rows: int, classes: int) -> fg.Tensor:
    return fg.asarray(np.random.default_rng(1).integers(0, classes, rows))


ROWS: dict[str, Callable[[fg.Tensor], fg.Tensor]] = {
    "softmax": lambda x: F.softmax(x, -1),
    "log_softmax": lambda x: F.log_softmax(x, -1),
    "cross_entropy": lambda x: F.cross_entropy(x, labels(x.shape[0], x.shape[1])),
    "layer_norm": lambda x: F.layer_norm(x, (x.shape[1],), tensor(x.shape[1]), tensor(x.shape[1])),
    "standardized": lambda x: (x - x.mean(1, keepdims=True)) / x.std(1, keepdims=True),
    "gelu": lambda x: F.gelu(x),
    "mean": lambda x: x.mean(),
}


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("shape", [(64, 10), (33, 1000), (7, 1)], ids=str)
def test_rows_are_one_kernel(name: str, shape: tuple[int, int]) -> None:
    made = run(ROWS[name](tensor(*shape)))
    assert (made.record.kernels, made.regions) == (1, 1)


@pytest.mark.parametrize("name", sorted(ROWS.keys() - {"gelu", "mean"}))
def test_one_row_is_right(name: str) -> None:
    run(ROWS[name](tensor(1, 1000)))


@pytest.mark.parametrize("shape", [(64, 10), (33, 1000)], ids=str)
def test_cross_entropy_with_its_gradient_is_one_kernel(shape: tuple[int, int]) -> None:
    y = labels(*shape)
    loss, (gradient,) = fg.value_and_grad(lambda x: F.cross_entropy(x, y), argnums=(0,))(
        tensor(*shape)
    )
    made = run(loss, gradient)
    assert (made.record.kernels, made.regions) == (1, 1)
    assert "scatter" not in print_graph(made.artifacts.graphs[0][1])


def test_layer_norm_with_its_gradient_is_one_kernel() -> None:
    x, w, b, seed = tensor(96, 257), tensor(257, seed=1), tensor(257, seed=2), tensor(96, 257)
    y, pullback = fg.vjp(lambda x, w, b: F.layer_norm(x, (257,), w, b), x, w, b)
    made = run(y, *pullback(seed))
    assert (made.record.kernels, made.regions) == (1, 1)


def test_picking_is_no_scatter_and_embedding_is_one() -> None:
    x, y = tensor(9, 5), labels(9, 5)
    (gradient,) = fg.grad(lambda x: fg.take_along_axis(x, y[:, None], 1).sum(), argnums=(0,))(x)
    assert "scatter" not in print_graph(run(gradient).artifacts.graphs[0][1])
    (gradient,) = fg.grad(lambda x: fg.take(x, y, axis=1).sum(), argnums=(0,))(x)
    assert "scatter" in print_graph(run(gradient).artifacts.graphs[0][1])


SHAPES = ((100, 30), (30,), (100, 30), (17, 1), ())


def adam(shapes: Sequence[tuple[int, ...]]) -> tuple[list[Node], dict[Node, Array], list[Any]]:
    rng = np.random.default_rng(0)
    outputs: list[Node] = []
    environment: dict[Node, Array] = {}
    donations = []
    for shape in shapes:
        p, m, v, g = (variable(shape) for _ in range(4))

        def full(value: float, shape: tuple[int, ...] = shape) -> Node:
            return build.full(shape, value, float32)

        m2 = build.add(build.mul(m, full(0.9)), build.mul(g, full(0.1)))
        v2 = build.add(build.mul(v, full(0.999)), build.mul(build.mul(g, g), full(0.001)))
        root = build.add(build.sqrt(v2), full(1e-8))
        p2 = build.sub(p, build.div(build.mul(m2, full(1e-3)), root))
        first, at = len(outputs), len(environment)
        donations += [(first + i, at + i) for i in range(3)]
        outputs += [p2, m2, v2]
        for node in (p, m, v, g):
            values = rng.standard_normal(shape).astype(np.float32)
            environment[node] = np.asarray(np.abs(values) if node is v else values)
    return outputs, environment, donations


def test_adam_of_all_parameters_is_one_group_in_place() -> None:
    outputs, environment, donations = adam(SHAPES)
    made = check(outputs, environment, donations)
    assert made.record.kernels == 1
    assert sorted(made.record.donated) == sorted(donations)
    assert made.record.program.arena_bytes == 0


def test_equal_updates_are_one_function_and_run_together() -> None:
    made = check(*adam([(40, 8)] * 3))
    assert made.record.kernels == 1
    assert len(made.record.symbols) == 1


def test_elementwise_work_of_equal_shape_is_one_region() -> None:
    x, y, z = (tensor(1000, seed=i) for i in range(3))
    assert run(fg.exp(x) + y, x * z, fg.sin(x)).regions == 1


def mlp(x: fg.Tensor, y: fg.Tensor, *parameters: fg.Tensor) -> fg.Tensor:
    *hidden, (weight, bias) = zip(parameters[::2], parameters[1::2], strict=True)
    for w, b in hidden:
        x = F.relu(F.linear(x, w, b))
    return F.cross_entropy(F.linear(x, weight, bias), y)


def training_step(*widths: int, batch: int) -> list[fg.Tensor]:
    sizes = list(pairwise(widths))
    parameters = [t for i, o in sizes for t in (tensor(o, i), tensor(o))]
    x, y = tensor(batch, widths[0]), labels(batch, widths[-1])
    numbers = tuple(range(2, 2 + len(parameters)))
    loss, gradients = fg.value_and_grad(mlp, argnums=numbers)(x, y, *parameters)
    updated = [p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)]
    return [loss, *updated]


def test_a_training_step_of_two_layers() -> None:
    made = run(*training_step(64, 128, 10, batch=32))
    # Forward: two contractions and the loss with its gradient; then the gradients of hidden units
    # and of weights and biases, each with its update.
    assert made.record.kernels <= 5
    assert made.regions <= 7


def test_reductions_over_the_same_middle_axes_share_a_pass() -> None:
    """As the two sums of a batch normalisation's gradient, and what follows from both."""
    x, g = tensor(8, 5, 100), tensor(8, 5, 100)
    sums = [g.sum((0, 2)), (g * x).sum((0, 2)), fg.max(x, axis=(0, 2))]
    assert run(*sums, sums[0] * sums[1]).regions == 1
    assert run(g.sum((0, 2)), g.sum((0,))).regions == 2
    mean = x.mean((0, 2), keepdims=True)
    assert run(mean, (x - mean).max((0, 2))).regions == 2


# --- golden texts ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["softmax", "layer_norm"])
def test_text_of_rows(name: str, golden: Golden) -> None:
    for part, text in texts(run(ROWS[name](tensor(64, 100)))).items():
        if part != "mapped":
            assert text == golden(part)


def test_text_of_a_training_step(golden: Golden) -> None:
    made = run(*training_step(12, 16, 5, batch=8))
    for part, text in texts(made).items():
        if part != "mapped":
            assert text == golden(part)


def test_what_movement_reads_again_and_again_is_stored() -> None:
    """Each turn of a roll reads its operand at two places: ten of them, at a thousand."""
    x = tensor(37)
    for _ in range(10):
        x = fg.concat([x[1:], x[:1]])
    # A slice of a concatenation reads the parts it touches, so there are few.
    assert run(x * 2.0).regions == 1
    x = tensor(37)
    for _ in range(10):
        x = fg.concat([fg.flip(x)[1:], x[:1]])
    assert 2 <= run(x * 2.0).regions <= 6
    x = tensor(3, 8)
    for _ in range(20):
        x = fg.concat([x, fg.sin(fg.flip(x, axis=1)[:, 1:5])], axis=1)
    assert 5 <= run(x).regions <= 40
    y = fg.exp(tensor(40))
    made = run(fg.concat([y[3:], y[:3]]) + fg.flip(y))
    assert made.regions == 2
