"""Derivatives of functions: `grad`, `value_and_grad`, `vjp`, and functions with their own rule.

Knows tensors and the adjoint pass; arguments become variables of their own, so that the same tensor
in two arguments, or in an argument and a closure, counts apart.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Sequence
from typing import Any, final

from . import pytree
from .autodiff.custom import custom_call
from .context import Token, active
from .errors import ArgumentStructureError, GradientError
from .ir.node import Node, set_recording, substitute, toposort
from .leaves import gradients
from .ops import build
from .ops.elementwise import Leaf, Mark
from .ops.source import Input
from .semantics.shapes import show
from .tensor_class import ArrayLike, Tensor, as_tensor, made

__all__ = ["CustomFunction", "custom_vjp", "detach", "grad", "value_and_grad", "vjp"]

Function = Callable[..., Any]


# --- variables ------------------------------------------------------------------------------------


@final
class _Variables:
    """Arguments as variables: tensors of their own for a function, and the nodes behind them."""

    def __init__(self, what: str, names: Sequence[str], values: Sequence[ArrayLike]) -> None:
        self.sources = [as_tensor(value) for value in values]
        self.marks: list[Node] = []
        self.tensors: list[Tensor] = []
        for name, source in zip(names, self.sources, strict=True):
            if not source.dtype.is_float:
                raise GradientError(
                    f"{what} by argument {name}, which has dtype {source.dtype}: only floats have "
                    "gradients",
                    remedy="pass floating values, or differentiate by other arguments (argnums)",
                )
            token = Token()
            node = build.mark(source._read(), token)
            tensor = made(node, requires_grad=True)
            token.tensor = weakref.ref(tensor)
            self.marks.append(node)
            self.tensors.append(tensor)

    def gradients(self, outputs: Sequence[Node], cotangents: Sequence[Node]) -> list[Node]:
        """The gradient by each variable; zeros by those that the outputs do not depend on."""
        given = gradients(outputs, cotangents, self.marks)
        filled = [
            build.zeros_like(mark) if node is None else node
            for node, mark in zip(given, self.marks, strict=True)
        ]
        return self.unmarked(filled)

    def unmarked(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes of the variables as nodes of the arguments."""
        sources = [source._read() for source in self.sources]
        return substitute(nodes, dict(zip(self.marks, sources, strict=True)))


def _differentiable(node: Node) -> bool:
    """Whether the value depends on a variable that requires a gradient."""
    for found in toposort([node]):
        op = found.op
        if isinstance(op, (Input, Leaf, Mark)) and isinstance(op.token, Token):
            tensor = None if op.token.tensor is None else op.token.tensor()
            if tensor is not None and tensor.requires_grad:
                return True
    return False


def _result(node: Node) -> Tensor:
    """A tensor of a derivative, itself differentiable if gradients are on."""
    requires = node.dtype.is_float and _differentiable(node)
    if requires and not active.grad:
        node, requires = build.stop_gradient(node), False
    return made(node, requires)


def _argument_names(arguments: Any, argnums: Sequence[int]) -> list[str]:
    _, structure = pytree.flatten(arguments)
    return list(pytree.paths(structure, [str(number) for number in argnums]))


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
        places = [_place(number, len(args)) for number in numbers]
        chosen = tuple(args[place] for place in places)
        if isinstance(argnums, int) and not isinstance(chosen[0], (dict, tuple)):
            chosen = (_listed(chosen[0]),)
        leaves, structure = pytree.flatten(chosen)
        variables = _Variables("grad", _argument_names(chosen, places), leaves)
        new = list(args)
        for place, value in zip(
            places, pytree.unflatten(structure, variables.tensors), strict=True
        ):
            new[place] = value
        result = function(*new, **kwargs)
        value, aux = result if has_aux else (result, None)
        loss = _scalar(value)
        before = set_recording(True)
        try:
            node = loss._read()
            given = variables.gradients([node], [build.ones_like(node)])
            (plain,) = variables.unmarked([node])
            found = pytree.unflatten(structure, [_result(g) for g in given])
            shown = _result(plain)
        finally:
            set_recording(before)
        gradient = found[0] if isinstance(argnums, int) else found
        return ((shown, aux) if has_aux else shown), gradient

    return differentiated


def _listed(value: Any) -> Any:
    """A list of numbers is one array; a list of arrays is several arguments."""
    if isinstance(value, list) and not any(hasattr(item, "shape") for item in value):
        return as_tensor(value)
    return value


def _place(number: int, count: int) -> int:
    if not -count <= number < count:
        raise ArgumentStructureError(
            f"grad by argument {number} of a call with {count} positional arguments",
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


def vjp(function: Function, *primals: Any) -> tuple[Any, Function]:
    """The value of a function, and the function from cotangents to gradients.

    Parameters
    ----------
    function : callable
        Returns tensors, or nested containers of them.
    *primals : array_like, or containers of them
        The arguments.

    Returns
    -------
    value
        What the function returned.
    pullback : callable
        Takes weights of the elements of the value, in its structure, and returns the gradient of
        the weighted sum, one for each argument.

    Examples
    --------
    >>> import fusegrad as fg
    >>> value, pullback = fg.vjp(lambda x: x * x, fg.asarray([1.0, 2.0]))
    >>> pullback([1.0, 10.0])
    (Tensor([ 2., 40.]),)
    """
    arguments = tuple(_listed(primal) for primal in primals)
    leaves, structure = pytree.flatten(arguments)
    names = _argument_names(arguments, range(len(arguments)))
    variables = _Variables("vjp", names, leaves)
    result = function(*pytree.unflatten(structure, variables.tensors))
    outputs, shape = pytree.flatten(result)
    tensors = [as_tensor(output) for output in outputs]
    nodes = [tensor._read() for tensor in tensors]
    shown = [_result(node) for node in variables.unmarked(nodes)]

    def pullback(cotangent: Any) -> tuple[Any, ...]:
        given = [_listed(cotangent)] if shape is pytree.LEAF else pytree.flatten(cotangent)[0]
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
        answer: tuple[Any, ...] = pytree.unflatten(structure, [_result(node) for node in found])
        return answer

    return pytree.unflatten(shape, shown), pullback


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


# --- rules of one's own ---------------------------------------------------------------------------


@final
class CustomFunction:
    """A function whose derivative is given by a rule; made by `custom_vjp`."""

    def __init__(self, function: Function) -> None:
        functools.update_wrapper(self, function)
        self._function = function
        self._forward: Function | None = None
        self._backward: Function | None = None

    def defvjp(self, forward: Function, backward: Function) -> None:
        """Give the rule.

        Parameters
        ----------
        forward : callable
            Of the same arguments, to ``(result, residuals)``: what the function returns, and
            tensors that the rule needs, in any containers.
        backward : callable
            ``backward(residuals, cotangent)`` gives a tuple with the gradient by each positional
            argument, None where there is none. The cotangent has the structure of the result.
        """
        self._forward, self._backward = forward, backward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._forward is None or self._backward is None:
            raise GradientError(
                "a custom_vjp function has no rule yet", remedy="call f.defvjp(forward, backward)"
            )
        call = _CustomCall(self._backward, args)
        return call.run(functools.partial(self._forward, **kwargs))


@final
class _CustomCall:
    """One call: the graph of the forward function over parameters of its own."""

    def __init__(self, backward: Function, args: tuple[Any, ...]) -> None:
        self._backward = backward
        leaves, self._arguments = pytree.flatten(args)
        self._leaves = list(leaves)
        # The leaves that are arrays, and the argument that each belongs to.
        self._places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape")]
        self._tensors = [as_tensor(leaves[place]) for place in self._places]
        self._results: pytree.Structure = pytree.LEAF
        self._residuals: pytree.Structure = pytree.LEAF
        self._count = 0

    def run(self, forward: Function) -> Any:
        """Record the call; the result, as the function returned it."""
        labels = [f"the argument {place} of a custom_vjp function" for place in self._places]
        parameters = [
            build.input_(tensor._type, Token(label=label))
            for tensor, label in zip(self._tensors, labels, strict=True)
        ]
        before = set_recording(True)
        try:
            nodes = self._outputs(forward, parameters)
            captured = self._captured(nodes, parameters)
            stand_ins = [build.input_(node.tensor_type) for node in captured]
            closed = substitute(nodes, dict(zip(captured, stand_ins, strict=True)))
            inputs = [tensor._read() for tensor in self._tensors]
            results = custom_call(
                [*parameters, *stand_ins], closed, self._rule, [*inputs, *captured]
            )
            requires = any(tensor.requires_grad for tensor in self._tensors)
            if requires and not active.grad:
                requires, results = False, [build.stop_gradient(node) for node in results]
            outputs = [
                made(node, requires and node.dtype.is_float) for node in results[: self._count]
            ]
        finally:
            set_recording(before)
        return pytree.unflatten(self._results, outputs)

    def _outputs(self, forward: Function, parameters: Sequence[Node]) -> list[Node]:
        """The nodes of the result, then those of the residuals, as functions of parameters."""
        leaves = list(self._leaves)
        for place, node in zip(self._places, parameters, strict=True):
            leaves[place] = made(node)
        pair = forward(*pytree.unflatten(self._arguments, leaves))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise ArgumentStructureError(
                f"the forward function of a custom_vjp returned a {type(pair).__name__}",
                remedy="return (result, residuals)",
            )
        results, self._results = pytree.flatten(pair[0])
        residuals, self._residuals = pytree.flatten(pair[1])
        self._count = len(results)
        return [as_tensor(value)._read() for value in (*results, *residuals)]

    def _captured(self, nodes: Sequence[Node], parameters: Sequence[Node]) -> list[Node]:
        """The variables from outside: further arguments, by which no gradient is taken."""
        own = set(parameters)
        return [n for n in toposort(nodes) if isinstance(n.op, Input) and n not in own]

    def _rule(
        self,
        inputs: Sequence[Node],
        results: Sequence[Node],
        cotangents: Sequence[Node | None],
    ) -> list[Node | None]:
        count = self._count
        residuals = pytree.unflatten(self._residuals, [_result(n) for n in results[count:]])
        filled = [
            _result(build.zeros_like(node) if cotangent is None else cotangent)
            for node, cotangent in zip(results[:count], cotangents, strict=False)
        ]
        given = self._backward(residuals, pytree.unflatten(self._results, filled))
        gradients = list(given) if isinstance(given, (tuple, list)) else [given]
        found = self._by_leaf(gradients)
        return [*found, *[None] * (len(inputs) - len(found))]

    def _by_leaf(self, given: Sequence[Any]) -> list[Node | None]:
        """The gradient of each array, from those of the positional arguments."""
        arguments = self._arguments.children
        if len(given) != len(arguments):
            raise GradientError(
                f"the rule of a custom_vjp gave {len(given)} gradients for "
                f"{len(arguments)} arguments",
                remedy="return one gradient for each positional argument, None where there is none",
            )
        leaves: list[Any] = []
        for value, structure in zip(given, arguments, strict=True):
            if structure is pytree.LEAF or value is None:
                leaves += [value] * structure.leaves
            else:
                leaves += pytree.flatten(value)[0]
        found: list[Node | None] = []
        for place, tensor in zip(self._places, self._tensors, strict=True):
            value = leaves[place]
            if value is None or not tensor.dtype.is_float:
                found.append(None)
                continue
            gradient = as_tensor(value)
            if gradient.shape != tensor.shape:
                raise GradientError(
                    f"the rule of a custom_vjp gave a gradient of shape {show(gradient.shape)} for "
                    f"an argument of shape {show(tensor.shape)}",
                    remedy="a gradient has the shape of its argument",
                )
            found.append(build.cast(gradient._read(), tensor.dtype))
        return found


def custom_vjp(function: Function) -> CustomFunction:
    """A function whose derivative you give, with ``defvjp``.

    Parameters
    ----------
    function : callable
        Of tensors, and other arguments, to tensors. Of what it takes from outside no gradient is
        taken.

    Returns
    -------
    CustomFunction

    Examples
    --------
    >>> import fusegrad as fg
    >>> @fg.custom_vjp
    ... def clipped(x):
    ...     return fg.clip(x, -1.0, 1.0)
    >>> clipped.defvjp(lambda x: (fg.clip(x, -1.0, 1.0), None), lambda _, g: (g,))
    >>> fg.grad(lambda x: clipped(x).sum())([-3.0, 0.5])
    Tensor([1., 1.])
    """
    return CustomFunction(function)
