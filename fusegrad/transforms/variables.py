"""Arguments of a function as variables of their own, for derivatives; and tensors of derivatives.

Knows tensors and marks: the same tensor in two arguments, or in an argument and a closure, counts
apart.
"""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any, final

from .. import pytree
from ..errors import ArgumentStructureError, GradientError
from ..ir.node import Node, substitute
from ..ops import build
from ..ops.identities import Leaf, Mark, StopGradient
from ..ops.source import Input
from ..tensors.context import Token, active
from ..tensors.leaves import gradients
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor, made

__all__ = ["Variables", "argument_names", "is_differentiable", "listed", "result_of"]


@final
class Variables:
    """Arguments as variables: tensors of their own for a function, and the nodes behind them.

    Parameters
    ----------
    what : str
        Who asks, for messages.
    names : sequence of str
    values : sequence of array_like
    integers : bool, optional
        Whether values that are no floats are allowed, as constants.
    """

    def __init__(
        self, what: str, names: Sequence[str], values: Sequence[ArrayLike], integers: bool = False
    ) -> None:
        self.sources = [as_tensor(value) for value in values]
        self.marks: list[Node] = []
        self.tensors: list[Tensor] = []
        for name, source in zip(names, self.sources, strict=True):
            smooth = source.dtype.is_float
            if not smooth and not integers:
                raise GradientError(
                    f"{what} by argument {name}, which has dtype {source.dtype}: only floats have "
                    "gradients",
                    remedy="pass floating values, or differentiate by other arguments (argnums)",
                )
            token = Token()
            node = build.mark(source._read(), token)
            tensor = made(node, requires_grad=smooth)
            token.tensor = weakref.ref(tensor)
            self.marks.append(node)
            self.tensors.append(tensor)

    def gradients(self, outputs: Sequence[Node], cotangents: Sequence[Node]) -> list[Node]:
        """The gradient by each variable; zeros by those that the outputs do not depend on."""
        smooth = [mark for mark in self.marks if mark.dtype.is_float]
        given = dict(zip(smooth, gradients(outputs, cotangents, smooth), strict=True))
        filled = [given.get(mark) or build.zeros_like(mark) for mark in self.marks]
        return self.unmarked(filled)

    def unmarked(self, nodes: Sequence[Node]) -> list[Node]:
        """Nodes of the variables as nodes of the arguments."""
        sources = [source._read() for source in self.sources]
        return substitute(nodes, dict(zip(self.marks, sources, strict=True)))

    def split_aux(self, what: str, result: Any) -> tuple[Any, Any]:
        """The two parts of a result: what is differentiated, and the rest, of the arguments."""
        if not isinstance(result, tuple) or len(result) != 2:
            raise ArgumentStructureError(
                f"{what} with has_aux of a function that returned a {type(result).__name__}",
                remedy="return a pair (result, aux)",
            )
        leaves, structure = pytree.flatten(result[1])
        nodes = [leaf._read() for leaf in leaves if isinstance(leaf, Tensor)]
        plain = iter(self.unmarked(nodes))
        kept = [result_of(next(plain)) if isinstance(leaf, Tensor) else leaf for leaf in leaves]
        return result[0], pytree.unflatten(structure, kept)


def is_differentiable(node: Node) -> bool:
    """Whether the value depends on a variable that requires a gradient."""
    seen = {node}
    stack = [node]
    while stack:
        found = stack.pop()
        op = found.op
        if isinstance(op, (Input, Leaf, Mark)) and isinstance(op.token, Token):
            tensor = None if op.token.tensor is None else op.token.tensor()
            if tensor is not None and tensor.requires_grad:
                return True
        if isinstance(op, (Leaf, StopGradient)):
            continue
        for operand in found.inputs:
            if operand not in seen:
                seen.add(operand)
                stack.append(operand)
    return False


def result_of(node: Node) -> Tensor:
    """A tensor of a derivative, itself differentiable if gradients are on."""
    requires = node.dtype.is_float and is_differentiable(node)
    if requires and not active.grad:
        node, requires = build.stop_gradient(node), False
    return made(node, requires)


def argument_names(arguments: Any, argnums: Sequence[int]) -> list[str]:
    _, structure = pytree.flatten(arguments)
    return list(pytree.paths(structure, [str(number) for number in argnums]))


def listed(value: Any) -> Any:
    """A list of numbers is one array; a list of arrays is several arguments."""
    if isinstance(value, list) and not any(hasattr(item, "shape") for item in value):
        return as_tensor(value)
    return value
