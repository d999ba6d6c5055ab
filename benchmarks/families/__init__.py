"""Families of random cases: one file each, and one line here.

Knows no process and no clock.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace

from benchmarks.workload import Workload

from . import (
    columns,
    convolutions,
    draws,
    elementwise,
    indexing,
    movement,
    reductions,
    rows,
    sorting,
)

FAMILIES: dict[str, Callable[[random.Random], Workload]] = {
    "elementwise": elementwise.make,
    "rows": rows.make,
    "reductions": reductions.make,
    "columns": columns.make,
    "convolutions": convolutions.make,
    "movement": movement.make,
    "sorting": sorting.make,
    "indexing": indexing.make,
    "draws": draws.make,
}


def name_of(family: str, seed: int, number: int) -> str:
    """The name of a case, from which every process makes the same one."""
    return f"{family}:{seed}:{number}"


def find(name: str) -> Workload:
    """The case of a name, with the same arrays in every process.

    Examples
    --------
    >>> find("rows:0:3").title == find("rows:0:3").title
    True
    """
    family = name.partition(":")[0]
    if family not in FAMILIES:
        raise ValueError(f"unknown family {family!r}; known are {', '.join(FAMILIES)}")
    return replace(FAMILIES[family](random.Random(name)), name=name)
