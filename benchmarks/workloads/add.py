"""``x + 1`` on one element: what a call costs.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Library
from benchmarks.workload import Inputs, Task, Work, Workload


def _inputs(generator: np.random.Generator, size: int) -> Inputs:
    return {"x": generator.standard_normal(size, dtype=np.float32)}


def _work(size: int) -> Work:
    return Work(moved=8 * size)


def _build(library: Library, inputs: Inputs) -> Task:
    def add(x: Any) -> Any:
        return x + 1

    return library.task(add, inputs["x"])


WORKLOAD = Workload(
    name="add",
    title="x + 1, one element (call overhead)",
    sizes={"full": {"size": 1}, "small": {"size": 1}},
    inputs=_inputs,
    work=_work,
    builders=dict.fromkeys(("numpy", "fusegrad", "torch", "jax"), _build),
    floor=False,
)
