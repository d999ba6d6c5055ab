"""Python source of mapped kernels for numba.cuda: what a GPU does, to read, run and learn from.

Knows how threads of a team share work, in the words of numba.cuda; knows nothing of the package
itself and holds no heuristics.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar, final

from ..accesses import memory, operands
from ..affine import canonical
from ..dtypes import DType
from ..expr import Buffer, Const, Expr, Extent, Load, Var, index, walk
from ..kernel import (
    Alloc,
    Dealt,
    For,
    Grid,
    Kernel,
    Monoid,
    Stmt,
    Store,
    Sync,
    Team,
    Tree,
    nested,
)
from ..scalar import apply
from ..schedule.gpu import map_gpu
from ..schedule.gpu_rewrite import identities, known
from .gpu_threads import launched_blocks
from .llvm_layout import elements
from .python import COMBINE, Source, numpy_name

__all__ = ["numba_cuda_source"]

WARP = 32
_HEADS = "import math\nimport numpy as np\nfrom numba import cuda\n"
_ALL = "0xFFFFFFFF"
_NO_WARPS = "Not for numba's simulator: it has no shuffles and no barriers of warps."
_NEAR = "abs({0}) < 4503599627370496.0"
_FUNCTIONS = {
    "cbrt": "cuda.cbrt({0})",
    "ceil": f"(math.ceil({{0}}) if {_NEAR} else {{0}})",
    "exp2": "",
    "floor": f"(math.floor({{0}}) if {_NEAR} else {{0}})",
    "floordiv": "{0} // {1}",
    "logaddexp": "",
    "mod": "{0} % {1}",
    "nextafter": "",
    "remainder": "{0} % {1}",
    "rint": f"(round({{0}}) if {_NEAR} else {{0}})",
    "round": f"(round({{0}}) if {_NEAR} else {{0}})",
    "sign": "(1 if {0} > 0 else -1 if {0} < 0 else {0})",
    "trunc": f"(int({{0}}) if {_NEAR} else {{0}})",
}
"""Rows that numba.cuda does not know in the words of NumPy."""


def numba_cuda_source(kernel: Kernel, size: int) -> str:
    """`kernel`, mapped to a GPU, as numba.cuda kernels and a function that launches them.

    The function takes a flat array for each parameter, then the sizes. It runs on a GPU, and in
    numba's simulator (``NUMBA_ENABLE_CUDASIM=1``) but for kernels that shuffle, which say so: the
    simulator has no shuffles.

    Parameters
    ----------
    kernel : Kernel
        Logical.
    size : int
        The value of its size for which the mapping is chosen; the source is right for all.

    Raises
    ------
    ValueError
        If it has no such source: NumPy has no bfloat16.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.expr import Buffer, Const, Load, Var
    >>> from fusegrad.codegen.kernel import Any, For, Param, Role, Store
    >>> from fusegrad.codegen.scalar import apply
    >>> x, y = Buffer("x", float32, (4096,)), Buffer("y", float32, (4096,))
    >>> i = Var("i", extent=4096)
    >>> value = apply("mul", Load(x, (i,)), Const(2, float32))
    >>> loop = For(i, 4096, Any(), (Store(y, (i,), value),))
    >>> params = (Param(x, Role.IN), Param(y, Role.OUT))
    >>> print(numba_cuda_source(Kernel("twice", params, (), (loop,)), 0))
    import math
    import numpy as np
    from numba import cuda
    <BLANKLINE>
    <BLANKLINE>
    @cuda.jit
    def twice_0(x, y):
        # One block of 256 threads for each block.
        thread = cuda.threadIdx.x
        block = cuda.blockIdx.x
        for at in range(thread * 4, 2048, 1024):
            for i in range(at, at + 4):
                y[block * 2048 + i] = x[block * 2048 + i] * np.float32(2.0)
    <BLANKLINE>
    <BLANKLINE>
    def twice(x, y):
        twice_0[2, 256](x, y)
    <BLANKLINE>
    """
    mapped = map_gpu(kernel, size)
    names = [f"{kernel.name}_{n}" for n in range(len(mapped.stages))]
    stages = [
        _Stage(stage, name, [*names, kernel.name])
        for stage, name in zip(mapped.stages, names, strict=True)
    ]
    texts = [stage.text() for stage in stages]
    helpers = {name: text for stage in stages for name, text in stage.helpers.items()}
    launcher = _Launcher(kernel, names).text(stages, mapped.temporaries)
    return "\n\n".join([_HEADS, *helpers.values(), *texts, launcher])


def _used(kernel: Kernel) -> list[Buffer]:
    """The parameters that a stage reads or writes."""
    found: set[Buffer] = set()
    for s in nested(kernel.body):
        roots = (*operands(s), *(s.next if isinstance(s, For) else ()))
        if isinstance(s, Store):
            found.add(s.buffer)
        found |= {e.buffer for root in roots for e in walk(root) if isinstance(e, Load)}
    found |= {b.base for b in found if b.base is not None}
    return [p.buffer for p in kernel.params if p.buffer in found]


class _Cuda(Source):
    """What the kernels and the function that launches them share."""

    functions = _FUNCTIONS
    renamed: ClassVar[dict[str, str]] = {}

    def __init__(self, kernel: Kernel, taken: Iterable[str]) -> None:
        super().__init__(kernel)
        for name in ("cuda", *taken):
            self.names.new(name)


@final
class _Launcher(_Cuda):
    """The function of the host."""

    def text(self, stages: Sequence[_Stage], temporaries: Sequence[Buffer]) -> str:
        """Memory that the stages hand things on in, and their launches."""
        kernel = self.kernel
        given: list[Var | Buffer] = [*(p.buffer for p in kernel.params), *kernel.sizes]
        head = f"def {kernel.name}({', '.join([self.declare(a) for a in given])}):"
        for buffer in temporaries:
            self._array(buffer, index(elements(buffer)))
        for stage in stages:
            blocks = launched_blocks(stage.kernel)
            for buffer in stage.slots:
                teams = stage.grid.threads // stage.grid.width * (stage.grid.blocks or 1)
                self._array(buffer, index(elements(buffer) * teams))
            arguments = [self.named[a] for a in stage.arguments]
            launch = f"{stage.name}[{self._value(blocks)}, {stage.grid.threads}]"
            self.line(f"{launch}({', '.join(arguments)})")
        return "\n".join([head, *self.lines, ""])

    def _array(self, buffer: Buffer, count: Expr) -> None:
        name = self.declare(buffer)
        self.line(f"{name} = cuda.device_array({self._value(count)}, {numpy_name(buffer.dtype)})")


@final
class _Stage(_Cuda):
    """One launch: what a thread does."""

    def __init__(self, kernel: Kernel, name: str, taken: Sequence[str]) -> None:
        super().__init__(kernel, taken)
        self.name = name
        self.helpers: dict[str, str] = {}
        top = kernel.body[-1]
        assert isinstance(top, For)
        assert isinstance(top.mapping, Grid)
        self.top, self.grid = top, top.mapping
        allocated = [s.buffer for s in nested(kernel.body) if isinstance(s, Alloc)]
        apart = self.grid.team is not Team.THREAD
        self.slots = tuple(b for b in allocated if b.space == "slot" and apart)
        self.arguments: list[Var | Buffer] = [*_used(kernel), *self.slots, *kernel.sizes]
        self.thread = Var("thread")
        self.team = top.var if self.grid.blocks is None else Var("team")
        self.mine = Var("lane") if self.grid.team is Team.WARP else self.thread
        self.inside: For | None = None
        self.guarded = False

    def text(self) -> str:
        """The kernel."""
        given = [self.declare(a) for a in self.arguments]
        grid, top = self.grid, self.top
        self.block(self.kernel.body[:-1])
        self._threads()
        self._grid()
        item, threads = top.var.name, grid.threads
        told = {
            Team.THREAD: f"One thread for each {item}, in blocks of {threads}.",
            Team.WARP: f"One warp for each {item}, in blocks of {threads} threads.",
            Team.BLOCK: f"One block of {threads} threads for each {item}.",
        }
        about = [f"    # {told[grid.team]}"]
        if self.helpers or any("syncwarp" in line for line in self.lines):
            about.append(f"    # {_NO_WARPS}")
        head = f"def {self.name}({', '.join(given)}):"
        return "\n".join(["@cuda.jit", head, *about, *self.lines, ""])

    # --- who runs what ----------------------------------------------------------------------------

    def _threads(self) -> None:
        """Which thread of which team this is."""
        grid = self.grid
        if grid.team is Team.THREAD:
            self.line(f"{self.declare(self.team)} = cuda.grid(1)")
            return
        self.line(f"{self.declare(self.thread)} = cuda.threadIdx.x")
        if grid.team is Team.BLOCK:
            self.line(f"{self.declare(self.team)} = cuda.blockIdx.x")
            return
        thread, teams = self.named[self.thread], grid.threads // WARP
        self.line(f"{self.declare(self.mine)} = {thread} % {WARP}")
        self.line(f"{self.declare(self.team)} = cuda.blockIdx.x * {teams} + {thread} // {WARP}")

    def _grid(self) -> None:
        """The iterations of the grid loop that are this team's."""
        grid, top = self.grid, self.top
        team, extent = self.named[self.team], self.extent(top.extent)
        if grid.blocks is not None:
            teams = grid.threads // grid.width
            step = "cuda.gridDim.x" + (f" * {teams}" if teams > 1 else "")
            self.line(f"for {self.declare(top.var)} in range({team}, {extent}, {step}):")
            self.nested((*top.body, Sync()))
        elif grid.team is Team.BLOCK:
            self.block(top.body)
        else:
            self.line(f"if {team} < {extent}:")
            self.nested(top.body)

    def block(self, statements: Sequence[Stmt]) -> None:
        """Statements; what stands in no dealt loop is stored by one thread of the team."""
        alone = self.inside is None and self.grid.team is not Team.THREAD
        at = 0
        while at < len(statements):
            s = statements[at]
            last = at + 1
            if isinstance(s, Sync):
                self._barrier()
            elif isinstance(s, Store) and alone and not self.guarded:
                while last < len(statements) and isinstance(statements[last], Store):
                    last += 1
                self.line(f"if {self.named[self.mine]} == 0:")
                self.guarded = True
                self.nested(statements[at:last])
                self.guarded = False
            else:
                super().block((s,))
            at = last

    def _barrier(self) -> None:
        if self.grid.team is Team.WARP:
            self.line("cuda.syncwarp()")
        elif self.grid.team is Team.BLOCK:
            self.line("cuda.syncthreads()")

    # --- memory -----------------------------------------------------------------------------------

    def _alloc(self, buffer: Buffer) -> None:
        if buffer in self.named:
            return
        count, kind = elements(buffer), numpy_name(buffer.dtype)
        if buffer.space == "shared":
            teams = self.grid.threads // self.grid.width
            self.line(f"{self.declare(buffer)} = cuda.shared.array({count * teams}, {kind})")
            return
        if buffer.space == "register" and self.grid.team is not Team.THREAD:
            loop = next(x for x in self._dealt_loops() if self._touches(x, buffer))
            count = count // _number(buffer.shape[0]) * self._rounds(loop)
        self.line(f"{self.declare(buffer)} = cuda.local.array({count}, {kind})")

    def _dealt_loops(self) -> list[For]:
        loops = [s for s in nested(self.kernel.body) if isinstance(s, For)]
        return [s for s in loops if isinstance(s.mapping, Dealt)]

    def _touches(self, loop: For, buffer: Buffer) -> bool:
        return any(isinstance(s, Store) and s.buffer is buffer for s in nested(loop.body))

    def _rounds(self, loop: For) -> int:
        """Iterations of a dealt loop that one thread has at most."""
        assert isinstance(loop.mapping, Dealt)
        lanes = loop.mapping.lanes
        return -(-_number(loop.extent) // (self.grid.width * lanes)) * lanes

    def place(self, buffer: Buffer, indices: Sequence[Expr]) -> Expr:
        """Where an element lies: of what threads or teams have apart, in the part of this one."""
        grid = self.grid
        first: Expr | None = None
        apart = grid.team is not Team.THREAD
        whole = memory(buffer)
        if whole.space == "register" and apart:
            loop = self.inside
            assert loop is not None
            assert isinstance(loop.mapping, Dealt)
            lanes, round_ = loop.mapping.lanes, self.grid.width * loop.mapping.lanes
            if _number(loop.extent) <= round_:
                own: Expr = index(0)
            else:
                own = apply("divtrunc", indices[0], index(round_))
            if lanes > 1:
                lane = apply("remtrunc", indices[0], index(lanes))
                own = apply("add", apply("mul", own, index(lanes)), lane)
            indices = (own, *indices[1:])
        elif whole.space == "slot" and apart:
            first = self.team
        elif whole.space == "shared" and grid.team is Team.WARP:
            first = apply("divtrunc", self.thread, index(WARP))
        found = super().place(buffer, indices)
        if first is None:
            return found
        return canonical(apply("add", apply("mul", first, index(elements(whole))), found))

    # --- dealt loops ------------------------------------------------------------------------------

    def _loop(self, s: For) -> None:
        if not isinstance(s.mapping, Dealt):
            super()._loop(s)
            return
        starts = [self.kept(start) for _, start in s.carry]
        monoids = s.order.monoids if isinstance(s.order, Tree) else ()
        carried = [var for var, _ in s.carry]
        for var, neutral in zip(carried, identities(monoids, carried), strict=True):
            self.line(f"{self.declare(var)} = {self._value(neutral)}")
        outer, self.inside = self.inside, s
        depth = self.depth
        self._mine(s, s.mapping)
        self.block(s.body)
        if monoids:
            self._combine(s, monoids)
        elif not s.body:
            self.line("pass")
        self.depth = depth
        self.inside = outer
        self._meet(s, monoids, starts)

    def _mine(self, s: For, mapping: Dealt) -> None:
        """The heads of the loops over the iterations of this thread."""
        mine, extent = self.named[self.mine], self.extent(s.extent)
        lanes, width = mapping.lanes, self.grid.width
        if lanes == 1:
            self.line(f"for {self.declare(s.var)} in range({mine}, {extent}, {width}):")
            self.depth += 1
            return
        at = self.names.new("at")
        self.line(f"for {at} in range({mine} * {lanes}, {extent}, {width * lanes}):")
        self.depth += 1
        whole = isinstance(s.extent, int) and s.extent % lanes == 0
        end = f"{at} + {lanes}" if whole else f"min({at} + {lanes}, {extent})"
        self.line(f"for {self.declare(s.var)} in range({at}, {end}):")
        self.depth += 1

    def _meet(self, s: For, monoids: Sequence[Monoid], starts: Sequence[Expr]) -> None:
        """What each thread has, combined, and that after the start."""
        neutral = identities(monoids, [v for v, _ in s.carry])
        at = 0
        for monoid in monoids:
            last = at + monoid.width
            state = [v for v, _ in s.carry[at:last]]
            names = [self.named[v] for v in state]
            helper = self._helper(monoid, tuple(v.dtype for v in state))
            given = ", ".join(names) + (f", {WARP}" if self.grid.width == WARP else "")
            self.line(f"{', '.join(names)} = {helper}({given})")
            if not all(map(_same, starts[at:last], neutral[at:last])):
                self._combined(monoid, state, names, [self._value(e) for e in starts[at:last]])
            at = last

    def _combined(
        self, monoid: Monoid, state: Sequence[Var], names: Sequence[str], given: Sequence[str]
    ) -> None:
        """``names = names MONOID given``."""
        if monoid.width == 2:
            self.line(f"if {_better(monoid, names, given)}:")
            self.line(f"    {', '.join(names)} = {', '.join(given)}")
            return
        other = Var("other", state[0].dtype)
        self.named[other] = given[0]
        self.line(f"{names[0]} = {self._value(apply(COMBINE[monoid], state[0], other))}")

    # --- functions that teams share ---------------------------------------------------------------

    def _helper(self, monoid: Monoid, dtypes: tuple[DType, ...]) -> str:
        """The function that combines what the threads of the team have."""
        kind = f"{monoid.value}_{dtypes[0].name}"
        warp = f"warp_{kind}"
        state = [Var(name, d) for name, d in zip(("value", "place"), dtypes, strict=False)]
        other = [Var(f"other_{v.name}", v.dtype) for v in state]
        for var in (*state, *other):
            self.named[var] = var.name
        names, others = [v.name for v in state], [v.name for v in other]
        given = ", ".join(names)
        lines, depth = self.lines, self.depth
        self.lines, self.depth = [], 1
        self.line(f"# The {monoid.value} over lanes side by side, by shuffles: all get it.")
        self.line("step = lanes // 2")
        self.line("while step > 0:")
        self.depth = 2
        for var, name in zip(state, others, strict=True):
            self.line(f"{name} = {_shuffled(var.name, var.dtype)}")
        self._combined(monoid, state, names, others)
        self.line("step //= 2")
        self.depth = 1
        self.line(f"return {given}")
        head = f"@cuda.jit(device=True)\ndef {warp}({given}, lanes):"
        self.helpers[warp] = "\n".join([head, *self.lines, ""])
        self.lines, self.depth = lines, depth
        warps = self.grid.width // WARP
        if warps == 1:
            return warp
        block = f"block_{kind}_{warps}"
        self.helpers[block] = _of_block(block, warp, warps, state)
        return block


def _of_block(name: str, warp: str, warps: int, state: Sequence[Var]) -> str:
    """The function that combines what the warps of a block have, through shared memory."""
    names = [v.name for v in state]
    given = ", ".join(names)
    parts = [(f"{v.name}s", numpy_name(v.dtype)) for v in state]
    mine = ", ".join(f"{part}[cuda.threadIdx.x % {warps}]" for part, _ in parts)
    lines = [
        "@cuda.jit(device=True)",
        f"def {name}({given}):",
        f"    # What the {warps} warps of a block have, combined: all threads get it.",
        *(f"    {part} = cuda.shared.array({warps}, {kind})" for part, kind in parts),
        f"    {given} = {warp}({given}, {WARP})",
        "    cuda.syncthreads()",
        f"    if cuda.threadIdx.x % {WARP} == 0:",
        *(
            f"        {part}[cuda.threadIdx.x // {WARP}] = {value}"
            for value, (part, _) in zip(names, parts, strict=True)
        ),
        "    cuda.syncthreads()",
        f"    return {warp}({mine}, {warps})",
        "",
    ]
    return "\n".join(lines)


def _shuffled(name: str, dtype: DType) -> str:
    """The value of the lane whose number differs in the bit of `step`."""
    plain = dtype.name in ("float32", "float64", "int32", "int64")
    wide = "float32" if dtype.is_float else "int32" if dtype.bits < 32 else "int64"
    value = name if plain else f"np.{wide}({name})"
    moved = f"cuda.shfl_xor_sync({_ALL}, {value}, step)"
    return moved if plain else f"{numpy_name(dtype)}({moved})"


def _better(monoid: Monoid, names: Sequence[str], others: Sequence[str]) -> str:
    """Whether another value comes first: it is better, or equal (or both NaN) and before."""
    (value, place), (other, at) = names, others
    sign = ">" if monoid is Monoid.ARGMAX else "<"
    better = f"{other} {sign} {value} or ({other} != {other} and {value} == {value})"
    equal = f"{other} == {value} or ({other} != {other} and {value} != {value})"
    return f"{better} or ({at} < {place} and ({equal}))"


def _number(extent: Extent | Expr) -> int:
    """An extent that must be a number."""
    found = known(extent)
    assert found is not None
    return found


def _same(a: Expr, b: Expr) -> bool:
    return isinstance(a, Const) and isinstance(b, Const) and a.value == b.value
