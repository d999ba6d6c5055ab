"""The text of how a loop runs, its order and what the schedule maps it to, and of moved places.

Knows the orders and mappings of the kernel language; knows no statements.
"""

from __future__ import annotations

from .expr import Const, Expr, Var
from .kernel import Dealt, Grid, Mapping, Order, Parallel, Serial, Tree, Unroll, Vector
from .scalar import apply

__all__ = ["order_text", "shifted"]


def order_text(order: Order, mapping: Mapping | None) -> str:
    """What follows the extent of a loop."""
    text = "any"
    if isinstance(order, Serial):
        text = "serial"
    elif isinstance(order, Tree):
        text = f"tree({', '.join(m.value for m in order.monoids)})"
    if isinstance(mapping, Parallel):
        text += " parallel"
    elif isinstance(mapping, Unroll):
        text += " unroll"
    elif isinstance(mapping, Vector):
        text += f" vector({mapping.lanes}, {mapping.unroll})"
    elif isinstance(mapping, Dealt):
        text += f" {mapping.team.value}({mapping.lanes}, {mapping.unroll})"
    elif isinstance(mapping, Grid):
        limit = f", {mapping.blocks}" if mapping.blocks is not None else ""
        text += f" grid({mapping.threads}, {mapping.team.value}{limit})"
    return text


def shifted(start: Expr, step: Var) -> Expr:
    """A place in a view; where it starts at zero, the step alone."""
    return step if isinstance(start, Const) and start.value == 0 else apply("add", start, step)
