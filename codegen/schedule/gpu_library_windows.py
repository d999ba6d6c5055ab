"""Convolutions that a library computes: which products with windows are such, and what is left.

Knows the kernel language and what a library is asked for. Short windows are a convolution; long
ones, as of a derivative by a weight, are that derivative, in which images and channels change
places.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical, linear
from ..dtypes import float32, float64
from ..expr import Buffer, Const, Expr, Load, Var, walk
from ..kernel import Alloc, Kernel, Let, Store, Unfold, nested
from . import gpu_library
from .gpu_contraction import Product, match_product
from .gpu_library import Matched, Place
from .gpu_library_calls import Direction, Lattice, LibraryConvolution, Split
from .gpu_windows import without_windows
from .rewrite import expressions, replaced

__all__ = ["convolution_splits"]

AXES = 2
"""Axes of a window that a library knows at least."""


def convolution_splits(
    kernel: Kernel, size: int, shared: frozenset[int] = frozenset()
) -> Iterator[Split]:
    """The convolutions that a kernel is, the one that leaves least first; maybe none.

    Parameters
    ----------
    kernel : Kernel
        Logical.
    size : int
        The value of its sizes; what is found is right for this one alone.
    shared : frozenset of int, optional
        Parameters that are written where another one that is read may lie.
    """
    unfolds = [s for s in nested(kernel.body) if isinstance(s, Unfold)]
    if len(unfolds) != 1:
        return
    found = match_product(without_windows(kernel))
    if found is None or not all(isinstance(s, (Let, Store)) for s in found.after):
        return
    windows = _Windows(kernel, found, size, unfolds[0], shared)
    if windows.known():
        yield from (way for way in (windows.stored(), windows.apart()) if way is not None)


@final
class _Windows:
    """A product with windows, and which loop runs over what.

    `group`, `image`, `channel` and `place` are the loops over groups, images, channels of the
    result and places of windows; where windows are long, places and images are one loop.
    """

    def __init__(
        self, kernel: Kernel, found: Product, size: int, unfold: Unfold, shared: frozenset[int]
    ) -> None:
        self.matched = Matched(kernel, found, size, shared)
        self.extents = self.matched.extents
        self.unfold = unfold
        self.steps = [f.var for f in found.steps]
        windows, other = found.left, found.right
        if any(isinstance(e, Load) and e.buffer is unfold.source for e in walk(other)):
            windows, other = other, windows
        self.weight = self.matched.loaded(other)
        self.source = unfold.source.base
        loads = {
            e
            for s in nested(kernel.body)
            if not isinstance(s, (Alloc, Unfold))
            for root in expressions(s)
            for e in walk(root)
            if isinstance(e, Load) and e.buffer is unfold.target
        }
        (load,) = loads if len(loads) == 1 else (None,)
        self.load = load
        self.group: Var | None = None
        self.image: Var | None = None
        self.channel: Var | None = None
        self.place: Var | None = None

    # --- which loop is what -----------------------------------------------------------------------

    def known(self) -> bool:
        """Whether it is a convolution that a library does: which loop is what is found."""
        m, u = self.matched, self.unfold
        whole = all(isinstance(e, Const) and e.value == 0 for e in (u.first_row, u.first_column))
        work = math.prod(self.extents.values())
        if self.load is None or self.weight is None or not whole or work < gpu_library.LEAST_WORK:
            return False
        dtypes = {u.source.dtype, self.weight.dtype}
        accumulated = m.p.acc.dtype
        if len(dtypes) > 1 or accumulated not in (float32, float64):
            return False
        if not (u.source.dtype is accumulated or (u.source.dtype.is_half)):
            return False
        row, column = (self.variables(e) for e in self.load.indices)
        steps = set(self.steps)
        if row and row <= steps and not column & steps:
            self.long = False
        elif column and column <= steps and not row & steps:
            self.long = True
        else:
            return False
        return self.named(self.load.indices[0 if self.long else 1])

    def variables(self, e: Expr) -> set[Var]:
        """The loops with more than one iteration that a value depends on."""
        return {v for v in walk(replaced(e, self.matched.lets)) if self.extents.get(v, 1) > 1}  # type: ignore[call-overload,misc]

    def strides(self, e: Expr) -> tuple[int, dict[Var, int]] | None:
        """A position as a number and strides, None where it is not linear in the loops."""
        form = linear(canonical(replaced(e, self.matched.lets)))
        if any(v not in self.extents for v, _ in form.terms):
            return None
        return form.constant, {v: c for v, c in form.terms if isinstance(v, Var)}

    def named(self, place: Expr) -> bool:
        """Find the loops; False where they are others than a convolution has."""
        offset, at = self.strides(self.unfold.offset), self.strides(place)
        if offset is None or at is None or at[0]:
            return False
        self.offset, self.of_source = offset
        assert self.weight is not None
        for v in self.matched.variables:
            if self.extents[v] == 1:
                continue
            name = {
                (False, True, False): "place",
                (True, False, True): "group",
                (True, False, False): "image",
                (False, False, True): "channel",
            }.get((v in self.of_source, v in at[1], v in self.weight.strides))
            if name is None or getattr(self, name) is not None or at[1].get(v, 1) != 1:
                return False
            setattr(self, name, v)
        return not (self.long and self.image is not None)

    def extent(self, v: Var | None) -> int:
        return 1 if v is None else self.extents[v]

    # --- what is computed -------------------------------------------------------------------------

    def stored(self) -> Split | None:
        """The call where the kernel keeps its result for others too."""
        store = self.matched.bare_store()
        target = None if store is None else self.matched.place(store.buffer, store.indices)
        if store is None or target is None:
            return None
        call = self.call(target)
        return None if call is None else Split(call, after=self.matched.following(store))

    def apart(self) -> Split | None:
        """The call into memory of its own."""
        m = self.matched
        images = [] if self.long else [self.image]
        order = [*images, self.group, self.channel, self.place]
        strides, count = m.in_order([v for v in order if v is not None])
        between = Buffer("product", m.p.acc.dtype, (count,))
        call = self.call(Place(-1, between.dtype, 0, strides))
        return None if call is None else Split(call, between, m.after(between, strides))

    def call(self, target: Place) -> LibraryConvolution | None:
        """The convolution whose result lies at a place."""
        u = self.unfold
        places, taps = u.column_extents[1:], u.row_extents[1:]
        at_places, at_taps = u.column_steps, u.row_steps
        if self.long:
            places, taps, at_places, at_taps = taps, places, at_taps, at_places
        weight = self.operand(taps)
        result = self.result(places, target)
        if weight is None or result is None:
            return None
        steps, dilations = (at_taps, at_places) if self.long else (at_places, at_taps)
        image, low, high = self.image_lattice(places, taps, at_places, at_taps)
        if image is None:
            return None
        direction = Direction.WEIGHT if self.long else Direction.FORWARD
        w, y = (result, weight) if self.long else (weight, result)
        made = LibraryConvolution(direction, image, w, y, steps, dilations, low, high)
        known = all(s > 0 for lattice in (image, w, y) for s in lattice.strides)
        return _with_axes(made) if known else None

    def image_lattice(
        self,
        places: Sequence[int],
        taps: Sequence[int],
        at_places: Sequence[int],
        at_taps: Sequence[int],
    ) -> tuple[Lattice | None, tuple[int, ...], tuple[int, ...]]:
        """What the windows are of, without what no window reaches, and the zeros around it."""
        u = self.unfold
        assert u.source.strides is not None
        rows, columns, *axes = (int(s) for s in u.source.strides[1:])  # type: ignore[arg-type]
        groups = self.extent(self.group)
        if self.long:
            images, channels, of_image, of_channel = (
                *(u.column_extents[0], u.row_extents[0]),
                *(columns, rows),
            )
        else:
            images, channels = self.extent(self.image), u.row_extents[0]
            of_image, of_channel = self.of_source.get(self.image, 0), rows  # type: ignore[arg-type]
        if groups > 1:
            assert self.group is not None
            if self.of_source[self.group] != channels * of_channel and channels > 1:
                return None, (), ()
            of_channel = of_channel if channels > 1 else self.of_source[self.group]
        offset, shape, low, high = self.offset, [], [], []
        for axis, step in enumerate(axes):
            extent = u.source.shape[axis + 3]
            if not isinstance(extent, int):
                return None, (), ()
            first = max(0, -u.low[axis])
            reach = (places[axis] - 1) * at_places[axis] + (taps[axis] - 1) * at_taps[axis] + 1
            last = reach - u.low[axis]
            offset += first * step
            shape.append(min(extent, last) - first)
            low.append(max(0, u.low[axis]))
            high.append(max(0, last - extent))
        parameter = self.matched.positions.get(self.source)  # type: ignore[arg-type]
        if parameter is None or min(shape) < 1:
            return None, (), ()
        dims, strides = (images, groups * channels, *shape), (of_image, of_channel, *axes)
        made = Lattice(parameter, u.source.dtype.name, offset, dims, _positive(dims, strides))
        return made, tuple(low), tuple(high)

    def operand(self, taps: Sequence[int]) -> Lattice | None:
        """The other operand: weights, or where windows are long the derivative of the result."""
        place = self.weight
        assert place is not None
        inner = self.unfold.column_extents[0] if self.long else self.unfold.row_extents[0]
        length = math.prod(taps)
        steps = [place.strides.get(v, 0) for v in self.steps if self.extents[v] > 1]
        extents = [self.extents[v] for v in self.steps if self.extents[v] > 1]
        if extents == [inner * length]:
            of_inner, of_tap = steps[0] * length, steps[0]
        elif extents == [inner, length]:
            of_inner, of_tap = steps
        else:
            return None
        if length == 1:
            of_inner = steps[0]
        groups, outer = self.extent(self.group), self.extent(self.channel)
        of_outer = self.joined(place.strides, groups, outer)
        if of_outer is None:
            return None
        dims = (groups * outer, inner, *taps)
        strides = (of_outer, of_inner, *_by_rows(taps, of_tap))
        if self.long:
            dims, strides = (inner, groups * outer, *taps), (of_inner, of_outer, *strides[2:])
        return Lattice(
            place.parameter, place.dtype.name, place.offset, dims, _positive(dims, strides)
        )

    def result(self, places: Sequence[int], target: Place) -> Lattice | None:
        """Where the result lies, in the order that a library knows."""
        groups, outer = self.extent(self.group), self.extent(self.channel)
        of_outer = self.joined(target.strides, groups, outer)
        if of_outer is None:
            return None
        of_place = target.strides.get(self.place, 1) if self.place is not None else 1
        axes = _by_rows(places, of_place)
        if self.long:
            images = self.unfold.row_extents[0]
            dims = (groups * outer, images, *places)
            strides = (of_outer, math.prod(places) * of_place, *axes)
        else:
            dims = (self.extent(self.image), groups * outer, *places)
            of_image = 0 if self.image is None else target.strides.get(self.image, 0)
            strides = (of_image, of_outer, *axes)
        return Lattice(
            target.parameter, target.dtype.name, target.offset, dims, _positive(dims, strides)
        )

    def joined(self, strides: Mapping[Var, int], groups: int, outer: int) -> int | None:
        """The step of groups and channels as one axis, None where they are not one."""
        of_channel = 0 if self.channel is None else strides.get(self.channel, 0)
        if groups == 1:
            return of_channel
        assert self.group is not None
        of_group = strides.get(self.group, 0)
        if outer == 1:
            return of_group
        return of_channel if of_group == outer * of_channel else None


def _by_rows(extents: Sequence[int], step: int) -> tuple[int, ...]:
    """The strides of axes that lie by rows, the last one `step` apart."""
    return tuple(step * math.prod(extents[n + 1 :]) for n in range(len(extents)))


def _positive(dims: Sequence[int], strides: Sequence[int]) -> tuple[int, ...]:
    """Strides, where axes of one element have one that fits to the next axis."""
    found: list[int] = []
    reach = 1
    for d, s in zip(reversed(dims), reversed(strides), strict=True):
        found.append(s if d > 1 else reach)
        reach = d * found[-1]
    return tuple(reversed(found))


def _with_axes(made: LibraryConvolution) -> LibraryConvolution:
    """With as many axes as a library knows at least: those in front have one element."""
    more = AXES - len(made.steps)
    if more <= 0:
        return made

    def wider(lattice: Lattice) -> Lattice:
        dims = (*lattice.shape[:2], *(1,) * more, *lattice.shape[2:])
        reach = lattice.shape[2] * lattice.strides[2]
        strides = (*lattice.strides[:2], *(reach,) * more, *lattice.strides[2:])
        return replace(lattice, shape=dims, strides=strides)

    return LibraryConvolution(
        *(made.direction, wider(made.x), wider(made.w), wider(made.y)),
        *((1,) * more + made.steps, (1,) * more + made.dilations),
        *((0,) * more + made.low, (0,) * more + made.high),
    )
