"""Medians and quantiles: ranks in sorted rows, and what lies between two ranks.

Functions from nodes to nodes; knows no Tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ..codegen.dtypes import float64, int64
from ..errors import EmptyReductionError, ShapeError
from ..ir.interpret import evaluate
from ..ir.node import Node, toposort
from ..ir.types import Extent, known_size
from ..ops import build, build_order
from .cumulative import widened
from .promotion import as_float
from .shapes import axis_tuple, show
from .sorting import argsort, sort

__all__ = ["METHODS", "median", "quantile", "weighted_quantile"]

Axis = int | Iterable[int] | None
_Rule = Callable[[Node, Node], Node]


def _number(like: Node, value: float) -> Node:
    return build.full_like(like, value)


# --- the rank of a quantile, from 0, given the number of elements and the fraction ----------------


def _between(alpha: float, beta: float) -> _Rule:
    """The continuous estimators of Hyndman and Fan, by their two parameters."""

    def rule(count: Node, q: Node) -> Node:
        own = build.add(build.mul(q, _number(q, 1 - alpha - beta)), _number(q, alpha - 1))
        return build.add(build.mul(count, q), own)

    return rule


def _linear(count: Node, q: Node) -> Node:
    return build.mul(build.sub(count, _number(count, 1)), q)


def _rounded(function: Callable[[Node], Node]) -> _Rule:
    return lambda count, q: function(_linear(count, q))


def _midpoint(count: Node, q: Node) -> Node:
    place = _linear(count, q)
    both = build.add(build.floor(place), build.ceil(place))
    return build.mul(both, _number(both, 0.5))


def _step(offset: float, at_step: Callable[[Node], Node]) -> _Rule:
    """Estimators that jump: `at_step` of the rank below says what is added where they do."""

    def rule(count: Node, q: Node) -> Node:
        place = build.sub(build.mul(count, q), _number(q, 1 + offset))
        below = build.floor(place)
        jumps = build.eq(place, below)
        return build.add(below, build.select(jumps, at_step(below), _number(below, 1)))

    return rule


def _even(below: Node) -> Node:
    return build.sub(_number(below, 1), build.mod(below, _number(below, 2)))


METHODS: dict[str, _Rule] = {
    "linear": _linear,
    "lower": _rounded(build.floor),
    "higher": _rounded(build.ceil),
    "nearest": _rounded(build.round_),
    "midpoint": _midpoint,
    "inverted_cdf": _step(0.0, lambda below: _number(below, 0)),
    "averaged_inverted_cdf": _step(0.0, lambda below: _number(below, 0.5)),
    "closest_observation": _step(0.5, _even),
    "interpolated_inverted_cdf": _between(0, 1),
    "hazen": _between(0.5, 0.5),
    "weibull": _between(0, 0),
    "median_unbiased": _between(1 / 3, 1 / 3),
    "normal_unbiased": _between(3 / 8, 3 / 8),
}
"""NumPy's methods."""


# --- rows -----------------------------------------------------------------------------------------


def _rows(name: str, x: Node, axes: tuple[int, ...]) -> Node:
    """`x` in a floating dtype, the reduced axes as the last one."""
    return _flat_rows(name, build.cast(x, as_float(x.dtype)), axes)


def _ordered(rows: Node, ranks: tuple[int, int] | None) -> Node:
    """The rows in order; of the others only what comes at some ranks, from one to another."""
    if ranks is None:
        return sort(rows, -1, descending=False)
    return widened(lambda wide: build_order.ranked(wide, *ranks), rows)


def _flat_rows(name: str, x: Node, axes: tuple[int, ...]) -> Node:
    """`x` with the reduced axes as the last one."""
    kept = [axis for axis in range(len(x.shape)) if axis not in axes]
    count = known_size([x.shape[axis] for axis in axes])
    assert count is not None
    if count == 0:
        raise EmptyReductionError(f"{name} of no elements has no value: shape {show(x.shape)}")
    x = build.transpose(x, (*kept, *axes))
    return build.reshape(x, (*x.shape[: len(kept)], count))


def _present(rows: Node) -> Node:
    """How many elements of each row are numbers, in float64; the last axis has extent 1."""
    last = len(rows.shape) - 1
    numbers = build.cast(build.logical_not(build.isnan(rows)), int64)
    return build.expand_dims(build.cast(build.sum_(numbers, (last,)), float64), (last,))


def _at(rows: Node, places: Node) -> Node:
    """The elements at `places`, floats that are whole, kept inside of the rows."""
    return build.take_along(rows, build.cast(places, int64), len(rows.shape) - 1)


def _finished(
    values: Node, rows: Node, axes: tuple[int, ...], keepdims: bool, skip_nan: bool
) -> Node:
    """NaN for rows with a NaN; the axis of the quantiles first, then the reduced ones."""
    last = len(rows.shape) - 1
    if not skip_nan:
        most = build.expand_dims(build.max_(rows, (last,)), (last,))
        broken = build.broadcast_to(build.isnan(most), values.shape)
        values = build.select(broken, _number(values, float("nan")), values)
    values = build.transpose(values, (last, *range(last)))
    return build.expand_dims(values, [axis + 1 for axis in axes]) if keepdims else values


def median(x: Node, axis: Axis, keepdims: bool, skip_nan: bool) -> Node:
    """The element in the middle, or the mean of the two that are."""
    name = "nanmedian" if skip_nan else "median"
    axes = axis_tuple(name, axis, len(x.shape))
    if not x.shape:
        return build.cast(x, as_float(x.dtype))
    rows = _rows(name, x, axes)
    last = len(rows.shape) - 1
    if skip_nan:
        ordered, count = _ordered(rows, None), _present(rows)
        half, one = _number(count, 0.5), _number(count, 1)
        low = build.floor(build.mul(build.sub(count, one), half))
        high = build.floor(build.mul(count, half))
        below, above = _at(ordered, low), _at(ordered, high)
        mean = build.div(build.add(below, above), _number(below, 2))
        values = build.select(build.eq(low, high), below, mean)
    else:
        extent = rows.shape[last]
        assert isinstance(extent, int)
        values = _ordered(rows, ((extent - 1) // 2, extent // 2 + 1))
        if not extent % 2:
            below, above = (build.slice_axis(values, last, i, i + 1) for i in (0, 1))
            values = build.div(build.add(below, above), _number(below, 2))
    result = _finished(values, rows, axes, keepdims, skip_nan)
    return build.squeeze(result, (0,))


def quantile(
    x: Node,
    q: Node,
    axis: Axis,
    method: str,
    keepdims: bool,
    skip_nan: bool,
    whole: float = 1.0,
) -> Node:
    """Quantiles at the fractions `q` of `whole`, whose axes come first."""
    name = "nanquantile" if skip_nan else "quantile"
    axes = axis_tuple(name, axis, len(x.shape))
    rows = _rows(name, x, axes)
    fractions = _fractions(q, whole, rows.shape[:-1])
    if skip_nan:
        count = build.broadcast_to(_present(rows), fractions.shape)
    else:
        count = _number(fractions, float(rows.shape[-1]))  # type: ignore[arg-type]
    ranks = METHODS[method](count, fractions)
    wanted = None if skip_nan else _known_ranks(_fractions(q, whole, ()), method, rows.shape[-1])
    values = _interpolated(_ordered(rows, wanted), ranks, count, wanted[0] if wanted else 0)
    result = _finished(values, rows, axes, keepdims, skip_nan)
    return build.reshape(result, (*q.shape, *result.shape[1:]))


def weighted_quantile(
    x: Node,
    q: Node,
    weights: Node,
    axis: Axis,
    keepdims: bool,
    skip_nan: bool,
    whole: float = 1.0,
) -> Node:
    """The first element whose weight, with that of all smaller ones, makes up a fraction."""
    axes = axis_tuple("quantile", axis, len(x.shape))
    x = build.cast(x, as_float(x.dtype))
    weights = build.cast(_fitted(weights, x, axes), float64)
    if skip_nan:
        weights = build.select(build.isnan(x), build.zeros_like(weights), weights)
    values = _flat_rows("quantile", x, axes)
    last = len(values.shape) - 1
    order = argsort(values, last, descending=False)
    rows = build.take_along(values, order, last)
    shares = build.take_along(_flat_rows("quantile", weights, axes), order, last)
    sums = build_order.cumulative("add", shares, last)
    count = int(rows.shape[last])  # type: ignore[arg-type]
    total = build.broadcast_to(build.slice_axis(sums, last, count - 1, count), sums.shape)
    # What has no weight is never the first to reach a fraction of zero.
    below = build.le(sums, build.zeros_like(sums))
    sums = build.select(below, _number(sums, -1), build.div(sums, total))
    fractions = _fractions(q, whole, rows.shape[:-1])
    place = build_order.searchsorted(sums, fractions)
    place = build.minimum(place, build.full_like(place, count - 1))
    found = build.take_along(rows, place, last)
    result = _finished(found, rows, axes, keepdims, skip_nan)
    return build.reshape(result, (*q.shape, *result.shape[1:]))


def _fitted(weights: Node, x: Node, axes: tuple[int, ...]) -> Node:
    """Weights in the shape of `x`; those of one axis count along the reduced one."""
    if weights.shape == x.shape:
        return weights
    if len(axes) == 1 and weights.shape == (x.shape[axes[0]],):
        return build.broadcast(weights, x.shape, axes)
    raise ShapeError(
        f"weights of shape {show(weights.shape)} for values of shape {show(x.shape)}",
        remedy="give one weight for each value, or for each place along the axis",
    )


def _fractions(q: Node, whole: float, lead: tuple[Extent, ...]) -> Node:
    """The fractions on one axis, the same for every row."""
    amount = known_size(q.shape)
    assert amount is not None
    fractions = build.reshape(build.cast(q, float64), (amount,))
    if whole != 1:
        fractions = build.div(fractions, _number(fractions, whole))
    return build.broadcast_to(fractions, (*lead, amount))


def _known_ranks(fractions: Node, method: str, extent: Extent) -> tuple[int, int] | None:
    """The first rank that is read and the one behind the last, where constants say so."""
    if not isinstance(extent, int):
        return None
    ranks = METHODS[method](_number(fractions, extent), fractions)
    leaves = [node.op.name for node in toposort([ranks]) if not node.inputs]
    if any(name not in ("constant", "array_constant") for name in leaves):
        return None
    (found,) = evaluate([ranks], {})
    if not found.size or not np.isfinite(found).all():
        return None
    low = int(np.clip(np.floor(found.min()), 0, extent - 1))
    return low, int(np.clip(np.floor(found.max()) + 1, low, extent - 1)) + 1


def _interpolated(rows: Node, place: Node, count: Node, start: int) -> Node:
    """The elements at a rank, or between the two ranks around it; `rows` begin at rank `start`."""
    dtype = rows.dtype
    zero, one = _number(place, 0), _number(place, 1)
    last = build.maximum(build.sub(count, one), zero)
    place = build.minimum(build.maximum(place, zero), last)
    low = build.floor(place)
    high = build.minimum(build.add(low, one), last)
    weight = build.cast(build.sub(place, low), dtype)
    first = _number(low, start)
    below, above = _at(rows, build.sub(low, first)), _at(rows, build.sub(high, first))
    # Equal infinities have no difference; a weight of zero takes none of the other.
    single = build.logical_or(build.eq(weight, _number(weight, 0)), build.eq(below, above))
    gap = build.select(single, _number(below, 0), build.sub(above, below))
    upper = build.sub(above, build.mul(gap, build.sub(_number(weight, 1), weight)))
    lower = build.add(below, build.mul(gap, weight))
    near_upper = build.logical_and(
        build.ge(weight, _number(weight, 0.5)), build.logical_not(single)
    )
    return build.select(near_upper, upper, lower)
