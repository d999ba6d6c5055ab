"""Elementwise functions beside those of the array API, under NumPy's and torch's names.

Knows the rows of `semantics.arithmetic`; one line here makes a row public.
"""

from __future__ import annotations

from typing import Any

from ..ir.node import Node
from ..semantics import arithmetic as semantics
from ..semantics.arithmetic import MORE
from ..semantics.shapes import broadcast_all
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, elementwise, record
from .functional import (
    add,
    divide,
    documented,
    floor_divide,
    multiply,
    remainder,
    subtract,
)

__all__ = [
    "addcdiv",
    "addcmul",
    "cbrt",
    "clamp",
    "deg2rad",
    "degrees",
    "divmod",
    "float_power",
    "fmax",
    "fmin",
    "fmod",
    "frexp",
    "gcd",
    "heaviside",
    "isneginf",
    "isposinf",
    "lcm",
    "ldexp",
    "lerp",
    "logaddexp2",
    "modf",
    "rad2deg",
    "radians",
    "sinc",
]


def _unary(name: str, summary: str, example: str) -> Any:
    row = MORE[name]

    def function(x: ArrayLike) -> Tensor:
        return elementwise(row, x)

    return documented(function, row, summary, "x", example)


def _binary(name: str, summary: str, example: str) -> Any:
    row = MORE[name]

    def function(x1: ArrayLike, x2: ArrayLike) -> Tensor:
        return elementwise(row, x1, x2)

    return documented(function, row, summary, "x1, x2", example)


fmod = _binary(
    "fmod", "What division towards 0 leaves, with the sign of `x1`.", "[7, -7], 3 -> [ 1, -1]"
)
fmax = _binary(
    "fmax",
    "The larger of two; of NaN and a number the number.",
    "[1.0, float('nan')], 0.5 -> [1. , 0.5]",
)
fmin = _binary(
    "fmin",
    "The smaller of two; of NaN and a number the number.",
    "[1.0, float('nan')], 1.5 -> [1. , 1.5]",
)
float_power = _binary(
    "float_power", "`x1` to the power `x2`, computed as float64.", "[2], -1 -> [0.5], dtype=float64"
)
cbrt = _unary("cbrt", "The cube root.", "[8.0, 1.0] -> [2., 1.]")
heaviside = _binary(
    "heaviside", "0 below 0, 1 above, `x2` at 0.", "[-1.0, 0.0, 2.0], 0.5 -> [0. , 0.5, 1. ]"
)
sinc = _unary("sinc", "sin(pi x) / (pi x), at 0 it is 1.", "[0.0] -> [1.]")
deg2rad = _unary("deg2rad", "Degrees as radians.", "[180.0] -> [3.1415927]")
rad2deg = _unary("rad2deg", "Radians as degrees.", "[0.0] -> [0.]")
logaddexp2 = _binary(
    "logaddexp2", "log2(2**x1 + 2**x2) without overflow.", "[1e9], 0.0 -> [1.e+09]"
)
isposinf = _unary(
    "isposinf", "Whether it is plus infinity.", "[1.0, float('inf')] -> [False,  True]"
)
isneginf = _unary(
    "isneginf", "Whether it is minus infinity.", "[1.0, float('-inf')] -> [False,  True]"
)
gcd = _binary("gcd", "The greatest common divisor of integers.", "[12, 0], 18 -> [ 6, 18]")
lcm = _binary("lcm", "The least common multiple of integers.", "[4, 0], 6 -> [12,  0]")
radians, degrees = deg2rad, rad2deg


def divmod(x1: ArrayLike, x2: ArrayLike) -> tuple[Tensor, Tensor]:
    """The quotient, rounded down, and what it leaves.

    Parameters
    ----------
    x1, x2 : array_like
        They broadcast.

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.divmod([7, -7], 3)
    (Tensor([ 2, -3]), Tensor([1, 2]))
    """
    return floor_divide(x1, x2), remainder(x1, x2)


def _part(function: Any, number: int) -> Any:
    def part(x: Node) -> Node:
        found: Node = function(x)[number]
        return found

    return part


def modf(x: ArrayLike) -> tuple[Tensor, Tensor]:
    """The part behind the point, and the integer part.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    tuple of Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.modf([1.5, -0.5])
    (Tensor([ 0.5, -0.5]), Tensor([ 1., -0.]))
    """
    tensor = as_tensor(x)
    rest, whole = (record(_part(semantics.modf, number), (tensor,)) for number in (0, 1))
    return rest, whole


def frexp(x: ArrayLike) -> tuple[Tensor, Tensor]:
    """A number from 1/2 to 1, and the power of 2 that it is multiplied by.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    tuple of Tensor
        The second one holds integers.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.frexp([6.0, 0.0])
    (Tensor([0.75, 0.  ]), Tensor([3, 0], dtype=int32))
    """
    tensor = as_tensor(x)
    mantissa, power = (record(_part(semantics.frexp, number), (tensor,)) for number in (0, 1))
    return mantissa, power


def ldexp(x1: ArrayLike, x2: ArrayLike) -> Tensor:
    """``x1 * 2**x2``.

    Parameters
    ----------
    x1 : array_like
    x2 : array_like
        Integers.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.ldexp([0.75], 3)
    Tensor([6.])
    """
    return record(_ldexp, (as_tensor(x1), as_tensor(x2)))


def _ldexp(x: Node, exponent: Node) -> Node:
    return semantics.ldexp(*broadcast_all("scale", (x, exponent)))


def clamp(x: ArrayLike, min: ArrayLike = None, max: ArrayLike = None) -> Tensor:
    """`clip` under torch's name.

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
    >>> fg.clamp([-1.0, 3.0], 0.0, 1.0)
    Tensor([0., 1.])
    """
    return as_tensor(x).clip(min, max)


def lerp(start: ArrayLike, end: ArrayLike, weight: ArrayLike) -> Tensor:
    """``start + weight * (end - start)``.

    Parameters
    ----------
    start, end, weight : array_like
        They broadcast.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.lerp([0.0, 10.0], 20.0, 0.25)
    Tensor([ 5. , 12.5])
    """
    return add(start, multiply(weight, subtract(end, start)))


def addcmul(x: ArrayLike, tensor1: ArrayLike, tensor2: ArrayLike, *, value: float = 1) -> Tensor:
    """``x + value * tensor1 * tensor2``.

    Parameters
    ----------
    x, tensor1, tensor2 : array_like
        They broadcast.
    value : number, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.addcmul([1.0], [2.0], [3.0], value=10.0)
    Tensor([61.])
    """
    product = multiply(tensor1, tensor2)
    return add(x, product if value == 1 else multiply(product, value))


def addcdiv(x: ArrayLike, tensor1: ArrayLike, tensor2: ArrayLike, *, value: float = 1) -> Tensor:
    """``x + value * tensor1 / tensor2``.

    Parameters
    ----------
    x, tensor1, tensor2 : array_like
        They broadcast.
    value : number, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.addcdiv([1.0], [6.0], [3.0], value=10.0)
    Tensor([21.])
    """
    quotient = divide(tensor1, tensor2)
    return add(x, quotient if value == 1 else multiply(quotient, value))
