"""The primitive scalar ops: what every target emits directly, and what all others are made of.

Knows types, NumPy meanings and constant folding; knows no loops, no targets, no approximations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Any, final

import numpy as np

from . import meanings
from .dtypes import DType, bfloat16, bool_, float32, float64, int32, int64
from .expr import Apply, Const, Expr, Var
from .ranges import fits, range_of
from .records import dataclass
from .varying import likely

__all__ = [
    "ANY",
    "INTEGER",
    "NUMBER",
    "PRIMITIVES",
    "ScalarOp",
    "TypeRule",
    "build",
    "same",
    "test",
]

TypeRule = Callable[[tuple[DType, ...]], DType]


@final
@dataclass(frozen=True, eq=False)
class ScalarOp:
    """One scalar op: a row of the table.

    Attributes
    ----------
    name : str
    arity : int
    result : callable
        The type rule: the operands' dtypes to the result's; raises TypeError.
    meaning : callable
        The meaning on NumPy arrays or scalars; `cast` and `bitcast` take the dtype as well.
    python : str
        The printed spelling for numba, a format string over the printed operands; without one the
        row is printed expanded.
    expand : callable, optional
        None for a primitive, else makes of the operand expressions one of primitive rows.
    cost : float
        Roughly the number of additions it costs; from 8 on it is expensive to compute twice.
    max_ulp : mapping
        For each float dtype the largest error, in units in the last place; 0.5 where rounded
        correctly.
    """

    name: str
    arity: int
    result: TypeRule
    meaning: Callable[..., Any]
    python: str
    expand: Callable[..., Expr] | None = None
    cost: float = 1.0
    max_ulp: Mapping[DType, float] = field(default_factory=dict)


# --- type rules ----------------------------------------------------------------------------------


def same(kinds: str) -> TypeRule:
    """Operands of one dtype, whose kind is among `kinds`; the result has it too.

    No row computes with halves: `build` makes them float32 around it.
    """
    allowed = frozenset(kinds.split())

    def rule(dtypes: tuple[DType, ...]) -> DType:
        first = dtypes[0]
        if first.kind not in allowed or first.is_half or any(d is not first for d in dtypes):
            raise TypeError(f"takes operands of one dtype ({' or '.join(sorted(allowed))})")
        return first

    return rule


def test(kinds: str) -> TypeRule:
    """Operands of one dtype; the result is a bool."""
    operands = same(kinds)

    def rule(dtypes: tuple[DType, ...]) -> DType:
        operands(dtypes)
        return bool_

    return rule


def choose(dtypes: tuple[DType, ...]) -> DType:
    """A bool and two operands of one dtype."""
    if dtypes[0] is not bool_ or dtypes[1] is not dtypes[2]:
        raise TypeError("takes a bool and two operands of one dtype")
    return dtypes[1]


def given(dtypes: tuple[DType, ...]) -> DType:
    """The result's dtype is an argument of `apply`."""
    raise TypeError("needs dtype=")


NUMBER = "int uint float"
INTEGER = "int uint"
ANY = "bool int uint float"


# --- rows ----------------------------------------------------------------------------------------


def _rows() -> list[ScalarOp]:
    number, integer, real = same(NUMBER), same(INTEGER), same("float")
    bits, compare = same("bool int uint"), test(ANY)
    select, rare = (lambda c, a, b: np.where(c, a, b)), (lambda c, a, b: np.where(c, b, a))
    quiet = meanings.quiet
    return [
        ScalarOp("add", 2, number, quiet(np.add), "{0} + {1}"),
        ScalarOp("sub", 2, number, quiet(np.subtract), "{0} - {1}"),
        ScalarOp("mul", 2, number, quiet(np.multiply), "{0} * {1}"),
        ScalarOp("neg", 1, number, quiet(np.negative), "-{0}"),
        ScalarOp("abs", 1, number, quiet(np.abs), "abs({0})"),
        ScalarOp("div", 2, real, quiet(np.divide), "{0} / {1}", cost=6),
        ScalarOp("divtrunc", 2, integer, meanings.divtrunc, "{0} // {1}", cost=20),
        ScalarOp("remtrunc", 2, integer, meanings.remtrunc, "{0} % {1}", cost=20),
        ScalarOp("fma", 3, real, meanings.fma, "{0} * {1} + {2}"),
        ScalarOp("minimum", 2, same(ANY), quiet(np.minimum), "np.minimum({0}, {1})", cost=2),
        ScalarOp("maximum", 2, same(ANY), quiet(np.maximum), "np.maximum({0}, {1})", cost=2),
        ScalarOp("eq", 2, compare, quiet(np.equal), "{0} == {1}"),
        ScalarOp("ne", 2, compare, quiet(np.not_equal), "{0} != {1}"),
        ScalarOp("lt", 2, compare, quiet(np.less), "{0} < {1}"),
        ScalarOp("le", 2, compare, quiet(np.less_equal), "{0} <= {1}"),
        ScalarOp("gt", 2, compare, quiet(np.greater), "{0} > {1}"),
        ScalarOp("ge", 2, compare, quiet(np.greater_equal), "{0} >= {1}"),
        ScalarOp("and", 2, bits, np.bitwise_and, "{0} & {1}"),
        ScalarOp("or", 2, bits, np.bitwise_or, "{0} | {1}"),
        ScalarOp("xor", 2, bits, np.bitwise_xor, "{0} ^ {1}"),
        ScalarOp("not", 1, bits, np.invert, "~{0}"),
        ScalarOp("shl", 2, integer, meanings.shl, "np.left_shift({0}, {1})"),
        ScalarOp("shr", 2, integer, meanings.shr, "np.right_shift({0}, {1})"),
        ScalarOp("select", 3, choose, select, "({1} if {0} else {2})"),
        ScalarOp("rare", 3, choose, rare, "({2} if {0} else {1})"),
        ScalarOp("cast", 1, given, meanings.cast, "np.{dtype}({0})"),
        ScalarOp("bitcast", 1, given, meanings.bitcast, "np.{dtype}({0}.view())"),
        ScalarOp("sqrt", 1, real, quiet(np.sqrt), "math.sqrt({0})", cost=8),
        ScalarOp("floor", 1, real, np.floor, "np.floor({0})"),
        ScalarOp("ceil", 1, real, np.ceil, "np.ceil({0})"),
        ScalarOp("trunc", 1, real, np.trunc, "np.trunc({0})"),
        ScalarOp("rint", 1, real, np.rint, "np.rint({0})"),
    ]


PRIMITIVES: dict[str, ScalarOp] = {row.name: row for row in _rows()}
"""The primitive rows by name."""


# --- building and folding ------------------------------------------------------------------------


def build(
    table: Mapping[str, ScalarOp], name: str, args: Sequence[Expr], dtype: DType | None = None
) -> Expr:
    """The expression that applies row `name` of `table`; checked, typed and folded.

    What is computed of halves is computed in float32 and rounded once.
    """
    if name in _OF_INDICES and len(args) == 2:
        a, b = args
        if a.dtype is int64 and b.dtype is int64:
            # Most of what schedules build; the rule and the check of halves say the same.
            return _fold_index(name, args) or Apply(name, args, int64)
    row = table.get(name)
    if row is None:
        raise TypeError(f"no scalar op {name!r}")
    if len(args) != row.arity:
        raise TypeError(f"{name} takes {row.arity} operands, not {len(args)}")
    if name in ("cast", "bitcast"):
        return _convert(name, args[0], dtype)
    try:
        if name not in _MOVING and any(a.dtype.is_half for a in args):
            return _through_float32(table, name, args)
        result = row.result(tuple(a.dtype for a in args))
    except TypeError as error:
        got = ", ".join(str(a.dtype) for a in args)
        raise TypeError(f"{name} {error}, not ({got})") from None
    folded = None
    if result is int64 and args[0].dtype is int64:
        folded = _fold_index(name, args)
    elif result.is_integer and name in _EXTREMES:
        folded = _fold_extreme(name, *args)
    elif result is bool_:
        folded = _fold_bool(name, args)
    if folded is None and name in ("select", "rare"):
        folded = _fold_choice(name, args)
    return Apply(name, args, result) if folded is None else folded


_MOVING = ("select", "rare")
_EXTREMES = ("minimum", "maximum")
_OF_INDICES = frozenset({"add", "sub", "mul", "divtrunc", "remtrunc", "minimum", "maximum"})


def _through_float32(table: Mapping[str, ScalarOp], name: str, args: Sequence[Expr]) -> Expr:
    dtypes = {a.dtype for a in args if a.dtype.is_float}
    if len(dtypes) > 1:
        raise TypeError("takes operands of one dtype")
    wide = [_convert("cast", a, float32) if a.dtype.is_half else a for a in args]
    result = build(table, name, wide)
    return _convert("cast", result, dtypes.pop()) if result.dtype is float32 else result


def _convert(name: str, x: Expr, dtype: DType | None) -> Expr:
    if dtype is None:
        raise TypeError(f"{name} needs dtype=")
    if x.dtype is dtype:
        return x
    if name == "bitcast":
        if x.dtype.itemsize != dtype.itemsize or bool_ in (x.dtype, dtype):
            raise TypeError(f"cannot bitcast {x.dtype} to {dtype}: the widths differ")
        return Apply(name, (x,), dtype)
    if isinstance(x, Const) and not (x.dtype.is_float and not dtype.is_float):
        if dtype.is_half or x.origin is not None:
            return Const(x.value if x.origin is None else x.origin, dtype)
        return Const(meanings.cast(meanings.number(x.value, x.dtype), dtype).item(), dtype)
    if x.dtype.is_half and dtype is not float32:
        return _convert(name, Apply(name, (x,), float32), dtype)
    if dtype.is_half and x.dtype is not float32:
        to_odd = x.dtype is float64 and dtype is not bfloat16
        single = _rounded_to_odd(x) if to_odd else _convert(name, x, float32)
        return _convert(name, single, dtype)
    return Apply(name, (x,), dtype)


def _rounded_to_odd(x: Expr) -> Expr:
    """A float64 as the float32 from which rounding on gives what rounding once gives."""

    def make(name: str, *args: Expr) -> Expr:
        return build(PRIMITIVES, name, args)

    near = Apply("cast", (x,), float32)
    found, wanted = make("abs", Apply("cast", (near,), float64)), make("abs", x)
    bits = Apply("bitcast", (near,), int32)
    zero, one = Const(0, int32), Const(1, int32)
    below = make("select", make("gt", found, wanted), Const(-1, int32), zero)
    step = make("select", make("lt", found, wanted), one, below)
    even = make("eq", make("and", bits, one), zero)
    return Apply("bitcast", (make("add", bits, make("select", even, step, zero)),), float32)


_INDEX: dict[str, Callable[[int, int], int]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "minimum": min,
    "maximum": max,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
}
_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}
_RIGHT_UNIT = {"add": 0, "sub": 0, "mul": 1, "divtrunc": 1}
_LEFT_UNIT = {"add": 0, "mul": 1}


def _fold_index(name: str, args: Sequence[Expr]) -> Expr | None:
    """Index arithmetic with known numbers."""
    if name == "neg" and isinstance(args[0], Const):
        return Const(-args[0].value, int64)
    if len(args) != 2:
        return None
    a, b = args
    x = a.value if isinstance(a, Const) else None
    y = b.value if isinstance(b, Const) else None
    if isinstance(x, int) and isinstance(y, int):
        return _fold_numbers(name, x, y)
    if y is not None and _RIGHT_UNIT.get(name) == y == likely(y):
        return a
    if x is not None and _LEFT_UNIT.get(name) == x == likely(x):
        return b
    if name == "mul" and 0 in (x, y):
        return Const(0, int64)
    if name in _EXTREMES:
        return _fold_extreme(name, a, b)
    if name == "remtrunc" and y is not None and y == 1 == likely(y):
        return Const(0, int64)
    if name in ("divtrunc", "remtrunc") and x == 0:
        return Const(0, int64)
    return None


def _fold_extreme(name: str, a: Expr, b: Expr) -> Expr | None:
    """The operand that always is the lesser or the larger one."""
    (low, high), (least, most) = range_of(a), range_of(b)
    if high <= least:
        return a if name == "minimum" else b
    if most <= low:
        return b if name == "minimum" else a
    return None


def _fold_order(name: str, a: Expr, b: Expr) -> Expr | None:
    """A comparison of whole numbers whose result their ranges tell, or in fewer bits."""
    (low, high), (least, most) = range_of(a), range_of(b)
    if high < least or most < low:
        below = high < least
        return Const(name == "ne" or name in (("lt", "le") if below else ("gt", "ge")), bool_)
    if (high == least and name in ("gt", "le")) or (low == most and name in ("lt", "ge")):
        return Const(name in ("le", "ge"), bool_)
    if a.dtype is int64 and _varies(a) and _varies(b):
        few = int(int32.lowest), int(int32.highest)
        if fits((low, high), few) and fits((least, most), few):
            # Twice as many fit into a vector.
            return Apply(name, (_convert("cast", a, int32), _convert("cast", b, int32)), bool_)
    return None


def _varies(expr: Expr) -> bool:
    """Whether it is a loop variable, which is as cheap in fewer bits."""
    return isinstance(expr, Var) and type(expr.extent) is int


def _fold_numbers(name: str, x: int, y: int) -> Const | None:
    if name in ("divtrunc", "remtrunc"):
        if x < 0 or y <= 0:
            return None
        return Const(x // y if name == "divtrunc" else x % y, int64)
    if name in ("minimum", "maximum") and (x < y) != (likely(x) < likely(y)):
        return None
    function = _INDEX.get(name)
    return None if function is None else Const(function(x, y), int64)


def _fold_bool(name: str, args: Sequence[Expr]) -> Expr | None:
    """Comparisons and logic: known numbers, and comparisons of bools as logic."""
    first = args[0]
    if len(args) == 2 and first.dtype is not bool_:
        a, b = args
        if isinstance(a, Const) and isinstance(b, Const) and name in _COMPARE:
            found = _COMPARE[name](a.value, b.value)
            if found == _COMPARE[name](likely(a.value), likely(b.value)):
                return Const(found, bool_)
            return None
        return _fold_order(name, a, b) if first.dtype.is_integer and name in _COMPARE else None
    # Of truth values those that ask whether numbers are zero are the same.
    name = name.removeprefix("logical_")
    if name == "not":
        if isinstance(first, Const):
            return Const(not first.value, bool_)
        inner = isinstance(first, Apply) and first.op == "not"
        return first.args[0] if inner and isinstance(first, Apply) else None
    if len(args) == 2:
        return _fold_logic(name, first, args[1])
    return None


def _logic(name: str, *args: Expr) -> Expr:
    return build(PRIMITIVES, name, args)


_BOOL_COMPARE: dict[str, Callable[[Expr, Expr], Expr]] = {
    "minimum": lambda a, b: _logic("and", a, b),
    "maximum": lambda a, b: _logic("or", a, b),
    "eq": lambda a, b: _logic("not", _logic("xor", a, b)),
    "ne": lambda a, b: _logic("xor", a, b),
    "lt": lambda a, b: _logic("and", _logic("not", a), b),
    "le": lambda a, b: _logic("or", _logic("not", a), b),
    "gt": lambda a, b: _logic("and", a, _logic("not", b)),
    "ge": lambda a, b: _logic("or", a, _logic("not", b)),
}


def _fold_logic(name: str, a: Expr, b: Expr) -> Expr | None:
    if name in _BOOL_COMPARE:
        return _BOOL_COMPARE[name](a, b)
    for known, other in ((a, b), (b, a)):
        if isinstance(known, Const):
            if name == "and":
                return other if known.value else known
            if name == "or":
                return known if known.value else other
            if name == "xor":
                return _logic("not", other) if known.value else other
    return a if name in ("and", "or") and a == b else None


def _fold_choice(name: str, args: Sequence[Expr]) -> Expr | None:
    condition, a, b = args
    if name == "rare":
        a, b = b, a
    if isinstance(condition, Const):
        return a if condition.value else b
    return a if a is b else None
