"""The ops: each in one place, with types, meaning, gradient, code and samples.

``build`` holds the functions that make graphs of them.
"""

from __future__ import annotations

from . import (
    bits,
    contract,
    convolution,
    cumulative,
    decomposition,
    divisors,
    elementwise,
    identities,
    indexing,
    movement,
    native,
    reduce,
    scatter,
    selection,
    solving,
    sorting,
    source,
    window,
    window_dot,
    window_extreme,
)
from .base import CLASSES
from .elementwise import ELEMENTWISE

__all__ = [
    "CLASSES",
    "ELEMENTWISE",
    "bits",
    "contract",
    "convolution",
    "cumulative",
    "decomposition",
    "divisors",
    "elementwise",
    "identities",
    "indexing",
    "movement",
    "native",
    "reduce",
    "scatter",
    "selection",
    "solving",
    "sorting",
    "source",
    "window",
    "window_dot",
    "window_extreme",
]
