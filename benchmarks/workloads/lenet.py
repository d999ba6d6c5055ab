"""A training step of LeNet, with sigmoids and average pooling, and Adam.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Torch
from benchmarks.workload import Inputs, Tolerance, Work, Workload

from .numpy_images import average_pool, convolution, linear, sigmoid
from .training import Arrays, adam_steps, jax_cross_entropy, numpy_cross_entropy

CHANNELS, WIDTHS = (1, 6, 16), (120, 84, 10)


def _flat(size: int) -> int:
    """Elements of the last image."""
    return CHANNELS[2] * ((size // 2 - 4) // 2) ** 2


def _shapes(size: int) -> dict[str, tuple[int, ...]]:
    first, second, third = CHANNELS
    return {
        "c1": (second, first, 5, 5),
        "c2": (third, second, 5, 5),
        "f1": (WIDTHS[0], _flat(size)),
        "f2": (WIDTHS[1], WIDTHS[0]),
        "f3": (WIDTHS[2], WIDTHS[1]),
    }


def _inputs(generator: np.random.Generator, batch: int, size: int) -> Inputs:
    arrays: Inputs = {
        "x": generator.standard_normal((batch, 1, size, size), dtype=np.float32),
        "labels": generator.integers(0, WIDTHS[-1], batch),
    }
    for name, shape in _shapes(size).items():
        bound = float(np.prod(shape[1:])) ** -0.5
        for part, extents in (("weight", shape), ("bias", shape[:1])):
            arrays[f"{name}.{part}"] = generator.uniform(-bound, bound, extents).astype(np.float32)
    return arrays


def _work(batch: int, size: int) -> Work:
    """Count three products of each weight; the first layer needs no input gradient."""
    places = {"c1": size**2, "c2": (size // 2 - 4) ** 2}
    products = {n: int(np.prod(s)) * places.get(n, 1) for n, s in _shapes(size).items()}
    parameters = sum(int(np.prod(s)) + s[0] for s in _shapes(size).values())
    flops = 2 * batch * (3 * sum(products.values()) - products["c1"])
    return Work(moved=4 * (6 * parameters + batch * size**2) + 8 * batch, flops=flops)


def _model(library: Fused | Torch, parameters: Arrays) -> Any:
    nn, functional = library.nn, library.functional
    flat = parameters["f1.weight"].shape[1]

    class Model(nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.c1 = nn.Conv2d(CHANNELS[0], CHANNELS[1], 5, padding=2)
            self.c2 = nn.Conv2d(CHANNELS[1], CHANNELS[2], 5)
            self.f1 = nn.Linear(flat, WIDTHS[0])
            self.f2 = nn.Linear(WIDTHS[0], WIDTHS[1])
            self.f3 = nn.Linear(WIDTHS[1], WIDTHS[2])
            self.act, self.pool, self.flatten = nn.Sigmoid(), nn.AvgPool2d(2), nn.Flatten()

        def forward(self, x: Any, labels: Any) -> Any:
            x = self.pool(self.act(self.c1(x)))
            x = self.flatten(self.pool(self.act(self.c2(x))))
            x = self.f3(self.act(self.f2(self.act(self.f1(x)))))
            return functional.cross_entropy(x, labels)

    return Model()


def _jax_loss(jax: Any, parameters: Arrays, data: Arrays) -> Any:
    p, x = parameters, data["x"]
    for name, padding in (("c1", 2), ("c2", 0)):
        x = jax.lax.conv_general_dilated(x, p[f"{name}.weight"], (1, 1), [(padding, padding)] * 2)
        x = jax.nn.sigmoid(x + p[f"{name}.bias"][:, None, None])
        x = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") / 4
    x = x.reshape(len(x), -1)
    for name in ("f1", "f2"):
        x = jax.nn.sigmoid(x @ p[f"{name}.weight"].T + p[f"{name}.bias"])
    return jax_cross_entropy(jax, x @ p["f3.weight"].T + p["f3.bias"], data["labels"])


def _numpy_gradients(parameters: Arrays, data: Arrays) -> tuple[Any, Arrays]:
    p, x = parameters, data["x"]
    layers = []
    for name, padding in (("c1", 2), ("c2", 0)):
        y, by_product = convolution(x, p[f"{name}.weight"], padding=padding)
        y, by_sum = sigmoid(y + p[f"{name}.bias"][:, None, None])
        x, by_pool = average_pool(y)
        layers.append((name, by_product, by_sum, by_pool))
    shape = x.shape
    x = x.reshape(len(x), -1)
    dense = []
    for name in ("f1", "f2", "f3"):
        x, by_product = linear(x, p[f"{name}.weight"], p[f"{name}.bias"])
        activation: Any = None
        if name != "f3":
            x, activation = sigmoid(x)
        dense.append((name, by_product, activation))
    loss, delta = numpy_cross_entropy(x, data["labels"])
    gradients: Arrays = {}
    for name, by_product, activation in reversed(dense):
        delta = activation(delta) if activation is not None else delta
        delta, gradients[f"{name}.weight"], gradients[f"{name}.bias"] = by_product(delta)
    delta = delta.reshape(shape)
    for name, by_product, by_sum, by_pool in reversed(layers):
        delta = by_sum(by_pool(delta))
        gradients[f"{name}.bias"] = delta.sum((0, 2, 3))
        delta, gradients[f"{name}.weight"] = by_product(delta)
    return loss, gradients


WORKLOAD = Workload(
    name="lenet",
    title="LeNet, batch 128 of 28x28, Adam step",
    sizes={"full": {"batch": 128, "size": 28}, "small": {"batch": 3, "size": 12}},
    inputs=_inputs,
    work=_work,
    builders=adam_steps(_numpy_gradients, _model, _jax_loss),
    steps=3,
    tolerance=Tolerance(relative=1e-3, scaled=1e-4, outliers=2e-2),
)
