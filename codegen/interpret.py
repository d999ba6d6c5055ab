"""The meaning of kernels, in NumPy: what emitted code is compared with.

Knows the kernel language, logical and mapped; knows no targets. Slow, and never part of a step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, final

import numpy as np

from .accesses import memory
from .dtypes import float32, uint32
from .evaluate import evaluate
from .expr import Buffer, Expr, Extent, Load, Var, walk
from .half import as_words, unpaired, without_least
from .kernel import (
    Alloc,
    Arrange,
    Contract,
    Copy,
    For,
    Grid,
    If,
    Inner,
    Kernel,
    Let,
    Mma,
    Parallel,
    Placed,
    Prefetch,
    Role,
    Serial,
    Stmt,
    Store,
    Sync,
    Tree,
    Unfold,
    Vector,
    nested,
)
from .kernel import Any as Independent
from .meanings import converted, fma
from .monoids import COMBINE, combined, identity, reduced
from .multiplying import mma_loops
from .printer import print_statement

__all__ = ["interpret_kernel"]

Array = np.ndarray[Any, Any]

LANES = 1 << 20
"""How many iterations are evaluated at once, at most."""


def interpret_kernel(
    kernel: Kernel, arrays: Sequence[Array], sizes: Sequence[int], *, chunks: int = 1
) -> None:
    """Run `kernel` on `arrays`, in place.

    Parameters
    ----------
    kernel : Kernel
        Logical or mapped.
    arrays : sequence of numpy.ndarray
        One for each parameter, C-contiguous, in the parameter's shape or flat; flat memory where
        the parameter has strides. The array of a partial parameter is where its copies end up
        combined.
    sizes : sequence of int
    chunks : int
        In how many pieces the outermost loop runs. Each has its own copies of partial parameters.

    Raises
    ------
    IndexError
        If a load or store is out of bounds.
    ValueError
        If an array does not belong to its parameter.
    """
    with np.errstate(all="ignore"):
        _Run(kernel, arrays, sizes).run(chunks)


@final
class _Memory:
    """The elements of a buffer and how indices lead to them; a view has no bounds of its own.

    ``lane`` is what one lane has of the elements, when each has its own.
    """

    __slots__ = ("data", "lane", "shape", "strides")

    def __init__(
        self,
        data: Array,
        shape: tuple[int, ...] | None,
        strides: tuple[int, ...],
        lane: int = 0,
    ) -> None:
        self.data = data
        self.shape = shape
        self.strides = strides
        self.lane = lane


@final
class _Run:
    def __init__(self, kernel: Kernel, arrays: Sequence[Array], sizes: Sequence[int]) -> None:
        if len(arrays) != len(kernel.params) or len(sizes) != len(kernel.sizes):
            raise ValueError(
                f"{kernel.name} takes {len(kernel.params)} arrays and {len(kernel.sizes)} sizes, "
                f"not {len(arrays)} and {len(sizes)}"
            )
        self.kernel = kernel
        self.env: dict[Var, Any] = {
            var: np.int64(size) for var, size in zip(kernel.sizes, sizes, strict=True)
        }
        self.memories: dict[Buffer, _Memory] = {}
        self.statement: Stmt | None = None
        self.mask: Array | None = None
        self.lanes = 1
        self.vector = False
        self.plans: dict[For, list[For] | None] = {}
        for param, array in zip(kernel.params, arrays, strict=True):
            self._bind(param.buffer, array)

    # --- chunks -----------------------------------------------------------------------------------

    def run(self, chunks: int) -> None:
        body = self.kernel.body
        last = body[-1] if body else None
        partial = [p for p in self.kernel.params if p.role is Role.PARTIAL]
        results = [self.memories[p.buffer] for p in partial]
        copies: list[list[Array]] = []
        for lo, hi in self._ranges(chunks):
            for p, result in zip(partial, results, strict=True):
                assert p.monoid is not None
                start = np.full_like(result.data, identity(p.monoid, p.buffer))
                self.memories[p.buffer] = _Memory(start, result.shape, result.strides)
            copies.append([self.memories[p.buffer].data for p in partial])
            if lo is None or not isinstance(last, For):
                self._block(body)
            else:
                self._block(body[:-1])
                self._loop(last, lo, hi)
        for position, (p, result) in enumerate(zip(partial, results, strict=True)):
            assert p.monoid is not None
            total = copies[0][position]
            for chunk in copies[1:]:
                total = COMBINE[p.monoid](total, chunk[position])
            result.data[...] = total
            self.memories[p.buffer] = result
        self._block(self.kernel.finish)

    def _ranges(self, chunks: int) -> list[tuple[int | None, int]]:
        """The ranges of the outermost loop; None where the kernel has no loop to be dealt."""
        body = self.kernel.body
        last = body[-1] if body else None
        if not isinstance(last, For) or not isinstance(last.order, Independent) or last.carry:
            return [(None, 0)]
        mapped = isinstance(last.mapping, (Parallel, Vector, Grid))
        if not mapped and any(not isinstance(s, (Let, Alloc)) for s in body[:-1]):
            return [(None, 0)]
        if isinstance(last.extent, Expr):
            self._block(body[:-1])
        n = self._extent(last.extent)
        return [(n * c // chunks, n * (c + 1) // chunks) for c in range(chunks)]

    # --- memory -----------------------------------------------------------------------------------

    def _bind(self, buffer: Buffer, array: Array) -> None:
        if array.dtype != buffer.dtype.numpy or not array.flags.c_contiguous:
            raise ValueError(
                f"{buffer.name} takes a contiguous array of {buffer.dtype}, not {array.dtype}"
            )
        shape, strides = self._layout(buffer)
        size = int(np.prod(shape, dtype=np.int64))
        if buffer.strides is None and array.size != size:
            raise ValueError(f"{buffer.name} has {size} elements, not {array.size}")
        self.memories[buffer] = _Memory(array.reshape(-1), shape, strides)

    def _layout(self, buffer: Buffer) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shape = tuple(self._extent(e) for e in buffer.shape)
        if buffer.strides is not None:
            return shape, tuple(self._extent(s) for s in buffer.strides)
        strides: list[int] = []
        inner = 1
        for extent in reversed(shape):
            strides.append(inner)
            inner *= extent
        return shape, tuple(reversed(strides))

    def _memory(self, buffer: Buffer) -> _Memory:
        found = self.memories.get(buffer)
        if found is None or buffer.base is not None:
            if buffer.base is None:
                raise KeyError(f"{buffer.name} is not allocated here{self._where()}")
            data = as_words(self._memory(memory(buffer)).data, buffer.dtype.numpy)
            found = _Memory(data, None, self._layout(buffer)[1])
        return found

    def _offset(self, buffer: Buffer, indices: Sequence[Any]) -> Any:
        """The place of an element in its memory; lanes that are masked out point at the first."""
        m = self._memory(buffer)
        offset: Any = np.int64(0)
        for axis, (i, stride) in enumerate(zip(indices, m.strides, strict=True)):
            if m.shape is not None:
                self._check(buffer, i, m.shape[axis], axis)
            offset = offset + i * np.int64(stride)
        if m.shape is None or buffer.strides is not None:
            self._check(buffer, offset, m.data.size, None)
        if m.lane:
            offset = offset + np.arange(self.lanes) * m.lane
        return offset if self.mask is None else np.where(self.mask, offset, 0)

    def _check(self, buffer: Buffer, i: Any, extent: int, axis: int | None) -> None:
        wrong = (np.asarray(i) < 0) | (np.asarray(i) >= extent)
        if self.mask is not None:
            wrong = wrong & self.mask
        if np.any(wrong):
            bad = np.broadcast_to(i, np.shape(wrong))[wrong].flat[0] if np.ndim(wrong) else i
            place = "its memory" if axis is None else f"axis {axis}"
            text = f"{buffer.name}: index {bad} is outside of {place}, 0 to {extent - 1}"
            raise IndexError(f"{text}{self._where()}")

    def _where(self) -> str:
        return "" if self.statement is None else f", in\n{print_statement(self.statement)}"

    # --- values -----------------------------------------------------------------------------------

    def _value(self, expr: Expr) -> Any:
        return evaluate(expr, self.env, self._load)

    def _load(self, e: Load, indices: tuple[Any, ...]) -> Any:
        offset = self._offset(e.buffer, indices)
        return self._memory(e.buffer).data[offset]

    def _extent(self, extent: Extent | Expr) -> int:
        return extent if isinstance(extent, int) else int(self._value(extent))

    # --- statements -------------------------------------------------------------------------------

    def _block(self, statements: Sequence[Stmt]) -> None:
        for s in statements:
            self.statement = s
            if isinstance(s, Let):
                self.env[s.var] = self._value(s.value)
            elif isinstance(s, Store):
                self._store(s)
            elif isinstance(s, For):
                self._loop(s, 0, self._extent(s.extent))
            elif isinstance(s, If):
                self._if(s)
            elif isinstance(s, Alloc):
                self._alloc(s.buffer)
            elif isinstance(s, Copy):
                self._copy(s)
            elif isinstance(s, Contract):
                self._contract(s)
            elif isinstance(s, Placed):
                self._placed(s)
            elif isinstance(s, Inner):
                self._inner(s)
            elif isinstance(s, Unfold):
                self._unfold(s)
            elif isinstance(s, Mma):
                self._block(mma_loops(s))
            elif isinstance(s, Arrange):
                self._arrange(s)
            elif not isinstance(s, (Prefetch, Sync)):
                raise TypeError(f"no statement {type(s).__name__}")

    def _alloc(self, buffer: Buffer) -> None:
        """Memory full of values that show when they are used."""
        shape, strides = self._layout(buffer)
        fill = np.nan if buffer.dtype.is_float else buffer.dtype.highest
        size = int(np.prod(shape, dtype=np.int64))
        if buffer.strides is not None:
            size = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if size else 0
        data = np.full(size * self.lanes, fill, buffer.dtype.numpy)
        self.memories[buffer] = _Memory(data, shape, strides, size if self.vector else 0)

    def _if(self, s: If) -> None:
        condition = self._value(s.condition)
        if not self.vector:
            if condition:
                self._block(s.then)
            return
        outer = self.mask
        mask = np.broadcast_to(condition, (self.lanes,))
        self.mask = mask if outer is None else mask & outer
        if self.mask.any():
            self._block(s.then)
        self.mask = outer

    def _store(self, s: Store) -> None:
        offset = self._offset(s.buffer, [self._value(i) for i in s.indices])
        value = self._value(s.value)
        data = self._memory(s.buffer).data
        if self.vector:
            offset = np.broadcast_to(offset, (self.lanes,))
            value = np.broadcast_to(value, (self.lanes,))
            if self.mask is not None:
                offset, value = offset[self.mask], value[self.mask]
        if s.monoid is None:
            data[offset] = value
        else:
            COMBINE[s.monoid].at(data, offset, value)

    # --- loops ------------------------------------------------------------------------------------

    def _loop(self, loop: For, lo: int, hi: int) -> None:
        chain = self._chain(loop)
        state = [self._value(start) for _, start in loop.carry]
        if chain is not None:
            state = self._at_once(loop, chain, lo, hi, state)
        elif isinstance(loop.order, Tree):
            for i in range(lo, hi):
                given = self._iteration(loop, i)
                state = combined(loop.order.monoids, state, given)
        else:
            for i in range(lo, hi):
                for (var, _), value in zip(loop.carry, state, strict=True):
                    self.env[var] = value
                state = self._iteration(loop, i)
        for (var, _), value in zip(loop.carry, state, strict=True):
            self.env[var] = value

    def _iteration(self, loop: For, i: int) -> list[Any]:
        self.env[loop.var] = np.int64(i)
        self._block(loop.body)
        self.statement = loop
        return [self._value(e) for e in loop.next]

    def _chain(self, loop: For) -> list[For] | None:
        """The perfect nest of independent loops that is evaluated at once, or None."""
        if self.vector:
            return None
        if loop not in self.plans:
            chain = _nest(loop)
            if chain is not None and not self._pays(chain):
                chain = None
            self.plans[loop] = chain
        return self.plans[loop]

    def _pays(self, chain: Sequence[For]) -> bool:
        """Whether the loops inside the nest run fewer times than it has iterations."""
        inside = [s for s in nested(chain[-1].body) if isinstance(s, For)]
        lanes = self._trips(chain)
        return sum(self._trips((f,)) for f in inside) <= lanes * max(1, len(inside))

    def _trips(self, loops: Sequence[For]) -> int:
        return math.prod(
            f.extent if isinstance(f.extent, int) else self._extent(f.extent) for f in loops
        )

    def _at_once(
        self, loop: For, chain: Sequence[For], lo: int, hi: int, state: list[Any]
    ) -> list[Any]:
        extents = [self._extent(f.extent) for f in chain[1:]]
        inner = math.prod(extents)
        private = [s.buffer.shape for s in nested(loop.body) if isinstance(s, Alloc)]
        each = sum(math.prod(map(self._extent, shape)) for shape in private)
        step = max(1, LANES // max(inner * max(each, 1), 1))
        self.vector = True
        for first in range(lo, hi if inner else lo, step):
            last = min(first + step, hi)
            self.lanes = (last - first) * inner
            rest: Any = np.arange(self.lanes)
            for f, extent in zip(reversed(chain[1:]), reversed(extents), strict=True):
                rest, self.env[f.var] = np.divmod(rest, extent)
            self.env[loop.var] = rest + first
            for f in chain[:-1]:
                self._block(f.body[:-1])
            self._block(chain[-1].body)
            self.statement = loop
            given = [np.broadcast_to(self._value(e), (self.lanes,)) for e in loop.next]
            if isinstance(loop.order, Tree):
                state = combined(loop.order.monoids, state, reduced(loop.order.monoids, given))
        self.vector = False
        self.lanes = 1
        return state

    # --- boxes ------------------------------------------------------------------------------------

    def _starts(self, starts: Sequence[Expr]) -> list[Any]:
        return [self._value(e) for e in starts]

    def _box(self, buffer: Buffer, starts: Sequence[Expr], moved: dict[int, Array]) -> Array:
        """The elements at `starts`, moved along axes by arrays of steps."""
        indices = [
            start + moved[axis] if axis in moved else start
            for axis, start in enumerate(self._starts(starts))
        ]
        shape = np.broadcast_shapes(*(np.shape(steps) for steps in moved.values()))
        offset = np.broadcast_to(self._offset(buffer, indices), shape)
        box: Array = self._memory(buffer).data[offset]
        return box

    def _copy(self, s: Copy) -> None:
        target = self._memory(s.target)
        rows, columns = self._extent(s.rows), self._extent(s.columns)
        height, width = (self._extent(e) for e in s.target.shape)
        box = np.zeros((height, width), s.target.dtype.numpy)
        i, j = np.arange(min(rows, height))[:, None], np.arange(min(columns, width))[None, :]
        read = self._box(s.source, s.starts, {s.row_axis: i, s.column_axis: j})
        box[: len(i), : j.size] = converted(read, s.target.dtype)
        i, j = np.arange(height)[:, None], np.arange(width)[None, :]
        target.data[self._offset(s.target, (i + self._value(s.target_row), j))] = box

    def _contract(self, s: Contract) -> None:
        acc = self._memory(s.acc)
        rows, columns = self._extent(s.rows), self._extent(s.columns)
        depth = self._extent(s.extent)
        height, width = (self._extent(e) for e in s.acc.shape)
        i = np.minimum(np.arange(height), rows - 1)[:, None]
        j = np.arange(min(columns, width))[None, :]
        along = np.arange(depth)
        a = self._box(s.a, s.a_starts, {s.a_row_axis: i, s.a_sum_axis: along[None, :]})
        b = self._box(s.b, s.b_starts, {s.b_sum_axis: along[:, None], s.b_column_axis: j})
        pairs = s.acc.dtype is float32 and s.a.dtype is uint32
        if pairs:
            a, b, depth = unpaired(a, 1), unpaired(b, 0), 2 * depth
        a, b = converted(a, s.acc.dtype), converted(b, s.acc.dtype)
        every = (np.arange(height)[:, None] + self._value(s.acc_row), np.arange(width)[None, :])
        place = self._offset(s.acc, every)
        total = np.zeros((height, width), s.acc.dtype.numpy)
        if s.onward is not None and self._value(s.onward):
            total[:] = acc.data[place]
        for step in range(depth):
            head = total[:, : j.size]
            factors = a[:, step, None], b[step, None, :]
            exact = s.acc.dtype.is_integer
            added = head + factors[0] * factors[1] if exact else fma(*factors, head)
            total[:, : j.size] = without_least(added) if pairs else added
        acc.data[place] = total

    def _placed(self, s: Placed) -> None:
        outer, length, rows = (self._extent(e) for e in (s.outer, s.length, s.rows))

        def places(given: Buffer | int, at: Array) -> Array:
            if not isinstance(given, Buffer):
                return at * given
            found: Array = self._memory(given).data[self._offset(given, (at,))]
            return found

        i = np.minimum(np.arange(s.height), rows - 1)
        row = i + self._value(s.a_row) if isinstance(s.a_rows, Buffer) else i
        n, k, j = np.arange(outer)[:, None], np.arange(length)[None, :], np.arange(s.columns)
        run, step = s.b_run or (s.columns, 0)
        along = n * s.a_step + places(s.a_places, k)
        right = n * s.b_step + places(s.b_places, k)
        a_at = places(s.a_rows, row)[:, None] + along.reshape(1, -1)
        b_at = right.reshape(-1, 1) + (j // run * step + j % run)[None, :]
        a, b = self._box(s.a, (s.a_start,), {0: a_at}), self._box(s.b, (s.b_start,), {0: b_at})
        every = (np.arange(s.height)[:, None] + self._value(s.acc_row), j[None, :])
        place = self._offset(s.acc, every)
        acc = self._memory(s.acc)
        total = np.array(acc.data[place]) if s.onward else np.zeros(place.shape, acc.data.dtype)
        for step in range(outer * length):
            total = fma(a[:, step, None], b[step, None, :], total)
        acc.data[place] = total

    def _inner(self, s: Inner) -> None:
        outer, length, rows = (self._extent(e) for e in (s.outer, s.length, s.rows))
        n, k = np.arange(outer)[:, None], np.arange(length)
        i = np.minimum(np.arange(s.height), rows - 1)[:, None, None]
        j = np.array(s.b_columns)[:, None, None]
        a = self._box(s.a, (s.a_start,), {0: i * s.a_row + n * s.a_step + k})
        b = self._box(s.b, (s.b_start,), {0: j + n * s.b_step + k})
        row, column = self._value(s.acc_row), self._value(s.acc_column)
        places = (row + np.arange(s.height)[:, None], column + np.arange(len(s.b_columns))[None, :])
        place = self._offset(s.acc, places)
        total = np.einsum("ink,jnk->ij", a.astype(np.float64), b.astype(np.float64))
        self._memory(s.acc).data[place] += total.astype(s.acc.dtype.numpy)

    def _arrange(self, s: Arrange) -> None:
        """What nobody asked for is left in the order that shows it: downwards."""
        places = self._offset(s.keys, (np.arange(s.count),))
        data = self._memory(s.keys).data
        found = np.sort(data[places])
        found[: s.first] = found[: s.first][::-1]
        found[s.last :] = found[s.last :][::-1]
        data[places] = found

    def _unfold(self, s: Unfold) -> None:
        target = self._memory(s.target)
        assert target.shape is not None
        height, width = target.shape
        first_row, rows, first, columns = (
            self._extent(e) for e in (s.first_row, s.rows, s.first_column, s.columns)
        )
        i, j = np.arange(min(rows, height)), np.arange(width)
        alive = (j < columns)[None, :]
        at_row = np.unravel_index(first_row + i, s.row_extents)
        at_column = np.unravel_index(np.where(j < columns, first + j, 0), s.column_extents)
        places: list[Any] = [self._value(s.offset), at_row[0][:, None], at_column[0][None, :]]
        for axis, low in enumerate(s.low):
            row = at_row[axis + 1][:, None] * s.row_steps[axis]
            at = row + at_column[axis + 1][None, :] * s.column_steps[axis] - low
            extent = self._extent(s.source.shape[axis + 3])
            alive = alive & (at >= 0) & (at < extent)
            places.append(np.clip(at, 0, max(extent - 1, 0)))
        offset = np.where(alive, self._offset(s.source, places), 0)
        data = self._memory(s.source).data
        box = np.where(alive, data[offset], 0) if data.size else np.zeros(alive.shape)
        target.data[self._offset(s.target, (i[:, None], j[None, :]))] = box


# --- which loops can be evaluated at once --------------------------------------------------------


def _nest(loop: For) -> list[For] | None:
    """The loops from `loop` inwards that have nothing but each other in them, if lanes can share
    what is inside of the last one."""
    chain = [loop]
    while isinstance(loop.order, Independent) and chain[-1].body:
        *lets, last = chain[-1].body
        plain = isinstance(last, For) and isinstance(last.order, Independent)
        if not plain or any(not isinstance(s, Let) for s in lets):
            break
        assert isinstance(last, For)
        chain.append(last)
    body = chain[-1].body
    if isinstance(loop.order, Serial) or any(
        isinstance(s, (Arrange, Copy, Contract, Inner, Mma, Placed, Unfold)) for s in nested(body)
    ):
        return None
    inside = [s for s in nested(body) if isinstance(s, For)]
    if inside and not isinstance(loop.order, Independent):
        return None
    varying = {f.var for f in chain} | _bound(nested(chain[0].body))
    extents = [f.extent for f in (*chain[1:], *inside)]
    for s in nested(body):
        if isinstance(s, Alloc):
            extents += s.buffer.shape
    known = (e for e in extents if isinstance(e, Expr))
    if any(e in varying or isinstance(e, Load) for extent in known for e in walk(extent)):
        return None
    return chain


def _bound(statements: Iterable[Stmt]) -> set[Expr]:
    """The variables that statements bind."""
    result: set[Expr] = set()
    for s in statements:
        if isinstance(s, Let):
            result.add(s.var)
        elif isinstance(s, For):
            result |= {s.var, *(var for var, _ in s.carry)}
    return result
