"""Gradient clipping, and parameters as one vector, under torch's names.

User-level code: knows parameters by their values and gradients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

from ..errors import GradientError, ShapeError
from ..functions import functional as fg
from ..functions.creation import asarray
from ..functions.joining import concat
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "get_total_norm",
    "parameters_to_vector",
    "vector_to_parameters",
]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients by one factor so that their norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
    norm_type : float, optional
        The exponent, or infinity for the maximum.
    error_if_nonfinite : bool, optional
        Whether to raise if the norm is not finite. Not inside compiled functions, where nobody
        can look at it.

    Returns
    -------
    Tensor
        The norm before.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> p = nn.Parameter(fg.zeros(2))
    >>> p.grad = fg.asarray([3.0, 4.0])
    >>> float(nn.utils.clip_grad_norm_([p], 1.0))
    5.0
    >>> p.grad.numpy().round(3)
    array([0.6, 0.8], dtype=float32)
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    with no_grad():
        gradients = [gradient for _, gradient in _with_gradients(given)]
        norm = get_total_norm(gradients, norm_type, error_if_nonfinite)
        clip_grads_with_norm_(given, max_norm, norm)
    return norm


def get_total_norm(
    tensors: Tensor | Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Tensor:
    """The norm of tensors, as if they were one vector.

    Parameters
    ----------
    tensors : Tensor or iterable of Tensor
    norm_type : float, optional
        The exponent, or infinity for the maximum.
    error_if_nonfinite : bool, optional
        Whether to raise if the norm is not finite.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> float(nn.utils.get_total_norm([fg.asarray([3.0]), fg.asarray([4.0])]))
    5.0
    """
    given = [tensors] if isinstance(tensors, Tensor) else list(tensors)
    norm = _norm(given, float(norm_type)) if given else asarray(0.0)
    if error_if_nonfinite and not math.isfinite(float(norm)):
        raise GradientError(
            f"the norm of the gradients is {float(norm)}",
            remedy="look for the first value that is not finite in the forward pass",
        )
    return norm


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor
) -> None:
    """Scale all gradients so that a norm that was computed before is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are skipped.
    max_norm : float
    total_norm : Tensor
        As from `get_total_norm`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> p = nn.Parameter(fg.zeros(1))
    >>> p.grad = fg.asarray([4.0])
    >>> nn.utils.clip_grads_with_norm_([p], 1.0, fg.asarray(4.0))
    >>> p.grad.numpy().round(3)
    array([1.], dtype=float32)
    """
    with no_grad():
        factor = fg.minimum(max_norm / (total_norm + 1e-6), 1.0)
        for owner, gradient in _with_gradients(parameters):
            owner.grad = gradient * factor.astype(gradient.dtype)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All elements of all parameters as one vector.

    Parameters
    ----------
    parameters : iterable of Tensor

    Returns
    -------
    Tensor

    Examples
    --------
    >>> from fusegrad import nn
    >>> nn.utils.parameters_to_vector(nn.Linear(2, 3).parameters()).shape
    (9,)
    """
    return concat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into parameters, one after the other.

    Parameters
    ----------
    vec : Tensor
        As from `parameters_to_vector`.
    parameters : iterable of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> layer = nn.Linear(1, 1)
    >>> nn.utils.vector_to_parameters(fg.asarray([2.0, 3.0]), layer.parameters())
    >>> layer(fg.asarray([10.0])).tolist()
    [23.0]
    """
    owners = list(parameters)
    total = sum(owner.size for owner in owners)
    if vec.shape != (total,):
        raise ShapeError(
            f"vector_to_parameters: a vector of shape {tuple(vec.shape)} for {total} elements",
            remedy="the vector has one element for each of the parameters",
        )
    first = 0
    with no_grad():
        for owner in owners:
            owner.copy_(vec[first : first + owner.size].reshape(*owner.shape))
            first += owner.size


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit all elements of gradients to the range from ``-clip_value`` to ``clip_value``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> p = nn.Parameter(fg.zeros(2))
    >>> p.grad = fg.asarray([3.0, -0.5])
    >>> nn.utils.clip_grad_value_([p], 1.0)
    >>> p.grad.numpy()
    array([ 1. , -0.5], dtype=float32)
    """
    with no_grad():
        for owner, gradient in _with_gradients(parameters):
            owner.grad = fg.maximum(fg.minimum(gradient, clip_value), -clip_value)


def _with_gradients(parameters: Tensor | Iterable[Tensor]) -> list[tuple[Tensor, Tensor]]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [(tensor, grad) for tensor in tensors if (grad := tensor.grad) is not None]


def _norm(gradients: list[Tensor], exponent: float) -> Tensor:
    if math.isinf(exponent):
        return functools.reduce(fg.maximum, [fg.abs(each).max() for each in gradients])
    if exponent == 2:
        parts = [(each * each).sum() for each in gradients]
        return fg.sqrt(functools.reduce(fg.add, parts))
    parts = [(fg.abs(each) ** exponent).sum() for each in gradients]
    return functools.reduce(fg.add, parts) ** (1 / exponent)
