"""Further optimizers: updates against the published formulas, written again in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusegrad as fg
from fusegrad import nn, optim

Array = Any
Update = Callable[[Array, Array, dict[str, Any], int], Array]

STEPS = 7


def adagrad(lr: float = 1e-2, lr_decay: float = 0, eps: float = 1e-10) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["sum"] = s.get("sum", 0) + g * g
        return p - lr / (1 + (t - 1) * lr_decay) * g / (np.sqrt(s["sum"]) + eps)

    return update


def adadelta(lr: float = 1.0, rho: float = 0.9, eps: float = 1e-6) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["v"] = rho * s.get("v", 0) + (1 - rho) * g * g
        step = g * np.sqrt(s.get("d", 0) + eps) / np.sqrt(s["v"] + eps)
        s["d"] = rho * s.get("d", 0) + (1 - rho) * step * step
        return p - lr * step

    return update


def rmsprop(
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    momentum: float = 0,
    centered: bool = False,
) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["v"] = alpha * s.get("v", 0) + (1 - alpha) * g * g
        s["m"] = alpha * s.get("m", 0) + (1 - alpha) * g
        step = g / (np.sqrt(s["v"] - centered * s["m"] ** 2) + eps)
        s["b"] = momentum * s.get("b", 0) + step
        return p - lr * s["b"]

    return update


def rprop(
    lr: float = 1e-2,
    etas: tuple[float, float] = (0.5, 1.2),
    step_sizes: tuple[float, float] = (1e-6, 50),
) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        sign = np.sign(g * s.get("g", 0))
        factor = np.where(sign > 0, etas[1], np.where(sign < 0, etas[0], 1))
        s["size"] = np.clip(s.get("size", lr) * factor, *step_sizes)
        s["g"] = np.where(sign < 0, 0, g)
        return p - np.sign(s["g"]) * s["size"]

    return update


def adamax(
    lr: float = 2e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
        s["u"] = np.maximum(betas[1] * s.get("u", 0), abs(g) + eps)
        return p - lr / (1 - betas[0] ** t) * s["m"] / s["u"]

    return update


def nadam(
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
    momentum_decay: float = 4e-3,
) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        now, after = (betas[0] * (1 - 0.5 * 0.96 ** (k * momentum_decay)) for k in (t, t + 1))
        s["product"] = s.get("product", 1) * now
        s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
        s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
        mean = (1 - now) * g / (1 - s["product"]) + after * s["m"] / (1 - s["product"] * after)
        return p - lr * mean / (np.sqrt(s["v"] / (1 - betas[1] ** t)) + eps)

    return update


def radam(lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        s["m"] = betas[0] * s.get("m", 0) + (1 - betas[0]) * g
        s["v"] = betas[1] * s.get("v", 0) + (1 - betas[1]) * g * g
        limit = 2 / (1 - betas[1]) - 1
        length = limit - 2 * t * betas[1] ** t / (1 - betas[1] ** t)
        mean = s["m"] / (1 - betas[0] ** t)
        if length <= 5:
            return p - lr * mean
        top, bottom = (length - 4) * (length - 2) * limit, (limit - 4) * (limit - 2) * length
        deviation = (np.sqrt(s["v"]) + eps) / np.sqrt(1 - betas[1] ** t)
        return p - lr * mean * np.sqrt(top / bottom) / deviation

    return update


def asgd(lr: float = 1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6) -> Update:
    def update(p: Array, g: Array, s: dict[str, Any], t: int) -> Array:
        eta = s.get("eta", lr)
        s["eta"] = lr / (1 + lambd * lr * t) ** alpha
        return p * (1 - lambd * eta) - eta * g

    return update


CASES: list[tuple[Any, Callable[..., Update], dict[str, Any]]] = [
    (optim.Adagrad, adagrad, {}),
    (optim.Adagrad, adagrad, {"lr": 0.1, "lr_decay": 0.5}),
    (optim.Adadelta, adadelta, {}),
    (optim.Adadelta, adadelta, {"lr": 0.5, "rho": 0.5}),
    (optim.RMSprop, rmsprop, {}),
    (optim.RMSprop, rmsprop, {"lr": 0.1, "momentum": 0.5, "centered": True}),
    (optim.Rprop, rprop, {}),
    (optim.Rprop, rprop, {"lr": 0.3, "etas": (0.4, 1.5), "step_sizes": (0.1, 0.5)}),
    (optim.Adamax, adamax, {}),
    (optim.Adamax, adamax, {"lr": 0.1, "betas": (0.5, 0.8), "eps": 1e-3}),
    (optim.NAdam, nadam, {}),
    (optim.NAdam, nadam, {"lr": 0.1, "momentum_decay": 0.5}),
    (optim.RAdam, radam, {}),
    (optim.RAdam, radam, {"lr": 0.1, "betas": (0.5, 0.8)}),
    (optim.ASGD, asgd, {"lr": 0.1, "lambd": 0.1}),
]
COMPILED = [case for case in CASES if case[2]]


def check(
    kind: Any, reference: Any, options: dict[str, Any], dtype: str, wrap: Callable[[Any], Any]
) -> None:
    rng = np.random.default_rng(0)
    expected = [rng.standard_normal(shape).astype(dtype).astype(float) for shape in [(3, 4), ()]]
    parameters = [nn.Parameter(value.astype(dtype)) for value in map(np.asarray, expected)]
    decay = 0.0 if kind is optim.Rprop else 0.1
    optimizer = kind(parameters, **options, **({"weight_decay": decay} if decay else {}))

    def step(*gradients: Any) -> None:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        optimizer.step()
        optimizer.zero_grad()

    run = wrap(step)
    update = reference(**options)
    states: list[dict[str, Any]] = [{}, {}]
    for t in range(1, STEPS + 1):
        gradients = [rng.standard_normal(value.shape).astype(dtype) for value in expected]
        run(*[fg.asarray(gradient) for gradient in gradients])
        expected = [
            update(value, gradient.astype(float) + decay * value, state, t)
            for value, gradient, state in zip(expected, gradients, states, strict=True)
        ]
    for parameter, value in zip(parameters, expected, strict=True):
        assert parameter.dtype.name == dtype
        assert parameter.is_leaf
        tolerance = 4e-6 if dtype == "float32" else 1e-12
        np.testing.assert_allclose(parameter.detach().numpy(), value, tolerance, tolerance)


@pytest.mark.parametrize(("kind", "reference", "options"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates(kind: Any, reference: Any, options: dict[str, Any], dtype: str) -> None:
    check(kind, reference, options, dtype, lambda f: f)


@pytest.mark.parametrize(("kind", "reference", "options"), COMPILED)
def test_compiled_updates(kind: Any, reference: Any, options: dict[str, Any]) -> None:
    check(kind, reference, options, "float32", fg.compile)


@pytest.mark.parametrize(("kind", "_", "options"), COMPILED)
def test_a_saved_optimizer_goes_on(kind: Any, _: Any, options: dict[str, Any]) -> None:
    def steps(optimizer: Any, p: Any, count: int) -> None:
        for _ in range(count):
            p.grad = p.detach() * 2 + 1
            optimizer.step()

    p, q = nn.Parameter([1.0, -2.0]), nn.Parameter([0.0, 0.0])
    first, second = kind([p], **options), kind([q], **options)
    steps(first, p, 3)
    second.load_state_dict(first.state_dict())
    with fg.no_grad():
        q.copy_(p)
    steps(first, p, 3)
    steps(second, q, 3)
    assert p.tolist() == q.tolist()


@pytest.mark.parametrize("kind", sorted({case[0] for case in CASES}, key=lambda k: k.__name__))
def test_halves_are_updated_in_single_precision(kind: Any) -> None:
    p = nn.Parameter(fg.ones(4, dtype="float16"))
    optimizer = kind([p], maximize=True)
    p.grad = fg.ones(4, dtype="float16")
    optimizer.step()
    assert p.dtype is fg.float16
    kept = [t for t in optimizer.state[p].values() if t.ndim]
    assert {t.dtype for t in kept} == {fg.float32}
    assert all(value >= 1 for value in p.tolist())


def test_averages_of_iterates() -> None:
    p = nn.Parameter([1.0])
    optimizer = optim.ASGD([p], lr=0.1, lambd=0.0, t0=1)
    seen = []
    for _ in range(5):
        p.grad = fg.asarray([1.0])
        optimizer.step()
        seen.append(p.item())
    # The first three iterates are the average.
    assert optimizer.state[p]["ax"].item() == pytest.approx(np.mean(seen[2:]), rel=1e-6)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: optim.Adagrad(p, lr_decay=-1), "lr_decay is -1, and cannot be negative"),
        (lambda p: optim.Adadelta(p, rho=2), "rho lies between 0 and 1, 2 does not"),
        (lambda p: optim.RMSprop(p, alpha=-1), "alpha is -1, and cannot be negative"),
        (lambda p: optim.Rprop(p, etas=(2, 3)), "one number below 1 and one above, not 2 and 3"),
        (lambda p: optim.NAdam(p, betas=(1.0, 0.9)), "betas lie between 0 and 1, 1.0 does not"),
    ],
)
def test_options_that_make_no_sense(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make([nn.Parameter([1.0])])
