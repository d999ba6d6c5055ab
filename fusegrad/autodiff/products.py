"""Sums of products over the iterations of a loop, as one product.

The gradient of a weight that a loop uses is the sum over t of ``a(t) b(t)``: one product of all
the a(t) side by side with all the b(t) one above the other. That runs once, where the sum would
read and write the weight's gradient in every iteration. Knows the matrix product and views.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import final

from ..ir.node import Node, toposort
from ..ops import build
from ..ops.contract import Dot
from ..ops.elementwise import ELEMENTWISE
from ..ops.movement import Reshape, Transpose

__all__ = ["Stacks", "product", "terms"]


def terms(node: Node) -> tuple[list[tuple[Node, bool]], Node | None]:
    """The products of matrices that `node` is the sum of, and the rest of it.

    Returns
    -------
    list of (Node, bool)
        Matrix products, and whether each is transposed in the sum.
    Node or None
        None if there is no more.
    """
    found: list[tuple[Node, bool]] = []
    rest: list[Node] = []
    stack = [node]
    while stack:
        term = stack.pop()
        if term.op is ELEMENTWISE["add"]:
            stack.extend(reversed(term.inputs))
            continue
        turned = isinstance(term.op, Transpose) and len(term.shape) == 2
        base = term.inputs[0] if turned else term
        if isinstance(base.op, Dot) and len(base.shape) == 2:
            found.append((base, turned))
        else:
            rest.append(term)
    total: Node | None = None
    for term in rest:
        total = term if total is None else build.add(total, term)
    return found, total


@final
class Stacks:
    """What the iterations of a loop compute, of all iterations along a new axis 0.

    Parameters
    ----------
    known : mapping of Node to Node
        Variables of the body that are slices, and what they are slices of.
    variables : sequence of Node
        All variables that differ between iterations.

    Attributes
    ----------
    wanted : list of Node
        What the loop must return for it.
    """

    def __init__(self, known: Mapping[Node, Node], variables: Sequence[Node]) -> None:
        self.known = known
        self.variables = frozenset(variables)
        self.wanted: list[Node] = []

    def varies(self, node: Node) -> bool:
        """Whether `node` differs between iterations."""
        return not self.variables.isdisjoint(toposort([node]))

    def want(self, node: Node) -> None:
        """Ask for the values of `node` in all iterations."""
        base = self._base(node)
        if base not in self.known and base not in self.wanted:
            self.wanted.append(base)

    def _base(self, node: Node) -> Node:
        while isinstance(node.op, (Reshape, Transpose)):
            node = node.inputs[0]
        return node

    def of(self, node: Node, returned: Mapping[Node, Node]) -> Node:
        """The values of `node` in all iterations; `returned` has those that were asked for."""
        views = []
        while isinstance(node.op, (Reshape, Transpose)):
            views.append(node)
            node = node.inputs[0]
        whole = self.known[node] if node in self.known else returned[node]
        for view in reversed(views):
            if isinstance(view.op, Transpose):
                whole = build.transpose(whole, (0, *(a + 1 for a in view.op.permutation)))
            else:
                whole = build.reshape(whole, (whole.shape[0], *view.shape))
        return whole


def product(left: Node, right: Node, turned: bool) -> Node:
    """The sum of the products of matrices that are stacked along axis 0."""
    count, rows, depth = left.shape
    columns = right.shape[2]
    a = build.reshape(build.transpose(left, (0, 2, 1)), (count * depth, rows))  # type: ignore[operator]
    b = build.reshape(right, (count * depth, columns))  # type: ignore[operator]
    total = build.dot(build.transpose(a, (1, 0)), b)
    return build.transpose(total, (1, 0)) if turned else total
