"""What a case of a sweep is made of: formulas for each library, arrays and sizes from a generator.

Knows no family, no process and no clock.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.libraries import Library
from benchmarks.workload import Builder, Inputs, Task, Tolerance, Work, Workload

Formula = Callable[..., Any]
"""Takes the library's module and the arrays."""
LARGEST = 1 << 22
"""Elements of the largest array."""


def same(formula: Formula) -> dict[str, Formula]:
    """One spelling for all libraries: functions that are equal in every namespace."""

    def jax(module: Any, *arrays: Any) -> Any:
        return formula(module.numpy, *arrays)

    return {"numpy": formula, "fusegrad": formula, "torch": formula, "jax": jax}


def case(
    title: str,
    inputs: Inputs,
    formulas: Mapping[str, Formula],
    *,
    tolerance: Tolerance | None = None,
    summary: Callable[[list[np.ndarray]], list[np.ndarray]] | None = None,
) -> Workload:
    """The workload of calling a pure function, whose reference is NumPy's formula.

    Parameters
    ----------
    title : str
        What is computed, and its sizes.
    inputs : dict of str to ndarray
    formulas : mapping of str to callable
        For `numpy` and others of `fusegrad`, `torch` and `jax`.
    tolerance : Tolerance, optional
    summary : callable, optional
        What is compared, of the arrays of the result; all of them where absent.
    """

    def builder(formula: Formula) -> Builder:
        def build(library: Library, arrays: Inputs) -> Task:
            module = library.module
            task = library.task(lambda *values: formula(module, *values), *arrays.values())
            return Task(task.step, stats=task.stats)

        return build

    return Workload(
        name=title,
        title=title,
        sizes={"full": {}, "small": {}},
        inputs=lambda generator: inputs,
        work=lambda: Work(moved=sum(value.nbytes for value in inputs.values())),
        builders={family: builder(formula) for family, formula in formulas.items()},
        tolerance=tolerance,
        summary=summary,
    )


def extent(generator: random.Random, most: float, least: int = 1) -> int:
    """An extent whose logarithm is spread evenly; one of three is a multiple of eight.

    Examples
    --------
    >>> 3 <= extent(random.Random(1), 100_000, least=3) <= 100_000
    True
    """
    most = max(int(most), least)
    value = round(math.exp(generator.uniform(math.log(least), math.log(most))))
    if generator.random() < 1 / 3 and value >= 8:
        value -= value % 8
    return min(max(value, least), most)


def shape(generator: random.Random, rank: int, most: int = LARGEST) -> tuple[int, ...]:
    """A shape of `rank` extents and at most `most` elements, in any order.

    Examples
    --------
    >>> math.prod(shape(random.Random(0), 3, 1000)) <= 1000
    True
    """
    total = extent(generator, most)
    extents: list[int] = []
    for axis in range(rank - 1):
        part = extent(generator, (total / math.prod(extents)) ** (2 / (rank - axis)))
        extents.append(part)
    extents.append(max(1, total // math.prod(extents)))
    generator.shuffle(extents)
    return tuple(extents)


def normal(generator: random.Random, extents: Sequence[int], dtype: str = "float32") -> np.ndarray:
    """An array of standard normal values."""
    source = np.random.default_rng(generator.randrange(1 << 30))
    return np.asarray(source.standard_normal(tuple(extents), dtype=np.float32).astype(dtype))


def integers(
    generator: random.Random, extents: Sequence[int], below: int, dtype: str = "int64"
) -> np.ndarray:
    """An array of integers from zero to below `below`."""
    source = np.random.default_rng(generator.randrange(1 << 30))
    return source.integers(0, below, tuple(extents)).astype(dtype)


def spelled(extents: Sequence[int]) -> str:
    """The text of a shape.

    Examples
    --------
    >>> spelled((2, 3))
    '2x3'
    """
    return "x".join(map(str, extents))
