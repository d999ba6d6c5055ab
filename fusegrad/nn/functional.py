"""The functions of layers and losses under torch's names; activations that have no file stand here.

User-level code: compositions of public tensor operations, so that they are traced, differentiated
and fused like the user's own; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from ..errors import OptionError
from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.precision import in_float32, kept_in_float32
from ..tensors.tensor_class import Tensor
from .activation_functions import (
    celu,
    elu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    mish,
    prelu,
    relu6,
    selu,
    softshrink,
    softsign,
    tanhshrink,
    threshold,
)
from .adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from .attention import multi_head_attention_forward, scaled_dot_product_attention
from .convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .dropout import dropout, dropout1d, dropout2d, dropout3d
from .in_place import may_replace
from .interpolation import interpolate
from .linear import bilinear, embedding, linear, one_hot
from .losses import (
    as_scores,
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    log_softmax,
    mse_loss,
    nll_loss,
    shifted,
)
from .margin_losses import (
    cosine_embedding_loss,
    hinge_embedding_loss,
    margin_ranking_loss,
    multi_margin_loss,
    multilabel_margin_loss,
    multilabel_soft_margin_loss,
    pairwise_distance,
    pdist,
    soft_margin_loss,
    triplet_margin_loss,
    triplet_margin_with_distance_loss,
)
from .normalization import (
    batch_norm,
    cosine_similarity,
    group_norm,
    instance_norm,
    layer_norm,
    local_response_norm,
    normalize,
    rms_norm,
)
from .pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    lp_pool3d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from .random_functions import (
    alpha_dropout,
    feature_alpha_dropout,
    gumbel_softmax,
    rrelu,
)
from .rearrangement import channel_shuffle, fold, pad, pixel_shuffle, pixel_unshuffle, unfold
from .regression_losses import (
    binary_cross_entropy,
    gaussian_nll_loss,
    huber_loss,
    kl_div,
    poisson_nll_loss,
    smooth_l1_loss,
)
from .sequence_losses import (
    ctc_loss,
)
from .unpooling import max_unpool1d, max_unpool2d, max_unpool3d

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "alpha_dropout",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "batch_norm",
    "bilinear",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "channel_shuffle",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cosine_embedding_loss",
    "cosine_similarity",
    "cross_entropy",
    "ctc_loss",
    "dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "elu",
    "embedding",
    "feature_alpha_dropout",
    "fold",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "group_norm",
    "gumbel_softmax",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "instance_norm",
    "interpolate",
    "kl_div",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "margin_ranking_loss",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool1d",
    "max_unpool2d",
    "max_unpool3d",
    "mish",
    "mse_loss",
    "multi_head_attention_forward",
    "multi_margin_loss",
    "multilabel_margin_loss",
    "multilabel_soft_margin_loss",
    "nll_loss",
    "normalize",
    "one_hot",
    "pad",
    "pairwise_distance",
    "pdist",
    "pixel_shuffle",
    "pixel_unshuffle",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "rms_norm",
    "rrelu",
    "scaled_dot_product_attention",
    "selu",
    "sigmoid",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "tanh",
    "tanhshrink",
    "threshold",
    "triplet_margin_loss",
    "triplet_margin_with_distance_loss",
    "unfold",
]

# --- activations ----------------------------------------------------------------------------------


@may_replace
def relu(input: Any) -> Tensor:
    """``max(x, 0)``; its derivative at 0 is 0.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.relu([-1.0, 0.0, 2.0]).numpy()
    array([0., 0., 2.], dtype=float32)
    """
    x = asarray(input)
    # Not the maximum, whose derivative is split at a tie; and nan stays nan.
    return fg.choose(x <= 0, 0, x)


@may_replace
@in_float32
def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """``x`` above 0, ``negative_slope * x`` elsewhere."""
    x = asarray(input)
    return fg.choose(x > 0, x, x * negative_slope)


@in_float32
def gelu(input: Any, approximate: Literal["none", "tanh"] = "none") -> Tensor:
    """``x`` times the normal distribution function of ``x``.

    Parameters
    ----------
    input : Tensor or array
    approximate : {"none", "tanh"}, optional
        ``"tanh"`` replaces the distribution function by a formula with a hyperbolic tangent.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> round(float(F.gelu(1.0)), 4), round(float(F.gelu(1.0, approximate="tanh")), 4)
    (0.8413, 0.8412)
    """
    x = asarray(input)
    if approximate == "none":
        return x * 0.5 * (fg.erf(x * math.sqrt(0.5)) + 1)
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return x * 0.5 * (fg.tanh(inner) + 1)
    raise OptionError(f"approximate is 'none' or 'tanh', not {approximate!r}")


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return fg.tanh(asarray(input))


def sigmoid(input: Any) -> Tensor:
    """``1 / (1 + exp(-x))``, without overflow, and accurate to both sides.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.sigmoid([-1000.0, 0.0, 1000.0]).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return fg.sigmoid(asarray(input))


@may_replace
@in_float32
def silu(input: Any) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    x = asarray(input)
    return x * sigmoid(x)


@in_float32
def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``, without overflow.

    Parameters
    ----------
    input : Tensor or array
    beta : float, optional
    threshold : float, optional
        Where ``beta * x`` is larger, the result is `x` itself. From 20 on, which torch takes by
        default, it is computed as everywhere: nothing overflows.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.softplus([-1000.0, 1000.0]).numpy()
    array([   0., 1000.], dtype=float32)
    """
    x = asarray(input)
    scaled = x if beta == 1 else x * beta
    positive = scaled >= 0
    # Not abs and maximum, whose derivatives at 0 are those of a corner.
    tail = fg.log1p(fg.exp(fg.choose(positive, -scaled, scaled)))
    smooth = fg.choose(positive, scaled, 0) + tail
    result = smooth if beta == 1 else smooth / beta
    return fg.choose(scaled > threshold, x, result) if threshold < 20 else result


@in_float32
def logsigmoid(input: Any) -> Tensor:
    """``log(sigmoid(x))``, without overflow."""
    return -softplus(-asarray(input))


def softmin(input: Any, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """The `softmax` of the numbers with the other sign.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.softmin([0.0, 1000.0]).numpy()
    array([1., 0.], dtype=float32)
    """
    return softmax(-asarray(input), dim, dtype=dtype)


@kept_in_float32
def softmax(input: Any, dim: int = -1, *, dtype: Any = None) -> Tensor:
    """Positive numbers that sum to 1 along an axis: ``exp(x)`` over its sum.

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
    >>> F.softmax([0.0, 0.0, 1000.0, 1000.0]).numpy()
    array([0. , 0. , 0.5, 0.5], dtype=float32)
    """
    scores, axis, shape = as_scores("softmax", input, dim, dtype)
    power = fg.exp(shifted(scores, axis))
    result = power * (1 / power.sum(axis=axis, keepdims=True))
    return result if shape else result.reshape(())
