"""Exponentials, logarithms, powers and roots."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...codegen.dtypes import float64
from ...codegen.expr import Expr
from ...codegen.scalar import rows
from ...errors import DTypeError
from ...ir.halves import wide
from .. import build as b
from ..base import Node
from .table import ANY, ANYTHING, ELEMENTWISE, NUMBERS, POSITIVE, Definition, Public, function, row

__all__: list[str] = []

_LN2, _LN10 = math.log(2), math.log(10)


# --- exponentials ---------------------------------------------------------------------------------

row(
    "exp",
    ANY,
    rule=lambda g, y, x: (b.mul(g, y),),
    public=Public("e to the power `x`.", "[0.0] -> [1.]"),
)
row(
    "exp2",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.scaled(y, _LN2)),),
    public=Public("2 to the power `x`.", "[0.0, 3.0] -> [1., 8.]"),
)
row(
    "expm1",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.exp(x)),),
    public=Public("exp(x) - 1, also accurate for small `x`.", "[0.0] -> [0.]"),
)


def _sigmoid(x: Expr) -> Expr:
    """1 / (1 + exp(-x)), without overflow, and accurate to both sides."""
    power = rows.exp(rows.neg(rows.abs(x)))
    return rows.div(rows.select(rows.ge(x, 0.0), 1.0, power), rows.add(power, 1.0))


def _sigmoid_meaning(x: Any) -> Any:
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, power) / (power + 1)


row(
    "sigmoid",
    ANY,
    rule=lambda g, y, x: (b.mul(g, b.mul(y, b.sub(b.ones_like(y), y))),),
    scalar=Definition(_sigmoid, _sigmoid_meaning, 3),
    public=Public(
        "1 / (1 + exp(-x)).",
        "[0.0] -> [0.5]",
        reference=lambda x: 1 / (1 + np.exp(-x.astype(np.longdouble))),
    ),
)


def _log_expit(x: Expr) -> Expr:
    rest = rows.log1p(rows.exp(rows.neg(rows.abs(x))))
    return rows.select(rows.lt(x, 0.0), rows.sub(x, rest), rows.neg(rest))


row(
    "log_expit",
    ANY,
    rule=lambda g, y, x: (b.mul(g, ELEMENTWISE["sigmoid"](b.neg(x))),),
    scalar=Definition(_log_expit, lambda x: -np.logaddexp(0, -x), 3),
    public=Public(
        "log(1 / (1 + exp(-x))), without overflow.", "[0.0] -> [-0.6931472]", special=True
    ),
)

# --- logarithms -----------------------------------------------------------------------------------

row(
    "log",
    POSITIVE,
    rule=lambda g, y, x: (b.div(g, x),),
    public=Public("The natural logarithm.", "[1.0] -> [0.]"),
)
row(
    "log2",
    POSITIVE,
    rule=lambda g, y, x: (b.div(b.scaled(g, 1 / _LN2), x),),
    public=Public("The logarithm to base 2.", "[1.0, 8.0] -> [0., 3.]"),
)
row(
    "log10",
    POSITIVE,
    rule=lambda g, y, x: (b.div(b.scaled(g, 1 / _LN10), x),),
    public=Public("The logarithm to base 10.", "[1.0, 10.0] -> [0., 1.]"),
)
row(
    "log1p",
    POSITIVE,
    rule=lambda g, y, x: (b.div(g, b.add(x, b.ones_like(x))),),
    public=Public("log(1 + x), also accurate for small `x`.", "[0.0] -> [0.]"),
)


def _logaddexp_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    """Weights exp(x - y); infinities that cancel count as zero."""

    def weight(x: Node) -> Node:
        return b.exp(b.select(b.eq(x, y), b.zeros_like(y), b.sub(x, y)))

    return b.mul(g, weight(p)), b.mul(g, weight(q))


def _logaddexp2_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    def weight(x: Node) -> Node:
        return b.exp2(b.select(b.eq(x, y), b.zeros_like(y), b.sub(x, y)))

    return b.mul(g, weight(p)), b.mul(g, weight(q))


def _logaddexp2(x: Expr, y: Expr) -> Expr:
    distance = rows.select(rows.eq(x, y), 0.0, rows.abs(rows.sub(x, y)))
    rest = rows.log1p(rows.exp2(rows.neg(distance)))
    return rows.add(rows.maximum(x, y), rows.mul(rest, 1 / _LN2))


row(
    "logaddexp",
    ANY,
    ANY,
    rule=_logaddexp_rule,
    public=Public("log(exp(x1) + exp(x2)) without overflow.", "[-1e9], 0.0 -> [0.]"),
)
row(
    "logaddexp2",
    ANY,
    ANY,
    rule=_logaddexp2_rule,
    scalar=Definition(_logaddexp2, np.logaddexp2, 5),
    public=Public("log2(2**x1 + 2**x2) without overflow.", "[1e9], 0.0 -> [1.e+09]"),
)

# --- powers ---------------------------------------------------------------------------------------


def _pow_rule(g: Node, y: Node, x: Node, e: Node) -> tuple[Node | None, ...]:
    """x^e: right at x = 0 for e = 0, 1, 2, ...; no gradient by e where x <= 0."""
    one, zero = b.ones_like(x), b.zeros_like(x)
    known = b.constant_value(e)
    if known is not None:
        if known == 0:
            return None, None
        power = b.pow_(x, b.full_like(e, known - 1))
        return b.mul(g, b.mul(e, power) if known != 1 else one), None
    # At x = 0 and e = 0 the factor e is zero and x^-1 infinite: take x^0 there.
    both = b.logical_and(b.eq(x, zero), b.eq(e, zero))
    power = b.pow_(x, b.select(both, zero, b.sub(e, one)))
    positive = b.select(b.gt(x, zero), x, one)
    return b.mul(g, b.mul(e, power)), b.mul(g, b.mul(y, b.log(positive)))


def _power(x: Node, e: Node) -> Node:
    """``x ** e``; small constant powers are products, as in NumPy."""
    exponent = b.constant_value(e)
    if x.dtype.is_float:
        special = {0.5: b.sqrt, -1: b.reciprocal, 3: _cube, 0: b.ones_like}
        make = None if exponent is None else special.get(exponent)
        return b.pow_(x, e) if make is None else make(x)
    if exponent is not None and exponent < 0:
        raise DTypeError(
            f"an integer array to the power {exponent}",
            remedy='compute with floats, x.astype("float32")',
        )
    return b.pow_(x, e) if exponent is None else _integer_power(x, int(exponent))


def _cube(x: Node) -> Node:
    given, x = x.dtype, b.cast(x, wide(x.dtype))
    return b.cast(b.mul(b.square(x), x), given)


def _integer_power(x: Node, exponent: int) -> Node:
    result = None
    while exponent:
        if exponent & 1:
            result = x if result is None else b.mul(result, x)
        exponent >>= 1
        x = b.square(x) if exponent else x
    return b.ones_like(x) if result is None else result


row(
    "pow",
    POSITIVE,
    ANY,
    rule=_pow_rule,
    public=Public(
        "`x1` to the power `x2`; right at base 0 too.",
        "[1.0, 3.0], 2 -> [1., 9.]",
        build=_power,
        takes=NUMBERS,
        aliases=("power",),
        methods=(),
    ),
)
function(
    "float_power",
    POSITIVE,
    ANY,
    build=lambda x, e: _power(b.cast(x, float64), b.cast(e, float64)),
    public=Public(
        "`x1` to the power `x2`, computed as float64.",
        "[2], -1 -> [0.5], dtype=float64",
        takes=ANYTHING,
    ),
)

# --- roots ----------------------------------------------------------------------------------------

row(
    "sqrt",
    POSITIVE,
    rule=lambda g, y, x: (b.div(b.scaled(g, 0.5), y),),
    public=Public("The square root; the derivative at 0 is infinite.", "[4.0, 9.0] -> [2., 3.]"),
)
row(
    "rsqrt",
    POSITIVE,
    rule=lambda g, y, x: (b.mul(b.scaled(g, -0.5), b.mul(y, b.square(y))),),
    public=Public(
        "One over the square root.", "[1.0, 4.0] -> [1. , 0.5]", reference=lambda x: 1 / np.sqrt(x)
    ),
)
row(
    "cbrt",
    POSITIVE,
    rule=lambda g, y, x: (b.div(b.scaled(g, 1 / 3), b.square(y)),),
    public=Public("The cube root.", "[8.0, 1.0] -> [2., 1.]"),
)
