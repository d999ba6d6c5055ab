"""Continuous distributions: ordinary tensor code over uniform and normal numbers.

A draw takes a number of the stream's numbers that its shape alone fixes, also where candidates are
rejected: then it draws more candidates than it needs and takes the first that is accepted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from ..codegen.dtypes import float32, float64
from ..special import erf, erfinv
from ..tensors.tensor_class import ArrayLike, Tensor
from .draws import Generator, bernoulli, normal, parameters, uniform
from .functional import (
    clip,
    exp,
    log,
    log1p,
    maximum,
    pow,
    tan,
    where,
)

__all__ = [
    "cauchy",
    "exponential",
    "first_accepted",
    "gumbel",
    "laplace",
    "logistic",
    "lognormal",
    "pareto",
    "positive",
    "rademacher",
    "truncated_normal",
    "weibull",
]


def _draw(
    name: str,
    values: Sequence[ArrayLike],
    shape: Any,
    dtype: Any,
    generator: Generator | None,
    of: Callable[..., Tensor],
) -> Tensor:
    """``of(u, *parameters)`` of uniform numbers in [0, 1)."""
    given, extents, kind = parameters(name, values, shape, dtype)
    return of(uniform(extents, dtype=kind, generator=generator), *given)


def first_accepted(values: Tensor, accepted: Tensor, otherwise: Tensor) -> Tensor:
    """Of candidates along the first axis the first that is accepted."""
    result = otherwise
    for k in range(values.shape[0] - 1, -1, -1):
        result = where(accepted[k], values[k], result)
    return result


# --- by inversion ---------------------------------------------------------------------------------


def exponential(
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of an exponential distribution.

    Parameters
    ----------
    scale : array_like, optional
        The mean; gradients flow to it.
    shape : int or sequence of int, optional
        By default that of `scale`.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((fg.random.exponential(2.0, 5) >= 0).all())
    True
    """
    return _draw("exponential", (scale,), shape, dtype, generator, lambda u, s: -log1p(-u) * s)


def positive(u: Tensor) -> Tensor:
    """In (0, 1): neither logarithm is infinite."""
    smallest = 2.0**-54 if u.dtype is float64 else 2.0**-25
    return u + smallest if u.dtype is float64 else maximum(u, smallest)


def gumbel(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a Gumbel distribution.

    Parameters
    ----------
    loc, scale : array_like, optional
        The mode, and the width; gradients flow to them.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.gumbel(shape=(2, 3)).shape
    (2, 3)
    """
    return _draw(
        "gumbel",
        (loc, scale),
        shape,
        dtype,
        generator,
        lambda u, m, s: m - s * log(-log(positive(u))),
    )


def laplace(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a Laplace distribution.

    Parameters
    ----------
    loc, scale : array_like, optional
        The mean, and the width; gradients flow to them.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.laplace(shape=(2, 3)).shape
    (2, 3)
    """

    def of(u: Tensor, m: Tensor, s: Tensor) -> Tensor:
        lower = log(2 * positive(u))
        return m + s * where(u < 0.5, lower, -log(2 * (1 - u)))

    return _draw("laplace", (loc, scale), shape, dtype, generator, of)


def logistic(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a logistic distribution.

    Parameters
    ----------
    loc, scale : array_like, optional
        The mean, and the width; gradients flow to them.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.logistic(shape=(2, 3)).shape
    (2, 3)
    """

    def of(u: Tensor, m: Tensor, s: Tensor) -> Tensor:
        return m + s * (log(positive(u)) - log1p(-u))

    return _draw("logistic", (loc, scale), shape, dtype, generator, of)


def cauchy(
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a Cauchy distribution.

    Parameters
    ----------
    loc, scale : array_like, optional
        The median, and the width; gradients flow to them.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.cauchy(shape=(2, 3)).shape
    (2, 3)
    """
    return _draw(
        "cauchy",
        (loc, scale),
        shape,
        dtype,
        generator,
        lambda u, m, s: m + s * tan(math.pi * (u - 0.5)),
    )


def weibull(
    concentration: ArrayLike,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a Weibull distribution.

    Parameters
    ----------
    concentration : array_like
        The exponent, positive.
    scale : array_like, optional
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.weibull(1.5, shape=(2, 3)).shape
    (2, 3)
    """
    return _draw(
        "weibull",
        (concentration, scale),
        shape,
        dtype,
        generator,
        lambda u, c, s: s * pow(-log1p(-u), 1 / c),
    )


def pareto(
    concentration: ArrayLike,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a Pareto distribution, from `scale` on.

    Parameters
    ----------
    concentration : array_like
        The exponent, positive.
    scale : array_like, optional
        The smallest number.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((fg.random.pareto(3.0, shape=5) >= 1).all())
    True
    """
    return _draw(
        "pareto",
        (concentration, scale),
        shape,
        dtype,
        generator,
        lambda u, c, s: s * exp(-log1p(-u) / c),
    )


def truncated_normal(
    low: ArrayLike = -2.0,
    high: ArrayLike = 2.0,
    shape: Any = None,
    *,
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a normal distribution inside of an interval.

    Parameters
    ----------
    low, high : array_like, optional
        The interval, in the units of the result.
    shape : int or sequence of int, optional
        By default that of the parameters.
    mean, std : array_like, optional
        Of the distribution before it is cut.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.random.truncated_normal(-1.0, 3.0, 100)
    >>> bool(((x >= -1) & (x <= 3)).all())
    True
    """

    def of(u: Tensor, a: Tensor, b: Tensor, m: Tensor, s: Tensor) -> Tensor:
        first, last = (erf((end - m) / s * math.sqrt(0.5)) for end in (a, b))
        z = erfinv(first + u * (last - first))
        return clip(m + s * (z * math.sqrt(2.0)), a, b)

    return _draw("truncated_normal", (low, high, mean, std), shape, dtype, generator, of)


def lognormal(
    mean: ArrayLike = 0.0,
    std: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers whose logarithm has a normal distribution.

    Parameters
    ----------
    mean, std : array_like, optional
        Of the logarithm; gradients flow to them.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((fg.random.lognormal(shape=5) > 0).all())
    True
    """
    (m, s), extents, kind = parameters("lognormal", (mean, std), shape, dtype)
    return exp(m + s * normal(extents, dtype=kind, generator=generator))


def rademacher(shape: Any = (), *, dtype: Any = None, generator: Generator | None = None) -> Tensor:
    """One or minus one, each with probability 1/2.

    Parameters
    ----------
    shape : int or sequence of int, optional
    dtype : dtype, optional
        By default float32.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((abs(fg.random.rademacher(9)) == 1).all())
    True
    """
    chosen = bernoulli(0.5, shape, generator=generator)
    return where(chosen, 1, -1).astype(float32 if dtype is None else dtype)
