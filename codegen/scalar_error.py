"""The error function and its complement, of primitive rows.

Knows the primitive rows; knows no loops and no targets.
"""

from __future__ import annotations

from .dtypes import float32
from .expr import Expr
from .scalar_build import absolute, add, div, fma, lt, mul, neg, polynomial, select, sub
from .scalar_exponential import clamp_high, copy_sign, exp, reduced_exp, split_sign

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
# p in erfc(x) = exp(-x * p(x)) on [1, 3.95], with an error relative to erf
_LARGE32 = (
    -0.000210654572583735,
    0.0031871539540588856,
    -0.022799547761678696,
    0.10511858016252518,
    0.635828971862793,
    1.1284810304641724,
)
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
    return fma(x, polynomial(z, _SMALL32 if x.dtype is float32 else _SMALL64), x)


def _complement(x: Expr) -> Expr:
    """``erfc(x)`` from 1/2 on."""
    single = x.dtype is float32
    x = clamp_high(x, _ZERO32 if single else _ZERO64)
    center = _CENTER32 if single else _CENTER64
    t = div(sub(x, center), add(x, center))
    scaled = div(polynomial(t, _SCALED32 if single else _SCALED64), fma(x, 2.0, 1.0))
    square = mul(x, x)
    rest = fma(x, x, neg(square))
    gauss = exp(neg(square))
    return mul(fma(gauss, neg(rest), gauss), scaled)


def erf(x: Expr) -> Expr:
    """The error function: an odd polynomial up to 1, one minus its complement beyond."""
    sign, size = split_sign(x)
    if x.dtype is float32:
        t = clamp_high(size, _ONE32)
        large = sub(1.0, reduced_exp(mul(neg(t), polynomial(t, _LARGE32))))
    else:
        large = sub(1.0, _complement(clamp_high(size, _ONE64)))
    return copy_sign(select(lt(size, 1.0), _small(size), large), sign)


def erfc(x: Expr) -> Expr:
    """``1 - erf(x)``, accurate where it is small."""
    size = absolute(x)
    tail = _complement(size)
    large = select(lt(x, 0.0), sub(2.0, tail), tail)
    return select(lt(size, 0.5), sub(1.0, _small(x)), large)
