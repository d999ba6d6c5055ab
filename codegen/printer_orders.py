"""The text of how a loop runs: its order, and what the schedule maps it to.

Knows the orders and mappings of the kernel language; knows no statements.
"""

from __future__ import annotations

from .kernel import Dealt, Grid, Mapping, Order, Parallel, Serial, Tree, Unroll, Vector

__all__ = ["order_text"]


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
