"""Reductions over leading, middle, last, several and all axes.

Knows no process and no clock.
"""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np

from benchmarks.workload import Tolerance, Workload

from .case import Formula, case, normal, same, shape, spelled


def _several(name: str) -> dict[str, Formula]:
    """A reduction that takes several axes everywhere, and is one method of an array."""
    return same(lambda m, x, axes: getattr(m, name)(x, axis=axes))


def _torch(formula: Formula) -> dict[str, Formula]:
    return {"torch": formula}


SEVERAL: dict[str, dict[str, Formula]] = {
    "sum": _several("sum"),
    "mean": _several("mean"),
    "var": _several("var") | _torch(lambda m, x, axes: m.var(x, axes, correction=0)),
    "std": _several("std") | _torch(lambda m, x, axes: m.std(x, axes, correction=0)),
    "max": _several("max") | _torch(lambda m, x, axes: m.amax(x, axes)),
    "min": _several("min") | _torch(lambda m, x, axes: m.amin(x, axes)),
    "any": same(lambda m, x, axes: m.any(x > 4, axis=axes)),
    "all": same(lambda m, x, axes: m.all(x > -4, axis=axes)),
    "norm": same(lambda m, x, axes: m.sqrt(m.sum(x * x, axis=axes))),
    "logsumexp": {
        "numpy": lambda m, x, axes: np.log(np.exp(x).sum(axis=axes)),
        "fusegrad": lambda m, x, axes: m.logsumexp(x, axes),
        "torch": lambda m, x, axes: m.logsumexp(x, axes),
        "jax": lambda m, x, axes: m.nn.logsumexp(x, axes),
    },
    "sum of squares": same(lambda m, x, axes: m.sum(x * x, axis=axes)),
    "sum of tanh": same(lambda m, x, axes: m.sum(m.tanh(x), axis=axes)),
    "count_nonzero": same(lambda m, x, axes: m.count_nonzero(x > 0, axis=axes))
    | _torch(lambda m, x, axes: m.count_nonzero(x > 0, axes)),
}
ONE: dict[str, dict[str, Formula]] = {
    "prod": same(lambda m, x, axis: m.prod(1 + x / 1000, axis=axis)),
    "argmax": same(lambda m, x, axis: m.argmax(x, axis=axis)),
    "argmin": same(lambda m, x, axis: m.argmin(x, axis=axis)),
}


def make(generator: random.Random) -> Workload:
    """A random reduction."""
    extents = shape(generator, generator.randint(1, 4))
    axes: Any
    if generator.random() < 0.75:
        name = generator.choice(list(SEVERAL))
        count = generator.randint(1, len(extents))
        axes = tuple(sorted(generator.sample(range(len(extents)), count)))
        formulas = SEVERAL[name]
    else:
        name = generator.choice(list(ONE))
        axes = generator.randrange(len(extents))
        formulas = ONE[name]
    bound = {family: _bind(formula, axes) for family, formula in formulas.items()}
    x = normal(generator, extents)
    if name == "sum":  # far from zero: what cancels has no relative error to speak of
        x = x + 1
    reduced = math.prod(extents[a] for a in (axes if isinstance(axes, tuple) else (axes,)))
    title = f"{name} of {spelled(extents)} over {axes} ({reduced} elements)"
    # Factors that are close to one are rounded to one side: the error grows with their number.
    many = Tolerance(relative=1e-4 + 4e-10 * reduced, scaled=2e-5) if name == "prod" else None
    return case(title, {"x": x}, bound, tolerance=many)


def _bind(formula: Formula, axes: Any) -> Formula:
    return lambda m, x: formula(m, x, axes)
