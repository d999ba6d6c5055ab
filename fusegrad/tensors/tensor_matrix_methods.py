"""The methods of a Tensor that take it as a matrix or a vector.

Knows the functions on nodes that they record. Each method is the function of ``fg`` with the same
name.
"""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from ..codegen.dtypes import as_dtype
from ..ir.node import Node
from ..semantics import diagonals, matrices, norms, reductions
from .tensor_methods import Axis, pick_axis, pick_keepdims
from .tensor_order_methods import OrderMethods

__all__ = ["MatrixMethods"]

TensorT = TypeVar("TensorT")


def _trace(x: Node, offset: int, axis1: int, axis2: int) -> Node:
    return reductions.sum_(diagonals.diagonal(x, offset, axis1, axis2), -1)


class MatrixMethods(OrderMethods[TensorT], Generic[TensorT]):
    """Linear algebra. The last two axes are the matrix, all axes before them a batch."""

    __slots__ = ()

    def norm(
        self,
        p: float | str | None = "fro",
        axis: Axis = None,
        keepdims: bool = False,
        dtype: Any = None,
        *,
        dim: Axis = None,
        keepdim: bool | None = None,
    ) -> TensorT:
        """The norm of vectors or matrices, see `fusegrad.norm`."""
        kind = None if dtype is None else as_dtype(dtype)
        axes, keep = pick_axis(axis, dim), pick_keepdims(keepdims, keepdim)
        return self._record(norms.torch_norm, p, axes, keep, kind)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TensorT:
        """A diagonal of two axes, as the last axis."""
        return self._record(diagonals.diagonal, offset, axis1, axis2)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> TensorT:
        """The sum of a diagonal."""
        return self._record(_trace, offset, axis1, axis2)

    def det(self) -> TensorT:
        """The determinant."""
        return self._record(matrices.det)

    def logdet(self) -> TensorT:
        """The logarithm of the determinant."""
        return self._record(matrices.logdet)

    def inverse(self) -> TensorT:
        """The inverse."""
        return self._record(matrices.inv)

    def pinverse(self) -> TensorT:
        """The pseudoinverse."""
        return self._record(matrices.pinv, None, False)

    def cholesky(self, upper: bool = False) -> TensorT:
        """The triangular factor of a symmetric positive definite matrix."""
        return self._record(matrices.cholesky, upper)

    def matrix_power(self, n: int) -> TensorT:
        """The matrix times itself, `n` times."""
        return self._record(matrices.matrix_power, n)

    def matrix_exp(self) -> TensorT:
        """The exponential of the matrix."""
        return self._record(matrices.expm)
