"""Normalisation as layers, under torch's names.

User-level code: each makes its parameters and running statistics and calls its function.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ..errors import ShapeError
from ..functions.creation import asarray, ones, zeros
from ..functions.manipulation import expand_dims, squeeze
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor
from . import functional as F
from . import init
from .module import Module
from .parameter import Parameter

__all__ = [
    "BatchNorm1d",
    "BatchNorm2d",
    "BatchNorm3d",
    "GroupNorm",
    "InstanceNorm1d",
    "InstanceNorm2d",
    "InstanceNorm3d",
    "LayerNorm",
    "LocalResponseNorm",
    "RMSNorm",
]


class _Affine(Module):
    """A weight of ones and a bias of zeros, or none."""

    weight: Parameter | None
    bias: Parameter | None

    def _make_parameters(
        self, shape: tuple[int, ...], weight: bool, bias: bool, dtype: Any
    ) -> None:
        self.register_parameter("weight", None)
        self.register_parameter("bias", None)
        if weight:
            self.weight = Parameter(ones(shape, dtype=dtype))
            if bias:
                self.bias = Parameter(zeros(shape, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the weight to ones and the bias to zeros."""
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)


class LayerNorm(_Affine):
    """Shifts and scales to mean 0 and variance 1 over the last axes, then by weight and bias.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The extents of these last axes.
    eps : float, optional
        Added to the variance.
    elementwise_affine : bool, optional
        Whether there are weight and bias.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.LayerNorm(4)(fg.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self._make_parameters(self.normalized_shape, elementwise_affine, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, "
            f"elementwise_affine={self.elementwise_affine}, bias={self.bias is not None}"
        )


class RMSNorm(_Affine):
    """Divides by the root of the mean of squares over the last axes, then scales.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The extents of these last axes.
    eps : float, optional
        Added to the mean; by default the machine epsilon of the dtype.
    elementwise_affine : bool, optional
        Whether there is a weight.
    dtype : optional
        Of the weight, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.RMSNorm(4)(fg.ones((2, 4))).shape
    (2, 4)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if isinstance(normalized_shape, int):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        self.register_parameter("weight", None)
        if elementwise_affine:
            self.weight = Parameter(ones(self.normalized_shape, dtype=dtype))

    def reset_parameters(self) -> None:
        """Set the weight to ones."""
        if self.weight is not None:
            init.ones_(self.weight)

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class GroupNorm(_Affine):
    """Shifts and scales groups of channels to mean 0 and variance 1, each example by itself.

    Parameters
    ----------
    num_groups, num_channels : int
    eps : float, optional
        Added to the variance.
    affine : bool, optional
        Whether there are weight and bias, one number for each channel.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of the parameters, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.GroupNorm(2, 4)(fg.ones((3, 4, 5))).shape
    (3, 4, 5)
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if num_groups < 1 or num_channels % num_groups:
            raise ShapeError(
                f"GroupNorm: {num_channels} channels in {num_groups} groups",
                remedy="num_groups divides the channels",
            )
        self.num_groups, self.num_channels = num_groups, num_channels
        self.eps = eps
        self.affine = affine
        self._make_parameters((num_channels,), affine, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )


class LocalResponseNorm(Module):
    """Divides by a power of the mean of squares over neighbouring channels.

    Parameters
    ----------
    size : int
        How many channels count as neighbours.
    alpha, beta, k : float, optional
        The divisor is ``(k + alpha * mean) ** beta``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.LocalResponseNorm(2)(fg.ones((3, 4, 5))).shape
    (3, 4, 5)
    """

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        super().__init__()
        self.size = size
        self.alpha, self.beta, self.k = alpha, beta, k

    def forward(self, input: Any) -> Tensor:
        """Normalise."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


# --- with running statistics ----------------------------------------------------------------------


class _Tracking(_Affine):
    """Running statistics: buffers that training steps write."""

    _ranks: ClassVar[tuple[int, ...]]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        bias: bool,
        dtype: Any,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        self._make_parameters((num_features,), affine, bias, dtype)
        tracked = track_running_stats
        shape = (num_features,)
        self.register_buffer("running_mean", zeros(shape, dtype=dtype) if tracked else None)
        self.register_buffer("running_var", ones(shape, dtype=dtype) if tracked else None)
        count = zeros((), dtype="int64") if tracked else None
        self.register_buffer("num_batches_tracked", count)

    def reset_running_stats(self) -> None:
        """Set the running mean to zeros and the running variance to ones."""
        with no_grad():
            if self.running_mean is not None:
                self.running_mean[...] = 0
            if self.running_var is not None:
                self.running_var[...] = 1
            if self.num_batches_tracked is not None:
                self.num_batches_tracked[...] = 0

    def reset_parameters(self) -> None:
        """Set the weight to ones, the bias to zeros, and forget the statistics."""
        self.reset_running_stats()
        super().reset_parameters()

    def _checked(self, input: Any) -> Tensor:
        x = asarray(input)
        if x.ndim not in self._ranks:
            wanted = " or ".join(map(str, self._ranks))
            raise ShapeError(
                f"{type(self).__name__}: an input of shape {tuple(x.shape)} has {x.ndim} axes, "
                f"not {wanted}",
                remedy="the input has shape (batch, channels, places...)",
            )
        return x

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )


class _BatchNorm(_Tracking):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """Normalise; in training with the statistics of the input, which are remembered."""
        x = self._checked(input)
        momentum: Any = self.momentum
        count = self.num_batches_tracked
        if self.training and count is not None:
            with no_grad():
                count[...] = count + 1
                if momentum is None:
                    # The mean of all batches so far.
                    momentum = 1.0 / count.astype(x.dtype)
        tracked = not self.training or self.track_running_stats
        return F.batch_norm(
            x,
            self.running_mean if tracked else None,
            self.running_var if tracked else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            momentum,
            self.eps,
        )


class _InstanceNorm(_Tracking):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """Normalise, each example by itself."""
        x = self._checked(input)
        single = x.ndim == min(self._ranks)
        result = F.instance_norm(
            expand_dims(x, axis=0) if single else x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training or not self.track_running_stats,
            self.momentum,
            self.eps,
        )
        return squeeze(result, axis=0) if single else result


class BatchNorm1d(_BatchNorm):
    """Shifts and scales every channel to mean 0 and variance 1, then by weight and bias.

    In training by the statistics of the input, of shape ``(N, C)`` or ``(N, C, L)``, and running
    statistics move towards them; otherwise by the running statistics.

    Parameters
    ----------
    num_features : int
        The channels.
    eps : float, optional
        Added to the variance.
    momentum : float or None, optional
        How far the running statistics move; None for the mean over all batches.
    affine : bool, optional
        Whether there are weight and bias.
    track_running_stats : bool, optional
        Whether there are running statistics.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of parameters and statistics, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.BatchNorm1d(4)(fg.ones((3, 4, 5))).shape
    (3, 4, 5)
    """

    _ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Shifts and scales every channel to mean 0 and variance 1, then by weight and bias.

    In training by the statistics of the input, of shape ``(N, C, H, W)``, and running
    statistics move towards them; otherwise by the running statistics.

    Parameters
    ----------
    num_features : int
        The channels.
    eps : float, optional
        Added to the variance.
    momentum : float or None, optional
        How far the running statistics move; None for the mean over all batches.
    affine : bool, optional
        Whether there are weight and bias.
    track_running_stats : bool, optional
        Whether there are running statistics.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of parameters and statistics, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.BatchNorm2d(4)(fg.ones((3, 4, 5, 6))).shape
    (3, 4, 5, 6)
    """

    _ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Shifts and scales every channel to mean 0 and variance 1, then by weight and bias.

    In training by the statistics of the input, of shape ``(N, C, D, H, W)``, and running
    statistics move towards them; otherwise by the running statistics.

    Parameters
    ----------
    num_features : int
        The channels.
    eps : float, optional
        Added to the variance.
    momentum : float or None, optional
        How far the running statistics move; None for the mean over all batches.
    affine : bool, optional
        Whether there are weight and bias.
    track_running_stats : bool, optional
        Whether there are running statistics.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of parameters and statistics, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.BatchNorm3d(4)(fg.ones((3, 4, 5, 6, 7))).shape
    (3, 4, 5, 6, 7)
    """

    _ranks = (5,)


class InstanceNorm1d(_InstanceNorm):
    """Shifts and scales every channel of every example to mean 0 and variance 1.

    The input has shape ``(N, C, L)`` or ``(C, L)``.

    Parameters
    ----------
    num_features : int
        The channels.
    eps : float, optional
        Added to the variance.
    momentum : float, optional
        How far the running statistics move.
    affine : bool, optional
        Whether there are weight and bias.
    track_running_stats : bool, optional
        Whether there are running statistics, which are used outside of training.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of parameters and statistics, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.InstanceNorm1d(4)(fg.ones((3, 4, 5))).shape
    (3, 4, 5)
    """

    _ranks = (3, 2)


class InstanceNorm2d(_InstanceNorm):
    """Shifts and scales every channel of every example to mean 0 and variance 1.

    The input has shape ``(N, C, H, W)`` or ``(C, H, W)``.

    Parameters
    ----------
    num_features : int
        The channels.
    eps : float, optional
        Added to the variance.
    momentum : float, optional
        How far the running statistics move.
    affine : bool, optional
        Whether there are weight and bias.
    track_running_stats : bool, optional
        Whether there are running statistics, which are used outside of training.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of parameters and statistics, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.InstanceNorm2d(4)(fg.ones((3, 4, 5, 6))).shape
    (3, 4, 5, 6)
    """

    _ranks = (4, 3)


class InstanceNorm3d(_InstanceNorm):
    """Shifts and scales every channel of every example to mean 0 and variance 1.

    The input has shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``.

    Parameters
    ----------
    num_features : int
        The channels.
    eps : float, optional
        Added to the variance.
    momentum : float, optional
        How far the running statistics move.
    affine : bool, optional
        Whether there are weight and bias.
    track_running_stats : bool, optional
        Whether there are running statistics, which are used outside of training.
    bias : bool, optional
        Whether there is a bias, if there is a weight.
    dtype : optional
        Of parameters and statistics, float32 by default.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.InstanceNorm3d(4)(fg.ones((3, 4, 5, 6, 7))).shape
    (3, 4, 5, 6, 7)
    """

    _ranks = (5, 4)
