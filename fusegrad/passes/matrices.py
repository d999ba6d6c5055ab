"""Linear algebra on small matrices as loops, where a call of the host would take longer.

Knows sizes; knows no algorithm.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..codegen.dtypes import float32, float64
from ..ir.node import Node
from ..ir.rewrite import only, rewrite
from ..ops.base import Pattern
from ..ops.decomposition import Cholesky
from ..ops.small_matrices import LARGEST_COFACTORS, form_of
from ..ops.solving import Cofactor, TriangularSolve

__all__ = ["small_matrices"]

LARGEST = 48
"""The largest matrix that is eliminated in loops: LAPACK's blocks win beyond."""
_LARGEST: dict[type, int] = {Cholesky: 64, Cofactor: LARGEST_COFACTORS}
LARGEST_SUBSTITUTION = 1 << 24
"""Operations of a substitution: NumPy has none that is fast."""


def small_matrices(outputs: Sequence[Node]) -> list[Node]:
    """Ops on matrices that are small enough, as loop nests."""
    return rewrite(outputs, [_in_loops])


@only(lambda op: op.pattern is Pattern.CALL)
def _in_loops(node: Node) -> Node | None:
    if node.op.pattern is not Pattern.CALL:
        return None
    form = form_of(node.op)
    if form is None or node.inputs[0].dtype not in (float32, float64):
        return None
    extents = [e for i in node.inputs for e in i.shape]
    if not all(isinstance(e, int) and e > 0 for e in extents):
        return None
    count, columns = node.inputs[0].shape[-1], node.inputs[-1].shape[-1]
    assert isinstance(count, int)
    assert isinstance(columns, int)
    if isinstance(node.op, TriangularSolve):
        fits = count * count * columns <= LARGEST_SUBSTITUTION
    else:
        fits = count <= _LARGEST.get(type(node.op), LARGEST)
    return Node(form, node.inputs) if fits else None
