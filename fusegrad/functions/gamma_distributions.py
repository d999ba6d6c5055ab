"""The gamma distribution, and those that follow from it.

Candidates are rejected: each number takes the first of several that is accepted.
"""

from __future__ import annotations

from typing import Any

from ..codegen.dtypes import DType
from ..errors import ShapeError
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .distributions import first_accepted, positive
from .draws import Generator, extents_of, normal, parameters, uniform
from .functional import exp, log, maximum, sqrt, where
from .manipulation import broadcast_to
from .reductions import sum

__all__ = ["beta", "chisquare", "dirichlet", "gamma", "student_t"]

_CANDIDATES = 8


def _standard_gamma(
    concentration: Tensor, extents: tuple[int, ...], kind: DType, generator: Generator | None
) -> Tensor:
    """The logarithm of numbers of a gamma distribution of scale one.

    Candidates are cubes of shifted normal numbers [1]_, of which at most 5 % are rejected; below a
    concentration of one a number of the next larger one is scaled by a power of a uniform one.

    .. [1] G. Marsaglia and W. W. Tsang, A simple method for generating gamma variables, ACM
       Transactions on Mathematical Software 26 (2000).
    """
    a = broadcast_to(concentration.detach(), extents)
    small = a < 1
    d = where(small, a + 1, a) - 1 / 3
    c = 1 / sqrt(9 * d)
    several = (_CANDIDATES, *extents)
    x = normal(several, dtype=kind, generator=generator)
    u = positive(uniform(several, dtype=kind, generator=generator))
    root = 1 + c * x
    inside = root > 0
    v = where(inside, root, 1.0)
    cube = v * v * v
    accepted = inside & (log(u) < 0.5 * x * x + d - d * cube + 3 * d * log(v))
    logarithm = log(d) + 3 * log(first_accepted(v, accepted, v[0]))
    boost = log(positive(uniform(extents, dtype=kind, generator=generator))) / a
    return where(small, logarithm + boost, logarithm).detach()


def gamma(
    concentration: ArrayLike,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a gamma distribution.

    Parameters
    ----------
    concentration : array_like
        Positive. No gradient flows to it.
    scale : array_like, optional
        Gradients flow to it.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Notes
    -----
    Eight candidates are drawn for each number; that none of them is accepted has a probability
    below 1e-10.

    Examples
    --------
    >>> import fusegrad as fg
    >>> bool((fg.random.gamma(2.0, shape=5) > 0).all())
    True
    """
    (a, s), extents, kind = parameters("gamma", (concentration, scale), shape, dtype)
    return exp(_standard_gamma(a, extents, kind, generator)) * s


def chisquare(
    df: ArrayLike, shape: Any = None, *, dtype: Any = None, generator: Generator | None = None
) -> Tensor:
    """Numbers of a chi-square distribution.

    Parameters
    ----------
    df : array_like
        The degrees of freedom, positive.
    shape : int or sequence of int, optional
        By default that of `df`.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.chisquare(3.0, 5).shape
    (5,)
    """
    (k,), extents, kind = parameters("chisquare", (df,), shape, dtype)
    return 2 * exp(_standard_gamma(k / 2, extents, kind, generator))


def student_t(
    df: ArrayLike,
    loc: ArrayLike = 0.0,
    scale: ArrayLike = 1.0,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of Student's t-distribution.

    Parameters
    ----------
    df : array_like
        The degrees of freedom, positive.
    loc, scale : array_like, optional
        Gradients flow to them.
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
    >>> fg.random.student_t(3.0, shape=5).shape
    (5,)
    """
    (k, m, s), extents, kind = parameters("student_t", (df, loc, scale), shape, dtype)
    k = k.detach()
    logarithm = _standard_gamma(k / 2, extents, kind, generator) - log(k / 2)
    return m + s * normal(extents, dtype=kind, generator=generator) * exp(-0.5 * logarithm)


def beta(
    a: ArrayLike,
    b: ArrayLike,
    shape: Any = None,
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Numbers of a beta distribution.

    Parameters
    ----------
    a, b : array_like
        The concentrations, positive. No gradient flows to them.
    shape : int or sequence of int, optional
        By default that of the parameters.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor
        In [0, 1].

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.random.beta(0.5, 2.0, 100)
    >>> bool(((x >= 0) & (x <= 1)).all())
    True
    """
    (p, q), extents, kind = parameters("beta", (a, b), shape, dtype)
    x = _standard_gamma(p, extents, kind, generator)
    y = _standard_gamma(q, extents, kind, generator)
    top = maximum(x, y)
    x, y = exp(x - top), exp(y - top)
    return x / (x + y)


def dirichlet(
    concentration: ArrayLike,
    shape: Any = (),
    *,
    dtype: Any = None,
    generator: Generator | None = None,
) -> Tensor:
    """Vectors of a Dirichlet distribution.

    Parameters
    ----------
    concentration : array_like, shape (..., k)
        Positive. No gradient flows to it.
    shape : int or sequence of int, optional
        How many draws, in front of the shape of `concentration`.
    dtype : dtype, optional
        By default float32, or float64 with parameters of float64.
    generator : Generator, optional

    Returns
    -------
    Tensor, shape (*shape, ..., k)
        Not negative, with the sum one along the last axis.

    Raises
    ------
    ShapeError
        If `concentration` has no axis.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.random.dirichlet([1.0, 2.0, 3.0], 4).shape
    (4, 3)
    """
    a = as_tensor(concentration)
    if a.ndim == 0:
        raise ShapeError(
            "dirichlet: the concentration has no axis", remedy="give one number for each component"
        )
    whole = (*extents_of(shape), *a.shape)
    (a,), extents, kind = parameters("dirichlet", (a,), whole, dtype)
    x = _standard_gamma(a, extents, kind, generator)
    x = exp(x - x.max(axis=-1, keepdims=True))
    return x / sum(x, axis=-1, keepdims=True)
