"""Calls on a GPU that come again: the fast path gives what the general one gives, to everybody."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
import fusegrad.nn.functional as F
from fusegrad import nn, optim
from fusegrad.runtime.simulated import SimulatedDriver
from fusegrad.testing import simulated_gpus


@pytest.fixture
def gpu() -> Iterator[SimulatedDriver]:
    with simulated_gpus(2) as driver:
        yield driver
        gc.collect()


def values(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def fast(function: Any) -> int:
    """How many calls were answered fast."""
    return int(function._fast.hits)


def test_results_that_are_kept_stay(gpu: SimulatedDriver) -> None:
    f = fg.compile(lambda x: (x + 1, x * 2))
    arrays = [values(5, seed=n) for n in range(12)]
    kept = [f(fg.asarray(a).cuda()) for a in arrays]
    for a, (one, two) in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(one.cpu().numpy(), a + 1)
        np.testing.assert_array_equal(two.cpu().numpy(), a * 2)
    assert fast(f) >= 9


def test_memory_of_results_is_used_again(gpu: SimulatedDriver) -> None:
    f = fg.compile(lambda x: x + 1)
    x = fg.asarray(values(1000)).cuda()
    result = None
    for _ in range(10):
        result = f(x)
    before = fg.cuda.memory_allocated(), gpu.log.count("allocate"), gpu.log.count("capture")
    for _ in range(20):
        result = f(x)
    assert (
        fg.cuda.memory_allocated(),
        gpu.log.count("allocate"),
        gpu.log.count("capture"),
    ) == before
    assert gpu.log[-1] == "replay"
    del result


def trained(device: str, look: Any = None, steps: int = 8) -> list[Any]:
    fg.random.seed(3)
    net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Dropout(0.25), nn.Linear(8, 3)).to(device)
    opt = optim.Adam(net.parameters(), lr=0.02)

    @fg.compile
    def step(x: Any, y: Any, scale: float) -> Any:
        loss = F.cross_entropy(net(x), y) * scale
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    seen: list[Any] = []
    for n in range(steps):
        x, y = values(4, 6, seed=n), np.arange(4) % 3
        if look is not None:
            look(n, net, opt, seen)
        seen.append(step(x, y, 1.0 + n / 8))
    if device != "cpu":
        assert fast(step) >= 3
    return [np.asarray(t.cpu().numpy()) for t in (*seen, *net.parameters())]


def agree(found: list[Any], expected: list[Any]) -> None:
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_training(gpu: SimulatedDriver) -> None:
    agree(trained("cuda"), trained("cpu"))


def test_others_keep_old_parameters_and_gradients(gpu: SimulatedDriver) -> None:
    def look(n: int, net: Any, opt: Any, seen: list[Any]) -> None:
        weight = net[0].weight
        if n in (4, 5):
            seen += [weight.detach(), weight.grad.detach(), weight * 2]

    agree(trained("cuda", look), trained("cpu", look))


def test_what_changes_between_calls_is_seen(gpu: SimulatedDriver) -> None:
    def look(n: int, net: Any, opt: Any, seen: list[Any]) -> None:
        if n == 4:
            opt.param_groups[0]["lr"] = 0.1
        if n == 5:
            with fg.no_grad():
                net[0].weight.mul_(0.5)
        if n == 6:
            net[3].bias.grad = None

    agree(trained("cuda", look), trained("cpu", look))


def test_signatures_in_turn(gpu: SimulatedDriver) -> None:
    w = fg.asarray(values(4)).cuda()
    f = fg.compile(lambda x, n: (x * w + n).sum())
    for n in range(24):
        x = values(3 + n % 3, 4, seed=n)
        found = f(fg.asarray(x).cuda() if n % 2 else x, float(n))
        expected = (x.astype("float64") * w.cpu().numpy() + n).sum()
        np.testing.assert_allclose(float(found), expected, rtol=1e-5)
    assert fast(f) >= 3


def test_training_and_evaluation_in_turn(gpu: SimulatedDriver) -> None:
    w = fg.asarray(values(4)).cuda().requires_grad_()
    opt = optim.SGD([w], lr=0.1)

    @fg.compile
    def step(x: Any) -> Any:
        loss = ((x * w) ** 2).sum()
        opt.zero_grad()
        loss.backward()
        opt.step()
        return loss

    evaluate = fg.compile(lambda x: (x * w).sum())
    x = fg.asarray(values(4, seed=1)).cuda()
    for _ in range(4):
        step(x)
        evaluate(x)
    before = gpu.log.count("capture"), fast(step), fast(evaluate)
    place = w.__cuda_array_interface__["data"] if not w.requires_grad else None
    for _ in range(4):
        step(x)
        evaluate(x)
    assert place is None
    assert (gpu.log.count("capture"), fast(step), fast(evaluate)) == (
        before[0],
        before[1] + 4,
        before[2] + 4,
    )


def test_other_devices_dtypes_and_kinds(gpu: SimulatedDriver) -> None:
    f = fg.compile(lambda x: x * 3)
    given: list[Any] = [values(4), values(4), values(4), values(4).astype("float64")]
    given += [fg.asarray(values(4)).cuda() for _ in range(3)]
    w = fg.asarray(values(4)).cuda()
    g = fg.compile(lambda x: x * w)
    for x in given:
        f(x)
        expected = np.asarray(x.cpu().numpy() if isinstance(x, fg.Tensor) else x) * values(4)
        np.testing.assert_allclose(g(x).cpu().numpy(), expected, rtol=1e-6)
    with pytest.raises(fg.errors.DeviceError):
        g(fg.asarray(values(4)).to("cuda:1"))
    w.copy_(w * 2)
    np.testing.assert_allclose(g(given[-1]).cpu().numpy(), values(4) ** 2 * 2, rtol=1e-6)


def test_nothing_is_held_that_nobody_needs(gpu: SimulatedDriver) -> None:
    f = fg.compile(lambda x: x + 1)
    f(fg.asarray(values(1 << 19)).cuda())
    f(values(3))
    x = fg.asarray(values(1 << 19)).cuda()
    for _ in range(6):
        f(x)
    node = weakref.ref(x._node)
    del x
    gc.collect()
    assert node() is None
    assert fg.cuda.memory_allocated() < 1 << 20
