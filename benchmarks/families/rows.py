"""Kernels over rows of 3 to 100,000 elements, forward and with their gradients.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.workload import Inputs, Workload

from .case import LARGEST, Formula, case, extent, integers, normal, same

EPSILON = 1e-5
Kind = tuple[dict[str, Formula], str]
"""Formulas, and which inputs they take: `x` and `g` matrices, `w` and `b` rows, `t` labels."""


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True))
    return np.asarray(e / e.sum(-1, keepdims=True))


def _log_softmax(x: np.ndarray) -> np.ndarray:
    centred = x - x.max(-1, keepdims=True)
    return np.asarray(centred - np.log(np.exp(centred).sum(-1, keepdims=True)))


def _logsumexp(x: np.ndarray) -> np.ndarray:
    most = x.max(-1, keepdims=True)
    return np.asarray(np.log(np.exp(x - most).sum(-1)) + most[..., 0])


def _normalised(m: Any, x: Any, centre: bool = True) -> Any:
    """Rows of variance one, and of mean zero, as NumPy and jax spell it."""
    if centre:
        x = x - m.mean(x, axis=-1, keepdims=True)
    return x / m.sqrt(m.mean(x * x, axis=-1, keepdims=True) + EPSILON)


def _numpy_cummin(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    least = np.minimum.accumulate(x, -1)
    places = np.where(x == least, np.arange(x.shape[-1]), 0)
    return least, np.maximum.accumulate(places, -1)


def _softmax_gradient(x: np.ndarray, g: np.ndarray) -> np.ndarray:
    y = _softmax(x)
    return np.asarray(y * (g - (y * g).sum(-1, keepdims=True)))


def _layer_norm_gradient(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, g: np.ndarray
) -> tuple[np.ndarray, ...]:
    centred = x - x.mean(-1, keepdims=True)
    deviation = np.sqrt((centred * centred).mean(-1, keepdims=True) + EPSILON)
    normal_x = centred / deviation
    d = g * w
    d_x = d - d.mean(-1, keepdims=True) - normal_x * (d * normal_x).mean(-1, keepdims=True)
    return d_x / deviation, (g * normal_x).sum(0), g.sum(0)


def _cross_entropy(x: np.ndarray, t: np.ndarray) -> Any:
    return -_log_softmax(x)[np.arange(len(t)), t].mean()


def _cross_entropy_gradient(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    y = _softmax(x)
    y[np.arange(len(t)), t] -= 1
    return np.asarray(y / len(t))


def _jax_cross_entropy(jax: Any, x: Any, t: Any) -> Any:
    return -jax.nn.log_softmax(x)[jax.numpy.arange(len(t)), t].mean()


def _gradients(loss: Callable[[str], Formula], variables: tuple[int, ...]) -> dict[str, Formula]:
    """The gradients of a loss by some of its arguments; `loss` has a spelling for each library."""

    def torch(m: Any, *arrays: Any) -> Any:
        wanted = [arrays[i].requires_grad_() for i in variables]
        return m.autograd.grad(loss("torch")(m, *arrays), wanted)

    def transformed(name: str) -> Formula:
        def run(m: Any, *arrays: Any) -> Any:
            return m.grad(lambda *a: loss(name)(m, *a), argnums=variables)(*arrays)

        return run

    return {"torch": torch, "jax": transformed("jax"), "fusegrad": transformed("fusegrad")}


def _softmax_loss(name: str) -> Formula:
    if name == "jax":
        return lambda m, x, g: (m.nn.softmax(x, -1) * g).sum()
    return lambda m, x, g: (m.nn.functional.softmax(x, -1) * g).sum()


def _layer_norm_loss(name: str) -> Formula:
    if name == "jax":
        return lambda m, x, w, b, g: ((_normalised(m.numpy, x) * w + b) * g).sum()
    return lambda m, x, w, b, g: (m.nn.functional.layer_norm(x, w.shape, w, b, EPSILON) * g).sum()


def _cross_entropy_loss(name: str) -> Formula:
    if name == "jax":
        return _jax_cross_entropy
    return lambda m, x, t: m.nn.functional.cross_entropy(x, t)


def _both(formula: Formula) -> dict[str, Formula]:
    return {"fusegrad": formula, "torch": formula}


KERNELS: dict[str, Kind] = {
    "softmax": (
        {
            "numpy": lambda m, x: _softmax(x),
            **_both(lambda m, x: m.nn.functional.softmax(x, -1)),
            "jax": lambda m, x: m.nn.softmax(x, -1),
        },
        "x",
    ),
    "log_softmax": (
        {
            "numpy": lambda m, x: _log_softmax(x),
            **_both(lambda m, x: m.nn.functional.log_softmax(x, -1)),
            "jax": lambda m, x: m.nn.log_softmax(x, -1),
        },
        "x",
    ),
    "logsumexp": (
        {
            "numpy": lambda m, x: _logsumexp(x),
            **_both(lambda m, x: m.logsumexp(x, -1)),
            "jax": lambda m, x: m.nn.logsumexp(x, -1),
        },
        "x",
    ),
    "layer_norm": (
        {
            "numpy": lambda m, x, w, b: _normalised(m, x) * w + b,
            **_both(lambda m, x, w, b: m.nn.functional.layer_norm(x, w.shape, w, b, EPSILON)),
            "jax": lambda m, x, w, b: _normalised(m.numpy, x) * w + b,
        },
        "xwb",
    ),
    "rms_norm": (
        {
            "numpy": lambda m, x, w: _normalised(m, x, False) * w,
            **_both(lambda m, x, w: m.nn.functional.rms_norm(x, w.shape, w, EPSILON)),
            "jax": lambda m, x, w: _normalised(m.numpy, x, False) * w,
        },
        "xw",
    ),
    "cross_entropy": (
        {
            "numpy": lambda m, x, t: _cross_entropy(x, t),
            **_both(_cross_entropy_loss("")),
            "jax": _jax_cross_entropy,
        },
        "xt",
    ),
    "argmax": (same(lambda m, x: m.argmax(x, axis=-1)), "x"),
    "argmin": (same(lambda m, x: m.argmin(x, axis=-1)), "x"),
    "variance": (
        same(lambda m, x: m.var(x, axis=-1)) | {"torch": lambda m, x: m.var(x, -1, correction=0)},
        "x",
    ),
    "maximum": (
        same(lambda m, x: m.max(x, axis=-1)) | {"torch": lambda m, x: m.amax(x, -1)},
        "x",
    ),
    "cumsum": (same(lambda m, x: m.cumsum(x, axis=-1)), "x"),
    "cumulative maximum": (
        {
            "numpy": lambda m, x: m.maximum.accumulate(x, -1),
            **_both(lambda m, x: m.cummax(x, -1)[0]),
            "jax": lambda m, x: m.lax.cummax(x, 1),
        },
        "x",
    ),
    "cumulative minimum and places": (
        {
            **_both(lambda m, x: tuple(m.cummin(x, -1))),
            "numpy": lambda m, x: _numpy_cummin(x),
        },
        "x",
    ),
    "softmax gradient": (
        _gradients(_softmax_loss, (0,)) | {"numpy": lambda m, x, g: _softmax_gradient(x, g)},
        "xg",
    ),
    "layer_norm gradient": (
        _gradients(_layer_norm_loss, (0, 1, 2))
        | {"numpy": lambda m, *arrays: _layer_norm_gradient(*arrays)},
        "xwbg",
    ),
    "cross_entropy gradient": (
        _gradients(_cross_entropy_loss, (0,))
        | {"numpy": lambda m, x, t: _cross_entropy_gradient(x, t)},
        "xt",
    ),
}


def make(generator: random.Random) -> Workload:
    """A random kernel over few or many rows."""
    name = generator.choice(list(KERNELS))
    columns = extent(generator, 100_000, least=3)
    rows = extent(generator, LARGEST / columns)
    formulas, letters = KERNELS[name]
    inputs: Inputs = {}
    for letter in letters:
        if letter == "t":
            inputs[letter] = integers(generator, (rows,), columns)
        else:
            inputs[letter] = normal(generator, (rows, columns) if letter in "xg" else (columns,))
    return case(f"{name} of {rows} rows of {columns}", inputs, formulas)
