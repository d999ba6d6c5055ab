"""Differences, slopes, areas and values between samples of a function.

Compositions of slices and arithmetic: traced, differentiated and fused like the user's code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..codegen.dtypes import bool_
from ..errors import (
    ArgumentTypeError,
    OptionError,
    ShapeError,
)
from ..semantics.shapes import axis_tuple, one_axis, show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .functional import isnan, not_equal, where
from .joining import concat
from .manipulation import take
from .searching import searchsorted
from .sorting import argsort

__all__ = ["diff", "ediff1d", "gradient", "interp", "trapezoid", "trapz"]


def _part(x: Tensor, axis: int, start: int | None, stop: int | None, step: int = 1) -> Tensor:
    return x[(*(slice(None),) * axis, slice(start, stop, step))]


def diff(
    x: ArrayLike,
    n: int = 1,
    axis: int = -1,
    prepend: ArrayLike = None,
    append: ArrayLike = None,
    *,
    dim: int | None = None,
) -> Tensor:
    """The differences of neighbours along an axis.

    Parameters
    ----------
    x : array_like
        Of bools it tells where neighbours differ.
    n : int, optional
        How often differences are taken.
    axis : int, optional
    prepend, append : array_like, optional
        More elements before and behind; a number stands for one slice.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.diff([1, 2, 4, 7]), fg.diff([1, 2, 4, 7], n=2)
    (Tensor([1, 2, 3]), Tensor([1, 1]))
    """
    tensor = as_tensor(x)
    place = one_axis("diff", axis if dim is None else dim, tensor.ndim)
    if not tensor.ndim:
        raise ShapeError("diff of a number", remedy="pass an array with axes")
    if n < 0:
        raise OptionError(f"diff: differences are taken {n} times; n counts from 0")
    if n == 0:
        return tensor.clone()
    shape = (*tensor.shape[:place], 1, *tensor.shape[place + 1 :])
    ends = [None if end is None else as_tensor(end) for end in (prepend, append)]
    ends = [end.broadcast_to(shape) if end is not None and not end.ndim else end for end in ends]
    parts = [part for part in (ends[0], tensor, ends[1]) if part is not None]
    result = concat(parts, axis=place) if len(parts) > 1 else tensor.clone()
    for _ in range(n):
        after, before = _part(result, place, 1, None), _part(result, place, None, -1)
        result = not_equal(after, before) if result.dtype is bool_ else after - before
    return result


def ediff1d(x: ArrayLike, to_end: ArrayLike = None, to_begin: ArrayLike = None) -> Tensor:
    """The differences of neighbours in the flat array.

    Parameters
    ----------
    x : array_like
    to_end, to_begin : array_like, optional
        Numbers to put behind and before them.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ediff1d([1, 2, 4], to_begin=0)
    Tensor([0, 1, 2])
    """
    tensor = as_tensor(x).reshape(-1)
    parts = [tensor[1:] - tensor[:-1]]
    if to_begin is not None:
        parts.insert(0, tensor._coerce(to_begin, fitting=True).reshape(-1).astype(tensor.dtype))
    if to_end is not None:
        parts.append(tensor._coerce(to_end, fitting=True).reshape(-1).astype(tensor.dtype))
    return concat(parts) if len(parts) > 1 else parts[0]


def trapezoid(
    y: ArrayLike,
    x: ArrayLike = None,
    dx: ArrayLike = 1.0,
    axis: int = -1,
    *,
    dim: int | None = None,
) -> Tensor:
    """The area under samples of a function, by the trapezoidal rule.

    Parameters
    ----------
    y : array_like
    x : array_like, optional
        Where the samples lie: a vector, or in the shape of `y`.
    dx : number, optional
        Their distance, if `x` is not given.
    axis : int, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.trapezoid([1.0, 2.0, 3.0], dx=2.0)
    Tensor(8.)
    """
    values = as_tensor(y)
    place = one_axis("trapezoid", axis if dim is None else dim, values.ndim)
    widths: Any = dx
    if x is not None:
        samples = as_tensor(x)
        if samples.ndim == 1:
            shape = [1] * values.ndim
            shape[place] = -1
            widths = diff(samples).reshape(shape)
        else:
            widths = diff(samples, axis=place)
    sums = _part(values, place, 1, None) + _part(values, place, None, -1)
    area: Tensor = (widths * sums / 2.0).sum(place)
    return area


trapz = trapezoid


def gradient(
    f: ArrayLike,
    *varargs: ArrayLike,
    axis: Any = None,
    edge_order: int = 1,
    spacing: Any = None,
    dim: Any = None,
) -> Tensor | tuple[Tensor, ...]:
    """The slopes of samples of a function: central differences inside, one-sided ones at the ends.

    Parameters
    ----------
    f : array_like
    *varargs : number or array_like, optional
        The distance of the samples, or where they lie; one for all axes, or one for each. In torch
        they are one argument, `spacing`: a number, or a sequence of them.
    axis : int or sequence of int, optional
        By default all axes.
    edge_order : {1, 2}, optional
        How accurate the ends are.

    Returns
    -------
    Tensor or tuple of Tensor
        One for each axis, a tuple if there are several.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.gradient([1.0, 2.0, 4.0, 7.0])
    Tensor([1. , 1.5, 2.5, 3. ])
    """
    values = as_tensor(f)
    if not values.dtype.is_float:
        values = values.float()
    axis = axis if dim is None else dim
    if spacing is not None:
        varargs = tuple(spacing) if isinstance(spacing, (list, tuple)) else (spacing,)
    axes = axis_tuple("gradient", axis, values.ndim)
    if isinstance(axis, Sequence):
        axes = tuple(one_axis("gradient", a, values.ndim) for a in axis)
    if edge_order not in (1, 2):
        raise OptionError(f"gradient: edge_order is 1 or 2, not {edge_order}")
    if len(varargs) not in (0, 1, len(axes)):
        raise ArgumentTypeError(f"gradient: {len(varargs)} distances for {len(axes)} axes")
    distances = list(varargs) or [1.0]
    distances = distances * len(axes) if len(distances) == 1 else distances
    for place in axes:
        if values.shape[place] < edge_order + 1:
            raise ShapeError(
                f"gradient along axis {place} of shape {show(values.shape)}",
                remedy=f"edge_order {edge_order} needs at least {edge_order + 1} samples",
            )
    results = [_slopes(values, d, a, edge_order) for a, d in zip(axes, distances, strict=True)]
    return results[0] if len(results) == 1 else tuple(results)


def _slopes(f: Tensor, spacing: Any, axis: int, order: int) -> Tensor:
    distance = as_tensor(spacing) if isinstance(spacing, (list, tuple)) else spacing
    if getattr(distance, "ndim", 0):
        samples = as_tensor(distance)
        # Integers far apart, or unsigned ones that descend, have differences that do not fit.
        samples = samples if samples.dtype.is_float else samples.astype(f.dtype)
        if samples.shape != (f.shape[axis],):
            raise ShapeError(
                f"gradient: samples of shape {show(samples.shape)} along an axis of extent "
                f"{f.shape[axis]}",
                remedy="give one place for each sample",
            )
        return _uneven_slopes(f, diff(samples), axis, order)

    def at(index: int) -> Tensor:
        return _part(f, axis, index, index + 1 or None)

    inner = (_part(f, axis, 2, None) - _part(f, axis, None, -2)) / (2.0 * distance)
    if order == 1:
        first, last = (at(1) - at(0)) / distance, (at(-1) - at(-2)) / distance
    else:
        first = (-1.5 * at(0) + 2.0 * at(1) - 0.5 * at(2)) / distance
        last = (1.5 * at(-1) - 2.0 * at(-2) + 0.5 * at(-3)) / distance
    return concat([first, inner, last], axis=axis)


def _uneven_slopes(f: Tensor, widths: Tensor, axis: int, order: int) -> Tensor:
    shape = [1] * f.ndim
    shape[axis] = -1
    widths = widths.astype(f.dtype, copy=False).reshape(shape)

    def at(index: int) -> Tensor:
        return _part(f, axis, index, index + 1 or None)

    def width(index: int) -> Tensor:
        return _part(widths, axis, index, index + 1 or None)

    low, high = _part(widths, axis, None, -1), _part(widths, axis, 1, None)
    both = low + high
    inner = (
        -high / (low * both) * _part(f, axis, None, -2)
        + (high - low) / (low * high) * _part(f, axis, 1, -1)
        + low / (high * both) * _part(f, axis, 2, None)
    )
    if order == 1:
        first, last = (at(1) - at(0)) / width(0), (at(-1) - at(-2)) / width(-1)
    else:
        a, b = width(0), width(1)
        first = -(2.0 * a + b) / (a * (a + b)) * at(0) + (a + b) / (a * b) * at(1)
        first = first - a / (b * (a + b)) * at(2)
        a, b = width(-2), width(-1)
        last = b / (a * (a + b)) * at(-3) - (b + a) / (a * b) * at(-2)
        last = last + (2.0 * b + a) / (b * (a + b)) * at(-1)
    return concat([first, inner, last], axis=axis)


def interp(
    x: ArrayLike,
    xp: ArrayLike,
    fp: ArrayLike,
    left: ArrayLike = None,
    right: ArrayLike = None,
    period: float | None = None,
) -> Tensor:
    """Values between samples, on straight lines from one to the next.

    Parameters
    ----------
    x : array_like
        Where values are wanted.
    xp : array_like
        Where the samples lie: a vector that ascends.
    fp : array_like
        The samples.
    left, right : number, optional
        What lies outside; by default the first and the last sample.
    period : float, optional
        The samples go on with this period; then `xp` need not ascend.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.interp([0.5, 3.0], [0.0, 1.0, 2.0], [10.0, 20.0, 40.0])
    Tensor([15., 40.])
    """
    at, places, samples = as_tensor(x), as_tensor(xp), as_tensor(fp)
    if places.ndim != 1 or samples.shape != places.shape or not places.size:
        raise ShapeError(
            f"interp: samples of shape {show(samples.shape)} at places of shape "
            f"{show(places.shape)}",
            remedy="give two vectors of equal length, with at least one element",
        )
    at, places, samples = (v if v.dtype.is_float else v.float() for v in (at, places, samples))
    if period is not None:
        at, places = at % abs(period), places % abs(period)
        order = argsort(places)
        places, samples = places[order], samples[order]
        places = concat([places[-1:] - abs(period), places, places[:1] + abs(period)])
        samples = concat([samples[-1:], samples, samples[:1]])
    count = places.shape[0]
    above = searchsorted(places, at.detach(), side="right").clip(min(1, count - 1), count - 1)
    below = above.maximum(1) - 1
    x0, x1 = take(places, below, mode="clip"), take(places, above, mode="clip")
    f0, f1 = take(samples, below, mode="clip"), take(samples, above, mode="clip")
    flat = x0 == x1
    slope = (f1 - f0) / where(flat, 1.0, x1 - x0)
    result = f0 + (at - x0) * slope
    # Infinite places and samples make NaN where an end of the line is the answer.
    lost = isnan(result) & ~isnan(at)
    result = where(lost, f1 + (at - x1) * slope, result)
    result = where(lost & ((at == x0) | (isnan(result) & (f0 == f1))), f0, result)
    result = where(lost & (at == x1), f1, result)
    if period is None:
        result = where(at < places[0], samples[0] if left is None else left, result)
        result = where(at > places[-1], samples[-1] if right is None else right, result)
    return result
