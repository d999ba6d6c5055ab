"""Special functions: of errors, gamma, zeta, and Bessel."""

from __future__ import annotations

import math

import numpy as np

from .. import build as b
from ..base import Node
from .table import ANY, POSITIVE, UNIT, Public, row

__all__: list[str] = []


# --- the error function ---------------------------------------------------------------------------


def _erf_slope(x: Node) -> Node:
    return b.scaled(b.exp(b.neg(b.square(x))), 2 / math.sqrt(math.pi))


def _erfinv_slope(y: Node) -> Node:
    return b.scaled(b.exp(b.square(y)), math.sqrt(math.pi) / 2)


row(
    "erf",
    ANY,
    rule=lambda g, y, x: (b.mul(g, _erf_slope(x)),),
    public=Public("The error function.", "[0.0] -> [0.]", reference=np.vectorize(math.erf)),
)
row(
    "erfc",
    ANY,
    rule=lambda g, y, x: (b.neg(b.mul(g, _erf_slope(x))),),
    public=Public(
        "1 - erf(x), also accurate for large `x`.",
        "[0.0] -> [1.]",
        reference=np.vectorize(math.erfc),
    ),
)
row(
    "erfinv",
    UNIT,
    rule=lambda g, y, x: (b.mul(g, _erfinv_slope(y)),),
    public=Public("The inverse of the error function.", "[0.0] -> [0.]", special=True),
)
row(
    "erfcinv",
    (0.1, 1.9),
    rule=lambda g, y, x: (b.neg(b.mul(g, _erfinv_slope(y))),),
    public=Public("The inverse of `erfc`, also near 0.", "[1.0] -> [0.]", special=True),
)

# --- gamma and zeta -------------------------------------------------------------------------------

row(
    "lgamma",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(g, b.digamma(x)),),
    public=Public(
        "The logarithm of the gamma function's size.",
        "[1.0, 3.0] -> [0.       , 0.6931472]",
        name="gammaln",
        aliases=("lgamma",),
        special=True,
        reference=np.vectorize(math.lgamma),
    ),
)
row(
    "digamma",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(g, b.trigamma(x)),),
    public=Public(
        "The derivative of `gammaln`.", "[1.0] -> [-0.5772157]", aliases=("psi",), special=True
    ),
)


def _trigamma_rule(g: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
    """-2 zeta(3, x); left of 0 by reflection at 1/2."""
    turned = b.le(x, b.zeros_like(x))
    one = b.ones_like(x)
    right = b.scaled(b.zeta(b.full_like(x, 3.0), b.select(turned, b.sub(one, x), x)), -2.0)
    angle = b.scaled(b.select(turned, x, b.full_like(x, 0.5)), math.pi)
    sine = b.sin(angle)
    between = b.div(b.scaled(b.cos(angle), 2 * math.pi**3), b.mul(sine, b.square(sine)))
    return (b.mul(g, b.select(turned, b.sub(right, between), right)),)


row("trigamma", POSITIVE, rule=_trigamma_rule)


def _zeta_rule(g: Node, y: Node, s: Node, q: Node) -> tuple[Node | None, ...]:
    """By `q`; `build.zeta` wraps `s` so that a gradient that gets there is an error."""
    following = Node(y.op, (b.add(s, b.ones_like(s)), q))
    return b.zeros_like(s), b.neg(b.mul(g, b.mul(s, following)))


row(
    "zeta",
    (1.5, 4),
    POSITIVE,
    rule=_zeta_rule,
    complete=False,
    public=Public(
        "Hurwitz' zeta: the sum of ``(k + x2) ** -x1`` over k = 0, 1, ...; no derivative by `x1`.",
        "[2.0], 1.0 -> [1.644934]",
        build=b.zeta,
        special=True,
    ),
)

# --- Bessel ---------------------------------------------------------------------------------------


def _i1_per(x: Node, y: Node, scale: Node) -> Node:
    """``y / x`` for ``y = scale * i1(x)``: a series near 0, so that derivatives are exact there."""
    near = b.lt(b.abs_(x), b.full_like(x, 0.5))
    t = b.scaled(b.square(b.select(near, x, b.zeros_like(x))), 0.25)
    series = b.zeros_like(x)
    for k in range(6, -1, -1):
        factor = 0.5 / (math.factorial(k) * math.factorial(k + 1))
        series = b.add(b.mul(series, t), b.full_like(x, factor))
    safe = b.select(near, b.ones_like(x), x)
    return b.select(near, b.mul(series, scale), b.div(y, safe))


def _i1_rule(g: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
    return (b.mul(g, b.sub(b.i0(x), _i1_per(x, y, b.ones_like(x)))),)


def _i1e_rule(g: Node, y: Node, x: Node) -> tuple[Node | None, ...]:
    slope = b.sub(b.i0e(x), _i1_per(x, y, b.exp(b.neg(b.abs_(x)))))
    return (b.mul(g, b.sub(slope, b.mul(b.sign(x), y))),)


row(
    "i0",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.i1(x)),),
    public=Public("The modified Bessel function of order 0.", "[0.0] -> [1.]", special=True),
)
row(
    "i0e",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(g, b.sub(b.i1e(x), b.mul(b.sign(x), y))),),
    public=Public("``exp(-abs(x)) * i0(x)``, without overflow.", "[0.0] -> [1.]", special=True),
)
row(
    "i1",
    ANY,
    rule=_i1_rule,
    public=Public("The modified Bessel function of order 1.", "[0.0] -> [0.]", special=True),
)
row(
    "i1e",
    POSITIVE,
    rule=_i1e_rule,
    public=Public("``exp(-abs(x)) * i1(x)``, without overflow.", "[0.0] -> [0.]", special=True),
)
