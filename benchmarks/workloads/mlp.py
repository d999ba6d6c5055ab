"""Training steps of two multilayer perceptrons: a small one with SGD, a large one with Adam.

Knows no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Library, Torch
from benchmarks.workload import Builder, Inputs, Task, Tolerance, Work, Workload

from .adam import RATE as ADAM_RATE
from .adam import jax_adam, numpy_adam

SGD_RATE = 0.1


def _inputs(generator: np.random.Generator, batch: int, widths: Sequence[int]) -> Inputs:
    arrays: Inputs = {
        "x": generator.standard_normal((batch, widths[0]), dtype=np.float32),
        "labels": generator.integers(0, widths[-1], batch),
    }
    for index, (fan_in, fan_out) in enumerate(pairwise(widths)):
        weight = generator.standard_normal((fan_out, fan_in), dtype=np.float32)
        arrays[f"{2 * index}.weight"] = weight / np.float32(fan_in**0.5)
        arrays[f"{2 * index}.bias"] = np.zeros(fan_out, np.float32)
    return arrays


def _work(batch: int, widths: Sequence[int], state: int) -> Work:
    """Count the three products of each layer (the first needs no input gradient)."""
    products = [a * b for a, b in pairwise(widths)]
    flops = 2 * batch * (3 * sum(products) - products[0])
    parameters = sum(products) + sum(widths[1:])
    return Work(moved=4 * (2 * state * parameters + batch * widths[0]), flops=flops)


def _parameters(inputs: Inputs) -> dict[str, np.ndarray]:
    return {name: value for name, value in inputs.items() if "." in name}


def _numpy(optimizer: str) -> Builder:
    def build(library: Library, inputs: Inputs) -> Task:
        names = list(_parameters(inputs))
        parameters = [inputs[name].copy() for name in names]
        moments = [(np.zeros_like(p), np.zeros_like(p)) for p in parameters]
        x, labels = inputs["x"], inputs["labels"]
        count = 0

        def step() -> Any:
            nonlocal count
            count += 1
            loss, gradients = _numpy_gradients(x, labels, parameters)
            for p, g, (m, v) in zip(parameters, gradients, moments, strict=True):
                if optimizer == "adam":
                    numpy_adam(p, g, m, v, count)
                else:
                    p -= SGD_RATE * g
            return loss

        return Task(step=step, outputs=lambda loss: [loss, parameters])

    return build


def _numpy_gradients(
    x: np.ndarray, labels: np.ndarray, parameters: list[np.ndarray]
) -> tuple[Any, list[np.ndarray]]:
    """Return the loss and the gradients, in the order of the parameters."""
    weights, biases = parameters[::2], parameters[1::2]
    rows = np.arange(len(labels))
    activations = [x]
    for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
        activations.append(np.maximum(activations[-1] @ weight.T + bias, 0))
    logits = activations[-1] @ weights[-1].T + biases[-1]
    logits -= logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    total = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - logits[rows, labels])
    delta = exponentials / total
    delta[rows, labels] -= 1
    delta /= len(labels)
    gradients: list[np.ndarray] = []
    for index in reversed(range(len(weights))):
        gradients[:0] = [delta.T @ activations[index], delta.sum(axis=0)]
        if index:
            delta = (delta @ weights[index]) * (activations[index] > 0)
    return loss, gradients


def _library(optimizer: str) -> Builder:
    """Return the builder for fusegrad and for torch: the names are the same."""

    def build(library: Library, inputs: Inputs) -> Task:
        assert isinstance(library, Fused | Torch)
        functional = library.functional
        model = _model(library, inputs)
        options = {"fused": True} if isinstance(library, Torch) else {}
        update: Any
        if optimizer == "adam":
            update = library.optim.Adam(model.parameters(), lr=ADAM_RATE, **options)
        else:
            update = library.optim.SGD(model.parameters(), lr=SGD_RATE, **options)
        forward = library.compile_forward(lambda x, y: functional.cross_entropy(model(x), y))

        def step(x: Any, labels: Any) -> Any:
            loss = forward(x, labels)
            update.zero_grad()
            loss.backward()
            update.step()
            return loss

        compiled = library.compile_step(step)
        x, labels = library.array(inputs["x"]), library.array(inputs["labels"])
        return Task(
            step=lambda: compiled(x, labels),
            outputs=lambda loss: [loss, list(model.parameters())],
            stats=lambda: library.stats(compiled),
        )

    return build


def _model(library: Fused | Torch, inputs: Inputs) -> Any:
    nn = library.nn
    parameters = _parameters(inputs)
    shapes = [value.shape for name, value in parameters.items() if name.endswith("weight")]
    layers: list[Any] = []
    for fan_out, fan_in in shapes:
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    model.load_state_dict({name: library.array(value) for name, value in parameters.items()})
    return model


def _jax(optimizer: str) -> Builder:
    def build(library: Library, inputs: Inputs) -> Task:
        jax = library.module
        compiled = jax.jit(_jax_step(jax, optimizer), donate_argnums=0)
        parameters = [library.array(value) for value in _parameters(inputs).values()]
        zeros = [[jax.numpy.zeros_like(p) for p in parameters] for _ in range(2)]
        state = (parameters, *zeros, jax.numpy.float32(0))
        x, labels = library.array(inputs["x"]), library.array(inputs["labels"])

        def step() -> Any:
            nonlocal state
            loss, state = compiled(state, x, labels)
            return loss

        return Task(step=step, outputs=lambda loss: [loss, state[0]])

    return build


def _jax_step(jax: Any, optimizer: str) -> Callable[..., Any]:
    def loss_of(parameters: list[Any], x: Any, labels: Any) -> Any:
        for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            x = jax.nn.relu(x @ weight.T + bias)
        logarithms = jax.nn.log_softmax(x @ parameters[-2].T + parameters[-1], axis=1)
        return -jax.numpy.take_along_axis(logarithms, labels[:, None], axis=1).mean()

    def step(state: Any, x: Any, labels: Any) -> Any:
        parameters, means, squares, count = state
        loss, gradients = jax.value_and_grad(loss_of)(parameters, x, labels)
        if optimizer == "sgd":
            updated = [p - SGD_RATE * g for p, g in zip(parameters, gradients, strict=True)]
            return loss, (updated, means, squares, count)
        triples = [
            jax_adam(jax.numpy, p, g, m, v, count + 1)
            for p, g, m, v in zip(parameters, gradients, means, squares, strict=True)
        ]
        return loss, (*(list(part) for part in zip(*triples, strict=True)), count + 1)

    return step


def _builders(optimizer: str) -> dict[str, Builder]:
    library = _library(optimizer)
    return {
        "numpy": _numpy(optimizer),
        "fusegrad": library,
        "torch": library,
        "jax": _jax(optimizer),
    }


SMALL = Workload(
    name="mlp_small",
    title="MLP 784-128-10, batch 64, SGD step",
    sizes={
        "full": {"batch": 64, "widths": (784, 128, 10)},
        "small": {"batch": 7, "widths": (19, 11, 5)},
    },
    inputs=_inputs,
    work=lambda batch, widths: _work(batch, widths, state=1),
    builders=_builders("sgd"),
    steps=3,
)

LARGE = Workload(
    name="mlp_large",
    title="MLP 1024-2048-2048-10, batch 512, Adam step",
    sizes={
        "full": {"batch": 512, "widths": (1024, 2048, 2048, 10)},
        "small": {"batch": 7, "widths": (19, 13, 11, 5)},
    },
    inputs=_inputs,
    work=lambda batch, widths: _work(batch, widths, state=3),
    builders=_builders("adam"),
    steps=3,
    # Adam divides by gradients that are next to nothing where a ReLU is: they are rounding.
    tolerance=Tolerance(relative=1e-3, scaled=1e-4, outliers=0.02),
)
