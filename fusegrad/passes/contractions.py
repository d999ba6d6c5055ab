"""Contractions in the form that needs least movement afterwards.

Knows Dot, products with windows, and transposition; knows no kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..codegen.dtypes import float32, float64
from ..ir.node import Node, toposort
from ..ir.rewrite import only, rewrite
from ..ops import build
from ..ops.contract import Dot
from ..ops.movement import Transpose
from ..ops.window_dot import WindowDot

__all__ = ["transpose_contractions"]

_LONG = 1 << 15
"""Products from which on several threads add them sooner than one."""


def transpose_contractions(outputs: Sequence[Node]) -> list[Node]:
    """transpose(dot(a, b)) = dot(transpose(b), transpose(a)), where only the transpose is used.

    The sums run over the same products in the same order, so no bit changes. A weight's gradient
    then comes out in the layout of the weight, and its update is the contraction's epilogue.

    transpose(window_dot(x, w)) is one, too, where it moves groups, images and channels only.

    A single sum over many products becomes a reduction, which threads share, and what has nothing
    to sum becomes a product of elements, which fuses with what is around it.
    """
    uses = Counter(i for node in toposort(outputs) for i in node.inputs)
    uses.update(outputs)

    @only(lambda op: isinstance(op, Transpose))
    def rule(node: Node) -> Node | None:
        if not isinstance(node.op, Transpose) or not isinstance(node.inputs[0].op, Dot):
            return None
        dot = node.inputs[0]
        rank = len(dot.shape)
        swapped = (*range(rank - 2), rank - 1, rank - 2)
        if node.op.permutation != swapped or uses[dot] > 1:
            return None
        a, b = dot.inputs
        return build.dot(build.transpose(b, swapped), build.transpose(a, swapped))

    @only(lambda op: isinstance(op, Transpose))
    def windows(node: Node) -> Node | None:
        product = node.inputs[0]
        if not isinstance(node.op, Transpose) or not isinstance(product.op, WindowDot):
            return None
        permutation = node.op.permutation
        if permutation[3:] != tuple(range(3, len(permutation))) or uses[product] > 1:
            return None
        first, second, third = (product.op.order[axis] for axis in permutation[:3])
        return Node(replace(product.op, order=(first, second, third)), product.inputs)

    return rewrite(outputs, [_outer, rule, windows, _single_sum])


@only(lambda op: isinstance(op, Dot))
def _outer(node: Node) -> Node | None:
    """dot(a, b) = a * b, where each sum has one term."""
    if not isinstance(node.op, Dot) or node.inputs[0].shape[-1] != 1:
        return None
    a, b = (build.broadcast_to(operand, node.shape) for operand in node.inputs)
    return build.mul(a, b)


@only(lambda op: isinstance(op, Dot))
def _single_sum(node: Node) -> Node | None:
    """dot(a, b) = sum(a * b), where it is one number and the sum is long."""
    if not isinstance(node.op, Dot) or node.dtype not in (float32, float64):
        return None
    depth = node.inputs[0].shape[-1]
    if any(extent != 1 for extent in node.shape) or not isinstance(depth, int) or depth < _LONG:
        return None
    a, b = (build.reshape(operand, (depth,)) for operand in node.inputs)
    return build.reshape(build.sum_(build.mul(a, b), (0,)), node.shape)
