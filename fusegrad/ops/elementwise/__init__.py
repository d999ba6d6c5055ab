"""Elementwise ops and functions: each one row in the file of its family.

A row says what an op computes, its derivative, where tests take operands from, and what it is
called by users: its function, the method of a Tensor, their docstrings and tests follow from it.
"""

from __future__ import annotations

from . import (
    arithmetic,
    choices,
    comparisons,
    exponential,
    rounding,
    special,
    trigonometric,
)
from .table import (
    ELEMENTWISE,
    EXPENSIVE,
    FUNCTIONS,
    SPECIAL,
    Function,
    Map,
    as_float,
    cost_of,
)

__all__ = [
    "ELEMENTWISE",
    "EXPENSIVE",
    "FUNCTIONS",
    "SPECIAL",
    "Function",
    "Map",
    "arithmetic",
    "as_float",
    "choices",
    "comparisons",
    "cost_of",
    "exponential",
    "rounding",
    "special",
    "trigonometric",
]
