"""Linear algebra: the ``linalg`` extension of the array API, with the names of NumPy and torch.

The last two axes are the matrix, all axes before them a batch. Everything has derivatives of any
order, but `matrix_rank`; those of symmetric matrices are taken along symmetric changes. Where
singular values or eigenvalues are equal, vectors have none: it is NaN. Integers become float32.

A matrix that has no result, a singular one for `inv`, is an error where somebody looks at the
value. In a compiled function its results are NaN, and those of the rest of the batch what they
should be. The decompositions are LAPACK's: a compiled program calls NumPy in its middle.
"""

from __future__ import annotations

from ..functions.manipulation import matrix_transpose
from ..functions.products import matmul, tensordot, vecdot
from .decompositions import (
    EighResult,
    EigResult,
    LUFactorResult,
    LUResult,
    QRResult,
    SVDResult,
    cholesky,
    eig,
    eigh,
    eigvals,
    eigvalsh,
    lu,
    lu_factor,
    qr,
    svd,
    svdvals,
)
from .functions import cross, diagonal, expm, matrix_power, multi_dot, outer, trace
from .norms import cond, matrix_norm, matrix_rank, norm, vector_norm
from .solving import (
    LinAlgError,
    LstsqResult,
    SlogdetResult,
    cho_factor,
    cho_solve,
    cholesky_inverse,
    cholesky_solve,
    det,
    inv,
    logdet,
    lstsq,
    lu_solve,
    pinv,
    slogdet,
    solve,
    solve_triangular,
    tensorinv,
    tensorsolve,
)

matrix_exp = expm

__all__ = [
    "EigResult",
    "EighResult",
    "LUFactorResult",
    "LUResult",
    "LinAlgError",
    "LstsqResult",
    "QRResult",
    "SVDResult",
    "SlogdetResult",
    "cho_factor",
    "cho_solve",
    "cholesky",
    "cholesky_inverse",
    "cholesky_solve",
    "cond",
    "cross",
    "det",
    "diagonal",
    "eig",
    "eigh",
    "eigvals",
    "eigvalsh",
    "expm",
    "inv",
    "logdet",
    "lstsq",
    "lu",
    "lu_factor",
    "lu_solve",
    "matmul",
    "matrix_exp",
    "matrix_norm",
    "matrix_power",
    "matrix_rank",
    "matrix_transpose",
    "multi_dot",
    "norm",
    "outer",
    "pinv",
    "qr",
    "slogdet",
    "solve",
    "solve_triangular",
    "svd",
    "svdvals",
    "tensordot",
    "tensorinv",
    "tensorsolve",
    "trace",
    "vecdot",
    "vector_norm",
]
