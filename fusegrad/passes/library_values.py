"""What of a product is kept where a library computes it: what the library can write, or do without.

Knows products, the elementwise ops behind them, and regions. A library adds a bias and applies an
activation before it stores: the sum is worth more than the bare product, and a mask is worth less
than the result that it can be told from.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..codegen.varying import likely
from ..ir.node import Node, Pattern, role, source, toposort, where
from ..ops.elementwise.table import Map
from ..ops.identities import Cast
from ..ops.movement import Broadcast, Reshape, Transpose
from ..ops.source import Constant
from ..ops.window_dot import WindowDot
from .regions import Region, size_of
from .rematerialise import with_replaced

__all__ = ["made_again", "masks_from_results", "sums_to_keep"]

SMALLER = 8
"""What a library adds to every row or column is smaller than the result by this factor."""


def masks_from_results(outputs: Sequence[Node]) -> list[Node]:
    """`outputs`, where the mask of a ReLU that is needed later is made again, of its result.

    ``y = select(z <= 0, 0, z)`` is not positive where z is not, and NaN where z is. As operand of
    another product it is kept anyway, and a library computes it with the product that z is.
    """
    order = toposort(outputs)
    readers = _readers(order)
    ends = {_sum_of(node, readers)[-1] for node in order if _is_product(node)}
    kept = set(outputs)
    mapping: dict[Node, Node] = {}
    for y in order:
        if not _is(y, "select") or y.inputs[2] not in ends:
            continue
        mask, zero, z = y.inputs
        if (
            mask in kept
            or not _is(mask, "le")
            or not _is_zero(zero)
            or not _is_zero(mask.inputs[1])
        ):
            continue
        compared = mask.inputs[0]
        wider = compared is not z
        if wider and not (isinstance(compared.op, Cast) and compared.inputs[0] is z):
            continue
        others = [r for r in readers[mask] if r is not y]
        if not others or not _feeds_product(y, readers):
            continue
        with source(where(mask), role(others[0])):
            again = Node(compared.op, (y,)) if wider else y
            made = Node(mask.op, (again, mask.inputs[1]))
        for reader in others:
            known = mapping.get(reader, reader)
            inputs = tuple(made if i is mask else i for i in known.inputs)
            mapping[reader] = Node(known.op, inputs)
    return with_replaced(outputs, mapping) if mapping else list(outputs)


def made_again(outputs: Sequence[Node]) -> set[Node]:
    """What is rather computed again than stored: it is made of what a library writes, and of that
    alone, so that to store it would be a kernel more."""
    order = toposort(outputs)
    readers = _readers(order)
    ends = {_sum_of(node, readers)[-1] for node in order if _is_product(node)}
    found: set[Node] = set()
    for node in order:
        if node.op.pattern is not Pattern.MAP or node in ends:
            continue
        others = [i for i in node.inputs if not _is_number(i)]
        if others and all(i in ends or i in found for i in others):
            found.add(node)
    return found


def sums_to_keep(regions: Sequence[Region], outputs: Sequence[Node]) -> set[Node]:
    """Sums of a product and something small that take the place of the product in memory.

    Other regions would read the product, and add to it again.
    """
    readers = _readers(toposort(outputs))
    kept = set(outputs)
    found: set[Node] = set()
    for region in regions:
        product = region.stages[0].node
        if not _is_product(product):
            continue
        chain = _sum_of(product, readers)
        last = min(reversed(chain), key=lambda n: n.dtype.itemsize)
        before = chain[: chain.index(last)]
        own = {s.node for s in region.stages}
        away = {
            value
            for other in regions
            if other is not region
            for s in other.stages
            for value in s.access.reads
        }
        if any(n in away and n in own for n in before) and not kept & set(before):
            found.add(last)
    return found


def _readers(order: Sequence[Node]) -> dict[Node, list[Node]]:
    """Who takes each value as an operand."""
    readers: dict[Node, list[Node]] = {}
    for node in order:
        for operand in node.inputs:
            readers.setdefault(operand, []).append(node)
    return readers


def _is_product(node: Node) -> bool:
    return node.op.pattern is Pattern.CONTRACT and not isinstance(node.op, WindowDot)


def _is(node: Node, name: str) -> bool:
    return isinstance(node.op, Map) and node.op.name == name


def _is_number(node: Node) -> bool:
    while isinstance(node.op, Broadcast):
        node = node.inputs[0]
    return isinstance(node.op, Constant)


def _is_zero(node: Node) -> bool:
    while isinstance(node.op, Broadcast):
        node = node.inputs[0]
    return isinstance(node.op, Constant) and node.op.const.value == 0


def _sum_of(product: Node, readers: dict[Node, list[Node]]) -> list[Node]:
    """A product and what is made of it alone by adding what is small, one after the other."""
    chain = [product]
    while len(readers.get(chain[-1], ())) == 1:
        (following,) = readers[chain[-1]]
        others = [i for i in following.inputs if i is not chain[-1]]
        added = _is(following, "add") and len(others) == 1 and _is_small(others[0])
        if not added and not isinstance(following.op, Cast):
            break
        chain.append(following)
    return chain


def _is_small(node: Node) -> bool:
    """Whether a value repeats one that is much smaller."""
    whole = size_of(node)
    while isinstance(node.op, (Broadcast, Cast)):
        node = node.inputs[0]
    return bool(likely(size_of(node)) * SMALLER <= likely(whole))


def _feeds_product(node: Node, readers: dict[Node, list[Node]]) -> bool:
    """Whether a value is an operand of a product, so that it is in memory."""
    for reader in readers.get(node, ()):
        if _is_product(reader):
            return True
        moved = isinstance(reader.op, (Transpose, Reshape, Cast))
        if moved and _feeds_product(reader, readers):
            return True
    return False
