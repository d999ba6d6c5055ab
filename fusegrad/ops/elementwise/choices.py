"""Choices between two values, and random bits: rows without a public function of their own."""

from __future__ import annotations

from .. import build as b
from ..base import Node
from .table import ANY, row

__all__: list[str] = []


def _select_rule(g: Node, y: Node, c: Node, p: Node, q: Node) -> tuple[Node | None, ...]:
    zero = b.zeros_like(g)
    return None, b.select(c, g, zero), b.select(c, zero, g)


row("select", (0, 1), ANY, ANY, rule=_select_rule)
# As select, for branches that are not to be differentiated where they are not taken.
row("where", (0, 1), ANY, ANY, rule=_select_rule, scalar="select")
row("philox", (0, 1000), (0, 1000))
row("philox64", (0, 1000), (0, 1000))
