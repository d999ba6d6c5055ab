"""Elementwise functions as the user names them: which dtypes they take and what they record.

A row of `FUNCTIONS` gives the function of ``fg``, the operator and the method; knows no Tensor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from ..codegen.dtypes import DType, bool_, int16
from ..errors import DTypeError
from ..ir.halves import wide
from ..ir.node import Node
from ..ops import build
from .promotion import as_float

__all__ = ["FUNCTIONS", "Function"]

_ALL = frozenset({"bool", "int", "uint", "float"})
_NUMBERS = frozenset({"int", "uint", "float"})
_BITS = frozenset({"bool", "int", "uint"})
_INTEGERS = frozenset({"int", "uint"})


_COMPARISONS = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal")
_VERBS = {
    "add": "add",
    "subtract": "subtract",
    "multiply": "multiply",
    "divide": "divide",
    **dict.fromkeys(_COMPARISONS, "compare"),
}


@final
@dataclass(frozen=True)
class Function:
    """An elementwise function.

    Attributes
    ----------
    name : str
        Its name in ``fg``, and in messages.
    build : callable
        From operand nodes of one dtype and shape to the result.
    kinds : frozenset of str
        The kinds of dtypes that it takes.
    to_float : bool
        Whether integers and bools are converted to the default float first.
    """

    name: str
    build: Callable[..., Node]
    kinds: frozenset[str] = _ALL
    to_float: bool = False

    @property
    def verb(self) -> str:
        """What it does to shapes that do not fit, for the message."""
        return _VERBS.get(self.name, f"apply {self.name} to")

    def operand_dtype(self, dtype: DType) -> DType:
        """What operands of the common `dtype` are converted to; DTypeError if there is none."""
        if self.to_float:
            return as_float(dtype)
        if dtype.kind not in self.kinds:
            takes = " or ".join(k for k in ("bool", "int", "uint", "float") if k in self.kinds)
            raise DTypeError(
                f"{self.name} does not take {dtype}: it takes {takes} dtypes",
                remedy='convert the operand first, x.astype("...")',
            )
        return dtype


def _add(a: Node, b: Node) -> Node:
    return build.logical_or(a, b) if a.dtype is bool_ else build.add(a, b)


def _multiply(a: Node, b: Node) -> Node:
    return build.logical_and(a, b) if a.dtype is bool_ else build.mul(a, b)


def _maximum(a: Node, b: Node) -> Node:
    return build.logical_or(a, b) if a.dtype is bool_ else build.maximum(a, b)


def _minimum(a: Node, b: Node) -> Node:
    return build.logical_and(a, b) if a.dtype is bool_ else build.minimum(a, b)


def _absolute(x: Node) -> Node:
    return x if x.dtype.kind in ("bool", "uint") else build.abs_(x)


def _rounding(make: Callable[[Node], Node]) -> Callable[[Node], Node]:
    """Integers are round already."""
    return lambda x: make(x) if x.dtype.is_float else x


def _test(make: Callable[[Node], Node]) -> Callable[[Node], Node]:
    """A question about floats, which is also asked of integers."""
    return lambda x: make(x if x.dtype.is_float else build.cast(x, as_float(x.dtype)))


def _truth(x: Node) -> Node:
    return build.cast(x, bool_)


def _logical(make: Callable[..., Node]) -> Callable[..., Node]:
    return lambda *operands: make(*map(_truth, operands))


def _bitwise(logical: Callable[..., Node], bits: Callable[..., Node]) -> Callable[..., Node]:
    return lambda *operands: (logical if operands[0].dtype is bool_ else bits)(*operands)


def _sigmoid(x: Node) -> Node:
    """1 / (1 + exp(-x)), without overflow, and accurate to both sides."""
    given, x = x.dtype, build.cast(x, wide(x.dtype))
    one = build.ones_like(x)
    positive = build.ge(x, build.zeros_like(x))
    # Not -abs(x), whose derivative at 0 is 0.
    power = build.exp(build.select(positive, build.neg(x), x))
    result = build.div(build.select(positive, one, power), build.add(power, one))
    return build.cast(result, given)


def _relu(x: Node) -> Node:
    # Not a maximum: the derivative at 0 is 0, and NaN stays NaN.
    zero = build.zeros_like(x)
    return build.select(build.le(x, zero), zero, x)


def _floor_divide(a: Node, b: Node) -> Node:
    """``floor(a / b)``; an infinity divided by a number is infinite, not NaN as in NumPy."""
    quotient = build.floordiv(a, b)
    if not a.dtype.is_float:
        return quotient
    infinite = build.logical_and(build.isinf(a), build.isfinite(b))
    return build.select(infinite, build.stop_gradient(build.div(a, b)), quotient)


def _next_after(a: Node, b: Node) -> Node:
    """The number next to `a` on the way to `b`: for halves the next one of theirs."""
    if not a.dtype.is_half:
        return build.nextafter(a, b)
    steps, zero = build.bitcast(a, int16), build.zeros_like(a)
    one = build.ones_like(steps)
    # The bits of numbers of one sign are ordered as their sizes.
    inward = build.logical_xor(build.gt(b, a), build.gt(a, zero))
    moved = build.add(steps, build.select(inward, build.neg(one), one))
    sign = build.bitwise_and(build.bitcast(b, int16), build.full_like(steps, -(1 << 15)))
    first = build.select(build.eq(a, zero), build.bitwise_or(one, sign), moved)
    result = build.select(build.eq(a, b), b, build.bitcast(first, a.dtype))
    missing = build.logical_or(build.isnan(a), build.isnan(b))
    return build.select(missing, build.add(a, b), result)


def _power(a: Node, b: Node) -> Node:
    """``a ** b``; small constant powers are products, as in NumPy."""
    exponent = build.constant_value(b)
    if a.dtype.is_float:
        special = {0.5: build.sqrt, -1: build.reciprocal, 3: _cube, 0: build.ones_like}
        make = None if exponent is None else special.get(exponent)
        return build.pow_(a, b) if make is None else make(a)
    if exponent is not None and exponent < 0:
        raise DTypeError(
            f"an integer array to the power {exponent}",
            remedy='compute with floats, x.astype("float32")',
        )
    return build.pow_(a, b) if exponent is None else _integer_power(a, int(exponent))


def _cube(x: Node) -> Node:
    given, x = x.dtype, build.cast(x, wide(x.dtype))
    return build.cast(build.mul(build.square(x), x), given)


def _integer_power(x: Node, exponent: int) -> Node:
    result = None
    while exponent:
        if exponent & 1:
            result = x if result is None else build.mul(result, x)
        exponent >>= 1
        x = build.square(x) if exponent else x
    return build.ones_like(x) if result is None else result


def _float(name: str, make: Callable[..., Node]) -> Function:
    return Function(name, make, to_float=True)


_ROWS = (
    # arithmetic
    Function("add", _add),
    Function("subtract", build.sub, _NUMBERS),
    Function("multiply", _multiply),
    _float("divide", build.div),
    Function("floor_divide", _floor_divide, _NUMBERS),
    Function("remainder", build.mod, _NUMBERS),
    Function("pow", _power, _NUMBERS),
    Function("negative", build.neg, _NUMBERS),
    Function("positive", lambda x: x, _NUMBERS),
    Function("abs", _absolute),
    # All numbers are real.
    Function("conj", lambda x: x, _NUMBERS),
    Function("real", lambda x: x, _NUMBERS),
    Function("imag", build.zeros_like, _NUMBERS),
    Function("sign", build.sign, _NUMBERS),
    Function("square", build.square, _NUMBERS),
    _float("reciprocal", build.reciprocal),
    Function("maximum", _maximum),
    Function("minimum", _minimum),
    _float("hypot", build.hypot),
    _float("copysign", build.copysign),
    _float("nextafter", _next_after),
    # comparisons and logic
    Function("equal", build.eq),
    Function("not_equal", build.ne),
    Function("less", build.lt),
    Function("less_equal", build.le),
    Function("greater", build.gt),
    Function("greater_equal", build.ge),
    Function("logical_and", _logical(build.logical_and)),
    Function("logical_or", _logical(build.logical_or)),
    Function("logical_xor", _logical(build.logical_xor)),
    Function("logical_not", _logical(build.logical_not)),
    Function("bitwise_and", _bitwise(build.logical_and, build.bitwise_and), _BITS),
    Function("bitwise_or", _bitwise(build.logical_or, build.bitwise_or), _BITS),
    Function("bitwise_xor", _bitwise(build.logical_xor, build.bitwise_xor), _BITS),
    Function("bitwise_invert", _bitwise(build.logical_not, build.bitwise_not), _BITS),
    Function("bitwise_left_shift", build.shift_left, _INTEGERS),
    Function("bitwise_right_shift", build.shift_right, _INTEGERS),
    # exponentials and powers
    _float("exp", build.exp),
    _float("exp2", build.exp2),
    _float("expm1", build.expm1),
    _float("log", build.log),
    _float("log2", build.log2),
    _float("log10", build.log10),
    _float("log1p", build.log1p),
    _float("logaddexp", build.logaddexp),
    _float("sqrt", build.sqrt),
    _float("rsqrt", build.rsqrt),
    # trigonometric, hyperbolic and special functions
    _float("sin", build.sin),
    _float("cos", build.cos),
    _float("tan", build.tan),
    _float("asin", build.asin),
    _float("acos", build.acos),
    _float("atan", build.atan),
    _float("atan2", build.atan2),
    _float("sinh", build.sinh),
    _float("cosh", build.cosh),
    _float("tanh", build.tanh),
    _float("asinh", build.asinh),
    _float("acosh", build.acosh),
    _float("atanh", build.atanh),
    _float("erf", build.erf),
    _float("erfc", build.erfc),
    _float("sigmoid", _sigmoid),
    Function("relu", _relu, _NUMBERS),
    # rounding and tests
    Function("floor", _rounding(build.floor)),
    Function("ceil", _rounding(build.ceil)),
    Function("trunc", _rounding(build.trunc)),
    Function("round", _rounding(build.round_)),
    Function("isnan", _test(build.isnan)),
    Function("isinf", _test(build.isinf)),
    Function("isfinite", _test(build.isfinite)),
    _float("signbit", build.signbit),
)

FUNCTIONS: dict[str, Function] = {row.name: row for row in _ROWS}
"""Every elementwise function by its name in ``fg``."""
