"""Which tensors the variables of a graph stand for, and their gradients.

Knows nodes and tokens; of tensors only whether they require gradients.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence

from ..autodiff.reverse import vjp
from ..errors import GradientError
from ..ir.node import Node, toposort
from ..ops.identities import Leaf
from ..ops.source import Input
from .context import Cell, Token

__all__ = ["HOOKS", "gradients", "leaf_gradients", "leaves_of"]

HOOKS: weakref.WeakKeyDictionary[Node, list[Callable[[Node], Node | None]]]
HOOKS = weakref.WeakKeyDictionary()
"""What is called with the gradients of results; those of variables have theirs on the tensor."""


def leaves_of(outputs: Sequence[Node]) -> list[tuple[Node, Cell]]:
    """The variables behind `outputs` whose tensors live and require gradients."""
    found: list[tuple[Node, Cell]] = []
    for node in toposort(outputs, differentiable=True):
        op = node.op
        if not isinstance(op, (Input, Leaf)) or not isinstance(op.token, Token):
            continue
        tensor = None if op.token.tensor is None else op.token.tensor()
        if tensor is None or not node.dtype.is_float:
            continue
        if tensor.requires_grad and tensor._leaf:
            found.append((node, tensor))
    return found


def leaf_gradients(output: Node, cotangent: Node) -> list[tuple[Cell, Node]]:
    """Each leaf tensor that `output` depends on, with the gradient that reaches it."""
    leaves = leaves_of([output])
    hooked = [n for n in toposort([output], differentiable=True) if n in HOOKS] if HOOKS else []
    given = gradients([output], [cotangent], [*(node for node, _ in leaves), *hooked])
    return [(tensor, g) for (_, tensor), g in zip(leaves, given, strict=False) if g is not None]


def gradients(
    outputs: Sequence[Node], cotangents: Sequence[Node], wrt: Sequence[Node]
) -> list[Node | None]:
    """The cotangents of `wrt`; an output that is no float passes none."""
    for node, cotangent in zip(outputs, cotangents, strict=True):
        if node.type.plain is not cotangent.type.plain:
            raise GradientError(
                f"the seed of the gradient has type {cotangent.type}, the result {node.type}",
                remedy="give a seed of the shape and dtype of the result",
            )
    return vjp(outputs, cotangents, wrt, HOOKS if HOOKS else None)
