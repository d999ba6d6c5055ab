"""Activations, normalisation, dropout, linear and embedding as functions, under torch's names.

User-level code: compositions of public tensor operations, so that they are traced, differentiated
and fused like the user's own; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

from .. import functional as fg
from ..creation import asarray, zeros_like
from ..errors import DTypeError, ShapeError
from ..manipulation import expand_dims, take
from ..precision import in_float32
from ..products import matmul
from ..random import uniform
from ..ranges import arange
from ..tensor_class import Tensor
from .adaptive_pooling import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_avg_pool3d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    adaptive_max_pool3d,
)
from .convolution import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from .losses import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    l1_loss,
    log_softmax,
    mse_loss,
    nll_loss,
    shifted,
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

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool3d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "adaptive_max_pool3d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "binary_cross_entropy_with_logits",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "cross_entropy",
    "dropout",
    "embedding",
    "gelu",
    "l1_loss",
    "layer_norm",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "lp_pool1d",
    "lp_pool2d",
    "lp_pool3d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "mse_loss",
    "nll_loss",
    "one_hot",
    "relu",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "tanh",
]

# --- activations ----------------------------------------------------------------------------------


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
    return fg.where(x <= 0, 0, x)


@in_float32
def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """``x`` above 0, ``negative_slope * x`` elsewhere."""
    x = asarray(input)
    return fg.where(x > 0, x, x * negative_slope)


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
    raise ValueError(f"approximate is 'none' or 'tanh', not {approximate!r}")


def tanh(input: Any) -> Tensor:
    """The hyperbolic tangent."""
    return fg.tanh(asarray(input))


@in_float32
def sigmoid(input: Any) -> Tensor:
    """``1 / (1 + exp(-x))``, without overflow, and accurate to both sides.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.sigmoid([-1000.0, 0.0, 1000.0]).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    x = asarray(input)
    positive = x >= 0
    # Not -abs(x), whose derivative at 0 is 0.
    power = fg.exp(fg.where(positive, -x, x))
    return fg.where(positive, 1, power) / (power + 1)


@in_float32
def silu(input: Any) -> Tensor:
    """``x * sigmoid(x)``, also called swish."""
    x = asarray(input)
    return x * sigmoid(x)


@in_float32
def softplus(input: Any) -> Tensor:
    """``log(1 + exp(x))``, without overflow."""
    x = asarray(input)
    return fg.maximum(x, 0) + fg.log1p(fg.exp(-fg.abs(x)))


@in_float32
def logsigmoid(input: Any) -> Tensor:
    """``log(sigmoid(x))``, without overflow."""
    return -softplus(-asarray(input))


@in_float32
def softmax(input: Any, dim: int = -1) -> Tensor:
    """Positive numbers that sum to 1 along an axis: ``exp(x)`` over its sum.

    Parameters
    ----------
    input : Tensor or array
    dim : int, optional
        The axis, by default the last.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.softmax([0.0, 0.0, 1000.0, 1000.0]).numpy()
    array([0. , 0. , 0.5, 0.5], dtype=float32)
    """
    power = fg.exp(shifted(asarray(input), dim))
    return power * (1 / power.sum(axis=dim, keepdims=True))


# --- layers ---------------------------------------------------------------------------------------


def linear(input: Any, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(..., in)``.
    weight : Tensor
        Of shape ``(out, in)``, or ``(in,)``.
    bias : Tensor, optional
        Of shape ``(out,)``.
    """
    output = matmul(asarray(input), weight.T if weight.ndim == 2 else weight)
    return output if bias is None else output + bias


@in_float32
def layer_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Shift and scale to mean 0 and variance 1 over the last axes, then by `weight` and `bias`.

    Parameters
    ----------
    input : Tensor or array
    normalized_shape : int or sequence of int
        The extents of these last axes.
    weight, bias : Tensor, optional
        Of this shape.
    eps : float, optional
        Added to the variance.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.layer_norm([[1.0, 3.0]], 2, eps=0.0).numpy()
    array([[-1.,  1.]], dtype=float32)
    """
    x = asarray(input)
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise ShapeError(
            f"layer_norm over shape {shape} cannot take an input of shape {tuple(x.shape)}",
            remedy="normalized_shape are the last extents of the input",
        )
    axes = tuple(range(-len(shape), 0))
    # The mean first and then the squares of what is left: no cancellation.
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    output = centred * fg.rsqrt(variance + eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Set each element to zero with probability `p`, and divide the others by ``1 - p``.

    Parameters
    ----------
    input : Tensor or array
    p : float, optional
    training : bool, optional
        Without it the input is returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> sorted({float(v) for v in F.dropout(fg.ones(100), 0.75).numpy()})
    [0.0, 4.0]
    """
    if not 0 <= p <= 1:
        raise ValueError(f"a probability lies between 0 and 1, {p} does not")
    x = asarray(input)
    if not training or p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    kept = uniform(x.shape) >= p
    return fg.where(kept, x * (1 / (1 - p)), 0)


def embedding(input: Any, weight: Tensor, padding_idx: int | None = None) -> Tensor:
    """The rows of `weight` that `input` names.

    Parameters
    ----------
    input : Tensor or array
        Integers from 0 to ``len(weight) - 1``. Others are clamped to these.
    weight : Tensor
        Of shape ``(count, width)``.
    padding_idx : int, optional
        A row that gets no gradient.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.embedding([2, 0], fg.asarray([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]])).numpy()
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    """
    x = asarray(input)
    if not x.dtype.is_integer:
        raise DTypeError(
            f"embedding needs integers to select rows, not {x.dtype}",
            remedy="convert them first: ids.astype('int64')",
        )
    rows = take(weight, x, axis=0)
    if padding_idx is None:
        return rows
    padding = padding_idx + weight.shape[0] if padding_idx < 0 else padding_idx
    return fg.where(expand_dims(x == padding, axis=-1), rows.detach(), rows)


def one_hot(tensor: Any, num_classes: int = -1) -> Tensor:
    """Integers as rows of zeros with a single one.

    Parameters
    ----------
    tensor : Tensor or array
        Integers from 0 to ``num_classes - 1``; for others the row is all zeros.
    num_classes : int, optional
        The length of the rows. -1 looks for the greatest integer, which cannot be done while a
        compiled function is traced.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.one_hot([2, 0]).numpy()
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    x = asarray(tensor)
    if num_classes == -1:
        num_classes = int(x.max()) + 1
    classes = arange(num_classes, dtype=x.dtype)
    return (expand_dims(tensor, axis=-1) == classes).astype("int64")
