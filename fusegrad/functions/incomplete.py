"""The regularised incomplete gamma and beta functions.

Sums and continued fractions of a fixed number of terms, as loops of the program; for large
parameters near the turning point, Temme's expansion.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..codegen.dtypes import DType, float32, float64
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from ..transforms.control import scan
from .data_types import result_type
from .elementwise_special import gammaln
from .functional import (
    abs,
    erfc,
    exp,
    isnan,
    log,
    log1p,
    sqrt,
    where,
)
from .manipulation import broadcast_arrays
from .ranges import arange

__all__ = ["betainc", "gammainc", "gammaincc"]

_GAMMA_TERMS = 100
_BETA_TERMS = 200
_LARGE = 20.0
"""From this parameter on Temme's expansion holds, where x is within 40 % of it."""

# Temme's coefficients C_k(eta), polynomials between -0.62 and 0.5, the highest power first.
_TEMME = (
    (
        8.039190035101567e-10,
        -4.4015914201617705e-09,
        1.0333767338136392e-08,
        6.716999960064539e-09,
        -1.7668233573336292e-07,
        8.296688841216235e-07,
        -1.854058324221607e-06,
        -2.1854482301468917e-06,
        3.919263143070735e-05,
        -0.00017875514404934939,
        0.00035273368608279955,
        0.0011574074074077742,
        -0.01481481481481508,
        0.08333333333333333,
        -0.3333333333333333,
    ),
    (
        1.535010174847519e-09,
        1.1174919410583776e-08,
        -5.866400821730808e-08,
        1.380817386761495e-07,
        5.003092128190493e-09,
        -1.612118599954423e-06,
        7.649105652822212e-06,
        -1.8098548539659054e-05,
        -4.0187332772226747e-07,
        0.0002057613168178155,
        -0.0009902263375896807,
        0.0026455026455034915,
        -0.003472222222220876,
        -0.0018518518518518554,
    ),
    (
        -2.059839888609727e-08,
        4.350041131625438e-09,
        1.4741081298812106e-07,
        -6.311652410001762e-07,
        1.3708795763053303e-06,
        3.440441598227542e-08,
        -1.276045768493466e-05,
        5.29234376127287e-05,
        -0.00010736654320686637,
        2.0093882080877257e-06,
        0.0007716049385195237,
        -0.0026813271604974394,
        0.004133597883596975,
    ),
    (
        9.196159751471161e-08,
        -1.8240004572596414e-07,
        -7.99099671196965e-09,
        1.4264201780061706e-06,
        -5.672856573916257e-06,
        1.1082248108962071e-05,
        -2.398920999374531e-07,
        -7.561799362254253e-05,
        0.0002677206434320751,
        -0.00046918949490603245,
        0.00022947209347190875,
        0.0006494341563806198,
    ),
    (
        1.0005087625910221e-06,
        -1.8298650615658924e-06,
        -6.478210359205575e-08,
        1.1404854153676941e-05,
        -3.96709119773093e-05,
        6.641229522596001e-05,
        -1.4647636692185889e-06,
        -0.00029907238863310676,
        0.0007840392394204529,
        -0.0008618882914544883,
    ),
    (
        -1.8759050688666679e-06,
        7.962262015735766e-06,
        -1.3742395285370003e-05,
        1.6078326380562446e-07,
        6.799802209750447e-05,
        -0.00019932782062817686,
        0.0002772744021817483,
        -6.972807428865478e-05,
        -0.0003367985469459109,
    ),
    (
        -3.4051095228226924e-06,
        -1.6314561981307288e-05,
        5.733846521327057e-05,
        -8.191119161835037e-05,
        6.49383155246442e-07,
        0.00027090133017187783,
        -0.0005921623570342541,
        0.0005313076980565168,
    ),
    (
        3.872903201330811e-05,
        -8.935404947524001e-06,
        -0.00011327070201681263,
        0.0002825466469949428,
        -0.00033463091187346453,
        5.166885970895125e-05,
        0.0003443638953879331,
    ),
    (
        -0.00014021936986272012,
        0.0001839192493647251,
        3.2116782681661803e-06,
        -0.0004401019760597644,
        0.0008392649816166396,
        -0.0006525942760987887,
    ),
    (
        -0.000689174195433206,
        0.0007506919894880694,
        -6.37702024127287e-05,
        -0.0005994275553381696,
    ),
    (
        0.0009366899162901462,
        -0.0018753761011246514,
        0.0013354021344755117,
    ),
)


def _operands(*values: ArrayLike) -> tuple[list[Tensor], DType]:
    """Tensors of float64 and one shape, and the dtype of the result: so many terms add up."""
    tensors = [as_tensor(v) for v in values]
    pairs = zip(values, tensors, strict=True)
    dtype = result_type(*(v if isinstance(v, (bool, int, float)) else t for v, t in pairs))
    wide = broadcast_arrays(*(t.astype(float64) for t in tensors))
    return list(wide), dtype if dtype.is_float else float32


def _away_from_zero(x: Tensor) -> Tensor:
    return where(abs(x) < 1e-290, 1e-290, x)


def _iterated(
    step: Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]],
    start: tuple[Tensor, ...],
    count: int,
) -> tuple[Tensor, ...]:
    """``step(k, state)`` for k from 1 to `count`."""
    numbers = arange(1, count + 1).astype(start[0].dtype)
    final, _ = scan(lambda state, k: (step(k, state), None), start, numbers)
    return final  # type: ignore[no-any-return]


# --- gamma ----------------------------------------------------------------------------------------


def _density(a: Tensor, x: Tensor) -> Tensor:
    """``x ** a * exp(-x) / gamma(a)``; for large `a` large logarithms do not cancel."""
    large = a > _LARGE
    b = where(large, a, _LARGE)
    mu = where(large, (x - b) / b, 0.0)
    r = 1 / b
    correction = r * (1 / 12 - r * r * (1 / 360 - r * r * (1 / 1260 - r * r / 1680)))
    scaled = b * (log1p(mu) - mu) - correction + 0.5 * log(b / (2 * math.pi))
    c = where(large, 1.0, a)
    plain = c * log(x) - x - gammaln(c)
    return exp(where(large, scaled, plain))


def _gamma_parts(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """P and Q of positive finite numbers."""
    near = (a > _LARGE) & (abs(x - a) < 0.4 * a)
    low = ~near & (x < a + 1)
    high = ~near & ~low
    density = _density(a, x)
    # Each method sees numbers that it can take, so that no gradient is NaN.
    p, q = where(low, a, 1.0), where(low, x, 0.5)

    def add(k: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        term, total = state
        term = term * (q / (p + k))
        return term, total + term

    _, series = _iterated(add, (1 / p, 1 / p), _GAMMA_TERMS)
    s, t = where(high, a, 1.0), where(high, x, 3.0)
    fraction = _gamma_fraction(s, t)
    lower, upper = density * series, density * fraction
    first, second = _temme(where(near, a, 50.0), where(near, x, 50.0))
    lower = where(near, first, where(low, lower, 1 - upper))
    upper = where(near, second, where(high, upper, 1 - lower))
    return lower, upper


def _gamma_fraction(a: Tensor, x: Tensor) -> Tensor:
    """Lentz's evaluation of the continued fraction of Q over its factor."""
    b = x + 1 - a
    d = 1 / _away_from_zero(b)

    def step(k: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        c, d, h = state
        numerator = k * (a - k)
        denominator = b + 2 * k
        d = 1 / _away_from_zero(numerator * d + denominator)
        c = _away_from_zero(denominator + numerator / c)
        return c, d, h * d * c

    return _iterated(step, (b * 0.0 + 1e290, d, d), _GAMMA_TERMS)[2]


def _temme(a: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """Temme's uniform expansion of P and Q [1]_, [2]_.

    .. [1] N. M. Temme, The asymptotic expansion of the incomplete gamma functions, SIAM Journal on
       Mathematical Analysis 10 (1979).
    .. [2] NIST Digital Library of Mathematical Functions, 8.12.
    """
    mu = (x - a) / a
    small = abs(mu) < 1e-4
    safe = where(small, 0.5, mu)
    eta = where(safe < 0, -1.0, 1.0) * sqrt(2 * (safe - log1p(safe)))
    eta = where(small, mu * (1 - mu * (1 / 3 - mu * (7 / 36 - mu * (73 / 540)))), eta)
    total = a * 0.0
    for polynomial in reversed(_TEMME):
        value = eta * 0.0 + polynomial[0]
        for coefficient in polynomial[1:]:
            value = value * eta + coefficient
        total = total / a + value
    rest = exp(-0.5 * a * eta * eta) / sqrt(2 * math.pi * a) * total
    argument = eta * sqrt(0.5 * a)
    return 0.5 * erfc(-argument) - rest, 0.5 * erfc(argument) + rest


def _gamma(a: ArrayLike, x: ArrayLike, upper: bool) -> Tensor:
    (a, x), dtype = _operands(a, x)
    inside = (a > 0) & (x > 0) & (a < math.inf) & (x < math.inf)
    parts = _gamma_parts(where(inside, a, 1.0), where(inside, x, 1.0))
    none, all_ = (1.0, 0.0) if upper else (0.0, 1.0)
    # At the ends: everything lies below x, or nothing does.
    below = (a == 0) | (x == math.inf)
    ends = where(below, all_, none)
    wrong = isnan(a) | isnan(x) | (a < 0) | (x < 0) | ((a == 0) & (x == 0))
    wrong = wrong | ((a == math.inf) & (x == math.inf))
    return where(inside, parts[upper], where(wrong, math.nan, ends)).astype(dtype)


def gammainc(a: ArrayLike, x: ArrayLike) -> Tensor:
    """The regularised lower incomplete gamma function.

    The integral of ``t ** (a - 1) * exp(-t)`` from 0 to `x`, over ``gamma(a)``.

    Parameters
    ----------
    a, x : array_like
        Not negative; otherwise the result is NaN.

    Returns
    -------
    Tensor
        In [0, 1].

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.gammainc([1.0], 0.0)
    Tensor([0.])
    """
    return _gamma(a, x, upper=False)


def gammaincc(a: ArrayLike, x: ArrayLike) -> Tensor:
    """The regularised upper incomplete gamma function, ``1 - gammainc(a, x)``.

    Parameters
    ----------
    a, x : array_like
        Not negative; otherwise the result is NaN.

    Returns
    -------
    Tensor
        In [0, 1], accurate where it is small.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.gammaincc([1.0], 0.0)
    Tensor([1.])
    """
    return _gamma(a, x, upper=True)


# --- beta -----------------------------------------------------------------------------------------


def _beta_fraction(a: Tensor, b: Tensor, x: Tensor) -> Tensor:
    """Lentz's evaluation of the continued fraction of the incomplete beta function [1]_.

    .. [1] NIST Digital Library of Mathematical Functions, 8.17.22.
    """
    total, above, under = a + b, a + 1, a - 1
    d = 1 / _away_from_zero(1 - total * x / above)

    def step(m: Tensor, state: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        c, d, h = state
        twice = 2 * m
        for numerator in (
            m * (b - m) * x / ((under + twice) * (a + twice)),
            -(a + m) * (total + m) * x / ((a + twice) * (above + twice)),
        ):
            d = 1 / _away_from_zero(1 + numerator * d)
            c = _away_from_zero(1 + numerator / c)
            h = h * d * c
        return c, d, h

    return _iterated(step, (a * 0.0 + 1.0, d, d), _BETA_TERMS)[2]


def betainc(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Tensor:
    """The regularised incomplete beta function.

    The integral of ``t ** (a - 1) * (1 - t) ** (b - 1)`` from 0 to `x`, over ``beta(a, b)``.

    Parameters
    ----------
    a, b : array_like
        Positive; otherwise the result is NaN. Beyond 1e5 it loses digits.
    x : array_like
        In [0, 1]; otherwise the result is NaN.

    Returns
    -------
    Tensor
        In [0, 1].

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.betainc([1.0], 1.0, 0.25)
    Tensor([0.25])
    """
    (a, b, x), dtype = _operands(a, b, x)
    inside = (a > 0) & (b > 0) & (x > 0) & (x < 1) & (a < math.inf) & (b < math.inf)
    p, q, y = (where(inside, v, 0.5) for v in (a, b, x))
    turned = y * (p + q + 2) > p + 1
    p, q = where(turned, q, p), where(turned, p, q)
    y, rest = where(turned, 1 - y, y), where(turned, y, 1 - y)
    factor = exp(gammaln(p + q) - gammaln(p) - gammaln(q) + p * log(y) + q * log(rest))
    part = factor * _beta_fraction(p, q, y) / p
    value = where(turned, 1 - part, part)
    ends = where(x <= 0, 0.0, 1.0)
    known = (a > 0) & (b > 0) & ((x == 0) | (x == 1))
    return where(inside, value, where(known, ends, math.nan)).astype(dtype)
