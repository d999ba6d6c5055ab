"""What a product multiplies: matrices in memory, and such that are computed where they are read.

Knows index arithmetic and loops; chooses no tile and knows no items.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from ..accesses import memory
from ..affine import canonical, linear
from ..dtypes import DType, float32, int64
from ..expr import Apply, Buffer, Expr, Extent, Load, Var, index, walk
from ..kernel import Alloc, Any, Copy, For, Let, Serial, Stmt, Store, Vector
from ..records import dataclass
from ..scalar import TABLE, apply
from .rewrite import flat_offset, replaced, stride_of

__all__ = [
    "Computed",
    "Operand",
    "computing",
    "element",
    "filled",
    "filled_panels",
    "operand_of",
    "placed",
    "strided",
]


@final
@dataclass(frozen=True)
class Computed:
    """An element as a value of its row and its column."""

    row: Var
    column: Var
    value: Expr

    @property
    def operations(self) -> float:
        """What it costs, roughly."""
        work = [x for x in walk(self.value) if isinstance(x, Apply) and x.dtype is not int64]
        return float(sum(TABLE[x.op].cost for x in work))

    def at(self, row: Expr, column: Expr, values: Mapping[Var, Expr]) -> Expr:
        """The value of one element, with `values` for the indices of the batch."""
        return replaced(self.value, {**values, self.row: row, self.column: column})


@final
@dataclass(frozen=True)
class Operand:
    """A matrix in memory: element (row, column) of batch b is at ``base + strides``.

    One of 16-bit floats is converted where it is read or packed. Of one that is `computed`, buffer
    and strides say how memory runs in what it is computed from; vectors run along an axis where
    the stride is 1.
    """

    buffer: Buffer
    base: Expr
    row: int
    column: int
    computed: Computed | None = None

    @property
    def turned(self) -> Operand:
        """Its transpose."""
        made = self.computed
        if made is not None:
            made = Computed(made.column, made.row, made.value)
        return Operand(self.buffer, self.base, self.column, self.row, made)

    @property
    def itemsize(self) -> int:
        """Bytes of an element where it lies."""
        made = self.computed
        return (self.buffer if made is None else made.value).dtype.itemsize

    def element(
        self, base: Expr, row: Expr, column: Expr, values: Mapping[Var, Expr], dtype: DType
    ) -> Expr:
        """An element of the matrix that begins at `base`, as the sum takes it."""
        if self.computed is not None:
            return self.computed.at(row, column, values)
        matrix = strided(self.buffer, (self.row, self.column))
        return element(Load(matrix, (base, row, column)), dtype)


def element(load: Load, dtype: DType) -> Expr:
    """An element as the sum takes it."""
    return load if load.dtype is dtype else apply("cast", load, dtype=dtype)


def strided(buffer: Buffer, strides: tuple[int, int]) -> Buffer:
    """A matrix over `buffer`: an offset, then rows and columns."""
    return Buffer(buffer.name, buffer.dtype, (1, 1, 1), (1, *strides), "view", memory(buffer))


def spelled(expr: Expr, lets: Mapping[Var, Expr]) -> Expr:
    """`expr` with names replaced by what they stand for."""
    while any(isinstance(x, Var) and x in lets for x in walk(expr)):
        expr = replaced(expr, lets)
    return expr


# --- which operands there are ---------------------------------------------------------------------


def operand_of(
    factor: Expr, row: Var, column: Var, other: Var, lets: Mapping[Var, Expr]
) -> Operand | None:
    """The matrix that a factor is an element of, or None where it depends on `other` too."""
    value = spelled(factor, lets)
    if any(x is other for x in walk(value)):
        return None
    load = _element(value)
    if load is not None:
        found = _in_memory(load, row, column)
        if found is not None:
            return found
    return _computed(value, row, column, lets)


def _element(expr: Expr) -> Load | None:
    """The element that a factor is, or is converted from."""
    if isinstance(expr, Apply) and expr.op == "cast" and expr.dtype is float32:
        (expr,) = expr.args
        return expr if isinstance(expr, Load) and expr.dtype.is_half else None
    return expr if isinstance(expr, Load) else None


def _in_memory(load: Load, row: Var, column: Var) -> Operand | None:
    form = linear(flat_offset(load.buffer, load.indices))
    rest: Expr = index(form.constant)
    for atom, factor in form.terms:
        if atom is row or atom is column:
            continue
        if any(x is row or x is column for x in walk(atom)):
            return None
        rest = apply("add", rest, apply("mul", atom, index(factor)))
    return Operand(load.buffer, rest, form.coefficient(row), form.coefficient(column))


def _computed(value: Expr, row: Var, column: Var, lets: Mapping[Var, Expr]) -> Operand | None:
    """A computed operand; vectors run along the axis along which more of what it reads lies."""
    loads = [x for x in walk(value) if isinstance(x, Load)]
    if not loads:
        return None

    def order(axis: Var) -> tuple[int, int]:
        steps = [stride_of(x.buffer, x.indices, axis, lets) for x in loads]
        return sum(s not in (0, 1) for s in steps), -steps.count(1)

    steps = (0, 1) if order(column) <= order(row) else (1, 0)
    return Operand(loads[0].buffer, index(0), *steps, Computed(row, column, value))


# --- computing ------------------------------------------------------------------------------------


def filled(
    operand: Operand,
    panel: Buffer,
    panel_row: Expr,
    box: tuple[Expr, Expr, Extent | Expr, Extent | Expr],
    values: Mapping[Var, Expr],
    lanes: int,
) -> tuple[Stmt, ...]:
    """Compute a box of an operand into a buffer, from a row of it on.

    The box is its first row and column, its rows and its columns. Where vectors run along its rows,
    it is computed so, and turned.
    """
    assert operand.computed is not None
    first_row, first_column, rows, columns = box
    i, j = Var("i"), Var("j")
    if operand.column == 1:
        value = operand.computed.at(_sum(first_row, i), _sum(first_column, j), values)
        return computing([(i, rows), (j, columns)], panel, (_sum(panel_row, i), j), value, lanes)
    height, width = panel.shape
    assert isinstance(height, int)
    assert isinstance(width, int)
    shape = (width, (-(-height // lanes) | 1) * lanes)
    lying = Buffer("lying", panel.dtype, shape, space="chunk")
    value = operand.computed.at(_sum(first_row, i), _sum(first_column, j), values)
    statements = computing([(j, columns), (i, rows)], lying, (j, i), value, lanes)
    high, wide = (index(e) if isinstance(e, int) else e for e in (rows, columns))
    copy = Copy(panel, lying, (index(0), index(0)), 1, 0, high, wide, panel_row)
    return (Alloc(lying), *statements, copy)


def filled_panels(
    operand: Operand,
    panel: tuple[Buffer, int],
    box: tuple[Expr, Expr, Extent, Expr],
    panels: Expr | None,
    values: Mapping[Var, Expr],
    lanes: int,
) -> tuple[Stmt, ...]:
    """Compute a box of rows, each of which is cut into rows of panels that lie so many rows apart.

    The columns of the box fill `panels` when that is given.
    """
    assert operand.computed is not None
    target, step = panel
    first_row, first_column, rows, columns = box
    width = target.shape[1]
    assert isinstance(width, int)
    statements: list[Stmt] = []
    whole = panels
    if whole is None:
        whole = Var("whole", int64)
        statements.append(Let(whole, apply("divtrunc", columns, index(width))))
    p = Var("p")
    nests: list[tuple[Expr, Extent | Expr]] = [(p, width)]
    if panels is None:
        rest = apply("sub", columns, apply("mul", whole, index(width)))
        nests.append((whole, canonical(rest)))
    for number, extent in nests:
        k, v = Var("k"), Var("v", extent=width)
        column = _sum(first_column, _sum(apply("mul", number, index(width)), v))
        value = operand.computed.at(_sum(first_row, k), column, values)
        place = (_sum(k, apply("mul", number, index(step))), v)
        around: list[tuple[Var, Extent | Expr]] = [(p, whole)] if number is p else []
        loops = [(k, rows), *around, (v, extent)]
        statements += computing(loops, target, place, value, lanes)
    return tuple(statements)


def _sum(a: Expr, b: Expr) -> Expr:
    return canonical(apply("add", a, b))


def computing(
    loops: Sequence[tuple[Var, Extent | Expr]],
    buffer: Buffer,
    place: Sequence[Expr],
    value: Expr,
    lanes: int,
) -> tuple[Stmt, ...]:
    """Nested loops that store a value at a place; the innermost one runs in vectors."""
    levels, value = placed(value, [var for var, _ in loops], buffer.name)
    levels[-1].append(Store(buffer, tuple(place), value))
    for n in range(len(loops), 0, -1):
        var, extent = loops[n - 1]
        innermost = n == len(loops)
        order, mapping = (Any(), Vector(lanes, 1)) if innermost else (Serial(), None)
        levels[n - 1].append(For(var, extent, order, tuple(levels[n]), mapping=mapping))
    return tuple(levels[0])


def placed(value: Expr, variables: Sequence[Var], prefix: str) -> tuple[list[list[Stmt]], Expr]:
    """What belongs around and inside nested loops to compute a value in the innermost one.

    The first list is for before the loops, and each of the others for inside one more. What
    depends on outer loops alone has a name there, and so has what is used twice.
    """
    levels: list[list[Stmt]] = [[] for _ in range(len(variables) + 1)]
    depth_of = {var: n for n, var in enumerate(variables, 1)}
    depths: dict[Expr, int] = {}
    users: dict[Expr, list[Expr]] = {}
    for e in walk(value):
        parts = _parts(e)
        own = depth_of.get(e, 0) if isinstance(e, Var) else 0
        depths[e] = max([own, *[depths[x] for x in parts]])
        for x in parts:
            users.setdefault(x, []).append(e)
    names: dict[Expr, Expr] = {}
    for e in walk(value):
        readers = users.get(e, [])
        if (len(readers) > 1 or any(depths[x] > depths[e] for x in readers)) and _is_work(e):
            var = Var(f"{prefix}{len(names)}", e.dtype)
            levels[depths[e]].append(Let(var, _named(e, names)))
            names[e] = var
    return levels, _named(value, names)


def _parts(expr: Expr) -> tuple[Expr, ...]:
    if isinstance(expr, Apply):
        return expr.args
    return expr.indices if isinstance(expr, Load) else ()


def _is_work(expr: Expr) -> bool:
    """Whether it is more than a place in memory, a constant or a name."""
    if isinstance(expr, Load):
        return True
    if not isinstance(expr, Apply):
        return False
    return expr.dtype is not int64 or any(isinstance(x, Load) for x in walk(expr))


def _named(expr: Expr, names: Mapping[Expr, Expr]) -> Expr:
    """`expr` with the names of parts of it."""
    memo: dict[Expr, Expr] = {}
    for e in walk(expr):
        if e in names:
            memo[e] = names[e]
        elif isinstance(e, Apply):
            memo[e] = Apply(e.op, [memo[a] for a in e.args], e.dtype)
        elif isinstance(e, Load):
            memo[e] = Load(e.buffer, [memo[i] for i in e.indices])
        else:
            memo[e] = e
    return memo[expr]
