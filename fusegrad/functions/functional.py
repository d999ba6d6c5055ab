"""Elementwise functions, and the choice between values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, overload

from ..codegen.dtypes import bool_, float64
from ..errors import (
    ArgumentTypeError,
    DTypeError,
)
from ..ir.node import Node
from ..ops import build
from ..semantics.shapes import broadcast_all
from ..tensors.tensor_class import (
    ArrayLike,
    Tensor,
    as_tensor,
    common_nodes,
    record_nodes,
)
from . import elementwise
from .data_types import finfo
from .elementwise import *  # noqa: F403
from .elementwise import abs, isfinite, isnan, positive
from .searching import nonzero

__all__ = ["clip", "isclose", "nan_to_num", "where"]
__all__ += elementwise.__all__


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
        raise ArgumentTypeError("where takes a condition alone, or with two operands")
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
