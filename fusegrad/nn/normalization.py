"""Normalisation as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

from ..errors import ShapeError
from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.manipulation import broadcast_arrays, reshape
from ..functions.naming import named
from ..functions.precision import in_float32, kept_in_float32, widened
from ..functions.windows import reduce_window
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor
from ..transforms.custom_rules import custom_vjp

__all__ = [
    "batch_norm",
    "cosine_similarity",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "local_response_norm",
    "normalize",
    "rms_norm",
]


def _normalized_axes(name: str, x: Tensor, normalized_shape: int | Sequence[int]) -> Any:
    shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
    if not shape or tuple(x.shape[-len(shape) :]) != shape:
        raise ShapeError(
            f"{name} over shape {shape} cannot take an input of shape {tuple(x.shape)}",
            remedy="normalized_shape are the last extents of the input",
        )
    return tuple(range(-len(shape), 0))


@kept_in_float32
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
    axes = _normalized_axes("layer_norm", x, normalized_shape)
    # The mean first and then the squares of what is left: no cancellation.
    centred = x - x.mean(axis=axes, keepdims=True)
    variance = (centred * centred).mean(axis=axes, keepdims=True)
    output = centred * fg.rsqrt(variance + eps)
    if weight is not None:
        output = output * weight
    return output if bias is None else output + bias


@kept_in_float32
def rms_norm(
    input: Any,
    normalized_shape: int | Sequence[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """Divide by the root of the mean of squares over the last axes, then scale by `weight`.

    Parameters
    ----------
    input : Tensor or array
    normalized_shape : int or sequence of int
        The extents of these last axes.
    weight : Tensor, optional
        Of this shape.
    eps : float, optional
        Added to the mean; by default the machine epsilon of the dtype.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.rms_norm([[3.0, 4.0, 0.0, 0.0]], 4).numpy()
    array([[1.2, 1.6, 0. , 0. ]], dtype=float32)
    """
    x = asarray(input)
    axes = _normalized_axes("rms_norm", x, normalized_shape)
    mean = (x * x).mean(axis=axes, keepdims=True)
    if eps is None:
        eps = _epsilon(mean)
    output = x * fg.rsqrt(mean + eps)
    return output if weight is None else output * weight


def _epsilon(x: Tensor) -> float:
    return 2.0 ** (1 - {16: 11, 32: 24, 64: 53}[x.dtype.bits])


def _flat(name: str, x: Tensor) -> Tensor:
    """(N, C, ...) as (N, C, places)."""
    if x.ndim < 2:
        raise ShapeError(
            f"{name}: an input of shape {tuple(x.shape)} has no channels",
            remedy="the input has shape (batch, channels, ...)",
        )
    return reshape(x, (*x.shape[:2], math.prod(x.shape[2:])))


def _check_channels(name: str, channels: int, **vectors: Tensor | None) -> None:
    for what, vector in vectors.items():
        if vector is not None and tuple(vector.shape) != (channels,):
            raise ShapeError(
                f"{name}: {what} has shape {tuple(vector.shape)} for {channels} channels",
                remedy="axis 1 of the input is the channels; each has one number",
            )


def _like(result: Tensor, x: Tensor) -> Tensor:
    """Rounded to the dtype of the input, if that is a half."""
    return result.astype(x.dtype) if x.dtype.is_half else result


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """Scale and shift (N, C, places) by channel."""
    if weight is not None:
        x = x * reshape(weight, (-1, 1))
    return x if bias is None else x + reshape(bias, (-1, 1))


def _track(running: Tensor | None, value: Tensor, momentum: Any) -> None:
    """Move a running statistic towards a value."""
    if running is not None:
        with no_grad():
            running[...] = (running * (1 - momentum) + value.detach() * momentum).astype(
                running.dtype
            )


@functools.partial(custom_vjp, nondiff_argnums=(3,))
def _standardized(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    """(N, C, places) with mean 0 and variance 1 for each channel, scaled and shifted.

    Its rule has the two sums over a channel that the gradients of `weight` and `bias` are, and no
    other: what is left of the mean of deviations from the mean would be one more, and is zero.
    """
    return _standardize(x, weight, bias, eps)[0]


def _standardize(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Any]:
    centred = x - x.mean(axis=(0, 2), keepdims=True)
    variance = (centred * centred).mean(axis=(0, 2), keepdims=True)
    inverse = fg.rsqrt(variance + eps)
    scaled = centred * inverse
    return scaled * weight + bias, (scaled, inverse, weight)


def _by_standardized(eps: float, kept: Any, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    scaled, inverse, weight = kept
    count = scaled.shape[0] * scaled.shape[2]
    by_bias = reshape(cotangent.sum(axis=(0, 2)), (-1, 1))
    by_weight = reshape((cotangent * scaled).sum(axis=(0, 2)), (-1, 1))
    direct = cotangent - by_bias / count - scaled * (by_weight / count)
    return direct * (weight * inverse), by_weight, by_bias


_standardized.defvjp(_standardize, _by_standardized)


def batch_norm(
    input: Any,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Shift and scale every channel to mean 0 and variance 1, then by `weight` and `bias`.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)``.
    running_mean, running_var : Tensor or None
        Of shape ``(C,)``: what is used without `training`. With it the statistics of the input are
        used, and these move towards them, in place; the variance without bias.
    weight, bias : Tensor, optional
        Of shape ``(C,)``.
    training : bool, optional
    momentum : float or Tensor, optional
        How far the running statistics move.
    eps : float, optional
        Added to the variance.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> mean, variance = fg.zeros(1), fg.ones(1)
    >>> F.batch_norm([[1.0], [3.0]], mean, variance, training=True, eps=0.0).numpy()
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> mean.numpy(), variance.numpy()
    (array([0.2], dtype=float32), array([1.1], dtype=float32))
    """
    x = asarray(input)
    flat = _flat("batch_norm", widened(x))
    batch, channels, places = flat.shape
    _check_channels(
        "batch_norm",
        channels,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
    )
    if training:
        count = batch * places
        if count <= 1:
            raise ShapeError(
                f"batch_norm: one value for each channel, in an input of shape {tuple(x.shape)}",
                remedy="train with more than one, or evaluate: module.eval()",
            )
        mean = flat.mean(axis=(0, 2), keepdims=True)
        centred = flat - mean
        variance = (centred * centred).mean(axis=(0, 2), keepdims=True)
        _track(running_mean, reshape(mean, (channels,)), momentum)
        unbiased = variance * count / (count - 1)
        _track(running_var, reshape(unbiased, (channels,)), momentum)
        if weight is not None and bias is not None and weight.dtype == bias.dtype == flat.dtype:
            columns = (reshape(vector, (-1, 1)) for vector in (weight, bias))
            return _like(reshape(_standardized(flat, *columns, eps), x.shape), x)
        scaled = centred * fg.rsqrt(variance + eps)
    else:
        if running_mean is None or running_var is None:
            raise ShapeError(
                "batch_norm without training has no running statistics",
                remedy="pass running_mean and running_var, or training=True",
            )
        scale = reshape(fg.rsqrt(running_var + eps), (-1, 1))
        scaled = (flat - reshape(running_mean, (-1, 1))) * scale
    return _like(reshape(_affine(scaled, weight, bias), x.shape), x)


@kept_in_float32
def group_norm(
    input: Any,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """Shift and scale groups of channels to mean 0 and variance 1, each example by itself.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)``.
    num_groups : int
        Divides the channels.
    weight, bias : Tensor, optional
        Of shape ``(C,)``: what the channels are scaled and shifted by then.
    eps : float, optional
        Added to the variance.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.group_norm([[1.0, 3.0, 0.0, 4.0]], 2, eps=0.0).numpy()
    array([[-1.,  1., -1.,  1.]], dtype=float32)
    """
    x = asarray(input)
    flat = _flat("group_norm", x)
    batch, channels, places = flat.shape
    if num_groups < 1 or channels % num_groups:
        raise ShapeError(
            f"group_norm: {channels} channels in {num_groups} groups",
            remedy="num_groups divides the channels",
        )
    _check_channels("group_norm", channels, weight=weight, bias=bias)
    groups = reshape(flat, (batch, num_groups, channels // num_groups * places))
    centred = groups - groups.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    scaled = reshape(centred * fg.rsqrt(variance + eps), flat.shape)
    return reshape(_affine(scaled, weight, bias), x.shape)


def instance_norm(
    input: Any,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: Any = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Shift and scale every channel of every example to mean 0 and variance 1.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)``.
    running_mean, running_var : Tensor, optional
        Of shape ``(C,)``: what is used without `use_input_stats`; with it they move, in place,
        towards the statistics of the input.
    weight, bias : Tensor, optional
        Of shape ``(C,)``: what the channels are scaled and shifted by then.
    use_input_stats : bool, optional
    momentum : float or Tensor, optional
        How far the running statistics move.
    eps : float, optional
        Added to the variance.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.instance_norm([[[1.0, 3.0], [0.0, 4.0]]], eps=0.0).numpy()
    array([[[-1.,  1.],
            [-1.,  1.]]], dtype=float32)
    """
    x = asarray(input)
    flat = _flat("instance_norm", widened(x))
    _, channels, places = flat.shape
    _check_channels(
        "instance_norm",
        channels,
        running_mean=running_mean,
        running_var=running_var,
        weight=weight,
        bias=bias,
    )
    if not use_input_stats:
        return batch_norm(x, running_mean, running_var, weight, bias, False, momentum, eps)
    if places <= 1:
        raise ShapeError(
            f"instance_norm: one value for each channel, in an input of shape {tuple(x.shape)}",
            remedy="pass larger examples, or normalise over the batch",
        )
    mean = flat.mean(axis=-1, keepdims=True)
    centred = flat - mean
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    _track(running_mean, mean.mean(axis=(0, 2)), momentum)
    _track(running_var, (variance * (places / (places - 1))).mean(axis=(0, 2)), momentum)
    scaled = centred * fg.rsqrt(variance + eps)
    return _like(reshape(_affine(scaled, weight, bias), x.shape), x)


@in_float32
def local_response_norm(
    input: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """Divide by a power of the mean of squares over neighbouring channels.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)``.
    size : int
        How many channels count as neighbours, one's own among them.
    alpha, beta, k : float, optional
        The divisor is ``(k + alpha * mean) ** beta``.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.local_response_norm([[[2.0], [2.0]]], 2, alpha=0.5, beta=1.0).numpy()
    array([[[1.       ],
            [0.6666667]]], dtype=float32)
    """
    x = asarray(input)
    flat = _flat("local_response_norm", x)
    widths = [(0, 0), (size // 2, (size - 1) // 2), (0, 0)]
    total = reduce_window(flat * flat, "sum", (1, size, 1), 1, widths)
    return reshape(flat / (total * (alpha / size) + k) ** beta, x.shape)


@named
@in_float32
def normalize(input: Any, p: float = 2.0, dim: Any = 1, eps: float = 1e-12) -> Tensor:
    """Divide by the norm along an axis, but by no less than `eps`.

    Parameters
    ----------
    input : Tensor or array
    p : float, optional
        The power of the norm; 0 counts the elements that are not zero.
    dim : int or sequence of int, optional
    eps : float, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.normalize([[3.0, 4.0]]).numpy()
    array([[0.6, 0.8]], dtype=float32)
    """
    x = asarray(input)
    if p == math.inf:
        norm = fg.abs(x).max(axis=dim, keepdims=True)
    elif p == 0:
        norm = (x != 0).astype(x.dtype).sum(axis=dim, keepdims=True)
    else:
        powers = (x * x if p == 2 else fg.abs(x) ** p).sum(axis=dim, keepdims=True)
        zero = powers == 0
        # The root has no derivative at 0, the norm's is 0 there.
        safe = fg.choose(zero, 1, powers)
        norm = fg.choose(zero, 0, fg.sqrt(safe) if p == 2 else safe ** (1 / p))
    return x / fg.maximum(norm, eps)


@named
@in_float32
def cosine_similarity(x1: Any, x2: Any, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """The cosine of the angle between vectors: their product over the product of their norms.

    Parameters
    ----------
    x1, x2 : Tensor or array
        Broadcast against each other.
    dim : int, optional
        The axis of the vectors, of the shape they have together.
    eps : float, optional
        What norms count for at least: with a vector of zeros the similarity is 0.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.cosine_similarity([[1.0, 0.0], [1.0, 0.0]], [[2.0, 0.0], [0.0, 2.0]]).numpy()
    array([1., 0.], dtype=float32)
    """
    x, y = broadcast_arrays(asarray(x1), asarray(x2))
    return (normalize(x, dim=dim, eps=eps) * normalize(y, dim=dim, eps=eps)).sum(axis=dim)
