"""Large sums of many products, of which each partial sum is stored, not each product.

Knows products and additions; knows no regions.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..codegen.varying import likely
from ..ir.node import Node, Pattern
from ..ops.movement import Pad
from .regions import size_of

__all__ = ["store_sums_of_products"]

LARGE, MANY = 1 << 18, 3
"""Elements of a sum, and its products."""

MOST_APART = 4
"""Products of other shapes, padded, that wait to be added together: each sum moves all of it."""


def store_sums_of_products(order: Sequence[Node], written: set[Node]) -> None:
    """Note as written the partial sums, each of which then follows the product that it adds.

    That moves as many bytes as to store all products and to add them in the end, and takes no
    memory for them.
    """
    users: dict[Node, int] = {}
    for node in order:
        for operand in node.inputs:
            users[operand] = users.get(operand, 0) + 1
    products: dict[Node, int] = {}
    apart: set[Node] = set()
    for node in order:
        if node.op.pattern is Pattern.CONTRACT and users.get(node) == 1:
            products[node] = 1
        elif isinstance(node.op, Pad) and products.get(node.inputs[0]) and users.get(node) == 1:
            products[node] = 1
            apart.add(node)
        elif node.op.name == "add" and likely(size_of(node)) >= LARGE:
            a, b = (products.get(x, 0) for x in node.inputs)
            if a and b and 1 in (a, b):
                products[node] = a + b
                padded = not apart.isdisjoint(node.inputs)
                if padded:
                    apart.add(node)
                if a + b >= (MOST_APART if padded else MANY):
                    written.add(node)
                    products[node] = 1 if padded else a + b
