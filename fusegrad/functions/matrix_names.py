"""Linear algebra under torch's names at the top level.

Knows the functions themselves: a name here is one more for a function of ``fg.linalg``.
"""

from __future__ import annotations

from typing import Any

from ..linalg import cholesky_inverse, cholesky_solve, det, logdet, matrix_power, slogdet
from ..linalg import expm as matrix_exp
from ..linalg import inv as inverse
from ..linalg import pinv as pinverse
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from ..tensors.tensor_methods import Axis

__all__ = [
    "cholesky_inverse",
    "cholesky_solve",
    "det",
    "dist",
    "inverse",
    "logdet",
    "matrix_exp",
    "matrix_power",
    "norm",
    "pinverse",
    "slogdet",
]


def norm(
    x: ArrayLike,
    p: float | str | None = "fro",
    axis: Axis = None,
    keepdims: bool = False,
    dtype: Any = None,
    *,
    dim: Axis = None,
    keepdim: bool | None = None,
) -> Tensor:
    """The norm of the elements, as one vector or along axes.

    Parameters
    ----------
    x : array_like
    p : float or {"fro", "nuc"}, optional
        See `fusegrad.linalg.vector_norm`; "fro" is 2, and "nuc" the sum of the singular values.
    axis : int or sequence of int, optional
        By default all axes, as one vector.
    keepdims : bool, optional
        Whether they stay with extent 1.
    dtype : dtype, optional
        What is computed in.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.norm([[3.0, 0.0], [0.0, 4.0]])
    Tensor(5.)
    """
    return as_tensor(x).norm(p, axis, keepdims, dtype, dim=dim, keepdim=keepdim)


def dist(x1: ArrayLike, x2: ArrayLike, p: float = 2) -> Tensor:
    """The norm of the difference of two arrays.

    Parameters
    ----------
    x1, x2 : array_like
        They broadcast.
    p : float, optional
        See `fusegrad.linalg.vector_norm`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.dist([1.0, 5.0], [4.0, 1.0])
    Tensor(5.)
    """
    return (as_tensor(x1) - as_tensor(x2)).norm(p)
