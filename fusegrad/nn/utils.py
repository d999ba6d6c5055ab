"""Gradient clipping, under torch's names.

User-level code: knows parameters by their gradients.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable

from ..errors import GradientError
from ..functions import functional as fg
from ..functions.creation import asarray
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor

__all__ = ["clip_grad_norm_", "clip_grad_value_"]


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
    owners = _with_gradients(parameters)
    if not owners:
        return asarray(0.0)
    with no_grad():
        gradients = [gradient for _, gradient in owners]
        norm = _norm(gradients, float(norm_type))
        if error_if_nonfinite and not math.isfinite(float(norm)):
            raise GradientError(
                f"the norm of the gradients is {float(norm)}",
                remedy="look for the first value that is not finite in the forward pass",
            )
        factor = fg.minimum(max_norm / (norm + 1e-6), 1.0)
        for owner, gradient in owners:
            owner.grad = gradient * factor.astype(gradient.dtype)
    return norm


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
