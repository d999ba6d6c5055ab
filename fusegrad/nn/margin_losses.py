"""Losses with margins, and distances, as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import (
    DTypeError,
    OptionError,
    ShapeError,
)
from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.diagonals import triu_indices
from ..functions.manipulation import expand_dims, take, take_along_axis
from ..functions.precision import in_float32, kept_in_float32
from ..functions.ranges import arange
from ..linalg import vector_norm
from ..tensors.tensor_class import Tensor
from .losses import Reduction, reduced, same_shapes

__all__ = [
    "cosine_embedding_loss",
    "hinge_embedding_loss",
    "margin_ranking_loss",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "pairwise_distance",
    "pdist",
    "soft_margin_loss",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
]


@in_float32
def pairwise_distance(
    x1: Any, x2: Any, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The norms of differences along the last axis.

    Parameters
    ----------
    x1, x2 : Tensor or array
        They broadcast.
    p : float, optional
        The exponent of the norm.
    eps : float, optional
        Added to the differences, so that the norm of none of them is 0.
    keepdim : bool, optional
        Whether the last axis stays with extent 1.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.pairwise_distance([[0.0, 0.0]], [[3.0, 4.0]]).numpy().round(4)
    array([5.], dtype=float32)
    """
    difference = asarray(x1) - asarray(x2) + eps
    if not difference.ndim:
        raise ShapeError("pairwise_distance needs vectors, not numbers", remedy=None)
    return vector_norm(difference, ord=p, axis=-1, keepdims=keepdim)


@in_float32
def pdist(input: Any, p: float = 2.0) -> Tensor:
    """The distances between all pairs of rows, as one vector.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, M)``.
    p : float, optional
        The exponent of the norm.

    Returns
    -------
    Tensor
        Of shape ``(N * (N - 1) / 2,)``: row 0 with those behind it, row 1, and so on.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.pdist([[0.0], [1.0], [3.0]])
    Tensor([1., 3., 2.])
    """
    x = asarray(input)
    if x.ndim != 2:
        raise ShapeError(f"pdist needs rows of shape (N, M), not {tuple(x.shape)}", remedy=None)
    first, second = triu_indices(x.shape[0], k=1)
    return vector_norm(take(x, first, axis=0) - take(x, second, axis=0), ord=p, axis=1)


@kept_in_float32
def margin_ranking_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """``max(0, -target * (input1 - input2) + margin)``.

    Parameters
    ----------
    input1, input2 : Tensor or array
    target : Tensor or array
        1 where the first is to be greater, -1 where the second is.
    margin : float, optional
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.margin_ranking_loss([1.0, 1.0], [3.0, 3.0], [1, -1], reduction="none")
    Tensor([2., 0.])
    """
    input1, input2, target = asarray(input1), asarray(input2), asarray(target)
    if not input1.ndim == input2.ndim == target.ndim:
        raise ShapeError(
            "margin_ranking_loss needs as many axes everywhere, not shapes "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}",
            remedy=None,
        )
    return reduced(_hinge((input2 - input1) * target + margin), reduction)


def _hinge(x: Tensor) -> Tensor:
    """``max(x, 0)``, whose derivative at 0 is 0."""
    return fg.choose(x <= 0, 0, x)


@kept_in_float32
def hinge_embedding_loss(
    input: Any, target: Any, margin: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Distances where the target is 1, ``max(0, margin - distance)`` where it is -1.

    Parameters
    ----------
    input : Tensor or array
    target : Tensor or array
        1 or -1.
    margin : float, optional
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.hinge_embedding_loss([0.25, 0.25], [1, -1], reduction="none")
    Tensor([0.25, 0.75])
    """
    input, target = asarray(input), asarray(target)
    apart = fg.choose(target != 1, _hinge(margin - input), 0)
    near = fg.choose(target != -1, input, 0)
    return reduced(apart + near, reduction)


@kept_in_float32
def cosine_embedding_loss(
    input1: Any, input2: Any, target: Any, margin: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """``1 - cos`` where the target is 1, ``max(0, cos - margin)`` where it is -1.

    Parameters
    ----------
    input1, input2 : Tensor or array
        Of shape ``(N, D)`` or ``(D,)``.
    target : Tensor or array
        Of shape ``(N,)`` or ``()``: 1 or -1.
    margin : float, optional
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> a, b = [[1.0, 0.0], [1.0, 0.0]], [[0.0, 1.0], [1.0, 0.0]]
    >>> F.cosine_embedding_loss(a, b, [1, -1], reduction="none").numpy().round(4)
    array([1., 1.], dtype=float32)
    """
    input1, input2, target = asarray(input1), asarray(input2), asarray(target)
    if target.ndim > 1 or {input1.ndim, input2.ndim} != {target.ndim + 1}:
        raise ShapeError(
            "cosine_embedding_loss needs vectors and a number, or rows of both, not shapes "
            f"{tuple(input1.shape)}, {tuple(input2.shape)} and {tuple(target.shape)}",
            remedy=None,
        )
    # As torch has it, a small number under the root in place of a bound of the norms.
    eps = 1e-12
    product = (input1 * input2).sum(axis=-1)
    squares = ((input1 * input1).sum(axis=-1) + eps) * ((input2 * input2).sum(axis=-1) + eps)
    cosine = product / fg.sqrt(squares)
    like = fg.choose(target == 1, 1 - cosine, 0)
    unlike = fg.choose(target == -1, _hinge(cosine - margin), 0)
    return reduced(like + unlike, reduction)


@kept_in_float32
def soft_margin_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:
    """``log(1 + exp(-target * input))``, without overflow.

    Parameters
    ----------
    input, target : Tensor or array
        Of the same shape; the target is 1 or -1.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.soft_margin_loss([0.0, -1000.0], [1, 1], reduction="none").numpy().round(4)
    array([6.931e-01, 1.000e+03], dtype=float32)
    """
    input, target = asarray(input), asarray(target)
    same_shapes("soft_margin_loss", input, target)
    return reduced(fg.logaddexp(-target * input, 0.0), reduction)


def _rows(name: str, input: Tensor, target: Tensor, several: bool) -> tuple[Tensor, Tensor]:
    """Scores as ``(N, C)``, and their labels: one for each row, or `several`."""
    if not target.dtype.is_integer:
        raise DTypeError(
            f"{name} needs integers as labels, not {target.dtype}",
            remedy="convert them first: labels.astype('int64')",
        )
    expected = input.shape if several else input.shape[:-1]
    alone = input.ndim < 2 and target.size == 1
    if input.ndim > 2 or not (alone or target.shape == expected):
        raise ShapeError(
            f"{name}: labels of shape {tuple(target.shape)} do not fit scores of shape "
            f"{tuple(input.shape)}",
            remedy=f"they need shape {tuple(expected)}",
        )
    if input.ndim < 2:
        return input.reshape(1, -1), target.reshape(1, -1) if several else target.reshape(1)
    return input, target


@kept_in_float32
def multi_margin_loss(
    input: Any,
    target: Any,
    p: int = 1,
    margin: float = 1.0,
    weight: Any = None,
    reduction: Reduction = "mean",
) -> Tensor:
    """The mean over all other classes of ``max(0, margin - score of the label + score) ** p``.

    Parameters
    ----------
    input : Tensor or array
        Scores of shape ``(N, C)`` or ``(C,)``.
    target : Tensor or array
        Labels of shape ``(N,)`` or ``()``.
    p : {1, 2}, optional
    margin : float, optional
    weight : Tensor or array, optional
        One number for each class, which multiplies the terms of its label.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> float(F.multi_margin_loss([[1.0, 0.5]], [0]))
    0.25
    """
    if p not in (1, 2):
        raise OptionError(f"p is 1 or 2, not {p}")
    input, target = asarray(input), asarray(target)
    scores, labels = _rows("multi_margin_loss", input, target, several=False)
    place = expand_dims(labels, axis=1)
    terms = _hinge(margin - take_along_axis(scores, place, axis=1) + scores)
    terms = terms if p == 1 else terms * terms
    if weight is not None:
        terms = terms * expand_dims(take(asarray(weight), labels, axis=0), axis=1)
    others = arange(scores.shape[1], dtype=labels.dtype) != place
    terms = fg.choose(others, terms, 0).sum(axis=1) * (1 / max(scores.shape[1], 1))
    return reduced(terms.reshape(target.shape), reduction)


@kept_in_float32
def multilabel_margin_loss(input: Any, target: Any, reduction: Reduction = "mean") -> Tensor:
    """The mean of ``max(0, 1 - score of a label + score of another class)``.

    Parameters
    ----------
    input : Tensor or array
        Scores of shape ``(N, C)`` or ``(C,)``.
    target : Tensor or array
        Labels, of the same shape: in each row those before the first -1.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> round(float(F.multilabel_margin_loss([[0.1, 0.2, 0.4, 0.8]], [[3, 0, -1, 1]])), 4)
    0.85
    """
    input, target = asarray(input), asarray(target)
    scores, labels = _rows("multilabel_margin_loss", input, target, several=True)
    classes = scores.shape[1]
    ended = (labels < 0).astype("int64").cumsum(1) > 0
    valid = fg.logical_not(ended)
    place = fg.choose(valid, labels, 0)
    same = expand_dims(place, axis=2) == arange(classes, dtype=labels.dtype)
    is_label = fg.logical_and(same, expand_dims(valid, axis=2)).any(axis=1)
    wanted = expand_dims(take_along_axis(scores, place, axis=1), axis=2)
    terms = _hinge(1 - wanted + expand_dims(scores, axis=1))
    counted = fg.logical_and(
        expand_dims(valid, axis=2), expand_dims(fg.logical_not(is_label), axis=1)
    )
    sums = fg.choose(counted, terms, 0).sum(axis=(1, 2)) * (1 / max(classes, 1))
    return reduced(sums if input.ndim == 2 else sums.reshape(()), reduction)


@kept_in_float32
def multilabel_soft_margin_loss(
    input: Any, target: Any, weight: Any = None, reduction: Reduction = "mean"
) -> Tensor:
    """The mean over the classes of `binary_cross_entropy_with_logits`.

    Parameters
    ----------
    input, target : Tensor or array
        Of shape ``(N, C)``; the target is 0 or 1.
    weight : Tensor or array, optional
        One number for each class.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> round(float(F.multilabel_soft_margin_loss([[0.0, 0.0]], [[1.0, 0.0]])), 4)
    0.6931
    """
    input, target = asarray(input), asarray(target)
    same_shapes("multilabel_soft_margin_loss", input, target)
    terms = fg.logaddexp(input, 0.0) - target * input
    if weight is not None:
        terms = terms * asarray(weight)
    return reduced(terms.mean(axis=-1), reduction)


@kept_in_float32
def triplet_margin_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    margin: float = 1.0,
    p: float = 2.0,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """How much nearer what is alike should be than what is not.

    Parameters
    ----------
    anchor, positive, negative : Tensor or array
        Rows, along the last axis; they broadcast.
    margin : float, optional
    p : float, optional
        The exponent of the norm.
    eps : float, optional
        As for `pairwise_distance`.
    swap : bool, optional
        Whether the positive may stand for the anchor where it is nearer to the negative.
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> round(float(F.triplet_margin_loss([[0.0]], [[3.0]], [[1.0]])), 3)
    3.0
    """

    def distance(x: Tensor, y: Tensor) -> Tensor:
        return pairwise_distance(x, y, p, eps)

    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def triplet_margin_with_distance_loss(
    anchor: Any,
    positive: Any,
    negative: Any,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: Reduction = "mean",
) -> Tensor:
    """As `triplet_margin_loss`, with a distance of one's own.

    Parameters
    ----------
    anchor, positive, negative : Tensor or array
    distance_function : callable, optional
        By default `pairwise_distance`.
    margin : float, optional
    swap : bool, optional
    reduction : {"mean", "sum", "none"}, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> float(F.triplet_margin_with_distance_loss([0.0], [3.0], [1.0],
    ...       distance_function=lambda x, y: abs(x - y)))
    3.0
    """
    distance = pairwise_distance if distance_function is None else distance_function
    return _triplet(anchor, positive, negative, distance, margin, swap, reduction)


def _triplet(
    anchor: Any,
    positive: Any,
    negative: Any,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: Reduction,
) -> Tensor:
    anchor, positive, negative = asarray(anchor), asarray(positive), asarray(negative)
    if margin <= 0:
        raise OptionError(f"margin is greater than 0, {margin} is not")
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = fg.minimum(far, distance(positive, negative))
    return reduced(_hinge(margin + near - far), reduction)
