"""Random draws, of which no two libraries make the same: their moments are compared.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from benchmarks.workload import Tolerance, Workload

from .case import Formula, case, normal, shape, spelled


def _seeded(formula: Formula) -> Formula:
    source = np.random.default_rng(3)
    return lambda m, *arrays: formula(source, *arrays)


def _keyed(formula: Formula) -> Formula:
    """For jax: a key is an argument, and the next one a result."""

    def run(jax: Any, x: Any, state: Any) -> Any:
        key, after = jax.random.split(jax.random.wrap_key_data(state))
        return formula(jax, key, x), jax.random.key_data(after)

    return run


KERNELS: dict[str, dict[str, Formula]] = {
    "uniform": {
        "numpy": _seeded(lambda source, x, state: source.random(x.shape, dtype=np.float32)),
        "fusegrad": lambda m, x, state: m.random.uniform(x.shape),
        "torch": lambda m, x, state: m.rand(x.shape),
        "jax": _keyed(lambda jax, key, x: jax.random.uniform(key, x.shape, "float32")),
    },
    "normal": {
        "numpy": _seeded(
            lambda source, x, state: source.standard_normal(x.shape, dtype=np.float32)
        ),
        "fusegrad": lambda m, x, state: m.random.normal(x.shape),
        "torch": lambda m, x, state: m.randn(x.shape),
        "jax": _keyed(lambda jax, key, x: jax.random.normal(key, x.shape, "float32")),
    },
    "dropout": {
        "numpy": _seeded(
            lambda source, x, state: (source.random(x.shape, dtype=np.float32) < 0.75) * x / 0.75
        ),
        "fusegrad": lambda m, x, state: m.nn.functional.dropout(x, 0.25),
        "torch": lambda m, x, state: m.nn.functional.dropout(x, 0.25),
        "jax": _keyed(
            lambda jax, key, x: jax.numpy.where(
                jax.random.bernoulli(key, 0.75, x.shape), x / 0.75, 0.0
            )
        ),
    },
    "integers": {
        "numpy": _seeded(lambda source, x, state: source.integers(0, 1000, x.shape)),
        "fusegrad": lambda m, x, state: m.random.randint(0, 1000, x.shape),
        "torch": lambda m, x, state: m.randint(0, 1000, x.shape),
        "jax": _keyed(lambda jax, key, x: jax.random.randint(key, x.shape, 0, 1000, "int64")),
    },
}


def make(generator: random.Random) -> Workload:
    """A random draw."""
    name = generator.choice(list(KERNELS))
    extents = shape(generator, generator.randint(0, 3))
    inputs = {"x": normal(generator, extents), "state": np.array([1, 2], np.uint32)}
    return case(
        f"{name} of {spelled(extents)}",
        inputs,
        KERNELS[name],
        tolerance=Tolerance(relative=0.2, scaled=0),
        summary=_moments,
    )


def _moments(arrays: list[np.ndarray]) -> list[np.ndarray]:
    """How many elements there are; their mean and deviation, where they are enough for those."""
    values = arrays[0].astype(np.float64)
    if values.size < 1000:
        return [np.array(float(values.size))]
    spread = values.std()
    return [np.array(float(values.size)), np.array([values.mean() + spread, spread])]
