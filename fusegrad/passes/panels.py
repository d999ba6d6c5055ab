"""Matrices that a loop multiplies by in every iteration, put in order once, before it.

Knows the matrix product and `Scan`; knows no kernels. A product reads its right operand in panels
of a few columns. Where it does not lie like that, every product copies them, or reads with long
strides; of a recurrence that is a good part of the time. No bit changes: the order of the sums is
that of the depth, whatever the layout.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from ..autodiff.body import Body
from ..autodiff.scan import Scan
from ..ir.halves import wide
from ..ir.node import Node, substitute
from ..ir.rewrite import rewrite
from ..ops import build
from ..ops.contract import Dot
from ..ops.movement import Reshape, Slice, Transpose

__all__ = ["pack_weights"]

WIDTHS = (32, 16)
"""Columns of a panel: those of a register tile, or of two of them."""

FEW_ROWS, MANY_ROWS = 8, 256
"""Rows of the left operand: fewer take kernels of another kind, more pay for packing themselves."""

SHORT = 4
"""Iterations that are too few to pay."""


def pack_weights(outputs: Sequence[Node]) -> list[Node]:
    """`outputs`, where products with the same matrix in all iterations of a loop read panels."""
    return rewrite(outputs, [_packed])


def _packed(node: Node) -> Node | None:
    """A loop with panels as further operands that are the same in every iteration."""
    op = node.op
    if not isinstance(op, Scan) or op.length < SHORT:
        return None
    parameters = op.body.parameters
    consts = frozenset(parameters[: op.consts])
    panels: dict[Node, Node] = {}

    def product(dot: Node) -> Node | None:
        width = _width(dot)
        if width is None or not _is_view(dot.inputs[1], consts):
            return None
        left, right = dot.inputs
        if right not in panels:
            panels[right] = build.input_(_panels(right, width).tensor_type)
        # The halves are storage: the sums are those of float32, rounded once.
        sums = build.panel_dot(build.cast(left, wide(left.dtype)), panels[right])
        return build.cast(sums, dot.dtype)

    results = rewrite(op.body.results, [product])
    if not panels:
        return None
    variables = [*parameters[: op.consts], *panels.values(), *parameters[op.consts :]]
    outside = dict(zip(parameters, node.inputs, strict=True))
    given = [_panels(right, p.shape[2]) for right, p in panels.items()]  # type: ignore[arg-type]
    operands = [*node.inputs[: op.consts], *substitute(given, outside), *node.inputs[op.consts :]]
    larger = replace(op, body=Body.of(variables, results), consts=op.consts + len(panels))
    return Node(larger, tuple(operands))


def _panels(matrix: Node, width: int) -> Node:
    """(K, N) as panels (N / width, K, width)."""
    depth, columns = matrix.shape
    assert isinstance(columns, int)
    split = build.reshape(matrix, (depth, columns // width, width))
    return build.cast(build.transpose(split, (1, 0, 2)), wide(matrix.dtype))


def _width(node: Node) -> int | None:
    """The columns of a panel for a product, None if it shall stay as it is."""
    if not isinstance(node.op, Dot) or len(node.shape) != 2 or not node.dtype.is_float:
        return None
    rows, columns = node.shape
    if not isinstance(rows, int) or not isinstance(columns, int):
        return None
    if not FEW_ROWS <= rows <= MANY_ROWS:
        return None
    return next((w for w in WIDTHS if columns % w == 0), None)


def _is_view(node: Node, consts: Iterable[Node]) -> bool:
    while isinstance(node.op, (Reshape, Slice, Transpose)):
        node = node.inputs[0]
    return node in consts
