"""Sorting, selection and search over rows of 3 to 100,000 elements.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from benchmarks.workload import Workload

from .case import LARGEST, Formula, case, extent, normal, same


def _numpy_topk(k: int) -> Formula:
    def topk(m: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        places = np.argpartition(-x, k - 1, axis=-1)[..., :k]
        values = np.take_along_axis(x, places, -1)
        order = np.argsort(-values, axis=-1)
        return np.take_along_axis(values, order, -1), np.take_along_axis(places, order, -1)

    return topk


def _topk(k: int) -> dict[str, Formula]:
    both: dict[str, Formula] = dict.fromkeys(
        ("fusegrad", "torch"), lambda m, x: tuple(m.topk(x, k))
    )
    return {**both, "numpy": _numpy_topk(k), "jax": lambda m, x: tuple(m.lax.top_k(x, k))}


KERNELS: dict[str, dict[str, Formula]] = {
    "sort": same(lambda m, x: m.sort(x, axis=-1)) | {"torch": lambda m, x: m.sort(x, -1)[0]},
    "argsort": {
        "numpy": lambda m, x: m.argsort(x, axis=-1, kind="stable"),
        "fusegrad": lambda m, x: m.argsort(x, axis=-1),
        "torch": lambda m, x: m.argsort(x, dim=-1, stable=True),
        "jax": lambda m, x: m.numpy.argsort(x, axis=-1),
    },
    "median": same(lambda m, x: m.median(x, axis=-1))
    | {"torch": lambda m, x: m.quantile(x, 0.5, -1)},
    "quantile": same(lambda m, x: m.quantile(x, 0.9, axis=-1))
    | {"torch": lambda m, x: m.quantile(x, 0.9, -1)},
    "element of rank 3": {
        "numpy": lambda m, x: m.partition(x, 2, axis=-1)[..., 2],
        "fusegrad": lambda m, x: m.kthvalue(x, 3)[0],
        "torch": lambda m, x: m.kthvalue(x, 3)[0],
        "jax": lambda m, x: m.numpy.partition(x, 2, axis=-1)[..., 2],
    },
}


def make(generator: random.Random) -> Workload:
    """A random kernel over few or many rows, or a search in a sorted row."""
    name = generator.choice([*KERNELS, *KERNELS, "topk", "topk", "searchsorted"])
    whole = generator.random() < 0.25
    columns = extent(generator, 100_000, least=3)
    rows = extent(generator, LARGEST / 4 / columns)
    x = normal(generator, (rows, columns))
    if whole and name in ("sort", "argsort"):
        x = (x * 1000).astype(generator.choice((np.int16, np.int32, np.int64, np.float64)))
    if name == "searchsorted":
        row = np.sort(x[0])
        formulas = same(lambda m, row, x: m.searchsorted(row, x))
        inputs = {"row": row, "x": x}
        return case(f"{x.size} searches in a row of {columns}", inputs, formulas)
    if name == "topk":
        k = extent(generator, min(columns, 500))
        # Equal elements may come in any order.
        return case(
            f"topk {k} of {rows} rows of {columns}",
            {"x": x},
            _topk(k),
            summary=lambda arrays: arrays[:1],
        )
    return case(f"{name} of {rows} rows of {columns} {x.dtype}", {"x": x}, KERNELS[name])
