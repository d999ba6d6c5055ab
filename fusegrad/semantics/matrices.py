"""Linear algebra on nodes: systems, inverses, determinants, decompositions, functions of matrices.

Matrices are the last two axes, all axes before them a batch. Integers become floats.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..codegen.dtypes import int32, int64
from ..errors import MatrixShapeError, ShapeError
from ..ir.node import Node
from ..ir.types import Extent, known_size
from ..ops import build
from ..ops import build_matrix as matrix
from .products import matmul
from .promotion import as_float
from .shapes import broadcast_shapes, broadcast_to, show

__all__ = [
    "as_matrix",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "default_rtol",
    "det",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "inv",
    "logdet",
    "lu",
    "lu_factor",
    "lu_solve",
    "matrix_power",
    "multi_dot",
    "no_elements",
    "pinv",
    "qr",
    "qr_r",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
]

_T = build.matrix_transpose
_PRECISION = {"bf16": 2.0**-7, "f16": 2.0**-10, "f32": 2.0**-23, "f64": 2.0**-52}


def as_matrix(name: str, x: Node, square: bool = False) -> Node:
    """`x` in a floating dtype, if it is a matrix."""
    if len(x.shape) < 2:
        raise MatrixShapeError(
            f"{name} needs a matrix, the array has shape {show(x.shape)}",
            remedy="the last two axes are the matrix, all axes before them a batch",
        )
    if square and x.shape[-1] != x.shape[-2]:
        raise MatrixShapeError(
            f"{name} needs a square matrix, the array has shape {show(x.shape)}",
            remedy="the last two axes must have one extent; for others there are pinv, lstsq, "
            "qr and svd",
        )
    return build.cast(x, as_float(x.dtype))


def _columns(x: Node, start: int, stop: int) -> Node:
    return build.slice_axis(x, len(x.shape) - 1, start, stop)


def _sizes(name: str, x: Node) -> tuple[int, int]:
    m, n = x.shape[-2:]
    if not isinstance(m, int) or not isinstance(n, int):
        raise ShapeError(
            f"{name} of matrices of unknown size {show(x.shape[-2:])}",
            remedy="only the axes before the last two may vary",
        )
    return m, n


# --- systems --------------------------------------------------------------------------------------


def _system(name: str, a: Node, b: Node) -> tuple[Node, Node]:
    """Both with equal batch axes."""
    b = as_matrix(name, b)
    if a.shape[-1] != b.shape[-2]:
        raise MatrixShapeError(
            f"{name}: the matrix has shape {show(a.shape)}, the right-hand side {show(b.shape)}",
            remedy="both need the same number of rows",
        )
    batch = broadcast_shapes(name, [a.shape[:-2], b.shape[:-2]])
    return (
        build.broadcast_to(a, (*batch, *a.shape[-2:])),
        build.broadcast_to(b, (*batch, *b.shape[-2:])),
    )


def _solved(name: str, function: Callable[[Node, Node], Node], a: Node, b: Node) -> Node:
    """`function` of both; one matrix for a batch of right-hand sides is decomposed once."""
    rank = len(b.shape)
    if len(a.shape) > 2 or rank <= 2 or known_size(b.shape) is None:
        return function(*_system(name, a, b))
    rows = as_matrix(name, build.transpose(b, (rank - 2, *range(rank - 2), rank - 1)))
    count = known_size(rows.shape[1:])
    assert count is not None
    columns = build.reshape(rows, (rows.shape[0], count))
    if a.shape[-1] != columns.shape[0]:
        _system(name, a, b)
    result = build.reshape(function(a, columns), rows.shape)
    return build.transpose(result, (*range(1, rank - 1), 0, rank - 1))


def solve(a: Node, b: Node, left: bool = True) -> Node:
    """X with ``a @ X = b``, or with ``X @ a = b``; a vector `b` is one column."""
    a = as_matrix("solve", a, square=True)
    if len(b.shape) == 1:
        solved = solve(a, build.expand_dims(b, (1 if left else 0,)), left)
        return build.squeeze(solved, (len(solved.shape) - (1 if left else 2),))
    if not left:
        return _T(solve(_T(a), _T(as_matrix("solve", b))))
    return _solved("solve", matrix.solve, a, b)


def solve_triangular(
    a: Node, b: Node, lower: bool, transposed: bool, left: bool, unit: bool
) -> Node:
    """X with ``a @ X = b`` for a triangular `a`, or its transpose, or on the other side."""
    a = as_matrix("solve_triangular", a, square=True)
    if len(b.shape) == 1:
        column = build.expand_dims(b, (1 if left else 0,))
        solved = solve_triangular(a, column, lower, transposed, left, unit)
        return build.squeeze(solved, (len(solved.shape) - (1 if left else 2),))
    if not left:
        b = _T(as_matrix("solve_triangular", b))
        return _T(solve_triangular(a, b, lower, not transposed, True, unit))
    if transposed:
        a, lower = _T(a), not lower

    def substitute(a: Node, b: Node) -> Node:
        return matrix.triangular_solve(a, b, lower, unit)

    return _solved("solve_triangular", substitute, a, b)


def cholesky_solve(b: Node, factor: Node, upper: bool) -> Node:
    """X with ``A @ X = b``, where A is given by its Cholesky factor."""
    if len(b.shape) == 1:
        solved = cholesky_solve(build.expand_dims(b, (1,)), factor, upper)
        return build.squeeze(solved, (len(solved.shape) - 1,))
    once = solve_triangular(factor, b, not upper, upper, True, False)
    return solve_triangular(factor, once, not upper, not upper, True, False)


def cholesky_inverse(factor: Node, upper: bool) -> Node:
    """The inverse of the matrix that is given by its Cholesky factor."""
    factor = as_matrix("cholesky_inverse", factor, square=True)
    return cholesky_solve(matrix.eye(factor.shape, factor.dtype), factor, upper)


def inv(x: Node) -> Node:
    """The inverse."""
    return matrix.inv(as_matrix("inv", x, square=True))


def default_rtol(x: Node, rtol: Node | None) -> Node:
    """A tolerance for each matrix; by default the larger extent times the dtype's precision."""
    batch = x.shape[:-2]
    if rtol is None:
        m, n = _sizes("the tolerance", x)
        return build.full(batch, max(m, n) * _PRECISION[x.dtype.short], x.dtype)
    return broadcast_to(build.cast(rtol, x.dtype), batch)


def pinv(x: Node, rtol: Node | None, hermitian: bool) -> Node:
    """The pseudoinverse."""
    x = as_matrix("pinv", x, square=hermitian)
    return matrix.pinv(x, default_rtol(x, rtol), hermitian)


# --- determinants ---------------------------------------------------------------------------------


def det(x: Node) -> Node:
    """The determinant."""
    return matrix.det(as_matrix("det", x, square=True))


def slogdet(x: Node) -> tuple[Node, Node]:
    """The sign of the determinant and the logarithm of its magnitude."""
    return matrix.slogdet(as_matrix("slogdet", x, square=True))


def logdet(x: Node) -> Node:
    """The logarithm of the determinant; NaN if it is negative."""
    sign, logarithm = matrix.slogdet(as_matrix("logdet", x, square=True))
    negative = build.lt(sign, build.zeros_like(sign))
    return build.select(negative, build.full_like(sign, math.nan), logarithm)


# --- decompositions -------------------------------------------------------------------------------


def cholesky(x: Node, upper: bool) -> Node:
    """The triangular factor; the same triangle of `x` is read."""
    x = as_matrix("cholesky", x, square=True)
    return _T(matrix.cholesky(_T(x))) if upper else matrix.cholesky(x)


def qr(x: Node, mode: str) -> tuple[Node, Node]:
    """Q and R; `mode` is "reduced" or "complete"."""
    if mode not in ("reduced", "complete"):
        raise ShapeError(
            f"qr has no mode {mode!r}", remedy='the modes are "reduced", "complete" and "r"'
        )
    x = as_matrix("qr", x)
    m, n = _sizes("qr", x)
    if m >= n:
        return matrix.qr(x, mode == "complete")
    # The first columns alone decide on Q, and have a derivative.
    q, r = matrix.qr(_columns(x, 0, m), False)
    return q, build.concat([r, matrix.dot_tn(q, _columns(x, m, n))], len(x.shape) - 1)


def qr_r(x: Node) -> Node:
    """R of the reduced form alone."""
    return qr(x, "reduced")[1]


def lu_factor(x: Node) -> tuple[Node, Node]:
    """L and U in one matrix, and the row that each row was exchanged with."""
    x = as_matrix("lu_factor", x)
    m, n = _sizes("lu_factor", x)
    if m >= n:
        return matrix.lu(x)
    packed, pivots = matrix.lu(_columns(x, 0, m))
    rest = _permuted(_columns(x, m, n), pivots)
    rest = matrix.triangular_solve(packed, rest, True, True)
    return build.concat([packed, rest], len(x.shape) - 1), pivots


def _permuted(x: Node, pivots: Node) -> Node:
    """The rows in the order that the exchanges make."""
    order = matrix.row_order(pivots, x.shape[-2])
    places = build.broadcast(order, x.shape, range(len(x.shape) - 1))
    return build.take_along(x, places, len(x.shape) - 2)


def lu(x: Node) -> tuple[Node, Node, Node]:
    """P, L and U with ``x = P @ L @ U``."""
    packed, pivots = lu_factor(x)
    m, n = _sizes("lu", packed)
    k, ndim = min(m, n), len(packed.shape)
    order = matrix.row_order(pivots, m)
    square = (*order.shape, m)
    row = build.broadcast(build.iota(m, int64), square, (ndim - 2,))
    column = build.broadcast(order, square, (*range(ndim - 2), ndim - 1))
    p = build.cast(build.eq(row, column), packed.dtype)
    left = _columns(packed, 0, k)
    lower = build.add(matrix.lower(left, -1), matrix.eye(left.shape, left.dtype))
    return p, lower, matrix.upper(build.slice_axis(packed, ndim - 2, 0, k))


def lu_solve(packed: Node, pivots: Node, b: Node, left: bool, adjoint: bool) -> Node:
    """X with ``A @ X = b``, where A is given by `lu_factor`."""
    packed = as_matrix("lu_solve", packed, square=True)
    if not pivots.dtype.is_integer or pivots.shape != packed.shape[:-1]:
        raise ShapeError(
            f"lu_solve: factors of shape {show(packed.shape)} with pivots of type {pivots.type}",
            remedy="pass both results of lu_factor",
        )
    if len(b.shape) == 1:
        solved = lu_solve(packed, pivots, build.expand_dims(b, (1,)), left, adjoint)
        return build.squeeze(solved, (len(solved.shape) - 1,))
    if not left:
        return _T(lu_solve(packed, pivots, _T(as_matrix("lu_solve", b)), True, not adjoint))
    packed, b = _system("lu_solve", packed, b)
    pivots = broadcast_to(build.cast(pivots, int32), packed.shape[:-1])
    if not adjoint:
        half = matrix.triangular_solve(packed, _permuted(b, pivots), True, True)
        return matrix.triangular_solve(packed, half, False)
    half = matrix.triangular_solve(_T(packed), b, True)
    half = matrix.triangular_solve(_T(packed), half, False, True)
    order = matrix.row_order(pivots, b.shape[-2])
    places = build.broadcast(order, half.shape, range(len(half.shape) - 1))
    return build.scatter_add_along(half, places, len(half.shape) - 2, half.shape[-2])


def svd(x: Node, full: bool, hermitian: bool = False) -> tuple[Node, Node, Node]:
    """U, S and Vh."""
    x = as_matrix("svd", x, square=hermitian)
    return matrix.svd(_mirrored(x) if hermitian else x, full)


def svdvals(x: Node, hermitian: bool = False) -> Node:
    """The singular values, the largest first."""
    x = as_matrix("svdvals", x, square=hermitian)
    return matrix.svdvals(_mirrored(x) if hermitian else x)


def _mirrored(x: Node) -> Node:
    """The symmetric matrix that the lower triangle says."""
    return build.add(matrix.lower(x), _T(matrix.lower(x, -1)))


def _is_lower(name: str, triangle: str) -> bool:
    if triangle.upper() not in ("L", "U"):
        raise ShapeError(f"{name}: UPLO is {triangle!r}", remedy='UPLO is "L" or "U"')
    return triangle.upper() == "L"


def eigh(x: Node, triangle: str) -> tuple[Node, Node]:
    """Eigenvalues and eigenvectors of a symmetric matrix."""
    lower = _is_lower("eigh", triangle)
    return matrix.eigh(as_matrix("eigh", x, square=True), lower)


def eigvalsh(x: Node, triangle: str) -> Node:
    """Eigenvalues of a symmetric matrix."""
    lower = _is_lower("eigvalsh", triangle)
    return matrix.eigvalsh(as_matrix("eigvalsh", x, square=True), lower)


def eig(x: Node) -> tuple[Node, Node]:
    """Real eigenvalues and eigenvectors."""
    return matrix.eig(as_matrix("eig", x, square=True))


def eigvals(x: Node) -> Node:
    """Real eigenvalues."""
    return matrix.eigvals(as_matrix("eigvals", x, square=True))


def no_elements(x: Node) -> Node:
    """An empty vector of the dtype of `x`."""
    return build.zeros((0,), x.dtype)


# --- functions of matrices and products -----------------------------------------------------------


def expm(x: Node) -> Node:
    """The exponential of a matrix."""
    return matrix.expm(as_matrix("expm", x, square=True))


def matrix_power(x: Node, exponent: int) -> Node:
    """`x` times itself, `exponent` times, by squaring; of the inverse if it is negative."""
    floating = as_matrix("matrix_power", x, square=True)
    if exponent < 0:
        return matrix_power(matrix.inv(floating), -exponent)
    if x.dtype.kind == "bool":
        x = floating
    result: Node | None = None
    while exponent:
        if exponent & 1:
            result = x if result is None else matmul(result, x)
        exponent >>= 1
        if exponent:
            x = matmul(x, x)
    return matrix.eye(x.shape, x.dtype) if result is None else result


def multi_dot(arrays: Sequence[Node]) -> Node:
    """The product of several matrices in the cheapest order; the ends may be vectors."""
    count = len(arrays)
    if count < 2:
        raise ShapeError("multi_dot needs two arrays or more", remedy="pass a list of arrays")
    first, last = arrays[0], arrays[-1]
    for place, array in enumerate(arrays):
        inner = 0 < place < count - 1
        if len(array.shape) != 2 and (inner or len(array.shape) != 1):
            raise MatrixShapeError(
                f"multi_dot: array {place} has shape {show(array.shape)}",
                remedy="all are matrices; the first and the last one may be vectors",
            )
    chain = list(arrays)
    if len(first.shape) == 1:
        chain[0] = build.expand_dims(first, (0,))
    if len(last.shape) == 1:
        chain[-1] = build.expand_dims(last, (1,))
    extents = [chain[0].shape[0], *(array.shape[1] for array in chain)]
    result = _chain(chain, _best_splits(extents), 0, count - 1)
    gone = [axis for axis, end in enumerate((first, last)) if len(end.shape) == 1]
    return build.squeeze(result, gone)


def _best_splits(extents: Sequence[Extent]) -> dict[tuple[int, int], int]:
    """Where to cut each part of a chain of matrices, so that the multiplications are fewest."""
    sizes = [e if isinstance(e, int) else 1 for e in extents]
    count = len(sizes) - 1
    cost = {(i, i): 0 for i in range(count)}
    split: dict[tuple[int, int], int] = {}
    for length in range(1, count):
        for i in range(count - length):
            j = i + length
            options = [
                cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1]
                for k in range(i, j)
            ]
            cost[i, j] = min(options)
            split[i, j] = i + options.index(cost[i, j])
    return split


def _chain(arrays: Sequence[Node], split: dict[tuple[int, int], int], i: int, j: int) -> Node:
    if i == j:
        return arrays[i]
    k = split[i, j]
    return matmul(_chain(arrays, split, i, k), _chain(arrays, split, k + 1, j))
