"""Operands that a product computes where it reads them: values scaled, cast, gathered.

Knows what is in memory anyway, bytes and operations; knows no tiles. A product that packs an
operand computes it on the way, so that it is neither written nor read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import final

from ..codegen.affine import canonical, linear
from ..codegen.dtypes import int64
from ..codegen.expr import Buffer, Expr, Load, Var, walk
from ..codegen.records import dataclass
from ..ir.node import Node
from ..ops.base import IndexedOp
from ..ops.contract import Dot
from ..ops.elementwise import EXPENSIVE, cost_of
from ..ops.identities import Barrier, Beside
from ..ops.indexing import Take
from ..ops.movement import Transpose
from .regions import is_leaf, usual_size
from .views import flat_index, operand_base, shape_of

__all__ = ["computed_operands"]

LEAST_SIDE, LEAST_SIZE = 8, 1 << 16
"""Operands of fewer rows or columns, or elements, are stored: that is soon done."""
LEAST_RESULT = 1 << 10
"""Threads do not share a product with fewer results, but its operand they would."""
SHARE = 8
"""Multiplications of an element that make one operation on it a small part of the work."""
FEW_TIMES = 256
"""Multiplications of an element that take longer than to store it and read it again."""
FAR = 1 << 23
"""Bytes that are not in a near cache any more when they are read."""
MOST_NODES = 32
"""Nodes of the graph that such an operand is computed by."""
DIVISIONS = frozenset({"div", "floordiv", "mod", "fmod"})
"""Arithmetic that is rewritten, in places in memory, as if no number were negative."""


def computed_operands(
    order: Sequence[Node], operands: Collection[Node], written: Collection[Node]
) -> set[Node]:
    """What is not written, although a product multiplies it, as the product computes it.

    Parameters
    ----------
    order : sequence of Node
        All nodes, operands first.
    operands : collection of Node
        Values that are written for no other reason than that products read them.
    written : collection of Node
        All values in memory, these too.
    """
    candidates = [n for n in order if n in operands and _may_be(n)]
    if not candidates:
        return set()
    chosen: set[Node] = set()

    def is_value(node: Node) -> bool:
        return (node in written and node not in chosen) or is_leaf(node)

    products: dict[Node, list[tuple[Node, int]]] = {}
    users: dict[Node, list[Node]] = {}
    for node in order:
        for position, operand in enumerate(node.inputs):
            users.setdefault(operand, []).append(node)
            if isinstance(node.op, Dot):
                base = operand_base(operand, is_value)
                products.setdefault(base, []).append((node, position))
    for node in candidates:
        found = _cone(node, is_value)
        if found is None or node not in products:
            continue
        readers = products[node]
        if not _is_free(node, found, users):
            continue
        elements = [_element(product.inputs[p], node, is_value) for product, p in readers]
        runs = all(e.runs for e in elements)
        if all(e.lies for e in elements) or (runs and _pays(node, found, readers)):
            chosen.add(node)
    return chosen


def _may_be(node: Node) -> bool:
    """Whether it is computed by elementwise work, and not soon done, or lies somewhere."""
    large = usual_size(node) >= LEAST_SIZE
    return isinstance(node.op, Take) or (large and isinstance(node.op, IndexedOp))


@final
@dataclass(frozen=True)
class _Cone:
    """What a value is computed by, from what."""

    inside: dict[Node, None]
    leaves: dict[Node, None]


def _cone(root: Node, is_value: Callable[[Node], bool]) -> _Cone | None:
    """What is between `root` and values in memory, None if that is too much or not elementwise."""
    inside: dict[Node, None] = {}
    leaves: dict[Node, None] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        if node in inside or node in leaves:
            continue
        if node is not root and is_value(node):
            leaves[node] = None
            continue
        elementwise = isinstance(node.op, IndexedOp) and not isinstance(node.op, (Barrier, Beside))
        if not elementwise or len(inside) >= MOST_NODES:
            return None
        if node.dtype is int64 and node.op.name in DIVISIONS:
            return None
        inside[node] = None
        stack.extend(node.inputs)
    return _Cone(inside, leaves)


def _is_free(root: Node, cone: _Cone, users: dict[Node, list[Node]]) -> bool:
    """Whether what it is made of is in memory for others too.

    Else this is computed instead of it, where it would be computed.
    """
    return bool(cone.leaves) and not any(
        not is_leaf(leaf) and all(user in cone.inside for user in users[leaf])
        for leaf in cone.leaves
        if 2 * usual_size(leaf) >= usual_size(root)
    )


def _pays(root: Node, cone: _Cone, products: Sequence[tuple[Node, int]]) -> bool:
    """Whether fewer bytes are moved, and no more is computed than is worth it."""
    size = usual_size(root)
    if any(min(shape_of(product.inputs[p])[-2:]) < LEAST_SIDE for product, p in products):
        return False
    if size < LEAST_SIZE or any(usual_size(product) < LEAST_RESULT for product, _ in products):
        return False
    whole = [n for n in cone.leaves if 2 * usual_size(n) >= size]
    own = size * root.dtype.itemsize
    read = sum(min(size, usual_size(n)) * n.dtype.itemsize for n in whole)
    narrow = 2 * read <= own
    if not narrow and not all(map(is_leaf, whole)):
        # The kernel that computes one of them writes this too, and reads nothing for it.
        return False
    count = len(products)
    stored = read + own + count * own
    work = count * sum(cost_of(n) for n in cone.inside if 2 * usual_size(n) >= size)
    # What the other operand has in rows or columns is multiplied with every element.
    others = [shape_of(product)[-1 - p] for product, p in products]
    cheap = work < 2 * EXPENSIVE or SHARE * work <= min(others)
    if not cheap or count * read >= stored:
        return False
    if all(_is_packed(product.inputs[p], p, root) for product, p in products):
        return True
    # Rows of a left operand are read where they lie, but for this.
    return own >= FAR and (narrow or max(others) <= FEW_TIMES)


def _is_packed(operand: Node, position: int, root: Node) -> bool:
    """Whether a product copies an operand anyway."""
    while operand is not root and not isinstance(operand.op, Transpose):
        operand = operand.inputs[0]
    return position == 1 or operand is not root


@final
@dataclass(frozen=True)
class _Element:
    """An element of an operand: its value, the axes, and where what it is made of lies."""

    value: Expr
    axes: tuple[Var, ...]
    places: tuple[Expr, ...]

    @property
    def runs(self) -> bool:
        """Whether all that is read lies side by side, or still, along one of the last axes."""
        return any(
            all(_step(place, axis) in (0, 1) for place in self.places) for axis in self.axes[-2:]
        )

    @property
    def lies(self) -> bool:
        """Whether each matrix of a batch lies somewhere as it is."""
        if not isinstance(self.value, Load):
            return False
        (place,) = self.value.indices
        return all(_step(place, axis) is not None for axis in self.axes[-2:])


def _element(operand: Node, root: Node, is_value: Callable[[Node], bool]) -> _Element:
    """The element of an operand that is a view of `root`, computed from values in memory."""
    axes = tuple(Var(f"i{a}", extent=e) for a, e in enumerate(shape_of(operand)))
    places: list[Expr] = []
    memo: dict[tuple[Node, tuple[Expr, ...]], Expr] = {}
    buffers: dict[Node, Buffer] = {}

    def read(node: Node, at: tuple[Expr, ...]) -> Expr:
        at = tuple(canonical(i) for i in at)
        if (node, at) not in memo:
            if node is not root and is_value(node):
                place = flat_index(shape_of(node), at)
                places.append(place)
                buffer = buffers.setdefault(node, Buffer("x", node.dtype, (1,)))
                memo[node, at] = Load(buffer, (place,))
            else:
                assert isinstance(node.op, IndexedOp)
                readers = [partial(read, n) for n in node.inputs]
                memo[node, at] = node.op.value(node, readers, at)
        return memo[node, at]

    return _Element(read(operand, axes), axes, tuple(places))


def _step(place: Expr, axis: Var) -> int | None:
    """How far a place moves along an axis, None where that is not one number."""
    form = linear(place)
    if any(atom is not axis and any(x is axis for x in walk(atom)) for atom, _ in form.terms):
        return None
    return form.coefficient(axis)
