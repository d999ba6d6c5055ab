"""Contractions in the form that needs least movement afterwards.

Knows Dot and transposition; knows no kernels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ..ir.node import Node, toposort
from ..ir.rewrite import rewrite
from ..ops import build
from ..ops.contract import Dot
from ..ops.movement import Transpose

__all__ = ["transpose_contractions"]


def transpose_contractions(outputs: Sequence[Node]) -> list[Node]:
    """transpose(dot(a, b)) = dot(transpose(b), transpose(a)), where only the transpose is used.

    The sums run over the same products in the same order, so no bit changes. A weight's gradient
    then comes out in the layout of the weight, and its update is the contraction's epilogue.
    """
    uses = Counter(i for node in toposort(outputs) for i in node.inputs)
    uses.update(outputs)

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

    return rewrite(outputs, [rule])
