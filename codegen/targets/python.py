"""Python source of kernels, for CPython and for numba alike: the target that people can read.

Knows the kernel language except register tiles and packing; knows nothing of numba itself.
"""

from __future__ import annotations

import builtins
import keyword
import math
import re
from collections.abc import Sequence
from typing import Any, ClassVar, final

from ..accesses import memory
from ..affine import canonical
from ..dtypes import DType, bfloat16, bool_, int64
from ..expr import Apply, Buffer, Const, Expr, Extent, Load, Var, index, walk
from ..kernel import (
    Alloc,
    Arrange,
    For,
    If,
    Kernel,
    Let,
    Mma,
    Monoid,
    Prefetch,
    Role,
    Stmt,
    Store,
    Tree,
    Unfold,
)
from ..monoids import identity
from ..multiplying import mma_loops
from ..names import Names
from ..records import dataclass
from ..scalar import TABLE, apply, expand
from ..unfolding import unfold_loops

__all__ = ["COMBINE", "Source", "numpy_name", "python_source"]

LONGEST = 120
"""Longer texts get a variable, so that the source grows with the kernel and can be parsed."""
_ATOM = 3
_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "//": 2, "%": 2}

_RESERVED = {"np", "math", *keyword.kwlist, *keyword.softkwlist, *dir(builtins)}
COMBINE = {
    Monoid.SUM: "add",
    Monoid.PROD: "mul",
    Monoid.MAX: "maximum",
    Monoid.MIN: "minimum",
    Monoid.AND: "and",
    Monoid.OR: "or",
}
# NumPy's functions, since those of `math` raise where a special value is the result.
_NUMPY = {
    "acos": "arccos",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atan2": "arctan2",
    "copysign": "copysign",
    "cos": "cos",
    "cosh": "cosh",
    "exp": "exp",
    "expm1": "expm1",
    "hypot": "hypot",
    "log": "log",
    "log10": "log10",
    "log1p": "log1p",
    "log2": "log2",
    "sin": "sin",
    "sinh": "sinh",
    "sqrt": "sqrt",
    "tan": "tan",
    "tanh": "tanh",
}
# Python's operators raise for zero divisors.
_FUNCTIONS: dict[str, str] = {
    "floordiv": "np.floor_divide({0}, {1})",
    "fmod": "np.fmod({0}, {1})",
    "mod": "np.remainder({0}, {1})",
    "remainder": "np.remainder({0}, {1})",
}
# Rows that give the operands' float dtype in Python and in numba.
_CLOSED = {"add", "sub", "mul", "div", "neg", "abs", "fma", "minimum", "maximum", "square"}
_CLOSED |= {"select", "rare"}


def python_source(kernel: Kernel) -> str:
    """`kernel` as the source of one Python function.

    The function takes a flat array for each parameter, then the sizes. It runs the whole kernel:
    partial parameters have one copy, and `finish` follows. Compile it with numba's
    ``error_model="numpy"``, or run it as it is under ``numpy.errstate(all="ignore")``.

    Parameters
    ----------
    kernel : Kernel
        Logical, or mapped without register tiles.

    Raises
    ------
    ValueError
        If the kernel has a `contract` or a `copy`: its logical form has plain loops in their place.

    Examples
    --------
    >>> from fusegrad.codegen.dtypes import float32
    >>> from fusegrad.codegen.kernel import Any as Independent, Param
    >>> x, y = Buffer("x", float32, (8,)), Buffer("y", float32, (8,))
    >>> i = Var("i", extent=8)
    >>> value = apply("mul", Load(x, (i,)), Const(2, float32))
    >>> loop = For(i, 8, Independent(), (Store(y, (i,), value),))
    >>> params = (Param(x, Role.IN), Param(y, Role.OUT))
    >>> print(python_source(Kernel("twice", params, (), (loop,))))
    import math
    import numpy as np
    <BLANKLINE>
    <BLANKLINE>
    def twice(x, y):
        for i in range(8):
            y[i] = x[i] * np.float32(2.0)
    <BLANKLINE>
    """
    return Source(kernel).run()


def numpy_name(dtype: DType) -> str:
    """The NumPy name of a dtype."""
    if dtype is bfloat16:
        raise ValueError("NumPy has no bfloat16: there is no Python source of this kernel")
    return "np.bool_" if dtype is bool_ else f"np.{dtype.name}"


def _constant(value: Any, dtype: DType) -> str:
    if dtype is bool_:
        return repr(bool(value))
    if dtype is int64:
        return repr(int(value))
    if not dtype.is_float:
        return f"{numpy_name(dtype)}({int(value)})"
    if math.isnan(value):
        text = "np.nan"
    elif math.isinf(value):
        text = "np.inf" if value > 0 else "-np.inf"
    else:
        text = repr(float(value))
    return f"{numpy_name(dtype)}({text})"


class Source:
    """The source of one kernel; a dialect says how it begins, and how its memory is made."""

    heads: ClassVar[tuple[str, ...]] = ("import math", "import numpy as np")
    decorators: ClassVar[tuple[str, ...]] = ()
    functions: ClassVar[dict[str, str]] = _FUNCTIONS
    """Rows that are not spelled as their table says; as nothing, what they are made of."""
    renamed: ClassVar[dict[str, str]] = {name: f"np.{numpy}" for name, numpy in _NUMPY.items()}
    """Functions of `math` that have another name here."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.names = Names(_RESERVED)
        self.named: dict[Var | Buffer, str] = {}
        self.flat: dict[Buffer, Buffer] = {}
        self.lines: list[str] = []
        self.depth = 1

    def run(self) -> str:
        kernel = self.kernel
        function = self.names.new(kernel.name)
        arguments: list[Var | Buffer] = [p.buffer for p in kernel.params]
        given = [self.declare(a) for a in (*arguments, *kernel.sizes)]
        self.main()
        if not self.lines:
            self.line("pass")
        head = f"def {function}({', '.join(given)}):"
        return "\n".join([*self.heads, "", "", *self.decorators, head, *self.lines, ""])

    def main(self) -> None:
        """The lines of the function."""
        kernel = self.kernel
        for param in kernel.params:
            if param.role is Role.PARTIAL:
                assert param.monoid is not None
                start = identity(param.monoid, param.buffer).item()
                name = self.named[param.buffer]
                self.line(f"{name}[:] = {_constant(start, param.buffer.dtype)}")
        self.block((*kernel.body, *kernel.finish))

    def declare(self, item: Var | Buffer) -> str:
        """A name for a variable or a buffer."""
        if isinstance(item, Buffer):
            numpy_name(item.dtype)  # raises where NumPy has no such dtype
        # A name belongs to one dtype for the whole function: numba types variables, not scopes.
        self.named[item] = self.names.new(item.name)
        return self.named[item]

    def line(self, text: str) -> None:
        """One more line."""
        self.lines.append("    " * self.depth + text)

    # --- statements -------------------------------------------------------------------------------

    def block(self, statements: Sequence[Stmt]) -> None:
        """Statements, one after the other."""
        for s in statements:
            if isinstance(s, Let):
                value = self._value(s.value)
                self.line(f"{self.declare(s.var)} = {value}")
            elif isinstance(s, Store):
                self._store(s)
            elif isinstance(s, Alloc):
                self._alloc(s.buffer)
            elif isinstance(s, If):
                self.line(f"if {self._value(s.condition)}:")
                self.nested(s.then)
            elif isinstance(s, For):
                self._loop(s)
            elif isinstance(s, Unfold):
                self.block(unfold_loops(s))
            elif isinstance(s, Arrange):
                self.line(f"{self.named[s.keys]}[:{s.count}].sort()")
            elif isinstance(s, Mma):
                self.block(mma_loops(s))
            elif not isinstance(s, Prefetch):
                raise ValueError(
                    f"{self.kernel.name}: no Python for a {type(s).__name__.lower()}; "
                    "give the logical kernel"
                )

    def nested(self, statements: Sequence[Stmt]) -> None:
        """Statements inside of another one."""
        self.depth += 1
        self.block(statements)
        if not statements:
            self.line("pass")
        self.depth -= 1

    def _alloc(self, buffer: Buffer) -> None:
        count: Expr = index(1)
        for extent in buffer.shape:
            count = apply("mul", count, _expr(extent))
        size = self._value(count)
        self.line(f"{self.declare(buffer)} = {self.allocation(buffer, size)}")

    def allocation(self, buffer: Buffer, size: str) -> str:
        """New local memory."""
        return f"np.empty({size}, {numpy_name(buffer.dtype)})"

    def place(self, buffer: Buffer, indices: Sequence[Expr]) -> Expr:
        """The place of an element in flat memory."""
        return _offset(buffer, indices)

    def _store(self, s: Store) -> None:
        place = self._value(self.place(s.buffer, s.indices))
        value = s.value
        if s.monoid is not None:
            value = apply(COMBINE[s.monoid], Load(s.buffer, s.indices), value)
        text = self._value(value)
        self.line(f"{self.named[memory(s.buffer)]}[{place}] = {text}")

    def extent(self, extent: Extent | Expr) -> str:
        """The text of an extent."""
        return self._value(_expr(extent))

    def _loop(self, s: For) -> None:
        extent = self.extent(s.extent)
        carried = []
        for var, start in s.carry:
            value = self._value(start)
            carried.append(self.declare(var))
            self.line(f"{carried[-1]} = {value}")
        self.line(f"for {self.declare(s.var)} in range({extent}):")
        self.depth += 1
        self.block(s.body)
        if isinstance(s.order, Tree):
            self._combine(s, s.order.monoids)
        elif carried:
            following = ", ".join([self._value(e) for e in s.next])
            self.line(f"{', '.join(carried)} = {following}")
        elif not s.body:
            self.line("pass")
        self.depth -= 1

    def _combine(self, s: For, monoids: Sequence[Monoid]) -> None:
        """The contributions, all evaluated before the first is combined."""
        given: list[Expr] = list(s.next)
        if len(given) > 1:
            given = [self.kept(e) for e in given]
        at = 0
        for monoid in monoids:
            state = s.carry[at][0]
            if monoid.width == 2:
                place, sign = s.carry[at + 1][0], ">" if monoid is Monoid.ARGMAX else "<"
                old, new = self.named[state], self._value(given[at])
                self.line(f"if {new} {sign} {old} or ({new} != {new} and {old} == {old}):")
                self.line(f"    {old} = {new}")
                self.line(f"    {self.named[place]} = {self._value(given[at + 1])}")
            else:
                value = self._value(apply(COMBINE[monoid], state, given[at]))
                self.line(f"{self.named[state]} = {value}")
            at += monoid.width

    def kept(self, e: Expr) -> Expr:
        """`e` as a variable."""
        if isinstance(e, (Const, Var)):
            return e
        var = Var("t", e.dtype)
        value = self._value(e)
        self.line(f"{self.declare(var)} = {value}")
        return var

    # --- expressions ------------------------------------------------------------------------------

    def _value(self, root: Expr) -> str:
        """The text of `root`; what is used twice or grows long gets a variable first."""
        root = self._spelled(root)
        order = list(walk(root))
        uses: dict[int, int] = {}
        for e in order:
            for child in _children(e):
                uses[id(child)] = uses.get(id(child), 0) + 1
        texts: dict[int, _Text] = {}
        for e in order:
            result = self._text(e, texts)
            is_leaf = isinstance(e, (Const, Var))
            if not is_leaf and e is not root and (uses[id(e)] > 1 or len(result.text) > LONGEST):
                name = self.names.new("t")
                self.line(f"{name} = {result.text}")
                result = _Text(name)
            texts[id(e)] = result
        return texts[id(root)].text

    def _spelled(self, root: Expr) -> Expr:
        """`root` with flat loads, and with rows expanded whose spelling has another meaning."""
        done: dict[int, Expr] = {}
        for e in walk(root):
            result = e
            if isinstance(e, Load):
                result = self._flat(e, done)
            elif isinstance(e, Apply):
                result = Apply(e.op, [done[id(a)] for a in e.args], e.dtype)
                # The spelling of a power has another meaning for integers.
                whole = e.op == "pow" and not e.dtype.is_float
                if whole or not self.functions.get(e.op, TABLE[e.op].python):
                    result = expand(result) or result
            done[id(e)] = result
        return done[id(root)]

    def _flat(self, e: Load, done: dict[int, Expr]) -> Load:
        if e.buffer not in self.flat:
            view = Buffer(e.buffer.name, e.dtype, (1,), (1,), "view", memory(e.buffer))
            self.flat[e.buffer] = view
        place = self.place(e.buffer, [done[id(i)] for i in e.indices])
        return Load(self.flat[e.buffer], (place,))

    def _text(self, e: Expr, texts: dict[int, _Text]) -> _Text:
        if isinstance(e, Const):
            return _Text(_constant(e.value, e.dtype))
        if isinstance(e, Var):
            return _Text(self.named[e])
        if isinstance(e, Load):
            (place,) = (texts[id(i)].text for i in e.indices)
            return _Text(f"{self.named[memory(e.buffer)]}[{place}]")
        assert isinstance(e, Apply)
        return self._spell(e, [texts[id(a)] for a in e.args])

    def _spell(self, e: Apply, args: Sequence[_Text]) -> _Text:
        """One row applied to printed operands."""
        dtype = e.dtype
        if e.op == "cast":
            return _Text(_cast(e.args[0].dtype, dtype, args[0]))
        if e.op == "bitcast":
            return _Text(f"{numpy_name(e.args[0].dtype)}({args[0].text}).view({numpy_name(dtype)})")
        template = self.functions.get(e.op, TABLE[e.op].python)
        if e.op == "not" and dtype is bool_:
            template = "not {0}"
        template = re.sub(r"math\.(\w+)", lambda m: self.renamed.get(m[1], m[0]), template)
        result = _filled(template, args)
        # Python's and numba's results are wider than the operands for some functions and integers.
        if dtype in (bool_, int64) or (dtype.is_float and e.op in _CLOSED):
            return result
        return _Text(f"{numpy_name(dtype)}({result.text})")


@final
@dataclass(frozen=True)
class _Text:
    """The text of a value, and how strongly its outermost operator binds."""

    text: str
    level: int = _ATOM

    def at(self, least: int) -> str:
        """The text for a place that needs a binding of `least`."""
        return self.text if self.level >= least else f"({self.text})"


def _children(e: Expr) -> tuple[Expr, ...]:
    if isinstance(e, Apply):
        return e.args
    return e.indices if isinstance(e, Load) else ()


def _expr(extent: Extent | Expr) -> Expr:
    return index(extent) if isinstance(extent, int) else extent


def _offset(buffer: Buffer, indices: Sequence[Expr]) -> Expr:
    """The place of an element in flat memory."""
    total: Expr = index(0)
    if buffer.strides is not None:
        for i, stride in zip(indices, buffer.strides, strict=True):
            total = apply("add", total, apply("mul", i, _expr(stride)))
    else:
        for i, extent in zip(indices, buffer.shape, strict=True):
            total = apply("add", apply("mul", total, _expr(extent)), i)
    return canonical(total)


def _filled(template: str, args: Sequence[_Text]) -> _Text:
    """`template` with its operands, in parentheses where they need them."""
    infix = re.fullmatch(r"\{0\} (\S+) \{1\}", template)
    if infix and infix[1] in _LEVELS:
        level = _LEVELS[infix[1]]
        return _Text(f"{args[0].at(level)} {infix[1]} {args[1].at(level + 1)}", level)
    bare = re.fullmatch(r"[\w.]+\([^()]*\)", template) or template == TABLE["select"].python
    text = template.format(*(a.text if bare else a.at(_ATOM) for a in args))
    whole = bare or (template.startswith("(") and template.endswith(")"))
    return _Text(text, _ATOM if whole else 0)


def _cast(source: DType, dtype: DType, operand: _Text) -> str:
    text = operand.text
    if dtype is bool_:
        return f"({operand.at(_ATOM)} != 0)"
    if dtype.is_integer and source is int64:
        # Loop variables are Python's integers, which do not wrap.
        text = f"np.int64({text})"
    return f"{numpy_name(dtype)}({text})"
