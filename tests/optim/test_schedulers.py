"""Learning rates by epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from fusegrad import nn, optim, state

EPOCHS = 12

CASES: list[tuple[Callable[[Any], Any], Callable[[int], float]]] = [
    (lambda o: optim.StepLR(o, 3, gamma=0.5), lambda t: 0.5 ** (t // 3)),
    (
        lambda o: optim.CosineAnnealingLR(o, EPOCHS),
        lambda t: (1 + math.cos(math.pi * t / EPOCHS)) / 2,
    ),
    (lambda o: optim.LambdaLR(o, lambda t: 1 / (t + 1)), lambda t: 1 / (t + 1)),
    (
        lambda o: optim.LinearLR(o, start_factor=0.25, total_iters=4),
        lambda t: 0.25 + 0.75 * min(t, 4) / 4,
    ),
]


def sgd() -> optim.SGD:
    groups: list[dict[str, Any]] = [
        {"params": [nn.Parameter([1.0])]},
        {"params": [nn.Parameter([1.0])], "lr": 2.0},
    ]
    return optim.SGD(groups, lr=1.0)


@pytest.mark.parametrize(("make", "expected"), CASES)
def test_schedules(make: Callable[[Any], Any], expected: Callable[[int], float]) -> None:
    optimizer = sgd()
    scheduler = make(optimizer)
    version = state.version()
    for epoch in range(EPOCHS):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([expected(epoch), 2 * expected(epoch)])
        assert scheduler.get_last_lr() == rates
        scheduler.step()
    assert state.version() == version


@pytest.mark.parametrize(("make", "expected"), CASES)
def test_schedules_can_go_on(make: Callable[[Any], Any], expected: Callable[[int], float]) -> None:
    first = make(sgd())
    for _ in range(5):
        first.step()
    optimizer = sgd()
    second = make(optimizer)
    second.load_state_dict(first.state_dict())
    second.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected(6))


def test_the_lowest_rate() -> None:
    optimizer = sgd()
    scheduler = optim.CosineAnnealingLR(optimizer, 4, eta_min=0.5)
    for _ in range(4):
        scheduler.step()
    assert scheduler.get_last_lr() == pytest.approx([0.5, 0.5])


def test_starting_at_an_epoch() -> None:
    optimizer = sgd()
    with pytest.raises(KeyError, match="need an 'initial_lr'"):
        optim.StepLR(optimizer, 2, last_epoch=3)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    optim.StepLR(optimizer, 2, last_epoch=3)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)


def test_one_function_for_each_group() -> None:
    optimizer = sgd()
    optim.LambdaLR(optimizer, [lambda t: 0.5, lambda t: 0.25])
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]
    with pytest.raises(ValueError, match="1 functions are given for 2 groups"):
        optim.LambdaLR(optimizer, [lambda t: 0.5])


def test_factors_are_checked() -> None:
    with pytest.raises(ValueError, match="lie between 0 and 1"):
        optim.LinearLR(sgd(), start_factor=0.0)
