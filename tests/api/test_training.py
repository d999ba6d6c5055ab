"""Whole training steps: compiled equals eager, and what compiles them again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim

STEPS = 20

OPTIMIZERS: dict[str, Callable[[Any], optim.Optimizer]] = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, nesterov=True),
    "dampening": lambda p: optim.SGD(p, lr=0.05, momentum=0.9, dampening=0.5),
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "adam decay": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.01),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, lr=0.01),
}
MODELS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.Sequential(nn.Linear(12, 17), nn.ReLU(), nn.Linear(17, 5)),
    "norm": lambda: nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 5)),
}


def batches(count: int = STEPS, size: int = 9) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    pattern = rng.standard_normal((12, 5))
    pairs = []
    for _ in range(count):
        x = rng.standard_normal((size, 12)).astype(np.float32)
        pairs.append((x, (x @ pattern).argmax(1)))
    return pairs


def make(model: Callable[[], nn.Module], optimizer: Callable[[Any], optim.Optimizer]) -> Any:
    fg.random.seed(0)
    net = model()
    opt = optimizer(net.parameters())

    def step(x: Any, y: Any) -> Any:
        loss = F.cross_entropy(net(x), y)
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    return net, opt, step


def weights(net: nn.Module) -> dict[str, Any]:
    return {name: tensor.numpy().copy() for name, tensor in net.state_dict().items()}


def assert_close(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_compiled_equals_eager(model: str, optimizer: str) -> None:
    net, _, step = make(MODELS[model], OPTIMIZERS[optimizer])
    with fg.eager():
        expected = [float(step(x, y)) for x, y in batches()]
    twin, opt, function = make(MODELS[model], OPTIMIZERS[optimizer])
    compiled = fg.compile(function)
    losses = [float(compiled(x, y)) for x, y in batches()]
    np.testing.assert_allclose(losses, expected, rtol=2e-4, atol=2e-5)
    assert sum(losses[-5:]) < sum(losses[:5])
    assert_close(weights(twin), weights(net))
    assert compiled.stats().compiles == 1
    assert compiled.stats().hits == STEPS - 1
    if optimizer == "adam":
        assert float(opt.state_dict()["state"][0]["step"]) == STEPS


def test_recorded_equals_eager() -> None:
    net, _, step = make(MODELS["norm"], OPTIMIZERS["adam"])
    with fg.eager():
        for x, y in batches():
            step(x, y)
    twin, _, step = make(MODELS["norm"], OPTIMIZERS["adam"])
    for x, y in batches():
        step(x, y)
    assert_close(weights(twin), weights(net))


@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "adam", "adamw"])
def test_a_learning_rate_does_not_compile_again(optimizer: str) -> None:
    def train(wrap: Callable[[Any], Any]) -> tuple[Any, Any]:
        net, opt, step = make(MODELS["relu"], OPTIMIZERS[optimizer])
        scheduler = optim.CosineAnnealingLR(opt, STEPS)
        step = wrap(step)
        for x, y in batches():
            step(x, y)
            scheduler.step()
        return net, step

    compiled_net, compiled = train(fg.compile)
    assert compiled.stats().compiles == 1

    def eagerly(step: Any) -> Any:
        def run(x: Any, y: Any) -> None:
            with fg.eager():
                step(x, y)

        return run

    assert_close(weights(compiled_net), weights(train(eagerly)[0]))


@pytest.mark.parametrize("option", ["betas", "eps", "weight_decay"])
def test_other_numbers_do_not_compile_again(option: str) -> None:
    values = {"betas": (0.5, 0.6), "eps": 1e-2, "weight_decay": 0.5}
    results = []
    for compile_ in (True, False):
        net, opt, step = make(MODELS["relu"], OPTIMIZERS["adamw"])
        run = fg.compile(step) if compile_ else step
        for position, (x, y) in enumerate(batches(6)):
            if position == 3:
                opt.param_groups[0][option] = values[option]
            run(x, y)
        results.append(weights(net))
        if compile_:
            assert run.stats().compiles == 1
    assert_close(*results)


def test_a_weight_decay_from_zero_compiles_again() -> None:
    net, opt, step = make(MODELS["relu"], OPTIMIZERS["sgd"])
    compiled = fg.compile(step)
    twin, other, eager = make(MODELS["relu"], OPTIMIZERS["sgd"])
    for position, (x, y) in enumerate(batches(6)):
        if position == 3:
            opt.param_groups[0]["weight_decay"] = other.param_groups[0]["weight_decay"] = 0.1
        compiled(x, y)
        eager(x, y)
    assert compiled.stats().compiles == 2
    assert_close(weights(net), weights(twin))


def test_eval_compiles_again() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Dropout(0.5))
    predict = fg.compile(lambda x: net(x))
    x = np.ones((3, 4), np.float32)
    assert (predict(x).detach().numpy() == 0).any()
    assert (predict(x).detach().numpy() != predict(x).detach().numpy()).any()
    assert predict.stats().compiles == 1
    net.eval()
    first = predict(x).detach().numpy()
    np.testing.assert_allclose(first, net(x).detach().numpy(), rtol=1e-5, atol=1e-6)
    assert predict.stats().compiles == 2
    net.train()
    predict(x)
    net.train()
    predict(x)
    assert predict.stats().compiles <= 3


def test_adding_a_layer_compiles_again() -> None:
    net = nn.Sequential(nn.Linear(4, 4))
    predict = fg.compile(lambda x: net(x))
    x = np.ones((3, 4), np.float32)
    before = predict(x).detach().numpy()
    net.append(nn.ReLU())
    after = predict(x).detach().numpy()
    np.testing.assert_allclose(after, np.maximum(before, 0), rtol=1e-6)
    assert predict.stats().compiles == 2


def test_loading_a_state_is_seen_without_compiling() -> None:
    net, _, step = make(MODELS["relu"], OPTIMIZERS["adam"])
    start = net.state_dict()
    compiled = fg.compile(step)
    first = [float(compiled(x, y)) for x, y in batches(3)]
    after = net.state_dict()
    frozen = {name: tensor.numpy().copy() for name, tensor in after.items()}
    net.load_state_dict(start)
    assert float(compiled(*batches(1)[0])) == first[0]
    assert compiled.stats().compiles == 1
    for name, tensor in after.items():
        assert (tensor.numpy() == frozen[name]).all()


def test_state_dicts_survive_later_steps() -> None:
    net, opt, step = make(MODELS["relu"], OPTIMIZERS["adam"])
    compiled = fg.compile(step)
    for x, y in batches(2):
        compiled(x, y)
    saved, moments = net.state_dict(), opt.state_dict()["state"][0]["exp_avg"]
    frozen = {name: tensor.numpy().copy() for name, tensor in saved.items()}
    frozen_moments = moments.numpy().copy()
    for x, y in batches(3):
        compiled(x, y)
    for name, tensor in saved.items():
        assert (tensor.numpy() == frozen[name]).all()
    assert (moments.numpy() == frozen_moments).all()


def test_gradients_can_be_clipped_in_a_step() -> None:
    results = []
    for wrap in (fg.compile, lambda step: step):
        net, opt, _ = make(MODELS["relu"], OPTIMIZERS["sgd"])

        def step(x: Any, y: Any, net: Any = net, opt: Any = opt) -> Any:
            loss = F.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            norm = nn.utils.clip_grad_norm_(net.parameters(), 0.1)
            opt.step()
            return loss, norm

        run = wrap(step)
        norms = [float(run(x, y)[1]) for x, y in batches(5)]
        assert norms[0] > 0.1
        results.append(weights(net))
    assert_close(*results)


def test_an_embedding_learns() -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(11, 6, padding_idx=0)
            self.head = nn.Linear(6, 3)

        def forward(self, ids: Any) -> Any:
            return self.head(self.table(ids).mean(axis=1))

    rng = np.random.default_rng(0)
    ids, labels = rng.integers(0, 11, (8, 4)), rng.integers(0, 3, 8)
    results = []
    for wrap in (fg.compile, lambda step: step):
        net, _, step = make(Bag, OPTIMIZERS["adam"])
        run = wrap(step)
        losses = [float(run(ids, labels)) for _ in range(10)]
        assert losses[-1] < losses[0]
        assert net.table.weight.detach().numpy()[0].tolist() == [0] * 6
        results.append(weights(net))
    assert_close(*results)


# --- gradients across calls -----------------------------------------------------------------------


def test_a_gradient_that_was_replaced_is_seen() -> None:
    p = nn.Parameter([1.0, 2.0])
    opt = optim.SGD([p], lr=1.0)
    update = fg.compile(opt.step)
    for value in (0.5, 0.25):
        p.grad = fg.asarray([value, value])
        update()
    assert p.detach().numpy().tolist() == [0.25, 1.25]
    p.grad = None
    update()
    assert p.detach().numpy().tolist() == [0.25, 1.25]


def test_gradients_accumulate_over_calls() -> None:
    p = nn.Parameter([1.0, 2.0])
    collect = fg.compile(lambda x: (p * x).sum().backward())
    for _ in range(4):
        collect(np.array([1.0, 10.0], np.float32))
    assert p.grad is not None
    assert p.grad.numpy().tolist() == [4, 40]
    # Once for the first gradient, and once for adding to it.
    assert collect.stats().compiles == 2


@pytest.mark.parametrize("place", ["before", "after"])
def test_where_gradients_are_reset_makes_no_difference(place: str) -> None:
    p = nn.Parameter([1.0, 2.0])
    opt = optim.SGD([p], lr=0.5)

    def step(x: Any) -> None:
        if place == "before":
            opt.zero_grad()
        (p * x).sum().backward()
        opt.step()
        if place == "after":
            opt.zero_grad()

    run = fg.compile(step)
    for _ in range(3):
        run(np.array([1.0, 2.0], np.float32))
    assert p.detach().numpy().tolist() == [-0.5, -1.0]
    assert (p.grad is None) == (place == "after")
    assert run.stats().compiles == 1
