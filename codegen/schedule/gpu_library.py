"""Products of matrices that a library computes: which kernels are such, and what is left of them.

Holds the choice between a library and kernels of our own; knows no library, only what one does:

    result[b, i, j] = activation(alpha * sum over k of left[b, i, k] * right[b, k, j]
                                 + addend[b, i, j] + bias[i or j])

with float32 sums (float64 ones of float64), rounded once. What follows a product and is none of
that becomes a kernel of its own, which reads the product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, final

from ..affine import canonical, linear
from ..dtypes import DType, float32, float64
from ..expr import Apply, Buffer, Expr, Load, Var, index, walk
from ..kernel import Any, For, Kernel, Let, Param, Role, Stmt, Store
from ..scalar import apply
from .gpu_contraction import Product, match_product
from .gpu_epilogues import factor_of, gelu_of, gelu_slope_of, relu_of, unrounded
from .gpu_library_calls import Activation, LibraryProduct, Matrix, Split, Vector
from .rewrite import expressions, flat_offset, replaced

__all__ = ["Matched", "Place", "product_splits"]

LEAST = 16
"""Rows, columns and steps of a product that a library is asked for."""
LEAST_WORK = 1 << 21
"""Multiplications below which a kernel of our own is done sooner."""
LEAST_DEPTH = 64
"""Steps from which a library and a second kernel are faster than one kernel of our own."""
BESIDE_STEP = 8
"""What rows of the array beside a result are a multiple of."""
MOST_CALLS = 16
"""Calls of the library for one product whose batches do not lie at equal distances."""


def product_splits(
    kernel: Kernel, size: int, shared: frozenset[int] = frozenset()
) -> Iterator[Split]:
    """The products that a kernel is, the one that leaves least first; none where our own is better.

    Parameters
    ----------
    kernel : Kernel
        Logical.
    size : int
        The value of its sizes; what is found is right for this one alone.
    shared : frozenset of int, optional
        Parameters that are written where another one that is read may lie.
    """
    found = match_product(kernel)
    if found is None or not all(isinstance(s, (Let, Store)) for s in found.after):
        return
    matched = Matched(kernel, found, size, shared)
    if not matched.layout():
        return
    ways = [matched.whole()]
    if matched.steps.extent >= LEAST_DEPTH:
        ways += [matched.stored(), matched.apart()]
    yield from (way for way in ways if way is not None)


# --- layouts --------------------------------------------------------------------------------------


Strides = Mapping[Var, int]


class Place(NamedTuple):
    """An access whose position is linear in the loops."""

    parameter: int
    dtype: DType
    offset: int
    strides: Strides


@final
class _Group(NamedTuple):
    """Loops as one: the extent, and the strides of each access along it."""

    extent: int
    strides: tuple[int, ...]


def _merged(
    loops: Sequence[Var], extents: Strides, places: Sequence[Strides]
) -> tuple[list[Var], _Group]:
    """As many of the last loops as are one loop in all places, and that loop."""
    rest = [v for v in loops if extents[v] > 1]
    if not rest:
        return [], _Group(1, (0,) * len(places))
    last = rest.pop()
    total, steps = extents[last], tuple(p.get(last, 0) for p in places)
    while rest and all(
        p.get(rest[-1], 0) == step * total for p, step in zip(places, steps, strict=True)
    ):
        total *= extents[rest.pop()]
    return rest, _Group(total, steps)


@final
class Matched:
    """A product that was found in a kernel, and where everything lies."""

    def __init__(self, kernel: Kernel, product: Product, size: int, shared: frozenset[int]) -> None:
        self.kernel, self.p, self.shared = kernel, product, shared
        self.positions = {p.buffer: n for n, p in enumerate(kernel.params)}
        self.extents = {
            f.var: f.extent if isinstance(f.extent, int) else size
            for f in (*product.chain, *product.steps)
        }
        self.variables = [f.var for f in product.chain]
        lets = {s.var: s.value for s in (*product.lets, *product.after) if isinstance(s, Let)}
        lets.update((s.var, s.value) for s in product.before if isinstance(s, Let))
        self.lets = lets

    def place(self, buffer: Buffer, indices: Sequence[Expr]) -> Place | None:
        """Where an access lies, None where that is not linear in the loops."""
        parameter = self.positions.get(buffer)
        if parameter is None:
            return None
        at = canonical(replaced(flat_offset(buffer, indices), self.lets))
        form = linear(at)
        if any(atom not in self.extents for atom, _ in form.terms):
            return None
        strides = {v: c for v, c in form.terms if isinstance(v, Var)}
        return Place(parameter, buffer.dtype, form.constant, strides)

    def loaded(self, e: Expr) -> Place | None:
        """Where a value lies that is read, maybe converted."""
        e = unrounded(e)
        return self.place(e.buffer, e.indices) if isinstance(e, Load) else None

    def layout(self) -> bool:
        """Whether both operands lie as a library takes them."""
        p = self.p
        left, right = self.loaded(p.left), self.loaded(p.right)
        if left is None or right is None or left.dtype is not right.dtype:
            return False
        narrow = left.dtype.is_half and p.acc.dtype is float32
        if not narrow and not (left.dtype is p.acc.dtype and left.dtype in (float32, float64)):
            return False
        self.left, self.right = left, right
        steps = [f.var for f in p.steps]
        rest, self.steps = _merged(steps, self.extents, (left.strides, right.strides))
        work = math.prod(self.extents.values())
        return not rest and self.steps.extent >= LEAST and work >= LEAST_WORK

    def groups(self, others: Sequence[Strides]) -> _Groups | None:
        """The loops as batch, rows and columns for the result and whatever else is read with it."""
        p = self.p
        places = (self.left.strides, self.right.strides, *others)
        first, rows = _merged([f.var for f in p.rows], self.extents, places)
        second, columns = _merged([f.var for f in p.columns], self.extents, places)
        apart = {*first, *second}
        batch = [v for v in self.variables if v in apart or v in {f.var for f in p.batch}]
        rest, one = _merged(batch, self.extents, places)
        if rest:
            # The longest one is the batch, the others are calls.
            batch = sorted((v for v in batch if self.extents[v] > 1), key=self.extents.__getitem__)
            rest, one = _merged(batch, self.extents, places)
        calls = math.prod(self.extents[v] for v in rest)
        if min(rows.extent, columns.extent) < LEAST or calls > MOST_CALLS:
            return None
        offsets = [(0,) * len(places)]
        for v in rest:
            offsets = [
                tuple(o + n * p.get(v, 0) for o, p in zip(given, places, strict=True))
                for given in offsets
                for n in range(self.extents[v])
            ]
        return _Groups(one, rows, columns, tuple(offsets))

    # --- a whole kernel ---------------------------------------------------------------------------

    def whole(self) -> Split | None:
        """The kernel as one product, with what the library does after it."""
        stores = [s for s in self.p.after if isinstance(s, Store)]
        if any(s.monoid is not None for s in stores):
            return None
        values = [unrounded(self.spelled(s.value)) for s in stores]
        places = [self.place(s.buffer, s.indices) for s in stores]
        if len(stores) == 2:
            # One of them is what the activation is computed from.
            for n, kept in ((0, 1), (1, 0)):
                inner = gelu_of(values[n], lambda e: self.terms(e) is not None)
                if inner is not None and self.terms(inner) == self.terms(values[kept]):
                    return self.called(Activation.GELU, inner, places[n], places[kept])
        if len(stores) != 1:
            return None
        (value,), (target,) = values, places
        slope = gelu_slope_of(value, self.p.acc, lambda e: self.loaded(e) is not None)
        if slope is not None:
            return self.called(Activation.GELU_SLOPE, self.p.acc, target, self.loaded(slope))
        activation, value = relu_of(value)
        if activation is Activation.NONE:
            inner = gelu_of(value, lambda e: self.terms(e) is not None)
            if inner is not None:
                activation, value = Activation.GELU, inner
        return self.called(activation, value, target)

    def called(
        self,
        activation: Activation,
        value: Expr,
        target: Place | None,
        beside: Place | None = None,
    ) -> Split | None:
        """The call that writes what is done to a value; `beside` is where the value itself is."""
        terms = self.terms(value)
        if target is None or terms is None or not self.takes(target.dtype):
            return None
        wide = self.left.dtype is float64
        if wide and (terms.bias is not None or activation is not Activation.NONE):
            return None
        others = [t for t in (terms.addend, beside) if t is not None]
        groups = self.groups((target.strides, *(t.strides for t in others)))
        if groups is None or any(t.dtype is not target.dtype for t in others):
            return None
        product = self.product(groups, target)
        product = replace(product, alpha=terms.alpha, activation=activation)
        if terms.addend is not None:
            product = replace(product, addend=self.matrix(terms.addend, groups, 3, "ij"))
        if beside is not None:
            near = {target.parameter, beside.parameter} & self.shared
            if len(groups.offsets) > 1 or near:
                return None
            kept = self.matrix(beside, groups, 2 + len(others), "ij")
            product = replace(product, beside=kept)
        if not _lies_well(product):
            return None
        return Split(product) if terms.bias is None else self.biased(product, groups, terms.bias)

    def takes(self, dtype: DType) -> bool:
        """Whether the result may have a dtype."""
        return dtype is self.p.acc.dtype or dtype is self.left.dtype

    def spelled(self, e: Expr) -> Expr:
        """A value without names but that of the product."""
        return _spelled(e, self.lets)

    def product(self, groups: _Groups, target: Place) -> LibraryProduct:
        """The bare product."""
        offsets = tuple((*o, 0)[:4] for o in groups.offsets)
        return LibraryProduct(
            *(groups.batch.extent, groups.rows.extent, groups.columns.extent, self.steps.extent),
            self.matrix(self.left, groups, 0, "ik"),
            self.matrix(self.right, groups, 1, "kj"),
            self.matrix(target, groups, 2, "ij"),
            offsets=offsets,  # type: ignore[arg-type]
        )

    def matrix(self, place: Place, groups: _Groups, which: int, axes: str) -> Matrix:
        along = {
            "i": groups.rows.strides[which],
            "j": groups.columns.strides[which],
            "k": self.steps.strides[which] if which < 2 else 0,
        }
        batch = groups.batch.strides[which] if groups.batch.extent > 1 else 0
        name = place.dtype.name
        return Matrix(place.parameter, name, place.offset, batch, along[axes[0]], along[axes[1]])

    def terms(self, value: Expr) -> _Terms | None:
        """A value as the product, times a number, and what is added to it."""
        alpha: float | None = None
        addend = bias = None
        stack = [unrounded(value)]
        while stack:
            e = unrounded(stack.pop())
            if isinstance(e, Apply) and e.op == "add":
                stack += e.args
                continue
            factor = factor_of(e, self.p.acc)
            if factor is not None:
                if alpha is not None:
                    return None
                alpha = factor
                continue
            place = self.loaded(e)
            if place is None:
                return None
            if self.is_vector(place):
                if bias is not None:
                    return None
                bias = place
            elif addend is None:
                addend = place
            else:
                return None
        return None if alpha is None else _Terms(alpha, addend, bias)

    def is_vector(self, place: Place) -> bool:
        used = {v for v, c in place.strides.items() if c and self.extents[v] > 1}
        rows, columns = ({f.var for f in group} for group in (self.p.rows, self.p.columns))
        return used <= rows or used <= columns

    def biased(self, product: LibraryProduct, groups: _Groups, bias: Place) -> Split | None:
        """With a bias, converted before where it has not the dtype of the result."""
        rows = {f.var for f in self.p.rows}
        of_columns = not any(
            c for v, c in bias.strides.items() if v in rows and self.extents[v] > 1
        )
        loops = self.p.columns if of_columns else self.p.rows
        rest, along = _merged([f.var for f in loops], self.extents, (bias.strides,))
        whole = groups.columns if of_columns else groups.rows
        if rest or along.extent != whole.extent or of_columns != (product.result.column == 1):
            return None
        if along.strides == (1,) and bias.dtype.name == product.result.dtype:
            vector = Vector(bias.parameter, bias.dtype.name, bias.offset, of_columns)
            return Split(replace(product, bias=vector))
        dtype = next(b.dtype for b in self.positions if b.dtype.name == product.result.dtype)
        made = Buffer("vector", dtype, (along.extent,))
        source = self.kernel.params[bias.parameter].buffer
        flat = Buffer(
            source.name, source.dtype, (bias.offset + along.extent * max(1, along.strides[0]),)
        )
        e = Var("e", extent=along.extent)
        at = canonical(apply("add", apply("mul", e, index(along.strides[0])), index(bias.offset)))
        value: Expr = Load(flat, (at,))
        if value.dtype is not dtype:
            value = apply("cast", value, dtype=dtype)
        params = [
            Param(flat, Role.IN) if n == bias.parameter else replace(p, role=Role.IN, monoid=None)
            for n, p in enumerate(self.kernel.params)
        ]
        loop = For(e, along.extent, Any(), (Store(made, (e,), value),))
        before = Kernel(
            f"{self.kernel.name}_bias", (*params, Param(made, Role.OUT)), self.kernel.sizes, (loop,)
        )
        vector = Vector(-2, dtype.name, 0, of_columns)
        return Split(replace(product, bias=vector), vector=made, before=before)

    # --- a product and a kernel -------------------------------------------------------------------

    def stored(self) -> Split | None:
        """The product, and what a library adds to it, where the kernel keeps it for others too."""
        for store in [s for s in self.p.after if isinstance(s, Store)]:
            following = self.following(store)
            if store.monoid is not None or following is _UNRELATED:
                continue
            activation, value = relu_of(unrounded(self.spelled(store.value)))
            split = self.called(activation, value, self.place(store.buffer, store.indices))
            if split is not None:
                return replace(split, after=following)
        return None

    def apart(self) -> Split | None:
        """The product in memory of its own."""
        p = self.p
        rows, columns = ([f.var for f in group] for group in (p.rows, p.columns))
        batch = [v for v in self.variables if v not in rows and v not in columns]
        strides, count = self.in_order((*batch, *rows, *columns))
        groups = self.groups((strides,))
        if groups is None:
            return None
        dtype = self.left.dtype if self.rounded_at_once() else p.acc.dtype
        between = Buffer("product", dtype, (count,))
        product = self.product(groups, Place(-1, dtype, 0, strides))
        if not _lies_well(product):
            return None
        return Split(product, between, self.after(between, strides))

    def rounded_at_once(self) -> bool:
        """Whether all that follows takes the product as the dtype of its operands."""
        acc, narrow = self.p.acc, self.left.dtype
        roots = [root for s in self.p.after for root in expressions(s)]
        if narrow is acc.dtype or any(root is acc for root in roots):
            return False
        takers = [e for root in roots for e in walk(root) if isinstance(e, Apply) and acc in e.args]
        return all(e.op == "cast" and e.dtype is narrow for e in takers)

    def in_order(self, variables: Sequence[Var]) -> tuple[dict[Var, int], int]:
        """The strides of an array over these loops, the last one side by side, and its elements."""
        step = 1
        strides: dict[Var, int] = {}
        for v in reversed(variables):
            strides[v] = step
            step *= self.extents[v]
        return strides, step

    def bare_store(self) -> Store | None:
        """Where the kernel keeps the product as it is."""
        for s in self.p.after:
            if isinstance(s, Store) and s.value is self.p.acc and s.monoid is None:
                return None if self.following(s) is _UNRELATED else s
        return None

    def following(self, store: Store) -> Kernel | None:
        """What is left of the kernel where a library has done a store; None if it is nothing.

        `_UNRELATED` where the rest needs more than what was stored, or reads what lies there.
        """
        p, kept = self.p, store.value
        if self.positions.get(store.buffer, -1) in self.shared or not isinstance(kept, Var):
            return _UNRELATED
        rest = [s for s in p.after if s is not store]
        rest = [s for s in rest if not (isinstance(s, Let) and s.var is kept)]
        if not any(isinstance(s, Store) for s in rest):
            return None
        known = {s.var: s.value for s in (*p.lets, *rest) if isinstance(s, Let)}
        values = [_spelled(s.value, known) for s in rest if isinstance(s, Store)]
        if kept is not p.acc and any(e is p.acc for v in values for e in walk(v)):
            return _UNRELATED
        places = tuple(self.spelled(i) for i in store.indices)
        params = tuple(
            replace(q, role=Role.IN) if q.buffer is store.buffer else q for q in self.kernel.params
        )
        return self._going_on(params, kept, Load(store.buffer, places), rest)

    def after(self, between: Buffer, strides: Strides) -> Kernel:
        """All that follows the product, which is read from memory between them."""
        at: Expr = index(0)
        for v, s in strides.items():
            at = apply("add", at, apply("mul", v, index(s)))
        params = (*self.kernel.params, Param(between, Role.IN))
        return self._going_on(params, self.p.acc, Load(between, (canonical(at),)), self.p.after)

    def _going_on(
        self, params: Sequence[Param], kept: Var, value: Expr, rest: Sequence[Stmt]
    ) -> Kernel:
        """A kernel over the same loops, without the product: `kept` is what was read of it."""
        p = self.p
        if value.dtype is not kept.dtype:
            value = apply("cast", value, dtype=kept.dtype)
        used = _needed([Let(kept, value), *rest])
        body: tuple[Stmt, ...] = (*p.lets, *used)
        for f in reversed(p.chain):
            body = (replace(f, body=body),)
        name = f"{self.kernel.name}_after"
        return Kernel(name, tuple(params), self.kernel.sizes, (*p.before, *body))


class _Groups(NamedTuple):
    """The loops of a product; strides are those of left, right, result and what else there is."""

    batch: _Group
    rows: _Group
    columns: _Group
    offsets: tuple[tuple[int, ...], ...]


class _Terms(NamedTuple):
    """What is added up."""

    alpha: float
    addend: Place | None
    bias: Place | None


def _spelled(e: Expr, known: Mapping[Var, Expr]) -> Expr:
    """A value without the names that are known."""
    while True:
        following = replaced(e, known)
        if following is e:
            return e
        e = following


def _needed(statements: Sequence[Stmt]) -> list[Stmt]:
    """Those that a store needs."""
    used: set[Expr] = set()
    found: list[Stmt] = []
    for s in reversed(statements):
        if isinstance(s, Let) and s.var not in used:
            continue
        found.append(s)
        used.update(e for root in expressions(s) for e in walk(root) if isinstance(e, Var))
    return found[::-1]


_UNRELATED = Kernel("", (), (), ())
"""In place of what is left of a kernel where a library's result does not tell it."""


def _lies_well(product: LibraryProduct) -> bool:
    """Whether every matrix has its rows or its columns side by side, and none overlaps itself."""
    p = product
    shapes = [(p.left, p.rows, p.depth), (p.right, p.depth, p.columns)]
    alike = [m for m in (p.result, p.addend, p.beside) if m is not None]
    shapes += [(m, p.rows, p.columns) for m in alike]
    for m, rows, columns in shapes:
        by_rows, by_columns = m.column == 1 and m.row >= columns, m.row == 1 and m.column >= rows
        if not (by_rows or by_columns) or m.batch < 0 or m.offset < 0:
            return False
    if p.beside is not None and max(p.beside.row, p.beside.column) % BESIDE_STEP:
        return False
    return all((m.column == 1) == (p.result.column == 1) for m in alike)
