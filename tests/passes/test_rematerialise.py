"""Operands of late products that are made again: the same bits, less that is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.passes import rematerialise, storing
from fusegrad.runtime import step as runtime_step

Layer = Callable[[Any], Any]
ROWS, WIDTH = 24, 40


@pytest.fixture(params=[64, 1 << 40], ids=["again", "kept"])
def least(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """From how many bytes on a value is made again."""
    monkeypatch.setattr(rematerialise, "LEAST_BYTES", request.param)
    monkeypatch.setattr(runtime_step, "source_version", lambda: str(request.param).encode())
    return int(request.param)


def training(activation: Layer, layers: int = 3) -> tuple[Any, nn.Module]:
    fg.random.seed(1)
    model = nn.Sequential(*[nn.Linear(WIDTH, WIDTH) for _ in range(layers)])
    optimizer = optim.SGD(model.parameters(), lr=0.05)

    @fg.compile
    def step(x: Any) -> Any:
        y = x
        for layer in model:
            y = activation(layer(y))
        loss = (y * y).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step, model


def data(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


def norm(x: Any) -> Any:
    return F.layer_norm(x, (WIDTH,))


ACTIVATIONS: dict[str, tuple[Layer, bool]] = {
    "gelu": (F.gelu, True),
    "gelu of tanh": (lambda x: F.gelu(x, approximate="tanh"), True),
    "silu": (F.silu, True),
    "mish": (F.mish, True),
    "norm": (norm, True),
    "gated": (lambda x: fg.sigmoid(x) * fg.tanh(x), True),
    "product": (lambda x: F.silu(x) * x, True),
    # What their derivatives need is the result, or where it is positive.
    "tanh": (fg.tanh, False),
    "relu": (F.relu, False),
    "linear": (lambda x: x, False),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_what_derivatives_read_anyway_is_made_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    activation, again = ACTIVATIONS[name]
    found = {}
    for bytes_ in (64, 1 << 40):
        monkeypatch.setattr(rematerialise, "LEAST_BYTES", bytes_)
        monkeypatch.setattr(runtime_step, "source_version", lambda b=bytes_: str(b).encode())
        step, model = training(activation)
        x = data(ROWS, WIDTH)
        graph = step.explain(x)["graph"]
        losses = [step(x).numpy().tobytes() for _ in range(3)]
        found[bytes_] = (losses, [p.numpy().tobytes() for p in model.parameters()])
        assert ("beside" in graph) == (again and bytes_ == 64)
    assert found[64] == found[1 << 40]


def test_gradients_are_right(least: int) -> None:
    w = [data(WIDTH, WIDTH) / 6 for _ in range(3)]
    x = data(2, ROWS // 2, WIDTH)

    def loss(w: Any) -> Any:
        y = fg.asarray(x)
        for matrix in w:
            y = F.gelu(norm(y @ matrix)) + y
        return (y * y).sum()

    compiled = fg.compile(fg.grad(loss))(w)
    with fg.eager():
        expected = fg.grad(loss)([fg.asarray(matrix) for matrix in w])
    for actual, wanted in zip(compiled, expected, strict=True):
        np.testing.assert_allclose(actual.numpy(), wanted.numpy(), rtol=2e-4, atol=2e-3)


def test_two_steps_in_one_function(least: int) -> None:
    """Late products of the first step are early ones of the second."""
    fg.random.seed(2)
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
    twin = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, WIDTH), nn.GELU())
    twin.load_state_dict(model.state_dict())

    def make(model: nn.Module) -> Callable[[Any], Any]:
        optimizer = optim.Adam(model.parameters(), lr=1e-2)

        def once(x: Any) -> Any:
            loss = ((model(x) - x) ** 2).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            return loss

        return once

    x = data(ROWS, WIDTH)
    once, other = make(model), fg.compile(make(twin))

    @fg.compile
    def twice(x: Any) -> Any:
        return once(x), once(x)

    first, second = twice(x)
    np.testing.assert_allclose(first.numpy(), other(x).numpy(), rtol=1e-6)
    np.testing.assert_allclose(second.numpy(), other(x).numpy(), rtol=1e-5)


def test_second_derivatives(least: int) -> None:
    w = data(WIDTH, WIDTH) / 6
    x = data(ROWS, WIDTH)

    def loss(w: Any) -> Any:
        return (F.gelu(F.gelu(fg.asarray(x) @ w) @ w) ** 2).mean()

    def length(w: Any) -> Any:
        return (fg.grad(loss)(w) ** 2).sum()

    compiled = fg.compile(fg.grad(length))(w)
    with fg.eager():
        expected = fg.grad(length)(fg.asarray(w))
    np.testing.assert_allclose(compiled.numpy(), expected.numpy(), rtol=1e-3, atol=1e-5)


def test_less_is_kept() -> None:
    """Of each layer one value is kept, not two: of those that fusion does not store as well."""
    step, _ = training(F.silu, layers=8)
    rows = max(rematerialise.LEAST_BYTES, storing.FAR) // (4 * WIDTH) + 1
    x = data(rows, WIDTH)
    value = 4 * rows * WIDTH
    assert step.memory(x).peak < 11.5 * value


def test_convolutions(least: int) -> None:
    fg.random.seed(4)
    model = nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.SiLU(), nn.Conv2d(6, 6, 3, padding=1), nn.SiLU()),
        nn.Conv2d(6, 3, 1),
    )
    x = data(2, 3, 9, 7)

    def run(x: Any) -> list[Any]:
        for p in model.parameters():
            p.grad = None
        (model(x) ** 2).sum().backward()
        return [p.grad for p in model.parameters()]

    found = [g.numpy() for g in fg.compile(run)(fg.asarray(x))]
    with fg.eager():
        expected = [g.numpy() for g in run(fg.asarray(x))]
    for actual, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-3, atol=1e-3)
