"""Softmax over the rows of a matrix.

Knows no clock.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.libraries import Fused, Library, Torch
from benchmarks.workload import Inputs, Task, Work, Workload


def _inputs(generator: np.random.Generator, rows: int, columns: int) -> Inputs:
    return {"x": generator.standard_normal((rows, columns), dtype=np.float32)}


def _work(rows: int, columns: int) -> Work:
    return Work(moved=8 * rows * columns)


def _numpy(library: Library, inputs: Inputs) -> Task:
    def softmax(x: np.ndarray) -> np.ndarray:
        exponentials: np.ndarray = np.exp(x - x.max(axis=1, keepdims=True))
        exponentials /= exponentials.sum(axis=1, keepdims=True)
        return exponentials

    return library.task(softmax, inputs["x"])


def _library(library: Library, inputs: Inputs) -> Task:
    assert isinstance(library, Fused | Torch)
    functional = library.functional
    return library.task(lambda x: functional.softmax(x, dim=1), inputs["x"])


def _jax(library: Library, inputs: Inputs) -> Task:
    def softmax(x: Any) -> Any:
        return library.module.nn.softmax(x, axis=1)

    return library.task(softmax, inputs["x"])


WORKLOAD = Workload(
    name="softmax",
    title="softmax, 8192 x 1024",
    sizes={"full": {"rows": 8192, "columns": 1024}, "small": {"rows": 13, "columns": 37}},
    inputs=_inputs,
    work=_work,
    builders={"numpy": _numpy, "fusegrad": _library, "torch": _library, "jax": _jax},
)
