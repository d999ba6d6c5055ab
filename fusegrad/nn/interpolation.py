"""Interpolation to other extents, under torch's names.

User-level code: along each axis in turn elements are picked at places known beforehand, and mixed
with weights known beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..errors import DTypeError, ShapeError
from ..functions.creation import asarray
from ..functions.manipulation import repeat, reshape, take
from ..functions.precision import in_float32
from ..tensors.tensor_class import Tensor
from .adaptive_pooling import adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d

__all__ = ["interpolate"]

Array = np.ndarray[Any, Any]
Mode = Literal["nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic", "area"]

_RANKS = {"linear": 1, "bilinear": 2, "trilinear": 3, "bicubic": 2}
_CUBIC = -0.75


@in_float32
def interpolate(
    input: Any,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: Mode = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """More or fewer elements along the last axes, between those that are there.

    Parameters
    ----------
    input : Tensor or array
        Of shape ``(N, C, ...)`` with one to three places axes.
    size : int or sequence of int, optional
        The new extents.
    scale_factor : float or sequence of float, optional
        By how much the extents grow, instead.
    mode : str, optional
        "nearest" (rounded down), "nearest-exact" (the nearest centre), "linear", "bilinear",
        "trilinear", "bicubic", or "area" (means).
    align_corners : bool, optional
        Whether the centres of the first and last elements stay, instead of their outer ends.
    recompute_scale_factor : bool, optional
        Whether places come from the extents and not from `scale_factor`.
    antialias : bool, optional
        Whether fewer elements are means of all around them, in modes "bilinear" and "bicubic".

    Examples
    --------
    >>> import fusegrad.nn.functional as F
    >>> F.interpolate([[[1.0, 2.0]]], scale_factor=2).numpy()
    array([[[1., 1., 2., 2.]]], dtype=float32)
    >>> F.interpolate([[[1.0, 2.0]]], size=3, mode="linear", align_corners=True).numpy()
    array([[[1. , 1.5, 2. ]]], dtype=float32)
    """
    x = asarray(input)
    rank = _checked_rank(x, mode, align_corners)
    if antialias and mode not in _WIDTHS:
        raise ShapeError(
            f"interpolate: mode {mode!r} has no antialias", remedy="take 'bilinear' or 'bicubic'"
        )
    extents = x.shape[2:]
    factors: tuple[float | None, ...] = (None,) * rank
    if (size is None) == (scale_factor is None):
        raise ShapeError(
            "interpolate takes either size or scale_factor",
            remedy="give one of them",
        )
    if size is not None:
        sizes = _each("size", size, rank)
    else:
        given = _each("scale_factor", scale_factor, rank)
        sizes = tuple(math.floor(e * f) for e, f in zip(extents, given, strict=True))
        factors = given
    if recompute_scale_factor:
        factors = (None,) * rank
    if min(sizes) < 1 or min(extents) < 1:
        raise ShapeError(
            f"interpolate from extents {tuple(extents)} to {sizes}",
            remedy="every extent is at least 1",
        )
    if mode == "area":
        pools = adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d
        return pools[rank - 1](x, sizes)
    for axis in range(rank):
        how = int(sizes[axis]), factors[axis], bool(align_corners)
        x = _averaged(x, axis + 2, *how, mode) if antialias else _along(x, axis + 2, *how, mode)
    return x


def _each(name: str, value: Any, rank: int) -> tuple[Any, ...]:
    given = tuple(value) if isinstance(value, Sequence) else (value,) * rank
    if len(given) != rank:
        raise ShapeError(
            f"interpolate: {name} {given} has {len(given)} numbers for {rank} axes",
            remedy=f"give one number, or {rank} of them",
        )
    return given


def _checked_rank(x: Tensor, mode: str, align_corners: bool | None) -> int:
    rank = x.ndim - 2
    known = (*_RANKS, "nearest", "nearest-exact", "area")
    if mode not in known:
        raise ShapeError(
            f"interpolate: there is no mode {mode!r}",
            remedy=f"take one of {', '.join(map(repr, known))}",
        )
    if not 1 <= rank <= 3 or _RANKS.get(mode, rank) != rank:
        wanted = f"{_RANKS[mode] + 2}" if mode in _RANKS else "3 to 5"
        raise ShapeError(
            f"interpolate: mode {mode!r} takes {wanted} axes, not an input of shape "
            f"{tuple(x.shape)}",
            remedy="the input has shape (batch, channels, places...)",
        )
    if mode not in _RANKS and align_corners is not None:
        raise ShapeError(f"interpolate: mode {mode!r} has no align_corners", remedy="leave it away")
    if mode in _RANKS and not x.dtype.is_float:
        raise DTypeError(
            f"interpolate: mode {mode!r} takes floats, not {x.dtype}",
            remedy="convert with .astype('float32') first",
        )
    return rank


# --- one axis -------------------------------------------------------------------------------------


def _scale(
    x: Tensor, axis: int, count: int, factor: float | None, aligned: bool
) -> tuple[Any, Any]:
    """How far places are apart, and the type of their numbers.

    That is the precision of the values: so places on the border of two elements are as in torch.
    """
    extent = x.shape[axis]
    real: Any = np.float64 if x.dtype.bits > 32 else np.float32
    if aligned:
        return (real(extent - 1) / real(count - 1) if count > 1 else real(0)), real
    return (real(1.0 / factor) if factor else real(extent) / real(count)), real


def _averaged(
    x: Tensor, axis: int, count: int, factor: float | None, aligned: bool, mode: str
) -> Tensor:
    """Every element the weighted mean of all that lie nearer than the elements are apart."""
    extent = x.shape[axis]
    scale, real = _scale(x, axis, count, factor, aligned)
    spread = max(scale, real(1))
    reach = _WIDTHS[mode] * spread
    centre = scale * (np.arange(count).astype(real) + real(0.5))
    first = np.maximum((centre - reach + real(0.5)).astype(np.int64), 0)
    last = np.minimum((centre + reach + real(0.5)).astype(np.int64), extent)
    steps = np.arange(int((last - first).max()))
    at = first[:, None] + steps
    distance = abs((at - centre[:, None] + real(0.5)) / spread)
    weight = np.where(at < last[:, None], _FILTERS[mode](distance), 0)
    weight = (weight / weight.sum(1, keepdims=True)).astype(real)
    places = np.minimum(at, last[:, None] - 1)
    return _mixed(x, axis, list(places.T), list(weight.T))


def _triangle(t: Array) -> Array:
    return np.asarray(np.maximum(1 - t, 0))


def _keys(t: Array) -> Array:
    """Keys' cubic with the constant of resampling in other libraries."""
    a = -0.5
    near = ((a + 2) * t - (a + 3)) * t * t + 1
    far = ((a * t - 5 * a) * t + 8 * a) * t - 4 * a
    return np.where(t < 1, near, np.where(t < 2, far, 0))


_WIDTHS = {"bilinear": 1, "bicubic": 2}
_FILTERS = {"bilinear": _triangle, "bicubic": _keys}


def _along(
    x: Tensor, axis: int, count: int, factor: float | None, aligned: bool, mode: str
) -> Tensor:
    extent = x.shape[axis]
    scale, real = _scale(x, axis, count, factor, aligned)
    numbers = np.arange(count).astype(real)
    if mode.startswith("nearest"):
        offset = 0.5 if mode == "nearest-exact" else 0.0
        places = np.floor((numbers + real(offset)) * scale).astype(np.int64)
        return _picked(x, axis, np.minimum(places, extent - 1))
    at = numbers * scale if aligned else (numbers + real(0.5)) * scale - real(0.5)
    if mode == "bicubic":
        return _mixed(x, axis, *_cubic(at, extent))
    if extent == count and (at == numbers).all():
        return x
    at = np.maximum(at, 0)
    low = np.minimum(np.floor(at).astype(np.int64), extent - 1)
    share = np.clip(at - low, 0, 1).astype(real)
    high = np.minimum(low + 1, extent - 1)
    return _mixed(x, axis, [low, high], [1 - share, share])


def _cubic(at: Array, extent: int) -> tuple[list[Array], list[Array]]:
    """Four places around each, and their weights."""
    first = np.floor(at)
    share = at - first
    places = [np.clip(first.astype(np.int64) + step, 0, extent - 1) for step in (-1, 0, 1, 2)]
    a = _CUBIC

    def near(t: Array) -> Array:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def far(t: Array) -> Array:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    weights = [far(share + 1), near(share), near(1 - share), far(2 - share)]
    return places, [np.asarray(w, at.dtype) for w in weights]


def _mixed(x: Tensor, axis: int, places: list[Array], weights: list[Array]) -> Tensor:
    """The sum of elements at several places, each with its weight."""
    behind = [1] * (x.ndim - axis - 1)
    result: Tensor | None = None
    for place, weight in zip(places, weights, strict=True):
        term = _picked(x, axis, place) * reshape(asarray(weight).astype(x.dtype), (-1, *behind))
        result = term if result is None else result + term
    assert result is not None
    return result


def _picked(x: Tensor, axis: int, places: Array) -> Tensor:
    """Elements at `places`; where they repeat or step evenly, without an index for each."""
    extent, count = x.shape[axis], len(places)
    whole = count // extent
    if whole * extent == count and (places == np.arange(count) // whole).all():
        return repeat(x, whole, axis=axis) if whole > 1 else x
    step = int(places[1] - places[0]) if count > 1 else 1
    if step > 0 and (places == places[0] + step * np.arange(count)).all():
        last = int(places[-1])
        return x[(*[slice(None)] * axis, slice(int(places[0]), last + 1, step))]
    return take(x, places, axis=axis)
