"""Gathers, scatters, embeddings, counts and masks.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from benchmarks.workload import Inputs, Workload

from .case import LARGEST, Formula, case, extent, integers, normal, same

Made = tuple[str, Inputs, dict[str, Formula]]


def _table(generator: random.Random) -> tuple[int, int, int]:
    """Rows and columns of a table, and how many of its rows are wanted."""
    columns = extent(generator, 2000)
    rows = extent(generator, LARGEST / columns)
    return rows, columns, extent(generator, LARGEST / columns)


def _taken(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    inputs = {"x": normal(generator, (rows, columns)), "t": integers(generator, (count,), rows)}
    both: dict[str, Formula] = dict.fromkeys(
        ("fusegrad", "torch"), lambda m, x, t: m.nn.functional.embedding(t, x)
    )
    formulas = same(lambda m, x, t: m.take(x, t, axis=0)) | both
    return f"{count} rows of a table of {rows}x{columns}", inputs, formulas


def _columns_taken(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    inputs = {"x": normal(generator, (columns, rows)), "t": integers(generator, (count,), rows)}
    formulas = same(lambda m, x, t: m.take(x, t, axis=1))
    formulas["torch"] = lambda m, x, t: m.index_select(x, 1, t)
    return f"{count} columns of a table of {columns}x{rows}", inputs, formulas


def _along(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    count = max(1, min(count, LARGEST // rows))
    inputs = {
        "x": normal(generator, (rows, columns)),
        "t": integers(generator, (rows, count), columns),
    }
    formulas = same(lambda m, x, t: m.take_along_axis(x, t, axis=1))
    formulas["torch"] = lambda m, x, t: m.gather(x, 1, t)
    return f"{count} elements of each of {rows} rows of {columns}", inputs, formulas


def _numpy_add(m: Any, x: np.ndarray, t: np.ndarray, y: np.ndarray) -> np.ndarray:
    result = x.copy()
    np.add.at(result, t, y)
    return result


def _added(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    inputs = {
        "x": normal(generator, (rows, columns)),
        "t": integers(generator, (count,), rows),
        "y": normal(generator, (count, columns)),
    }
    formulas: dict[str, Formula] = {
        "numpy": _numpy_add,
        "fusegrad": lambda m, x, t, y: m.index_add(x, 0, t, y),
        "torch": lambda m, x, t, y: m.index_add(x, 0, t, y),
        "jax": lambda m, x, t, y: x.at[t].add(y),
    }
    return f"{count} rows added to a table of {rows}x{columns}", inputs, formulas


def _embedding_gradient(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    inputs = {
        "w": normal(generator, (rows, columns)),
        "t": integers(generator, (count,), rows),
        "g": normal(generator, (count, columns)),
    }

    def torch(m: Any, w: Any, t: Any, g: Any) -> Any:
        loss = (m.nn.functional.embedding(t, w.requires_grad_()) * g).sum()
        return m.autograd.grad(loss, w)

    formulas: dict[str, Formula] = {
        "numpy": lambda m, w, t, g: _numpy_add(m, np.zeros_like(w), t, g),
        "torch": torch,
        "fusegrad": lambda m, w, t, g: m.grad(
            lambda v: (m.nn.functional.embedding(t, v) * g).sum()
        )(w),
        "jax": lambda m, w, t, g: m.grad(lambda v: (v[t] * g).sum())(w),
    }
    return f"gradient of {count} rows of a table of {rows}x{columns}", inputs, formulas


def _one_hot(generator: random.Random) -> Made:
    classes = extent(generator, 2000, least=2)
    count = extent(generator, LARGEST / classes)
    formulas: dict[str, Formula] = {
        "numpy": lambda m, t: (t[:, None] == m.arange(classes)).astype(np.int64),
        "fusegrad": lambda m, t: m.one_hot(t, classes),
        "torch": lambda m, t: m.nn.functional.one_hot(t, classes),
        "jax": lambda m, t: m.nn.one_hot(t, classes, dtype=m.numpy.int64),
    }
    return (
        f"one_hot of {count} in {classes}",
        {"t": integers(generator, (count,), classes)},
        formulas,
    )


def _counted(generator: random.Random) -> Made:
    classes, count = extent(generator, 10_000), extent(generator, LARGEST)
    formulas: dict[str, Formula] = {
        "numpy": lambda m, t: m.bincount(t, minlength=classes),
        "fusegrad": lambda m, t: m.bincount(t, length=classes),
        "torch": lambda m, t: m.bincount(t, minlength=classes),
        "jax": lambda m, t: m.numpy.bincount(t, length=classes),
    }
    return (
        f"bincount of {count} in {classes}",
        {"t": integers(generator, (count,), classes)},
        formulas,
    )


def _masked(generator: random.Random) -> Made:
    rows, columns, _ = _table(generator)
    inputs = {
        "x": normal(generator, (rows, columns)),
        "m": integers(generator, (rows, columns), 2, "bool"),
    }
    formulas = same(lambda m, x, mask: m.where(mask, x, 0.0))
    return f"masked {rows}x{columns}", inputs, formulas


def _pairs(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    inputs = {
        "x": normal(generator, (rows, columns)),
        "s": integers(generator, (count,), rows),
        "t": integers(generator, (count,), columns),
    }
    return f"{count} elements of {rows}x{columns}", inputs, same(lambda m, x, s, t: x[s, t])


def _numpy_put(m: Any, x: np.ndarray, t: np.ndarray, y: np.ndarray) -> np.ndarray:
    result = x.copy()
    result[t] = y
    return result


def _put(generator: random.Random) -> Made:
    rows, columns, count = _table(generator)
    count = min(count, rows)
    places = np.random.default_rng(generator.randrange(1 << 30)).permutation(rows)[:count]
    inputs = {
        "x": normal(generator, (rows, columns)),
        "t": places,
        "y": normal(generator, (count, columns)),
    }
    formulas: dict[str, Formula] = {
        "numpy": _numpy_put,
        "fusegrad": lambda m, x, t, y: m.index_copy(x, 0, t, y),
        "torch": lambda m, x, t, y: m.index_copy(x, 0, t, y),
        "jax": lambda m, x, t, y: x.at[t].set(y),
    }
    return f"{count} rows put into a table of {rows}x{columns}", inputs, formulas


KERNELS = (
    _taken,
    _columns_taken,
    _along,
    _added,
    _embedding_gradient,
    _one_hot,
    _counted,
    _masked,
    _pairs,
    _put,
)


def make(generator: random.Random) -> Workload:
    """A random gather, scatter, count or mask."""
    title, inputs, formulas = generator.choice(KERNELS)(generator)
    return case(title, inputs, formulas)
