"""Norms of vectors and matrices, rank and condition, on nodes.

The derivative of a norm at zero is zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..codegen.dtypes import DType
from ..errors import DTypeError, LinAlgError, ShapeError
from ..ir.node import Node
from ..ir.types import known_size
from ..ops import build
from ..ops import build_matrix as matrix
from . import reductions
from .manipulation import moveaxis
from .matrices import as_matrix, default_rtol
from .promotion import as_float
from .shapes import axis_tuple, broadcast_to, one_axis, show

__all__ = ["cond", "matrix_norm", "matrix_rank", "norm", "torch_norm", "vector_norm"]

Axis = int | Iterable[int] | None


def _floating(name: str, x: Node, dtype: DType | None) -> Node:
    if dtype is not None and not dtype.is_float:
        raise DTypeError(f"{name} computes in floats, not in {dtype}", remedy="name a float dtype")
    return build.cast(x, dtype or as_float(x.dtype))


def _without_zero(x: Node, function: Callable[[Node], Node], at_zero: float = 0.0) -> Node:
    """`function` of `x`, with a value of its own at zero, where the derivative is 0."""
    zero = build.eq(x, build.zeros_like(x))
    safe = build.select(zero, build.ones_like(x), x)
    return build.select(zero, build.full_like(x, at_zero), function(safe))


def _power_norm(x: Node, axes: tuple[int, ...], order: float, keepdims: bool) -> Node:
    exponent = build.constant(order, x.dtype)

    def power(value: Node) -> Node:
        return build.pow_(value, build.broadcast_to(exponent, value.shape))

    def root(value: Node) -> Node:
        return build.pow_(value, build.full_like(value, 1 / order))

    terms = _without_zero(build.abs_(x), power, 0.0 if order > 0 else math.inf)
    total = reductions.sum_(terms, axes, keepdims)
    if order > 0:
        return _without_zero(total, root)
    infinite = build.isinf(total)
    safe = build.select(infinite, build.ones_like(total), total)
    return build.select(infinite, build.zeros_like(total), root(safe))


def _largest(x: Node, axes: tuple[int, ...], keepdims: bool = False) -> Node:
    """The largest of values that are not negative; of none it is 0."""
    if any(x.shape[axis] == 0 for axis in axes):
        return reductions.sum_(x, axes, keepdims)
    return reductions.max_(x, axes, keepdims)


def vector_norm(
    x: Node,
    order: float = 2,
    axis: Axis = None,
    keepdims: bool = False,
    dtype: DType | None = None,
    name: str = "vector_norm",
) -> Node:
    """The norm of the elements along axes, taken as one vector."""
    x = _floating(name, x, dtype)
    axes = axis_tuple(name, axis, len(x.shape))
    order = float(order)
    if order == 2:
        return _without_zero(reductions.sum_(build.square(x), axes, keepdims), build.sqrt)
    if order == math.inf:
        return _largest(build.abs_(x), axes, keepdims)
    if order == -math.inf:
        return reductions.min_(build.abs_(x), axes, keepdims)
    if order == 0:
        nonzero = build.cast(build.ne(x, build.zeros_like(x)), x.dtype)
        return reductions.sum_(nonzero, axes, keepdims)
    if order == 1:
        return reductions.sum_(build.abs_(x), axes, keepdims)
    return _power_norm(x, axes, order, keepdims)


def matrix_norm(
    x: Node,
    order: float | str = "fro",
    axes: tuple[int, int] | None = None,
    keepdims: bool = False,
    dtype: DType | None = None,
    name: str = "matrix_norm",
) -> Node:
    """The norm of the matrices that two axes hold."""
    x = _floating(name, x, dtype)
    ndim = len(x.shape)
    if ndim < 2:
        as_matrix(name, x)
    row, column = (one_axis(name, axis, ndim) for axis in axes or (-2, -1))
    if row == column:
        raise ShapeError(f"{name}: axis {row} is named twice", remedy="name two axes")
    if order == "fro":
        return vector_norm(x, 2, (row, column), keepdims)
    x = moveaxis(x, (row, column), (-2, -1))
    result = _of_matrix(name, x, order)
    return build.expand_dims(result, sorted((row, column))) if keepdims else result


def _of_matrix(name: str, x: Node, order: float | str) -> Node:
    last = len(x.shape) - 1
    if order == "nuc":
        return reductions.sum_(matrix.svdvals(x), -1)
    orders = (1, -1, 2, -2, math.inf, -math.inf)
    if isinstance(order, str) or order not in orders:
        raise ShapeError(
            f"{name}: there is no norm {order!r} of a matrix",
            remedy="the norms are 'fro', 'nuc', 1, -1, 2, -2, inf and -inf",
        )
    extreme = _largest if order > 0 else reductions.min_
    if abs(order) == 2:
        return extreme(matrix.svdvals(x), (last - 1,))
    sums = build.sum_(build.abs_(x), (last - 1 if abs(order) == 1 else last,))
    return extreme(sums, (len(sums.shape) - 1,))


def norm(
    x: Node,
    order: float | str | None = None,
    axis: Axis = None,
    keepdims: bool = False,
    dtype: DType | None = None,
) -> Node:
    """The norm of NumPy and torch: of a vector or a matrix, as the number of axes says."""
    ndim = len(x.shape)
    if axis is None:
        if order is None:
            return vector_norm(x, 2, None, keepdims, dtype, "norm")
        if ndim not in (1, 2):
            raise ShapeError(
                f"norm of order {order!r} of an array of shape {show(x.shape)}",
                remedy="name the axis of the vectors, or the two axes of the matrices",
            )
        axes = tuple(range(ndim))
    else:
        axes = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    if len(axes) == 1:
        if isinstance(order, str):
            raise ShapeError(
                f"norm: order {order!r} is one of matrices", remedy="name two axes, or a number"
            )
        return vector_norm(x, 2 if order is None else order, axes, keepdims, dtype, "norm")
    if len(axes) == 2:
        return matrix_norm(
            x, "fro" if order is None else order, (axes[0], axes[1]), keepdims, dtype, "norm"
        )
    if order is None:
        return vector_norm(x, 2, axes, keepdims, dtype, "norm")
    raise ShapeError(
        f"norm over {len(axes)} axes", remedy="name one axis for vectors, or two for matrices"
    )


def torch_norm(
    x: Node, order: float | str | None, axis: Axis, keepdims: bool, dtype: DType | None
) -> Node:
    """As torch's function of that name: over all axes the elements are one vector."""
    if order == "nuc":
        return norm(x, order, axis, keepdims, dtype)
    plain = 2 if order is None or order == "fro" else order
    if isinstance(plain, str):
        raise ShapeError(f"norm: there is no order {plain!r}", remedy="use a number, fro or nuc")
    return vector_norm(x, plain, axis, keepdims, dtype, "norm")


def matrix_rank(x: Node, tolerance: Node | None, rtol: Node | None, hermitian: bool) -> Node:
    """The number of singular values above a tolerance."""
    if len(x.shape) < 2:
        # NumPy's answer for a vector.
        return build.cast(reductions.any_(x), reductions.count_nonzero(x).dtype)
    x = as_matrix("matrix_rank", x, square=hermitian)
    if known_size(x.shape[-2:]) == 0:
        return build.zeros(x.shape[:-2], reductions.count_nonzero(x).dtype)
    values = build.abs_(matrix.eigvalsh(x, True)) if hermitian else matrix.svdvals(x)
    largest = reductions.max_(values, -1)
    bound = build.mul(largest, default_rtol(x, rtol))
    if tolerance is not None:
        given = broadcast_to(build.cast(tolerance, x.dtype), bound.shape)
        bound = given if rtol is None else build.maximum(bound, given)
    bound = build.broadcast(bound, values.shape, range(len(bound.shape)))
    return reductions.count_nonzero(build.gt(values, bound), -1)


def cond(x: Node, order: float | str | None) -> Node:
    """The condition number."""
    x = as_matrix("cond", x, square=order not in (None, 2, -2))
    if known_size(x.shape[-2:]) == 0:
        raise LinAlgError(
            f"cond of matrices without elements, of shape {show(x.shape)}",
            remedy="skip empty matrices",
        )
    if order in (None, 2, -2):
        values = matrix.svdvals(x)
        large, small = reductions.max_(values, -1), reductions.min_(values, -1)
        ratio = build.div(small, large) if order == -2 else build.div(large, small)
    else:
        inverse = matrix.inv(x, checked=False)
        missing = build.isnan(inverse)
        known = build.select(missing, build.zeros_like(inverse), inverse)
        ratio = build.mul(matrix_norm(x, order, name="cond"), matrix_norm(known, order))
        missing = reductions.any_(missing, (-2, -1))
        ratio = build.select(missing, build.full_like(ratio, math.nan), ratio)
    # A singular matrix: not a number only if the matrix has one.
    given = reductions.any_(build.isnan(x), (-2, -1))
    singular = build.logical_and(build.isnan(ratio), build.logical_not(given))
    return build.select(singular, build.full_like(ratio, math.inf), ratio)
