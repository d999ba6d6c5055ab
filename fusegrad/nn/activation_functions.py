"""Further activations as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

from typing import Any

from ..errors import ShapeError
from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.joining import split
from ..functions.manipulation import reshape
from ..functions.precision import in_float32
from ..tensors.tensor_class import Tensor
from .in_place import may_replace

__all__ = [
    "celu",
    "elu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "mish",
    "prelu",
    "relu6",
    "selu",
    "softshrink",
    "softsign",
    "tanhshrink",
    "threshold",
]

_SELU_ALPHA = 1.6732632423543772848170429916717
_SELU_SCALE = 1.0507009873554804934193349852946


@may_replace
@in_float32
def celu(input: Any, alpha: float = 1.0) -> Tensor:
    """``x`` above 0, ``alpha * (exp(x / alpha) - 1)`` elsewhere.

    Parameters
    ----------
    input : Tensor or array
    alpha : float, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.celu([-1000.0, 2.0]).numpy()
    array([-1.,  2.], dtype=float32)
    """
    x = asarray(input)
    below = fg.where(x > 0, 0, x)
    return fg.where(x > 0, x, fg.expm1(below / alpha) * alpha)


@may_replace
@in_float32
def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """``x`` above 0, ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    input : Tensor or array
    alpha : float, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.elu([-1000.0, 2.0]).numpy()
    array([-1.,  2.], dtype=float32)
    """
    x = asarray(input)
    # What is not chosen must not overflow, or its derivative is not a number.
    below = fg.where(x > 0, 0, x)
    return fg.where(x > 0, x, fg.expm1(below) * alpha)


@in_float32
def glu(input: Any, dim: int = -1) -> Tensor:
    """The first half along an axis times the sigmoid of the second.

    Parameters
    ----------
    input : Tensor or array
    dim : int, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.glu([3.0, 0.0]).numpy()
    array([1.5], dtype=float32)
    """
    x = asarray(input)
    extent = x.shape[dim]
    if extent % 2:
        raise ShapeError(
            f"glu: axis {dim} of shape {tuple(x.shape)} has an odd extent",
            remedy="name an axis that has two halves",
        )
    first, second = split(x, 2, axis=dim)
    return first * fg.sigmoid(second)


@in_float32
def hardshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """0 from ``-lambd`` to ``lambd``, ``x`` elsewhere.

    Parameters
    ----------
    input : Tensor or array
    lambd : float, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.hardshrink([-0.5, 1.0]).numpy()
    array([0., 1.], dtype=float32)
    """
    x = asarray(input)
    return fg.where((x >= -lambd) & (x <= lambd), 0, x)


@may_replace
@in_float32
def hardsigmoid(input: Any) -> Tensor:
    """0 below -3, 1 above 3, and a line between them.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.hardsigmoid([-4.0, 0.0, 4.0]).numpy()
    array([0. , 0.5, 1. ], dtype=float32)
    """
    return hardtanh(asarray(input) + 3, 0.0, 6.0) / 6


@may_replace
@in_float32
def hardswish(input: Any) -> Tensor:
    """``x * hardsigmoid(x)``.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.hardswish([-4.0, 3.0]).numpy()
    array([0., 3.], dtype=float32)
    """
    x = asarray(input)
    return fg.where(x <= -3, 0, fg.where(x >= 3, x, x * (x + 3) / 6))


@may_replace
@in_float32
def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    """``x`` between two values, and these beyond them, where the derivative is 0.

    Parameters
    ----------
    input : Tensor or array
    min_val, max_val : float, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.hardtanh([-4.0, 0.5]).numpy()
    array([-1. ,  0.5], dtype=float32)
    """
    x = asarray(input)
    return fg.where(x <= min_val, min_val, fg.where(x >= max_val, max_val, x))


@may_replace
@in_float32
def mish(input: Any) -> Tensor:
    """``x * tanh(softplus(x))``.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.mish([0.0]).numpy()
    array([0.], dtype=float32)
    """
    x = asarray(input)
    return x * fg.tanh(fg.logaddexp(x, 0))


@in_float32
def prelu(input: Any, weight: Any) -> Tensor:
    """``x`` above 0, ``weight * x`` elsewhere.

    Parameters
    ----------
    input : Tensor or array
    weight : Tensor or array
        One slope, or one for each channel.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.prelu([[-4.0, 2.0]], [0.5]).numpy()
    array([[-2.,  2.]], dtype=float32)
    """
    x = asarray(input)
    slope = asarray(weight)
    channels = x.shape[1] if x.ndim > 1 else 1
    if slope.size not in (1, channels):
        raise ShapeError(
            f"prelu: {slope.size} slopes for an input of shape {tuple(x.shape)}",
            remedy="give one, or one for each channel, which are axis 1",
        )
    if slope.ndim:
        slope = reshape(slope, (-1, *[1] * max(x.ndim - 2, 0)))
    result = fg.where(x > 0, x, slope * x)
    return reshape(result, x.shape)


@may_replace
@in_float32
def relu6(input: Any) -> Tensor:
    """``x`` between 0 and 6, and these beyond them.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.relu6([-1.0, 7.0]).numpy()
    array([0., 6.], dtype=float32)
    """
    return hardtanh(asarray(input), 0.0, 6.0)


@may_replace
@in_float32
def selu(input: Any) -> Tensor:
    """`elu` with the constants that keep mean 0 and variance 1.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.selu([0.0, 1.0]).numpy()
    array([0.      , 1.050701], dtype=float32)
    """
    return elu(asarray(input), _SELU_ALPHA) * _SELU_SCALE


@in_float32
def softshrink(input: Any, lambd: float = 0.5) -> Tensor:
    """``x`` moved towards 0 by ``lambd``.

    Parameters
    ----------
    input : Tensor or array
    lambd : float, optional

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.softshrink([-0.25, 1.0]).numpy()
    array([-0. ,  0.5], dtype=float32)
    """
    x = asarray(input)
    return fg.where(x > lambd, x - lambd, fg.where(x < -lambd, x + lambd, x * 0))


@in_float32
def softsign(input: Any) -> Tensor:
    """``x / (1 + abs(x))``.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.softsign([3.0]).numpy()
    array([0.75], dtype=float32)
    """
    x = asarray(input)
    return x / (fg.abs(x) + 1)


@in_float32
def tanhshrink(input: Any) -> Tensor:
    """``x - tanh(x)``.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.tanhshrink([0.0]).numpy()
    array([0.], dtype=float32)
    """
    x = asarray(input)
    return x - fg.tanh(x)


@may_replace
@in_float32
def threshold(input: Any, threshold: float, value: float) -> Tensor:
    """``x`` above a threshold, a value elsewhere.

    Parameters
    ----------
    input : Tensor or array
    threshold, value : float

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.threshold([0.0, 2.0], 1.0, 9.0).numpy()
    array([9., 2.], dtype=float32)
    """
    x = asarray(input)
    return fg.where(x <= threshold, value, x)
