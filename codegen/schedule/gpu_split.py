"""Products of matrices with few results and long sums on a GPU: pieces of the sums, then their sum.

Holds the choice of when that pays. Pieces depend on extents alone, and are added in their order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..affine import canonical
from ..dtypes import DType
from ..expr import Buffer, Expr, Load, Var, const, index, walk
from ..kernel import Any, For, Kernel, Let, Monoid, Stmt, Store, Tree, nested
from ..scalar import apply
from .gpu_contraction import FILLED, LEAST, Product, match_product
from .gpu_rewrite import own_variables
from .rewrite import expressions, substitute

__all__ = ["split_product"]

SMALLEST = 32
"""The side of the smallest tile."""
DEPTH = 512
"""Steps of a piece, at least."""

Temporary = Callable[[str, DType, Sequence[int]], Buffer]


def split_product(kernel: Kernel, size: int, temporary: Temporary) -> list[tuple[Stmt, ...]] | None:
    """The bodies of two launches for a product whose tiles would leave a GPU idle, or None.

    Parameters
    ----------
    kernel : Kernel
        Logical.
    size : int
        The value of its size.
    temporary : callable
        Makes a buffer that lives from launch to launch, of a name, a dtype and a shape.
    """
    product = match_product(kernel)
    if product is None:
        return None
    loops = sorted(
        (*product.batch, *product.rows, *product.columns), key=lambda f: isinstance(f.extent, int)
    )
    bounds = [_bound(f, product) for f in loops]
    if any(b is None for b in bounds):
        return None

    def trips(chosen: Sequence[For]) -> int:
        return math.prod(f.extent if isinstance(f.extent, int) else size for f in chosen)

    rows, columns = trips(product.rows), trips(product.columns)
    if min(rows, columns) < LEAST:
        return None
    tiles = trips(product.batch) * -(-rows // SMALLEST) * -(-columns // SMALLEST)
    count = _pieces(product, min(2 * FILLED // tiles, product.depth // DEPTH))
    if tiles * 2 > FILLED or count < 2:
        return None
    parts = temporary("parts", product.acc.dtype, (count, *(b for b in bounds if b is not None)))
    at = tuple(f.var for f in loops)
    return [_piece(product, loops, parts, count, at), _sum(product, loops, parts, count, at)]


def _bound(f: For, product: Product) -> int | None:
    """The largest extent of a loop: its own, or that of an axis which it runs along."""
    if isinstance(f.extent, int):
        return f.extent
    for s in nested(product.after):
        if isinstance(s, Store):
            for i, n in zip(s.indices, s.buffer.shape, strict=True):
                if i is f.var and isinstance(n, int):
                    return n
    return None


def _pieces(product: Product, most: int) -> int:
    """The largest number of equal pieces of the outermost sum, at most so many."""
    extent = product.steps[0].extent
    assert isinstance(extent, int)
    return next((n for n in range(min(most, extent), 1, -1) if extent % n == 0), 1)


def _around(loops: Sequence[For], body: tuple[Stmt, ...]) -> tuple[Stmt, ...]:
    for f in reversed(loops):
        body = (replace(f, body=body),)
    return body


def _piece(
    product: Product, loops: Sequence[For], parts: Buffer, count: int, at: tuple[Var, ...]
) -> tuple[Stmt, ...]:
    outer = product.steps[0]
    assert isinstance(outer.extent, int)
    each = outer.extent // count
    piece, own = Var("piece", extent=count), Var(outer.var.name, extent=each)
    place = canonical(apply("add", apply("mul", piece, index(each)), own))
    tree = replace(outer, var=own, extent=each)
    value = apply("mul", product.left, product.right)
    tree = _with_value(tree, len(product.steps), value)
    (tree,) = substitute((tree,), {outer.var: place})  # type: ignore[assignment]
    body = (tree, Store(parts, (piece, *at), product.acc))
    # Only the outermost loop of a product may have an extent that is not known.
    first, *others = loops
    inside = For(piece, count, Any(), _around(others, body))
    return (*product.before, *_around([first], (inside,)))


def _with_value(tree: For, depth: int, value: Expr) -> For:
    """Nested sums of `value`, which needs no lets from outside."""
    if depth == 1:
        return replace(tree, next=(value,))
    (inner,) = tree.body
    assert isinstance(inner, For)
    return replace(tree, body=(_with_value(inner, depth - 1, value),))


def _sum(
    product: Product, loops: Sequence[For], parts: Buffer, count: int, at: tuple[Var, ...]
) -> tuple[Stmt, ...]:
    """The pieces in their order, and what follows."""
    piece = Var("piece", extent=count)
    start = ((product.acc, const(0, product.acc.dtype)),)
    tree = For(piece, count, Tree((Monoid.SUM,)), (), start, (Load(parts, (piece, *at)),))
    used = {e for s in product.after for r in expressions(s) for e in walk(r)}
    lets: list[Stmt] = []
    for s in reversed(product.lets):
        if isinstance(s, Let) and s.var in used:
            lets.insert(0, s)
            used |= set(walk(s.value))
    return (*product.before, *_around(loops, own_variables((*lets, tree, *product.after))))
