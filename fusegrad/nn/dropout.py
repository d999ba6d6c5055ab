"""Dropout as functions, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import (
    OptionError,
    ShapeError,
)
from ..functions import functional as fg
from ..functions.creation import asarray, zeros_like
from ..random import uniform
from ..tensors.tensor_class import Tensor
from .in_place import may_replace

__all__ = ["dropout", "dropout1d", "dropout2d", "dropout3d"]


@may_replace
def dropout(input: Any, p: float | Tensor = 0.5, training: bool = True) -> Tensor:
    """Set each element to zero with probability `p`, and divide the others by ``1 - p``.

    Parameters
    ----------
    input : Tensor or array
    p : float or Tensor, optional
    training : bool, optional
        Without it the input is returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> sorted({float(v) for v in F.dropout(fg.ones(100), 0.75).numpy()})
    [0.0, 4.0]
    """
    x = asarray(input)
    return _dropped(x, p, training, x.shape)


def _dropped(x: Tensor, p: float | Tensor, training: bool, shape: Sequence[int]) -> Tensor:
    """Numbers of `shape` decide together for what they broadcast to."""
    if isinstance(p, Tensor):
        # What nobody can look at: a probability that a compiled function takes.
        if not training:
            return x
        kept = uniform(tuple(shape)) >= p
        return fg.where(kept, x / (1 - p), 0)
    if not 0 <= p <= 1:
        raise OptionError(f"a probability lies between 0 and 1, {p} does not")
    if not training or p == 0:
        return x
    if p == 1:
        return zeros_like(x)
    kept = uniform(tuple(shape)) >= p
    return fg.choose(kept, x * (1 / (1 - p)), 0)


def _channels(name: str, input: Any, p: float | Tensor, training: bool, rank: int) -> Tensor:
    x = asarray(input)
    if x.ndim == 2 and rank > 1:
        return _dropped(x, p, training, x.shape)
    if x.ndim not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{name}: an input of shape {tuple(x.shape)} has {x.ndim} axes, not {rank + 2} "
            f"(or {rank + 1} without a batch)",
            remedy="the input has shape (batch, channels, places...)",
        )
    return _dropped(x, p, training, (*x.shape[: x.ndim - rank], *[1] * rank))


@may_replace
def dropout1d(input: Any, p: float | Tensor = 0.5, training: bool = True) -> Tensor:
    """`dropout` of whole channels of shape ``(L,)``.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, L)`` or ``(C, L)``.
    p : float or Tensor, optional
    training : bool, optional
        Without it the input is returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.dropout1d(fg.ones((2, 3, 4)), training=False).shape
    (2, 3, 4)
    """
    return _channels("dropout1d", input, p, training, 1)


@may_replace
def dropout2d(input: Any, p: float | Tensor = 0.5, training: bool = True) -> Tensor:
    """`dropout` of whole channels of shape ``(H, W)``.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, H, W)`` or ``(C, H, W)``; of ``(N, C)`` each element is a channel.
    p : float or Tensor, optional
    training : bool, optional
        Without it the input is returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> sorted({float(v) for v in F.dropout2d(fg.ones((1, 99, 2, 2))).sum((0, 2, 3)).numpy()})
    [0.0, 8.0]
    """
    return _channels("dropout2d", input, p, training, 2)


@may_replace
def dropout3d(input: Any, p: float | Tensor = 0.5, training: bool = True) -> Tensor:
    """`dropout` of whole channels of shape ``(D, H, W)``.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, D, H, W)`` or ``(C, D, H, W)``;
        of ``(N, C)`` each element is a channel.
    p : float or Tensor, optional
    training : bool, optional
        Without it the input is returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.dropout3d(fg.ones((2, 3, 4, 5, 6)), training=False).shape
    (2, 3, 4, 5, 6)
    """
    return _channels("dropout3d", input, p, training, 3)
