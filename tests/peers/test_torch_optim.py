"""Optimizers and schedules against torch's own, recorded and compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim

torch = pytest.importorskip("torch", reason="torch is not installed")
pytestmark = pytest.mark.peers

STEPS = 8

OPTIMIZERS: list[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "maximize": True}),
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "maximize": True}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.3, "amsgrad": True}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("Adadelta", {"lr": 0.5, "rho": 0.5, "weight_decay": 0.1}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("Rprop", {"lr": 0.3, "etas": (0.4, 1.5), "step_sizes": (0.1, 0.5), "maximize": True}),
    ("Adamax", {"lr": 0.1, "weight_decay": 0.1}),
    ("NAdam", {}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("RAdam", {}),
    ("RAdam", {"lr": 0.1, "betas": (0.5, 0.8), "weight_decay": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "t0": 3, "weight_decay": 0.1}),
]
SCHEDULERS: list[tuple[str, dict[str, Any]]] = [
    ("StepLR", {"step_size": 3}),
    ("CosineAnnealingLR", {"T_max": STEPS, "eta_min": 0.01}),
    ("LambdaLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("LinearLR", {"total_iters": 5}),
    ("MultiStepLR", {"milestones": [2, 5, 5]}),
    ("ExponentialLR", {"gamma": 0.7}),
    ("ConstantLR", {"factor": 0.2, "total_iters": 3}),
    ("PolynomialLR", {"power": 2.0, "total_iters": 6}),
    ("MultiplicativeLR", {"lr_lambda": lambda t: 1 / (1 + t)}),
    ("CosineAnnealingWarmRestarts", {"T_0": 2, "T_mult": 2, "eta_min": 0.01}),
    (
        "CyclicLR",
        {"base_lr": 0.1, "max_lr": 1.0, "step_size_up": 3, "mode": "triangular2"}
        | {"cycle_momentum": False},
    ),
    ("OneCycleLR", {"max_lr": 1.0, "total_steps": STEPS + 2, "three_phase": True}),
]


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates(name: str, options: dict[str, Any], compiled: bool, dtype: str) -> None:
    rng = np.random.default_rng(0)
    start = [rng.standard_normal(shape).astype(dtype) for shape in [(5, 7), (3,), ()]]
    own = [nn.Parameter(value) for value in start]
    peer = [torch.nn.Parameter(torch.tensor(value)) for value in start]
    optimizer = getattr(optim, name)(own, **options)
    other = getattr(torch.optim, name)(peer, **options)

    def step(*gradients: Any) -> None:
        for parameter, gradient in zip(own, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()

    run = fg.compile(step) if compiled else step
    for _ in range(STEPS):
        gradients = [rng.standard_normal(value.shape).astype(dtype) for value in start]
        run(*[fg.asarray(gradient) for gradient in gradients])
        for parameter, gradient in zip(peer, gradients, strict=True):
            parameter.grad = torch.tensor(gradient)
        other.step()
    # Rates that torch keeps in its state are float32 there.
    rounded = name in ("NAdam", "ASGD")
    tolerance = 2e-6 if dtype == "float32" else 1e-6 if rounded else 1e-13
    for one, two in zip(own, peer, strict=True):
        expected = two.detach().numpy()
        np.testing.assert_allclose(one.detach().numpy(), expected, tolerance, tolerance)
    if compiled:
        assert run.stats().compiles == 1


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS)
def test_defaults_and_state(name: str, options: dict[str, Any]) -> None:
    value = np.ones(3, np.float32)
    own, peer = nn.Parameter(value), torch.nn.Parameter(torch.tensor(value))
    optimizer = getattr(optim, name)([own], **options)
    other = getattr(torch.optim, name)([peer], **options)
    group, expected = optimizer.param_groups[0], other.param_groups[0]
    assert {key: expected[key] for key in group if key != "params"} == {
        key: group[key] for key in group if key != "params"
    }
    own.grad, peer.grad = fg.asarray(value), torch.tensor(value)
    for _ in range(3):
        other.step()
    saved = other.state_dict()
    saved["state"] = {
        key: {n: t if t is None else t.numpy() for n, t in entry.items()}
        for key, entry in saved["state"].items()
    }
    optimizer.load_state_dict(saved)
    with fg.no_grad():
        own.copy_(peer.detach().numpy())
    if options.get("dampening"):
        # torch tells a first step by the lack of a buffer, and saves no count.
        optimizer.param_groups[0].step.fill_(3)
    optimizer.step()
    other.step()
    np.testing.assert_allclose(own.detach().numpy(), peer.detach().numpy(), 2e-6, 2e-6)


@pytest.mark.parametrize(("name", "options"), SCHEDULERS)
def test_schedules(name: str, options: dict[str, Any]) -> None:
    optimizer = optim.SGD([nn.Parameter([1.0])], lr=0.5)
    other = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.5)
    scheduler = getattr(optim.lr_scheduler, name)(optimizer, **options)
    peer = getattr(torch.optim.lr_scheduler, name)(other, **options)
    for _ in range(STEPS):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(other.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
        other.step()
        peer.step()


@pytest.mark.parametrize("kind", [1.0, 2.0, float("inf")])
def test_clipping(kind: float) -> None:
    gradients = [np.array([3.0, -1.0], np.float32), np.array([[2.0]], np.float32)]
    own = [nn.Parameter(np.zeros_like(g)) for g in gradients]
    peer = [torch.nn.Parameter(torch.zeros(*g.shape)) for g in gradients]
    for one, two, gradient in zip(own, peer, gradients, strict=True):
        one.grad, two.grad = fg.asarray(gradient), torch.tensor(gradient)
    norm = nn.utils.clip_grad_norm_(own, 1.0, kind)
    expected = torch.nn.utils.clip_grad_norm_(peer, 1.0, kind)
    assert float(norm) == pytest.approx(float(expected))
    for one, two in zip(own, peer, strict=True):
        assert one.grad is not None
        np.testing.assert_allclose(one.grad.numpy(), two.grad.numpy(), 1e-6)
