"""The check of kernels: what every stage may rely on.

Knows the kernel language; knows no targets. Linear in the size of the kernel.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn, final

from .accesses import memory, operands, read_boxes, written
from .dtypes import bool_, float32, int32, int64, uint32
from .expr import Apply, Buffer, Const, Expr, Extent, Load, Var, walk
from .kernel import (
    SPARE,
    Alloc,
    Any,
    Arrange,
    Contract,
    Copy,
    Dealt,
    For,
    Grid,
    If,
    Inner,
    Kernel,
    Let,
    Mma,
    Parallel,
    Param,
    Placed,
    Prefetch,
    Role,
    Serial,
    Stmt,
    Store,
    Sync,
    Team,
    Tree,
    Unfold,
    Unroll,
    Vector,
    nested,
)
from .printer import print_context
from .scalar import TABLE
from .scans import scan_of

__all__ = ["VerifyError", "verify_kernel"]


@final
class VerifyError(ValueError):
    """A kernel that breaks a rule of the language; the message shows where."""


def verify_kernel(kernel: Kernel) -> None:
    """Raise when `kernel` is not well formed.

    Names are used only where they are bound, types and arities agree, parameters are used as
    their roles say, and a mapped kernel has the one loop that a launch runs in chunks.

    Raises
    ------
    VerifyError
        Names the rule and shows the statement that breaks it.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.expr import index
    >>> y = Buffer("y", float32, ())
    >>> verify_kernel(Kernel("one", (Param(y, Role.OUT),), (), (Store(y, (), index(1)),)))
    Traceback (most recent call last):
    ...
    fusegrad.codegen.verify.VerifyError: one: a store of i64 into f32 y
      kernel one(y: f32[] out) {
    >   y[] = 1
      }
    """
    _Check(kernel).run()


@final
class _Check:
    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.statement: Stmt | None = None
        self.bound: set[Var] = set()
        self.buffers: set[Buffer] = set()
        self.roles: dict[Buffer, Param] = {}
        self.finishing = False
        # Of the grid loop, and whether this is inside of a loop that is dealt to its threads.
        self.team: Team | None = None
        self.dealt = False
        # Inside a vector loop: what differs from lane to lane.
        self.lanes: set[Var] | None = None

    def fail(self, rule: str) -> NoReturn:
        raise VerifyError(
            f"{self.kernel.name}: {rule}\n{print_context(self.kernel, self.statement)}"
        )

    # --- the whole kernel -------------------------------------------------------------------------

    def run(self) -> None:
        kernel = self.kernel
        for size in kernel.sizes:
            self._bind(size)
            if size.dtype is not int64:
                self.fail(f"the size {size.name} is {size.dtype.short}, not i64")
        for param in kernel.params:
            self._param(param)
        self._mapping()
        bound, buffers = set(self.bound), set(self.buffers)
        self._block(kernel.body)
        self.bound, self.buffers = bound, buffers
        self.finishing = True
        self._block(kernel.finish)

    def _param(self, param: Param) -> None:
        buffer = param.buffer
        if buffer in self.buffers:
            self.fail(f"{buffer.name} is a parameter twice")
        if buffer.space != "param":
            self.fail(f"the parameter {buffer.name} lies in {buffer.space} memory")
        if (param.role is Role.PARTIAL) != (param.monoid is not None):
            self.fail(f"{buffer.name}: partial parameters have a monoid, others do not")
        if param.monoid is not None and param.monoid.width != 1:
            self.fail(f"{buffer.name}: a partial parameter cannot combine by {param.monoid.value}")
        self.roles[buffer] = param
        self._declare(buffer)

    def _declare(self, buffer: Buffer) -> None:
        for extent in (*buffer.shape, *(buffer.strides or ())):
            if isinstance(extent, Var):
                self._scalar(extent)
            elif extent < 0:
                self.fail(f"{buffer.name} has an extent or stride of {extent}")
        if buffer.strides is not None and len(buffer.strides) != len(buffer.shape):
            self.fail(f"{buffer.name} has {len(buffer.shape)} axes, {len(buffer.strides)} strides")
        self.buffers.add(buffer)

    def _mapping(self) -> None:
        """A mapped kernel ends with its one parallel loop."""
        loops = [s for s in nested(self.kernel.body) if isinstance(s, For)]
        if all(f.mapping is None for f in loops):
            return
        last = self.kernel.body[-1]
        outermost = (Parallel, Vector, Grid)
        if not isinstance(last, For) or not isinstance(last.mapping, outermost):
            self.statement = last
            self.fail("the last statement of a mapped kernel is not its parallel loop")
        if not isinstance(last.order, Any):
            self.statement = last
            self.fail("the iterations of the parallel loop are not independent")
        for f in loops:
            if isinstance(f.mapping, (Parallel, Grid)) and f is not last:
                self.statement = f
                self.fail("a second parallel loop")
        self.team = last.mapping.team if isinstance(last.mapping, Grid) else None
        for s in self.kernel.body[:-1]:
            if not isinstance(s, (Let, Alloc)):
                self.statement = s
                self.fail("every chunk would run this: only lets and allocs precede the loop")

    # --- scopes -----------------------------------------------------------------------------------

    def _bind(self, var: Var) -> None:
        if var in self.bound:
            self.fail(f"{var.name} is bound a second time")
        self.bound.add(var)

    def _block(self, statements: Sequence[Stmt], following: Sequence[Expr] = ()) -> None:
        """Check a block; what it binds is out of scope after it."""
        added: list[Var] = []
        allocated: list[Buffer] = []
        for s in statements:
            self.statement = s
            for e in operands(s):
                self._expression(e)
            self._boxes(s)
            if isinstance(s, Let):
                self._let(s)
                added.append(s.var)
            elif isinstance(s, Alloc):
                if s.buffer in self.buffers:
                    self.fail(f"{s.buffer.name} is allocated a second time")
                self._declare(s.buffer)
                allocated.append(s.buffer)
            elif isinstance(s, For):
                self._loop(s)
                added += [var for var, _ in s.carry]
            else:
                self._other(s)
        for e in following:
            self._expression(e)
        self._leave(added)
        self.buffers.difference_update(allocated)

    def _leave(self, variables: Iterable[Var]) -> None:
        for var in variables:
            self.bound.discard(var)
            if self.lanes is not None:
                self.lanes.discard(var)

    # --- statements -------------------------------------------------------------------------------

    def _let(self, s: Let) -> None:
        if s.var.dtype is not s.value.dtype:
            self.fail(f"{s.var.name} is {s.var.dtype.short}, its value {s.value.dtype.short}")
        self._bind(s.var)
        if self.lanes is not None and self._varies((s.value,)):
            self.lanes.add(s.var)

    def _other(self, s: Stmt) -> None:
        if isinstance(s, Store):
            self._store(s)
        elif isinstance(s, If):
            if s.condition.dtype is not bool_:
                self.fail(f"the condition is {s.condition.dtype.short}, not bool")
            self._block(s.then)
        elif isinstance(s, Prefetch):
            self._readable(s.buffer)
            self._place(s.buffer, s.indices)
        elif isinstance(s, Sync):
            if self.team not in (Team.WARP, Team.BLOCK) or self.dealt:
                self.fail("a sync where no team of threads runs together")
        elif isinstance(s, Mma):
            self._mma(s)
        elif isinstance(s, (Arrange, Copy, Contract, Inner, Placed, Unfold)):
            if self.lanes is not None:
                self.fail("a box inside of a vector loop")
        else:
            self.fail(f"no statement {type(s).__name__}")

    def _store(self, s: Store) -> None:
        buffer = s.buffer
        self._writable(buffer)
        self._place(buffer, s.indices)
        if s.value.dtype is not buffer.dtype:
            self.fail(f"a store of {s.value.dtype.short} into {buffer.dtype.short} {buffer.name}")
        param = self.roles.get(memory(buffer))
        if param is not None and param.role is Role.PARTIAL and s.monoid is not param.monoid:
            assert param.monoid is not None
            self.fail(f"{buffer.name} is only accumulated into, by {param.monoid.value}")
        if s.monoid is not None and s.monoid.width != 1:
            self.fail(f"a store cannot accumulate by {s.monoid.value}")
        if s.monoid is not None and buffer.dtype.is_half:
            self.fail(f"{buffer.name} accumulates in {buffer.dtype.short}, not in f32")
        if s.asynchronous and (s.monoid is not None or self.team is not Team.BLOCK):
            self.fail("an async store that is no plain one of a block's thread")
        if s.nontemporal and s.monoid is not None:
            self.fail("an accumulation reads what it writes: it cannot go around the cache")

    def _writable(self, buffer: Buffer) -> None:
        if memory(buffer) not in self.buffers:
            self.fail(f"{buffer.name} is not allocated here")
        param = self.roles.get(memory(buffer))
        if param is None:
            return
        if param.role is Role.IN:
            self.fail(f"{buffer.name} is an input, and written")
        if param.role is Role.PARTIAL and self.finishing:
            self.fail(f"{buffer.name} is partial, and written in finish")

    def _readable(self, buffer: Buffer) -> None:
        if memory(buffer) not in self.buffers:
            self.fail(f"{buffer.name} is not allocated here")
        param = self.roles.get(memory(buffer))
        if param is not None and param.role is Role.PARTIAL and not self.finishing:
            self.fail(f"{buffer.name} is partial, and read before finish")

    def _arrange(self, s: Arrange) -> None:
        for buffer, more in ((s.keys, 0), (s.spare, SPARE)):
            self._writable(buffer)
            (extent,) = buffer.shape
            if buffer.dtype is not s.keys.dtype or buffer.dtype.kind != "uint":
                self.fail(f"{buffer.name} has no keys: they are unsigned integers of one dtype")
            if isinstance(extent, int) and extent < s.count + more:
                self.fail(f"{buffer.name} has {extent} elements, not {s.count + more}")

    def _boxes(self, s: Stmt) -> None:
        if isinstance(s, Arrange):
            self._arrange(s)
        if not isinstance(s, (Copy, Contract, Inner, Placed, Unfold)):
            return
        for buffer in read_boxes(s):
            self._readable(buffer)
        for buffer in written(s):
            self._writable(buffer)
            if len(buffer.shape) != 2:
                self.fail(f"{buffer.name} is not two-dimensional")
        if isinstance(s, Unfold):
            self._unfold(s)
            return
        if isinstance(s, Inner):
            self._inner(s)
            return
        if isinstance(s, Placed):
            self._placed(s)
            return
        if isinstance(s, Copy):
            boxes = [(s.source, s.starts, (s.row_axis, s.column_axis), s.target)]
        else:
            boxes = [
                (s.a, s.a_starts, (s.a_row_axis, s.a_sum_axis), s.acc),
                (s.b, s.b_starts, (s.b_sum_axis, s.b_column_axis), s.acc),
            ]
        for source, starts, axes, target in boxes:
            self._place(source, starts)
            widens = source.dtype.is_half and target.dtype is float32
            pairs = isinstance(s, Contract) and s.a.dtype is s.b.dtype is uint32
            if source.dtype is not target.dtype and not widens and not pairs:
                self.fail(f"{source.name} is {source.dtype.short}, not {target.dtype.short}")
            if axes[0] == axes[1] or any(not 0 <= a < len(starts) for a in axes):
                self.fail(f"{source.name} has no axes {axes}")
        first = s.target_row if isinstance(s, Copy) else s.acc_row
        for count in (s.rows, s.columns, first):
            self._integer(count)
        if isinstance(s, Contract) and s.onward is not None and s.onward.dtype is not bool_:
            self.fail(f"a condition of {s.onward.dtype.short}")

    def _mma(self, s: Mma) -> None:
        if self.team is not Team.BLOCK or not self.dealt:
            self.fail("an mma in no loop that is dealt to the threads of a block")
        self._writable(s.acc)
        if s.acc.dtype is not float32 or len(s.acc.shape) != 4 or s.acc.shape[3] != 4:
            self.fail(f"{s.acc.name} is not float32 of four elements in each tile")
        for buffer in (s.left, s.right):
            self._readable(buffer)
            if len(buffer.shape) != 2 or not buffer.dtype.is_half:
                self.fail(f"{buffer.name} is no matrix of 16-bit floats")
        if s.left.dtype is not s.right.dtype:
            self.fail(f"{s.left.name} is {s.left.dtype.short}, not {s.right.dtype.short}")
        for place in (s.thread, s.row, s.column, s.step):
            self._integer(place)

    def _inner(self, s: Inner) -> None:
        for source, start in ((s.a, s.a_start), (s.b, s.b_start)):
            self._place(source, (start,))
            if source.dtype is not s.acc.dtype:
                self.fail(f"{source.name} is {source.dtype.short}, not {s.acc.dtype.short}")
        if not s.b_columns or s.height < 1:
            self.fail("a tile without rows or columns")
        self._place(s.acc, (s.acc_row, s.acc_column))
        for count in (s.outer, s.length, s.rows):
            self._integer(count)

    def _placed(self, s: Placed) -> None:
        for source, start in ((s.a, s.a_start), (s.b, s.b_start)):
            self._place(source, (start,))
            if source.dtype is not s.acc.dtype:
                self.fail(f"{source.name} is {source.dtype.short}, not {s.acc.dtype.short}")
        for table in s.tables:
            if table.dtype is not int64 or len(table.shape) != 1:
                self.fail(f"{table.name} does not hold places")
        width = s.acc.shape[1]
        if s.height < 1 or not isinstance(width, int) or not 0 < s.columns <= width:
            self.fail("a tile without rows or columns")
        for count in (s.acc_row, s.a_row, s.outer, s.length, s.rows):
            self._integer(count)

    def _unfold(self, s: Unfold) -> None:
        if s.source.dtype is not s.target.dtype:
            names = f"{s.source.dtype.short}, not {s.target.dtype.short}"
            self.fail(f"{s.source.name} is {names}")
        axes = len(s.low)
        lengths = {len(s.row_extents) - 1, len(s.column_extents) - 1, len(s.row_steps)}
        if {*lengths, len(s.column_steps), len(s.source.shape) - 3} != {axes}:
            self.fail(f"the windows of {s.source.name} do not have {axes} axes")
        for value in (s.offset, s.first_row, s.rows, s.first_column, s.columns):
            self._integer(value)

    # --- loops ------------------------------------------------------------------------------------

    def _loop(self, s: For) -> None:
        self._heading(s)
        outer = self.lanes
        if isinstance(s.mapping, Dealt):
            if self.dealt or s.mapping.team is not self.team or self.team is Team.THREAD:
                self.fail("a loop is dealt to threads that do not run it together")
            self.dealt = True
        if isinstance(s.mapping, Vector):
            if outer is not None:
                self.fail("a vector loop inside of a vector loop")
            self.lanes = {s.var}
        self._bind(s.var)
        carried = [var for var, _ in s.carry]
        if isinstance(s.order, Serial):
            self._carry(carried)
        self._block(s.body, s.next)
        self.statement = s
        for var, e in zip(carried, s.next, strict=True):
            if var.dtype is not e.dtype:
                self.fail(f"{var.name} is {var.dtype.short}, its next {e.dtype.short}")
        self._leave([s.var, *carried])
        self.lanes = outer
        if isinstance(s.mapping, Dealt):
            self.dealt = False
        self._carry(carried)

    def _carry(self, carried: Sequence[Var]) -> None:
        """Bind carried variables; in a vector loop any of them may differ from lane to lane."""
        for var in carried:
            self._bind(var)
            if self.lanes is not None:
                self.lanes.add(var)

    def _heading(self, s: For) -> None:
        self._integer(s.var)
        if isinstance(s.extent, Expr):
            self._integer(s.extent)
            if self.lanes is not None and self._varies((s.extent,)):
                self.fail("the extent differs from lane to lane of the vector loop around it")
        elif s.extent < 0:
            self.fail("the extent is negative")
        elif isinstance(s.var.extent, int) and s.extent > s.var.extent:
            self.fail(f"{s.var.name} is said to stay below {s.var.extent}")
        width = len(s.carry)
        if isinstance(s.order, Tree):
            width = sum(m.width for m in s.order.monoids)
        if len(s.carry) != width or len(s.next) != width:
            self.fail(f"{len(s.carry)} carried variables, {len(s.next)} next, {width} expected")
        if isinstance(s.order, Tree) and any(var.dtype.is_half for var, _ in s.carry):
            self.fail("a tree combines halves, not float32")
        if isinstance(s.order, Any) and s.carry:
            self.fail("independent iterations carry nothing")
        for var, start in s.carry:
            if var.dtype is not start.dtype:
                self.fail(f"{var.name} is {var.dtype.short}, its start {start.dtype.short}")
        if isinstance(s.order, Tree):
            self._positions(s)
        if isinstance(s.mapping, Unroll) and not isinstance(s.extent, int):
            self.fail("an unrolled loop has a known extent")
        if isinstance(s.mapping, (Vector, Dealt)):
            scans = isinstance(s.mapping, Vector) and scan_of(s) is not None
            if isinstance(s.order, Serial) and not scans:
                self.fail("serial iterations cannot run in vectors, unless they are a scan")
            if s.mapping.lanes < 1 or s.mapping.unroll < 1:
                self.fail("a vector loop has lanes and vectors in flight")

    def _positions(self, s: For) -> None:
        assert isinstance(s.order, Tree)
        at = 0
        for monoid in s.order.monoids:
            if monoid.width == 2 and s.carry[at + 1][0].dtype not in (int32, int64):
                self.fail(f"{monoid.value} carries a value and a position, i32 or i64")
            at += monoid.width

    # --- expressions ------------------------------------------------------------------------------

    def _expression(self, expr: Expr) -> None:
        for e in walk(expr):
            if isinstance(e, Var):
                self._scalar(e)
            elif isinstance(e, Load):
                self._readable(e.buffer)
                self._place(e.buffer, e.indices)
            elif isinstance(e, Apply):
                self._apply(e)
            elif not isinstance(e, Const):
                self.fail(f"no expression {type(e).__name__}")

    def _scalar(self, var: Var) -> None:
        if var not in self.bound:
            self.fail(f"{var.name} is not bound here")

    def _integer(self, extent: Extent | Expr) -> None:
        if isinstance(extent, Expr) and extent.dtype is not int64:
            self.fail(f"an extent or loop variable of {extent.dtype.short}, not i64")

    def _place(self, buffer: Buffer, indices: Sequence[Expr]) -> None:
        if len(indices) != len(buffer.shape):
            self.fail(f"{buffer.name} has {len(buffer.shape)} axes, not {len(indices)}")
        for i in indices:
            if i.dtype is not int64:
                self.fail(f"an index of {buffer.name} is {i.dtype.short}, not i64")

    def _apply(self, e: Apply) -> None:
        row = TABLE.get(e.op)
        if row is None:
            self.fail(f"no scalar op {e.op}")
        if len(e.args) != row.arity:
            self.fail(f"{e.op} takes {row.arity} operands, not {len(e.args)}")
        if e.op in ("cast", "bitcast"):
            return
        dtypes = tuple(a.dtype for a in e.args)
        try:
            result = row.result(dtypes)
        except TypeError as error:
            self.fail(f"{e.op} {error}, not ({', '.join(d.short for d in dtypes)})")
        if result is not e.dtype:
            self.fail(f"{e.op} gives {result.short}, not {e.dtype.short}")

    def _varies(self, exprs: Sequence[Expr]) -> bool:
        """Whether an expression may differ from lane to lane of the vector loop."""
        lanes = self.lanes or set()
        return any(e in lanes for root in exprs for e in walk(root) if isinstance(e, Var))
