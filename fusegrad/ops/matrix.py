"""What the ops of linear algebra share: matrices over leading batch axes, and matrices that fail.

Knows no concrete op.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..codegen.dtypes import as_dtype
from ..errors import LinAlgError
from ..ir.types import Symbol, TupleType
from .base import Array, CallOp, Extent, Node, TensorType, dtype_error, shape_error
from .batch import spread

__all__ = ["COMPLEX", "MatrixOp", "check_floating", "check_matrix", "check_square", "smaller"]

REMEDIES = {
    "Singular matrix": "add a small multiple of the identity, or use fg.linalg.pinv or lstsq",
    "Matrix is not positive definite": "make it symmetric, and add a small multiple of the "
    "identity, or use fg.linalg.eigh",
}
COMPLEX = "The matrix has complex eigenvalues, and there are no complex dtypes"
REMEDIES[COMPLEX] = "use numpy.linalg.eig(x.numpy()), or fg.linalg.eigh for symmetric matrices"
_OTHER = "check the matrix for NaN and infinities"


class MatrixOp(CallOp):
    """An op on matrices: the last two axes of its operands; all axes before them are a batch."""

    @abstractmethod
    def compute(self, *arrays: Array) -> Any:
        """The results, or NumPy's LinAlgError if one of the matrices has none."""

    def ref(self, *arrays: Array) -> Any:
        try:
            return self.compute(*arrays)
        except np.linalg.LinAlgError as error:
            text = str(error)
            raise LinAlgError(
                f"{self.name}: {text[:1].lower() if text[1:2].islower() else text[:1]}{text[1:]}",
                where=None,
                remedy=REMEDIES.get(text, _OTHER),
            ) from None

    def call(self, *arrays: Array) -> Any:
        """As `ref`, with NaN for the matrices of the batch that have no result."""
        try:
            return self.compute(*arrays)
        except np.linalg.LinAlgError:
            return self._one_by_one(arrays)

    def _one_by_one(self, arrays: Sequence[Array]) -> Any:
        kind = self.infer(*[TensorType(a.shape, as_dtype(a.dtype)) for a in arrays])
        several = isinstance(kind, TupleType)
        types = kind.items if isinstance(kind, TupleType) else (kind,)
        results = [_nan(t) for t in types]
        for index in np.ndindex(arrays[0].shape[:-2]):
            try:
                found = self.compute(*[a[index] for a in arrays])
            except np.linalg.LinAlgError:
                continue
            for result, value in zip(results, found if several else (found,), strict=True):
                result[index] = value
        return tuple(results) if several else results[0]

    def batch(self, node: Node, operands: Sequence[Node], batched: Sequence[bool]) -> Node:
        return Node(self, tuple(spread(operands, batched)))


def _nan(kind: TensorType) -> Array:
    shape: tuple[int, ...] = kind.shape  # type: ignore[assignment]
    return np.full(shape, np.nan, kind.dtype.numpy)


def check_floating(op: str, types: Sequence[TensorType]) -> None:
    """All operands must have one floating dtype."""
    if not all(t.dtype.is_float and t.dtype is types[0].dtype for t in types):
        dtype_error(op, types, "it takes floats of one dtype", "convert with .astype('float32')")


def check_matrix(op: str, *types: TensorType) -> None:
    """All operands must be floating matrices over equal batch axes."""
    check_floating(op, types)
    for t in types:
        if len(t.shape) < 2 or t.shape[:-2] != types[0].shape[:-2]:
            shape_error(
                op,
                types,
                "the operands are no matrices over equal batch axes",
                "the last two axes are the matrix",
            )


def check_square(op: str, matrix: TensorType) -> None:
    """The operand must be a square floating matrix."""
    check_matrix(op, matrix)
    if matrix.shape[-1] != matrix.shape[-2]:
        shape_error(
            op,
            (matrix,),
            "the matrix is not square",
            "the last two axes must have one extent; for others there are pinv, svd and qr",
        )


def smaller(op: str, matrix: TensorType) -> Extent:
    """The smaller extent of a matrix."""
    m, n = matrix.shape[-2:]
    if m == n:
        return m
    if isinstance(m, Symbol) or isinstance(n, Symbol):
        shape_error(op, (matrix,), "its size must be known", "fix the last two extents")
    return min(m, n)
