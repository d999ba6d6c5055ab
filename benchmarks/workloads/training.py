"""Training steps with Adam, of a model that is written once in the manner of each library.

Knows no model and no clock. The names of a model's parameters have a dot in them, those of its
other inputs have none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Library, Torch
from benchmarks.workload import Builder, Inputs, Task

from .adam import RATE, jax_adam, numpy_adam

Arrays = dict[str, Any]


def adam_steps(
    numpy_gradients: Callable[[Arrays, Arrays], tuple[Any, Arrays]],
    model: Callable[[Fused | Torch, Arrays], Any],
    jax_loss: Callable[[Any, Arrays, Arrays], Any],
) -> dict[str, Builder]:
    """Return the builders of a training step.

    Parameters
    ----------
    numpy_gradients
        The loss and the gradients by name, of (parameters, data).
    model
        The module of (library, parameters), whose names are those of the parameters; called with
        (library, data) it gives the loss.
    jax_loss
        The loss of (jax, parameters, data).
    """
    return {
        "numpy": _numpy(numpy_gradients),
        "fusegrad": _library(model),
        "torch": _library(model),
        "jax": _jax(jax_loss),
    }


def _parts(inputs: Inputs) -> tuple[Arrays, Arrays]:
    """Parameters and data."""
    parameters = {name: value for name, value in inputs.items() if "." in name}
    return parameters, {name: value for name, value in inputs.items() if "." not in name}


def _numpy(gradients_of: Callable[[Arrays, Arrays], tuple[Any, Arrays]]) -> Builder:
    def build(library: Library, inputs: Inputs) -> Task:
        given, data = _parts(inputs)
        parameters = {name: value.copy() for name, value in given.items()}
        moments = {n: (np.zeros_like(p), np.zeros_like(p)) for n, p in parameters.items()}
        count = 0

        def step() -> Any:
            nonlocal count
            count += 1
            loss, gradients = gradients_of(parameters, data)
            for name, parameter in parameters.items():
                numpy_adam(parameter, gradients[name], *moments[name], count)
            return loss

        return Task(step=step, outputs=lambda loss: [loss, list(parameters.values())])

    return build


def _library(make: Callable[[Fused | Torch, Arrays], Any]) -> Builder:
    """Return the builder for fusegrad and for torch: the names are the same."""

    def build(library: Library, inputs: Inputs) -> Task:
        assert isinstance(library, Fused | Torch)
        parameters, data = _parts(inputs)
        model = make(library, parameters)
        model.load_state_dict({name: library.array(p) for name, p in parameters.items()})
        options = {"fused": True} if isinstance(library, Torch) else {}
        update = library.optim.Adam(model.parameters(), lr=RATE, **options)
        forward = library.compile_forward(model)

        def step(*values: Any) -> Any:
            loss = forward(*values)
            update.zero_grad()
            loss.backward()
            update.step()
            return loss

        compiled = library.compile_step(step)
        values = [library.array(value) for value in data.values()]
        named = dict(model.named_parameters())
        return Task(
            step=lambda: compiled(*values),
            outputs=lambda loss: [loss, [named[name] for name in parameters]],
            stats=lambda: library.stats(compiled),
        )

    return build


def _jax(loss_of: Callable[[Any, Arrays, Arrays], Any]) -> Builder:
    def build(library: Library, inputs: Inputs) -> Task:
        jax = library.module
        given, raw = _parts(inputs)
        data = {name: library.array(value) for name, value in raw.items()}

        def update(state: tuple[Any, ...], data: Arrays) -> tuple[Any, tuple[Any, ...]]:
            parameters, means, squares, count = state
            loss, gradients = jax.value_and_grad(lambda p: loss_of(jax, p, data))(parameters)
            new = {
                n: jax_adam(jax.numpy, p, gradients[n], means[n], squares[n], count + 1)
                for n, p in parameters.items()
            }
            parts = ({n: triple[i] for n, triple in new.items()} for i in range(3))
            return loss, (*parts, count + 1)

        compiled = jax.jit(update, donate_argnums=0)
        parameters = {name: library.array(value) for name, value in given.items()}
        zeros = [{n: jax.numpy.zeros_like(p) for n, p in parameters.items()} for _ in range(2)]
        state = (parameters, *zeros, jax.numpy.float32(0))

        def step() -> Any:
            nonlocal state
            loss, state = compiled(state, data)
            return loss

        return Task(step=step, outputs=lambda loss: [loss, [state[0][name] for name in given]])

    return build


def numpy_cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[Any, np.ndarray]:
    """Return the mean loss of rows and its gradient by the logits."""
    rows = np.arange(len(labels))
    logits = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(logits)
    total = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(total[:, 0]) - logits[rows, labels])
    gradient = exponentials / total
    gradient[rows, labels] -= 1
    return loss, gradient / len(labels)


def jax_cross_entropy(jax: Any, logits: Any, labels: Any) -> Any:
    """Return the mean loss of rows."""
    logarithms = jax.nn.log_softmax(logits, axis=-1)
    return -jax.numpy.take_along_axis(logarithms, labels[..., None], axis=-1).mean()
