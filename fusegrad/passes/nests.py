"""What loop nests compute themselves: cheap elementwise work on operands that they pass over once.

Knows ops and their costs; knows no loops.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir.node import Node
from ..ops.base import LoopOp, Pattern
from ..ops.elementwise import EXPENSIVE, Map
from ..ops.identities import Cast
from ..ops.movement import Broadcast
from .regions import cost_of, size_of

__all__ = ["read_from_memory"]

_MOST_NODES = 16
_APART = (Pattern.REDUCE, Pattern.CONTRACT, Pattern.LOOP, Pattern.CALL)


def read_from_memory(node: Node, is_leaf: Callable[[Node], bool]) -> list[Node]:
    """The operands of a loop nest or a call that are values in memory.

    Parameters
    ----------
    node : Node
    is_leaf : callable
        Whether a value comes from outside the program.
    """
    passed = node.op.passes_over() if isinstance(node.op, LoopOp) else ()
    return [
        operand
        for position, operand in enumerate(node.inputs)
        if not is_leaf(operand) and not (position in passed and _is_cheap(operand, is_leaf))
    ]


def _is_cheap(node: Node, is_leaf: Callable[[Node], bool]) -> bool:
    """Whether an element is computed in a few operations from the same elements of others."""
    seen: set[Node] = set()
    cost, stack = 0, [node]
    while stack:
        n = stack.pop()
        if n in seen or is_leaf(n) or n.op.pattern in _APART:
            continue
        seen.add(n)
        cost += cost_of(n)
        spread = isinstance(n.op, Broadcast) and (
            size_of(n.inputs[0]) == 1 or n.inputs[0].op.pattern is Pattern.SOURCE
        )
        plain = spread or isinstance(n.op, (Map, Cast)) or n.op.pattern is Pattern.SOURCE
        if not plain or cost >= 2 * EXPENSIVE or len(seen) > _MOST_NODES:
            return False
        stack.extend(n.inputs)
    return True
