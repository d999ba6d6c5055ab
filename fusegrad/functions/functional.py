"""Elementwise functions of the array API, and the choice between values.

Knows the rows of `semantics.elementwise`; one line here makes a row public.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from ..codegen.dtypes import bool_, float64
from ..errors import DTypeError
from ..ir.node import Node
from ..ops import build
from ..semantics.elementwise import FUNCTIONS, Function
from ..semantics.shapes import broadcast_all
from ..tensors.tensor_class import (
    ArrayLike,
    Tensor,
    as_tensor,
    common_nodes,
    elementwise,
    record_nodes,
)
from .data_types import finfo
from .searching import nonzero

__all__ = [
    "abs",
    "acos",
    "acosh",
    "add",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "bitwise_and",
    "bitwise_invert",
    "bitwise_left_shift",
    "bitwise_or",
    "bitwise_right_shift",
    "bitwise_xor",
    "ceil",
    "clip",
    "conj",
    "copysign",
    "cos",
    "cosh",
    "divide",
    "equal",
    "erf",
    "erfc",
    "exp",
    "exp2",
    "expm1",
    "floor",
    "floor_divide",
    "greater",
    "greater_equal",
    "hypot",
    "imag",
    "isclose",
    "isfinite",
    "isinf",
    "isnan",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "maximum",
    "minimum",
    "multiply",
    "nan_to_num",
    "negative",
    "nextafter",
    "not_equal",
    "positive",
    "pow",
    "real",
    "reciprocal",
    "relu",
    "remainder",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "signbit",
    "sin",
    "sinh",
    "sqrt",
    "square",
    "subtract",
    "tan",
    "tanh",
    "trunc",
    "where",
]

Unary = Callable[[ArrayLike], Tensor]
Binary = Callable[[ArrayLike, ArrayLike], Tensor]


def documented(function: Any, row: Function, summary: str, arguments: str, example: str) -> Any:
    """A function of `fg` with the name of its row, and a docstring of these parts."""
    call, _, result = example.partition(" -> ")
    function.__name__ = function.__qualname__ = row.name
    function.__doc__ = f"""{summary}

    Parameters
    ----------
    {arguments} : array_like
        {"Integers and bools are computed as float32." if row.to_float else "Numbers."}

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.{row.name}({call})
    Tensor({result})
    """
    return function


def _unary(name: str, summary: str, example: str) -> Unary:
    row = FUNCTIONS[name]

    def function(x: ArrayLike) -> Tensor:
        return elementwise(row, x)

    return documented(function, row, summary, "x", example)  # type: ignore[no-any-return]


def _binary(name: str, summary: str, example: str) -> Binary:
    row = FUNCTIONS[name]

    def function(x1: ArrayLike, x2: ArrayLike) -> Tensor:
        return elementwise(row, x1, x2)

    return documented(function, row, summary, "x1, x2", example)  # type: ignore[no-any-return]


# --- arithmetic -----------------------------------------------------------------------------------

add = _binary("add", "The sum of two numbers.", "[1.0, 2.0], 3.0 -> [4., 5.]")
subtract = _binary("subtract", "The first number less the second.", "[1.0, 2.0], 3 -> [-2., -1.]")
multiply = _binary("multiply", "The product of two numbers.", "[1.0, 2.0], 3.0 -> [3., 6.]")
divide = _binary("divide", "The quotient, of integers too a float.", "[1, 2], 4 -> [0.25, 0.5 ]")
floor_divide = _binary("floor_divide", "The quotient, rounded down.", "[7, -7], 2 -> [ 3, -4]")
remainder = _binary(
    "remainder", "What `floor_divide` leaves; it has the sign of `x2`.", "[7, -7], 3 -> [1, 2]"
)
pow = _binary("pow", "`x1` to the power `x2`; right at base 0 too.", "[1.0, 3.0], 2 -> [1., 9.]")
negative = _unary("negative", "The number with the other sign.", "[1.0, -2.0] -> [-1.,  2.]")
positive = _unary("positive", "The number itself.", "[1.0, -2.0] -> [ 1., -2.]")
conj = _unary("conj", "The complex conjugate; all numbers here are real.", "[1.0, 2.0] -> [1., 2.]")
real = _unary("real", "The real part: the number itself.", "[1.0, 2.0] -> [1., 2.]")
imag = _unary("imag", "The imaginary part: 0.", "[1.0, 2.0] -> [0., 0.]")
abs = _unary("abs", "The absolute value; the derivative at 0 is 0.", "[1.0, -2.0] -> [1., 2.]")
sign = _unary("sign", "-1, 0 or 1.", "[-3.0, 0.0, 2.0] -> [-1.,  0.,  1.]")
square = _unary("square", "The number times itself.", "[1.0, -2.0] -> [1., 4.]")
reciprocal = _unary("reciprocal", "One over the number.", "[1.0, 4.0] -> [1.  , 0.25]")
maximum = _binary(
    "maximum", "The larger of two; equal ones share the gradient.", "[1.0, 5.0], 3 -> [3., 5.]"
)
minimum = _binary(
    "minimum", "The smaller of two; equal ones share the gradient.", "[1.0, 5.0], 3 -> [1., 3.]"
)
nextafter = _binary(
    "nextafter",
    "The number next to the first one on the way to the second.",
    "[1.0, 0.0], [2.0, 0.0] -> [1.0000001, 0.       ]",
)
hypot = _binary("hypot", "sqrt(x1**2 + x2**2) without overflow.", "[3.0], [4.0] -> [5.]")
copysign = _binary("copysign", "`x1` with the sign of `x2`.", "[1.0, 2.0], -1.0 -> [-1., -2.]")

# --- comparisons and logic ------------------------------------------------------------------------

equal = _binary("equal", "Whether two numbers are equal.", "[1, 2], 2 -> [False,  True]")
not_equal = _binary("not_equal", "Whether two numbers differ.", "[1, 2], 2 -> [ True, False]")
less = _binary("less", "Whether the first is smaller.", "[1, 2], 2 -> [ True, False]")
less_equal = _binary(
    "less_equal", "Whether the first is not larger.", "[2, 3], 2 -> [ True, False]"
)
greater = _binary("greater", "Whether the first is larger.", "[2, 3], 2 -> [False,  True]")
greater_equal = _binary(
    "greater_equal", "Whether the first is not smaller.", "[1, 2], 2 -> [False,  True]"
)
logical_and = _binary("logical_and", "Whether both are not 0.", "[1, 0], 1 -> [ True, False]")
logical_or = _binary("logical_or", "Whether one of two is not 0.", "[1, 0], 0 -> [ True, False]")
logical_xor = _binary(
    "logical_xor", "Whether exactly one of two is not 0.", "[1, 0], 1 -> [False,  True]"
)
logical_not = _unary("logical_not", "Whether the number is 0.", "[1, 0] -> [False,  True]")
bitwise_and = _binary("bitwise_and", "Bits that both have.", "[6, 5], 3 -> [2, 1]")
bitwise_or = _binary("bitwise_or", "Bits that one of two has.", "[6, 5], 3 -> [7, 7]")
bitwise_xor = _binary("bitwise_xor", "Bits that one alone has.", "[6, 5], 3 -> [5, 6]")
bitwise_invert = _unary("bitwise_invert", "The other bits.", "[0, 5] -> [-1, -6]")
bitwise_left_shift = _binary("bitwise_left_shift", "Bits moved up.", "[1, 3], 2 -> [ 4, 12]")
bitwise_right_shift = _binary("bitwise_right_shift", "Bits moved down.", "[8, 5], 2 -> [2, 1]")

# --- exponentials, logarithms, roots --------------------------------------------------------------

exp = _unary("exp", "e to the power `x`.", "[0.0] -> [1.]")
exp2 = _unary("exp2", "2 to the power `x`.", "[0.0, 3.0] -> [1., 8.]")
expm1 = _unary("expm1", "exp(x) - 1, also accurate for small `x`.", "[0.0] -> [0.]")
log = _unary("log", "The natural logarithm.", "[1.0] -> [0.]")
log2 = _unary("log2", "The logarithm to base 2.", "[1.0, 8.0] -> [0., 3.]")
log10 = _unary("log10", "The logarithm to base 10.", "[1.0, 10.0] -> [0., 1.]")
log1p = _unary("log1p", "log(1 + x), also accurate for small `x`.", "[0.0] -> [0.]")
logaddexp = _binary("logaddexp", "log(exp(x1) + exp(x2)) without overflow.", "[-1e9], 0.0 -> [0.]")
sqrt = _unary("sqrt", "The square root; the derivative at 0 is infinite.", "[4.0, 9.0] -> [2., 3.]")
rsqrt = _unary("rsqrt", "One over the square root.", "[1.0, 4.0] -> [1. , 0.5]")

# --- trigonometric, hyperbolic and special functions ----------------------------------------------

sin = _unary("sin", "The sine.", "[0.0] -> [0.]")
cos = _unary("cos", "The cosine.", "[0.0] -> [1.]")
tan = _unary("tan", "The tangent.", "[0.0] -> [0.]")
asin = _unary("asin", "The inverse of the sine.", "[0.0] -> [0.]")
acos = _unary("acos", "The inverse of the cosine.", "[1.0] -> [0.]")
atan = _unary("atan", "The inverse of the tangent.", "[0.0] -> [0.]")
atan2 = _binary("atan2", "The angle of the point (x2, x1).", "[0.0], [1.0] -> [0.]")
sinh = _unary("sinh", "The hyperbolic sine.", "[0.0] -> [0.]")
cosh = _unary("cosh", "The hyperbolic cosine.", "[0.0] -> [1.]")
tanh = _unary("tanh", "The hyperbolic tangent.", "[0.0] -> [0.]")
asinh = _unary("asinh", "The inverse of the hyperbolic sine.", "[0.0] -> [0.]")
acosh = _unary("acosh", "The inverse of the hyperbolic cosine.", "[1.0] -> [0.]")
atanh = _unary("atanh", "The inverse of the hyperbolic tangent.", "[0.0] -> [0.]")
erf = _unary("erf", "The error function.", "[0.0] -> [0.]")
erfc = _unary("erfc", "1 - erf(x), also accurate for large `x`.", "[0.0] -> [1.]")
sigmoid = _unary("sigmoid", "1 / (1 + exp(-x)).", "[0.0] -> [0.5]")
relu = _unary("relu", "The number, or 0 if it is negative.", "[-1.0, 2.0] -> [0., 2.]")

# --- rounding and tests ---------------------------------------------------------------------------

floor = _unary("floor", "The largest integer that is not larger.", "[1.5, -1.5] -> [ 1., -2.]")
ceil = _unary("ceil", "The smallest integer that is not smaller.", "[1.5, -1.5] -> [ 2., -1.]")
trunc = _unary("trunc", "The integer part.", "[1.5, -1.5] -> [ 1., -1.]")
round = _unary("round", "The nearest integer; halves to the even one.", "[1.5, 2.5] -> [2., 2.]")
isnan = _unary("isnan", "Whether it is not a number.", "[1.0, float('nan')] -> [False,  True]")
isinf = _unary("isinf", "Whether it is infinite.", "[1.0, float('inf')] -> [False,  True]")
isfinite = _unary("isfinite", "Whether it is a number.", "[1.0, float('inf')] -> [ True, False]")
signbit = _unary("signbit", "Whether the sign is minus.", "[-0.0, 1.0] -> [ True, False]")


# --- choices --------------------------------------------------------------------------------------


Choice = Callable[[Node, Node, Node], Node]


def _chosen(choice: Choice, condition: ArrayLike, x1: ArrayLike, x2: ArrayLike) -> Tensor:
    test = as_tensor(condition)
    if test.dtype is not bool_:
        raise DTypeError(
            f"the condition of where has dtype {test.dtype}, not bool",
            remedy="compare, as in fg.where(x != 0, a, b)",
        )

    def choose() -> tuple[Node, list[Tensor]]:
        (a, b), tensors = common_nodes((x1, x2))
        return choice(*broadcast_all("choose between", (test._read(), a, b))), tensors

    return record_nodes(choose)


def choose(condition: ArrayLike, x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """As `where`, for values whose derivatives are finite wherever the values are.

    It spares the gradient the tests that keep infinite derivatives of what is not chosen apart.

    Examples
    --------
    >>> choose(True, 1.0, 2.0)
    Tensor(1.)
    """
    return _chosen(build.select, condition, x1, x2)


@overload
def where(condition: ArrayLike) -> tuple[Tensor, ...]: ...


@overload
def where(condition: ArrayLike, x1: ArrayLike, x2: ArrayLike) -> Tensor: ...


def where(condition: ArrayLike, x1: Any = None, x2: Any = None) -> Tensor | tuple[Tensor, ...]:
    """`x1` where the condition holds, else `x2`; of a condition alone where it holds.

    No gradient flows into what is not chosen, nor through what it was computed from element by
    element: where ``x`` is 0, the gradient of ``where(x > 0, sqrt(x), 0)`` is 0, not NaN.

    Parameters
    ----------
    condition : array_like
        Bools.
    x1, x2 : array_like, optional
        Everything broadcasts. Both or none.

    Returns
    -------
    Tensor, or tuple of Tensor
        Of a condition alone what `fusegrad.nonzero` gives.

    Examples
    --------
    >>> import fusegrad as fg
    >>> x = fg.asarray([-1.0, 2.0])
    >>> fg.where(x > 0, x, 0.0)
    Tensor([0., 2.])
    """
    if x1 is None and x2 is None:
        places: tuple[Tensor, ...] = nonzero(condition)
        return places
    if x1 is None or x2 is None:
        raise TypeError("where takes a condition alone, or with two operands")
    return _chosen(build.where_, condition, x1, x2)


def clip(x: ArrayLike, min: ArrayLike = None, max: ArrayLike = None) -> Tensor:
    """Numbers moved to the nearest of two bounds where they lie outside.

    Parameters
    ----------
    x : array_like
    min, max : array_like, optional
        None for no bound.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.clip([-1.0, 0.5, 3.0], 0.0, 1.0)
    Tensor([0. , 0.5, 1. ])
    """
    return as_tensor(x).clip(min, max)


def isclose(
    a: ArrayLike, b: ArrayLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """Whether ``|a - b| <= atol + rtol * |b|``.

    Parameters
    ----------
    a, b : array_like
    rtol, atol : float, optional
    equal_nan : bool, optional
        Whether NaN is close to NaN.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.isclose([1.0, 2.0], [1.0 + 1e-6, 2.1])
    Tensor([ True, False])
    """
    x, y = as_tensor(a), as_tensor(b)
    if not (x.dtype.is_float or y.dtype.is_float):
        # Differences of integers may not fit their dtype.
        x, y = x.astype(float64), y.astype(float64)
    close = (x == y) | (isfinite(y) & (abs(x - y) <= atol + rtol * abs(y)))
    return close | (isnan(x) & isnan(y)) if equal_nan else close


def nan_to_num(
    x: ArrayLike,
    nan: float = 0.0,
    posinf: float | None = None,
    neginf: float | None = None,
    *,
    copy: bool = True,
) -> Tensor:
    """Numbers in place of NaN and infinities.

    Parameters
    ----------
    x : array_like
    nan : float, optional
    posinf, neginf : float, optional
        By default the largest and the least finite number.
    copy : bool, optional
        Without effect: the result is a value of its own.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.nan_to_num([1.0, float("nan"), float("-inf")], neginf=-9.0)
    Tensor([ 1.,  0., -9.])
    """
    value = as_tensor(x)
    if not value.dtype.is_float:
        return positive(value)
    largest = finfo(value.dtype).max
    value = where(isnan(value), nan, value)
    value = where(value == float("inf"), largest if posinf is None else posinf, value)
    return where(value == float("-inf"), -largest if neginf is None else neginf, value)
