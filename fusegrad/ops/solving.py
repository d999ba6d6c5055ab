"""Systems of equations, inverses, determinants and the exponential of matrices.

Their code is NumPy's LAPACK: compiled programs call it. Operands have equal batch axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, final

import numpy as np

from ..codegen.dtypes import float32
from ..codegen.records import dataclass
from ..ir.types import TupleType
from . import build
from . import build_matrix as matrix
from .base import (
    Array,
    InputSpec,
    Node,
    Sample,
    TensorType,
    Type,
    op_class,
    shape_error,
)
from .matrix import MatrixOp, check_floating, check_matrix, check_square
from .matrix_numeric import cofactors, cofactors_along, exponential, finite, substitution

__all__ = [
    "Cofactor",
    "CofactorDerivative",
    "Determinant",
    "Exponential",
    "ExponentialDerivative",
    "Inverse",
    "LogDeterminant",
    "PseudoInverse",
    "Solve",
    "TriangularSolve",
]

_SQUARE: tuple[tuple[int, ...], ...] = ((3, 3), (1, 1), (2, 4, 4), (0, 0), (0, 2, 2))
_SYSTEMS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((3, 3), (3, 2)),
    ((1, 1), (1, 1)),
    ((2, 4, 4), (2, 4, 3)),
    ((0, 0), (0, 2)),
    ((3, 3), (3, 0)),
)
_T = build.matrix_transpose


def _square_samples(op: MatrixOp, form: str = "regular") -> Iterator[Sample]:
    for shape in _SQUARE:
        yield Sample(op, (InputSpec(shape, form=form),))
    yield Sample(op, (InputSpec((3, 3), float32, form=form),))


def _system_samples(op: MatrixOp) -> Iterator[Sample]:
    for a, b in _SYSTEMS:
        yield Sample(op, (InputSpec(a, form="regular"), InputSpec(b)))
    yield Sample(op, (InputSpec((3, 3), float32, form="regular"), InputSpec((3, 1), float32)))


def _check_system(op: str, a: TensorType, b: TensorType) -> TensorType:
    check_square(op, a)
    check_matrix(op, a, b)
    if a.shape[-1] != b.shape[-2]:
        shape_error(
            op,
            (a, b),
            f"the matrix has {a.shape[-1]} rows, the right-hand side {b.shape[-2]}",
            "both need the same number of rows",
        )
    return b


def _over_matrices(values: Node, like: Node) -> Node:
    """One number for each matrix, repeated over its elements."""
    return build.broadcast(values, like.shape, range(len(values.shape)))


@op_class("triangular_solve", True, False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class TriangularSolve(MatrixOp):
    """X with ``a @ X = b`` for a triangular `a`, whose other triangle is not read.

    Attributes
    ----------
    lower : bool
        Which triangle.
    unit : bool
        The diagonal is taken as ones.
    """

    lower: bool
    unit: bool
    name: ClassVar[str] = "triangular_solve"

    def infer(self, *types: TensorType) -> TensorType:
        return _check_system(self.name, *types)

    def compute(self, *arrays: Array) -> Array:
        return substitution(arrays[0], arrays[1], self.lower, self.unit)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        a, _ = node.inputs
        right = matrix.triangular_solve(_T(a), cotangent, not self.lower, self.unit)
        full = build.neg(build.dot(right, _T(node)))
        triangle = matrix.lower(full, -self.unit) if self.lower else matrix.upper(full, self.unit)
        return triangle, right

    def samples(self) -> Iterator[Sample]:
        for lower in (True, False):
            yield from _system_samples(TriangularSolve(lower, False))
        yield from _system_samples(TriangularSolve(True, True))


@op_class("solve")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Solve(MatrixOp):
    """X with ``a @ X = b``."""

    name: ClassVar[str] = "solve"

    def infer(self, *types: TensorType) -> TensorType:
        return _check_system(self.name, *types)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.linalg.solve(*arrays))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        a, _ = node.inputs
        right = matrix.solve(_T(a), cotangent)
        return build.neg(build.dot(right, _T(node))), right

    def samples(self) -> Iterator[Sample]:
        return _system_samples(self)


@op_class("inv", True)
@final
@dataclass(frozen=True, eq=False, repr=False)
class Inverse(MatrixOp):
    """The inverse.

    Attributes
    ----------
    checked : bool
        Whether a singular matrix is an error where the value is looked at; else it gives NaN.
    """

    checked: bool
    name: ClassVar[str] = "inv"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return types[0]

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.linalg.inv(*arrays))

    def ref(self, *arrays: Array) -> Any:
        return super().ref(*arrays) if self.checked else self.call(*arrays)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        turned = _T(node)
        return (build.neg(build.dot(build.dot(turned, cotangent), turned)),)

    def samples(self) -> Iterator[Sample]:
        yield from _square_samples(Inverse(True))
        yield from _square_samples(Inverse(False))


@op_class("det")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Determinant(MatrixOp):
    """The determinant. Its derivatives exist for singular matrices too."""

    name: ClassVar[str] = "det"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return TensorType(types[0].shape[:-2], types[0].dtype)

    def compute(self, *arrays: Array) -> Array:
        return np.asarray(np.linalg.det(*arrays))

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        (a,) = node.inputs
        return (build.mul(_over_matrices(cotangent, a), matrix.cofactor(a)),)

    def samples(self) -> Iterator[Sample]:
        return _square_samples(self)


@op_class("cofactor")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Cofactor(MatrixOp):
    """The matrix of cofactors: the derivative of the determinant."""

    name: ClassVar[str] = "cofactor"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return types[0]

    def compute(self, *arrays: Array) -> Array:
        return cofactors(*arrays)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        # The second derivative of the determinant is symmetric.
        return (matrix.cofactor_derivative(node.inputs[0], cotangent),)

    def samples(self) -> Iterator[Sample]:
        return _square_samples(self)


@op_class("cofactor_derivative")
@final
@dataclass(frozen=True, eq=False, repr=False)
class CofactorDerivative(MatrixOp):
    """The second derivative of the determinant along a direction, which it is linear in."""

    name: ClassVar[str] = "cofactor_derivative"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, types[0])
        if types[0] is not types[1]:
            shape_error(self.name, types, "the types differ", "the direction is like the matrix")
        return types[0]

    def compute(self, *arrays: Array) -> Array:
        return cofactors_along(*arrays)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        """By the matrix: det (ab - c) differentiated, where N = inv(A), G the direction, H the
        cotangent, a = tr(NG), b = tr(NH) and c = tr(NGNH). It needs a regular matrix.
        """
        a, direction = node.inputs
        n = matrix.inv(a)
        g, h = build.dot(n, direction), build.dot(n, cotangent)
        first, second = matrix.trace(g), matrix.trace(h)
        product = build.dot(g, h)
        inner = build.sub(build.mul(first, second), matrix.trace(product))
        total = build.mul(_over_matrices(inner, a), n)
        total = build.sub(total, build.mul(_over_matrices(second, a), build.dot(g, n)))
        total = build.sub(total, build.mul(_over_matrices(first, a), build.dot(h, n)))
        total = build.add(total, build.dot(product, n))
        total = build.add(total, build.dot(build.dot(h, g), n))
        by_matrix = build.mul(_over_matrices(matrix.det(a), a), _T(total))
        return by_matrix, matrix.cofactor_derivative(a, cotangent)

    def samples(self) -> Iterator[Sample]:
        for shape in _SQUARE:
            yield Sample(self, (InputSpec(shape, form="regular"), InputSpec(shape)))


@op_class("slogdet")
@final
@dataclass(frozen=True, eq=False, repr=False)
class LogDeterminant(MatrixOp):
    """The sign of the determinant, and the logarithm of its magnitude."""

    name: ClassVar[str] = "slogdet"

    def infer(self, *types: TensorType) -> Type:
        check_square(self.name, *types)
        kind = TensorType(types[0].shape[:-2], types[0].dtype)
        return TupleType((kind, kind))

    def compute(self, *arrays: Array) -> tuple[Array, Array]:
        sign, logarithm = np.linalg.slogdet(*arrays)
        return np.asarray(sign), np.asarray(logarithm)

    def vjp_of_results(
        self, node: Node, cotangents: tuple[Node | None, ...]
    ) -> tuple[Node | None, ...]:
        (a,) = node.inputs
        _, cotangent = cotangents
        if cotangent is None:
            return (None,)
        return (build.mul(_over_matrices(cotangent, a), _T(matrix.inv(a))),)

    def samples(self) -> Iterator[Sample]:
        return _square_samples(self)


@op_class("pinv", False)
@final
@dataclass(frozen=True, eq=False, repr=False)
class PseudoInverse(MatrixOp):
    """The pseudoinverse, where singular values up to a fraction of the largest count as zero.

    The second operand is that fraction, one for each matrix. The derivative holds where the rank
    stays the same.

    Attributes
    ----------
    hermitian : bool
        The matrix is symmetric, and its lower triangle alone is read.
    """

    hermitian: bool
    name: ClassVar[str] = "pinv"

    def infer(self, *types: TensorType) -> TensorType:
        a, rtol = types
        check_matrix(self.name, a)
        check_floating(self.name, types)
        if self.hermitian:
            check_square(self.name, a)
        if rtol.shape != a.shape[:-2]:
            shape_error(self.name, types, "the batch axes differ", "give one rtol for each matrix")
        return TensorType((*a.shape[:-2], a.shape[-1], a.shape[-2]), a.dtype)

    def compute(self, *arrays: Array) -> Array:
        a, rtol = arrays
        found = np.linalg.pinv(finite(a), rcond=rtol, hermitian=self.hermitian)
        return np.asarray(found, a.dtype)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        a, _ = node.inputs
        p, turned, g = node, _T(node), _T(cotangent)
        total = build.neg(build.dot(build.dot(turned, cotangent), turned))
        # g p = (cotangent.mT p): the parts outside of the range of the matrix and of its rows.
        left = build.dot(g, build.dot(p, turned))
        total = build.add(total, build.sub(left, build.dot(a, build.dot(p, left))))
        right = build.dot(build.dot(turned, p), g)
        total = build.add(total, build.sub(right, build.dot(build.dot(right, p), a)))
        return (matrix.symmetrised(total) if self.hermitian else total), None

    def samples(self) -> Iterator[Sample]:
        cutoff = 1e-6
        for shape in ((3, 3), (4, 2), (2, 4), (1, 1), (2, 3, 2), (0, 3), (3, 0), (2, 0, 0)):
            rtol = InputSpec(shape[:-2], low=cutoff, high=cutoff)
            yield Sample(PseudoInverse(False), (InputSpec(shape), rtol))
        single = InputSpec((3, 3), float32), InputSpec((), float32, low=cutoff, high=cutoff)
        yield Sample(PseudoInverse(False), single)
        symmetric = InputSpec((3, 3), form="definite"), InputSpec((), low=cutoff, high=cutoff)
        yield Sample(PseudoInverse(True), symmetric, gradient=False)


@op_class("expm")
@final
@dataclass(frozen=True, eq=False, repr=False)
class Exponential(MatrixOp):
    """The exponential of a matrix."""

    name: ClassVar[str] = "expm"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, *types)
        return types[0]

    def compute(self, *arrays: Array) -> Array:
        return exponential(*arrays)

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        return (matrix.expm_derivative(_T(node.inputs[0]), cotangent),)

    def samples(self) -> Iterator[Sample]:
        return _square_samples(self, form="")


@op_class("expm_derivative")
@final
@dataclass(frozen=True, eq=False, repr=False)
class ExponentialDerivative(MatrixOp):
    """The derivative of the exponential of a matrix along a direction, which it is linear in.

    It is the corner of the exponential of a triangle of blocks, [[a, direction], [0, a]].
    """

    name: ClassVar[str] = "expm_derivative"

    def infer(self, *types: TensorType) -> TensorType:
        check_square(self.name, types[0])
        if types[0] is not types[1]:
            shape_error(self.name, types, "the types differ", "the direction is like the matrix")
        return types[0]

    def compute(self, *arrays: Array) -> Array:
        a, direction = arrays
        count = a.shape[-1]
        top = np.concatenate([a, direction], -1)
        bottom = np.concatenate([np.zeros_like(a), a], -1)
        return exponential(np.concatenate([top, bottom], -2))[..., :count, count:]

    def vjp(self, node: Node, cotangent: Node) -> tuple[Node | None, ...]:
        a, direction = node.inputs
        rows, columns = len(a.shape) - 2, len(a.shape) - 1
        count = a.shape[-1]
        assert isinstance(count, int)
        zero = build.zeros_like(a)
        top = build.concat([a, direction], columns)
        blocks = build.concat([top, build.concat([zero, a], columns)], rows)
        corner = build.concat([zero, cotangent], columns)
        corner = build.concat([corner, build.concat([zero, zero], columns)], rows)
        full = matrix.expm_derivative(_T(blocks), corner)
        first = build.slice_axis(build.slice_axis(full, rows, 0, count), columns, 0, count)
        second = build.slice_axis(full, rows, count, 2 * count)
        second = build.slice_axis(second, columns, count, 2 * count)
        return build.add(first, second), matrix.expm_derivative(_T(a), cotangent)

    def samples(self) -> Iterator[Sample]:
        for shape in _SQUARE:
            yield Sample(self, (InputSpec(shape), InputSpec(shape)))
