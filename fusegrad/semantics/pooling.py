"""Reductions of windows: pooling with its roundings and divisors, and windows in general.

Functions on nodes; knows no Tensor. The windows run over the last axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Self, final

import numpy as np

from ..codegen.dtypes import bool_
from ..codegen.records import dataclass
from ..errors import DTypeError, ShapeError
from ..ir.node import Array, Node
from ..ops import build, build_window
from ..ops.reduce import Monoid
from .convolution import numbers, padding_widths
from .manipulation import pad
from .shapes import show

__all__ = [
    "Pooling",
    "adaptive_average",
    "adaptive_max",
    "average",
    "largest",
    "largest_places",
    "reduce_window",
]

MONOIDS = {"sum": Monoid.SUM, "prod": Monoid.PROD, "max": Monoid.MAX, "min": Monoid.MIN}


@final
@dataclass(frozen=True)
class Pooling:
    """Where the windows lie: for each of the last axes sizes, steps, padding and how many."""

    extents: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    paddings: tuple[int, ...]
    dilations: tuple[int, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(
        cls,
        name: str,
        x: Node,
        rank: int,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        *,
        ceil_mode: bool = False,
    ) -> Self:
        """Checked, with torch's rounding: a last window starts inside of input or left padding."""
        check_input(name, x, rank)
        sizes = numbers(name, "kernel_size", kernel_size, rank)
        default = stride is None or (isinstance(stride, Sequence) and not stride)
        strides = sizes if default else numbers(name, "stride", stride, rank)
        paddings = numbers(name, "padding", padding, rank, least=0)
        dilations = numbers(name, "dilation", dilation, rank)
        extents = tuple(int(e) for e in x.shape[len(x.shape) - rank :])  # type: ignore[arg-type]
        counts = []
        for axis, (extent, size, step, low, spread) in enumerate(
            zip(extents, sizes, strides, paddings, dilations, strict=True)
        ):
            reach = spread * (size - 1) + 1
            if 2 * low > reach:
                raise ShapeError(
                    f"{name}: padding {low} is more than half of a window of {reach}",
                    remedy="take less padding, or pad the input with F.pad first",
                )
            room = extent + 2 * low - reach
            count = (room + (step - 1 if ceil_mode else 0)) // step + 1
            if ceil_mode and (count - 1) * step >= extent + low:
                count -= 1
            if count < 1 or not extent:
                raise ShapeError(
                    f"{name}: a window of {size} elements with dilation {spread} does not fit "
                    f"axis {axis - rank} of the input of shape {show(x.shape)} with padding {low}",
                    remedy="pad the input, or take a smaller window",
                )
            counts.append(count)
        return cls(extents, sizes, strides, paddings, dilations, tuple(counts))

    def padded(self, x: Node, fill: float | int = 0) -> Node:
        """The input with exactly what the windows cover."""
        widths = [(0, 0)] * (len(x.shape) - len(self.sizes))
        for extent, size, stride, low, dilation, count in zip(
            self.extents,
            self.sizes,
            self.strides,
            self.paddings,
            self.dilations,
            self.counts,
            strict=True,
        ):
            covered = (count - 1) * stride + dilation * (size - 1) + 1
            widths.append((low, covered - extent - low))
        return pad(x, widths, fill)

    def divisors(self, include_padding: bool) -> list[Array]:
        """For each axis how many elements each window has."""
        result = []
        for extent, size, stride, low, count in zip(
            self.extents, self.sizes, self.strides, self.paddings, self.counts, strict=True
        ):
            start = np.arange(count) * stride - low
            stop = np.minimum(start + size, extent + low)
            if not include_padding:
                start, stop = np.maximum(start, 0), np.minimum(stop, extent)
            result.append(stop - start)
        return result


def check_input(name: str, x: Node, rank: int) -> None:
    """Channels, a batch or none, and `rank` axes; numbers."""
    if len(x.shape) not in (rank + 1, rank + 2):
        raise ShapeError(
            f"{name}: an input of shape {show(x.shape)} has {len(x.shape)} axes, "
            f"not {rank + 2} (or {rank + 1} without a batch)",
            remedy="the input has shape (batch, channels, places...)",
        )
    if x.dtype is bool_:
        raise DTypeError(f"{name} takes numbers, not bool", remedy="convert with .astype() first")


def _check_float(name: str, x: Node) -> None:
    if not x.dtype.is_float:
        raise DTypeError(
            f"{name} takes floats, not {x.dtype}", remedy="convert with .astype('float32') first"
        )


# --- largest --------------------------------------------------------------------------------------


def largest(x: Node, pooling: Pooling) -> Node:
    """The first largest element of each window; padding is never chosen before an element."""
    lowest = x.dtype.lowest
    params = pooling.sizes, pooling.strides, pooling.dilations
    return build_window.window_extreme(pooling.padded(x, lowest), *params, Monoid.MAX)


def largest_places(x: Node, pooling: Pooling) -> Node:
    """Where the largest elements lie: row-major positions in the last axes of the input."""
    lowest = x.dtype.lowest
    params = pooling.sizes, pooling.strides, pooling.dilations
    inside = build_window.window_extreme(pooling.padded(x, lowest), *params, Monoid.MAX, True)
    lead = len(x.shape) - len(pooling.sizes)
    rest, axes = inside, []
    for size in reversed(pooling.sizes):
        axes.append(build.mod(rest, build.full_like(rest, size)))
        rest = build.floordiv(rest, build.full_like(rest, size))
    result = build.zeros_like(inside)
    for axis, within in enumerate(reversed(axes)):
        extent = pooling.extents[axis]
        start = np.arange(pooling.counts[axis]) * pooling.strides[axis] - pooling.paddings[axis]
        first = build.broadcast(_constant(start), inside.shape, (lead + axis,))
        step = build.mul(within, build.full_like(within, pooling.dilations[axis]))
        place = build.maximum(build.add(first, step), build.zeros_like(inside))
        place = build.minimum(place, build.full_like(place, extent - 1))
        result = build.add(build.mul(result, build.full_like(result, extent)), place)
    return result


def _constant(values: Array) -> Node:
    return build.array_constant(np.ascontiguousarray(values, np.int64))


# --- average --------------------------------------------------------------------------------------


def average(
    name: str,
    x: Node,
    pooling: Pooling,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Node:
    """The sum of each window over its number of elements, or over another number."""
    _check_float(name, x)
    if divisor_override is not None and divisor_override == 0:
        raise ShapeError(f"{name}: divisor_override is 0", remedy="give another number, or None")
    total = _sum(pooling.padded(x), pooling.sizes, pooling.strides, pooling.dilations)
    if divisor_override is not None:
        return build.div(total, build.full_like(total, divisor_override))
    return _divided(total, pooling.divisors(count_include_pad))


def _sum(x: Node, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Node:
    windows = build_window.windows(x, sizes, strides, dilations)
    lead = len(x.shape) - len(sizes)
    return build.sum_(windows, range(lead, lead + len(sizes)))


def _divided(total: Node, divisors: Sequence[Array]) -> Node:
    """Sums over the numbers of their elements, a product of one number for each axis."""
    if all((numbers == numbers[0]).all() for numbers in divisors):
        size = math.prod(int(numbers[0]) for numbers in divisors)
        return build.div(total, build.full_like(total, size))
    lead = len(total.shape) - len(divisors)
    product = np.ones(())
    for counts in divisors:
        product = np.multiply.outer(product, counts)
    values = build.array_constant(product.astype(total.dtype.numpy))
    return build.div(total, build.broadcast(values, total.shape, range(lead, len(total.shape))))


# --- adaptive -------------------------------------------------------------------------------------


def adaptive_average(name: str, x: Node, rank: int, output_size: Any) -> Node:
    """The means of as many windows as asked for, which cover each axis as evenly as they can."""
    _check_float(name, x)
    counts = _adaptive_counts(name, x, rank, output_size)
    extents = _extents(x, rank)
    if _even(extents, counts):
        return average(name, x, _even_pooling(name, x, rank, extents, counts))
    windows, inside, sizes = _uneven(x, extents, counts)
    lead = len(x.shape) - rank
    total = build.sum_(
        build.select(inside, windows, build.zeros_like(windows)), range(lead, lead + rank)
    )
    return _divided(total, sizes)


def adaptive_max(name: str, x: Node, rank: int, output_size: Any, *, places: bool = False) -> Node:
    """The first largest elements of such windows, or where they lie."""
    counts = _adaptive_counts(name, x, rank, output_size)
    extents = _extents(x, rank)
    if _even(extents, counts):
        pooling = _even_pooling(name, x, rank, extents, counts)
        return largest_places(x, pooling) if places else largest(x, pooling)
    windows, _, _ = _uneven(x, extents, counts)
    lead = len(x.shape) - rank
    size = math.prod(bound.places.shape[1] for bound in _bounds(extents, counts))
    flat = build.reshape(windows, (*x.shape[:lead], size, *counts))
    best = build.expand_dims(build.argmax(flat, lead), (lead,))
    if places:
        table = np.zeros((), np.int64)
        for extent, index in zip(extents, _bounds(extents, counts), strict=True):
            table = np.add.outer(table * extent, index.places.T)
        order = (*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))
        table = table.transpose(order).reshape(size, *counts)
        flat = build.broadcast(_constant(table), flat.shape, range(lead, len(flat.shape)))
    return build.squeeze(build.take_along(flat, best, lead), (lead,))


@final
@dataclass(frozen=True)
class _Bounds:
    """The windows of one axis: places (count, longest), repeating the last, and their sizes."""

    places: Array
    sizes: Array

    @property
    def inside(self) -> Array:
        return np.arange(self.places.shape[1]) < self.sizes[:, None]


def _bounds(extents: Sequence[int], counts: Sequence[int]) -> list[_Bounds]:
    result = []
    for extent, count in zip(extents, counts, strict=True):
        start = np.arange(count) * extent // count
        stop = -(-(np.arange(1, count + 1) * extent) // count)
        longest = int((stop - start).max())
        places = np.minimum(start[:, None] + np.arange(longest), stop[:, None] - 1)
        result.append(_Bounds(places, stop - start))
    return result


def _uneven(
    x: Node, extents: Sequence[int], counts: Sequence[int]
) -> tuple[Node, Node, list[Array]]:
    """Windows (..., longest..., counts...), which of their elements count, and how many do."""
    rank = len(counts)
    lead = len(x.shape) - rank
    bounds = _bounds(extents, counts)
    inside: Array = np.ones((), bool)
    for axis, bound in enumerate(bounds):
        # The axis becomes (longest, count).
        x = build.take(x, _constant(bound.places.T), lead + 2 * axis)
        inside = np.logical_and.outer(inside, bound.inside.T)
    order = (*range(0, 2 * rank, 2), *range(1, 2 * rank, 2))
    windows = build.transpose(x, (*range(lead), *(lead + a for a in order)))
    mask = build.array_constant(np.ascontiguousarray(inside.transpose(order)))
    spread = build.broadcast(mask, windows.shape, range(lead, lead + 2 * rank))
    return windows, spread, [bound.sizes for bound in bounds]


def _extents(x: Node, rank: int) -> tuple[int, ...]:
    return tuple(int(e) for e in x.shape[len(x.shape) - rank :])  # type: ignore[arg-type]


def _even(extents: Sequence[int], counts: Sequence[int]) -> bool:
    return all(extent % count == 0 for extent, count in zip(extents, counts, strict=True))


def _even_pooling(
    name: str, x: Node, rank: int, extents: Sequence[int], counts: Sequence[int]
) -> Pooling:
    return Pooling.of(
        name, x, rank, tuple(e // count for e, count in zip(extents, counts, strict=True))
    )


def _adaptive_counts(name: str, x: Node, rank: int, output_size: Any) -> tuple[int, ...]:
    check_input(name, x, rank)
    extents = _extents(x, rank)
    given = tuple(output_size) if isinstance(output_size, Sequence) else (output_size,) * rank
    if len(given) != rank:
        raise ShapeError(
            f"{name}: output_size {show(given)} has {len(given)} numbers for {rank} axes",
            remedy=f"give one number, or {rank} of them; None keeps the extent of the input",
        )
    filled = [e if count is None else count for e, count in zip(extents, given, strict=True)]
    if 0 in extents:
        raise ShapeError(
            f"{name}: the input of shape {show(x.shape)} has an empty axis",
            remedy="skip empty input",
        )
    return numbers(name, "output_size", filled, rank)


# --- windows in general ---------------------------------------------------------------------------


def reduce_window(
    x: Node,
    reduction: str,
    sizes: Any,
    strides: Any,
    padding: Any,
    dilations: Any,
    base_dilation: Any = 1,
) -> Node:
    """Each window over all axes reduced; padding counts as nothing."""
    name, rank = "reduce_window", len(x.shape)
    monoid = MONOIDS.get(reduction)
    if monoid is None:
        raise ShapeError(
            f"{name}: there is no reduction {reduction!r}",
            remedy=f"take one of {', '.join(map(repr, MONOIDS))}",
        )
    if x.dtype is bool_:
        raise DTypeError(f"{name} takes numbers, not bool", remedy="convert with .astype() first")
    sizes = numbers(name, "window", sizes, rank)
    strides = numbers(name, "strides", 1 if strides is None else strides, rank)
    dilations = numbers(name, "dilation", dilations, rank)
    spread = numbers(name, "base_dilation", base_dilation, rank)
    fill = {"sum": 0, "prod": 1, "max": x.dtype.lowest, "min": x.dtype.highest}[reduction]
    if any(each > 1 for each in spread):
        amounts = [0] * rank, [0] * rank, [each - 1 for each in spread]
        there = build.pad(build.full(x.shape, True, bool_), *amounts)
        between = build.pad(x, *amounts)
        x = build.select(there, between, build.full_like(between, fill))
    extents = _extents(x, rank)
    widths = padding_widths(name, padding, sizes, strides, dilations, extents)
    padded = pad(x, widths, fill)
    for axis, (size, dilation) in enumerate(zip(sizes, dilations, strict=True)):
        if build_window.window_count(padded.shape[axis], size, 1, dilation) == -1:
            raise ShapeError(
                f"{name}: a window of {size} elements with dilation {dilation} does not fit axis "
                f"{axis} of shape {show(x.shape)} with padding {widths[axis]}",
                remedy="pad the array, or take a smaller window",
            )
    if not rank:
        return x
    if monoid in (Monoid.MAX, Monoid.MIN):
        return build_window.window_extreme(padded, sizes, strides, dilations, monoid)
    windows = build_window.windows(padded, sizes, strides, dilations)
    return build.reduce_(monoid, windows, range(rank))
