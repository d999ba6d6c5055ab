"""Rows between products in a logical kernel: which of its loops are products, and which passes.

Knows the logical form that lowering gives; chooses nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import final

from ..expr import Apply, Buffer, Load
from ..kernel import Alloc, Any, For, Kernel, Let, Monoid, Stmt, Store, Tree, nested
from ..records import dataclass
from .contraction import Contraction, contraction_of, number
from .operands import Operand, operand_of
from .rewrite import each_access

__all__ = ["Added", "Along", "Between", "Made", "loaded", "match_between"]


@final
@dataclass(frozen=True)
class Made:
    """A product that makes rows of `buffers`."""

    product: Contraction
    buffers: tuple[Buffer, ...]


@final
@dataclass(frozen=True)
class Along:
    """A product that sums along rows of `buffer`."""

    product: Contraction
    buffer: Buffer


@final
@dataclass(frozen=True)
class Added:
    """``sums[j, x] += buffer[j] * right[i, x]``, and the loops behind that read the sums."""

    sums: Buffer
    buffer: Buffer
    right: Operand
    finish: For


@final
@dataclass(frozen=True)
class Between:
    """What a kernel of rows between products does.

    Attributes
    ----------
    outer : tuple of Stmt
        What is known of a matrix.
    rows : For
        The loop over its rows.
    passes : tuple of Stmt
        What is computed of a row.
    """

    outer: tuple[Stmt, ...]
    rows: For
    columns: int
    made: tuple[Made, ...]
    passes: tuple[Stmt, ...]
    along: tuple[Along, ...]
    added: tuple[Added, ...]


def match_between(kernel: Kernel) -> Between | None:
    """The rows and products that a logical kernel is, or None."""
    before = tuple(s for s in kernel.body if isinstance(s, Let))
    level, batch, lets = kernel.body, list[For](), list[Stmt]()
    while True:
        loops = [s for s in level if isinstance(s, For)]
        found = [f for f in loops if any(isinstance(s, Alloc) for s in f.body)]
        if batch:
            lets += [s for s in level if isinstance(s, Let)]
        if len(found) == 1 and batch and any(_reads_products(s) for s in found[0].body):
            return _Matcher(before, batch, lets, level, found[0]).run()
        if len(loops) != 1 or not isinstance(loops[0].order, Any):
            return None
        batch.append(loops[0])
        level = loops[0].body


def _reads_products(statement: Stmt) -> bool:
    return isinstance(statement, For) and _sum_in(statement) is not None


def _sum_in(loop: For) -> For | None:
    """The sum of products that each iteration of a loop computes."""
    inner = [s for s in loop.body if isinstance(s, For)]
    if len(inner) != 1 or not isinstance(loop.order, Any):
        return None
    if not all(isinstance(s, Let) for s in inner[0].body):
        return None
    plain = inner[0].order == Tree((Monoid.SUM,))
    return inner[0] if plain and isinstance(inner[0].next[0], Apply) else None


@final
class _Matcher:
    def __init__(
        self,
        before: tuple[Stmt, ...],
        batch: list[For],
        lets: list[Stmt],
        level: Sequence[Stmt],
        rows: For,
    ) -> None:
        self.before, self.batch, self.lets, self.rows = before, batch, lets, rows
        self.level = level
        self.local = {s.buffer for s in rows.body if isinstance(s, Alloc)}
        self.made: list[Made] = []
        self.along: list[Along] = []
        self.added: list[Added] = []
        self.passes: list[Stmt] = []
        self.scalars: list[Let] = []

    def run(self) -> Between | None:
        for s in self.rows.body:
            if isinstance(s, Let):
                self.scalars.append(s)
            if isinstance(s, (Let, Store)) or (isinstance(s, For) and not self._product(s)):
                self.passes.append(s)
            elif not isinstance(s, (For, Alloc)):
                return None
        extents = {m.product.columns.extent for m in self.made}
        loops = [s for s in self.passes if isinstance(s, For)]
        if len(extents) != 1 or not loops or any(f.extent not in extents for f in loops):
            return None
        if not (self.along or self.added) or any(_sum_in(f) is not None for f in loops):
            return None
        if not isinstance(self.rows.extent, int) or not self._only_known():
            return None
        return Between(
            tuple(self.lets),
            self.rows,
            number(next(iter(extents))),
            tuple(self.made),
            tuple(self.passes),
            tuple(self.along),
            tuple(self.added),
        )

    def _only_known(self) -> bool:
        """Whether what lies beside the loop over rows are the zeros and ends of its sums."""
        finish = {a.finish for a in self.added}
        sums = {a.sums for a in self.added}
        for s in self.level:
            if s is self.rows or isinstance(s, Let) or s in finish:
                continue
            if isinstance(s, Alloc) and s.buffer in sums:
                continue
            stores = [x for x in nested([s]) if isinstance(x, Store)]
            if not isinstance(s, For) or any(x.buffer not in sums for x in stores):
                return False
        return True

    def _product(self, loop: For) -> bool:
        """Take a loop that is a product."""
        return self._sum(loop) or self._addition(loop)

    def _sum(self, loop: For) -> bool:
        reduction = _sum_in(loop)
        if reduction is None:
            return False
        product = reduction.next[0]
        assert isinstance(product, Apply)
        swapped = replace(reduction, next=(Apply(product.op, product.args[::-1], product.dtype),))
        for form in (reduction, swapped):
            body = tuple(form if s is reduction else s for s in loop.body)
            own = [*self.batch, self.rows, replace(loop, body=body)]
            c = contraction_of(self.before, own, form, self.scalars)
            if c is None or c.b.buffer in self.local:
                continue
            if c.a.buffer in self.local and c.a.computed is None:
                self.along.append(Along(c, c.a.buffer))
                return True
            buffers = tuple(s.buffer for s in nested(c.after) if isinstance(s, Store))
            if buffers and self.local.issuperset(buffers) and not self.along:
                self.made.append(Made(c, buffers))
                return True
        return False

    def _addition(self, loop: For) -> bool:
        inner = loop.body[-1] if loop.body else None
        if not isinstance(inner, For) or not inner.body:
            return False
        store = inner.body[-1]
        names = [*self.scalars, *loop.body[:-1], *inner.body[:-1]]
        if not isinstance(store, Store) or store.monoid is not Monoid.SUM:
            return False
        value, lets = store.value, {s.var: s.value for s in names if isinstance(s, Let)}
        if len(lets) != len(names) or not isinstance(value, Apply) or value.op != "mul":
            return False
        own = [e for e in value.args if isinstance(e, Load) and e.buffer in self.local]
        others = [e for e in value.args if e not in own]
        if len(own) != 1 or len(others) != 1 or store.indices != (loop.var, inner.var):
            return False
        right = operand_of(others[0], self.rows.var, inner.var, loop.var, lets)
        finish = [
            s
            for s in self.level[self.level.index(self.rows) :]
            if isinstance(s, For) and any(store.buffer is b for b in loaded([s]))
        ]
        if right is None or own[0].indices != (loop.var,) or len(finish) != 1:
            return False
        self.added.append(Added(store.buffer, own[0].buffer, right, finish[0]))
        return True


def loaded(statements: Sequence[Stmt]) -> list[Buffer]:
    found: list[Buffer] = []
    each_access(statements, lambda b, _, store: None if store else found.append(b))
    return found
