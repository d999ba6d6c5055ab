"""One Adam update of one large parameter: ``p``, ``m``, ``v`` in place, from ``g``.

Knows no clock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Library, Torch
from benchmarks.workload import Inputs, Task, Work, Workload

RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def _inputs(generator: np.random.Generator, size: int) -> Inputs:
    return {
        "p": generator.standard_normal(size, dtype=np.float32),
        "g": generator.standard_normal(size, dtype=np.float32),
    }


def _work(size: int) -> Work:
    return Work(moved=28 * size, roof="stream")


def numpy_adam(p: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, count: int) -> None:
    """Update ``p``, ``m`` and ``v`` in place; ``count`` is 1 in the first step."""
    m *= BETA1
    m += (1 - BETA1) * g
    v *= BETA2
    v += (1 - BETA2) * g * g
    denominator = np.sqrt(v)
    denominator /= math.sqrt(1 - BETA2**count)
    denominator += EPSILON
    p -= RATE / (1 - BETA1**count) * m / denominator


def _numpy(library: Library, inputs: Inputs) -> Task:
    p, g = inputs["p"].copy(), inputs["g"]
    m, v = np.zeros_like(p), np.zeros_like(p)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        numpy_adam(p, g, m, v, count)

    return Task(step=step, outputs=lambda _: p)


def _fusegrad(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Fused)
    parameter = library.nn.Parameter(library.array(inputs["p"]))
    optimizer = library.optim.Adam([parameter], lr=RATE)
    parameter.grad = library.array(inputs["g"])
    step = library.compile_step(lambda: optimizer.step())
    return Task(step=step, outputs=lambda _: parameter, stats=lambda: library.stats(step))


def _torch(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Torch)
    parameter = library.nn.Parameter(library.array(inputs["p"]))
    parameter.grad = library.array(inputs["g"])
    optimizer = library.optim.Adam([parameter], lr=RATE, fused=True)
    return Task(step=optimizer.step, outputs=lambda _: parameter)


def jax_adam(jnp: Any, p: Any, g: Any, m: Any, v: Any, count: Any) -> tuple[Any, Any, Any]:
    """Return the new ``p``, ``m`` and ``v``."""
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * g * g
    denominator = jnp.sqrt(v) / jnp.sqrt(1 - BETA2**count) + EPSILON
    return p - RATE / (1 - BETA1**count) * m / denominator, m, v


def _jax(library: Library, inputs: Inputs) -> Task:
    jax = library.module

    def update(state: tuple[Any, ...], g: Any) -> tuple[Any, ...]:
        p, m, v, count = state
        return *jax_adam(jax.numpy, p, g, m, v, count + 1), count + 1

    compiled = jax.jit(update, donate_argnums=0)
    p, g = library.array(inputs["p"]), library.array(inputs["g"])
    zeros = jax.numpy.zeros_like
    state = (p, zeros(p), zeros(p), jax.numpy.float32(0))

    def step() -> Any:
        nonlocal state
        state = compiled(state, g)
        return state[0]

    return Task(step=step)


WORKLOAD = Workload(
    name="adam",
    title="Adam, 16M parameters, in place",
    sizes={"full": {"size": 1 << 24}, "small": {"size": 5003}},
    inputs=_inputs,
    work=_work,
    builders={"numpy": _numpy, "fusegrad": _fusegrad, "torch": _torch, "jax": _jax},
    steps=3,
    without=("torch.compile",),
)
