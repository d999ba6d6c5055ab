"""Linear algebra on matrices that fit a cache, as loops without calls; threads share a batch.

The meaning is that of the op of the same name; a matrix that has no result gives NaN, as calls in
compiled programs do. Factorisations take the pivot of largest size in a column (Golub and Van Loan,
Matrix Computations, 3.4 and 4.2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar, final

from ..codegen.dtypes import bool_, int64
from ..codegen.expr import Buffer, Const, Expr, Load, Var
from ..codegen.expr import index as number
from ..codegen.kernel import Alloc, For, If, Let, Monoid, Order, Serial, Stmt, Store, Tree
from ..codegen.kernel import Any as AnyOrder
from ..codegen.records import dataclass
from ..codegen.scalar import apply
from .base import Array, LoopOp, Node, Sample, TensorType, Type, op_class
from .cumulative import nested_loops
from .decomposition import Cholesky
from .matrix import MatrixOp
from .solving import Cofactor, Determinant, Inverse, Solve, TriangularSolve

__all__ = ["LARGEST_COFACTORS", "SmallMatrix", "form_of"]

_BLOCK = 64
"""Columns of a right-hand side that one item works on."""
LARGEST_COFACTORS = 3
"""Matrices up to this extent have their cofactors written out."""
_FEW = 4
"""Columns from which on vectors run along them, not along the sums."""


def form_of(op: object) -> SmallMatrix | None:
    """The op that does the same in loops, if there is one."""
    if isinstance(op, TriangularSolve):
        return SmallMatrix(op.name, op.lower, op.unit)
    if isinstance(op, (Cholesky, Cofactor, Determinant, Inverse, Solve)):
        return SmallMatrix(op.name, False, False)
    return None


@op_class("small_matrix", "cholesky", False, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class SmallMatrix(LoopOp):
    """An op of linear algebra as loops.

    Attributes
    ----------
    kind : str
        The name of the op.
    lower, unit : bool
        Those of `TriangularSolve`.
    """

    kind: str
    lower: bool
    unit: bool
    name: ClassVar[str] = "small_matrix"

    @property
    def op(self) -> MatrixOp:
        """The op that says what this means."""
        if self.kind == TriangularSolve.name:
            return TriangularSolve(self.lower, self.unit)
        return {op.name: op for op in _OTHERS}[self.kind]

    def infer(self, *types: TensorType) -> Type:
        return self.op.infer(*types)

    def ref(self, *arrays: Array) -> Array:
        result: Array = self.op.call(*arrays)
        return result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return self.op.vjp(Node(self.op, node.inputs), cotangent)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return self.op.batch(Node(self.op, node.inputs), operands, batched)

    def nest(self, node: Node, inputs: Sequence[Buffer], output: Buffer) -> tuple[Stmt, ...]:
        if self.kind == TriangularSolve.name:
            return _Triangular(inputs[0], inputs[1], output, self.lower, self.unit).nest()
        if self.kind == Cholesky.name:
            return _cholesky(inputs[0], output)
        if self.kind == Determinant.name:
            return _determinant(inputs[0], output)
        if self.kind == Cofactor.name:
            return _cofactors(inputs[0], output)
        return _solution(inputs[0], inputs[1] if len(inputs) > 1 else None, output)

    def samples(self) -> Iterator[Sample]:
        for op in (TriangularSolve(True, False), *_OTHERS):
            for sample in op.samples():
                form = form_of(sample.op)
                assert form is not None
                extents = [e for spec in sample.inputs for e in spec.shape]
                small = op.name != Cofactor.name or extents[-1] <= LARGEST_COFACTORS
                if 0 not in extents and small:
                    yield Sample(form, sample.inputs, gradient=False)


_OTHERS: tuple[MatrixOp, ...] = (Cholesky(), Cofactor(), Determinant(), Inverse(False), Solve())


# --- loops ----------------------------------------------------------------------------------------


def _for(order: Order, name: str, extent: Expr | int, body: Callable[[Var], Sequence[Stmt]]) -> For:
    var = Var(name, int64)
    return For(var, extent, order, tuple(body(var)))


_loop, _serial = partial(_for, AnyOrder()), partial(_for, Serial())


def _less(a: Expr, b: Expr, factor: Expr) -> Expr:
    return apply("sub", a, apply("mul", factor, b))


def _product(total: Var, extent: Expr, factors: Callable[[Var], tuple[Expr, Expr]]) -> For:
    """``total``, the sum of products over a loop."""
    k = Var("k", int64)
    zero = Const(0.0, total.dtype)
    return For(k, extent, Tree((Monoid.SUM,)), (), ((total, zero),), (apply("mul", *factors(k)),))


@final
class _Places:
    """A matrix of a batch: the loops around it, and elements by row and column."""

    def __init__(self, matrix: Buffer) -> None:
        *lead, self.count, _ = (int(e) for e in matrix.shape)  # type: ignore[arg-type]
        self.lead = [Var(f"i{a}", int64, e) for a, e in enumerate(lead)]
        self.dtype = matrix.dtype

    def read(self, buffer: Buffer, row: Expr, column: Expr) -> Load:
        """An element of a parameter, or of memory of this matrix alone."""
        return Load(buffer, self._at(buffer, row, column))

    def write(self, buffer: Buffer, row: Expr, column: Expr, value: Expr) -> Store:
        """Set an element."""
        return Store(buffer, self._at(buffer, row, column), value)

    def _at(self, buffer: Buffer, row: Expr, column: Expr) -> tuple[Expr, ...]:
        return (row, column) if buffer.space == "row" else (*self.lead, row, column)

    def spoiled(
        self, bad: Var, output: Buffer, each: Callable[[Callable[[Expr], Stmt]], For] | None = None
    ) -> If:
        """NaN everywhere in a result that there is not, or in some columns of every row."""
        nan = Const(float("nan"), self.dtype)
        rows, columns = (int(e) for e in output.shape[-2:])  # type: ignore[arg-type]

        def row(i: Var) -> list[Stmt]:
            def one(c: Expr) -> Stmt:
                return self.write(output, i, c, nan)

            return [each(one) if each else _loop("c", columns, lambda c: [one(c)])]

        return If(bad, (_serial("r", rows, row),))


@final
class _Triangular:
    """Substitution, row by row, for some columns of the right-hand side."""

    def __init__(self, a: Buffer, b: Buffer, output: Buffer, lower: bool, unit: bool) -> None:
        self.a, self.b, self.output = a, b, output
        self.lower, self.unit = lower, unit
        self.places = _Places(a)
        self.columns = int(b.shape[-1])  # type: ignore[arg-type]
        self.block = Var("b", int64, -(-self.columns // _BLOCK))

    def nest(self) -> tuple[Stmt, ...]:
        bad = Var("bad", bool_)
        few = self.columns < _FEW
        work = self._along_sums if few else self._along_columns
        body: list[Stmt] = [_serial("i", self.places.count, work)]
        if not self.unit:
            k = Var("d", int64)
            zero = Const(0.0, self.places.dtype)
            singular = apply("eq", self.places.read(self.a, k, k), zero)
            start = Const(False, bool_)
            checks = For(k, self.places.count, Tree((Monoid.OR,)), (), ((bad, start),), (singular,))
            body = [checks, *body, self.places.spoiled(bad, self.output, self._each)]
        return nested_loops([*self.places.lead, self.block], tuple(body))

    def _row(self, i: Expr) -> Expr:
        """The row that is done as number `i`."""
        return i if self.lower else apply("sub", number(self.places.count - 1), i)

    def _each(self, body: Callable[[Expr], Stmt]) -> For:
        """For the columns of this block."""
        first = apply("mul", self.block, number(_BLOCK))
        left = apply("sub", number(self.columns), first)
        several = self.columns > _BLOCK
        extent = apply("minimum", number(_BLOCK), left) if several else self.columns
        return _loop("c", extent, lambda c: [body(apply("add", first, c) if several else c)])

    def _along_columns(self, i: Var) -> list[Stmt]:
        at, a, x = self.places, self.a, self.output
        r, p = Var("row", int64), Var("p", int64)

        def less(k: Var) -> list[Stmt]:
            def one(c: Expr) -> Stmt:
                return at.write(x, r, c, _less(at.read(x, r, c), at.read(x, p, c), factor))

            factor = Var("f", at.dtype)
            return [Let(p, self._row(k)), Let(factor, at.read(a, r, p)), self._each(one)]

        statements: list[Stmt] = [
            Let(r, self._row(i)),
            self._each(lambda c: at.write(x, r, c, at.read(self.b, r, c))),
            _serial("k", i, less),
        ]
        if not self.unit:
            pivot = Var("pivot", at.dtype)
            divided = self._each(lambda c: at.write(x, r, c, apply("div", at.read(x, r, c), pivot)))
            statements += [Let(pivot, at.read(a, r, r)), divided]
        return statements

    def _along_sums(self, i: Var) -> list[Stmt]:
        at, a, x = self.places, self.a, self.output
        r = Var("row", int64)

        def column(c: Var) -> list[Stmt]:
            total = Var("a", at.dtype)

            def factors(k: Var) -> tuple[Expr, Expr]:
                return at.read(a, r, self._row(k)), at.read(x, self._row(k), c)

            value: Expr = apply("sub", at.read(self.b, r, c), total)
            if not self.unit:
                value = apply("div", value, at.read(a, r, r))
            return [_product(total, i, factors), at.write(x, r, c, value)]

        return [Let(r, self._row(i)), _serial("c", self.columns, column)]


def _cholesky(a: Buffer, output: Buffer) -> tuple[Stmt, ...]:
    """Row by row, each element by the product of two rows."""
    at = _Places(a)
    i, bad, following = Var("i", int64), Var("bad", bool_), Var("pivot", at.dtype)
    zero = Const(0.0, at.dtype)

    def product(total: Var, row: Expr, other: Expr, extent: Expr) -> For:
        return _product(
            total, extent, lambda k: (at.read(output, row, k), at.read(output, other, k))
        )

    def left(j: Var) -> list[Stmt]:
        total = Var("a", at.dtype)
        value = apply("sub", at.read(a, i, j), total)
        return [
            product(total, i, j, j),
            at.write(output, i, j, apply("div", value, at.read(output, j, j))),
        ]

    total = Var("t", at.dtype)
    after = apply("sub", number(at.count - 1), i)

    def nothing(c: Var) -> list[Stmt]:
        return [at.write(output, i, apply("add", apply("add", i, number(1)), c), zero)]

    body = (
        _serial("j", i, left),
        product(total, i, i, i),
        Let(following, apply("sub", at.read(a, i, i), total)),
        at.write(output, i, i, apply("sqrt", following)),
        _loop("c", after, nothing),
    )
    fails = apply("or", bad, apply("not", apply("gt", following, zero)))
    rows = For(i, at.count, Serial(), body, ((bad, Const(False, bool_)),), (fails,))
    return nested_loops(at.lead, (rows, at.spoiled(bad, output)))


@final
class _Elimination:
    """Gaussian elimination of a copy of a matrix, and of the right-hand side that goes with it."""

    def __init__(self, a: Buffer, right: Buffer | None) -> None:
        self.at = _Places(a)
        self.a, self.right = a, right
        self.count = self.at.count
        self.work = Buffer("work", a.dtype, (self.count, self.count), space="row")
        self.i = Var("i", int64)
        self.place, self.pivot = Var("place", int64), Var("pivot", a.dtype)
        self.moved = apply("ne", self.place, self.i)

    def copied(self) -> list[Stmt]:
        """The memory that is worked on."""
        at = self.at

        def row(r: Var) -> list[Stmt]:
            return [
                _loop("c", self.count, lambda c: [at.write(self.work, r, c, at.read(self.a, r, c))])
            ]

        return [Alloc(self.work), _serial("r", self.count, row)]

    def step(self) -> tuple[Stmt, ...]:
        """Row `i`: the pivot is found, and its column eliminated below."""
        at, i, dtype = self.at, self.i, self.at.dtype
        best, found, r = Var("best", dtype), Var("found", int64), Var("r", int64)
        rest = apply("sub", number(self.count), i)
        below = apply("sub", number(self.count - 1), i)
        size = apply("abs", at.read(self.work, apply("add", i, r), i))
        lowest = Const(float("-inf"), dtype)
        search = For(
            r,
            rest,
            Tree((Monoid.ARGMAX,)),
            (),
            ((best, lowest), (found, number(0))),
            (size, r),
        )
        zero = Const(0.0, dtype)

        def eliminated(s: Var) -> list[Stmt]:
            q, f = Var("q", int64), Var("f", dtype)
            quotient = apply("div", at.read(self.work, q, i), self.pivot)
            # A column of zeros has nothing to eliminate.
            factor = apply("select", apply("eq", self.pivot, zero), zero, quotient)

            def one(buffer: Buffer, c: Expr) -> list[Stmt]:
                value = _less(at.read(buffer, q, c), at.read(buffer, i, c), f)
                return [at.write(buffer, q, c, value)]

            after = apply("add", i, number(1))
            statements: list[Stmt] = [
                Let(q, apply("add", after, s)),
                Let(f, factor),
                _loop("c", below, lambda c: one(self.work, apply("add", after, c))),
            ]
            if self.right is not None:
                right = self.right
                columns = int(right.shape[-1])  # type: ignore[arg-type]
                statements.append(_loop("c", columns, lambda c: one(right, c)))
            return statements

        return (
            search,
            Let(self.place, apply("add", i, found)),
            If(self.moved, tuple(self._exchanged())),
            Let(self.pivot, at.read(self.work, i, i)),
            _serial("s", below, eliminated),
        )

    def _exchanged(self) -> Iterator[Stmt]:
        """The row of the pivot and row `i` in each other's place."""
        at = self.at
        for buffer in (self.work, self.right):
            if buffer is None:
                continue
            mine = Var("mine", at.dtype)

            def column(c: Var, buffer: Buffer = buffer, mine: Var = mine) -> list[Stmt]:
                return [
                    Let(mine, at.read(buffer, self.i, c)),
                    at.write(buffer, self.i, c, at.read(buffer, self.place, c)),
                    at.write(buffer, self.place, c, mine),
                ]

            yield _loop("c", int(buffer.shape[-1]), column)  # type: ignore[arg-type]


def _determinant(a: Buffer, output: Buffer) -> tuple[Stmt, ...]:
    """The product of the pivots, with a change of sign for every exchange."""
    work = _Elimination(a, None)
    total = Var("a", a.dtype)
    signed = apply("select", work.moved, apply("neg", total), total)
    following = apply("mul", signed, work.pivot)
    one = Const(1.0, a.dtype)
    rows = For(work.i, work.count, Serial(), work.step(), ((total, one),), (following,))
    store = Store(output, tuple(work.at.lead), total)
    return nested_loops(work.at.lead, (*work.copied(), rows, store))


def _cofactors(a: Buffer, output: Buffer) -> tuple[Stmt, ...]:
    """Minors of the rows and columns behind an element, in circles: the signs are in the order."""
    at = _Places(a)
    one = Const(1.0, at.dtype)

    def minor(i: int, j: int) -> Expr:
        rows, columns = ([number((x + k) % at.count) for k in (1, 2)] for x in (i, j))
        if at.count == 1:
            return one
        if at.count == 2:
            other = at.read(a, rows[0], columns[0])
            return apply("neg", other) if i != j else other
        (r, s), (c, d) = rows, columns
        ahead = apply("mul", at.read(a, r, c), at.read(a, s, d))
        return apply("sub", ahead, apply("mul", at.read(a, r, d), at.read(a, s, c)))

    places = [(i, j) for i in range(at.count) for j in range(at.count)]
    stores = [at.write(output, number(i), number(j), minor(i, j)) for i, j in places]
    return nested_loops(at.lead, tuple(stores))


def _solution(a: Buffer, b: Buffer | None, output: Buffer) -> tuple[Stmt, ...]:
    """Elimination of the right-hand side, `b` or the identity, then substitution from below."""
    work = _Elimination(a, output)
    at, dtype = work.at, a.dtype
    columns = int(output.shape[-1])  # type: ignore[arg-type]
    zero, one = Const(0.0, dtype), Const(1.0, dtype)
    bad = Var("bad", bool_)

    def start(r: Var) -> list[Stmt]:
        def value(c: Var) -> Expr:
            return at.read(b, r, c) if b else apply("select", apply("eq", r, c), one, zero)

        return [_loop("c", columns, lambda c: [at.write(output, r, c, value(c))])]

    def back(i: Var) -> list[Stmt]:
        r, pivot = Var("row", int64), Var("pivot", dtype)

        def less(k: Var) -> list[Stmt]:
            p, f = Var("p", int64), Var("f", dtype)

            def one(c: Var) -> list[Stmt]:
                value = _less(at.read(output, r, c), at.read(output, p, c), f)
                return [at.write(output, r, c, value)]

            last = apply("sub", number(work.count - 1), k)
            return [Let(p, last), Let(f, at.read(work.work, r, p)), _loop("c", columns, one)]

        def divided(c: Var) -> list[Stmt]:
            return [at.write(output, r, c, apply("div", at.read(output, r, c), pivot))]

        return [
            Let(r, apply("sub", number(work.count - 1), i)),
            _serial("k", i, less),
            Let(pivot, at.read(work.work, r, r)),
            _loop("c", columns, divided),
        ]

    singular = apply("or", bad, apply("eq", work.pivot, zero))
    false = Const(False, bool_)
    return nested_loops(
        at.lead,
        (
            *work.copied(),
            _serial("r", work.count, start),
            For(work.i, work.count, Serial(), work.step(), ((bad, false),), (singular,)),
            _serial("i", work.count, back),
            at.spoiled(bad, output),
        ),
    )
