"""Losses of numbers, counts and probabilities as modules, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from typing import Any

from ..functions.creation import asarray
from ..tensors.tensor_class import Tensor
from . import functional as F
from .losses import Reduction
from .module import Module

__all__ = [
    "BCELoss",
    "CTCLoss",
    "GaussianNLLLoss",
    "HuberLoss",
    "KLDivLoss",
    "PoissonNLLLoss",
    "SmoothL1Loss",
]


class SmoothL1Loss(Module):
    """Squares of small differences, absolute values of others.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, optional
    beta : float, optional
        Where small differences end.

    Examples
    --------
    >>> from fusegrad import nn
    >>> float(nn.SmoothL1Loss()([3.0], [0.0]))
    2.5
    """

    def __init__(self, reduction: Reduction = "mean", beta: float = 1.0) -> None:
        super().__init__()
        self.reduction = reduction
        self.beta = beta

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.smooth_l1_loss(input, target, reduction=self.reduction, beta=self.beta)


class HuberLoss(Module):
    """Half the squares of small differences, `delta` times the size of others.

    Parameters
    ----------
    reduction : {"mean", "sum", "none"}, optional
    delta : float, optional
        Where small differences end.
    """

    def __init__(self, reduction: Reduction = "mean", delta: float = 1.0) -> None:
        super().__init__()
        self.reduction = reduction
        self.delta = delta

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.huber_loss(input, target, reduction=self.reduction, delta=self.delta)


class KLDivLoss(Module):
    """The divergence of Kullback and Leibler, of logarithms of probabilities from a target.

    Parameters
    ----------
    reduction : {"mean", "batchmean", "sum", "none"}, optional
    log_target : bool, optional
        Whether the target holds logarithms too.
    """

    def __init__(self, reduction: Any = "mean", log_target: bool = False) -> None:
        super().__init__()
        self.reduction = reduction
        self.log_target = log_target

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.kl_div(input, target, reduction=self.reduction, log_target=self.log_target)


class BCELoss(Module):
    """Minus the log likelihood of yes-or-no targets, from probabilities of yes.

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
        return F.binary_cross_entropy(input, target, weight=self.weight, reduction=self.reduction)


class PoissonNLLLoss(Module):
    """Minus the log likelihood of counts whose means are predicted.

    Parameters
    ----------
    log_input, full : bool, optional
    eps : float, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        eps: float = 1e-8,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.log_input = log_input
        self.full = full
        self.eps = eps
        self.reduction = reduction

    def forward(self, input: Any, target: Any) -> Tensor:
        """Compute the loss."""
        return F.poisson_nll_loss(
            input,
            target,
            log_input=self.log_input,
            full=self.full,
            eps=self.eps,
            reduction=self.reduction,
        )


class GaussianNLLLoss(Module):
    """Minus the log likelihood of numbers whose means and variances are predicted.

    Parameters
    ----------
    full : bool, optional
    eps : float, optional
    reduction : {"mean", "sum", "none"}, optional
    """

    def __init__(
        self, *, full: bool = False, eps: float = 1e-6, reduction: Reduction = "mean"
    ) -> None:
        super().__init__()
        self.full = full
        self.eps = eps
        self.reduction = reduction

    def forward(self, input: Any, target: Any, var: Any) -> Tensor:
        """Compute the loss."""
        return F.gaussian_nll_loss(
            input, target, var, full=self.full, eps=self.eps, reduction=self.reduction
        )


class CTCLoss(Module):
    """Minus the log likelihood of labels over all their alignments with the input.

    Parameters
    ----------
    blank : int, optional
        The class that stands for no label.
    reduction : {"mean", "sum", "none"}, optional
    zero_infinity : bool, optional
        Whether infinite losses count as 0.
    """

    def __init__(
        self, blank: int = 0, reduction: Reduction = "mean", zero_infinity: bool = False
    ) -> None:
        super().__init__()
        self.blank = blank
        self.reduction = reduction
        self.zero_infinity = zero_infinity

    def forward(
        self, log_probs: Any, targets: Any, input_lengths: Any, target_lengths: Any
    ) -> Tensor:
        """Compute the loss."""
        return F.ctc_loss(
            log_probs,
            targets,
            input_lengths,
            target_lengths,
            blank=self.blank,
            reduction=self.reduction,
            zero_infinity=self.zero_infinity,
        )
