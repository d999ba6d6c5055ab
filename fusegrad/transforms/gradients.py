"""Derivatives of functions by reverse mode: `grad`, `value_and_grad`, `vjp`.

Knows tensors and the adjoint pass; arguments become variables of their own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from .. import pytree
from ..errors import ArgumentStructureError, GradientError
from ..ir.node import set_recording
from ..ops import build
from ..semantics.shapes import show
from ..tensors.context import transforming
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .variables import Variables, argument_names, listed, result_of

__all__ = ["detach", "grad", "position", "stop_gradient", "value_and_grad", "vjp"]

Function = Callable[..., Any]


# --- grad -----------------------------------------------------------------------------------------


def value_and_grad(
    function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """A function that gives the value of `function` and its gradient.

    Parameters
    ----------
    function : callable
        Its result is a tensor with one element.
    argnums : int or sequence of int, optional
        By which arguments to differentiate. They are arrays, or nested dicts, lists and tuples of
        them; the gradient has the same structure.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no gradient is taken.

    Returns
    -------
    callable
        Of the same arguments, to ``(value, gradient)``; to ``((value, aux), gradient)`` with
        `has_aux`. With several `argnums` the gradient is a tuple.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.value_and_grad(lambda x: (x**2).sum())([1.0, 2.0])
    (Tensor(5.), Tensor([2., 4.]))
    """
    numbers = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        places = [position("grad", number, len(args)) for number in numbers]
        chosen = tuple(args[place] for place in places)
        if isinstance(argnums, int) and not isinstance(chosen[0], (dict, tuple)):
            chosen = (listed(chosen[0]),)
        leaves, structure = pytree.flatten(chosen)
        variables = Variables("grad", argument_names(chosen, places), leaves)
        new = list(args)
        for place, value in zip(
            places, pytree.unflatten(structure, variables.tensors), strict=True
        ):
            new[place] = value
        with transforming():
            result = function(*new, **kwargs)
        value, aux = variables.split_aux("grad", result) if has_aux else (result, None)
        loss = _scalar(value)
        before = set_recording(True)
        try:
            node = loss._read()
            given = variables.gradients([node], [build.ones_like(node)])
            (plain,) = variables.unmarked([node])
            found = pytree.unflatten(structure, [result_of(g) for g in given])
            shown = result_of(plain)
        finally:
            set_recording(before)
        gradient = found[0] if isinstance(argnums, int) else found
        return ((shown, aux) if has_aux else shown), gradient

    return differentiated


def position(what: str, number: int, count: int) -> int:
    """The position of argument `number` of a call."""
    if not -count <= number < count:
        raise ArgumentStructureError(
            f"{what} by argument {number} of a call with {count} positional arguments",
            remedy="pass the argument by position, or change argnums",
        )
    return number % count


def _scalar(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise GradientError(
            f"grad of a function that returned a {type(value).__name__}",
            remedy="return a Tensor that was computed from the arguments",
        )
    if value.size != 1:
        raise GradientError(
            f"grad of a function that returned a tensor of shape {show(value.shape)}: "
            "a gradient is that of a scalar",
            remedy="reduce it, as in y.sum(), or use fg.vjp with a seed",
        )
    if not value.dtype.is_float:
        raise GradientError(
            f"grad of a function that returned a tensor of {value.dtype}",
            remedy="return a floating value",
        )
    return value


def grad(function: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """A function that gives the gradient of `function`.

    Parameters
    ----------
    function : callable
        Its result is a tensor with one element.
    argnums : int or sequence of int, optional
        By which arguments to differentiate, see `value_and_grad`.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no gradient is taken.

    Returns
    -------
    callable
        Of the same arguments, to the gradient; to ``(gradient, aux)`` with `has_aux`.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.grad(lambda x, y: x * y)(3.0, 4.0)
    Tensor(4.)
    >>> fg.grad(fg.grad(lambda x: x**3))(2.0)
    Tensor(12.)
    """
    both = value_and_grad(function, argnums, has_aux)

    @functools.wraps(function)
    def differentiated(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return differentiated


def vjp(function: Function, *primals: Any, has_aux: bool = False) -> tuple[Any, ...]:
    """The value of a function, and the function from cotangents to gradients.

    Parameters
    ----------
    function : callable
        Returns tensors, or nested containers of them.
    *primals : array_like, or containers of them
        The arguments.
    has_aux : bool, optional
        Whether the function returns a pair, of whose second part no derivative is taken.

    Returns
    -------
    value
        What the function returned.
    pullback : callable
        Takes weights of the elements of the value, in its structure, and returns the gradient of
        the weighted sum, one for each argument; None for what is no float.
    aux
        With `has_aux`, the second part of what the function returned.

    Examples
    --------
    >>> import fusegrad as fg
    >>> value, pullback = fg.vjp(lambda x: x * x, fg.asarray([1.0, 2.0]))
    >>> pullback([1.0, 10.0])
    (Tensor([ 2., 40.]),)
    """
    arguments = tuple(listed(primal) for primal in primals)
    leaves, structure = pytree.flatten(arguments)
    names = argument_names(arguments, range(len(arguments)))
    variables = Variables("vjp", names, leaves, integers=True)
    aux = None
    with transforming():
        result = function(*pytree.unflatten(structure, variables.tensors))
    if has_aux:
        result, aux = variables.split_aux("vjp", result)
    outputs, shape = pytree.flatten(result)
    tensors = [as_tensor(output) for output in outputs]
    nodes = [tensor._read() for tensor in tensors]
    shown = [result_of(node) for node in variables.unmarked(nodes)]

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        given = [listed(cotangent)] if shape is pytree.LEAF else pytree.flatten(cotangent)[0]
        if len(given) != len(nodes):
            raise ArgumentStructureError(
                f"vjp: {len(given)} cotangents for {len(nodes)} results",
                remedy="pass one cotangent for each result, in the structure of the value",
            )
        seeds = [
            build.cast(as_tensor(seed)._read(), node.dtype)
            for seed, node in zip(given, nodes, strict=True)
        ]
        pairs = [(n, s) for n, s in zip(nodes, seeds, strict=True) if n.dtype.is_float]
        found = variables.gradients([n for n, _ in pairs], [s for _, s in pairs])
        answer: tuple[Any, ...] = pytree.unflatten(
            structure, [result_of(node) if node.dtype.is_float else None for node in found]
        )
        return answer

    value = pytree.unflatten(shape, shown)
    return (value, pullback, aux) if has_aux else (value, pullback)


def stop_gradient(x: Any) -> Any:
    """The same values, through which no gradient flows.

    Parameters
    ----------
    x : array_like, or containers of them

    Returns
    -------
    Tensor, or containers of them

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.grad(lambda x: x * fg.stop_gradient({"y": x})["y"])(3.0)
    Tensor(3.)
    """
    leaves, structure = pytree.flatten(listed(x))
    return pytree.unflatten(structure, [as_tensor(leaf)._snapshot() for leaf in leaves])


def detach(x: ArrayLike) -> Tensor:
    """The same value, through which no gradient flows.

    Parameters
    ----------
    x : array_like

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.grad(lambda x: x * fg.detach(x))(3.0)
    Tensor(3.)
    """
    return as_tensor(x).detach()
