"""Functions with a derivative of their own: `custom_vjp`.

Knows tensors and containers; the closed graph of a call and its rule are an op.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, final

from . import pytree
from .autodiff.custom import custom_call
from .context import Token, active, transforming
from .errors import ArgumentStructureError, GradientError
from .ir.node import Node, set_recording, substitute, toposort
from .ops import build
from .ops.source import Input
from .semantics.shapes import show
from .tensor_class import as_tensor, made
from .variables import result_of

__all__ = ["CustomFunction", "custom_vjp"]

Function = Callable[..., Any]


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
            with transforming(abstract=True):
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
        residuals = pytree.unflatten(self._residuals, [result_of(n) for n in results[count:]])
        filled = [
            result_of(build.zeros_like(node) if cotangent is None else cotangent)
            for node, cotangent in zip(results[:count], cotangents, strict=False)
        ]
        with transforming(abstract=True):
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
