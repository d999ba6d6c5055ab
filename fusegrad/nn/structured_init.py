"""Initial values with a structure: identities, rotations, few numbers that are not zero.

User-level code: draws from the random stream of the library.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import random
from ..errors import OptionError, ShapeError
from ..functions.diagonals import diagonal
from ..functions.functional import sign, where
from ..functions.ranges import eye
from ..functions.sorting import argsort
from ..linalg import qr
from ..tensors.context import no_grad
from ..tensors.tensor_class import Tensor

__all__ = ["dirac_", "eye_", "orthogonal_", "sparse_", "trunc_normal_"]


def _matrix(name: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim != 2:
        raise ShapeError(
            f"{name} fills a matrix, not a tensor of shape {tuple(tensor.shape)}", remedy=None
        )
    return tensor.shape[0], tensor.shape[1]


def eye_(tensor: Tensor) -> Tensor:
    """Set a matrix to ones on the diagonal, zeros elsewhere.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.init.eye_(fg.empty(2, 3))
    Tensor([[1., 0., 0.],
            [0., 1., 0.]])
    """
    rows, columns = _matrix("eye_", tensor)
    with no_grad():
        return tensor.copy_(eye(rows, columns, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Set the weights of a convolution so that it returns its channels as they are.

    Parameters
    ----------
    tensor : Tensor
        Of shape ``(out, in, window...)``.
    groups : int, optional
        Groups of channels, each with an identity of its own.

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> nn.init.dirac_(fg.empty(1, 1, 3))
    Tensor([[[0., 1., 0.]]])
    """
    shape = tuple(tensor.shape)
    if len(shape) not in (3, 4, 5):
        raise ShapeError(
            f"dirac_ fills the weights of a convolution, not a tensor of shape {shape}",
            remedy="they have 3, 4 or 5 axes",
        )
    if shape[0] % groups:
        raise OptionError(f"dirac_: {shape[0]} channels are not divided by {groups} groups")
    values = np.zeros(shape, np.float32)
    middle = tuple(extent // 2 for extent in shape[2:])
    each = shape[0] // groups
    for group in range(groups):
        for channel in range(min(each, shape[1])):
            values[(group * each + channel, channel, *middle)] = 1
    with no_grad():
        return tensor.copy_(values)


def orthogonal_(tensor: Tensor, gain: float = 1.0, generator: Any = None) -> Tensor:
    """Set the rows, or the columns if there are fewer, to vectors at right angles of length `gain`.

    Parameters
    ----------
    tensor : Tensor
        Of at least two axes; those behind the first count as one.
    gain : float, optional
    generator : Generator, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> w = nn.init.orthogonal_(fg.empty(2, 3))
    >>> bool(fg.allclose(w @ w.T, fg.eye(2), atol=1e-5))
    True
    """
    if tensor.ndim < 2:
        raise ShapeError(
            f"orthogonal_ needs at least two axes, not shape {tuple(tensor.shape)}", remedy=None
        )
    rows = tensor.shape[0]
    columns = math.prod(tensor.shape[1:])
    if not rows * columns:
        return tensor
    with no_grad():
        drawn = random.normal((max(rows, columns), min(rows, columns)), generator=generator)
        q, r = qr(drawn)
        # Every rotation is equally likely only if the diagonal is positive.
        signs = sign(diagonal(r))
        q = q * where(signs == 0, 1.0, signs)
        q = q.T if rows < columns else q
        return tensor.copy_((q * gain).reshape(*tensor.shape).astype(tensor.dtype))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: Any = None) -> Tensor:
    """Draw a matrix normally, and set a part of each column to 0.

    Parameters
    ----------
    tensor : Tensor
        A matrix.
    sparsity : float
        How large that part is, rounded up.
    std : float, optional
    generator : Generator, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> w = nn.init.sparse_(fg.empty(10, 3), 0.75)
    >>> (w == 0).sum(axis=0).tolist()
    [8, 8, 8]
    """
    rows, columns = _matrix("sparse_", tensor)
    zeros = math.ceil(sparsity * rows)
    with no_grad():
        drawn = random.normal((rows, columns), 0.0, std, dtype=tensor.dtype, generator=generator)
        order = random.uniform((rows, columns), generator=generator)
        ranks = argsort(argsort(order, axis=0), axis=0)
        return tensor.copy_(where(ranks < zeros, 0.0, drawn))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Any = None,
) -> Tensor:
    """Draw the elements from the normal distribution between two bounds.

    Parameters
    ----------
    tensor : Tensor
    mean, std : float, optional
    a, b : float, optional
        The bounds, as values.
    generator : Generator, optional

    Examples
    --------
    >>> import fusegrad as fg
    >>> from fusegrad import nn
    >>> w = nn.init.trunc_normal_(fg.empty(100), std=0.02, a=-0.04, b=0.04)
    >>> bool((abs(w) <= 0.04).all())
    True
    """
    low, high = (a - mean) / std, (b - mean) / std
    with no_grad():
        drawn = random.truncated_normal(
            low, high, tuple(tensor.shape), dtype=tensor.dtype, generator=generator
        )
        # Rounding may leave the bounds.
        return tensor.copy_((drawn * std + mean).clip(a, b))
