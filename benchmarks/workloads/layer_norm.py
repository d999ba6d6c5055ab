"""Layer norm forward and backward: the gradients of a weighted sum of its output.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Library, Torch
from benchmarks.workload import Inputs, Task, Work, Workload

EPSILON = 1e-5
NAMES = ("x", "weights", "gamma", "beta")


def _inputs(generator: np.random.Generator, rows: int, columns: int) -> Inputs:
    return {
        "x": generator.standard_normal((rows, columns), dtype=np.float32),
        "weights": generator.standard_normal((rows, columns), dtype=np.float32),
        "gamma": generator.standard_normal(columns, dtype=np.float32),
        "beta": generator.standard_normal(columns, dtype=np.float32),
    }


def _work(rows: int, columns: int) -> Work:
    return Work(moved=12 * rows * columns + 16 * columns)


def _numpy(library: Library, inputs: Inputs) -> Task:
    def gradients(
        x: np.ndarray, weights: np.ndarray, gamma: np.ndarray, beta: np.ndarray
    ) -> tuple[np.ndarray, ...]:
        centred = x - x.mean(axis=1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=1, keepdims=True) + EPSILON)
        normal = centred / deviation
        d_normal = weights * gamma
        d_x = d_normal - d_normal.mean(axis=1, keepdims=True)
        d_x -= normal * (d_normal * normal).mean(axis=1, keepdims=True)
        d_x /= deviation
        return d_x, (weights * normal).sum(axis=0), weights.sum(axis=0)

    return library.task(gradients, *(inputs[name] for name in NAMES))


def _fusegrad(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Fused)
    fg, functional = library.module, library.functional

    def loss(x: Any, weights: Any, gamma: Any, beta: Any) -> Any:
        y = functional.layer_norm(x, gamma.shape, gamma, beta, EPSILON)
        return fg.sum(y * weights)

    gradients = fg.grad(loss, argnums=(0, 2, 3))
    return library.task(gradients, *(inputs[name] for name in NAMES))


def _torch(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Torch)
    functional = library.functional

    def loss(x: Any, weights: Any, gamma: Any, beta: Any) -> Any:
        return (functional.layer_norm(x, gamma.shape, gamma, beta, EPSILON) * weights).sum()

    forward = library.compile_forward(loss)
    x, weights, gamma, beta = (library.array(inputs[name]) for name in NAMES)
    variables = tuple(value.requires_grad_() for value in (x, gamma, beta))

    def step() -> Any:
        return library.module.autograd.grad(forward(x, weights, gamma, beta), variables)

    return Task(step=step)


def _jax(library: Library, inputs: Inputs) -> Task:
    def loss(x: Any, weights: Any, gamma: Any, beta: Any) -> Any:
        centred = x - x.mean(axis=1, keepdims=True)
        variance = (centred * centred).mean(axis=1, keepdims=True)
        normal = centred * library.module.lax.rsqrt(variance + EPSILON)
        return ((normal * gamma + beta) * weights).sum()

    gradients = library.module.grad(loss, argnums=(0, 2, 3))
    return library.task(gradients, *(inputs[name] for name in NAMES))


WORKLOAD = Workload(
    name="layer_norm",
    title="layer norm, forward and backward, 8192 x 1024",
    sizes={"full": {"rows": 8192, "columns": 1024}, "small": {"rows": 13, "columns": 37}},
    inputs=_inputs,
    work=_work,
    builders={"numpy": _numpy, "fusegrad": _fusegrad, "torch": _torch, "jax": _jax},
)
