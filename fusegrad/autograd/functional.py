"""Derivatives of a function at a point, with torch's signatures.

Knows the functions of `fusegrad` that do the work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..functions.creation import ones_like
from ..transforms import gradients, jacobians
from ..transforms.forward_mode import jvp as forward_jvp

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Function = Callable[..., Any]


def _tuple(value: Any) -> tuple[tuple[Any, ...], bool]:
    return (tuple(value), False) if isinstance(value, (list, tuple)) else ((value,), True)


def _own(value: Any, single: bool) -> Any:
    return value[0] if single else value


def jacobian(func: Function, inputs: Any, strategy: str = "reverse-mode") -> Any:
    """The Jacobian of a function at a point.

    Parameters
    ----------
    func : callable
    inputs : Tensor or tuple of Tensor
        Its arguments.
    strategy : {"reverse-mode", "forward-mode"}, optional

    Returns
    -------
    Tensor, or tuples of them: for each result, for each argument

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.autograd.functional.jacobian(lambda x: 2 * x, fg.ones(2))
    Tensor([[2., 0.],
            [0., 2.]])
    """
    points, single = _tuple(inputs)
    transform = jacobians.jacfwd if strategy == "forward-mode" else jacobians.jacrev
    return transform(func, 0 if single else tuple(range(len(points))))(*points)


def hessian(func: Function, inputs: Any) -> Any:
    """The second derivatives of a scalar function at a point.

    Parameters
    ----------
    func : callable
    inputs : Tensor or tuple of Tensor
        Its arguments.

    Returns
    -------
    Tensor, or a tuple of tuples: for each argument, for each argument

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.autograd.functional.hessian(lambda x: (x**3).sum(), fg.ones(2))
    Tensor([[6., 0.],
            [0., 6.]])
    """
    points, single = _tuple(inputs)
    return jacobians.hessian(func, 0 if single else tuple(range(len(points))))(*points)


def vjp(func: Function, inputs: Any, v: Any = None) -> tuple[Any, Any]:
    """The value of a function, and the product of a vector with its Jacobian.

    Parameters
    ----------
    func : callable
    inputs : Tensor or tuple of Tensor
        Its arguments.
    v : array_like or tuple of them, optional
        In the structure of the value; may be left out for a scalar.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.autograd.functional.vjp(lambda x: (x**2).sum(), fg.asarray(3.0))
    (Tensor(9.), Tensor(6.))
    """
    points, single = _tuple(inputs)
    value, pullback = gradients.vjp(func, *points)
    return value, _own(pullback(ones_like(value) if v is None else v), single)


def jvp(func: Function, inputs: Any, v: Any = None) -> tuple[Any, Any]:
    """The value of a function, and the product of its Jacobian with a vector.

    Parameters
    ----------
    func : callable
    inputs : Tensor or tuple of Tensor
        Its arguments.
    v : array_like or tuple of them, optional
        In the structure of the arguments; may be left out for one scalar.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.autograd.functional.jvp(lambda x: x**2, fg.asarray(3.0), fg.asarray(10.0))
    (Tensor(9.), Tensor(60.))
    """
    points, _single = _tuple(inputs)
    tangents = (ones_like(points[0]),) if v is None else _tuple(v)[0]
    value, tangent = forward_jvp(func, points, tangents)
    return value, tangent


def hvp(func: Function, inputs: Any, v: Any) -> tuple[Any, Any]:
    """The value of a scalar function, and the product of its Hessian with a vector.

    Parameters
    ----------
    func : callable
    inputs, v : Tensor or tuple of Tensor
        Its arguments, and a vector of their shapes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.autograd.functional.hvp(lambda x: x**3, fg.asarray(2.0), fg.asarray(1.0))
    (Tensor(8.), Tensor(12.))
    """
    points, single = _tuple(inputs)
    value, product = jacobians.hvp(func, points, _tuple(v)[0])
    return value, _own(product, single)


def vhp(func: Function, inputs: Any, v: Any) -> tuple[Any, Any]:
    """The value of a scalar function, and the product of a vector with its Hessian.

    Parameters
    ----------
    func : callable
    inputs, v : Tensor or tuple of Tensor
        Its arguments, and a vector of their shapes.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.autograd.functional.vhp(lambda x: x**3, fg.asarray(2.0), fg.asarray(1.0))
    (Tensor(8.), Tensor(12.))
    """
    points, single = _tuple(inputs)
    value, product = jacobians.vhp(func, points, _tuple(v)[0])
    return value, _own(product, single)
