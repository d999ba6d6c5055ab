"""The error function and its complement, of primitive rows.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

from .dtypes import float32, int32
from .expr import Expr
from .scalar_build import (
    absolute,
    add,
    bitcast,
    div,
    fma,
    lt,
    mul,
    neg,
    polynomial,
    select,
    shl,
    sub,
)
from .scalar_exponential import clamp_high, copy_sign, exp, split_sign

__all__ = ["erf", "erfc"]

# p in erf(x) = x + x * p(x * x) on [0, 1]
_SMALL32 = (
    7.889117841841653e-05,
    -0.0008020841050893068,
    0.005189535208046436,
    -0.026854444295167923,
    0.11283600330352783,
    -0.3761262595653534,
    0.12837916612625122,
)
_SMALL64 = (
    -7.801195822297999e-10,
    1.3722979850269634e-08,
    -1.6209176697240427e-07,
    1.6447517773201075e-06,
    -1.4924744670342449e-05,
    0.00012055295320815185,
    -0.0008548325989705853,
    0.005223977607423621,
    -0.026866170643276233,
    0.11283791670945253,
    -0.3761263890318355,
    0.12837916709551256,
)
# p in erfc(x) = 2 ** (x * p(x)) on [1, 3.95], with an error relative to erf
_LARGE32 = (
    0.00030391031759791076,
    -0.00459809135645628,
    0.03289279341697693,
    -0.15165404975414276,
    -0.9173073172569275,
    -1.628053903579712,
)
# p in 2 ** r = 1 + r * p(r), as exact as a number that is subtracted from 1 need be
_POWER32 = (
    0.0013407559599727392,
    0.009672090411186218,
    0.05550307407975197,
    0.24022231996059418,
    0.6931472420692444,
)
_MAGIC32 = 1.5 * 2.0**23 + 127.0
_ONE32 = 3.9375
_ONE64 = 6.0
# p in erfc(x) = exp(-x * x) / (1 + 2 x) * p((x - c) / (x + c)) from 1/2 on
_SCALED32 = (
    -0.00022727112809661776,
    -0.0012658464256674051,
    0.0011485266732051969,
    0.008659298531711102,
    -0.008006413467228413,
    -0.05421127378940582,
    0.16404883563518524,
    -0.16603082418441772,
    -0.09276376664638519,
    1.2769783735275269,
)
_CENTER32 = 2.0
_SCALED64 = (
    -1.0068616408636693e-08,
    -1.213891255844051e-08,
    1.0443927272706592e-07,
    6.679405767579056e-08,
    -8.20940481552571e-07,
    2.9982169515068113e-07,
    5.707459259050823e-06,
    -1.1224898383035903e-05,
    -2.4398452796725992e-05,
    0.0001506225578933849,
    -0.00019925686404233318,
    -0.0007577734632259363,
    0.005031970002408332,
    -0.016197734036234906,
    0.037167515535320474,
    -0.06633036581376779,
    0.09373283499845644,
    -0.1010390660362474,
    0.06809705425469023,
    0.015379652102618931,
    -0.1396211168405625,
    1.2329951186255526,
)
_CENTER64 = 4.0
_ZERO32 = 10.25
_ZERO64 = 27.5


def _small(x: Expr) -> Expr:
    """``erf(x)`` up to 1."""
    z = mul(x, x)
    tail = _SMALL32 if x.dtype is float32 else _SMALL64
    return fma(x, polynomial(z, tail, mul(z, z)), x)


def _complement(x: Expr) -> Expr:
    """``erfc(x)`` from 1/2 on."""
    single = x.dtype is float32
    x = clamp_high(x, _ZERO32 if single else _ZERO64)
    center = _CENTER32 if single else _CENTER64
    t = div(sub(x, center), add(x, center))
    tail = polynomial(t, _SCALED32) if single else polynomial(t, _SCALED64, mul(t, t))
    scaled = div(tail, fma(x, 2.0, 1.0))
    square = mul(x, x)
    rest = fma(x, x, neg(square))
    gauss = exp(neg(square))
    return mul(fma(gauss, neg(rest), gauss), scaled)


def _large32(t: Expr) -> Expr:
    """``erf(t) = 1 - 2 ** (t * p(t))`` from 1 to `_ONE32`."""
    p = polynomial(t, _LARGE32, mul(t, t))
    z = fma(t, p, _MAGIC32)
    r = fma(t, p, neg(sub(z, _MAGIC32)))
    power = bitcast(shl(bitcast(z, int32), 23), float32)
    return fma(neg(power), fma(r, polynomial(r, _POWER32, mul(r, r)), 1.0), 1.0)


def erf(x: Expr) -> Expr:
    """The error function: an odd polynomial up to 1, one minus its complement beyond."""
    single = x.dtype is float32
    sign, size = split_sign(x)
    t = clamp_high(size, _ONE32 if single else _ONE64)
    large = _large32(t) if single else sub(1.0, _complement(t))
    return copy_sign(select(lt(t, 1.0), _small(t), large), sign)


def erfc(x: Expr) -> Expr:
    """``1 - erf(x)``, accurate where it is small."""
    size = absolute(x)
    tail = _complement(size)
    large = select(lt(x, 0.0), sub(2.0, tail), tail)
    return select(lt(size, 0.5), sub(1.0, _small(x)), large)
