"""A call of a function as one closed graph, for functions with derivatives of their own.

Knows tensors and containers; knows no rule.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import Any, final

from .. import pytree
from ..autodiff.closed import Closed, close
from ..autodiff.custom import Rule, custom_call, forward_with_residuals, with_residuals
from ..errors import GradientError
from ..ir.node import Node
from ..ops import build
from ..semantics.shapes import show
from ..tensors.context import Token, active, transforming
from ..tensors.tensor_class import Tensor, as_tensor, made
from .variables import is_differentiable

__all__ = ["Recorded"]


@final
class Recorded:
    """Arguments as variables, and the graph of what a function makes of them.

    Parameters
    ----------
    args : tuple
        Arrays are variables; anything else is passed on as it is.
    """

    def __init__(self, args: tuple[Any, ...]) -> None:
        leaves, self.structure = pytree.flatten(args)
        self.leaves = list(leaves)
        # The leaves that are arrays.
        self.places = [i for i, leaf in enumerate(leaves) if hasattr(leaf, "shape")]
        self.tensors = [as_tensor(leaves[place]) for place in self.places]
        self.inputs = [tensor._read() for tensor in self.tensors]
        self.tokens = [Token() for _ in self.inputs]
        self.marks = [build.mark(x, t) for x, t in zip(self.inputs, self.tokens, strict=True)]
        self.closed: Closed | None = None
        self.weak: list[bool] = []

    def run(self, function: Callable[..., Any], differentiable: bool) -> Any:
        """What the function makes of the variables.

        With `differentiable`, the variables require gradients where the arguments do; otherwise
        all that can.
        """
        values = list(self.leaves)
        for place, mark, token, source in zip(
            self.places, self.marks, self.tokens, self.tensors, strict=True
        ):
            # A tensor that requires a gradient stays a variable when its values are looked at.
            requires = source.requires_grad if differentiable else mark.dtype.is_float
            values[place] = tensor = made(mark, requires, source._weak)
            token.tensor = weakref.ref(tensor)
        with transforming():
            return function(*pytree.unflatten(self.structure, values))

    def close(self, values: Sequence[Any]) -> Closed:
        """`values`, which the function returned, as a function of the variables."""
        tensors = [as_tensor(value) for value in values]
        # A number that takes on the dtype of others does so behind a rule, too.
        self.weak = [tensor._weak for tensor in tensors]
        self.closed = close([tensor._read() for tensor in tensors], self.marks)
        return self.closed

    def call(
        self, count: int, reverse: Rule, forward: Rule | None, label: str, captured: bool
    ) -> list[Tensor]:
        """The first `count` results of the closed function, as tensors with these rules.

        The rules see the other results too, and are for the first ones.

        With `captured`, gradients flow also to what the function took from outside.
        """
        closed = self.closed
        assert closed is not None
        operands = (*self.inputs, *closed.captured)
        if count < len(closed.results):
            graph = closed.parameters, closed.results, count
            reverse = with_residuals(reverse, *graph)
            forward = None if forward is None else forward_with_residuals(forward, *graph)
        results = custom_call(
            closed.parameters, closed.results, reverse, operands, forward=forward, label=label
        )[:count]
        requires = any(tensor.requires_grad for tensor in self.tensors)
        if captured and not requires:
            requires = any(map(is_differentiable, closed.captured))
        if requires and not active.grad:
            requires, results = False, [build.stop_gradient(node) for node in results]
        return [
            made(node, requires and node.dtype.is_float, weak)
            for node, weak in zip(results, self.weak, strict=False)
        ]

    def by_place(self, what: str, leaves: Sequence[Any]) -> list[Node | None]:
        """The gradients of the arrays among the arguments, from those of all leaves."""
        found: list[Node | None] = []
        for place, tensor in zip(self.places, self.tensors, strict=True):
            value = leaves[place]
            if value is None or not tensor.dtype.is_float:
                found.append(None)
                continue
            gradient = as_tensor(value)
            if gradient.shape != tensor.shape:
                raise GradientError(
                    f"the rule of a {what} gave a gradient of shape {show(gradient.shape)} for "
                    f"an argument of shape {show(tensor.shape)}",
                    remedy="a gradient has the shape of its argument",
                )
            found.append(build.cast(gradient._read(), tensor.dtype))
        return found
