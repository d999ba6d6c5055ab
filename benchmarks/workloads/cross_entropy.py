"""Softmax cross entropy with its gradient: the mean loss and ``dx``.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Library, Torch
from benchmarks.workload import Inputs, Task, Work, Workload


def _inputs(generator: np.random.Generator, rows: int, columns: int) -> Inputs:
    return {
        "x": generator.standard_normal((rows, columns), dtype=np.float32),
        "labels": generator.integers(0, columns, rows),
    }


def _work(rows: int, columns: int) -> Work:
    return Work(moved=8 * rows * columns + 8 * rows)


def _numpy(library: Library, inputs: Inputs) -> Task:
    labels = inputs["labels"]
    rows = np.arange(len(labels))

    def loss_and_gradient(x: np.ndarray) -> tuple[Any, np.ndarray]:
        shifted = x - x.max(axis=1, keepdims=True)
        picked = shifted[rows, labels]
        gradient = np.exp(shifted, out=shifted)
        total = gradient.sum(axis=1, keepdims=True)
        loss = np.mean(np.log(total[:, 0]) - picked)
        gradient /= total
        gradient[rows, labels] -= 1
        gradient /= len(labels)
        return loss, gradient

    return library.task(loss_and_gradient, inputs["x"])


def _fusegrad(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Fused)
    functional = library.functional
    function = library.module.value_and_grad(lambda x, y: functional.cross_entropy(x, y))
    return library.task(function, inputs["x"], inputs["labels"])


def _torch(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Torch)
    forward = library.compile_forward(library.functional.cross_entropy)
    x = library.array(inputs["x"]).requires_grad_()
    labels = library.array(inputs["labels"])

    def step() -> tuple[Any, Any]:
        loss = forward(x, labels)
        (gradient,) = library.module.autograd.grad(loss, x)
        return loss, gradient

    return Task(step=step)


def _jax(library: Library, inputs: Inputs) -> Task:
    jax = library.module

    def loss(x: Any, labels: Any) -> Any:
        logarithms = jax.nn.log_softmax(x, axis=1)
        return -jax.numpy.take_along_axis(logarithms, labels[:, None], axis=1).mean()

    return library.task(jax.value_and_grad(loss), inputs["x"], inputs["labels"])


WORKLOAD = Workload(
    name="cross_entropy",
    title="softmax cross entropy, forward and backward, 8192 x 1024",
    sizes={"full": {"rows": 8192, "columns": 1024}, "small": {"rows": 13, "columns": 37}},
    inputs=_inputs,
    work=_work,
    builders={"numpy": _numpy, "fusegrad": _fusegrad, "torch": _torch, "jax": _jax},
)
