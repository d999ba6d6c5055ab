"""Special functions: of errors, gamma, zeta, and Bessel."""

from __future__ import annotations

import math

import numpy as np

from .. import build as b
from ..base import Node
from .table import ANY, POSITIVE, UNIT, Public, row

__all__: list[str] = []


def _scaled(x: Node, factor: float) -> Node:
    return b.mul(x, b.full_like(x, factor))


# --- the error function ---------------------------------------------------------------------------


def _erf_slope(x: Node) -> Node:
    return _scaled(b.exp(b.neg(b.square(x))), 2 / math.sqrt(math.pi))


def _erfinv_slope(y: Node) -> Node:
    return _scaled(b.exp(b.square(y)), math.sqrt(math.pi) / 2)


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
row(
    "trigamma",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(g, _scaled(b.zeta(b.full_like(x, 3.0), x), -2.0)),),
)


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


def _per(x: Node, y: Node) -> Node:
    """``y / x``, at 0 its limit 1/2: of i1 and i1e."""
    zero = b.eq(x, b.zeros_like(x))
    safe = b.select(zero, b.ones_like(x), x)
    return b.select(zero, b.full_like(x, 0.5), b.div(y, safe))


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
    rule=lambda g, y, x: (b.mul(g, b.sub(b.i0(x), _per(x, y))),),
    public=Public("The modified Bessel function of order 1.", "[0.0] -> [0.]", special=True),
)
row(
    "i1e",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(g, b.sub(b.sub(b.i0e(x), _per(x, y)), b.mul(b.sign(x), y))),),
    public=Public("``exp(-abs(x)) * i1(x)``, without overflow.", "[0.0] -> [0.]", special=True),
)
