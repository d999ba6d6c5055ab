"""The kernel language: loops, buffers and scalar values.

Knows no tensors, no ops of the graph and no targets. `print_kernel`, `verify_kernel` and
`interpret_kernel` (their own files) give it a text, a check and a meaning.

    kernel ::= kernel NAME(param, ..., SIZE, ...) { stmt* } [finish { stmt* }]
    param  ::= NAME: dtype[extent, ...] [strides] in|out|inout|partial MONOID
    stmt   ::= for VAR in extent KIND [carry (VAR = expr), ...] { stmt* [next expr, ...] }
             | if expr { stmt* } | let VAR = expr
             | NAME[expr, ...] = expr [nontemporal|async] | NAME[expr, ...] MONOID= expr
             | alloc NAME: dtype[extent, ...] row|tile|chunk|register|shared|slot
             | prefetch NAME[expr, ...] | sync
             | copy NAME[VAR, VAR] = NAME[expr, ...] for VAR < expr, ..., else 0      packing
             | unfold NAME[VAR, VAR] = NAME[expr, ...] for VAR < expr, ..., else 0    windows
             | contract NAME[VAR, VAR] = [(expr ? itself) +] NAME[expr, ...] . NAME[expr, ...]
             for VAR < expr, ... [, INT ahead]                                  a register tile
             | contract NAME[VAR, VAR] (=|+=) NAME[expr] . NAME[expr] for VAR < expr, ...  at places
         | inner NAME[VAR, VAR] += NAME[expr] . NAME[expr] for VAR < expr, ...   along the sum
             | mma NAME[VAR] += NAME[expr, expr] . NAME[expr, expr]     tiles of 16 rows, 8 columns
         | arrange NAME by NAME: INT to INT of INT                     places of sorted keys
    KIND   ::= (serial | any | tree(MONOID, ...))
               [parallel | vector(lanes, unroll) | unroll
               | grid(threads, TEAM) | block(lanes, unroll) | warp(lanes, unroll)]
    TEAM   ::= thread | warp | block
    MONOID ::= sum | prod | max | min | and | or | argmax | argmin
    expr   ::= CONST | VAR | NAME[expr, ...] | OP(expr, ...)    OP: a row of scalar.py
    extent ::= INT | SIZE | expr

Meaning, where it is not plain:

- A `serial` loop with carry: inside the body the variable is the state, `next` gives the next
  state, after the loop the variable is the final state. A `tree` loop: the variable is bound only
  after the loop; `next` gives one contribution for each carry, combined with that carry's monoid,
  starting from the carry's start value. The order of a tree depends on shape and lanes alone.
- argmax and argmin carry two variables (value, index), so `next` gives two expressions for them;
  the first of equal values wins, and a NaN wins over numbers (as NumPy).
- `partial` parameters have one private copy for each chunk, set to the identity of their monoid
  before the chunk starts; the body only accumulates into them. When all chunks are done they
  are combined in order of chunks, and `finish` runs once: there a load of a partial buffer gives
  the combined value.
- A kernel that is mapped has one `parallel` loop as the last statement of its body; a launch runs
  it in chunks [lo, hi). `row` and `tile` memory is private to an iteration, `chunk` memory to a
  chunk.
- A loop that is mapped to `vector` runs `lanes` iterations at once. A `serial` one is a scan
  (`scans.py`): what its iterations combine, they combine in an order that depends on lanes. Loops
  nested in a vector loop have extents that do not depend on its variable. Buffers allocated inside
  it are private to each lane.
- A kernel for a GPU has one `grid` loop as the last statement of its body: each iteration is run by
  a team, which is a thread, a warp or a block of threads. What stands in it is computed by every
  thread of the team, and stored by one. The iterations of a `block` or `warp` loop are dealt to the
  threads of the team: thread t has `lanes` of them side by side, beginning at t * lanes, and again
  that many one round further. After a `sync` every thread of the team sees what the others have
  stored before it. An `async` store is done at the next `sync` of its thread. `shared` and `slot`
  memory belongs to a team and lives as long as an iteration of the grid loop; of `register` memory
  each thread has the part along the first axis that is indexed by the variable of the loop that is
  dealt to it.
- `mma` adds products of 16-bit floats in groups, in an order of the hardware's own that is always
  the same; the interpreter adds one after the other.
- `prefetch` says that what lies there is read soon. It means nothing: the place may even lie
  outside the buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import field
from enum import Enum
from typing import final

from .expr import Buffer, Expr, Extent, Var, index
from .records import dataclass

__all__ = [
    "SPARE",
    "Alloc",
    "Any",
    "Arrange",
    "Contract",
    "Copy",
    "Dealt",
    "For",
    "Grid",
    "If",
    "Inner",
    "Kernel",
    "Let",
    "Mapping",
    "Mma",
    "Monoid",
    "Order",
    "Parallel",
    "Param",
    "Placed",
    "Prefetch",
    "Role",
    "Serial",
    "Stmt",
    "Store",
    "Sync",
    "Team",
    "Tree",
    "Unfold",
    "Unroll",
    "Vector",
    "nested",
]


class Monoid(Enum):
    """How contributions are combined; the value is the printed name."""

    SUM = "sum"
    PROD = "prod"
    MAX = "max"
    MIN = "min"
    AND = "and"
    OR = "or"
    ARGMAX = "argmax"
    ARGMIN = "argmin"

    @property
    def width(self) -> int:
        """How many carried variables the monoid's state has."""
        return 2 if self in (Monoid.ARGMAX, Monoid.ARGMIN) else 1


class Role(Enum):
    """What a kernel does with a parameter."""

    IN = "in"
    OUT = "out"
    INOUT = "inout"
    PARTIAL = "partial"


# --- the order of a loop -------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Serial:
    """Iterations in order."""


@final
@dataclass(frozen=True)
class Any:
    """Independent iterations, in whatever order."""


@final
@dataclass(frozen=True)
class Tree:
    """Contributions combined by monoids, in a tree whose shape the schedule fixes."""

    monoids: tuple[Monoid, ...]


Order = Serial | Any | Tree


# --- what the schedule maps a loop to -------------------------------------------------------------


@final
@dataclass(frozen=True)
class Parallel:
    """The chunked loop of a launch: it runs from `lo` to `hi` of the chunk."""


@final
@dataclass(frozen=True)
class Vector:
    """`lanes` iterations at once, `unroll` vectors in flight, the tail masked."""

    lanes: int
    unroll: int = 1


@final
@dataclass(frozen=True)
class Unroll:
    """Every iteration written out; the extent is a number."""


class Team(Enum):
    """Who runs one iteration of the grid loop."""

    THREAD = "thread"
    WARP = "warp"
    BLOCK = "block"


@final
@dataclass(frozen=True)
class Grid:
    """Iterations dealt to teams, in blocks of `threads`.

    With `blocks`, there are no more of them: a team goes on with a further iteration.
    """

    threads: int
    team: Team
    blocks: int | None = None

    @property
    def width(self) -> int:
        """Threads of one team."""
        return {Team.THREAD: 1, Team.WARP: 32, Team.BLOCK: self.threads}[self.team]


@final
@dataclass(frozen=True)
class Dealt:
    """Iterations dealt to the threads of a team, `lanes` side by side, `unroll` rounds in flight.

    The last round is masked.
    """

    team: Team
    lanes: int = 1
    unroll: int = 1


Mapping = Parallel | Vector | Unroll | Grid | Dealt


_FIRST = index(0)
SPARE = 64
"""Elements beyond those that are arranged: vectors are written whole."""


# --- statements -----------------------------------------------------------------------------------


class Stmt:
    """A statement of a kernel. Immutable."""

    __slots__ = ()


@final
@dataclass(frozen=True, eq=False)
class Let(Stmt):
    """``let var = value``."""

    var: Var
    value: Expr


@final
@dataclass(frozen=True, eq=False)
class Store(Stmt):
    """``buffer[indices] = value``, or with a monoid ``buffer[indices] MONOID= value``."""

    buffer: Buffer
    indices: tuple[Expr, ...]
    value: Expr
    monoid: Monoid | None = None
    nontemporal: bool = False
    asynchronous: bool = False


@final
@dataclass(frozen=True, eq=False)
class Alloc(Stmt):
    """Local memory, uninitialised."""

    buffer: Buffer


@final
@dataclass(frozen=True, eq=False)
class Prefetch(Stmt):
    """A hint that `buffer` is soon read at `indices`, which may lie outside of it."""

    buffer: Buffer
    indices: tuple[Expr, ...]


@final
@dataclass(frozen=True, eq=False)
class Sync(Stmt):
    """The threads of a team wait for each other, and see what the others have stored."""


@final
@dataclass(frozen=True, eq=False)
class If(Stmt):
    """``if condition { then }``."""

    condition: Expr
    then: tuple[Stmt, ...]


@final
@dataclass(frozen=True, eq=False)
class For(Stmt):
    """A loop of `var` from 0 to `extent` - 1.

    ``carry`` pairs each carried variable with its start value; ``next`` gives the next state
    (serial) or the contribution (tree), one expression for each carried variable.
    """

    var: Var
    extent: Extent | Expr
    order: Order
    body: tuple[Stmt, ...]
    carry: tuple[tuple[Var, Expr], ...] = ()
    next: tuple[Expr, ...] = ()
    mapping: Mapping | None = None


@final
@dataclass(frozen=True, eq=False)
class Copy(Stmt):
    """``target[i, j] = source[start_0 + ..., ...]`` for a two-dimensional box.

    ``target`` has shape (rows, columns). Element (i, j) is read from `source` at `starts`, moved by
    i along `row_axis` and by j along `column_axis`. Rows from `rows` on and columns from
    `columns` on are set to zero. A target that is a view is written from its row `target_row` on.
    A target of float32 takes 16-bit floats, converted.
    """

    target: Buffer
    source: Buffer
    starts: tuple[Expr, ...]
    row_axis: int
    column_axis: int
    rows: Expr
    columns: Expr
    target_row: Expr = _FIRST


@final
@dataclass(frozen=True, eq=False)
class Contract(Stmt):
    """``acc[i, j] = sum over k of a[.. i .. k ..] * b[.. k .. j ..]``: one register tile.

    ``acc`` is a buffer of shape (tile_rows, tile_columns), written whole; one that is a view is
    written from its row `acc_row` on. The sum over k runs in order, with fused multiply-adds, from
    zero, or from what `acc` holds where `onward` is given and holds. `a` is read at `a_starts`,
    moved by i along `a_row_axis` and by k along `a_sum_axis`; a row of the tile at or beyond `rows`
    repeats row `rows` - 1 (its values are not used). `b` is read at `b_starts`, moved by k along
    `b_sum_axis` and by j along `b_column_axis`, whose stride must be 1; columns at or beyond
    `columns` count as zero. 16-bit floats in either are converted to the float32 of ``acc``.
    Elements of uint32 in both are two of bfloat16, of which the product of the upper ones is added
    first, and numbers below the least normal one count as zero. With
    `ahead` what `b` has so many steps of the sum later is fetched into the caches.
    """

    acc: Buffer
    a: Buffer
    a_starts: tuple[Expr, ...]
    a_row_axis: int
    a_sum_axis: int
    b: Buffer
    b_starts: tuple[Expr, ...]
    b_sum_axis: int
    b_column_axis: int
    extent: Extent
    rows: Expr
    columns: Expr
    acc_row: Expr = _FIRST
    onward: Expr | None = None
    ahead: int = 0


@final
@dataclass(frozen=True, eq=False)
class Placed(Stmt):
    """``acc[i, j] += sum over n, k of a[...] * b[...]``: a tile of operands that lie anywhere.

    `a` is read at ``a_start + a_rows[a_row + i] + n*a_step + a_places[k]``, and `b` at
    ``b_start + n*b_step + b_places[k] + j``; with `b_run`, a length and a step, j moves on by that
    step after every so many columns. A buffer of int64 says where each of these lies, a number how
    far they are apart; a buffer of places has an element more than are used. `a` and `b` have one
    axis, ``acc`` two: its first `columns` columns are written, from row `acc_row` on. n is below
    `outer`, k below `length`. A row of the tile at or beyond `rows` repeats row `rows` - 1. The sum
    runs in order, with fused multiply-adds, from zero, or from what ``acc`` holds where it goes
    `onward`.
    """

    acc: Buffer
    acc_row: Expr
    height: int
    columns: int
    a: Buffer
    a_start: Expr
    a_rows: Buffer | int
    a_row: Expr
    a_step: int
    a_places: Buffer | int
    b: Buffer
    b_start: Expr
    b_step: int
    b_places: Buffer | int
    b_run: tuple[int, int] | None
    outer: Expr
    length: Expr
    rows: Expr
    onward: bool

    @property
    def tables(self) -> tuple[Buffer, ...]:
        """The buffers that say where something lies."""
        places = (self.a_rows, self.a_places, self.b_places)
        return tuple(p for p in places if isinstance(p, Buffer))


@final
@dataclass(frozen=True, eq=False)
class Inner(Stmt):
    """``acc[i, j] += sum over n, k of a[a_start + i*a_row + n*a_step + k] * b[...]``.

    A register tile of inner products: both operands run along memory with k, and `b`, read at
    ``b_start + b_columns[j] + n*b_step + k``, has a place of its own for each column. `a` and `b`
    have one axis, `acc` two, of which the tile is at `acc_row` and `acc_column`. n is below
    `outer`, k below `length`, both at least 1. There are `height` rows and a column for each of
    `b_columns`; a row at or beyond `rows` repeats row `rows` - 1. The order of the sum depends on
    lanes and shapes.
    """

    acc: Buffer
    acc_row: Expr
    acc_column: Expr
    a: Buffer
    a_start: Expr
    a_row: int
    a_step: int
    b: Buffer
    b_start: Expr
    b_columns: tuple[int, ...]
    b_step: int
    outer: Expr
    length: Expr
    height: int
    rows: Expr


@final
@dataclass(frozen=True, eq=False)
class Mma(Stmt):
    """``acc[thread] += left[row.., step..] . right[column.., step..]``: tiles, by 32 threads.

    Tiles of 16 rows and 8 columns that the threads of a warp multiply together. ``acc`` has shape
    (threads, M, N, 4) in registers, and the loop of `thread` is dealt to the threads of a block.
    ``acc[thread, m, n, c]`` gets the sum over k below 16 of ``left[i, step + k]`` times
    ``right[j, step + k]``: with `lane` the number of the thread in its warp, i is
    ``row + 16*m + lane//4 + 8*(c//2)``, and j is ``column + 8*n + 2*(lane % 4) + c % 2``. `row`,
    `column` and `step` are those of the warp. Both operands are of one 16-bit float.
    """

    acc: Buffer
    thread: Var
    left: Buffer
    row: Expr
    right: Buffer
    column: Expr
    step: Expr


@final
@dataclass(frozen=True, eq=False)
class Unfold(Stmt):
    """``target[i, j] = source[...]``: the windows of an array as a matrix, zeros beyond its edges.

    Row ``first_row + i`` is (r0, r1, ...) in row-major order below `row_extents`, and column
    ``first_column + j`` is (c0, c1, ...) below `column_extents`. `source` is read at `offset` along
    its first axis, at r0 and c0 along the next two, and at
    ``r_a * row_steps[a] + c_a * column_steps[a] - low[a]`` along the others; an element outside of
    these is zero. ``target`` has shape (rows, columns). Rows from `rows` on are left as they are,
    and columns from `columns` on are set to zero. `first_row` is a multiple of the rows of one r0.
    """

    target: Buffer
    source: Buffer
    offset: Expr
    row_extents: tuple[int, ...]
    column_extents: tuple[int, ...]
    row_steps: tuple[int, ...]
    column_steps: tuple[int, ...]
    low: tuple[int, ...]
    first_row: Expr
    rows: Expr
    first_column: Expr
    columns: Expr


@final
@dataclass(frozen=True, eq=False)
class Arrange(Stmt):
    """The places `first` to `last` - 1 of ``keys`` get what is there when all `count` are in order.

    No key before them is larger than one of these, and none behind them is less. ``keys`` is a
    buffer of unsigned integers with one axis, and ``spare`` another, of `SPARE` elements more than
    `count`, which may hold anything afterwards.
    """

    keys: Buffer
    spare: Buffer
    count: int
    first: int
    last: int


@final
@dataclass(frozen=True, eq=False)
class Param:
    """A buffer argument. `monoid` belongs to partial ones."""

    buffer: Buffer
    role: Role
    monoid: Monoid | None = None


@final
@dataclass(frozen=True, eq=False)
class Kernel:
    """One kernel: parameters, sizes (integer arguments), body, and what runs once at the end."""

    name: str
    params: tuple[Param, ...]
    sizes: tuple[Var, ...]
    body: tuple[Stmt, ...]
    finish: tuple[Stmt, ...] = field(default=())


def nested(statements: Sequence[Stmt]) -> Iterator[Stmt]:
    """Every statement, outer before inner, in the order of the text."""
    stack = list(reversed(statements))
    while stack:
        statement = stack.pop()
        yield statement
        if isinstance(statement, For):
            stack.extend(reversed(statement.body))
        elif isinstance(statement, If):
            stack.extend(reversed(statement.then))
