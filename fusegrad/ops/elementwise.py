"""The elementwise table: one row is one op, with types, meaning, gradient, code and tests.

Knows scalar ops by name; how a scalar op is computed is told in ``codegen.scalar``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, final

import numpy as np

from ..codegen import scalar
from ..codegen.dtypes import (
    ALL,
    DType,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)
from ..codegen.expr import Expr
from ..errors import NotDifferentiableError
from ..ir.halves import wide
from ..ir.node import where
from . import build as b
from .base import (
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
    op_class,
    shape_error,
)
from .batch import spread

__all__ = [
    "ELEMENTWISE",
    "Barrier",
    "Cast",
    "Leaf",
    "Map",
    "Mark",
    "NotDifferentiable",
    "StopGradient",
]

Rule = Callable[..., tuple[Node | None, ...]]
"""Cotangent, result and operands to the cotangents of the operands."""
Range = tuple[float, float]


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
_FLOATS = (float16, bfloat16, float32, float64)
_SHAPES: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (3,), (15,), (17,), (2, 5), (1023,))
_FEW_SHAPES: tuple[tuple[int, ...], ...] = ((7,), (1023,))


def _row(
    name: str,
    rule: Rule | None,
    *ranges: Range,
    scalar: str | None = None,
    kinks: bool = False,
    complete: bool = True,
) -> None:
    ELEMENTWISE[name] = ROWS[name] = Map(name, scalar or name, rule, ranges, kinks, complete)


# --- rules that take more than a line -------------------------------------------------------------


def _scaled(x: Node, factor: float) -> Node:
    return b.mul(x, b.full_like(x, factor))


def _one_minus_square(x: Node) -> Node:
    """1 - x^2, without cancellation near 1."""
    one = b.ones_like(x)
    return b.mul(b.sub(one, x), b.add(one, x))


def _larger(g: Node, a: Node, c: Node) -> Node:
    """`g` where `a` is larger than `c`, half of it where they are equal."""
    return b.select(b.eq(a, c), _scaled(g, 0.5), b.select(b.gt(a, c), g, b.zeros_like(g)))


def _pow_rule(g: Node, y: Node, x: Node, e: Node) -> tuple[Node | None, ...]:
    """x^e: right at x = 0 for e = 0, 1, 2, ...; no gradient by e where x <= 0."""
    one, zero = b.ones_like(x), b.zeros_like(x)
    known = b.constant_value(e)
    if known is not None:
        if known == 0:
            return None, None
        power = b.pow_(x, b.full_like(e, known - 1))
        return b.mul(g, b.mul(e, power) if known != 1 else one), None
    # At x = 0 and e = 0 the factor e is zero and x^-1 infinite: take x^0 there.
    both = b.logical_and(b.eq(x, zero), b.eq(e, zero))
    power = b.pow_(x, b.select(both, zero, b.sub(e, one)))
    positive = b.select(b.gt(x, zero), x, one)
    return b.mul(g, b.mul(e, power)), b.mul(g, b.mul(y, b.log(positive)))


def _hypot_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    """The gradient of a length is zero where the length is."""
    length = b.select(b.eq(y, b.zeros_like(y)), b.ones_like(y), y)
    return b.mul(g, b.div(p, length)), b.mul(g, b.div(q, length))


def _atan2_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    scaled = b.div(g, b.add(b.square(p), b.square(q)))
    return b.mul(scaled, q), b.neg(b.mul(scaled, p))


def _logaddexp_rule(g: Node, y: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    """Weights exp(x - y); infinities that cancel count as zero."""

    def weight(x: Node) -> Node:
        return b.exp(b.select(b.eq(x, y), b.zeros_like(y), b.sub(x, y)))

    return b.mul(g, weight(p)), b.mul(g, weight(q))


def _select_rule(g: Node, y: Node, c: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    zero = b.zeros_like(g)
    return None, b.select(c, g, zero), b.select(c, zero, g)


def _erf_slope(x: Node) -> Node:
    return _scaled(b.exp(b.neg(b.square(x))), 2 / math.sqrt(math.pi))


def _same_sign(p: Node, q: Node) -> Node:
    one = b.ones_like(p)
    return b.mul(b.copysign(one, p), b.copysign(one, q))


def _zeta_rule(g: Node, y: Node, s: Node, q: Node) -> tuple[Node | None, ...]:
    """By `q`; `build.zeta` wraps `s` so that a gradient that gets there is an error."""
    following = Node(y.op, (b.add(s, b.ones_like(s)), q))
    return b.zeros_like(s), b.neg(b.mul(g, b.mul(s, following)))


def _erfinv_slope(y: Node) -> Node:
    return _scaled(b.exp(b.square(y)), math.sqrt(math.pi) / 2)


def _per(x: Node, y: Node) -> Node:
    """``y / x``, at 0 its limit 1/2: of i1 and i1e."""
    zero = b.eq(x, b.zeros_like(x))
    safe = b.select(zero, b.ones_like(x), x)
    return b.select(zero, b.full_like(x, 0.5), b.div(y, safe))


# --- the rows -------------------------------------------------------------------------------------

_ANY: Range = (-3, 3)
_UNIT: Range = (-0.9, 0.9)
_POSITIVE: Range = (0.3, 3)
_COUNT: Range = (0, 7)
_LN2, _LN10 = math.log(2), math.log(10)

_row("add", lambda g, y, p, q: (g, g), _ANY, _ANY)
_row("sub", lambda g, y, p, q: (g, b.neg(g)), _ANY, _ANY)
_row("mul", lambda g, y, p, q: (b.mul(g, q), b.mul(g, p)), _ANY, _ANY)
_row("div", lambda g, y, p, q: (b.div(g, q), b.neg(b.div(b.mul(g, y), q))), _ANY, _POSITIVE)
_row("floordiv", None, _ANY, _POSITIVE)
_row("mod", lambda g, y, p, q: (g, b.neg(b.mul(g, b.floordiv(p, q)))), (0.1, 0.9), (1, 3))
_row("fmod", lambda g, y, p, q: (g, b.neg(b.mul(g, b.trunc(b.div(p, q))))), (3.1, 3.9), (1.1, 1.5))
_row("pow", _pow_rule, _POSITIVE, _ANY)
_row("neg", lambda g, y, x: (b.neg(g),), _ANY)
_row("abs", lambda g, y, x: (b.mul(g, b.sign(x)),), _POSITIVE)
_row("sign", None, _ANY)
_row("square", lambda g, y, x: (b.mul(g, b.add(x, x)),), _ANY)
_row("reciprocal", lambda g, y, x: (b.neg(b.mul(g, b.square(y))),), _POSITIVE)
_row("minimum", lambda g, y, p, q: (_larger(g, q, p), _larger(g, p, q)), _ANY, _ANY, kinks=True)
_row("maximum", lambda g, y, p, q: (_larger(g, p, q), _larger(g, q, p)), _ANY, _ANY, kinks=True)
for _name in ("eq", "ne", "lt", "le", "gt", "ge", "logical_and", "logical_or", "logical_xor"):
    _row(_name, None, _ANY, _ANY)
_row("logical_not", None, _ANY)
for _name in ("and", "or", "xor"):
    _row(f"bitwise_{_name}", None, _ANY, _ANY, scalar=_name)
_row("bitwise_not", None, _ANY, scalar="not")
_row("shift_left", None, _ANY, _COUNT, scalar="shl")
_row("shift_right", None, _ANY, _COUNT, scalar="shr")
_row("exp", lambda g, y, x: (b.mul(g, y),), _ANY)
_row("exp2", lambda g, y, x: (b.mul(g, _scaled(y, _LN2)),), _ANY)
_row("expm1", lambda g, y, x: (b.mul(g, b.exp(x)),), _ANY)
_row("log", lambda g, y, x: (b.div(g, x),), _POSITIVE)
_row("log2", lambda g, y, x: (b.div(_scaled(g, 1 / _LN2), x),), _POSITIVE)
_row("log10", lambda g, y, x: (b.div(_scaled(g, 1 / _LN10), x),), _POSITIVE)
_row("log1p", lambda g, y, x: (b.div(g, b.add(x, b.ones_like(x))),), _POSITIVE)
_row("sqrt", lambda g, y, x: (b.div(_scaled(g, 0.5), y),), _POSITIVE)
_row("rsqrt", lambda g, y, x: (b.mul(_scaled(g, -0.5), b.mul(y, b.square(y))),), _POSITIVE)
_row("cbrt", lambda g, y, x: (b.div(_scaled(g, 1 / 3), b.square(y)),), _POSITIVE)
_row("sin", lambda g, y, x: (b.mul(g, b.cos(x)),), _ANY)
_row("cos", lambda g, y, x: (b.neg(b.mul(g, b.sin(x))),), _ANY)
_row("tan", lambda g, y, x: (b.mul(g, b.add(b.ones_like(y), b.square(y))),), _UNIT)
_row("asin", lambda g, y, x: (b.div(g, b.sqrt(_one_minus_square(x))),), _UNIT)
_row("acos", lambda g, y, x: (b.neg(b.div(g, b.sqrt(_one_minus_square(x)))),), _UNIT)
_row("atan", lambda g, y, x: (b.div(g, b.add(b.ones_like(x), b.square(x))),), _ANY)
_row("atan2", _atan2_rule, _POSITIVE, _ANY)
_row("sinh", lambda g, y, x: (b.mul(g, b.cosh(x)),), _ANY)
_row("cosh", lambda g, y, x: (b.mul(g, b.sinh(x)),), _ANY)
_row("tanh", lambda g, y, x: (b.mul(g, b.sub(b.ones_like(y), b.square(y))),), _ANY)
_row("asinh", lambda g, y, x: (b.div(g, b.hypot(x, b.ones_like(x))),), _ANY)
_row("acosh", lambda g, y, x: (b.div(g, b.sqrt(b.neg(_one_minus_square(x)))),), (1.3, 3))
_row("atanh", lambda g, y, x: (b.div(g, _one_minus_square(x)),), _UNIT)
_row("erf", lambda g, y, x: (b.mul(g, _erf_slope(x)),), _ANY)
_row("erfc", lambda g, y, x: (b.neg(b.mul(g, _erf_slope(x))),), _ANY)
_row("lgamma", lambda g, y, x: (b.mul(g, b.digamma(x)),), _POSITIVE)
_row("digamma", lambda g, y, x: (b.mul(g, b.trigamma(x)),), _POSITIVE)
_row(
    "trigamma",
    lambda g, y, x: (b.mul(g, _scaled(b.zeta(b.full_like(x, 3.0), x), -2.0)),),
    _POSITIVE,
)
_row("zeta", _zeta_rule, (1.5, 4), _POSITIVE, complete=False)
_row("erfinv", lambda g, y, x: (b.mul(g, _erfinv_slope(y)),), _UNIT)
_row("erfcinv", lambda g, y, x: (b.neg(b.mul(g, _erfinv_slope(y))),), (0.1, 1.9))
_row("i0", lambda g, y, x: (b.mul(g, b.i1(x)),), _ANY)
_row("i0e", lambda g, y, x: (b.mul(g, b.sub(b.i1e(x), b.mul(b.sign(x), y))),), _POSITIVE)
_row("i1", lambda g, y, x: (b.mul(g, b.sub(b.i0(x), _per(x, y))),), _ANY)
_row(
    "i1e",
    lambda g, y, x: (b.mul(g, b.sub(b.sub(b.i0e(x), _per(x, y)), b.mul(b.sign(x), y))),),
    _POSITIVE,
)
for _name in ("floor", "ceil", "trunc", "round", "isnan", "isinf", "isfinite", "signbit"):
    _row(_name, None, _ANY)
_row("copysign", lambda g, y, p, q: (b.mul(g, _same_sign(p, q)), None), _POSITIVE, _POSITIVE)
_row("nextafter", None, _ANY, _ANY)
_row("hypot", _hypot_rule, _POSITIVE, _ANY)
_row("logaddexp", _logaddexp_rule, _ANY, _ANY)
_row("select", _select_rule, (0, 1), _ANY, _ANY)
# As select, for branches that are not to be differentiated where they are not taken.
_row("where", _select_rule, (0, 1), _ANY, _ANY, scalar="select")
_row("philox", None, (0, 1000), (0, 1000))
_row("philox64", None, (0, 1000), (0, 1000))


# --- conversions and identities -------------------------------------------------------------------


@op_class("cast")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Cast(IndexedOp):
    """Conversion of every element, as NumPy's ``astype``."""

    dtype: DType
    name: ClassVar[str] = "cast"
    pattern: ClassVar[Pattern] = Pattern.MAP

    def infer(self, *types: TensorType) -> TensorType:
        return TensorType(types[0].shape, self.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        given = node.inputs[0].dtype
        if not (given.is_float and self.dtype.is_float):
            return (None,)
        return (b.cast(cotangent, given),)

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return (mask,)

    def ref(self, *arrays: Array) -> Any:
        return scalar.TABLE["cast"].meaning(arrays[0], self.dtype)

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return scalar.apply("cast", reads[0](index), dtype=self.dtype)

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return b.cast(operands[0], self.dtype)

    def samples(self) -> Iterator[Sample]:
        for given in (bool_, uint8, int32, int64, uint32, uint64, *_FLOATS):
            for dtype in (bool_, uint8, int32, int64, uint64, *_FLOATS):
                low = 0 if dtype.kind == "uint" else -100
                smooth = given is float64 and dtype is float64
                yield Sample(Cast(dtype), (InputSpec((17,), given, low, 100),), smooth)


class _Identity(IndexedOp):
    """The operand itself, as another node."""

    pattern: ClassVar[Pattern] = Pattern.MAP

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return (mask,)

    def infer(self, *types: TensorType) -> TensorType:
        return types[0]

    def ref(self, *arrays: Array) -> Array:
        return np.asarray(arrays[0])

    def value(self, node: Node, reads: Sequence[Read], index: Index) -> Expr:
        return reads[0](index)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return None

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(operands))

    def params(self) -> tuple[Any, ...]:
        return ()


class _End(_Identity):
    """An identity that gradients do not pass."""

    passes_gradients: ClassVar[bool] = False

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (None,)


@op_class("stop_gradient")
@final
@dataclass(frozen=True, eq=False, repr=False)
class StopGradient(_End):
    """The operand, through which no gradient flows."""

    name: ClassVar[str] = "stop_gradient"

    def samples(self) -> Iterator[Sample]:
        yield Sample(self, (InputSpec((3,)),), gradient=False)


@op_class("not_differentiable")
@final
@dataclass(frozen=True, eq=False, repr=False)
class NotDifferentiable(_Identity):
    """The operand, through which no gradient can flow: asking for one is an error.

    Attributes
    ----------
    reason : str
        The message of the error.
    """

    reason: str
    name: ClassVar[str] = "not_differentiable"

    def params(self) -> tuple[Any, ...]:
        return (self.reason,)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        raise NotDifferentiableError(
            self.reason,
            where=where(node),
            remedy="detach that operand, or take the derivative by another one",
        )

    def samples(self) -> Iterator[Sample]:
        yield Sample(NotDifferentiable("a sample"), (InputSpec((3,)),), gradient=False)


@op_class("leaf")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Leaf(_End):
    """The operand as a variable of its own: gradients end here, and can be asked for here."""

    token: object
    name: ClassVar[str] = "leaf"

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return id(args[0])

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        # The tensor whose gradient could be asked for here has no batch.
        return b.stop_gradient(operands[0])

    def samples(self) -> Iterator[Sample]:
        yield Sample(Leaf(object()), (InputSpec((3,)),), gradient=False)


@op_class("mark")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Mark(_Identity):
    """The operand as a node of its own, which no equal expression shares; gradients flow on."""

    token: object
    name: ClassVar[str] = "mark"

    @classmethod
    def intern_key(cls, *args: Any) -> Hashable:
        return id(args[0])

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (cotangent,)

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def samples(self) -> Iterator[Sample]:
        yield Sample(Mark(object()), (InputSpec((3,)),))


@op_class("barrier")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Barrier(_Identity):
    """The first operand, as another node that is not there before the second one, a scalar.

    What is computed from it is computed again, not shared with what is computed from the operand.
    """

    name: ClassVar[str] = "barrier"

    def infer(self, *types: TensorType) -> TensorType:
        if types[1].shape != ():
            shape_error("barrier", types, "it waits for a scalar", "pick one element")
        return types[0]

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return cotangent, None

    def live(self, node: Node, mask: Node | None) -> tuple[Node | None, ...]:
        return mask, None

    def jvp(self, node: Node, tangents: tuple[Node | None, ...]) -> Node | None:
        return tangents[0]

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return b.barrier(operands[0], b.first(operands[1]))

    def samples(self) -> Iterator[Sample]:
        for shape in ((3,), (15, 7), (), (0, 2)):
            yield Sample(self, (InputSpec(shape), InputSpec(())))
