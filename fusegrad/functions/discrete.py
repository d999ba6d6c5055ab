"""Discrete distributions, and orders and choices at random.

As the continuous ones: every draw takes a number of the stream's numbers that its shape alone
fixes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..codegen.dtypes import float32, float64, int64
from ..errors import DTypeError, ShapeError
from ..semantics.promotion import as_dtype
from ..tensors.device import check_device
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, finished
from .distributions import first_accepted, gumbel
from .draws import Generator, extents_of, parameters, randint, uniform, words
from .functional import (
    abs,
    clip,
    exp,
    floor,
    log,
    log1p,
    maximum,
    minimum,
    round,
    sqrt,
    where,
)
from .manipulation import broadcast_to, expand_dims, moveaxis, reshape, take
from .naming import named
from .ranges import arange
from .reductions import argmax
from .sorting import argsort, topk

__all__ = [
    "binomial",
    "categorical",
    "choice",
    "geometric",
    "multinomial",
    "permutation",
    "poisson",
    "randperm",
    "shuffle",
]

_LOG_FACTORIALS = np.array([math.lgamma(k + 1) for k in range(12)])
_CANDIDATES = 12
_SMALL = 10.0
_STEPS = 48
"""So many terms of a distribution with a mean below ten are added; the rest is below 1e-16."""


def _integers(values: Tensor, dtype: Any) -> Tensor:
    return values.detach().astype(int64 if dtype is None else as_dtype(dtype))


def _by_inversion(u: Tensor, first: Tensor, ratio: Any) -> Tensor:
    """How many of the sums ``first + first * ratio(1) + ...`` do not exceed `u`."""
    term = total = first
    count = where(u >= total, 1.0, 0.0)
    for k in range(1, _STEPS):
        term = term * ratio(k)
        total = total + term
        count = count + where(u >= total, 1.0, 0.0)
    return count


def _candidates(
    extents: tuple[int, ...], generator: Generator | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Centered and uniform numbers of transformed rejection, and the distance from the ends."""
    several = (_CANDIDATES, *extents)
    u = uniform(several, dtype=float64, generator=generator) - 0.5
    v = uniform(several, dtype=float64, generator=generator)
    return u, maximum(v, 2.0**-53), maximum(0.5 - abs(u), 2.0**-54)


def poisson(
    rate: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a Poisson distribution.

    Parameters
    ----------
    rate : array_like, optional
        The mean, not negative.
    shape : int or sequence of int, optional
        By default that of `rate`.
    dtype : dtype, optional
        By default int64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Notes
    -----
    By inversion below a mean of ten, by transformed rejection [1]_ from there on.

    References
    ----------
    .. [1] W. Hörmann, The transformed rejection method for generating Poisson random variables,
       Insurance: Mathematics and Economics 12 (1993).

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((fg.random.poisson(3.0, 9) >= 0).all())
    True
    """
    (rate,), extents, _ = parameters("poisson", (as_tensor(rate).detach(),), shape, float64)
    rate = broadcast_to(rate, extents)
    few = rate < _SMALL
    small = where(few, rate, 1.0)
    unit = uniform(extents, dtype=float64, generator=generator)
    counted = _by_inversion(unit, exp(-small), lambda k: small / k)
    mean = where(few, _SMALL, rate)
    u, v, us = _candidates(extents, generator)
    b = 0.931 + 2.53 * sqrt(mean)
    a = -0.059 + 0.02483 * b
    k = floor((2 * a / us + b) * u + mean + 0.43)
    quick = (us >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
    possible = (k >= 0) & ((us >= 0.013) | (v <= us))
    weight = log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / (us * us) + b))
    exact = weight <= k * log(mean) - mean - _log_factorial(maximum(k, 0.0))
    many = first_accepted(k, quick | (possible & exact), round(mean))
    return _integers(where(few, counted, many), dtype)


def _log_factorial(k: Tensor) -> Tensor:
    """``log(k!)`` of counts: a table, and from there on the series of Stirling.

    Not `gammaln`, which takes any number: this is all that a draw needs, and far less work.
    """
    few = k < len(_LOG_FACTORIALS)
    known = take(as_tensor(_LOG_FACTORIALS), where(few, k, 0.0).astype(int64), axis=0)
    many = where(few, float(len(_LOG_FACTORIALS)), k)
    inverse = 1 / many
    square = inverse * inverse
    tail = inverse * (1 / 12 - square * (1 / 360 - square * (1 / 1260 - square * (1 / 1680))))
    series = (many + 0.5) * log(many) - many + 0.5 * math.log(2 * math.pi) + tail
    return where(few, known, series)


def _log_binomial(n: Tensor, k: Tensor) -> Tensor:
    return _log_factorial(n) - _log_factorial(k) - _log_factorial(n - k)


def binomial(
    n: ArrayLike,
    p: ArrayLike,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """How many of `n` trials succeed.

    Parameters
    ----------
    n : array_like
        Not negative.
    p : array_like
        The probability of a success.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default int64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Notes
    -----
    By inversion below a mean of ten, by transformed rejection [1]_ from there on.

    References
    ----------
    .. [1] W. Hörmann, The generation of binomial random variates, Journal of Statistical
       Computation and Simulation 46 (1993).

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.random.binomial(10, 0.5, 9)
    >>> bool(((x >= 0) & (x <= 10)).all())
    True
    """
    given = (as_tensor(n).detach(), as_tensor(p).detach())
    (n, p), extents, _ = parameters("binomial", given, shape, float64)
    n, p = broadcast_to(n, extents), broadcast_to(p, extents)
    turned = p > 0.5
    p = where(turned, 1 - p, p)
    few = n * p < _SMALL
    odds = p / (1 - p)
    unit = uniform(extents, dtype=float64, generator=generator)
    counted = _by_inversion(unit, exp(n * log1p(-p)), lambda k: odds * maximum(n - k + 1, 0.0) / k)
    counted = minimum(counted, n)
    trials = where(few, 40.0, n)
    chance = where(few, 0.5, p)
    u, v, us = _candidates(extents, generator)
    spread = sqrt(trials * chance * (1 - chance))
    b = 1.15 + 2.53 * spread
    a = -0.0873 + 0.0248 * b + 0.01 * chance
    k = floor((2 * a / us + b) * u + trials * chance + 0.5)
    quick = (us >= 0.07) & (v <= 0.92 - 4.2 / b)
    possible = (k >= 0) & (k <= trials)
    inside = clip(k, 0.0, trials)
    mode = floor((trials + 1) * chance)
    weight = log(v * (2.83 + 5.1 / b) * spread / (a / (us * us) + b))
    ratio = _log_binomial(trials, inside) - _log_binomial(trials, mode)
    exact = weight <= ratio + (inside - mode) * log(chance / (1 - chance))
    accepted = possible & (quick | exact)
    many = first_accepted(inside, accepted, mode)
    result = where(few, counted, many)
    return _integers(where(turned, n - result, result), dtype)


def geometric(
    p: ArrayLike, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """How many trials the first success takes, from one on, as in NumPy.

    Parameters
    ----------
    p : array_like
        The probability of a success, positive.
    shape : int or sequence of int, optional
        By default that of `p`.
    dtype : dtype, optional
        By default int64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((fg.random.geometric(0.3, 9) >= 1).all())
    True
    """
    (p,), extents, _ = parameters("geometric", (as_tensor(p).detach(),), shape, float64)
    u = uniform(extents, dtype=float64, generator=generator)
    sure = p >= 1
    trials = floor(log1p(-u) / log1p(-where(sure, 0.5, p))) + 1
    return _integers(where(sure, 1.0, trials), dtype)


# --- classes --------------------------------------------------------------------------------------


@named
def categorical(
    logits: ArrayLike,
    axis: int = -1,
    shape: Any = None,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Classes with the probabilities ``softmax(logits)``.

    Parameters
    ----------
    logits : array_like
        Logarithms of probabilities, up to a constant.
    axis : int, optional
        The axis of the classes.
    shape : int or sequence of int, optional
        The shape of the result; its last axes are those of `logits` without `axis`. By default
        just those.
    generator : Generator, optional

    Returns
    -------
    Tensor
        Of int64.

    Raises
    ------
    ShapeError
        If `shape` does not end with the other axes of `logits`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.categorical([[0.0, -1e9], [-1e9, 0.0]])
    Tensor([0, 1])
    """
    x = as_tensor(logits).detach()
    if x.ndim == 0:
        raise ShapeError(
            "categorical: there is no axis of classes", remedy="give one logit a class"
        )
    x = x if x.dtype.is_float else x.astype(float32)
    x = moveaxis(x, axis, -1)
    rest = tuple(x.shape[:-1])
    extents = rest if shape is None else extents_of(shape)
    if extents[len(extents) - len(rest) :] != rest:
        raise ShapeError(
            f"categorical: the shape {extents} does not end with {rest}, the batch of the logits",
            remedy="name the number of draws in front of the batch",
        )
    noise = gumbel(shape=(*extents, x.shape[-1]), dtype=x.dtype, generator=generator)
    return argmax(x + noise, axis=-1)


def multinomial(
    input: ArrayLike,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Classes with given weights, as in torch.

    Parameters
    ----------
    input : array_like, shape (..., classes)
        Weights, not negative; they need not sum to one.
    num_samples : int
        How many classes are drawn.
    replacement : bool, optional
        Whether a class may be drawn again.
    generator : Generator, optional

    Returns
    -------
    Tensor, shape (..., num_samples)
        Of int64.

    Raises
    ------
    ShapeError
        If more classes are to be drawn than there are, without replacement.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.multinomial([0.0, 3.0, 0.0], 2, replacement=True)
    Tensor([1, 1])
    """
    weights = as_tensor(input).detach()
    if weights.ndim == 0:
        raise ShapeError(
            "multinomial: there is no axis of classes", remedy="give one weight a class"
        )
    weights = weights if weights.dtype.is_float else weights.astype(float32)
    classes = weights.shape[-1]
    if not replacement and num_samples > classes:
        raise ShapeError(
            f"multinomial: {num_samples} of {classes} classes without replacement",
            remedy="draw fewer, or pass replacement=True",
        )
    logits = log(weights)
    if replacement:
        several = (*weights.shape[:-1], num_samples, classes)
        noise = gumbel(shape=several, dtype=weights.dtype, generator=generator)
        return argmax(expand_dims(logits, axis=-2) + noise, axis=-1)
    noise = gumbel(shape=tuple(weights.shape), dtype=weights.dtype, generator=generator)
    return topk(logits + noise, num_samples, axis=-1).indices


# --- orders ---------------------------------------------------------------------------------------


def randperm(n: int, *, device: Any = None, generator: Generator | None = None) -> Tensor:
    """The integers below `n` in an order at random.

    Parameters
    ----------
    n : int
        Not negative.
    device : str, optional
        ``"cpu"``.
    generator : Generator, optional

    Returns
    -------
    Tensor, shape (n,)
        Of int64.

    Raises
    ------
    DTypeError
        If `n` is no such number.

    Examples
    --------
    >>> import fusegrad as fg
    >>> sorted(fg.random.randperm(4).tolist())
    [0, 1, 2, 3]
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 0:
        raise DTypeError(f"randperm of {n!r}", remedy="give an int that is not negative")
    check_device(device)
    return finished(argsort(words(n, generator)), device)


@named
def permutation(x: int | ArrayLike, axis: int = 0, *, generator: Generator | None = None) -> Tensor:
    """The slices of an array along an axis in an order at random; of an int, as `randperm`.

    Parameters
    ----------
    x : int or array_like
    axis : int, optional
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> sorted(fg.random.permutation([5, 6, 7]).tolist())
    [5, 6, 7]
    """
    if isinstance(x, int):
        return randperm(x, generator=generator)
    tensor = as_tensor(x)
    if tensor.ndim == 0:
        return randperm(int(tensor), generator=generator)
    return take(tensor, randperm(tensor.shape[axis], generator=generator), axis=axis)


def shuffle(x: Tensor, axis: int = 0, *, generator: Generator | None = None) -> None:
    """Bring the slices of a tensor into an order at random, in place.

    Parameters
    ----------
    x : Tensor
    axis : int, optional
    generator : Generator, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.arange(4)
    >>> fg.random.shuffle(x)
    >>> sorted(x.tolist())
    [0, 1, 2, 3]
    """
    x[...] = permutation(x, axis, generator=generator)


def choice(
    a: int | ArrayLike,
    shape: Any = (),
    replace: bool = True,
    p: ArrayLike | None = None,
    *,
    axis: int = 0,
    generator: Generator | None = None,
) -> Tensor:
    """Slices of an array at random, as NumPy's ``Generator.choice``.

    Parameters
    ----------
    a : int or array_like
        What to choose from; an int stands for the integers below it.
    shape : int or sequence of int, optional
        How many.
    replace : bool, optional
        Whether one may be chosen again.
    p : array_like, optional
        The probability of each; by default all are equal.
    axis : int, optional
        The axis of `a` that is chosen along.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If more are to be chosen than there are, without replacement, or if there is nothing to
        choose from.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.choice([7, 8, 9], 2, p=[0.0, 1.0, 0.0])
    Tensor([8, 8])
    """
    source = arange(a) if isinstance(a, int) else as_tensor(a)
    count = source.shape[axis]
    extents = extents_of(shape)
    wanted = math.prod(extents)
    if wanted and not count:
        raise ShapeError("choice: there is nothing to choose from", remedy="give some elements")
    if not replace and wanted > count:
        raise ShapeError(
            f"choice: {wanted} of {count} without replacement",
            remedy="choose fewer, or pass replace=True",
        )
    if p is not None and as_tensor(p).shape != (count,):
        raise ShapeError(
            f"choice: probabilities of shape {tuple(as_tensor(p).shape)} for {count} elements",
            remedy="give one for each",
        )
    if p is not None:
        flat = multinomial(p, wanted, replace, generator=generator)
    elif replace:
        flat = randint(0, max(count, 1), wanted, generator=generator)
    else:
        flat = randperm(count, generator=generator)[:wanted]
    chosen = take(source, flat, axis=axis)
    place = axis % source.ndim
    return reshape(chosen, (*source.shape[:place], *extents, *source.shape[place + 1 :]))
