"""The schedule of elementwise loops that read across memory: square tiles, turned by a copy.

Holds the tile size. A loop that steps through memory in its last variable uses one element of every
cache line it touches; a tile is copied row by row of the source, turned in registers, and read in
order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import final

from ..affine import canonical, linear
from ..expr import Apply, Buffer, Expr, Extent, Load, Var, index, walk
from ..kernel import (
    Alloc,
    Any,
    Copy,
    For,
    Let,
    Parallel,
    Prefetch,
    Serial,
    Stmt,
    Store,
    Vector,
    nested,
)
from ..records import dataclass
from ..scalar import apply
from .rewrite import expressions, flat_offset, replaced, stride_of, substitute

__all__ = ["TiledLoops", "tile_transposed"]

ROWS, COLUMNS = 32, 32
"""A tile: elements in a row along the source's memory, and along the result's."""

LEAST = 16
"""Shorter axes are read as they are."""


@final
@dataclass(frozen=True)
class TiledLoops:
    """The parallel loop, and the number of its items."""

    loop: For
    items: int


@final
@dataclass(frozen=True)
class _Turned:
    """A load that runs along `outer` in memory, `stride` elements apart along the last loop."""

    load: Load
    outer: int
    stride: int


def tile_transposed(
    outer: Sequence[For],
    last: For,
    size: int,
    lanes: int,
    lets: Mapping[Var, Expr],
    streamed: frozenset[Buffer] = frozenset(),
) -> TiledLoops | None:
    """The loops in tiles, or None when no load is transposed.

    Stores to `streamed` buffers go around the cache where every vector is aligned.
    """
    turned = _turned_loads(outer, last, lets)
    if not turned:
        return None
    axis = turned[0].outer
    turned = [t for t in turned if t.outer == axis]
    extent = last.extent
    if not isinstance(extent, int) or extent < LEAST or _trip(outer[axis].extent, size) < LEAST:
        return None
    body = tuple(_aligned(s, outer, last, lanes, lets, streamed) for s in last.body)
    return _Tiles(outer, replace(last, body=body), size, lanes, axis, turned).run()


def _aligned(
    statement: Stmt,
    outer: Sequence[For],
    last: For,
    lanes: int,
    lets: Mapping[Var, Expr],
    streamed: frozenset[Buffer],
) -> Stmt:
    """A store that may go around the cache: every row of every tile begins at a whole vector."""
    if not isinstance(statement, Store) or statement.buffer not in streamed:
        return statement
    buffer, indices = statement.buffer, statement.indices
    strides = [stride_of(buffer, indices, f.var, lets) for f in outer]
    whole = all(s is not None and s % lanes == 0 for s in strides)
    in_order = stride_of(buffer, indices, last.var, lets) == 1
    if not (whole and in_order and isinstance(last.extent, int) and last.extent % lanes == 0):
        return statement
    return replace(statement, nontemporal=True)


def _trip(extent: Extent | Expr, size: int) -> int:
    return extent if isinstance(extent, int) else size


def _turned_loads(outer: Sequence[For], last: For, lets: Mapping[Var, Expr]) -> list[_Turned]:
    found: dict[Load, _Turned] = {}
    loops = {f.var for f in (*outer, last)}
    bound = {s.var for f in (*outer, last) for s in nested(f.body) if isinstance(s, Let)}
    written = {s.buffer for s in nested(last.body) if hasattr(s, "buffer")}
    for statement in nested(last.body):
        stack = list(expressions(statement))
        while stack:
            e = stack.pop()
            if isinstance(e, Apply):
                stack.extend(e.args)
            if not isinstance(e, Load) or e in found or e.buffer in written:
                continue
            stride = stride_of(e.buffer, e.indices, last.var, lets)
            if stride is None or stride in (0, 1, -1) or e.dtype.itemsize < 4:
                continue
            # The tile is copied before anything that the loops' bodies bind is known.
            atoms = [atom for atom, _ in linear(flat_offset(e.buffer, e.indices)).terms]
            if any(a not in loops and (a in bound or not isinstance(a, Var)) for a in atoms):
                continue
            for position, loop in enumerate(outer):
                if stride_of(e.buffer, e.indices, loop.var, lets) == 1 and stride > 1:
                    found[e] = _Turned(e, position, stride)
    return list(found.values())


class _Tiles:
    def __init__(
        self,
        outer: Sequence[For],
        last: For,
        size: int,
        lanes: int,
        axis: int,
        turned: Sequence[_Turned],
    ) -> None:
        self.outer, self.last, self.size, self.lanes = outer, last, size, lanes
        self.axis, self.turned = axis, turned
        self.item = Var("item")

    def run(self) -> TiledLoops:
        values, items = self._decompose()
        row0 = Var("row0")
        column0 = Var("column0")
        rows, columns = Var("rows"), Var("columns")
        lets: list[Stmt] = [
            Let(row0, values.pop("row")),
            Let(column0, values.pop("column")),
            Let(rows, _left(self.outer[self.axis].extent, row0, ROWS)),
            Let(columns, _left(self.last.extent, column0, COLUMNS)),
        ]
        fixed: dict[Expr, Expr] = {}
        for position, loop in enumerate(self.outer):
            if position != self.axis:
                var = Var(loop.var.name)
                lets.append(Let(var, values[str(position)]))
                fixed[loop.var] = var
        origin: dict[Expr, Expr] = {
            **fixed,
            self.outer[self.axis].var: row0,
            self.last.var: column0,
        }
        copies: list[Stmt] = []
        tiles: dict[Load, Buffer] = {}
        for number, t in enumerate(self.turned):
            tile = Buffer(f"t{number}", t.load.dtype, (ROWS, COLUMNS), space="tile")
            tiles[t.load] = tile
            copies += [Alloc(tile), self._copy(t, tile, origin, rows, columns)]
        body = self._body(tiles, fixed, row0, column0, rows, columns)
        loop = For(self.item, items, Any(), (*lets, *copies, body), mapping=Parallel())
        return TiledLoops(loop, items)

    def _decompose(self) -> tuple[dict[str, Expr], int]:
        """The item as block of rows, block of columns and the other outer variables."""
        rows = -(-_trip(self.outer[self.axis].extent, self.size) // ROWS)
        columns = -(-_trip(self.last.extent, self.size) // COLUMNS)
        digits = [("row", rows, ROWS), ("column", columns, COLUMNS)]
        for position in range(len(self.outer) - 1, -1, -1):
            if position != self.axis:
                digits.append((str(position), _trip(self.outer[position].extent, self.size), 1))
        values: dict[str, Expr] = {}
        rest: Expr = self.item
        items = 1
        for number, (name, count, scale) in enumerate(digits):
            last = number == len(digits) - 1
            part = rest if last else canonical(apply("remtrunc", rest, index(count)))
            values[name] = apply("mul", part, index(scale))
            rest = rest if last else canonical(apply("divtrunc", rest, index(count)))
            items *= count
        return values, items

    def _copy(
        self, t: _Turned, tile: Buffer, origin: Mapping[Expr, Expr], rows: Expr, columns: Expr
    ) -> Stmt:
        buffer = t.load.buffer
        offset = flat_offset(buffer, t.load.indices)
        (let,) = substitute([Let(Var("offset"), offset)], origin)
        assert isinstance(let, Let)
        view = Buffer(buffer.name, buffer.dtype, (1, 1, 1), (1, 1, t.stride), "view", buffer)
        return Copy(tile, view, (let.value, index(0), index(0)), 1, 2, rows, columns)

    def _body(
        self,
        tiles: Mapping[Load, Buffer],
        fixed: dict[Expr, Expr],
        row0: Var,
        column0: Var,
        rows: Expr,
        columns: Expr,
    ) -> For:
        i, j = Var("r", extent=ROWS), Var("c", extent=COLUMNS)
        values: dict[Expr, Expr] = {
            **fixed,
            self.outer[self.axis].var: apply("add", row0, i),
            self.last.var: apply("add", column0, j),
        }
        for load, tile in tiles.items():
            values[load] = Load(tile, (i, j))
        outer_lets = [s for f in self.outer for s in f.body if isinstance(s, Let)]
        inner = (*self._ahead(fixed, row0, column0, i, j), *substitute(self.last.body, values))
        vector = For(j, columns, Any(), inner, mapping=Vector(self.lanes, 2))
        return For(i, rows, Serial(), (*substitute(outer_lets, values), vector))

    def _ahead(
        self, fixed: Mapping[Expr, Expr], row0: Var, column0: Var, i: Var, j: Var
    ) -> list[Stmt]:
        """While a tile is computed on, what the next one reads comes from memory."""
        following = apply("add", row0, index(ROWS))
        turned = dict.fromkeys(t.load for t in self.turned)
        result: list[Stmt] = []
        for load in (*turned, *self._in_order()):
            row, column = (j, i) if load in turned else (i, j)
            at = {
                **fixed,
                self.outer[self.axis].var: apply("add", following, row),
                self.last.var: apply("add", column0, column),
            }
            place = tuple(canonical(replaced(x, at)) for x in load.indices)
            result.append(Prefetch(load.buffer, place))
        return result

    def _in_order(self) -> list[Load]:
        """What is read as the result is written: row by row."""
        loops = {f.var for f in (*self.outer, self.last)}
        found: dict[Load, None] = {}
        for statement in self.last.body:
            for e in (e for x in expressions(statement) for e in walk(x)):
                if not isinstance(e, Load) or e.buffer.space != "param":
                    continue
                terms = linear(flat_offset(e.buffer, e.indices)).terms
                if all(atom in loops for atom, _ in terms):
                    along = stride_of(e.buffer, e.indices, self.last.var, {})
                    across = stride_of(e.buffer, e.indices, self.outer[self.axis].var, {})
                    if along == 1 and across:
                        found[e] = None
        return list(found)


def _left(extent: Extent | Expr, start: Expr, most: int) -> Expr:
    total = extent if isinstance(extent, Expr) else index(extent)
    return apply("minimum", index(most), apply("sub", total, start))
