"""Arithmetic that is more than one elementwise function, under NumPy's and torch's names."""

from __future__ import annotations

from typing import Any

from ..ir.node import Node
from ..semantics import arithmetic as semantics
from ..semantics.shapes import broadcast_all
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, record
from .functional import (
    add,
    divide,
    floor_divide,
    multiply,
    remainder,
    subtract,
)

__all__ = [
    "addcdiv",
    "addcmul",
    "clamp",
    "divmod",
    "frexp",
    "ldexp",
    "lerp",
    "modf",
]


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
