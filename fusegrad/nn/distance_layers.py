"""Distances, shapes and random activations as layers, under torch's names.

User-level code: each keeps its arguments and calls its function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import OptionError, ShapeError
from ..functions.arranging import unflatten
from ..functions.creation import asarray
from ..tensors.tensor_class import Tensor
from . import functional as F
from .module import Module

__all__ = [
    "AlphaDropout",
    "CosineSimilarity",
    "FeatureAlphaDropout",
    "PairwiseDistance",
    "RReLU",
    "Softmax2d",
    "Softmin",
    "Unflatten",
]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors.

    Parameters
    ----------
    dim : int, optional
        The axis of the vectors.
    eps : float, optional
        What norms count for at least.

    Examples
    --------
    >>> from fusegrad import nn
    >>> nn.CosineSimilarity()([[1.0, 0.0]], [[2.0, 0.0]])
    Tensor([1.])
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """Compare the vectors."""
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The norms of differences along the last axis.

    Parameters
    ----------
    p : float, optional
        The exponent of the norm.
    eps : float, optional
        Added to the differences.
    keepdim : bool, optional

    Examples
    --------
    >>> from fusegrad import nn
    >>> round(float(nn.PairwiseDistance()([0.0, 0.0], [3.0, 4.0])), 4)
    5.0
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def forward(self, x1: Any, x2: Any) -> Tensor:
        """Compute the distances."""
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


class Softmin(Module):
    """The softmax of the numbers with the other sign.

    Parameters
    ----------
    dim : int, optional
        The axis, by default the last.
    """

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.softmin(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmax2d(Module):
    """The softmax over the channels of images of shape ``(N, C, H, W)`` or ``(C, H, W)``."""

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        x = asarray(input)
        if x.ndim not in (3, 4):
            raise ShapeError(
                f"Softmax2d: an input of shape {tuple(x.shape)} is no image, nor a batch of them",
                remedy="the input has shape (N, C, H, W) or (C, H, W)",
            )
        return F.softmax(x, -3)


class RReLU(Module):
    """``x`` above 0, elsewhere ``x`` times a slope, which is random in training.

    Parameters
    ----------
    lower, upper : float, optional
        Between which slopes are drawn.
    inplace : bool, optional
        Whether the input gets the result too.
    """

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        super().__init__()
        self.lower = lower
        self.upper = upper
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply the function."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"


class _AlphaDropout(Module):
    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise OptionError(f"a probability lies between 0 and 1, {p} does not")
        self.p = p
        self.inplace = inplace

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"


class AlphaDropout(_AlphaDropout):
    """Dropout that keeps the mean and the variance of what `SELU` returns.

    Parameters
    ----------
    p : float, optional
    inplace : bool, optional
        Whether the input gets the result too.
    """

    def forward(self, input: Any) -> Tensor:
        """Drop, in training."""
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_AlphaDropout):
    """`AlphaDropout` of whole channels.

    Parameters
    ----------
    p : float, optional
    inplace : bool, optional
        Whether the input gets the result too.
    """

    def forward(self, input: Any) -> Tensor:
        """Drop, in training."""
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)


class Unflatten(Module):
    """Makes several axes of one.

    Parameters
    ----------
    dim : int
    unflattened_size : sequence of int
        The extents of the new axes; one of them may be -1.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.Unflatten(1, (2, -1))(fg.ones((4, 6))).shape
    (4, 2, 3)
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Any) -> Tensor:
        """Give the input its new shape."""
        return unflatten(input, self.dim, self.unflattened_size)

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
