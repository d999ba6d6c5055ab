"""Rules for pieces of what was put together: a slice of a concatenation, of padding, of a slice.

Knows slices, concatenations and padding; knows no arithmetic. Only elements move: no bit changes.
"""

from __future__ import annotations

from itertools import accumulate, pairwise

from ..ir.node import Node
from ..ir.rewrite import only
from ..ir.types import Extent, Symbol
from ..ops import build
from ..ops.movement import Concat, Pad, Slice

__all__ = ["PIECES"]


@only(lambda op: isinstance(op, Slice))
def slice_of_slice(node: Node) -> Node | None:
    """x[a:b][c:d] = x[a + c:a + d], with steps likewise."""
    if not isinstance(node.op, Slice) or not isinstance(node.inputs[0].op, Slice):
        return None
    inner, x = node.inputs[0].op, node.inputs[0].inputs[0]
    starts: list[int] = []
    stops: list[Extent] = []
    steps: list[int] = []
    for axis, extent in enumerate(node.shape):
        if isinstance(extent, Symbol):
            starts.append(0)
            stops.append(extent)
            steps.append(1)
            continue
        step = inner.steps[axis] * node.op.steps[axis]
        start = inner.starts[axis] + inner.steps[axis] * node.op.starts[axis]
        whole = x.shape[axis]
        assert isinstance(whole, int)
        first = min(start, whole)
        starts.append(first)
        stops.append(first if extent == 0 else start + (extent - 1) * step + 1)
        steps.append(step)
    return build.slice_(x, starts, stops, steps)


@only(lambda op: isinstance(op, Slice))
def slice_of_concat(node: Node) -> Node | None:
    """concat(x, y, z)[a:b]: of the parts that it touches only."""
    if not isinstance(node.op, Slice) or not isinstance(node.inputs[0].op, Concat):
        return None
    op, axis, parts = node.op, node.inputs[0].op.axis, node.inputs[0].inputs
    extents = [part.shape[axis] for part in parts]
    known = [e for e in extents if isinstance(e, int)]
    start, stop, step = op.starts[axis], op.stops[axis], op.steps[axis]
    if len(known) != len(extents) or isinstance(stop, Symbol) or node.shape[axis] == 0:
        return None
    pieces = []
    for part, (low, high) in zip(parts, pairwise(accumulate(known, initial=0)), strict=True):
        # The first element of the part that the slice meets.
        first = start if start >= low else low + (start - low) % step
        if first >= min(stop, high):
            continue
        starts, stops = list(op.starts), list(op.stops)
        starts[axis], stops[axis] = first - low, min(stop, high) - low
        pieces.append(build.slice_(part, starts, stops, op.steps))
    return build.concat(pieces, axis) if len(pieces) < len(parts) else None


@only(lambda op: isinstance(op, Slice))
def slice_of_padding(node: Node) -> Node | None:
    """pad(x)[a:b]: zeros where it misses x, a slice of x where it meets nothing else."""
    if not isinstance(node.op, Slice) or not isinstance(node.inputs[0].op, Pad):
        return None
    op, padding, x = node.op, node.inputs[0].op, node.inputs[0].inputs[0]
    starts, stops = [], []
    inside = True
    for axis, extent in enumerate(x.shape):
        low, start, stop = padding.low[axis], op.starts[axis], op.stops[axis]
        if extent == node.inputs[0].shape[axis]:
            starts.append(start)
            stops.append(stop)
            continue
        if isinstance(extent, Symbol) or isinstance(stop, Symbol) or padding.interior[axis]:
            return None
        if stop <= low or start >= low + extent:
            return build.full(node.shape, 0, node.dtype)
        inside = inside and low <= start and stop <= low + extent
        starts.append(start - low)
        stops.append(stop - low)
    return build.slice_(x, starts, stops, op.steps) if inside else None


PIECES = (slice_of_slice, slice_of_concat, slice_of_padding)
