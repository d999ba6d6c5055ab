"""Further learning rates by epoch, cycles of the momentum, and schedules made of others."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from fusegrad import nn, optim
from fusegrad.optim import lr_scheduler

EPOCHS = 12


def sgd(**options: Any) -> optim.SGD:
    groups: list[dict[str, Any]] = [
        {"params": [nn.Parameter([1.0])]},
        {"params": [nn.Parameter([1.0])], "lr": 2.0},
    ]
    return optim.SGD(groups, lr=1.0, **options)


CASES: list[tuple[Callable[[Any], Any], Callable[[int], float]]] = [
    (lambda o: lr_scheduler.ExponentialLR(o, 0.5), lambda t: 0.5**t),
    (
        lambda o: lr_scheduler.MultiStepLR(o, [4, 2, 4], gamma=0.5),
        lambda t: 0.5 ** ((t >= 2) + 2 * (t >= 4)),
    ),
    (lambda o: lr_scheduler.ConstantLR(o, 0.25, 3), lambda t: 0.25 if t < 3 else 1.0),
    (lambda o: lr_scheduler.PolynomialLR(o, 8, 2.0), lambda t: max(1 - t / 8, 0) ** 2),
    (
        lambda o: lr_scheduler.MultiplicativeLR(o, lambda t: 1 / (1 + t)),
        lambda t: 1 / math.factorial(t + 1),
    ),
    (
        lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
        lambda t: (
            [1, 0.5, 1, 0.853553, 0.5, 0.146447][t]
            if t < 6
            else (1 + math.cos(math.pi * (t - 6) / 8)) / 2
        ),
    ),
    (
        lambda o: lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(o, 0.25, 3), lr_scheduler.ExponentialLR(o, 0.5)]
        ),
        lambda t: (0.25 if t < 3 else 1.0) * 0.5**t,
    ),
    (
        lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.ConstantLR(o, 0.25, 9), lr_scheduler.ExponentialLR(o, 0.5)], [4]
        ),
        lambda t: 0.25 if t < 4 else 0.5 ** (t - 4),
    ),
]


@pytest.mark.parametrize(("make", "expected"), CASES)
def test_schedules(make: Callable[[Any], Any], expected: Callable[[int], float]) -> None:
    optimizer = sgd()
    scheduler = make(optimizer)
    for epoch in range(EPOCHS):
        rates = [group["lr"] for group in optimizer.param_groups]
        assert rates == pytest.approx([expected(epoch), 2 * expected(epoch)], rel=1e-5)
        assert scheduler.get_last_lr() == rates
        scheduler.step()


@pytest.mark.parametrize(("make", "expected"), CASES)
def test_schedules_can_go_on(make: Callable[[Any], Any], expected: Callable[[int], float]) -> None:
    first = make(sgd())
    for _ in range(5):
        first.step()
    optimizer = sgd()
    second = make(optimizer)
    second.load_state_dict(first.state_dict())
    second.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(expected(6), rel=1e-5)


def test_a_schedule_of_ones_own() -> None:
    class Halves(optim.LRScheduler):
        def get_lr(self) -> list[float]:
            return [base / 2 for base in self.base_lrs]

    optimizer = sgd()
    Halves(optimizer)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 1.0]
    with pytest.raises(NotImplementedError, match="LRScheduler defines neither get_lr nor _rate"):
        optim.LRScheduler(optimizer)


def test_cycles() -> None:
    optimizer = sgd(momentum=0.5)
    scheduler = lr_scheduler.CyclicLR(optimizer, 0.0, 1.0, 2, 4, "triangular2")
    rates, momenta = [], []
    for _ in range(EPOCHS):
        rates.append(optimizer.param_groups[1]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        scheduler.step()
    up_and_down = [0, 0.5, 1, 0.75, 0.5, 0.25]
    assert rates == pytest.approx([*up_and_down, *[height / 2 for height in up_and_down]])
    assert momenta == pytest.approx([0.9 - 0.1 * rate for rate in rates])
    falling = lr_scheduler.CyclicLR(
        sgd(), 0.0, [1.0, 3.0], 1, mode="exp_range", gamma=0.5, cycle_momentum=False
    )
    falling.step()
    assert falling.get_last_lr() == [0.5, 1.5]


@pytest.mark.parametrize("three", [False, True])
def test_one_cycle(three: bool) -> None:
    optimizer = optim.Adam([nn.Parameter([1.0])])
    scheduler = lr_scheduler.OneCycleLR(
        optimizer, 1.0, epochs=5, steps_per_epoch=2, anneal_strategy="linear", three_phase=three
    )
    rates, betas = [], []
    for _ in range(10):
        rates.append(optimizer.param_groups[0]["lr"])
        betas.append(optimizer.param_groups[0]["betas"][0])
        scheduler.step()
    assert rates[0] == pytest.approx(1 / 25)
    assert rates[2] == pytest.approx(1.0)
    assert rates[4 if three else 9] == pytest.approx(1 / 25 if three else 4e-6)
    assert rates[9] == pytest.approx(4e-6)
    assert (betas[0], betas[2], betas[9]) == pytest.approx((0.95, 0.85, 0.95))
    scheduler.step(10)
    with pytest.raises(ValueError, match="step 11 of a schedule of 10 steps"):
        scheduler.step()


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateaus(mode: Any) -> None:
    power = 1 if mode == "min" else -1
    optimizer = sgd()
    scheduler = lr_scheduler.ReduceLROnPlateau(
        optimizer, mode, factor=0.5, patience=1, cooldown=2, min_lr=[0.3, 0.0]
    )
    rates = []
    for loss in [3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0]:
        scheduler.step(loss**power)
        rates.append(scheduler.get_last_lr()[0])
    assert rates == [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.3, 0.3, 0.3, 0.3]
    again = lr_scheduler.ReduceLROnPlateau(sgd(), mode)
    again.load_state_dict(scheduler.state_dict())
    assert (again.best, again.last_epoch) == (1.0, 11)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.ConstantLR(o, 2.0), "factor lies between 0 and 1, 2.0 does not"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), "at least 1, not 0"),
        (lambda o: lr_scheduler.CyclicLR(o, 0, 1, mode="up"), "unless scale_fn is given"),
        (lambda o: lr_scheduler.CyclicLR(o, 0, [1.0]), "max_lr has 1 numbers for 2 groups"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0), "pass total_steps, or epochs"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 0), "total_steps is at least 1, not 0"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 9, pct_start=2), "pct_start lies between"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 9, anneal_strategy="x"), "'cos' or 'linear'"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1), "factor is less than 1, not 1"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, "up"), "mode is 'min' or 'max', not 'up'"),
        (lambda o: lr_scheduler.ChainedScheduler([]), "needs at least one schedule"),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [1]),
            "1 schedules have 0 milestones between them, not 1",
        ),
        (
            lambda o: lr_scheduler.ChainedScheduler(
                [lr_scheduler.StepLR(x, 1) for x in (o, sgd())]
            ),
            "the schedules of ChainedScheduler are of different optimizers",
        ),
        (
            lambda o: lr_scheduler.CyclicLR(optim.Adagrad([nn.Parameter([1.0])]), 0, 1),
            "Adagrad has no momentum to cycle",
        ),
    ],
)
def test_options_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(sgd())
