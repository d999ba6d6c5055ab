"""Losses with margins as modules, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..functions.creation import asarray
from ..tensors.tensor_class import Tensor
from . import functional as F
from .losses import Reduction
from .module import Module

__all__ = [
    "CosineEmbeddingLoss",
    "HingeEmbeddingLoss",
    "MarginRankingLoss",
    "MultiLabelMarginLoss",
    "MultiLabelSoftMarginLoss",
    "MultiMarginLoss",
    "SoftMarginLoss",
    "TripletMarginLoss",
    "TripletMarginWithDistanceLoss",
]


class MarginRankingLoss(Module):
    """How much the order of two scores misses a margin.

    Parameters
    ----------
    margin : float, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.margin_ranking_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class HingeEmbeddingLoss(Module):
    """Distances where the target is 1, what they miss a margin by where it is -1.

    Parameters
    ----------
    margin : float, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, margin: float = 1.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.hinge_embedding_loss(input, target, margin=self.margin, reduction=self.reduction)


class CosineEmbeddingLoss(Module):
    """How much vectors differ in direction that should not, and the other way round.

    Parameters
    ----------
    margin : float, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, margin: float = 0.0, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.margin = margin
        self.reduction = reduction

    def forward(self, input1: Any, input2: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.cosine_embedding_loss(
            input1, input2, target, margin=self.margin, reduction=self.reduction
        )


class SoftMarginLoss(Module):
    """``log(1 + exp(-target * input))``.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.soft_margin_loss(input, target, reduction=self.reduction)


class MultiMarginLoss(Module):
    """How much the scores of other classes miss a margin below that of the label.

    Parameters
    ----------
    p : {1, 2}, optional
    margin : float, optional
    weight : Tensor or array, optional
    reduction : {"mean", "sum", "none"}, optional

    Examples
    --------
    >>> from fusegrad import nn
    >>> float(nn.MultiMarginLoss()([[1.0, 0.5]], [0]))
    0.25
    """

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Any = None, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.p = p
        self.margin = margin
        self.register_buffer("weight", None if weight is None else asarray(weight))
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.multi_margin_loss(
            input,
            target,
            p=self.p,
            margin=self.margin,
            weight=self.weight,
            reduction=self.reduction,
        )


class MultiLabelMarginLoss(Module):
    """How much the scores of other classes miss a margin below those of the labels.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)


class MultiLabelSoftMarginLoss(Module):
    """Yes or no for each class, from scores before the sigmoid.

    Parameters
    ----------
    weight : Tensor or array, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, weight: Any = None, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.register_buffer("weight", None if weight is None else asarray(weight))
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.multilabel_soft_margin_loss(
            input, target, weight=self.weight, reduction=self.reduction
        )


class TripletMarginLoss(Module):
    """How much nearer what is alike should be than what is not.

    Parameters
    ----------
    margin : float, optional
    p : float, optional
    eps : float, optional
    swap : bool, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.margin = margin
        self.p = p
        self.eps = eps
        self.swap = swap
        self.reduction = reduction

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """Compute the loss."""
        return F.triplet_margin_loss(
            anchor,
            positive,
            negative,
            margin=self.margin,
            p=self.p,
            eps=self.eps,
            swap=self.swap,
            reduction=self.reduction,
        )


class TripletMarginWithDistanceLoss(Module):
    """As `TripletMarginLoss`, with a distance of one's own.

    Parameters
    ----------
    distance_function : callable, optional
    margin : float, optional
    swap : bool, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(
        self,
        *,
        distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.distance_function = distance_function
        self.margin = margin
        self.swap = swap
        self.reduction = reduction

    def forward(self, anchor: Any, positive: Any, negative: Any) -> Tensor:
        """Compute the loss."""
        return F.triplet_margin_with_distance_loss(
            anchor,
            positive,
            negative,
            distance_function=self.distance_function,
            margin=self.margin,
            swap=self.swap,
            reduction=self.reduction,
        )
