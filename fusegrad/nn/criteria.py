"""Losses as modules, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from typing import Any

from ..functions.creation import asarray
from ..tensors.tensor_class import Tensor
from . import functional as F
from .losses import Reduction
from .module import Module

__all__ = ["BCEWithLogitsLoss", "CrossEntropyLoss", "L1Loss", "MSELoss", "NLLLoss"]


class MSELoss(Module):
    """The mean of the squared differences.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.mse_loss(input, target, self.reduction)


class L1Loss(Module):
    """The mean of the absolute differences.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(self, reduction: Reduction = "mean") -> None:
        super().__init__()
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.l1_loss(input, target, self.reduction)


class BCEWithLogitsLoss(Module):
    """Minus the log likelihood of yes-or-no targets, from scores before the sigmoid.

    Parameters
    ----------
    weight : Tensor or array, optional
    reduction : {"mean", "sum", "none"}, optional
    pos_weight : Tensor or array, optional
    """

    def __init__(
        self, weight: Any = None, reduction: Reduction = "mean", pos_weight: Any = None
    ) -> None:
        super().__init__()
        self.reduction = reduction
        self.register_buffer("weight", None if weight is None else asarray(weight))
        self.register_buffer("pos_weight", None if pos_weight is None else asarray(pos_weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.binary_cross_entropy_with_logits(
            input, target, self.weight, self.reduction, self.pos_weight
        )


class CrossEntropyLoss(Module):
    """Minus the log likelihood of classes, from scores before the softmax.

    Parameters
    ----------
    weight : Tensor or array, optional
    ignore_index : int, optional
        As for `functional.cross_entropy`, and unlike in torch, there is none by default.
    reduction : {"mean", "sum", "none"}, optional
    label_smoothing : float, optional

    Examples
    --------
    >>> from fusegrad import nn
    >>> round(float(nn.CrossEntropyLoss()([[0.0, 0.0]], [1])), 4)
    0.6931
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.label_smoothing = label_smoothing
        self.register_buffer("weight", None if weight is None else asarray(weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(Module):
    """Minus the log likelihood of labels, from the logarithms of probabilities.

    Parameters
    ----------
    weight : Tensor or array, optional
    ignore_index : int, optional
        As for `functional.cross_entropy`, and unlike in torch, there is none by default.
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        self.reduction = reduction
        self.register_buffer("weight", None if weight is None else asarray(weight))

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.nll_loss(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )
