"""Windows that taper off, for the analysis of signals: NumPy's, and torch's under its names.

Knows tensors: a window is made of constants, or of a traced parameter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..codegen.dtypes import float64
from ..errors import ShapeError
from ..special import i0
from ..tensors.tensor_class import ArrayLike, Tensor, as_tensor
from .functional import abs, cos, sqrt
from .ranges import arange

__all__ = [
    "bartlett",
    "bartlett_window",
    "blackman",
    "blackman_window",
    "hamming",
    "hamming_window",
    "hann_window",
    "hanning",
    "kaiser",
    "kaiser_window",
]


def _places(name: str, count: int, periodic: bool) -> tuple[Tensor, int]:
    """The positions in double precision, and how many intervals the window has."""
    if count < 0:
        raise ShapeError(f"{name} of {count} numbers", remedy="the number must be 0 or more")
    return arange(count, dtype="float64"), max(count if periodic else count - 1, 1)


def _cosines(name: str, count: int, weights: Sequence[float], periodic: bool) -> Tensor:
    place, intervals = _places(name, count, periodic)
    if count == 1:
        return place * 0 + 1
    window = place * 0 + weights[0]
    for order, weight in enumerate(weights[1:], 1):
        window = window + weight * cos(place * (2 * math.pi * order / intervals))
    return window


def _triangle(name: str, count: int, periodic: bool) -> Tensor:
    place, intervals = _places(name, count, periodic)
    return place * 0 + 1 if count == 1 else 1 - abs(place * (2 / intervals) - 1)


def _kaiser(name: str, count: int, beta: ArrayLike, periodic: bool) -> Tensor:
    place, intervals = _places(name, count, periodic)
    if count == 1:
        return place * 0 + 1
    height = as_tensor(beta, float64)
    across = place * (2 / intervals) - 1
    # Rounding may leave the ends of the window a little outside.
    return i0(height * sqrt(abs(1 - across * across))) / i0(height)


def bartlett(M: int) -> Tensor:
    """A triangle that begins and ends at 0.

    Parameters
    ----------
    M : int
        How many numbers.

    Returns
    -------
    Tensor
        Of float64, as in NumPy.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bartlett(3)
    Tensor([0., 1., 0.], dtype=float64)
    """
    return _triangle("bartlett", M, periodic=False)


def blackman(M: int) -> Tensor:
    """A sum of three cosines that is nearly 0 at both ends.

    Parameters
    ----------
    M : int
        How many numbers.

    Returns
    -------
    Tensor
        Of float64, as in NumPy.

    Examples
    --------
    >>> import fusegrad as fg
    >>> round(float(fg.blackman(3)[1]), 6)
    1.0
    """
    return _cosines("blackman", M, (0.42, -0.5, 0.08), periodic=False)


def hanning(M: int) -> Tensor:
    """One period of a cosine, raised so that it begins and ends at 0.

    Parameters
    ----------
    M : int
        How many numbers.

    Returns
    -------
    Tensor
        Of float64, as in NumPy.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hanning(3).numpy().round(6)
    array([0., 1., 0.])
    """
    return _cosines("hanning", M, (0.5, -0.5), periodic=False)


def hamming(M: int) -> Tensor:
    """One period of a cosine, raised so that it begins and ends at 0.08.

    Parameters
    ----------
    M : int
        How many numbers.

    Returns
    -------
    Tensor
        Of float64, as in NumPy.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hamming(3).numpy().round(6)
    array([0.08, 1.  , 0.08])
    """
    return _cosines("hamming", M, (0.54, -0.46), periodic=False)


def kaiser(M: int, beta: ArrayLike) -> Tensor:
    """Kaiser's window, of Bessel functions.

    Parameters
    ----------
    M : int
        How many numbers.
    beta : float or Tensor
        How narrow it is; gradients reach it.

    Returns
    -------
    Tensor
        Of float64, as in NumPy.

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.kaiser(3, 0.0)
    Tensor([1., 1., 1.], dtype=float64)
    """
    return _kaiser("kaiser", M, beta, periodic=False)


def _finished(window: Tensor, dtype: Any, requires_grad: bool) -> Tensor:
    window = window.astype("float32" if dtype is None else dtype)
    return window.requires_grad_() if requires_grad else window


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """`bartlett` with torch's arguments.

    Parameters
    ----------
    window_length : int
    periodic : bool, optional
        Whether the number behind the last would be the first one again.
    dtype : dtype, optional
        By default float32.
    requires_grad : bool, optional
        Whether ``backward`` collects its gradient.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.bartlett_window(4)
    Tensor([0. , 0.5, 1. , 0.5])
    """
    return _finished(_triangle("bartlett_window", window_length, periodic), dtype, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """`blackman` with torch's arguments.

    Parameters
    ----------
    window_length, periodic, dtype, requires_grad
        As for `bartlett_window`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.blackman_window(4).shape
    (4,)
    """
    window = _cosines("blackman_window", window_length, (0.42, -0.5, 0.08), periodic)
    return _finished(window, dtype, requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: Any = None, requires_grad: bool = False
) -> Tensor:
    """`hanning` with torch's arguments.

    Parameters
    ----------
    window_length, periodic, dtype, requires_grad
        As for `bartlett_window`.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hann_window(4)
    Tensor([0. , 0.5, 1. , 0.5])
    """
    window = _cosines("hann_window", window_length, (0.5, -0.5), periodic)
    return _finished(window, dtype, requires_grad)


def hamming_window(
    window_length: int,
    periodic: bool = True,
    alpha: float = 0.54,
    beta: float = 0.46,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`hamming` with torch's arguments.

    Parameters
    ----------
    window_length, periodic, dtype, requires_grad
        As for `bartlett_window`.
    alpha, beta : float, optional
        The middle of the cosine, and its height.

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.hamming_window(2)
    Tensor([0.08, 1.  ])
    """
    window = _cosines("hamming_window", window_length, (alpha, -beta), periodic)
    return _finished(window, dtype, requires_grad)


def kaiser_window(
    window_length: int,
    periodic: bool = True,
    beta: ArrayLike = 12.0,
    *,
    dtype: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """`kaiser` with torch's arguments.

    Parameters
    ----------
    window_length, periodic, dtype, requires_grad
        As for `bartlett_window`.
    beta : float or Tensor, optional

    Returns
    -------
    Tensor

    Examples
    --------
    >>> import fusegrad as fg
    >>> fg.kaiser_window(2, beta=0.0)
    Tensor([1., 1.])
    """
    window = _kaiser("kaiser_window", window_length, beta, periodic)
    return _finished(window, dtype, requires_grad)
