"""Elements at positions that are known when the operation is recorded.

Functions from nodes to nodes, for padding, repeating, leaving out; knows no Tensor. Positions that
run up or down, or stay, become slices, so kernels and gradients need no index arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..codegen.dtypes import int64
from ..errors import IndexBoundsError, ShapeError
from ..ir.node import Node
from ..ops import build
from .indexing import count
from .shapes import show

__all__ = ["as_strided", "at_positions", "extent_of"]

Positions = npt.NDArray[np.int64]
_MOST_RUNS = 16


def extent_of(name: str, x: Node, axis: int) -> int:
    """The extent of an axis that has to be known."""
    extent = x.shape[axis]
    if not isinstance(extent, int):
        raise ShapeError(
            f"{name}: the extent {extent} of axis {axis} is not known",
            remedy="compile for known extents",
        )
    return extent


def _runs(positions: Positions) -> Iterator[tuple[int, int, int]]:
    """Maximal runs: the first position, how many, and the step between them."""
    start, size = 0, len(positions)
    steps = np.diff(positions)
    while start < size:
        if start + 1 == size or abs(steps[start]) > 1:
            step, end = 1, start + 1
        else:
            step, end = int(steps[start]), start + 1
            while end < size and steps[end - 1] == step:
                end += 1
        yield int(positions[start]), end - start, step
        start = end


def at_positions(x: Node, axis: int, positions: Any) -> Node:
    """The slices of `x` along an axis at known positions from 0."""
    places = np.asarray(positions, np.int64)
    runs = list(_runs(places))
    if not runs:
        return build.slice_axis(x, axis, 0, 0)
    if len(runs) > _MOST_RUNS:
        return build.take(x, build.array_constant(places), axis)
    parts = []
    for first, length, step in runs:
        if step == 0:
            one = build.slice_axis(x, axis, first, first + 1)
            shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
            parts.append(build.broadcast_to(one, shape))
        elif step == 1:
            parts.append(build.slice_axis(x, axis, first, first + length))
        else:
            part = build.slice_axis(x, axis, first - length + 1, first + 1)
            parts.append(build.flip(part, (axis,)))
    return build.concat(parts, axis)


def as_strided(x: Node, shape: Sequence[int], strides: Sequence[int], offset: int) -> Node:
    """The flat elements at ``offset + sum(index * strides)``."""
    if len(shape) != len(strides):
        raise ShapeError(
            f"as_strided: {len(strides)} strides for shape {show(shape)}",
            remedy="give one for each axis",
        )
    size = int(np.prod([extent_of("as_strided", x, axis) for axis in range(len(x.shape))]))
    if any(extent < 0 for extent in shape):
        raise ShapeError(
            f"as_strided: an extent of {show(shape)} is negative", remedy="give extents from 0"
        )
    if 0 in shape:
        return build.zeros(tuple(shape), x.dtype)
    ends = [(extent - 1) * stride for extent, stride in zip(shape, strides, strict=True)]
    low = offset + sum(end for end in ends if end < 0)
    high = offset + sum(end for end in ends if end > 0)
    if low < 0 or high >= size:
        raise IndexBoundsError(
            f"as_strided: shape {show(shape)} with strides {show(strides)} reaches from element "
            f"{low} to {high} of {size}",
            remedy="strides and offset are counted in elements, not in bytes",
        )
    flat = build.reshape(x, (size,))
    place = build.full(tuple(shape), offset, int64)
    for axis, (extent, stride) in enumerate(zip(shape, strides, strict=True)):
        if extent > 1 and stride:
            steps = count(range(0, extent * stride, stride))
            place = build.add(place, build.broadcast(steps, tuple(shape), (axis,)))
    return build.take(flat, place, 0)
