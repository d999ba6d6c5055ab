"""Trigonometric and hyperbolic functions, and their inverses."""

from __future__ import annotations

import math

from ...ir.halves import wide
from .. import build as b
from ..base import Node
from .table import ANY, POSITIVE, UNIT, Public, function, row

__all__: list[str] = []


def _one_minus_square(x: Node) -> Node:
    """1 - x^2, without cancellation near 1."""
    one = b.ones_like(x)
    return b.mul(b.sub(one, x), b.add(one, x))


# --- trigonometric --------------------------------------------------------------------------------

row(
    "sin",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.cos(x)),),
    public=Public("The sine.", "[0.0] -> [0.]"),
)
row(
    "cos",
    ANY,
    rule=lambda g, y, x: (b.neg(b.mul(g, b.sin(x))),),
    public=Public("The cosine.", "[0.0] -> [1.]"),
)
row(
    "tan",
    UNIT,
    rule=lambda g, y, x: (b.mul(g, b.add(b.ones_like(y), b.square(y))),),
    public=Public("The tangent.", "[0.0] -> [0.]"),
)
row(
    "asin",
    UNIT,
    rule=lambda g, y, x: (b.div(g, b.sqrt(_one_minus_square(x))),),
    public=Public("The inverse of the sine.", "[0.0] -> [0.]", aliases=("arcsin",)),
)
row(
    "acos",
    UNIT,
    rule=lambda g, y, x: (b.neg(b.div(g, b.sqrt(_one_minus_square(x)))),),
    public=Public("The inverse of the cosine.", "[1.0] -> [0.]", aliases=("arccos",)),
)
row(
    "atan",
    ANY,
    rule=lambda g, y, x: (b.div(g, b.add(b.ones_like(x), b.square(x))),),
    public=Public("The inverse of the tangent.", "[0.0] -> [0.]", aliases=("arctan",)),
)


def _atan2_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    scaled = b.div(g, b.add(b.square(p), b.square(q)))
    return b.mul(scaled, q), b.neg(b.mul(scaled, p))


row(
    "atan2",
    POSITIVE,
    ANY,
    rule=_atan2_rule,
    public=Public("The angle of the point (x2, x1).", "[0.0], [1.0] -> [0.]", aliases=("arctan2",)),
)

_NEAR_ZERO = 0.05


def _sinc(x: Node) -> Node:
    """sin(pi x) / (pi x); near 0 its series, whose derivatives are right too."""
    given, x = x.dtype, b.cast(x, wide(x.dtype))
    angle = b.mul(x, b.full_like(x, math.pi))
    near = b.lt(b.abs_(angle), b.full_like(x, _NEAR_ZERO))
    square = b.square(b.select(near, angle, b.zeros_like(x)))
    series = b.full_like(x, 1 / math.factorial(9))
    for factor in (7, 5, 3, 1):
        sign = -1 if factor in (3, 7) else 1
        term = b.full_like(x, sign / math.factorial(factor))
        series = b.add(b.mul(series, square), term)
    far = b.select(near, b.ones_like(x), angle)
    return b.cast(b.select(near, series, b.div(b.sin(far), far)), given)


function(
    "sinc", ANY, build=_sinc, public=Public("sin(pi x) / (pi x), at 0 it is 1.", "[0.0] -> [1.]")
)

# --- hyperbolic -----------------------------------------------------------------------------------

row(
    "sinh",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.cosh(x)),),
    public=Public("The hyperbolic sine.", "[0.0] -> [0.]"),
)
row(
    "cosh",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.sinh(x)),),
    public=Public("The hyperbolic cosine.", "[0.0] -> [1.]"),
)
row(
    "tanh",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.sub(b.ones_like(y), b.square(y))),),
    public=Public("The hyperbolic tangent.", "[0.0] -> [0.]"),
)
row(
    "asinh",
    ANY,
    rule=lambda g, y, x: (b.div(g, b.hypot(x, b.ones_like(x))),),
    public=Public("The inverse of the hyperbolic sine.", "[0.0] -> [0.]", aliases=("arcsinh",)),
)
row(
    "acosh",
    (1.3, 3),
    rule=lambda g, y, x: (b.div(g, b.sqrt(b.neg(_one_minus_square(x)))),),
    public=Public("The inverse of the hyperbolic cosine.", "[1.0] -> [0.]", aliases=("arccosh",)),
)
row(
    "atanh",
    UNIT,
    rule=lambda g, y, x: (b.div(g, _one_minus_square(x)),),
    public=Public("The inverse of the hyperbolic tangent.", "[0.0] -> [0.]", aliases=("arctanh",)),
)
