"""Work down the columns: statistics of a batch, gradients of a bias, softmax along a leading axis.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from benchmarks.workload import Workload

from .case import Formula, case, normal, same, shape, spelled


def _softmax(m: Any, x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(0))
    return np.asarray(e / e.sum(0))


KERNELS: dict[str, tuple[dict[str, Formula], int]] = {
    "sum": (same(lambda m, x: m.sum(x, axis=0)), 1),
    "mean": (same(lambda m, x: m.mean(x, axis=0)), 1),
    "sum of a product": (same(lambda m, x, y: m.sum(x * y, axis=0)), 2),
    "variance": (
        same(lambda m, x: m.var(x, axis=0)) | {"torch": lambda m, x: m.var(x, 0, correction=0)},
        1,
    ),
    "maximum": (same(lambda m, x: m.max(x, axis=0)) | {"torch": lambda m, x: m.amax(x, 0)}, 1),
    "argmax": (same(lambda m, x: m.argmax(x, axis=0)), 1),
    "cumsum": (same(lambda m, x: m.cumsum(x, axis=0)), 1),
    "centred": (same(lambda m, x: x - m.mean(x, axis=0)), 1),
    "standardised": (
        same(lambda m, x: (x - m.mean(x, axis=0)) / (m.std(x, axis=0) + 1))
        | {"torch": lambda m, x: (x - m.mean(x, 0)) / (m.std(x, 0, correction=0) + 1)},
        1,
    ),
    "softmax": (
        {
            "numpy": _softmax,
            "fusegrad": lambda m, x: m.nn.functional.softmax(x, 0),
            "torch": lambda m, x: m.nn.functional.softmax(x, 0),
            "jax": lambda m, x: m.nn.softmax(x, 0),
        },
        1,
    ),
    "gradients of a bias and a scale": (
        same(lambda m, x, y: (m.sum(x, axis=0), m.sum(x * y, axis=0))),
        2,
    ),
    "sum of rows and of columns": (same(lambda m, x: (m.sum(x, axis=0), m.sum(x, axis=-1))), 1),
}


def make(generator: random.Random) -> Workload:
    """A random kernel over the leading axis of two or three."""
    name = generator.choice(list(KERNELS))
    formulas, count = KERNELS[name]
    extents = shape(generator, generator.choice([2, 2, 3]))
    inputs = {name: normal(generator, extents) + 1 for name in "xy"[:count]}
    return case(f"{name} down {spelled(extents)}", inputs, formulas)
