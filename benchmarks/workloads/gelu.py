"""gelu in its tanh form, written out as elementwise operations.

Knows no clock.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.libraries import Library
from benchmarks.workload import Builder, Inputs, Task, Work, Workload

ROOT = math.sqrt(2 / math.pi)


def _inputs(generator: np.random.Generator, size: int) -> Inputs:
    return {"x": generator.standard_normal(size, dtype=np.float32)}


def _work(size: int) -> Work:
    return Work(moved=8 * size)


def _gelu(tanh: Any, x: Any) -> Any:
    return 0.5 * x * (1.0 + tanh(ROOT * (x + 0.044715 * x * x * x)))


def _builder(namespace: str) -> Builder:
    def build(library: Library, inputs: Inputs) -> Task:
        module = getattr(library.module, namespace) if namespace else library.module
        return library.task(lambda x: _gelu(module.tanh, x), inputs["x"])

    return build


WORKLOAD = Workload(
    name="gelu",
    title="gelu(tanh), 16M elements, written out",
    sizes={"full": {"size": 1 << 24}, "small": {"size": 5003}},
    inputs=_inputs,
    work=_work,
    builders={
        "numpy": _builder(""),
        "fusegrad": _builder(""),
        "torch": _builder(""),
        "jax": _builder("numpy"),
    },
)
