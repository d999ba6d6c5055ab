"""Losses of numbers, counts and probabilities as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from typing import Any

from ..errors import (
    OptionError,
    ShapeError,
)
from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.precision import kept_in_float32
from ..special import xlogy
from ..tensors.tensor_class import Tensor
from .losses import Reduction, reduced, same_shapes, scaled_sum

__all__ = [
    "binary_cross_entropy",
    "gaussian_nll_loss",
    "huber_loss",
    "kl_div",
    "poisson_nll_loss",
    "smooth_l1_loss",
]


@kept_in_float32
def smooth_l1_loss(
    input: Any, target: Any, reduction: Reduction = "mean", beta: float = 1.0
) -> Tensor:
    """Squares of small differences over `beta`, absolute values of others.

    Parameters
    ----------
    input, target : Tensor or array
        Of the same shape.
    reduction : {"mean", "sum", "none"}, optional
    beta : float, optional
        Where small differences end; 0 gives `l1_loss`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.smooth_l1_loss([0.5, 3.0], [0.0, 0.0], reduction="none")
    Tensor([0.125, 2.5  ])
    """
    if beta < 0:
        raise OptionError(f"beta is {beta}, and cannot be negative")
    input, target = asarray(input), asarray(target)
    same_shapes("smooth_l1_loss", input, target)
    difference = input - target
    size = fg.abs(difference)
    if beta == 0:
        return reduced(size, reduction)
    inner = difference * difference * (0.5 / beta)
    return reduced(fg.choose(size < beta, inner, size - 0.5 * beta), reduction)


@kept_in_float32
def huber_loss(
    input: Any,
    target: Any,
    reduction: Reduction = "mean",
    delta: float = 1.0,
    weight: Any = None,
) -> Tensor:
    """Half the squares of small differences, `delta` times the size of others.

    Parameters
    ----------
    input, target : Tensor or array
        Of the same shape.
    reduction : {"mean", "sum", "none"}, optional
        With weights, ``"mean"`` divides by their sum.
    delta : float, optional
        Where small differences end.
    weight : Tensor or array, optional
        Multiplies the terms.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.huber_loss([0.5, 3.0], [0.0, 0.0], reduction="none", delta=2.0)
    Tensor([0.125, 4.   ])
    """
    if delta <= 0:
        raise OptionError(f"delta is greater than 0, {delta} is not")
    input, target = asarray(input), asarray(target)
    same_shapes("huber_loss", input, target)
    difference = input - target
    size = fg.abs(difference)
    inner = difference * difference * 0.5
    terms = fg.choose(size <= delta, inner, (size - 0.5 * delta) * delta)
    if weight is None:
        return reduced(terms, reduction)
    scale = asarray(weight)
    same_shapes("huber_loss with weights", input, scale)
    terms = terms * scale
    return terms.sum() / scale.sum() if reduction == "mean" else reduced(terms, reduction)


@kept_in_float32
def kl_div(input: Any, target: Any, reduction: Any = "mean", log_target: bool = False) -> Tensor:
    """The divergence of Kullback and Leibler, of logarithms of probabilities from a target.

    Parameters
    ----------
    input : Tensor or array
        Logarithms of probabilities.
    target : Tensor or array
        Probabilities; it broadcasts with `input`.
    reduction : {"mean", "batchmean", "sum", "none"}, optional
        ``"batchmean"`` divides the sum by the length of the first axis, which is what the
        divergence is.
    log_target : bool, optional
        Whether the target holds logarithms too.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> logs = fg.log(fg.asarray([[0.25, 0.75]]))
    >>> round(float(F.kl_div(logs, [[0.5, 0.5]], reduction="batchmean")), 4)
    0.1438
    """
    input, target = asarray(input), asarray(target)
    if log_target:
        terms = fg.exp(target) * (target - input)
    else:
        terms = xlogy(target, target) - target * input
    if reduction == "batchmean":
        return scaled_sum(terms, input.shape[0] if input.ndim else 1)
    return reduced(terms, reduction)


@kept_in_float32
def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: Reduction = "mean"
) -> Tensor:
    """Minus the log likelihood of yes-or-no targets, from probabilities of yes.

    Logarithms are not less than -100, so that the loss is finite. From scores,
    `binary_cross_entropy_with_logits` is more exact.

    Parameters
    ----------
    input : Tensor or array
        Probabilities.
    target : Tensor or array
        Of the same shape: the probability of yes.
    weight : Tensor or array, optional
        Multiplies the terms.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.binary_cross_entropy([0.5, 0.0], [1.0, 1.0], reduction="none").numpy().round(4)
    array([  0.6931, 100.    ], dtype=float32)
    """
    input, target = asarray(input), asarray(target)
    same_shapes("binary_cross_entropy", input, target)
    yes, no = _bounded_log(input), _bounded_log(1 - input)
    terms = (target - 1) * no - target * yes
    if weight is not None:
        terms = terms * asarray(weight)
    return reduced(terms, reduction)


def _bounded_log(x: Tensor) -> Tensor:
    """``max(log(x), -100)``; the derivative at 0 is large, not infinite, as torch has it."""
    inside = x > 0
    value = fg.maximum(fg.log(fg.choose(inside, x, 1.0)), -100.0)
    return fg.choose(inside, value, x * 1e12 - 100.0)


@kept_in_float32
def poisson_nll_loss(
    input: Any,
    target: Any,
    log_input: bool = True,
    full: bool = False,
    eps: float = 1e-8,
    reduction: Reduction = "mean",
) -> Tensor:
    """Minus the log likelihood of counts whose means are predicted.

    Parameters
    ----------
    input : Tensor or array
        The means, or their logarithms.
    target : Tensor or array
        Counts.
    log_input : bool, optional
        Whether `input` holds logarithms.
    full : bool, optional
        Whether the factorials of the counts, by Stirling's formula, are part of it.
    eps : float, optional
        Added to means before their logarithm is taken.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> float(F.poisson_nll_loss([0.0], [3.0]))
    1.0
    """
    input, target = asarray(input), asarray(target)
    logs = input if log_input else fg.log(input + eps)
    terms = (fg.exp(input) if log_input else input) - target * logs
    if full:
        many = target > 1
        count = fg.choose(many, target, 1.0)
        stirling = count * fg.log(count) - count + 0.5 * fg.log(2 * math.pi * count)
        terms = terms + fg.choose(many, stirling, 0.0)
    return reduced(terms, reduction)


@kept_in_float32
def gaussian_nll_loss(
    input: Any,
    target: Any,
    var: Any,
    full: bool = False,
    eps: float = 1e-6,
    reduction: Reduction = "mean",
) -> Tensor:
    """Minus the log likelihood of numbers whose means and variances are predicted.

    Parameters
    ----------
    input, target : Tensor or array
        The means, and the numbers.
    var : Tensor, array or float
        The variances: of the shape of `input`, or one for each row.
    full : bool, optional
        Whether the constant, half the logarithm of two pi, is part of it.
    eps : float, optional
        What variances count for at least; their gradient is not changed by that.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Raises
    ------
    ShapeError
        If the variances fit neither all elements nor all rows.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> float(F.gaussian_nll_loss([1.0], [3.0], [1.0]))
    2.0
    """
    input, target = asarray(input), asarray(target)
    variance = asarray(var)
    if variance.ndim and variance.shape != input.shape:
        rows = tuple(input.shape[:-1])
        if tuple(variance.shape) == rows:
            variance = variance.reshape(*rows, 1)
        elif tuple(variance.shape) != (*rows, 1):
            raise ShapeError(
                f"gaussian_nll_loss: variances of shape {tuple(variance.shape)} do not fit an "
                f"input of shape {tuple(input.shape)}",
                remedy="give one for each element, or one for each row",
            )
    # What is added has no gradient of its own.
    variance = variance + (fg.maximum(variance, eps) - variance).detach()
    difference = input - target
    terms = 0.5 * (fg.log(variance) + difference * difference / variance)
    if full:
        terms = terms + 0.5 * math.log(2 * math.pi)
    return reduced(terms, reduction)
