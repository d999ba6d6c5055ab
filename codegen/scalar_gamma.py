"""The logarithm of the gamma function, its derivatives, and the zeta function of Hurwitz.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .dtypes import float32
from .expr import Expr
from .scalar_build import (
    absolute,
    add,
    div,
    eq,
    fma,
    ge,
    gt,
    le,
    lt,
    mul,
    ne,
    neg,
    number,
    or_,
    polynomial,
    rint,
    select,
    sub,
    trunc,
)
from .scalar_logarithm import log
from .scalar_power import pow_
from .scalar_trigonometric import sin, tan

__all__ = ["digamma", "lgamma", "trigamma", "zeta"]

# p in lgamma(2 + t) = t * (1 + t) * p(t) for |t| up to 1/2
_GAMMA32 = (
    0.00020588578996421657,
    -0.0004564478114250902,
    0.0009108883048531965,
    -0.0020983731185231203,
    0.004998956319174159,
    -0.012384877203957737,
    0.03296499468798302,
    -0.10031728877885711,
    0.42278433509846713,
)
_GAMMA64 = (
    -2.489029529650396e-07,
    5.236568534841362e-07,
    -8.247688082905913e-07,
    1.749054030806819e-06,
    -3.854622136251583e-06,
    8.23747667463625e-06,
    -1.7660586231652296e-05,
    3.816660593339992e-05,
    -8.309522146915126e-05,
    0.0001825528383907226,
    -0.00040570739285611585,
    0.0009153769125087831,
    -0.002108130834069472,
    0.0049986411649353725,
    -0.012384192193370211,
    0.03296500062115359,
    -0.10031730167435392,
    0.42278433509846713,
)
# p in digamma(x) = (x - root) * p(2 x - 3) from 1 to 2
_ROOT32 = (
    -3.1067026487559866e-05,
    9.339481030694158e-05,
    -0.00020350689239956258,
    0.0006151471771783476,
    -0.0019377209019169558,
    0.005944763862086814,
    -0.018550279690076197,
    0.06013461324811798,
    -0.21181371736950597,
    0.9510558962329134,
)
_ROOT64 = (
    2.832706668021759e-11,
    -8.498137230186096e-11,
    9.206434499177992e-11,
    -2.7619635330317715e-10,
    1.2358072433984831e-09,
    -3.7075072647122386e-09,
    1.0542687624027994e-08,
    -3.163020268955334e-08,
    9.542050972688906e-08,
    -2.86315275846934e-07,
    8.589127353033379e-07,
    -2.57809436305308e-06,
    7.741232223504057e-06,
    -2.325824239445257e-05,
    6.995018873950506e-05,
    -0.00021074841140458636,
    0.0006368880303257201,
    -0.0019350666648590097,
    0.005936795278305649,
    -0.018550615381735115,
    0.060135621060196744,
    -0.2118137106407303,
    0.9510558760318328,
)
# The positive zero of digamma, in two parts.
_ZERO32 = (1.4616321325302124, 1.2438149938918909e-08)
_ZERO64 = (1.4616321449683622, 9.549995429965697e-17)
# Stirling's series, B(2n) / (2n (2n - 1)), the highest first.
_STIRLING = (
    -3617 / 122400,
    1 / 156,
    -691 / 360360,
    1 / 1188,
    -1 / 1680,
    1 / 1260,
    -1 / 360,
    1 / 12,
)
_LARGE = 8.0
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
# B(2n) / 2n, and B(2n): what digamma and its derivative have in the place of that.
_DIGAMMA = (-3617 / 8160, 1 / 12, -691 / 32760, 1 / 132, -1 / 240, 1 / 252, -1 / 120, 1 / 12)
_TRIGAMMA = (-3617 / 510, 7 / 6, -691 / 2730, 5 / 66, -1 / 30, 1 / 42, -1 / 30, 1 / 6)
# B(2n) / (2n)!, the terms of Euler and Maclaurin.
_MACLAURIN = tuple(
    b / math.factorial(2 * n + 2)
    for n, b in enumerate(
        (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798)
    )
)
_TERMS = 10


def _fraction(x: Expr) -> Expr:
    """What is left of `x` beside the nearest integer, exactly."""
    return sub(x, rint(x))


def _is_pole(x: Expr) -> Expr:
    return eq(trunc(x), x)


def _positive(x: Expr) -> Expr:
    """``lgamma(x)`` of positive numbers."""
    whole = rint(x)
    t = sub(x, whole)
    tail = _GAMMA32 if x.dtype is float32 else _GAMMA64
    near = mul(mul(t, add(t, 1.0)), polynomial(t, tail, mul(t, t)))
    # The distance from 2 +- 1/2 as a product: (x - 1) ... (x - n), or 1 / (x (x + 1)).
    product: Expr = number(1.0, x)
    for k in range(1, int(_LARGE) - 1):
        product = mul(product, select(gt(whole, float(k + 1)), sub(x, float(k)), 1.0))
    below = mul(select(lt(whole, 2.0), x, 1.0), select(lt(whole, 1.0), add(x, 1.0), 1.0))
    far = ge(x, _LARGE)
    argument = select(far, x, select(lt(whole, 2.0), below, product))
    logarithm = log(argument)
    small = select(lt(whole, 2.0), sub(near, logarithm), add(near, logarithm))
    inverse = div(1.0, x)
    series = mul(inverse, polynomial(mul(inverse, inverse), _STIRLING))
    # x log x - x first: it overflows only where the result does.
    large = fma(x, sub(logarithm, 1.0), fma(logarithm, -0.5, add(series, _HALF_LOG_TWO_PI)))
    large = select(eq(x, math.inf), math.inf, large)
    return select(far, large, small)


def lgamma(x: Expr) -> Expr:
    """``log(abs(gamma(x)))``: a polynomial between 3/2 and 5/2, Stirling's series from 8 on."""
    size = absolute(x)
    value = _positive(size)
    # gamma(x) gamma(-x) = -pi / (x sin(pi x))
    sine = absolute(sin(mul(_fraction(size), math.pi)))
    reflected = sub(log(div(math.pi, mul(size, sine))), value)
    # So near zero both are -log(size), and the product would be too small to hold.
    near = select(lt(size, 1e-17), value, reflected)
    negative = select(_is_pole(x), math.inf, near)
    return select(gt(x, 0.0), value, select(eq(x, 0.0), math.inf, select(lt(x, 0.0), negative, x)))


def _steps(x: Expr) -> int:
    return 6 if x.dtype is float32 else 10


def _near_zero(x: Expr) -> Expr:
    """``digamma(x)`` from 1 to 2, where it is zero once."""
    single = x.dtype is float32
    high, low = _ZERO32 if single else _ZERO64
    u = fma(x, 2.0, -3.0)
    factor = polynomial(u, _ROOT32 if single else _ROOT64, mul(u, u))
    return mul(sub(sub(x, high), low), factor)


def digamma(x: Expr) -> Expr:
    """The derivative of `lgamma`: an asymptotic series after the recurrence."""
    turned = lt(x, 0.5)
    y = select(turned, sub(1.0, x), x)
    limit = float(_steps(x))
    total: Expr = number(0.0, x)
    for _ in range(_steps(x)):
        small = lt(y, limit)
        total = sub(total, select(small, div(1.0, y), 0.0))
        y = select(small, add(y, 1.0), y)
    inverse = div(1.0, y)
    square = mul(inverse, inverse)
    tail = fma(square, polynomial(square, _DIGAMMA), mul(inverse, 0.5))
    value = add(sub(log(y), tail), total)
    cotangent = div(math.pi, tan(mul(_fraction(x), math.pi)))
    negative = select(_is_pole(x), math.nan, sub(value, cotangent))
    zero = neg(div(1.0, x))
    # Up to 3 one step of the recurrence leads to where the zero is known exactly.
    below, above = lt(x, 1.0), gt(x, 2.0)
    inside = select(below, add(x, 1.0), select(above, sub(x, 1.0), x))
    step = select(below, neg(div(1.0, x)), select(above, div(1.0, inside), 0.0))
    value = select(gt(x, 3.0), value, add(_near_zero(inside), step))
    return select(eq(x, 0.0), zero, select(gt(x, 0.0), value, negative))


def trigamma(x: Expr) -> Expr:
    """The second derivative of `lgamma`."""
    turned = lt(x, 0.5)
    y = select(turned, sub(1.0, x), x)
    limit = float(_steps(x))
    total: Expr = number(0.0, x)
    for _ in range(_steps(x)):
        small = lt(y, limit)
        inverse = div(1.0, y)
        total = add(total, select(small, mul(inverse, inverse), 0.0))
        y = select(small, add(y, 1.0), y)
    inverse = div(1.0, y)
    square = mul(inverse, inverse)
    series = fma(square, polynomial(square, _TRIGAMMA), fma(inverse, 0.5, 1.0))
    value = fma(inverse, series, total)
    ratio = div(math.pi, sin(mul(_fraction(x), math.pi)))
    negative = select(_is_pole(x), math.inf, fma(ratio, ratio, neg(value)))
    return select(turned, negative, value)


def zeta(s: Expr, q: Expr, pow_: Callable[[Expr, Expr], Expr] = pow_) -> Expr:
    """The sum of ``(q + k) ** -s``: the formula of Euler and Maclaurin after ten terms."""
    power = neg(s)
    total = pow_(q, power)
    for k in range(1, _TERMS):
        total = add(total, pow_(add(q, float(k)), power))
    a = add(q, float(_TERMS))
    last = pow_(a, power)
    total = add(total, add(div(mul(last, a), sub(s, 1.0)), mul(last, 0.5)))
    inverse = div(1.0, a)
    square = mul(inverse, inverse)
    term = mul(mul(last, inverse), s)
    for n, factor in enumerate(_MACLAURIN):
        total = fma(term, factor, total)
        term = mul(term, mul(square, mul(add(s, 2.0 * n + 1.0), add(s, 2.0 * n + 2.0))))
    far = select(
        eq(s, math.inf),
        select(gt(q, 1.0), 0.0, select(eq(q, 1.0), number(1.0, q), math.inf)),
        total,
    )
    value = select(ge(q, 1e30), mul(pow_(q, sub(1.0, s)), div(1.0, sub(s, 1.0))), far)
    pole = select(_is_pole(q), number(math.inf, q), math.nan)
    value = select(le(q, 0.0), pole, value)
    value = select(lt(s, 1.0), math.nan, select(eq(s, 1.0), math.inf, value))
    return select(or_(ne(s, s), ne(q, q)), math.nan, value)
