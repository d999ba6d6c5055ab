"""The inverses of the error function and of its complement, of primitive rows.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

import math

from .dtypes import float32
from .expr import Expr
from .scalar_build import absolute, div, eq, fma, gt, lt, mul, neg, polynomial, select, sqrt, sub
from .scalar_logarithm import log

__all__ = ["erfcinv", "erfinv"]

# p in erfinv(x) = x p(8/7 w - 1), w = -log(1 - x * x) up to 1.75
_CENTRAL32 = (
    -2.625432553955679e-07,
    -1.597575979823964e-06,
    2.1133301586599565e-05,
    4.4083240518827183e-05,
    -0.0016214110684852358,
    0.003943340242166341,
    0.21582580758066888,
    1.0964663665524177,
)
_CENTRAL64 = (
    -2.3269435129744595e-13,
    -1.5144589584365414e-13,
    1.4397117397699003e-11,
    -2.0399479984279322e-11,
    -7.827762427900698e-10,
    2.948001447203673e-09,
    3.896475458281955e-08,
    -2.68382667520857e-07,
    -1.673398817797771e-06,
    2.1136940243523114e-05,
    4.413022683053998e-05,
    -0.001621411795343476,
    0.003943330876761379,
    0.21582580760337813,
    1.0964663668449024,
)
# p in erfcinv(q) = p((2 s - 4.9) / 2.1), s = sqrt(-log(q)) from 1.4 to 3.5
_MIDDLE32 = (
    -3.342077904889175e-05,
    0.0001000785518674931,
    -0.00019313679791024577,
    0.00045900480674697304,
    -0.0010489756994605812,
    0.0019122225586223386,
    -0.0020252088229245923,
    -0.00486190458157974,
    1.0998087307176159,
    2.140185328620451,
)
_MIDDLE64 = (
    -5.039586625812316e-10,
    1.9282922129649535e-09,
    -3.4707637833457102e-09,
    7.045819210522952e-09,
    -1.722438944035957e-08,
    3.036801915962952e-08,
    -2.3943006638402366e-08,
    -8.700866351710263e-08,
    6.15493352286506e-07,
    -2.5562958003429298e-06,
    8.770127274482422e-06,
    -2.6904028375113875e-05,
    7.592855852524891e-05,
    -0.00019883886227367998,
    0.00048070773312825193,
    -0.0010469425111809005,
    0.0019043847408926613,
    -0.0020254626971530783,
    -0.004860920082902247,
    1.0998087357940036,
    2.1401853089123786,
)
# p in erfcinv(q) = s p((2 / s - a - b) / (b - a)) beyond, between 1 / s = a and b
_FAR32 = (
    -5.543779736293127e-06,
    2.0736409557402602e-05,
    -9.447794906572836e-05,
    0.0007071446635673759,
    -0.003626464936772561,
    -0.0320305259052246,
    0.9591156072596442,
)
_FAR64 = (
    -6.093576101096208e-12,
    1.8950921354764674e-11,
    -3.3886068365012306e-11,
    1.1120325431603501e-10,
    -4.183038782690709e-10,
    1.425009557916447e-09,
    -4.96630464704387e-09,
    1.8172051328011698e-08,
    -6.984800822989863e-08,
    2.8449441911798265e-07,
    -1.237915743982556e-06,
    6.085127188221299e-06,
    -4.1774706159617573e-05,
    0.0003924244251384657,
    -0.0023546711819172105,
    -0.027939481206730957,
    0.9540249219586782,
)
_LAST64 = (
    -2.8570376669654054e-11,
    5.925586998436739e-11,
    2.617397899329897e-11,
    -5.019016742780321e-11,
    -2.4236880353252205e-10,
    5.232113300283524e-10,
    -7.203613041044286e-10,
    1.6672754582597426e-09,
    -4.269843514258017e-09,
    1.0238308102586676e-08,
    -2.5160289529508153e-08,
    6.474071489093857e-08,
    -1.7501033020013343e-07,
    5.046642646049291e-07,
    -1.5912907972637992e-06,
    5.701670708381232e-06,
    -2.5443631153467896e-05,
    0.00017865016360134672,
    -0.001618440557455835,
    -0.00935497796139968,
    0.9899835554842772,
)
_CENTRAL_END = 1.75
_MIDDLE_END = 3.5
_FAR_END = 8.0
_LAST_END = 28.0
_FAR_END32 = 10.5


def _central(x: Expr, w: Expr) -> Expr:
    u = fma(w, 2 / _CENTRAL_END, -1.0)
    tail = _CENTRAL32 if x.dtype is float32 else _CENTRAL64
    return mul(x, polynomial(u, tail, mul(u, u)))


def _beyond(s: Expr, r: Expr, tail: tuple[float, ...], start: float, end: float) -> Expr:
    """A polynomial in ``r = 1 / s`` between two values of s, times s."""
    a, b = 1 / end, 1 / start
    u = fma(r, 2 / (b - a), -(a + b) / (b - a))
    return mul(s, polynomial(u, tail, mul(u, u)))


def _tail(q: Expr) -> Expr:
    """``erfcinv(q)`` of small positive numbers."""
    single = q.dtype is float32
    s = sqrt(neg(log(q)))
    u = fma(s, 2 / 2.1, -4.9 / 2.1)
    middle = polynomial(u, _MIDDLE32 if single else _MIDDLE64, mul(u, u))
    r = div(1.0, s)
    if single:
        far = _beyond(s, r, _FAR32, _MIDDLE_END, _FAR_END32)
    else:
        far = _beyond(s, r, _FAR64, _MIDDLE_END, _FAR_END)
        last = _beyond(s, r, _LAST64, _FAR_END, _LAST_END)
        far = select(lt(s, _FAR_END), far, last)
    return select(lt(s, _MIDDLE_END), middle, far)


def erfinv(x: Expr) -> Expr:
    """The inverse of the error function: polynomials of logarithms."""
    w = neg(log(fma(neg(x), x, 1.0)))
    q = sub(1.0, absolute(x))
    large = _tail(q)
    large = select(eq(q, 0.0), math.inf, large)
    large = select(lt(x, 0.0), neg(large), large)
    value = select(lt(w, _CENTRAL_END), _central(x, w), large)
    return select(gt(absolute(x), 1.0), math.nan, value)


def erfcinv(q: Expr) -> Expr:
    """The inverse of the complement, accurate where it is small."""
    x = sub(1.0, q)
    w = neg(log(mul(q, sub(2.0, q))))
    near = select(lt(q, 1.0), q, sub(2.0, q))
    large = select(eq(near, 0.0), math.inf, _tail(near))
    large = select(gt(q, 1.0), neg(large), large)
    value = select(lt(w, _CENTRAL_END), _central(x, w), large)
    return select(lt(near, 0.0), math.nan, value)
