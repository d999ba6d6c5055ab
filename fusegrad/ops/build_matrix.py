"""Constructor functions of linear algebra, and the matrices that its derivatives are written in.

Knows the ops by name only. Matrices are the last two axes.
"""

from __future__ import annotations

from ..codegen.dtypes import DType, int64
from ..ir.node import Node
from ..ir.types import Extent
from . import build
from .base import CLASSES

__all__ = [
    "cholesky",
    "cofactor",
    "cofactor_derivative",
    "det",
    "diagonal_matrix",
    "dot_tn",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "expm_derivative",
    "eye",
    "half",
    "identity_mask",
    "inv",
    "lower",
    "lu",
    "pinv",
    "qr",
    "row_order",
    "slogdet",
    "solve",
    "svd",
    "svdvals",
    "symmetrised",
    "trace",
    "triangular_solve",
    "upper",
]


def _node(name: str, inputs: tuple[Node, ...], *params: object) -> Node:
    return Node(CLASSES[name](*params), inputs)


# --- ops ------------------------------------------------------------------------------------------


def cholesky(a: Node) -> Node:
    """L with ``a = L @ L.mT``; the lower triangle of `a` is read."""
    return _node("cholesky", (a,))


def triangular_solve(a: Node, b: Node, lower: bool, unit: bool = False) -> Node:
    """X with ``a @ X = b``; one triangle of `a` is read, and its diagonal taken as 1 if `unit`."""
    return _node("triangular_solve", (a, b), lower, unit)


def solve(a: Node, b: Node) -> Node:
    """X with ``a @ X = b``."""
    return _node("solve", (a, b))


def inv(a: Node, checked: bool = True) -> Node:
    """The inverse; unless `checked`, NaN for singular matrices."""
    return _node("inv", (a,), checked)


def det(a: Node) -> Node:
    """The determinant."""
    return _node("det", (a,))


def cofactor(a: Node) -> Node:
    """The derivative of the determinant; it exists for singular matrices too."""
    return _node("cofactor", (a,))


def cofactor_derivative(a: Node, direction: Node) -> Node:
    """The derivative of `cofactor` along a direction: the second one of the determinant."""
    return _node("cofactor_derivative", (a, direction))


def slogdet(a: Node) -> tuple[Node, Node]:
    """The sign of the determinant and the logarithm of its magnitude."""
    both = _node("slogdet", (a,))
    return build.item(both, 0), build.item(both, 1)


def pinv(a: Node, rtol: Node, hermitian: bool) -> Node:
    """The pseudoinverse; singular values up to `rtol` times the largest count as zero."""
    return _node("pinv", (a, rtol), hermitian)


def expm(a: Node) -> Node:
    """The exponential of a matrix."""
    return _node("expm", (a,))


def expm_derivative(a: Node, direction: Node) -> Node:
    """The derivative of `expm` along a direction."""
    return _node("expm_derivative", (a, direction))


def qr(a: Node, complete: bool) -> tuple[Node, Node]:
    """An orthogonal Q and an upper triangular R with ``a = Q @ R``."""
    both = _node("qr", (a,), complete)
    return build.item(both, 0), build.item(both, 1)


def lu(a: Node) -> tuple[Node, Node]:
    """L and U in one matrix, and the row that each row was exchanged with, in order."""
    both = _node("lu", (a,))
    return build.item(both, 0), build.item(both, 1)


def row_order(pivots: Node, rows: Extent) -> Node:
    """The order of rows after the exchanges that `lu` gives."""
    return _node("row_order", (pivots,), rows)


def svd(a: Node, full: bool) -> tuple[Node, Node, Node]:
    """U, S and Vh with ``a = U @ diag(S) @ Vh``."""
    three = _node("svd", (a,), full)
    return build.item(three, 0), build.item(three, 1), build.item(three, 2)


def svdvals(a: Node) -> Node:
    """The singular values, the largest first."""
    return _node("svdvals", (a,))


def eigh(a: Node, lower: bool) -> tuple[Node, Node]:
    """Eigenvalues, ascending, and eigenvectors of a symmetric matrix; one triangle is read."""
    both = _node("eigh", (a,), lower)
    return build.item(both, 0), build.item(both, 1)


def eigvalsh(a: Node, lower: bool) -> Node:
    """The eigenvalues of a symmetric matrix, ascending; one triangle is read."""
    return _node("eigvalsh", (a,), lower)


def eig(a: Node) -> tuple[Node, Node]:
    """Real eigenvalues and eigenvectors of any square matrix."""
    both = _node("eig", (a,))
    return build.item(both, 0), build.item(both, 1)


def eigvals(a: Node) -> Node:
    """The eigenvalues of a square matrix, which must be real."""
    return _node("eigvals", (a,))


# --- compositions ---------------------------------------------------------------------------------


def dot_tn(a: Node, b: Node) -> Node:
    """``a.mT @ b``."""
    return build.dot(build.matrix_transpose(a), b)


def half(x: Node) -> Node:
    """``x / 2``."""
    return build.mul(x, build.full_like(x, 0.5))


def symmetrised(x: Node) -> Node:
    """``(x + x.mT) / 2``."""
    return half(build.add(x, build.matrix_transpose(x)))


def _places(shape: tuple[Extent, ...]) -> tuple[Node, Node]:
    ndim = len(shape)
    row = build.broadcast(build.iota(shape[-2], int64), shape, (ndim - 2,))
    column = build.broadcast(build.iota(shape[-1], int64), shape, (ndim - 1,))
    return row, column


def identity_mask(shape: tuple[Extent, ...]) -> Node:
    """Where row and column are equal."""
    return build.eq(*_places(shape))


def eye(shape: tuple[Extent, ...], dtype: DType) -> Node:
    """Identity matrices."""
    return build.cast(identity_mask(shape), dtype)


def lower(x: Node, k: int = 0) -> Node:
    """The elements on and below diagonal `k`, zeros above."""
    row, column = _places(x.shape)
    keep = build.le(column, build.add(row, build.full_like(row, k)))
    return build.select(keep, x, build.zeros_like(x))


def upper(x: Node, k: int = 0) -> Node:
    """The elements on and above diagonal `k`, zeros below."""
    row, column = _places(x.shape)
    keep = build.ge(column, build.add(row, build.full_like(row, k)))
    return build.select(keep, x, build.zeros_like(x))


def diagonal_matrix(values: Node) -> Node:
    """Square matrices with `values` on the diagonal, zeros elsewhere."""
    ndim = len(values.shape)
    shape = (*values.shape, values.shape[-1])
    full = build.broadcast(values, shape, range(ndim))
    return build.select(identity_mask(shape), full, build.zeros_like(full))


def trace(x: Node) -> Node:
    """The sum of the diagonal."""
    last = len(x.shape)
    kept = build.select(identity_mask(x.shape), x, build.zeros_like(x))
    return build.sum_(kept, (last - 2, last - 1))
