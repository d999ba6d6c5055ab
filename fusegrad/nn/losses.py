"""Losses as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from ..errors import (
    DTypeError,
    OptionError,
    ShapeError,
)
from ..functions import functional as fg
from ..functions.creation import asarray, ones_like
from ..functions.manipulation import expand_dims, reshape, squeeze, take, take_along_axis
from ..functions.precision import kept_in_float32
from ..semantics.shapes import one_axis
from ..tensors.tensor_class import Tensor

__all__ = [
    "binary_cross_entropy_with_logits",
    "cross_entropy",
    "l1_loss",
    "log_softmax",
    "mse_loss",
    "nll_loss",
]

Reduction = Literal["none", "mean", "sum"]


def shifted(input: Tensor, dim: int) -> Tensor:
    """The input minus its maximum along an axis, so that `exp` cannot overflow.

    The maximum cancels in all that is computed from it, so no gradient goes through it.
    """
    if not input.shape[dim]:
        return input
    return input - input.detach().max(axis=dim, keepdims=True)


def as_scores(name: str, input: Any, dim: int, dtype: Any) -> tuple[Tensor, int, tuple[int, ...]]:
    """What a softmax takes: the input with an axis, that axis, and the shape of the result."""
    scores = asarray(input)
    scores = scores if dtype is None else scores.astype(dtype)
    shape = tuple(scores.shape)
    scores = scores if shape else scores.reshape(1)
    return scores, one_axis(name, dim, scores.ndim), shape


@kept_in_float32
def log_softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, without overflow or cancellation.

    Parameters
    ----------
    input : Tensor or array
    dim : int, optional
        The axis, by default the last.
    dtype : dtype, optional
        What the input is converted to first.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.log_softmax([0.0, 1000.0]).numpy()
    array([-1000.,     0.], dtype=float32)
    """
    scores, axis, shape = as_scores("log_softmax", input, dim, dtype)
    below = shifted(scores, axis)
    result = below - fg.log(fg.exp(below).sum(axis=axis, keepdims=True))
    return result if shape else result.reshape(())


def scaled_sum(terms: Tensor, count: int) -> Tensor:
    return terms.sum() / (count if count else math.nan)


def reduced(terms: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "none":
        return terms
    if reduction == "sum":
        return terms.sum()
    if reduction == "mean":
        return scaled_sum(terms, terms.size)
    raise OptionError(f"reduction is 'none', 'mean' or 'sum', not {reduction!r}")


def same_shapes(name: str, input: Tensor, target: Tensor) -> None:
    if input.shape != target.shape:
        raise ShapeError(
            f"{name} compares shapes {tuple(input.shape)} and {tuple(target.shape)}, "
            "which are not equal",
            remedy="reshape one of them; broadcasting here is more often a mistake than meant",
        )


@kept_in_float32
def mse_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:
    """The squares of the differences.

    Parameters
    ----------
    input, target : Tensor or array
        Of the same shape.
    reduction : {"mean", "sum", "none"}, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> float(F.mse_loss([1.0, 2.0], [1.0, 4.0]))
    2.0
    """
    input, target = asarray(input), asarray(target)
    same_shapes("mse_loss", input, target)
    difference = input - target
    return reduced(difference * difference, reduction)


@kept_in_float32
def l1_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:
    """The absolute values of the differences.

    Parameters
    ----------
    input, target : Tensor or array
        Of the same shape.
    reduction : {"mean", "sum", "none"}, optional
    """
    input, target = asarray(input), asarray(target)
    same_shapes("l1_loss", input, target)
    return reduced(fg.abs(input - target), reduction)


@kept_in_float32
def binary_cross_entropy_with_logits(
    input: Any,
    target: Any,
    weight: Any = None,
    reduction: Reduction = "mean",
    pos_weight: Any = None,
) -> Tensor:
    """Minus the log likelihood of yes-or-no targets, from scores before the sigmoid.

    Parameters
    ----------
    input : Tensor or array
        The scores.
    target : Tensor or array
        Of the same shape: the probability of yes.
    weight : Tensor or array, optional
        Multiplies the terms.
    reduction : {"mean", "sum", "none"}, optional
    pos_weight : Tensor or array, optional
        Multiplies the part of yes.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> round(float(F.binary_cross_entropy_with_logits([0.0, 1000.0], [1.0, 1.0])), 4)
    0.3466
    """
    input, target = asarray(input), asarray(target)
    same_shapes("binary_cross_entropy_with_logits", input, target)
    positive = input >= 0
    # Not abs and maximum, whose derivatives at 0 are those of a corner.
    tail = fg.log1p(fg.exp(fg.choose(positive, -input, input)))
    if pos_weight is None:
        terms = fg.choose(positive, input, 0) - input * target + tail
    else:
        scale = (asarray(pos_weight) - 1) * target + 1
        terms = (1 - target) * input + scale * (tail + fg.choose(positive, 0, -input))
    if weight is not None:
        terms = terms * asarray(weight)
    return reduced(terms, reduction)


# --- classification -------------------------------------------------------------------------------


@kept_in_float32
def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Minus the log likelihood of classes, from scores before the softmax.

    Parameters
    ----------
    input : Tensor or array
        The scores, of shape ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``.
    target : Tensor or array
        Labels from 0 to ``C - 1``, integers of the shape of `input` without ``C`` (others make
        the loss NaN); or probabilities of all classes, floating, of the shape of `input`.
    weight : Tensor or array, optional
        ``C`` numbers that multiply the terms of each class; ``"mean"`` divides by their sum.
    ignore_index : int, optional
        A label whose terms do not count. Unlike in torch there is none by default: the mean then
        divides by a number that is known beforehand, and the loss and its gradient are one pass
        over memory. Pass ``ignore_index=-100`` for torch's.
    reduction : {"mean", "sum", "none"}, optional
    label_smoothing : float, optional
        The part of the probability that is dealt out to all classes.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> round(float(F.cross_entropy([[0.0, 0.0], [0.0, 0.0]], [0, 1])), 4)
    0.6931
    """
    input, target = asarray(input), asarray(target)
    if not 0 <= label_smoothing <= 1:
        raise OptionError(f"label_smoothing lies between 0 and 1, {label_smoothing} does not")
    axis = _class_axis("cross_entropy", input)
    logs = log_softmax(input, axis)
    if target.dtype.kind == "float":
        return _against_probabilities(logs, target, axis, weight, reduction, label_smoothing)
    return _against_labels(
        "cross_entropy", logs, target, axis, weight, ignore_index, reduction, label_smoothing
    )


@kept_in_float32
def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    *,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """Minus the log likelihood of labels, from the logarithms of probabilities.

    Parameters
    ----------
    input : Tensor or array
        As from `log_softmax`, of shape ``(C,)``, ``(N, C)`` or ``(N, C, d1, ...)``.
    target, weight, ignore_index, reduction
        As for `cross_entropy`.
    """
    input, target = asarray(input), asarray(target)
    axis = _class_axis("nll_loss", input)
    return _against_labels("nll_loss", input, target, axis, weight, ignore_index, reduction, 0.0)


def _class_axis(name: str, input: Tensor) -> int:
    if input.ndim == 0:
        raise ShapeError(f"{name} needs scores of at least one class, not a scalar", remedy=None)
    return 0 if input.ndim == 1 else 1


def _class_weights(weight: Any, logs: Tensor, axis: int) -> Tensor:
    numbers = asarray(weight)
    classes = logs.shape[axis]
    if numbers.shape != (classes,):
        raise ShapeError(
            f"weight has shape {tuple(numbers.shape)} and ({classes},) is needed, one number "
            "for each class",
            remedy=None,
        )
    return numbers


def _against_probabilities(
    logs: Tensor, target: Tensor, axis: int, weight: Any, reduction: Reduction, smoothing: float
) -> Tensor:
    same_shapes("cross_entropy with probabilities", logs, target)
    if smoothing:
        target = target * (1 - smoothing) + smoothing / logs.shape[axis]
    terms = logs * target
    if weight is not None:
        beside = (1,) * (logs.ndim - axis - 1)
        terms = terms * reshape(_class_weights(weight, logs, axis), (-1, *beside))
    terms = -terms.sum(axis=axis)
    if reduction == "mean":
        return scaled_sum(terms, terms.size)
    return reduced(terms, reduction)


def _against_labels(
    name: str,
    logs: Tensor,
    target: Tensor,
    axis: int,
    weight: Any,
    ignore_index: int | None,
    reduction: Reduction,
    smoothing: float,
) -> Tensor:
    if not target.dtype.is_integer:
        raise DTypeError(
            f"{name} needs integers as labels, not {target.dtype}",
            remedy="convert them first: labels.astype('int64')",
        )
    expected = (*logs.shape[:axis], *logs.shape[axis + 1 :])
    if tuple(target.shape) != expected:
        raise ShapeError(
            f"{name} of scores of shape {tuple(logs.shape)} needs labels of shape {expected}, "
            f"not {tuple(target.shape)}",
            remedy="pass one label for each row of scores, without an axis of length 1; or "
            "probabilities, as floating numbers of the shape of the scores",
        )
    valid = None if ignore_index is None else target != ignore_index
    labels = target if valid is None else fg.choose(valid, target, 0)
    picked = take_along_axis(logs, expand_dims(labels, axis=axis), axis=axis, mode="clip")
    # A label that is no class gives NaN: compiled code cannot raise, and must not guess.
    inside = fg.logical_and(labels >= 0, labels < logs.shape[axis])
    terms = fg.choose(inside, -squeeze(picked, axis=axis), math.nan)
    scale = None
    if weight is not None:
        scale = take(_class_weights(weight, logs, axis), labels, axis=0, mode="clip")
    if scale is not None:
        terms = terms * scale
    if smoothing:
        terms = terms * (1 - smoothing) + _evenly(logs, axis, weight) * smoothing
    if valid is not None:
        terms = fg.choose(valid, terms, 0)
    if reduction != "mean" or (scale is None and valid is None):
        return reduced(terms, reduction)
    ones = ones_like(terms) if scale is None else scale
    counted = ones if valid is None else fg.choose(valid, ones, 0)
    return terms.sum() / counted.sum()


def _evenly(logs: Tensor, axis: int, weight: Any) -> Tensor:
    """The terms for a target that is the same for all classes."""
    if weight is not None:
        beside = (1,) * (logs.ndim - axis - 1)
        logs = logs * reshape(_class_weights(weight, logs, axis), (-1, *beside))
    return -logs.sum(axis=axis) * (1 / logs.shape[axis])
