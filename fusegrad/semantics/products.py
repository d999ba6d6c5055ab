"""Matrix products, with NumPy's rules for vectors and batches, and Einstein sums.

Functions from nodes to nodes of one dtype; knows no Tensor.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..codegen.dtypes import bool_, int32, int64
from ..errors import ShapeError
from ..ir.node import Node
from ..ir.types import Extent, known_size
from ..ops import build
from .autocast import narrowed
from .shapes import Shape, broadcast_all, broadcast_shapes, one_axis, show

__all__ = ["cross", "dot", "einsum", "inner", "kron", "matmul", "tensordot", "vecdot"]


def _dot(a: Node, b: Node) -> Node:
    """Batched product of matrices whose batch axes are equal."""
    if a.dtype.is_float:
        return build.dot(narrowed(a), narrowed(b))
    if a.dtype.itemsize >= 4:
        return build.dot(a, b)
    if 1 not in (a.shape[-2], b.shape[-1]):
        # Sums that wrap around in more bits have the same lower ones.
        wide = build.dot(build.cast(a, int32), build.cast(b, int32))
        return build.cast(wide, a.dtype)
    shape = (*a.shape, b.shape[-1])
    ndim = len(shape)
    left = build.broadcast(a, shape, tuple(range(ndim - 1)))
    right = build.broadcast(b, shape, (*range(ndim - 3), ndim - 2, ndim - 1))
    if a.dtype is bool_:
        return build.any_(build.logical_and(left, right), (ndim - 2,))
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


def _times(a: Node, b: Node) -> Node:
    return build.logical_and(a, b) if a.dtype is bool_ else build.mul(a, b)


def _total(x: Node, axes: Sequence[int]) -> Node:
    return build.any_(x, axes) if x.dtype is bool_ else build.sum_(x, axes)


def vecdot(a: Node, b: Node, axis: int = -1) -> Node:
    """The sum of products along one axis; the others broadcast."""
    extents = [x.shape[one_axis("vecdot", axis, len(x.shape))] for x in (a, b)]
    if extents[0] != extents[1]:
        raise ShapeError(
            f"vecdot of shapes {show(a.shape)} and {show(b.shape)}: axis {axis} has extents "
            f"{extents[0]} and {extents[1]}",
            remedy="the axis that is summed over does not broadcast",
        )
    a, b = broadcast_all("multiply", (a, b))
    return _total(_times(a, b), (one_axis("vecdot", axis, len(a.shape)),))


def dot(a: Node, b: Node) -> Node:
    """The sum over the last axis of `a` and the last but one of `b`; numbers multiply."""
    if not a.shape or not b.shape:
        a, b = broadcast_all("multiply", (a, b))
        return _times(a, b)
    if len(b.shape) <= 2:
        return matmul(a, b)
    return tensordot(a, b, ([-1], [-2]))


def inner(a: Node, b: Node) -> Node:
    """The sum over the last axes; numbers multiply."""
    if not a.shape or not b.shape:
        return dot(a, b)
    return tensordot(a, b, ([-1], [-1]))


def kron(a: Node, b: Node) -> Node:
    """Every element of `a` times all of `b`, in blocks."""
    ndim = max(len(a.shape), len(b.shape))
    one, two = ((1,) * (ndim - len(x.shape)) + x.shape for x in (a, b))
    wide: list[Extent] = [e for pair in zip(one, two, strict=True) for e in pair]
    shape = [
        e * f for e, f in zip(one, two, strict=True) if isinstance(e, int) and isinstance(f, int)
    ]
    if len(shape) < ndim:
        raise ShapeError(
            f"kron of shapes {show(a.shape)} and {show(b.shape)}",
            remedy="compile for known extents",
        )
    left = build.broadcast(build.reshape(a, one), wide, range(0, 2 * ndim, 2))
    right = build.broadcast(build.reshape(b, two), wide, range(1, 2 * ndim, 2))
    return build.reshape(_times(left, right), shape)


def cross(a: Node, b: Node) -> Node:
    """The cross product over the last axes, which have 2 or 3 elements; of two planes a number."""
    extents = a.shape[-1:], b.shape[-1:]
    if any(extent not in ((2,), (3,)) for extent in extents):
        raise ShapeError(
            f"cross of shapes {show(a.shape)} and {show(b.shape)}",
            remedy="the axis has 3 elements, or 2 for vectors in the plane",
        )
    batch = broadcast_shapes("multiply", [a.shape[:-1], b.shape[:-1]])
    one, two = _components(a, batch), _components(b, batch)

    def minor(i: int, j: int) -> Node:
        return build.sub(build.mul(one[i], two[j]), build.mul(one[j], two[i]))

    if extents == ((2,), (2,)):
        return minor(0, 1)
    last = (len(batch),)
    parts = [build.expand_dims(minor(i, j), last) for i, j in ((1, 2), (2, 0), (0, 1))]
    return build.concat(parts, len(batch))


def _components(x: Node, batch: Shape) -> list[Node]:
    axis = len(x.shape) - 1
    count = x.shape[-1]
    assert isinstance(count, int)
    parts = [build.squeeze(build.slice_axis(x, axis, i, i + 1), (axis,)) for i in range(count)]
    parts = [build.broadcast_to(part, batch) for part in parts]
    return parts if count == 3 else [*parts, build.zeros(batch, x.dtype)]


def tensordot(a: Node, b: Node, axes: int | Sequence[int | Sequence[int]]) -> Node:
    """The sum of products over pairs of axes; the remaining axes of `a`, then those of `b`."""
    first, second = _paired_axes(a, b, axes)
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


def _paired_axes(
    a: Node, b: Node, axes: int | Sequence[int | Sequence[int]]
) -> tuple[list[int], list[int]]:
    if isinstance(axes, int):
        if not 0 <= axes <= min(len(a.shape), len(b.shape)):
            raise ShapeError(
                f"tensordot over {axes} axes of shapes {show(a.shape)} and {show(b.shape)}",
                remedy="both need at least as many axes",
            )
        return list(range(len(a.shape) - axes, len(a.shape))), list(range(axes))
    given = [[item] if isinstance(item, int) else list(item) for item in axes]
    if len(given) != 2 or len(given[0]) != len(given[1]):
        raise ShapeError(
            f"tensordot: the axes {axes} do not pair", remedy="name as many axes of each operand"
        )
    first = [one_axis("tensordot", axis, len(a.shape)) for axis in given[0]]
    second = [one_axis("tensordot", axis, len(b.shape)) for axis in given[1]]
    if len(set(first)) < len(first) or len(set(second)) < len(second):
        raise ShapeError(f"tensordot: the axes {axes} name one twice", remedy="name each axis once")
    return first, second


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
            known = extents.setdefault(letter, extent)
            if known == 1:
                extents[letter] = extent
            elif extent not in (1, known):
                name = "..." if ord(letter) > 0x7F else letter
                shapes = " and ".join(show(operand.shape) for operand in operands)
                raise ShapeError(
                    f"einsum {formula!r} of shapes {shapes}: {name!r} has extents {known} and "
                    f"{extent}",
                    remedy="one letter stands for one extent",
                )
    terms = [_without_ones(x, letters, extents) for x, letters in terms]
    current, letters = terms[0]
    for position, (x, others) in enumerate(terms[1:], 1):
        wanted = set(output).union(*[set(rest) for _, rest in terms[position + 1 :]])
        current, letters = _pair(current, letters, x, others, wanted)
    gone = [axis for axis, letter in enumerate(letters) if letter not in output]
    current = _total(current, gone)
    letters = "".join(letter for letter in letters if letter in output)
    return build.transpose(current, tuple(letters.index(letter) for letter in output))


def _parse(formula: str, operands: Sequence[Node]) -> tuple[list[str], str]:
    """The letters of each operand and of the result, the ellipsis written out in digits."""
    inputs, arrow, output = formula.replace(" ", "").partition("->")
    names = inputs.split(",")
    plain = "".join(names).replace("...", "") + output.replace("...", "")
    if (
        not all(c.isascii() and c.isalpha() for c in plain)
        or max(map(_ellipses, [*names, output])) > 1
    ):
        raise ShapeError(
            f"einsum {formula!r} has characters that are no letters",
            remedy="write letters for axes, '...' for any axes, and '->' before the result",
        )
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


def _ellipses(name: str) -> int:
    return name.count("...")


def _without_ones(x: Node, letters: str, extents: dict[str, Extent]) -> tuple[Node, str]:
    """Axes of extent 1 that stand for longer ones are dropped: products broadcast over them."""
    gone = [a for a, c in enumerate(letters) if x.shape[a] == 1 and extents[c] != 1]
    rest = "".join(c for a, c in enumerate(letters) if a not in gone)
    return build.squeeze(x, gone), rest


def _diagonals(x: Node, letters: str) -> tuple[Node, str]:
    """Axes with the same letter become their diagonal."""
    while len(set(letters)) < len(letters):
        second = next(i for i, letter in enumerate(letters) if letter in letters[:i])
        first = letters.index(letters[second])
        extent = x.shape[first]
        if extent != x.shape[second]:
            raise ShapeError(
                f"einsum of shape {show(x.shape)}: {letters[first]!r} has extents {extent} and "
                f"{x.shape[second]}",
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
        full = _times(
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
    return _total(x, gone), "".join(c for c in letters if c in wanted)


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
