"""Arithmetic: sums and products, quotients and what they leave, sizes and signs, extremes."""

from __future__ import annotations

import numpy as np

from ...codegen.dtypes import bool_
from .. import build as b
from ..base import Node
from .table import ANY, ANYTHING, FLOATS, INTEGERS, NUMBERS, POSITIVE, Public, function, row

__all__: list[str] = []


# --- sums and products ----------------------------------------------------------------------------


def _add(p: Node, q: Node) -> Node:
    return b.logical_or(p, q) if p.dtype is bool_ else b.add(p, q)


row(
    "add",
    ANY,
    ANY,
    rule=lambda g, y, p, q: (g, g),
    public=Public(
        "The sum of two numbers.",
        "[1.0, 2.0], 3.0 -> [4., 5.]",
        build=_add,
        takes=ANYTHING,
        methods=(),
        verb="add",
    ),
)
row(
    "sub",
    ANY,
    ANY,
    rule=lambda g, y, p, q: (g, b.neg(g)),
    public=Public(
        "The first number less the second.",
        "[1.0, 2.0], 3 -> [-2., -1.]",
        name="subtract",
        takes=NUMBERS,
        aliases=("sub",),
        methods=(),
        verb="subtract",
    ),
)


def _multiply(p: Node, q: Node) -> Node:
    return b.logical_and(p, q) if p.dtype is bool_ else b.mul(p, q)


row(
    "mul",
    ANY,
    ANY,
    rule=lambda g, y, p, q: (b.mul(g, q), b.mul(g, p)),
    public=Public(
        "The product of two numbers.",
        "[1.0, 2.0], 3.0 -> [3., 6.]",
        name="multiply",
        build=_multiply,
        takes=ANYTHING,
        aliases=("mul",),
        verb="multiply",
    ),
)
row(
    "neg",
    ANY,
    rule=lambda g, y, x: (b.neg(g),),
    public=Public(
        "The number with the other sign.",
        "[1.0, -2.0] -> [-1.,  2.]",
        name="negative",
        takes=NUMBERS,
        aliases=("neg",),
    ),
)
row(
    "square",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.add(x, x)),),
    public=Public("The number times itself.", "[1.0, -2.0] -> [1., 4.]", takes=NUMBERS),
)
function(
    "positive",
    ANY,
    build=lambda x: x,
    public=Public("The number itself.", "[1.0, -2.0] -> [ 1., -2.]", takes=NUMBERS, in_place=False),
)
# All numbers are real.
function(
    "conj",
    ANY,
    build=lambda x: x,
    public=Public(
        "The complex conjugate; all numbers here are real.",
        "[1.0, 2.0] -> [1., 2.]",
        takes=NUMBERS,
        aliases=("conjugate",),
        in_place=False,
    ),
)
function(
    "real",
    ANY,
    build=lambda x: x,
    public=Public(
        "The real part: the number itself.", "[1.0, 2.0] -> [1., 2.]", takes=NUMBERS, methods=()
    ),
)
function(
    "imag",
    ANY,
    build=b.zeros_like,
    public=Public("The imaginary part: 0.", "[1.0, 2.0] -> [0., 0.]", takes=NUMBERS, methods=()),
)
for _name, _short, _factor, _summary, _example in (
    ("deg2rad", "radians", np.pi / 180, "Degrees as radians.", "[180.0] -> [3.1415927]"),
    ("rad2deg", "degrees", 180 / np.pi, "Radians as degrees.", "[0.0] -> [0.]"),
):
    function(
        _name,
        ANY,
        build=lambda x, factor=_factor: b.scaled(x, float(factor)),
        public=Public(_summary, _example, aliases=(_short,)),
    )


# --- quotients ------------------------------------------------------------------------------------

row(
    "div",
    ANY,
    POSITIVE,
    rule=lambda g, y, p, q: (b.div(g, q), b.neg(b.div(b.mul(g, y), q))),
    public=Public(
        "The quotient, of integers too a float.",
        "[1, 2], 4 -> [0.25, 0.5 ]",
        name="divide",
        aliases=("true_divide",),
        methods=(),
        verb="divide",
    ),
)
row(
    "reciprocal",
    POSITIVE,
    rule=lambda g, y, x: (b.neg(b.mul(g, b.square(y))),),
    public=Public("One over the number.", "[1.0, 4.0] -> [1.  , 0.25]", reference=lambda x: 1 / x),
)


def _floor_divide(p: Node, q: Node) -> Node:
    """``floor(p / q)``; an infinity divided by a number is infinite, not NaN as in NumPy."""
    quotient = b.floordiv(p, q)
    if not p.dtype.is_float:
        return quotient
    infinite = b.logical_and(b.isinf(p), b.isfinite(q))
    return b.select(infinite, b.stop_gradient(b.div(p, q)), quotient)


row(
    "floordiv",
    ANY,
    POSITIVE,
    public=Public(
        "The quotient, rounded down.",
        "[7, -7], 2 -> [ 3, -4]",
        name="floor_divide",
        build=_floor_divide,
        takes=NUMBERS,
    ),
)
row(
    "mod",
    (0.1, 0.9),
    (1, 3),
    rule=lambda g, y, p, q: (g, b.neg(b.mul(g, b.floordiv(p, q)))),
    public=Public(
        "What `floor_divide` leaves; it has the sign of `x2`.",
        "[7, -7], 3 -> [1, 2]",
        name="remainder",
        takes=NUMBERS,
        aliases=("mod",),
    ),
)


def _fmod(p: Node, q: Node) -> Node:
    """What division towards zero leaves; it has the sign of `p`."""
    if p.dtype.is_float:
        return b.fmod(p, q)
    rest = b.mod(p, q)
    if p.dtype.kind == "uint":
        return rest
    zero = b.zeros_like(p)
    differ = b.ne(b.lt(p, zero), b.lt(q, zero))
    wrong = b.logical_and(differ, b.ne(rest, zero))
    return b.select(wrong, b.sub(rest, q), rest)


row(
    "fmod",
    (3.1, 3.9),
    (1.1, 1.5),
    rule=lambda g, y, p, q: (g, b.neg(b.mul(g, b.trunc(b.div(p, q))))),
    public=Public(
        "What division towards 0 leaves, with the sign of `x1`.",
        "[7, -7], 3 -> [ 1, -1]",
        build=_fmod,
        takes=NUMBERS,
    ),
)
function(
    "gcd",
    ANY,
    ANY,
    build=b.gcd,
    public=Public(
        "The greatest common divisor of integers.", "[12, 0], 18 -> [ 6, 18]", takes=INTEGERS
    ),
)


def _lcm(p: Node, q: Node) -> Node:
    divisor = b.gcd(p, q)
    none = b.eq(divisor, b.zeros_like(p))
    safe = b.select(none, b.ones_like(p), divisor)
    if p.dtype.kind == "int":
        p, q = b.abs_(p), b.abs_(q)
    return b.mul(b.floordiv(p, safe), q)


function(
    "lcm",
    ANY,
    ANY,
    build=_lcm,
    public=Public(
        "The least common multiple of integers.", "[4, 0], 6 -> [12,  0]", takes=INTEGERS
    ),
)


# --- sizes and signs ------------------------------------------------------------------------------


def _absolute(x: Node) -> Node:
    return x if x.dtype.kind in ("bool", "uint") else b.abs_(x)


row(
    "abs",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(g, b.sign(x)),),
    public=Public(
        "The absolute value; the derivative at 0 is 0.",
        "[1.0, -2.0] -> [1., 2.]",
        build=_absolute,
        takes=ANYTHING,
        aliases=("absolute", "fabs"),
    ),
)
row("sign", ANY, public=Public("-1, 0 or 1.", "[-3.0, 0.0, 2.0] -> [-1.,  0.,  1.]", takes=NUMBERS))


def _hypot_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    """The gradient of a length is zero where the length is, to any order."""
    zero = b.zeros_like(y)
    nowhere = b.eq(y, zero)
    length = b.select(nowhere, b.ones_like(y), y)
    slopes = (b.select(nowhere, zero, b.div(x, length)) for x in (p, q))
    return tuple(b.mul(g, slope) for slope in slopes)


row(
    "hypot",
    POSITIVE,
    ANY,
    rule=_hypot_rule,
    public=Public("sqrt(x1**2 + x2**2) without overflow.", "[3.0], [4.0] -> [5.]"),
)


def _same_sign(p: Node, q: Node) -> Node:
    one = b.ones_like(p)
    return b.mul(b.copysign(one, p), b.copysign(one, q))


row(
    "copysign",
    POSITIVE,
    POSITIVE,
    rule=lambda g, y, p, q: (b.mul(g, _same_sign(p, q)), None),
    public=Public("`x1` with the sign of `x2`.", "[1.0, 2.0], -1.0 -> [-1., -2.]"),
)


def _heaviside(x: Node, middle: Node) -> Node:
    zero = b.zeros_like(x)
    step = b.select(b.lt(x, zero), zero, b.ones_like(x))
    step = b.select(b.eq(x, zero), middle, step)
    return b.select(b.isnan(x), b.stop_gradient(x), step)


function(
    "heaviside",
    ANY,
    ANY,
    build=_heaviside,
    public=Public(
        "0 below 0, 1 above, `x2` at 0.", "[-1.0, 0.0, 2.0], 0.5 -> [0. , 0.5, 1. ]", takes=FLOATS
    ),
)


# --- extremes -------------------------------------------------------------------------------------


def _larger(g: Node, p: Node, q: Node) -> Node:
    """`g` where `p` is larger than `q`, half of it where they are equal."""
    return b.select(b.eq(p, q), b.scaled(g, 0.5), b.select(b.gt(p, q), g, b.zeros_like(g)))


def _maximum(p: Node, q: Node) -> Node:
    return b.logical_or(p, q) if p.dtype is bool_ else b.maximum(p, q)


def _minimum(p: Node, q: Node) -> Node:
    return b.logical_and(p, q) if p.dtype is bool_ else b.minimum(p, q)


row(
    "maximum",
    ANY,
    ANY,
    rule=lambda g, y, p, q: (_larger(g, p, q), _larger(g, q, p)),
    kinks=True,
    public=Public(
        "The larger of two; equal ones share the gradient.",
        "[1.0, 5.0], 3 -> [3., 5.]",
        build=_maximum,
        takes=ANYTHING,
    ),
)
row(
    "minimum",
    ANY,
    ANY,
    rule=lambda g, y, p, q: (_larger(g, q, p), _larger(g, p, q)),
    kinks=True,
    public=Public(
        "The smaller of two; equal ones share the gradient.",
        "[1.0, 5.0], 3 -> [1., 3.]",
        build=_minimum,
        takes=ANYTHING,
    ),
)


def _without_nan(p: Node, q: Node) -> tuple[Node, Node]:
    """Both operands, of a number and NaN twice the number."""
    if not p.dtype.is_float:
        return p, q
    return b.select(b.isnan(p), q, p), b.select(b.isnan(q), p, q)


function(
    "fmax",
    ANY,
    ANY,
    build=lambda p, q: _maximum(*_without_nan(p, q)),
    public=Public(
        "The larger of two; of NaN and a number the number.",
        "[1.0, float('nan')], 0.5 -> [1. , 0.5]",
        takes=ANYTHING,
    ),
)
function(
    "fmin",
    ANY,
    ANY,
    build=lambda p, q: _minimum(*_without_nan(p, q)),
    public=Public(
        "The smaller of two; of NaN and a number the number.",
        "[1.0, float('nan')], 1.5 -> [1. , 1.5]",
        takes=ANYTHING,
    ),
)


def _relu(x: Node) -> Node:
    # Not a maximum: the derivative at 0 is 0, and NaN stays NaN.
    zero = b.zeros_like(x)
    return b.select(b.le(x, zero), zero, x)


function(
    "relu",
    ANY,
    build=_relu,
    public=Public(
        "The number, or 0 if it is negative.",
        "[-1.0, 2.0] -> [0., 2.]",
        takes=NUMBERS,
        reference=lambda x: np.where(x <= 0, np.zeros_like(x), x),
    ),
)
