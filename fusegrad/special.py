"""Special functions, under SciPy's names and torch's.

Knows elementwise functions and compositions of them; each is traced, differentiated and fused like
the user's own code.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from .codegen.dtypes import float64
from .errors import DTypeError
from .functions import elementwise_special
from .functions.creation import zeros_like
from .functions.elementwise_special import *  # noqa: F403
from .functions.elementwise_special import digamma, erfcinv, gammaln, zeta
from .functions.functional import (
    clip,
    erf,
    erfc,
    exp,
    exp2,
    expm1,
    floor,
    isnan,
    log,
    log1p,
    sigmoid,
    where,
)
from .functions.incomplete import betainc, gammainc, gammaincc
from .functions.precision import in_float32
from .functions.reductions import logsumexp
from .ops import build
from .tensors.tensor_class import ArrayLike, Tensor, as_tensor, record

__all__ = [
    "beta",
    "betainc",
    "betaln",
    "entr",
    "erf",
    "erfc",
    "exp2",
    "expit",
    "expm1",
    "gamma",
    "gammainc",
    "gammaincc",
    "kl_div",
    "log1p",
    "log_ndtr",
    "log_softmax",
    "logit",
    "logsumexp",
    "multigammaln",
    "ndtr",
    "ndtri",
    "polygamma",
    "rel_entr",
    "sigmoid",
    "softmax",
    "xlog1py",
    "xlogy",
]
__all__ += elementwise_special.__all__


def polygamma(n: int, x: ArrayLike) -> Tensor:
    """The derivative number `n` of `digamma`.

    Parameters
    ----------
    n : int
        Not negative.
    x : array_like
        From the second derivative on, the result is NaN for negative numbers.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If `n` is no integer, or negative.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.polygamma(1, [1.0])
    Tensor([1.644934])
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise DTypeError(f"polygamma of order {n!r}", remedy="give an int that is not negative")
    if n == 0:
        return digamma(x)
    if n == 1:
        return record(build.trigamma, (_floating(x),))
    sign = 1.0 if n % 2 else -1.0
    return zeta(float(n + 1), x) * (sign * math.factorial(n))


def _floating(x: ArrayLike) -> Tensor:
    tensor = as_tensor(x)
    return tensor if tensor.dtype.is_float else tensor.astype("float32")


def gamma(x: ArrayLike) -> Tensor:
    """The gamma function.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor
        At 0 infinite, with the sign of the zero; at negative integers NaN.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.gamma([1.0, 4.0])
    Tensor([1., 6.])
    """
    x = _floating(x)
    size = exp(gammaln(x))
    odd = floor(x) % 2.0 != 0.0
    signed = where((x < 0) & odd, -size, size)
    pole = (x < 0) & (floor(x) == x)
    return where(x == 0, 1.0 / x, where(pole, math.nan, signed))


def betaln(a: ArrayLike, b: ArrayLike) -> Tensor:
    """The logarithm of `beta`, of positive numbers.

    Parameters
    ----------
    a, b : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.betaln([1.0], 1.0)
    Tensor([0.])
    """
    a, b = as_tensor(a), as_tensor(b)
    return gammaln(a) + gammaln(b) - gammaln(a + b)


def beta(a: ArrayLike, b: ArrayLike) -> Tensor:
    """``gamma(a) * gamma(b) / gamma(a + b)``, of positive numbers.

    Parameters
    ----------
    a, b : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.beta([1.0], 1.0)
    Tensor([1.])
    """
    return exp(betaln(a, b))


def multigammaln(a: ArrayLike, d: int) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension `d`.

    Parameters
    ----------
    a : array_like
        Larger than ``(d - 1) / 2``.
    d : int
        At least 1.

    Returns
    -------
    Tensor

    Raises
    ------
    DTypeError
        If `d` is no positive int.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.multigammaln([2.0], 1)
    Tensor([0.])
    """
    if isinstance(d, bool) or not isinstance(d, int) or d < 1:
        raise DTypeError(f"multigammaln of dimension {d!r}", remedy="give an int of at least 1")
    a = _floating(a)
    total = gammaln(a)
    for k in range(1, d):
        total = total + gammaln(a - k / 2)
    return total + d * (d - 1) / 4 * math.log(math.pi)


def log_softmax(x: ArrayLike, axis: int | None = None) -> Tensor:
    """``log(softmax(x, axis))``, accurate where it is large.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default all of them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.log_softmax([0.0, 0.0])
    Tensor([-0.6931472, -0.6931472])
    """
    y = _floating(x)
    return y - logsumexp(y, axis=axis, keepdims=True)


def softmax(x: ArrayLike, axis: int | None = None) -> Tensor:
    """``exp(x)`` over its sum.

    Parameters
    ----------
    x : array_like
    axis : int, optional
        By default all of them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.softmax([0.0, 0.0])
    Tensor([0.5, 0.5])
    """
    return exp(log_softmax(x, axis))


# --- probabilities --------------------------------------------------------------------------------


def expit(x: ArrayLike) -> Tensor:
    """The logistic function, ``1 / (1 + exp(-x))``; the same as `sigmoid`.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.expit([0.0])
    Tensor([0.5])
    """
    return sigmoid(x)


def logit(x: ArrayLike, eps: float | None = None) -> Tensor:
    """The inverse of `expit`: ``log(x / (1 - x))``.

    Parameters
    ----------
    x : array_like
        Outside [0, 1] the result is NaN.
    eps : float, optional
        Numbers are first brought into [eps, 1 - eps], as in torch.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.logit([0.5])
    Tensor([0.])
    """
    x = _floating(x)
    if eps is not None:
        x = clip(x, eps, 1 - eps)
    return log(x) - log1p(-x)


def _product_with_log(x: Tensor, y: Tensor, logarithm: Callable[[Tensor], Tensor]) -> Tensor:
    """``x * log(y)``, 0 where x is; neither value nor gradient is NaN there."""
    zero = (x == 0) & ~isnan(y)
    return where(zero, x * 0.0, x * logarithm(where(zero, 1.0, y)))


def _pair(x: ArrayLike, y: ArrayLike) -> tuple[Tensor, Tensor]:
    total = as_tensor(x) + as_tensor(y)
    dtype = total.dtype if total.dtype.is_float else "float32"
    return as_tensor(x).astype(dtype), as_tensor(y).astype(dtype)


def xlogy(x: ArrayLike, y: ArrayLike) -> Tensor:
    """``x * log(y)``, and 0 where `x` is 0.

    Parameters
    ----------
    x, y : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.xlogy([0.0, 2.0], [0.0, 1.0])
    Tensor([0., 0.])
    """
    return _product_with_log(*_pair(x, y), log)


def xlog1py(x: ArrayLike, y: ArrayLike) -> Tensor:
    """``x * log1p(y)``, and 0 where `x` is 0.

    Parameters
    ----------
    x, y : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.xlog1py([0.0, 2.0], [-1.0, 0.0])
    Tensor([0., 0.])
    """
    return _product_with_log(*_pair(x, y), log1p)


def entr(x: ArrayLike) -> Tensor:
    """``-x * log(x)``, of 0 zero, of negative numbers minus infinity.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.entr([0.0, 1.0])
    Tensor([ 0., -0.])
    """
    x = _floating(x)
    inside = where(x > 0, x, 1.0)
    outside = where(x < 0, -math.inf, where(isnan(x), x, 0.0))
    return where(x > 0, -inside * log(inside), outside)


@in_float32
def rel_entr(x: ArrayLike, y: ArrayLike) -> Tensor:
    """``x * log(x / y)``, the terms of a relative entropy.

    Parameters
    ----------
    x, y : array_like
        Not negative; otherwise, and where `y` alone is 0, the result is infinite.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.rel_entr([0.0, 1.0], [0.0, 1.0])
    Tensor([0., 0.])
    """
    x, y = _pair(x, y)
    positive = (x > 0) & (y > 0)
    ratio = where(positive, x, 1.0) / where(positive, y, 1.0)
    value = where(positive, x, 1.0) * log(ratio)
    other = where((x == 0) & (y >= 0), zeros_like(value), math.inf)
    return where(isnan(x) | isnan(y), math.nan, where(positive, value, other))


@in_float32
def kl_div(x: ArrayLike, y: ArrayLike) -> Tensor:
    """``x * log(x / y) - x + y``, the terms of a divergence of Kullback and Leibler.

    Parameters
    ----------
    x, y : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.kl_div([1.0], [1.0])
    Tensor([0.])
    """
    p, q = _pair(x, y)
    return rel_entr(p, q) - p + q


def ndtr(x: ArrayLike) -> Tensor:
    """The probability that a standard normal number is below `x`.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.ndtr([0.0])
    Tensor([0.5])
    """
    return erfc(_floating(x) * -math.sqrt(0.5)) * 0.5


def log_ndtr(x: ArrayLike) -> Tensor:
    """The logarithm of `ndtr`, also far below zero.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Notes
    -----
    Far below zero it is an asymptotic series [1]_.

    References
    ----------
    .. [1] Abramowitz and Stegun, Handbook of Mathematical Functions, 26.2.12.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.log_ndtr([0.0])
    Tensor([-0.6931472])
    """
    x = _floating(x)
    limit, terms = (-20.0, 8) if x.dtype is float64 else (-8.0, 5)
    far = x < limit
    # Each branch sees numbers that it can take, so that no gradient is NaN.
    tail = where(far, x, limit)
    inverse = 1.0 / (tail * tail)
    series, term = 1.0 + 0.0 * inverse, 1.0 + 0.0 * inverse
    for k in range(1, terms):
        term = term * inverse * -(2.0 * k - 1.0)
        series = series + term
    below = log(series) - 0.5 * tail * tail - log(-tail) - 0.5 * math.log(2 * math.pi)
    near = where(far, limit, x)
    upper = near > 1.0
    above = log1p(-ndtr(-where(upper, near, 2.0)))
    inside = where(upper, above, log(ndtr(where(upper, 0.0, near))))
    return where(far, below, inside)


def ndtri(p: ArrayLike) -> Tensor:
    """The inverse of `ndtr`: the quantiles of the standard normal distribution.

    Parameters
    ----------
    p : array_like
        Outside [0, 1] the result is NaN.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.special.ndtri([0.5])
    Tensor([-0.])
    """
    return erfcinv(2.0 * _floating(p)) * -math.sqrt(2.0)
