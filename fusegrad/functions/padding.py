"""Padding: elements before and behind the axes, in all of NumPy's modes.

Knows the functions on nodes that they record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import float64
from ..errors import (
    ArgumentTypeError,
    OptionError,
    ShapeError,
)
from ..semantics import manipulation as semantics
from ..semantics import positions
from ..semantics.shapes import show
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from .joining import concat

__all__ = ["pad"]

Widths = list[tuple[int, int]]
_COPIES = ("edge", "reflect", "symmetric", "wrap")
_STATISTICS = ("maximum", "mean", "median", "minimum")


def pad(
    x: ArrayLike,
    pad_width: Any,
    mode: str = "constant",
    *,
    constant_values: Any = 0,
    end_values: Any = 0,
    stat_length: Any = None,
    reflect_type: str = "even",
) -> Tensor:
    """Elements before and behind the axes.

    Parameters
    ----------
    x : array_like
    pad_width : int, pair, or sequence of pairs, or dict
        How many before and behind: everywhere, on every axis, for each axis, or for the axes that
        the dict names. In mode "constant" negative ones cut.
    mode : str, optional
        What they are: ``"constant"`` values, zeros for ``"empty"``, the last element (``"edge"``),
        the array mirrored at its last element (``"reflect"``) or behind it (``"symmetric"``),
        repeated (``"wrap"``), a ramp to `end_values` (``"linear_ramp"``), or the ``"maximum"``,
        ``"minimum"``, ``"mean"`` or ``"median"`` of the elements that are next.
    constant_values, end_values : number, pair, or sequence of pairs, optional
    stat_length : int, pair, or sequence of pairs, optional
        How many elements at each end count for the maximum, minimum, mean and median; by
        default all.
    reflect_type : {"even", "odd"}, optional
        "odd" continues a mirrored array as a function that is odd around its end.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.pad([1, 2], (1, 2)), fg.pad([1, 2, 3], 2, "reflect")
    (Tensor([0, 1, 2, 0, 0]), Tensor([3, 2, 1, 2, 3, 2, 1]))
    """
    tensor = as_tensor(x)
    widths = _widths(pad_width, tensor)
    if mode in ("constant", "empty"):
        values = _pairs(constant_values if mode == "constant" else 0, tensor.ndim, "constant")
        return _constant(tensor, widths, values)
    if any(width < 0 for pair in widths for width in pair):
        raise ShapeError(
            f"pad: a width of {widths} is negative", remedy="cut with a slice, x[1:-1]"
        )
    if mode in _COPIES:
        return _copied(tensor, widths, mode, reflect_type)
    if mode == "linear_ramp":
        return _ramped(tensor, widths, _pairs(end_values, tensor.ndim, "end"))
    if mode in _STATISTICS:
        lengths = _pairs(stat_length, tensor.ndim, "stat_length")
        return _summarised(tensor, widths, mode, lengths)
    known = ("constant", "empty", *_COPIES, "linear_ramp", *_STATISTICS)
    raise OptionError(f"pad: there is no mode {mode!r}: take one of {known}")


def _pairs(given: Any, ndim: int, what: str) -> list[tuple[Any, Any]]:
    """A value, a pair, or a sequence of them, as a pair for each axis."""
    if not isinstance(given, (tuple, list, np.ndarray)):
        return [(given, given)] * ndim
    rows = list(given)
    if len(rows) == 2 and not any(isinstance(row, (tuple, list, np.ndarray)) for row in rows):
        return [(rows[0], rows[1])] * ndim
    pairs = [tuple(row) if isinstance(row, (tuple, list, np.ndarray)) else (row,) for row in rows]
    pairs = pairs * ndim if len(pairs) == 1 else pairs
    if len(pairs) != ndim or any(len(pair) not in (1, 2) for pair in pairs):
        raise ShapeError(
            f"pad: {what} {given!r} for an array of {ndim} axes",
            remedy="give (before, behind) for each axis",
        )
    return [(pair[0], pair[-1]) for pair in pairs]


def _widths(given: Any, tensor: Tensor) -> Widths:
    if isinstance(given, dict):
        widths: list[Any] = [(0, 0)] * tensor.ndim
        for axis, pair in given.items():
            widths[axis] = pair if isinstance(pair, (tuple, list)) else (pair, pair)
        given = widths
    if isinstance(given, Tensor):
        given = given.tolist()
    pairs = _pairs(given, tensor.ndim, "width")
    for pair in pairs:
        if not all(isinstance(width, (int, np.integer)) for width in pair):
            raise ArgumentTypeError(f"pad: the widths {pair} are no ints")
    return [(int(low), int(high)) for low, high in pairs]


def _constant(x: Tensor, widths: Widths, values: list[tuple[Any, Any]]) -> Tensor:
    flat = [value for pair in values for value in pair]
    plain = all(isinstance(value, (int, float)) for value in flat)
    if plain and len({(value, str(value)) for value in flat}) <= 1:
        return record(semantics.pad, (x,), widths, flat[0] if flat else 0)
    for axis, (pair, fills) in enumerate(zip(widths, values, strict=True)):
        cut = [(min(width, 0) if a == axis else 0) for a in range(x.ndim) for width in pair]
        if any(cut):
            x = record(semantics.pad, (x,), list(zip(cut[::2], cut[1::2], strict=True)), 0)
        parts = [_filled(x, axis, max(pair[0], 0), fills[0]), x]
        x = _join([*parts, _filled(x, axis, max(pair[1], 0), fills[1])], axis)
    return x


def _filled(x: Tensor, axis: int, width: int, value: Any) -> Tensor:
    shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
    return x._coerce(value, fitting=True).astype(x.dtype, copy=False).broadcast_to(shape)


def _join(parts: Sequence[Tensor], axis: int) -> Tensor:
    kept = [part for part in parts if part.shape[axis]]
    return concat(kept, axis=axis) if kept else parts[1]


def _copied(x: Tensor, widths: Widths, mode: str, kind: str) -> Tensor:
    if kind not in ("even", "odd"):
        raise OptionError(f"pad: reflect_type is 'even' or 'odd', not {kind!r}")
    odd = kind == "odd" and mode in ("reflect", "symmetric")
    for axis, pair in enumerate(widths):
        if not any(pair):
            continue
        extent = x.shape[axis]
        if not extent:
            raise ShapeError(
                f"pad: mode {mode!r} copies elements, axis {axis} of shape {show(x.shape)} has "
                "none",
                remedy="pad with constants",
            )
        if odd:
            x = _odd(x, axis, pair, mode)
            continue
        order: Any = np.pad(np.arange(extent), pair, mode)  # type: ignore[call-overload]
        x = record(positions.at_positions, (x,), axis, order)
    return x


def _odd(x: Tensor, axis: int, pair: tuple[int, int], mode: str) -> Tensor:
    """Mirrored around the ends: a linear map, which NumPy's padding of ones tells."""
    extent = x.shape[axis]
    rows = [np.pad(row, pair, mode, reflect_type="odd") for row in np.eye(extent)]  # type: ignore[call-overload]
    kind = x.dtype if x.dtype.is_float else float64
    weights = as_tensor(np.array(rows)).astype(kind)
    mapped = x.swapaxes(axis, -1).astype(kind, copy=False) @ weights
    return mapped.astype(x.dtype, copy=False).swapaxes(axis, -1)


def _ramped(x: Tensor, widths: Widths, ends: list[tuple[Any, Any]]) -> Tensor:
    for axis, (pair, (low, high)) in enumerate(zip(widths, ends, strict=True)):
        before = (slice(None),) * axis
        parts = [x]
        if pair[0]:
            edge = x[(*before, slice(0, 1))]
            parts.insert(0, _ramp(edge, low, pair[0], axis))
        if pair[1]:
            edge = x[(*before, slice(-1, None))]
            parts.append(_ramp(edge, high, pair[1], axis).flip(axis))
        x = concat(parts, axis=axis)
    return x


def _ramp(edge: Tensor, end: Any, count: int, axis: int) -> Tensor:
    """From `end` up to, and without, the edge."""
    shape = [1] * edge.ndim
    shape[axis] = count
    kind = edge.dtype if edge.dtype.is_float else "float64"
    steps = as_tensor(np.arange(count).reshape(shape)).astype(kind)
    wide = edge.astype(kind, copy=False)
    ramp: Tensor = (wide - end) / count * steps + end
    return ramp if edge.dtype.is_float else ramp.floor().astype(edge.dtype)


def _summarised(x: Tensor, widths: Widths, mode: str, lengths: list[tuple[Any, Any]]) -> Tensor:
    for axis, (pair, counts) in enumerate(zip(widths, lengths, strict=True)):
        extent = x.shape[axis]
        before = (slice(None),) * axis
        parts = [x]
        for place, (width, count) in enumerate(zip(pair, counts, strict=True)):
            used = extent if count is None else min(int(count), extent)
            if not width:
                continue
            if used < 1:
                raise ShapeError(
                    f"pad: mode {mode!r} of no elements", remedy="take a positive stat_length"
                )
            taken = slice(0, used) if place == 0 else slice(extent - used, None)
            part = x[(*before, taken)]
            value = _summary(part, mode, axis)
            shape = (*x.shape[:axis], width, *x.shape[axis + 1 :])
            parts.insert(0 if place == 0 else len(parts), value.broadcast_to(shape))
        x = concat(parts, axis=axis)
    return x


def _summary(part: Tensor, mode: str, axis: int) -> Tensor:
    if mode == "maximum":
        return part.max(axis, keepdims=True)
    if mode == "minimum":
        return part.min(axis, keepdims=True)
    middle = part.median(axis, True) if mode == "median" else part.mean(axis, keepdims=True)
    return middle if part.dtype.is_float else middle.round().astype(part.dtype)
