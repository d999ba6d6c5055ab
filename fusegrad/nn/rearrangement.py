"""Padding, windows as columns, and shuffles between channels and places, under torch's names.

User-level code: compositions of public tensor operations; nothing here knows the compiler.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import ShapeError
from ..functions.creation import asarray
from ..functions.manipulation import permute_dims, reshape, take
from ..functions.padding import pad as pad_constant
from ..semantics import columns
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record

__all__ = [
    "PaddingMode",
    "channel_shuffle",
    "fold",
    "pad",
    "pixel_shuffle",
    "pixel_unshuffle",
    "unfold",
]

Numbers = int | Sequence[int]
PaddingMode = Literal["constant", "reflect", "replicate", "circular"]


def pad(
    input: Any, pad: Sequence[int], mode: PaddingMode = "constant", value: float | None = None
) -> Tensor:
    """More elements before and behind the last axes.

    Parameters
    ----------
    input : Tensor or array
    pad : sequence of int
        Before and behind the last axis, then the one before it, and so on. Negative widths cut.
    mode : {"constant", "reflect", "replicate", "circular"}, optional
        One value; the axis mirrored at its ends, which are not repeated; its ends repeated; the
        axis repeated.
    value : float, optional
        The one value, 0 by default.

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.pad([1, 2, 3], (2, 1), mode="reflect").numpy()
    array([3, 2, 1, 2, 3, 2])
    """
    x = asarray(input)
    if len(pad) % 2 or len(pad) > 2 * x.ndim:
        raise ShapeError(
            f"pad: {len(pad)} widths for an input of shape {tuple(x.shape)}",
            remedy="give two for each axis, those of the last axis first",
        )
    pairs = [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)]
    if mode == "constant":
        widths = [*[(0, 0)] * (x.ndim - len(pairs)), *reversed(pairs)]
        return pad_constant(x, widths, constant_values=0 if value is None else value)
    if mode not in _BEYOND:
        raise ShapeError(
            f"pad: there is no mode {mode!r}",
            remedy="take 'constant', 'reflect', 'replicate' or 'circular'",
        )
    if value:
        raise ShapeError(f"pad: mode {mode!r} has no value", remedy="leave value away")
    for place, (low, high) in enumerate(pairs):
        axis = x.ndim - 1 - place
        x = _part(x, axis, max(-low, 0), x.shape[axis] - max(-high, 0))
        x = _beyond(x, axis, max(low, 0), max(high, 0), mode)
    return x


_NUMPY = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_BEYOND = {"reflect": -1, "replicate": None, "circular": 0}
"""How much less than the extent of an axis its padding is at most."""


def _part(x: Tensor, axis: int, start: int, stop: int) -> Tensor:
    if start == 0 and stop == x.shape[axis]:
        return x
    return x[(*[slice(None)] * axis, slice(start, max(start, stop)))]


def _beyond(x: Tensor, axis: int, low: int, high: int, mode: str) -> Tensor:
    """`x` with `low` and `high` more elements along an axis, from itself."""
    extent = x.shape[axis]
    slack = _BEYOND[mode]
    most = math.inf if slack is None else extent + slack
    if max(low, high) > most or (extent == 0 and low + high):
        raise ShapeError(
            f"pad: {max(low, high)} more in mode {mode!r} on axis {axis} of shape {tuple(x.shape)}",
            remedy=f"at most {most}" if extent else "there is nothing to repeat",
        )
    if not low + high:
        return x
    places = np.pad(np.arange(extent), (low, high), _NUMPY[mode])  # type: ignore[call-overload]
    return take(x, places, axis=axis)


# --- windows as columns ---------------------------------------------------------------------------


def unfold(
    input: ArrayLike,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
) -> Tensor:
    """Every window as a column.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C, H, W)``, or ``(C, H, W)``.
    kernel_size : int or sequence of int
        The extents of a window.
    dilation, stride : int or sequence of int, optional
        Steps inside of a window, and between windows.
    padding : int or sequence of int, optional
        Zeros on both sides.

    Returns
    -------
    Tensor
        Of shape ``(N, C * elements of a window, windows)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.unfold(fg.ones((1, 2, 4, 5)), 2).shape
    (1, 8, 12)
    """
    return record(columns.unfold, (as_tensor(input),), kernel_size, dilation, padding, stride)


def fold(
    input: ArrayLike,
    output_size: Numbers,
    kernel_size: Numbers,
    dilation: Numbers = 1,
    padding: Numbers = 0,
    stride: Numbers = 1,
) -> Tensor:
    """Columns added up where they come from: the adjoint of `unfold`.

    Parameters
    ----------
    input : array_like
        Of shape ``(N, C * elements of a window, windows)``, or without the first axis.
    output_size : int or sequence of int
        The last two extents of the result.
    kernel_size, dilation, padding, stride : int or sequence of int
        As of `unfold`.

    Returns
    -------
    Tensor
        Of shape ``(N, C, *output_size)``.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.fold(fg.ones((1, 4, 4)), 3, 2).numpy()[0, 0]
    array([[1., 2., 1.],
           [2., 4., 2.],
           [1., 2., 1.]], dtype=float32)
    """
    params = output_size, kernel_size, dilation, padding, stride
    return record(columns.fold, (as_tensor(input),), *params)


# --- shuffles -------------------------------------------------------------------------------------


def pixel_shuffle(input: Any, upscale_factor: int) -> Tensor:
    """Channels spread over places: ``(..., C * r * r, H, W)`` to ``(..., C, H * r, W * r)``.

    Parameters
    ----------
    input : Tensor or array
    upscale_factor : int
        The r.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.pixel_shuffle(fg.ones((1, 8, 2, 3)), 2).shape
    (1, 2, 4, 6)
    """
    x, r = asarray(input), upscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-3] % (r * r):
        raise ShapeError(
            f"pixel_shuffle by {r} cannot take an input of shape {tuple(x.shape)}",
            remedy="the third axis from the end is a multiple of the factor squared",
        )
    *lead, channels, height, width = x.shape
    n = len(lead)
    apart = reshape(x, (*lead, channels // (r * r), r, r, height, width))
    moved = permute_dims(apart, (*range(n), n, n + 3, n + 1, n + 4, n + 2))
    return reshape(moved, (*lead, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Any, downscale_factor: int) -> Tensor:
    """Places gathered into channels: ``(..., C, H * r, W * r)`` to ``(..., C * r * r, H, W)``.

    Parameters
    ----------
    input : Tensor or array
    downscale_factor : int
        The r.

    Examples
    --------
    >>> import fusegrad as fg
    >>> import fusegrad.nn.functional as F
    >>> F.pixel_unshuffle(fg.ones((1, 2, 4, 6)), 2).shape
    (1, 8, 2, 3)
    """
    x, r = asarray(input), downscale_factor
    if x.ndim < 3 or r < 1 or x.shape[-1] % r or x.shape[-2] % r:
        raise ShapeError(
            f"pixel_unshuffle by {r} cannot take an input of shape {tuple(x.shape)}",
            remedy="the last two axes are multiples of the factor",
        )
    *lead, channels, height, width = x.shape
    n = len(lead)
    apart = reshape(x, (*lead, channels, height // r, r, width // r, r))
    moved = permute_dims(apart, (*range(n), n, n + 2, n + 4, n + 1, n + 3))
    return reshape(moved, (*lead, channels * r * r, height // r, width // r))


def channel_shuffle(input: Any, groups: int) -> Tensor:
    """The channels of several groups in turn.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)``.
    groups : int

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.channel_shuffle([[[1], [2], [3], [4]]], 2).numpy().tolist()
    [[[1], [3], [2], [4]]]
    """
    x = asarray(input)
    if x.ndim < 3 or groups < 1 or x.shape[1] % groups:
        raise ShapeError(
            f"channel_shuffle of {groups} groups cannot take an input of shape {tuple(x.shape)}",
            remedy="axis 1 is a multiple of the groups",
        )
    batch, channels, *places = x.shape
    apart = reshape(x, (batch, groups, channels // groups, *places))
    moved = permute_dims(apart, (0, 2, 1, *range(3, apart.ndim)))
    return reshape(moved, x.shape)
