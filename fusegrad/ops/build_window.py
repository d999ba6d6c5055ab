"""Constructor functions of windows and convolutions: views of windows, their adjoint, layouts.

Knows the ops by name only, and which of the ways to write a convolution runs well.
"""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Sequence

from ..codegen.kernel import Monoid
from ..ir.node import Node
from ..ir.types import Extent, Symbol
from . import build
from .base import CLASSES

__all__ = [
    "convolution",
    "convolution_by_input",
    "convolution_by_weight",
    "exchange",
    "exchange_next",
    "last_to_second",
    "last_to_third",
    "merge_axes",
    "overlap",
    "second_to_last",
    "split_axis",
    "window_count",
    "window_extreme",
    "windows",
]

Shape = Sequence[Extent]
FEW_SUMS = 4
"""Fewer channels than this are summed where the windows lie, unless each is a long sum."""
ADDED = 40
"""What storing a product and adding it costs, in multiply-adds."""
MOST_TAPS = 64
"""Elements of a window that are written out where few sums share it."""
LANES = 16
"""Elements that a vector is taken to hold when a layout is chosen."""


def window_count(extent: Extent, size: Extent, stride: int, dilation: int) -> Extent | None:
    """How many windows lie in an axis; negative when it is too short, None when not known."""
    if isinstance(extent, Symbol) or isinstance(size, Symbol):
        return extent if size == 1 and stride == 1 else None
    room = extent - dilation * (size - 1) - 1
    if room < 0:
        return 0 if size == 1 else -1
    return room // stride + 1


def windows(
    x: Node, sizes: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Node:
    """Windows over the last axes: ``(..., sizes..., counts...)``."""
    params = tuple(sizes), tuple(strides), tuple(dilations)
    return Node(CLASSES["windows"](*params), (x,))


def overlap(x: Node, extents: Shape, strides: Sequence[int], dilations: Sequence[int]) -> Node:
    """Windows added at their places: the adjoint of `windows`."""
    rank = len(extents)
    lead = len(x.shape) - 2 * rank
    known = not any(isinstance(e, Symbol) for e in (*extents, *x.shape[lead:]))
    if known and x.op.name == "broadcast":
        dims: tuple[int, ...] = x.op.dims  # type: ignore[attr-defined]
        if not any(lead <= axis < lead + rank for axis in dims):
            found = _overlap_of_constants(x, lead, extents, strides, dilations)
            if found is not None:
                return found
    params = tuple(extents), tuple(strides), tuple(dilations)
    return Node(CLASSES["overlap"](*params), (x,))


def _overlap_of_constants(
    x: Node, lead: int, extents: Shape, strides: Sequence[int], dilations: Sequence[int]
) -> Node | None:
    """`overlap` of windows whose elements are all equal, as in the gradient of their sum."""
    rank = len(extents)
    sizes = [int(e) for e in x.shape[lead : lead + rank]]  # type: ignore[arg-type]
    counts = [int(e) for e in x.shape[lead + rank :]]  # type: ignore[arg-type]
    if 0 in sizes or 0 in counts:
        return None
    starts = [0] * len(x.shape)
    stops = (*x.shape[:lead], *(1 for _ in sizes), *counts)
    one = build.reshape(
        build.slice_(x, starts, stops, [1] * len(stops)), (*x.shape[:lead], *counts)
    )
    front = [0] * lead
    if all(s == k for s, k in zip(strides, sizes, strict=True)) and set(dilations) <= {1}:
        # Windows side by side: every element repeated.
        shape, kept = list(x.shape[:lead]), list(range(lead))
        for count, size in zip(counts, sizes, strict=True):
            kept.append(len(shape))
            shape += [count, size]
        covered = [count * size for count, size in zip(counts, sizes, strict=True)]
        spread = build.reshape(build.broadcast(one, shape, kept), (*x.shape[:lead], *covered))
        rest = [int(e) - c for e, c in zip(extents, covered, strict=True)]  # type: ignore[arg-type]
        return build.pad(spread, [0] * len(spread.shape), [*front, *rest])
    if set(strides) <= {1}:
        reach = [d * (k - 1) for d, k in zip(dilations, sizes, strict=True)]
        padded = build.pad(one, [*front, *reach], [*front, *reach])
        return build.sum_(windows(padded, sizes, strides, dilations), range(lead, lead + rank))
    return None


def window_extreme(
    x: Node,
    sizes: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    monoid: Monoid,
    place: bool = False,
) -> Node:
    """The first largest or smallest element of every window over the last axes, or its place."""
    params = tuple(sizes), tuple(strides), tuple(dilations), monoid, place
    return Node(CLASSES["window_extreme"](*params), (x,))


# --- axes -----------------------------------------------------------------------------------------


def merge_axes(x: Node, axis: int) -> Node:
    """`axis` and the one behind it as one."""
    a, b = x.shape[axis], x.shape[axis + 1]
    assert not isinstance(a, Symbol)
    assert not isinstance(b, Symbol)
    return build.reshape(x, (*x.shape[:axis], a * b, *x.shape[axis + 2 :]))


def split_axis(x: Node, axis: int, first: Extent) -> Node:
    """`axis` as two, of which the first has the extent `first`."""
    extent = x.shape[axis]
    assert not isinstance(extent, Symbol)
    assert not isinstance(first, Symbol)
    rest = extent // first if first else 0
    return build.reshape(x, (*x.shape[:axis], first, rest, *x.shape[axis + 1 :]))


def exchange_next(x: Node) -> Node:
    """The second and the third axis exchanged."""
    return build.transpose(x, (0, 2, 1, *range(3, len(x.shape))))


def exchange(x: Node) -> Node:
    """The first two axes exchanged."""
    if x.shape[0] == 1 or x.shape[1] == 1:
        # No element moves.
        return build.reshape(x, (x.shape[1], x.shape[0], *x.shape[2:]))
    return build.transpose(x, (1, 0, *range(2, len(x.shape))))


def last_to_second(x: Node) -> Node:
    """The last axis behind the first."""
    rank = len(x.shape)
    return build.transpose(x, (0, rank - 1, *range(1, rank - 1)))


def last_to_third(x: Node) -> Node:
    """The last axis behind the first two."""
    rank = len(x.shape)
    return build.transpose(x, (0, 1, rank - 1, *range(2, rank - 1)))


def second_to_last(x: Node) -> Node:
    """The second axis as the last."""
    return build.transpose(x, (0, *range(2, len(x.shape)), 1))


# --- convolution ----------------------------------------------------------------------------------


def convolution(
    x: Node,
    w: Node,
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int] = (),
    high: Sequence[int] = (),
) -> Node:
    """``y[g, n, o, i...] = sum over c, k... of x[g, n, c, i*s + k*d - low...] * w[g, o, c, k...]``.

    `low` and `high` say how far the windows reach beyond the ends; without them not at all.
    """
    sizes = w.shape[3:]
    low, high = (tuple(ends) or (0,) * len(sizes) for ends in (low, high))
    plain = not any((*low, *high))
    if all(size == 1 for size in sizes) and (not plain or set(strides) <= {1}):
        if not plain:
            x = build.pad(x, (0, 0, 0, *low), (0, 0, 0, *high))
        return _pointwise(x, w, strides)
    if _is_product(x, w, low, high, strides, dilations):
        params = (tuple(part) for part in (strides, dilations, low, high))
        return Node(CLASSES["window_dot"](*params), (x, w))
    if not plain:
        x = build.pad(x, (0, 0, 0, *low), (0, 0, 0, *high))
    return _without_padding(x, w, strides, dilations)


def _is_product(
    x: Node,
    w: Node,
    low: Sequence[int],
    high: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> bool:
    """Whether a matrix product with unfolded windows pays: enough sums share what is unfolded."""
    if any(isinstance(e, Symbol) for e in (*x.shape, *w.shape)) or len(strides) > 2:
        return False
    if not x.dtype.is_float or 0 in x.shape or 0 in w.shape:
        return False
    counts = []
    for extent, a, b, size, stride, dilation in zip(
        x.shape[3:], low, high, w.shape[3:], strides, dilations, strict=True
    ):
        count = window_count(extent + a + b, size, stride, dilation)
        if not isinstance(count, int) or count < 1:
            return False
        counts.append(count)
    out, *sizes = (e for e in (w.shape[1], *w.shape[3:]) if isinstance(e, int))
    batch, channels = (e for e in x.shape[1:3] if isinstance(e, int))
    if math.prod(sizes) > math.prod(counts):
        several = len(sizes) == 2 and batch >= FEW_SUMS and max(out, channels) > 1
        return out >= FEW_SUMS or several or math.prod(counts) <= MOST_TAPS
    # Fewer places than half a vector leave most of it empty.
    several = max(out, channels // 4) >= FEW_SUMS or math.prod(sizes) <= MOST_TAPS
    return several and math.prod(counts) >= LANES // 2


def _without_padding(
    x: Node, w: Node, strides: Sequence[int], dilations: Sequence[int], by_weight: bool = False
) -> Node:
    sizes = w.shape[3:]
    if all(size == 1 for size in sizes):
        return _pointwise(x, w, strides)
    counts = [
        window_count(*part) for part in zip(x.shape[3:], sizes, strides, dilations, strict=True)
    ]
    known = not any(isinstance(e, Symbol) for e in (*x.shape, *w.shape))
    if known and all(count == 1 for count in counts):
        return _single_window(x, w, dilations)
    # Along an image that fills vectors its windows are no further work for its derivative.
    along = by_weight or (known and int(counts[-1] or 0) < LANES)  # type: ignore[arg-type]
    if known and along and w.shape[1] == 1 and _long_windows(w.shape, counts):  # type: ignore[arg-type]
        return _as_reduction(x, w, counts, strides, dilations)  # type: ignore[arg-type]
    last = known and _channels_last(int(w.shape[1]), int(counts[-1] or 0), strides[-1])  # type: ignore[arg-type]
    op = CLASSES["convolution"](tuple(strides), tuple(dilations), last)
    if not last:
        return Node(op, (x, w))
    return last_to_third(Node(op, (x, second_to_last(w))))


def _channels_last(out: int, count: int, stride: int) -> bool:
    """Whether vectors are better filled by the channels of the result than by its last axis."""
    # Elements in steps are gathered; sums of several results share what one of them loads.
    spread = 1 if stride == 1 else 2 if stride <= 4 else 4
    columns = -(-count // LANES) * out * (spread + 1 / max(1, min(out, 8)))
    channels = -(-out // LANES) * count * (1 + 1 / max(1, min(count, 8)))
    return 1.25 * channels < columns


def _long_windows(weight: Sequence[int], counts: Sequence[int]) -> bool:
    """Whether there are few windows with many elements, as in the derivative by a weight."""
    return math.prod(weight[2:]) >= 64 and math.prod(weight[2:]) >= math.prod(counts)


def _as_reduction(
    x: Node, w: Node, counts: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Node:
    """One channel of long windows: products summed, so that vectors run along the windows."""
    rank = len(counts)
    # The windows as elements of other windows, so that their own elements come last.
    view = windows(x, counts, dilations, strides)
    sizes = [int(e) for e in w.shape[3:]]  # type: ignore[arg-type]
    starts = [0] * len(view.shape)
    view = build.slice_(view, starts, (*view.shape[: 3 + rank], *sizes), [1] * len(starts))
    weight = build.squeeze(w, (1,))
    kept = (0, 2, *range(3 + rank, 3 + 2 * rank))
    products = build.mul(view, build.broadcast(weight, view.shape, kept))
    result = build.sum_(products, (2, *range(3 + rank, 3 + 2 * rank)))
    return build.expand_dims(result, (2,))


def _pointwise(x: Node, w: Node, strides: Sequence[int]) -> Node:
    """Windows of one element: a matrix product for each image."""
    if any(stride > 1 for stride in strides):
        ones = [1] * len(strides)
        picked = windows(x, ones, strides, ones)
        x = build.squeeze(picked, range(3, 3 + len(strides)))
    groups, batch, channels, *places = x.shape
    size = 1
    for extent in places:
        assert not isinstance(extent, Symbol)
        size *= extent
    matrix = build.reshape(w, (groups, w.shape[1], channels))
    if size < LANES and not isinstance(batch, Symbol) and batch > 1:
        # Too few columns: those of all images.
        columns = build.reshape(exchange_next(x), (groups, channels, batch * size))
        result = build.reshape(build.dot(matrix, columns), (*matrix.shape[:2], batch, *places))
        return exchange_next(result)
    matrix = build.broadcast(matrix, (groups, batch, w.shape[1], channels), (0, 2, 3))
    result = build.dot(matrix, build.reshape(x, (groups, batch, channels, size)))
    return build.reshape(result, (groups, batch, w.shape[1], *places))


def _pointwise_by_weight(x: Node, cotangent: Node, strides: Sequence[int]) -> Node:
    """The same for windows of one element, some apart: a matrix product for each image, summed."""
    ones = [1] * len(strides)
    places = cotangent.shape[3:]
    picked = build.squeeze(windows(x, ones, strides, ones), range(3, 3 + len(strides)))
    starts = [0] * len(picked.shape)
    picked = build.slice_(picked, starts, (*picked.shape[:3], *places), [1] * len(starts))
    extents = [int(e) for e in places]  # type: ignore[arg-type]
    size = math.prod(extents)
    rows = build.reshape(cotangent, (*cotangent.shape[:3], size))
    columns = build.matrix_transpose(build.reshape(picked, (*picked.shape[:3], size)))
    result = build.sum_(build.dot(rows, columns), (1,))
    return build.reshape(result, (*result.shape, *ones))


def _single_window(x: Node, w: Node, dilations: Sequence[int]) -> Node:
    """One window that covers the input: a matrix product for the whole batch."""
    groups, out, channels = w.shape[:3]
    assert not isinstance(channels, Symbol)
    sizes = [int(k) for k in w.shape[3:]]  # type: ignore[arg-type]
    stops = [d * (k - 1) + 1 for k, d in zip(sizes, dilations, strict=True)]
    starts = [0] * len(x.shape)
    x = build.slice_(x, starts, (*x.shape[:3], *stops), (1, 1, 1, *dilations))
    size = channels * math.prod(sizes)
    rows = build.reshape(x, (groups, x.shape[1], size))
    columns = build.matrix_transpose(build.reshape(w, (groups, out, size)))
    result = build.dot(rows, columns)
    return build.reshape(result, (*result.shape, *(1 for _ in stops)))


def convolution_by_weight(
    x: Node,
    cotangent: Node,
    sizes: Shape,
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int] = (),
) -> Node:
    """The cotangent of the weight: input and cotangent convolved, batch and channels exchanged."""
    low = tuple(low) or (0,) * len(sizes)
    high: list[int] = []
    for axis, (extent, count, size) in enumerate(
        zip(x.shape[3:], cotangent.shape[3:], sizes, strict=True)
    ):
        if isinstance(extent, Symbol) or isinstance(count, Symbol) or isinstance(size, Symbol):
            high.append(0)
        else:
            used = (count - 1) * strides[axis] + dilations[axis] * (size - 1) + 1
            high.append(used - extent - low[axis] if count else 0)
    known = not any(isinstance(e, Symbol) for e in (*x.shape, *cotangent.shape))
    if known and all(size == 1 for size in sizes) and not any(low) and set(strides) != {1}:
        return _pointwise_by_weight(x, cotangent, strides)
    x, cotangent = exchange_next(x), exchange_next(cotangent)
    if _is_product(x, cotangent, low, high, dilations, strides):
        params = (tuple(part) for part in (dilations, strides, low, high))
        return Node(CLASSES["window_dot"](*params, (0, 2, 1)), (x, cotangent))
    if any((*low, *high)):
        starts = [0, 0, 0, *(max(0, -a) for a in low)]
        ends = zip(x.shape[3:], high, strict=True)
        stops = [*x.shape[:3], *(e if b >= 0 else e + b for e, b in ends)]  # type: ignore[operator]
        x = build.slice_(x, starts, stops, [1] * len(starts))
        before, behind = ([0, 0, 0, *(max(0, e) for e in ends)] for ends in (low, high))
        x = build.pad(x, before, behind)
    return exchange_next(_without_padding(x, cotangent, dilations, strides, by_weight=True))


def convolution_by_input(
    cotangent: Node,
    w: Node,
    extents: Shape,
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int] = (),
) -> Node:
    """The cotangent of the input, or a transposed convolution: windows added at their places.

    ``x[g, n, c, i*s + k*d - low...] += y[g, n, o, i...] * w[g, o, c, k...]``
    """
    low = tuple(low) or (0,) * len(extents)
    if any(s > 1 for s in strides):
        return _by_phases(cotangent, w, extents, strides, dilations, low)
    before: list[int] = []
    behind: list[int] = []
    for axis, (extent, count) in enumerate(zip(extents, cotangent.shape[3:], strict=True)):
        reach = dilations[axis] * (int(w.shape[axis + 3]) - 1)  # type: ignore[arg-type]
        before.append(reach - low[axis])
        known = not (isinstance(extent, Symbol) or isinstance(count, Symbol))
        length = count if known and count else 0
        behind.append(extent + low[axis] - length if known else low[axis])  # type: ignore[operator]
    flipped = exchange_next(build.flip(w, range(3, len(w.shape))))
    if _is_mostly_padding(cotangent, extents):
        return _added(cotangent, w, extents, dilations, low)
    return _cut(cotangent, flipped, dilations, before, behind)


def _is_mostly_padding(cotangent: Node, extents: Shape) -> bool:
    """Whether more is multiplied with padding than it takes to store all products and add them."""
    counts = cotangent.shape[3:]
    if any(isinstance(e, Symbol) for e in (*cotangent.shape, *extents)) or len(counts) > 2:
        return False
    places, channels = math.prod(counts), cotangent.shape[2]  # type: ignore[arg-type]
    spared = math.prod(extents) - places * 1.3  # type: ignore[arg-type]
    return cotangent.dtype.is_float and channels * spared > ADDED * places > 0  # type: ignore[operator]


def _added(
    cotangent: Node, w: Node, extents: Shape, dilations: Sequence[int], low: Sequence[int]
) -> Node:
    """The products of all elements of a window with all places, added where they belong."""
    groups, batch, channels = cotangent.shape[:3]
    counts, sizes = cotangent.shape[3:], w.shape[3:]
    taps, places = (math.prod(e) for e in (sizes, counts))  # type: ignore[arg-type]
    inputs = w.shape[2]
    assert not isinstance(inputs, Symbol)
    rows = exchange_next(build.reshape(w, (groups, channels, inputs * taps)))
    rows = build.broadcast(rows, (groups, batch, *rows.shape[1:]), (0, 2, 3))
    product = build.dot(rows, build.reshape(cotangent, (groups, batch, channels, places)))
    product = build.reshape(product, (groups, batch, inputs, *sizes, *counts))
    reach = [
        int(count) + dilation * (int(size) - 1)  # type: ignore[arg-type]
        for count, size, dilation in zip(counts, sizes, dilations, strict=True)
    ]
    whole = overlap(product, reach, [1] * len(reach), dilations)
    starts = [0, 0, 0, *low]
    behind = [int(e) + a - r for e, a, r in zip(extents, low, reach, strict=True)]  # type: ignore[arg-type]
    whole = build.pad(whole, [0] * len(starts), [0, 0, 0, *(max(0, e) for e in behind)])
    stops = [e + a for e, a in zip((*whole.shape[:3], *extents), starts, strict=True)]  # type: ignore[operator]
    return build.slice_(whole, starts, stops, [1] * len(starts))


def _cut(
    x: Node, w: Node, dilations: Sequence[int], low: Sequence[int], high: Sequence[int]
) -> Node:
    """A convolution of steps 1, where padding less than zero cuts."""
    ones = [1] * len(low)
    single = all(size == 1 for size in w.shape[3:])
    if not single and _is_product(x, w, low, high, ones, dilations):
        return convolution(x, w, ones, dilations, low, high)
    if min(*low, *high, 0) < 0:
        starts = [0, 0, 0, *(max(0, -a) for a in low)]
        ends = zip(x.shape[3:], high, strict=True)
        stops = [*x.shape[:3], *(e if b >= 0 else e + b for e, b in ends)]  # type: ignore[operator]
        x = build.slice_(x, starts, stops, [1] * len(starts))
        low, high = ([max(0, e) for e in ends] for ends in (low, high))
    if single:
        # What no window meets is zero.
        result = _pointwise(x, w, ones)
        return build.pad(result, (0, 0, 0, *low), (0, 0, 0, *high))
    return convolution(x, w, ones, dilations, low, high)


def _by_phases(
    cotangent: Node,
    w: Node,
    extents: Shape,
    strides: Sequence[int],
    dilations: Sequence[int],
    low: Sequence[int],
) -> Node:
    """As many small convolutions as there are remainders of a place by the strides, interleaved.

    Places with the same remainder meet the same part of the weight, so no zeros are multiplied.
    """
    counts = [int(e) for e in cotangent.shape[3:]]  # type: ignore[arg-type]
    sizes = [int(e) for e in w.shape[3:]]  # type: ignore[arg-type]
    lengths = [-(-int(e) // s) for e, s in zip(extents, strides, strict=True)]  # type: ignore[arg-type]
    shape = (*w.shape[:1], cotangent.shape[1], w.shape[2], *lengths)
    parts: list[Node] = []
    # A place s*l + phase meets the elements k = first, first + s/g, ... of the weight, where g
    # divides stride and dilation.
    common = [math.gcd(s, d) for s, d in zip(strides, dilations, strict=True)]
    apart = tuple(s // g for s, g in zip(strides, common, strict=True))
    moves = [d // g for d, g in zip(dilations, common, strict=True)]
    for phase in itertools.product(*map(range, strides)):
        met = [
            _first_met(p + a, s, d)
            for p, a, s, d in zip(phase, low, strides, dilations, strict=True)
        ]
        first, moved = (tuple(each) for each in zip(*met, strict=True))
        taps = [-(-(k - f) // a) for k, f, a in zip(sizes, first, apart, strict=True)]
        if min(taps) <= 0 or 0 in counts or 0 in lengths:
            parts.append(build.zeros(shape, cotangent.dtype))
            continue
        part = build.slice_(w, (0, 0, 0, *first), w.shape, (1, 1, 1, *apart))
        # Exchanged last: what is stored has the order of the weight, and the rest is a view of it.
        part = exchange_next(build.flip(part, range(3, len(w.shape))))
        reach = [d * (tap - 1) for d, tap in zip(moves, taps, strict=True)]
        before = [r - m for r, m in zip(reach, moved, strict=True)]
        behind = [
            length + r - count - b
            for length, r, count, b in zip(lengths, reach, counts, before, strict=True)
        ]
        parts.append(_cut(cotangent, part, moves, before, behind))
    starts, ones = [0] * len(shape), [1] * len(shape)
    return build.slice_(_interleaved(parts, strides), starts, (*shape[:3], *extents), ones)


def _first_met(place: int, stride: int, dilation: int) -> tuple[int, int]:
    """The first element k of a window that meets a place, and the window: ``i*s + k*d = place``.

    An element behind every window where none does.
    """
    for k in range(stride):
        if (place - k * dilation) % stride == 0:
            return k, (place - k * dilation) // stride
    return sys.maxsize, 0


def _interleaved(parts: Sequence[Node], strides: Sequence[int]) -> Node:
    """Places in turn from as many parts as the strides have phases, the last axis fastest."""
    for axis in range(len(strides) - 1, -1, -1):
        stride, place = strides[axis], 4 + axis
        rows = [parts[i : i + stride] for i in range(0, len(parts), stride)]
        stacks = [
            build.concat([build.expand_dims(part, (place,)) for part in row], place) for row in rows
        ]
        parts = [merge_axes(stack, place - 1) for stack in stacks]
    (result,) = parts
    return result
