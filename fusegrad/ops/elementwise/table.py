"""The elementwise table: what a row is, and how rows and public functions enter it.

Knows scalar ops by name; how a scalar op is computed is told in ``codegen.scalar``. The rows stand
in the files of their families.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import field
from typing import Any, ClassVar, final

import numpy as np

from ...codegen import scalar
from ...codegen.dtypes import ALL, DType, bool_, float32, float64
from ...codegen.expr import Expr
from ...codegen.records import dataclass
from ...codegen.varying import joined
from ...errors import DTypeError
from ...ir.halves import wide
from .. import build as b
from ..base import (
    ROWS,
    Array,
    Index,
    IndexedOp,
    InputSpec,
    Node,
    Pattern,
    Read,
    Sample,
    TensorType,
    dtype_error,
    shape_error,
)
from ..batch import spread

__all__ = [
    "ANY",
    "ANYTHING",
    "BITS",
    "COUNT",
    "ELEMENTWISE",
    "EXPENSIVE",
    "FLOATS",
    "FUNCTIONS",
    "INTEGERS",
    "NUMBERS",
    "POSITIVE",
    "SPECIAL",
    "UNIT",
    "Definition",
    "Function",
    "Map",
    "Public",
    "as_float",
    "cost_of",
    "function",
    "row",
]

Rule = Callable[..., tuple[Node | None, ...]]
"""Cotangent, result and operands to the cotangents of the operands."""
Range = tuple[float, float]

ANY: Range = (-3, 3)
UNIT: Range = (-0.9, 0.9)
POSITIVE: Range = (0.3, 3)
COUNT: Range = (0, 7)

ANYTHING = frozenset({"bool", "int", "uint", "float"})
NUMBERS = frozenset({"int", "uint", "float"})
BITS = frozenset({"bool", "int", "uint"})
INTEGERS = frozenset({"int", "uint"})
FLOATS = frozenset({"float"})
"""Kinds of dtypes that a function takes; what takes floats alone takes all others as floats."""


# --- ops ------------------------------------------------------------------------------------------


@final
@dataclass(frozen=True, eq=False, repr=False)
class Map(IndexedOp):
    """A row: a scalar op applied to every element of operands of equal shape.

    Attributes
    ----------
    name : str
    scalar : str
        The row of ``codegen.scalar.TABLE`` that types, defines and computes it.
    rule : callable or None
        Cotangent, result and operands to the cotangents of the operands; used for float results.
        None where the derivative is zero wherever it exists.
    ranges : tuple of (low, high)
        Where tests take the operands from, one for each.
    kinks : bool
        Whether the derivative jumps where operands are equal.
    complete : bool
        Whether the rule has a derivative by every operand.
    """

    name: str
    scalar: str
    rule: Rule | None
    ranges: tuple[Range, ...]
    kinks: bool = False
    complete: bool = True
    _known: dict[tuple[TensorType, ...], TensorType] = field(default_factory=dict)
    pattern: ClassVar[Pattern] = Pattern.MAP

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return object()

    @property
    def arity(self) -> int:
        """The number of operands."""
        return len(self.ranges)

    def __call__(self, *operands: Node) -> Node:
        return Node(self, operands)

    def infer(self, *types: TensorType) -> TensorType:
        known = self._known.get(types)
        if known is not None:
            return known
        result = self._infer(types)
        if len(self._known) >= _MAX_KNOWN:
            self._known.clear()
        self._known[types] = result
        return result

    def _infer(self, types: tuple[TensorType, ...]) -> TensorType:
        row = scalar.TABLE[self.scalar]
        if len(types) != row.arity:
            shape_error(self.name, types, f"it takes {row.arity} operands", "pass that many")
        shape = types[0].shape
        if any(other.shape != shape for other in types):
            shape_error(
                self.name,
                types,
                "the shapes differ",
                "reshape, transpose or broadcast one of the operands",
            )
        shape = joined([t.shape for t in types])
        try:
            return TensorType(shape, self._result(tuple(t.dtype for t in types)))
        except TypeError as error:
            dtype_error(self.name, types, f"it {error}", "convert with .astype() first")

    def _result(self, dtypes: tuple[DType, ...]) -> DType:
        """The dtype of the result; of halves as of float32, and then the half again."""
        row, halves = scalar.TABLE[self.scalar], {d for d in dtypes if d.is_half}
        if not halves or self.scalar in ("select", "rare"):
            return row.result(dtypes)
        if len({d for d in dtypes if d.is_float}) > 1:
            return row.result(dtypes)  # which tells what is wrong
        result = row.result(tuple(map(wide, dtypes)))
        return halves.pop() if result is float32 else result

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        if self.rule is None or not node.dtype.is_float:
            return (None,) * len(node.inputs)
        return self.rule(cotangent, node, *node.inputs)

    def ref(self, *arrays: Array) -> Any:
        return scalar.TABLE[self.scalar].meaning(*arrays)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return scalar.apply(self.scalar, *[read(index) for read in reads])

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        if self.name != "where":
            return (mask,) * self.arity
        taken = node.inputs[0]
        other = b.logical_not(taken)
        if mask is None:
            return None, taken, other
        return None, b.logical_and(mask, taken), b.logical_and(mask, other)

    def keeps_zero(self, node: Node) -> bool:
        if self.name in ("mul", "div"):
            # A finite factor or divisor, and no derivative by it is asked for.
            known = node.inputs if self.name == "mul" else node.inputs[1:]
            factors = [b.constant_value(x) for x in known]
            return any(x is not None and math.isfinite(x) and x != 0 for x in factors)
        return self.name in ("add", "sub", "neg", "select", "where", "minimum", "maximum")

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(spread(operands, batched)))

    def params(self) -> tuple[Any, ...]:
        return ()

    def accepts(self, dtypes: tuple[DType, ...]) -> bool:
        """Whether operands of these dtypes are allowed."""
        try:
            self._result(dtypes)
        except TypeError:
            return False
        return True

    def samples(self) -> Iterator[Sample]:
        choice = self.scalar == "select"
        for dtype in ALL:
            dtypes = (bool_, dtype, dtype) if choice else (dtype,) * self.arity
            if not self.accepts(dtypes):
                continue
            shapes = _SHAPES if dtype is float64 else _FEW_SHAPES
            for shape in shapes:
                yield Sample(
                    self,
                    tuple(
                        InputSpec(shape, d, low, high, self.kinks)
                        for d, (low, high) in zip(dtypes, self.ranges, strict=True)
                    ),
                    gradient=self.rule is not None and self.complete,
                )


ELEMENTWISE: dict[str, Map] = {}
"""The table: every row by name."""

_MAX_KNOWN = 1024
_SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (3,), (15,), (17,), (2, 5), (1023,))
_FEW_SHAPES: tuple[tuple[int, ...], ...] = ((7,), (1023,))

EXPENSIVE = 8
"""From this cost on a value is stored rather than computed twice."""


def cost_of(node: Node) -> int:
    """Rough operations for one element of a Map, 0 for what moves elements."""
    if node.op.pattern is not Pattern.MAP:
        return 0
    row = scalar.TABLE.get(node.op.scalar) if isinstance(node.op, Map) else None
    return int(row.cost) if row is not None else 1


# --- public functions -----------------------------------------------------------------------------


def as_float(dtype: DType) -> DType:
    """The dtype that functions such as ``exp`` compute in: the default for integers and bools."""
    return dtype if dtype.is_float else float32


@final
@dataclass(frozen=True)
class Public:
    """What makes an elementwise function of a row: its names, its operands, its documentation.

    Attributes
    ----------
    summary : str
        One line for the docstring.
    example : str
        A call and what it gives, as in ``"[0.0] -> [1.]"``.
    name : str, optional
        Its name in the namespace, if it is not that of the row.
    build : callable, optional
        From operand nodes of one dtype and shape to the result, if not the row itself.
    takes : frozenset of str, optional
        The kinds of dtypes that it takes.
    aliases : tuple of str, optional
        Further names of the same function.
    methods : tuple of str, optional
        Its names as a method of Tensor; by default all of its names.
    in_place : bool, optional
        Whether there are methods that end in an underscore too.
    special : bool, optional
        Whether it is a function of ``fg.special``, not of ``fg``.
    reference : callable, optional
        What it computes in NumPy, if NumPy has no function of one of its names.
    verb : str, optional
        What it does to shapes that do not fit, for the message.
    """

    summary: str
    example: str
    name: str = ""
    build: Callable[..., Node] | None = None
    takes: frozenset[str] = FLOATS
    aliases: tuple[str, ...] = ()
    methods: tuple[str, ...] | None = None
    in_place: bool = True
    special: bool = False
    reference: Callable[..., Any] | None = None
    verb: str = ""


@final
@dataclass(frozen=True, eq=False)
class Function:
    """An elementwise function as users name it: a row made public, or a composition of rows.

    Attributes
    ----------
    name : str
        Its name in ``fg``, and in messages.
    build : callable
        From operand nodes of one dtype and shape to the result.
    ranges : tuple of (low, high)
        Where tests take the operands from, one for each.
    public : Public
    """

    name: str
    build: Callable[..., Node]
    ranges: tuple[Range, ...]
    public: Public

    @property
    def names(self) -> tuple[str, ...]:
        """All its names in the namespace."""
        return (self.name, *self.public.aliases)

    @property
    def methods(self) -> tuple[str, ...]:
        """Its names as a method of a tensor."""
        own = self.public.methods
        return own if own is not None else () if self.public.special else self.names

    @property
    def verb(self) -> str:
        """What it does to shapes that do not fit, for the message."""
        return self.public.verb or f"apply {self.name} to"

    @property
    def to_float(self) -> bool:
        """Whether integers and bools are converted to the default float first."""
        return self.public.takes is FLOATS

    @property
    def reference(self) -> Callable[..., Any]:
        """What it computes, in NumPy: NumPy's function of one of its names, or its own."""
        if self.public.reference is not None:
            return self.public.reference
        found = [getattr(np, name) for name in self.names if hasattr(np, name)]
        if not found:
            raise LookupError(f"NumPy knows no name of {self.name}: give it a reference")
        return next((f for f in found if isinstance(f, np.ufunc)), found[0])

    def operand_dtype(self, dtype: DType) -> DType:
        """What operands of the common `dtype` are converted to; DTypeError if there is none."""
        takes = self.public.takes
        if takes is FLOATS:
            return as_float(dtype)
        if dtype.kind not in takes:
            shown = " or ".join(k for k in ("bool", "int", "uint", "float") if k in takes)
            raise DTypeError(
                f"{self.name} does not take {dtype}: it takes {shown} dtypes",
                remedy='convert the operand first, x.astype("...")',
            )
        return dtype


FUNCTIONS: dict[str, Function] = {}
"""Every elementwise function of ``fg`` by its name there."""
SPECIAL: dict[str, Function] = {}
"""Every elementwise function of ``fg.special`` by its name there."""


# --- declarations ---------------------------------------------------------------------------------


@final
@dataclass(frozen=True)
class Definition:
    """A new scalar function, of rows that there are.

    Attributes
    ----------
    expansion : callable
        From scalar expressions of one float dtype to the result.
    reference : callable
        The meaning in NumPy.
    max_ulp : float
        The largest error in units in the last place, which a test holds.
    """

    expansion: Callable[..., Expr]
    reference: Callable[..., Any]
    max_ulp: float


def row(
    name: str,
    *ranges: Range,
    rule: Rule | None = None,
    scalar: str | Definition | None = None,
    kinks: bool = False,
    complete: bool = True,
    public: Public | None = None,
) -> Map:
    """Enter a row, and the public function that it is.

    Parameters
    ----------
    name : str
        What printed graphs call it.
    *ranges : tuple of (low, high)
        Where tests take the operands from, one for each.
    rule : callable, optional
        Cotangent, result and operands to the cotangents of the operands.
    scalar : str or Definition, optional
        The scalar op, if it is not the one of this name; or what it is made of.
    kinks, complete : bool, optional
        See `Map`.
    public : Public, optional

    Returns
    -------
    Map
    """
    if isinstance(scalar, Definition):
        _define(name, scalar, len(ranges))
        scalar = name
    op = Map(name, scalar or name, rule, ranges, kinks, complete)
    ELEMENTWISE[name] = ROWS[name] = op
    if public is not None:
        function(public.name or name, *ranges, build=public.build or op, public=public)
    return op


def _define(name: str, definition: Definition, arity: int) -> None:
    scalar.define(
        name, definition.expansion, arity, meaning=definition.reference, ulp=definition.max_ulp
    )


def function(name: str, *ranges: Range, build: Callable[..., Node], public: Public) -> None:
    """Enter a public function that is a composition of rows."""
    table = SPECIAL if public.special else FUNCTIONS
    table[name] = Function(name, build, ranges, public)
