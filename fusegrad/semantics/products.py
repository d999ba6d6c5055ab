"""Matrix products, with NumPy's rules for vectors and batches, and Einstein sums.

Functions from nodes to nodes of one dtype; knows no Tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..codegen.dtypes import int64
from ..errors import DTypeError, ShapeError
from ..ir.node import Node
from ..ir.types import Extent, known_size
from ..ops import build
from .autocast import narrowed
from .shapes import broadcast_all, broadcast_shapes, one_axis, show

__all__ = ["einsum", "matmul", "tensordot", "vecdot"]


def _dot(a: Node, b: Node) -> Node:
    """Batched product of matrices whose batch axes are equal."""
    if a.dtype.is_float:
        return build.dot(narrowed(a), narrowed(b))
    if not a.dtype.is_integer:
        raise DTypeError(
            f"there is no matrix product of {a.dtype}", remedy='convert first, x.astype("float32")'
        )
    shape = (*a.shape, b.shape[-1])
    ndim = len(shape)
    left = build.broadcast(a, shape, tuple(range(ndim - 1)))
    right = build.broadcast(b, shape, (*range(ndim - 3), ndim - 2, ndim - 1))
    return build.sum_(build.mul(left, right), (ndim - 2,))


def matmul(a: Node, b: Node) -> Node:
    """``a @ b``: vectors are rows or columns, axes before the last two broadcast."""
    if not a.shape or not b.shape:
        raise ShapeError(
            f"cannot multiply shapes {show(a.shape)} and {show(b.shape)} as matrices",
            remedy="multiply by a number with *",
        )
    left = build.expand_dims(a, (0,)) if len(a.shape) == 1 else a
    right = build.expand_dims(b, (1,)) if len(b.shape) == 1 else b
    if left.shape[-1] != right.shape[-2]:
        remedy = "the last axis of the first and the last but one of the second must be equal"
        if len(b.shape) > 1 and left.shape[-1] == right.shape[-1]:
            remedy += "; transpose the second, a @ b.mT"
        raise ShapeError(
            f"cannot multiply matrices of shapes {show(a.shape)} and {show(b.shape)}: "
            f"inner extents {left.shape[-1]} and {right.shape[-2]}",
            remedy=remedy,
        )
    result = _batched(left, right)
    if len(a.shape) == 1:
        result = build.squeeze(result, (len(result.shape) - 2,))
    if len(b.shape) == 1:
        result = build.squeeze(result, (len(result.shape) - 1,))
    return result


def _batched(a: Node, b: Node) -> Node:
    if len(b.shape) == 2 and len(a.shape) > 2:
        # One matrix for the whole batch: the batch is more rows.
        rows = known_size(a.shape[:-1])
        if rows is not None:
            flat = _dot(build.reshape(a, (rows, a.shape[-1])), b)
            return build.reshape(flat, (*a.shape[:-1], b.shape[-1]))
    batch = broadcast_shapes("multiply matrices of", [a.shape[:-2], b.shape[:-2]])
    return _dot(
        build.broadcast_to(a, (*batch, *a.shape[-2:])),
        build.broadcast_to(b, (*batch, *b.shape[-2:])),
    )


def vecdot(a: Node, b: Node, axis: int = -1) -> Node:
    """The sum of products along one axis; the others broadcast."""
    a, b = broadcast_all("multiply", (a, b))
    return build.sum_(build.mul(a, b), (one_axis("vecdot", axis, len(a.shape)),))


def tensordot(a: Node, b: Node, axes: int | Sequence[Sequence[int]]) -> Node:
    """The sum of products over pairs of axes; the remaining axes of `a`, then those of `b`."""
    if isinstance(axes, int):
        first = list(range(len(a.shape) - axes, len(a.shape)))
        second = list(range(axes))
    else:
        first = [one_axis("tensordot", axis, len(a.shape)) for axis in axes[0]]
        second = [one_axis("tensordot", axis, len(b.shape)) for axis in axes[1]]
    extents = [a.shape[axis] for axis in first], [b.shape[axis] for axis in second]
    if extents[0] != extents[1]:
        raise ShapeError(
            f"tensordot of shapes {show(a.shape)} and {show(b.shape)}: the summed axes have "
            f"extents {show(extents[0])} and {show(extents[1])}",
            remedy="pair axes of equal extent",
        )
    keep_a = [axis for axis in range(len(a.shape)) if axis not in first]
    keep_b = [axis for axis in range(len(b.shape)) if axis not in second]
    left = _merged(a, keep_a, first)
    right = _merged(b, second, keep_b)
    shape = [a.shape[axis] for axis in keep_a] + [b.shape[axis] for axis in keep_b]
    return build.reshape(_dot(left, right), shape)


def _merged(x: Node, rows: Sequence[int], columns: Sequence[int]) -> Node:
    """A matrix whose rows and columns are several axes each."""
    moved = build.transpose(x, (*rows, *columns))
    return build.reshape(moved, (_size(x, rows), _size(x, columns)))


def _size(x: Node, axes: Sequence[int]) -> Extent:
    known = [e for axis in axes if isinstance(e := x.shape[axis], int)]
    if len(known) == len(axes):
        return math.prod(known)
    (symbol,) = [x.shape[axis] for axis in axes if not isinstance(x.shape[axis], int)]
    return symbol


# --- Einstein sums --------------------------------------------------------------------------------


def einsum(formula: str, operands: Sequence[Node]) -> Node:
    """The sum of products that `formula` names, such as ``"ij,jk->ik"``."""
    names, output = _parse(formula, operands)
    terms = [_diagonals(x, letters) for x, letters in zip(operands, names, strict=True)]
    extents: dict[str, Extent] = {}
    for x, letters in terms:
        for letter, extent in zip(letters, x.shape, strict=True):
            if extents.setdefault(letter, extent) != extent:
                raise ShapeError(
                    f"einsum {formula!r}: {letter!r} has extents {extents[letter]} and {extent}",
                    remedy="one letter stands for one extent",
                )
    current, letters = terms[0]
    for position, (x, others) in enumerate(terms[1:], 1):
        wanted = set(output).union(*[set(rest) for _, rest in terms[position + 1 :]])
        current, letters = _pair(current, letters, x, others, wanted)
    gone = [axis for axis, letter in enumerate(letters) if letter not in output]
    current = build.sum_(current, gone)
    letters = "".join(letter for letter in letters if letter in output)
    return build.transpose(current, tuple(letters.index(letter) for letter in output))


def _parse(formula: str, operands: Sequence[Node]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, the ellipsis written out in digits."""
    inputs, arrow, output = formula.replace(" ", "").partition("->")
    names = inputs.split(",")
    if len(names) != len(operands):
        raise ShapeError(
            f"einsum {formula!r} names {len(names)} operands, {len(operands)} are given",
            remedy="separate the operands by commas, as many as there are arrays",
        )
    longest = 0
    for place, (name, x) in enumerate(zip(names, operands, strict=True)):
        if "..." in name:
            count = len(x.shape) - len(name) + 3
            longest = max(longest, count)
            names[place] = name.replace("...", "".join(map(chr, range(0x100 - count, 0x100))))
        if len(names[place]) != len(x.shape):
            raise ShapeError(
                f"einsum {formula!r}: {name!r} for an array of shape {show(x.shape)}",
                remedy="give one letter for each axis",
            )
    batch = "".join(map(chr, range(0x100 - longest, 0x100)))
    if not arrow:
        letters = "".join(names)
        single = {letter for letter in letters if letters.count(letter) == 1}
        output = batch + "".join(sorted(single - {*batch}))
    output = output.replace("...", batch)
    if len(set(output)) < len(output) or not set(output) <= set("".join(names)):
        raise ShapeError(
            f"einsum {formula!r}: the result has a letter twice, or one that no operand has",
            remedy="name each axis of the result once, with a letter of an operand",
        )
    return names, output


def _diagonals(x: Node, letters: str) -> tuple[Node, str]:
    """Axes with the same letter become their diagonal."""
    while len(set(letters)) < len(letters):
        second = next(i for i, letter in enumerate(letters) if letter in letters[:i])
        first = letters.index(letters[second])
        extent = x.shape[first]
        if extent != x.shape[second]:
            raise ShapeError(
                f"einsum: {letters[first]!r} has extents {extent} and {x.shape[second]}",
                remedy="one letter stands for one extent",
            )
        shape = (*x.shape[:second], 1, *x.shape[second + 1 :])
        position = build.broadcast(build.iota(extent, int64), shape, (first,))
        x = build.squeeze(build.take_along(x, position, second), (second,))
        letters = letters[:second] + letters[second + 1 :]
    return x, letters


def _pair(a: Node, left: str, b: Node, right: str, wanted: set[str]) -> tuple[Node, str]:
    """The product of two terms, summed over the letters that nobody wants any more."""
    a, left = _sum_alone(a, left, wanted | set(right))
    b, right = _sum_alone(b, right, wanted | set(left))
    batch = [c for c in left if c in right and c in wanted]
    inner = [c for c in left if c in right and c not in wanted]
    rows = [c for c in left if c not in right]
    columns = [c for c in right if c not in left]
    count = len(batch)
    one = _ordered(a, left, batch, rows, inner)
    two = _ordered(b, right, batch, inner, columns)
    shape = [a.shape[left.index(c)] for c in (*batch, *rows)]
    shape += [b.shape[right.index(c)] for c in columns]
    if not inner and not (rows and columns):
        # No contraction: an elementwise product.
        full = build.mul(
            build.broadcast(_moved(a, left, [*batch, *rows]), shape, range(count + len(rows))),
            build.broadcast(
                _moved(b, right, [*batch, *columns]),
                shape,
                [*range(count), *range(count + len(rows), len(shape))],
            ),
        )
        return full, "".join([*batch, *rows, *columns])
    return build.reshape(_dot(one, two), shape), "".join([*batch, *rows, *columns])


def _sum_alone(x: Node, letters: str, wanted: set[str]) -> tuple[Node, str]:
    gone = [axis for axis, letter in enumerate(letters) if letter not in wanted]
    return build.sum_(x, gone), "".join(c for c in letters if c in wanted)


def _moved(x: Node, letters: str, order: Sequence[str]) -> Node:
    return build.transpose(x, tuple(letters.index(letter) for letter in order))


def _ordered(
    x: Node, letters: str, batch: Sequence[str], rows: Sequence[str], columns: Sequence[str]
) -> Node:
    """Batch axes in front, then two axes that the other letters are merged into."""
    moved = _moved(x, letters, [*batch, *rows, *columns])
    count, middle = len(batch), len(batch) + len(rows)
    axes = range(len(moved.shape))
    return build.reshape(
        moved,
        (*moved.shape[:count], _size(moved, axes[count:middle]), _size(moved, axes[middle:])),
    )
