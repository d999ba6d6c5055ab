"""Decompositions of matrices: Cholesky, QR, LU, singular values and eigenvalues.

Their code is NumPy's LAPACK: compiled programs call it. The derivatives are the well-known ones;
where singular values or eigenvalues are equal, vectors have none, and it is NaN.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, final

import numpy as np

from ..codegen.dtypes import float32, int32, int64
from ..codegen.records import dataclass
from ..errors import NotDifferentiableError
from ..ir.node import where
from ..ir.types import TupleType
from . import build
from . import build_matrix as matrix
from .base import (
    Array,
    Extent,
    InputSpec,
    Node,
    Sample,
    TensorType,
    Type,
    dtype_error,
    op_class,
    shape_error,
)
from .matrix import COMPLEX, MatrixOp, check_matrix, check_square, smaller
from .matrix_numeric import finite, order_of_rows, pivoted_lu

__all__ = [
    "LU",
    "QR",
    "Cholesky",
    "Eig",
    "Eigenvalues",
    "Eigh",
    "RowOrder",
    "SingularValues",
    "Svd",
    "SymmetricEigenvalues",
]

Cotangents = tuple[Node | None, ...]

_SQUARE: tuple[tuple[int, ...], ...] = ((3, 3), (1, 1), (2, 3, 3), (0, 0), (0, 2, 2))
_ANY: tuple[tuple[int, ...], ...] = (
    *((3, 3), (4, 2), (2, 4), (1, 1), (2, 3, 2), (2, 2, 3)),
    *((0, 3), (3, 0), (0, 2, 2)),
)
_T = build.matrix_transpose


def _samples(op: MatrixOp, shapes: tuple[tuple[int, ...], ...], gradient: bool) -> Iterator[Sample]:
    for shape in shapes:
        yield Sample(op, (InputSpec(shape),), gradient)
    yield Sample(op, (InputSpec((3, 3), float32),), gradient=False)


def _symmetric_samples(op: MatrixOp) -> Iterator[Sample]:
    # Differences along a direction that is not symmetric are no derivatives: tests of their own.
    for shape in _SQUARE:
        yield Sample(op, (InputSpec(shape, form="definite"),), gradient=False)
    yield Sample(op, (InputSpec((3, 3), float32, form="definite"),), gradient=False)


def _vector(matrices: TensorType, extent: Extent) -> TensorType:
    return TensorType((*matrices.shape[:-2], extent), matrices.dtype)


def _sized(matrices: TensorType, m: Extent, n: Extent) -> TensorType:
    return TensorType((*matrices.shape[:-2], m, n), matrices.dtype)


def _columns(values: Node, like: Node) -> Node:
    """A number for each column, repeated over the rows."""
    ndim = len(like.shape)
    return build.broadcast(values, like.shape, (*range(ndim - 2), ndim - 1))


def _rows(values: Node, like: Node) -> Node:
    """A number for each row, repeated over the columns."""
    return build.broadcast(values, like.shape, range(len(like.shape) - 1))


def _sum(terms: list[Node]) -> Node:
    total = terms[0]
    for term in terms[1:]:
        total = build.add(total, term)
    return total


def _over_gaps(numerator: Node, gaps: Node) -> Node:
    """``numerator / gaps`` off the diagonal, 0 on it, and NaN where a gap is closed."""
    diagonal = matrix.identity_mask(gaps.shape)
    closed = build.eq(gaps, build.zeros_like(gaps))
    gaps = build.select(closed, build.full_like(gaps, float("nan")), gaps)
    gaps = build.select(diagonal, build.ones_like(gaps), gaps)
    return build.select(diagonal, build.zeros_like(gaps), build.div(numerator, gaps))


def _right_divided(x: Node, triangle: Node, lower: bool) -> Node:
    """``x @ inv(triangle).mT``."""
    return _T(matrix.triangular_solve(triangle, _T(x), lower))


@op_class("cholesky")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Cholesky(MatrixOp):
    """The lower triangular L with ``a = L @ L.mT``; the lower triangle of `a` is read.

    The derivative is that along symmetric changes.
    """

    name: ClassVar[str] = "cholesky"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return types[0]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.linalg.cholesky(*arrays))

    def vjp(self, node: Node, cotangent: Node) -> Cotangents:
        product = matrix.lower(matrix.dot_tn(node, matrix.lower(cotangent)))
        diagonal = matrix.identity_mask(product.shape)
        halved = build.select(diagonal, matrix.half(product), product)
        left = matrix.triangular_solve(_T(node), halved, False)
        return (matrix.symmetrised(_T(matrix.triangular_solve(_T(node), _T(left), False))),)

    def samples(self) -> Iterator[Sample]:
        return _symmetric_samples(self)


@op_class("qr", False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class QR(MatrixOp):
    """Q with orthonormal columns and an upper triangular R with ``a = Q @ R``.

    Attributes
    ----------
    complete : bool
        Q is square, and R has the shape of the matrix.
    """

    complete: bool
    name: ClassVar[str] = "qr"

    def infer(self, *types: TensorType) -> Type:
        check_matrix(self.name, *types)
        (a,) = types
        m, n = a.shape[-2:]
        inner = m if self.complete else smaller(self.name, a)
        return TupleType((_sized(a, m, inner), _sized(a, inner, n)))

    def compute(self, *arrays: Array) -> tuple[Array, Array]:
        q, r = np.linalg.qr(arrays[0], "complete" if self.complete else "reduced")
        return q, r

    def vjp_of_results(self, node: Node, cotangents: Cotangents) -> Cotangents:
        q, r = build.item(node, 0), build.item(node, 1)
        if q.shape[-1] != r.shape[-1]:
            raise NotDifferentiableError(
                "qr of a matrix with more columns than rows, or complete with more rows than "
                "columns, has no derivative",
                where=where(node),
                remedy='use mode="reduced"',
            )
        by_q, by_r = cotangents
        terms = []
        if by_r is not None:
            terms.append(build.dot(r, _T(matrix.upper(by_r))))
        if by_q is not None:
            terms.append(build.neg(matrix.dot_tn(by_q, q)))
        inner = _sum(terms)
        mirrored = build.add(matrix.lower(inner), _T(matrix.lower(inner, -1)))
        outer = build.dot(q, mirrored)
        if by_q is not None:
            outer = build.add(by_q, outer)
        return (_right_divided(outer, r, False),)

    def samples(self) -> Iterator[Sample]:
        for shape in _ANY:
            tall = shape[-2] >= shape[-1]
            yield Sample(QR(False), (InputSpec(shape),), gradient=tall)
            yield Sample(QR(True), (InputSpec(shape),), gradient=shape[-2] == shape[-1])
        yield Sample(QR(False), (InputSpec((3, 2), float32),))


@op_class("lu")
@final
@dataclass(frozen=True, eq=False, repr=False)
class LU(MatrixOp):
    """L without its unit diagonal and U in one matrix, and the exchange of each row, in order.

    The derivative exists for matrices with at least as many rows as columns.
    """

    name: ClassVar[str] = "lu"

    def infer(self, *types: TensorType) -> Type:
        check_matrix(self.name, *types)
        (a,) = types
        return TupleType((a, TensorType((*a.shape[:-2], smaller(self.name, a)), int32)))

    def compute(self, *arrays: Array) -> tuple[Array, Array]:
        return pivoted_lu(*arrays)

    def vjp_of_results(self, node: Node, cotangents: Cotangents) -> Cotangents:
        (a,) = node.inputs
        cotangent, packed, ndim = cotangents[0], build.item(node, 0), len(a.shape)
        m, n = a.shape[-2:]
        if cotangent is None:
            return (None,)
        if not isinstance(m, int) or not isinstance(n, int) or m < n:
            raise NotDifferentiableError(
                "lu of a matrix with more columns than rows has no derivative",
                where=where(node),
                remedy="decompose its first columns, and solve for the others",
            )
        top, by_top = (build.slice_axis(x, ndim - 2, 0, n) for x in (packed, cotangent))
        by_upper = matrix.upper(by_top)
        parts = []
        if m > n:
            below, by_below = (build.slice_axis(x, ndim - 2, n, m) for x in (packed, cotangent))
            parts.append(_right_divided(by_below, top, False))
            by_upper = build.sub(by_upper, matrix.upper(matrix.dot_tn(below, parts[0])))
        unit = build.add(matrix.lower(top, -1), matrix.eye(top.shape, top.dtype))
        inner = build.add(
            matrix.lower(matrix.dot_tn(unit, matrix.lower(by_top, -1)), -1),
            matrix.upper(build.dot(by_upper, _T(matrix.upper(top)))),
        )
        left = matrix.triangular_solve(_T(unit), inner, False, True)
        parts.insert(0, _right_divided(left, top, False))
        ordered = build.concat(parts, ndim - 2)
        order = matrix.row_order(build.item(node, 1), m)
        places = build.broadcast(order, a.shape, range(ndim - 1))
        return (build.scatter_add_along(ordered, places, ndim - 2, m),)

    def samples(self) -> Iterator[Sample]:
        for shape in _ANY:
            yield Sample(self, (InputSpec(shape),), gradient=shape[-2] >= shape[-1])
        yield Sample(self, (InputSpec((3, 3), float32),))


@op_class("row_order", 1)
@final
@dataclass(frozen=True, eq=False, repr=False)
class RowOrder(MatrixOp):
    """The order of rows that exchanges make: row i with row ``pivots[i]``, for i = 0, 1, ...

    Attributes
    ----------
    rows : int
    """

    rows: Extent
    name: ClassVar[str] = "row_order"

    def infer(self, *types: TensorType) -> TensorType:
        (pivots,) = types
        if not pivots.dtype.is_integer:
            dtype_error(self.name, types, "the pivots are no integers", "take those of lu_factor")
        if not pivots.shape:
            shape_error(self.name, types, "the pivots have no axis", "take those of lu_factor")
        return TensorType((*pivots.shape[:-1], self.rows), int64)

    def compute(self, *arrays: Array) -> Array:
        assert isinstance(self.rows, int)
        return order_of_rows(arrays[0], self.rows)

    def vjp(self, node: Node, cotangent: Node) -> Cotangents:
        return (None,)

    def samples(self) -> Iterator[Sample]:
        for rows, shape in ((4, (3,)), (3, (2, 3)), (2, (0,)), (0, (0,))):
            yield Sample(RowOrder(rows), (InputSpec(shape, int32, 0, 3),))


@op_class("svd", False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Svd(MatrixOp):
    """U, S and Vh with ``a = U @ diag(S) @ Vh``.

    Attributes
    ----------
    full : bool
        U and Vh are square.
    """

    full: bool
    name: ClassVar[str] = "svd"

    def infer(self, *types: TensorType) -> Type:
        check_matrix(self.name, *types)
        (a,) = types
        m, n = a.shape[-2:]
        k = smaller(self.name, a)
        rows, columns = (m, n) if self.full else (k, k)
        return TupleType((_sized(a, m, rows), _vector(a, k), _sized(a, columns, n)))

    def compute(self, *arrays: Array) -> tuple[Array, ...]:
        return tuple(np.linalg.svd(finite(arrays[0]), full_matrices=self.full))

    def vjp_of_results(self, node: Node, cotangents: Cotangents) -> Cotangents:
        by_u, by_s, by_vh = cotangents
        if by_u is None and by_vh is None:
            assert by_s is not None
            return (_by_singular_values(node.inputs[0], by_s),)
        u, s, vh = (build.item(node, i) for i in range(3))
        m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
        if self.full and m != n:
            raise NotDifferentiableError(
                "the singular vectors of full_matrices=True have no derivative: those that belong "
                "to no singular value are not determined",
                where=where(node),
                remedy="use full_matrices=False",
            )
        across = build.broadcast(s, (*s.shape, k), range(len(s.shape)))
        along = _T(across)
        gaps = build.mul(build.sub(along, across), build.add(along, across))
        inner, outer = [], []
        if by_s is not None:
            inner.append(matrix.diagonal_matrix(by_s))
        if by_u is not None:
            turn = matrix.dot_tn(u, by_u)
            inner.append(build.mul(_over_gaps(build.sub(turn, _T(turn)), gaps), along))
            if m != k:
                rest = build.sub(by_u, build.dot(u, turn))
                outer.append(build.dot(build.div(rest, _columns(s, rest)), vh))
        if by_vh is not None:
            turn = build.dot(vh, _T(by_vh))
            inner.append(build.mul(across, _over_gaps(build.sub(turn, _T(turn)), gaps)))
            if n != k:
                rest = build.sub(by_vh, build.dot(_T(turn), vh))
                outer.append(build.dot(u, build.div(rest, _rows(s, rest))))
        return (_sum([build.dot(build.dot(u, _sum(inner)), vh), *outer]),)

    def samples(self) -> Iterator[Sample]:
        for shape in _ANY:
            yield Sample(Svd(False), (InputSpec(shape),))
            yield Sample(Svd(True), (InputSpec(shape),), gradient=shape[-2] == shape[-1])
        yield Sample(Svd(False), (InputSpec((3, 2), float32),))


def _by_singular_values(a: Node, cotangent: Node) -> Node:
    """What the cotangent of the singular values is for the matrix; equal ones do no harm."""
    u, _, vh = matrix.svd(a, False)
    return build.dot(build.mul(u, _columns(cotangent, u)), vh)


@op_class("svdvals")
@final
@dataclass(frozen=True, eq=False, repr=False)
class SingularValues(MatrixOp):
    """The singular values, the largest first."""

    name: ClassVar[str] = "svdvals"

    def infer(self, *types: TensorType) -> TensorType:
        check_matrix(self.name, *types)
        return _vector(types[0], smaller(self.name, types[0]))

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.linalg.svd(finite(arrays[0]), compute_uv=False))

    def vjp(self, node: Node, cotangent: Node) -> Cotangents:
        return (_by_singular_values(node.inputs[0], cotangent),)

    def samples(self) -> Iterator[Sample]:
        return _samples(self, _ANY, True)


@op_class("eigh", True)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Eigh(MatrixOp):
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix.

    The derivative is that along symmetric changes.

    Attributes
    ----------
    lower : bool
        Which triangle is read.
    """

    lower: bool
    name: ClassVar[str] = "eigh"

    def infer(self, *types: TensorType) -> Type:
        check_square(self.name, *types)
        (a,) = types
        return TupleType((_vector(a, a.shape[-1]), a))

    def compute(self, *arrays: Array) -> tuple[Array, Array]:
        values, vectors = np.linalg.eigh(finite(arrays[0]), "L" if self.lower else "U")
        return values, vectors

    def vjp_of_results(self, node: Node, cotangents: Cotangents) -> Cotangents:
        by_values, by_vectors = cotangents
        values, vectors = build.item(node, 0), build.item(node, 1)
        inner = []
        if by_values is not None:
            inner.append(matrix.diagonal_matrix(by_values))
        if by_vectors is not None:
            turn = matrix.dot_tn(vectors, by_vectors)
            across = _rows(values, turn)
            inner.append(_over_gaps(turn, build.sub(_T(across), across)))
        full = build.dot(build.dot(vectors, _sum(inner)), _T(vectors))
        return (matrix.symmetrised(full),)

    def samples(self) -> Iterator[Sample]:
        yield from _symmetric_samples(self)
        yield from _symmetric_samples(Eigh(not self.lower))


@op_class("eigvalsh", True)
@final
@dataclass(frozen=True, eq=False, repr=False)
class SymmetricEigenvalues(MatrixOp):
    """The eigenvalues of a symmetric matrix, ascending.

    Attributes
    ----------
    lower : bool
        Which triangle is read.
    """

    lower: bool
    name: ClassVar[str] = "eigvalsh"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return _vector(types[0], types[0].shape[-1])

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.linalg.eigvalsh(finite(arrays[0]), "L" if self.lower else "U"))

    def vjp(self, node: Node, cotangent: Node) -> Cotangents:
        _, vectors = matrix.eigh(node.inputs[0], self.lower)
        scaled = build.mul(vectors, _columns(cotangent, vectors))
        return (build.dot(scaled, _T(vectors)),)

    def samples(self) -> Iterator[Sample]:
        return _symmetric_samples(self)


def _real(*arrays: Array) -> tuple[Array, ...]:
    if any(np.iscomplexobj(array) for array in arrays):
        raise np.linalg.LinAlgError(COMPLEX)
    return arrays


@op_class("eig")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Eig(MatrixOp):
    """Eigenvalues, which must be real, and eigenvectors of a square matrix."""

    name: ClassVar[str] = "eig"

    def infer(self, *types: TensorType) -> Type:
        check_square(self.name, *types)
        (a,) = types
        return TupleType((_vector(a, a.shape[-1]), a))

    def compute(self, *arrays: Array) -> tuple[Array, ...]:
        return _real(*np.linalg.eig(finite(arrays[0])))

    def vjp_of_results(self, node: Node, cotangents: Cotangents) -> Cotangents:
        by_values, by_vectors = cotangents
        values, vectors = build.item(node, 0), build.item(node, 1)
        inner = []
        if by_values is not None:
            inner.append(matrix.diagonal_matrix(by_values))
        if by_vectors is not None:
            turn = matrix.dot_tn(vectors, by_vectors)
            # Vectors have length 1: changes along themselves do not count.
            own = build.select(matrix.identity_mask(turn.shape), turn, build.zeros_like(turn))
            free = build.sub(turn, build.dot(matrix.dot_tn(vectors, vectors), own))
            across = _rows(values, turn)
            inner.append(_over_gaps(free, build.sub(_T(across), across)))
        turned = _T(vectors)
        return (matrix.solve(turned, build.dot(_sum(inner), turned)),)

    def samples(self) -> Iterator[Sample]:
        return _symmetric_samples(self)


@op_class("eigvals")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Eigenvalues(MatrixOp):
    """The eigenvalues of a square matrix, which must be real."""

    name: ClassVar[str] = "eigvals"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return _vector(types[0], types[0].shape[-1])

    def compute(self, *arrays: Array) -> Array:
        return _real(np.linalg.eigvals(finite(arrays[0])))[0]

    def vjp(self, node: Node, cotangent: Node) -> Cotangents:
        _, vectors = matrix.eig(node.inputs[0])
        turned = _T(vectors)
        scaled = build.mul(turned, _rows(cotangent, turned))
        return (matrix.solve(turned, scaled),)

    def samples(self) -> Iterator[Sample]:
        return _symmetric_samples(self)
