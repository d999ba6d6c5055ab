"""Products with windows: from a stage to loops around a matrix of windows.

Knows both orders of the loops: columns of windows, one for each place, or rows.
"""

from __future__ import annotations

import math
from typing import final

from ..codegen.affine import split_index
from ..codegen.dtypes import int64
from ..codegen.expr import Buffer, Expr, Load, Var, index
from ..codegen.kernel import Alloc, Any, Monoid, Role, Tree, Unfold
from ..codegen.scalar import apply
from ..ir.node import Node
from ..ops.window_dot import WindowDot
from ..passes.convolutions import has_long_windows, operands_of, strides_of
from ..passes.regions import Region, size_of
from ..passes.views import shape_of
from .build import Builder, Lowered
from .rows import identity

__all__ = ["lower_window_dot"]


def lower_window_dot(region: Region, outside: frozenset[Node], name: str) -> Lowered:
    """The kernel of a product with windows, and of what follows each of its elements.

    Short windows: ``for g for n { unfold; for o for i { tree(sum) over c*k; epilogue } }``; long
    ones: ``for g { unfold; for n*i for o { tree(sum) over c { tree(sum) over k }; epilogue } }``.
    """
    return _Product(region, outside, name).lower()


@final
class _Product:
    def __init__(self, region: Region, outside: frozenset[Node], name: str) -> None:
        self.region = region
        self.outside = outside
        self.name = name
        self.root = region.stages[0].node
        assert isinstance(self.root.op, WindowDot)
        self.op = self.root.op
        own = {s.node for s in region.stages}
        external = frozenset(n for s in region.stages for n in s.access.reads) - own
        self.builder = Builder(lambda n: n not in external)
        self.x, self.w = self.root.inputs
        self.bases = operands_of(self.root, external.__contains__)
        self.groups, self.batch, self.channels = shape_of(self.x)[:3]
        self.out, self.sizes = shape_of(self.w)[1], shape_of(self.w)[3:]
        self.counts = shape_of(self.root)[3:]
        self.acc = Var("a", self.root.dtype)
        self.size = Var("n", int64)

    def lower(self) -> Lowered:
        group = Var("g", extent=self.size)
        self.builder.scope.open(group)
        if has_long_windows(self.root):
            self._rows(group)
        else:
            self._columns(group)
        self.builder.scope.close(group, self.size, Any())
        return self.builder.finished(self.name, self.size, self.groups)

    def _columns(self, group: Var) -> None:
        scope = self.builder.scope
        places, depth = math.prod(self.counts), self.channels * math.prod(self.sizes)
        image = Var("b", extent=self.batch)
        scope.open(image)
        unfolded = self._unfold(group, image, (self.channels, *self.sizes), (1, *self.counts))
        o, p = Var("o", extent=self.out), Var("p", extent=places)
        scope.open(o)
        scope.open(p)
        k = Var("k", extent=depth)
        weight = self._weight([group, o, *self._places(k)], [0, 1, 2, len(self.w.shape) - 1])
        self._sum(k, depth, apply("mul", weight, Load(unfolded, (k, p))))
        self._epilogue(group, image, o, p)
        scope.close(p, places, Any())
        scope.close(o, self.out, Any())
        scope.close(image, self.batch, Any())

    def _rows(self, group: Var) -> None:
        scope = self.builder.scope
        rows, length = self.batch * math.prod(self.counts), math.prod(self.sizes)
        columns = (self.channels, *self.sizes)
        unfolded = self._unfold(group, None, (self.batch, *self.counts), columns)
        r, o = Var("r", extent=rows), Var("o", extent=self.out)
        scope.open(r)
        scope.open(o)
        c, k = Var("c", extent=self.channels), Var("k", extent=length)
        scope.open(c)
        weight = self._weight([group, o, c, k], [0, 1, 2, len(self.w.shape) - 1])
        column = apply("add", apply("mul", c, index(length)), k)
        part = Var("s", self.root.dtype)
        scope.open(k)
        start = identity(Monoid.SUM, self.root.dtype)
        product = apply("mul", Load(unfolded, (r, column)), weight)
        scope.close(k, length, Tree((Monoid.SUM,)), [(part, start)], [product])
        scope.close(c, self.channels, Tree((Monoid.SUM,)), [(self.acc, start)], [part])
        places = math.prod(self.counts)
        image, place = split_index(r, (self.batch, places))
        self._epilogue(group, image, o, place)
        scope.close(o, self.out, Any())
        scope.close(r, rows, Any())

    # --- operands ---------------------------------------------------------------------------------

    def _unfold(
        self,
        group: Var,
        image: Var | None,
        rows: tuple[int, ...],
        columns: tuple[int, ...],
    ) -> Buffer:
        """The matrix of windows: of one image in columns, or of all in rows."""
        base = self.bases[0]
        first, steps = strides_of(self.x, base)
        buffer = self.builder.buffer(base, Role.IN, (size_of(base),))
        self.builder.note_read(base, (group, index(-1)))
        offset = apply("add", index(first), apply("mul", group, index(steps[0])))
        outer = (steps[1], steps[2])
        if image is not None:
            offset = apply("add", offset, apply("mul", image, index(steps[1])))
            outer = (steps[2], 0)
        shape = (1, 1, 1, *shape_of(self.x)[3:])
        view = Buffer(buffer.name, buffer.dtype, shape, (1, *outer, *steps[3:]), "view", buffer)
        height, width = math.prod(rows), math.prod(columns)
        target = Buffer("u", self.root.dtype, (height, width), space="row")
        scope = self.builder.scope
        scope.emit(Alloc(target))
        # A row is a place, or an element of the windows.
        row_steps, column_steps = self.op.strides, self.op.dilations
        if image is not None:
            row_steps, column_steps = column_steps, row_steps
        zero = index(0)
        scope.emit(
            Unfold(
                target,
                view,
                offset,
                rows,
                columns,
                row_steps,
                column_steps,
                self.op.low,
                zero,
                index(height),
                zero,
                index(width),
            )
        )
        return target

    def _places(self, k: Var) -> tuple[Expr, Expr]:
        """The channel that an element of the sum is of, and the element of the window."""
        taps = math.prod(self.sizes)
        _, steps = strides_of(self.w, self.bases[1])
        if taps == 1:
            return k, index(0)
        if steps[2] == taps * self._unit():
            # One step for both.
            return index(0), k
        return apply("divtrunc", k, index(taps)), apply("remtrunc", k, index(taps))

    def _unit(self) -> int:
        """The step from one element of a window of the weight to the next."""
        shape, (_, steps) = shape_of(self.w), strides_of(self.w, self.bases[1])
        inner = [steps[axis] for axis in range(3, len(shape)) if shape[axis] != 1]
        return inner[-1] if inner else 1

    def _weight(self, variables: list[Expr], axes: list[int]) -> Expr:
        """The weight's element; the last axes are one."""
        base = self.bases[1]
        first, steps = strides_of(self.w, base)
        shape = shape_of(self.w)
        flat: Expr = index(first)
        for variable, axis in zip(variables, axes, strict=True):
            step = self._unit() if axis == len(shape) - 1 else steps[axis]
            flat = apply("add", flat, apply("mul", variable, index(step)))
        buffer = self.builder.buffer(base, Role.IN, (size_of(base),))
        self.builder.note_read(base, (flat, index(-1)))
        return Load(buffer, (flat,))

    # --- results ----------------------------------------------------------------------------------

    def _sum(self, k: Var, depth: int, product: Expr) -> None:
        scope = self.builder.scope
        scope.open(k)
        start = identity(Monoid.SUM, self.root.dtype)
        scope.close(k, depth, Tree((Monoid.SUM,)), [(self.acc, start)], [product])

    def _epilogue(self, group: Expr, image: Expr, o: Expr, place: Expr) -> None:
        """Store the sum and what follows from it, at the same element."""
        flat: Expr = index(0)
        first, extents = (group, image, o), (self.groups, self.batch, self.out)
        order, places = self.op.order, math.prod(self.counts)
        indices = (*(first[axis] for axis in order), place)
        outer = (1, *(extents[axis] for axis in order[1:]), places)
        for i, extent in zip(indices, outer, strict=True):
            flat = apply("add", apply("mul", flat, index(extent)), i)
        self.builder.overrides[self.root] = lambda _: self.acc
        for stage in self.region.stages:
            if stage.node not in self.outside:
                continue
            here = split_index(flat, shape_of(stage.node))
            is_root = stage.node is self.root
            value = self.acc if is_root else self.builder.read(stage.node, here)
            self.builder.store(stage.node, here, value)
