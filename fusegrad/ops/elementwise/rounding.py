"""Rounding, the numbers next to a number, and questions about numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ...codegen.dtypes import int16
from .. import build as b
from ..base import Node
from .table import ANY, ANYTHING, Public, as_float, function, row

__all__: list[str] = []

# --- rounding -------------------------------------------------------------------------------------


def _floats_only(build: Callable[[Node], Node]) -> Callable[[Node], Node]:
    """Integers are round already."""
    return lambda x: build(x) if x.dtype.is_float else x


row(
    "floor",
    ANY,
    public=Public(
        "The largest integer that is not larger.",
        "[1.5, -1.5] -> [ 1., -2.]",
        build=_floats_only(b.floor),
        takes=ANYTHING,
    ),
)
row(
    "ceil",
    ANY,
    public=Public(
        "The smallest integer that is not smaller.",
        "[1.5, -1.5] -> [ 2., -1.]",
        build=_floats_only(b.ceil),
        takes=ANYTHING,
    ),
)
row(
    "trunc",
    ANY,
    public=Public(
        "The integer part.",
        "[1.5, -1.5] -> [ 1., -1.]",
        build=_floats_only(b.trunc),
        takes=ANYTHING,
        aliases=("fix",),
    ),
)
row(
    "round",
    ANY,
    public=Public(
        "The nearest integer; halves to the even one.",
        "[1.5, 2.5] -> [2., 2.]",
        build=_floats_only(b.round_),
        takes=ANYTHING,
        aliases=("around", "rint"),
    ),
)


def _next_after(p: Node, q: Node) -> Node:
    """The number next to `p` on the way to `q`: for halves the next one of theirs."""
    if not p.dtype.is_half:
        return b.nextafter(p, q)
    steps, zero = b.bitcast(p, int16), b.zeros_like(p)
    one = b.ones_like(steps)
    # The bits of numbers of one sign are ordered as their sizes.
    inward = b.logical_xor(b.gt(q, p), b.gt(p, zero))
    moved = b.add(steps, b.select(inward, b.neg(one), one))
    sign = b.bitwise_and(b.bitcast(q, int16), b.full_like(steps, -(1 << 15)))
    first = b.select(b.eq(p, zero), b.bitwise_or(one, sign), moved)
    result = b.select(b.eq(p, q), q, b.bitcast(first, p.dtype))
    missing = b.logical_or(b.isnan(p), b.isnan(q))
    return b.select(missing, b.add(p, q), result)


# Of equal zeros the second one, as in C; NumPy does otherwise for float16.
row(
    "nextafter",
    ANY,
    ANY,
    rule=lambda g, y, p, q: (g, None),
    public=Public(
        "The number next to the first one on the way to the second.",
        "[1.0, 0.0], [2.0, 0.0] -> [1.0000001, 0.       ]",
        build=_next_after,
        reference=lambda p, q: np.where(p == q, q, np.nextafter(p, q)),
    ),
)

# --- questions ------------------------------------------------------------------------------------


def _of_floats(build: Callable[[Node], Node]) -> Callable[[Node], Node]:
    """A question about floats, which is also asked of integers."""
    return lambda x: build(b.cast(x, as_float(x.dtype)))


def _is(value: float) -> Callable[[Node], Node]:
    return _of_floats(lambda x: b.eq(x, b.full_like(x, value)))


row(
    "isnan",
    ANY,
    public=Public(
        "Whether it is not a number.",
        "[1.0, float('nan')] -> [False,  True]",
        build=_of_floats(b.isnan),
        takes=ANYTHING,
        in_place=False,
    ),
)
row(
    "isinf",
    ANY,
    public=Public(
        "Whether it is infinite.",
        "[1.0, float('inf')] -> [False,  True]",
        build=_of_floats(b.isinf),
        takes=ANYTHING,
        in_place=False,
    ),
)
row(
    "isfinite",
    ANY,
    public=Public(
        "Whether it is a number.",
        "[1.0, float('inf')] -> [ True, False]",
        build=_of_floats(b.isfinite),
        takes=ANYTHING,
        in_place=False,
    ),
)
function(
    "isposinf",
    ANY,
    build=_is(math.inf),
    public=Public(
        "Whether it is plus infinity.",
        "[1.0, float('inf')] -> [False,  True]",
        takes=ANYTHING,
        in_place=False,
    ),
)
function(
    "isneginf",
    ANY,
    build=_is(-math.inf),
    public=Public(
        "Whether it is minus infinity.",
        "[1.0, float('-inf')] -> [False,  True]",
        takes=ANYTHING,
        in_place=False,
    ),
)
row(
    "signbit",
    ANY,
    public=Public("Whether the sign is minus.", "[-0.0, 1.0] -> [ True, False]", in_place=False),
)
