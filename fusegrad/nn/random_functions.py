"""Functions that draw random numbers, beside dropout, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..errors import OptionError
from ..functions import functional as fg
from ..functions.creation import asarray, zeros_like
from ..functions.precision import in_float32
from ..functions.ranges import arange
from ..random import gumbel, uniform
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import Tensor
from .losses import as_scores, shifted

__all__ = ["alpha_dropout", "feature_alpha_dropout", "gumbel_softmax", "rrelu"]

# Where selu goes for small numbers: what alpha dropout puts in place of what it drops.
_SATURATED = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717


def alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout that keeps the mean and the variance of what `selu` returns.

    Parameters
    ----------
    input : Tensor or array
    p : float, optional
        The probability to be dropped.
    training : bool, optional
        Without it the input is returned.
    inplace : bool, optional
        Whether the input gets the result too.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.alpha_dropout(fg.ones(3))
    Tensor([1., 1., 1.])
    """
    x = asarray(input)
    return written(input, _alpha_dropped(x, p, training, x.shape), inplace)


def feature_alpha_dropout(
    input: Any, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """`alpha_dropout` of whole channels.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)``.
    p : float, optional
    training : bool, optional
    inplace : bool, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.feature_alpha_dropout(fg.ones((2, 3, 4)), training=True).shape
    (2, 3, 4)
    """
    x = asarray(input)
    shape = (*x.shape[:2], *[1] * max(x.ndim - 2, 0))
    return written(input, _alpha_dropped(x, p, training, shape), inplace)


def _alpha_dropped(x: Tensor, p: float, training: bool, shape: Sequence[int]) -> Tensor:
    if not 0 <= p <= 1:
        raise OptionError(f"a probability lies between 0 and 1, {p} does not")
    if not training or p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    scale = 1 / math.sqrt((1 - p) * (1 + p * _SATURATED * _SATURATED))
    kept = uniform(tuple(shape)) >= p
    return fg.choose(kept, x, _SATURATED) * scale - scale * p * _SATURATED


def written(target: Any, result: Tensor, inplace: bool) -> Tensor:
    """The result, which a tensor gets as its new value if that was asked for."""
    if inplace and isinstance(target, Tensor):
        return target.copy_(result)
    return result


@in_float32
def rrelu(
    input: Any,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    inplace: bool = False,
) -> Tensor:
    """``x`` above 0, elsewhere ``x`` times a random slope, or the mean slope outside of training.

    Parameters
    ----------
    input : Tensor or array
    lower, upper : float, optional
        Between which slopes are drawn.
    training : bool, optional
    inplace : bool, optional
        Whether the input gets the result too.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.rrelu([-1.0, 2.0], 0.25, 0.75)
    Tensor([-0.5,  2. ])
    """
    x = asarray(input)
    slope: Any = (lower + upper) / 2
    if training:
        slope = uniform(tuple(x.shape), lower, upper, dtype=x.dtype)
    return written(input, fg.choose(x > 0, x, x * slope), inplace)


@in_float32
def gumbel_softmax(logits: Any, tau: float = 1.0, hard: bool = False, *, dim: int = -1) -> Tensor:
    """A differentiable draw of a class: the softmax of scores with Gumbel noise.

    Parameters
    ----------
    logits : Tensor or array
        Logarithms of probabilities, which need not be normalised.
    tau : float, optional
        The temperature: the lower, the nearer the result is to a single one.
    hard : bool, optional
        Whether the result is a single one; its gradient is that of the soft result.
    dim : int, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> y = F.gumbel_softmax([0.0, 1.0, 2.0], hard=True)
    >>> sorted(y.tolist())
    [0.0, 0.0, 1.0]
    """
    scores = asarray(logits)
    axis = one_axis("gumbel_softmax", dim, scores.ndim)
    noisy = (scores + gumbel(shape=tuple(scores.shape), dtype=scores.dtype)) / tau
    scores, axis, _ = as_scores("gumbel_softmax", noisy, axis, None)
    power = fg.exp(shifted(scores, axis))
    soft = power / power.sum(axis=axis, keepdims=True)
    if not hard:
        return soft
    place = [1] * soft.ndim
    place[axis] = -1
    ranks = arange(soft.shape[axis]).reshape(*place)
    chosen = (ranks == soft.argmax(axis=axis, keepdims=True)).astype(soft.dtype)
    return chosen - soft.detach() + soft
